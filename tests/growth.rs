//! A finished grid grows in its folder: what was trained stays, and the end is that of a grid trained at once.

mod support;

use std::collections::BTreeMap;

use support::{Csv, DATA, DataSet, PREDICTIONS, SMALL, Work, wait_until};

/// What grows, from which flags to which, and how many runs that are before and after.
const GROWTHS: [(&str, &str, &str, usize, usize); 5] = [
    ("value", "--learning-rate 0.2,0.02", "--learning-rate 0.2,0.1,0.02", 4, 6),
    ("seed", "", "--seed 0,1", 6, 12),
    ("axis", "--learning-rate 0.2,0.1", "--learning-rate 0.2,0.1 --momentum 0.9,0", 4, 8),
    (
        "sample",
        "--learning-rate log_uniform(0.01,1) --momentum 0,0.9 --samples 4",
        "--learning-rate log_uniform(0.01,1) --momentum 0,0.9 --samples 7",
        4,
        7,
    ),
    // Also a value that all runs had becomes one of several, and the order of axes another one.
    ("value of all", "--lr-decay 0.5", "--lr-decay 0.8,0.5 --seed 1,0", 3, 12),
];

/// The rows of a ranking by all but the names of the runs, which are left out, with these.
fn by_values(ranking: &Csv) -> BTreeMap<Vec<String>, String> {
    let row = |row: &Vec<String>| {
        let (run, values) = row.split_last().unwrap();
        (values.to_vec(), run.clone())
    };
    ranking.rows.iter().map(row).collect()
}

/// Checks that a folder holds what another one does, apart from the names of folders.
#[track_caller]
fn assert_same_but_for_names(work: &Work, grown: &str, whole: &str) {
    for file in
        ["grid.toml", "settings.csv"].iter().filter(|file| work.path(whole).join(file).exists())
    {
        assert_eq!(work.text(format!("{grown}/{file}")), work.text(format!("{whole}/{file}")));
    }
    let [of_grown, of_whole] =
        [grown, whole].map(|out| by_values(&work.csv(format!("{out}/ranking.csv"))));
    assert!(of_grown.keys().eq(of_whole.keys()), "{of_grown:?}\n{of_whole:?}");
    for (here, there) in of_grown.values().zip(of_whole.values()) {
        for file in ["curve.csv", "model.safetensors", PREDICTIONS] {
            let bytes = |out: &str, run: &str| work.bytes(format!("{out}/runs/{run}/{file}"));
            assert!(bytes(grown, here) == bytes(whole, there), "{here}/{file}");
        }
    }
    let runs = work.path(grown).join("runs").read_dir().unwrap().count();
    assert_eq!(runs, of_whole.len());
}

#[test]
fn a_grid_that_grew_is_the_grid_that_was_trained_at_once_and_only_new_runs_were_trained() {
    for (what, before, after, few, all) in GROWTHS {
        let work = Work::new();
        work.rookie(&format!("grid my.toml {before} --out grown")).exits(0);
        let stamps = work.stamps("grown/runs");
        let report = format!("{few} of {all} runs finished before; {} left", all - few);
        work.rookie(&format!("grid my.toml {after} --out grown")).exits(0).says(&report);
        let now = work.stamps("grown/runs");
        assert!(stamps.iter().all(|(path, stamp)| now.get(path) == Some(stamp)), "{what}");
        work.rookie(&format!("grid my.toml {after} --out whole")).exits(0);
        assert_same_but_for_names(&work, "grown", "whole");
        for command in ["rank", "compare", "report", "plot grid"] {
            let ended = work.rookie(&format!("{command} grown")).exits(0);
            let is_whole = !ended.stderr.contains("not finished");
            ended.check(is_whole, "all runs are read");
        }
        let again = work.rookie(&format!("grid my.toml {after} --out grown")).exits(0);
        again.says(&format!("{all} of {all} runs finished before; 0 left"));
        let rank = work.rookie("rank grown --format csv").exits(0);
        assert_eq!(rank.stdout, work.text("grown/ranking.csv"));
        // It knows the runs by their values also where it removes them.
        work.rookie(&format!("grid my.toml {after} --out grown --fresh --yes")).exits(0);
        assert_same_but_for_names(&work, "grown", "whole");
    }
}

