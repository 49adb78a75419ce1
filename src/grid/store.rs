//! The results folder: names, whole writes, what is finished, one writer. The only door to writing
//! files.
//!
//! `run.toml` is written last of a run's files and is the only thing that resuming believes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use atomic_write_file::AtomicWriteFile;

use crate::error::{Error, Place, Result, counted};
use crate::grid::shards::Shard;
use crate::grid::space::{Grid, Run};
use crate::train::outcome::{Outcome, REMOVE_RUN, Record, curve_csv};
use crate::train::predictions;
use crate::train::provenance::{Provenance, other_data};
use crate::train::run::Trained;
use crate::train::toml_file::TomlFile;

const GRID: &str = "grid.toml";
const RANKING: &str = "ranking.csv";
/// Says that a results folder is a record (`scripts/reproduce`).
const RECORDED: &str = "RECORDED";
const SETTINGS: &str = "settings.csv";
const TOP: &str = "top10.md";
const RUNS: &str = "runs";
/// What other commands draw of a grid, by default: no result, and no foreign thing.
const DRAWN: [&str; 2] = ["report.html", "figures"];
const STATE: &str = ".state";
const STAGES: &str = "stages";
const SHARDS: &str = "shards";
const SHARDS_FILE: &str = "shards.csv";
const CURVE: &str = "curve.csv";
const MODEL: &str = "model.safetensors";
const PREDICTIONS: &str = "test_predictions.csv.gz";
const RECORD: &str = "run.toml";

/// How long a shard waits for another that plans.
const PLANNING: Duration = Duration::from_secs(120);

/// Changes something on the disk: all that this file does to it goes through here.
///
/// # Errors
/// [`Error::Write`] with the path.
fn change<T>(path: &Path, act: impl FnOnce() -> io::Result<T>) -> Result<T> {
    fail_on_purpose().and_then(|()| act()).map_err(|source| Error::write(path, source))
}

/// For the tests, and not in a release: of all changes, the one counted from 1 by
/// `ROOKIE_FAIL_WRITE` fails, and so do all that come after it.
fn fail_on_purpose() -> io::Result<()> {
    static CHANGES: AtomicUsize = AtomicUsize::new(0);
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    let change = CHANGES.fetch_add(1, Ordering::Relaxed) + 1;
    let fails = std::env::var("ROOKIE_FAIL_WRITE").ok().and_then(|count| count.parse().ok());
    if fails.is_some_and(|first: usize| change >= first) {
        return Err(io::Error::other("failed on purpose"));
    }
    Ok(())
}

/// Writes a file so that it is there as a whole or not at all, also after a power cut.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    change(path, || {
        let mut file = AtomicWriteFile::open(path)?;
        file.write_all(bytes)?;
        file.commit()
    })
}

/// Makes a folder and those above it, as a user asked for with `flag`.
///
/// # Errors
/// [`Error::Input`] where it cannot be made or written to: nothing has been written yet.
pub fn make_folder(path: &Path, flag: &str) -> Result<()> {
    let attempt = || -> io::Result<()> {
        fail_on_purpose()?;
        fs::create_dir_all(path)?;
        // A file without a name, which leaves nothing behind, however this process ends.
        AtomicWriteFile::open(path.join(GRID))?.discard()
    };
    attempt().map_err(|source| {
        if path.is_file() {
            return Error::unexpected(Place::file(path), "a file", "a folder")
                .hint(format!("name another one with {flag}"));
        }
        Error::input(Place::file(path), format!("cannot write into this folder: {source}"))
            .hint(format!("name another one with {flag}"))
    })
}

/// Makes the folder of a run, and none above it: one that was removed does not come back in parts.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn make_run_folder(folder: &Path) -> Result<()> {
    change(folder, || match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| flush_parent(folder)),
    })
}

