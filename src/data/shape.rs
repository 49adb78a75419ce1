//! The sizes of a data set, and what follows from them alone.

use crate::data::split::{PartSize, Split};

/// What data sets are read from, as far as defaults depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKind {
    /// The folder of a data set with a test set, such as Fashion-MNIST, or rows in memory.
    Folder,
    /// Images in another file.
    Images,
    /// A table.
    Table,
}

/// The sizes of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataShape {
    /// Training rows, validation rows among them.
    pub train: usize,
    /// Test rows.
    pub test: usize,
    /// Features of a row, D.
    pub inputs: usize,
    /// Classes, C.
    pub classes: usize,
    /// How many of the training rows were given for validation; `None` where runs draw them.
    pub given_validation: Option<usize>,
    /// What they are.
    pub kind: DataKind,
}

impl DataShape {
    /// Of a table without given validation rows, for the defaults that suit such.
    pub const SOME_TABLE: Self = Self {
        train: 1,
        test: 1,
        inputs: 1,
        classes: 2,
        given_validation: None,
        kind: DataKind::Table,
    };

    /// How many of the training rows are for validation, if so many are asked for.
    ///
    /// # Errors
    /// A clause that says so where that leaves no row for one of both, or others are given.
    pub fn validation_rows(&self, asked_for: PartSize) -> std::result::Result<usize, String> {
        let size = asked_for.of(self.train);
        if let Some((_, folds)) = asked_for.fold() {
            return Split::check_folds(self.train, folds).map(|()| size);
        }
        if let Some(given) = self.given_validation.filter(|given| *given != size) {
            return Err(format!("found {asked_for}, expected {given}, as the data have"));
        }
        Split::check(self.train, size).map(|()| size)
    }
}
