//! IDX files of all types and dimensions: what is read from them, and folders of them without a test set.

mod support;

use std::fs;
use std::path::Path;

use rookie::data::features::Features;
use rookie::data::idx::{self, Idx};
use rookie::data::options::DataOptions;
use rookie::data::source;
use support::{
    Csv, DATA, FLAGS, SMALL, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Work, gzip,
};

/// An IDX file whose items have a type byte and these bytes.
fn file(item_type: u8, dimensions: &[u32], items: &[u8]) -> Vec<u8> {
    let sizes = dimensions.iter().flat_map(|size| size.to_be_bytes());
    let header = [0, 0, item_type, dimensions.len() as u8].into_iter().chain(sizes);
    header.chain(items.iter().copied()).collect()
}

fn floats(dimensions: &[u32], items: &[f32]) -> Vec<u8> {
    file(0x0d, dimensions, &items.iter().flat_map(|item| item.to_be_bytes()).collect::<Vec<_>>())
}

fn doubles(items: &[f64]) -> Vec<u8> {
    let bytes: Vec<u8> = items.iter().flat_map(|item| item.to_be_bytes()).collect();
    file(0x0e, &[items.len() as u32], &bytes)
}

#[track_caller]
fn read(bytes: &[u8]) -> Idx {
    idx::from_bytes(Path::new("t"), bytes).unwrap()
}

#[test]
fn every_type_of_number_is_read_as_features_and_as_labels() {
    let cases: [(u8, Vec<u8>, [i32; 3]); 6] = [
        (0x08, vec![1, 0, 200], [1, 0, 200]),
        (0x09, vec![1, 254, 127], [1, -2, 127]),
        (0x0b, [1_i16, -2, 770].map(i16::to_be_bytes).concat(), [1, -2, 770]),
        (0x0c, [1_i32, -2, 770_000].map(i32::to_be_bytes).concat(), [1, -2, 770_000]),
        (0x0d, [1.0_f32, -2.0, 770.0].map(f32::to_be_bytes).concat(), [1, -2, 770]),
        (0x0e, [1.0_f64, -2.0, 770.0].map(f64::to_be_bytes).concat(), [1, -2, 770]),
    ];
    for (item_type, items, expected) in cases {
        let plain = file(item_type, &[3], &items);
        for bytes in [gzip(&plain), plain] {
            let idx = read(&bytes);
            assert_eq!(idx.labels().unwrap(), expected, "type {item_type:#04x}");
            let expected = expected.iter().map(|&it| it as f32).collect();
            assert_eq!(idx.features().unwrap(), Features::floats(expected, 1));
        }
    }
    let fractions = floats(&[1, 2], &[0.5, -1.25]);
    let expected = Features::floats(vec![0.5, -1.25], 2);
    assert_eq!(read(&fractions).features().unwrap(), expected);
}

#[test]
fn rows_of_any_number_of_dimensions_are_flattened_to_height_and_width() {
    for (dimensions, size) in [
        (&[6][..], (1, 1)),
        (&[6, 5], (1, 5)),
        (&[6, 4, 5], (4, 5)),
        (&[6, 4, 5, 3], (4, 15)),
        (&[6, 4, 5, 3, 2], (4, 30)),
    ] {
        let items: Vec<u8> = (0..dimensions.iter().product::<u32>()).map(|it| it as u8).collect();
        let idx = read(&file(0x08, dimensions, &items));
        assert_eq!(idx.size(), size, "{dimensions:?}");
        assert_eq!(idx.features().unwrap(), Features::bytes(items, size.0 * size.1));
    }
}

