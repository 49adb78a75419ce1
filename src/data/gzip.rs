//! gzip: packed to the same bytes every time, and unpacked within a bound. The only door to it.

use std::io::{self, BufRead, ErrorKind, Read, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

/// A gzip while it is unpacked, up to a bound: a small file must not fill the memory.
pub(crate) struct Unpacked<R> {
    gzip: MultiGzDecoder<R>,
    left: u64,
}

/// Unpacks a gzip; reading more than `most` bytes of it fails with [`ErrorKind::QuotaExceeded`].
pub(crate) fn unpacked<R: BufRead>(gzip: R, most: u64) -> Unpacked<R> {
    Unpacked { gzip: MultiGzDecoder::new(gzip), left: most }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.gzip.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or(ErrorKind::QuotaExceeded)?;
        Ok(count)
    }
}

/// Packs bytes. Neither a time nor a name goes into the header.
pub(crate) fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let into_memory = "writing into memory does not fail";
    gzip.write_all(bytes).expect(into_memory);
    gzip.finish().expect(into_memory)
}
