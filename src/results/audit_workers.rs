//! Rules that depend on who trains when: workers are simulated, each of which trains one candidate at a time
//! and takes as long for every epoch. The grid's order is the order in which candidates begin.

use std::collections::VecDeque;

use crate::grid::candidates::candidates;
use crate::results::audited::{AuditedRun, Rule, Stages};
use crate::statistics::{mean, median};
use crate::train::checked::Checked;
use crate::train::halving::{RungScore, best_first};

/// How many candidates must have ended before the median rule ends another one.
const FEWEST_ENDED: usize = 3;

/// A candidate in training.
#[derive(Debug, Clone, Copy)]
struct Job {
    candidate: usize,
    /// The epoch that it is trained to.
    to: usize,
    /// When it will be there.
    at: usize,
}

/// Workers that train the candidates of a grid under a rule.
#[derive(Debug)]
pub(super) struct Workers<'a> {
    runs: &'a [AuditedRun],
    values: Vec<&'a Checked>,
    rule: &'a Rule,
    candidates: Vec<Vec<usize>>,
    stages: Vec<Stages>,
    /// The epoch that each candidate has come to.
    reached: Vec<usize>,
    /// Those that have not begun, in their order, come from this one on.
    next: usize,
    /// The candidates that go on at once, because their workers have trained them to a validation.
    again: VecDeque<usize>,
    /// The candidates that have come to each rung, and whether they went on from there.
    at_rung: Vec<Vec<(usize, bool)>>,
    ended: Vec<usize>,
    last: usize,
}

impl<'a> Workers<'a> {
    pub(super) fn new(runs: &'a [AuditedRun], rule: &'a Rule) -> Self {
        let (first, rungs) = match rule {
            Rule::Asha { rungs, .. } => (rungs[0], rungs.len()),
            Rule::Median { from, .. } => (*from, 0),
            Rule::Full | Rule::Halving(_) | Rule::Patience(_) => (1, 0),
        };
        let values: Vec<&Checked> = runs.iter().map(|run| &run.record.values).collect();
        let candidates = candidates(&values, first);
        let stages_of = |members: &Vec<usize>| {
            Stages::of(&members.iter().map(|&run| values[run]).collect::<Vec<&Checked>>())
        };
        Self {
            runs,
            rule,
            reached: vec![0; candidates.len()],
            stages: candidates.iter().map(stages_of).collect(),
            candidates,
            next: 0,
            again: VecDeque::new(),
            at_rung: vec![Vec::new(); rungs],
            ended: Vec::new(),
            last: values.iter().map(|values| values.epochs).max().unwrap_or(0),
            values,
        }
    }

    /// The epoch at which each run ends.
    pub(super) fn ends(mut self) -> Vec<usize> {
        let workers = match self.rule {
            Rule::Asha { workers, .. } | Rule::Median { workers, .. } => *workers,
            Rule::Full | Rule::Halving(_) | Rule::Patience(_) => 1,
        };
        let (mut jobs, mut now): (Vec<Job>, usize) = (Vec::new(), 0);
        loop {
            while jobs.len() < workers
                && let Some((candidate, to)) = self.take()
            {
                let at = now + self.cost(candidate, to);
                jobs.push(Job { candidate, to, at });
            }
            let Some(next) = jobs.iter().map(|job| job.at).min() else { break };
            now = next;
            // Those that arrive at the same time are compared with each other too.
            let (arrived, left): (Vec<Job>, _) = jobs.into_iter().partition(|job| job.at == now);
            for job in arrived {
                self.arrive(job.candidate, job.to);
            }
            jobs = left;
        }
        let mut ends = vec![0; self.values.len()];
        for (members, &reached) in self.candidates.iter().zip(&self.reached) {
            for &run in members {
                ends[run] = reached;
            }
        }
        ends
    }

    /// What a candidate's runs train from where they are to an epoch.
    fn cost(&self, candidate: usize, to: usize) -> usize {
        let runs = &self.candidates[candidate];
        let last = |run: usize| self.runs[runs[run]].last_epoch();
        let until = |epoch: usize| self.stages[candidate].epochs(|run| epoch.min(last(run)));
        until(to) - until(self.reached[candidate])
    }

    /// What a free worker trains next: a candidate, and to which epoch.
    fn take(&mut self) -> Option<(usize, usize)> {
        let Rule::Asha { rungs, reduction, .. } = self.rule else {
            let candidate = self.again.pop_front().or_else(|| self.begin())?;
            return Some((candidate, self.next_validation(candidate)));
        };
        for rung in (0..rungs.len()).rev() {
            if let Some(at) = self.promotable(rung, rungs[rung], *reduction) {
                self.at_rung[rung][at].1 = true;
                let to = rungs.get(rung + 1).copied().unwrap_or(self.last);
                return Some((self.at_rung[rung][at].0, to));
            }
        }
        Some((self.begin()?, rungs[0]))
    }

    fn begin(&mut self) -> Option<usize> {
        let candidate = self.next;
        (candidate < self.candidates.len()).then(|| {
            self.next += 1;
            candidate
        })
    }

