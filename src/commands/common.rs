//! What several commands need.

use std::path::{Path, PathBuf};

use crate::cli::{HyperparamFlags, flag_of};
use crate::data::dataset::{Dataset, Split, locate};
use crate::error::{Error, Place, Result};
use crate::grid::space::{Axis, parse_assignment, parse_axis};
use crate::progress::say;
use crate::train::hyperparams::Hyperparams;

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
    let of_flags = flags.given.iter().map(|(key, text)| parse_axis(&flag_of(key), key, text));
    of_flags.chain(assignments.iter().map(|text| parse_assignment(text))).collect()
}

/// Checks that a data set can be split and a network built for it with these values.
///
/// # Errors
/// Where no training image would be left or the network would be too large.
pub fn check_against(dataset: &Dataset, values: &Hyperparams) -> Result<()> {
    Split::check(dataset.train.len(), values.validation_size)?;
    values
        .sizes(dataset.train.inputs(), dataset.classes)
        .map_err(|problem| Error::input(Place::flag("hidden"), problem))?;
    Ok(())
}

/// Tells which data are used, once they are read.
pub fn say_data(dataset: &Dataset) {
    say(&format!(
        "{} training and {} test images of {}×{} pixels in {} classes from {}",
        dataset.train.len(),
        dataset.test.len(),
        dataset.train.height,
        dataset.train.width,
        dataset.classes,
        dataset.folder.display()
    ));
}

/// `results/NAME`, where results go unless a user says otherwise.
pub fn default_folder(name: &str) -> PathBuf {
    Path::new("results").join(name)
}
