//! One run: its state, and how it advances. No disk, no printing, no threads.

use std::ops::ControlFlow;

use crate::data::batches::{Batches, TrainingBatch};
use crate::network::bf16::PackedNetwork;
use crate::network::loss::Tally;
use crate::network::mlp::{self, Activation, Workspace};
use crate::network::params::{Layer, Params};
use crate::network::update::{Descent, Update};
use crate::train::checked::Checked;
use crate::train::model::Model;
use crate::train::outcome::{AtRung, Outcome, Scores};
use crate::train::reads::{Start, Step, StepReads, Steps};
use crate::train::score::{CurveRow, OnTie, Score};

/// Everything that a run carries from one step to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainState {
    pub(super) step: Step, // that it takes next
    pub(super) params: Params,
    pub(super) slots: Vec<Vec<Layer>>, // of each layer, as many as its update keeps
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
    /// A run before its first epoch, from these weights.
    pub fn new(start: &Start, params: Params) -> Self {
        let slots = params.zero_slots(start.slots);
        Self { step: Step::FIRST, params, slots, best: None, curve: Vec::new(), diverged: false }
    }

    /// A run before its first epoch, from weights drawn with its seed.
    pub fn drawn(start: &Start, inputs: usize, classes: usize) -> Self {
        let sizes = [&[inputs], &start.hidden[..], &[classes]].concat();
        Self::new(start, Params::he_init(&sizes, start.seed))
    }

    /// The epochs trained so far.
    pub fn epoch(&self) -> usize {
        self.curve.len()
    }

    /// Whether the loss has stopped being finite, so that no further step is taken.
    pub fn has_diverged(&self) -> bool {
        self.diverged
    }

    /// A row for each epoch trained so far.
    pub fn curve(&self) -> &[CurveRow] {
        &self.curve
    }

    /// The step that it takes next.
    pub fn step(&self) -> Step {
        self.step
    }

    /// What the run leaves at a rung after so many epochs, which it has trained.
    ///
    /// # Panics
    /// Where no epoch up to there was validated.
    pub fn at_rung(&self, epochs: usize, on_tie: OnTie) -> Trained {
        let curve = self.curve[..epochs].to_vec();
        let outcome = Outcome::Stopped(AtRung::of(&curve, on_tie).expect("rungs are validated"));
        Trained { outcome, curve, model: None, predictions: None }
    }

    /// The state with a curve of so many epochs that never were, for tests of what is saved.
    #[cfg(test)]
    pub(crate) fn pretend_trained(mut self, epochs: usize) -> Self {
        let train = Score { loss: 1.0, accuracy: 0.5 };
        let row = |epoch| CurveRow { epoch, learning_rate: 0.1, train, validation: None };
        self.curve = (1..=epochs).map(row).collect();
        self.step = Step::after(epochs);
        self
    }

    /// D, then each hidden width, then C.
    pub fn sizes(&self) -> Vec<usize> {
        self.params.sizes()
    }

    /// The buffers for training this network on these batches: those at hand, if they fit.
    pub fn buffers(&self, batches: &Batches, at_hand: Option<Buffers>) -> Buffers {
        let evaluated = batches.validation.largest_batch().max(batches.test.largest_batch());
        let (trained, sizes) = (batches.train.largest_batch(), self.params.sizes());
        let largest = trained.max(evaluated);
        let (float32, packed) = at_hand.map_or((None, None), |it| (Some(it.float32), it.packed));
        let float32 = float32.filter(|work| work.fits(&sizes, largest));
        let float32 = float32.unwrap_or_else(|| Workspace::new(&sizes, largest));
        let packed = batches.train.packed_for().map(|instructions| {
            let shape = (&sizes[..], trained, self.slots[0].len());
            let packed = packed.filter(|packed| packed.fits(shape, instructions));
            packed.unwrap_or_else(|| PackedNetwork::new(shape, instructions))
        });
        Buffers { float32, packed }
    }
}

/// What a worker computes in, allocated once for a network and its largest batch.
#[derive(Debug)]
pub struct Buffers {
    float32: Workspace,            // of evaluation, and of training
    packed: Option<PackedNetwork>, // of training in bf16
}

/// The next epoch: its training, and its validation if one is due and comes before `until`. The same
/// state, reads and batches give the same bits, whatever has interrupted the run before.
///
/// Returns the epoch's row; `None` where no step is left before `until`, or the run has diverged.
pub fn train_epoch<'s>(
    state: &'s mut TrainState,
    (activation, steps): (Activation, &Steps),
    batches: &Batches,
    work: &mut Buffers,
    until: Step,
) -> Option<&'s CurveRow> {
    let mut has_trained = false;
    while state.step < until && !state.diverged {
        match steps.at(state.step)? {
            StepReads::Training(_) if has_trained => break,
            StepReads::Training(update) => {
                train(state, activation, update, batches, work);
                has_trained = true;
            }
            StepReads::Validation(Some(on_tie)) => {
                validate(state, (activation, on_tie), batches, work);
            }
            StepReads::Validation(None) => {}
        }
        state.step = state.step.next();
    }
    state.curve.last().filter(|_| has_trained)
}

