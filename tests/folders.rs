//! The folder that is written to is the one that was asked for and locked: nothing is lost or written
//! outside it, whatever links, renames and other processes there are.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Ended, FLAGS, Running, Work, has_program, is_skipped, wait_until};

/// Removes the results of `my.toml` and trains them anew.
const FRESH: &str = "grid my.toml --fresh --yes";
/// A grid that a test stops.
const ENDLESS: &str = "grid my.toml --jobs 1 --set epochs=1,1000000 --checkpoint-every 3";
/// A run of `my.toml`.
const RUN: &str = "results/my/runs/lr0.1_decay0.5";

#[test]
fn starting_over_keeps_what_is_no_run_of_the_old_grid() {
    let work = Work::ranked();
    for name in ["run.toml", "curve.csv", "model.safetensors"] {
        work.write(format!("results/my/runs/mine/{name}"), "mine");
    }
    work.write(format!("{RUN}/notes.txt"), "mine");
    work.write("results/my/report.html", "mine");
    // What a kill leaves is no one's.
    work.write(format!("{RUN}/.curve.csv.A1B2C3"), "torn");
    let mine = work.contents("results/my/runs/mine");
    let fresh = work.rookie(&format!("{FRESH} --learning-rate 0.2")).exits(1);
    fresh.says("left out: results/my/runs/mine: grid.toml does not have this run");
    assert_eq!(work.contents("results/my/runs/mine"), mine);
    assert_eq!(work.text(format!("{RUN}/notes.txt")), "mine");
    assert_eq!(work.text("results/my/report.html"), "mine");
    assert_eq!(work.contents(RUN).len(), 1);
}

#[test]
fn whichever_change_fails_a_folder_that_is_started_over_stays_one_of_results() {
    let work = Work::new();
    let grid = "grid my.toml --learning-rate 0.1 --lr-decay 0.5";
    work.rookie(grid).exits(0);
    work.write(format!("{RUN}/notes.txt"), "mine");
    let (whole, fresh) = (work.reproducible("results/my"), format!("{grid} --fresh --yes"));
    for failing in 1.. {
        let variable = ("ROOKIE_FAIL_WRITE", &*failing.to_string());
        let ended = work.rookie_with(variable, &fresh);
        assert!(work.path("results/my/grid.toml").exists(), "change {failing} fails");
        assert_eq!(work.text(format!("{RUN}/notes.txt")), "mine", "change {failing} fails");
        if ended.code == Some(0) {
            assert!(failing > 20);
            break;
        }
        work.rookie(&fresh).exits(0);
        assert!(work.reproducible("results/my") == whole, "change {failing} fails");
    }
}

#[test]
fn a_folder_in_which_only_names_are_as_rookie_has_them_is_not_written_to() {
    let work = Work::new();
    let grid = format!("# mine\n{}", support::GRID);
    for name in ["grid.toml", "ranking.csv", "settings.csv", "top10.md", "runs/log"] {
        work.write(format!("p/{name}"), if name == "grid.toml" { &grid } else { "mine" });
    }
    for name in ["run.toml", "curve.csv", "model.safetensors"] {
        work.write(format!("keep/refit/{name}"), "mine");
        work.write(format!("left/left_out/run/{name}"), "mine");
    }
    let before = work.contents("");
    let (own, other) = ("p/grid.toml: is not replaced, because no", "is not empty (");
    for (command, problem) in [
        ("grid p/grid.toml --seed 0,1 --out p", own),
        ("grid my.toml --out p --fresh --yes", own),
        ("grid my.toml --out p --shard 0/2", own),
        ("grid my.toml --out keep", other),
        ("grid my.toml --out left --fresh --yes", other),
        ("train --out keep", other),
    ] {
        work.rookie(command).exits(2).says(problem);
        assert!(work.contents("") == before, "{command} wrote something");
    }
}

