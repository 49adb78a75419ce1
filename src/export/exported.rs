//! What leaves rookie with a model. The formats beside this file know nothing else of a model.

use crate::data::preprocess::Affine;
use crate::data::schema::Schema;
use crate::data::signature::Signature;
use crate::network::mlp::Activation;
use crate::network::params::{Metadata, Params};
use crate::train::model::Model;
use crate::train::provenance::VERSION;

/// A classifier by itself: raw features (N, D) in, probabilities (N, C) out.
#[derive(Debug, Clone)]
pub struct Exported<'a> {
    /// Weights (inputs × outputs) and biases of each layer.
    pub params: &'a Params,
    /// What follows each hidden layer.
    pub activation: Activation,
    /// What makes an input of each raw feature, D.
    pub affine: Vec<Affine>,
    /// What a missing value (NaN) of each feature counts as, D; `None` where none may be missing.
    pub imputed: Option<Vec<f32>>,
    /// The names of the classes, C; the numbers from 0 where they have no others.
    pub labels: Vec<String>,
    /// The names of the features, D; none for images, whose features are pixels.
    pub features: Vec<String>,
    /// The version of rookie, the values of the run, and the epoch and validation accuracy of its weights.
    pub metadata: Metadata,
}

impl<'a> Exported<'a> {
    /// What leaves with a model; `None` where that has no training moments, because an image's inputs then
    /// depend on the other images of its batch.
    pub fn of(model: &'a Model) -> Option<Self> {
        let mut metadata = model.values.to_metadata();
        metadata.insert("rookie".into(), VERSION.into());
        metadata.insert("best_epoch".into(), model.best_epoch.to_string());
        metadata.insert("validation_accuracy".into(), model.validation_accuracy.to_string());
        let Signature { labels, schema } = &model.signature;
        let imputed = &model.preprocessing.imputed;
        Some(Self {
            params: &model.params,
            activation: model.values.activation,
            affine: model.scaling_alone()?.affine()?.to_vec(),
            imputed: schema
                .as_ref()
                .filter(|_| !imputed.is_empty())
                .map(|it| it.stand_ins(imputed)),
            labels: labels.clone(),
            features: schema.as_ref().map_or_else(Vec::new, Schema::feature_names),
            metadata,
        })
    }

    /// The labels as numbers, C, where each one is a whole number as that is usually written.
    pub fn numbers(&self) -> Option<Vec<i64>> {
        let number =
            |label: &String| label.parse().ok().filter(|it: &i64| it.to_string() == *label);
        self.labels.iter().map(number).collect()
    }

    /// The metadata, with the names of classes and features as arrays in JSON.
    pub fn about(&self) -> Metadata {
        let mut about = self.metadata.clone();
        about.insert("labels".into(), serde_json::json!(self.labels).to_string());
        if !self.features.is_empty() {
            about.insert("features".into(), serde_json::json!(self.features).to_string());
        }
        about
    }
}
