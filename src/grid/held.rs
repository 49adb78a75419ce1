//! What a folder holds, and whether a grid or a run may be trained into it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{Error, Place, Result};
use crate::grid::damaged_grid::disagreement;
use crate::grid::disk::{GRID, STATE, refuse_link, remove, write_whole};
use crate::grid::growth::{Growth, placed, refuse_other_data};
use crate::grid::names::{
    CURVE, DRAWN, LEFT_OUT, MODEL, PREDICTIONS, RECORD, RECORDED, REFIT, RUNS, SHARDS, STAGES,
};
use crate::grid::run_folder::states_of;
use crate::grid::saved::entries;
use crate::grid::space::{Grid, Run};
use crate::train::provenance::Provenance;
use crate::train::toml_file::TomlFile;

/// The grid that a results folder was begun with, if it is one.
///
/// # Errors
/// Where its `grid.toml` cannot be read.
pub fn read_grid(root: &Path) -> Result<Option<Grid>> {
    let path = root.join(GRID);
    if !path.exists() {
        return Ok(None);
    }
    let grid = TomlFile::read(&path).and_then(|file| Grid::parse(&file));
    grid.map(Some).map_err(|error| {
        let root = root.display();
        error.hint(format!(
            "the runs in the folder are intact, and `rookie grid NAME --out {root}` with the grid that \
             they are of writes this file anew"
        ))
    })
}

/// Whether a folder holds a grid's results.
pub fn is_grid(root: &Path) -> bool {
    root.join(GRID).exists()
}

/// Whether a folder is one of results. A `grid.toml` alone may be a user's own file.
fn is_results(root: &Path) -> bool {
    let has_record = |run: &PathBuf| run.join(RECORD).exists();
    is_grid(root) && (root.join(STATE).exists() || entries(&root.join(RUNS)).iter().any(has_record))
}

/// Refuses a folder for a single run that holds other things, or that is, or lies in, the results folder
/// of a grid or a record.
///
/// # Errors
/// [`Error::Input`] where it does.
pub fn refuse_in_results(folder: &Path) -> Result<()> {
    let hint = "name another folder with --out";
    refuse_recorded(folder)?;
    if is_grid(folder) {
        return Err(Error::input(Place::file(folder), "holds a grid's results").hint(hint));
    }
    refuse_within(folder)?;
    let is_run = folder.join(RECORD).exists() || states_of(folder).exists();
    if is_run { Ok(()) } else { refuse_foreign(folder, &[CURVE, MODEL, PREDICTIONS], RECORD) }
}

/// Refuses a folder that a grid may not be trained into, whichever grid: a record, one within another results
/// folder, and one that holds other things.
pub(super) fn refuse_unsuitable(root: &Path) -> Result<()> {
    refuse_recorded(root)?;
    refuse_within(root)?;
    refuse_others_of(root)
}

/// Refuses a folder for results that lies in the results folder of a grid or a record.
fn refuse_within(folder: &Path) -> Result<()> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let whole = absolute.canonicalize().unwrap_or(absolute);
    let existing = whole.ancestors().skip(1).find_map(|it| it.canonicalize().ok());
    let is_root = |root: &&Path| root.join(RECORDED).exists() || is_results(root);
    let Some(root) = existing.as_deref().and_then(|it| it.ancestors().find(is_root)) else {
        return Ok(());
    };
    let problem = format!("lies in the results folder {}", root.display());
    Err(Error::input(Place::file(folder), problem).hint("name another folder with --out"))
}

/// Refuses a folder that this grid cannot be trained into, and changes nothing in it. Returns the names of the
/// finished runs that would come back from `left_out`.
///
/// # Errors
/// Where the folder holds other things, another grid whose runs this one lacks, or what was trained on other
/// data.
pub fn refuse_other_results(
    root: &Path,
    grid: (&Grid, bool),
    data: &Provenance,
) -> Result<HashSet<String>> {
    refuse_unsuitable(root)?;
    let (holds, growth) = taken_over(root, grid, data)?;
    if matches!((holds, &growth), (Holds::Grid(_), None)) {
        refuse_other_data(root, &placed(root, grid.0.runs()?), data)?;
    }
    Ok(growth.map(|it| it.finished_before(root)).unwrap_or_default())
}

