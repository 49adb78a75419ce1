//! The report: one page in which a whole grid can be understood, as one file that opens from disk
//! and works offline. The only module that uses the template and the chart library.
//!
//! What a reader should know stands in the page as text; what can be sorted, filtered and drawn is
//! data in it, of which `assets/report/page.js` makes tables and charts. No string of a run is ever
//! read as markup: the template escapes what it prints, the data are escaped as a script holds them, and
//! the page allows no script but its own, by their hashes.

use std::borrow::Cow;

use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::counted;
use crate::report::curves::{MAX_RUNS, curve, curves_wanted, thinned};
use crate::report::parts::{Averaged, Confusion, averaged, confusion, escaped, shown};
use crate::results::effects::{Effects, Factor, Scale};
use crate::results::evaluation::Evaluation;
use crate::results::ranking::{Ranking, epochs_shown};
use crate::results::settings::{Repeats, with_deviation};
use crate::results::tables::percent;
use crate::text::printable;
use crate::train::outcome::{Outcome, Record, Scores};
use crate::train::predictor::Ensemble;
use crate::train::provenance::VERSION;
use crate::train::score::CurveRow;

const STYLE: &str = include_str!("../../assets/report/style.css");
const SCRIPT: &str = include_str!("../../assets/report/page.js");
const LIBRARY: &str = include_str!("../../assets/vendor/echarts/echarts.min.js");

/// What a report is made of.
#[derive(Debug)]
pub struct Report<'a> {
    /// The grid's name.
    pub title: String,
    /// How many runs it has, ended or not.
    pub planned: usize,
    /// Whether the file is being rewritten as runs end.
    pub watched: bool,
    /// The runs that have ended, best first.
    pub ranking: &'a Ranking,
    /// What varies among them, in the same order.
    pub effects: &'a Effects,
    /// The curve of each, as far as they are wanted, see [`curves_wanted`]; `None` for one that
    /// cannot be read.
    pub curves: Vec<Option<Vec<CurveRow>>>,
    /// What was run, on what and with what: names and values.
    pub facts: Vec<(String, String)>,
    /// What a reader should know, a sentence each.
    pub notes: Vec<String>,
    /// What a refit is, a sentence each.
    pub refits: Vec<String>,
    /// Pictures of the run that validation accuracy would choose.
    pub pictures: Vec<Picture>,
    /// How its model does on every class of the test set.
    pub evaluation: Option<Evaluation>,
    /// The ensembles in the folders.
    pub ensembles: Vec<Ensemble>,
}

/// A picture in the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// What stands below it.
    pub caption: String,
    /// What it shows, for who cannot see it.
    pub alt: String,
    /// Its PNG.
    pub png: Vec<u8>,
    /// Whether it needs the page's whole width.
    pub wide: bool,
}

impl Picture {
    fn uri(&self) -> String {
        format!("data:image/png;base64,{}", BASE64_STANDARD.encode(&self.png))
    }

    fn alt(&self) -> Cow<'_, str> {
        printable(&self.alt)
    }

    fn caption(&self) -> Cow<'_, str> {
        printable(&self.caption)
    }
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    csp: String,
    style: &'static str,
    script: &'static str,
    library: &'static str,
    version: &'static str,
    title: Cow<'a, str>,
    progress: String,
    planned: usize,
    ended: usize,
    shows_bar: bool,
    ranked_by: &'static str,
    best: Option<Best>,
    refits: Vec<Cow<'a, str>>,
    ensembles: Vec<Averaged<'a>>,
    in_detail: Option<String>,
    pictures: &'a [Picture],
    confusion: Option<Confusion<'a>>,
    facts: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    notes: Vec<Cow<'a, str>>,
    data: String,
}

