//! The training step in bf16: the same as [`crate::network::mlp`]'s, with products of tiles
//! ([`crate::bf16::tiles`] has the layout).
//!
//! Weights and slots stay in float32, as blocks (32, 32), and sums are float32. Rounded to bf16 are
//! the operands of products: images, the matrices V of the weights, outputs of hidden layers, and
//! gradients of outputs. The scale s of the weights, biases, activations and their derivatives are
//! applied to each block of a product as soon as it is there, and the block is packed for the products
//! that read it. So is each block of the weights, after its update.

use ndarray::{Array2, ArrayView1, s};

use crate::bf16::images::PackedImages;
use crate::bf16::instructions::Instructions;
use crate::bf16::kernels::Configured;
use crate::bf16::room::Room;
use crate::bf16::tiles::{Block, EDGE, blocks};
use crate::network::loss::{Tally, softmax_cross_entropy};
use crate::network::mlp::Activation;
use crate::network::packed_layer::PackedLayer;
use crate::network::packed_pass::{Part, Pass};
use crate::network::params::Layer;
use crate::network::update::Descent;

/// The parts of a step, in their order.
pub const PARTS: [&str; 3] = ["forward", "loss", "backward and update"];

/// A network in training and the buffers of its step, allocated once.
#[derive(Debug, Clone)]
pub struct PackedNetwork {
    instructions: Instructions,
    layers: Vec<PackedLayer>,
    logits: Array2<f32>, // (N, C): then their gradient
    batch_size: usize,
    block: Block,
}

impl PackedNetwork {
    /// For a network of these sizes (D, each H, C), batches of up to `batch_size`, and an update with so
    /// many slots.
    pub fn new(
        (sizes, batch_size, slots): (&[usize], usize, usize),
        instructions: Instructions,
    ) -> Self {
        let mut room = Room::default();
        let layer = |index| PackedLayer::new(index, (sizes, batch_size, slots), &mut room);
        let layers = (0..sizes.len() - 1).map(layer).collect();
        let logits = Array2::zeros((batch_size, sizes[sizes.len() - 1]));
        Self { instructions, layers, logits, batch_size, block: Block::ZERO }
    }

    /// Whether it is for such a network.
    pub fn fits(
        &self,
        (sizes, batch_size, slots): (&[usize], usize, usize),
        instructions: Instructions,
    ) -> bool {
        self.layers.iter().map(|layer| layer.inputs).eq(sizes[..sizes.len() - 1].iter().copied())
            && self.logits.ncols() == sizes[sizes.len() - 1]
            && self.batch_size == batch_size
            && self.layers[0].slots.len() == slots
            && self.instructions == instructions
    }

    /// Takes the weights and slots that an epoch begins with.
    ///
    /// # Panics
    /// Where they are of another network.
    pub fn load(&mut self, descent: &mut Descent<'_>) {
        let (params, slots) = descent.stored_with_slots();
        let dims = |layer: &Layer| layer.weights.dim();
        let own = self.layers.iter().map(|layer| (layer.inputs, layer.outputs));
        assert!(own.eq(params.layers.iter().map(dims)), "a network of the same sizes");
        for ((own, layer), slots) in self.layers.iter_mut().zip(&params.layers).zip(slots) {
            assert_eq!(own.slots.len(), slots.len(), "an update with as many slots");
            own.load(layer, slots, self.instructions);
        }
    }

    /// Gives back the weights and slots that an epoch ends with.
    pub fn store(&self, descent: &mut Descent<'_>) {
        let (params, slots) = descent.stored_with_slots();
        for ((own, layer), slots) in self.layers.iter().zip(&mut params.layers).zip(slots) {
            own.store(layer, slots);
        }
    }

    /// One step of training on a batch; returns its loss and accuracy *before* the update. Weights and
    /// slots are those that were [loaded](PackedNetwork::load).
    ///
    /// # Panics
    /// Where the batch is of another size or too large.
    pub fn train_step(
        &mut self,
        descent: &mut Descent<'_>,
        activation: Activation,
        batch: (&PackedImages, &[u8]),
    ) -> Tally {
        self.train_step_by_part(descent, activation, batch, |_| {})
    }

