//! What a commit has below a folder, to compare what was read with.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use gix_hash::ObjectId;
use gix_object::tree::EntryKind;
use gix_object::{CommitRefIter, Find as _, Kind, TreeRefIter};
use rustix::fs::OFlags;

use super::{BlobId, CheckoutError, Commit, blob_id};
use crate::manifest::Format;
use crate::source::ignored::IGNORE_FILE;

/// Most bytes of a commit or a tree.
const MAX_OBJECT_BYTES: usize = 16 * 1024 * 1024;
/// Most bytes of all paths below the folder, with [`ENTRY_BYTES`] for each.
const MAX_BYTES: usize = 64 * 1024 * 1024;
const ENTRY_BYTES: usize = 64;
/// Most bytes of a path; the system opens none that is longer.
const MAX_PATH_BYTES: usize = 4096;
/// Most bytes of a `.truenorthignore` that is compared.
const MAX_IGNORE_BYTES: u64 = 1024 * 1024;
/// Links that may lead from one to the next, as in the kernel.
const MAX_LINKS: usize = 40;

/// Everything that a commit has below a folder.
#[derive(Debug)]
pub(in crate::source) struct Committed {
    commit: Commit,
    prefix: PathBuf,
    /// By path from the folder's top, sorted.
    entries: Vec<(Box<[u8]>, Entry)>,
    /// Paths of the folders, the top among them.
    folders: Vec<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    /// A file that is read if it is there and not ignored.
    Manifest(BlobId),
    /// Another file.
    File(BlobId),
    /// A symbolic link; its text has this id.
    Link(BlobId),
}

impl Committed {
    /// Whether this is what the commit has below the folder.
    pub(super) fn is_of(&self, commit: Commit, prefix: &Path) -> bool {
        self.commit == commit && self.prefix == prefix
    }

    /// Reads the commit's trees from the object database.
    pub(super) fn read(common_dir: &Path, commit: Commit, prefix: &Path) -> Result<Self, CheckoutError> {
        let mut objects = Objects::open(common_dir)?;
        let mut committed =
            Self { commit, prefix: prefix.to_owned(), entries: Vec::new(), folders: vec![Box::default()] };
        let Some(tree) = objects.folder(commit, prefix)? else { return Ok(committed) };

        let mut budget = MAX_BYTES;
        let mut trees = vec![(Vec::new(), tree)];
        while let Some((folder, tree)) = trees.pop() {
            for (name, kind, id) in objects.tree(tree)? {
                let path = join(&folder, &name);
                let cost = path.len() + ENTRY_BYTES;
                budget = budget.checked_sub(cost).ok_or(CheckoutError::TooLarge { commit })?;
                if path.len() > MAX_PATH_BYTES {
                    return Err(CheckoutError::TooLarge { commit });
                }
                let entry = match kind {
                    EntryKind::Tree => {
                        committed.folders.push(path.clone().into());
                        trees.push((path, id));
                        continue;
                    }
                    // A submodule is a repository of its own.
                    EntryKind::Commit => continue,
                    EntryKind::Link => Entry::Link(BlobId(id)),
                    EntryKind::Blob | EntryKind::BlobExecutable if is_manifest(&path) => Entry::Manifest(BlobId(id)),
                    EntryKind::Blob | EntryKind::BlobExecutable => Entry::File(BlobId(id)),
                };
                committed.entries.push((path.into(), entry));
            }
        }
        committed.entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(committed)
    }

    /// Whether `files`, read from `folder`, or what else makes a difference there, are not the same as this.
    pub(super) fn differs<'a>(&self, folder: &Path, files: impl IntoIterator<Item = (&'a str, BlobId)>) -> bool {
        let mut read = vec![false; self.entries.len()];
        for (path, id) in files {
            match self.entry(path.as_bytes()) {
                Some((index, Entry::Manifest(here) | Entry::File(here))) if here == id => read[index] = true,
                Some((_, Entry::Manifest(_) | Entry::File(_))) => return true,
                Some((_, Entry::Link(_))) | None if self.has(folder, path.as_bytes(), id) => {}
                Some((_, Entry::Link(_))) | None => return true,
            }
        }
        let on_disk = |path: &[u8]| folder.join(OsStr::from_bytes(path));
        let is_lost = |((path, entry), read): (&(Box<[u8]>, Entry), bool)| match entry {
            // What is there and was not read is ignored, or a problem.
            Entry::Manifest(_) if !read => is_gone(&on_disk(path)),
            Entry::Link(text) if !is_hidden(path) => !is_link(&on_disk(path), *text),
            Entry::Manifest(_) | Entry::File(_) | Entry::Link(_) => false,
        };
        self.entries.iter().zip(read).any(is_lost)
            || self.folders.iter().any(|below| {
                let path = join(below, IGNORE_FILE.as_bytes());
                match read_small(&on_disk(&path)) {
                    Ok(bytes) => !self.has(folder, &path, blob_id(&bytes)),
                    Err(error) if is_absence(&error) => self.entry(&path).is_some(),
                    Err(_) => true,
                }
            })
    }

    /// Whether `path` leads to a file with this id, over links that are the same on disk.
    fn has(&self, folder: &Path, path: &[u8], id: BlobId) -> bool {
        let found = self.resolve(folder, path).and_then(|path| self.entry(&path));
        matches!(found, Some((_, Entry::Manifest(here) | Entry::File(here))) if here == id)
    }

    /// Where a path leads, over links that are the same on disk and do not leave the folder.
    fn resolve(&self, folder: &Path, path: &[u8]) -> Option<Vec<u8>> {
        let mut links = 0;
        let mut at = Vec::new();
        let mut ahead: Vec<Vec<u8>> = path.rsplit(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        while let Some(name) = ahead.pop() {
            match &*name {
                b"" | b"." => continue,
                b".." if at.is_empty() => return None,
                b".." => {
                    pop(&mut at);
                    continue;
                }
                _ => at = join(&at, &name),
            }
            let Some((_, Entry::Link(text))) = self.entry(&at) else { continue };
            links += 1;
            let target = folder.join(OsStr::from_bytes(&at)).read_link().ok()?;
            if links > MAX_LINKS || blob_id(target.as_os_str().as_bytes()) != text {
                return None;
            }
            let target = if target.is_absolute() {
                at.clear();
                target.strip_prefix(folder).ok()?
            } else {
                pop(&mut at);
                &target
            };
            ahead.extend(target.components().rev().map(|name| name.as_os_str().as_bytes().to_vec()));
        }
        Some(at)
    }

    fn entry(&self, path: &[u8]) -> Option<(usize, Entry)> {
        let index = self.entries.binary_search_by(|(here, _)| (**here).cmp(path)).ok()?;
        Some((index, self.entries[index].1))
    }
}

