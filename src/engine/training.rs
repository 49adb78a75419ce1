//! The training of a plan: what its workers share, and what each does with a stage.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::data::batches::Batches;
use crate::engine::event::{Event, OnEvent};
use crate::engine::grid_results::GridResults;
use crate::engine::memory_use::too_large;
use crate::engine::plan::Plan;
use crate::engine::run_in_progress::{RunInProgress, SaveEvery, panic_on_purpose};
use crate::error::{Result, catch_panic, counted};
use crate::grid::begun::Begun;
use crate::grid::checkpoints::Checkpoints;
use crate::grid::run_folder::write_run;
use crate::grid::shared::SharedBatches;
use crate::grid::space::Run;
use crate::grid::stages::Stage;
use crate::grid::store::make_run_folder;
use crate::grid::workers::{StageEnd, TimeSpent, Worker, Workers, train_stages};
use crate::memory::Room;
use crate::train::checked::Checked;
use crate::train::outcome::Record;
use crate::train::provenance::Provenance;
use crate::train::reads::Step;
use crate::train::run::{Buffers, TrainState, Trained};

/// What the workers share.
pub(super) struct Training<'g> {
    pub(super) plan: &'g Plan<'g>,
    pub(super) indices: Vec<usize>, // of the plan's runs in the grid
    pub(super) results: &'g GridResults<'g>,
    pub(super) batches: SharedBatches,
    pub(super) checkpoints: &'g Checkpoints,
    pub(super) provenance: &'g Provenance,
    pub(super) save_every: SaveEvery,
    pub(super) keep_states: bool,                    // in which runs end
    pub(super) buffers: Vec<Mutex<Option<Buffers>>>, // of each worker
    pub(super) room: &'g Room,
    pub(super) begun: &'g Begun,
    pub(super) ended: Vec<AtomicBool>, // of each of the plan's runs: at its end or at the rung
    pub(super) writing: AtomicU64,     // nanoseconds of all workers
    pub(super) on_event: OnEvent<'g>,
}

