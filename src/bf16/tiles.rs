//! The layout of operands in bf16, and what every kernel must compute: simple, slow, portable.
//!
//! Matrices are padded with zeros to multiples of 32 and cut into blocks (32, 32). An operand of a
//! product has the two tiles of a block, 1 KiB each, one after the other, in one of two orders:
//!
//! - on the left, 16 rows by 32 columns each, so that both are the block row after row;
//! - on the right, 16 pairs of rows by 16 columns by 2, so that a pair of factors lies side by side.
//!
//! A product over k blocks then reads 2·k KiB of either operand without a gap.

/// Rows and columns of a block.
pub const EDGE: usize = 32;
/// Elements of a block.
const ELEMENTS: usize = EDGE * EDGE;
/// Elements of a tile.
const TILE: usize = ELEMENTS / 2;

/// A block (32, 32) of float32, row after row.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Block(pub [f32; ELEMENTS]);

/// The two tiles of a block in bf16, in the order of a left or of a right operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Tiles(pub [u16; ELEMENTS]);

impl Block {
    /// All zero.
    pub const ZERO: Self = Self([0.0; ELEMENTS]);

    /// Makes it the block of a matrix (rows, columns), row after row, that begins at a row and a
    /// column; zero beyond the edges of the matrix.
    pub fn copy_from(&mut self, matrix: &[f32], columns: usize, (row, column): (usize, usize)) {
        let width = columns.saturating_sub(column).min(EDGE);
        let rows = matrix.chunks_exact(columns).skip(row);
        let mut own = self.0.chunks_exact_mut(EDGE);
        for (own, row) in own.by_ref().zip(rows) {
            own[..width].copy_from_slice(&row[column..column + width]);
            own[width..].fill(0.0);
        }
    }

    /// beta·self + alpha·other.
    #[inline(always)]
    pub fn add(&mut self, beta: f32, alpha: f32, other: &Self) {
        for (own, &other) in self.0.iter_mut().zip(&other.0) {
            *own = beta * *own + alpha * other;
        }
    }

    /// The reverse of [`Block::copy_from`].
    pub fn copy_to(&self, matrix: &mut [f32], columns: usize, (row, column): (usize, usize)) {
        let width = columns.saturating_sub(column).min(EDGE);
        for (own, row) in self.0.chunks_exact(EDGE).zip(matrix.chunks_exact_mut(columns).skip(row))
        {
            row[column..column + width].copy_from_slice(&own[..width]);
        }
    }
}

impl Tiles {
    /// All zero.
    pub const ZERO: Self = Self([0; ELEMENTS]);

    /// The block of a left operand.
    #[inline(always)]
    pub fn unpack(&self, into: &mut Block) {
        for (to, &from) in into.0.iter_mut().zip(&self.0) {
            *to = to_f32(from);
        }
    }
}

/// How many blocks a side of a matrix has.
pub fn blocks(size: usize) -> usize {
    size.div_ceil(EDGE)
}

/// The nearest bf16, of two the even one. As the instructions do, subnormal numbers become zero, and a
/// NaN stays one.
pub fn to_bf16(number: f32) -> u16 {
    let bits = number.to_bits();
    if number.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    if number.is_subnormal() {
        return (bits >> 16) as u16 & 0x8000;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// The same number in float32.
#[inline(always)]
pub fn to_f32(bf16: u16) -> f32 {
    f32::from_bits(u32::from(bf16) << 16)
}

/// A block as a left operand.
pub(super) fn left(block: &Block, out: &mut Tiles) {
    for (out, &number) in out.0.iter_mut().zip(&block.0) {
        *out = to_bf16(number);
    }
}

/// A block as a right operand.
pub(super) fn right(block: &Block, out: &mut Tiles) {
    for (row, numbers) in block.0.chunks_exact(EDGE).enumerate() {
        for (column, &number) in numbers.iter().enumerate() {
            out.0[column / 16 * TILE + row / 2 * EDGE + column % 16 * 2 + row % 2] =
                to_bf16(number);
        }
    }
}

/// Columns for rows.
pub(super) fn transposed(block: &Block) -> Block {
    let mut out = Block::ZERO;
    for (index, number) in block.0.iter().enumerate() {
        out.0[index % EDGE * EDGE + index / EDGE] = *number;
    }
    out
}

/// max(0, scale·z + biases).
pub(super) fn relu(z: &Block, scale: f32, biases: &[f32; EDGE]) -> Block {
    let mut a = *z;
    for row in a.0.chunks_exact_mut(EDGE) {
        for (z, bias) in row.iter_mut().zip(biases) {
            *z = scale * *z + bias;
            *z = if *z < 0.0 { 0.0 } else { *z };
        }
    }
    a
}

/// scale·d where `a` is positive, else 0, and the sum of each column.
pub(super) fn undo_relu(d: &Block, scale: f32, a: &Tiles, sums: &mut [f32; EDGE]) -> Block {
    let mut d_z = *d;
    sums.fill(0.0);
    for (row, a) in d_z.0.chunks_exact_mut(EDGE).zip(a.0.chunks_exact(EDGE)) {
        for ((d, &a), sum) in row.iter_mut().zip(a).zip(&mut *sums) {
            *d = if to_f32(a) > 0.0 { scale * *d } else { 0.0 };
            *sum += *d;
        }
    }
    d_z
}

/// The product of a row of blocks and a column of blocks.
pub(super) fn multiply(left: &[Tiles], right: &[Tiles], product: &mut Block) {
    for (row, product) in product.0.chunks_exact_mut(EDGE).enumerate() {
        for (column, product) in product.iter_mut().enumerate() {
            *product = 0.0;
            for (left, right) in left.iter().zip(right) {
                for pair in 0..EDGE / 2 {
                    let [l, r] =
                        [row * EDGE + 2 * pair, column / 16 * TILE + pair * EDGE + column % 16 * 2];
                    *product += to_f32(left.0[l]) * to_f32(right.0[r]);
                    *product += to_f32(left.0[l + 1]) * to_f32(right.0[r + 1]);
                }
            }
        }
    }
}
