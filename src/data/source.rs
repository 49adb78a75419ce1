//! Where data come from and how they are read: a folder of IDX files, a table as CSV or TSV, or arrays of
//! NumPy.

use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value};

use crate::data::csv_file;
use crate::data::dataset::{Dataset, Labelled, Validation};
use crate::data::preprocess::Missing;
use crate::data::schema::Schema;
use crate::data::signature::Signature;
use crate::data::split::{Drawing, PartSize};
use crate::data::table::{Columns, LabelColumn, Labels, Table};
use crate::error::{Error, Place, Result, counted};

/// How a data set is read that is no folder of IDX files.
#[derive(Debug, Clone, PartialEq)]
pub struct DataOptions {
    /// Which columns of a table are what.
    pub columns: Columns,
    /// What stands for missing values.
    pub missing: Missing,
    /// Whether each class gets its share of each part that is drawn.
    pub stratify: bool,
    /// Rows that are drawn for the test set, where none is given.
    pub test_size: PartSize,
    /// Seed of that draw.
    pub test_seed: u64,
    /// A file with the test rows.
    pub test: Option<PathBuf>,
    /// A file with the validation rows.
    pub validation: Option<PathBuf>,
    /// The `.npy` file with the labels.
    pub labels: Option<PathBuf>,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self {
            columns: Columns::default(),
            missing: Missing::Refused,
            stratify: true,
            test_size: PartSize::Share(200_000),
            test_seed: 0,
            test: None,
            validation: None,
            labels: None,
        }
    }
}

