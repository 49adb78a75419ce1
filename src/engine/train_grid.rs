//! Trains the unfinished runs of a grid in a results folder, rung by rung where it is halved, and ranks
//! what has finished.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use crate::data::dataset::Dataset;
use crate::data::shape::DataShape;
use crate::engine::event::{Event, Interrupt, OnEvent};
pub use crate::engine::grid_results::TOP_ROWS;
use crate::engine::grid_results::{GridResults, epochs_reached};
use crate::engine::plan::Plan;
use crate::engine::run_in_progress::SaveEvery;
use crate::engine::training::Training;
use crate::error::{Error, Place, Result, counted};
use crate::grid::begun::Begun;
use crate::grid::candidates::{Choice, check_rungs, choose};
use crate::grid::checkpoints::{Checkpoints, Found};
use crate::grid::growth::check_final_states;
use crate::grid::run_folder::{curve_of_run, problem_of_files, run_record};
use crate::grid::shared::SharedBatches;
use crate::grid::space::{Grid, Run};
use crate::grid::store::Store;
use crate::grid::workers::TimeSpent;
use crate::memory::Room;
use crate::network::kernels;
use crate::results::ranking::Ranking;
use crate::train::checked::Checked;
use crate::train::halving::{Halving, RungScore};
use crate::train::outcome::Record;
use crate::train::provenance::{Provenance, mixed};
use crate::train::reads::Step;

/// Between two looks at what other shards have left.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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
    /// After which epochs only the best candidates go on; without it, all runs are trained to their ends.
    /// A grid that was halved and is trained again without it ends with the bytes of one that never was.
    pub halving: Option<Halving>,
    /// Whether the states of runs that halving stops are removed. They are then trained from their first
    /// epoch if they are taken up again. Default false.
    pub discard_stopped: bool,
    /// Whether the states in which runs end are kept, so that a grid with more epochs goes on from them. Each
    /// run's `epochs` must then be a multiple of its `eval_every`. Default false.
    pub keep_states: bool,
}

impl Default for GridOptions {
    fn default() -> Self {
        Self {
            workers: 1,
            share_stages: true,
            save_every: SaveEvery::default(),
            halving: None,
            discard_stopped: false,
            keep_states: false,
        }
    }
}

/// What a grid came to, or this shard of it.
#[derive(Debug)]
pub struct GridEnd {
    /// Its finished runs, best test accuracy first, and after them what stands at a rung.
    pub ranking: Ranking,
    /// How many runs are neither finished nor stopped, because the training was interrupted or waits for
    /// other shards.
    pub left: usize,
    /// How many runs halving has stopped.
    pub stopped: usize,
    /// The shards that have not come to the rung at which this one waits, and are not at work.
    pub waits_for: Vec<usize>,
    /// How many runs in the folder were left out of the ranking, because their records are damaged, those of
    /// other shards, or because the grid does not have them.
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
/// let results = ResultsFolder::open(folder.path(), &grid, &data, false)?;
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
    let (dataset, runs) = (dataset.into(), &store.runs(grid)?[..]);
    store.note().into_iter().for_each(|warning| on_event(&Event::Warning(warning)));
    let provenance = Provenance::now(&dataset, Provenance::default())?;
    let shape = dataset.shape();
    grid.check_combinations(runs)?;
    grid.check_against(runs, shape)?;
    if let Some(halving) = &options.halving {
        check_rungs(halving, runs)?;
    }
    if options.keep_states {
        check_final_states(runs)?;
    }
    let mine = store.own_runs(runs.len());
    let is_halved = options.halving.is_some();
    let (records, left) = split_finished(runs, &mine, (store, is_halved), &provenance, on_event)?;
    let values: Vec<(usize, &Checked)> = left.iter().map(|&run| (run, &runs[run].values)).collect();
    let (sizes, pool) = ((shape.inputs, shape.classes), store.pool());
    let saved = (store.states(), store.saved()?);
    let (checkpoints, Found { warnings, provenances }) =
        Checkpoints::open(saved, pool.as_deref(), &values, sizes, &provenance)?;
    for warning in &warnings {
        on_event(&Event::Warning(warning));
    }
    if !left.is_empty() {
        warn_of_mixtures(&records, &provenances, &provenance, on_event);
    } else if let Some(warning) = kernels::unused(kernels_of(&records)) {
        on_event(&Event::Warning(&warning));
    }
    let (begun, ended_it) = store.begun()?;
    let results = GridResults::new(runs, store, grid, records);
    let training = Legs {
        runs,
        store,
        options,
        on_event,
        interrupt,
        left,
        provenance,
        checkpoints,
        begun,
        ended_it,
        shape,
        room: Room::now(),
        results: &results,
    };
    let trained = training.train(dataset);
    let stopped = trained.as_ref().map_or(0, |course| course.stopped);
    let left = mine.len() - results.count_ended() - stopped;
    // What has finished is ranked, whatever stopped the others.
    let ranked = results.write_at_end(interrupt.is_asked() && left > 0, on_event);
    let Course { spent, stopped, waits_for } = trained?;
    let left_out = ranked?;
    Ok(GridEnd { ranking: results.into_ranking(), left, stopped, waits_for, left_out, spent })
}

