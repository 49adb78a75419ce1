//! What a run leaves: its scores or why it has none, and the record of both.

use std::path::Path;

use toml::de::DeValue;

use crate::error::{Error, Place, Result};
use crate::statistics::wilson_interval;
use crate::train::checked::Checked;
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::{KEYS, Key};
use crate::train::provenance::Provenance;
use crate::train::score::{CurveRow, OnTie, Score, best_validation};
use crate::train::toml_file::{Item, TomlFile, to_toml};

/// How a run came out.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It trained to its end.
    Done(Scores),
    /// It stands at a rung of halving: it was stopped there, or waits for other runs.
    Stopped(AtRung),
    /// Its loss stopped being finite.
    Diverged {
        /// In this epoch.
        epoch: usize,
    },
    /// It could not be trained.
    Failed {
        /// Why not.
        reason: String,
    },
}

/// The scores of a run's model: the weights with the highest validation accuracy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// The epoch (from 1) after which the model's weights were taken; on a tie, the one that `on_tie` names.
    pub best_epoch: usize,
    /// The last epoch, where `patience` ended the run before the last of its `epochs`.
    pub ended_epoch: Option<usize>,
    /// Of the best epoch's mini-batches as they were trained on.
    pub train: Score,
    /// Of the model.
    pub validation: Score,
    /// Of the model, measured once at the end; `None` where the data have no test set.
    pub test: Option<Score>,
    /// The size of the test set, of which the accuracy is a fraction.
    pub test_images: usize,
}

/// How far a run has come that stands at a rung. It has no test score: the test set is seen once, at the end
/// of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtRung {
    /// The epochs trained.
    pub epoch: usize,
    /// The epoch with the highest validation accuracy so far; on a tie, the one that `on_tie` names.
    pub best_epoch: usize,
    /// Of that epoch's mini-batches as they were trained on.
    pub train: Score,
    /// Of the weights after that epoch.
    pub validation: Score,
}

impl AtRung {
    /// Where a run of this curve stands at its last epoch; none if it has no validation.
    pub fn of(curve: &[CurveRow], on_tie: OnTie) -> Option<Self> {
        let (best_epoch, validation) = best_validation(curve, on_tie)?;
        let train = curve[best_epoch - 1].train;
        Some(Self { epoch: curve.len(), best_epoch, train, validation })
    }
}

impl Scores {
    /// The accuracy that models are judged by: on the test set, or without one on the validation set.
    pub fn judged(&self) -> f64 {
        self.test.unwrap_or(self.validation).accuracy
    }

    /// How many test images the model classified correctly.
    pub fn correct(&self) -> usize {
        self.test.map_or(0, |test| (test.accuracy * self.test_images as f64).round() as usize)
    }

    /// The 95 % interval of the test accuracy (Wilson); `None` without a test set.
    pub fn test_interval(&self) -> Option<(f64, f64)> {
        self.test.map(|test| wilson_interval(test.accuracy, self.test_images))
    }
}

impl Outcome {
    /// As in files.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Stopped(_) => "stopped",
            Self::Diverged { .. } => "diverged",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether it stands at a rung.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped(_))
    }

    /// The epoch in which it diverged.
    pub fn diverged_in(&self) -> Option<usize> {
        match self {
            Self::Diverged { epoch } => Some(*epoch),
            _ => None,
        }
    }

    /// Whether the run has ended: training it again would change nothing.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Diverged { .. })
    }

    /// How many of its `epochs` the run was trained for.
    pub fn epochs_trained(&self, epochs: usize) -> usize {
        match self {
            Self::Done(scores) => scores.ended_epoch.unwrap_or(epochs),
            Self::Stopped(at) => at.epoch,
            Self::Diverged { epoch } => *epoch,
            Self::Failed { .. } => 0,
        }
    }

    /// The scores, if it trained to its end.
    pub fn scores(&self) -> Option<&Scores> {
        match self {
            Self::Done(scores) => Some(scores),
            _ => None,
        }
    }
}

