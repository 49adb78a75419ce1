//! This machine's roofline: the time of a training step against that of its products alone, and
//! both against the peak of a core, which no kernels exceed.
//!
//! Both run on the same made-up batches of the paper's shape, in turn and in one process, so that
//! other work on the machine affects both equally. One worker's rates are per second of CPU time.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use crate::data::batches::{Batch, Part};
use crate::data::features::Features;
use crate::data::labelled::Labelled;
use crate::data::preprocess::{Preprocessing, Standardisation};
use crate::error::Result;
use crate::grid::workers::on_each_worker;
use crate::network::kernels::{peak_flops_per_second, thread_time};
use crate::network::mlp::{self, Activation, Workspace, flops_per_sample};
use crate::network::params::{Layer, Params};
use crate::network::update::{Descent, Update};
use crate::statistics::median;

/// So many batches that the images of an epoch do not stay in any cache.
pub(crate) const BATCHES: usize = 32;
/// Small enough that training on made-up labels stays tame however long it goes on.
pub(crate) const UPDATE: Update =
    Update::Sgd { learning_rate: 0.01, weight_decay: 1e-3, momentum: 0.0 };

/// Batches of random images for a network of some sizes.
#[derive(Debug)]
pub struct Probe {
    pub(crate) sizes: Vec<usize>, // D, each H, C
    pub(crate) part: Part,
}

/// One worker's network and buffers.
struct Bench<'p> {
    descent: Descent<'p>,
    work: Workspace,
    bare: Workspace, // of the products alone
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
        let source = Labelled {
            height: 1,
            width: inputs,
            features: Features::bytes(pixels, inputs),
            labels,
        };
        let order: Vec<usize> = (0..images).collect();
        let rows = source.features.rows(&order);
        let measured = Preprocessing::measure(rows, Standardisation::Batch, Vec::new());
        let part = Part::new(&source, &order, batch_size, measured.in_batches(inputs));
        Self { sizes: sizes.to_vec(), part }
    }

    /// Weights, and the slots of [`UPDATE`].
    pub(crate) fn network(&self) -> (Params, Vec<Vec<Layer>>) {
        let params = Params::he_init(&self.sizes, 0);
        let slots = params.zero_slots(UPDATE.slots());
        (params, slots)
    }

    fn bench<'p>(&self, (params, slots): &'p mut (Params, Vec<Vec<Layer>>)) -> Bench<'p> {
        let workspace = || Workspace::new(&self.sizes, self.part.largest_batch());
        let descent = Descent::begin(params, slots, UPDATE);
        Bench { descent, work: workspace(), bare: workspace() }
    }

    /// Images a second that `workers` train together, measured for `duration`, give or take a step.
    ///
    /// # Errors
    /// Where the workers cannot be started.
    pub fn throughput(&self, workers: usize, duration: Duration) -> Result<f64> {
        let ready = Barrier::new(workers);
        let rates = on_each_worker(workers, |_| {
            let mut network = self.network();
            let mut bench = self.bench(&mut network);
            bench.train(self.part.batches().next().expect("some batches"));
            ready.wait();
            bench.repeat(Bench::train, &self.part, 1, duration)
        })?;
        Ok(rates.iter().sum())
    }
}

