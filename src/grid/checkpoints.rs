//! Checkpoints of stages in progress, in files: at most one for each state that is alive, each the
//! farthest that some run left has come to. A run resumes from the farthest one that it would have
//! come to itself, whatever the tree, the number of workers or the sharing of the process before.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use crate::error::{Error, Place, Result};
use crate::grid::names::LEFT_OUT;
use crate::grid::saved::{
    EXTENSION, Saved, SavedState, all_states_of, final_states_of, read_checkpoint, read_saved,
};
use crate::grid::stages::{ResumePoint, can_resume, farthest};
use crate::grid::store::{make_state_folder, remove, remove_folder, set_aside, write_whole};
use crate::train::checked::Checked;
use crate::train::checkpoint::Checkpoint;
use crate::train::provenance::Provenance;
use crate::train::reads::Step;

/// The checkpoints of some runs. Only where each state lies is kept in memory, not the state.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    has_neighbours: bool, // other shards', in the same folder
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    states: Vec<State>,               // all that have ever been known
    of_run: HashMap<usize, usize>,    // the farthest state of each run that has one
    by_path: HashMap<PathBuf, usize>, // those whose files are there
}

#[derive(Debug)]
struct State {
    path: PathBuf,
    at: Step,
    users: usize, // runs whose farthest it is
    is_own: bool, // and not of the pool, which others may need too
}

/// What was there when a folder was opened.
#[derive(Debug)]
pub struct Found {
    /// What was set aside, and why, a sentence each.
    pub warnings: Vec<String>,
    /// The provenance of each state that a run resumes from.
    pub provenances: Vec<Provenance>,
}

impl Checkpoints {
    /// Makes a folder for the states of these runs, each with its number, if there is none, and looks from
    /// which of those that were read there each run resumes. A file that cannot be used is set aside, and
    /// one that no run needs is removed. Runs may also resume from states in the `pool`, if there is one,
    /// whose files others may need too and which stay.
    ///
    /// # Errors
    /// Where a state was trained on other data than `provenance` says, or the folder cannot be read
    /// or written to.
    pub fn open(
        (folder, mut saved): (PathBuf, Saved),
        pool: Option<&Path>,
        runs: &[(usize, &Checked)],
        sizes: (usize, usize),
        provenance: &Provenance,
    ) -> Result<(Self, Found)> {
        make_state_folder(&folder)?;
        if let Some(pool) = pool {
            saved.extend(read_saved(pool)?);
        }
        let is_own = |path: &Path| path.parent() == Some(&folder);
        let (mut found, mut warnings) = (Vec::new(), Vec::new());
        for (path, read) in saved {
            if let Ok(saved) = &read {
                saved.provenance.refuse_other_data(provenance, &path)?;
            }
            match read.and_then(|saved| fits(&saved, sizes, provenance).map(|()| saved)) {
                Ok(saved) => found.push((path, saved)),
                Err(problem) if !is_own(&path) => {
                    warnings.push(format!("{}: {problem}; not used", path.display()));
                }
                Err(problem) => {
                    let aside = set_aside(&path)?;
                    warnings.push(format!(
                        "{}: {problem}; it was renamed to {}, and its epochs are trained again",
                        path.display(),
                        aside.file_name().unwrap_or_default().display()
                    ));
                }
            }
        }
        let values: Vec<&Checked> = runs.iter().map(|(_, values)| *values).collect();
        let states: Vec<_> = found.iter().map(|(_, it)| it.known()).collect();
        let of_run = runs.iter().zip(farthest(&values, &states));
        let of_run = of_run.filter_map(|(&(run, _), state)| Some((run, state?)));
        let of_run: HashMap<usize, usize> = of_run.collect();
        let mut users = vec![0; found.len()];
        for &state in of_run.values() {
            users[state] += 1;
        }
        let mut kept = Kept { of_run, ..Kept::default() };
        let mut provenances = Vec::new();
        for ((path, SavedState { at, provenance, .. }), users) in found.into_iter().zip(users) {
            let is_own = is_own(&path);
            if users > 0 {
                provenances.push(provenance);
                kept.by_path.insert(path.clone(), kept.states.len());
            } else if is_own {
                remove(&path)?;
            }
            kept.states.push(State { path, at, users, is_own });
        }
        let (has_neighbours, kept) = (pool.is_some(), Mutex::new(kept));
        Ok((Self { folder, has_neighbours, kept }, Found { warnings, provenances }))
    }

