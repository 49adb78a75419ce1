//! Checkpoints of stages in progress, in files: at most one for each state that is alive, each the
//! farthest that some run left has come to. A run resumes from the farthest one that it would have
//! come to itself, whatever the tree, the number of workers or the sharing of the process before.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::Result;
use crate::grid::saved::{EXTENSION, Saved, all_states_of, read_saved};
use crate::grid::stages::{ResumePoint, can_resume};
use crate::grid::store::{make_state_folder, remove, remove_folder, set_aside, write_whole};
use crate::train::checked::Checked;
use crate::train::checkpoint::Checkpoint;
use crate::train::provenance::Provenance;
use crate::train::reads::Step;

/// The checkpoints of some runs.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    has_neighbours: bool, // other shards', in the same folder
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    of_run: Vec<Option<PathBuf>>,   // the farthest of each run
    starts: Vec<Option<usize>>,     // that each run resumes from, of `found`
    found: Vec<Option<Checkpoint>>, // as long as a run has not gone beyond it
}

/// What was there when a folder was opened.
#[derive(Debug)]
pub struct Found {
    /// The checkpoint from which each run resumes.
    pub starts: Vec<Option<ResumePoint>>,
    /// What was set aside, and why, a sentence each.
    pub warnings: Vec<String>,
    /// The provenance of each state that a run resumes from.
    pub provenances: Vec<Provenance>,
}

impl Checkpoints {
    /// Makes a folder for the states of these runs if there is none, and looks from which of those
    /// that were read there each run resumes. A file that cannot be used is set aside, and one that no
    /// run needs is removed. Runs may also resume from states in the `pool`, if there is one, whose
    /// files others may need too and which stay.
    ///
    /// # Errors
    /// Where a state was trained on other data than `provenance` says, or the folder cannot be read
    /// or written to.
    pub fn open(
        (folder, mut saved): (PathBuf, Saved),
        pool: Option<&Path>,
        runs: &[&Checked],
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
            match read.and_then(|saved| fits(&saved, sizes, provenance).map(|()| saved)) {
                Ok(saved) => {
                    saved.provenance.refuse_other_data(provenance, &path)?;
                    found.push((path, saved));
                }
                Err(problem) if !is_own(&path) => {
                    warnings.push(format!("{}: {problem}; not used", path.display()));
                }
                Err(problem) => {
                    let aside = set_aside(&path)?;
                    warnings.push(format!(
                        "{}: {problem}; set aside as {}, and what it held is trained again",
                        path.display(),
                        aside.file_name().unwrap_or_default().display()
                    ));
                }
            }
        }
        let starts: Vec<Option<ResumePoint>> =
            runs.iter().map(|values| farthest(values, &found)).collect();
        let needed = |file: usize| starts.iter().flatten().any(|start| start.saved == file);
        for (file, (path, _)) in found.iter().enumerate() {
            if is_own(path) && !needed(file) {
                remove(path)?;
            }
        }
        let needed_ones = found.iter().enumerate().filter(|(file, _)| needed(*file));
        let provenances = needed_ones.map(|(_, (_, saved))| saved.provenance.clone()).collect();
        let own_start = |start: &Option<ResumePoint>| {
            start.map(|start| found[start.saved].0.clone()).filter(|path| is_own(path))
        };
        let kept = Kept {
            of_run: starts.iter().map(own_start).collect(),
            starts: starts.iter().map(|start| start.map(|start| start.saved)).collect(),
            found: (0..).zip(found).map(|(file, (_, it))| needed(file).then_some(it)).collect(),
        };
        let (has_neighbours, kept) = (pool.is_some(), Mutex::new(kept));
        Ok((Self { folder, has_neighbours, kept }, Found { starts, warnings, provenances }))
    }

    /// A state that was there in the beginning and that a run resumes from.
    ///
    /// # Panics
    /// Where all runs that resume from it have been saved since, or have finished.
    pub fn load(&self, saved: usize) -> Checkpoint {
        let kept = self.kept.lock().expect("no panic while holding it");
        kept.found[saved].clone().expect("kept for the runs that resume from it")
    }

    /// Saves a state that these runs go on from, in the file of a stage: told by the place in its
    /// grid of one of its runs and by the step that it begins with.
    ///
    /// # Errors
    /// [`Error::Write`] with the path.
    pub fn save(&self, (run, from): (usize, Step), runs: &[usize], bytes: &[u8]) -> Result<()> {
        let name = format!("run{}_step{}.{EXTENSION}", run + 1, from.number());
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
        let mut kept = self.kept.lock().expect("no panic while holding it");
        let Kept { of_run, starts, found } = &mut *kept;
        let replaced =
            |&run: &usize| std::mem::replace(&mut of_run[run], path.map(Path::to_path_buf));
        let mut old: Vec<PathBuf> = runs.iter().filter_map(replaced).collect();
        for &run in runs {
            if let Some(start) = starts[run].take().filter(|it| !starts.contains(&Some(*it))) {
                found[start] = None;
            }
        }
        old.sort();
        old.dedup();
        old.retain(|old| !of_run.iter().flatten().any(|file| file == old));
        old.iter().try_for_each(|old| remove(old))
    }
}

