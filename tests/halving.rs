//! Halving stops the same runs whatever the workers, shards and interruptions, and can be undone to the byte.

mod support;

use std::fs;

use support::{Work, below, wait_until};

/// Eight rates with two decays, which differ from epoch 41 on, and two seeds: 32 runs, eight candidates.
const WHOLE: &str = "grid my.toml --set epochs=60 --lr-decay-every 40 --seed 1,2 --checkpoint-every 3 \
                     --learning-rate 0.4,0.3,0.2,0.1,0.05,0.02,0.01,0.005";
/// Four of the eight candidates go on after epoch 4, three of these after epoch 20.
const RUNGS: &str = "--halving-rungs 4,20 --halving-keep 0.5";

fn halved(flags: &str) -> String {
    format!("{WHOLE} {RUNGS} {flags}")
}

/// How many states are kept in a results folder.
fn states(work: &Work, results: &str) -> usize {
    fs::read_dir(work.path(results).join(".state/stages")).map_or(0, Iterator::count)
}

#[test]
fn the_best_candidates_go_on_and_the_others_are_stopped_without_a_test_accuracy() {
    let work = Work::new();
    let ended = work.rookie(&halved("--out halved")).exits(0);
    let ended =
        ended.says("epoch 4: 4 of 8 candidates continue").says("epoch 20: 3 of 4 candidates");
    ended.says("halving stopped 20 runs; --no-halving instead of --halving resumes them");
    work.rookie(&format!("{WHOLE} --out whole")).exits(0);
    let (ranking, whole) = (work.csv("halved/ranking.csv"), work.csv("whole/ranking.csv"));
    let of = |status: &str, column: &str| -> Vec<String> {
        let rows = ranking.column("status").into_iter().zip(ranking.column(column));
        rows.filter(|(of, _)| *of == status).map(|(_, cell)| cell.to_string()).collect()
    };
    assert_eq!(of("done", "run").len(), 3 * 4);
    // Ranked as among all, with the same numbers.
    let mut expected = whole.column("run");
    expected.retain(|run| of("done", "run").contains(&run.to_string()));
    assert_eq!(of("done", "run"), expected);
    // The latest come first, and behind all that have ended.
    let epochs: Vec<String> = [("20", 4), ("4", 16)]
        .into_iter()
        .flat_map(|(epoch, runs)| vec![epoch.into(); runs])
        .collect();
    assert_eq!(of("stopped", "epochs"), epochs);
    assert!(ranking.column("status")[12..].iter().all(|&status| status == "stopped"));
    for column in ["rank", "test_accuracy", "test_accuracy_low", "validation_rank"] {
        assert!(of("stopped", column).iter().all(String::is_empty), "{column}");
    }
    // Those that went on were the better ones at the rung.
    let best_until = |run: &String, epoch: usize| {
        let curve = work.csv(format!("halved/runs/{run}/curve.csv"));
        let validations = curve.column("validation_accuracy").into_iter().take(epoch);
        validations.filter_map(|it| it.parse::<f64>().ok()).fold(0.0, f64::max)
    };
    // Of the two seeds together, and whichever the LR decay.
    let mean_until = |run: &String, epoch: usize| {
        let other =
            run.replace("seed1", "seed3").replace("seed2", "seed1").replace("seed3", "seed2");
        f64::midpoint(best_until(run, epoch), best_until(&other, epoch))
    };
    for (rung, stopped) in [(4, &of("stopped", "run")[4..]), (20, &of("stopped", "run")[..4])] {
        let worst = of("done", "run").iter().map(|it| mean_until(it, rung)).fold(1.0, f64::min);
        assert!(stopped.iter().all(|it| mean_until(it, rung) <= worst), "epoch {rung}: {worst}");
    }
    // What is said of them is the best of their curves so far.
    for (run, accuracy) in of("stopped", "run").iter().zip(of("stopped", "validation_accuracy")) {
        let curve = work.csv(format!("halved/runs/{run}/curve.csv"));
        let validations =
            curve.column("validation_accuracy").into_iter().filter(|it| !it.is_empty());
        let best = validations.map(|it| it.parse::<f64>().unwrap()).fold(0.0, f64::max);
        assert!(
            (best - accuracy.parse::<f64>().unwrap()).abs() < 1e-6,
            "{run}: {best}, {accuracy}"
        );
        assert!(!work.path(format!("halved/runs/{run}/model.safetensors")).exists());
    }
}

