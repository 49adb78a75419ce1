//! The locks of a results folder: of one process that trains all of it, or of each shard. A lock ends with its
//! process, however that ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::{Error, Place, Result};
use crate::grid::disk::{Lock, STATE, change, refuse_link};

/// How long others may look whether something is locked.
const LOOKING: Duration = Duration::from_millis(200);
/// What is locked while one process trains all of a grid.
const WHOLE: &str = "whole.lock";
/// How the names begin of what is locked while a process trains a shard.
pub(super) const SHARD: &str = "shard-";
/// How long a shard waits for another that plans.
const PLANNING: Duration = Duration::from_secs(120);

/// Takes the lock of a folder of results, of a grid or of a run.
///
/// # Errors
/// [`Error::Input`] where another process holds it.
pub fn lock(root: &Path) -> Result<Lock> {
    let path = root.join(STATE).join("lock");
    hold(open_state_lock(root, &path)?, &path, ("this folder", root))
}

/// Takes the lock of a part of a folder, by a file of its own.
pub(super) fn lock_part(root: &Path, file: &str, what: &str) -> Result<Lock> {
    let path = root.join(STATE).join(file);
    let until = Instant::now() + LOOKING;
    loop {
        match hold(open_lock(&path)?, &path, (what, root)) {
            // Others may be looking whether it is locked, and hold it for that moment.
            Err(Error::Input { .. }) if Instant::now() < until => {
                sleep(Duration::from_millis(10));
            }
            held => return held,
        }
    }
}

/// Whether some process has locked a file.
pub(super) fn is_taken_by_any(path: &Path) -> Result<bool> {
    match File::open(path) {
        Ok(file) => Ok(matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::read(path, source)),
    }
}

/// Takes the lock by which a shard knows, without waiting, that the folder is one process's alone for long.
/// A shard that looks at it holds it for a moment.
///
/// # Errors
/// [`Error::Write`] with the path.
pub(super) fn lock_whole(root: &Path) -> Result<Lock> {
    let path = root.join(STATE).join(WHOLE);
    let file = open_lock(&path)?;
    change(&path, |_| file.lock())?;
    Lock::of(file, &path, root)
}

/// Whether some process trains all of a grid in this folder.
pub(super) fn is_whole_locked(root: &Path) -> bool {
    is_taken_by_any(&root.join(STATE).join(WHOLE)).unwrap_or(false)
}

/// The file by which a shard is locked, in the folder of states.
pub(super) fn shard_lock(index: usize) -> String {
    format!("{SHARD}{index}.lock")
}

fn open_state_lock(root: &Path, path: &Path) -> Result<File> {
    let folder = root.join(STATE);
    refuse_link(&folder)?;
    change(&folder, |at| fs::create_dir_all(at))?;
    open_lock(path)
}

/// Opens a file to be locked: for reading too, without which NFS refuses a lock that is shared.
pub(super) fn open_lock(path: &Path) -> Result<File> {
    refuse_link(path)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    change(path, |at| options.open(at))
}

/// Locks something by a file until that is dropped or its process ends, however it ends.
fn hold(file: File, path: &Path, (what, folder): (&str, &Path)) -> Result<Lock> {
    match file.try_lock() {
        Ok(()) => Lock::of(file, path, folder),
        Err(TryLockError::WouldBlock) => Err(is_taken(what, folder)),
        Err(TryLockError::Error(source)) => Err(Error::write(folder, source)),
    }
}

fn is_taken(what: &str, folder: &Path) -> Error {
    Error::input(Place::file(folder), format!("another rookie is writing into {what}"))
        .hint("wait for it, or name another folder with --out")
}

/// Takes the lock of a folder as one of several. Another shard may be planning, which takes a
/// moment and is waited for; one that trains the whole grid is not.
pub(super) fn lock_with_others(root: &Path) -> Result<Lock> {
    let path = root.join(STATE).join("lock");
    let file = open_state_lock(root, &path)?;
    let until = Instant::now() + PLANNING;
    loop {
        match file.try_lock_shared() {
            Ok(()) => return Lock::of(file, &path, root),
            Err(TryLockError::WouldBlock) if is_whole_locked(root) => {
                return Err(is_taken("this folder without --shard", root));
            }
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => return Err(is_taken("this folder", root)),
            Err(TryLockError::Error(source)) => return Err(Error::write(root, source)),
        }
    }
}

/// Whether some process is training a results folder, or a shard of it. Looking disturbs nobody.
pub fn is_trained(root: &Path) -> bool {
    let entries = fs::read_dir(root.join(STATE)).into_iter().flatten().filter_map(io::Result::ok);
    let mut shards = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(SHARD));
    is_whole_locked(root) || shards.any(|it| is_taken_by_any(&it.path()).unwrap_or(false))
}