    /// The same. Tells when a part has ended, of [`PARTS`].
    ///
    /// # Panics
    /// As [`PackedNetwork::train_step`].
    pub fn train_step_by_part(
        &mut self,
        descent: &mut Descent<'_>,
        activation: Activation,
        (x, labels): (&PackedImages, &[u8]),
        mut on_end: impl FnMut(usize),
    ) -> Tally {
        assert_eq!(x.images(), labels.len(), "a label for each image");
        assert_eq!(x.features(), self.layers[0].inputs, "images of the network's size");
        assert!((1..=self.batch_size).contains(&x.images()), "a batch that fits");
        let tiles = &self.instructions.configure();
        let scale = descent.scale() as f32;
        for index in 0..self.layers.len() {
            self.pass(tiles, index, Part::Forward(activation, scale, x));
        }
        on_end(0);
        let tally = self.loss(labels);
        self.pack_gradient(labels.len());
        on_end(1);
        for index in (0..self.layers.len()).rev() {
            if index > 0 {
                self.pass(tiles, index, Part::Backward(activation, scale, x.images()));
            }
            self.pass(tiles, index, Part::Update(descent.now(), x));
        }
        on_end(2);
        if descent.end_step() {
            self.store(descent);
            descent.fold();
            self.load(descent);
        }
        tally
    }

    fn pass(&mut self, tiles: &Configured, index: usize, part: Part<'_>) {
        let Self { instructions, layers, logits, block, .. } = self;
        let logits = logits.as_slice_mut().expect("rows one after the other");
        let instructions = *instructions;
        instructions.vectorised(Pass {
            instructions,
            tiles,
            layers,
            logits,
            product: block,
            index,
            part,
        });
    }

    /// Loss and accuracy from the logits, in whose place it leaves their gradient.
    fn loss(&mut self, labels: &[u8]) -> Tally {
        let layer = self.layers.last().expect("at least one layer");
        let biases = ArrayView1::from(&layer.biases[..layer.outputs]);
        let logits = self.logits.slice_mut(s![..labels.len(), ..]);
        softmax_cross_entropy(logits, biases, labels)
    }

