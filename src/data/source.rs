//! Where data come from and how they are read: a folder of IDX files, a table as CSV or TSV, or arrays of
//! NumPy. Test rows are drawn where no file holds them.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashSet};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::data::arrays::{self, Array, Arrays};
use crate::data::columns::{in_list, list};
use crate::data::csv_file;
use crate::data::dataset::{
    Dataset, Validation, has_data, is_training_file, lacks_test, read_training, without_data,
};
use crate::data::features::Features;
use crate::data::labelled::Labelled;
use crate::data::npz;
use crate::data::options::DataOptions;
use crate::data::preprocess::Missing;
use crate::data::schema::Schema;
use crate::data::signature::Signature;
use crate::data::split::{Drawing, PartSize};
use crate::data::table::{Column, ColumnKind, Columns, LabelColumn, Labels, Table};
use crate::error::{Error, Place, Result, counted};
use crate::memory::{for_data_of, with_capacity};
use crate::text::shortened;

/// Reads a data set: a folder of IDX files, arrays of NumPy, or a table.
///
/// # Errors
/// Where it is none of these, a file is not as it must be, or an option does not go with it.
pub fn open(path: &Path, options: &DataOptions) -> Result<Dataset> {
    for_data_of(path, || open_any(path, options))
}

fn open_any(path: &Path, options: &DataOptions) -> Result<Dataset> {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase);
    match ending.as_deref() {
        _ if lacks_test(path) => {
            let DataOptions { stratify, test_size, test_seed, .. } = *options;
            let taken = DataOptions { stratify, test_size, test_seed, ..DataOptions::default() };
            refuse_other(path, options, "a folder of IDX files", &taken)?;
            let (rows, labels, hashes) = read_training(path)?;
            let file_rows = (0..rows.len()).collect();
            let train = Part { rows, file_rows, groups: Vec::new() };
            let signature = Signature { labels, schema: None };
            let given = Given { train, validation: None, test: None };
            divide(path, given, (signature, hashes.into()), options)
        }
        _ if path.is_dir() && !has_data(path) => Err(without_data(path)),
        _ if path.is_dir() => {
            // Such a folder has its test set, and validation rows are drawn whatever their class.
            let taken = DataOptions { stratify: options.stratify, ..DataOptions::default() };
            refuse_other(path, options, "a folder of IDX files with a test set", &taken)?;
            Dataset::read(path)
        }
        Some("npz") => {
            let taken = DataOptions { labels: None, ..options.clone() };
            refuse_other(path, options, "an archive that holds its labels", &taken)?;
            of_arrays(path, npz::read(path)?, options)
        }
        Some("npy") => {
            let Some(labels) = &options.labels else {
                let problem = "is an array without labels";
                return Err(Error::input(Place::file(path), problem)
                    .hint("name the .npy file that holds them with --labels"));
            };
            let train = npz::read_pair(path, labels)?;
            let unused = Vec::new();
            of_arrays(
                path,
                Arrays { train, validation: None, test: None, unused, names: String::new() },
                options,
            )
        }
        _ => {
            let taken = DataOptions { labels: None, ..options.clone() };
            refuse_other(path, options, "a table, whose labels are a column", &taken)?;
            if options.test.is_some() {
                let what = "a table with a file of test rows";
                refuse_other(path, options, what, &options.without_drawn_test())?;
            }
            of_files(path, options)
        }
    }
}

/// Refuses options that differ from those which this kind of data takes.
///
/// # Errors
/// The flags of those that differ.
pub fn refuse_other(
    path: &Path,
    found: &DataOptions,
    what: &str,
    taken: &DataOptions,
) -> Result<()> {
    let Columns { label, ignore, categorical, group, id: _, wanted: _, group_may_lack: _ } =
        &found.columns;
    let of_columns = &taken.columns;
    let flags = [
        ("--label", *label != of_columns.label),
        ("--ignore", *ignore != of_columns.ignore),
        ("--categorical", *categorical != of_columns.categorical),
        ("--group", *group != of_columns.group),
        ("--labels", found.labels != taken.labels),
        ("--missing", found.missing != taken.missing),
        ("--test", found.test != taken.test),
        ("--validation", found.validation != taken.validation),
        ("--test-size", found.test_size != taken.test_size),
        ("--test-seed", found.test_seed != taken.test_seed),
        ("--no-stratify", found.stratify != taken.stratify),
    ];
    let flags = flags.into_iter().filter_map(|(flag, is_other)| is_other.then_some(flag));
    let flags: Vec<&str> = flags.collect();
    if flags.is_empty() {
        return Ok(());
    }
    let problem = format!("is {what}, for which {} cannot be used", flags.join(" and "));
    Err(Error::input(Place::file(path), problem).hint("leave that out"))
}

