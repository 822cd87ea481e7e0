//! Reads what lies in `.git`, which is distrusted: plain files of a bounded size only. A FIFO would keep the reader
//! waiting, a device would give bytes without end.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::plain_file::PlainFile;

/// Reads a file whole; `None` where there is none.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let read = plain(path)?.map(|file| file.read(most, &mut bytes)).transpose().map_err(io::Error::from)?;
    Ok(read.map(|()| bytes))
}

/// Opens a plain file of at most so many bytes; `None` where there is none.
pub(super) fn open(path: &Path, most: u64) -> io::Result<Option<File>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    Ok(plain(path)?.map(|file| file.up_to(most)).transpose()?)
}

fn plain(path: &Path) -> io::Result<Option<PlainFile>> {
    // Before it is opened, as opening some devices does something.
    let Some(metadata) = present(fs::metadata(path))? else { return Ok(None) };
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a plain file"));
    }
    present(PlainFile::open(path).map_err(io::Error::from))
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
