//! Stochastic gradient descent (paper 2.3) with exact weight decay, momentum and a step-wise decay
//! of the learning rate. The update is folded into the gradient's product.

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1};

use crate::network::gemm::gemm;
use crate::network::params::Params;

/// What an epoch's updates are made with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// η.
    pub learning_rate: f64,
    /// λ of (λ/2)·ΣW² in the loss, over weights and not biases.
    pub weight_decay: f64,
    /// μ of U ← μ·U + gradient, W ← W − η·U. With 0, no velocity is kept.
    pub momentum: f64,
}

/// The learning rate of an epoch (from 1): multiplied by `lr_decay` after every `lr_decay_every`
/// epochs, so that epochs 1 to `lr_decay_every` have the first rate itself.
pub fn learning_rate_at(
    epoch: usize,
    learning_rate: f64,
    lr_decay: f64,
    lr_decay_every: usize,
) -> f64 {
    let decays = (epoch - 1) / lr_decay_every;
    learning_rate * lr_decay.powi(i32::try_from(decays).unwrap_or(i32::MAX))
}

/// A network in training for an epoch. Its weights are W = s·V: the float32 matrices V, and one
/// float64 scale s for all of them (Bottou, *Stochastic Gradient Descent Tricks*, 2012, section 5.1).
///
/// Decay multiplies s alone. In float32 the factor 1 − η·λ would itself be rounded (λ = 1e-5 at
/// η = 0.05 comes out up to 32 % wrong), and so would each weight at each step. The scale is folded
/// into the weights when this value is dropped, so that all others see plain W.
///
/// Without momentum a step is W ← (1 − η·λ)·W − η·aᵀd, hence s ← (1 − η·λ)·s and V ← V − (η/s)·aᵀd.
///
/// With momentum it is U ← μ·U + aᵀd + λ·W and W ← W − η·U. For the κ that solves
/// η·μ·κ² − (1 − μ − η·λ)·κ + λ = 0, the part κ·W of the velocity decays together with W, and what
/// is left, U′ = U − κ·W, has no decay in it:
///
/// U′ ← (1 + η·κ)·(μ·U′ + aᵀd) and W ← (W − η·U′)/(1 + η·κ), hence s ← s/(1 + η·κ).
///
/// (μ = 0 gives the step without momentum.) Where decay is so strong that weights would swing around
/// zero, no real κ exists. Then κ = 0 and λ·W is added to U′ at each step, which is large enough there
/// for float32 to hold it.
#[derive(Debug)]
pub struct Descent<'p> {
    params: &'p mut Params,           // V
    velocity: Option<&'p mut Params>, // U′, there if μ > 0
    sgd: Sgd,
    kappa: f64,
    remainder: f64, // the part of λ that κ leaves to be added at each step
    scale: f64,
}

/// Where the scale is folded into the weights in the middle of an epoch.
const SCALES: std::ops::RangeInclusive<f64> = 0.5..=2.0;

impl<'p> Descent<'p> {
    /// Begins an epoch. `velocity` is there if μ > 0.
    ///
    /// # Panics
    /// Where η·λ is 1 or more, or where there is a velocity without momentum or none with it.
    pub fn begin(params: &'p mut Params, velocity: Option<&'p mut Params>, sgd: Sgd) -> Self {
        let Sgd { learning_rate: eta, weight_decay: lambda, momentum } = sgd;
        assert!(eta * lambda < 1.0, "η·λ is {}", eta * lambda);
        assert_eq!(velocity.is_some(), momentum > 0.0, "a velocity belongs to momentum");
        let slack = 1.0 - momentum - eta * lambda;
        let discriminant = slack * slack - 4.0 * eta * momentum * lambda;
        let (kappa, remainder) = if discriminant >= 0.0 {
            (2.0 * lambda / (slack + discriminant.sqrt()), 0.0)
        } else {
            (0.0, lambda)
        };
        let mut descent = Self { params, velocity, sgd, kappa, remainder, scale: 1.0 };
        descent.move_velocity(-kappa);
        descent
    }

