//! Folds: each is a run, and a configuration is its mean over them.

mod support;

use support::{Csv, Work, wait_until};

/// Three rates with three folds: nine runs.
const FOLDS: &str = "\
folds = 3
[values]
hidden = [8]
batch_size = 32
epochs = 8
eval_every = 2
[axes]
learning_rate = [0.02, 0.01, 0.001]
";

/// With [`FOLDS`] as `folds.toml`.
fn work() -> Work {
    let work = Work::new();
    work.write("folds.toml", FOLDS);
    work
}

/// A table whose label follows from its features, with groups of three rows.
fn table(rows: usize) -> String {
    let row = |row: usize| {
        let class = ["a", "b", "b", "c"][row % 4];
        let at = row % 4 * 10 + row % 3;
        format!("{at},{},{},{class}\n", row * 7 % 11, row / 3)
    };
    format!("x,z,family,label\n{}", (0..rows).map(row).collect::<String>())
}

/// The rows in their files that `rookie split` with these flags has for these parts, sorted.
fn rows_of(work: &Work, parts: &[&str], flags: &str) -> Vec<usize> {
    let csv = work.rookie(&format!("split {flags}")).exits(0).stdout;
    let is_of = |line: &&str| parts.contains(&line.split(',').nth(1).unwrap());
    let rows = csv.lines().filter(is_of);
    let mut rows: Vec<usize> =
        rows.map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    rows.sort_unstable();
    rows
}

fn folds(work: &Work, flags: &str) -> Vec<Vec<usize>> {
    let fold =
        |fold| rows_of(work, &["validation"], &format!("--validation-size fold{fold}of3 {flags}"));
    (1..=3).map(fold).collect()
}

fn mean(cells: &[&str]) -> f64 {
    cells.iter().map(|cell| cell.parse::<f64>().unwrap()).sum::<f64>() / cells.len() as f64
}

#[test]
fn every_training_and_validation_row_is_in_one_fold_of_images_and_of_tables() {
    let work = work();
    work.write("table.csv", table(120));
    work.write("more.csv", table(30));
    let table = "--data table.csv --ignore family";
    for (flags, count) in [
        (String::new(), 300),
        (table.into(), 96),
        (format!("{table} --no-stratify"), 96),
        (format!("{table} --test more.csv"), 120),
        // Rows that are given for validation are divided with the others.
        (format!("{table} --test more.csv --validation more.csv"), 150),
    ] {
        let folds = folds(&work, &flags);
        let mut all = folds.concat();
        all.sort_unstable();
        let both = ["train", "validation"];
        let expected = rows_of(&work, &both, &format!("--validation-size fold1of3 {flags}"));
        assert_eq!((all.len(), &all), (count, &expected), "{flags}");
        assert_eq!(folds.iter().map(Vec::len).collect::<Vec<_>>(), [count / 3; 3], "{flags}");
    }
    // Two files have a row of each number, so the split says which file it is.
    let both = format!("split {table} --test more.csv --validation more.csv");
    let csv = work.rookie(&format!("{both} --validation-size fold1of3")).exits(0).stdout;
    let csv = Csv::parse(&csv);
    let rows = csv.column("given").into_iter().zip(csv.numbers("index")).zip(csv.column("split"));
    for (given, count) in [("train", 120), ("validation", 30), ("test", 30)] {
        let is_given =
            |row: &((&str, f64), &str)| row.0.0 == given && (row.1 == "test") == (given == "test");
        let mut indices: Vec<f64> = rows.clone().filter(is_given).map(|row| row.0.1).collect();
        indices.sort_by(f64::total_cmp);
        assert_eq!(indices, (0..count).map(f64::from).collect::<Vec<_>>(), "{given}");
    }
    assert!(!work.rookie(&both).exits(0).stdout.contains("given"), "each part is a file");
    let class = |rows: &Vec<usize>| rows.iter().filter(|&&row| row % 4 == 0).count();
    let all_given = format!("{table} --test more.csv");
    assert_eq!(folds(&work, &all_given).iter().map(class).collect::<Vec<_>>(), [10; 3]);
    let drawn = folds(&work, &format!("{all_given} --no-stratify"));
    assert_ne!(drawn.iter().map(class).collect::<Vec<_>>(), [10; 3], "without regard to classes");
}

