//! The ranking: order, ties and intervals, as CSV, Markdown and a table for the terminal.
//!
//! Sorted by test accuracy as the paper's Table 2 is. Choosing hyper-parameters on the test set is
//! optimistic, so the validation accuracy and the rank by it stand beside.

use std::cmp::Ordering;

use crate::results::columns::{Columns, title};
use crate::results::tables::{self, percent};
use crate::train::outcome::{Outcome, Record};

/// What every row of a CSV tells in a column of its own.
pub(super) const EPOCHS: &str = "epochs";
/// The column for the value of `epochs` in a ranking of which some runs were trained for fewer.
pub(super) const PLANNED_EPOCHS: &str = "planned_epochs";
/// The columns of `ranking.csv` behind the hyper-parameters, but for epochs, status and run.
pub(super) const SCORES: [&str; 6] = [
    "test_accuracy",
    "test_accuracy_low",
    "test_accuracy_high",
    "validation_accuracy",
    "validation_rank",
    "best_epoch",
];
/// What a narrow terminal can do without, the least important first.
const LEAST: [&str; 6] = [
    "Its deviation in validation",
    "Best epoch",
    "Validation rank",
    "95 % interval",
    "Validation accuracy",
    "Run",
];

/// What a ranking is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Test accuracy, ties by validation accuracy.
    Test,
    /// Validation accuracy; the test set has no say.
    Validation,
}

/// Runs that differ in these alone repeat one setting.
pub(super) const SEEDS: [&str; 2] = ["seed", "data_seed"];

/// Runs in order, best first.
#[derive(Debug, PartialEq)]
pub struct Ranking {
    records: Vec<Record>,
    columns: Columns,
    pub(super) by: By,
}

/// Descending by a score; what has none comes last.
pub(super) fn descending(a: Option<f64>, b: Option<f64>) -> Ordering {
    b.unwrap_or(f64::NEG_INFINITY).total_cmp(&a.unwrap_or(f64::NEG_INFINITY))
}

fn order(by: By, a: &Record, b: &Record) -> Ordering {
    let test = |record: &Record| record.scores()?.test.map(|test| test.accuracy);
    let validation = |record: &Record| record.validation().map(|score| score.accuracy);
    // After finished runs those that were stopped, the latest first; then those that diverged, and last those
    // that failed, which may still be tried again.
    let place = |record: &Record| match &record.outcome {
        Outcome::Done(_) => (0, 0, 0.0),
        Outcome::Stopped(at) => (1, usize::MAX - at.epoch, -at.validation.accuracy),
        Outcome::Diverged { .. } => (2, 0, 0.0),
        Outcome::Failed { .. } => (3, 0, 0.0),
    };
    let (place_a, place_b) = (place(a), place(b));
    let first = match by {
        By::Test => descending(test(a), test(b)),
        By::Validation => Ordering::Equal,
    };
    let loss = |record: &Record| record.validation().map(|score| -score.loss);
    first
        .then_with(|| descending(validation(a), validation(b)))
        .then_with(|| descending(loss(a), loss(b)))
        .then_with(|| (place_a.0, place_a.1).cmp(&(place_b.0, place_b.1)))
        .then_with(|| place_a.2.total_cmp(&place_b.2))
        .then_with(|| a.run.cmp(&b.run))
}

/// A record with its rank, and its rank by validation accuracy.
type Ranked<'a> = (&'a Record, Option<usize>, Option<usize>);

/// The epochs that a table shows of a run: those trained if it is done or stopped, and those planned otherwise.
pub(crate) fn epochs_shown(record: &Record) -> usize {
    match &record.outcome {
        Outcome::Done(_) | Outcome::Stopped(_) => {
            record.outcome.epochs_trained(record.values.epochs)
        }
        Outcome::Diverged { .. } | Outcome::Failed { .. } => record.values.epochs,
    }
}

fn shown(rank: Option<usize>) -> String {
    rank.map(|rank| rank.to_string()).unwrap_or_default()
}

