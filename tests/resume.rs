//! Nothing is lost: whatever ends a grid, the same command goes on, and what comes out is the same
//! to the last byte.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rookie::train::checkpoint::Checkpoint;
use support::{DATA, DataSet, Ended, SMALL, Work, below, is_skipped_without_bf16, wait_until};

/// Six runs of which three pairs share half of their epochs, saved so often that saving is always
/// under way.
const GRID: &str = "grid my.toml --set epochs=600 --lr-decay-every 300 --checkpoint-every 3";

/// The results of a grid that nothing disturbed.
fn undisturbed(work: &Work, grid: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    work.rookie(&format!("{grid} --out whole")).exits(0);
    assert!(states(work, "whole").is_empty());
    work.reproducible("whole")
}

/// Fails with the names of the files that differ, and not with their contents.
#[track_caller]
fn assert_same(found: &BTreeMap<PathBuf, Vec<u8>>, expected: &BTreeMap<PathBuf, Vec<u8>>) {
    let all = expected.keys().chain(found.keys());
    let differing: BTreeSet<&PathBuf> =
        all.filter(|path| found.get(*path) != expected.get(*path)).collect();
    assert!(differing.is_empty(), "these differ: {differing:?}");
}

/// The saved states in a results folder, without those just being written.
fn states(work: &Work, results: &str) -> Vec<PathBuf> {
    work.checkpoints(&format!("{results}/.state/stages"))
}

/// The seed of the random moments: always the same one, unless `ROOKIE_CRASH_SEED` asks for another.
fn crash_seed() -> u64 {
    std::env::var("ROOKIE_CRASH_SEED").map_or(1, |seed| seed.parse().expect("a whole number"))
}

/// How often a grid is killed: `ROOKIE_CRASH_TESTS`, by default 30 times.
fn crashes() -> usize {
    std::env::var("ROOKIE_CRASH_TESTS").map_or(30, |count| count.parse().unwrap())
}

/// Of so many starts, one must be stopped before the grid ends by itself.
const STARTS_PER_STOP: usize = 20;

/// Stops a grid at random moments, each time with another number of workers and with or without
/// sharing, until it has been stopped so often; then lets it end.
fn disturbed(signal: &str, times: usize, flags: &str) {
    let work = Work::new();
    let epochs = 20 * times.max(30);
    let grid = format!(
        "grid my.toml --set epochs={epochs} --lr-decay-every {} --checkpoint-every 3 {flags}",
        epochs / 2
    );
    let expected = undisturbed(&work, &grid);
    let mut seed = crash_seed();
    let mut below = |bound| below(&mut seed, bound);
    let (mut starts, mut stopped) = (0, 0);
    while stopped < times {
        starts += 1;
        assert!(
            starts <= STARTS_PER_STOP * times,
            "only {stopped} of {times} signals came in time"
        );
        let jobs = 1 + below(3);
        let sharing = if below(2) == 0 { "" } else { " --no-sharing" };
        let command = format!("{grid} --out broken --jobs {jobs}{sharing}");
        let mut running = work.start(&command);
        // Mostly into training, at times into the start.
        if below(4) > 0 {
            running.wait_until_it_catches_signals();
        }
        std::thread::sleep(Duration::from_micros(below(30_000)));
        running.signal(signal);
        let ended = running.end();
        if ended.code == Some(0) {
            // It was faster than the signal: from the start again.
            fs::remove_dir_all(work.path("broken")).unwrap();
            continue;
        }
        // A signal that came before it was caught ends the program as SIGKILL does.
        let by_signal = ended.code.is_none() || (signal == "TERM" && ended.code == Some(143));
        let ended = ended.check(by_signal, format!("SIG{signal} ended it"));
        stopped += 1;
        let left = states(&work, "broken");
        ended.check(left.len() <= 16, format!("few states are left, not {left:?}"));
    }
    work.rookie(&format!("{grid} --out broken")).exits(0);
    assert_same(&work.reproducible("broken"), &expected);
    assert_eq!(states(&work, "broken"), Vec::<PathBuf>::new());
}

#[test]
fn a_grid_that_is_killed_at_random_moments_ends_with_the_same_bytes() {
    disturbed("KILL", crashes(), "");
}

#[test]
fn runs_whose_batches_change_go_on_with_those_of_their_epoch() {
    disturbed("KILL", crashes() / 5, "--reshuffle=true,false --standardisation batch,dataset");
}

