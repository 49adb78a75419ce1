//! One table as text: CSV with commas or semicolons, or TSV, gzipped or not.
//!
//! A file is read twice: first for the kinds of its columns, then for its cells. So it takes little more
//! memory than the cells, and a text after a million numbers makes no column of texts unnoticed.

use std::collections::HashMap;
use std::path::Path;

use crate::data::columns::{Known, Layout, Role, in_list, list};
use crate::data::csv_rows::{Rows, Source, Spot, quoted, text};
use crate::data::table::{
    BadLabels, Cell, Codes, Column, ColumnKind, Columns, LARGEST, LabelTexts, Labels, MOST_CLASSES,
    Table, cell, cure_of_label, is_missing, is_too_large, one_spelling,
};
use crate::error::{Error, Place, Result, counted};
use crate::memory::with_capacity;
use crate::text::shortened;

/// The most categories of a column; each becomes an input of the network.
const MOST_CATEGORIES: usize = 10_000;
/// Texts in a column of numbers are taken for mistakes if there are at least so many numbers for each.
const NUMBERS_PER_MISTAKE: usize = 20;

/// Reads a table with a header row; a gzip is recognised by its content. The delimiter is the one that the
/// header row has most of.
///
/// # Errors
/// [`Error::Read`] where the system cannot read the file, and [`Error::Input`] with the line and column
/// where it is no table, where its columns are not those that are asked for, and where a cell is not what its
/// column needs: too large values, missing labels, rows of another length, bytes that are not UTF-8.
pub fn read(path: &Path, columns: &Columns) -> Result<Table> {
    table(Source { path, bytes: None }, columns)
}

/// Reads what [`read`] does from the bytes of a file; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(path: &Path, bytes: &[u8], columns: &Columns) -> Result<Table> {
    table(Source { path, bytes: Some(bytes) }, columns)
}

/// Checks the header row alone, of the first bytes of a file that are more than it may have.
///
/// # Errors
/// As [`read`] where the header row is not as it must be.
pub fn check_header(path: &Path, bytes: &[u8], columns: &Columns) -> Result<()> {
    header(Source { path, bytes: Some(bytes) }, columns).map(drop)
}

/// The rows after the header row, and what that says.
fn header<'a>(source: Source<'a>, columns: &Columns) -> Result<(Rows<'a>, Layout)> {
    let mut rows = Rows::new(source, source.delimiter()?)?;
    if !rows.advance()? {
        return Err(source.empty());
    }
    let names = rows.record.iter().map(|name| text(name.trim_ascii()).to_string()).collect();
    Ok((rows, Layout::new(source.path, names, columns)?))
}

fn table(source: Source<'_>, columns: &Columns) -> Result<Table> {
    let (mut rows, layout) = header(source, columns)?;
    let delimiter = rows.delimiter;
    let (count, is_number) = scan(&mut rows, &layout)?;
    let scanned = rows.sha256();

    let mut rows = Rows::new(source, delimiter)?;
    rows.advance()?;
    let mut filled = Filled::new(&layout, is_number, count);
    while rows.advance()? {
        filled.row(&rows, &layout)?;
    }
    let table = filled.finish(rows, &layout)?;
    if table.sha256 != scanned {
        return Err(Error::input(Place::file(source.path), "it changed while it was read"));
    }
    Ok(table)
}

/// What the cells of a column are, as far as it is read.
#[derive(Debug, Default)]
struct Seen {
    numbers: usize,
    texts: usize,
    /// Texts that are numbers with commas, a percent sign or a currency.
    marked: usize,
    /// Those of them that can only be numbers with a decimal comma.
    decimal_commas: usize,
    /// The first text and the first number that is too large.
    text: Option<(String, Spot)>,
    far: Option<(String, Spot)>,
    /// The first `yes`, `no`, `true` or `false`, and whether there are numbers other than 0 and 1.
    word: Option<(String, Spot)>,
    others: bool,
}

