//! `rookie report`: one page in which a whole grid can be understood.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cli::reading::ReportArgs;
use crate::commands::common::{Status, of_left_out, out_of, say_left_out};
use crate::commands::data::{Shown, load};
use crate::commands::predictions::{evaluation, has_answers};
use crate::data::dataset::Dataset;
use crate::engine::refit::{is_refit_of, refit_values};
use crate::error::{Error, Place, Result, counted};
use crate::figures::canvas::Format;
use crate::figures::models::{Weights, errors, weights};
use crate::figures::sheets::Sheet;
use crate::grid::names::{ENSEMBLE, REPORT_MARK};
use crate::grid::run_folder::{curve_of_run, folder_name, model_of, read_run, refit_folder};
use crate::grid::store::{self, make_folder, refuse_foreign_file, write_output};
use crate::network::gemm::openblas;
use crate::progress::say;
use crate::report::curves::curves_wanted;
use crate::report::page::{Picture, Report};
use crate::results::effects::Effects;
use crate::results::evaluation::Evaluation;
use crate::results::ranking::{By, Ranking};
use crate::results::read::{GridFolder, Results, model_of_run};
use crate::results::tables::{percent, sentence};
use crate::signals;
use crate::train::keys::KEYS;
use crate::train::model::Model;
use crate::train::outcome::Record;
use crate::train::predictor::{Ensemble, Predictor};

/// How often a watched folder is looked into.
const EVERY: Duration = Duration::from_secs(2);
/// How many values of a hyper-parameter are listed.
const MOST_VALUES: usize = 30;
/// For how long a watched folder may be none.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many mistakes of the best run are shown.
const MISTAKES: usize = 20;

/// Writes the report; with `--watch`, again and again until nothing is left to train.
///
/// # Errors
/// Where the folder is no results folder, or the file cannot be written.
pub fn run(args: &ReportArgs) -> Result<Status> {
    openblas()?;
    let hint = "name the page that shows them together";
    let path = out_of(&args.folders, args.out.as_deref(), ("report.html", hint))?;
    if !path.extension().is_some_and(|end| end == "html" || end == "htm") {
        let expected = "a name that ends in .html";
        let found = format!("`{}`", path.display());
        return Err(Error::unexpected(Place::flag("--out"), found, expected));
    }
    refuse_foreign_file(&path, &[REPORT_MARK], "--out")?;
    let mut results = Results::read(&args.folders)?;
    say_left_out(&results);
    // The classes' names and the confusion matrix need the images, the rest does not.
    let dataset = match load(&args.data, results.provenance()) {
        Err(error) if args.data.data.is_some() => return Err(error),
        loaded => loaded.map_err(|error| error.with_flags().to_string()),
    };
    if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
        make_folder(folder, "--out")?;
    }
    let write = |results: &Results, watched: bool| {
        let (page, of_page) = page(results, &args.folders, dataset.as_ref(), watched);
        // Also before an update: somebody may have put another file there.
        refuse_foreign_file(&path, &[REPORT_MARK], "--out")?;
        write_output(&path, page.as_bytes()).map(|()| of_page.max(of_left_out(results)))
    };
    if !args.watch {
        let of_page = write(&results, false)?;
        say(&format!("wrote {}", path.display()));
        return Ok(of_page);
    }
    signals::install()?;
    let mut of_page = write(&results, true)?;
    say(&format!("wrote {}; it is updated as runs finish", path.display()));
    let (mut pause, mut is_trained) = (EVERY, true);
    while !is_over(&results, is_trained) {
        wait(pause);
        if let Some(signal) = signals::caught() {
            // The page is to know that nobody writes it any more.
            write(&results, false)?;
            return Ok(Status::Interrupted(signal));
        }
        let begun = Instant::now();
        // Asked before the records are read: what a process leaves at its end is seen.
        is_trained = args.folders.iter().any(|folder| store::is_trained(folder));
        let now = match read_patiently(&args.folders) {
            Err(error) => {
                if path.parent().is_some_and(Path::exists) {
                    write(&results, false)?;
                }
                return Err(error);
            }
            Ok(now) => now,
        };
        // Reading many runs must not keep a core from training them.
        pause = EVERY.max(10 * begun.elapsed());
        if now != results {
            of_page = write(&now, true)?;
            results = now;
        }
    }
    let end = match results.stopped.len() {
        0 => "all runs have finished".to_string(),
        // The page would wait for them.
        stopped => {
            of_page = write(&results, false)?;
            let (ended, stopped) = (counted(results.ended.len(), "run"), counted(stopped, "other"));
            format!("{ended} ended, {stopped} stopped by halving, and nothing is being trained")
        }
    };
    say(&format!("{end}; {} is complete", path.display()));
    Ok(of_page)
}

