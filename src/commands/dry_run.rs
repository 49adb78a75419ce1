//! `rookie grid --dry-run`: what a grid would be and how long it would take.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::bench::Probe;
use crate::bench_bf16::bf16_throughput;
use crate::bf16::instructions::{Instructions, Precision};
use crate::cli::training::GridArgs;
use crate::commands::bench;
use crate::commands::common::{Status, print, write_out};
use crate::data::dataset::Dataset;
use crate::engine::halved_plan::HalvedPlan;
use crate::engine::plan::Plan;
use crate::error::{Result, counted};
use crate::grid::checkpoints::resume_points;
use crate::grid::growth::placed;
use crate::grid::halving_section::HalvingRequest;
use crate::grid::physical_cores::default_workers;
use crate::grid::run_folder::finished_runs;
use crate::grid::shards::Shard;
use crate::grid::shards_file::planned_shards;
use crate::grid::space::{Grid, Run};
use crate::grid::store::refuse_other_results;
use crate::grid::write_speed::runs_per_second;
use crate::memory::{Room, Size};
use crate::network::cores::wider_core;
use crate::network::gemm::{openblas, thorough_test};
use crate::network::kernels;
use crate::network::mlp::flops_per_sample;
use crate::progress::{duration, say};
use crate::results::tables;
use crate::signals;
use crate::text::printable;
use crate::train::halving::Halving;
use crate::train::provenance::Provenance;
use crate::train::reads::Step;

/// How many batches the measurement has.
const PROBE_BATCHES: usize = 4;
/// How long writing is measured.
const MOMENT: Duration = Duration::from_millis(300);

/// Prints what is left of a grid, or of a shard of it, and how long that would take.
///
/// # Errors
/// Where workers cannot be started or standard output fails; for a shard, also what would stop its job.
pub fn dry_run(
    grid: &Grid,
    runs: &[Run],
    dataset: &Dataset,
    (root, shard): (&Path, Option<Shard>),
    (args, halving): (&GridArgs, Option<&Halving>),
) -> Result<Status> {
    thorough_test()?;
    kernels::notice().into_iter().for_each(say);
    let data = Provenance::of_data(dataset);
    let runs = &placed(root, runs.to_vec());
    let finished = refuse_other_results(root, (grid, args.leave_out), &data).and_then(|back| {
        let there = finished_runs(root, runs, &data)?.into_iter();
        Ok(there.zip(runs).map(|(is_there, run)| is_there || back.contains(&run.name)).collect())
    });
    let finished = match finished {
        // A shard is planned for a job that waits, and would fail hours later.
        Err(error) if shard.is_some() => return Err(error),
        _ if args.fresh => None,
        Err(error) => {
            say(&format!("without --dry-run, this would be refused: {}", error.with_flags()));
            None
        }
        Ok::<Vec<bool>, _>(finished) => Some(finished),
    };
    let resumes = finished.is_some();
    let finished = finished.unwrap_or_else(|| vec![false; runs.len()]);
    let all = 0..runs.len();
    let mine: Vec<usize> = match shard {
        None => all.collect(),
        Some(Shard { index, count }) => {
            let planned = planned_shards(root, runs, count, &data).filter(|_| resumes);
            let shard_of =
                planned.unwrap_or_else(|| plan_shards(runs, &finished, count, dataset, args));
            all.filter(|&run| shard_of[run] == index).collect()
        }
    };
    let left: Vec<&Run> =
        mine.iter().filter(|&&run| !finished[run]).map(|&run| &runs[run]).collect();
    let (shape, values) = (dataset.shape(), left.iter().map(|run| &run.values).collect::<Vec<_>>());
    let starts = if resumes {
        resume_points(root, &values, (shape.inputs, shape.classes), &data)?
    } else {
        vec![None; left.len()]
    };
    let plan = Plan::new(left, &starts, (!args.no_sharing, Step::END), workers(args), shape);
    say_trained_before(&plan, mine.len() - plan.runs.len(), mine.len());
    if !plan.runs.is_empty() {
        return estimate(grid, plan, root, (args, halving));
    }
    if mine.is_empty() {
        say("this shard has no run of the grid: there are fewer runs than shards");
    }
    write_out(|out| writeln!(out, "{}", results_line(root)))?;
    Ok(Status::Done)
}

