//! Trains the unfinished runs of a grid in a results folder, and ranks what has finished.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::data::batches::Batches;
use crate::data::dataset::Dataset;
use crate::engine::event::{Event, Interrupt, OnEvent};
use crate::engine::memory_use::too_large;
use crate::engine::plan::Plan;
use crate::engine::run_in_progress::{RunInProgress, SaveEvery};
use crate::error::Result;
use crate::grid::begun::Begun;
use crate::grid::checkpoints::{Checkpoints, Found};
use crate::grid::run_folder::write_run;
use crate::grid::saved::read_saved;
use crate::grid::shared::SharedBatches;
use crate::grid::space::{Grid, Run};
use crate::grid::stages::Stage;
use crate::grid::store::{Store, clear_states, make_run_folder};
use crate::grid::workers::{StageEnd, TimeSpent, Worker, train_stages};
use crate::memory::Room;
use crate::network::kernels;
use crate::results::columns::Columns;
use crate::results::ranking::{By, Ranking};
use crate::results::read::read_records;
use crate::train::checked::Checked;
use crate::train::outcome::Record;
use crate::train::provenance::{Provenance, mixed};
use crate::train::run::{Buffers, TrainState, Trained};

/// How many rows `top10.md` has.
pub const TOP_ROWS: usize = 10;
/// Between two writings of the ranking while runs finish.
const RANK_EVERY: Duration = Duration::from_secs(1);

/// How a grid is trained. No choice here changes a byte of its results.
///
/// ```
/// let mut options = rookie::GridOptions::default();
/// options.workers = rookie::default_workers();
/// options.save_every = rookie::SaveEvery::Epochs(10);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GridOptions {
    /// Worker threads, from 1; there are never more than runs. Default 1.
    pub workers: usize,
    /// Whether epochs that runs share are trained once. Default true.
    pub share_stages: bool,
    /// How often a run in progress is saved. Default every minute.
    pub save_every: SaveEvery,
}

impl Default for GridOptions {
    fn default() -> Self {
        Self { workers: 1, share_stages: true, save_every: SaveEvery::default() }
    }
}

/// What a grid came to, or this shard of it.
#[derive(Debug)]
pub struct GridEnd {
    /// Its finished runs, best test accuracy first.
    pub ranking: Ranking,
    /// How many runs are not finished, because the training was interrupted.
    pub left: usize,
    /// How many runs of other shards were left out of the ranking, because their records are damaged or
    /// do not belong.
    pub left_out: usize,
    /// How the workers spent their time; `None` where nothing was left to train.
    pub spent: Option<TimeSpent>,
}

