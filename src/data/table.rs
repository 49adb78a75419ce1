//! A table as it was read, whatever the format of its file, and the rules that the formats share: what a
//! number, a missing value and a class are. One-hot columns and imputed values are made later, from the
//! training rows alone.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::data::idx::hexadecimal;
use crate::memory::collected;

/// The most classes that a label column may have; a class is a byte.
pub const MOST_CLASSES: usize = 256;

/// A table: rows × features, with what else its file has for each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The file that it came from, for messages; any name for bytes from elsewhere.
    pub path: PathBuf,
    /// SHA-256 of the file's bytes as they are unpacked, in hexadecimal.
    pub sha256: String,
    /// What separates the cells of the file; none in an array of NumPy.
    pub delimiter: Option<Delimiter>,
    /// The features in the order of the file, or in that of [`Columns::wanted`].
    pub columns: Vec<Column>,
    /// Rows × columns, row after row: a finite number, or the index of a category; NaN where the value is
    /// missing. The index of an unknown category is the number of known ones.
    pub cells: Vec<f32>,
    /// How many rows, at least one.
    pub rows: usize,
    /// The column of the labels, named or guessed.
    pub label_column: Option<String>,
    /// The class of each row, if there is a label column.
    pub labels: Option<Labels>,
    /// For each row a number that is equal for equal texts of the group column, counted from 0 in the order
    /// of the file.
    pub groups: Option<Vec<u32>>,
    /// The text of each of these numbers.
    pub group_names: Vec<String>,
    /// The texts of the id column, one for each row; empty ones are allowed.
    pub ids: Option<Vec<String>>,
    /// For each column, how many cells have a category that [`Columns::wanted`] does not list.
    pub unknown: Vec<usize>,
    /// Columns of the file that were not read: ignored ones, and those that [`Columns::wanted`] lacks.
    pub unused: Vec<String>,
}

impl Table {
    /// The rows in which no value is missing.
    pub fn whole_rows(&self) -> Vec<usize> {
        let row = |row: usize| row * self.columns.len()..(row + 1) * self.columns.len();
        let is_whole = |&index: &usize| self.cells[row(index)].iter().all(|cell| !cell.is_nan());
        (0..self.rows).filter(is_whole).collect()
    }

    /// Numbers the groups as another table does, so that equal texts are one group in both.
    pub fn share_groups(&mut self, of: &Self) {
        let mut codes = Codes::default();
        of.group_names.iter().for_each(|name| _ = codes.code(name));
        let shared: Vec<u32> = self.group_names.iter().map(|name| codes.code(name)).collect();
        self.groups.iter_mut().flatten().for_each(|group| *group = shared[*group as usize]);
        self.group_names = codes.texts();
    }

    /// Some of the rows.
    #[must_use]
    pub fn chosen(mut self, rows: &[usize]) -> Self {
        let per_row = self.columns.len();
        let row = |row: usize| row * per_row..(row + 1) * per_row;
        let cells = rows.iter().flat_map(|&index| &self.cells[row(index)]).copied();
        self.cells = collected(rows.len() * per_row, cells);
        self.rows = rows.len();
        if let Some(labels) = &mut self.labels {
            labels.codes = rows.iter().map(|&index| labels.codes[index]).collect();
        }
        self.groups = self.groups.map(|it| rows.iter().map(|&index| it[index]).collect());
        self.ids = self.ids.map(|it| rows.iter().map(|&index| it[index].clone()).collect());
        self
    }

    /// How many values are missing in each column.
    pub fn missing(&self) -> Vec<usize> {
        let mut counts = vec![0; self.columns.len()];
        for row in self.cells.chunks_exact(self.columns.len().max(1)) {
            for (count, cell) in counts.iter_mut().zip(row) {
                *count += usize::from(cell.is_nan());
            }
        }
        counts
    }
}

/// A feature of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name in the header row.
    pub name: String,
    /// What its cells are.
    pub kind: ColumnKind,
}

/// What the cells of a column are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnKind {
    /// Numbers; true and yes are 1, false and no are 0.
    Number,
    /// Texts, of which these are all that occur, sorted.
    Category(Vec<String>),
}

/// The class of each row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// The names of the classes, 1 to 256: integers sorted by value, or else texts sorted as texts.
    pub names: Vec<String>,
    /// The class of each row as an index into the names.
    pub codes: Vec<u32>,
}

/// Which columns of a table are what. The others are features.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// The column of the labels.
    pub label: LabelColumn,
    /// Columns that are not read.
    pub ignore: Vec<String>,
    /// Columns of texts, even where they look like numbers. Without effect if `wanted` gives the kinds.
    pub categorical: Vec<String>,
    /// A column whose equal cells mark rows that belong together.
    pub group: Option<String>,
    /// Whether the file may lack that column.
    pub group_may_lack: bool,
    /// A column whose texts name the rows.
    pub id: Option<String>,
    /// The features of a model with their kinds: these alone are read, in any order in the file, and come
    /// out in this order.
    pub wanted: Option<Vec<Column>>,
}

