//! What predicts: a model, or several whose probabilities are averaged, as `ensemble.toml` names them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2, ArrayView3};
use toml::de::{DeTable, DeValue};

use crate::data::signature::Signature;
use crate::error::{Error, Place, Result};
use crate::train::checked::Checked;
use crate::train::model::Model;
use crate::train::provenance::{Provenance, SPLIT};
use crate::train::toml_file::{Item, TomlFile};

/// What an ensemble's file begins with.
/// The first line of every ensemble's file, by which it is known as rookie's own.
pub(crate) const MADE_BY: &str =
    "# Made by `rookie ensemble`: these models' probabilities are averaged.\n";
/// What to do about an ensemble that cannot be used.
const CHOOSE_AGAIN: &str = "choose its members again with `rookie ensemble`";
/// The largest weight of a member.
const MAX_WEIGHT: u32 = 1000;
/// The most members of an ensemble.
const MAX_MEMBERS: usize = 1000;

/// A model, or an ensemble of models.
///
/// ```no_run
/// # use std::path::Path;
/// # let image = rookie::ndarray::Array3::zeros((1, 28, 28));
/// let ensemble = rookie::Predictor::open(Path::new("results/mine/ensemble.toml"))?;
/// let probabilities = ensemble.predict(image.view())?; // (1, 10)
/// # Ok::<(), rookie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Predictor {
    /// The models, at least one: all for the same images, with one validation set.
    pub members: Vec<Member>,
    /// What the file of an ensemble says; `None` for a model by itself.
    pub ensemble: Option<Ensemble>,
}

/// A model with its weight in the mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its file.
    pub path: PathBuf,
    /// From 1.
    pub weight: u32,
    /// What it says.
    pub model: Model,
}

/// What `ensemble.toml` holds. Accuracies are of images that are standardised as in training.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// How its members were chosen: `top` or `greedy`.
    pub chosen_by: String,
    /// Of how many runs.
    pub runs: usize,
    /// The fraction of the validation images that it classifies correctly.
    pub validation_accuracy: f64,
    /// The same of the test images.
    pub test_accuracy: f64,
    /// How many test images there are.
    pub test_images: usize,
    /// The best single run by validation accuracy.
    pub best_run: String,
    /// The test accuracy of that run.
    pub best_test_accuracy: f64,
    /// The ends of the 95 % interval of the difference of both test accuracies, paired by image.
    pub difference: (f64, f64),
    /// Names the data, and what measured the accuracies.
    pub provenance: Provenance,
    /// Its members, the best first.
    pub members: Vec<Listed>,
}

/// A member as it is listed in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The model's file, as a path from the folder of the ensemble's file.
    pub model: String,
    /// The SHA-256 of that file, in hexadecimal.
    pub sha256: String,
    /// From 1.
    pub weight: u32,
}

impl Predictor {
    /// A model by itself; `path` is its file's.
    pub fn single(path: &Path, model: Model) -> Self {
        let member = Member { path: path.to_path_buf(), weight: 1, model };
        Self { members: vec![member], ensemble: None }
    }