/// Trains the unfinished runs of a grid in the results folder that `store` was opened for, or of its shard.
/// Finished runs are kept, others resume from their checkpoints. The data are dropped as soon as all
/// batches are made, unless the caller keeps a reference to them.
///
/// # Errors
/// Where a run does not go with the data, where what is there belongs to other data, or where results
/// cannot be written. What has finished is kept and ranked, and the same call resumes the rest.
///
/// ```
/// use rookie::ndarray::Array3;
/// use rookie::{Dataset, Grid, GridOptions, Interrupt, Labelled, ResultsFolder, train_grid};
///
/// let labels: Vec<u8> = (0..40).map(|image| image % 2).collect();
/// let images = Array3::from_shape_fn((40, 2, 2), |(image, ..)| 255 * labels[image]);
/// let images = Labelled::new(images.view(), &labels)?;
/// let data = Dataset::new(images.clone(), images)?;
/// let grid = Grid::from_toml(
///     "[values]\nepochs = 2\nbatch_size = 10\nvalidation_size = 10\nhidden = [4]\n\
///      [axes]\nlearning_rate = [0.2, 0.1]",
/// )?;
/// let folder = tempfile::tempdir().unwrap();
/// let results = ResultsFolder::open(folder.path(), &grid, false)?;
/// let (options, interrupt) = (GridOptions::default(), Interrupt::default());
/// let end = train_grid(&grid, data, &results, &options, &|_| {}, &interrupt)?;
/// assert_eq!((end.ranking.records().len(), end.left), (2, 0));
/// assert!(folder.path().join("ranking.csv").exists());
/// # Ok::<(), rookie::Error>(())
/// ```
pub fn train_grid(
    grid: &Grid,
    dataset: impl Into<Arc<Dataset>>,
    store: &Store,
    options: &GridOptions,
    on_event: OnEvent<'_>,
    interrupt: &Interrupt,
) -> Result<GridEnd> {
    let (dataset, runs) = (dataset.into(), &grid.runs()?[..]);
    store.warning().into_iter().for_each(|warning| on_event(&Event::Warning(warning)));
    let provenance = Provenance::now(&dataset, Provenance::default())?;
    let shape = dataset.shape();
    grid.check_combinations(runs)?;
    grid.check_against(runs, shape)?;
    let mine = store.own_runs(runs.len());
    let (finished, indices) = split_finished(runs, &mine, store, &provenance, on_event)?;
    let left: Vec<&Run> = indices.iter().map(|&run| &runs[run]).collect();
    let values: Vec<&Checked> = left.iter().map(|run| &run.values).collect();
    let (sizes, pool) = ((shape.inputs, shape.classes), store.pool());
    let saved = (store.states(), read_saved(&store.states())?);
    let (checkpoints, Found { starts, warnings, provenances }) =
        Checkpoints::open(saved, pool.as_deref(), &values, sizes, &provenance)?;
    for warning in &warnings {
        on_event(&Event::Warning(warning));
    }
    if !left.is_empty() {
        warn_of_mixtures(&finished, &provenances, &provenance, on_event);
    } else if let Some(warning) = kernels::unused(kernels_of(&finished)) {
        on_event(&Event::Warning(&warning));
    }
    let batches = SharedBatches::new(dataset, left.iter().copied());
    let mut plan = Plan::new(left, &starts, options.share_stages, options.workers, shape);
    let room = Room::now();
    if let Some(warning) = plan.fit(&room) {
        on_event(&Event::Warning(&warning));
    }
    let (begun, ended_it) = store.begun()?;
    plan.tree.put_last(|run| ended_it.contains(&plan.runs[run].name));
    on_event(&Event::Planned { plan: &plan, finished: finished.len() });
    let columns = Columns::new(runs.iter().map(|run| &*run.values), &grid.varying());
    let ranking = Mutex::new(Ranking::new(finished, columns, By::Test));
    let results = Results { runs, store, ranking, written: Mutex::new(None) };
    let trained = if plan.runs.is_empty() {
        Ok(None)
    } else {
        let buffers = (0..plan.workers).map(|_| Mutex::new(None)).collect();
        let (plan, results, save_every) = (&plan, &results, options.save_every);
        let training = Training {
            plan,
            indices,
            results,
            batches,
            checkpoints,
            provenance,
            save_every,
            buffers,
            room,
            begun,
            writing: AtomicU64::new(0),
            on_event,
        };
        training.run(interrupt).map(Some)
    };
    // What has finished is ranked, whatever stopped the others.
    let ranked = results.write_at_end(interrupt, on_event);
    let spent = trained?;
    let left_out = ranked?;
    let ranking = results.ranking.into_inner().expect("no panic while holding it");
    let left = mine.len() - ranking.records().len();
    Ok(GridEnd { ranking, left, left_out, spent })
}

/// The finished runs among `mine`, and the indices of the others, ordered so that those which share
/// batches follow each other and one set of these is alive.
fn split_finished(
    runs: &[Run],
    mine: &[usize],
    store: &Store,
    provenance: &Provenance,
    on_event: OnEvent<'_>,
) -> Result<(Vec<Record>, Vec<usize>)> {
    let (mut finished, mut left) = (Vec::new(), Vec::new());
    for &index in mine {
        let mut warn = |warning: &str| on_event(&Event::Warning(warning));
        match store.finished(&runs[index], provenance, &mut warn)? {
            Some(record) => finished.push(record),
            None => left.push(index),
        }
    }
    left.sort_by_cached_key(|&index| runs[index].values.batching());
    Ok((finished, left))
}

/// Reports why the kernels are what they are, and where what was trained before had others or came
/// from another version.
fn warn_of_mixtures(
    finished: &[Record],
    of_checkpoints: &[Provenance],
    provenance: &Provenance,
    on_event: OnEvent<'_>,
) {
    if let Some(notice) = kernels::notice() {
        on_event(&Event::Warning(notice));
    }
    let of_finished = finished.iter().map(|record| &record.provenance);
    for warning in mixed(of_finished.chain(of_checkpoints), Some(provenance)) {
        on_event(&Event::Warning(&warning));
    }
}

/// The kernels of each run, where its record names them.
fn kernels_of(records: &[Record]) -> impl Iterator<Item = &str> {
    records.iter().filter_map(|record| record.provenance.kernels())
}

/// What has finished, and its ranking on the disk.
struct Results<'g> {
    runs: &'g [Run],
    store: &'g Store,
    ranking: Mutex<Ranking>,
    written: Mutex<Option<Instant>>, // when the ranking was
}

