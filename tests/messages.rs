//! What messages say is so: of files that are missing or damaged, of rows that match nothing, of values in
//! the wrong place, of one thing and of several.

mod support;

use std::fs;

use support::{DataSet, FLAGS, PREDICTIONS, SMALL, Work};

const RUN: &str = "results/my/runs/lr0.1_decay0.5";

#[test]
fn a_finished_run_without_its_model_is_not_named_as_if_it_had_one() {
    let work = Work::trained();
    let train = format!("train {FLAGS} --out run");
    work.rookie(&train).exits(0).says("curve, model, predictions and values are in run");
    fs::remove_file(work.path("run/model.safetensors")).unwrap();
    work.rookie(&train).exits(0).says("curve, predictions and values are in run");
    let grid = "grid my.toml --learning-rate 0.1 --lr-decay 0.5";
    let model = "results/my/runs/lr0.1_decay0.5/model.safetensors";
    work.rookie(grid).exits(0).says(&format!("best by validation: {model}"));
    fs::remove_file(work.path(model)).unwrap();
    let told = format!("best by validation: {RUN}, whose model is missing");
    work.rookie(grid).exits(0).says(&told).says("1 of 1 run finished before; 0 left");
}

#[test]
fn a_file_that_is_left_out_is_told_from_its_run_that_counts() {
    let work = Work::ranked();
    let curve = work.text(format!("{RUN}/curve.csv"));
    let shorter: Vec<&str> = curve.lines().take(3).collect();
    work.write(format!("{RUN}/curve.csv"), shorter.join("\n"));
    let before = work.rookie("rank results/my --format csv").exits(0).stdout;
    let compared = work.rookie("compare results/my --format csv").exits(1);
    let told =
        format!("left out: {RUN}/curve.csv: found 2 epochs, expected 6, as its run.toml says");
    let compared =
        compared.says(&told).says("; its run counts, but whether it collapsed is not known");
    assert_eq!(compared.stdout.lines().count(), before.lines().count());
    work.write(format!("{RUN}/curve.csv"), curve);
    fs::remove_file(work.path(format!("{RUN}/model.safetensors"))).unwrap();
    work.write(format!("{RUN}/{PREDICTIONS}"), "no gzip");
    let compared = work.rookie("compare results/my").exits(1);
    compared.says("; its run counts, but by its accuracy alone, not image by image");
}

#[test]
fn rows_of_published_accuracies_that_match_no_run_are_named() {
    let work = Work::ranked();
    work.write(
        "known.csv",
        "learning_rate,lr_decay,test_accuracy\n0.10,0.5,0.9\n0.3,0.5,0.9\n\n0.1,0.8,0.9\n0.1,0.7,0.9\n",
    );
    let compared = work.rookie("compare results/my --reference known.csv").exits(0);
    compared.says("known.csv: no run has the values of lines 3, 6\n");
    let rows: Vec<String> = (1..=13).map(|row| format!("{row},0.5,0.9")).collect();
    let rows = rows.join("\n");
    work.write("known.csv", format!("learning_rate,lr_decay,test_accuracy\n0.1,0.5,0.9\n{rows}"));
    let compared = work.rookie("compare results/my --reference known.csv").exits(0);
    compared.says("no run has the values of lines 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 3 more\n");
}

#[test]
fn no_hidden_layer_is_a_value_by_itself_and_no_choice_beside_widths() {
    let work = Work::new();
    let told =
        "`none` means no hidden layer and stands alone, not beside widths; a grid file can list";
    for choices in ["none/16", "16,none", "none,none", "16, none/8"] {
        let mut command = work.command("grid my.toml --dry-run --hidden");
        command.arg(choices);
        support::Ended::of(choices, command).exits(2).says(&format!("--hidden: {told}"));
    }
    let set = "grid my.toml --dry-run --set hidden=none/16";
    work.rookie(set).exits(2).says(&format!("--set hidden: {told}"));
    work.rookie("grid my.toml --dry-run --set hidden=none").exits(0).prints("6 epochs");
    let help = work.rookie("train --help").exits(0).stdout;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("or none ([] in a file);"), "{help}");
}

#[test]
fn a_switch_takes_its_value_after_an_equals_sign_and_says_so() {
    let work = Work::new();
    for (command, value) in [("train", "true"), ("grid", "true,false")] {
        let ended = work.rookie(&format!("{command} --reshuffle {value}")).exits(2);
        let told = "the value of this flag follows an equals sign; write --reshuffle=";
        ended.says(&format!("--reshuffle {value}: {told}{value}"));
    }
    work.rookie("train true").exits(2).says("true: cannot read: No such file");
}

#[test]
fn a_negative_value_is_refused_as_a_value() {
    let work = Work::new();
    for flag in ["--data-seed", "--batch-size", "--validation-size"] {
        work.rookie(&format!("split {flag} -1")).exits(2).says(&format!("{flag}: found `-1`"));
    }
}

#[test]
fn one_thing_is_not_named_as_several() {
    let work = Work::trained();
    work.write_data("one", DataSet { height: 1, width: 1, ..SMALL });
    let refused = work.rookie("evaluate run/model.safetensors --data one").exits(2);
    refused
        .says("found a model for 30 pixels and 3 classes, expected one for 1 pixel and 3 classes,");
}

#[test]
fn titles_of_columns_begin_with_a_capital_letter() {
    let work = Work::ranked();
    work.rookie("grid my.toml --out sizes --batch-size 16,32 --seed 1,2").exits(0);
    for command in ["rank sizes", "compare sizes", "rank sizes --format markdown"] {
        let table = work.rookie(command).exits(0).stdout;
        let header: Vec<&str> =
            table.lines().take_while(|line| !line.contains(['─', '-'])).collect();
        let header = header.join("\n");
        for title in ["Batch size", "LR"] {
            assert!(header.contains(title), "{command}: no `{title}` in\n{header}");
        }
    }
    work.rookie("rank sizes").exits(0).prints("Seed");
}
