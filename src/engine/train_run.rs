//! Trains one run: in a folder, where it resumes, or in memory.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::data::batches::Batches;
use crate::data::dataset::Dataset;
use crate::engine::event::{Event, Interrupt, OnEvent};
use crate::engine::memory_use::too_large;
use crate::engine::run_in_progress::{RunInProgress, SaveEvery};
use crate::error::{Error, Place, Result};
use crate::grid::checkpoints::Checkpoints;
use crate::grid::run_folder::{
    clear_run, has_stray_files, missing_file, read_run, states_of, write_run,
};
use crate::grid::saved::{Saved, SavedState, read_saved};
use crate::grid::space::descriptive_name;
use crate::grid::store::{Lock, clear_states, lock, make_folder, refuse_in_results};
use crate::memory::Room;
use crate::network::kernels;
use crate::train::checked::Checked;
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::Key;
use crate::train::model::Model;
use crate::train::origins::Origins;
use crate::train::outcome::{Outcome, Record};
use crate::train::provenance::{Provenance, SPLIT, mixed};
use crate::train::reads::Step;
use crate::train::run::{TrainState, Trained};

/// A model whose weights a run starts from, instead of random ones.
#[derive(Debug, Clone)]
pub struct Init {
    /// The file, for messages.
    pub path: PathBuf,
    /// The model, whose network must be the run's.
    pub model: Model,
    /// SHA-256 of the file, in hexadecimal, for the record.
    pub sha256: String,
}

impl Init {
    /// Reads a model's file.
    ///
    /// # Errors
    /// As [`Model::read`].
    pub fn read(path: &Path) -> Result<Self> {
        let (model, sha256) = Model::read_with_hash(path)?;
        Ok(Self { path: path.to_path_buf(), model, sha256 })
    }

    /// Checks that its hidden layers and activation are those of these values.
    ///
    /// # Errors
    /// What differs.
    pub fn check_network(&self, values: &Hyperparams) -> Result<()> {
        self.check_values(["hidden", "activation"], values)
    }

    /// Checks that its validation set is that of these values.
    ///
    /// # Errors
    /// What differs: it may have been trained on validation images.
    pub fn check_split(&self, values: &Hyperparams) -> Result<()> {
        let hint = "it may have been trained on the validation set of this run; leave the value out, \
                    or add --allow-other-split";
        self.check_values(SPLIT, values).map_err(|error| error.hint(hint))
    }

    fn check_values(&self, names: [&str; 2], values: &Hyperparams) -> Result<()> {
        let differs = |key: &&&Key| key.get(values) != key.get(&self.model.values);
        let keys = names.map(|name| Key::named(name).expect("a key"));
        if let Some(key) = keys.iter().find(differs) {
            let place = Place::file(&self.path);
            let found = format!("a model with {} {}", key.name, key.get(&self.model.values));
            return Err(Error::unexpected(place, found, key.get(values)));
        }
        Ok(())
    }

    /// What the record of a run on a data set that starts from it says of it.
    pub fn provenance(&self, dataset: &Dataset) -> Provenance {
        // A folder of IDX files has no hash in the model, but its training rows have their moments.
        let is_known = self.model.training_rows(dataset).is_some();
        let trained_on = if is_known { self.model.trained_on.as_deref() } else { Some("others") };
        Provenance::of_init(&self.sha256, &self.model.values, trained_on)
    }

    /// Checks that its inputs and classes are those of the data, for a table also their names.
    ///
    /// # Errors
    /// What differs.
    pub fn check_against(&self, dataset: &Dataset) -> Result<()> {
        self.model.fits_data(&self.path, dataset)
    }
}

/// The folder of one run, which this process alone writes to as long as it holds this value.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    fresh: bool,
    save_every: SaveEvery,
    saved: Mutex<Option<Saved>>, // read once, until a run resumes from it
    _lock: Lock,
}

