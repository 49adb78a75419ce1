//! What each column of a file is: its header row against the columns that the caller names.

use std::collections::HashMap;
use std::path::Path;

use crate::data::table::{Column, Columns, LabelColumn};
use crate::error::{Error, Place, Result};
use crate::text::{nearest, shortened};

/// A column of one of these names is the labels if it is the only one and nothing else is asked for.
const LABELS: [&str; 8] =
    ["label", "class", "target", "y", "species", "variety", "category", "outcome"];
/// Flags that name several columns, separated by commas.
const LISTS: [&str; 2] = ["--ignore", "--categorical"];
/// How many names a message lists.
const LISTED: usize = 20;

/// What a column of the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The feature of this index.
    Feature(usize),
    Label,
    Group,
    Id,
    Unused,
}

/// What is known of a feature before its cells are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing,
    /// Its cells are texts.
    IsCategory,
    /// A model says what it is.
    Wanted(Column),
}

/// What the columns of a file are.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The names of the file's columns.
    pub(crate) names: Vec<String>,
    /// What each of them is.
    pub(crate) roles: Vec<Role>,
    /// Of each feature, the column in the file and what is known.
    pub(crate) features: Vec<(usize, Known)>,
}

impl Layout {
    /// Decides from the names of the columns what each is.
    ///
    /// # Errors
    /// Where names are empty, repeated or numbers, where a named or wanted column is not there, is named
    /// for two purposes, or no label column can be guessed, and where no feature remains.
    pub(crate) fn new(path: &Path, names: Vec<String>, columns: &Columns) -> Result<Self> {
        check(path, &names)?;
        let index = names.iter().map(String::as_str).zip(0..).collect();
        let mut roles = Roles { path, names: &names, index, of: vec![None; names.len()] };
        let ignored = columns.ignore.iter().map(|name| ("--ignore", Role::Unused, name));
        let is_read = |group: &&String| !columns.group_may_lack || names.contains(group);
        let group = columns.group.iter().filter(is_read).map(|name| ("--group", Role::Group, name));
        let id = columns.id.iter().map(|name| ("--id", Role::Id, name));
        for (flag, role, name) in ignored.chain(group).chain(id) {
            roles.take(flag, role, name)?;
        }
        match &columns.label {
            LabelColumn::Guess => roles.guess_label(columns)?,
            LabelColumn::Named(name) => roles.take("--label", Role::Label, name)?,
            LabelColumn::None => {}
        }
        for name in &columns.categorical {
            roles.free("--categorical", name)?;
        }
        let features = match &columns.wanted {
            Some(wanted) => roles.wanted(wanted)?,
            None => roles.rest(&columns.categorical),
        };
        if features.is_empty() {
            let found = format!("no feature among the columns {}", list(&names));
            return Err(Error::unexpected(Place::file(path), found, "at least one"));
        }
        let mut of: Vec<Role> =
            roles.of.into_iter().map(|role| role.map_or(Role::Unused, |(_, role)| role)).collect();
        for (slot, (column, _)) in features.iter().enumerate() {
            of[*column] = Role::Feature(slot);
        }
        Ok(Self { names, roles: of, features })
    }

    /// The only column with this role.
    pub(crate) fn column(&self, role: Role) -> Option<usize> {
        self.roles.iter().position(|of| *of == role)
    }
}

fn check(path: &Path, names: &[String]) -> Result<()> {
    let number = |name: &String| name.parse::<f64>().is_ok();
    let is_measured = |name: &&String| name.contains('.') && number(name);
    if names.iter().all(number) || 2 * names.iter().filter(is_measured).count() > names.len() {
        let found = format!("numbers in the first row, {}", list(names));
        return Err(Error::unexpected(Place::file(path), found, "a header row")
            .hint("add a first line with a name for each column, such as `width,height,label`"));
    }
    if let Some(empty) = names.iter().position(String::is_empty) {
        let found = format!("no name for column {} in the header row", empty + 1);
        return Err(Error::unexpected(Place::file(path), found, "a name for each column")
            .hint("name it; pandas writes no index with `to_csv(..., index=False)`"));
    }
    let mut seen = HashMap::new();
    for (name, column) in names.iter().zip(1..) {
        if let Some(first) = seen.insert(name, column) {
            let name = shortened(name);
            let found = format!("the name `{name}` for the columns {first} and {column}");
            let place = Place::file(path);
            return Err(Error::unexpected(place, found, "another name for each column"));
        }
    }
    Ok(())
}

/// Roles while they are given out, each with the flag that gave it.
struct Roles<'a> {
    path: &'a Path,
    names: &'a [String],
    index: HashMap<&'a str, usize>,
    of: Vec<Option<(&'static str, Role)>>,
}

