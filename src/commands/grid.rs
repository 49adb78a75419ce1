//! `rookie grid`: plan, check, train in parallel, rank.

use std::io::{IsTerminal, Write, stderr, stdin};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::training::GridArgs;
use crate::commands::common::{
    Status, default_folder, overrides, print, refuse_value_of_switch, save_every, terminal_width,
    unless_closed,
};
use crate::commands::data::{describe_data, folder_name, load, warn_of_batches};
use crate::commands::dry_run::{dry_run, memory_line, plan_shards, say_trained_before, workers};
use crate::commands::refit;
use crate::data::dataset::Dataset;
use crate::engine::event::Event;
use crate::engine::plan::Plan;
use crate::engine::train_grid::{GridEnd, GridOptions, TOP_ROWS, train_grid};
use crate::error::{Error, Place, Result, counted};
use crate::grid::axis::Axis;
use crate::grid::growth::check_final_states;
use crate::grid::run_folder::{model_of, run_folder};
use crate::grid::shards::Shard;
use crate::grid::space::{Grid, Run};
use crate::grid::store::Store;
use crate::memory::Room;
use crate::network::gemm::openblas;
use crate::progress::{Screen, Totals, duration, say};
use crate::results::ranking_notes::NO_CHOICE;
use crate::signals;
use crate::text::printable;
use crate::train::cautions::cautions;
use crate::train::outcome::{Outcome, Record};
use crate::train::provenance::Provenance;

/// Trains a grid.
///
/// # Errors
/// Where the grid, the data or the results folder are not as they must be, or writing fails.
pub fn run(args: &GridArgs) -> Result<Status> {
    let shard = args.shard.as_deref().map(Shard::parse).transpose()?;
    refuse_value_of_switch(&args.grid, &args.flags)?;
    let mut grid = grid_of(args)?;
    openblas()?;
    let dataset = load(&args.data, None)?;
    grid.suit(&dataset.shape());
    let name = folder_name(&grid.name, &dataset);
    let root = args.out.clone().unwrap_or_else(|| default_folder(&name));
    let runs = runs_of(&grid)?;
    grid.check_against(&runs, dataset.shape())?;
    let data = Provenance::of_data(&dataset);
    for warning in cautions(&data, &runs[0].values) {
        say(&warning);
    }
    warn_of_batches(&dataset, runs.iter().map(|run| run.values.batching()))?;
    let halving = args.halving(grid.halving.clone()).map(|it| it.halving(&runs)).transpose()?;
    if args.refit && runs.iter().any(|run| run.values.validation_size.fold().is_none()) {
        let problem = "found runs without folds, and nothing to choose a configuration by";
        return Err(Error::input(Place::flag("--refit"), problem).hint("add --folds 5"));
    }
    if args.discard_stopped && halving.is_none() {
        let problem = "found no halving, so nothing would be stopped";
        return Err(Error::input(Place::flag("--discard-stopped"), problem).hint("add --halving"));
    }
    if args.keep_states {
        check_final_states(&runs)?;
    }
    if args.dry_run {
        return dry_run(&grid, &runs, &dataset, (&root, shard), (args, halving.as_ref()));
    }
    let store = match shard {
        None => match open(&root, &grid, &data, args)? {
            Some(store) => store,
            None => return Ok(Status::SomethingFailed),
        },
        Some(shard) => {
            let plan =
                |finished: &[bool]| plan_shards(&runs, finished, shard.count, &dataset, args);
            Store::join(&root, (&grid, args.leave_out), &data, shard, &plan)?
        }
    };
    let counts = (store.own_runs(runs.len()).len(), runs.len());
    drop(runs);
    let options = GridOptions {
        workers: workers(args),
        share_stages: !args.no_sharing,
        save_every: save_every(args.checkpoint_every),
        halving,
        discard_stopped: args.discard_stopped,
        keep_states: args.keep_states,
    };
    let dataset = Arc::new(dataset);
    let kept = args.refit.then(|| Arc::clone(&dataset));
    train(&grid, counts, (dataset, kept), &store, &options)
}

/// The grid of the file and the flags. Takes the kernels that they name.
fn grid_of(args: &GridArgs) -> Result<Grid> {
    let mut grid = Grid::find(&args.grid)?;
    let kernels = args.kernels.request().or_else(|| grid.machine.kernels.clone());
    if let Some(kernels) = &kernels {
        kernels.take()?;
    }
    let mut axes = overrides(&args.flags, &args.assignments)?;
    if let Some(folds) = args.folds {
        let folds = Axis::of_folds(Place::Option("folds"), folds)?;
        if let Some(size) = axes.iter().find(|axis| axis.key() == folds.key()) {
            let problem = "is given together with --folds";
            return Err(Error::input(size.place().clone(), problem)
                .hint("leave out one of them, because each fold is a validation set"));
        }
        axes.push(folds);
    }
    for axis in axes {
        grid.set(axis);
    }
    grid.set_search(args.samples, args.search_seed);
    Ok(grid)
}

