//! A trained model as a file: weights, and everything needed to use or check them.

use std::path::Path;

use ndarray::{Array2, ArrayView3, Axis, s};
use sha2::{Digest, Sha256};

use crate::data::file;
use crate::data::idx::hexadecimal;
use crate::data::preprocess::{Affine, Moments, Scaling, Standardisation, ZScore};
use crate::error::{Error, Place, Result, counted};
use crate::network::mlp::{Workspace, probabilities};
use crate::network::params::{Params, Vectors};
use crate::train::checked::Checked;

/// The largest model file that is read: twice what the largest network needs.
const MAX_BYTES: u64 = 1 << 31;

/// The training moments in a model's file.
const MOMENTS: [&str; 2] = ["feature_mean", "feature_variance"];

/// The weights of a run with everything that predicting needs: a `model.safetensors` of rookie.
///
/// ```no_run
/// # use std::path::Path;
/// # let image = rookie::ndarray::Array3::zeros((1, 28, 28));
/// let model = rookie::Model::read(Path::new("results/table2/runs/lr0.2_h500-324_decay0.5/model.safetensors"))?;
/// let probabilities = model.predict(image.view())?; // (1, 10)
/// # Ok::<(), rookie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The weights with the highest validation accuracy.
    pub params: Params,
    /// The values of the run.
    pub values: Checked,
    /// Of the training images; images to be predicted are scored with it.
    pub z: ZScore,
    /// Of the same images; `None` in files of version 0.1, and where the z-score is all there is.
    pub moments: Option<Moments>,
    /// The validation accuracy of these weights, a fraction.
    pub validation_accuracy: f64,
    /// The epoch (from 1) after which they were taken.
    pub best_epoch: usize,
}

impl Model {
    /// Pixels of an image, D.
    pub fn inputs(&self) -> usize {
        self.params.sizes()[0]
    }

    /// The number of classes, C.
    pub fn classes(&self) -> usize {
        *self.params.sizes().last().expect("D and C at least")
    }

