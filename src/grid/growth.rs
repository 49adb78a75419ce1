//! A results folder whose grid grows: which run is in which folder, and what becomes of the runs that the
//! new grid does not have.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Place, Result, counted};
use crate::grid::disk::{
    STATE, make_own_folder, make_state_folder, refuse_link, remove_folder, rename, sweep,
    write_whole,
};
use crate::grid::names::{LEFT_OUT, RECORD, RUNS, SWITCHING, WRITTEN};
use crate::grid::run_folder::{
    finished_runs, holds_another, holds_no_refit, is_finished, read_run, run_folder, run_record,
    states_of,
};
use crate::grid::saved::{EXTENSION, all_states_of, entries, final_states_of, read_saved};
use crate::grid::space::{Grid, Run, spelled};
use crate::grid::stages::farthest;
use crate::train::checked::Checked;
use crate::train::hyperparams::Hyperparams;
use crate::train::outcome::Record;
use crate::train::provenance::Provenance;

/// The runs of a grid under the names of their folders in its results folder: one that an earlier, smaller
/// grid has finished is known by the values in its record, and stays where it is.
pub fn placed(root: &Path, mut runs: Vec<Run>) -> Vec<Run> {
    let names: HashSet<&str> = runs.iter().map(|run| &*run.name).collect();
    let mut others: HashMap<String, String> = HashMap::new();
    for record in records(&root.join(RUNS), &|name| !names.contains(name)) {
        others.entry(spelled(&record.values)).or_insert(record.run);
    }
    drop(names);
    if others.is_empty() {
        return runs;
    }
    for run in &mut runs {
        if let Some(name) = others.remove(&spelled(&run.values))
            && !run_folder(root, &run.name).join(RECORD).exists()
        {
            run.name = name;
        }
    }
    runs
}

/// The records that can be read in a folder of runs, of those names that `is_wanted`, sorted by name.
fn records(folder: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Vec<Record> {
    let is_run = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        is_wanted(&name) && !path.is_symlink()
    };
    let paths = entries(folder).into_iter().filter(is_run);
    let read = paths.filter_map(|path| read_run(&path).ok().flatten());
    read.filter(|record| record.provenance.init().is_none()).collect()
}

/// How a grid takes over the folder of another one.
#[derive(Debug)]
pub(super) struct Growth {
    aside: HashSet<String>, // the names of the folders that make room for the grid's
    left_out: usize,        // how many of these hold runs that the grid does not have
    has_more_epochs: bool,  // for each of these
    returning: Vec<(String, String)>, // runs that were left out and that it has, and their new names
    moves: Vec<Move>,                 // of checkpoints, with runs that are left out or come back
}

/// What is in the folder of states while a grid takes over the folder of another one. If that is interrupted,
/// runs of both may be in either folder, whichever of the two `grid.toml` holds.
pub(super) fn switching(root: &Path) -> PathBuf {
    root.join(STATE).join(SWITCHING)
}

/// Moves the folder of a run into `left_out`, with all that is in it but what a killed process was writing.
///
/// # Errors
/// [`Error::Write`] with the path.
pub(super) fn leave_out(root: &Path, run: &str) -> Result<()> {
    leave_folder_out(root, &run_folder(root, run))
}

fn leave_folder_out(root: &Path, folder: &Path) -> Result<()> {
    let left_out = root.join(LEFT_OUT);
    sweep(folder, &WRITTEN)?;
    remove_folder(folder);
    if !folder.exists() {
        return Ok(());
    }
    make_own_folder(&left_out)?;
    rename(folder, &unused(&left_out.join(folder.file_name().unwrap_or_default())))
}

/// The same with what is in the place of a refit and is none.
///
/// # Errors
/// [`Error::Write`] with the path.
pub(super) fn leave_out_no_refit(root: &Path, folder: &Path) -> Result<()> {
    if holds_no_refit(folder) { leave_folder_out(root, folder) } else { Ok(()) }
}

/// Moves aside the results that runs of a grid would find under other names than their own: copies of what was
/// removed, which would be taken for it. After an interrupted switch of grids, those of the other grid too.
///
/// # Errors
/// [`Error::Write`] with the path.
pub(super) fn leave_out_copies(root: &Path, runs: &[Run]) -> Result<()> {
    let values: HashSet<String> = runs.iter().map(|run| spelled(&run.values)).collect();
    let (found, is_interrupted) = (records(&root.join(RUNS), &|_| true), switching(root).exists());
    let is_copy = |it: &&Record| is_interrupted || values.contains(&spelled(&it.values));
    let mut copies = found.iter().filter(is_copy);
    copies.try_for_each(|record| leave_out(root, &record.run))
}

