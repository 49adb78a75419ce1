//! How the test accuracy depends on each hyper-parameter of a grid.
//!
//! What a grid varies are its factors, the values that it tries are their levels (in the words of
//! experimental design). A median over all runs of a level is what a figure of main effects shows.

use std::collections::{HashMap, HashSet};

use crate::results::columns::Columns;
use crate::results::ranking::Ranking;
use crate::train::hyperparams::Hyperparams;

/// A hyper-parameter that varies within a grid, a hidden layer's width by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    /// Its column in `ranking.csv`: `learning_rate`, `hidden_1`.
    pub name: String,
    /// Its values as in `ranking.csv`: numbers ascending, others in the grid's order; `none` for a
    /// layer that some of the networks have not.
    pub levels: Vec<String>,
}

/// A run by its levels.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// For each factor the index of the level, `None` for a value that is not the grid's.
    pub levels: Vec<Option<usize>>,
    /// A fraction, if the run trained to its end.
    pub test_accuracy: Option<f64>,
}

/// The ended runs of a grid by the levels of their factors.
#[derive(Debug, Clone, PartialEq)]
pub struct Effects {
    /// What varies, in the order of the columns.
    pub factors: Vec<Factor>,
    /// The runs, best first.
    pub runs: Vec<Placed>,
}

impl Effects {
    /// Of ranked runs; `planned` are all of the grid's, so that a level is there before a run of it
    /// has ended.
    pub fn new<'a>(
        planned: impl Iterator<Item = &'a Hyperparams>,
        columns: &Columns,
        ranking: &Ranking,
    ) -> Self {
        let planned: Vec<Vec<String>> = planned.map(|values| columns.cells(values)).collect();
        let mut factors = Vec::new();
        let mut places = Vec::new();
        for (place, name) in columns.names().into_iter().enumerate() {
            let levels = levels_of(planned.iter().map(|cells| &cells[place]));
            if levels.len() > 1 {
                factors.push(Factor { name, levels });
                places.push(place);
            }
        }
        let indices = |factor: &Factor| -> HashMap<String, usize> {
            factor.levels.iter().cloned().zip(0..).collect()
        };
        let indices: Vec<_> = factors.iter().map(indices).collect();
        let level_of = |(indices, cell): (&HashMap<String, usize>, &String)| {
            indices.get(level_named(cell)).copied()
        };
        let runs = ranking.records().iter().map(|record| {
            let cells = columns.cells(&record.values);
            let of_factors = places.iter().map(|&place| &cells[place]);
            Placed {
                levels: indices.iter().zip(of_factors).map(level_of).collect(),
                test_accuracy: record.scores().map(|scores| scores.test.accuracy),
            }
        });
        Self { runs: runs.collect(), factors }
    }

    /// The test accuracies of the runs that have certain levels, as pairs of factor and level.
    pub fn accuracies(&self, chosen: &[(usize, usize)]) -> Vec<f64> {
        let has =
            |run: &&Placed| chosen.iter().all(|&(factor, level)| run.levels[factor] == Some(level));
        self.runs.iter().filter(has).filter_map(|run| run.test_accuracy).collect()
    }
}

/// What stands for a layer that a network has not.
const NONE: &str = "none";

fn level_named(cell: &str) -> &str {
    if cell.is_empty() { NONE } else { cell }
}

/// Distinct values: numbers ascending, others in their order, and behind them none.
fn levels_of<'a>(cells: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut levels: Vec<String> = cells
        .map(|cell| level_named(cell))
        .filter(|cell| seen.insert(*cell))
        .map(Into::into)
        .collect();
    let number = |level: &String| level.parse().unwrap_or(f64::INFINITY);
    if levels.iter().all(|level| level == NONE || level.parse::<f64>().is_ok()) {
        levels.sort_by(|a, b| f64::total_cmp(&number(a), &number(b)));
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::ranking::By;
    use crate::train::outcome::{Outcome, Record, Score, Scores};
    use crate::train::provenance::Provenance;

    fn planned() -> Vec<Hyperparams> {
        let mut all = Vec::new();
        for learning_rate in [0.5, 0.05, 0.2] {
            for hidden in [vec![8, 4], vec![6, 4], vec![6]] {
                all.push(Hyperparams { learning_rate, hidden, ..Hyperparams::default() });
            }
        }
        all
    }

    fn record(values: &Hyperparams, accuracy: f64) -> Record {
        let score = Score { loss: 1.0, accuracy };
        let outcome = Outcome::Done(Scores {
            best_epoch: 1,
            train: score,
            validation: score,
            test: score,
            test_images: 100,
        });
        let outcome = if accuracy > 0.0 { outcome } else { Outcome::Diverged { epoch: 1 } };
        let values = values.clone().check().unwrap();
        let (run, provenance) = (format!("run{accuracy}"), Provenance::default());
        Record { run, values, outcome, seconds: 1.0, provenance }
    }

    #[test]
    fn what_varies_are_factors_with_their_levels_in_order() {
        let planned = planned();
        let columns = Columns::new(planned.iter(), &[]);
        let entries =
            vec![record(&planned[0], 0.5), record(&planned[8], 0.7), record(&planned[1], 0.0)];
        let ranking = Ranking::new(entries, columns.clone(), By::Test);
        let effects = Effects::new(planned.iter(), &columns, &ranking);
        let factor = |name: &str, levels: &[&str]| Factor {
            name: name.into(),
            levels: levels.iter().map(ToString::to_string).collect(),
        };
        let expected = [
            factor("learning_rate", &["0.05", "0.2", "0.5"]),
            factor("hidden_1", &["6", "8"]),
            factor("hidden_2", &["4", "none"]),
        ];
        assert_eq!(effects.factors, expected);
        assert_eq!(
            effects.runs[0],
            Placed { levels: vec![Some(1), Some(0), Some(1)], test_accuracy: Some(0.7) }
        );
        assert_eq!(
            effects.runs[2],
            Placed { levels: vec![Some(2), Some(0), Some(0)], test_accuracy: None }
        );
        assert_eq!(effects.accuracies(&[(0, 2)]), [0.5]);
        assert_eq!(effects.accuracies(&[(0, 2), (1, 0)]), [0.0; 0]);
    }
}