/// How the training of a grid went.
#[derive(Debug, Default)]
struct Course {
    spent: Option<TimeSpent>,
    stopped: usize,
    waits_for: Vec<usize>,
}

/// Everything that stays the same from rung to rung.
struct Legs<'g> {
    runs: &'g [Run],
    store: &'g Store,
    options: &'g GridOptions,
    on_event: OnEvent<'g>,
    interrupt: &'g Interrupt,
    left: Vec<usize>, // the runs to train here, in the order in which they are trained
    provenance: Provenance,
    checkpoints: Checkpoints,
    begun: Begun,
    ended_it: HashSet<String>, // runs with which an earlier process was killed
    shape: DataShape,
    room: Room,
    results: &'g GridResults<'g>,
}

impl Legs<'_> {
    /// Trains to each rung in turn, and what goes on from the last one to its end.
    fn train(&self, dataset: Arc<Dataset>) -> Result<Course> {
        let mut course = Course::default();
        let mut active: BTreeSet<usize> = (0..self.runs.len()).collect();
        if let Some(halving) = &self.options.halving {
            self.store.agree_on_halving(halving)?;
        }
        for &rung in self.options.halving.iter().flat_map(Halving::rungs) {
            let is_left = |run: &usize| active.contains(run) && !self.results.has_ended(*run);
            if !self.left.iter().any(is_left) {
                break; // No choice at a later rung concerns a run that is trained here.
            }
            self.train_leg(Arc::clone(&dataset), &active, Some(rung), &mut course)?;
            course.waits_for = self.wait_at(rung, &active)?;
            if self.interrupt.is_asked() || !course.waits_for.is_empty() {
                return Ok(course);
            }
            active = self.choose(rung, &active, &mut course)?;
        }
        self.train_leg(dataset, &active, None, &mut course)?;
        Ok(course)
    }

    /// Trains the active runs to a rung, or to their ends.
    fn train_leg(
        &self,
        dataset: Arc<Dataset>,
        active: &BTreeSet<usize>,
        rung: Option<usize>,
        course: &mut Course,
    ) -> Result<()> {
        let until = rung.map_or(Step::END, Step::after);
        let is_due = |run: &usize| {
            active.contains(run) && !self.results.has_reached(*run, rung.unwrap_or(usize::MAX))
        };
        let indices: Vec<usize> = self.left.iter().copied().filter(is_due).collect();
        if indices.is_empty() && rung.is_some() {
            return Ok(());
        }
        let runs: Vec<&Run> = indices.iter().map(|&run| &self.runs[run]).collect();
        let points = self.checkpoints.resume_points(indices.iter().copied());
        let batches = SharedBatches::new(dataset, runs.iter().copied());
        let GridOptions { workers, share_stages, save_every, keep_states, .. } = *self.options;
        let mut plan = Plan::new(runs, &points, (share_stages, until), workers, self.shape);
        if let Some(warning) = plan.fit(&self.room) {
            (self.on_event)(&Event::Warning(&warning));
        }
        plan.tree.put_last(|run| self.ended_it.contains(&plan.runs[run].name));
        let finished = self.results.count_ended();
        (self.on_event)(&Event::Planned { plan: &plan, finished, rung });
        if plan.runs.is_empty() {
            return Ok(());
        }
        let training = Training {
            plan: &plan,
            indices,
            results: self.results,
            batches,
            checkpoints: &self.checkpoints,
            provenance: &self.provenance,
            save_every,
            keep_states,
            ended: plan.runs.iter().map(|_| AtomicBool::new(false)).collect(),
            buffers: (0..plan.workers).map(|_| Mutex::new(None)).collect(),
            room: &self.room,
            begun: &self.begun,
            writing: AtomicU64::new(0),
            on_event: self.on_event,
        };
        let spent = training.run(&|| self.interrupt.is_asked())?;
        course.spent = Some(course.spent.map_or(spent, |before| before.and(spent)));
        Ok(())
    }

    /// Waits until all shards have come to a rung, for as long as those that have not are at work; returns
    /// those for which there is no use in waiting.
    fn wait_at(&self, rung: usize, active: &BTreeSet<usize>) -> Result<Vec<usize>> {
        let has_not_come = |run: &usize| !self.results.has_reached(*run, rung);
        let (mut has_told, mut missing) = (false, active.clone());
        missing.retain(has_not_come);
        while self.store.shard().is_some() && !self.interrupt.is_asked() {
            // Asked before their records are read: what one leaves at its end is seen.
            let at_work = self.store.shards_at_work()?;
            for run in missing.clone() {
                if self.has_left(run, rung)? {
                    missing.remove(&run);
                }
            }
            let late: BTreeSet<usize> =
                missing.iter().map(|&run| self.store.shard_of(run)).collect();
            let not_at_work: Vec<usize> = late.difference(&at_work).copied().collect();
            if !not_at_work.is_empty() || late.is_empty() {
                return Ok(not_at_work);
            }
            if !std::mem::replace(&mut has_told, true) {
                let shards = counted(late.len(), "other shard");
                (self.on_event)(&Event::Warning(&format!("waiting at epoch {rung} for {shards}")));
            }
            sleep(LOOK_EVERY);
        }
        Ok(Vec::new())
    }

    /// Whether a shard has left its run's score at a rung. What cannot be used, that shard trains again.
    ///
    /// # Errors
    /// Where the system does not let it be read.
    fn has_left(&self, run: usize, rung: usize) -> Result<bool> {
        let record = match run_record(self.store.root(), &self.runs[run]) {
            Err(Error::Input { .. }) => return Ok(false),
            read => read?.filter(|it| epochs_reached(&it.outcome) >= rung),
        };
        let Some(record) = record else { return Ok(false) };
        let folder = self.store.run_folder(&self.runs[run]);
        Ok(problem_of_files(&folder, &record, true)?.is_none())
    }

    /// The runs that go on from a rung.
    fn choose(
        &self,
        rung: usize,
        active: &BTreeSet<usize>,
        course: &mut Course,
    ) -> Result<BTreeSet<usize>> {
        let halving = self.options.halving.as_ref().expect("there is a rung");
        let runs: Vec<usize> = active.iter().copied().collect();
        let scores: Vec<Option<RungScore>> =
            runs.iter().map(|&run| self.score(run, rung)).collect::<Result<_>>()?;
        let values: Vec<&Checked> = runs.iter().map(|&run| &self.runs[run].values).collect();
        let Choice { kept, candidates, kept_candidates } =
            choose(halving, &values, rung, |run| scores[run]);
        (self.on_event)(&Event::Halved { rung, kept: kept_candidates, candidates });
        let kept = runs.into_iter().zip(kept).filter(|(_, goes_on)| *goes_on);
        let kept: BTreeSet<usize> = kept.map(|(run, _)| run).collect();
        let is_stopped = |run: &&usize| {
            active.contains(run) && !kept.contains(run) && !self.results.has_ended(**run)
        };
        let stopped: Vec<usize> = self.left.iter().filter(is_stopped).copied().collect();
        course.stopped += stopped.len();
        if self.options.discard_stopped {
            self.checkpoints.let_go(&stopped)?;
        }
        Ok(kept)
    }

    /// The score at a rung of a run that has come to it.
    fn score(&self, run: usize, rung: usize) -> Result<Option<RungScore>> {
        let (root, run) = (self.store.root(), &self.runs[run]);
        let folder = self.store.run_folder(run);
        let Some(record) = run_record(root, run)? else {
            return Err(Error::input(Place::file(folder), "has no run.toml any more")
                .hint("start the same command again"));
        };
        let curve = curve_of_run(&folder, &record)?;
        Ok(RungScore::of(&curve, record.outcome.diverged_in(), rung))
    }
}

