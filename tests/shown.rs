//! What comparisons, reports and figures show is so: nothing is averaged, left out or replaced without a word.

mod support;

use std::fs;
use std::process::Command;

use serde_json::Value;
use support::{Csv, FLAGS, Work, has_program, is_skipped, wait_until};

const RUN: &str = "results/my/runs/lr0.1_decay0.5";

/// What the script of a report reads.
fn data_of(work: &Work, page: &str) -> Value {
    let html = work.text(page);
    let start = "<script type=\"application/json\" id=\"data\">";
    let data = html.split_once(start).unwrap().1.split_once("</script>").unwrap().0;
    serde_json::from_str(data).unwrap()
}

#[test]
fn published_accuracies_are_averaged_over_seeds_alone_and_all_that_is_wrong_is_named() {
    let work = Work::ranked();
    let compare = "compare results/my --reference r.csv --format csv";
    for (text, problem) in [
        (
            "learning_rate,lr_deacy,test_accuracy\n0.1,0.5,0.9\n0.1,0.8,0.5\n",
            "r.csv:1: unknown column `lr_deacy`; did you mean `lr_decay`?",
        ),
        (
            "learning_rate,test_accuracy\n0.1,0.9\n0.10,0.5\n",
            "r.csv:3: found the values of line 2 again, expected rows that differ in a hyper-parameter or in \
             seed; remove one of them",
        ),
        (
            "learning_rate,test_accuracy\nabc,0.9\n",
            "r.csv:2: found learning_rate = abc, expected a number",
        ),
        (
            "learning_rate,hidden_1,test_accuracy\n0.1,x,0.9\n",
            "found hidden_1 = x, expected the width",
        ),
        ("", "r.csv: found an empty file, expected columns of ranking.csv"),
    ] {
        work.write("r.csv", text);
        work.rookie(compare).exits(2).says(problem);
    }
    for text in [
        "learning_rate;lr_decay;seed;test_accuracy\n0.1;0.5;0;0.9\n0.1;0.5;1;0.5\n",
        "learning_rate,lr_decay,seed,test_accuracy\n0.1,0.5,0,0.9\n0.1,0.5,1,0.5\n",
    ] {
        work.write("r.csv", text);
        let compared = Csv::parse(&work.rookie(compare).exits(0).stdout);
        let published = compared.column("published_test_accuracy");
        assert!(published.contains(&"0.700000"), "{published:?}");
    }
}

#[test]
fn a_diverged_run_whose_curve_goes_on_is_named_by_compare() {
    let work = Work::ranked();
    let record = work.text(format!("{RUN}/run.toml"));
    let is_score = |line: &&str| {
        ["train_", "validation_loss", "validation_acc", "test_", "best_epoch"]
            .iter()
            .any(|it| line.starts_with(it))
    };
    let diverged: Vec<&str> = record.lines().filter(|line| !is_score(line)).collect();
    let diverged = diverged
        .join("\n")
        .replace("status = \"done\"", "status = \"diverged\"\ndiverged_epoch = 3");
    work.write(format!("{RUN}/run.toml"), diverged);
    let told =
        format!("left out: {RUN}/curve.csv: found 6 epochs, expected 3, as its run.toml says");
    work.rookie("compare results/my")
        .exits(1)
        .says(&told)
        .says("its run counts, but whether it diverged is not known");
}

#[test]
fn a_report_escapes_what_records_say() {
    let work = Work::ranked();
    let path = format!("{RUN}/run.toml");
    let record = work.text(&path);
    let evil = "commit = \"\\u001b[31mred\\u202e\"";
    let commit = record.lines().find(|line| line.starts_with("commit = "));
    let changed = match commit {
        Some(line) => record.replace(line, evil),
        None => record.replace("[provenance]", &format!("[provenance]\n{evil}")),
    };
    work.write(&path, changed);
    work.rookie("report results/my").exits(0);
    let page = work.text("results/my/report.html");
    assert!(page.contains("\\u{1b}[31mred\\u{202e}"), "it is shown escaped");
    assert!(!page.contains(['\u{1b}', '\u{202e}']), "and not raw");
}

#[test]
fn a_report_ranks_runs_as_ranking_csv_does() {
    let work = Work::ranked();
    work.rookie("report results/my").exits(0);
    let data = data_of(&work, "results/my/report.html");
    let runs = data["runs"].as_array().unwrap();
    let ranking = work.csv("results/my/ranking.csv");
    let ranks: Vec<String> = runs.iter().map(|run| run["rank"].to_string()).collect();
    assert_eq!(ranks, ranking.column("rank"));
}

#[test]
fn a_watched_report_replaces_no_file_of_others_and_tells_what_was_left_out() {
    let work = Work::ranked();
    let record = work.text(format!("{RUN}/run.toml"));
    fs::remove_file(work.path(format!("{RUN}/run.toml"))).unwrap();
    let watching = work.start("report results/my --watch");
    let page = "results/my/report.html";
    wait_until("it is written", || work.path(page).exists());
    work.write(page, "a letter");
    work.write(format!("{RUN}/run.toml"), &record);
    watching.end().exits(2).says("report.html: is there and was not written by this command");
    assert_eq!(work.text(page), "a letter");
    fs::remove_file(work.path(page)).unwrap();
    work.write("results/my/runs/other/run.toml", record);
    work.rookie("report results/my").exits(1).says("grid.toml does not have this run");
    work.rookie("report results/my --watch").exits(1).says("is complete");
}