/// One pass over the training batches; stops early where the loss is no longer finite.
fn train(
    state: &mut TrainState,
    activation: Activation,
    update: Update,
    batches: &Batches,
    work: &mut Buffers,
) {
    let epoch = state.step.epoch();
    let mut tally = Tally::default();
    let mut descent = Descent::begin(&mut state.params, &mut state.slots, update);
    let Buffers { float32, packed } = work;
    if let Some(packed) = packed {
        packed.load(&mut descent);
    }
    let diverged = batches.train.visit(epoch, &mut |batch| {
        tally.add(match (batch, &mut *packed) {
            (TrainingBatch::F32(batch), _) => {
                mlp::train_step(&mut descent, activation, batch, float32)
            }
            (TrainingBatch::Bf16(x, labels), Some(packed)) => {
                packed.train_step(&mut descent, activation, (x, labels))
            }
            (TrainingBatch::Bf16(..), None) => unreachable!("buffers are made for the batches"),
        });
        if tally.loss_sum.is_finite() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if let Some(packed) = packed {
        packed.store(&mut descent);
    }
    drop(descent);
    state.diverged = diverged.is_break();
    let learning_rate = update.learning_rate();
    state.curve.push(CurveRow { epoch, learning_rate, train: score(tally), validation: None });
}

/// Scores the weights on the validation set and keeps them if they are the best so far.
fn validate(
    state: &mut TrainState,
    (activation, on_tie): (Activation, OnTie),
    batches: &Batches,
    work: &mut Buffers,
) {
    let (tally, _) =
        mlp::predict(&state.params, activation, &batches.validation, &mut work.float32);
    let row = state.curve.last_mut().expect("an epoch was trained");
    // On the rows of all folds, none is left for validation.
    let validation = if batches.validation.is_empty() { row.train } else { score(tally) };
    row.validation = Some(validation);
    state.diverged = !validation.loss.is_finite();
    let beats = |best: &Best| on_tie.beats(validation.accuracy, best.validation.accuracy);
    if state.diverged || !state.best.as_ref().is_none_or(beats) {
        return;
    }
    if let Some(best) = &mut state.best {
        (best.epoch, best.validation) = (row.epoch, validation);
        best.params.copy_from(&state.params);
    } else {
        let params = state.params.copied();
        state.best = Some(Best { epoch: row.epoch, validation, params });
    }
}

fn score(tally: Tally) -> Score {
    Score { loss: tally.loss(), accuracy: tally.accuracy() }
}

/// What a run leaves when it has finished, diverged or failed.
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
    work: &mut Buffers,
) -> Trained {
    let curve = state.curve.clone();
    let Some(best) = state.best.as_ref().filter(|_| !state.diverged) else {
        let outcome = Outcome::Diverged { epoch: state.epoch() };
        return Trained { outcome, curve, model: None, predictions: None };
    };
    let predict =
        || mlp::predict(&best.params, values.activation, &batches.test, &mut work.float32);
    let (test, predictions) = (!batches.test.is_empty()).then(predict).unzip();
    let test = test.map(score);
    if test.is_some_and(|test| !test.loss.is_finite()) {
        let reason = "its loss on the test set is not a finite number".into();
        return Trained { curve, ..Trained::failed(reason) };
    }
    let outcome = Outcome::Done(Scores {
        best_epoch: best.epoch,
        ended_epoch: values.parts().1.early_end(&curve).filter(|&epoch| epoch < values.epochs),
        train: curve[best.epoch - 1].train,
        validation: best.validation,
        test,
        test_images: batches.test.len(),
    });
    let model = Some(Model {
        params: best.params.clone(),
        values: values.clone(),
        signature: batches.signature.clone(),
        preprocessing: batches.preprocessing.clone(),
        trained_on: None,
        validation_accuracy: best.validation.accuracy,
        best_epoch: best.epoch,
    });
    Trained { outcome, curve, model, predictions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::Dataset;
    use crate::data::labelled::Labelled;
    use crate::train::hyperparams::Hyperparams;
    use ndarray::{Array2, Array3};

    #[test]
    fn a_run_whose_test_loss_is_not_finite_has_failed() {
        let part = |count: usize| {
            let grey = Array3::from_shape_fn((count, 1, 2), |(at, _, x)| (37 * at + 91 * x) as u8);
            let labels: Vec<u8> = (0..count).map(|at| (at % 2) as u8).collect();
            Labelled::new(grey.view(), &labels).unwrap()
        };
        let dataset = Dataset::new(part(20), part(6)).unwrap();
        let values = Hyperparams {
            hidden: vec![2],
            validation_size: 4.into(),
            batch_size: 8,
            ..Hyperparams::default()
        };
        let values = values.check().unwrap();
        let start = values.parts().0;
        let batches = Batches::new(&dataset, start.batching).unwrap();
        let mut state = TrainState::drawn(&start, 2, 2);
        let mut work = state.buffers(&batches, None);
        let score = Score { loss: 1.0, accuracy: 0.5 };
        let row = CurveRow { epoch: 1, learning_rate: 0.1, train: score, validation: Some(score) };
        state.curve.push(row);
        for (weight, expected) in [(1.0, "done"), (1e30, "failed")] {
            let mut params = state.params.copied();
            let weights = |layer: &mut Layer| layer.weights = Array2::from_elem((2, 2), weight);
            params.layers.iter_mut().for_each(weights);
            state.best = Some(Best { epoch: 1, validation: score, params });
            let trained = finish(&state, &values, &batches, &mut work);
            assert_eq!(trained.outcome.status(), expected);
            assert_eq!(trained.model.is_some(), expected == "done");
        }
    }
}
