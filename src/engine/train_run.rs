//! Trains one run: in a folder, where it resumes, or in memory.

use std::path::Path;

use crate::data::batches::Batches;
use crate::data::dataset::Dataset;
use crate::engine::event::{Event, Interrupt, OnEvent};
use crate::engine::memory_use::too_large;
use crate::engine::run_in_progress::{RunInProgress, SaveEvery};
use crate::error::{Error, Place, Result};
use crate::grid::checkpoints::{Checkpoints, saved_in};
use crate::grid::space::descriptive_name;
use crate::grid::store::{clear_run, states_of, write_run};
use crate::memory::Room;
use crate::network::kernels;
use crate::network::params::Params;
use crate::train::hyperparams::Checked;
use crate::train::outcome::Record;
use crate::train::provenance::{self, mixed};
use crate::train::reads::Step;
use crate::train::run::{TrainState, Trained};

/// The line of a record's provenance that names the weights that its run started from.
pub const INIT: &str = "init_sha256";

/// Weights to start from in place of random ones.
#[derive(Debug, Clone)]
pub struct Init {
    /// For a network of the run's sizes.
    pub params: Params,
    /// SHA-256 of their file, in hexadecimal, for the record.
    pub sha256: String,
}

/// How a run came to its end, or did not.
#[derive(Debug)]
pub enum RunEnd {
    /// After its last epoch, or because it diverged or failed.
    Finished {
        /// What it came to.
        record: Box<Record>,
        /// Its curve, model and predictions.
        trained: Box<Trained>,
    },
    /// After this epoch, on request.
    Interrupted {
        /// From 1; 0 before the first.
        epoch: usize,
    },
}

/// The lines of provenance of a run on these data, started from these weights.
///
/// # Errors
/// Where OpenBLAS is not as it must be.
pub fn provenance_of(dataset: &Dataset, init: Option<&Init>) -> Result<Vec<(String, String)>> {
    let mut lines = provenance::lines(dataset)?;
    lines.extend(init.map(|init| (INIT.to_string(), init.sha256.clone())));
    Ok(lines)
}

/// The hash of the weights that a run started from, if they were not drawn.
pub fn init_of(provenance: &[(String, String)]) -> Option<&str> {
    provenance.iter().find(|(name, _)| name == INIT).map(|(_, sha256)| &sha256[..])
}

/// Trains one run that was checked against the data. With a folder, which the caller has locked
/// ([`crate::grid::store::lock`]), the run resumes from its checkpoint there, is saved on the way, and
/// leaves its files; without, everything stays in memory and an interrupted run is lost.
///
/// # Errors
/// Where the folder holds another run in progress, or cannot be written to.
pub fn train_run(
    values: &Checked,
    dataset: &Dataset,
    init: Option<&Init>,
    folder: Option<(&Path, SaveEvery)>,
    on_event: OnEvent<'_>,
    interrupt: &Interrupt,
) -> Result<RunEnd> {
    let provenance = provenance_of(dataset, init)?;
    let ((start, steps), name) = (values.parts(), descriptive_name(values));
    if let Some(reason) = too_large(values, dataset.shape(), &Room::now()) {
        let folder = folder.map(|(folder, _)| folder);
        return leave(values, Trained::failed(reason), 0.0, provenance, folder);
    }
    let batches = Batches::new(dataset, start.batching)?;
    let state = match init {
        Some(init) => TrainState::new(&start, init.params.clone()),
        None => TrainState::drawn(&start, dataset.train.inputs(), dataset.classes),
    };
    let mut run = RunInProgress::new(state);
    let mut checkpoints = None;
    if let Some((folder, _)) = folder {
        let (resumed, found) = resume(values, &batches, folder, &provenance, on_event)?;
        checkpoints = Some(found);
        run = resumed.unwrap_or(run);
    }
    let save = |run: &mut RunInProgress| match &checkpoints {
        Some(checkpoints) => {
            let bytes = run.bytes_to_save(values, &provenance);
            checkpoints.save((0, Step::FIRST), &[0], &bytes)
        }
        None => Ok(()),
    };
    let mut work = run.state.workspace(&batches, None);
    let epochs_before = run.state.epoch();
    on_event(&Event::RunStarted { epochs_before, epochs: values.epochs });
    on_event(&Event::StageStarted { worker: 0, name: &name });
    while let Some(row) = run.train_epoch((&name, values), &batches, &mut work, steps.end()) {
        let (epochs, row) = (values.epochs, &row);
        on_event(&Event::EpochTrained { worker: 0, name: &name, epochs, row });
        if run.is_lost() || run.state.step() == steps.end() {
            break;
        }
        let is_due = folder.is_some_and(|(_, every)| run.is_due(every));
        if interrupt.is_asked() || is_due {
            save(&mut run)?;
        }
        if interrupt.is_asked() {
            return Ok(RunEnd::Interrupted { epoch: run.state.epoch() });
        }
    }
    let (trained, seconds) = run.finish(values, &batches, &mut work);
    if run.is_unsaved() {
        // By this state the files that follow are known as this run's until the last is there.
        save(&mut run)?;
    }
    let provenance = run.provenance(&provenance);
    let end = leave(values, trained, seconds, provenance, folder.map(|it| it.0))?;
    if let Some(checkpoints) = &checkpoints {
        checkpoints.let_go(&[0])?;
    }
    if let RunEnd::Finished { record, .. } = &end {
        on_event(&Event::RunFinished { name: &name, record });
    }
    Ok(end)
}

/// Writes what a run leaves.
fn leave(
    values: &Checked,
    trained: Trained,
    seconds: f64,
    provenance: Vec<(String, String)>,
    folder: Option<&Path>,
) -> Result<RunEnd> {
    let (values, outcome) = (values.clone(), trained.outcome.clone());
    let record = Record { values, outcome, seconds, provenance };
    if let Some(folder) = folder {
        clear_run(folder)?;
        write_run(folder, &trained, &record)?;
    }
    Ok(RunEnd::Finished { record: Box::new(record), trained: Box::new(trained) })
}

/// The run as it was saved in its folder, if it was, and where it is saved.
fn resume(
    values: &Checked,
    batches: &Batches,
    folder: &Path,
    provenance: &[(String, String)],
    on_event: OnEvent<'_>,
) -> Result<(Option<RunInProgress>, Checkpoints)> {
    for saved in saved_in(&states_of(folder))? {
        let is_same = saved.values == *values && init_of(&saved.provenance) == init_of(provenance);
        if !is_same {
            return Err(Error::input(Place::file(folder), "holds another run in progress")
                .hint("resume that one first, name another folder with --out, or remove it"));
        }
    }
    let sizes = (batches.train.inputs(), batches.classes);
    let (checkpoints, found) =
        Checkpoints::open(states_of(folder), None, &[values], sizes, provenance)?;
    for warning in &found.warnings {
        on_event(&Event::Warning(warning));
    }
    if let Some(notice) = kernels::notice() {
        on_event(&Event::Warning(notice));
    }
    let resumed = found.provenances.iter().map(|lines| &lines[..]);
    for warning in mixed(resumed, Some(provenance)) {
        on_event(&Event::Warning(&warning));
    }
    let Some(start) = found.starts[0] else { return Ok((None, checkpoints)) };
    let saved = checkpoints.load(start.saved)?;
    Ok((Some(RunInProgress::resumed(saved)), checkpoints))
}