#[test]
fn damaged_predictions_make_the_exit_code_1_whatever_is_said_after_them() {
    let work = Work::ranked();
    work.rookie("ensemble results/my --top 2").exits(0);
    let best = work.rookie("rank results/my --by validation --format csv").exits(0).stdout;
    let best = format!("results/my/runs/{}", Csv::parse(&best).column("run")[0]);
    let predictions = work.path(&best).join(support::PREDICTIONS);
    let whole = fs::read(&predictions).unwrap();
    fs::write(&predictions, &whole[..20]).unwrap();
    for command in [&format!("plot errors {best}"), "ensemble results/my --top 2"] {
        work.rookie(command).exits(1).says("the model is used instead");
    }
    fs::write(&predictions, whole).unwrap();

    // An accuracy that neither of them has.
    let path = format!("{best}/run.toml");
    let record = work.text(&path);
    let line = record.lines().find(|line| line.starts_with("test_accuracy")).unwrap();
    let accuracy: f64 = line.split(" = ").nth(1).unwrap().parse().unwrap();
    let images = work.toml(&path)["test_images"].as_integer().unwrap() as f64;
    let other = ((accuracy * images).round() - 1.0) / images;
    work.write(&path, record.replace(line, &format!("test_accuracy = {other}")));
    let told = "test images are classified correctly here, but run.toml says";
    for command in [&format!("plot errors {best}"), "ensemble results/my --top 2"] {
        work.rookie(command).exits(2).says("the model is used instead").says(told);
    }
}

#[test]
fn an_ensemble_whose_numbers_were_changed_is_not_shown() {
    let work = Work::ranked();
    work.rookie("ensemble results/my --top 2").exits(0);
    let path = "results/my/ensemble.toml";
    let whole = work.text(path);
    let number = |name: &str| whole.lines().find(|line| line.starts_with(name)).unwrap();
    for (name, value) in
        [("test_accuracy", "0.99"), ("test_images", "12"), ("best_test_accuracy", "0.0")]
    {
        work.write(
            path,
            whole.replace(&format!("\n{}", number(name)), &format!("\n{name} = {value}")),
        );
        work.rookie("report results/my")
            .exits(1)
            .says("the ensemble is not shown: results/my/ensemble.toml");
    }
}

#[test]
fn a_figure_replaces_no_file_that_is_no_picture() {
    let work = Work::ranked();
    let refused = |command: &str, file: &str| {
        work.write(file, "a letter");
        let problem = format!("{file}: is there and was not written by this command; name another");
        work.rookie(command).exits(2).says(&problem);
        assert_eq!(work.text(file), "a letter", "{command}");
        fs::remove_file(work.path(file)).unwrap();
        work.rookie(command).exits(0);
        work.rookie(command).exits(0);
    };
    for format in ["png", "svg"] {
        refused(&format!("compare results/my --figure f.{format}"), &format!("f.{format}"));
        refused(&format!("audit results/my --figure a.{format}"), &format!("a.{format}"));
    }
    refused("plot grid results/my", "results/my/figures/top10.png");
    refused("plot grid results/my --out drawn --format svg", "drawn/main_effects.svg");
}

#[test]
fn figures_name_what_they_do_not_draw() {
    let work = Work::new();
    let rates = "--learning-rate 0.1,0.2,900 --lr-decay 0.5,0.8";
    work.rookie(&format!("grid {} {rates} {FLAGS} --out lost", "my.toml")).exits(0);
    work.rookie("compare lost --figure compared.svg").exits(0);
    let svg = work.text("compared.svg");
    assert!(
        svg.contains("(1 of 1 lost)") && svg.contains("a row without a point has no run"),
        "{svg}"
    );
    work.rookie("plot grid lost --out drawn --format svg").exits(0);
    let svg = work.text("drawn/main_effects.svg");
    assert!(svg.contains("4 of 6 runs trained to the end"), "{svg}");
    let svg = work.text("drawn/heat_map_learning_rate_lr_decay.svg");
    assert!(svg.contains("empty cells have no finished run"), "{svg}");
}

#[test]
fn the_page_rounds_percentages_as_tables_do() {
    if is_skipped("node", has_program("node")) {
        return;
    }
    let script = include_str!("../assets/report/page.js");
    let function = script.split_once("function twoDecimals").unwrap().1;
    let function = format!("function twoDecimals{}\n  }}", function.split_once("\n  }").unwrap().0);
    let all: Vec<f64> = (0..=1600).map(|count| f64::from(count) / 1600.0).collect();
    let of_all =
        format!("{function}; console.log({all:?}.map(it => twoDecimals(100 * it)).join())");
    let output = Command::new("node").args(["-e", &of_all]).output().unwrap();
    let expected: Vec<String> = all.iter().map(|it| format!("{:.2}", 100.0 * it)).collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), expected.join(","));
}
