//! Runs that fail: what becomes of them, of the runs beside them and of the commands that read them.

mod support;

use std::path::PathBuf;

use rookie::{Dataset, Event, Grid, GridOptions, Interrupt, ResultsFolder, train_grid};
use support::{DATA, FLAGS, Work};

/// Makes the run that it names panic, in a build with debug assertions.
const PANIC_IN: &str = "ROOKIE_PANIC_IN";

#[test]
fn a_run_that_panics_fails_alone_with_its_reason_and_is_tried_again() {
    let work = Work::new();
    work.rookie("grid my.toml --out whole").exits(0);
    let broken = "grid my.toml --out broken --no-sharing";
    // As where there is no memory to begin with.
    work.rookie_with((PANIC_IN, "beginning of lr0.1_decay0.8"), broken)
        .exits(1)
        .says("1 run failed");
    assert_eq!(work.csv("broken/ranking.csv").column("status")[..5], ["done"; 5]);
    let begun = |path: &PathBuf| path.to_string_lossy().contains("begun");
    assert!(!work.contents_if_any("broken/.state").keys().any(begun), "it ended no process");
    let ended = work.rookie_with((PANIC_IN, "lr0.1_decay0.8"), broken).exits(1);
    ended.says("lr0.1_decay0.8 failed: panicked: on purpose").says("1 run failed");
    let record = work.toml("broken/runs/lr0.1_decay0.8/run.toml");
    assert_eq!(record["status"].as_str(), Some("failed"));
    assert_eq!(record["reason"].as_str(), Some("panicked: on purpose"));
    let ranking = work.csv("broken/ranking.csv");
    assert_eq!(ranking.column("status"), ["done", "done", "done", "done", "done", "failed"]);
    // Its record goes first, which other shards would take for an end.
    let grid = Grid::from_toml(&work.text("my.toml")).unwrap();
    let (data, interrupt) = (Dataset::read(&work.path(DATA)).unwrap(), Interrupt::default());
    let results = ResultsFolder::open(&work.path("broken"), &grid, &data, false).unwrap();
    interrupt.ask();
    let options = GridOptions::default();
    train_grid(&grid, data, &results, &options, &|_| {}, &interrupt).unwrap();
    drop(results);
    assert!(!work.path("broken/runs/lr0.1_decay0.8/run.toml").exists());
    work.rookie(broken).exits(0).says("5 of 6 runs finished before");
    assert_eq!(work.reproducible("broken"), work.reproducible("whole"));
}

#[test]
fn a_run_that_fails_keeps_its_checkpoint() {
    let work = Work::new();
    let grid = Grid::from_toml(&work.text("my.toml")).unwrap();
    let (data, interrupt) = (Dataset::read(&work.path(DATA)).unwrap(), Interrupt::default());
    let results = ResultsFolder::open(&work.path("results"), &grid, &data, false).unwrap();
    let mut options = GridOptions::default();
    options.share_stages = false;
    let stop = |event: &Event<'_>| {
        if let Event::EpochTrained { .. } = event {
            interrupt.ask();
        }
    };
    train_grid(&grid, data, &results, &options, &stop, &interrupt).unwrap();
    drop(results);
    let states = || work.contents_if_any("results/.state/stages");
    let (saved, grid) = (states(), "grid my.toml --out results --no-sharing");
    assert_eq!(saved.len(), 1);
    // Before it begins and in the next epoch.
    for place in ["beginning of lr0.2_decay0.5", "lr0.2_decay0.5"] {
        work.rookie_with((PANIC_IN, place), grid).exits(1).says("1 run failed");
        assert_eq!(states(), saved);
    }
    work.rookie(grid).exits(0).says("resuming 1 stage in progress, 1 epoch trained before");
    work.rookie("grid my.toml --out whole").exits(0);
    assert_eq!(work.reproducible("results/runs"), work.reproducible("whole/runs"));
}

#[test]
fn a_grid_with_a_failed_run_can_be_compared_ranked_drawn_and_reported() {
    let work = Work::new();
    let grid = "grid my.toml --lr-decay 0.5 --seed 1,2 --no-sharing --out some";
    work.rookie_with((PANIC_IN, "lr0.1_decay0.5_seed2"), grid).exits(1);
    assert_eq!(work.csv("some/runs/lr0.1_decay0.5_seed2/curve.csv").rows.len(), 0);
    let compared = work.rookie("compare some --format csv").exits(0);
    let compared = support::Csv::parse(&compared.stdout);
    let failed: Vec<_> =
        compared.column("learning_rate").into_iter().zip(compared.column("failed")).collect();
    assert_eq!(failed.iter().filter(|(_, failed)| *failed == "1").count(), 1, "{failed:?}");
    assert!(failed.contains(&("0.1", "1")), "{failed:?}");
    work.rookie("rank some").exits(0).prints("failed");
    work.rookie("plot grid some --format svg").exits(0);
    work.rookie("report some").exits(0);
}

#[test]
fn a_failed_run_is_trained_again_by_the_same_command() {
    let work = Work::trained();
    let name = "lr0.2_wd0.001_h16-12_decay0.5_batch32_ep6_eval4_val50";
    let train = format!("train {FLAGS} --out broken");
    let failed = work.rookie_with((PANIC_IN, name), &train).exits(1);
    failed.prints("failed: panicked: on purpose").says("the same command tries again");
    assert_eq!(work.toml("broken/run.toml")["status"].as_str(), Some("failed"));
    // Another run does not take its place unasked.
    work.rookie(&format!("{train} --seed 7")).exits(2).says("seed: 0 there, 7 here");
    let again = work.rookie(&train).exits(0);
    again.says("the run in broken failed (panicked: on purpose) and is trained again");
    assert_eq!(work.reproducible("broken"), work.reproducible("run"));
    work.rookie(&train).exits(0).says("broken holds this run already");
}
