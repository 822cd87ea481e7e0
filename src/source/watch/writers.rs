//! Which files somebody is writing to: half a file is not a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::EventKind;
use notify::event::{AccessKind, AccessMode, ModifyKind};

use super::noticed::Noticed;
use crate::source::{Inode, MAX_ENTRIES};

/// A file that nobody wrote to for so long counts as finished, though it was not closed: some programs keep a file open
/// for as long as they run.
pub(in crate::source) const QUIET_AFTER: Duration = Duration::from_secs(3);

/// Whether files are being written after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// What is there is whole, as far as one can tell: files were closed, renamed or removed.
    Ended,
    /// A file was created or written to, and not closed yet.
    GoesOn,
    /// git let go of its lock: all that it wrote is whole.
    GitEnded,
}

/// Tells which files are being written to.
#[derive(Clone)]
pub struct Writers(pub(super) Arc<Noticed>);

impl Writers {
    /// Which files these are, whatever paths lead to them.
    pub(in crate::source) fn unfinished(&self) -> BTreeSet<Inode> {
        let inode = |path: PathBuf| path.symlink_metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        self.0.unfinished().into_iter().filter_map(inode).collect()
    }
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writers").field(&self.0.unfinished()).finish()
    }
}

/// When files were written to that were not closed since.
#[derive(Debug, Default)]
pub(super) struct Written {
    files: BTreeMap<PathBuf, Instant>,
}

impl Written {
    /// Takes in what happened to a file.
    pub(super) fn take_in(&mut self, kind: EventKind, path: &Path, now: Instant) {
        match kind {
            EventKind::Create(_) if !is_filled_later(path) => {}
            EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => {
                if self.files.len() >= MAX_ENTRIES {
                    self.files.clear();
                }
                self.files.insert(path.to_owned(), now);
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_)) => {
                self.files.remove(path);
            }
            _ => {}
        }
    }

    pub(super) fn writing(&self, now: Instant) -> Writing {
        let goes_on = self.files.values().any(|last| now.duration_since(*last) < QUIET_AFTER);
        if goes_on { Writing::GoesOn } else { Writing::Ended }
    }

    pub(super) fn unfinished(&mut self, now: Instant) -> BTreeSet<PathBuf> {
        self.files.retain(|_, last| now.duration_since(*last) < QUIET_AFTER);
        self.files.keys().cloned().collect()
    }
}

/// Whether what was created is a file that somebody is about to write: a link, a folder or a second name of a file is
/// whole from the start, and nobody will close it.
fn is_filled_later(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1)
}
