//! Tables and arrays, as a user trains on them and predicts with the models: the same bytes whatever the file,
//! columns by name, missing values, drawn and given parts, and what is refused.

#[path = "support/arrays.rs"]
mod arrays;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use arrays::{archive, bytes, floats};
use rookie::Model;
use support::{Csv, DATA, Ended, FILES, FLAGS, PREDICTIONS, SMALL, Work, below, idx};

/// Rows of the table of most tests.
const ROWS: usize = 120;
const KINDS: [&str; 3] = ["cat", "dog", "sea horse"];
const HEADER: &str = "name,size,colour,weight,house,species";
/// Values that suit it, as flags.
const QUICK: &str = "--hidden 8 --epochs 4 --eval-every 2";

/// Pets of three kinds in turn, which size and colour tell apart but for some; four rows share a house.
fn pets() -> Vec<Vec<String>> {
    let mut seed = 3;
    let row = |index: usize| {
        let kind = index % KINDS.len();
        let size = 10 * kind + below(&mut seed, 14) as usize;
        let colour = ["red", "grey", "blue"][(kind + usize::from(index.is_multiple_of(7))) % 3];
        let weight = 0.25 * below(&mut seed, 900) as f64;
        let cells = [format!("P{index}"), size.to_string(), colour.into(), weight.to_string()];
        [&cells[..], &[format!("h{}", index / 4), KINDS[kind].into()]].concat()
    };
    (0..ROWS).map(row).collect()
}

fn table(header: &str, rows: &[Vec<String>]) -> String {
    let lines = rows.iter().map(|row| row.join(","));
    std::iter::once(header.to_string()).chain(lines).map(|line| line + "\n").collect()
}

#[test]
fn a_value_that_float32_cannot_hold_beside_those_of_training_is_refused_where_rows_are_read() {
    let work = work_with_pets();
    let write = |size: &str| {
        let mut far = pets()[..2].to_vec();
        far[1][1] = size.into();
        work.write("far.csv", table(HEADER, &far));
    };
    let flags = format!("--data pets.csv --ignore name --label species {QUICK}");
    work.rookie(&format!("train {flags} --out run")).exits(0);
    let model = "run/model.safetensors";
    for (command, row) in [
        (format!("train {flags} --test far.csv --out far"), "a test row"),
        (format!("grid quick {flags} --folds 3 --test far.csv --out grid"), "a test row"),
        (format!("train {flags} --test pets.csv --validation far.csv --out v"), "a validation row"),
        (format!("predict {model} far.csv"), "far.csv: row 2"),
        (format!("evaluate {model} --data pets.csv --test far.csv"), "row 2"),
    ] {
        // A code for a missing value, and a number that is far from those of training alone.
        write("-3.4e38");
        let ended = work.rookie(&command).exits(2);
        ended.says(
            "far.csv:3: column `size`: found `-3.4e38`, expected a number of at most 1e30 in size",
        );
        write("1e28");
        let ended = work.rookie(&command).exits(2).says(&format!("{row} is 1"));
        ended.says(" standard deviations from the mean of the training rows in `size`; if this");
    }
    assert!(!work.path("far").exists() || !work.path("far/run.toml").exists());
}

/// A work folder with the table.
fn work_with_pets() -> Work {
    let work = Work::new();
    work.write("pets.csv", table(HEADER, &pets()));
    work
}

/// Where rows went: the file's row of each, by part.
fn parts(work: &Work, flags: &str) -> BTreeMap<String, Vec<usize>> {
    let split = Csv::parse(&work.rookie(&format!("split --data pets.csv {flags}")).exits(0).stdout);
    let mut parts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (part, index) in split.column("split").into_iter().zip(split.column("index")) {
        parts.entry(part.into()).or_default().push(index.parse().unwrap());
    }
    for rows in parts.values_mut() {
        rows.sort_unstable();
    }
    parts
}

