//! Follows HEAD to a commit: refs as files, packed refs, and reftables; ids of SHA-1 and SHA-256.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use gix_hash::ObjectId;

use super::{CheckoutError, plain, reftable};

/// Most bytes of a file that holds one ref.
pub(super) const MAX_REF_BYTES: u64 = 64 * 1024;
/// Most bytes of the file of packed refs: some 500,000 of them.
const MAX_PACKED_BYTES: u64 = 64 * 1024 * 1024;
/// Symbolic refs that may lead from one to the next, as in git.
const MAX_REFS: usize = 5;

/// What a ref says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Id(ObjectId),
    Name(Vec<u8>),
}

/// The refs of one work tree.
pub(super) struct Refs<'a> {
    /// Where the work tree's own are.
    pub(super) git_dir: &'a Path,
    /// Where those are that all work trees share.
    pub(super) common_dir: &'a Path,
}

/// Where HEAD leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The commit; none on a branch without commits.
    pub(super) id: Option<ObjectId>,
    /// What changes when HEAD leads elsewhere: the files that were read, or would be if they were there.
    pub(super) files: Vec<PathBuf>,
}

impl Refs<'_> {
    /// Whether they are kept in tables. Where they are, a HEAD that older programs can read leads nowhere.
    fn are_in_tables(&self) -> io::Result<bool> {
        plain::exists(&self.common_dir.join("reftable"))
    }

    /// Follows HEAD.
    pub(super) fn head(&self) -> Result<Head, CheckoutError> {
        let mut name = b"HEAD".to_vec();
        let mut files = Vec::new();
        for _ in 0..MAX_REFS {
            let path = self.path(&name);
            let unreadable = |source| CheckoutError::Ref { path: path.clone(), source };
            files.push(if self.are_in_tables().map_err(unreadable)? {
                self.folder(&name).join("reftable/tables.list")
            } else {
                path.clone()
            });
            name = match self.find(&name).map_err(unreadable)? {
                Some(Target::Id(id)) => return Ok(Head { id: Some(id), files }),
                Some(Target::Name(name)) => name,
                // HEAD itself says something, or this is not a repository.
                None if name == b"HEAD" => {
                    return Err(unreadable(io::Error::new(io::ErrorKind::NotFound, "it is missing")));
                }
                None => return Ok(Head { id: None, files }),
            };
        }
        Err(CheckoutError::Circle { path: self.git_dir.join("HEAD") })
    }

    /// Whether there is a ref of this name of the work tree's own, such as `CHERRY_PICK_HEAD`.
    pub(super) fn has_own(&self, name: &str) -> Result<bool, CheckoutError> {
        let path = self.git_dir.join(name);
        let unreadable = |source| CheckoutError::Ref { path: path.clone(), source };
        if plain::exists(&path).map_err(unreadable)? {
            return Ok(true);
        }
        let in_tables = self.are_in_tables().map_err(unreadable)?;
        Ok(in_tables && reftable::find(self.git_dir, name.as_bytes()).map_err(unreadable)?.is_some())
    }

    /// What a ref says. A ref of its own file wins over a packed one, and is looked for first: git packs a ref before
    /// it removes the file.
    fn find(&self, name: &[u8]) -> io::Result<Option<Target>> {
        if !is_name(name) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it names a ref that cannot be"));
        }
        if self.are_in_tables()? {
            return reftable::find(self.folder(name), name);
        }
        let path = self.path(name);
        if path.is_dir() {
            // A branch `a` may be packed while there is one `a/b` in a file.
            return self.find_packed(name);
        }
        match plain::read(&path, MAX_REF_BYTES)? {
            Some(text) => target(&text).map(Some),
            None => self.find_packed(name),
        }
    }

    fn find_packed(&self, name: &[u8]) -> io::Result<Option<Target>> {
        let packed = plain::read(&self.common_dir.join("packed-refs"), MAX_PACKED_BYTES);
        let of_all = |error: io::Error| io::Error::new(error.kind(), format!("cannot read `packed-refs`: {error}"));
        let Some(packed) = packed.map_err(of_all)? else { return Ok(None) };
        // A line is an id, a blank and a name. Comments and the ids that tags lead to begin otherwise.
        let of_name = |line: &&[u8]| line.strip_suffix(name).is_some_and(|rest| rest.ends_with(b" "));
        let Some(line) = packed.split(|byte| *byte == b'\n').find(of_name) else { return Ok(None) };
        target(&line[..line.len() - name.len() - 1]).map(Some)
    }

    /// The folder that keeps a ref: what is below `refs/` is shared, with exceptions.
    fn folder(&self, name: &[u8]) -> &Path {
        let own = [&b"refs/bisect/"[..], b"refs/worktree/", b"refs/rewritten/"];
        let is_shared = name.starts_with(b"refs/") && !own.iter().any(|own| name.starts_with(own));
        if is_shared { self.common_dir } else { self.git_dir }
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.folder(name).join(OsStr::from_bytes(name))
    }
}

/// Whether HEAD, or a name below `refs/` that leads nowhere else.
fn is_name(name: &[u8]) -> bool {
    let path = Path::new(OsStr::from_bytes(name));
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(part) if !part.as_bytes().starts_with(b"."));
    name == b"HEAD" || (name.starts_with(b"refs/") && !name.contains(&0) && path.components().all(is_plain))
}

/// What the text of a ref says.
fn target(text: &[u8]) -> io::Result<Target> {
    let text = text.trim_ascii_end();
    if let Some(name) = text.strip_prefix(b"ref:") {
        return Ok(Target::Name(name.trim_ascii_start().to_vec()));
    }
    let unknown = |_| io::Error::new(io::ErrorKind::InvalidData, "it holds neither an id nor the name of a ref");
    ObjectId::from_hex(text).map(Target::Id).map_err(unknown)
}
