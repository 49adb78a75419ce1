//! Products of tiles and their packing by this processor's instructions. What each function must compute
//! is in [`super::tiles`]; all that a kernel takes for granted about its operands is in their types or
//! asserted here.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::sync::OnceLock;

use crate::bf16::instructions::{Instructions, Vectorised};
use crate::bf16::required::MISSING;
use crate::bf16::tiles::{self, Block, EDGE, Tiles};
#[cfg(target_arch = "x86_64")]
use crate::bf16::x86::{self, detected};
use crate::error::{Error, Result};

/// What a product reads next, to be brought into the caches meanwhile: a left operand and a block of
/// weights. Any address will do.
pub type Ahead = [*const u8; 2];

/// The address of what comes `by` elements after the first of a slice, there or not.
pub fn address<T>(of: &[T], by: usize) -> *const u8 {
    of.as_ptr().wrapping_add(by).cast()
}

/// Tiles of the shape that [`Instructions::multiply`] needs, on this thread, until dropped. Systems
/// keep them for each thread, whatever it calls or is interrupted by.
#[derive(Debug)]
pub struct Configured(Instructions, PhantomData<*const ()>); // belongs to its thread

impl Drop for Configured {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Instructions::Amx {
            // SAFETY: made by `configure` on a processor with AMX; no tile is in use.
            unsafe { x86::release_tiles() }
        }
    }
}

/// Calls a kernel for vectors, or on the emulation what it must compute.
macro_rules! by_vectors {
    ($instructions:expr, $kernel:expr, $definition:block) => {{
        $instructions.assert_available();
        match $instructions {
            Self::Emulated => $definition,
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has AVX512 with BF16.
            Self::Amx | Self::Avx512Bf16 => unsafe { $kernel },
            #[cfg(not(target_arch = "x86_64"))]
            Self::Amx | Self::Avx512Bf16 => unreachable!("not detected here"),
        }
    }};
}

impl Instructions {
    /// The fastest that this processor and system have. Vectors on Intel's processors do not count:
    /// there they are slower than float32. Call it before threads start, because the system grants
    /// tiles to a process and to the threads that it starts from then on.
    pub fn of_processor() -> Option<Self> {
        static FOUND: OnceLock<Option<Instructions>> = OnceLock::new();
        *FOUND.get_or_init(detected)
    }

    /// The same.
    ///
    /// # Errors
    /// [`Error::Machine`] where there are none.
    pub fn required() -> Result<Self> {
        let missing = || Error::Machine(format!("this processor {MISSING}"));
        Self::of_processor().ok_or_else(missing)
    }

    /// Makes this thread's tiles ready for products.
    pub fn configure(self) -> Configured {
        self.assert_available();
        #[cfg(target_arch = "x86_64")]
        if self == Self::Amx {
            // SAFETY: the processor has AMX and the system has granted it, or `detected` would not
            // have said so.
            unsafe { x86::configure_tiles() }
        }
        Configured(self, PhantomData)
    }

    /// Anybody can name instructions; only those of this processor may run.
    #[inline]
    fn assert_available(self) {
        let is_available = self == Self::Emulated || Self::of_processor() == Some(self);
        assert!(is_available, "this processor has no {self}");
    }