/// A record, and the index of its run in the grid.
type Indexed = (usize, Record);

/// The records among `mine`, and the indices of the runs that have not finished, ordered so that those
/// which share batches follow each other and one set of these is alive. What stands at a rung is in both.
fn split_finished(
    runs: &[Run],
    mine: &[usize],
    (store, is_halved): (&Store, bool),
    provenance: &Provenance,
    on_event: OnEvent<'_>,
) -> Result<(Vec<Indexed>, Vec<usize>)> {
    let (mut records, mut left) = (Vec::new(), Vec::new());
    for &index in mine {
        let mut warn = |warning: &str| on_event(&Event::Warning(warning));
        // Who goes on from a rung is told by all curves.
        let record = store.finished(&runs[index], provenance, is_halved, &mut warn)?;
        if !record.as_ref().is_some_and(|record| record.outcome.is_end()) {
            left.push(index);
        }
        records.extend(record.map(|record| (index, record)));
    }
    left.sort_by_cached_key(|&index| runs[index].values.batching());
    Ok((records, left))
}

/// Reports why the kernels are what they are, and where what was trained before had others or came
/// from another version.
fn warn_of_mixtures(
    records: &[Indexed],
    of_checkpoints: &[Provenance],
    provenance: &Provenance,
    on_event: OnEvent<'_>,
) {
    if let Some(notice) = kernels::notice() {
        on_event(&Event::Warning(notice));
    }
    let of_records = records.iter().map(|(_, record)| &record.provenance);
    for warning in mixed(of_records.chain(of_checkpoints), Some(provenance)) {
        on_event(&Event::Warning(&warning));
    }
}

/// The kernels of each run, where its record names them.
fn kernels_of(records: &[Indexed]) -> impl Iterator<Item = &str> {
    records.iter().filter_map(|(_, record)| record.provenance.kernels())
}
