//! One array of NumPy, as a file or as a member of an archive: a magic number, a header that is a Python
//! dictionary of one line, then the items.
//!
//! The crates for this format multiply the sizes of a shape unchecked, parse nested headers by recursion, or
//! know no texts. NumPy itself writes one form of header alone, and that is what is read here.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use half::f16;
use ndarray::{ArrayView, IxDyn, ShapeBuilder};

use crate::data::arrays::Features;
use crate::data::table::{Hashed, LARGEST, LabelTexts, is_missing, is_too_large};
use crate::error::{Error, Place, Result, counted};
use crate::memory::{collected, filled, with_capacity};
use crate::text::shortened;

/// The longest header; NumPy itself reads no longer one.
const LONGEST_HEADER: usize = 10_000;
/// The longest text of a label, in bytes.
const LONGEST_TEXT: usize = 4096;
/// The most bytes of an array.
const MOST_BYTES: u64 = 8 << 30;
/// The most dimensions; NumPy itself has had no more.
const MOST_DIMENSIONS: usize = 32;
/// How much is read at once.
const PART: usize = 1 << 16;

/// An array whose header is read.
pub(crate) struct Npy<R> {
    /// What it is called in messages.
    path: PathBuf,
    reader: Hashed<R>,
    header: Header,
}

/// What a row of features is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowShape {
    /// Its height and width.
    Image(usize, usize),
    /// How many numbers it has.
    Numbers(usize),
}

impl fmt::Display for RowShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(height, width) => write!(f, "images of {height} × {width} bytes"),
            Self::Numbers(columns) => f.write_str(&counted(*columns, "column")),
        }
    }
}

/// Where a label stands: which array, and which row.
pub(crate) type LabelPlace = (usize, usize);

impl<R: Read> Npy<R> {
    /// Reads the header of an array that has so many bytes with its header.
    ///
    /// # Errors
    /// Where it is no array, or one of objects or records, and where its shape and type need another number
    /// of bytes, or more than eight GiB.
    pub(crate) fn open(path: PathBuf, reader: R, bytes: u64) -> Result<Self> {
        let mut reader = Hashed::new(reader);
        let mut start = [0; 12];
        let filled = fill(&mut reader, &mut start[..10]).map_err(|error| fault(&path, error))?;
        if !filled || !start.starts_with(b"\x93NUMPY") {
            return Err(Error::unexpected(Place::File(path), "other bytes", "an array of NumPy"));
        }
        let mut before = 10;
        if start[6] > 1 {
            fill(&mut reader, &mut start[10..]).map_err(|error| fault(&path, error))?;
            before = 12;
        }
        let length = u32::from_le_bytes([start[8], start[9], start[10], start[11]]) as usize;
        if length > LONGEST_HEADER {
            let found = format!("a header of {length} bytes");
            return Err(Error::unexpected(
                Place::File(path),
                found,
                format!("at most {LONGEST_HEADER}"),
            ));
        }
        let mut header = vec![0; length];
        fill(&mut reader, &mut header).map_err(|error| fault(&path, error))?;
        let header = String::from_utf8_lossy(&header).into_owned();
        let parsed = Header::new(&path, &header)?;
        let shape = &parsed.shape;
        let items = shape.iter().try_fold(parsed.size as u64, |all, &n| all.checked_mul(n as u64));
        match items {
            Some(0) => {
                let found = format!("the shape {}", shown(shape));
                Err(Error::unexpected(Place::File(path), found, "at least one item"))
            }
            Some(items) if items <= MOST_BYTES && items + before + length as u64 == bytes => {
                Ok(Self { path, reader, header: parsed })
            }
            Some(items) if items <= MOST_BYTES => {
                let found =
                    format!("{} bytes of items", bytes.saturating_sub(before + length as u64));
                let expected = format!("{items}, for the shape {}", shown(shape));
                Err(Error::unexpected(Place::File(path), found, expected)
                    .hint("fetch the file again"))
            }
            _ => {
                let found = format!("the shape {}", shown(shape));
                Err(Error::unexpected(Place::File(path), found, "at most 8 GiB"))
            }
        }
    }

