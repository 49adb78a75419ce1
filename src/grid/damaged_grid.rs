//! Whether a results folder whose `grid.toml` is damaged is that of a grid: by what its runs have left.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::{Error, Result};
use crate::grid::names::RUNS;
use crate::grid::run_folder::read_run;
use crate::grid::saved::{all_states_of, entries, read_saved};
use crate::grid::space::{Run, spelled};

/// What in the folder is of another grid than that of these runs, in a clause. A record that cannot be read
/// may be; a damaged checkpoint is set aside later and lost to nobody.
///
/// # Errors
/// Where the system does not let something be read.
pub(super) fn disagreement(root: &Path, runs: &[Run]) -> Result<Option<String>> {
    let by_name: HashMap<&str, &Run> = runs.iter().map(|run| (&run.name[..], run)).collect();
    for folder in entries(&root.join(RUNS)) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let record = match read_run(&folder) {
            Ok(None) => continue,
            Ok(Some(record)) => record,
            Err(Error::Input { place, problem, .. }) => {
                return Ok(Some(format!("{place} cannot be read ({problem})")));
            }
            Err(error) => return Err(error),
        };
        let Some(run) = by_name.get(&*name) else {
            return Ok(Some(format!("{name} is not one of its runs")));
        };
        if let Some(difference) = record.values.difference(&run.values) {
            return Ok(Some(format!("{name} has other values ({difference})")));
        }
    }
    let values: HashSet<String> = runs.iter().map(|run| spelled(&run.values)).collect();
    for folder in all_states_of(root) {
        let saved = read_saved(&folder)?;
        let mut usable = saved.iter().filter_map(|(path, read)| Some((path, read.as_ref().ok()?)));
        if let Some((path, _)) = usable.find(|(_, it)| !values.contains(&spelled(&it.values))) {
            return Ok(Some(format!("{} is of another run", path.display())));
        }
    }
    Ok(None)
}