#[test]
fn a_grid_grows_in_shards_and_from_states_in_progress() {
    let work = Work::new();
    let long = "grid my.toml --learning-rate 0.2,0.1 --set epochs=400 --checkpoint-every 20";
    let grown = format!("{long} --seed 1,0 --out grown");
    let mut running = work.start(&format!("{long} --jobs 1 --out grown"));
    wait_until("a run has finished and another is in progress", || {
        let count = |folder: &str| work.path(folder).read_dir().map_or(0, Iterator::count);
        count("grown/runs") > 1 && count("grown/.state/stages") > 0
    });
    running.signal("KILL");
    drop(running.end());
    // It may have been writing a checkpoint.
    work.write("grown/.state/stages/.run1_step1.checkpoint.A1B2C3", "torn");
    work.rookie(&format!("{grown} --shard 1/2")).exits(0);
    work.rookie(&format!("{grown} --shard 0/2")).exits(0);
    work.rookie(&format!("{long} --seed 1,0 --out whole")).exits(0);
    assert_same_but_for_names(&work, "grown", "whole");
    assert!(!work.path("grown/.state/stages").exists(), "no state is left");
}

#[test]
fn a_grid_that_lacks_a_finished_run_is_refused_or_leaves_it_out_and_takes_it_back() {
    let work = Work::ranked();
    let before = work.contents("results/my");
    let fewer = "grid my.toml --learning-rate 0.2,0.3";
    let refused = work.rookie(fewer).exits(2);
    let refused =
        refused.says("results/my: holds another grid (learning_rate: [0.2; 0.1; 0.02] there");
    refused
        .says("with 4 finished runs that this one lacks, such as lr0.1_decay0.5;")
        .says("--leave-out");
    work.rookie(&format!("{fewer} --dry-run")).exits(0).says("holds another grid (learning_rate");
    assert_eq!(work.contents("results/my"), before);
    let left = work.rookie(&format!("{fewer} --leave-out")).exits(0);
    let left =
        left.says("kept 4 earlier runs that the grid does not have in results/my/left_out, where");
    left.says("2 of 4 runs finished before; 2 left");
    assert_eq!(work.csv("results/my/ranking.csv").rows.len(), 4);
    let run = "lr0.1_decay0.5/model.safetensors";
    let model = |folder: &str| work.bytes(format!("results/my/{folder}/{run}"));
    assert_eq!(model("left_out"), before[&std::path::Path::new("runs").join(run)]);
    let all = "grid my.toml --learning-rate 0.2,0.1,0.02,0.3,0.4";
    work.rookie(&format!("{all} --dry-run")).exits(0).says("8 of 10 runs finished before; 2 left");
    work.rookie("grid my.toml --learning-rate 0.2,0.1,0.02,0.3")
        .exits(0)
        .says("8 of 8 runs finished before");
    assert_eq!(model("runs"), before[&std::path::Path::new("runs").join(run)]);
    // Starting over removes no run that was left out, and none of other data comes back.
    work.rookie("grid my.toml --learning-rate 0.2 --leave-out").exits(0);
    work.rookie("grid my.toml --fresh").exits(2).says("would remove 2 finished runs from");
    let aside = work.contents("results/my/left_out");
    work.write_data("other", DataSet { train: SMALL.train + 10, ..SMALL });
    let other = "grid my.toml --data other";
    work.rookie(&format!("{other} --learning-rate 0.02 --fresh --yes")).exits(0);
    work.rookie(other).exits(0).says("2 of 6 runs finished before; 4 left");
    assert_eq!(work.contents("results/my/left_out"), aside);
}

#[test]
fn more_epochs_are_trained_anew_and_the_earlier_runs_are_kept() {
    let work = Work::ranked();
    let longer = work.rookie("grid my.toml --epochs 7").exits(0);
    longer.says("training 6 earlier runs with more epochs from the start; what there was is kept in results/my/left_out");
    work.rookie("grid my.toml --epochs 7 --out whole").exits(0);
    assert_same_but_for_names(&work, "results/my", "whole");
    let kept = work.csv("results/my/left_out/lr0.1_decay0.5/curve.csv");
    assert_eq!(kept.rows.len(), 6);
    // Fewer take the earlier runs back, into the folders that the longer ones leave.
    let shorter = work.rookie("grid my.toml --epochs 6 --leave-out").exits(0);
    shorter.says("6 of 6 runs finished before; 0 left");
    // What is left of several seeds has no means.
    work.rookie("grid my.toml --seed 0,1").exits(0);
    assert!(work.path("results/my/settings.csv").exists());
    work.rookie("grid my.toml --leave-out").exits(0);
    assert!(!work.path("results/my/settings.csv").exists());
    // Both lengths lack nothing.
    work.rookie("grid my.toml --epochs 7,6").exits(0).says("12 of 12 runs finished before");
}