#[test]
fn no_fold_divides_a_group_also_where_validation_rows_are_given() {
    let work = work();
    work.write("table.csv", table(120));
    work.write("more.csv", table(30));
    for more in ["", "--validation more.csv"] {
        let flags = format!("--data table.csv --test more.csv --group family {more}");
        let folds = folds(&work, &flags);
        for family in 0..40 {
            let has =
                |rows: &&Vec<usize>| (3 * family..3 * family + 3).any(|it| rows.contains(&it));
            assert_eq!(folds.iter().filter(has).count(), 1, "family {family} {more}");
        }
    }
    let ended = work.rookie(
        "split --data table.csv --test more.csv --group family --validation-size fold1of50",
    );
    ended.exits(2).says("found groups for fewer than 50 folds");
}

#[test]
fn test_rows_that_another_file_holds_too_are_counted() {
    let work = work();
    work.write("table.csv", table(120));
    work.write("more.csv", table(30) + "77,7,99,a\n");
    let split = |flags: &str| work.rookie(&format!("split --data table.csv {flags}")).exits(0);
    let drawn: Vec<usize> = rows_of(&work, &["test"], "--data table.csv --ignore family");
    let count = drawn.iter().filter(|row| **row < 30).count();
    for (flags, told) in [
        ("--validation table.csv", "24 of 24 test rows are equal to validation rows"),
        ("--validation more.csv", &format!("{count} of 24 test rows are equal to validation")[..]),
        ("--validation more.csv", "22 of 31 validation rows are equal to training rows, so the"),
        (
            "--test more.csv",
            "30 of 31 test rows are equal to training rows, so the test accuracy may",
        ),
    ] {
        split(&format!("{flags} --ignore family")).says(&format!("warning: {told}"));
    }
    let grouped = split("--validation more.csv --group family --validation-size fold1of3");
    grouped.says(
        " test rows share a group with validation rows, so the test accuracy may be too high\n",
    );
    split("--ignore family").says_nothing();
    split("--test table.csv --ignore family").says_nothing();
}

#[test]
fn each_fold_is_a_run_and_each_configuration_its_mean_which_chooses() {
    let work = work();
    let ended = work.rookie("grid folds.toml --seed 1,2").exits(0);
    let (runs, settings) =
        (work.csv("results/folds/ranking.csv"), work.csv("results/folds/settings.csv"));
    assert_eq!((runs.column("run").len(), settings.column("runs")), (18, vec!["6"; 3]));
    assert_eq!(settings.column("validation_size"), ["3 folds"; 3]);
    assert!(work.path("results/folds/runs/lr0.02_fold2of3_seed1/model.safetensors").exists());
    let mut best = (0.0, "");
    for (at, rate) in settings.column("learning_rate").into_iter().enumerate() {
        let of = |column: &str| -> Vec<&str> {
            let rates = runs.column("learning_rate").into_iter().zip(runs.column(column));
            rates.filter(|(of, _)| *of == rate).map(|(_, cell)| cell).collect()
        };
        for name in ["test_accuracy", "validation_accuracy"] {
            let found: f64 = settings.column(&format!("{name}_mean"))[at].parse().unwrap();
            assert!((found - mean(&of(name))).abs() < 1e-6, "{name} of {rate}");
        }
        let validation = mean(&of("validation_accuracy"));
        best = if validation > best.0 { (validation, rate) } else { best };
    }
    let ended =
        ended.says(&format!("best by mean validation over 6 runs: learning_rate {}", best.1));
    let place = 1 + settings.column("learning_rate").iter().position(|it| *it == best.1).unwrap();
    let chosen = format!("Validation chooses row {place}: ");
    assert!(ended.stdout.contains(&chosen), "{}", ended.stdout);
    assert!(work.text("results/folds/top10.md").contains(&chosen));
    let compared = work.rookie("compare results/folds").exits(0).stdout;
    assert!(compared.contains(&chosen) && compared.contains("Folds count as seeds"), "{compared}");
    // Beside a configuration without folds, the validation size tells them apart.
    let sizes = |ended: &str| ended.lines().next().unwrap().contains("Validation size");
    assert!(!sizes(&work.rookie("rank results/folds").stdout));
    work.rookie("grid folds.toml --validation-size 40 --learning-rate 0.02 --out single").exits(0);
    assert!(sizes(&work.rookie("rank results/folds single").exits(0).stdout));
    // A configuration that lacks a fold is not chosen.
    let rate = best.1;
    std::fs::remove_dir_all(work.path(format!("results/folds/runs/lr{rate}_fold1of3_seed1")))
        .unwrap();
    std::fs::remove_dir_all(work.path(format!("results/folds/runs/lr{rate}_fold1of3_seed2")))
        .unwrap();
    let compared = work.rookie("compare results/folds").prints("Validation chooses row").stdout;
    assert!(!compared.contains(&format!("row {place}: ")), "{compared}");
    let ranked = work.rookie("rank results/folds").prints("Validation chooses row").stdout;
    let last = ranked.lines().nth(5).unwrap();
    assert!(last.starts_with(' ') && last.contains(&format!(" {rate} ")), "{ranked}");
}

