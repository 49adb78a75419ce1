//! What a reader of a ranking should know, in sentences.

use crate::results::ranking::{By, Ranking};
use crate::results::tables::{self, percent};
use crate::train::cautions::notes_on;
use crate::train::outcome::{Record, Scores};

/// What a reader should know where there is no test set.
pub(super) const NO_TEST: &str = "The data have no test set: runs are ranked by validation accuracy, and the \
                                  highest of several is probably too high.";

/// What a reader should know where no configuration can be chosen.
pub(crate) const NO_CHOICE: &str = "validation cannot choose, because runs have different validation sets (data_seed, \
                             validation_size) and no configuration has finished on all of them";

impl Ranking {
    /// What a reader should know, a sentence or two each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes_on_order();
        notes.extend(notes_on(self.records().iter()).iter().map(|text| tables::sentence(text)));
        notes
    }

    /// The same where each row is one run, also of folds.
    pub fn notes_on_runs(&self) -> Vec<String> {
        if !self.has_folds() {
            return self.notes();
        }
        let mut notes = vec![
            "Each row is one run, of one fold. Its accuracies depend on the rows of its fold, so the first row may be \
             a lucky fold; `rookie rank` shows the means of configurations."
                .to_string(),
        ];
        notes.extend(self.note_on_sets());
        notes.extend(notes_on(self.records().iter()).iter().map(|text| tables::sentence(text)));
        notes
    }

    fn notes_on_order(&self) -> Vec<String> {
        if self.has_folds() {
            return self.notes_on_means();
        }
        let mut done = self.records().iter().filter_map(|record| Some((record, record.scores()?)));
        let (Some((first, _)), Some(_)) = (done.next(), done.next()) else { return Vec::new() };
        let mut notes = vec![
            "Each row is one run; other seeds may change the order. `rookie compare` tests \
             configurations with several seeds."
                .to_string(),
        ];
        if !self.has_test() {
            notes.push(NO_TEST.to_string());
        }
        if !self.has_one_validation_set() {
            notes.extend(self.note_on_sets());
            return notes;
        }
        if self.by() == By::Validation {
            return notes;
        }
        let Some((chosen, scores)) = self.chosen().and_then(|it| Some((it, it.scores()?))) else {
            return notes;
        };
        let is_equal = |other: &Scores| other.validation.accuracy == scores.validation.accuracy;
        let equals =
            self.records().iter().filter_map(Record::scores).filter(|it| is_equal(it)).count();
        let is_best = first.scores().is_some_and(|it| it.test == scores.test);
        let mut note = if chosen.run == first.run {
            "Validation chooses the first row.".to_string()
        } else if is_best {
            let accuracy = percent(scores.judged());
            format!(
                "Validation chooses {}: {accuracy} on the test set, as the first row.",
                chosen.run
            )
        } else {
            format!(
                "Validation chooses {}: {} on the test set. The first row was picked by the test set \
                 itself, so its accuracy is probably too high.",
                chosen.run,
                percent(scores.judged())
            )
        };
        if equals > 1 {
            note += &format!(
                " {equals} runs share this validation accuracy; the lower validation loss decides, then \
                 the name."
            );
        }
        notes.push(note);
        notes
    }

    /// What validation chooses where runs have different validation sets, by means over all of them.
    fn note_on_sets(&self) -> Option<String> {
        if self.configurations().len() < 2 {
            return None;
        }
        let Some(chosen) = self.chosen_by_mean() else { return Some(tables::sentence(NO_CHOICE)) };
        let configuration = self.describe_configuration(&chosen);
        let (set, (accuracy, _)) = if self.has_test() {
            ("test set", chosen.test())
        } else {
            ("validation sets", chosen.validation())
        };
        Some(format!(
            "Runs have different validation sets, so validation chooses by means over all of them: \
             {configuration}, with {} on the {set} (mean of {} runs).",
            percent(accuracy),
            chosen.runs.len()
        ))
    }
}
