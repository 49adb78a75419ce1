//! What a result came from: program, compiler, OpenBLAS, processor and data.

use std::collections::BTreeMap;
use std::fs;

use crate::data::dataset::Dataset;
use crate::error::{Error, Place, Result};
use crate::network::gemm::openblas;
use crate::network::kernels::chosen_by;

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
        (CORE, &blas.core),
        ("openblas_core_chosen_by", &chosen_by().to_string()),
        ("cpu", &cpu()),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .to_vec();
    lines.extend(data_lines(dataset));
    Ok(lines)
}

/// The kernels of OpenBLAS in them, `Haswell` or `Haswell then SkylakeX`.
pub fn core_of(lines: &[(String, String)]) -> Option<&str> {
    lines.iter().find(|(name, _)| name == CORE).map(|(_, core)| &core[..])
}

/// A sentence about results that were trained with other kernels than this process uses, if some were.
/// `others` are their cores, one for each result.
pub fn mixed_kernels<'a>(
    others: impl Iterator<Item = &'a str>,
    now: &[(String, String)],
) -> Option<String> {
    let now = core_of(now)?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for core in others.filter(|core| *core != now) {
        *counts.entry(core).or_default() += 1;
    }
    let of_each: Vec<String> =
        counts.iter().map(|(core, count)| format!("{count} with {core}")).collect();
    let (first, _) = counts.first_key_value()?;
    let hint = match first.split(THEN).collect::<Vec<_>>()[..] {
        [only] if counts.len() == 1 => {
            format!("; --kernels {} keeps to one kind", only.to_ascii_lowercase())
        }
        _ => String::new(),
    };
    Some(format!(
        "earlier results here were trained with other kernels than {now} ({}), whose last digits \
         differ{hint}",
        of_each.join(", ")
    ))
}

/// Those of them that tell the data.
pub fn data_lines(dataset: &Dataset) -> Vec<(String, String)> {
    dataset.sha256.iter().map(|(file, sha)| (format!("sha256_{file}"), sha.clone())).collect()
}

/// Whether two runs' provenances name the same data.
pub fn same_data(a: &[(String, String)], b: &[(String, String)]) -> bool {
    let of_data = |lines: &[(String, String)]| -> BTreeMap<String, String> {
        lines.iter().filter(|(name, _)| name.starts_with("sha256_")).cloned().collect()
    };
    of_data(a) == of_data(b)
}

/// The provenance of a run that was begun with one and gone on with with another: what differs is
/// told in its order, `Haswell then SkylakeX`.
pub fn joined(earlier: &[(String, String)], now: &[(String, String)]) -> Vec<(String, String)> {
    let join = |(name, value): &(String, String)| {
        let before = earlier.iter().find(|(other, _)| other == name).map(|(_, value)| value);
        let value = match before {
            Some(before) if before.rsplit(THEN).next() != Some(value) => {
                format!("{before}{THEN}{value}")
            }
            Some(before) => before.clone(),
            None => value.clone(),
        };
        (name.clone(), value)
    };
    now.iter().map(join).collect()
}

/// What is told where something in a results folder was trained on other data than are at hand.
pub fn other_data(place: Place) -> Error {
    Error::input(place, "was trained on other data")
        .hint("name the same data with --data, start over with --fresh, or use another --out")
}

/// The line that names OpenBLAS's kernels.
const CORE: &str = "openblas_core";
/// Between what a run was begun with and what it was gone on with.
const THEN: &str = " then ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_was_gone_on_with_is_told_in_its_order_and_once() {
        let lines = |core: &str| vec![("core".to_string(), core.to_string())];
        let twice = joined(&joined(&lines("Zen"), &lines("Haswell")), &lines("Haswell"));
        assert_eq!(twice, lines("Zen then Haswell"));
        assert_eq!(joined(&lines("Zen"), &lines("Zen")), lines("Zen"));
        assert_eq!(joined(&[], &lines("Zen")), lines("Zen"));
    }
}
