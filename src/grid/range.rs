//! A range of values of a hyper-parameter, from which a search draws.

use std::fmt;

use toml::de::DeValue;

use crate::error::{Error, Place, Result};
use crate::train::keys::Key;
use crate::train::toml_file::{Item, TomlFile, to_toml};
use crate::train::value::Value;

/// The largest whole number below which float64 has all.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// An end of a range: a number, or one width of a hidden layer.
fn one(value: Value) -> Option<Value> {
    match value {
        Value::Layers(widths) => match widths[..] {
            [width] => Some(Value::Count(width as u64)),
            _ => None,
        },
        value => Some(value),
    }
}

/// How values spread over a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spread {
    Uniform,
    LogUniform,
    IntUniform,
    IntLogUniform,
}

impl Spread {
    const ALL: [Self; 4] = [Self::Uniform, Self::LogUniform, Self::IntUniform, Self::IntLogUniform];

    fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::LogUniform => "log_uniform",
            Self::IntUniform => "int_uniform",
            Self::IntLogUniform => "int_log_uniform",
        }
    }

    fn is_log(self) -> bool {
        matches!(self, Self::LogUniform | Self::IntLogUniform)
    }

    fn is_int(self) -> bool {
        matches!(self, Self::IntUniform | Self::IntLogUniform)
    }
}

/// Numbers from `low` to `high`, both within the range of their key, `low` below `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    spread: Spread,
    low: f64,
    high: f64,
}

impl fmt::Display for Range {
    /// As on the command line; parsing reads it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.ends();
        write!(f, "{}({low}, {high})", self.spread.name())
    }
}

impl Range {
    /// Whether a text is meant to be a range.
    pub(super) fn is_meant(text: &str) -> bool {
        text.trim_end().ends_with(')')
    }

    /// Reads a range from text, as on the command line: `log_uniform(0.01,1)`.
    ///
    /// # Errors
    /// Where it is none, or none of this key.
    pub(super) fn parse(place: &Place, key: &'static Key, text: &str) -> Result<Self> {
        let parts = text.trim().strip_suffix(')').and_then(|rest| rest.split_once('('));
        let ends = parts.and_then(|(name, ends)| Some((name.trim(), ends.split_once(',')?)));
        let Some((name, (low, high))) = ends else {
            let expected = "a range such as log_uniform(0.01,1)";
            return Err(Error::unexpected(place.clone(), format!("`{text}`"), expected));
        };
        let spread = Self::spread(place, key, name)?;
        let end = |text: &str| {
            key.parse(text).and_then(|end| one(end).ok_or(key.range)).map_err(|range| {
                let expected = format!("{}: {range}", key.name);
                Error::unexpected(place.clone(), text.trim(), expected)
            })
        };
        Self::of(place, spread, &end(low)?, &end(high)?)
    }

    /// Reads a range from a table of a grid file: `{ log_uniform = [0.01, 1.0] }`.
    ///
    /// # Errors
    /// Where it is none, or none of this key.
    pub(super) fn read(file: &TomlFile, key: &'static Key, item: &Item<'_>) -> Result<Self> {
        let expected = "a range such as { log_uniform = [0.01, 1.0] }";
        let DeValue::Table(table) = item.get_ref() else {
            return Err(file.unexpected(item, expected));
        };
        let mut entries = table.iter();
        let (Some((name, ends)), None) = (entries.next(), entries.next()) else {
            return Err(file.unexpected(item, expected));
        };
        let spread = Self::spread(&file.place(name.span()), key, name.get_ref())?;
        match ends.get_ref() {
            DeValue::Array(ends) if ends.len() == 2 => {
                let place = file.place(item.span());
                let end = |item| {
                    if !key.is_layers() {
                        return file.value(key, item);
                    }
                    file.width(key, item).map(|width| Value::Count(width as u64))
                };
                Self::of(&place, spread, &end(&ends[0])?, &end(&ends[1])?)
            }
            _ => Err(file.unexpected(ends, "two numbers, the lower and the upper end")),
        }
    }

    /// The spread of a name, if values of the key can have it.
    fn spread(place: &Place, key: &'static Key, name: &str) -> Result<Spread> {
        let fits = |spread: &&Spread| match key.is_whole() {
            Some(is_whole) => spread.is_int() == is_whole,
            None => key.is_layers() && spread.is_int(),
        };
        let fitting: Vec<&str> = Spread::ALL.iter().filter(fits).map(|it| it.name()).collect();
        let found = Spread::ALL.iter().filter(fits).find(|spread| spread.name() == name);
        found.copied().ok_or_else(|| {
            let expected = match &fitting[..] {
                [] => format!("a list of values, because {} has no ranges", key.name),
                names => format!("{} for {}", names.join(" or "), key.name),
            };
            Error::unexpected(place.clone(), format!("`{}`", name.escape_debug()), expected)
        })
    }

