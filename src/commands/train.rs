//! `rookie train`: one run, from flags or a TOML file.

use std::io::{Write, stdout};
use std::iter;
use std::path::{Path, PathBuf};

use crate::cli::TrainArgs;
use crate::commands::common::{
    Status, check_against, default_folder, describe_data, load, overrides, save_every,
    unless_closed, warn_of_batches,
};
use crate::data::dataset::Dataset;
use crate::engine::event::Event;
use crate::engine::train_run::{Init, RunEnd, train_run};
use crate::error::{Error, Place, Result};
use crate::grid::checkpoints::read_saved;
use crate::grid::space::descriptive_name;
use crate::grid::store::{
    clear_states, has_stray_files, lock, make_folder, missing_file, read_run, refuse_in_results,
    states_of,
};
use crate::network::gemm::openblas;
use crate::network::kernels;
use crate::progress::{Screen, Totals, say};
use crate::results::ranking::wilson_interval;
use crate::results::tables::percent;
use crate::signals;
use crate::train::checkpoint::Checkpoint;
use crate::train::hyperparams::{Checked, Hyperparams, Key, Misfit};
use crate::train::model::Model;
use crate::train::origins::Origins;
use crate::train::outcome::{Outcome, Record, read_values};
use crate::train::provenance::{INIT, Provenance, SPLIT};
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
    let saved = read_saved(&states_of(&folder))?;
    let saved: Vec<Checkpoint> = saved.into_iter().filter_map(|(_, read)| read.ok()).collect();
    let in_progress = !saved.is_empty();
    if args.fresh || !in_progress {
        let wanted = (&values, &dataset, from.as_ref().map(|from| &from.sha256[..]));
        refuse_another_run(&folder, wanted, &saved, args.fresh)?;
    }
    if !args.fresh
        && !in_progress
        && let Some(record) = finished(&folder)?
    {
        say(&format!("{} holds this run already; --fresh trains it again", folder.display()));
        kernels::unused(record.provenance.kernels()).as_deref().into_iter().for_each(say);
        return print_record(&record, &folder);
    }
    check_against(&dataset, &values, &origins)?;
    if let Some(from) = &from {
        from.model.fits(&from.path, dataset.train.inputs(), dataset.classes)?;
    }
    make_folder(&folder, "--out")?;
    let _lock = lock(&folder)?;
    if args.fresh {
        clear_states(&states_of(&folder))?;
    }
    say(&describe_data(&dataset));
    warn_of_batches(&dataset, iter::once(values.batching()));
    if init.as_ref().is_some_and(|init| init.provenance.has_other_split(&values)) {
        say("warning: the model of --init may have been trained on validation images of this run");
    }
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
        let provenance = Provenance::of_init(&self.sha256, &self.model.values);
        Init { params: self.model.params.clone(), provenance }
    }
}

/// The values of the file, or of the defaults, then what the flags say, and where each came from.
/// Network and split are those of the model to start from.
fn values(args: &TrainArgs, init: Option<&InitModel>) -> Result<(Checked, Origins)> {
    let of_init = ["hidden", "activation"].into_iter().chain(SPLIT);
    let of_init: Vec<&Key> = of_init.map(|name| Key::named(name).expect("a key")).collect();
    let (mut values, mut origins) = (Hyperparams::default(), Origins::default());
    if let Some(init) = init {
        for key in &of_init {
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
        let is_of_split = |key: &Key| SPLIT.contains(&key.name);
        let must_be_its = |key: &&&Key| !(args.allow_other_split && is_of_split(key));
        if let Some(key) = of_init.iter().filter(must_be_its).find(differs) {
            let place = Place::file(&init.path);
            let found = format!("a model with {} {}", key.name, key.get(&init.model.values));
            let error = Error::unexpected(place, found, key.get(&values));
            let hint = "it may have been trained on validation images of this run; leave the value \
                        out, or add --allow-other-split";
            return Err(if is_of_split(key) { error.hint(hint) } else { error });
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
    (values, dataset, init): (&Checked, &Dataset, Option<&str>),
    saved: &[Checkpoint],
    fresh: bool,
) -> Result<()> {
    let refuse = |problem: String| {
        let hint = "name another folder with --out, or remove it";
        Err(Error::input(Place::file(folder), problem).hint(hint))
    };
    let check = |what: &str, of_folder: &Checked, provenance: &Provenance| {
        if let Some(difference) = values.difference(of_folder) {
            return refuse(format!("holds {what} ({difference})"));
        }
        if provenance.init() != init {
            return refuse(format!("holds {what} (it began with other weights)"));
        }
        if !provenance.is_of(dataset) {
            return refuse(format!("holds {what} (it is on other data)"));
        }
        Ok(())
    };
    for saved in saved {
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

/// The record in the run's folder, if it finished and did not fail.
fn finished(folder: &Path) -> Result<Option<Record>> {
    let Some(record) = read_run(folder)? else { return Ok(None) };
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

/// Prints how a run came out, and says where it is kept.
fn print_record(record: &Record, folder: &Path) -> Result<Status> {
    let printed = print_outcome(&record.outcome);
    let kept = match record.outcome {
        Outcome::Done(_) => "curve, model, predictions and values",
        _ => "curve and values",
    };
    say(&format!("{kept} are in {}", folder.display()));
    let status = match record.outcome {
        Outcome::Done(_) => Status::Done,
        Outcome::Diverged { .. } => {
            say("the run diverged, so there is no model");
            Status::SomethingFailed
        }
        Outcome::Failed { .. } => {
            say("the run failed; the same command tries again");
            Status::SomethingFailed
        }
    };
    unless_closed(printed, status)
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