/// Reads all rows for how many there are, and for which features are numbers.
fn scan(rows: &mut Rows<'_>, layout: &Layout) -> Result<(usize, Vec<bool>)> {
    let mut seen: Vec<Seen> = layout.features.iter().map(|_| Seen::default()).collect();
    let is_category: Vec<bool> =
        layout.features.iter().map(|(_, known)| known.is_category()).collect();
    let mut count = 0;
    while rows.advance()? {
        count += 1;
        for (field, role, bytes) in rows.cells(layout) {
            match role {
                Role::Feature(slot) if is_category[slot] => {}
                Role::Feature(slot) => seen[slot].add(bytes, || rows.spot(field)),
                Role::Label | Role::Group if is_missing(text(bytes)) => {
                    let expected = if role == Role::Label { "a class" } else { "a group" };
                    let at = (field, rows.spot(field));
                    let error = rows.unexpected(layout, at, &quoted(text(bytes)), expected)?;
                    return Err(error.hint("remove rows without one"));
                }
                Role::Label | Role::Group | Role::Id | Role::Unused => {}
            }
        }
    }
    if count == 0 {
        let place = Place::file(rows.source.path);
        return Err(Error::unexpected(place, "no row after the header row", "at least one"));
    }
    let mut is_number = Vec::with_capacity(seen.len());
    for (seen, (field, known)) in seen.iter().zip(&layout.features) {
        is_number.push(!known.is_category() && seen.is_number(rows, layout, *field, known)?);
    }
    Ok((count, is_number))
}

impl Known {
    /// Whether its cells are texts even if they look like numbers.
    fn is_category(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::IsCategory => true,
            Self::Wanted(column) => column.kind != ColumnKind::Number,
        }
    }
}

impl Seen {
    fn add(&mut self, bytes: &[u8], spot: impl Fn() -> Spot) {
        match cell(bytes) {
            Cell::Missing => {}
            Cell::Number(number) => {
                self.numbers += 1;
                if bytes.first().is_some_and(u8::is_ascii_alphabetic) && self.word.is_none() {
                    self.word = Some((text(bytes).to_string(), spot()));
                }
                self.others |= number != 0.0 && number != 1.0;
                if is_too_large(number) && self.far.is_none() {
                    self.far = Some((text(bytes).to_string(), spot()));
                }
            }
            Cell::Text => {
                self.texts += 1;
                self.marked += usize::from(is_marked_number(text(bytes)));
                self.decimal_commas += usize::from(has_decimal_comma(text(bytes)));
                if self.text.is_none() {
                    self.text = Some((text(bytes).to_string(), spot()));
                }
            }
        }
    }

    /// Whether it is a column of numbers and not of texts.
    fn is_number(
        &self,
        rows: &Rows<'_>,
        layout: &Layout,
        field: usize,
        known: &Known,
    ) -> Result<bool> {
        let refused = |(cell, spot): &(String, Spot), expected: &str| {
            rows.unexpected(layout, (field, *spot), &quoted(cell), expected)
        };
        let name = in_list(&layout.names[field]);
        match (&self.text, &self.far) {
            (Some(first), _) if self.decimal_commas == self.texts => {
                let hint = "write decimal points instead of decimal commas";
                Err(refused(first, "a plain number such as 1234.5")?.hint(hint))
            }
            (Some(first), _) if self.marked == self.texts => {
                let hint = format!(
                    "write decimal points, no commas between thousands, and no percent sign or currency, or use \
                     --categorical {name} for a column of strings"
                );
                Err(refused(first, "a plain number such as 1234.5")?.hint(hint))
            }
            (Some(first), _) if *known != Known::Nothing => {
                Err(refused(first, "a number, as in the model's training")?)
            }
            (Some(first), _) if self.numbers >= NUMBERS_PER_MISTAKE * self.texts => {
                let others = counted(self.numbers, "other cell");
                let error = refused(first, &format!("a number, as in {others} of the column"))?;
                let hint =
                    format!("empty the cell, or use --categorical {name} for a column of strings");
                Err(error.hint(hint))
            }
            (Some(_), _) => Ok(false),
            (None, Some(first)) => {
                let hint = "if it stands for a missing value, leave the cell empty";
                Err(refused(first, &format!("a number of at most {LARGEST:e} in size"))?.hint(hint))
            }
            (None, None) => match &self.word {
                Some(first) if self.others && *known != Known::Nothing => {
                    Err(refused(first, "a number, as in the model's training")?)
                }
                Some(first) if self.others => {
                    let hint = format!("empty the cell, or use --categorical {name}");
                    Err(refused(first, "a number, as in other cells of the column")?.hint(hint))
                }
                _ => Ok(true),
            },
        }
    }
}

