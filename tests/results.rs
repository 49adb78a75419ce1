//! A result belongs to its run, or it is not used: what is damaged, copied or moved is left out, named,
//! and exit code 1 says so.

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use rookie::train::model::Model;
use support::{Csv, DataSet, PREDICTIONS, SMALL, Work};

const RUN: &str = "results/my/runs/lr0.2_decay0.5";
const TWIN: &str = "results/my/runs/lr0.1_decay0.8";

/// The run whose model a report shows: the highest validation accuracy, of equal ones the lowest loss.
fn chosen(work: &Work) -> String {
    let ranking = work.csv("results/my/ranking.csv");
    let runs = ranking.column("run").into_iter().zip(ranking.column("validation_rank"));
    let first = runs.filter(|(_, rank)| *rank == "1");
    let folder = first.map(|(run, _)| format!("results/my/runs/{run}"));
    let loss = |folder: &String| {
        work.toml(format!("{folder}/run.toml"))["validation_loss"].as_float().unwrap()
    };
    folder.min_by(|a, b| loss(a).total_cmp(&loss(b)).then(a.cmp(b))).unwrap()
}

#[test]
fn a_model_of_another_network_in_a_run_is_left_out() {
    let work = Work::ranked();
    let run = chosen(&work);
    work.rookie(&format!("train {run}/run.toml --hidden 8 --out other")).exits(0);
    let model = format!("{run}/model.safetensors");
    fs::copy(work.path("other/model.safetensors"), work.path(&model)).unwrap();
    fs::remove_file(work.path(format!("{run}/{PREDICTIONS}"))).unwrap();
    let problem = format!("{model}: is not the model of its run.toml (");
    let compared = work.rookie("compare results/my").exits(1).says(&format!("left out: {problem}"));
    compared.says("hidden: 16,12 there, 8 here").says("verdicts about its configuration");
    work.rookie("report results/my").exits(1).says(&problem);
    assert!(!work.text("results/my/report.html").contains("id=\"confusion\""));
    for command in ["evaluate", "plot weights", "plot errors"] {
        work.rookie(&format!("{command} {model}")).exits(2).says(&problem);
    }
    // Also one of the same values that another training left.
    work.rookie(&format!("train {run}/run.toml --out same")).exits(0);
    let mut other = Model::read(&work.path("same/model.safetensors")).unwrap();
    other.validation_accuracy -= 0.01;
    work.write(&model, other.to_bytes());
    work.rookie("compare results/my").exits(1).says(&problem).says("validation: epoch ");
}

#[test]
fn a_record_of_another_run_is_left_out_and_its_run_trained_again() {
    let work = Work::ranked();
    let before = work.reproducible("results/my");
    fs::copy(work.path(format!("{TWIN}/run.toml")), work.path(format!("{RUN}/run.toml"))).unwrap();
    for command in ["rank", "compare", "report", "plot grid"] {
        let ended = work.rookie(&format!("{command} results/my")).exits(1);
        let problem = "holds other values than its grid (learning_rate: 0.2 there, 0.1 here)";
        ended.says(&format!("left out: {RUN}/run.toml: {problem}")).says("1 run of 6 not finished");
    }
    work.rookie("grid my.toml").exits(0).says("its run is trained again");
    for name in ["report.html", "figures"] {
        let path = work.path("results/my").join(name);
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir_all(&path);
    }
    fs::remove_dir_all(work.path("results/my/left_out")).unwrap();
    assert_eq!(work.reproducible("results/my"), before);
}

#[test]
fn runs_that_the_grid_does_not_have_are_named_and_left_out() {
    let work = Work::ranked();
    let ranking = work.text("results/my/ranking.csv");
    work.rookie("grid my.toml --seed 1 --learning-rate 0.3 --out other").exits(0);
    for (path, bytes) in work.contents("other/runs/lr0.3_decay0.5") {
        work.write(std::path::Path::new("results/my/runs/lr0.3_decay0.5").join(path), bytes);
    }
    let told = "left out: results/my/runs/lr0.3_decay0.5: grid.toml does not have this run";
    for command in ["rank", "compare", "report", "plot grid", "audit", "ensemble"] {
        work.rookie(&format!("{command} results/my")).exits(1).says(told);
    }
    work.rookie("grid my.toml")
        .exits(1)
        .says(told)
        .says("1 run left out of results/my/ranking.csv");
    assert_eq!(work.text("results/my/ranking.csv"), ranking);
    // A grid.toml that has lost lines is another grid's.
    let grid = work.text("results/my/grid.toml");
    work.write("results/my/grid.toml", &grid[..grid.find("lr_decay =").unwrap()]);
    work.rookie("rank results/my").exits(1).says("left out: results/my/runs/lr0.1_decay0.8: ");
}