/// Whether nothing is left to train: all runs have ended, or what has not stands at a rung of halving and
/// no process trains it further.
fn is_over(results: &Results, is_trained: bool) -> bool {
    let recorded = results.ended.len() + results.stopped.len();
    recorded >= results.planned.len() && (results.stopped.is_empty() || !is_trained)
}

/// Waits, but not for longer than a person would who has asked it to stop.
fn wait(pause: Duration) {
    let until = Instant::now() + pause;
    while Instant::now() < until && signals::caught().is_none() {
        sleep(Duration::from_millis(50));
    }
}

/// Reads a results folder again. A grid that is started over is not there for a moment.
fn read_patiently(folders: &[PathBuf]) -> Result<Results> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Results::read(folders) {
            Err(_) if Instant::now() < until && signals::caught().is_none() => wait(EVERY / 4),
            read => return read,
        }
    }
}

/// What comes from the best run's model and predictions.
#[derive(Default)]
struct OfBest {
    pictures: Vec<Picture>,
    evaluation: Option<Evaluation>,
    notes: Vec<String>,
    status: Status,
}

/// The page, and whether something was left out of it because it is damaged or does not belong.
fn page(
    results: &Results,
    folders: &[PathBuf],
    dataset: std::result::Result<&Dataset, &String>,
    watched: bool,
) -> (String, Status) {
    let ensembles = ensembles(folders, results);
    let refits = refits(folders, &results.ranking(By::Test));
    let (ranking, folders) = (results.ranking(By::Test), results.folders());
    let planned = results.planned.iter().map(|values| &**values);
    let effects = Effects::new(planned, &results.columns(), &results.ranges(), &ranking);
    let records = ranking.records();
    let (with_curve, _) = curves_wanted(records);
    let read = |record: &Record| curve_of_run(folders[&record.run[..]], record);
    let read: Vec<Result<_>> = records[..with_curve].iter().map(read).collect();
    let read_best = |best: &Record| of_best(folders[&best.run[..]], best, dataset);
    let mut of_best = ranking.chosen().map_or_else(OfBest::default, read_best);
    let unread: Vec<&Error> = read.iter().filter_map(|curve| curve.as_ref().err()).collect();
    if let Some(first) = unread.first() {
        let count = counted(unread.len(), "run");
        of_best.notes.push(format!("the curves of {count} are not shown: {first}"));
        of_best.status = Status::SomethingFailed;
    }
    for error in ensembles.iter().filter_map(|read| read.as_ref().err()) {
        of_best.notes.push(format!("the ensemble is not shown: {error}"));
        of_best.status = Status::SomethingFailed;
    }
    of_best.notes.iter().for_each(|note| say(note));
    let mut notes = ranking.notes_on_runs();
    let further = results.left_out.iter().chain(&results.notes).chain(&of_best.notes);
    notes.extend(further.map(|it| sentence(it)));
    let report = Report {
        title: title(results),
        refits,
        planned: results.planned.len(),
        watched,
        ranking: &ranking,
        effects: &effects,
        curves: read.into_iter().map(Result::ok).collect(),
        facts: facts(results, &ranking),
        notes,
        pictures: of_best.pictures,
        evaluation: of_best.evaluation,
        ensembles: ensembles.into_iter().filter_map(Result::ok).collect(),
    };
    (report.html(), of_best.status)
}

