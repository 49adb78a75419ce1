//! The multi-layer perceptron: forward and backward as pairs (paper 2.1 and 2.2).
//!
//! Letters, here and in every comment on a shape: N images in a batch, D inputs (pixels), H units
//! of a hidden layer, C classes. Arrays hold an image a row. A gradient is `d_` and the name of
//! what it belongs to.
//!
//! A training step of a network with L layers is 3·L − 1 products, eight for the paper's three
//! layers: L forward, L for the weights and L − 1 for the hidden activations. Everything else
//! passes over rows that the product before has just written.

use std::fmt;

use ndarray::{Array1, Array2, ArrayView2, s};

use crate::data::batches::Part;
use crate::memory::zeros;
use crate::network::gemm::{gemm, openblas};
use crate::network::loss::{Tally, softmax_cross_entropy, softmax_rows};
use crate::network::params::Params;
use crate::network::update::Descent;

/// The slope of [`Activation::LeakyRelu`] below zero.
pub const LEAK: f32 = 0.01;

/// What follows each hidden layer. Each derivative is written in terms of the output `a`, so that
/// the inputs need not be kept. A NaN stays one, so that a diverged run shows in its loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// max(0, z), the paper's (eq. 2).
    Relu,
    /// z where positive, else 0.01·z.
    LeakyRelu,
    /// tanh z.
    Tanh,
    /// 1 / (1 + exp(−z)).
    Sigmoid,
}

impl Activation {
    /// All of them, the default first.
    pub const ALL: [Self; 4] = [Self::Relu, Self::LeakyRelu, Self::Tanh, Self::Sigmoid];

    /// As it is written in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::LeakyRelu => "leaky_relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
        }
    }

    /// z ← activation(scale·z + biases), in one pass: z (N, H) row after row, biases (H).
    #[inline(always)]
    pub fn forward(self, scale: f32, z: &mut [f32], biases: &[f32]) {
        match self {
            Self::Relu => each(scale, z, biases, |z| if z < 0.0 { 0.0 } else { z }),
            Self::LeakyRelu => each(scale, z, biases, |z| if z < 0.0 { LEAK * z } else { z }),
            Self::Tanh => each(scale, z, biases, f32::tanh),
            Self::Sigmoid => each(scale, z, biases, |z| 1.0 / (1.0 + (-z).exp())),
        }
    }

    /// The gradient of z from that of a: `d_a` ← scale · `d_a` · activation′, and its sum over the batch,
    /// which is the gradient of the biases: `d_a` and a (N, H) row after row, `d_biases` (H).
    ///
    /// Two loops a row and not one: the select compiles to a blend and the sum to an addition, each
    /// without a branch, and the second loop finds its row in the first-level cache.
    pub fn backward(self, scale: f32, d_a: &mut [f32], a: &[f32], d_biases: &mut [f32]) {
        let width = d_biases.len();
        d_biases.fill(0.0);
        for (d_row, a_row) in d_a.chunks_exact_mut(width).zip(a.chunks_exact(width)) {
            self.undo(scale, d_row, a_row);
            d_biases.iter_mut().zip(&*d_row).for_each(|(sum, &d)| *sum += d);
        }
    }

    /// `d_a` ← scale · `d_a` · activation′, element by element.
    #[inline(always)]
    pub fn undo(self, scale: f32, d_a: &mut [f32], a: &[f32]) {
        match self {
            Self::Relu => undo_each(scale, d_a, a, |d, a| if a > 0.0 { d } else { 0.0 }),
            Self::LeakyRelu => undo_each(scale, d_a, a, |d, a| if a > 0.0 { d } else { LEAK * d }),
            Self::Tanh => undo_each(scale, d_a, a, |d, a| d * (1.0 - a * a)),
            Self::Sigmoid => undo_each(scale, d_a, a, |d, a| d * a * (1.0 - a)),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[inline(always)]
fn each(scale: f32, z: &mut [f32], biases: &[f32], activation: impl Fn(f32) -> f32) {
    for row in z.chunks_exact_mut(biases.len()) {
        for (z, &bias) in row.iter_mut().zip(biases) {
            *z = activation(scale * *z + bias);
        }
    }
}

#[inline(always)]
fn undo_each(scale: f32, d_a: &mut [f32], a: &[f32], derivative: impl Fn(f32, f32) -> f32) {
    for (d, &a) in d_a.iter_mut().zip(a) {
        *d = derivative(scale * *d, a);
    }
}

/// The buffers of a step, allocated once for a network and its largest batch.
#[derive(Debug, Clone)]
pub struct Workspace {
    hidden: Vec<Array2<f32>>,   // (N, H) each: the outputs of the hidden layers
    d_hidden: Vec<Array2<f32>>, // (N, H) each: their gradients, before and after the activation
    logits: Array2<f32>,        // (N, C): then probabilities, then the gradient of the logits
    d_biases: Vec<Array1<f32>>, // (H) or (C) each
}

impl Workspace {
    /// Buffers for a network of these sizes (D, each H, C) and batches of up to `batch_size`.
    ///
    /// # Panics
    /// Where OpenBLAS is not as it must be, which [`openblas`] tells without a panic.
    pub fn new(sizes: &[usize], batch_size: usize) -> Self {
        openblas().expect("a usable OpenBLAS, checked at the start of the program");
        let widths = &sizes[1..];
        let (classes, hidden) = widths.split_last().expect("D and C at least");
        let buffers = || hidden.iter().map(|&width| zeros((batch_size, width))).collect();
        Self {
            hidden: buffers(),
            d_hidden: buffers(),
            logits: zeros((batch_size, *classes)),
            d_biases: widths.iter().map(|&width| Array1::zeros(width)).collect(),
        }
    }
}

impl Workspace {
    /// Whether these buffers are for a network of these sizes and batches of `batch_size`.
    pub fn fits(&self, sizes: &[usize], batch_size: usize) -> bool {
        self.d_biases.iter().map(ndarray::ArrayBase::len).eq(sizes[1..].iter().copied())
            && self.logits.nrows() == batch_size
    }
}

/// A product of a training step: of the layer of an index, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Product {
    /// Its output (N, H or C), from its input and its weights.
    Forward(usize),
    /// The gradient of its input (N, H), from that of its output and its weights.
    Backward(usize),
    /// The update of its weights (D or H, H or C), from its input and the gradient of its output.
    Update(usize),
}

/// The products of a training step of so many layers, in their order: what a step is made of, and
/// what `rookie bench` measures it against. Images need no gradient.
fn products(layers: usize) -> impl Iterator<Item = Product> {
    let backward = (0..layers).rev().flat_map(|index| {
        let of_input = (index > 0).then_some(Product::Backward(index));
        of_input.into_iter().chain([Product::Update(index)])
    });
    (0..layers).map(Product::Forward).chain(backward)
}

/// A layer's input (N, D or H): the images, or the output of the layer before.
fn input_of<'w>(
    index: usize,
    x: ArrayView2<'w, f32>,
    hidden: &'w [Array2<f32>],
) -> ArrayView2<'w, f32> {
    if index == 0 { x } else { hidden[index - 1].slice(s![..x.nrows(), ..]) }
}

