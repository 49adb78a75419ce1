//! What each command does, seen from outside: files, standard output, exit codes.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rookie::train::model::Model;
use safetensors::{Dtype, SafeTensors};
use support::{
    Csv, DATA, DataSet, Ended, FILES, FLAGS, GRID, PREDICTIONS, SMALL, TEST_IMAGES, TEST_LABELS,
    Work, gzip, is_skipped_without_bf16, wait_until,
};

const HEADER: &str = "rank,learning_rate,weight_decay,hidden_1,hidden_2,lr_decay,test_accuracy,\
                      test_accuracy_low,test_accuracy_high,validation_accuracy,validation_rank,\
                      best_epoch,epochs,status,run";
/// The runs of the grid in `my.toml`.
const RUNS: [&str; 6] = [
    "lr0.02_decay0.5",
    "lr0.02_decay0.8",
    "lr0.1_decay0.5",
    "lr0.1_decay0.8",
    "lr0.2_decay0.5",
    "lr0.2_decay0.8",
];

fn train(flags: &str) -> String {
    format!("train {FLAGS} {flags}")
}

/// A number of a run's record.
fn recorded(work: &Work, run: &str, key: &str) -> f64 {
    work.toml(Path::new(run).join("run.toml"))[key].as_float().unwrap()
}

#[test]
fn a_grid_of_the_users_own_is_trained_and_ranked() {
    let work = Work::new();
    let ended = work.rookie("grid my.toml").exits(0);
    let ended = ended.says("300 training images and 60 test images of 6×5 pixels in 3 classes");
    let ended = ended.says("training 6 runs").says("6 runs in results/my/ranking.csv");
    let ranking = work.csv("results/my/ranking.csv");
    let best = format!("{:.2} %", 100.0 * ranking.numbers("test_accuracy")[0]);
    let ended = ended.prints(&best);
    let parted = !ended.stdout.contains("rookie: ") && !ended.stderr.contains(&best);
    ended.check(parted, "the table is on standard output, progress on standard error");

    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    files.extend(["grid.toml", "ranking.csv", "top10.md", "runs"].map(PathBuf::from));
    for run in RUNS.map(|run| Path::new("runs").join(run)) {
        let names = ["", "curve.csv", "model.safetensors", "run.toml", PREDICTIONS];
        files.extend(names.map(|name| run.join(name)));
    }
    let mut contents = work.contents("results/my");
    contents.retain(|path, _| !path.starts_with(".state"));
    assert_eq!(contents.into_keys().collect::<BTreeSet<_>>(), files);

    assert_eq!(ranking.header.join(","), HEADER);
    assert_eq!(ranking.column("run").into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(RUNS));
    let tests = ranking.numbers("test_accuracy");
    let rank = |test: &f64| (1 + tests.iter().filter(|other| *other > test).count()).to_string();
    assert_eq!(ranking.column("rank"), tests.iter().map(rank).collect::<Vec<_>>());
    assert_eq!(ranking.column("status"), ["done"; 6]);
}

#[test]
fn a_ranking_is_sorted_by_test_accuracy_then_validation_accuracy_and_loss_then_name() {
    let work = Work::new();
    work.rookie("grid my.toml --seed 1,2,3").exits(0);
    let ranking = work.csv("results/my/ranking.csv");
    let key = |row: usize| {
        let score = |name| -ranking.numbers(name)[row];
        let run = ranking.column("run")[row];
        let loss = recorded(&work, &format!("results/my/runs/{run}"), "validation_loss");
        (score("test_accuracy"), score("validation_accuracy"), loss, run)
    };
    assert_eq!(ranking.rows.len(), 18);
    assert!((1..18).all(|row| key(row - 1) < key(row)), "{}", work.text("results/my/ranking.csv"));
    let (tests, validations) = ((0..18).map(|row| key(row).0), (0..18).map(|row| key(row).1));
    assert!(tests.clone().zip(tests.skip(1)).any(|(a, b)| a == b), "no tie was put to the test");
    assert!(!validations.is_sorted(), "both accuracies give the same order");
}

#[test]
fn any_number_of_workers_gives_the_same_bytes() {
    for precision in ["f32", "bf16"] {
        if precision == "bf16" && is_skipped_without_bf16() {
            continue;
        }
        let work = Work::new();
        for jobs in ["1", "2", "3"] {
            let grid = format!("grid my.toml --precision {precision} --jobs {jobs} --out {jobs}");
            work.rookie(&grid).exits(0);
            assert!(work.reproducible(jobs).len() > 2 * RUNS.len());
            assert_eq!(
                work.reproducible("1"),
                work.reproducible(jobs),
                "{precision}, {jobs} workers"
            );
        }
    }
}

#[test]
fn sharing_what_runs_have_in_common_changes_no_byte() {
    let work = Work::new();
    // Runs that part at a decay, after a validation that only the shorter ones have, and never.
    let precisions = if is_skipped_without_bf16() { "f32" } else { "f32,bf16" };
    let runs = 540 * precisions.split(',').count();
    let grid = "grid my.toml --lr-decay 0.5,0.8,1 --lr-decay-every 3,4,50 --epochs 5,6,9 \
                --eval-every 4";
    let grid = &format!("{grid} --precision {precisions}");
    work.rookie(&format!("{grid} --out alone --no-sharing")).exits(0);
    work.rookie(&format!("{grid} --out shared --jobs 3")).exits(0);
    work.rookie(&format!("{grid} --dry-run"))
        .exits(0)
        .prints(&format!("\nepochs asked for  {runs:>8}\n"));
    let files = |root: &str| {
        let mut files = work.contents(root);
        files.retain(|path, _| !path.ends_with("run.toml"));
        files
    };
    let (alone, shared) = (files("alone"), files("shared"));
    assert_eq!(alone.keys().collect::<Vec<_>>(), shared.keys().collect::<Vec<_>>());
    assert!(alone.len() > 2 * 81, "{} files", alone.len());
    for (path, bytes) in &alone {
        assert!(shared[path] == *bytes, "{} differs", path.display());
    }
}

#[test]
fn a_grid_that_is_started_again_trains_only_what_is_missing() {
    let work = Work::new();
    let first = work.rookie("grid my.toml").exits(0);
    let (results, before) = (work.reproducible("results/my"), work.stamps("results/my/runs"));
    let again = work.rookie("grid my.toml").exits(0).says("0 left");
    assert_eq!(again.stdout, first.stdout);
    assert_eq!(work.stamps("results/my/runs"), before);

    fs::remove_dir_all(work.path("results/my/runs/lr0.1_decay0.8")).unwrap();
    let again = work.rookie("grid my.toml").exits(0).says("1 left");
    assert_eq!(again.stdout, first.stdout);
    assert_eq!(work.reproducible("results/my"), results);
    let after = work.stamps("results/my/runs");
    for (name, stamp) in &before {
        let expected = name.starts_with("lr0.1_decay0.8");
        assert_eq!(after[name] != *stamp, expected, "{} trained again", name.display());
    }
}