#[test]
fn workers_sharing_and_shards_change_no_byte() {
    let work = Work::new();
    work.rookie(&halved("--jobs 1 --out one")).exits(0);
    let expected = work.reproducible("one");
    for (flags, out) in
        [("--jobs 2", "two"), ("--jobs 5", "five"), ("--no-sharing --jobs 2", "alone")]
    {
        work.rookie(&halved(&format!("{flags} --out {out}"))).exits(0);
        assert_eq!(work.reproducible(out), expected, "{flags}");
    }
    for count in [2, 3] {
        let out = format!("of{count}");
        let shard = |index: usize| halved(&format!("--jobs 1 --out {out} --shard {index}/{count}"));
        let mut left: Vec<usize> = (0..count).collect();
        // Those that find no other at work end with 75 and are started again.
        for _ in 0..4 {
            let running: Vec<_> = left.iter().map(|&it| (it, work.start(&shard(it)))).collect();
            left.clear();
            for (index, running) in running {
                match running.end().code {
                    Some(75) => left.push(index),
                    code => assert_eq!(code, Some(0), "shard {index}/{count}"),
                }
            }
        }
        assert!(left.is_empty(), "{left:?} of {count} still wait");
        assert_eq!(work.reproducible(&out), expected, "{count} shards");
    }
}

#[test]
fn shards_that_run_one_after_another_end_at_a_rung_with_a_code_of_their_own() {
    let work = Work::new();
    work.rookie(&halved("--out whole")).exits(0);
    let shard = |index: usize| work.rookie(&halved(&format!("--out parts --shard {index}/2")));
    shard(0)
        .exits(75)
        .says("waiting at a rung for other shards, of which none is at work: 1; start");
    // The second finds the first's results at both rungs, as far as it has come.
    shard(1).exits(75).says("epoch 4: 4 of 8 candidates continue");
    // All stand at a rung.
    work.rookie("plot grid parts").exits(2).says("no run has finished training yet");
    shard(0).exits(0).says("epoch 20: 3 of 4 candidates continue");
    shard(1).exits(0);
    assert_eq!(work.reproducible("parts"), work.reproducible("whole"));
}

#[test]
fn a_curve_or_record_that_cannot_be_used_is_trained_again_by_its_own_shard() {
    let work = Work::new();
    work.rookie(&halved("--out whole")).exits(0);
    let ranking = work.csv("whole/ranking.csv");
    let run = |status: &str| {
        let mut rows = ranking.column("status").into_iter().zip(ranking.column("run"));
        rows.find(|(of, _)| *of == status).unwrap().1.to_string()
    };
    let cut = |curve: String| {
        let text = work.text(&curve);
        work.write(curve, text.split_inclusive('\n').take(3).collect::<String>());
    };
    let expected = work.reproducible("whole");
    for (run, told) in [
        (
            run("done"),
            "found 2 epochs, expected 60, as its run.toml says, its run is trained again",
        ),
        (run("stopped"), "found 2 epochs, expected 20, as its run.toml says, its run is trained"),
    ] {
        cut(format!("whole/runs/{run}/curve.csv"));
        work.rookie(&halved("--out whole")).exits(0).says(&format!("{run}/curve.csv: {told}"));
        assert!(work.reproducible("whole") == expected, "{run} has changed");
    }

    // The first shard waits for the second, whatever is wrong with that one's files.
    let shard = |index: usize| work.rookie(&halved(&format!("--out parts --shard {index}/2")));
    shard(0).exits(75);
    shard(1).exits(75);
    let plan = work.csv("parts/.state/shards.csv");
    let mut rows = plan.column("shard").into_iter().zip(plan.column("run"));
    let other = rows.find(|(shard, _)| *shard == "1").unwrap().1;
    for file in ["run.toml", "curve.csv"] {
        let path = format!("parts/runs/{other}/{file}");
        let whole = work.text(&path);
        cut(path.clone());
        shard(0).exits(75).says("waiting at a rung for other shards, of which none is at work: 1;");
        work.write(path, whole);
    }
    cut(format!("parts/runs/{other}/curve.csv"));
    shard(1).exits(75).says("its run is trained again");
    shard(0).exits(0);
    shard(1).exits(0);
    assert!(work.reproducible("parts") == expected, "shards have changed something");
}