    /// Packs the gradient of the logits, and sums it up for their biases.
    fn pack_gradient(&mut self, images: usize) {
        let Self { instructions, layers, logits, block, .. } = self;
        let layer = layers.last_mut().expect("at least one layer");
        let logits = logits.slice(s![..images, ..]);
        layer.d_biases.fill(0.0);
        for row in logits.rows() {
            layer.d_biases.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
        }
        let d = logits.to_slice().expect("rows one after the other");
        let (of_images, of_outputs) = (blocks(images), blocks(layer.outputs));
        for row in 0..of_images {
            for column in 0..of_outputs {
                *block = Block::ZERO;
                block.copy_from(d, layer.outputs, (row * EDGE, column * EDGE));
                let left = layer.d_left.get_mut(row * of_outputs + column);
                instructions.pack_both(block, left, &mut layer.d_right[column * of_images + row]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16::kernels::tests::testable;
    use crate::bf16::tiles::{Tiles, to_bf16, to_f32};
    use crate::network::params::Params;
    use crate::network::update::Update;

    const SIZES: [usize; 8] = [1, 15, 16, 17, 31, 33, 500, 784];

    /// Whole numbers, mostly zero, the same for the same seed.
    fn sparse(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
        let mut state = seed as u32;
        Array2::from_shape_simple_fn((rows, columns), || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            [1.0, -1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0][(state >> 29) as usize]
        })
    }

    fn rounded(matrix: &Array2<f32>) -> Array2<f32> {
        matrix.mapv(|number| to_f32(to_bf16(number)))
    }

    /// An operand as the matrix that it stands for, and whether all else is zero.
    fn matrix(tiles: &[Tiles], is_right: bool, (rows, columns): (usize, usize)) -> Array2<f32> {
        let (mut out, mut block) = (Array2::zeros((rows, columns)), Block::ZERO);
        let of_columns = blocks(columns);
        for row in 0..blocks(rows) * EDGE {
            for column in 0..of_columns * EDGE {
                // Of a right operand, blocks lie column after column.
                let (r, c) = (row / EDGE, column / EDGE);
                let (i, j) = (row % EDGE, column % EDGE);
                let number = if is_right {
                    let at = j / 16 * 512 + i / 2 * EDGE + j % 16 * 2 + i % 2;
                    to_f32(tiles[c * blocks(rows) + r].0[at])
                } else {
                    tiles[r * of_columns + c].unpack(&mut block);
                    block.0[i * EDGE + j]
                };
                match out.get_mut((row, column)) {
                    Some(out) => *out = number,
                    None => assert_eq!(number, 0.0, "padding at {row}, {column}"),
                }
            }
        }
        out
    }

    /// Every product and what follows it, on whole numbers, which are exact in any order of sums.
    fn check_whole_numbers(sizes: [usize; 4], images: usize, instructions: Instructions) {
        let [inputs, .., classes] = sizes;
        let mut params = Params::he_init(&sizes, 0);
        for (index, layer) in params.layers.iter_mut().enumerate() {
            layer.weights = sparse(layer.weights.nrows(), layer.weights.ncols(), index);
            layer.biases = sparse(1, layer.biases.len(), 9).remove_axis(ndarray::Axis(0));
        }
        let x = sparse(images, inputs, 7);
        let update = Update::Sgd { learning_rate: 1.0, weight_decay: 0.0, momentum: 0.0 };
        let (mut after, mut slots) = (params.clone(), params.zero_slots(0));
        let mut descent = Descent::begin(&mut after, &mut slots, update);
        let mut net = PackedNetwork::new((&sizes, images + 40, 0), instructions);
        net.load(&mut descent);
        let mut packed = PackedImages::with_room(images + 40, inputs, &mut Room::default());
        // Larger ones before leave nothing behind.
        packed.pack(Array2::from_elem((images + 40, inputs), f32::NAN).view(), instructions);
        packed.pack(x.view(), instructions);
        let tiles = &instructions.configure();
        let about = format!("{sizes:?}, {images} images, {instructions}");
        let mut a = vec![x];
        for (index, layer) in params.layers.iter().enumerate() {
            net.pass(tiles, index, Part::Forward(Activation::Relu, 1.0, &packed));
            let z = a[index].dot(&layer.weights);
            if index == 2 {
                assert_eq!(net.logits.slice(s![..images, ..]), z, "{about}");
                continue;
            }
            a.push(rounded(&(z + &layer.biases).mapv(|z| z.max(0.0))));
            let (found, expected) = (&net.layers[index], &a[index + 1]);
            let dim = expected.dim();
            // Beyond the images there are outputs, but no gradients.
            let padded = (blocks(images) * EDGE, dim.1);
            let rows = matrix(&found.a_by_image, false, padded);
            assert_eq!(rows.slice(s![..images, ..]), expected, "{about}");
            let columns = matrix(&found.a_by_unit, false, (padded.1, padded.0));
            assert_eq!(columns.slice(s![.., ..images]), expected.t(), "{about}");
        }
        let mut d = sparse(images, classes, 5);
        net.logits.slice_mut(s![..images, ..]).assign(&d);
        net.pack_gradient(images);
        for index in (0..3).rev() {
            let (layer, found) = (&params.layers[index], &net.layers[index]);
            let sums = d.sum_axis(ndarray::Axis(0));
            assert_eq!(found.d_biases[..d.ncols()], sums.to_vec(), "{about}");
            d = rounded(&d);
            assert_eq!(matrix(&found.d_right, true, d.dim()), d, "{about}");
            if index > 0 {
                assert_eq!(matrix(&found.d_left, false, d.dim()), d, "{about}");
                net.pass(tiles, index, Part::Backward(Activation::Relu, 1.0, images));
            }
            net.pass(tiles, index, Part::Update(descent.now(), &packed));
            let (found, after) = (&net.layers[index], &mut descent.stored().layers[index]);
            found.store(after, &mut []);
            assert_eq!(after.weights, &layer.weights - &a[index].t().dot(&d), "{about}");
            assert_eq!(after.biases, &layer.biases - &sums, "{about}");
            let (after, (inputs, outputs)) = (rounded(&after.weights), layer.weights.dim());
            assert_eq!(matrix(&found.forward, true, (inputs, outputs)), after, "{about}");
            if index > 0 {
                let transposed = matrix(&found.backward, true, (outputs, inputs));
                assert_eq!(transposed, after.t(), "{about}");
                d = d.dot(&layer.weights.t()) * a[index].mapv(|a| f32::from(a > 0.0));
            }
        }
    }

    #[test]
    fn every_product_of_whole_numbers_is_exact_at_awkward_sizes() {
        for instructions in testable() {
            for (at, &inputs) in SIZES.iter().enumerate() {
                let size = |by: usize| SIZES[(at + by) % SIZES.len()];
                check_whole_numbers(
                    [inputs, size(3), size(5), size(1).min(40)],
                    size(2),
                    instructions,
                );
                check_whole_numbers(
                    [inputs, size(1), size(2), size(4).min(40)],
                    size(7),
                    instructions,
                );
            }
        }
    }

    /// A layer of one network after `change`, trained on a batch of one image.
    fn step_with(change: fn(&mut Params, &mut Array2<f32>), instructions: Instructions) -> Tally {
        let mut params = Params::he_init(&[6, 5, 3], 0);
        let mut x = sparse(1, 6, 0);
        change(&mut params, &mut x);
        let update = Update::Sgd { learning_rate: 0.1, weight_decay: 0.0, momentum: 0.0 };
        let mut slots = params.zero_slots(0);
        let mut descent = Descent::begin(&mut params, &mut slots, update);
        let mut net = PackedNetwork::new((&[6, 5, 3], 1, 0), instructions);
        net.load(&mut descent);
        let mut packed = PackedImages::with_room(1, 6, &mut Room::default());
        packed.pack(x.view(), instructions);
        net.train_step(&mut descent, Activation::Relu, (&packed, &[2]))
    }

    #[test]
    fn what_is_no_number_shows_in_the_loss() {
        for instructions in testable() {
            assert!(step_with(|_, _| {}, instructions).loss_sum.is_finite());
            for change in [
                (|_, x| x[(0, 1)] = f32::NAN) as fn(&mut Params, &mut Array2<f32>),
                (|params, _| params.layers[0].weights[(2, 1)] = f32::NAN),
                (|params, _| params.layers[0].biases[4] = f32::NAN),
                (|params, _| params.layers[1].weights[(4, 0)] = f32::NAN),
                (|params, x| {
                    params.layers[0].weights.fill(f32::MAX);
                    x.fill(f32::MAX);
                }),
            ] {
                let tally = step_with(change, instructions);
                assert!(!tally.loss_sum.is_finite(), "{instructions}: {tally:?}");
            }
        }
    }

    /// λ as measured: what 1,000 steps without a gradient leave of the weights. Inputs are zero.
    fn measured(learning_rate: f64, weight_decay: f64, momentum: f64, on: Instructions) -> f64 {
        const STEPS: i32 = 1000;
        let sizes = [6, 5];
        let mut params = Params::he_init(&sizes, 0);
        let update = Update::Sgd { learning_rate, weight_decay, momentum };
        let mut slots = params.zero_slots(update.slots());
        let mut descent = Descent::begin(&mut params, &mut slots, update);
        let mut net = PackedNetwork::new((&sizes, 1, update.slots()), on);
        net.load(&mut descent);
        let mut packed = PackedImages::with_room(1, 6, &mut Room::default());
        packed.pack(Array2::zeros((1, 6)).view(), on);
        let mut steps = |descent: &mut Descent<'_>, count| {
            for _ in 0..count {
                net.train_step(descent, Activation::Relu, (&packed, &[0]));
            }
            net.store(descent);
            let scale = descent.scale();
            descent.stored().layers[0].weights.iter().map(|&v| scale * f64::from(v)).sum::<f64>()
        };
        let before = steps(&mut descent, if momentum > 0.0 { 2000 } else { 0 });
        let kept = steps(&mut descent, STEPS) / before;
        let g = kept.powf(1.0 / f64::from(STEPS));
        (1.0 - g) * (1.0 - momentum / g) / learning_rate
    }

    #[test]
    fn weights_decay_by_the_lambda_asked_for() {
        for instructions in testable() {
            for learning_rate in [0.5, 0.05, 0.0045] {
                for weight_decay in [1e-3, 1e-4, 1e-5] {
                    for momentum in [0.0, 0.9] {
                        let found = measured(learning_rate, weight_decay, momentum, instructions);
                        let error = (found / weight_decay - 1.0).abs();
                        assert!(error < 1e-6, "{learning_rate} {weight_decay} {momentum}: {found}");
                    }
                }
            }
        }
    }
}
