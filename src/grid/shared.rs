//! The standardised batches of a grid: each split made once, on first use, shared by all workers,
//! and dropped after its last run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::data::batches::{Batches, Batching};
use crate::data::dataset::Dataset;
use crate::error::Result;
use crate::grid::space::Run;

/// One split: the runs that still need it, and its batches once someone has.
#[derive(Debug, Default)]
struct Slot {
    runs_left: usize,
    batches: Arc<OnceLock<Arc<Batches>>>,
}

/// All splits of a grid. The raw images are dropped as soon as every split is made.
#[derive(Debug)]
pub(crate) struct SharedBatches {
    dataset: Mutex<Option<Arc<Dataset>>>,
    slots: Mutex<HashMap<Batching, Slot>>,
}

impl SharedBatches {
    /// For these runs, of which each gives its batches back once, when it has ended.
    pub(crate) fn new<'a>(dataset: Arc<Dataset>, runs: impl Iterator<Item = &'a Run>) -> Self {
        let mut slots: HashMap<Batching, Slot> = HashMap::new();
        for run in runs {
            slots.entry(run.values.batching()).or_default().runs_left += 1;
        }
        Self { dataset: Mutex::new(Some(dataset)), slots: Mutex::new(slots) }
    }

    /// The batches of a run; the first to ask makes them, others that ask meanwhile wait.
    ///
    /// # Errors
    /// Where the validation set leaves no training image.
    pub(crate) fn get(&self, run: &Run) -> Result<Arc<Batches>> {
        let key = run.values.batching();
        let slot = {
            let slots = self.slots.lock().expect("no panic while holding it");
            Arc::clone(&slots.get(&key).expect("a run of this grid").batches)
        };
        if let Some(batches) = slot.get() {
            return Ok(Arc::clone(batches));
        }
        // Held while making them, so that two splits are not made at once. Where that panics for lack of
        // memory, nothing is changed, and another run's split may be smaller.
        let mut dataset = self.dataset.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.get().is_none() {
            let images = dataset.as_ref().expect("kept until every split is made");
            let batches = Batches::new(images, key)?;
            slot.set(Arc::new(batches)).expect("made under the lock");
            let slots = self.slots.lock().expect("no panic while holding it");
            if slots.values().all(|slot| slot.batches.get().is_some()) {
                *dataset = None;
            }
        }
        Ok(Arc::clone(slot.get().expect("just made")))
    }

    /// Says that a run needs its batches no more.
    pub(crate) fn give_back(&self, run: &Run) {
        let key = run.values.batching();
        let mut slots = self.slots.lock().expect("no panic while holding it");
        let slot = slots.get_mut(&key).expect("a run of this grid");
        slot.runs_left -= 1;
        if slot.runs_left == 0 {
            slots.remove(&key);
        }
    }
}
