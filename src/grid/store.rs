//! The results folder: what it may hold, what is finished, one writer.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::data::dataset::Dataset;
use crate::data::idx::hexadecimal;
use crate::error::{Error, Place, Result, counted};
use crate::grid::begun::Begun;
use crate::grid::disk::{
    GRID, STATE, change, keep_aside, make_own_folder, rename, sweep, write_together,
};
pub use crate::grid::disk::{
    Lock, clear_states, make_folder, make_run_folder, make_state_folder, remove, remove_folder,
    set_aside, write_whole,
};
use crate::grid::growth::{leave_out, leave_out_copies, leave_out_no_refit, placed, switching};
use crate::grid::held::{
    Holds, refuse_another_grid, refuse_links, refuse_unsuitable, remove_own, taken_over,
};
pub use crate::grid::held::{
    is_grid, read_grid, refuse_foreign_file, refuse_in_results, refuse_other_results, write_output,
};
use crate::grid::locks::{
    is_taken_by_any, lock_part, lock_whole, lock_with_others, open_lock, shard_lock,
};
pub use crate::grid::locks::{is_trained, lock};
use crate::grid::names::{
    DRAWN, ENSEMBLE, LEFT_OUT, RANKING, RECORD, REFIT, REPORT_MARK, RUNS, SETTINGS, SETTINGS_MARK,
    SHARDS, TOP, WRITTEN,
};
use crate::grid::run_folder::{
    clear_run, finished_runs, holds_another, missing_file, problem_of_files, read_run, run_folder,
    run_record, states_of, usable_record, write_run,
};
use crate::grid::saved::{EXTENSION, Saved, all_states_of, entries, final_states_of, read_saved};
use crate::grid::shards::Shard;
use crate::grid::shards_file::{Shards, planned_shards, read_shards, shards_file, write_shards};
use crate::grid::space::{Grid, Run, spelled};
use crate::train::halving::Halving;
use crate::train::outcome::{Outcome, Record};
use crate::train::predictor::MADE_BY;
use crate::train::provenance::{Provenance, other_data};
use crate::train::run::Trained;

/// A results folder that this process alone writes to, or its shard's part of one, as long as it
/// holds this value.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    shard: Option<Shard>,
    shard_of: Vec<usize>, // of each run; empty without shards
    locks: Vec<Lock>,
    note: Option<String>, // where grid.toml was damaged, or earlier runs were moved
}

impl Store {
    /// Opens a results folder for a grid on a data set: a new one, or one that the same grid was begun in, or one
    /// that it contains. With `fresh`, earlier results in it are removed.
    ///
    /// # Errors
    /// [`Error::Input`] where the folder holds another grid, results of other data or other things, where another
    /// process is writing to it, or where it cannot be written to. Nothing in it has been changed then.
    pub fn open(root: &Path, grid: &Grid, dataset: &Dataset, fresh: bool) -> Result<Self> {
        let mut store = Self::lock(root)?;
        if fresh {
            store.clear(grid)?;
        }
        store.begin(grid, false, &Provenance::of_data(dataset))?;
        Ok(store)
    }

    /// Locks a results folder, and makes it if it is not there.
    ///
    /// # Errors
    /// As [`Store::open`]. Nothing but the lock has been written then.
    pub fn lock(root: &Path) -> Result<Self> {
        refuse_unsuitable(root)?;
        make_folder(root, "--out")?;
        let (root, locks) = (root.to_path_buf(), vec![lock(root)?, lock_whole(root)?]);
        let store = Self { root, shard: None, shard_of: Vec::new(), locks, note: None };
        // Another process may have begun something there meanwhile.
        refuse_unsuitable(&store.root)?;
        Ok(store)
    }

