//! The results folder: what it may hold, what is finished, one writer.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Place, Result, counted};
use crate::grid::begun::Begun;
use crate::grid::damaged_grid::disagreement;
use crate::grid::disk::{
    GRID, STATE, change, is_taken_by_any, keep_aside, lock_part, lock_whole, lock_with_others,
    make_own_folder, open_lock, refuse_link, rename, sweep, write_together,
};
pub use crate::grid::disk::{
    Lock, clear_states, lock, make_folder, make_run_folder, make_state_folder, remove,
    remove_folder, set_aside, write_whole,
};
use crate::grid::names::{
    CURVE, DRAWN, ENSEMBLE, MODEL, PREDICTIONS, RANKING, RECORD, RECORDED, RUNS, SETTINGS, SHARDS,
    STAGES, TOP, WRITTEN,
};
use crate::grid::run_folder::{
    clear_run, finished_runs, missing_file, run_folder, run_record, states_of,
};
use crate::grid::shards::Shard;
use crate::grid::shards_file::{Shards, planned_shards, read_shards, shards_file, write_shards};
use crate::grid::space::{Grid, Run};
use crate::train::outcome::{Outcome, Record};
use crate::train::provenance::{Provenance, other_data};
use crate::train::toml_file::TomlFile;

/// A results folder that this process alone writes to, or its shard's part of one, as long as it
/// holds this value.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    shard: Option<Shard>,
    shard_of: Vec<usize>, // of each run; empty without shards
    locks: Vec<Lock>,
    rewritten: Option<String>, // a sentence where grid.toml was damaged
}

impl Store {
    /// Opens a results folder for a grid: a new one, or one that the same grid was begun in. With
    /// `fresh`, earlier results in it are removed.
    ///
    /// # Errors
    /// [`Error::Input`] where the folder holds another grid or other things, where another process
    /// is writing to it, or where it cannot be written to. Nothing in it has been changed then.
    pub fn open(root: &Path, grid: &Grid, fresh: bool) -> Result<Self> {
        let mut store = Self::lock(root)?;
        if fresh {
            store.clear()?;
        }
        store.begin(grid)?;
        Ok(store)
    }

    /// Locks a results folder, and makes it if it is not there.
    ///
    /// # Errors
    /// As [`Store::open`]. Nothing but the lock has been written then.
    pub fn lock(root: &Path) -> Result<Self> {
        refuse_recorded(root)?;
        refuse_others_of(root)?;
        make_folder(root, "--out")?;
        let (root, locks) = (root.to_path_buf(), vec![lock(root)?, lock_whole(root)?]);
        let store = Self { root, shard: None, shard_of: Vec::new(), locks, rewritten: None };
        // Another process may have begun something there meanwhile.
        refuse_recorded(&store.root)?;
        refuse_others_of(&store.root)?;
        Ok(store)
    }

    /// Begins a grid in the folder, or goes on with it. A damaged `grid.toml` is set aside and written anew
    /// if all runs in the folder are of this grid.
    ///
    /// # Errors
    /// Where the folder holds another grid or cannot be written to.
    pub fn begin(&mut self, grid: &Grid) -> Result<()> {
        self.prepare(grid)?;
        // Checkpoints of shards are resumed like any others.
        self.gather_states()?;
        remove(&shards_file(&self.root))
    }