#[test]
fn runs_in_bf16_go_on_to_the_same_bytes_beside_runs_in_float32() {
    if !is_skipped_without_bf16() {
        disturbed("KILL", crashes() / 5, "--precision f32,bf16 --momentum 0.9");
    }
}

#[test]
fn a_grid_that_is_told_to_stop_at_random_moments_ends_with_the_same_bytes() {
    disturbed("TERM", crashes() / 3, "");
}

#[test]
fn a_second_signal_stops_at_once_and_loses_nothing_that_was_saved() {
    let work = Work::new();
    // An epoch of a second and more, so that the first signal is not obeyed at once.
    work.write_data(DATA, DataSet { train: 20_000, height: 28, width: 28, ..SMALL });
    let grid = "grid my.toml --hidden 800,800 --learning-rate 0.1 --lr-decay 0.5 --set epochs=9 \
                --jobs 1 --checkpoint-every 1";
    let mut running = work.start(grid);
    wait_until("the first epoch is saved", || !states(&work, "results/my").is_empty());
    let before = work.stamps("results/my/.state/stages");
    running.signal("INT");
    std::thread::sleep(Duration::from_millis(100));
    running.signal("INT");
    running.end().exits(130);
    assert_eq!(work.stamps("results/my/.state/stages"), before);
}

/// Stops a grid once it has saved states, and returns the first of them.
fn stopped(work: &Work) -> PathBuf {
    let mut running = work.start(&format!("{GRID} --out broken --jobs 1"));
    wait_until("a state is saved", || !states(work, "broken").is_empty());
    running.signal("INT");
    running.end().exits(130);
    states(work, "broken").remove(0)
}

#[test]
fn a_state_that_cannot_be_used_is_set_aside_and_its_stage_starts_over() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 4] = [
        ("is truncated or was modified", |bytes| bytes.truncate(bytes.len() / 2)),
        ("is truncated or was modified", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("found no `rookie checkpoint 1`", |bytes| bytes[18] = b'2'),
        ("found no `rookie checkpoint 1`", Vec::clear),
    ];
    for (problem, change) in changes {
        let work = Work::new();
        let expected = undisturbed(&work, GRID);
        let state = stopped(&work);
        let mut bytes = fs::read(&state).unwrap();
        change(&mut bytes);
        fs::write(&state, &bytes).unwrap();
        let ended = work.rookie(&format!("{GRID} --out broken")).exits(0);
        ended
            .says(&format!("{}: {problem}", state.strip_prefix(work.path("")).unwrap().display()))
            .says("it was renamed to")
            .says("are trained again");
        assert_same(&work.reproducible("broken"), &expected);
        let aside = state.with_extension("checkpoint.damaged");
        assert_eq!(fs::read(aside).unwrap(), bytes);
    }
}

#[test]
fn states_of_other_data_are_refused_and_kept() {
    let work = Work::new();
    let state = stopped(&work);
    work.write_data(DATA, DataSet { train: 310, ..SMALL });
    let before = fs::read(&state).unwrap();
    let ended = work.rookie(&format!("{GRID} --out broken")).exits(2);
    ended.says("was trained on other data");
    assert_eq!(fs::read(&state).unwrap(), before);
}

#[test]
fn starting_over_forgets_what_was_saved() {
    let work = Work::new();
    stopped(&work);
    let ended = work.rookie(&format!("{GRID} --out broken --fresh --yes")).exits(0);
    let begun = ended.stderr.contains("going on with");
    ended.check(!begun, "nothing is resumed").says("training 6 runs in 2700 epochs");
    assert_same(&work.reproducible("broken"), &undisturbed(&work, GRID));
}

/// A run that takes long enough to be interrupted.
const RUN: &str = "train --hidden 16,12 --batch-size 32 --validation-size 50 --epochs 600 --out run \
                   --checkpoint-every 3";

/// Starts it, and interrupts it when a checkpoint is there.
fn interrupted(work: &Work) {
    let mut running = work.start(RUN);
    wait_until("a state is saved", || !states(work, "run").is_empty());
    running.signal("TERM");
    running.end().exits(143).says("run the same command to resume");
}

#[test]
fn a_damaged_checkpoint_of_a_run_is_set_aside_with_a_warning() {
    let work = Work::new();
    interrupted(&work);
    let checkpoint = &states(&work, "run")[0];
    fs::write(checkpoint, &fs::read(checkpoint).unwrap()[..100]).unwrap();
    let ended = work.rookie(&RUN.replace("600", "6")).exits(0);
    ended.says(".checkpoint.damaged, and its epochs are trained again");
}