impl DataOptions {
    /// Those that differ from the defaults, but for the files, as JSON: records of results keep them.
    pub fn to_json(&self) -> String {
        let default = Self::default();
        let Columns { label, ignore, categorical, group, id: _, wanted: _ } = &self.columns;
        let list = |names: &[String]| Value::from(names.to_vec());
        let label = match label {
            LabelColumn::Named(name) => Some(Value::from(name.as_str())),
            LabelColumn::Guess | LabelColumn::None => None,
        };
        let some = |is_other: bool, value: Value| is_other.then_some(value);
        let all = [
            ("label", label),
            ("ignore", some(!ignore.is_empty(), list(ignore))),
            ("categorical", some(!categorical.is_empty(), list(categorical))),
            ("group", group.as_deref().map(Value::from)),
            ("missing", some(self.missing != default.missing, self.missing.name().into())),
            ("stratify", some(!self.stratify, false.into())),
            (
                "test_size",
                some(self.test_size != default.test_size, self.test_size.to_string().into()),
            ),
            ("test_seed", some(self.test_seed != default.test_seed, self.test_seed.into())),
        ];
        let given = all.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?)));
        Value::Object(given.collect::<Map<_, _>>()).to_string()
    }

    /// The same with the files of others.
    #[must_use]
    pub fn with_files_of(&self, others: &Self) -> Self {
        let Self { test, validation, labels, .. } = others.clone();
        Self { test, validation, labels, ..self.clone() }
    }

    /// Reads what [`DataOptions::to_json`] wrote; `None` where it is something else.
    pub fn from_json(text: &str) -> Option<Self> {
        let all: Map<String, Value> = serde_json::from_str(text).ok()?;
        let mut options = Self::default();
        let list = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|name| name.as_str().map(String::from)).collect()
        };
        for (name, value) in &all {
            match name.as_str() {
                "label" => options.columns.label = LabelColumn::Named(value.as_str()?.into()),
                "ignore" => options.columns.ignore = list(value)?,
                "categorical" => options.columns.categorical = list(value)?,
                "group" => options.columns.group = Some(value.as_str()?.into()),
                "missing" => options.missing = Missing::named(value.as_str()?)?,
                "stratify" => options.stratify = value.as_bool()?,
                "test_size" => options.test_size = PartSize::parse(value.as_str()?)?,
                "test_seed" => options.test_seed = value.as_u64()?,
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Reads a data set: a folder of IDX files, or a table.
///
/// # Errors
/// Where it is neither, or a file is not as it must be.
pub fn open(path: &Path, options: &DataOptions) -> Result<Dataset> {
    if path.is_dir() {
        if *options != DataOptions::default() {
            let problem = "is a folder of IDX files, for which there are no such flags as --label";
            return Err(Error::input(Place::file(path), problem).hint("leave them out"));
        }
        return Dataset::read(path);
    }
    of_tables(path, options)
}

/// Rows with the class and the group of each, before they are divided.
struct Part {
    rows: Labelled,
    groups: Vec<u32>,
}

fn of_tables(path: &Path, options: &DataOptions) -> Result<Dataset> {
    let read = |path: &Path, columns: &Columns| -> Result<Table> {
        let table = csv_file::read(path, columns)?;
        Ok(if options.missing == Missing::DropRow { table.without_missing() } else { table })
    };
    let train = read(path, &options.columns)?;
    let schema = Schema::of(&train, options.missing);
    let label = schema.label.clone().expect("it was named or guessed");
    let columns = Columns {
        label: LabelColumn::Named(label.clone()),
        wanted: Some(schema.columns.clone()),
        group: None,
        ..options.columns.clone()
    };
    let other =
        |path: &Option<PathBuf>| path.as_deref().map(|path| read(path, &columns)).transpose();
    let (validation, test) = (other(&options.validation)?, other(&options.test)?);
    let Labels { names, .. } = train.labels.as_ref().expect("it has a label column");
    if let [name] = &names[..] {
        let found = format!("`{name}` in every row of `{label}`");
        return Err(Error::unexpected(Place::file(path), found, "two classes at least"));
    }
    let files = [
        ("table", Some(&train)),
        ("validation_table", validation.as_ref()),
        ("test_table", test.as_ref()),
    ];
    let hash =
        |(name, table): (&str, Option<&Table>)| Some((name.to_string(), table?.sha256.clone()));
    let sha256 = files.into_iter().filter_map(hash).collect();
    let part = |table: &Table| -> Result<Part> {
        let features = schema.features(table)?;
        let labels = table.labels.as_ref().expect("it has a label column");
        let labels = classes(labels, names).map_err(|name| {
            let found = format!("`{name}` in the column `{label}`");
            let expected = format!("one of {}, as in {}", listed(names), path.display());
            Error::unexpected(Place::file(&table.path), found, expected)
        })?;
        let rows = Labelled { height: 1, width: features.per_row(), features, labels };
        Ok(Part { rows, groups: table.groups.clone().unwrap_or_default() })
    };
    let optional = |table: &Option<Table>| table.as_ref().map(&part).transpose();
    let (validation, test) = (optional(&validation)?, optional(&test)?);
    let signature = Signature { labels: names.clone(), schema: Some(schema.clone()) };
    let mut options = options.clone();
    options.columns.label = LabelColumn::Named(label.clone());
    divide(path, part(&train)?, (validation, test), (signature, sha256), &options)
}

/// Divides the rows as they are given, or draws the test set, and notes how the validation rows are drawn.
fn divide(
    path: &Path,
    mut train: Part,
    (validation, test): (Option<Part>, Option<Part>),
    (signature, sha256): (Signature, Vec<(String, String)>),
    options: &DataOptions,
) -> Result<Dataset> {
    let test = match test {
        Some(test) => test.rows,
        None => draw_test(path, &mut train, options)?,
    };
    let way = match validation {
        Some(validation) => {
            let count = validation.rows.len();
            train.rows = train.rows.followed_by(validation.rows);
            Validation::Last(count)
        }
        None if options.stratify => Validation::Stratified(train.groups),
        None => Validation::Grouped(train.groups),
    };
    Ok(Dataset {
        source: path.to_path_buf(),
        train: train.rows,
        test,
        signature,
        validation: way,
        missing: options.missing,
        sha256,
        options: Some(options.to_json()),
    })
}

/// Takes the test rows out of the others. They are the same for all runs of a grid, so the seed is no
/// hyper-parameter.
fn draw_test(path: &Path, from: &mut Part, options: &DataOptions) -> Result<Labelled> {
    let (rows, size) = (from.rows.len(), options.test_size.of(from.rows.len()));
    let place = || Place::flag(format!("--test-size {}", options.test_size));
    if size >= rows {
        let expected = format!("fewer than the {} of {}", counted(rows, "row"), path.display());
        return Err(Error::unexpected(place(), size.to_string(), expected));
    }
    let strata = if options.stratify { &from.rows.labels[..] } else { &[] };
    let drawing = Drawing { strata, groups: &from.groups };
    let mut generator = ChaCha8Rng::seed_from_u64(options.test_seed);
    let (mut test, mut train) = drawing.draw(rows, size, &mut generator);
    if train.is_empty() || test.is_empty() {
        let found = "groups of which none can be set aside for the test set";
        return Err(Error::unexpected(place(), found, "several smaller groups"));
    }
    test.sort_unstable();
    train.sort_unstable();
    let drawn = from.rows.chosen(&test);
    from.rows = from.rows.chosen(&train);
    if !from.groups.is_empty() {
        from.groups = train.iter().map(|&row| from.groups[row]).collect();
    }
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

/// Some names for a message.
fn listed(names: &[String]) -> String {
    const MOST: usize = 10;
    let shown = names.iter().take(MOST).map(|name| format!("`{name}`"));
    let more = (names.len() > MOST).then(|| format!("… ({} in all)", names.len()));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}
