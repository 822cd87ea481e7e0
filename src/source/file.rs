//! One file: what it holds, read or known from the look before.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use super::checkout::{BlobId, blob_id};
use super::stamp::Stamp;
use crate::manifest::{self, Format, MAX_BYTES, Parsed};
use crate::plain_file::{NotRead, PlainFile};

/// A file that was read, or is known from the look before.
#[derive(Debug)]
pub(super) struct Found {
    /// As reports show it.
    pub(super) file: Arc<str>,
    /// Its path from the folder's top, where that is not what reports show: it is not UTF-8.
    odd_path: Option<Box<Path>>,
    /// How it was reached.
    pub(super) by: By,
    pub(super) stamp: Stamp,
    pub(super) contents: Contents,
}

/// How a file was reached. Its own path comes first where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    ItsPath,
    Link,
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Contents {
    /// What git calls its bytes.
    pub(super) blob: BlobId,
    /// Its manifests and their problems.
    pub(super) parsed: Parsed,
}

impl Found {
    /// Reads and parses a file. `ids` is the kind of ids that git gives to files here; `buffer` is used again from file
    /// to file.
    pub(super) fn read(
        path: &Path,
        (format, ids): (Format, gix_hash::Kind),
        (file, by): (PlainFile, By),
        stamp: Stamp,
        buffer: &mut Vec<u8>,
    ) -> Result<Self, NotRead> {
        file.read(MAX_BYTES, buffer)?;
        let (file, odd_path) = match path.to_string_lossy() {
            Cow::Borrowed(file) => (file.into(), None),
            Cow::Owned(file) => (file.into(), Some(path.into())),
        };
        let parsed = manifest::parse(&file, format, buffer);
        Ok(Self { file, odd_path, by, stamp, contents: Contents { blob: blob_id(ids, buffer), parsed } })
    }

    #[cfg(test)]
    pub(super) fn made(like: &Self, stamp: Stamp, contents: Contents) -> Self {
        Self { file: Arc::clone(&like.file), odd_path: None, by: like.by, stamp, contents }
    }

    /// Its path from the folder's top.
    pub(super) fn path(&self) -> &Path {
        self.odd_path.as_deref().unwrap_or_else(|| Path::new(&*self.file))
    }

    /// The file of this path among those that are sorted by their names as reports show them.
    pub(super) fn of<'f>(path: &Path, found: &'f [Arc<Self>]) -> Option<&'f Arc<Self>> {
        Self::index_of(path, found).map(|index| &found[index])
    }

    /// Where that file stands among them.
    pub(super) fn index_of(path: &Path, found: &[Arc<Self>]) -> Option<usize> {
        let name = path.to_string_lossy();
        let index = found.binary_search_by(|found| (*found.file).cmp(&name)).ok()?;
        (found[index].path().as_os_str() == path.as_os_str()).then_some(index)
    }

    /// Whether it is the file of this name in this folder.
    pub(super) fn is_at(&self, folder: &Path, name: &OsStr) -> bool {
        let (folder, name) = (folder.as_os_str().as_bytes(), name.as_bytes());
        let rest = self.path().as_os_str().as_bytes().strip_suffix(name).and_then(|rest| rest.strip_prefix(folder));
        rest.is_some_and(|rest| rest == if folder.is_empty() { &b""[..] } else { b"/" })
    }

    /// Whether it is in this folder, and in none below.
    pub(super) fn is_in(&self, folder: &Path) -> bool {
        let (folder, path) = (folder.as_os_str().as_bytes(), self.path().as_os_str().as_bytes());
        match path.strip_prefix(folder) {
            Some(name) if folder.is_empty() => !name.contains(&b'/'),
            Some([b'/', name @ ..]) => !name.contains(&b'/'),
            _ => false,
        }
    }

    /// What it takes of the room for all files.
    pub(super) fn cost(&self) -> u64 {
        cost(self.path(), &self.stamp)
    }
}

/// What a file takes of the room for all files: its content and its name.
pub(super) fn cost(path: &Path, stamp: &Stamp) -> u64 {
    (stamp.bytes() as u64).saturating_add(path.as_os_str().len() as u64)
}
