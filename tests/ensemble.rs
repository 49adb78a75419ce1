//! An ensemble is the average of its members, wherever it is used, and only of those that were chosen.

mod support;

use std::fs;

use support::{Csv, DATA, DataSet, FLAGS, SMALL, TEST_IMAGES, Work};

const ENSEMBLE: &str = "results/my/ensemble.toml";

/// The members of an ensemble's file: paths of models, and weights.
fn members(work: &Work, file: &str) -> Vec<(String, f64)> {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let member = |member: &toml::Value| {
        let model = member["model"].as_str().unwrap();
        (format!("{folder}/{model}"), member["weight"].as_integer().unwrap() as f64)
    };
    work.toml(file)["members"].as_array().unwrap().iter().map(member).collect()
}

/// The probabilities that `rookie predict` prints for the test images, by class.
fn predicted(work: &Work, file: &str, flags: &str) -> Vec<Vec<f32>> {
    let ended = work.rookie(&format!("predict {file} {DATA}/{TEST_IMAGES} {flags}")).exits(0);
    let csv = Csv::parse(&ended.stdout);
    let of =
        |class| csv.numbers(&format!("probability_{class}")).iter().map(|&p| p as f32).collect();
    (0..3).map(of).collect()
}

/// The folders of the finished runs, the best by validation first.
fn by_validation(work: &Work) -> Vec<String> {
    let ended = work.rookie("rank results/my --by validation --format csv --top 100").exits(0);
    let ranking = Csv::parse(&ended.stdout);
    ranking.column("run").iter().map(|run| format!("results/my/runs/{run}")).collect()
}

#[test]
fn an_ensemble_of_one_has_the_accuracies_of_its_run() {
    let work = Work::ranked();
    let best = by_validation(&work).remove(0);
    for flags in ["", "--greedy"] {
        let ended = work.rookie(&format!("ensemble results/my --top 1 {flags}")).exits(0);
        ended
            .prints("Ensemble of 1 model")
            .prints("+0.00 points (95 % interval −")
            .says("wrote results/my/");
        let (ensemble, record) = (work.toml(ENSEMBLE), work.toml(format!("{best}/run.toml")));
        for name in ["validation_accuracy", "test_accuracy"] {
            assert_eq!(ensemble[name], record[name], "{name}");
        }
        assert_eq!(members(&work, ENSEMBLE), [(format!("{best}/model.safetensors"), 1.0)]);
        let evaluated = |file: &str| work.rookie(&format!("evaluate {file}")).exits(0).stdout;
        let of_file =
            |file: &str| evaluated(file).lines().skip(1).map(String::from).collect::<Vec<_>>();
        assert_eq!(of_file(ENSEMBLE), of_file(&format!("{best}/model.safetensors")));
    }
}

#[test]
fn an_ensemble_predicts_the_mean_of_its_members_also_where_its_folder_is_moved() {
    let work = Work::ranked();
    work.rookie("ensemble results/my --top 3").exits(0);
    let weights = work.text(ENSEMBLE).replacen("weight = 1", "weight = 5", 1);
    work.write("results/my/weighted.toml", weights);
    for file in [ENSEMBLE, "results/my/weighted.toml"] {
        let members = members(&work, file);
        assert_eq!(members.len(), 3);
        let total: f64 = members.iter().map(|(_, weight)| weight).sum();
        for flags in ["", "--standardise batch"] {
            let each: Vec<_> = members.iter().map(|(it, _)| predicted(&work, it, flags)).collect();
            let found = predicted(&work, file, flags);
            for (class, image) in (0..3).flat_map(|class| (0..60).map(move |image| (class, image)))
            {
                let of = each.iter().zip(&members).map(|(p, m)| m.1 * f64::from(p[class][image]));
                assert_eq!(found[class][image], (of.sum::<f64>() / total) as f32);
            }
        }
    }
    let before = predicted(&work, ENSEMBLE, "");
    fs::rename(work.path("results/my"), work.path("moved")).unwrap();
    assert_eq!(predicted(&work, "moved/ensemble.toml", ""), before);
    // Elsewhere, the paths lead to the models.
    work.rookie("ensemble moved --top 3 --out other/place/mine.toml").exits(0);
    assert_eq!(predicted(&work, "other/place/mine.toml", ""), before);
}

