//! Lays out what a commit has below a folder, as files in another folder: so it is read by the rules for all folders.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use gix_object::Kind;
use gix_object::tree::EntryKind;

use super::committed::MAX_DEPTH;
use super::objects::Objects;
use super::{Checkout, CheckoutError, Commit};
use crate::manifest::MAX_BYTES;
use crate::model::Headline;
use crate::source::MAX_ENTRIES;

/// Most bytes of all files. What is beyond has its size alone, which is enough to be told that it is too much.
const MAX_CONTENT: usize = 128 * 1024 * 1024;
/// Folders in one another.
const MAX_FOLDERS: usize = 256;

struct Layout {
    entries: usize,
    content: usize,
}

impl Checkout {
    /// Makes the files in `into`, an empty folder. Submodules have what the commit names for them, where they were
    /// fetched. Filters are not run: a file is as it was committed.
    /// Gives what people know the commit by.
    ///
    /// # Errors
    /// Where the commit, a tree or a file of it cannot be read, or a file cannot be made.
    pub(in crate::source) fn lay_out(&self, commit: Commit, into: &Path) -> Result<Headline, CheckoutError> {
        Layout { entries: 0, content: 0 }.checkout(self, commit, into, 0)?;
        Objects::open(&self.common_dir, commit.ids())?.headline(commit)
    }
}

impl Layout {
    fn checkout(&mut self, from: &Checkout, commit: Commit, into: &Path, depth: usize) -> Result<(), CheckoutError> {
        let mut objects = Objects::open(&from.common_dir, commit.ids())?;
        let Some(top) = objects.folder(commit, &from.prefix)? else { return Ok(()) };
        let mut trees = vec![(PathBuf::new(), top)];
        while let Some((folder, tree)) = trees.pop() {
            if folder.components().count() > MAX_FOLDERS {
                return Err(CheckoutError::TooLarge { commit });
            }
            for (name, kind, id) in objects.tree(tree)? {
                self.entries += 1;
                // Of so many, the reader says that they are too many.
                if self.entries > MAX_ENTRIES + 1 {
                    return Ok(());
                }
                let below = folder.join(OsStr::from_bytes(&name));
                let path = into.join(&below);
                let not_made = |source| CheckoutError::LaidOut { path: path.clone(), source };
                match kind {
                    EntryKind::Tree => {
                        fs::create_dir(&path).map_err(not_made)?;
                        trees.push((below, id));
                    }
                    EntryKind::Commit => {
                        fs::create_dir(&path).map_err(not_made)?;
                        let submodule = from.submodule(below.as_os_str().as_bytes())?.filter(|_| depth < MAX_DEPTH);
                        if let Some(submodule) = submodule {
                            self.checkout(&submodule, Commit(id), &path, depth + 1)?;
                        }
                    }
                    EntryKind::Link => {
                        let target = Path::new(OsStr::from_bytes(objects.find(Kind::Blob, id)?));
                        // An absolute one leads to where the folder itself is.
                        let inside = target.strip_prefix(&from.folder).map(|inside| into.join(inside));
                        symlink(inside.as_deref().unwrap_or(target), &path).map_err(not_made)?;
                    }
                    EntryKind::Blob | EntryKind::BlobExecutable => {
                        let content = objects.find(Kind::Blob, id)?;
                        self.file(&path, content).map_err(not_made)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        self.content = self.content.saturating_add(content.len());
        if content.len() > MAX_BYTES || self.content > MAX_CONTENT {
            return file.set_len(content.len() as u64);
        }
        file.write_all(content)
    }
}
