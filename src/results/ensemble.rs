//! Which models average best on the validation set: probabilities in, weights out.

use ndarray::{Array1, Array2, Zip};

use crate::results::evaluation::highest;

/// Whether each image's class is the one with the highest probability (N, C), the first of several.
pub fn hits(probabilities: &Array2<f32>, labels: &[u8]) -> Vec<bool> {
    let rows = probabilities.rows().into_iter().zip(labels);
    rows.map(|(row, &label)| highest(row) == usize::from(label)).collect()
}

/// The fraction of images that are classified correctly.
pub fn accuracy(hits: &[bool]) -> f64 {
    hits.iter().filter(|&&hit| hit).count() as f64 / hits.len() as f64
}

/// Chooses members of an ensemble with replacement: each pick is the model whose probabilities, averaged with
/// those picked before, classify the most images correctly, and of equals the first. After `picks` of them,
/// the ensemble of the picks up to the most correct one is taken, the smallest of equals. Returns how often
/// each model is in it. (Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble Selection from Libraries of
/// Models", ICML 2004.)
///
/// Models come in the order of their preference, each with its probabilities (N, C).
pub fn greedy(models: &[Array2<f32>], labels: &[u8], picks: usize) -> Vec<u32> {
    let Some(first) = models.first() else { return Vec::new() };
    let mut sum = Array2::<f64>::zeros(first.dim());
    let mut picked = Vec::new();
    let mut best = (0, 0); // images classified correctly, by so many picks
    for pick in 1..=picks {
        let correct = |model: &Array2<f32>| {
            let mut mean = Array1::<f32>::zeros(model.ncols());
            let rows = sum.rows().into_iter().zip(model.rows()).zip(labels);
            let is_hit = |((sum, row), &label)| {
                // As `mean` of the predictor rounds it, so that both count the same.
                let of_pick = |mean: &mut f32, &sum: &f64, &it: &f32| {
                    *mean = ((sum + f64::from(it)) / pick as f64) as f32;
                };
                Zip::from(&mut mean).and(sum).and(row).for_each(of_pick);
                highest(mean.view()) == usize::from(label)
            };
            rows.map(is_hit).filter(|&hit| hit).count()
        };
        let counts: Vec<usize> = models.iter().map(correct).collect();
        let most = counts.iter().copied().max().expect("one model at least");
        let model = counts.iter().position(|&count| count == most).expect("it is among them");
        Zip::from(&mut sum).and(&models[model]).for_each(|sum, &it| *sum += f64::from(it));
        picked.push(model);
        if most > best.0 || best.1 == 0 {
            best = (most, pick);
        }
    }
    let mut weights = vec![0; models.len()];
    picked[..best.1].iter().for_each(|&model| weights[model] += 1);
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::predictor::mean;

    /// Probabilities of three classes in tenths, so that many are equal.
    fn models(count: usize, images: usize, seed: u64) -> (Vec<Array2<f32>>, Vec<u8>) {
        let mut state = seed;
        let mut below = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let labels: Vec<u8> = (0..images).map(|_| below(3) as u8).collect();
        let mut model = || {
            let mut all = Array2::zeros((images, 3));
            for mut row in all.rows_mut() {
                let first = below(11);
                let second = below(11 - first);
                for (cell, tenths) in row.iter_mut().zip([first, second, 10 - first - second]) {
                    *cell = tenths as f32 / 10.0;
                }
            }
            all
        };
        ((0..count).map(|_| model()).collect(), labels)
    }

    /// Every ensemble is averaged anew, from all its members.
    fn slow_greedy(models: &[Array2<f32>], labels: &[u8], picks: usize) -> Vec<u32> {
        let correct = |picked: &[usize]| {
            let mean = mean(picked.iter().map(|&model| (models[model].view(), 1)));
            hits(&mean, labels).into_iter().filter(|&hit| hit).count()
        };
        let mut ensembles: Vec<Vec<usize>> = vec![Vec::new()];
        for _ in 0..picks {
            let before = ensembles.last().unwrap();
            let with = |model| before.iter().copied().chain([model]).collect::<Vec<_>>();
            let mut all: Vec<Vec<usize>> = (0..models.len()).map(with).collect();
            all.sort_by_key(|picked| std::cmp::Reverse(correct(picked)));
            ensembles.push(all.swap_remove(0));
        }
        ensembles.remove(0);
        ensembles.sort_by_key(|picked| std::cmp::Reverse(correct(picked)));
        let weight = |model| ensembles[0].iter().filter(|&&it| it == model).count() as u32;
        (0..models.len()).map(weight).collect()
    }

    #[test]
    fn the_greedy_choice_is_that_of_averaging_every_ensemble_anew() {
        let mut repeated = 0;
        for seed in 0..40 {
            let (models, labels) = models(1 + seed as usize % 6, 30, seed);
            let found = greedy(&models, &labels, 7);
            assert_eq!(found, slow_greedy(&models, &labels, 7), "seed {seed}");
            repeated += usize::from(found.iter().any(|&weight| weight > 1));
        }
        assert!(repeated > 5, "models are picked with replacement: {repeated}");
        assert!(greedy(&[], &[], 3).is_empty());
    }

    #[test]
    fn of_equal_models_the_first_is_picked_and_the_smallest_ensemble_kept() {
        let (mut models, labels) = models(2, 30, 3);
        models[1] = models[0].clone();
        assert_eq!(greedy(&models, &labels, 5), [1, 0]);
    }
}
