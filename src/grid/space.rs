//! The grid: values, rows, axes and overrides in, a list of runs with their names out.

use std::collections::{HashMap, HashSet};

use crate::data::shape::DataShape;
use crate::error::{Error, Place, Result, counted};
use crate::grid::axis::{Axis, MAX_RUNS, identity};
use crate::grid::halving_section::HalvingRequest;
use crate::grid::machine::Machine;
use crate::grid::range::Range;
use crate::grid::search::Search;
use crate::train::checked::{Checked, Misfit};
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::{KEYS, Key};
use crate::train::origins::Origins;
use crate::train::toml_file::to_toml;
use crate::train::value::Value;

/// The longest name of a run, which names its folder.
const MAX_NAME: usize = 240;

/// A grid: values that all runs share, rows that differ as listed, and axes of which every
/// combination is a run (paper, Table 1), or from which samples are drawn.
///
/// ```
/// use rookie::Grid;
///
/// let grid = Grid::from_toml("[values]\nepochs = 50\n[axes]\nlearning_rate = [0.2, 0.1]\nseed = [1, 2]")?;
/// let runs = grid.runs()?;
/// assert_eq!((runs.len(), &runs[0].name[..]), (4, "lr0.2_seed1"));
/// assert_eq!(runs[3].values.epochs, 50);
/// assert_eq!(Grid::find("table1")?.runs()?.len(), 216);
/// # Ok::<(), rookie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Names the results folder.
    pub name: String,
    /// How to train it here, which [`Grid::to_toml`] leaves out.
    pub(crate) machine: Machine,
    pub(super) search: Search,
    /// How to halve it, which [`Grid::to_toml`] leaves out too.
    pub(crate) halving: Option<HalvingRequest>,
    pub(super) values: Hyperparams,
    pub(super) rows: Vec<Row>, // none: as one row without values
    pub(super) axes: Vec<Axis>,
    pub(super) origins: Origins,
}

/// The values of one `[[runs]]`, in the order of [`KEYS`].
pub(super) type Row = Vec<(&'static Key, Value)>;

/// A text that is equal for equal rows alone.
pub(super) fn row_identity(row: &Row) -> String {
    let pairs = row.iter().map(|(key, value)| [key.name, &identity(value)].join(" "));
    pairs.collect::<Vec<_>>().join(" ")
}

/// One run of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Names the run's folder: what sets it apart, `lr0.2_wd0.001_h500-324_decay0.5`.
    pub name: String,
    /// What it is trained with.
    pub values: Checked,
}

impl Grid {
    /// Overrides a key: with one value for all runs, or with several of which each is tried.
    pub fn set(&mut self, axis: Axis) {
        self.origins.set(axis.key, axis.place.clone());
        // Rows that differ only in this key become one.
        let mut seen = HashSet::new();
        for mut row in std::mem::take(&mut self.rows) {
            row.retain(|(other, _)| *other != axis.key);
            if !row.is_empty() && seen.insert(row_identity(&row)) {
                self.rows.push(row);
            }
        }
        let place = self.axes.iter().position(|other| other.key == axis.key);
        match (place, &axis.choices[..]) {
            // A network without hidden layers has no list of widths to be written as an axis.
            (place, [value]) if place.is_none() || axis.is_no_layers() => {
                axis.key.set(&mut self.values, value.clone());
                place.map(|place| self.axes.remove(place));
            }
            (Some(place), _) => self.axes[place] = axis,
            (None, _) => self.axes.push(axis),
        }
    }

    /// Overrides the number of samples, from 1, and their seed.
    pub fn set_search(&mut self, samples: Option<u32>, seed: Option<u32>) {
        self.search.set(samples, seed);
    }

    /// Sets what the grid does not set to what suits the data ([`Origins::suit`]).
    pub fn suit(&mut self, shape: &DataShape) {
        self.origins.suit(&mut self.values, shape);
    }

    /// The ranges of the axes, each with the column of its values.
    pub fn ranges(&self) -> impl Iterator<Item = (String, Range)> {
        self.axes.iter().flat_map(Axis::ranges)
    }