#[test]
fn results_of_another_grid_are_replaced_only_when_asked_for() {
    let work = Work::ranked();
    let before = work.contents("");
    for (flags, reason) in [
        ("--epochs 5", "epochs: 6 there, 5 here"),
        ("--learning-rate 0.3", "learning_rate: [0.2; 0.1; 0.02] there, [0.3] here"),
        ("--set seed=4,5", "seed: 0 there, [4; 5] here"),
        ("--epochs 7 --fresh", "would remove 6 finished runs from results/my"),
        ("--fresh", "add --yes"),
    ] {
        let ended = work.rookie(&format!("grid my.toml {flags}"));
        ended.exits(2).says("results/my").says(reason).says("--fresh");
        assert_eq!(work.contents(""), before, "{flags}");
    }
    work.rookie("grid my.toml --epochs 7 --fresh --yes").exits(0).says("training 6 runs");
    assert_eq!(work.csv("results/my/ranking.csv").column("epochs"), ["7"; 6]);
}

#[test]
fn overrides_replace_values_and_axes_or_add_axes() {
    let work = Work::new();
    for (number, (flags, runs, column, values)) in [
        ("--epochs 2", "lr0.2 lr0.1", "epochs", "2"),
        ("--set learning_rate=0.1,0.05", "lr0.1 lr0.05", "learning_rate", "0.1 0.05"),
        ("--learning-rate 0.1,0.05", "lr0.1 lr0.05", "learning_rate", "0.1 0.05"),
        ("--hidden 8,6", "lr0.2 lr0.1", "hidden_1", "8"),
        ("--set hidden=8,6", "lr0.2 lr0.1", "hidden_2", "6"),
        ("--set hidden=8/6,4", "lr0.2_h8-4 lr0.2_h6-4 lr0.1_h8-4 lr0.1_h6-4", "hidden_1", "8 6"),
        ("--seed 1,2", "lr0.2_seed1 lr0.2_seed2 lr0.1_seed1 lr0.1_seed2", "seed", "1 2"),
    ]
    .into_iter()
    .enumerate()
    {
        let grid = GRID.replace("0.1, 0.02", "0.1").replace("lr_decay = [0.5, 0.8]\n", "");
        work.write("two.toml", grid);
        let ended = work.rookie(&format!("grid two.toml --out {number} {flags}")).exits(0);
        let ranking = work.csv(format!("{number}/ranking.csv"));
        let set = |texts: Vec<&str>| -> BTreeSet<String> {
            texts.into_iter().map(String::from).collect()
        };
        let found = (set(ranking.column("run")), set(ranking.column(column)));
        let expected = [runs, values].map(|texts| set(texts.split(' ').collect()));
        ended.check(found == expected.into(), format!("{found:?} are {runs} and {values}"));
    }
}

#[test]
fn a_value_that_is_long_to_write_can_still_name_a_run() {
    Work::new().rookie("grid my.toml --set weight_decay=1e-300,0").exits(0);
}

#[test]
fn several_seeds_are_summed_up_as_mean_and_sample_deviation() {
    let work = Work::new();
    work.rookie("grid my.toml --set seed=1,2,3 --lr-decay 0.5").exits(0);
    let (ranking, settings) =
        (work.csv("results/my/ranking.csv"), work.csv("results/my/settings.csv"));
    assert_eq!(settings.column("runs"), ["3"; 3]);
    let mut means = settings.numbers("test_accuracy_mean");
    assert!(means.is_sorted_by(|a, b| a >= b), "{means:?}");
    means.dedup();
    assert!(means.len() > 1, "nothing to sort");
    for (row, rate) in settings.column("learning_rate").into_iter().enumerate() {
        for part in ["test_accuracy", "validation_accuracy"] {
            let rates = ranking.column("learning_rate").into_iter();
            let scores = rates.zip(ranking.numbers(part)).filter(|(other, _)| *other == rate);
            let scores: Vec<f64> = scores.map(|(_, score)| score).collect();
            assert_eq!(scores.len(), 3);
            let mean = scores.iter().sum::<f64>() / 3.0;
            let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
            for (name, expected) in [("mean", mean), ("std", (squares / 2.0).sqrt())] {
                let found = settings.numbers(&format!("{part}_{name}"))[row];
                assert!((found - expected).abs() < 1e-6, "{part}_{name} {found}, not {expected}");
            }
        }
    }
}

#[test]
fn a_run_that_diverges_is_ranked_last_and_the_others_are_done() {
    let work = Work::new();
    let ended = work
        .rookie("grid my.toml --learning-rate 1e30,0.1 --lr-decay 0.5 --weight-decay 0")
        .exits(0);
    ended.says("diverged in epoch 1").prints("diverged");
    let ranking = work.csv("results/my/ranking.csv");
    assert_eq!(ranking.column("status"), ["done", "diverged"]);
    assert_eq!(ranking.column("run")[0], "lr0.1_decay0.5");
    for name in ["test_accuracy", "test_accuracy_low", "validation_accuracy", "best_epoch"] {
        assert_eq!(ranking.column(name)[1], "", "{name}");
    }
    let again =
        work.rookie("grid my.toml --learning-rate 1e30,0.1 --lr-decay 0.5 --weight-decay 0");
    again.exits(0).says("0 left");
}

#[test]
fn a_dry_run_lists_the_runs_of_a_preset_and_writes_nothing() {
    let work = Work::new();
    let before = work.contents("");
    for (preset, runs, epochs, total) in [
        ("table1", 216, "500 epochs", [108_000, 79_200]),
        ("table2", 10, "500 epochs", [5000, 4600]),
        ("quick", 12, "8 epochs", [96, 72]),
    ] {
        let ended = work.rookie(&format!("grid {preset} --dry-run --validation-size 50")).exits(0);
        let ended = ended.prints(&format!("\nepochs asked for  {:>8}\n", total[0]));
        let ended = ended.prints(&format!("\nepochs trained    {:>8}  ", total[1]));
        let ended = ended.prints("\nexpected  ");
        let suffix = format!("  {epochs}");
        let listed = ended.stdout.lines().filter(|line| line.ends_with(&suffix)).count();
        ended.check(listed == runs, format!("{listed} runs are listed, of {runs}"));
        assert_eq!(work.contents(""), before);
    }
}

