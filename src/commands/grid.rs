//! `rookie grid`: plan, check, train in parallel, rank.

use std::any::Any;
use std::collections::HashSet;
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdin, stdout};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::bench::{Probe, flops_per_sample};
use crate::cli::GridArgs;
use crate::commands::common::{
    Status, check_against, default_folder, load, overrides, print, same_data, say_data,
};
use crate::data::dataset::Dataset;
use crate::error::{Error, Place, Result, counted};
use crate::grid::scheduler::{default_workers, work_through};
use crate::grid::shared::{BatchKey, SharedBatches};
use crate::grid::space::{Grid, Run};
use crate::grid::store::{self, Store, write_run};
use crate::network::gemm::openblas;
use crate::progress::{Progress, Totals, duration, say};
use crate::report::ranking::{By, Columns, Entry, Ranking};
use crate::signals;
use crate::train::outcome::{CurveRow, Outcome, Record};
use crate::train::provenance;
use crate::train::run::{TrainState, Trained, train_to_end};

/// How many rows the printed ranking and `top10.md` have.
const TOP: usize = 10;
/// How many batches the measurement of a dry run has.
const PROBE_BATCHES: usize = 4;
/// Between two writings of the ranking while runs end.
const RANK_EVERY: Duration = Duration::from_secs(1);

/// Trains a grid.
///
/// # Errors
/// Where the grid, the data or the results folder are not as they must be, or writing fails.
pub fn run(args: &GridArgs) -> Result<Status> {
    let mut grid = Grid::find(&args.grid)?;
    for axis in overrides(&args.flags, &args.assignments)? {
        grid.set(axis);
    }
    let runs = grid.runs()?;
    let root = args.out.clone().unwrap_or_else(|| default_folder(&grid.name));
    openblas()?;
    let dataset = load(args.data.data.as_deref())?;
    runs.iter().try_for_each(|run| check_against(&dataset, &run.values))?;
    let workers = args.jobs.map_or_else(default_workers, usize::from);
    if args.dry_run {
        return dry_run(&grid, &runs, &dataset, workers);
    }
    if args.fresh && !may_start_over(&root, args)? {
        return Ok(Status::SomethingFailed);
    }
    let store = Store::open(&root, &grid, args.fresh)?;
    Campaign::begin(&grid, &runs, store, dataset)?.train(workers)
}

/// A grid under way: what the workers share.
struct Campaign<'g> {
    runs: &'g [Run],
    left: Vec<&'g Run>, // what had not ended when it began
    columns: Columns,
    store: Store,
    batches: SharedBatches,
    provenance: Vec<(String, String)>,
    images: usize,
    ended: Mutex<Vec<Entry>>,
    written: Mutex<Option<Instant>>, // when the ranking was
}

impl<'g> Campaign<'g> {
    /// Looks which runs have ended before.
    fn begin(grid: &Grid, runs: &'g [Run], store: Store, dataset: Dataset) -> Result<Self> {
        let provenance = provenance::lines(&dataset)?;
        let mut ended = Vec::new();
        for run in runs {
            if let Some(record) = store.finished(run)? {
                if !same_data(&record.provenance, &provenance) {
                    let place = Place::file(store.run_folder(run));
                    return Err(Error::input(place, "was trained on other data").hint(
                        "name the same data with --data, start over with --fresh, or use another \
                         --out",
                    ));
                }
                ended.push(Entry { run: run.name.clone(), record });
            }
        }
        say_data(&dataset);
        let names: HashSet<&str> = ended.iter().map(|entry| &entry.run[..]).collect();
        let left: Vec<&Run> = runs.iter().filter(|run| !names.contains(&run.name[..])).collect();
        let images = dataset.train.len();
        let batches = SharedBatches::new(Arc::new(dataset), left.iter().copied());
        let columns = Columns::new(runs.iter().map(|run| &*run.values), &grid.varying());
        let (ended, written) = (Mutex::new(ended), Mutex::new(None));
        Ok(Self { runs, left, columns, store, batches, provenance, images, ended, written })
    }