/// The commits and trees of a repository.
struct Objects {
    path: PathBuf,
    objects: gix_odb::Handle,
    buffer: Vec<u8>,
}

/// What a tree says of one name.
type Named = (Box<[u8]>, EntryKind, ObjectId);

impl Objects {
    fn open(common_dir: &Path) -> Result<Self, CheckoutError> {
        let path = common_dir.join("objects");
        let options = gix_odb::store::init::Options {
            alloc_limit_bytes: Some(MAX_OBJECT_BYTES),
            current_dir: Some(common_dir.to_owned()),
            ..Default::default()
        };
        match gix_odb::at_opts(path.clone(), gix_hash::Kind::Sha1, None, options) {
            Ok(objects) => Ok(Self { path, objects, buffer: Vec::new() }),
            Err(source) => Err(CheckoutError::Objects { path, source }),
        }
    }

    /// The tree that a commit has for a folder, if it has that folder.
    fn folder(&mut self, Commit(commit): Commit, prefix: &Path) -> Result<Option<ObjectId>, CheckoutError> {
        let unread = self.unread(Kind::Commit, commit);
        let bytes = self.find(Kind::Commit, commit)?;
        let mut tree = CommitRefIter::from_bytes(bytes, gix_hash::Kind::Sha1).tree_id().map_err(unread)?;
        for component in prefix.components() {
            let Component::Normal(wanted) = component else { continue };
            let below = self.tree(tree)?.into_iter().find(|(name, ..)| **name == *wanted.as_bytes());
            tree = match below {
                Some((_, EntryKind::Tree, id)) => id,
                Some(_) | None => return Ok(None),
            };
        }
        Ok(Some(tree))
    }

    /// What a tree holds.
    fn tree(&mut self, id: ObjectId) -> Result<Vec<Named>, CheckoutError> {
        let unread = self.unread(Kind::Tree, id);
        let corrupt = CheckoutError::Corrupt { kind: Kind::Tree, id, path: self.path.clone() };
        let entries = TreeRefIter::from_bytes(self.find(Kind::Tree, id)?, gix_hash::Kind::Sha1)
            .map(|entry| entry.map(|entry| ((**entry.filename).into(), entry.mode.kind(), entry.oid.to_owned())))
            .collect::<Result<Vec<Named>, _>>()
            .map_err(unread)?;
        let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/');
        if entries.iter().all(|(name, ..)| is_name(name)) { Ok(entries) } else { Err(corrupt) }
    }

    fn find(&mut self, kind: Kind, id: ObjectId) -> Result<&[u8], CheckoutError> {
        let unread = self.unread(kind, id);
        let path = || self.path.clone();
        match self.objects.try_find(&id, &mut self.buffer) {
            Ok(Some(found)) if found.kind == kind => Ok(found.data),
            Ok(Some(_)) => Err(CheckoutError::Corrupt { kind, id, path: path() }),
            Ok(None) => Err(CheckoutError::Missing { kind, id, path: path() }),
            Err(error) => Err(unread(error)),
        }
    }

    fn unread<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &self,
        kind: Kind,
        id: ObjectId,
    ) -> impl FnOnce(E) -> CheckoutError + use<E> {
        let path = self.path.clone();
        move |source| CheckoutError::Object { kind, id, path, source: source.into() }
    }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    path.extend_from_slice(folder);
    if !folder.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

fn pop(path: &mut Vec<u8>) {
    path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
}

fn is_hidden(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|name| name.starts_with(b"."))
}

fn is_manifest(path: &[u8]) -> bool {
    !is_hidden(path) && Format::of(Path::new(OsStr::from_bytes(path))).is_some()
}

fn is_gone(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| is_absence(&error))
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_link(path: &Path, text: BlobId) -> bool {
    path.read_link().is_ok_and(|target| blob_id(target.as_os_str().as_bytes()) == text)
}

/// Reads a small plain file, without waiting on a FIFO.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    #[allow(clippy::cast_possible_wrap, reason = "flags are a bit set")]
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > MAX_IGNORE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is no small plain file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_IGNORE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