impl Training<'_> {
    /// Trains all of it, or until `stop` says so.
    pub(super) fn run(&self, stop: &(dyn Fn() -> bool + Sync)) -> Result<TimeSpent> {
        let Plan { tree, workers, .. } = self.plan;
        let cost = |stage: &Stage| self.plan.epoch_cost(stage);
        let workers = Workers::up_to(*workers);
        if let Some(problem) = &workers.fewer_because {
            let count = counted(workers.count(), "worker");
            (self.on_event)(&Event::Warning(&format!("training with {count}: {problem}")));
        }
        let mut spent = train_stages(tree, &workers, &cost, stop, |worker, stage, run| {
            self.train_stage(worker, stage, run)
        })?;
        let writing = Duration::from_nanos(self.writing.load(Ordering::Relaxed)).as_secs_f64();
        spent.writing_share = writing / (spent.workers as f64 * spent.elapsed.as_secs_f64());
        Ok(spent)
    }

    /// Writes something, and adds how long that takes.
    fn write(&self, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let begun = Instant::now();
        let written = act();
        self.writing.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        written
    }

    /// The runs that pass through a stage and have not ended.
    fn runs_left(&self, stage: usize) -> Vec<usize> {
        let mut runs = self.plan.tree.runs_from(stage);
        runs.retain(|&run| !self.ended[run].load(Ordering::Relaxed));
        runs
    }

    /// Trains a stage epoch by epoch, until its end, or the worker is to leave it, or no run is left that
    /// could go on.
    fn train_stage(
        &self,
        worker: &Worker<'_, '_, RunInProgress>,
        index: usize,
        run: Option<RunInProgress>,
    ) -> Result<StageEnd<RunInProgress>> {
        let (stage, worker_index) = (&self.plan.tree.stages[index], worker.index);
        let Run { name, values } = self.plan.runs[stage.run];
        let (is_new, mut left) = (run.is_none(), self.runs_left(index));
        if left.is_empty() {
            (self.on_event)(&Event::EpochsSkipped(self.plan.tree.epochs_from(index)));
            return Ok(StageEnd::Over);
        }
        if let Some(reason) =
            is_new.then(|| too_large(values, self.plan.shape, self.room)).flatten()
        {
            return self.fail(index, &reason);
        }
        if is_new {
            let names: Vec<&str> = left.iter().map(|&run| &*self.plan.runs[run].name).collect();
            self.begun.note(worker_index, &names)?;
        }
        let (batches, mut run, mut work) =
            match catch_panic(|| self.prepare(worker_index, stage, run)) {
                Ok(prepared) => prepared?,
                Err(reason) => {
                    self.begun.forget(worker_index)?;
                    return self.fail(index, &reason);
                }
            };
        let stage_name = &self.plan.name(index);
        (self.on_event)(&Event::StageStarted { worker: worker_index, name: stage_name });
        let (mut leave, mut is_new) = (false, is_new);
        let mut is_over = self.finish_early(&mut left, &run, &batches, &mut work)?;
        while !is_over
            && let Some(row) = run.train_epoch((name, values), &batches, &mut work, stage.to)
        {
            let (epochs, row) = (values.epochs, &row);
            let trained =
                Event::EpochTrained { worker: worker_index, name: stage_name, epochs, row };
            (self.on_event)(&trained);
            if std::mem::take(&mut is_new) {
                self.begun.forget(worker_index)?;
            }
            leave = worker.epoch_trained();
            is_over = run.is_lost() || self.finish_early(&mut left, &run, &batches, &mut work)?;
            if is_over || run.state.step() == stage.to {
                break;
            }
            if leave || run.is_due(self.save_every) {
                self.save(index, &left, &mut run)?;
            }
            if leave {
                break;
            }
        }
        (self.on_event)(&Event::StageLeft { worker: worker_index });
        is_over |= run.is_lost();
        let end = if is_over {
            let trained = run.state.epoch().saturating_sub(stage.from.epochs_before());
            let skipped = self.plan.tree.epochs_from(index).saturating_sub(trained);
            (self.on_event)(&Event::EpochsSkipped(skipped));
            // What would go on from a lost run is lost too.
            left.iter().try_for_each(|&it| self.finish(it, &run, &batches, &mut work))?;
            StageEnd::Over
        } else if run.state.step() < stage.to {
            debug_assert!(leave, "nothing else stops it before its end");
            StageEnd::Preempted(run)
        } else {
            self.end_stage(index, &left, &mut run, (&batches, &mut work))?;
            StageEnd::Finished(run)
        };
        self.put_buffers(worker_index, work);
        Ok(end)
    }

    /// Writes what a stage leaves at its end: its runs that end there or stand at a rung, and the state from which
    /// others resume.
    fn end_stage(
        &self,
        index: usize,
        left: &[usize],
        run: &mut RunInProgress,
        (batches, work): (&Batches, &mut Buffers),
    ) -> Result<()> {
        let stage = &self.plan.tree.stages[index];
        let is_end =
            |it: &usize| run.state.step() >= Step::after(self.plan.runs[*it].values.epochs);
        let here = left.iter().copied().filter(|it| stage.ends.contains(it));
        let (ended, at_rung): (Vec<usize>, Vec<usize>) = here.partition(is_end);
        // Others resume from here, perhaps long after.
        let is_needed = !stage.children.is_empty() || !at_rung.is_empty();
        if is_needed && run.is_unsaved() {
            self.save(index, left, run)?;
        }
        for run_index in ended {
            self.finish(run_index, run, batches, work)?;
        }
        for run_index in at_rung {
            let values = &self.plan.runs[run_index].values;
            let epochs = stage.to.min(self.plan.until).epochs_before();
            let (trained, seconds) = run.at_rung(epochs, values);
            self.leave(run_index, &trained, seconds, run.provenance(values, self.provenance))?;
        }
        Ok(())
    }

    /// Ends those of the runs `left` whose patience ends them here; returns whether none is left then.
    fn finish_early(
        &self,
        left: &mut Vec<usize>,
        run: &RunInProgress,
        batches: &Batches,
        work: &mut Buffers,
    ) -> Result<bool> {
        let ends_here = |index: &mut usize| {
            let values = &self.plan.runs[*index].values;
            values.patience > 0 && values.parts().1.early_end(run.state.curve()).is_some()
        };
        for index in left.extract_if(.., ends_here) {
            self.finish(index, run, batches, work)?;
        }
        Ok(left.is_empty())
    }

    /// What a stage is trained with: its batches, its run and its buffers.
    ///
    /// # Panics
    /// Where there is no memory for them.
    fn prepare(
        &self,
        worker: usize,
        stage: &Stage,
        run: Option<RunInProgress>,
    ) -> Result<(Arc<Batches>, RunInProgress, Buffers)> {
        let of_stage = self.plan.runs[stage.run];
        panic_on_purpose(&format!("beginning of {}", of_stage.name));
        let batches = self.batches.get(of_stage)?;
        let run = run.map_or_else(|| self.start(stage, &of_stage.values, &batches), Ok)?;
        let at_hand = self.buffers[worker].lock().expect("no panic while holding it").take();
        let work = run.state.buffers(&batches, at_hand);
        Ok((batches, run, work))
    }

    /// The run before a root's first step: drawn, or saved before.
    fn start(&self, stage: &Stage, values: &Checked, batches: &Batches) -> Result<RunInProgress> {
        if let Some(saved) = stage.start {
            return self.checkpoints.load(saved, values).map(RunInProgress::resumed);
        }
        let (start, _) = values.parts();
        let (inputs, classes) = (batches.train.inputs(), batches.classes());
        Ok(RunInProgress::new(TrainState::drawn(&start, inputs, classes)))
    }

    fn save(&self, index: usize, left: &[usize], run: &mut RunInProgress) -> Result<()> {
        let stage = &self.plan.tree.stages[index];
        let of_stage = self.plan.runs[stage.run];
        let bytes = match run.bytes_to_save(&of_stage.values, self.provenance) {
            Ok(bytes) => bytes,
            Err(warning) => {
                (self.on_event)(&Event::Warning(&warning));
                return Ok(());
            }
        };
        let place = (self.indices[stage.run], stage.from);
        let runs: Vec<usize> = left.iter().map(|&run| self.indices[run]).collect();
        self.write(|| self.checkpoints.save(place, &runs, (run.state.step(), &bytes)))
    }

    /// Writes what a run leaves, by the state that its last stage left.
    fn finish(
        &self,
        index: usize,
        state: &RunInProgress,
        batches: &Batches,
        work: &mut Buffers,
    ) -> Result<()> {
        let values = &self.plan.runs[index].values;
        let (trained, seconds) = state.finish(values, batches, work, self.provenance);
        if self.keep_states && trained.model.is_some() {
            match state.bytes(values, self.provenance) {
                Ok(bytes) => self
                    .write(|| self.results.store.keep_final_state(self.plan.runs[index], &bytes))?,
                Err(warning) => (self.on_event)(&Event::Warning(&warning)),
            }
        }
        self.leave(index, &trained, seconds, state.provenance(values, self.provenance))
    }

    /// All runs of a stage that cannot be started fail. They keep their checkpoints: what is lacking may be there
    /// next time.
    fn fail(&self, stage: usize, reason: &str) -> Result<StageEnd<RunInProgress>> {
        (self.on_event)(&Event::EpochsSkipped(self.plan.tree.epochs_from(stage)));
        for run in self.runs_left(stage) {
            self.write_run(run, &Trained::failed(reason.into()), 0.0, self.provenance.clone())?;
        }
        Ok(StageEnd::Over)
    }

    /// Writes what a run leaves, and removes its checkpoints if it has ended. One that has failed is tried again.
    fn leave(
        &self,
        index: usize,
        trained: &Trained,
        seconds: f64,
        provenance: Provenance,
    ) -> Result<()> {
        self.write_run(index, trained, seconds, provenance)?;
        if !trained.outcome.is_end() {
            return Ok(());
        }
        self.write(|| self.checkpoints.let_go(&[self.indices[index]]))
    }

    fn write_run(
        &self,
        index: usize,
        trained: &Trained,
        seconds: f64,
        provenance: Provenance,
    ) -> Result<()> {
        let run = self.plan.runs[index];
        self.ended[index].store(true, Ordering::Relaxed);
        self.batches.give_back(run);
        let record = Record {
            run: run.name.clone(),
            values: run.values.clone(),
            outcome: trained.outcome.clone(),
            seconds,
            provenance,
        };
        let folder = self.results.store.run_folder(run);
        self.write(|| {
            make_run_folder(&folder)?;
            write_run(&folder, trained, &record)
        })?;
        let is_at_rung = record.outcome.is_stopped();
        let event = if is_at_rung { Event::RungReached } else { Event::RunFinished };
        (self.on_event)(&event(&record));
        self.write(|| self.results.add(self.indices[index], record))
    }

    fn put_buffers(&self, worker: usize, work: Buffers) {
        *self.buffers[worker].lock().expect("no panic while holding it") = Some(work);
    }
}
