//! What several commands need.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, ErrorKind, IsTerminal, StdoutLock, Write, stdout};
use std::path::{Path, PathBuf};

use crate::cli::shared::HyperparamFlags;
use crate::engine::run_in_progress::SaveEvery;
use crate::error::{Error, Place, Result, counted};
use crate::figures::canvas::Format;
use crate::grid::axis::{Axis, parse_assignment, parse_axis};
use crate::grid::run_folder::{model_of, read_run};
use crate::grid::shards_file::{Shards, read_shards};
use crate::grid::space::Run;
use crate::grid::store::refuse_foreign_file;
use crate::progress::say;
use crate::results::read::{GridFolder, Results, model_of_run};
use crate::text::printable_lines;
use crate::train::keys::Key;
use crate::train::model::Model;
use crate::train::outcome::Record;
use crate::train::predictor::{Predictor, is_ensemble};
use crate::train::provenance::Provenance;

/// How a command that did not fail came out; of two parts of a command, the larger holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Everything was done.
    #[default]
    Done,
    /// Something failed on the way and was told of.
    SomethingFailed,
    /// It waits for other shards, which are not at work; the same command goes on after them.
    Waits,
    /// A signal stopped it; the same command goes on.
    Interrupted(u8),
}

impl Status {
    /// The exit code of the program.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::SomethingFailed => 1,
            // EX_TEMPFAIL of sysexits.h.
            Self::Waits => 75,
            Self::Interrupted(signal) => 128 + signal,
        }
    }
}

/// The hyper-parameters given on the command line, `--set` after flags.
///
/// # Errors
/// Where a key is unknown or a value out of range.
pub fn overrides(flags: &HyperparamFlags, assignments: &[String]) -> Result<Vec<Axis>> {
    let of_flags =
        flags.given.iter().map(|(key, text)| parse_axis(Place::Option(key.name), key, text));
    let all = of_flags.chain(assignments.iter().map(|text| parse_assignment(text)));
    let all: Vec<Axis> = all.collect::<Result<_>>()?;
    let keys: Vec<&Key> = all.iter().map(Axis::key).collect();
    match (1..keys.len()).find(|&at| keys[..at].contains(&keys[at])) {
        Some(at) => Err(Error::input(Place::Option(keys[at].name), "is given twice")
            .hint("give the flag once; a grid takes several values, separated by commas")),
        None => Ok(all),
    }
}

