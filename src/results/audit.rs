//! What stopping runs early would have cost and chosen, replayed on the curves that a grid left. It trains
//! nothing: a rule gets a grid's curves and gives the epoch at which each run would have ended.

use std::cmp::Ordering;

use std::collections::BTreeSet;

use crate::grid::candidates::{choose, configurations};
use crate::results::audit_workers::Workers;
use crate::results::audited::{AuditedRun, Choice, Rule, Stages};
use crate::statistics::{mean, mean_of_means};
use crate::train::checked::Checked;
use crate::train::halving::Halving;
use crate::train::score::early_end;

/// How many of the best runs of the full grid are looked for.
pub const BEST: usize = 10;

/// What a rule would have done.
#[derive(Debug, Clone, PartialEq)]
pub struct Audited {
    /// How many epochs are trained; those that several runs share count once.
    pub epochs: usize,
    /// The same, as a share of the full grid's.
    pub share: f64,
    /// How many runs train to their end.
    pub finished: usize,
    /// What has the best validation accuracy of those; none if nothing can be chosen.
    pub chosen: Option<Choice>,
    /// How many of the full grid's [`BEST`] choices by validation train to their end.
    pub of_best: usize,
}

/// A grid whose rules are replayed.
#[derive(Debug)]
pub struct Audit<'a> {
    runs: &'a [AuditedRun],
    values: Vec<&'a Checked>,
    stages: Stages,
    full_epochs: usize,
    /// What validation chooses from, each a list of runs: single runs, or of several validation sets
    /// configurations.
    groups: Vec<Vec<usize>>,
    best: Vec<Choice>,
}

impl<'a> Audit<'a> {
    /// A grid of these runs, in its order. Runs without a record are not among them.
    pub fn new(runs: &'a [AuditedRun]) -> Self {
        let values: Vec<&Checked> = runs.iter().map(|run| &run.record.values).collect();
        let stages = Stages::of(&values);
        let full_epochs = stages.epochs(|run| runs[run].last_epoch());
        let groups = if has_several_sets(&values) {
            configurations(&values)
        } else {
            (0..runs.len()).map(|run| vec![run]).collect()
        };
        let mut audit = Self { runs, values, stages, full_epochs, groups, best: Vec::new() };
        audit.best = audit.choices(&vec![usize::MAX; runs.len()], |_| true);
        audit.best.truncate(BEST);
        audit
    }

    /// Whether validation chooses configurations by the means of their runs, because these have different validation
    /// sets.
    pub fn has_means(&self) -> bool {
        has_several_sets(&self.values)
    }

    /// How many runs were stopped. Where any was, not every rule can be replayed.
    pub fn stopped(&self) -> usize {
        self.runs.iter().filter(|run| run.record.outcome.is_stopped()).count()
    }

    /// How many epochs the full grid trains: diverged runs end where they diverge, and epochs that several
    /// runs share count once.
    pub fn full_epochs(&self) -> usize {
        self.full_epochs
    }

    /// How many it would train if none diverged.
    pub fn planned_epochs(&self) -> usize {
        self.stages.tree.epochs()
    }

    /// How many of the best choices there are, [`BEST`] at most.
    pub fn count_best(&self) -> usize {
        self.best.len()
    }

    /// What validation chooses of all runs that trained to their end.
    pub fn best(&self) -> Option<Choice> {
        self.best.first().copied()
    }

    /// The name of a run, or what the names of a configuration's runs share.
    pub fn name(&self, choice: &Choice) -> String {
        let names = self.groups[choice.index].iter().map(|&run| &self.runs[run].record.run);
        let mut names = names.map(|name| name.split('_'));
        let mut parts: Vec<&str> = names.next().expect("a run at least").collect();
        names.for_each(|of| parts.retain(|part| of.clone().any(|other| other == *part)));
        if parts.is_empty() { "the only configuration".into() } else { parts.join("_") }
    }

    /// The runs.
    pub fn runs(&self) -> &[AuditedRun] {
        self.runs
    }