/// Ranks of what is sorted by a score: equal ones share the lower rank, and what has no score has none.
pub(super) fn shared_ranks<I, S: PartialEq + Copy>(
    sorted: impl Iterator<Item = (I, Option<S>)>,
) -> impl Iterator<Item = (I, Option<usize>)> {
    let mut before: Option<(S, usize)> = None;
    (1..).zip(sorted).map(move |(place, (item, score))| {
        let Some(score) = score else { return (item, None) };
        let rank = before.filter(|(other, _)| *other == score).map_or(place, |(_, rank)| rank);
        before = Some((score, rank));
        (item, Some(rank))
    })
}

impl Ranking {
    /// Sorts runs; the order does not depend on the order in which they come.
    pub fn new(mut records: Vec<Record>, columns: Columns, by: By) -> Self {
        records.sort_by(|a, b| order(by, a, b));
        Self { records, columns, by }
    }

    /// The runs, best first.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Puts another run in its place, instead of an earlier record of it.
    pub fn add(&mut self, record: Record) {
        let is_done = |it: &Record| matches!(it.outcome, Outcome::Done(_));
        let is_stopped = |it: &Record| it.outcome.is_stopped();
        let first = self.records.partition_point(is_done);
        let mut stopped =
            (first..self.records.len()).take_while(|&at| is_stopped(&self.records[at]));
        if let Some(place) = stopped.find(|&place| self.records[place].run == record.run) {
            self.records.remove(place);
        }
        let is_before = |other: &Record| order(self.by, other, &record) != Ordering::Greater;
        let place = self.records.partition_point(is_before);
        self.records.insert(place, record);
    }

    /// What tells the runs apart.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The rank of each record by validation accuracy; equal ones share the lower rank. There is none where
    /// runs have different validation sets.
    pub fn validation_ranks(&self) -> Vec<Option<usize>> {
        if !self.has_one_validation_set() {
            return vec![None; self.records.len()];
        }
        let mut by_validation: Vec<usize> = (0..self.records.len()).collect();
        by_validation.sort_by(|&a, &b| order(By::Validation, &self.records[a], &self.records[b]));
        let accuracy = |index: usize| Some(self.records[index].validation()?.accuracy);
        let mut ranks = vec![None; self.records.len()];
        let in_order = by_validation.into_iter().map(|index| (index, accuracy(index)));
        for (index, rank) in shared_ranks(in_order) {
            ranks[index] = rank;
        }
        ranks
    }

    /// What the runs are sorted by: validation accuracy where there is no test set.
    pub(super) fn by(&self) -> By {
        if self.has_test() { self.by } else { By::Validation }
    }

    /// Whether the data have a test set, as far as runs have been tested.
    pub fn has_test(&self) -> bool {
        let mut scores = self.records.iter().filter_map(Record::scores).peekable();
        scores.peek().is_none() || scores.any(|scores| scores.test.is_some())
    }