#[test]
fn evaluate_finds_the_accuracies_in_the_file() {
    let work = Work::ranked();
    work.rookie("ensemble results/my --greedy --top 4").exits(0);
    let ensemble = work.toml(ENSEMBLE);
    let accuracy = |name: &str| ensemble[name].as_float().unwrap();
    for (split, images) in [("validation", 50.0), ("test", 60.0)] {
        let ended = work.rookie(&format!("evaluate {ENSEMBLE} --split {split}")).exits(0);
        let correct = (accuracy(&format!("{split}_accuracy")) * images).round();
        ended.prints(&format!("{correct} of {images} images")).prints("with the training moments");
    }
    let best = work.toml(format!("{}/run.toml", by_validation(&work)[0]));
    assert!(accuracy("validation_accuracy") >= best["validation_accuracy"].as_float().unwrap());
    let picks: f64 = members(&work, ENSEMBLE).iter().map(|(_, weight)| weight).sum();
    assert!((1.0..=4.0).contains(&picks));
    // The same command writes the same bytes.
    let before = work.text(ENSEMBLE);
    work.rookie("ensemble results/my --greedy --top 4").exits(0);
    assert_eq!(work.text(ENSEMBLE), before);
}

#[test]
fn fewer_runs_than_asked_for_are_told_and_those_without_a_model_named() {
    let work = Work::ranked();
    let ended = work.rookie("ensemble results/my").exits(0).prints("Ensemble of 6 models");
    ended.says("only 6 runs trained to the end, so the ensemble has no more members");
    let runs = by_validation(&work);
    fs::remove_file(work.path(&runs[1]).join("model.safetensors")).unwrap();
    let ended = work.rookie("ensemble results/my").exits(2);
    let ended = ended.says(&format!("{}: has no model.safetensors; to train a run", runs[1]));
    ended.says("to train a run again, remove its folder and start the same `rookie grid`");
    work.rookie("ensemble results/my --top 1").exits(0);
    let ended = work.rookie("ensemble results/my --greedy").exits(0);
    ended.says(&format!(
        "1 run without model.safetensors cannot be chosen, the first of them {}",
        runs[1]
    ));
    for run in &runs {
        let _ = fs::remove_file(work.path(run).join("model.safetensors"));
    }
    let ended = work.rookie("ensemble results/my --greedy").exits(2);
    ended.says(&format!(
        "{}: has no model.safetensors, and neither has any other of 6 runs",
        runs[0]
    ));
}

#[test]
fn members_that_changed_are_refused_wherever_the_ensemble_is_used() {
    let work = Work::ranked();
    work.rookie("ensemble results/my --top 2").exits(0);
    work.rookie("report results/my").exits(0);
    let report = work.text("results/my/report.html");
    assert!(
        report.contains("id=\"ensemble\"") && report.contains("An ensemble of 2 models, the best")
    );
    let [(first, _), (second, _)] = &members(&work, ENSEMBLE)[..] else { panic!("two members") };
    let name = second.strip_prefix("results/my/").unwrap();
    fs::copy(work.path(first), work.path(second)).unwrap();
    for gone in [false, true] {
        let problem = if gone { "is missing" } else { "has changed since it was chosen" };
        if gone {
            fs::remove_file(work.path(second)).unwrap();
        }
        let problem = format!("{ENSEMBLE}: its member {name} {problem}; choose its members again");
        work.rookie(&format!("evaluate {ENSEMBLE}")).exits(2).says(&problem);
        work.rookie(&format!("predict {ENSEMBLE} {DATA}/{TEST_IMAGES}")).exits(2).says(&problem);
        work.rookie("report results/my").exits(1).says(&problem);
        assert!(!work.text("results/my/report.html").contains("id=\"ensemble\""));
    }
}