impl RunFolder {
    /// Opens a folder, and makes it where it is not there. With `fresh`, training starts over: what
    /// the same run has left there is replaced.
    ///
    /// # Errors
    /// Where it lies in a results folder, cannot be written to, or another process writes to it.
    pub fn open(path: &Path, fresh: bool, save_every: SaveEvery) -> Result<Self> {
        refuse_in_results(path)?;
        make_folder(path, "--out")?;
        let lock = lock(path)?;
        // Another process may have begun something there meanwhile.
        refuse_in_results(path)?;
        let saved = Mutex::new(Some(read_saved(&states_of(path))?));
        Ok(Self { path: path.to_path_buf(), fresh, save_every, saved, _lock: lock })
    }

    /// The record of this run if the folder holds it, finished, and it is not to be trained again.
    ///
    /// # Errors
    /// Where the folder holds another run.
    pub fn finished(&self, values: &Checked, provenance: &Provenance) -> Result<Option<Record>> {
        let saved = self.take_saved()?;
        let finished = already_finished(&self.path, values, provenance, &saved, self.fresh);
        *self.saved.lock().expect("no panic while holding it") = Some(saved);
        finished
    }

    fn take_saved(&self) -> Result<Saved> {
        let saved = self.saved.lock().expect("no panic while holding it").take();
        saved.map_or_else(|| read_saved(&states_of(&self.path)), Ok)
    }
}

/// The record of this run if a folder holds it, finished, and it is not to be trained again. `saved` are the
/// folder's checkpoints.
///
/// # Errors
/// Where the folder holds another run.
pub fn already_finished(
    folder: &Path,
    values: &Checked,
    provenance: &Provenance,
    saved: &Saved,
    fresh: bool,
) -> Result<Option<Record>> {
    let in_progress = usable(saved).next().is_some();
    if fresh || !in_progress {
        refuse_another_run(folder, values, provenance, saved, fresh)?;
    }
    if fresh || in_progress {
        return Ok(None);
    }
    Ok(read_run(folder)?.filter(|record| why_again(folder, record).is_none()))
}

/// Why a run whose record is there is trained again, if it is.
pub fn why_again(folder: &Path, record: &Record) -> Option<String> {
    if let Outcome::Failed { reason } = &record.outcome {
        let folder = folder.display();
        return Some(format!("the run in {folder} failed ({reason}) and is trained again"));
    }
    if let Outcome::Stopped(at) = &record.outcome {
        let (folder, epoch) = (folder.display(), at.epoch);
        return Some(format!(
            "the run in {folder} was stopped after epoch {epoch}, and is trained again"
        ));
    }
    let missing = missing_file(folder, record)?;
    Some(format!("{} is missing, the run is trained again", missing.display()))
}

/// How a run came to its end, or did not.
#[derive(Debug)]
pub enum RunEnd {
    /// After its last epoch, or because it diverged or failed.
    Finished {
        /// What it came to.
        record: Box<Record>,
        /// Its curve, model and predictions.
        trained: Box<Trained>,
    },
    /// After this epoch, on request.
    Interrupted {
        /// From 1; 0 before the first.
        epoch: usize,
    },
}

/// Trains one run. In a folder, it resumes from its checkpoint there, is saved on the way, and leaves
/// its files; a run that has finished there is trained again. Without, everything stays in memory and
/// an interrupted run is lost.
///
/// # Errors
/// Where the values do not go together or with the data, where the folder holds another run, or cannot
/// be written to.
///
/// ```no_run
/// # use std::path::Path;
/// use rookie::{Dataset, Event, Hyperparams, Interrupt, RunEnd, train_run};
///
/// let data = Dataset::read(Path::new("data/fashion-mnist"))?;
/// let (values, interrupt) = (Hyperparams::default().check()?, Interrupt::default());
/// let on_event = |event: &Event<'_>| {
///     if let Event::EpochTrained { row, .. } = event
///         && row.epoch == 10
///     {
///         interrupt.ask();
///     }
/// };
/// let end = train_run(&values, &data, None, None, &on_event, &interrupt)?;
/// assert!(matches!(end, RunEnd::Interrupted { epoch: 10 }));
/// # Ok::<(), rookie::Error>(())
/// ```
pub fn train_run(
    values: &Checked,
    dataset: &Dataset,
    init: Option<&Init>,
    folder: Option<&RunFolder>,
    on_event: OnEvent<'_>,
    interrupt: &Interrupt,
) -> Result<RunEnd> {
    check(values, dataset, init)?;
    train_checked(values, dataset, init, folder, on_event, interrupt)
}

