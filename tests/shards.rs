//! A grid in parts: disjoint, together the whole, byte for byte, whatever runs beside.

mod support;

use std::time::{Duration, Instant};

use support::{DataSet, SMALL, Work, wait_until};

/// Three families of two runs, with states that are saved often.
const GRID: &str = "grid my.toml --checkpoint-every 1 --jobs 1 --set epochs=";
/// The same for as long as a process can be killed in.
const LONG: &str = "grid my.toml --checkpoint-every 20 --jobs 1 --set epochs=1500";
/// Two runs that do not end while a test waits.
const ENDLESS: &str = "grid my.toml --jobs 1 --learning-rate 0.1,0.2 --lr-decay 0.5 \
                       --set epochs=1000000 --eval-every 1000000 --checkpoint-every 100";

#[test]
fn the_union_of_all_shards_is_the_grid_byte_for_byte() {
    let work = Work::new();
    work.rookie(&format!("{GRID}40 --out whole")).exits(0);
    for count in [1, 2, 3, 4, 7] {
        // Most at the same time, the first at last.
        let out = format!("of{count}");
        let shard = |index: usize| format!("{GRID}40 --out {out} --shard {index}/{count}");
        let running: Vec<_> = (1..count).map(|index| work.start(&shard(index))).collect();
        for (index, running) in (1..).zip(running) {
            running.end().exits(0).says(&format!("shard {index}/{count} has "));
        }
        work.rookie(&shard(0)).exits(0);
        assert_eq!(work.reproducible(&out), work.reproducible("whole"), "{count} shards");
        let states = work.path(format!("{out}/.state/shards"));
        let left = std::fs::read_dir(states).map_or(0, Iterator::count);
        assert_eq!(left, 0, "no states are left");
    }
}

#[test]
fn the_ranking_tells_what_is_missing_and_whose_it_is() {
    let work = Work::new();
    work.rookie(&format!("{GRID}40 --shard 1/2")).exits(0);
    let ended = work.rookie("rank results/my").exits(0);
    let ended = ended.says("results/my: 4 runs of 6 not finished");
    let ended = ended.says("of shard 0/2: 4 runs, the first of them lr");
    let first = work.csv("results/my/ranking.csv");
    assert_eq!(first.rows.len(), 2);
    ended.check(!first.column("run").is_empty(), "the ranking is of what has ended");
    work.rookie(&format!("{GRID}40 --shard 0/2")).exits(0);
    assert_eq!(work.csv("results/my/ranking.csv").rows.len(), 6);
}

#[test]
fn a_shard_that_a_signal_reaches_in_its_last_epoch_ranks_all_that_has_ended() {
    let work = Work::new();
    // Its epoch takes longer than a signal.
    work.write_data(support::DATA, DataSet { train: 60_000, ..SMALL });
    let grid = "grid my.toml --jobs 1 --learning-rate 0.1,0.2 --lr-decay 0.5 --set epochs=1 \
                --eval-every 1 --shard";
    work.rookie(&format!("{grid} 0/2")).exits(0);
    let mut last = work.start(&format!("{grid} 1/2"));
    wait_until("its run begins", || work.path("results/my/.state/begun-1-0").exists());
    // As of another shard that was killed.
    work.write("results/my/.ranking.csv.A1B2C3", "torn");
    last.signal("TERM");
    last.end().exits(0);
    assert_eq!(work.csv("results/my/ranking.csv").column("status"), ["done"; 2]);
    assert!(!work.path("results/my/.ranking.csv.A1B2C3").exists());
}

#[test]
fn a_killed_shard_goes_on_and_so_does_a_grid_after_it() {
    let work = Work::new();
    work.rookie(&format!("{LONG} --out whole")).exits(0);
    let grid = format!("{LONG} --out broken");
    for _ in 0..3 {
        let mut shards: Vec<_> =
            (0..2).map(|index| work.start(&format!("{grid} --shard {index}/2"))).collect();
        let is_saved =
            |index| !work.checkpoints(&format!("broken/.state/shards/{index}")).is_empty();
        wait_until("both have saved a state", || {
            (0..2).all(is_saved) || shards.iter_mut().any(support::Running::has_ended)
        });
        for mut shard in shards {
            shard.signal("KILL");
            drop(shard.end());
        }
    }
    // In another number of shards, and then in none: what was saved is found again.
    let goes_on = |index: usize| {
        let mut shard = work.start(&format!("{grid} --shard {index}/3"));
        shard.wait_until_it_catches_signals();
        shard.signal("USR1");
        let said = shard.end().stderr;
        said.contains("resuming ") || said.contains("finished before")
    };
    // On a slow machine one of the two may have finished before it was killed.
    let found = (0..3).map(goes_on).filter(|&goes_on| goes_on).count();
    assert!((1..=2).contains(&found), "{found} of three shards resumed");
    let last = work.rookie(&grid).exits(0);
    assert!(
        last.stderr.contains("finished before") || last.stderr.contains("resuming "),
        "{}",
        last.stderr
    );
    assert_eq!(work.reproducible("broken"), work.reproducible("whole"));
    assert!(!work.path("broken/.state/shards").exists());
}