    /// The place in a rung of the best candidate that may go on from there and has not.
    fn promotable(&self, rung: usize, epoch: usize, reduction: usize) -> Option<usize> {
        let here = &self.at_rung[rung];
        let mut scored: Vec<(usize, RungScore)> = here
            .iter()
            .enumerate()
            .filter_map(|(at, &(candidate, _))| Some((at, self.score(candidate, epoch)?)))
            .collect();
        scored.sort_by(|(_, a), (_, b)| best_first(Some(*a), Some(*b)));
        let best = scored.iter().take(here.len() / reduction);
        best.map(|&(at, _)| at).find(|&at| !here[at].1)
    }

    fn score(&self, candidate: usize, epoch: usize) -> Option<RungScore> {
        let scores = self.candidates[candidate].iter().map(|&run| self.runs[run].score(epoch));
        RungScore::mean(&scores.collect::<Vec<_>>())
    }

    fn next_validation(&self, candidate: usize) -> usize {
        let every = self.values[self.candidates[candidate][0]].eval_every;
        ((self.reached[candidate] / every + 1) * every).min(self.last)
    }

    /// A candidate has come to an epoch.
    fn arrive(&mut self, candidate: usize, to: usize) {
        self.reached[candidate] = to;
        match self.rule {
            Rule::Asha { rungs, .. } => {
                if let Some(rung) = rungs.iter().position(|&rung| rung == to) {
                    self.at_rung[rung].push((candidate, false));
                }
            }
            Rule::Median { from, .. } if to < self.last => {
                let is_lost = self.score(candidate, to).is_none();
                if to < *from || !(is_lost || self.is_below_median(candidate, to)) {
                    self.again.push_back(candidate);
                }
            }
            _ => self.ended.push(candidate),
        }
    }

    fn is_below_median(&self, candidate: usize, epoch: usize) -> bool {
        let averages: Vec<f64> =
            self.ended.iter().filter_map(|&other| self.running_average(other, epoch)).collect();
        let best = self.score(candidate, epoch).map(|score| score.accuracy);
        averages.len() >= FEWEST_ENDED && best < median(&averages)
    }

    /// The mean validation accuracy of a candidate's runs up to an epoch.
    fn running_average(&self, candidate: usize, epoch: usize) -> Option<f64> {
        let runs = self.candidates[candidate].iter().map(|&run| &self.runs[run].curve);
        let until = runs.flat_map(|curve| curve.iter().take_while(|row| row.epoch <= epoch));
        let all: Vec<f64> = until.filter_map(|row| Some(row.validation?.accuracy)).collect();
        (!all.is_empty()).then(|| mean(&all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::space::values_of;
    use crate::results::audited::made::made;

    /// Runs of twelve epochs, each validated, that keep their accuracies: in the order of the grid 0.1 (which
    /// diverges in epoch 3), 0.2, 0.5, 0.4, 0.3 and 0.6.
    fn runs() -> Vec<AuditedRun> {
        let rates = "learning_rate=0.1,0.2,0.5,0.4,0.3,0.6";
        let one =
            ["weight_decay=0", "hidden=8", "lr_decay=0.5", "epochs=12", "eval_every=1", rates];
        let values = values_of("table1", &one);
        made(values, |values, epoch| {
            let is_fine = values.learning_rate > 0.1 || epoch < 3;
            is_fine.then_some(values.learning_rate)
        })
    }

    fn ends(runs: &[AuditedRun], rule: &Rule) -> Vec<usize> {
        Workers::new(runs, rule).ends()
    }

    #[test]
    fn asha_lets_go_on_whoever_is_in_the_best_part_of_those_that_came() {
        let runs = runs();
        let asha = |workers| Rule::Asha { rungs: vec![2, 6], reduction: 2, workers };
        // One worker. At rung 2: 0.1 and 0.2, of which 0.2 goes on to rung 6, and is alone there. 0.5 and
        // 0.4 come to rung 2, and 0.5 goes on: the better half of two at rung 6, it trains to its end. 0.3
        // and 0.6 come to rung 2; 0.6 is among the best three of six, and so is 0.4. The best two of the
        // four at rung 6 are 0.5 and 0.6.
        assert_eq!(ends(&runs, &asha(1)), [2, 6, 12, 6, 2, 12]);
        // Six come to a rung together, so that none goes on too early: three of six, one of three.
        assert_eq!(ends(&runs, &asha(6)), [2, 2, 6, 6, 2, 12]);
    }

    #[test]
    fn the_median_rule_ends_who_is_below_the_median_of_those_that_ended() {
        let runs = runs();
        // One worker: 0.1 diverges, 0.2, 0.5 and 0.4 train to their end, and their median is 0.4.
        let median = |from, workers| Rule::Median { from, workers };
        assert_eq!(ends(&runs, &median(4, 1)), [4, 12, 12, 12, 4, 12]);
        // With six workers, none has ended before the others are there.
        assert_eq!(ends(&runs, &median(4, 6)), [4, 12, 12, 12, 12, 12]);
    }
}