/// The column of the labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LabelColumn {
    /// The only column that is named like one: `label`, `class`, `target` and so on.
    #[default]
    Guess,
    /// The column of this name.
    Named(String),
    /// There is none.
    None,
}

/// What separates the cells of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delimiter {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `\t`
    Tab,
}

impl Delimiter {
    /// The delimiter as it stands in the file.
    pub fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Comma => "comma",
            Self::Semicolon => "semicolon",
            Self::Tab => "tab",
        })
    }
}

/// What a cell of a column of numbers may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell {
    Missing,
    /// Infinite if it is written so, or does not fit into float32.
    Number(f32),
    Text,
}

/// The largest size of a feature's value. Products of larger ones with weights may leave float32; they are
/// infinite, or codes for missing values, such as −3.4e38.
pub(crate) const LARGEST: f32 = 1e30;

/// Whether a feature's value is larger, or infinite.
pub(crate) fn is_too_large(number: f32) -> bool {
    number.abs() > LARGEST
}

/// What a cell holds, without the spaces around it.
pub(crate) fn cell(text: &[u8]) -> Cell {
    // Pixels: millions of cells of a few digits, which float32 holds exactly.
    if (1..=6).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        let number = text.iter().fold(0, |number, digit| 10 * number + u32::from(digit - b'0'));
        return Cell::Number(number as f32);
    }
    let text = std::str::from_utf8(text).unwrap_or("not UTF-8");
    if is_missing(text) {
        return Cell::Missing;
    }
    match text.parse::<f32>() {
        Ok(number) if number.is_nan() => Cell::Missing,
        Ok(number) => Cell::Number(number),
        Err(_) if is_any_of(text, &["true", "yes"]) => Cell::Number(1.0),
        Err(_) if is_any_of(text, &["false", "no"]) => Cell::Number(0.0),
        Err(_) => Cell::Text,
    }
}

/// Whether a cell stands for a value that is not known.
pub(crate) fn is_missing(text: &str) -> bool {
    is_any_of(text, &["", "na", "n/a", "nan", "?", "null", "none"])
}

fn is_any_of(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Gives equal texts equal numbers, from 0 in the order in which they come.
#[derive(Debug, Default)]
pub(crate) struct Codes(HashMap<String, u32>);

impl Codes {
    /// The number of a text.
    pub(crate) fn code(&mut self, text: &str) -> u32 {
        if let Some(&code) = self.0.get(text) {
            return code;
        }
        let code = self.0.len() as u32;
        self.0.insert(text.to_string(), code);
        code
    }

    /// How many different texts there were.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The texts in the order of their numbers.
    pub(crate) fn texts(self) -> Vec<String> {
        let mut texts: Vec<(u32, String)> =
            self.0.into_iter().map(|(text, code)| (code, text)).collect();
        texts.sort_unstable_by_key(|(code, _)| *code);
        texts.into_iter().map(|(_, text)| text).collect()
    }

    /// The texts sorted, and for each number so far its place among them.
    pub(crate) fn sorted(self) -> (Vec<String>, Vec<u32>) {
        ranked(&self.texts())
    }
}

/// Items sorted, each once, as text; and for each item its place among these.
fn ranked<T: Ord + ToString>(items: &[T]) -> (Vec<String>, Vec<u32>) {
    let mut places: BTreeMap<&T, u32> = items.iter().map(|item| (item, 0)).collect();
    let mut names = Vec::with_capacity(places.len());
    for (item, place) in &mut places {
        *place = names.len() as u32;
        names.push(item.to_string());
    }
    (names, items.iter().map(|item| places[item]).collect())
}

/// Labels while they are read, as texts.
#[derive(Debug, Default)]
pub(crate) struct LabelTexts<Place> {
    codes: Codes,
    /// Where each text came first.
    first: Vec<Place>,
    rows: Vec<u32>,
}

/// Why texts are not labels.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadLabels<Place> {
    /// Numbers that are not all integers: the first such, and where it came.
    Fraction(String, Place),
    /// So many classes.
    TooMany(usize),
}

impl<Place> LabelTexts<Place> {
    /// Makes room for the labels of so many rows.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.rows = collected(self.rows.len() + rows, self.rows.drain(..));
    }

    /// The label of the next row, and where it is.
    pub(crate) fn push(&mut self, text: &str, place: Place) {
        let code = self.codes.code(text);
        if code as usize == self.first.len() {
            self.first.push(place);
        }
        self.rows.push(code);
    }

    /// The classes of all rows.
    pub(crate) fn finish(self) -> Result<Labels, BadLabels<Place>> {
        let texts = self.codes.texts();
        let integers: Option<Vec<i64>> = texts.iter().map(|text| integer(text)).collect();
        let (names, order) = match integers {
            Some(integers) => ranked(&integers),
            None if texts.iter().all(|text| number(text).is_some()) => {
                let is_fraction = |(text, _): &(String, Place)| integer(text).is_none();
                let first = texts.into_iter().zip(self.first).find(is_fraction);
                let (text, place) = first.expect("not all are integers");
                return Err(BadLabels::Fraction(text, place));
            }
            None => ranked(&texts.iter().map(|text| one_spelling(text)).collect::<Vec<_>>()),
        };
        if names.len() > MOST_CLASSES {
            return Err(BadLabels::TooMany(names.len()));
        }
        let codes = self.rows.into_iter().map(|code| order[code as usize]).collect();
        Ok(Labels { names, codes })
    }
}

