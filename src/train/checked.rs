//! Values within their ranges: only these reach the trainer, and commands that train check their
//! combinations too.

use std::collections::BTreeMap;
use std::ops::Deref;

use crate::data::preprocess::Standardisation;
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::{KEYS, Key};
use crate::train::value::Value;

/// A number rounded to one significant digit.
fn one_digit(number: f64) -> f64 {
    format!("{number:.0e}").parse().expect("it is a number")
}

/// Values that are all within their ranges, made by [`Hyperparams::check`]. They read as
/// [`Hyperparams`] do.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked(Hyperparams);

impl Deref for Checked {
    type Target = Hyperparams;

    fn deref(&self) -> &Hyperparams {
        &self.0
    }
}

/// Why values cannot be trained with.
#[derive(Debug, PartialEq)]
pub struct Misfit {
    /// The value that is wrong, or is so together with others.
    pub key: &'static Key,
    /// What is wrong with it, a clause.
    pub problem: String,
    /// What to do about it.
    pub hint: String,
}

impl Hyperparams {
    /// The first value that is another one `there`: `epochs: 500 there, 50 here`.
    pub fn difference(&self, there: &Self) -> Option<String> {
        let differs = |key: &&Key| key.get(self) != key.get(there);
        let key = KEYS.iter().filter(|_| self != there).find(differs)?;
        Some(format!("{}: {} there, {} here", key.name, key.get(there), key.get(self)))
    }

    /// Checks every value by itself. What is about to be trained must also pass
    /// [`Checked::check_combinations`].
    ///
    /// # Errors
    /// The first value that is out of its range.
    pub fn check(self) -> Result<Checked, Misfit> {
        if let Some(key) = KEYS.iter().find(|key| !key.allows(&key.get(&self))) {
            let problem = format!("found {}, expected {}", key.get(&self), key.range);
            return Err(Misfit { key, problem, hint: "take a value in this range".into() });
        }
        Ok(Checked(self))
    }
}

impl Checked {
    /// Checks that the values can be trained with together. Version 0.1.0 trained with some that
    /// cannot, so that files of results are read without this check.
    ///
    /// # Errors
    /// A value that does not go together with others.
    pub fn check_combinations(&self) -> Result<(), Misfit> {
        let key = |name| Key::named(name).expect("a key");
        let Hyperparams { learning_rate, weight_decay, .. } = **self;
        if learning_rate * weight_decay >= 1.0 {
            let is_default = weight_decay == Hyperparams::default().weight_decay;
            let problem = format!(
                "found learning_rate {} with weight_decay {}, expected a product below 1, because each \
                 step multiplies the weights by 1 − learning_rate·weight_decay",
                Value::Number(learning_rate),
                Value::Number(weight_decay)
            );
            let hint = format!(
                "take a smaller learning_rate, or a weight_decay below 1/learning_rate, such as {}",
                Value::Number(one_digit(0.5 / learning_rate))
            );
            let key = key(if is_default { "learning_rate" } else { "weight_decay" });
            return Err(Misfit { key, problem, hint });
        }
        if let Some((0, folds)) = self.validation_size.fold() {
            return Err(Misfit {
                key: key("validation_size"),
                problem: format!("found all {folds} folds, which leave no row for validation"),
                hint: format!("take one of them, such as fold1of{folds}, or `grid --refit`"),
            });
        }
        if self.batch_size == 1 && self.standardisation == Standardisation::Batch {
            let problem = "found 1, expected 2 or more, because one image standardised by itself is all zeros";
            let hint = "take larger batches, or --standardisation dataset";
            return Err(Misfit {
                key: key("batch_size"),
                problem: problem.into(),
                hint: hint.into(),
            });
        }
        Ok(())
    }

    /// Every value under its key, as the metadata of a safetensors file.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        Key::written(self).map(|(key, value)| (key.name.to_string(), value.to_string())).collect()
    }

    /// Reads what [`Checked::to_metadata`] wrote; `text` finds a key's value.
    ///
    /// # Errors
    /// Where `text` finds none, or says in a clause which value is out of range.
    pub fn from_metadata<'a>(
        text: impl Fn(&str) -> Result<&'a String, String>,
    ) -> Result<Self, String> {
        let mut values = Hyperparams::default();
        for key in &KEYS {
            let text = match text(key.name) {
                Err(_) if key.may_lack => continue,
                text => text?,
            };
            let value = key
                .parse(text)
                .map_err(|range| format!("found {} = {text}, expected {range}", key.name))?;
            key.set(&mut values, value);
        }
        values.check().map_err(|it| format!("{}: {}", it.key.name, it.problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_do_not_go_together_are_refused_with_the_reason() {
        let check = |values: Hyperparams| values.check().unwrap().check_combinations();
        let decayed = |learning_rate, weight_decay| {
            check(Hyperparams { learning_rate, weight_decay, ..Hyperparams::default() })
        };
        assert_eq!(decayed(0.5, 1.99), Ok(()));
        for (learning_rate, weight_decay, key, found, advised) in [
            (0.5, 2.0, "weight_decay", "found learning_rate 0.5 with weight_decay 2,", "1"),
            (
                2000.0,
                1e-3,
                "learning_rate",
                "learning_rate 2000 with weight_decay 0.001,",
                "0.0003",
            ),
            (1e30, 1e-3, "learning_rate", "learning_rate 1e30 with weight_decay 0.001,", "5e-31"),
            (
                1e-7,
                1e7,
                "weight_decay",
                "learning_rate 1e-7 with weight_decay 10000000,",
                "5000000",
            ),
            (0.3, 3.4, "weight_decay", "learning_rate 0.3 with weight_decay 3.4,", "2"),
        ] {
            let Misfit { key: at, problem, hint } =
                decayed(learning_rate, weight_decay).unwrap_err();
            assert_eq!(at.name, key);
            assert!(problem.contains(found), "{problem}");
            assert!(hint.ends_with(&format!("1/learning_rate, such as {advised}")), "{hint}");
            assert_eq!(decayed(learning_rate, advised.parse().unwrap()), Ok(()));
        }
        let single = |standardisation| {
            check(Hyperparams { batch_size: 1, standardisation, ..Hyperparams::default() })
        };
        assert_eq!(single(Standardisation::Dataset), Ok(()));
        let refused = single(Standardisation::Batch).unwrap_err();
        assert_eq!(refused.key.name, "batch_size");
        assert!(refused.problem.contains("all zeros"), "{}", refused.problem);
        assert!(refused.hint.contains("--standardisation dataset"), "{}", refused.hint);
    }
}
