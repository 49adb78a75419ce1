//! What several commands need.

use std::collections::BTreeSet;
use std::env;
use std::io::{ErrorKind, IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};

use crate::cli::HyperparamFlags;
use crate::data::batches::{Batching, Part, cure_of_small_batches, small_batches};
use crate::data::dataset::{Dataset, Labelled, Split, has_data};
use crate::data::preprocess::{Standardisation, ZScore};
use crate::engine::run_in_progress::SaveEvery;
use crate::error::{Error, Place, Result, counted};
use crate::grid::space::{Axis, Grid, Run, parse_assignment, parse_axis};
use crate::grid::store::{self, read_results};
use crate::progress::say;
use crate::report::ranking::{By, Columns, Entry, Ranking};
use crate::text::printable_lines;
use crate::train::hyperparams::Key;
use crate::train::model::Model;
use crate::train::outcome::Record;
use crate::train::provenance::{data_lines, same_data};

/// Where Debian's package `dataset-fashion-mnist` puts the files.
const DEBIAN_FOLDER: &str = "/usr/share/datasets/fashion-mnist";
/// Where `scripts/fetch-data` puts the files, under the working folder.
const LOCAL_FOLDER: &str = "data/fashion-mnist";
/// The environment variable that names a folder of data.
const VARIABLE: &str = "ROOKIE_DATA";

/// How a command that did not fail came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Everything was done.
    Done,
    /// Something failed on the way and was told of.
    SomethingFailed,
    /// A signal stopped it; the same command goes on.
    Interrupted(u8),
}

impl Status {
    /// The exit code of the program.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::SomethingFailed => 1,
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
            .hint("list several values after one flag, parted by commas")),
        None => Ok(all),
    }
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
        counted(dataset.classes, "class"),
        dataset.folder.display()
    )
}

/// Prints a text with a line end to standard output.
///
/// # Errors
/// [`Error::Output`] where it cannot be.
pub fn print(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{}", printable_lines(text))?;
    Ok(out.flush()?)
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

/// The last part of a folder's path, also where it is given as `.` or through a link.
pub fn folder_name(folder: &Path) -> String {
    let whole = folder.canonicalize().ok();
    let name = whole.as_deref().unwrap_or(folder).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
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
/// `provenance` tell.
pub fn training_images(
    model: &Model,
    dataset: &Dataset,
    provenance: Option<&[(String, String)]>,
) -> Option<Vec<usize>> {
    if !Shown::fits(dataset, model, provenance) {
        return None;
    }
    let values = &model.values;
    let split = Split::draw(dataset.train.len(), values.validation_size, values.data_seed).ok()?;
    // Its sums are exact, so that the same images give the same bits.
    (ZScore::measure(&dataset.train, &split.train) == model.z).then_some(split.train)
}

/// What the record beside a model's file says that it came from, if there is one.
pub fn provenance_of(model: &Path) -> Option<Vec<(String, String)>> {
    let folder = model.parent().filter(|parent| *parent != Path::new(""));
    let record = store::read_run(folder.unwrap_or(Path::new("."))).ok().flatten()?;
    Some(record.provenance)
}

/// What the classes of a data set show.
pub fn class_names(dataset: &Dataset) -> Vec<String> {
    (0..dataset.classes).map(|class| dataset.class_name(class)).collect()
}

/// A grid as far as it has come.
#[derive(Debug)]
pub struct Results {
    /// As it was begun.
    pub grid: Grid,
    /// Its runs, in its order.
    pub planned: Vec<Run>,
    /// What sets them apart.
    pub columns: Columns,
    /// Those that have ended, by test accuracy.
    pub ranking: Ranking,
}

impl Results {
    /// Reads a results folder.
    ///
    /// # Errors
    /// Where it is none, or a file in it cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let store::Results { grid, runs: planned, ended } = read_results(folder)?;
        let columns = Columns::new(planned.iter().map(|run| &*run.values), &grid.varying());
        let entry =
            |(place, record): (usize, Record)| Entry { run: planned[place].name.clone(), record };
        let entries = ended.into_iter().map(entry);
        let ranking = Ranking::new(entries.collect(), columns.clone(), By::Test);
        Ok(Self { grid, planned, columns, ranking })
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

    /// Where no data set tells: the classes by their numbers.
    pub fn by_numbers(model: &Model) -> Self {
        Self { names: (0..model.classes()).map(|class| class.to_string()).collect(), shape: None }
    }

    /// Whether a data set is what a model was trained on, as far as `provenance` tells.
    pub fn fits(dataset: &Dataset, model: &Model, provenance: Option<&[(String, String)]>) -> bool {
        let sizes = (dataset.train.inputs(), dataset.classes) == (model.inputs(), model.classes());
        sizes && provenance.is_none_or(|lines| same_data(&data_lines(dataset), lines))
    }
}
