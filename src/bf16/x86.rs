//! What multiplies and packs tiles on x86-64: AMX, and AVX512 with BF16. [`super::kernels`] is the safe
//! way to call it; what each function must compute is in [`super::tiles`].
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{
    __cpuid, __cpuid_count, __m512, __m512bh, __m512i, _CMP_GT_OQ, _mm256_load_si256,
    _mm512_add_ps, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtepu16_epi32,
    _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_load_ps, _mm512_load_si512, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_maskz_mul_ps, _mm512_max_ps, _mm512_mul_ps,
    _mm512_permutexvar_epi16, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_slli_epi32, _mm512_store_ps,
    _mm512_store_si512, _mm512_storeu_ps, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::mem::transmute;

use crate::bf16::instructions::{Instructions, Vectorised};
use crate::bf16::tiles::{Block, Tiles};

/// What this process may use.
pub(super) fn detected() -> Option<Instructions> {
    let has_vectors = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bf16");
    if !has_vectors {
        None
    } else if has_tiles() {
        Some(Instructions::Amx)
    } else {
        is_of_amd().then_some(Instructions::Avx512Bf16)
    }
}

#[allow(unused_unsafe)] // safe to call since Rust 1.92
fn is_of_amd() -> bool {
    // SAFETY: every x86-64 processor has the instruction and this leaf.
    let vendor = unsafe { __cpuid(0) };
    let bytes = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    bytes.concat() == b"AuthenticAMD"
}

/// Whether the processor has AMX with bf16, and the system grants it to this process.
#[allow(unused_unsafe)] // safe to call since Rust 1.92
fn has_tiles() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    // SAFETY: a processor with AVX512 has this leaf.
    let features = unsafe { __cpuid_count(7, 0) }.edx;
    features & (AMX_BF16 | AMX_TILE) == AMX_BF16 | AMX_TILE && is_granted()
}

/// Asks the system for tiles, which make a thread's saved registers larger.
#[cfg(target_os = "linux")]
fn is_granted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and changes what this process may use, nothing else. A
    // system that does not know it returns an error.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_granted() -> bool {
    false
}

/// Eight tiles of 16 rows of 64 bytes.
///
/// # Safety
/// The process may use AMX.
pub(super) unsafe fn configure_tiles() {
    #[repr(C, align(64))]
    struct Shapes {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    row_bytes[..8].fill(64);
    rows[..8].fill(16);
    let shapes = Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows };
    // SAFETY: reads the 64 bytes of `shapes`, which describe valid shapes.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly)) }
}

/// # Safety
/// The process may use AMX.
pub(super) unsafe fn release_tiles() {
    // SAFETY: touches nothing but tiles, which no code of the compiler's uses.
    unsafe { asm!("tilerelease", options(nostack, nomem)) }
}

/// Four tiles of sums stay in registers; each step of the loop loads two tiles of either operand.
/// Right operands are read once more only after all others, so they go to the second-level cache
/// alone (`tileloaddt1`).
///
/// # Safety
/// The process may use AMX, this thread's tiles are configured, and `right` is as long as `left`,
/// which is not empty.
#[inline]
pub(super) unsafe fn multiply_tiles(
    left: &[Tiles],
    right: &[Tiles],
    product: &mut Block,
    [next_left, next_weights]: [*const u8; 2],
) {
    // SAFETY: reads `left.len()` blocks of 2 KiB of both operands and writes the 4 KiB of `product`.
    // A prefetch reads nothing that the program could notice. No code of the compiler's uses tiles.
    unsafe {
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{left} + {stride}*1]",
            "tileloaddt1 tmm6, [{right} + {stride}*1]",
            "tileloaddt1 tmm7, [{right} + {stride}*1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{left} + {stride}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {left}, 2048",
            "add {right}, 2048",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "prefetcht1 [{next_left}]",
            "prefetcht1 [{next_left} + 64]",
            "prefetcht0 [{next_weights}]",
            "prefetcht0 [{next_weights} + 64]",
            "prefetcht0 [{next_weights} + 128]",
            "prefetcht0 [{next_weights} + 192]",
            "add {next_left}, 128",
            "add {next_weights}, 256",
            "dec {count}",
            "jnz 2b",
            "shl {stride}, 1",
            "tilestored [{product} + {stride}*1], tmm0",
            "tilestored [{product} + {stride}*1 + 64], tmm1",
            "tilestored [{product} + {stride}*1 + 2048], tmm2",
            "tilestored [{product} + {stride}*1 + 2112], tmm3",
            left = inout(reg) left.as_ptr() => _,
            right = inout(reg) right.as_ptr() => _,
            next_left = inout(reg) next_left => _,
            next_weights = inout(reg) next_weights => _,
            count = inout(reg) left.len() => _,
            stride = inout(reg) 64_usize => _,
            product = in(reg) product.0.as_mut_ptr(),
            options(nostack),
        );
    }
}

