//! `rookie grid --dry-run`: what a grid would be and how long it would take.

use std::io::Write;
use std::time::Duration;

use crate::bench::Probe;
use crate::bench_bf16::bf16_throughput;
use crate::bf16::instructions::{Instructions, Precision};
use crate::cli::GridArgs;
use crate::commands::bench;
use crate::commands::common::{Status, print, write_out};
use crate::engine::plan::Plan;
use crate::error::{Result, counted};
use crate::grid::space::{Grid, Run};
use crate::network::cores::wider_core;
use crate::network::gemm::openblas;
use crate::network::kernels;
use crate::network::mlp::flops_per_sample;
use crate::progress::duration;
use crate::results::tables;

/// How many batches the measurement has.
const PROBE_BATCHES: usize = 4;

/// Prints what a grid would be and how long it would take.
///
/// # Errors
/// Where workers cannot be started or standard output fails.
pub fn dry_run(grid: &Grid, plan: &Plan<'_>, args: &GridArgs) -> Result<Status> {
    let asked: usize = plan.runs.iter().map(|run| run.values.epochs).sum();
    let line = |run: &&Run| format!("{}  {}", run.name, counted(run.values.epochs, "epoch"));
    write_out(|out| plan.runs.iter().try_for_each(|run| writeln!(out, "{}", line(run))))?;
    let (workers, sizes) = (plan.workers, plan.sizes(0));
    let batch_size = plan.runs[0].values.batch_size.min(plan.images(0));
    let probe = Probe::new(&sizes, batch_size, PROBE_BATCHES);
    let precision = plan.runs[0].values.precision;
    let second = Duration::from_secs(1);
    let measured = |precision| match precision {
        Precision::F32 => probe.throughput(workers, second),
        Precision::Bf16 => bf16_throughput(&probe, workers, second),
    };
    let rate = measured(precision)?;
    let flops_per_second = rate * flops_per_sample(&sizes);
    let seconds = plan.cost() / flops_per_second;
    let (files, bytes) = plan.checkpoints();
    let kernels = kernels_line(workers)?;
    let time = |seconds: f64| {
        if seconds < 360.0 { duration(seconds) } else { format!("{:.2} h", seconds / 3600.0) }
    };
    let has_choice = precision == Precision::F32 && Instructions::of_processor().is_some();
    let with_bf16 = has_choice.then(|| measured(Precision::Bf16)).transpose()?;
    write_out(|out| {
        writeln!(out, "\n{}", grid.name)?;
        writeln!(out, "runs              {:>8}", plan.runs.len())?;
        writeln!(out, "epochs asked for  {asked:>8}")?;
        writeln!(
            out,
            "epochs trained    {:>8}  {:.1} % saved, because runs share what they have in common",
            plan.tree.epochs(),
            100.0 * (1.0 - plan.tree.epochs() as f64 / asked as f64)
        )?;
        writeln!(
            out,
            "expected          {:>8}  with {}, {rate:.0} samples/s measured for a second",
            time(seconds),
            counted(workers, "worker"),
        )?;
        if let Some(other) = with_bf16 {
            writeln!(
                out,
                "with bf16         {:>8}  if trained with --precision bf16, {other:.0} samples/s",
                time(seconds * rate / other)
            )?;
        }
        writeln!(out, "kernels           {kernels}")?;
        writeln!(
            out,
            "checkpoints       {:>8}  in at most {}, removed as they are no longer needed",
            format!("{:.0} MB", (files as u64 * bytes) as f64 / 1e6),
            counted(files, "file"),
        )
    })?;
    if !args.cores.is_empty() {
        let cores = args.cores.iter().map(|&cores| cores as usize);
        let table = scaling(cores, |cores| {
            let simulated = plan.forecast(cores);
            (simulated.length * workers as f64 / flops_per_second, simulated.idle_share)
        });
        print(&format!("\n{table}"))?;
    }
    Ok(Status::Done)
}

/// The kernels, who chose them, and what that costs where their vectors are narrower than this
/// processor's.
fn kernels_line(workers: usize) -> Result<String> {
    let core = &openblas()?.core;
    let line = format!("{core:>8}  chosen by {}", kernels::chosen_by());
    let Some(best) = wider_core(core) else { return Ok(line) };
    let rate = |name: &str| bench::rate_with(name, workers);
    let cost = rate(core).and_then(|here| Ok(here / rate(best.name)?));
    Ok(match cost {
        Ok(cost) => {
            format!("{line}; {cost:.2} of the rate of {}, both measured briefly", best.name)
        }
        Err(problem) => format!("{line}; the rate of {} is not known: {problem}", best.name),
    })
}

/// Hours and idle share for each number of cores, as a table.
fn scaling(cores: impl Iterator<Item = usize>, play: impl Fn(usize) -> (f64, f64)) -> String {
    let row = |cores: usize| {
        let (seconds, idle) = play(cores);
        vec![
            cores.to_string(),
            format!("{:.2}", seconds / 3600.0),
            format!("{:.1} %", 100.0 * idle),
        ]
    };
    let header = ["Cores", "Hours", "Idle"].map(String::from);
    tables::markdown(&header, &cores.map(row).collect::<Vec<_>>())
}
