//! A dry run counts what an earlier process has trained as the start of training does.

mod support;

use std::fs;

use support::{Ended, Work, wait_until};

/// What is said of earlier training, on standard error.
fn said_before(ended: &Ended) -> Vec<&str> {
    let is_said = |line: &&str| line.contains("finished before") || line.contains("resuming ");
    ended.stderr.lines().filter(is_said).collect()
}

#[test]
fn finished_runs_are_counted_and_not_estimated_again() {
    let work = Work::ranked();
    fs::remove_dir_all(work.path("results/my/runs/lr0.1_decay0.8")).unwrap();
    fs::remove_file(work.path("results/my/runs/lr0.2_decay0.5/curve.csv")).unwrap();
    let before = work.contents("results");
    let planned = work.rookie("grid my.toml --dry-run").exits(0);
    let planned = planned.says("4 of 6 runs finished before; 2 left\n");
    let listed: Vec<&str> = planned.stdout.lines().filter(|line| line.starts_with("lr")).collect();
    assert_eq!(listed, ["lr0.2_decay0.5  6 epochs", "lr0.1_decay0.8  6 epochs"]);
    planned.prints("\nruns                     2\n").prints("\nepochs trained          12\n");
    let fresh = work.rookie("grid my.toml --dry-run --fresh").exits(0);
    fresh.prints("\nruns                     6\n").says_nothing();
    // On other data nothing can be resumed, as the start of training says too.
    work.write_data("other", support::DataSet { train: 320, ..support::SMALL });
    let other = work.rookie("grid my.toml --dry-run --data other").exits(0);
    let refused = "without --dry-run, this would be refused: results/my/runs/";
    let other = other.says(refused).says("was trained on other data");
    other.prints("\nruns                     6\n");
    assert_eq!(work.contents("results"), before);
    let trained = work.rookie("grid my.toml").exits(0);
    assert_eq!(said_before(&trained), ["rookie: 4 of 6 runs finished before; 2 left"]);
    let planned = work.rookie("grid my.toml --dry-run").exits(0);
    let planned = planned.says("6 of 6 runs finished before; 0 left\n");
    assert_eq!(planned.stdout, "results           results/my\n");
    let planned = work.rookie("grid my.toml --dry-run --shard 1/2").exits(0);
    planned.prints("results           results/my\n");
}

#[test]
fn epochs_of_checkpoints_are_counted() {
    let work = Work::new();
    let grid = "grid my.toml --jobs 1 --checkpoint-every 5 --set epochs=1,20000";
    let mut begun = work.start(grid);
    wait_until("states are saved", || work.checkpoints("results/my/.state/stages").len() > 1);
    begun.signal("TERM");
    begun.end().exits(143);
    let before = work.contents("results");
    let planned = work.rookie(&format!("{grid} --dry-run")).exits(0);
    assert_eq!(work.contents("results"), before);
    let mut resumed = work.start(grid);
    resumed.wait_until_it_catches_signals();
    resumed.signal("TERM");
    let resumed = resumed.end();
    assert!(
        said_before(&planned).iter().any(|line| line.contains("resuming ")),
        "{}",
        planned.stderr
    );
    assert_eq!(said_before(&planned), said_before(&resumed));
}

#[test]
fn a_dry_run_that_is_interrupted_leaves_nothing_behind() {
    let work = Work::new();
    let has_trial = || {
        let entries = fs::read_dir(work.path("")).unwrap().flatten();
        entries.into_iter().any(|it| it.file_name().to_string_lossy().starts_with(".rookie"))
    };
    let mut running = work.start("grid my.toml --dry-run --jobs 1");
    wait_until("it writes on trial", has_trial);
    running.signal("INT");
    running.end().exits(130);
    assert!(!has_trial());
}