/// The gradient of a layer's output without its activation (N, H or C).
fn gradient_of<'w>(
    index: usize,
    images: usize,
    d_hidden: &'w [Array2<f32>],
    logits: &'w Array2<f32>,
) -> ArrayView2<'w, f32> {
    d_hidden.get(index).unwrap_or(logits).slice(s![..images, ..])
}

/// [`Product::Forward`]. Weights are `scale` times those in `params`.
fn multiply_forward(
    index: usize,
    params: &Params,
    scale: f32,
    x: ArrayView2<'_, f32>,
    work: &mut Workspace,
) {
    let (before, at) = work.hidden.split_at_mut(index);
    let a = input_of(index, x, before); // (N, D or H)
    let z = at.first_mut().unwrap_or(&mut work.logits).slice_mut(s![..x.nrows(), ..]); // (N, H or C)
    gemm(scale, a, params.layers[index].weights.view(), 0.0, z);
}

/// [`Product::Backward`]. Weights are `scale` times those in `params`.
fn multiply_backward(
    index: usize,
    params: &Params,
    scale: f32,
    images: usize,
    work: &mut Workspace,
) {
    let (below, at) = work.d_hidden.split_at_mut(index);
    let d_z = gradient_of(0, images, at, &work.logits); // (N, H or C): `at` begins with it
    let d_a = below.last_mut().expect("not the first layer").slice_mut(s![..images, ..]); // (N, H)
    gemm(scale, d_z, params.layers[index].weights.t(), 0.0, d_a);
}

/// Rows of a buffer as they stand in memory.
fn rows(buffer: &mut Array2<f32>, images: usize) -> &mut [f32] {
    let rows = buffer.slice_mut(s![..images, ..]);
    rows.into_slice().expect("rows one after the other")
}

/// The products of the output layer (N, C), without its biases, left in `work.logits`; on the way,
/// the outputs of each hidden layer.
fn forward(params: &Params, activation: Activation, x: ArrayView2<'_, f32>, work: &mut Workspace) {
    for index in 0..params.layers.len() {
        multiply_forward(index, params, 1.0, x, work);
        activate(index, params, activation, x.nrows(), work);
    }
}

/// Adds the biases of a hidden layer to its output and applies the activation.
fn activate(
    index: usize,
    params: &Params,
    activation: Activation,
    images: usize,
    work: &mut Workspace,
) {
    if let Some(z) = work.hidden.get_mut(index) {
        let biases = params.layers[index].biases.as_slice().expect("contiguous");
        activation.forward(1.0, rows(z, images), biases);
    }
}

/// The products of a training step and nothing else, with the step's own shapes, layouts and β. Only
/// α differs, so small that the gradients change no weight.
pub fn products_alone(params: &mut Params, x: ArrayView2<'_, f32>, work: &mut Workspace) {
    let images = x.nrows();
    for product in products(params.layers.len()) {
        match product {
            Product::Forward(index) => multiply_forward(index, params, 1.0, x, work),
            Product::Backward(index) => multiply_backward(index, params, 1.0, images, work),
            Product::Update(index) => {
                let a = input_of(index, x, &work.hidden);
                let d_z = gradient_of(index, images, &work.d_hidden, &work.logits);
                gemm(-1e-30, a.reversed_axes(), d_z, 1.0, params.layers[index].weights.view_mut());
            }
        }
    }
}

