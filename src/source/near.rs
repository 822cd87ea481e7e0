//! Files that are looked at one after the other, as a rule neighbours: the folder that holds them stays open, so that
//! the system follows its path once and not for each of them. That is a third of what opening a small file costs.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat};

/// The way to files whose folder is the same as that of the file before, or another.
///
/// A folder that another one takes the place of meanwhile stays the one that it was; the stamps of the folders show it.
#[derive(Debug, Default)]
pub(super) struct Near {
    folder: Option<(PathBuf, OwnedFd)>,
}

impl Near {
    /// What the system says of a file; of a link, not of what it leads to.
    pub(super) fn stat(&mut self, path: &Path) -> io::Result<Stat> {
        let (folder, name) = self.at(path)?;
        Ok(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Opens a file that is no link, without waiting for a writer at the other end of a FIFO.
    pub(super) fn open(&mut self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (folder, name) = self.at(path)?;
        Ok(rustix::io::retry_on_intr(|| rustix::fs::openat(folder, name, flags, Mode::empty()))?.into())
    }

    fn at<'p>(&mut self, path: &'p Path) -> io::Result<(&OwnedFd, &'p OsStr)> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        };
        let open = match self.folder.take().filter(|(open, _)| open.as_os_str() == folder.as_os_str()) {
            Some(open) => open,
            None => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                (folder.to_owned(), rustix::fs::openat(CWD, folder, flags, Mode::empty())?)
            }
        };
        Ok((&self.folder.insert(open).1, name))
    }
}
