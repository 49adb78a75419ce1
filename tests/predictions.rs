//! The class that each run's model gives to each test image: kept beside the run, checked when it
//! is read, and as good as the model for comparing runs.

mod support;

use std::fs;
use std::io::Read;

use flate2::read::GzDecoder;
use rookie::train::model::Model;
use support::{
    Csv, DATA, DataSet, FLAGS, PREDICTIONS, SMALL, TEST_IMAGES, TEST_LABELS, Work, gzip,
};

/// The text of a run's predictions.
#[track_caller]
fn unpacked(work: &Work, run: &str) -> String {
    let mut text = String::new();
    let bytes = work.bytes(format!("{run}/{PREDICTIONS}"));
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_run_keeps_what_its_model_says_of_each_test_image_in_file_order() {
    let work = Work::trained();
    let kept = Csv::parse(&unpacked(&work, "run"));
    assert_eq!(kept.header, ["label"]);
    let predict = format!("predict run/model.safetensors {DATA}/{TEST_IMAGES}");
    let predicted = work.rookie(&predict).exits(0).stdout;
    assert_eq!(kept.column("label"), Csv::parse(&predicted).column("label"));

    let labels = work.bytes(format!("{DATA}/{TEST_LABELS}"));
    let labels = labels[8..].iter().map(ToString::to_string);
    let correct = labels.zip(kept.column("label")).filter(|(label, kept)| label == kept).count();
    let accuracy = work.toml("run/run.toml")["test_accuracy"].as_float().unwrap();
    assert_eq!(correct as f64 / SMALL.test as f64, accuracy);
}

#[test]
fn a_run_without_a_model_has_no_predictions() {
    let work = Work::new();
    work.rookie(&format!("train {FLAGS} --learning-rate 1e30 --weight-decay 0 --out run")).exits(1);
    assert!(work.path("run/curve.csv").exists() && !work.path("run").join(PREDICTIONS).exists());
}

#[test]
fn a_run_of_an_older_version_without_predictions_has_ended_all_the_same() {
    let work = Work::ranked();
    let train = format!("train {FLAGS} --out run");
    work.rookie(&train).exits(0);
    for folder in ["run", "results/my/runs/lr0.1_decay0.5"] {
        fs::remove_file(work.path(folder).join(PREDICTIONS)).unwrap();
    }
    let before = [work.stamps("run"), work.stamps("results/my/runs")];
    work.rookie(&train).exits(0).says("run holds this run already");
    work.rookie("grid my.toml").exits(0).says("6 of 6 runs finished before");
    assert_eq!([work.stamps("run"), work.stamps("results/my/runs")], before);
}

#[test]
fn predictions_are_removed_with_their_run_and_half_written_ones_swept() {
    let work = Work::trained();
    let torn = work.path(format!("run/.{PREDICTIONS}.C07B21"));
    fs::write(&torn, "").unwrap();
    let train = format!("train {FLAGS} --out run");
    let record = work.text("run/run.toml").replace("learning_rate = 0.2", "learning_rate = 1e30");
    work.write("run/run.toml", record.replace("weight_decay = 0.001", "weight_decay = 0.0"));
    work.rookie(&format!("{train} --fresh --learning-rate 1e30 --weight-decay 0")).exits(1);
    assert!(!torn.exists() && !work.path("run").join(PREDICTIONS).exists());

    // Alone in a folder, they are not known to be this run's.
    work.write(format!("stray/{PREDICTIONS}"), "");
    let stray = work.rookie(&format!("train {FLAGS} --out stray")).exits(2);
    stray.says("stray: holds files of a run without a run.toml").says("--fresh");
    work.rookie("grid my.toml").exits(0);
    work.rookie("grid my.toml --fresh --yes --learning-rate 0.3 --lr-decay 0.5").exits(0);
    let runs = fs::read_dir(work.path("results/my/runs")).unwrap().count();
    assert_eq!(runs, 1, "nothing is left of the six runs before");
}

/// Removes a file of every run of a grid.
fn remove_from_runs(work: &Work, results: &str, name: &str) {
    for run in fs::read_dir(work.path(results).join("runs")).unwrap() {
        fs::remove_file(run.unwrap().path().join(name)).unwrap();
    }
}

#[test]
fn runs_are_compared_by_predictions_as_by_models() {
    let work = Work::ranked();
    let compare = || {
        let ended = work.rookie("compare results/my --format csv").exits(0).says_nothing();
        assert!(
            Csv::parse(&ended.stdout).column("difference")[1..].iter().all(|it| !it.is_empty())
        );
        ended.stdout
    };
    let by_both = compare();
    let predictions = work.contents("results/my");
    remove_from_runs(&work, "results/my", PREDICTIONS);
    assert_eq!(compare(), by_both, "with models alone");
    remove_from_runs(&work, "results/my", "model.safetensors");
    for (path, bytes) in predictions.iter().filter(|(path, _)| path.ends_with(PREDICTIONS)) {
        work.write(work.path("results/my").join(path), bytes);
    }
    assert_eq!(compare(), by_both, "with predictions alone");
    // They are taken first, so that a model that was changed is not asked.
    for run in fs::read_dir(work.path("results/my/runs")).unwrap() {
        fs::write(run.unwrap().path().join("model.safetensors"), "no model").unwrap();
    }
    assert_eq!(compare(), by_both, "with predictions and broken models");
}

#[test]
fn predictions_that_cannot_be_right_are_told_and_not_used() {
    let work = Work::trained();
    work.rookie(&format!("train {FLAGS} --learning-rate 0.02 --out other")).exits(0);
    let compare = "compare run other --format csv";
    let expected = work.rookie(compare).exits(0).stdout;
    let whole = work.bytes(format!("run/{PREDICTIONS}"));
    let text = unpacked(&work, "run");
    let rows = |change: &dyn Fn(&mut Vec<&str>)| {
        let mut rows: Vec<&str> = text.lines().collect();
        change(&mut rows);
        gzip((rows.join("\n") + "\n").as_bytes())
    };
    let correct = format!("expected {}, as its run.toml says", correct(&work, "run"));
    let flipped = |rows: &mut Vec<&str>| rows[1..].fill("0");
    for (bytes, problem) in [
        (whole[..whole.len() / 2].to_vec(), "corrupt gzip: "),
        (text.clone().into_bytes(), "corrupt gzip: "),
        (vec![0; 100_000], "found more than 1334 bytes, expected the predictions for 60 images"),
        (gzip(&vec![b'1'; 100_000]), "found more than 310 bytes in the gzip, expected the"),
        (rows(&|rows| rows.truncate(60)), "found 59 predictions, expected 60, one for each test"),
        (rows(&|rows| rows[7] = "3"), "found no class on line 8, expected one from 0 to 2"),
        (rows(&flipped), &correct),
    ] {
        work.write(format!("run/{PREDICTIONS}"), bytes);
        let ended = work.rookie(compare).exits(1).says(problem);
        let ended = ended.says(&format!("run/{PREDICTIONS}: "));
        let ended = ended.says("; the model is used instead");
        assert_eq!(ended.stdout, expected, "{problem}");
        let lines = ended.stderr.lines().count();
        ended.check(lines == 1, "it is told in one sentence");
    }
    fs::remove_file(work.path("run/model.safetensors")).unwrap();
    let ended = work.rookie(compare).exits(1).says(&format!("left out: run/{PREDICTIONS}: "));
    let ended = ended.says("remove it and run the same `rookie grid` or `rookie train` again");
    let ended = ended.says("1 run without test_predictions.csv.gz or model.safetensors");
    assert_eq!(ended.stdout, expected, "the accuracies remain");
    let ended = work.rookie("plot errors run").exits(2);
    ended.says(&format!("run/{PREDICTIONS}: ")).says(&correct).says("remove it and run the same");
    fs::remove_file(work.path(format!("run/{PREDICTIONS}"))).unwrap();
    work.rookie(&format!("train {FLAGS} --out run")).exits(0);
    assert_eq!(work.bytes(format!("run/{PREDICTIONS}")), whole);
}

/// How many test images a run's record says were classified correctly.
fn correct(work: &Work, run: &str) -> usize {
    let record = work.toml(format!("{run}/run.toml"));
    (record["test_accuracy"].as_float().unwrap() * SMALL.test as f64).round() as usize
}

#[test]
fn predictions_for_other_images_are_refused() {
    let work = Work::trained();
    work.write_data("other", DataSet { train: SMALL.train + 1, ..SMALL });
    for with_model in [true, false] {
        if !with_model {
            fs::remove_file(work.path("run/model.safetensors")).unwrap();
        }
        for command in ["compare run", "plot errors run"] {
            let ended = work.rookie(&format!("{command} --data other")).exits(2);
            ended.says("run: was trained on other data than these; name its data with --data");
        }
    }
    // With nothing to ask, there is nothing to refuse.
    fs::remove_file(work.path("run").join(PREDICTIONS)).unwrap();
    work.rookie("compare run --data other").exits(0).says("1 run without test_predictions.csv.gz");
}

#[test]
fn errors_are_drawn_of_a_run_s_folder_with_and_without_its_model() {
    let work = Work::new();
    // So slowly that it still errs.
    work.rookie(&format!("train {FLAGS} --learning-rate 0.001 --out run")).exits(0);
    work.rookie("plot errors run/model.safetensors --out by-file").exits(0);
    work.rookie("plot errors run").exits(0).says("wrote run/figures/errors.svg");
    assert_eq!(work.contents("run/figures"), work.contents("by-file"));
    // The confusion matrix is the predictions', even if the model was changed.
    let path = work.path("run/model.safetensors");
    let mut model = Model::read(&path).unwrap();
    model.params.layers.last_mut().unwrap().biases[0] = 1e6;
    fs::write(&path, model.to_bytes()).unwrap();
    work.rookie("plot errors run --out changed").exits(0).says("wrote changed/errors.svg");
    let confusion = "confusion.svg";
    assert_eq!(
        work.bytes(format!("changed/{confusion}")),
        work.bytes(format!("by-file/{confusion}"))
    );
    fs::write(&path, "no model").unwrap();
    let ended = work.rookie("plot errors run --out broken").exits(1);
    ended.says("left out: run/model.safetensors: ").says("the sheet of errors is left out");
    fs::remove_file(path).unwrap();
    let ended = work.rookie("plot errors run --out without").exits(0);
    ended.says("the sheet of errors is left out, because it needs the run's model.safetensors");
    let mut confusion = work.contents("by-file");
    confusion.retain(|path, _| path.file_stem().unwrap() == "confusion");
    assert_eq!(confusion.len(), 2);
    assert_eq!(work.contents("without"), confusion);

    let train = format!("train {FLAGS} --learning-rate 1e30 --weight-decay 0 --out diverged");
    work.rookie(&train).exits(1).says("the run diverged, so there is no model");
    let ended = work.rookie("plot errors diverged").exits(2);
    ended.says("diverged: found a run that diverged, expected one that trained to its end");
    let ended = work.rookie("plot errors data").exits(2);
    ended.says("data: found a folder without run.toml or model.safetensors, expected the folder");
}

#[test]
fn a_report_without_models_has_the_same_confusion_matrix() {
    let work = Work::ranked();
    let confusion = || {
        work.rookie("report results/my").exits(0);
        let page = work.text("results/my/report.html");
        assert!(page.contains("<a href=\"#closer\">"));
        let (_, section) = page.split_once("id=\"confusion-heading\"").expect("a confusion matrix");
        (
            section.split_once("</table>").unwrap().0.to_string(),
            page.matches("src=\"data:image/png").count(),
        )
    };
    let (with, pictures) = confusion();
    assert_eq!(pictures, 5);
    // It is the predictions', even if the models were changed.
    for run in fs::read_dir(work.path("results/my/runs")).unwrap() {
        let path = run.unwrap().path().join("model.safetensors");
        let mut model = Model::read(&path).unwrap();
        model.params.layers.last_mut().unwrap().biases[0] = 1e6;
        fs::write(&path, model.to_bytes()).unwrap();
    }
    assert_eq!(confusion(), (with.clone(), 5));
    remove_from_runs(&work, "results/my", "model.safetensors");
    assert_eq!(confusion(), (with, 0));
    let ended = work.rookie("report results/my").exits(0);
    ended.says("the best run's weights and the pictures of its mistakes are not shown: results/my");
}