/// The runs of a grid, which this program can train.
fn runs_of(grid: &Grid) -> Result<Vec<Run>> {
    let runs = grid.runs()?;
    let equal = grid.equal_samples(&runs);
    if equal > 0 {
        let samples = counted(runs.len() + equal, "sample");
        say(&format!("{samples} are {} runs, because equal samples are one run", runs.len()));
    }
    grid.check_combinations(&runs)?;
    Ok(runs)
}

/// Locks a results folder and begins the grid in it; with `--fresh` only if that is agreed to.
fn open(root: &Path, grid: &Grid, data: &Provenance, args: &GridArgs) -> Result<Option<Store>> {
    let mut store = Store::lock(root)?;
    if args.fresh {
        // Asked and counted under the lock: nobody adds to what is removed.
        if !may_start_over(&store, args)? {
            return Ok(None);
        }
        store.clear(grid)?;
    }
    store.begin(grid, args.leave_out, data)?;
    Ok(Some(store))
}

/// Trains what is left, shows it, prints the ranking, and refits if it has the data for it.
fn train(
    grid: &Grid,
    (mine, all): (usize, usize),
    (dataset, for_refit): (Arc<Dataset>, Option<Arc<Dataset>>),
    store: &Store,
    options: &GridOptions,
) -> Result<Status> {
    let interrupt = signals::install()?;
    let screen = Screen::default();
    let about_data = describe_data(&dataset);
    let has_begun = AtomicBool::new(false);
    let on_event = |event: &Event<'_>| {
        if let Event::Planned { plan, finished, rung } = event {
            // At a later rung, what this process has trained itself is not news.
            if !has_begun.swap(true, Ordering::Relaxed) {
                say(&about_data);
                say_shard(store, (mine, all));
                say_trained_before(plan, *finished, mine);
            }
            screen.end();
            say_plan(plan, *rung);
            if !plan.runs.is_empty() {
                let (runs, epochs) = (plan.runs.len(), plan.tree.epochs());
                let totals = Totals { runs, epochs, images: plan.images(0) };
                screen.begin(totals, plan.workers);
            }
        }
        screen.show(event);
    };
    let end = train_grid(grid, dataset, store, options, &on_event, &interrupt);
    drop(screen);
    if matches!(end, Err(Error::Write { .. })) {
        say("stopped by the error below; fix it and run the same command to resume");
    }
    let end = end?;
    if let Some(spent) = end.spent.filter(|_| !interrupt.is_asked()) {
        say(&format!(
            "{} with {}, idle for {:.1} % of it and writing for {:.1} %",
            duration(spent.elapsed.as_secs_f64()),
            counted(spent.workers, "worker"),
            100.0 * spent.idle_share,
            100.0 * spent.writing_share
        ));
    }
    let status = conclude(&end, mine, (store, options.discard_stopped))?;
    match for_refit {
        Some(dataset) if status == Status::Done => {
            refit::run(&end.ranking, &dataset, store, &interrupt)
        }
        _ => {
            if status == Status::Done && store.shard().is_none() {
                refit::say_if_stale(&end.ranking, store);
            }
            Ok(status)
        }
    }
}

/// Says how many of the grid's runs are the shard's, if it is one.
fn say_shard(store: &Store, (mine, all): (usize, usize)) {
    if let Some(shard) = store.shard() {
        say(&format!("shard {shard} has {} of the grid's {all}", counted(mine, "run")));
    }
}

/// Says what is about to be trained.
fn say_plan(plan: &Plan<'_>, rung: Option<usize>) {
    let left = plan.runs.len();
    if left > 0 {
        let (runs, workers) = (counted(left, "run"), counted(plan.workers, "worker"));
        let most = if plan.may_end_early() { "at most " } else { "" };
        let epochs = most.to_string() + &counted(plan.tree.epochs(), "epoch");
        let memory = memory_line(plan, &Room::now());
        let rung = rung.map_or_else(String::new, |epoch| format!(" to epoch {epoch}"));
        say(&format!("training {runs}{rung} in {epochs} with {workers}; memory: {memory}"));
    }
}