impl Results<'_> {
    fn ranking(&self) -> MutexGuard<'_, Ranking> {
        self.ranking.lock().expect("no panic while holding it")
    }

    /// Takes a run whose record is on the disk, and writes the ranking of all finished ones. Once a
    /// second is enough: short runs finish faster than a disk takes them in.
    fn add(&self, record: Record) -> Result<()> {
        self.ranking().add(record);
        if self.store.shard().is_some() {
            return Ok(()); // ranked at the end, with those of the other shards
        }
        let mut written = self.written.lock().expect("no panic while holding it");
        if written.is_none_or(|at| at.elapsed() >= RANK_EVERY) {
            write_ranking(self.store, &self.ranking())?;
            *written = Some(Instant::now());
        }
        Ok(())
    }

    /// Returns how many runs were left out.
    fn write_at_end(&self, interrupt: &Interrupt, on_event: OnEvent<'_>) -> Result<usize> {
        match self.store.shard() {
            None => write_ranking(self.store, &self.ranking()).map(|()| 0),
            // No time to wait for its turn.
            Some(_) if interrupt.is_asked() => Ok(0),
            Some(_) => self.store.in_turn(|| self.write_of_all_shards(on_event)),
        }
    }

    /// Ranks what all shards have left. Each does so after its own runs and in its turn, so the last
    /// one writes the whole, and removes checkpoints that no run needs any more. Records that cannot be
    /// used are set aside by the shard that trains their runs, and left out here.
    fn write_of_all_shards(&self, on_event: OnEvent<'_>) -> Result<usize> {
        let (records, left_out) = read_records(self.store.root(), self.runs)?;
        let records: Vec<Record> = records.into_iter().flatten().collect();
        let mixed = mixed(records.iter().map(|record| &record.provenance), None);
        for warning in left_out.iter().chain(&mixed) {
            on_event(&Event::Warning(warning));
        }
        let is_complete = records.len() == self.runs.len();
        let columns = self.ranking().columns().clone();
        write_ranking(self.store, &Ranking::new(records, columns, By::Test))?;
        self.store.pool().filter(|_| is_complete).map_or(Ok(()), |pool| clear_states(&pool))?;
        Ok(left_out.len())
    }
}

/// Writes a ranking into the results folder.
fn write_ranking(store: &Store, ranking: &Ranking) -> Result<()> {
    let settings = ranking.has_repeats().then(|| ranking.settings_csv());
    store.write_ranking(&ranking.csv(usize::MAX), &ranking.markdown(TOP_ROWS), settings.as_deref())
}

/// What the workers share.
struct Training<'g> {
    plan: &'g Plan<'g>,
    indices: Vec<usize>, // of the plan's runs in the grid
    results: &'g Results<'g>,
    batches: SharedBatches,
    checkpoints: Checkpoints,
    provenance: Provenance,
    save_every: SaveEvery,
    buffers: Vec<Mutex<Option<Buffers>>>, // of each worker
    room: Room,
    begun: Begun,
    writing: AtomicU64, // nanoseconds of all workers
    on_event: OnEvent<'g>,
}