#[test]
fn a_halved_grid_that_is_killed_at_random_moments_ends_with_the_same_bytes() {
    let work = Work::new();
    let grid = WHOLE.replace("epochs=60", "epochs=600");
    let grid = format!("{grid} --halving-rungs 40,200 --halving-keep 0.5");
    work.rookie(&format!("{grid} --out whole")).exits(0);
    let (mut seed, mut killed) = (1, 0);
    for _ in 0..40 {
        let jobs = 1 + below(&mut seed, 3);
        let mut running = work.start(&format!("{grid} --out broken --jobs {jobs}"));
        running.wait_until_it_catches_signals();
        std::thread::sleep(std::time::Duration::from_micros(below(&mut seed, 60_000)));
        running.signal("KILL");
        if running.end().code == Some(0) {
            break;
        }
        killed += 1;
    }
    work.rookie(&format!("{grid} --out broken")).exits(0);
    assert!(killed >= 5, "killed {killed} times only");
    assert_eq!(work.reproducible("broken"), work.reproducible("whole"));
}

#[test]
fn what_was_stopped_is_taken_up_again_and_ends_as_if_nothing_had_been() {
    let work = Work::new();
    work.rookie(&format!("{WHOLE} --out whole")).exits(0);
    work.rookie(&halved("--out halved")).exits(0);
    // Two seeds of each of five stopped candidates, four at epoch 4 and one at epoch 20.
    assert_eq!(states(&work, "halved"), 5 * 2);
    let whole = work.rookie(&format!("{WHOLE} --out halved --dry-run")).exits(0);
    whole.says("resuming 10 stages in progress, 72 epochs trained before");
    let ended = work.rookie(&halved("--out halved")).exits(0);
    ended
        .check(!work.path("halved/.state/stages").join("run1_step120.checkpoint").exists(), "done");
    // A larger share takes up some, and no halving all.
    let more = halved("--out halved").replace("0.5", "0.75");
    work.rookie(&more).exits(0).says("epoch 4: 6 of 8 candidates continue");
    let ended = work.rookie(&format!("{WHOLE} --out halved")).exits(0);
    ended.says("20 of 32 runs finished before; 12 left").says("epochs trained before");
    assert_eq!(work.reproducible("halved"), work.reproducible("whole"));
    assert_eq!(states(&work, "halved"), 0);
    // Halving what has been trained stops nothing.
    let ended = work.rookie(&halved("--out halved")).exits(0);
    let stops = ended.stderr.contains("halving stopped");
    ended.check(!stops, "nothing is stopped");
    assert_eq!(work.reproducible("halved"), work.reproducible("whole"));
}

#[test]
fn states_that_are_not_kept_are_trained_again() {
    let work = Work::new();
    let told = "halving stopped 20 runs; --no-halving instead of --halving trains them from their first epoch";
    work.rookie(&halved("--discard-stopped --out halved")).exits(0).says(told);
    assert_eq!(states(&work, "halved"), 0);
    work.rookie(&format!("{WHOLE} --out halved")).exits(0);
    work.rookie(&format!("{WHOLE} --out whole")).exits(0);
    assert_eq!(work.reproducible("halved"), work.reproducible("whole"));
}

