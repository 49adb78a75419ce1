//! One run: its state, and how it advances. No disk, no printing, no threads.

use std::ops::ControlFlow;

use crate::data::batches::{Batches, Part};
use crate::network::loss::Tally;
use crate::network::mlp::{self, Workspace};
use crate::network::params::Params;
use crate::train::hyperparams::Checked;
use crate::train::model::Model;
use crate::train::outcome::{CurveRow, Outcome, Score, Scores};

/// Everything that a run carries from one epoch to the next.
#[derive(Debug, Clone)]
pub struct TrainState {
    params: Params,
    velocity: Option<Params>, // there if momentum > 0
    best: Option<Best>,
    curve: Vec<CurveRow>,
    diverged: bool,
}

/// The weights with the highest validation accuracy so far.
#[derive(Debug, Clone)]
struct Best {
    epoch: usize,
    validation: Score,
    params: Params,
}

impl TrainState {
    /// A run before its first epoch, from its initial weights.
    pub fn new(values: &Checked, params: Params) -> Self {
        let velocity = (values.momentum > 0.0).then(|| params.zeros_like());
        Self { params, velocity, best: None, curve: Vec::new(), diverged: false }
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

    /// The epochs trained so far, a row each.
    pub fn curve(&self) -> &[CurveRow] {
        &self.curve
    }

    /// The buffers for training this network on these batches.
    pub fn workspace(&self, batches: &Batches) -> Workspace {
        let parts = [&batches.train, &batches.validation, &batches.test];
        let largest = parts.into_iter().map(Part::largest_batch).max().unwrap_or(1);
        Workspace::new(&self.params.sizes(), largest)
    }
}

/// Trains up to and including epoch `until`, or until the run diverges, or until `on_epoch`, which
/// sees each epoch's row, breaks it off. Returns whether it was broken off.
///
/// The same state, values and batches give the same bits, however often it is broken off.
pub fn advance(
    state: &mut TrainState,
    values: &Checked,
    batches: &Batches,
    work: &mut Workspace,
    until: usize,
    on_epoch: &mut dyn FnMut(&CurveRow) -> ControlFlow<()>,
) -> ControlFlow<()> {
    while state.epoch() < until && !state.diverged {
        let epoch = state.epoch() + 1;
        let train = train_epoch(state, values, batches, work, epoch);
        let mut validation = None;
        if train.loss.is_finite() && values.evaluates_after(epoch) {
            validation = Some(validate(state, values, batches, work, epoch));
        }
        state.diverged =
            [Some(train), validation].into_iter().flatten().any(|s| !s.loss.is_finite());
        let learning_rate = values.learning_rate_at(epoch);
        let row = CurveRow { epoch, learning_rate, train, validation };
        state.curve.push(row);
        on_epoch(&row)?;
    }
    ControlFlow::Continue(())
}

/// One pass over the training batches; stops early where the loss is no longer finite.
fn train_epoch(
    state: &mut TrainState,
    values: &Checked,
    batches: &Batches,
    work: &mut Workspace,
    epoch: usize,
) -> Score {
    let sgd = values.sgd_at(epoch);
    let mut tally = Tally::default();
    for batch in batches.train.batches() {
        let velocity = state.velocity.as_mut();
        let params = &mut state.params;
        tally.add(mlp::train_step(params, velocity, values.activation, sgd, batch, work));
        if !tally.loss_sum.is_finite() {
            break;
        }
    }
    score(tally)
}

/// Scores the weights on the validation set and keeps them if they are the best so far; of equal
/// ones the earliest stays.
fn validate(
    state: &mut TrainState,
    values: &Checked,
    batches: &Batches,
    work: &mut Workspace,
    epoch: usize,
) -> Score {
    let tally = mlp::evaluate(&state.params, values.activation, &batches.validation, work);
    let validation = score(tally);
    let beaten =
        state.best.as_ref().is_none_or(|best| validation.accuracy > best.validation.accuracy);
    if beaten && validation.loss.is_finite() {
        match &mut state.best {
            Some(best) => {
                (best.epoch, best.validation) = (epoch, validation);
                best.params.copy_from(&state.params);
            }
            None => state.best = Some(Best { epoch, validation, params: state.params.clone() }),
        }
    }
    validation
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
}

/// Trains a run to its end.
///
/// # Errors
/// The epochs trained, where `on_epoch` broke it off before its end.
pub fn train_to_end(
    mut state: TrainState,
    values: &Checked,
    batches: &Batches,
    on_epoch: &mut dyn FnMut(&CurveRow) -> ControlFlow<()>,
) -> Result<Trained, usize> {
    let mut work = state.workspace(batches);
    let flow = advance(&mut state, values, batches, &mut work, values.epochs, on_epoch);
    if flow.is_break() && state.epoch() < values.epochs {
        return Err(state.epoch());
    }
    let curve = state.curve().to_vec();
    let (outcome, model) = finish(state, values, batches, &mut work);
    Ok(Trained { outcome, curve, model })
}

/// Ends a run after its last epoch: its outcome, with the test set seen for the first time, and its
/// model unless it diverged.
pub fn finish(
    state: TrainState,
    values: &Checked,
    batches: &Batches,
    work: &mut Workspace,
) -> (Outcome, Option<Model>) {
    let epoch = state.epoch();
    let Some(best) = state.best.filter(|_| !state.diverged) else {
        return (Outcome::Diverged { epoch }, None);
    };
    let test = score(mlp::evaluate(&best.params, values.activation, &batches.test, work));
    let scores = Scores {
        best_epoch: best.epoch,
        train: state.curve[best.epoch - 1].train,
        validation: best.validation,
        test,
        test_images: batches.test.len(),
    };
    let model = Model {
        params: best.params,
        values: values.clone(),
        z: batches.z,
        validation_accuracy: best.validation.accuracy,
        best_epoch: best.epoch,
    };
    (Outcome::Done(scores), Some(model))
}
