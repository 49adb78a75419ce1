//! A configuration: runs that differ only in their seeds and folds, which of them count, and what they say together.

use std::collections::HashMap;

use crate::results::columns::Columns;
use crate::results::reference::{Published, Reference};
use crate::results::settings::validation_of;
use crate::statistics::{
    has_collapsed, is_far_below, mean, mean_and_std, mean_interval, prediction_interval,
};
use crate::train::outcome::{Outcome, Record, Scores};

/// A run to be compared.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name, values and outcome.
    pub record: Record,
    /// Whether its model classifies each test image correctly, if that is known.
    pub hits: Option<Vec<bool>>,
    /// The last validation accuracy of its curve, if there is one.
    pub last_validation: Option<f64>,
    /// How many validation rows it has, if that is known.
    pub validation_rows: Option<usize>,
}

impl Member {
    fn scores(&self) -> &Scores {
        self.record.outcome.scores().expect("it is done")
    }
}

/// A row against the baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Compared {
    /// The row's mean test accuracy minus the baseline's, a fraction.
    pub(crate) mean: f64,
    /// `None` with fewer than two kept runs on either side, or if runs do not vary.
    pub(crate) test: Option<Test>,
}

/// The test of a row's difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Test {
    /// Half the width of the difference's 95 % interval.
    pub(crate) half: f64,
    /// The p value of this comparison alone, and after Bonferroni's correction.
    pub(crate) p: f64,
    pub(crate) p_adjusted: f64,
    /// Whether the variance over images is in it.
    pub(crate) by_image: bool,
}

impl Test {
    pub(crate) fn is_significant(&self) -> bool {
        self.p_adjusted < crate::statistics::ERROR
    }
}

/// Runs that differ only in their seeds and folds.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    pub(crate) cells: Vec<String>,
    /// The runs that means and tests use.
    pub(crate) kept: Vec<Member>,
    /// Runs that trained to the end but whose training broke down.
    pub(crate) collapsed: Vec<Member>,
    pub(crate) diverged: usize,
    pub(crate) failed: usize,
    pub(crate) published: Option<Published>,
    pub(crate) compared: Option<Compared>,
}

impl Configuration {
    /// The kept runs' records.
    fn records(&self) -> impl Iterator<Item = &Record> + Clone {
        self.kept.iter().map(|member| &member.record)
    }

    /// The records of all runs that trained to their end, from which validation chooses.
    pub(super) fn done(&self) -> impl Iterator<Item = &Record> {
        self.kept.iter().chain(&self.collapsed).map(|member| &member.record)
    }

    /// The kept runs' test accuracies.
    pub(crate) fn tests(&self) -> Vec<f64> {
        self.records().filter_map(Record::scores).map(Scores::judged).collect()
    }

    /// Mean and deviation of the kept runs' test accuracy; NaN without any.
    pub(crate) fn test(&self) -> (f64, Option<f64>) {
        mean_and_std(&self.tests())
    }

    /// The same of their validation accuracy, of those that have validation rows; each validation set weighs
    /// alike in the mean.
    pub(crate) fn validation(&self) -> (f64, Option<f64>) {
        validation_of(self.records())
    }

    /// Whether a kept run has validation rows.
    pub(super) fn has_validation(&self) -> bool {
        self.records().any(|it| it.validation().is_some())
    }

    /// Runs that diverged or collapsed, and all but those that failed for technical reasons.
    pub(crate) fn lost(&self) -> (usize, usize) {
        let lost = self.collapsed.len() + self.diverged;
        (lost, lost + self.kept.len())
    }

    /// The mean test accuracy with collapsed runs, where there are any. (Diverged runs have no model.)
    pub(crate) fn test_with_collapsed(&self) -> Option<f64> {
        let all = self.kept.iter().chain(&self.collapsed);
        let all: Vec<f64> = all.map(|member| member.scores().judged()).collect();
        (!self.collapsed.is_empty()).then(|| mean(&all))
    }

    /// Whether its runs have folds.
    pub(super) fn has_folds(&self) -> bool {
        self.kept.iter().any(|member| member.record.values.validation_size.fold().is_some())
    }

    /// The 95 % interval of the mean over seeds on these test images; of a single run, or if runs do not
    /// vary, Wilson's.
    pub(crate) fn interval(&self) -> Option<(f64, f64)> {
        let scores = self.kept.first()?.scores();
        let of_one = scores.test_interval()?;
        Some(mean_interval(&self.tests()).unwrap_or(of_one))
    }

    /// Whether the published accuracy is in the 95 % prediction interval of one more run.
    pub(crate) fn predicts_published(&self) -> Option<bool> {
        let (low, high) = prediction_interval(&self.tests())?;
        Some((low..=high).contains(&self.published?.test))
    }

    /// For each test image, the share of the kept runs that classify it correctly.
    pub(super) fn shares(&self) -> Option<Vec<f64>> {
        let hits: Vec<&Vec<bool>> =
            self.kept.iter().map(|member| member.hits.as_ref()).collect::<Option<_>>()?;
        let runs = hits.len() as f64;
        let share = |image| hits.iter().filter(|hits| hits[image]).count() as f64 / runs;
        Some((0..hits.first()?.len()).map(share).collect())
    }

    /// Moves the runs that have collapsed: their last validation error is more than twice the least one of a model of
    /// this configuration on the same validation set and far above it, and either they fell as far from their own best
    /// epoch, or that one is no nearer, because they never learned.
    pub(super) fn part_collapsed(&mut self) {
        let set = |record: &Record| record.values.validation_set();
        let mut best_of = HashMap::new();
        for (record, score) in self.records().filter_map(|it| Some((it, it.validation()?))) {
            let best = best_of.entry(set(record)).or_insert(f64::NEG_INFINITY);
            *best = best.max(score.accuracy);
        }
        let runs = self.kept.len();
        let is_collapsed = |member: &Member| {
            let best = best_of.get(&set(&member.record)).copied();
            let (Some(last), Some(best)) = (member.last_validation, best) else { return false };
            let is_far =
                |accuracy, other| is_far_below(accuracy, other, member.validation_rows, runs);
            let is_poor = |accuracy| has_collapsed(accuracy, best) && is_far(accuracy, best);
            let own = member.scores().validation.accuracy;
            is_poor(last) && (is_poor(own) || is_far(last, own))
        };
        (self.collapsed, self.kept) =
            std::mem::take(&mut self.kept).into_iter().partition(is_collapsed);
    }
}

/// Runs by configuration, in the order in which configurations first occur.
pub(super) fn grouped(
    members: Vec<Member>,
    columns: &Columns,
    reference: Option<&Reference>,
) -> Vec<Configuration> {
    let mut index_of: HashMap<_, usize> = HashMap::new();
    let mut configurations: Vec<Configuration> = Vec::new();
    for member in members {
        let cells = columns.cells_of_all_folds(&member.record);
        let index = *index_of.entry(cells.clone()).or_insert(configurations.len());
        if index == configurations.len() {
            configurations.push(Configuration {
                cells,
                kept: Vec::new(),
                collapsed: Vec::new(),
                diverged: 0,
                failed: 0,
                published: reference.and_then(|it| it.of(&member.record.values)),
                compared: None,
            });
        }
        let configuration = &mut configurations[index];
        match member.record.outcome {
            Outcome::Done(_) => configuration.kept.push(member),
            Outcome::Diverged { .. } => configuration.diverged += 1,
            Outcome::Failed { .. } => configuration.failed += 1,
            // Readers keep these apart, because they have no test score.
            Outcome::Stopped(_) => {}
        }
    }
    configurations
}