impl Training<'_> {
    fn run(&self, interrupt: &Interrupt) -> Result<TimeSpent> {
        let Plan { tree, workers, .. } = self.plan;
        let cost = |stage: &Stage| self.plan.epoch_cost(stage);
        let stop = || interrupt.is_asked();
        let mut spent = train_stages(tree, *workers, &cost, &stop, |worker, stage, run| {
            self.train_stage(worker, stage, run)
        })?;
        let writing = Duration::from_nanos(self.writing.load(Ordering::Relaxed)).as_secs_f64();
        spent.writing_share = writing / (*workers as f64 * spent.elapsed.as_secs_f64());
        Ok(spent)
    }

    /// Writes something, and adds how long that takes.
    fn write(&self, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let begun = Instant::now();
        let written = act();
        self.writing.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        written
    }

    /// Trains a stage epoch by epoch, until its end, or the worker is to leave it, or it is lost.
    fn train_stage(
        &self,
        worker: &Worker<'_, '_, RunInProgress>,
        index: usize,
        run: Option<RunInProgress>,
    ) -> Result<StageEnd<RunInProgress>> {
        let (stage, worker_index) = (&self.plan.tree.stages[index], worker.index);
        let Run { name, values } = self.plan.runs[stage.run];
        let is_new = run.is_none();
        if let Some(reason) =
            is_new.then(|| too_large(values, self.plan.shape, &self.room)).flatten()
        {
            return self.fail(index, &reason);
        }
        if is_new {
            let runs = self.plan.tree.runs_from(index);
            let names: Vec<&str> = runs.iter().map(|&run| &*self.plan.runs[run].name).collect();
            self.begun.note(worker_index, &names)?;
        }
        let batches = self.batches.get(self.plan.runs[stage.run])?;
        let mut run = match run {
            Some(run) => run,
            None => self.start(stage, values, &batches),
        };
        let stage_name = &self.plan.name(index);
        (self.on_event)(&Event::StageStarted { worker: worker_index, name: stage_name });
        let mut work = self.take_buffers(worker_index, &run.state, &batches);
        let (mut leave, mut is_new) = (false, is_new);
        while let Some(row) = run.train_epoch((name, values), &batches, &mut work, stage.to) {
            let (epochs, row) = (values.epochs, &row);
            let trained =
                Event::EpochTrained { worker: worker_index, name: stage_name, epochs, row };
            (self.on_event)(&trained);
            if std::mem::take(&mut is_new) {
                self.begun.forget(worker_index)?;
            }
            leave = worker.epoch_trained();
            if run.is_lost() || run.state.step() == stage.to {
                break;
            }
            if leave || run.is_due(self.save_every) {
                self.save(index, &mut run)?;
            }
            if leave {
                break;
            }
        }
        self.put_buffers(worker_index, work);
        (self.on_event)(&Event::StageLeft { worker: worker_index });
        if run.is_lost() {
            let trained = run.state.epoch() - stage.from.epochs_before();
            let skipped = self.plan.tree.epochs_from(index).saturating_sub(trained);
            (self.on_event)(&Event::EpochsSkipped(skipped));
            for run_index in self.plan.tree.runs_from(index) {
                self.finish(worker_index, run_index, &run)?;
            }
            return Ok(StageEnd::Lost);
        }
        if run.state.step() < stage.to {
            debug_assert!(leave, "nothing else stops it before its end");
            return Ok(StageEnd::Preempted(run));
        }
        // Others resume from here, perhaps long after.
        if !stage.children.is_empty() && run.is_unsaved() {
            self.save(index, &mut run)?;
        }
        for &run_index in &stage.ends {
            self.finish(worker_index, run_index, &run)?;
        }
        Ok(StageEnd::Finished(run))
    }

    /// The run before a root's first step: drawn, or saved before.
    fn start(&self, stage: &Stage, values: &Checked, batches: &Batches) -> RunInProgress {
        if let Some(saved) = stage.start {
            return RunInProgress::resumed(self.checkpoints.load(saved));
        }
        let (start, _) = values.parts();
        let (inputs, classes) = (batches.train.inputs(), batches.classes);
        RunInProgress::new(TrainState::drawn(&start, inputs, classes))
    }

    fn save(&self, index: usize, run: &mut RunInProgress) -> Result<()> {
        let stage = &self.plan.tree.stages[index];
        let of_stage = self.plan.runs[stage.run];
        let bytes = run.bytes_to_save(&of_stage.values, &self.provenance);
        let place = (self.indices[stage.run], stage.from);
        let runs = self.plan.tree.runs_from(index);
        self.write(|| self.checkpoints.save(place, &runs, &bytes))
    }

    /// Writes what a run leaves, by the state that its last stage left.
    fn finish(&self, worker: usize, index: usize, state: &RunInProgress) -> Result<()> {
        let run = self.plan.runs[index];
        let batches = self.batches.get(run)?;
        let mut work = self.take_buffers(worker, &state.state, &batches);
        let (trained, seconds) = state.finish(&run.values, &batches, &mut work);
        self.put_buffers(worker, work);
        drop(batches);
        self.leave(index, &trained, seconds, state.provenance(&run.values, &self.provenance))
    }

    /// All runs of a stage that cannot be started fail.
    fn fail(&self, stage: usize, reason: &str) -> Result<StageEnd<RunInProgress>> {
        (self.on_event)(&Event::EpochsSkipped(self.plan.tree.epochs_from(stage)));
        for run in self.plan.tree.runs_from(stage) {
            self.leave(run, &Trained::failed(reason.into()), 0.0, self.provenance.clone())?;
        }
        Ok(StageEnd::Lost)
    }

    /// Writes what a run leaves.
    fn leave(
        &self,
        index: usize,
        trained: &Trained,
        seconds: f64,
        provenance: Provenance,
    ) -> Result<()> {
        let run = self.plan.runs[index];
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
        (self.on_event)(&Event::RunFinished(&record));
        self.write(|| {
            self.results.add(record)?;
            self.checkpoints.let_go(&[index])
        })
    }

    /// The worker's buffers, made to fit a state.
    fn take_buffers(&self, worker: usize, state: &TrainState, batches: &Batches) -> Buffers {
        let at_hand = self.buffers[worker].lock().expect("no panic while holding it").take();
        state.buffers(batches, at_hand)
    }

    fn put_buffers(&self, worker: usize, work: Buffers) {
        *self.buffers[worker].lock().expect("no panic while holding it") = Some(work);
    }
}
