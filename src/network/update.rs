//! How a step changes the weights: gradient descent (paper 2.3) with exact weight decay, momentum and
//! a step-wise decay of the learning rate. The update is folded into the gradient's product. Both
//! arithmetics, float32 and bf16, take their factors from here.

use ndarray::{ArrayView1, ArrayView2};

use crate::network::gemm::gemm;
use crate::network::params::{Layer, Params};

/// What an epoch's updates are made with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Update {
    /// Stochastic gradient descent.
    Sgd {
        /// η.
        learning_rate: f64,
        /// λ of (λ/2)·ΣW² in the loss, over weights and not biases.
        weight_decay: f64,
        /// μ of U ← μ·U + gradient, W ← W − η·U. With 0, no velocity is kept.
        momentum: f64,
    },
}

/// The most tensors that an update keeps beside each tensor of a layer.
pub const MAX_SLOTS: usize = 1;

/// What an update keeps beside a tensor, element by element. Slots that it does not need are empty.
pub(super) type SlotsOf<'s> = [&'s mut [f32]; MAX_SLOTS];

impl Update {
    /// How many tensors it keeps beside each tensor of a layer, at most [`MAX_SLOTS`].
    pub fn slots(&self) -> usize {
        match *self {
            Self::Sgd { momentum, .. } => usize::from(momentum > 0.0),
        }
    }

    /// η.
    pub fn learning_rate(&self) -> f64 {
        match *self {
            Self::Sgd { learning_rate, .. } => learning_rate,
        }
    }
}

/// Where the product of a gradient goes, and with which factors: out ← beta·out + alpha·aᵀ·d.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Product {
    pub(super) into: Target,
    pub(super) alpha: f32,
    pub(super) beta: f32,
}

/// A tensor that a gradient is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Weights,
    Slot(usize),
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
    params: &'p mut Params,      // V
    slots: &'p mut [Vec<Layer>], // of each layer: U′ if μ > 0
    now: StepUpdate,
}

/// What the update of a step is made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepUpdate {
    update: Update,
    kappa: f64,
    remainder: f64, // the part of λ that κ leaves to be added at each step
    scale: f64,
}

/// Where the scale is folded into the weights in the middle of an epoch.
const SCALES: std::ops::RangeInclusive<f64> = 0.5..=2.0;

impl<'p> Descent<'p> {
    /// Begins an epoch. `slots` are those of each layer, as many as the update keeps.
    ///
    /// # Panics
    /// Where η·λ is 1 or more, or where a layer has another number of slots.
    pub fn begin(params: &'p mut Params, slots: &'p mut [Vec<Layer>], update: Update) -> Self {
        let Update::Sgd { learning_rate: eta, weight_decay: lambda, momentum } = update;
        assert!(eta * lambda < 1.0, "η·λ is {}", eta * lambda);
        let fits = slots.iter().all(|slots| slots.len() == update.slots());
        assert!(fits && slots.len() == params.layers.len(), "slots belong to an update");
        let slack = 1.0 - momentum - eta * lambda;
        let discriminant = slack * slack - 4.0 * eta * momentum * lambda;
        let (kappa, remainder) = if discriminant >= 0.0 {
            (2.0 * lambda / (slack + discriminant.sqrt()), 0.0)
        } else {
            (0.0, lambda)
        };
        let now = StepUpdate { update, kappa, remainder, scale: 1.0 };
        let mut descent = Self { params, slots, now };
        descent.move_velocity(-kappa);
        descent
    }

    /// The matrices V, and biases.
    pub fn stored(&mut self) -> &mut Params {
        self.params
    }

    /// The matrices V, and biases, with the slots of each layer.
    pub(super) fn stored_with_slots(&mut self) -> (&mut Params, &mut [Vec<Layer>]) {
        (self.params, self.slots)
    }

    /// What the update of the step that comes now is made with.
    pub(super) fn now(&self) -> StepUpdate {
        self.now
    }

