//! `rookie plot`: the paper's figures from finished runs and models.

use std::path::Path;

use crate::cli::plotting::{
    Picture, PlotArgs, PlotCurvesArgs, PlotErrorsArgs, PlotGridArgs, PlotOutput, PlotWeightsArgs,
};
use crate::commands::common::{
    Status, left_out, parent_of, read_model, refuse_foreign_picture, say_left_out,
};
use crate::commands::data::{Shown, class_names, load, test_part};
use crate::commands::predictions::evaluation;
use crate::data::dataset::Dataset;
use crate::error::{Error, Place, Result, counted};
use crate::figures::canvas::Format;
use crate::figures::charts::{MOST_LEVELS, activations, confusion_matrix, heat_map, main_effects};
use crate::figures::curves::{MOST_RUNS, curves};
use crate::figures::intervals::{Interval, Rows, intervals};
use crate::figures::models::{errors, weights};
use crate::grid::run_folder::{curve_of, curve_of_run, folder_name, model_of, read_run};
use crate::grid::store::{is_grid, make_folder, write_output};
use crate::network::gemm::openblas;
use crate::progress::say;
use crate::results::effects::{Effects, Factor};
use crate::results::evaluation::Evaluation;
use crate::results::ranking::{By, Ranking};
use crate::results::read::{Results, model_of_run};
use crate::results::settings::Repeats;
use crate::train::curve::read_curve;
use crate::train::model::Model;
use crate::train::outcome::Record;
use crate::train::score::CurveRow;

/// How many runs stand in the figure of the best.
const TOP: usize = 10;

/// Draws figures.
///
/// # Errors
/// Where what is to be drawn cannot be read, or the pictures not be written.
pub fn run(args: &PlotArgs) -> Result<Status> {
    match &args.what {
        Picture::Curves(args) => plot_curves(args),
        Picture::Weights(args) => plot_weights(args),
        Picture::Grid(args) => plot_grid(args),
        Picture::Errors(args) => plot_errors(args),
        Picture::Activations(args) => {
            write(&args.output, Path::new("."), &[figure("activations", activations)])
        }
    }
}

/// A figure's file name, without what says its format, and what gives its bytes.
type Figure<'a> = (String, Box<dyn Fn(Format) -> Vec<u8> + 'a>);

fn figure<'a>(name: &str, draw: impl Fn(Format) -> Vec<u8> + 'a) -> Figure<'a> {
    (name.to_string(), Box::new(draw))
}