    /// How many values of each axis are tried in turn: one of an axis of which each sample has its own.
    fn lengths(&self) -> Result<Vec<usize>> {
        let is_search = self.search.samples.is_some();
        if let Some(axis) = self.axes.iter().find(|axis| axis.is_drawn() && !is_search) {
            let problem = format!("{} has a range, and the grid has no samples", axis.key.name);
            return Err(Error::input(axis.place.clone(), problem)
                .hint("add `samples = 100` to the grid file, or --samples 100"));
        }
        self.search.check(self.axes.iter().any(|axis| !axis.repeats()))?;
        let length = |axis: &Axis| {
            if is_search && !axis.repeats() { 1 } else { axis.choices.len() }
        };
        Ok(self.axes.iter().map(length).collect())
    }

    /// How many runs it has, those that are equal to others counted too.
    fn count(&self, lengths: &[usize]) -> Option<usize> {
        let factors = [self.search.samples.unwrap_or(1), self.rows.len().max(1)];
        factors.iter().chain(lengths).try_fold(1_usize, |n, factor| n.checked_mul(*factor))
    }

    /// How many of its samples are equal to earlier ones, of which `runs` are left.
    pub fn equal_samples(&self, runs: &[Run]) -> usize {
        let count = self.lengths().ok().and_then(|lengths| self.count(&lengths));
        count.map_or(0, |count| count - runs.len())
    }

    /// All runs: rows in their order, then the samples of a search, then every combination of the axes, the
    /// last axis fastest. Samples that are equal are one run.
    ///
    /// # Errors
    /// Where there are more than a million, two are the same, or a name is too long for a folder.
    pub fn runs(&self) -> Result<Vec<Run>> {
        let lengths = self.lengths()?;
        let count = self.count(&lengths);
        if count.is_none_or(|count| count > MAX_RUNS) {
            let found =
                count.map_or("more runs than can be counted".into(), |n| format!("{n} runs"));
            return Err(Error::unexpected(self.place(), found, format!("at most {MAX_RUNS}")));
        }
        let combinations = count.unwrap_or(1) / self.rows.len().max(1);
        let no_row = vec![Row::new()];
        let rows = if self.rows.is_empty() { &no_row } else { &self.rows };
        let mut runs = Vec::new();
        let mut names: HashMap<String, String> = HashMap::new();
        for row in rows {
            for index in 0..combinations {
                let of_axes = self.combination(&lengths, index);
                let run = self.run(row.iter().cloned().chain(of_axes))?;
                if let Some(twin) = names.insert(spelled(&run.values), run.name.clone()) {
                    if twin == run.name && self.search.samples.is_some() {
                        continue;
                    }
                    let problem = format!("{twin} and {} are the same run", run.name);
                    return Err(Error::input(self.place(), problem).hint("leave one of them out"));
                }
                runs.push(run);
            }
        }
        Ok(runs)
    }

    /// The value of each axis in a combination, or in a sample.
    fn combination(
        &self,
        lengths: &[usize],
        mut index: usize,
    ) -> impl Iterator<Item = (&'static Key, Value)> {
        let mut chosen = vec![0; lengths.len()];
        for (place, length) in chosen.iter_mut().zip(lengths).rev() {
            *place = index % length;
            index /= length;
        }
        let sample = self.search.samples.map(|_| index);
        self.axes.iter().zip(chosen).map(move |(axis, at)| match sample {
            Some(sample) if !axis.repeats() => {
                (axis.key, axis.at(|layer| self.search.point(sample, axis.key, layer)))
            }
            _ => (axis.key, axis.choices[at].clone()),
        })
    }

    pub(super) fn place(&self) -> Place {
        Place::flag(format!("grid {}", self.name))
    }