/// Writes what a run leaves into its folder: curve, model, predictions, and last the record.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn write_run(folder: &Path, trained: &Trained, record: &Record) -> Result<()> {
    sweep(folder)?;
    write_whole(&folder.join(CURVE), &curve_csv(&trained.curve))?;
    if let Some(model) = &trained.model {
        write_whole(&folder.join(MODEL), &model.to_bytes())?;
    }
    if let Some(predictions) = &trained.predictions {
        write_whole(&folder.join(PREDICTIONS), &predictions::to_bytes(predictions))?;
    }
    write_whole(&folder.join(RECORD), record.to_toml().as_bytes())
}

/// The record of a run that ended in this folder, if one did.
///
/// # Errors
/// Where there is a record that cannot be read.
pub fn read_run(folder: &Path) -> Result<Option<Record>> {
    read_record(folder, &folder_name(folder))
}

fn read_record(folder: &Path, name: &str) -> Result<Option<Record>> {
    let path = folder.join(RECORD);
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(Record::read(&path, name)?))
}

/// The record of a run of a grid in its results folder, if it has ended.
///
/// # Errors
/// Where there is a record that cannot be read or is not this run's.
pub fn run_record(root: &Path, run: &Run) -> Result<Option<Record>> {
    let folder = run_folder(root, &run.name);
    let Some(record) = read_record(&folder, &run.name)? else { return Ok(None) };
    let problem = match record.values.difference(&run.values) {
        Some(difference) => format!("holds other values than its grid ({difference})"),
        None if record.provenance.init().is_some() => {
            "is of a run that began with a model's weights, as no run of a grid does".into()
        }
        None => return Ok(Some(record)),
    };
    Err(Error::input(Place::file(folder.join(RECORD)), problem).hint(REMOVE_RUN))
}

/// The last part of a folder's path, also where it is given as `.` or through a link.
pub fn folder_name(folder: &Path) -> String {
    let whole = folder.canonicalize().ok();
    let name = whole.as_deref().unwrap_or(folder).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The folder of a run, by its name, in a results folder.
pub fn run_folder(root: &Path, run: &str) -> PathBuf {
    root.join(RUNS).join(run)
}

/// The model in a run's folder.
pub fn model_of(folder: &Path) -> PathBuf {
    folder.join(MODEL)
}

/// The predictions in a run's folder.
pub fn predictions_of(folder: &Path) -> PathBuf {
    folder.join(PREDICTIONS)
}

/// The curve in a run's folder.
pub fn curve_of(folder: &Path) -> PathBuf {
    folder.join(CURVE)
}

/// A file of a finished run without which it is trained again. What its model says of the test images
/// is kept in its predictions, so one of the two is enough.
pub fn missing_file(folder: &Path, record: &Record) -> Option<PathBuf> {
    let [curve, model, answers] = [CURVE, MODEL, PREDICTIONS].map(|name| folder.join(name));
    if !curve.exists() {
        return Some(curve);
    }
    let scores = record.outcome.scores().filter(|_| !model.exists())?;
    (!predictions::is_whole(&answers, scores.test_images)).then_some(model)
}

/// Whether a folder has other files of a run but no record, so that they are not known to be one's.
pub fn has_stray_files(folder: &Path) -> bool {
    let files = [CURVE, MODEL, PREDICTIONS];
    !folder.join(RECORD).exists() && files.iter().any(|name| folder.join(name).exists())
}

/// The folder for the states of stages under way, in the folder of their results.
pub fn states_of(folder: &Path) -> PathBuf {
    folder.join(STATE).join(STAGES)
}

/// Removes all states in their folder, and that.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn clear_states(folder: &Path) -> Result<()> {
    change(folder, || match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    })
}

/// Removes what [`write_run`] wrote, the record first.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn clear_run(folder: &Path) -> Result<()> {
    [RECORD, PREDICTIONS, MODEL, CURVE].into_iter().try_for_each(|name| remove(&folder.join(name)))
}

/// A results folder that this process alone writes to, or its shard's part of one, as long as it
/// holds this value.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    shard: Option<Shard>,
    shard_of: Vec<usize>, // of each run; empty without shards
    locks: Vec<File>,
}