/// What validation accuracy would choose: a run or, of several validation sets, a configuration.
struct Best {
    what: &'static str,
    name: String,
    /// Why, as the rest of a sentence.
    why: &'static str,
    facts: Vec<(&'static str, String)>,
}

impl Report<'_> {
    /// The whole page.
    pub fn html(&self) -> String {
        let ended = self.count_ended();
        let page = Page {
            csp: content_security_policy(),
            style: STYLE,
            script: SCRIPT,
            library: LIBRARY,
            version: VERSION,
            title: printable(&self.title),
            progress: self.progress(),
            planned: self.planned,
            ended,
            // Runs that halving stopped end only if they are trained further.
            shows_bar: self.ranking.records().len() < self.planned
                || self.watched && ended < self.planned,
            ranked_by: if self.ranking.has_test() { "test" } else { "validation" },
            best: self.best(),
            refits: self.refits.iter().map(|text| printable(text)).collect(),
            in_detail: self.in_detail(),
            ensembles: self.ensembles.iter().map(|it| averaged(it, self.ranking)).collect(),
            pictures: &self.pictures,
            confusion: self.evaluation.as_ref().map(confusion),
            facts: self.facts.iter().map(|(a, b)| (printable(a), printable(b))).collect(),
            notes: self.notes.iter().map(|note| printable(note)).collect(),
            data: escaped(&shown(self.data())),
        };
        page.render().expect("writing into memory does not fail")
    }

    /// The runs that have ended: not those that halving has stopped.
    fn count_ended(&self) -> usize {
        let is_stopped = |record: &&Record| record.outcome.is_stopped();
        let records = self.ranking.records();
        records.len() - records.iter().filter(is_stopped).count()
    }

    fn progress(&self) -> String {
        let (ended, planned) = (self.count_ended(), self.planned);
        let stopped = self.ranking.records().len() - ended;
        match ended {
            _ if stopped > 0 => {
                format!(
                    "{ended} of {planned} runs have finished, {stopped} were stopped by halving."
                )
            }
            _ if ended == planned && planned == 1 => "The one run has finished.".to_string(),
            _ if ended == planned => format!("All {planned} runs have finished."),
            0 => format!("None of {} has finished yet.", counted(planned, "run")),
            1 => format!("1 of {planned} runs has finished."),
            _ => format!("{ended} of {planned} runs have finished."),
        }
    }

    fn best(&self) -> Option<Best> {
        if let Some(chosen) = self.ranking.chosen_by_mean() {
            return Some(self.best_configuration(&chosen));
        }
        let record = self.ranking.chosen()?;
        let scores = record.scores()?;
        let validation = record.validation().map(|score| percent(score.accuracy));
        let mut facts: Vec<_> =
            validation.map(|it| ("Validation accuracy", it)).into_iter().collect();
        if let Some((test, (low, high))) = scores.test.zip(scores.test_interval()) {
            facts.push(("Test accuracy", percent(test.accuracy)));
            facts.push(("95 % interval", format!("{:.2} to {:.2} %", 100.0 * low, 100.0 * high)));
        }
        facts.push(("Best epoch", format!("{} of {}", scores.best_epoch, record.values.epochs)));
        let name = printable(&record.run).into_owned();
        Some(Best { what: "run", name, why: "has the highest validation accuracy", facts })
    }

    /// Of several validation sets, on which single runs cannot be compared.
    fn best_configuration(&self, chosen: &Repeats<'_>) -> Best {
        let mut facts = vec![("Mean validation accuracy", with_deviation(chosen.validation()))];
        if self.ranking.has_test() {
            facts.push(("Mean test accuracy", with_deviation(chosen.test())));
        }
        facts.push(("Runs", chosen.runs.len().to_string()));
        let configuration = self.ranking.describe_configuration(chosen);
        let name = printable(&configuration).into_owned();
        let why =
            "has the highest mean validation accuracy (± is the standard deviation over its runs)";
        Best { what: "configuration", name, why, facts }
    }

    /// Which run the pictures and the confusion matrix are of, where that is not the best one.
    fn in_detail(&self) -> Option<String> {
        self.ranking.chosen_by_mean()?;
        let run = printable(&self.ranking.chosen()?.run);
        Some(format!("Of the chosen configuration, this is one run: {run}."))
    }

