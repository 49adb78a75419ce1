//! Accuracies published elsewhere, read from a CSV and found by hyper-parameters.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use csv::StringRecord;

use crate::data::csv_rows::Source;
use crate::data::file;
use crate::data::split::PartSize;
use crate::error::{Error, Place, Result};
use crate::results::ranking::{PLANNED_EPOCHS, SCORES};
use crate::statistics::mean;
use crate::text::{nearest, shortened};
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::{KEYS, Key};

/// The largest CSV of accuracies that is read: the ranking of a million runs.
const MAX_REFERENCE: u64 = 512 << 20;
/// Runs that differ only in this repeat one configuration.
pub(crate) const SEED: &str = "seed";
/// The columns of `ranking.csv` that are neither hyper-parameters nor scores.
const OTHERS: [&str; 5] = ["rank", "refit", "init", "status", "run"];

/// Published accuracies, each for the values that its row names.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    keys: Vec<String>,
    rows: Vec<Row>,
}

/// What was published about the configuration of some cells, and the lines of the file that say so.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    cells: Vec<String>,
    published: Published,
    lines: Vec<usize>,
}

/// What was published about a configuration, as fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Published {
    pub(crate) test: f64,
    pub(crate) validation: Option<f64>,
    /// By test accuracy, from 1; equal ones share the lower rank.
    pub(crate) rank: usize,
}

impl Reference {
    /// Reads a CSV with columns of `ranking.csv`: some hyper-parameters, `test_accuracy`, and
    /// `validation_accuracy` if it is known. Rows that differ only in their seed or fold become one with their
    /// mean; rows without a test accuracy are skipped. Cells are separated as in tables of data.
    ///
    /// # Errors
    /// If the file cannot be read, a column is missing, unknown or occurs twice, a value is invalid, or two rows
    /// are of the same values and seed.
    pub fn read(path: &Path) -> Result<Self> {
        let text = file::read(path, "a CSV", MAX_REFERENCE)?;
        if text.trim_ascii().is_empty() {
            return Err(Error::unexpected(Place::file(path), "an empty file", WANTED));
        }
        let delimiter = Source { path, bytes: Some(&text) }.delimiter()?;
        let mut csv = csv::ReaderBuilder::new().delimiter(delimiter.byte()).from_reader(&text[..]);
        let at = |line| Place::Line(path.to_path_buf(), line);
        let torn = |line| Error::unexpected(at(line), "another line", "a row of the CSV");
        let header = Header::of(csv.headers().map_err(|_| torn(1))?, &at(1))?;
        let mut order: Vec<Vec<String>> = Vec::new();
        let mut found: HashMap<Vec<String>, Vec<Accuracies>> = HashMap::new();
        let mut seen: HashMap<Vec<String>, usize> = HashMap::new();
        for (row, record) in (2..).zip(csv.records()) {
            let record = record.map_err(|_| torn(row))?;
            let line = record.position().map_or(row, |position| position.line() as usize);
            let Some(test) = fraction(&record, &header, header.test, &at(line))? else { continue };
            let known = header.validation.map(|it| fraction(&record, &header, it, &at(line)));
            let known = known.transpose()?.flatten();
            let values = header.values_of(&record, &at(line))?;
            let seed = header.seed.map(|column| canonical(&record[column]));
            let repeat = values.iter().cloned().chain(seed).collect();
            if let Some(first) = seen.insert(repeat, line) {
                let found = format!("the values of line {first} again");
                let expected = "rows that differ in a hyper-parameter or in seed";
                return Err(Error::unexpected(at(line), found, expected)
                    .hint("remove one of them, or add the column in which they differ"));
            }
            let cells: Vec<String> = values.iter().map(|cell| of_all_folds(cell)).collect();
            let rows = found.entry(cells).or_insert_with_key(|cells| {
                order.push(cells.clone());
                Vec::new()
            });
            rows.push((test, known, line));
        }
        Ok(Self { keys: header.keys(), rows: ranked(order, &found) })
    }

    /// The cells of a run with these values.
    fn cells(&self, values: &Hyperparams) -> Vec<String> {
        let values = values.of_all_folds();
        let cell =
            |name: &String| of_all_folds(&canonical(&cell_of(&values, name).expect("a key")));
        self.keys.iter().map(cell).collect()
    }

    /// What was published about a run with these values.
    pub(crate) fn of(&self, values: &Hyperparams) -> Option<Published> {
        let cells = self.cells(values);
        self.rows.iter().find(|row| row.cells == cells).map(|row| row.published)
    }

    /// The lines whose values are those of no run, in order, and whether there are any others.
    pub fn unmatched<'a>(
        &self,
        values: impl Iterator<Item = &'a Hyperparams>,
    ) -> (Vec<usize>, bool) {
        let runs: HashSet<Vec<String>> = values.map(|values| self.cells(values)).collect();
        let rows = self.rows.iter().filter(|row| !runs.contains(&row.cells));
        let mut lines: Vec<usize> = rows.clone().flat_map(|row| row.lines.clone()).collect();
        lines.sort_unstable();
        (lines, rows.count() < self.rows.len())
    }

    /// The highest published validation accuracy.
    pub(crate) fn best_validation(&self) -> Option<f64> {
        self.rows.iter().filter_map(|row| row.published.validation).max_by(f64::total_cmp)
    }
}

