//! Statistics of accuracies, each with its formula and source. docs/statistics.md explains the choices
//! and has the simulation that checks the error rates.

use std::collections::BTreeMap;

use statrs::distribution::{Beta, Binomial, ContinuousCDF, Discrete, DiscreteCDF, StudentsT};

/// The 97.5 % quantile of the standard normal distribution.
const Z95: f64 = 1.959_963_984_540_054;
/// The probability of error of a 95 % interval and of a verdict.
pub const ERROR: f64 = 0.05;

/// The arithmetic mean; NaN of no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean of the means of groups, each of which has the same weight, however many values it has; NaN of none.
pub fn mean_of_means<K: Ord>(values: impl IntoIterator<Item = (K, f64)>) -> f64 {
    let mut groups: BTreeMap<K, Vec<f64>> = BTreeMap::new();
    for (group, value) in values {
        groups.entry(group).or_default().push(value);
    }
    mean(&groups.values().map(|values| mean(values)).collect::<Vec<_>>())
}

/// A mean as a number that is equal for equal means: sums of the same accuracies in another order may
/// differ in their last bit.
pub fn comparable(mean: f64) -> i64 {
    (mean * 1e9).round() as i64
}

/// Whether a run that was once as good as `best` and is now as good as `last`, accuracies of validation, has collapsed:
/// its error is more than twice the least one, and more than ten points above it. The points count where hardly any
/// error is left, of which twice as many may be one row.
pub fn has_collapsed(last: f64, best: f64) -> bool {
    1.0 - last > 2.0 * (1.0 - best) && best - last > 0.1
}

/// Whether an accuracy is more than ten points below another one on the same rows, and beyond chance: the binomial test
/// that an error is equally probable in either (one-sided, corrected for so many comparisons). Where the number of
/// rows is not known, the ten points decide.
pub fn is_far_below(accuracy: f64, other: f64, rows: Option<usize>, comparisons: usize) -> bool {
    let is_beyond_chance = |rows: usize| {
        let errors = |accuracy: f64| ((1.0 - accuracy) * rows as f64).round() as u64;
        let (more, fewer) = (errors(accuracy), errors(other));
        let binomial = Binomial::new(0.5, more + fewer).expect("a probability");
        bonferroni(binomial.cdf(fewer), comparisons) < ERROR
    };
    other - accuracy > 0.1 && rows.is_none_or(is_beyond_chance)
}

/// The mean, and the sample standard deviation (divided by n − 1) of two values or more: exactly 0 if
/// all are equal.
pub fn mean_and_std(values: &[f64]) -> (f64, Option<f64>) {
    if values.len() > 1 && values.iter().all(|value| *value == values[0]) {
        return (values[0], Some(0.0));
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt()))
}

/// The sample variance (divided by n − 1); 0 for fewer than two values.
fn variance(values: &[f64]) -> f64 {
    mean_and_std(values).1.map_or(0.0, |std| std * std)
}

/// A quantile from 0 to 1, between two values in proportion; `None` of no values.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = share * sorted.len().checked_sub(1)? as f64;
    let (below, part) = (at.floor() as usize, at.fract());
    let above = sorted[(below + 1).min(sorted.len() - 1)];
    Some(sorted[below] + part * (above - sorted[below]))
}

/// The median; `None` of no values.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Wilson's 95 % interval of an accuracy measured on some images (Wilson 1927).
pub fn wilson_interval(accuracy: f64, images: usize) -> (f64, f64) {
    let n = images as f64;
    let z2 = Z95 * Z95;
    let centre = (accuracy + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (accuracy * (1.0 - accuracy) / n + z2 / (4.0 * n * n)).sqrt();
    (centre - half, centre + half)
}

/// The exact 95 % interval of a rate of `hits` in `trials` (Clopper and Pearson 1934).
pub fn clopper_pearson(hits: usize, trials: usize) -> (f64, f64) {
    let quantile = |probability: f64, a: usize, b: usize| {
        Beta::new(a as f64, b as f64).expect("positive shapes").inverse_cdf(probability)
    };
    let low = if hits == 0 { 0.0 } else { quantile(ERROR / 2.0, hits, trials - hits + 1) };
    let high =
        if hits == trials { 1.0 } else { quantile(1.0 - ERROR / 2.0, hits + 1, trials - hits) };
    (low, high)
}

fn student(degrees: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, degrees).expect("positive degrees of freedom")
}