/// A run as it stands in `run.toml`, with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its name, which is that of its folder.
    pub run: String,
    /// Every value that the run had.
    pub values: Checked,
    /// How it came out.
    pub outcome: Outcome,
    /// How long it trained, evaluations included.
    pub seconds: f64,
    /// What it ran on and with.
    pub provenance: Provenance,
}

/// What to do about a record that cannot be used.
pub const REMOVE_RUN: &str = "remove the run's folder, and it will be trained again";

/// The keys of `run.toml` that are not hyper-parameters.
const OUTCOME_KEYS: [&str; 15] = [
    "status",
    "reason",
    "stopped_epoch",
    "diverged_epoch",
    "ended_epoch",
    "best_epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
    "test_images",
    "seconds",
    "provenance",
];

impl Record {
    /// The text of `run.toml`.
    pub fn to_toml(&self) -> String {
        let mut table = self.results();
        table.insert("seconds".into(), ((self.seconds * 1000.0).round() / 1000.0).into());
        let lines = self.provenance.lines().iter();
        let provenance: toml::Table = lines.map(|(k, v)| (k.clone(), v.as_str().into())).collect();
        table.insert("provenance".into(), provenance.into());
        toml::to_string(&table).expect("a table of plain values")
    }

    /// The lines that are the same whenever and wherever the run is trained.
    fn results(&self) -> toml::Table {
        let mut table = toml::Table::new();
        for (key, value) in Key::written(&self.values) {
            table.insert(key.name.into(), to_toml(&value));
        }
        table.insert("status".into(), self.outcome.status().into());
        match &self.outcome {
            Outcome::Done(scores) => {
                if let Some(epoch) = scores.ended_epoch {
                    table.insert("ended_epoch".into(), (epoch as i64).into());
                }
                table.insert("best_epoch".into(), (scores.best_epoch as i64).into());
                insert_score(&mut table, "train", scores.train);
                insert_score(&mut table, "validation", scores.validation);
                if let Some(test) = scores.test {
                    insert_score(&mut table, "test", test);
                }
                table.insert("test_images".into(), (scores.test_images as i64).into());
            }
            Outcome::Stopped(at) => {
                table.insert("stopped_epoch".into(), (at.epoch as i64).into());
                table.insert("best_epoch".into(), (at.best_epoch as i64).into());
                insert_score(&mut table, "train", at.train);
                insert_score(&mut table, "validation", at.validation);
            }
            Outcome::Diverged { epoch } => {
                table.insert("diverged_epoch".into(), (*epoch as i64).into());
            }
            Outcome::Failed { reason } => {
                table.insert("reason".into(), reason.as_str().into());
            }
        }
        table
    }

    /// The scores, if it trained to its end.
    pub fn scores(&self) -> Option<&Scores> {
        self.outcome.scores()
    }

    /// The score on its validation set, if it trained to its end and has one.
    pub fn validation(&self) -> Option<Score> {
        self.values.validation_set()?;
        Some(self.scores()?.validation)
    }

    /// The first line that is another one in a record of the same values `there`, times and
    /// provenance left out: `test_loss: 0.41 there, 0.42 here`.
    pub fn difference(&self, there: &Self) -> Option<String> {
        let (here, there) = (self.results(), there.results());
        let mut lines = here.iter().zip(&there);
        let ((name, here), (_, there)) = lines.find(|(here, there)| here != there)?;
        Some(format!("{name}: {there} there, {here} here"))
    }

    /// Reads the `run.toml` of a run of this name.
    ///
    /// # Errors
    /// Where the file cannot be read or is not a whole record.
    pub fn read(path: &Path, run: &str) -> Result<Self> {
        TomlFile::read(path)
            .and_then(|file| Self::parse(&file, run))
            .map_err(|error| error.hint(REMOVE_RUN))
    }