impl Store {
    /// Opens a results folder for a grid: a new one, or one that the same grid was begun in. With
    /// `fresh`, earlier results in it are removed.
    ///
    /// # Errors
    /// [`Error::Input`] where the folder holds another grid or other things, where another process
    /// is writing to it, or where it cannot be written to. Nothing in it has been changed then.
    pub fn open(root: &Path, grid: &Grid, fresh: bool) -> Result<Self> {
        refuse_recorded(root)?;
        refuse_others_of(root)?;
        make_folder(root, "--out")?;
        let (root, locks) = (root.to_path_buf(), vec![lock(root)?]);
        let store = Self { root, shard: None, shard_of: Vec::new(), locks };
        if fresh {
            store.clear()?;
        }
        store.prepare(grid)?;
        // What shards have left is gone on with like anything else.
        store.gather_states()?;
        remove(&shards_file(&store.root))?;
        Ok(store)
    }

    /// Opens a results folder for a shard of a grid, beside which other shards may be at work, and
    /// learns the shard of each run. Who comes first plans them, for all who come later: `plan` gets
    /// which runs have ended. Another number of shards, or other data, are planned anew when no other is
    /// at work and no run has ended on other data than these.
    ///
    /// # Errors
    /// As [`Store::open`]; where others are at work in another number of shards, on this one, or on
    /// other data.
    pub fn join(
        root: &Path,
        (grid, runs): (&Grid, &[Run]),
        data: &Provenance,
        shard: Shard,
        plan: &dyn Fn(&[bool]) -> Vec<usize>,
    ) -> Result<Self> {
        refuse_recorded(root)?;
        refuse_others_of(root)?;
        make_folder(root, "--out")?;
        let (shard_of, locks) = (Vec::new(), Vec::new());
        let mut store = Self { root: root.to_path_buf(), shard: Some(shard), shard_of, locks };
        if let Ok(alone) = lock(root) {
            store.prepare(grid)?;
            // A plan that cannot be read is made anew.
            let planned = read_shards(root, runs).ok().flatten();
            let is_planned = |it: &Shards| it.count == shard.count && it.data == data.data_hash();
            if !planned.as_ref().is_some_and(is_planned) {
                store.gather_states()?;
                let has_ended = |run: &Run| match run_record(root, run) {
                    Ok(Some(record)) => {
                        record.provenance.refuse_other_data(data, store.run_folder(run))?;
                        Ok(!matches!(record.outcome, Outcome::Failed { .. }))
                    }
                    Ok(None) | Err(_) => Ok(false),
                };
                let ended: Vec<bool> = runs.iter().map(has_ended).collect::<Result<_>>()?;
                let (count, data) = (shard.count, data.data_hash());
                write_shards(root, runs, &Shards { count, shard_of: plan(&ended), data })?;
            }
            drop(alone);
        }
        store.locks.push(lock_with_others(root)?);
        refuse_another_grid(root, grid)?;
        let Some(Shards { count, shard_of, data: planned }) = read_shards(root, runs)? else {
            return Err(Error::input(Place::file(shards_file(root)), "has gone")
                .hint("start the same command again"));
        };
        if planned != data.data_hash() {
            return Err(other_data(root));
        }
        if count != shard.count {
            return Err(Error::unexpected(
                Place::flag("--shard"),
                format!("one of {}", counted(shard.count, "shard")),
                format!("one of {count}, as others in {} are at work on", root.display()),
            ));
        }
        let own = root.join(STATE).join(format!("shard-{}.lock", shard.index));
        let file = open_lock(&own)?;
        store.locks.push(hold(file, &format!("shard {shard}"), root)?);
        store.shard_of = shard_of;
        Ok(store)
    }

    /// Makes sure that the folder is this grid's. No other process may be writing to it.
    fn prepare(&self, grid: &Grid) -> Result<()> {
        let root = &self.root;
        if !refuse_another_grid(root, grid)? {
            write_whole(&root.join(GRID), grid.to_toml().as_bytes())?;
        }
        // After the grid, by which the folder is known as one of results.
        let runs = root.join(RUNS);
        change(&runs, || fs::create_dir_all(&runs).and_then(|()| flush_parent(&runs)))?;
        sweep(root)
    }

