//! One run: its state, and how it advances. No disk, no printing, no threads.

use std::ops::ControlFlow;

use crate::data::batches::Batches;
use crate::network::loss::Tally;
use crate::network::mlp::{self, Workspace};
use crate::network::params::Params;
use crate::network::sgd::{Descent, Sgd};
use crate::train::hyperparams::{Checked, Hyperparams};
use crate::train::model::Model;
use crate::train::outcome::{CurveRow, Outcome, Score, Scores};

/// A step of a run: epoch 1's training, its validation, epoch 2's training, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(usize);

impl Position {
    /// Before the training of epoch 1.
    pub const START: Self = Self(0);

    /// Behind the last step of a run of so many epochs.
    pub fn after(epochs: usize) -> Self {
        Self(2 * epochs)
    }

    /// The step that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// How many steps come before.
    pub fn steps(self) -> usize {
        self.0
    }

    /// The step that has so many before it.
    pub fn from_steps(steps: usize) -> Self {
        Self(steps)
    }

    /// How many epochs' training comes before this step.
    pub fn epochs_before(self) -> usize {
        self.0.div_ceil(2)
    }

    /// The epoch (from 1) that it belongs to.
    fn epoch(self) -> usize {
        self.0 / 2 + 1
    }

    fn is_training(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

/// What a step reads of a run's values. Steps that read the same do the same to the same state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reads {
    /// An epoch's training.
    Training(Sgd),
    /// The validation after an epoch, or that there is none.
    Validation(bool),
}

/// What a step reads; `None` behind the run's last step.
pub fn reads_at(values: &Hyperparams, at: Position) -> Option<Reads> {
    (at.epoch() <= values.epochs).then(|| {
        if at.is_training() {
            Reads::Training(values.sgd_at(at.epoch()))
        } else {
            Reads::Validation(values.evaluates_after(at.epoch()))
        }
    })
}

/// Everything that a run carries from one step to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainState {
    pub(super) at: Position,
    pub(super) params: Params,
    pub(super) velocity: Option<Params>, // there if momentum > 0
    pub(super) best: Option<Best>,
    pub(super) curve: Vec<CurveRow>, // a row for each epoch trained
    pub(super) diverged: bool,
}

/// The weights with the highest validation accuracy so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Best {
    pub(super) epoch: usize,
    pub(super) validation: Score,
    pub(super) params: Params,
}

impl TrainState {
    /// A run before its first epoch, from its initial weights.
    pub fn new(values: &Checked, params: Params) -> Self {
        let velocity = (values.momentum > 0.0).then(|| params.zeros_like());
        Self {
            at: Position::START,
            params,
            velocity,
            best: None,
            curve: Vec::new(),
            diverged: false,
        }
    }

    /// A run before its first epoch, from weights drawn with its seed.
    ///
    /// # Errors
    /// A clause that says so where the network would be too large.
    pub fn drawn(values: &Checked, batches: &Batches) -> Result<Self, String> {
        let sizes = values.sizes(batches.train.inputs(), batches.classes)?;
        Ok(Self::new(values, Params::he_init(&sizes, values.seed)))
    }

    /// The epochs trained so far.
    pub fn epoch(&self) -> usize {
        self.curve.len()
    }

    /// Whether the loss has stopped being finite, so that no further step is taken.
    pub fn has_diverged(&self) -> bool {
        self.diverged
    }

    /// The step that it takes next.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The state with a curve of so many epochs that never were, for tests of what is saved.
    #[cfg(test)]
    pub(crate) fn pretend_trained(mut self, epochs: usize) -> Self {
        let train = Score { loss: 1.0, accuracy: 0.5 };
        let row = |epoch| CurveRow { epoch, learning_rate: 0.1, train, validation: None };
        self.curve = (1..=epochs).map(row).collect();
        self.at = Position::after(epochs);
        self
    }

    /// D, then each hidden width, then C.
    pub fn sizes(&self) -> Vec<usize> {
        self.params.sizes()
    }

    /// The buffers for training this network on these batches: those at hand, if they fit.
    pub fn workspace(&self, batches: &Batches, at_hand: Option<Workspace>) -> Workspace {
        let evaluated = batches.validation.largest_batch().max(batches.test.largest_batch());
        let largest = batches.train.largest_batch().max(evaluated);
        let sizes = self.params.sizes();
        let fitting = at_hand.filter(|work| work.fits(&sizes, largest));
        fitting.unwrap_or_else(|| Workspace::new(&sizes, largest))
    }
}

