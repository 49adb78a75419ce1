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
use crate::network::gemm::{gemm, openblas};
use crate::network::loss::{Tally, softmax_cross_entropy, softmax_rows};
use crate::network::params::Params;
use crate::network::sgd::Descent;

/// The slope of [`Activation::LeakyRelu`] below zero.
const LEAK: f32 = 0.01;

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

    /// z ← activation(z + biases), in one pass: z (N, H) row after row, biases (H).
    pub fn forward(self, z: &mut [f32], biases: &[f32]) {
        match self {
            Self::Relu => each(z, biases, |z| if z < 0.0 { 0.0 } else { z }),
            Self::LeakyRelu => each(z, biases, |z| if z < 0.0 { LEAK * z } else { z }),
            Self::Tanh => each(z, biases, f32::tanh),
            Self::Sigmoid => each(z, biases, |z| 1.0 / (1.0 + (-z).exp())),
        }
    }

    /// Undoes [`Activation::forward`]: `d_a` ← `d_a` · activation′, which leaves the gradient of z,
    /// and its sum over the batch, which is the gradient of the biases: `d_a` and a (N, H) row after
    /// row, `d_biases` (H).
    pub fn backward(self, d_a: &mut [f32], a: &[f32], d_biases: &mut [f32]) {
        match self {
            Self::Relu => undo_each(d_a, a, d_biases, |d, a| if a > 0.0 { d } else { 0.0 }),
            Self::LeakyRelu => {
                undo_each(d_a, a, d_biases, |d, a| if a > 0.0 { d } else { LEAK * d });
            }
            Self::Tanh => undo_each(d_a, a, d_biases, |d, a| d * (1.0 - a * a)),
            Self::Sigmoid => undo_each(d_a, a, d_biases, |d, a| d * a * (1.0 - a)),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn each(z: &mut [f32], biases: &[f32], activation: impl Fn(f32) -> f32) {
    for row in z.chunks_exact_mut(biases.len()) {
        for (z, &bias) in row.iter_mut().zip(biases) {
            *z = activation(*z + bias);
        }
    }
}

/// Two loops a row and not one: the select compiles to a blend and the sum to an addition, each
/// without a branch, and the second loop finds its row in the first-level cache.
fn undo_each(
    d_a: &mut [f32],
    a: &[f32],
    d_biases: &mut [f32],
    derivative: impl Fn(f32, f32) -> f32,
) {
    let width = d_biases.len();
    d_biases.fill(0.0);
    for (d_row, a_row) in d_a.chunks_exact_mut(width).zip(a.chunks_exact(width)) {
        for (d, &a) in d_row.iter_mut().zip(a_row) {
            *d = derivative(*d, a);
        }
        for (sum, &d) in d_biases.iter_mut().zip(&*d_row) {
            *sum += d;
        }
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
        let buffers = || hidden.iter().map(|&width| Array2::zeros((batch_size, width))).collect();
        Self {
            hidden: buffers(),
            d_hidden: buffers(),
            logits: Array2::zeros((batch_size, *classes)),
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

/// The products of the output layer (N, C), without its biases, left in `work.logits`; on the way,
/// the outputs of each hidden layer. Weights are `scale` times those in `params`.
fn forward(
    params: &Params,
    scale: f32,
    activation: Activation,
    x: ArrayView2<'_, f32>,
    work: &mut Workspace,
) {
    let images = x.nrows();
    let (output, hidden) = params.layers.split_last().expect("at least one layer");
    for (index, layer) in hidden.iter().enumerate() {
        let (before, at) = work.hidden.split_at_mut(index);
        let a = before.last().map_or(x, |a| a.slice(s![..images, ..])); // (N, D or H)
        let mut z = at[0].slice_mut(s![..images, ..]); // (N, H)
        gemm(scale, a, layer.weights.view(), 0.0, z.view_mut());
        let z = z.into_slice().expect("rows one after the other");
        activation.forward(z, layer.biases.as_slice().expect("contiguous"));
    }
    let a = work.hidden.last().map_or(x, |a| a.slice(s![..images, ..])); // (N, H)
    let logits = work.logits.slice_mut(s![..images, ..]); // (N, C)
    gemm(scale, a, output.weights.view(), 0.0, logits);
}

/// Undoes [`forward`] from the gradient of the logits, last layer first, and updates each layer as
/// soon as its weights have passed the gradient on.
fn backward(
    descent: &mut Descent<'_>,
    activation: Activation,
    x: ArrayView2<'_, f32>,
    work: &mut Workspace,
) {
    let (images, scale) = (x.nrows(), descent.scale() as f32);
    let logits = work.logits.slice(s![..images, ..]);
    sum_rows(logits, work.d_biases.last_mut().expect("at least one layer"));
    for index in (0..work.d_biases.len()).rev() {
        let (below, at) = work.d_hidden.split_at_mut(index);
        let d_z = at.first().map_or(logits, |d| d.slice(s![..images, ..])); // (N, H or C)
        let a = match index {
            0 => x,                                              // (N, D)
            _ => work.hidden[index - 1].slice(s![..images, ..]), // (N, H)
        };
        if let Some(d_a) = below.last_mut() {
            let mut d_a = d_a.slice_mut(s![..images, ..]); // (N, H)
            let weights = &descent.stored().layers[index].weights;
            gemm(scale, d_z, weights.t(), 0.0, d_a.view_mut());
            let d_a = d_a.into_slice().expect("rows one after the other");
            let a = a.to_slice().expect("rows one after the other");
            let d_biases = work.d_biases[index - 1].as_slice_mut().expect("contiguous");
            activation.backward(d_a, a, d_biases);
        }
        descent.update(index, a, d_z, work.d_biases[index].view());
    }
    descent.end_step();
}

fn sum_rows(d: ArrayView2<'_, f32>, sums: &mut Array1<f32>) {
    sums.fill(0.0);
    for row in d.rows() {
        *sums += &row;
    }
}

/// One step of training on a batch; returns its loss and accuracy *before* the update.
pub fn train_step(
    descent: &mut Descent<'_>,
    activation: Activation,
    (x, labels): (ArrayView2<'_, f32>, &[u8]), // (N, D), N
    work: &mut Workspace,
) -> Tally {
    let scale = descent.scale() as f32;
    let params = descent.stored();
    forward(params, scale, activation, x, work);
    let output = params.layers.last().expect("at least one layer");
    let logits = work.logits.slice_mut(s![..x.nrows(), ..]);
    let tally = softmax_cross_entropy(logits, output.biases.view(), labels);
    backward(descent, activation, x, work);
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
    forward(params, 1.0, activation, x, work);
    let output = params.layers.last().expect("at least one layer");
    let logits = work.logits.slice_mut(s![..x.nrows(), ..]);
    softmax_rows(logits, output.biases.view(), labels, on_class)
}

/// Loss and accuracy over all batches of a part.
pub fn evaluate(
    params: &Params,
    activation: Activation,
    part: &Part,
    work: &mut Workspace,
) -> Tally {
    predict(params, activation, part, work).0
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
    fn the_paper_s_network_takes_2_5_million_operations_an_image() {
        assert_eq!(flops_per_sample(&[784, 500, 324, 10]), 2_559_440.0);
    }
}
