//! An audit as a table with notes, for the terminal, as Markdown and as CSV.

use crate::error::counted;
use crate::results::audit::{Audit, Audited};
use crate::results::audited::{Choice, Rule};
use crate::results::ranking_notes::NO_CHOICE;
use crate::results::tables::{self, percent};
use crate::train::cautions::notes_on;

/// What a narrow terminal can do without, the least important first.
const LEAST: [&str; 4] = ["Runs finished", "Epochs", "Test accuracy", "Validation accuracy"];
const CSV_COLUMNS: [&str; 10] = [
    "rule",
    "epochs",
    "share",
    "finished",
    "validation_accuracy",
    "test_accuracy",
    "validation_regret",
    "test_regret",
    "kept_of_best",
    "run",
];

/// The rules of an audit, the full grid first, with what each would have done.
#[derive(Debug)]
pub struct AuditTable<'a> {
    audit: &'a Audit<'a>,
    rows: Vec<(Rule, Option<Audited>)>,
    /// How many runs the grid has, ended or not.
    planned: usize,
}

/// A point of the figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The rule.
    pub rule: Rule,
    /// Its epochs as a share of the full grid's.
    pub share: f64,
    /// The full grid's choice minus the rule's: of validation accuracy, a fraction.
    pub validation: f64,
    /// The same of test accuracy, if it is known.
    pub test: Option<f64>,
}

impl<'a> AuditTable<'a> {
    /// Replays rules on a grid of so many planned runs.
    pub fn new(audit: &'a Audit<'a>, rules: Vec<Rule>, planned: usize) -> Self {
        let all = std::iter::once(Rule::Full).chain(rules);
        let rows = all.map(|rule| (rule.clone(), audit.replay(&rule))).collect();
        Self { audit, rows, planned }
    }

    /// What the full grid's choice, or of a halved grid the best finished run, has more than another one: validation
    /// and test accuracy.
    fn regret(&self, chosen: Choice) -> Option<(f64, Option<f64>)> {
        let full = self.audit.best()?;
        let test = full.test.zip(chosen.test).map(|(full, test)| full - test);
        Some((full.validation - chosen.validation, test))
    }

    /// The rules that could be replayed, without the full grid.
    pub fn points(&self) -> Vec<Point> {
        let point = |(rule, audited): &(Rule, Option<Audited>)| {
            let audited = audited.as_ref().filter(|_| *rule != Rule::Full)?;
            let (validation, test) = self.regret(audited.chosen?)?;
            Some(Point { rule: rule.clone(), share: audited.share, validation, test })
        };
        self.rows.iter().filter_map(point).collect()
    }

    /// One row per rule, for scripts; fractions. What is not known is empty.
    pub fn csv(&self) -> Vec<u8> {
        let row = |(rule, audited): &(Rule, Option<Audited>)| {
            let mut row = vec![rule.name()];
            let Some(it) = audited else {
                row.resize(CSV_COLUMNS.len(), String::new());
                return row;
            };
            let chosen = it.chosen;
            let regret = chosen.and_then(|chosen| self.regret(chosen));
            let fraction = |it: Option<f64>| it.map(|it| format!("{it:.6}")).unwrap_or_default();
            row.extend([
                it.epochs.to_string(),
                format!("{:.6}", it.share),
                it.finished.to_string(),
            ]);
            row.push(fraction(chosen.map(|it| it.validation)));
            row.push(fraction(chosen.and_then(|it| it.test)));
            row.push(fraction(regret.map(|it| it.0)));
            row.push(fraction(regret.and_then(|it| it.1)));
            row.push(it.of_best.to_string());
            row.push(chosen.map(|it| self.audit.name(&it)).unwrap_or_default());
            row
        };
        let rows: Vec<Vec<String>> = self.rows.iter().map(row).collect();
        tables::csv(&CSV_COLUMNS.map(String::from), &rows)
    }

    /// A table and notes, for a document.
    pub fn markdown(&self) -> String {
        let (header, rows) = self.table(" ");
        tables::document(&header, &rows, &self.notes())
    }

    /// The same for the terminal, of `width` columns if it is known.
    pub fn describe(&self, width: Option<usize>) -> String {
        let (header, rows) = self.table("\n");
        tables::with_notes(tables::fitting(&header, &rows, width, &LEAST), &self.notes())
    }