    /// Brings the states that shards have saved to those that any run may go on from. No other
    /// process may be writing to the folder.
    fn gather_states(&self) -> Result<()> {
        let (shards, pool) = (self.root.join(STATE).join(SHARDS), states_of(&self.root));
        let folders = fs::read_dir(&shards).into_iter().flatten().filter_map(io::Result::ok);
        for folder in folders.map(|entry| entry.path()) {
            make_state_folder(&pool)?;
            let states = fs::read_dir(&folder).into_iter().flatten().filter_map(io::Result::ok);
            for state in states.map(|entry| entry.path()) {
                let mut name = state.file_name().unwrap_or_default().to_os_string();
                while pool.join(&name).exists() {
                    name = ["again_".as_ref(), name.as_os_str()].into_iter().collect();
                }
                change(&state, || fs::rename(&state, pool.join(name)))?;
            }
            remove_folder(&folder);
        }
        remove_folder(&shards);
        Ok(())
    }

    /// Removes earlier results, and only what rookie writes. `grid.toml` goes last, so that what a
    /// break leaves is still a results folder.
    fn clear(&self) -> Result<()> {
        let runs = self.root.join(RUNS);
        for run in fs::read_dir(&runs).into_iter().flatten().filter_map(io::Result::ok) {
            clear_run(&run.path())?;
            // A folder that holds other things too stays.
            remove_folder(&run.path());
        }
        remove_folder(&runs);
        clear_states(&self.root.join(STATE).join(SHARDS))?;
        clear_states(&self.states())?;
        let files = [RANKING, TOP, SETTINGS, GRID];
        // A report of what has gone would mislead.
        let files = std::iter::once(DRAWN[0]).chain(files);
        files.into_iter().try_for_each(|name| remove(&self.root.join(name)))
    }

    /// The results folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder for the states of stages under way.
    pub fn states(&self) -> PathBuf {
        match self.shard {
            None => states_of(&self.root),
            Some(shard) => self.root.join(STATE).join(SHARDS).join(shard.index.to_string()),
        }
    }

    /// The states that a shard may go on from too, and that are not its own to remove.
    pub fn pool(&self) -> Option<PathBuf> {
        self.shard.map(|_| states_of(&self.root))
    }

    /// The indices of the runs to train here, of so many: all of them, or those of the shard.
    pub fn own_runs(&self, runs: usize) -> Vec<usize> {
        let is_own = |run: &usize| self.shard.is_none_or(|it| self.shard_of[*run] == it.index);
        (0..runs).filter(is_own).collect()
    }

    /// The shard that it was opened for.
    pub fn shard(&self) -> Option<Shard> {
        self.shard
    }

