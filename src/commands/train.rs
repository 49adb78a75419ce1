//! `rookie train`: one run, from flags or a TOML file.

use std::io::{Write, stdout};
use std::iter;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::cli::TrainArgs;
use crate::commands::campaign::panic_on_purpose;
use crate::commands::common::{
    Status, check_against, default_folder, load, overrides, say_data, unless_closed,
    warn_of_batches,
};
use crate::commands::saving::{Carried, SaveEvery, Stopped};
use crate::data::batches::Batches;
use crate::error::{Error, Place, Result};
use crate::grid::checkpoints::{Checkpoints, saved_in};
use crate::grid::space::descriptive_name;
use crate::grid::store::{
    clear_run, clear_states, has_stray_files, is_grid, lock, make_folder, missing_file, read_run,
    states_of, write_run,
};
use crate::network::gemm::openblas;
use crate::network::kernels;
use crate::progress::{Progress, Totals, say};
use crate::report::ranking::wilson_interval;
use crate::report::tables::percent;
use crate::signals;
use crate::train::hyperparams::{Checked, Hyperparams, KEYS, Key};
use crate::train::model::Model;
use crate::train::origins::Origins;
use crate::train::outcome::{CurveRow, Outcome, Record, read_values};
use crate::train::provenance::{self, mixed_kernels, same_data};
use crate::train::run::{Position, TrainState};
use crate::train::toml_file::TomlFile;

/// The line of a record's provenance that names the weights that it began from.
const INIT: &str = "init_sha256";

/// Trains one run.
///
/// # Errors
/// Where values, data, model or folder are not as they must be, or writing fails.
pub fn run(args: &TrainArgs) -> Result<Status> {
    args.kernels.take()?;
    openblas()?;
    let init = args.init.as_deref().map(Init::read).transpose()?;
    let (values, origins) = values(args, init.as_ref())?;
    let folder = args.out.clone().unwrap_or_else(|| folder_of(&values, init.as_ref()));
    let dataset = load(args.data.data.as_deref())?;
    let mut provenance = provenance::lines(&dataset)?;
    provenance.extend(init.as_ref().map(|init| (INIT.to_string(), init.sha256.clone())));
    let under_way = !saved_in(&states_of(&folder))?.is_empty();
    if !args.fresh
        && !under_way
        && let Some(record) = finished(&folder, &values, &provenance)?
    {
        say(&format!("{} holds this run already; --fresh trains it again", folder.display()));
        return tell(&record, &folder);
    }
    check_against(&dataset, &values, &origins)?;
    if let Some(init) = &init {
        init.model.fits(&init.path, dataset.train.inputs(), dataset.classes)?;
    }
    if is_grid(&folder) {
        return Err(Error::input(Place::file(&folder), "holds a grid's results")
            .hint("name another folder with --out"));
    }
    make_folder(&folder, "--out")?;
    let _lock = lock(&folder)?;
    if args.fresh {
        clear_states(&states_of(&folder))?;
    }
    say_data(&dataset);
    warn_of_batches(&dataset, iter::once(values.batching()));
    let batches = Batches::new(&dataset, values.batching())?;
    drop(dataset);
    let state = match init {
        Some(init) => TrainState::new(&values, init.model.params),
        None => TrainState::drawn(&values, &batches).expect("the size was checked"),
    };
    signals::install()?;
    let every = SaveEvery::asked_for(args.checkpoint_every);
    let (mut carried, checkpoints) = begun(state, &values, &batches, &folder, &provenance)?;
    let stopped = train(&mut carried, &values, &batches, every, &provenance, &checkpoints)?;
    if stopped == Stopped::Asked {
        say(&format!(
            "interrupted after epoch {} of {}; the same command{} goes on from there",
            carried.state.epoch(),
            values.epochs,
            if args.fresh { " without --fresh" } else { "" }
        ));
        return Ok(Status::Interrupted(signals::caught().expect("only a signal breaks it off")));
    }
    let mut work = carried.state.workspace(&batches, None);
    let (trained, seconds) = carried.finish((&values, &batches), &mut work);
    let outcome = trained.outcome.clone();
    let record = Record { values, outcome, seconds, provenance: carried.provenance(&provenance) };
    if carried.failure.is_none() && carried.is_unsaved() {
        // By this state the files that follow are known as this run's until the last is there.
        let bytes = carried.bytes_to_save(&record.values, &provenance);
        checkpoints.save((0, Position::START), &[0], &bytes)?;
    }
    clear_run(&folder)?;
    write_run(&folder, &trained, &record)?;
    checkpoints.let_go(&[0])?;
    tell(&record, &folder)
}

