//! The class that each run's model gives to each test image: kept beside the run, checked when it
//! is read, and as good as the model for comparing runs.

mod support;

use std::fs;
use std::io::Read;

use flate2::read::GzDecoder;
use support::{Csv, DATA, FLAGS, PREDICTIONS, SMALL, TEST_IMAGES, TEST_LABELS, Work};

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
    work.rookie(&format!("train {FLAGS} --learning-rate 1e30 --out run")).exits(0);
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
    work.rookie("grid my.toml").exits(0).says("6 of 6 runs have ended before");
    assert_eq!([work.stamps("run"), work.stamps("results/my/runs")], before);
}

#[test]
fn predictions_are_removed_with_their_run_and_half_written_ones_swept() {
    let work = Work::trained();
    let torn = work.path(format!("run/.{PREDICTIONS}.Qx7b2k"));
    fs::write(&torn, "").unwrap();
    let train = format!("train {FLAGS} --out run");
    work.rookie(&format!("{train} --fresh --learning-rate 1e30")).exits(0);
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