/// Writes each figure in each format asked for.
fn write(output: &PlotOutput, beside: &Path, figures: &[Figure<'_>]) -> Result<Status> {
    let folder = output.out.clone().unwrap_or_else(|| beside.join("figures"));
    make_folder(&folder, "--out")?;
    let formats: Vec<Format> = output.formats().collect();
    let path = |name: &str, format: Format| folder.join(format!("{name}.{}", format.extension()));
    for (name, _) in figures {
        for &format in &formats {
            refuse_foreign_picture(&path(name, format), format, "--out")?;
        }
    }
    for (name, draw) in figures {
        for &format in &formats {
            let path = path(name, format);
            write_output(&path, &draw(format))?;
            say(&format!("wrote {}", path.display()));
        }
    }
    Ok(Status::Done)
}

fn plot_curves(args: &PlotCurvesArgs) -> Result<Status> {
    if args.runs.len() > MOST_RUNS {
        let found = counted(args.runs.len(), "run");
        let expected = format!("at most {MOST_RUNS}, because more could not be distinguished");
        return Err(Error::unexpected(Place::flag("RUN_DIR"), found, expected)
            .hint("name fewer, or look at all in the page of `rookie report`"));
    }
    let mut runs: Vec<(String, Vec<CurveRow>)> = Vec::new();
    let mut without = Vec::new();
    for folder in &args.runs {
        let path = curve_of(folder);
        if !path.exists() {
            let found = match (folder.is_dir(), folder.exists()) {
                (true, _) => "a folder without curve.csv",
                (false, true) => "a file",
                (false, false) => "no such folder",
            };
            let expected = "the folder of a finished run, results/NAME/runs/RUN";
            return Err(Error::unexpected(Place::file(folder), found, expected));
        }
        let rows = match read_run(folder)? {
            Some(record) => curve_of_run(folder, &record)?,
            None => read_curve(&path)?,
        };
        if !rows.iter().any(|row| row.train.loss.is_finite()) {
            without.push(folder);
            continue;
        }
        let name = folder_name(folder);
        let is_taken = runs.iter().any(|(other, _)| *other == name);
        runs.push((if is_taken { folder.display().to_string() } else { name }, rows));
    }
    let problem = "no epoch ended with a finite loss, so there is no curve to draw";
    if runs.is_empty() {
        return Err(Error::input(Place::file(without[0]), problem));
    }
    for folder in without {
        say(&format!("{}: {problem}", folder.display()));
    }
    let above = parent_of(&args.runs[0]);
    let beside = match &args.runs[..] {
        [run] => run,
        // Not among the runs themselves, which a `*` should find alone.
        _ if is_grid(parent_of(above)) => parent_of(above),
        _ => above,
    };
    write(&args.output, beside, &[figure("curves", |format| curves(&runs, format))])
}

fn plot_weights(args: &PlotWeightsArgs) -> Result<Status> {
    openblas()?;
    let (model, record) = read_model(&args.model)?;
    if model.signature.schema.is_some() {
        let problem = "is a model of a table, whose weights are no pictures";
        return Err(Error::input(Place::file(&args.model), problem)
            .hint("`rookie export --to npz` writes them as arrays"));
    }
    let Shown { names, shape } = shown_for(args, &model, record.as_ref())?;
    let weights = weights(&model, &names, shape)?;
    let mut figures = vec![figure("w1", |format| weights.first.draw(format))];
    if !weights.components.tiles.is_empty() {
        figures.push(figure("w1_components", |format| weights.components.draw(format)));
    }
    figures.push(figure("w_last", |format| weights.last.draw(format)));
    figures.push(figure("w_product", |format| weights.product.draw(format)));
    write(&args.output, parent_of(&args.model), &figures)
}

fn plot_grid(args: &PlotGridArgs) -> Result<Status> {
    let results = Results::read(std::slice::from_ref(&args.folder))?;
    let status = say_left_out(&results);
    let (columns, ranking) = (results.columns(), results.ranking(By::Test));
    let planned = &results.planned;
    let planned_values = planned.iter().map(|values| &**values);
    let effects = Effects::new(planned_values, &columns, &results.ranges(), &ranking).in_bins();
    let best = &best_of(&ranking);
    if effects.accuracies(&[]).is_empty() {
        let has_ended = results.ended.len() == planned.len();
        let (problem, cure) = if !ranking.has_test() {
            ("the data have no test set", "`rookie report` shows the curves")
        } else if has_ended {
            ("every run diverged or failed", "`rookie rank` tells which")
        } else {
            ("no run has finished training yet", "draw it when one has")
        };
        return Err(Error::input(Place::file(&args.folder), problem).hint(cure));
    }
    let pairs = if let Some(text) = &args.heat_map {
        vec![pair_of(text, &effects.factors)?]
    } else {
        let (few, many): (Vec<usize>, Vec<usize>) = (0..effects.factors.len())
            .partition(|&factor| effects.factors[factor].levels.len() <= MOST_LEVELS);
        for factor in many {
            let Factor { name, levels, .. } = &effects.factors[factor];
            say(&format!("no heat map of {name}: it has {} values", levels.len()));
        }
        let behind = |&a: &usize| few.iter().filter(move |&&b| b > a).map(move |&b| (a, b));
        few.iter().flat_map(behind).collect()
    };
    let mut figures = Vec::new();
    if !effects.factors.is_empty() {
        figures.push(figure("main_effects", |format| main_effects(&effects, format)));
    }
    let rows = if ranking.has_folds() { Rows::Configurations } else { Rows::Runs };
    if best.is_empty() {
        say("no figure of the best: no configuration has a finished run of each fold");
    } else {
        figures.push(figure("top10", move |format| intervals(best, rows, format)));
    }
    let effects = &effects;
    for pair in pairs {
        let (a, b) = (&effects.factors[pair.0].name, &effects.factors[pair.1].name);
        let name = format!("heat_map_{a}_{b}");
        figures.push(figure(&name, move |format| heat_map(effects, pair, format)));
    }
    write(&args.output, &args.folder, &figures).map(|_| status)
}

/// The best runs of a ranking with their intervals; of folds, on which single runs cannot be compared, the best
/// configurations.
fn best_of(ranking: &Ranking) -> Vec<Interval> {
    if ranking.has_folds() {
        return best_configurations(ranking);
    }
    let chosen = ranking.chosen().map(|record| &record.run);
    let interval = |record: &Record| {
        let scores = record.scores()?;
        Some(Interval {
            name: record.run.clone(),
            accuracy: scores.test?.accuracy,
            ends: scores.test_interval()?,
            chosen: chosen == Some(&record.run),
        })
    };
    ranking.records().iter().filter_map(interval).take(TOP).collect()
}

/// The configurations that have a finished run of each fold, best mean test accuracy first.
fn best_configurations(ranking: &Ranking) -> Vec<Interval> {
    let chosen = ranking.chosen_by_mean();
    let interval = |of: &Repeats<'_>| {
        let (mean, std) = of.test();
        let std = std.unwrap_or(0.0);
        Interval {
            name: ranking.describe_configuration(of),
            accuracy: mean,
            ends: (mean - std, mean + std),
            chosen: chosen.as_ref() == Some(of),
        }
    };
    let whole = ranking.ranked_configurations(By::Test).into_iter();
    let whole = whole.filter(|of| of.mean(By::Test).is_some());
    whole.take(TOP).map(|of| interval(&of)).collect()
}