    /// Reads a model, or an ensemble if the name of the file ends in `.toml`.
    ///
    /// # Errors
    /// Where the file or a member cannot be read, has changed since it was chosen, or does not belong to
    /// the others.
    pub fn open(path: &Path) -> Result<Self> {
        if !is_ensemble(path) {
            return Ok(Self::single(path, Model::read(path)?));
        }
        let ensemble = Ensemble::read(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let read = |listed: &Listed| read_member(path, folder, listed);
        let members: Vec<Member> = ensemble.members.iter().map(read).collect::<Result<_>>()?;
        let first = &members[0];
        for member in &members[1..] {
            if let Some(problem) = foreign(&member.model, &first.model) {
                let problem = format!("{problem} than {}", first.path.display());
                return Err(Error::input(Place::file(&member.path), problem).hint(CHOOSE_AGAIN));
            }
        }
        Ok(Self { members, ensemble: Some(ensemble) })
    }

    /// The values of the first model: all have the same validation set.
    pub fn values(&self) -> &Checked {
        &self.members[0].model.values
    }

    /// The columns that the members take and the labels that they give.
    pub fn signature(&self) -> &Signature {
        &self.members[0].model.signature
    }

    /// Pixels of an image, D.
    pub fn inputs(&self) -> usize {
        self.members[0].model.inputs()
    }

    /// The number of classes, C.
    pub fn classes(&self) -> usize {
        self.members[0].model.classes()
    }

    /// The weighted mean of the members' probabilities, each (N, C) and in their order.
    pub fn mean(&self, probabilities: &[Array2<f32>]) -> Array2<f32> {
        let weights = self.members.iter().map(|member| member.weight);
        mean(probabilities.iter().map(|it| it.view()).zip(weights))
    }

    /// The probability of each class for images (N, height, width), as (N, C): the mean of
    /// [`Model::predict`].
    ///
    /// # Errors
    /// As [`Model::predict`].
    pub fn predict(&self, images: ArrayView3<'_, u8>) -> Result<Array2<f32>> {
        let each = self.members.iter().map(|member| member.model.predict(images));
        Ok(self.mean(&each.collect::<Result<Vec<_>>>()?))
    }
}

/// Whether a file is named as an ensemble's.
pub fn is_ensemble(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "toml")
}

/// The weighted mean of probabilities (N, C), one at least. Sums are taken in float64, so that the mean of
/// one model alone is that model's to the bit.
pub fn mean<'a>(members: impl Iterator<Item = (ArrayView2<'a, f32>, u32)>) -> Array2<f32> {
    let mut sum: Option<Array2<f64>> = None;
    let mut total = 0.0;
    for (probabilities, weight) in members {
        let weight = f64::from(weight);
        let sum = sum.get_or_insert_with(|| Array2::zeros(probabilities.dim()));
        sum.zip_mut_with(&probabilities, |sum, &it| *sum += weight * f64::from(it));
        total += weight;
    }
    sum.expect("one member at least").mapv(|sum| (sum / total) as f32)
}

fn read_member(file: &Path, folder: &Path, listed: &Listed) -> Result<Member> {
    let path = folder.join(&listed.model);
    let about = |problem: &str| {
        let problem = format!("its member {} {problem}", listed.model);
        Err(Error::input(Place::file(file), problem).hint(CHOOSE_AGAIN))
    };
    match Model::read_with_hash(&path) {
        Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
            about("is missing")
        }
        Err(error) => Err(error),
        Ok((_, sha256)) if sha256 != listed.sha256 => about("has changed since it was chosen"),
        Ok((model, _)) => Ok(Member { path, weight: listed.weight, model }),
    }
}

/// In what a model does not belong to another one, if it does not.
fn foreign(model: &Model, first: &Model) -> Option<String> {
    let shape = |it: &Model| (it.inputs(), it.classes());
    if shape(model) != shape(first) {
        let noun = first.signature.noun();
        return Some(format!("is for {noun}s of another size or other classes"));
    }
    let split = |it: &Model| (it.values.data_seed, it.values.validation_size);
    if split(model) != split(first) {
        return Some(format!("has another validation set ({})", SPLIT.join(", ")));
    }
    let is_same = model.signature == first.signature && model.may_share_rows(&first.preprocessing);
    (!is_same).then(|| format!("was trained on other {}s", first.signature.noun()))
}

