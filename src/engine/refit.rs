//! Trains the configuration that folds have chosen on the rows of all folds.

use std::sync::Arc;

use crate::data::dataset::Dataset;
use crate::engine::event::Interrupt;
use crate::engine::train_run::{RunEnd, train_checked};
use crate::error::Result;
use crate::grid::store::Store;
use crate::results::settings::Repeats;
use crate::statistics::median;
use crate::train::checked::Checked;
use crate::train::hyperparams::Hyperparams;
use crate::train::outcome::{Outcome, Record};
use crate::train::provenance::Provenance;
use crate::train::score::Score;

/// The values of a configuration for training on all rows: the least of its seeds, and the median of the epochs
/// that were its runs' best, because there is no validation set to choose one. `None` without a run.
pub fn refit_values(chosen: &Repeats<'_>) -> Option<Checked> {
    let first = chosen.runs.iter().min_by_key(|run| run.values.repeat())?;
    let epochs = chosen.runs.iter().filter_map(|run| Some(run.scores()?.best_epoch as f64));
    let epochs = median(&epochs.collect::<Vec<_>>())?.round() as usize;
    let values = first.values.of_all_folds();
    let values = Hyperparams { epochs, eval_every: epochs, patience: 0, ..values };
    Some(values.check().expect("values of a run, and an epoch of it"))
}

/// Whether a record is that of a configuration which was trained with [`refit_values`].
pub fn is_refit_of(record: &Record, chosen: &Repeats<'_>, values: &Checked) -> bool {
    let has_score = record.scores().is_some_and(|it| it.validation == validation_of(chosen));
    has_score && record.values == *values
}

/// The mean of a configuration's runs.
fn validation_of(chosen: &Repeats<'_>) -> Score {
    Score { loss: chosen.validation_loss(), accuracy: chosen.validation().0 }
}

/// Trains a configuration with [`refit_values`] into the results folder's `refit`, unless that is there already.
/// Nothing is saved on the way. Its validation score is the mean of the configuration's runs. Returns the
/// record; `None` if it was interrupted. `warn` is told of a damaged record, which is set aside.
///
/// # Errors
/// Where the folder cannot be written to.
pub fn refit(
    chosen: &Repeats<'_>,
    values: &Checked,
    dataset: &Arc<Dataset>,
    store: &Store,
    interrupt: &Interrupt,
    warn: &mut dyn FnMut(&str),
) -> Result<Option<Record>> {
    let validation = validation_of(chosen);
    let data = Provenance::of_data(dataset);
    let is_same =
        |record: &Record| is_refit_of(record, chosen, values) && record.provenance.same_data(&data);
    if let Some(record) = store.refit_record(warn)?.filter(is_same) {
        return Ok(Some(record));
    }
    let end = train_checked(values, dataset, None, None, &|_| {}, interrupt)?;
    let RunEnd::Finished { mut record, mut trained } = end else { return Ok(None) };
    if let (Outcome::Done(scores), Some(model)) = (&mut record.outcome, &mut trained.model) {
        scores.validation = validation;
        model.validation_accuracy = validation.accuracy;
        trained.curve[scores.best_epoch - 1].validation = Some(validation);
        trained.outcome = record.outcome.clone();
    }
    store.write_refit(&trained, &record)?;
    Ok(Some(*record))
}
