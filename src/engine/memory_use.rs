//! How much memory training takes, estimated from the sizes of networks and batches.

use crate::bf16::instructions::Precision;
use crate::data::batches::Batching;
use crate::data::shape::DataShape;
use crate::memory::{Room, Size, can_allocate};
use crate::network::params::Params;
use crate::train::checked::Checked;
use crate::train::hyperparams::Hyperparams;

/// Of a float32.
const FLOAT: u64 = 4;

/// Bytes of a run in progress: its networks, the buffers of a step, and a checkpoint while it is written.
pub fn run_bytes(values: &Hyperparams, shape: DataShape) -> u64 {
    let units = values.hidden.iter().map(|&width| width as u64).sum::<u64>();
    let sizes: Vec<usize> = [&[shape.inputs], &values.hidden[..], &[shape.classes]].concat();
    let network = FLOAT * Params::count(&sizes).unwrap_or(u64::MAX / 64);
    // The weights, the best weights, and the velocity. A checkpoint holds all of them, and each is
    // copied while it is added to that.
    let networks = if values.momentum > 0.0 { 3 } else { 2 };
    let images = values.batch_size.min(shape.train.max(shape.test)) as u64;
    // Outputs and gradients of each layer; a batch that is drawn anew.
    let drawn = if values.reshuffle { shape.inputs as u64 } else { 0 };
    let buffers = FLOAT * images * (2 * units + shape.classes as u64 + drawn);
    // In bf16, a step also has operands of its own: about the network and the buffers again.
    let packed = if values.precision == Precision::Bf16 { network + buffers } else { 0 };
    3 * networks * network + buffers + packed
}

/// Bytes of the batches that runs with this split share.
pub fn batches_bytes(batching: Batching, shape: DataShape) -> u64 {
    let fixed =
        if batching.reshuffle { batching.validation_size.of(shape.train) } else { shape.train };
    let drawn = if batching.reshuffle { shape.train } else { 0 };
    let floats = (fixed + shape.test) as u64 * shape.inputs as u64 * FLOAT;
    floats + drawn as u64 * shape.inputs as u64
}

/// Why a run with these values cannot be trained, even by itself: how much it needs and what there is.
pub fn too_large(values: &Checked, shape: DataShape, room: &Room) -> Option<String> {
    let needed = run_bytes(values, shape) + batches_bytes(values.batching(), shape);
    if let Some((needed, left)) = room.lacks(needed, 1) {
        return Some(format!("needs about {} of memory, but {left}", Size(needed)));
    }
    let can = can_allocate(run_bytes(values, shape));
    (!can).then(|| {
        format!("needs about {} of memory, but the system refuses to allocate it", Size(needed))
    })
}
