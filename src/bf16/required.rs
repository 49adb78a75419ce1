//! The name of the processor, and the error where it cannot train in bf16.

use std::fs;

use crate::bf16::instructions::Instructions;
use crate::error::{Error, Result};

/// What a processor lacks that cannot train in bf16.
pub(super) const MISSING: &str = "has neither AMX with bf16 (Intel since Sapphire Rapids, with Linux 5.16 or later) \
                                  nor AVX512 with BF16 (AMD since Zen 4)";

/// The name of the processor, `unknown` if the system does not name it.
pub fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| format!("unknown ({})", std::env::consts::ARCH), |(_, name)| name.into())
}

/// Checks that the instructions of this processor, as far as `found`, multiply bf16.
///
/// # Errors
/// Names the processor and what it lacks; `error` adds where bf16 was requested.
pub fn require_bf16(
    found: Option<Instructions>,
    error: impl FnOnce(String) -> Error,
) -> Result<()> {
    if found.is_some() {
        return Ok(());
    }
    let problem = format!("found bf16, but this processor ({}) {MISSING}", cpu());
    Err(error(problem).hint("use --precision f32"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Place;

    #[test]
    fn without_instructions_bf16_is_refused_in_one_sentence_as_bad_input() {
        let at = |problem| Error::input(Place::Option("precision"), problem);
        assert!(require_bf16(Some(Instructions::Amx), at).is_ok());
        let refused = require_bf16(None, at).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        let expected = format!(
            "precision: found bf16, but this processor ({}) has neither AMX with bf16 (Intel since \
             Sapphire Rapids, with Linux 5.16 or later) nor AVX512 with BF16 (AMD since Zen 4); use \
             --precision f32",
            cpu()
        );
        assert_eq!(refused.to_string(), expected);
    }
}