#[test]
fn a_link_in_the_place_of_a_folder_is_refused_with_its_name_and_nothing_is_removed() {
    for linked in ["", "/lr0.1_decay0.5"].map(|run| format!("results/my/runs{run}")) {
        let work = Work::ranked();
        fs::rename(work.path(&linked), work.path("elsewhere")).unwrap();
        symlink(work.path("elsewhere"), work.path(&linked)).unwrap();
        let before = (work.contents("elsewhere"), work.contents("results"));
        for command in [FRESH, "grid my.toml", "grid my.toml --shard 0/2"] {
            work.rookie(command).exits(2).says(&format!("{linked}: is a link"));
            assert_eq!((work.contents("elsewhere"), work.contents("results")), before);
        }
    }
    for linked in [".state", ".state/stages", ".state/shards/0", "left_out"] {
        let linked = &format!("results/my/{linked}");
        let work = Work::ranked();
        work.write("elsewhere/run1_step0.checkpoint", "mine");
        let _ = fs::remove_dir_all(work.path(linked));
        fs::create_dir_all(work.path(linked).parent().unwrap()).unwrap();
        symlink(work.path("elsewhere"), work.path(linked)).unwrap();
        for command in [FRESH, "grid my.toml"] {
            work.rookie(command).exits(2).says(&format!("{linked}: is a link"));
        }
        assert_eq!(work.text("elsewhere/run1_step0.checkpoint"), "mine");
    }
    let work = Work::new();
    fs::create_dir(work.path("elsewhere")).unwrap();
    fs::create_dir(work.path("run")).unwrap();
    symlink(work.path("elsewhere"), work.path("run/.state")).unwrap();
    work.rookie(&format!("train {FLAGS} --out run")).exits(2).says("run/.state: is a link");
}

#[test]
fn nothing_is_written_through_a_link_that_takes_the_place_of_a_folder_meanwhile() {
    for linked in ["runs", ".state/stages"] {
        let work = Work::new();
        let mut running = work.start("grid my.toml --jobs 1 --set epochs=200 --checkpoint-every 1");
        work.wait_for_checkpoint("results/my/.state/stages");
        let linked = format!("results/my/{linked}");
        let exchange = format!(
            "mv {0}/{linked} {0}/elsewhere && ln -s {0}/elsewhere {0}/{linked}",
            work.path("").display()
        );
        running.signal("STOP");
        assert!(Command::new("sh").args(["-c", &exchange]).status().unwrap().success());
        running.signal("CONT");
        let ended = running.end().exits(1);
        ended.says(&format!("{linked}: ")).says("is a link, and nothing in a results folder");
        let names = |it: &Path| it.to_string_lossy().contains("run.toml");
        assert!(
            !work.contents("elsewhere").keys().any(|path| names(path)),
            "no run has ended there"
        );
    }
}

#[test]
fn a_results_folder_may_lie_behind_a_link() {
    let work = Work::new();
    fs::create_dir(work.path("scratch")).unwrap();
    for link in ["results", "link"] {
        symlink("scratch", work.path(link)).unwrap();
    }
    let train = format!("train {FLAGS} --out link/run");
    for command in ["grid my.toml", "grid my.toml --shard 0/1 --out link/parts", &train] {
        work.rookie(command).exits(0);
    }
    work.rookie("grid my.toml --out link").exits(2).says("link: is not empty");
    assert_eq!(work.reproducible("scratch/my"), work.reproducible("link/parts"));
    assert!(work.path("scratch/run/run.toml").exists());
}

