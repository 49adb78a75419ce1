//! Training in bf16 as [`crate::bench`] measures it in float32: the rate, its parts, and the peak of a core.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use ndarray::ArrayView2;

use crate::bench::{BATCHES, Probe, TURN, UPDATE, median_of};
use crate::bf16::images::PackedImages;
use crate::bf16::instructions::Instructions;
use crate::bf16::kernels::address;
use crate::bf16::room::Room;
use crate::bf16::tiles::{Block, EDGE, Tiles};
use crate::error::Result;
use crate::grid::workers::on_each_worker;
use crate::network::bf16::{PARTS, PackedNetwork};
use crate::network::kernels::thread_time;
use crate::network::mlp::{Activation, flops_per_sample};
use crate::network::params::{Layer, Params};
use crate::network::update::Descent;

/// Batches of [`Probe`] in bf16.
struct PackedProbe<'p> {
    instructions: Instructions,
    batches: Vec<(PackedImages, &'p [u8])>,
}

/// One worker's network in bf16.
struct PackedBench<'p> {
    descent: Descent<'p>,
    network: PackedNetwork,
    batches: &'p [(PackedImages, &'p [u8])],
}

impl<'p> PackedProbe<'p> {
    fn new(probe: &'p Probe, instructions: Instructions) -> Self {
        let mut room = Room::default();
        let mut packed = |x: ArrayView2<'_, f32>| {
            let mut images = PackedImages::with_room(x.nrows(), x.ncols(), &mut room);
            images.pack(x, instructions);
            images
        };
        let batches = probe.part.batches().map(|(x, labels)| (packed(x), labels)).collect();
        Self { instructions, batches }
    }
}

impl PackedProbe<'_> {
    fn bench<'p>(
        &'p self,
        probe: &Probe,
        (params, slots): &'p mut (Params, Vec<Vec<Layer>>),
    ) -> PackedBench<'p> {
        let mut descent = Descent::begin(params, slots, UPDATE);
        let shape = (&probe.sizes[..], probe.part.largest_batch(), UPDATE.slots());
        let mut network = PackedNetwork::new(shape, self.instructions);
        network.load(&mut descent);
        PackedBench { descent, network, batches: &self.batches }
    }
}

impl PackedBench<'_> {
    /// A training step on a batch, by number; how many images it has.
    fn train(&mut self, batch: usize, on_end: impl FnMut(usize)) -> usize {
        let (x, labels) = &self.batches[batch % self.batches.len()];
        let batch = (x, *labels);
        self.network.train_step_by_part(&mut self.descent, Activation::Relu, batch, on_end);
        labels.len()
    }

    /// Images a second of wall time from the batch `first` on, for `duration`, give or take a step.
    fn repeat(&mut self, first: usize, duration: Duration) -> f64 {
        let (start, mut images) = (Instant::now(), 0);
        for batch in first.. {
            images += self.train(batch, |_| {});
            if start.elapsed() >= duration {
                break;
            }
        }
        images as f64 / start.elapsed().as_secs_f64()
    }

    /// Seconds of CPU time an image of each part of a step, and the share of the wall time in which
    /// this worker did not run.
    fn by_part(&mut self, first: usize) -> ([f64; PARTS.len()], f64) {
        let (mut parts, mut images) = ([Duration::ZERO; PARTS.len()], 0);
        let begun = Instant::now();
        for batch in first.. {
            let mut last = thread_time();
            images += self.train(batch, |part| {
                let now = thread_time();
                parts[part] += now.saturating_sub(last);
                last = now;
            });
            if begun.elapsed() >= TURN {
                break;
            }
        }
        let wall = begun.elapsed().as_secs_f64();
        let busy_share = 1.0 - parts.iter().sum::<Duration>().as_secs_f64() / wall;
        (parts.map(|time| time.as_secs_f64() / images as f64), busy_share.max(0.0))
    }
}

/// Images a second that `workers` train together in bf16, measured for `duration`, give or take a step.
///
/// # Errors
/// Where this processor does not multiply bf16, or the workers cannot be started.
pub fn bf16_throughput(probe: &Probe, workers: usize, duration: Duration) -> Result<f64> {
    let (ready, packed) =
        (Barrier::new(workers), PackedProbe::new(probe, Instructions::required()?));
    let rates = on_each_worker(workers, |_| {
        let mut network = probe.network();
        let mut bench = packed.bench(probe, &mut network);
        bench.train(0, |_| {});
        ready.wait();
        bench.repeat(1, duration)
    })?;
    Ok(rates.iter().sum())
}