    /// s.
    pub fn scale(&self) -> f64 {
        self.now.scale
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
        let now = self.now;
        let Product { into, alpha, beta } = now.product();
        let (layer, slots) = (&mut self.params.layers[index], &mut self.slots[index]);
        let out = match into {
            Target::Weights => &mut layer.weights,
            Target::Slot(slot) => &mut slots[slot].weights,
        };
        gemm(alpha, a.reversed_axes(), d, beta, out.view_mut());
        let [mut of_weights, mut of_biases]: [SlotsOf<'_>; 2] = Default::default();
        let of_each = of_weights.iter_mut().zip(&mut of_biases);
        for (slot, (of_weights, of_biases)) in slots.iter_mut().zip(of_each) {
            (*of_weights, *of_biases) = slot.as_slices_mut();
        }
        let (weights, biases) = layer.as_slices_mut();
        now.finish(weights, of_weights);
        now.finish_biases(biases, of_biases, d_biases.to_slice().expect("contiguous"));
    }

    /// Ends a step, after each layer was updated. Whether the scale is now to be folded.
    #[must_use]
    pub(super) fn end_step(&mut self) -> bool {
        self.now.scale /= 1.0 + self.now.update.learning_rate() * self.now.kappa;
        !SCALES.contains(&self.now.scale)
    }

    /// V ← s·V, s ← 1.
    pub(super) fn fold(&mut self) {
        if self.now.scale == 1.0 {
            return;
        }
        for weight in self.params.layers.iter_mut().flat_map(|layer| &mut layer.weights) {
            *weight = (self.now.scale * f64::from(*weight)) as f32;
        }
        self.now.scale = 1.0;
    }

    /// Adds `factor`·W to the velocity; s must be 1.
    fn move_velocity(&mut self, factor: f64) {
        if factor == 0.0 {
            return;
        }
        for (slots, layer) in self.slots.iter_mut().zip(&self.params.layers) {
            let Some(velocity) = slots.first_mut() else { continue };
            velocity.weights.zip_mut_with(&layer.weights, |speed, &weight| {
                *speed = (f64::from(*speed) + factor * f64::from(weight)) as f32;
            });
        }
    }
}

impl StepUpdate {
    /// What this step does with the product of a gradient. [`StepUpdate::finish`] does the rest.
    pub(super) fn product(self) -> Product {
        let Update::Sgd { learning_rate: eta, momentum, .. } = self.update;
        let growth = 1.0 + eta * self.kappa;
        if self.update.slots() == 0 {
            let alpha = -eta * growth / self.scale;
            return Product { into: Target::Weights, alpha: alpha as f32, beta: 1.0 };
        }
        let (alpha, beta) = (growth as f32, (growth * momentum) as f32);
        Product { into: Target::Slot(0), alpha, beta }
    }

    /// Ends the update of weights, element by element, after [`StepUpdate::product`].
    #[inline(always)]
    pub(super) fn finish(self, weights: &mut [f32], [speeds]: SlotsOf<'_>) {
        let Update::Sgd { learning_rate: eta, .. } = self.update;
        let (rate, decay) = ((eta / self.scale) as f32, (self.remainder * self.scale) as f32);
        for (weight, speed) in weights.iter_mut().zip(speeds) {
            *speed += decay * *weight;
            *weight -= rate * *speed;
        }
    }

