//! The class that a run's model gives to each test image, as a file: `test_predictions.csv.gz`.

use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::data::file;
use crate::data::gzip::{packed, unpacked};
use crate::error::{Error, Place, Result, counted};
use crate::train::outcome::Scores;

/// The only column, as `rookie predict` names it.
const COLUMN: &str = "label";
/// The bytes of the longest row: `255` and a line end of two characters.
const MAX_ROW: usize = 5;
/// How much larger than its contents a gzip may be.
const MAX_OVERHEAD: usize = 1 << 10;

/// The most bytes that the predictions for so many images unpack to.
fn max_bytes(images: usize) -> usize {
    MAX_ROW * (1 + images) + COLUMN.len()
}

/// The bytes of `test_predictions.csv.gz`: a row per test image, in file order.
pub fn to_bytes(predictions: &[u8]) -> Vec<u8> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let into_memory = "writing into memory does not fail";
    csv.write_record([COLUMN]).expect(into_memory);
    for class in predictions {
        csv.write_record([class.to_string()]).expect(into_memory);
    }
    packed(&csv.into_inner().expect(into_memory))
}

/// What a run's predictions must agree with.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The true class of each test image.
    pub labels: &'a [u8],
    /// The number of classes, C.
    pub classes: usize,
    /// How many test images `run.toml` says were classified correctly.
    pub correct: usize,
}

/// Reads the predictions of a run with these scores for test images with these labels.
///
/// # Errors
/// Where the file cannot be read, is no whole list of predictions for these images, or disagrees
/// with the scores.
pub fn read(path: &Path, labels: &[u8], classes: usize, scores: &Scores) -> Result<Vec<u8>> {
    let bytes = read_bytes(path, labels.len())?;
    from_bytes(&bytes, Expected { labels, classes, correct: scores.correct() })
        .map_err(|problem| Error::input(Place::file(path), problem))
}

/// Whether a file holds a class for each of so many test images, whatever these show.
pub fn is_whole(path: &Path, images: usize) -> bool {
    const ANY: usize = 1 + u8::MAX as usize;
    read_bytes(path, images).is_ok_and(|bytes| rows(&bytes, images, ANY).is_ok())
}

/// The bytes of a file, if they are not too many for so many images.
fn read_bytes(path: &Path, images: usize) -> Result<Vec<u8>> {
    let (file, _) = file::open(path, "the predictions of a run")?;
    let limit = max_bytes(images) + MAX_OVERHEAD;
    let mut bytes = Vec::new();
    let read = file.take(limit as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::read(path, source))?;
    if bytes.len() > limit {
        let found = format!("more than {limit} bytes");
        let expected = format!("the predictions for {}", counted(images, "image"));
        return Err(Error::unexpected(Place::file(path), found, expected));
    }
    Ok(bytes)
}

/// Reads the bytes that [`to_bytes`] wrote.
///
/// # Errors
/// Says in a clause what is wrong.
pub fn from_bytes(
    gzip: &[u8],
    Expected { labels, classes, correct }: Expected<'_>,
) -> std::result::Result<Vec<u8>, String> {
    let predictions = rows(gzip, labels.len(), classes)?;
    let hits = predictions.iter().zip(labels).filter(|(class, label)| class == label).count();
    if hits != correct {
        let found = counted(hits, "correct prediction");
        return Err(format!("found {found}, expected {correct}, as its run.toml says"));
    }
    Ok(predictions)
}