    fn train(&self, workers: usize) -> Result<Status> {
        let mut left = self.left.clone();
        // Runs that share their batches follow each other, so that one set of them is alive.
        left.sort_by_key(|run| BatchKey::of(&run.values));
        let before = self.runs.len() - left.len();
        say(&match before {
            0 => format!(
                "training {} with {}",
                counted(left.len(), "run"),
                counted(workers, "worker")
            ),
            _ => format!(
                "{before} of {} runs have ended before; {} left",
                self.runs.len(),
                left.len()
            ),
        });
        signals::install()?;
        if left.is_empty() {
            self.write_ranking(true)?;
        } else {
            let epochs = left.iter().map(|run| run.values.epochs).sum();
            let images = self.images - left[0].values.validation_size;
            let progress = Progress::begin(Totals { runs: left.len(), epochs, images }, workers);
            let stop = || signals::caught().is_some();
            let trained = work_through(workers, &left, &stop, |worker, run, must_stop| {
                self.train_and_keep(worker, run, must_stop, &progress)
            });
            drop(progress);
            // What has ended is ranked, whatever stopped the others.
            trained.and(self.write_ranking(true))?;
        }
        self.conclude()
    }

    /// Trains a run to its end, writes it, and ranks it; an interrupted one leaves nothing.
    fn train_and_keep(
        &self,
        worker: usize,
        run: &Run,
        must_stop: &dyn Fn() -> bool,
        progress: &Progress,
    ) -> Result<()> {
        progress.run_begins(worker, &run.name);
        let begun = Instant::now();
        let mut on_epoch = |row: &CurveRow| {
            progress.epoch(worker, &run.name, run.values.epochs, row);
            if must_stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let batches = self.batches.take(run)?;
        let attempt = || {
            let state = TrainState::drawn(&run.values, &batches);
            let state = state.expect("the size was checked against the data");
            train_to_end(state, &run.values, &batches, &mut on_epoch)
        };
        let trained = catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|panic| {
            let reason = format!("panicked: {}", text_of(&*panic));
            Ok(Trained { outcome: Outcome::Failed { reason }, curve: Vec::new(), model: None })
        });
        drop(batches);
        self.batches.give_back(run);
        let Ok(Trained { outcome, curve, model }) = trained else { return Ok(()) };
        progress.run_ends(worker, run.values.epochs - curve.len());
        match &outcome {
            Outcome::Done(_) => {}
            Outcome::Diverged { epoch } => {
                progress.say(&format!("{} diverged in epoch {epoch}", run.name));
            }
            Outcome::Failed { reason } => progress.say(&format!("{} failed: {reason}", run.name)),
        }
        let record = Record {
            values: run.values.clone(),
            outcome,
            seconds: begun.elapsed().as_secs_f64(),
            provenance: self.provenance.clone(),
        };
        write_run(&self.store.run_folder(run), &curve, model.as_ref(), &record)?;
        self.ended
            .lock()
            .expect("no panic while holding it")
            .push(Entry { run: run.name.clone(), record });
        self.write_ranking(false)
    }

    fn ranking(&self) -> Ranking {
        let ended = self.ended.lock().expect("no panic while holding it");
        Ranking::new(ended.clone(), self.columns.clone(), By::Test)
    }

    /// Writes what has ended so far, one worker at a time. In between, once a second is enough:
    /// short runs end faster than a disk takes them in.
    fn write_ranking(&self, at_the_end: bool) -> Result<()> {
        let mut written = self.written.lock().expect("no panic while holding it");
        if !at_the_end && written.is_some_and(|at| at.elapsed() < RANK_EVERY) {
            return Ok(());
        }
        let ranking = self.ranking();
        let settings = ranking.has_repeats().then(|| ranking.settings_csv());
        self.store.write_ranking(
            &ranking.csv(usize::MAX),
            &ranking.markdown(TOP),
            settings.as_deref(),
        )?;
        *written = Some(Instant::now());
        Ok(())
    }

