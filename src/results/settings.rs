//! Means and deviations of runs that differ in their seeds and folds alone: `settings.csv`, and the tables of
//! grids with folds.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::data::split::PartSize;
use crate::results::columns::title;
use crate::results::ranking::{By, EPOCHS, Ranking, SEEDS, descending, shared_ranks};
use crate::results::ranking_notes::{NO_CHOICE, NO_TEST};
use crate::results::tables::{self, percent};
use crate::statistics::{mean_and_std, mean_of_means};
use crate::train::outcome::Record;
use crate::train::score::Score;

/// The key of which folds are values.
const VALIDATION: &str = "validation_size";

/// The runs of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Repeats<'a> {
    cells: Vec<String>, // of the columns without seeds and folds; the epochs last
    /// Those that trained to their ends.
    pub runs: Vec<&'a Record>,
    count: usize, // with the others
    is_whole: bool,
}

impl Repeats<'_> {
    fn of_runs(&self, of: fn(&Record) -> Option<f64>) -> Vec<f64> {
        self.runs.iter().filter_map(|run| of(run)).collect()
    }

    /// Mean and sample standard deviation of the test accuracy; NaN without a run.
    pub fn test(&self) -> (f64, Option<f64>) {
        mean_and_std(&self.of_runs(|run| Some(run.scores()?.test?.accuracy)))
    }

    /// The same of the validation accuracy, of those that have validation rows; each validation set weighs alike in
    /// the mean.
    pub fn validation(&self) -> (f64, Option<f64>) {
        validation_of(self.runs.iter().copied())
    }

    /// Mean validation loss, by the same weights.
    pub fn validation_loss(&self) -> f64 {
        mean_over_sets(self.runs.iter().copied(), |score| score.loss)
    }

    /// What it is ranked by, if it can be compared with others.
    pub fn mean(&self, by: By) -> Option<f64> {
        let mean = match by {
            By::Test => self.test().0,
            By::Validation => self.validation().0,
        };
        Some(mean).filter(|mean| self.is_whole && !mean.is_nan())
    }
}

impl Ranking {
    /// Whether some of its runs have folds.
    pub fn has_folds(&self) -> bool {
        self.records().iter().any(|record| record.values.validation_size.fold().is_some())
    }

    /// Whether all runs that have validation rows have the same ones, so that single runs can be compared by them.
    pub fn has_one_validation_set(&self) -> bool {
        validation_sets(self.records()).len() <= 1
    }