#[test]
fn figures_of_runs_and_models_are_drawn_beside_them_to_the_same_bytes() {
    let work = Work::trained();
    work.rookie("grid my.toml").exits(0);
    work.rookie("plot curves run").exits(0).says("wrote run/figures/curves.svg");
    work.rookie("plot weights run/model.safetensors").exits(0);
    let drawn = work.contents("run/figures");
    let names: Vec<String> = drawn.keys().map(|path| path.display().to_string()).collect();
    let all = ["curves", "w1", "w1_components", "w_last", "w_product"];
    let expected = all.into_iter().flat_map(|name| [format!("{name}.png"), format!("{name}.svg")]);
    assert_eq!(names, expected.collect::<Vec<_>>());
    for (path, bytes) in &drawn {
        let is_png = path.extension().is_some_and(|extension| extension == "png");
        let start: &[u8] = if is_png { b"\x89PNG\r\n" } else { b"<svg " };
        assert!(bytes.starts_with(start), "{}", path.display());
    }
    let text = work.text("run/figures/w1_components.svg");
    let share = |line: &str| {
        let (number, share) = line.trim().split_once(": ")?;
        let share = share.strip_suffix(" %")?.parse::<f64>().ok()?;
        Some((number.parse::<usize>().ok()?, share))
    };
    let (numbers, shares): (Vec<usize>, Vec<f64>) = text.lines().filter_map(share).unzip();
    // Without their mean, 16 units have 15 components.
    assert!(numbers.iter().copied().eq(1..=15) && shares.is_sorted_by(|a, b| a >= b), "{text}");
    // Twelve units of the last hidden layer are a rectangle of 3 by 4.
    assert!(work.text("run/figures/w_last.svg").contains("12 weights as 3 × 4"));
    work.rookie("plot curves run --out again").exits(0);
    work.rookie("plot weights run/model.safetensors --out again").exits(0);
    assert_eq!(work.contents("again"), drawn);

    let runs = "results/my/runs/lr0.1_decay0.5 results/my/runs/lr0.2_decay0.5";
    let ended = work.rookie(&format!("plot curves {runs} --format svg")).exits(0);
    ended.says("wrote results/my/figures/curves.svg");
    let text = work.text("results/my/figures/curves.svg");
    assert!(
        ["lr0.1_decay0.5", "lr0.2_decay0.5", "validation"].iter().all(|name| text.contains(name))
    );
    assert!(!work.path("results/my/figures/curves.png").exists());
}

#[test]
fn a_grid_is_drawn_by_what_varies_in_it_and_a_model_by_its_errors() {
    let work = Work::ranked();
    work.rookie("plot grid results/my --format svg").exits(0);
    let names: Vec<PathBuf> = work.contents("results/my/figures").into_keys().collect();
    let expected = ["heat_map_learning_rate_lr_decay.svg", "main_effects.svg", "top10.svg"];
    assert_eq!(names, expected.map(PathBuf::from));
    let text = work.text("results/my/figures/top10.svg");
    let ranking = Csv::parse(&work.text("results/my/ranking.csv"));
    let runs = ranking.column("run");
    assert!(runs.iter().all(|run| text.contains(run)), "{text}");

    // The other way round, and nothing else.
    let command = "plot grid results/my --heat-map lr_decay,learning_rate --out other";
    work.rookie(command).exits(0).says("wrote other/heat_map_lr_decay_learning_rate.png");

    // One that has hardly learnt, so that it errs.
    work.rookie(&train("--learning-rate 1e-6 --out poor")).exits(0);
    let model = "poor/model.safetensors";
    let evaluated = work.rookie(&format!("evaluate {model} --csv csv")).exits(0);
    work.rookie(&format!("plot errors {model} --out errors --top 3")).exits(0);
    let svg = work.text("errors/confusion.svg");
    let counts = Csv::parse(&work.text("csv/confusion.csv"));
    let taken_for = |class: usize| counts.numbers(&format!("taken_for_{class}"));
    let classes = 0..counts.rows.len();
    let correct: f64 = classes.clone().map(|class| taken_for(class)[class]).sum();
    let images: f64 = classes.flat_map(taken_for).sum();
    assert!(svg.contains(&format!("{correct} of {images} are classified correctly")), "{svg}");
    evaluated.prints(&format!("{correct} of {images} images"));
    let svg = work.text("errors/errors.svg");
    let wrong = images - correct;
    assert!(svg.contains(&format!("3 of {wrong} mistakes, the most confident first")), "{svg}");
    assert_eq!(svg.matches("<image").count(), 3);
    work.rookie("plot activations --out functions").exits(0).says("functions/activations.svg");
}

#[test]
fn one_run_is_trained_once_and_replaced_only_when_asked_for() {
    let work = Work::new();
    let first = work.rookie(&train("--out run")).exits(0);
    let first = first.prints(&format!("{:.2} %", 100.0 * recorded(&work, "run", "test_accuracy")));
    let names: Vec<PathBuf> = work.contents("run").into_keys().collect();
    let expected = [".state", ".state/lock", "curve.csv", "model.safetensors", "run.toml"];
    let expected = [&expected[..], &[PREDICTIONS]].concat();
    assert_eq!(names, expected.into_iter().map(PathBuf::from).collect::<Vec<_>>());

    let before = work.stamps("run");
    let again = work.rookie(&train("--out run")).exits(0).says("run holds this run already");
    assert_eq!(again.stdout, first.stdout);
    let other = work.rookie(&train("--out run --seed 7")).exits(2);
    other.says("seed: 0 there, 7 here").says("--out");
    assert_eq!(work.stamps("run"), before);

    work.rookie(&train("--out run --fresh")).exits(0);
    let after = work.stamps("run");
    let results = before.iter().filter(|(name, _)| !name.starts_with(".state"));
    assert!(results.into_iter().all(|(name, stamp)| after[name] != *stamp));
}

#[test]
fn a_run_is_reproduced_from_its_record() {
    let work = Work::trained();
    work.rookie("train run/run.toml --out again").exits(0);
    assert_eq!(work.reproducible("again"), work.reproducible("run"));
    work.rookie("train run/run.toml --out other --data-seed 1").exits(0);
    assert_ne!(work.bytes("other/curve.csv"), work.bytes("run/curve.csv"));
}