impl Bench<'_> {
    /// A training step.
    fn train(&mut self, batch: Batch<'_>) {
        mlp::train_step(&mut self.descent, Activation::Relu, batch, &mut self.work);
    }

    /// Images a second of a piece of work, from the batch `first` on, for `duration`, give or take
    /// a step.
    fn repeat(
        &mut self,
        piece: fn(&mut Self, Batch<'_>),
        part: &Part,
        first: usize,
        duration: Duration,
    ) -> f64 {
        let (start, mut images) = (Instant::now(), 0);
        for batch in part.batches().cycle().skip(first) {
            images += batch.1.len();
            piece(self, batch);
            if start.elapsed() >= duration {
                break;
            }
        }
        images as f64 / start.elapsed().as_secs_f64()
    }

    /// The products alone and training, step by step in turns, each on a batch that the other
    /// leaves out of the caches.
    fn train_against_products(&mut self, part: &Part, first: usize) -> Alone {
        let (mut products, mut trained, mut images) = (Duration::ZERO, Duration::ZERO, 0);
        let batches = part.batches().cycle().skip(first);
        let others = batches.clone().skip(BATCHES / 2);
        let begun = Instant::now();
        for (batch, other) in batches.zip(others) {
            let start = thread_time();
            self.products(other);
            let middle = thread_time();
            self.train(batch);
            trained += thread_time().saturating_sub(middle);
            products += middle.saturating_sub(start);
            images += batch.1.len();
            if begun.elapsed() >= TURN {
                break;
            }
        }
        let wall_seconds = begun.elapsed().as_secs_f64();
        Alone {
            sgemm: images as f64 / products.as_secs_f64(),
            train: images as f64 / trained.as_secs_f64(),
            busy_share: (1.0 - (products + trained).as_secs_f64() / wall_seconds).max(0.0),
            peak: peak_flops_per_second(),
        }
    }

    /// The products of a training step and nothing else.
    fn products(&mut self, (x, _): Batch<'_>) {
        mlp::products_alone(self.descent.stored(), x, &mut self.bare);
    }
}

/// What a machine can do and does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Images per second of CPU time of the products alone, one worker.
    pub sgemm_samples_per_second: f64,
    /// Images per second of CPU time of training, one worker.
    pub train_samples_per_second: f64,
    /// The second over the first.
    pub roofline_fraction: f64,
    /// How many workers the lines that follow are of.
    pub workers: usize,
    /// Images a second of the products alone, all workers together: what the machine itself keeps
    /// of its speed when all cores are busy.
    pub workers_sgemm_samples_per_second: f64,
    /// Images a second of training, all workers together.
    pub workers_samples_per_second: f64,
    /// That over `workers` times the products of one.
    pub workers_roofline_fraction: f64,
    /// Floating-point operations of an image's training step.
    pub flops_per_sample: f64,
    /// The most that one core could do of these a second, in registers alone, where that can be
    /// measured.
    pub peak_flops_per_second: Option<f64>,
    /// The share of the wall time in which one worker did not run, because the core did other work.
    pub busy_share: f64,
}

impl Roofline {
    /// The share of a core's peak that is used at so many images a second.
    pub fn peak_fraction(&self, samples_per_second: f64) -> Option<f64> {
        Some(samples_per_second * self.flops_per_sample / self.peak_flops_per_second?)
    }
}

/// How long one worker measures before all do, and they before it does again: so short that the
/// machine's moods meet both alike.
pub(crate) const TURN: Duration = Duration::from_millis(250);

/// What one worker found in a turn. Rates are per second of CPU time, so that other programs on the
/// core hardly change them.
#[derive(Debug, Clone, Copy)]
struct Alone {
    sgemm: f64, // images per second
    train: f64,
    busy_share: f64,   // of the wall time
    peak: Option<f64>, // floating-point operations per second
}

/// What one turn found.
#[derive(Debug, Clone, Copy)]
struct Turn {
    alone: Alone,
    workers_sgemm: f64, // images per second of wall time, all workers together
    workers_train: f64,
}

