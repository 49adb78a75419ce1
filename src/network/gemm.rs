//! Matrix products. The only module that calls OpenBLAS.
//!
//! `ndarray` hands a product to `cblas_sgemm` only if a dimension exceeds seven and every operand
//! has a layout that BLAS can name; otherwise it falls back to a kernel of its own without a word
//! (a view of a single row is such a case). [`gemm`] closes that gap: it brings every operand into
//! canonical strides, panics on one that has none, and calls `cblas_sgemm` itself where `ndarray`
//! would not. So whatever is multiplied in rookie is multiplied by OpenBLAS.
//!
//! OpenBLAS runs one thread a caller: rookie's workers are the threads. With that, results are
//! bit-identical from run to run and for any number of workers.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use crate::error::{Error, Result};
use crate::memory::{PRODUCTS, Room, Size};
use crate::network::self_test::{QUICK_TEST, THOROUGH_TEST, exact_products};

// Link OpenBLAS, which only these crates name.
extern crate blas_src as _;
extern crate openblas_src as _;

unsafe extern "C" {
    fn openblas_get_config() -> *const c_char;
    fn openblas_get_corename() -> *const c_char;
    fn openblas_set_num_threads(threads: c_int);
    fn openblas_get_num_threads() -> c_int;
    fn openblas_get_parallel() -> c_int;
}

/// `ndarray` calls BLAS only if a dimension is larger than this.
const NDARRAY_CUTOFF: usize = 7;

/// The OpenBLAS that this process runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBlas {
    /// Version and build options, `OpenBLAS 0.3.21 DYNAMIC_ARCH …`.
    pub build: String,
    /// The kernels that it chose for this processor, `Haswell` or `SkylakeX`. Another choice gives
    /// other bits.
    pub core: String,
    /// The file of the shared library.
    pub library: String,
}

/// What `openblas_get_parallel` returns for a build whose threads are OpenMP's.
const OPENMP: c_int = 2;

/// Checks the BLAS underneath once, sets it to one thread, and describes it. Every thread that
/// multiplies must have called this, as a build with OpenMP counts threads for each caller.
///
/// # Errors
/// [`Error::Machine`] where `cblas_sgemm` does not come from the same library as OpenBLAS's own
/// functions, where it does not obey the thread count, or where it multiplies wrongly.
pub fn openblas() -> Result<&'static OpenBlas> {
    static OPENBLAS: OnceLock<std::result::Result<OpenBlas, String>> = OnceLock::new();
    let found = OPENBLAS.get_or_init(inspect);
    // SAFETY: both take and return plain numbers, and no product of this thread is in progress.
    unsafe {
        if openblas_get_parallel() == OPENMP {
            openblas_set_num_threads(1);
        }
    }
    found.as_ref().map_err(|problem| Error::Machine(problem.clone()))
}

fn inspect() -> std::result::Result<OpenBlas, String> {
    let library = library_of(cblas_sys::cblas_sgemm as *const c_void);
    let own = library_of(openblas_get_config as *const c_void);
    if library != own {
        return Err(format!(
            "cblas_sgemm comes from {library}, but OpenBLAS is {own}: unset LD_PRELOAD and other \
             overrides, as rookie's results are exact only with OpenBLAS"
        ));
    }
    let (core, build) = core_and_build();
    if let Some(left) = Room::now().addresses.filter(|left| left.bytes < PRODUCTS) {
        return Err(format!(
            "OpenBLAS needs {} to multiply, but {left}; raise the limit",
            Size(PRODUCTS)
        ));
    }
    // SAFETY: the one sets a number in the library, before any product has started, and the other
    // returns it.
    let threads = unsafe {
        openblas_set_num_threads(1);
        openblas_get_num_threads()
    };
    if threads != 1 {
        return Err(format!("OpenBLAS uses {threads} threads although it was set to one"));
    }
    let found = OpenBlas { build, core, library };
    self_test(&found, &QUICK_TEST)?;
    Ok(found)
}

