//! The values that a user can set, as read. `train/keys` has their table, `train/checked` their checks.

use crate::bf16::instructions::Precision;
use crate::data::preprocess::Standardisation;
use crate::data::split::PartSize;
use crate::network::mlp::Activation;
use crate::network::params::Params;
use crate::train::score::OnTie;

/// The most weights and biases of a network: a gibibyte.
const MAX_PARAMETERS: u64 = 1 << 28;
/// The most numbers that a step's buffers may hold: a gibibyte.
const MAX_BUFFERS: u64 = 1 << 28;

/// The values of a run, as read. The defaults are the paper's best row (Table 2, first).
///
/// ```
/// use rookie::{Error, Hyperparams};
///
/// let values = Hyperparams { hidden: vec![300], epochs: 50, ..Hyperparams::default() }.check()?;
/// assert_eq!(values.batch_size, 512);
/// let error: Error = Hyperparams { lr_decay: 2.0, ..Hyperparams::default() }.check().unwrap_err().into();
/// assert!(error.to_string().starts_with("lr_decay: found 2, expected a number above 0, at most 1"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Hyperparams {
    /// Learning rate η of the first epochs: a number above 0. Default 0.2.
    pub learning_rate: f64,
    /// Weight decay λ of (λ/2)·ΣW², on weights and not on biases: a number from 0, with η·λ below 1 (paper,
    /// Table 1). Default 1e-3.
    pub weight_decay: f64,
    /// Width of each hidden layer, first to last: up to 16, each from 1 to 65,536 (paper 3.2). Default 500, 324.
    pub hidden: Vec<usize>,
    /// Factor of the learning rate at each decay: above 0, at most 1 (paper, Table 1: LR decay). Default 0.5.
    pub lr_decay: f64,
    /// Epochs between decays, from 1 to a million. Default 200.
    pub lr_decay_every: usize,
    /// Momentum μ of the velocity U ← μ·U + gradient: from 0, below 1. Default 0, plain SGD.
    pub momentum: f64,
    /// Images in a mini-batch, N, from 1 to 65,536 (paper 3.2). Default 512.
    pub batch_size: usize,
    /// Passes over the training images, from 1 to a million (paper 3.2). Default 500.
    pub epochs: usize,
    /// Epochs between validations, from 1 to a million; the last epoch is always validated. Default 5.
    pub eval_every: usize,
    /// Rows split off the training set for validation: a number from 1, a share of them, or a fold; fewer than
    /// there are (paper 3.1). Default 5000; a fifth for tables.
    pub validation_size: PartSize,
    /// Activation function of the hidden layers. Default `Relu`.
    pub activation: Activation,
    /// Seed of the initial weights, from 0 to 2⁶³ − 1. Default 0.
    pub seed: u64,
    /// Seed of the split and the batch order, from 0 to 2⁶³ − 1. Default 0.
    pub data_seed: u64,
    /// What each feature is standardised with.
    pub standardisation: Standardisation,
    /// Whether every epoch after the first draws its mini-batches anew.
    pub reshuffle: bool,
    /// The numbers that training multiplies.
    pub precision: Precision,
    /// After how many validations in a row without a better accuracy the run ends, from 0 to a million; 0
    /// trains all epochs. Default 0.
    pub patience: usize,
    /// Which epoch's weights the run keeps where several have the highest validation accuracy. Default `First`;
    /// `Last` for tables.
    pub on_tie: OnTie,
}

impl Default for Hyperparams {
    fn default() -> Self {
        Self {
            learning_rate: 0.2,
            weight_decay: 1e-3,
            hidden: vec![500, 324],
            lr_decay: 0.5,
            lr_decay_every: 200,
            momentum: 0.0,
            batch_size: 512,
            epochs: 500,
            eval_every: 5,
            validation_size: PartSize::Rows(5000),
            activation: Activation::Relu,
            seed: 0,
            data_seed: 0,
            standardisation: Standardisation::Batch,
            reshuffle: false,
            precision: Precision::F32,
            patience: 0,
            on_tie: OnTie::First,
        }
    }
}

impl Hyperparams {
    /// The same with all folds instead of one: equal for runs that differ in their fold alone.
    #[must_use]
    pub fn of_all_folds(&self) -> Self {
        Self { validation_size: self.validation_size.of_all_folds(), ..self.clone() }
    }

    /// What sets runs of one configuration apart: both seeds, and the fold if there is one.
    pub fn repeat(&self) -> (u64, u64, Option<(u16, u16)>) {
        (self.seed, self.data_seed, self.validation_size.fold())
    }

    /// What sets its validation rows apart from those of other runs on the same data: accuracies on different ones
    /// cannot be compared. `None` where it has none, because it is trained on the rows of all folds.
    pub fn validation_set(&self) -> Option<(u64, PartSize)> {
        let has_none = matches!(self.validation_size.fold(), Some((0, _)));
        (!has_none).then_some((self.data_seed, self.validation_size))
    }

    /// The sizes of the network's layers: D, each hidden width, C.
    ///
    /// # Errors
    /// A clause that says so where the network would be too large.
    pub fn sizes(&self, inputs: usize, classes: usize) -> Result<Vec<usize>, String> {
        let hidden = self.hidden.iter().copied();
        let sizes: Vec<usize> =
            std::iter::once(inputs).chain(hidden).chain(std::iter::once(classes)).collect();
        match Params::count(&sizes) {
            Some(count) if count <= MAX_PARAMETERS => Ok(sizes),
            _ => Err(format!(
                "found a network {sizes:?}, expected at most {MAX_PARAMETERS} weights and biases"
            )),
        }
    }

    /// Checks that the outputs of all layers for a batch, and their gradients, fit into memory.
    ///
    /// # Errors
    /// A clause that says so where they do not.
    pub fn check_buffers(&self, images: usize, classes: usize) -> Result<(), String> {
        let units: usize = self.hidden.iter().sum::<usize>() + classes;
        let numbers = 2 * self.batch_size.min(images) as u64 * units as u64;
        if numbers <= MAX_BUFFERS {
            return Ok(());
        }
        Err(format!(
            "found {numbers} outputs of a batch and gradients, expected at most {MAX_BUFFERS}"
        ))
    }
}
