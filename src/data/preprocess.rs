//! From pixels to a network's inputs: the z-score of the data set, and the standardisation of each
//! feature (paper 3.1).

use ndarray::{Array2, ArrayViewMut2, s};

use crate::data::dataset::Labelled;

/// Added to a feature's variance in its batch before the root is taken (the authors' program).
pub const EPSILON: f64 = 1e-5;

/// Mean and standard deviation of the training pixels, on the scale 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ZScore {
    /// The mean, about 0.286 for Fashion-MNIST.
    pub mean: f64,
    /// The population standard deviation, about 0.353 for Fashion-MNIST.
    pub std: f64,
}

impl ZScore {
    /// Measures the pixels of the given images. The sums are of whole numbers, hence exact.
    ///
    /// Images without any contrast have no deviation to divide by; it counts as 1.
    pub fn measure(images: &Labelled, indices: &[usize]) -> Self {
        let (mut sum, mut squares) = (0_u64, 0_u64);
        for &index in indices {
            for &pixel in images.image(index) {
                sum += u64::from(pixel);
                squares += u64::from(pixel).pow(2);
            }
        }
        let count = (indices.len() * images.inputs()) as f64;
        let mean = sum as f64 / count;
        let variance = (squares as f64 / count - mean * mean).max(0.0);
        let std = if variance > 0.0 { variance.sqrt() / 255.0 } else { 1.0 };
        Self { mean: mean / 255.0, std }
    }

    /// One grey level on the z-score's scale.
    fn per_level(self) -> f64 {
        1.0 / (255.0 * self.std)
    }
}

/// The training moments: mean and variance of each feature over all training images, after the
/// z-score. With them instead of a batch's own, the prediction of an image depends on that image
/// alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// The means, D.
    pub mean: Vec<f64>,
    /// The population variances, D.
    pub variance: Vec<f64>,
}

impl Moments {
    /// Measures the features of the given images. The sums are of whole numbers, hence exact.
    pub fn measure(images: &Labelled, indices: &[usize], z: ZScore) -> Self {
        let chosen = indices.iter().map(|&index| images.image(index));
        let mut sums = Vec::new();
        sum_levels(chosen, images.inputs(), &mut sums);
        let of_levels = || sums.iter().map(|&sums| moments(sums, indices.len()));
        let per_level = z.per_level();
        let mean = of_levels().map(|(mean, _)| (mean - 255.0 * z.mean) * per_level);
        let variance = of_levels().map(|(_, variance)| variance * per_level * per_level);
        Self { mean: mean.collect(), variance: variance.collect() }
    }
}

/// The sums over images of each of `inputs` features and of its squares, in grey levels.
fn sum_levels<'a>(
    images: impl Iterator<Item = &'a [u8]>,
    inputs: usize,
    sums: &mut Vec<(u64, u64)>,
) {
    sums.clear();
    sums.resize(inputs, (0, 0));
    for image in images {
        for ((sum, squares), &pixel) in sums.iter_mut().zip(image) {
            *sum += u64::from(pixel);
            *squares += u64::from(pixel).pow(2);
        }
    }
}

/// Mean and population variance from the sums over so many images.
fn moments((sum, squares): (u64, u64), count: usize) -> (f64, f64) {
    let count = count as f64;
    let mean = sum as f64 / count;
    (mean, (squares as f64 / count - mean * mean).max(0.0))
}

/// What an image's features are standardised with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standardisation {
    /// After the z-score, each feature with its mean and variance in the image's mini-batch (paper
    /// 3.1).
    Batch,
    /// With the z-score alone, so that the prediction of an image depends on that image alone.
    Dataset,
}

impl Standardisation {
    /// Both, the default first.
    pub const ALL: [Self; 2] = [Self::Batch, Self::Dataset];

    /// As it is written in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Dataset => "dataset",
        }
    }
}

/// What makes the inputs of a network of pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scaling<'m> {
    /// The z-score alone.
    DataSet(ZScore),
    /// After it, each feature with its mean and variance in the batch.
    Batch(ZScore),
    /// After it, each feature with the training moments.
    Moments(ZScore, &'m Moments),
}

impl Scaling<'static> {
    /// As a run is trained and validated.
    pub fn of_training(z: ZScore, standardisation: Standardisation) -> Self {
        match standardisation {
            Standardisation::Batch => Self::Batch(z),
            Standardisation::Dataset => Self::DataSet(z),
        }
    }
}

/// What makes an input of a feature's pixel p: (p − mean)·scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// In grey levels.
    pub mean: f64,
    /// Per grey level.
    pub scale: f64,
}

