//! A data set: training rows, test rows, classes and split.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::data::idx;
use crate::data::labelled::Labelled;
use crate::data::options::DataOptions;
use crate::data::preprocess::{Missing, Preprocessing, Standardisation};
use crate::data::shape::{DataKind, DataShape};
use crate::data::signature::Signature;
use crate::data::split::{Drawing, PartSize, Split};
use crate::data::table::{Delimiter, MOST_CLASSES};
use crate::error::{Error, Place, Result, counted};

/// The names of the four files, without a `.gz` that may follow.
const TRAIN: [&str; 2] = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
const TEST: [&str; 2] = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// SHA-256 of Fashion-MNIST's unpacked training labels, by which its class names are known.
const FASHION_MNIST_TRAIN_LABELS: &str =
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9";
/// What the ten classes of Fashion-MNIST show (Xiao, Rasul and Vollgraf 2017, table 2).
const FASHION_MNIST_CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// A data set: training rows, from which each run splits off its validation set (paper 3.1), and test
/// rows.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The folder or file that it was read from; empty for rows in memory.
    pub source: PathBuf,
    /// The training rows.
    pub train: Labelled,
    /// The test rows.
    pub test: Labelled,
    /// The row of each training and each test row in the file or array that holds it, from 0; `None` where
    /// each has files of its own, and their order is that of the files.
    pub file_rows: Option<[Vec<usize>; 2]>,
    /// Its columns and labels.
    pub signature: Signature,
    /// Which training rows are for validation.
    pub validation: Validation,
    /// What stands for missing values.
    pub missing: Missing,
    /// SHA-256 of its files as unpacked, by name, for provenance.
    pub sha256: Vec<(String, String)>,
    /// How it was read, where there is a choice.
    pub options: Option<DataOptions>,
    /// What separates the cells of its table, if it is one.
    pub delimiter: Option<Delimiter>,
    /// What a user should know of its rows, a sentence each.
    pub warnings: Vec<String>,
}

/// Which training rows are for validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validation {
    /// Drawn whatever they are (paper 3.1).
    Drawn,
    /// Drawn so that each class has its share, and no group is divided: the group of each row, or none.
    Stratified(Vec<u32>),
    /// Drawn without regard to classes; no group is divided.
    Grouped(Vec<u32>),
    /// The last ones, as they were given. Folds divide them too.
    Last {
        /// How many.
        rows: usize,
        /// Whether folds have their shares of each class.
        stratify: bool,
        /// The group of each row, or none; no fold divides one.
        groups: Vec<u32>,
    },
}

impl Dataset {
    /// Its sizes.
    pub fn shape(&self) -> DataShape {
        let (train, test) = (self.train.len(), self.test.len());
        let given_validation = match self.validation {
            Validation::Last { rows, .. } => Some(rows),
            Validation::Drawn | Validation::Stratified(_) | Validation::Grouped(_) => None,
        };
        let (inputs, classes) = (self.train.inputs(), self.classes());
        let kind = match (&self.signature.schema, &self.options) {
            (Some(_), _) => DataKind::Table,
            (None, Some(_)) => DataKind::Images,
            (None, None) => DataKind::Folder,
        };
        DataShape { train, test, inputs, classes, given_validation, kind }
    }

    /// The number of classes, C.
    pub fn classes(&self) -> usize {
        self.signature.labels.len()
    }

    /// Whether the test rows were drawn, because no file holds any.
    pub fn has_drawn_test(&self) -> bool {
        self.options.is_some() && !self.sha256.iter().any(|(name, _)| name.starts_with("test_"))
    }

    /// The training and the validation rows of runs with these values.
    ///
    /// # Errors
    /// As [`DataShape::validation_rows`], and where groups do not leave rows for both; of the key, as this
    /// function does not know where the value came from.
    pub fn split(&self, validation_size: PartSize, data_seed: u64) -> Result<Split> {
        let strata = &self.train.labels[..];
        let fold = validation_size.fold();
        let drawing = match &self.validation {
            // Only the paper's one split is drawn without regard to classes.
            Validation::Drawn if fold.is_some() => Drawing { strata, groups: &[] },
            Validation::Drawn => Drawing { strata: &[], groups: &[] },
            Validation::Stratified(groups) | Validation::Last { stratify: true, groups, .. } => {
                Drawing { strata, groups }
            }
            Validation::Grouped(groups) | Validation::Last { groups, .. } => {
                Drawing { strata: &[], groups }
            }
        };
        let rows = self.train.len();
        let size = self.shape().validation_rows(validation_size);
        let split = size.and_then(|size| match (fold, &self.validation) {
            (Some(fold), _) => Split::fold(rows, fold, data_seed, drawing),
            (None, Validation::Last { rows: given, .. }) => {
                Ok(Split::with_last(rows, *given, data_seed))
            }
            (None, _) => Split::draw(rows, size, data_seed, drawing),
        });
        split.map_err(|problem| Error::input(Place::Option("validation_size"), problem))
    }

