//! How a model does on every class: precision, recall, F1 and the confusion matrix.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use crate::data::batches::Part;
use crate::error::counted;
use crate::network::loss::Tally;
use crate::network::mlp::{Workspace, probabilities};
use crate::results::tables::{self, percent};
use crate::statistics::wilson_interval;
use crate::train::model::Model;

/// The class of the highest probability, the first of several.
pub fn highest(probabilities: ArrayView1<'_, f32>) -> usize {
    let mut best = 0;
    for (class, &probability) in probabilities.iter().enumerate() {
        if probability > probabilities[best] {
            best = class;
        }
    }
    best
}

/// How a model did on labelled images.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Loss and accuracy over all images.
    pub tally: Tally,
    /// (C, C): how many images of the row's class were taken for the column's.
    pub confusion: Array2<usize>,
    /// What each class shows.
    pub names: Vec<String>,
    /// The images that were taken for another class, the most confident mistakes first; `None` where
    /// there is no model to say how confident it was.
    pub mistakes: Option<Vec<Mistake>>,
}

/// An image that was taken for another class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mistake {
    /// Its place in the part, from 0.
    pub index: usize,
    /// What it shows.
    pub class: usize,
    /// What it was taken for.
    pub taken_for: usize,
    /// The probability that the model gave to that, a fraction.
    pub probability: f32,
}

/// One class's scores; those whose denominator is zero are missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassScores {
    /// Of the images taken for this class, the fraction that are.
    pub precision: Option<f64>,
    /// Of this class's images, the fraction recognised.
    pub recall: Option<f64>,
    /// The harmonic mean of both.
    pub f1: Option<f64>,
    /// The number of this class's images.
    pub images: usize,
}

impl Evaluation {
    /// Runs a model over a part.
    pub fn measure(model: &Model, part: &Part, names: Vec<String>) -> Self {
        let mut work = Workspace::new(&model.params.sizes(), part.largest_batch());
        let mut evaluation = Self::of_none(names);
        let activation = model.values.activation;
        for (x, labels) in part.batches() {
            let (found, tally) =
                probabilities(&model.params, activation, x, Some(labels), &mut work);
            evaluation.add(found, labels, tally);
        }
        evaluation.sorted()
    }

    /// From the probabilities (N, C) of labelled images. One of zero counts as the least that float32 holds,
    /// so that the loss is finite.
    pub fn of_probabilities(found: &Array2<f32>, labels: &[u8], names: Vec<String>) -> Self {
        let mut tally = Tally { images: labels.len(), ..Tally::default() };
        for (row, &label) in found.rows().into_iter().zip(labels) {
            let probability = row[usize::from(label)].max(f32::MIN_POSITIVE);
            tally.loss_sum -= f64::from(probability).ln();
            tally.correct += usize::from(highest(row) == usize::from(label));
        }
        let mut evaluation = Self::of_none(names);
        evaluation.add(found.view(), labels, tally);
        evaluation.sorted()
    }

    fn of_none(names: Vec<String>) -> Self {
        let confusion = Array2::zeros((names.len(), names.len()));
        Self { tally: Tally::default(), confusion, names, mistakes: Some(Vec::new()) }
    }

    /// Adds images with their probabilities (N, C), and what they add up to.
    fn add(&mut self, found: ArrayView2<'_, f32>, labels: &[u8], tally: Tally) {
        let before = self.tally.images;
        self.tally.add(tally);
        for (index, (row, &label)) in (before..).zip(found.rows().into_iter().zip(labels)) {
            let (class, taken_for) = (label as usize, highest(row));
            if class != taken_for {
                let probability = row[taken_for];
                let mistake = Mistake { index, class, taken_for, probability };
                self.mistakes.get_or_insert_default().push(mistake);
            }
            self.confusion[(class, taken_for)] += 1;
        }
    }

    /// The most confident mistakes first.
    fn sorted(mut self) -> Self {
        // A stable sort: equally confident ones stay in the part's order.
        self.mistakes.iter_mut().for_each(|all| {
            all.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        });
        self
    }

    /// From the class that each image was taken for, the one that it shows, and the mean loss.
    pub fn by_predictions(
        predictions: &[u8],
        labels: &[u8],
        loss: f64,
        names: Vec<String>,
    ) -> Self {
        let mut confusion = Array2::zeros((names.len(), names.len()));
        for (&class, &taken_for) in labels.iter().zip(predictions) {
            confusion[(class as usize, taken_for as usize)] += 1;
        }
        let images = labels.len();
        let tally =
            Tally { loss_sum: loss * images as f64, correct: confusion.diag().sum(), images };
        Self { tally, confusion, names, mistakes: None }
    }

    /// The scores of a class.
    pub fn class(&self, class: usize) -> ClassScores {
        let hits = self.confusion[(class, class)] as f64;
        let images = self.confusion.index_axis(Axis(0), class).sum();
        let taken_for = self.confusion.index_axis(Axis(1), class).sum();
        let fraction = |of: f64| (of > 0.0).then(|| hits / of);
        let f1 = (images + taken_for > 0).then(|| 2.0 * hits / (images + taken_for) as f64);
        ClassScores {
            precision: fraction(taken_for as f64),
            recall: fraction(images as f64),
            f1,
            images,
        }
    }