/// The ensembles in these folders. Their members are read, so that what is shown is still there.
fn ensembles(folders: &[PathBuf], results: &Results) -> Vec<Result<Ensemble>> {
    let of_runs = results.ended.first().map(|it| &it.record.provenance);
    let read = |file: PathBuf| {
        let ensemble = Predictor::open(&file)?.ensemble.expect("of a .toml");
        if of_runs.is_some_and(|runs| !ensemble.provenance.same_data(runs)) {
            return Err(Error::input(Place::file(file), "is of other data than the runs"));
        }
        let best = results.ended.iter().find(|it| it.label == ensemble.best_run);
        let scores = best.and_then(|it| it.record.scores());
        let recorded = scores.map(|scores| (scores.judged(), scores.test_images));
        let here = (ensemble.best_test_accuracy, ensemble.test_images);
        if let Some((accuracy, images)) = recorded.filter(|recorded| *recorded != here) {
            let found = format!("{} of {} for {}", here.0, here.1, ensemble.best_run);
            let expected = format!("{accuracy} of {images}, as its run.toml says");
            return Err(Error::unexpected(Place::file(file), found, expected)
                .hint("choose its members again with `rookie ensemble`"));
        }
        Ok(ensemble)
    };
    let files = folders.iter().map(|folder| folder.join(ENSEMBLE)).filter(|file| file.exists());
    files.map(read).collect()
}

/// What the runs on the rows of all folds in these folders are, a sentence each.
fn refits(folders: &[PathBuf], ranking: &Ranking) -> Vec<String> {
    let chosen = ranking.chosen_by_mean().and_then(|it| Some((refit_values(&it)?, it)));
    let sentence = |folder: PathBuf| {
        let record = read_run(&folder).ok().flatten()?;
        let test = record.scores()?.test;
        let test = test.map(|test| format!(", with {} on the test set", percent(test.accuracy)));
        let path = model_of(&folder);
        let is_of_chosen =
            chosen.as_ref().is_some_and(|(values, chosen)| is_refit_of(&record, chosen, values));
        Some(if is_of_chosen {
            format!(
                "The model to use is its refit on the rows of all folds{}: {}.",
                test.unwrap_or_default(),
                path.display()
            )
        } else {
            format!(
                "{} is of an earlier grid, and not what validation chooses now.",
                path.display()
            )
        })
    };
    folders.iter().map(|folder| refit_folder(folder)).filter_map(sentence).collect()
}

/// The names of the grids, each with its folder's where that is another one.
fn title(results: &Results) -> String {
    let title = |GridFolder { path, grid, .. }: &GridFolder| match folder_name(path) {
        name if name == grid.name => name,
        name => format!("{} in {name}", grid.name),
    };
    let titles: Vec<String> = results.grids.iter().map(title).collect();
    if titles.is_empty() { "runs".into() } else { titles.join(", ") }
}

/// Draws the best run's weights, confusion matrix and mistakes, and says what could not be drawn.
/// The confusion matrix comes from its predictions, or from its model where these are missing.
fn of_best(
    folder: &Path,
    best: &Record,
    dataset: std::result::Result<&Dataset, &String>,
) -> OfBest {
    let mut found = OfBest::default();
    let fitting = match dataset {
        Ok(dataset) if dataset.test.is_empty() => Err("the data have no test set".to_string()),
        Ok(dataset) if best.provenance.is_of(dataset) => Ok(dataset),
        Ok(dataset) => Err(format!(
            "{} holds other data than it was trained on; name the right ones with --data",
            dataset.source.display()
        )),
        Err(problem) => Err(problem.clone()),
    };
    let damaged = |is_there| if is_there { Status::SomethingFailed } else { Status::Done };
    let model = model_of_run(folder, best);
    match &model {
        // Of a table, neither weights nor mistakes are pictures of anything.
        Ok(model) if model.signature.schema.is_some() => {}
        Ok(model) => found.draw_weights(model, fitting.as_ref().ok().copied()),
        Err(error) => {
            found.status = damaged(model_of(folder).exists());
            found.notes.push(format!(
                "the best run's weights and the pictures of its mistakes are not shown: {error}"
            ));
        }
    }
    let evaluated = fitting.and_then(|dataset| {
        let mut warn = |text: &str, of| {
            found.notes.push(format!("the best run: {text}"));
            found.status = found.status.max(of);
        };
        let evaluation = evaluation(folder, best, model.as_ref().ok(), dataset, &mut warn);
        evaluation.map(|it| found.show(it, dataset)).map_err(|error| {
            found.status = found.status.max(damaged(has_answers(folder, best)));
            error.to_string()
        })
    });
    if let Err(problem) = evaluated {
        found.notes.push(format!("the confusion matrix of the best run is not shown: {problem}"));
    }
    found
}

