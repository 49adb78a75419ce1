//! What goes from one stage of a run to the next, and when it is saved on the way.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::data::batches::Batches;
use crate::error::{Result, catch_panic};
use crate::network::mlp::Workspace;
use crate::train::checkpoint::{Checkpoint, to_bytes};
use crate::train::hyperparams::Checked;
use crate::train::outcome::CurveRow;
use crate::train::provenance::joined;
use crate::train::run::{Position, TrainState, Trained, advance, finish};

/// How often a state is saved unless a user says otherwise.
const EVERY: Duration = Duration::from_secs(60);

/// When a state is due to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveEvery {
    /// After so much training since it was saved.
    Time(Duration),
    /// After so many epochs since it was saved.
    Epochs(usize),
}

impl SaveEvery {
    /// After so many epochs, or by default every minute.
    pub fn asked_for(epochs: Option<u32>) -> Self {
        epochs.map_or(Self::Time(EVERY), |epochs| Self::Epochs(epochs as usize))
    }
}

/// A run under way.
#[derive(Debug, Clone)]
pub struct Carried {
    /// Everything that training needs.
    pub state: TrainState,
    /// How long it has trained, evaluations included.
    pub seconds: f64,
    /// Why the state is not to be trusted.
    pub failure: Option<String>,
    earlier: Vec<(String, String)>, // the provenance that it was begun with, if in another process
    saved: (usize, f64),            // epochs and seconds when it was saved
}

/// Why [`Carried::advance`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It has taken all steps.
    AtTheEnd,
    /// It was told to.
    Asked,
    /// It has diverged or failed.
    Lost,
}

impl Carried {
    /// A run before its first step.
    pub fn new(state: TrainState) -> Self {
        Self { state, seconds: 0.0, failure: None, earlier: Vec::new(), saved: (0, 0.0) }
    }

    /// A run that was saved.
    pub fn saved(from: Checkpoint) -> Self {
        let saved = (from.state.epoch(), from.seconds);
        let (state, seconds, earlier) = (from.state, from.seconds, from.provenance);
        Self { state, seconds, failure: None, earlier, saved }
    }

    /// What it was trained with, from its begin on.
    pub fn provenance(&self, now: &[(String, String)]) -> Vec<(String, String)> {
        joined(&self.earlier, now)
    }

    /// Whether it has trained since it was saved.
    pub fn is_unsaved(&self) -> bool {
        self.state.epoch() > self.saved.0
    }

    /// Its bytes, to be saved now.
    pub fn bytes_to_save(&mut self, values: &Checked, provenance: &[(String, String)]) -> Vec<u8> {
        self.saved = (self.state.epoch(), self.seconds);
        to_bytes(values, &self.state, self.seconds, &self.provenance(provenance))
    }

    /// Takes the steps up to `until`, and calls `save` whenever it is due. `on_epoch` sees the row of
    /// each epoch and may break it off. A panic is a failure of the run.
    ///
    /// # Errors
    /// Those of `save`.
    pub fn advance(
        &mut self,
        (values, batches): (&Checked, &Batches),
        work: &mut Workspace,
        until: Position,
        every: SaveEvery,
        on_epoch: &mut dyn FnMut(&CurveRow) -> ControlFlow<()>,
        save: &mut dyn FnMut(&mut Self) -> Result<()>,
    ) -> Result<Stopped> {
        loop {
            let (begun, saved, before) = (Instant::now(), self.saved, self.seconds);
            let mut asked = false;
            let mut after_epoch = |row: &CurveRow| {
                asked = on_epoch(row).is_break();
                let due = match every {
                    SaveEvery::Epochs(epochs) => row.epoch - saved.0 >= epochs,
                    SaveEvery::Time(time) => {
                        before + begun.elapsed().as_secs_f64() >= saved.1 + time.as_secs_f64()
                    }
                };
                if asked || due { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let state = &mut self.state;
            let done = catch_panic(|| {
                advance(state, values, batches, work, until, &mut after_epoch).is_break()
            });
            self.seconds += begun.elapsed().as_secs_f64();
            self.failure = done.err();
            if self.failure.is_some() || self.state.has_diverged() {
                return Ok(Stopped::Lost);
            }
            if self.state.position() == until {
                return Ok(Stopped::AtTheEnd);
            }
            save(self)?;
            if asked {
                return Ok(Stopped::Asked);
            }
        }
    }

    /// Ends the run: what it leaves, and how long all of it took. A panic is a failure of the run.
    pub fn finish(
        &self,
        (values, batches): (&Checked, &Batches),
        work: &mut Workspace,
    ) -> (Trained, f64) {
        if let Some(reason) = &self.failure {
            return (Trained::failed(reason.clone()), self.seconds);
        }
        let begun = Instant::now();
        let finished = catch_panic(|| finish(&self.state, values, batches, work));
        let seconds = self.seconds + begun.elapsed().as_secs_f64();
        (finished.unwrap_or_else(Trained::failed), seconds)
    }
}
