//! Predictions: as a gzip, and packed into one so that they get past its checksum.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rookie::data::gzip::packed;
use rookie::train::predictions::{Expected, from_bytes};

fuzz_target!(|file: &[u8]| {
    let labels: Vec<u8> = (0..8).map(|image| image % 2).collect();
    for correct in 0..=8 {
        let expected = Expected { labels: &labels, classes: 2, correct };
        for gzip in [file.to_vec(), packed(file)] {
            if let Ok(predictions) = from_bytes(&gzip, expected) {
                let right = predictions.iter().zip(&labels).filter(|(a, b)| a == b);
                assert_eq!((predictions.len(), right.count()), (8, correct));
            }
        }
    }
});