/// The 97.5 % quantile of Student's t with this many degrees of freedom.
pub fn t_95(degrees: f64) -> f64 {
    student(degrees).inverse_cdf(1.0 - ERROR / 2.0)
}

/// The 95 % interval of the mean of runs over seeds: mean ± t(S − 1)·s/√S, within 0 to 1. `None` for
/// fewer than two runs, or if they do not vary.
pub fn mean_interval(accuracies: &[f64]) -> Option<(f64, f64)> {
    let (mean, Some(std)) = mean_and_std(accuracies) else { return None };
    let runs = accuracies.len() as f64;
    let half = t_95(runs - 1.0) * std / runs.sqrt();
    (std > 0.0).then(|| ((mean - half).max(0.0), (mean + half).min(1.0)))
}

/// The 95 % prediction interval of one more run: mean ± t(S − 1)·s·√(1 + 1/S). `None` for fewer than two
/// runs.
pub fn prediction_interval(accuracies: &[f64]) -> Option<(f64, f64)> {
    let (mean, Some(std)) = mean_and_std(accuracies) else { return None };
    let runs = accuracies.len() as f64;
    let half = t_95(runs - 1.0) * std * (1.0 + 1.0 / runs).sqrt();
    Some((mean - half, mean + half))
}

/// The exact test of `McNemar` with the mid-p value (Lancaster 1961; Fagerland, Lydersen and Laake 2013)
/// of two models, where `only_first` images are classified correctly by the first one alone, and
/// `only_second` by the second.
fn mcnemar(only_first: usize, only_second: usize) -> f64 {
    let (trials, less) = (only_first + only_second, only_first.min(only_second));
    if trials == 0 {
        return 1.0;
    }
    let binomial = Binomial::new(0.5, trials as u64).expect("a probability");
    (2.0 * binomial.cdf(less as u64) - binomial.pmf(less as u64)).min(1.0)
}

/// A p value multiplied by the number of comparisons (Bonferroni), at most 1.
pub fn bonferroni(p: f64, comparisons: usize) -> f64 {
    (p * comparisons as f64).min(1.0)
}

/// The runs of a configuration that a test uses.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Test accuracies of the runs, fractions.
    pub accuracies: &'a [f64],
    /// For each test image, the share of these runs that classify it correctly, if all answers are
    /// known.
    pub shares: Option<&'a [f64]>,
}

impl Sample<'_> {
    /// Mean over images of p(1 − p)/(m − 1): the variance of a share that comes from having few runs.
    fn run_noise(&self, shares: &[f64]) -> f64 {
        let spread: f64 = shares.iter().map(|p| p * (1.0 - p)).sum();
        spread / shares.len() as f64 / (self.accuracies.len() - 1) as f64
    }
}

/// The difference of two configurations' mean accuracies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The first mean minus the second, a fraction.
    pub mean: f64,
    /// Half the width of its 95 % interval.
    pub half: f64,
    /// The two-sided p value that there is no difference, for this comparison alone.
    pub p: f64,
}

