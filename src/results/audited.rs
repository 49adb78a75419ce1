//! The runs of a grid that is audited, and the rules that end runs early.

use crate::grid::stages::{Stage, StageTree};
use crate::train::checked::Checked;
use crate::train::halving::{Halving, RungScore};
use crate::train::outcome::Record;
use crate::train::score::{CurveRow, Score, best_validation};

/// A run of a grid that is done, has diverged, or was stopped at a rung, and its curve until then.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditedRun {
    /// Its record.
    pub record: Record,
    /// Its curve, as far as it was trained.
    pub curve: Vec<CurveRow>,
}

impl AuditedRun {
    /// The epoch at which it ends if no rule ends it earlier.
    pub(super) fn last_epoch(&self) -> usize {
        if self.record.outcome.is_stopped() { self.record.values.epochs } else { self.curve.len() }
    }

    /// The score at a rung.
    pub(super) fn score(&self, rung: usize) -> Option<RungScore> {
        RungScore::of(&self.curve, self.record.outcome.diverged_in(), rung)
    }

    /// The score of its best validation up to an epoch, and that of its test set if its model is the one
    /// that was tested.
    pub(super) fn best_until(&self, epoch: usize) -> Option<Choice> {
        let scores = self.record.scores()?;
        let until = &self.curve[..epoch.min(self.curve.len())];
        let (best_epoch, at_best) = best_validation(until, self.record.values.on_tie)?;
        let is_tested = best_epoch == scores.best_epoch;
        let Score { accuracy, loss } = if is_tested { scores.validation } else { at_best };
        let test = scores.test.filter(|_| is_tested).map(|it| it.accuracy);
        Some(Choice { index: 0, validation: accuracy, loss, test })
    }
}

/// When runs are ended early.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Never.
    Full,
    /// Successive halving: candidates are compared with each other at rungs.
    Halving(Halving),
    /// A candidate whose best validation accuracy so far is below the median of the running averages of
    /// the candidates that have ended, from an epoch on (Golovin et al., "Google Vizier", KDD 2017).
    Median {
        /// The first epoch at which a candidate may be ended.
        from: usize,
        /// Candidates that train at the same time.
        workers: usize,
    },
    /// Asynchronous successive halving: a candidate goes on as soon as it is in the best part of those that
    /// have come to its rung (Li et al., "A System for Massively Parallel Hyperparameter Tuning", `MLSys` 2020).
    Asha {
        /// In epochs, ascending.
        rungs: Vec<usize>,
        /// One in so many goes on.
        reduction: usize,
        /// Candidates that train at the same time.
        workers: usize,
    },
    /// After so many validations without a better accuracy, each run by itself.
    Patience(usize),
}

impl Rule {
    /// For a table.
    pub fn name(&self) -> String {
        let listed =
            |rungs: &[usize]| rungs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Full => "full grid".into(),
            Self::Halving(it) => format!("halving {} (keep {:.2})", listed(it.rungs()), it.keep()),
            Self::Median { from, workers } => format!("median from {from} (workers {workers})"),
            Self::Asha { rungs, reduction, workers } => {
                format!("ASHA {} (1 of {reduction}, workers {workers})", listed(rungs))
            }
            Self::Patience(validations) => format!("patience {validations}"),
        }
    }
}

/// What validation chooses: a run, or of several validation sets a configuration with the means of its runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Its index among what validation chooses from.
    pub index: usize,
    /// Its validation accuracy, a fraction.
    pub validation: f64,
    pub(super) loss: f64,
    /// Its test accuracy; `None` where its model would be another one than the one that was tested.
    pub test: Option<f64>,
}

/// The stages of some runs.
#[derive(Debug)]
pub(super) struct Stages {
    pub(super) tree: StageTree,
    /// The runs that pass through each stage, by their index among these runs.
    through: Vec<Vec<usize>>,
}

impl Stages {
    pub(super) fn of(runs: &[&Checked]) -> Self {
        let tree = StageTree::shared(runs);
        let through = (0..tree.stages.len()).map(|stage| tree.runs_from(stage)).collect();
        Self { tree, through }
    }

    /// How many epochs are trained if each run ends after so many; those that several share count once.
    pub(super) fn epochs(&self, end: impl Fn(usize) -> usize) -> usize {
        let of_stage = |(stage, through): (&Stage, &Vec<usize>)| {
            let (from, to) = (stage.from.epochs_before(), stage.to.epochs_before());
            let last = through.iter().map(|&run| end(run)).max().unwrap_or(0);
            last.min(to).saturating_sub(from)
        };
        self.tree.stages.iter().zip(&self.through).map(of_stage).sum()
    }
}

#[cfg(test)]
pub(super) mod made {
    use super::*;
    use crate::train::hyperparams::Hyperparams;
    use crate::train::outcome::{Outcome, Scores};
    use crate::train::provenance::Provenance;

    /// Runs with the validation accuracy that a function gives to each epoch, in which it diverges where
    /// that gives none. The test accuracy of the best epoch is 0.01 lower.
    pub(crate) fn made(
        values: Vec<Checked>,
        accuracy: impl Fn(&Hyperparams, usize) -> Option<f64>,
    ) -> Vec<AuditedRun> {
        let run = |(index, values): (usize, Checked)| {
            let (mut curve, mut best, mut end) = (Vec::new(), (0, 0.0), None);
            for epoch in 1..=values.epochs {
                let at = accuracy(&values, epoch);
                let accuracy = at.unwrap_or(0.1);
                let is_validated =
                    epoch.is_multiple_of(values.eval_every) || epoch == values.epochs;
                let validation =
                    (is_validated && at.is_some()).then_some(Score { loss: 1.0, accuracy });
                let train = Score { loss: 1.0, accuracy: 0.5 };
                curve.push(CurveRow { epoch, learning_rate: 0.1, train, validation });
                if at.is_none() {
                    end = Some(Outcome::Diverged { epoch });
                    break;
                }
                if is_validated && accuracy > best.1 {
                    best = (epoch, accuracy);
                }
            }
            let score = |accuracy| Score { loss: 1.0, accuracy };
            let scores = Scores {
                best_epoch: best.0,
                ended_epoch: None,
                train: score(0.5),
                validation: score(best.1),
                test: Some(score(best.1 - 0.01)),
                test_images: 100,
            };
            let record = Record {
                run: format!("run{index:03}"),
                values,
                outcome: end.unwrap_or(Outcome::Done(scores)),
                seconds: 1.0,
                provenance: Provenance::default(),
            };
            AuditedRun { record, curve }
        };
        values.into_iter().enumerate().map(run).collect()
    }
}