    /// The matrices V, and biases.
    pub fn stored(&mut self) -> &mut Params {
        self.params
    }

    /// s.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Updates a layer from its input `a` and the gradient `d` of the mean loss with respect to its
    /// output; `d_biases` is the sum of `d` over the batch.
    pub(super) fn update(
        &mut self,
        index: usize,
        a: ArrayView2<'_, f32>,        // (N, inputs)
        d: ArrayView2<'_, f32>,        // (N, outputs)
        d_biases: ArrayView1<'_, f32>, // (outputs)
    ) {
        let Sgd { learning_rate: eta, momentum, .. } = self.sgd;
        let layer = &mut self.params.layers[index];
        let transposed = a.reversed_axes();
        let growth = 1.0 + eta * self.kappa;
        let Some(velocity) = &mut self.velocity else {
            let alpha = -eta * growth / self.scale;
            gemm(alpha as f32, transposed, d, 1.0, layer.weights.view_mut());
            layer.biases.scaled_add(-eta as f32, &d_biases);
            return;
        };
        let velocity = &mut velocity.layers[index];
        let beta = (growth * momentum) as f32;
        gemm(growth as f32, transposed, d, beta, velocity.weights.view_mut());
        let (rate, decay) = ((eta / self.scale) as f32, (self.remainder * self.scale) as f32);
        let weights = layer.weights.as_slice_mut().expect("rows one after the other");
        let speeds = velocity.weights.as_slice_mut().expect("rows one after the other");
        for (weight, speed) in weights.iter_mut().zip(speeds) {
            *speed += decay * *weight;
            *weight -= rate * *speed;
        }
        let (biases, speeds) = (layer.biases.view_mut(), velocity.biases.view_mut());
        step_biases(eta as f32, momentum as f32, d_biases, biases, speeds);
    }

    /// Ends a step, after each layer was updated.
    pub(super) fn end_step(&mut self) {
        self.scale /= 1.0 + self.sgd.learning_rate * self.kappa;
        if !SCALES.contains(&self.scale) {
            self.fold();
        }
    }

    /// V ← s·V, s ← 1.
    fn fold(&mut self) {
        if self.scale == 1.0 {
            return;
        }
        for weight in self.params.layers.iter_mut().flat_map(|layer| &mut layer.weights) {
            *weight = (self.scale * f64::from(*weight)) as f32;
        }
        self.scale = 1.0;
    }

    /// Adds `factor`·W to the velocity; s must be 1.
    fn move_velocity(&mut self, factor: f64) {
        let Some(velocity) = self.velocity.as_mut().filter(|_| factor != 0.0) else { return };
        for (velocity, layer) in velocity.layers.iter_mut().zip(&self.params.layers) {
            velocity.weights.zip_mut_with(&layer.weights, |speed, &weight| {
                *speed = (f64::from(*speed) + factor * f64::from(weight)) as f32;
            });
        }
    }
}

impl Drop for Descent<'_> {
    fn drop(&mut self) {
        self.fold();
        self.move_velocity(self.kappa);
    }
}