/// Tests whether two configurations of at least two runs each differ: Welch's test over the runs, with
/// the variance over images added. `None` with fewer runs, or if runs do not vary.
///
/// ```text
/// g     = s²/m of each configuration, never pooled (Welch 1947)
/// V_img = max(0, [var(p̂ − q̂) − mean p̂(1 − p̂)/(m − 1) − mean q̂(1 − q̂)/(k − 1)] / n) over n images,
///         0 where answers per image are unknown (seeds × images: Obuchowski and Rockette 1995,
///         Gallas 2006, Hillis 2007)
/// V     = g_a + g_b + V_img
/// ν     = min(Satterthwaite's (1946) from g_a and g_b alone, (l − 1)(1 + l/h)), and 1 if l = 2, with l
///         the lower and h the higher number of runs; with V_img, two seeds give 12 % false positives
/// p     = 2·P(T_ν > |d|/√V)
/// ```
pub fn difference(a: Sample<'_>, b: Sample<'_>) -> Option<Difference> {
    let (m, k) = (a.accuracies.len(), b.accuracies.len());
    if m < 2 || k < 2 {
        return None;
    }
    let (g_a, g_b) = (variance(a.accuracies) / m as f64, variance(b.accuracies) / k as f64);
    let over_runs = g_a + g_b;
    if over_runs <= 0.0 {
        return None;
    }
    let over_images = match (a.shares, b.shares) {
        (Some(p), Some(q)) => {
            let differences: Vec<f64> = p.iter().zip(q).map(|(p, q)| p - q).collect();
            let noise = a.run_noise(p) + b.run_noise(q);
            ((variance(&differences) - noise) / differences.len() as f64).max(0.0)
        }
        _ => 0.0,
    };
    let error = (over_runs + over_images).sqrt();
    let (low, high) = (m.min(k) as f64, m.max(k) as f64);
    let satterthwaite =
        over_runs.powi(2) / (g_a.powi(2) / (m - 1) as f64 + g_b.powi(2) / (k - 1) as f64);
    let cap = if low == 2.0 { 1.0 } else { (low - 1.0) * (1.0 + low / high) };
    let degrees = satterthwaite.min(cap);
    let mean = mean(a.accuracies) - mean(b.accuracies);
    let p = 2.0 * student(degrees).sf(mean.abs() / error);
    Some(Difference { mean, half: t_95(degrees) * error, p })
}

/// The difference of two models' accuracies on the same images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedDifference {
    /// The first accuracy minus the second, a fraction.
    pub mean: f64,
    /// The ends of its 95 % interval, from −1 to 1.
    pub ends: (f64, f64),
    /// The p value of `McNemar`'s mid-p test.
    pub p: f64,
}

