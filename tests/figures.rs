//! Every figure, drawn from numbers made for the purpose, looks as it did when a person last looked
//! at it: the pictures in `tests/golden`. After a change that is meant, `ROOKIE_GOLDEN=write cargo
//! test --test figures` draws them anew; look at each before it is committed.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use ndarray::{Array2, array};
use rookie::data::features::Features;
use rookie::data::labelled::Labelled;
use rookie::data::preprocess::{Preprocessing, Standardisation, ZScore};
use rookie::data::signature::Signature;
use rookie::figures::audit::regret;
use rookie::figures::canvas::Format;
use rookie::figures::charts::{activations, confusion_matrix, heat_map, main_effects};
use rookie::figures::curves::curves;
use rookie::figures::intervals::{Interval, Rows, configurations, intervals};
use rookie::figures::models::{errors, weights};
use rookie::network::params::{Layer, Params};
use rookie::results::audit_text::Point;
use rookie::results::audited::Rule;
use rookie::results::columns::Columns;
use rookie::results::comparison::Comparison;
use rookie::results::configuration::Member;
use rookie::results::effects::{Effects, Factor, Placed};
use rookie::results::evaluation::Mistake;
use rookie::results::reference::Reference;
use rookie::train::halving::Halving;
use rookie::train::hyperparams::Hyperparams;
use rookie::train::model::Model;
use rookie::train::outcome::{Outcome, Record, Scores};
use rookie::train::provenance::Provenance;
use rookie::train::score::{CurveRow, Score};

/// Width, height and RGB.
fn pixels(png: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let about = reader.next_frame(&mut pixels).unwrap();
    (about.width, about.height, pixels)
}

/// Holds a figure against the picture of that name. A few pixels may differ, by rounding in another
/// OpenBLAS: one in a thousand by more than 8 of 255.
fn looks_as_before(name: &str, draw: impl Fn(Format) -> Vec<u8>) {
    let (png, svg) = (draw(Format::Png), draw(Format::Svg));
    assert_eq!(png, draw(Format::Png), "{name} is drawn differently every time");
    assert_eq!(svg, draw(Format::Svg), "{name} is drawn differently every time");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.png"));
    if std::env::var_os("ROOKIE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &png).unwrap();
    }
    let (width, height, before) = pixels(&fs::read(&path).unwrap());
    let (new_width, new_height, now) = pixels(&png);
    assert_eq!((new_width, new_height), (width, height), "the size of {name} in pixels");
    let differ = before.iter().zip(&now).filter(|(a, b)| a.abs_diff(**b) > 8).count();
    let drawn = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
    fs::write(&drawn, &png).unwrap();
    assert!(
        differ * 1000 <= before.len(),
        "{name}: {differ} of {} values differ; see {}",
        before.len(),
        drawn.display()
    );
    // What is written in it is held exactly.
    let written = path.with_extension("txt");
    let texts = texts(&String::from_utf8(svg).unwrap());
    if std::env::var_os("ROOKIE_GOLDEN").is_some() {
        fs::write(&written, &texts).unwrap();
    }
    assert_eq!(texts, fs::read_to_string(&written).unwrap(), "what is written in {name}");
}

/// The texts of an SVG, one a line.
fn texts(svg: &str) -> String {
    let texts = svg.split("<text").skip(1).map(|rest| {
        let rest = rest.split_once('>').unwrap().1;
        rest.split_once("</text>").unwrap().0.trim().to_string() + "\n"
    });
    texts.collect()
}

fn curve(epochs: usize, slowness: f64) -> Vec<CurveRow> {
    let score = |x: f64| Score { loss: slowness / x, accuracy: 1.0 - 0.4 * slowness / x };
    let row = |epoch: usize| CurveRow {
        epoch,
        learning_rate: if epoch <= epochs / 2 { 0.2 } else { 0.1 },
        train: score(epoch as f64 + 1.0),
        validation: epoch.is_multiple_of(5).then(|| score(epoch as f64 * 0.7 + 1.0)),
    };
    (1..=epochs).map(row).collect()
}

