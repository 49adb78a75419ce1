//! What the arrays of an archive are: features and labels of a training, validation and test set.

use std::path::PathBuf;

use crate::data::table::{Column, ColumnKind, Labels, Table};

/// The parts of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrays {
    /// The training set, or all rows if nothing divides them.
    pub train: Array,
    /// The validation set, if the file has one.
    pub validation: Option<Array>,
    /// The test set, if the file has one.
    pub test: Option<Array>,
    /// Arrays of the file that were not read.
    pub unused: Vec<String>,
    /// The names under which arrays of this file are read, for messages.
    pub names: String,
}

/// Features of rows and their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The features; in all parts of the same size.
    pub features: Features,
    /// How many rows, at least one.
    pub rows: usize,
    /// The classes. All parts have the same names, those of all labels of the file.
    pub labels: Labels,
    /// The file, and in an archive the member, of features and labels, each with the SHA-256 of its unpacked
    /// bytes in hexadecimal.
    pub hashes: [(PathBuf, String); 2],
}

/// The features of an array.
#[derive(Debug, Clone, PartialEq)]
pub enum Features {
    /// An array of bytes, (rows, height, width) or (rows, height, width, 1).
    Images {
        /// In pixels.
        height: usize,
        /// In pixels.
        width: usize,
        /// Rows × height × width.
        pixels: Vec<u8>,
    },
    /// Any other array of numbers.
    Matrix {
        /// The product of all its dimensions but the first.
        columns: usize,
        /// Rows × columns, finite or NaN where a value is missing.
        cells: Vec<f32>,
    },
}

impl Array {
    /// An array of numbers as a table with the columns `x0`, `x1`, …; nothing for images.
    pub fn into_table(self) -> Option<Table> {
        let Features::Matrix { columns, cells } = self.features else { return None };
        let [(path, sha256), _] = self.hashes;
        let column = |index| Column { name: format!("x{index}"), kind: ColumnKind::Number };
        Some(Table {
            path,
            sha256,
            delimiter: None,
            columns: (0..columns).map(column).collect(),
            cells,
            rows: self.rows,
            label_column: None,
            labels: Some(self.labels),
            groups: None,
            group_names: Vec::new(),
            ids: None,
            unknown: vec![0; columns],
            unused: Vec::new(),
        })
    }
}
