//! Data files in a gzip that is whole: what the fuzzer makes is packed, so that it gets past the
//! gzip's own checksum.
#![no_main]

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use rookie::data::idx::from_bytes;

fuzz_target!(|file: &[u8]| {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(file).unwrap();
    let gzip = gzip.finish().unwrap();
    for dimensions in [1, 3] {
        let plain = from_bytes(Path::new("file"), file, dimensions).ok();
        let packed = from_bytes(Path::new("file"), &gzip, dimensions).ok();
        // A gzip in a gzip is no data file.
        if !file.starts_with(&[0x1f, 0x8b]) {
            assert_eq!(plain, packed);
        }
    }
});
