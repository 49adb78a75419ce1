//! One IDX file, plain or gzipped.
//!
//! IDX is the format of MNIST: two zero bytes, a type byte ([`ItemType`]), the number of dimensions, each
//! dimension as a big-endian 32-bit number, then the items, big-endian too. A gzip file is recognised by its
//! first two bytes, not by its name. What a header promises is never believed before the bytes are
//! there: memory grows with what is read, reading stops one byte after the promise, and a gzip that
//! unpacks to a hundred times its size is not unpacked further.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::data::features::Features;
use crate::data::file;
use crate::data::gzip;
use crate::error::{Error, Place, Result, counted};
use crate::memory::collected;
use crate::text::shortened;

/// What an item of a file is; the discriminant is its type byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemType {
    /// An unsigned byte: a grey value, or a label.
    U8 = 0x08,
    /// A signed byte.
    I8 = 0x09,
    /// A signed integer of 2 bytes.
    I16 = 0x0b,
    /// A signed integer of 4 bytes.
    I32 = 0x0c,
    /// A float32.
    F32 = 0x0d,
    /// A float64.
    F64 = 0x0e,
}

impl ItemType {
    const ALL: [Self; 6] = [Self::U8, Self::I8, Self::I16, Self::I32, Self::F32, Self::F64];

    /// The bytes of an item.
    fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// An item from its bytes; float64 holds the values of all types.
    fn value(self, item: &[u8]) -> f64 {
        fn array<const SIZE: usize>(item: &[u8]) -> [u8; SIZE] {
            item.try_into().expect("the bytes of one item")
        }
        match self {
            Self::U8 => f64::from(item[0]),
            Self::I8 => f64::from(i8::from_be_bytes(array(item))),
            Self::I16 => f64::from(i16::from_be_bytes(array(item))),
            Self::I32 => f64::from(i32::from_be_bytes(array(item))),
            Self::F32 => f64::from(f32::from_be_bytes(array(item))),
            Self::F64 => f64::from_be_bytes(array(item)),
        }
    }
}

/// The contents of an IDX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    /// The file that it came from, for messages.
    pub path: PathBuf,
    /// What its items are.
    pub item_type: ItemType,
    /// Rows N, then the size of each: `[60000, 28, 28]` for images, `[60000]` for labels. At least one
    /// dimension, and none is 0.
    pub dimensions: Vec<usize>,
    /// The items as the file has them, big-endian, last dimension fastest.
    pub bytes: Vec<u8>,
    /// SHA-256 of header and items as they are unpacked, in hexadecimal: the same for a gzipped
    /// file and a plain one.
    pub sha256: String,
}

impl Idx {
    /// Height and width of a row: 1 × 1 of (N), 1 × D of (N, D), and of (N, height, …) the height and the
    /// product of the others.
    pub fn size(&self) -> (usize, usize) {
        match self.dimensions[1..] {
            [] => (1, 1),
            [width] => (1, width),
            [height, ref rest @ ..] => (height, rest.iter().product()),
        }
    }

