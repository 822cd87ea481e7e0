//! The git side of a revision: which commit the checkout around a folder has, what git is in the middle of, and whether
//! the folder differs from the commit.
//!
//! Only files are read: no program, hook or filter is run, and neither git's configuration nor its environment variables
//! are looked at. So a checkout of another user is as good as one's own. What a filter made of a file is known by git's
//! index, which says of each file how large and how old it was when it was as committed.

mod committed;
mod index;
mod laid_out;
mod objects;
mod operation;
mod plain;
mod refs;
mod reftable;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gix_hash::ObjectId;
use thiserror::Error;

use super::stamp::Stamp;
pub(super) use committed::{Committed, Comparison, File};
pub use operation::Operation;
use refs::{MAX_REF_BYTES, Refs};

/// A checkout: the work tree of a git repository that holds a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkout {
    /// The folder, without links.
    folder: PathBuf,
    /// The folder seen from the top of the work tree; empty where it is the top.
    prefix: PathBuf,
    /// What git has of this work tree alone: HEAD and index.
    git_dir: PathBuf,
    /// What all work trees of the repository share: refs and objects. Mostly the same.
    common_dir: PathBuf,
}

/// What git has of a checkout at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The commit that HEAD names. None on a branch without commits, and while nothing is checked out yet (there is no
    /// index): then the folder is one like any other.
    pub(super) commit: Option<Commit>,
    /// What git has not finished.
    pub(super) operation: Option<Operation>,
    /// git is changing the files: its index is locked. A git that was killed leaves the lock.
    pub(super) lock: Option<Stamp>,
    /// What HEAD, its ref and the index are read from.
    pub(super) files: Vec<PathBuf>,
    index: Option<Stamp>,
}

/// A commit that a checkout has, shown as its hexadecimal id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Commit(ObjectId);

impl Commit {
    /// The kind of ids in its repository.
    pub(super) fn ids(self) -> gix_hash::Kind {
        self.0.kind()
    }
}

/// The id that git gives to the contents of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlobId(ObjectId);