/// The same with values that were checked.
pub(super) fn train_checked(
    values: &Checked,
    dataset: &Dataset,
    init: Option<&Init>,
    folder: Option<&RunFolder>,
    on_event: OnEvent<'_>,
    interrupt: &Interrupt,
) -> Result<RunEnd> {
    let of_init = init.map(|init| init.provenance(dataset)).unwrap_or_default();
    let provenance = Provenance::now(dataset, of_init)?;
    let ((start, steps), name) = (values.parts(), descriptive_name(values));
    if let Some(reason) = too_large(values, dataset.shape(), &Room::now()) {
        if let Some(folder) = folder {
            let saved = folder.take_saved()?;
            refuse_another_run(&folder.path, values, &provenance, &saved, folder.fresh)?;
        }
        let (record, trained) = leave(values, Trained::failed(reason), 0.0, provenance, folder)?;
        return Ok(RunEnd::Finished { record, trained });
    }
    let batches = Batches::new(dataset, start.batching)?;
    let state = match init {
        Some(init) => TrainState::new(&start, init.model.params.copied()),
        None => TrainState::drawn(&start, dataset.train.inputs(), dataset.classes()),
    };
    let mut run = RunInProgress::new(state);
    let mut checkpoints = None;
    if let Some(folder) = folder {
        let (resumed, found) = resume(values, &batches, folder, &provenance, on_event)?;
        checkpoints = Some(found);
        run = resumed.unwrap_or(run);
    }
    let save = |run: &mut RunInProgress| {
        let Some(checkpoints) = &checkpoints else { return Ok(()) };
        match run.bytes_to_save(values, &provenance) {
            Ok(bytes) => checkpoints.save((0, Step::FIRST), &[0], (run.state.step(), &bytes)),
            Err(warning) => {
                on_event(&Event::Warning(&warning));
                Ok(())
            }
        }
    };
    let mut work = run.state.buffers(&batches, None);
    let (epochs_before, epochs) = (run.state.epoch(), values.epochs);
    on_event(&Event::RunStarted { epochs_before, epochs });
    on_event(&Event::StageStarted { worker: 0, name: &name });
    let is_over = |run: &RunInProgress| {
        let is_at_end = run.state.step() == steps.end();
        run.is_lost() || is_at_end || steps.early_end(run.state.curve()).is_some()
    };
    while !is_over(&run)
        && let Some(row) = run.train_epoch((&name, values), &batches, &mut work, steps.end())
    {
        on_event(&Event::EpochTrained { worker: 0, name: &name, epochs, row: &row });
        if is_over(&run) {
            break;
        }
        let is_due = folder.is_some_and(|folder| run.is_due(folder.save_every));
        if interrupt.is_asked() || is_due {
            save(&mut run)?;
        }
        if interrupt.is_asked() {
            return Ok(RunEnd::Interrupted { epoch: run.state.epoch() });
        }
    }
    let (trained, seconds) = run.finish(values, &batches, &mut work, &provenance);
    if run.is_unsaved() {
        // By this state the files that follow are known as this run's until the last is there.
        save(&mut run)?;
    }
    let provenance = run.provenance(values, &provenance);
    let (record, trained) = leave(values, trained, seconds, provenance, folder)?;
    if let Some(checkpoints) = checkpoints.filter(|_| record.outcome.is_end()) {
        checkpoints.let_go(&[0])?;
    }
    on_event(&Event::RunFinished(&record));
    Ok(RunEnd::Finished { record, trained })
}

/// Writes what a run leaves.
fn leave(
    values: &Checked,
    trained: Trained,
    seconds: f64,
    provenance: Provenance,
    folder: Option<&RunFolder>,
) -> Result<(Box<Record>, Box<Trained>)> {
    let record = Record {
        run: descriptive_name(values),
        values: values.clone(),
        outcome: trained.outcome.clone(),
        seconds,
        provenance,
    };
    if let Some(RunFolder { path, .. }) = folder {
        clear_run(path)?;
        write_run(path, &trained, &record)?;
    }
    Ok((Box::new(record), Box::new(trained)))
}