    /// What makes inputs of the features, as measured on these training rows.
    pub fn preprocessing(&self, rows: &[usize], standardisation: Standardisation) -> Preprocessing {
        let rows = self.train.features.rows(rows);
        Preprocessing::measure(rows, standardisation, self.missing.stand_ins(rows))
    }

    /// A data set of rows in memory. Images count as the same data as a folder with IDX files of them.
    ///
    /// # Errors
    /// Where training and test rows differ in size, there is only one class, and where a test label is
    /// none of training.
    pub fn new(train: Labelled, test: Labelled) -> Result<Self> {
        let hashes = TRAIN.into_iter().zip(train.sha256());
        let hashes = hashes.chain(TEST.into_iter().zip(test.sha256()));
        let sha256 = hashes.map(|(name, sha)| (name.to_string(), sha)).collect();
        let paths = ["test images", "training labels", "test labels"].map(PathBuf::from);
        let labels = [&train, &test].map(|it| it.labels.iter().copied().map(i32::from).collect());
        Self::checked(PathBuf::new(), (train, test), labels, sha256, &paths)
    }

    /// Checks that the parts fit together, and makes classes of their labels; `paths` name the test images
    /// and the two files of labels.
    fn checked(
        source: PathBuf,
        (mut train, mut test): (Labelled, Labelled),
        [train_labels, test_labels]: [Vec<i32>; 2],
        sha256: Vec<(String, String)>,
        [test_images, labels @ ..]: &[PathBuf; 3],
    ) -> Result<Self> {
        if (train.height, train.width) != (test.height, test.width) {
            return Err(Error::unexpected(
                Place::file(test_images),
                format!("test images of {}×{} pixels", test.height, test.width),
                format!("{}×{}, as the training images have", train.height, train.width),
            ));
        }
        let classes = used(&labels[0], &train_labels)?;
        train.labels = mapped(&labels[0], &train_labels, &classes)?;
        test.labels = mapped(&labels[1], &test_labels, &classes)?;
        let labels = classes.iter().map(ToString::to_string).collect();
        let signature = Signature { labels, schema: None };
        let (validation, missing) = (Validation::Drawn, Missing::Refused);
        let (file_rows, options, delimiter) = (None, None, None);
        Ok(Self {
            source,
            train,
            test,
            file_rows,
            signature,
            validation,
            missing,
            sha256,
            options,
            delimiter,
            warnings: Vec::new(),
        })
    }

    /// Reads the four files of a data set from a folder: `train-images-idx3-ubyte`,
    /// `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, or these names
    /// with `.gz`. They may hold any type of numbers and any number of dimensions ([`idx::Idx::size`]).
    ///
    /// The classes are the labels that the training set uses, smallest first.
    ///
    /// # Errors
    /// Where a file is missing or malformed, a number is not finite or a label no integer, where images and
    /// labels differ in number or training and test images in size, where there are fewer than two or more
    /// than 256 classes, and where a test label is none of training.
    pub fn read(folder: &Path) -> Result<Self> {
        let (train, train_labels, train_sha) = read_pair(folder, TRAIN)?;
        let (test, test_labels, test_sha) = read_pair(folder, TEST)?;
        let paths = [find(folder, TEST[0])?, find(folder, TRAIN[1])?, find(folder, TEST[1])?];
        let sha256 = train_sha.into_iter().chain(test_sha).collect();
        let labels = [train_labels, test_labels];
        let mut read = Self::checked(folder.to_path_buf(), (train, test), labels, sha256, &paths)?;
        let equal = equal_images(&read.test, &read.train);
        // Equal files have a warning of their own.
        if equal > 0 && !is_training_file(&read.sha256, "test") {
            let of = counted(read.test.len(), "test image");
            read.warnings.push(format!(
                "warning: {equal} of {of} are equal to training images, so the test accuracy may be too high"
            ));
        }
        Ok(read)
    }