#[test]
fn a_run_that_began_with_a_model_s_weights_is_no_grid_s() {
    let work = Work::ranked();
    let model = format!("{TWIN}/model.safetensors");
    let train = format!("train {RUN}/run.toml --init {model} --out other");
    work.rookie(&train).exits(0);
    fs::copy(work.path("other/run.toml"), work.path(format!("{RUN}/run.toml"))).unwrap();
    let ended = work.rookie("rank results/my").exits(1);
    ended.says(&format!("left out: {RUN}/run.toml: is of a run that started from a model"));
    // Nor are they two results of one run: each is one of its own.
    work.rookie("grid my.toml").exits(0);
    let ranked = work.rookie("rank results/my other --format csv").exits(0);
    let of_init = Csv::parse(&ranked.stdout);
    assert_eq!(of_init.rows.len(), 7);
    assert_eq!(of_init.column("init").iter().filter(|init| **init == "true").count(), 1);
    work.rookie("compare results/my other").exits(0).says_nothing();
}

#[test]
fn a_record_that_cannot_be_read_is_not_one_of_a_run_that_has_not_finished() {
    let work = Work::ranked();
    let record = work.path(format!("{RUN}/run.toml"));
    fs::remove_file(&record).unwrap();
    symlink("run.toml", &record).unwrap();
    for (arguments, code) in
        [("rank results/my", 1), ("compare results/my", 1), ("grid my.toml", 2)]
    {
        work.rookie(arguments).exits(code).says(&format!("{RUN}/run.toml: cannot read"));
    }
    assert!(record.is_symlink());
    // A file where its folder was.
    fs::remove_dir_all(work.path(RUN)).unwrap();
    work.write(RUN, "mine");
    let told = format!("{RUN}: found a file, expected the folder of a run");
    work.rookie("rank results/my").exits(1).says(&format!("left out: {told}"));
    work.rookie("grid my.toml").exits(0).says(&told).says(".damaged, and its run is trained again");
    assert_eq!(work.text(format!("{RUN}.damaged")), "mine");
}

#[test]
fn a_curve_of_another_run_with_as_many_epochs_is_left_out() {
    let work = Work::ranked();
    let [run, twin] = [RUN, TWIN].map(|run| work.path(format!("{run}/curve.csv")));
    fs::copy(twin, run).unwrap();
    let problem = format!("{RUN}/curve.csv: epoch ");
    let told = "has other scores than its run.toml says";
    work.rookie("compare results/my").exits(1).says(&format!("left out: {problem}")).says(told);
    work.rookie("report results/my").exits(1).says(told);
    work.rookie(&format!("plot curves {RUN}")).exits(2).says(&problem).says(told);
}

#[test]
fn a_curve_of_other_epochs_than_its_run_s_is_left_out() {
    let work = Work::ranked();
    let curve = format!("{RUN}/curve.csv");
    let whole = work.text(&curve);
    let shorter: Vec<&str> = whole.lines().take(6).collect();
    work.write(&curve, shorter.join("\n") + "\n");
    let problem = format!("{curve}: found 5 epochs, expected 6, as its run.toml says");
    work.rookie("compare results/my").exits(1).says(&format!("left out: {problem}"));
    // Without it, a collapsed run would count as any other.
    fs::remove_file(work.path(&curve)).unwrap();
    let missing = work.rookie("compare results/my").exits(1);
    missing.says(&curve).says("whether it collapsed is not known");
    work.write(&curve, shorter.join("\n") + "\n");
    work.rookie("report results/my").exits(1).says("the curves of 1 run are not shown");
    work.rookie(&format!("plot curves {RUN}")).exits(2).says(&problem);
}

#[test]
fn runs_of_different_kernels_versions_or_commits_are_reported_wherever_they_stand_together() {
    let work = Work::ranked();
    let record = format!("{RUN}/run.toml");
    let whole = work.text(&record);
    for (name, phrase) in [
        ("openblas_core", "he runs were trained with different kernels ("),
        ("rookie", "he runs were trained by different versions of rookie ("),
        ("commit", "he runs were trained by different commits of rookie ("),
    ] {
        let line = whole.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
        work.write(&record, whole.replace(line, &format!("{name} = \"0.0.1\"")));
        for command in ["grid my.toml", "rank results/my", "compare results/my"] {
            work.rookie(command).exits(0).prints(phrase);
        }
        work.rookie("report results/my").exits(0);
        for name in ["report.html", "top10.md"] {
            assert!(work.text(format!("results/my/{name}")).contains(phrase), "{name}: {phrase}");
        }
    }
}

#[test]
fn folders_of_different_data_are_refused_before_their_runs_are_compared() {
    let work = Work::ranked();
    work.write_data("other", DataSet { test: SMALL.test + 1, ..SMALL });
    work.rookie("grid my.toml --out again --data other").exits(0);
    for command in ["rank", "compare", "report --out both.html"] {
        let ended = work.rookie(&format!("{command} results/my again")).exits(2);
        ended.says("again/runs/").says(" was trained on other data than results/my/runs/");
    }
    work.rookie("report results/my again").exits(2).says("--out: is missing");
}

