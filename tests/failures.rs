//! Runs that fail: what becomes of them, of the runs beside them and of the commands that read them.

mod support;

use support::Work;

/// Makes the run of a grid panic that is named, in a build with debug assertions.
const PANIC_IN: &str = "ROOKIE_PANIC_IN";

#[test]
fn a_run_that_panics_fails_alone_with_its_reason_and_is_tried_again() {
    let work = Work::new();
    work.rookie("grid my.toml --out whole").exits(0);
    let broken = "grid my.toml --out broken --no-sharing";
    let ended = work.rookie_with((PANIC_IN, "lr0.1_decay0.8"), broken).exits(1);
    ended.says("lr0.1_decay0.8 failed: panicked: on purpose").says("1 run failed");
    let record = work.toml("broken/runs/lr0.1_decay0.8/run.toml");
    assert_eq!(record["status"].as_str(), Some("failed"));
    assert_eq!(record["reason"].as_str(), Some("panicked: on purpose"));
    let ranking = work.csv("broken/ranking.csv");
    assert_eq!(ranking.column("status"), ["done", "done", "done", "done", "done", "failed"]);
    work.rookie(broken).exits(0).says("5 of 6 runs have ended before");
    assert_eq!(work.reproducible("broken"), work.reproducible("whole"));
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
