//! How the test accuracy depends on each hyper-parameter of a grid.
//!
//! What a grid varies are its factors, the values that it tries are their levels (in the words of
//! experimental design). A median over all runs of a level is what a figure of main effects shows.

use std::collections::{HashMap, HashSet};

use crate::grid::range::Range;
use crate::results::columns::Columns;
use crate::results::ranking::Ranking;
use crate::train::hyperparams::Hyperparams;
use crate::train::value::Value;

/// A hyper-parameter that varies within a grid, a hidden layer's width by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    /// Its column in `ranking.csv`: `learning_rate`, `hidden_1`.
    pub name: String,
    /// Its values as in `ranking.csv`: numbers ascending, others in the grid's order; `none` for a
    /// layer that some of the networks have not.
    pub levels: Vec<String>,
    /// Of a factor whose values a search draws from a range, where they lie.
    pub scale: Option<Scale>,
}

/// The numbers from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Whether equal factors have equal lengths, instead of equal differences.
    pub is_log: bool,
}

/// How many parts a range has in figures.
pub const BINS: usize = 6;

impl Scale {
    /// Where a number lies on it: 0 is the lower end, 1 the upper one.
    pub fn share(&self, number: f64) -> f64 {
        let on = |number: f64| if self.is_log { number.ln() } else { number };
        (on(number) - on(self.low)) / (on(self.high) - on(self.low))
    }

    /// Where one of [`BINS`] parts of equal length begins, or the last one ends, with two digits.
    pub fn edge(&self, bin: usize) -> String {
        let share = bin as f64 / BINS as f64;
        let edge = if self.is_log {
            self.low * (self.high / self.low).powf(share)
        } else {
            self.low + share * (self.high - self.low)
        };
        let rounded: f64 = format!("{edge:.1e}").parse().expect("it is a number");
        Value::Number(rounded).to_string()
    }

    /// The parts by their ends.
    pub fn bins(&self) -> Vec<String> {
        let name = |bin: usize| format!("{}–{}", self.edge(bin), self.edge(bin + 1));
        (0..BINS).map(name).collect()
    }

    /// The part in which a number lies.
    fn bin(&self, number: f64) -> usize {
        ((self.share(number) * BINS as f64) as usize).min(BINS - 1)
    }
}

/// A run by its levels.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// For each factor the index of the level, `None` for a value that is not the grid's.
    pub levels: Vec<Option<usize>>,
    /// For each factor with a scale, where the value lies on it.
    pub shares: Vec<Option<f64>>,
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
    /// has ended, and `ranges` are those of its columns that have one.
    pub fn new<'a>(
        planned: impl Iterator<Item = &'a Hyperparams>,
        columns: &Columns,
        ranges: &[(String, Range)],
        ranking: &Ranking,
    ) -> Self {
        let planned: Vec<Vec<String>> = planned.map(|values| columns.cells(values)).collect();
        let mut factors = Vec::new();
        let mut places = Vec::new();
        for (place, name) in columns.names().into_iter().enumerate() {
            let levels = levels_of(planned.iter().map(|cells| &cells[place]));
            if levels.len() > 1 {
                let scale = scale_of(&name, &levels, ranges);
                factors.push(Factor { name, levels, scale });
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
            let of_factors = || places.iter().map(|&place| &cells[place]);
            let share = |(factor, cell): (&Factor, &String)| {
                factor.scale.zip(cell.parse().ok()).map(|(scale, number)| scale.share(number))
            };
            Placed {
                levels: indices.iter().zip(of_factors()).map(level_of).collect(),
                shares: factors.iter().zip(of_factors()).map(share).collect(),
                test_accuracy: record
                    .scores()
                    .and_then(|scores| scores.test)
                    .map(|test| test.accuracy),
            }
        });
        Self { runs: runs.collect(), factors }
    }

    /// The same with the parts of a range as the levels of a factor that has one.
    #[must_use]
    pub fn in_bins(mut self) -> Self {
        for (at, factor) in self.factors.iter_mut().enumerate() {
            let Some(scale) = factor.scale else { continue };
            let number = |level: &String| level.parse().unwrap_or(scale.low);
            let bins: Vec<usize> =
                factor.levels.iter().map(|level| scale.bin(number(level))).collect();
            for run in &mut self.runs {
                run.levels[at] = run.levels[at].map(|level| bins[level]);
            }
            factor.levels = scale.bins();
        }
        self
    }

    /// Where the runs that have a level lie, in levels, and their test accuracies. Runs of a factor
    /// without a scale lie beside each other.
    pub fn points(&self, (factor, level): (usize, usize)) -> Vec<(f64, f64)> {
        let of_level = self.runs.iter().filter(|run| run.levels[factor] == Some(level));
        let done = of_level.filter_map(|run| Some((run.shares[factor], run.test_accuracy?)));
        let point = |(index, (share, accuracy)): (usize, (Option<f64>, f64))| {
            // At fractions that never repeat and are the same every time.
            let aside = (index as f64 * 0.618_034).fract() - 0.5;
            let place = share.map(|share| share * BINS as f64 - 0.5);
            (place.unwrap_or(level as f64 + 0.5 * aside), accuracy)
        };
        done.enumerate().map(point).collect()
    }

    /// The test accuracies of the runs that have certain levels, as pairs of factor and level.
    pub fn accuracies(&self, chosen: &[(usize, usize)]) -> Vec<f64> {
        let has =
            |run: &&Placed| chosen.iter().all(|&(factor, level)| run.levels[factor] == Some(level));
        self.runs.iter().filter(has).filter_map(|run| run.test_accuracy).collect()
    }
}

