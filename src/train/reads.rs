//! What a run reads of its values before its first step and at each step. Runs share steps for as
//! long as they read the same, so whatever batches, initial state and training read must stand here.

use crate::data::batches::Batching;
use crate::network::mlp::Activation;
use crate::network::update::{Update, learning_rate_at};
use crate::train::checked::Checked;
use crate::train::hyperparams::Hyperparams;
use crate::train::score::{CurveRow, OnTie, early_end};

/// A step of a run: epoch 1's training, its validation, epoch 2's training, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step(usize);

impl Step {
    /// The training of epoch 1.
    pub const FIRST: Self = Self(0);
    /// After the last step of any run.
    pub const END: Self = Self(usize::MAX);

    /// The step after the last one of a run of so many epochs.
    pub fn after(epochs: usize) -> Self {
        Self(2 * epochs)
    }

    /// The step that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// How many steps come before.
    pub fn number(self) -> usize {
        self.0
    }

    /// The step with so many before it.
    pub fn from_number(steps: usize) -> Self {
        Self(steps)
    }

    /// How many epochs' training comes before this step.
    pub fn epochs_before(self) -> usize {
        self.0.div_ceil(2)
    }

    /// The epoch (from 1) that it belongs to.
    pub fn epoch(self) -> usize {
        self.0 / 2 + 1
    }

    fn is_training(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

/// What a run reads before its first step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Start {
    /// What its batches are made from.
    pub batching: Batching,
    /// The width of each hidden layer.
    pub hidden: Vec<usize>,
    /// The activation function of the hidden layers.
    pub activation: Activation,
    /// Of the initial weights.
    pub seed: u64,
    /// How many tensors its update keeps beside each tensor of a layer.
    pub slots: usize,
}

/// What a step reads. Steps that read the same do the same to the same state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StepReads {
    /// An epoch's training.
    Training(Update),
    /// The validation after an epoch, or that there is none.
    Validation(Option<OnTie>),
}

/// What the steps of a run read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    learning_rate: f64,
    weight_decay: f64,
    lr_decay: f64,
    lr_decay_every: usize,
    momentum: f64,
    epochs: usize,
    eval_every: usize,
    patience: usize,
    on_tie: OnTie,
}

impl Steps {
    /// What a step reads; `None` after the run's last one.
    pub fn at(&self, step: Step) -> Option<StepReads> {
        let epoch = step.epoch();
        if epoch > self.epochs {
            return None;
        }
        let Self { learning_rate, lr_decay, lr_decay_every, weight_decay, momentum, .. } = *self;
        Some(if step.is_training() {
            let learning_rate = learning_rate_at(epoch, learning_rate, lr_decay, lr_decay_every);
            StepReads::Training(Update::Sgd { learning_rate, weight_decay, momentum })
        } else {
            let is_due = epoch.is_multiple_of(self.eval_every) || epoch == self.epochs;
            StepReads::Validation(is_due.then_some(self.on_tie))
        })
    }

    /// The step after the last one.
    pub fn end(&self) -> Step {
        Step::after(self.epochs)
    }

    /// The epoch after whose validation patience ends a run with this curve, if it does. No step reads
    /// patience, so runs that differ in it alone share all steps of the shorter one.
    pub fn early_end(&self, curve: &[CurveRow]) -> Option<usize> {
        if self.patience == 0 { None } else { early_end(curve, self.patience) }
    }
}

impl Checked {
    /// All that a run reads. There is no `..` here: a new value does not compile until it is read in
    /// one of these places, and whoever makes batches, draws weights or trains gets these alone.
    pub fn parts(&self) -> (Start, Steps) {
        let Hyperparams {
            learning_rate,
            weight_decay,
            hidden,
            lr_decay,
            lr_decay_every,
            momentum,
            batch_size,
            epochs,
            eval_every,
            validation_size,
            activation,
            seed,
            data_seed,
            standardisation,
            reshuffle,
            precision,
            patience,
            on_tie,
        } = (**self).clone();
        let batching = Batching {
            data_seed,
            validation_size,
            batch_size,
            standardisation,
            reshuffle,
            precision,
        };
        let slots = Update::Sgd { learning_rate, weight_decay, momentum }.slots();
        let start = Start { batching, hidden, activation, seed, slots };
        let steps = Steps {
            learning_rate,
            weight_decay,
            lr_decay,
            lr_decay_every,
            momentum,
            epochs,
            eval_every,
            patience,
            on_tie,
        };
        (start, steps)
    }

    /// What its batches are made from.
    pub fn batching(&self) -> Batching {
        self.parts().0.batching
    }
}
