//! What several commands need.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{self, ErrorKind, IsTerminal, StdoutLock, Write, stdout};
use std::path::{Path, PathBuf};

use crate::cli::shared::HyperparamFlags;
use crate::data::batches::{Batching, Part};
use crate::data::dataset::{Dataset, Labelled, has_data};
use crate::data::preprocess::Standardisation;
use crate::data::small_batches::{cure_of_small_batches, small_batches};
use crate::engine::run_in_progress::SaveEvery;
use crate::error::{Error, Place, Result, counted};
use crate::figures::canvas::Format;
use crate::grid::axis::{Axis, parse_assignment, parse_axis};
use crate::grid::run_folder::{model_of, read_run};
use crate::grid::shards_file::{Shards, read_shards};
use crate::grid::space::Run;
use crate::progress::say;
use crate::results::read::{GridFolder, Results, model_of_run};
use crate::text::printable_lines;
use crate::train::keys::Key;
use crate::train::model::Model;
use crate::train::outcome::Record;
use crate::train::predictor::{Predictor, is_ensemble};
use crate::train::provenance::Provenance;

/// Where Debian's package `dataset-fashion-mnist` puts the files.
const DEBIAN_FOLDER: &str = "/usr/share/datasets/fashion-mnist";
/// Where `scripts/fetch-data` puts the files, under the working folder.
const LOCAL_FOLDER: &str = "data/fashion-mnist";
/// The environment variable that names a folder of data.
const VARIABLE: &str = "ROOKIE_DATA";

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

/// The folder that holds the data: the one asked for, else the first of `ROOKIE_DATA`,
/// `data/fashion-mnist` under the working folder and Debian's that is there.
///
/// A folder that the user names is used even if it turns out to be wrong: a mistyped path must not
/// silently train on something else.
///
/// # Errors
/// Where no folder is named and none of the known ones is there.
pub fn locate(asked_for: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = asked_for {
        return named_folder(folder, "--data");
    }
    if let Some(folder) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        return named_folder(Path::new(&folder), VARIABLE);
    }
    for folder in [LOCAL_FOLDER, DEBIAN_FOLDER] {
        // An empty folder is what a download that failed may leave.
        if has_data(Path::new(folder)) {
            return Ok(PathBuf::from(folder));
        }
    }
    Err(Error::input(
        Place::flag("no data"),
        format!(
            "found no images: neither --data nor {VARIABLE} is given, and neither {LOCAL_FOLDER} \
             nor {DEBIAN_FOLDER} is there"
        ),
    )
    .hint(
        "install Debian's package dataset-fashion-mnist (`apt-get install dataset-fashion-mnist`) \
         or run `scripts/fetch-data`",
    ))
}

fn named_folder(folder: &Path, by: &str) -> Result<PathBuf> {
    if folder.is_dir() {
        return Ok(folder.to_path_buf());
    }
    let found = if folder.exists() { "a file" } else { "no such folder" };
    Err(Error::unexpected(
        Place::flag(format!("{by} {}", folder.display())),
        found,
        "a folder with the four IDX files of a data set",
    ))
}

/// Reads the data set from the folder asked for or the first known one.
///
/// # Errors
/// As [`locate`] and [`Dataset::read`].
pub fn load(asked_for: Option<&Path>) -> Result<Dataset> {
    Dataset::read(&locate(asked_for)?)
}

