//! Products whose result is known exactly, by which OpenBLAS is tested before it is used.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

/// The sizes m, k and n of products that are tested before the first use. For AVX512, OpenBLAS has
/// kernels of its own for products with m·n·k ≤ 10⁶, so both kinds are tested. The first size is
/// small; the second is large and no multiple of any block; the third is the first layer of a step
/// on 32 images; the others are the last layer's products, forward and backward, for the 216
/// images of an epoch's last batch, which are small.
pub(super) const QUICK_TEST: [[usize; 3]; 6] =
    [[33, 33, 33], [130, 70, 500], [32, 784, 500], [216, 324, 10], [216, 10, 324], [324, 216, 10]];

/// All products of a step on 512 images, those of the first layer and the second on the 216 of an
/// epoch's last batch, and sizes around powers of two.
pub(super) const THOROUGH_TEST: [[usize; 3]; 17] = [
    [512, 784, 500],
    [512, 500, 324],
    [512, 324, 10],
    [512, 10, 324],
    [512, 324, 500],
    [784, 512, 500],
    [500, 512, 324],
    [324, 512, 10],
    [216, 784, 500],
    [784, 216, 500],
    [216, 500, 324],
    [216, 324, 500],
    [500, 216, 324],
    [1, 784, 500],
    [127, 385, 129],
    [257, 63, 1025],
    [1031, 509, 67],
];

/// What products are added to, β·C: nothing, as in a step forward, C, as in the update of weights,
/// or a multiple. OpenBLAS has small-matrix kernels of their own for β = 0, and scales C only where
/// β ≠ 1.
const BETAS: [f32; 3] = [0.0, 1.0, 3.0];

/// The largest elements of A and B.
const LARGEST: (i8, i8) = (8, 9);
/// Of every product that is tested.
const ALPHA: f32 = 2.0;

/// A product C ← α·A·B + β·C.
pub(super) type Gemm =
    fn(f32, ArrayView2<'_, f32>, ArrayView2<'_, f32>, f32, ArrayViewMut2<'_, f32>);

/// Products C ← 2·A·B + β·C of small whole numbers, with A or B stored transposed and each β. No sum
/// exceeds 2²⁴, so that the result is exact in any order of summation.
///
/// Computing one a second time would take longer than the product. Instead C·v is compared with
/// 2·A·(B·v) + β·J·v, where J is all ones, for v = 1, 2, 3, …, n (Freivalds 1977). In float64 that
/// is as exact. It differs where one element of a row is wrong, or two that differ are exchanged.
pub(super) fn exact_products(
    [m, k, n]: [usize; 3],
    (a_transposed, b_transposed): (bool, bool),
    gemm: Gemm,
) -> std::result::Result<(), String> {
    let stored = |rows, columns, is_transposed: bool, largest| {
        if is_transposed {
            whole_numbers(columns, rows, largest).reversed_axes()
        } else {
            whole_numbers(rows, columns, largest)
        }
    };
    let (a, b) = (stored(m, k, a_transposed, LARGEST.0), stored(k, n, b_transposed, LARGEST.1));
    let v: Vec<f64> = (1..=n).map(|column| column as f64).collect();
    let product = times(a.view(), &times(b.view(), &v));
    for beta in BETAS {
        // With β = 0, the contents of C must not be read.
        let before = if beta == 0.0 { f32::NAN } else { 1.0 };
        let mut c = Array2::from_elem((m, n), before);
        gemm(ALPHA, a.view(), b.view(), beta, c.view_mut());
        let added = f64::from(beta) * v.iter().sum::<f64>();
        for (row, (product, found)) in product.iter().zip(times(c.view(), &v)).enumerate() {
            let expected = f64::from(ALPHA) * product + added;
            if found != expected {
                let letter = |transposed| if transposed { 'T' } else { 'N' };
                return Err(format!(
                    "found {found} as a sum over row {row} of the {}{} product {m} × {k} × {n} with \
                     β = {beta}, expected {expected}",
                    letter(a_transposed),
                    letter(b_transposed)
                ));
            }
        }
    }
    Ok(())
}

/// Whole numbers from −`largest` to `largest`, the same on each call, without a period that is short
/// enough to make two rows alike.
fn whole_numbers(rows: usize, columns: usize, largest: i8) -> Array2<f32> {
    // The upper bits of a linear congruential generator.
    let mut state = 1_u32;
    let values = (0..rows * columns).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let count = 2 * u32::from(largest.unsigned_abs()) + 1;
        (((state >> 16) * count) >> 16) as f32 - f32::from(largest)
    });
    Array2::from_shape_vec((rows, columns), values.collect()).expect("its own size")
}

/// A matrix, rows or columns of which are one after the other, times a vector in float64.
fn times(matrix: ArrayView2<'_, f32>, v: &[f64]) -> Vec<f64> {
    if matrix.is_standard_layout() {
        return matrix
            .rows()
            .into_iter()
            .map(|row| dot(row.to_slice().expect("a row"), v))
            .collect();
    }
    let mut product = vec![0.0; matrix.nrows()];
    for (column, v) in matrix.columns().into_iter().zip(v) {
        let column = column.to_slice().expect("a column");
        product.iter_mut().zip(column).for_each(|(sum, &x)| *sum += f64::from(x) * v);
    }
    product
}

/// Several sums side by side take a quarter of the time of one.
fn dot(row: &[f32], v: &[f64]) -> f64 {
    const SUMS: usize = 16;
    let mut sums = [0.0; SUMS];
    for (row, v) in row.chunks(SUMS).zip(v.chunks(SUMS)) {
        for ((sum, &x), v) in sums.iter_mut().zip(row).zip(v) {
            *sum += f64::from(x) * v;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sum_of_a_self_test_is_rounded() {
        for [m, k, n] in QUICK_TEST.into_iter().chain(THOROUGH_TEST) {
            let largest = f32::from(LARGEST.0) * f32::from(LARGEST.1);
            let element = ALPHA * k as f32 * largest + 3.0;
            assert!(element < 2_f32.powi(f32::MANTISSA_DIGITS as i32), "{m} × {k} × {n}");
            let sum = f64::from(element) * (n * (n + 1) / 2) as f64;
            assert!(sum < 2_f64.powi(f64::MANTISSA_DIGITS as i32), "{m} × {k} × {n}");
        }
    }
}
