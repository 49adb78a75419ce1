//! Reading a grid: a preset, or a TOML file.

use std::collections::HashSet;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::data::split::MAX_FOLDS;
use crate::error::{Error, Place, Result};
use crate::grid::axis::{Axis, read_axis};
use crate::grid::halving_section::HalvingRequest;
use crate::grid::machine::Machine;
use crate::grid::search::Search;
use crate::grid::space::{Grid, Row, row_identity};
use crate::text::nearest;
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::{KEYS, Key};
use crate::train::origins::Origins;
use crate::train::toml_file::{Item, TomlFile, suggestion};

/// The grids that ship with the program: name and text.
pub const PRESETS: [(&str, &str); 3] = [
    ("table1", include_str!("../../grids/table1.toml")),
    ("table2", include_str!("../../grids/table2.toml")),
    ("quick", include_str!("../../grids/quick.toml")),
];

/// The keys and sections of a grid file.
const PARTS: [&str; 10] = [
    "name",
    "samples",
    "search_seed",
    "sampler",
    "folds",
    "values",
    "axes",
    "runs",
    "machine",
    "halving",
];

impl Grid {
    /// The grid of a preset's name or of a TOML file.
    ///
    /// # Errors
    /// Where there is neither, or the file is wrong.
    pub fn find(name_or_path: &str) -> Result<Self> {
        if let Some((name, text)) = PRESETS.iter().find(|(name, _)| *name == name_or_path) {
            let mut grid = Self::parse(&TomlFile::new(format!("{name}.toml"), *text))?;
            // The file of a preset is nowhere on the disk.
            grid.origins = std::mem::take(&mut grid.origins).moved_to(grid.place());
            return Ok(grid);
        }
        let path = Path::new(name_or_path);
        if path.exists() && !path.is_dir() {
            return Self::parse(&TomlFile::read(path)?);
        }
        if path.join("grid.toml").exists() {
            let place = Place::flag(format!("grid {name_or_path}"));
            let folder = name_or_path.trim_end_matches('/');
            let hint = format!("to resume it, run `rookie grid {folder}/grid.toml --out {folder}`");
            return Err(Error::unexpected(place, "a results folder", "a grid").hint(hint));
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
        let of_values = keys_of(file, &table, "values")?;
        for (key, item) in &of_values {
            key.set(&mut values, file.value(key, item)?);
            origins.set(key, file.place(item.span()));
        }
        let mut axes = Vec::new();
        for (key, item) in keys_of(file, &table, "axes")? {
            if of_values.iter().any(|(other, _)| *other == key) {
                let problem = format!("{} occurs both under [values] and under [axes]", key.name);
                return Err(
                    Error::input(file.place(item.span()), problem).hint("remove one of them")
                );
            }
            axes.push(read_axis(file, key, item)?);
            origins.set(key, file.place(item.span()));
        }
        if let Some(axis) = folds(file, &table)? {
            let given = of_values.iter().map(|(key, _)| *key).chain(axes.iter().map(Axis::key));
            if given.into_iter().any(|key| key == axis.key()) {
                let problem = "folds and validation_size are both given";
                return Err(Error::input(axis.place().clone(), problem)
                    .hint("remove one of them, because each fold is a validation set"));
            }
            origins.set(axis.key(), axis.place().clone());
            axes.push(axis);
        }
        let rows = rows(file, &table)?;
        // Which row a run came from is not kept.
        rows.iter().flatten().for_each(|(key, _)| origins.set(key, Place::file(file.path())));
        if let Some((key, _)) =
            rows.iter().flatten().find(|(key, _)| axes.iter().any(|axis| axis.key == *key))
        {
            let problem = format!("{} occurs both under [axes] and under [[runs]]", key.name);
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
        let (halving, search) = (HalvingRequest::read(file, &table)?, Search::read(file, &table)?);
        Ok(Self { name, machine, search, halving, values, rows, axes, origins })
    }
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

/// The axis that `folds = 5` stands for, if the file has it.
fn folds(file: &TomlFile, table: &DeTable<'_>) -> Result<Option<Axis>> {
    let Some(item) = table.get("folds") else { return Ok(None) };
    let number = match item.get_ref() {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        _ => None,
    };
    let Some(folds) = number.filter(|folds| (2..=MAX_FOLDS).contains(folds)) else {
        let expected = format!("folds: a whole number from 2 to {MAX_FOLDS}");
        return Err(file.unexpected(item, expected));
    };
    Axis::of_folds(file.place(item.span()), folds).map(Some)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::space::{Run, spelled};

    fn parse(text: &str) -> Result<Grid> {
        Grid::parse(&TomlFile::new("my.toml", text))
    }

    fn problem(text: &str) -> String {
        parse(text).unwrap_err().to_string()
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
            ("[axes]\nlearning_rate = [0.1, 0.10]".into(), "0.1 occurs twice"),
            (
                format!("[values]\nepochs = 0\n{axes}"),
                "my.toml:2: found 0, expected epochs: a whole number from 1",
            ),
            (format!("[values]\nepochs = 1.5\n{axes}"), "my.toml:2: found 1.5"),
            (format!("[values]\nepochs = \"5\"\n{axes}"), "my.toml:2: found \"5\""),
            (
                "[axes]\nhidden = [500, 324]".into(),
                "a list of choices, or a range, for each hidden layer",
            ),
            ("[axes]\nhidden = [[500], []]".into(), "at least one width"),
            ("[[runs]]\nseed = 1\n[[runs]]\nseed = 1".into(), "my.toml:3: the same values"),
            ("name = \"../x\"\n[axes]\nseed = [1]".into(), "my.toml:1: found the name `../x`"),
            (String::new(), "neither [axes] nor [[runs]]"),
            ("[axes".into(), "my.toml:1: not TOML"),
            ("axes = 3".into(), "a table [axes]"),
            ("[axes]\nseed = [1]\n[[runs]]\nseed = 2".into(), "seed occurs both under"),
            ("[values]\nseed = 1\n[axes]\nseed = [2]".into(), "my.toml:4: seed occurs both under"),
            ("folds = 1\n[axes]\nseed = [1]".into(), "my.toml:1: found 1, expected folds: a whole"),
            (
                "folds = 5\n[values]\nvalidation_size = 9".into(),
                "my.toml:1: folds and validation_size are both given; remove one of them",
            ),
            ("[values]\nfolds = 5".into(), "my.toml:2: unknown key `folds`; write it at the top"),
        ] {
            let found = problem(&text);
            assert!(found.contains(expected), "{found}\ndoes not contain {expected}");
        }
    }

    /// A search over ranges and choices, with two seeds.
    fn search(samples: u32, seed: u32) -> Grid {
        let mut grid = parse(
            "samples = 1\n[axes]\nhidden = [[8, 9], [4]]\nweight_decay = [0.0, 1e-4, 1e-3]\n\
             learning_rate = { log_uniform = [0.01, 1.0] }\nepochs = { int_uniform = [1, 9] }\n\
             seed = [1, 2]",
        )
        .unwrap();
        grid.set_search(Some(samples), Some(seed));
        grid
    }

    #[test]
    fn a_sample_depends_on_its_number_and_the_seed_alone() {
        let first = search(100, 0).runs().unwrap();
        let written = Grid::from_toml(&search(100, 0).to_toml()).unwrap();
        assert_eq!(written.runs().unwrap(), first, "it comes back from its file");
        assert_eq!(first.len(), 200, "each with two seeds");
        assert_eq!(first[1].name, first[0].name.replace("seed1", "seed2"));
        assert_eq!(search(200, 0).runs().unwrap()[..200], first);
        assert_ne!(search(100, 1).runs().unwrap(), first);
        // In another order, under other names.
        let mut turned = search(100, 0);
        turned.axes.reverse();
        let values = |runs: Vec<Run>| -> HashSet<String> {
            runs.iter().map(|run| spelled(&run.values)).collect()
        };
        assert_eq!(values(turned.runs().unwrap()), values(first));
        let text = |sampler| {
            let axis = "learning_rate = { uniform = [0.0001, 1.0] }";
            format!("samples = 64\nsampler = \"{sampler}\"\n[axes]\n{axis}")
        };
        // Of 64 points of a Sobol sequence, each 64th of the range has one, but for the rounding.
        for (sampler, least, most) in [("sobol", 60, 64), ("random", 30, 50)] {
            let mut grid = parse(&text(sampler)).unwrap();
            let runs = grid.runs().unwrap();
            grid.set_search(Some(99), None);
            assert_eq!(grid.runs().unwrap()[..runs.len()], runs);
            let parts = runs.iter().map(|run| ((run.values.learning_rate - 5e-4) * 64.0) as usize);
            let count = parts.collect::<HashSet<_>>().len();
            assert!((least..=most).contains(&count), "{sampler}: {count}");
        }
    }

    #[test]
    fn equal_samples_are_one_run_and_counted() {
        let example = parse(include_str!("../../grids/search.toml")).unwrap();
        assert_eq!(example.runs().unwrap().len(), 2 * 64, "no two are equal");
        let grid = parse("samples = 50\n[axes]\nlr_decay = [0.5, 0.25]\nseed = [1, 2]").unwrap();
        let runs = grid.runs().unwrap();
        assert_eq!((runs.len(), grid.equal_samples(&runs)), (4, 96));
        let table1 = Grid::find("table1").unwrap();
        assert_eq!(table1.equal_samples(&table1.runs().unwrap()), 0);
    }

    #[test]
    fn ranges_and_samples_need_each_other() {
        let range = "[axes]\nlearning_rate = { log_uniform = [0.01, 1.0] }";
        for (text, expected) in [
            (range.into(), "my.toml:2: learning_rate has a range, and the grid has no samples"),
            (
                "search_seed = 1\n[axes]\nseed = [1]".into(),
                "my.toml:1: search_seed has no effect, because the grid has no samples",
            ),
            (
                "samples = 3\n[axes]\nseed = [1, 2]".into(),
                "my.toml:1: the grid has samples, and nothing that varies",
            ),
            (format!("samples = 70000\n{range}"), "my.toml:1: found 70000 samples, expected at"),
            (format!("samples = 0\n{range}"), "my.toml:1: found 0, expected samples: a whole"),
            (format!("samples = 1\nsampler = 3\n{range}"), "my.toml:2: found 3, expected sampler"),
            (format!("search_seed = -1\n{range}"), "my.toml:1: found -1, expected search_seed"),
            (
                "samples = 3\n[axes]\nlearning_rate = { uniform = [0.0, 1.0] }".into(),
                "my.toml:3: found 0.0, expected learning_rate: a number above 0",
            ),
            (
                "samples = 3\n[axes]\nlearning_rate = { uniform = [1.0] }".into(),
                "my.toml:3: found [1.0], expected two numbers",
            ),
            (
                "samples = 3\n[axes]\nlearning_rate = { }".into(),
                "my.toml:3: found { }, expected a range such as",
            ),
            (
                "samples = 3\n[axes]\n\nlearning_rate = { unifrom = [0.1, 1.0] }".into(),
                "my.toml:4: found `unifrom`, expected uniform or log_uniform for learning_rate",
            ),
            (
                "samples = 3\n[axes]\nlearning_rate = { uniform = [1.0, 0.1] }".into(),
                "my.toml:3: found uniform(1, 0.1), expected the lower end first",
            ),
        ] {
            let found = parse(&text).and_then(|grid| grid.runs()).unwrap_err().to_string();
            assert!(found.contains(expected), "{found}\ndoes not contain {expected}");
        }
        let large = format!("samples = 70000\nsampler = \"random\"\n{range}");
        assert!(parse(&large).unwrap().runs().is_ok());
    }
}