    /// The number of rows of an array of features, and what each is, by its header alone.
    ///
    /// # Errors
    /// Where it is a single number, or holds no numbers.
    pub(crate) fn shape_of_features(&self) -> Result<(usize, RowShape)> {
        let (kind, size) = (self.header.kind, self.header.size);
        let Some((&rows, rest)) = self.header.shape.split_first() else {
            return Err(self.unexpected("a single number", "an array"));
        };
        if number(kind, size, [0; 8]).is_none() {
            let found = format!("items of type {}{size}", kind as char);
            return Err(self.unexpected(&found, "u1 to i8, f2, f4, f8 or b1"));
        }
        let row = match *rest {
            [height, width] | [height, width, 1] if (kind, size) == (b'u', 1) => {
                RowShape::Image(height, width)
            }
            _ => RowShape::Numbers(rest.iter().product()),
        };
        Ok((rows, row))
    }

    /// The array as features, the number of rows, and the SHA-256 of its bytes.
    pub(crate) fn features(mut self) -> Result<(Features, usize, String)> {
        let (rows, row) = self.shape_of_features()?;
        let (kind, size) = (self.header.kind, self.header.size);
        let (is_fortran, shape) = (self.header.is_fortran, self.header.shape.clone());
        let items = shape.iter().product();
        let features = match row {
            RowShape::Image(height, width) => {
                let mut pixels = with_capacity(items);
                self.items(&mut |item| {
                    pixels.push(item[0]);
                    Ok(())
                })?;
                let pixels = if is_fortran { transposed(&shape, &pixels) } else { pixels };
                Features::Images { height, width, pixels }
            }
            RowShape::Numbers(columns) => {
                let mut cells = with_capacity(items);
                self.items(&mut |item| {
                    cells.push(number(kind, size, item).expect("a type of numbers") as f32);
                    Ok(())
                })?;
                let cells = if is_fortran { transposed(&shape, &cells) } else { cells };
                if let Some(at) = cells.iter().position(|&cell| is_too_large(cell)) {
                    let found =
                        format!("{} in row {}, column x{}", cells[at], at / columns, at % columns);
                    let expected = format!("numbers of at most {LARGEST:e} in size");
                    return Err(self.unexpected(&found, &expected));
                }
                Features::Matrix { columns, cells }
            }
        };
        Ok((features, rows, self.reader.sha256()))
    }

    /// The number of labels, by the header alone.
    ///
    /// # Errors
    /// Where there is not one for each row, or they are neither numbers nor texts.
    pub(crate) fn number_of_labels(&self) -> Result<usize> {
        let ([rows] | [rows, 1]) = self.header.shape[..] else {
            let found = format!("labels of the shape {}", shown(&self.header.shape));
            return Err(self
                .unexpected(&found, "one for each row")
                .hint("if they are one-hot, save the classes: y.argmax(axis=1)"));
        };
        let (kind, size) = (self.header.kind, self.header.size);
        if !self.header.is_text() && number(kind, size, [0; 8]).is_none() {
            let found = format!("labels of type {}{size}", kind as char);
            return Err(self.unexpected(&found, "integers, b1, U or S"));
        }
        if size > LONGEST_TEXT {
            let found = format!("texts of {size} bytes");
            return Err(self.unexpected(&found, format!("at most {LONGEST_TEXT}")));
        }
        Ok(rows)
    }

    /// Adds the array's items to labels; the number of rows, and the SHA-256 of its bytes.
    pub(crate) fn labels(
        mut self,
        labels: &mut LabelTexts<LabelPlace>,
        index: usize,
    ) -> Result<(usize, String)> {
        let rows = self.number_of_labels()?;
        let Header { kind, size, is_big_endian: is_big, .. } = self.header;
        let is_text = self.header.is_text();
        labels.reserve(rows);
        let (path, mut row) = (self.path.clone(), 0);
        self.raw_items(&mut |item| {
            let text = if is_text {
                text(kind, is_big, item)
            } else {
                label(kind, size, padded(item, is_big))
            };
            let Some(text) = text else {
                let found = format!("no class in row {row}");
                return Err(Error::unexpected(Place::file(&path), found, "an integer or a string"));
            };
            labels.push(&text, (index, row));
            row += 1;
            Ok(())
        })?;
        Ok((rows, self.reader.sha256()))
    }

