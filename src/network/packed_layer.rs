//! A layer of a network that trains in bf16: its weights in blocks of float32, updated and packed block by
//! block, and the buffers of a step.

use ndarray::Array2;

use crate::bf16::instructions::Instructions;
use crate::bf16::room::{Buffer, Room};
use crate::bf16::tiles::{Block, EDGE, Tiles, blocks};
use crate::network::params::Layer;
use crate::network::update::{Product, SlotsOf, StepUpdate, Target};

/// A layer from D or H inputs to H or C outputs, both in blocks, with what belongs to its output. All that
/// pads them is zero.
#[derive(Debug, Clone)]
pub(super) struct PackedLayer {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) weights: Buffer<Block>,    // V (inputs, outputs)
    pub(super) slots: Vec<Buffer<Block>>, // (inputs, outputs) each
    pub(super) forward: Buffer<Tiles>,    // V as a right operand (outputs, inputs)
    pub(super) backward: Buffer<Tiles>, // Vᵀ as a right operand (inputs, outputs); not of the first layer
    pub(super) biases: Vec<f32>,        // (outputs)
    pub(super) bias_slots: Vec<Vec<f32>>, // (outputs) each
    pub(super) d_biases: Vec<f32>,      // (outputs)
    pub(super) a_by_image: Buffer<Tiles>, // outputs as a left operand (N, outputs); not of the last layer
    pub(super) a_by_unit: Buffer<Tiles>,  // the same transposed (outputs, N)
    pub(super) d_left: Buffer<Tiles>, // gradients of z as a left operand (N, outputs); not of the first
    pub(super) d_right: Buffer<Tiles>, // and as a right operand (outputs, N)
}

impl PackedLayer {
    /// Layer `index` of a network of these sizes (D, each H, C), for so many images.
    pub(super) fn new(
        index: usize,
        (sizes, images, slots): (&[usize], usize, usize),
        room: &mut Room,
    ) -> Self {
        let (inputs, outputs) = (sizes[index], sizes[index + 1]);
        let (is_first, is_last) = (index == 0, index + 2 == sizes.len());
        let (i, o, n) = (blocks(inputs), blocks(outputs), blocks(images));
        let weights = room.filled(Block::ZERO, i * o);
        let slot_blocks = (0..slots).map(|_| room.filled(Block::ZERO, i * o)).collect();
        let mut tiles =
            |count, is_needed| room.filled(Tiles::ZERO, if is_needed { count } else { 0 });
        Self {
            inputs,
            outputs,
            weights,
            slots: slot_blocks,
            forward: tiles(i * o, true),
            backward: tiles(i * o, !is_first),
            biases: vec![0.0; o * EDGE],
            bias_slots: vec![vec![0.0; o * EDGE]; slots],
            d_biases: vec![0.0; o * EDGE],
            a_by_image: tiles(n * o, !is_last),
            a_by_unit: tiles(n * o, !is_last),
            d_left: tiles(n * o, !is_first),
            d_right: tiles(n * o, true),
        }
    }

    /// Takes a layer in float32.
    pub(super) fn load(&mut self, layer: &Layer, slots: &[Layer], instructions: Instructions) {
        let (of_inputs, of_outputs) = (blocks(self.inputs), blocks(self.outputs));
        let copy = |to: &mut [Block], from: &Array2<f32>| {
            let from = from.as_slice().expect("rows one after the other");
            for (index, block) in to.iter_mut().enumerate() {
                let at = (index / of_outputs * EDGE, index % of_outputs * EDGE);
                *block = Block::ZERO;
                block.copy_from(from, self.outputs, at);
            }
        };
        copy(&mut self.weights, &layer.weights);
        let outputs = self.outputs;
        let copy_biases = |to: &mut [f32], from: &Layer| {
            to[..outputs].copy_from_slice(from.biases.as_slice().expect("contiguous"));
            to[outputs..].fill(0.0);
        };
        copy_biases(&mut self.biases, layer);
        for ((to, to_biases), from) in self.slots.iter_mut().zip(&mut self.bias_slots).zip(slots) {
            copy(to, &from.weights);
            copy_biases(to_biases, from);
        }
        for row in 0..of_inputs {
            for column in 0..of_outputs {
                self.pack(row, column, instructions);
            }
        }
    }

    /// Gives the layer back in float32.
    pub(super) fn store(&self, layer: &mut Layer, slots: &mut [Layer]) {
        let of_outputs = blocks(self.outputs);
        let copy = |from: &[Block], from_biases: &[f32], to: &mut Layer| {
            let (weights, biases) = to.as_slices_mut();
            for (index, block) in from.iter().enumerate() {
                let at = (index / of_outputs * EDGE, index % of_outputs * EDGE);
                block.copy_to(weights, self.outputs, at);
            }
            biases.copy_from_slice(&from_biases[..self.outputs]);
        };
        copy(&self.weights, &self.biases, layer);
        for ((from, from_biases), to) in self.slots.iter().zip(&self.bias_slots).zip(slots) {
            copy(from, from_biases, to);
        }
    }

    /// Packs a block of the weights for the products that read it.
    #[inline(always)]
    pub(super) fn pack(&mut self, row: usize, column: usize, instructions: Instructions) {
        let (of_inputs, of_outputs) = (blocks(self.inputs), blocks(self.outputs));
        let index = row * of_outputs + column;
        let (forward, backward) =
            (&mut self.forward[column * of_inputs + row], self.backward.get_mut(index));
        instructions.pack_rights(&self.weights[index], forward, backward);
    }

    /// Updates a block of the weights by its gradient, and packs it.
    #[inline(always)]
    pub(super) fn update(
        &mut self,
        (row, column): (usize, usize),
        gradient: &Block,
        now: StepUpdate,
        instructions: Instructions,
    ) {
        let (of_inputs, of_outputs) = (blocks(self.inputs), blocks(self.outputs));
        let index = row * of_outputs + column;
        let Product { into, alpha, beta } = now.product();
        let Target::Slot(slot) = into else {
            let sum = (beta, alpha, gradient);
            let forward = &mut self.forward[column * of_inputs + row];
            let backward = self.backward.get_mut(index);
            return instructions.add_rights(&mut self.weights[index], sum, forward, backward);
        };
        self.slots[slot][index].add(beta, alpha, gradient);
        let mut slots = SlotsOf::default();
        for (to, slot) in slots.iter_mut().zip(&mut self.slots) {
            *to = &mut slot[index].0;
        }
        now.finish(&mut self.weights[index].0, slots);
        self.pack(row, column, instructions);
    }

    pub(super) fn update_biases(&mut self, now: StepUpdate) {
        let mut slots = SlotsOf::default();
        for (to, slot) in slots.iter_mut().zip(&mut self.bias_slots) {
            *to = slot;
        }
        now.finish_biases(&mut self.biases, slots, &self.d_biases);
    }
}
