//! Rows of features with their labels.

use ndarray::{ArrayView2, ArrayView3};

use crate::data::features::{Features, Values};
use crate::data::idx;
use crate::error::{Error, Place, Result, counted};

/// Rows of features, such as images, and the class of each, in file order.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// Image height in pixels; 1 for a table.
    pub height: usize,
    /// Image width in pixels; D for a table.
    pub width: usize,
    /// Of each row; for an image its grey values 0 to 255, line by line.
    pub features: Features,
    /// The class of each row.
    pub labels: Vec<u8>,
}

impl Labelled {
    /// Each image with its label; none of rows that are no grey values.
    pub(super) fn images(&self) -> impl Iterator<Item = (&[u8], u8)> {
        let pixels: &[u8] = match self.features.values() {
            Values::Bytes(pixels) => pixels,
            Values::Floats(_) => &[],
        };
        pixels.chunks_exact(self.features.per_row()).zip(self.labels.iter().copied())
    }

    /// From grey values (N, height, width) and N labels.
    ///
    /// # Errors
    /// Where their numbers differ.
    pub fn new(images: ArrayView3<'_, u8>, labels: &[u8]) -> Result<Self> {
        let (count, height, width) = images.dim();
        check_count(count, labels.len(), "image")?;
        if images.is_empty() {
            return Err(Error::unexpected(Place::Name("images"), "no grey value", "some images"));
        }
        let features = Features::bytes(images.iter().copied().collect(), height * width);
        Ok(Self { height, width, features, labels: labels.to_vec() })
    }

    /// From the rows (N, D) of a table of numbers and N labels.
    ///
    /// # Errors
    /// Where their numbers differ, or a value is not finite.
    pub fn from_rows(rows: ArrayView2<'_, f32>, labels: &[u8]) -> Result<Self> {
        let (count, width) = rows.dim();
        check_count(count, labels.len(), "row")?;
        let place = || Place::Name("rows");
        if rows.is_empty() {
            return Err(Error::unexpected(place(), "no number", "some rows of features"));
        }
        if let Some(((row, feature), value)) =
            rows.indexed_iter().find(|(_, value)| !value.is_finite())
        {
            let found = format!("{value} in row {row}, feature {feature}");
            return Err(Error::unexpected(place(), found, "finite numbers"));
        }
        let features = Features::floats(rows.iter().copied().collect(), width);
        Ok(Self { height: 1, width, features, labels: labels.to_vec() })
    }

    /// SHA-256 of two IDX files that hold these rows and labels, in hexadecimal.
    pub(super) fn sha256(&self) -> [String; 2] {
        let features = match self.features.values() {
            Values::Bytes(values) => idx::hash(&[self.len(), self.height, self.width], values),
            Values::Floats(values) => idx::hash_floats(&[self.len(), self.width], values),
        };
        [features, idx::hash(&[self.len()], &self.labels)]
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Features a row, D.
    pub fn inputs(&self) -> usize {
        self.features.per_row()
    }

    /// The labels of some rows, in the order of `indices`.
    pub fn labels_of(&self, indices: &[usize]) -> Vec<u8> {
        indices.iter().map(|&index| self.labels[index]).collect()
    }

    /// These rows, then others of the same size.
    #[must_use]
    pub fn followed_by(self, others: Self) -> Self {
        let features = self.features.followed_by(others.features);
        let labels = [self.labels, others.labels].concat();
        Self { features, labels, ..self }
    }

    /// Some of the rows, in the order of `indices`.
    #[must_use]
    pub fn chosen(&self, indices: &[usize]) -> Self {
        Self { features: self.features.chosen(indices), labels: self.labels_of(indices), ..*self }
    }
}

fn check_count(rows: usize, labels: usize, what: &str) -> Result<()> {
    if rows == labels {
        return Ok(());
    }
    let expected = format!("{rows}, one for each {what}");
    Err(Error::unexpected(Place::Name("labels"), counted(labels, "label"), expected))
}