    fn unexpected(&self, found: &str, expected: impl std::fmt::Display) -> Error {
        Error::unexpected(Place::file(&self.path), found, expected)
    }

    /// The items of an array of numbers, each in eight bytes, little end first.
    fn items(&mut self, each: &mut dyn FnMut([u8; 8]) -> Result<()>) -> Result<()> {
        let is_big = self.header.is_big_endian;
        self.raw_items(&mut |item| each(padded(item, is_big)))
    }

    /// The items as they stand in the file.
    fn raw_items(&mut self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left: usize = self.header.shape.iter().product();
        let at_once = (PART / self.header.size).max(1);
        let mut part = filled(0, at_once.min(left) * self.header.size);
        while left > 0 {
            let count = at_once.min(left);
            let part = &mut part[..count * self.header.size];
            if !fill(&mut self.reader, part).map_err(|error| fault(&self.path, error))? {
                return Err(self.unexpected("the end of the file", format!("{left} more items")));
            }
            part.chunks_exact(self.header.size).try_for_each(&mut *each)?;
            left -= count;
        }
        // An archive's checksum is compared at the end.
        fill(&mut self.reader, &mut [0]).map(drop).map_err(|error| fault(&self.path, error))
    }
}

/// Fills a buffer; false if the end comes before.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn fault(path: &PathBuf, source: std::io::Error) -> Error {
    if source.raw_os_error().is_some() || source.kind() == ErrorKind::OutOfMemory {
        return Error::read(path, source);
    }
    Error::input(Place::file(path), format!("corrupt: {source}")).hint("fetch the file again")
}

/// What to do about an array of records.
const PLAIN_RECORDS: &str =
    "save it as plain numbers: numpy.lib.recfunctions.structured_to_unstructured(x)";

/// What a header says: the type of the items is a letter of NumPy's and a number of bytes.
struct Header {
    kind: u8,
    size: usize,
    is_big_endian: bool,
    is_fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn new(path: &Path, header: &str) -> Result<Self> {
        let place = || Place::file(path);
        let refused = |found: &str, hint: &str| {
            Err(Error::unexpected(place(), found, "an array of numbers or strings").hint(hint))
        };
        let descr = after(header, "'descr':").unwrap_or_default();
        let kind = descr.strip_prefix('\'').and_then(|descr| descr.as_bytes().get(1));
        match kind {
            Some(b'O') => {
                let hint = "save it without pickled objects: np.savez_compressed(\"new.npz\", \
                            x=x.astype(\"float32\"), y=y.astype(str))";
                return refused("pickled objects", hint);
            }
            Some(b'M' | b'm') => {
                let hint = "save it as numbers since a start time: (x - x.min()).astype(\"int64\")";
                return refused("dates or durations", hint);
            }
            _ if kind == Some(&b'V') || descr.starts_with('[') => {
                return refused("records", PLAIN_RECORDS);
            }
            _ => {}
        }
        let shape = after(header, "'shape':").and_then(|shape| shape.split_once(')'));
        if let Some((shape, _)) = shape.filter(|(shape, _)| shape.contains('-')) {
            let found = format!("the shape {}", shortened(&format!("{shape})")));
            return Err(
                Error::unexpected(place(), found, "no negative size").hint("fetch the file again")
            );
        }
        let Some(parsed) = Self::of_plain_items(header) else {
            let found = format!("the header {}", shortened(header.trim_end()));
            return refused(&found, "save it anew with np.save or np.savez_compressed");
        };
        if parsed.shape.len() > MOST_DIMENSIONS {
            let found = counted(parsed.shape.len(), "dimension");
            return Err(Error::unexpected(place(), found, format!("at most {MOST_DIMENSIONS}")));
        }
        Ok(parsed)
    }

