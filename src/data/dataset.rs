//! Images with their labels, the class count and the seeded split.

use std::path::{Path, PathBuf};

use ndarray::ArrayView3;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::data::idx::{self, Idx};
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

/// Images of one size and the class that each shows, in file order.
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
    /// From grey values (N, height, width) and N labels.
    ///
    /// # Errors
    /// Where their numbers differ.
    pub fn new(images: ArrayView3<'_, u8>, labels: &[u8]) -> Result<Self> {
        let (count, height, width) = images.dim();
        if count != labels.len() {
            let expected = format!("{count}, one for each image");
            return Err(Error::unexpected(
                Place::flag("labels"),
                counted(labels.len(), "label"),
                expected,
            ));
        }
        let (pixels, labels) = (images.iter().copied().collect(), labels.to_vec());
        Ok(Self { height, width, pixels, labels })
    }

    /// SHA-256 of the two IDX files that hold these images and labels, in hexadecimal.
    fn sha256(&self) -> [String; 2] {
        let images = idx::hash(&[self.len(), self.height, self.width], &self.pixels);
        [images, idx::hash(&[self.len()], &self.labels)]
    }

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

/// A data set: training images, from which each run splits off its validation set (paper 3.1), and test
/// images.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The folder that it was read from; empty for images in memory.
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

    /// A data set of images in memory. It counts as the same data as a folder with IDX files of them.
    ///
    /// # Errors
    /// Where there are no images, where training and test images differ in size, and where a label
    /// lies outside the classes, which are counted as by [`Dataset::read`].
    pub fn new(train: Labelled, test: Labelled) -> Result<Self> {
        for (name, images) in [("training images", &train), ("test images", &test)] {
            let expected = images.len() * images.inputs();
            if expected == 0 || images.pixels.len() != expected {
                let found = counted(images.pixels.len(), "grey value");
                let expected = format!("{expected}, more than none");
                return Err(Error::unexpected(Place::flag(name), found, expected));
            }
        }
        let hashes = TRAIN.into_iter().zip(train.sha256());
        let hashes = hashes.chain(TEST.into_iter().zip(test.sha256()));
        let sha256 = hashes.map(|(name, sha)| (name.to_string(), sha)).collect();
        let paths = ["test images", "training labels", "test labels"].map(PathBuf::from);
        Self::checked(PathBuf::new(), (train, test), sha256, &paths)
    }

    /// Checks that the parts fit together; `paths` name the test images and the two files of labels.
    fn checked(
        folder: PathBuf,
        (train, test): (Labelled, Labelled),
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
        let classes = count_classes(&train.labels);
        check_labels(&labels[0], &train.labels, classes)?;
        check_labels(&labels[1], &test.labels, classes)?;
        Ok(Self { folder, train, test, classes, sha256 })
    }

    /// Reads the four files of a data set from a folder: `train-images-idx3-ubyte`,
    /// `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, or these names
    /// with `.gz`.
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
        let paths = [find(folder, TEST[0])?, find(folder, TRAIN[1])?, find(folder, TEST[1])?];
        let sha256 = train_sha.into_iter().chain(test_sha).collect();
        Self::checked(folder.to_path_buf(), (train, test), sha256, &paths)
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

/// Whether a folder has one of the four files at least.
pub fn has_data(folder: &Path) -> bool {
    TRAIN.iter().chain(&TEST).any(|name| find(folder, name).is_ok())
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
            counted(labels.bytes.len(), "label"),
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