/// Takes the steps up to and without `until`, or until the run diverges, or until `on_epoch`, which
/// sees the row of each epoch trained, breaks it off. Returns whether it was broken off.
///
/// The same state, values and batches give the same bits, however often it is broken off.
pub fn advance(
    state: &mut TrainState,
    values: &Hyperparams,
    batches: &Batches,
    work: &mut Workspace,
    until: Position,
    on_epoch: &mut dyn FnMut(&CurveRow) -> ControlFlow<()>,
) -> ControlFlow<()> {
    while state.at < until && !state.diverged {
        let trained = state.at.is_training();
        if trained {
            train_epoch(state, values, batches, work);
            state.at = state.at.next();
        }
        // The validation belongs to the epoch, unless other runs that share it do without.
        if state.at < until && !state.diverged && !state.at.is_training() {
            if values.evaluates_after(state.at.epoch()) {
                validate(state, values, batches, work);
            }
            state.at = state.at.next();
        }
        if trained {
            on_epoch(state.curve.last().expect("an epoch was trained"))?;
        }
    }
    ControlFlow::Continue(())
}

/// One pass over the training batches; stops early where the loss is no longer finite.
fn train_epoch(
    state: &mut TrainState,
    values: &Hyperparams,
    batches: &Batches,
    work: &mut Workspace,
) {
    let epoch = state.at.epoch();
    let sgd = values.sgd_at(epoch);
    let mut tally = Tally::default();
    let mut descent = Descent::begin(&mut state.params, state.velocity.as_mut(), sgd);
    let broken_off = batches.train.visit(epoch, &mut |batch| {
        tally.add(mlp::train_step(&mut descent, values.activation, batch, work));
        if tally.loss_sum.is_finite() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    drop(descent);
    state.diverged = broken_off.is_break();
    let learning_rate = sgd.learning_rate;
    state.curve.push(CurveRow { epoch, learning_rate, train: score(tally), validation: None });
}

/// Scores the weights on the validation set and keeps them if they are the best so far; of equal
/// ones the earliest stays.
fn validate(state: &mut TrainState, values: &Hyperparams, batches: &Batches, work: &mut Workspace) {
    let tally = mlp::evaluate(&state.params, values.activation, &batches.validation, work);
    let validation = score(tally);
    let row = state.curve.last_mut().expect("an epoch was trained");
    row.validation = Some(validation);
    state.diverged = !validation.loss.is_finite();
    let beaten =
        state.best.as_ref().is_none_or(|best| validation.accuracy > best.validation.accuracy);
    if !beaten || state.diverged {
        return;
    }
    if let Some(best) = &mut state.best {
        (best.epoch, best.validation) = (row.epoch, validation);
        best.params.copy_from(&state.params);
    } else {
        let params = state.params.clone();
        state.best = Some(Best { epoch: row.epoch, validation, params });
    }
}

fn score(tally: Tally) -> Score {
    Score { loss: tally.loss(), accuracy: tally.accuracy() }
}

/// What a run leaves when it has come to its end.
#[derive(Debug, Clone)]
pub struct Trained {
    /// How it came out.
    pub outcome: Outcome,
    /// Its epochs, a row each.
    pub curve: Vec<CurveRow>,
    /// Its best weights, unless it diverged.
    pub model: Option<Model>,
    /// The class that these give to each test image, in file order, unless it diverged.
    pub predictions: Option<Vec<u8>>,
}

impl Trained {
    /// What a run leaves that could not be trained.
    pub fn failed(reason: String) -> Self {
        let outcome = Outcome::Failed { reason };
        Self { outcome, curve: Vec::new(), model: None, predictions: None }
    }
}

/// Ends a run after its last step: its outcome, with the test set seen for the first time, and its
/// model unless it diverged.
pub fn finish(
    state: &TrainState,
    values: &Checked,
    batches: &Batches,
    work: &mut Workspace,
) -> Trained {
    let curve = state.curve.clone();
    let Some(best) = state.best.as_ref().filter(|_| !state.diverged) else {
        let outcome = Outcome::Diverged { epoch: state.epoch() };
        return Trained { outcome, curve, model: None, predictions: None };
    };
    let (tally, predictions) = mlp::predict(&best.params, values.activation, &batches.test, work);
    let test = score(tally);
    let outcome = Outcome::Done(Scores {
        best_epoch: best.epoch,
        train: curve[best.epoch - 1].train,
        validation: best.validation,
        test,
        test_images: batches.test.len(),
    });
    let model = Some(Model {
        params: best.params.clone(),
        values: values.clone(),
        z: batches.z,
        moments: batches.moments.clone(),
        validation_accuracy: best.validation.accuracy,
        best_epoch: best.epoch,
    });
    Trained { outcome, curve, model, predictions: Some(predictions) }
}
