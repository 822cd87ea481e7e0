//! A file's stamp: what the system says of it, by which an unchanged file is known without reading it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;

/// Device, inode, size and times of a file when it was read.
///
/// Like git's index, a stamp is not trusted where the file was touched so shortly before it was read that a later
/// change could carry the same times ("racy git"): such a file is read again at the next look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: i64,
    pub(super) modified: (i64, u64),
    pub(super) changed: (i64, u64),
    settled: Settled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Settled {
    Yes,
    Racy,
}

/// How long before the read a file's times must lie to be trusted: twice the coarsest step of the usual file systems'
/// clocks (1 s).
const SETTLES_AFTER: Duration = Duration::from_secs(2);

impl Stamp {
    /// The stamp of a file that is about to be read at this time.
    #[allow(clippy::unnecessary_cast, reason = "the types of the fields differ from machine to machine")]
    pub(super) fn of(stat: &Stat, read_at: SystemTime) -> Self {
        let modified = (stat.st_mtime as i64, stat.st_mtime_nsec as u64);
        let changed = (stat.st_ctime as i64, stat.st_ctime_nsec as u64);
        let newest = modified.0.max(changed.0).max(0).unsigned_abs();
        let age = read_at.duration_since(UNIX_EPOCH + Duration::from_secs(newest)).unwrap_or_default();
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as i64,
            modified,
            changed,
            settled: if age > SETTLES_AFTER { Settled::Yes } else { Settled::Racy },
        }
    }

    /// Whether a file of which the system says this is surely the one that was read.
    pub(super) fn holds_for(&self, stat: &Stat) -> bool {
        self.settled == Settled::Yes && self.is_like(stat)
    }

    /// Whether nothing that the system says of the file changed.
    #[allow(clippy::unnecessary_cast, reason = "the types of the fields differ from machine to machine")]
    pub(super) fn is_like(&self, stat: &Stat) -> bool {
        self.inode() == (stat.st_dev as u64, stat.st_ino as u64)
            && self.size == stat.st_size as i64
            && self.modified == (stat.st_mtime as i64, stat.st_mtime_nsec as u64)
            && self.changed == (stat.st_ctime as i64, stat.st_ctime_nsec as u64)
    }

    /// Whether it is too young to prove by itself that a later file is the same.
    pub(super) fn is_racy(&self) -> bool {
        self.settled == Settled::Racy
    }

    /// As if it were old enough to be trusted.
    #[cfg(test)]
    pub(super) fn settle(&mut self) {
        self.settled = Settled::Yes;
    }

    /// How large it is.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    /// Which file it is, whatever its path.
    pub(super) fn inode(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}