#[test]
fn more_epochs_go_on_from_the_states_that_were_kept_and_end_with_the_bytes_of_training_anew() {
    let work = Work::new();
    // Runs differ from epoch 5 on, and patience ends some of them before either length.
    let grid = |epochs: usize| {
        format!("grid my.toml --epochs {epochs} --lr-decay-every 4 --patience 0,2 --seed 0,1")
    };
    work.rookie(&format!("{} --out whole", grid(12))).exits(0);
    for (flags, out) in [("--jobs 1", "one"), ("--jobs 3", "three"), ("--no-sharing", "alone")] {
        work.rookie(&format!("{} {flags} --out {out} --keep-states", grid(4))).exits(0);
        // A command that has nothing to train leaves them.
        work.rookie(&format!("{} {flags} --out {out}", grid(4))).exits(0);
        work.rookie(&format!("{} {flags} --out {out} --keep-states", grid(8))).exits(0);
        let longer = work.rookie(&format!("{} {flags} --out {out}", grid(12))).exits(0);
        let longer =
            longer.says("training 24 earlier runs with more epochs from their final checkpoints");
        longer.says("resuming ").says("trained before");
        assert_same_but_for_names(&work, out, "whole");
    }
    work.rookie(&format!("{} --out one --fresh --yes", grid(4))).exits(0);
    assert!(!work.path("one/.state/final").exists());
    let dry = work.rookie(&format!("{} --out other --keep-states --dry-run", grid(8))).exits(0);
    dry.prints("0 MB  kept because of --keep-states");
    let refused = work.rookie("grid my.toml --epochs 5 --keep-states --out other").exits(2);
    refused.says("expected a multiple of its eval_every 2; take 6 epochs");
    assert!(!work.path("other").exists());
}

#[test]
fn final_states_of_runs_with_one_name_keep_clear_of_each_other() {
    let work = Work::new();
    // Runs that differ in LR decay alone resume from one final state, where the first of them would leave its own.
    let grid = |patience: usize| {
        format!(
            "grid my.toml --epochs 60 --lr-decay-every 100 --patience {patience} --keep-states --jobs 1"
        )
    };
    work.rookie(&format!("{} --out whole", grid(9))).exits(0);
    work.rookie(&format!("{} --out out", grid(2))).exits(0);
    let again = work.rookie(&format!("{} --out out --leave-out --no-sharing", grid(9))).exits(0);
    again.says("resuming 6 stages in progress, 60 epochs trained before");
    assert_same_but_for_names(&work, "out", "whole");
}

#[test]
fn runs_in_progress_that_are_left_out_resume_when_they_come_back() {
    let work = Work::new();
    let grid = "grid my.toml --learning-rate 0.2 --epochs 60 --lr-decay-every 40 --jobs 1";
    for (resumes, begun, without, all) in [
        ("", "--lr-decay 0.5 --seed 1,2", "--lr-decay 0.5 --seed 3", "--lr-decay 0.5 --seed 1,2,3"),
        // Both have the epochs of this checkpoint in common.
        ("resuming 1 stage", "--lr-decay 0.5,0.8", "--lr-decay 0.5", "--lr-decay 0.5,0.8"),
    ] {
        let begun = format!("{grid} {begun} --checkpoint-every 3 --out grown");
        work.rookie_with(("ROOKIE_FAIL_WRITE", "40"), &begun).exits(1);
        let left = work.rookie(&format!("{grid} {without} --leave-out --out grown")).exits(0);
        let left = left.says(resumes);
        left.says("kept 1 checkpoint of runs that the grid does not have in grown/left_out");
        let back = format!("{grid} {all} --out grown");
        for command in [&format!("{back} --dry-run"), &back] {
            work.rookie(command).exits(0).says("resuming 1 stage in progress");
        }
        work.rookie(&format!("{grid} {all} --out whole")).exits(0);
        assert_same_but_for_names(&work, "grown", "whole");
        // Others that are left out might need it too.
        assert_eq!(work.contents("grown/left_out").len(), 1);
        for out in ["grown", "whole"] {
            std::fs::remove_dir_all(work.path(out)).unwrap();
        }
    }
}

