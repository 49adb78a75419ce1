//! Writing to the disk: whole files, folders, and the locks by which a folder is this process's alone.
//! The only module that changes files.
//!
//! Every change of results goes through [`change`] (making the folder itself and removing temporary
//! files do not need to). It checks that a locked folder at its path is still the one
//! that was locked, and reaches it by a descriptor, so that nothing is written into another that has
//! taken its place, even between the check and the change.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Place, Result};

/// What makes a folder a grid's results.
pub(super) const GRID: &str = "grid.toml";
/// The folder of what is no result, in a folder of results.
pub(super) const STATE: &str = ".state";
/// What is wrong with a link in a folder of results.
const IS_LINK: &str = "is a link, and nothing in a results folder is written through one";

/// A file, whatever its path.
type Inode = (u64, u64);

/// The locks that this process holds.
static LOCKS: Mutex<Vec<Held>> = Mutex::new(Vec::new());

/// A lock that this process holds.
struct Held {
    folder: PathBuf,
    file: PathBuf,
    inode: Inode,
    opened: File, // the folder, wherever it is now
}

impl Held {
    /// A path that leads into the folder even where that was renamed, by its descriptor.
    fn reach(&self, path: &Path) -> Option<PathBuf> {
        let rest = path.strip_prefix(&self.folder).ok()?;
        Some(PathBuf::from(format!("/proc/self/fd/{}", self.opened.as_raw_fd())).join(rest))
    }

    /// Whether a path leads to the file that is locked.
    fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|about| inode(&about) == self.inode)
    }
}

fn inode(about: &Metadata) -> Inode {
    (about.dev(), about.ino())
}

/// The lock of a folder, held until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    inode: Inode,
    _file: File,
}

impl Lock {
    /// For a file that is locked already.
    pub(super) fn of(file: File, path: &Path, folder: &Path) -> Result<Self> {
        let about = file.metadata().map_err(|source| Error::write(path, source))?;
        let opened = File::open(folder).map_err(|source| Error::write(folder, source))?;
        let (path, inode) = (path.to_path_buf(), inode(&about));
        let (folder_path, file_path) = (folder.to_path_buf(), path.clone());
        let held = Held { folder: folder_path, file: file_path, inode, opened };
        LOCKS.lock().expect("no panic").push(held);
        let lock = Self { path, inode, _file: file };
        // The folder may have been replaced between opening the file and locking it.
        check_locks(folder).map(|()| lock)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut locks = LOCKS.lock().expect("no panic");
        let own = locks.iter().position(|it| (&it.file, it.inode) == (&self.path, self.inode));
        own.map(|own| locks.swap_remove(own));
    }
}

/// Whether a path is in a folder that this process has locked.
fn is_locked(path: &Path) -> bool {
    LOCKS.lock().expect("no panic").iter().any(|it| path.starts_with(&it.folder))
}

/// Checks that each locked folder that a path is in is still the one that was locked, and that no folder
/// between the two has become a link.
fn check_locks(path: &Path) -> Result<()> {
    let locks = LOCKS.lock().expect("no panic");
    for held in locks.iter().filter(|it| path.starts_with(&it.folder)) {
        let is_within = |it: &&Path| it.starts_with(&held.folder) && *it != held.folder;
        let mut between = path.ancestors().skip(1).take_while(is_within);
        if let Some(link) = between.find(|folder| folder.is_symlink()) {
            return Err(Error::write(link, io::Error::other(IS_LINK)));
        }
        if !held.is_at(&held.file) {
            let problem = "it is no longer the folder that this process has locked, because it was \
                           renamed, removed or replaced";
            return Err(Error::write(&held.folder, io::Error::other(problem)));
        }
    }
    Ok(())
}

/// A path by the descriptor of the locked folder that it is in; as it is elsewhere, and without `/proc`.
fn reached(path: &Path) -> PathBuf {
    let locks = LOCKS.lock().expect("no panic");
    let by_descriptor = |held: &Held| {
        held.reach(&held.file).filter(|file| held.is_at(file)).and_then(|_| held.reach(path))
    };
    locks.iter().find_map(by_descriptor).unwrap_or_else(|| path.to_path_buf())
}

/// Changes something on the disk; `act` gets the path by which to reach it.
///
/// # Errors
/// [`Error::Write`] with the path, or with the folder that has been replaced.
pub(super) fn change<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> Result<T> {
    check_locks(path)?;
    fail_on_purpose()
        .and_then(|()| act(&reached(path)))
        .map_err(|source| Error::write(path, source))
}

