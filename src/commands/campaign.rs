//! A grid under way: what has ended, what is left, and what the workers do with it.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::commands::common::{Status, print, say_data, unless_closed};
use crate::commands::saving::{Carried, SaveEvery, Stopped};
use crate::data::batches::Batches;
use crate::data::dataset::Dataset;
use crate::error::{Error, Place, Result, counted};
use crate::grid::checkpoints::{Checkpoints, Found};
use crate::grid::scheduler::{Advance, Work, train_tree};
use crate::grid::shared::SharedBatches;
use crate::grid::space::{Grid, Run};
use crate::grid::stages::{Stage, StageTree};
use crate::grid::store::{Store, clear_states, make_run_folder, read_run, write_run};
use crate::network::kernels;
use crate::network::mlp::{Workspace, flops_per_sample};
use crate::progress::{Progress, Totals, duration, say};
use crate::report::ranking::{By, Columns, Entry, Ranking};
use crate::signals;
use crate::train::hyperparams::Checked;
use crate::train::outcome::{CurveRow, Outcome, Record};
use crate::train::provenance::{self, core_of, mixed_kernels, other_data, same_data};
use crate::train::run::{TrainState, Trained};

/// How many rows the printed ranking and `top10.md` have.
const TOP: usize = 10;
/// Between two writings of the ranking while runs end.
const RANK_EVERY: Duration = Duration::from_secs(1);

/// A grid under way: what the workers share.
pub struct Campaign<'g> {
    runs: &'g [Run],
    mine: usize,        // how many of them are this shard's, or all
    left: Vec<&'g Run>, // what of these had not ended when it began
    inputs: usize,
    classes: usize,
    columns: Columns,
    store: Store,
    batches: SharedBatches,
    provenance: Vec<(String, String)>,
    images: usize,
    every: SaveEvery,
    ended: Mutex<Vec<Entry>>,
    written: Mutex<Option<Instant>>, // when the ranking was
}