fn results_line(root: &Path) -> String {
    format!("results           {}", printable(&root.display().to_string()))
}

/// Prints the runs that are left and how long they would take.
fn estimate(
    grid: &Grid,
    mut plan: Plan<'_>,
    root: &Path,
    (args, halving): (&GridArgs, Option<&Halving>),
) -> Result<Status> {
    let plan = &mut plan;
    let asked: usize = plan.runs.iter().map(|run| run.values.epochs).sum();
    print_runs(plan)?;
    let room = Room::now();
    plan.fit(&room).as_deref().into_iter().for_each(say);
    let probed = plan.first_that_fits(&room);
    let (workers, sizes) = (plan.workers, plan.sizes(probed));
    let batch_size = plan.runs[probed].values.batch_size.min(plan.images(probed));
    let probe = Probe::new(&sizes, batch_size, PROBE_BATCHES);
    let precision = plan.runs[probed].values.precision;
    let second = Duration::from_secs(1);
    let measured = |precision| match precision {
        Precision::F32 => probe.throughput(workers, second),
        Precision::Bf16 => bf16_throughput(&probe, workers, second),
    };
    let rate = measured(precision)?;
    let flops_per_second = rate * flops_per_sample(&sizes);
    let (kernels, memory) = (kernels_line(workers)?, memory_line(plan, &room));
    let has_choice = precision == Precision::F32 && Instructions::of_processor().is_some();
    let with_bf16 = has_choice.then(|| measured(Precision::Bf16)).transpose()?;
    let halved = halved_plan(grid, plan, (args, halving));
    // At last, because from here on a signal waits until what is written on trial has been removed.
    signals::install()?;
    let writing = runs_per_second(root, workers, plan.bytes_written(probed), MOMENT);
    if let Some(signal) = signals::caught() {
        return Ok(Status::Interrupted(signal));
    }
    let writing = writing.map(|per_second| (plan.runs.len() as f64 / per_second, per_second));
    let training = plan.cost() / flops_per_second;
    let seconds = training + writing.as_ref().map_or(0.0, |(seconds, _)| *seconds);
    write_out(|out| {
        writeln!(out, "\n{}", grid.name)?;
        writeln!(out, "{}", results_line(root))?;
        writeln!(out, "runs              {:>8}", plan.runs.len())?;
        writeln!(out, "epochs asked for  {asked:>8}")?;
        writeln!(
            out,
            "epochs trained    {:>8}{}",
            plan.tree.epochs(),
            about_epochs(args, plan, asked)
        )?;
        writeln!(
            out,
            "expected          {:>8}  with {}, {rate:.0} samples/s measured for a second",
            in_time(seconds),
            counted(workers, "worker"),
        )?;
        if let Some(other) = with_bf16 {
            writeln!(
                out,
                "with bf16         {:>8}  if trained with --precision bf16, {other:.0} samples/s",
                in_time(training * rate / other + seconds - training)
            )?;
        }
        match &halved {
            Some((halved, how)) => write!(out, "{}", halved_lines(halved, how, plan, seconds))?,
            None if halving.is_some() => writeln!(out, "{HALVED_UNKNOWN}")?,
            None => {}
        }
        writeln!(out, "writing           {}", writing_line(&writing))?;
        writeln!(out, "memory            {memory}")?;
        writeln!(out, "kernels           {kernels}")?;
        write!(out, "{}", checkpoints_lines(plan, args.keep_states))
    })?;
    let halved = halved.as_ref().map(|(halved, _)| halved);
    print_scaling(&args.cores, plan, halved, flops_per_second / workers as f64)?;
    Ok(Status::Done)
}