#[test]
fn what_commands_make_of_results_is_not_written_through_a_link_among_them() {
    let work = Work::ranked();
    work.write("mine.txt", "mine");
    fs::create_dir(work.path("pictures")).unwrap();
    let link = |to: &str, name: &str| symlink(work.path(to), work.path(name)).unwrap();
    link("pictures", "results/my/figures");
    work.rookie("plot grid results/my").exits(2).says("results/my/figures: is a link");
    assert_eq!(work.path("pictures").read_dir().unwrap().count(), 0);
    fs::remove_file(work.path("results/my/figures")).unwrap();
    fs::create_dir(work.path("results/my/figures")).unwrap();
    let picture = "<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>";
    work.write("mine.svg", picture);
    link("mine.svg", "results/my/figures/main_effects.svg");
    link("mine.txt", "results/my/report.html");
    link("mine.txt", "results/my/ensemble.toml");
    work.rookie("plot grid results/my").exits(2).says("figures/main_effects.svg: is a link");
    work.rookie("report results/my").exits(2).says("report.html");
    work.rookie("ensemble results/my").exits(2).says("ensemble.toml");
    assert_eq!((&*work.text("mine.txt"), &*work.text("mine.svg")), ("mine", picture));
}

#[test]
fn the_result_of_another_run_is_moved_aside_whole() {
    let work = Work::ranked();
    // Names have no seed in them, so the same names are other runs.
    work.rookie("grid my.toml --seed 1 --out other").exits(0);
    let other = work.contents("other/runs/lr0.1_decay0.5");
    let merge = || {
        for (path, bytes) in &other {
            work.write(Path::new(RUN).join(path), bytes);
        }
    };
    let whole = work.contents(RUN);
    for (again, aside) in
        [("grid my.toml", ""), (FRESH, "earlier1_"), ("grid my.toml --shard 0/1", "earlier2_")]
    {
        merge();
        let ended = work.rookie(again).exits(0);
        if again != FRESH {
            ended
                .says("lr0.1_decay0.5 held the result of another run, which was moved to left_out");
        }
        assert_eq!(work.contents(&format!("results/my/left_out/{aside}lr0.1_decay0.5")), other);
        for file in ["curve.csv", "model.safetensors"] {
            assert!(
                work.bytes(format!("{RUN}/{file}")) == whole[Path::new(file)],
                "{again}: {file}"
            );
        }
    }
    // Nor does a run that began with a model's weights belong to the grid, whatever its values.
    work.rookie(&format!("train {RUN}/run.toml --init {RUN}/model.safetensors --out begun"))
        .exits(0);
    fs::remove_dir_all(work.path("begun/.state")).unwrap();
    let begun = work.contents("begun");
    for (path, bytes) in &begun {
        work.write(Path::new(RUN).join(path), bytes);
    }
    work.rookie("grid my.toml").exits(0).says("held the result of another run");
    assert_eq!(work.contents("results/my/left_out/earlier3_lr0.1_decay0.5"), begun);
    // A model tells whose it is without a curve, and without a record.
    for missing in ["curve.csv", "run.toml"] {
        for again in ["grid my.toml", FRESH] {
            fs::remove_dir_all(work.path(RUN)).unwrap();
            merge();
            fs::remove_file(work.path(format!("{RUN}/{missing}"))).unwrap();
            work.rookie(again).exits(0);
            let aside = work.path("results/my/left_out/earlier4_lr0.1_decay0.5");
            assert!(!aside.join(missing).exists());
            let model = aside.join("model.safetensors");
            assert!(fs::read(model).unwrap() == other[Path::new("model.safetensors")]);
            fs::remove_dir_all(&aside).unwrap();
        }
    }
}

#[test]
fn what_is_no_refit_is_moved_aside_whole() {
    let work = Work::new();
    work.rookie(&format!("train {FLAGS} --out other")).exits(0);
    fs::remove_dir_all(work.path("other/.state")).unwrap();
    let other = work.contents("other");
    let grid = "grid my.toml --folds 3 --learning-rate 0.1 --lr-decay 0.5";
    work.rookie(grid).exits(0);
    for (kept, again) in
        [("refit", ""), ("left_out/refit", "--refit"), ("left_out/earlier1_refit", "--fresh --yes")]
    {
        let _ = fs::remove_dir_all(work.path("results/my/refit"));
        for (path, bytes) in &other {
            work.write(Path::new("results/my/refit").join(path), bytes);
        }
        work.rookie(&format!("{grid} {again}")).exits(0);
        assert_eq!(work.contents(&format!("results/my/{kept}")), other, "{again}");
    }
}

