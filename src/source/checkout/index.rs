//! git's index: what it says of each file when it last was as committed. By it a file counts as unchanged that a filter
//! or a conversion of line endings made other than the commit has it, without running any filter.

use std::fs;
use std::io;
use std::path::Path;

use gix_index::entry::{Flags, Mode};

use super::{BlobId, CheckoutError, Operation, blob_id, plain};
use crate::source::stamp::Stamp;

/// Most bytes of an index: some two million files.
const MAX_INDEX_BYTES: u64 = 256 * 1024 * 1024;
/// Most bytes of what is made of it in memory at once.
const MAX_ALLOC_BYTES: usize = 512 * 1024 * 1024;

/// What the index has of a folder.
#[derive(Debug)]
pub(super) struct Index {
    /// By path from the folder's top, sorted.
    entries: Vec<(Box<[u8]>, Entry)>,
    /// Folders that a sparse checkout leaves out as a whole.
    absent: Vec<Box<[u8]>>,
    pub(super) conflict: Option<Operation>,
    /// When it was written.
    written: (i64, u64),
}

#[derive(Debug)]
struct Entry {
    id: BlobId,
    stat: gix_index::entry::Stat,
    flags: Flags,
}

impl Index {
    /// Reads the index of a work tree. Where there is none, or where it is split over two files, it knows nothing.
    pub(super) fn read(git_dir: &Path, prefix: &Path, ids: gix_hash::Kind) -> Result<Self, CheckoutError> {
        let path = git_dir.join("index");
        let unread = |source| CheckoutError::Index { path: path.clone(), source };
        let mut index = Self { entries: Vec::new(), absent: Vec::new(), conflict: None, written: (i64::MAX, 0) };
        let written = plain::present(fs::metadata(&path)).map_err(|error| unread(error.into()))?;
        let bytes = plain::read(&path, MAX_INDEX_BYTES).map_err(|error| unread(error.into()))?;
        let (Some(written), Some(bytes)) = (written, bytes) else { return Ok(index) };
        index.written = modified(&written);

        // One thread, in which the library takes least for granted.
        let options = gix_index::decode::Options {
            thread_limit: Some(1),
            alloc_limit_bytes: Some(MAX_ALLOC_BYTES),
            ..Default::default()
        };
        let decode = || gix_index::State::from_bytes(&bytes, filetime(&written), ids, options);
        // An index that was made to break the reader is one that cannot be read.
        let state = std::panic::catch_unwind(decode)
            .map_err(|_| unread(io::Error::from(io::ErrorKind::InvalidData).into()))?
            .map_err(|error| unread(error.to_string().into()))?
            .0;
        if state.link().is_some() {
            return Ok(index);
        }
        let mut prefix = prefix.as_os_str().as_encoded_bytes().to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        for entry in state.entries() {
            if entry.stage_raw() != 0 {
                index.conflict = Some(Operation::Conflict);
            }
            let path: &[u8] = entry.path(&state);
            if entry.mode.contains(Mode::DIR) && prefix.starts_with(path) {
                index.absent.push(Box::default());
            }
            let Some(path) = path.strip_prefix(&*prefix) else { continue };
            if entry.mode == Mode::DIR {
                index.absent.push(path.into());
            } else {
                let entry = Entry { id: BlobId(entry.id), stat: entry.stat, flags: entry.flags };
                index.entries.push((path.into(), entry));
            }
        }
        Ok(index)
    }

    /// Whether a file is as the commit has it, by what git says: it was when git wrote it or last looked at it, and was
    /// not changed since; or somebody told git to take it for unchanged.
    pub(super) fn vouches(&self, path: &[u8], committed: BlobId, now: &Stamp, disk: &Path) -> bool {
        let Some(entry) = self.entry(path).filter(|entry| entry.id == committed) else { return false };
        if entry.flags.intersects(Flags::ASSUME_VALID | Flags::SKIP_WORKTREE) {
            return true;
        }
        self.is_untouched(&entry.stat, now) || is_converted(entry, now, committed, disk)
    }

    /// Whether a file of the commit is left out of this work tree on purpose.
    pub(super) fn leaves_out(&self, path: &[u8]) -> bool {
        let told = |entry: &Entry| entry.flags.intersects(Flags::ASSUME_VALID | Flags::SKIP_WORKTREE);
        self.entry(path).is_some_and(told) || self.absent.iter().any(|folder| path.starts_with(folder))
    }

    fn entry(&self, path: &[u8]) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|(here, _)| (**here).cmp(path)).ok()?;
        Some(&self.entries[at].1)
    }

    /// Whether size, times and inode are those of the index. What it does not say (a program that is not git may leave
    /// it 0) counts for nothing.
    fn is_untouched(&self, then: &gix_index::entry::Stat, now: &Stamp) -> bool {
        // The index has 32 bits of each.
        let is = |then: u32, now: i64| i64::from(then) == now & 0xffff_ffff;
        let times = |then: gix_index::entry::stat::Time, now: (i64, u64)| {
            is(then.secs, now.0) && (then.nsecs == 0 || u64::from(then.nsecs) == now.1)
        };
        let inode = now.inode().1 as u32;
        let is_same = is(then.size, now.size)
            && times(then.mtime, now.modified)
            && (then.ctime.secs == 0 || times(then.ctime, now.changed))
            && (then.ino == 0 || then.ino == inode);
        // A file that is as young as the index may have been changed within the same step of the clock. Where that counts
        // nanoseconds the steps are shorter than a git command.
        let is_older = (i64::from(then.mtime.secs), u64::from(then.mtime.nsecs)) < self.written;
        is_same && (is_older || then.mtime.nsecs != 0)
    }
}

/// Whether a file differs in its line endings alone, and did so when git wrote it: its size in the index is that of the
/// file and not of what is committed.
fn is_converted(entry: &Entry, now: &Stamp, committed: BlobId, disk: &Path) -> bool {
    if i64::from(entry.stat.size) != now.size {
        return false;
    }
    let Ok(Some(bytes)) = plain::read(disk, crate::manifest::MAX_BYTES as u64) else { return false };
    let mut unix = Vec::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        if *byte != b'\r' || bytes.get(at + 1) != Some(&b'\n') {
            unix.push(*byte);
        }
    }
    unix.len() < bytes.len() && blob_id(committed.0.kind(), &unix) == committed
}

fn modified(metadata: &fs::Metadata) -> (i64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.mtime(), metadata.mtime_nsec().unsigned_abs())
}

/// The reader passes the time through, so which one it gets does not matter.
fn filetime(metadata: &fs::Metadata) -> filetime::FileTime {
    filetime::FileTime::from_last_modification_time(metadata)
}