/// 8 rows by 32 columns of sums stay in registers.
///
/// # Safety
/// `right` is as long as `left`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
#[allow(clippy::cast_ptr_alignment)] // tiles are aligned to 64 bytes
pub(super) unsafe fn multiply_vectors(left: &[Tiles], right: &[Tiles], product: &mut Block) {
    const ROWS: usize = 8;
    for first in (0..32).step_by(ROWS) {
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for (left, right) in left.iter().zip(right) {
            let (left, right) = (left.0.as_ptr().cast::<i32>(), right.0.as_ptr());
            for pair in 0..16 {
                // SAFETY: 32 rows of 32 elements on the left; two tiles of 16 rows of 32 on the
                // right, aligned to 64 bytes.
                unsafe {
                    let [x, y] = [0, 512].map(|tile| {
                        let row = _mm512_load_si512(right.add(tile + pair * 32).cast());
                        transmute::<__m512i, __m512bh>(row)
                    });
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let factors = _mm512_set1_epi32(*left.add((first + row) * 16 + pair));
                        let factors = transmute::<__m512i, __m512bh>(factors);
                        sums[0] = _mm512_dpbf16_ps(sums[0], factors, x);
                        sums[1] = _mm512_dpbf16_ps(sums[1], factors, y);
                    }
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            let row = &mut product.0[(first + row) * 32..][..32];
            // SAFETY: 32 elements, aligned to 64 bytes because the block is.
            unsafe {
                _mm512_store_ps(row.as_mut_ptr(), sums[0]);
                _mm512_store_ps(row.as_mut_ptr().add(16), sums[1]);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
pub(super) fn vectorised(code: impl Vectorised) {
    code.run();
}

/// Two vectors in bf16, one after the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
fn rounded(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both types are 64 bytes.
    unsafe { transmute(_mm512_cvtne2ps_pbh(high, low)) }
}

/// What puts the elements of two vectors side by side.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
fn side_by_side() -> __m512i {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut at = 0;
        while at < 32 {
            order[at] = (at / 2 + at % 2 * 16) as u16;
            at += 1;
        }
        order
    };
    // SAFETY: 64 bytes.
    unsafe { _mm512_loadu_si512(ORDER.as_ptr().cast()) }
}

/// Two rows of a block as vectors: of the first its left and right half, of the second too.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
fn two_rows(block: &Block, pair: usize) -> [__m512; 4] {
    let rows = &block.0[pair * 64..][..64];
    // SAFETY: 64 elements, aligned to 64 bytes because the block is.
    [0, 16, 32, 48].map(|at| unsafe { _mm512_load_ps(rows.as_ptr().add(at)) })
}

/// Puts a vector of 32 elements into tiles.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
fn put(tiles: &mut Tiles, vector: usize, elements: __m512i) {
    let to = &mut tiles.0[vector * 32..][..32];
    // SAFETY: 32 elements, aligned to 64 bytes because the tiles are.
    unsafe { _mm512_store_si512(to.as_mut_ptr().cast(), elements) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
pub(super) fn pack_lefts(block: &Block, left: &mut Tiles, left_transposed: &mut Tiles) {
    lefts(|pair| two_rows(block, pair), left, left_transposed);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
pub(super) fn pack_both(block: &Block, left: Option<&mut Tiles>, right: &mut Tiles) {
    both(|pair| two_rows(block, pair), left, right);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
pub(super) fn pack_rights(block: &Block, right: &mut Tiles, right_transposed: Option<&mut Tiles>) {
    rights(|pair| two_rows(block, pair), right, right_transposed);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
pub(super) fn relu_lefts(
    block: &Block,
    (scale, biases): (f32, &[f32; 32]),
    left: &mut Tiles,
    left_transposed: &mut Tiles,
) {
    let (scale, zero) = (_mm512_set1_ps(scale), _mm512_setzero_ps());
    // SAFETY: 32 elements.
    let [low, high] = [0, 16].map(|at| unsafe { _mm512_loadu_ps(biases.as_ptr().add(at)) });
    // Of a NaN and zero, the maximum is the second.
    let relu = |z, bias| _mm512_max_ps(zero, _mm512_add_ps(_mm512_mul_ps(scale, z), bias));
    let rows = |pair| {
        let [a, b, c, d] = two_rows(block, pair);
        [relu(a, low), relu(b, high), relu(c, low), relu(d, high)]
    };
    lefts(rows, left, left_transposed);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
#[allow(clippy::cast_ptr_alignment)] // tiles are aligned to 64 bytes
pub(super) fn undo_relu_both(
    block: &Block,
    (scale, a): (f32, &Tiles),
    sums: &mut [f32; 32],
    left: Option<&mut Tiles>,
    right: &mut Tiles,
) {
    let (scale, zero) = (_mm512_set1_ps(scale), _mm512_setzero_ps());
    let mut total = [zero; 2];
    let rows = |pair: usize| {
        let mut rows = two_rows(block, pair);
        let outputs = &a.0[pair * 64..][..64];
        for (quarter, d) in rows.iter_mut().enumerate() {
            // SAFETY: 64 elements, of which each quarter is aligned to 32 bytes because the tiles are to 64.
            let a = unsafe { _mm256_load_si256(outputs.as_ptr().add(quarter * 16).cast()) };
            let a = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(a)));
            let is_positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, zero);
            *d = _mm512_maskz_mul_ps(is_positive, scale, *d);
            total[quarter % 2] = _mm512_add_ps(total[quarter % 2], *d);
        }
        rows
    };
    both(rows, left, right);
    for (sums, total) in sums.chunks_exact_mut(16).zip(total) {
        // SAFETY: 16 elements.
        unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), total) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
pub(super) fn add_rights(
    weights: &mut Block,
    (beta, alpha, gradient): (f32, f32, &Block),
    right: &mut Tiles,
    right_transposed: Option<&mut Tiles>,
) {
    let (beta, alpha) = (_mm512_set1_ps(beta), _mm512_set1_ps(alpha));
    let rows = |pair| {
        let (mut rows, gradients) = (two_rows(weights, pair), two_rows(gradient, pair));
        for (quarter, (weight, gradient)) in rows.iter_mut().zip(gradients).enumerate() {
            *weight = _mm512_add_ps(_mm512_mul_ps(beta, *weight), _mm512_mul_ps(alpha, gradient));
            let to = &mut weights.0[pair * 64 + quarter * 16..][..16];
            // SAFETY: 16 elements, aligned to 64 bytes because the block is.
            unsafe { _mm512_store_ps(to.as_mut_ptr(), *weight) }
        }
        rows
    };
    rights(rows, right, right_transposed);
}

/// Packs a block, two rows at a time, as a left operand and its transpose as one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
fn lefts(rows: impl Fn(usize) -> [__m512; 4], left: &mut Tiles, left_transposed: &mut Tiles) {
    let order = side_by_side();
    let mut pairs = [[_mm512_setzero_si512(); 16]; 2];
    let [left_half, right_half] = &mut pairs;
    for (pair, (l, r)) in left_half.iter_mut().zip(right_half).enumerate() {
        let [a, b, c, d] = rows(pair);
        put(left, 2 * pair, rounded(a, b));
        put(left, 2 * pair + 1, rounded(c, d));
        *l = _mm512_permutexvar_epi16(order, rounded(a, c));
        *r = _mm512_permutexvar_epi16(order, rounded(b, d));
    }
    put_transposed(left_transposed, &mut pairs);
}

/// The same as a left operand, if that is needed, and as a right one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
fn both(
    mut rows: impl FnMut(usize) -> [__m512; 4],
    mut left: Option<&mut Tiles>,
    right: &mut Tiles,
) {
    let order = side_by_side();
    for pair in 0..16 {
        let [a, b, c, d] = rows(pair);
        if let Some(left) = &mut left {
            put(left, 2 * pair, rounded(a, b));
            put(left, 2 * pair + 1, rounded(c, d));
        }
        put(right, pair, _mm512_permutexvar_epi16(order, rounded(a, c)));
        put(right, 16 + pair, _mm512_permutexvar_epi16(order, rounded(b, d)));
    }
}

/// The same as a right operand and its transpose as one, if that is needed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
fn rights(
    mut rows_of: impl FnMut(usize) -> [__m512; 4],
    right: &mut Tiles,
    right_transposed: Option<&mut Tiles>,
) {
    let order = side_by_side();
    let mut rows = [[_mm512_setzero_si512(); 16]; 2];
    for pair in 0..16 {
        let [a, b, c, d] = rows_of(pair);
        put(right, pair, _mm512_permutexvar_epi16(order, rounded(a, c)));
        put(right, 16 + pair, _mm512_permutexvar_epi16(order, rounded(b, d)));
        rows[pair / 8][pair % 8 * 2] = rounded(a, b);
        rows[pair / 8][pair % 8 * 2 + 1] = rounded(c, d);
    }
    if let Some(out) = right_transposed {
        put_transposed(out, &mut rows);
    }
}

/// Puts two matrices (16, 16) of pairs transposed into tiles.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
fn put_transposed(out: &mut Tiles, halves: &mut [[__m512i; 16]; 2]) {
    for (half, rows) in halves.iter_mut().enumerate() {
        transpose(rows);
        for (row, &elements) in rows.iter().enumerate() {
            put(out, half * 16 + row, elements);
        }
    }
}

/// A matrix (16, 16) of pairs: columns for rows, in four rounds of exchanges.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
fn transpose(rows: &mut [__m512i; 16]) {
    let mut other = *rows;
    for i in 0..8 {
        let (a, b) = (rows[2 * i], rows[2 * i + 1]);
        other[2 * i] = _mm512_unpacklo_epi32(a, b);
        other[2 * i + 1] = _mm512_unpackhi_epi32(a, b);
    }
    for i in 0..4 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| other[4 * i + at]);
        rows[4 * i] = _mm512_unpacklo_epi64(a, c);
        rows[4 * i + 1] = _mm512_unpackhi_epi64(a, c);
        rows[4 * i + 2] = _mm512_unpacklo_epi64(b, d);
        rows[4 * i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    for j in 0..4 {
        let [a, b, c, d] = [0, 4, 8, 12].map(|at| rows[at + j]);
        let (even_low, even_high) =
            (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(c, d));
        let (odd_low, odd_high) =
            (_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(c, d));
        other[j] = _mm512_shuffle_i32x4::<0x88>(even_low, even_high);
        other[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even_low, even_high);
        other[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high);
        other[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high);
    }
    *rows = other;
}
