//! The standardised mini-batches: computed once, immutable, shared by every run and worker.
//!
//! Paper 3.1 and 3.2: pixels are z-scored with the mean and deviation of the training pixels, then
//! each feature of each mini-batch is standardised with its mean and variance in that batch. As
//! membership and order of the batches never change, the results are constants of a grid. Where a
//! run asks for training images that are shuffled anew, their batches are made as they are visited.

use std::ops::ControlFlow;

use ndarray::{Array2, ArrayView2, Axis, s};

use crate::bf16::images::PackedImages;
use crate::bf16::instructions::{Instructions, Precision};
use crate::bf16::room::Room;
use crate::data::dataset::Dataset;
use crate::data::features::Features;
use crate::data::labelled::Labelled;
use crate::data::preprocess::{Preprocessing, Scaling, Standardisation};
use crate::data::schema::Schema;
use crate::data::signature::Signature;
use crate::data::split::{PartSize, order_of_epoch};
use crate::error::{Error, Place, Result};
use crate::memory::zeros;

/// What batches depend on: runs that agree in these values share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Batching {
    /// Of the split and the batch order.
    pub data_seed: u64,
    /// Rows split off the training set for validation.
    pub validation_size: PartSize,
    /// Images in a mini-batch, N.
    pub batch_size: usize,
    /// What each feature is standardised with.
    pub standardisation: Standardisation,
    /// Whether every epoch after the first has training batches of its own.
    pub reshuffle: bool,
    /// The numbers that training multiplies.
    pub precision: Precision,
}

/// The most images of a mini-batch.
pub const MAX_BATCH_SIZE: usize = 65_536;

/// A mini-batch: images (N, D) and their N labels.
pub type Batch<'a> = (ArrayView2<'a, f32>, &'a [u8]);

/// How far from the training rows an input may be, in standard deviations: float32 still holds its square.
const FARTHEST: f32 = 1e18;

/// Refuses inputs (N, D) so far from those of training that products with weights would overflow. These are usually
/// codes for missing values, such as −3.4e38. `row` says which one a row is.
///
/// # Errors
/// The first of them.
pub fn check_inputs(
    inputs: ArrayView2<'_, f32>,
    signature: &Signature,
    place: &Place,
    row: impl Fn(usize) -> String,
) -> Result<()> {
    let is_near = |input: &f32| input.abs() <= FARTHEST; // and not NaN
    if inputs.iter().all(is_near) {
        return Ok(());
    }
    let far = inputs.indexed_iter().find(|(_, input)| !is_near(input));
    let ((at, feature), input) = far.expect("it is one of them");
    let names = signature.schema.as_ref().map(Schema::feature_names);
    let name =
        names.map_or_else(|| format!("feature {feature}"), |of| format!("`{}`", of[feature]));
    let problem = format!(
        "{} is {input:.1e} standard deviations from the mean of the training rows in {name}",
        row(at)
    );
    let hint = "if this stands for a missing value, leave the cell empty";
    Err(Error::input(place.clone(), problem).hint(hint))
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
    /// standardises each; the last batch has the remaining images.
    pub fn new(
        source: &Labelled,
        indices: &[usize],
        batch_size: usize,
        mut scaling: Scaling,
    ) -> Self {
        let images = scaling.inputs(source.features.rows(indices), batch_size);
        Self { images, labels: source.labels_of(indices), batch_size }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The inputs of all images (N, D).
    pub fn images(&self) -> ArrayView2<'_, f32> {
        self.images.view()
    }

    /// Pixels an image, D.
    pub fn inputs(&self) -> usize {
        self.images.ncols()
    }

    /// The batches in order.
    pub fn batches(&self) -> impl Iterator<Item = Batch<'_>> + Clone {
        self.images
            .axis_chunks_iter(Axis(0), self.batch_size)
            .zip(self.labels.chunks(self.batch_size))
    }

    /// The number of images in the largest batch.
    pub fn largest_batch(&self) -> usize {
        self.batch_size.min(self.len())
    }
}

/// A mini-batch to train on, with its N labels.
#[derive(Debug, Clone, Copy)]
pub enum TrainingBatch<'a> {
    /// In float32.
    F32(Batch<'a>),
    /// As operands in bf16.
    Bf16(&'a PackedImages, &'a [u8]),
}