/// Whether a text would be a number without commas, a percent sign and a currency, such as `3,14`, `1.234,5`, `5.1 %`
/// and `$20`.
fn is_marked_number(text: &str) -> bool {
    let bare = text.trim_matches(|c: char| c.is_whitespace() || "%$€£¥".contains(c));
    let is_part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b',' | b'.' | b'-' | b'+');
    let is_marked = bare.len() < text.len() || bare.contains(',');
    is_marked && bare.ends_with(|c: char| c.is_ascii_digit()) && bare.bytes().all(is_part)
}

/// Whether a text is a number with a decimal comma, such as `89,5`; `1,234` may be one with thousands.
fn has_decimal_comma(text: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    unsigned.split_once(',').is_some_and(|(whole, fraction)| {
        is_digits(whole) && is_digits(fraction) && (fraction.len() != 3 || whole.len() > 3)
    })
}

/// How the cells of a feature become numbers.
enum Coder {
    Number,
    /// Texts that are collected.
    Open(Codes),
    /// The texts of a model.
    Fixed(HashMap<String, usize>),
}

/// A table while it is read the second time.
struct Filled {
    coders: Vec<Coder>,
    cells: Vec<f32>,
    rows: usize,
    labels: LabelTexts<Spot>,
    groups: (Codes, Vec<u32>),
    ids: Vec<String>,
    unknown: Vec<usize>,
}

impl Filled {
    fn new(layout: &Layout, is_number: Vec<bool>, rows: usize) -> Self {
        let coder = |((_, known), is_number): (&(usize, Known), bool)| match known {
            Known::Wanted(Column { kind: ColumnKind::Category(names), .. }) => Coder::Fixed(
                names.iter().map(|it| one_spelling(it).into_owned()).zip(0..).collect(),
            ),
            _ if is_number => Coder::Number,
            _ => Coder::Open(Codes::default()),
        };
        let mut labels = LabelTexts::default();
        if layout.column(Role::Label).is_some() {
            labels.reserve(rows);
        }
        // Groups and names take about so much, and are collected one by one.
        if layout.column(Role::Group).or_else(|| layout.column(Role::Id)).is_some() {
            drop(with_capacity::<[u64; 10]>(rows));
        }
        Self {
            coders: layout.features.iter().zip(is_number).map(coder).collect(),
            cells: with_capacity(rows.saturating_mul(layout.features.len())),
            rows: 0,
            labels,
            groups: (Codes::default(), Vec::new()),
            ids: Vec::new(),
            unknown: vec![0; layout.features.len()],
        }
    }

    fn row(&mut self, rows: &Rows<'_>, layout: &Layout) -> Result<()> {
        let start = self.cells.len();
        self.cells.resize(start + self.coders.len(), f32::NAN);
        self.rows += 1;
        for (field, role, bytes) in rows.cells(layout) {
            match role {
                Role::Feature(slot) => {
                    let Some(value) = self.value(slot, bytes) else {
                        let at = (field, rows.spot(field));
                        let expected = format!("at most {MOST_CATEGORIES} different texts");
                        let error = rows.unexpected(layout, at, "another text", &expected)?;
                        let name = in_list(&layout.names[field]);
                        return Err(error.hint(format!("leave it out with --ignore {name}")));
                    };
                    self.cells[start + slot] = value;
                }
                Role::Label => self.labels.push(text(bytes), rows.spot(field)),
                Role::Group => {
                    let code = self.groups.0.code(&one_spelling(text(bytes)));
                    self.groups.1.push(code);
                }
                Role::Id => self.ids.push(text(bytes).to_string()),
                Role::Unused => {}
            }
        }
        Ok(())
    }