fn sum_rows(d: ArrayView2<'_, f32>, sums: &mut Array1<f32>) {
    sums.fill(0.0);
    for row in d.rows() {
        *sums += &row;
    }
}

/// One step of training on a batch; returns its loss and accuracy *before* the update.
///
/// The gradient passes each layer before its weights are updated.
pub fn train_step(
    descent: &mut Descent<'_>,
    activation: Activation,
    (x, labels): (ArrayView2<'_, f32>, &[u8]), // (N, D), N
    work: &mut Workspace,
) -> Tally {
    let (images, scale) = (x.nrows(), descent.scale() as f32);
    let output = descent.stored().layers.len() - 1;
    let mut tally = Tally::default();
    for product in products(output + 1) {
        match product {
            Product::Forward(index) => {
                let params = descent.stored();
                multiply_forward(index, params, scale, x, work);
                activate(index, params, activation, images, work);
                if index == output {
                    let mut logits = work.logits.slice_mut(s![..images, ..]); // (N, C)
                    let biases = params.layers[index].biases.view();
                    tally = softmax_cross_entropy(logits.view_mut(), biases, labels);
                    sum_rows(logits.view(), &mut work.d_biases[index]);
                }
            }
            Product::Backward(index) => {
                multiply_backward(index, descent.stored(), scale, images, work);
                let below = index - 1;
                let d_biases = work.d_biases[below].as_slice_mut().expect("contiguous");
                let (d_a, a) = (&mut work.d_hidden[below], &mut work.hidden[below]);
                activation.backward(1.0, rows(d_a, images), rows(a, images), d_biases);
            }
            Product::Update(index) => {
                let a = input_of(index, x, &work.hidden);
                let d_z = gradient_of(index, images, &work.d_hidden, &work.logits);
                descent.update(index, a, d_z, work.d_biases[index].view());
            }
        }
    }
    if descent.end_step() {
        descent.fold();
    }
    tally
}

/// The probabilities of a batch (N, C), and its loss and accuracy if its labels are known.
pub fn probabilities<'w>(
    params: &Params,
    activation: Activation,
    x: ArrayView2<'_, f32>, // (N, D)
    labels: Option<&[u8]>,  // N
    work: &'w mut Workspace,
) -> (ArrayView2<'w, f32>, Tally) {
    let tally = predict_batch(params, activation, (x, labels), work, |_| {});
    (work.logits.slice(s![..x.nrows(), ..]), tally)
}

/// Leaves the probabilities of a batch (N, C) in `work.logits` and shows each image's class.
fn predict_batch(
    params: &Params,
    activation: Activation,
    (x, labels): (ArrayView2<'_, f32>, Option<&[u8]>), // (N, D), N
    work: &mut Workspace,
    on_class: impl FnMut(usize),
) -> Tally {
    forward(params, activation, x, work);
    let output = params.layers.last().expect("at least one layer");
    let logits = work.logits.slice_mut(s![..x.nrows(), ..]);
    softmax_rows(logits, output.biases.view(), labels, on_class)
}

/// Loss and accuracy over all batches of a part, and the class that each image is taken for: the
/// very classes that the tally counts.
pub fn predict(
    params: &Params,
    activation: Activation,
    part: &Part,
    work: &mut Workspace,
) -> (Tally, Vec<u8>) {
    let mut tally = Tally::default();
    let mut classes = Vec::with_capacity(part.len());
    for (x, labels) in part.batches() {
        let on_class = |class| classes.push(class as u8); // labels are bytes, and so are classes
        tally.add(predict_batch(params, activation, (x, Some(labels)), work, on_class));
    }
    (tally, classes)
}

/// Floating-point operations of a training step for one image: two for each weight forward, for
/// its gradient, and, past the first layer, for what is passed on.
pub fn flops_per_sample(sizes: &[usize]) -> f64 {
    let weights = |pair: &[usize]| (pair[0] * pair[1]) as f64;
    let all: f64 = sizes.windows(2).map(weights).sum();
    6.0 * all - 2.0 * weights(&sizes[..2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_three_layers_has_eight_products_and_updates_a_layer_after_the_gradient_has_passed()
    {
        use Product::{Backward, Forward, Update};
        let expected = [Forward(0), Forward(1), Forward(2), Backward(2), Update(2)];
        let expected = [&expected[..], &[Backward(1), Update(1), Update(0)]].concat();
        assert_eq!(products(3).collect::<Vec<_>>(), expected);
        assert_eq!(products(1).collect::<Vec<_>>(), [Forward(0), Update(0)]);
    }

    #[test]
    fn the_paper_s_network_takes_2_5_million_operations_an_image() {
        assert_eq!(flops_per_sample(&[784, 500, 324, 10]), 2_559_440.0);
    }
}