/// For the tests, and not in a release: of all changes, the one counted from 1 by
/// `ROOKIE_FAIL_WRITE` fails, and so do all that come after it.
fn fail_on_purpose() -> io::Result<()> {
    static CHANGES: AtomicUsize = AtomicUsize::new(0);
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    let change = CHANGES.fetch_add(1, Ordering::Relaxed) + 1;
    let fails = std::env::var("ROOKIE_FAIL_WRITE").ok().and_then(|count| count.parse().ok());
    if fails.is_some_and(|first: usize| change >= first) {
        return Err(io::Error::other("failed on purpose"));
    }
    Ok(())
}

/// Writes a file so that it is there as a whole or not at all, also after a power cut.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_together(&[(path, bytes)])
}

/// Writes files of one folder, each as [`write_whole`] does, in this order. Flushing takes most of the
/// time, and the folder is flushed once for all of them.
///
/// # Errors
/// [`Error::Write`] with the path.
pub(super) fn write_together(files: &[(&Path, &[u8])]) -> Result<()> {
    let mut written = Vec::new();
    for &(path, bytes) in files {
        written.push(change(path, |at| {
            let target = target_of(path, at)?;
            Temporary::write(&target, bytes).map(|temporary| (temporary, target))
        })?);
    }
    let Some((_, last)) = written.last() else { return Ok(()) };
    let last = last.clone();
    for (&(path, _), (temporary, target)) in files.iter().zip(written) {
        change(path, |_| temporary.rename(&target))?;
    }
    change(files[0].0, |_| flush_parent(&last))
}

/// Writes a file that may be lost or torn by a power cut.
///
/// # Errors
/// [`Error::Write`] with the path.
pub(super) fn write_note(path: &Path, text: &str) -> Result<()> {
    change(path, |at| fs::write(at, text))
}

/// The file that a path leads to, reached `at` another. What is there already must be a regular file.
fn target_of(path: &Path, at: &Path) -> io::Result<PathBuf> {
    let target = match fs::symlink_metadata(at) {
        Ok(about) if about.is_symlink() && is_locked(path) => {
            return Err(io::Error::other(IS_LINK));
        }
        Ok(about) if about.is_symlink() => fs::canonicalize(path).map_err(|_| {
            let target = fs::read_link(path).unwrap_or_default();
            io::Error::other(format!("is a link to {}, which does not exist", target.display()))
        })?,
        _ => at.to_path_buf(),
    };
    match fs::metadata(&target) {
        Ok(about) if !about.is_file() => Err(io::Error::other("exists and is not a regular file")),
        _ => Ok(target),
    }
}

/// A file that is written and has no name yet but `.NAME.A1B2C3`, which [`sweep`] removes after a kill.
struct Temporary(PathBuf);

impl Temporary {
    /// Writes what is to be `path`, with the mode and owner of the file that is there.
    fn write(path: &Path, bytes: &[u8]) -> io::Result<Self> {
        let (mut file, temporary) = Self::create(path)?;
        if let Ok(about) = fs::metadata(path) {
            file.set_permissions(about.permissions())?;
            // Only root may give files away.
            let _ = fchown(&file, Some(about.uid()), Some(about.gid()));
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(temporary)
    }

    fn create(path: &Path) -> io::Result<(File, Self)> {
        let name = path.file_name().unwrap_or_default();
        loop {
            // The standard library seeds each with other numbers. The first digit is a letter: no date has one.
            let random = RandomState::new().hash_one(name) & 0xff_ffff | 0xa0_0000;
            let random = format!(".{random:06X}");
            let name: OsString = [".".as_ref(), name, random.as_ref()].into_iter().collect();
            let temporary = path.with_file_name(name);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => return opened.map(|file| (file, Self(temporary))),
            }
        }
    }

    fn rename(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.0, path)?;
        self.0.clear();
        Ok(())
    }
}

impl Drop for Temporary {
    /// Removes what has not been renamed.
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// Removes what a killed process has left of the files that it was writing in a folder, if that is there.
pub(super) fn sweep(folder: &Path, known: &[&str]) -> Result<()> {
    let is_left = |name: &str| {
        let (file, random) = name.strip_prefix('.')?.rsplit_once('.')?;
        let is_known = known.contains(&file) || file.ends_with(".checkpoint");
        let is_hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
        let is_random = random.len() == 6
            && random.starts_with(char::is_alphabetic)
            && random.bytes().all(is_hexadecimal);
        (is_known && is_random).then_some(())
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|source| Error::read(folder, source))?,
    };
    let left = entries.filter_map(io::Result::ok).map(|entry| entry.path());
    let left =
        left.filter(|path| path.file_name().and_then(|name| is_left(name.to_str()?)).is_some());
    left.collect::<Vec<_>>().iter().try_for_each(|path| remove(path))
}

