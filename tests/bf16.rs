//! Training steps in bf16 against a slow reference in float64 that rounds to bf16 at the same places.

mod support;

use ndarray::{Array1, Array2, Axis};
use rookie::bf16::images::PackedImages;
use rookie::bf16::instructions::Instructions;
use rookie::bf16::room::Room;
use rookie::bf16::tiles::{to_bf16, to_f32};
use rookie::network::bf16::PackedNetwork;
use rookie::network::mlp::Activation;
use rookie::network::params::Params;
use rookie::network::update::{Descent, Update};
use support::is_skipped_without_bf16;

/// The emulation, and the instructions that this machine has.
fn testable() -> impl Iterator<Item = Instructions> {
    let found = Instructions::of_processor();
    is_skipped_without_bf16();
    [Instructions::Emulated].into_iter().chain(found)
}

fn rounded(matrix: &Array2<f64>) -> Array2<f64> {
    matrix.mapv(|number| f64::from(to_f32(to_bf16(number as f32))))
}

/// A network in f64, whose weights are a scale times matrices V, as they are in training.
struct Reference {
    layers: Vec<(Array2<f64>, Array1<f64>)>, // V, biases
    velocity: Vec<(Array2<f64>, Array1<f64>)>,
    scale: f64,
}

impl Reference {
    fn new(params: &Params) -> Self {
        let layers = params.layers.iter();
        let layers = layers.map(|l| (l.weights.mapv(f64::from), l.biases.mapv(f64::from)));
        let layers: Vec<_> = layers.collect();
        let zeros = |(w, b): &(Array2<f64>, Array1<f64>)| (w * 0.0, b * 0.0);
        Self { velocity: layers.iter().map(zeros).collect(), layers, scale: 1.0 }
    }

    fn apply(activation: Activation, z: f64) -> f64 {
        match activation {
            Activation::Relu => z.max(0.0),
            Activation::LeakyRelu => z.max(0.01 * z),
            Activation::Tanh => z.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
        }
    }

    /// The derivative from the output, which is rounded.
    fn derivative(activation: Activation, a: f64) -> f64 {
        match activation {
            Activation::Relu => f64::from(u8::from(a > 0.0)),
            Activation::LeakyRelu if a > 0.0 => 1.0,
            Activation::LeakyRelu => 0.01,
            Activation::Tanh => 1.0 - a * a,
            Activation::Sigmoid => a * (1.0 - a),
        }
    }

    /// A step with weight decay or with momentum; the mean loss before it.
    fn step(
        &mut self,
        activation: Activation,
        (x, labels): (&Array2<f32>, &[u8]),
        (rate, weight_decay, momentum): (f64, f64, f64),
    ) -> f64 {
        assert!(weight_decay == 0.0 || momentum == 0.0, "not both");
        let last = self.layers.len() - 1;
        let mut inputs = vec![rounded(&x.mapv(f64::from))];
        let mut d = Array2::zeros((0, 0));
        for (index, (v, biases)) in self.layers.iter().enumerate() {
            let z = inputs[index].dot(&rounded(v)) * self.scale + biases;
            if index < last {
                inputs.push(rounded(&z.mapv(|z| Self::apply(activation, z))));
            } else {
                d = z;
            }
        }
        let mut loss = 0.0;
        for (mut row, &label) in d.axis_iter_mut(Axis(0)).zip(labels) {
            let sum: f64 = row.iter().map(|z| z.exp()).sum();
            loss += sum.ln() - row[label as usize];
            row.mapv_inplace(|z| z.exp() / sum);
            row[label as usize] -= 1.0;
            row /= labels.len() as f64;
        }
        let kept = 1.0 - rate * weight_decay;
        for index in (0..=last).rev() {
            let d_biases = d.sum_axis(Axis(0));
            let d_rounded = rounded(&d);
            let gradient = inputs[index].t().dot(&d_rounded);
            if index > 0 {
                let slopes = inputs[index].mapv(|a| Self::derivative(activation, a));
                d = d_rounded.dot(&rounded(&self.layers[index].0).t()) * self.scale * slopes;
            }
            let ((v, biases), (u, u_biases)) = (&mut self.layers[index], &mut self.velocity[index]);
            *u = &*u * momentum + gradient;
            *u_biases = &*u_biases * momentum + d_biases;
            *v -= &(&*u * (rate / (self.scale * kept)));
            *biases -= &(&*u_biases * rate);
        }
        self.scale *= kept;
        if self.scale < 0.5 {
            self.layers.iter_mut().for_each(|(v, _)| *v *= self.scale);
            self.scale = 1.0;
        }
        loss / labels.len() as f64
    }
}

