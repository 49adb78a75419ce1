//! gzip: packed to the same bytes every time, and unpacked within a bound. The only module that uses it.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use crate::error::{Error, Place};

/// A gzip may unpack to so many times its size; Fashion-MNIST's do to seven times.
pub(crate) const MOST_PACKED: u64 = 100;
/// A gzip may unpack to so many bytes, however small it is.
const ALWAYS_UNPACKED: u64 = 1 << 20;

/// To how many bytes a packed file of this length may unpack.
pub(crate) fn most_unpacked(length: u64) -> u64 {
    length.saturating_mul(MOST_PACKED).max(ALWAYS_UNPACKED)
}

/// A gzip while it is unpacked, up to a bound: a small file must not fill the memory.
///
/// Several members in a row are one file, and zeros after the last are padding, as for `gzip`.
pub(crate) struct Unpacked<R> {
    member: Option<GzDecoder<R>>, // none after the last
    left: u64,
}

/// Unpacks a gzip; reading more than `most` bytes of it fails with [`ErrorKind::QuotaExceeded`].
pub(crate) fn unpacked<R: BufRead>(gzip: R, most: u64) -> Unpacked<R> {
    Unpacked { member: Some(GzDecoder::new(gzip)), left: most }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while let Some(member) = self.member.as_mut().filter(|_| count == 0 && !buffer.is_empty()) {
            count = member.read(buffer)?;
            if count == 0 {
                let rest = self.member.take().expect("it was read from").into_inner();
                self.member = next_member(rest)?;
            }
        }
        self.left = self.left.checked_sub(count as u64).ok_or(ErrorKind::QuotaExceeded)?;
        Ok(count)
    }
}

/// What follows a member: another, or nothing but zeros.
fn next_member<R: BufRead>(mut rest: R) -> io::Result<Option<GzDecoder<R>>> {
    let mut is_padded = false;
    loop {
        let bytes = rest.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        match bytes.get(zeros) {
            None if bytes.is_empty() => return Ok(None),
            None => {}
            // The first byte of a member; what follows it is checked with its header.
            Some(0x1f) if zeros == 0 && !is_padded => return Ok(Some(GzDecoder::new(rest))),
            Some(_) => {
                let problem = "bytes after its end are not gzip";
                return Err(io::Error::new(ErrorKind::InvalidData, problem));
            }
        }
        is_padded = true;
        rest.consume(zeros);
    }
}

/// The contents of a file of so many bytes, unpacked if it begins as a gzip does. [`fault`] explains the
/// errors.
pub(crate) fn contents<'a>(
    mut file: impl BufRead + 'a,
    length: u64,
) -> io::Result<Box<dyn Read + 'a>> {
    if file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(unpacked(file, most_unpacked(length))))
    } else {
        Ok(Box::new(file))
    }
}

/// What went wrong while [`contents`] were read.
pub(crate) fn fault(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        ErrorKind::QuotaExceeded => {
            let expected = format!("at most {MOST_PACKED} times its size");
            Error::unexpected(Place::file(path), "a gzip that unpacks to more", expected)
                .hint("unpack it with gunzip, if its contents are that plain")
        }
        kind if source.raw_os_error().is_none() && kind != ErrorKind::OutOfMemory => {
            Error::input(Place::file(path), format!("corrupt gzip: {source}"))
                .hint("fetch the file again")
        }
        _ => Error::read(path, source),
    }
}

/// Packs bytes. Neither a time nor a name goes into the header.
pub(crate) fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let into_memory = "writing into memory does not fail";
    gzip.write_all(bytes).expect(into_memory);
    gzip.finish().expect(into_memory)
}