fn step_biases(
    rate: f32,
    momentum: f32,
    gradient: ArrayView1<'_, f32>,
    biases: ArrayViewMut1<'_, f32>,
    velocity: ArrayViewMut1<'_, f32>,
) {
    for ((bias, speed), &gradient) in biases.into_iter().zip(velocity).zip(gradient) {
        *speed = momentum * *speed + gradient;
        *bias -= rate * *speed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::params::Layer;
    use ndarray::{Array1, Array2};

    fn matrix(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            ((i * 37 + j * 101 + seed * 17) % 23) as f32 / 7.0 - 1.5
        })
    }

    fn one_layer(weights: Array2<f32>) -> Params {
        let biases = Array1::zeros(weights.ncols());
        Params { layers: vec![Layer { weights, biases }] }
    }

    /// W in effect, in f64: what the products of a step see.
    fn in_effect(descent: &mut Descent<'_>) -> Array2<f64> {
        let scale = descent.scale();
        descent.stored().layers[0].weights.mapv(|weight| scale * f64::from(weight))
    }

    /// The update in its textbook steps, in f64, with the gradient stored.
    fn textbook(
        sgd: Sgd,
        a: &Array2<f32>,
        d: &Array2<f32>,
        w: &mut Array2<f64>,
        u: &mut Array2<f64>,
    ) {
        let (a, d) = (a.mapv(f64::from), d.mapv(f64::from));
        let mut gradient = &*w * sgd.weight_decay;
        for i in 0..w.nrows() {
            for j in 0..w.ncols() {
                for n in 0..a.nrows() {
                    gradient[(i, j)] += a[(n, i)] * d[(n, j)];
                }
            }
        }
        *u = &*u * sgd.momentum + gradient;
        *w -= &(&*u * sgd.learning_rate);
    }

    /// Two epochs of three steps, the second with half the learning rate.
    fn compare(learning_rate: f64, weight_decay: f64, momentum: f64) {
        let mut params = one_layer(matrix(17, 9, 1));
        let mut velocity = params.zeros_like();
        let mut w = params.layers[0].weights.mapv(f64::from);
        let mut u = Array2::<f64>::zeros((17, 9));
        let (mut biases, mut bias_speeds) = (Array1::<f64>::zeros(9), Array1::<f64>::zeros(9));
        for (epoch, learning_rate) in [learning_rate, 0.5 * learning_rate].into_iter().enumerate() {
            let sgd = Sgd { learning_rate, weight_decay, momentum };
            let of_momentum = (momentum > 0.0).then_some(&mut velocity);
            let mut descent = Descent::begin(&mut params, of_momentum, sgd);
            for step in 3 * epoch..3 * epoch + 3 {
                let (a, d) = (matrix(8, 17, 2 + step), matrix(8, 9, 5 + step));
                let d_biases = d.sum_axis(ndarray::Axis(0));
                descent.update(0, a.view(), d.view(), d_biases.view());
                descent.end_step();
                textbook(sgd, &a, &d, &mut w, &mut u);
                bias_speeds = bias_speeds * momentum + d_biases.mapv(f64::from);
                biases = biases - &bias_speeds * learning_rate;
            }
        }
        let near = |found: &f32, expected: &f64| {
            let error = (f64::from(*found) - expected).abs();
            assert!(error < 5e-5, "μ {momentum}, λ {weight_decay}: {found} {expected}");
        };
        params.layers[0].weights.iter().zip(&w).for_each(|(found, w)| near(found, w));
        params.layers[0].biases.iter().zip(&biases).for_each(|(found, b)| near(found, b));
        if momentum > 0.0 {
            velocity.layers[0].weights.iter().zip(&u).for_each(|(found, u)| near(found, u));
        }
    }

    #[test]
    fn scaled_updates_equal_the_textbook_s_at_any_strength_of_decay() {
        for weight_decay in [0.0, 1e-5, 0.01, 2.0, 3.3] {
            compare(0.3, weight_decay, 0.0);
        }
    }

    #[test]
    fn so_do_those_with_momentum_where_decay_swings_weights_around_zero_too() {
        for momentum in [0.1, 0.9, 0.99] {
            for weight_decay in [0.0, 1e-5, 0.01, 0.5] {
                compare(0.3, weight_decay, momentum);
            }
        }
    }

    /// λ as measured: what 1,000 steps without a gradient leave of the weights, under momentum from
    /// a velocity that has come to rest.
    fn measured(sgd: Sgd) -> f64 {
        const STEPS: i32 = 1000;
        let (a, d, none) = (Array2::zeros((1, 6)), Array2::zeros((1, 5)), Array1::zeros(5));
        let Sgd { learning_rate: eta, momentum, .. } = sgd;
        let mut params = one_layer(matrix(6, 5, 1));
        let mut velocity = params.zeros_like();
        let of_momentum = (momentum > 0.0).then_some(&mut velocity);
        let mut descent = Descent::begin(&mut params, of_momentum, sgd);
        let steps = |descent: &mut Descent<'_>, count| {
            for _ in 0..count {
                descent.update(0, a.view(), d.view(), none.view());
                descent.end_step();
            }
        };
        if momentum > 0.0 {
            steps(&mut descent, 2000);
        }
        let before = in_effect(&mut descent);
        steps(&mut descent, STEPS);
        let kept = in_effect(&mut descent).sum() / before.sum();
        // What a step keeps is an eigenvalue of the textbook's step, g² − (1 + μ − η·λ)·g + μ = 0.
        let g = kept.powf(1.0 / f64::from(STEPS));
        (1.0 - g) * (1.0 - momentum / g) / eta
    }

    /// Prints the table in `docs/weight_decay.md`.
    #[test]
    fn weights_decay_by_the_lambda_asked_for_in_all_cases_of_table_1() {
        const LAMBDAS: [f64; 3] = [1e-3, 1e-4, 1e-5];
        let mut cases = 0;
        for first in [0.5, 0.4, 0.3, 0.2, 0.1, 0.05] {
            for (lr_decay, epoch) in
                [0.8, 0.5, 0.3].into_iter().flat_map(|d| [1, 201, 401].map(|e| (d, e)))
            {
                let learning_rate = learning_rate_at(epoch, first, lr_decay, 200);
                let mut row = format!("| {first} | {lr_decay} | {epoch} |");
                for weight_decay in LAMBDAS {
                    for momentum in [0.0, 0.9] {
                        let found = measured(Sgd { learning_rate, weight_decay, momentum });
                        let error = found / weight_decay - 1.0;
                        assert!(
                            error.abs() < 1e-6,
                            "{row} λ {weight_decay}, μ {momentum}: {found}"
                        );
                    }
                    let found = measured(Sgd { learning_rate, weight_decay, momentum: 0.0 });
                    let rounded = 1.0 - f64::from((1.0 - learning_rate * weight_decay) as f32);
                    let before = rounded / learning_rate;
                    row += &format!(
                        " {found:.9e} | {:+.2} % |",
                        100.0 * (before / weight_decay - 1.0)
                    );
                    cases += 1;
                }
                println!("{row}");
            }
        }
        assert_eq!(cases, 162);
    }

    #[test]
    fn folding_the_scale_into_the_weights_does_not_shift_them() {
        let mut params = Params::he_init(&[784, 500], 0);
        let before = params.layers[0].weights.mapv(f64::from);
        // The weakest decay of Table 1, for an epoch.
        let sgd = Sgd { learning_rate: 0.0045, weight_decay: 1e-5, momentum: 0.0 };
        let mut descent = Descent::begin(&mut params, None, sgd);
        (0..108).for_each(|_| descent.end_step());
        drop(descent);
        let kept = (&before * &params.layers[0].weights.mapv(f64::from)).sum();
        let lost = 1.0 - kept / (&before * &before).sum();
        let expected = 1.0 - (1.0_f64 - 0.0045e-5).powi(108);
        // Rounding 392,000 weights by chance leaves an error of about 1e-5 of it.
        assert!((lost / expected - 1.0).abs() < 1e-4, "{lost:e} {expected:e}");
    }

    #[test]
    fn the_learning_rate_decays_after_every_period_and_not_before() {
        let at = |epoch| learning_rate_at(epoch, 0.2, 0.5, 200);
        assert_eq!([at(1), at(200), at(201), at(400), at(401)], [0.2, 0.2, 0.1, 0.1, 0.05]);
        assert_eq!(learning_rate_at(usize::MAX, 0.2, 0.5, 1), 0.0);
    }
}