    /// Begins a grid in the folder, or goes on with it or with one that it contains. Runs of that one which
    /// it lacks are moved aside if they may be left out, and not ranked. A damaged `grid.toml` is set aside
    /// and written anew if all runs in the folder are of this grid.
    ///
    /// # Errors
    /// Where the folder holds another grid or what was trained on other data, or cannot be written to.
    pub fn begin(&mut self, grid: &Grid, may_leave_out: bool, data: &Provenance) -> Result<()> {
        self.prepare((grid, may_leave_out), data)?;
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
        (grid, may_leave_out): (&Grid, bool),
        data: &Provenance,
        shard: Shard,
        plan: &dyn Fn(&[bool]) -> Vec<usize>,
    ) -> Result<Self> {
        refuse_unsuitable(root)?;
        make_folder(root, "--out")?;
        let (shard_of, locks) = (Vec::new(), Vec::new());
        let root_of = root.to_path_buf();
        let mut store = Self { root: root_of, shard: Some(shard), shard_of, locks, note: None };
        if let Ok(alone) = lock(root) {
            // Another process may have begun something there meanwhile.
            refuse_unsuitable(root)?;
            store.prepare((grid, may_leave_out), data)?;
            let runs = &store.runs(grid)?;
            if planned_shards(root, runs, shard.count, data).is_none() {
                store.gather_states()?;
                let shard_of = plan(&finished_runs(root, runs, data)?);
                let (count, data) = (shard.count, data.data_hash());
                write_shards(root, runs, &Shards { count, shard_of, data })?;
            }
            drop(alone);
        }
        store.locks.push(lock_with_others(root)?);
        refuse_another_grid(root, grid)?;
        let runs = &store.runs(grid)?;
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
                Place::Option("shard"),
                format!("one of {}", counted(shard.count, "shard")),
                format!(
                    "one of {count}, like the other shards in {} that are training",
                    root.display()
                ),
            ));
        }
        let own = shard_lock(shard.index);
        store.locks.push(lock_part(root, &own, &format!("shard {shard}"))?);
        store.shard_of = shard_of;
        Ok(store)
    }

    /// Makes sure that the folder is this grid's. No other process may be writing to it.
    fn prepare(&mut self, grid: (&Grid, bool), data: &Provenance) -> Result<()> {
        let root = &self.root;
        refuse_links(root, &self.runs(grid.0)?)?;
        let path = root.join(GRID);
        let is_current = match taken_over(root, grid, data)? {
            (Holds::Nothing, _) => false,
            (Holds::Damaged(place, problem), _) => {
                let aside = keep_aside(&path)?;
                let name = aside.file_name().unwrap_or_default().display();
                self.note = Some(format!(
                    "{place}: {problem}; it was renamed to {name} and is written again from this grid"
                ));
                false
            }
            (Holds::Grid(_), growth) => {
                if let Some(growth) = &growth {
                    self.note = growth.apply(root)?;
                }
                growth.is_none()
            }
        };
        if !is_current {
            write_whole(&path, grid.0.to_toml().as_bytes())?;
            remove(&switching(root))?;
        }
        // After the grid, by which the folder is known as one of results.
        make_own_folder(&root.join(RUNS))?;
        let folders = [root.clone(), root.join(STATE), final_states_of(root)];
        folders.iter().try_for_each(|folder| sweep(folder, &WRITTEN))
    }

    /// Brings the states that shards have saved to those that any run may go on from. No other
    /// process may be writing to the folder.
    fn gather_states(&self) -> Result<()> {
        let (shards, pool) = (self.root.join(STATE).join(SHARDS), states_of(&self.root));
        for folder in entries(&shards) {
            make_state_folder(&pool)?;
            sweep(&folder, &[])?;
            for state in entries(&folder) {
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
        read_grid(&self.root)?.map(|grid| self.runs(&grid)).transpose()
    }

    /// The runs of a grid under the names of their folders.
    ///
    /// # Errors
    /// As [`Grid::runs`].
    pub fn runs(&self, grid: &Grid) -> Result<Vec<Run>> {
        Ok(placed(&self.root, grid.runs()?))
    }

    /// How many runs of the folder's grid have a record, how many of these stand at a rung, and how many
    /// checkpoints there are; `None` where the folder holds no grid.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn count_results(&self) -> Result<Option<[usize; 3]>> {
        let Some(runs) = self.old_runs()? else { return Ok(None) };
        let folders = runs.iter().map(|run| run_folder(&self.root, &run.name));
        let recorded: Vec<PathBuf> = folders.filter(|it| it.join(RECORD).exists()).collect();
        let is_stopped = |it: &&PathBuf| {
            read_run(it).is_ok_and(|it| it.is_some_and(|it| it.outcome.is_stopped()))
        };
        let stopped = recorded.iter().filter(is_stopped).count();
        let folders = all_states_of(&self.root).chain([final_states_of(&self.root)]);
        let states = folders.map(|folder| entries(&folder).len()).sum();
        Ok(Some([recorded.len(), stopped, states]))
    }

    /// Removes earlier results, if there are any: what rookie has written for the runs of the folder's grid,
    /// never through a link. At last the new `grid.toml` replaces that grid's, so that what a break leaves is
    /// still a results folder.
    ///
    /// # Errors
    /// Where the folder's grid cannot be read, something is a link, or [`Error::Write`].
    pub fn clear(&self, grid: &Grid) -> Result<()> {
        let Some(old) = self.old_runs()? else { return Ok(()) };
        refuse_links(&self.root, &old)?;
        let folders = old.iter().map(|run| (run_folder(&self.root, &run.name), run));
        for (folder, run) in folders.filter(|(folder, _)| folder.exists()) {
            if holds_another(&self.root, run) {
                leave_out(&self.root, &run.name)?;
                continue;
            }
            clear_run(&folder)?;
            // A folder that holds other things too stays.
            remove_folder(&folder);
        }
        leave_out_copies(&self.root, &[&old[..], &grid.runs()?].concat())?;
        remove(&switching(&self.root))?;
        remove_folder(&self.root.join(RUNS));
        leave_out_no_refit(&self.root, &self.refit_folder())?;
        clear_run(&self.refit_folder())?;
        remove_folder(&self.refit_folder());
        clear_states(&self.root.join(STATE).join(SHARDS))?;
        clear_states(&self.states())?;
        clear_states(&final_states_of(&self.root))?;
        // A report or an ensemble of what has gone would mislead. A user's own stays.
        let of_others = [(DRAWN[0], REPORT_MARK), (ENSEMBLE, MADE_BY), (SETTINGS, SETTINGS_MARK)];
        let mut of_others = of_others.into_iter().map(|(name, mark)| (self.root.join(name), mark));
        of_others.try_for_each(|(path, mark)| remove_own(&path, mark))?;
        [RANKING, TOP].iter().try_for_each(|name| remove(&self.root.join(name)))?;
        write_whole(&self.root.join(GRID), grid.to_toml().as_bytes())
    }

    /// The results folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the run on the rows of all folds.
    pub fn refit_folder(&self) -> PathBuf {
        self.root.join(REFIT)
    }

    /// The record of that run, if it is whole. One that cannot be read is set aside; `warn` is told.
    ///
    /// # Errors
    /// [`Error::Write`] with the path.
    pub fn refit_record(&self, warn: &mut dyn FnMut(&str)) -> Result<Option<Record>> {
        let folder = self.refit_folder();
        let record = usable_record(read_run(&folder), &folder, warn)?;
        Ok(record.filter(|it| missing_file(&folder, it).is_none()))
    }

    /// Writes what that run leaves, instead of an earlier one.
    ///
    /// # Errors
    /// [`Error::Write`] with the path, and where the folder is a link.
    pub fn write_refit(&self, trained: &Trained, record: &Record) -> Result<()> {
        let folder = self.refit_folder();
        leave_out_no_refit(&self.root, &folder)?;
        make_own_folder(&folder)?;
        clear_run(&folder)?;
        write_run(&folder, trained, record)
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

    /// The states that were saved in the folder of checkpoints, and those in which runs have ended, which stay.
    ///
    /// # Errors
    /// Where a folder or a file in it cannot be read.
    pub fn saved(&self) -> Result<Saved> {
        let mut saved = read_saved(&self.states())?;
        saved.extend(read_saved(&final_states_of(&self.root))?);
        Ok(saved)
    }

    /// Keeps the state in which a run has ended, from which a longer one may go on.
    ///
    /// # Errors
    /// [`Error::Write`] with the path.
    pub fn keep_final_state(&self, run: &Run, state: &[u8]) -> Result<()> {
        let folder = final_states_of(&self.root);
        make_run_folder(&folder)?;
        // Another run of the same name may resume from it while others still need it.
        let of_values = hexadecimal(&Sha256::digest(spelled(&run.values))[..8]);
        write_whole(&folder.join(format!("{of_values}.{EXTENSION}")), state)
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
    pub fn shards_at_work(&self) -> Result<BTreeSet<usize>> {
        let count = self.shard.map_or(0, |shard| shard.count);
        let mut at_work = BTreeSet::new();
        for shard in 0..count {
            if is_taken_by_any(&self.root.join(STATE).join(shard_lock(shard)))? {
                at_work.insert(shard);
            }
        }
        Ok(at_work)
    }

    /// What a user should know of the folder's `grid.toml`, or of an earlier grid's runs, a sentence.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Makes sure that all shards at work halve at the same rungs, because they wait for each other there.
    ///
    /// # Errors
    /// [`Error::Input`] where others do otherwise.
    pub fn agree_on_halving(&self, halving: &Halving) -> Result<()> {
        let Some(shard) = self.shard else { return Ok(()) };
        let path = self.root.join(STATE).join("halving");
        let text = format!("rungs {:?}, keep {}", halving.rungs(), halving.keep());
        self.in_turn(|| {
            let others = self.shards_at_work()?.into_iter().any(|it| it != shard.index);
            let there = fs::read_to_string(&path).ok().filter(|there| others && *there != text);
            match there {
                None => write_whole(&path, text.as_bytes()),
                Some(there) => {
                    let expected = format!("{there}, like the other shards that are training");
                    Err(Error::unexpected(Place::Name("halving"), text.clone(), expected))
                }
            }
        })
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
    /// not ended: it is tried again, and its record is removed, which other shards would take for an end. So
    /// is one whose record cannot be read or is not its own, which is set aside, or whose files are not all
    /// there or, where `of_curve` says that these are needed, not its own; `warn` is told.
    ///
    /// # Errors
    /// Where the run was trained on other data, or [`Error::Write`].
    pub fn finished(
        &self,
        run: &Run,
        data: &Provenance,
        of_curve: bool,
        warn: &mut dyn FnMut(&str),
    ) -> Result<Option<Record>> {
        let folder = self.run_folder(run);
        let record = run_record(&self.root, run);
        if !matches!(record, Ok(Some(_))) && holds_another(&self.root, run) {
            leave_out(&self.root, &run.name)?;
            let folder = folder.display();
            warn(&format!(
                "{folder} held the result of another run, which was moved to {LEFT_OUT}, and its run is trained again"
            ));
            return Ok(None);
        }
        let record = usable_record(record, &folder, warn)?;
        let Some(record) = record else { return Ok(None) };
        record.provenance.refuse_other_data(data, &folder)?;
        let problem = problem_of_files(&folder, &record, of_curve)?;
        if let Some(problem) = &problem {
            warn(&format!("{problem}, its run is trained again"));
        }
        if problem.is_some() || matches!(record.outcome, Outcome::Failed { .. }) {
            return remove(&folder.join(RECORD)).map(|()| None);
        }
        Ok(Some(record))
    }

    /// Replaces the ranking, its top as Markdown and, for a grid of several seeds, the settings. Without these, an
    /// earlier grid's go.
    ///
    /// # Errors
    /// [`Error::Write`] with the path.
    pub fn write_ranking(&self, csv: &[u8], top: &str, settings: Option<&[u8]>) -> Result<()> {
        let [ranking, top10, of_seeds] = [RANKING, TOP, SETTINGS].map(|name| self.root.join(name));
        let files =
            [(&*ranking, Some(csv)), (&*top10, Some(top.as_bytes())), (&*of_seeds, settings)];
        let files = files.into_iter().filter_map(|(path, bytes)| Some((path, bytes?)));
        // After a shard that was killed here: those that begin beside others sweep nothing.
        sweep(&self.root, &[RANKING, TOP, SETTINGS])?;
        write_together(&files.collect::<Vec<_>>())?;
        if settings.is_none() { remove_own(&of_seeds, SETTINGS_MARK) } else { Ok(()) }
    }
}
