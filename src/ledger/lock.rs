//! One writer per ledger: an advisory lock on `ledger.lock`, with the holder's pid as its content.
//!
//! The lock belongs to the open file and ends with the process, however it ends; a file that is left behind locks
//! nothing. The store itself is not locked, so that readers can look beside the writer. The lock file is never removed:
//! removing it would let two processes lock two files of one name. Nor is it touched at the end: when it was changed
//! last is a part of the ledger's mark.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::folder::{self, LOCK, NO_LINK};
use super::mark::Stamp;
use super::{OpenError, ReadError};

/// A holder that is just going, or a reader that is just asking who holds it, gets this many chances to let go.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// The lock, held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    /// Locked while the ledger cannot be written: a lock needs no room on a disk that is full.
    folder: Option<File>,
    path: PathBuf,
    /// The file as the holder before left it; nothing where there was none.
    pub(super) found: Option<Stamp>,
}

/// A truenorth that has the ledger open to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its pid, where it could be read; a number of its own pid namespace.
    pub pid: Option<u32>,
    /// Whether it could write the ledger when it tried last.
    pub writes: bool,
}

impl Lock {
    /// Takes the lock of the ledger in `dir`, or says who has it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK);
        let failed = |action| {
            let path = path.clone();
            move |source| OpenError::File { action, path, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NO_LINK)
            .open(&path)
            .map_err(failed("open for writing"))?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < TRIES => {
                    tries += 1;
                    thread::sleep(BETWEEN_TRIES);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(OpenError::InUse { path: dir.to_owned(), pid: read_pid(&mut file) });
                }
                Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
            }
        }
        let found = file.metadata().map_err(failed("look at"))?;
        let found = (found.len() > 0).then(|| Stamp::new(&found));
        // A file system that locks no folders only shows less to readers.
        Ok(Self { file, folder: File::open(dir).ok(), path, found })
    }

    /// Shows readers whether the ledger can be written.
    pub(super) fn show(&self, writes: bool) {
        if let Some(folder) = &self.folder {
            let _ = if writes { folder.unlock() } else { folder.try_lock().map_err(io::Error::from) };
        }
    }

    /// Writes down who holds it, and gives what the file is from now on.
    pub(super) fn sign(&mut self) -> Result<Stamp, OpenError> {
        let failed = |source| OpenError::File { action: "write the pid to", path: self.path.clone(), source };
        // In one write, for a full disk must not leave half a number; what is left of a longer one goes after it.
        let pid = format!("{}\n", std::process::id());
        self.file.rewind().map_err(failed)?;
        self.file.write_all(pid.as_bytes()).map_err(failed)?;
        self.file.set_len(pid.len() as u64).map_err(failed)?;
        self.file.metadata().map(|found| Stamp::new(&found)).map_err(failed)
    }
}

/// Who has the ledger in `dir` open to write, if anybody has.
pub(super) fn holder(dir: &Path) -> Result<Option<Holder>, ReadError> {
    let path: PathBuf = dir.join(LOCK);
    let mut file = match OpenOptions::new().read(true).custom_flags(NO_LINK).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReadError::Lock { path, source }),
    };
    // A shared lock, for as long as this function lasts: the pid alone could be that of a process long gone.
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let shown = File::open(dir).map(|folder| folder.try_lock_shared());
            let writes = !matches!(shown, Ok(Err(TryLockError::WouldBlock)));
            Ok(Some(Holder { pid: read_pid(&mut file), writes }))
        }
        Err(TryLockError::Error(source)) => Err(ReadError::Lock { path, source }),
    }
}

/// Names the ledger in `dir` and who has it, so that two who look at one path can tell whether they mean one file: another
/// machine or container has another one there. Nothing where it cannot be looked at.
#[must_use]
pub fn identity(dir: &Path) -> Option<String> {
    let store = fs::symlink_metadata(folder::store(dir)).ok()?;
    let mut lock = OpenOptions::new().read(true).custom_flags(NO_LINK).open(dir.join(LOCK)).ok()?;
    Some(format!("{}.{:x}.{:x}", read_pid(&mut lock)?, store.dev(), store.ino()))
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