#[test]
fn no_grid_on_other_data_changes_anything_in_a_folder() {
    let work = Work::new();
    // The second are another network's data.
    work.write_data("more", DataSet { train: SMALL.train + 10, ..SMALL });
    work.write_data("smaller", DataSet { width: SMALL.width - 1, ..SMALL });
    let grid = "grid my.toml --learning-rate 0.2 --jobs 1";
    work.rookie(&format!("{grid} --epochs 2 --out ended")).exits(0);
    let mut running =
        work.start(&format!("{grid} --epochs 500000 --checkpoint-every 3 --out begun"));
    work.wait_for_checkpoint("begun/.state/stages");
    running.signal("TERM");
    running.end().exits(143);
    let before = work.contents("");
    for command in [
        "--epochs 4 --out ended",
        "--epochs 2 --seed 0,1 --out ended",
        "--epochs 2 --seed 1 --leave-out --out ended --shard 0/2",
        "--epochs 500000 --out begun",
        "--epochs 1000000 --out begun",
        "--epochs 500000 --seed 1 --leave-out --out begun --shard 0/2",
    ] {
        for data in ["more", "smaller"] {
            let told = "was trained on other data";
            work.rookie(&format!("{grid} --data {data} {command}")).exits(2).says(told);
            assert!(work.contents("") == before, "{command} on {data} changed something");
        }
    }
    let dry = format!("{grid} --data more --epochs 4 --out ended --dry-run");
    work.rookie(&dry).exits(0).says("was trained on other data");
}

#[test]
fn a_run_whose_name_another_folder_has_is_refused() {
    let work = Work::new();
    let rows = "[values]\nhidden = [4]\nbatch_size = 32\nvalidation_size = 50\nepochs = 1\n";
    work.write("rows.toml", format!("{rows}[[runs]]\nlearning_rate = 0.1\n"));
    work.rookie("grid rows.toml").exits(0);
    let swapped = "momentum = 0.9\n[[runs]]\nlearning_rate = 0.1\n[[runs]]\nlearning_rate = 0.1\nmomentum = 0.0\n";
    work.write("rows.toml", format!("{rows}{swapped}"));
    let refused = work.rookie("grid rows.toml").exits(2);
    refused
        .says("holds a finished run lr0.1 with other values than the grid's; name another folder");
}

#[test]
fn whichever_write_of_a_growing_grid_fails_the_same_command_completes_it() {
    let work = Work::new();
    let grid = "grid my.toml --learning-rate 0.2 --jobs 1";
    work.rookie(&format!("{grid} --epochs 2 --out earlier")).exits(0);
    let longer = format!("{grid} --epochs 3 --seed 0,1");
    work.rookie(&format!("{longer} --out whole")).exits(0);
    for failing in 1..=12 {
        for (path, bytes) in work.contents("earlier") {
            let to = std::path::Path::new("broken").join(&path);
            if work.path("earlier").join(&path).is_file() {
                work.write(to, bytes);
            }
        }
        let command = format!("{longer} --out broken");
        let ended = work.rookie_with(("ROOKIE_FAIL_WRITE", &failing.to_string()), &command);
        ended.says("failed on purpose");
        work.rookie(&command).exits(0);
        assert_same_but_for_names(&work, "broken", "whole");
        assert_eq!(work.path("broken/left_out").read_dir().unwrap().count(), 2, "write {failing}");
        std::fs::remove_dir_all(work.path("broken")).unwrap();
    }
}

