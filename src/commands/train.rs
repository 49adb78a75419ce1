//! `rookie train`: one run, from flags or a TOML file.

use std::io::Write;
use std::iter;
use std::path::{Path, PathBuf};

use crate::cli::training::TrainArgs;
use crate::commands::common::{
    Status, default_folder, overrides, refuse_value_of_switch, save_every, unless_closed, write_out,
};
use crate::commands::data::{describe_data, folder_name, load, warn_of_batches};
use crate::data::dataset::Dataset;
use crate::engine::event::Event;
use crate::engine::train_run::{Init, RunEnd, RunFolder, already_finished, train_run, why_again};
use crate::error::{Error, Place, Result, counted};
use crate::grid::run_folder::{curve_of, model_of, predictions_of, read_run, states_of};
use crate::grid::saved::has_checkpoints;
use crate::grid::space::descriptive_name;
use crate::grid::store::refuse_in_results;
use crate::network::gemm::openblas;
use crate::network::kernels;
use crate::progress::{Screen, Totals, say};
use crate::results::tables::percent;
use crate::signals;
use crate::text::printable;
use crate::train::cautions::cautions;
use crate::train::checked::Misfit;
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::Key;
use crate::train::origins::Origins;
use crate::train::outcome::{Outcome, Record, read_values};
use crate::train::provenance::{INIT, OPTIONS, Provenance, SPLIT};
use crate::train::toml_file::TomlFile;

