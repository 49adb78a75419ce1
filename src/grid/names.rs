//! The names of files and folders in a results folder.

use crate::grid::disk::GRID;

pub(super) const RANKING: &str = "ranking.csv";
/// Says that a results folder is a record (`scripts/reproduce`).
pub(super) const RECORDED: &str = "RECORDED";
pub(super) const SETTINGS: &str = "settings.csv";
/// A column of every such file.
pub(super) const SETTINGS_MARK: &str = "validation_accuracy_mean";
pub(super) const TOP: &str = "top10.md";
pub(crate) const RUNS: &str = "runs";
/// The members of an ensemble, by `rookie ensemble`.
pub(crate) const ENSEMBLE: &str = "ensemble.toml";
/// What stands in the head of every report, by which it is known as rookie's own.
pub(crate) const REPORT_MARK: &str = "· rookie</title>";
/// The folder of the runs that the grid no longer has.
pub(super) const LEFT_OUT: &str = "left_out";
/// What other commands make of results beside them by default.
pub(super) const DRAWN: [&str; 3] = ["report.html", ENSEMBLE, "figures"];
/// The folder of the run on the rows of all folds.
pub(super) const REFIT: &str = "refit";
/// There while a grid takes over the folder of another one.
pub(super) const SWITCHING: &str = "switching";
pub(super) const STAGES: &str = "stages";
/// The folder of the states in which runs have ended, from which longer ones go on.
pub(super) const FINAL: &str = "final";
pub(super) const SHARDS: &str = "shards";
pub(super) const SHARDS_FILE: &str = "shards.csv";
pub(super) const CURVE: &str = "curve.csv";
pub(super) const MODEL: &str = "model.safetensors";
pub(super) const PREDICTIONS: &str = "test_predictions.csv.gz";
pub(super) const RECORD: &str = "run.toml";
/// The files that a kill may leave half written under another name.
pub(super) const WRITTEN: [&str; 11] = [
    GRID,
    RANKING,
    SETTINGS,
    TOP,
    DRAWN[0],
    ENSEMBLE,
    SHARDS_FILE,
    CURVE,
    MODEL,
    PREDICTIONS,
    RECORD,
];
