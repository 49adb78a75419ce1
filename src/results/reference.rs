//! Accuracies published elsewhere, read from a CSV and found by hyper-parameters.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::data::file;
use crate::data::split::PartSize;
use crate::error::{Error, Place, Result};
use crate::results::ranking::PLANNED_EPOCHS;
use crate::statistics::mean;
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::KEYS;

/// The largest CSV of accuracies that is read: the ranking of a million runs.
const MAX_REFERENCE: u64 = 512 << 20;
/// Runs that differ only in this repeat one configuration.
pub(crate) const SEED: &str = "seed";

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
    /// mean; rows without a test accuracy and other columns are skipped.
    ///
    /// # Errors
    /// If the file cannot be read, a column is missing or occurs twice, or a number is invalid.
    pub fn read(path: &Path) -> Result<Self> {
        let text = file::read(path, "a CSV", MAX_REFERENCE)?;
        let mut csv = csv::Reader::from_reader(&text[..]);
        let at = |line| Place::Line(path.to_path_buf(), line);
        let torn = |line| Error::unexpected(at(line), "another line", "a row of the CSV");
        let header = csv.headers().map_err(|_| torn(1))?.clone();
        let column = |name: &str| header.iter().position(|other| other == name);
        if let Some(twice) = (1..header.len())
            .find(|&index| column(&header[index]) != Some(index))
            .map(|i| &header[i])
        {
            return Err(Error::unexpected(
                at(1),
                format!("two columns `{twice}`"),
                "each column once",
            ));
        }
        let is_key =
            |name: &&str| *name != SEED && cell_of(&Hyperparams::default(), name).is_some();
        // `epochs` are then those that were trained, which patience decides.
        let is_result = |name: &&str| *name == "epochs" && column(PLANNED_EPOCHS).is_some();
        let keys = header.iter().filter(|name| is_key(name) && !is_result(name));
        let keys: Vec<String> = keys.map(String::from).collect();
        let (Some(test), false) = (column("test_accuracy"), keys.is_empty()) else {
            let names = format!("the columns {}", header.iter().collect::<Vec<_>>().join(","));
            let wanted = "columns of ranking.csv: some hyper-parameters and test_accuracy";
            return Err(Error::unexpected(at(1), names, wanted));
        };
        let validation = column("validation_accuracy");
        let mut order: Vec<Vec<String>> = Vec::new();
        let mut found: HashMap<Vec<String>, Vec<Accuracies>> = HashMap::new();
        for (row, record) in (2..).zip(csv.records()) {
            let record = record.map_err(|_| torn(row))?;
            let line = record.position().map_or(row, |position| position.line() as usize);
            let fraction = |column: usize| -> Result<Option<f64>> {
                if record[column].is_empty() {
                    return Ok(None);
                }
                let number = record[column].parse().ok();
                let number = number.filter(|number| (0.0..=1.0).contains(number));
                number.map(Some).ok_or_else(|| {
                    let found = format!("{} = {}", &header[column], &record[column]);
                    Error::unexpected(at(line), found, "a fraction from 0 to 1")
                })
            };
            let Some(test) = fraction(test)? else { continue };
            let known = validation.map(fraction).transpose()?.flatten();
            let cells: Vec<String> = keys
                .iter()
                .map(|name| canonical(&record[column(name).expect("a key's")]))
                .collect();
            let rows = found.entry(cells).or_insert_with_key(|cells| {
                order.push(cells.clone());
                Vec::new()
            });
            rows.push((test, known, line));
        }
        Ok(Self { keys, rows: ranked(order, &found) })
    }

    /// The cells of a run with these values.
    fn cells(&self, values: &Hyperparams) -> Vec<String> {
        let values = values.of_all_folds();
        let cell = |name: &String| canonical(&cell_of(&values, name).expect("a key"));
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

/// A cell that is equal for equal numbers, `0.10` and `0.1`, and for folds of one configuration.
fn canonical(cell: &str) -> String {
    let cell = cell.trim();
    if let Some(fold) = PartSize::parse(cell).filter(|it| it.fold().is_some()) {
        return fold.of_all_folds().to_string();
    }
    cell.parse::<f64>().map_or_else(|_| cell.to_string(), |number| number.to_string())
}

/// A run's value in a column of `ranking.csv`: empty for a layer that it does not have, `None` if the
/// column is not a hyper-parameter's.
fn cell_of(values: &Hyperparams, name: &str) -> Option<String> {
    if let Some(layer) = name.strip_prefix("hidden_") {
        let index = layer.parse::<usize>().ok()?.checked_sub(1)?;
        return Some(values.hidden.get(index).map(ToString::to_string).unwrap_or_default());
    }
    let name = if name == PLANNED_EPOCHS { "epochs" } else { name };
    let key = KEYS.iter().find(|key| key.name == name && !key.is_layers())?;
    Some(key.get(values).to_string())
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
        write("learning_rate,test_accuracy\n0.10,0.5\n\n0.1,0.7\n0.2,\n7,0.1\n");
        let reference = Reference::read(&path).unwrap();
        assert!((reference.of(&values(0.1)).unwrap().test - 0.6).abs() < 1e-12);
        assert_eq!(reference.unmatched([values(0.1)].iter()), (vec![6], true));
        for (text, problem) in [
            ("learning_rate,accuracy\n0.1,0.5\n", "1: found the columns learning_rate,accuracy"),
            ("test_accuracy\n0.5\n", "1: found the columns test_accuracy, expected columns of"),
            ("learning_rate,test_accuracy\n0.1,0.5\n0.2,89.8\n", "3: found test_accuracy = 89.8"),
            ("learning_rate,test_accuracy\n0.1\n", "2: found another line, expected a row"),
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