    /// Opens a results folder for a shard of a grid, beside which other shards may be at work, and
    /// learns the shard of each run. Who comes first plans them, for all who come later: `plan` gets
    /// which runs have ended. Another number of shards, or other data, are planned anew when no other is
    /// at work and no run has ended on other data than these.
    ///
    /// # Errors
    /// As [`Store::open`]; where others are at work in another number of shards, on this one, or on
    /// other data.
    pub fn join(
        root: &Path,
        (grid, runs): (&Grid, &[Run]),
        data: &Provenance,
        shard: Shard,
        plan: &dyn Fn(&[bool]) -> Vec<usize>,
    ) -> Result<Self> {
        refuse_recorded(root)?;
        refuse_others_of(root)?;
        make_folder(root, "--out")?;
        let (shard_of, locks) = (Vec::new(), Vec::new());
        let root_of = root.to_path_buf();
        let mut store =
            Self { root: root_of, shard: Some(shard), shard_of, locks, rewritten: None };
        if let Ok(alone) = lock(root) {
            store.prepare(grid)?;
            if planned_shards(root, runs, shard.count, data).is_none() {
                store.gather_states()?;
                let shard_of = plan(&finished_runs(root, runs, data)?);
                let (count, data) = (shard.count, data.data_hash());
                write_shards(root, runs, &Shards { count, shard_of, data })?;
            }
            drop(alone);
        }
        store.locks.push(lock_with_others(root)?);
        if let Holds::Damaged(place, problem) = refuse_another_grid(root, grid)? {
            return Err(Error::input(place, problem)
                .hint("start this shard when no other is at work, and it writes the file anew"));
        }
        let Some(Shards { count, shard_of, data: planned }) = read_shards(root, runs)? else {
            let problem = "was removed by a process that trained the whole grid meanwhile";
            return Err(Error::input(Place::file(shards_file(root)), problem)
                .hint("start the same command again"));
        };
        if planned != data.data_hash() {
            return Err(other_data(root));
        }
        if count != shard.count {
            return Err(Error::unexpected(
                Place::flag("--shard"),
                format!("one of {}", counted(shard.count, "shard")),
                format!("one of {count}, as others in {} are at work on", root.display()),
            ));
        }
        let own = shard_lock(shard.index);
        store.locks.push(lock_part(root, &own, &format!("shard {shard}"))?);
        store.shard_of = shard_of;
        Ok(store)
    }

    /// Makes sure that the folder is this grid's. No other process may be writing to it.
    fn prepare(&mut self, grid: &Grid) -> Result<()> {
        let root = &self.root;
        refuse_links(root, &grid.runs()?)?;
        let path = root.join(GRID);
        let holds = refuse_another_grid(root, grid)?;
        if let Holds::Damaged(place, problem) = &holds {
            let aside = keep_aside(&path)?;
            let name = aside.file_name().unwrap_or_default().display();
            self.rewritten = Some(format!(
                "{place}: {problem}; set aside as {name}, and written anew from this grid"
            ));
        }
        if !matches!(holds, Holds::Grid) {
            write_whole(&path, grid.to_toml().as_bytes())?;
        }
        // After the grid, by which the folder is known as one of results.
        make_own_folder(&root.join(RUNS))?;
        sweep(root, &WRITTEN)?;
        sweep(&root.join(STATE), &WRITTEN)
    }

    /// Brings the states that shards have saved to those that any run may go on from. No other
    /// process may be writing to the folder.
    fn gather_states(&self) -> Result<()> {
        let (shards, pool) = (self.root.join(STATE).join(SHARDS), states_of(&self.root));
        let folders = fs::read_dir(&shards).into_iter().flatten().filter_map(io::Result::ok);
        for folder in folders.map(|entry| entry.path()) {
            make_state_folder(&pool)?;
            let states = fs::read_dir(&folder).into_iter().flatten().filter_map(io::Result::ok);
            for state in states.map(|entry| entry.path()) {
                let mut name = state.file_name().unwrap_or_default().to_os_string();
                while pool.join(&name).exists() {
                    name = ["again_".as_ref(), name.as_os_str()].into_iter().collect();
                }
                rename(&state, &pool.join(name))?;
            }
            remove_folder(&folder);
        }
        remove_folder(&shards);
        Ok(())
    }

    /// The runs of the grid that the folder holds; `None` where it holds none.
    fn old_runs(&self) -> Result<Option<Vec<Run>>> {
        read_grid(&self.root)?.map(|grid| grid.runs()).transpose()
    }

