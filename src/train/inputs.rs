//! The part of a model's file that says what the model takes and gives: columns, labels and
//! preprocessing. A file names only what is not as it is for images with labels from 0, so that those of
//! earlier versions are read and written as they are.

use crate::data::preprocess::{Moments, Preprocessing, Standardisation, ZScore};
use crate::data::schema::Schema;
use crate::data::signature::Signature;
use crate::error::counted;
use crate::network::params::{Metadata, Vectors};

/// The names of the vectors in a model's file: the training moments, and what stands for missing values.
pub const VECTORS: [&str; 3] = [MEAN, VARIANCE, IMPUTED];
const MEAN: &str = "feature_mean";
const VARIANCE: &str = "feature_variance";
const IMPUTED: &str = "imputed";
/// The raw value that is 1 in the z-score, where it is not that of grey values.
const WHITE: &str = "z_white";
const GREY: f64 = 255.0;
/// The label of each class, as a JSON list.
const LABELS: &str = "labels";
/// The columns of a table, as JSON.
const SCHEMA: &str = "schema";

/// Adds what a model takes and gives to the vectors and the metadata of its file.
pub fn write(
    signature: &Signature,
    preprocessing: &Preprocessing,
    vectors: &mut Vectors,
    metadata: &mut Metadata,
) {
    let Preprocessing { standardisation, z, moments, imputed } = preprocessing;
    if *standardisation != Standardisation::Feature {
        metadata.insert("z_mean".into(), z.mean.to_string());
        metadata.insert("z_std".into(), z.std.to_string());
        if z.white != GREY {
            metadata.insert(WHITE.into(), z.white.to_string());
        }
    }
    if let Some(Moments { mean, variance }) = moments {
        vectors.insert(MEAN.into(), mean.clone());
        vectors.insert(VARIANCE.into(), variance.clone());
    }
    if !imputed.is_empty() {
        vectors.insert(IMPUTED.into(), imputed.iter().map(|&value| f64::from(value)).collect());
    }
    let Signature { labels, schema } = signature;
    if *labels != Signature::numbered(labels.len()).labels {
        let labels = serde_json::to_string(labels).expect("a list of strings");
        metadata.insert(LABELS.into(), labels);
    }
    if let Some(schema) = schema {
        metadata.insert(SCHEMA.into(), schema.to_json());
    }
}

/// The vectors and the metadata of a model's file.
pub struct Read<'a> {
    /// Its vectors.
    pub vectors: Vectors,
    /// Its metadata.
    pub metadata: &'a Metadata,
}

type Clause<T> = Result<T, String>;

impl Read<'_> {
    /// What makes the inputs, D of them.
    ///
    /// # Errors
    /// Says in a clause what is missing or cannot be.
    pub fn preprocessing(
        &self,
        standardisation: Standardisation,
        inputs: usize,
    ) -> Clause<Preprocessing> {
        let z = match standardisation {
            Standardisation::Feature => ZScore::NONE,
            Standardisation::Batch | Standardisation::Dataset => self.z_score()?,
        };
        let moments = match (self.vector(MEAN, inputs)?, self.vector(VARIANCE, inputs)?) {
            (None, None) if standardisation == Standardisation::Feature => {
                return Err(format!("found no {MEAN} and no {VARIANCE}, expected both"));
            }
            (None, None) => None,
            (Some(mean), Some(variance)) => Some(Moments { mean, variance }),
            _ => return Err(format!("found one of {MEAN} and {VARIANCE}, expected both")),
        };
        let variances = moments.iter().flat_map(|it| &it.variance);
        if let Some(negative) = variances.copied().find(|&variance| variance < 0.0) {
            return Err(format!("found {negative} in {VARIANCE}, expected numbers from 0"));
        }
        let imputed = self.vector(IMPUTED, inputs)?.unwrap_or_default();
        let imputed = imputed.into_iter().map(|value| value as f32).collect();
        Ok(Preprocessing { standardisation, z, moments, imputed })
    }

    fn z_score(&self) -> Clause<ZScore> {
        let white = if self.metadata.contains_key(WHITE) { self.number(WHITE)? } else { GREY };
        let z = ZScore { mean: self.number("z_mean")?, std: self.number("z_std")?, white };
        // Of grey values from 0 to 1, or 1 where all are alike.
        let (is_grey, is_fraction) = (white == GREY, |number| (0.0..=1.0).contains(&number));
        if is_grey && !is_fraction(z.mean) {
            return Err(format!("found z_mean = {}, expected 0 to 1", z.mean));
        }
        if is_grey && z.std > 1.0 {
            return Err(format!("found z_std = {}, expected at most 1", z.std));
        }
        for (name, number) in [("z_std", z.std), (WHITE, white)] {
            if number <= 0.0 {
                return Err(format!("found {name} = {number}, expected a number above 0"));
            }
        }
        Ok(z)
    }

    /// The columns of D features, and the labels, C of them.
    ///
    /// # Errors
    /// Says in a clause what cannot be.
    pub fn signature(&self, inputs: usize, classes: usize) -> Clause<Signature> {
        let schema = self.metadata.get(SCHEMA).map(|text| Schema::from_json(text)).transpose()?;
        if let Some(of_schema) = schema.as_ref().map(Schema::inputs).filter(|it| *it != inputs) {
            let features = counted(of_schema, "feature");
            return Err(format!("found {SCHEMA} of {features}, expected {inputs}"));
        }
        Ok(Signature { labels: self.labels(classes)?, schema })
    }

    fn labels(&self, classes: usize) -> Clause<Vec<String>> {
        let Some(labels) = self.metadata.get(LABELS) else {
            return Ok(Signature::numbered(classes).labels);
        };
        let labels: Vec<String> = serde_json::from_str(labels)
            .map_err(|error| format!("its {LABELS} are not a list of strings ({error})"))?;
        if labels.len() != classes {
            let found = counted(labels.len(), "label");
            return Err(format!("found {found}, expected {classes}, one for each class"));
        }
        Ok(labels)
    }

    fn vector(&self, name: &str, inputs: usize) -> Clause<Option<Vec<f64>>> {
        let Some(vector) = self.vectors.get(name) else { return Ok(None) };
        if vector.len() != inputs {
            let found = counted(vector.len(), "number");
            return Err(format!("found {found} in {name}, expected {inputs}"));
        }
        if vector.iter().any(|value| !value.is_finite()) {
            return Err(format!("found a number that is not finite in {name}"));
        }
        Ok(Some(vector.clone()))
    }

    fn number(&self, name: &str) -> Clause<f64> {
        let text = text_of(self.metadata, name)?;
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| format!("found {name} = {text}, expected a finite number"))
    }
}

/// A value of a model's metadata.
///
/// # Errors
/// A clause that says so where it is missing.
pub fn text_of<'a>(metadata: &'a Metadata, name: &str) -> Clause<&'a String> {
    let missing = || format!("no `{name}` in its metadata, expected a model of rookie");
    metadata.get(name).ok_or_else(missing)
}