impl OfBest {
    fn draw_weights(&mut self, model: &Model, dataset: Option<&Dataset>) {
        let shown = dataset.map_or_else(|| Shown::by_labels(model), Shown::by);
        match weights(model, &shown.names, shown.shape) {
            Ok(sheets) => self.pictures.extend(pictures(&sheets)),
            Err(error) => {
                self.notes.push(format!("the best run's weights are not shown: {error}"));
            }
        }
    }

    fn show(&mut self, evaluation: Evaluation, dataset: &Dataset) {
        let are_images = dataset.signature.schema.is_none();
        let mistakes = evaluation.mistakes.as_ref().filter(|all| are_images && !all.is_empty());
        if let Some(mistakes) = mistakes {
            let sheet = errors(&dataset.test, mistakes, &evaluation.names, MISTAKES);
            self.pictures.push(Picture {
                caption: "Its most confident mistakes among the test images.".into(),
                alt: "Test images, each with its class and the predicted one".into(),
                png: sheet.draw(Format::Png),
                wide: false,
            });
        }
        self.evaluation = Some(evaluation);
    }
}

fn pictures(sheets: &Weights) -> [Picture; 4] {
    let picture = |sheet: &Sheet, wide, caption: &str, alt: &str| Picture {
        caption: caption.into(),
        alt: alt.into(),
        png: sheet.draw(Format::Png),
        wide,
    };
    [
        picture(
            &sheets.product,
            false,
            "The product of all layers' weights: light pixels raise a class's output, dark ones lower it.",
            "A small picture for each class",
        ),
        picture(
            &sheets.last,
            false,
            "The last layer's weights of each class, as rectangles.",
            "A small picture for each class",
        ),
        picture(
            &sheets.components,
            false,
            "The principal components of the first layer's weights.",
            "A small picture for each component, with its share of the variance",
        ),
        picture(
            &sheets.first,
            true,
            "The first layer's weights: what each of its units looks for.",
            "A small picture for each unit",
        ),
    ]
}

/// What was run, on what, and how long it took.
fn facts(results: &Results, ranking: &Ranking) -> Vec<(String, String)> {
    let planned = &results.planned;
    let runs = counted(planned.len(), "run");
    let names = results.grids.iter().map(|it| format!("{}, ", it.grid.name));
    let mut facts = vec![("grid".to_string(), names.collect::<String>() + &runs)];
    for key in &KEYS {
        let mut seen = HashSet::new();
        let values = planned.iter().map(|values| key.get(values).to_string());
        let mut values: Vec<String> = values.filter(|value| seen.insert(value.clone())).collect();
        if values.len() > MOST_VALUES {
            let count = values.len();
            values.truncate(MOST_VALUES);
            values.push(format!("… ({count} values)"));
        }
        let between = if key.is_layers() { "; " } else { ", " };
        facts.push((key.name.to_string(), values.join(between)));
    }
    let seconds = ranking.records().iter().fold(0.0, |sum, record| sum + record.seconds);
    let hours = format!("{:.2}, summed over runs; shared epochs count in each", seconds / 3600.0);
    facts.push(("hours".into(), hours));
    facts.extend(provenance(ranking));
    facts
}

/// What the runs ran on and with: each line once, with all that it says in different runs.
fn provenance(ranking: &Ranking) -> Vec<(String, String)> {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in ranking.records().iter().flat_map(|record| record.provenance.lines()) {
        match lines.iter_mut().find(|(other, _)| other == name) {
            Some((_, values)) if values.contains(value) => {}
            Some((_, values)) => values.push(value.clone()),
            None => lines.push((name.clone(), vec![value.clone()])),
        }
    }
    lines.into_iter().map(|(name, values)| (name, values.join("; "))).collect()
}