/// The scale of a factor for whose key there are ranges, if it has more values than a figure has parts.
fn scale_of(name: &str, levels: &[String], ranges: &[(String, Range)]) -> Option<Scale> {
    let own = || ranges.iter().filter(|(column, _)| column == name).map(|(_, range)| range);
    let is_log = own().next()?.is_log();
    let numbers = levels.iter().map(|level| level.parse().ok());
    let numbers: Vec<f64> = numbers.collect::<Option<_>>()?;
    let ends = own().flat_map(|range| <[f64; 2]>::from(range.bounds()));
    let all: Vec<f64> = numbers.iter().copied().chain(ends).collect();
    let low = all.iter().copied().fold(f64::INFINITY, f64::min);
    let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let has_scale = levels.len() > BINS && (low > 0.0 || !is_log);
    has_scale.then_some(Scale { low, high, is_log })
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
    use crate::grid::space::Grid;
    use crate::results::ranking::By;
    use crate::train::checked::Checked;
    use crate::train::outcome::{Outcome, Record, Scores};
    use crate::train::provenance::Provenance;
    use crate::train::score::Score;

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
            ended_epoch: None,
            train: score,
            validation: score,
            test: Some(score),
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
        let effects = Effects::new(planned.iter(), &columns, &[], &ranking);
        let factor = |name: &str, levels: &[&str]| Factor {
            name: name.into(),
            levels: levels.iter().map(ToString::to_string).collect(),
            scale: None,
        };
        let expected = [
            factor("learning_rate", &["0.05", "0.2", "0.5"]),
            factor("hidden_1", &["6", "8"]),
            factor("hidden_2", &["4", "none"]),
        ];
        assert_eq!(effects.factors, expected);
        assert_eq!(
            effects.runs[0],
            Placed {
                levels: vec![Some(1), Some(0), Some(1)],
                shares: vec![None; 3],
                test_accuracy: Some(0.7)
            }
        );
        assert_eq!(
            effects.runs[2],
            Placed {
                levels: vec![Some(2), Some(0), Some(0)],
                shares: vec![None; 3],
                test_accuracy: None
            }
        );
        assert_eq!(effects.accuracies(&[(0, 2)]), [0.5]);
        assert_eq!(effects.accuracies(&[(0, 2), (1, 0)]), [0.0; 0]);
    }

    #[test]
    fn what_a_search_draws_from_a_range_has_a_scale_whose_parts_are_the_levels_of_figures() {
        let grid = Grid::from_toml(
            "samples = 40\n[axes]\nlearning_rate = { log_uniform = [0.01, 1.0] }\n\
             epochs = { int_uniform = [1, 3] }",
        );
        let grid = grid.unwrap();
        let planned: Vec<Checked> =
            grid.runs().unwrap().into_iter().map(|run| run.values).collect();
        let columns = Columns::new(planned.iter().map(|it| &**it), &[]);
        let entries = planned.iter().map(|values| record(values, 0.5)).collect();
        let ranking = Ranking::new(entries, columns.clone(), By::Test);
        let ranges: Vec<_> = grid.ranges().collect();
        let planned = planned.iter().map(|it| &**it);
        let effects = Effects::new(planned, &columns, &ranges, &ranking);
        let scale = Scale { low: 0.01, high: 1.0, is_log: true };
        assert_eq!(effects.factors[0].scale, Some(scale));
        assert_eq!(effects.factors[1].scale, None, "three values need no scale");
        let binned = effects.clone().in_bins();
        let expected =
            ["0.01–0.022", "0.022–0.046", "0.046–0.1", "0.1–0.22", "0.22–0.46", "0.46–1"];
        assert_eq!(binned.factors[0].levels, expected);
        assert_eq!(binned.factors[1], effects.factors[1]);
        let all = (0..BINS).flat_map(|bin| {
            let points = binned.points((0, bin));
            assert!(points.len() > 3 && points.len() < 11, "{bin}: {points:?}");
            let is_in = |(place, _): &(f64, f64)| (place - bin as f64).abs() <= 0.5;
            assert!(points.iter().all(is_in), "{bin}: {points:?}");
            points
        });
        assert_eq!(all.count(), effects.runs.len());
    }
}