    /// From where each of these runs resumes.
    pub fn resume_points(&self, runs: impl IntoIterator<Item = usize>) -> Vec<Option<ResumePoint>> {
        let kept = self.kept();
        let point = |run: usize| {
            let &saved = kept.of_run.get(&run)?;
            Some(ResumePoint { saved, at: kept.states[saved].at })
        };
        runs.into_iter().map(point).collect()
    }

    /// Reads a state that a run with these values resumes from.
    ///
    /// # Errors
    /// Where the file is no longer there, damaged, or no longer that state.
    pub fn load(&self, saved: usize, values: &Checked) -> Result<Checkpoint> {
        let (path, at) = {
            let State { path, at, .. } = &self.kept().states[saved];
            (path.clone(), *at)
        };
        let is_same = |it: &Checkpoint| it.state.step() == at && can_resume(values, &it.values, at);
        let problem = match read_checkpoint(&path)? {
            Ok(checkpoint) if is_same(&checkpoint) => return Ok(checkpoint),
            Ok(_) => "has changed since it was found".to_string(),
            Err(problem) => problem,
        };
        Err(Error::input(Place::file(path), problem).hint("start the same command again"))
    }

    /// Saves a state at a step that these runs go on from, in the file of a stage: told by the number of one
    /// of its runs and by the step that it begins with.
    ///
    /// # Errors
    /// [`Error::Write`] with the path.
    pub fn save(
        &self,
        (run, from): (usize, Step),
        runs: &[usize],
        (at, bytes): (Step, &[u8]),
    ) -> Result<()> {
        let name = format!("run{}_step{}", run + 1, from.number());
        let (path, known) = self.kept().place(&self.folder, &name, runs);
        write_whole(&path, bytes)?;
        let mut kept = self.kept();
        let now = known.unwrap_or(kept.states.len());
        if known.is_some() {
            kept.states[now].at = at;
        } else {
            kept.by_path.insert(path.clone(), now);
            kept.states.push(State { path, at, users: 0, is_own: true });
        }
        kept.replace(runs, Some(now))
    }

    /// These runs need their states no longer.
    ///
    /// # Errors
    /// [`Error::Write`] with the path.
    pub fn let_go(&self, runs: &[usize]) -> Result<()> {
        self.kept().replace(runs, None)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no panic while holding it")
    }
}

impl Kept {
    /// The file for a state of these runs, and the state that it holds if these alone use that: a stage writes
    /// the same file again and again. A file that others use, in which runs had other numbers, is left alone.
    fn place(&self, folder: &Path, name: &str, runs: &[usize]) -> (PathBuf, Option<usize>) {
        let names = (2..).map(|n| format!("{name}_{n}.{EXTENSION}"));
        let mut paths = std::iter::once(format!("{name}.{EXTENSION}"))
            .chain(names)
            .map(|name| folder.join(name));
        let free = |path: PathBuf| {
            let Some(&state) = self.by_path.get(&path) else { return Some((path, None)) };
            let of_these = runs.iter().filter(|run| self.of_run.get(run) == Some(&state)).count();
            (of_these == self.states[state].users).then_some((path, Some(state)))
        };
        paths.find_map(free).expect("one is free")
    }

    /// From now on, this is the farthest state of these runs. Files that no run needs are removed.
    fn replace(&mut self, runs: &[usize], now: Option<usize>) -> Result<()> {
        let mut old = Vec::new();
        for &run in runs {
            let before = match now {
                Some(now) => self.of_run.insert(run, now),
                None => self.of_run.remove(&run),
            };
            if let Some(now) = now {
                self.states[now].users += 1;
            }
            if let Some(before) = before {
                self.states[before].users -= 1;
                old.push(before);
            }
        }
        old.sort_unstable();
        old.dedup();
        old.retain(|&old| self.states[old].users == 0 && self.states[old].is_own);
        for old in old {
            self.by_path.remove(&self.states[old].path);
            remove(&self.states[old].path)?;
        }
        Ok(())
    }
}