#[test]
fn configurations_without_all_their_folds_have_no_rank_and_are_not_chosen() {
    let work = work();
    let diverging = "grid folds.toml --learning-rate 1e9,2e9 --weight-decay 0 --out diverged";
    let ended = work.rookie(diverging).exits(1).says("no run finished training");
    let ended = ended.prints("Validation cannot choose, because runs have different");
    assert!(!ended.stderr.contains("best by") && !ended.stdout.contains("chooses row"));
    work.rookie("grid folds.toml").exits(0);
    let rates = ["0.02", "0.01", "0.001"];
    for (at, rate) in rates.iter().enumerate() {
        for fold in (1..=3).filter(|&fold| fold != at + 1) {
            let run = format!("results/folds/runs/lr{rate}_fold{fold}of3");
            std::fs::remove_dir_all(work.path(run)).unwrap();
        }
    }
    let ranked =
        work.rookie("rank results/folds").exits(0).prints("Validation cannot choose").stdout;
    let rows: Vec<&str> = ranked.lines().skip(3).take(3).collect();
    assert!(rows.iter().all(|row| row.starts_with(' ')), "{ranked}");
}

#[test]
fn accuracies_on_different_validation_sets_choose_no_single_run() {
    let work = work();
    let plain = FOLDS.replace("folds = 3\n", "");
    work.write("plain.toml", plain);
    let ended = work.rookie("grid plain.toml --validation-size 0.1,0.3,5 --out sizes").exits(0);
    let ended = ended.says("validation cannot choose, because runs have different validation sets");
    ended.prints("Validation cannot choose, because runs have different validation sets");
    assert_eq!(work.csv("sizes/ranking.csv").column("validation_rank"), [""; 9]);
    work.rookie("audit sizes").exits(0).prints("Validation cannot choose");
    work.rookie("report sizes").exits(0);
    let ended =
        work.rookie("grid plain.toml --validation-size 50 --data-seed 1,2,3 --out seeds").exits(0);
    let csv = work.csv("seeds/settings.csv");
    let accuracies = csv.numbers("validation_accuracy_mean");
    let best = (0..3).max_by(|&a, &b| accuracies[a].total_cmp(&accuracies[b])).unwrap();
    let rate = csv.column("learning_rate")[best];
    let ended = ended.says(&format!("best by mean validation over 3 runs: learning_rate {rate}"));
    ended.prints(&format!("validation chooses by means over all of them: learning_rate {rate}, "));
    assert_eq!(work.csv("seeds/ranking.csv").column("validation_rank"), [""; 9]);
}

#[test]
fn an_audit_chooses_the_configuration_that_the_means_over_folds_choose() {
    let work = work();
    work.rookie("grid folds.toml").exits(0);
    let csv = Csv::parse(&work.rookie("audit results/folds --format csv").exits(0).stdout);
    let settings = work.csv("results/folds/settings.csv");
    let accuracies = settings.numbers("validation_accuracy_mean");
    let best = (0..3).max_by(|&a, &b| accuracies[a].total_cmp(&accuracies[b])).unwrap();
    assert_eq!(csv.column("run")[0], format!("lr{}", settings.column("learning_rate")[best]));
    assert!((csv.numbers("validation_accuracy")[0] - accuracies[best]).abs() < 1e-6);
    assert_eq!((csv.column("finished")[0], csv.column("kept_of_best")[0]), ("9", "3"));
}

