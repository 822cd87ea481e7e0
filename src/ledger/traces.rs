//! What a writer leaves on the ledger's files: whether somebody wrote can be told without opening it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::folder::{self, beside};

/// The sizes and times of the ledger's files at one moment. Two that differ show that somebody wrote, began or ended;
/// two that are equal show nothing for certain, so whoever waits for a change should also look again at times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces([Option<Trace>; 3]);

/// Device, inode, size, and when it was changed.
type Trace = (u64, u64, u64, i64, i64);

impl Traces {
    /// Those of the ledger in the folder `dir`, which may be absent. Three calls of `stat(2)`.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        let store = folder::store(dir);
        Self([trace(&store), trace(&beside(&store, "-wal")), trace(&dir.join(folder::LOCK))])
    }
}

fn trace(path: &Path) -> Option<Trace> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}
