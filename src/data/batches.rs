//! The standardised mini-batches: computed once, immutable, shared by every run and worker.
//!
//! Paper 3.1 and 3.2: pixels are z-scored with the mean and deviation of the training pixels, then
//! each feature of each mini-batch is standardised with its mean and variance in that batch. As
//! membership and order of the batches never change, the results are constants of a grid.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use crate::data::dataset::{Dataset, Labelled, Split};
use crate::error::Result;

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
}

/// One part of the data (training, validation or test) cut into standardised mini-batches.
#[derive(Debug, Clone)]
pub struct Part {
    images: Array2<f32>, // (images, D), in batch order
    labels: Vec<u8>,
    batch_size: usize,
}

impl Part {
    /// Cuts the images named by `indices` into batches of `batch_size` in that order and
    /// standardises each; the last batch holds what is left.
    pub fn new(source: &Labelled, indices: &[usize], batch_size: usize, z: ZScore) -> Self {
        let pixels: Vec<&[u8]> = indices.iter().map(|&index| source.image(index)).collect();
        let images = standardised(&pixels, source.inputs(), batch_size, z);
        let labels = indices.iter().map(|&index| source.labels[index]).collect();
        Self { images, labels, batch_size }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels an image, D.
    pub fn inputs(&self) -> usize {
        self.images.ncols()
    }

    /// The batches in order: images (N, D) and their N labels.
    pub fn batches(&self) -> impl Iterator<Item = (ArrayView2<'_, f32>, &[u8])> + Clone {
        self.images
            .axis_chunks_iter(Axis(0), self.batch_size)
            .zip(self.labels.chunks(self.batch_size))
    }

    /// The number of images in the largest batch.
    pub fn largest_batch(&self) -> usize {
        self.batch_size.min(self.len())
    }
}

/// Everything that training and evaluation read, as constants.
#[derive(Debug, Clone)]
pub struct Batches {
    /// The training batches.
    pub train: Part,
    /// The validation batches, in the order in which the images were drawn.
    pub validation: Part,
    /// The test batches, in file order.
    pub test: Part,
    /// Of the training images, without the validation images.
    pub z: ZScore,
    /// The number of classes, C.
    pub classes: usize,
}

impl Batches {
    /// Splits a data set with `data_seed` and standardises its batches.
    ///
    /// # Errors
    /// Where `validation_size` leaves no training image.
    pub fn new(
        dataset: &Dataset,
        batch_size: usize,
        validation_size: usize,
        data_seed: u64,
    ) -> Result<Self> {
        let split = Split::draw(dataset.train.len(), validation_size, data_seed)?;
        let z = ZScore::measure(&dataset.train, &split.train);
        let in_file_order: Vec<usize> = (0..dataset.test.len()).collect();
        Ok(Self {
            train: Part::new(&dataset.train, &split.train, batch_size, z),
            validation: Part::new(&dataset.train, &split.validation, batch_size, z),
            test: Part::new(&dataset.test, &in_file_order, batch_size, z),
            z,
            classes: dataset.classes,
        })
    }
}

/// Images (bytes, D each) as standardised batches, (images, D).
pub fn standardised(pixels: &[&[u8]], inputs: usize, batch_size: usize, z: ZScore) -> Array2<f32> {
    let mut images = Array2::zeros((pixels.len(), inputs));
    for (start, batch) in (0..).step_by(batch_size).zip(pixels.chunks(batch_size)) {
        standardise(batch, z, images.slice_mut(s![start..start + batch.len(), ..]));
    }
    images
}

/// One batch. With z = (p/255 − mean)/std for a pixel p, a feature's value is
/// (z − mean of z)/√(variance of z + ε), and both moments follow from those of p, which are sums
/// of whole numbers and so exact. The mean of the z-score cancels; its deviation scales ε.
fn standardise(batch: &[&[u8]], z: ZScore, mut out: ArrayViewMut2<'_, f32>) {
    let inputs = out.ncols();
    let mut sums = vec![0_u64; inputs];
    let mut squares = vec![0_u64; inputs];
    for image in batch {
        for ((sum, square), &pixel) in sums.iter_mut().zip(&mut squares).zip(*image) {
            *sum += u64::from(pixel);
            *square += u64::from(pixel).pow(2);
        }
    }
    let count = batch.len() as f64;
    let per_level = 1.0 / (255.0 * z.std); // one grey level on the z-score's scale
    let moments: Vec<(f64, f64)> = sums
        .iter()
        .zip(&squares)
        .map(|(&sum, &square)| {
            let mean = sum as f64 / count;
            let variance = (square as f64 / count - mean * mean).max(0.0);
            (mean, per_level / (variance * per_level * per_level + EPSILON).sqrt())
        })
        .collect();
    for (mut row, image) in out.rows_mut().into_iter().zip(batch) {
        for ((value, &pixel), &(mean, scale)) in row.iter_mut().zip(*image).zip(&moments) {
            *value = ((f64::from(pixel) - mean) * scale) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(count: usize, inputs: usize) -> Labelled {
        let pixels = (0..count * inputs).map(|i| (i * i * 31 % 251) as u8).collect();
        let labels = (0..count).map(|i| (i % 3) as u8).collect();
        Labelled { height: 1, width: inputs, pixels, labels }
    }

    /// The protocol's two steps in its own words, in f64.
    fn two_steps(source: &Labelled, indices: &[usize], z: ZScore) -> Array2<f64> {
        let mut scored = Array2::from_shape_fn((indices.len(), source.inputs()), |(i, j)| {
            (f64::from(source.image(indices[i])[j]) / 255.0 - z.mean) / z.std
        });
        let mean = scored.mean_axis(Axis(0)).unwrap();
        let variance = scored.var_axis(Axis(0), 0.0);
        for mut row in scored.rows_mut() {
            row -= &mean;
            row /= &variance.mapv(|v| (v + EPSILON).sqrt());
        }
        scored
    }

    #[test]
    fn batches_equal_the_protocol_s_two_steps_one_after_the_other() {
        let source = labelled(23, 5);
        let indices: Vec<usize> = (0..23).rev().collect();
        let z = ZScore::measure(&source, &indices);
        let part = Part::new(&source, &indices, 8, z);
        let sizes: Vec<usize> = part.batches().map(|(images, _)| images.nrows()).collect();
        assert_eq!(sizes, [8, 8, 7]);
        for ((images, labels), chunk) in part.batches().zip(indices.chunks(8)) {
            let expected = two_steps(&source, chunk, z);
            for (found, expected) in images.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
            }
            let expected: Vec<u8> = chunk.iter().map(|&i| source.labels[i]).collect();
            assert_eq!(labels, expected);
        }
    }

    #[test]
    fn a_feature_without_contrast_in_its_batch_becomes_zero() {
        let source = Labelled { height: 1, width: 2, pixels: vec![7, 1, 7, 9], labels: vec![0, 1] };
        let z = ZScore::measure(&source, &[0, 1]);
        let part = Part::new(&source, &[0, 1], 2, z);
        let (images, _) = part.batches().next().unwrap();
        assert_eq!((images[(0, 0)], images[(1, 0)]), (0.0, 0.0));
        assert!(images[(0, 1)] < -0.9 && images[(1, 1)] > 0.9);
    }

    #[test]
    fn the_z_score_is_that_of_the_named_images_alone() {
        let source =
            Labelled { height: 1, width: 1, pixels: vec![0, 255, 100], labels: vec![0; 3] };
        assert_eq!(ZScore::measure(&source, &[0, 1]), ZScore { mean: 0.5, std: 0.5 });
    }
}
