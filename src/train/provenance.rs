//! What a result came from: program, compiler, OpenBLAS, processor and data.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::bf16::instructions::{Instructions, Precision};
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

/// The lines of provenance that this process gives a run in bf16. SHA-256 are those of the unpacked files.
///
/// # Errors
/// Where OpenBLAS is not as it must be.
pub fn lines(dataset: &Dataset) -> Result<Vec<(String, String)>> {
    let blas = openblas()?;
    let mut lines: Vec<(String, String)> = [
        (ROOKIE, VERSION),
        ("commit", COMMIT),
        ("compiler", COMPILER),
        (OPENBLAS, &blas.build),
        (CORE, &blas.core),
        ("openblas_core_chosen_by", &chosen_by().to_string()),
        ("cpu", &cpu()),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .to_vec();
    lines.extend(Instructions::of_processor().map(|it| (BF16.to_string(), it.to_string())));
    lines.extend(data_lines(dataset));
    Ok(lines)
}

/// The lines of a run of this precision: those of a run in float32 do not name what multiplies bf16.
pub fn of_precision(lines: &Lines, precision: Precision) -> Vec<(String, String)> {
    let is_told = |name: &str| name != BF16 || precision == Precision::Bf16;
    lines.iter().filter(|(name, _)| is_told(name)).cloned().collect()
}

/// The lines of a run's `[provenance]`, names and values.
type Lines = [(String, String)];

/// Sentences about results that different versions of rookie or kernels of OpenBLAS trained, or others
/// than this process: `now`, where it is about to train beside them. `results` are provenances, one
/// per result.
pub fn mixed<'a>(results: impl Iterator<Item = &'a Lines>, now: Option<&Lines>) -> Vec<String> {
    let results: Vec<_> = results.collect();
    let value = |lines: &Lines, name: &str| {
        let line = lines.iter().find(|(other, _)| other == name);
        line.map_or_else(|| "unknown".to_string(), |(_, value)| value.clone())
    };
    let version = |lines: &Lines| value(lines, ROOKIE);
    // `OpenBLAS 0.3.21`, of all that it says of itself.
    let library =
        |lines: &Lines| value(lines, OPENBLAS).split(' ').take(2).collect::<Vec<_>>().join(" ");
    let core = |lines: &Lines| value(lines, CORE);
    let all = || results.iter().copied().chain(now);
    let libraries: BTreeSet<String> = all().map(library).collect();
    let kernels = |lines: &Lines| match libraries.len() {
        0 | 1 => core(lines),
        _ => format!("{} {}", library(lines), core(lines)),
    };
    let others = |kind: &dyn Fn(&Lines) -> String| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for lines in &results {
            *counts.entry(kind(lines)).or_default() += 1;
        }
        match now {
            Some(now) => drop(counts.remove(&kind(now))),
            None if counts.len() == 1 => counts.clear(),
            None => {}
        }
        (!counts.is_empty()).then_some(counts)
    };
    let listed = |counts: &BTreeMap<String, usize>, by: &str| {
        let each = |(kind, count): (&String, &usize)| format!("{count} {by} {kind}");
        counts.iter().map(each).collect::<Vec<_>>().join(", ")
    };
    let mut sentences = Vec::new();
    if let Some(counts) = others(&version) {
        let results = match now {
            Some(now) => {
                let now = version(now);
                format!("earlier results here were trained by other versions of rookie than {now}")
            }
            None => "the runs were trained by different versions of rookie".into(),
        };
        let listed = listed(&counts, "by");
        sentences.push(format!("{results} ({listed}), which may draw other initial weights"));
    }
    if let Some(counts) = others(&kernels) {
        let results = match now {
            Some(now) => {
                let now = kernels(now);
                format!("earlier results here were trained with other kernels than {now}")
            }
            None => "the runs were trained with different kernels".into(),
        };
        let hint = match counts.keys().next() {
            Some(only)
                if now.is_some()
                    && counts.len() == 1
                    && libraries.len() == 1
                    && !only.contains(THEN) =>
            {
                format!("; --kernels {} trains with the same", only.to_ascii_lowercase())
            }
            _ => String::new(),
        };
        let listed = listed(&counts, "with");
        sentences
            .push(format!("{results} ({listed}), so results may differ in the last digits{hint}"));
    }
    // Of runs in bf16 alone.
    let name =
        |lines: &Lines| lines.iter().find(|(name, _)| name == BF16).map(|(_, it)| it.clone());
    let mut instructions: BTreeMap<String, usize> = BTreeMap::new();
    for name in results.iter().filter_map(|lines| name(lines)) {
        *instructions.entry(name).or_default() += 1;
    }
    let now = now.and_then(name);
    let are_mixed = match &now {
        Some(now) => {
            instructions.remove(now);
            !instructions.is_empty()
        }
        None => instructions.len() > 1,
    };
    if are_mixed {
        let results = match now {
            Some(now) => {
                format!("earlier results here multiplied bf16 with other instructions than {now}")
            }
            None => "the runs multiplied bf16 with different instructions".into(),
        };
        let listed = listed(&instructions, "with");
        sentences.push(format!("{results} ({listed}), so results differ"));
    }
    sentences
}