/// Tests OpenBLAS with more products: those of a training step on 512 images, and odd sizes.
///
/// # Errors
/// [`Error::Machine`] where one is wrong, and as [`openblas`].
pub fn thorough_test() -> Result<()> {
    self_test(openblas()?, &THOROUGH_TEST).map_err(Error::Machine)
}

/// The core whose kernels OpenBLAS uses, `Haswell`, and how it was built, `OpenBLAS 0.3.21 …`. Both
/// stand from the start of the process.
pub fn core_and_build() -> (String, String) {
    // SAFETY: both functions take no argument and return a string that lives as long as the
    // library.
    let (core, build) =
        unsafe { (CStr::from_ptr(openblas_get_corename()), CStr::from_ptr(openblas_get_config())) };
    let text = |text: &CStr| text.to_string_lossy().trim().to_string();
    (text(core), text(build))
}

/// The path of the shared library that holds a function.
fn library_of(function: *const c_void) -> String {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: `info` outlives the call, and the name that it returns lives as long as the library,
    // which is linked and never unloaded.
    unsafe {
        if libc::dladdr(function, &raw mut info) == 0 || info.dli_fname.is_null() {
            return "the program itself".to_string();
        }
        CStr::from_ptr(info.dli_fname).to_string_lossy().into_owned()
    }
}

/// Tests products of every layout and β.
fn self_test(blas: &OpenBlas, sizes: &[[usize; 3]]) -> std::result::Result<(), String> {
    for &size in sizes {
        for transposed in [(false, false), (false, true), (true, false)] {
            exact_products(size, transposed, gemm).map_err(|problem| {
                let OpenBlas { build, core, library } = blas;
                format!(
                    "{build} in {library} multiplies wrongly with its {core} kernels: {problem}"
                )
            })?;
        }
    }
    Ok(())
}

/// C ← α·A·B + β·C with A (m, k), B (k, n) and C (m, n), by OpenBLAS.
///
/// A and B are rows one after the other, or such an array seen transposed (`reversed_axes`), which
/// costs no copy. C is rows one after the other. With β = 0 the old contents of C are not read.
///
/// # Panics
/// Where shapes do not fit together or a layout is neither of these: errors of the program, which
/// must not become a silently slower product.
pub fn gemm(
    alpha: f32,
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    beta: f32,
    c: ArrayViewMut2<'_, f32>,
) {
    let ((m, k), n) = (a.dim(), b.ncols());
    assert!(b.nrows() == k && c.dim() == (m, n), "gemm: {:?} · {:?}", a.dim(), b.dim());
    assert!(m.max(n).max(k) <= c_int::MAX as usize, "gemm: a dimension exceeds 32 bits");
    let (a, b) = (canonical(a), canonical(b));
    let out = c.into_slice().expect("gemm: the output is not rows one after the other");
    let mut c = ArrayViewMut2::from_shape((m, n), out).expect("its own shape");
    if m.max(n).max(k) > NDARRAY_CUTOFF {
        general_mat_mul(alpha, &a, &b, beta, &mut c);
    } else {
        tiny_gemm(alpha, a, b, beta, c);
    }
}