/// Whether a state is one that runs on these data and from these weights can resume from.
fn fits(
    saved: &Checkpoint,
    (inputs, classes): (usize, usize),
    provenance: &Provenance,
) -> std::result::Result<(), String> {
    if Ok(saved.state.sizes()) != saved.values.sizes(inputs, classes) {
        return Err("is of another network than the grid's".to_string());
    }
    if saved.provenance.init() != provenance.init() {
        return Err("is of a run that began with other weights".to_string());
    }
    Ok(())
}

/// The farthest of these states that a run would have come to itself, the first of equals.
fn farthest(values: &Checked, found: &[(PathBuf, Checkpoint)]) -> Option<ResumePoint> {
    let points = found
        .iter()
        .enumerate()
        .map(|(saved, (_, it))| (ResumePoint { saved, at: it.state.step() }, &it.values));
    let fitting = points.filter(|(point, of)| can_resume(values, of, point.at));
    fitting.map(|(point, _)| point).reduce(|a, b| if b.at > a.at { b } else { a })
}

/// Where these runs would resume in a results folder, in which nothing is changed.
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
    for folder in all_states_of(root) {
        for (path, read) in read_saved(&folder)? {
            let usable =
                |it: &Checkpoint| fits(it, sizes, data).is_ok() && it.provenance.same_data(data);
            found.extend(read.ok().filter(usable).map(|it| (path, it)));
        }
    }
    Ok(runs.iter().map(|values| farthest(values, &found)).collect())
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
        let runs: Vec<&Checked> = runs.iter().collect();
        let saved = read_saved(folder).unwrap();
        let folder = (folder.to_path_buf(), saved);
        Checkpoints::open(folder, None, &runs, (4, 2), &data("a")).unwrap()
    }

    /// A run's state after so many epochs, as a file.
    fn state(run: &Checked, epochs: usize) -> Vec<u8> {
        let state =
            TrainState::new(&run.parts().0, Params::he_init(&[4, 3, 2], 0)).pretend_trained(epochs);
        to_bytes(run, &state, 1.0, &data("a"))
    }

    fn names(folder: &Path) -> Vec<String> {
        let files = files(folder).unwrap_or_default();
        files.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().into()).collect()
    }

    fn epochs(found: &Found) -> Vec<Option<usize>> {
        found.starts.iter().map(|start| start.map(|start| start.at.epochs_before())).collect()
    }

    #[test]
    fn each_run_goes_on_from_the_farthest_state_and_what_none_needs_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let stages = folder.path().join("stages");
        let runs = runs();
        let (saved, found) = open(&stages, &runs);
        assert_eq!(epochs(&found), [None, None, None]);
        saved.save((0, Step::FIRST), &[0, 1, 2], &state(&runs[0], 10)).unwrap();
        assert_eq!(names(&stages), ["run1_step0"]);
        // Two of the three have gone on; the third still needs what they had in common.
        saved.save((1, Step::after(10)), &[1], &state(&runs[1], 15)).unwrap();
        saved.save((2, Step::after(10)), &[2], &state(&runs[2], 12)).unwrap();
        assert_eq!(names(&stages), ["run1_step0", "run2_step20", "run3_step20"]);
        saved.save((2, Step::after(10)), &[2], &state(&runs[2], 14)).unwrap();
        drop(saved);

        let (saved, found) = open(&stages, &runs);
        assert_eq!(epochs(&found), [Some(10), Some(15), Some(14)]);
        for (run, start) in runs.iter().zip(&found.starts) {
            let state = saved.load(start.unwrap().saved);
            assert!(can_resume(run, &state.values, state.state.step()));
        }
        saved.let_go(&[1]).unwrap();
        assert_eq!(names(&stages), ["run1_step0", "run3_step20"]);
        saved.save((0, Step::after(10)), &[0], &state(&runs[0], 11)).unwrap();
        assert_eq!(names(&stages), ["run1_step20", "run3_step20"]);
        drop(saved);

        // The second run has ended, and only the third is left of the others.
        let (saved, found) = open(&stages, &runs[2..]);
        assert_eq!((epochs(&found), names(&stages)), (vec![Some(14)], vec!["run3_step20".into()]));
        saved.let_go(&[0]).unwrap();
        drop(saved);
        assert!(!stages.exists());
    }

    #[test]
    fn what_cannot_be_used_is_set_aside_and_told_and_other_data_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let runs = runs();
        let (saved, _) = open(folder.path(), &runs);
        saved.save((0, Step::FIRST), &[0, 1, 2], &state(&runs[0], 10)).unwrap();
        std::fs::write(folder.path().join("run9_step0.checkpoint"), "torn").unwrap();
        let all: Vec<&Checked> = runs.iter().collect();
        let open = |sizes, data: &Provenance| {
            let saved = read_saved(folder.path()).unwrap();
            Checkpoints::open((folder.path().to_path_buf(), saved), None, &all, sizes, data)
        };
        let refused = open((4, 2), &data("b")).unwrap_err().to_string();
        assert!(refused.contains("was trained on other data"), "{refused}");
        let (_, found) = open((4, 2), &data("a")).unwrap();
        assert_eq!(epochs(&found), [Some(10); 3]);
        let (_, found) = open((5, 2), &data("a")).unwrap();
        assert!(found.warnings[0].contains("is of another network"), "{:?}", found.warnings);
        assert_eq!(epochs(&found), [None; 3]);
        let aside = ["run1_step0.checkpoint.damaged", "run9_step0.checkpoint.damaged"];
        assert!(aside.iter().all(|name| folder.path().join(name).exists()));
    }
    #[test]
    fn a_state_of_a_run_that_began_with_a_model_s_weights_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let runs = runs();
        let (saved, _) = open(folder.path(), &runs);
        let lines = [data("a"), Provenance::of_init("b", &runs[0])];
        let of_init = lines.iter().flat_map(|it| it.lines().to_vec()).collect();
        let state =
            TrainState::new(&runs[0].parts().0, Params::he_init(&[4, 3, 2], 0)).pretend_trained(10);
        let bytes = to_bytes(&runs[0], &state, 1.0, &of_init);
        saved.save((0, Step::FIRST), &[0, 1, 2], &bytes).unwrap();
        let (_, found) = open(folder.path(), &runs);
        assert_eq!(epochs(&found), [None; 3]);
        assert!(found.warnings[0].contains("began with other weights"), "{:?}", found.warnings);
    }
}