/// A checkpoint that goes into another folder, as a copy where runs need it here and there. What comes back from
/// `left_out` stays there too.
#[derive(Debug)]
struct Move {
    from: PathBuf,
    folder: PathBuf,
    is_copied: bool,
}

impl Growth {
    /// From the grid that is `there`; `None` where both have the same runs, unless a switch between two grids was
    /// interrupted.
    ///
    /// # Errors
    /// Where the new grid lacks runs of the earlier one and `may_leave_out` is not said, unless it has each
    /// of them with more epochs, where such a run was trained on other data, and where its folder is a link.
    pub(super) fn plan(
        root: &Path,
        there: &Grid,
        grid: &Grid,
        may_leave_out: bool,
        data: &Provenance,
    ) -> Result<Option<Self>> {
        let (difference, is_interrupted) = (grid.difference(there)?, switching(root).exists());
        if difference.is_none() && !is_interrupted {
            return Ok(None);
        }
        let new = grid.runs()?;
        let of_values: HashMap<String, &Run> =
            new.iter().map(|run| (spelled(&run.values), run)).collect();
        let (kept, missing): (Vec<Run>, Vec<Run>) = placed(root, there.runs()?)
            .into_iter()
            .partition(|run| of_values.contains_key(&spelled(&run.values)));
        let own = placed(root, new.clone());
        refuse_other_data(root, &own, data)?;
        finished_runs(root, &missing, data)?;
        let record = |run: &&Run| run_record(root, run).ok().flatten();
        let is_finished = |run: &&Run| record(run).is_some_and(|it| it.outcome.is_end());
        let finished: Vec<&Run> = missing.iter().filter(is_finished).collect();
        let has_more_epochs = !missing.is_empty() && have_more_epochs(&new, &missing);
        if let Some(difference) = difference
            && !missing.is_empty()
            && !has_more_epochs
            && !may_leave_out
        {
            return Err(another_grid(root, &difference, &finished));
        }
        let finished_before: HashSet<String> =
            kept.iter().filter(is_finished).map(|run| spelled(&run.values)).collect();
        let unfinished = missing.iter().filter(|run| !is_finished(run)).map(|run| &run.values);
        let left = new.iter().map(|run| &run.values);
        let left = left.filter(|values| !finished_before.contains(&spelled(values)));
        let moves = moves(root, [unfinished.collect(), left.collect()], data)?;
        refuse_in_the_way(root, &kept, &new)?;
        let mut aside = in_the_way(root, &own, kept.iter().chain(&missing))?;
        if is_interrupted {
            let others = records(&root.join(RUNS), &|name| !aside.contains(name));
            let others =
                others.into_iter().filter(|it| !of_values.contains_key(&spelled(&it.values)));
            aside.extend(others.map(|record| record.run));
        }
        let returns = |record: Record| {
            // What was left out may be of other data, if the folder was started over.
            record.provenance.same_data(data).then_some(())?;
            let values = spelled(&record.values);
            let run = of_values.get(&values).filter(|_| !finished_before.contains(&values))?;
            let is_free = !run_folder(root, &run.name).join(RECORD).exists();
            (is_free || aside.contains(&run.name)).then(|| (record.run, run.name.clone()))
        };
        let earlier = records(&root.join(LEFT_OUT), &|_| true);
        let mut returning: Vec<(String, String)> =
            earlier.into_iter().filter_map(returns).collect();
        // Of two with the same values one comes back, a finished one if there is one.
        returning.sort_by_cached_key(|(name, now)| (now.clone(), !has_finished(root, name)));
        returning.dedup_by(|a, b| a.1 == b.1);
        // A kill may have left files there without a record.
        aside.extend(returning.iter().map(|(_, now)| now.clone()));
        let left_out = missing.iter().filter(|run| record(run).is_some()).count();
        Ok(Some(Self { aside, left_out, has_more_epochs, returning, moves }))
    }

    /// The names of the finished runs that come back.
    pub(super) fn finished_before(&self, root: &Path) -> HashSet<String> {
        let finished = self.returning.iter().filter(|(name, _)| has_finished(root, name));
        finished.map(|(_, now)| now.clone()).collect()
    }