impl<'g> Campaign<'g> {
    /// Looks which runs have ended before.
    ///
    /// # Errors
    /// Where a record cannot be read or is of other values or data.
    pub fn begin(
        (grid, runs): (&Grid, &'g [Run]),
        mine: Vec<&'g Run>,
        store: Store,
        dataset: Dataset,
        every: SaveEvery,
    ) -> Result<Self> {
        let provenance = provenance::lines(&dataset)?;
        let mut ended = Vec::new();
        for &run in &mine {
            if let Some(record) = store.finished(run, &mut |warning| say(warning))? {
                if !same_data(&record.provenance, &provenance) {
                    return Err(other_data(Place::file(store.run_folder(run))));
                }
                ended.push(Entry { run: run.name.clone(), record });
            }
        }
        say_data(&dataset);
        let names: HashSet<&str> = ended.iter().map(|entry| &entry.run[..]).collect();
        let is_left = |run: &&&Run| !names.contains(&run.name[..]);
        let mut left: Vec<&Run> = mine.iter().filter(is_left).copied().collect();
        // Runs that share their batches follow each other, so that one set of them is alive.
        left.sort_by_key(|run| run.values.batching());
        let (images, inputs) = (dataset.train.len(), dataset.train.inputs());
        let classes = dataset.classes;
        let batches = SharedBatches::new(Arc::new(dataset), left.iter().copied());
        let columns = Columns::new(runs.iter().map(|run| &*run.values), &grid.varying());
        let (ended, written) = (Mutex::new(ended), Mutex::new(None));
        Ok(Self {
            runs,
            mine: mine.len(),
            left,
            inputs,
            classes,
            columns,
            store,
            batches,
            provenance,
            images,
            every,
            ended,
            written,
        })
    }

    /// Trains what is left on so many workers, and ranks it.
    ///
    /// # Errors
    /// Where data cannot be split or results not be written.
    pub fn train(&self, workers: usize, sharing: bool) -> Result<Status> {
        if self.store.shard().is_some() {
            self.check_neighbours()?;
        }
        let workers = workers.min(self.left.len().max(1));
        let values: Vec<&Checked> = self.left.iter().map(|run| &run.values).collect();
        let (sizes, provenance) = ((self.inputs, self.classes), &self.provenance);
        let pool = self.store.pool();
        let (checkpoints, Found { starts, warnings, cores }) =
            Checkpoints::open(self.store.states(), pool.as_deref(), &values, sizes, provenance)?;
        for warning in &warnings {
            say(warning);
        }
        self.say_kernels(&cores);
        let tree = StageTree::plan(&values, &starts, sharing);
        let from_scratch = || StageTree::plan(&values, &vec![None; values.len()], sharing).epochs();
        let from_scratch = starts.iter().any(Option::is_some).then(from_scratch);
        self.say_plan(&tree, from_scratch, workers);
        signals::install()?;
        if self.left.is_empty() {
            self.write_ranking(true)?;
            return self.conclude();
        }
        let images = self.images - self.left[0].values.validation_size;
        let totals = Totals { runs: self.left.len(), epochs: tree.epochs(), images };
        let progress_of = Progress::begin(totals, workers);
        let at_hand = (0..workers).map(|_| Mutex::new(None)).collect();
        let (tree, checkpoints, progress) = (&tree, &checkpoints, &progress_of);
        let trainer = Trainer { campaign: self, tree, checkpoints, progress, at_hand };
        let cost = |stage: &Stage| self.epoch_cost(self.left[stage.run]);
        let stop = || signals::caught().is_some();
        let spent = train_tree(tree, workers, &cost, &stop, &trainer);
        drop(progress_of);
        // What has ended is ranked, whatever stopped the others.
        let ranked = self.write_ranking(true);
        if matches!(spent, Err(Error::Write { .. })) {
            say("stopped by what follows; once it is mended, the same command goes on");
        }
        let spent = spent?;
        ranked?;
        if signals::caught().is_none() {
            say(&format!(
                "{} with {}, idle for {:.1} % of it",
                duration(spent.elapsed.as_secs_f64()),
                counted(workers, "worker"),
                100.0 * spent.idle_share
            ));
        }
        self.conclude()
    }

    /// What an epoch of a run costs, in floating-point operations.
    fn epoch_cost(&self, run: &Run) -> f64 {
        let sizes = run.values.sizes(self.inputs, self.classes);
        let sizes = sizes.expect("the size was checked against the data");
        flops_per_sample(&sizes) * (self.images - run.values.validation_size) as f64
    }

    /// Says why the kernels are what they are, and where what was trained before had others.
    fn say_kernels(&self, of_states: &[String]) {
        if let Some(notice) = kernels::notice() {
            say(notice);
        }
        if self.left.is_empty() {
            return; // nothing is added to what there is
        }
        let ended = self.ended.lock().expect("no panic while holding it");
        let of_ended = ended.iter().filter_map(|entry| core_of(&entry.record.provenance));
        let cores = of_ended.chain(of_states.iter().map(String::as_str));
        if let Some(warning) = mixed_kernels(cores, &self.provenance) {
            say(&warning);
        }
    }

    fn say_plan(&self, tree: &StageTree, from_scratch: Option<usize>, workers: usize) {
        let (left, before) = (self.left.len(), self.mine - self.left.len());
        if let Some(shard) = self.store.shard() {
            let mine = counted(self.mine, "run");
            say(&format!("shard {shard} has {mine} of the grid's {}", self.runs.len()));
        }
        if before > 0 {
            say(&format!("{before} of {} runs have ended before; {left} left", self.mine));
        }
        if let Some(from_scratch) = from_scratch {
            say_begun(tree, from_scratch);
        }
        if left > 0 {
            let (runs, workers) = (counted(left, "run"), counted(workers, "worker"));
            let epochs = counted(tree.epochs(), "epoch");
            say(&format!("training {runs} in {epochs} with {workers}"));
        }
    }

    /// Writes what a run left, and ranks it.
    fn keep(
        &self,
        run: &Run,
        trained: &Trained,
        seconds: f64,
        provenance: Vec<(String, String)>,
    ) -> Result<()> {
        let (values, outcome) = (run.values.clone(), trained.outcome.clone());
        let record = Record { values, outcome, seconds, provenance };
        let folder = self.store.run_folder(run);
        make_run_folder(&folder)?;
        write_run(&folder, trained, &record)?;
        self.ended
            .lock()
            .expect("no panic while holding it")
            .push(Entry { run: run.name.clone(), record });
        self.write_ranking(false)
    }

    /// The place of a run in the grid.
    fn place_of(&self, run: &Run) -> usize {
        let place = self.runs.iter().position(|other| std::ptr::eq(other, run));
        place.expect("it is one of the grid's")
    }

    /// Shows the ranking of what has ended. Its records are lent, as there may be many.
    fn with_ranking<T>(&self, show: impl FnOnce(&Ranking) -> T) -> T {
        let mut ended = self.ended.lock().expect("no panic while holding it");
        let entries = std::mem::take(&mut *ended);
        let ranking = Ranking::new(entries, self.columns.clone(), By::Test);
        let shown = show(&ranking);
        *ended = ranking.into_entries();
        shown
    }

    /// Writes what has ended so far, one worker at a time. In between, once a second is enough:
    /// short runs end faster than a disk takes them in.
    fn write_ranking(&self, at_the_end: bool) -> Result<()> {
        if self.store.shard().is_some() {
            return if at_the_end { self.write_ranking_of_all() } else { Ok(()) };
        }
        let mut written = self.written.lock().expect("no panic while holding it");
        if !at_the_end && written.is_some_and(|at| at.elapsed() < RANK_EVERY) {
            return Ok(());
        }
        self.with_ranking(|ranking| write_out(&self.store, ranking))?;
        *written = Some(Instant::now());
        Ok(())
    }

    /// Ranks what all shards have left. As each reads and writes in its turn, and after its own runs,
    /// the last one to end writes the whole, and lets go of states that nobody needs any more. One
    /// that has been told to stop has no time to wait for its turn.
    fn write_ranking_of_all(&self) -> Result<()> {
        if signals::caught().is_some() {
            return Ok(());
        }
        self.store.in_turn(|| {
            let mut entries = Vec::new();
            for run in self.runs {
                // Whoever trains it sets a record aside that cannot be read.
                match read_run(&self.store.run_folder(run)) {
                    Ok(None) => {}
                    Ok(Some(record)) => entries.push(Entry { run: run.name.clone(), record }),
                    Err(error) => say(&format!("left out of the ranking: {error}")),
                }
            }
            let all_have_ended = entries.len() == self.runs.len();
            write_out(&self.store, &Ranking::new(entries, self.columns.clone(), By::Test))?;
            match self.store.pool().filter(|_| all_have_ended) {
                Some(pool) => clear_states(&pool),
                None => Ok(()),
            }
        })
    }

    /// Refuses to train a shard on other data than those beside it.
    fn check_neighbours(&self) -> Result<()> {
        let left: HashSet<&str> = self.left.iter().map(|run| &run.name[..]).collect();
        let others = self.runs.iter().filter(|run| !left.contains(&run.name[..]));
        let first = others.filter_map(|run| {
            let record = read_run(&self.store.run_folder(run)).ok().flatten()?;
            Some((run, record))
        });
        match first.take(1).find(|(_, other)| !same_data(&other.provenance, &self.provenance)) {
            Some((run, _)) => Err(other_data(Place::file(self.store.run_folder(run)))),
            None => Ok(()),
        }
    }

    /// Prints the ranking and tells where everything is.
    fn conclude(&self) -> Result<Status> {
        self.with_ranking(|ranking| self.print_ranking(ranking))
    }

    fn print_ranking(&self, ranking: &Ranking) -> Result<Status> {
        let is_part = self.store.shard().is_some();
        let printed = if ranking.entries().is_empty() || is_part {
            Ok(())
        } else {
            print(&ranking.describe(TOP))
        };
        unless_closed(printed, self.tell(ranking))
    }

    /// Tells how the grid came out.
    fn tell(&self, ranking: &Ranking) -> Status {
        let root = self.store.root().display();
        let ended = ranking.entries().len();
        if let Some(signal) = signals::caught().filter(|_| ended < self.mine) {
            say(&format!(
                "interrupted: {ended} of {} runs have ended and are kept in {root}; the same \
                 command, without --fresh, goes on where the others were",
                self.mine
            ));
            return Status::Interrupted(signal);
        }
        if let Some(shard) = self.store.shard() {
            let ended = counted(ended, "run");
            say(&format!("shard {shard}: {ended} in {root}; `rookie rank {root}` ranks all"));
        } else {
            say(&format!("{} in {root}/ranking.csv", counted(ended, "run")));
        }
        if let Some(chosen) = ranking.chosen().filter(|_| self.store.shard().is_none()) {
            let model = format!("{root}/runs/{}/model.safetensors", chosen.run);
            say(&format!("best by validation: {model}"));
        }
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

/// Writes a ranking into the results folder.
fn write_out(store: &Store, ranking: &Ranking) -> Result<()> {
    let settings = ranking.has_repeats().then(|| ranking.settings_csv());
    store.write_ranking(&ranking.csv(usize::MAX), &ranking.markdown(TOP), settings.as_deref())
}

/// What the workers do for the scheduler.
struct Trainer<'c> {
    campaign: &'c Campaign<'c>,
    tree: &'c StageTree,
    checkpoints: &'c Checkpoints,
    progress: &'c Progress,
    at_hand: Vec<Mutex<Option<Workspace>>>, // of each worker: its buffers
}

impl Trainer<'_> {
    /// The worker's buffers, made to fit a state.
    fn buffers(&self, worker: usize, state: &TrainState, batches: &Batches) -> Workspace {
        let at_hand = self.at_hand[worker].lock().expect("no panic while holding it").take();
        state.workspace(batches, at_hand)
    }

    fn lay_by(&self, worker: usize, work: Workspace) {
        *self.at_hand[worker].lock().expect("no panic while holding it") = Some(work);
    }

    /// What a stage is called: by one of its runs.
    fn name_of(&self, stage: usize) -> String {
        let runs = self.tree.runs_from(stage).len();
        let name = &self.campaign.left[self.tree.stages[stage].run].name;
        if runs == 1 { name.clone() } else { format!("{name} and {}", counted(runs - 1, "other")) }
    }
}

/// For the tests, and not in a release: the run that `ROOKIE_PANIC_IN` names panics.
pub(super) fn panic_on_purpose(run: &str) {
    let named = || std::env::var("ROOKIE_PANIC_IN").is_ok_and(|name| name == run);
    assert!(!cfg!(debug_assertions) || !named(), "on purpose");
}

/// Tells what is gone on with.
fn say_begun(tree: &StageTree, from_scratch: usize) {
    let begun = tree.stages.iter().filter(|stage| stage.start.is_some()).count();
    let (stages, epochs) = (counted(begun, "stage"), from_scratch.saturating_sub(tree.epochs()));
    let epochs = counted(epochs, "epoch");
    say(&format!("going on with {stages} under way, {epochs} trained before"));
}

impl Work for Trainer<'_> {
    type State = Carried;

