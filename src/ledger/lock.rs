//! One writer per ledger: an advisory lock on `ledger.lock`, with the holder's pid as its content.
//!
//! The lock belongs to the open file and ends with the process, however it ends; a file that is left behind locks
//! nothing. The store itself is not locked, so that readers can look beside the writer. The lock file is never removed:
//! removing it would let two processes lock two files of one name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::{OpenError, ReadError};

pub(super) const NAME: &str = "ledger.lock";
/// A holder that is just going, or a reader that is just asking who holds it, gets this many chances to let go.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// The lock, held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

/// A truenorth that has the ledger open to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its pid, where it could be read; a number of its own pid namespace.
    pub pid: Option<u32>,
}

impl Lock {
    /// Takes the lock of the ledger in `dir`, or says who has it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(NAME);
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
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed("write the pid to"))?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The lock goes with the file; the pid is taken out only so that nobody reads an old one.
        let _ = self.file.set_len(0);
    }
}

/// Who has the ledger in `dir` open to write, if anybody has.
pub(super) fn holder(dir: &Path) -> Result<Option<Holder>, ReadError> {
    let path: PathBuf = dir.join(NAME);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReadError::Lock { path, source }),
    };
    // A shared lock, for as long as this function lasts: the pid alone could be that of a process long gone.
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(Holder { pid: read_pid(&mut file) })),
        Err(TryLockError::Error(source)) => Err(ReadError::Lock { path, source }),
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
