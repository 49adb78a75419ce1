//! Files that somebody has changed: each parser says what is wrong, takes no more memory than the
//! file warrants, and never panics.

mod support;

use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rookie::data::csv_file;
use rookie::data::idx;
use rookie::data::npz;
use rookie::data::preprocess::{Moments, Preprocessing, Standardisation, ZScore};
use rookie::data::signature::Signature;
use rookie::data::table::{ColumnKind, Columns};
use rookie::grid::space::Grid;
use rookie::network::params::Params;
use rookie::train::checkpoint::{self, Checkpoint};
use rookie::train::hyperparams::Hyperparams;
use rookie::train::model::Model;
use rookie::train::outcome::Record;
use rookie::train::predictions::{self, Expected};
use rookie::train::provenance::Provenance;
use rookie::train::run::TrainState;
use rookie::train::toml_file::TomlFile;
use support::gzip;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The memory of a whole process is measured, so the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// How many changed files each parser gets.
const CASES: u32 = 12_000;

/// A change to a file, with places as fractions of its length.
#[derive(Debug, Clone)]
enum Change {
    Flip(f64, u8),
    Set(f64, Vec<u8>),
    Insert(f64, Vec<u8>),
    Remove(f64, usize),
    Repeat(f64, usize),
    Cut(f64),
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        let at = |fraction: &f64| ((fraction * file.len() as f64) as usize).min(file.len());
        match self {
            Self::Flip(place, bits) => {
                let at = at(place);
                if let Some(byte) = file.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Self::Set(place, bytes) => {
                let at = at(place);
                let end = (at + bytes.len()).min(file.len());
                file[at..end].copy_from_slice(&bytes[..end - at]);
            }
            Self::Insert(place, bytes) => {
                let at = at(place);
                file.splice(at..at, bytes.iter().copied());
            }
            Self::Remove(place, count) => {
                let at = at(place);
                file.drain(at..(at + count).min(file.len()));
            }
            Self::Repeat(place, count) => {
                let at = at(place);
                let part = file[at..(at + count).min(file.len())].to_vec();
                file.splice(at..at, part);
            }
            Self::Cut(place) => file.truncate(at(place)),
        }
    }
}