    /// What makes inputs of pixels as in its training, where each batch may count.
    pub fn scaling_in_batches(&self) -> Scaling<'static> {
        Scaling::of_training(self.z, self.values.standardisation)
    }

    /// Turns an image's pixels into inputs whatever the other images are: with the training moments,
    /// or the z-score if it was trained so. `None` where the moments are missing.
    pub fn scaling_alone(&self) -> Option<Scaling<'_>> {
        match (self.values.standardisation, &self.moments) {
            (Standardisation::Dataset, _) => Some(Scaling::DataSet(self.z)),
            (Standardisation::Batch, Some(moments)) => Some(Scaling::Moments(self.z, moments)),
            (Standardisation::Batch, None) => None,
        }
    }

    /// The probability of each class for images (N, height, width), as (N, C). Each image is standardised
    /// by itself ([`Model::scaling_alone`]), so that it gets the same answer whatever the other images are.
    ///
    /// # Errors
    /// Where the images have another number of pixels than D, or the model has no training moments.
    pub fn predict(&self, images: ArrayView3<'_, u8>) -> Result<Array2<f32>> {
        let (_, height, width) = images.dim();
        if height * width != self.inputs() {
            let found = format!("images of {height}×{width} pixels");
            let expected = counted(self.inputs(), "pixel");
            return Err(Error::unexpected(Place::flag("images"), found, expected));
        }
        let Some(scaling) = self.scaling_alone() else {
            return Err(Error::input(Place::flag("model"), "has no training moments"));
        };
        let pixels = images.as_standard_layout();
        let pixels = pixels.as_slice().expect("in standard layout").chunks_exact(self.inputs());
        // One by one, because a kernel may round an image otherwise at another place in a batch.
        Ok(self.probabilities(&pixels.collect::<Vec<_>>(), 1, scaling))
    }

    /// The probability of each class (N, C) for images in batches of `batch_size`.
    pub fn probabilities(
        &self,
        pixels: &[&[u8]], // N of D
        batch_size: usize,
        scaling: Scaling<'_>,
    ) -> Array2<f32> {
        let (largest, inputs) = (batch_size.min(pixels.len()), self.inputs());
        let mut work = Workspace::new(&self.params.sizes(), largest);
        let mut x = Array2::zeros((largest, inputs));
        let mut all = Array2::zeros((pixels.len(), self.classes()));
        let mut preparation = scaling.prepare(inputs);
        let into = all.axis_chunks_iter_mut(Axis(0), batch_size);
        for (batch, mut found) in pixels.chunks(batch_size).zip(into) {
            let mut x = x.slice_mut(s![..batch.len(), ..]);
            preparation.fill(batch, x.view_mut());
            let activation = self.values.activation;
            found.assign(&probabilities(&self.params, activation, x.view(), None, &mut work).0);
        }
        all
    }

    /// Weights and biases that take raw pixels x and give the same outputs as this model does with
    /// [`Model::scaling_alone`]: `relu(x @ w1 + b1) @ w2 + b2` and so on, with no other preparation.
    /// `white` is the value of a white pixel: 255 for bytes, 1 for fractions. `None` where the training
    /// moments are missing.
    ///
    /// Sums are taken in float64 and rounded to float32 once.
    pub fn folded(&self, white: f64) -> Option<Params> {
        let affine = self.scaling_alone()?.fixed(self.inputs())?;
        let mut params = self.params.clone();
        let first = &mut params.layers[0];
        let mut biases = first.biases.mapv(f64::from);
        for (mut row, Affine { mean, scale }) in first.weights.rows_mut().into_iter().zip(affine) {
            for (weight, bias) in row.iter_mut().zip(&mut biases) {
                let per_level = scale * f64::from(*weight);
                *bias -= mean * per_level;
                *weight = (per_level * 255.0 / white) as f32;
            }
        }
        first.biases.zip_mut_with(&biases, |bias, &sum| *bias = sum as f32);
        Some(params)
    }

    /// The bytes of `model.safetensors`: tensors `w1`, `b1`, …, the training moments `feature_mean` and
    /// `feature_variance` if there are any, and as metadata the run's values, `z_mean`, `z_std`, `classes`, `validation_accuracy` and `best_epoch`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut metadata = self.values.to_metadata();
        for (name, value) in [
            ("z_mean", self.z.mean.to_string()),
            ("z_std", self.z.std.to_string()),
            ("classes", self.classes().to_string()),
            ("validation_accuracy", self.validation_accuracy.to_string()),
            ("best_epoch", self.best_epoch.to_string()),
        ] {
            metadata.insert(name.into(), value);
        }
        let vectors = match &self.moments {
            Some(Moments { mean, variance }) => {
                let vectors = [mean, variance].map(Clone::clone);
                MOMENTS.map(String::from).into_iter().zip(vectors).collect()
            }
            None => Vectors::new(),
        };
        self.params.to_safetensors(&vectors, &metadata)
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// Where the file cannot be read, is not a whole safetensors file, or lacks what a model needs.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_with_hash(path).map(|(model, _)| model)
    }

    /// Reads a model file and tells the SHA-256 of its bytes, in hexadecimal.
    ///
    /// # Errors
    /// As [`Model::read`].
    pub fn read_with_hash(path: &Path) -> Result<(Self, String)> {
        let bytes = file::read(path, "a model file", MAX_BYTES).map_err(|error| {
            if path.is_dir() { error.hint("name the model.safetensors in it") } else { error }
        })?;
        match Self::from_bytes(&bytes) {
            Ok(model) => Ok((model, hexadecimal(&Sha256::digest(&bytes)))),
            Err(problem) => Err(Error::input(Place::file(path), problem)),
        }
    }

    /// Reads the bytes of a model file.
    ///
    /// # Errors
    /// Says in a clause what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let (params, vectors, metadata) = Params::from_safetensors(bytes, &MOMENTS)?;
        params.check_finite()?;
        let text = |name: &str| {
            let missing = || format!("no `{name}` in its metadata, expected a model of rookie");
            metadata.get(name).ok_or_else(missing)
        };
        let within = |name: &str, least: f64, most: f64| -> std::result::Result<f64, String> {
            let text = text(name)?;
            let parsed = text.parse().ok().filter(|number| (least..=most).contains(number));
            parsed.ok_or_else(|| format!("found {name} = {text}, expected {least} to {most}"))
        };
        let values = Checked::from_metadata(text)?;
        let sizes = params.sizes();
        let hidden = &sizes[1..sizes.len() - 1];
        if hidden != values.hidden {
            return Err(format!("found tensors for {hidden:?}, expected {:?}", values.hidden));
        }
        // Of pixels from 0 to 1, or 1 where all are alike.
        let z = ZScore { mean: within("z_mean", 0.0, 1.0)?, std: within("z_std", 0.0, 1.0)? };
        if z.std == 0.0 {
            return Err(format!("found z_std = {}, expected a number above 0", z.std));
        }
        let moments = read_moments(vectors, sizes[0])?;
        let validation_accuracy = within("validation_accuracy", 0.0, 1.0)?;
        let best_epoch = within("best_epoch", 1.0, values.epochs as f64)? as usize;
        Ok(Self { params, values, z, moments, validation_accuracy, best_epoch })
    }

    /// Checks that the model takes images of `inputs` pixels and knows `classes` classes.
    ///
    /// # Errors
    /// Where it does not; `path` is the model's.
    pub fn fits(&self, path: &Path, inputs: usize, classes: usize) -> Result<()> {
        if (self.inputs(), self.classes()) == (inputs, classes) {
            return Ok(());
        }
        let sizes = |inputs, classes| {
            format!("{} and {}", counted(inputs, "pixel"), counted(classes, "class"))
        };
        let found = format!("a model for {}", sizes(self.inputs(), self.classes()));
        let expected = format!("one for {}, as the data have", sizes(inputs, classes));
        Err(Error::unexpected(Place::file(path), found, expected))
    }
}