    /// How many runs of the folder's grid have ended, and how many stages are in progress; `None`
    /// where the folder holds no grid.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn count_results(&self) -> Result<Option<(usize, usize)>> {
        let Some(runs) = self.old_runs()? else { return Ok(None) };
        let ended = |run: &&Run| run_folder(&self.root, &run.name).join(RECORD).exists();
        let states = |folder: &Path| fs::read_dir(folder).into_iter().flatten().count();
        let shards = fs::read_dir(self.root.join(STATE).join(SHARDS)).into_iter().flatten();
        let of_shards: usize =
            shards.filter_map(io::Result::ok).map(|shard| states(&shard.path())).sum();
        let ended = runs.iter().filter(ended).count();
        Ok(Some((ended, states(&states_of(&self.root)) + of_shards)))
    }

    /// Removes earlier results: what rookie has written for the runs of the folder's grid, never through
    /// a link. `grid.toml` goes last, so that what a break leaves is still a results folder.
    ///
    /// # Errors
    /// Where the folder's grid cannot be read, something is a link, or [`Error::Write`].
    pub fn clear(&self) -> Result<()> {
        let old = self.old_runs()?.unwrap_or_default();
        refuse_links(&self.root, &old)?;
        let folders = old.iter().map(|run| run_folder(&self.root, &run.name));
        for folder in folders.filter(|folder| folder.exists()) {
            clear_run(&folder)?;
            // A folder that holds other things too stays.
            remove_folder(&folder);
        }
        remove_folder(&self.root.join(RUNS));
        clear_states(&self.root.join(STATE).join(SHARDS))?;
        clear_states(&self.states())?;
        let files = [RANKING, TOP, SETTINGS, GRID];
        // A report or an ensemble of what has gone would mislead.
        let files = [DRAWN[0], ENSEMBLE].into_iter().chain(files);
        files.into_iter().try_for_each(|name| remove(&self.root.join(name)))
    }

    /// The results folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder for checkpoints of stages in progress.
    pub fn states(&self) -> PathBuf {
        match self.shard {
            None => states_of(&self.root),
            Some(shard) => self.root.join(STATE).join(SHARDS).join(shard.index.to_string()),
        }
    }

    /// The states that a shard may go on from too, and that are not its own to remove.
    pub fn pool(&self) -> Option<PathBuf> {
        self.shard.map(|_| states_of(&self.root))
    }

    /// Notes of what workers are about to begin, and the runs that killed processes were about to.
    ///
    /// # Errors
    /// [`Error::Write`] with the path.
    pub(crate) fn begun(&self) -> Result<(Begun, HashSet<String>)> {
        Begun::open(self.root.join(STATE), self.shard)
    }

    /// The indices of the runs to train here, of so many: all of them, or those of the shard.
    pub fn own_runs(&self, runs: usize) -> Vec<usize> {
        let is_own = |run: &usize| self.shard.is_none_or(|it| self.shard_of[*run] == it.index);
        (0..runs).filter(is_own).collect()
    }

    /// The shard of a run, by its index; 0 without shards.
    pub fn shard_of(&self, run: usize) -> usize {
        self.shard_of.get(run).copied().unwrap_or(0)
    }

    /// The shards that some process is training.
    ///
    /// # Errors
    /// Where their locks cannot be looked at.
    pub fn shards_at_work(&self) -> Result<HashSet<usize>> {
        let count = self.shard.map_or(0, |shard| shard.count);
        let mut at_work = HashSet::new();
        for shard in 0..count {
            if is_taken_by_any(&self.root.join(STATE).join(shard_lock(shard)))? {
                at_work.insert(shard);
            }
        }
        Ok(at_work)
    }

    /// What a user should know of the folder's `grid.toml`, a sentence.
    pub fn warning(&self) -> Option<&str> {
        self.rewritten.as_deref()
    }

    /// The shard that it was opened for.
    pub fn shard(&self) -> Option<Shard> {
        self.shard
    }

    /// Does something while no other shard does it, waiting for those that do.
    ///
    /// # Errors
    /// What it returns, or where the lock cannot be had.
    pub fn in_turn<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let path = self.root.join(STATE).join("ranking.lock");
        let file = open_lock(&path)?;
        change(&path, |_| file.lock())?;
        act()
    }

    /// The folder of a run.
    pub fn run_folder(&self, run: &Run) -> PathBuf {
        run_folder(&self.root, &run.name)
    }

    /// The record of a run that has ended on these `data`, or that stands at a rung. A run that failed has
    /// not ended: it is tried again. So is one whose record cannot be read or is not its own, which is set aside, or
    /// whose files are not all there; `warn` is told.
    ///
    /// # Errors
    /// Where the run was trained on other data.
    pub fn finished(
        &self,
        run: &Run,
        data: &Provenance,
        warn: &mut dyn FnMut(&str),
    ) -> Result<Option<Record>> {
        let folder = self.run_folder(run);
        let record = match run_record(&self.root, run) {
            Err(Error::Input { place, problem, .. }) => {
                let aside = set_aside(&folder.join(RECORD))?;
                let name = aside.file_name().unwrap_or_default().display();
                warn(&format!(
                    "{place}: {problem}; set aside as {name}, and its run trained again"
                ));
                return Ok(None);
            }
            other => other?,
        };
        let Some(record) = record else { return Ok(None) };
        if let Some(missing) = missing_file(&folder, &record) {
            warn(&format!("{} is missing, its run is trained again", missing.display()));
            return Ok(None);
        }
        record.provenance.refuse_other_data(data, folder)?;
        Ok((!matches!(record.outcome, Outcome::Failed { .. })).then_some(record))
    }

    /// Replaces the ranking, its top as Markdown and, for a grid of several seeds, the settings.
    ///
    /// # Errors
    /// [`Error::Write`] with the path.
    pub fn write_ranking(&self, csv: &[u8], top: &str, settings: Option<&[u8]>) -> Result<()> {
        let [ranking, top10, of_seeds] = [RANKING, TOP, SETTINGS].map(|name| self.root.join(name));
        let files =
            [(&*ranking, Some(csv)), (&*top10, Some(top.as_bytes())), (&*of_seeds, settings)];
        let files = files.into_iter().filter_map(|(path, bytes)| Some((path, bytes?)));
        write_together(&files.collect::<Vec<_>>())
    }
}

