//! The machine's limits: memory, address space, file sizes, and files that never end. What does not fit is
//! said before it is begun, and costs no other run.

#[path = "support/arrays.rs"]
mod arrays;
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use arrays::{archive, bytes, floats};
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

/// A row of a table with the columns `a`, `b` and `y`.
fn row_of_numbers(row: usize) -> String {
    format!("{row}.5,{},{}\n", row % 7, row % 2)
}

/// A work folder with a model of a table with the columns `a` and `b`.
fn trained_on_rows() -> Work {
    let work = Work::new();
    let rows: String = (0..60).map(row_of_numbers).collect();
    work.write("small.csv", format!("a,b,y\n{rows}"));
    work.rookie("train --data small.csv --hidden 4 --epochs 1 --out rows").exits(0);
    work
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

#[test]
fn memory_that_ends_while_data_are_read_is_one_sentence_that_names_the_file() {
    let work = Work::new();
    let rows: String = (0..600_000).map(row_of_numbers).collect();
    work.write("t.csv", format!("a,b,y\n{rows}"));
    let numbers: Vec<f32> = (0..1_200_000).map(|number| number as f32).collect();
    let labels: Vec<u8> = (0..600_000).map(|row| row as u8 % 2).collect();
    let x = floats("(600000, 2)", &numbers);
    let y = bytes("(600000,)", &labels);
    work.write("x.npz", archive(&[("x", x.clone()), ("y", y.clone())]));
    work.write("x.npy", x);
    work.write("y.npy", y);
    for command in ["split --data t.csv", "split --data x.npz", "split --data x.npy --labels y.npy"]
    {
        let file = command.split(' ').find(|word| word.contains("t.csv") || word.contains("x.np"));
        let told = format!("rookie: {}: found no memory for ", file.unwrap());
        let ended = |kib: usize| limited(&work, &format!("ulimit -v {kib}"), command);
        let ended: Vec<Ended> = (80_000..440_000).step_by(12_000).map(ended).collect();
        let end = "; close other programs, or raise the limit (ulimit -v)\n";
        let lacking = |it: &&Ended| it.stderr.starts_with(&told);
        assert!(ended.iter().any(|it| lacking(&it)), "{command}: {:?}", ended[0].stderr);
        for it in &ended {
            let is_told = it.code == Some(1) && it.stderr.lines().count() == 1;
            let is_told = is_told && it.stderr.ends_with(end);
            assert!(!lacking(&it) || is_told, "{command}: {:?} {}", it.code, it.stderr);
            assert!(it.code.is_some_and(|code| code < 128), "{command}: {}", it.stderr);
        }
    }
}

#[test]
fn categories_that_are_too_many_for_memory_are_refused_with_the_column_that_has_most() {
    let work = Work::new();
    let row = |row: usize| format!("a{},b{},{}\n", row % 6000, row % 5000, row % 2);
    let rows: String = (0..12_000).map(row).collect();
    work.write("t.csv", format!("many,b,y\n{rows}"));
    let ended = limited(&work, "ulimit -v 600000", "train --data t.csv --out run").exits(1);
    let ended =
        ended.says("t.csv: found 12000 rows of 11000 features, which need about 528 MB of ");
    let ended = ended.says("memory, but RLIMIT_AS (ulimit -v) leaves ");
    ended.says("; the column `many` has 6000 categories: leave it out with --ignore many");
    assert!(!work.path("run").exists());
}

#[test]
fn standard_input_that_is_no_table_or_image_is_refused_before_it_is_read_to_the_end() {
    let work = trained_on_rows();
    work.rookie(&format!("train {FLAGS} --out images")).exits(0);
    for (model, found) in [
        ("rows", "standard input: found a longer header row, expected at most 16 MiB"),
        ("images", "standard input: byte 0: found type 0x00, expected"),
    ] {
        let predict = format!("predict {model}/model.safetensors - </dev/zero");
        limited(&work, "ulimit -v 400000", &predict).exits(2).says(found);
    }
    // What is missing in the header row is said at once too.
    let predict = "predict rows/model.safetensors -";
    let program = assert_cmd::cargo::cargo_bin!("rookie").display().to_string();
    let mut command = Command::new("sh");
    let script = format!("yes a,c | (ulimit -v 400000; exec {program} {predict})");
    command.args(["-c", &script]).current_dir(work.path(""));
    Ended::of(&script, command).exits(2).says("found no column `b`, which the model needs");
}