    /// A cell of a feature; nothing if it has too many categories.
    fn value(&mut self, slot: usize, bytes: &[u8]) -> Option<f32> {
        match &mut self.coders[slot] {
            Coder::Number => match cell(bytes) {
                Cell::Number(number) => Some(number),
                Cell::Missing | Cell::Text => Some(f32::NAN),
            },
            _ if is_missing(text(bytes)) => Some(f32::NAN),
            Coder::Open(codes) => {
                let code = codes.code(&one_spelling(text(bytes)));
                (codes.len() <= MOST_CATEGORIES).then_some(code as f32)
            }
            Coder::Fixed(codes) => {
                let code = codes.get(&*one_spelling(text(bytes))).copied();
                self.unknown[slot] += usize::from(code.is_none());
                Some(code.unwrap_or(codes.len()) as f32)
            }
        }
    }

    fn finish(self, rows: Rows<'_>, layout: &Layout) -> Result<Table> {
        let Self { coders, mut cells, rows: count, labels, groups, ids, unknown } = self;
        let width = coders.len();
        let mut columns = Vec::with_capacity(width);
        for (slot, (coder, (field, known))) in coders.into_iter().zip(&layout.features).enumerate()
        {
            let name = layout.names[*field].clone();
            columns.push(match (coder, known) {
                (_, Known::Wanted(column)) => column.clone(),
                (Coder::Open(codes), _) => {
                    let (names, order) = codes.sorted();
                    let cells = cells.iter_mut().skip(slot).step_by(width);
                    for cell in cells.filter(|cell| !cell.is_nan()) {
                        *cell = order[*cell as usize] as f32;
                    }
                    Column { name, kind: ColumnKind::Category(names) }
                }
                _ => Column { name, kind: ColumnKind::Number },
            });
        }
        let labels = match layout.column(Role::Label) {
            Some(field) => Some(finished(labels, &rows, layout, field)?),
            None => None,
        };
        let unused = layout.names.iter().zip(&layout.roles);
        let unused = unused.filter(|(_, role)| **role == Role::Unused);
        Ok(Table {
            path: rows.source.path.to_path_buf(),
            delimiter: Some(rows.delimiter),
            columns,
            cells,
            rows: count,
            label_column: layout.column(Role::Label).map(|field| layout.names[field].clone()),
            labels,
            groups: layout.column(Role::Group).map(|_| groups.1),
            group_names: groups.0.texts(),
            ids: layout.column(Role::Id).map(|_| ids),
            unknown,
            unused: unused.map(|(name, _)| name.clone()).collect(),
            sha256: rows.sha256(),
        })
    }
}

fn finished(
    labels: LabelTexts<Spot>,
    rows: &Rows<'_>,
    layout: &Layout,
    field: usize,
) -> Result<Labels> {
    labels.finish().or_else(|bad| {
        Err(match bad {
            BadLabels::Fraction(label, spot) => {
                let expected = "classes: integers or names";
                rows.unexpected(layout, (field, spot), &quoted(&label), expected)?
                    .hint(cure_of_label(&label))
            }
            BadLabels::TooMany(classes) => {
                let name = shortened(&layout.names[field]);
                let found = format!("{} in column `{name}`", counted(classes, "class"));
                let place = Place::file(rows.source.path);
                Error::unexpected(place, found, format!("at most {MOST_CLASSES}")).hint(format!(
                    "if these are no labels, name the right column with --label; the columns are {}",
                    list(&layout.names)
                ))
            }
        })
    })
}