fn batch(images: usize, inputs: usize, classes: usize, seed: usize) -> (Array2<f32>, Vec<u8>) {
    let x = Array2::from_shape_fn((images, inputs), |(i, j)| {
        ((i * 29 + j * 53 + i * j * 7 + seed * 3) % 31) as f32 / 12.3 - 1.25
    });
    (x, (0..images).map(|i| ((i * 5 + seed) % classes) as u8).collect())
}

/// Several steps in both, on batches of several sizes in the same buffers.
fn compare(
    sizes: &[usize],
    activation: Activation,
    strength: (f64, f64, f64),
    instructions: Instructions,
) {
    let about = format!("{sizes:?} {activation} {strength:?} {instructions}");
    let (learning_rate, weight_decay, momentum) = strength;
    let (inputs, classes) = (sizes[0], sizes[sizes.len() - 1]);
    let mut params = Params::he_init(sizes, 11);
    for layer in &mut params.layers {
        for (index, bias) in layer.biases.iter_mut().enumerate() {
            *bias = 0.1 - 0.05 * (index % 5) as f32;
        }
    }
    let mut reference = Reference::new(&params);
    let update = Update::Sgd { learning_rate, weight_decay, momentum };
    let mut slots = params.zero_slots(update.slots());
    let mut descent = Descent::begin(&mut params, &mut slots, update);
    let mut net = PackedNetwork::new((sizes, 70, update.slots()), instructions);
    let mut packed = PackedImages::with_room(70, inputs, &mut Room::default());
    net.load(&mut descent);
    for (seed, images) in [70, 1, 33, 64].into_iter().enumerate() {
        let (x, labels) = batch(images, inputs, classes, seed);
        packed.pack(x.view(), instructions);
        let tally = net.train_step(&mut descent, activation, (&packed, &labels));
        let expected = reference.step(activation, (&x, &labels), strength);
        let error = (tally.loss() / expected - 1.0).abs();
        assert!(error < 1e-4, "{about}: a loss of {} and not {expected}", tally.loss());
        assert_eq!(tally.images, images);
    }
    net.store(&mut descent);
    drop(descent);
    let scale = reference.scale;
    let expected = reference
        .layers
        .iter()
        .flat_map(|(v, b)| v.iter().map(move |v| v * scale).chain(b.iter().copied()));
    let found = params.layers.iter().flat_map(|l| l.weights.iter().chain(&l.biases));
    let errors: Vec<f64> = found.zip(expected).map(|(&it, e)| (f64::from(it) - e).abs()).collect();
    let largest = errors.iter().copied().fold(0.0, f64::max);
    let many = errors.iter().filter(|&&error| error > 2e-6).count() as f64 / errors.len() as f64;
    println!("{about}: largest error {largest:.1e}, above 2e-6: {:.2} %", 100.0 * many);
    assert!(largest < 2e-4 && many < 0.01, "{about}: {largest:e}, {many}");
}

#[test]
fn steps_equal_those_of_float64_that_rounds_at_the_same_places() {
    for instructions in testable() {
        for sizes in [&[5, 3][..], &[37, 40, 3], &[37, 33, 17, 33], &[16, 15, 1, 31, 5]] {
            for activation in Activation::ALL {
                for strength in [(0.2, 0.0, 0.0), (0.2, 0.3, 0.0), (0.2, 2.0, 0.0), (0.1, 0.0, 0.9)]
                {
                    compare(sizes, activation, strength, instructions);
                }
            }
        }
    }
}
