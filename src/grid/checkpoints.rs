//! The states of stages under way, in files: at most one for each state that is alive, each the
//! farthest that some run left has come to. A run goes on from the farthest one that it would have
//! come to itself, whatever the tree, the number of workers or the sharing of the process before.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::{Error, Place, Result};
use crate::grid::stages::{Start, goes_on_from};
use crate::grid::store::{make_state_folder, remove, remove_folder, set_aside, write_whole};
use crate::train::checkpoint::Checkpoint;
use crate::train::hyperparams::Checked;
use crate::train::provenance::same_data;
use crate::train::run::Position;

/// How the files' names end.
const EXTENSION: &str = "checkpoint";

/// The saved states of some runs.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    found: Vec<PathBuf>,                 // what there was in the beginning
    of_run: Mutex<Vec<Option<PathBuf>>>, // the farthest of each run
}

/// What was there when a folder was opened.
#[derive(Debug)]
pub struct Found {
    /// Where each run goes on from.
    pub starts: Vec<Option<Start>>,
    /// What was set aside, and why, a sentence each.
    pub warnings: Vec<String>,
}

impl Checkpoints {
    /// Looks what is saved of these runs in a folder, and makes it if there is none. A file that
    /// cannot be used is set aside, and one that no run needs is removed.
    ///
    /// # Errors
    /// Where a state was trained on other data than `provenance` says, or the folder cannot be read
    /// or written to.
    pub fn open(
        folder: PathBuf,
        runs: &[&Checked],
        (inputs, classes): (usize, usize),
        provenance: &[(String, String)],
    ) -> Result<(Self, Found)> {
        make_state_folder(&folder)?;
        let mut starts: Vec<Option<Start>> = vec![None; runs.len()];
        let (mut found, mut warnings) = (Vec::new(), Vec::new());
        for path in files(&folder)? {
            let fits = |saved: &Checkpoint| {
                let fits = Ok(saved.state.sizes()) == saved.values.sizes(inputs, classes);
                if fits { Ok(()) } else { Err("is of another network than the grid's".to_string()) }
            };
            let saved = read(&path)?.and_then(|saved| fits(&saved).map(|()| saved));
            let saved = match saved {
                Ok(saved) => saved,
                Err(problem) => {
                    let aside = set_aside(&path)?;
                    warnings.push(format!(
                        "{}: {problem}; set aside as {}, and what it held is trained again",
                        path.display(),
                        aside.file_name().unwrap_or_default().display()
                    ));
                    continue;
                }
            };
            if !same_data(&saved.provenance, provenance) {
                return Err(Error::input(Place::file(&path), "was trained on other data").hint(
                    "name the same data with --data, start over with --fresh, or use another --out",
                ));
            }
            let start = Start { saved: found.len(), at: saved.state.position() };
            found.push(path);
            for (values, best) in runs.iter().zip(&mut starts) {
                if best.is_none_or(|best| best.at < start.at)
                    && goes_on_from(values, &saved.values, start.at)
                {
                    *best = Some(start);
                }
            }
        }
        let needed = |file: usize| starts.iter().flatten().any(|start| start.saved == file);
        for (_, path) in found.iter().enumerate().filter(|&(file, _)| !needed(file)) {
            remove(path)?;
        }
        let of_run = starts.iter().map(|start| start.map(|start| found[start.saved].clone()));
        let of_run = Mutex::new(of_run.collect());
        Ok((Self { folder, found, of_run }, Found { starts, warnings }))
    }

    /// Reads a state that was there in the beginning.
    ///
    /// # Errors
    /// Where its file has gone or changed since.
    pub fn load(&self, saved: usize) -> Result<Checkpoint> {
        let path = &self.found[saved];
        read(path)?.map_err(|problem| {
            Error::input(Place::file(path), format!("changed since the start: {problem}"))
                .hint("start the same command again")
        })
    }

    /// Saves a state that these runs go on from, in the file of a stage: told by the place in its
    /// grid of one of its runs and by the step that it begins with.
    ///
    /// # Errors
    /// [`Error::Write`] with the path.
    pub fn save(&self, (run, from): (usize, Position), runs: &[usize], bytes: &[u8]) -> Result<()> {
        let name = format!("run{}_step{}.{EXTENSION}", run + 1, from.steps());
        let path = self.folder.join(name);
        write_whole(&path, bytes)?;
        self.replace(runs, Some(&path))
    }

    /// These runs need their states no longer.
    ///
    /// # Errors
    /// [`Error::Write`] with the path.
    pub fn let_go(&self, runs: &[usize]) -> Result<()> {
        self.replace(runs, None)
    }

    fn replace(&self, runs: &[usize], path: Option<&Path>) -> Result<()> {
        let mut of_run = self.of_run.lock().expect("no panic while holding it");
        let replaced =
            |&run: &usize| std::mem::replace(&mut of_run[run], path.map(Path::to_path_buf));
        let mut old: Vec<PathBuf> = runs.iter().filter_map(replaced).collect();
        old.sort();
        old.dedup();
        old.retain(|old| !of_run.iter().flatten().any(|file| file == old));
        old.iter().try_for_each(|old| remove(old))
    }
}

impl Drop for Checkpoints {
    /// Nothing saved, no folder.
    fn drop(&mut self) {
        remove_folder(&self.folder);
        self.folder.parent().into_iter().for_each(remove_folder);
    }
}

/// The states that are saved in a folder, as far as they can be used.
///
/// # Errors
/// Where the folder or a file in it cannot be read.
pub fn saved_in(folder: &Path) -> Result<Vec<Checkpoint>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let saved = files(folder)?.into_iter().map(|path| Ok(read(&path)?.ok()));
    saved.filter_map(Result::transpose).collect()
}

/// The checkpoints in a folder, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|source| Error::read(folder, source))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: Vec<PathBuf> =
        paths.collect::<std::io::Result<_>>().map_err(|source| Error::read(folder, source))?;
    let mut paths: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == EXTENSION)).collect();
    paths.sort();
    Ok(paths)
}

/// Reads a checkpoint; what is wrong with the file itself is told in a clause.
fn read(path: &Path) -> Result<std::result::Result<Checkpoint, String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Checkpoint::from_bytes(&bytes)),
        Err(error) if error.kind() == ErrorKind::IsADirectory => Ok(Err("is a folder".into())),
        Err(source) => Err(Error::read(path, source)),
    }
}
