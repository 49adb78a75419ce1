//! The axes of a grid: the values of a key that are tried in turn, read from a grid file or the command
//! line.

use std::collections::HashSet;
use std::fmt;

use toml::de::DeValue;

use crate::data::split::PartSize;
use crate::error::{Error, Place, Result, counted};
use crate::grid::range::Range;
use crate::train::keys::{KEYS, Key};
use crate::train::toml_file::{Item, TomlFile, key_hint, to_toml};
use crate::train::value::{Value, joined};

/// The most runs that a grid may have.
pub(super) const MAX_RUNS: usize = 1_000_000;

/// Values of one key that are tried in turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub(super) key: &'static Key,
    pub(super) choices: Vec<Value>, // each once, at least one; none of a range
    pub(super) range: Option<Range>, // that samples are drawn from
    layers: Vec<Layer>,             // of `hidden`
    pub(super) place: Place,
}

/// What the width of a hidden layer is taken from.
#[derive(Debug, Clone, PartialEq)]
enum Layer {
    /// At least one width.
    Widths(Vec<usize>),
    /// A range, from which samples are drawn.
    Range(Range),
}

impl Layer {
    /// The width at a share of it, from 0, below 1.
    fn at(&self, share: f64) -> usize {
        match self {
            Self::Widths(widths) => widths[(share * widths.len() as f64) as usize],
            Self::Range(range) => match range.at(share) {
                Value::Count(width) => width as usize,
                _ => unreachable!("a range of widths is one of whole numbers"),
            },
        }
    }
}

impl fmt::Display for Layer {
    /// As on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Widths(widths) => f.write_str(&joined(widths, "/")),
            Self::Range(range) => write!(f, "{range}"),
        }
    }
}

impl Axis {
    /// Distinct values of a key within its range.
    fn of(place: Place, key: &'static Key, choices: Vec<Value>) -> Result<Self> {
        Self::checked(Self { key, choices, range: None, layers: Vec::new(), place })
    }

    /// Every combination of a width for each layer, the last layer fastest; none where a layer has a range.
    fn of_layers(place: Place, key: &'static Key, layers: Vec<Layer>) -> Result<Self> {
        let widths_of = |layer: &Layer| match layer {
            Layer::Widths(widths) => widths.clone(),
            Layer::Range(_) => vec![layer.at(0.0)],
        };
        let widths: Vec<Vec<usize>> = layers.iter().map(widths_of).collect();
        let count = widths.iter().try_fold(1_usize, |n, widths| n.checked_mul(widths.len()));
        if count.is_none_or(|count| count > MAX_RUNS) {
            let problem = format!("found more than {MAX_RUNS} combinations of widths");
            return Err(Error::input(place, problem));
        }
        let mut all = vec![Vec::new()];
        for widths in &widths {
            let longer = |start: &Vec<usize>| {
                let start = start.clone();
                widths.iter().map(move |&width| [&start[..], &[width]].concat()).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(longer).collect();
        }
        let choices = all.into_iter().map(Value::Layers).collect();
        let mut axis = Self::checked(Self { key, choices, range: None, layers, place })?;
        if axis.is_drawn() {
            axis.choices.clear();
        }
        Ok(axis)
    }

    /// Whether its values are drawn from ranges, so that only samples have some.
    pub(super) fn is_drawn(&self) -> bool {
        self.range.is_some() || self.layers.iter().any(|layer| matches!(layer, Layer::Range(_)))
    }

    /// Its ranges, each with the column of its values.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (String, Range)> {
        let own = self.range.map(|range| (self.key.name.to_string(), range));
        let of_layers = (1..).zip(&self.layers).filter_map(|(number, layer)| match layer {
            Layer::Range(range) => Some((format!("{}_{number}", self.key.name), *range)),
            Layer::Widths(_) => None,
        });
        own.into_iter().chain(of_layers)
    }

    fn of_range(place: Place, key: &'static Key, range: Range) -> Self {
        Self { key, choices: Vec::new(), range: Some(range), layers: Vec::new(), place }
    }

    /// The folds of a division, each of which is the validation set of a run.
    ///
    /// # Errors
    /// Where there are fewer than 2, or more than [`MAX_FOLDS`](crate::data::split::MAX_FOLDS).
    pub fn of_folds(place: Place, folds: u16) -> Result<Self> {
        let key = Key::named("validation_size").expect("a key");
        let choice = |fold| Value::Part(PartSize::Fold { fold, folds });
        Self::of(place, key, (1..=folds).map(choice).collect())
    }

    /// Whether a search takes each of its values with every sample: seeds and folds repeat what is searched.
    pub(super) fn repeats(&self) -> bool {
        let is_fold = |value: &Value| matches!(value, Value::Part(PartSize::Fold { .. }));
        !self.is_drawn()
            && (["seed", "data_seed"].contains(&self.key.name) || self.choices.iter().all(is_fold))
    }