/// What to do about a number that is no label.
pub(crate) fn cure_of_label(text: &str) -> &'static str {
    if number(text).is_some_and(|number| number.fract() == 0.0) {
        "a whole number as a label is from -2^63 to 2^63 - 1; put a letter before longer ones"
    } else {
        "regression is not supported"
    }
}

/// A label as a number. `007` is a name.
fn number(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['+', '-']).as_bytes();
    let is_name = digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit();
    if is_name { None } else { text.parse().ok() }
}

/// A label as an integer, which may be written `1.0`.
fn integer(text: &str) -> Option<i64> {
    let number = number(text)?;
    let is_exact = number.fract() == 0.0 && number.abs() < (1_u64 << 53) as f64;
    text.parse().ok().or_else(|| is_exact.then_some(number as i64))
}

/// The name of a group, a category or a class, in which an integer is written in one way.
pub(crate) fn one_spelling(text: &str) -> Cow<'_, str> {
    integer(text).map_or(Cow::Borrowed(text), |integer| integer.to_string().into())
}

/// Bytes while they are read, and their SHA-256.
pub(crate) struct Hashed<R> {
    reader: R,
    hash: Sha256,
    last: u8,
}

impl<R> Hashed<R> {
    /// Hashes what is read from now on.
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, hash: Sha256::new(), last: 0 }
    }

    /// The last byte that was read and ends no line; 0 before the first.
    pub(crate) fn last(&self) -> u8 {
        self.last
    }

    /// SHA-256 of what was read, in hexadecimal.
    pub(crate) fn sha256(self) -> String {
        hexadecimal(&self.hash.finalize())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hash.update(&buffer[..count]);
        let is_text = |byte: &&u8| !matches!(byte, b'\n' | b'\r');
        self.last = buffer[..count].iter().rfind(is_text).copied().unwrap_or(self.last);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_numbers_missing_values_or_texts() {
        for (text, number) in [
            ("0", 0.0),
            ("007", 7.0),
            ("999999", 999_999.0),
            ("16777217", 16_777_216.0),
            ("-1.5e3", -1500.0),
            (".5", 0.5),
            ("TRUE", 1.0),
            ("yes", 1.0),
            ("False", 0.0),
            ("no", 0.0),
            ("1e99", f32::INFINITY),
            ("-inf", f32::NEG_INFINITY),
        ] {
            assert_eq!(cell(text.as_bytes()), Cell::Number(number), "{text}");
        }
        for text in ["", "NA", "n/a", "NaN", "nan", "-nan", "?", "null", "None", "NULL"] {
            assert_eq!(cell(text.as_bytes()), Cell::Missing, "{text}");
        }
        for text in ["red", "1,5", "12x", "0x10", "-", "1 2", "é"] {
            assert_eq!(cell(text.as_bytes()), Cell::Text, "{text}");
        }
    }

    fn labels(texts: &[&str]) -> Result<(String, Vec<u32>), BadLabels<u64>> {
        let mut labels = LabelTexts::default();
        for (text, place) in texts.iter().zip(0..) {
            labels.push(text, place);
        }
        labels.finish().map(|labels| (labels.names.join(" "), labels.codes))
    }

    #[test]
    fn integer_labels_sort_by_value_and_others_as_text() {
        let found = labels(&["10", "9", "-1.0", "1e1", "9"]);
        assert_eq!(found, Ok(("-1 9 10".into(), vec![2, 1, 0, 2, 1])));
        assert_eq!(labels(&["b", "10", "9"]), Ok(("10 9 b".into(), vec![2, 0, 1])));
        let found = labels(&["1", "1.0", "x", "+1", "1e0", "01"]);
        assert_eq!(found, Ok(("01 1 x".into(), vec![1, 1, 2, 1, 1, 0])));
        assert_eq!(labels(&["007", "7"]), Ok(("007 7".into(), vec![0, 1])));
        let large = "9223372036854775807";
        assert_eq!(labels(&[large]), Ok((large.into(), vec![0])));
    }

    #[test]
    fn fractions_and_too_many_classes_are_no_labels() {
        assert_eq!(labels(&["1e300"]), Err(BadLabels::Fraction("1e300".into(), 0)));
        assert_eq!(labels(&["1", "1", "0.5", "0.7"]), Err(BadLabels::Fraction("0.5".into(), 2)));
        assert_eq!(labels(&["0.5", "high"]).unwrap().0, "0.5 high");
        let many: Vec<String> = (0..257).map(|class| class.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(labels(&many), Err(BadLabels::TooMany(257)));
        assert_eq!(labels(&many[..256]).unwrap().1.len(), 256);
    }
}