    /// Does something while no other shard does it, waiting for those that do.
    ///
    /// # Errors
    /// What it returns, or where the lock cannot be had.
    pub fn in_turn<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let path = self.root.join(STATE).join("ranking.lock");
        let file = open_lock(&path)?;
        change(&path, || file.lock())?;
        act()
    }

    /// The folder of a run.
    pub fn run_folder(&self, run: &Run) -> PathBuf {
        run_folder(&self.root, &run.name)
    }

    /// The record of a run that has ended on these `data`, if it has. A run that failed has not: it is
    /// tried again. So is one whose record cannot be read or is not its own, which is set aside, or
    /// whose files are not all there; `warn` is told.
    ///
    /// # Errors
    /// Where the run was trained on other data.
    pub fn finished(
        &self,
        run: &Run,
        data: &Provenance,
        warn: &mut dyn FnMut(&str),
    ) -> Result<Option<Record>> {
        let folder = self.run_folder(run);
        let record = match run_record(&self.root, run) {
            Err(Error::Input { place, problem, .. }) => {
                let aside = set_aside(&folder.join(RECORD))?;
                let name = aside.file_name().unwrap_or_default().display();
                warn(&format!(
                    "{place}: {problem}; set aside as {name}, and its run trained again"
                ));
                return Ok(None);
            }
            other => other?,
        };
        let Some(record) = record else { return Ok(None) };
        if let Some(missing) = missing_file(&folder, &record) {
            warn(&format!("{} is missing, its run is trained again", missing.display()));
            return Ok(None);
        }
        record.provenance.refuse_other_data(data, folder)?;
        Ok((!matches!(record.outcome, Outcome::Failed { .. })).then_some(record))
    }

    /// Replaces the ranking, its top as Markdown and, for a grid of several seeds, the settings.
    ///
    /// # Errors
    /// [`Error::Write`] with the path.
    pub fn write_ranking(&self, csv: &[u8], top: &str, settings: Option<&[u8]>) -> Result<()> {
        write_whole(&self.root.join(RANKING), csv)?;
        write_whole(&self.root.join(TOP), top.as_bytes())?;
        settings.map_or(Ok(()), |csv| write_whole(&self.root.join(SETTINGS), csv))
    }
}

/// The grid that a results folder was begun with, if it is one.
///
/// # Errors
/// Where its `grid.toml` cannot be read.
pub fn read_grid(root: &Path) -> Result<Option<Grid>> {
    let path = root.join(GRID);
    if !path.exists() {
        return Ok(None);
    }
    let grid = TomlFile::read(&path).and_then(|file| Grid::parse(&file));
    grid.map(Some)
        .map_err(|error| error.hint("start over with --fresh, or name another folder with --out"))
}

/// Whether a folder holds a grid's results.
pub fn is_grid(root: &Path) -> bool {
    root.join(GRID).exists()
}

/// Refuses a folder for a single run that is, or lies in, the results folder of a grid or a record.
///
/// # Errors
/// [`Error::Input`] where it does.
pub fn refuse_in_results(folder: &Path) -> Result<()> {
    let hint = "name another folder with --out";
    refuse_recorded(folder)?;
    if is_grid(folder) {
        return Err(Error::input(Place::file(folder), "holds a grid's results").hint(hint));
    }
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let existing = absolute.ancestors().find_map(|it| it.canonicalize().ok());
    // A grid.toml alone may be a user's own file.
    let is_root = |root: &&Path| {
        let has = |name: &str| root.join(name).exists();
        has(RECORDED) || is_grid(root) && [RUNS, STATE, RANKING].into_iter().any(has)
    };
    match existing.as_deref().and_then(|it| it.ancestors().find(is_root)) {
        None => Ok(()),
        Some(root) => {
            let problem = format!("lies in the results folder {}", root.display());
            Err(Error::input(Place::file(folder), problem).hint(hint))
        }
    }
}

/// How many runs have ended in a results folder, and how many stages are under way; `None` where it
/// is no such folder.
///
/// # Errors
/// Where the folder cannot be read.
pub fn count_results(root: &Path) -> Result<Option<(usize, usize)>> {
    if !is_grid(root) {
        refuse_foreign(root)?;
        return Ok(None);
    }
    let runs = match fs::read_dir(root.join(RUNS)) {
        Ok(runs) => runs,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some((0, 0))),
        Err(source) => return Err(Error::read(root.join(RUNS), source)),
    };
    let ended = runs.filter_map(io::Result::ok).filter(|run| run.path().join(RECORD).exists());
    let states = |folder: &Path| fs::read_dir(folder).into_iter().flatten().count();
    let shards = fs::read_dir(root.join(STATE).join(SHARDS)).into_iter().flatten();
    let of_shards: usize =
        shards.filter_map(io::Result::ok).map(|shard| states(&shard.path())).sum();
    Ok(Some((ended.count(), states(&states_of(root)) + of_shards)))
}

/// Removes a file, if it is there.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn remove(path: &Path) -> Result<()> {
    change(path, || match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    })
}