#[test]
fn training_goes_on_from_the_weights_of_a_model() {
    let work = Work::new();
    work.rookie(&train("--out run --activation tanh")).exits(0);
    let flags = "--batch-size 32 --validation-size 50 --epochs 2";
    work.rookie(&format!("train --init run/model.safetensors --out next {flags}")).exits(0);
    let (model, record) = (work.toml("run/run.toml"), work.toml("next/run.toml"));
    assert_eq!((&record["hidden"], &record["activation"]), (&model["hidden"], &"tanh".into()));
    let losses =
        ["run", "next"].map(|run| work.csv(format!("{run}/curve.csv")).numbers("train_loss"));
    assert!(losses[1][0] < losses[0][0] / 2.0, "{losses:?}");
}

#[test]
fn a_run_that_diverges_leaves_no_model_and_not_an_earlier_one_either() {
    let work = Work::trained();
    // As if the same values had not diverged before, with other kernels.
    let record = work.text("run/run.toml");
    let record = record.replace("learning_rate = 0.2", "learning_rate = 1e30");
    work.write("run/run.toml", record.replace("weight_decay = 0.001", "weight_decay = 0.0"));
    let ended =
        work.rookie(&train("--out run --learning-rate 1e30 --weight-decay 0 --fresh")).exits(1);
    ended.prints("diverged: the loss stopped being finite in epoch 1");
    assert_eq!(work.toml("run/run.toml")["status"].as_str(), Some("diverged"));
    assert!(!work.path("run/model.safetensors").exists());
}

#[test]
fn every_activation_trains_with_and_without_momentum() {
    let work = Work::new();
    for activation in ["relu", "leaky_relu", "tanh", "sigmoid"] {
        for momentum in ["0", "0.9"] {
            let flags = format!("--activation {activation} --momentum {momentum}");
            let out = format!("{activation}{momentum}");
            let ended = work.rookie(&train(&format!("--out {out} {flags}"))).exits(0);
            let losses = work.csv(format!("{out}/curve.csv")).numbers("train_loss");
            ended.check(losses[5] < 0.8 * losses[0], format!("the loss falls: {losses:?}"));
        }
    }
}