/// What halving comes to where that cannot be told.
const HALVED_UNKNOWN: &str = "\
halved             unknown  because runs have finished or begun, and their scores decide which runs continue;
                            the epochs and times above are those without halving";

/// Why so many epochs are trained of those asked for.
fn about_epochs(args: &GridArgs, plan: &Plan<'_>, asked: usize) -> String {
    let epochs = plan.tree.epochs() + plan.epochs_resumed.unwrap_or(0);
    let saved = 100.0 * (1.0 - epochs as f64 / asked as f64);
    let sharing = match saved {
        _ if args.no_sharing => Some("each run by itself, because of --no-sharing".to_string()),
        0.0 => None,
        saved => Some(format!("{saved:.1} % saved, because runs share their common epochs")),
    };
    let patience = plan.may_end_early().then(|| "at most, patience may end runs early".to_string());
    let all: Vec<String> = sharing.into_iter().chain(patience).collect();
    if all.is_empty() { String::new() } else { format!("  {}", all.join("; ")) }
}

/// What the states of runs in progress take on the disk, and those of runs that have ended, if they are kept.
fn checkpoints_lines(plan: &Plan<'_>, keep_states: bool) -> String {
    let megabytes = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
    let (files, bytes) = plan.checkpoints();
    let mut lines = format!(
        "checkpoints       {:>8}  in at most {}, removed when no longer needed\n",
        megabytes(files as u64 * bytes),
        counted(files, "file"),
    );
    if keep_states {
        let bytes = plan.runs.iter().map(|run| plan.checkpoint_bytes(run)).sum();
        let kept = format!("{:>8}  kept because of --keep-states", megabytes(bytes));
        lines.push_str(&format!("final states      {kept}\n"));
    }
    lines
}

/// Prints a line for each run.
fn print_runs(plan: &Plan<'_>) -> Result<()> {
    let line = |run: &&Run| format!("{}  {}", run.name, counted(run.values.epochs, "epoch"));
    write_out(|out| plan.runs.iter().try_for_each(|run| writeln!(out, "{}", line(run))))
}

/// The plan as it is halved, or could be by default, if nothing of the whole grid has been trained: what has
/// been decides who goes on.
fn halved_plan<'g>(
    grid: &Grid,
    plan: &Plan<'g>,
    (args, halving): (&GridArgs, Option<&Halving>),
) -> Option<(HalvedPlan<'g>, &'static str)> {
    let runs = grid.runs().ok()?;
    let default = || HalvingRequest::default().halving(&runs).ok();
    let (halving, how) = match halving {
        Some(halving) => (halving.clone(), ""),
        None => (default()?, " with --halving"),
    };
    let is_whole = plan.runs.len() == runs.len() && plan.epochs_resumed.is_none();
    is_whole.then(|| (HalvedPlan::new(plan, &halving, !args.no_sharing), how))
}

/// What halving comes to, where the whole grid takes so many seconds.
fn halved_lines(halved: &HalvedPlan<'_>, how: &str, plan: &Plan<'_>, seconds: f64) -> String {
    let rungs = halved.rungs.iter();
    let rungs =
        rungs.map(|(rung, from, kept)| format!("{kept} of {from} continue after epoch {rung}"));
    let rungs = rungs.collect::<Vec<_>>().join(", ");
    let (epochs, share) = (halved.epochs(), halved.cost() / plan.cost());
    let (time, percent) = (in_time(seconds * share), 100.0 * share);
    let megabytes = halved.kept_bytes as f64 / 1e6;
    format!(
        "halved            {epochs:>8}  epochs{how}: {rungs}\n                  {time:>8}  {percent:.0} % of the \
         time; {megabytes:.0} MB of states of stopped runs are kept, unless --discard-stopped\n"
    )
}

/// How many workers there are to be.
pub(super) fn workers(args: &GridArgs) -> usize {
    args.jobs.map_or_else(default_workers, usize::from)
}