    /// `classes.csv`: `class,name,precision,recall,f1,images`, fractions.
    pub fn classes_csv(&self) -> Vec<u8> {
        let mut rows =
            vec![["class", "name", "precision", "recall", "f1", "images"].map(String::from)];
        for (class, name) in self.names.iter().enumerate() {
            let scores = self.class(class);
            let fraction = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.6}"));
            rows.push([
                class.to_string(),
                name.clone(),
                fraction(scores.precision),
                fraction(scores.recall),
                fraction(scores.f1),
                scores.images.to_string(),
            ]);
        }
        tables::csv(&rows[0][..], &rows[1..])
    }

    /// `confusion.csv`: `class,name,taken_for_0,…`, counts of images.
    pub fn confusion_csv(&self) -> Vec<u8> {
        let classes = self.names.len();
        let mut header = vec!["class".to_string(), "name".to_string()];
        header.extend((0..classes).map(|class| format!("taken_for_{class}")));
        let mut rows = vec![header];
        for ((class, name), counts) in self.names.iter().enumerate().zip(self.confusion.rows()) {
            let mut row = vec![class.to_string(), name.clone()];
            row.extend(counts.iter().map(ToString::to_string));
            rows.push(row);
        }
        tables::csv(&rows[0][..], &rows[1..])
    }

    /// Everything as text for the terminal. `alone` is the accuracy with images standardised with the
    /// training moments, where that is another one. With a `caution`, the accuracy is no estimate for new
    /// images and has no interval. `noun` is what was classified, "image" or "row"; `width` is that of the
    /// terminal, if it is one.
    pub fn describe(
        &self,
        alone: Option<f64>,
        caution: Option<&str>,
        noun: &str,
        width: Option<usize>,
    ) -> String {
        let accuracy = self.tally.accuracy();
        let (low, high) = wilson_interval(accuracy, self.tally.images);
        let interval = match caution {
            None => format!(" (95 % interval {:.2} to {:.2} %)", 100.0 * low, 100.0 * high),
            Some(_) => String::new(),
        };
        let caution = caution.map(|text| format!("          {text}\n")).unwrap_or_default();
        let alone = alone.map_or_else(String::new, |alone| {
            let how = "standardised with the training moments, as `rookie predict` does";
            format!("          {} {how}\n", percent(alone))
        });
        format!(
            "loss      {:.4}\naccuracy  {}{interval}, {} of {}\n{caution}{}\n\
             {}\n\nConfusion matrix: rows are true classes, columns predicted ones\n{}",
            self.tally.loss(),
            percent(accuracy),
            self.tally.correct,
            counted(self.tally.images, noun),
            alone,
            self.classes_table(noun, width),
            self.confusion_table(width),
        )
    }

    fn classes_table(&self, noun: &str, width: Option<usize>) -> String {
        let count = if noun == "row" { "Rows" } else { "Images" };
        let mut rows = vec![["Class", "Precision", "Recall", "F1", count].map(String::from)];
        for (class, name) in self.names.iter().enumerate() {
            let scores = self.class(class);
            let fraction = |value: Option<f64>| value.map_or("–".into(), percent);
            rows.push([
                Self::label(class, name),
                fraction(scores.precision),
                fraction(scores.recall),
                fraction(scores.f1),
                scores.images.to_string(),
            ]);
        }
        tables::fitting(&rows[0][..], &rows[1..], width, &["Images", "F1"])
    }

    fn confusion_table(&self, width: Option<usize>) -> String {
        let mut header = vec!["Class".to_string()];
        header.extend((0..self.names.len()).map(|class| class.to_string()));
        let mut rows = vec![header];
        for ((class, name), counts) in self.names.iter().enumerate().zip(self.confusion.rows()) {
            let mut row = vec![Self::label(class, name)];
            row.extend(counts.iter().map(ToString::to_string));
            rows.push(row);
        }
        tables::fitting(&rows[0][..], &rows[1..], width, &[])
    }

    /// `3 Dress`; the number alone where the class has no other name.
    fn label(class: usize, name: &str) -> String {
        let number = class.to_string();
        if name == number { number } else { format!("{number} {name}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn class_scores_follow_from_the_confusion_matrix() {
        let evaluation = Evaluation {
            tally: Tally { loss_sum: 1.0, correct: 9, images: 12 },
            confusion: array![[6, 2, 0], [1, 3, 0], [0, 0, 0]],
            names: ["a", "b", "2"].map(String::from).to_vec(),
            mistakes: None,
        };
        let scores = evaluation.class(0);
        assert_eq!((scores.precision, scores.recall), (Some(6.0 / 7.0), Some(0.75)));
        assert_eq!((scores.f1, scores.images), (Some(0.8), 8));
        let empty = evaluation.class(2);
        assert_eq!((empty.precision, empty.recall, empty.f1), (None, None, None));
        let csv = String::from_utf8(evaluation.confusion_csv()).unwrap();
        assert_eq!(csv.lines().nth(1), Some("0,a,6,2,0"));
        let csv = String::from_utf8(evaluation.classes_csv()).unwrap();
        assert_eq!(csv.lines().nth(3), Some("2,2,,,,0"));
    }
}