impl Ensemble {
    /// The text of the file.
    pub fn to_toml(&self) -> String {
        let mut table = toml::Table::new();
        let mut put = |name: &str, value: toml::Value| table.insert(name.into(), value);
        put("chosen_by", self.chosen_by.as_str().into());
        put("runs", (self.runs as i64).into());
        put("validation_accuracy", self.validation_accuracy.into());
        put("test_accuracy", self.test_accuracy.into());
        put("test_images", (self.test_images as i64).into());
        put("best_run", self.best_run.as_str().into());
        put("best_test_accuracy", self.best_test_accuracy.into());
        put("difference_low", self.difference.0.into());
        put("difference_high", self.difference.1.into());
        let lines = self.provenance.lines().iter();
        let provenance: toml::Table = lines.map(|(k, v)| (k.clone(), v.as_str().into())).collect();
        put("provenance", provenance.into());
        let member = |Listed { model, sha256, weight }: &Listed| {
            let mut table = toml::Table::new();
            table.insert("model".into(), model.as_str().into());
            table.insert("sha256".into(), sha256.as_str().into());
            table.insert("weight".into(), i64::from(*weight).into());
            toml::Value::Table(table)
        };
        put("members", self.members.iter().map(member).collect::<Vec<_>>().into());
        MADE_BY.to_string() + &toml::to_string(&table).expect("a table of plain values")
    }

    /// Reads an ensemble's file, and none of its members.
    ///
    /// # Errors
    /// Where it cannot be read or is no whole list of members.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&TomlFile::read(path)?)
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// Where it is no whole list of members.
    pub fn parse(file: &TomlFile) -> Result<Self> {
        let table = file.table()?;
        let fields = Fields { file, table: &table };
        let members = match fields.get("members")?.get_ref() {
            DeValue::Array(items) if (1..=MAX_MEMBERS).contains(&items.len()) => {
                items.iter().map(|item| listed(file, item)).collect::<Result<_>>()?
            }
            _ => {
                let expected = format!("from 1 to {MAX_MEMBERS} [[members]]");
                return Err(file.unexpected(fields.get("members")?, expected));
            }
        };
        let provenance = match fields.get("provenance")?.get_ref() {
            DeValue::Table(table) => table
                .iter()
                .filter_map(|(k, v)| Some((k.get_ref().to_string(), v.get_ref().as_str()?.into())))
                .collect(),
            _ => return Err(file.unexpected(fields.get("provenance")?, "a table")),
        };
        let test_images = fields.count("test_images", 1e9)?;
        let end = |name: &str| fields.number(name, -1.0, 1.0);
        let ensemble = Self {
            chosen_by: fields.text("chosen_by")?,
            runs: fields.count("runs", 1e9)?,
            validation_accuracy: fields.number("validation_accuracy", 0.0, 1.0)?,
            test_accuracy: fields.share_of("test_accuracy", test_images)?,
            test_images,
            best_run: fields.text("best_run")?,
            best_test_accuracy: fields.share_of("best_test_accuracy", test_images)?,
            difference: (end("difference_low")?, end("difference_high")?),
            provenance,
            members,
        };
        let (low, high) = ensemble.difference;
        let difference = ensemble.test_accuracy - ensemble.best_test_accuracy;
        if (low..=high).contains(&difference) {
            return Ok(ensemble);
        }
        let expected = "an interval that holds test_accuracy minus best_test_accuracy";
        Err(file.unexpected(fields.get("difference_low")?, expected).hint(CHOOSE_AGAIN))
    }
}

fn listed(file: &TomlFile, item: &Item<'_>) -> Result<Listed> {
    let DeValue::Table(table) = item.get_ref() else {
        return Err(file.unexpected(item, "a table with model, sha256 and weight"));
    };
    let fields = Fields { file, table };
    let weight = fields.count("weight", f64::from(MAX_WEIGHT))?;
    let (model, sha256) = (fields.text("model")?, fields.text("sha256")?);
    Ok(Listed { model, sha256, weight: weight as u32 })
}