/// Checks that values go together, and with the data and the model to start from.
fn check(values: &Checked, dataset: &Dataset, init: Option<&Init>) -> Result<()> {
    values.check_combinations()?;
    Origins::all_at(Place::Name("values")).check_against(dataset.shape(), values)?;
    if let Some(init) = init {
        init.check_network(values)?;
        init.check_against(dataset)?;
    }
    Ok(())
}

/// Refuses a folder that holds another run than this one, finished or in progress. With `fresh`, files
/// without a record may be replaced.
///
/// # Errors
/// What it holds.
fn refuse_another_run(
    folder: &Path,
    values: &Checked,
    provenance: &Provenance,
    saved: &Saved,
    fresh: bool,
) -> Result<()> {
    refuse_another_state(folder, values, provenance, saved)?;
    match read_run(folder)? {
        Some(record) => {
            let there = (&record.values, &record.provenance);
            refuse_another(folder, "another run", there, (values, provenance))
        }
        None if has_stray_files(folder) && !fresh => {
            let problem = "holds files of a run without a run.toml";
            Err(Error::input(Place::file(folder), problem)
                .hint("replace them with --fresh, or name another folder with --out"))
        }
        None => Ok(()),
    }
}

/// Refuses a folder that holds another run in progress.
///
/// # Errors
/// What it holds.
fn refuse_another_state(
    folder: &Path,
    values: &Checked,
    provenance: &Provenance,
    saved: &Saved,
) -> Result<()> {
    usable(saved).try_for_each(|saved| {
        let there = (&saved.values, &saved.provenance);
        refuse_another(folder, "another run in progress", there, (values, provenance))
    })
}

/// Refuses what a folder holds if it is not of this run.
fn refuse_another(
    folder: &Path,
    what: &str,
    (of_values, of): (&Checked, &Provenance),
    (values, provenance): (&Checked, &Provenance),
) -> Result<()> {
    let difference = match values.difference(of_values) {
        Some(difference) => difference,
        None if of.init() != provenance.init() => "it began with other weights".into(),
        None if !of.same_data(provenance) => match of.other_options(provenance) {
            Some(difference) => format!("it {difference}"),
            None => "it is on other data".into(),
        },
        None => return Ok(()),
    };
    Err(Error::input(Place::file(folder), format!("holds {what} ({difference})"))
        .hint("name another folder with --out, or remove it"))
}

/// The states among saved files.
fn usable(saved: &Saved) -> impl Iterator<Item = &SavedState> {
    saved.iter().filter_map(|(_, read)| read.as_ref().ok())
}

/// The run as it was saved in its folder, if it was, and where it is saved.
fn resume(
    values: &Checked,
    batches: &Batches,
    folder: &RunFolder,
    provenance: &Provenance,
    on_event: OnEvent<'_>,
) -> Result<(Option<RunInProgress>, Checkpoints)> {
    let mut saved = folder.take_saved()?;
    let RunFolder { path: folder, fresh, .. } = folder;
    if *fresh || usable(&saved).next().is_none() {
        refuse_another_run(folder, values, provenance, &saved, *fresh)?;
    } else {
        refuse_another_state(folder, values, provenance, &saved)?;
    }
    if *fresh {
        clear_states(&states_of(folder))?;
        saved.clear();
    }
    let sizes = (batches.train.inputs(), batches.classes());
    let (checkpoints, found) =
        Checkpoints::open((states_of(folder), saved), None, &[(0, values)], sizes, provenance)?;
    for warning in &found.warnings {
        on_event(&Event::Warning(warning));
    }
    if let Some(notice) = kernels::notice() {
        on_event(&Event::Warning(notice));
    }
    for warning in mixed(found.provenances.iter(), Some(provenance)) {
        on_event(&Event::Warning(&warning));
    }
    let [Some(start)] = checkpoints.resume_points([0])[..] else { return Ok((None, checkpoints)) };
    let saved = checkpoints.load(start.saved, values)?;
    Ok((Some(RunInProgress::resumed(saved)), checkpoints))
}
