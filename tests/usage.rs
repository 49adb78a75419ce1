//! A command that is used in a way which it does not have answers with one that it has.

mod support;

use std::process::Command;

use support::{DATA, Ended, TEST_IMAGES, Work};

/// Quick flags for [`fruit`].
const QUICK: &str = "--label fruit --ignore name --hidden 8 --epochs 2";

/// A table of so many rows, in which the classes alternate.
fn fruit(rows: usize, classes: [&str; 3]) -> String {
    let row = |row: usize| format!("n{row},{row}.5,{},{}\n", row % 3, classes[row % 3]);
    "name,a,b,fruit\n".to_string() + &(0..rows).map(row).collect::<String>()
}

/// A shell's command, in which `rookie` is this program.
fn shell(work: &Work, script: &str) -> Ended {
    let program = assert_cmd::cargo::cargo_bin!("rookie").display().to_string();
    let mut command = Command::new("bash");
    command.args(["-c", &format!("rookie() {{ {program} \"$@\"; }}; {script}")]);
    command.current_dir(work.path("")).env_remove("ROOKIE_DATA");
    Ended::of(script, command)
}

#[test]
fn a_wrong_argument_is_answered_with_what_is_meant() {
    let work = Work::trained();
    work.write("fruit.csv", fruit(60, ["apple", "pear", "plum"]));
    work.write("list.toml", "[axes]\nlearning_rate = 0.1, 0.2\n");
    for (arguments, hint) in [
        ("predict run/model.safetensors x --out p.csv", "write `> FILE`"),
        ("train --folds 5", "`rookie grid` has --folds"),
        ("train --data fruit.csv -label fruit", "write --label, with two dashes"),
        ("train --test-size -1", "--test-size: found `-1`"),
        ("train --test-seed -1", "invalid value '-1' for '--test-seed <N>'"),
        ("rank run --top -1", "-1 is not in 1.."),
        ("train --learning-rate 1e308", "a number above 0, at most 3.4e38 (as float32)"),
        ("grid my.toml --seed 1-3", "; separate values by commas"),
        ("grid my.toml --hidden 300x200", "; separate values by commas"),
        ("grid list.toml", "; write several values as a list, [0.1, 0.2]"),
        ("train fruit.csv", "; name data with --data fruit.csv"),
        ("rank run/run.toml", "found a file, expected a results folder"),
        ("rank run/run.toml", "; name its folder, run"),
        ("predict my.toml run/model.safetensors", "my.toml"),
        ("predict fruit.csv run/model.safetensors", "; the model comes first"),
        ("predict run/model.safetensors fruit.csv", "because the model is of images"),
    ] {
        work.rookie(arguments).exits(2).says(hint);
    }
    work.rookie("export run/model.safetensors --to onnx").exits(0);
    let exported = work.rookie("evaluate run/model.onnx").exits(2);
    exported.says("; name the model.safetensors that it was exported from");
    let spaced = shell(&work, "rookie grid my.toml --learning-rate '0.1 0.05'").exits(2);
    spaced.says("; separate values by commas");
    work.rookie("grid my.toml").exits(0);
    let resumed = "to resume it, run `rookie grid results/my/grid.toml --out results/my`";
    work.rookie("grid results/my").exits(2).says(resumed);
    work.rookie("help grid").exits(0).prints("Usage: rookie grid");
}

#[test]
fn a_model_is_also_named_by_the_folder_of_its_run() {
    let work = Work::trained();
    for (by_folder, by_file) in [
        ("evaluate run", "evaluate run/model.safetensors"),
        (
            &*format!("predict run {DATA}/{TEST_IMAGES}"),
            &*format!("predict run/model.safetensors {DATA}/{TEST_IMAGES}"),
        ),
    ] {
        let [folder, file] = [by_folder, by_file].map(|it| work.rookie(it).exits(0).stdout);
        assert_eq!(folder, file);
    }
    work.rookie("plot weights run --out figures").exits(0);
    work.rookie("evaluate results").exits(2);
}