    /// What class `index` shows: its name in Fashion-MNIST, elsewhere its label.
    pub fn class_name(&self, index: usize) -> String {
        let known = self.sha256.iter().any(|(_, sha)| sha == FASHION_MNIST_TRAIN_LABELS);
        match FASHION_MNIST_CLASSES.get(index) {
            Some(name) if known => (*name).to_string(),
            _ => self.signature.labels[index].clone(),
        }
    }
}

/// How many images of a part are also among others, with the same label.
fn equal_images(part: &Labelled, of: &Labelled) -> usize {
    let known: HashSet<(&[u8], u8)> = of.images().collect();
    part.images().filter(|image| known.contains(image)).count()
}

/// The part of a data set that a file or an array holds, by its name among the hashes: `train`,
/// `validation` or `test`.
fn part_of(name: &str) -> &str {
    match name.split(['-', '_']).next() {
        Some("t10k") => "test",
        part => part.unwrap_or(name),
    }
}

/// Whether a part has a file with the bytes of a training file, by the hashes of all. Labels alone may be alike
/// by chance.
pub fn is_training_file(sha256: &[(impl AsRef<str>, impl AsRef<str>)], part: &str) -> bool {
    let of = |part| {
        let names = sha256.iter().map(|(name, sha)| (name.as_ref(), sha.as_ref()));
        names.filter(move |(name, _)| part_of(name) == part && !name.contains("label"))
    };
    of(part).any(|(_, sha)| of("train").any(|(_, other)| sha == other))
}

/// Whether a folder has one of the four files at least.
pub fn has_data(folder: &Path) -> bool {
    TRAIN.iter().chain(&TEST).any(|name| find(folder, name).is_ok())
}

/// The error for a folder that has none of the four files; the first table or array in it may be meant.
pub(super) fn without_data(folder: &Path) -> Error {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_meant = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase);
        let name = path.to_string_lossy().to_lowercase();
        ending.is_some_and(|it| ["csv", "tsv", "npz", "npy"].contains(&it.as_str()))
            || [".csv.gz", ".tsv.gz"].iter().any(|end| name.ends_with(end))
    };
    let hint = match files.filter(is_meant).min() {
        Some(file) => format!("a table is named by its file: --data {}", file.display()),
        None => "run `scripts/fetch-data`, or name another folder with --data".to_string(),
    };
    let expected = "the IDX files of a data set, such as train-images-idx3-ubyte.gz";
    Error::unexpected(Place::file(folder), "a folder without data files", expected).hint(hint)
}

/// Whether a folder has training files and neither of the test files, so that test rows must be drawn.
pub fn lacks_test(folder: &Path) -> bool {
    has_data(folder) && TEST.iter().all(|name| find(folder, name).is_err())
}

/// Reads the two training files of a folder: the rows with their classes, the label of each class, and
/// SHA-256 of both files.
///
/// # Errors
/// As [`Dataset::read`].
pub fn read_training(folder: &Path) -> Result<(Labelled, Vec<String>, Hashes)> {
    let (mut train, labels, sha256) = read_pair(folder, TRAIN)?;
    let path = find(folder, TRAIN[1])?;
    let classes = used(&path, &labels)?;
    train.labels = mapped(&path, &labels, &classes)?;
    Ok((train, classes.iter().map(ToString::to_string).collect(), sha256))
}

/// The path of a file under its own name or with `.gz` behind it.
fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let plain = folder.join(name);
    let gzipped = folder.join(format!("{name}.gz"));
    [&plain, &gzipped].into_iter().find(|path| path.exists()).cloned().ok_or_else(|| {
        Error::input(
            Place::file(&plain),
            "found neither this file nor one with .gz appended to its name",
        )
        .hint("run `scripts/fetch-data`, or name another folder with --data")
    })
}

/// The names of two files, each with its SHA-256 as unpacked.
pub type Hashes = [(String, String); 2];