/// The training images, in batches that stay or that every epoch draws anew.
#[derive(Debug, Clone)]
pub enum Training {
    /// The same batches in the same order every epoch (paper 3.2).
    Fixed(Part),
    /// The same, as operands in bf16. There is no copy in float32.
    Packed(Vec<(PackedImages, Vec<u8>)>, Instructions),
    /// Other batches in each epoch.
    Reshuffled(Reshuffled),
}

/// Training images whose batches are made as they are visited.
#[derive(Debug, Clone)]
pub struct Reshuffled {
    features: Features, // in the order of the first epoch
    labels: Vec<u8>,
    batch_size: usize,
    preprocessing: Preprocessing,
    data_seed: u64,
    pack_for: Option<Instructions>, // none: float32
}

impl Training {
    /// The number of images.
    pub fn len(&self) -> usize {
        match self {
            Self::Fixed(part) => part.len(),
            Self::Packed(batches, _) => batches.iter().map(|(_, labels)| labels.len()).sum(),
            Self::Reshuffled(it) => it.labels.len(),
        }
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pixels an image, D.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Fixed(part) => part.inputs(),
            Self::Packed(batches, _) => batches[0].0.features(),
            Self::Reshuffled(it) => it.features.per_row(),
        }
    }

    /// The number of images in the largest batch.
    pub fn largest_batch(&self) -> usize {
        match self {
            Self::Fixed(part) => part.largest_batch(),
            Self::Packed(batches, _) => batches[0].1.len(),
            Self::Reshuffled(it) => it.batch_size.min(it.labels.len()),
        }
    }

    /// The instructions that its batches are packed for; none in float32.
    pub fn packed_for(&self) -> Option<Instructions> {
        match self {
            Self::Fixed(_) => None,
            Self::Packed(_, instructions) => Some(*instructions),
            Self::Reshuffled(it) => it.pack_for,
        }
    }

    /// Shows the batches of an epoch (from 1) in their order, until `visit` breaks it off. They
    /// depend on nothing but the epoch, so that a run resumed from a checkpoint sees the same.
    pub fn visit(
        &self,
        epoch: usize,
        visit: &mut dyn FnMut(TrainingBatch<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Fixed(part) => {
                part.batches().try_for_each(|batch| visit(TrainingBatch::F32(batch)))
            }
            Self::Packed(batches, _) => {
                batches.iter().try_for_each(|(x, labels)| visit(TrainingBatch::Bf16(x, labels)))
            }
            Self::Reshuffled(it) => it.visit(epoch, visit),
        }
    }
}

impl Reshuffled {
    fn visit(
        &self,
        epoch: usize,
        visit: &mut dyn FnMut(TrainingBatch<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Self { features, labels, batch_size, preprocessing, data_seed, pack_for } = self;
        let (count, inputs) = (labels.len(), features.per_row());
        let order = order_of_epoch(count, *data_seed, epoch);
        // Allocated for an epoch; its steps allocate nothing.
        let largest = count.min(*batch_size);
        let mut buffer = zeros((largest, inputs));
        let mut of_batch = Vec::with_capacity(largest);
        let mut scaling = preprocessing.in_batches(inputs);
        let mut packed =
            pack_for.map(|_| PackedImages::with_room(largest, inputs, &mut Room::default()));
        order.chunks(*batch_size).try_for_each(|chosen| {
            of_batch.clear();
            of_batch.extend(chosen.iter().map(|&index| labels[index]));
            let mut x = buffer.slice_mut(s![..chosen.len(), ..]);
            scaling.fill(features.rows(chosen), x.view_mut());
            match (pack_for, &mut packed) {
                (Some(instructions), Some(packed)) => {
                    packed.pack(x.view(), *instructions);
                    visit(TrainingBatch::Bf16(packed, &of_batch))
                }
                _ => visit(TrainingBatch::F32((x.view(), &of_batch))),
            }
        })
    }
}

/// Everything that training and evaluation read, as constants.
#[derive(Debug, Clone)]
pub struct Batches {
    /// The training batches.
    pub train: Training,
    /// The validation batches, in the order in which the images were drawn.
    pub validation: Part,
    /// The test batches, in file order.
    pub test: Part,
    /// As measured on the training images, without the validation images.
    pub preprocessing: Preprocessing,
    /// The columns and labels of the data.
    pub signature: Signature,
}

impl Batches {
    /// The number of classes, C.
    pub fn classes(&self) -> usize {
        self.signature.labels.len()
    }

