//! The machine's limits: memory, address space, file sizes, and files that never end. What does not fit is
//! said before it is begun, and costs no other run.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{DATA, DataSet, Ended, FLAGS, SMALL, TRAIN_IMAGES, Work, wait_until};

/// Six small runs, and one of 240 million weights: 5.8 GB with a checkpoint.
const ONE_IS_LARGE: &str = "\
[values]
batch_size = 32
validation_size = 50
epochs = 2
[[runs]]
hidden = [40000, 6000]
[[runs]]
hidden = [16, 12]
[[runs]]
hidden = [8]
";

/// A command under limits of the shell, such as `ulimit -v 700000`.
fn limited(work: &Work, limit: &str, arguments: &str) -> Ended {
    let program = assert_cmd::cargo::cargo_bin!("rookie").display().to_string();
    let script = format!("{limit}; exec {program} {arguments}");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(work.path("")).env_remove("ROOKIE_DATA");
    Ended::of(&script, command)
}

#[test]
fn a_run_that_is_too_large_for_memory_fails_alone_with_what_it_needs_and_what_there_is() {
    let work = Work::new();
    work.write("large.toml", ONE_IS_LARGE);
    let problem = "needs about 6.0 GB of memory";
    for jobs in [1, 2] {
        let grid = format!("grid large.toml --jobs {jobs} --out jobs{jobs}");
        let ended = limited(&work, "ulimit -v 1500000", &grid).exits(1);
        ended.says(&format!("failed: {problem}")).says("but RLIMIT_AS (ulimit -v) leaves 1.");
        let status = work.csv(format!("jobs{jobs}/ranking.csv"));
        assert_eq!(status.column("status"), ["done", "done", "failed"]);
        let record = work.toml(format!("jobs{jobs}/runs/h40000-6000/run.toml"));
        assert!(record["reason"].as_str().unwrap().starts_with(problem), "{record:?}");
    }
    let planned = limited(&work, "ulimit -v 1500000", "grid large.toml --dry-run").exits(0);
    planned.prints("; 1 run too large even alone").prints("(RLIMIT_AS (ulimit -v) leaves 1.");
    let train = "train --hidden 40000,6000 --batch-size 32 --validation-size 50 --out run";
    let ended = limited(&work, "ulimit -v 1500000", train).exits(1);
    ended.prints(&format!("failed: {problem}"));
    assert_eq!(work.toml("run/run.toml")["status"].as_str(), Some("failed"));
}

#[test]
fn workers_are_lowered_to_those_that_openblas_has_room_for_or_refused_with_the_numbers() {
    let work = Work::new();
    for (limit, jobs, workers) in [(700_000, 6, 2), (500_000, 6, 1), (700_000, 2, 2)] {
        let grid = format!("grid my.toml --jobs {jobs} --out limit{limit}-{jobs}");
        let ended = limited(&work, &format!("ulimit -v {limit}"), &grid).exits(0);
        let ended = ended.says(&format!("epochs with {workers} worker"));
        if workers < jobs {
            ended.says(&format!("because {jobs} need about 1.3 GB, but RLIMIT_AS "));
        }
    }
    let bench = limited(&work, "ulimit -v 700000", "bench --jobs 9 --seconds 1").exits(1);
    bench.says("9 threads that multiply need about 1.7 GB, but ").says("RLIMIT_AS (ulimit -v)");
    let none = limited(&work, "ulimit -v 120000", &format!("train {FLAGS} --out none")).exits(1);
    none.says("OpenBLAS needs 134 MB to multiply, but ").says("RLIMIT_AS (ulimit -v)");
    let data = limited(&work, "ulimit -d 100000", &format!("train {FLAGS} --out none")).exits(1);
    data.says("OpenBLAS needs 134 MB to multiply, but ").says("RLIMIT_DATA (ulimit -d)");
    // What multiplies nothing needs none of it.
    work.rookie("grid my.toml").exits(0);
    limited(&work, "ulimit -v 120000", "rank results/my").exits(0);
}

#[test]
fn memory_that_ends_while_a_model_is_read_is_one_sentence() {
    let work = Work::new();
    work.rookie(
        "train --hidden 4000,3000 --batch-size 32 --validation-size 50 --epochs 1 --out large",
    )
    .exits(0);
    let evaluate = "evaluate large/model.safetensors";
    // From a limit that the file does not fit under to one that is enough.
    let ended = |kib: usize| limited(&work, &format!("ulimit -v {kib}"), evaluate);
    let ended: Vec<Ended> = (200_000..400_000).step_by(12_000).map(ended).collect();
    for it in &ended {
        let is_told = it.stderr.starts_with("rookie: ") && it.stderr.lines().count() == 1;
        assert!(it.code == Some(0) || is_told, "{:?}: {}", it.code, it.stderr);
    }
    let is_lack = |it: &&Ended| it.stderr.contains("found no memory for");
    assert_eq!(ended.iter().find(is_lack).expect("it is between the two").code, Some(1));
    assert_eq!(ended.last().unwrap().code, Some(0));
}

#[test]
fn the_memory_that_is_needed_and_there_is_is_told_before_training() {
    let work = Work::new();
    work.rookie("grid my.toml --dry-run").exits(0).prints("memory            about ");
    work.rookie("grid my.toml").exits(0).says("; memory: about ").says("(free memory is ");
}

