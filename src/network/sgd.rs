//! Stochastic gradient descent (paper 2.3) with weight decay, momentum and a step-wise decay of
//! the learning rate. The update is folded into the gradient's product.

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1};

use crate::network::gemm::gemm;
use crate::network::params::Layer;

/// What an epoch's updates are made with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// η.
    pub learning_rate: f64,
    /// λ of (λ/2)·ΣW² in the loss, over weights and not biases.
    pub weight_decay: f64,
    /// μ of V ← μ·V + gradient, W ← W − η·V. With 0, no velocity is kept.
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

/// Updates one layer from its input `a` and the gradient `d` of the mean loss with respect to its
/// output; `d_biases` is the sum of `d` over the batch. `velocity` is there if μ > 0.
///
/// Without momentum, the gradient aᵀ·d is never stored: W ← (1 − η·λ)·W − η·aᵀ·d is one product
/// with α = −η and β = 1 − η·λ. With momentum, V ← μ·V + aᵀ·d is the product, and one pass adds
/// λ·W to V and takes η·V from W.
pub fn update(
    sgd: Sgd,
    a: ArrayView2<'_, f32>,        // (N, inputs)
    d: ArrayView2<'_, f32>,        // (N, outputs)
    d_biases: ArrayView1<'_, f32>, // (outputs)
    layer: &mut Layer,
    velocity: Option<&mut Layer>,
) {
    let rate = sgd.learning_rate as f32;
    let transposed = a.reversed_axes();
    let Some(velocity) = velocity else {
        let keep = (1.0 - sgd.learning_rate * sgd.weight_decay) as f32;
        gemm(-rate, transposed, d, keep, layer.weights.view_mut());
        layer.biases.scaled_add(-rate, &d_biases);
        return;
    };
    let (momentum, decay) = (sgd.momentum as f32, sgd.weight_decay as f32);
    gemm(1.0, transposed, d, momentum, velocity.weights.view_mut());
    let weights = layer.weights.as_slice_mut().expect("rows one after the other");
    let speeds = velocity.weights.as_slice_mut().expect("rows one after the other");
    for (weight, speed) in weights.iter_mut().zip(speeds) {
        *speed += decay * *weight;
        *weight -= rate * *speed;
    }
    step_biases(rate, momentum, d_biases, layer.biases.view_mut(), velocity.biases.view_mut());
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
    use ndarray::{Array1, Array2};

    fn matrix(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            ((i * 37 + j * 101 + seed * 17) % 23) as f32 / 7.0 - 1.5
        })
    }

    /// The update in its textbook steps, in f64, with the gradient stored.
    fn unfolded(
        sgd: Sgd,
        a: &Array2<f32>,
        d: &Array2<f32>,
        w: &Array2<f64>,
        v: &mut Array2<f64>,
    ) -> Array2<f64> {
        let (a, d) = (a.mapv(f64::from), d.mapv(f64::from));
        let mut gradient = Array2::<f64>::zeros(w.dim());
        for i in 0..w.nrows() {
            for j in 0..w.ncols() {
                for n in 0..a.nrows() {
                    gradient[(i, j)] += a[(n, i)] * d[(n, j)];
                }
                gradient[(i, j)] += sgd.weight_decay * w[(i, j)];
            }
        }
        *v = &*v * sgd.momentum + gradient;
        w - &(&*v * sgd.learning_rate)
    }

    fn compare(momentum: f64) {
        let sgd = Sgd { learning_rate: 0.3, weight_decay: 0.01, momentum };
        let mut layer = Layer { weights: matrix(17, 9, 1), biases: Array1::zeros(9) };
        let mut velocity = Layer { weights: Array2::zeros((17, 9)), biases: Array1::zeros(9) };
        let mut expected = layer.weights.mapv(f64::from);
        let mut expected_velocity = Array2::<f64>::zeros((17, 9));
        let mut expected_biases = Array1::<f64>::zeros(9);
        let mut bias_velocity = Array1::<f64>::zeros(9);
        for step in 0..3 {
            let (a, d) = (matrix(8, 17, 2 + step), matrix(8, 9, 5 + step));
            let d_biases = d.sum_axis(ndarray::Axis(0));
            let velocity = (momentum > 0.0).then_some(&mut velocity);
            update(sgd, a.view(), d.view(), d_biases.view(), &mut layer, velocity);
            expected = unfolded(sgd, &a, &d, &expected, &mut expected_velocity);
            bias_velocity = bias_velocity * momentum + d_biases.mapv(f64::from);
            expected_biases = expected_biases - &bias_velocity * sgd.learning_rate;
        }
        for (found, expected) in layer.weights.iter().zip(&expected) {
            assert!((f64::from(*found) - expected).abs() < 2e-5, "{found} {expected}");
        }
        for (found, expected) in layer.biases.iter().zip(&expected_biases) {
            assert!((f64::from(*found) - expected).abs() < 2e-5, "{found} {expected}");
        }
    }

    #[test]
    fn the_folded_update_equals_the_unfolded_one() {
        compare(0.0);
    }

    #[test]
    fn the_update_with_momentum_equals_its_textbook_steps() {
        compare(0.9);
    }

    #[test]
    fn the_learning_rate_decays_after_every_period_and_not_before() {
        let at = |epoch| learning_rate_at(epoch, 0.2, 0.5, 200);
        assert_eq!([at(1), at(200), at(201), at(400), at(401)], [0.2, 0.2, 0.1, 0.1, 0.05]);
        assert_eq!(learning_rate_at(usize::MAX, 0.2, 0.5, 1), 0.0);
    }
}