/// Refuses `--reshuffle true`, of which the parser takes `true` for the file or the grid.
///
/// # Errors
/// [`Error::Input`] with the right way to write it.
pub fn refuse_value_of_switch(positional: &str, flags: &HyperparamFlags) -> Result<()> {
    let is_switch = |(key, _): &&(&'static Key, String)| key.is_switch();
    let Some((key, _)) = flags.given.iter().find(is_switch) else { return Ok(()) };
    if Path::new(positional).exists()
        || parse_axis(Place::Option(key.name), key, positional).is_err()
    {
        return Ok(());
    }
    let flag = key.flag();
    let problem = "the value of this flag follows an equals sign";
    Err(Error::input(Place::flag(format!("{flag} {positional}")), problem)
        .hint(format!("write {flag}={positional}")))
}

/// How often a run in progress is saved: every so many epochs, or by default every minute.
pub fn save_every(epochs: Option<u32>) -> SaveEvery {
    epochs.map_or_else(SaveEvery::default, |epochs| SaveEvery::Epochs(epochs as usize))
}

/// Writes to standard output.
///
/// # Errors
/// [`Error::Output`] where it cannot be written to.
pub fn write_out(write: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<()>) -> Result<()> {
    let mut out = stdout().lock();
    write(&mut out).and_then(|()| out.flush()).map_err(Error::Output)
}

/// Prints a text with a line end to standard output.
///
/// # Errors
/// [`Error::Output`] where it cannot be.
pub fn print(text: &str) -> Result<()> {
    write_out(|out| writeln!(out, "{}", printable_lines(text)))
}

/// The columns of the terminal that results are printed to; `None` where they go elsewhere.
pub fn terminal_width() -> Option<usize> {
    if !stdout().is_terminal() {
        return None;
    }
    let asked_for = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    asked_for.or_else(|| Some(usize::from(terminal_size::terminal_size()?.0.0)))
}

/// The status of finished work whose results were printed. That a reader has closed the pipe, as
/// `head` does, changes nothing about how the work came out.
///
/// # Errors
/// [`Error::Output`] where printing failed otherwise.
pub fn unless_closed(printed: Result<()>, status: Status) -> Result<Status> {
    match printed {
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(status),
        printed => printed.map(|()| status),
    }
}

/// `results/NAME`, where results go unless a user says otherwise.
pub fn default_folder(name: &str) -> PathBuf {
    Path::new("results").join(name)
}

/// The folder that a file stands in, `.` for a bare name.
pub fn parent_of(file: &Path) -> &Path {
    let parent = file.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or(Path::new("."))
}

/// A model that a user names by its file, and the record beside it, if there is one and the file is the
/// model of that run's folder.
///
/// # Errors
/// Where the model or the record cannot be read, or the model is not that of the record.
pub fn read_model(path: &Path) -> Result<(Model, Option<Record>)> {
    let folder = parent_of(path);
    let is_of_run = path.file_name() == model_of(folder).file_name();
    match read_run(folder)?.filter(|_| is_of_run) {
        None => Ok((Model::read(path)?, None)),
        Some(record) => Ok((model_of_run(folder, &record)?, Some(record))),
    }
}

/// A model or an ensemble that a user names by its file, and what it came from as far as that is known.
///
/// # Errors
/// As [`read_model`] and [`Predictor::open`].
pub fn read_predictor(path: &Path) -> Result<(Predictor, Option<Provenance>)> {
    if is_ensemble(path) {
        let predictor = Predictor::open(path)?;
        let provenance = predictor.ensemble.as_ref().map(|it| it.provenance.clone());
        return Ok((predictor, provenance));
    }
    let (model, record) = read_model(path)?;
    Ok((Predictor::single(path, model), record.map(|record| record.provenance)))
}

/// The file that a command writes: the one asked for, else one of this name in the only folder.
///
/// # Errors
/// Where there are several folders and none is asked for, with a hint.
pub fn out_of(
    folders: &[PathBuf],
    out: Option<&Path>,
    (name, hint): (&str, &str),
) -> Result<PathBuf> {
    match (out, folders) {
        (Some(out), _) => Ok(out.to_path_buf()),
        (None, [folder]) => Ok(folder.join(name)),
        (None, _) => {
            let problem = "is missing, and there are several folders";
            Err(Error::input(Place::flag("--out"), problem).hint(hint))
        }
    }
}

/// The format of a figure, by the end of its file's name.
///
/// # Errors
/// Where it is another end.
fn format_of(path: &Path) -> Result<Format> {
    let end = path.extension().unwrap_or_default();
    let format = [Format::Png, Format::Svg].into_iter().find(|format| end == format.extension());
    format.ok_or_else(|| {
        let found = format!("`{}`", path.display());
        Error::unexpected(Place::flag("--figure"), found, "a name that ends in .png or .svg")
    })
}

/// The format of a figure, by the end of its file's name; what is there already must be a picture in it.
///
/// # Errors
/// Where the name has another end, or a file that is no picture has it.
pub fn new_figure(path: &Path) -> Result<Format> {
    let format = format_of(path)?;
    refuse_foreign_picture(path, format, "--figure").map(|()| format)
}

/// Refuses to replace what is no picture in this format.
///
/// # Errors
/// Where it is there; it is named, with the flag for another name.
pub fn refuse_foreign_picture(path: &Path, format: Format, flag: &str) -> Result<()> {
    refuse_foreign_file(path, &[format.mark()], flag)
}

/// Reports what was left out of results, which runs have not finished, and what else a reader should
/// know. Something left out makes the exit code 1.
pub fn say_left_out(results: &Results) -> Status {
    results.grids.iter().for_each(say_missing);
    results.left_out.iter().chain(&results.notes).for_each(|sentence| say(sentence));
    of_left_out(results)
}

/// The status of a command that something was left out of, or nothing.
pub fn of_left_out(results: &Results) -> Status {
    if results.left_out.is_empty() { Status::Done } else { Status::SomethingFailed }
}

/// Reports a file that a command goes on without, because it is damaged or does not belong, and what that
/// means.
pub fn left_out(error: &Error, so: &str) -> Status {
    say(&format!("left out: {error}; {so}"));
    Status::SomethingFailed
}

/// How many shards with missing runs are reported, each in a line.
const MAX_SHARDS: usize = 10;

/// Reports how many runs of a grid have not finished and, where it was trained in shards, whose they
/// are.
fn say_missing(GridFolder { path, runs, missing, .. }: &GridFolder) {
    if missing.is_empty() {
        return;
    }
    let left = counted(missing.len(), "run");
    say(&format!("{}: {left} of {} not finished", path.display(), runs.len()));
    let Shards { count, shard_of, .. } = match read_shards(path, runs) {
        Ok(None) => return,
        Ok(Some(planned)) => planned,
        Err(error) => return say(&error.to_string()),
    };
    let mut of_shard: BTreeMap<usize, (usize, &Run)> = BTreeMap::new();
    for &index in missing {
        of_shard.entry(shard_of[index]).or_insert((0, &runs[index])).0 += 1;
    }
    for (shard, (left, first)) in of_shard.iter().take(MAX_SHARDS) {
        let left = counted(*left, "run");
        say(&format!("of shard {shard}/{count}: {left}, the first of them {}", first.name));
    }
    if of_shard.len() > MAX_SHARDS {
        let further = counted(of_shard.len() - MAX_SHARDS, "further shard");
        say(&format!("and of {further}"));
    }
}