impl Scaling<'_> {
    /// What makes inputs of the pixels of any batch, for each of `inputs` features; `None` by
    /// [`Scaling::Batch`], where the batch counts.
    ///
    /// A feature that is constant over the training images (variance 0) was 0 in every training input,
    /// and is 0 for every pixel here.
    pub fn fixed(self, inputs: usize) -> Option<Vec<Affine>> {
        match self {
            Self::DataSet(z) => {
                Some(vec![Affine { mean: 255.0 * z.mean, scale: z.per_level() }; inputs])
            }
            Self::Batch(_) => None,
            Self::Moments(z, Moments { mean, variance }) => {
                let affine = |(&mean, &variance): (&f64, &f64)| Affine {
                    mean: 255.0 * (z.mean + mean * z.std),
                    scale: if variance == 0.0 {
                        0.0
                    } else {
                        z.per_level() / (variance + EPSILON).sqrt()
                    },
                };
                Some(mean.iter().zip(variance).map(affine).collect())
            }
        }
    }

    /// Gets ready to make inputs of `inputs` features: what no batch changes is computed here, once.
    pub fn prepare(self, inputs: usize) -> Preparation {
        match (self, self.fixed(inputs)) {
            (_, Some(affine)) => Preparation::Fixed(affine),
            (Self::DataSet(z) | Self::Batch(z) | Self::Moments(z, _), None) => {
                Preparation::PerBatch { z, sums: Vec::new(), affine: Vec::new() }
            }
        }
    }

    /// Images (rows of D bytes) as inputs (images, D), in batches of `batch_size`.
    pub fn inputs(self, images: &[&[u8]], inputs: usize, batch_size: usize) -> Array2<f32> {
        let mut preparation = self.prepare(inputs);
        let mut out = Array2::zeros((images.len(), inputs));
        for (start, batch) in (0..).step_by(batch_size).zip(images.chunks(batch_size)) {
            preparation.fill(batch, out.slice_mut(s![start..start + batch.len(), ..]));
        }
        out
    }
}

/// [`Scaling`], ready for batches, with buffers that are allocated once.
#[derive(Debug)]
pub enum Preparation {
    /// The same for every batch: of each feature.
    Fixed(Vec<Affine>),
    /// After the z-score, each feature with its mean and variance in the batch.
    PerBatch {
        /// Of the training pixels.
        z: ZScore,
        /// Of each feature and of its squares, in the batch at hand.
        sums: Vec<(u64, u64)>,
        /// Of each feature, for the batch at hand.
        affine: Vec<Affine>,
    },
}

impl Preparation {
    /// Makes inputs (N, D) of a batch's pixels (N rows of D bytes).
    ///
    /// With z = (p/255 − m)/σ for a pixel p, a feature's input by its batch is
    /// (z − mean of z)/√(variance of z + ε). The mean of the z-score cancels; its deviation scales ε.
    pub fn fill(&mut self, batch: &[&[u8]], out: ArrayViewMut2<'_, f32>) {
        match self {
            Self::Fixed(affine) => fill(affine, batch, out),
            Self::PerBatch { z, sums, affine } => {
                let per_level = z.per_level();
                let of_feature = |&sums: &(u64, u64)| {
                    let (mean, variance) = moments(sums, batch.len());
                    let variance = variance * per_level * per_level;
                    Affine { mean, scale: per_level / (variance + EPSILON).sqrt() }
                };
                sum_levels(batch.iter().copied(), out.ncols(), sums);
                affine.clear();
                affine.extend(sums.iter().map(of_feature));
                fill(affine, batch, out);
            }
        }
    }
}

fn fill(affine: &[Affine], batch: &[&[u8]], mut out: ArrayViewMut2<'_, f32>) {
    for (mut row, image) in out.rows_mut().into_iter().zip(batch) {
        for ((value, &pixel), Affine { mean, scale }) in row.iter_mut().zip(*image).zip(affine) {
            *value = ((f64::from(pixel) - mean) * scale) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_is_constant_in_training_is_zero_in_every_image() {
        let pixels = vec![7, 1, 7, 9];
        let training = Labelled { height: 1, width: 2, pixels, labels: vec![0, 1] };
        let z = ZScore::measure(&training, &[0, 1]);
        let moments = Moments::measure(&training, &[0, 1], z);
        assert_eq!(moments.variance[0], 0.0);
        let input = Scaling::Moments(z, &moments).inputs(&[&[7, 9], &[255, 9]], 2, 1);
        assert_eq!(input.column(0).to_vec(), [0.0, 0.0]);
        assert!(input[(0, 1)] > 0.9 && input[(0, 1)] == input[(1, 1)], "{input}");
    }
}
