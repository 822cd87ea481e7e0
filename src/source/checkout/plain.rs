//! Reads what lies in `.git`, which is distrusted: plain files of a bounded size only. A FIFO would keep the reader
//! waiting, a device would give bytes without end.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Reads a file whole; `None` where there is none.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(path, most)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(Some(bytes)) }
}

/// Opens a plain file of at most so many bytes; `None` where there is none.
pub(super) fn open(path: &Path, most: u64) -> io::Result<Option<fs::File>> {
    // Before it is opened, as opening some devices does something; and after, as it may have been replaced.
    let Some(metadata) = present(fs::metadata(path))? else { return Ok(None) };
    check(&metadata, most)?;
    #[allow(clippy::cast_possible_wrap, reason = "flags are a bit set")]
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let Some(file) = present(OpenOptions::new().read(true).custom_flags(flags).open(path))? else { return Ok(None) };
    check(&file.metadata()?, most)?;
    Ok(Some(file))
}

/// Whether there is something at a path, also a link that leads nowhere.
pub(super) fn exists(path: &Path) -> io::Result<bool> {
    Ok(present(path.symlink_metadata())?.is_some())
}

/// What was asked for, or `None` where nothing is there.
pub(super) fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn check(metadata: &fs::Metadata, most: u64) -> io::Result<()> {
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a plain file"));
    }
    if metadata.len() > most { Err(too_large()) } else { Ok(()) }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "it is too large")
}
