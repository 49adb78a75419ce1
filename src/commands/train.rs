//! `rookie train`: one run, from flags or a TOML file.

use std::io::{Write, stdout};
use std::iter;
use std::path::{Path, PathBuf};

use crate::cli::TrainArgs;
use crate::commands::common::{
    Status, check_against, default_folder, describe_data, load, overrides, save_every,
    unless_closed, warn_of_batches,
};
use crate::engine::event::Event;
use crate::engine::train_run::{INIT, Init, RunEnd, init_of, provenance_of, train_run};
use crate::error::{Error, Place, Result};
use crate::grid::checkpoints::saved_in;
use crate::grid::space::descriptive_name;
use crate::grid::store::{
    clear_states, has_stray_files, lock, make_folder, missing_file, read_run, refuse_in_results,
    states_of,
};
use crate::network::gemm::openblas;
use crate::network::kernels;
use crate::progress::{Screen, Totals, say};
use crate::report::ranking::wilson_interval;
use crate::report::tables::percent;
use crate::signals;
use crate::text::printable;
use crate::train::hyperparams::{Checked, Hyperparams, KEYS, Key, Misfit};
use crate::train::model::Model;
use crate::train::origins::Origins;
use crate::train::outcome::{Outcome, Record, read_values};
use crate::train::provenance::{core_of, same_data};
use crate::train::toml_file::TomlFile;

/// Trains one run.
///
/// # Errors
/// Where values, data, model or folder are not as they must be, or writing fails.
pub fn run(args: &TrainArgs) -> Result<Status> {
    args.kernels.take()?;
    openblas()?;
    let from = args.init.as_deref().map(InitModel::read).transpose()?;
    let (values, origins) = values(args, from.as_ref())?;
    let folder = args.out.clone().unwrap_or_else(|| folder_of(&values, from.as_ref()));
    refuse_in_results(&folder)?;
    let dataset = load(args.data.data.as_deref())?;
    let init = from.as_ref().map(InitModel::init);
    let provenance = provenance_of(&dataset, init.as_ref())?;
    let look = || already_finished(&folder, &values, &provenance, args.fresh);
    if let Some(record) = look()? {
        return say_finished(&record, &folder);
    }
    check_against(&dataset, &values, &origins)?;
    if let Some(from) = &from {
        from.model.fits(&from.path, dataset.train.inputs(), dataset.classes)?;
    }
    make_folder(&folder, "--out")?;
    let _lock = lock(&folder)?;
    // Another process may have finished this run, or begun another, before the lock was had.
    if let Some(record) = look()? {
        return say_finished(&record, &folder);
    }
    if !args.fresh {
        say_why_again(&folder)?;
    }
    if args.fresh {
        clear_states(&states_of(&folder))?;
    }
    say(&describe_data(&dataset));
    warn_of_batches(&dataset, iter::once(values.batching()));
    let interrupt = signals::install()?;
    let screen = Screen::default();
    let images = dataset.train.len() - values.validation_size;
    let on_event = |event: &Event<'_>| {
        if let Event::RunStarted { epochs_before, epochs } = *event {
            if epochs_before > 0 {
                say(&format!("resuming after epoch {epochs_before} of {epochs}"));
            }
            screen.begin(Totals { runs: 1, epochs: epochs - epochs_before, images }, 1);
        }
        screen.show(event);
    };
    let into = Some((&*folder, save_every(args.checkpoint_every)));
    let end = train_run(&values, &dataset, init.as_ref(), into, &on_event, &interrupt)?;
    drop(screen);
    match end {
        RunEnd::Finished { record, .. } => print_record(&record, &folder),
        RunEnd::Interrupted { epoch } => {
            say(&format!(
                "interrupted after epoch {epoch} of {}; run the same command{} to resume",
                values.epochs,
                if args.fresh { ", without --fresh," } else { "" }
            ));
            Ok(Status::Interrupted(signals::caught().expect("only a signal interrupts it")))
        }
    }
}

/// A model to start from.
struct InitModel {
    path: PathBuf,
    model: Model,
    sha256: String,
}

impl InitModel {
    fn read(path: &Path) -> Result<Self> {
        let (model, sha256) = Model::read_with_hash(path)?;
        Ok(Self { path: path.to_path_buf(), model, sha256 })
    }

