//! The grid: a TOML file and overrides in, a list of runs with their names out.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::data::dataset::DataShape;
use crate::error::{Error, Place, Result};
use crate::grid::machine::Machine;
use crate::train::hyperparams::{
    Checked, Hyperparams, KEYS, Key, Misfit, Value, nearest, suggestion,
};
use crate::train::origins::Origins;
use crate::train::toml_file::{Item, TomlFile, key_hint, to_toml};

/// The most runs that a grid may have.
const MAX_RUNS: usize = 1_000_000;

/// The longest name of a run, which names its folder.
const MAX_NAME: usize = 240;

/// The grids that ship with the program: name and text.
pub const PRESETS: [(&str, &str); 3] = [
    ("table1", include_str!("../../grids/table1.toml")),
    ("table2", include_str!("../../grids/table2.toml")),
    ("quick", include_str!("../../grids/quick.toml")),
];

/// Values of one key that are tried in turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    key: &'static Key,
    choices: Vec<Value>,     // each once, at least one
    layers: Vec<Vec<usize>>, // of `hidden`: the widths to choose from for each layer
    place: Place,
}

impl Axis {
    /// Distinct values of a key within its range.
    fn of(place: Place, key: &'static Key, choices: Vec<Value>) -> Result<Self> {
        Self::checked(Self { key, choices, layers: Vec::new(), place })
    }

    /// Every combination of a width for each layer, the last layer fastest.
    fn of_layers(place: Place, key: &'static Key, layers: Vec<Vec<usize>>) -> Result<Self> {
        let count = layers.iter().try_fold(1_usize, |n, widths| n.checked_mul(widths.len()));
        if count.is_none_or(|count| count > MAX_RUNS) {
            let problem = format!("found more than {MAX_RUNS} combinations of widths");
            return Err(Error::input(place, problem));
        }
        let mut all = vec![Vec::new()];
        for widths in &layers {
            let longer = |start: &Vec<usize>| {
                let start = start.clone();
                widths.iter().map(move |&width| [&start[..], &[width]].concat()).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(longer).collect();
        }
        let choices = all.into_iter().map(Value::Layers).collect();
        Self::checked(Self { key, choices, layers, place })
    }

    fn checked(self) -> Result<Self> {
        let Self { key, choices, place, .. } = &self;
        if let Some(bad) = choices.iter().find(|value| !key.allows(value)) {
            let expected = format!("{}: {}", key.name, key.range);
            return Err(Error::unexpected(place.clone(), bad, expected));
        }
        let mut seen = HashSet::with_capacity(choices.len());
        match choices.iter().find(|value| !seen.insert(identity(value))) {
            Some(value) => {
                let problem = format!("{value} stands twice in {}", key.name);
                Err(Error::input(place.clone(), problem))
            }
            None => Ok(self),
        }
    }

    /// Where it was given.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whose values they are.
    pub fn key(&self) -> &'static Key {
        self.key
    }

    /// The key with its value, if it has but one.
    ///
    /// # Errors
    /// How many values it has.
    pub fn single(&self) -> std::result::Result<(&'static Key, Value), usize> {
        match &self.choices[..] {
            [value] => Ok((self.key, value.clone())),
            several => Err(several.len()),
        }
    }

    fn is_no_layers(&self) -> bool {
        self.key.is_layers() && self.layers.is_empty()
    }

    fn to_toml(&self) -> toml::Value {
        let layers = self.layers.iter().cloned().map(Value::Layers);
        let items: Vec<toml::Value> = if self.key.is_layers() {
            layers.map(|layer| to_toml(&layer)).collect()
        } else {
            self.choices.iter().map(to_toml).collect()
        };
        toml::Value::Array(items)
    }
}

/// A grid: values that all runs share, rows that differ as listed, and axes of which every
/// combination is a run (paper, Table 1).
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
    values: Hyperparams,
    rows: Vec<Row>, // none: as one row without values
    axes: Vec<Axis>,
    origins: Origins,
}

