//! NumPy's archives (`.npz`), and pairs of its files (`.npy`). The only module that opens zip archives.
//!
//! An array is unpacked only if its declared size is what its shape needs, and at most eight GiB. All arrays
//! together may unpack to at most a hundred times the archive's size, and are compared by their headers first.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use zip::read::ZipFile;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use crate::data::arrays::{Array, Arrays, Features};
use crate::data::columns::list;
use crate::data::file;
use crate::data::gzip::{MOST_PACKED, most_unpacked};
use crate::data::npy::{LabelPlace, Npy};
use crate::data::table::{BadLabels, LabelTexts, Labels, MOST_CLASSES, cure_of_label};
use crate::error::{Error, Place, Result, counted};
use crate::memory::collected;

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
    let (file, length) = file::open(path, "an archive of NumPy")?;
    archive(path, BufReader::with_capacity(1 << 16, file), length)
}

/// Reads what [`read`] does from the bytes of a file; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Arrays> {
    archive(path, Cursor::new(bytes), bytes.len() as u64)
}

/// Reads features and labels from a file each.
///
/// # Errors
/// As [`read`].
pub fn read_pair(features: &Path, labels: &Path) -> Result<Array> {
    let mut texts = LabelTexts::default();
    let (x, y) = (open(features)?, open(labels)?);
    check_count(x.shape_of_features()?.0, y.number_of_labels()?, labels.to_path_buf())?;
    let (x, y) = (x.features()?, y.labels(&mut texts, 0)?);
    let paths = [features, labels].map(Path::to_path_buf);
    let mut arrays = with_labels(vec![unlabelled(x, y, paths)], texts)?;
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

/// Names of features and labels, and of parts, that archives use. An array of such a name that is not read
/// may be a part under another name than it must have.
const ROLES: [&str; 13] = [
    "x", "y", "data", "target", "targets", "image", "images", "label", "labels", "feature",
    "features", "input", "inputs",
];
const PARTS: [&str; 10] = [
    "train",
    "training",
    "val",
    "valid",
    "validation",
    "dev",
    "test",
    "testing",
    "holdout",
    "eval",
];

/// The arrays that are read of an archive.
struct Members {
    path: PathBuf,
    /// The names of all its arrays.
    names: Vec<String>,
    /// What those are called that are read.
    style: &'static [(&'static str, &'static str)],
    /// The parts that are there, each with the indices of its features and labels.
    parts: Vec<(usize, [usize; 2])>,
}

impl Members {
    fn new(path: &Path, names: Vec<String>) -> Result<Self> {
        let place = || Place::file(path);
        let find = |name: &str| names.iter().position(|other| other.eq_ignore_ascii_case(name));
        let is_begun =
            |style: &&&[(&str, &str)]| find(style[0].0).or_else(|| find(style[0].1)).is_some();
        let Some(&style) = NAMES.iter().find(is_begun) else {
            let found = match &names[..] {
                [] => "no array".to_string(),
                names => format!("the arrays {}", list(names)),
            };
            let expected = "x_train and y_train, train_images and train_labels, or X and y";
            return Err(Error::unexpected(place(), found, expected));
        };
        let mut parts = Vec::new();
        for (part, &(x, y)) in style.iter().enumerate() {
            match (find(x), find(y)) {
                (Some(x), Some(y)) => parts.push((part, [x, y])),
                (None, None) => {}
                (x_found, _) => {
                    let (found, lacking) = if x_found.is_some() { (x, y) } else { (y, x) };
                    let found = format!("the array `{found}` without `{lacking}`");
                    return Err(Error::unexpected(place(), found, "both"));
                }
            }
        }
        let members = Self { path: path.to_path_buf(), names, style, parts };
        members.refuse_other_parts()?;
        Ok(members)
    }

    /// What messages call a member.
    fn path(&self, index: usize) -> PathBuf {
        self.path.join(format!("{}.npy", self.names[index]))
    }

    fn unused(&self) -> Vec<String> {
        let used: Vec<usize> = self.parts.iter().flat_map(|(_, pair)| *pair).collect();
        let unused = (0..self.names.len()).filter(|index| !used.contains(index));
        unused.map(|index| self.names[index].clone()).collect()
    }

    /// Refuses arrays that are not read but named like a part: test rows would be drawn although some are there.
    fn refuse_other_parts(&self) -> Result<()> {
        let unused = self.unused();
        let has = |name: &str| unused.iter().any(|it| it.eq_ignore_ascii_case(name));
        let of_other_style = |name: &str| {
            let other = NAMES.iter().map(|style| style[0]).filter(|(x, y)| has(x) && has(y));
            other.into_iter().any(|(x, y)| [x, y].iter().any(|it| it.eq_ignore_ascii_case(name)))
        };
        let others: Vec<String> =
            unused.iter().filter(|it| is_part(it) || of_other_style(it)).cloned().collect();
        if others.is_empty() {
            return Ok(());
        }
        let (x, y) = self.style[0];
        let noun = if others.len() == 1 { "array" } else { "arrays" };
        let found = format!("the {noun} {} beside `{x}` and `{y}`", list(&others));
        let expected = match &self.style[1..] {
            [] => "no other part".to_string(),
            parts => format!("other parts to be named {}", names_of(parts)),
        };
        Err(Error::unexpected(Place::file(&self.path), found, expected)
            .hint("rename them, or save the archive without them"))
    }

    /// Opens an array.
    fn open<'a, R: Read + Seek>(
        &self,
        archive: &'a mut ZipArchive<R>,
        index: usize,
    ) -> Result<Npy<ZipFile<'a, R>>> {
        let path = self.path(index);
        let file = archive.by_index_raw(index).map_err(|error| fault(&path, error))?;
        if !matches!(file.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            let found = "another method of compression";
            return Err(Error::unexpected(Place::File(path), found, "deflate, or none")
                .hint("save it anew with np.savez or np.savez_compressed"));
        }
        drop(file);
        let file = archive.by_index(index).map_err(|error| fault(&path, error))?;
        let size = file.size();
        Npy::open(path, file, size)
    }

    /// Compares the headers of all arrays, before any of them is unpacked, with each other and with the length
    /// of the archive.
    fn check_headers<R: Read + Seek>(
        &self,
        archive: &mut ZipArchive<R>,
        length: u64,
    ) -> Result<()> {
        let mut first = None;
        let mut unpacked = 0_u64;
        for &(_, [x, y]) in &self.parts {
            let (rows, row) = self.open(archive, x)?.shape_of_features()?;
            let labels = self.open(archive, y)?.number_of_labels()?;
            check_count(rows, labels, self.path(y))?;
            let first = first.get_or_insert(row);
            if *first != row {
                let expected = format!("{first}, as in the training set");
                return Err(Error::unexpected(Place::File(self.path(x)), row, expected));
            }
            for index in [x, y] {
                let member = archive.by_index_raw(index);
                let size = member.map_err(|error| fault(&self.path(index), error))?.size();
                unpacked = unpacked.saturating_add(size);
            }
        }
        if unpacked > most_unpacked(length) {
            let found = format!("arrays that unpack to {unpacked} bytes");
            let expected = format!("at most {MOST_PACKED} times its size");
            return Err(Error::unexpected(Place::file(&self.path), found, expected)
                .hint("save it with np.savez, if they are that plain"));
        }
        Ok(())
    }
}

