//! A run with patience ends early, at the same epoch and with the same bytes however it is trained.

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rookie::{Dataset, Event, Grid, GridOptions, Interrupt, ResultsFolder, SaveEvery, train_grid};
use support::{Csv, DATA, FLAGS, GRID, Work, below};

/// Runs of `my.toml` with several patiences, which end at different epochs of the same stages.
const PATIENT: &str = "grid my.toml --epochs 60 --eval-every 1 --lr-decay-every 12 \
                       --learning-rate 0.2,0.02 --patience 0,1,3,8 --checkpoint-every 1";

/// The epoch after which patience ends a curve, read off the curve of the run without it.
fn end_of(curve: &Csv, patience: usize) -> usize {
    let validated = curve.rows.iter().filter(|row| !row[5].is_empty());
    let scores: Vec<(usize, f64)> =
        validated.map(|row| (row[0].parse().unwrap(), row[5].parse().unwrap())).collect();
    let is_end = |&end: &usize| {
        let best = scores[..=end].iter().map(|(_, score)| *score).fold(0.0, f64::max);
        let first = scores.iter().position(|(_, score)| *score == best).unwrap();
        patience > 0 && end - first == patience
    };
    (0..scores.len()).find(is_end).map_or(curve.rows.len(), |end| scores[end].0)
}

#[test]
fn a_curve_ends_where_patience_does_and_is_the_beginning_of_the_longer_one() {
    let work = Work::new();
    work.rookie(&format!("{PATIENT} --out whole")).exits(0).says("in at most ");
    let mut ended_early = 0;
    for runs in ["lr0.2_decay0.5", "lr0.02_decay0.5", "lr0.2_decay0.8", "lr0.02_decay0.8"] {
        let file = |patience| format!("whole/runs/{runs}_patience{patience}/curve.csv");
        let full = work.text(file(0));
        assert_eq!(full.lines().count(), 1 + 60);
        for patience in [1, 3, 8] {
            let end = end_of(&Csv::parse(&full), patience);
            let expected: String = full.split_inclusive('\n').take(1 + end).collect();
            assert_eq!(work.text(file(patience)), expected, "{runs}, patience {patience}");
            ended_early += usize::from(end < 60);
        }
    }
    assert!(ended_early > 6, "only {ended_early} of 12 runs end early, so this proves little");
    let ranking = work.csv("whole/ranking.csv");
    assert!(ranking.column("status").iter().all(|status| *status == "done"));
    let [runs, epochs, planned] =
        ["run", "epochs", "planned_epochs"].map(|name| ranking.column(name));
    for ((run, epochs), planned) in runs.into_iter().zip(epochs).zip(planned) {
        let curve = work.csv(format!("whole/runs/{run}/curve.csv"));
        assert_eq!((epochs, planned), (&*curve.rows.len().to_string(), "60"), "{run}");
    }
    // Its rows are found by what was planned.
    let reference = "compare whole --reference whole/ranking.csv --format csv";
    let compared = Csv::parse(&work.rookie(reference).exits(0).stdout);
    assert!(compared.column("published_rank").iter().all(|rank| !rank.is_empty()));
    for command in ["rank", "compare", "report", "plot grid"] {
        work.rookie(&format!("{command} whole")).exits(0);
    }
}

#[test]
fn workers_sharing_shards_and_kills_change_no_byte_of_runs_with_patience() {
    let work = Work::new();
    work.rookie(&format!("{PATIENT} --out whole --jobs 1")).exits(0);
    let whole = work.reproducible("whole");
    for (out, flags) in [("two", "--jobs 2"), ("four", "--jobs 4"), ("alone", "--no-sharing")] {
        work.rookie(&format!("{PATIENT} --out {out} {flags}")).exits(0);
        assert!(work.reproducible(out) == whole, "{flags}");
    }
    for shard in 0..3 {
        work.rookie(&format!("{PATIENT} --out parts --shard {shard}/3")).exits(0);
    }
    assert!(work.reproducible("parts") == whole, "shards");
    let mut seed = 23;
    for _ in 0..5 {
        let mut running = work.start(&format!("{PATIENT} --out broken --jobs 2"));
        running.wait_until_it_catches_signals();
        std::thread::sleep(Duration::from_micros(below(&mut seed, 60_000)));
        running.signal("KILL");
        drop(running.end());
    }
    work.rookie(&format!("{PATIENT} --out broken")).exits(0);
    assert!(work.reproducible("broken") == whole, "kills");
    assert!(!work.path("broken/.state/stages").exists(), "no state is left");
}

/// Three rates with some patiences.
fn grid_of(patience: &str) -> Grid {
    let grid = GRID.replace("epochs = 6", "epochs = 90").replace("lr_decay = [0.5, 0.8]", "");
    Grid::from_toml(&format!("{grid}patience = [{patience}]\n")).unwrap()
}

