//! The training step against a slow reference: a network in f64 and triple loops, its gradients
//! against central differences.

mod support;

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, Axis};
use rookie::bf16::instructions::Precision;
use rookie::data::batches::{Batches, Training, TrainingBatch};
use rookie::data::dataset::Dataset;
use rookie::data::features::Features;
use rookie::data::labelled::Labelled;
use rookie::data::preprocess::Standardisation;
use rookie::network::bf16::PackedNetwork;
use rookie::network::mlp::{Activation, Workspace, train_step};
use rookie::network::params::Params;
use rookie::network::update::{Descent, Update};
use rookie::train::hyperparams::Hyperparams;
use support::is_skipped_without_bf16;

type Batch = (Array2<f32>, Vec<u8>);

/// A network in f64. Simple, slow, correct.
struct Reference {
    layers: Vec<(Array2<f64>, Array1<f64>)>,
    activation: Activation,
}

impl Reference {
    fn new(params: &Params, activation: Activation) -> Self {
        let layers = params.layers.iter();
        let layers = layers.map(|l| (l.weights.mapv(f64::from), l.biases.mapv(f64::from)));
        Self { layers: layers.collect(), activation }
    }

    fn apply(&self, z: f64) -> f64 {
        match self.activation {
            Activation::Relu => z.max(0.0),
            Activation::LeakyRelu => z.max(0.01 * z),
            Activation::Tanh => z.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
        }
    }

    /// The derivative of `apply` at `z`, from its definition.
    fn derivative(&self, z: f64) -> f64 {
        match self.activation {
            Activation::Relu => f64::from(u8::from(z > 0.0)),
            Activation::LeakyRelu => {
                if z > 0.0 {
                    1.0
                } else {
                    0.01
                }
            }
            Activation::Tanh => 1.0 - z.tanh().powi(2),
            Activation::Sigmoid => self.apply(z) * (1.0 - self.apply(z)),
        }
    }

    /// The inputs z of every layer's activation, (N, outputs) each; the last are the logits.
    fn forward(&self, x: &Array2<f32>) -> Vec<Array2<f64>> {
        let mut a = x.mapv(f64::from);
        let mut zs = Vec::new();
        for (weights, biases) in &self.layers {
            let mut z = Array2::zeros((a.nrows(), weights.ncols()));
            for n in 0..a.nrows() {
                for j in 0..weights.ncols() {
                    let dot: f64 = (0..a.ncols()).map(|i| a[(n, i)] * weights[(i, j)]).sum();
                    z[(n, j)] = dot + biases[j];
                }
            }
            a = z.mapv(|z| self.apply(z));
            zs.push(z);
        }
        zs
    }

    /// Mean cross-entropy of a batch plus (λ/2)·ΣW².
    fn loss(&self, (x, labels): &Batch, weight_decay: f64) -> f64 {
        let logits = self.forward(x).pop().unwrap();
        let mut loss = 0.0;
        for (row, &label) in logits.axis_iter(Axis(0)).zip(labels) {
            let sum: f64 = row.iter().map(|z| z.exp()).sum();
            loss += sum.ln() - row[label as usize];
        }
        let squares: f64 = self.layers.iter().map(|(w, _)| w.mapv(|w| w * w).sum()).sum();
        loss / labels.len() as f64 + 0.5 * weight_decay * squares
    }

    /// One step of gradient descent by the chain rule, all gradients before any update.
    fn step(&mut self, (x, labels): &Batch, learning_rate: f64, weight_decay: f64) {
        let zs = self.forward(x);
        let mut d = zs.last().unwrap().clone();
        for (mut row, &label) in d.axis_iter_mut(Axis(0)).zip(labels) {
            let sum: f64 = row.iter().map(|z| z.exp()).sum();
            row.mapv_inplace(|z| z.exp() / sum);
            row[label as usize] -= 1.0;
            row /= labels.len() as f64;
        }
        let mut gradients = Vec::new();
        for index in (0..self.layers.len()).rev() {
            let a = match index {
                0 => x.mapv(f64::from),
                _ => zs[index - 1].mapv(|z| self.apply(z)),
            };
            let weights = &self.layers[index].0;
            let mut d_weights = weights * weight_decay;
            let mut d_a = Array2::<f64>::zeros(a.dim());
            for n in 0..a.nrows() {
                for i in 0..a.ncols() {
                    for j in 0..d.ncols() {
                        d_weights[(i, j)] += a[(n, i)] * d[(n, j)];
                        d_a[(n, i)] += d[(n, j)] * weights[(i, j)];
                    }
                }
            }
            gradients.push((d_weights, d.sum_axis(Axis(0))));
            if index > 0 {
                d = d_a * zs[index - 1].mapv(|z| self.derivative(z));
            }
        }
        for ((weights, biases), (d_weights, d_biases)) in
            self.layers.iter_mut().zip(gradients.into_iter().rev())
        {
            *weights -= &(d_weights * learning_rate);
            *biases -= &(d_biases * learning_rate);
        }
    }
}