/// The classes that the bytes of [`to_bytes`] hold, for so many images.
fn rows(gzip: &[u8], images: usize, classes: usize) -> std::result::Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let unpacking = unpacked(gzip, max_bytes(images) as u64).read_to_end(&mut text);
    unpacking.map_err(|error| match error.kind() {
        ErrorKind::QuotaExceeded => {
            let expected = format!("the predictions for {}", counted(images, "image"));
            format!("found more than {} bytes in the gzip, expected {expected}", max_bytes(images))
        }
        _ => format!("corrupt gzip: {error}"),
    })?;
    let mut csv = csv::Reader::from_reader(&text[..]);
    if csv.headers().ok().is_none_or(|header| *header != [COLUMN][..]) {
        return Err(format!("found another first line, expected the column `{COLUMN}`"));
    }
    let mut predictions = Vec::with_capacity(images);
    for (line, row) in (2..).zip(csv.records()) {
        let class = row.ok().and_then(|row| row[0].parse::<u8>().ok());
        let class = class.filter(|&class| usize::from(class) < classes);
        predictions.push(class.ok_or_else(|| {
            format!("found no class on line {line}, expected one from 0 to {}", classes - 1)
        })?);
    }
    if predictions.len() != images {
        let found = counted(predictions.len(), "prediction");
        return Err(format!("found {found}, expected {images}, one for each test image"));
    }
    Ok(predictions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels of three classes, predictions that are right but for every seventh, and how many are.
    fn example(images: usize) -> (Vec<u8>, Vec<u8>, usize) {
        let labels: Vec<u8> = (0..images).map(|image| (image * image % 3) as u8).collect();
        let wrong = |image: usize| u8::from(image.is_multiple_of(7));
        let predictions: Vec<u8> =
            labels.iter().enumerate().map(|(image, label)| (label + wrong(image)) % 3).collect();
        (labels, predictions, images - images.div_ceil(7))
    }

    #[test]
    fn predictions_come_back_from_their_bytes_as_they_went() {
        for images in [1, 6, 100, 10_000] {
            let (labels, predictions, correct) = example(images);
            let bytes = to_bytes(&predictions);
            // Neither flags, such as a name, nor a time.
            assert_eq!(bytes[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
            let expected = Expected { labels: &labels, classes: 3, correct };
            assert_eq!(from_bytes(&bytes, expected), Ok(predictions));
        }
        // As many classes as a label can name, all rows of the longest kind.
        let all = vec![255; 1000];
        let expected = Expected { labels: &all, classes: 256, correct: 1000 };
        assert_eq!(from_bytes(&to_bytes(&all), expected).as_ref(), Ok(&all));
        let windows = packed(&[&b"label\r\n"[..], &b"255\r\n".repeat(1000)].concat());
        assert_eq!(from_bytes(&windows, expected), Ok(all));
    }

    #[test]
    fn a_file_that_is_torn_or_damaged_anywhere_is_refused() {
        let (labels, predictions, correct) = example(100);
        let expected = Expected { labels: &labels, classes: 3, correct };
        let bytes = to_bytes(&predictions);
        for at in 0..bytes.len() {
            assert!(from_bytes(&bytes[..at], expected).is_err(), "cut after {at} bytes");
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            // Some bits, such as the header's time, say nothing of the contents.
            let read = from_bytes(&damaged, expected);
            assert!(read.is_err() || read.as_ref() == Ok(&predictions), "byte {at} damaged");
        }
    }

    #[test]
    fn a_file_of_other_predictions_is_refused_with_what_is_wrong() {
        let (labels, predictions, correct) = example(100);
        let expected = Expected { labels: &labels, classes: 3, correct };
        let rows = |rows: &[&str]| packed(rows.join("\n").as_bytes());
        let with = |image: usize, class: u8| {
            let mut other = predictions.clone();
            other[image] = class;
            to_bytes(&other)
        };
        for (bytes, problem) in [
            (to_bytes(&predictions[1..]), "found 99 predictions, expected 100, one for each"),
            (to_bytes(&[&predictions[..], &[1]].concat()), "found 101 predictions, expected 100"),
            (with(41, 3), "found no class on line 43, expected one from 0 to 2"),
            (with(41, (labels[41] + 1) % 3), "found 84 correct predictions, expected 85, as its"),
            (with(42, labels[42]), "found 86 correct predictions, expected 85, as its run.toml"),
            (rows(&["label", "x"]), "found no class on line 2"),
            (rows(&["label", "1,1"]), "found no class on line 2"),
            (rows(&["index,label"]), "found another first line, expected the column `label`"),
            (rows(&[]), "found another first line"),
            (b"label\n1\n".to_vec(), "corrupt gzip: "),
            (rows(&["1\n"; 1000]), "found more than 510 bytes in the gzip, expected the"),
            (packed(&vec![b'1'; 100_000_000]), "found more than 510 bytes in the gzip"),
        ] {
            let found = from_bytes(&bytes, expected).unwrap_err();
            assert!(found.starts_with(problem), "found `{found}`, expected `{problem}`");
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test_predictions.csv.gz");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(1 << 40).unwrap(); // a hole, which takes no room on the disk
        let score = crate::train::score::Score { loss: 1.0, accuracy: 0.5 };
        let (train, validation, test) = (score, score, score);
        let scores = Scores {
            best_epoch: 1,
            ended_epoch: None,
            train,
            validation,
            test: Some(test),
            test_images: 100,
        };
        let error = read(&path, &[0; 100], 3, &scores).unwrap_err().to_string();
        let expected = "found more than 1534 bytes, expected the predictions for 100 images";
        assert_eq!(error, format!("{}: {expected}", path.display()));
    }
}