    /// Moves the runs that are left out, and their checkpoints, and makes room for the names of new checkpoints.
    /// Returns what a user should know.
    ///
    /// # Errors
    /// [`Error::Write`] with the path.
    pub(super) fn apply(&self, root: &Path) -> Result<Option<String>> {
        write_whole(&switching(root), b"")?;
        make_own_folder(&root.join(RUNS))?;
        let folder = root.join(LEFT_OUT);
        for Move { from, folder, is_copied } in &self.moves {
            make_state_folder(folder)?;
            let to = unused(&folder.join(from.file_name().unwrap_or_default()));
            if *is_copied {
                write_whole(&to, &fs::read(from).map_err(|source| Error::read(from, source))?)?;
            } else {
                rename(from, &to)?;
            }
        }
        // Under another name, nobody would know what a killed process was writing.
        sweep(&states_of(root), &[])?;
        // A state is named by its run's place in the grid. What is no state keeps its name.
        for state in entries(&states_of(root)).iter().filter(|it| names_a_place(it)) {
            rename(state, &unused(state))?;
        }
        self.aside.iter().try_for_each(|name| leave_out(root, name))?;
        for (name, now) in &self.returning {
            rename(&folder.join(name), &run_folder(root, now))?;
        }
        remove_folder(&folder);
        let mut notes = Vec::new();
        let states = self.moves.iter().filter(|it| it.folder == folder).count();
        let (runs, folder) = (counted(self.left_out, "earlier run"), folder.display());
        let not_there = "that the grid does not have";
        if states > 0 {
            let states = counted(states, "checkpoint");
            notes.push(format!("kept {states} of runs {not_there} in {folder}"));
        }
        if self.left_out > 0 && self.has_more_epochs {
            let has_states = !entries(&final_states_of(root)).is_empty();
            let from = if has_states { "their final checkpoints" } else { "the start" };
            notes.push(format!(
                "training {runs} with more epochs from {from}; what there was is kept in {folder}"
            ));
        } else if self.left_out > 0 {
            notes.push(format!("kept {runs} {not_there} in {folder}, where they are not ranked"));
        }
        Ok((!notes.is_empty()).then(|| notes.join("; ")))
    }
}

/// Whether what was left out under this name is the whole result of a run that has ended.
fn has_finished(root: &Path, name: &str) -> bool {
    let folder = root.join(LEFT_OUT).join(name);
    read_run(&folder).ok().flatten().is_some_and(|record| is_finished(&folder, &record))
}

/// Refuses runs of an earlier grid that a new one has too, under a name that it gives to another run.
fn refuse_in_the_way(root: &Path, kept: &[Run], new: &[Run]) -> Result<()> {
    let names: HashMap<&str, &Run> = new.iter().map(|run| (&*run.name, run)).collect();
    let is_in_the_way = |run: &&Run| {
        names.get(&*run.name).is_some_and(|other| other.values != run.values)
            && run_record(root, run).is_ok_and(|record| record.is_some())
    };
    let Some(run) = kept.iter().find(is_in_the_way) else { return Ok(()) };
    let problem = format!("holds a finished run {} with other values than the grid's", run.name);
    Err(Error::input(Place::file(root), problem)
        .hint("name another folder with --out, and rank both together"))
}

/// The names of folders that do not hold results of a grid's own runs: those of earlier runs, and those of its own
/// that hold the result of another run.
///
/// # Errors
/// Where one is a link.
fn in_the_way<'r>(
    root: &Path,
    own: &'r [Run],
    earlier: impl Iterator<Item = &'r Run>,
) -> Result<HashSet<String>> {
    let earlier: Vec<&String> = earlier.map(|run| &run.name).collect();
    earlier.iter().try_for_each(|name| refuse_link(&run_folder(root, name)))?;
    let (mut of_grid, mut others) = (HashSet::new(), Vec::new());
    for run in own {
        match run_record(root, run) {
            Ok(Some(_)) => _ = of_grid.insert(&run.name),
            _ if holds_another(root, run) => others.push(&run.name),
            _ => {}
        }
    }
    Ok(earlier.into_iter().chain(others).filter(|name| !of_grid.contains(name)).cloned().collect())
}

