//! A file's stamp: what the system says of it, by which an unchanged file is known without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Device, inode, size and times of a file when it was read.
///
/// Like git's index, a stamp is not trusted where the file was touched so shortly before it was read that a later
/// change could carry the same times ("racy git"): such a file is read again at the next look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    settled: Settled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Yes,
    Racy,
}

/// How long before the read a file's times must lie to be trusted: twice the coarsest step of the usual file systems'
/// clocks (1 s).
const SETTLES_AFTER: Duration = Duration::from_secs(2);

impl Stamp {
    /// The stamp of a file that is about to be read at this time.
    pub(super) fn of(metadata: &Metadata, read_at: SystemTime) -> Self {
        let newest = (metadata.mtime().max(metadata.ctime())).max(0).unsigned_abs();
        let age = read_at.duration_since(UNIX_EPOCH + Duration::from_secs(newest)).unwrap_or_default();
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            settled: if age > SETTLES_AFTER { Settled::Yes } else { Settled::Racy },
        }
    }

    /// Whether a file with this metadata is surely the one that was read.
    pub(super) fn holds_for(&self, metadata: &Metadata) -> bool {
        self.settled == Settled::Yes && self.is_like(metadata)
    }

    /// Whether nothing that the system says of the file changed.
    pub(super) fn is_like(&self, metadata: &Metadata) -> bool {
        *self == Self { settled: self.settled, ..Self::of(metadata, UNIX_EPOCH) }
    }

    /// Which file it is, whatever its path.
    pub(super) fn inode(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}