    /// What `page.js` reads.
    fn data(&self) -> Value {
        let records = self.ranking.records();
        let shown = records.len().min(MAX_RUNS);
        let axis = |factor: &Factor| {
            let scale = |scale: Scale| {
                let Scale { low, high, is_log } = scale;
                json!({ "low": low, "high": high, "log": is_log, "bins": scale.bins() })
            };
            let scale = factor.scale.map(scale);
            json!({ "key": factor.name, "values": factor.levels, "scale": scale })
        };
        let (ranks, validation_ranks) = (self.ranking.ranks(), self.ranking.validation_ranks());
        let every = curves_wanted(records).1;
        let curve_of = |index: usize| match self.curves.get(index) {
            Some(Some(rows)) => curve(rows, every),
            _ => Value::Null,
        };
        json!({
            "watched": self.watched,
            "planned": self.planned,
            "ended": self.count_ended(),
            "chosen": self.ranking.chosen().map(|record| &record.run),
            "axes": self.effects.factors.iter().map(axis).collect::<Vec<_>>(),
            "runs": (0..shown)
                .map(|at| self.run(at, [ranks[at], validation_ranks[at]]))
                .collect::<Vec<_>>(),
            "curves": (0..shown).map(curve_of).collect::<Vec<_>>(),
            "thinned": thinned(records),
        })
    }

    /// A run, with its rank and that by validation accuracy, as a row of `ranking.csv` has it.
    fn run(&self, index: usize, [rank, validation_rank]: [Option<usize>; 2]) -> Value {
        let record = &self.ranking.records()[index];
        let outcome = &record.outcome;
        let levels = self.effects.factors.iter().zip(&self.effects.runs[index].levels);
        let level = |(factor, level): (&Factor, &Option<usize>)| {
            level.map_or(String::new(), |level| factor.levels[level].clone())
        };
        let scores = outcome.scores();
        let interval = scores.and_then(Scores::test_interval);
        let (validation, best_epoch) = match outcome {
            Outcome::Stopped(at) => (Some(at.validation), Some(at.best_epoch)),
            _ => (record.validation(), scores.map(|scores| scores.best_epoch)),
        };
        json!({
            "rank": rank,
            "name": record.run,
            "values": levels.map(level).collect::<Vec<_>>(),
            "status": outcome.status(),
            "reason": match outcome {
                Outcome::Failed { reason } => Some(reason.clone()),
                Outcome::Diverged { epoch } => Some(format!("in epoch {epoch}")),
                Outcome::Stopped(at) => Some(format!("after epoch {}", at.epoch)),
                Outcome::Done(_) => None,
            },
            "test_accuracy": scores.and_then(|scores| scores.test).map(|test| test.accuracy),
            "test_low": interval.map(|ends| ends.0),
            "test_high": interval.map(|ends| ends.1),
            "validation_accuracy": validation.map(|score| score.accuracy),
            "validation_rank": validation_rank,
            "best_epoch": best_epoch,
            "epochs": epochs_shown(record),
            "seconds": record.seconds,
        })
    }
}

