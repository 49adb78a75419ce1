//! Images with their labels, the class count, the seeded split, and where data is looked for.

use std::env;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::data::idx::{self, Idx};
use crate::error::{Error, Place, Result};

/// Where Debian's package `dataset-fashion-mnist` puts the files.
const DEBIAN_FOLDER: &str = "/usr/share/datasets/fashion-mnist";
/// Where `scripts/fetch-data` puts the files, under the working folder.
const LOCAL_FOLDER: &str = "data/fashion-mnist";
/// The environment variable that names a folder of data.
const VARIABLE: &str = "ROOKIE_DATA";
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

/// Images and what they show, in file order.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// Image height in pixels.
    pub height: usize,
    /// Image width in pixels.
    pub width: usize,
    /// Grey values 0 to 255, an image after the other, row by row.
    pub pixels: Vec<u8>,
    /// The class of each image.
    pub labels: Vec<u8>,
}

impl Labelled {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels an image, D.
    pub fn inputs(&self) -> usize {
        self.height * self.width
    }

    /// The pixels of one image.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.inputs()..(index + 1) * self.inputs()]
    }

    /// Some of the images, in the order of `indices`.
    #[must_use]
    pub fn chosen(&self, indices: &[usize]) -> Self {
        Self {
            pixels: indices.iter().flat_map(|&index| self.image(index)).copied().collect(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            ..*self
        }
    }
}

/// A data set: training images (from which the validation set is split off) and test images.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The folder that it was read from.
    pub folder: PathBuf,
    /// The training images.
    pub train: Labelled,
    /// The test images.
    pub test: Labelled,
    /// The number of classes, C. Labels run from 0 to C − 1.
    pub classes: usize,
    /// SHA-256 of the four files as unpacked, by name, for provenance.
    pub sha256: Vec<(String, String)>,
}

/// The sizes of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataShape {
    /// Training images, validation images among them.
    pub train: usize,
    /// Test images.
    pub test: usize,
    /// Pixels of an image, D.
    pub inputs: usize,
    /// Classes, C.
    pub classes: usize,
}

impl Dataset {
    /// Its sizes.
    pub fn shape(&self) -> DataShape {
        let (train, test) = (self.train.len(), self.test.len());
        DataShape { train, test, inputs: self.train.inputs(), classes: self.classes }
    }

    /// Reads the four files of a data set from a folder.
    ///
    /// The class count is the number of labels from 0 upwards that the training set uses without a
    /// gap; any label past that is outside the classes.
    ///
    /// # Errors
    /// Where a file is missing or malformed, where images and labels differ in number or training
    /// and test images in size, and where a label lies outside the classes.
    pub fn read(folder: &Path) -> Result<Self> {
        let (train, train_sha) = read_pair(folder, TRAIN)?;
        let (test, test_sha) = read_pair(folder, TEST)?;
        if (train.height, train.width) != (test.height, test.width) {
            return Err(Error::unexpected(
                Place::File(find(folder, TEST[0])?),
                format!("test images of {}×{} pixels", test.height, test.width),
                format!("{}×{}, as the training images have", train.height, train.width),
            ));
        }
        let classes = count_classes(&train.labels);
        check_labels(&find(folder, TRAIN[1])?, &train.labels, classes)?;
        check_labels(&find(folder, TEST[1])?, &test.labels, classes)?;
        let sha256 = train_sha.into_iter().chain(test_sha).collect();
        Ok(Self { folder: folder.to_path_buf(), train, test, classes, sha256 })
    }

    /// What class `index` shows: its name in Fashion-MNIST, elsewhere its number.
    pub fn class_name(&self, index: usize) -> String {
        let known = self.sha256.iter().any(|(_, sha)| sha == FASHION_MNIST_TRAIN_LABELS);
        match FASHION_MNIST_CLASSES.get(index) {
            Some(name) if known => (*name).to_string(),
            _ => index.to_string(),
        }
    }
}

/// Which training images are for training and which for validation, by their index in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Training images in the order in which they fill the mini-batches, the same every epoch.
    pub train: Vec<usize>,
    /// Validation images in the order in which they were drawn.
    pub validation: Vec<usize>,
}

impl Split {
    /// Checks that a split leaves something to train on.
    ///
    /// # Errors
    /// A clause that says so where `validation_size` leaves no training image.
    pub fn check(images: usize, validation_size: usize) -> std::result::Result<(), String> {
        if validation_size < images {
            return Ok(());
        }
        Err(format!(
            "found {validation_size}, expected fewer than the {images} training images, so that \
             some are left to train on"
        ))
    }

    /// Draws one permutation of all images: its first `validation_size` are the validation set,
    /// the others fill the mini-batches in their drawn order (paper 3.1, 3.2).
    ///
    /// # Errors
    /// As [`Split::check`], of the key, as this function does not know where the value came from.
    pub fn draw(images: usize, validation_size: usize, data_seed: u64) -> Result<Self> {
        Self::check(images, validation_size)
            .map_err(|problem| Error::input(Place::flag("validation_size"), problem))?;
        let mut order: Vec<usize> = (0..images).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(data_seed));
        let train = order.split_off(validation_size);
        Ok(Self { train, validation: order })
    }
}

/// The order in which an epoch (from 1) visits `images` training images where each epoch draws one:
/// the first as they come, every other by a stream of its own of `data_seed`'s generator, so that
/// no epoch's order depends on another's.
pub fn order_of_epoch(images: usize, data_seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images).collect();
    if epoch > 1 {
        let mut generator = ChaCha8Rng::seed_from_u64(data_seed);
        generator.set_stream(epoch as u64);
        order.shuffle(&mut generator);
    }
    order
}