/// The hyper-parameters given on the command line, `--set` after flags.
///
/// # Errors
/// Where a key is unknown or a value out of range.
pub fn overrides(flags: &HyperparamFlags, assignments: &[String]) -> Result<Vec<Axis>> {
    let of_flags = flags.given.iter().map(|(key, text)| parse_axis(&key.flag(), key, text));
    let all = of_flags.chain(assignments.iter().map(|text| parse_assignment(text)));
    let all: Vec<Axis> = all.collect::<Result<_>>()?;
    let keys: Vec<&Key> = all.iter().map(Axis::key).collect();
    match (1..keys.len()).find(|&at| keys[..at].contains(&keys[at])) {
        Some(at) => Err(Error::input(Place::flag(keys[at].flag()), "is given twice")
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
    if Path::new(positional).exists() || parse_axis(&key.flag(), key, positional).is_err() {
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

/// Which data are used, as a line.
pub fn describe_data(dataset: &Dataset) -> String {
    format!(
        "{} training and {} test images of {}×{} pixels in {} from {}",
        dataset.train.len(),
        dataset.test.len(),
        dataset.train.height,
        dataset.train.width,
        counted(dataset.classes(), "class"),
        dataset.source.display()
    )
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

/// Warns, once for each kind of batches, of those that are too small to standardise by themselves.
pub fn warn_of_batches(dataset: &Dataset, batchings: impl Iterator<Item = Batching>) {
    let by_batch = batchings.filter(|it| it.standardisation == Standardisation::Batch);
    let kinds = by_batch.map(|it| (it.validation_size, it.batch_size));
    for (validation_size, batch_size) in kinds.collect::<BTreeSet<_>>() {
        let validation_size = validation_size.of(dataset.train.len());
        let training = dataset.train.len() - validation_size;
        let test = dataset.test.len();
        let parts = [("training", training), ("validation", validation_size), ("test", test)];
        if let Some(warning) = small_batches(batch_size, &parts) {
            say(&format!("{warning}; {}", cure_of_small_batches(batch_size, &parts)));
        }
    }
}

/// Some images in the order of `indices`, in batches and standardised as a model's training had them.
pub fn in_batches(images: &Labelled, indices: &[usize], model: &Model) -> Part {
    Part::new(images, indices, model.values.batch_size, model.scaling_in_batches())
}

/// The test images in file order, in batches and standardised as a model's training had them.
pub fn test_part(dataset: &Dataset, model: &Model) -> Part {
    in_batches(&dataset.test, &in_file_order(&dataset.test), model)
}

/// The indices of all images.
pub fn in_file_order(images: &Labelled) -> Vec<usize> {
    (0..images.len()).collect()
}

/// The training images of a model, if a data set is what it was trained on, as far as its z-score and
/// its provenance tell.
pub fn training_images(
    model: &Model,
    dataset: &Dataset,
    provenance: Option<&Provenance>,
) -> Option<Vec<usize>> {
    if !Shown::fits(dataset, model, provenance) {
        return None;
    }
    let values = &model.values;
    let split = dataset.split(values.validation_size, values.data_seed).ok()?;
    // The same rows give the same bits.
    let here = dataset.preprocessing(&split.train, values.standardisation);
    (here.z == model.preprocessing.z).then_some(split.train)
}

/// A model that a user names by its file, and the record beside it, if there is one and the file is the
/// model of that run's folder.
///
/// # Errors
/// Where the model or the record cannot be read, or the model is not that of the record.
pub fn read_model(path: &Path) -> Result<(Model, Option<Record>)> {
    let folder = path.parent().filter(|parent| *parent != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
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
pub fn format_of(path: &Path) -> Result<Format> {
    let end = path.extension().unwrap_or_default();
    let format = [Format::Png, Format::Svg].into_iter().find(|format| end == format.extension());
    format.ok_or_else(|| {
        let found = format!("`{}`", path.display());
        Error::unexpected(Place::flag("--figure"), found, "a name that ends in .png or .svg")
    })
}

/// What the classes of a data set show.
pub fn class_names(dataset: &Dataset) -> Vec<String> {
    (0..dataset.classes()).map(|class| dataset.class_name(class)).collect()
}

/// Reports what was left out of results, which runs have not finished, and what else a reader should
/// know. Something left out makes the exit code 1.
pub fn say_left_out(results: &Results) -> Status {
    results.grids.iter().for_each(say_missing);
    results.left_out.iter().chain(&results.notes).for_each(|sentence| say(sentence));
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

/// What the classes and the inputs of a model show.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The names of the classes.
    pub names: Vec<String>,
    /// Height and width of an image, if they are known.
    pub shape: Option<(usize, usize)>,
}

impl Shown {
    /// As a data set tells.
    pub fn by(dataset: &Dataset) -> Self {
        let shape = Some((dataset.train.height, dataset.train.width));
        Self { names: class_names(dataset), shape }
    }

    /// Where no data set tells: the classes by their labels.
    pub fn by_labels(model: &Model) -> Self {
        Self { names: model.signature.labels.clone(), shape: None }
    }

    /// Whether a data set is what a model was trained on, as far as its provenance tells.
    pub fn fits(dataset: &Dataset, model: &Model, provenance: Option<&Provenance>) -> bool {
        let sizes =
            (dataset.train.inputs(), dataset.classes()) == (model.inputs(), model.classes());
        sizes && provenance.is_none_or(|provenance| provenance.is_of(dataset))
    }
}
