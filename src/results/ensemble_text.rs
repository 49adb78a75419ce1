//! An ensemble beside the best single run, for the terminal.

use crate::data::preprocess::Standardisation;
use crate::error::counted;
use crate::results::comparison_text::p_is;
use crate::results::tables::{fitting, lines, percent};
use crate::statistics::PairedDifference;
use crate::train::outcome::{Record, Scores};
use crate::train::predictor::Ensemble;

/// What is told of an ensemble.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'a> {
    /// What its file says.
    pub ensemble: &'a Ensemble,
    /// Its members with their weights, the best first.
    pub members: &'a [(&'a Record, u32)],
    /// The scores of the best single run by validation.
    pub best: &'a Scores,
    /// The test accuracies of the ensemble and of the best run with the training moments, if known.
    pub alone: Option<(f64, Option<f64>)>,
    /// The ensemble's test accuracy minus the best run's, paired by image.
    pub difference: PairedDifference,
}

impl Summary<'_> {
    /// Two tables and notes, for a terminal of `width` columns if it is one.
    pub fn describe(&self, width: Option<usize>) -> String {
        let header =
            ["Member", "Weight", "Validation\naccuracy", "Test\naccuracy"].map(String::from);
        let row = |&(record, weight): &(&Record, u32)| {
            let scores = record.scores().expect("members trained to their end");
            let accuracies = [scores.validation.accuracy, scores.judged()].map(percent);
            [vec![record.run.clone(), weight.to_string()], accuracies.to_vec()].concat()
        };
        let members: Vec<Vec<String>> = self.members.iter().map(row).collect();
        let members = fitting(&header, &members, width, &[]);
        [members, self.table(width), lines(&self.notes())].join("\n\n")
    }

    fn table(&self, width: Option<usize>) -> String {
        let noun = self.ensemble.provenance.noun();
        let alone = [format!("Each {noun}\nby itself"), format!("Each {noun} by itself")];
        let header = ["", "Validation\naccuracy", "Test\naccuracy", &alone[0]];
        let row = |name: String, validation: f64, test: f64, alone: Option<f64>| {
            let alone = alone.map_or_else(|| "–".to_string(), percent);
            vec![name, percent(validation), percent(test), alone]
        };
        let (ensemble, best) = (self.ensemble, self.best);
        let rows = [
            row(
                format!("Ensemble of {}", counted(self.members.len(), "model")),
                ensemble.validation_accuracy,
                ensemble.test_accuracy,
                self.alone.map(|alone| alone.0),
            ),
            row(
                "Best single run by validation".into(),
                best.validation.accuracy,
                best.judged(),
                self.alone.and_then(|alone| alone.1),
            ),
        ];
        fitting(&header.map(String::from), &rows, width, &[&alone[1]])
    }

    fn notes(&self) -> Vec<String> {
        let PairedDifference { mean, ends: (low, high), p } = self.difference;
        let (p, noun) = (p_is(p), self.ensemble.provenance.noun());
        let [mean, low, high] =
            [mean, low, high].map(|it| format!("{:+.2}", 100.0 * it + 0.0).replace('-', "−"));
        vec![
            format!(
                "Difference to the best single run on these {} test {noun}s: {mean} points (95 % \
                 interval {low} to {high}, paired by {noun}; McNemar's test, {p}). It is about these models; other seeds \
                 may give a different one.",
                self.ensemble.test_images
            ),
            "Validation chose the members, so the ensemble's validation accuracy is probably too high; \
             the test set was not used."
                .into(),
            if self.members.iter().any(|(it, _)| it.values.standardisation == Standardisation::Batch) {
                format!(
                    "The first two columns are with batches standardised as in training, as in run.toml; the \
                     last is with the training moments, as `rookie predict` standardises each {noun}."
                )
            } else {
                format!("Test accuracy and the last column are both as `rookie predict` standardises each {noun}.")
            },
        ]
    }
}