#[test]
fn a_table_from_a_pipe_is_read_from_standard_input() {
    let work = Work::new();
    work.write("fruit.csv", fruit(60, ["apple", "pear", "plum"]));
    work.rookie(&format!("train --data fruit.csv {QUICK} --out fruit")).exits(0);
    let piped = shell(&work, "rookie predict fruit <(cat fruit.csv)").exits(2);
    piped.says("found a pipe, expected a table; name - to read standard input");
    shell(&work, "rookie predict fruit - < <(cat fruit.csv)").exits(0);
}

#[test]
fn classes_that_differ_are_printed_differently_and_as_in_the_header() {
    let work = Work::new();
    work.write("odd.csv", fruit(60, ["=x", "'=x", "+5x"]));
    let flags = "--label fruit --ignore name --hidden 8 --epochs 60 --out odd";
    work.rookie(&format!("train --data odd.csv {flags}")).exits(0);
    let predicted = work.rookie("predict odd odd.csv --id name").exits(0).stdout;
    let header = predicted.lines().next().unwrap();
    assert_eq!(header, "name,prediction,p_''=x,p_'+5x,p_'=x");
    let mut cells: Vec<&str> =
        predicted.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    cells.sort_unstable();
    cells.dedup();
    assert_eq!(cells, ["''=x", "'+5x", "'=x"]);
}

#[test]
fn evaluate_tells_how_few_rows_of_another_file_it_draws_and_how_to_measure_all() {
    let work = Work::new();
    let classes = ["apple", "pear", "plum"];
    work.write("fruit.csv", fruit(120, classes));
    work.write("new.csv", fruit(60, classes));
    work.rookie(&format!("train --data fruit.csv {QUICK} --out fruit")).exits(0);
    let drawn = work.rookie("evaluate fruit --data new.csv").exits(0);
    let told = "12 of its 60 rows were drawn as test rows and measured: to measure all, run `rookie evaluate \
                fruit/model.safetensors --data TRAIN --test new.csv`";
    drawn.says(told);
    let all = work.rookie("evaluate fruit --data fruit.csv --test new.csv").exits(0);
    all.prints("60 rows");
}

#[test]
fn data_that_were_only_read_otherwise_are_named_with_the_option() {
    let work = Work::new();
    work.write("fruit.csv", fruit(60, ["apple", "pear", "plum"]).replace("n7,7.5", "n7,"));
    let told = "was trained on the same data read with other options: found --missing mean, expected --missing median";
    work.write("one.toml", "[axes]\nseed = [1, 2]\n");
    for command in ["train", "grid one.toml"] {
        let train = format!("{command} --data fruit.csv {QUICK} --out {}", &command[..4]);
        work.rookie(&format!("{train} --missing mean")).exits(0);
        let other = work.rookie(&format!("{train} --missing median")).exits(2);
        other.says(told);
    }
    let train = format!("train --data fruit.csv {QUICK} --missing median --out other");
    work.rookie(&train).exits(0);
    let ranked = work.rookie("rank trai other").exits(2);
    ranked.says("found --missing median, expected --missing mean, as trai has");
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_a_closed_pipe_keeps_the_exit_code() {
    let work = Work::ranked();
    for arguments in ["--help", "--version", "grid --help", "completions bash"] {
        let full = shell(&work, &format!("rookie {arguments} >/dev/full")).exits(1);
        full.says("standard output: No space left");
    }
    work.write("results/my/runs/lr0.1_decay0.5/run.toml", "broken");
    for command in ["rank", "compare", "audit"] {
        // It begins after its reader has gone.
        let script = format!("{{ sleep 0.3; rookie {command} results/my; }} | true");
        shell(&work, &format!("set -o pipefail; {script}")).exits(1).says("left out: ");
    }
}
