//! This machine's roofline: the time of a training step against that of its products alone.
//!
//! Both run on the same made-up batches of the paper's shape, in turn and in one process, so that
//! whatever else the machine does meets both alike.

use std::fs;
use std::time::{Duration, Instant};

use ndarray::{Array2, s};

use crate::data::batches::{Part, ZScore};
use crate::data::dataset::Labelled;
use crate::error::Result;
use crate::grid::scheduler::on_each_worker;
use crate::network::gemm::gemm;
use crate::network::mlp::{self, Activation, Workspace};
use crate::network::params::Params;
use crate::network::sgd::Sgd;

/// So many batches that the images of an epoch do not stay in any cache.
const BATCHES: usize = 32;
/// Small enough that training on made-up labels stays tame however long it goes on.
const SGD: Sgd = Sgd { learning_rate: 0.01, weight_decay: 1e-3, momentum: 0.0 };

/// One worker's network, batches and buffers.
struct Probe {
    part: Part,
    params: Params,
    work: Workspace,
    outputs: Vec<Array2<f32>>, // (N, H) and (N, C): what the bare products write to
}

impl Probe {
    /// A network of these sizes (D, each H, C) and batches of random images.
    fn new(sizes: &[usize], batch_size: usize) -> Self {
        let (inputs, classes) = (sizes[0], sizes[sizes.len() - 1]);
        let images = batch_size * BATCHES;
        // A linear congruential generator's upper bits are random enough for grey values.
        let mut state = 1_u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let pixels = (0..images * inputs).map(|_| draw()).collect();
        let labels = (0..images).map(|_| draw() % classes.min(256) as u8).collect();
        let source = Labelled { height: 1, width: inputs, pixels, labels };
        let order: Vec<usize> = (0..images).collect();
        let z = ZScore { mean: 0.5, std: 0.3 };
        Self {
            part: Part::new(&source, &order, batch_size, z),
            params: Params::he_init(sizes, 0),
            work: Workspace::new(sizes, batch_size),
            outputs: sizes[1..].iter().map(|&w| Array2::zeros((batch_size, w))).collect(),
        }
    }

    /// An epoch of training steps.
    fn train(&mut self) {
        for batch in self.part.batches() {
            mlp::train_step(&mut self.params, None, Activation::Relu, SGD, batch, &mut self.work);
        }
    }

    /// The products of an epoch's training steps and nothing else, on operands of the same shapes.
    fn products(&mut self) {
        let last = self.params.layers.len() - 1;
        for (x, _) in self.part.batches() {
            let rows = x.nrows();
            for (index, layer) in self.params.layers.iter().enumerate() {
                let (before, at) = self.outputs.split_at_mut(index);
                let a = before.last().map_or(x, |a| a.slice(s![..rows, ..]));
                gemm(1.0, a, layer.weights.view(), 0.0, at[0].slice_mut(s![..rows, ..]));
            }
            for index in (0..=last).rev() {
                let (before, at) = self.outputs.split_at_mut(index);
                let layer = &mut self.params.layers[index];
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

    fn images(&self) -> usize {
        self.part.len()
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

/// Floating-point operations of a training step for one image: two for each weight forward, for
/// its gradient, and, past the first layer, for what is passed on.
pub fn flops_per_sample(sizes: &[usize]) -> f64 {
    let weights = |pair: &[usize]| (pair[0] * pair[1]) as f64;
    let all: f64 = sizes.windows(2).map(weights).sum();
    6.0 * all - 2.0 * weights(&sizes[..2])
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
    let mut probe = Probe::new(sizes, batch_size);
    let (mut pure, mut trained) = (Duration::ZERO, Duration::ZERO);
    let mut all_workers = 0.0;
    let mut rounds = 0;
    probe.products();
    probe.train();
    let begun = Instant::now();
    while rounds == 0 || begun.elapsed() < budget {
        // In turns short against the machine's moods.
        for _ in 0..4 {
            let start = Instant::now();
            probe.products();
            let middle = Instant::now();
            probe.train();
            pure += middle - start;
            trained += middle.elapsed();
        }
        all_workers += throughput(sizes, batch_size, workers, Duration::from_secs(2))?;
        rounds += 1;
    }
    let images = (4 * rounds * probe.images()) as f64;
    let sgemm_samples_per_second = images / pure.as_secs_f64();
    let workers_samples_per_second = all_workers / f64::from(rounds as u32);
    Ok(Roofline {
        sgemm_samples_per_second,
        train_samples_per_second: images / trained.as_secs_f64(),
        roofline_fraction: pure.as_secs_f64() / trained.as_secs_f64(),
        workers,
        workers_samples_per_second,
        workers_roofline_fraction: workers_samples_per_second
            / (workers as f64 * sgemm_samples_per_second),
        flops_per_sample: flops_per_sample(sizes),
    })
}

/// Images a second that `workers` train together, measured for about `duration`.
///
/// # Errors
/// Where the workers cannot be started.
pub fn throughput(
    sizes: &[usize],
    batch_size: usize,
    workers: usize,
    duration: Duration,
) -> Result<f64> {
    let ready = std::sync::Barrier::new(workers);
    let rates = on_each_worker(workers, |_| {
        let mut probe = Probe::new(sizes, batch_size);
        probe.train();
        ready.wait();
        let start = Instant::now();
        let mut epochs = 0;
        while start.elapsed() < duration {
            probe.train();
            epochs += 1;
        }
        (epochs * probe.images()) as f64 / start.elapsed().as_secs_f64()
    })?;
    Ok(rates.iter().sum())
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
    fn the_paper_s_network_takes_2_5_million_operations_an_image() {
        let (d, h1, h2, c) = (784.0, 500.0, 324.0, 10.0);
        let forward_and_gradients = 4.0 * (d * h1 + h1 * h2 + h2 * c);
        let passed_on = 2.0 * (h1 * h2 + h2 * c);
        let found = flops_per_sample(&[784, 500, 324, 10]);
        assert_eq!(found, forward_and_gradients + passed_on);
    }

    #[test]
    fn the_bare_products_leave_the_weights_as_they_are() {
        let mut probe = Probe::new(&[20, 16, 12, 3], 8);
        let before = probe.params.clone();
        probe.products();
        assert_eq!(probe.params, before);
        probe.train();
        assert_ne!(probe.params, before);
    }
}