    fn run(&self, pairs: impl Iterator<Item = (&'static Key, Value)>) -> Result<Run> {
        let mut values = self.values.clone();
        let mut parts = Vec::new();
        for (key, value) in pairs {
            parts.push(key.in_name(&value));
            key.set(&mut values, value);
        }
        let name = if parts.is_empty() { self.name.clone() } else { parts.join("_") };
        if name.len() > MAX_NAME {
            let found = format!("a run whose name has {} letters ({name})", name.len());
            let expected = format!("at most {MAX_NAME}, because it names a folder");
            return Err(Error::unexpected(self.place(), found, expected)
                .hint("let fewer keys vary, or write numbers with fewer digits"));
        }
        let values = values.check().map_err(|it| self.misfit(&name, it))?;
        Ok(Run { name, values })
    }

    /// Checks that each of this grid's runs can be trained.
    ///
    /// # Errors
    /// The first with values that do not go together.
    pub fn check_combinations(&self, runs: &[Run]) -> Result<()> {
        let check = |run: &Run| {
            run.values.check_combinations().map_err(|misfit| self.misfit(&run.name, misfit))
        };
        runs.iter().try_for_each(check)
    }

    /// Checks that each of this grid's runs can be trained on data of these sizes.
    ///
    /// # Errors
    /// The first whose split or network does not go with the data.
    pub fn check_against(&self, runs: &[Run], shape: DataShape) -> Result<()> {
        runs.iter().try_for_each(|run| self.origins.check_against(shape, &run.values))
    }

    fn misfit(&self, run: &str, Misfit { key, problem, hint }: Misfit) -> Error {
        self.origins.error(key, format!("in run {run}: {problem}")).hint(hint)
    }

    /// The keys that set runs apart, in the order of their names' parts.
    pub fn varying(&self) -> Vec<&'static Key> {
        let in_rows = |key: &&Key| self.rows.iter().flatten().any(|(other, _)| *other == *key);
        KEYS.iter().filter(in_rows).chain(self.axes.iter().map(|axis| axis.key)).collect()
    }

    /// The grid as TOML with every value spelled out; [`Grid::parse`] reads it back, but for how a
    /// machine trained it, which is in the records, and how it was halved, which can be undone.
    pub fn to_toml(&self) -> String {
        let table = |pairs: &mut dyn Iterator<Item = (&'static Key, toml::Value)>| {
            let pairs = pairs.map(|(key, value)| (key.name.to_string(), value));
            toml::Value::Table(pairs.collect())
        };
        let mut file = toml::Table::new();
        file.insert("name".into(), self.name.as_str().into());
        file.extend(self.search.to_toml());
        let in_row = |row: &Row, key: &Key| row.iter().any(|(other, _)| *other == key);
        let in_all_rows =
            |key: &Key| !self.rows.is_empty() && self.rows.iter().all(|row| in_row(row, key));
        let on_axis = |key: &Key| self.axes.iter().any(|axis| axis.key == key);
        // Rows that do without a key take its value from here.
        let shared = Key::written(&self.values);
        let shared = shared.filter(|(key, _)| !on_axis(key) && !in_all_rows(key));
        let mut shared = shared.map(|(key, value)| (key, to_toml(&value)));
        file.insert("values".into(), table(&mut shared));
        let mut text = to_text(&file);
        if !self.axes.is_empty() {
            // By hand, because a table of their own for each range would change their order.
            let line = |axis: &Axis| format!("{} = {}\n", axis.key.name, axis.to_toml());
            text += &format!("\n[axes]\n{}", self.axes.iter().map(line).collect::<String>());
        }
        if !self.rows.is_empty() {
            let rows = self
                .rows
                .iter()
                .map(|row| table(&mut row.iter().map(|(key, value)| (*key, to_toml(value)))));
            let rows = toml::Value::Array(rows.collect());
            text += &format!("\n{}", to_text(&[("runs".to_string(), rows)].into_iter().collect()));
        }
        text
    }

