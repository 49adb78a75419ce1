//! The candidates of halving: what is compared at a rung.

use std::collections::HashMap;

use crate::error::{Error, Place, Result};
use crate::grid::halving_section::HalvingRequest;
use crate::grid::space::{Run, spelled};
use crate::grid::stages::StageTree;
use crate::train::checked::Checked;
use crate::train::halving::{Halving, RungScore};
use crate::train::hyperparams::Hyperparams;
use crate::train::reads::Step;

/// The configurations of these runs with all their seeds and folds, each a list of indices of runs.
pub fn configurations(runs: &[&Checked]) -> Vec<Vec<usize>> {
    let mut configurations: HashMap<String, Vec<usize>> = HashMap::new();
    for (run, values) in runs.iter().enumerate() {
        let seedless = Hyperparams { seed: 0, data_seed: 0, ..values.of_all_folds() };
        configurations.entry(spelled(&seedless)).or_default().push(run);
    }
    let mut configurations: Vec<Vec<usize>> = configurations.into_values().collect();
    configurations.sort_unstable();
    configurations
}

/// The candidates of these runs at a rung, each a list of indices of runs. A candidate is a configuration with
/// all its seeds and folds; configurations whose runs are identical up to the rung, patience included, are one candidate.
/// Both they and their runs are in the order of the runs.
pub fn candidates(runs: &[&Checked], rung: usize) -> Vec<Vec<usize>> {
    let tree = StageTree::plan(runs, &vec![None; runs.len()], true, Step::after(rung));
    let mut stage_of = vec![0; runs.len()];
    for (index, stage) in tree.stages.iter().enumerate() {
        stage.ends.iter().for_each(|&run| stage_of[run] = index);
    }
    // Patience may have ended one of two runs that take the same steps.
    let mut candidates: HashMap<(usize, Vec<usize>), Vec<usize>> = HashMap::new();
    for configuration in configurations(runs) {
        let mut stages: Vec<usize> = configuration.iter().map(|&run| stage_of[run]).collect();
        stages.sort_unstable();
        let patience = runs[configuration[0]].patience;
        candidates.entry((patience, stages)).or_default().extend(configuration);
    }
    let mut candidates: Vec<Vec<usize>> = candidates.into_values().collect();
    for members in &mut candidates {
        members.sort_unstable();
    }
    candidates.sort_unstable();
    candidates
}

impl HalvingRequest {
    /// The halving of these runs.
    ///
    /// # Errors
    /// Where the rungs do not ascend or are not validated, or the share is not one.
    pub fn halving(self, runs: &[Run]) -> Result<Halving> {
        let (epochs, eval_every) = longest(runs.iter().map(|run| &run.values));
        let default = Halving::of(epochs, eval_every);
        let has_default_rungs = self.rungs.is_none();
        let rungs = self.rungs.unwrap_or_else(|| default.rungs().to_vec());
        if has_default_rungs && rungs.is_empty() {
            let problem =
                format!("found runs of at most {epochs} epochs, too few for a rung by default");
            return Err(Error::input(Place::Name("halving"), problem)
                .hint("set the rungs yourself with --halving-rungs, or validate more often"));
        }
        let halving = Halving::new(rungs, self.keep.unwrap_or(default.keep()))
            .map_err(|expected| Error::input(Place::Name("halving"), expected))?;
        check_rungs(&halving, runs)?;
        Ok(halving)
    }
}

/// The epochs of the longest of some runs, and after every how many all of them are validated.
pub fn longest<'a>(runs: impl Iterator<Item = &'a Checked>) -> (usize, usize) {
    runs.fold((0, 1), |(epochs, every), run| {
        (epochs.max(run.epochs), common_multiple(every, run.eval_every))
    })
}

/// The least common multiple of two counts from 1.
fn common_multiple(a: usize, b: usize) -> usize {
    let (mut greater, mut rest) = (a, b);
    while rest > 0 {
        (greater, rest) = (rest, greater % rest);
    }
    (a / greater).saturating_mul(b)
}

/// Checks that some run goes on from every rung, and that every run that comes to a rung is validated there, so
/// that no curve changes by halving.
///
/// # Errors
/// [`Error::Input`] with the rung.
pub fn check_rungs(halving: &Halving, runs: &[Run]) -> Result<()> {
    let (epochs, _) = longest(runs.iter().map(|run| &run.values));
    for &rung in halving.rungs() {
        if rung >= epochs {
            let expected = format!("one before epoch {epochs}, the last of the longest run");
            return Err(Error::unexpected(Place::Name("halving rungs"), rung, expected));
        }
        let misses =
            |run: &&Run| rung < run.values.epochs && !rung.is_multiple_of(run.values.eval_every);
        if let Some(run) = runs.iter().find(misses) {
            let every = run.values.eval_every;
            let found = format!("{rung}, where {} is not validated", run.name);
            let expected = format!("a multiple of its eval_every {every}");
            let next = rung.div_ceil(every) * every;
            return Err(Error::unexpected(Place::Name("halving rungs"), found, expected)
                .hint(format!("take {next}")));
        }
    }
    Ok(())
}

/// What halving chooses at a rung.
#[derive(Debug)]
pub struct Choice {
    /// Whether each run goes on.
    pub kept: Vec<bool>,
    /// How many candidates there were.
    pub candidates: usize,
    /// How many of them go on.
    pub kept_candidates: usize,
}

