//! A trained model as a file: weights, and everything needed to use or check them.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::data::batches::{Scaling, ZScore};
use crate::data::idx::hexadecimal;
use crate::error::{Error, Place, Result};
use crate::network::params::Params;
use crate::train::hyperparams::Checked;

/// The largest model file that is read: twice what the largest network needs.
const MAX_BYTES: u64 = 1 << 31;

/// The weights of a run with the values that they were trained with.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The weights with the highest validation accuracy.
    pub params: Params,
    /// The values of the run.
    pub values: Checked,
    /// Of the training images; images to be predicted are scored with it.
    pub z: ZScore,
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

    /// What makes inputs of pixels, as in its training.
    pub fn scaling(&self) -> Scaling {
        Scaling { z: self.z, standardisation: self.values.standardisation }
    }

    /// The bytes of `model.safetensors`: tensors `w1`, `b1`, …, and as metadata the run's values,
    /// `z_mean`, `z_std`, `classes`, `validation_accuracy` and `best_epoch`.
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
        self.params.to_safetensors(&metadata)
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
        let about = fs::metadata(path).map_err(|source| Error::read(path, source))?;
        if about.is_dir() {
            return Err(Error::unexpected(Place::file(path), "a folder", "a model file")
                .hint("name the model.safetensors in it"));
        }
        if about.len() > MAX_BYTES {
            let found = format!("{} bytes", about.len());
            return Err(Error::unexpected(Place::file(path), found, "a model of at most 2 GiB"));
        }
        let bytes = fs::read(path).map_err(|source| Error::read(path, source))?;
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
        let (params, metadata) = Params::from_safetensors(bytes)?;
        params.check_finite()?;
        let text = |name: &str| {
            let missing = || format!("no `{name}` in its metadata, expected a model of rookie");
            metadata.get(name).ok_or_else(missing)
        };
        let number = |name: &str| -> std::result::Result<f64, String> {
            let text = text(name)?;
            let parsed = text.parse().ok().filter(|number: &f64| number.is_finite());
            parsed.ok_or_else(|| format!("found {name} = {text}, expected a number"))
        };
        let values = Checked::from_metadata(text)?;
        let sizes = params.sizes();
        let hidden = &sizes[1..sizes.len() - 1];
        if hidden != values.hidden {
            return Err(format!("found tensors for {hidden:?}, expected {:?}", values.hidden));
        }
        let z = ZScore { mean: number("z_mean")?, std: number("z_std")? };
        if z.std <= 0.0 {
            return Err(format!("found z_std = {}, expected a number above 0", z.std));
        }
        Ok(Self {
            params,
            values,
            z,
            validation_accuracy: number("validation_accuracy")?,
            best_epoch: number("best_epoch")? as usize,
        })
    }

    /// Checks that the model takes images of `inputs` pixels and knows `classes` classes.
    ///
    /// # Errors
    /// Where it does not; `path` is the model's.
    pub fn fits(&self, path: &Path, inputs: usize, classes: usize) -> Result<()> {
        let found = (self.inputs(), self.classes());
        let wanted = (inputs, classes);
        if found == wanted {
            return Ok(());
        }
        Err(Error::unexpected(
            Place::file(path),
            format!("a model for {} pixels and {} classes", found.0, found.1),
            format!("one for {} pixels and {} classes, as the data have", wanted.0, wanted.1),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::hyperparams::Hyperparams;

    #[test]
    fn a_model_comes_back_from_its_bytes_as_it_went() {
        let values = Hyperparams { hidden: vec![9, 4], ..Hyperparams::default() };
        let model = Model {
            params: Params::he_init(&[6, 9, 4, 3], 5),
            values: values.check().unwrap(),
            z: ZScore { mean: 0.1 + 0.2, std: 1.0 / 3.0 },
            validation_accuracy: 0.9138,
            best_epoch: 105,
        };
        let bytes = model.to_bytes();
        assert_eq!(Model::from_bytes(&bytes).as_ref(), Ok(&model));
        let values = Hyperparams { hidden: vec![9, 5], ..Hyperparams::default() };
        let lying = Model { values: values.check().unwrap(), ..model };
        let problem = Model::from_bytes(&lying.to_bytes()).unwrap_err();
        assert_eq!(problem, "found tensors for [9, 4], expected [9, 5]");
    }
}
