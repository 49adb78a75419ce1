//! The candidates of halving: what is compared at a rung.

use std::collections::HashMap;

use crate::grid::space::spelled;
use crate::grid::stages::StageTree;
use crate::train::checked::Checked;
use crate::train::halving::{Halving, RungScore};
use crate::train::hyperparams::Hyperparams;
use crate::train::reads::Step;

/// The candidates of these runs at a rung, each a list of indices of runs. A candidate is a configuration with
/// all its seeds; configurations whose runs are identical up to the rung are one candidate.
/// Both they and their runs are in the order of the runs.
pub fn candidates(runs: &[&Checked], rung: usize) -> Vec<Vec<usize>> {
    let tree = StageTree::plan(runs, &vec![None; runs.len()], true, Step::after(rung));
    let mut stage_of = vec![0; runs.len()];
    for (index, stage) in tree.stages.iter().enumerate() {
        stage.ends.iter().for_each(|&run| stage_of[run] = index);
    }
    let mut configurations: HashMap<String, Vec<usize>> = HashMap::new();
    for (run, values) in runs.iter().enumerate() {
        let seedless = Hyperparams { seed: 0, data_seed: 0, ..(**values).as_ref().clone() };
        configurations.entry(spelled(&seedless)).or_default().push(run);
    }
    let mut candidates: HashMap<Vec<usize>, Vec<usize>> = HashMap::new();
    for configuration in configurations.into_values() {
        let mut stages: Vec<usize> = configuration.iter().map(|&run| stage_of[run]).collect();
        stages.sort_unstable();
        candidates.entry(stages).or_default().extend(configuration);
    }
    let mut candidates: Vec<Vec<usize>> = candidates.into_values().collect();
    candidates.iter_mut().for_each(|members| members.sort_unstable());
    candidates.sort_unstable();
    candidates
}

/// Those of these runs that go on after a rung. `score` gives the score of a run, by its index, at the rung.
pub fn kept(
    halving: &Halving,
    runs: &[&Checked],
    rung: usize,
    score: impl Fn(usize) -> Option<RungScore>,
) -> Vec<bool> {
    let candidates = candidates(runs, rung);
    let mean = |runs: &Vec<usize>| {
        RungScore::mean(&runs.iter().map(|&run| score(run)).collect::<Vec<_>>())
    };
    let scores: Vec<Option<RungScore>> = candidates.iter().map(mean).collect();
    let mut kept = vec![false; runs.len()];
    for (members, goes_on) in candidates.iter().zip(halving.kept(&scores)) {
        members.iter().for_each(|&run| kept[run] = goes_on);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::space::values_of;

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
        let kept = kept(&halving, &runs, 20, score);
        let rates: Vec<f64> = runs
            .iter()
            .zip(&kept)
            .filter(|(_, kept)| **kept)
            .map(|(run, _)| run.learning_rate)
            .collect();
        assert_eq!(rates.len(), 3 * 6, "three candidates of three decays and two seeds");
        assert!(rates.iter().all(|&rate| rate < 0.5 && rate >= 0.2), "{rates:?}");
    }
}
