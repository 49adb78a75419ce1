//! Notes which runs a process was about to begin. If it is killed before they have trained an epoch, the
//! next process trains these last: what takes too much memory ends a process again and again.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::grid::disk::{remove, write_note};
use crate::grid::shards::Shard;

/// What the notes of a process are called, in the folder of its state.
#[derive(Debug)]
pub(crate) struct Begun {
    folder: PathBuf,
    prefix: String,
}

impl Begun {
    /// The notes of this process, none yet, and the runs that earlier ones were about to begin when they
    /// were killed. A process without a shard also takes the notes of shards.
    ///
    /// # Errors
    /// [`crate::error::Error::Write`] with the path.
    pub(super) fn open(folder: PathBuf, shard: Option<Shard>) -> Result<(Self, HashSet<String>)> {
        let all = "begun-";
        let prefix = shard.map_or_else(|| "begun-all-".into(), |it| format!("{all}{}-", it.index));
        let read = if shard.is_some() { &prefix } else { all };
        let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(io::Result::ok);
        let is_note = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(read))
        };
        let mut runs = HashSet::new();
        for note in entries.map(|entry| entry.path()).filter(is_note).collect::<Vec<_>>() {
            runs.extend(fs::read_to_string(&note).unwrap_or_default().lines().map(String::from));
            remove(&note)?;
        }
        Ok((Self { folder, prefix }, runs))
    }

    fn path(&self, worker: usize) -> PathBuf {
        Path::new(&self.folder).join(format!("{}{worker}", self.prefix))
    }

    /// A worker is about to begin a stage of these runs.
    ///
    /// # Errors
    /// [`crate::error::Error::Write`] with the path.
    pub(crate) fn note(&self, worker: usize, runs: &[&str]) -> Result<()> {
        write_note(&self.path(worker), &runs.join("\n"))
    }

    /// What the worker has begun did not end the process.
    ///
    /// # Errors
    /// [`crate::error::Error::Write`] with the path.
    pub(crate) fn forget(&self, worker: usize) -> Result<()> {
        remove(&self.path(worker))
    }
}
