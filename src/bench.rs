//! This machine's roofline: the time of a training step against that of its products alone.
//!
//! Both run on the same made-up batches of the paper's shape, in turn and in one process, so that
//! whatever else the machine does meets both alike.

use std::fs;
use std::time::{Duration, Instant};

use ndarray::{Array2, ArrayView2, s};

use crate::data::batches::{Part, ZScore};
use crate::data::dataset::Labelled;
use crate::error::Result;
use crate::grid::scheduler::on_each_worker;
use crate::network::gemm::gemm;
use crate::network::mlp::{self, Activation, Workspace, flops_per_sample};
use crate::network::params::Params;
use crate::network::sgd::Sgd;

/// So many batches that the images of an epoch do not stay in any cache.
const BATCHES: usize = 32;
/// Small enough that training on made-up labels stays tame however long it goes on.
const SGD: Sgd = Sgd { learning_rate: 0.01, weight_decay: 1e-3, momentum: 0.0 };

/// Batches of random images for a network of some sizes.
#[derive(Debug)]
pub struct Probe {
    sizes: Vec<usize>, // D, each H, C
    part: Part,
}

/// One worker's network and buffers.
struct Bench {
    params: Params,
    work: Workspace,
    outputs: Vec<Array2<f32>>, // (N, H) and (N, C): what the bare products write to
}

impl Probe {
    /// For a network of these sizes (D, each H, C).
    pub fn new(sizes: &[usize], batch_size: usize, batches: usize) -> Self {
        let (inputs, classes) = (sizes[0], sizes[sizes.len() - 1]);
        let images = batch_size * batches;
        // A linear congruential generator's upper bits are random enough for grey values.
        let mut state = 1_u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let pixels = (0..images * inputs).map(|_| draw()).collect();
        let labels = (0..images).map(|_| (usize::from(draw()) % classes) as u8).collect();
        let source = Labelled { height: 1, width: inputs, pixels, labels };
        let order: Vec<usize> = (0..images).collect();
        let part = Part::new(&source, &order, batch_size, ZScore { mean: 0.5, std: 0.3 });
        Self { sizes: sizes.to_vec(), part }
    }

    fn bench(&self) -> Bench {
        let batch_size = self.part.largest_batch();
        Bench {
            params: Params::he_init(&self.sizes, 0),
            work: Workspace::new(&self.sizes, batch_size),
            outputs: self.sizes[1..].iter().map(|&w| Array2::zeros((batch_size, w))).collect(),
        }
    }

    /// Images a second that `workers` train together, measured for `duration`, give or take a step.
    ///
    /// # Errors
    /// Where the workers cannot be started.
    pub fn throughput(&self, workers: usize, duration: Duration) -> Result<f64> {
        let ready = std::sync::Barrier::new(workers);
        let rates = on_each_worker(workers, |_| {
            let mut bench = self.bench();
            let mut batches = self.part.batches().cycle();
            bench.train(batches.next().expect("some batches"));
            ready.wait();
            let (start, mut images) = (Instant::now(), 0);
            while start.elapsed() < duration {
                let batch = batches.next().expect("it cycles");
                images += batch.1.len();
                bench.train(batch);
            }
            images as f64 / start.elapsed().as_secs_f64()
        })?;
        Ok(rates.iter().sum())
    }
}

impl Bench {
    /// A training step.
    fn train(&mut self, batch: (ArrayView2<'_, f32>, &[u8])) {
        mlp::train_step(&mut self.params, None, Activation::Relu, SGD, batch, &mut self.work);
    }

    /// The products of a training step and nothing else, on operands of the same shapes.
    fn products(&mut self, x: ArrayView2<'_, f32>) {
        let rows = x.nrows();
        for (index, layer) in self.params.layers.iter().enumerate() {
            let (before, at) = self.outputs.split_at_mut(index);
            let a = before.last().map_or(x, |a| a.slice(s![..rows, ..]));
            gemm(1.0, a, layer.weights.view(), 0.0, at[0].slice_mut(s![..rows, ..]));
        }
        for (index, layer) in self.params.layers.iter_mut().enumerate().rev() {
            let (before, at) = self.outputs.split_at_mut(index);
            let d = at[0].slice(s![..rows, ..]);
            if let Some(d_a) = before.last_mut() {
                gemm(1.0, d, layer.weights.t(), 0.0, d_a.slice_mut(s![..rows, ..]));
            }
            let a = before.last().map_or(x, |a| a.slice(s![..rows, ..]));
            // α so small that the weights stay what they are.
            gemm(-1e-30, a.reversed_axes(), d, 1.0, layer.weights.view_mut());
        }
    }
}

/// What a machine can do and does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Images a second of the products alone, one worker.
    pub sgemm_samples_per_second: f64,
    /// Images a second of training, one worker.
    pub train_samples_per_second: f64,
    /// The second over the first, from times taken in turn.
    pub roofline_fraction: f64,
    /// How many workers the next two lines are of.
    pub workers: usize,
    /// Images a second of training, all workers together.
    pub workers_samples_per_second: f64,
    /// That over `workers` times the products of one.
    pub workers_roofline_fraction: f64,
    /// Floating-point operations of an image's training step.
    pub flops_per_sample: f64,
}

/// Measures for about `budget` a network of these sizes (D, each H, C) and a batch size.
///
/// # Errors
/// Where the workers cannot be started.
pub fn roofline(
    sizes: &[usize],
    batch_size: usize,
    workers: usize,
    budget: Duration,
) -> Result<Roofline> {
    let probe = Probe::new(sizes, batch_size, BATCHES);
    let mut bench = probe.bench();
    let (mut pure, mut trained) = (Duration::ZERO, Duration::ZERO);
    let (mut images, mut rounds, mut all_workers) = (0, 0, 0.0);
    let begun = Instant::now();
    while rounds < 2 || begun.elapsed() < budget {
        // Turns of a step each meet the machine's moods alike, and neither finds its images in a
        // cache that the other has filled. The first round warms up.
        let batches = probe.part.batches().cycle();
        let others = batches.clone().skip(BATCHES / 2);
        for ((x, _), batch) in batches.zip(others).take(8 * BATCHES) {
            let start = Instant::now();
            bench.products(x);
            let middle = Instant::now();
            bench.train(batch);
            if rounds > 0 {
                pure += middle - start;
                trained += middle.elapsed();
                images += batch.1.len();
            }
        }
        if rounds > 0 {
            all_workers += probe.throughput(workers, Duration::from_secs(2))?;
        }
        rounds += 1;
    }
    let sgemm_samples_per_second = images as f64 / pure.as_secs_f64();
    let workers_samples_per_second = all_workers / f64::from(rounds - 1);
    Ok(Roofline {
        sgemm_samples_per_second,
        train_samples_per_second: images as f64 / trained.as_secs_f64(),
        roofline_fraction: pure.as_secs_f64() / trained.as_secs_f64(),
        workers,
        workers_samples_per_second,
        workers_roofline_fraction: workers_samples_per_second
            / (workers as f64 * sgemm_samples_per_second),
        flops_per_sample: flops_per_sample(sizes),
    })
}

/// The most memory that this process has had resident, in bytes, where the system tells.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bare_products_leave_the_weights_as_they_are() {
        let probe = Probe::new(&[20, 16, 12, 3], 8, 2);
        let mut bench = probe.bench();
        let batch = probe.part.batches().next().unwrap();
        let before = bench.params.clone();
        bench.products(batch.0);
        assert_eq!(bench.params, before);
        bench.train(batch);
        assert_ne!(bench.params, before);
    }
}