/// What a folder holds, and how a grid takes it over if that is another one, whose runs may be left out or not.
/// Nothing is changed. Where the folder is this grid's, nothing is to be changed before its records and checkpoints
/// are read anyway, so these are not compared with the data here.
///
/// # Errors
/// Where this grid lacks runs that may not be left out, or something was trained on other data.
pub(super) fn taken_over(
    root: &Path,
    (grid, may_leave_out): (&Grid, bool),
    data: &Provenance,
) -> Result<(Holds, Option<Growth>)> {
    let holds = what_is_held(root, grid)?;
    let growth = match &holds {
        Holds::Grid(there) => Growth::plan(root, there, grid, may_leave_out, data)?,
        Holds::Nothing | Holds::Damaged(..) => {
            refuse_other_data(root, &placed(root, grid.runs()?), data)?;
            None
        }
    };
    Ok((holds, growth))
}

/// Refuses a results folder of which a folder that rookie writes into is a link: it may be another's.
pub(super) fn refuse_links(root: &Path, runs: &[Run]) -> Result<()> {
    let state = root.join(STATE);
    let of_shards = entries(&state.join(SHARDS));
    let own = [RUNS, LEFT_OUT, REFIT].map(|name| root.join(name));
    let own = own.into_iter().chain([state.join(SHARDS), state.join(STAGES), state]);
    own.chain(of_shards).try_for_each(|path| refuse_link(&path))?;
    // Most folders have no link, and a grid may have a million runs.
    let entries = fs::read_dir(root.join(RUNS)).into_iter().flatten().filter_map(io::Result::ok);
    let mut links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    let of_grid = |link: &fs::DirEntry| runs.iter().any(|run| link.file_name() == *run.name);
    links.find(of_grid).map_or(Ok(()), |link| refuse_link(&link.path()))
}

/// Results that were recorded, with most models left out, are not to be trained over.
fn refuse_recorded(root: &Path) -> Result<()> {
    if !root.join(RECORDED).exists() {
        return Ok(());
    }
    let problem = format!("holds recorded results, as the file {RECORDED} in it says");
    Err(Error::input(Place::file(root), problem).hint("name another folder with --out"))
}

/// A folder with other things in it than rookie's `own` and what commands draw is not written to. It lacks
/// the file by which it would be known.
fn refuse_foreign(root: &Path, own: &[&str], lacks: &str) -> Result<()> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::unexpected(Place::file(root), "a file", "a folder")
                .hint("name another folder with --out"));
        }
        Err(source) => return Err(Error::read(root, source)),
    };
    // Names with a dot are rookie's own state, or none of its business.
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let mut entries = entries.filter_map(io::Result::ok);
    let known = |name: &std::ffi::OsStr| DRAWN.iter().chain(own).any(|known| name == *known);
    let foreign = entries.find(|entry| !hidden(&entry.file_name()) && !known(&entry.file_name()));
    match foreign {
        None => Ok(()),
        Some(entry) => Err(Error::input(
            Place::file(root),
            format!("is not empty ({}) and has no {lacks}", entry.file_name().display()),
        )
        .hint("name a new or empty folder with --out")),
    }
}

/// Refuses a folder that holds other things than a grid's results.
fn refuse_others_of(root: &Path) -> Result<()> {
    if is_results(root) {
        return Ok(());
    }
    match refuse_foreign(root, &[], GRID) {
        // Another shard has begun the grid since.
        Err(_) if is_results(root) => return Ok(()),
        Err(_) if is_grid(root) => {
            let problem = "is not replaced, because no results are beside it";
            return Err(Error::input(Place::file(root.join(GRID)), problem)
                .hint("name a new or empty folder with --out"));
        }
        refused => refused?,
    }
    if fs::read_dir(states_of(root)).is_ok_and(|mut states| states.next().is_some()) {
        return Err(Error::input(Place::file(root), "holds a run in progress, and no grid")
            .hint("name another folder with --out"));
    }
    Ok(())
}