#[test]
fn the_flag_does_what_the_key_does_and_neither_goes_with_a_validation_size() {
    let work = work();
    work.rookie("grid folds.toml").exits(0);
    work.write("plain.toml", FOLDS.replace("folds = 3\n", "name = \"folds\"\n"));
    work.rookie("grid plain.toml --folds 3 --out flag").exits(0);
    assert_eq!(work.reproducible("flag"), work.reproducible("results/folds"));
    // A model knows its fold.
    let run = work.toml("flag/runs/lr0.02_fold2of3/run.toml");
    let ended =
        work.rookie("evaluate flag/runs/lr0.02_fold2of3/model.safetensors --split validation");
    let correct = (100.0 * run["validation_accuracy"].as_float().unwrap()).round();
    ended.exits(0).check(true, "").prints(&format!(", {correct} of 100 images"));
    let record = "train flag/runs/lr0.02_fold2of3/run.toml --out again";
    work.rookie(record).exits(0);
    let model = |folder: &str| work.bytes(format!("{folder}/model.safetensors"));
    assert_eq!(model("again"), model("flag/runs/lr0.02_fold2of3"));
    for size in ["--validation-size 0.2", "--set validation_size=50"] {
        let ended = work.rookie(&format!("grid plain.toml --folds 3 {size} --out no"));
        ended.exits(2).says("is given together with --folds");
    }
    let ended = work.rookie("grid plain.toml --folds 301 --out no").exits(2);
    ended.says("--folds: found 301 folds of 300 training rows");
}

#[test]
fn workers_sharing_shards_and_interruptions_change_no_byte() {
    let work = work();
    let grid = "grid folds.toml --lr-decay 0.5,0.8 --lr-decay-every 4 --checkpoint-every 5";
    work.rookie(&format!("{grid} --jobs 1 --out whole")).exits(0);
    let expected = work.reproducible("whole");
    for (flags, out) in [("--jobs 3", "three"), ("--no-sharing --jobs 2", "alone")] {
        work.rookie(&format!("{grid} {flags} --out {out}")).exits(0);
        assert_eq!(work.reproducible(out), expected, "{flags}");
    }
    for shard in 0..3 {
        work.rookie(&format!("{grid} --out parts --shard {shard}/3")).exits(0);
    }
    assert_eq!(work.reproducible("parts"), expected, "shards");
    let mut running = work.start(&format!("{grid} --jobs 1 --out killed"));
    let one_is_there = || running.has_ended() || work.path("killed/ranking.csv").exists();
    wait_until("a run has finished", one_is_there);
    running.signal("KILL");
    running.end();
    work.rookie(&format!("{grid} --out killed")).exits(0);
    assert_eq!(work.reproducible("killed"), expected, "killed");
}

#[test]
fn a_candidate_of_halving_is_a_configuration_with_all_its_folds_and_halving_can_be_undone() {
    let work = work();
    let grid = "grid folds.toml --learning-rate 0.4,0.2,0.1,0.05,0.01,0.001";
    work.rookie(&format!("{grid} --out whole")).exits(0);
    let halved = format!("{grid} --halving-rungs 2 --halving-keep 0.5 --out halved");
    let ended = work.rookie(&halved).exits(0);
    ended.says("epoch 2: 3 of 6 candidates continue").says("halving stopped 9 runs");
    assert_eq!(work.csv("halved/settings.csv").column("runs"), ["3"; 3]);
    work.rookie(&format!("{grid} --no-halving --out halved")).exits(0);
    assert_eq!(work.reproducible("halved"), work.reproducible("whole"));
}

#[test]
fn each_fold_is_trained_with_every_sample_of_a_search() {
    let work = work();
    let range = "learning_rate = { log_uniform = [0.01, 0.5] }";
    work.write("search.toml", FOLDS.replace("learning_rate = [0.02, 0.01, 0.001]", range));
    work.rookie("grid search.toml --samples 4").exits(0);
    assert_eq!(work.csv("results/search/settings.csv").column("runs"), ["3"; 4]);
    for command in ["report results/search", "audit results/search"] {
        work.rookie(command).exits(0);
    }
}

