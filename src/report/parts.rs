//! Parts of the report: an ensemble, the confusion matrix, and texts as the page may show them.

use std::borrow::Cow;

use ndarray::ArrayView1;
use serde_json::Value;

use crate::error::counted;
use crate::results::evaluation::Evaluation;
use crate::results::ranking::Ranking;
use crate::results::tables::percent;
use crate::text::printable;
use crate::train::predictor::Ensemble;

/// An ensemble beside the best single run.
pub(super) struct Averaged<'a> {
    pub(super) summary: String,
    pub(super) facts: [(&'static str, String); 3],
    /// Weights and models.
    pub(super) members: Vec<(u32, Cow<'a, str>)>,
}

/// The confusion matrix as a table.
pub(super) struct Confusion<'a> {
    pub(super) summary: String,
    pub(super) names: Vec<Cow<'a, str>>,
    pub(super) rows: Vec<(Cow<'a, str>, Vec<Cell>)>,
}

pub(super) struct Cell {
    pub(super) count: usize,
    /// Of the row, from 0 to 1.
    pub(super) share: String,
}

pub(super) fn averaged<'a>(ensemble: &'a Ensemble, ranking: &Ranking) -> Averaged<'a> {
    let best = &ensemble.best_run;
    let is_old = ranking.chosen().is_some_and(|it| !it.run.ends_with(best.as_str()));
    let then = if is_old { " when it was made" } else { "" };
    let (low, high) = ensemble.difference;
    let how = if ensemble.chosen_by == "greedy" { "chosen greedily" } else { "the best" };
    Averaged {
        summary: format!(
            "An ensemble of {}, {how} by validation of {}. The best single run by validation{then}, {}, has {} \
             on the test set.",
            counted(ensemble.members.len(), "model"),
            counted(ensemble.runs, "run"),
            printable(best),
            percent(ensemble.best_test_accuracy)
        ),
        facts: [
            ("Validation accuracy", percent(ensemble.validation_accuracy)),
            ("Test accuracy", percent(ensemble.test_accuracy)),
            (
                "95 % interval of the difference",
                format!("{:+.2} to {:+.2} points", 100.0 * low, 100.0 * high).replace('-', "−"),
            ),
        ],
        members: ensemble.members.iter().map(|it| (it.weight, printable(&it.model))).collect(),
    }
}

pub(super) fn confusion(evaluation: &Evaluation) -> Confusion<'_> {
    let cells = |counts: ArrayView1<'_, usize>| {
        let images = counts.sum().max(1) as f64;
        let cell = |&count: &usize| Cell { count, share: format!("{:.4}", count as f64 / images) };
        counts.iter().map(cell).collect()
    };
    let rows = evaluation.confusion.rows().into_iter().map(cells);
    Confusion {
        summary: format!(
            "Each row is a true class, each column a predicted one. {} of {} in the test set are classified \
             correctly.",
            evaluation.tally.correct, evaluation.tally.images
        ),
        names: evaluation.names.iter().map(|name| printable(name)).collect(),
        rows: evaluation.names.iter().map(|name| printable(name)).zip(rows).collect(),
    }
}

/// The same data with every text as it may be shown.
pub(super) fn shown(data: Value) -> Value {
    match data {
        Value::String(text) => Value::String(printable(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(shown).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, it)| (name, shown(it))).collect(),
        data => data,
    }
}

/// JSON as it may stand in a script element: nothing in it ends the element or begins another.
/// These characters stand in strings alone, where JSON may write them so.
pub(super) fn escaped(data: &Value) -> String {
    let mut text = String::new();
    for c in data.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text
}
