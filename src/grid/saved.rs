//! Reads the checkpoints that are saved in a folder.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::data::file;
use crate::error::{Error, Result};
use crate::grid::disk::{STATE, remove, remove_folder};
use crate::grid::names::{FINAL, SHARDS};
use crate::grid::run_folder::states_of;
use crate::grid::stages::KnownState;
use crate::train::checked::Checked;
use crate::train::checkpoint::Checkpoint;
use crate::train::provenance::Provenance;
use crate::train::reads::Step;
use crate::train::score::CurveRow;

/// The largest file that is read: three of the largest networks, and the longest curve.
const MAX_BYTES: u64 = 4 << 30;
/// How the files' names end.
pub(super) const EXTENSION: &str = "checkpoint";

/// What is known of a checkpoint without its tensors.
#[derive(Debug)]
pub struct SavedState {
    /// The values of the run that brought it here.
    pub values: Checked,
    /// What it was trained on and with.
    pub provenance: Provenance,
    pub(super) sizes: Vec<usize>,
    pub(super) at: Step,
    pub(super) validated: Vec<CurveRow>, // the epochs that were, by which patience may have ended a run
}

impl SavedState {
    /// What it takes to know which runs may resume it.
    pub(super) fn known(&self) -> KnownState<'_> {
        (self.at, &self.values, &self.validated)
    }
}

impl From<Checkpoint> for SavedState {
    fn from(Checkpoint { values, state, provenance, .. }: Checkpoint) -> Self {
        let validated = state.curve().iter().filter(|row| row.validation.is_some());
        let (sizes, at, validated) = (state.sizes(), state.step(), validated.copied().collect());
        Self { values, provenance, sizes, at, validated }
    }
}

/// The files of a folder, read: each a state, or in a clause why it is none.
pub type Saved = Vec<(PathBuf, std::result::Result<SavedState, String>)>;

/// Reads the states that are saved in a folder, if there is one.
///
/// # Errors
/// Where the folder or a file in it cannot be read.
pub fn read_saved(folder: &Path) -> Result<Saved> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut saved = Vec::new();
    for path in files(folder)? {
        let read = match read_checkpoint(&path) {
            Ok(read) => read.map(SavedState::from),
            // Another process has let go of it.
            Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        saved.push((path, read));
    }
    Ok(saved)
}

/// A state in a file, or in a clause why it is none.
pub(super) fn read_checkpoint(path: &Path) -> Result<std::result::Result<Checkpoint, String>> {
    match file::read(path, "a checkpoint", MAX_BYTES) {
        Ok(bytes) => Ok(Checkpoint::from_bytes(&bytes)),
        Err(Error::Input { problem, .. }) => Ok(Err(problem)),
        Err(error) => Err(error),
    }
}

/// The folders with states of a grid's runs: of all, and of each shard.
pub(super) fn all_states_of(root: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    entries(&root.join(STATE).join(SHARDS)).into_iter().chain([states_of(root)])
}

/// The folder for the states in which runs of a grid have ended.
pub(super) fn final_states_of(root: &Path) -> PathBuf {
    root.join(STATE).join(FINAL)
}

/// What a folder holds, if it is there, by name.
pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(io::Result::ok);
    let mut paths: Vec<PathBuf> = entries.map(|it| it.path()).collect();
    paths.sort();
    paths
}

/// Whether a folder is there and has a checkpoint, be it a damaged one.
///
/// # Errors
/// Where the folder cannot be read.
pub fn has_checkpoints(folder: &Path) -> Result<bool> {
    Ok(folder.exists() && !files(folder)?.is_empty())
}

/// Removes the checkpoints in a folder, but not the damaged ones that were set aside, and the folder if it is empty.
///
/// # Errors
/// [`Error::Write`] with the path, and where the folder cannot be read.
pub fn remove_checkpoints(folder: &Path) -> Result<()> {
    if folder.exists() {
        files(folder)?.iter().try_for_each(|path| remove(path))?;
        remove_folder(folder);
    }
    Ok(())
}

/// The checkpoints in a folder, in the order of their names.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|source| Error::read(folder, source))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: Vec<PathBuf> =
        paths.collect::<std::io::Result<_>>().map_err(|source| Error::read(folder, source))?;
    let mut paths: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == EXTENSION)).collect();
    paths.sort();
    Ok(paths)
}