#[test]
fn files_of_others_in_a_results_folder_stay_whatever_their_names() {
    let work = Work::ranked();
    let names =
        [".ranking.csv.261127", ".report.html.Final1", ".settings.csv.v00002", "settings.csv"];
    for name in names {
        work.write(format!("results/my/{name}"), "mine");
    }
    for command in ["grid my.toml", "grid my.toml --seed 0,1", FRESH] {
        work.rookie(command).exits(0);
        let own = if command.contains("seed") { 3 } else { 4 };
        for name in &names[..own] {
            assert_eq!(work.text(format!("results/my/{name}")), "mine", "{command}: {name}");
        }
        work.write("results/my/settings.csv", "mine");
    }
    for lock in ["lock", "whole.lock"] {
        fs::remove_file(work.path(format!("results/my/.state/{lock}"))).unwrap();
        symlink(work.path("outside"), work.path(format!("results/my/.state/{lock}"))).unwrap();
        work.rookie("grid my.toml").exits(2).says(&format!("results/my/.state/{lock}: is a link"));
        assert!(!work.path("outside").exists());
        fs::remove_file(work.path(format!("results/my/.state/{lock}"))).unwrap();
    }
}

#[test]
fn a_copy_of_a_run_is_not_taken_up_after_starting_over() {
    let work = Work::ranked();
    let copy = work.contents(RUN);
    for (path, bytes) in &copy {
        work.write(Path::new("results/my/runs/backup").join(path), bytes);
    }
    work.rookie(FRESH).exits(0).says("training 6 runs");
    assert_eq!(work.contents("results/my/left_out/backup"), copy);
    let all = work.contents("results/my");
    // Nor may a grid be trained into what is there.
    for folder in ["left_out", "refit", "runs/new", "runs/lr0.1_decay0.5"] {
        for command in ["grid my.toml", "grid my.toml --shard 0/2", "grid my.toml --fresh --yes"] {
            let refused = work.rookie(&format!("{command} --out results/my/{folder}")).exits(2);
            refused.says("lies in the results folder");
        }
    }
    assert_eq!(work.contents("results/my"), all);
}

#[test]
fn a_grid_whose_folder_was_renamed_writes_nothing_into_the_one_in_its_place() {
    let work = Work::new();
    let running = work.start(ENDLESS);
    wait_until("a state is saved", || work.path("results/my/.state/stages").exists());
    work.rookie("grid my.toml --out other").exits(0);
    let stamps = work.stamps("other");
    let exchange = format!(
        "mv {0}/results/my {0}/results/old && mv {0}/other {0}/results/my",
        work.path("").display()
    );
    assert!(Command::new("sh").args(["-c", &exchange]).status().unwrap().success());
    let ended = running.end().exits(1);
    ended.says("results/my: cannot write: it is no longer the folder that this process has locked");
    assert_eq!(work.stamps("results/my"), stamps);
    // The one that was renamed goes on under its new name.
    let again = ENDLESS.replace("1,1000000", "1");
    work.rookie(&format!("{again} --out results/old")).exits(2).says("holds another grid (epochs");
}

#[test]
fn a_folder_that_is_replaced_between_the_check_and_the_change_is_left_alone() {
    let work = Work::new();
    if is_skipped("strace", has_program("strace")) {
        return;
    }
    work.rookie("grid my.toml --shard 0/1 --out other").exits(0);
    let grid = "grid my.toml";
    let slow = work.command(grid);
    // The first file that is removed is the one that only tries whether the folder can be written to; the
    // second is the plan of shards, of which this folder has none.
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "trace", "-e", "trace=unlink"]);
    strace.args(["-e", "inject=unlink:delay_enter=2000000:when=2"]);
    strace.arg(slow.get_program()).args(slow.get_args());
    strace.current_dir(work.path("")).env_remove("ROOKIE_DATA");
    let slow = Running::of(grid, strace, Stdio::piped());
    wait_until("it is about to remove", || {
        fs::read_to_string(work.path("trace")).is_ok_and(|trace| trace.contains("shards.csv"))
    });
    let stamps = work.stamps("other");
    fs::rename(work.path("results/my"), work.path("results/old")).unwrap();
    fs::rename(work.path("other"), work.path("results/my")).unwrap();
    slow.end().exits(1).says("it is no longer the folder that this process has locked");
    assert_eq!(work.stamps("results/my"), stamps);
}