/// The run as it was saved, if it was, and where it is saved.
fn begun(
    drawn: TrainState,
    values: &Checked,
    batches: &Batches,
    folder: &Path,
    provenance: &[(String, String)],
) -> Result<(Carried, Checkpoints)> {
    for saved in saved_in(&states_of(folder))? {
        let same = saved.values == *values && init_of(&saved.provenance) == init_of(provenance);
        if !same {
            return Err(Error::input(Place::file(folder), "holds another run under way")
                .hint("go on with that one first, replace it with --fresh, or use another --out"));
        }
    }
    let sizes = (batches.train.inputs(), batches.classes);
    let (checkpoints, found) =
        Checkpoints::open(states_of(folder), None, &[values], sizes, provenance)?;
    for warning in &found.warnings {
        say(warning);
    }
    kernels::notice().into_iter().for_each(say);
    let cores = found.cores.iter().map(String::as_str);
    if let Some(warning) = mixed_kernels(cores, provenance) {
        say(&warning);
    }
    let carried = match found.starts[0] {
        None => Carried::new(drawn),
        Some(start) => {
            let saved = checkpoints.load(start.saved)?;
            say(&format!("going on from epoch {} of {}", saved.state.epoch(), values.epochs));
            Carried::saved(saved)
        }
    };
    Ok((carried, checkpoints))
}

/// Weights to start from.
struct Init {
    path: PathBuf,
    model: Model,
    sha256: String,
}

impl Init {
    fn read(path: &Path) -> Result<Self> {
        let (model, sha256) = Model::read_with_hash(path)?;
        Ok(Self { path: path.to_path_buf(), model, sha256 })
    }
}

/// The values of the file, or of the defaults, then what the flags say, and where each came from.
/// The network is that of the weights to start from.
fn values(args: &TrainArgs, init: Option<&Init>) -> Result<(Checked, Origins)> {
    let network = ["hidden", "activation"].map(|name| Key::named(name).expect("a key"));
    let (mut values, mut origins) = (Hyperparams::default(), Origins::default());
    if let Some(init) = init {
        for key in network {
            key.set(&mut values, key.get(&init.model.values));
            origins.set(key, Place::file(&init.path));
        }
    }
    if let Some(path) = &args.file {
        let file = TomlFile::read(path)?;
        let table = file.table()?;
        values = (*read_values(&file, &table, values)?).clone();
        for (name, item) in &table {
            let key = Key::named(name.get_ref()).ok();
            key.into_iter().for_each(|key| origins.set(key, file.place(item.span())));
        }
        // A record names the weights that its run began from.
        let began_from = table.get("provenance").and_then(|lines| lines.get_ref().get(INIT));
        if let Some(sha256) = began_from.and_then(|sha256| sha256.get_ref().as_str())
            && init.is_none_or(|init| init.sha256 != sha256)
        {
            let problem = format!("is of a run that began with weights of SHA-256 {sha256}");
            return Err(Error::input(Place::file(path), problem)
                .hint("name the model file that holds them with --init"));
        }
    }
    for axis in overrides(&args.flags, &args.assignments)? {
        let (key, value) = axis.single().map_err(|count| {
            Error::unexpected(axis.place().clone(), format!("{count} values"), "one")
                .hint("`rookie grid` tries several")
        })?;
        key.set(&mut values, value);
        origins.set(key, axis.place().clone());
    }
    if let Some(init) = init {
        let differs = |key: &&&Key| key.get(&values) != key.get(&init.model.values);
        if let Some(key) = network.iter().find(differs) {
            let place = Place::file(&init.path);
            let found = format!("a model with {} {}", key.name, key.get(&init.model.values));
            return Err(Error::unexpected(place, found, key.get(&values)));
        }
    }
    let values = values.check().map_err(|it| origins.error(it.key, it.problem).hint(it.hint))?;
    Ok((values, origins))
}

fn folder_of(values: &Hyperparams, init: Option<&Init>) -> PathBuf {
    let mut name = descriptive_name(values);
    if let Some(init) = init {
        name.push_str(&format!("_init-{}", &init.sha256[..8]));
    }
    default_folder("train").join(name)
}

