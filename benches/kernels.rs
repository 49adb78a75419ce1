//! What a training step consists of, each piece by itself: `cargo bench`. The paper's network,
//! 784-500-324-10, on batches of 512 images.
//!
//! Each piece finds its operands in the caches that its own last turn left; in a step they come
//! from the piece before. The sum of the pieces is therefore a little less than the step.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array1, Array2, ArrayView2};
use rookie::network::gemm::{gemm, openblas};
use rookie::network::loss::softmax_cross_entropy;
use rookie::network::mlp::{Activation, Workspace, train_step};
use rookie::network::params::Params;
use rookie::network::update::{Descent, Update};

const IMAGES: usize = 512;
const SIZES: [usize; 4] = [784, 500, 324, 10];
const UPDATE: Update = Update::Sgd { learning_rate: 0.01, weight_decay: 1e-3, momentum: 0.0 };

/// Values between −1 and 1 without a pattern that a kernel could profit from.
fn matrix(rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(i, j)| ((i * 37 + j * 101) % 199) as f32 / 99.0 - 1.0)
}

fn labels() -> Vec<u8> {
    (0..IMAGES).map(|image| (image % 10) as u8).collect()
}

/// The eight products of a step; elements are floating-point operations, so that criterion's
/// Gelem/s are GFLOP/s.
fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("product");
    let mut bench = |name: String, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, beta: f32| {
        let ((m, k), n) = (a.dim(), b.ncols());
        let mut out = Array2::zeros((m, n));
        group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
        group.bench_function(BenchmarkId::new(name, format!("{m}x{k}x{n}")), |bencher| {
            bencher.iter(|| gemm(1e-3, a, b, beta, out.view_mut()));
        });
    };
    for (layer, pair) in SIZES.windows(2).enumerate() {
        let (x, w, d) =
            (matrix(IMAGES, pair[0]), matrix(pair[0], pair[1]), matrix(IMAGES, pair[1]));
        let layer = layer + 1;
        bench(format!("forward {layer}"), x.view(), w.view(), 0.0);
        bench(format!("update {layer}"), x.t(), d.view(), 0.999);
        if layer > 1 {
            bench(format!("backward {layer}"), d.view(), w.t(), 0.0);
        }
    }
}

/// What stands between the products.
fn passes(c: &mut Criterion) {
    let mut group = c.benchmark_group("pass");
    for hidden in &SIZES[1..3] {
        let biases = Array1::from_elem(*hidden, 1e-6);
        let mut z = matrix(IMAGES, *hidden);
        group.bench_function(BenchmarkId::new("biases and ReLU", hidden), |bencher| {
            bencher.iter(|| {
                let z = z.as_slice_mut().expect("contiguous");
                Activation::Relu.forward(1.0, black_box(z), biases.as_slice().expect("contiguous"));
            });
        });
        let (mut d, a) = (matrix(IMAGES, *hidden), matrix(IMAGES, *hidden));
        let mut sums = vec![0.0; *hidden];
        group.bench_function(BenchmarkId::new("mask and bias gradients", hidden), |bencher| {
            bencher.iter(|| {
                let d = d.as_slice_mut().expect("contiguous");
                let a = a.as_slice().expect("contiguous");
                Activation::Relu.backward(1.0, black_box(d), a, &mut sums);
            });
        });
    }
    let (biases, labels) = (Array1::zeros(SIZES[3]), labels());
    let mut logits = matrix(IMAGES, SIZES[3]);
    group.bench_function("softmax, loss and accuracy", |bencher| {
        bencher.iter(|| softmax_cross_entropy(logits.view_mut(), biases.view(), &labels));
    });
}

/// The whole; elements are images.
fn step(c: &mut Criterion) {
    let (x, labels) = (matrix(IMAGES, SIZES[0]), labels());
    let mut params = Params::he_init(&SIZES, 0);
    let mut work = Workspace::new(&SIZES, IMAGES);
    let mut group = c.benchmark_group("step");
    group.throughput(Throughput::Elements(IMAGES as u64));
    group.bench_function("784-500-324-10", |bencher| {
        let batch = (x.view(), &labels[..]);
        let mut slots = params.zero_slots(0);
        let mut descent = Descent::begin(&mut params, &mut slots, UPDATE);
        bencher.iter(|| train_step(&mut descent, Activation::Relu, batch, &mut work));
    });
}

fn all(c: &mut Criterion) {
    openblas().expect("a usable OpenBLAS");
    products(c);
    passes(c);
    step(c);
}

criterion_group!(benches, all);
criterion_main!(benches);