    /// Its rows as features (N, height × width): unsigned bytes are grey values, the others numbers.
    ///
    /// # Errors
    /// [`Error::Input`] where a number is not finite or does not fit into float32.
    pub fn features(self) -> Result<Features> {
        let (height, width) = self.size();
        let per_row = height * width;
        if self.item_type == ItemType::U8 {
            return Ok(Features::bytes(self.bytes, per_row));
        }
        let count = self.dimensions.iter().product();
        let values: Vec<f32> = collected(count, self.values().map(|value| value as f32));
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let (row, feature) = (index / per_row, index % per_row);
            let found = format!("{} in row {row}, feature {feature}", values[index]);
            let place = Place::file(&self.path);
            return Err(Error::unexpected(place, found, "finite numbers within float32"));
        }
        Ok(Features::floats(values, per_row))
    }

    /// Its items as labels, one for each row; their type does not matter as long as they are integers.
    ///
    /// # Errors
    /// [`Error::Input`] where it has more than one dimension, or a label is no integer of 32 bits.
    pub fn labels(&self) -> Result<Vec<i32>> {
        if self.dimensions.len() > 1 {
            let place = Place::Byte(self.path.clone(), 0);
            let found = counted(self.dimensions.len(), "dimension");
            return Err(Error::unexpected(place, found, "1 (labels)"));
        }
        let label = |(index, value): (usize, f64)| {
            let label = value as i32;
            if f64::from(label) == value {
                return Ok(label);
            }
            let found = format!("label {value} of row {index}");
            let expected = "classes: integers of at most 32 bits";
            Err(Error::unexpected(Place::file(&self.path), found, expected))
        };
        self.values().enumerate().map(label).collect()
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        let items = self.bytes.chunks_exact(self.item_type.size());
        items.map(|item| self.item_type.value(item))
    }
}

/// Reads an IDX file.
///
/// # Errors
/// [`Error::Read`] where the system cannot read the file or the gzip is corrupt, and
/// [`Error::Input`] where the file is empty, has another magic number, no item, or fewer or more bytes
/// than its header promises.
pub fn read(path: &Path) -> Result<Idx> {
    let (file, length) = file::open(path, "an IDX file")?;
    unpack(path, BufReader::with_capacity(1 << 16, file), length)
}

/// Reads what [`read`] does from the bytes of a file; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Idx> {
    unpack(path, bytes, bytes.len() as u64)
}

fn unpack(path: &Path, mut file: impl BufRead, length: u64) -> Result<Idx> {
    if file.fill_buf().map_err(|source| Error::read(path, source))?.is_empty() {
        return Err(Error::unexpected(Place::file(path), "an empty file", "an IDX file"));
    }
    let contents = gzip::contents(file, length);
    contents
        .map_err(|source| Error::read(path, source))
        .and_then(|mut contents| parse(path, &mut contents))
        .map_err(|error| match error {
            Error::Read { path, source } => gzip::fault(&path, source),
            other => other,
        })
}

/// SHA-256 of an IDX file with these dimensions and items.
pub fn hash(dimensions: &[usize], items: &[u8]) -> String {
    let mut hash = begin_hash(ItemType::U8, dimensions);
    hash.update(items);
    hexadecimal(&hash.finalize())
}

/// The same for items in float32.
pub fn hash_floats(dimensions: &[usize], items: &[f32]) -> String {
    let mut hash = begin_hash(ItemType::F32, dimensions);
    for item in items {
        hash.update(item.to_be_bytes());
    }
    hexadecimal(&hash.finalize())
}

fn begin_hash(item_type: ItemType, dimensions: &[usize]) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update([0, 0, item_type as u8, dimensions.len() as u8]);
    for &size in dimensions {
        hash.update((size as u32).to_be_bytes());
    }
    hash
}

