//! The way of a look to the disk: everything below the folder is reached from a descriptor, one name at a time, and
//! nothing outside of it is, whatever somebody swaps meanwhile.

use std::ffi::{CStr, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use crate::plain_file::{NotRead, PlainFile};

/// How often the kernel is asked to follow a link while somebody renames on the way.
const MAX_TRIES: usize = 4;
/// Room for the entries of a folder that one call gives.
const LISTING_BYTES: usize = 32 * 1024;

/// A folder, as the place from which all below it is reached.
#[derive(Debug)]
pub(super) struct Disk {
    root: OwnedFd,
    path: PathBuf,
    /// Whether the kernel is asked to keep a path inside; it can since Linux 5.6, where no sandbox forbids it.
    openat2: bool,
    /// What all calls cost so far.
    #[cfg(test)]
    cost: std::sync::atomic::AtomicUsize,
}

/// Why what a link leads to was not opened.
#[derive(Debug)]
pub(super) enum Unreached {
    /// It is not in the folder.
    Outside,
    Io(io::Error),
}

impl From<Errno> for Unreached {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl Disk {
    /// The folder at a path without links.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let root = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = path.to_owned();
        Ok(Self {
            root,
            path,
            openat2: true,
            #[cfg(test)]
            cost: std::sync::atomic::AtomicUsize::new(0),
        })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The folder itself, to be listed.
    pub(super) fn top(&self) -> rustix::io::Result<OwnedFd> {
        self.folder(self.root(), OsStr::new("."))
    }

    /// Opens a folder that is not a link, to be listed.
    pub(super) fn folder(&self, above: impl AsFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
        self.note(Path::new(name));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(&above, name, flags, Mode::empty()))
    }

    /// Opens a folder as the way to others, through a link if it is one: enough to ask what lies in it.
    pub(super) fn passage(&self, above: impl AsFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
        self.note(Path::new(name));
        rustix::fs::openat(above, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    /// Opens a file that is not a link.
    pub(super) fn file(&self, folder: impl AsFd, name: &OsStr) -> Result<PlainFile, NotRead> {
        self.note(Path::new(name));
        let flags = PlainFile::FLAGS | OFlags::NOFOLLOW;
        PlainFile::opened(retry_on_intr(|| rustix::fs::openat(&folder, name, flags, Mode::empty())))
    }

    pub(super) fn stat(&self, folder: impl AsFd, name: &OsStr, flags: AtFlags) -> rustix::io::Result<Stat> {
        self.note(Path::new(name));
        rustix::fs::statat(folder, name, flags)
    }

    /// Gives each entry of a folder, but for the folder itself and the one above.
    pub(super) fn list(
        &self,
        folder: impl AsFd,
        buffer: &mut Vec<u8>,
        mut each: impl FnMut(&CStr, FileType),
    ) -> rustix::io::Result<()> {
        self.note(Path::new("."));
        buffer.clear();
        buffer.reserve(LISTING_BYTES);
        let room: &mut [MaybeUninit<u8>] = buffer.spare_capacity_mut();
        let mut entries = RawDir::new(folder, room);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                each(entry.file_name(), entry.file_type());
            }
        }
        Ok(())
    }

    /// Opens what a path below the folder leads to, as [`PlainFile::FLAGS`] say, through links that stay inside.
    pub(super) fn reach(&self, below: &Path) -> Result<OwnedFd, Unreached> {
        self.note(below);
        for _ in 0..MAX_TRIES {
            if !self.openat2 {
                break;
            }
            let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            let opened = || rustix::fs::openat2(&self.root, below, PlainFile::FLAGS, Mode::empty(), inside);
            match retry_on_intr(opened) {
                Ok(opened) => return Ok(opened),
                Err(Errno::AGAIN) => {}
                // An absolute link may lead back inside. The others are what says that there is no such call.
                Err(Errno::XDEV | Errno::NOSYS | Errno::PERM) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.reach_step_by_step(below)
    }

    /// The same where the kernel does not keep a path inside by itself: where it leads is found out first, and then gone
    /// to name by name without a link, so that nothing that is swapped in between leads out.
    fn reach_step_by_step(&self, below: &Path) -> Result<OwnedFd, Unreached> {
        let real = self.path.join(below).canonicalize().map_err(Unreached::Io)?;
        let Ok(inside) = real.strip_prefix(&self.path) else { return Err(Unreached::Outside) };
        let (Some(folders), Some(name)) = (inside.parent(), inside.file_name()) else { return Ok(self.top()?) };
        let mut at = self.passage(self.root(), OsStr::new("."))?;
        for folder in folders {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = rustix::fs::openat(&at, folder, flags, Mode::empty())?;
        }
        Ok(retry_on_intr(|| rustix::fs::openat(&at, name, PlainFile::FLAGS | OFlags::NOFOLLOW, Mode::empty()))?)
    }

    /// Counts a call: one, and one more for each further name that the system has to follow.
    #[cfg(test)]
    fn note(&self, path: &Path) {
        self.cost.fetch_add(path.components().count(), std::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(not(test))]
    #[inline]
    #[allow(clippy::unused_self, reason = "tests count")]
    fn note(&self, _: &Path) {}

    #[cfg(test)]
    pub(super) fn cost(&self) -> usize {
        self.cost.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn without_openat2(mut self) -> Self {
        self.openat2 = false;
        self
    }
}
