//! Data without a test set: runs are ranked by validation and say so, and nothing shows a test accuracy.

mod support;

use support::{Csv, Work};

const QUICK: &str = "--hidden 4 --epochs 4 --eval-every 2 --test-size 0 --out none";

/// Rows of two classes that one number nearly tells apart.
fn rows() -> String {
    let mut seed = 5;
    let mut row = |index: usize| {
        let class = index % 2;
        let number = 3 * class as u64 + support::below(&mut seed, 5);
        format!("{number},{}\n", ["left", "right"][class])
    };
    "number,label\n".to_string() + &(0..60).map(&mut row).collect::<String>()
}

#[test]
fn runs_are_ranked_by_validation_and_say_so() {
    let work = Work::new();
    work.write("rows.csv", rows());
    let command = format!("grid quick --data rows.csv --seed 1,2 {QUICK}");
    let trained = work.rookie(&command).exits(0);
    let trained = trained
        .says("60 training rows of 1 feature, no test set, in 2 classes from rows.csv")
        .prints("no test set: runs are ranked by validation accuracy");
    assert!(!trained.stdout.contains("Test"), "no column of the test set");
    let ranking = work.csv("none/ranking.csv");
    assert!(ranking.column("test_accuracy").iter().all(|cell| cell.is_empty()));
    assert!(ranking.column("test_accuracy_low").iter().all(|cell| cell.is_empty()));
    let accuracies = ranking.numbers("validation_accuracy");
    assert!(accuracies.is_sorted_by(|a, b| a >= b), "{accuracies:?}");
    assert_eq!(ranking.column("rank")[0], "1");
    assert_eq!(ranking.column("rank"), ranking.column("validation_rank"));
    // Nothing is trained again.
    let before = work.contents("none");
    work.rookie(&command).exits(0).says("12 of 12 runs finished before; 0 left");
    assert_eq!(before, work.contents("none"));
    let settings = work.csv("none/settings.csv");
    assert!(settings.column("test_accuracy_mean").iter().all(|cell| cell.is_empty()));
    let means = settings.numbers("validation_accuracy_mean");
    assert!(means.is_sorted_by(|a, b| a >= b), "{means:?}");
    work.rookie("report none --data rows.csv").exits(0).says("the data have no test set");
    let model = format!("none/runs/{}/model.safetensors", ranking.column("run")[0]);
    let evaluated = work.rookie(&format!("evaluate {model} --data rows.csv --split validation"));
    let found: f64 = accuracies[0] * 12.0;
    evaluated.exits(0).prints(&format!("{} of 12 rows", found.round()));
    let predicted = work.rookie(&format!("predict {model} rows.csv")).exits(0);
    assert_eq!(Csv::parse(&predicted.stdout).column("prediction").len(), 60);
}

#[test]
fn what_needs_a_test_set_is_refused_in_a_sentence() {
    let work = Work::new();
    work.write("rows.csv", rows());
    work.rookie(&format!("train --data rows.csv {QUICK}")).exits(0);
    let no_accuracy =
        "has no test accuracy, because the data have no test set; `rookie rank` ranks";
    for (command, sentence) in [
        ("evaluate none/model.safetensors --data rows.csv", "rows.csv: found no test set"),
        ("compare none --data rows.csv", no_accuracy),
        ("ensemble none --data rows.csv --out it.toml", no_accuracy),
        ("plot errors none --data rows.csv", no_accuracy),
    ] {
        work.rookie(command).exits(2).says(sentence);
    }
}