/// Checks that longer runs could go on from the final states of these.
///
/// # Errors
/// [`Error::Input`] where a run validates after its last epoch and a longer one would not: the best weights
/// may come from there.
pub fn check_final_states(runs: &[Run]) -> Result<()> {
    let misses = |run: &&Run| !run.values.epochs.is_multiple_of(run.values.eval_every);
    let Some(run) = runs.iter().find(misses) else { return Ok(()) };
    let (epochs, every) = (run.values.epochs, run.values.eval_every);
    let found =
        format!("epochs {epochs} of {}, after which longer runs are not validated", run.name);
    let expected = format!("a multiple of its eval_every {every}");
    Err(Error::unexpected(Place::Option("keep_states"), found, expected)
        .hint(format!("take {} epochs", epochs.div_ceil(every) * every)))
}

/// Refuses a folder whose records of these runs, or whose checkpoints, are of other data. Nothing is changed.
///
/// # Errors
/// Names the first of them.
pub(super) fn refuse_other_data(root: &Path, runs: &[Run], data: &Provenance) -> Result<()> {
    finished_runs(root, runs, data)?;
    // Final checkpoints are those of runs with a record.
    for folder in all_states_of(root) {
        for (path, read) in read_saved(&folder)? {
            read.map_or(Ok(()), |state| state.provenance.refuse_other_data(data, path))?;
        }
    }
    Ok(())
}

/// The error where a grid lacks runs of the folder's, with those that have finished.
fn another_grid(root: &Path, difference: &str, finished: &[&Run]) -> Error {
    let lacking = finished.first().map_or(String::new(), |run| {
        let runs = counted(finished.len(), "finished run");
        format!(" with {runs} that this one lacks, such as {}", run.name)
    });
    let problem = format!("holds another grid ({difference}){lacking}");
    Error::input(Place::file(root), problem).hint(
        "name another folder with --out, keep such runs aside with --leave-out, or start over with --fresh",
    )
}

/// Where checkpoints go: into `left_out` with the runs that a grid does not have, or back from there with those
/// that it has. The values of both are those of unfinished runs.
fn moves(root: &Path, runs: [Vec<&Checked>; 2], data: &Provenance) -> Result<Vec<Move>> {
    let (own, aside) = (states_of(root), root.join(LEFT_OUT));
    let mut states = Vec::new();
    for folder in all_states_of(root).chain([aside.clone()]) {
        let read = read_saved(&folder)?.into_iter();
        states.extend(read.filter_map(|(path, read)| Some((path, read.ok()?))));
    }
    // What was left out may be of other data, if the folder was started over.
    states.retain(|(_, state)| state.provenance.same_data(data));
    let known: Vec<_> = states.iter().map(|(_, state)| state.known()).collect();
    let [out, back] =
        runs.map(|runs| farthest(&runs, &known).into_iter().flatten().collect::<HashSet<usize>>());
    let moved = |(index, (from, _)): (usize, &(PathBuf, _))| {
        let is_aside = from.parent() == Some(&aside);
        let (folder, goes, stays) =
            if is_aside { (&own, &back, &out) } else { (&aside, &out, &back) };
        // Other runs that are left out may resume from it too.
        let is_copied = is_aside || stays.contains(&index);
        let (from, folder) = (from.clone(), folder.clone());
        goes.contains(&index).then_some(Move { from, folder, is_copied })
    };
    Ok(states.iter().enumerate().filter_map(moved).collect())
}

/// How names begin that gave way to others.
const EARLIER: &str = "earlier";

/// Whether a file has the name that a grid gives to a state, and not yet another.
fn names_a_place(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.extension().is_some_and(|it| it == EXTENSION) && !name.starts_with(EARLIER)
}

/// This path, or another one beside it that nothing has.
fn unused(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let others = (1..).map(|n| path.with_file_name(format!("{EARLIER}{n}_{name}")));
    std::iter::once(path.to_path_buf())
        .chain(others)
        .find(|path| !path.exists())
        .expect("one is free")
}

/// Whether each of some runs is among others but for its epochs, of which there are more.
fn have_more_epochs(among: &[Run], runs: &[Run]) -> bool {
    let others =
        |values: &Checked| spelled(&Hyperparams { epochs: 0, ..Hyperparams::clone(values) });
    let mut most: HashMap<String, usize> = HashMap::new();
    for Run { values, .. } in among {
        let epochs = most.entry(others(values)).or_default();
        *epochs = values.epochs.max(*epochs);
    }
    let is_longer = |run: &Run| {
        most.get(&others(&run.values)).is_some_and(|epochs| *epochs > run.values.epochs)
    };
    runs.iter().all(is_longer)
}