/// Compares two models by whether each classifies an image correctly, with the adjusted Wald interval of Bonett
/// and Price (2012), which has a width even where the models never differ. Of n images, of which the first alone
/// is right on b and the second alone on c:
///
/// ```text
/// p̃ = (b + 1)/(n + 2),  q̃ = (c + 1)/(n + 2),  (p̃ − q̃) ± 1.96·√((p̃ + q̃ − (p̃ − q̃)²)/(n + 2))
/// ```
///
/// A statement about these two models.
pub fn paired_difference(first: &[bool], second: &[bool]) -> PairedDifference {
    let count = |only| first.iter().zip(second).filter(|&(&p, &q)| (p, q) == only).count();
    let (only_first, only_second) = (count((true, false)), count((false, true)));
    let n = first.len() as f64;
    let [p, q] = [only_first, only_second].map(|only| (only + 1) as f64 / (n + 2.0));
    let half = Z95 * ((p + q - (p - q).powi(2)) / (n + 2.0)).sqrt();
    PairedDifference {
        mean: (only_first as f64 - only_second as f64) / n,
        ends: ((p - q - half).max(-1.0), (p - q + half).min(1.0)),
        p: mcnemar(only_first, only_second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{found} {expected}");
    }

    #[test]
    fn a_run_has_collapsed_if_its_error_is_a_multiple_of_the_least_one_and_far_above_it() {
        for (last, best, expected) in [
            (0.7, 0.9, true),
            (0.81, 0.9, false),
            (0.45, 0.7, false), // not twice as many errors
            // Of 24 rows, all were right once; one wrong row is no collapse.
            (23.0 / 24.0, 1.0, false),
            (20.0 / 24.0, 1.0, true),
        ] {
            assert_eq!(has_collapsed(last, best), expected, "{last} after {best}");
        }
    }

    // Expected values of the next four tests: SciPy 1.17.1 (stats.t, binom, ttest_ind and
    // binomtest.proportion_ci).

    #[test]
    fn student_s_t_matches_scipy() {
        for (degrees, expected) in [
            (1.0, 12.706_204_736_174_694),
            (2.0, 4.302_652_729_749_462),
            (2.618_033_988_7, 3.461_945_393_015_519_7),
            (30.0, 2.042_272_456_301_237_8),
        ] {
            near(t_95(degrees), expected);
        }
        for (t, degrees, expected) in [
            (2.5, 1.0, 0.242_237_883_181_686_82),
            (2.5, 3.7, 0.071_822_022_911_826_78),
            (0.3, 12.0, 0.769_310_474_088_252_3),
            (8.0, 4.0, 0.001_323_896_909_217_167_2),
        ] {
            near(2.0 * student(degrees).sf(t), expected);
        }
    }

    #[test]
    fn intervals_of_rates_match_scipy() {
        let check = |found: (f64, f64), low, high| {
            near(found.0, low);
            near(found.1, high);
        };
        check(
            wilson_interval(81.0 / 263.0, 263),
            0.255_288_519_878_274_2,
            0.366_209_576_982_800_04,
        );
        check(wilson_interval(0.0, 20), 0.0, 0.161_125_158_052_819_35);
        check(wilson_interval(0.8971, 10_000), 0.890_991_781_541_498_5, 0.902_903_246_952_510_2);
        check(clopper_pearson(0, 3), 0.0, 0.707_598_226_178_713_3);
        check(clopper_pearson(1, 3), 0.008_403_758_659_612_647, 0.905_700_675_949_286_6);
        check(clopper_pearson(3, 3), 0.292_401_773_821_286_7, 1.0);
        check(clopper_pearson(2, 30), 0.008_178_134_460_656_279, 0.220_735_401_522_962_12);
    }

    #[test]
    fn mcnemar_s_mid_p_matches_scipy() {
        for (first, second, expected) in [
            (10, 3, 0.057_373_046_875_000_02),
            (271, 200, 0.001_061_601_950_186_894_6),
            (200, 271, 0.001_061_601_950_186_894_6),
            (5, 5, 1.0),
            (0, 4, 0.0625),
            (0, 0, 1.0),
        ] {
            near(mcnemar(first, second), expected);
        }
    }

    #[test]
    fn without_images_the_difference_is_welch_s_with_fewer_degrees_of_freedom() {
        let (a, b) = ([0.8956, 0.8971, 0.8989], [0.8946, 0.8955, 0.8952, 0.8949]);
        let sample = |accuracies| Sample { accuracies, shares: None };
        let found = difference(sample(&a), sample(&b)).unwrap();
        near(found.mean, 0.8972 - 0.89505);
        near(found.p, 0.148_042_762_336_475_68); // ν = 2.1658, below the cap of 3.5
        // The cap: equal spread, 3 and 3 runs have 4 degrees of freedom, 2 and 2 have 1 instead of 2.
        let (a, b) = ([0.60, 0.50], [0.40, 0.30]);
        let found = difference(sample(&a), sample(&b)).unwrap();
        near(found.half, t_95(1.0) * 0.005_f64.sqrt());
        let (a, b) = ([0.6, 0.5, 0.4, 0.5, 0.5, 0.5], [0.5, 0.5, 0.35]);
        let found = difference(sample(&a), sample(&b)).unwrap();
        let (g_a, g_b) = (variance(&a) / 6.0, variance(&b) / 3.0);
        let welch = (g_a + g_b).powi(2) / (g_a.powi(2) / 5.0 + g_b.powi(2) / 2.0);
        assert!(welch > 3.0, "{welch}"); // the cap: (3 − 1)·(1 + 3/6)
        near(found.half, t_95(3.0) * (g_a + g_b).sqrt());
    }

    #[test]
    fn images_widen_the_interval_but_give_no_degrees_of_freedom() {
        // Of ten images, the first configuration's runs are right on six and five, the second's on two and
        // three.
        let p = [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0];
        let q = [1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let a = Sample { accuracies: &[0.6, 0.5], shares: Some(&p) };
        let b = Sample { accuracies: &[0.2, 0.3], shares: Some(&q) };
        let found = difference(a, b).unwrap();
        // Differences: 0, 0, ½, 1, 1, ½ and four 0; mean 0.3, sum of squares 2.5.
        let over_images = ((2.5 - 10.0 * 0.09) / 9.0 - 0.025 - 0.025) / 10.0;
        near(found.mean, 0.3);
        near(found.half, t_95(1.0) * (0.005_f64 / 2.0 * 2.0 + over_images).sqrt());
        let alone = Sample { accuracies: &[0.2], shares: Some(&q) };
        assert_eq!(difference(a, alone), None);
        for equal in [[0.1; 3], [0.8951; 3]] {
            let same = Sample { accuracies: &equal, shares: None };
            let other = Sample { accuracies: &[0.8953; 3], shares: None };
            assert_eq!(difference(same, other), None);
        }
        let (a, b) = ([0.8966, 0.8967, 0.8964], [0.8951, 0.8957, 0.8989]);
        assert_eq!(comparable(mean(&a)), comparable(mean(&b)));
    }

    #[test]
    fn two_models_are_paired_by_image() {
        // Of ten images both are right on four, the first alone on three and the second alone on one.
        let first = [1, 1, 1, 1, 1, 1, 1, 0, 0, 0].map(|it| it == 1);
        let second = [1, 1, 1, 1, 0, 0, 0, 1, 0, 0].map(|it| it == 1);
        let found = paired_difference(&first, &second);
        near(found.mean, 0.2);
        near(found.p, 0.375); // 2·(1 + 4)/16 − 4/16
        // p̃ = 4/12 and q̃ = 2/12.
        let half = Z95 * ((0.5 - 1.0 / 36.0) / 12.0_f64).sqrt();
        near(found.ends.0, 1.0 / 6.0 - half);
        near(found.ends.1, 1.0 / 6.0 + half);
        // The example of Fagerland, Lydersen and Laake (2014): 1, 1, 7 and 12 of 21 patients.
        let of = |counts: [usize; 4]| {
            let cells = [(true, true), (true, false), (false, true), (false, false)];
            let all = cells.into_iter().zip(counts);
            let (p, q): (Vec<_>, Vec<_>) = all.flat_map(|(it, n)| vec![it; n]).unzip();
            let found = paired_difference(&p, &q);
            let thousandths = |end: f64| (1000.0 * end).round();
            (found.mean, thousandths(found.ends.0), thousandths(found.ends.1))
        };
        assert_eq!(of([1, 1, 7, 12]), (-6.0 / 21.0, -508.0, -13.0));
        // Few rows say little, also where the models agree on each; no accuracies differ by more than 1.
        assert_eq!(of([2, 0, 0, 0]), (0.0, -693.0, 693.0));
        assert_eq!(of([0, 1, 0, 0]), (1.0, -734.0, 1000.0));
    }

    #[test]
    fn intervals_of_runs_follow_their_formulas() {
        let accuracies = [0.8956, 0.8971, 0.8989];
        let (mean, std) = mean_and_std(&accuracies);
        let t = 4.302_652_729_749_462;
        near(mean_interval(&accuracies).unwrap().1, mean + t * std.unwrap() / 3_f64.sqrt());
        let half = t * std.unwrap() * (4.0 / 3.0_f64).sqrt();
        near(prediction_interval(&accuracies).unwrap().0, mean - half);
        assert_eq!(mean_interval(&[0.9]), None);
        assert_eq!(mean_interval(&[0.1; 3]), None);
        assert_eq!(mean_interval(&[0.5, 0.9]), Some((0.0, 1.0)));
        assert_eq!(prediction_interval(&[0.9]), None);
        near(bonferroni(0.02, 3), 0.06);
        near(bonferroni(0.5, 3), 1.0);
    }

    #[test]
    fn quantiles_lie_between_values_in_proportion() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(quantile(&[0.0, 4.0, 8.0], 0.25), Some(2.0));
        assert_eq!(quantile(&[0.0, 4.0], 1.0), Some(4.0));
    }
}