/// The values of one `[[runs]]`, in the order of [`KEYS`].
type Row = Vec<(&'static Key, Value)>;

/// A text that is equal for equal values of a key alone, as floating-point numbers have no hash.
fn identity(value: &Value) -> String {
    match value {
        Value::Number(0.0) => "0".into(), // also -0
        value => value.to_string(),
    }
}

/// The same for a row.
fn row_identity(row: &Row) -> String {
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
    /// The grid of a preset's name or of a TOML file.
    ///
    /// # Errors
    /// Where there is neither, or the file is wrong.
    pub fn find(name_or_path: &str) -> Result<Self> {
        if let Some((name, text)) = PRESETS.iter().find(|(name, _)| *name == name_or_path) {
            let mut grid = Self::parse(&TomlFile::new(format!("{name}.toml"), *text))?;
            // The file of a preset is nowhere on the disk.
            grid.origins = Origins::all_at(grid.place());
            return Ok(grid);
        }
        let path = Path::new(name_or_path);
        if path.exists() && !path.is_dir() {
            return Self::parse(&TomlFile::read(path)?);
        }
        let presets = PRESETS.map(|(name, _)| name);
        let error = Error::unexpected(
            Place::flag(format!("grid {name_or_path}")),
            "neither a preset of that name nor a file",
            format!("one of {}, or a TOML file", presets.join(", ")),
        );
        Err(match nearest(name_or_path, presets.into_iter()) {
            Some(preset) => error.hint(suggestion(Some(preset))),
            None => error,
        })
    }

    /// Reads a grid from the text of a grid file, which `docs/formats.md` describes. Without a `name`, it is
    /// called `grid`.
    ///
    /// # Errors
    /// As [`Grid::parse`].
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::parse(&TomlFile::new("grid.toml", text))
    }

    /// Reads a grid from TOML.
    ///
    /// # Errors
    /// Where a key is unknown, a value out of range, or a list empty.
    pub fn parse(file: &TomlFile) -> Result<Self> {
        const PARTS: [&str; 5] = ["name", "values", "axes", "runs", "machine"];
        let table = file.table()?;
        if let Some((name, _)) = table.iter().find(|(name, _)| !PARTS.contains(&&**name.get_ref()))
        {
            let known = PARTS.into_iter().chain(KEYS.iter().map(|key| key.name));
            let error = file.unknown_key(name, known);
            return Err(match Key::named(name.get_ref()) {
                Ok(key) => error.hint(format!(
                    "put `{}` under [values] if all runs share it, or under [axes]",
                    key.name
                )),
                Err(_) => error,
            });
        }
        let stem = || file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = match table.get("name") {
            None => stem(),
            Some(item) => match item.get_ref() {
                DeValue::String(name) => name.to_string(),
                _ => return Err(file.unexpected(item, "a name in quotes")),
            },
        };
        check_name(&name).map_err(|problem| match table.get("name") {
            Some(item) => Error::input(file.place(item.span()), problem),
            None => Error::input(Place::file(file.path()), problem),
        })?;
        let (mut values, mut origins) = (Hyperparams::default(), Origins::default());
        for (key, item) in keys_of(file, &table, "values")? {
            key.set(&mut values, file.value(key, item)?);
            origins.set(key, file.place(item.span()));
        }
        let mut axes = Vec::new();
        for (key, item) in keys_of(file, &table, "axes")? {
            axes.push(read_axis(file, key, item)?);
            origins.set(key, file.place(item.span()));
        }
        let rows = rows(file, &table)?;
        // Which row a run came from is not kept.
        rows.iter().flatten().for_each(|(key, _)| origins.set(key, Place::file(file.path())));
        if let Some((key, _)) =
            rows.iter().flatten().find(|(key, _)| axes.iter().any(|axis| axis.key == *key))
        {
            let problem = format!("{} stands both under [axes] and under [[runs]]", key.name);
            return Err(Error::input(Place::file(file.path()), problem)
                .hint("each run would get one of two values"));
        }
        if axes.is_empty() && rows.is_empty() && !table.contains_key("values") {
            return Err(Error::input(Place::file(file.path()), "neither [axes] nor [[runs]]")
                .hint(
                    "list under [axes] the values to combine, such as `learning_rate = [0.2, 0.1]`",
                ));
        }
        let machine = Machine::read(file, &table)?;
        Ok(Self { name, machine, values, rows, axes, origins })
    }

    /// Overrides a key: with one value for all runs, or with several of which each is tried.
    pub fn set(&mut self, axis: Axis) {
        self.origins.set(axis.key, axis.place.clone());
        // Rows that were told apart by this key alone become one.
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

    /// All runs: rows in their order, then every combination of the axes, the last axis fastest.
    ///
    /// # Errors
    /// Where there are more than a million, two are the same, or a name is too long for a folder.
    pub fn runs(&self) -> Result<Vec<Run>> {
        let combinations =
            self.axes.iter().try_fold(1_usize, |n, axis| n.checked_mul(axis.choices.len()));
        let count = combinations.and_then(|n| n.checked_mul(self.rows.len().max(1)));
        if count.is_none_or(|count| count > MAX_RUNS) {
            let found =
                count.map_or("more runs than can be counted".into(), |n| format!("{n} runs"));
            return Err(Error::unexpected(self.place(), found, format!("at most {MAX_RUNS}")));
        }
        let no_row = vec![Row::new()];
        let rows = if self.rows.is_empty() { &no_row } else { &self.rows };
        let mut runs = Vec::new();
        let mut names: HashMap<String, String> = HashMap::new();
        for row in rows {
            for mut index in 0..combinations.unwrap_or(1) {
                let mut chosen = vec![0; self.axes.len()];
                for (place, axis) in chosen.iter_mut().zip(&self.axes).rev() {
                    *place = index % axis.choices.len();
                    index /= axis.choices.len();
                }
                let axes = self.axes.iter().zip(chosen);
                let of_axes = axes.map(|(axis, at)| (axis.key, &axis.choices[at]));
                let pairs = row.iter().map(|(key, value)| (*key, value)).chain(of_axes);
                let run = self.run(pairs)?;
                if let Some(twin) = names.insert(spelled(&run.values), run.name.clone()) {
                    let problem = format!("{twin} and {} are the same run", run.name);
                    return Err(Error::input(self.place(), problem).hint("leave one of them out"));
                }
                runs.push(run);
            }
        }
        Ok(runs)
    }

    fn place(&self) -> Place {
        Place::flag(format!("grid {}", self.name))
    }

    fn run<'a>(&'a self, pairs: impl Iterator<Item = (&'static Key, &'a Value)>) -> Result<Run> {
        let mut values = self.values.clone();
        let mut parts = Vec::new();
        for (key, value) in pairs {
            key.set(&mut values, value.clone());
            parts.push(key.in_name(value));
        }
        let name = if parts.is_empty() { self.name.clone() } else { parts.join("_") };
        if name.len() > MAX_NAME {
            let found = format!("a run whose name has {} letters ({name})", name.len());
            let expected = format!("at most {MAX_NAME}, as it names a folder");
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
    /// machine trained it, which is in the records.
    pub fn to_toml(&self) -> String {
        let table = |pairs: &mut dyn Iterator<Item = (&'static Key, toml::Value)>| {
            let pairs = pairs.map(|(key, value)| (key.name.to_string(), value));
            toml::Value::Table(pairs.collect())
        };
        let mut file = toml::Table::new();
        file.insert("name".into(), self.name.as_str().into());
        let in_row = |row: &Row, key: &Key| row.iter().any(|(other, _)| *other == key);
        let in_all_rows =
            |key: &Key| !self.rows.is_empty() && self.rows.iter().all(|row| in_row(row, key));
        let on_axis = |key: &Key| self.axes.iter().any(|axis| axis.key == key);
        // Rows that do without a key take its value from here.
        let shared = Key::written(&self.values);
        let shared = shared.filter(|(key, _)| !on_axis(key) && !in_all_rows(key));
        let mut shared = shared.map(|(key, value)| (key, to_toml(&value)));
        file.insert("values".into(), table(&mut shared));
        if !self.axes.is_empty() {
            let mut axes = self.axes.iter().map(|axis| (axis.key, axis.to_toml()));
            file.insert("axes".into(), table(&mut axes));
        }
        if !self.rows.is_empty() {
            let rows = self
                .rows
                .iter()
                .map(|row| table(&mut row.iter().map(|(key, value)| (*key, to_toml(value)))));
            file.insert("runs".into(), toml::Value::Array(rows.collect()));
        }
        toml::to_string(&file).expect("a table of plain values")
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
                let choices: Vec<String> = axis.choices.iter().map(ToString::to_string).collect();
                return format!("[{}]", choices.join("; "));
            }
            let of_rows = grid.rows.iter().map(|row| row.iter().find(|(other, _)| *other == key));
            let of_rows: Vec<String> =
                of_rows.map(|cell| cell.map_or(String::new(), |(_, v)| v.to_string())).collect();
            if of_rows.iter().any(|cell| !cell.is_empty()) {
                return format!("[{}]", of_rows.join("; "));
            }
            key.get(&grid.values).to_string()
        };
        let differing = KEYS.iter().map(|key| (key.name, spelled(there, key), spelled(self, key)));
        let mut differing = differing.filter(|(_, there, here)| there != here);
        Ok(Some(differing.next().map_or_else(
            || {
                format!(
                    "{} runs there, {} here, or in another order",
                    there_runs.len(),
                    here_runs.len()
                )
            },
            |(key, there, here)| format!("{key}: {there} there, {here} here"),
        )))
    }
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

/// Reads the choices of an axis from text, as on the command line: `0.1,0.05`. The layers of
/// `hidden` are parted by commas, and choices for a layer by `/`: `500/400,324/256` is four.
///
/// # Errors
/// Where the text is empty, or a value is out of range or given twice.
pub fn parse_axis(flag: &str, key: &'static Key, text: &str) -> Result<Axis> {
    let place = Place::flag(flag);
    let wrong = || {
        let expected = format!("{}: {}", key.name, key.range);
        Error::unexpected(place.clone(), format!("`{text}`"), expected)
    };
    if key.is_layers() && text.trim() != "none" {
        let widths = |layer: &str| layer.split('/').map(|width| width.trim().parse()).collect();
        let layers: std::result::Result<Vec<Vec<usize>>, std::num::ParseIntError> =
            text.split(',').map(widths).collect();
        Axis::of_layers(place.clone(), key, layers.map_err(|_| wrong())?)
    } else {
        let choices: std::result::Result<Vec<Value>, _> =
            text.split(',').map(|value| key.parse(value)).collect();
        Axis::of(place.clone(), key, choices.map_err(|_| wrong())?)
    }
}

/// Reads an override `KEY=VALUE[,VALUE…]`.
///
/// # Errors
/// As [`parse_axis`], and where there is no `=` or the key is unknown.
pub fn parse_assignment(text: &str) -> Result<Axis> {
    let place = || Place::flag(format!("--set {text}"));
    let Some((name, choices)) = text.split_once('=') else {
        let found = format!("`{text}`");
        return Err(Error::unexpected(place(), found, "KEY=VALUE or KEY=VALUE,VALUE,…"));
    };
    let name = name.trim();
    let key_name = name.replace('-', "_");
    let key = Key::named(&key_name).map_err(|_| {
        let known = KEYS.iter().map(|key| key.name);
        Error::input(place(), format!("unknown key `{name}`")).hint(key_hint(&key_name, known))
    })?;
    parse_axis(&format!("--set {}", key.name), key, choices)
}

/// All values in a line: equal for equal values alone.
pub fn spelled(values: &Hyperparams) -> String {
    KEYS.iter().map(|key| key.get(values).to_string()).collect::<Vec<_>>().join(" ")
}

/// A grid's name becomes a folder's.
fn check_name(name: &str) -> std::result::Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.is_empty()
        && name.len() <= 100
        && name.chars().all(plain)
        && !name.starts_with(['.', '-'])
    {
        return Ok(());
    }
    Err(format!(
        "found the name `{}`, expected up to 100 letters, digits, -, _ or ., no - or . first; give the grid another \
         one with name = \"…\"",
        name.escape_debug()
    ))
}