/// Whether a state is one that runs on these data and from these weights can resume from.
fn fits(
    saved: &SavedState,
    (inputs, classes): (usize, usize),
    provenance: &Provenance,
) -> std::result::Result<(), String> {
    if Ok(&saved.sizes) != saved.values.sizes(inputs, classes).as_ref() {
        return Err("is of another network than the grid's".to_string());
    }
    if saved.provenance.init() != provenance.init() {
        return Err("is of a run that began with other weights".to_string());
    }
    Ok(())
}

/// Where these runs would resume in a results folder, in which nothing is changed; also from what would come back
/// from `left_out`.
///
/// # Errors
/// Where a folder of states cannot be read.
pub fn resume_points(
    root: &Path,
    runs: &[&Checked],
    sizes: (usize, usize),
    data: &Provenance,
) -> Result<Vec<Option<ResumePoint>>> {
    let mut found = Vec::new();
    for folder in all_states_of(root).chain([final_states_of(root), root.join(LEFT_OUT)]) {
        let usable =
            |it: &SavedState| fits(it, sizes, data).is_ok() && it.provenance.same_data(data);
        let states = read_saved(&folder)?.into_iter().filter_map(|(_, read)| read.ok());
        found.extend(states.filter(usable));
    }
    let states: Vec<_> = found.iter().map(SavedState::known).collect();
    let point = |saved: usize| ResumePoint { saved, at: states[saved].0 };
    Ok(farthest(runs, &states).into_iter().map(|saved| saved.map(point)).collect())
}

impl Drop for Checkpoints {
    /// Nothing saved, no folder.
    fn drop(&mut self) {
        remove_folder(&self.folder);
        if !self.has_neighbours {
            self.folder.parent().into_iter().for_each(remove_folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::saved::files;
    use crate::grid::space::values_of;
    use crate::network::params::Params;
    use crate::train::checkpoint::to_bytes;
    use crate::train::run::TrainState;

    /// Three runs that differ from epoch 11 on, as their rates decay then.
    fn runs() -> Vec<Checked> {
        let shared = ["epochs=30", "lr_decay_every=10", "hidden=3", "learning_rate=0.1"];
        values_of("table2", &[&shared[..], &["lr_decay=0.5,0.25,0.1"]].concat())
    }

    fn data(sha: &str) -> Provenance {
        Provenance::from_iter([("sha256_images".into(), sha.into())])
    }

    fn open(folder: &Path, runs: &[Checked]) -> (Checkpoints, Found) {
        let runs: Vec<(usize, &Checked)> = runs.iter().enumerate().collect();
        let saved = read_saved(folder).unwrap();
        let folder = (folder.to_path_buf(), saved);
        Checkpoints::open(folder, None, &runs, (4, 2), &data("a")).unwrap()
    }

    /// A run's state after so many epochs, as a file.
    fn state(run: &Checked, epochs: usize) -> (Step, Vec<u8>) {
        let state =
            TrainState::new(&run.parts().0, Params::he_init(&[4, 3, 2], 0)).pretend_trained(epochs);
        (state.step(), to_bytes(run, &state, 1.0, &data("a")))
    }

    fn save(saved: &Checkpoints, place: (usize, Step), runs: &[usize], state: (Step, Vec<u8>)) {
        saved.save(place, runs, (state.0, &state.1)).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let files = files(folder).unwrap_or_default();
        files.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().into()).collect()
    }

    fn epochs(saved: &Checkpoints, runs: usize) -> Vec<Option<usize>> {
        let points = saved.resume_points(0..runs);
        points.iter().map(|start| start.map(|start| start.at.epochs_before())).collect()
    }

    #[test]
    fn each_run_goes_on_from_the_farthest_state_and_what_none_needs_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let stages = folder.path().join("stages");
        let runs = runs();
        let (saved, _) = open(&stages, &runs);
        assert_eq!(epochs(&saved, 3), [None, None, None]);
        save(&saved, (0, Step::FIRST), &[0, 1, 2], state(&runs[0], 10));
        assert_eq!(names(&stages), ["run1_step0"]);
        // Two of the three have gone on; the third still needs what they had in common.
        save(&saved, (1, Step::after(10)), &[1], state(&runs[1], 15));
        save(&saved, (2, Step::after(10)), &[2], state(&runs[2], 12));
        assert_eq!(names(&stages), ["run1_step0", "run2_step20", "run3_step20"]);
        save(&saved, (2, Step::after(10)), &[2], state(&runs[2], 14));
        drop(saved);

        let (saved, _) = open(&stages, &runs);
        assert_eq!(epochs(&saved, 3), [Some(10), Some(15), Some(14)]);
        for (run, start) in runs.iter().zip(saved.resume_points(0..3)) {
            let state = saved.load(start.unwrap().saved, run).unwrap();
            assert!(can_resume(run, &state.values, state.state.step()));
        }
        saved.let_go(&[1]).unwrap();
        assert_eq!(names(&stages), ["run1_step0", "run3_step20"]);
        save(&saved, (0, Step::after(10)), &[0], state(&runs[0], 11));
        assert_eq!(names(&stages), ["run1_step20", "run3_step20"]);
        drop(saved);

        // The second run has ended, and only the third is left of the others.
        let (saved, _) = open(&stages, &runs[2..]);
        assert_eq!(
            (epochs(&saved, 1), names(&stages)),
            (vec![Some(14)], vec!["run3_step20".into()])
        );
        saved.let_go(&[0]).unwrap();
        drop(saved);
        assert!(!stages.exists());
    }

    #[test]
    fn a_file_that_other_runs_still_need_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let runs = runs();
        let (saved, _) = open(folder.path(), &runs);
        save(&saved, (0, Step::FIRST), &[0, 1, 2], state(&runs[0], 10));
        // The first has ended, and is trained again.
        saved.let_go(&[0]).unwrap();
        save(&saved, (0, Step::FIRST), &[0], state(&runs[0], 3));
        save(&saved, (0, Step::FIRST), &[0], state(&runs[0], 4));
        assert_eq!(names(folder.path()), ["run1_step0", "run1_step0_2"]);
        assert_eq!(epochs(&saved, 3), [Some(4), Some(10), Some(10)]);
        for (run, start) in runs.iter().zip(saved.resume_points(0..3)) {
            assert!(saved.load(start.unwrap().saved, run).is_ok());
        }
        saved.let_go(&[1, 2]).unwrap();
        assert_eq!(names(folder.path()), ["run1_step0_2"]);
    }

