//! Files that are looked at one after the other, as a rule neighbours: the folders on the way to the last one stay open,
//! so that the system follows one name for the next file and not its whole path.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Stat};

use super::disk::Disk;

/// The way to the last file.
#[derive(Debug)]
pub(super) struct Near<'d> {
    disk: &'d Disk,
    at: PathBuf,
    /// The folder of each name in `at`.
    open: Vec<OwnedFd>,
}

impl<'d> Near<'d> {
    pub(super) fn new(disk: &'d Disk) -> Self {
        Self { disk, at: PathBuf::new(), open: Vec::new() }
    }

    /// What the system says of what a path below the folder leads to. It may lead out: the answer tells which file it
    /// is, and that is compared with one that was inside.
    pub(super) fn stat(&mut self, path: &Path) -> io::Result<Stat> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            return Ok(rustix::fs::fstat(self.disk.root())?);
        }
        // Such paths are put together here, name by name. `Path` would take each of them apart in all its names.
        let (folder, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
            Some(end) => (&bytes[..end], &bytes[end + 1..]),
            None => (&[][..], bytes),
        };
        let disk = self.disk;
        let folder = self.folder(Path::new(OsStr::from_bytes(folder)))?;
        Ok(disk.stat(folder, OsStr::from_bytes(name), AtFlags::empty())?)
    }

    fn folder(&mut self, path: &Path) -> io::Result<BorrowedFd<'_>> {
        if self.at.as_os_str() != path.as_os_str() {
            let common = self.at.iter().zip(path).take_while(|(here, there)| here == there).count();
            self.open.truncate(common);
            self.at = path.iter().take(common).collect();
            for name in path.iter().skip(common) {
                let above = self.open.last().map_or(self.disk.root(), |open| open.as_fd());
                let open = self.disk.passage(above, name)?;
                self.open.push(open);
                self.at.push(name);
            }
        }
        Ok(self.open.last().map_or(self.disk.root(), |open| open.as_fd()))
    }
}
