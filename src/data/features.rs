//! The raw features of a data set's rows: an image's grey values or the numbers of a table's row.

use crate::memory::collected;

/// The features of N rows, D each.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    per_row: usize,
    values: Values,
}

/// The features of all rows, a row after the other.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Grey values 0 to 255.
    Bytes(Vec<u8>),
    /// Numbers; NaN where a value is missing.
    Floats(Vec<f32>),
}

impl Values {
    fn into_floats(self) -> Vec<f32> {
        match self {
            Self::Bytes(values) => collected(values.len(), values.into_iter().map(f32::from)),
            Self::Floats(values) => values,
        }
    }
}

impl Features {
    /// Of rows of D grey values.
    ///
    /// # Panics
    /// Where the last row is torn, as [`Features::floats`].
    pub fn bytes(values: Vec<u8>, per_row: usize) -> Self {
        assert!(per_row > 0 && values.len().is_multiple_of(per_row), "whole rows");
        Self { per_row, values: Values::Bytes(values) }
    }

    /// Of rows of D numbers. Where all are grey values they are kept as such: they take a quarter of the
    /// memory, and are trained to the same bytes as the same images from another kind of file.
    ///
    /// # Panics
    /// Where the last row is torn.
    pub fn floats(values: Vec<f32>, per_row: usize) -> Self {
        if values.iter().all(|&value| f32::from(value as u8) == value && value.is_sign_positive()) {
            return Self::bytes(values.into_iter().map(|value| value as u8).collect(), per_row);
        }
        assert!(per_row > 0 && values.len().is_multiple_of(per_row), "whole rows");
        Self { per_row, values: Values::Floats(values) }
    }

    /// Features a row, D.
    pub fn per_row(&self) -> usize {
        self.per_row
    }

    /// All values, a row after the other.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The number of rows, N.
    pub fn len(&self) -> usize {
        let values = match &self.values {
            Values::Bytes(values) => values.len(),
            Values::Floats(values) => values.len(),
        };
        values / self.per_row
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The raw value that counts as 1 in a z-score: 255 for grey values (paper 3.1), else 1.
    pub fn white(&self) -> f64 {
        if matches!(self.values, Values::Bytes(_)) { 255.0 } else { 1.0 }
    }

    /// The features of one row.
    pub fn row(&self, index: usize) -> Vec<f32> {
        let range = index * self.per_row..(index + 1) * self.per_row;
        match &self.values {
            Values::Bytes(values) => values[range].iter().map(|&value| f32::from(value)).collect(),
            Values::Floats(values) => values[range].to_vec(),
        }
    }

    /// The features that have the same value in all rows, by index.
    pub fn constant(&self) -> Vec<usize> {
        fn of<T: PartialEq>(values: &[T], per_row: usize) -> Vec<usize> {
            let is_constant = |feature: &usize| {
                let mut all = values[*feature..].iter().step_by(per_row);
                all.next().is_none_or(|first| all.all(|value| value == first))
            };
            (0..per_row).filter(is_constant).collect()
        }
        match &self.values {
            Values::Bytes(values) => of(values, self.per_row),
            Values::Floats(values) => of(values, self.per_row),
        }
    }

    /// Some of the rows, in the order of `indices`.
    #[must_use]
    pub fn chosen(&self, indices: &[usize]) -> Self {
        let values = match &self.values {
            Values::Bytes(values) => Values::Bytes(gather(values, self.per_row, indices)),
            Values::Floats(values) => Values::Floats(gather(values, self.per_row, indices)),
        };
        Self { values, ..*self }
    }

    /// These rows, then others with as many features.
    #[must_use]
    pub fn followed_by(self, others: Self) -> Self {
        let per_row = self.per_row;
        match (self.values, others.values) {
            (Values::Bytes(values), Values::Bytes(others)) => {
                Self::bytes(joined(values, others), per_row)
            }
            (values, others) => {
                Self::floats(joined(values.into_floats(), others.into_floats()), per_row)
            }
        }
    }

    /// Those rows, without a copy.
    pub fn rows<'a>(&'a self, indices: &'a [usize]) -> Rows<'a> {
        Rows { features: self, indices }
    }
}

fn gather<T: Copy>(values: &[T], per_row: usize, indices: &[usize]) -> Vec<T> {
    let values = rows(values, per_row, indices).flatten().copied();
    collected(indices.len() * per_row, values)
}

fn joined<T>(values: Vec<T>, others: Vec<T>) -> Vec<T> {
    collected(values.len() + others.len(), values.into_iter().chain(others))
}

/// The rows of `values` that `indices` name, in their order.
pub(super) fn rows<'a, T>(
    values: &'a [T],
    per_row: usize,
    indices: &'a [usize],
) -> impl Iterator<Item = &'a [T]> + Clone {
    indices.iter().map(move |&index| &values[index * per_row..(index + 1) * per_row])
}

/// Some rows of features in an order.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Of all rows.
    pub features: &'a Features,
    /// Those that are meant, in their order.
    pub indices: &'a [usize],
}

impl Rows<'_> {
    /// How many rows.
    pub fn len(self) -> usize {
        self.indices.len()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.indices.is_empty()
    }

    /// The same rows, `size` at a time; the last have what remains.
    pub fn chunks(self, size: usize) -> impl Iterator<Item = Self> {
        self.indices.chunks(size).map(move |indices| Self { indices, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_up_to_255_are_kept_as_bytes_and_others_are_not() {
        assert_eq!(Features::floats(vec![0.0, 255.0], 1), Features::bytes(vec![0, 255], 1));
        for other in [-0.0, 0.5, 256.0, -1.0, f32::NAN] {
            let features = Features::floats(vec![0.0, other], 1);
            assert!(matches!(features.values(), Values::Floats(_)), "{other}");
            assert_eq!(features.white(), 1.0);
        }
    }

    #[test]
    fn features_that_never_vary_are_found() {
        let features = Features::floats(vec![0.5, 1.0, 2.0, 0.5, 1.0, 3.0], 3);
        assert_eq!(features.constant(), [0, 1]);
        let nan = Features::floats(vec![f32::NAN, 7.0, f32::NAN, 7.0], 2);
        assert_eq!(nan.constant(), [1]);
    }

    #[test]
    fn rows_are_chosen_in_the_order_asked_for() {
        let features = Features::floats(vec![0.5, 1.0, 2.0, 3.0, 4.0, 5.0], 2);
        assert_eq!(features.len(), 3);
        let chosen = features.chosen(&[2, 0]);
        assert_eq!((chosen.row(0), chosen.row(1)), (vec![4.0, 5.0], vec![0.5, 1.0]));
    }
}
