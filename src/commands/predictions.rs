//! What a run's model says of the test images: from the run's predictions, else from its model.

use std::path::Path;

use crate::commands::common::Status;
use crate::commands::data::{class_names, test_part};
use crate::data::dataset::Dataset;
use crate::error::{Error, Place, Result};
use crate::grid::run_folder::{model_of, predictions_of};
use crate::network::mlp::{self, Workspace};
use crate::results::evaluation::Evaluation;
use crate::results::read::model_of_run;
use crate::train::model::Model;
use crate::train::outcome::{Record, Scores};
use crate::train::predictions;
use crate::train::provenance::Provenance;
use crate::train::score::Score;

/// What brings back a run's model and predictions where both are missing or damaged.
const TRAIN_AGAIN: &str = "remove it and run the same `rookie grid` or `rookie train` again";

/// Whether a run has something that says what its model gives to the test images.
pub fn has_answers(folder: &Path, record: &Record) -> bool {
    record.scores().is_some() && [predictions_of, model_of].iter().any(|it| it(folder).exists())
}

/// Refuses other data than a run was trained on.
///
/// # Errors
/// Where they are; the run's folder is named.
pub fn refuse_other_data(folder: &Path, record: &Record, dataset: &Dataset) -> Result<()> {
    if record.provenance.is_of(dataset) {
        return Ok(());
    }
    let now = Provenance::of_data(dataset);
    Err(match record.provenance.other_options(&now) {
        Some(difference) => {
            Error::input(Place::file(folder), difference).hint("leave out the options of reading")
        }
        None => Error::input(Place::file(folder), "was trained on other data than these")
            .hint("name its data with --data"),
    })
}

/// The score of a run on the test set.
///
/// # Errors
/// Where the data have none.
pub fn tested(folder: &Path, scores: &Scores) -> Result<Score> {
    scores.test.ok_or_else(|| {
        let problem = "has no test accuracy, because the data have no test set";
        Error::input(Place::file(folder), problem).hint("`rookie rank` ranks by validation")
    })
}

/// The class that a run's model gives to each test image; `None` where the run has neither
/// predictions nor a model. `warn` is told why predictions cannot be used where the model can, and with what exit
/// status.
///
/// # Errors
/// Where the run was trained on other data, or neither file can be used: where the model gives another accuracy
/// than its record, with the same program and kernels, for one.
pub fn predictions(
    folder: &Path,
    record: &Record,
    dataset: &Dataset,
    warn: &mut dyn FnMut(&str, Status),
) -> Result<Option<Vec<u8>>> {
    let (path, has_model) = (predictions_of(folder), model_of(folder).exists());
    let Some(scores) = record.scores().filter(|_| has_answers(folder, record)) else {
        return Ok(None);
    };
    refuse_other_data(folder, record, dataset)?;
    if path.exists() {
        match predictions::read(&path, &dataset.test.labels, dataset.classes(), scores) {
            Ok(predictions) => return Ok(Some(predictions)),
            Err(error) if has_model => {
                warn(&format!("{error}; the model is used instead"), Status::SomethingFailed);
            }
            Err(error) => return Err(error.hint(TRAIN_AGAIN)),
        }
    }
    by_model(folder, record, scores, dataset, warn).map(Some)
}

/// What the model file of a run with these scores says of each test image.
fn by_model(
    folder: &Path,
    record: &Record,
    scores: &Scores,
    dataset: &Dataset,
    warn: &mut dyn FnMut(&str, Status),
) -> Result<Vec<u8>> {
    let path = &model_of(folder);
    let model = model_of_run(folder, record)?;
    model.fits_data(path, dataset)?;
    let part = test_part(dataset, &model)?;
    let mut work = Workspace::new(&model.params.sizes(), part.largest_batch());
    let activation = model.values.activation;
    let (tally, predictions) = mlp::predict(&model.params, activation, &part, &mut work);
    if tally.correct != scores.correct() {
        let (found, recorded) = (tally.correct, scores.correct());
        let problem = format!(
            "{found} test images are classified correctly here, but run.toml says {recorded}"
        );
        if record.provenance.is_of_this_program()? {
            return Err(Error::input(Place::file(path), problem).hint(TRAIN_AGAIN));
        }
        // Other kernels may decide between two classes that are equally probable.
        let differ = "the program or the OpenBLAS kernels differ, or the model file was modified";
        warn(&format!("{}: {problem}; {differ}", path.display()), Status::Done);
    }
    Ok(predictions)
}

/// How a run did on each class: by its predictions, else by its model. Mistakes are listed where there
/// is a model that fits, because only that says how confident it was.
///
/// # Errors
/// As [`predictions()`], and where the run has none.
pub fn evaluation(
    folder: &Path,
    record: &Record,
    model: Option<&Model>,
    dataset: &Dataset,
    warn: &mut dyn FnMut(&str, Status),
) -> Result<Evaluation> {
    let Some(scores) = record.scores() else {
        let found = format!("a run that {}", record.outcome.status());
        return Err(Error::unexpected(Place::file(folder), found, "one that trained to its end"));
    };
    let Some(predictions) = predictions(folder, record, dataset, warn)? else {
        let problem = "has neither test_predictions.csv.gz nor model.safetensors";
        return Err(Error::input(Place::file(folder), problem).hint(TRAIN_AGAIN));
    };
    let (labels, names) = (&dataset.test.labels, class_names(dataset));
    let loss = tested(folder, scores)?.loss;
    let mut evaluation = Evaluation::by_predictions(&predictions, labels, loss, names.clone());
    if let Some(model) = model {
        model.fits_data(&model_of(folder), dataset)?;
        evaluation.mistakes =
            Evaluation::measure(model, &test_part(dataset, model)?, names).mistakes;
    }
    Ok(evaluation)
}
