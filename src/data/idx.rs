//! One IDX file, plain or gzipped. The only module that reads data files.
//!
//! IDX is the format of MNIST: two zero bytes, a type byte (8: unsigned bytes), the number of
//! dimensions, each dimension as a big-endian 32-bit number, then the items. A gzip file is recognised by its
//! first two bytes, not by its name. What a header promises is never believed before the bytes are
//! there: memory grows with what is read, reading stops one byte after the promise, and a gzip that
//! unpacks to a hundred times its size is not unpacked further.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::data::file;
use crate::data::gzip;
use crate::error::{Error, Place, Result, counted};

/// The type byte of unsigned bytes, the only one that image data sets use.
const UNSIGNED_BYTE: u8 = 8;

/// The contents of an IDX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    /// The file that it came from, for messages.
    pub path: PathBuf,
    /// Items, then the size of each: `[60000, 28, 28]` for images, `[60000]` for labels.
    pub dimensions: Vec<usize>,
    /// The items, one byte each, last dimension fastest.
    pub bytes: Vec<u8>,
    /// SHA-256 of header and items as they are unpacked, in hexadecimal: the same for a gzipped
    /// file and a plain one.
    pub sha256: String,
}

/// Reads an IDX file of unsigned bytes with the requested number of dimensions.
///
/// # Errors
/// [`Error::Read`] where the system cannot read the file or the gzip is corrupt, and
/// [`Error::Input`] where the file is empty, has another magic number, another number of
/// dimensions, or fewer or more bytes than its header promises.
pub fn read(path: &Path, dimensions: usize) -> Result<Idx> {
    let (file, length) = file::open(path, "an IDX file")?;
    unpack(path, BufReader::with_capacity(1 << 16, file), length, dimensions)
}

/// Reads what [`read`] does from the bytes of a file; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(path: &Path, bytes: &[u8], dimensions: usize) -> Result<Idx> {
    unpack(path, bytes, bytes.len() as u64, dimensions)
}

fn unpack(path: &Path, mut file: impl BufRead, length: u64, dimensions: usize) -> Result<Idx> {
    if file.fill_buf().map_err(|source| Error::read(path, source))?.is_empty() {
        return Err(Error::unexpected(Place::file(path), "an empty file", "an IDX file"));
    }
    let contents = gzip::contents(file, length);
    contents
        .map_err(|source| Error::read(path, source))
        .and_then(|mut contents| parse(path, &mut contents, dimensions))
        .map_err(|error| match error {
            Error::Read { path, source } => gzip::fault(&path, source),
            other => other,
        })
}

/// SHA-256 of an IDX file with these dimensions and items.
pub fn hash(dimensions: &[usize], items: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update([0, 0, UNSIGNED_BYTE, dimensions.len() as u8]);
    for &size in dimensions {
        hash.update((size as u32).to_be_bytes());
    }
    hash.update(items);
    hexadecimal(&hash.finalize())
}

/// A hash as it is written.
pub fn hexadecimal(hash: &[u8]) -> String {
    let digit = |four_bits: u8| char::from_digit(u32::from(four_bits), 16).expect("below 16");
    hash.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Parses what a file unpacks to.
fn parse(path: &Path, reader: &mut dyn Read, expected_dimensions: usize) -> Result<Idx> {
    let mut hash = Sha256::new();
    let magic: [u8; 4] = header(path, reader, 0)?;
    hash.update(magic);
    let place = || Place::Byte(path.to_path_buf(), 0);
    if magic[..2] != [0, 0] {
        let found = format!("the bytes {:02x} {:02x}", magic[0], magic[1]);
        return Err(Error::unexpected(place(), found, "00 00, the start of an IDX file"));
    }
    if magic[2] != UNSIGNED_BYTE {
        let found = format!("type {:#04x}", magic[2]);
        return Err(Error::unexpected(place(), found, "0x08, unsigned bytes"));
    }
    if magic[3] as usize != expected_dimensions {
        let what = if expected_dimensions == 1 { "labels" } else { "images" };
        return Err(Error::unexpected(
            place(),
            counted(usize::from(magic[3]), "dimension"),
            format!("{expected_dimensions} ({what})"),
        ));
    }
    let mut dimensions = Vec::with_capacity(expected_dimensions);
    for index in 0..expected_dimensions {
        let field: [u8; 4] = header(path, reader, 4 + 4 * index as u64)?;
        hash.update(field);
        dimensions.push(u32::from_be_bytes(field) as usize);
    }
    let promised = dimensions.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
    let promised = promised.filter(|&n| n < isize::MAX as usize).ok_or_else(|| {
        let found = format!("a header that promises {dimensions:?} bytes");
        Error::unexpected(Place::file(path), found, "a size that fits into memory")
    })?;
    if promised == 0 {
        let found = format!("the dimensions {dimensions:?}");
        return Err(Error::unexpected(Place::file(path), found, "at least one item"));
    }
    let bytes = items(path, reader, promised)?;
    hash.update(&bytes);
    let sha256 = hexadecimal(&hash.finalize());
    Ok(Idx { path: path.to_path_buf(), dimensions, bytes, sha256 })
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
