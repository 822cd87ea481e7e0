//! Where a folder stands: what its path leads to, and which commit is checked out there. A read counts only if this is
//! the same before and after it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::Busy;
use super::checkout::{Checkout, CheckoutError, Commit, Committed, Comparison, File, State};
use super::file::Found;
use super::stamp::Stamp;
use super::unreadable::Broken;
use crate::error;
use crate::manifest::Problem;
use crate::model::{Digest, Headline, Revision};

/// git lets go of its lock before it moves HEAD. So long after it wrote the index, files that differ from HEAD may be
/// those of the commit that HEAD will name in a moment.
const HEAD_FOLLOWS_WITHIN: Duration = Duration::from_millis(250);

/// Where a folder stands.
#[derive(Debug)]
pub(super) struct Standing {
    /// The folder without links.
    pub(super) root: PathBuf,
    git: Git,
}

#[derive(Debug, PartialEq, Eq)]
enum Git {
    /// The folder is in no checkout.
    None,
    Checkout(Checkout, State),
    /// It is in a checkout whose repository is not there, as in a container that has the work tree alone.
    Nowhere(Problem),
}

/// What was read at a moment.
pub(super) struct Moment {
    pub(super) revision: Revision,
    /// What people know the commit by.
    /// Why it could not be told whether the folder has what the commit has; then it counts as not.
    pub(super) uncompared: Option<String>,
    pub(super) problem: Option<Problem>,
}

impl Standing {
    /// Where the folder stands now.
    pub(super) fn now(path: &Path) -> Result<Self, Broken> {
        let root = path.canonicalize().map_err(Broken::Folder)?;
        // What git replaces at this moment can be read a moment later.
        let git = Git::around(&root).or_else(|_| Git::around(&root)).map_err(Broken::Git)?;
        Ok(Self { root, git })
    }

    /// Whether the folder stands where it stood before a read, and git neither began to work on it nor let go of it.
    pub(super) fn is_like(&self, after: &Self) -> bool {
        self.root == after.root
            && match (&self.git, &after.git) {
                (Git::Checkout(checkout, before), Git::Checkout(same, after)) => {
                    checkout == same && before.is_like(after)
                }
                (before, after) => before == after,
            }
    }

    /// Whether what was said of the folder then would be said now: git may also have noted something in its index.
    pub(super) fn is_same(&self, now: &Self) -> bool {
        self.root == now.root && self.git == now.git
    }

    /// What git has not finished, apart from a lock: under that the folder may still have what HEAD has.
    pub(super) fn operation(&self) -> Option<Busy> {
        match &self.git {
            Git::Checkout(_, State { operation, .. }) => operation.map(Busy::Operation),
            Git::None | Git::Nowhere(_) => None,
        }
    }

    /// The checkout and its commit, where there is one.
    pub(super) fn head(&self) -> Option<(&Checkout, Commit)> {
        match &self.git {
            Git::Checkout(checkout, State { commit: Some(commit), .. }) => Some((checkout, *commit)),
            _ => None,
        }
    }

    /// The kind of ids that git gives to files here.
    pub(super) fn ids(&self) -> gix_hash::Kind {
        self.head().map_or(gix_hash::Kind::Sha1, |(_, commit)| commit.ids())
    }

    /// The files of git that say where the folder stands.
    pub(super) fn files(&self) -> &[PathBuf] {
        match &self.git {
            Git::Checkout(_, state) => &state.files,
            Git::None | Git::Nowhere(_) => &[],
        }
    }