/// Gives a file that cannot be used another name, and returns that.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn set_aside(path: &Path) -> Result<PathBuf> {
    let mut name = path.as_os_str().to_os_string();
    name.push(".damaged");
    let aside = PathBuf::from(name);
    change(path, || fs::rename(path, &aside))?;
    Ok(aside)
}

/// Makes a folder for states in a folder that is there.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn make_state_folder(folder: &Path) -> Result<()> {
    change(folder, || fs::create_dir_all(folder).and_then(|()| flush_parent(folder)))?;
    sweep(folder)
}

/// A new folder is there after a power cut only if the one that it stands in has been flushed.
fn flush_parent(folder: &Path) -> io::Result<()> {
    folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Removes what a killed process has left of the files that it was writing: `.ranking.csv.Qx7b2k`.
fn sweep(folder: &Path) -> Result<()> {
    let is_left = |name: &str| {
        let (file, random) = name.strip_prefix('.')?.rsplit_once('.')?;
        let of_run = [CURVE, MODEL, PREDICTIONS, RECORD];
        let known = [GRID, RANKING, SETTINGS, TOP, DRAWN[0]].contains(&file)
            || of_run.contains(&file)
            || file.ends_with(".checkpoint");
        let is_random = random.len() == 6
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && random.bytes().any(|byte| !byte.is_ascii_lowercase());
        (known && is_random).then_some(())
    };
    let entries = fs::read_dir(folder).map_err(|source| Error::read(folder, source))?;
    let left = entries.filter_map(io::Result::ok).map(|entry| entry.path());
    let left =
        left.filter(|path| path.file_name().and_then(|name| is_left(name.to_str()?)).is_some());
    left.collect::<Vec<_>>().iter().try_for_each(|path| remove(path))
}

/// Removes a folder if it is empty.
pub fn remove_folder(folder: &Path) {
    let _ = fs::remove_dir(folder);
}

/// Results that were recorded, with most models left out, are not to be trained over.
fn refuse_recorded(root: &Path) -> Result<()> {
    if !root.join(RECORDED).exists() {
        return Ok(());
    }
    let problem = format!("holds recorded results, as the file {RECORDED} in it says");
    Err(Error::input(Place::file(root), problem).hint("name another folder with --out"))
}

/// A folder with other things in it is not written to.
fn refuse_foreign(root: &Path) -> Result<()> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::unexpected(Place::file(root), "a file", "a folder")
                .hint("name another folder with --out"));
        }
        Err(source) => return Err(Error::read(root, source)),
    };
    // Names with a dot are rookie's own state, or none of its business.
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let mut entries = entries.filter_map(io::Result::ok);
    let drawn = |name: &std::ffi::OsStr| DRAWN.iter().any(|drawn| name == *drawn);
    let foreign = entries.find(|entry| !hidden(&entry.file_name()) && !drawn(&entry.file_name()));
    match foreign {
        None => Ok(()),
        Some(entry) => Err(Error::input(
            Place::file(root),
            format!("holds other things ({}) and no grid.toml", entry.file_name().display()),
        )
        .hint("name a new or empty folder with --out")),
    }
}

/// Takes the lock of a folder of results, of a grid or of a run.
///
/// # Errors
/// [`Error::Input`] where another process holds it.
pub fn lock(root: &Path) -> Result<File> {
    hold(lock_file(root)?, "this folder", root)
}

fn lock_file(root: &Path) -> Result<File> {
    let folder = root.join(STATE);
    change(&folder, || fs::create_dir_all(&folder))?;
    open_lock(&folder.join("lock"))
}

/// Opens a file to be locked: for reading too, without which NFS refuses a lock that is shared.
fn open_lock(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    change(path, || options.open(path))
}

/// Locks something by a file until that is dropped or its process ends, however it ends.
fn hold(file: File, what: &str, folder: &Path) -> Result<File> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(is_taken(what, folder)),
        Err(TryLockError::Error(source)) => Err(Error::write(folder, source)),
    }
}

