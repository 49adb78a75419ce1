//! Models.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rookie::train::model::Model;

fuzz_target!(|file: &[u8]| {
    if let Ok(model) = Model::from_bytes(file) {
        let written = model.to_bytes();
        assert_eq!(Model::from_bytes(&written).unwrap().to_bytes(), written);
    }
});