    /// What sets another grid apart from this one, in a line: `epochs: 500 there, 50 here`.
    /// `None` where both have the same runs.
    ///
    /// # Errors
    /// Where a grid has too many runs.
    pub fn difference(&self, there: &Self) -> Result<Option<String>> {
        // Nearly always they are spelled alike too, and up to a million runs need not be made.
        if self.to_toml() == there.to_toml() {
            return Ok(None);
        }
        let (here_runs, there_runs) = (self.runs()?, there.runs()?);
        if here_runs == there_runs {
            return Ok(None);
        }
        let spelled = |grid: &Self, key: &'static Key| {
            if let Some(axis) = grid.axes.iter().find(|axis| axis.key == key) {
                return axis.spelled();
            }
            let of_rows = grid.rows.iter().map(|row| row.iter().find(|(other, _)| *other == key));
            let of_rows: Vec<String> =
                of_rows.map(|cell| cell.map_or(String::new(), |(_, v)| v.to_string())).collect();
            if of_rows.iter().any(|cell| !cell.is_empty()) {
                return format!("[{}]", of_rows.join("; "));
            }
            key.get(&grid.values).to_string()
        };
        let [of_search, there_search] = [self, there].map(|grid| grid.search.to_toml());
        let of_search = Search::KEYS.iter().map(|name| {
            let of =
                |table: &toml::Table| table.get(*name).map_or("none".into(), ToString::to_string);
            (*name, of(&there_search), of(&of_search))
        });
        let differing = KEYS.iter().map(|key| (key.name, spelled(there, key), spelled(self, key)));
        let mut differing = of_search.chain(differing).filter(|(_, there, here)| there != here);
        Ok(Some(differing.next().map_or_else(
            || {
                format!(
                    "{} there, {} here, or in another order",
                    counted(there_runs.len(), "run"),
                    here_runs.len()
                )
            },
            |(key, there, here)| format!("{key}: {there} there, {here} here"),
        )))
    }
}

/// A table as TOML.
fn to_text(table: &toml::Table) -> String {
    toml::to_string(table).expect("a table of plain values")
}

/// What a single run is called: the paper's hyper-parameters, then what differs from the default.
pub fn descriptive_name(values: &Hyperparams) -> String {
    const ALWAYS: [&str; 4] = ["learning_rate", "weight_decay", "hidden", "lr_decay"];
    let default = Hyperparams::default();
    let told = |key: &&Key| ALWAYS.contains(&key.name) || key.get(values) != key.get(&default);
    let parts: Vec<String> =
        KEYS.iter().filter(told).map(|key| key.in_name(&key.get(values))).collect();
    parts.join("_")
}

/// All values in a line: equal for equal values alone.
pub fn spelled(values: &Hyperparams) -> String {
    KEYS.iter().map(|key| key.get(values).to_string()).collect::<Vec<_>>().join(" ")
}