/// The same elements with strides that BLAS can name, also where an axis has length one (slices
/// of a single row have stride zero there).
fn canonical(view: ArrayView2<'_, f32>) -> ArrayView2<'_, f32> {
    let (rows, columns) = view.dim();
    let strides = (view.strides()[0], view.strides()[1]);
    if let Some(elements) = view.to_slice() {
        return ArrayView2::from_shape((rows, columns), elements).expect("its own shape");
    }
    let transposed = view.reversed_axes();
    let elements = transposed.to_slice().unwrap_or_else(|| {
        panic!("gemm: an operand ({rows}, {columns}) with strides {strides:?} is not contiguous")
    });
    ArrayView2::from_shape((columns, rows), elements).expect("its own shape").reversed_axes()
}

/// A product that `ndarray` would not hand to BLAS for its size.
fn tiny_gemm(
    alpha: f32,
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    beta: f32,
    mut c: ArrayViewMut2<'_, f32>,
) {
    // Whether an operand is stored as it is seen, and the length of a stored row.
    let stored = |view: &ArrayView2<'_, f32>| {
        if view.is_standard_layout() {
            (cblas_sys::CBLAS_TRANSPOSE::CblasNoTrans, view.ncols())
        } else {
            (cblas_sys::CBLAS_TRANSPOSE::CblasTrans, view.nrows())
        }
    };
    let ((m, k), n) = (a.dim(), b.ncols());
    let ((a_op, a_row), (b_op, b_row)) = (stored(&a), stored(&b));
    // SAFETY: dimensions are those of the views, which are contiguous (`canonical`), and a stored
    // row has at least one element, as BLAS demands.
    unsafe {
        cblas_sys::cblas_sgemm(
            cblas_sys::CBLAS_LAYOUT::CblasRowMajor,
            a_op,
            b_op,
            m as c_int,
            n as c_int,
            k as c_int,
            alpha,
            a.as_ptr(),
            a_row.max(1) as c_int,
            b.as_ptr(),
            b_row.max(1) as c_int,
            beta,
            c.as_mut_ptr(),
            n.max(1) as c_int,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::self_test::Gemm;
    use ndarray::{Array2, s};
    use std::time::Instant;

    const SIZES: [usize; 6] = [1, 4, 7, 8, 17, 67];

    fn matrix(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            ((i * 37 + j * 101 + seed * 17) % 23) as f32 / 7.0 - 1.5
        })
    }

    /// Simple, slow, correct.
    fn reference(
        alpha: f32,
        a: &Array2<f32>,
        b: &Array2<f32>,
        beta: f32,
        c: &Array2<f32>,
    ) -> Array2<f64> {
        Array2::from_shape_fn(c.dim(), |(i, j)| {
            let dot: f64 =
                (0..a.ncols()).map(|k| f64::from(a[(i, k)]) * f64::from(b[(k, j)])).sum();
            f64::from(alpha) * dot + f64::from(beta) * f64::from(c[(i, j)])
        })
    }

    /// What `cblas_sgemm` itself gives, called on plain row-major operands.
    fn by_blas(
        alpha: f32,
        a: &Array2<f32>,
        b: &Array2<f32>,
        beta: f32,
        c: &Array2<f32>,
    ) -> Array2<f32> {
        let mut c = c.clone();
        tiny_gemm(alpha, a.view(), b.view(), beta, c.view_mut());
        c
    }

    #[test]
    fn products_of_awkward_sizes_equal_a_reference_in_every_layout() {
        openblas().unwrap();
        for m in SIZES {
            for k in SIZES {
                for n in SIZES {
                    let (a, b, c) = (matrix(m, k, 1), matrix(k, n, 2), matrix(m, n, 3));
                    let expected = reference(-0.5, &a, &b, 0.25, &c);
                    let a_stored = a.t().as_standard_layout().into_owned();
                    let b_stored = b.t().as_standard_layout().into_owned();
                    for (a_view, b_view) in [
                        (a.view(), b.view()),
                        (a_stored.t(), b.view()),
                        (a.view(), b_stored.t()),
                        (a_stored.t(), b_stored.t()),
                    ] {
                        let mut found = c.clone();
                        gemm(-0.5, a_view, b_view, 0.25, found.view_mut());
                        for (found, expected) in found.iter().zip(&expected) {
                            let error = (f64::from(*found) - expected).abs();
                            assert!(error <= 1e-5 * k as f64, "{m}×{k}×{n}: {found} {expected}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_product_is_bit_for_bit_that_of_cblas_sgemm() {
        openblas().unwrap();
        for (m, k, n) in [(1, 67, 17), (17, 67, 1), (67, 1, 17), (4, 4, 4), (1, 1, 1), (67, 67, 67)]
        {
            let (a, b, c) = (matrix(m, k, 1), matrix(k, n, 2), matrix(m, n, 3));
            let mut found = c.clone();
            gemm(1.5, a.view(), b.view(), 0.5, found.view_mut());
            assert_eq!(found, by_blas(1.5, &a, &b, 0.5, &c), "{m}×{k}×{n}");
        }
    }

    #[test]
    fn a_slice_of_one_row_reaches_blas() {
        openblas().unwrap();
        let (a, b) = (matrix(5, 67, 1), matrix(67, 17, 2));
        let row = a.slice(s![2..3, ..]);
        let mut found = matrix(3, 17, 3);
        let before = found.clone();
        gemm(1.0, row, b.view(), 0.0, found.slice_mut(s![1..2, ..]));
        let row = row.to_owned();
        let expected = by_blas(1.0, &row, &b, 0.0, &Array2::zeros((1, 17)));
        assert_eq!(found.slice(s![1..2, ..]), expected);
        assert_eq!(found.row(0), before.row(0));
        assert_eq!(found.row(2), before.row(2));
    }

    #[test]
    fn with_beta_zero_the_output_is_not_read() {
        openblas().unwrap();
        let (a, b) = (matrix(9, 9, 1), matrix(9, 9, 2));
        let mut found = Array2::from_elem((9, 9), f32::NAN);
        gemm(1.0, a.view(), b.view(), 0.0, found.view_mut());
        assert!(found.iter().all(|value| value.is_finite()));
    }

    #[test]
    #[should_panic(expected = "is not contiguous")]
    fn a_layout_that_blas_cannot_name_is_refused_loudly() {
        let a = matrix(20, 20, 1);
        let mut c = Array2::zeros((10, 20));
        gemm(1.0, a.slice(s![..;2, ..]), a.view(), 0.0, c.view_mut());
    }

    #[test]
    fn both_self_tests_pass() {
        let blas = openblas().unwrap();
        let fastest = |sizes| {
            let times = (0..10).map(|_| {
                let begun = Instant::now();
                self_test(blas, sizes).unwrap();
                begun.elapsed()
            });
            times.min()
        };
        let (quick, thorough) = (fastest(&QUICK_TEST), fastest(&THOROUGH_TEST));
        println!("fastest of ten: quick {quick:?}, thorough {thorough:?}");
    }

    /// The defects that a kernel may have, each of which the self-test must find.
    #[test]
    fn the_self_test_finds_wrong_products() {
        openblas().unwrap();
        let one_wrong: Gemm = |alpha, a, b, beta, mut c| {
            gemm(alpha, a, b, beta, c.view_mut());
            c[(32, 7)] += 1.0;
        };
        let columns_exchanged: Gemm = |alpha, a, b, beta, mut c| {
            gemm(alpha, a, b, beta, c.view_mut());
            let row = &mut c.row_mut(20);
            row.swap(3, 14);
        };
        let reads_c: Gemm = |alpha, a, b, beta, mut c| {
            let before = c.to_owned();
            gemm(alpha, a, b, beta, c.view_mut());
            if beta == 0.0 {
                c.zip_mut_with(&before, |c, before| *c += 0.0 * before);
            }
        };
        let forgets_c: Gemm = |alpha, a, b, beta, c| {
            gemm(alpha, a, b, if beta == 1.0 { 0.0 } else { beta }, c);
        };
        for wrong in [one_wrong, columns_exchanged, reads_c, forgets_c] {
            for transposed in [(false, false), (false, true), (true, false)] {
                exact_products([33, 33, 33], transposed, gemm).unwrap();
                exact_products([33, 33, 33], transposed, wrong).unwrap_err();
            }
        }
    }

    #[test]
    fn openblas_names_itself_and_keeps_to_one_thread() {
        let found = openblas().unwrap();
        assert!(found.build.starts_with("OpenBLAS "), "{found:?}");
        assert!(!found.core.is_empty());
    }
}
