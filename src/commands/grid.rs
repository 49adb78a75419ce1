//! `rookie grid`: plan, check, train in parallel, rank.

use std::io::{IsTerminal, Write, stderr, stdin, stdout};
use std::path::Path;
use std::time::Duration;

use crate::bench::Probe;
use crate::cli::GridArgs;
use crate::commands::bench;
use crate::commands::campaign::Campaign;
use crate::commands::common::{
    Status, check_against, default_folder, load, overrides, warn_of_batches,
};
use crate::commands::saving::SaveEvery;
use crate::data::dataset::Dataset;
use crate::error::{Error, Place, Result, counted};
use crate::grid::scheduler::forecast;
use crate::grid::shards::{Shard, assign};
use crate::grid::space::{Grid, Run};
use crate::grid::stages::{Stage, StageTree};
use crate::grid::store::{self, Store};
use crate::grid::workers::default_workers;
use crate::network::cores::best_core;
use crate::network::gemm::{openblas, thorough_test};
use crate::network::kernels;
use crate::network::mlp::flops_per_sample;
use crate::progress::{duration, say};
use crate::report::tables;
use crate::train::checkpoint::checkpoint_bytes;
use crate::train::hyperparams::Checked;

/// How many batches the measurement of a dry run has.
const PROBE_BATCHES: usize = 4;

/// Trains a grid.
///
/// # Errors
/// Where the grid, the data or the results folder are not as they must be, or writing fails.
pub fn run(args: &GridArgs) -> Result<Status> {
    let shard = args.shard.as_deref().map(Shard::parse).transpose()?;
    let mut grid = Grid::find(&args.grid)?;
    let kernels = args.kernels.request().or_else(|| grid.machine.kernels.clone());
    if let Some(kernels) = &kernels {
        kernels.take()?;
    }
    for axis in overrides(&args.flags, &args.assignments)? {
        grid.set(axis);
    }
    let mut runs = grid.runs()?;
    let root = args.out.clone().unwrap_or_else(|| default_folder(&grid.name));
    openblas()?;
    let dataset = load(args.data.data.as_deref())?;
    runs.iter().try_for_each(|run| check_against(&dataset, &run.values, grid.origins()))?;
    warn_of_batches(&dataset, runs.iter().map(|run| run.values.batching()));
    let workers = args.jobs.map_or_else(default_workers, usize::from);
    let sharing = !args.no_sharing;
    if args.dry_run {
        thorough_test()?;
        kernels::notice().into_iter().for_each(say);
        if let Some(shard) = shard {
            let shard_of =
                shards_of_left(&runs, &vec![false; runs.len()], shard, &dataset, sharing);
            let mut shard_of = shard_of.into_iter();
            runs.retain(|_| shard_of.next() == Some(shard.index));
            if runs.is_empty() {
                say(&format!(
                    "shard {shard} has no run of the grid: there are fewer runs than shards"
                ));
                return Ok(Status::Done);
            }
        }
        return dry_run(&grid, &runs, &dataset, workers, args);
    }
    if args.fresh && !may_start_over(&root, args)? {
        return Ok(Status::SomethingFailed);
    }
    let (store, mine) = match shard {
        None => (Store::open(&root, &grid, args.fresh)?, runs.iter().collect()),
        Some(shard) => {
            let plan = |ended: &[bool]| shards_of_left(&runs, ended, shard, &dataset, sharing);
            let (store, shard_of) = Store::join(&root, (&grid, &runs), shard, &plan)?;
            let of_runs = runs.iter().zip(shard_of);
            let mine = of_runs.filter(|(_, of)| *of == shard.index).map(|(run, _)| run).collect();
            (store, mine)
        }
    };
    let every = SaveEvery::asked_for(args.checkpoint_every);
    Campaign::begin((&grid, &runs), mine, store, dataset, every)?.train(workers, sharing)
}

/// The shard of each run, balanced by what is left. What has ended is the first shard's to see to.
fn shards_of_left(
    runs: &[Run],
    ended: &[bool],
    shard: Shard,
    dataset: &Dataset,
    sharing: bool,
) -> Vec<usize> {
    let left: Vec<usize> = (0..runs.len()).filter(|&run| !ended[run]).collect();
    let values: Vec<&Checked> = left.iter().map(|&run| &runs[run].values).collect();
    let tree = StageTree::plan(&values, &vec![None; values.len()], sharing);
    let cost = |stage: &Stage| {
        let values = values[stage.run];
        let sizes = values.sizes(dataset.train.inputs(), dataset.classes);
        let images = dataset.train.len() - values.validation_size;
        images as f64 * flops_per_sample(&sizes.expect("checked against the data"))
    };
    let mut shard_of = vec![0; runs.len()];
    for (run, of) in left.iter().zip(assign(&tree, left.len(), shard.count, &cost)) {
        shard_of[*run] = of;
    }
    shard_of
}