/// What a file of published accuracies has.
const WANTED: &str = "columns of ranking.csv: some hyper-parameters and test_accuracy";

/// Which column is what.
struct Header {
    names: Vec<String>,
    keys: Vec<usize>,
    seed: Option<usize>,
    test: usize,
    validation: Option<usize>,
}

impl Header {
    fn of(names: &StringRecord, place: &Place) -> Result<Self> {
        let names: Vec<String> = names.iter().map(|name| name.trim().to_string()).collect();
        let column = |name: &str| names.iter().position(|other| other == name);
        if let Some(twice) = (0..names.len()).find(|&at| column(&names[at]) != Some(at)) {
            let found = format!("two columns `{}`", names[twice]);
            return Err(Error::unexpected(place.clone(), found, "each column once"));
        }
        // `epochs` are then those that were trained, which patience decides.
        let is_result = |name: &str| name == "epochs" && column(PLANNED_EPOCHS).is_some();
        let is_key = |name: &str| name != SEED && !is_result(name) && key_of(name).is_some();
        let keys: Vec<usize> = (0..names.len()).filter(|&at| is_key(&names[at])).collect();
        let (Some(test), false) = (column("test_accuracy"), keys.is_empty()) else {
            let names = format!("the columns {}", names.join(","));
            return Err(Error::unexpected(place.clone(), names, WANTED));
        };
        let results = || SCORES.into_iter().chain(OTHERS);
        let is_known = |name: &str| key_of(name).is_some() || results().any(|it| it == name);
        if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
            let problem = format!("unknown column `{}`", shortened(unknown));
            let keys = KEYS.iter().filter(|key| !key.is_layers()).map(|key| key.name);
            let hint = nearest(unknown, keys.chain(["hidden_1"]).chain(results())).map_or_else(
                || "remove it; the columns are those of ranking.csv".to_string(),
                |name| format!("did you mean `{name}`?"),
            );
            return Err(Error::input(place.clone(), problem).hint(hint));
        }
        let (seed, validation) = (column(SEED), column("validation_accuracy"));
        Ok(Self { names, keys, seed, test, validation })
    }

    fn keys(&self) -> Vec<String> {
        self.keys.iter().map(|&at| self.names[at].clone()).collect()
    }

    /// The hyper-parameters of a row, each a value that a run can have.
    fn values_of(&self, row: &StringRecord, place: &Place) -> Result<Vec<String>> {
        let value = |&at: &usize| {
            let (name, cell) = (&self.names[at], row[at].trim());
            let key = key_of(name).expect("a key's");
            let is_no_layer = key.is_layers() && cell.is_empty();
            // A layer's cell is one width.
            let is_value = key.parse(cell).is_ok() && !(key.is_layers() && cell.contains(','));
            if is_no_layer || is_value {
                return Ok(canonical(cell));
            }
            let found = format!("{name} = {}", shortened(cell));
            let width = "the width of a layer, or nothing where there is none";
            let expected = if key.is_layers() { width } else { key.range };
            Err(Error::unexpected(place.clone(), found, expected))
        };
        self.keys.iter().map(value).collect()
    }
}

/// The fraction in a cell, if there is one.
fn fraction(
    row: &StringRecord,
    header: &Header,
    column: usize,
    place: &Place,
) -> Result<Option<f64>> {
    let cell = row[column].trim();
    if cell.is_empty() {
        return Ok(None);
    }
    let number = cell.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.map(Some).ok_or_else(|| {
        let found = format!("{} = {}", header.names[column], shortened(cell));
        Error::unexpected(place.clone(), found, "a fraction from 0 to 1")
    })
}

/// Test and validation accuracy of a row, and its line.
type Accuracies = (f64, Option<f64>, usize);

/// Configurations in the file's order, with means over their rows, ranked.
fn ranked(order: Vec<Vec<String>>, found: &HashMap<Vec<String>, Vec<Accuracies>>) -> Vec<Row> {
    let row = |cells: Vec<String>| {
        let rows = &found[&cells];
        let test = mean(&rows.iter().map(|row| row.0).collect::<Vec<_>>());
        let known: Vec<f64> = rows.iter().filter_map(|row| row.1).collect();
        let validation = (!known.is_empty()).then(|| mean(&known));
        let lines = rows.iter().map(|row| row.2).collect();
        Row { cells, published: Published { test, validation, rank: 0 }, lines }
    };
    let mut rows: Vec<Row> = order.into_iter().map(row).collect();
    let all: Vec<f64> = rows.iter().map(|row| row.published.test).collect();
    for row in &mut rows {
        row.published.rank = 1 + all.iter().filter(|&&other| other > row.published.test).count();
    }
    rows
}