/// What was read of a data set: all its training rows, and others that are given.
struct Given<T> {
    train: T,
    validation: Option<T>,
    test: Option<T>,
}

impl<T> Given<T> {
    fn try_map<U>(self, mut map: impl FnMut(T) -> Result<U>) -> Result<Given<U>> {
        Ok(Given {
            train: map(self.train)?,
            validation: self.validation.map(&mut map).transpose()?,
            test: self.test.map(&mut map).transpose()?,
        })
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &T)> {
        let others = [("validation", self.validation.as_ref()), ("test", self.test.as_ref())];
        let others = others.into_iter().filter_map(|(name, part)| Some((name, part?)));
        std::iter::once(("train", &self.train)).chain(others)
    }
}

/// Rows with the class, the group and the place of each in its file, before they are divided.
struct Part {
    rows: Labelled,
    groups: Vec<u32>,
    file_rows: Vec<usize>,
}

impl Part {
    fn chosen(&self, rows: &[usize]) -> Self {
        let Self { rows: all, groups, file_rows } = self;
        let groups = if groups.is_empty() { Vec::new() } else { gather(groups, rows) };
        Self { rows: all.chosen(rows), groups, file_rows: gather(file_rows, rows) }
    }

    /// The group of each row, or a hash of its features and label.
    fn keys(&self, by_group: bool) -> impl Iterator<Item = u64> {
        (0..self.rows.len()).map(move |row| {
            if by_group {
                return u64::from(self.groups[row]);
            }
            let mut hasher = DefaultHasher::new();
            self.rows.labels[row].hash(&mut hasher);
            // Zeros of either sign are equal.
            let features = self.rows.features.row(row).into_iter();
            features.for_each(|value| (value + 0.0).to_bits().hash(&mut hasher));
            hasher.finish()
        })
    }
}

fn gather<T: Copy>(of: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().map(|&row| of[row]).collect()
}

type Hashes = Vec<(String, String)>;

fn of_arrays(path: &Path, arrays: Arrays, options: &DataOptions) -> Result<Dataset> {
    let DataOptions { missing, stratify, test_size, test_seed, labels, .. } = options.clone();
    let taken =
        DataOptions { missing, stratify, test_size, test_seed, labels, ..DataOptions::default() };
    refuse_other(path, options, "an array without names of columns", &taken)?;
    let warning = (!arrays.unused.is_empty()).then(|| {
        let (unused, names) = (list(&arrays.unused), &arrays.names);
        format!(
            "warning: {} has arrays that are not read: {unused}; {names} are read",
            path.display()
        )
    });
    let Arrays { train, validation, test, .. } = arrays;
    // Where test rows are given, none are drawn, and the record does not say how.
    let options = &if test.is_some() { options.without_drawn_test() } else { options.clone() };
    let given = Given { train, validation, test };
    refuse_unknown_labels(path, &given)?;
    let hash = |(part, array): (&str, &Array)| {
        let [features, labels] = &array.hashes;
        [("features", features), ("labels", labels)]
            .map(|(what, (_, sha256))| (format!("{part}_{what}"), sha256.clone()))
    };
    let hashes: Hashes = given.each().flat_map(hash).collect();
    let names = given.train.labels.names.clone();
    let is_images = matches!(given.train.features, arrays::Features::Images { .. });
    if is_images {
        let parts = given.try_map(|array| Ok(images(array)))?;
        let signature = Signature { labels: names, schema: None };
        let dataset = divide(path, parts, (signature, hashes), options)?;
        return Ok(with_warnings(warning, dataset));
    }
    let table = |array: Array| {
        let what = "images in one part and other features in another";
        array.into_table().ok_or_else(|| Error::unexpected(Place::file(path), what, "one kind"))
    };
    let dataset = of_tables(path, given.try_map(table)?, hashes, options)?;
    Ok(with_warnings(warning, dataset))
}