#[test]
fn a_run_that_was_gone_on_with_tells_so_and_its_curve_has_no_gap() {
    let work = Work::new();
    interrupted(&work);
    // Another run does not take its place unasked.
    work.rookie(&RUN.replace("600", "500")).exits(2).says("holds another run in progress");
    work.rookie(RUN).exits(0).says("resuming after epoch");
    assert!(!work.path("run/.state/stages").exists());
    work.rookie(&RUN.replace("--out run", "--out whole")).exits(0);
    assert_same(&work.reproducible("run"), &work.reproducible("whole"));
    let epochs: Vec<String> = (1..=600).map(|epoch| epoch.to_string()).collect();
    assert_eq!(work.csv("run/curve.csv").column("epoch"), epochs);
}

#[test]
fn a_run_that_fails_after_a_break_resumes_from_its_checkpoint() {
    let work = Work::new();
    interrupted(&work);
    let saved = fs::read(&states(&work, "run")[0]).unwrap();
    let name = "lr0.2_wd0.001_h16-12_decay0.5_batch32_ep600_val50";
    let failed = work.rookie_with(("ROOKIE_PANIC_IN", name), RUN).exits(1);
    failed.prints("failed: panicked: on purpose");
    assert!(fs::read(&states(&work, "run")[0]).unwrap() == saved, "the checkpoint has changed");
    work.rookie(RUN).exits(0).says("resuming after epoch");
}

#[test]
fn what_was_trained_before_the_break_is_not_trained_again() {
    for (flags, total) in [("--jobs 1", 2700), ("--jobs 3", 2700), ("--no-sharing", 3600)] {
        let work = Work::new();
        let grid = format!("{GRID} --out broken {flags}");
        let mut running = work.start(&grid);
        // Far from its end, so that there is something left to save when the signal comes.
        let begun = |state: &PathBuf| {
            let saved = fs::read(state).ok().and_then(|bytes| Checkpoint::from_bytes(&bytes).ok());
            saved.is_some_and(|saved| (1..=100).contains(&(saved.state.epoch() % 300)))
        };
        wait_until("a run has finished and another is in progress", || {
            let ended = work.path("broken/runs").read_dir();
            ended.is_ok_and(|mut runs| runs.next().is_some())
                && states(&work, "broken").iter().any(begun)
        });
        running.signal("TERM");
        running.end().exits(143);
        // What has ended and what is saved, each epoch counted once.
        let ended = work.path("broken/runs").read_dir().unwrap().count();
        let saved: usize = states(&work, "broken").iter().map(|state| epochs_of(state)).sum();
        let ended = work.rookie(&grid).exits(0).check(saved > 0 && ended > 0, "both are there");
        let told = ended.stderr.lines().find_map(|line| {
            let (_, rest) = line.split_once("in progress, ")?;
            rest.split(' ').next()?.parse::<usize>().ok()
        });
        let planned = ended.stderr.lines().find_map(|line| {
            let (_, rest) = line.split_once("runs in ").or_else(|| line.split_once("run in "))?;
            rest.split(' ').next()?.parse::<usize>().ok()
        });
        // A run that has ended took at least its last 300 epochs with it.
        let most = total - 300 - saved / 6;
        let ended = ended.check(told.is_some_and(|told| told >= 3), "it goes on with some");
        ended.check(planned.is_some_and(|planned| planned <= most), format!("at most {most}"));
    }
}

/// How many epochs a saved state has behind it.
fn epochs_of(state: &Path) -> usize {
    let saved = Checkpoint::from_bytes(&fs::read(state).unwrap()).unwrap();
    saved.state.epoch()
}

#[test]
fn a_grid_and_a_run_do_not_share_a_folder() {
    let work = Work::new();
    let run =
        "train --hidden 16,12 --batch-size 32 --validation-size 50 --epochs 1000000 --out run";
    let mut running = work.start(run);
    running.wait_until_it_catches_signals();
    work.rookie(run).exits(2).says("another rookie is writing into this folder");
    running.signal("TERM");
    running.end().exits(143);
    let state = work.path("run/.state/stages/run1_step0.checkpoint");
    let before = fs::read(&state).unwrap();
    for flags in ["", "--fresh --yes"] {
        let grid = format!("grid my.toml --out run {flags}");
        work.rookie(&grid).exits(2).says("run: holds a run in progress, and no grid");
    }
    assert_eq!(fs::read(&state).unwrap(), before);
    work.rookie("grid my.toml").exits(0);
    for flags in ["", "--fresh"] {
        let train = run.replace("--out run", &format!("--out results/my {flags}"));
        work.rookie(&train).exits(2).says("results/my: holds a grid's results");
    }
}