/// Asks whether earlier results may be removed, if there are any.
fn may_start_over(root: &Path, args: &GridArgs) -> Result<bool> {
    let Some((ended, states)) = store::count_results(root)? else { return Ok(true) };
    let own = |path: &Path| path.canonicalize().ok();
    if own(Path::new(&args.grid)).is_some_and(|file| own(&root.join("grid.toml")) == Some(file)) {
        return Err(Error::input(Place::flag("--fresh"), "would remove the grid file itself")
            .hint("name another folder with --out"));
    }
    if args.yes {
        return Ok(true);
    }
    let mut ended = counted(ended, "finished run");
    if states > 0 {
        ended.push_str(&format!(" and {} under way", counted(states, "stage")));
    }
    if !stdin().is_terminal() {
        let problem = format!("would remove {ended} from {}", root.display());
        return Err(Error::input(Place::flag("--fresh"), problem)
            .hint("add --yes to agree, as there is no terminal to ask on"));
    }
    let _ = write!(stderr(), "rookie: remove {ended} from {}? [y/N] ", root.display());
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    let agreed = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
    if !agreed {
        say("nothing was removed");
    }
    Ok(agreed)
}

/// Tells what a grid would be and how long it would take.
fn dry_run(
    grid: &Grid,
    runs: &[Run],
    dataset: &Dataset,
    workers: usize,
    args: &GridArgs,
) -> Result<Status> {
    let mut out = stdout().lock();
    let asked: usize = runs.iter().map(|run| run.values.epochs).sum();
    for run in runs {
        writeln!(out, "{}  {}", run.name, counted(run.values.epochs, "epoch"))?;
    }
    let values: Vec<&Checked> = runs.iter().map(|run| &run.values).collect();
    let tree = StageTree::plan(&values, &vec![None; runs.len()], !args.no_sharing);
    let sizes = |run: &Run| run.values.sizes(dataset.train.inputs(), dataset.classes);
    let sizes = |run: &Run| sizes(run).expect("checked against the data");
    let first = &runs[0];
    let workers = workers.min(runs.len());
    let batch_size = first.values.batch_size.min(dataset.train.len());
    let probe = Probe::new(&sizes(first), batch_size, PROBE_BATCHES);
    let rate = probe.throughput(workers, Duration::from_secs(1))?;
    let operations = |stage: &Stage| {
        let run = &runs[stage.run];
        let images = (dataset.train.len() - run.values.validation_size) * stage.epochs();
        images as f64 * flops_per_sample(&sizes(run))
    };
    let operations: f64 = tree.stages.iter().map(operations).sum();
    let seconds = operations / (rate * flops_per_sample(&sizes(first)));
    let epoch_cost = |stage: &Stage| {
        let run = &runs[stage.run];
        (dataset.train.len() - run.values.validation_size) as f64 * flops_per_sample(&sizes(run))
    };
    let states = forecast(&tree, workers, &epoch_cost);
    // A file for each state that is alive, and one that a worker is just writing.
    let files = states.most_states + workers;
    let largest = runs.iter().map(|run| checkpoint_bytes(&run.values, &sizes(run))).max();
    writeln!(out, "\n{}", grid.name)?;
    writeln!(out, "runs              {:>8}", runs.len())?;
    writeln!(out, "epochs asked for  {asked:>8}")?;
    writeln!(
        out,
        "epochs trained    {:>8}  {:.1} % saved, as runs share what they have in common",
        tree.epochs(),
        100.0 * (1.0 - tree.epochs() as f64 / asked as f64)
    )?;
    writeln!(
        out,
        "expected          {:>8}  with {}, {rate:.0} samples/s measured for a second",
        if seconds < 360.0 { duration(seconds) } else { format!("{:.2} h", seconds / 3600.0) },
        counted(workers, "worker"),
    )?;
    writeln!(out, "kernels           {}", kernels_line(workers)?)?;
    writeln!(
        out,
        "checkpoints       {:>8}  in at most {}, removed as they are no longer needed",
        format!("{:.0} MB", (files as u64 * largest.unwrap_or(0)) as f64 / 1e6),
        counted(files, "file"),
    )?;
    if !args.cores.is_empty() {
        let per_core = rate * flops_per_sample(&sizes(first)) / workers as f64;
        let cores = args.cores.iter().map(|&cores| cores as usize);
        writeln!(
            out,
            "\n{}",
            scaling(cores, |cores| {
                let played = forecast(&tree, cores, &epoch_cost);
                (played.length / per_core, played.idle_share)
            })
        )?;
    }
    out.flush()?;
    Ok(Status::Done)
}

/// The kernels, who chose them, and what that costs where they are not the widest that fit this
/// processor.
fn kernels_line(workers: usize) -> Result<String> {
    let core = &openblas()?.core;
    let line = format!("{core:>8}  chosen by {}", kernels::chosen_by());
    let Some(best) = best_core().filter(|best| !best.name.eq_ignore_ascii_case(core)) else {
        return Ok(line);
    };
    let rate = |name: &str| bench::rate_with(name, workers);
    let cost = rate(core).and_then(|here| Ok(here / rate(best.name)?));
    Ok(match cost {
        Ok(cost) => {
            format!("{line}; {cost:.2} of the rate of {} (seconds of bench each)", best.name)
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