/// The data set with warnings before its own.
fn with_warnings(first: impl IntoIterator<Item = String>, mut dataset: Dataset) -> Dataset {
    dataset.warnings.splice(..0, first);
    dataset
}

/// Refuses labels of other parts that no training row has: the names are those of the whole archive.
fn refuse_unknown_labels(path: &Path, given: &Given<Array>) -> Result<()> {
    let Labels { names, codes } = &given.train.labels;
    let known: BTreeSet<u32> = codes.iter().copied().collect();
    for (_, array) in given.each() {
        if let Some(&code) = array.labels.codes.iter().find(|code| !known.contains(code)) {
            let known: Vec<_> = known.iter().map(|&code| names[code as usize].clone()).collect();
            return Err(unknown_label(&array.hashes[1].0, &names[code as usize], &known, path));
        }
    }
    Ok(())
}

/// The error where a part has a label that is none of `names`, those of the training rows of `path`.
fn unknown_label(of: &Path, label: &str, names: &[String], path: &Path) -> Error {
    let expected = format!("one of {}, as in {}", list(names), path.display());
    Error::unexpected(Place::file(of), format!("the label `{}`", shortened(label)), expected)
}

fn images(array: Array) -> Part {
    let labels = array.labels.codes.iter().map(|&code| code as u8).collect();
    let arrays::Features::Images { height, width, pixels } = array.features else {
        unreachable!("all parts are of a kind")
    };
    let features = Features::bytes(pixels, height * width);
    let file_rows = (0..array.rows).collect();
    Part { rows: Labelled { height, width, features, labels }, groups: Vec::new(), file_rows }
}

fn of_files(path: &Path, options: &DataOptions) -> Result<Dataset> {
    let train = csv_file::read(path, &options.columns)?;
    let label = train.label_column.clone().expect("it was named or guessed");
    let columns = Columns {
        label: LabelColumn::Named(label.clone()),
        wanted: Some(train.columns.clone()),
        group: options.columns.group.clone(),
        ..Columns::default()
    };
    let other = |path: &Option<PathBuf>, columns: &Columns| {
        path.as_ref().map(|path| csv_file::read(path, columns)).transpose()
    };
    let mut validation = other(&options.validation, &columns)?;
    // Folds divide the rows of both files.
    if let Some(validation) = &mut validation {
        validation.share_groups(&train);
    }
    // Test rows need no groups; where they have them, they are compared.
    let mut test = other(&options.test, &Columns { group_may_lack: true, ..columns })?;
    let given_groups = validation.as_ref().unwrap_or(&train);
    if let Some(test) = &mut test {
        // The groups of validation rows have numbers after those of training rows.
        test.share_groups(given_groups);
    }
    let given = Given { train, validation, test };
    let hash = |(part, table): (&str, &Table)| (format!("{part}_table"), table.sha256.clone());
    let hashes = given.each().map(hash).collect();
    let mut options = options.clone();
    options.columns.label = LabelColumn::Named(label);
    let delimiter = given.train.delimiter;
    let warnings: Vec<String> = given.each().flat_map(|(part, of)| unknown(part, of)).collect();
    let dataset = with_warnings(warnings, of_tables(path, given, hashes, &options)?);
    Ok(Dataset { delimiter, ..dataset })
}

/// Warnings of categories in a part that the training rows do not have.
fn unknown(part: &str, table: &Table) -> Vec<String> {
    let unknown = table.columns.iter().zip(&table.unknown).filter(|(_, count)| **count > 0);
    let warning = |(column, &count): (&Column, &usize)| {
        let (rows, name) = (counted(count, &format!("{part} row")), shortened(&column.name));
        format!("{rows} with a category of `{name}` that training did not have")
    };
    unknown.map(warning).collect()
}