/// What one turn found; see [`Bf16Rates`].
#[derive(Debug, Clone, Copy)]
struct Bf16Turn {
    parts: [f64; PARTS.len()],
    busy_share: f64,
    peak: f64,
    workers_train: f64,
}

/// What a machine does in bf16.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bf16Rates {
    /// What multiplies.
    pub instructions: Instructions,
    /// Seconds of CPU time that a step takes for one image, one worker: each of [`PARTS`].
    pub seconds_per_sample: [f64; PARTS.len()],
    /// How many workers the rate that follows is of.
    pub workers: usize,
    /// Images a second of wall time, all workers together.
    pub workers_samples_per_second: f64,
    /// Floating-point operations of an image's training step.
    pub flops_per_sample: f64,
    /// The most of these that products of tiles in the first-level cache come to, per second of CPU time.
    pub peak_flops_per_second: f64,
    /// The share of the wall time in which one worker did not run, because the core did other work.
    pub busy_share: f64,
}

impl Bf16Rates {
    /// Images per second of CPU time, one worker.
    pub fn train_samples_per_second(&self) -> f64 {
        1.0 / self.seconds_per_sample.iter().sum::<f64>()
    }
}

/// Measures training in bf16 for about `budget`, as `roofline` does in float32.
///
/// # Errors
/// Where this processor does not multiply bf16, or the workers cannot be started.
pub fn bf16_rates(
    sizes: &[usize],
    batch_size: usize,
    workers: usize,
    budget: Duration,
) -> Result<Bf16Rates> {
    let instructions = Instructions::required()?;
    let probe = Probe::new(sizes, batch_size, BATCHES);
    let packed = PackedProbe::new(&probe, instructions);
    let begun = Instant::now();
    let (together, over) = (Barrier::new(workers), AtomicBool::new(false));
    let (all, turns) = (Mutex::new(0.0), Mutex::new(Vec::new()));
    on_each_worker(workers, |worker| {
        let mut network = probe.network();
        let mut bench = packed.bench(&probe, &mut network);
        let mut first = 0;
        while !over.load(Ordering::Relaxed) {
            let alone = (worker == 0).then(|| (bench.by_part(first), bf16_peak(instructions)));
            together.wait();
            let rate = bench.repeat(first, TURN);
            *all.lock().expect("no panic while holding it") += rate;
            together.wait();
            if let Some(((parts, busy_share), peak)) = alone {
                let workers_train =
                    std::mem::take(&mut *all.lock().expect("no panic while holding it"));
                let mut turns = turns.lock().expect("no panic while holding it");
                turns.push(Bf16Turn { parts, busy_share, peak, workers_train });
                over.store(turns.len() > 1 && begun.elapsed() >= budget, Ordering::Relaxed);
            }
            together.wait();
            first = (first + 7) % BATCHES;
        }
    })?;
    let turns = turns.into_inner().expect("no panic while holding it");
    let turns = &turns[1..]; // the first warms up
    let middle = |of: fn(&Bf16Turn) -> f64| median_of(turns.iter().map(of));
    let part = |part: usize| median_of(turns.iter().map(|turn| turn.parts[part]));
    Ok(Bf16Rates {
        instructions,
        seconds_per_sample: std::array::from_fn(part),
        workers,
        workers_samples_per_second: middle(|turn| turn.workers_train),
        flops_per_sample: flops_per_sample(sizes),
        peak_flops_per_second: turns.iter().map(|turn| turn.peak).fold(0.0, f64::max),
        busy_share: middle(|turn| turn.busy_share),
    })
}

/// Floating-point operations per second of CPU time of a product of operands that stay in the
/// first-level cache: the fastest of several bursts.
fn bf16_peak(instructions: Instructions) -> f64 {
    const BLOCKS: usize = 6; // 12 KiB of each operand
    const ROUNDS: usize = 500;
    let (tiles, operand) = (instructions.configure(), [Tiles::ZERO; BLOCKS]);
    let mut product = Block::ZERO;
    let operations = (2 * EDGE * EDGE * EDGE * BLOCKS * ROUNDS) as f64;
    let rates = (0..6).map(|_| {
        let begun = thread_time();
        for _ in 0..ROUNDS {
            let ahead = [address(&operand, 0); 2];
            instructions.multiply(&tiles, &operand, &operand, &mut product, ahead);
        }
        std::hint::black_box(&product);
        operations / thread_time().saturating_sub(begun).as_secs_f64()
    });
    rates.fold(0.0, f64::max)
}