/// Bytes that parsers stumble over as well as random ones.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&[u8]> = vec![
        &[0xff; 8],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0; 8],
        &[0x80, 0, 0, 0],
        b"9223372036854775807",
        b"1e308",
        b"nan",
        b"-1",
        b"[[[[[[[[",
        b"\"",
        b"\n",
        b"{",
        b"\0",
        "é".as_bytes(),
    ];
    prop_oneof![
        proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        proptest::collection::vec(any::<u8>(), 1..12),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    // Most of what decides stands at the front.
    let place = prop_oneof![0.0..1.0_f64, (0.0..0.02_f64)];
    prop_oneof![
        4 => (place.clone(), 1..=255_u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        4 => (place.clone(), bytes()).prop_map(|(at, bytes)| Change::Set(at, bytes)),
        2 => (place.clone(), bytes()).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => (place.clone(), 1..40_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (place.clone(), 1..400_usize).prop_map(|(at, count)| Change::Repeat(at, count)),
        1 => place.prop_map(Change::Cut),
    ]
}

/// Parses many changed copies of whole files. Of the whole ones themselves, all must be accepted.
fn withstands(whole: &[Vec<u8>], parse: impl Fn(&[u8]) -> bool) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for file in whole {
        assert!(parse(file), "a whole file is refused");
    }
    let changed = (0..whole.len(), proptest::collection::vec(change(), 1..5));
    let mut runner = TestRunner::new(Config { cases: CASES, ..Config::default() });
    let refused = std::cell::Cell::new(0);
    let result = runner.run(&changed, |(file, changes)| {
        let mut file = whole[file].clone();
        for change in &changes {
            change.apply(&mut file);
        }
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let accepted = parse(&file);
        let taken = MEMORY.peak_usage().saturating_sub(before);
        refused.set(refused.get() + u32::from(!accepted));
        prop_assert!(taken <= (2 << 20) + 100 * file.len(), "{taken} bytes for {}", file.len());
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(refused.get() > CASES / 10, "only {} were refused", refused.get());
}

/// An IDX file of these dimensions, with bytes of all kinds.
fn idx_file(dimensions: &[usize]) -> Vec<u8> {
    let count = dimensions.iter().product::<usize>();
    support::idx(dimensions, &(0..count).map(|i| (i * 37 % 251) as u8).collect::<Vec<_>>())
}

/// One of another type, by its byte and its size.
fn idx_file_of((item_type, size): (u8, usize), dimensions: &[usize]) -> Vec<u8> {
    let count = size * dimensions.iter().product::<usize>();
    // As floats these bytes are neither infinite nor NaN.
    let mut file =
        support::idx(dimensions, &(0..count).map(|i| (i * 37 % 61) as u8).collect::<Vec<_>>());
    file[2] = item_type;
    file
}

fn parse_idx(bytes: &[u8]) -> bool {
    let Ok(idx) = idx::from_bytes(Path::new("file"), bytes) else { return false };
    let (height, width) = idx.size();
    let items = idx.dimensions.iter().product::<usize>();
    assert_eq!(items, idx.dimensions[0] * height * width);
    let labels = idx.labels();
    assert!(labels.as_ref().is_ok_and(|labels| labels.len() == items) || labels.is_err());
    let rows = idx.dimensions[0];
    let features = idx.features();
    assert!(features.as_ref().is_ok_and(|rows_of| rows_of.len() == rows) || features.is_err());
    features.is_ok() || labels.is_ok()
}

fn params() -> Params {
    Params::he_init(&[6, 5, 4, 3], 1)
}

fn values(momentum: f64) -> rookie::train::checked::Checked {
    Hyperparams { hidden: vec![5, 4], momentum, ..Hyperparams::default() }.check().unwrap()
}

fn model() -> Vec<u8> {
    let z = ZScore { mean: 0.28, std: 0.35, white: 255.0 };
    let moments = Some(Moments { mean: vec![0.1; 6], variance: vec![0.9; 6] });
    let (trained_on, validation_accuracy, best_epoch) = (None, 0.5, 3);
    let (params, values) = (params(), values(0.0));
    let (standardisation, imputed) = (Standardisation::Batch, vec![0.5; 6]);
    let preprocessing = Preprocessing { standardisation, z, moments, imputed };
    let signature = Signature { labels: ["a", "b", "c"].map(String::from).to_vec(), schema: None };
    Model { params, values, signature, preprocessing, trained_on, validation_accuracy, best_epoch }
        .to_bytes()
}

fn checkpoint(momentum: f64) -> Vec<u8> {
    let values = values(momentum);
    let state = TrainState::new(&values.parts().0, params());
    let provenance = Provenance::from_iter([("cpu".into(), "one".into())]);
    checkpoint::to_bytes(&values, &state, 1.5, &provenance)
}

#[test]
fn changed_idx_files_are_refused_or_read_within_bounds() {
    let others = [(0x09, 1), (0x0b, 2), (0x0c, 4), (0x0d, 4), (0x0e, 8)];
    let others = others.map(|it| idx_file_of(it, &[20, 3, 5]));
    withstands(&[&[idx_file(&[20, 6, 5]), idx_file(&[300])], &others[..]].concat(), parse_idx);
}

#[test]
fn changed_gzips_are_refused_or_read_within_bounds() {
    withstands(&[gzip(&idx_file(&[20, 6, 5])), gzip(&idx_file(&[300]))], parse_idx);
}

#[test]
fn a_gzip_that_unpacks_without_end_is_refused_though_its_header_promises_as_much() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut unpacked = vec![0; 64 << 20];
    let header = [0, 0, 8, 1].into_iter().chain(((64 << 20) as u32 - 8).to_be_bytes());
    unpacked.iter_mut().zip(header).for_each(|(to, from)| *to = from);
    let bomb = gzip(&unpacked);
    drop(unpacked);
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let refused = idx::from_bytes(Path::new("bomb"), &bomb).unwrap_err().to_string();
    assert!(refused.contains("unpacks to more, expected at most 100 times its size"), "{refused}");
    let taken = MEMORY.peak_usage() - before;
    assert!(taken < 300 * bomb.len(), "{taken} bytes for {}", bomb.len());
}

fn parse_csv(bytes: &[u8]) -> bool {
    let Ok(table) = csv_file::from_bytes(Path::new("file"), bytes, &Columns::default()) else {
        return false;
    };
    assert_eq!(table.cells.len(), table.rows * table.columns.len());
    let labels = table.labels.unwrap();
    assert_eq!(labels.codes.len(), table.rows);
    assert!(labels.codes.iter().all(|code| (*code as usize) < labels.names.len()));
    for row in table.cells.chunks(table.columns.len()) {
        for (cell, column) in row.iter().zip(&table.columns) {
            let is_known = match &column.kind {
                ColumnKind::Number => cell.is_finite(),
                ColumnKind::Category(names) => (*cell as usize) < names.len(),
            };
            assert!(is_known || cell.is_nan(), "{cell} in {column:?}");
        }
    }
    true
}

#[test]
fn changed_tables_are_refused_or_read_within_bounds() {
    let row = |row: u32| format!("{row}.5,\"u,{}\",{}\n", row % 7, row % 3);
    let rows = (0..40).map(row).collect::<Vec<_>>().concat();
    let comma = format!("size,\"colour, or\",label\n{rows}").into_bytes();
    let semicolon = b"a;b;y\r\n1;x;0\r\n;\"y\nz\";1\r\n".to_vec();
    withstands(&[gzip(&comma), comma, semicolon], parse_csv);
}

#[test]
fn changed_archives_are_refused_or_read_within_bounds() {
    let npy = |shape: &str, items: &[u8]| {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
        let header = format!("{header:<117}\n");
        [b"\x93NUMPY\x01\x00\x76\x00", header.as_bytes(), items].concat()
    };
    let archive = |method| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        for (name, bytes) in [("x.npy", npy("(3, 4)", &[7; 12])), ("y.npy", npy("(3,)", b"abc"))] {
            zip.start_file(name, options).unwrap();
            zip.write_all(&bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let archives = [CompressionMethod::Stored, CompressionMethod::Deflated].map(archive);
    withstands(&archives, |bytes| npz::from_bytes(Path::new("file"), bytes).is_ok());
}

#[test]
fn changed_grids_and_records_are_refused_or_read_within_bounds() {
    let record = "learning_rate = 0.2\nhidden = [16, 12]\nstatus = \"done\"\nbest_epoch = 4\n\
                  train_loss = 0.1\ntrain_accuracy = 0.9\nvalidation_loss = 0.1\n\
                  validation_accuracy = 0.9\ntest_loss = 0.1\ntest_accuracy = 0.9\n\
                  test_images = 60\nseconds = 1.5\n[provenance]\ncpu = \"one\"\n";
    let rows = "name = \"rows\"\n[[runs]]\nlearning_rate = 0.2\n[[runs]]\nhidden = []\n";
    let axes = include_str!("../grids/table1.toml");
    let files = [record, rows, axes].map(|text| text.as_bytes().to_vec());
    withstands(&files, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let file = TomlFile::new("file.toml", text);
        let record = Record::parse(&file, "run").map(|record| record.to_toml());
        let grid = Grid::parse(&file).map(|grid| {
            let written = grid.to_toml();
            let again = Grid::parse(&TomlFile::new("file.toml", &written[..]));
            assert_eq!(again.map(|grid| grid.to_toml()).ok(), Some(written));
        });
        record.is_ok() || grid.is_ok()
    });
}

#[test]
fn changed_models_are_refused_or_read_within_bounds() {
    withstands(&[model()], |bytes| Model::from_bytes(bytes).is_ok());
}

#[test]
fn changed_predictions_are_refused_or_are_those_that_were_written() {
    let labels: Vec<u8> = (0..300).map(|image| (image * 7 % 10) as u8).collect();
    let expected = Expected { labels: &labels, classes: 10, correct: 300 };
    let parse = |gzip: &[u8]| {
        let read = predictions::from_bytes(gzip, expected);
        read.map(|read| assert_eq!(read, labels)).is_ok()
    };
    withstands(&[predictions::to_bytes(&labels)], parse);
    // In a gzip that is whole, so that they get past its checksum.
    let rows: Vec<String> = labels.iter().map(ToString::to_string).collect();
    withstands(&[format!("label\n{}\n", rows.join("\n")).into_bytes()], |csv| parse(&gzip(csv)));
}

#[test]
fn changed_checkpoints_are_refused_or_read_within_bounds() {
    let files = [checkpoint(0.0), checkpoint(0.9)];
    withstands(&files, |bytes| {
        // Somebody might make the checksum fit, so what follows it is parsed by itself too.
        let start = b"rookie checkpoint 1\n".len() + 65;
        let content = Checkpoint::from_content(bytes.get(start..).unwrap_or_default());
        let whole = Checkpoint::from_bytes(bytes);
        assert!(whole.is_err() || whole == content);
        content.is_ok()
    });
}
