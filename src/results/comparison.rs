//! Configurations compared over their seeds: the test of each row, and the row that validation chooses.
//! `statistics` has the formulas, docs/statistics.md the reasons.

use std::cmp::Reverse;

use crate::results::columns::Columns;
use crate::results::configuration::{Compared, Configuration, Member, Test, grouped};
use crate::results::ranking::shared_ranks;
use crate::results::reference::{Reference, SEED};
use crate::results::settings::{mean_over_sets, validation_sets};
use crate::statistics::{
    PairedDifference, Sample, bonferroni, comparable, difference, mean, paired_difference,
};
use crate::train::cautions::notes_on;
use crate::train::outcome::Record;

/// The configuration that the validation set chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Chosen {
    pub(crate) index: usize,
    /// Its mean validation accuracy, collapsed runs included.
    pub(crate) validation: f64,
    /// How many have the same highest mean validation accuracy.
    pub(crate) equals: usize,
}

/// Configurations, best mean test accuracy first; those without a kept run come last.
#[derive(Debug, Clone)]
pub struct Comparison {
    pub(crate) names: Vec<String>,
    pub(crate) configurations: Vec<Configuration>,
    pub(crate) baseline: usize,
    /// Whether the baseline is the best row, chosen after the fact.
    pub(crate) baseline_is_best: bool,
    /// The number of comparisons that p values are corrected for.
    pub(crate) comparisons: usize,
    pub(crate) reference: Option<Reference>,
    /// What was classified, as messages call it.
    pub(crate) noun: &'static str,
    /// What a reader should know of the runs, a sentence each.
    pub(crate) notes_on_runs: Vec<String>,
}

impl Comparison {
    /// Groups runs into configurations. Differences are to the configuration of the run `baseline`,
    /// which is among them, otherwise to the best one with at least two kept runs.
    pub fn new(
        members: Vec<Member>,
        columns: &Columns,
        baseline: Option<&Record>,
        reference: Option<Reference>,
    ) -> Self {
        let records = || members.iter().map(|member| &member.record);
        let columns = columns.without(&[SEED]).with_kinds(records());
        let noun = records().next().map_or("image", |it| it.provenance.noun());
        let notes_on_runs = notes_on(records());
        let mut configurations = grouped(members, &columns, reference.as_ref());
        for configuration in &mut configurations {
            configuration.part_collapsed();
        }
        configurations.sort_by_key(|of| Reverse(order_key(of)));
        let named = baseline.map(|it| columns.cells_of_all_folds(it));
        let is_named = |of: &Configuration| named.as_ref() == Some(&of.cells);
        let named = configurations.iter().position(is_named);
        let best = configurations.iter().position(|of| of.kept.len() > 1).unwrap_or(0);
        let tested = configurations.iter().filter(|of| of.kept.len() > 1).count();
        let others = tested.saturating_sub(1);
        let mut comparison = Self {
            names: columns.names(),
            configurations,
            baseline: named.unwrap_or(best),
            baseline_is_best: named.is_none(),
            comparisons: if named.is_some() { others } else { tested * others / 2 },
            reference,
            noun,
            notes_on_runs,
        };
        comparison.compare_rows();
        comparison
    }

    /// Compares every row with the baseline.
    fn compare_rows(&mut self) {
        let shares: Vec<Option<Vec<f64>>> =
            self.configurations.iter().map(Configuration::shares).collect();
        let Some(baseline) = self.configurations.get(self.baseline) else { return };
        if baseline.kept.is_empty() {
            return;
        }
        let (tests, of_baseline) = (baseline.tests(), shares[self.baseline].as_deref());
        let rows = self.configurations.iter_mut().enumerate();
        for (index, row) in rows.filter(|(_, row)| !row.kept.is_empty()) {
            if index == self.baseline {
                continue;
            }
            let accuracies = row.tests();
            let a = Sample { accuracies: &accuracies, shares: shares[index].as_deref() };
            let b = Sample { accuracies: &tests, shares: of_baseline };
            let test = difference(a, b).map(|found| Test {
                half: found.half,
                p: found.p,
                p_adjusted: bonferroni(found.p, self.comparisons),
                by_image: a.shares.is_some() && b.shares.is_some(),
            });
            row.compared = Some(Compared { mean: mean(&accuracies) - mean(&tests), test });
        }
    }

