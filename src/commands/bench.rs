//! `rookie bench`: this machine's roofline.

use std::io::{Write, stdout};
use std::time::Duration;

use crate::bench::{peak_rss_bytes, roofline};
use crate::cli::BenchArgs;
use crate::commands::common::Status;
use crate::error::{Result, counted};
use crate::grid::scheduler::default_workers;
use crate::network::gemm::openblas;
use crate::train::hyperparams::Hyperparams;
use crate::train::provenance::cpu;

/// How long it takes, about.
const BUDGET: Duration = Duration::from_secs(30);

/// Measures the paper's network on images of Fashion-MNIST's size.
///
/// # Errors
/// Where OpenBLAS is not as it must be.
pub fn run(args: &BenchArgs) -> Result<Status> {
    let blas = openblas()?;
    let workers = args.jobs.map_or_else(default_workers, usize::from);
    let values = Hyperparams::default();
    let sizes = values.sizes(28 * 28, 10).expect("the paper's network is small");
    let found = roofline(&sizes, values.batch_size, workers, BUDGET)?;
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
        "kernels for {}; network {sizes:?}, batches of {}\n",
        blas.core, values.batch_size
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