    /// The value at a point, whose coordinates are from 0, below 1: the first, or where layers have ranges one for
    /// each layer.
    pub(super) fn at(&self, point: impl Fn(usize) -> f64) -> Value {
        if let Some(range) = self.range {
            return range.at(point(0));
        }
        if self.is_drawn() {
            let widths =
                self.layers.iter().enumerate().map(|(index, layer)| layer.at(point(index)));
            return Value::Layers(widths.collect());
        }
        self.choices[(point(0) * self.choices.len() as f64) as usize].clone()
    }

    fn checked(self) -> Result<Self> {
        let Self { key, choices, place, .. } = &self;
        if let Some(bad) = choices.iter().find(|value| !key.allows(value)) {
            let expected = format!("{}: {}", key.name, key.range);
            return Err(Error::unexpected(place.clone(), bad, expected));
        }
        let mut seen = HashSet::with_capacity(choices.len());
        match choices.iter().find(|value| !seen.insert(identity(value))) {
            Some(value) => {
                let problem = format!("{value} occurs twice in {}", key.name);
                Err(Error::input(place.clone(), problem))
            }
            None => Ok(self),
        }
    }

    /// Where it was given.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whose values they are.
    pub fn key(&self) -> &'static Key {
        self.key
    }

    /// The key with its value, if it has but one.
    ///
    /// # Errors
    /// What it has instead.
    pub fn single(&self) -> std::result::Result<(&'static Key, Value), String> {
        match &self.choices[..] {
            [value] => Ok((self.key, value.clone())),
            [] => Err("a range".into()),
            several => Err(counted(several.len(), "value")),
        }
    }

    /// As on the command line, in brackets if it is a list.
    pub(super) fn spelled(&self) -> String {
        match self.range {
            Some(range) => range.to_string(),
            None if self.is_drawn() => joined(&self.layers, ","),
            None => format!("[{}]", joined(&self.choices, "; ")),
        }
    }

    pub(super) fn is_no_layers(&self) -> bool {
        self.key.is_layers() && self.layers.is_empty()
    }

    pub(super) fn to_toml(&self) -> toml::Value {
        if let Some(range) = self.range {
            return range.to_toml();
        }
        let of_layer = |layer: &Layer| match layer {
            Layer::Widths(widths) => to_toml(&Value::Layers(widths.clone())),
            Layer::Range(range) => range.to_toml(),
        };
        let items: Vec<toml::Value> = if self.key.is_layers() {
            self.layers.iter().map(of_layer).collect()
        } else {
            self.choices.iter().map(to_toml).collect()
        };
        toml::Value::Array(items)
    }
}

/// A text that is equal for equal values of a key alone, as floating-point numbers have no hash.
pub(super) fn identity(value: &Value) -> String {
    match value {
        Value::Number(0.0) => "0".into(), // also -0
        value => value.to_string(),
    }
}

/// Reads an axis from text, as on the command line: `0.1,0.05`, `log_uniform(0.01,1)`. The layers of
/// `hidden` are separated by commas, and choices for a layer by `/`: `500/400,324/256` is four; a layer may have a
/// range too, as in `int_log_uniform(64,512),256`.
///
/// # Errors
/// Where the text is empty, or a value is out of range or given twice.
pub fn parse_axis(place: Place, key: &'static Key, text: &str) -> Result<Axis> {
    let wrong = || {
        let expected = format!("{}: {}", key.name, key.range);
        let error = Error::unexpected(place.clone(), format!("`{text}`"), expected);
        let means_several = [" ", ";", "x", "-"].iter().any(|&separator| {
            let parts: Vec<&str> = text.split(separator).collect();
            parts.len() > 1 && parts.iter().all(|part| key.parse(part).is_ok())
        });
        if means_several { error.hint("separate values by commas") } else { error }
    };
    let is_none = |choice: &str| choice.trim() == "none";
    if key.is_layers() && !is_none(text) {
        if text.split(['/', ',']).any(is_none) {
            let problem = "`none` means no hidden layer and stands alone, not beside widths";
            return Err(Error::input(place, problem)
                .hint("a grid file can list networks with and without one under [[runs]]"));
        }
        let layer = |text: &str| {
            if Range::is_meant(text) {
                return Range::parse(&place, key, text).map(Layer::Range);
            }
            let widths = text.split('/').map(|width| width.trim().parse());
            let widths: std::result::Result<_, std::num::ParseIntError> = widths.collect();
            widths.map(Layer::Widths).map_err(|_| wrong())
        };
        let layers = outside_parentheses(text).into_iter().map(layer).collect::<Result<_>>()?;
        Axis::of_layers(place.clone(), key, layers)
    } else if Range::is_meant(text) {
        let range = Range::parse(&place, key, text)?;
        Ok(Axis::of_range(place, key, range))
    } else {
        let choices: std::result::Result<Vec<Value>, _> =
            text.split(',').map(|value| key.parse(value)).collect();
        Axis::of(place.clone(), key, choices.map_err(|_| wrong())?)
    }
}