/// The file by which a shard is locked, in the folder of states.
fn shard_lock(index: usize) -> String {
    format!("shard-{index}.lock")
}

/// The grid that a results folder was begun with, if it is one.
///
/// # Errors
/// Where its `grid.toml` cannot be read.
pub fn read_grid(root: &Path) -> Result<Option<Grid>> {
    let path = root.join(GRID);
    if !path.exists() {
        return Ok(None);
    }
    let grid = TomlFile::read(&path).and_then(|file| Grid::parse(&file));
    grid.map(Some).map_err(|error| {
        let root = root.display();
        error.hint(format!(
            "the runs in the folder are intact, and `rookie grid NAME --out {root}` with the grid that \
             they are of writes this file anew"
        ))
    })
}

/// Whether a folder holds a grid's results.
pub fn is_grid(root: &Path) -> bool {
    root.join(GRID).exists()
}

/// Refuses a folder for a single run that holds other things, or that is, or lies in, the results folder
/// of a grid or a record.
///
/// # Errors
/// [`Error::Input`] where it does.
pub fn refuse_in_results(folder: &Path) -> Result<()> {
    let hint = "name another folder with --out";
    refuse_recorded(folder)?;
    if is_grid(folder) {
        return Err(Error::input(Place::file(folder), "holds a grid's results").hint(hint));
    }
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let existing = absolute.ancestors().find_map(|it| it.canonicalize().ok());
    // A grid.toml alone may be a user's own file.
    let is_root = |root: &&Path| {
        let has = |name: &str| root.join(name).exists();
        has(RECORDED) || is_grid(root) && [RUNS, STATE, RANKING].into_iter().any(has)
    };
    if let Some(root) = existing.as_deref().and_then(|it| it.ancestors().find(is_root)) {
        let problem = format!("lies in the results folder {}", root.display());
        return Err(Error::input(Place::file(folder), problem).hint(hint));
    }
    let is_run = folder.join(RECORD).exists() || states_of(folder).exists();
    if is_run { Ok(()) } else { refuse_foreign(folder, &[CURVE, MODEL, PREDICTIONS], RECORD) }
}

/// Refuses a folder that this grid cannot be trained into, and changes nothing in it.
///
/// # Errors
/// As [`Store::open`].
pub fn refuse_other_results(root: &Path, grid: &Grid) -> Result<()> {
    refuse_recorded(root)?;
    refuse_others_of(root)?;
    refuse_another_grid(root, grid).map(drop)
}