#[test]
fn checkpoints_of_the_earlier_grid_keep_clear_of_the_names_that_the_larger_one_gives() {
    let work = Work::new();
    let data = rookie::Dataset::read(&work.path(DATA)).unwrap();
    let open = |seeds: &str| {
        let grid = rookie::Grid::from_toml(&format!("[axes]\nseed = [{seeds}]")).unwrap();
        rookie::ResultsFolder::open(&work.path("out"), &grid, &data, false).unwrap();
    };
    let states = || {
        let entries = work.path("out/.state/stages").read_dir().unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    open("1, 2");
    work.write("out/.state/stages/run1_step10.checkpoint", "of seed 1");
    open("1, 2");
    assert_eq!(states(), ["run1_step10.checkpoint"]);
    open("2, 1, 3");
    assert_eq!(states(), ["earlier1_run1_step10.checkpoint"]);
    // Names do not become longer with each growth, and only states give way.
    work.write("out/.state/stages/run1_step10.checkpoint.damaged", "of seed 1");
    open("2, 1, 3, 4");
    let mut found = states();
    found.sort();
    assert_eq!(found, ["earlier1_run1_step10.checkpoint", "run1_step10.checkpoint.damaged"]);
}

#[test]
fn the_folder_of_a_run_without_a_record_is_moved_aside_whole_and_never_through_a_link() {
    let work = Work::ranked();
    let fewer = "grid my.toml --learning-rate 0.2 --leave-out";
    let run = "lr0.1_decay0.5";
    std::fs::remove_file(work.path(format!("results/my/runs/{run}/run.toml"))).unwrap();
    let mut files = work.contents(&format!("results/my/runs/{run}"));
    // What a killed process was writing is nobody's.
    work.write(format!("results/my/runs/{run}/.model.safetensors.A1B2C3"), "torn");
    work.rookie(fewer).exits(0).says("kept 3 earlier runs");
    assert_eq!(work.contents(&format!("results/my/left_out/{run}")), files);

    let linked = "results/my/runs/lr0.2_decay0.5";
    work.rookie("grid my.toml").exits(0);
    std::fs::remove_file(work.path(format!("{linked}/run.toml"))).unwrap();
    files = work.contents(linked);
    std::fs::rename(work.path(linked), work.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(work.path("elsewhere"), work.path(linked)).unwrap();
    let other = "grid my.toml --learning-rate 0.3 --leave-out";
    work.rookie(other).exits(2).says(&format!("{linked}: is a link"));
    assert_eq!(work.contents("elsewhere"), files);
}

#[test]
fn whichever_write_of_leaving_runs_out_fails_the_earlier_grid_finds_all_of_them_again() {
    let work = Work::new();
    // The seed is no part of their names, so runs of both have the same names.
    let grid = |seed: usize| format!("grid my.toml --learning-rate 0.2 --seed {seed}");
    work.rookie(&format!("{} --out both", grid(0))).exits(0);
    work.rookie(&format!("{} --out both --leave-out", grid(1))).exits(0);
    let names = |folder: &str| work.contents(folder).into_keys().collect::<Vec<_>>();
    assert_eq!(names("both/left_out"), names("both/runs"));
    let stamps = work.stamps("both/left_out");
    let mut changes = 0;
    for failing in 1.. {
        // Each of the two takes the other's place, and is interrupted.
        let (command, earlier) = (grid(0), grid(1));
        let switch = format!("{command} --out both --leave-out");
        let ended = work.rookie_with(("ROOKIE_FAIL_WRITE", &failing.to_string()), &switch);
        let back = work.rookie(&format!("{earlier} --out both --leave-out")).exits(0);
        back.says("2 of 2 runs finished before; 0 left");
        let found = work.stamps("both/left_out");
        let [was, is] = [&stamps, &found].map(|all| {
            all.iter().map(|(path, (inode, _))| (path.clone(), *inode)).collect::<Vec<_>>()
        });
        assert_eq!(was, is, "change {failing} failed");
        if ended.code == Some(0) {
            break;
        }
        changes = failing;
    }
    assert!(changes > 8, "{changes}");
}

#[test]
fn of_two_results_that_were_left_out_the_finished_one_comes_back() {
    let work = Work::ranked();
    work.rookie("grid my.toml --learning-rate 0.2 --leave-out")
        .exits(0)
        .says("kept 4 earlier runs");
    let run = "lr0.1_decay0.5";
    work.rookie_with(("ROOKIE_PANIC_IN", run), "grid my.toml --out other --no-sharing").exits(1);
    let left_out = work.path("results/my/left_out");
    std::fs::rename(
        work.path(format!("other/runs/{run}")),
        left_out.join(format!("earlier1_{run}")),
    )
    .unwrap();
    // The folder into which they come back may be gone.
    std::fs::remove_dir_all(work.path("results/my/runs")).unwrap();
    work.rookie("grid my.toml").exits(0).says("4 of 6 runs finished before");
}

#[test]
fn starting_over_after_an_interrupted_switch_of_grids_leaves_no_run_of_the_other_behind() {
    let work = Work::new();
    let grid =
        |rate: &str| format!("grid my.toml --learning-rate {rate} --lr-decay 0.5 --out both");
    work.rookie(&grid("0.1")).exits(0);
    work.rookie(&format!("{} --leave-out", grid("0.2"))).exits(0);
    for failing in 1.. {
        let switch = format!("{} --leave-out", grid("0.1"));
        let ended = work.rookie_with(("ROOKIE_FAIL_WRITE", &failing.to_string()), &switch);
        work.rookie(&format!("{} --fresh --yes", grid("0.2"))).exits(0);
        assert_eq!(
            work.path("both/runs").read_dir().unwrap().count(),
            1,
            "change {failing} failed"
        );
        if ended.code == Some(0) {
            assert!(failing > 8);
            break;
        }
    }
}