/// The hyper-parameters that a table of the file sets, in the file's order.
fn keys_of<'t, 'a>(
    file: &TomlFile,
    table: &'t DeTable<'a>,
    part: &str,
) -> Result<Vec<(&'static Key, &'t Item<'a>)>> {
    let Some(item) = table.get(part) else { return Ok(Vec::new()) };
    let DeValue::Table(pairs) = item.get_ref() else {
        return Err(file.unexpected(item, format!("a table [{part}]")));
    };
    keys_of_table(file, pairs)
}

fn keys_of_table<'t, 'a>(
    file: &TomlFile,
    pairs: &'t DeTable<'a>,
) -> Result<Vec<(&'static Key, &'t Item<'a>)>> {
    let known = || KEYS.iter().map(|key| key.name);
    let key = |name| Key::named(name).ok();
    pairs
        .iter()
        .map(|(name, item)| match key(name.get_ref()) {
            Some(key) => Ok((key, item)),
            None => Err(file.unknown_key(name, known())),
        })
        .collect()
}

/// One line under `[axes]`. That of `hidden` has a list of widths for each layer.
fn read_axis(file: &TomlFile, key: &'static Key, item: &Item<'_>) -> Result<Axis> {
    let items = match item.get_ref() {
        DeValue::Array(items) if !items.is_empty() => items,
        DeValue::Array(_) => {
            return Err(file.unexpected(item, format!("at least one value of {}", key.name)));
        }
        _ => {
            return Err(file
                .unexpected(item, format!("a list of values of {}", key.name))
                .hint("one value for all runs belongs under [values]"));
        }
    };
    let place = file.place(item.span());
    if key.is_layers() {
        let layers = items.iter().map(|layer| read_widths(file, key, layer));
        Axis::of_layers(place, key, layers.collect::<Result<_>>()?)
    } else {
        let choices = items.iter().map(|item| file.value(key, item));
        Axis::of(place, key, choices.collect::<Result<_>>()?)
    }
}