/// How many rows each part has.
fn sizes(parts: &BTreeMap<String, Vec<usize>>) -> String {
    let size = |(part, rows): (&String, &Vec<usize>)| format!("{} {part}", rows.len());
    parts.iter().map(size).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_same_images_train_to_the_same_bytes_from_idx_npz_and_csv() {
    let work = Work::new();
    let [x_train, y_train, x_test, y_test] = SMALL.files();
    let shape = |rows: usize| format!("({rows}, {}, {})", SMALL.height, SMALL.width);
    let labels = |rows: usize| format!("({rows}, 1)");
    let archived = archive(&[
        ("x_train", bytes(&shape(SMALL.train), &x_train[16..])),
        ("y_train", bytes(&labels(SMALL.train), &y_train[8..])),
        ("x_test", bytes(&shape(SMALL.test), &x_test[16..])),
        ("y_test", bytes(&labels(SMALL.test), &y_test[8..])),
    ]);
    work.write("images.npz", archived);
    let pixels = SMALL.height * SMALL.width;
    let header: Vec<String> = (0..pixels).map(|pixel| format!("pixel{pixel}")).collect();
    for (file, x, y) in [("train.csv", x_train, y_train), ("test.csv", x_test, y_test)] {
        let rows = y[8..].iter().zip(x[16..].chunks(pixels));
        let row = |(label, pixels): (&u8, &[u8])| {
            std::iter::once(label).chain(pixels).map(ToString::to_string).collect()
        };
        let rows: Vec<Vec<String>> = rows.map(row).collect();
        work.write(file, table(&format!("label,{}", header.join(",")), &rows));
    }
    // What IDX files are trained with unless flags say otherwise.
    let flags = format!("{FLAGS} --standardisation batch --no-stratify");
    work.rookie(&format!("train {FLAGS} --out plain")).exits(0);
    let sources = [("idx", DATA), ("npz", "images.npz"), ("csv", "train.csv --test test.csv")];
    for (out, data) in sources {
        work.rookie(&format!("train --data {data} {flags} --out {out}")).exits(0);
        for file in ["curve.csv", PREDICTIONS] {
            let same = work.bytes(format!("{out}/{file}")) == work.bytes(format!("plain/{file}"));
            assert!(same, "{file} of {out} is that of the four files");
        }
    }
}

#[test]
fn rows_are_predicted_by_the_names_of_their_columns_in_any_order() {
    let work = work_with_pets();
    work.rookie(&format!("train --data pets.csv --ignore name,house {QUICK} --out run")).exits(0);
    let predict = |file: &str| work.rookie(&format!("predict run/model.safetensors {file}"));
    let expected = Csv::parse(&predict("pets.csv --id name").exits(0).says_nothing().stdout);
    let twice = work.text("pets.csv").replacen("name", "prediction", 1);
    work.write("twice.csv", twice);
    let refused = predict("twice.csv --id prediction").exits(2);
    refused.says("--id prediction: is the name of a column that predict writes; rename the");
    assert_eq!(expected.header, ["name", "prediction", "p_cat", "p_dog", "p_sea horse"]);
    assert_eq!(expected.rows[7][0], "P7");
    let right = expected.column("prediction").into_iter().zip(KINDS.iter().cycle());
    let right = right.filter(|(found, kind)| found == *kind).count();
    assert!(right > ROWS * 2 / 3, "{right} of {ROWS}");

    let turned = |cells: &Vec<String>| -> Vec<String> {
        cells[..4].iter().rev().cloned().chain(["more".to_string()]).collect()
    };
    let turned: Vec<Vec<String>> = pets().iter().map(turned).collect();
    work.write("turned.tsv", table("weight,colour,size,name,extra", &turned).replace(',', "\t"));
    let found = Csv::parse(&predict("turned.tsv --id name").exits(0).says_nothing().stdout);
    assert!(found.rows == expected.rows, "the order of the columns does not matter");
    assert_eq!(Csv::parse(&predict("turned.tsv").exits(0).stdout).column("index")[119], "119");

    work.write("new.csv", "colour,weight,size\ngreen,1,2\nred,1,3\npink,4,5\n");
    predict("new.csv")
        .exits(0)
        .says("2 rows with a category of `colour` that training did not have");
    work.write("narrow.csv", "colour,size\nred,2\n");
    let told = "narrow.csv: found no column `weight`, which the model needs";
    predict("narrow.csv").exits(2).says(told);
}

#[test]
fn the_last_of_equally_good_epochs_of_a_table_is_kept_unless_the_first_is_asked_for() {
    let work = work_with_pets();
    let flags = "--data pets.csv --ignore name --hidden 8 --epochs 30 --eval-every 1";
    work.rookie(&format!("train {flags} --out last")).exits(0);
    work.rookie(&format!("train {flags} --on-tie first --out first")).exits(0);
    work.write("ties.toml", "[axes]\non_tie = [\"first\", \"last\"]\n");
    work.rookie(&format!("grid ties.toml {flags} --out both")).exits(0);
    assert_eq!(work.bytes("first/curve.csv"), work.bytes("last/curve.csv"));
    let curve = work.csv("last/curve.csv");
    let accuracies = curve.numbers("validation_accuracy");
    let highest = accuracies.iter().copied().fold(0.0, f64::max);
    let best: Vec<i64> =
        (1..).zip(accuracies).filter(|it| it.1 == highest).map(|it| it.0).collect();
    assert!(best.len() > 1, "no epochs are equally good");
    for (run, epoch) in [("first", best.first()), ("last", best.last())] {
        assert_eq!(work.toml(format!("{run}/run.toml"))["best_epoch"].as_integer().as_ref(), epoch);
        let shared = format!("both/runs/tie{run}");
        for file in ["curve.csv", "model.safetensors"] {
            assert_eq!(work.bytes(format!("{run}/{file}")), work.bytes(format!("{shared}/{file}")));
        }
    }
}

#[test]
fn a_run_starts_from_a_model_of_the_same_columns_and_labels_alone() {
    let work = work_with_pets();
    work.write("renamed.csv", work.text("pets.csv").replacen("weight", "height", 1));
    work.write("relabelled.csv", work.text("pets.csv").replace("dog", "hare"));
    let flags = format!("--ignore name {QUICK}");
    work.rookie(&format!("train --data pets.csv {flags} --out first")).exits(0);
    let train = |file: &str, out: &str| {
        let init = "--init first/model.safetensors";
        work.rookie(&format!("train --data {file} {flags} {init} --seed 1 --out {out}"))
    };
    train("pets.csv", "second").exits(0);
    for (file, found) in
        [("renamed.csv", "`height` as feature"), ("relabelled.csv", "`hare` as class")]
    {
        train(file, "third").exits(2).says(found);
        assert!(!work.path("third").exists());
    }
}

#[test]
fn missing_values_are_refused_with_their_counts_until_a_flag_says_what_to_do() {
    let work = Work::new();
    let mut rows = pets();
    for index in 0..20 {
        rows[index][if index % 4 == 0 { 2 } else { 1 }] = ["NA", "", "?"][index % 3].into();
    }
    work.write("pets.csv", table(HEADER, &rows));
    let train = format!("train --data pets.csv --ignore name,house {QUICK}");
    work.rookie(&train).exits(2).says(
        "pets.csv: found missing values: 15 in `size`, 5 in `colour`, expected none; add --missing mean",
    );
    for how in ["mean", "median", "drop-row"] {
        work.rookie(&format!("{train} --missing {how} --out {how}")).exits(0);
        let kept = if how == "drop-row" { ROWS - 20 } else { ROWS };
        let tested = work.toml(format!("{how}/run.toml"))["test_images"].as_integer().unwrap();
        assert_eq!(tested as usize, kept / 5, "{how}");
        let predicted = work.rookie(&format!("predict {how}/model.safetensors pets.csv"));
        if how == "drop-row" {
            predicted.exits(2).says("the model was trained without such rows");
        } else {
            assert_eq!(Csv::parse(&predicted.exits(0).stdout).rows.len(), ROWS);
        }
    }
    let parts = parts(&work, "--ignore name,house --missing drop-row");
    let rows: Vec<usize> = parts.values().flatten().copied().collect();
    assert_eq!(
        rows.into_iter().collect::<BTreeSet<_>>(),
        (20..ROWS).collect(),
        "by the file's rows"
    );
}

#[test]
fn groups_of_files_that_share_none_are_not_taken_for_each_other_s() {
    let work = Work::new();
    for file in ["a", "b", "c"] {
        let row = |row: usize| format!("{},{file}{},{}\n", row % 7, row % 5, row % 2);
        let rows: String = (0..40).map(row).collect();
        work.write(format!("{file}.csv"), format!("x,patient,label\n{rows}"));
    }
    let train = format!("train --data a.csv --validation b.csv --group patient {QUICK} --out");
    let ended = work.rookie(&format!("{train} apart --test c.csv")).exits(0);
    assert!(!ended.stderr.contains("share a group"), "{}", ended.stderr);
    work.write("c.csv", work.text("c.csv").replace("c3", "b3"));
    let ended = work.rookie(&format!("{train} shared --test c.csv")).exits(0);
    ended.says("8 of 40 test rows share a group with validation rows");
}

#[test]
fn each_class_has_its_share_of_drawn_parts_and_no_group_is_divided() {
    let work = work_with_pets();
    let drawn = parts(&work, "--ignore name");
    assert_eq!(sizes(&drawn), "24 test, 77 train, 19 validation");
    let all: BTreeSet<usize> = drawn.values().flatten().copied().collect();
    assert_eq!(all, (0..ROWS).collect(), "each row of the file is in one part");
    for (part, rows) in &drawn {
        let mut counts = [0; 3];
        for row in rows {
            counts[row % 3] += 1;
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "{part}: {counts:?}");
    }
    for (flags, expected) in [
        ("--test-size 30", "30 test, 72 train, 18 validation"),
        ("--test-size 0.25 --validation-size 0.1", "30 test, 81 train, 9 validation"),
        ("--validation-size 40", "24 test, 56 train, 40 validation"),
        ("--group house", "24 test, 76 train, 20 validation"),
    ] {
        assert_eq!(sizes(&parts(&work, &format!("--ignore name {flags}"))), expected, "{flags}");
    }
    assert_ne!(drawn["test"], parts(&work, "--ignore name --test-seed 1")["test"]);
    assert_ne!(drawn["validation"], parts(&work, "--ignore name --data-seed 1")["validation"]);
    let grouped = parts(&work, "--ignore name --group house");
    let mut part_of_house = BTreeMap::new();
    for (part, rows) in &grouped {
        for row in rows {
            assert_eq!(
                part_of_house.insert(row / 4, part).unwrap_or(part),
                part,
                "house {}",
                row / 4
            );
        }
    }
}

#[test]
fn files_with_test_and_validation_rows_are_taken_as_they_are() {
    let work = work_with_pets();
    let pets = pets();
    for (file, rows) in [("a.csv", 0..70), ("b.csv", 70..100), ("c.csv", 100..ROWS)] {
        work.write(file, table(HEADER, &pets[rows]));
    }
    let data = "--data a.csv --validation b.csv --test c.csv";
    let split = work.rookie(&format!("split {data} --ignore name,house")).exits(0).stdout;
    let split = Csv::parse(&split);
    let of = |part: &str| -> Vec<usize> {
        let rows = split.rows.iter().filter(|row| row[1] == part);
        let mut rows: Vec<usize> = rows.map(|row| row[0].parse().unwrap()).collect();
        rows.sort_unstable();
        rows
    };
    let expected = [70, 30, 20].map(|rows| (0..rows).collect::<Vec<usize>>());
    assert_eq!(["train", "validation", "test"].map(of), expected);

    let train = format!("train {data} --ignore name,house {QUICK}");
    work.rookie(&format!("{train} --out run")).exits(0);
    let record = work.toml("run/run.toml");
    assert_eq!(record["validation_size"].as_integer(), Some(30));
    assert_eq!(record["test_images"].as_integer(), Some(20));
    for name in ["sha256_train_table", "sha256_validation_table", "sha256_test_table"] {
        assert!(record["provenance"].get(name).is_some(), "{name}");
    }
    work.rookie(&format!("{train} --validation-size 5"))
        .exits(2)
        .says("expected 30, as the data have; leave it out");
    work.write("c.csv", table(HEADER, &pets[100..]).replace("dog", "fish"));
    let told =
        "c.csv: found the label `fish`, expected one of `cat`, `dog`, `sea horse`, as in a.csv";
    work.rookie(&train).exits(2).says(told);

    // Categories of the parts, and the house that two files divide.
    let c = table(HEADER, &pets[98..]).replace("red", "green");
    work.write("c.csv", c);
    let ended = work.rookie(&format!("{train} --out unknown")).exits(0);
    ended.says("test rows with a category of `colour` that training did not have");
    let train = format!("train {data} --ignore name --group house {QUICK} --out groups");
    let ended = work.rookie(&train).exits(0);
    ended.says("validation rows share a group with training rows, so");
    let test = train.replace("--validation b.csv --test c.csv", "--test b.csv");
    let ended = work.rookie(&format!("{test}-test")).exits(0);
    ended.says("test rows share a group with training rows, so");
    // Test rows need no groups; a group that one of them lacks is not overlooked.
    let b = work.text("b.csv");
    work.write("b.csv", b.replace("house", "district"));
    work.rookie(&format!("{test}-none")).exits(0);
    let mut rows: Vec<String> = b.lines().map(String::from).collect();
    let mut cells: Vec<&str> = rows[1].split(',').collect();
    cells[4] = "";
    rows[1] = cells.join(",");
    work.write("b.csv", rows.join("\n"));
    work.rookie(&format!("{test}-part"))
        .exits(2)
        .says("b.csv:2: column `house`: found an empty cell, expected a group");
}

const GRID: &str = "grid my.toml --data pets.csv --ignore name --group house --validation-size 0.2";

#[test]
fn a_grid_on_a_table_gives_the_same_bytes_with_any_workers_and_shards_and_when_resumed() {
    let work = work_with_pets();
    let grid = format!("{GRID} --set epochs=400 --eval-every 200 --checkpoint-every 20");
    work.rookie(&format!("{grid} --jobs 1 --out whole")).exits(0);
    let expected = work.reproducible("whole");
    let has_same = |out: &str| {
        assert!(work.reproducible(out) == expected, "{out} has the bytes of the whole grid");
    };
    work.rookie(&format!("{grid} --jobs 3 --out three")).exits(0);
    has_same("three");
    for shard in ["0/2", "1/2"] {
        work.rookie(&format!("{grid} --jobs 1 --out shards --shard {shard}")).exits(0);
    }
    has_same("shards");
    let mut running = work.start(&format!("{grid} --jobs 1 --out resumed"));
    work.wait_for_checkpoint("resumed/.state/stages");
    running.signal("INT");
    running.end().exits(130);
    work.rookie(&format!("{grid} --jobs 2 --out resumed")).exits(0);
    has_same("resumed");
}

#[test]
fn commands_read_a_table_as_the_record_says() {
    let work = work_with_pets();
    work.rookie(&format!("{GRID} --test-size 0.3 --test-seed 5 --out all")).exits(0);
    let best = work.csv("all/ranking.csv").rows[0].last().unwrap().clone();
    let accuracy =
        work.toml(format!("all/runs/{best}/run.toml"))["test_accuracy"].as_float().unwrap();
    let images =
        work.toml(format!("all/runs/{best}/run.toml"))["test_images"].as_integer().unwrap();
    assert_eq!(images, 36);
    let correct = format!("{} of {images}", (accuracy * images as f64).round());
    let evaluate = format!("evaluate all/runs/{best}/model.safetensors --data pets.csv");
    work.rookie(&evaluate).exits(0).prints(&correct).prints("sea horse").says_nothing();
    work.rookie("report all --data pets.csv").exits(0).says("rookie: wrote all/report.html\n");
    let page = work.text("all/report.html");
    assert!(
        page.contains("sea horse") && !page.contains("data:image/png"),
        "no weights as pictures"
    );
    // Nor are its rows.
    let plot = format!("plot errors all/runs/{best} --data pets.csv --out errors");
    work.rookie(&plot).exits(0).says("rows of a table are no pictures");
    assert!(work.path("errors/confusion.png").exists() && !work.path("errors/errors.png").exists());
    work.rookie(&format!("plot weights all/runs/{best}/model.safetensors --out weights"))
        .exits(2)
        .says("is a model of a table, whose weights are no pictures; `rookie export --to npz`");
    assert!(!work.path("weights").exists());
    work.rookie("ensemble all --data pets.csv").exits(0);
    work.rookie("evaluate all/ensemble.toml --data pets.csv").exits(0).prints(" of 36");
    work.rookie("compare all --data pets.csv").exits(0);
    // The folder of images that is used otherwise is not the table.
    let missing = "--data: found none, expected the table or arrays that these results are of";
    work.rookie(&format!("evaluate all/runs/{best}/model.safetensors")).exits(2).says(missing);
    work.rookie("ensemble all").exits(2).says(missing);
    work.rookie("report all").exits(0).says(missing);
    work.rookie("compare all").exits(0).says("about this test set only: ").says(missing);
    // Flags win over the record, which has another test set.
    let other = work.rookie(&format!("{evaluate} --ignore name --group house")).exits(0);
    other.prints(" of 24").says("of a file that");
}

#[test]
fn a_results_folder_takes_no_runs_on_a_table_that_is_read_otherwise() {
    let work = work_with_pets();
    work.rookie(&format!("{GRID} --out all")).exits(0);
    let before = work.stamps("all");
    for flags in ["--test-size 0.3", "--test-seed 1", "--no-stratify", "--missing mean"] {
        let told = "was trained on the same data read with other options: ";
        work.rookie(&format!("{GRID} {flags} --out all")).exits(2).says(told);
    }
    assert_eq!(work.stamps("all"), before);
    work.rookie(&format!("{GRID} --out all")).exits(0);
}

#[test]
fn columns_that_are_no_labels_or_no_features_and_flags_without_meaning_are_refused() {
    let work = work_with_pets();
    let pets = pets();
    work.write("cats.csv", table(HEADER, &pets.iter().step_by(3).cloned().collect::<Vec<_>>()));
    work.write("y.npy", bytes("(2,)", &[1, 2]));
    work.write(
        "images.npz",
        archive(&[("x", bytes("(2, 1, 2)", &[1, 2, 3, 4])), ("y", bytes("(2,)", &[1, 2]))]),
    );
    let (x, y) = (bytes("(4, 1, 1)", &[1, 2, 3, 4]), bytes("(4,)", &[1, 2, 1, 2]));
    let parts = [("x_train", &x), ("y_train", &y), ("x_test", &x), ("y_test", &y)];
    let mut parts = parts.map(|(name, array)| (name, array.clone()));
    work.write("parts.npz", archive(&parts));
    parts[3].1 = bytes("(4,)", &[1, 2, 3, 2]);
    work.write("unknown.npz", archive(&parts));
    work.write("long.csv", "a,y\n1,12345678901234567890\n2,1\n");
    for (flags, told) in [
        (
            "pets.csv --label weight",
            "expected classes: integers or names; regression is not supported",
        ),
        ("unknown.npz", "y_test.npy: found the label `3`, expected one of `1`, `2`, as in unknown"),
        (
            "long.csv",
            "found `12345678901234567890`, expected classes: integers or names; a whole number",
        ),
        (
            "cats.csv --ignore name",
            "cats.csv: found the label `cat` in every row, expected two classes at least",
        ),
        (
            "pets.csv",
            "pets.csv: found a different string in each of 120 rows of the column `name`, expected \
             categories that several rows have; leave the column out with --ignore name",
        ),
        (
            "pets.csv --ignore species",
            "the columns are `name`, `size`, `colour`, `weight`, `house`\n",
        ),
        ("pets.csv --labels y.npy", "for which --labels cannot be used"),
        ("images.npz --labels y.npy", "for which --labels cannot be used"),
        (
            "parts.npz --test-size 0.3 --test-seed 1",
            "parts.npz: is an archive with test rows, for which --test-size and --test-seed cannot be used",
        ),
        ("images.npz --group a --ignore b", "for which --ignore and --group cannot be used"),
        (
            &format!("{DATA} --label a --test pets.csv"),
            "for which --label and --test cannot be used",
        ),
    ] {
        work.rookie(&format!("train --data {flags} {QUICK}")).exits(2).says(told);
    }
}

#[test]
fn a_class_without_a_training_row_is_told() {
    let work = Work::new();
    let mut pets = pets();
    pets[0][5] = "newt".into();
    let (test, train) = (&pets[..60], &pets[60..]);
    work.write("train.csv", table(HEADER, &[train, &pets[..1]].concat()));
    work.write("test.csv", table(HEADER, test));
    let train = format!("train --data train.csv --test test.csv --ignore name,house {QUICK}");
    let train = format!("{train} --no-stratify");
    // The only newt is drawn for validation with some seeds.
    let told = "class newt has no training row (1 for validation and 1 for test)";
    let is_told = |seed: u64| {
        let ended = work.rookie(&format!("{train} --data-seed {seed} --out run{seed}")).exits(0);
        ended.stderr.contains(told)
    };
    let told: Vec<bool> = (0..12).map(is_told).collect();
    assert!(told.contains(&true) && told.contains(&false), "{told:?}");
}

#[test]
fn arrays_of_numpy_train_models_that_predict_arrays() {
    let work = Work::new();
    let [x, y, ..] = SMALL.files();
    let pixels = SMALL.height * SMALL.width;
    let numbers: Vec<f32> = x[16..].iter().map(|&pixel| f32::from(pixel) + 0.5).collect();
    let from_5: Vec<u8> = y[8..].iter().map(|label| label + 5).collect();
    work.write("x.npy", floats(&format!("({}, {pixels})", SMALL.train), &numbers));
    work.write("y.npy", bytes(&format!("({},)", SMALL.train), &from_5));
    work.rookie("train --data x.npy --hidden 8 --epochs 4")
        .exits(2)
        .says("name the .npy file that");
    work.rookie("train --data x.npy --labels y.npy --hidden 8 --epochs 4 --out run").exits(0);
    let predict = |file: &str| work.rookie(&format!("predict run/model.safetensors {file}"));
    let found = Csv::parse(&predict("x.npy").exits(0).stdout);
    assert_eq!(found.header, ["index", "prediction", "p_5", "p_6", "p_7"]);
    let rows = numbers.chunks(pixels).map(|row| row.iter().map(ToString::to_string).collect());
    let header: Vec<String> = (0..pixels).map(|column| format!("x{column}")).collect();
    work.write("x.csv", table(&header.join(","), &rows.collect::<Vec<_>>()));
    assert!(Csv::parse(&predict("x.csv").exits(0).stdout).rows == found.rows);
    work.write("narrow.npy", floats("(1, 2)", &[1.0, 2.0]));
    predict("narrow.npy").exits(2).says("expected `x0`, `x1`");
    predict("x.npy --id x0").exits(2).says("--id: is for tables, because");
    work.write("x.npz", archive(&[("x", floats("(1, 2)", &[1.0, 2.0]))]));
    predict("x.npz").exits(2).says("x.npz: is an archive of several arrays, expected one");

    // Images are taken from IDX files and arrays alike.
    work.rookie(&format!("train {FLAGS} --out images")).exits(0);
    let shape = format!("({}, {}, {})", SMALL.train, SMALL.height, SMALL.width);
    work.write("images.npy", bytes(&shape, &x[16..]));
    work.write("images.idx", idx(&[SMALL.train, SMALL.height, SMALL.width], &x[16..]));
    let predict = |file: &str| work.rookie(&format!("predict images/model.safetensors {file}"));
    let expected = predict(&format!("{DATA}/{}", FILES[0])).exits(0).stdout;
    assert_eq!(predict("images.npy").exits(0).stdout, expected);
    predict("x.npy").exits(2).says("expected one of bytes with the shape (images, height, width)");
    work.write("small.npy", bytes("(1, 2, 2)", &[1; 4]));
    predict("small.npy").exits(2).says("small.npy: found images of 4 pixels, expected 30");
}

#[test]
fn what_was_found_in_a_table_is_told() {
    let work = Work::new();
    let rows = (0..40).map(|row| format!("{row};7;{}\n", ["a", "b"][row % 2]));
    work.write("odd.csv", "size;unit;class\n".to_string() + &rows.collect::<String>());
    let told = work.rookie(&format!("train --data odd.csv {QUICK} --out run")).exits(0);
    told.says("(labels: class; delimiter: semicolon; constant, so of no effect: unit)");
    let rows = (0..40).map(|row| format!("{row},17000000{:02},{}\n", row, ["a", "b"][row % 2]));
    work.write("time.csv", "size,ts,class\n".to_string() + &rows.collect::<String>());
    let told = work.rookie(&format!("train --data time.csv {QUICK} --out time")).exits(0);
    told.says("constant, so of no effect: ts (in float32, which rounds such large numbers))");
}

#[test]
fn an_ensemble_has_models_of_one_table_that_are_standardised_in_different_ways() {
    let work = work_with_pets();
    work.write("ways.toml", "[axes]\nstandardisation = [\"batch\", \"dataset\", \"feature\"]\n");
    let data = "--data pets.csv";
    work.rookie(&format!("grid ways.toml {data} --ignore name,house {QUICK} --out ways")).exits(0);
    let ensemble = work.rookie(&format!("ensemble ways --top 3 {data}")).exits(0);
    ensemble.prints("on these 24 test rows").prints("standardises each row");
    let two = format!("compare ways/runs/bybatch ways/runs/byfeature {data}");
    let two = work.rookie(&two).exits(0).prints("rows correctly");
    assert!(!two.stdout.contains("image"), "{}", two.stdout);
    let columns = Csv::parse(&work.rookie("predict ways/ensemble.toml pets.csv").exits(0).stdout);
    assert_eq!(columns.rows.len(), ROWS);
    // A member of other rows, whose features have other moments.
    let model = "ways/runs/byfeature/model.safetensors";
    let run = format!("{data} --ignore name,house {QUICK} --standardisation feature");
    work.rookie(&format!("train {run} --test-seed 1 --out other")).exits(0);
    let list = work.text("ways/ensemble.toml");
    let hash = |text: &str| text.split("sha256 = \"").nth(1).unwrap()[..64].to_string();
    work.rookie(&format!("ensemble ways/runs/byfeature {data} --out one.toml")).exits(0);
    work.rookie(&format!("ensemble other {data} --out two.toml")).exits(0);
    let member = work.text("two.toml");
    let member = &member[member.find("[[members]]").unwrap()..];
    assert_ne!(hash(member), hash(&list));
    work.write("both.toml", format!("{}\n{member}", work.text("one.toml")));
    let told = format!("was trained on other rows than {model}");
    work.rookie("predict both.toml pets.csv").exits(2).says(&told);
}

#[test]
fn another_table_than_the_one_of_training_is_noticed_without_a_record() {
    let work = work_with_pets();
    let data = "--ignore name,house";
    work.rookie(&format!("train --data pets.csv {data} {QUICK} --out run")).exits(0);
    std::fs::remove_file(work.path("run/run.toml")).unwrap();
    let evaluate = |file: &str| {
        work.rookie(&format!("evaluate run/model.safetensors --data {file} {data}")).exits(0)
    };
    evaluate("pets.csv").says_nothing();
    let mut others = pets();
    for row in &mut others {
        row[1].push('0');
    }
    work.write("others.csv", table(HEADER, &others));
    let other =
        "run/model.safetensors was trained on another file than others.csv, which may hold some of";
    let may = "The model may have been trained on these rows: ";
    evaluate("others.csv").says(other).prints(may);
    // Test rows of a file of their own may be those of training, which only the record could tell.
    let unknown =
        "has no run.toml beside it, so it is not known whether it was trained on rows of pets.csv";
    evaluate("others.csv --test pets.csv").says(unknown).prints(may);
}

#[test]
fn sizes_of_a_test_set_without_effect_are_refused() {
    let work = work_with_pets();
    work.write("b.csv", table(HEADER, &pets()[..30]));
    let train = |flags: &str| {
        work.rookie(&format!("train --data pets.csv --ignore name,house {QUICK} {flags}"))
    };
    let told = "--test-size: found 0.001, which is less than one of the 120 rows of pets.csv";
    train("--test-size 0.001 --out none").exits(2).says(told);
    let told = "pets.csv: is a table with a file of test rows, for which --test-size and --test-seed \
                cannot be used";
    train("--test b.csv --test-size 0.3 --test-seed 2 --out b").exits(2).says(told);
    let whole = train("--test-size 0 --out whole").exits(0).says("no test set");
    assert!(!whole.stderr.contains("drawn"), "{}", whole.stderr);
    // A model whose test rows were drawn otherwise can be measured on a file.
    train("--test-size 0.3 --out run").exits(0);
    let evaluate = "evaluate run/model.safetensors --data pets.csv --test b.csv";
    work.rookie(evaluate).exits(0).prints(" of 30");
}

#[test]
fn a_model_is_evaluated_on_its_own_columns_and_labels_alone() {
    let work = work_with_pets();
    work.rookie(&format!("train --data pets.csv --ignore name,house {QUICK} --out run")).exits(0);
    let refused = |header: &str, change: &dyn Fn(&mut Vec<String>), message: &str| {
        let mut rows = pets();
        rows.iter_mut().for_each(change);
        work.write("other.csv", table(header, &rows));
        let flags = "--data other.csv --ignore name,house";
        work.rookie(&format!("evaluate run/model.safetensors {flags}"))
            .exits(2)
            .says(message)
            .says("name the table that the model was trained on with --data");
    };
    let swap = |row: &mut Vec<String>| row.swap(1, 3);
    let swapped = "name,weight,colour,size,house,species";
    refused(
        swapped,
        &swap,
        "other.csv: found `weight` as feature 1, expected `size`, as run/model",
    );
    let rename = |row: &mut Vec<String>| row[5] = row[5].replace("cat", "cow");
    refused(HEADER, &rename, "found `cow` as class 1, expected `cat`, as run/model");
    let bleach = |row: &mut Vec<String>| row[2] = row[2].replace("red", "grey");
    refused(HEADER, &bleach, "found `weight` as feature 4, expected `colour = red`");
    work.rookie(&format!("evaluate run/model.safetensors --data {DATA}"))
        .exits(2)
        .says("found a model for 5 features and 3");
    work.rookie("evaluate run/model.safetensors --data pets.csv").exits(0);
}

#[test]
fn predict_names_no_flag_that_it_does_not_have_where_values_are_missing() {
    let work = work_with_pets();
    work.rookie(&format!("train --data pets.csv --ignore name,house {QUICK} --out run")).exits(0);
    work.write("new.csv", "size,colour,weight\n1,red,\n");
    work.rookie("predict run/model.safetensors new.csv").exits(2).says(
        "1 in `weight`, expected none; the model was trained without such rows; fill them in",
    );
}

#[test]
fn test_rows_that_are_the_training_rows_are_reported() {
    let work = work_with_pets();
    let flags = format!("--data pets.csv --test pets.csv --ignore name,house {QUICK}");
    work.rookie(&format!("train {flags} --out run"))
        .exits(0)
        .says("warning: the test rows are the training rows, so the test accuracy is no estimate");
    let other: Vec<_> = pets().into_iter().skip(1).collect();
    work.write("other.csv", table(HEADER, &other));
    let flags = flags.replace("--test pets.csv", "--test other.csv");
    let ended = work.rookie(&format!("train {flags} --out other")).exits(0);
    assert!(!ended.stderr.contains("are the training rows"), "{}", ended.stderr);
    // What the records prove is also told wherever they are shown.
    let flags = flags.replace("other.csv", "pets.csv");
    work.rookie(&format!("grid quick --learning-rate 0.1,0.2 {flags} --out grid"))
        .exits(0)
        .says("warning: the test rows are the training rows")
        .prints("Warning: the test rows are the training rows, so");
    work.rookie(&format!("train {flags} --out run"))
        .exits(0)
        .says("the test rows are the training");
    for command in ["rank", "compare", "audit", "report"] {
        let data = if command == "compare" { "--data pets.csv --test pets.csv" } else { "" };
        let ended = work.rookie(&format!("{command} grid {data}")).exits(0);
        if command != "report" {
            ended.prints("Warning: the test rows are the training rows, so");
        }
    }
    for file in ["grid/top10.md", "grid/report.html"] {
        assert!(work.text(file).contains("the test rows are the training rows"), "{file}");
    }
    let drawn = flags.replace("--test", "--validation");
    let told =
        "rows are the training rows and the drawn test rows, so neither accuracy is an estimate";
    work.rookie(&format!("train {drawn} --out drawn")).exits(0).says(told);
    let evaluate = "evaluate drawn/model.safetensors --data pets.csv --validation pets.csv --split";
    for part in ["test", "validation"] {
        let ended = work.rookie(&format!("{evaluate} {part}")).exits(0).says(told);
        ended.prints("may have been trained on these rows: this is no estimate for new ones");
    }
    let ended = work.rookie(&format!("{evaluate} train")).exits(0);
    ended.prints("The model was trained on these rows");
    // A folder whose files with test images are copies of the others.
    work.write_data("copies", SMALL);
    for (from, to) in FILES.iter().zip(&FILES[2..]) {
        std::fs::copy(work.path(format!("copies/{from}")), work.path(format!("copies/{to}")))
            .unwrap();
    }
    let training = work.bytes(format!("copies/{}", FILES[0]));
    let told =
        "warning: the test images are the training images, so the test accuracy is no estimate";
    let of_copies = format!("train --data copies {QUICK} --validation-size 50 --out");
    work.rookie(&format!("{of_copies} c")).exits(0).says(told);
    // Other files, in which all but one image are those of the training.
    let pixels = SMALL.height * SMALL.width;
    let labels = work.bytes(format!("copies/{}", FILES[1]));
    let mut other = training[16..].to_vec();
    other[..pixels].fill(77);
    work.write(
        format!("copies/{}", FILES[2]),
        idx(&[SMALL.train, SMALL.height, SMALL.width], &other),
    );
    work.write(format!("copies/{}", FILES[3]), idx(&[SMALL.train], &labels[8..]));
    let told = format!(
        "warning: {} of {} test images are equal to training images, so the test accuracy may be",
        SMALL.train - 1,
        SMALL.train
    );
    work.rookie(&format!("{of_copies} d")).exits(0).says(&told);
}

#[test]
fn a_run_starts_from_a_model_of_other_rows_only_when_asked_to_and_that_stays_known() {
    let work = work_with_pets();
    work.write("part.csv", table(HEADER, &pets()[..90]));
    let train = |out: &str, flags: &str| {
        work.rookie(&format!(
            "train --data pets.csv --ignore name,house {QUICK} --out {out} {flags}"
        ))
    };
    train("first", "").exits(0);
    let part = format!("train --data part.csv --ignore name,house {QUICK} --out part");
    work.rookie(&part).exits(0);
    let same = train("same", "--seed 1 --init first/model.safetensors").exits(0);
    assert!(!same.stderr.contains("warning"), "{}", same.stderr);
    let init = |of: &str, flags: &str| format!("--init {of}/model.safetensors {flags}");
    for (of, flags) in [("first", "--test-seed 1"), ("first", "--test-size 0.3"), ("part", "")] {
        let refused = train("next", &init(of, flags)).exits(2);
        refused.says("was trained on rows other than this run's").says("--allow-other-split");
    }
    let flags = init("first", "--test-seed 1 --allow-other-split");
    let warning =
        "he model of --init may have been trained on the validation and test sets, so both";
    train("next", &flags).exits(0).says(warning);
    train("next", &flags).exits(0).says("holds this run already").says(warning);
    train("again", "--test-seed 1 --seed 1").exits(0);
    train("more", "--test-seed 1 --seed 2").exits(0);
    for command in ["rank", "compare --data pets.csv", "audit"] {
        let ended = work.rookie(&format!("{command} next again more")).exits(0);
        ended.prints(warning).prints("(1 of 3 runs: next)").prints("another configuration");
    }
    // Runs that began with a model are no seeds of those that did not.
    let compared = work.rookie("compare --data pets.csv next again more --format csv").exits(0);
    let rows = Csv::parse(&compared.says(warning).stdout);
    let mut runs: Vec<_> = rows.column("init").into_iter().zip(rows.column("runs")).collect();
    runs.sort_unstable();
    assert_eq!(runs, [("false", "2"), ("true", "1")]);
    work.rookie("report next again --out page.html").exits(0);
    assert!(work.text("page.html").contains(warning));
    // Another validation set, and then a run that has the same one but not the same beginning.
    let other = "--data-seed 1 --allow-other-split";
    train("moved", &init("first", other)).exits(0).says("on the validation set, so the validation");
    let refused = train("chain", &init("moved", "--data-seed 1")).exits(2);
    refused.says("initialised from a model that was");
    train("chain", &init("moved", other)).exits(0).says("on the validation set, so the validation");
    let evaluate = |run: &str| {
        work.rookie(&format!("evaluate {run}/model.safetensors --data pets.csv")).exits(0)
    };
    let ended = evaluate("next").says("may have been trained on these rows");
    ended.prints("The model may have been trained on these rows: ");
    // Nobody has seen its test rows.
    evaluate("chain").says_nothing();
    for run in ["next", "chain"] {
        let ended = work.rookie(&format!("ensemble {run} --data pets.csv")).exits(2);
        ended.says("was initialised from a model that may have been trained on its validation set");
    }
}

#[test]
fn a_model_of_other_rows_is_not_that_of_the_record() {
    let work = work_with_pets();
    let train = format!("train --data pets.csv --ignore name,house {QUICK}");
    work.rookie(&format!("{train} --out run")).exits(0);
    let path = work.path("run/model.safetensors");
    let mut model = Model::read(&path).unwrap();
    // Models of other draws often have the same accuracy and epoch.
    work.rookie(&format!("{train} --test-seed 1 --out other")).exits(0);
    model.trained_on = Model::read(&work.path("other/model.safetensors")).unwrap().trained_on;
    work.write("run/model.safetensors", model.to_bytes());
    for command in ["evaluate run/model.safetensors", "ensemble run"] {
        let ended = work.rookie(&format!("{command} --data pets.csv")).exits(2);
        ended.says("is not the model of its run.toml (it was trained on other rows)");
    }
}

#[test]
fn training_rows_under_another_name_are_no_estimate_and_told() {
    let work = work_with_pets();
    let plain = |rows: &[Vec<String>]| {
        let rows: Vec<_> = rows.iter().map(|row| [&row[1..4], &row[5..]].concat()).collect();
        table("size,colour,weight,species", &rows)
    };
    work.write("plain.csv", plain(&pets()));
    let train = format!("train --data plain.csv {QUICK} --test-seed 1 --test-size 0.4 --out run");
    work.rookie(&train).exits(0);
    let evaluate = |flags: &str| {
        work.rookie(&format!("evaluate run/model.safetensors --data plain.csv {flags}")).exits(0)
    };
    evaluate("").prints(" of 48").prints("interval").says_nothing();
    // A flag counts although it says what is the default.
    for (flags, rows) in [("--test plain.csv", 120), ("--test-seed 0", 24), ("--test-size 0.2", 24)]
    {
        let ended =
            evaluate(flags).prints(&format!(" of {rows}")).prints("may have been trained on these");
        ended.says("these are rows of a file that run/model.safetensors was trained on");
    }
    work.write("new.csv", plain(&pets()[..60]));
    let other = "run/model.safetensors was trained on another file than";
    let ended = evaluate("--test new.csv").prints("interval").says("of 60 test rows are equal to");
    ended.says(&format!("{other} new.csv, which may hold some of the same rows\n"));
    // The same rows in another order are another file.
    let mut turned = pets();
    turned.reverse();
    work.write("turned.csv", plain(&turned));
    let ended = work.rookie("evaluate run/model.safetensors --data turned.csv").exits(0);
    let may = "The model may have been trained on these rows: ";
    let measured = "48 of its 120 rows were drawn as test rows and measured: to measure all, run ";
    let told = format!("{other} turned.csv, which may hold some of the same rows; {measured}");
    ended.says(&told).prints(may);
    let again = "train run/run.toml --data plain.csv --missing refuse --out again";
    work.rookie(again).exits(0).says("24 test rows");
    std::fs::remove_file(work.path("run/run.toml")).unwrap();
    evaluate("")
        .says("plain.csv, which may hold some of the same rows, or on other rows of it")
        .prints(may);
}

#[test]
fn arrays_for_the_test_are_taken_also_beside_x_and_y() {
    let work = Work::new();
    let x = |rows: usize| floats(&format!("({rows}, 1)"), &vec![0.5; rows]);
    let y = |rows: usize| bytes(&format!("({rows},)"), &[1, 2, 1, 2, 1, 2, 1, 2][..rows]);
    work.write("all.npz", archive(&[("X", x(8)), ("y", y(8)), ("x_test", x(3)), ("y_test", y(3))]));
    let ended = work.rookie(&format!("train --data all.npz {QUICK} --validation-size 2 --out run"));
    ended.exits(0).says("8 training rows and 3 test rows");
}

#[test]
fn a_label_is_the_same_class_however_its_integer_is_written_beside_texts_too() {
    let work = Work::new();
    let row = |index: usize| format!("{index},{}\n", ["1", "1.0", "x"][index % 3]);
    let rows: String = (0..60).map(row).collect();
    work.write("t.csv", format!("a,y\n{rows}"));
    work.write("test.csv", "a,y\n1,1.0\n2,x\n4,1e0\n3,+1\n");
    let flags = "--hidden 4 --epochs 2 --eval-every 1";
    let ended = work.rookie(&format!("train --data t.csv {flags} --out drawn")).exits(0);
    ended.says(" in 2 classes from t.csv");
    let ended = work.rookie(&format!("train --data t.csv --test test.csv {flags} --out given"));
    ended.exits(0).says("60 training rows and 4 test rows of 1 feature in 2 classes");
}

#[test]
fn lists_of_columns_take_quoted_names_and_spaces_after_commas() {
    let work = work_with_pets();
    let row = |index: usize| format!("{index},{},P{index},{}\n", index % 7, index % 2);
    let rows: String = (0..60).map(row).collect();
    work.write("odd.csv", format!("size,\"a,1\",name,y\n{rows}"));
    let train = |flags: &[&str]| {
        let _ = std::fs::remove_dir_all(work.path("run"));
        let mut command = work.command("train --data odd.csv --hidden 4 --epochs 1 --out run");
        command.args(flags);
        Ended::of(&flags.join(" "), command)
    };
    train(&["--ignore", "\"a,1\", name"]).exits(0).says("rows of 1 feature");
    train(&["--ignore", " name ,size"]).exits(0).says("rows of 1 feature");
    train(&["--ignore", "name", "--categorical", "y2, \"a,1\""]).exits(2).says("no column `y2`");
    train(&["--ignore", "name", "--categorical", " \"a,1\""]).says("rows of 8 features");
    let hint =
        "did you mean `a,1`? write a name with a comma in quotation marks: --ignore '\"a,1\"'";
    train(&["--ignore", "a,1"]).exits(2).says(hint);
    train(&["--ignore", "sizes"]).exits(2).says("did you mean `size`?");
    // A message writes the name as the flag takes it.
    let row = |index: usize| format!("{index},P{index},{}\n", index % 2);
    let rows: String = (0..60).map(row).collect();
    work.write("ids.csv", format!("size,\"my,id\",y\n{rows}"));
    let ended = work.rookie("train --data ids.csv").exits(2);
    ended.says("leave the column out with --ignore '\"my,id\"'");
}

#[test]
fn long_names_are_shortened_where_columns_without_effect_are_listed() {
    let work = Work::new();
    let row = |index: usize| format!("{},{index},{}\n", "x".repeat(1000), index % 2);
    let rows: String = (0..60).map(row).collect();
    work.write("t.csv", format!("a,b,y\n{rows}"));
    let ended = work.rookie("train --data t.csv --hidden 4 --epochs 1 --out run").exits(0);
    ended.says(&format!("constant, so of no effect: a = {}…", "x".repeat(36)));
}
