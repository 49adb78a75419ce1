//! Means and deviations of runs that differ in their seeds alone, as a CSV.

use std::collections::BTreeMap;

use crate::results::ranking::{EPOCHS, Ranking, SEEDS, descending};
use crate::results::tables;
use crate::statistics::mean_and_std;
use crate::train::outcome::Scores;

impl Ranking {
    /// `settings.csv`: for each setting, the mean and sample standard deviation over its seeds,
    /// best mean test accuracy first. Only runs that trained to their end count.
    pub fn settings_csv(&self) -> Vec<u8> {
        let (header, rows) = self.settings();
        tables::csv(&header, &rows)
    }

    fn settings(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let columns = self.columns().without(&SEEDS).without(&[EPOCHS]);
        let mut settings: BTreeMap<Vec<String>, Vec<&Scores>> = BTreeMap::new();
        for record in self.records() {
            let Some(scores) = record.scores() else { continue };
            let mut cells = columns.cells(&record.values);
            cells.push(record.values.epochs.to_string());
            settings.entry(cells).or_default().push(scores);
        }
        let test = |scores: &[&Scores]| {
            mean_and_std(&scores.iter().map(|s| s.test.accuracy).collect::<Vec<_>>())
        };
        let mut settings: Vec<(Vec<String>, Vec<&Scores>)> = settings.into_iter().collect();
        settings.sort_by(|(_, a), (_, b)| descending(Some(test(a).0), Some(test(b).0)));
        let mut header = columns.names();
        header.extend(
            [
                "epochs",
                "runs",
                "test_accuracy_mean",
                "test_accuracy_std",
                "validation_accuracy_mean",
                "validation_accuracy_std",
            ]
            .map(String::from),
        );
        let row = |(mut cells, scores): (Vec<String>, Vec<&Scores>)| {
            cells.push(scores.len().to_string());
            let validation =
                mean_and_std(&scores.iter().map(|s| s.validation.accuracy).collect::<Vec<_>>());
            for (mean, std) in [test(&scores), validation] {
                cells.push(format!("{mean:.6}"));
                cells.push(std.map(|std| format!("{std:.6}")).unwrap_or_default());
            }
            cells
        };
        (header, settings.into_iter().map(row).collect())
    }
}