/// Rows whose labels are still by themselves, as the file has them.
fn read_pair(folder: &Path, names: [&str; 2]) -> Result<(Labelled, Vec<i32>, Hashes)> {
    let images = idx::read(&find(folder, names[0])?)?;
    let file = idx::read(&find(folder, names[1])?)?;
    let labels = file.labels()?;
    if images.dimensions[0] != labels.len() {
        return Err(Error::unexpected(
            Place::file(&file.path),
            counted(labels.len(), "label"),
            format!("{}, one for each image", images.dimensions[0]),
        ));
    }
    let hashes =
        [(names[0].to_string(), images.sha256.clone()), (names[1].to_string(), file.sha256)];
    let (height, width) = images.size();
    let features = images.features()?;
    Ok((Labelled { height, width, features, labels: Vec::new() }, labels, hashes))
}

/// The labels that occur in training, smallest first: the classes.
fn used(path: &Path, labels: &[i32]) -> Result<Vec<i32>> {
    let classes: BTreeSet<i32> = labels.iter().copied().collect();
    let classes: Vec<i32> = classes.into_iter().collect();
    let (found, expected) = match classes[..] {
        [label] => (format!("label {label} for every image"), "two classes at least".to_string()),
        _ if classes.len() > MOST_CLASSES => {
            (counted(classes.len(), "class"), format!("at most {MOST_CLASSES}"))
        }
        _ => return Ok(classes),
    };
    Err(Error::unexpected(Place::file(path), found, expected))
}

/// The class of each label.
fn mapped(path: &Path, labels: &[i32], classes: &[i32]) -> Result<Vec<u8>> {
    let class = |(index, label): (usize, &i32)| {
        classes.binary_search(label).map(|class| class as u8).map_err(|_| {
            let expected = format!("one that a training image has: {}", ranges(classes));
            Error::unexpected(
                Place::file(path),
                format!("label {label} of image {index}"),
                expected,
            )
        })
    };
    labels.iter().enumerate().map(class).collect()
}

/// Ascending labels as a reader sees them: 1 to 26, or 0, 1, 3 to 5.
fn ranges(labels: &[i32]) -> String {
    let runs = labels.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let text = |run: &[i32]| match *run {
        [label] => label.to_string(),
        [first, second] => format!("{first}, {second}"),
        [first, .., last] => format!("{first} to {last}"),
        [] => String::new(),
    };
    runs.map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_occur_are_classes_and_are_told_in_short() {
        let used = |labels: &[i32]| used(Path::new("labels"), labels).map_err(|it| it.to_string());
        assert_eq!(used(&[2, 0, 1, 1]).unwrap(), [0, 1, 2]);
        assert_eq!(ranges(&used(&[9, i32::MAX, 0, -1]).unwrap()), "-1, 0, 9, 2147483647");
        assert_eq!(ranges(&(1..27).collect::<Vec<_>>()), "1 to 26");
        assert_eq!(used(&(0..256).collect::<Vec<_>>()).unwrap().len(), 256);
        let many = used(&(0..257).collect::<Vec<_>>()).unwrap_err();
        assert_eq!(many, "labels: found 257 classes, expected at most 256");
    }

    #[test]
    fn rows_in_memory_keep_their_labels_and_are_checked() {
        let rows = ndarray::array![[0.5, 1.0], [2.0, -1.0], [0.0, 3.0]];
        let train = Labelled::from_rows(rows.view(), &[7, 3, 7]).unwrap();
        let test = Labelled::from_rows(rows.view(), &[3, 3, 3]).unwrap();
        let dataset = Dataset::new(train.clone(), test).unwrap();
        assert_eq!(
            (dataset.signature.labels.join(" "), &dataset.train.labels[..]),
            ("3 7".into(), &[1, 0, 1][..])
        );
        assert_eq!((dataset.test.labels, dataset.train.height), (vec![0; 3], 1));
        let other = Labelled { labels: vec![3, 4, 3], ..train.clone() };
        let problem = Dataset::new(train.clone(), other).unwrap_err().to_string();
        assert!(
            problem.contains("label 4 of image 1, expected one that a training image has: 3, 7"),
            "{problem}"
        );
        let one = Labelled { labels: vec![3; 3], ..train.clone() };
        let problem = Dataset::new(one, train).unwrap_err().to_string();
        assert!(problem.contains("found label 3 for every image"), "{problem}");
        let infinite = ndarray::array![[1.0, f32::INFINITY]];
        let problem = Labelled::from_rows(infinite.view(), &[1]).unwrap_err().to_string();
        assert!(problem.contains("found inf in row 0, feature 1, expected finite"), "{problem}");
    }
}
