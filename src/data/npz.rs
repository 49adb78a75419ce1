//! NumPy's archives (`.npz`), and pairs of its files (`.npy`). The only module that opens zip archives.
//!
//! An array is unpacked only if its declared size is what its shape needs, and at most eight GiB.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use crate::data::arrays::{Array, Arrays, Features};
use crate::data::columns::list;
use crate::data::file;
use crate::data::npy::{LabelPlace, Npy};
use crate::data::table::{BadLabels, LabelTexts, Labels, MOST_CLASSES, cure_of_label};
use crate::error::{Error, Place, Result, counted};

/// What the arrays of an archive are called: features and labels of the training, validation and test set, or
/// of all rows. Keras and MedMNIST write the first two. Capital letters do not matter.
const NAMES: [&[(&str, &str)]; 5] = [
    &[("x_train", "y_train"), ("x_val", "y_val"), ("x_test", "y_test")],
    &[
        ("train_images", "train_labels"),
        ("val_images", "val_labels"),
        ("test_images", "test_labels"),
    ],
    &[("x", "y"), ("x_val", "y_val"), ("x_test", "y_test")],
    &[("data", "target")],
    &[("images", "labels"), ("val_images", "val_labels"), ("test_images", "test_labels")],
];

/// Reads an archive of arrays that are named as Keras or MedMNIST do, or `X` and `y`, `data` and `target`,
/// `images` and `labels`.
///
/// # Errors
/// [`Error::Read`] where the system cannot read the file, and [`Error::Input`] where it is no archive, is
/// damaged or has other names, and where an array holds objects, infinite values or labels that are no
/// classes, or does not fit to the others.
pub fn read(path: &Path) -> Result<Arrays> {
    let (file, _) = file::open(path, "an archive of NumPy")?;
    archive(path, BufReader::with_capacity(1 << 16, file))
}

/// Reads what [`read`] does from the bytes of a file; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Arrays> {
    archive(path, Cursor::new(bytes))
}

/// Reads features and labels from a file each.
///
/// # Errors
/// As [`read`].
pub fn read_pair(features: &Path, labels: &Path) -> Result<Array> {
    let mut texts = LabelTexts::default();
    let x = open(features)?.features()?;
    let y = open(labels)?.labels(&mut texts, 0)?;
    let paths = [features, labels].map(Path::to_path_buf);
    let mut arrays = with_labels(vec![unlabelled(x, y, paths)?], texts)?;
    Ok(arrays.remove(0))
}

/// Reads features without labels: there are no names of classes, and no codes.
///
/// # Errors
/// As [`read`].
pub fn read_unlabelled(path: &Path) -> Result<Array> {
    let (features, rows, sha256) = open(path)?.features()?;
    let labels = Labels::default();
    let hash = (path.to_path_buf(), sha256);
    Ok(Array { features, rows, labels, hashes: [hash.clone(), hash] })
}

fn open(path: &Path) -> Result<Npy<BufReader<File>>> {
    let (file, length) = file::open(path, "an array of NumPy")?;
    Npy::open(path.to_path_buf(), BufReader::with_capacity(1 << 16, file), length)
}