/// The folder that holds the data: the one asked for, else the first of `ROOKIE_DATA`,
/// `data/fashion-mnist` under the working folder and Debian's that is there.
///
/// A folder that the user names is used even if it turns out to be wrong: a mistyped path must not
/// silently train on something else.
///
/// # Errors
/// Where no folder is named and none of the known ones is there.
pub fn locate(asked_for: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = asked_for {
        return named_folder(folder, "--data");
    }
    if let Some(folder) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        return named_folder(Path::new(&folder), VARIABLE);
    }
    for folder in [LOCAL_FOLDER, DEBIAN_FOLDER] {
        // An empty folder is what a download that failed may leave.
        if TRAIN.iter().chain(&TEST).any(|name| find(Path::new(folder), name).is_ok()) {
            return Ok(PathBuf::from(folder));
        }
    }
    Err(Error::input(
        Place::flag("no data"),
        format!(
            "found no images: neither --data nor {VARIABLE} is given, and neither {LOCAL_FOLDER} \
             nor {DEBIAN_FOLDER} is there"
        ),
    )
    .hint(
        "install Debian's package dataset-fashion-mnist (`apt-get install dataset-fashion-mnist`) \
         or run `scripts/fetch-data`",
    ))
}

fn named_folder(folder: &Path, by: &str) -> Result<PathBuf> {
    if folder.is_dir() {
        return Ok(folder.to_path_buf());
    }
    let found = if folder.exists() { "a file" } else { "no such folder" };
    Err(Error::unexpected(
        Place::flag(format!("{by} {}", folder.display())),
        found,
        "a folder with the four IDX files of a data set",
    ))
}

/// The path of a file under its own name or with `.gz` behind it.
fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let plain = folder.join(name);
    let gzipped = folder.join(format!("{name}.gz"));
    [&plain, &gzipped].into_iter().find(|path| path.exists()).cloned().ok_or_else(|| {
        Error::input(Place::file(&plain), "no such file, nor one with .gz behind its name")
            .hint("run `scripts/fetch-data`, or name another folder with --data")
    })
}

type Hashes = [(String, String); 2];

fn read_pair(folder: &Path, names: [&str; 2]) -> Result<(Labelled, Hashes)> {
    let images = read_images(&find(folder, names[0])?)?;
    let labels = idx::read(&find(folder, names[1])?, 1)?;
    if images.dimensions[0] != labels.bytes.len() {
        return Err(Error::unexpected(
            Place::file(&labels.path),
            crate::error::counted(labels.bytes.len(), "label"),
            format!("{}, one for each image", images.dimensions[0]),
        ));
    }
    let hashes = [(names[0].to_string(), images.sha256), (names[1].to_string(), labels.sha256)];
    let labelled = Labelled {
        height: images.dimensions[1],
        width: images.dimensions[2],
        pixels: images.bytes,
        labels: labels.bytes,
    };
    Ok((labelled, hashes))
}

/// Reads an IDX file of images: items × height × width.
///
/// # Errors
/// As [`idx::read`].
pub fn read_images(path: &Path) -> Result<Idx> {
    idx::read(path, 3)
}

/// How many labels occur from 0 upwards before the first that does not.
fn count_classes(labels: &[u8]) -> usize {
    let mut seen = [false; 256];
    for &label in labels {
        seen[label as usize] = true;
    }
    seen.iter().take_while(|&&seen| seen).count()
}

fn check_labels(path: &Path, labels: &[u8], classes: usize) -> Result<()> {
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(()),
        Some(index) if classes == 0 => Err(Error::unexpected(
            Place::Byte(path.to_path_buf(), 8 + index as u64),
            format!("label {} and no label 0 anywhere", labels[index]),
            "classes that count from 0",
        )),
        Some(index) => Err(Error::unexpected(
            Place::Byte(path.to_path_buf(), 8 + index as u64),
            format!("label {} of image {index}", labels[index]),
            format!("0 to {}, the classes that the training set has", classes - 1),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_splits_never_changes() {
        let split = Split::draw(10, 3, 0).unwrap();
        assert_eq!(split.validation, [2, 8, 6]);
        assert_eq!(split.train, [1, 9, 5, 7, 4, 0, 3]);
        assert_ne!(Split::draw(10, 3, 1).unwrap(), Split::draw(10, 3, 0).unwrap());
    }

    #[test]
    fn the_orders_of_epochs_never_change() {
        assert_eq!(order_of_epoch(7, 0, 1), [0, 1, 2, 3, 4, 5, 6]);
        let later = [(0, 2), (0, 500), (1, 2)].map(|(seed, epoch)| order_of_epoch(7, seed, epoch));
        let expected = [[0, 1, 2, 6, 4, 3, 5], [2, 4, 0, 5, 6, 1, 3], [0, 1, 6, 4, 3, 5, 2]];
        assert_eq!(later, expected);
    }

    #[test]
    fn a_split_holds_every_image_once() {
        for (images, validation_size) in [(2, 1), (100, 1), (100, 99)] {
            let split = Split::draw(images, validation_size, 5).unwrap();
            assert_eq!(split.validation.len(), validation_size);
            let mut all = [split.validation, split.train].concat();
            all.sort_unstable();
            assert_eq!(all, (0..images).collect::<Vec<_>>());
        }
        assert!(Split::draw(100, 100, 5).is_err());
    }

    #[test]
    fn classes_are_counted_up_to_the_first_label_that_does_not_occur() {
        assert_eq!(count_classes(&[2, 0, 1, 1]), 3);
        assert_eq!(count_classes(&[0, 1, 9]), 2);
        assert_eq!(count_classes(&[1, 2]), 0);
    }
}
