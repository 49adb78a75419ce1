//! The rows of a CSV or TSV file, one after the other, each checked to be text of as many cells as the
//! header row. The only module that parses such data files.
//!
//! The parser's lines are not those that an editor shows, so a line is counted in the file when a message
//! needs it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use csv::ByteRecord;

use crate::data::columns::{Layout, Role};
use crate::data::file;
use crate::data::gzip;
use crate::data::table::{Delimiter, Hashed};
use crate::error::{Error, Place, Result, counted};
use crate::text::shortened;

/// The longest header row, in bytes; an open quotation mark must not swallow a large file.
const LONGEST_HEADER: usize = 1 << 24;

/// A file, or its bytes.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) bytes: Option<&'a [u8]>,
}

impl<'a> Source<'a> {
    /// Its contents from the start, unpacked.
    fn open(self) -> Result<Box<dyn Read + 'a>> {
        let contents = if let Some(bytes) = self.bytes {
            gzip::contents(bytes, bytes.len() as u64)
        } else {
            let (file, length) = file::open(self.path, "a table")?;
            gzip::contents(BufReader::with_capacity(1 << 16, file), length)
        };
        contents.map_err(|source| gzip::fault(self.path, source))
    }

    pub(crate) fn empty(self) -> Error {
        Error::unexpected(Place::file(self.path), "an empty file", "a table with a header row")
    }

    /// What separates the names in the header row. Of equally many, the one that names rarely contain.
    pub(crate) fn delimiter(self) -> Result<Delimiter> {
        let refused = |found: &str, hint: &str| {
            let place = Place::file(self.path);
            Err(Error::unexpected(place, found, "a table as UTF-8 text").hint(hint))
        };
        let mut counts = [(Delimiter::Comma, 0), (Delimiter::Semicolon, 0), (Delimiter::Tab, 0)];
        let (mut length, mut is_quoted, mut may_open) = (0, false, true);
        for byte in BufReader::new(self.open()?).bytes() {
            let byte = byte.map_err(|source| gzip::fault(self.path, source))?;
            match (length, byte) {
                // Blank lines and a byte-order mark.
                (0, b'\n' | b'\r' | 0xef | 0xbb | 0xbf) => continue,
                (0, 0xfe | 0xff) => return refused("UTF-16", "save it as UTF-8"),
                (3, 4) => return refused("a zip archive", "save a spreadsheet as CSV"),
                (LONGEST_HEADER, _) => {
                    let expected = format!("at most {} MiB", LONGEST_HEADER >> 20);
                    let place = Place::file(self.path);
                    return Err(Error::unexpected(place, "a longer header row", expected)
                        .hint("a quotation mark may be left open"));
                }
                _ => length += 1,
            }
            match byte {
                b'"' if is_quoted || may_open => is_quoted = !is_quoted,
                b'\n' | b'\r' if !is_quoted => break,
                _ if is_quoted => {}
                _ => counts.iter_mut().for_each(|(delimiter, count)| {
                    *count += usize::from(delimiter.byte() == byte);
                }),
            }
            // After a quotation mark, another one is part of the text.
            may_open = byte == b'"' || counts.iter().any(|(of, _)| of.byte() == byte);
        }
        Ok(counts.into_iter().max_by_key(|(_, count)| *count).expect("three of them").0)
    }

    /// The line of what begins at a byte and so many lines below it. Blank lines before a row and the second
    /// half of `\r\n` count as part of the row for the parser, and not for people.
    fn line(self, spot: Spot) -> Result<usize> {
        let mut contents = BufReader::with_capacity(1 << 16, self.open()?);
        let (mut at, mut line) = (0, 1 + spot.newlines);
        loop {
            let part = contents.fill_buf().map_err(|source| gzip::fault(self.path, source))?;
            let before = part.len().min((spot.byte - at) as usize);
            let is_blank = |byte: &u8| matches!(byte, b'\n' | b'\r');
            let blank = part[before..].iter().take_while(|byte| is_blank(byte)).count();
            line += newlines(&part[..before + blank]);
            if part.len() > before + blank || part.is_empty() {
                return Ok(line);
            }
            let length = part.len();
            at = (at + length as u64).min(spot.byte);
            contents.consume(length);
        }
    }
}

/// Where a cell stands: the byte at which the parser begins its row, and how many lines below that.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spot {
    byte: u64,
    newlines: usize,
}