    /// The rank of each row by mean test accuracy; equal ones share the lower rank.
    pub(crate) fn ranks(&self) -> Vec<Option<usize>> {
        let keys = self.configurations.iter().map(order_key).enumerate();
        shared_ranks(keys).map(|(_, rank)| rank).collect()
    }

    /// The configuration with the highest mean validation accuracy of all its runs, collapsed ones included,
    /// as the ranking chooses; ties go to the lower mean validation loss, then to the name. Only rows with a
    /// run on each validation set count; `None` if there are fewer than two rows, or if none counts.
    pub(crate) fn chosen(&self) -> Option<Chosen> {
        let all = validation_sets(self.configurations.iter().flat_map(Configuration::done));
        let rows = self.configurations.iter().enumerate();
        let rows: Vec<_> = rows.filter(|(_, row)| row.has_validation()).collect();
        if rows.len() < 2 {
            return None;
        }
        let rows: Vec<_> =
            rows.into_iter().filter(|(_, row)| validation_sets(row.done()) == all).collect();
        let mean = |row: &Configuration, of| mean_over_sets(row.done(), of);
        let validation = |row| mean(row, |score| score.accuracy);
        let accuracy = |row| comparable(validation(row));
        let loss = |row| mean(row, |score| score.loss);
        let (index, best) = *rows.iter().min_by(|(_, a), (_, b)| {
            (accuracy(b).cmp(&accuracy(a)))
                .then_with(|| loss(a).total_cmp(&loss(b)))
                .then_with(|| a.kept[0].record.run.cmp(&b.kept[0].record.run))
        })?;
        let equals = rows.iter().filter(|(_, row)| accuracy(row) == accuracy(best)).count();
        Some(Chosen { index, validation: validation(best), equals })
    }

    /// The difference of two models, if two rows have one run each, and how many more images the first one
    /// classifies correctly.
    pub(crate) fn two_models(&self) -> Option<(PairedDifference, isize)> {
        let [a, b] = &self.configurations[..] else { return None };
        let ([a], [b]) = (&a.kept[..], &b.kept[..]) else { return None };
        let (a, b) = (a.hits.as_ref()?, b.hits.as_ref()?);
        let found = paired_difference(a, b);
        Some((found, (found.mean * a.len() as f64).round() as isize))
    }

    /// The indices of the columns in which configurations differ.
    pub(crate) fn varying(&self) -> Vec<usize> {
        let all = &self.configurations;
        let differs =
            |&column: &usize| all.iter().any(|other| other.cells[column] != all[0].cells[column]);
        (0..self.names.len()).filter(differs).collect()
    }
}

