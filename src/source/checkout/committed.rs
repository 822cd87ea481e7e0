//! What a commit has below a folder, to compare what was read with.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use gix_object::tree::EntryKind;

use super::index::Index;
use super::objects::Objects;
use super::plain::{self, is_absence};
use super::{BlobId, Checkout, CheckoutError, Commit, blob_id};
use crate::manifest::Format;
use crate::model::Headline;
use crate::source::Busy;
use crate::source::ignored::{self, IGNORE_FILE};
use crate::source::stamp::Stamp;

/// Most bytes of all paths below the folder, with [`ENTRY_BYTES`] for each.
const MAX_BYTES: usize = 64 * 1024 * 1024;
const ENTRY_BYTES: usize = 64;
/// Most bytes of a path; the system opens none that is longer.
const MAX_PATH_BYTES: usize = 4096;
/// Links that may lead from one to the next, as in the kernel.
const MAX_LINKS: usize = 40;
/// Submodules that may lie in one another.
pub(super) const MAX_DEPTH: usize = 16;

/// What was read of commits, kept from one comparison to the next.
#[derive(Debug, Default)]
pub(in crate::source) struct Committed {
    tree: Option<Tree>,
    /// Of submodules, by their path from the folder's top.
    submodules: BTreeMap<Box<[u8]>, Committed>,
}

/// A file that was read.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) struct File<'a> {
    /// From the folder's top, as it was reached; several paths may lead to one file.
    pub(in crate::source) path: &'a [u8],
    /// What git calls its bytes.
    pub(in crate::source) id: BlobId,
    pub(in crate::source) stamp: &'a Stamp,
}

/// What a folder is to its commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) enum Comparison {
    Same,
    Differs,
    /// git is in the middle of something, of which only the index or a submodule tells.
    Busy(Busy),
}

/// Everything that a commit has below a folder.
#[derive(Debug)]
struct Tree {
    commit: Commit,
    prefix: PathBuf,
    /// By path from the folder's top, sorted.
    entries: Vec<(Box<[u8]>, Entry)>,
    /// Paths of the folders, the top among them.
    folders: Vec<Box<[u8]>>,
    /// Commits of other repositories, by the path where they are checked out.
    submodules: BTreeMap<Box<[u8]>, Commit>,
    headline: Arc<Headline>,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    /// A file that is read if it is there and not ignored.
    Manifest(BlobId),
    File(BlobId),
    /// A symbolic link; its text has this id.
    Link(BlobId),
}