/// More than any command here writes.
const MOST_WRITES: usize = 1000;

/// Lets each change on the disk fail in turn, and completes what that has stopped. Without failures the
/// command ends with this code.
fn completes_whichever_write_fails(command: &str, at_least: usize, code: i32) {
    let work = Work::new();
    work.rookie(&format!("{command} --out whole")).exits(code);
    let expected = work.reproducible("whole");
    for failing in 1..=MOST_WRITES {
        assert!(failing < MOST_WRITES, "it fails however late the failing write is");
        let broken = format!("{command} --out broken");
        let ended = work.rookie_with(("ROOKIE_FAIL_WRITE", &failing.to_string()), &broken);
        if !ended.stderr.contains("failed on purpose") {
            ended.exits(code);
            assert!(failing > at_least, "only {failing} writes");
            break;
        }
        let early = ended.code == Some(2); // the folder itself could not be made
        ended
            .check(!early || failing < 3, "what fails while training is no wrong use")
            .says("rookie: broken");
        // What is there under its name is whole.
        for (path, bytes) in work.contents_if_any("broken") {
            let is_ranking = ["ranking.csv", "top10.md"].iter().any(|name| path == Path::new(name));
            let whole = expected.get(&path).is_none_or(|whole| *whole == bytes);
            assert!(whole || is_ranking, "write {failing}: {} is not whole", path.display());
        }
        work.rookie(&broken).exits(code);
        assert_same(&work.reproducible("broken"), &expected);
        fs::remove_dir_all(work.path("broken")).unwrap();
    }
}

#[test]
fn whichever_write_of_a_grid_fails_it_names_it_and_the_same_command_completes() {
    let grid = "grid my.toml --set epochs=8 --lr-decay-every 4 --checkpoint-every 3";
    for jobs in ["--jobs 1", "--jobs 2"] {
        completes_whichever_write_fails(&format!("{grid} {jobs}"), 46, 0);
    }
}

#[test]
fn whichever_write_of_a_run_fails_it_names_it_and_the_same_command_completes() {
    let run = "train --hidden 16,12 --batch-size 32 --validation-size 50 --epochs 6";
    completes_whichever_write_fails(run, 7, 0);
    let diverges = format!("{run} --learning-rate 1e30 --weight-decay 0");
    completes_whichever_write_fails(&diverges, 6, 1);
}

#[test]
fn a_file_that_grows_too_large_is_named_and_nothing_under_its_name_is_half_written() {
    let work = Work::new();
    let expected = undisturbed(&work, GRID);
    for blocks in [0, 1, 4, 12] {
        // The shell's limit, in blocks of 512 or 1024 bytes; its signal is ignored, as the error is
        // what a full disk gives too.
        let program = assert_cmd::cargo::cargo_bin!("rookie").display().to_string();
        let script =
            format!("trap '' XFSZ; ulimit -f {blocks}; exec {program} {GRID} --out broken");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(work.path("")).env_remove("ROOKIE_DATA");
        let ended = Ended::of(&script, command);
        let ended = ended.says("broken/").says("cannot write: File too large");
        ended.exits(1);
        assert!(!work.path("broken/runs/lr0.2_decay0.5/run.toml").exists());
    }
    work.rookie(&format!("{GRID} --out broken")).exits(0);
    assert_same(&work.reproducible("broken"), &expected);
}

#[test]
fn a_results_folder_that_is_removed_while_it_is_written_to_ends_the_grid_and_stays_away() {
    let work = Work::new();
    let running = work.start(&format!("{} --out gone", GRID.replace("=600", "=1000000")));
    wait_until("a state is saved", || !states(&work, "gone").is_empty());
    fs::rename(work.path("gone"), work.path("elsewhere")).unwrap();
    running.end().exits(1).says("gone: cannot write: it is no longer the folder");
    assert!(!work.path("gone").exists());

    let run = "train --hidden 16,12 --batch-size 32 --validation-size 50 --epochs 1000000 \
               --out run --checkpoint-every 3";
    let running = work.start(run);
    wait_until("a state is saved", || !states(&work, "run").is_empty());
    fs::rename(work.path("run"), work.path("elsewhere/run")).unwrap();
    running.end().exits(1).says("run: cannot write: it is no longer the folder");
    assert!(!work.path("run").exists());
}