/// The two factors that `--heat-map` names, by their place.
fn pair_of(text: &str, factors: &[Factor]) -> Result<(usize, usize)> {
    let place = |name: &str| factors.iter().position(|factor| factor.name == name.trim());
    let pair = text.split_once(',').and_then(|(a, b)| Some((place(a)?, place(b)?)));
    if let Some((a, b)) = pair {
        for Factor { name, levels, .. } in [&factors[a], &factors[b]] {
            if levels.len() > MOST_LEVELS {
                let found = format!("{name} with {} values", levels.len());
                let expected = format!("at most {MOST_LEVELS} values");
                return Err(Error::unexpected(Place::flag("--heat-map"), found, expected));
            }
        }
    }
    pair.filter(|(a, b)| a != b).ok_or_else(|| {
        let names: Vec<&str> = factors.iter().map(|factor| &factor.name[..]).collect();
        let expected = match &names[..] {
            [] | [_] => "a grid in which two hyper-parameters vary".to_string(),
            names => format!("two of {}, separated by a comma", names.join(", ")),
        };
        Error::unexpected(Place::flag("--heat-map"), format!("`{text}`"), expected)
    })
}

fn plot_errors(args: &PlotErrorsArgs) -> Result<Status> {
    openblas()?;
    let is_folder = args.run.is_dir();
    let folder = if is_folder { args.run.clone() } else { parent_of(&args.run).into() };
    let model = if is_folder { model_of(&folder) } else { args.run.clone() };
    let record = if is_folder { read_run(&folder)? } else { None };
    let dataset = load(&args.data, record.as_ref().map(|it| &it.provenance))?;
    let (mut status, mut of_predictions) = (Status::Done, Status::Done);
    let evaluation = if let Some(record) = record {
        let model = model.exists().then(|| model_of_run(&folder, &record));
        let left_out = |error: Error| status = left_out(&error, "its predictions alone are used");
        let model = model.and_then(|read| read.map_err(left_out).ok());
        let mut warn = |text: &str, of| {
            say(text);
            of_predictions = of_predictions.max(of);
        };
        evaluation(&folder, &record, model.as_ref(), &dataset, &mut warn)?
    } else {
        if !model.exists() && is_folder {
            let found = "a folder without run.toml or model.safetensors";
            let expected = "the folder of a run, or a model file";
            return Err(Error::unexpected(Place::file(folder), found, expected));
        }
        evaluation_of_model(&model, &dataset)?
    };
    let (names, confusion) = (&evaluation.names, evaluation.confusion.view());
    let mut figures =
        vec![figure("confusion", |format| confusion_matrix(confusion, names, format))];
    match &evaluation.mistakes {
        _ if dataset.signature.schema.is_some() => {
            say("the sheet of errors is left out, because rows of a table are no pictures");
        }
        None => {
            say("the sheet of errors is left out, because it needs the run's model.safetensors");
        }
        Some(mistakes) if mistakes.is_empty() => {
            say("the model classifies every test image correctly; there is no sheet of errors");
        }
        Some(mistakes) => {
            let sheet = errors(&dataset.test, mistakes, names, usize::from(args.top));
            figures.push(figure("errors", move |format| sheet.draw(format)));
        }
    }
    write(&args.output, &folder, &figures).map(|_| status.max(of_predictions))
}

fn evaluation_of_model(path: &Path, dataset: &Dataset) -> Result<Evaluation> {
    let (model, record) = read_model(path)?;
    model.fits_data(path, dataset)?;
    if record.is_some_and(|record| !record.provenance.is_of(dataset)) {
        let folder = dataset.source.display();
        say(&format!("{folder} holds other data than the model was trained on"));
    }
    Ok(Evaluation::measure(&model, &test_part(dataset, &model)?, class_names(dataset)))
}

/// What the classes and the inputs of a model show.
fn shown_for(args: &PlotWeightsArgs, model: &Model, record: Option<&Record>) -> Result<Shown> {
    let asked_for = args.data.data.as_ref();
    match load(&args.data, record.map(|it| &it.provenance)) {
        Ok(dataset) if asked_for.is_some() => {
            model.fits_data(&args.model, &dataset)?;
            Ok(Shown::by(&dataset))
        }
        Err(error) if asked_for.is_some() => Err(error),
        Ok(dataset) if Shown::fits(&dataset, model, record.map(|it| &it.provenance)) => {
            Ok(Shown::by(&dataset))
        }
        _ => Ok(Shown::by_labels(model)),
    }
}