    /// The name of what was read here: the commit, else a digest over each file's path and git's id of its content.
    ///
    /// A lock is never overruled. What differs from HEAD under it may be half of another commit, also when the lock's
    /// git is long gone: one that was killed leaves both. git itself refuses to work there until somebody looked.
    pub(super) fn moment(&self, found: &[Arc<Found>], committed: &mut Committed) -> Result<Moment, Broken> {
        let tree = |problem| Moment { revision: Revision::Tree(tree_digest(found)), uncompared: None, problem };
        let (checkout, state) = match &self.git {
            Git::None => return Ok(tree(None)),
            Git::Nowhere(problem) => return Ok(tree(Some(problem.clone()))),
            Git::Checkout(checkout, state) => (checkout, state),
        };
        let locked = state.lock.is_some().then(|| Busy::Locked { lock: checkout.lock_path() });
        let Some(commit) = state.commit else {
            return locked.map_or_else(|| Ok(tree(None)), |locked| Err(Broken::Busy(locked)));
        };
        let compared = compare(checkout, commit, found, committed);
        let headline = committed.headline(commit);
        match compared {
            Ok(Comparison::Same) => Ok(Moment::of(commit, false, headline, None)),
            Ok(Comparison::Busy(busy)) => Err(Broken::Busy(busy)),
            Ok(Comparison::Differs) if locked.is_none() && !state.is_fresh() => {
                Ok(Moment::of(commit, true, headline, None))
            }
            // Where the commit's own content cannot be read, nobody can say that the folder has it.
            Err(error) if locked.is_none() => Ok(Moment::of(commit, true, headline, Some(error::chain(&error)))),
            Ok(Comparison::Differs) | Err(_) => {
                Err(Broken::Busy(locked.unwrap_or_else(|| Busy::Locked { lock: checkout.lock_path() })))
            }
        }
    }

    /// What changes while somebody works on the folder or in git's folder; a number for it.
    pub(super) fn trace(&self, found: &[Arc<Found>]) -> u64 {
        let mut trace = DefaultHasher::new();
        if let Git::Checkout(checkout, state) = &self.git {
            state.commit.hash(&mut trace);
            for path in state.files.iter().map(PathBuf::as_path).chain([checkout.git_dir()]) {
                rustix::fs::lstat(path).ok().map(|stat| Stamp::of(&stat, UNIX_EPOCH)).hash(&mut trace);
            }
        }
        for found in found {
            (&found.file, found.stamp.inode(), found.stamp.size, found.stamp.modified).hash(&mut trace);
        }
        trace.finish()
    }
}

impl Git {
    fn around(root: &Path) -> Result<Self, CheckoutError> {
        match Checkout::discover(root) {
            Ok(None) => Ok(Self::None),
            Ok(Some(checkout)) => checkout.state().map(|state| Self::Checkout(checkout, state)),
            Err(error @ CheckoutError::Nowhere { .. }) => Ok(Self::Nowhere(nowhere(&error))),
            Err(error) => Err(error),
        }
    }
}

impl Moment {
    pub(super) fn of(commit: Commit, dirty: bool, headline: Option<Arc<Headline>>, uncompared: Option<String>) -> Self {
        let revision = Revision::Git { commit: commit.to_string(), dirty, headline };
        Self { revision, uncompared, problem: None }
    }
}

/// How long nothing moved where git is in the middle of something.
#[derive(Debug)]
pub(super) struct Stillness {
    trace: u64,
    since: Instant,
}

impl Stillness {
    /// From the trace that is there now, and what was seen before.
    pub(super) fn of(trace: u64, before: Option<Self>) -> Self {
        before.filter(|before| before.trace == trace).unwrap_or_else(|| Self { trace, since: Instant::now() })
    }

    pub(super) fn lasts(&self) -> Duration {
        self.since.elapsed()
    }

    #[cfg(test)]
    pub(super) fn pass(&mut self, time: Duration) {
        self.since -= time;
    }
}

impl State {
    /// Whether git wrote the index just now.
    fn is_fresh(&self) -> bool {
        self.index_written()
            .is_some_and(|written| SystemTime::now().duration_since(written).is_ok_and(|age| age < HEAD_FOLLOWS_WITHIN))
    }
}

fn compare(
    checkout: &Checkout,
    commit: Commit,
    found: &[Arc<Found>],
    committed: &mut Committed,
) -> Result<Comparison, CheckoutError> {
    let mut files = Vec::with_capacity(found.len());
    for Found { file, stamp, contents, .. } in found.iter().map(|found| &**found) {
        files.push(File { path: file.as_bytes(), id: contents.blob, stamp });
    }
    let compared = guarded(|| checkout.compare(commit, &files, committed));
    if matches!(compared, Err(CheckoutError::Broken)) {
        *committed = Committed::default();
    }
    compared
}

/// A repository that was made to break its reader is one that cannot be read.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T, CheckoutError>) -> Result<T, CheckoutError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or(Err(CheckoutError::Broken))
}

fn nowhere(error: &CheckoutError) -> Problem {
    let message = format!("{error}: which commit this is, and whether git is at work on it, cannot be told");
    let hint = "make the repository available beside its work tree, or remove `.git`";
    Problem::of_file(&".git".into(), message, hint)
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