impl BlobId {
    /// Its bytes, for a digest over many.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Why a checkout could not be read. While a git command runs this may pass; a broken repository keeps it.
#[derive(Debug, Error)]
pub(super) enum CheckoutError {
    /// `.git` cannot be read, or is none that git makes.
    #[error("cannot read `{}`", path.display())]
    Place {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// `.git` is a file that leads to a repository, which is elsewhere.
    #[error("`{}` leads to `{}`, which is not there", path.display(), target.display())]
    Nowhere { path: PathBuf, target: PathBuf },
    /// HEAD or the ref that it names cannot be read.
    #[error("cannot read `{}`", path.display())]
    Ref {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// HEAD leads through too many refs, or in a circle.
    #[error("`{}` leads through too many refs", path.display())]
    Circle { path: PathBuf },
    /// The index cannot be read.
    #[error("cannot read the index `{}`", path.display())]
    Index {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object database cannot be opened.
    #[error("cannot open the objects in `{}`", path.display())]
    Objects {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A commit or tree cannot be read.
    #[error("cannot read the {kind} `{id}` in `{}`", path.display())]
    Object {
        kind: gix_object::Kind,
        id: ObjectId,
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A commit or tree is missing.
    #[error("the {kind} `{id}` is not in `{}`", path.display())]
    Missing { kind: gix_object::Kind, id: ObjectId, path: PathBuf },
    /// The id of a commit or tree leads to something else, or a tree holds a name that no file can have.
    #[error("the {kind} `{id}` in `{}` is corrupt", path.display())]
    Corrupt { kind: gix_object::Kind, id: ObjectId, path: PathBuf },
    /// What a commit has cannot be laid out.
    #[error("cannot lay out what is committed: `{}`", path.display())]
    LaidOut {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Reading the objects broke down.
    #[error("the objects of the repository are corrupt")]
    Broken,
    /// The commit has more below the folder than is compared. This does not pass.
    #[error("the commit `{commit}` has more files below the folder than can be compared")]
    TooLarge { commit: Commit },
}

impl Checkout {
    /// The checkout that holds `folder`, a path without links. It is looked for upwards, like git does: within one file
    /// system, to the first `.git`, a folder or (in a linked work tree or submodule) a file. Costs some system calls.
    ///
    /// `None` where there is none, where the first `.git` is an empty folder, and inside of a `.git` folder. A bare
    /// repository is not a checkout.
    ///
    /// # Errors
    /// Where there is a `.git` that cannot be read, or leads to something else than a repository: no other repository
    /// further up is taken for it.
    pub(super) fn discover(folder: &Path) -> Result<Option<Self>, CheckoutError> {
        let device = |path: &Path| {
            let place = |source| CheckoutError::Place { path: path.to_owned(), source };
            Ok(plain::present(path.metadata()).map_err(place)?.map(|metadata| metadata.dev()))
        };
        let here = device(folder)?;
        for top in folder.ancestors() {
            if device(top)? != here {
                return Ok(None);
            }
            let dot_git = top.join(".git");
            let place = |source| CheckoutError::Place { path: dot_git.clone(), source };
            if plain::exists(&dot_git).map_err(place)? {
                let prefix = folder.strip_prefix(top).unwrap_or(folder);
                return if prefix.starts_with(".git") { Ok(None) } else { Self::of(folder, prefix, &dot_git) };
            }
        }
        Ok(None)
    }

    /// The checkout of a submodule, `path` below this folder; `None` where it was not fetched.
    pub(super) fn submodule(&self, path: &[u8]) -> Result<Option<Self>, CheckoutError> {
        let folder = self.folder.join(OsStr::from_bytes(path));
        let dot_git = folder.join(".git");
        let place = |source| CheckoutError::Place { path: dot_git.clone(), source };
        if plain::exists(&dot_git).map_err(place)? { Self::of(&folder, Path::new(""), &dot_git) } else { Ok(None) }
    }

    fn of(folder: &Path, prefix: &Path, dot_git: &Path) -> Result<Option<Self>, CheckoutError> {
        let place = |source| CheckoutError::Place { path: dot_git.to_owned(), source };
        let not_one = |what| place(io::Error::new(io::ErrorKind::InvalidData, what));
        let git_dir = if dot_git.is_dir() {
            if dot_git.read_dir().map_err(place)?.next().is_none() {
                return Ok(None);
            }
            dot_git.to_owned()
        } else {
            let text = plain::read(dot_git, MAX_REF_BYTES).map_err(place)?.unwrap_or_default();
            let target =
                text.strip_prefix(b"gitdir: ").and_then(path_in).ok_or_else(|| not_one("it names no folder"))?;
            let git_dir = dot_git.parent().unwrap_or(dot_git).join(target);
            if !plain::exists(&git_dir).map_err(place)? {
                return Err(CheckoutError::Nowhere { path: dot_git.to_owned(), target: target.to_owned() });
            }
            git_dir
        };
        let commondir = plain::read(&git_dir.join("commondir"), MAX_REF_BYTES).map_err(place)?;
        let common_dir = match commondir {
            Some(text) => git_dir.join(path_in(&text).ok_or_else(|| not_one("its `commondir` names no folder"))?),
            None => git_dir.clone(),
        };
        for needed in [git_dir.join("HEAD"), common_dir.join("objects"), common_dir.join("refs")] {
            if !plain::exists(&needed).map_err(place)? {
                return Err(not_one("it is not a repository"));
            }
        }
        Ok(Some(Self { folder: folder.to_owned(), prefix: prefix.to_owned(), git_dir, common_dir }))
    }

    /// What git has now. Cheap, and never from a cache: asked before and after a read, it tells whether the checkout
    /// moved on meanwhile.
    ///
    /// # Errors
    /// Where HEAD, the ref that it names, or what git is in the middle of cannot be read or understood.
    pub(super) fn state(&self) -> Result<State, CheckoutError> {
        let refs = Refs { git_dir: &self.git_dir, common_dir: &self.common_dir };
        // In this order: git makes the index by renaming its lock.
        let lock = self.stamp(&self.lock_path())?;
        let index = self.stamp(&self.index_path())?;
        let operation = Operation::in_progress(&refs)?;
        let mut head = refs.head()?;
        let is_checked_out = lock.is_some() || index.is_some();
        head.files.extend([self.index_path(), self.lock_path()]);
        let commit = head.id.filter(|_| is_checked_out).map(Commit);
        Ok(State { commit, operation, lock, files: head.files, index })
    }

    /// git's lock on the files.
    pub(super) fn lock_path(&self) -> PathBuf {
        self.git_dir.join("index.lock")
    }

    /// What git keeps of this work tree alone.
    pub(super) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    fn index_path(&self) -> PathBuf {
        self.git_dir.join("index")
    }

    fn stamp(&self, path: &Path) -> Result<Option<Stamp>, CheckoutError> {
        match plain::present(rustix::fs::lstat(path).map_err(io::Error::from)) {
            // All are of the same age, so that equal ones are equal.
            Ok(stat) => Ok(stat.map(|stat| Stamp::of(&stat, UNIX_EPOCH))),
            Err(source) => Err(CheckoutError::Place { path: path.to_owned(), source }),
        }
    }
}

impl State {
    /// When the index was written.
    pub(super) fn index_written(&self) -> Option<SystemTime> {
        let (seconds, nanoseconds) = self.index.as_ref()?.modified;
        UNIX_EPOCH.checked_add(Duration::new(seconds.try_into().ok()?, 0) + Duration::from_nanos(nanoseconds))
    }

    /// Whether the checkout stands where it stood. The index alone is written anew by a mere `git status`.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.commit, self.operation, self.lock) == (other.commit, other.operation, other.lock)
    }
}

/// The path that a file of one path holds.
fn path_in(text: &[u8]) -> Option<&Path> {
    let path = text.trim_ascii_end();
    (!path.is_empty()).then(|| Path::new(OsStr::from_bytes(path)))
}

/// The id that git gives to a file with these contents, in a repository with ids of this kind. Contents that were made
/// to collide with others get an id that no file has.
pub(super) fn blob_id(ids: gix_hash::Kind, bytes: &[u8]) -> BlobId {
    let id = gix_object::compute_hash(ids, gix_object::Kind::Blob, bytes);
    BlobId(id.unwrap_or_else(|_| ObjectId::null(ids)))
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
