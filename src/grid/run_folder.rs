//! The folder of a run: its files, and its record, which is written last and is the only thing that
//! resuming believes.

use std::path::{Path, PathBuf};

use crate::error::{Error, Place, Result, counted};
use crate::grid::disk::{STATE, remove, set_aside, sweep, write_together, write_whole};
use crate::grid::names::{CURVE, MODEL, PREDICTIONS, RECORD, REFIT, RUNS, STAGES, WRITTEN};
use crate::grid::space::Run;
use crate::train::checked::Checked;
use crate::train::curve::{curve_csv, read_curve};
use crate::train::model::Model;
use crate::train::outcome::{Outcome, REMOVE_RUN, Record};
use crate::train::predictions;
use crate::train::provenance::Provenance;
use crate::train::run::Trained;
use crate::train::score::{CurveRow, Score};

/// Writes what a run leaves into its folder: curve, model, predictions, and last the record.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn write_run(folder: &Path, trained: &Trained, record: &Record) -> Result<()> {
    sweep(folder, &WRITTEN)?;
    let model = trained.model.as_ref().map(Model::to_bytes);
    let predictions = trained.predictions.as_deref().map(predictions::to_bytes);
    let files =
        [(CURVE, Some(curve_csv(&trained.curve))), (MODEL, model), (PREDICTIONS, predictions)];
    let files = files.into_iter().filter_map(|(name, bytes)| Some((folder.join(name), bytes?)));
    let files: Vec<(PathBuf, Vec<u8>)> = files.collect();
    let files: Vec<(&Path, &[u8])> =
        files.iter().map(|(path, bytes)| (&**path, &**bytes)).collect();
    write_together(&files)?;
    write_whole(&folder.join(RECORD), record.to_toml().as_bytes())
}

/// The record of a run that ended in this folder, if one did.
///
/// # Errors
/// Where there is a record that cannot be read.
pub fn read_run(folder: &Path) -> Result<Option<Record>> {
    read_record(folder, &folder_name(folder))
}

fn read_record(folder: &Path, name: &str) -> Result<Option<Record>> {
    let path = folder.join(RECORD);
    if folder.is_file() {
        return Err(Error::unexpected(Place::file(folder), "a file", "the folder of a run"));
    }
    if !path.try_exists().map_err(|source| Error::read(&path, source))? {
        return Ok(None);
    }
    Ok(Some(Record::read(&path, name)?))
}

/// The record of a run of a grid in its results folder, if it has ended.
///
/// # Errors
/// Where there is a record that cannot be read or is not this run's.
pub fn run_record(root: &Path, run: &Run) -> Result<Option<Record>> {
    let folder = run_folder(root, &run.name);
    let Some(record) = read_record(&folder, &run.name)? else { return Ok(None) };
    let Some(problem) = why_another(&record, run) else { return Ok(Some(record)) };
    Err(Error::input(Place::file(folder.join(RECORD)), problem).hint(REMOVE_RUN))
}

/// Why a record is not of this run of a grid, if it is another's.
fn why_another(record: &Record, run: &Run) -> Option<String> {
    match record.values.difference(&run.values) {
        Some(difference) => Some(format!("holds other values than its grid ({difference})")),
        None if record.provenance.init().is_some() => {
            Some("is of a run that started from a model, which no run of a grid does".into())
        }
        None => None,
    }
}

/// The curve of a run: as many rows as epochs were trained, with the scores of its best epoch; none of a run
/// that failed.
///
/// # Errors
/// Where it cannot be read or does not belong to the record.
pub fn curve_of_run(folder: &Path, record: &Record) -> Result<Vec<CurveRow>> {
    if matches!(record.outcome, Outcome::Failed { .. }) {
        return Ok(Vec::new());
    }
    let path = curve_of(folder);
    let mut rows = read_curve(&path)?;
    let epochs = record.outcome.epochs_trained(record.values.epochs);
    if record.outcome.is_stopped() {
        // A process that was killed may have written a longer curve, and not yet the record.
        rows.truncate(epochs);
    }
    if rows.len() != epochs {
        let expected = format!("{epochs}, as its run.toml says");
        return Err(Error::unexpected(Place::file(path), counted(rows.len(), "epoch"), expected));
    }
    let Some(scores) = record.scores() else { return Ok(rows) };
    // The curve has the digits of float32.
    let is_same = |a: &Score, b: &Score| {
        a.loss as f32 == b.loss as f32 && a.accuracy as f32 == b.accuracy as f32
    };
    let is_own = rows.get(scores.best_epoch - 1).is_some_and(|row| {
        is_same(&row.train, &scores.train)
            && row.validation.is_some_and(|validation| is_same(&validation, &scores.validation))
    });
    if is_own {
        return Ok(rows);
    }
    let problem = format!("epoch {} has other scores than its run.toml says", scores.best_epoch);
    Err(Error::input(Place::file(path), problem).hint(REMOVE_RUN))
}

/// The folder of the run on the rows of all folds, in a results folder.
pub fn refit_folder(root: &Path) -> PathBuf {
    root.join(REFIT)
}

/// Whether a run has left a record in this folder, readable or not.
pub fn has_record(folder: &Path) -> bool {
    folder.join(RECORD).exists()
}