#[test]
fn runs_that_do_not_go_together_are_refused() {
    let work = Work::ranked();
    work.rookie(&format!("train {FLAGS} --data-seed 1 --out run")).exits(0);
    let ended = work.rookie("ensemble results/my run --out x.toml").exits(2);
    ended.says("has a different validation set ").says("name the folders of runs with one");
    work.write_data("other", DataSet { train: SMALL.train + 1, ..SMALL });
    let ended = work.rookie("ensemble results/my --data other").exits(2);
    ended.says("was trained on other data than these; name its data with --data");
    let split = "--data-seed 1 --init results/my/runs/lr0.1_decay0.5/model.safetensors";
    work.rookie(&format!("train {FLAGS} {split} --allow-other-split --out begun")).exits(0);
    let ended = work.rookie("ensemble begun").exits(2);
    ended.says(
        "begun: was initialised from a model that may have been trained on its validation set",
    );
    let model = by_validation(&work)[0].clone() + "/model.safetensors";
    work.write(&model, "no model");
    work.rookie("ensemble results/my --greedy").exits(2).says(&model);
    assert!(!work.path(ENSEMBLE).exists() && !work.path("x.toml").exists());
}

#[test]
fn a_report_shows_no_ensemble_of_other_data_and_says_which_choice_is_old() {
    let work = Work::ranked();
    work.rookie("ensemble results/my --top 2").exits(0);
    let (text, old) = (work.text(ENSEMBLE), "when it was made, lr0.02_decay0.5, has");
    work.rookie("report results/my").exits(0);
    assert!(!work.text("results/my/report.html").contains("when it was made"));
    let best = text.lines().find(|line| line.starts_with("best_run")).unwrap();
    let other = work.toml("results/my/runs/lr0.02_decay0.5/run.toml");
    let mut then = text.replace(best, "best_run = \"lr0.02_decay0.5\"");
    for (name, value) in
        [("best_test_accuracy", &other["test_accuracy"]), ("difference_high", &1.0.into())]
    {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        then = then.replace(line, &format!("{name} = {value}"));
    }
    work.write(ENSEMBLE, then);
    work.rookie("report results/my").exits(0);
    assert!(work.text("results/my/report.html").contains(old));
    let hash = text.lines().find(|line| line.starts_with("sha256_train-images")).unwrap();
    work.write(ENSEMBLE, text.replace(hash, "sha256_train-images-idx3-ubyte = \"0\""));
    let told =
        "the ensemble is not shown: results/my/ensemble.toml: is of other data than the runs";
    work.rookie("report results/my").exits(1).says(told);
}

#[test]
fn a_file_that_is_no_ensemble_is_never_overwritten_and_fresh_removes_the_ensemble() {
    let work = Work::ranked();
    for (arguments, problem) in [
        (
            "results/my --out results/my/grid.toml",
            "grid.toml: is there and was not written by this",
        ),
        (
            &format!("results/my --out {}/run.toml", by_validation(&work)[0]),
            "run.toml: is there and was not written by this",
        ),
        (
            "results/my --out mine.txt",
            "--out: found `mine.txt`, expected a name that ends in .toml",
        ),
        ("results/my results/my", "--out: is missing, and there are several folders"),
        ("results/my --top 0", "--top"),
        ("data", "data"),
    ] {
        let before = work.contents("");
        work.rookie(&format!("ensemble {arguments}")).exits(2).says(problem);
        assert!(work.contents("") == before, "{arguments}");
    }
    work.rookie("evaluate my.toml")
        .exits(2)
        .says("my.toml: no `members`, expected an ensemble.toml");
    work.rookie("ensemble results/my --out mine.toml").exits(0);
    work.rookie("ensemble results/my --top 1 --out mine.toml").exits(0);
    work.rookie("ensemble results/my").exits(0);
    work.rookie("grid my.toml").exits(0);
    assert!(work.path(ENSEMBLE).exists());
    work.rookie("grid my.toml --fresh --yes").exits(0);
    assert!(!work.path(ENSEMBLE).exists(), "its members have gone");
}
