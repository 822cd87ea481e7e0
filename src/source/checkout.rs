//! The git side of a revision: which commit the checkout around a folder has, and whether the folder differs from it.
//!
//! Only files are read: no program, hook or filter is run, and neither git's configuration nor its environment variables
//! are looked at. So a checkout of another user is as good as one's own. The price is paid on the safe side, as a folder
//! that counts as differing from its commit: where line endings are converted (`core.autocrlf`) or another filter
//! changes the files, where links are checked out as files, or where a sparse checkout leaves manifests out.

mod committed;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use gix_hash::ObjectId;
use gix_ref::{FullName, Target};
use thiserror::Error;

pub(super) use committed::Committed;

/// Most bytes of a file that holds one ref, or the path of another folder.
const MAX_REF_BYTES: u64 = 64 * 1024;
/// Symbolic refs that may lead from one to the next, as in git.
const MAX_REFS: usize = 5;

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

/// A commit that a checkout has, shown as its hexadecimal id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit(ObjectId);

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
    /// HEAD or the ref that it names cannot be read.
    #[error("cannot read `{}`", path.display())]
    Ref {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// HEAD leads through too many refs, or in a circle.
    #[error("`{}` leads through more than {MAX_REFS} refs", path.display())]
    Circle { path: PathBuf },
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
    #[error("the {kind} `{id}` in `{}` is none", path.display())]
    Corrupt { kind: gix_object::Kind, id: ObjectId, path: PathBuf },
    /// The commit has more below the folder than is compared. This does not pass.
    #[error("the commit `{commit}` has more files below the folder than can be compared")]
    TooLarge { commit: Commit },
}

impl Checkout {
    /// The checkout that holds `folder`, a path without links. It is looked for upwards, like git does: within one file
    /// system, to the first `.git`, a folder or (in a linked work tree or submodule) a file. Costs some system calls.
    ///
    /// `None` where there is none, where what the first `.git` leads to is no repository (so that no other repository
    /// further up is taken for it), and inside of a `.git` folder. A bare repository is no checkout.
    pub(super) fn discover(folder: &Path) -> Option<Self> {
        let device = folder.metadata().ok()?.dev();
        for top in folder.ancestors() {
            if top.metadata().ok()?.dev() != device {
                return None;
            }
            let dot_git = top.join(".git");
            if dot_git.symlink_metadata().is_ok() {
                let prefix = folder.strip_prefix(top).ok()?;
                return Self::of(folder, prefix, dot_git).filter(|_| !prefix.starts_with(".git"));
            }
        }
        None
    }

    fn of(folder: &Path, prefix: &Path, dot_git: PathBuf) -> Option<Self> {
        let git_dir = match bounded(&dot_git).ok()? {
            Presence::Folder => dot_git,
            Presence::Plain => {
                let text = fs::read(&dot_git).ok()?;
                dot_git.parent()?.join(path_in(text.strip_prefix(b"gitdir: ")?)?)
            }
            Presence::Missing => return None,
        };
        let commondir = git_dir.join("commondir");
        let common_dir = match bounded(&commondir).ok()? {
            Presence::Plain => git_dir.join(path_in(&fs::read(&commondir).ok()?)?),
            Presence::Missing => git_dir.clone(),
            Presence::Folder => return None,
        };
        let is_repository = git_dir.join("HEAD").symlink_metadata().is_ok()
            && common_dir.join("objects").is_dir()
            && common_dir.join("refs").is_dir();
        is_repository.then(|| Self { folder: folder.to_owned(), prefix: prefix.to_owned(), git_dir, common_dir })
    }

    /// The commit that HEAD names. Cheap, and never from a cache: asked before and after a read, it tells whether the
    /// checkout moved on meanwhile.
    ///
    /// `None` where no commit can be told: on a branch without commits, while nothing is checked out yet (there is no
    /// index), and in a repository with SHA-256 ids or reftables, which are not read.
    ///
    /// # Errors
    /// Where HEAD or the ref that it names cannot be read or understood.
    pub(super) fn head(&self) -> Result<Option<Commit>, CheckoutError> {
        // In this order: git makes the index by renaming its lock.
        let checked_out = self.is_locked() || self.git_dir.join("index").exists();
        if !checked_out || self.common_dir.join("reftable").exists() {
            return Ok(None);
        }
        match self.head_as(gix_hash::Kind::Sha1) {
            Ok(id) => Ok(id.map(Commit)),
            // A repository with SHA-256 ids is sound, though not read.
            Err(error) => self.head_as(gix_hash::Kind::Sha256).map(|_| None).map_err(|_| error),
        }
    }

