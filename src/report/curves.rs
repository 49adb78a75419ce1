//! The curves of the report: which runs have theirs, and how many points each.

use serde_json::{Value, json};

use crate::train::outcome::Record;
use crate::train::score::{CurveRow, Score};

/// How many runs a page holds: as many as a browser still sorts at once.
pub(super) const MAX_RUNS: usize = 20_000;
/// How many rows of curves a page holds, about 40 bytes each.
const MAX_ROWS: usize = 200_000;
/// A curve of fewer points tells too little; rather, some runs have none.
const FEWEST_POINTS: usize = 50;

/// A curve as lists: of every n-th epoch, and the first and last one.
pub(super) fn curve(rows: &[CurveRow], every: usize) -> Value {
    let is_kept = |row: &&CurveRow| {
        row.epoch == 1 || row.epoch == rows.len() || row.epoch.is_multiple_of(every)
    };
    let kept: Vec<&CurveRow> = rows.iter().filter(is_kept).collect();
    let of = |pick: fn(&CurveRow) -> f64| kept.iter().map(|row| pick(row)).collect::<Vec<_>>();
    let mut validation: Vec<(usize, Score)> =
        rows.iter().filter_map(|row| Some((row.epoch, row.validation?))).collect();
    if validation.len() > kept.len() {
        validation.retain(|(epoch, _)| *epoch == rows.len() || epoch.is_multiple_of(every));
    }
    json!({
        "epoch": kept.iter().map(|row| row.epoch).collect::<Vec<_>>(),
        "train_loss": of(|row| row.train.loss),
        "train_accuracy": of(|row| row.train.accuracy),
        "validation_epoch": validation.iter().map(|(epoch, _)| epoch).collect::<Vec<_>>(),
        "validation_loss": validation.iter().map(|(_, score)| score.loss).collect::<Vec<_>>(),
        "validation_accuracy":
            validation.iter().map(|(_, score)| score.accuracy).collect::<Vec<_>>(),
    })
}

/// How many of the first ranked runs are included with their curves, and every how many epochs curves are sampled.
pub fn curves_wanted(records: &[Record]) -> (usize, usize) {
    let count = records.len().min(MAX_ROWS / FEWEST_POINTS);
    let epochs: usize = records[..count].iter().map(|record| record.values.epochs).sum();
    (count, epochs.div_ceil(MAX_ROWS).max(1))
}

/// What a reader should know of runs and epochs that are left out.
pub(super) fn thinned(records: &[Record]) -> Option<String> {
    let (count, every) = curves_wanted(records);
    let mut sentences = Vec::new();
    if records.len() > MAX_RUNS {
        sentences.push(format!("The page holds the first {MAX_RUNS} of {} runs.", records.len()));
    }
    if count < records.len() {
        sentences.push(format!("It has the curves of the first {count}."));
    }
    if every > 1 {
        sentences.push(format!("Each curve shows one epoch in {every}."));
    }
    (!sentences.is_empty()).then(|| sentences.join(" "))
}
