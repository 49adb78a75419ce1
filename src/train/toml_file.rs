//! Values in TOML files, which are parsed here alone; every complaint names file and line.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::data::file;
use crate::data::split::PartSize;
use crate::error::{Error, Place, Result};
use crate::text::nearest;
use crate::train::keys::{KEYS, Key};
use crate::train::value::Value;

/// The largest file that is read: a grid of a million rows is not written by hand.
const MAX_BYTES: u64 = 16 << 20;

/// A TOML file's text, for parsing and for pointing into.
#[derive(Debug, Clone)]
pub struct TomlFile {
    path: PathBuf,
    text: String,
}

/// A parsed value with its position.
pub type Item<'a> = Spanned<DeValue<'a>>;

impl TomlFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be read, is too large, or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = file::read(path, "a TOML file", MAX_BYTES).map_err(|error| {
            let is_run = path.join("run.toml").is_file();
            if is_run { error.hint("name the run.toml in it") } else { error }
        })?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { path: path.to_path_buf(), text }),
            Err(error) => Err(Error::unexpected(
                Place::Byte(path.to_path_buf(), error.utf8_error().valid_up_to() as u64),
                "bytes that are not UTF-8",
                "a TOML text",
            )),
        }
    }

    /// A text that stands under a name in messages, such as a built-in preset.
    pub fn new(path: impl AsRef<Path>, text: impl Into<String>) -> Self {
        Self { path: path.as_ref().to_path_buf(), text: text.into() }
    }

    /// The file's path or the name it goes by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Parses the text.
    ///
    /// # Errors
    /// Where it is not TOML.
    pub fn table(&self) -> Result<DeTable<'_>> {
        DeTable::parse(&self.text).map(Spanned::into_inner).map_err(|error| {
            let line = self.line(error.span().map_or(0, |span| span.start));
            let message = error.message().trim().replace('\n', ", ");
            let problem = format!("not TOML: {message}");
            let error = Error::input(Place::Line(self.path.clone(), line), problem);
            match self.hint(line) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })
    }

    /// What to do about a line that is not TOML.
    fn hint(&self, line: usize) -> Option<String> {
        let end = self.path.extension().unwrap_or_default().to_str();
        if matches!(end, Some("csv" | "tsv" | "gz" | "npy" | "npz")) {
            return Some(format!("name data with --data {}", self.path.display()));
        }
        let (_, values) = self.text.lines().nth(line - 1)?.split_once('=')?;
        let values: Vec<&str> = values.split(',').map(str::trim).collect();
        let are_numbers = values.iter().all(|value| value.parse::<f64>().is_ok());
        (values.len() > 1 && are_numbers)
            .then(|| format!("write several values as a list, [{}]", values.join(", ")))
    }

    /// The line of a position.
    pub fn place(&self, span: Range<usize>) -> Place {
        Place::Line(self.path.clone(), self.line(span.start))
    }

    fn line(&self, position: usize) -> usize {
        1 + self.text.bytes().take(position).filter(|&byte| byte == b'\n').count()
    }

    /// An unexpected item, quoted as it stands in the file.
    pub fn unexpected(&self, item: &Item<'_>, expected: impl std::fmt::Display) -> Error {
        let text = self.text.get(item.span()).unwrap_or_default();
        let mut shown: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if shown.chars().count() > 60 {
            shown = shown.chars().take(60).chain(['…']).collect();
        }
        Error::unexpected(self.place(item.span()), shown, expected)
    }

    /// An error about an unknown key, with the nearest known one.
    pub fn unknown_key(
        &self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        known: impl Iterator<Item = &'static str>,
    ) -> Error {
        let text = name.get_ref();
        Error::input(self.place(name.span()), format!("unknown key `{}`", text.escape_debug()))
            .hint(key_hint(text, known))
    }

    /// Reads the value of a hyper-parameter.
    ///
    /// # Errors
    /// Where it is of another kind or out of range.
    pub fn value(&self, key: &Key, item: &Item<'_>) -> Result<Value> {
        let value = match item.get_ref() {
            DeValue::Array(items) if key.is_layers() => {
                let widths: Option<Vec<usize>> =
                    items.iter().map(|item| self.width(key, item).ok()).collect();
                widths.map(Value::Layers)
            }
            _ if key.is_layers() => None,
            DeValue::Integer(number) if number.radix() == 10 => key.parse(number.as_str()).ok(),
            DeValue::Float(number) => key.parse(number.as_str()).ok(),
            DeValue::Boolean(on) if key.is_switch() => Some(Value::Switch(*on)),
            DeValue::String(text) => {
                // A number in quotes is no number.
                let is_text = |value: &Value| {
                    matches!(value, Value::Choice(_) | Value::Part(PartSize::Fold { .. }))
                };
                key.parse(text).ok().filter(is_text)
            }
            _ => None,
        };
        value.filter(|value| key.allows(value)).ok_or_else(|| {
            let error = self.unexpected(item, format!("{}: {}", key.name, key.range));
            let is_quoted = item.get_ref().as_str().is_some_and(|text| key.parse(text).is_ok());
            if is_quoted { error.hint("write it without quotes") } else { error }
        })
    }

    /// Reads one width of a hidden layer.
    ///
    /// # Errors
    /// Where it is not a width.
    pub fn width(&self, key: &Key, item: &Item<'_>) -> Result<usize> {
        let parsed = match item.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => key.parse(number.as_str()).ok(),
            _ => None,
        };
        match parsed {
            Some(Value::Layers(widths)) if widths.len() == 1 => Ok(widths[0]),
            _ => Err(self.unexpected(item, format!("{}: {}", key.name, key.range))),
        }
    }
}

/// `did you mean …?`, or where to find the known names.
pub fn suggestion(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("did you mean `{name}`?"),
        None => "`rookie train --help` lists the keys".to_string(),
    }
}

/// The hint for an unknown key, with the nearest known one.
pub fn key_hint(name: &str, known: impl Iterator<Item = &'static str>) -> String {
    let known: Vec<&'static str> = known.collect();
    let shortened = KEYS.iter().find(|key| key.short == name && known.contains(&key.name));
    if let Some(key) = shortened {
        return suggestion(Some(key.name));
    }
    match name {
        "folds" => "write it at the top of a grid file, or as --folds".into(),
        "kernels" => "name them with --kernels, or under [machine] in a grid file".into(),
        _ => suggestion(nearest(name, known.into_iter())),
    }
}

/// A value as TOML writes it.
pub fn to_toml(value: &Value) -> toml::Value {
    match value {
        Value::Number(number) => toml::Value::Float(*number),
        Value::Count(count) => toml::Value::Integer(*count as i64),
        Value::Layers(widths) => {
            toml::Value::Array(widths.iter().map(|&w| toml::Value::Integer(w as i64)).collect())
        }
        Value::Choice(name) => toml::Value::String((*name).into()),
        Value::Switch(on) => toml::Value::Boolean(*on),
        Value::Part(PartSize::Rows(rows)) => toml::Value::Integer(*rows as i64),
        Value::Part(fold @ PartSize::Fold { .. }) => toml::Value::String(fold.to_string()),
        Value::Part(share) => toml::Value::Float(share.to_string().parse().expect("a number")),
    }
}