/// Those of them that tell the data.
pub fn data_lines(dataset: &Dataset) -> Vec<(String, String)> {
    dataset.sha256.iter().map(|(file, sha)| (format!("sha256_{file}"), sha.clone())).collect()
}

/// The kernels of OpenBLAS that a run was trained with.
pub fn core_of(lines: &Lines) -> Option<&str> {
    lines.iter().find(|(name, _)| name == CORE).map(|(_, core)| &core[..])
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

/// The line that names the version of this program.
const ROOKIE: &str = "rookie";
/// The line that names the version of OpenBLAS.
const OPENBLAS: &str = "openblas";
/// The line that names OpenBLAS's kernels.
const CORE: &str = "openblas_core";
/// The line that names what multiplied bf16.
const BF16: &str = "bf16";
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

    #[test]
    fn results_of_other_versions_and_kernels_are_counted() {
        let lines = |version: &str, library: &str, core: &str| {
            [(ROOKIE, version), (OPENBLAS, library), (CORE, core)]
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .to_vec()
        };
        let old = lines("0.1.0", "OpenBLAS 0.3.21 DYNAMIC_ARCH", "Zen");
        let both = lines("0.1.0 then 0.2.0", "OpenBLAS 0.3.21 DYNAMIC_ARCH", "Zen");
        let new = lines("0.2.0", "OpenBLAS 0.3.21 OPENMP", "Zen");
        let wide = lines("0.2.0", "OpenBLAS 0.3.21", "SkylakeX");
        let newer = lines("0.2.0", "OpenBLAS 0.3.29", "Zen");
        let of = |results: &[&Vec<(String, String)>], now: Option<&Vec<(String, String)>>| {
            mixed(results.iter().map(|lines| &lines[..]), now.map(|lines| &lines[..]))
        };
        assert_eq!(of(&[], Some(&new)), [""; 0]);
        assert_eq!(of(&[&new, &new], Some(&new)), [""; 0]);
        assert_eq!(of(&[&new, &new], None), [""; 0]);
        assert_eq!(
            of(&[&old, &old, &new, &both], Some(&new)),
            [
                "earlier results here were trained by other versions of rookie than 0.2.0 (2 by 0.1.0, 1 \
              by 0.1.0 then 0.2.0), which may draw other initial weights"
            ]
        );
        assert_eq!(
            of(&[&old, &new], None),
            [
                "the runs were trained by different versions of rookie (1 by 0.1.0, 1 by 0.2.0), which \
              may draw other initial weights"
            ]
        );
        assert_eq!(
            of(&[&wide, &new], None),
            [
                "the runs were trained with different kernels (1 with SkylakeX, 1 with Zen), so results \
              may differ in the last digits"
            ]
        );
        assert_eq!(
            of(&[&wide], Some(&newer)),
            [
                "earlier results here were trained with other kernels than OpenBLAS 0.3.29 Zen (1 with \
              OpenBLAS 0.3.21 SkylakeX), so results may differ in the last digits"
            ]
        );
        let with = |name: &str| [&new[..], &[(BF16.to_string(), name.to_string())]].concat();
        let (amx, vectors) = (with("amx"), with("avx512_bf16"));
        assert_eq!(of(&[&amx, &new, &amx], Some(&amx)), [""; 0]);
        assert_eq!(of(&[&amx, &new], None), [""; 0]);
        assert_eq!(
            of(&[&amx, &new, &amx], Some(&vectors)),
            [
                "earlier results here multiplied bf16 with other instructions than avx512_bf16 (2 with \
                 amx), so results differ"
            ]
        );
        let expected = "the runs multiplied bf16 with different instructions (1 with amx, 1 with \
                        avx512_bf16), so results differ";
        assert_eq!(of(&[&amx, &vectors], None), [expected]);
        let found = of(&[&wide], Some(&new));
        assert!(found[0].ends_with("digits; --kernels skylakex trains with the same"), "{found:?}");
    }
}
