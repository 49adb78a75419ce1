//! What can go wrong, said so that a person can act on it: where, what was found, what was
//! expected, and a hint where there is a cure.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The result of everything in rookie that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Where bad input stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A file or folder as a whole.
    File(PathBuf),
    /// A line of a text file; lines count from 1.
    Line(PathBuf, usize),
    /// A line of a table and the name of a column; lines count from 1.
    Column(PathBuf, usize, String),
    /// A byte of a binary file; bytes count from 0.
    Byte(PathBuf, u64),
    /// An option by its name, `validation_size`; the command line shows it as its flag ([`Error::with_flags`]).
    Option(&'static str),
    /// The default of an option.
    Default(&'static str),
    /// Something else by its name: an argument of a function, or a part of a grid.
    Name(&'static str),
    /// What stands on the command line: `--jobs`, `grid mine`.
    Flag(String),
}

impl Place {
    /// A file or folder as a whole.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::File(path.as_ref().to_path_buf())
    }

    /// What stands on the command line.
    pub fn flag(name: impl Into<String>) -> Self {
        Self::Flag(name.into())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Column(path, line, name) => {
                write!(f, "{}:{line}: column `{name}`", path.display())
            }
            Self::Byte(path, byte) => write!(f, "{}: byte {byte}", path.display()),
            Self::Option(name) | Self::Name(name) => f.write_str(name),
            Self::Default(name) => write!(f, "the default of {name}"),
            Self::Flag(text) => f.write_str(text),
        }
    }
}

/// An error of rookie. Its text is one sentence in lower case without a full stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Wrong usage or bad input; nothing was written. Exit code 2.
    #[error("{place}: {problem}{}", tail(.hint.as_deref()))]
    Input {
        /// Where the input stands.
        place: Place,
        /// What is wrong with it, as "found …, expected …" where that fits.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A file that should be read cannot be. Exit code 2.
    #[error("{}: cannot read: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that should be written cannot be. Exit code 1.
    #[error("{}: cannot write: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The machine, a library on it or this program is not as it must be. Exit code 1.
    #[error("{0}")]
    Machine(String),
    /// Standard output or the terminal failed; a closed pipe ends the program quietly.
    #[error("standard output: {0}")]
    Output(io::Error),
}

fn tail(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!("; {hint}"))
}

impl Error {
    /// Bad input at a place.
    pub fn input(place: Place, problem: impl Into<String>) -> Self {
        Self::Input { place, problem: problem.into(), hint: None }
    }

    /// Bad input at a place: something was found where something else was expected.
    pub fn unexpected(place: Place, found: impl fmt::Display, expected: impl fmt::Display) -> Self {
        Self::input(place, format!("found {found}, expected {expected}"))
    }

    /// The same error with what to do about it.
    #[must_use]
    pub fn hint(mut self, cure: impl Into<String>) -> Self {
        if let Self::Input { hint, .. } = &mut self {
            *hint = Some(cure.into());
        }
        self
    }

    /// The same error of what is known only as `the data`, which are in this file.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        if let Self::Input { place: place @ Place::Name(_), .. } = &mut self {
            *place = Place::file(path);
        }
        self
    }

    /// The same error as the command line shows it: an option is a flag there.
    #[must_use]
    pub fn with_flags(mut self) -> Self {
        let flag = |name: &str| format!("--{}", name.replace('_', "-"));
        if let Self::Input { place, .. } = &mut self {
            match place {
                Place::Option(name) => *place = Place::Flag(flag(name)),
                Place::Default(name) => {
                    *place = Place::Flag(format!("the default of {}", flag(name)));
                }
                _ => {}
            }
        }
        self
    }

    /// A file that cannot be read, or for which there is no memory.
    pub fn read(path: impl AsRef<Path>, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::OutOfMemory {
            return Self::no_memory(path, &format!("{NO_MEMORY} its contents"));
        }
        Self::Read { path: path.as_ref().to_path_buf(), source }
    }

    /// Memory that is not there while a file is read, with the reason of [`lack_of_memory`].
    pub fn no_memory(path: impl AsRef<Path>, reason: &str) -> Self {
        Self::Machine(format!("{}: {reason}; {MORE_MEMORY}", path.as_ref().display()))
    }

    /// A file that cannot be written.
    pub fn write(path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Write { path: path.as_ref().to_path_buf(), source }
    }

    /// 2 for wrong usage and bad input, 1 for what failed while running.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input { .. } | Self::Read { .. } => 2,
            Self::Write { .. } | Self::Machine(_) | Self::Output(_) => 1,
        }
    }
}

/// Does something that may panic. What it was changing is then not to be trusted.
///
/// # Errors
/// Where it panics: why.
pub fn catch_panic<T>(act: impl FnOnce() -> T) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| match lack_of_memory(&*panic) {
        Some(reason) => reason.to_string(),
        None => format!("panicked: {}", text_of(&*panic).unwrap_or("no reason")),
    })
}

/// The start of a panic's message where there is no memory.
pub const NO_MEMORY: &str = "found no memory for";

/// What to do where there is no memory.
pub const MORE_MEMORY: &str = "close other programs, or raise the limit (ulimit -v)";

/// The message of a panic, if it is for lack of memory.
pub fn lack_of_memory(panic: &(dyn Any + Send)) -> Option<&str> {
    text_of(panic).filter(|text| text.starts_with(NO_MEMORY))
}

fn text_of(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

/// `1 run`, `3 runs`, `2 classes`: a count with its noun.
pub fn counted(count: usize, noun: &str) -> String {
    let ending = if noun.ends_with('s') { "es" } else { "s" };
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}{ending}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_memory_is_no_bad_input() {
        let error = Error::read("a.csv", io::ErrorKind::OutOfMemory.into());
        let text = "a.csv: found no memory for its contents; close other programs, or raise the limit (ulimit -v)";
        assert_eq!((error.to_string().as_str(), error.exit_code()), (text, 1));
        let error = Error::read("a.csv", io::ErrorKind::NotFound.into());
        assert_eq!(error.exit_code(), 2);
    }
}