/// A hash as it is written.
pub fn hexadecimal(hash: &[u8]) -> String {
    let digit = |four_bits: u8| char::from_digit(u32::from(four_bits), 16).expect("below 16");
    hash.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Checks the header alone, of the first bytes of a file that are more than it has.
///
/// # Errors
/// As [`read`] where the header is not as it must be.
pub fn check_header(path: &Path, bytes: &[u8]) -> Result<()> {
    let contents = gzip::contents(bytes, bytes.len() as u64);
    let mut contents = contents.map_err(|source| gzip::fault(path, source))?;
    parse_header(path, &mut contents).map(drop)
}

/// What a header says.
struct Header {
    item_type: ItemType,
    dimensions: Vec<usize>,
    /// The bytes of all items.
    promised: usize,
    /// Of the bytes so far.
    hash: Sha256,
}

fn parse_header(path: &Path, reader: &mut dyn Read) -> Result<Header> {
    let mut hash = Sha256::new();
    let magic: [u8; 4] = header(path, reader, 0)?;
    hash.update(magic);
    let place = || Place::Byte(path.to_path_buf(), 0);
    if magic[..2] != [0, 0] {
        let found = format!("the bytes {:02x} {:02x}", magic[0], magic[1]);
        return Err(Error::unexpected(place(), found, "00 00, the start of an IDX file"));
    }
    let of_byte = |it: &ItemType| *it as u8 == magic[2];
    let item_type = ItemType::ALL.into_iter().find(of_byte).ok_or_else(|| {
        let expected = "0x08, 0x09 or 0x0b to 0x0e: integers of 1 to 4 bytes, float32 or float64";
        Error::unexpected(place(), format!("type {:#04x}", magic[2]), expected)
    })?;
    if magic[3] == 0 {
        return Err(Error::unexpected(place(), "a single item", "at least 1 dimension"));
    }
    let mut dimensions = Vec::new();
    for index in 0..magic[3] {
        let field: [u8; 4] = header(path, reader, 4 + 4 * u64::from(index))?;
        hash.update(field);
        dimensions.push(u32::from_be_bytes(field) as usize);
    }
    let promised = dimensions.iter().try_fold(item_type.size(), |n, &size| n.checked_mul(size));
    let promised = promised.filter(|&n| n < isize::MAX as usize).ok_or_else(|| {
        let found = format!("a header that promises {} items", shown(&dimensions));
        Error::unexpected(Place::file(path), found, "a size that fits into memory")
    })?;
    if promised == 0 {
        let found = format!("the dimensions {}", shown(&dimensions));
        return Err(Error::unexpected(Place::file(path), found, "at least one item"));
    }
    Ok(Header { item_type, dimensions, promised, hash })
}

/// Dimensions for a message.
fn shown(dimensions: &[usize]) -> String {
    shortened(&format!("{dimensions:?}")).into_owned()
}

/// Parses what a file unpacks to.
fn parse(path: &Path, reader: &mut dyn Read) -> Result<Idx> {
    let Header { item_type, dimensions, promised, mut hash } = parse_header(path, reader)?;
    let bytes = items(path, reader, promised)?;
    hash.update(&bytes);
    let sha256 = hexadecimal(&hash.finalize());
    Ok(Idx { path: path.to_path_buf(), item_type, dimensions, bytes, sha256 })
}

/// Four bytes of the header, at a position that is named if they are missing.
fn header(path: &Path, reader: &mut dyn Read, position: u64) -> Result<[u8; 4]> {
    let mut field = [0; 4];
    reader.read_exact(&mut field).map_err(|source| match source.kind() {
        ErrorKind::UnexpectedEof => Error::unexpected(
            Place::Byte(path.to_path_buf(), position),
            "the end of the file",
            "an IDX header",
        ),
        _ => Error::read(path, source),
    })?;
    Ok(field)
}

/// The items: as many bytes as promised, no fewer and no more. The vector grows as bytes arrive.
fn items(path: &Path, reader: &mut dyn Read, promised: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(promised as u64 + 1).read_to_end(&mut bytes).map_err(|source| {
        match source.kind() {
            ErrorKind::UnexpectedEof if bytes.len() == promised => {
                Error::input(Place::file(path), "corrupt gzip: its end is damaged")
                    .hint("fetch the file again")
            }
            ErrorKind::UnexpectedEof => Error::unexpected(
                Place::file(path),
                format!("a gzip that ends after {} of items", counted(bytes.len(), "byte")),
                format!("{promised}, as its header promises"),
            ),
            _ => Error::read(path, source),
        }
    })?;
    if bytes.len() == promised {
        bytes.shrink_to_fit();
        return Ok(bytes);
    }
    let found = if bytes.len() < promised {
        format!("{} of items", counted(bytes.len(), "byte"))
    } else {
        "more bytes".to_string()
    };
    Err(Error::unexpected(Place::file(path), found, format!("{promised}, as its header promises"))
        .hint("fetch the file again"))
}
