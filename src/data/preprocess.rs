//! From raw features to a network's inputs: what stands for missing values, the z-score of the data set,
//! and the standardisation of each feature (paper 3.1).

use ndarray::{Array2, ArrayViewMut2, Axis};

use crate::data::features::{Rows, Values, rows};
use crate::memory::zeros;

/// Added to a feature's variance in its batch before the root is taken (the authors' program).
pub const EPSILON: f64 = 1e-5;

/// Mean and standard deviation of all training values together, on a scale where `white` is 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ZScore {
    /// The mean, about 0.286 for Fashion-MNIST.
    pub mean: f64,
    /// The population standard deviation, about 0.353 for Fashion-MNIST.
    pub std: f64,
    /// The raw value that is 1 on this scale: 255 for grey values, else 1.
    pub white: f64,
}

impl ZScore {
    /// That which changes nothing.
    pub const NONE: Self = Self { mean: 0.0, std: 1.0, white: 1.0 };

    /// Measures the values of the given rows. For grey values the sums are exact.
    ///
    /// Rows without any contrast have no deviation to divide by; it counts as 1.
    pub fn measure(rows: Rows<'_>, imputed: &[f32]) -> Self {
        let white = rows.features.white();
        let (mut sums, mut count) = ((0_u64, 0_u64), 0);
        let (mean, variance) = match rows.features.values() {
            Values::Bytes(_) => {
                let mut of_features = Vec::new();
                sum_levels(rows, &mut of_features);
                for (sum, squares) in of_features {
                    sums = (sums.0 + sum, sums.1 + squares);
                }
                count += rows.len() * rows.features.per_row();
                moments(sums, count)
            }
            Values::Floats(_) => {
                // Of all features: the mean of their means, and the parts within and between them.
                let of_features = measure(rows, imputed);
                let mean_of = |values: &mut dyn Iterator<Item = f64>| {
                    values.sum::<f64>() / of_features.len() as f64
                };
                let mean = mean_of(&mut of_features.iter().map(|(mean, _)| *mean));
                let around =
                    |&(its_mean, variance): &(f64, f64)| variance + (its_mean - mean).powi(2);
                (mean, mean_of(&mut of_features.iter().map(around)))
            }
        };
        let std = if variance > 0.0 { variance.sqrt() / white } else { 1.0 };
        Self { mean: mean / white, std, white }
    }

    /// One raw unit on the z-score's scale.
    fn per_unit(self) -> f64 {
        1.0 / (self.white * self.std)
    }
}

/// The training moments: mean and variance of each feature over all training rows, after the
/// z-score if there is one. With them instead of a batch's own, the prediction of a row depends on that
/// row alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// The means, D.
    pub mean: Vec<f64>,
    /// The population variances, D.
    pub variance: Vec<f64>,
}

impl Moments {
    /// Measures the features of the given rows after a z-score.
    pub fn measure(rows: Rows<'_>, z: ZScore, imputed: &[f32]) -> Self {
        let of_features = measure(rows, imputed);
        let per_unit = z.per_unit();
        let mean = of_features.iter().map(|(mean, _)| (mean - z.white * z.mean) * per_unit);
        let variance = of_features.iter().map(|(_, variance)| variance * per_unit * per_unit);
        Self { mean: mean.collect(), variance: variance.collect() }
    }
}

/// The mean and the population variance of each feature over these rows, in raw units. `imputed` stand
/// for missing values.
fn measure(rows: Rows<'_>, imputed: &[f32]) -> Vec<(f64, f64)> {
    let mut measured = Vec::new();
    measure_into(rows, imputed, &mut Vec::new(), &mut measured);
    measured
}

/// [`measure`], with buffers that are allocated once.
fn measure_into(
    rows: Rows<'_>,
    imputed: &[f32],
    sums: &mut Vec<(u64, u64)>,
    measured: &mut Vec<(f64, f64)>,
) {
    measured.clear();
    match rows.features.values() {
        Values::Bytes(_) => {
            sum_levels(rows, sums);
            measured.extend(sums.iter().map(|&sums| moments(sums, rows.len())));
        }
        Values::Floats(values) => {
            // In two passes, because the difference of large sums would lose a small variance.
            let (per_row, count) = (rows.features.per_row(), rows.len() as f64);
            let all = || self::rows(values, per_row, rows.indices);
            measured.resize(per_row, (0.0, 0.0));
            for row in all() {
                for (index, ((sum, _), &value)) in measured.iter_mut().zip(row).enumerate() {
                    *sum += f64::from(known(value, imputed, index));
                }
            }
            for (sum, _) in measured.iter_mut() {
                *sum /= count;
            }
            for row in all() {
                for (index, ((mean, squares), &value)) in measured.iter_mut().zip(row).enumerate() {
                    *squares += (f64::from(known(value, imputed, index)) - *mean).powi(2);
                }
            }
            for (_, squares) in measured.iter_mut() {
                *squares /= count;
            }
        }
    }
}