    /// What a rule would have done; `None` where it would have trained runs further than they were trained.
    pub fn replay(&self, rule: &Rule) -> Option<Audited> {
        let last: Vec<usize> = self.runs.iter().map(AuditedRun::last_epoch).collect();
        let ends = match rule {
            Rule::Full => last.clone(),
            Rule::Halving(halving) => self.halved(halving),
            Rule::Median { .. } | Rule::Asha { .. } => Workers::new(self.runs, rule).ends(),
            Rule::Patience(validations) => {
                let end = |it: &AuditedRun| early_end(&it.curve, *validations);
                self.runs.iter().map(|it| end(it).unwrap_or(usize::MAX)).collect()
            }
        };
        let ends: Vec<usize> =
            ends.into_iter().zip(&last).map(|(end, &last)| end.min(last)).collect();
        let is_unknown = |(run, &end): (&AuditedRun, &usize)| {
            run.record.outcome.is_stopped() && end > run.curve.len()
        };
        if self.runs.iter().zip(&ends).any(is_unknown) {
            return None;
        }
        // With patience, a run that ends early is done and has a model.
        let is_done = |run: &usize| matches!(rule, Rule::Patience(_)) || ends[*run] == last[*run];
        let epochs = self.stages.epochs(|run| ends[run]);
        let to_the_end = |run: &usize| ends[*run] == last[*run];
        let finishes = |run: &usize| self.runs[*run].record.scores().is_some() && to_the_end(run);
        Some(Audited {
            epochs,
            share: epochs as f64 / self.full_epochs as f64,
            finished: (0..self.runs.len()).filter(finishes).count(),
            chosen: self.choices(&ends, is_done).first().copied(),
            of_best: self
                .best
                .iter()
                .filter(|it| self.groups[it.index].iter().all(to_the_end))
                .count(),
        })
    }

    /// The epoch at which halving ends each run.
    fn halved(&self, halving: &Halving) -> Vec<usize> {
        let mut ends = vec![usize::MAX; self.runs.len()];
        let mut left: Vec<usize> = (0..self.runs.len()).collect();
        for &rung in halving.rungs() {
            let values: Vec<&Checked> = left.iter().map(|&run| self.values[run]).collect();
            let choice = choose(halving, &values, rung, |at| self.runs[left[at]].score(rung));
            for (&run, _) in left.iter().zip(&choice.kept).filter(|(_, goes_on)| !**goes_on) {
                ends[run] = rung;
            }
            left.retain(|&run| ends[run] > rung);
        }
        ends
    }

    /// What validation can choose from if each run ends after so many epochs, the best first: that of which no run
    /// was ended by the rule, and one at least is done on each validation set.
    fn choices(&self, ends: &[usize], is_whole: impl Fn(&usize) -> bool) -> Vec<Choice> {
        let set = |run: usize| self.values[run].validation_set();
        let all: BTreeSet<_> = (0..self.runs.len()).map(set).collect();
        let choice = |(index, runs): (usize, &Vec<usize>)| {
            let best = |&run: &usize| Some((set(run), self.runs[run].best_until(ends[run])?));
            let each: Vec<_> = runs.iter().filter_map(best).collect();
            let has_all = all.iter().all(|set| each.iter().any(|(of, _)| of == set));
            let mean_of =
                |of: fn(&Choice) -> f64| mean_of_means(each.iter().map(|(set, it)| (set, of(it))));
            let test: Option<Vec<f64>> = each.iter().map(|(_, it)| it.test).collect();
            let (validation, loss) = (mean_of(|it| it.validation), mean_of(|it| it.loss));
            let choice = Choice { index, validation, loss, test: test.map(|of| mean(&of)) };
            (has_all && runs.iter().all(&is_whole)).then_some(choice)
        };
        let mut choices: Vec<Choice> = self.groups.iter().enumerate().filter_map(choice).collect();
        choices.sort_by(|a, b| self.order(a, b));
        choices
    }

    /// As `rookie rank --by validation` sorts.
    fn order(&self, a: &Choice, b: &Choice) -> Ordering {
        (b.validation.total_cmp(&a.validation))
            .then_with(|| a.loss.total_cmp(&b.loss))
            .then_with(|| self.name(a).cmp(&self.name(b)))
    }
}