#[test]
fn the_section_of_a_grid_file_halves_and_a_flag_does_without() {
    let work = Work::new();
    let grid = work.text("my.toml") + "\n[halving]\nrungs = [2]\nkeep = 0.1\n";
    work.write("my.toml", grid);
    let ended = work.rookie("grid my.toml --no-halving --out whole").exits(0);
    let stops = ended.stderr.contains("candidates continue");
    ended.check(!stops, "it halves nothing");
    work.rookie("grid my.toml --learning-rate 0.4,0.3,0.2,0.1 --out halved")
        .exits(0)
        .says("epoch 2: 3 of 4 candidates continue");
    work.rookie("grid my.toml --no-halving --discard-stopped").exits(2);
    work.rookie("grid my.toml --halving-rungs 3")
        .exits(2)
        .says("where lr0.2_decay0.5 is not validated");
    work.rookie("grid my.toml --halving-rungs 2,6")
        .exits(2)
        .says("halving rungs: found 6, expected one before epoch 6, the last of the longest run");
    work.rookie("grid my.toml --halving-rungs 4,2")
        .exits(2)
        .says("found rungs [4, 2], expected ascending epochs");
}

#[test]
fn other_commands_leave_stopped_runs_out_of_what_they_measure_and_say_so() {
    let work = Work::new();
    work.rookie(&halved("--out halved")).exits(0);
    let ended = work.rookie("compare halved --format csv").exits(0);
    let ended = ended.says("20 runs stopped by halving or waiting at a rung");
    let rows = ended.stdout.lines().count();
    ended.check(rows == 1 + 6, "it has the six configurations that went on");
    let ended = work.rookie("rank halved --top 40").exits(0);
    let stopped = ended.stdout.matches("stopped").count();
    ended.check(stopped == 20, "the ranking shows them last");
    work.rookie("report halved").exits(0);
    assert!(
        work.text("halved/report.html").contains("12 of 32 runs have finished, 20 were stopped")
    );
    work.rookie("plot grid halved --out figures").exits(0);
}

#[test]
fn a_watched_report_of_a_halved_grid_ends_when_nothing_is_trained_any_more() {
    let work = Work::new();
    work.rookie(&halved("--out halved")).exits(0);
    let lock = fs::File::open(work.path("halved/.state/whole.lock")).unwrap();
    lock.lock().unwrap();
    let watching = work.start("report halved --watch");
    let holds = |text: &str| {
        let page = work.path("halved/report.html");
        page.exists() && work.text("halved/report.html").contains(text)
    };
    wait_until("the page is written", || holds("\"watched\":true"));
    // Longer than between two looks: as long as a process trains, stopped runs may go on.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(holds("\"watched\":true"));
    drop(lock);
    let ended = watching.end().exits(0);
    ended.says("12 runs ended, 20 others stopped by halving, and nothing is being trained");
    assert!(holds("\"watched\":false"), "the page waits for nothing");
}

#[test]
fn starting_over_says_how_many_runs_have_finished_and_how_many_were_stopped() {
    let work = Work::new();
    work.rookie(&halved("--out halved")).exits(0);
    let refused = work.rookie(&halved("--out halved --fresh")).exits(2);
    refused.says("would remove 12 finished runs, 20 stopped runs, 10 checkpoints from halved");
}

#[test]
fn a_dry_run_says_what_halving_would_cost() {
    let work = Work::new();
    let ended = work.rookie(&format!("{WHOLE} --dry-run --cores 1,2")).exits(0);
    // 60 epochs have rungs at 4 and 8 by default: 16 · 4, 3 · 2 · 4, and 3 · 2 · (32 + 2 · 20).
    let ended = ended.prints("520  epochs with --halving: 3 of 8 continue after epoch 4, 3 of 3");
    ended.prints("| Hours halved | Idle halved |");
    work.rookie(&halved("--dry-run"))
        .exits(0)
        .prints("epochs: 4 of 8 continue after epoch 4, 3 of 4");
}