#[test]
fn a_curve_counts_epochs_from_1_and_holds_validation_where_there_was_one() {
    let work = Work::trained();
    let curve = work.csv("run/curve.csv");
    assert_eq!(
        curve.header.join(","),
        "epoch,learning_rate,train_loss,train_accuracy,validation_loss,validation_accuracy"
    );
    assert_eq!(curve.column("epoch"), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(curve.numbers("train_loss").len(), 6);
    for name in ["validation_loss", "validation_accuracy"] {
        let evaluated: Vec<bool> = curve.column(name).iter().map(|text| !text.is_empty()).collect();
        assert_eq!(evaluated, [false, false, false, true, false, true], "{name}");
    }
}

#[test]
fn evaluate_finds_the_accuracies_of_the_record() {
    let work = Work::trained();
    for (part, images) in [("validation", 50), ("test", 60)] {
        let ended = work.rookie(&format!("evaluate run/model.safetensors --split {part}"));
        let accuracy = recorded(&work, "run", &format!("{part}_accuracy"));
        let correct = (accuracy * f64::from(images)).round();
        ended.exits(0).prints(&format!("{correct} of {images} images"));
    }
    for (split, sentence) in [
        (
            "train",
            "of 250 images\n          The model was trained on these images: this is no estimate",
        ),
        (
            "validation",
            "of 50 images\n          The weights were chosen on these images: this is slightly",
        ),
    ] {
        let ended = work.rookie(&format!("evaluate run/model.safetensors --split {split}"));
        let ended = ended.exits(0).prints(sentence);
        let shown = ended.stdout.contains("95 % interval");
        ended.check(!shown, "it has no interval");
    }
    work.rookie("evaluate run/model.safetensors").exits(0).prints("95 % interval");
}

#[test]
fn evaluate_writes_its_tables_as_csv() {
    let work = Work::trained();
    for file in ["classes.csv", "confusion.csv"] {
        work.write(format!("mine/{file}"), "class,name\n0,a\n");
        let refused = work.rookie("evaluate run/model.safetensors --csv mine").exits(2);
        refused.says(&format!("mine/{file}: is there and was not written by this command"));
        assert_eq!(work.contents("mine").len(), 1);
        std::fs::remove_file(work.path(format!("mine/{file}"))).unwrap();
    }
    work.rookie("evaluate run/model.safetensors --csv tables").exits(0);
    // What it wrote itself it may replace.
    work.rookie("evaluate run/model.safetensors --csv tables").exits(0);
    let (classes, confusion) = (work.csv("tables/classes.csv"), work.csv("tables/confusion.csv"));
    assert_eq!(classes.header.join(","), "class,name,precision,recall,f1,images");
    let counts = ["taken_for_0", "taken_for_1", "taken_for_2"].map(|name| confusion.numbers(name));
    assert_eq!(counts.iter().flatten().sum::<f64>(), 60.0);
    let correct: f64 = (0..3).map(|class| counts[class][class]).sum();
    assert_eq!(correct / 60.0, recorded(&work, "run", "test_accuracy"));
    let labels = &work.bytes(Path::new(DATA).join(TEST_LABELS))[8..];
    for class in 0..3 {
        let images = labels.iter().filter(|&&label| usize::from(label) == class).count() as f64;
        assert_eq!(counts.iter().map(|column| column[class]).sum::<f64>(), images);
        assert_eq!(classes.numbers("images")[class], images);
        let taken_for_it: f64 = counts[class].iter().sum();
        for (name, of) in [("recall", images), ("precision", taken_for_it)] {
            let found = classes.numbers(name)[class];
            assert!((found - counts[class][class] / of).abs() < 1e-6, "{name} {found}");
        }
    }
}

#[test]
fn rank_prints_a_ranking_as_table_csv_and_markdown() {
    let work = Work::new();
    let grid = work.rookie("grid my.toml").exits(0);
    assert_eq!(work.rookie("rank results/my").exits(0).stdout, grid.stdout);
    for (format, file) in [("csv", "ranking.csv"), ("markdown", "top10.md")] {
        let ended = work.rookie(&format!("rank results/my --format {format}")).exits(0);
        assert_eq!(ended.stdout, work.text(Path::new("results/my").join(file)));
    }
    let csv = |flags: &str| {
        Csv::parse(&work.rookie(&format!("rank --format csv {flags}")).exits(0).stdout)
    };
    let all = csv("results/my");
    let by_validation = csv("results/my --by validation");
    assert!(by_validation.numbers("validation_accuracy").is_sorted_by(|a, b| a >= b));
    assert_ne!(by_validation.column("run"), all.column("run"));
    assert_eq!(csv("results/my --top 2").rows, all.rows[..2]);

    work.rookie("grid my.toml --epochs 3 --lr-decay 0.5 --out short").exits(0);
    let both = csv("results/my short");
    assert!(both.numbers("test_accuracy").is_sorted_by(|a, b| a >= b));
    let count = |folder: &str| both.column("run").iter().filter(|r| r.starts_with(folder)).count();
    assert_eq!((count("results/my/"), count("short/")), (6, 3));

    fs::remove_dir_all(work.path("short/runs/lr0.2_decay0.5")).unwrap();
    work.rookie("rank short").exits(0).says("short: 1 run of 3 not finished");
}

#[test]
fn predictions_are_the_likeliest_classes_and_as_good_as_the_record_says() {
    let work = Work::trained();
    let model = "run/model.safetensors";
    let ended = work.rookie(&format!("predict {model} {DATA}/{TEST_IMAGES} --standardise batch"));
    let found = Csv::parse(&ended.exits(0).stdout);
    let probabilities = [0, 1, 2].map(|class| found.numbers(&format!("probability_{class}")));
    let indices: Vec<f64> = (0..60).map(f64::from).collect();
    assert_eq!(found.numbers("index"), indices);
    let labels = &work.bytes(Path::new(DATA).join(TEST_LABELS))[8..];
    let mut correct = 0.0;
    for (index, predicted) in found.numbers("label").into_iter().enumerate() {
        let of_image = probabilities.each_ref().map(|of_class| of_class[index]);
        assert!((of_image.iter().sum::<f64>() - 1.0).abs() < 1e-5, "image {index}: {of_image:?}");
        assert!(of_image.iter().all(|&p| p <= of_image[predicted as usize]), "image {index}");
        correct += f64::from(u8::from(predicted as u8 == labels[index]));
    }
    assert_eq!(correct / 60.0, recorded(&work, "run", "test_accuracy"));
}

#[test]
fn a_split_holds_every_image_once_in_full_batches() {
    let work = Work::new();
    let split = |seed: u32| {
        let flags = format!("--batch-size 32 --validation-size 50 --data-seed {seed}");
        work.rookie(&format!("split {flags}")).exits(0).stdout
    };
    let csv = Csv::parse(&split(0));
    assert_eq!(csv.header, ["index", "split", "batch", "position"]);
    let [indices, batches, positions] =
        ["index", "batch", "position"].map(|name| csv.numbers(name));
    let of = |part: &str| {
        let rows = csv.column("split").into_iter().enumerate().filter(|(_, name)| *name == part);
        let rows: Vec<usize> = rows.map(|(row, _)| row).collect();
        for (place, &row) in rows.iter().enumerate() {
            assert_eq!((batches[row], positions[row]), ((place / 32) as f64, (place % 32) as f64));
        }
        rows.into_iter().map(|row| indices[row] as usize).collect::<Vec<_>>()
    };
    let [train, validation, test] = ["train", "validation", "test"].map(of);
    assert_eq!((train.len(), validation.len()), (250, 50));
    assert_eq!(test, (0..60).collect::<Vec<_>>());
    assert!(!train.is_sorted());
    let once: BTreeSet<usize> = train.into_iter().chain(validation).collect();
    assert_eq!(once, (0..300).collect());
    assert_eq!(split(0), split(0));
    assert_ne!(split(0), split(1));
}

#[test]
fn a_split_of_a_later_epoch_moves_training_images_alone() {
    let work = Work::new();
    let split = |epoch: &str| {
        let flags = format!("--batch-size 32 --validation-size 50 {epoch}");
        let csv = Csv::parse(&work.rookie(&format!("split {flags}")).exits(0).stdout);
        let (indices, parts) = (csv.numbers("index"), csv.column("split"));
        let of = |part| {
            let rows = indices.iter().zip(&parts).filter(|(_, name)| **name == part);
            rows.map(|(&index, _)| index as usize).collect::<Vec<_>>()
        };
        (of("train"), of("validation"), of("test"))
    };
    let (first, second, third) = (split("--epoch 1"), split("--epoch 2"), split("--epoch 3"));
    assert_eq!(split(""), first);
    assert!(first.0 != second.0 && second.0 != third.0);
    assert_eq!((&first.1, &first.2), (&second.1, &second.2));
    let sorted = |images: &[usize]| images.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(sorted(&first.0), sorted(&second.0));
}

#[test]
fn batches_are_standardised_and_shuffled_as_asked_for() {
    let work = Work::new();
    let curve = |flags: &str| {
        if work.path("run").exists() {
            fs::remove_dir_all(work.path("run")).unwrap();
        }
        work.rookie(&train(&format!("--out run {flags}"))).exits(0);
        let losses = work.csv("run/curve.csv").numbers("train_loss");
        (losses[0], losses[1])
    };
    let fixed = curve("");
    assert_eq!(curve("--reshuffle=false --standardisation batch"), fixed);
    // The first epoch's batches are those of the split, later ones' are not.
    let reshuffled = curve("--reshuffle");
    assert!(reshuffled.0 == fixed.0 && reshuffled.1 != fixed.1, "{fixed:?} {reshuffled:?}");
    assert_eq!(curve("--reshuffle"), reshuffled);
    assert_eq!(work.toml("run/run.toml")["reshuffle"].as_bool(), Some(true));
    let by_dataset = curve("--standardisation dataset");
    assert_ne!(by_dataset.0, fixed.0);
    // What the record says of a model is found again with its own way of making inputs.
    let correct = (recorded(&work, "run", "test_accuracy") * 60.0).round();
    let evaluated = work.rookie("evaluate run/model.safetensors").exits(0);
    evaluated.prints(&format!("{correct} of 60 images"));
}

/// An IDX file of some of the test images, in the order of `indices`.
fn some_test_images(indices: &[usize]) -> Vec<u8> {
    let (all, size) = (SMALL.files()[2].clone(), SMALL.height * SMALL.width);
    let mut file = all[..16].to_vec();
    file[4..8].copy_from_slice(&(indices.len() as u32).to_be_bytes());
    file.extend(indices.iter().flat_map(|at| &all[16 + at * size..16 + (at + 1) * size]));
    file
}

#[test]
fn predictions_are_the_same_bytes_in_any_order_and_for_an_image_by_itself() {
    for flags in ["", "--standardisation dataset"] {
        let work = Work::new();
        work.rookie(&train(&format!("--out run {flags}"))).exits(0);
        let predicted = |indices: &[usize]| -> Vec<String> {
            work.write("images", some_test_images(indices));
            let ended = work.rookie("predict run/model.safetensors images").exits(0);
            assert_eq!(ended.stderr, "");
            // Each line without its index.
            let lines = ended.stdout.lines().skip(1);
            lines.map(|line| line.split_once(',').unwrap().1.to_string()).collect()
        };
        let in_file_order: Vec<usize> = (0..60).collect();
        let expected = predicted(&in_file_order);
        let mut by_class = in_file_order.clone();
        by_class.sort_by_key(|&at| SMALL.files()[3][8 + at]);
        let shuffled: Vec<usize> = (0..60).map(|at| at * 37 % 60).collect();
        for order in [by_class, shuffled, vec![5], vec![59, 0, 59]] {
            let found = predicted(&order);
            let expected: Vec<String> = order.iter().map(|&at| expected[at].clone()).collect();
            assert_eq!(found, expected, "{flags} {order:?}");
        }
    }
}

#[test]
fn an_older_model_takes_its_training_moments_from_its_data_or_says_that_they_are_missing() {
    let work = Work::trained();
    let mut model = Model::read(&work.path("run/model.safetensors")).unwrap();
    model.preprocessing.moments = None;
    work.write("run/older.safetensors", model.to_bytes());
    let images = format!("{DATA}/{TEST_IMAGES}");
    let expected = work.rookie(&format!("predict run/model.safetensors {images}")).exits(0);
    let found = work.rookie(&format!("predict run/older.safetensors {images} --data {DATA}"));
    assert_eq!(found.exits(0).stdout, expected.stdout);
    work.write_data("other", DataSet { train: 299, ..SMALL });
    for data in ["nowhere", "other"] {
        let command = format!("predict run/older.safetensors {images} --data {data}");
        let ended = work.rookie(&command).exits(2);
        ended.says("has no training moments").says("--standardise batch");
    }
    let evaluate = |arguments: &str| work.rookie(&format!("evaluate run/{arguments}")).exits(0);
    let older = evaluate("older.safetensors").says_nothing().stdout;
    assert_eq!(older, evaluate("model.safetensors").says_nothing().stdout);
    let with_moments = "% standardised with the training moments, as `rookie predict` does";
    assert!(older.contains(with_moments), "{older}");
    let warned = "was trained on another folder than other, which may hold some of the same images";
    evaluate("model.safetensors --data other").says(warned).prints(with_moments);
    // Without a record beside it, the z-score tells.
    fs::rename(work.path("run/older.safetensors"), work.path("older.safetensors")).unwrap();
    let ended = work.rookie("evaluate older.safetensors --data other").exits(0);
    let unknown =
        "has no run.toml beside it, so it is not known whether it was trained on images of other";
    let ended = ended.says(unknown).says("; the accuracy with the training moments is left out,");
    let holds = !ended.stdout.contains(with_moments) && ended.stderr.lines().count() == 1;
    ended.check(holds, "it leaves the accuracy out and says so in one sentence");
    let predict = format!("predict older.safetensors {images} --data other");
    let phrase = "and other holds other images than it was trained on";
    work.rookie(&predict).exits(2).says(phrase);
    work.rookie(&predict.replace("other", DATA)).exits(0);
}

#[test]
fn results_of_values_that_are_no_longer_trained_with_are_read() {
    let work = Work::ranked();
    let ranked = work.rookie("rank results/my").exits(0).stdout;
    let runs = fs::read_dir(work.path("results/my/runs")).unwrap();
    let records = runs.map(|run| run.unwrap().path().join("run.toml"));
    for path in records.chain([work.path("results/my/grid.toml")]) {
        let text = fs::read_to_string(&path).unwrap();
        let changed = text.replace("weight_decay = 0.001", "weight_decay = 1e9");
        assert_ne!(text, changed);
        fs::write(path, changed).unwrap();
    }
    assert_eq!(
        work.rookie("rank results/my").exits(0).stdout.lines().count(),
        ranked.lines().count()
    );
    let path = work.path("results/my/runs/lr0.1_decay0.5/model.safetensors");
    let mut model = Model::read(&path).unwrap();
    let mut values = (*model.values).clone();
    values.batch_size = 1;
    model.values = values.check().unwrap();
    fs::write(work.path("copied.safetensors"), model.to_bytes()).unwrap();
    work.rookie("evaluate copied.safetensors").exits(0);

    // But they are not trained with.
    for (command, place) in [
        (
            "grid my.toml --weight-decay 1e9 --out new".to_string(),
            "--weight-decay: in run lr0.2_decay0.5",
        ),
        ("train results/my/runs/lr0.1_decay0.5/run.toml --out new".into(), "weight_decay"),
    ] {
        let problem = format!("{place}: found learning_rate 0.");
        work.rookie(&command).exits(2).says(&problem).says("with weight_decay 1000000000");
    }
}

#[test]
fn last_batches_that_are_too_small_are_told_before_training_and_by_evaluate() {
    let work = Work::new();
    // 250 training images, 50 for validation, 60 for the test.
    let warned = "the last training batch has 1 image";
    for command in [
        train("--out run").replace("--batch-size 32", "--batch-size 83"),
        "grid my.toml --batch-size 83 --dry-run".to_string(),
        "grid my.toml --batch-size 83 --epochs 1".to_string(),
    ] {
        work.rookie(&command).exits(0).says(warned).says("--batch-size 84 avoids it");
    }
    let several = "grid my.toml --batch-size 83 --data-seed 1,2 --reshuffle=true,false --dry-run";
    let ended = work.rookie(several).exits(0).says(warned);
    let lines = ended.stderr.matches(warned).count();
    ended.check(lines == 1, "one line for all seeds");
    // They have no --batch-size.
    let evaluated = work.rookie("evaluate run/model.safetensors --split train").exits(0);
    let evaluated = evaluated.says(warned);
    let advises = evaluated.stderr.contains("--batch-size");
    evaluated.check(!advises, "no batch size is advised");
    work.write("images", some_test_images(&[0, 1, 2]));
    let predict = "predict run/model.safetensors images --standardise batch";
    let predicted = work.rookie(predict).exits(0).says("the last input batch has 3 images");
    let predicted = predicted.says("; leave out `--standardise batch`");
    let advises = predicted.stderr.contains("--batch-size");
    predicted.check(!advises, "no batch size is advised");
    let by_data_set = train("--out other --standardisation dataset");
    let by_data_set = by_data_set.replace("--batch-size 32", "--batch-size 83");
    assert!(!work.rookie(&by_data_set).exits(0).stderr.contains("warning"));
}

#[test]
fn a_model_from_before_a_key_existed_means_its_default() {
    let work = Work::trained();
    let bytes = work.bytes("run/model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut metadata = header.metadata().clone().unwrap();
    for (key, default) in [("standardisation", "batch"), ("reshuffle", "false")] {
        assert_eq!(metadata.remove(key).as_deref(), Some(default));
    }
    work.write("old", safetensors::serialize(tensors.tensors(), Some(metadata)).unwrap());
    let of = |model| work.rookie(&format!("evaluate {model}")).exits(0).stdout;
    assert_eq!(of("old"), of("run/model.safetensors"));
}

#[test]
fn precision_is_named_in_files_of_runs_in_bf16_alone() {
    let work = Work::trained();
    let metadata = |model: &str| {
        let bytes = work.bytes(model);
        SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap()
    };
    let record = work.toml("run/run.toml");
    assert!(record.get("precision").is_none() && record["provenance"].get("bf16").is_none());
    assert!(!metadata("run/model.safetensors").contains_key("precision"));
    if is_skipped_without_bf16() {
        return;
    }
    work.rookie(&train("--precision bf16 --out bf16")).exits(0);
    let record = work.toml("bf16/run.toml");
    assert_eq!(record["precision"].as_str(), Some("bf16"));
    let instructions = record["provenance"]["bf16"].as_str().unwrap();
    assert!(["amx", "avx512_bf16"].contains(&instructions), "{instructions}");
    assert_eq!(metadata("bf16/model.safetensors")["precision"], "bf16");
    // Another network of numbers, and nearly the same answers.
    let loss =
        |run: &str| *work.csv(format!("{run}/curve.csv")).numbers("train_loss").last().unwrap();
    let ratio = loss("bf16") / loss("run");
    assert!(ratio != 1.0 && (ratio - 1.0).abs() < 0.05, "{ratio}");
    // The same run from its record, and a grid with both.
    work.rookie("train bf16/run.toml --out again").exits(0);
    assert_eq!(work.reproducible("again"), work.reproducible("bf16"));
    let grid = "grid my.toml --learning-rate 0.1 --lr-decay 0.5 --precision f32,bf16";
    work.rookie(grid).exits(0);
    let ranking = work.csv("results/my/ranking.csv");
    assert!(ranking.column("precision").contains(&"bf16"));
    work.rookie("grid my.toml --out plain").exits(0);
    assert!(!work.text("plain/grid.toml").contains("precision"));
    let row = work.rookie("grid my.toml --dry-run").exits(0);
    row.prints("if trained with --precision bf16");
}

#[test]
fn gzip_is_told_by_content_and_changes_nothing() {
    let work = Work::new();
    for (folder, suffix, packed) in [
        ("plain", "", false),
        ("gz", ".gz", true),
        ("gz-unnamed", "", true),
        ("liar", ".gz", false),
    ] {
        for (name, contents) in FILES.iter().zip(SMALL.files()) {
            let contents = if packed { gzip(&contents) } else { contents };
            work.write(format!("{folder}/{name}{suffix}"), contents);
        }
        let out = format!("of-{folder}");
        work.rookie(&format!("grid my.toml --data {folder} --out {out}")).exits(0);
        assert_eq!(work.reproducible(&out), work.reproducible("of-plain"), "{folder}");
    }
}

#[test]
fn data_are_looked_for_as_flagged_then_as_in_the_environment_then_locally() {
    let work = Work::new();
    work.write_data("flagged", DataSet { test: 61, ..SMALL });
    work.write_data("environment", DataSet { test: 62, ..SMALL });
    for (flags, variable, expected) in [
        ("--data flagged", Some("environment"), 61),
        ("--data flagged", None, 61),
        ("", Some("environment"), 62),
        ("", Some(""), 60),
        ("", None, 60),
    ] {
        let arguments = format!("split --validation-size 50 {flags}");
        let mut command = work.command(&arguments);
        command.envs(variable.map(|folder| ("ROOKIE_DATA", folder)));
        let ended = Ended::of(&arguments, command).exits(0);
        let found = ended.stdout.lines().filter(|line| line.contains(",test,")).count();
        ended.check(found == expected, format!("{found} images with {variable:?}, of {expected}"));
    }
}

#[test]
fn a_model_holds_its_weights_by_name_and_how_they_were_trained() {
    let work = Work::trained();
    let bytes = work.bytes("run/model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let shapes: BTreeMap<String, Vec<usize>> = tensors
        .iter()
        .map(|(name, tensor)| {
            let is_moment = name.starts_with("feature_");
            let expected = if is_moment { Dtype::F64 } else { Dtype::F32 };
            assert_eq!(tensor.dtype(), expected, "{name}");
            (name.to_string(), tensor.shape().to_vec())
        })
        .collect();
    let expected: [(&str, &[usize]); 8] = [
        ("feature_mean", &[30]),
        ("feature_variance", &[30]),
        ("w1", &[30, 16]),
        ("b1", &[16]),
        ("w2", &[16, 12]),
        ("b2", &[12]),
        ("w3", &[12, 3]),
        ("b3", &[3]),
    ];
    assert_eq!(shapes, expected.map(|(name, shape)| (name.to_string(), shape.to_vec())).into());

    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    for (key, expected) in [
        ("learning_rate", "0.2"),
        ("hidden", "16,12"),
        ("activation", "relu"),
        ("batch_size", "32"),
        ("classes", "3"),
        ("data_seed", "0"),
        ("best_epoch", &work.toml("run/run.toml")["best_epoch"].to_string()),
        ("validation_accuracy", &recorded(&work, "run", "validation_accuracy").to_string()),
    ] {
        assert_eq!(metadata[key], expected, "{key}");
    }
    assert!(["z_mean", "z_std"].iter().all(|key| metadata[*key].parse::<f64>().unwrap() > 0.0));
}

#[test]
fn every_command_has_help_and_the_program_its_version() {
    let work = Work::new();
    for command in ["grid", "train", "rank", "evaluate", "predict", "split", "bench", "completions"]
    {
        let ended = work.rookie(&format!("{command} --help")).exits(0);
        ended.prints(&format!("Usage: rookie {command}")).says_nothing();
        work.rookie(&format!("{command} --no-such-flag")).exits(2).says("--no-such-flag");
        work.rookie("--help").exits(0).prints(&format!("\n  {command} "));
    }
    work.rookie("--version").exits(0).prints(concat!("rookie ", env!("CARGO_PKG_VERSION")));
    work.rookie("completions bash").exits(0).prints("complete -F _rookie");
}

#[test]
fn figures_are_of_what_a_grid_varies_and_of_what_its_data_are() {
    let work = Work::new();
    work.write("depth.toml", "[values]\nbatch_size = 32\nvalidation_size = 50\nepochs = 4\nlr_decay_every = 2\n[[runs]]\nhidden = [5]\n[[runs]]\nhidden = [5, 4]\n");
    work.rookie("grid depth.toml").exits(0);
    work.rookie("plot grid results/depth --format svg").exits(0);
    let text = work.text("results/depth/figures/main_effects.svg");
    assert!(text.contains("hidden_2") && text.contains("none"), "{text}");
    // Images of this data set are 6 pixels high and 5 wide, and so are weights.
    work.rookie("plot weights results/depth/runs/h5-4/model.safetensors --format svg").exits(0);
    let text = work.text("results/depth/runs/h5-4/figures/w_product.svg");
    assert_eq!(text.matches("width=\"25\" height=\"30\"").count(), 3, "{text}");

    // Too many values for a heat map.
    let rates: Vec<String> = (1..=41).map(|n| format!("0.{n:03}")).collect();
    let many = format!(
        "grid depth.toml --out many --lr-decay 0.5,0.4 --learning-rate {}",
        rates.join(",")
    );
    work.rookie(&format!("{many} --hidden 3")).exits(0);
    work.rookie("plot grid many --format svg")
        .exits(0)
        .says("no heat map of learning_rate: it has 41 values");
    let refused = work.rookie("plot grid many --heat-map lr_decay,learning_rate").exits(2);
    refused.says("--heat-map: found learning_rate with 41 values, expected at most 40 values");

    // Other data of the same shape.
    work.write_data("other", DataSet { test: SMALL.test + 1, ..SMALL });
    let told = work.rookie("report results/depth --data other").exits(0);
    told.says("the confusion matrix of the best run is not shown: other holds other data");
    assert!(!work.text("results/depth/report.html").contains("id=\"confusion\""));
    let model = "results/depth/runs/h5-4/model.safetensors";
    work.rookie(&format!("plot errors {model} --data other"))
        .exits(0)
        .says("other holds other data");
    let fresh = work.rookie("grid depth.toml --fresh --yes --epochs 3").exits(0);
    fresh.check(!work.path("results/depth/report.html").exists(), "no report of what has gone");
}

#[test]
fn a_report_is_one_file_that_is_written_again_as_runs_end() {
    let work = Work::ranked();
    work.rookie("report results/my").exits(0).says("wrote results/my/report.html");
    let whole = work.text("results/my/report.html");
    assert!(whole.contains("All 6 runs have finished.") && whole.ends_with("</html>"));
    work.rookie("report results/my --out again.html").exits(0);
    assert_eq!(work.text("again.html"), whole);

    // One run has not ended yet.
    let record = work.path("results/my/runs/lr0.1_decay0.5/run.toml");
    let aside = work.path("aside");
    std::fs::rename(&record, &aside).unwrap();
    let watched = "report results/my --watch --out watched.html";
    let holds = |text: &str| {
        let page = work.path("watched.html");
        page.exists() && work.text("watched.html").contains(text)
    };
    let mut interrupted = work.start(watched);
    wait_until("it is written", || holds("5 of 6 runs have finished."));
    assert!(holds("\"watched\":true"));
    interrupted.signal("TERM");
    interrupted.end().exits(143);
    assert!(holds("\"watched\":false"), "a page that nobody writes any more waits for nothing");
    let running = work.start(watched);
    wait_until("it is written", || holds("\"watched\":true"));
    std::fs::rename(&aside, &record).unwrap();
    running.end().exits(0).says("all runs have finished");
    assert!(holds("All 6 runs have finished."));
}

#[test]
fn configurations_are_compared_over_their_seeds_and_with_published_accuracies() {
    let work = Work::new();
    work.rookie("grid my.toml --learning-rate 0.2,0.02 --lr-decay 0.5 --seed 1,2 --out two")
        .exits(0);
    let csv = |flags: &str| {
        let ended = work.rookie(&format!("compare {flags} --format csv")).exits(0);
        Csv::parse(&ended.stdout)
    };
    let whole = csv("two");
    assert_eq!(whole.column("learning_rate"), ["0.2", "0.02"]);
    assert_eq!(whole.column("runs"), ["2", "2"]);
    let test = |run: &str| recorded(&work, &format!("two/runs/{run}"), "test_accuracy");
    let mean = |rate: &str| {
        let of_seed = |seed| test(&format!("lr{rate}_decay0.5_seed{seed}"));
        f64::midpoint(of_seed(1), of_seed(2))
    };
    let means = whole.numbers("test_accuracy_mean");
    assert!((means[0] - mean("0.2")).abs() < 1e-6 && (means[1] - mean("0.02")).abs() < 1e-6);
    let differences = whole.column("difference");
    assert_eq!(differences[0], "");
    assert!((differences[1].parse::<f64>().unwrap() - (means[1] - means[0])).abs() < 1e-5);

    // Run by run, with another baseline.
    let runs = "two/runs/lr0.2_decay0.5_seed1 two/runs/lr0.02_decay0.5_seed1";
    let single = csv(&format!("{runs} --baseline two/runs/lr0.02_decay0.5_seed1"));
    assert_eq!(single.column("runs"), ["1", "1"]);
    assert_eq!(single.column("difference")[1], "");

    work.write("known.csv", "learning_rate,test_accuracy\n0.02,0.9\n0.2,0.8\n");
    let markdown = "compare two --reference known.csv --format markdown --figure two.svg";
    let page = work.rookie(markdown).exits(0).prints("| Rank |").says("wrote two.svg");
    page.prints("The 2 rows with a published accuracy have ");
    let figure = String::from_utf8(work.bytes("two.svg")).unwrap();
    assert!(figure.contains("diamond: published") && figure.starts_with("<svg"), "{figure}");

    // Without model and predictions of a run, verdicts are about these images.
    let run = work.path("two/runs/lr0.02_decay0.5_seed1");
    for name in ["model.safetensors", PREDICTIONS] {
        fs::remove_file(run.join(name)).unwrap();
    }
    let ended = work.rookie("compare two").exits(0);
    let ended = ended.says(
        "1 run without test_predictions.csv.gz or model.safetensors: verdicts about its configuration",
    );
    ended.prints("on these 60 test images");
}