#[test]
fn the_chosen_configuration_is_trained_on_all_rows_for_the_median_of_its_best_epochs() {
    let work = work();
    let grid = "grid folds.toml --seed 1,2 --data table.csv --label label --refit";
    work.write("table.csv", table(120));
    let ended = work.rookie(grid).exits(0);
    let record = work.toml("results/folds_table/refit/run.toml");
    let settings = work.csv("results/folds_table/settings.csv");
    let accuracies = settings.numbers("validation_accuracy_mean");
    let best = (0..3).max_by(|&a, &b| accuracies[a].total_cmp(&accuracies[b])).unwrap();
    assert_eq!(record["learning_rate"].to_string(), settings.column("learning_rate")[best]);
    let number = |key: &str| record[key].as_float().unwrap();
    assert!((number("validation_accuracy") - accuracies[best]).abs() < 1e-6);
    let runs = work.csv("results/folds_table/ranking.csv");
    let is_of_best =
        |at: &usize| runs.column("learning_rate")[*at] == settings.column("learning_rate")[best];
    let mut epochs: Vec<f64> =
        (0..18).filter(is_of_best).map(|at| runs.numbers("best_epoch")[at]).collect();
    epochs.sort_by(f64::total_cmp);
    let median = f64::midpoint(epochs[2], epochs[3]).round() as i64;
    let whole = |key: &str| record[key].as_integer().unwrap();
    assert_eq!((whole("epochs"), whole("best_epoch"), whole("seed")), (median, median, 1));
    let test =
        format!("refit: {:.2} % on the test set; the mean of its", 100.0 * number("test_accuracy"));
    ended.says("on all 96 rows").says(&test);
    // It is a run like any other, on all rows.
    let model = "results/folds_table/refit/model.safetensors";
    let evaluate = |flags: &str| work.rookie(&format!("evaluate {model} --data table.csv {flags}"));
    let correct = (24.0 * number("test_accuracy")).round();
    evaluate("").exits(0).prints(&format!(", {correct} of 24 rows"));
    evaluate("--split train").exits(0).prints(" of 96 rows");
    evaluate("--split validation").exits(2).says("none is left for validation");
    work.rookie(&format!("predict {model} table.csv")).exits(0);
    work.rookie(&format!("export {model} --to npz --out model.npz")).exits(0);
    work.rookie("report results/folds_table/refit").exits(0);
    // It has no validation rows of its own: it is not compared by those of other models.
    work.rookie("ensemble results/folds_table/refit --data table.csv --out e.toml")
        .exits(2)
        .says("refit: was trained on the rows of all folds, so that none is left to choose");
    let both = work.rookie("rank results/folds_table results/folds_table/refit").exits(0);
    let both = both.prints("Validation chooses row ").stdout;
    let test = format!(" {:.2} %", 100.0 * number("test_accuracy"));
    let is_refit = |line: &str| line.starts_with(' ') && line.trim_end().ends_with(&test);
    assert!(both.lines().any(is_refit), "neither rank nor validation: {both}");
    assert!(both.contains("Refit"), "{both}");
    // It is trained once, again where another choice was made, and goes with the rest.
    let stamps = work.stamps("results/folds_table/refit");
    work.rookie(grid).exits(0).says("refit: ");
    assert_eq!(work.stamps("results/folds_table/refit"), stamps);
    let stale = "refit is of an earlier grid, and not what validation chooses now; --refit";
    let without = grid.replace(" --refit", "");
    let is_silent = !work.rookie(&without).exits(0).stderr.contains(stale);
    assert!(is_silent, "it is what validation chooses");
    work.rookie(&without.replace("1,2", "1,2,3")).exits(0).says(stale);
    work.rookie(&grid.replace("1,2", "1,2,3")).exits(0);
    assert_ne!(work.stamps("results/folds_table/refit"), stamps);
    work.write("results/folds_table/refit/run.toml", "torn");
    let grid = grid.replace("1,2", "1,2,3");
    work.rookie(&grid).exits(0).says("refit/run.toml:1: ").says("renamed to run.toml.damaged");
    assert_eq!(work.text("results/folds_table/refit/run.toml.damaged"), "torn");
    work.rookie(&format!("{grid} --fresh --yes").replace(" --refit", "")).exits(0);
    assert!(!work.path("results/folds_table/refit/run.toml").exists());
}

