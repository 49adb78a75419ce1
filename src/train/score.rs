//! What is measured in each epoch of a run, and which epoch is the best.

/// Mean cross-entropy in nats, and the fraction classified correctly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The mean cross-entropy in nats, without the penalty.
    pub loss: f64,
    /// A fraction from 0 to 1.
    pub accuracy: f64,
}

/// One epoch of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurveRow {
    /// From 1.
    pub epoch: usize,
    /// η of its updates.
    pub learning_rate: f64,
    /// Averages over its mini-batches as they were trained on, before each step's update.
    pub train: Score,
    /// On the validation set after the epoch, in the epochs that validate.
    pub validation: Option<Score>,
}

/// The epochs of a curve that were validated, with their scores.
pub fn validated(curve: &[CurveRow]) -> impl Iterator<Item = (usize, Score)> {
    curve.iter().filter_map(|row| Some((row.epoch, row.validation?)))
}

/// Which of several epochs with the highest validation accuracy is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTie {
    /// The first, so that the weights have trained no longer than they must.
    First,
    /// The last. A small validation set cannot tell the weights of many epochs apart; of these, the first
    /// have hardly been trained.
    Last,
}

impl OnTie {
    /// All, the default for images first.
    pub const ALL: [Self; 2] = [Self::First, Self::Last];

    /// As it is written in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
        }
    }

    /// Whether a later epoch's accuracy is better than the best one's so far.
    pub fn beats(self, later: f64, best: f64) -> bool {
        later > best || (self == Self::Last && later == best)
    }
}

/// The epoch with the highest validation accuracy and its score.
pub fn best_validation(curve: &[CurveRow], on_tie: OnTie) -> Option<(usize, Score)> {
    let better = |later: &Score, best: &Score| on_tie.beats(later.accuracy, best.accuracy);
    validated(curve).reduce(|best, it| if better(&it.1, &best.1) { it } else { best })
}

/// The first epoch after which so many validations in a row, from 1, have had no better accuracy.
pub fn early_end(curve: &[CurveRow], validations: usize) -> Option<usize> {
    let (mut best, mut without_better) = (f64::NEG_INFINITY, 0);
    for (epoch, Score { accuracy, .. }) in validated(curve) {
        without_better = if accuracy > best { 0 } else { without_better + 1 };
        best = best.max(accuracy);
        if without_better == validations {
            return Some(epoch);
        }
    }
    None
}