/// A value, or what stands for it where it is missing.
fn known(value: f32, imputed: &[f32], feature: usize) -> f32 {
    if value.is_nan() { imputed[feature] } else { value }
}

/// The sums of each feature over rows of grey values, and of its squares. They are exact.
fn sum_levels(rows: Rows<'_>, sums: &mut Vec<(u64, u64)>) {
    let Values::Bytes(values) = rows.features.values() else { unreachable!("of grey values") };
    sums.clear();
    sums.resize(rows.features.per_row(), (0, 0));
    for row in self::rows(values, rows.features.per_row(), rows.indices) {
        for ((sum, squares), &level) in sums.iter_mut().zip(row) {
            *sum += u64::from(level);
            *squares += u64::from(level).pow(2);
        }
    }
}

/// Mean and population variance from the sums over so many values.
fn moments((sum, squares): (u64, u64), count: usize) -> (f64, f64) {
    let count = count as f64;
    let mean = sum as f64 / count;
    (mean, (squares as f64 / count - mean * mean).max(0.0))
}

/// What the features of a row are standardised with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standardisation {
    /// After the z-score of all values together, each feature with its mean and variance in the row's
    /// mini-batch (paper 3.1).
    Batch,
    /// With that z-score alone, so that the prediction of a row depends on that row alone.
    Dataset,
    /// Each feature with its mean and deviation over the training rows.
    Feature,
}

impl Standardisation {
    /// All, the default for images first.
    pub const ALL: [Self; 3] = [Self::Batch, Self::Dataset, Self::Feature];

    /// As it is written in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Dataset => "dataset",
            Self::Feature => "feature",
        }
    }
}

/// What stands for a missing value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: there are none.
    #[default]
    Refused,
    /// The mean of the feature's known values among the training rows.
    Mean,
    /// Their median.
    Median,
    /// Nothing: rows with missing values are left out.
    DropRow,
}

impl Missing {
    /// All, the default first.
    pub const ALL: [Self; 4] = [Self::Refused, Self::Mean, Self::Median, Self::DropRow];

    /// As it is written on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refuse",
            Self::Mean => "mean",
            Self::Median => "median",
            Self::DropRow => "drop-row",
        }
    }

    /// That of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Whether a value stands for those that are missing.
    pub fn is_imputed(self) -> bool {
        matches!(self, Self::Mean | Self::Median)
    }

    /// What stands for a missing value of each feature, from these rows; 0 where all are missing. Empty
    /// where none may be missing.
    pub fn stand_ins(self, rows: Rows<'_>) -> Vec<f32> {
        let of: fn(&mut [f32]) -> f64 = match self {
            Self::Refused | Self::DropRow => return Vec::new(),
            Self::Mean => |known| {
                known.iter().map(|&value| f64::from(value)).sum::<f64>() / known.len() as f64
            },
            Self::Median => |known| {
                known.sort_unstable_by(f32::total_cmp);
                let (low, high) = ((known.len() - 1) / 2, known.len() / 2);
                f64::midpoint(f64::from(known[low]), f64::from(known[high]))
            },
        };
        let per_row = rows.features.per_row();
        let mut known = Vec::with_capacity(rows.len());
        let stand_in = |feature: usize| {
            known.clear();
            match rows.features.values() {
                Values::Bytes(values) => {
                    let rows = self::rows(values, per_row, rows.indices);
                    known.extend(rows.map(|row| f32::from(row[feature])));
                }
                Values::Floats(values) => {
                    let rows = self::rows(values, per_row, rows.indices);
                    known.extend(rows.map(|row| row[feature]).filter(|value| !value.is_nan()));
                }
            }
            if known.is_empty() { 0.0 } else { of(&mut known) as f32 }
        };
        (0..per_row).map(stand_in).collect()
    }
}

/// What makes a network's inputs of raw features, as measured on the training rows alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessing {
    /// What features are standardised with.
    pub standardisation: Standardisation,
    /// Of all training values together; mean 0 and deviation 1 where each feature has its own.
    pub z: ZScore,
    /// Of each feature after the z-score; `None` where none are needed, and in models of version 0.1.
    pub moments: Option<Moments>,
    /// What stands for a missing value of each feature, D; empty where none may be missing.
    pub imputed: Vec<f32>,
}

impl Preprocessing {
    /// Measures training rows.
    pub fn measure(rows: Rows<'_>, standardisation: Standardisation, imputed: Vec<f32>) -> Self {
        let z = match standardisation {
            Standardisation::Feature => ZScore::NONE,
            Standardisation::Batch | Standardisation::Dataset => ZScore::measure(rows, &imputed),
        };
        let moments = match standardisation {
            Standardisation::Dataset => None,
            Standardisation::Batch | Standardisation::Feature => {
                Some(Moments::measure(rows, z, &imputed))
            }
        };
        Self { standardisation, z, moments, imputed }
    }

