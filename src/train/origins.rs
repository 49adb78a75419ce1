//! Where each value of a run or a grid came from, so that an error names the line or the flag to
//! change.

use crate::error::{Error, Place};
use crate::train::hyperparams::Key;

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

    /// Notes where a value came from; it replaces an earlier one.
    pub fn set(&mut self, key: &'static Key, place: Place) {
        self.places.retain(|(other, _)| *other != key);
        self.places.push((key, place));
    }

    /// An error about a value, at its place. Only a flag names the key by itself.
    pub fn error(&self, key: &Key, problem: impl std::fmt::Display) -> Error {
        let place = self.places.iter().find(|(other, _)| *other == key).map(|(_, place)| place);
        match place.or(self.all.as_ref()) {
            Some(place @ Place::Flag(name)) if name.starts_with("--") => {
                Error::input(place.clone(), problem.to_string())
            }
            Some(place) => Error::input(place.clone(), format!("{}: {problem}", key.name)),
            None => {
                let place = Place::flag(format!("the default of {}", key.flag()));
                Error::input(place, problem.to_string())
            }
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
        origins.set(key("batch_size"), Place::flag("--batch-size"));
        let text = |name| origins.error(key(name), "too many").to_string();
        assert_eq!(text("epochs"), "my.toml:3: epochs: too many");
        assert_eq!(text("batch_size"), "--batch-size: too many");
        assert_eq!(text("validation_size"), "the default of --validation-size: too many");
        let origins = Origins::all_at(Place::file("model"));
        assert_eq!(origins.error(key("epochs"), "none").to_string(), "model: epochs: none");
    }
}
