//! Events that a training reports to its caller, and how the caller stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::plan::Plan;
use crate::train::outcome::Record;
use crate::train::score::CurveRow;

/// Something that happened while a run or a grid is trained. Workers count from 0. Later versions may
/// report more.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// What is about to be trained, and how many runs were finished before.
    Planned {
        /// What is left.
        plan: &'a Plan<'a>,
        /// Finished runs.
        finished: usize,
        /// The epoch to which they are trained; their ends if none.
        rung: Option<usize>,
    },
    /// A warning, one sentence; training continues.
    Warning(&'a str),
    /// A single run starts or resumes.
    RunStarted {
        /// Epochs that it was trained before.
        epochs_before: usize,
        /// Epochs that it has in all.
        epochs: usize,
    },
    /// A worker starts or resumes a stage.
    StageStarted {
        /// The worker.
        worker: usize,
        /// One of the stage's runs, and how many others there are.
        name: &'a str,
    },
    /// A worker has trained an epoch.
    EpochTrained {
        /// The worker.
        worker: usize,
        /// One of the stage's runs, and how many others there are.
        name: &'a str,
        /// How many epochs that run has.
        epochs: usize,
        /// The epoch.
        row: &'a CurveRow,
    },
    /// So many epochs need not be trained, because their runs diverged or failed.
    EpochsSkipped(usize),
    /// A worker has left its stage.
    StageLeft {
        /// The worker.
        worker: usize,
    },
    /// All runs have come to a rung of halving, and the best candidates go on.
    Halved {
        /// The epoch.
        rung: usize,
        /// How many candidates go on.
        kept: usize,
        /// Of so many.
        candidates: usize,
    },
    /// A run has come to a rung of halving, and its record so far is on the disk.
    RungReached(&'a Record),
    /// A run has finished, diverged or failed, and what it left is on the disk.
    RunFinished(&'a Record),
}

/// The closure that each [`Event`] is reported to: called from every worker's thread, several at once. A
/// worker waits until it returns.
pub type OnEvent<'a> = &'a (dyn Fn(&Event<'_>) + Sync);

/// A request to stop after the current epochs, which any thread or signal handler may make. Clones
/// make and see the same request.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Makes the request.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was made.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}