#[test]
fn a_dry_run_counts_the_time_to_write_and_leaves_nothing() {
    let work = Work::new();
    let before = work.contents("");
    let planned = work.rookie("grid my.toml --dry-run").exits(0);
    planned.prints("\nwriting ").prints(" runs/s measured in the results folder\n");
    assert_eq!(work.contents(""), before);
    work.rookie("grid my.toml").exits(0).says(" of it and writing for ");
}

#[test]
fn a_run_in_whose_beginning_a_process_was_killed_comes_last_in_the_next_one() {
    let work = Work::new();
    // So large that its first epoch takes a while.
    work.write_data(DATA, DataSet { train: 20_000, height: 28, width: 28, ..SMALL });
    let grid = "grid my.toml --jobs 1 --learning-rate 0.2,0.1 --lr-decay 0.5 --set epochs=1 \
                --hidden 600,600";
    let mut running = work.start(grid);
    let note = work.path("results/my/.state/begun-all-0");
    wait_until("a run begins", || fs::read_to_string(&note).is_ok_and(|text| !text.is_empty()));
    running.signal("KILL");
    running.end();
    assert_eq!(fs::read_to_string(&note).unwrap(), "lr0.2_decay0.5");
    work.rookie(&grid.replace("600,600", "600,600 --epochs 1")).exits(2);
    work.rookie(grid).exits(0);
    assert!(!note.exists());
    let ended = |run: &str| {
        let record = work.path(format!("results/my/runs/{run}_decay0.5/run.toml"));
        fs::metadata(record).unwrap().modified().unwrap()
    };
    assert!(ended("lr0.1") < ended("lr0.2"), "the one that was begun comes last");
}

#[test]
fn a_limit_on_file_sizes_is_an_error_that_names_the_file() {
    let work = Work::trained();
    let train = format!("train {} --out limited", FLAGS.replace("16,12", "300"));
    let ended = limited(&work, "ulimit -f 8", &train).exits(1);
    ended.says("rookie: limited/").says("cannot write: File too large");
    let evaluate = "evaluate run/model.safetensors --csv csv";
    limited(&work, "ulimit -f 0", evaluate)
        .exits(1)
        .says("csv/classes.csv: cannot write: File too");
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let work = Work::ranked();
    work.rookie(&format!("train {FLAGS} --out run")).exits(0);
    let fifo = work.path("pipe");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    symlink(&fifo, work.path("link")).unwrap();
    symlink("/dev/zero", work.path("zero")).unwrap();
    let refused = |arguments: &str, path: &str, found: &str| {
        let begun = Instant::now();
        let ended = work.rookie(arguments).says(&format!("{path}: found {found}, expected "));
        ended.check(begun.elapsed() < Duration::from_secs(5), "it does not wait");
    };
    for (file, found) in [("pipe", "a pipe"), ("link", "a pipe"), ("zero", "a device")] {
        refused(&format!("grid {file}"), file, found);
        refused(&format!("train {file}"), file, found);
        refused(&format!("evaluate {file}"), file, found);
        refused(&format!("train --init {file}"), file, found);
        refused(&format!("predict run/model.safetensors {file}"), file, found);
        refused(&format!("compare run --reference {file}"), file, found);
    }
    let replace = |path: &str| {
        let path = work.path(path);
        fs::rename(&path, path.with_extension("aside")).unwrap();
        symlink(&fifo, &path).unwrap();
    };
    let back = |path: &str| {
        let path = work.path(path);
        fs::rename(path.with_extension("aside"), &path).unwrap();
    };
    let of_run = "results/my/runs/lr0.1_decay0.5";
    for (path, arguments) in [
        (format!("{DATA}/{TRAIN_IMAGES}"), "train --out other"),
        ("results/my/grid.toml".into(), "rank results/my"),
        (format!("{of_run}/run.toml"), "rank results/my"),
        ("run/curve.csv".into(), "plot curves run --out figures"),
        ("run/test_predictions.csv.gz".into(), "compare run"),
    ] {
        replace(&path);
        refused(arguments, &path, "a pipe");
        back(&path);
    }
    // What would be trained again is set aside.
    replace(&format!("{of_run}/run.toml"));
    work.rookie("grid my.toml").exits(0).says("found a pipe").says("renamed to run.toml.damaged");
    assert!(Path::new(&fifo).exists());
}

#[test]
fn without_threads_the_calling_thread_does_the_work() {
    let work = Work::new();
    let grid = "grid my.toml --epochs 2 --jobs 2 --out";
    let expected = work.rookie(&format!("{grid} there")).exits(0).stdout;
    // A stack that no address space has room for.
    let limit = "export RUST_MIN_STACK=100000000000000000";
    let ended = limited(&work, limit, &format!("{grid} here")).exits(0);
    let ended = ended.says("training with 1 worker: cannot start 2 threads: ");
    assert_eq!(ended.stdout, expected);
    assert_eq!(work.reproducible("here/runs"), work.reproducible("there/runs"));
    limited(&work, limit, &format!("train {FLAGS} --out run")).exits(0);
    for command in ["rank here", "compare here", "ensemble here --top 2", "plot grid here"] {
        limited(&work, limit, command).exits(0);
    }
    let bench = limited(&work, limit, "bench --jobs 2 --seconds 1").exits(1);
    bench.says("cannot start ").says("; lower --jobs or raise the limit");
}