#[test]
fn what_starting_over_removes_is_counted_and_asked_for_under_the_lock() {
    let work = Work::new();
    let mut running = work.start(ENDLESS);
    wait_until("a run has ended", || {
        work.path("results/my/runs").read_dir().is_ok_and(|mut runs| runs.next().is_some())
    });
    let asked = work.rookie(&format!("{ENDLESS} --fresh")).exits(2);
    asked.says("another rookie is writing into this folder");
    running.signal("TERM");
    running.end().exits(143);
    work.rookie(&format!("{ENDLESS} --fresh"))
        .exits(2)
        .says("--fresh: would remove 2 finished runs, ");
}

/// Starts a command that waits for two seconds before it locks its folder, and lets another end meanwhile.
#[track_caller]
fn end_before_it_locks(work: &Work, command: &str, folder: &str, other: &str) -> Ended {
    let slow = work.command(command);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "trace", "-e", "trace=flock"]);
    strace.args(["-e", "inject=flock:delay_enter=2000000"]);
    strace.arg(slow.get_program()).args(slow.get_args());
    strace.current_dir(work.path("")).env_remove("ROOKIE_DATA");
    let slow = Running::of(command, strace, Stdio::piped());
    wait_until("it is about to lock", || work.path(folder).join(".state/lock").exists());
    work.rookie(other).exits(0);
    let stamps = || {
        let mut stamps = work.stamps(folder);
        stamps.retain(|path, _| !path.starts_with(".state"));
        stamps
    };
    let before = stamps();
    let ended = slow.end();
    assert_eq!(stamps(), before);
    ended
}

#[test]
fn what_was_begun_while_another_waited_for_the_lock_is_left_alone() {
    let work = Work::new();
    if is_skipped("strace", has_program("strace")) {
        return;
    }
    let train = |folder: &str| format!("train {FLAGS} --out {folder}");
    let ended = end_before_it_locks(&work, &train("run"), "run", &train("run"));
    ended.exits(0).says("run holds this run already");
    let ended = end_before_it_locks(&work, &train("a"), "a", "grid my.toml --out a");
    ended.exits(2).says("a: holds a grid's results");
    for (folder, flags) in [("b", ""), ("c", " --shard 0/1")] {
        let grid = format!("grid my.toml --out {folder}{flags}");
        let ended = end_before_it_locks(&work, &grid, folder, &train(folder));
        ended.exits(2).says(&format!("{folder}: is not empty"));
    }
}

