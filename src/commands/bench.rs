//! `rookie bench`: this machine's roofline.

use std::io::{Write, stdout};
use std::time::Duration;

use crate::bench::{Roofline, peak_rss_bytes, roofline};
use crate::cli::BenchArgs;
use crate::commands::common::Status;
use crate::error::{Result, counted};
use crate::grid::physical_cores::default_workers;
use crate::network::cores::best_core;
use crate::network::gemm::{OpenBlas, openblas, thorough_test};
use crate::network::kernels::{chosen_by, notice, own_program};
use crate::progress::say;
use crate::train::hyperparams::Hyperparams;
use crate::train::provenance::cpu;

/// The least share of a core's peak that good kernels use on the paper's shapes: 0.7 and more.
const FAIR_SHARE_OF_PEAK: f64 = 0.5;
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
    let found = roofline(&sizes, values.batch_size, workers, budget)?;
    let mut out = stdout().lock();
    if args.json {
        writeln!(out, "{}", json(&found, blas))?;
    } else {
        let network = format!("network {sizes:?}, batches of {}", values.batch_size);
        out.write_all(text(&found, blas, &network).as_bytes())?;
    }
    out.flush()?;
    if let Some(advice) = advice(&found, &blas.core) {
        say(&advice);
    }
    Ok(Status::Done)
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
        "openblas": blas.build,
        "openblas_core": blas.core,
        "openblas_core_chosen_by": chosen_by().to_string(),
        "cpu": cpu(),
    })
}

fn text(found: &Roofline, blas: &OpenBlas, network: &str) -> String {
    let line = |name: &str, rate: f64, shares: &[String]| {
        let gflops = rate * found.flops_per_sample / 1e9;
        let shares = shares.join(", ");
        let line = format!("{name:<31}{rate:>10.0} samples/s  {gflops:>8.1} GFLOP/s  {shares}");
        format!("{}\n", line.trim_end())
    };
    let of_peak = |rate: f64| {
        found.peak_fraction(rate).map(|share| format!("{share:.2} of the peak")).into_iter()
    };
    let workers = counted(found.workers, "worker");
    let mut text = format!("{} on {}\n{}\n", blas.build, cpu(), blas.library);
    text += &format!("kernels for {}, chosen by {}; {network}\n\n", blas.core, chosen_by());
    if let Some(peak) = found.peak_flops_per_second {
        text += &format!("peak of a core, {:<38}{:>8.1} GFLOP/s\n", "no memory", peak / 1e9);
    }
    let rate = found.sgemm_samples_per_second;
    text += &line("products alone, 1 worker", rate, &of_peak(rate).collect::<Vec<_>>());
    let rate = found.train_samples_per_second;
    let of_products = format!("{:.3} of the products alone", found.roofline_fraction);
    let shares: Vec<String> = std::iter::once(of_products).chain(of_peak(rate)).collect();
    text += &line("training, 1 worker", rate, &shares);
    let name = format!("products alone, {workers}");
    text += &line(&name, found.workers_sgemm_samples_per_second, &[]);
    let share = format!(
        "{:.3} of {} times the products of one",
        found.workers_roofline_fraction, found.workers
    );
    text += &line(&format!("training, {workers}"), found.workers_samples_per_second, &[share]);
    if let Some(bytes) = peak_rss_bytes() {
        text += &format!("peak resident memory           {:>10.0} MB\n", bytes as f64 / 1e6);
    }
    text
}

/// What to do where the products use less than half of what the core can do.
fn advice(found: &Roofline, core: &str) -> Option<String> {
    let share = found.peak_fraction(found.sgemm_samples_per_second)?;
    if share >= FAIR_SHARE_OF_PEAK {
        return None;
    }
    let low =
        format!("the products use only {share:.2} of this core's peak with the {core} kernels");
    Some(match best_core().filter(|best| !best.name.eq_ignore_ascii_case(core)) {
        Some(best) => {
            format!("{low}; compare with --kernels {}", best.name.to_ascii_lowercase())
        }
        None => format!("{low}; let nothing else run beside, or install a newer OpenBLAS"),
    })
}

/// Images a second that so many workers train together on the kernels of a core, measured by this
/// program in another process, because a process cannot change its kernels.
///
/// # Errors
/// Why it could not be measured.
pub fn rate_with(core: &str, workers: usize) -> std::result::Result<f64, String> {
    let seconds = SECONDS_TO_COMPARE.to_string();
    let workers = workers.to_string();
    let arguments =
        ["bench", "--json", "--kernels", core, "--seconds", &seconds, "--jobs", &workers];
    let mut program = own_program().map_err(|error| error.to_string())?;
    let output = program.args(arguments).output().map_err(|error| error.to_string())?;
    let found: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
    found
        .and_then(|found| found["workers_samples_per_second"].as_f64())
        .ok_or_else(|| String::from_utf8_lossy(&output.stderr).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_use_little_of_the_peak_are_told_of_with_what_to_do() {
        let found = |peak: Option<f64>| Roofline {
            sgemm_samples_per_second: 100.0,
            train_samples_per_second: 99.0,
            roofline_fraction: 0.99,
            workers: 2,
            workers_sgemm_samples_per_second: 200.0,
            workers_samples_per_second: 190.0,
            workers_roofline_fraction: 0.95,
            flops_per_sample: 1e6,
            peak_flops_per_second: peak,
        };
        assert_eq!(advice(&found(None), "Prescott"), None);
        assert_eq!(advice(&found(Some(2e8)), "Prescott"), None);
        let sentence = advice(&found(Some(4e8)), "Prescott").unwrap();
        assert!(
            sentence.starts_with("the products use only 0.25 of this core's peak"),
            "{sentence}"
        );
        let best = best_core().map_or("Prescott", |best| best.name);
        let sentence = advice(&found(Some(4e8)), best).unwrap();
        assert!(sentence.ends_with("install a newer OpenBLAS"), "{sentence}");
    }
}