#[test]
fn a_run_that_failed_in_one_folder_counts_by_its_result_in_another() {
    let work = Work::ranked();
    work.rookie("grid my.toml --out again --learning-rate 0.1").exits(0);
    let record = "again/runs/lr0.1_decay0.5/run.toml";
    let (whole, ranked) = (work.text(record), "rank results/my again --format csv");
    let expected = work.rookie(ranked).exits(0).stdout;
    let [values, provenance] = ["status", "[provenance]"].map(|it| whole.find(it).unwrap());
    let failed = "status = \"failed\"\nreason = \"full\"\nseconds = 1.0\n\n";
    work.write(record, [&whole[..values], failed, &whole[provenance..]].concat());
    assert_eq!(work.rookie(ranked).exits(0).stdout, expected);
    let turned = work.rookie("rank again results/my --format csv").exits(0).stdout;
    assert!(!turned.contains("failed") && turned.lines().count() == 1 + 6, "{turned}");
}

#[test]
fn a_report_of_overlapping_folders_shows_each_run_once() {
    let work = Work::ranked();
    work.rookie("grid my.toml --out more --learning-rate 0.1,0.05").exits(0);
    work.rookie("report results/my more --out both.html").exits(0);
    let page = work.text("both.html");
    assert!(page.contains("All 8 runs have finished."), "six, and two of four more");
    assert!(page.contains("my, my in more") && page.contains("more/lr0.05_decay0.5"));
}

#[test]
fn a_split_that_the_model_s_training_saw_is_used_only_when_asked_for() {
    let work = Work::trained();
    let init = "train --init run/model.safetensors --epochs 4 --batch-size 32 --out next";
    work.rookie(init).exits(0);
    let record = work.toml("next/run.toml");
    assert_eq!(record["validation_size"].as_integer(), Some(50), "that of the model");
    for (flag, name) in
        [("--validation-size 60", "validation_size 50"), ("--data-seed 7", "data_seed")]
    {
        let ended = work.rookie(&format!("{init} {flag} --fresh")).exits(2);
        let ended = ended.says(&format!("run/model.safetensors: found a model with {name}"));
        ended.says("--allow-other-split");
    }
    let other = "--data-seed 7 --allow-other-split --out leaks";
    let warning = "may have been trained on the validation set, so the validation accuracy may";
    work.rookie(&format!("{} {other}", init.replace(" --out next", ""))).exits(0).says(warning);
    let record = work.toml("leaks/run.toml");
    assert_eq!(record["provenance"]["init_data_seed"].as_str(), Some("0"));
    assert_eq!(record["provenance"]["init_validation_size"].as_str(), Some("50"));
    let evaluated = work.rookie("evaluate leaks/model.safetensors --split validation").exits(0);
    let evaluated =
        evaluated.says("leaks/model.safetensors was initialised from a model of another split");
    evaluated.prints("The model may have been trained on these images");
    work.write_data("other", DataSet { train: SMALL.train + 1, ..SMALL });
    let other = init.replace("--out next", "--out other-data --data other");
    work.rookie(&other).exits(2).says("was trained on rows other than this run's");
    work.rookie("evaluate leaks/model.safetensors").exits(0).says_nothing();
    work.rookie("evaluate next/model.safetensors --split validation").exits(0).says_nothing();
}

#[test]
fn evaluating_on_other_data_than_the_record_s_names_both() {
    let work = Work::trained();
    work.write_data("other", DataSet { test: SMALL.test + 1, ..SMALL });
    let ended = work.rookie("evaluate run/model.safetensors --data other").exits(0);
    ended
        .says("run/model.safetensors was trained on another folder than other, which may")
        .prints("interval");
    for split in ["train", "validation"] {
        let command = format!("evaluate run/model.safetensors --data other --split {split}");
        // The training file is the same.
        let ended = work
            .rookie(&command)
            .exits(0)
            .prints("The model may have been trained on these images");
        ended.says("these are images of a file that run/model.safetensors was trained on");
    }
}

#[test]
fn a_grid_of_which_no_run_finished_training_has_no_ranks_and_fails() {
    let work = Work::new();
    let grid = "grid my.toml --learning-rate 1e30 --weight-decay 0";
    for _ in 0..2 {
        let ended = work.rookie(grid).exits(1);
        assert_eq!(ended.stderr.lines().last(), Some("rookie: no run finished training"));
        assert!(!ended.stdout.lines().any(|line| line.starts_with(" 1 ")), "{}", ended.stdout);
    }
    let ranking = work.csv("results/my/ranking.csv");
    assert_eq!(ranking.column("rank"), ["", ""]);
    assert_eq!(ranking.column("status"), ["diverged", "diverged"]);
}