/// A warning of rows of a part that are also among those of another file, by their groups where both have
/// some.
fn shared((name, part): (&str, &Part), (other, of): (&str, &Part)) -> Option<String> {
    let by_group = !part.groups.is_empty() && !of.groups.is_empty();
    let known: HashSet<u64> = of.keys(by_group).collect();
    let count = part.keys(by_group).filter(|key| known.contains(key)).count();
    let how = if by_group { "share a group with" } else { "are equal to" };
    let of_folds = by_group && name == "validation";
    let unless = if of_folds { ", unless folds divide both" } else { "" };
    (count > 0).then(|| {
        format!(
            "warning: {count} of {} {how} {other} rows, so the {name} accuracy may be too high{unless}",
            counted(part.rows.len(), &format!("{name} row"))
        )
    })
}

fn of_tables(
    path: &Path,
    given: Given<Table>,
    hashes: Hashes,
    options: &DataOptions,
) -> Result<Dataset> {
    let given = given.try_map(|table| {
        check_memory(table.rows);
        if options.missing != Missing::DropRow {
            let rows = (0..table.rows).collect();
            return Ok((table, rows));
        }
        let whole = table.whole_rows();
        let all = "a missing value in every row";
        let some = || Error::unexpected(Place::file(&table.path), all, "rows without one");
        if whole.is_empty() { Err(some()) } else { Ok((table.chosen(&whole), whole)) }
    })?;
    let train = &given.train.0;
    refuse_names_of_rows(train)?;
    let schema = Schema::of(train, options.missing);
    let names = known_labels(train).names.clone();
    let parts = given.try_map(|(mut table, file_rows)| {
        let hint = "add --missing mean or --missing median to put one in their place, or --missing drop-row \
                    to leave such rows out";
        refuse_too_many_categories(&schema, &table)?;
        let features = schema.features(&mut table, hint)?;
        let labels = classes(known_labels(&table), &names)
            .map_err(|name| unknown_label(&table.path, &name, &names, path))?;
        let rows = Labelled { height: 1, width: features.per_row(), features, labels };
        Ok(Part { rows, groups: table.groups.unwrap_or_default(), file_rows })
    })?;
    let signature = Signature { labels: names, schema: Some(schema) };
    divide(path, parts, (signature, hashes), options)
}

/// How many different texts in as many rows cannot be categories.
const NAMES_OF_ROWS: usize = 20;

/// Refuses a column of texts that are all different: each would become a feature that one row has.
fn refuse_names_of_rows(table: &Table) -> Result<()> {
    let with_missing = table.columns.iter().zip(table.missing());
    let named = with_missing.filter_map(|(column, missing)| match &column.kind {
        ColumnKind::Category(texts) => Some((&column.name, texts.len(), table.rows - missing)),
        ColumnKind::Number => None,
    });
    let mut named = named.filter(|(_, texts, rows)| texts == rows && *rows >= NAMES_OF_ROWS);
    let Some((name, texts, _)) = named.next() else { return Ok(()) };
    let short = shortened(name);
    let found = format!("a different string in each of {texts} rows of the column `{short}`");
    Err(Error::unexpected(Place::file(&table.path), found, "categories that several rows have")
        .hint(format!("leave the column out with --ignore {}", in_list(name))))
}

/// Refuses a table whose features do not fit into memory, with the column that has most of them.
fn refuse_too_many_categories(schema: &Schema, table: &Table) -> Result<()> {
    let (Some(problem), Some((name, count))) = (schema.too_large(table.rows), schema.widest())
    else {
        return Ok(());
    };
    let cure = match count {
        1 => "use fewer rows".to_string(),
        _ => format!(
            "the column `{}` has {count} categories: leave it out with --ignore {}",
            shortened(name),
            in_list(name)
        ),
    };
    Err(Error::Machine(format!("{}: {problem}; {cure}", table.path.display())))
}

/// Allocates as much as the order of rows, their places in the file and what tells equal ones take at most, so
/// that there is a panic for lack of memory and no abort.
fn check_memory(rows: usize) {
    drop(with_capacity::<[u8; 100]>(rows));
}

fn known_labels(table: &Table) -> &Labels {
    table.labels.as_ref().expect("a table to train on has labels")
}