    /// Runs code compiled for this processor's vectors.
    #[inline]
    pub fn vectorised(self, code: impl Vectorised) {
        self.assert_available();
        match self {
            Self::Emulated => code.run(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: both imply AVX512 with F, BW, VL and DQ.
            Self::Amx | Self::Avx512Bf16 => unsafe { x86::vectorised(code) },
            #[cfg(not(target_arch = "x86_64"))]
            Self::Amx | Self::Avx512Bf16 => unreachable!("not detected here"),
        }
    }

    /// The product (32, 32) of a row of blocks and a column of as many.
    ///
    /// # Panics
    /// Where there are not as many, or none.
    #[inline(always)]
    pub fn multiply(
        self,
        configured: &Configured,
        left: &[Tiles],
        right: &[Tiles],
        product: &mut Block,
        ahead: Ahead,
    ) {
        assert!(left.len() == right.len() && !left.is_empty(), "operands of one length");
        assert!(configured.0 == self, "tiles configured for these instructions");
        match self {
            Self::Emulated => tiles::multiply(left, right, product),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has AMX, this thread's tiles are configured, and both operands have
            // the asserted length.
            Self::Amx => unsafe { x86::multiply_tiles(left, right, product, ahead) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has AVX512 with BF16.
            Self::Avx512Bf16 => unsafe { x86::multiply_vectors(left, right, product) },
            #[cfg(not(target_arch = "x86_64"))]
            Self::Amx | Self::Avx512Bf16 => unreachable!("not detected here"),
        }
    }

    /// A block as a left operand, and its transpose as one: what follows an activation.
    #[inline(always)]
    pub fn pack_lefts(self, block: &Block, left: &mut Tiles, left_transposed: &mut Tiles) {
        by_vectors!(self, x86::pack_lefts(block, left, left_transposed), {
            tiles::left(block, left);
            tiles::left(&tiles::transposed(block), left_transposed);
        });
    }

    /// A block as a left operand, if that is needed, and as a right one: a gradient.
    #[inline(always)]
    pub fn pack_both(self, block: &Block, left: Option<&mut Tiles>, right: &mut Tiles) {
        by_vectors!(self, x86::pack_both(block, left, right), {
            tiles::right(block, right);
            if let Some(left) = left {
                tiles::left(block, left);
            }
        });
    }

    /// A block as a right operand, and its transpose as one, if that is needed: weights.
    #[inline(always)]
    pub fn pack_rights(
        self,
        block: &Block,
        right: &mut Tiles,
        right_transposed: Option<&mut Tiles>,
    ) {
        by_vectors!(self, x86::pack_rights(block, right, right_transposed), {
            tiles::right(block, right);
            let transpose = |out| tiles::right(&tiles::transposed(block), out);
            right_transposed.into_iter().for_each(transpose);
        });
    }

    /// max(0, scale·z + biases) of a block z, packed as by [`Instructions::pack_lefts`].
    #[inline(always)]
    pub fn relu_lefts(
        self,
        block: &Block,
        (scale, biases): (f32, &[f32; EDGE]),
        left: &mut Tiles,
        left_transposed: &mut Tiles,
    ) {
        by_vectors!(self, x86::relu_lefts(block, (scale, biases), left, left_transposed), {
            self.pack_lefts(&tiles::relu(block, scale, biases), left, left_transposed);
        });
    }

    /// scale·d of a block d where `a` is positive, else 0, packed as by [`Instructions::pack_both`]; `sums`
    /// gets the sum of each column.
    #[inline(always)]
    pub fn undo_relu_both(
        self,
        block: &Block,
        (scale, a): (f32, &Tiles),
        sums: &mut [f32; EDGE],
        left: Option<&mut Tiles>,
        right: &mut Tiles,
    ) {
        by_vectors!(self, x86::undo_relu_both(block, (scale, a), sums, left, right), {
            self.pack_both(&tiles::undo_relu(block, scale, a, sums), left, right);
        });
    }

    /// `weights` ← beta·`weights` + alpha·`gradient`, then packed as by [`Instructions::pack_rights`].
    #[inline(always)]
    pub fn add_rights(
        self,
        weights: &mut Block,
        (beta, alpha, gradient): (f32, f32, &Block),
        right: &mut Tiles,
        right_transposed: Option<&mut Tiles>,
    ) {
        let sum = (beta, alpha, gradient);
        by_vectors!(self, x86::add_rights(weights, sum, right, right_transposed), {
            weights.add(beta, alpha, gradient);
            self.pack_rights(weights, right, right_transposed);
        });
    }
}

/// Not known how on this architecture.
#[cfg(not(target_arch = "x86_64"))]
fn detected() -> Option<Instructions> {
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use super::*;
    use crate::bf16::tiles::{blocks, to_bf16, to_f32};

    /// What can be tested on this machine: the emulation, and the instructions that it has. Where it has
    /// none, that is said past the capture of the test harness.
    pub(crate) fn testable() -> Vec<Instructions> {
        let found = Instructions::of_processor();
        if found.is_none() {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            assert!(
                std::env::var_os("ROOKIE_TEST_ALL").is_none(),
                "{test} needs bf16 instructions"
            );
            let _ = writeln!(
                std::io::stderr(),
                "{test} ran with the emulation alone: this machine has no bf16 instructions"
            );
        }
        [Instructions::Emulated].into_iter().chain(found).collect()
    }

    /// Numbers of all magnitudes and signs, with those that round in a special way.
    fn block(mut state: u32) -> Block {
        let special = [
            f32::NAN,
            -f32::NAN,
            f32::from_bits(0x7fff_ffff),
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            -0.0,
            1e-40,
            -1e-40,
            f32::MIN_POSITIVE,
            f32::from_bits(0x3f80_8000), // between two: to the even one below
            f32::from_bits(0x3f81_8000), // to the even one above
            f32::from_bits(0x3f80_8001),
        ];
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state
        };
        let mut block = Block([0.0; 1024].map(|_: f32| f32::from_bits(next() ^ (next() >> 16))));
        for (number, at) in special.into_iter().zip((17..).step_by(61)) {
            block.0[at] = number;
        }
        block
    }

    #[test]
    fn bf16_is_the_nearest_number_of_eight_bits_and_of_two_the_even_one() {
        for (number, expected) in [
            (1.0_f32, 1.0),
            (f32::from_bits(0x3f80_8000), 1.0),
            (f32::from_bits(0x3f81_8000), 1.015_625),
            (f32::from_bits(0x3f80_8001), 1.007_812_5),
            (-3.0e38, -3.004_055_3e38),
            (f32::MAX, f32::INFINITY),
            (1e-40, 0.0),
        ] {
            assert_eq!(to_f32(to_bf16(number)), expected, "{number:e}");
        }
        for bits in [0x7fff_ffff, 0x7f80_0001, 0xffff_ffff_u32] {
            assert!(to_f32(to_bf16(f32::from_bits(bits))).is_nan(), "{bits:x}");
        }
    }

    #[test]
    fn packing_equals_its_definition_bit_for_bit() {
        for instructions in testable() {
            for seed in 0..20 {
                let block = block(seed);
                let [mut found, mut found_transposed] = [Tiles([7; 1024]); 2];
                let [mut expected, mut expected_transposed] = [Tiles([9; 1024]); 2];
                let transposed = tiles::transposed(&block);
                instructions.pack_lefts(&block, &mut found, &mut found_transposed);
                tiles::left(&block, &mut expected);
                tiles::left(&transposed, &mut expected_transposed);
                assert!(found == expected && found_transposed == expected_transposed);
                instructions.pack_rights(&block, &mut found, Some(&mut found_transposed));
                tiles::right(&block, &mut expected);
                tiles::right(&transposed, &mut expected_transposed);
                assert!(found == expected && found_transposed == expected_transposed);
                instructions.pack_both(&block, Some(&mut found_transposed), &mut found);
                tiles::left(&block, &mut expected_transposed);
                assert!(found == expected && found_transposed == expected_transposed);
                instructions.pack_both(&block, None, &mut found_transposed);
                assert!(found_transposed == expected);
                instructions.pack_rights(&block, &mut found_transposed, None);
                assert!(found_transposed == expected);
            }
        }
    }

    #[test]
    fn what_is_done_to_a_block_on_the_way_equals_its_definition_bit_for_bit() {
        // Which bits a NaN has depends on the order of operands.
        let bit = |it: f32| if it.is_nan() { u32::MAX } else { it.to_bits() };
        let bits = |numbers: &[f32]| numbers.iter().map(|&it| bit(it)).collect::<Vec<_>>();
        let of_tiles = |tiles: &Tiles| bits(&tiles.0.map(to_f32));
        for instructions in testable() {
            for seed in 0..20 {
                let (z, scale) = (block(seed), 0.75 + seed as f32 / 100.0);
                let biases: [f32; EDGE] = block(seed + 100).0[..EDGE].try_into().unwrap();
                let mut a = Tiles::ZERO;
                tiles::left(&block(seed + 200), &mut a);
                let run = |instructions: Instructions| {
                    let mut packed = [Tiles([7; 1024]); 8];
                    let [l, lt, d_left, d_right, alone, r, rt, r_alone] = &mut packed;
                    instructions.relu_lefts(&z, (scale, &biases), l, lt);
                    let [mut sums, mut sums_alone] = [[5.0; EDGE]; 2];
                    let of = (scale, &a);
                    let (left, right) = (Some(d_left), d_right);
                    instructions.undo_relu_both(&z, of, &mut sums, left, right);
                    instructions.undo_relu_both(&z, of, &mut sums_alone, None, alone);
                    let [mut weights, mut weights_alone] = [z, z];
                    let sum = (1.0, -scale, &block(seed + 300));
                    instructions.add_rights(&mut weights, sum, r, Some(rt));
                    instructions.add_rights(&mut weights_alone, sum, r_alone, None);
                    assert_eq!(bits(&weights.0), bits(&weights_alone.0));
                    let packed = packed.each_ref().map(of_tiles);
                    (packed, [sums, sums_alone].map(|it| bits(&it)), bits(&weights.0))
                };
                assert!(run(instructions) == run(Instructions::Emulated), "{instructions}, {seed}");
            }
        }
    }

    /// The product of matrices (32, k) and (k, 32) of small whole numbers, exact in any order of sums.
    #[test]
    fn products_of_whole_numbers_are_exact_for_any_length() {
        for instructions in testable() {
            let tiles = instructions.configure();
            for length in [1, 15, 16, 17, 31, 32, 33, 500, 784] {
                let number =
                    |i: usize, j: usize, m: usize| ((i * 37 + j * j * 11 + i * j) % m) as i32;
                let left = |i, k| if k < length { number(i, k, 17) - 8 } else { 0 };
                let right = |k, j| if k < length { number(k, j, 19) - 9 } else { 0 };
                let (mut lefts, mut rights) = (Vec::new(), Vec::new());
                for part in 0..blocks(length) {
                    let [mut l, mut r] = [Block::ZERO; 2];
                    for i in 0..EDGE {
                        for j in 0..EDGE {
                            l.0[i * EDGE + j] = left(i, part * EDGE + j) as f32;
                            r.0[i * EDGE + j] = right(part * EDGE + i, j) as f32;
                        }
                    }
                    let [mut packed_left, mut packed_right] = [Tiles::ZERO; 2];
                    instructions.pack_both(&l, Some(&mut packed_left), &mut Tiles::ZERO.clone());
                    instructions.pack_rights(&r, &mut packed_right, None);
                    lefts.push(packed_left);
                    rights.push(packed_right);
                }
                let mut found = Block([f32::NAN; 1024]);
                let ahead = [address(&lefts, 0), address(&rights, 0)];
                instructions.multiply(&tiles, &lefts, &rights, &mut found, ahead);
                for i in 0..EDGE {
                    for j in 0..EDGE {
                        let sum: i32 = (0..length).map(|k| left(i, k) * right(k, j)).sum();
                        let found = found.0[i * EDGE + j];
                        assert_eq!(found, sum as f32, "{instructions}, {length}: ({i}, {j})");
                    }
                }
            }
        }
    }
}
