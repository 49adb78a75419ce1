//! Softmax and cross-entropy (paper eq. 3 and 6), stable at any logits, and their gradient (eq. 5).

use ndarray::{ArrayView1, ArrayViewMut2};

/// What a batch, or many, adds up to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// The sum of the images' cross-entropies, in nats.
    pub loss_sum: f64,
    /// How many images got their own class the highest logit.
    pub correct: usize,
    /// How many images there were.
    pub images: usize,
}

impl Tally {
    /// Adds what another batch came to.
    pub fn add(&mut self, other: Self) {
        self.loss_sum += other.loss_sum;
        self.correct += other.correct;
        self.images += other.images;
    }

    /// The mean cross-entropy in nats.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.images as f64
    }

    /// The fraction of images classified correctly.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images as f64
    }
}

/// Takes the output layer's products (N, C) without their biases, and their labels. Leaves the
/// gradient of the batch's *mean* cross-entropy with respect to the logits, (softmax − one-hot)/N.
pub fn softmax_cross_entropy(
    mut logits: ArrayViewMut2<'_, f32>, // (N, C)
    biases: ArrayView1<'_, f32>,        // (C)
    labels: &[u8],                      // N
) -> Tally {
    let per_image = 1.0 / labels.len() as f32;
    let tally = softmax_rows(logits.view_mut(), biases, Some(labels), |_| {});
    for (mut row, &label) in logits.rows_mut().into_iter().zip(labels) {
        row[label as usize] -= 1.0;
        row *= per_image;
    }
    tally
}

/// Takes the output layer's products (N, C) without their biases, and their labels if they are
/// known. Leaves the probabilities, and shows the class of each row's highest logit to `on_class`.
/// Without labels the tally is empty.
pub fn softmax_rows(
    mut logits: ArrayViewMut2<'_, f32>, // (N, C)
    biases: ArrayView1<'_, f32>,        // (C)
    labels: Option<&[u8]>,              // N
    mut on_class: impl FnMut(usize),
) -> Tally {
    let biases = biases.to_slice().expect("biases are contiguous");
    let values = logits.as_slice_mut().expect("logits are rows one after the other");
    let mut tally = Tally::default();
    for (index, row) in values.chunks_exact_mut(biases.len()).enumerate() {
        let (best, highest) = add_biases(row, biases);
        on_class(best);
        if let Some(labels) = labels {
            let label = labels[index] as usize;
            let below = f64::from(highest) - f64::from(row[label]);
            tally.loss_sum += f64::from(softmax_row(row, highest)) + below;
            tally.correct += usize::from(best == label);
            tally.images += 1;
        } else {
            softmax_row(row, highest);
        }
    }
    tally
}

/// Adds the biases to a row of logits; returns the class of the highest, the first of several, and
/// its logit.
fn add_biases(row: &mut [f32], biases: &[f32]) -> (usize, f32) {
    let (mut best, mut highest) = (0, f32::NEG_INFINITY);
    for (class, (z, &bias)) in row.iter_mut().zip(biases).enumerate() {
        *z += bias;
        if *z > highest {
            (best, highest) = (class, *z);
        }
    }
    (best, highest)
}

/// Turns a row of logits into probabilities and returns ln Σexp(z − highest).
///
/// The highest logit is subtracted first, so that the largest exponential is 1 and the sum at
/// least 1: nothing overflows. The loss is this plus highest − z[label], taken from the logits and
/// not from the probability, whose logarithm would be infinite where it rounds to zero.
fn softmax_row(row: &mut [f32], highest: f32) -> f32 {
    let mut sum = 0.0;
    for z in &mut *row {
        *z = (*z - highest).exp();
        sum += *z;
    }
    let scale = 1.0 / sum;
    for z in row {
        *z *= scale;
    }
    sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array2, array};

    fn run(logits: &Array2<f32>, labels: &[u8]) -> (Tally, Array2<f32>) {
        let mut gradient = logits.clone();
        let biases = Array1::zeros(logits.ncols());
        let tally = softmax_cross_entropy(gradient.view_mut(), biases.view(), labels);
        (tally, gradient)
    }

    #[test]
    fn loss_and_gradient_equal_their_formulas() {
        let logits = array![[1.0, -2.0, 0.5], [0.0, 0.25, 3.0_f32]];
        let biases = array![0.5, 0.0, -1.0_f32];
        let labels = [2, 2];
        let mut gradient = logits.clone();
        let tally = softmax_cross_entropy(gradient.view_mut(), biases.view(), &labels);
        let mut loss = 0.0;
        for (i, &label) in labels.iter().enumerate() {
            let z = (0..3).map(|j| f64::from(logits[(i, j)] + biases[j]));
            let sum: f64 = z.clone().map(f64::exp).sum();
            for (j, z) in z.clone().enumerate() {
                let one_hot = f64::from(u8::from(j == label as usize));
                let expected = (z.exp() / sum - one_hot) / 2.0;
                assert!((f64::from(gradient[(i, j)]) - expected).abs() < 1e-7);
            }
            loss -= (z.clone().nth(label as usize).unwrap().exp() / sum).ln();
        }
        assert!((tally.loss_sum - loss).abs() < 1e-6);
        assert_eq!((tally.correct, tally.images), (1, 2));
    }

    #[test]
    fn extreme_logits_give_finite_loss_and_gradient() {
        let logits = array![[1e30, -1e30, 0.0], [-1e30, -1e30, -1e30], [88.0, 89.0, 1e4_f32]];
        let (tally, gradient) = run(&logits, &[1, 0, 0]);
        assert!((tally.loss_sum - (2e30 + 3_f64.ln() + 9912.0)).abs() < 1e24, "{tally:?}");
        assert!(gradient.iter().all(|value| value.is_finite()), "{gradient}");
        assert_eq!(gradient.row(0), array![1.0 / 3.0, -1.0 / 3.0, 0.0_f32]);
        let (tally, gradient) = run(&array![[200.0, 0.0_f32]], &[0]);
        assert_eq!((tally.loss_sum, tally.correct), (0.0, 1));
        assert_eq!(gradient, array![[0.0, 0.0_f32]]);
    }

    #[test]
    fn a_logit_that_is_no_number_shows_in_the_loss() {
        for bad in [f32::NAN, f32::INFINITY] {
            let (tally, _) = run(&array![[bad, 0.0]], &[1]);
            assert!(!tally.loss_sum.is_finite(), "{tally:?}");
        }
    }

    #[test]
    fn of_equal_logits_the_first_class_wins() {
        let (tally, _) = run(&array![[2.0, 2.0], [2.0, 2.0_f32]], &[0, 1]);
        assert_eq!(tally.correct, 1);
    }
}