/// Makes a folder and those above it, as requested with `flag`.
///
/// # Errors
/// [`Error::Input`] where it cannot be made or written to: nothing has been written yet.
pub fn make_folder(path: &Path, flag: &str) -> Result<()> {
    let attempt = || -> io::Result<()> {
        fail_on_purpose()?;
        let made: Vec<&Path> = path.ancestors().take_while(|it| !it.exists()).collect();
        fs::create_dir_all(path)?;
        made.iter().try_for_each(|folder| flush_parent(folder))?;
        Temporary::create(&path.join(GRID)).map(drop)
    };
    attempt().map_err(|source| {
        let hint = format!("name another one with {flag}");
        let unexpected = |found| Error::unexpected(Place::file(path), found, "a folder");
        if path.is_file() {
            return unexpected("a file".to_string()).hint(hint);
        }
        if let Some(target) = fs::read_link(path).ok().filter(|_| !path.exists()) {
            let found = format!("a link to {}, which does not exist", target.display());
            return unexpected(found).hint(hint);
        }
        let problem = format!("cannot write into this folder: {source}");
        Error::input(Place::file(path), problem).hint(hint)
    })
}

/// Refuses a link where a folder of rookie's own is, or will be.
///
/// # Errors
/// [`Error::Input`] that names it.
pub(super) fn refuse_link(path: &Path) -> Result<()> {
    if !path.is_symlink() {
        return Ok(());
    }
    Err(Error::input(Place::file(path), IS_LINK)
        .hint("put the folder itself there, or name another results folder with --out"))
}

/// Makes the folder of a run, and none above it: one that was removed does not come back in parts.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn make_run_folder(folder: &Path) -> Result<()> {
    change(folder, |at| match fs::create_dir(at) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_symlink() => {
            Err(io::Error::other(IS_LINK))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| flush_parent(at)),
    })
}

/// Makes a folder of rookie's own in a folder that is there.
///
/// # Errors
/// [`Error::Write`] with the path, and where it is a link.
pub(super) fn make_own_folder(folder: &Path) -> Result<()> {
    refuse_link(folder)?;
    change(folder, |at| fs::create_dir_all(at).and_then(|()| flush_parent(at)))
}

/// Makes a folder for states in a folder that is there.
///
/// # Errors
/// [`Error::Write`] with the path, and where it is a link.
pub fn make_state_folder(folder: &Path) -> Result<()> {
    make_own_folder(folder)?;
    sweep(folder, &[])
}

/// A new name is there after a power cut only if the folder that it stands in has been flushed.
fn flush_parent(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    File::open(parent)?.sync_all()
}

/// Removes a file, if it is there.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn remove(path: &Path) -> Result<()> {
    change(path, |at| match fs::remove_file(at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    })
}

/// Removes a folder of states and all that is in it, if it is there.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn clear_states(folder: &Path) -> Result<()> {
    change(folder, |at| match fs::remove_dir_all(at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    })
}

/// Removes a folder if it is empty.
pub fn remove_folder(folder: &Path) {
    if check_locks(folder).is_ok() {
        let _ = fs::remove_dir(reached(folder));
    }
}

/// Gives a file that cannot be used another name, one that no file has, and returns that.
///
/// # Errors
/// [`Error::Write`] with the path.
pub fn set_aside(path: &Path) -> Result<PathBuf> {
    let aside = free_name(path);
    rename(path, &aside)?;
    Ok(aside)
}

/// Gives a damaged file that is about to be replaced a second name, as [`set_aside`] does, so that a kill in
/// between leaves the file.
///
/// # Errors
/// [`Error::Write`] with the path.
pub(super) fn keep_aside(path: &Path) -> Result<PathBuf> {
    let aside = free_name(path);
    // Some file systems have no hard links. What is no regular file would not be replaced.
    change(path, |at| {
        let (to, is_file) = (reached(&aside), fs::symlink_metadata(at)?.is_file());
        if is_file && fs::hard_link(at, &to).is_ok() { Ok(()) } else { fs::rename(at, &to) }
    })?;
    Ok(aside)
}

/// The name of a damaged file, one that no file has.
fn free_name(path: &Path) -> PathBuf {
    let aside = |number: usize| {
        let mut name = path.as_os_str().to_os_string();
        name.push(if number == 1 { ".damaged".into() } else { format!(".damaged-{number}") });
        PathBuf::from(name)
    };
    let is_free = |aside: &PathBuf| fs::symlink_metadata(aside).is_err();
    (1..usize::MAX).map(aside).find(is_free).expect("there is another number")
}

/// Gives a file another name.
///
/// # Errors
/// [`Error::Write`] with the path.
pub(super) fn rename(path: &Path, to: &Path) -> Result<()> {
    change(path, |at| fs::rename(at, reached(to)))
}
