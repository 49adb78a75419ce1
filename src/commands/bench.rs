//! `rookie bench`: this machine's roofline.

use std::time::Duration;

use crate::bench::{Roofline, peak_rss_bytes, roofline};
use crate::bench_bf16::{Bf16Rates, bf16_rates};
use crate::bf16::instructions::{Instructions, Precision};
use crate::bf16::required::{cpu, require_bf16};
use crate::cli::training::BenchArgs;
use crate::commands::common::{Status, print};
use crate::error::{Error, Place, Result, counted};
use crate::grid::physical_cores::default_workers;
use crate::network::bf16::PARTS;
use crate::network::cores::wider_core;
use crate::network::gemm::{OpenBlas, openblas, thorough_test};
use crate::network::kernels::{chosen_by, notice, program_on};
use crate::progress::say;
use crate::train::hyperparams::Hyperparams;

/// The least share of a core's peak that good kernels use on the paper's shapes: 0.7 and more.
const FAIR_SHARE_OF_PEAK: f64 = 0.5;
/// The share of time that other programs may take from a worker before the machine counts as busy.
const BUSY_SHARE: f64 = 0.1;
/// How many seconds a measurement for comparison takes, about.
const SECONDS_TO_COMPARE: u16 = 2;

/// Measures the paper's network on images of Fashion-MNIST's size.
///
/// # Errors
/// Where OpenBLAS is not as it must be.
pub fn run(args: &BenchArgs) -> Result<Status> {
    args.kernels.take()?;
    let blas = openblas()?;
    notice().into_iter().for_each(say);
    let workers = args.jobs.map_or_else(default_workers, usize::from);
    let values = Hyperparams::default();
    let sizes = values.sizes(28 * 28, 10).expect("the paper's network is small");
    thorough_test()?;
    let budget = Duration::from_secs(args.seconds.into());
    if args.precision == Precision::Bf16.name() {
        let error = |problem| Error::input(Place::Option("precision"), problem);
        require_bf16(Instructions::of_processor(), error)?;
        let found = bf16_rates(&sizes, values.batch_size, workers, budget)?;
        return run_bf16(
            &found,
            args.json,
            &format!("network {sizes:?}, batches of {}", values.batch_size),
        );
    }
    let found = roofline(&sizes, values.batch_size, workers, budget)?;
    if args.json {
        print(&json(&found, blas).to_string())?;
    } else {
        let network = format!("network {sizes:?}, batches of {}", values.batch_size);
        print(text(&found, blas, &network).trim_end())?;
    }
    for sentence in advice(&found, &blas.core) {
        say(&sentence);
    }
    Ok(Status::Done)
}

/// Prints what was measured in bf16.
fn run_bf16(found: &Bf16Rates, as_json: bool, network: &str) -> Result<Status> {
    if as_json {
        print(&bf16_json(found).to_string())?;
    } else {
        print(bf16_text(found, network).trim_end())?;
    }
    busy_advice(found.busy_share).as_deref().into_iter().for_each(say);
    Ok(Status::Done)
}

fn bf16_json(found: &Bf16Rates) -> serde_json::Value {
    let rate = found.train_samples_per_second();
    let train = rate * found.flops_per_sample;
    let share = |(part, seconds): (&&str, f64)| (part.replace(' ', "_"), (seconds * rate).into());
    let shares: serde_json::Map<String, serde_json::Value> =
        PARTS.iter().zip(found.seconds_per_sample).map(share).collect();
    serde_json::json!({
        "bf16": found.instructions.to_string(),
        "train_samples_per_second": rate,
        "workers": found.workers,
        "workers_samples_per_second": found.workers_samples_per_second,
        "gflop_per_second": train / 1e9,
        "peak_gflop_per_second": found.peak_flops_per_second / 1e9,
        "train_peak_fraction": train / found.peak_flops_per_second,
        "share_of_step": shares,
        "busy_share": found.busy_share,
        "peak_rss_bytes": peak_rss_bytes(),
        "cpu": cpu(),
    })
}

fn bf16_text(found: &Bf16Rates, network: &str) -> String {
    let (rate, flops) = (found.train_samples_per_second(), found.flops_per_sample);
    let peak = found.peak_flops_per_second / 1e9;
    let mut text = format!(
        "bf16 with {} on {}; {network}\n\n{:<53}  {peak:>8.1} GFLOP/s\n",
        found.instructions,
        cpu(),
        "peak of one core (tiles in the first-level cache)"
    );
    let share = format!("{:.2} of the peak", rate * flops / found.peak_flops_per_second);
    text += &line("training, 1 worker", rate, flops, &[share]);
    for (part, seconds) in PARTS.iter().zip(found.seconds_per_sample) {
        let (micros, percent) = (1e6 * seconds, 100.0 * seconds * rate);
        text += &format!("  {part:<29}{micros:>10.3} µs/sample  {percent:.1} %\n");
    }
    if found.workers > 1 {
        let (all, count) = (found.workers_samples_per_second, found.workers as f64);
        let name = format!("training, {}", counted(found.workers, "worker"));
        let share = format!("{:.3} of {count} × (training, 1 worker)", all / (rate * count));
        text += &line(&name, all, flops, &[share]);
    }
    text
}

