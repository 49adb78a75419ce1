//! What a result came from: program, compiler, OpenBLAS, processor and data.

use std::fs;

use crate::data::dataset::Dataset;
use crate::error::Result;
use crate::network::gemm::openblas;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, with `-dirty` if tracked files differed from it.
pub const COMMIT: &str = env!("ROOKIE_COMMIT");
/// The compiler that built it.
pub const COMPILER: &str = env!("ROOKIE_COMPILER");

/// The name of the processor, `unknown` where the system does not tell.
pub fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| format!("unknown ({})", std::env::consts::ARCH), |(_, name)| name.into())
}

/// The lines of a run's `[provenance]`. SHA-256 are those of the unpacked files.
///
/// # Errors
/// Where OpenBLAS is not as it must be.
pub fn lines(dataset: &Dataset) -> Result<Vec<(String, String)>> {
    let blas = openblas()?;
    let mut lines: Vec<(String, String)> = [
        ("rookie", VERSION),
        ("commit", COMMIT),
        ("compiler", COMPILER),
        ("openblas", &blas.build),
        ("openblas_core", &blas.core),
        ("cpu", &cpu()),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .to_vec();
    lines.extend(dataset.sha256.iter().map(|(file, sha)| (format!("sha256_{file}"), sha.clone())));
    Ok(lines)
}