impl Roles<'_> {
    /// The column of a name that has no role yet.
    fn free(&self, flag: &str, name: &str) -> Result<usize> {
        let place = Place::file(self.path);
        let Some(&column) = self.index.get(name) else {
            let problem = format!("found no column `{}`, which {flag} names", shortened(name));
            let hint = match nearest(name, self.names.iter().map(String::as_str)) {
                Some(name) if name.contains(',') && LISTS.contains(&flag) => format!(
                    "did you mean `{}`? write a name with a comma in quotation marks: {flag} {}",
                    shortened(name),
                    in_list(name)
                ),
                Some(name) => format!("did you mean `{}`?", shortened(name)),
                None => format!("the columns are {}", list(self.names)),
            };
            return Err(Error::input(place, problem).hint(hint));
        };
        match self.of[column] {
            Some((other, _)) if other == flag => {
                let problem = format!("{flag} names the column `{}` twice", shortened(name));
                Err(Error::input(place, problem))
            }
            Some((other, _)) => {
                let name = shortened(name);
                let problem = format!("both {other} and {flag} name the column `{name}`");
                Err(Error::input(place, problem).hint("a column has one purpose"))
            }
            None => Ok(column),
        }
    }

    fn take(&mut self, flag: &'static str, role: Role, name: &str) -> Result<()> {
        let column = self.free(flag, name)?;
        self.of[column] = Some((flag, role));
        Ok(())
    }

    /// The only column that is named like labels, is not named for another purpose and is no feature.
    fn guess_label(&mut self, columns: &Columns) -> Result<()> {
        let is_feature =
            |name: &str| columns.wanted.iter().flatten().any(|column| column.name == name);
        let is_label = |name: &str| LABELS.iter().any(|label| label.eq_ignore_ascii_case(name));
        let free = (0..self.names.len()).filter(|&column| self.of[column].is_none());
        let found: Vec<usize> = free
            .clone()
            .filter(|&column| is_label(&self.names[column]) && !is_feature(&self.names[column]))
            .collect();
        if let [column] = found[..] {
            self.of[column] = Some(("--label", Role::Label));
            return Ok(());
        }
        let found = match &found[..] {
            [] => "no column that is named like labels".to_string(),
            several => {
                let names: Vec<String> = several.iter().map(|&i| self.names[i].clone()).collect();
                format!("several columns that may be the labels, {}", list(&names))
            }
        };
        let expected = format!("exactly one of {}", LABELS.join(", "));
        let free: Vec<String> = free.map(|column| self.names[column].clone()).collect();
        let hint = format!("name it with --label; the columns are {}", list(&free));
        Err(Error::unexpected(Place::file(self.path), found, expected).hint(hint))
    }

    /// The columns of a model, by name.
    fn wanted(&self, wanted: &[Column]) -> Result<Vec<(usize, Known)>> {
        let is_there = |name: &str| self.index.contains_key(name);
        let names = wanted.iter().map(|column| &column.name);
        let missing: Vec<String> = names.filter(|name| !is_there(name)).cloned().collect();
        if !missing.is_empty() {
            let noun = if missing.len() == 1 { "column" } else { "columns" };
            let problem = format!("found no {noun} {}, which the model needs", list(&missing));
            let hint = format!("the columns are {}", list(self.names));
            return Err(Error::input(Place::file(self.path), problem).hint(hint));
        }
        let known = |column: &Column| {
            let index = self.free("the model", &column.name)?;
            Ok((index, Known::Wanted(column.clone())))
        };
        wanted.iter().map(known).collect()
    }

    /// All columns without another role.
    fn rest(&self, categorical: &[String]) -> Vec<(usize, Known)> {
        let known = |column: usize| {
            let is_category = categorical.contains(&self.names[column]);
            (column, if is_category { Known::IsCategory } else { Known::Nothing })
        };
        (0..self.names.len()).filter(|&column| self.of[column].is_none()).map(known).collect()
    }
}

/// A name as one writes it in a shell for a flag that lists columns; a very long one is shortened.
pub(crate) fn in_list(name: &str) -> String {
    let name = &*shortened(name);
    let is_plain = |c: char| c.is_alphanumeric() || "_-.:/+@%".contains(c);
    let needs_quotes = name.contains(',') || name.starts_with('"');
    let quoted =
        if needs_quotes { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.into() };
    if quoted.chars().all(is_plain) {
        quoted
    } else {
        format!("'{}'", quoted.replace('\'', "'\\''"))
    }
}

/// Names for a message, the first of many.
pub(crate) fn list(names: &[String]) -> String {
    let shown: Vec<String> =
        names.iter().take(LISTED).map(|name| format!("`{}`", shortened(name))).collect();
    let more = if names.len() > LISTED {
        format!(", … ({} in all)", names.len())
    } else {
        String::new()
    };
    shown.join(", ") + &more
}