fn batch(images: usize, inputs: usize, classes: usize, seed: usize) -> Batch {
    let x = Array2::from_shape_fn((images, inputs), |(i, j)| {
        ((i * 29 + j * 53 + 7 + seed * 3) % 31) as f32 / 12.0 - 1.25
    });
    (x, (0..images).map(|i| ((i * 5 + seed) % classes) as u8).collect())
}

/// A network with biases that are not zero, so that each of their gradients counts.
fn network(sizes: &[usize]) -> Params {
    let mut params = Params::he_init(sizes, 11);
    for layer in &mut params.layers {
        for (index, bias) in layer.biases.iter_mut().enumerate() {
            *bias = 0.1 - 0.05 * (index % 5) as f32;
        }
    }
    params
}

/// Weights and biases of all layers in one row.
fn flat(params: &Params) -> Vec<f64> {
    let layers = params.layers.iter();
    layers.flat_map(|l| l.weights.iter().chain(&l.biases)).map(|&v| f64::from(v)).collect()
}

const DEPTHS: [&[usize]; 4] = [&[5, 3], &[5, 8, 3], &[5, 9, 7, 3], &[5, 8, 4, 9, 3]];

#[test]
fn gradients_equal_central_differences_for_every_activation_and_one_to_four_layers() {
    const STEP: f64 = 1e-6;
    for sizes in DEPTHS {
        for activation in Activation::ALL {
            for weight_decay in [0.0, 0.1] {
                let batch = batch(9, 5, 3, 0);
                let params = network(sizes);
                let mut reference = Reference::new(&params, activation);
                let mut expected = Vec::new();
                for layer in 0..reference.layers.len() {
                    let (weights, biases) = &reference.layers[layer];
                    let (weights, all) = (weights.len(), weights.len() + biases.len());
                    for index in 0..all {
                        let mut loss_at = |change: f64| {
                            let (w, b) = &mut reference.layers[layer];
                            let value = match index.checked_sub(weights) {
                                None => &mut w.as_slice_mut().unwrap()[index],
                                Some(bias) => &mut b[bias],
                            };
                            let before = *value;
                            *value += change;
                            let loss = reference.loss(&batch, weight_decay);
                            let (w, b) = &mut reference.layers[layer];
                            match index.checked_sub(weights) {
                                None => w.as_slice_mut().unwrap()[index] = before,
                                Some(bias) => b[bias] = before,
                            }
                            loss
                        };
                        expected.push((loss_at(STEP) - loss_at(-STEP)) / (2.0 * STEP));
                    }
                }
                // A step with η = 1 takes the gradient itself away.
                let update = Update::Sgd { learning_rate: 1.0, weight_decay, momentum: 0.0 };
                let mut after = params.clone();
                let mut work = Workspace::new(sizes, 9);
                let view = (batch.0.view(), &batch.1[..]);
                let mut slots = after.zero_slots(0);
                let mut descent = Descent::begin(&mut after, &mut slots, update);
                train_step(&mut descent, activation, view, &mut work);
                drop(descent);
                let found = flat(&params).into_iter().zip(flat(&after)).map(|(b, a)| b - a);
                for (index, (found, expected)) in found.zip(expected).enumerate() {
                    assert!(
                        (found - expected).abs() < 2e-6,
                        "{sizes:?} {activation} λ {weight_decay}, number {index}: {found} {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn training_steps_equal_those_of_a_naive_triple_loop() {
    for sizes in DEPTHS {
        for activation in Activation::ALL {
            let mut params = network(sizes);
            let mut reference = Reference::new(&params, activation);
            let mut work = Workspace::new(sizes, 12);
            let update = Update::Sgd { learning_rate: 0.2, weight_decay: 0.01, momentum: 0.0 };
            let mut slots = params.zero_slots(0);
            let mut descent = Descent::begin(&mut params, &mut slots, update);
            // Batches of several sizes in one workspace, a single image among them.
            for (seed, images) in [12, 1, 7, 12].into_iter().enumerate() {
                let batch = batch(images, 5, 3, seed);
                let view = (batch.0.view(), &batch.1[..]);
                let tally = train_step(&mut descent, activation, view, &mut work);
                let expected = reference.loss(&batch, 0.0);
                assert!((tally.loss() - expected).abs() < 1e-5, "{} {expected}", tally.loss());
                reference.step(&batch, 0.2, 0.01);
            }
            drop(descent);
            let expected = reference.layers.iter().flat_map(|(w, b)| w.iter().chain(b));
            for (found, expected) in flat(&params).into_iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{sizes:?} {activation}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn two_hundred_epochs_stay_close_to_those_of_float64() {
    const SIZES: [usize; 4] = [5, 9, 7, 3];
    let batches: Vec<Batch> = (0..4).map(|seed| batch(12, 5, 3, seed)).collect();
    for weight_decay in [1e-3, 1e-4, 1e-5] {
        let update = Update::Sgd { learning_rate: 0.1, weight_decay, momentum: 0.0 };
        let mut params = network(&SIZES);
        let mut reference = Reference::new(&params, Activation::Tanh);
        let mut work = Workspace::new(&SIZES, 12);
        for _ in 0..200 {
            let mut slots = params.zero_slots(0);
            let mut descent = Descent::begin(&mut params, &mut slots, update);
            for batch in &batches {
                let view = (batch.0.view(), &batch.1[..]);
                train_step(&mut descent, Activation::Tanh, view, &mut work);
                reference.step(batch, update.learning_rate(), weight_decay);
            }
        }
        let expected = reference.layers.iter().flat_map(|(w, b)| w.iter().chain(b));
        let errors = flat(&params).into_iter().zip(expected).map(|(found, it)| (found - it).abs());
        let largest = errors.fold(0.0, f64::max);
        println!("λ {weight_decay}: the largest error of a weight is {largest:.2e}");
        assert!(largest < 5e-6, "λ {weight_decay}: {largest:e}");
    }
}

/// How many allocations an epoch of so many steps makes, its batches included.
fn allocations(
    steps: usize,
    standardisation: Standardisation,
    reshuffle: bool,
    precision: Precision,
) -> u64 {
    let images = |count: usize| Labelled {
        height: 6,
        width: 5,
        features: Features::bytes(
            (0..count * 30).map(|pixel| (pixel * pixel * 31 % 251) as u8).collect(),
            30,
        ),
        labels: (0..count).map(|image| (image % 3) as u8).collect(),
    };
    let (train, test) = (images(10 + 8 * steps), images(8));
    let dataset = Dataset::new(train, test).unwrap();
    let values = Hyperparams {
        hidden: vec![16, 12],
        batch_size: 8,
        validation_size: 10.into(),
        standardisation,
        reshuffle,
        precision,
        ..Hyperparams::default()
    };
    let values = values.check().unwrap();
    let batches = Batches::new(&dataset, values.batching()).unwrap();
    assert_eq!(matches!(batches.train, Training::Reshuffled(_)), reshuffle);
    let sizes = values.sizes(30, 3).unwrap();
    let mut params = Params::he_init(&sizes, 0);
    let mut work = Workspace::new(&sizes, 8);
    let with = |instructions| PackedNetwork::new((&sizes, 8, 0), instructions);
    let mut packed = batches.train.packed_for().map(with);
    let mut taken = 0;
    let mut slots = params.zero_slots(0);
    let counted = allocation_counter::measure(|| {
        let update = Update::Sgd { learning_rate: 0.1, weight_decay: 1e-3, momentum: 0.0 };
        let mut descent = Descent::begin(&mut params, &mut slots, update);
        if let Some(packed) = &mut packed {
            packed.load(&mut descent);
        }
        let all = batches.train.visit(2, &mut |batch| {
            match (batch, &mut packed) {
                (TrainingBatch::F32(batch), None) => {
                    train_step(&mut descent, Activation::Relu, batch, &mut work)
                }
                (TrainingBatch::Bf16(x, labels), Some(packed)) => {
                    packed.train_step(&mut descent, Activation::Relu, (x, labels))
                }
                _ => panic!("batches of another precision"),
            };
            taken += 1;
            ControlFlow::Continue(())
        });
        assert!(all.is_continue());
    });
    assert_eq!(taken, steps);
    counted.count_total
}

#[test]
fn a_step_allocates_nothing_whether_its_batch_stays_or_is_made_for_it() {
    let has_bf16 = !is_skipped_without_bf16();
    for precision in Precision::ALL.into_iter().filter(|it| has_bf16 || *it == Precision::F32) {
        for standardisation in Standardisation::ALL {
            for reshuffle in [false, true] {
                let [few, many] =
                    [2, 50].map(|steps| allocations(steps, standardisation, reshuffle, precision));
                let about =
                    format!("{precision:?}, by {standardisation:?}, reshuffle: {reshuffle}");
                assert_eq!(few, many, "{about}");
                assert_eq!(few == 0, !reshuffle, "an epoch's own buffers are counted: {about}");
            }
        }
    }
}