#[test]
fn curves_look_as_before() {
    let one = [("lr0.2".to_string(), curve(40, 1.0))];
    looks_as_before("curves_of_one", |format| curves(&one, format));
    let shorter = ("lr0.1".to_string(), curve(25, 1.6));
    let three = [one[0].clone(), shorter, ("<lr & co>".to_string(), curve(40, 0.8))];
    looks_as_before("curves_of_three", |format| curves(&three, format));
    // Seven runs, all that are told apart: one is of a single epoch, one about to diverge.
    let mut seven: Vec<_> = (0..7).map(|n| (format!("run {n}"), curve(3 + n, 1.0))).collect();
    seven[2].1.truncate(1);
    seven[4].1[6].train.loss = 1e34;
    looks_as_before("curves_of_seven", |format| curves(&seven, format));
}

/// Two factors, three runs a pair of levels, one of them far off and one diverged.
fn effects() -> Effects {
    let factor = |name: &str, levels: &[&str]| Factor {
        name: name.into(),
        levels: levels.iter().map(ToString::to_string).collect(),
        scale: None,
    };
    let mut runs = Vec::new();
    for index in 0..24 {
        let (rate, decay) = (index % 4, index / 4 % 2);
        let accuracy = 0.85 + 0.01 * rate as f64 - 0.004 * (decay * rate) as f64;
        let accuracy = accuracy + 0.001 * (index * 7 % 5) as f64;
        let test_accuracy = match index {
            3 => Some(0.1),
            9 => None,
            _ => Some(accuracy),
        };
        let levels = vec![Some(rate), Some(decay)];
        runs.push(Placed { levels, shares: vec![None; 2], test_accuracy });
    }
    let rates = factor("learning_rate", &["0.05", "0.1", "0.2", "0.4"]);
    Effects { factors: vec![rates, factor("lr_decay", &["0.5", "0.8"])], runs }
}

#[test]
fn figures_of_a_grid_look_as_before() {
    let effects = effects();
    looks_as_before("main_effects", |format| main_effects(&effects, format));
    looks_as_before("heat_map", |format| heat_map(&effects, (0, 1), format));
    let best: Vec<Interval> = (0..10)
        .map(|place| {
            let accuracy = 0.898 - 0.001 * f64::from(place);
            let ends = (accuracy - 0.006, accuracy + 0.0058);
            Interval { name: format!("lr0.{place}_h500-324"), accuracy, ends, chosen: place == 3 }
        })
        .collect();
    looks_as_before("top10", |format| intervals(&best, Rows::Runs, format));
}