    /// Reads the text of `run.toml`.
    ///
    /// # Errors
    /// Where it is not a whole record.
    pub fn parse(file: &TomlFile, run: &str) -> Result<Self> {
        let (path, table) = (file.path(), file.table()?);
        let field = |name: &str| {
            table.get(name).ok_or_else(|| Error::input(Place::file(path), format!("no `{name}`")))
        };
        let number = |name: &str| {
            let item = field(name)?;
            number(item).ok_or_else(|| file.unexpected(item, "a number"))
        };
        let within = |name: &str, fits: fn(f64) -> bool, expected: &str| {
            let number = number(name)?;
            if fits(number) { Ok(number) } else { Err(file.unexpected(field(name)?, expected)) }
        };
        let count = |name: &str| {
            let whole = |number: f64| (1.0..1e15).contains(&number) && number.fract() == 0.0;
            within(name, whole, "a whole number from 1").map(|number| number as usize)
        };
        let text = |name: &str| {
            let item = field(name)?;
            item.get_ref().as_str().ok_or_else(|| file.unexpected(item, "a string"))
        };
        let score = |part: &str| -> Result<Score> {
            let fraction = |number: f64| (0.0..=1.0).contains(&number);
            let loss = within(&format!("{part}_loss"), f64::is_finite, "a finite number")?;
            let accuracy = format!("{part}_accuracy");
            Ok(Score { loss, accuracy: within(&accuracy, fraction, "a fraction from 0 to 1")? })
        };
        let values = read_values(file, &table, Hyperparams::default())?;
        let epoch = |name: &str| match count(name)? {
            epoch if epoch <= values.epochs => Ok(epoch),
            _ => Err(file.unexpected(field(name)?, format!("an epoch up to {}", values.epochs))),
        };
        let has_test = table.contains_key("test_accuracy") || count("test_images").is_ok();
        let is_early = table.contains_key("ended_epoch");
        let outcome = match text("status")? {
            "done" => Outcome::Done(Scores {
                best_epoch: epoch("best_epoch")?,
                ended_epoch: is_early.then(|| epoch("ended_epoch")).transpose()?,
                train: score("train")?,
                validation: score("validation")?,
                test: has_test.then(|| score("test")).transpose()?,
                test_images: if has_test { count("test_images")? } else { 0 },
            }),
            "stopped" => Outcome::Stopped(AtRung {
                epoch: epoch("stopped_epoch")?,
                best_epoch: epoch("best_epoch")?,
                train: score("train")?,
                validation: score("validation")?,
            }),
            "diverged" => Outcome::Diverged { epoch: epoch("diverged_epoch")? },
            "failed" => Outcome::Failed { reason: text("reason")?.to_string() },
            _ => return Err(file.unexpected(field("status")?, "done, stopped, diverged or failed")),
        };
        if let Outcome::Done(Scores { test: Some(test), test_images, .. }) = outcome {
            let correct = test.accuracy * test_images as f64;
            if (correct - correct.round()).abs() > 1e-6 * test_images as f64 {
                let expected = format!("a whole number of {test_images} test_images as a fraction");
                return Err(file.unexpected(field("test_accuracy")?, expected));
            }
        }
        let provenance = match field("provenance")?.get_ref() {
            DeValue::Table(table) => table
                .iter()
                .filter_map(|(k, v)| Some((k.get_ref().to_string(), v.get_ref().as_str()?.into())))
                .collect(),
            _ => return Err(file.unexpected(field("provenance")?, "a table")),
        };
        let is_time = |number: f64| number.is_finite() && number >= 0.0;
        let seconds = within("seconds", is_time, "a number of seconds from 0")?;
        let run = run.to_string();
        Ok(Self { run, values, outcome, seconds, provenance })
    }
}

fn insert_score(table: &mut toml::Table, part: &str, score: Score) {
    table.insert(format!("{part}_loss"), score.loss.into());
    table.insert(format!("{part}_accuracy"), score.accuracy.into());
}

fn number(item: &Item<'_>) -> Option<f64> {
    let text = match item.get_ref() {
        DeValue::Integer(number) => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        _ => return None,
    };
    text.parse().ok()
}

