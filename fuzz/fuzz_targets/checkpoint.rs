//! Checkpoints, and what stands in them behind the checksum.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rookie::train::checkpoint::Checkpoint;

fuzz_target!(|file: &[u8]| {
    let _ = Checkpoint::from_bytes(file);
    let _ = Checkpoint::from_content(file);
});