/// The values of a preset's runs after some overrides, for tests.
#[cfg(test)]
pub(crate) fn values_of(preset: &str, assignments: &[&str]) -> Vec<Checked> {
    let mut grid = Grid::find(preset).unwrap();
    for text in assignments {
        grid.set(crate::grid::axis::parse_assignment(text).unwrap());
    }
    grid.runs().unwrap().into_iter().map(|run| run.values).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::axis::parse_assignment;
    use crate::train::toml_file::TomlFile;

    fn parse(text: &str) -> Result<Grid> {
        Grid::parse(&TomlFile::new("my.toml", text))
    }

    #[test]
    fn table_1_has_its_216_runs_and_table_2_its_ten() {
        let runs = Grid::find("table1").unwrap().runs().unwrap();
        assert_eq!(runs.len(), 216);
        assert_eq!(runs[0].name, "lr0.5_wd0.001_h500-324_decay0.8");
        assert_eq!(runs[1].name, "lr0.5_wd0.001_h500-324_decay0.5");
        assert_eq!(runs[215].name, "lr0.05_wd1e-5_h400-256_decay0.3");
        let epochs: usize = runs.iter().map(|run| run.values.epochs).sum();
        assert_eq!(epochs, 108_000);
        let runs = Grid::find("table2").unwrap().runs().unwrap();
        let first = &runs[0];
        assert_eq!((runs.len(), &first.name[..]), (10, "lr0.2_h500-324_decay0.5"));
        assert_eq!(*first.values, Hyperparams::default());
    }

    #[test]
    fn a_grid_comes_back_from_its_toml_with_the_same_runs() {
        let overridden = |name, assignments: &[&str]| {
            let mut grid = Grid::find(name).unwrap();
            for text in assignments {
                grid.set(parse_assignment(text).unwrap());
            }
            grid
        };
        for grid in [
            overridden("table1", &[]),
            overridden("table2", &[]),
            overridden("quick", &["hidden=300,200", "seed=1,2,3", "activation=tanh"]),
            overridden("table2", &["hidden=none", "momentum=0,0.9"]),
            overridden("quick", &["hidden=none"]),
            overridden("table2", &["learning_rate=0.1", "hidden=8", "lr_decay=0.5"]),
        ] {
            let file = TomlFile::new("grid.toml", grid.to_toml());
            assert_eq!(Grid::parse(&file).unwrap().runs().unwrap(), grid.runs().unwrap());
        }
    }

    #[test]
    fn rows_that_do_without_a_key_find_its_value_in_the_grid_s_toml() {
        let grid = parse("[values]\nseed = 5\n[[runs]]\nlearning_rate = 0.1\n[[runs]]\nseed = 3");
        let grid = grid.unwrap();
        let read = Grid::parse(&TomlFile::new("my.toml", grid.to_toml())).unwrap();
        assert_eq!(read.runs().unwrap(), grid.runs().unwrap());
    }

    #[test]
    fn grids_that_are_spelled_alike_are_equal_without_a_look_at_their_runs() {
        let seeds: Vec<String> = (0..1001).map(|seed| seed.to_string()).collect();
        let seeds = seeds.join(", ");
        let grid = parse(&format!("[axes]\nseed = [{seeds}]\ndata_seed = [{seeds}]")).unwrap();
        assert!(grid.runs().is_err(), "too many to be made");
        assert_eq!(grid.difference(&grid.clone()).unwrap(), None);
    }

    #[test]
    fn overrides_replace_axes_and_values_and_add_axes() {
        let mut grid = Grid::find("table1").unwrap();
        for text in ["epochs=3", "learning_rate=0.1,0.05", "hidden=300,200", "seed=7,8"] {
            grid.set(parse_assignment(text).unwrap());
        }
        let runs = grid.runs().unwrap();
        assert_eq!(runs.len(), 2 * 3 * 3 * 2);
        assert_eq!(runs[0].name, "lr0.1_wd0.001_h300-200_decay0.8_seed7");
        assert!(runs.iter().all(|run| run.values.epochs == 3 && run.values.hidden == [300, 200]));
        let mut grid = Grid::find("table2").unwrap();
        grid.set(parse_assignment("lr_decay=0.5").unwrap());
        assert_eq!(grid.runs().unwrap().len(), 8, "rows that have become the same are one run");
    }

    #[test]
    fn a_grid_of_too_many_runs_is_refused_before_it_is_made() {
        let seeds: Vec<String> = (0..1001).map(|seed| seed.to_string()).collect();
        let seeds = seeds.join(", ");
        let grid = parse(&format!("[axes]\nseed = [{seeds}]\ndata_seed = [{seeds}]")).unwrap();
        assert!(grid.runs().unwrap_err().to_string().contains("1002001 runs"));
    }

    #[test]
    fn rows_that_spell_one_run_in_two_ways_are_refused() {
        let grid = parse("[[runs]]\nlearning_rate = 0.2\n[[runs]]\nlr_decay = 0.5").unwrap();
        let problem = grid.runs().unwrap_err().to_string();
        assert!(problem.contains("lr0.2 and decay0.5 are the same run"), "{problem}");
    }

    #[test]
    fn the_difference_of_two_grids_names_key_and_both_values() {
        let table1 = Grid::find("table1").unwrap();
        let mut other = table1.clone();
        assert_eq!(other.difference(&table1).unwrap(), None);
        other.set(parse_assignment("epochs=50").unwrap());
        let difference = other.difference(&table1).unwrap().unwrap();
        assert_eq!(difference, "epochs: 500 there, 50 here");
    }
}