/// Divides the rows as they are given, or draws the test set, and notes how the validation rows are drawn.
fn divide(
    path: &Path,
    given: Given<Part>,
    (signature, sha256): (Signature, Hashes),
    options: &DataOptions,
) -> Result<Dataset> {
    if let [name] = &signature.labels[..] {
        let found = format!("the label `{}` in every row", shortened(name));
        return Err(Error::unexpected(Place::file(path), found, "two classes at least"));
    }
    check_memory(given.each().map(|(_, part)| part.rows.len()).sum());
    let Given { mut train, validation, test } = given;
    let is_drawn = test.is_none();
    let test = match test {
        Some(test) => test,
        None => draw_test(path, &mut train, options)?,
    };
    let parts =
        [("training", Some(&train)), ("validation", validation.as_ref()), ("test", Some(&test))];
    let pairs = [(1, 0), (2, 0), (2, 1)].into_iter();
    // Rows that are drawn from one file may be equal, and the same file is told by its hash.
    let pairs = pairs.filter(|pair| match pair {
        (1, 0) => !is_training_file(&sha256, "validation"),
        (2, 0) => !is_drawn && !is_training_file(&sha256, "test"),
        _ => true,
    });
    let part = |at: usize| Some((parts[at].0, parts[at].1?));
    let warnings = pairs.filter_map(|(of, other)| shared(part(of)?, part(other)?)).collect();
    let (mut rows, mut train_rows) = (train.rows, train.file_rows);
    let validation = match validation {
        Some(validation) => {
            let (count, mut groups) = (validation.rows.len(), train.groups);
            rows = rows.followed_by(validation.rows);
            train_rows.extend(validation.file_rows);
            groups.extend(validation.groups);
            Validation::Last { rows: count, stratify: options.stratify, groups }
        }
        None if options.stratify => Validation::Stratified(train.groups),
        None => Validation::Grouped(train.groups),
    };
    let (source, missing, delimiter) = (path.to_path_buf(), options.missing, None);
    let options = Some(options.clone());
    let (test, file_rows) = (test.rows, Some([train_rows, test.file_rows]));
    let train = rows;
    Ok(Dataset {
        source,
        train,
        test,
        file_rows,
        signature,
        validation,
        missing,
        sha256,
        options,
        delimiter,
        warnings,
    })
}

/// Takes the test rows out of the others. They are the same for all runs of a grid, so the seed is no
/// hyper-parameter.
fn draw_test(path: &Path, from: &mut Part, options: &DataOptions) -> Result<Part> {
    let (rows, size) = (from.rows.len(), options.test_size.of(from.rows.len()));
    let place = || Place::Option("test_size");
    if size == 0 && options.test_size != PartSize::Rows(0) {
        let (share, rows) = (options.test_size, counted(rows, "row"));
        let found = format!("{share}, which is less than one of the {rows} of {}", path.display());
        return Err(Error::unexpected(place(), found, "one at least, or 0 for no test set"));
    }
    if size >= rows {
        let expected = format!("fewer than the {} of {}", counted(rows, "row"), path.display());
        return Err(Error::unexpected(place(), size.to_string(), expected));
    }
    let strata = if options.stratify { &from.rows.labels[..] } else { &[] };
    let drawing = Drawing { strata, groups: &from.groups };
    let mut generator = ChaCha8Rng::seed_from_u64(options.test_seed);
    let (mut test, mut train) = drawing.draw(rows, size, &mut generator);
    if train.is_empty() || (test.is_empty() && size > 0) {
        let found = "groups of which none can be set aside for the test set";
        return Err(Error::unexpected(place(), found, "several smaller groups"));
    }
    test.sort_unstable();
    train.sort_unstable();
    let drawn = from.chosen(&test);
    *from = from.chosen(&train);
    Ok(drawn)
}

/// The class of each row among the names of training; the name that is none of them where there is one.
fn classes(labels: &Labels, names: &[String]) -> std::result::Result<Vec<u8>, String> {
    let class = |name: &String| {
        let class = names.iter().position(|known| known == name);
        class.map(|class| class as u8).ok_or_else(|| name.clone())
    };
    let of_names: Vec<u8> =
        labels.names.iter().map(class).collect::<std::result::Result<_, _>>()?;
    Ok(labels.codes.iter().map(|&code| of_names[code as usize]).collect())
}