/// Writes what a command makes of results, as [`write_whole`] does, but never through a link in a results folder.
///
/// # Errors
/// [`Error::Input`] that names the link, and [`Error::Write`] with the path.
pub fn write_output(path: &Path, bytes: &[u8]) -> Result<()> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    if let Some(root) = absolute.ancestors().skip(1).find(|it| is_results(it)) {
        absolute.ancestors().take_while(|it| *it != root).try_for_each(refuse_link)?;
    }
    write_whole(path, bytes)
}

/// How much is read at either end of a file to know who wrote it.
const ENDS: u64 = 1 << 20;

/// Refuses to replace a file without all `marks`, which stand near the beginning or the end of all that a command
/// writes under such a name. The file was asked for with `flag`.
///
/// # Errors
/// [`Error::Input`] that names it, and where it cannot be read.
pub fn refuse_foreign_file(path: &Path, marks: &[&str], flag: &str) -> Result<()> {
    // What is no regular file is refused when it is written to.
    if !path.is_file() {
        return Ok(());
    }
    let read_ends = || -> io::Result<Vec<u8>> {
        let (mut file, mut ends) = (File::open(path)?, Vec::new());
        file.by_ref().take(ENDS).read_to_end(&mut ends)?;
        file.seek(SeekFrom::Start(file.metadata()?.len().saturating_sub(ENDS)))?;
        file.take(ENDS).read_to_end(&mut ends)?;
        Ok(ends)
    };
    let ends = read_ends().map_err(|source| Error::read(path, source))?;
    let has = |mark: &&str| ends.windows(mark.len()).any(|part| part == mark.as_bytes());
    if ends.is_empty() || marks.iter().all(has) {
        return Ok(());
    }
    let problem = "is there and was not written by this command";
    Err(Error::input(Place::file(path), problem).hint(format!("name another one with {flag}")))
}

/// Removes a file that a command wrote, if it is there and has the mark of that. A user's own stays.
///
/// # Errors
/// [`Error::Write`] with the path.
pub(super) fn remove_own(path: &Path, mark: &str) -> Result<()> {
    let is_file = path.is_file() && !path.is_symlink();
    let is_own = is_file && refuse_foreign_file(path, &[mark], "").is_ok();
    if is_own { remove(path) } else { Ok(()) }
}

/// What a folder has of a grid.
pub(super) enum Holds {
    Nothing,
    /// Some grid.
    Grid(Box<Grid>),
    /// The grid's runs, and a `grid.toml` that cannot be read, and why not.
    Damaged(Place, String),
}

/// What a folder holds.
///
/// # Errors
/// [`Error::Input`] where its `grid.toml` cannot be read and its runs are not those of this grid.
pub(super) fn what_is_held(root: &Path, grid: &Grid) -> Result<Holds> {
    match read_grid(root) {
        Err(Error::Input { place, problem, .. }) => {
            let Some(other) = disagreement(root, &placed(root, grid.runs()?))? else {
                return Ok(Holds::Damaged(place, problem));
            };
            let hint = format!("it is not written again from this grid, because {other}");
            Err(Error::input(place, problem).hint(hint))
        }
        read => Ok(read?.map_or(Holds::Nothing, |grid| Holds::Grid(Box::new(grid)))),
    }
}

/// Refuses a folder of another grid, at which others may be at work.
pub(super) fn refuse_another_grid(root: &Path, grid: &Grid) -> Result<()> {
    let there = match what_is_held(root, grid)? {
        Holds::Nothing => return Ok(()),
        Holds::Damaged(place, problem) => {
            return Err(Error::input(place, problem)
                .hint("start this shard when no other is at work, and it writes the file anew"));
        }
        Holds::Grid(there) => there,
    };
    let Some(difference) = grid.difference(&there)? else { return Ok(()) };
    let problem = format!("holds another grid ({difference}), which other processes are training");
    Err(Error::input(Place::file(root), problem)
        .hint("name another folder with --out, or wait until they have stopped"))
}