/// The parts of a text between the commas that are in no parentheses.
fn outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    })
    .collect()
}

/// Reads an override `KEY=VALUE[,VALUE…]`.
///
/// # Errors
/// As [`parse_axis`], and where there is no `=` or the key is unknown.
pub fn parse_assignment(text: &str) -> Result<Axis> {
    let place = || Place::flag(format!("--set {text}"));
    let Some((name, choices)) = text.split_once('=') else {
        let found = format!("`{text}`");
        return Err(Error::unexpected(place(), found, "KEY=VALUE or KEY=VALUE,VALUE,…"));
    };
    let name = name.trim();
    let key_name = name.replace('-', "_");
    let key = Key::named(&key_name).map_err(|_| {
        let known = KEYS.iter().map(|key| key.name);
        Error::input(place(), format!("unknown key `{name}`")).hint(key_hint(&key_name, known))
    })?;
    parse_axis(Place::flag(format!("--set {}", key.name)), key, choices)
}

/// One line under `[axes]`. That of `hidden` has a list of widths or a range for each layer.
pub(super) fn read_axis(file: &TomlFile, key: &'static Key, item: &Item<'_>) -> Result<Axis> {
    let items = match item.get_ref() {
        DeValue::Array(items) if !items.is_empty() => items,
        DeValue::Array(_) => {
            return Err(file.unexpected(item, format!("at least one value of {}", key.name)));
        }
        DeValue::Table(_) if !key.is_layers() => {
            let range = Range::read(file, key, item)?;
            return Ok(Axis::of_range(file.place(item.span()), key, range));
        }
        _ => {
            let (expected, hint) = match item.get_ref() {
                DeValue::Table(_) => (OF_LAYERS.to_string(), EXAMPLE),
                _ => (
                    format!("a list of values of {}", key.name),
                    "one value for all runs belongs under [values]",
                ),
            };
            return Err(file.unexpected(item, expected).hint(hint));
        }
    };
    let place = file.place(item.span());
    if key.is_layers() {
        let layers = items.iter().map(|layer| read_layer(file, key, layer));
        Axis::of_layers(place, key, layers.collect::<Result<_>>()?)
    } else {
        let choices = items.iter().map(|item| file.value(key, item));
        Axis::of(place, key, choices.collect::<Result<_>>()?)
    }
}

/// What is expected of `hidden` under `[axes]`.
const OF_LAYERS: &str = "a list of choices, or a range, for each hidden layer";
const EXAMPLE: &str = "[[500, 400], [324, 256]] tries four networks, and a layer may have a range such as \
                       { int_log_uniform = [64, 512] }";

/// What one hidden layer's width is taken from.
fn read_layer(file: &TomlFile, key: &'static Key, layer: &Item<'_>) -> Result<Layer> {
    match layer.get_ref() {
        DeValue::Array(widths) if !widths.is_empty() => {
            let widths = widths.iter().map(|width| file.width(key, width));
            widths.collect::<Result<_>>().map(Layer::Widths)
        }
        DeValue::Array(_) => Err(file.unexpected(layer, "at least one width")),
        DeValue::Table(_) => Range::read(file, key, layer).map(Layer::Range),
        _ => Err(file.unexpected(layer, OF_LAYERS).hint(EXAMPLE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_choices_are_checked_for_duplicates_in_no_time() {
        let widths: Vec<String> = (1..=1000).map(|width| width.to_string()).collect();
        let widths = widths.join("/");
        let axis = parse_assignment(&format!("hidden={widths},{widths}")).unwrap();
        assert_eq!(axis.choices.len(), 1_000_000);
        let twice = widths.replace("/1000", "/7");
        let problem = parse_assignment(&format!("hidden={twice},{widths}")).unwrap_err();
        assert!(problem.to_string().contains("7,1 occurs twice in hidden"), "{problem}");
    }

    #[test]
    fn zero_and_minus_zero_are_one_value() {
        let problem = parse_assignment("weight_decay=0,-0").unwrap_err().to_string();
        assert!(problem.contains("occurs twice"), "{problem}");
    }

    #[test]
    fn hidden_layers_on_the_command_line_combine_choices_parted_by_a_slash() {
        let axis = parse_assignment("hidden=500/400,324/256").unwrap();
        let widths: Vec<String> = axis.choices.iter().map(ToString::to_string).collect();
        assert_eq!(widths, ["500,324", "500,256", "400,324", "400,256"]);
    }
}
