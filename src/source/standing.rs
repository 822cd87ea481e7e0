//! Where a folder stands: what its path leads to, and which commit is checked out there. A read counts only if this is
//! the same before and after it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::Broken;
use super::checkout::{Checkout, Commit, Committed};
use super::walk::Found;
use crate::model::{Digest, Revision};

/// How long a read waits for git to let go of its lock.
const LOCKED_AT_MOST: Duration = Duration::from_secs(30);
/// How often it looks whether git did.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Whether git's lock on the checkout was free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// It was, or there is no checkout.
    Free,
    /// It has been held for longer than a read waits, and the read went on. As a rule a git that was killed left
    /// `index.lock` behind.
    Overruled,
}

/// How long git's lock has been held without a break.
#[derive(Debug, Default)]
pub(super) struct Patience {
    locked_since: Option<Instant>,
}

/// Where a folder stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The folder without links.
    pub(super) root: PathBuf,
    checkout: Option<(Checkout, Commit)>,
}

#[cfg(test)]
impl Patience {
    pub(super) fn over() -> Self {
        Self { locked_since: Instant::now().checked_sub(LOCKED_AT_MOST) }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.locked_since.is_some()
    }
}

impl Standing {
    /// Where the folder stands now.
    pub(super) fn now(path: &Path) -> Result<Self, Broken> {
        let root = path.canonicalize().map_err(Broken::Folder)?;
        let checkout = Checkout::discover(&root).and_then(|checkout| {
            // A checkout whose commit cannot be told, even by trying again, is a folder like any other.
            let commit = checkout.head().or_else(|_| checkout.head()).ok()??;
            Some((checkout, commit))
        });
        Ok(Self { root, checkout })
    }

    /// Where the folder stands once git works on it no more.
    pub(super) fn free(path: &Path, patience: &mut Patience) -> Result<(Self, Lock), Broken> {
        loop {
            let standing = match Self::at_once(path, patience)? {
                Ok(free) => return Ok((free, Lock::Free)),
                Err(locked) => locked,
            };
            // A lock that was overruled once is not waited for again until it was free.
            let since = *patience.locked_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= LOCKED_AT_MOST {
                return Ok((standing, Lock::Overruled));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Where the folder stands now, free or else locked. Where it is not locked, the next lock is waited for again.
    pub(super) fn at_once(path: &Path, patience: &mut Patience) -> Result<Result<Self, Self>, Broken> {
        match Self::now(path) {
            Ok(standing) if standing.is_locked() => Ok(Err(standing)),
            free_or_gone => {
                patience.locked_since = None;
                free_or_gone.map(Ok)
            }
        }
    }

    /// Whether the folder stands where it stood before a read, and git neither began to work on it nor, where its lock
    /// was overruled, let go of that.
    pub(super) fn is_like(&self, after: &Self, lock: Lock) -> bool {
        self == after && (lock == Lock::Overruled) == after.is_locked()
    }

    fn is_locked(&self) -> bool {
        self.checkout.as_ref().is_some_and(|(checkout, _)| checkout.is_locked())
    }

    /// The name of what was read here: the commit, else a digest over each file's path and git's id of its content.
    pub(super) fn revision(&self, found: &[Arc<Found>], committed: &mut Option<Committed>) -> Revision {
        let Some((checkout, commit)) = &self.checkout else { return Revision::Tree(tree_digest(found)) };
        let files = found.iter().map(|found| (&*found.file, found.contents.blob));
        // Where the commit's own content cannot be read, nobody can say that the folder has it.
        let dirty = checkout.is_dirty(*commit, files, committed).unwrap_or(true);
        Revision::Git { commit: commit.to_string(), dirty }
    }
}

fn tree_digest(found: &[Arc<Found>]) -> Digest {
    let mut tree = Sha256::new();
    for found in found {
        tree.update((found.file.len() as u64).to_be_bytes());
        tree.update(found.file.as_bytes());
        tree.update(found.contents.blob.as_bytes());
    }
    Digest::from_bytes(tree.finalize().into())
}
