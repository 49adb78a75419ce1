//! A trained model as a file: weights, and everything needed to use or check them.

use std::path::Path;

use ndarray::{Array2, ArrayView3, Axis, s};
use sha2::{Digest, Sha256};

use crate::data::batches::check_inputs;
use crate::data::dataset::Dataset;
use crate::data::features::{Features, Rows};
use crate::data::file;
use crate::data::idx::hexadecimal;
use crate::data::preprocess::{Affine, Preprocessing, Scaling, Standardisation};
use crate::data::signature::Signature;
use crate::error::{Error, Place, Result, counted};
use crate::network::mlp::{Workspace, probabilities};
use crate::network::params::{Params, Vectors};
use crate::train::checked::Checked;
use crate::train::inputs;

/// The largest model file that is read: twice what the largest network needs.
const MAX_BYTES: u64 = 1 << 31;
/// The metadata that say on which table or arrays it was trained.
const TRAINED_ON: &str = "trained_on";

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
    /// The columns that it takes and the labels that it gives.
    pub signature: Signature,
    /// What makes its inputs of raw features.
    pub preprocessing: Preprocessing,
    /// A hash of the data that its weights were trained on and of how test rows were drawn from them, as
    /// [`Provenance::trained_on`] says. `None` for a folder of IDX files with a test set.
    ///
    /// [`Provenance::trained_on`]: crate::train::provenance::Provenance::trained_on
    pub trained_on: Option<String>,
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

    /// What makes its inputs as in its training, where each batch may count.
    pub fn scaling_in_batches(&self) -> Scaling {
        self.preprocessing.in_batches(self.inputs())
    }

    /// Whether its training rows may be those that something else was measured on: the same rows have the same
    /// moments, to the bit. A z-score cannot be compared with moments of each feature.
    pub fn may_share_rows(&self, other: &Preprocessing) -> bool {
        let own = &self.preprocessing;
        let by_feature = |it: &Preprocessing| it.standardisation == Standardisation::Feature;
        let same_moments = match [own, other].map(by_feature) {
            [true, true] => own.moments == other.moments,
            [false, false] => own.z == other.z,
            _ => true,
        };
        same_moments && own.imputed == other.imputed
    }

    /// The rows of a data set that it was trained on, if these are its data as far as sizes and moments tell.
    pub fn training_rows(&self, dataset: &Dataset) -> Option<Vec<usize>> {
        let sizes = (dataset.train.inputs(), dataset.classes());
        if sizes != (self.inputs(), self.classes()) {
            return None;
        }
        let split = dataset.split(self.values.validation_size, self.values.data_seed).ok()?;
        let here = dataset.preprocessing(&split.train, self.values.standardisation);
        self.may_share_rows(&here).then_some(split.train)
    }

    /// What makes the inputs of a row whatever the other rows are. `None` where the training moments are
    /// missing.
    pub fn scaling_alone(&self) -> Option<Scaling> {
        self.preprocessing.alone(self.inputs())
    }

    /// The probability of each class for images (N, height, width), as (N, C); see
    /// [`Model::predict_features`].
    ///
    /// # Errors
    /// As [`Model::predict_features`].
    pub fn predict(&self, images: ArrayView3<'_, u8>) -> Result<Array2<f32>> {
        let (_, height, width) = images.dim();
        if height * width != self.inputs() {
            let found = format!("images of {height}×{width} pixels");
            let expected = counted(self.inputs(), "pixel");
            return Err(Error::unexpected(Place::Name("images"), found, expected));
        }
        self.predict_features(&Features::bytes(images.iter().copied().collect(), self.inputs()))
    }

    /// The probability of each class for rows of D raw features, as (N, C). Each row is standardised by
    /// itself ([`Model::scaling_alone`]), so that it gets the same answer whatever the other rows are.
    ///
    /// # Errors
    /// Where the rows have another number of features than D, or the model has no training moments, and as
    /// [`Model::probabilities`].
    pub fn predict_features(&self, rows: &Features) -> Result<Array2<f32>> {
        if rows.per_row() != self.inputs() {
            let found = format!("rows of {}", counted(rows.per_row(), "feature"));
            return Err(Error::unexpected(Place::Name("rows"), found, self.inputs().to_string()));
        }
        let Some(scaling) = self.scaling_alone() else {
            return Err(Error::input(Place::Name("model"), "has no training moments"));
        };
        let all: Vec<usize> = (0..rows.len()).collect();
        // One by one, because a kernel may round a row otherwise at another place in a batch.
        self.probabilities(rows.rows(&all), 1, scaling)
    }

    /// The probability of each class (N, C) for images in batches of `batch_size`.
    ///
    /// # Errors
    /// Where a row is so far from those of training that it has no probabilities.
    pub fn probabilities(
        &self,
        rows: Rows<'_>, // N of D
        batch_size: usize,
        mut scaling: Scaling,
    ) -> Result<Array2<f32>> {
        let (largest, inputs) = (batch_size.min(rows.len()), self.inputs());
        let mut work = Workspace::new(&self.params.sizes(), largest);
        let mut x = Array2::zeros((largest, inputs));
        let mut all = Array2::zeros((rows.len(), self.classes()));
        let into = all.axis_chunks_iter_mut(Axis(0), batch_size);
        for (index, (batch, mut found)) in rows.chunks(batch_size).zip(into).enumerate() {
            let mut x = x.slice_mut(s![..batch.len(), ..]);
            scaling.fill(batch, x.view_mut());
            let row = |row: usize| format!("row {}", index * batch_size + row + 1);
            check_inputs(x.view(), &self.signature, &Place::Name("the data"), row)?;
            let activation = self.values.activation;
            found.assign(&probabilities(&self.params, activation, x.view(), None, &mut work).0);
        }
        if all.iter().all(|probability| probability.is_finite()) {
            return Ok(all);
        }
        let problem = "gives a row no probabilities, because its weights are too large";
        Err(Error::input(Place::Name("model"), problem))
    }

    /// Weights and biases that take raw features x, of an image its grey values 0 to 255, and give the same
    /// outputs as this model does with [`Model::scaling_alone`]: `relu(x @ w1 + b1) @ w2 + b2` and so on,
    /// with no other preparation. A missing value is not replaced. `None` where the training moments are
    /// missing.
    ///
    /// Sums are taken in float64 and rounded to float32 once.
    pub fn folded(&self) -> Option<Params> {
        let scaling = self.scaling_alone()?;
        let affine = scaling.affine()?;
        let mut params = self.params.copied();
        let first = &mut params.layers[0];
        let mut biases = first.biases.mapv(f64::from);
        for (mut row, Affine { mean, scale }) in first.weights.rows_mut().into_iter().zip(affine) {
            for (weight, bias) in row.iter_mut().zip(&mut biases) {
                let per_unit = scale * f64::from(*weight);
                *bias -= mean * per_unit;
                *weight = per_unit as f32;
            }
        }
        first.biases.zip_mut_with(&biases, |bias, &sum| *bias = sum as f32);
        Some(params)
    }

    /// The bytes of `model.safetensors`: tensors `w1`, `b1`, …, the training moments `feature_mean` and
    /// `feature_variance` if there are any, and as metadata the run's
    /// values, `z_mean`, `z_std`, `classes`, `validation_accuracy`, `best_epoch` and `trained_on`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut metadata = self.values.to_metadata();
        for (name, value) in [
            ("classes", self.classes().to_string()),
            ("validation_accuracy", self.validation_accuracy.to_string()),
            ("best_epoch", self.best_epoch.to_string()),
        ] {
            metadata.insert(name.into(), value);
        }
        metadata.extend(self.trained_on.iter().map(|it| (TRAINED_ON.into(), it.clone())));
        let mut vectors = Vectors::new();
        inputs::write(&self.signature, &self.preprocessing, &mut vectors, &mut metadata);
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
            Err(problem) => {
                let error = Error::input(Place::file(path), problem);
                let end = path.extension().unwrap_or_default();
                Err(match end.to_str() {
                    Some("toml") => error.hint("name a model.safetensors"),
                    Some("onnx" | "npz" | "c") => {
                        error.hint("name the model.safetensors that it was exported from")
                    }
                    Some("csv" | "tsv" | "gz" | "npy") => {
                        error.hint("the model comes first, as in `rookie predict MODEL FILE`")
                    }
                    _ => error,
                })
            }
        }
    }

    /// Reads the bytes of a model file.
    ///
    /// # Errors
    /// Says in a clause what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let (params, vectors, metadata) = Params::from_safetensors(bytes, &inputs::VECTORS)?;
        params.check_finite()?;
        let text = |name: &str| inputs::text_of(&metadata, name);
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
        let inputs = inputs::Read { vectors, metadata: &metadata };
        let preprocessing = inputs.preprocessing(values.standardisation, sizes[0])?;
        let signature = inputs.signature(sizes[0], sizes[sizes.len() - 1])?;
        let validation_accuracy = within("validation_accuracy", 0.0, 1.0)?;
        let best_epoch = within("best_epoch", 1.0, values.epochs as f64)? as usize;
        let trained_on = metadata.get(TRAINED_ON).cloned();
        Ok(Self {
            params,
            values,
            signature,
            preprocessing,
            trained_on,
            validation_accuracy,
            best_epoch,
        })
    }

    /// Checks that the model takes the columns of a data set, in its order, and gives its labels: equal numbers
    /// of both are not enough, because other columns would be taken for the model's.
    ///
    /// # Errors
    /// What differs first; `path` is the model's.
    pub fn fits_data(&self, path: &Path, dataset: &Dataset) -> Result<()> {
        let hint = "name the table that the model was trained on with --data, and further rows with --test";
        let hinted = |error: Error| {
            if self.signature.schema.is_some() { error.hint(hint) } else { error }
        };
        if let Some((found, expected)) = self.signature.first_difference(&dataset.signature) {
            let expected = format!("{expected}, as {} has", path.display());
            return Err(hinted(Error::unexpected(Place::file(&dataset.source), found, expected)));
        }
        self.fits(path, dataset.train.inputs(), dataset.classes()).map_err(hinted)
    }

    /// Checks that the model takes `inputs` features and knows `classes` classes.
    ///
    /// # Errors
    /// Where it does not; `path` is the model's.
    fn fits(&self, path: &Path, inputs: usize, classes: usize) -> Result<()> {
        if (self.inputs(), self.classes()) == (inputs, classes) {
            return Ok(());
        }
        let noun = if self.signature.schema.is_some() { "feature" } else { "pixel" };
        let sizes = |inputs, classes| {
            format!("{} and {}", counted(inputs, noun), counted(classes, "class"))
        };
        let found = format!("a model for {}", sizes(self.inputs(), self.classes()));
        let expected = format!("one for {}, as the data have", sizes(inputs, classes));
        Err(Error::unexpected(Place::file(path), found, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::preprocess::{Moments, Standardisation, ZScore};
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
            signature: Signature::numbered(3),
            preprocessing: Preprocessing {
                standardisation: Standardisation::Batch,
                z: ZScore { mean: 0.1 + 0.2, std: 1.0 / 3.0, white: 255.0 },
                moments: Some(moments),
                imputed: Vec::new(),
            },
            trained_on: Some("0123456789abcdef".into()),
            validation_accuracy: 0.9138,
            best_epoch: 105,
        }
    }

    fn without_moments(model: &Model) -> Model {
        let preprocessing = Preprocessing { moments: None, ..model.preprocessing.clone() };
        Model { preprocessing, ..model.clone() }
    }

    #[test]
    fn a_model_comes_back_from_its_bytes_as_it_went() {
        let model = model();
        assert_eq!(Model::from_bytes(&model.to_bytes()).as_ref(), Ok(&model));
        let older = without_moments(&model);
        assert_eq!(Model::from_bytes(&older.to_bytes()).as_ref(), Ok(&older));
        let values = Hyperparams { hidden: vec![9, 5], ..Hyperparams::default() };
        let lying = Model { values: values.check().unwrap(), ..model };
        let problem = Model::from_bytes(&lying.to_bytes()).unwrap_err();
        assert_eq!(problem, "found tensors for [9, 4], expected [9, 5]");
    }

    #[test]
    fn numbers_that_no_training_gives_are_refused() {
        for (change, name) in [
            ((|it| it.preprocessing.z.std = 1.5) as fn(&mut Model), "z_std"),
            (|it| it.preprocessing.z.std = 0.0, "z_std"),
            (|it| it.preprocessing.z.mean = -0.1, "z_mean"),
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
            change(model.preprocessing.moments.as_mut().unwrap());
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
            let pixel_rows = Features::bytes(pixels.to_vec(), 6);
            let input = model.scaling_alone().unwrap().inputs(pixel_rows.rows(&[0]), 1);
            assert_eq!(input[(0, 0)], 0.0);
            let expected = first(&model.params, input.iter().map(|&x| f64::from(x)).collect());
            let raw = pixels.iter().map(|&pixel| f64::from(pixel)).collect();
            let found = first(&model.folded().unwrap(), raw);
            for (found, expected) in found.iter().zip(&expected) {
                let error = (found - expected).abs() / expected.abs().max(1.0);
                assert!(error < 1e-6, "{found} {expected}");
            }
        }
        assert_eq!(without_moments(&model).folded(), None);
    }
}
