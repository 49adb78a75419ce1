//! The data that commands read: where they are, how they are read, and what is told of them.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};

use crate::cli::shared::DataArgs;
use crate::data::batches::{Batching, Part, check_inputs};
use crate::data::dataset::{Dataset, has_data, lacks_test};
use crate::data::labelled::Labelled;
use crate::data::options::DataOptions;
use crate::data::preprocess::Standardisation;
use crate::data::small_batches::{cure_of_small_batches, small_batches};
use crate::data::source::{self, refuse_other};
use crate::data::split::Split;
use crate::data::table::Delimiter;
use crate::error::{Error, Place, Result, counted};
use crate::progress::say;
use crate::text::shortened;
use crate::train::model::Model;
use crate::train::provenance::Provenance;

/// From here on, float32 does not tell all whole numbers apart.
const EXACT_BELOW: f32 = 16_777_216.0;
/// Where Debian's package `dataset-fashion-mnist` puts the files.
const DEBIAN_FOLDER: &str = "/usr/share/datasets/fashion-mnist";
/// Where `scripts/fetch-data` puts the files, under the working folder.
const LOCAL_FOLDER: &str = "data/fashion-mnist";
/// The environment variable that names a folder of data.
const VARIABLE: &str = "ROOKIE_DATA";

/// The folder that holds the data: the one asked for, else the first of `ROOKIE_DATA`,
/// `data/fashion-mnist` under the working folder and Debian's that is there.
///
/// A folder that the user names is used even if it turns out to be wrong: a mistyped path must not
/// silently train on something else.
///
/// # Errors
/// Where no folder is named and none of the known ones is there.
pub fn locate(asked_for: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named_by_user(asked_for) {
        return named;
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

/// The data that `--data` or `ROOKIE_DATA` names, if one of them does.
fn named_by_user(asked_for: Option<&Path>) -> Option<Result<PathBuf>> {
    if let Some(path) = asked_for {
        return Some(named(path, "--data"));
    }
    let path = env::var_os(VARIABLE).filter(|value| !value.is_empty())?;
    Some(named(Path::new(&path), VARIABLE))
}

fn named(path: &Path, by: &str) -> Result<PathBuf> {
    if path.exists() {
        return Ok(path.to_path_buf());
    }
    let place = Place::flag(format!("{by} {}", path.display()));
    let expected = "a folder with the four IDX files of a data set, or a table as CSV or TSV";
    Err(Error::unexpected(place, "no such file or folder", expected))
}

/// Reads the data set that was asked for, or that of the first known folder. Where no flag says how, it is
/// read as `recorded` says.
///
/// # Errors
/// As [`locate`] and [`source::open`].
pub fn load(args: &DataArgs, recorded: Option<&Provenance>) -> Result<Dataset> {
    let path = locate(args.data.as_deref());
    // Of the known folders, only one without test files is read in one way of several, as a table is.
    if recorded.is_some_and(Provenance::is_of_table)
        && named_by_user(args.data.as_deref()).is_none()
        && !path.as_ref().is_ok_and(|path| lacks_test(path))
    {
        let expected = "the table or arrays that these results are of";
        return Err(Error::unexpected(Place::flag("--data"), "none", expected));
    }
    let path = path?;
    let asked_for = args.options()?;
    let is_read_as_recorded = !args.say_how() && (!path.is_dir() || lacks_test(&path));
    let recorded = recorded.and_then(Provenance::data_options).filter(|_| is_read_as_recorded);
    let is_asked_for = recorded.is_none();
    let options = recorded.map_or(asked_for.clone(), |it| it.with_files_of(&asked_for));
    let dataset = source::open(&path, &options)?;
    if is_asked_for
        && let Some(&DataOptions { test_size, test_seed, .. }) = dataset.options.as_ref()
    {
        let used = DataOptions { test_size, test_seed, ..asked_for.clone() };
        refuse_other(&path, &asked_for, "an archive with test rows", &used)?;
    }
    dataset.warnings.iter().for_each(|warning| say(warning));
    Ok(dataset)
}

/// Which data are used, as a line.
pub fn describe_data(dataset: &Dataset) -> String {
    let Dataset { train, test, source, .. } = dataset;
    let (noun, of) = match &dataset.signature.schema {
        None => ("image", format!("of {}×{} pixels", train.height, train.width)),
        Some(_) => ("row", format!("of {}", counted(train.inputs(), "feature"))),
    };
    let rows_of = |part: &str, count: usize| counted(count, &format!("{part} {noun}"));
    let rows = match (rows_of("training", train.len()), test.len()) {
        (training, 0) => format!("{training} {of}, no test set,"),
        (training, test) => format!("{training} and {} {of}", rows_of("test", test)),
    };
    let is_drawn = dataset.has_drawn_test() && !test.is_empty();
    let drawn = dataset.options.as_ref().filter(|_| is_drawn).map(
        |DataOptions { test_size, test_seed, .. }| {
            let how = format!("--test-size {test_size}, --test-seed {test_seed}");
            format!("; the test rows are drawn from it ({how})")
        },
    );
    let (classes, drawn) = (counted(dataset.classes(), "class"), drawn.unwrap_or_default());
    let how = how_read(dataset).map_or_else(String::new, |how| format!(" ({how})"));
    format!("{rows} in {classes} from {}{how}{drawn}", source.display())
}

/// How a table was read, as far as its file did not say so: the column of the labels, what separates cells if
/// that is no comma, and the columns that have no effect because they never vary.
fn how_read(dataset: &Dataset) -> Option<String> {
    let schema = dataset.signature.schema.as_ref()?;
    let label = schema.label.as_ref().map(|label| format!("labels: {label}"));
    let delimiter = dataset.delimiter.filter(|it| *it != Delimiter::Comma);
    let delimiter = delimiter.map(|it| format!("delimiter: {it}"));
    let (names, constant) = (schema.feature_names(), dataset.train.features.constant());
    let first = if constant.is_empty() { Vec::new() } else { dataset.train.features.row(0) };
    let named = |&at: &usize| {
        let is_rounded = first[at].abs() >= EXACT_BELOW;
        let why = if is_rounded { " (in float32, which rounds such large numbers)" } else { "" };
        format!("{}{why}", shortened(&names[at]))
    };
    let mut listed: Vec<String> = constant.iter().take(5).map(named).collect();
    if constant.len() > listed.len() {
        listed.push(format!("{} more", constant.len() - listed.len()));
    }
    let constant =
        (!listed.is_empty()).then(|| format!("constant, so of no effect: {}", listed.join(", ")));
    let all: Vec<String> = [label, delimiter, constant].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// What a folder for results of a data set is called: as it is for the default data, else with the name of
/// its file behind it.
pub fn folder_name(name: &str, dataset: &Dataset) -> String {
    let file = dataset.options.as_ref().and_then(|_| dataset.source.file_name()?.to_str());
    let stem = file.and_then(|file| file.split('.').next()).filter(|stem| !stem.is_empty());
    stem.map_or_else(|| name.to_string(), |stem| format!("{name}_{stem}"))
}

/// Warns of classes that the split leaves no training row, and, once
/// for each kind of batches, of those that are too small to standardise by themselves.
///
/// # Errors
/// As [`Dataset::split`], so that data which cannot be divided are refused before anything is written.
pub fn warn_of_batches(
    dataset: &Dataset,
    batchings: impl Iterator<Item = Batching> + Clone,
) -> Result<()> {
    let splits = batchings.clone().map(|it| (it.validation_size, it.data_seed));
    let mut warnings = BTreeSet::new();
    for (size, seed) in splits.collect::<BTreeSet<_>>() {
        warnings.extend(classes_without_training(dataset, &dataset.split(size, seed)?));
    }
    for warning in &warnings {
        say(warning);
    }
    let by_batch = batchings.filter(|it| it.standardisation == Standardisation::Batch);
    let all = dataset.train.len();
    let kinds = by_batch.map(|it| (it.validation_size.of(all), it.batch_size));
    for (validation_size, batch_size) in kinds.collect::<BTreeSet<_>>() {
        let training = all - validation_size;
        let test = dataset.test.len();
        let parts = [("training", training), ("validation", validation_size), ("test", test)];
        if let Some(warning) = small_batches(batch_size, &parts) {
            say(&format!("{warning}; {}", cure_of_small_batches(batch_size, &parts)));
        }
    }
    Ok(())
}

/// A warning for each class of which all rows are for validation or test.
fn classes_without_training(dataset: &Dataset, split: &Split) -> Vec<String> {
    let counts = |labels: &mut dyn Iterator<Item = u8>| {
        let mut counts = vec![0; dataset.classes()];
        labels.for_each(|label| counts[usize::from(label)] += 1);
        counts
    };
    let of = |rows: &[usize]| counts(&mut rows.iter().map(|&row| dataset.train.labels[row]));
    let (train, validation) = (of(&split.train), of(&split.validation));
    let test = counts(&mut dataset.test.labels.iter().copied());
    let warning = |class: usize| {
        format!(
            "warning: class {} has no training row ({} for validation and {} for test), so the model \
             cannot learn it",
            dataset.class_name(class),
            validation[class],
            test[class]
        )
    };
    (0..dataset.classes()).filter(|&class| train[class] == 0).map(warning).collect()
}

/// Some images in the order of `indices`, in batches and standardised as a model's training had them.
///
/// # Errors
/// Where one is too far from the model's training rows.
pub fn in_batches(images: &Labelled, indices: &[usize], model: &Model) -> Result<Part> {
    let part = Part::new(images, indices, model.values.batch_size, model.scaling_in_batches());
    let place = Place::Name("the data");
    let row = |row: usize| format!("row {}", indices[row] + 1);
    check_inputs(part.images(), &model.signature, &place, row)?;
    Ok(part)
}

/// The test images in file order, in batches and standardised as a model's training had them.
///
/// # Errors
/// As [`in_batches`].
pub fn test_part(dataset: &Dataset, model: &Model) -> Result<Part> {
    in_batches(&dataset.test, &in_file_order(&dataset.test), model)
}

/// The indices of all images.
pub fn in_file_order(images: &Labelled) -> Vec<usize> {
    (0..images.len()).collect()
}

/// The training images of a model, if a data set is what it was trained on, as far as its preprocessing
/// and its provenance tell.
pub fn training_images(
    model: &Model,
    dataset: &Dataset,
    provenance: Option<&Provenance>,
) -> Option<Vec<usize>> {
    if !Shown::fits(dataset, model, provenance) {
        return None;
    }
    model.training_rows(dataset)
}

/// What the classes of a data set show.
pub fn class_names(dataset: &Dataset) -> Vec<String> {
    (0..dataset.classes()).map(|class| dataset.class_name(class)).collect()
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