/// The record of the same run, if the folder holds it and it did not fail.
fn finished(
    folder: &Path,
    values: &Checked,
    provenance: &[(String, String)],
) -> Result<Option<Record>> {
    let refuse = |problem: String| {
        Err(Error::input(Place::file(folder), problem)
            .hint("replace it with --fresh, or name another folder with --out"))
    };
    let Some(record) = read_run(folder)? else {
        return if has_stray_files(folder) {
            refuse("holds files of a run without a run.toml".into())
        } else {
            Ok(None)
        };
    };
    let differs = |key: &&Key| key.get(values) != key.get(&record.values);
    if let Some(key) = KEYS.iter().find(differs) {
        let (there, here) = (key.get(&record.values), key.get(values));
        return refuse(format!("holds another run ({}: {there} there, {here} here)", key.name));
    }
    if init_of(&record.provenance) != init_of(provenance) {
        return refuse("holds a run that began with other weights".into());
    }
    if !same_data(&record.provenance, provenance) {
        return refuse("holds a run on other data".into());
    }
    if let Outcome::Failed { reason } = &record.outcome {
        say(&format!("the run in {} failed ({reason}) and is trained again", folder.display()));
        return Ok(None);
    }
    if let Some(missing) = missing_file(folder, &record) {
        say(&format!("{} is missing, the run is trained again", missing.display()));
        return Ok(None);
    }
    Ok(Some(record))
}

/// The hash of the weights that a run began from, if they were not drawn.
fn init_of(provenance: &[(String, String)]) -> Option<&str> {
    provenance.iter().find(|(name, _)| name == INIT).map(|(_, sha256)| &sha256[..])
}

/// Trains to the end or until a signal, saves on the way, and shows progress.
fn train(
    carried: &mut Carried,
    values: &Checked,
    batches: &Batches,
    every: SaveEvery,
    provenance: &[(String, String)],
    checkpoints: &Checkpoints,
) -> Result<Stopped> {
    let epochs = values.epochs - carried.state.epoch();
    let totals = Totals { runs: 1, epochs, images: batches.train.len() };
    let progress = Progress::begin(totals, 1);
    let name = descriptive_name(values);
    progress.run_begins(0, &name);
    let mut on_epoch = |row: &CurveRow| {
        panic_on_purpose(&name);
        progress.epoch(0, &name, values.epochs, row);
        if signals::caught().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut save = |carried: &mut Carried| {
        let bytes = carried.bytes_to_save(values, provenance);
        checkpoints.save((0, Position::START), &[0], &bytes)
    };
    let mut work = carried.state.workspace(batches, None);
    let end = Position::after(values.epochs);
    carried.advance((values, batches), &mut work, end, every, &mut on_epoch, &mut save)
}

/// Tells how a run came out.
fn tell(record: &Record, folder: &Path) -> Result<Status> {
    let printed = print_outcome(&record.outcome);
    let kept = match record.outcome {
        Outcome::Done(_) => "curve, model, predictions and values",
        _ => "curve and values",
    };
    say(&format!("{kept} are in {}", folder.display()));
    if let Outcome::Failed { .. } = record.outcome {
        say("the run failed; the same command tries again");
        return unless_closed(printed, Status::SomethingFailed);
    }
    unless_closed(printed, Status::Done)
}

/// Prints how a run came out.
fn print_outcome(outcome: &Outcome) -> Result<()> {
    let mut out = stdout().lock();
    match outcome {
        Outcome::Done(scores) => {
            let (low, high) = wilson_interval(scores.test.accuracy, scores.test_images);
            writeln!(
                out,
                "test accuracy        {} (95 % interval {:.2} to {:.2} %), loss {:.4}",
                percent(scores.test.accuracy),
                100.0 * low,
                100.0 * high,
                scores.test.loss
            )?;
            writeln!(
                out,
                "validation accuracy  {}, loss {:.4}, best of epoch {}",
                percent(scores.validation.accuracy),
                scores.validation.loss,
                scores.best_epoch
            )?;
            writeln!(
                out,
                "training accuracy    {}, loss {:.4} in that epoch",
                percent(scores.train.accuracy),
                scores.train.loss
            )?;
        }
        Outcome::Diverged { epoch } => {
            writeln!(out, "diverged: the loss stopped being finite in epoch {epoch}")?;
        }
        Outcome::Failed { reason } => writeln!(out, "failed: {reason}")?,
    }
    Ok(out.flush()?)
}