/// Reads the values of one run from a file of `key = value` lines, such as `run.toml`. Keys that
/// are not given keep their values; what `run.toml` says of the outcome is passed over.
///
/// # Errors
/// Where a key is unknown or a value out of range.
pub fn read_values(
    file: &TomlFile,
    table: &toml::de::DeTable<'_>,
    mut values: Hyperparams,
) -> Result<Checked> {
    if let Some(part) =
        ["axes", "runs", "values"].into_iter().find(|part| table.contains_key(*part))
    {
        return Err(Error::input(
            Place::file(file.path()),
            format!("has `{part}`, so it is a grid"),
        )
        .hint("train it with `rookie grid FILE`"));
    }
    for (name, item) in table {
        match Key::named(name.get_ref()) {
            Ok(key) => key.set(&mut values, file.value(key, item)?),
            Err(_) if OUTCOME_KEYS.contains(&&**name.get_ref()) => {}
            Err(_) => return Err(file.unknown_key(name, KEYS.iter().map(|key| key.name))),
        }
    }
    values.check().map_err(|it| {
        let problem = format!("{}: {}", it.key.name, it.problem);
        Error::input(Place::file(file.path()), problem).hint(it.hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(outcome: Outcome) -> Record {
        let line = ("cpu".to_string(), "a \"quoted\" name".to_string());
        let values = Hyperparams { hidden: vec![], weight_decay: 1e-5, ..Hyperparams::default() };
        let (values, provenance) = (values.check().unwrap(), Provenance::from_iter([line]));
        Record { run: "a".into(), values, outcome, seconds: 1.25, provenance }
    }

    #[test]
    fn a_record_comes_back_from_its_file_as_it_went() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        let score = |x: f64| Score { loss: x / 3.0, accuracy: x / 7.0 };
        for outcome in [
            Outcome::Done(Scores {
                best_epoch: 5,
                ended_epoch: Some(7),
                train: score(1.0),
                validation: score(2.0),
                test: Some(score(3.0)),
                test_images: 7_000,
            }),
            Outcome::Stopped(AtRung {
                epoch: 20,
                best_epoch: 15,
                train: score(1.0),
                validation: score(2.0),
            }),
            Outcome::Diverged { epoch: 3 },
            Outcome::Failed { reason: "panicked:\n\"x\"".into() },
        ] {
            let record = record(outcome);
            std::fs::write(&path, record.to_toml()).unwrap();
            assert_eq!(Record::read(&path, "a").unwrap(), record);
        }
    }

    #[test]
    fn a_record_that_is_torn_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        let text = record(Outcome::Diverged { epoch: 3 }).to_toml();
        for cut in 0..text.find("[provenance]").unwrap() {
            std::fs::write(&path, &text[..cut]).unwrap();
            assert!(Record::read(&path, "a").is_err(), "{}", &text[..cut]);
        }
    }

    #[test]
    fn numbers_that_no_run_can_leave_are_refused() {
        let score = Score { loss: 1.0, accuracy: 0.5 };
        let (train, validation, test) = (score, score, score);
        let scores = Scores {
            best_epoch: 5,
            ended_epoch: None,
            train,
            validation,
            test: Some(test),
            test_images: 10_000,
        };
        let untested = Scores { test: None, test_images: 0, ..scores };
        let untested = Record { outcome: Outcome::Done(untested), ..record(Outcome::Done(scores)) };
        let parse = |text: String| Record::parse(&TomlFile::new("run.toml", text), "a");
        assert_eq!(parse(untested.to_toml()).unwrap().outcome, untested.outcome);
        for (outcome, line, other) in [
            (Outcome::Done(scores), "best_epoch = 5", "best_epoch = 501"),
            (Outcome::Done(scores), "test_accuracy = 0.5", "test_accuracy = 1.5"),
            (Outcome::Done(scores), "test_accuracy = 0.5", "test_accuracy = 0.50003"),
            (Outcome::Done(scores), "test_loss = 1.0", "test_loss = nan"),
            (Outcome::Done(scores), "test_images = 10000", "test_images = 0"),
            (Outcome::Done(scores), "seconds = 1.25", "seconds = -1.25"),
            (Outcome::Diverged { epoch: 3 }, "diverged_epoch = 3", "diverged_epoch = 501"),
        ] {
            let text = record(outcome).to_toml();
            let changed = text.replace(line, other);
            assert_ne!(text, changed);
            let error = parse(changed).unwrap_err();
            let number = other.split(' ').next_back().unwrap();
            assert!(error.to_string().contains(&format!("found {number}, expected")), "{error}");
        }
    }
}
