//! Successive halving: which candidates go on at a rung. Numbers in, a choice out.
//!
//! A grid is trained to a first rung, the best third goes on to the second, and so on (Jamieson and
//! Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016).
//! All candidates reach a rung before any goes beyond it, so the choice depends on nothing but their curves.

use std::cmp::Ordering;

use crate::statistics::{has_collapsed, mean};
use crate::train::score::{CurveRow, validated};

/// The fewest candidates that go on.
const FEWEST: usize = 3;
/// What is expected of the share that goes on.
pub const SHARE: &str = "a share above 0 and below 1, such as 0.33";

/// Whether a number can be the share of the candidates that goes on.
pub fn is_share(number: f64) -> bool {
    number > 0.0 && number < 1.0
}

/// When a grid's candidates are compared, and which share of them goes on.
///
/// ```
/// use rookie::Halving;
///
/// // Of 500 epochs with a validation after every fifth.
/// let halving = Halving::of(500, 5);
/// assert_eq!(halving.rungs(), [20, 60]);
/// assert_eq!((halving.count_kept(72), halving.count_kept(24)), (24, 8));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Halving {
    rungs: Vec<usize>,
    keep: f64,
}

impl Halving {
    /// With these rungs, in epochs, of which each keeps this share of the candidates, rounded up, but never
    /// fewer than three.
    ///
    /// # Errors
    /// Says what is expected if the rungs are not ascending from 1, or the share is not between 0 and 1.
    pub fn new(rungs: Vec<usize>, keep: f64) -> Result<Self, String> {
        let ascend = rungs.is_sorted_by(|a, b| a < b) && rungs.first().is_some_and(|&it| it > 0);
        if !ascend {
            return Err(format!("found rungs {rungs:?}, expected ascending epochs, such as 20,60"));
        }
        if !is_share(keep) {
            return Err(format!("expected {SHARE}"));
        }
        Ok(Self { rungs, keep })
    }

    /// The default for runs of so many epochs, which are validated after every `eval_every`: rungs at a
    /// 25th and a 9th of the epochs, rounded up to a validation, each of which keeps a third. Runs that
    /// are too short have fewer rungs.
    pub fn of(epochs: usize, eval_every: usize) -> Self {
        let validated = |rung: usize| rung.div_ceil(eval_every) * eval_every;
        let mut rungs = [25, 9].map(|part| validated(epochs.div_ceil(part))).to_vec();
        rungs.dedup();
        rungs.retain(|&rung| rung < epochs);
        Self { rungs, keep: 1.0 / 3.0 }
    }

    /// The epochs after which candidates are compared, ascending.
    pub fn rungs(&self) -> &[usize] {
        &self.rungs
    }

    /// The share of the candidates that goes on, above 0 and below 1.
    pub fn keep(&self) -> f64 {
        self.keep
    }

    /// How many of so many candidates go on.
    pub fn count_kept(&self, candidates: usize) -> usize {
        // A third of 72 is 24, whatever the rounding of a third.
        let share = (candidates as f64 * self.keep - 1e-9).ceil() as usize;
        share.max(FEWEST).min(candidates)
    }

    /// Which candidates go on, by their scores: those with the best, and of equal ones those that come
    /// first. A candidate without a score goes on only where others are too few.
    pub fn kept(&self, scores: &[Option<RungScore>]) -> Vec<bool> {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        // Stable, so that equals stay in their order.
        order.sort_by(|&a, &b| best_first(scores[a], scores[b]));
        let mut kept = vec![false; scores.len()];
        order[..self.count_kept(scores.len())].iter().for_each(|&candidate| kept[candidate] = true);
        kept
    }
}

/// What counts of a run at a rung.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RungScore {
    /// The best validation accuracy so far, a fraction.
    pub accuracy: f64,
    /// The validation loss at the rung.
    pub loss: f64,
}

impl RungScore {
    /// The score of a run at a rung by its curve; none if the run has no validation up to there, has
    /// diverged, or has collapsed ([`has_collapsed`]). A run that
    /// ended before the rung keeps the score of its end.
    pub fn of(curve: &[CurveRow], diverged_in: Option<usize>, rung: usize) -> Option<Self> {
        if diverged_in.is_some_and(|epoch| epoch <= rung) {
            return None;
        }
        // A curve's file holds float32, a checkpoint more digits: the same run has the same score.
        let rounded = |number: f64| f64::from(number as f32);
        let until = &curve[..rung.min(curve.len())];
        let validations: Vec<(f64, f64)> =
            validated(until).map(|(_, it)| (rounded(it.accuracy), rounded(it.loss))).collect();
        let &(last, loss) = validations.last()?;
        let accuracy = validations.iter().map(|it| it.0).fold(f64::NEG_INFINITY, f64::max);
        (!has_collapsed(last, accuracy) && loss.is_finite()).then_some(Self { accuracy, loss })
    }