fn has_several_sets(values: &[&Checked]) -> bool {
    values.iter().any(|it| it.validation_set() != values[0].validation_set())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::grid::space::values_of;
    use crate::results::audited::made::made;
    use crate::results::columns::Columns;
    use crate::results::ranking::{By, Ranking};
    use crate::train::hyperparams::Hyperparams;
    use crate::train::outcome::{AtRung, Outcome};
    use crate::train::score::Score;

    /// Better from epoch to epoch; η = 0.5 diverges in epoch 30, and a lower rate is better in the end.
    fn learning(values: &Hyperparams, epoch: usize) -> Option<f64> {
        let slow = 1.0 - (-(epoch as f64) * values.learning_rate / 10.0).exp();
        let aside = values.lr_decay / 100.0 + values.weight_decay;
        let final_accuracy = 0.95 - values.learning_rate / 10.0 - aside;
        let is_fine = values.learning_rate < 0.5 || epoch < 30;
        is_fine.then_some(final_accuracy * slow)
    }

    fn halving(rungs: &[usize]) -> Rule {
        Rule::Halving(Halving::new(rungs.to_vec(), 1.0 / 3.0).unwrap())
    }

    /// Counts epochs one by one: those with the same values that training reads until then are one.
    fn slow_epochs(runs: &[AuditedRun], end: impl Fn(&AuditedRun) -> usize) -> usize {
        let mut seen = HashSet::new();
        for run in runs {
            let values = &run.record.values;
            for epoch in 1..=end(run) {
                let decay = if epoch > values.lr_decay_every { values.lr_decay } else { 1.0 };
                let read = [values.learning_rate, values.weight_decay, decay].map(f64::to_bits);
                seen.insert((read, values.hidden.clone(), epoch));
            }
        }
        seen.len()
    }

    #[test]
    fn the_full_grid_is_all_epochs_and_its_choice_is_the_ranking_s() {
        let runs = made(values_of("table1", &[]), learning);
        let audit = Audit::new(&runs);
        let full = audit.replay(&Rule::Full).unwrap();
        assert_eq!(audit.planned_epochs(), 79_200);
        assert_eq!(full.epochs, slow_epochs(&runs, |run| run.curve.len()));
        assert_eq!((full.epochs, full.share), (5 * 13_200 + 12 * 30, 1.0));
        assert_eq!((full.finished, full.of_best), (180, BEST));
        let chosen = full.chosen.unwrap();
        assert_eq!(audit.name(&chosen), ranking(&runs).chosen().unwrap().run);
        assert!((chosen.test.unwrap() - chosen.validation + 0.01).abs() < 1e-12);
    }

    fn ranking(runs: &[AuditedRun]) -> Ranking {
        let columns = Columns::new(runs.iter().map(|run| &*run.record.values), &[]);
        let records = runs.iter().map(|run| run.record.clone());
        Ranking::new(records.collect(), columns, By::Test)
    }

    #[test]
    fn of_several_validation_sets_the_choice_is_the_ranking_s_too() {
        let values =
            ["weight_decay=0,0.001", "hidden=8", "lr_decay=0.5", "seed=1,2", "data_seed=1,2"];
        // The second set is harder; a run of the better weight decay diverges on it.
        let runs = made(values_of("table1", &values), |values, epoch| {
            let aside = if values.data_seed == 2 { 0.3 } else { 0.0 };
            let is_lost = values.weight_decay == 0.0 && (values.seed, values.data_seed) == (1, 2);
            (!is_lost || epoch < 10).then(|| learning(values, epoch).unwrap_or(0.1) - aside)
        });
        let (audit, ranking) = (Audit::new(&runs), ranking(&runs));
        let found = audit.replay(&Rule::Full).unwrap().chosen.unwrap();
        let chosen = ranking.chosen_by_mean().unwrap();
        assert_eq!((chosen.runs.len(), audit.groups[found.index].len()), (3, 4));
        assert_eq!(found.validation, chosen.validation().0);
        assert_eq!(found.test, Some(chosen.test().0));
    }

    #[test]
    fn halving_trains_to_each_rung_what_the_rung_before_kept() {
        let runs = made(values_of("table1", &[]), learning);
        let audit = Audit::new(&runs);
        let found = audit.replay(&halving(&[20, 60])).unwrap();
        // 72 candidates of three runs, of which 24 and 8 go on. At rung 20 the highest rates lead, 12 of
        // which diverge before rung 60.
        assert_eq!(found.epochs, 72 * 20 + 12 * 10 + 12 * 40 + 8 * (140 + 3 * 300));
        assert_eq!((found.finished, found.of_best), (24, 0));
        let rate = runs[found.chosen.unwrap().index].record.values.learning_rate;
        assert_eq!(rate, 0.4, "the lower rates are too slow to be seen at the rungs");
        // What diverges after the last rung costs nothing after that.
        let early = audit.replay(&halving(&[20])).unwrap();
        assert_eq!(early.epochs, 72 * 20 + 12 * 10 + 12 * (180 + 3 * 300));
        assert_eq!(early.finished, 36);
    }

    #[test]
    fn patience_ends_each_run_by_itself_and_knows_only_the_model_that_was_tested() {
        let mut values = values_of("table1", &["weight_decay=0", "hidden=8", "lr_decay=0.5"]);
        values.retain(|values| values.learning_rate < 0.35);
        // Validated after every fifth epoch: 0.3 is best at 40 and again at 400, the others at 40.
        let peaks = |values: &Hyperparams, epoch: usize| {
            let late = if values.learning_rate == 0.3 && epoch >= 400 { 0.1 } else { 0.0 };
            Some(if epoch == 40 { 0.8 + values.learning_rate / 10.0 } else { 0.5 } + late * 4.0)
        };
        let runs = made(values, peaks);
        let audit = Audit::new(&runs);
        let found = audit.replay(&Rule::Patience(10)).unwrap();
        assert_eq!(found.epochs, slow_epochs(&runs, |_| 90));
        let chosen = found.chosen.unwrap();
        let rate = runs[chosen.index].record.values.learning_rate;
        assert_eq!((rate, chosen.test), (0.3, None));
        assert!((chosen.validation - 0.83).abs() < 1e-12);
        let patient = audit.replay(&Rule::Patience(100)).unwrap();
        assert_eq!(patient.epochs, audit.full_epochs());
        assert_eq!(patient.chosen, audit.best());
    }

    #[test]
    fn of_a_halved_grid_only_rules_that_stop_no_later_can_be_replayed() {
        let full = made(values_of("table1", &[]), learning);
        let ends = Audit::new(&full).halved(&Halving::new(vec![20, 60], 1.0 / 3.0).unwrap());
        let mut halved = full.clone();
        for (run, end) in halved.iter_mut().zip(ends) {
            if end < run.curve.len() {
                run.curve.truncate(end);
                run.record.outcome = Outcome::Stopped(AtRung {
                    epoch: end,
                    best_epoch: end,
                    train: Score { loss: 1.0, accuracy: 0.5 },
                    validation: Score { loss: 1.0, accuracy: 0.5 },
                });
            }
        }
        let (full, halved) = (Audit::new(&full), Audit::new(&halved));
        assert_eq!((full.stopped(), halved.stopped()), (0, 3 * (48 + 4)));
        for rungs in [&[20, 60][..], &[20, 60, 170], &[5, 60]] {
            let [of_full, found] = [&full, &halved].map(|it| it.replay(&halving(rungs)).unwrap());
            assert_eq!((of_full.epochs, of_full.finished), (found.epochs, found.finished));
            assert_eq!(of_full.chosen, found.chosen);
        }
        for rule in [Rule::Full, halving(&[60]), halving(&[100]), Rule::Patience(5)] {
            assert_eq!(halved.replay(&rule), None, "{rule:?}");
        }
    }

    #[test]
    fn asha_of_one_worker_per_candidate_keeps_what_halving_keeps() {
        let runs = made(values_of("table1", &[]), |values, epoch| {
            Some(0.5 + values.learning_rate / 10.0 + values.weight_decay + epoch as f64 / 2000.0)
        });
        let audit = Audit::new(&runs);
        let halving = Halving::new(vec![20, 60], 1.0 / 3.0).unwrap();
        let expected = audit.replay(&Rule::Halving(halving)).unwrap();
        let rule = Rule::Asha { rungs: vec![20, 60], reduction: 3, workers: 72 };
        assert_eq!(audit.replay(&rule).unwrap(), expected);
    }
}