/// The last part of a folder's path, also where it is given as `.` or through a link.
pub fn folder_name(folder: &Path) -> String {
    let whole = folder.canonicalize().ok();
    let name = whole.as_deref().unwrap_or(folder).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The folder of a run, by its name, in a results folder.
pub fn run_folder(root: &Path, run: &str) -> PathBuf {
    root.join(RUNS).join(run)
}

/// The model in a run's folder.
pub fn model_of(folder: &Path) -> PathBuf {
    folder.join(MODEL)
}

/// The predictions in a run's folder.
pub fn predictions_of(folder: &Path) -> PathBuf {
    folder.join(PREDICTIONS)
}

/// The curve in a run's folder.
pub fn curve_of(folder: &Path) -> PathBuf {
    folder.join(CURVE)
}

/// A file of a finished run without which it is trained again. What its model says of the test images
/// is kept in its predictions, so one of the two is enough.
pub fn missing_file(folder: &Path, record: &Record) -> Option<PathBuf> {
    let [curve, model, answers] = [CURVE, MODEL, PREDICTIONS].map(|name| folder.join(name));
    if !curve.exists() {
        return Some(curve);
    }
    let scores = record.outcome.scores().filter(|_| !model.exists())?;
    let has_answers = scores.test.is_some() && predictions::is_whole(&answers, scores.test_images);
    (!has_answers).then_some(model)
}

/// The record of a run's folder; none where it cannot be used, and is set aside. `warn` is told.
pub(super) fn usable_record(
    read: Result<Option<Record>>,
    folder: &Path,
    warn: &mut dyn FnMut(&str),
) -> Result<Option<Record>> {
    let Err(Error::Input { place, problem, .. }) = read else { return read };
    let aside = set_aside(&if folder.is_file() { folder.into() } else { folder.join(RECORD) })?;
    let name = aside.file_name().unwrap_or_default().display();
    warn(&format!("{place}: {problem}; it was renamed to {name}, and its run is trained again"));
    Ok(None)
}

/// Why the files beside a record cannot be used, if they cannot; the curve's contents are looked at where
/// `of_curve` says so.
///
/// # Errors
/// Where the system does not let the curve be read.
pub fn problem_of_files(folder: &Path, record: &Record, of_curve: bool) -> Result<Option<String>> {
    if let Some(missing) = missing_file(folder, record) {
        return Ok(Some(format!("{} is missing", missing.display())));
    }
    match of_curve.then(|| curve_of_run(folder, record)) {
        Some(Err(Error::Input { place, problem, .. })) => Ok(Some(format!("{place}: {problem}"))),
        Some(Err(error)) => Err(error),
        Some(Ok(_)) | None => Ok(None),
    }
}

/// Whether the folder of a run of a grid holds the result of another run: what has been put there by hand, or
/// what an interrupted switch of grids has brought there.
pub(super) fn holds_another(root: &Path, run: &Run) -> bool {
    holds_other(&run_folder(root, &run.name), |values| *values == run.values)
}

/// Whether the folder of refits holds the result of a run that is none.
pub(super) fn holds_no_refit(folder: &Path) -> bool {
    holds_other(folder, |values| values.validation_size.is_all_folds())
}

/// Whether a folder holds the result of a run that is not its own, by the values.
fn holds_other(folder: &Path, is_own: impl Fn(&Checked) -> bool) -> bool {
    // Most runs of a new grid have no folder yet.
    if !folder.is_dir() {
        return false;
    }
    match read_run(folder) {
        Ok(Some(record)) => !is_own(&record.values) || record.provenance.init().is_some(),
        // A process that was killed may have left its own model before the record.
        Ok(None) => {
            let model = model_of(folder);
            model.exists() && !Model::read(&model).is_ok_and(|it| is_own(&it.values))
        }
        Err(_) => false,
    }
}

/// Whether a run with this record has ended, and has all its files.
pub(super) fn is_finished(folder: &Path, record: &Record) -> bool {
    record.outcome.is_end() && missing_file(folder, record).is_none()
}

/// Which runs have ended in a results folder and are not trained again. Nothing is changed.
///
/// # Errors
/// Where a run was trained on other data.
pub fn finished_runs(root: &Path, runs: &[Run], data: &Provenance) -> Result<Vec<bool>> {
    let is_finished = |run: &Run| {
        let Ok(Some(record)) = run_record(root, run) else { return Ok(false) };
        let folder = run_folder(root, &run.name);
        record.provenance.refuse_other_data(data, &folder)?;
        Ok(is_finished(&folder, &record))
    };
    runs.iter().map(is_finished).collect()
}

/// Whether a folder has other files of a run but no record, so that they are not known to be one's.
pub fn has_stray_files(folder: &Path) -> bool {
    let files = [CURVE, MODEL, PREDICTIONS];
    !folder.join(RECORD).exists() && files.iter().any(|name| folder.join(name).exists())
}

/// The folder for checkpoints of stages in progress, in the folder of their results.
pub fn states_of(folder: &Path) -> PathBuf {
    folder.join(STATE).join(STAGES)
}

/// Removes what [`write_run`] wrote, the record first, and what a kill has left of it.
///
/// # Errors
/// [`Error::Write`] with the path, and where the folder cannot be read.
pub fn clear_run(folder: &Path) -> Result<()> {
    sweep(folder, &WRITTEN)?;
    [RECORD, PREDICTIONS, MODEL, CURVE].into_iter().try_for_each(|name| remove(&folder.join(name)))
}