fn is_taken(what: &str, folder: &Path) -> Error {
    Error::input(Place::file(folder), format!("another rookie is writing into {what}"))
        .hint("wait for it, or name another folder with --out")
}

/// Takes the lock of a folder as one of several. Another shard may be planning, which takes a
/// moment and is waited for.
fn lock_with_others(root: &Path) -> Result<File> {
    let file = lock_file(root)?;
    let until = Instant::now() + PLANNING;
    loop {
        match file.try_lock_shared() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => return Err(is_taken("this folder", root)),
            Err(TryLockError::Error(source)) => return Err(Error::write(root, source)),
        }
    }
}

fn shards_file(root: &Path) -> PathBuf {
    root.join(STATE).join(SHARDS_FILE)
}

/// A grid in shards.
#[derive(Debug)]
pub struct Shards {
    /// How many there are.
    pub count: usize,
    /// The shard of each run, in the grid's order.
    pub shard_of: Vec<usize>,
    data: String, // that all of them train on
}

const SHARD_COLUMNS: [&str; 4] = ["run", "shard", "shards", "data"];

fn write_shards(root: &Path, runs: &[Run], shards: &Shards) -> Result<()> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let in_memory = "writing into memory does not fail";
    csv.write_record(SHARD_COLUMNS).expect(in_memory);
    for (run, shard) in runs.iter().zip(&shards.shard_of) {
        let row = [&run.name, &shard.to_string(), &shards.count.to_string(), &shards.data];
        csv.write_record(row).expect(in_memory);
    }
    write_whole(&shards_file(root), &csv.into_inner().expect(in_memory))
}

/// In which shards a grid was last trained, if in any.
///
/// # Errors
/// Where the file cannot be read or is of other runs.
pub fn read_shards(root: &Path, runs: &[Run]) -> Result<Option<Shards>> {
    let path = shards_file(root);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::read(path, source)),
    };
    let (mut csv, mut runs) = (csv::Reader::from_reader(&text[..]), runs.iter());
    let mut shards = Shards { count: 0, shard_of: Vec::new(), data: String::new() };
    for record in csv.records() {
        let row = record.ok().and_then(|record| {
            let number = |field: usize| record.get(field)?.parse::<usize>().ok();
            let is_next = record.get(0)? == runs.next()?.name;
            let (shard, count) = (number(1)?, number(2)?);
            (is_next && shard < count).then_some((shard, count, record.get(3)?.to_string()))
        });
        let Some((shard, count, data)) = row else {
            let found = "another line";
            return Err(Error::unexpected(
                Place::Line(path, shards.shard_of.len() + 2),
                found,
                "a run of the grid with its shard, their number and their data",
            )
            .hint("remove the file when no shard is at work; they are planned anew"));
        };
        (shards.count, shards.data) = (count, data);
        shards.shard_of.push(shard);
    }
    Ok(runs.next().is_none().then_some(shards))
}

/// Refuses a folder that holds other things than a grid's results.
fn refuse_others_of(root: &Path) -> Result<()> {
    if is_grid(root) {
        return Ok(());
    }
    match refuse_foreign(root) {
        // Another shard has begun the grid since.
        Err(_) if is_grid(root) => return Ok(()),
        refused => refused?,
    }
    if fs::read_dir(states_of(root)).is_ok_and(|mut states| states.next().is_some()) {
        return Err(Error::input(Place::file(root), "holds a run in progress, and no grid")
            .hint("name another folder with --out"));
    }
    Ok(())
}

/// Whether a folder holds this grid already.
///
/// # Errors
/// [`Error::Input`] where it holds another.
fn refuse_another_grid(root: &Path, grid: &Grid) -> Result<bool> {
    let Some(there) = read_grid(root)? else { return Ok(false) };
    let Some(difference) = grid.difference(&there)? else { return Ok(true) };
    let problem = format!("holds another grid ({difference})");
    Err(Error::input(Place::file(root), problem)
        .hint("name another folder with --out, or start over with --fresh"))
}