#[test]
fn settings_show_every_run_and_what_was_published() {
    let member = |learning_rate: f64, seed: u64, accuracy: f64| {
        let score = |accuracy| Score { loss: 1.0, accuracy };
        let outcome = Outcome::Done(Scores {
            best_epoch: 1,
            ended_epoch: None,
            train: score(0.9),
            validation: score(0.9),
            test: Some(score(accuracy)),
            test_images: 10_000,
        });
        let values = Hyperparams { learning_rate, seed, ..Hyperparams::default() }.check().unwrap();
        let (run, provenance) = (format!("lr{learning_rate}_seed{seed}"), Provenance::default());
        let record = Record { run, values, outcome, seconds: 1.0, provenance };
        Member { record, hits: None, last_validation: None, validation_rows: None }
    };
    let members = vec![
        member(0.1, 0, 0.891),
        member(0.1, 1, 0.897),
        member(0.2, 0, 0.899),
        member(0.2, 1, 0.896),
        member(0.4, 0, 0.885),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("published.csv");
    std::fs::write(&path, "learning_rate,test_accuracy\n0.2,0.8984\n0.4,0.9\n").unwrap();
    let values: Vec<_> = members.iter().map(|it| it.record.values.clone()).collect();
    let columns = Columns::new(values.iter().map(|values| &**values), &[]);
    let reference = Some(Reference::read(&path).unwrap());
    let comparison = Comparison::new(members, &columns, None, reference);
    looks_as_before("settings", |format| configurations(&comparison, format));
}

#[test]
fn a_grid_of_one_run_and_one_of_none_can_be_drawn() {
    let none = Effects { runs: Vec::new(), ..effects() };
    for format in [Format::Png, Format::Svg] {
        main_effects(&none, format);
        heat_map(&none, (0, 1), format);
        intervals(&[], Rows::Runs, format);
        let one = Effects { runs: vec![effects().runs[0].clone()], ..effects() };
        main_effects(&one, format);
        heat_map(&one, (1, 0), format);
        main_effects(&Effects { factors: Vec::new(), runs: Vec::new() }, format);
    }
}

/// A model whose weights are waves: of six by six pixels, seven and four units, three classes.
fn model() -> Model {
    let sizes = [36, 7, 4, 3];
    let layers = sizes.windows(2).enumerate().map(|(depth, pair)| {
        let wave = |(from, to): (usize, usize)| {
            let angle = (from + 1) as f32 * (to + depth + 1) as f32 * 0.37;
            // Each unit on a scale of its own, so that no two components are alike.
            angle.sin() / (depth + 1) as f32 * 0.6_f32.powi(to as i32)
        };
        let weights = Array2::from_shape_fn((pair[0], pair[1]), wave);
        Layer { weights, biases: ndarray::Array1::zeros(pair[1]) }
    });
    let values = Hyperparams { hidden: vec![7, 4], ..Hyperparams::default() };
    Model {
        params: Params { layers: layers.collect() },
        values: values.check().unwrap(),
        signature: Signature::numbered(4),
        preprocessing: Preprocessing {
            standardisation: Standardisation::Batch,
            z: ZScore { mean: 0.3, std: 0.3, white: 255.0 },
            moments: None,
            imputed: Vec::new(),
        },
        best_epoch: 1,
        trained_on: None,
        validation_accuracy: 0.5,
    }
}

fn names() -> Vec<String> {
    ["T-shirt/top", "Bag & belt", "Boot"].map(String::from).to_vec()
}

#[test]
fn weights_look_as_before() {
    let weights = weights(&model(), &names(), None).unwrap();
    looks_as_before("w1", |format| weights.first.draw(format));
    looks_as_before("w1_components", |format| weights.components.draw(format));
    looks_as_before("w_last", |format| weights.last.draw(format));
    looks_as_before("w_product", |format| weights.product.draw(format));
}

#[test]
fn errors_look_as_before() {
    let confusion = array![[90, 8, 2], [0, 64, 1], [3, 0, 7]];
    looks_as_before("confusion", |format| confusion_matrix(confusion.view(), &names(), format));
    let pixels = (0..6 * 8 * 10).map(|at| (at * 5 % 256) as u8).collect();
    let images = Labelled {
        height: 8,
        width: 6,
        features: Features::bytes(pixels, 48),
        labels: vec![0; 10],
    };
    let mistake =
        |index, probability| Mistake { index, class: index % 3, taken_for: 2, probability };
    let mistakes = [mistake(7, 0.999_999), mistake(4, 0.75), mistake(9, 0.5)];
    looks_as_before("errors", |format| errors(&images, &mistakes, &names(), 2).draw(format));
}

#[test]
fn the_functions_of_the_network_look_as_before() {
    looks_as_before("activations", activations);
}

#[test]
fn regret_of_rules_looks_as_before() {
    let point = |rule, share, validation, test| Point { rule, share, validation, test };
    let halving = |rungs: &[usize]| Rule::Halving(Halving::new(rungs.to_vec(), 0.33).unwrap());
    let asha = Rule::Asha { rungs: vec![20, 60], reduction: 3, workers: 4 };
    let points = [
        point(halving(&[20, 60]), 0.15, 0.0016, Some(0.0014)),
        point(halving(&[20]), 0.35, 0.0, Some(0.0)),
        point(asha, 0.22, 0.002, Some(-0.001)),
        point(Rule::Median { from: 20, workers: 4 }, 0.43, 0.0008, Some(0.001)),
        point(Rule::Patience(5), 0.09, 0.0072, None),
    ];
    looks_as_before("regret", |format| regret(&points, format));
}