/// Whether an array is named like features or labels of a part, such as `valid_images`.
fn is_part(name: &str) -> bool {
    let name = name.to_lowercase();
    let words: Vec<&str> = name.split(['_', '-', '.', ' ']).collect();
    let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
    let is_known = |word: &&str| ROLES.contains(word) || PARTS.contains(word);
    has(&ROLES) && has(&PARTS) && words.iter().all(is_known)
}

fn names_of(parts: &[(&str, &str)]) -> String {
    parts.iter().map(|(x, y)| format!("{x}, {y}")).collect::<Vec<_>>().join(", ")
}

fn archive<R: Read + Seek>(path: &Path, file: R, length: u64) -> Result<Arrays> {
    let mut archive = ZipArchive::new(file).map_err(|error| fault(path, error))?;
    let names = archive
        .file_names_raw()
        .map(|name| String::from_utf8_lossy(name).trim_end_matches(".npy").to_string())
        .collect();
    let members = Members::new(path, names)?;
    members.check_headers(&mut archive, length)?;
    let mut texts = LabelTexts::default();
    let mut parts = Vec::new();
    for &(_, [x, y]) in &members.parts {
        let features = members.open(&mut archive, x)?.features()?;
        let labels = members.open(&mut archive, y)?.labels(&mut texts, parts.len())?;
        parts.push(unlabelled(features, labels, [x, y].map(|index| members.path(index))));
    }
    let mut arrays = [None, None, None];
    for ((part, _), array) in members.parts.iter().zip(with_labels(parts, texts)?) {
        arrays[*part] = Some(array);
    }
    let [Some(train), validation, test] = arrays else {
        unreachable!("the first pair of the style is there, or was refused");
    };
    let unused = members.unused();
    Ok(Arrays { train, validation, test, unused, names: names_of(members.style) })
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

/// Refuses another number of labels than rows.
fn check_count(rows: usize, labels: usize, of_labels: PathBuf) -> Result<()> {
    if labels == rows {
        return Ok(());
    }
    let expected = format!("{rows}, one for each row");
    Err(Error::unexpected(Place::File(of_labels), counted(labels, "label"), expected))
}

/// A part before the classes of its rows are known.
fn unlabelled(
    (features, rows, x_hash): (Features, usize, String),
    (_, y_hash): (usize, String),
    [x, y]: [PathBuf; 2],
) -> Array {
    Array { features, rows, labels: Labels::default(), hashes: [(x, x_hash), (y, y_hash)] }
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
    let Labels { names, codes } = labels;
    let mut codes = codes.into_iter();
    for part in &mut parts {
        let codes = collected(part.rows, codes.by_ref().take(part.rows));
        part.labels = Labels { names: names.clone(), codes };
    }
    Ok(parts)
}
