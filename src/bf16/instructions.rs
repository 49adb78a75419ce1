//! Which numbers a run multiplies, and which instructions multiply bf16.

use std::fmt;

/// The numbers that the products of training multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Precision {
    /// float32, by OpenBLAS.
    F32,
    /// bfloat16, with sums, weights and all else in float32.
    Bf16,
}

impl Precision {
    /// Both, the default first.
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// As it is written in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// What multiplies bf16. Each gives other bits, because each adds up in another order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// Tiles: Intel's AMX.
    Amx,
    /// Vectors: AVX512 with BF16, on AMD's processors.
    Avx512Bf16,
    /// No instructions of their own: slow, for tests of everything around the products.
    Emulated,
}

impl fmt::Display for Instructions {
    /// As in the provenance of a run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amx => "amx",
            Self::Avx512Bf16 => "avx512_bf16",
            Self::Emulated => "emulated",
        })
    }
}

/// Code to be compiled for the vectors of the processor.
pub trait Vectorised {
    /// The code. It must be `#[inline(always)]`, and so must all that it calls and that is to use these
    /// vectors: a function of its own is compiled for any processor. A closure would be one.
    fn run(self);
}