#[test]
fn runs_that_differ_in_patience_alone_are_trained_once() {
    let work = Work::new();
    let data = Dataset::read(&work.path(DATA)).unwrap();
    let epochs_of = |patience: &str| {
        let grid =
            format!("{}patience = [{patience}]\n", GRID.replace("epochs = 6", "epochs = 90"));
        let grid = Grid::from_toml(&grid.replace("lr_decay = [0.5, 0.8]", "")).unwrap();
        let results = ResultsFolder::open(&work.path(patience), &grid, &data, false).unwrap();
        let (trained, skipped) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let on_event = |event: &Event<'_>| match event {
            Event::EpochTrained { .. } => drop(trained.fetch_add(1, Ordering::Relaxed)),
            Event::EpochsSkipped(epochs) => drop(skipped.fetch_add(*epochs, Ordering::Relaxed)),
            _ => {}
        };
        let (options, interrupt) = (GridOptions::default(), Interrupt::default());
        train_grid(&grid, data.clone(), &results, &options, &on_event, &interrupt).unwrap();
        (trained.into_inner(), skipped.into_inner())
    };
    let (short, skipped) = epochs_of("2");
    assert!(short < 270, "none of three runs ends early");
    assert_eq!(short + skipped, 270);
    assert_eq!(epochs_of("1, 2").0, short);
    assert_eq!(epochs_of("0, 1, 2"), (270, 0));
}

#[test]
fn a_single_run_ends_early_says_so_and_resumes() {
    let work = Work::new();
    let flags = FLAGS.replace("--epochs 6 --eval-every 4", "--epochs 400 --eval-every 2");
    let train = format!("train {flags} --patience 40 --checkpoint-every 1 --out");
    let ended = work.rookie(&format!("{train} run")).exits(0);
    ended.says(" of 400, because 40 validations in a row had no better accuracy");
    let last = work.csv("run/curve.csv").rows.len();
    work.rookie(&format!("train {flags} --out full")).exits(0);
    assert_eq!(last, end_of(&work.csv("full/curve.csv"), 40));
    let mut running = work.start(&format!("{train} broken"));
    work.wait_for_checkpoint("broken/.state/stages");
    running.signal("KILL");
    drop(running.end());
    work.rookie(&format!("{train} broken")).exits(0);
    assert!(work.reproducible("broken") == work.reproducible("run"));
}

#[test]
fn a_curve_that_does_not_end_where_patience_does_is_refused() {
    let work = Work::new();
    let flags = FLAGS.replace("--epochs 6 --eval-every 4", "--epochs 400 --eval-every 2");
    work.rookie(&format!("train {flags} --patience 3 --out run")).exits(0);
    let curve = work.text("run/curve.csv");
    let rows = curve.lines().count() - 1;
    let draw = || work.rookie("plot curves run");
    draw().exits(0);
    let longer = format!("{curve}{},0.2,0.5,0.75,,\n", rows + 1);
    let shorter: String = curve.split_inclusive('\n').take(rows - 1).collect();
    let epochs = |rows: usize| format!("found {rows} epochs, expected ");
    for (text, expected) in [(longer, epochs(rows + 1)), (shorter, epochs(rows - 2))] {
        work.write(Path::new("run/curve.csv"), text);
        draw().exits(2).says(&expected);
    }
}

#[test]
fn a_run_that_is_lost_does_not_resume_from_a_state_beyond_its_end() {
    let work = Work::new();
    let data = Dataset::read(&work.path(DATA)).unwrap();
    let (name, mut options) = ("runs/lr0.2_patience2", GridOptions::default());
    options.save_every = SaveEvery::Epochs(1);
    let train = |out: &str, stop_after: usize| {
        let grid = grid_of("0, 2");
        let results = ResultsFolder::open(&work.path(out), &grid, &data, false).unwrap();
        let interrupt = Interrupt::default();
        let on_event = |event: &Event<'_>| {
            if let Event::EpochTrained { row, .. } = event
                && row.epoch == stop_after
            {
                interrupt.ask();
            }
        };
        train_grid(&grid, data.clone(), &results, &options, &on_event, &interrupt).unwrap().left
    };
    assert_eq!(train("whole", 0), 0);
    let end = work.csv(format!("whole/{name}/curve.csv")).rows.len();
    assert!(end < 80);
    for stop_after in [end - 1, end, end + 1, end + 5] {
        let out = stop_after.to_string();
        assert!(train(&out, stop_after) > 0);
        let lost = work.path(&out).join(name);
        assert_eq!(lost.exists(), stop_after >= end);
        if lost.exists() {
            std::fs::remove_dir_all(lost).unwrap();
        }
        assert_eq!(train(&out, 0), 0);
        assert!(work.reproducible(&out) == work.reproducible("whole"), "{stop_after} of {end}");
    }
}