    /// Each record with its rank by what they are sorted by, and by validation accuracy.
    fn ranked(&self) -> impl Iterator<Item = Ranked<'_>> {
        let ranks = self.ranks().into_iter().zip(self.validation_ranks());
        self.records.iter().zip(ranks).map(|(record, (rank, other))| (record, rank, other))
    }

    /// The rank of each record by what they are sorted by; equal ones share the lower rank.
    pub fn ranks(&self) -> Vec<Option<usize>> {
        if self.by() == By::Validation {
            return self.validation_ranks();
        }
        let key = |record: &Record| Some(record.scores()?.test?.accuracy);
        shared_ranks(self.records.iter().map(key).enumerate()).map(|(_, rank)| rank).collect()
    }

    /// `ranking.csv`, of the first `top` runs. Runs without scores have no rank. `epochs` are those trained of
    /// runs that are done or stopped; where these are fewer than planned, there is a column for the latter too.
    pub fn csv(&self, top: usize) -> Vec<u8> {
        let columns = self.columns.without(&[EPOCHS]);
        let shows_plan =
            self.records.iter().any(|record| epochs_shown(record) != record.values.epochs);
        let mut header = vec!["rank".to_string()];
        header.extend(columns.names());
        header.extend(SCORES.into_iter().chain([EPOCHS]).map(String::from));
        header.extend(shows_plan.then(|| PLANNED_EPOCHS.to_string()));
        header.extend(["status", "run"].map(String::from));
        let row = |(record, rank, by_validation): Ranked<'_>| {
            let mut row = vec![shown(rank)];
            row.extend(columns.cells_of(record));
            row.extend(match &record.outcome {
                Outcome::Done(scores) => {
                    let test = scores.test.map(|test| test.accuracy.to_string());
                    let (low, high) = scores.test_interval().unzip();
                    let [low, high] = [low, high].map(|end| end.map(|end| format!("{end:.6}")));
                    let [test, low, high] = [test, low, high].map(Option::unwrap_or_default);
                    let validation = record.validation().map(|score| score.accuracy.to_string());
                    let validation = validation.unwrap_or_default();
                    let best_epoch = scores.best_epoch.to_string();
                    [test, low, high, validation, shown(by_validation), best_epoch]
                }
                // Its validation accuracy has no rank among those of longer runs.
                Outcome::Stopped(at) => {
                    let mut cells: [String; SCORES.len()] = Default::default();
                    cells[3] = at.validation.accuracy.to_string();
                    cells[5] = at.best_epoch.to_string();
                    cells
                }
                Outcome::Diverged { .. } | Outcome::Failed { .. } => Default::default(),
            });
            row.push(epochs_shown(record).to_string());
            row.extend(shows_plan.then(|| record.values.epochs.to_string()));
            row.extend([record.outcome.status().to_string(), record.run.clone()]);
            row
        };
        tables::csv(&header, &self.ranked().take(top).map(row).collect::<Vec<_>>())
    }

    /// The first `top` runs and what a reader should know of them, for the terminal, of this width if
    /// it is one.
    pub fn describe(&self, top: usize, width: Option<usize>) -> String {
        // Headers break, so that the table stays narrow.
        let (header, rows) = self.table("\n", top);
        let table = tables::fitting(&header, &rows, width, &LEAST);
        tables::with_notes(table, &self.notes())
    }

    /// The first `top` runs as a Markdown table in Table 2's columns and notes.
    pub fn markdown(&self, top: usize) -> String {
        let (header, rows) = self.table(" ", top);
        tables::document(&header, &rows, &self.notes())
    }

    fn table(&self, gap: &str, top: usize) -> (Vec<String>, Vec<Vec<String>>) {
        let means = self.has_folds().then(|| self.table_of_means(gap, top));
        means.unwrap_or_else(|| (self.header(gap), self.rows(top)))
    }

    fn header(&self, gap: &str) -> Vec<String> {
        let names = self.columns.names().into_iter().map(|name| title(&name, gap));
        let mut header = vec!["Rank".to_string()];
        header.extend(names);
        if self.has_test() {
            header.extend([format!("Test{gap}accuracy"), format!("95 %{gap}interval")]);
        }
        header.extend([
            format!("Validation{gap}accuracy"),
            format!("Validation{gap}rank"),
            format!("Best{gap}epoch"),
        ]);
        header.extend(self.columns.with_run.then(|| "Run".to_string()));
        header
    }

    fn rows(&self, top: usize) -> Vec<Vec<String>> {
        let row = |(record, rank, by_validation): Ranked<'_>| {
            let mut row = vec![shown(rank)];
            row.extend(self.columns.cells_of(record));
            if let Some(scores) = record.scores() {
                if let Some((test, (low, high))) = scores.test.zip(scores.test_interval()) {
                    row.push(percent(test.accuracy));
                    row.push(format!("{:.2}–{:.2}", 100.0 * low, 100.0 * high));
                }
                row.push(record.validation().map(|it| percent(it.accuracy)).unwrap_or_default());
                row.push(shown(by_validation));
                row.push(scores.best_epoch.to_string());
            } else {
                row.push(record.outcome.status().to_string());
                row.extend(std::iter::repeat_n(String::new(), if self.has_test() { 4 } else { 2 }));
            }
            row.extend(self.columns.with_run.then(|| record.run.clone()));
            row
        };
        self.ranked().take(top).map(row).collect()
    }

    /// The run that the validation set would choose, if one trained to its end; of several validation sets the
    /// best one of the configuration that is chosen by its mean, if one is.
    pub fn chosen(&self) -> Option<&Record> {
        let done: Vec<&Record> = match self.chosen_by_mean() {
            Some(chosen) => chosen.runs,
            None if !self.has_one_validation_set() => return None,
            None => self.records.iter().filter(|record| record.scores().is_some()).collect(),
        };
        done.into_iter().min_by(|a, b| order(By::Validation, a, b))
    }

    /// Whether runs differ in their seeds, or in their folds.
    pub fn has_repeats(&self) -> bool {
        let mut all = self.records.iter().map(|record| record.values.repeat());
        all.next().is_some_and(|first| all.any(|other| other != first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::hyperparams::Hyperparams;
    use crate::train::outcome::{AtRung, Scores};
    use crate::train::provenance::Provenance;
    use crate::train::score::Score;

    fn record(run: &str, seed: u64, test: f64, validation: f64) -> Record {
        let values = Hyperparams { seed, ..Hyperparams::default() };
        let score = |accuracy| Score { loss: 1.0, accuracy };
        let outcome = Outcome::Done(Scores {
            best_epoch: 5,
            ended_epoch: None,
            train: score(0.5),
            validation: score(validation),
            test: Some(score(test)),
            test_images: 10_000,
        });
        let (run, values) = (run.into(), values.check().unwrap());
        Record { run, values, outcome, seconds: 1.0, provenance: Provenance::default() }
    }

    fn without_scores(run: &str, outcome: Outcome) -> Record {
        let mut record = record(run, 0, 0.0, 0.0);
        record.outcome = outcome;
        record
    }

    fn rank(records: Vec<Record>, by: By) -> Ranking {
        let values: Vec<_> = records.iter().map(|e| e.values.clone()).collect();
        let columns = Columns::new(values.iter().map(|v| &**v), &[]);
        Ranking::new(records, columns, by)
    }

    fn names(ranking: &Ranking) -> Vec<&str> {
        ranking.records().iter().map(|record| &record.run[..]).collect()
    }

    #[test]
    fn runs_are_sorted_by_test_then_validation_then_name_and_those_without_scores_last() {
        let records = vec![
            without_scores("failed", Outcome::Failed { reason: "x".into() }),
            without_scores("z-diverged", Outcome::Diverged { epoch: 1 }),
            record("c", 0, 0.9, 0.8),
            record("b", 0, 0.9, 0.8),
            record("d", 0, 0.9, 0.85),
            record("a", 0, 0.8, 0.95),
        ];
        for rotation in 0..records.len() {
            let mut records = records.clone();
            records.rotate_left(rotation);
            let by_test = rank(records.clone(), By::Test);
            assert_eq!(names(&by_test), ["d", "b", "c", "a", "z-diverged", "failed"]);
            let by_validation = rank(records, By::Validation);
            assert_eq!(names(&by_validation), ["a", "d", "b", "c", "z-diverged", "failed"]);
        }
    }

    #[test]
    fn the_csv_has_the_documented_columns_and_empty_cells_for_a_diverged_run() {
        let records =
            vec![record("a", 1, 0.9, 0.8), without_scores("b", Outcome::Diverged { epoch: 1 })];
        let csv = String::from_utf8(rank(records, By::Test).csv(usize::MAX)).unwrap();
        let expected = "\
rank,learning_rate,weight_decay,hidden_1,hidden_2,lr_decay,seed,test_accuracy,test_accuracy_low,\
test_accuracy_high,validation_accuracy,validation_rank,best_epoch,epochs,status,run
1,0.2,0.001,500,324,0.5,1,0.9,0.893966,0.905727,0.8,1,5,500,done,a
,0.2,0.001,500,324,0.5,0,,,,,,,500,diverged,b
";
        assert_eq!(csv, expected);
    }

    #[test]
    fn runs_that_ended_early_have_the_epochs_that_were_trained_beside_those_planned() {
        let mut ended = record("a", 1, 0.9, 0.8);
        let Outcome::Done(scores) = &mut ended.outcome else { panic!() };
        scores.ended_epoch = Some(35);
        let validation = Score { loss: 1.0, accuracy: 0.8 };
        let at = AtRung { epoch: 20, best_epoch: 15, train: validation, validation };
        let others = [
            record("b", 1, 0.7, 0.8),
            without_scores("c", Outcome::Stopped(at)),
            without_scores("d", Outcome::Diverged { epoch: 9 }),
        ];
        let ranking = rank([ended].into_iter().chain(others).collect(), By::Test);
        let csv = String::from_utf8(ranking.csv(usize::MAX)).unwrap();
        let ends: Vec<&str> = csv.lines().map(|it| it.splitn(12, ',').last().unwrap()).collect();
        assert_eq!(
            ends,
            [
                "validation_rank,best_epoch,epochs,planned_epochs,status,run",
                "1,5,35,500,done,a",
                "1,5,500,500,done,b",
                ",15,20,500,stopped,c",
                ",,500,500,diverged,d",
            ]
        );
    }

    #[test]
    fn a_setting_has_mean_and_deviation_over_its_seeds() {
        let records = vec![
            record("a", 1, 0.90, 0.80),
            record("b", 2, 0.91, 0.80),
            record("c", 3, 0.92, 0.83),
        ];
        let ranking = rank(records, By::Test);
        assert!(ranking.has_repeats());
        let csv = String::from_utf8(ranking.settings_csv()).unwrap();
        let row = csv.lines().nth(1).unwrap();
        assert_eq!(row, "0.2,0.001,500,324,0.5,500,3,0.910000,0.010000,0.810000,0.017321");
    }

    #[test]
    fn equal_accuracies_share_the_lower_rank_and_the_loss_decides_who_is_chosen() {
        let mut records = vec![
            record("a", 0, 0.9, 0.8),
            record("b", 0, 0.9, 0.8),
            record("c", 0, 0.8, 0.7),
            without_scores("d", Outcome::Diverged { epoch: 1 }),
        ];
        let Outcome::Done(scores) = &mut records[1].outcome else { panic!() };
        scores.validation.loss = 0.5;
        let ranking = rank(records, By::Test);
        assert_eq!(names(&ranking), ["b", "a", "c", "d"]);
        assert_eq!(ranking.ranks(), [Some(1), Some(1), Some(3), None]);
        assert_eq!(ranking.validation_ranks(), [Some(1), Some(1), Some(3), None]);
        let notes = ranking.notes();
        let expected = "Validation chooses the first row. 2 runs share this validation accuracy; the \
                        lower validation loss decides, then the name.";
        assert_eq!(notes[1], expected);
    }

    #[test]
    fn notes_say_that_a_row_is_one_run_and_what_validation_chooses() {
        let records = vec![record("a", 0, 0.9, 0.8), record("b", 0, 0.899, 0.85)];
        let notes = rank(records.clone(), By::Test).notes();
        assert!(notes[0].starts_with("Each row is one run; other seeds may change the order."));
        assert!(
            notes[1]
                .starts_with("Validation chooses b: 89.90 % on the test set. The first row was")
        );
        assert_eq!(rank(records.clone(), By::Validation).notes().len(), 1);
        assert!(rank(records[..1].to_vec(), By::Test).notes().is_empty());
        let mut other = records;
        let values = Hyperparams { data_seed: 3, ..(*other[0].values).clone() };
        other[0].values = values.check().unwrap();
        let other = rank(other, By::Test);
        assert_eq!(other.notes().len(), 1, "validation sets differ");
        assert_eq!(other.validation_ranks(), [None; 2]);
    }
}
