//! What a training step in bf16 does with a layer: products of tiles, block by block, and what follows each.

use crate::bf16::images::PackedImages;
use crate::bf16::instructions::{Instructions, Vectorised};
use crate::bf16::kernels::{Configured, address};
use crate::bf16::tiles::{Block, EDGE, blocks};
use crate::network::mlp::Activation;
use crate::network::packed_layer::PackedLayer;
use crate::network::update::StepUpdate;

/// What is done with a layer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'x> {
    /// Its outputs, packed, or the logits without their biases; with the scale of the weights.
    Forward(Activation, f32, &'x PackedImages),
    /// The gradient of the outputs of the layer below, packed; with the scale and the number of images.
    Backward(Activation, f32, usize),
    /// The update of its weights and biases.
    Update(StepUpdate, &'x PackedImages),
}

/// A part of a step.
pub(super) struct Pass<'n> {
    pub(super) instructions: Instructions,
    pub(super) tiles: &'n Configured,
    pub(super) layers: &'n mut [PackedLayer],
    pub(super) logits: &'n mut [f32], // (N, C)
    pub(super) product: &'n mut Block,
    pub(super) index: usize, // of the layer
    pub(super) part: Part<'n>,
}

impl Vectorised for Pass<'_> {
    #[inline(always)]
    fn run(self) {
        match self.part {
            Part::Forward(activation, scale, x) => self.forward((activation, scale), x),
            Part::Backward(activation, scale, images) => self.backward((activation, scale), images),
            Part::Update(now, x) => self.update(now, x),
        }
    }
}

/// The places of the blocks of a matrix, row by row.
#[inline(always)]
fn places(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
}

impl Pass<'_> {
    #[inline(always)]
    fn forward(self, (activation, scale): (Activation, f32), x: &PackedImages) {
        let Self { instructions, tiles, layers, logits, product, index, .. } = self;
        let images = blocks(x.images());
        let is_last = index == layers.len() - 1;
        let (before, at) = layers.split_at_mut(index);
        let a = before.last().map_or(x.by_image(), |layer| &layer.a_by_image);
        let layer = &mut at[0];
        let (of_inputs, of_outputs) = (blocks(layer.inputs), blocks(layer.outputs));
        let mut all_biases = Block::ZERO;
        for (row, column) in places(images, of_outputs) {
            let left = &a[row * of_inputs..][..of_inputs];
            let right = &layer.forward[column * of_inputs..][..of_inputs];
            let next = address(a, (row + 1) * of_inputs).wrapping_add(column * of_inputs * 128);
            let ahead = [next, address(&product.0, 0)];
            instructions.multiply(tiles, left, right, product, ahead);
            if is_last {
                product.0.iter_mut().for_each(|z| *z *= scale);
                product.copy_to(logits, layer.outputs, (row * EDGE, column * EDGE));
                continue;
            }
            let biases = layer.biases[column * EDGE..].first_chunk().expect("in blocks");
            let packed = &mut layer.a_by_image[row * of_outputs + column];
            let transposed = &mut layer.a_by_unit[column * images + row];
            if activation == Activation::Relu {
                instructions.relu_lefts(product, (scale, biases), packed, transposed);
                continue;
            }
            // A block of biases, so that the compiler sees one loop and not a row's 32 turns, which it
            // would unroll before it looks for vectors.
            all_biases.0.as_chunks_mut().0.fill(*biases);
            activation.forward(scale, &mut product.0, &all_biases.0);
            let width = layer.outputs - column * EDGE;
            // Only sigmoid makes something else of the zeros that pad the product.
            if width < EDGE && activation == Activation::Sigmoid {
                product.0.chunks_exact_mut(EDGE).for_each(|row| row[width..].fill(0.0));
            }
            instructions.pack_lefts(product, packed, transposed);
        }
    }

    #[inline(always)]
    fn backward(self, (activation, scale): (Activation, f32), images: usize) {
        let Self { instructions, tiles, layers, product, index, .. } = self;
        let images = blocks(images);
        let (below, at) = layers.split_at_mut(index);
        let (below, layer) = (below.last_mut().expect("not the first layer"), &at[0]);
        let (of_inputs, of_outputs) = (blocks(layer.inputs), blocks(layer.outputs));
        below.d_biases.fill(0.0);
        let mut a = Block::ZERO;
        for (row, column) in places(images, of_inputs) {
            let left = &layer.d_left[row * of_outputs..][..of_outputs];
            let right = &layer.backward[column * of_outputs..][..of_outputs];
            let ahead = [address(&product.0, 0); 2];
            instructions.multiply(tiles, left, right, product, ahead);
            let mut sums = [0.0; EDGE];
            let outputs = &below.a_by_image[row * of_inputs + column];
            let left = below.d_left.get_mut(row * of_inputs + column);
            let right = &mut below.d_right[column * images + row];
            if activation == Activation::Relu {
                instructions.undo_relu_both(product, (scale, outputs), &mut sums, left, right);
            } else {
                outputs.unpack(&mut a);
                activation.undo(scale, &mut product.0, &a.0);
                for row in product.0.chunks_exact(EDGE) {
                    sums.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
                }
                instructions.pack_both(product, left, right);
            }
            let d_biases = &mut below.d_biases[column * EDGE..][..EDGE];
            d_biases.iter_mut().zip(&sums).for_each(|(total, sum)| *total += sum);
        }
    }

    #[inline(always)]
    fn update(self, now: StepUpdate, x: &PackedImages) {
        let Self { instructions, tiles, layers, product, index, .. } = self;
        let images = blocks(x.images());
        let (below, at) = layers.split_at_mut(index);
        let a = below.last().map_or(x.by_feature(), |below| &below.a_by_unit);
        let layer = &mut at[0];
        let (of_inputs, of_outputs) = (blocks(layer.inputs), blocks(layer.outputs));
        for (row, column) in places(of_inputs, of_outputs) {
            let left = &a[row * images..][..images];
            let right = &layer.d_right[column * images..][..images];
            let next = address(a, (row + 1) * images).wrapping_add(column * images * 128);
            let ahead = [next, address(&layer.weights, row * of_outputs + column)];
            instructions.multiply(tiles, left, right, product, ahead);
            layer.update((row, column), product, now, instructions);
        }
        layer.update_biases(now);
    }
}
