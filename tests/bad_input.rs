//! Everything wrong: each case is refused with exit code 2 and one line that names what is wrong
//! where and what would be right, and nothing is written.

mod support;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rookie::bf16::instructions::Instructions;
use safetensors::SafeTensors;
use support::{
    DATA, DataSet, Ended, FILES, FLAGS, GRID, SMALL, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES,
    TRAIN_LABELS, Work, gzip, idx,
};

/// Checks that a command was refused, said all of this in one line, and printed no result.
#[track_caller]
fn refuses(mut ended: Ended, phrases: &[&str]) {
    ended = ended.exits(2);
    for phrase in phrases {
        ended = ended.says(phrase);
    }
    let one_line = ended.stderr.starts_with("rookie: ") && ended.stderr.lines().count() == 1;
    let silent = ended.stdout.is_empty();
    let ended = ended.check(one_line, "standard error is one line that starts with `rookie: `");
    ended.check(silent, "nothing is on standard output");
}

/// Checks that rookie refuses these arguments and leaves the work folder as it was.
#[track_caller]
fn refused(work: &Work, arguments: &str, phrases: &[&str]) {
    let before = work.contents("");
    refuses(work.rookie(arguments), phrases);
    assert!(work.contents("") == before, "rookie {arguments}: something was written or removed");
}

#[test]
fn a_data_file_that_is_no_whole_idx_file_is_refused() {
    type Spoil = fn(Vec<u8>) -> Vec<u8>;
    let cases: &[(&str, Spoil, &str)] = &[
        (TRAIN_IMAGES, |_| Vec::new(), "found an empty file, expected an IDX file"),
        (TRAIN_LABELS, |file| file[..6].into(), "byte 4: found the end of the file"),
        (TEST_LABELS, |file| file[..2].into(), "byte 0: found the end of the file"),
        (TEST_IMAGES, |file| file[..1000].into(), "found 984 bytes of items, expected 1800"),
        (TRAIN_LABELS, |file| [&file[..], &[0]].concat(), "found more bytes, expected 300"),
        (
            TRAIN_IMAGES,
            |file| [b"PK", &file[2..]].concat(),
            "found the bytes 50 4b, expected 00 00",
        ),
        (TEST_IMAGES, |file| [&[0, 0, 10], &file[3..]].concat(), "found type 0x0a, expected 0x08"),
        (TRAIN_LABELS, |_| SMALL.files()[0].clone(), "found 3 dimensions, expected 1 (labels)"),
        (TEST_IMAGES, |_| SMALL.files()[3].clone(), "images of 1×1 pixels, expected 6×5"),
        (TRAIN_IMAGES, |_| idx(&[0, 6, 5], &[]), "[0, 6, 5], expected at least one item"),
        (TEST_IMAGES, |_| idx(&[60, 0, 5], &[]), "[60, 0, 5], expected at least one item"),
        (TRAIN_LABELS, |_| idx(&[0], &[]), "[0], expected at least one item"),
    ];
    for &(name, spoil, phrase) in cases {
        let work = Work::new();
        let path = Path::new(DATA).join(name);
        work.write(&path, spoil(work.bytes(&path)));
        refused(&work, "grid my.toml", &[name, phrase]);
        // The same within gzip, where an empty file is a gzip of nothing.
        if !work.bytes(&path).is_empty() {
            work.write(&path, gzip(&work.bytes(&path)));
            refused(&work, "grid my.toml", &[name, phrase]);
        }
    }
}

