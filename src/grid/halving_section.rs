//! What a user asks of halving: the `[halving]` section of a grid file, and the flags that override it. It does
//! not belong to what the grid is: a grid that was halved can be trained to its end.

use toml::de::{DeTable, DeValue};

use crate::error::Result;
use crate::train::halving::{Halving, SHARE, is_share};
use crate::train::toml_file::{Item, TomlFile};

/// The keys of the section.
const KEYS: [&str; 2] = ["rungs", "keep"];

/// What is asked of halving; what is not, has its default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HalvingRequest {
    /// The epochs after which candidates are compared.
    pub rungs: Option<Vec<usize>>,
    /// The share of the candidates that goes on.
    pub keep: Option<f64>,
}

impl HalvingRequest {
    /// Reads the section of a grid file, if it has one.
    ///
    /// # Errors
    /// Where a key is unknown, or a value is not what it must be.
    pub(super) fn read(file: &TomlFile, grid: &DeTable<'_>) -> Result<Option<Self>> {
        let Some(section) = grid.get("halving") else { return Ok(None) };
        let DeValue::Table(pairs) = section.get_ref() else {
            return Err(file.unexpected(section, "a table [halving]"));
        };
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !KEYS.contains(&&**name.get_ref())) {
            return Err(file.unknown_key(name, KEYS.into_iter()));
        }
        let rungs = pairs.get("rungs").map(|item| rungs_of(file, item)).transpose()?;
        let number = |item: &Item<'_>| match item.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        let keep = |item: &Item<'_>| {
            let share = number(item).filter(|&share| is_share(share));
            share.ok_or_else(|| file.unexpected(item, SHARE))
        };
        let keep = pairs.get("keep").map(keep).transpose()?;
        Ok(Some(Self { rungs, keep }))
    }

    /// With what the flags ask for instead.
    #[must_use]
    pub fn overridden_by(self, flags: Self) -> Self {
        Self { rungs: flags.rungs.or(self.rungs), keep: flags.keep.or(self.keep) }
    }
}

fn rungs_of(file: &TomlFile, item: &Item<'_>) -> Result<Vec<usize>> {
    let wrong = || file.unexpected(item, "a list of ascending epochs, such as [20, 60]");
    let DeValue::Array(items) = item.get_ref() else { return Err(wrong()) };
    let epoch = |item: &Item<'_>| match item.get_ref() {
        DeValue::Integer(number) => number.as_str().parse().ok(),
        _ => None,
    };
    let rungs: Option<Vec<usize>> = items.iter().map(epoch).collect();
    rungs.filter(|rungs| Halving::new(rungs.clone(), 0.5).is_ok()).ok_or_else(wrong)
}