fn archive<R: Read + Seek>(path: &Path, file: R) -> Result<Arrays> {
    let mut archive = ZipArchive::new(file).map_err(|error| fault(path, error))?;
    let names: Vec<String> = archive
        .file_names_raw()
        .map(|name| String::from_utf8_lossy(name).trim_end_matches(".npy").to_string())
        .collect();
    let find = |name: &str| names.iter().position(|other| other.eq_ignore_ascii_case(name));
    let style = NAMES
        .iter()
        .find(|style| [style[0].0, style[0].1].into_iter().any(|it| find(it).is_some()));
    let Some(style) = style else {
        let found = format!("the arrays {}", list(&names));
        let expected = "x_train and y_train, train_images and train_labels, or X and y";
        return Err(Error::unexpected(Place::file(path), found, expected));
    };
    let mut texts = LabelTexts::default();
    let mut is_used = vec![false; names.len()];
    let mut parts = Vec::new();
    let mut which = Vec::new();
    for (part, &(x, y)) in style.iter().enumerate() {
        let (x, y) = match (find(x), find(y)) {
            (Some(x), Some(y)) => (x, y),
            (None, None) => continue,
            (x_found, _) => {
                let (found, lacking) = if x_found.is_some() { (x, y) } else { (y, x) };
                let found = format!("the array `{found}` without `{lacking}`");
                return Err(Error::unexpected(Place::file(path), found, "both"));
            }
        };
        let paths = [x, y].map(|index| path.join(format!("{}.npy", names[index])));
        let features = member(&mut archive, x, &paths[0])?.features()?;
        let labels = member(&mut archive, y, &paths[1])?.labels(&mut texts, parts.len())?;
        parts.push(unlabelled(features, labels, paths)?);
        which.push(part);
        is_used[x] = true;
        is_used[y] = true;
    }
    check_sizes(&parts)?;
    let mut arrays = [None, None, None];
    for (part, array) in which.into_iter().zip(with_labels(parts, texts)?) {
        arrays[part] = Some(array);
    }
    let [Some(train), validation, test] = arrays else {
        unreachable!("the first pair of the style is there, or was refused");
    };
    let unused = names.into_iter().zip(is_used).filter(|(_, is_used)| !is_used);
    Ok(Arrays { train, validation, test, unused: unused.map(|(name, _)| name).collect() })
}

/// An array of an archive; `path` is what messages call it.
fn member<'a, R: Read + Seek>(
    archive: &'a mut ZipArchive<R>,
    index: usize,
    path: &Path,
) -> Result<Npy<ZipFile<'a, R>>> {
    let file = archive.by_index(index).map_err(|error| fault(path, error))?;
    let size = file.size();
    Npy::open(path.to_path_buf(), file, size)
}

fn fault(path: &Path, error: ZipError) -> Error {
    match error {
        ZipError::Io(source) if source.raw_os_error().is_some() => Error::read(path, source),
        error => {
            Error::input(Place::file(path), format!("cannot be read as a zip archive: {error}"))
                .hint("fetch the file again, or save it anew with np.savez_compressed")
        }
    }
}

/// A part before the classes of its rows are known.
fn unlabelled(
    (features, rows, x_hash): (Features, usize, String),
    (labels, y_hash): (usize, String),
    [x, y]: [PathBuf; 2],
) -> Result<Array> {
    if labels != rows {
        let expected = format!("{rows}, one for each row");
        return Err(Error::unexpected(Place::File(y), counted(labels, "label"), expected));
    }
    Ok(Array { features, rows, labels: Labels::default(), hashes: [(x, x_hash), (y, y_hash)] })
}

/// The parts with the classes of their rows.
fn with_labels(mut parts: Vec<Array>, texts: LabelTexts<LabelPlace>) -> Result<Vec<Array>> {
    let labels = texts.finish().map_err(|bad| match bad {
        BadLabels::Fraction(label, (part, row)) => {
            let place = Place::file(&parts[part].hashes[1].0);
            let found = format!("{label} in row {row}");
            Error::unexpected(place, found, "classes: integers or names")
                .hint(cure_of_label(&label))
        }
        BadLabels::TooMany(classes) => {
            let place = Place::file(&parts[0].hashes[1].0);
            Error::unexpected(place, counted(classes, "class"), format!("at most {MOST_CLASSES}"))
        }
    })?;
    let Labels { names, mut codes } = labels;
    for part in &mut parts {
        let rest = codes.split_off(part.rows);
        let codes = std::mem::replace(&mut codes, rest);
        part.labels = Labels { names: names.clone(), codes };
    }
    Ok(parts)
}

/// Checks that the features of all parts have the same size.
fn check_sizes(parts: &[Array]) -> Result<()> {
    let size = |part: &Array| match &part.features {
        Features::Images { height, width, .. } => format!("images of {height} × {width} bytes"),
        Features::Matrix { columns, .. } => counted(*columns, "column"),
    };
    let first = size(&parts[0]);
    match parts.iter().find(|part| size(part) != first) {
        None => Ok(()),
        Some(other) => {
            let expected = format!("{first}, as in the training set");
            Err(Error::unexpected(Place::file(&other.hashes[0].0), size(other), expected))
        }
    }
}
