//! How data are read, where there is a choice, and how records keep that.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::data::preprocess::Missing;
use crate::data::split::PartSize;
use crate::data::table::{Columns, LabelColumn};

/// How a data set is read that is no folder of IDX files with a test set.
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
        let Columns { label, ignore, categorical, group, id: _, wanted: _, group_may_lack: _ } =
            &self.columns;
        // In whatever order a user names columns, the data are the same.
        let list = |names: &[String]| {
            Value::from(
                names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(),
            )
        };
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

    /// The same with the files of others. Where these have test rows, none are drawn.
    #[must_use]
    pub fn with_files_of(&self, others: &Self) -> Self {
        let Self { test, validation, labels, .. } = others.clone();
        let drawn = if test.is_some() { self.without_drawn_test() } else { self.clone() };
        Self { test, validation, labels, ..drawn }
    }

    /// The same with nothing said of test rows that are drawn.
    #[must_use]
    pub fn without_drawn_test(&self) -> Self {
        let Self { test_size, test_seed, .. } = Self::default();
        Self { test_size, test_seed, ..self.clone() }
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