    /// As a run with D inputs is trained and validated.
    pub fn in_batches(&self, inputs: usize) -> Scaling {
        match self.standardisation {
            Standardisation::Batch => self.scaling(By::batch(self.z)),
            Standardisation::Dataset | Standardisation::Feature => {
                self.alone(inputs).expect("no batch counts")
            }
        }
    }

    fn scaling(&self, by: By) -> Scaling {
        Scaling { by, imputed: self.imputed.clone() }
    }

    /// What makes the D inputs of a row by itself, whatever the others are; `None` in models of version
    /// 0.1 whose batches counted.
    ///
    /// A feature that is constant over the training rows (variance 0) was 0 in every training input,
    /// and is 0 for every value here.
    pub fn alone(&self, inputs: usize) -> Option<Scaling> {
        let Self { z, moments, .. } = self;
        let affine = match (self.standardisation, moments) {
            (Standardisation::Dataset, _) => {
                vec![Affine { mean: z.white * z.mean, scale: z.per_unit() }; inputs]
            }
            (_, None) => return None,
            (standardisation, Some(Moments { mean, variance })) => {
                let epsilon = if standardisation == Standardisation::Batch { EPSILON } else { 0.0 };
                let affine = |(&mean, &variance): (&f64, &f64)| Affine {
                    mean: z.white * (z.mean + mean * z.std),
                    scale: if variance == 0.0 {
                        0.0
                    } else {
                        z.per_unit() / (variance + epsilon).sqrt()
                    },
                };
                mean.iter().zip(variance).map(affine).collect()
            }
        };
        Some(self.scaling(By::Feature(affine)))
    }
}

/// What makes an input of a feature's raw value x: (x − mean)·scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// In raw units.
    pub mean: f64,
    /// Per raw unit.
    pub scale: f64,
}

/// What makes inputs of the rows of a batch, with buffers that are allocated once.
#[derive(Debug, Clone)]
pub struct Scaling {
    by: By,
    imputed: Vec<f32>,
}

#[derive(Debug, Clone)]
enum By {
    /// The same for every batch, of each feature.
    Feature(Vec<Affine>),
    /// After the z-score, each feature with its mean and variance in the batch at hand.
    Batch { z: ZScore, sums: Vec<(u64, u64)>, measured: Vec<(f64, f64)>, affine: Vec<Affine> },
}

impl By {
    fn batch(z: ZScore) -> Self {
        Self::Batch { z, sums: Vec::new(), measured: Vec::new(), affine: Vec::new() }
    }
}

impl Scaling {
    /// What makes the inputs of each of D features in any batch; `None` where the batch counts.
    pub fn affine(&self) -> Option<&[Affine]> {
        match &self.by {
            By::Feature(affine) => Some(affine),
            By::Batch { .. } => None,
        }
    }

    /// Rows as inputs (N, D), in batches of `batch_size`.
    pub fn inputs(&mut self, rows: Rows<'_>, batch_size: usize) -> Array2<f32> {
        let mut out = zeros((rows.len(), rows.features.per_row()));
        for (batch, out) in
            rows.chunks(batch_size).zip(out.axis_chunks_iter_mut(Axis(0), batch_size))
        {
            self.fill(batch, out);
        }
        out
    }

    /// Makes inputs (N, D) of a batch's rows (N of D).
    ///
    /// With z = (x/white − m)/σ for a raw value x, a feature's input by its batch is
    /// (z − mean of z)/√(variance of z + ε). The mean of the z-score cancels; its deviation scales ε.
    pub fn fill(&mut self, batch: Rows<'_>, out: ArrayViewMut2<'_, f32>) {
        match &mut self.by {
            By::Feature(affine) => fill(affine, &self.imputed, batch, out),
            By::Batch { z, sums, measured, affine } => {
                let per_unit = z.per_unit();
                measure_into(batch, &self.imputed, sums, measured);
                let of_feature = |&(mean, variance): &(f64, f64)| {
                    let variance = variance * per_unit * per_unit;
                    Affine { mean, scale: per_unit / (variance + EPSILON).sqrt() }
                };
                affine.clear();
                affine.extend(measured.iter().map(of_feature));
                fill(affine, &self.imputed, batch, out);
            }
        }
    }
}