    /// All configurations, by their values.
    pub(super) fn configurations(&self) -> Vec<Repeats<'_>> {
        let columns = self.columns().without(&SEEDS).without(&[EPOCHS]);
        let mut configurations = BTreeMap::<_, (usize, Vec<&Record>)>::new();
        for record in self.records() {
            let mut cells = columns.cells_of_all_folds(record);
            cells.push(record.values.epochs.to_string());
            let (count, runs) = configurations.entry(cells).or_default();
            *count += 1;
            runs.extend(record.scores().map(|_| record));
        }
        let all = validation_sets(self.records());
        let repeats = |(cells, (count, runs)): (_, (_, Vec<_>))| {
            // A refit has no validation set; where there is but one, it has a rank by its test accuracy.
            let sets = validation_sets(runs.iter().copied());
            let is_whole = !runs.is_empty() && (all.len() <= 1 || sets == all);
            Repeats { cells, runs, count, is_whole }
        };
        configurations.into_iter().map(repeats).collect()
    }

    /// The same, best first.
    pub fn ranked_configurations(&self, by: By) -> Vec<Repeats<'_>> {
        let mut configurations = self.configurations();
        configurations.sort_by(|a, b| descending(a.mean(by), b.mean(by)));
        configurations
    }

    /// `settings.csv`: for each setting, the mean and sample standard deviation over its seeds and folds,
    /// best mean test accuracy first, or validation accuracy without a test set. Only runs that trained to their end count.
    pub fn settings_csv(&self) -> Vec<u8> {
        let mut header = self.columns().without(&SEEDS).without(&[EPOCHS]).names();
        header.extend(
            [
                "epochs",
                "runs",
                "test_accuracy_mean",
                "test_accuracy_std",
                "validation_accuracy_mean",
                "validation_accuracy_std",
            ]
            .map(String::from),
        );
        let row = |of: Repeats<'_>| {
            let means = [of.test(), of.validation()];
            let mut cells = of.cells;
            cells.push(of.runs.len().to_string());
            for (mean, std) in means {
                cells.push(if mean.is_nan() { String::new() } else { format!("{mean:.6}") });
                cells.push(std.map(|std| format!("{std:.6}")).unwrap_or_default());
            }
            cells
        };
        let by = if self.has_test() { By::Test } else { By::Validation };
        let configurations = self.ranked_configurations(by).into_iter();
        let done = configurations.filter(|it| !it.runs.is_empty());
        tables::csv(&header, &done.map(row).collect::<Vec<_>>())
    }

    /// Of runs with folds or with several validation sets, the configuration with the highest mean validation
    /// accuracy; of equal ones that with the lower mean validation loss. Only those count that have finished a run on
    /// each validation set.
    pub fn chosen_by_mean(&self) -> Option<Repeats<'_>> {
        if !self.has_folds() && self.has_one_validation_set() {
            return None;
        }
        let whole = self.configurations().into_iter();
        let whole = whole.filter(|it| it.mean(By::Validation).is_some());
        whole.min_by(|a, b| {
            descending(a.mean(By::Validation), b.mean(By::Validation))
                .then_with(|| a.validation_loss().total_cmp(&b.validation_loss()))
        })
    }

    /// The header, and a row for each of the `top` configurations.
    pub(super) fn table_of_means(&self, gap: &str, top: usize) -> (Vec<String>, Vec<Vec<String>>) {
        let names = self.columns().without(&SEEDS).without(&[EPOCHS]).names();
        let mut header = vec!["Rank".to_string()];
        let configurations = self.ranked_configurations(self.by());
        // One row may be of folds and another not; else all have the same.
        let size = names.iter().position(|name| *name == VALIDATION);
        let sizes =
            |at: usize| configurations.iter().map(|of| &of.cells[at]).collect::<BTreeSet<_>>();
        let has_sizes = size.is_some_and(|at| sizes(at).len() > 1);
        let shown = |name: &&String| has_sizes || *name != VALIDATION;
        header.extend(names.iter().filter(shown).map(|name| title(name, gap)));
        header.push("Runs".to_string());
        header.extend(self.has_test().then(|| format!("Test{gap}accuracy")));
        header.push(format!("Validation{gap}accuracy"));
        let keys = configurations.iter().map(|it| (it, it.mean(self.by())));
        let row = |(of, rank): (&Repeats<'_>, Option<usize>)| {
            let mut row = vec![rank.map(|rank| rank.to_string()).unwrap_or_default()];
            let cells = names.iter().zip(&of.cells).filter(|(name, _)| shown(name));
            row.extend(cells.map(|(_, cell)| cell.clone()));
            row.push(match of.runs.len() {
                done if done == of.count => done.to_string(),
                done => format!("{done} of {}", of.count),
            });
            row.extend(self.has_test().then(|| with_deviation(of.test())));
            row.push(with_deviation(of.validation()));
            row
        };
        (header, shared_ranks(keys).take(top).map(row).collect())
    }

    /// What a reader should know of such a table.
    pub(super) fn notes_on_means(&self) -> Vec<String> {
        let mut notes = vec![
            "Each row is a configuration: mean ± sample standard deviation over its folds and seeds. Folds share \
             most of their training rows, so new data would vary more."
                .to_string(),
        ];
        let configurations = self.ranked_configurations(self.by());
        if configurations.len() < 2 {
            return notes;
        }
        let Some(chosen) = self.chosen_by_mean() else {
            notes.push(tables::sentence(NO_CHOICE));
            return notes;
        };
        let name = |of: &Repeats<'_>| of.runs.first().map(|run| run.run.clone());
        let is_chosen = |it: &Repeats<'_>| name(it) == name(&chosen);
        let row = configurations.iter().position(is_chosen).expect("it is one of them");
        let validation = with_deviation(chosen.validation());
        let mut note = if self.has_test() {
            let test = with_deviation(chosen.test());
            format!(
                "Validation chooses row {}: {test} on the test set (mean of {} runs), {validation} on \
                 the validation sets.",
                row + 1,
                chosen.runs.len(),
            )
        } else {
            NO_TEST.to_string()
        };
        let order = descending(chosen.mean(By::Test), configurations[0].mean(By::Test));
        if self.by() == By::Test && order != Ordering::Equal {
            note += " The first row was picked by the test set itself, so its accuracy is probably too high.";
        }
        notes.push(note);
        notes
    }

    /// A configuration by what sets it apart from others: `learning_rate 0.1, hidden_1 300`.
    pub fn describe_configuration(&self, of: &Repeats<'_>) -> String {
        let all = self.configurations();
        let mut names = self.columns().without(&SEEDS).without(&[EPOCHS]).names();
        names.push(EPOCHS.to_string());
        let varies = |&at: &usize| all.iter().any(|other| other.cells[at] != all[0].cells[at]);
        let pairs = (0..names.len()).filter(varies);
        let pairs: Vec<String> =
            pairs.map(|at| format!("{} {}", names[at], of.cells[at])).collect();
        if pairs.is_empty() { "the only configuration".into() } else { pairs.join(", ") }
    }
}

/// The validation sets of some runs.
pub(super) fn validation_sets<'a>(
    of: impl IntoIterator<Item = &'a Record>,
) -> BTreeSet<(u64, PartSize)> {
    of.into_iter().filter_map(|record| record.values.validation_set()).collect()
}

/// Mean and sample standard deviation of the validation accuracy of those runs that have validation rows; in the
/// mean, each validation set weighs alike.
pub(super) fn validation_of<'a>(
    runs: impl Iterator<Item = &'a Record> + Clone,
) -> (f64, Option<f64>) {
    let all = runs.clone().filter_map(|run| Some(run.validation()?.accuracy));
    let (_, std) = mean_and_std(&all.collect::<Vec<_>>());
    (mean_over_sets(runs, |score| score.accuracy), std)
}

/// The mean of a validation score of some runs, in which each validation set weighs alike, however many runs have it;
/// NaN where none has one.
pub(super) fn mean_over_sets<'a>(
    runs: impl IntoIterator<Item = &'a Record>,
    of: fn(Score) -> f64,
) -> f64 {
    let scores = runs.into_iter().filter_map(|run| Some((run, run.validation()?)));
    mean_of_means(scores.map(|(run, score)| (run.values.validation_set(), of(score))))
}

/// `96.67 ± 1.20 %`.
pub(crate) fn with_deviation((mean, std): (f64, Option<f64>)) -> String {
    match std {
        _ if mean.is_nan() => String::new(),
        Some(std) => format!("{:.2} ± {:.2} %", 100.0 * mean, 100.0 * std),
        None => percent(mean),
    }
}