/// A line of the text: a rate and what it amounts to, with its shares of others.
fn line(name: &str, rate: f64, flops_per_sample: f64, shares: &[String]) -> String {
    let (gflops, shares) = (rate * flops_per_sample / 1e9, shares.join(", "));
    let line = format!("{name:<31}{rate:>10.0} samples/s  {gflops:>8.1} GFLOP/s  {shares}");
    format!("{}\n", line.trim_end())
}

fn json(found: &Roofline, blas: &OpenBlas) -> serde_json::Value {
    serde_json::json!({
        "sgemm_samples_per_second": found.sgemm_samples_per_second,
        "train_samples_per_second": found.train_samples_per_second,
        "roofline_fraction": found.roofline_fraction,
        "workers": found.workers,
        "workers_sgemm_samples_per_second": found.workers_sgemm_samples_per_second,
        "workers_samples_per_second": found.workers_samples_per_second,
        "workers_roofline_fraction": found.workers_roofline_fraction,
        "peak_rss_bytes": peak_rss_bytes(),
        "gflop_per_second": found.train_samples_per_second * found.flops_per_sample / 1e9,
        "peak_gflop_per_second": found.peak_flops_per_second.map(|peak| peak / 1e9),
        "sgemm_peak_fraction": found.peak_fraction(found.sgemm_samples_per_second),
        "train_peak_fraction": found.peak_fraction(found.train_samples_per_second),
        "busy_share": found.busy_share,
        "openblas": blas.build,
        "openblas_core": blas.core,
        "openblas_core_chosen_by": chosen_by().to_string(),
        "cpu": cpu(),
    })
}

fn text(found: &Roofline, blas: &OpenBlas, network: &str) -> String {
    let line =
        |name: &str, rate: f64, shares: &[String]| line(name, rate, found.flops_per_sample, shares);
    let of_peak = |rate: f64| {
        let disturbed = |share| if share > 1.0 { ", which was disturbed" } else { "" };
        let share = found.peak_fraction(rate);
        share.map(|share| format!("{share:.2} of the peak{}", disturbed(share))).into_iter()
    };
    let workers = counted(found.workers, "worker");
    let mut text = format!("{} on {}\n{}\n", blas.build, cpu(), blas.library);
    text += &format!("kernels for {}, chosen by {}; {network}\n\n", blas.core, chosen_by());
    if let Some(peak) = found.peak_flops_per_second {
        let name = "peak of one core (registers only)";
        text += &format!("{name:<53}  {:>8.1} GFLOP/s\n", peak / 1e9);
    }
    let rate = found.sgemm_samples_per_second;
    text += &line("products alone, 1 worker", rate, &of_peak(rate).collect::<Vec<_>>());
    let rate = found.train_samples_per_second;
    let of_products = format!("{:.3} of the products alone", found.roofline_fraction);
    let shares: Vec<String> = std::iter::once(of_products).chain(of_peak(rate)).collect();
    text += &line("training, 1 worker", rate, &shares);
    if found.workers > 1 {
        let name = format!("products alone, {workers}");
        text += &line(&name, found.workers_sgemm_samples_per_second, &[]);
        let (share, count) = (found.workers_roofline_fraction, found.workers);
        let share = format!("{share:.3} of {count} × (products alone, 1 worker)");
        text += &line(&format!("training, {workers}"), found.workers_samples_per_second, &[share]);
    }
    if let Some(bytes) = peak_rss_bytes() {
        text += &format!("peak resident memory           {:>10.0} MB\n", bytes as f64 / 1e6);
    }
    text
}

/// What other programs took, if it was much.
fn busy_advice(busy_share: f64) -> Option<String> {
    (busy_share > BUSY_SHARE).then(|| {
        format!(
            "the machine is busy: one worker had to wait for {:.0} % of the time; measure again when \
             no other programs run",
            100.0 * busy_share
        )
    })
}