impl Checkout {
    /// Whether what was read of the folder is what the commit has below it. It is not where a file that was read is new
    /// or has other contents; a manifest is gone; a link leads elsewhere; a `.truenorthignore` is new, changed or gone.
    /// The contents count alone, neither a file's mode nor what was staged.
    ///
    /// A file whose bytes are not the commit's counts as the same where git's index vouches for it: a filter made it so,
    /// or a conversion of line endings. One that is missing does where a sparse checkout leaves it out. A submodule
    /// below is compared with the commit that this one names for it.
    ///
    /// A link on the way must be in the commit as it is, and so must what it leads to; one that leaves the folder or is
    /// absolute with a link in it counts as a difference.
    ///
    /// `committed` is what the last call made: what the commit has is read again only for another commit or folder.
    ///
    /// # Errors
    /// Where the commit, a tree or the index cannot be read, also where a commit or tree has more than 16 MiB, or where
    /// the commit has too much below the folder.
    pub(in crate::source) fn compare(
        &self,
        commit: Commit,
        files: &[File<'_>],
        committed: &mut Committed,
    ) -> Result<Comparison, CheckoutError> {
        self.compare_at(commit, files, committed, 0)
    }

    fn compare_at(
        &self,
        commit: Commit,
        files: &[File<'_>],
        committed: &mut Committed,
        depth: usize,
    ) -> Result<Comparison, CheckoutError> {
        if depth > MAX_DEPTH {
            return Ok(Comparison::Differs);
        }
        let tree = match committed.tree.take().filter(|tree| tree.is_of(commit, &self.prefix)) {
            Some(tree) => committed.tree.insert(tree),
            None => committed.tree.insert(Tree::read(&self.common_dir, commit, &self.prefix)?),
        };
        let mut below: BTreeMap<&[u8], Vec<File<'_>>> = BTreeMap::new();
        let mut own = Vec::with_capacity(files.len());
        for file in files {
            match tree.submodule_of(file.path) {
                Some(path) => below.entry(path).or_default().push(File { path: &file.path[path.len() + 1..], ..*file }),
                None => own.push(*file),
            }
        }
        for (path, commit) in &tree.submodules {
            let files = below.remove(&**path).unwrap_or_default();
            let committed = committed.submodules.entry(path.clone()).or_default();
            match self.compare_submodule(path, *commit, &files, committed, depth)? {
                Comparison::Same => {}
                other => return Ok(other),
            }
        }
        let index = OnceCell::new();
        let index = || match index.get() {
            Some(index) => Ok(index),
            None => Index::read(&self.git_dir, &self.prefix, commit.ids()).map(|read| index.get_or_init(|| read)),
        };
        if !tree.differs(&self.folder, &own, &index)? {
            return Ok(Comparison::Same);
        }
        Ok(match index()?.conflict {
            Some(operation) => Comparison::Busy(Busy::Operation(operation)),
            None => Comparison::Differs,
        })
    }

    /// Whether the submodule at `path` has this commit, and nothing else.
    fn compare_submodule(
        &self,
        path: &[u8],
        commit: Commit,
        files: &[File<'_>],
        committed: &mut Committed,
        depth: usize,
    ) -> Result<Comparison, CheckoutError> {
        let Some(submodule) = self.submodule(path)? else {
            return Ok(if files.is_empty() { Comparison::Same } else { Comparison::Differs });
        };
        let state = submodule.state()?;
        match state {
            _ if state.lock.is_some() => Ok(Comparison::Busy(Busy::Locked { lock: submodule.lock_path() })),
            _ if state.operation.is_some() => Ok(state
                .operation
                .map_or(Comparison::Differs, |operation| Comparison::Busy(Busy::Operation(operation)))),
            _ if state.commit == Some(commit) => submodule.compare_at(commit, files, committed, depth + 1),
            _ => Ok(Comparison::Differs),
        }
    }
}

impl Committed {
    /// What people know the commit by that was compared last, if it is this one.
    pub(in crate::source) fn headline(&self, commit: Commit) -> Option<Arc<Headline>> {
        self.tree.as_ref().filter(|tree| tree.commit == commit).map(|tree| Arc::clone(&tree.headline))
    }

    /// Whether there are submodules in what was compared last.
    pub(in crate::source) fn has_submodules(&self) -> bool {
        self.tree.as_ref().is_some_and(|tree| !tree.submodules.is_empty())
    }
}

impl Tree {
    /// Whether this is what the commit has below the folder.
    fn is_of(&self, commit: Commit, prefix: &Path) -> bool {
        self.commit == commit && self.prefix == prefix
    }

    /// Reads the commit's trees from the object database.
    fn read(common_dir: &Path, commit: Commit, prefix: &Path) -> Result<Self, CheckoutError> {
        let mut objects = Objects::open(common_dir, commit.ids())?;
        let mut committed = Self {
            commit,
            prefix: prefix.to_owned(),
            entries: Vec::new(),
            folders: vec![Box::default()],
            submodules: BTreeMap::new(),
            headline: Arc::new(objects.headline(commit)?),
        };
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
                    EntryKind::Commit => {
                        committed.submodules.insert(path.into(), Commit(id));
                        continue;
                    }
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

    /// The path of the submodule that a path leads into.
    fn submodule_of(&self, path: &[u8]) -> Option<&[u8]> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut above = ends.map(|end| &path[..end]);
        if self.submodules.is_empty() {
            return None;
        }
        above.find_map(|above| self.submodules.get_key_value(above).map(|(path, _)| &**path))
    }

    /// Whether `files`, read from `folder`, or what else makes a difference there, are not the same as this.
    fn differs<'i>(
        &self,
        folder: &Path,
        files: &[File<'_>],
        index: &impl Fn() -> Result<&'i Index, CheckoutError>,
    ) -> Result<bool, CheckoutError> {
        let mut read = vec![false; self.entries.len()];
        for file in files {
            match self.entry(file.path) {
                Some((at, Entry::Manifest(here) | Entry::File(here))) => {
                    if !is_same(folder, file, file.path, here, index)? {
                        return Ok(true);
                    }
                    read[at] = true;
                }
                Some((_, Entry::Link(_))) | None => {
                    if !self.has(folder, file, index)? {
                        return Ok(true);
                    }
                }
            }
        }
        let on_disk = |path: &[u8]| folder.join(OsStr::from_bytes(path));
        for ((path, entry), read) in self.entries.iter().zip(read) {
            let is_lost = match entry {
                // What is there and was not read is ignored, or a problem.
                Entry::Manifest(_) if !read => is_gone(&on_disk(path)),
                Entry::Link(text) if !is_hidden(path) => !is_link(&on_disk(path), *text),
                Entry::Manifest(_) | Entry::File(_) | Entry::Link(_) => false,
            };
            if is_lost && !index()?.leaves_out(path) {
                return Ok(true);
            }
        }
        for below in &self.folders {
            let path = join(below, IGNORE_FILE.as_bytes());
            let disk = on_disk(&path);
            let differs = match plain::read(&disk, ignored::MAX_BYTES as u64) {
                Ok(Some(bytes)) => {
                    let Ok(stat) = rustix::fs::stat(&*disk) else { return Ok(true) };
                    let id = blob_id(self.commit.ids(), &bytes);
                    let file = File { path: &path, id, stamp: &Stamp::of(&stat, UNIX_EPOCH) };
                    !self.has(folder, &file, index)?
                }
                Ok(None) => self.entry(&path).is_some() && !index()?.leaves_out(&path),
                Err(_) => true,
            };
            if differs {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a file's path leads to one that is the same, over links that are the same on disk.
    fn has<'i>(
        &self,
        folder: &Path,
        file: &File<'_>,
        index: &impl Fn() -> Result<&'i Index, CheckoutError>,
    ) -> Result<bool, CheckoutError> {
        let Some(path) = self.resolve(folder, file.path) else { return Ok(false) };
        match self.entry(&path) {
            Some((_, Entry::Manifest(here) | Entry::File(here))) => is_same(folder, file, &path, here, index),
            Some((_, Entry::Link(_))) | None => Ok(false),
        }
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
            if links > MAX_LINKS || blob_id(text.0.kind(), target.as_os_str().as_bytes()) != text {
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

/// Whether a file has what is committed at `path`, or git says so.
fn is_same<'i>(
    folder: &Path,
    file: &File<'_>,
    path: &[u8],
    committed: BlobId,
    index: &impl Fn() -> Result<&'i Index, CheckoutError>,
) -> Result<bool, CheckoutError> {
    let disk = || folder.join(OsStr::from_bytes(file.path));
    Ok(file.id == committed || index()?.vouches(path, committed, file.stamp, &disk()))
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

fn is_link(path: &Path, text: BlobId) -> bool {
    path.read_link().is_ok_and(|target| blob_id(text.0.kind(), target.as_os_str().as_bytes()) == text)
}
