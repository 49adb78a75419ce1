//! The `[machine]` section of a grid file: how this machine trains it. It does not belong to what
//! the grid is: results of other machines are of the same grid, and each record says what it came
//! from.

use toml::de::{DeTable, DeValue};

use crate::error::Result;
use crate::network::cores;
use crate::network::kernels::Request;
use crate::text::nearest;
use crate::train::toml_file::TomlFile;

/// How a machine trains a grid.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Machine {
    /// The kernels of OpenBLAS to train with.
    pub(crate) kernels: Option<Request>,
}

impl Machine {
    /// Reads the section of a grid file, if it has one.
    ///
    /// # Errors
    /// Where a key is unknown or the kernels are.
    pub(crate) fn read(file: &TomlFile, grid: &DeTable<'_>) -> Result<Self> {
        const KERNELS: &str = "kernels";
        let Some(section) = grid.get("machine") else { return Ok(Self::default()) };
        let DeValue::Table(pairs) = section.get_ref() else {
            return Err(file.unexpected(section, "a table [machine]"));
        };
        if let Some((name, _)) = pairs.iter().find(|(name, _)| name.get_ref() != KERNELS) {
            let error = file.unknown_key(name, [KERNELS].into_iter());
            let is_near = nearest(name.get_ref(), [KERNELS].into_iter()).is_some();
            return Err(if is_near { error } else { error.hint("[machine] has `kernels` alone") });
        }
        let Some(item) = pairs.get(KERNELS) else { return Ok(Self::default()) };
        let DeValue::String(name) = item.get_ref() else {
            let names = cores::names().join(", ");
            return Err(file.unexpected(item, format!("in quotes one of {names}")));
        };
        Ok(Self { kernels: Some(Request::parse(file.place(item.span()), name)?) })
    }
}