    /// The mean over the seeds of a candidate; none if one of them has no score.
    pub fn mean(scores: &[Option<Self>]) -> Option<Self> {
        let scores: Vec<Self> = scores.iter().copied().collect::<Option<_>>()?;
        let mean = |of: fn(&Self) -> f64| mean(&scores.iter().map(of).collect::<Vec<_>>());
        Some(Self { accuracy: mean(|it| it.accuracy), loss: mean(|it| it.loss) })
    }
}

/// The higher accuracy first, then the lower loss; no score last.
pub fn best_first(a: Option<RungScore>, b: Option<RungScore>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.accuracy.total_cmp(&a.accuracy).then(a.loss.total_cmp(&b.loss)),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::score::Score;

    fn curve(validations: &[(usize, f64)]) -> Vec<CurveRow> {
        let train = Score { loss: 1.0, accuracy: 0.5 };
        let last = validations.last().map_or(0, |it| it.0);
        let row = |epoch| {
            let at = validations.iter().find(|it| it.0 == epoch);
            let validation = at.map(|&(_, accuracy)| Score { loss: 1.0 - accuracy, accuracy });
            CurveRow { epoch, learning_rate: 0.1, train, validation }
        };
        (1..=last).map(row).collect()
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the functions under test return it")]
    fn score(accuracy: f64, loss: f64) -> Option<RungScore> {
        Some(RungScore { accuracy, loss })
    }

    #[test]
    fn a_run_is_judged_by_its_best_validation_up_to_the_rung() {
        let curve = curve(&[(5, 0.7), (10, 0.875), (15, 0.8125), (20, 0.9375)]);
        let judged = |rung| RungScore::of(&curve, None, rung);
        assert_eq!(judged(4), None);
        assert_eq!(judged(15), score(0.875, 0.1875));
        assert_eq!(judged(20), score(0.9375, 0.0625));
        assert_eq!(judged(60), judged(20));
    }

    #[test]
    fn a_run_that_diverged_or_collapsed_before_the_rung_has_no_score() {
        let fine = curve(&[(5, 0.5), (10, 0.75)]);
        assert_eq!(RungScore::of(&fine, Some(12), 10), score(0.75, 0.25));
        assert_eq!(RungScore::of(&fine, Some(10), 10), None);
        assert!(RungScore::of(&curve(&[(5, 0.75), (10, 0.5)]), None, 10).is_some());
        let collapsed = curve(&[(5, 0.75), (10, 0.4)]);
        assert_eq!(RungScore::of(&collapsed, None, 10), None);
        assert_eq!(RungScore::of(&collapsed, None, 5), score(0.75, 0.25));
    }

    #[test]
    fn the_best_go_on_and_of_equals_the_lower_loss_and_then_the_first() {
        let halving = Halving::new(vec![1], 0.5).unwrap();
        let scores = [
            None,
            score(0.5, 0.1),
            score(0.7, 0.3),
            score(0.6, 0.2),
            score(0.6, 0.2),
            score(0.6, 0.1),
            None,
            score(0.1, 9.0),
        ];
        let kept = halving.kept(&scores);
        assert_eq!(kept, [false, false, true, true, true, true, false, false]);
        // What has no score goes on only where all that have one are fewer than that.
        assert_eq!(halving.kept(&[None, score(0.1, 9.0), None, None]), [true, true, true, false]);
    }

    #[test]
    fn never_fewer_than_three_go_on_and_a_third_of_72_is_24() {
        let halving = Halving::of(500, 5);
        let kept = [0, 1, 3, 4, 9, 10, 24, 72, 73].map(|count| halving.count_kept(count));
        assert_eq!(kept, [0, 1, 3, 3, 3, 4, 8, 24, 25]);
        let asked = Halving::new(vec![20, 60], 0.33).unwrap();
        assert_eq!((asked.count_kept(72), asked.count_kept(24)), (24, 8));
    }

    #[test]
    fn rungs_are_validations_before_the_end() {
        let rungs = |epochs, eval_every| Halving::of(epochs, eval_every).rungs().to_vec();
        assert_eq!(rungs(500, 5), [20, 60]);
        assert_eq!(rungs(500, 7), [21, 56]);
        assert_eq!(rungs(30, 5), [5]);
        assert_eq!(rungs(12, 1), [1, 2]);
        assert_eq!(rungs(5, 5), [0; 0]);
        for (wrong, keep) in [(vec![], 0.3), (vec![0, 3], 0.3), (vec![3, 3], 0.3), (vec![3], 1.0)] {
            assert!(Halving::new(wrong, keep).is_err());
        }
    }

    #[test]
    fn a_candidate_has_the_mean_score_of_its_seeds_unless_one_has_none() {
        assert_eq!(RungScore::mean(&[score(0.5, 2.0), score(1.0, 1.0)]), score(0.75, 1.5));
        assert_eq!(RungScore::mean(&[score(0.5, 2.0), None]), None);
    }
}
