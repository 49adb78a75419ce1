//! How fast results can be written where they are to go: short runs wait for the disk.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::grid::disk::{clear_states, make_own_folder, make_run_folder, write_together};
use crate::grid::workers::on_each_worker;

/// How many runs a second `workers` write together, for a moment, whose files have so many bytes. They
/// write into a folder of their own in the results folder, or beside where it would be, and remove it.
///
/// # Errors
/// [`crate::error::Error::Write`] where nothing can be written there.
pub(crate) fn runs_per_second(
    root: &Path,
    workers: usize,
    bytes: [usize; 3],
    moment: Duration,
) -> Result<f64> {
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    let there = absolute.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let folder = there.join(format!(".rookie-dry-run-{}", std::process::id()));
    make_own_folder(&folder)?;
    let begun = Instant::now();
    let written = on_each_worker(workers, |worker| {
        let mut count = 0;
        while count == 0 || begun.elapsed() < moment {
            write_like_a_run(&folder.join(format!("{worker}-{count}")), bytes)?;
            count += 1;
        }
        Ok(count)
    });
    let seconds = begun.elapsed().as_secs_f64();
    clear_states(&folder)?;
    let written: Vec<usize> = written?.into_iter().collect::<Result<_>>()?;
    Ok(written.iter().sum::<usize>() as f64 / seconds)
}

/// Writes as much as a run, in the same steps.
fn write_like_a_run(folder: &Path, bytes: [usize; 3]) -> Result<()> {
    make_run_folder(folder)?;
    let files = [("curve", bytes[0]), ("model", bytes[1]), ("predictions", bytes[2])];
    let files = files.map(|(name, bytes)| (folder.join(name), vec![1; bytes]));
    write_together(&files.each_ref().map(|(path, bytes)| (&**path, &**bytes)))?;
    write_together(&[(&folder.join("record"), &[1; 1000])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn writing_is_measured_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("results/my");
        let rate = runs_per_second(&root, 2, [100, 1000, 10], Duration::from_millis(1)).unwrap();
        assert!(rate > 0.0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
