//! Reading files: regular ones, also through links, and no more than a bound. A pipe would be waited for,
//! and a device may never end.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{Error, Place, Result};

/// Opens a regular file and tells its size in bytes; `what` is expected, for messages.
///
/// # Errors
/// [`Error::Read`] where it cannot be opened, and [`Error::Input`] where it is no regular file.
pub(crate) fn open(path: &Path, what: &str) -> Result<(File, u64)> {
    let read = |source| Error::read(path, source);
    let check = |about: Metadata| {
        if about.is_file() {
            return Ok(about.len());
        }
        Err(Error::unexpected(Place::file(path), kind_of(&about), what))
    };
    // Opening some devices does something.
    check(fs::metadata(path).map_err(read)?)?;
    // And it may have been replaced since: opening a pipe must not wait.
    #[expect(clippy::disallowed_methods, reason = "it only reads")]
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(read)?;
    let length = check(file.metadata().map_err(read)?)?;
    Ok((file, length))
}

/// Reads a regular file of at most so many bytes.
///
/// # Errors
/// As [`open`], and [`Error::Input`] where it has more.
pub(crate) fn read(path: &Path, what: &str, most: u64) -> Result<Vec<u8>> {
    let (file, length) = open(path, what)?;
    let too_large = |found: String| {
        let mebibytes = most >> 20;
        let bound = if mebibytes < 1024 {
            format!("{mebibytes} MiB")
        } else {
            format!("{} GiB", most >> 30)
        };
        Error::unexpected(Place::file(path), found, format!("{what} of at most {bound}"))
    };
    if length > most {
        return Err(too_large(format!("{length} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|source| Error::read(path, source))?;
    if bytes.len() as u64 > most { Err(too_large("more bytes".into())) } else { Ok(bytes) }
}

fn kind_of(about: &Metadata) -> &'static str {
    let kind = about.file_type();
    match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}