    /// Splits a data set with `data_seed` and standardises its batches.
    ///
    /// # Errors
    /// Where `validation_size` leaves no training image, a row is too far from those of training, or this processor
    /// does not multiply bf16.
    pub fn new(dataset: &Dataset, batching: Batching) -> Result<Self> {
        let Batching { data_seed, validation_size, batch_size, standardisation, .. } = batching;
        let pack_for = match batching.precision {
            Precision::F32 => None,
            Precision::Bf16 => Some(Instructions::required()?),
        };
        let split = dataset.split(validation_size, data_seed)?;
        let inputs = dataset.train.inputs();
        let preprocessing = dataset.preprocessing(&split.train, standardisation);
        let in_file_order: Vec<usize> = (0..dataset.test.len()).collect();
        let scaling = preprocessing.in_batches(inputs);
        let part =
            |of: &Labelled, indices: &[usize]| Part::new(of, indices, batch_size, scaling.clone());
        let train = match (batching.reshuffle, pack_for) {
            (true, pack_for) => {
                let Labelled { features, labels, .. } = dataset.train.chosen(&split.train);
                let preprocessing = preprocessing.clone();
                Training::Reshuffled(Reshuffled {
                    features,
                    labels,
                    batch_size,
                    preprocessing,
                    data_seed,
                    pack_for,
                })
            }
            (false, None) => Training::Fixed(part(&dataset.train, &split.train)),
            (false, Some(instructions)) => {
                let mut room = Room::default();
                let mut packed = |(x, labels): Batch<'_>| {
                    let mut packed = PackedImages::with_room(x.nrows(), x.ncols(), &mut room);
                    packed.pack(x, instructions);
                    (packed, labels.to_vec())
                };
                // A batch at a time, so that the images are never all there in float32.
                let each = split.train.chunks(batch_size).map(|chosen| {
                    packed(part(&dataset.train, chosen).batches().next().expect("one batch"))
                });
                Training::Packed(each.collect(), instructions)
            }
        };
        let (validation, test) =
            (part(&dataset.train, &split.validation), part(&dataset.test, &in_file_order));
        let (signature, place) = (&dataset.signature, Place::file(&dataset.source));
        check_inputs(validation.images(), signature, &place, |_| "a validation row".into())?;
        check_inputs(test.images(), signature, &place, |_| "a test row".into())?;
        Ok(Self { train, validation, test, preprocessing, signature: dataset.signature.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::preprocess::{EPSILON, ZScore};

    fn labelled(count: usize, inputs: usize) -> Labelled {
        let pixels = (0..count * inputs).map(|i| (i * i * 31 % 251) as u8).collect();
        of_pixels(pixels, inputs)
    }

    fn of_pixels(pixels: Vec<u8>, width: usize) -> Labelled {
        let features = Features::bytes(pixels, width);
        let labels = (0..features.len()).map(|i| (i % 3) as u8).collect();
        Labelled { height: 1, width, features, labels }
    }

    fn measured(source: &Labelled, indices: &[usize], by: Standardisation) -> Preprocessing {
        Preprocessing::measure(source.features.rows(indices), by, Vec::new())
    }

    fn part(source: &Labelled, indices: &[usize], batch_size: usize, by: Standardisation) -> Part {
        let scaling = measured(source, indices, by).in_batches(source.inputs());
        Part::new(source, indices, batch_size, scaling)
    }

    /// The protocol's two steps in its own words, in f64.
    fn two_steps(source: &Labelled, indices: &[usize], z: ZScore) -> Array2<f64> {
        let mut scored = Array2::from_shape_fn((indices.len(), source.inputs()), |(i, j)| {
            (f64::from(source.features.row(indices[i])[j]) / 255.0 - z.mean) / z.std
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
        let z = measured(&source, &indices, Standardisation::Batch).z;
        let part = part(&source, &indices, 8, Standardisation::Batch);
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
        let source = of_pixels(vec![7, 1, 7, 9], 2);
        let part = part(&source, &[0, 1], 2, Standardisation::Batch);
        let (images, _) = part.batches().next().unwrap();
        assert_eq!((images[(0, 0)], images[(1, 0)]), (0.0, 0.0));
        assert!(images[(0, 1)] < -0.9 && images[(1, 1)] > 0.9);
    }

    #[test]
    fn the_z_score_is_that_of_the_named_images_alone() {
        let z = measured(&of_pixels(vec![0, 255, 100], 1), &[0, 1], Standardisation::Dataset).z;
        assert_eq!(z, ZScore { mean: 0.5, std: 0.5, white: 255.0 });
    }

    #[test]
    fn by_data_set_an_image_is_its_z_score_whatever_its_batch() {
        let source = labelled(9, 5);
        let part = part(&source, &[4, 8, 0], 2, Standardisation::Dataset);
        let z = measured(&source, &[4, 8, 0], Standardisation::Dataset).z;
        let found: Vec<f32> = part.batches().flat_map(|(x, _)| x.to_owned()).collect();
        let pixels = [4, 8, 0].into_iter().flat_map(|index| source.features.row(index));
        for (found, pixel) in found.iter().zip(pixels) {
            let expected = (f64::from(pixel) / 255.0 - z.mean) / z.std;
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    /// Each image's pixels are its own, so that it is known wherever it turns up.
    fn distinct(count: usize) -> Dataset {
        let images = |count: usize| {
            of_pixels((0..count).flat_map(|i| [i as u8, 255 - i as u8]).collect(), 2)
        };
        Dataset::new(images(count), images(3)).unwrap()
    }

    type Seen = Vec<(Array2<f32>, Vec<u8>)>;

    fn seen(train: &Training, epoch: usize) -> Seen {
        let mut seen = Seen::new();
        let all = train.visit(epoch, &mut |batch| {
            let TrainingBatch::F32((x, labels)) = batch else { panic!("in float32") };
            seen.push((x.to_owned(), labels.to_vec()));
            ControlFlow::Continue(())
        });
        assert!(all.is_continue());
        let two = train.visit(epoch, &mut |batch| {
            let TrainingBatch::F32((_, labels)) = batch else { panic!("in float32") };
            if labels == seen[1].1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(two.is_break());
        seen
    }

    #[test]
    fn reshuffled_epochs_hold_every_image_once_in_batches_of_their_own() {
        for standardisation in Standardisation::ALL {
            let batches = |reshuffle| {
                let batching = Batching {
                    data_seed: 5,
                    validation_size: PartSize::Rows(3),
                    batch_size: 8,
                    standardisation,
                    reshuffle,
                    precision: Precision::F32,
                };
                Batches::new(&distinct(30), batching).unwrap()
            };
            let (fixed, reshuffled) = (batches(false), batches(true));
            assert_eq!(seen(&fixed.train, 1), seen(&fixed.train, 7));
            // The first epoch is that of fixed batches, and an epoch is always the same one.
            assert_eq!(seen(&fixed.train, 1), seen(&reshuffled.train, 1));
            assert_eq!(seen(&reshuffled.train, 7), seen(&reshuffled.train, 7));
            let (second, third) = (seen(&reshuffled.train, 2), seen(&reshuffled.train, 3));
            assert_ne!(second, third);
            let sizes: Vec<usize> = second.iter().map(|(_, labels)| labels.len()).collect();
            assert_eq!(sizes, [8, 8, 8, 3]);
            if standardisation == Standardisation::Batch {
                // Standardised with the moments of the batch that it is in now.
                for (x, _) in &second {
                    assert!(x.mean_axis(Axis(0)).unwrap().iter().all(|mean| mean.abs() < 1e-5));
                }
            } else {
                let images = |seen: &Seen| {
                    let row = |(row, &label): (ndarray::ArrayView1<'_, f32>, &u8)| {
                        (row.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), label)
                    };
                    let of_batch = |(x, labels): &(Array2<f32>, Vec<u8>)| {
                        x.rows().into_iter().zip(labels).map(row).collect::<Vec<_>>()
                    };
                    let mut all: Vec<_> = seen.iter().flat_map(of_batch).collect();
                    all.sort();
                    all
                };
                assert_eq!(images(&second), images(&third));
                assert_eq!(images(&second), images(&seen(&fixed.train, 1)));
            }
            // What is measured on stays as it is.
            for (fixed, other) in
                [(&fixed.validation, &reshuffled.validation), (&fixed.test, &reshuffled.test)]
            {
                assert_eq!(fixed.images, other.images);
            }
        }
    }
}