/// Refuses a results folder of which a folder that rookie writes into is a link: it may be another's.
fn refuse_links(root: &Path, runs: &[Run]) -> Result<()> {
    let state = root.join(STATE);
    let of_shards =
        fs::read_dir(state.join(SHARDS)).into_iter().flatten().filter_map(io::Result::ok);
    let of_shards = of_shards.map(|entry| entry.path()).collect::<Vec<_>>();
    let own = [root.join(RUNS), state.join(SHARDS), state.join(STAGES), state];
    own.iter().chain(&of_shards).try_for_each(|path| refuse_link(path))?;
    // Most folders have no link, and a grid may have a million runs.
    let entries = fs::read_dir(root.join(RUNS)).into_iter().flatten().filter_map(io::Result::ok);
    let mut links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    let of_grid = |link: &fs::DirEntry| runs.iter().any(|run| link.file_name() == *run.name);
    links.find(of_grid).map_or(Ok(()), |link| refuse_link(&link.path()))
}

/// Results that were recorded, with most models left out, are not to be trained over.
fn refuse_recorded(root: &Path) -> Result<()> {
    if !root.join(RECORDED).exists() {
        return Ok(());
    }
    let problem = format!("holds recorded results, as the file {RECORDED} in it says");
    Err(Error::input(Place::file(root), problem).hint("name another folder with --out"))
}

/// A folder with other things in it than rookie's `own` and what commands draw is not written to. It lacks
/// the file by which it would be known.
fn refuse_foreign(root: &Path, own: &[&str], lacks: &str) -> Result<()> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::unexpected(Place::file(root), "a file", "a folder")
                .hint("name another folder with --out"));
        }
        Err(source) => return Err(Error::read(root, source)),
    };
    // Names with a dot are rookie's own state, or none of its business.
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let mut entries = entries.filter_map(io::Result::ok);
    let known = |name: &std::ffi::OsStr| DRAWN.iter().chain(own).any(|known| name == *known);
    let foreign = entries.find(|entry| !hidden(&entry.file_name()) && !known(&entry.file_name()));
    match foreign {
        None => Ok(()),
        Some(entry) => Err(Error::input(
            Place::file(root),
            format!("holds other things ({}) and no {lacks}", entry.file_name().display()),
        )
        .hint("name a new or empty folder with --out")),
    }
}

/// Refuses a folder that holds other things than a grid's results.
fn refuse_others_of(root: &Path) -> Result<()> {
    if is_grid(root) {
        return Ok(());
    }
    match refuse_foreign(root, &[], GRID) {
        // Another shard has begun the grid since.
        Err(_) if is_grid(root) => return Ok(()),
        refused => refused?,
    }
    if fs::read_dir(states_of(root)).is_ok_and(|mut states| states.next().is_some()) {
        return Err(Error::input(Place::file(root), "holds a run in progress, and no grid")
            .hint("name another folder with --out"));
    }
    Ok(())
}

/// What a folder has of a grid.
enum Holds {
    Nothing,
    Grid,
    /// Its runs, and a `grid.toml` that cannot be read, and why not.
    Damaged(Place, String),
}

/// What a folder holds of this grid.
///
/// # Errors
/// [`Error::Input`] where it holds another.
fn refuse_another_grid(root: &Path, grid: &Grid) -> Result<Holds> {
    let there = match read_grid(root) {
        Err(Error::Input { place, problem, .. }) => {
            let Some(other) = disagreement(root, &grid.runs()?)? else {
                return Ok(Holds::Damaged(place, problem));
            };
            let hint = format!("it is not written anew from this grid, because {other}");
            return Err(Error::input(place, problem).hint(hint));
        }
        read => read?,
    };
    let Some(there) = there else { return Ok(Holds::Nothing) };
    let Some(difference) = grid.difference(&there)? else { return Ok(Holds::Grid) };
    let problem = format!("holds another grid ({difference})");
    Err(Error::input(Place::file(root), problem)
        .hint("name another folder with --out, or start over with --fresh"))
}