/// Allows the page its own two scripts, its style and the pictures in it, and nothing else.
fn content_security_policy() -> String {
    let hash = |script: &str| BASE64_STANDARD.encode(Sha256::digest(script));
    format!(
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src \
         'unsafe-inline'; script-src 'sha256-{}' 'sha256-{}'",
        hash(SCRIPT),
        hash(LIBRARY)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::columns::Columns;
    use crate::results::ranking::By;
    use crate::train::hyperparams::Hyperparams;
    use crate::train::outcome::AtRung;
    use crate::train::predictor::Listed;
    use crate::train::provenance::Provenance;
    use crate::train::score::Score;

    const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror=\"alert(2)\">\u{2028}\u{1b}[31m\u{202e}";

    fn record(run: &str, learning_rate: f64, outcome: Outcome) -> Record {
        let values = Hyperparams { learning_rate, epochs: 400, ..Hyperparams::default() };
        let values = values.check().unwrap();
        let provenance = Provenance::default();
        Record { run: run.into(), values, outcome, seconds: 1.0, provenance }
    }

    fn done(accuracy: f64) -> Outcome {
        let score = Score { loss: 1.0, accuracy };
        Outcome::Done(Scores {
            best_epoch: 3,
            ended_epoch: None,
            train: score,
            validation: score,
            test: Some(score),
            test_images: 100,
        })
    }

    fn ensemble() -> Ensemble {
        let listed = Listed { model: HOSTILE.into(), sha256: HOSTILE.into(), weight: 3 };
        Ensemble {
            chosen_by: HOSTILE.into(),
            runs: 12,
            validation_accuracy: 0.92,
            test_accuracy: 0.905,
            test_images: 100,
            best_run: HOSTILE.into(),
            best_test_accuracy: 0.9,
            difference: (-0.005, 0.015),
            provenance: Provenance::default(),
            members: vec![listed],
        }
    }

    fn html_of(records: Vec<Record>, planned: usize) -> String {
        let values: Vec<Hyperparams> =
            records.iter().map(|record| (*record.values).clone()).collect();
        let columns = Columns::new(values.iter(), &[]);
        let ranking = Ranking::new(records, columns.clone(), By::Test);
        let effects = Effects::new(values.iter(), &columns, &[], &ranking);
        let row = CurveRow {
            epoch: 1,
            learning_rate: 0.1,
            train: Score { loss: f64::NAN, accuracy: 0.1 },
            validation: None,
        };
        let report = Report {
            title: format!("a <b> & {HOSTILE}"),
            planned,
            watched: true,
            ranking: &ranking,
            effects: &effects,
            curves: vec![Some(vec![row])],
            facts: vec![("data".into(), HOSTILE.into())],
            notes: vec![HOSTILE.into(), format!("`a` <b> `{HOSTILE}`")],
            refits: vec![HOSTILE.into()],
            pictures: vec![Picture {
                caption: HOSTILE.into(),
                alt: HOSTILE.into(),
                png: vec![1, 2, 3],
                wide: false,
            }],
            evaluation: None,
            ensembles: vec![ensemble()],
        };
        report.html()
    }

    fn data_of(html: &str) -> Value {
        let start = "<script type=\"application/json\" id=\"data\">";
        let data = html.split_once(start).unwrap().1.split_once("</script>").unwrap().0;
        assert!(!data.contains(['<', '>', '&', '\u{2028}']), "{data}");
        serde_json::from_str(data).unwrap()
    }

    #[test]
    fn no_string_of_a_run_is_read_as_markup() {
        let failed = Outcome::Failed { reason: HOSTILE.into() };
        let html = html_of(vec![record(HOSTILE, 0.1, done(0.9)), record("b", 0.2, failed)], 3);
        assert!(!html.contains("<script>alert") && !html.contains("<img src=x"));
        assert!(!html.contains("onerror=\""));
        assert!(html.contains("<code>a</code> &#60;b&#62; <code>"), "words in backticks are code");
        let data = data_of(&html);
        assert_eq!(data["runs"][0]["name"], *printable(HOSTILE));
        assert_eq!(data["runs"][1]["reason"], *printable(HOSTILE));
        for raw in ["\u{1b}", "\u{202e}", "\\u001b", "\\u202e"] {
            assert!(!html.replace(LIBRARY, "").contains(raw), "{raw:?}");
        }
    }

    #[test]
    fn the_page_allows_its_own_scripts_and_loads_nothing() {
        let html = html_of(vec![record("a", 0.1, done(0.9))], 1);
        let scripts: Vec<&str> = html
            .split("<script>")
            .skip(1)
            .map(|rest| rest.split_once("</script>").unwrap().0)
            .collect();
        assert_eq!(scripts.len(), 2);
        for script in scripts {
            let hash = BASE64_STANDARD.encode(Sha256::digest(script));
            assert!(html.contains(&format!("&#39;sha256-{hash}&#39;")), "{hash}");
        }
        let without = |part: &str| part.split_once("</script>").map(|(_, rest)| rest.to_string());
        let markup: String =
            html.split("<script").map(|part| without(part).unwrap_or(part.into())).collect();
        for attribute in [" src=\"", " href=\""] {
            for reference in markup.split(attribute).skip(1) {
                assert!(reference.starts_with("data:") || reference.starts_with('#'));
            }
        }
    }

    #[test]
    fn the_data_hold_runs_by_rank_with_what_is_missing_as_null() {
        let diverged = record("c", 0.4, Outcome::Diverged { epoch: 7 });
        let records = vec![record("a", 0.1, done(0.8)), record("b", 0.2, done(0.9)), diverged];
        let html = html_of(records, 5);
        assert!(html.contains("3 of 5 runs have finished."));
        let data = data_of(&html);
        assert_eq!(
            data["axes"],
            json!([{ "key": "learning_rate", "values": ["0.1", "0.2", "0.4"], "scale": null }])
        );
        let run = &data["runs"][0];
        assert_eq!((&run["name"], &run["values"]), (&json!("b"), &json!(["0.2"])));
        assert_eq!((&run["test_accuracy"], &run["validation_rank"]), (&json!(0.9), &json!(1)));
        assert_eq!((&run["rank"], &run["epochs"]), (&json!(1), &json!(400)));
        let run = &data["runs"][2];
        assert_eq!((&run["status"], &run["reason"]), (&json!("diverged"), &json!("in epoch 7")));
        assert!(run["test_accuracy"].is_null() && run["validation_rank"].is_null());
        assert_eq!(data["curves"][0]["train_loss"], json!([null]));
        assert!(data["curves"][1].is_null() && data["thinned"].is_null());
        assert!(html_of(Vec::new(), 5).contains("None of 5 runs has finished yet."));
    }

    #[test]
    fn a_page_has_the_ranks_and_the_scores_of_stopped_runs_that_ranking_csv_has() {
        let score = Score { loss: 1.0, accuracy: 0.842 };
        let at = AtRung { epoch: 2, best_epoch: 1, train: score, validation: score };
        let stopped = record("d", 0.4, Outcome::Stopped(at));
        let runs = [("a", 0.9), ("b", 0.8), ("c", 0.8)];
        let mut records: Vec<Record> =
            runs.iter().map(|&(name, accuracy)| record(name, 0.1, done(accuracy))).collect();
        records.extend([record("e", 0.2, done(0.7)), stopped]);
        let html = html_of(records, 5);
        let data = data_of(&html);
        let of = |name: &str| -> Vec<Value> {
            data["runs"].as_array().unwrap().iter().map(|run| run[name].clone()).collect()
        };
        let null = Value::Null;
        assert_eq!(of("rank"), [json!(1), json!(2), json!(2), json!(4), null]);
        let run = &data["runs"][4];
        assert_eq!((&run["validation_accuracy"], &run["best_epoch"]), (&json!(0.842), &json!(1)));
        assert_eq!((&run["epochs"], &run["test_accuracy"]), (&json!(2), &Value::Null));
        assert!(html.contains("<progress "), "watched, they may be trained further");
    }

    #[test]
    fn curves_of_many_runs_are_thinned_and_the_reader_is_told() {
        let records = |count: usize| vec![record("a", 0.1, done(0.9)); count];
        assert_eq!(curves_wanted(&records(500)), (500, 1));
        assert_eq!(curves_wanted(&records(501)), (501, 2));
        assert_eq!(thinned(&records(501)).unwrap(), "Each curve shows one epoch in 2.");
        let (count, every) = curves_wanted(&records(10_000));
        assert_eq!((count, every), (4000, 8));
        let told = thinned(&records(20_001)).unwrap();
        assert!(told.starts_with("The page holds the first 20000 of 20001 runs."), "{told}");
        let rows: Vec<CurveRow> = (1..=10)
            .map(|epoch| CurveRow {
                epoch,
                learning_rate: 0.1,
                train: Score { loss: 1.0, accuracy: 0.5 },
                validation: None,
            })
            .collect();
        assert_eq!(curve(&rows, 4)["epoch"], json!([1, 4, 8, 10]));
    }
}