    fn begin(&self, _: usize, stage: usize) -> Result<Carried> {
        let Stage { run, start, .. } = self.tree.stages[stage];
        if let Some(saved) = start {
            return Ok(Carried::saved(self.checkpoints.load(saved)?));
        }
        let run = self.campaign.left[run];
        let state = TrainState::drawn(&run.values, &*self.campaign.batches.get(run)?);
        Ok(Carried::new(state.expect("the size was checked against the data")))
    }

    fn advance(
        &self,
        worker: usize,
        index: usize,
        carried: &mut Carried,
        after_epoch: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Advance> {
        let stage = &self.tree.stages[index];
        let run = self.campaign.left[stage.run];
        let name = self.name_of(index);
        self.progress.run_begins(worker, &name);
        let mut on_epoch = |row: &CurveRow| {
            panic_on_purpose(&run.name);
            self.progress.epoch(worker, &name, run.values.epochs, row);
            after_epoch()
        };
        let mut save = |carried: &mut Carried| {
            let bytes = carried.bytes_to_save(&run.values, &self.campaign.provenance);
            let place = (self.campaign.place_of(run), stage.from);
            self.checkpoints.save(place, &self.tree.runs_from(index), &bytes)
        };
        let batches = self.campaign.batches.get(run)?;
        let mut work = self.buffers(worker, &carried.state, &batches);
        let (what, every) = ((&run.values, &*batches), self.campaign.every);
        let stopped =
            carried.advance(what, &mut work, stage.to, every, &mut on_epoch, &mut save)?;
        self.lay_by(worker, work);
        self.progress.rests(worker);
        match stopped {
            Stopped::Asked => Ok(Advance::BrokenOff),
            Stopped::Lost => {
                let trained = carried.state.epoch() - stage.from.epochs_before();
                self.progress.skip(self.tree.epochs_from(index).saturating_sub(trained));
                Ok(Advance::Over)
            }
            Stopped::AtTheEnd => {
                // Others will go on from here, perhaps long after.
                if !stage.children.is_empty() && carried.is_unsaved() {
                    save(carried)?;
                }
                Ok(Advance::Ended)
            }
        }
    }

    fn end(&self, worker: usize, index: usize, carried: &Carried) -> Result<()> {
        let run = self.campaign.left[index];
        let batches = self.campaign.batches.get(run)?;
        let mut work = self.buffers(worker, &carried.state, &batches);
        let (trained, seconds) = carried.finish((&run.values, &batches), &mut work);
        self.lay_by(worker, work);
        drop(batches);
        self.campaign.batches.give_back(run);
        self.progress.run_ends();
        match &trained.outcome {
            Outcome::Done(_) => {}
            Outcome::Diverged { epoch } => {
                self.progress.say(&format!("{} diverged in epoch {epoch}", run.name));
            }
            Outcome::Failed { reason } => {
                self.progress.say(&format!("{} failed: {reason}", run.name));
            }
        }
        let provenance = carried.provenance(&self.campaign.provenance);
        self.campaign.keep(run, &trained, seconds, provenance)?;
        self.checkpoints.let_go(&[index])
    }
}
