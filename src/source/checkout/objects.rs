//! A repository's commits and trees, read from its objects.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use gix_hash::ObjectId;
use gix_object::tree::EntryKind;
use gix_object::{CommitRefIter, Find as _, Kind, TreeRefIter};

use super::plain;
use super::{CheckoutError, Commit};
use crate::model::Headline;

/// Most bytes of a commit or a tree.
const MAX_OBJECT_BYTES: usize = 16 * 1024 * 1024;
/// Most bytes of `objects/info/alternates`: none at all, but for blanks and comments.
const MAX_ALTERNATES_BYTES: u64 = 64 * 1024;
/// Most files in the folder of packs.
const MAX_PACK_FILES: usize = 100_000;

/// The commits and trees of a repository.
pub(super) struct Objects {
    path: PathBuf,
    ids: gix_hash::Kind,
    objects: gix_odb::Handle,
    buffer: Vec<u8>,
}

/// What a tree says of one name.
pub(super) type Named = (Box<[u8]>, EntryKind, ObjectId);

impl Objects {
    pub(super) fn open(common_dir: &Path, ids: gix_hash::Kind) -> Result<Self, CheckoutError> {
        let path = common_dir.join("objects");
        let options = gix_odb::store::init::Options {
            alloc_limit_bytes: Some(MAX_OBJECT_BYTES),
            current_dir: Some(common_dir.to_owned()),
            ..Default::default()
        };
        let opened = check_objects(&path).and_then(|()| gix_odb::at_opts(path.clone(), ids, None, options));
        match opened {
            Ok(objects) => Ok(Self { path, ids, objects, buffer: Vec::new() }),
            Err(source) => Err(CheckoutError::Objects { path, source }),
        }
    }

    /// The tree that a commit has for a folder, if it has that folder.
    pub(super) fn folder(&mut self, Commit(commit): Commit, prefix: &Path) -> Result<Option<ObjectId>, CheckoutError> {
        let unread = self.unread(Kind::Commit, commit);
        let ids = self.ids;
        let bytes = self.find(Kind::Commit, commit)?;
        let mut tree = CommitRefIter::from_bytes(bytes, ids).tree_id().map_err(|error| unread(error.into()))?;
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

    /// What people know a commit by.
    pub(super) fn headline(&mut self, Commit(commit): Commit) -> Result<Headline, CheckoutError> {
        let ids = self.ids;
        let commit = CommitRefIter::from_bytes(self.find(Kind::Commit, commit)?, ids);
        // A commit without an author, or with a strange one, has its tree all the same.
        let author = commit.author().map(|author| author.name);
        Ok(Headline::new(commit.message().unwrap_or_default(), author.unwrap_or_default()))
    }

    /// What a tree holds.
    pub(super) fn tree(&mut self, id: ObjectId) -> Result<Vec<Named>, CheckoutError> {
        let unread = self.unread(Kind::Tree, id);
        let corrupt = CheckoutError::Corrupt { kind: Kind::Tree, id, path: self.path.clone() };
        let ids = self.ids;
        let entries = TreeRefIter::from_bytes(self.find(Kind::Tree, id)?, ids)
            .map(|entry| entry.map(|entry| ((**entry.filename).into(), entry.mode.kind(), entry.oid.to_owned())))
            .collect::<Result<Vec<Named>, _>>()
            .map_err(|error| unread(error.into()))?;
        let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/');
        if entries.iter().all(|(name, ..)| is_name(name)) { Ok(entries) } else { Err(corrupt) }
    }

    pub(super) fn find(&mut self, kind: Kind, id: ObjectId) -> Result<&[u8], CheckoutError> {
        let unread = self.unread(kind, id);
        let hex = id.to_hex().to_string();
        if let Err(error) = check_plain(&self.path.join(&hex[..2]).join(&hex[2..])) {
            return Err(unread(error.into()));
        }
        let path = || self.path.clone();
        match self.objects.try_find(&id, &mut self.buffer) {
            Ok(Some(found)) if found.kind == kind => Ok(found.data),
            Ok(Some(_)) => Err(CheckoutError::Corrupt { kind, id, path: path() }),
            Ok(None) => Err(CheckoutError::Missing { kind, id, path: path() }),
            Err(error) => Err(unread(error.into())),
        }
    }

    fn unread(
        &self,
        kind: Kind,
        id: ObjectId,
    ) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> CheckoutError + use<> {
        let path = self.path.clone();
        move |source| CheckoutError::Object { kind, id, path, source }
    }
}

/// Looks at what the library is about to open: it opens files by name, whatever they are, and would follow the path of
/// another repository wherever it leads.
fn check_objects(path: &Path) -> io::Result<()> {
    let refused = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
    let alternates = plain::read(&path.join("info/alternates"), MAX_ALTERNATES_BYTES)?.unwrap_or_default();
    let leads_on = |line: &[u8]| !line.trim_ascii().is_empty() && !line.starts_with(b"#");
    if alternates.split(|byte| *byte == b'\n').any(leads_on) {
        return refused(
            "objects of another repository are borrowed (`objects/info/alternates`), which is not followed",
        );
    }
    let Some(packs) = plain::present(path.join("pack").read_dir())? else { return Ok(()) };
    for (count, pack) in packs.enumerate() {
        if count > MAX_PACK_FILES {
            return refused("the folder of packs holds too many files");
        }
        check_plain(&pack?.path())?;
    }
    Ok(())
}

/// Whether what is there, if anything is, is a plain file.
fn check_plain(path: &Path) -> io::Result<()> {
    match plain::present(path.metadata())? {
        Some(metadata) if !metadata.is_file() => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is not a plain file", path.display())))
        }
        Some(_) | None => Ok(()),
    }
}
