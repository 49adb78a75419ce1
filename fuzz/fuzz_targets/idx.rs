//! Data files: plain, and gzipped if they begin so.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rookie::data::idx::from_bytes;

fuzz_target!(|file: &[u8]| {
    for dimensions in [1, 3] {
        if let Ok(idx) = from_bytes(Path::new("file"), file, dimensions) {
            assert_eq!(idx.bytes.len(), idx.dimensions.iter().product::<usize>());
        }
    }
});