/// A table of the file, whose fields must be there.
struct Fields<'a> {
    file: &'a TomlFile,
    table: &'a DeTable<'a>,
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Result<&'a Item<'a>> {
        self.table.get(name).ok_or_else(|| {
            let problem = format!("no `{name}`, expected an ensemble.toml");
            Error::input(Place::file(self.file.path()), problem).hint(CHOOSE_AGAIN)
        })
    }

    fn text(&self, name: &str) -> Result<String> {
        let item = self.get(name)?;
        let text = item.get_ref().as_str().map(String::from);
        text.ok_or_else(|| self.file.unexpected(item, "a string"))
    }

    /// A whole number from 1.
    fn count(&self, name: &str, most: f64) -> Result<usize> {
        match self.number(name, 1.0, most)? {
            number if number.fract() == 0.0 => Ok(number as usize),
            _ => Err(self.file.unexpected(self.get(name)?, "a whole number")),
        }
    }

    /// The accuracy on so many images.
    fn share_of(&self, name: &str, images: usize) -> Result<f64> {
        let accuracy = self.number(name, 0.0, 1.0)?;
        let correct = accuracy * images as f64;
        if (correct - correct.round()).abs() > 1e-6 * images as f64 {
            let expected = format!("a whole number of {images} test_images as a fraction");
            return Err(self.file.unexpected(self.get(name)?, expected).hint(CHOOSE_AGAIN));
        }
        Ok(accuracy)
    }

    fn number(&self, name: &str, least: f64, most: f64) -> Result<f64> {
        let item = self.get(name)?;
        let text = match item.get_ref() {
            DeValue::Integer(number) => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => "",
        };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| {
            self.file.unexpected(item, format!("{name}: a number from {least} to {most}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::preprocess::{Preprocessing, Standardisation, ZScore};
    use crate::data::signature::Signature;
    use crate::data::split::PartSize;
    use crate::network::params::Params;
    use crate::train::hyperparams::Hyperparams;
    use ndarray::Array3;

    fn of_mean(mean: f64) -> Preprocessing {
        let z = ZScore { mean, std: 0.5, white: 255.0 };
        let standardisation = Standardisation::Dataset;
        Preprocessing { standardisation, z, moments: None, imputed: Vec::new() }
    }

    fn model(seed: u64) -> Model {
        let values = Hyperparams {
            hidden: vec![5],
            standardisation: Standardisation::Dataset,
            ..Hyperparams::default()
        };
        Model {
            params: Params::he_init(&[6, 5, 3], seed),
            values: values.check().unwrap(),
            signature: Signature::numbered(3),
            preprocessing: of_mean(0.25),
            trained_on: None,
            validation_accuracy: 0.9,
            best_epoch: 1,
        }
    }

    /// Writes models and an ensemble of them with these weights.
    fn written(folder: &Path, models: &[(Model, u32)]) -> (PathBuf, Ensemble) {
        let write = |(index, (model, weight)): (usize, &(Model, u32))| {
            let path = folder.join(format!("{index}.safetensors"));
            std::fs::write(&path, model.to_bytes()).unwrap();
            let sha256 = Model::read_with_hash(&path).unwrap().1;
            Listed { model: format!("{index}.safetensors"), sha256, weight: *weight }
        };
        let ensemble = Ensemble {
            chosen_by: "greedy".into(),
            runs: 7,
            validation_accuracy: 1.0 / 3.0,
            test_accuracy: 0.5,
            test_images: 60,
            best_run: "a \"quoted\" run".into(),
            best_test_accuracy: 0.25,
            difference: (-0.125, 0.625),
            provenance: Provenance::from_iter([("sha256_x".into(), "y".into())]),
            members: models.iter().enumerate().map(write).collect(),
        };
        let path = folder.join("ensemble.toml");
        std::fs::write(&path, ensemble.to_toml()).unwrap();
        (path, ensemble)
    }

    #[test]
    fn an_ensemble_comes_back_from_its_file_and_predicts_the_weighted_mean() {
        let folder = tempfile::tempdir().unwrap();
        let models = [(model(1), 1), (model(2), 3)];
        let (path, ensemble) = written(folder.path(), &models);
        let read = Predictor::open(&path).unwrap();
        assert_eq!(read.ensemble.as_ref(), Some(&ensemble));
        let images = Array3::from_shape_fn((4, 2, 3), |(n, y, x)| (60 * n + 20 * y + 7 * x) as u8);
        let found = read.predict(images.view()).unwrap();
        let each = models.map(|(model, _)| model.predict(images.view()).unwrap());
        for (at, &found) in found.indexed_iter() {
            let expected = (f64::from(each[0][at]) + 3.0 * f64::from(each[1][at])) / 4.0;
            assert_eq!(found, expected as f32);
        }
        // A model alone is its own mean, whatever its weight.
        let (path, _) = written(folder.path(), &[(model(1), 7)]);
        let alone = Predictor::open(&path).unwrap();
        assert_eq!(alone.predict(images.view()).unwrap(), each[0]);
        let by_model = Predictor::open(&folder.path().join("0.safetensors")).unwrap();
        assert_eq!((by_model.ensemble, by_model.members.len()), (None, 1));
    }

    #[test]
    fn members_that_do_not_belong_together_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let with = |change: fn(&mut Hyperparams)| {
            let mut values = (*model(2).values).clone();
            change(&mut values);
            Model { values: values.check().unwrap(), ..model(2) }
        };
        let wide = Model { params: Params::he_init(&[7, 5, 3], 1), ..model(2) };
        let classes = Model { params: Params::he_init(&[6, 5, 4], 1), ..model(2) };
        let brighter = Model { preprocessing: of_mean(0.375), ..model(2) };
        for (other, problem) in [
            (wide, "images of another size or other classes than"),
            (classes, "images of another size or other classes than"),
            (with(|it| it.data_seed = 1), "another validation set (data_seed, validation_size)"),
            (with(|it| it.validation_size = PartSize::Rows(9)), "another validation set"),
            (brighter, "1.safetensors: was trained on other images than"),
        ] {
            let (path, _) = written(folder.path(), &[(model(1), 1), (other, 1)]);
            let error = Predictor::open(&path).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains(CHOOSE_AGAIN), "{error}");
        }
    }

    #[test]
    fn members_that_changed_or_are_gone_are_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = written(folder.path(), &[(model(1), 1), (model(2), 1)]);
        let member = folder.path().join("1.safetensors");
        std::fs::write(&member, model(3).to_bytes()).unwrap();
        let error = Predictor::open(&path).unwrap_err().to_string();
        let changed = "ensemble.toml: its member 1.safetensors has changed since it was chosen; ";
        assert!(error.contains(changed), "{error}");
        std::fs::remove_file(&member).unwrap();
        let error = Predictor::open(&path).unwrap_err().to_string();
        assert!(error.contains("its member 1.safetensors is missing; choose its"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_whole_ensemble_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (_, ensemble) = written(folder.path(), &[(model(1), 1)]);
        let text = ensemble.to_toml();
        let parsed = |text: &str| Ensemble::parse(&TomlFile::new("ensemble.toml", text));
        assert_eq!(parsed(&text).unwrap(), ensemble);
        for (from, to, problem) in [
            ("weight = 1", "weight = 0", "found 0, expected weight: a number from 1 to 1000"),
            ("weight = 1", "weight = 1.5", "found 1.5, expected a whole number"),
            ("weight = 1", "weight = nan", "found nan, expected weight"),
            ("weight = 1", "", "no `weight`, expected an ensemble.toml"),
            ("test_accuracy = 0.5", "test_accuracy = 1.5", "found 1.5, expected test_accuracy"),
            ("test_images = 60", "test_images = 59", "0.5, expected a whole number of 59 test_im"),
            ("\ntest_accuracy = 0.5", "\ntest_accuracy = 0.9", "expected an interval that holds"),
            ("test_images = 60", "test_images = 'x'", "found 'x', expected test_images"),
            ("chosen_by = \"greedy\"", "chosen_by = 3", "found 3, expected a string"),
            ("[[members]]", "[members]", "expected from 1 to 1000 [[members]]"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(text, changed);
            let error = parsed(&changed).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        for cut in 0..text.len() - 2 {
            assert!(parsed(&text[..cut]).is_err(), "{}", &text[..cut]);
        }
    }
}