    #[test]
    fn what_cannot_be_used_is_set_aside_and_told_and_other_data_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let runs = runs();
        let (saved, _) = open(folder.path(), &runs);
        save(&saved, (0, Step::FIRST), &[0, 1, 2], state(&runs[0], 10));
        std::fs::write(folder.path().join("run9_step0.checkpoint"), "torn").unwrap();
        let all: Vec<(usize, &Checked)> = runs.iter().enumerate().collect();
        let open = |sizes, data: &Provenance| {
            let saved = read_saved(folder.path()).unwrap();
            Checkpoints::open((folder.path().to_path_buf(), saved), None, &all, sizes, data)
        };
        for sizes in [(4, 2), (5, 2)] {
            let refused = open(sizes, &data("b")).unwrap_err().to_string();
            assert!(refused.contains("was trained on other data"), "{refused}");
        }
        let (saved, _) = open((4, 2), &data("a")).unwrap();
        assert_eq!(epochs(&saved, 3), [Some(10); 3]);
        drop(saved);
        let (saved, found) = open((5, 2), &data("a")).unwrap();
        assert!(found.warnings[0].contains("is of another network"), "{:?}", found.warnings);
        assert_eq!(epochs(&saved, 3), [None; 3]);
        let aside = ["run1_step0.checkpoint.damaged", "run9_step0.checkpoint.damaged"];
        assert!(aside.iter().all(|name| folder.path().join(name).exists()));
    }
    #[test]
    fn a_state_of_a_run_that_began_with_a_model_s_weights_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let runs = runs();
        let (saved, _) = open(folder.path(), &runs);
        let lines = [data("a"), Provenance::of_init("b", &runs[0], None)];
        let of_init = lines.iter().flat_map(|it| it.lines().to_vec()).collect();
        let state =
            TrainState::new(&runs[0].parts().0, Params::he_init(&[4, 3, 2], 0)).pretend_trained(10);
        let bytes = to_bytes(&runs[0], &state, 1.0, &of_init);
        save(&saved, (0, Step::FIRST), &[0, 1, 2], (state.step(), bytes));
        let (saved, found) = open(folder.path(), &runs);
        assert_eq!(epochs(&saved, 3), [None; 3]);
        assert!(found.warnings[0].contains("began with other weights"), "{:?}", found.warnings);
    }
}
