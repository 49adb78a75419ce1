//! What the models of a predictor say of images, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::Array2;

use crate::data::dataset::Dataset;
use crate::data::features::Rows;
use crate::data::labelled::Labelled;
use crate::data::preprocess::{Scaling, Standardisation};
use crate::error::Result;
use crate::grid::physical_cores::default_workers;
use crate::grid::workers::Workers;
use crate::train::model::Model;
use crate::train::predictor::Predictor;

/// Rows to classify, and the class of each.
pub struct LabelledRows<'a> {
    /// The rows.
    pub rows: Rows<'a>,
    /// The class of each.
    pub labels: Vec<u8>,
}

impl<'a> LabelledRows<'a> {
    /// Those of these indices, in their order.
    pub fn new(of: &'a Labelled, indices: &'a [usize]) -> Self {
        Self { rows: of.features.rows(indices), labels: of.labels_of(indices) }
    }
}

/// How images are standardised and multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// In batches, as each model's training had them: the accuracies of its record.
    Batch,
    /// With the training moments, but multiplied in batches, because a count needs no more.
    Moments,
    /// With the training moments, and one by one: an image gets the same bits whatever the others are.
    Image,
}

impl By {
    /// Images in a batch, and what makes inputs of them.
    ///
    /// # Panics
    /// Where the moments are missing.
    fn of(self, model: &Model) -> (usize, Scaling) {
        let alone = || model.scaling_alone().expect("the moments are there");
        match self {
            Self::Batch => (model.values.batch_size, model.scaling_in_batches()),
            Self::Moments => (model.values.batch_size, alone()),
            Self::Image => (1, alone()),
        }
    }

    /// The probabilities (N, C) that a model gives to images (N of D).
    ///
    /// # Errors
    /// As [`Model::probabilities`].
    pub fn probabilities(self, model: &Model, rows: Rows<'_>) -> Result<Array2<f32>> {
        let (batch_size, scaling) = self.of(model);
        model.probabilities(rows, batch_size, scaling)
    }
}

/// Does pieces of work by their index, on as many threads as there are cores, or as can be had, and returns what they gave
/// in their order.
///
/// # Errors
/// The first error in that order.
pub fn on_all_cores<T: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let indices = || std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
    let workers = default_workers().clamp(1, count.max(1));
    let done = Workers::up_to(workers).each(|_| {
        indices().take_while(|&index| index < count).map(|index| (index, work(index))).collect()
    });
    let mut done: Vec<(usize, Result<T>)> = done.into_iter().flat_map(|of: Vec<_>| of).collect();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The probabilities (N, C) of each member of a predictor.
///
/// # Errors
/// As [`Model::probabilities`].
pub fn each(predictor: &Predictor, by: By, rows: Rows<'_>) -> Result<Vec<Array2<f32>>> {
    let members = &predictor.members;
    on_all_cores(members.len(), |index| by.probabilities(&members[index].model, rows))
}

/// The mean of the members' probabilities (N, C).
///
/// # Errors
/// As [`each`].
pub fn averaged(predictor: &Predictor, by: By, rows: Rows<'_>) -> Result<Array2<f32>> {
    Ok(predictor.mean(&each(predictor, by, rows)?))
}

/// Whether each member can standardise an image by itself.
pub fn has_moments(predictor: &Predictor) -> bool {
    predictor.members.iter().all(|member| member.model.scaling_alone().is_some())
}

/// Measures the training moments of members whose files have none (version 0.1 wrote none), on these
/// training images.
pub fn measure_moments(predictor: &mut Predictor, dataset: &Dataset, indices: &[usize]) {
    let lacking = predictor.members.iter_mut().map(|member| &mut member.model);
    let mut lacking = lacking.filter(|model| model.scaling_alone().is_none()).peekable();
    // All have the same training images.
    let standardisation = lacking.peek().map(|first| first.values.standardisation);
    let measured = standardisation.map(|it| dataset.preprocessing(indices, it));
    lacking.zip(std::iter::repeat(measured)).for_each(|(model, measured)| {
        model.preprocessing = measured.expect("of the first that lacks them");
    });
}

/// The sizes of the batches by which members were standardised, each once.
pub fn batch_sizes(predictor: &Predictor) -> Vec<usize> {
    let values = predictor.members.iter().map(|member| &member.model.values);
    let by_batch = values.filter(|values| values.standardisation == Standardisation::Batch);
    let mut sizes: Vec<usize> = by_batch.map(|values| values.batch_size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}
