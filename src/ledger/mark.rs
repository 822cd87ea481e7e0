//! `ledger.mark`: by what a ledger is known to be the one that this folder had last.
//!
//! An older ledger (a backup, a cache of CI, one whose log lost its end) says of each service that was updated since what
//! is no longer true, and would have it updated to its manifest again: a restart for nothing. SQLite cannot tell, for such
//! a ledger is whole. So the mark beside it says how many transactions it had, and which files it was:
//!
//! - While a ledger is open its mark is written after each commit. After a kill the ledger has as many transactions as
//!   its mark, or one more; fewer show that it lost some. The lock file was not touched since either: files that were put
//!   back, all of them, have another time of change, which no program can set.
//! - When a ledger is closed its mark takes the times of the file itself, so that any later change of it shows.
//!
//! The mark is written in place and forced to disk once, before the first commit. One that is lost or older than its
//! ledger after a power failure raises a false alarm at worst, and that costs a read of what is about to be updated.
//! Device numbers are no part of it: they change when a machine starts.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::{MARK, NO_LINK, beside, read_short};

/// The file has this length always, so that it never needs room on a full disk, and no write of it is a part of one.
const LENGTH: usize = 256;

/// A file at one moment: which it is, how long, and when it was changed (seconds and nanoseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp(u64, u64, i64, i64);

impl Stamp {
    pub(super) fn of(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path).ok().map(|found| Self::new(&found))
    }

    pub(super) fn new(found: &fs::Metadata) -> Self {
        Self(found.ino(), found.size(), found.ctime(), found.ctime_nsec())
    }

    /// As SQLite keeps numbers.
    pub(super) fn inode(self) -> i64 {
        self.0.cast_signed()
    }
}

/// What the mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    /// How many transactions the ledger had, at least.
    writes: i64,
    /// The lock file, as the process left it that has or had the ledger.
    lock: Stamp,
    /// The store, once it is closed.
    closed: Option<Stamp>,
}

/// What a ledger says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) writes: i64,
    pub(super) inode: Option<i64>,
}

/// Why a ledger is not taken for the one that this folder had last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Suspicion {
    #[error("the ledger has no mark beside it that can be read")]
    Unmarked,
    #[error("the ledger is another file than the one that was written here last: a copy")]
    Copy,
    #[error("the ledger was changed or put back since it was closed here")]
    Changed,
    #[error("the ledger is older than what was written here last; {0} of its transactions are missing")]
    Older(i64),
}

/// What an earlier process left in a folder, seen before anything is touched.
#[derive(Debug)]
pub(super) struct Left {
    written: Option<Written>,
    lock: Option<Stamp>,
    store: Option<Stamp>,
    has_log: bool,
}

impl Left {
    /// `lock` is the lock file before this process wrote to it.
    pub(super) fn look(store: &Path, lock: Option<Stamp>) -> Self {
        let written = || serde_json::from_slice(&read_short(&path(store), LENGTH).ok()?).ok();
        Self { written: written(), lock, store: Stamp::of(store), has_log: has_log(store) }
    }

    /// Whether a ledger that says this of itself is the one that this folder had last.
    pub(super) fn suspicion(&self, own: Own) -> Option<Suspicion> {
        let Some(written) = self.written else { return Some(Suspicion::Unmarked) };
        let inode = self.store.map(Stamp::inode);
        match written.closed {
            _ if own.writes < written.writes => Some(Suspicion::Older(written.writes - own.writes)),
            _ if own.inode.is_some() && own.inode != inode => Some(Suspicion::Copy),
            Some(closed) if self.has_log || self.store != Some(closed) => Some(Suspicion::Changed),
            None if self.lock != Some(written.lock) => Some(Suspicion::Changed),
            Some(_) | None => None,
        }
    }

    pub(super) fn is_marked(&self) -> bool {
        self.written.is_some()
    }

    /// The transactions that the ledger had, as far as is known.
    pub(super) fn writes(&self) -> i64 {
        self.written.map_or(0, |written| written.writes)
    }
}

/// The mark of a ledger that is open.
#[derive(Debug)]
pub(super) struct Mark {
    store: PathBuf,
    file: Option<File>,
    written: Written,
    synced: bool,
}

impl Mark {
    /// Marks a ledger as open. `lock` is the lock file as this process has it.
    pub(super) fn begin(store: &Path, lock: Stamp, writes: i64) -> Self {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NO_LINK)
            .open(path(store));
        let written = Written { writes, lock, closed: None };
        let mark = Self { store: store.to_owned(), file: file.ok(), written, synced: false };
        mark.write();
        mark
    }

    /// Before a commit: the mark that is on disk must not say that the ledger is closed.
    pub(super) fn hold(&mut self) {
        if !self.synced
            && let Some(file) = &self.file
        {
            self.synced = file.sync_data().is_ok();
        }
    }

    pub(super) fn advance(&mut self, writes: i64) {
        self.written.writes = writes;
        self.write();
    }

    /// After the store was closed. One whose log could not be cleared away stays as after a kill.
    pub(super) fn close(mut self) {
        if !has_log(&self.store) {
            self.written.closed = Stamp::of(&self.store);
            self.write();
        }
    }

    /// A mark that cannot be written raises an alarm that is false at worst.
    fn write(&self) {
        let (Some(file), Ok(mut bytes)) = (&self.file, serde_json::to_vec(&self.written)) else { return };
        bytes.resize(LENGTH, b' ');
        let _ = file.write_all_at(&bytes, 0);
    }
}

fn path(store: &Path) -> PathBuf {
    store.with_file_name(MARK)
}

/// Whether there is a write-ahead log with something in it.
fn has_log(store: &Path) -> bool {
    fs::symlink_metadata(beside(store, "-wal")).is_ok_and(|log| log.size() > 0)
}