/// Which of these runs go on after a rung. `score` gives the score of a run, by its index, at the rung.
pub fn choose(
    halving: &Halving,
    runs: &[&Checked],
    rung: usize,
    score: impl Fn(usize) -> Option<RungScore>,
) -> Choice {
    let candidates = candidates(runs, rung);
    let mean = |runs: &Vec<usize>| {
        RungScore::mean(&runs.iter().map(|&run| score(run)).collect::<Vec<_>>())
    };
    let scores: Vec<Option<RungScore>> = candidates.iter().map(mean).collect();
    let mut kept = vec![false; runs.len()];
    for (members, goes_on) in candidates.iter().zip(halving.kept(&scores)) {
        for &run in members {
            kept[run] = goes_on;
        }
    }
    let kept_candidates = halving.count_kept(candidates.len());
    Choice { kept, candidates: candidates.len(), kept_candidates }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::space::{Grid, values_of};

    #[test]
    fn runs_that_have_been_identical_so_far_are_one_candidate_and_seeds_of_one_are_too() {
        let counts = |assignments: &[&str], rung| {
            let runs = values_of("table1", assignments);
            let found = candidates(&runs.iter().collect::<Vec<_>>(), rung);
            let mut members = found.concat();
            members.sort_unstable();
            assert_eq!(members, (0..runs.len()).collect::<Vec<_>>());
            assert!(found.is_sorted());
            (found.len(), found[0].len())
        };
        // LR decays from epoch 201 on.
        assert_eq!(counts(&[], 20), (72, 3));
        assert_eq!(counts(&[], 200), (72, 3));
        assert_eq!(counts(&[], 201), (216, 1));
        assert_eq!(counts(&["seed=1,2"], 20), (72, 6));
        assert_eq!(counts(&["seed=1,2"], 300), (216, 2));
        assert_eq!(counts(&["data_seed=1,2", "epochs=300,500"], 60), (72, 12));
    }

    #[test]
    fn all_seeds_and_twins_of_a_candidate_go_on_together() {
        let runs = values_of("table1", &["seed=1,2", "hidden=8", "weight_decay=0"]);
        let runs: Vec<&Checked> = runs.iter().collect();
        let halving = Halving::new(vec![20], 0.1).unwrap();
        // The second seed of η = 0.5 has no score.
        let score = |run: usize| {
            let (rate, seed) = (runs[run].learning_rate, runs[run].seed);
            let (accuracy, loss) = (rate + 0.001 * seed as f64, 1.0);
            (rate < 0.5 || seed == 1).then_some(RungScore { accuracy, loss })
        };
        let Choice { kept, candidates, kept_candidates } = choose(&halving, &runs, 20, score);
        assert_eq!((candidates, kept_candidates), (6, 3));
        let rates: Vec<f64> = runs
            .iter()
            .zip(&kept)
            .filter(|(_, kept)| **kept)
            .map(|(run, _)| run.learning_rate)
            .collect();
        assert_eq!(rates.len(), 3 * 6, "three candidates of three decays and two seeds");
        assert!(rates.iter().all(|&rate| (0.2..0.5).contains(&rate)), "{rates:?}");
    }

    fn halving(section: &str, flags: HalvingRequest) -> Result<Halving> {
        let grid = Grid::from_toml(&format!(
            "[values]\nepochs = 50\n[axes]\nlearning_rate = [0.1, 0.2]\n{section}"
        ))?;
        let request = grid.halving.clone().unwrap_or_default().overridden_by(flags);
        request.halving(&grid.runs()?)
    }

    #[test]
    fn flags_override_the_section_and_what_neither_says_has_its_default() {
        let read = |section: &str, rungs: Option<Vec<usize>>| {
            let found = halving(section, HalvingRequest { rungs, keep: None }).unwrap();
            (found.rungs().to_vec(), found.keep())
        };
        assert_eq!(read("", None), (vec![5, 10], 1.0 / 3.0));
        assert_eq!(read("[halving]\nkeep = 0.5", None), (vec![5, 10], 0.5));
        let both = "[halving]\nrungs = [10, 20]\nkeep = 0.25";
        assert_eq!(read(both, None), (vec![10, 20], 0.25));
        assert_eq!(read(both, Some(vec![15])), (vec![15], 0.25));
    }

    #[test]
    fn what_cannot_be_halved_by_is_refused_with_its_place_and_what_is_expected() {
        for (section, found) in [
            ("[halving]\nrungs = [20, 10]", "grid.toml:6: found [20, 10]"),
            ("[halving]\nrungs = 20", "such as [20, 60]"),
            ("[halving]\nkeep = 1.5", "found 1.5, expected a share above 0 and below 1"),
            ("[halving]\nrung = [20]", "did you mean `rungs`?"),
            ("[halving]\nrungs = [50]", "found 50, expected one before epoch 50, the last"),
            ("[halving]\nrungs = [12]", "expected a multiple of its eval_every 5; take 15"),
        ] {
            let error = halving(section, HalvingRequest::default()).unwrap_err().to_string();
            assert!(error.contains(found), "{error}");
        }
        // A run that is shorter than a rung need not be validated there.
        let runs = "[[runs]]\nepochs = 50\n[[runs]]\nepochs = 100\neval_every = 4\n";
        let grid = Grid::from_toml(&format!("{runs}[halving]\nrungs = [52]")).unwrap();
        assert!(grid.halving.clone().unwrap().halving(&grid.runs().unwrap()).is_ok());
    }
}