/// Measures for about `budget` a network of these sizes (D, each H, C) and a batch size: one worker
/// and all of them in turns. Each rate is the median of its turns, so that a burst of other work on
/// the machine does not count.
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
    let begun = Instant::now();
    let (together, over) = (Barrier::new(workers), AtomicBool::new(false));
    let (all, turns) = (Mutex::new((0.0, 0.0)), Mutex::new(Vec::new()));
    on_each_worker(workers, |worker| {
        let mut network = probe.network();
        let mut bench = probe.bench(&mut network);
        let mut first = 0; // the batch that a turn begins with
        while !over.load(Ordering::Relaxed) {
            let alone = (worker == 0).then(|| bench.train_against_products(&probe.part, first));
            together.wait();
            let products = bench.repeat(Bench::products, &probe.part, first, TURN);
            together.wait();
            let training = bench.repeat(Bench::train, &probe.part, first, TURN);
            {
                let mut all = all.lock().expect("no panic while holding it");
                *all = (all.0 + products, all.1 + training);
            }
            together.wait();
            if let Some(alone) = alone {
                let (workers_sgemm, workers_train) =
                    std::mem::take(&mut *all.lock().expect("no panic while holding it"));
                let mut turns = turns.lock().expect("no panic while holding it");
                turns.push(Turn { alone, workers_sgemm, workers_train });
                over.store(turns.len() > 1 && begun.elapsed() >= budget, Ordering::Relaxed);
            }
            together.wait();
            first = (first + 7) % BATCHES;
        }
    })?;
    let turns = turns.into_inner().expect("no panic while holding it");
    Ok(summary(sizes, workers, &turns))
}

/// The median over turns, of which there is at least one.
pub(crate) fn median_of(rates: impl Iterator<Item = f64>) -> f64 {
    median(&rates.collect::<Vec<_>>()).expect("a turn")
}

/// The medians of all turns but the first, which warms up, and the highest peak of all.
fn summary(sizes: &[usize], workers: usize, turns: &[Turn]) -> Roofline {
    let middle = |rate: fn(&Turn) -> f64| median_of(turns[1..].iter().map(rate));
    let sgemm_samples_per_second = middle(|turn| turn.alone.sgemm);
    let train_samples_per_second = middle(|turn| turn.alone.train);
    let workers_samples_per_second = middle(|turn| turn.workers_train);
    Roofline {
        sgemm_samples_per_second,
        train_samples_per_second,
        roofline_fraction: train_samples_per_second / sgemm_samples_per_second,
        workers,
        workers_sgemm_samples_per_second: middle(|turn| turn.workers_sgemm),
        workers_samples_per_second,
        workers_roofline_fraction: workers_samples_per_second
            / (workers as f64 * sgemm_samples_per_second),
        flops_per_sample: flops_per_sample(sizes),
        peak_flops_per_second: turns
            .iter()
            .filter_map(|turn| turn.alone.peak)
            .max_by(f64::total_cmp),
        busy_share: middle(|turn| turn.alone.busy_share),
    }
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
    fn a_burst_of_other_work_does_not_count() {
        let turn = |alone| Turn { alone, workers_sgemm: 196.0, workers_train: 190.0 };
        let alone = Alone { sgemm: 100.0, train: 98.0, busy_share: 0.0, peak: Some(3e6) };
        let calm = turn(alone);
        let burst = Alone { sgemm: 60.0, busy_share: 0.5, peak: Some(1e6), ..alone };
        let burst = Turn { workers_train: 90.0, ..turn(burst) };
        // The first turn counts for the peak alone.
        let first = turn(Alone { sgemm: 1.0, train: 1.0, busy_share: 0.9, peak: Some(4e6) });
        let found = summary(&[784, 10], 2, &[first, calm, burst, calm]);
        assert_eq!(found.roofline_fraction, 0.98);
        assert_eq!(found.workers_roofline_fraction, 0.95);
        // 15,680 operations forward and as many for the update.
        assert_eq!(found.flops_per_sample, 31_360.0);
        assert_eq!(found.peak_fraction(100.0), Some(0.784));
        assert_eq!(found.busy_share, 0.0);
        let slower = turn(Alone { train: 94.0, ..alone });
        let found = summary(&[784, 10], 2, &[calm, calm, slower]);
        assert_eq!(found.train_samples_per_second, 96.0);
    }

    #[test]
    fn the_bare_products_do_nothing_to_the_weights() {
        let probe = Probe::new(&[20, 16, 12, 3], 8, 2);
        let mut network = probe.network();
        let mut bench = probe.bench(&mut network);
        let batch = probe.part.batches().next().unwrap();
        bench.products(batch);
        assert_eq!(*bench.descent.stored(), probe.network().0);
        bench.train(batch);
        assert_ne!(*bench.descent.stored(), probe.network().0);
    }
}