#[test]
fn a_header_that_promises_more_than_there_is_is_refused_at_once() {
    const MOST: usize = u32::MAX as usize;
    for (dimensions, phrase) in [
        ([MOST, 6, 5], "found 4 bytes of items, expected 128849018850"),
        ([MOST, 1 << 30, 1], "found 4 bytes of items, expected 4611686017353646080"),
        ([MOST; 3], "a size that fits into memory"),
    ] {
        for pack in [<[u8]>::to_vec, gzip] {
            let work = Work::new();
            let path = Path::new(DATA).join(TRAIN_IMAGES);
            work.write(&path, pack(&idx(&dimensions, &[1, 2, 3, 4])));
            let begun = Instant::now();
            refused(&work, "grid my.toml", &[TRAIN_IMAGES, phrase]);
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
    }
}

#[test]
fn a_gzip_that_is_corrupt_is_refused() {
    type Spoil = fn(Vec<u8>) -> Vec<u8>;
    let cases: &[(Spoil, &str)] = &[
        (|file| file[..file.len() / 2].into(), "a gzip that ends after"),
        (|file| file[..file.len() - 4].into(), "corrupt gzip"),
        (|file| file[..5].into(), "found the end of the file"),
        (|file| [&file[..], b"garbage"].concat(), "corrupt gzip"),
        (|file| [&file[..], &[0x55; 100]].concat(), "corrupt gzip"),
        (|mut file| (file[3000] ^= 1, file).1, "corrupt gzip"),
    ];
    for &(spoil, phrase) in cases {
        let work = Work::new();
        let path = Path::new(DATA).join(TRAIN_IMAGES);
        work.write(&path, spoil(gzip(&work.bytes(&path))));
        refused(&work, "grid my.toml", &[TRAIN_IMAGES, phrase]);
    }
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let labels = |count: usize, label: fn(usize) -> u8| {
        idx(&[count], &(0..count).map(label).collect::<Vec<_>>())
    };
    for (name, contents, phrase) in [
        (TRAIN_LABELS, labels(299, |i| (i % 3) as u8), "found 299 labels, expected 300"),
        (TEST_LABELS, labels(61, |i| (i % 3) as u8), "found 61 labels, expected 60"),
        (TRAIN_LABELS, labels(300, |_| 1), "found label 1 for every image, expected two classes"),
        (TEST_LABELS, labels(60, |i| (i % 4) as u8), "found label 3 of image 3, expected"),
        (TEST_LABELS, labels(60, |i| (i % 4) as u8), "a training image has: 0 to 2"),
        (TEST_IMAGES, idx(&[60, 5, 6], &[7; 1800]), "test images of 5×6 pixels, expected 6×5"),
    ] {
        let work = Work::new();
        work.write(Path::new(DATA).join(name), contents);
        refused(&work, "grid my.toml", &[name, phrase]);
    }
}

#[test]
fn a_missing_file_or_folder_of_data_is_named_with_its_cure() {
    for name in FILES {
        let work = Work::new();
        std::fs::remove_file(work.path(DATA).join(name)).unwrap();
        refused(
            &work,
            "grid my.toml",
            &[name, "found neither this file", "scripts/fetch-data", "--data"],
        );
    }
    let work = Work::trained();
    for command in ["grid my.toml", "train", "split", "evaluate run/model.safetensors"] {
        let expected = "expected a folder with the four IDX files";
        let phrases = ["--data nowhere", "found no such file or folder", expected];
        refused(&work, &format!("{command} --data nowhere"), &phrases);
        let phrases = ["my.toml: found no column that is named like labels"];
        refused(&work, &format!("{command} --data my.toml"), &phrases);
    }
    let mut command = work.command("split");
    command.env("ROOKIE_DATA", "nowhere");
    refuses(Ended::of("split", command), &["ROOKIE_DATA nowhere", "found no such file or folder"]);
}

#[test]
fn a_wrong_grid_file_is_refused_with_its_line() {
    let work = Work::new();
    for (from, to, phrase) in [
        ("learning_rate", "learning_rte", "my.toml:10: unknown key `learning_rte`"),
        ("learning_rate", "learning_rte", "did you mean `learning_rate`?"),
        ("[axes]", "[axis]", "my.toml:9: unknown key `axis`; did you mean `axes`?"),
        ("[axes]", "[axes", "my.toml:9: not TOML"),
        (
            "0.2, 0.1",
            "0.2, -0.1",
            "my.toml:10: found -0.1, expected learning_rate: a number above 0",
        ),
        ("[0.5, 0.8]", "[]", "my.toml:11: found [], expected at least one value of lr_decay"),
        ("[0.5, 0.8]", "0.5", "my.toml:11: found 0.5, expected a list of values of lr_decay"),
        ("epochs = 6", "epochs = 0", "my.toml:5: found 0, expected epochs: a whole number from 1"),
        ("epochs = 6", "epochs = 6\nepochs = 7", "my.toml:6: not TOML: duplicate key"),
        ("[16, 12]", "[16, 0]", "my.toml:2: found [16, 0], expected hidden"),
        ("= 50", "= 300", "found 300, expected fewer than the 300 training rows"),
    ] {
        work.write("my.toml", GRID.replacen(from, to, 1));
        refused(&work, "grid my.toml", &[phrase]);
    }
    work.write("my.toml", GRID.replace("learning_rate", r#""learning\nrate""#));
    refused(&work, "grid my.toml", &["my.toml:10: unknown key"]);
    work.write("my.toml", "[axes]\nseed = [1]\n[[runs]]\nseed = 2");
    refused(&work, "grid my.toml", &["my.toml:", "seed"]);
    work.write("my.toml", [0xff, 0xfe]);
    refused(&work, "grid my.toml", &["my.toml: byte 0: found bytes that are not UTF-8"]);
    work.write("run.toml", "learning_rte = 0.1");
    let phrases = ["run.toml:1: unknown key `learning_rte`", "did you mean `learning_rate`?"];
    refused(&work, "train run.toml", &phrases);
    refused(&work, "train nowhere.toml", &["nowhere.toml: cannot read"]);
}

#[test]
fn a_wrong_value_is_refused_in_the_same_words_from_flag_and_assignment() {
    let work = Work::new();
    work.write("values.toml", "validation_size = 50");
    for (key, value, phrase) in [
        ("learning_rate", "-0.1", "found `-0.1`, expected learning_rate: a number above 0"),
        ("learning_rate", "0.1,", "found `0.1,`, expected learning_rate: a number above 0"),
        ("learning_rate", "", "found ``, expected learning_rate: a number above 0"),
        ("learning_rate", "nan", "found `nan`, expected learning_rate: a number above 0"),
        ("epochs", "0", "found `0`, expected epochs: a whole number from 1"),
        ("epochs", "1.5", "found `1.5`, expected epochs: a whole number from 1"),
        ("momentum", "1", "found `1`, expected momentum: a number from 0, below 1"),
        ("activation", "gelu", "expected activation: relu, leaky_relu, tanh or sigmoid"),
        ("hidden", "16,0", "found 16,0, expected hidden: up to 16 widths"),
        (
            "hidden",
            "65536,65536",
            "hidden: found a network [30, 65536, 65536, 3], expected at most",
        ),
        ("validation_size", "300", "expected fewer than the 300 training rows"),
    ] {
        let flag = format!("--{}={value}", key.replace('_', "-"));
        for command in ["grid my.toml", "train values.toml"] {
            refused(&work, &format!("{command} {flag}"), &[phrase]);
            refused(&work, &format!("{command} --set {key}={value}"), &[phrase]);
        }
    }
}

#[test]
fn wrong_arguments_are_refused_with_their_cure() {
    let work = Work::new();
    for (arguments, phrases) in [
        ("grid nowhere", ["grid nowhere: ", "expected one of table1, table2, quick, or"]),
        ("grid data", ["grid data: ", "expected one of table1, table2, quick, or"]),
        ("grid my.toml --set epoch=3", ["unknown key `epoch`", "did you mean `epochs`?"]),
        ("grid my.toml --set epochs", ["--set epochs: ", "expected KEY=VALUE"]),
        ("grid my.toml --seed 1,1", ["--seed: ", "1 occurs twice in seed"]),
        ("train --epochs 1,2", ["--epochs: found 2 values, expected one", "`rookie grid`"]),
        (
            "train --set hidden=8/6,4",
            ["--set hidden: found 2 values, expected one", "`rookie grid`"],
        ),
        (
            "train --learning-rate 0.5 --weight-decay 2",
            ["--weight-decay: found learning_rate 0.5 with weight_decay 2", "such as 1"],
        ),
        (
            "grid my.toml --learning-rate 0.1,0.5 --weight-decay 2",
            [
                "--weight-decay: in run lr0.5_decay0.5: found learning_rate 0.5 with weight_decay 2",
                "such as 1",
            ],
        ),
        (
            "train --learning-rate 2000",
            ["--learning-rate: found learning_rate 2000 with weight_decay 0.001", "such as 0.0003"],
        ),
        ("train --batch-size 1", ["--batch-size: found 1", "--standardisation dataset"]),
        ("split --batch-size 0", ["--batch-size: found `0`", "a whole number from 1 to 65536"]),
        ("split --validation-size 300", ["--validation-size: found 300", "fewer than the 300"]),
        ("rank nowhere", ["nowhere: found no such folder", "a results folder, or the folder of"]),
        (
            "rank data",
            ["data: found a folder without grid.toml or run.toml", "expected a results folder"],
        ),
    ] {
        refused(&work, arguments, &phrases);
    }
    if Instructions::of_processor().is_none() {
        for command in [
            "train --precision bf16",
            "grid my.toml --precision f32,bf16",
            "bench --precision bf16",
        ] {
            let phrases =
                ["precision", "found bf16, but this processor (", "; take --precision f32"];
            refused(&work, command, &phrases);
        }
    }
    for (arguments, flag) in [
        ("grid my.toml --jobs 0", "--jobs"),
        ("grid my.toml --yes", "--fresh"),
        ("grid my.toml extra", "extra"),
        ("rank", "<DIR>"),
        ("rank data --top 0", "--top"),
        ("rank data --by luck", "test, validation"),
        ("evaluate", "<MODEL>"),
        ("dance", "dance"),
    ] {
        let before = work.contents("");
        work.rookie(arguments).exits(2).says(flag);
        assert!(work.contents("") == before, "rookie {arguments}");
    }
}

#[test]
fn a_value_that_does_not_suit_the_data_is_refused_where_it_was_given() {
    let work = Work::new();
    let grid = |from: &str, to: &str| support::GRID.replace(from, to);
    work.write("value.toml", grid("validation_size = 50", "validation_size = 300"));
    let axis = grid("learning_rate = [0.2, 0.1, 0.02]", "validation_size = [300]");
    work.write("axis.toml", axis.replace("validation_size = 50\n", ""));
    let row = grid("[axes]", "[[runs]]\nvalidation_size = 300\n[axes]");
    work.write("row.toml", row.replace("validation_size = 50\n", ""));
    work.write("wide.toml", grid("hidden = [16, 12]", "hidden = [65536, 65536]"));
    work.write("decay.toml", grid("epochs = 6", "epochs = 6\nweight_decay = 5"));
    work.write("run.toml", "epochs = 2\nvalidation_size = 301\n");
    let too_large = "expected fewer than the 300 training rows";
    for (arguments, phrases) in [
        ("grid value.toml", ["value.toml:4: validation_size: found 300, ", too_large]),
        ("grid axis.toml", ["axis.toml:9: validation_size: found 300", ""]),
        ("grid row.toml", ["row.toml: validation_size: found 300, ", too_large]),
        ("grid wide.toml", ["wide.toml:2: hidden: found a network", "expected at most"]),
        (
            "grid decay.toml",
            [
                "decay.toml:6: weight_decay: in run lr0.2_decay0.5: found learning_rate 0.2 with weight_decay 5",
                "",
            ],
        ),
        ("grid value.toml --validation-size 400", ["--validation-size: found 400, ", too_large]),
        ("grid my.toml --set validation_size=400", ["--set validation_size: found 400", ""]),
        ("grid quick", ["grid quick: validation_size: found 5000, ", too_large]),
        ("train run.toml", ["run.toml:2: validation_size: found 301, ", too_large]),
        ("train run.toml --validation-size 302", ["--validation-size: found 302, ", too_large]),
        ("train", ["the default of --validation-size: found 5000, ", too_large]),
    ] {
        refused(&work, arguments, &phrases);
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused_before_anything_is_trained() {
    let work = Work::trained();
    let train = format!("train {FLAGS}");
    for (command, flag) in
        [("grid my.toml", "--out"), (&train, "--out"), ("evaluate run/model.safetensors", "--csv")]
    {
        for folder in ["my.toml", "my.toml/below", "my.toml/far/below"] {
            refused(&work, &format!("{command} {flag} {folder}"), &[folder, flag]);
        }
    }
    for flags in ["", "--fresh --yes"] {
        let phrases = ["data: is not empty (fashion-mnist) and has no grid.toml", "--out"];
        refused(&work, &format!("grid my.toml --out data {flags}"), &phrases);
    }
}

#[test]
fn a_file_that_is_no_whole_model_is_refused_by_every_command_that_takes_one() {
    let work = Work::trained();
    let model = work.bytes("run/model.safetensors");
    let with = |key: &str, value: Option<&str>| {
        let tensors = SafeTensors::deserialize(&model).unwrap();
        let (_, header) = SafeTensors::read_metadata(&model).unwrap();
        let mut metadata: HashMap<String, String> = header.metadata().clone().unwrap();
        metadata.remove(key);
        metadata.extend(value.map(|value| (key.into(), value.into())));
        safetensors::serialize(tensors.tensors(), Some(metadata)).unwrap()
    };
    let bare = SafeTensors::deserialize(&model).unwrap().tensors();
    let bare = safetensors::serialize(bare, None).unwrap();
    for (file, contents, phrase) in [
        ("empty", Vec::new(), "not a whole safetensors file"),
        ("foreign", GRID.into(), "not a whole safetensors file"),
        ("header-torn", model[..100].into(), "not a whole safetensors file"),
        ("torn", model[..model.len() - 1].into(), "not a whole safetensors file"),
        ("too-long", [&model[..], &[0]].concat(), "not a whole safetensors file"),
        ("bare", bare, "in its metadata, expected a model of rookie"),
        ("no-z_std", with("z_std", None), "no `z_std` in its metadata"),
        ("no-activation", with("activation", None), "no `activation` in its metadata"),
        ("z_std-0", with("z_std", Some("0")), "found z_std = 0, expected a number above 0"),
        ("epochs-0", with("epochs", Some("0")), "found epochs = 0, expected a whole number from 1"),
        ("lie", with("hidden", Some("16,13")), "found tensors for [16, 12], expected [16, 13]"),
    ] {
        work.write(file, contents);
        refused_as_model(&work, file, phrase);
    }
    refused_as_model(&work, "nowhere", "cannot read: No such file or directory");
    refused_as_model(&work, "data", "found a folder, expected a model file; name the model");
}

#[track_caller]
fn refused_as_model(work: &Work, file: &str, phrase: &str) {
    for command in [
        format!("evaluate {file}"),
        format!("predict {file} {DATA}/{TEST_IMAGES}"),
        format!("train --validation-size 50 --init {file}"),
    ] {
        refused(work, &command, &[&format!("rookie: {file}: "), phrase]);
    }
}

#[test]
fn a_model_is_refused_where_it_does_not_fit() {
    let work = Work::trained();
    work.write_data("smaller", DataSet { height: 4, width: 4, ..SMALL });
    work.write_data("classes", DataSet { classes: 4, ..SMALL });
    work.write_data("fewer", DataSet { train: 40, ..SMALL });
    let model = "run/model.safetensors";
    for (data, phrase) in [
        ("smaller", "expected one for 16 pixels and 3 classes, as the data have"),
        ("classes", "expected one for 30 pixels and 4 classes, as the data have"),
    ] {
        let phrases = [model, "found a model for 30 pixels and 3 classes", phrase];
        refused(&work, &format!("evaluate {model} --data {data}"), &phrases);
        let init = format!("train --validation-size 50 --init {model}");
        refused(&work, &format!("{init} --data {data}"), &phrases);
    }
    for (arguments, phrase) in [
        ("evaluate MODEL --split validation --data fewer", "fewer than the 40 training rows"),
        ("train --init MODEL --hidden 8", "found a model with hidden 16,12, expected 8"),
        ("train --init MODEL --activation tanh", "a model with activation relu, expected tanh"),
        ("predict MODEL smaller/t10k-images-idx3-ubyte", "found images of 16 pixels, expected 30"),
        ("predict MODEL smaller/t10k-labels-idx1-ubyte", "found images of 1 pixel, expected 30"),
        ("predict MODEL nowhere", "nowhere: cannot read"),
        ("predict MODEL data", "data: found a folder, expected an IDX file"),
    ] {
        refused(&work, &arguments.replace("MODEL", model), &[phrase]);
    }
}

#[test]
fn a_torn_record_is_named_with_its_cure_and_its_run_trained_again() {
    let work = Work::ranked();
    let record = "results/my/runs/lr0.1_decay0.5/run.toml";
    let text = work.text(record);
    let [before_status, before_provenance] =
        ["status", "[provenance]"].map(|line| text.find(line).unwrap());
    for cut in [0, 5, before_status, before_status + 10, before_provenance, text.len() - 5] {
        work.write(record, &text[..cut]);
        let ranked = work.rookie("rank results/my --format csv").exits(1);
        let ranked = ranked.says(&format!("left out: {record}")).says("remove the run's folder");
        assert_eq!(ranked.stdout.lines().count(), 1 + 5, "{}", ranked.stdout);
        let ended = work.rookie("grid my.toml").exits(0).says(record);
        ended
            .says("it was renamed to run.toml.damaged, and its run is trained again")
            .says("1 left");
        assert_eq!(work.text(format!("{record}.damaged")), text[..cut]);
        fs::remove_file(work.path(format!("{record}.damaged"))).unwrap();
        work.rookie("grid my.toml").exits(0).says("6 of 6 runs finished before");
    }
}

#[test]
fn a_curve_that_is_none_is_refused_with_its_line() {
    let work = Work::trained();
    let whole = work.text("run/curve.csv");
    let lines: Vec<&str> = whole.lines().collect();
    let without = |line: usize| {
        let mut kept = lines.clone();
        kept.remove(line - 1);
        kept.join("\n")
    };
    for (curve, phrase) in [
        (String::new(), "run/curve.csv: found no epoch"),
        (format!("{}\n", lines[0]), "run/curve.csv: found no epoch"),
        (without(4), "run/curve.csv:4: found epoch 4, expected epoch 3"),
        (whole.replace("\n2,", "\n2,x"), "run/curve.csv:3: found another line"),
        (whole.replace("\n2,", "\n2"), "run/curve.csv:3: found another line"),
    ] {
        work.write("run/curve.csv", curve);
        refused(&work, "plot curves run", &[phrase]);
    }
    let expected = "expected the folder of a finished run, results/NAME/runs/RUN";
    refused(&work, "plot curves nowhere", &["nowhere: found no such folder", expected]);
    refused(&work, "plot curves my.toml", &["my.toml: found a file", expected]);
    refused(&work, "plot curves data", &["data: found a folder without curve.csv", expected]);
    refused(&work, "plot curves a b c d e f g h", &["found 8 runs, expected at most 7"]);
    refused(&work, "plot weights run/curve.csv", &["run/curve.csv: not a whole safetensors file"]);
    refused(&work, "plot weights run/model.safetensors --data nowhere", &["nowhere"]);
    refused(&work, "plot errors run/model.safetensors --data nowhere", &["nowhere"]);
}

#[test]
fn a_run_without_an_epoch_of_finite_loss_has_no_curve_to_draw() {
    let work = Work::trained();
    let train = format!("train {FLAGS} --learning-rate 1e30 --weight-decay 0 --out diverged");
    work.rookie(&train).exits(1);
    let problem = "diverged: no epoch ended with a finite loss, so there is no curve to draw";
    refused(&work, "plot curves diverged", &[problem]);
    assert!(!work.path("diverged/figures").exists());
    let both = work.rookie("plot curves diverged run --out both").exits(0);
    both.says(problem).says("wrote both/curves.svg");
    assert!(!work.text("both/curves.svg").contains("diverged"));
}

#[test]
fn a_figure_of_a_grid_that_cannot_be_drawn_is_refused() {
    let work = Work::ranked();
    let expected = "expected two of learning_rate, lr_decay, separated by a comma";
    for pair in ["learning_rate", "learning_rate,learning_rate", "lr_decay,seed", ",", ""] {
        let flag = format!("--heat-map={pair}");
        refused(&work, &format!("plot grid results/my {flag}"), &["--heat-map", expected]);
    }
    refused(&work, "plot grid run", &["run: found no such folder, expected a results folder"]);
    fs::remove_dir_all(work.path("results/my/runs")).unwrap();
    let ended = work.rookie("plot grid results/my").exits(2).says("6 runs of 6 not finished");
    ended.says("results/my: no run has finished training yet");
}

#[test]
fn a_report_that_cannot_be_written_is_refused() {
    let work = Work::ranked();
    refused(&work, "report run", &["run: found no such folder, expected a results folder"]);
    refused(&work, "report results", &["results: found a folder without grid.toml"]);
    refused(&work, "report results/my --out results", &["--out: found `results`", "ends in .html"]);
    refused(&work, "report results/my --out my.toml/r.html", &["my.toml", "--out"]);
    refused(&work, "report results/my --data nowhere", &["nowhere"]);
    refused(&work, "report results/my --out results/my/grid.toml", &["--out", "ends in .html"]);
}

#[test]
fn a_run_whose_files_have_gone_is_trained_again() {
    let work = Work::ranked();
    work.rookie(&format!("train {FLAGS} --out run")).exits(0);
    let folder = "results/my/runs/lr0.1_decay0.5";
    let remove_predictions = || {
        for folder in [folder, "run"] {
            fs::remove_file(work.path(format!("{folder}/test_predictions.csv.gz"))).unwrap();
        }
    };
    for name in ["model.safetensors", "curve.csv"] {
        let [of_grid, of_run] = [format!("{folder}/{name}"), format!("run/{name}")];
        let before = [work.bytes(&of_grid), work.bytes(&of_run)];
        remove_predictions();
        fs::remove_file(work.path(&of_grid)).unwrap();
        fs::remove_file(work.path(&of_run)).unwrap();
        let told = "is missing, its run is trained again";
        work.rookie("grid my.toml").exits(0).says(&format!("{of_grid} {told}")).says("1 left");
        let ended = work.rookie(&format!("train {FLAGS} --out run")).exits(0);
        ended.says("is missing, the run is trained again");
        assert_eq!([work.bytes(&of_grid), work.bytes(&of_run)], before);
    }
}

#[test]
fn a_run_without_its_model_is_finished_as_long_as_it_has_its_predictions() {
    let work = Work::ranked();
    let model = "results/my/runs/lr0.1_decay0.5/model.safetensors";
    fs::remove_file(work.path(model)).unwrap();
    work.rookie("grid my.toml").exits(0).says("0 left");
    assert!(!work.path(model).exists());
}

#[test]
fn results_that_belong_to_something_else_are_refused() {
    let work = Work::ranked();
    work.write_data("other", DataSet { test: 61, ..SMALL });
    let phrases = ["was trained on other data", "--data", "--fresh", "--out"];
    refused(&work, "grid my.toml --data other", &phrases);

    let record = "results/my/runs/lr0.1_decay0.5/run.toml";
    work.write(record, work.text(record).replace("\nseed = 0", "\nseed = 1"));
    let ranked = work.rookie("rank results/my").exits(1);
    ranked
        .says("holds other values than its grid (seed: 0 there, 1 here); remove the run's folder");
    let ended = work.rookie("grid my.toml").exits(0);
    ended.says("lr0.1_decay0.5 held the result of another run, which was moved to left_out");

    // A single run is trained in no results folder, whether of a grid or a record.
    for flags in ["", "--fresh"] {
        for folder in ["results/my/runs/lr0.1_decay0.5", "results/my/new/run"] {
            let arguments = format!("train {FLAGS} --out {folder} {flags}");
            let root = work.path("results/my").canonicalize().unwrap();
            let problem = format!("lies in the results folder {}", root.display());
            refused(&work, &arguments, &[folder, &problem, "--out"]);
        }
    }
    work.write("results/my/RECORDED", "");
    for flags in ["", "--fresh --yes", "--shard 0/2"] {
        refused(&work, &format!("grid my.toml {flags}"), &["holds recorded results", "--out"]);
    }
    let arguments = format!("train {FLAGS} --out results/my --fresh");
    refused(&work, &arguments, &["holds recorded results", "--out"]);
    fs::rename(work.path("results/my/RECORDED"), work.path("data/RECORDED")).unwrap();
    let arguments = format!("train {FLAGS} --out data/run --fresh");
    refused(&work, &arguments, &["data/run: lies in the results folder", "--out"]);
    fs::remove_file(work.path("data/RECORDED")).unwrap();
    // A grid file of a user's that is called so makes no results folder.
    fs::copy(work.path("my.toml"), work.path("grid.toml")).unwrap();
    work.rookie(&format!("train {FLAGS} --out beside")).exits(0);

    let arguments = format!("train {FLAGS} --out run");
    work.rookie(&arguments).exits(0);
    for flags in ["", "--fresh"] {
        let other_data = format!("{arguments} --data other {flags}");
        refused(&work, &other_data, &["run: holds another run (it is on other data)", "--out"]);
        let other_run = format!("{arguments} --seed 7 {flags}");
        refused(&work, &other_run, &["holds another run (seed: 0 there, 7 here)", "or remove it"]);
    }
    let began = format!("{arguments} --init run/model.safetensors --fresh");
    refused(&work, &began, &["holds another run (it began with other weights)"]);

    work.write("results/my/grid.toml", "[axes]\nseed = []");
    let phrases = ["results/my/grid.toml:2: found [], expected at least one value"];
    refused(&work, "rank results/my", &phrases);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let work = Work::trained();
    work.rookie("grid my.toml").exits(0);
    work.write("none.csv", "learning_rate,test_accuracy\n7,0.5\n");
    work.write("known.csv", "epoch,test_accuracy\n1,0.5\n");
    for (arguments, phrases) in [
        ("compare nowhere", ["nowhere: found no such folder", "expected a results folder, or the"]),
        (
            "compare data",
            ["data: found a folder without grid.toml or run.toml", "a results folder"],
        ),
        (
            "compare run --baseline results/my",
            ["found a results folder", "the folder of one of its"],
        ),
        (
            "compare results/my --reference none.csv",
            ["none.csv: has none of the configurations", "those of"],
        ),
        (
            "compare results/my --baseline run",
            ["--baseline: is not one of the runs", "name its folder"],
        ),
        ("compare run --reference nowhere", ["nowhere: cannot read", "No such file"]),
        ("compare run --reference known.csv", ["known.csv:1: found the columns epoch", "expected"]),
        ("compare run --figure f.gif", ["--figure: found `f.gif`", "ends in .png or .svg"]),
        ("compare run --data nowhere", ["--data", "found no such file or folder"]),
    ] {
        refused(&work, arguments, &phrases);
    }
}

#[test]
fn zeros_after_a_gzip_are_padding_and_other_bytes_are_named() {
    let work = Work::trained();
    let images = gzip(&work.bytes(format!("{DATA}/{TEST_IMAGES}")));
    let predict = "predict run/model.safetensors images.gz";
    work.write("images.gz", &images);
    let expected = work.rookie(predict).exits(0).stdout;
    for zeros in [1, 512, 200_000] {
        work.write("images.gz", [&images[..], &vec![0; zeros]].concat());
        assert_eq!(work.rookie(predict).exits(0).stdout, expected);
    }
    for rest in [&b"more"[..], b"\0\0more", b"\0\x1f\x8b"] {
        work.write("images.gz", [&images[..], rest].concat());
        let phrases = ["images.gz: corrupt gzip: bytes after its end are not gzip"];
        refused(&work, predict, &phrases);
    }
}

#[test]
fn images_to_be_predicted_come_from_standard_input_too() {
    let work = Work::trained();
    let images = work.path(format!("{DATA}/{TEST_IMAGES}"));
    let by_name = format!("predict run/model.safetensors {}", images.display());
    let expected = work.rookie(&by_name).exits(0).stdout;
    let from = |input: std::process::Stdio| {
        let mut command = work.command("predict run/model.safetensors -");
        command.stdin(input).output().unwrap()
    };
    let output = from(fs::File::open(&images).unwrap().into());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    let output = from(std::process::Stdio::null());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("standard input: found an empty file"), "{told}");
}

#[test]
fn numbers_that_float32_rounds_out_of_their_range_are_refused_with_that_reason() {
    let work = Work::new();
    for (flag, value, range) in [
        ("learning-rate", "1e-320", "a number above 0, at most 3.4e38 (as float32)"),
        ("weight-decay", "1e308", "a number from 0, at most 3.4e38 (as float32)"),
        ("momentum", "0.9999999999", "a number from 0, below 1 (as float32)"),
    ] {
        let flags = format!("train --{flag} {value}");
        refused(&work, &flags, &[&format!("found `{value}`"), range]);
        let key = flag.replace('-', "_");
        work.write("one.toml", format!("{key} = {value}\n"));
        refused(&work, "train one.toml", &[&format!("one.toml:1: found {value}"), range]);
    }
}

#[test]
fn slips_of_new_users_are_told_with_their_cure() {
    let work = Work::trained();
    refused(&work, "grid quik", &["neither a preset", "did you mean `quick`?"]);
    work.write("one.toml", "learning_rate = \"0.1\"\n");
    refused(&work, "train one.toml", &["one.toml:1: found \"0.1\"", "write it without quotes"]);
    work.write("my.toml", "[axes]\nlearning_rate = [\"0.1\"]\n");
    refused(&work, "grid my.toml", &["my.toml:2", "write it without quotes"]);
    work.write("one.toml", "lr = 0.1\n");
    refused(&work, "train one.toml", &["unknown key `lr`; did you mean `learning_rate`?"]);
    work.write("my.toml", "[axes]\nlr = [0.1]\n");
    refused(&work, "grid my.toml", &["unknown key `lr`; did you mean `learning_rate`?"]);
    let phrases = ["run: found a folder, expected a TOML file; name the run.toml in it"];
    refused(&work, "train run", &phrases);
    work.write("twice.csv", "learning_rate,test_accuracy,learning_rate\n0.2,0.5,0.1\n");
    let phrases = ["twice.csv:1: found two columns `learning_rate`, expected each column once"];
    refused(&work, "compare run --reference twice.csv", &phrases);
}
