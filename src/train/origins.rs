//! Where each value of a run or a grid came from, so that an error names the line or the flag to
//! change.

use crate::bf16::instructions::{Instructions, Precision};
use crate::bf16::required::require_bf16;
use crate::data::preprocess::Standardisation;
use crate::data::shape::{DataKind, DataShape};
use crate::data::split::PartSize;
use crate::error::{Error, Place, Result};
use crate::train::checked::Misfit;
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::Key;
use crate::train::score::OnTie;
use crate::train::value::Value;

impl From<Misfit> for Error {
    /// About values that stand nowhere but in the program: the key is the place.
    fn from(Misfit { key, problem, hint }: Misfit) -> Self {
        Self::input(Place::Option(key.name), problem).hint(hint)
    }
}

/// The places of values; those that have none are defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Origins {
    places: Vec<(&'static Key, Place)>,
    all: Option<Place>,
}

impl Origins {
    /// Of values that all stand in one file.
    pub fn all_at(place: Place) -> Self {
        Self { places: Vec::new(), all: Some(place) }
    }

    /// The same values, but all stand at this place, and so do the defaults.
    #[must_use]
    pub fn moved_to(self, place: Place) -> Self {
        let places = self.places.into_iter().map(|(key, _)| (key, place.clone())).collect();
        Self { places, all: Some(place) }
    }

    /// Notes where a value came from; it replaces an earlier one.
    pub fn set(&mut self, key: &'static Key, place: Place) {
        self.places.retain(|(other, _)| *other != key);
        self.places.push((key, place));
    }

    /// Sets what no file and no flag has set to what suits the data: a fifth of the rows for validation where
    /// they are no folder of IDX files, or the validation rows that are given; for tables also a smaller
    /// batch, a scale for each feature, and the last of equally good epochs, because few validation rows
    /// cannot tell epochs apart.
    pub fn suit(&self, values: &mut Hyperparams, shape: &DataShape) {
        let given = shape.given_validation.map(PartSize::Rows);
        let fifth = (shape.kind != DataKind::Folder).then_some(PartSize::Share(200_000));
        let of_tables = [
            ("standardisation", Value::Choice(Standardisation::Feature.name())),
            ("batch_size", Value::Count(32)),
            ("on_tie", Value::Choice(OnTie::Last.name())),
        ];
        let of_tables = of_tables.into_iter().filter(|_| shape.kind == DataKind::Table);
        let validation = given.or(fifth).map(|size| ("validation_size", Value::Part(size)));
        for (name, value) in of_tables.chain(validation) {
            let key = Key::named(name).expect("a key");
            if self.places.iter().all(|(set, _)| *set != key) {
                key.set(values, value);
            }
        }
    }

    /// Checks that this machine can train a network with these values on such a data set.
    ///
    /// # Errors
    /// Where no training image would be left, the network would be too large, or the processor has no
    /// instructions for its precision, at the value's origin.
    pub fn check_against(&self, shape: DataShape, values: &Hyperparams) -> Result<()> {
        let error = |name, problem| self.error(Key::named(name).expect("a key"), problem);
        let hint = match shape.given_validation {
            Some(_) => "leave it out, because the data have validation rows",
            None => "split off fewer",
        };
        shape
            .validation_rows(values.validation_size)
            .map_err(|problem| error("validation_size", problem).hint(hint))?;
        values.sizes(shape.inputs, shape.classes).map_err(|problem| error("hidden", problem))?;
        if values.precision == Precision::Bf16 {
            require_bf16(Instructions::of_processor(), |problem| error("precision", problem))?;
        }
        values
            .check_buffers(shape.train.max(shape.test), shape.classes)
            .map_err(|problem| error("batch_size", problem).hint("take smaller batches or layers"))
    }

    /// An error about a value, at its place. Only an option names the key by itself.
    pub fn error(&self, key: &Key, problem: impl std::fmt::Display) -> Error {
        let place = self.places.iter().find(|(other, _)| *other == key).map(|(_, place)| place);
        match place.or(self.all.as_ref()) {
            Some(place @ Place::Option(_)) => Error::input(place.clone(), problem.to_string()),
            Some(place @ Place::Flag(text)) if text.starts_with("--") => {
                Error::input(place.clone(), problem.to_string())
            }
            Some(place) => Error::input(place.clone(), format!("{}: {problem}", key.name)),
            None => Error::input(Place::Default(key.name), problem.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_line_the_flag_or_the_default_that_a_value_came_from() {
        let key = |name| Key::named(name).unwrap();
        let mut origins = Origins::default();
        origins.set(key("epochs"), Place::Line("my.toml".into(), 3));
        origins.set(key("batch_size"), Place::Line("my.toml".into(), 4));
        origins.set(key("batch_size"), Place::Option("batch_size"));
        let text = |name| origins.error(key(name), "too many").to_string();
        assert_eq!(text("epochs"), "my.toml:3: epochs: too many");
        assert_eq!(text("batch_size"), "batch_size: too many");
        assert_eq!(text("validation_size"), "the default of validation_size: too many");
        let origins = Origins::all_at(Place::file("model"));
        assert_eq!(origins.error(key("epochs"), "none").to_string(), "model: epochs: none");
    }
}