    fn of(place: &Place, spread: Spread, low: &Value, high: &Value) -> Result<Self> {
        let [a, b] = [low, high].map(|end| match end {
            Value::Number(number) => *number,
            Value::Count(count) => *count as f64,
            _ => unreachable!("only numbers and counts have ranges"),
        });
        let wrong = |expected: &str| {
            let found = format!("{}({low}, {high})", spread.name());
            Err(Error::unexpected(place.clone(), found, expected))
        };
        if a >= b {
            return wrong("the lower end first, and below the upper one");
        }
        if spread.is_int() && b > MAX_WHOLE {
            return wrong(&format!("ends up to {MAX_WHOLE}"));
        }
        if spread.is_log() && a <= 0.0 {
            return wrong("a lower end above 0, because 0 has no logarithm");
        }
        Ok(Self { spread, low: a, high: b })
    }

    /// Its ends as values.
    fn ends(&self) -> [Value; 2] {
        [self.low, self.high].map(|end| self.value(end))
    }

    fn value(&self, number: f64) -> Value {
        if self.spread.is_int() { Value::Count(number as u64) } else { Value::Number(number) }
    }

    /// The value at a share from 0, below 1, of the range: three significant digits, as names show and
    /// training reads it.
    pub(super) fn at(&self, share: f64) -> Value {
        let Self { low, high, .. } = *self;
        let between = |low: f64, high: f64| low + share * (high - low);
        let exact = match self.spread {
            Spread::Uniform => between(low, high),
            Spread::LogUniform => between(low.ln(), high.ln()).exp(),
            // Each whole number has the same room, also the first and the last.
            Spread::IntUniform => between(low - 0.5, high + 0.5).round(),
            Spread::IntLogUniform => between((low - 0.5).ln(), (high + 0.5).ln()).exp().round(),
        };
        let rounded: f64 = format!("{exact:.2e}").parse().expect("it is a number");
        self.value(rounded.clamp(low, high))
    }

    pub(super) fn to_toml(self) -> toml::Value {
        let ends: Vec<toml::Value> = self.ends().iter().map(to_toml).collect();
        let table = [(self.spread.name().to_string(), toml::Value::Array(ends))];
        toml::Value::Table(table.into_iter().collect())
    }

    /// Its ends.
    pub fn bounds(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Whether equal factors, not equal differences, are as likely.
    pub fn is_log(&self) -> bool {
        self.spread.is_log()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(name: &str, text: &str) -> Result<Range> {
        Range::parse(&Place::flag("--set"), Key::named(name).unwrap(), text)
    }

    #[test]
    fn values_lie_within_the_range_have_three_digits_and_are_as_likely_as_its_name_says() {
        for (key, text, expected) in [
            ("learning_rate", "log_uniform(0.01,1)", ["0.01", "0.0316", "0.1", "0.316", "0.99"]),
            ("lr_decay", "uniform(0.12341, 0.12342)", ["0.12341"; 5]),
            ("weight_decay", "uniform(0, 4e-6)", ["0", "1e-6", "2e-6", "3e-6", "3.99e-6"]),
            ("epochs", "int_uniform(1, 4)", ["1", "2", "3", "4", "4"]),
            ("batch_size", "int_log_uniform(1, 65536)", ["1", "10", "181", "3440", "63900"]),
            ("hidden", "int_uniform(1, 4)", ["1", "2", "3", "4", "4"]),
        ] {
            let range = range(key, text).unwrap();
            let found = [0.0, 0.25, 0.5, 0.75, 0.9978].map(|share| range.at(share).to_string());
            assert_eq!(found, expected, "{text}");
            assert_eq!(self::range(key, &range.to_string()).unwrap(), range);
        }
    }

    #[test]
    fn ranges_that_are_none_are_refused_with_what_was_expected() {
        for (key, text, expected) in [
            ("learning_rate", "log_uniform(0.01)", "expected a range such as"),
            (
                "learning_rate",
                "log_uniform(0,1)",
                "found 0, expected learning_rate: a number above",
            ),
            ("learning_rate", "uniform(1,0.1)", "found uniform(1, 0.1), expected the lower end"),
            ("learning_rate", "uniform(1,1)", "expected the lower end first"),
            ("weight_decay", "log_uniform(0,1)", "found log_uniform(0, 1), expected a lower end"),
            (
                "learning_rate",
                "int_uniform(1,2)",
                "expected uniform or log_uniform for learning_rate",
            ),
            ("epochs", "uniform(1,2)", "expected int_uniform or int_log_uniform for epochs"),
            ("epochs", "normal(1,2)", "found `normal`, expected int_uniform or"),
            ("epochs", "int_uniform(1,2000000)", "found 2000000, expected epochs: a whole number"),
            ("activation", "uniform(0,1)", "expected a list of values, because activation has no"),
            ("hidden", "int_uniform(none,9)", "found none, expected hidden: up to 16 widths"),
            ("hidden", "uniform(1,9)", "expected int_uniform or int_log_uniform for hidden"),
        ] {
            let problem = range(key, text).unwrap_err().to_string();
            assert!(problem.contains(expected), "{problem}\ndoes not contain {expected}");
        }
    }
}