#[test]
fn folds_are_one_configuration_and_a_refit_another_in_every_table() {
    let work = work();
    work.write("table.csv", table(120));
    work.rookie("grid folds.toml --seed 1,2 --data table.csv --label label --refit").exits(0);
    let audit = work.rookie("audit results/folds_table").exits(0);
    let with_refit = work.rookie("audit results/folds_table results/folds_table/refit").exits(0);
    let without =
        with_refit.says("left out of the audit, without validation rows: 1 refit\n").stdout;
    assert_eq!(without.replace("results/folds_table/", ""), audit.stdout);
    // A ranking is a reference for the same runs: folds are one row of it.
    let ranking = "results/folds_table/ranking.csv";
    let compare = "compare results/folds_table --data table.csv --label label";
    let compared = work.rookie(&format!("{compare} --reference {ranking} --format csv")).exits(0);
    let rows = Csv::parse(&compared.stdout);
    for (mean, published) in
        rows.numbers("test_accuracy_mean").iter().zip(rows.numbers("published_test_accuracy"))
    {
        assert!((mean - published).abs() < 1e-6, "{mean} and {published}");
    }
    // What sets it apart from the folds is a column of every table.
    for command in ["rank", "compare"] {
        let data = if command == "compare" { " --data table.csv --label label" } else { "" };
        let shown = work.rookie(&format!(
            "{command} results/folds_table results/folds_table/refit{data} --format csv"
        ));
        let refits = Csv::parse(&shown.exits(0).stdout);
        let of_refit = refits.column("refit").iter().filter(|it| **it == "true").count();
        assert_eq!(of_refit, 1, "{command}");
    }
}

#[test]
fn the_report_and_the_figures_of_folds_show_configurations_and_not_the_luckiest_fold() {
    let work = work();
    work.write("table.csv", table(120));
    work.rookie("grid folds.toml --data table.csv --label label --refit").exits(0);
    work.rookie("report results/folds_table --data table.csv --label label").exits(0);
    let page = work.text("results/folds_table/report.html");
    let (head, _) = page.split_once("id=\"ranking\"").unwrap();
    for text in
        ["Best configuration", "Mean validation accuracy", " ± ", "The model to use is its refit"]
    {
        assert!(head.contains(text), "{text}: {head}");
    }
    assert!(head.contains("results/folds_table/refit/model.safetensors"), "{head}");
    assert!(!head.contains("fold1of3</strong>") && !head.contains("Each row is a configuration"));
    assert!(head.contains("Each row is one run, of one fold."), "{head}");
    work.rookie("plot grid results/folds_table --out drawn --format svg").exits(0);
    let svg = work.text("drawn/top10.svg");
    for text in ["standard deviation over folds", "the square is the configuration that"] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
    assert!(!svg.contains("of3"), "{svg}");
}

#[test]
fn a_refit_needs_folds_and_no_other_command_trains_without_validation_rows() {
    let work = work();
    work.rookie("grid my.toml --refit").exits(2).says("--refit: found runs without folds");
    let all = [("--validation-size", "3 folds")];
    for command in ["train", "grid folds.toml"] {
        let mut command = work.command(command);
        command.args(all.iter().flat_map(|(flag, value)| [flag, value]));
        let ended = support::Ended::of("with all folds", command).exits(2);
        ended.says("found all 3 folds, which leave no row for validation");
    }
}

#[test]
fn folds_for_which_there_are_too_few_groups_are_refused_before_anything_is_written() {
    let work = Work::new();
    let row = |row: usize| format!("{},{},{}\n", row % 7, row / 10, row % 2);
    let rows: String = (0..60).map(row).collect();
    work.write("grouped.csv", format!("size,family,label\n{rows}"));
    work.rookie("grid quick --data grouped.csv --group family --folds 10 --out refused")
        .exits(2)
        .says("found groups for fewer than 10 folds");
    assert!(!work.path("refused").exists(), "nothing is written");
}