/// The shard of each run, of so many. What has finished is the first shard's to see to.
pub(super) fn plan_shards(
    runs: &[Run],
    finished: &[bool],
    count: usize,
    dataset: &Dataset,
    args: &GridArgs,
) -> Vec<usize> {
    let left: Vec<usize> = (0..runs.len()).filter(|&run| !finished[run]).collect();
    let of_left = left.iter().map(|&run| &runs[run]).collect::<Vec<_>>();
    let starts = vec![None; left.len()];
    let plan =
        Plan::new(of_left, &starts, (!args.no_sharing, Step::END), workers(args), dataset.shape());
    let mut shard_of = vec![0; runs.len()];
    for (run, of) in left.into_iter().zip(plan.shards(count)) {
        shard_of[run] = of;
    }
    shard_of
}

/// Says what of so many runs an earlier process has trained.
pub(super) fn say_trained_before(plan: &Plan<'_>, finished: usize, runs: usize) {
    let left = plan.runs.len();
    if finished > 0 {
        say(&format!("{finished} of {} finished before; {left} left", counted(runs, "run")));
    }
    if let Some(epochs) = plan.epochs_resumed {
        let begun = plan.tree.stages.iter().filter(|stage| stage.start.is_some()).count();
        let (stages, epochs) = (counted(begun, "stage"), counted(epochs, "epoch"));
        say(&format!("resuming {stages} in progress, {epochs} trained before"));
    }
}

/// How long writing takes, from its seconds and how many runs are written in one.
fn writing_line(writing: &Result<(f64, f64)>) -> String {
    match writing {
        Ok((seconds, rate)) => {
            let seconds = in_time(*seconds);
            format!(
                "{seconds:>8}  of the expected time, {rate:.0} runs/s measured in the results folder"
            )
        }
        Err(error) => format!(" unknown  {}", printable(&error.to_string())),
    }
}

fn in_time(seconds: f64) -> String {
    if seconds < 360.0 { duration(seconds) } else { format!("{:.2} h", seconds / 3600.0) }
}

/// The most memory that the runs take at once, and what there is.
pub fn memory_line(plan: &Plan<'_>, room: &Room) -> String {
    let needed = format!("about {} at most", Size(plan.memory(room)));
    let left = room.memory.into_iter().chain(room.addresses).min_by_key(|left| left.bytes);
    let line = left.map_or_else(|| needed.clone(), |left| format!("{needed} ({left})"));
    let too_large = plan.runs.iter().filter(|run| plan.is_too_large(run, room)).count();
    match too_large {
        0 => line,
        count => format!("{line}; {} too large even alone", counted(count, "run")),
    }
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
            format!("{line}; {cost:.2} × the speed of {}, both measured briefly", best.name)
        }
        Err(problem) => {
            format!("{line}; the rate of {} is not known: {}", best.name, printable(&problem))
        }
    })
}

/// Prints hours and idle share for each number of cores, as a table: of the whole grid, and of the halved one.
/// `rate` is in floating-point operations a second of one core.
fn print_scaling(
    cores: &[u32],
    plan: &Plan<'_>,
    halved: Option<&HalvedPlan<'_>>,
    rate: f64,
) -> Result<()> {
    let row = |&cores: &u32| {
        let whole = plan.forecast(cores as usize);
        let halved = halved.map(|halved| halved.forecast(cores as usize));
        let times = std::iter::once((whole.length, whole.idle_share)).chain(halved);
        let cells = times.flat_map(|(length, idle)| {
            [format!("{:.2}", length / rate / 3600.0), format!("{:.1} %", 100.0 * idle)]
        });
        std::iter::once(cores.to_string()).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = cores.iter().map(row).collect();
    let header = ["Cores", "Hours", "Idle", "Hours halved", "Idle halved"].map(String::from);
    let Some(first) = rows.first() else { return Ok(()) };
    print(&format!("\n{}", tables::markdown(&header[..first.len()], &rows)))
}
