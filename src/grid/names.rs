//! The names of files and folders in a results folder.

use crate::grid::disk::GRID;

pub(super) const RANKING: &str = "ranking.csv";
/// Says that a results folder is a record (`scripts/reproduce`).
pub(super) const RECORDED: &str = "RECORDED";
pub(super) const SETTINGS: &str = "settings.csv";
pub(super) const TOP: &str = "top10.md";
pub(super) const RUNS: &str = "runs";
/// What stands beside a grid's results: what other commands draw by default, and runs of earlier grids.
pub(super) const DRAWN: [&str; 3] = ["report.html", "figures", "left_out"];
pub(super) const STAGES: &str = "stages";
pub(super) const SHARDS: &str = "shards";
pub(super) const SHARDS_FILE: &str = "shards.csv";
pub(super) const CURVE: &str = "curve.csv";
pub(super) const MODEL: &str = "model.safetensors";
pub(super) const PREDICTIONS: &str = "test_predictions.csv.gz";
pub(super) const RECORD: &str = "run.toml";
/// The files that a kill may leave half written under another name.
pub(super) const WRITTEN: [&str; 10] =
    [GRID, RANKING, SETTINGS, TOP, DRAWN[0], SHARDS_FILE, CURVE, MODEL, PREDICTIONS, RECORD];