#[test]
fn states_of_another_number_of_shards_are_let_go_once_all_runs_have_ended() {
    let work = Work::new();
    let mut begun = work.start(&format!("{LONG} --shard 0/1"));
    work.wait_for_checkpoint("results/my/.state/shards/0");
    begun.signal("USR1");
    begun.end().exits(138);
    // What a killed process was writing.
    work.write("results/my/.state/shards/0/.run1_step9.checkpoint.A1B2C3", "torn");
    work.rookie(&format!("{LONG} --shard 0/2")).exits(0);
    // A damaged one that was set aside is the user's to remove.
    let (states, damaged) = ("results/my/.state/stages", "run9_step0.checkpoint.damaged");
    let is_pool = !work.checkpoints(states).is_empty();
    work.write(format!("{states}/{damaged}"), "torn");
    work.rookie(&format!("{LONG} --shard 1/2")).exits(0);
    assert!(is_pool, "the states of the first shard are for others too");
    let left = work.contents(states).into_keys().collect::<Vec<_>>();
    assert_eq!(left, [std::path::Path::new(damaged)], "nobody needs the others any more");
}

#[test]
fn what_is_wrong_with_one_shard_does_not_stop_the_others() {
    let work = Work::new();
    work.rookie(&format!("{GRID}6 --shard 0/2")).exits(0);
    // A torn record of the other's, and a plan that cannot be read.
    let run = work.csv("results/my/ranking.csv").column("run")[0].to_string();
    work.write(format!("results/my/runs/{run}/run.toml"), "torn");
    let other = work.rookie(&format!("{GRID}6 --shard 1/2")).exits(1);
    other.says("left out: results/my/runs/").says("1 run left out of results/my/ranking.csv");
    assert_eq!(work.csv("results/my/ranking.csv").rows.len(), 5);
    work.rookie(&format!("{GRID}6 --shard 0/2")).exits(0).says("renamed to run.toml.damaged");
    assert_eq!(work.csv("results/my/ranking.csv").rows.len(), 6);
    work.write("results/my/.state/shards.csv", "run,shard,shards\nx,0,2\n");
    work.rookie(&format!("{GRID}6 --shard 1/2")).exits(0);
    assert!(work.text("results/my/.state/shards.csv").lines().count() == 7, "it is planned anew");
}

#[test]
fn a_shard_is_refused_at_once_while_a_process_trains_the_whole_grid() {
    let work = Work::new();
    let mut whole = work.start(ENDLESS);
    wait_until("a state is saved", || work.path("results/my/.state/stages").exists());
    let begun = Instant::now();
    let told = "results/my: another rookie is writing into this folder without --shard; wait";
    work.rookie(&format!("{ENDLESS} --shard 1/2")).exits(2).says(told);
    assert!(begun.elapsed() < Duration::from_secs(30), "it does not wait for a plan");
    whole.signal("TERM");
    whole.end().exits(143);
    let mut shard = work.start(&format!("{ENDLESS} --shard 1/2"));
    shard.wait_until_it_catches_signals();
    shard.signal("TERM");
    shard.end().exits(143).says("shard 1/2 has 1 run of the grid's 2");
}

#[test]
fn a_damaged_grid_file_is_not_written_anew_while_a_shard_is_at_work() {
    let work = Work::new();
    let mut first = work.start(&format!("{ENDLESS} --shard 0/2"));
    first.wait_until_it_catches_signals();
    work.write("results/my/grid.toml", "torn");
    let told = "start this shard when no other is at work, and it writes the file anew";
    work.rookie(&format!("{ENDLESS} --shard 1/2")).exits(2).says("grid.toml:1: ").says(told);
    first.signal("TERM");
    first.end().exits(143);
    let mut second = work.start(&format!("{ENDLESS} --shard 1/2"));
    second.wait_until_it_catches_signals();
    second.signal("TERM");
    second
        .end()
        .exits(143)
        .says("it was renamed to grid.toml.damaged and is written again from this grid");
}

#[test]
fn shards_on_other_data_are_refused() {
    let work = Work::new();
    work.rookie(&format!("{GRID}6 --shard 0/2")).exits(0);
    work.write_data("other", DataSet { test: SMALL.test + 1, ..SMALL });
    let other = work.rookie(&format!("{GRID}6 --shard 1/2 --data other")).exits(2);
    other.says("was trained on other data");
    // Nor may they begin together.
    let mut first = work.start(&format!("{ENDLESS} --out ends --shard 0/2"));
    first.wait_until_it_catches_signals();
    let other = work.rookie(&format!("{ENDLESS} --out ends --shard 1/2 --data other")).exits(2);
    other.says("ends: was trained on other data");
    first.signal("USR1");
    first.end().exits(138);
}

#[test]
fn a_run_on_other_data_than_most_is_left_out() {
    let work = Work::ranked();
    let run = work.csv("results/my/ranking.csv").column("run")[0].to_string();
    let record = format!("results/my/runs/{run}/run.toml");
    let changed = work.text(&record).replace("sha256_train-images", "sha256_other-images");
    work.write(&record, changed);
    for command in ["rank", "compare", "report", "plot grid"] {
        let ended = work.rookie(&format!("{command} results/my")).exits(1);
        ended
            .says(&format!("left out: results/my/runs/{run}: was trained on other data than most"));
    }
    assert!(!work.rookie("rank results/my --format csv").stdout.contains(&run));
}