/// The widths to choose from for one hidden layer.
fn read_widths(file: &TomlFile, key: &Key, layer: &Item<'_>) -> Result<Vec<usize>> {
    match layer.get_ref() {
        DeValue::Array(widths) if !widths.is_empty() => {
            widths.iter().map(|width| file.width(key, width)).collect()
        }
        DeValue::Array(_) => Err(file.unexpected(layer, "at least one width")),
        _ => Err(file
            .unexpected(layer, "a list of choices for each hidden layer")
            .hint("[[500, 400], [324, 256]] tries four networks")),
    }
}

fn rows(file: &TomlFile, table: &DeTable<'_>) -> Result<Vec<Row>> {
    let Some(item) = table.get("runs") else { return Ok(Vec::new()) };
    let DeValue::Array(items) = item.get_ref() else {
        return Err(file.unexpected(item, "[[runs]], one for each run"));
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut seen = HashSet::new();
    for item in items {
        let DeValue::Table(pairs) = item.get_ref() else {
            return Err(file.unexpected(item, "[[runs]], one for each run"));
        };
        let mut row = Row::new();
        for (key, item) in keys_of_table(file, pairs)? {
            row.push((key, file.value(key, item)?));
        }
        row.sort_by_key(|(key, _)| KEYS.iter().position(|other| other == *key));
        if row.is_empty() {
            return Err(file.unexpected(item, "at least one value in each of the [[runs]]"));
        }
        if !seen.insert(row_identity(&row)) {
            let problem = "the same values as an earlier one of the [[runs]]";
            return Err(Error::input(file.place(item.span()), problem));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        Err(file.unexpected(item, "at least one of the [[runs]]"))
    } else {
        Ok(rows)
    }
}

/// The values of a preset's runs after some overrides, for tests.
#[cfg(test)]
pub(crate) fn values_of(preset: &str, assignments: &[&str]) -> Vec<Checked> {
    let mut grid = Grid::find(preset).unwrap();
    for text in assignments {
        grid.set(parse_assignment(text).unwrap());
    }
    grid.runs().unwrap().into_iter().map(|run| run.values).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Grid> {
        Grid::parse(&TomlFile::new("my.toml", text))
    }

    fn problem(text: &str) -> String {
        parse(text).unwrap_err().to_string()
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
    fn a_million_choices_are_checked_for_duplicates_in_no_time() {
        let widths: Vec<String> = (1..=1000).map(|width| width.to_string()).collect();
        let widths = widths.join("/");
        let axis = parse_assignment(&format!("hidden={widths},{widths}")).unwrap();
        assert_eq!(axis.choices.len(), 1_000_000);
        let twice = widths.replace("/1000", "/7");
        let problem = parse_assignment(&format!("hidden={twice},{widths}")).unwrap_err();
        assert!(problem.to_string().contains("7,1 stands twice in hidden"), "{problem}");
    }

    #[test]
    fn zero_and_minus_zero_are_one_value() {
        let problem = parse_assignment("weight_decay=0,-0").unwrap_err().to_string();
        assert!(problem.contains("stands twice"), "{problem}");
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
    fn hidden_layers_on_the_command_line_combine_choices_parted_by_a_slash() {
        let axis = parse_assignment("hidden=500/400,324/256").unwrap();
        let widths: Vec<String> = axis.choices.iter().map(ToString::to_string).collect();
        assert_eq!(widths, ["500,324", "500,256", "400,324", "400,256"]);
    }

    #[test]
    fn wrong_grids_are_refused_with_line_and_cure() {
        let axes = "[axes]\nseed = [1]\n";
        for (text, expected) in [
            (
                format!("{axes}learning_rte = [1]"),
                "my.toml:3: unknown key `learning_rte`; did you mean `learning_rate`?",
            ),
            (
                format!("epochs = 3\n{axes}"),
                "my.toml:1: unknown key `epochs`; put `epochs` under [values]",
            ),
            (
                "[axes]\nlearning_rate = [0.1, -0.2]".into(),
                "my.toml:2: found -0.2, expected learning_rate: a number above 0",
            ),
            (
                "[axes]\nlearning_rate = []".into(),
                "my.toml:2: found [], expected at least one value",
            ),
            (
                "[axes]\nlearning_rate = 0.1".into(),
                "expected a list of values of learning_rate; one value",
            ),
            ("[axes]\nlearning_rate = [0.1, 0.10]".into(), "0.1 stands twice"),
            (
                format!("[values]\nepochs = 0\n{axes}"),
                "my.toml:2: found 0, expected epochs: a whole number from 1",
            ),
            (format!("[values]\nepochs = 1.5\n{axes}"), "my.toml:2: found 1.5"),
            (format!("[values]\nepochs = \"5\"\n{axes}"), "my.toml:2: found \"5\""),
            ("[axes]\nhidden = [500, 324]".into(), "a list of choices for each hidden layer"),
            ("[axes]\nhidden = [[500], []]".into(), "at least one width"),
            ("[[runs]]\nseed = 1\n[[runs]]\nseed = 1".into(), "my.toml:3: the same values"),
            ("name = \"../x\"\n[axes]\nseed = [1]".into(), "my.toml:1: found the name `../x`"),
            (String::new(), "neither [axes] nor [[runs]]"),
            ("[axes".into(), "my.toml:1: not TOML"),
            ("axes = 3".into(), "a table [axes]"),
            ("[axes]\nseed = [1]\n[[runs]]\nseed = 2".into(), "seed stands both under"),
        ] {
            let found = problem(&text);
            assert!(found.contains(expected), "{found}\ndoes not contain {expected}");
        }
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