    /// Whether git is changing the files of this work tree: its index is locked. A git that was killed leaves the lock.
    pub(super) fn is_locked(&self) -> bool {
        self.git_dir.join("index.lock").symlink_metadata().is_ok()
    }

    /// Whether what was read of the folder is not what the commit has below it: a file that was read is new or has
    /// other contents; a manifest is gone; a link leads elsewhere; a `.truenorthignore` is new, changed or gone.
    /// The contents count alone, neither a file's mode nor what the index says.
    ///
    /// `files` are all files that were read, with their paths from the folder's top as they were reached, also those
    /// that several paths lead to. A link on the way must be in the commit as it is, and so must what it leads to; one
    /// that leaves the folder or is absolute with a link in it counts as a difference. Files in a submodule below the
    /// folder are not the commit's: reading one is a difference.
    ///
    /// `committed` is what the last call made: what the commit has is read again only for another commit or folder.
    ///
    /// # Errors
    /// Where the commit or a tree cannot be read, also where a commit or tree has more than 16 MiB, or where the commit
    /// has too much below the folder.
    pub(super) fn is_dirty<'a>(
        &self,
        commit: Commit,
        files: impl IntoIterator<Item = (&'a str, BlobId)>,
        committed: &mut Option<Committed>,
    ) -> Result<bool, CheckoutError> {
        let committed = match committed.take().filter(|known| known.is_of(commit, &self.prefix)) {
            Some(known) => committed.insert(known),
            None => committed.insert(Committed::read(&self.common_dir, commit, &self.prefix)?),
        };
        Ok(committed.differs(&self.folder, files))
    }

    /// Follows HEAD to an id, in a repository with ids of this kind.
    fn head_as(&self, ids: gix_hash::Kind) -> Result<Option<ObjectId>, CheckoutError> {
        let refs = gix_ref::file::Store::for_linked_worktree(self.git_dir.clone(), self.common_dir.clone(), ids);
        let mut path = self.git_dir.join("HEAD");
        let mut name = FullName::try_from("HEAD").map_err(|error| unreadable(&path, error))?;
        for _ in 0..MAX_REFS {
            bounded(&path).map_err(|error| unreadable(&path, error))?;
            let target = target(&refs, &name).map_err(|error| unreadable(&path, error))?;
            name = match target {
                Some(Target::Object(id)) => return Ok(Some(id)),
                Some(Target::Symbolic(name)) => name,
                None => return Ok(None),
            };
            path = self.common_dir.join(OsStr::from_bytes(name.as_bstr()));
        }
        Err(CheckoutError::Circle { path: self.git_dir.join("HEAD") })
    }
}

/// What a ref says. A ref of its own file wins over a packed one, and is looked for first: git packs a ref before it
/// removes the file.
fn target(
    refs: &gix_ref::file::Store,
    name: &FullName,
) -> Result<Option<Target>, Box<dyn std::error::Error + Send + Sync>> {
    // The library would take `refs/tags/…` and the like for a name that is not there.
    let loose = refs.try_find_loose(name)?.filter(|found| found.name == *name);
    if let Some(found) = loose {
        return Ok(Some(found.target));
    }
    let Some(packed) = refs.open_packed_buffer()? else { return Ok(None) };
    Ok(packed.try_find(name)?.filter(|found| found.name == name.as_ref()).map(|found| Target::Object(found.target())))
}

/// The path that a file of one path holds.
fn path_in(text: &[u8]) -> Option<&Path> {
    let path = text.trim_ascii_end();
    (!path.is_empty()).then(|| Path::new(OsStr::from_bytes(path)))
}

fn unreadable(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CheckoutError {
    CheckoutError::Ref { path: path.to_owned(), source: source.into() }
}

enum Presence {
    Plain,
    Folder,
    Missing,
}

/// Looks at a file that is about to be read whole.
fn bounded(path: &Path) -> io::Result<Presence> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(Presence::Folder),
        Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_REF_BYTES => Ok(Presence::Plain),
        Ok(metadata) if metadata.is_file() => Err(io::Error::new(io::ErrorKind::FileTooLarge, "is too large")),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "is no plain file")),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Presence::Missing)
        }
        Err(error) => Err(error),
    }
}

/// The id that git gives to a file with these contents, in a repository with SHA-1 ids. Contents that were made to
/// collide with others get an id that no file has.
pub(super) fn blob_id(bytes: &[u8]) -> BlobId {
    let id = gix_object::compute_hash(gix_hash::Kind::Sha1, gix_object::Kind::Blob, bytes);
    BlobId(id.unwrap_or_else(|_| ObjectId::null(gix_hash::Kind::Sha1)))
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