/// The training moments among a file's vectors, for `inputs` features.
fn read_moments(
    mut vectors: Vectors,
    inputs: usize,
) -> std::result::Result<Option<Moments>, String> {
    let [mean, variance] = MOMENTS.map(|name| vectors.remove(name));
    let (mean, variance) = match (mean, variance) {
        (None, None) => return Ok(None),
        (Some(mean), Some(variance)) => (mean, variance),
        _ => return Err(format!("found one of {}, expected both", MOMENTS.join(" and "))),
    };
    for (name, values) in MOMENTS.iter().zip([&mean, &variance]) {
        if values.len() != inputs {
            return Err(format!(
                "found {} in {name}, expected {inputs}",
                counted(values.len(), "number")
            ));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(format!("found a number that is not finite in {name}"));
        }
    }
    if let Some(negative) = variance.iter().find(|&&variance| variance < 0.0) {
        return Err(format!("found {negative} in {}, expected numbers from 0", MOMENTS[1]));
    }
    Ok(Some(Moments { mean, variance }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::hyperparams::Hyperparams;

    fn model() -> Model {
        let values = Hyperparams { hidden: vec![9, 4], ..Hyperparams::default() };
        let number = |i: i32| f64::from(i) / 3.0;
        let moments = Moments {
            mean: (0..6).map(|i| number(i) - 1.0).collect(),
            variance: (0..6).map(number).collect(), // the first feature has no contrast
        };
        Model {
            params: Params::he_init(&[6, 9, 4, 3], 5),
            values: values.check().unwrap(),
            z: ZScore { mean: 0.1 + 0.2, std: 1.0 / 3.0 },
            moments: Some(moments),
            validation_accuracy: 0.9138,
            best_epoch: 105,
        }
    }

    #[test]
    fn a_model_comes_back_from_its_bytes_as_it_went() {
        let model = model();
        assert_eq!(Model::from_bytes(&model.to_bytes()).as_ref(), Ok(&model));
        let older = Model { moments: None, ..model.clone() };
        assert_eq!(Model::from_bytes(&older.to_bytes()).as_ref(), Ok(&older));
        let values = Hyperparams { hidden: vec![9, 5], ..Hyperparams::default() };
        let lying = Model { values: values.check().unwrap(), ..model };
        let problem = Model::from_bytes(&lying.to_bytes()).unwrap_err();
        assert_eq!(problem, "found tensors for [9, 4], expected [9, 5]");
    }

    #[test]
    fn numbers_that_no_training_gives_are_refused() {
        for (change, name) in [
            ((|it| it.z.std = 1.5) as fn(&mut Model), "z_std"),
            (|it| it.z.std = 0.0, "z_std"),
            (|it| it.z.mean = -0.1, "z_mean"),
            (|it| it.validation_accuracy = 1.5, "validation_accuracy"),
            (|it| it.best_epoch = 501, "best_epoch"),
        ] {
            let mut model = model();
            change(&mut model);
            let problem = Model::from_bytes(&model.to_bytes()).unwrap_err();
            assert!(problem.contains(&format!("found {name} = ")), "{problem}");
        }
    }

    #[test]
    fn training_moments_that_cannot_be_are_refused() {
        for (change, phrase) in [
            ((|it| it.mean.truncate(5)) as fn(&mut Moments), "found 5 numbers in feature_mean"),
            (|it| it.variance[2] = -0.5, "found -0.5 in feature_variance"),
            (|it| it.mean[1] = f64::NAN, "not finite in feature_mean"),
        ] {
            let mut model = model();
            change(model.moments.as_mut().unwrap());
            let problem = Model::from_bytes(&model.to_bytes()).unwrap_err();
            assert!(problem.contains(phrase), "{problem}");
        }
    }

    #[test]
    fn folded_weights_take_raw_pixels_to_the_same_outputs() {
        let model = model();
        let first = |params: &Params, x: Vec<f64>| -> Vec<f64> {
            let layer = &params.layers[0];
            let unit = |unit: usize| {
                let weights = layer.weights.column(unit);
                let sum: f64 = weights.iter().zip(&x).map(|(w, x)| f64::from(*w) * x).sum();
                sum + f64::from(layer.biases[unit])
            };
            (0..9).map(unit).collect()
        };
        // The first feature was constant in training, so that its pixel does not count.
        for pixels in [[0_u8, 255, 17, 99, 200, 128], [255, 255, 17, 99, 200, 128]] {
            let input = model.scaling_alone().unwrap().inputs(&[&pixels], 6, 1);
            assert_eq!(input[(0, 0)], 0.0);
            let expected = first(&model.params, input.iter().map(|&x| f64::from(x)).collect());
            for white in [255.0, 1.0] {
                let raw = pixels.iter().map(|&pixel| f64::from(pixel) * white / 255.0).collect();
                let found = first(&model.folded(white).unwrap(), raw);
                for (found, expected) in found.iter().zip(&expected) {
                    let error = (found - expected).abs() / expected.abs().max(1.0);
                    assert!(error < 1e-6, "white {white}: {found} {expected}");
                }
            }
        }
        assert_eq!(Model { moments: None, ..model }.folded(1.0), None);
    }
}