/// What rows are sorted by: mean test accuracy, where there is any.
fn order_key(of: &Configuration) -> Option<i64> {
    (!of.kept.is_empty()).then(|| comparable(of.test().0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::split::PartSize;
    use crate::train::hyperparams::Hyperparams;
    use crate::train::outcome::{Outcome, Scores};
    use crate::train::provenance::Provenance;
    use crate::train::score::Score;

    /// A run whose model classifies the first images of 100 correctly; its validation accuracy is 35
    /// points higher.
    fn member(learning_rate: f64, seed: u64, right: usize) -> Member {
        let values = Hyperparams { learning_rate, seed, ..Hyperparams::default() };
        let score = |accuracy| Score { loss: 1.0, accuracy };
        let right_share = right as f64 / 100.0;
        let outcome = Outcome::Done(Scores {
            best_epoch: 5,
            ended_epoch: None,
            train: score(0.5),
            validation: score((right_share + 0.35).min(1.0)),
            test: Some(score(right_share)),
            test_images: 100,
        });
        let record = Record {
            run: format!("lr{learning_rate}_seed{seed}"),
            values: values.check().unwrap(),
            outcome,
            seconds: 1.0,
            provenance: Provenance::default(),
        };
        let hits = Some((0..100).map(|image| image < right).collect());
        Member { record, hits, last_validation: None, validation_rows: None }
    }

    fn diverged(learning_rate: f64, seed: u64) -> Member {
        let mut member = member(learning_rate, seed, 9);
        member.record.outcome = Outcome::Diverged { epoch: 3 };
        Member { hits: None, ..member }
    }

    fn compared(members: &[Member], baseline: Option<&Member>) -> Comparison {
        let values: Vec<_> = members.iter().map(|it| it.record.values.clone()).collect();
        let columns = Columns::new(values.iter().map(|values| &**values), &[]);
        Comparison::new(members.to_vec(), &columns, baseline.map(|it| &it.record), None)
    }

    #[test]
    fn rows_are_tested_over_their_runs_and_images_with_bonferroni_s_correction() {
        let members = [
            member(0.2, 0, 60),
            member(0.2, 1, 50),
            member(0.1, 0, 52),
            member(0.1, 1, 48),
            member(0.4, 0, 40),
        ];
        let comparison = compared(&members, None);
        assert_eq!((comparison.baseline, comparison.comparisons), (0, 1));
        let rows = &comparison.configurations;
        let shares = |row: usize| rows[row].shares().unwrap();
        let sample = |accuracies, shares| Sample { accuracies, shares: Some(shares) };
        let (p, q) = (shares(1), shares(0));
        let expected = difference(sample(&[0.52, 0.48], &p), sample(&[0.60, 0.50], &q)).unwrap();
        let found = rows[1].compared.unwrap();
        assert!((found.mean + 0.05).abs() < 1e-12);
        assert_eq!(found.test.unwrap().p, expected.p);
        assert!(found.test.unwrap().by_image);
        // A single run has a difference and no verdict, and is no comparison.
        assert!((rows[2].compared.unwrap().mean + 0.15).abs() < 1e-12);
        assert_eq!(rows[2].compared.unwrap().test, None);
        let text = comparison.describe(None);
        assert!(text.contains("No row differs significantly from row 1 (p < 0.05)"), "{text}");
        assert!(text.contains("Row 3 has no verdict"), "{text}");
        // Without answers of one run, the verdict is about these images.
        let mut unknown = members;
        unknown[3].hits = None;
        let comparison = compared(&unknown, Some(&unknown[2]));
        assert_eq!((comparison.baseline, comparison.comparisons), (1, 1));
        assert!(!comparison.configurations[0].compared.unwrap().test.unwrap().by_image);
        let text = comparison.describe(None);
        assert!(
            text.contains("new runs (other initial weights) on these 100 test images"),
            "{text}"
        );
    }

    #[test]
    fn far_apart_rows_differ_and_p_values_are_multiplied_by_all_pairs() {
        let runs = |rate, right: [usize; 4]| {
            right
                .iter()
                .enumerate()
                .map(move |(seed, &right)| member(rate, seed as u64, right))
                .collect::<Vec<_>>()
        };
        let members =
            [runs(0.1, [80, 81, 79, 80]), runs(0.2, [40, 41, 39, 41]), runs(0.3, [80, 79, 82, 78])];
        let comparison = compared(&members.concat(), None);
        assert_eq!(comparison.comparisons, 3);
        let test = comparison.configurations[2].compared.unwrap().test.unwrap();
        assert!((test.p_adjusted - 3.0 * test.p).abs() < 1e-12 && test.is_significant());
        let text = comparison.describe(None);
        let verdict = "Row 3 differs significantly from row 1; the other tested rows do not (p < 0.05, \
                       corrected for 3 comparisons (Bonferroni))";
        assert!(text.contains(verdict), "{text}");
        assert!(
            text.contains("the best configuration is among the rows that do not differ"),
            "{text}"
        );
    }

    #[test]
    fn a_run_is_lost_if_it_diverged_or_ended_far_worse_than_its_configuration_s_best_model() {
        let ended =
            |seed, right, last| Member { last_validation: last, ..member(0.7, seed, right) };
        // The best model errs on 5 % of the validation images.
        let at_chance_from_the_start = ended(1, 10, Some(0.45));
        let broke_down = ended(2, 59, Some(0.83));
        let sound = ended(3, 58, Some(0.86));
        let members =
            [ended(0, 60, None), at_chance_from_the_start, broke_down, sound, diverged(0.7, 4)];
        let comparison = compared(&members, None);
        let row = &comparison.configurations[0];
        assert_eq!((row.kept.len(), row.collapsed.len(), row.lost()), (2, 2, (3, 5)));
        assert!((row.test().0 - 0.59).abs() < 1e-12);
        assert!(
            (row.test_with_collapsed().unwrap() - (0.6 + 0.1 + 0.59 + 0.58) / 4.0).abs() < 1e-12
        );
        let text = comparison.describe(None);
        assert!(text.contains("3 of 5 (15–95 %)"), "{text}");
    }

    #[test]
    fn a_run_is_kept_that_is_as_good_as_its_own_best_epoch_or_as_chance_allows_with_its_few_rows() {
        let of = |seed, right, last, rows| Member {
            last_validation: Some(last),
            validation_rows: Some(rows),
            ..member(0.7, seed, right)
        };
        let kept = |member: Member| {
            let row = compared(&[of(0, 60, 0.95, 5000), member], None).configurations.remove(0);
            row.kept.len() == 2
        };
        assert!(kept(of(1, 56, 0.84, 5000)), "it lost 7 points");
        assert!(!kept(of(1, 56, 0.80, 5000)), "it lost 11 points");
        assert!(kept(of(1, 48, 0.83, 24)), "4 errors of 24, and 1");
        assert!(!kept(of(1, 48, 0.83, 5000)), "850 errors of 5000, and 250, from the start");
        assert!(!kept(of(1, 0, 0.35, 24)), "16 errors of 24: it never learned");
    }

    #[test]
    fn a_run_of_a_fold_is_lost_by_the_best_model_of_its_own_fold() {
        let of_fold = |fold, right, last| {
            let mut member = Member { last_validation: Some(last), ..member(0.7, 0, right) };
            let validation_size = PartSize::Fold { fold, folds: 2 };
            let values = Hyperparams { validation_size, ..(*member.record.values).clone() };
            member.record.values = values.check().unwrap();
            member
        };
        // The first fold is easy: its model errs on 5 %, that of the second on 25 %.
        let row = |last| {
            let members = [of_fold(1, 60, 0.95), of_fold(2, 40, last)];
            compared(&members, None).configurations.remove(0)
        };
        assert_eq!((row(0.55).kept.len(), row(0.45).kept.len()), (2, 1));
    }

    #[test]
    fn a_configuration_without_a_kept_run_has_no_rank_and_comes_last() {
        let members =
            [diverged(0.1, 0), member(0.2, 0, 50), member(0.3, 0, 50), member(0.4, 0, 40)];
        let comparison = compared(&members, None);
        assert_eq!(comparison.ranks(), [Some(1), Some(1), Some(3), None]);
        let csv = String::from_utf8(comparison.csv()).unwrap();
        let columns = |line: &str| line.split(',').count();
        assert!(csv.lines().all(|line| columns(line) == columns(csv.lines().next().unwrap())));
        assert!(comparison.describe(None).contains("Each row is one run; other seeds"));
    }

    #[test]
    fn one_run_against_one_run_is_a_statement_about_two_models() {
        let comparison = compared(&[member(0.1, 0, 50), member(0.2, 0, 40)], None);
        assert_eq!(comparison.two_models().unwrap().1, 10);
        let text = comparison.describe(None);
        let expected = "Of these two models, the first classifies 10 images more correctly (McNemar's \
                        test, p < 0.001). One run each cannot show which configuration is better.";
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("significantly"), "{text}");
    }

    #[test]
    fn validation_chooses_by_the_mean_of_a_configuration_s_runs() {
        let with = |mut member: Member, validation: f64, loss: f64| {
            let Outcome::Done(scores) = &mut member.record.outcome else { panic!() };
            scores.validation = Score { loss, accuracy: validation };
            member
        };
        let members = [
            with(member(0.1, 0, 60), 0.80, 1.0),
            with(member(0.1, 1, 60), 0.90, 1.0), // the best single run
            with(member(0.2, 0, 50), 0.86, 1.0),
            with(member(0.2, 1, 51), 0.86, 1.0),
            with(member(0.3, 0, 40), 0.86, 0.5),
            with(member(0.3, 1, 40), 0.86, 0.5),
        ];
        let comparison = compared(&members, None);
        assert_eq!(comparison.chosen().map(|it| (it.index, it.equals)), Some((2, 2)));
        let text = comparison.describe(None);
        assert!(text.contains("Validation chooses row 3: 40.00 % on the test set (mean of 2"));
        assert!(text.contains("2 rows share this validation accuracy"), "{text}");
        assert!(text.contains("Row 1 was picked by the test set itself, so its 60.00 %"), "{text}");
        let mut other = members.clone();
        let values = Hyperparams { data_seed: 3, ..(*other[0].record.values).clone() };
        other[0].record.values = values.check().unwrap();
        let comparison = compared(&other, None);
        assert_eq!(comparison.chosen(), None, "validation sets differ");
        let text = comparison.describe(None);
        assert!(text.contains("Validation cannot choose among these rows, because"), "{text}");
        // A collapsed run counts, as in the ranking.
        let mut lost = members;
        lost[5] = with(member(0.3, 1, 40), 0.50, 0.5);
        lost[5].last_validation = Some(0.4);
        let comparison = compared(&lost, None);
        assert_eq!(comparison.configurations[2].collapsed.len(), 1);
        assert_eq!(comparison.chosen().map(|it| it.index), Some(1));
    }

    #[test]
    fn each_fold_counts_alike_however_many_runs_it_has_and_a_refit_stays_apart() {
        let of_fold = |rate, seed, fold, right| {
            let mut member = member(rate, seed, right);
            let validation_size = PartSize::Fold { fold, folds: 2 };
            let values = Hyperparams { validation_size, ..(*member.record.values).clone() };
            member.record.values = values.check().unwrap();
            member
        };
        let mut members = vec![
            of_fold(0.1, 0, 1, 50),
            of_fold(0.1, 0, 2, 40),
            of_fold(0.2, 0, 1, 52),
            of_fold(0.2, 0, 2, 30),
        ];
        assert_eq!(compared(&members, None).chosen().map(|it| (it.index, it.equals)), Some((0, 1)));
        // With the easy fold twice, the mean over runs would be the highest.
        members.extend([of_fold(0.2, 1, 1, 62)]);
        let comparison = compared(&members, None);
        assert_eq!(comparison.configurations[0].cells[0], "0.2");
        assert_eq!(comparison.chosen().map(|it| (it.index, it.equals)), Some((1, 1)));
        // Trained on the rows of all folds, it has no validation set.
        members.push(of_fold(0.2, 0, 0, 64));
        let comparison = compared(&members, None);
        let rows = &comparison.configurations;
        assert_eq!(rows.iter().map(|row| row.kept.len()).collect::<Vec<_>>(), [1, 3, 2]);
        assert!(rows[0].validation().0.is_nan());
        assert_eq!(comparison.chosen().map(|it| (it.index, it.equals)), Some((2, 1)));
        let csv = String::from_utf8(comparison.csv()).unwrap();
        assert!(!csv.contains("NaN"), "{csv}");
    }
}