/// The rows of a table, one after the other.
pub(crate) struct Rows<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) delimiter: Delimiter,
    reader: csv::Reader<Hashed<Box<dyn Read + 'a>>>,
    pub(crate) record: ByteRecord,
    /// How many cells a row has; 0 before the header row.
    width: usize,
    /// The last cell of the row, if it has several lines: a quotation mark before it may be left open.
    open: Option<Spot>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(source: Source<'a>, delimiter: Delimiter) -> Result<Self> {
        let reader = csv::ReaderBuilder::new()
            .delimiter(delimiter.byte())
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(Hashed::new(source.open()?));
        Ok(Self { source, delimiter, reader, record: ByteRecord::new(), width: 0, open: None })
    }

    /// The next row, which is text and has as many cells as the header; false after the last.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        let path = self.source.path;
        let is_row = self.reader.read_byte_record(&mut self.record);
        if !is_row.map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(source) => gzip::fault(path, source),
            kind => Error::input(Place::file(path), format!("cannot parse: {kind:?}")),
        })? {
            return self.end().map(|()| false);
        }
        let bytes = self.record.as_slice();
        if !bytes.is_ascii() || bytes.contains(&0) {
            for (field, cell) in self.record.iter().enumerate() {
                let found = match std::str::from_utf8(cell) {
                    Err(_) => "bytes that are not UTF-8",
                    Ok(text) if text.contains('\0') => "a zero byte",
                    Ok(_) => continue,
                };
                let place = Place::Line(path.to_path_buf(), self.source.line(self.spot(field))?);
                return Err(Error::unexpected(place, found, "text").hint("save it as UTF-8"));
            }
        }
        if self.width == 0 {
            self.width = self.record.len();
        }
        if self.record.len() == self.width {
            let last = self.width - 1;
            let has_lines = self.record[last].contains(&b'\n');
            self.open = has_lines.then(|| self.spot(last));
            return Ok(true);
        }
        let place = Place::Line(path.to_path_buf(), self.source.line(self.spot(0))?);
        let expected = format!("{}, as in the header row", self.width);
        let error = Error::unexpected(place, counted(self.record.len(), "cell"), expected);
        let has_newline = self.record.as_slice().contains(&b'\n');
        Err(if has_newline { error.hint("a quotation mark may be left open") } else { error })
    }

    /// After the last row: a cell that swallowed the rest of the file is no cell.
    fn end(&self) -> Result<()> {
        match self.open {
            Some(spot) if self.reader.get_ref().last() != b'"' => {
                let line = self.source.line(spot)?;
                let place = Place::Line(self.source.path.to_path_buf(), line);
                Err(Error::input(place, "a quotation mark is left open"))
            }
            _ => Ok(()),
        }
    }

    /// SHA-256 of what was read; after the last row, of the whole file.
    pub(crate) fn sha256(self) -> String {
        self.reader.into_inner().sha256()
    }

    pub(crate) fn spot(&self, field: usize) -> Spot {
        let before = self.record.iter().take(field);
        let byte = self.record.position().map_or(0, csv::Position::byte);
        Spot { byte, newlines: before.map(newlines).sum() }
    }

    /// The cells of the row with what each is, without the spaces around them.
    pub(crate) fn cells<'b>(
        &'b self,
        layout: &'b Layout,
    ) -> impl Iterator<Item = (usize, Role, &'b [u8])> {
        let cells = self.record.iter().zip(&layout.roles).enumerate();
        cells.map(|(field, (cell, &role))| (field, role, cell.trim_ascii()))
    }

    pub(crate) fn unexpected(
        &self,
        layout: &Layout,
        (field, spot): (usize, Spot),
        found: &str,
        expected: &str,
    ) -> Result<Error> {
        let name = shortened(&layout.names[field]).into_owned();
        let place = Place::Column(self.source.path.to_path_buf(), self.source.line(spot)?, name);
        Ok(Error::unexpected(place, found, expected))
    }
}

/// A cell whose row was found to be UTF-8.
pub(crate) fn text(cell: &[u8]) -> &str {
    std::str::from_utf8(cell).unwrap_or_default()
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

pub(crate) fn quoted(cell: &str) -> String {
    if cell.is_empty() { "an empty cell".into() } else { format!("`{}`", shortened(cell)) }
}
