//! The principal components of the first layer's weights (paper 4.1). The only module that uses LAPACK.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use ndarray_linalg::SVD;

use crate::error::{Error, Result};

/// Principal components, the strongest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Components {
    /// (components, D): orthonormal directions in the space of images, a row each. The entry of
    /// the largest size is positive in each, so that pictures don't flip from run to run.
    pub directions: Array2<f32>,
    /// The share of the total variance that each explains, a fraction.
    pub variance_shares: Array1<f32>,
}

/// The `count` strongest principal components of the columns of `weights` (D, H), each column a
/// point in the space of images, by singular value decomposition of the centred points. At most
/// D, and H − 1.
///
/// # Errors
/// [`Error::Machine`] where LAPACK does not converge.
pub fn principal_components(weights: ArrayView2<'_, f32>, count: usize) -> Result<Components> {
    let points = weights.reversed_axes(); // (H, D)
    let mean = points.mean_axis(Axis(0)).expect("a layer has units");
    let centred = &points - &mean;
    let (_, sizes, directions) = centred
        .svd(false, true)
        .map_err(|error| Error::Machine(format!("the decomposition of W1 failed: {error}")))?;
    let directions = directions.expect("asked for");
    let total: f32 = sizes.iter().map(|size| size * size).sum();
    // Around their mean, H points span H − 1 dimensions at most; a further one would be chance.
    let count = count.min(sizes.len()).min(centred.nrows() - 1);
    let mut directions = directions.slice_move(ndarray::s![..count, ..]);
    for mut direction in directions.rows_mut() {
        let largest =
            direction.iter().copied().fold(0.0, |a: f32, b| if b.abs() > a.abs() { b } else { a });
        if largest < 0.0 {
            direction *= -1.0;
        }
    }
    let share = |size: &f32| if total > 0.0 { size * size / total } else { 0.0 };
    Ok(Components { directions, variance_shares: sizes.iter().take(count).map(share).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn components_of_a_stretched_cloud_are_its_axes_with_their_shares() {
        // Points ±3 along (0.6, 0.8) and ±1 along (−0.8, 0.6), around (5, 7): variances 9 to 1.
        let weights = array![
            [5.0 + 1.8, 5.0 - 1.8, 5.0 - 0.8, 5.0 + 0.8],
            [7.0 + 2.4, 7.0 - 2.4, 7.0 + 0.6, 7.0 - 0.6_f32]
        ];
        let found = principal_components(weights.view(), 20).unwrap();
        let expected = array![[0.6, 0.8], [0.8, -0.6_f32]];
        assert!(
            (&found.directions - &expected).iter().all(|error| error.abs() < 1e-5),
            "{found:?}"
        );
        let shares = array![0.9, 0.1_f32];
        assert!((&found.variance_shares - &shares).iter().all(|error| error.abs() < 1e-5));
    }

    #[test]
    fn the_sign_of_a_component_does_not_depend_on_the_sign_of_the_weights() {
        let weights = Array2::from_shape_fn((6, 4), |(i, j)| ((i * 7 + j * 5) % 11) as f32 - 5.0);
        let found = principal_components(weights.view(), 2).unwrap();
        let negated = principal_components((-&weights).view(), 2).unwrap();
        let difference = &found.directions - &negated.directions;
        assert!(difference.iter().all(|error| error.abs() < 1e-4), "{difference}");
        assert_eq!(found.directions.dim(), (2, 6));
        assert_eq!(principal_components(weights.view(), 9).unwrap().directions.dim(), (3, 6));
    }
}