    /// What training needs of it.
    fn init(&self) -> Init {
        Init { params: self.model.params.clone(), sha256: self.sha256.clone() }
    }
}

/// The values of the file, or of the defaults, then what the flags say, and where each came from.
/// The network is that of the weights to start from.
fn values(args: &TrainArgs, init: Option<&InitModel>) -> Result<(Checked, Origins)> {
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
            if let Ok(key) = Key::named(name.get_ref()) {
                origins.set(key, file.place(item.span()));
            }
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
    let wrong = |it: Misfit| origins.error(it.key, it.problem).hint(it.hint);
    let values = values.check().map_err(wrong)?;
    values.check_combinations().map_err(wrong)?;
    Ok((values, origins))
}

fn folder_of(values: &Hyperparams, init: Option<&InitModel>) -> PathBuf {
    let mut name = descriptive_name(values);
    if let Some(init) = init {
        name.push_str(&format!("_init-{}", &init.sha256[..8]));
    }
    default_folder("train").join(name)
}

/// Refuses a folder that holds another run than this one, finished or in progress. With `fresh`, files
/// without a record may be replaced.
fn refuse_another_run(
    folder: &Path,
    values: &Checked,
    provenance: &[(String, String)],
    fresh: bool,
) -> Result<()> {
    let refuse = |problem: String| {
        let hint = "name another folder with --out, or remove it";
        Err(Error::input(Place::file(folder), problem).hint(hint))
    };
    let check = |what: &str, of_folder: &Checked, lines: &[(String, String)]| {
        let differs = |key: &&Key| key.get(values) != key.get(of_folder);
        if let Some(key) = KEYS.iter().find(differs) {
            let (there, here) = (key.get(of_folder), key.get(values));
            return refuse(format!("holds {what} ({}: {there} there, {here} here)", key.name));
        }
        if init_of(lines) != init_of(provenance) {
            return refuse(format!("holds {what} (it began with other weights)"));
        }
        if !same_data(lines, provenance) {
            return refuse(format!("holds {what} (it is on other data)"));
        }
        Ok(())
    };
    for saved in saved_in(&states_of(folder))? {
        check("another run in progress", &saved.values, &saved.provenance)?;
    }
    match read_run(folder)? {
        Some(record) => check("another run", &record.values, &record.provenance),
        None if has_stray_files(folder) && !fresh => {
            let problem = "holds files of a run without a run.toml";
            Err(Error::input(Place::file(folder), problem)
                .hint("replace them with --fresh, or name another folder with --out"))
        }
        None => Ok(()),
    }
}

/// The record of this run if the folder holds it, finished, and it is not to be trained afresh.
///
/// # Errors
/// As [`refuse_another_run`].
fn already_finished(
    folder: &Path,
    values: &Checked,
    provenance: &[(String, String)],
    fresh: bool,
) -> Result<Option<Record>> {
    let in_progress = !saved_in(&states_of(folder))?.is_empty();
    if fresh || !in_progress {
        refuse_another_run(folder, values, provenance, fresh)?;
    }
    if fresh || in_progress {
        return Ok(None);
    }
    let record = read_run(folder)?;
    Ok(record.filter(|record| why_again(folder, record).is_none()))
}

/// Why a run whose record is there is trained again, if it is.
fn why_again(folder: &Path, record: &Record) -> Option<String> {
    if let Outcome::Failed { reason } = &record.outcome {
        let folder = folder.display();
        return Some(format!("the run in {folder} failed ({reason}) and is trained again"));
    }
    let missing = missing_file(folder, record)?;
    Some(format!("{} is missing, the run is trained again", missing.display()))
}

fn say_why_again(folder: &Path) -> Result<()> {
    let record = read_run(folder)?;
    record.and_then(|record| why_again(folder, &record)).as_deref().into_iter().for_each(say);
    Ok(())
}

/// Says that there is nothing to train, and prints what came out.
fn say_finished(record: &Record, folder: &Path) -> Result<Status> {
    say(&format!("{} holds this run already; --fresh trains it again", folder.display()));
    kernels::unused(core_of(&record.provenance)).as_deref().into_iter().for_each(say);
    print_record(record, folder)
}

/// Prints how a run came out, and says where it is kept.
fn print_record(record: &Record, folder: &Path) -> Result<Status> {
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
        Outcome::Failed { reason } => writeln!(out, "failed: {}", printable(reason))?,
    }
    Ok(out.flush()?)
}