/// A cell that is equal for equal numbers, `0.10` and `0.1`.
fn canonical(cell: &str) -> String {
    let cell = cell.trim();
    cell.parse::<f64>().map_or_else(|_| cell.to_string(), |number| number.to_string())
}

/// The same cell for all folds of a division.
fn of_all_folds(cell: &str) -> String {
    let fold = PartSize::parse(cell).filter(|it| it.fold().is_some());
    fold.map_or_else(|| cell.to_string(), |fold| fold.of_all_folds().to_string())
}

/// The layer of a column `hidden_1`, from 0.
fn layer_of(name: &str) -> Option<usize> {
    let layer = name.strip_prefix("hidden_")?.parse::<usize>().ok()?.checked_sub(1)?;
    (format!("hidden_{}", layer + 1) == name).then_some(layer)
}

/// The key whose values a column of `ranking.csv` has, if it has a hyper-parameter's.
fn key_of(name: &str) -> Option<&'static Key> {
    let is_layer = layer_of(name).is_some();
    let name = if name == PLANNED_EPOCHS { "epochs" } else { name };
    KEYS.iter()
        .find(|key| if is_layer { key.is_layers() } else { key.name == name && !key.is_layers() })
}

/// A run's value in a column of `ranking.csv`: empty for a layer that it does not have, `None` if the
/// column is not a hyper-parameter's.
fn cell_of(values: &Hyperparams, name: &str) -> Option<String> {
    if let Some(layer) = layer_of(name) {
        return Some(values.hidden.get(layer).map(ToString::to_string).unwrap_or_default());
    }
    key_of(name).map(|key| key.get(values).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_rows_are_found_by_their_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("published.csv");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write(
            "rank,learning_rate,hidden_1,test_accuracy,validation_accuracy\n\
               9,0.10,500,0.7,\n9,0.2,500,0.6,0.61\n9,0.3,500,0.7,0.5\n9,0.1,400,0.9,0.1\n",
        );
        let reference = Reference::read(&path).unwrap();
        let values = |learning_rate| Hyperparams { learning_rate, ..Hyperparams::default() };
        let ranks = [0.1, 0.2, 0.3].map(|rate| reference.of(&values(rate)).unwrap().rank);
        assert_eq!(ranks, [2, 4, 2]);
        assert_eq!(reference.of(&values(0.4)), None);
        let runs = [values(0.1), values(0.3)];
        assert_eq!(reference.unmatched(runs.iter()), (vec![3, 5], true));
        assert_eq!(reference.unmatched([values(0.4)].iter()), (vec![2, 3, 4, 5], false));
        assert_eq!(reference.best_validation(), Some(0.61));
        write(
            "learning_rate,seed,test_accuracy,validation_accuracy\n\
             0.1,0,0.5,0.5\n0.1,1,0.7,0.7\n0.2,0,0.6,0.65\n0.2,1,0.6,\n",
        );
        assert_eq!(Reference::read(&path).unwrap().best_validation(), Some(0.65));
        write("learning_rate,seed,test_accuracy\n0.10,0,0.5\n\n0.1,1,0.7\n0.2,0,\n7,0,0.1\n");
        let reference = Reference::read(&path).unwrap();
        assert!((reference.of(&values(0.1)).unwrap().test - 0.6).abs() < 1e-12);
        assert_eq!(reference.unmatched([values(0.1)].iter()), (vec![6], true));
        for (text, problem) in [
            ("learning_rate,accuracy\n0.1,0.5\n", "1: found the columns learning_rate,accuracy"),
            ("test_accuracy\n0.5\n", "1: found the columns test_accuracy, expected columns of"),
            ("learning_rate,test_accuracy\n0.1,0.5\n0.2,89.8\n", "3: found test_accuracy = 89.8"),
            ("learning_rate,test_accuracy\n0.1\n", "2: found another line, expected a row"),
            ("\n\n", "published.csv: found an empty file, expected columns of ranking.csv"),
            (
                "learning_rate,lr_deacy,test_accuracy\n0.1,0.5,0.5\n",
                "1: unknown column `lr_deacy`; did you mean `lr_decay`?",
            ),
            (
                "learning_rate;seed;test_accuracy\n0.1;0;0.5\n0.10;0;0.6\n",
                "3: found the values of line 2 again, expected rows that differ in a hyper-parameter",
            ),
            (
                "learning_rate,hidden_1,test_accuracy\nabc,5,0.5\n",
                "2: found learning_rate = abc, expected",
            ),
            ("hidden_1,test_accuracy\n0.5,0.5\n", "2: found hidden_1 = 0.5, expected"),
            (
                "seed,learning_rate,seed,test_accuracy\n",
                "1: found two columns `seed`, expected each",
            ),
        ] {
            write(text);
            let found = Reference::read(&path).unwrap_err().to_string();
            assert!(found.contains(problem), "{found}");
        }
    }
}