#[test]
fn shards_that_would_be_in_each_other_s_way_are_refused() {
    let work = Work::new();
    let mut first = work.start(&format!("{ENDLESS} --shard 0/2"));
    first.wait_until_it_catches_signals();
    let again = work.rookie(&format!("{ENDLESS} --shard 0/2")).exits(2);
    again.says("results/my: another rookie is writing into shard 0/2");
    let other = work.rookie(&format!("{ENDLESS} --shard 0/3")).exits(2);
    other.says(
        "--shard: found one of 3 shards, expected one of 2, like the other shards in results/my",
    );
    work.rookie(ENDLESS).exits(2).says("results/my: another rookie is writing into this folder");
    let other = ENDLESS.replace("1000000 --eval", "7 --eval");
    work.rookie(&format!("{other} --shard 1/2")).exits(2).says("holds another grid (epochs");
    // The other shard is free.
    let mut second = work.start(&format!("{ENDLESS} --shard 1/2"));
    second.wait_until_it_catches_signals();
    second.signal("USR1");
    second.end().exits(138).says("run the same command, without --fresh, to resume");
    first.signal("USR1");
    first.end().exits(138);
}

#[test]
fn a_shard_that_is_none_is_refused_and_nothing_is_written() {
    let work = Work::new();
    let before = work.contents("");
    for (shard, phrase) in [("2/2", "found shard 2 of 2"), ("0/0", "found 0 shards"), ("x", "`x`")]
    {
        let ended = work.rookie(&format!("grid my.toml --shard {shard}")).exits(2);
        ended.says("--shard: ").says(phrase);
    }
    work.rookie("grid my.toml --shard 0/2 --fresh").exits(2);
    // Of three families of two runs.
    let listed = |shard: &str| {
        let ended = work.rookie(&format!("grid my.toml --dry-run --shard {shard}")).exits(0);
        ended.stdout.lines().filter(|line| line.starts_with("lr")).count()
    };
    assert_eq!(["0/2", "1/2", "3/4"].map(listed), [4, 2, 1]);
    assert_eq!(listed("7/8"), 0, "a shard may be left without a run");
    assert_eq!(work.contents(""), before);
}

#[test]
fn one_run_counts_once_and_two_results_of_it_are_refused() {
    let work = Work::ranked();
    work.rookie("grid my.toml --out again --learning-rate 0.1").exits(0);
    let both = "rank results/my again --format csv";
    let ranked = work.rookie(both).exits(0);
    assert_eq!(ranked.stdout.lines().count(), 1 + 6, "{}", ranked.stdout);
    let record = "again/runs/lr0.1_decay0.5/run.toml";
    let text = work.text(record);
    let line = text.lines().find(|line| line.starts_with("openblas_core")).unwrap();
    work.write(record, text.replace(line, "openblas_core = \"Other\""));
    let told = work.rookie("rank again").exits(0);
    told.prints("trained with different kernels (").prints("1 with Other").prints("last digits");
    work.rookie("rank again --format csv").exits(0).says("trained with different kernels (");
    let version = text.lines().find(|line| line.starts_with("rookie = ")).unwrap();
    work.write(record, text.replace(version, "rookie = \"0.1.0\""));
    let told = work.rookie("rank again").exits(0);
    told.prints("trained by different versions of rookie (1 by 0.1.0, ").prints("initial weights");
    // As many as there were, and one that is trained now.
    std::fs::remove_dir_all(work.path("again/runs/lr0.1_decay0.8")).unwrap();
    let told = work.rookie("grid my.toml --out again --learning-rate 0.1").exits(0);
    told.says("earlier results here were trained by other versions of rookie than");
    work.write(record, &text);
    let line = text.lines().find(|line| line.starts_with("test_accuracy")).unwrap();
    let changed = text.replace(line, "test_accuracy = 0.25");
    work.write(record, &changed);
    for command in ["rank", "compare", "report --out both.html"] {
        let refused = work.rookie(&format!("{command} results/my again")).exits(2);
        let run = "runs/lr0.1_decay0.5";
        let refused =
            refused.says(&format!("again/{run}: has a different result from results/my/{run} for"));
        refused.says("test_accuracy: ").says("there, 0.25 here").says("in separate commands");
    }
    // Other kernels explain it, and the first result counts.
    let line = text.lines().find(|line| line.starts_with("openblas_core =")).unwrap();
    work.write(record, changed.replace(line, "openblas_core = \"Other\""));
    for command in ["rank", "compare", "report --out both.html"] {
        let told = work.rookie(&format!("{command} results/my again")).exits(0);
        let told =
            told.says("the first of two results is used for 1 run: results/my/runs/lr0.1_de");
        told.says("there, 0.25 here): the runs were trained with different kernels (1 with ");
    }
    assert_eq!(work.rookie(both).exits(0).stdout, ranked.stdout);
}