#[test]
fn numbers_that_are_no_features_or_no_labels_are_refused() {
    for (bytes, expected) in [
        (floats(&[2, 2], &[1.0, 2.0, 3.0, f32::NAN]), "t: found NaN in row 1, feature 1, expected"),
        (doubles(&[1.0, -1e99]), "t: found -inf in row 1, feature 0, expected finite numbers with"),
    ] {
        let found = read(&bytes).features().unwrap_err().to_string();
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    for (bytes, expected) in [
        (floats(&[2], &[1.0, 0.5]), "t: found label 0.5 of row 1, expected classes: integers of"),
        (doubles(&[2_147_483_648.0]), "t: found label 2147483648 of row 0, expected classes"),
        (floats(&[1], &[f32::NAN]), "t: found label NaN of row 0, expected classes"),
        (file(0x08, &[2, 1], &[1, 2]), "t: byte 0: found 2 dimensions, expected 1 (labels)"),
    ] {
        let found = read(&bytes).labels().unwrap_err().to_string();
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    for (bytes, expected) in [
        (file(0x0a, &[1], &[1]), "t: byte 0: found type 0x0a, expected 0x08, 0x09 or 0x0b to 0x0e"),
        (file(0x08, &[], &[1]), "t: byte 0: found a single item, expected at least 1 dimension"),
        (file(0x0b, &[2], &[0, 1, 0]), "t: found 3 bytes of items, expected 4, as its header"),
        (file(0x0e, &[u32::MAX, 1 << 29], &[0]), "t: found a header that promises [4294967295, 5"),
    ] {
        let found = idx::from_bytes(Path::new("t"), &bytes).unwrap_err().to_string();
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

/// A work folder whose data are 90 training rows of two 16-bit numbers, with the labels −5, 0 and 700.
fn vectors() -> Work {
    let work = Work::new();
    for name in [TEST_IMAGES, TEST_LABELS] {
        fs::remove_file(work.path(DATA).join(name)).unwrap();
    }
    let rows = (0..90_i16).flat_map(|row| [1000 * (row % 3) + row, row - 40]);
    let rows: Vec<u8> = rows.flat_map(i16::to_be_bytes).collect();
    let labels: Vec<u8> = (0..90).flat_map(|row| [-5_i32, 0, 700][row % 3].to_be_bytes()).collect();
    work.write(Path::new(DATA).join(TRAIN_IMAGES), file(0x0b, &[90, 2], &rows));
    work.write(Path::new(DATA).join(TRAIN_LABELS), file(0x0c, &[90], &labels));
    work
}

#[test]
fn test_rows_are_drawn_from_a_folder_without_them() {
    let work = vectors();
    let open = |options: &DataOptions| source::open(&work.path(DATA), options).unwrap();
    let dataset = open(&DataOptions::default());
    assert_eq!((dataset.train.len(), dataset.test.len()), (72, 18));
    assert_eq!(dataset.signature.labels, ["-5", "0", "700"]);
    let of_each =
        |labels: &[u8]| [0, 1, 2].map(|class| labels.split(|label| *label == class).count() - 1);
    assert_eq!((of_each(&dataset.train.labels), of_each(&dataset.test.labels)), ([24; 3], [6; 3]));
    // Each row keeps its label, and is in one part.
    let number = |row: &[f32]| (row[1] + 40.0) as usize;
    let mut all = Vec::new();
    for part in [&dataset.train, &dataset.test] {
        for (row, &label) in part.labels.iter().enumerate() {
            all.push(number(&part.features.row(row)));
            assert_eq!(all.last().unwrap() % 3, usize::from(label));
        }
        assert!(all[all.len() - part.len()..].is_sorted(), "in the order of the file: {all:?}");
    }
    all.sort_unstable();
    assert_eq!(all, (0..90).collect::<Vec<_>>());
    let other = open(&DataOptions { test_seed: 1, ..DataOptions::default() });
    assert_ne!(other.test.features, dataset.test.features);
    assert_eq!(open(&DataOptions::default()).test.features, dataset.test.features);
}

#[test]
fn a_model_of_such_a_folder_is_trained_evaluated_and_predicts() {
    let work = vectors();
    let train = "train --hidden 8 --batch-size 16 --epochs 3 --test-size 30 --out run";
    let drawn = "60 training images and 30 test images of 1×2 pixels in 3 classes from ";
    let ended = work.rookie(train).exits(0).says(drawn);
    ended.says("; the test rows are drawn from it (--test-size 30, --test-seed 0)");
    assert_eq!(work.toml("run/run.toml")["validation_size"].to_string(), "0.2");
    // The record says how they were drawn.
    let evaluated = work.rookie("evaluate run/model.safetensors").exits(0).stdout;
    assert!(evaluated.contains("30"), "{evaluated}");
    work.write_data("other", SMALL);
    let refused = work.rookie("evaluate run/model.safetensors --data other").exits(2);
    refused.says("found a model for 2 pixels and 3 classes, expected one for 30 pixels");
    let predict = format!("predict run/model.safetensors {DATA}/{TRAIN_IMAGES}");
    let answers = Csv::parse(&work.rookie(&predict).exits(0).stdout);
    assert_eq!(answers.header[..3], ["index", "label", "probability_-5"]);
    assert_eq!(answers.column("label").len(), 90);
    let refused = work.rookie(&format!("train {FLAGS} --missing mean --out other")).exits(2);
    refused.says("is a folder of IDX files, for which --missing cannot be used");
}

#[test]
fn a_folder_with_a_test_set_draws_none_and_half_a_test_set_is_refused() {
    let work = Work::new();
    let refused = work.rookie(&format!("train {FLAGS} --test-size 30 --out run")).exits(2);
    refused.says("is a folder of IDX files with a test set, for which --test-size cannot be used");
    fs::remove_file(work.path(DATA).join(TEST_LABELS)).unwrap();
    let refused = work.rookie(&format!("train {FLAGS} --out run")).exits(2);
    refused.says(&format!("{TEST_LABELS}: found neither this file"));
    let labels: Vec<u8> = (0..300_i32).flat_map(i32::to_be_bytes).collect();
    work.write(Path::new(DATA).join(TRAIN_LABELS), file(0x0c, &[300], &labels));
    fs::remove_file(work.path(DATA).join(TEST_IMAGES)).unwrap();
    let refused = work.rookie(&format!("train {FLAGS} --out run")).exits(2);
    refused.says(&format!("{TRAIN_LABELS}: found 300 classes, expected at most 256"));
}

#[test]
fn a_folder_without_data_files_is_told_as_such() {
    let work = Work::new();
    work.write("tables/fruit.csv", "a,y\n1,0\n2,1\n");
    for flags in ["", " --label fruit"] {
        let ended = work.rookie(&format!("train --data tables{flags}")).exits(2);
        let ended =
            ended.says("tables: found a folder without data files, expected the IDX files of ");
        ended.says("; a table is named by its file: --data tables/fruit.csv");
    }
}
