//! The value of a hyper-parameter, and how it is written.

use std::fmt;

use crate::data::split::PartSize;

/// The value of a hyper-parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A real number.
    Number(f64),
    /// A whole number from 0.
    Count(u64),
    /// The width of each hidden layer.
    Layers(Vec<usize>),
    /// One of several names.
    Choice(&'static str),
    /// Yes or no.
    Switch(bool),
    /// So many rows, a share of all, or a fold.
    Part(PartSize),
}

impl fmt::Display for Value {
    /// As on the command line; [`Key::parse`] reads it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // As people write them: 0.001, but 1e-5.
            Self::Number(number) if *number == 0.0 || (1e-4..1e16).contains(number) => {
                write!(f, "{number}")
            }
            Self::Number(number) => write!(f, "{number:e}"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Layers(widths) if widths.is_empty() => f.write_str("none"),
            Self::Layers(widths) => f.write_str(&joined(widths, ",")),
            Self::Choice(name) => f.write_str(name),
            Self::Switch(on) => write!(f, "{on}"),
            Self::Part(size) => write!(f, "{size}"),
        }
    }
}

/// Things as one text.
pub(crate) fn joined(all: &[impl ToString], by: &str) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(by)
}

#[cfg(test)]
impl Value {
    /// Another value of its kind; of a number, 0.125.
    pub(crate) fn other(&self) -> Self {
        match self {
            Self::Number(_) => Self::Number(0.125),
            Self::Count(count) => Self::Count(count + 1),
            Self::Layers(_) => Self::Layers(vec![7]),
            Self::Choice("relu") => Self::Choice("tanh"),
            Self::Choice("f32") => Self::Choice("bf16"),
            Self::Choice("first") => Self::Choice("last"),
            Self::Choice(_) => Self::Choice("dataset"),
            Self::Switch(on) => Self::Switch(!on),
            Self::Part(_) => Self::Part(PartSize::Rows(7)),
        }
    }
}