fn fill(affine: &[Affine], imputed: &[f32], batch: Rows<'_>, mut out: ArrayViewMut2<'_, f32>) {
    let (per_row, indices) = (batch.features.per_row(), batch.indices);
    let input = |value: f64, Affine { mean, scale }: &Affine| ((value - mean) * scale) as f32;
    match batch.features.values() {
        Values::Bytes(values) => {
            let rows = rows(values, per_row, indices);
            for (mut out, row) in out.rows_mut().into_iter().zip(rows) {
                for ((out, &level), affine) in out.iter_mut().zip(row).zip(affine) {
                    *out = input(f64::from(level), affine);
                }
            }
        }
        Values::Floats(values) => {
            let rows = rows(values, per_row, indices);
            for (mut out, row) in out.rows_mut().into_iter().zip(rows) {
                let row = row.iter().enumerate();
                for ((out, (index, &value)), affine) in out.iter_mut().zip(row).zip(affine) {
                    *out = input(f64::from(known(value, imputed, index)), affine);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::features::Features;

    #[test]
    fn a_feature_that_is_constant_in_training_is_zero_in_every_image() {
        for standardisation in [Standardisation::Batch, Standardisation::Feature] {
            let training = Features::bytes(vec![7, 1, 7, 9], 2);
            let measured =
                Preprocessing::measure(training.rows(&[0, 1]), standardisation, Vec::new());
            assert_eq!(measured.moments.as_ref().unwrap().variance[0], 0.0);
            let others = Features::bytes(vec![7, 9, 255, 9], 2);
            let input = measured.alone(2).unwrap().inputs(others.rows(&[0, 1]), 1);
            assert_eq!(input.column(0).to_vec(), [0.0, 0.0]);
            assert!(input[(0, 1)] > 0.9 && input[(0, 1)] == input[(1, 1)], "{input}");
        }
    }

    fn close(found: impl IntoIterator<Item = f32>, expected: &[f64]) {
        let found: Vec<f32> = found.into_iter().collect();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn by_feature_each_has_mean_0_and_deviation_1_over_the_training_rows_however_small_it_varies() {
        // 2007 to 2009 has a small variance about a large mean; 1e-4 one far below the epsilon.
        let values = vec![2007.0, 1e-4, 2008.0, 2e-4, 2009.0, 3e-4, 9999.0, 9.0];
        let table = Features::floats(values, 2);
        let training = table.rows(&[0, 1, 2]);
        let measured = Preprocessing::measure(training, Standardisation::Feature, Vec::new());
        let input = measured.in_batches(2).inputs(training, 2);
        let edge = 1.5_f64.sqrt();
        close(input.column(0).to_vec(), &[-edge, 0.0, edge]);
        close(input.column(1).to_vec(), &[-edge, 0.0, edge]);
    }

    #[test]
    fn missing_values_count_as_what_stands_for_them() {
        for standardisation in Standardisation::ALL {
            let whole = Features::floats(vec![0.5, 3.0, 2.5, 7.0, 1.5, 3.0], 2);
            let torn = Features::floats(vec![0.5, f32::NAN, 2.5, 7.0, f32::NAN, 3.0], 2);
            let rows = [0, 1, 2];
            let of_whole = Preprocessing::measure(whole.rows(&rows), standardisation, Vec::new());
            let of_torn = Preprocessing::measure(torn.rows(&rows), standardisation, vec![1.5, 3.0]);
            assert_eq!((of_torn.z, &of_torn.moments), (of_whole.z, &of_whole.moments));
            assert_eq!(
                of_torn.in_batches(2).inputs(torn.rows(&rows), 2),
                of_whole.in_batches(2).inputs(whole.rows(&rows), 2)
            );
        }
    }

    #[test]
    fn what_stands_for_a_missing_value_comes_from_the_known_ones_of_these_rows() {
        let nan = f32::NAN;
        let table = Features::floats(vec![1.5, nan, nan, nan, 2.5, nan, 8.0, nan, 99.0, 1.0], 2);
        let rows = table.rows(&[0, 1, 2, 3]);
        assert_eq!(Missing::Mean.stand_ins(rows), [4.0, 0.0]);
        assert_eq!(Missing::Median.stand_ins(rows), [2.5, 0.0]);
        assert_eq!(Missing::Median.stand_ins(table.rows(&[0, 1, 2])), [2.0, 0.0]);
        assert!(Missing::Refused.stand_ins(rows).is_empty());
    }

    #[test]
    fn the_z_score_of_numbers_is_that_of_all_of_them_together() {
        let table = Features::floats(vec![1.5, -2.0, 4.0, 0.25], 2);
        let z = ZScore::measure(table.rows(&[0, 1]), &[]);
        let all = [1.5, -2.0, 4.0, 0.25_f64];
        let mean = all.iter().sum::<f64>() / 4.0;
        let variance = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4.0;
        assert!((z.mean - mean).abs() < 1e-12 && (z.std - variance.sqrt()).abs() < 1e-12);
    }
}
