//! One array of NumPy, as a file or as a member of an archive: a magic number, a header that is a Python
//! dictionary of one line, then the items.
//!
//! The crates for this format multiply the sizes of a shape unchecked, parse nested headers by recursion, or
//! know no texts. NumPy itself writes one form of header alone, and that is what is read here.

use std::io::Read;
use std::path::PathBuf;

use half::f16;
use ndarray::{ArrayView, IxDyn, ShapeBuilder};

use crate::data::arrays::Features;
use crate::data::table::{Hashed, LARGEST, LabelTexts, is_missing, is_too_large};
use crate::error::{Error, Place, Result};
use crate::text::shortened;

/// The longest header; NumPy itself reads no longer one.
const LONGEST_HEADER: usize = 10_000;
/// The longest text of a label, in bytes.
const LONGEST_TEXT: usize = 4096;
/// The most bytes of an array.
const MOST_BYTES: u64 = 8 << 30;
/// How much is read at once.
const PART: usize = 1 << 16;

/// An array whose header is read.
pub(crate) struct Npy<R> {
    /// What it is called in messages.
    path: PathBuf,
    reader: Hashed<R>,
    header: Header,
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
        let parsed = Header::new(&header).ok_or_else(|| {
            let found = format!("the header {}", shortened(header.trim_end()));
            let place = Place::File(path.clone());
            Error::unexpected(place, found, "an array of numbers or strings").hint(
                "save it without pickled objects: np.savez_compressed(\"new.npz\", \
                 x=x.astype(\"float32\"), y=y.astype(str))",
            )
        })?;
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

    /// The array as features, the number of rows, and the SHA-256 of its bytes.
    pub(crate) fn features(mut self) -> Result<(Features, usize, String)> {
        let (kind, size) = (self.header.kind, self.header.size);
        let (is_fortran, shape) = (self.header.is_fortran, self.header.shape.clone());
        let Some((&rows, rest)) = shape.split_first() else {
            return Err(self.unexpected("a single number", "an array"));
        };
        if number(kind, size, [0; 8]).is_none() {
            let found = format!("items of type {}{size}", kind as char);
            return Err(self.unexpected(&found, "u1 to i8, f2, f4, f8 or b1"));
        }
        let features = match *rest {
            [height, width] | [height, width, 1] if (kind, size) == (b'u', 1) => {
                let mut pixels = Vec::new();
                self.items(&mut |item| {
                    pixels.push(item[0]);
                    Ok(())
                })?;
                let pixels = if is_fortran { transposed(&shape, &pixels) } else { pixels };
                Features::Images { height, width, pixels }
            }
            _ => {
                let mut cells = Vec::new();
                self.items(&mut |item| {
                    cells.push(number(kind, size, item).expect("a type of numbers") as f32);
                    Ok(())
                })?;
                let cells = if is_fortran { transposed(&shape, &cells) } else { cells };
                let columns = rest.iter().product();
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

    /// Adds the array's items to labels; the number of rows, and the SHA-256 of its bytes.
    pub(crate) fn labels(
        mut self,
        labels: &mut LabelTexts<LabelPlace>,
        index: usize,
    ) -> Result<(usize, String)> {
        let ([rows] | [rows, 1]) = self.header.shape[..] else {
            let found = format!("labels of the shape {}", shown(&self.header.shape));
            return Err(self
                .unexpected(&found, "one for each row")
                .hint("if they are one-hot, save the classes: y.argmax(axis=1)"));
        };
        let (kind, size, is_big) = (self.header.kind, self.header.size, self.header.is_big_endian);
        let is_text = matches!(kind, b'U' | b'S');
        if !is_text && number(kind, size, [0; 8]).is_none() {
            let found = format!("labels of type {}{size}", kind as char);
            return Err(self.unexpected(&found, "integers, b1, U or S"));
        }
        if size > LONGEST_TEXT {
            let found = format!("texts of {size} bytes");
            return Err(self.unexpected(&found, format!("at most {LONGEST_TEXT}")));
        }
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

    /// The items as they stand in the file. Memory grows with what is there, not with what is promised.
    fn raw_items(&mut self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left: usize = self.header.shape.iter().product();
        let at_once = (PART / self.header.size).max(1);
        let mut part = vec![0; at_once.min(left) * self.header.size];
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
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn fault(path: &PathBuf, source: std::io::Error) -> Error {
    if source.raw_os_error().is_some() {
        return Error::read(path, source);
    }
    Error::input(Place::file(path), format!("corrupt: {source}")).hint("fetch the file again")
}

/// What a header says: the type of the items is a letter of NumPy's and a number of bytes.
struct Header {
    kind: u8,
    size: usize,
    is_big_endian: bool,
    is_fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`; nothing for another type than a
    /// number or a text.
    fn new(header: &str) -> Option<Self> {
        let after = |key: &str| header.split_once(key).map(|(_, value)| value.trim_start());
        let descr = after("'descr':")?.strip_prefix('\'')?.split_once('\'')?.0;
        let (&order, rest) = descr.as_bytes().split_first()?;
        let (&kind, size) = rest.split_first()?;
        let size: usize = std::str::from_utf8(size).ok()?.parse().ok()?;
        // Texts have four bytes for each character.
        let size = if kind == b'U' { size.checked_mul(4)? } else { size };
        let fortran = after("'fortran_order':")?;
        let is_fortran = fortran.starts_with("True");
        let shape = after("'shape':")?.strip_prefix('(')?.split_once(')')?.0;
        let shape = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = shape.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()?;
        let is_known = matches!(kind, b'b' | b'i' | b'u' | b'f' | b'U' | b'S' | b'c' | b'M' | b'm');
        let is_known =
            is_known && (is_fortran || fortran.starts_with("False")) && shape.len() <= 32;
        is_known.then_some(Self { kind, size, is_big_endian: order == b'>', is_fortran, shape })
    }
}

/// A shape as NumPy writes it.
fn shown(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let end = if shape.len() == 1 { ",)" } else { ")" };
    format!("({}{end}", sizes.join(", "))
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
    view.expect("as many items as the shape has").iter().copied().collect()
}