    /// Prints the ranking and tells where everything is.
    fn conclude(&self) -> Result<Status> {
        let ranking = self.ranking();
        let printed =
            if ranking.entries().is_empty() { Ok(()) } else { print(&ranking.describe(TOP)) };
        let status = self.tell(&ranking);
        match printed {
            // The reader is gone, but how the grid came out still counts.
            Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(status),
            printed => printed.map(|()| status),
        }
    }

    /// Tells how the grid came out.
    fn tell(&self, ranking: &Ranking) -> Status {
        let root = self.store.root().display();
        let ended = ranking.entries().len();
        if let Some(signal) = signals::caught().filter(|_| ended < self.runs.len()) {
            say(&format!(
                "interrupted: {ended} of {} runs have ended and are kept in {root}; the same \
                 command goes on from there",
                self.runs.len()
            ));
            return Status::Interrupted(signal);
        }
        say(&format!("{} in {root}/ranking.csv", counted(ended, "run")));
        let failed = |entry: &&Entry| matches!(entry.record.outcome, Outcome::Failed { .. });
        match ranking.entries().iter().filter(failed).count() {
            0 => Status::Done,
            count => {
                say(&format!("{} failed; the same command tries again", counted(count, "run")));
                Status::SomethingFailed
            }
        }
    }
}

/// What a panic said.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason".into())
}

/// Asks whether earlier results may be removed, if there are any.
fn may_start_over(root: &Path, args: &GridArgs) -> Result<bool> {
    let Some(ended) = store::count_ended(root)? else { return Ok(true) };
    let own = |path: &Path| path.canonicalize().ok();
    if own(Path::new(&args.grid)).is_some_and(|file| own(&root.join("grid.toml")) == Some(file)) {
        return Err(Error::input(Place::flag("--fresh"), "would remove the grid file itself")
            .hint("name another folder with --out"));
    }
    if args.yes {
        return Ok(true);
    }
    let ended = counted(ended, "finished run");
    if !stdin().is_terminal() {
        let problem = format!("would remove {ended} from {}", root.display());
        return Err(Error::input(Place::flag("--fresh"), problem)
            .hint("add --yes to agree, as there is no terminal to ask on"));
    }
    let _ = write!(stderr(), "rookie: remove {ended} from {}? [y/N] ", root.display());
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    let agreed = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
    if !agreed {
        say("nothing was removed");
    }
    Ok(agreed)
}

/// Tells what a grid would be and how long it would take.
fn dry_run(grid: &Grid, runs: &[Run], dataset: &Dataset, workers: usize) -> Result<Status> {
    let mut out = stdout().lock();
    let epochs: usize = runs.iter().map(|run| run.values.epochs).sum();
    for run in runs {
        writeln!(out, "{}  {}", run.name, counted(run.values.epochs, "epoch"))?;
    }
    writeln!(out, "{}: {}, {}", grid.name, counted(runs.len(), "run"), counted(epochs, "epoch"))?;
    let sizes = |run: &Run| run.values.sizes(dataset.train.inputs(), dataset.classes);
    let sizes = |run: &Run| sizes(run).expect("checked against the data");
    let first = &runs[0];
    let workers = workers.min(runs.len());
    let batch_size = first.values.batch_size.min(dataset.train.len());
    let probe = Probe::new(&sizes(first), batch_size, PROBE_BATCHES);
    let rate = probe.throughput(workers, Duration::from_secs(1))?;
    let operations_a_second = rate * flops_per_sample(&sizes(first));
    let operations: f64 = runs
        .iter()
        .map(|run| {
            let images = (dataset.train.len() - run.values.validation_size) * run.values.epochs;
            images as f64 * flops_per_sample(&sizes(run))
        })
        .sum();
    let seconds = operations / operations_a_second;
    writeln!(
        out,
        "expected: {} with {} ({:.2} hours; {rate:.0} samples/s measured for a second)",
        duration(seconds),
        counted(workers, "worker"),
        seconds / 3600.0,
    )?;
    out.flush()?;
    Ok(Status::Done)
}