/// What spoiled the measurement, and what to do where the products use less than half of what the
/// core can do.
fn advice(found: &Roofline, core: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let is_busy = found.busy_share > BUSY_SHARE;
    sentences.extend(busy_advice(found.busy_share));
    let fastest = found.sgemm_samples_per_second.max(found.train_samples_per_second);
    if found.peak_fraction(fastest).is_some_and(|share| share > 1.0) {
        sentences.push(
            "the products exceed the measured peak, so other work disturbed its measurement; \
             measure again"
                .to_string(),
        );
    }
    let share = found.peak_fraction(found.sgemm_samples_per_second);
    let Some(share) = share.filter(|share| *share < FAIR_SHARE_OF_PEAK) else { return sentences };
    let low =
        format!("the products use only {share:.2} of this core's peak with the {core} kernels");
    match wider_core(core) {
        Some(best) => sentences
            .push(format!("{low}; compare with --kernels {}", best.name.to_ascii_lowercase())),
        // Programs that share caches with this one slow it down as narrow kernels do.
        None if is_busy => {}
        None => sentences.push(format!(
            "{low}; stop other programs and measure again, or install a newer OpenBLAS"
        )),
    }
    sentences
}

/// Images per second that so many workers train together on the kernels of a core, measured by this
/// program in another process, because a process cannot change its kernels.
///
/// # Errors
/// Why it could not be measured.
pub fn rate_with(core: &str, workers: usize) -> std::result::Result<f64, String> {
    let seconds = SECONDS_TO_COMPARE.to_string();
    let workers = workers.to_string();
    let arguments = ["bench", "--json", "--seconds", &seconds, "--jobs", &workers];
    let mut program = program_on(core).map_err(|error| error.to_string())?;
    let output = program.args(arguments).output().map_err(|error| error.to_string())?;
    let Ok(found) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(message.lines().last().unwrap_or("the measurement failed").to_string());
    };
    let has_core = found["openblas_core"].as_str().is_some_and(|it| it.eq_ignore_ascii_case(core));
    let rate = found["workers_samples_per_second"].as_f64().filter(|_| has_core);
    rate.ok_or_else(|| format!("OpenBLAS does not have the {core} kernels"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::cores::best_core;

    fn found(peak: Option<f64>) -> Roofline {
        Roofline {
            sgemm_samples_per_second: 100.0,
            train_samples_per_second: 99.0,
            roofline_fraction: 0.99,
            workers: 2,
            workers_sgemm_samples_per_second: 200.0,
            workers_samples_per_second: 190.0,
            workers_roofline_fraction: 0.95,
            flops_per_sample: 1e6,
            peak_flops_per_second: peak,
            busy_share: 0.02,
        }
    }

    #[test]
    fn kernels_that_use_little_of_the_peak_are_told_of_with_what_to_do() {
        assert_eq!(advice(&found(None), "Prescott"), [""; 0]);
        assert_eq!(advice(&found(Some(2e8)), "Prescott"), [""; 0]);
        if let Some(wider) = wider_core("Prescott") {
            let sentence =
                "the products use only 0.25 of this core's peak with the Prescott kernels";
            let name = wider.name.to_ascii_lowercase();
            let expected = format!("{sentence}; compare with --kernels {name}");
            assert_eq!(advice(&found(Some(4e8)), "Prescott"), [expected]);
            // Others with as wide vectors are no better.
            let sentences = advice(&found(Some(4e8)), wider.name);
            assert!(sentences[0].ends_with("install a newer OpenBLAS"), "{sentences:?}");
        }
    }

    #[test]
    fn a_busy_machine_and_a_disturbed_peak_are_named_and_kernels_are_not_blamed() {
        let disturbed = found(Some(8e7));
        let sentences = advice(&disturbed, "Haswell");
        assert!(sentences[0].starts_with("the products exceed the measured peak"), "{sentences:?}");
        let blas = OpenBlas { build: String::new(), core: String::new(), library: String::new() };
        let shown = text(&disturbed, &blas, "network");
        assert!(shown.contains("  1.25 of the peak, which was disturbed\n"), "{shown}");
        let busy = Roofline { busy_share: 0.34, ..found(Some(4e8)) };
        let widest = best_core().map_or("Prescott", |core| core.name);
        let sentences = advice(&busy, widest);
        let expected = "the machine is busy: one worker had to wait for 34 % of the time";
        assert!(sentences.len() == 1 && sentences[0].starts_with(expected), "{sentences:?}");
    }

    #[test]
    fn one_worker_has_one_pair_of_lines() {
        let blas = OpenBlas { build: String::new(), core: String::new(), library: String::new() };
        let one = text(&Roofline { workers: 1, ..found(None) }, &blas, "network");
        assert_eq!(one.matches("training, 1 worker").count(), 1, "{one}");
        let two = text(&found(None), &blas, "network");
        assert!(two.contains("0.950 of 2 × (products alone, 1 worker)"), "{two}");
    }
}