    fn table(&self, gap: &str) -> (Vec<String>, Vec<Vec<String>>) {
        let header = [
            "Rule".to_string(),
            "Epochs".into(),
            format!("Share of{gap}epochs"),
            format!("Runs{gap}finished"),
            format!("Of the{gap}best ten"),
            format!("Validation{gap}accuracy"),
            "Regret".into(),
            format!("Test{gap}accuracy"),
            format!("Regret{gap}in test"),
        ];
        let width = header.len();
        let points = |it: f64| format!("{:.2}", 100.0 * it + 0.0).replace('-', "−");
        let or_dash = |it: Option<String>| it.unwrap_or_else(|| "–".into());
        let row = |(rule, audited): &(Rule, Option<Audited>)| {
            let mut row = vec![rule.name()];
            if let Some(it) = audited {
                let chosen = it.chosen;
                let regret = chosen.and_then(|chosen| self.regret(chosen));
                row.extend([it.epochs.to_string(), format!("{:.3}", it.share)]);
                row.extend([it.finished.to_string(), it.of_best.to_string()]);
                row.push(or_dash(chosen.map(|it| percent(it.validation))));
                row.push(or_dash(regret.map(|it| points(it.0))));
                row.push(or_dash(chosen.and_then(|it| it.test).map(percent)));
                row.push(or_dash(regret.and_then(|it| it.1).map(points)));
            }
            row.resize(width, "–".into());
            row
        };
        (header.to_vec(), self.rows.iter().map(row).collect())
    }

    /// What a reader should know, one paragraph each.
    fn notes(&self) -> Vec<String> {
        let audit = self.audit;
        let mut notes = vec![self.note_on_grid()];
        if let Some(best) = self.audit.best() {
            notes.push(format!(
                "Regret is the number of points by which a choice is worse than that of {} by validation: {}.",
                if audit.stopped() > 0 { "the finished runs" } else { "the full grid" },
                audit.name(&best)
            ));
        } else if audit.has_means() {
            notes.push(tables::sentence(NO_CHOICE));
        }
        let (best, one) = if audit.has_means() {
            let why = "Runs have different validation sets, so their means over all of them choose a configuration.";
            ("configurations with the highest mean", why)
        } else {
            ("runs with the highest", "Each run is one training.")
        };
        notes.push(format!(
            "The best ten are the {} {best} validation accuracy, and the column counts those that the rule \
             trains to their end. {one} With other seeds, each rule may choose another one.",
            audit.count_best()
        ));
        let has = |is: fn(&Rule) -> bool| self.rows.iter().any(|(rule, _)| is(rule));
        if has(|rule| matches!(rule, Rule::Median { .. } | Rule::Asha { .. })) {
            notes.push(
                "For the median rule and ASHA, workers are simulated that begin candidates in the grid's order \
                 and take as long for every epoch."
                    .into(),
            );
        }
        let is_unknown = |(rule, it): &(Rule, Option<Audited>)| {
            let chosen = it.as_ref().and_then(|it| it.chosen);
            matches!(rule, Rule::Patience(_)) && chosen.is_some_and(|it| it.test.is_none())
        };
        let has_test =
            audit.runs().iter().any(|run| run.record.scores().is_some_and(|it| it.test.is_some()));
        if has_test && self.rows.iter().any(is_unknown) {
            notes.push(
                "With patience, the chosen run may end before its best epoch; the model that it then has was \
                 never tested (–)."
                    .into(),
            );
        }
        let on_runs = notes_on(audit.runs().iter().map(|run| &run.record));
        notes.extend(on_runs.iter().map(|text| tables::sentence(text)));
        notes
    }

    fn note_on_grid(&self) -> String {
        let audit = self.audit;
        let (full, planned) = (audit.full_epochs(), audit.planned_epochs());
        let (runs, stopped) = (audit.runs().len(), audit.stopped());
        let (ended, of) = (runs - stopped, counted(self.planned, "run"));
        if stopped > 0 {
            let stopped = counted(stopped, "run");
            let has_patience = audit.runs().iter().any(|run| run.record.values.patience > 0);
            let shares = if has_patience {
                " Shares are of the epochs without patience, which may have ended stopped runs early, and may so be \
                 too low."
            } else {
                ""
            };
            return format!(
                "{ended} of {of} have finished. Halving stopped {stopped}, whose final accuracy is not \
                 known, so rules that train them further are not replayed (–), nor is the full grid.{shares}"
            );
        }
        let mut note = if ended < self.planned {
            format!("{ended} of {of} have ended; the audit is of these.")
        } else {
            format!("All {of} have ended.")
        };
        note += &format!(
            " The full grid trains {full} epochs; an epoch that several runs share counts once."
        );
        if full < planned {
            note += &format!(" If no run ended early, they would be {planned}.");
        }
        note
    }
}