    /// Updates biases by their gradient.
    pub(super) fn finish_biases(self, biases: &mut [f32], [speeds]: SlotsOf<'_>, gradient: &[f32]) {
        let Update::Sgd { learning_rate: eta, momentum, .. } = self.update;
        let (eta, momentum) = (eta as f32, momentum as f32);
        if self.update.slots() == 0 {
            biases.iter_mut().zip(gradient).for_each(|(bias, &gradient)| *bias -= eta * gradient);
            return;
        }
        for ((bias, speed), &gradient) in biases.iter_mut().zip(speeds).zip(gradient) {
            *speed = momentum * *speed + gradient;
            *bias -= eta * *speed;
        }
    }
}

impl Drop for Descent<'_> {
    fn drop(&mut self) {
        self.fold();
        self.move_velocity(self.now.kappa);
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

    fn end_step(descent: &mut Descent<'_>) {
        if descent.end_step() {
            descent.fold();
        }
    }

    /// W in effect, in f64: what the products of a step see.
    fn in_effect(descent: &mut Descent<'_>) -> Array2<f64> {
        let scale = descent.scale();
        descent.stored().layers[0].weights.mapv(|weight| scale * f64::from(weight))
    }

    /// The update in its textbook steps, in f64, with the gradient stored.
    fn textbook(
        (learning_rate, weight_decay, momentum): (f64, f64, f64),
        a: &Array2<f32>,
        d: &Array2<f32>,
        w: &mut Array2<f64>,
        u: &mut Array2<f64>,
    ) {
        let (a, d) = (a.mapv(f64::from), d.mapv(f64::from));
        let mut gradient = &*w * weight_decay;
        for i in 0..w.nrows() {
            for j in 0..w.ncols() {
                for n in 0..a.nrows() {
                    gradient[(i, j)] += a[(n, i)] * d[(n, j)];
                }
            }
        }
        *u = &*u * momentum + gradient;
        *w -= &(&*u * learning_rate);
    }

    /// Two epochs of three steps, the second with half the learning rate.
    fn compare(learning_rate: f64, weight_decay: f64, momentum: f64) {
        let mut params = one_layer(matrix(17, 9, 1));
        let mut slots = params.zero_slots(usize::from(momentum > 0.0));
        let mut w = params.layers[0].weights.mapv(f64::from);
        let mut u = Array2::<f64>::zeros((17, 9));
        let (mut biases, mut bias_speeds) = (Array1::<f64>::zeros(9), Array1::<f64>::zeros(9));
        for (epoch, learning_rate) in [learning_rate, 0.5 * learning_rate].into_iter().enumerate() {
            let update = Update::Sgd { learning_rate, weight_decay, momentum };
            let mut descent = Descent::begin(&mut params, &mut slots, update);
            for step in 3 * epoch..3 * epoch + 3 {
                let (a, d) = (matrix(8, 17, 2 + step), matrix(8, 9, 5 + step));
                let d_biases = d.sum_axis(ndarray::Axis(0));
                descent.update(0, a.view(), d.view(), d_biases.view());
                end_step(&mut descent);
                textbook((learning_rate, weight_decay, momentum), &a, &d, &mut w, &mut u);
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
            slots[0][0].weights.iter().zip(&u).for_each(|(found, u)| near(found, u));
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
    fn measured(learning_rate: f64, weight_decay: f64, momentum: f64) -> f64 {
        const STEPS: i32 = 1000;
        let (a, d, none) = (Array2::zeros((1, 6)), Array2::zeros((1, 5)), Array1::zeros(5));
        let mut params = one_layer(matrix(6, 5, 1));
        let update = Update::Sgd { learning_rate, weight_decay, momentum };
        let mut slots = params.zero_slots(update.slots());
        let mut descent = Descent::begin(&mut params, &mut slots, update);
        let steps = |descent: &mut Descent<'_>, count| {
            for _ in 0..count {
                descent.update(0, a.view(), d.view(), none.view());
                end_step(descent);
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
        (1.0 - g) * (1.0 - momentum / g) / learning_rate
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
                        let found = measured(learning_rate, weight_decay, momentum);
                        let error = found / weight_decay - 1.0;
                        assert!(
                            error.abs() < 1e-6,
                            "{row} λ {weight_decay}, μ {momentum}: {found}"
                        );
                    }
                    let found = measured(learning_rate, weight_decay, 0.0);
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
        let update = Update::Sgd { learning_rate: 0.0045, weight_decay: 1e-5, momentum: 0.0 };
        let mut slots = params.zero_slots(0);
        let mut descent = Descent::begin(&mut params, &mut slots, update);
        (0..108).for_each(|_| end_step(&mut descent));
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