    /// Reads the header of an array of numbers or texts; nothing for another.
    fn of_plain_items(header: &str) -> Option<Self> {
        let descr = after(header, "'descr':")?.strip_prefix('\'')?.split_once('\'')?.0;
        let (&order, rest) = descr.as_bytes().split_first()?;
        let (&kind, size) = rest.split_first()?;
        let size: usize = std::str::from_utf8(size).ok()?.parse().ok()?;
        // Texts have four bytes for each character.
        let size = if kind == b'U' { size.checked_mul(4)? } else { size };
        let fortran = after(header, "'fortran_order':")?;
        let is_fortran = fortran.starts_with("True");
        let shape = after(header, "'shape':")?.strip_prefix('(')?.split_once(')')?.0;
        let shape = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = shape.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()?;
        let is_known = matches!(kind, b'b' | b'i' | b'u' | b'f' | b'U' | b'S' | b'c');
        let is_known = is_known && (is_fortran || fortran.starts_with("False"));
        is_known.then_some(Self { kind, size, is_big_endian: order == b'>', is_fortran, shape })
    }

    fn is_text(&self) -> bool {
        matches!(self.kind, b'U' | b'S')
    }
}

/// What stands behind a key of a header.
fn after<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    header.split_once(key).map(|(_, value)| value.trim_start())
}

/// A shape as NumPy writes it.
fn shown(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let end = if shape.len() == 1 { ",)" } else { ")" };
    shortened(&format!("({}{end}", sizes.join(", "))).into_owned()
}

/// An item of at most eight bytes, little end first.
fn padded(item: &[u8], is_big_endian: bool) -> [u8; 8] {
    let mut bytes = [0; 8];
    let size = item.len().min(8);
    bytes[..size].copy_from_slice(&item[..size]);
    if is_big_endian {
        bytes[..size].reverse();
    }
    bytes
}

/// A number; nothing for another type.
fn number(kind: u8, size: usize, bytes: [u8; 8]) -> Option<f64> {
    let all = u64::from_le_bytes(bytes);
    Some(match (kind, size) {
        (b'b', 1) => f64::from(u8::from(all != 0)),
        (b'u', 1 | 2 | 4 | 8) => all as f64,
        (b'i', 1) => f64::from(all as i8),
        (b'i', 2) => f64::from(all as i16),
        (b'i', 4) => f64::from(all as i32),
        (b'i', 8) => all as i64 as f64,
        (b'f', 2) => f16::from_bits(all as u16).to_f64(),
        (b'f', 4) => f64::from(f32::from_bits(all as u32)),
        (b'f', 8) => f64::from_bits(all),
        _ => return None,
    })
}

/// A label that is no text, as text; nothing if it is missing.
fn label(kind: u8, size: usize, bytes: [u8; 8]) -> Option<String> {
    let all = u64::from_le_bytes(bytes);
    match kind {
        b'b' => Some(if all == 0 { "False" } else { "True" }.to_string()),
        b'u' => Some(all.to_string()),
        b'i' => {
            let above = 64 - 8 * size as u32;
            Some((((all << above) as i64) >> above).to_string())
        }
        _ => number(kind, size, bytes).filter(|number| !number.is_nan()).map(|it| it.to_string()),
    }
}

/// A text, which zeros fill up; nothing if it is missing or is none.
fn text(kind: u8, is_big_endian: bool, item: &[u8]) -> Option<String> {
    let text = if kind == b'S' {
        std::str::from_utf8(item).ok()?.to_string()
    } else {
        let code = |bytes: &[u8]| u64::from_le_bytes(padded(bytes, is_big_endian)) as u32;
        item.chunks_exact(4).map(|bytes| char::from_u32(code(bytes))).collect::<Option<String>>()?
    };
    let text = text.trim_end_matches('\0').trim();
    (!is_missing(text)).then(|| text.to_string())
}

/// Items whose first dimension is the fastest, as items whose last is.
fn transposed<T: Copy>(shape: &[usize], items: &[T]) -> Vec<T> {
    let view = ArrayView::from_shape(IxDyn(shape).f(), items);
    collected(items.len(), view.expect("as many items as the shape has").iter().copied())
}