#[test]
fn patience_and_halving_together_change_nothing_by_workers_or_sharing_and_are_undone() {
    let work = Work::new();
    let (halved, whole) = (halved("--patience 2,4"), format!("{WHOLE} --patience 2,4"));
    work.rookie(&format!("{whole} --out whole")).exits(0);
    work.rookie(&format!("{halved} --out one --jobs 1")).exits(0);
    for (flags, out) in [("--jobs 3", "three"), ("--jobs 2 --no-sharing", "alone")] {
        work.rookie(&format!("{halved} {flags} --out {out}")).exits(0);
        assert_eq!(work.reproducible(out), work.reproducible("one"), "{flags}");
    }
    let ranking = work.csv("one/ranking.csv");
    let count = |status: &str| ranking.column("status").iter().filter(|it| **it == status).count();
    assert!(count("done") > 0 && count("stopped") > 0);
    work.rookie(&format!("{whole} --out one")).exits(0);
    assert_eq!(work.reproducible("one"), work.reproducible("whole"));
}

#[test]
fn a_halved_grid_grows_and_ends_as_one_that_was_trained_at_once() {
    let work = Work::new();
    let fewer = halved("--out grown").replace("0.4,0.3,0.2,0.1,", "0.3,0.1,");
    work.rookie(&fewer).exits(0).says("halving stopped");
    // The stopped runs of a grid that leaves them out resume when they come back.
    let stopped = states(&work, "grown");
    let two = halved("--leave-out --out grown")
        .replace("0.4,0.3,0.2,0.1,0.05,0.02,0.01,0.005", "0.3,0.1");
    work.rookie(&two).exits(0).says(" checkpoints of runs that the grid does not have in");
    work.rookie(&fewer).exits(0);
    assert_eq!(states(&work, "grown"), stopped);
    work.rookie(&format!("{WHOLE} --out grown")).exits(0).says("epochs trained before");
    work.rookie(&format!("{WHOLE} --out whole")).exits(0);
    std::fs::remove_dir_all(work.path("grown/left_out")).unwrap(); // checkpoints alone
    assert_eq!(work.reproducible("grown"), work.reproducible("whole"));
}

#[test]
fn a_shard_without_a_run_waits_for_nobody() {
    let work = Work::new();
    // More shards than runs.
    work.rookie(&halved("--out many --shard 39/40")).exits(0);
}

#[test]
fn shards_at_work_halve_at_the_same_rungs() {
    let work = Work::new();
    let shard = |index: usize, rung: usize| {
        let whole = WHOLE.replace("epochs=60", "epochs=1000000");
        format!("{whole} --halving-rungs {rung} --out parts --shard {index}/2")
    };
    let mut running = work.start(&shard(0, 400_000));
    wait_until("it has said its rungs", || work.path("parts/.state/halving").exists());
    let refused = work.rookie(&shard(1, 4)).exits(2);
    refused.says("found rungs [4], keep 0.3").says("expected rungs [400000], keep 0.3");
    running.signal("TERM");
    running.end().exits(143);
}

#[test]
fn a_dry_run_says_what_halving_saves_or_that_it_is_unknown_once_runs_have_finished() {
    let work = Work::new();
    let planned = format!("{} --dry-run", halved("--out halved"));
    work.rookie(&planned).exits(0).prints("\nhalved ").prints(" of the time; ");
    work.rookie(&format!("{WHOLE} --out halved --halving-rungs 4 --halving-keep 0.1")).exits(0);
    let unknown = work.rookie(&planned).exits(0);
    unknown.prints("\nhalved             unknown  because runs have finished or begun");
}
