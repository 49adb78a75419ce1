//! What `rookie grid --refit` does once the grid is trained.

use std::sync::Arc;

use crate::commands::common::Status;
use crate::data::dataset::Dataset;
use crate::engine::event::Interrupt;
use crate::engine::refit::{is_refit_of, refit, refit_values};
use crate::error::{Result, counted};
use crate::grid::run_folder::{model_of, read_run};
use crate::grid::store::Store;
use crate::progress::say;
use crate::results::ranking::Ranking;
use crate::results::tables::percent;
use crate::signals;
use crate::train::outcome::Outcome;

/// Says where an earlier refit is not what validation chooses now. It stays: somebody may use it.
pub fn say_if_stale(ranking: &Ranking, store: &Store) {
    let folder = store.refit_folder();
    let Ok(Some(record)) = read_run(&folder) else { return };
    let chosen = ranking.chosen_by_mean().and_then(|it| Some((refit_values(&it)?, it)));
    let what_to_do = match chosen {
        Some(_) if ranking.has_folds() => "--refit replaces it",
        _ => "remove it if you no longer need it",
    };
    if !chosen.is_some_and(|(values, chosen)| is_refit_of(&record, &chosen, &values)) {
        let folder = folder.display();
        say(&format!(
            "warning: {folder} is of an earlier grid, and not what validation chooses now; {what_to_do}"
        ));
    }
}

/// Trains the configuration that the means over folds choose on the rows of all folds, and says how it does.
///
/// # Errors
/// Where the results folder cannot be written to.
pub fn run(
    ranking: &Ranking,
    dataset: &Arc<Dataset>,
    store: &Store,
    interrupt: &Interrupt,
) -> Result<Status> {
    let chosen = ranking.chosen_by_mean();
    let Some((chosen, values)) = chosen.and_then(|it| refit_values(&it).map(|of| (it, of))) else {
        say("no configuration has a finished run of each fold, so none is trained on all rows");
        return Ok(Status::SomethingFailed);
    };
    let configuration = ranking.describe_configuration(&chosen);
    let (rows, epochs) = (counted(dataset.train.len(), "row"), counted(values.epochs, "epoch"));
    say(&format!("refit: {configuration} on all {rows} for {epochs}, the median best epoch"));
    let Some(record) = refit(&chosen, &values, dataset, store, interrupt, &mut say)? else {
        say("refit: interrupted; the same command starts it again");
        return Ok(signals::caught().map_or(Status::SomethingFailed, Status::Interrupted));
    };
    let folder = store.refit_folder();
    if let Outcome::Done(scores) = &record.outcome {
        let judged = scores.test.map_or("there is no test set to judge it by".into(), |test| {
            let (test, of_runs) = (percent(test.accuracy), percent(chosen.test().0));
            format!("{test} on the test set; the mean of its runs is {of_runs}")
        });
        say(&format!("refit: {judged}: {}", model_of(&folder).display()));
        return Ok(Status::Done);
    }
    say(&format!("refit: {}, see {}", record.outcome.status(), folder.display()));
    Ok(Status::SomethingFailed)
}