#[test]
fn a_file_that_is_a_link_keeps_its_target_and_mode_or_is_refused() {
    let work = Work::ranked();
    work.write("page.html", "mine");
    let foreign = work.rookie("report results/my --out page.html").exits(2);
    foreign.says("page.html: is there and was not written by this command; name another one with");
    assert_eq!(work.text("page.html"), "mine");
    work.rookie("report results/my").exits(0);
    fs::copy(work.path("results/my/report.html"), work.path("page.html")).unwrap();
    fs::set_permissions(work.path("page.html"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("page.html", work.path("link.html")).unwrap();
    work.rookie("report results/my --out link.html").exits(0);
    assert!(work.path("link.html").is_symlink());
    assert!(work.text("page.html").contains("<html"));
    assert_eq!(fs::metadata(work.path("page.html")).unwrap().mode() & 0o777, 0o640);

    symlink("nowhere.html", work.path("dangling.html")).unwrap();
    let told = "is a link to nowhere.html, which does not exist";
    work.rookie("report results/my --out dangling.html").exits(1).says(told);

    // A results folder is written to by its own process alone, so a link in it is refused.
    work.write("ranking.csv", "mine");
    fs::remove_file(work.path("results/my/ranking.csv")).unwrap();
    symlink("../../ranking.csv", work.path("results/my/ranking.csv")).unwrap();
    work.rookie("grid my.toml").exits(1).says("results/my/ranking.csv: cannot write: is a link");
    assert_eq!(work.text("ranking.csv"), "mine");
}

#[test]
fn a_folder_that_is_a_link_to_nothing_is_named_as_such() {
    let work = Work::new();
    symlink("nowhere", work.path("out")).unwrap();
    for command in [format!("train {FLAGS} --out out"), "grid my.toml --out out".into()] {
        let told = "out: found a link to nowhere, which does not exist, expected a folder";
        work.rookie(&command).exits(2).says(told);
    }
    assert!(!work.path("nowhere").exists());
}

#[test]
fn a_second_damaged_file_does_not_replace_the_first() {
    let work = Work::ranked();
    for (number, aside) in [(1, "run.toml.damaged"), (2, "run.toml.damaged-2")] {
        work.write(format!("{RUN}/run.toml"), format!("torn {number}"));
        work.rookie("grid my.toml").exits(0).says(&format!("renamed to {aside}"));
    }
    assert_eq!(work.text(format!("{RUN}/run.toml.damaged")), "torn 1");
    assert_eq!(work.text(format!("{RUN}/run.toml.damaged-2")), "torn 2");
}

#[test]
fn a_damaged_grid_file_is_written_anew_from_the_grid_that_the_runs_are_of() {
    let work = Work::ranked();
    let (whole, stamps) = (work.contents("results/my"), work.stamps("results/my/runs"));
    work.write("results/my/grid.toml", "[axes\n");
    let torn = work.contents("results/my");
    let told = "writes this file anew";
    for command in ["rank results/my", "report results/my", "grid my.toml --fresh --yes"] {
        work.rookie(command).exits(2).says("grid.toml:1: not TOML").says(told);
    }
    for (other, because) in [
        ("--learning-rate 0.1", "lr0.02_decay0.5 is not one of its runs"),
        ("--set epochs=7", "has other values (epochs"),
    ] {
        let refused = work.rookie(&format!("grid my.toml {other} --out results/my")).exits(2);
        refused.says("it is not written again from this grid, because ").says(because);
    }
    assert_eq!(work.contents("results/my"), torn, "nothing has changed");
    work.write(format!("{RUN}/run.toml"), "torn");
    work.rookie("grid my.toml").exits(2).says("lr0.1_decay0.5/run.toml:1 cannot be read");
    work.write(format!("{RUN}/run.toml"), &whole[Path::new("runs/lr0.1_decay0.5/run.toml")]);

    let told = "grid.toml:1: not TOML";
    let done = work.rookie("grid my.toml").exits(0).says(told).says("renamed to grid.toml.damaged");
    done.says("6 runs in results/my/ranking.csv");
    let kept = |mut it: BTreeMap<_, _>| {
        it.remove(Path::new("lr0.1_decay0.5/run.toml"));
        it
    };
    assert_eq!(kept(work.stamps("results/my/runs")), kept(stamps), "no run is trained again");
    assert_eq!(work.text("results/my/grid.toml.damaged"), "[axes\n");
    assert_eq!(work.bytes("results/my/grid.toml"), whole[Path::new("grid.toml")]);
    work.write("results/my/grid.toml", "");
    work.rookie("grid my.toml --shard 0/1").exits(0).says("renamed to grid.toml.damaged-2");
}

#[test]
fn a_grid_file_that_is_no_regular_file_is_set_aside_once_and_written_anew() {
    let work = Work::ranked();
    let grid = work.path("results/my/grid.toml");
    let whole = fs::read(&grid).unwrap();
    fs::remove_file(&grid).unwrap();
    assert!(Command::new("mkfifo").arg(&grid).status().unwrap().success());
    work.rookie("grid my.toml").exits(0).says("renamed to grid.toml.damaged and is written again");
    work.rookie("grid my.toml").exits(0).says("6 of 6 runs finished before");
    assert_eq!(fs::read(&grid).unwrap(), whole);
    assert!(!work.path("results/my/grid.toml.damaged-2").exists());
}

#[test]
fn whichever_change_fails_a_damaged_grid_file_can_be_written_anew() {
    let work = Work::ranked();
    let whole = work.text("results/my/grid.toml");
    for change in 1..20 {
        work.write("results/my/grid.toml", "torn");
        let failing = ("ROOKIE_FAIL_WRITE", &*change.to_string());
        if work.rookie_with(failing, "grid my.toml").code == Some(0) {
            assert!(change > 10, "no change failed");
        }
        work.rookie("grid my.toml").exits(0).says("6 of 6 runs finished before");
        assert_eq!(work.text("results/my/grid.toml"), whole);
    }
}

#[test]
fn checkpoints_of_another_grid_keep_a_damaged_grid_file_from_being_replaced() {
    let work = Work::new();
    let endless = "grid my.toml --jobs 1 --set epochs=1000000 --checkpoint-every 3";
    let mut running = work.start(endless);
    work.wait_for_checkpoint("results/my/.state/stages");
    running.signal("KILL");
    drop(running.end());
    work.write("results/my/grid.toml", "torn");
    let states = work.contents("results/my/.state/stages");
    work.rookie("grid my.toml").exits(2).says(".checkpoint is of another run");
    assert_eq!(work.contents("results/my/.state/stages"), states);
    let mut running = work.start(endless);
    running.wait_until_it_catches_signals();
    running.signal("TERM");
    running.end().exits(143).says("grid.toml.damaged").says("in progress, ");
}

#[test]
fn a_run_does_not_replace_the_model_that_it_starts_from() {
    let work = Work::new();
    work.rookie(&format!("train {FLAGS} --out first")).exits(0);
    // Without its record, the folder is not known as another run's.
    fs::remove_file(work.path("first/run.toml")).unwrap();
    let before = work.contents("first");
    let longer = FLAGS.replace("--epochs 6", "--epochs 7");
    let again = format!("train {longer} --init first/model.safetensors --out first");
    for (command, told) in [
        (again.clone(), "first: holds files of a run without a run.toml"),
        (format!("{again} --fresh"), "first: holds the model to start from, which the run"),
    ] {
        work.rookie(&command).exits(2).says(told);
        assert_eq!(work.contents("first"), before);
    }
}

#[test]
fn a_run_is_not_trained_into_a_folder_of_other_things() {
    let work = Work::new();
    work.write("home/letters.txt", "mine");
    let train = format!("train {FLAGS} --out home");
    for flags in ["", "--fresh"] {
        let told = "home: is not empty (letters.txt) and has no run.toml";
        work.rookie(&format!("{train} {flags}")).exits(2).says(told);
    }
    assert_eq!(work.contents("home").len(), 1);
}

#[test]
fn nothing_is_needed_of_proc() {
    let work = Work::new();
    let program = assert_cmd::cargo::cargo_bin!("rookie").display().to_string();
    let within = |script: &str| {
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs none /proc && {script}");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
        command.current_dir(work.path("")).env_remove("ROOKIE_DATA");
        command
    };
    let can = within("true").output().is_ok_and(|output| output.status.success());
    if is_skipped("user namespaces", can) {
        return;
    }
    let train = format!("train {FLAGS} --out run");
    Ended::of(&train, within(&format!("{program} {train}"))).exits(0);
    assert!(work.path("run/run.toml").exists());
}
