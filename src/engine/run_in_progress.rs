//! A run between its first step and its last, with when it was saved and why it failed.

use std::time::{Duration, Instant};

use crate::data::batches::Batches;
use crate::error::catch_panic;
use crate::train::checked::Checked;
use crate::train::checkpoint::{Checkpoint, to_bytes};
use crate::train::provenance::Provenance;
use crate::train::reads::Step;
use crate::train::run::{Buffers, TrainState, Trained, finish, train_epoch};
use crate::train::score::CurveRow;

/// When a state is due to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveEvery {
    /// After so much training since it was saved.
    Time(Duration),
    /// After so many epochs since it was saved.
    Epochs(usize),
}

impl Default for SaveEvery {
    /// Every minute.
    fn default() -> Self {
        Self::Time(Duration::from_secs(60))
    }
}

/// A run in progress. Whoever holds it asks for one epoch after another, and saves it in between.
#[derive(Debug, Clone)]
pub struct RunInProgress {
    /// Everything that training needs.
    pub state: TrainState,
    seconds: f64,            // of training, evaluations included
    failure: Option<String>, // why the state is not to be trusted
    earlier: Provenance,     // what it was started with in another process
    saved: (usize, f64),     // epochs and seconds when it was saved
}

impl RunInProgress {
    /// A run before its first step.
    pub fn new(state: TrainState) -> Self {
        let earlier = Provenance::default();
        Self { state, seconds: 0.0, failure: None, earlier, saved: (0, 0.0) }
    }

    /// A run that was saved.
    pub fn resumed(from: Checkpoint) -> Self {
        let saved = (from.state.epoch(), from.seconds);
        let (state, seconds, earlier) = (from.state, from.seconds, from.provenance);
        Self { state, seconds, failure: None, earlier, saved }
    }

    /// Trains the next epoch before `until`, with its validation if that comes before it too, and
    /// returns its row. A panic is a failure of the run.
    pub fn train_epoch(
        &mut self,
        (name, values): (&str, &Checked),
        batches: &Batches,
        work: &mut Buffers,
        until: Step,
    ) -> Option<CurveRow> {
        let (start, steps) = values.parts();
        let (begun, state) = (Instant::now(), &mut self.state);
        let trained = catch_panic(|| {
            panic_on_purpose(name);
            train_epoch(state, (start.activation, &steps), batches, work, until).copied()
        });
        self.seconds += begun.elapsed().as_secs_f64();
        trained.unwrap_or_else(|reason| {
            self.failure = Some(reason);
            None
        })
    }

    /// Whether no further epoch can be trained.
    pub fn is_lost(&self) -> bool {
        self.failure.is_some() || self.state.has_diverged()
    }

    /// Whether it is to be saved now.
    pub fn is_due(&self, every: SaveEvery) -> bool {
        match every {
            SaveEvery::Epochs(epochs) => self.state.epoch() - self.saved.0 >= epochs,
            SaveEvery::Time(time) => self.seconds - self.saved.1 >= time.as_secs_f64(),
        }
    }

    /// Whether it could be saved and has trained since it was.
    pub fn is_unsaved(&self) -> bool {
        self.failure.is_none() && self.state.epoch() > self.saved.0
    }

    /// Its bytes, to be saved now.
    ///
    /// # Errors
    /// As [`RunInProgress::bytes`].
    pub fn bytes_to_save(&mut self, values: &Checked, now: &Provenance) -> Result<Vec<u8>, String> {
        let bytes = self.bytes(values, now)?;
        self.saved = (self.state.epoch(), self.seconds);
        Ok(bytes)
    }

    /// Its bytes, as a checkpoint has them.
    ///
    /// # Errors
    /// Where there is no memory for them, a sentence. Training goes on without them.
    pub fn bytes(&self, values: &Checked, now: &Provenance) -> Result<Vec<u8>, String> {
        let of_run = || to_bytes(values, &self.state, self.seconds, &self.provenance(values, now));
        catch_panic(of_run).map_err(|reason| format!("a checkpoint was not written: {reason}"))
    }

    /// What it was trained with, from its first epoch on.
    pub fn provenance(&self, values: &Checked, now: &Provenance) -> Provenance {
        self.earlier.resumed_by(&now.of_precision(values.precision))
    }

    /// What the run leaves at a rung, after so many epochs, and how long its training took.
    pub fn at_rung(&self, epochs: usize, values: &Checked) -> (Trained, f64) {
        (self.state.at_rung(epochs, values.on_tie), self.seconds)
    }

    /// What the run leaves after its last step, and how long all of it took. A panic is a failure of
    /// the run.
    pub fn finish(
        &self,
        values: &Checked,
        batches: &Batches,
        work: &mut Buffers,
        now: &Provenance,
    ) -> (Trained, f64) {
        if let Some(reason) = &self.failure {
            return (Trained::failed(reason.clone()), self.seconds);
        }
        let begun = Instant::now();
        let finished = catch_panic(|| finish(&self.state, values, batches, work));
        let seconds = self.seconds + begun.elapsed().as_secs_f64();
        let mut trained = finished.unwrap_or_else(Trained::failed);
        if let Some(model) = &mut trained.model {
            model.trained_on = now.trained_on(values);
        }
        (trained, seconds)
    }
}

/// For the tests, and not in a release: what `ROOKIE_PANIC_IN` names panics, a run or its beginning.
#[expect(clippy::disallowed_methods, reason = "a test sets the variable")]
pub(super) fn panic_on_purpose(run: &str) {
    let named = || std::env::var("ROOKIE_PANIC_IN").is_ok_and(|name| name == run);
    assert!(!cfg!(debug_assertions) || !named(), "on purpose");
}