/// Prints the ranking and says where everything is.
fn conclude(end: &GridEnd, mine: usize, (store, discarded): (&Store, bool)) -> Result<Status> {
    let is_part = store.shard().is_some();
    let printed = if end.ranking.records().is_empty() || is_part {
        Ok(())
    } else {
        print(&end.ranking.describe(TOP_ROWS, terminal_width()))
    };
    unless_closed(printed, say_end(end, mine, (store, discarded)))
}

/// Says how the grid came out, and whether the checkpoints of stopped runs were discarded.
fn say_end(end: &GridEnd, mine: usize, (store, discarded): (&Store, bool)) -> Status {
    let (root, records) = (store.root().display(), end.ranking.records());
    let is_stopped = |record: &&Record| record.outcome.is_stopped();
    let finished = records.len() - records.iter().filter(is_stopped).count();
    let has_finished = records.iter().any(|record| record.scores().is_some());
    if let Some(signal) = signals::caught().filter(|_| end.left > 0) {
        say(&format!(
            "interrupted: {finished} of {} finished; {root} keeps them and the checkpoints of the others; run the \
             same command, without --fresh, to resume",
            counted(mine, "run")
        ));
        return Status::Interrupted(signal);
    }
    let finished = counted(finished, "run");
    if end.stopped > 0 {
        let runs = counted(end.stopped, "run");
        let then = if discarded { "trains them from their first epoch" } else { "resumes them" };
        say(&format!("halving stopped {runs}; --no-halving instead of --halving {then}"));
    }
    if !end.waits_for.is_empty() {
        let shards: Vec<String> = end.waits_for.iter().map(ToString::to_string).collect();
        let shards = shards.join(", ");
        say(&format!(
            "waiting at a rung for other shards, of which none is at work: {shards}; start these, then the same \
             command again"
        ));
    }
    if let Some(shard) = store.shard() {
        say(&format!("shard {shard}: {finished} in {root}; `rookie rank {root}` ranks all"));
    } else {
        say(&format!("{finished} in {root}/ranking.csv"));
        if let Some(chosen) = end.ranking.chosen_by_mean() {
            let configuration = end.ranking.describe_configuration(&chosen);
            say(&format!(
                "best by mean validation over {}: {configuration}",
                counted(chosen.runs.len(), "run")
            ));
        } else if let Some(chosen) = end.ranking.chosen() {
            let folder = run_folder(store.root(), &chosen.run);
            let model = model_of(&folder);
            say(&if model.exists() {
                format!("best by validation: {}", model.display())
            } else {
                format!("best by validation: {}, whose model is missing", folder.display())
            });
        } else if has_finished {
            say(NO_CHOICE);
        }
    }
    let failed = |record: &&Record| matches!(record.outcome, Outcome::Failed { .. });
    let waits = !end.waits_for.is_empty();
    let mut status = if waits { Status::Waits } else { Status::Done };
    let mut fail = |sentence: &str| {
        say(sentence);
        status = status.max(Status::SomethingFailed);
    };
    if end.left_out > 0 {
        let runs = counted(end.left_out, "run");
        fail(&format!("{runs} left out of {root}/ranking.csv (see above)"));
    }
    match records.iter().filter(failed).count() {
        0 => {}
        count => fail(&format!("{} failed; the same command tries again", counted(count, "run"))),
    }
    if store.shard().is_none() && !has_finished {
        fail("no run finished training");
    }
    status
}

/// Asks whether earlier results may be removed, if there are any.
fn may_start_over(store: &Store, args: &GridArgs) -> Result<bool> {
    let Some([recorded, stopped, states]) = store.count_results()? else { return Ok(true) };
    let root = store.root();
    let own = |path: &Path| path.canonicalize().ok();
    if own(Path::new(&args.grid)).is_some_and(|file| own(&root.join("grid.toml")) == Some(file)) {
        return Err(Error::input(Place::flag("--fresh"), "would remove the grid file itself")
            .hint("name another folder with --out"));
    }
    if args.yes {
        return Ok(true);
    }
    let mut ended = counted(recorded - stopped, "finished run");
    let others = [(stopped, "stopped run"), (states, "checkpoint")];
    for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
        ended.push_str(&format!(", {}", counted(count, what)));
    }
    if !stdin().is_terminal() {
        let problem = format!("would remove {ended} from {}", root.display());
        return Err(Error::input(Place::flag("--fresh"), problem)
            .hint("add --yes, because there is no terminal to ask for confirmation"));
    }
    let question = format!("remove {ended} from {}?", root.display());
    let _ = write!(stderr(), "rookie: {} [y/N] ", printable(&question));
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    let agreed = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
    if !agreed {
        say("nothing was removed");
    }
    Ok(agreed)
}