/// Trains one run.
///
/// # Errors
/// Where values, data, model or folder are not as they must be, or writing fails.
pub fn run(args: &TrainArgs) -> Result<Status> {
    args.kernels.take()?;
    openblas()?;
    let init = args.init.as_deref().map(Init::read).transpose()?;
    let init = init.as_ref();
    let (mut values, origins, recorded) = values(args, init)?;
    let dataset = load(&args.data, Some(&recorded))?;
    origins.suit(&mut values, &dataset.shape());
    let wrong = |it: Misfit| origins.error(it.key, it.problem).hint(it.hint);
    let values = values.check().map_err(wrong)?;
    values.check_combinations().map_err(wrong)?;
    let folder = args.out.clone().unwrap_or_else(|| folder_of(&values, init, &dataset));
    refuse_in_results(&folder)?;
    let provenance = provenance(args, init, &dataset, &values)?;
    // What a folder without checkpoints holds is known before it is locked, and also where that cannot be.
    if !has_checkpoints(&states_of(&folder))?
        && let Some(record) =
            already_finished(&folder, &values, &provenance, &Vec::new(), args.fresh)?
    {
        return say_finished(&record, &folder);
    }
    origins.check_against(dataset.shape(), &values)?;
    if let Some(init) = init {
        refuse_to_replace(&init.path, &folder)?;
    }
    let into = RunFolder::open(&folder, args.fresh, save_every(args.checkpoint_every))?;
    // Another process may have finished this run, or begun another, before the lock was had.
    if let Some(record) = into.finished(&values, &provenance)? {
        return say_finished(&record, &folder);
    }
    if !args.fresh {
        say_why_again(&folder)?;
    }
    say(&describe_data(&dataset));
    warn_of_batches(&dataset, iter::once(values.batching()))?;
    for warning in cautions(&provenance, &values) {
        say(&warning);
    }
    let interrupt = signals::install()?;
    let screen = Screen::default();
    let images = dataset.train.len() - values.validation_size.of(dataset.train.len());
    let on_event = |event: &Event<'_>| {
        if let Event::RunStarted { epochs_before, epochs } = *event {
            if epochs_before > 0 {
                say(&format!("resuming after epoch {epochs_before} of {epochs}"));
            }
            screen.begin(Totals { runs: 1, epochs: epochs - epochs_before, images }, 1);
        }
        screen.show(event);
    };
    let end = train_run(&values, &dataset, init, Some(&into), &on_event, &interrupt)?;
    drop(screen);
    match end {
        RunEnd::Finished { record, .. } => {
            let epochs = values.epochs;
            if let Some(epoch) = record.scores().and_then(|scores| scores.ended_epoch) {
                let validations = counted(values.patience, "validation");
                say(&format!(
                    "ended after epoch {epoch} of {epochs}, because {validations} in a row had no better accuracy"
                ));
            }
            print_record(&record, &folder)
        }
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

/// Refuses a folder with the model that a run is to start from: the run would replace it.
fn refuse_to_replace(init: &Path, folder: &Path) -> Result<()> {
    match (model_of(folder).canonicalize(), init.canonicalize()) {
        (Ok(own), Ok(init)) if own == init => {}
        _ => return Ok(()),
    }
    let problem = "holds the model to start from, which the run would replace";
    Err(Error::input(Place::file(folder), problem).hint("name another folder with --out"))
}

/// The values of the file, or of the defaults, then what the flags say, where each came from, and what the
/// file says of the data if it is a record. Network and split are those of the model to start from.
fn values(args: &TrainArgs, init: Option<&Init>) -> Result<(Hyperparams, Origins, Provenance)> {
    let of_init = ["hidden", "activation"].into_iter().chain(SPLIT);
    let (mut values, mut origins) = (Hyperparams::default(), Origins::default());
    let mut recorded = Provenance::default();
    if let Some(init) = init {
        for key in of_init.map(|name| Key::named(name).expect("a key")) {
            key.set(&mut values, key.get(&init.model.values));
            origins.set(key, Place::file(&init.path));
        }
    }
    if let Some(path) = &args.file {
        refuse_value_of_switch(&path.to_string_lossy(), &args.flags)?;
        let file = TomlFile::read(path)?;
        let table = file.table()?;
        values = (*read_values(&file, &table, values)?).clone();
        for (name, item) in &table {
            if let Ok(key) = Key::named(name.get_ref()) {
                origins.set(key, file.place(item.span()));
            }
        }
        // A record names how its data were read, and the weights that its run began from.
        let line = |name: &str| {
            let lines = table.get("provenance")?.get_ref();
            Some(lines.get(name)?.get_ref().as_str()?.to_string())
        };
        recorded = line(OPTIONS).into_iter().map(|json| (OPTIONS.to_string(), json)).collect();
        if let Some(sha256) = line(INIT)
            && init.is_none_or(|init| init.sha256 != sha256)
        {
            let problem = format!("is of a run that began with weights of SHA-256 {sha256}");
            return Err(Error::input(Place::file(path), problem)
                .hint("name the model file that holds them with --init"));
        }
    }
    for axis in overrides(&args.flags, &args.assignments)? {
        let (key, value) = axis.single().map_err(|found| {
            Error::unexpected(axis.place().clone(), found, "one value")
                .hint("`rookie grid` tries several")
        })?;
        key.set(&mut values, value);
        origins.set(key, axis.place().clone());
    }
    if let Some(init) = init {
        init.check_network(&values)?;
        if !args.allow_other_split {
            init.check_split(&values)?;
        }
    }
    Ok((values, origins, recorded))
}

/// What the run comes from.
///
/// # Errors
/// Where the model of `--init` has other columns, or may have been trained on test rows of this run.
fn provenance(
    args: &TrainArgs,
    init: Option<&Init>,
    dataset: &Dataset,
    values: &Hyperparams,
) -> Result<Provenance> {
    let Some(init) = init else { return Provenance::now(dataset, Provenance::default()) };
    init.check_against(dataset)?;
    let provenance = Provenance::now(dataset, init.provenance(dataset))?;
    if provenance.has_other_split(values) && !args.allow_other_split {
        let problem =
            "was trained on rows other than this run's, or initialised from a model that was";
        let hint = "its training rows may be test or validation rows of this run; read the same data \
                    with the same flags as for the model, or add --allow-other-split";
        return Err(Error::input(Place::file(&init.path), problem).hint(hint));
    }
    Ok(provenance)
}

fn folder_of(values: &Hyperparams, init: Option<&Init>, dataset: &Dataset) -> PathBuf {
    let mut name = descriptive_name(values);
    if let Some(init) = init {
        name.push_str(&format!("_init-{}", &init.sha256[..8]));
    }
    default_folder(&folder_name("train", dataset)).join(name)
}

fn say_why_again(folder: &Path) -> Result<()> {
    let record = read_run(folder)?;
    record.and_then(|record| why_again(folder, &record)).as_deref().into_iter().for_each(say);
    Ok(())
}

/// Says that there is nothing to train, and prints what came out.
fn say_finished(record: &Record, folder: &Path) -> Result<Status> {
    say(&format!("{} holds this run already; --fresh trains it again", folder.display()));
    kernels::unused(record.provenance.kernels()).as_deref().into_iter().for_each(say);
    for warning in cautions(&record.provenance, &record.values) {
        say(&warning);
    }
    print_record(record, folder)
}

/// Prints how a run came out, and says where it is kept.
fn print_record(record: &Record, folder: &Path) -> Result<Status> {
    let printed = print_outcome(&record.outcome);
    let files = [
        ("curve", curve_of(folder)),
        ("model", model_of(folder)),
        ("predictions", predictions_of(folder)),
    ];
    let kept = files.into_iter().filter(|(_, path)| path.exists()).map(|(name, _)| name);
    let kept = kept.collect::<Vec<_>>().join(", ");
    say(&format!("{kept} and values are in {}", folder.display()));
    let status = match record.outcome {
        Outcome::Done(_) => Status::Done,
        Outcome::Diverged { .. } => {
            say("the run diverged, so there is no model");
            Status::SomethingFailed
        }
        Outcome::Stopped(_) => Status::SomethingFailed,
        Outcome::Failed { .. } => {
            say("the run failed; the same command tries again");
            Status::SomethingFailed
        }
    };
    unless_closed(printed, status)
}

/// Prints how a run came out.
fn print_outcome(outcome: &Outcome) -> Result<()> {
    write_out(|out| match outcome {
        Outcome::Done(scores) => {
            if let Some((test, (low, high))) = scores.test.zip(scores.test_interval()) {
                writeln!(
                    out,
                    "test accuracy        {} (95 % interval {:.2} to {:.2} %), loss {:.4}",
                    percent(test.accuracy),
                    100.0 * low,
                    100.0 * high,
                    test.loss
                )?;
            }
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
            )
        }
        Outcome::Diverged { epoch } => {
            writeln!(out, "diverged: the loss stopped being finite in epoch {epoch}")
        }
        Outcome::Stopped(at) => writeln!(out, "stopped by halving after epoch {}", at.epoch),
        Outcome::Failed { reason } => writeln!(out, "failed: {}", printable(reason)),
    })
}
