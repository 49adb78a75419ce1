//! `rookie bench`: this machine's roofline.

use std::io::{Write, stdout};
use std::time::Duration;

use crate::bench::{peak_rss_bytes, roofline};
use crate::cli::BenchArgs;
use crate::commands::common::Status;
use crate::error::{Result, counted};
use crate::grid::scheduler::default_workers;
use crate::network::gemm::{openblas, thorough_test};
use crate::network::kernels::{chosen_by, notice, own_program};
use crate::progress::say;
use crate::train::hyperparams::Hyperparams;
use crate::train::provenance::cpu;

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
    let peak = peak_rss_bytes();
    let mut out = stdout().lock();
    if args.json {
        let object = serde_json::json!({
            "sgemm_samples_per_second": found.sgemm_samples_per_second,
            "train_samples_per_second": found.train_samples_per_second,
            "roofline_fraction": found.roofline_fraction,
            "workers": found.workers,
            "workers_sgemm_samples_per_second": found.workers_sgemm_samples_per_second,
            "workers_samples_per_second": found.workers_samples_per_second,
            "workers_roofline_fraction": found.workers_roofline_fraction,
            "peak_rss_bytes": peak,
            "gflop_per_second": found.train_samples_per_second * found.flops_per_sample / 1e9,
            "openblas": blas.build,
            "openblas_core": blas.core,
            "openblas_core_chosen_by": chosen_by().to_string(),
            "cpu": cpu(),
        });
        writeln!(out, "{object}")?;
        out.flush()?;
        return Ok(Status::Done);
    }
    let gflops = |rate: f64| rate * found.flops_per_sample / 1e9;
    let line = |rate: f64| format!("{rate:>10.0} samples/s  {:>8.1} GFLOP/s", gflops(rate));
    writeln!(out, "{} on {}\n{}", blas.build, cpu(), blas.library)?;
    writeln!(
        out,
        "kernels for {}, chosen by {}; network {sizes:?}, batches of {}\n",
        blas.core,
        chosen_by(),
        values.batch_size
    )?;
    writeln!(out, "products alone, 1 worker       {}", line(found.sgemm_samples_per_second))?;
    writeln!(
        out,
        "training, 1 worker             {}  {:.3} of the products alone",
        line(found.train_samples_per_second),
        found.roofline_fraction
    )?;
    let name = format!("products alone, {}", counted(workers, "worker"));
    writeln!(out, "{name:<31}{}", line(found.workers_sgemm_samples_per_second))?;
    let name = format!("training, {}", counted(workers, "worker"));
    writeln!(
        out,
        "{name:<31}{}  {:.3} of {workers} times the products of one",
        line(found.workers_samples_per_second),
        found.workers_roofline_fraction
    )?;
    if let Some(peak) = peak {
        writeln!(out, "peak resident memory           {:>10.0} MB", peak as f64 / 1e6)?;
    }
    out.flush()?;
    Ok(Status::Done)
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
