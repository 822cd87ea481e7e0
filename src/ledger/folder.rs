//! The state folder: made where it is missing, closed to others where it is ours alone, and refused where somebody else
//! could put a ledger of his own into it.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid, getgroups};

use super::OpenError;

/// Every file of the ledger begins like this.
const PREFIX: &str = "ledger.";
const STORE: &str = "ledger.sqlite";

/// What stands beside the store.
pub(super) const LOCK: &str = "ledger.lock";
pub(super) const MARK: &str = "ledger.mark";
pub(super) const BELL: &str = "ledger.bell";

/// Opens a file that must not be a link.
pub(super) const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// The store in a folder.
pub(super) fn store(dir: &Path) -> PathBuf {
    dir.join(STORE)
}

/// A file beside the store, by what is added to its name: `-wal`, `-shm`, `.new`.
pub(super) fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes the folder, or checks the one that is there, and gives its path without links, so that neither a swapped
/// link nor a change of the working folder can split the ledger in two.
pub(super) fn prepare(dir: &Path) -> Result<PathBuf, OpenError> {
    let failed = |action| move |source| OpenError::Folder { action, path: dir.to_owned(), source };
    match fs::metadata(dir) {
        Ok(found) if !found.is_dir() => return Err(OpenError::NotAFolder { path: dir.to_owned() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("make"))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(OpenError::NotAFolder { path: dir.to_owned() });
        }
        Err(error) => return Err(failed("look at")(error)),
    }
    let dir = fs::canonicalize(dir).map_err(failed("look at"))?;
    let found = fs::metadata(&dir).map_err(failed("look at"))?;
    others_write_not(&dir, &found)?;
    if found.mode() & 0o077 != 0 && is_ours_alone(&dir, &found).map_err(failed("look at"))? {
        let closed = Permissions::from_mode(found.mode() & 0o7700);
        fs::set_permissions(&dir, closed).map_err(failed("close to other users"))?;
    }
    for path in files(&dir) {
        if let Some(found) = plain(&path)? {
            if !is_ours(&found) {
                return Err(OpenError::NotOurs { path, owner: found.uid() });
            }
            if found.mode() & 0o177 != 0 {
                let failed = |source| OpenError::File { action: "close to other users", path: path.clone(), source };
                fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
            }
        }
    }
    Ok(dir)
}

/// Refuses links in the place of the ledger's files, for whoever only reads.
pub(super) fn refuse_links(dir: &Path) -> Result<(), OpenError> {
    files(dir).iter().try_for_each(|path| plain(path).map(drop))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let store = store(dir);
    let mut files = [LOCK, MARK, BELL].map(|name| dir.join(name)).to_vec();
    files.extend(["-wal", "-shm", "-journal"].map(|suffix| beside(&store, suffix)));
    files.push(store);
    files
}

/// A file that is no link and no device; nothing where there is none.
fn plain(path: &Path) -> Result<Option<Metadata>, OpenError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(OpenError::Link { path: path.to_owned() }),
        Ok(found) if !found.is_file() => Err(OpenError::Foreign { path: path.to_owned() }),
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::File { action: "look at", path: path.to_owned(), source }),
    }
}

fn is_ours(found: &Metadata) -> bool {
    found.uid() == geteuid().as_raw()
}

/// A folder that holds anything else may be shared on purpose: it is left alone, and the files' own mode 0600 has to do.
fn is_ours_alone(dir: &Path, folder: &Metadata) -> io::Result<bool> {
    if !is_ours(folder) {
        return Ok(false);
    }
    for entry in fs::read_dir(dir)? {
        if !entry?.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whoever may write to the folder may put another ledger there. That is root, and whoever shares a group with us on
/// purpose: Kubernetes gives volumes to root and to the group `fsGroup`, mode 2775.
fn others_write_not(dir: &Path, folder: &Metadata) -> Result<(), OpenError> {
    if !is_ours(folder) && folder.uid() != 0 {
        return Err(OpenError::NotOurs { path: dir.to_owned(), owner: folder.uid() });
    }
    let by_group = folder.mode() & 0o020 != 0 && !is_our_group(folder.gid());
    if folder.mode() & 0o002 != 0 || by_group {
        return Err(OpenError::OthersWrite { path: dir.to_owned(), mode: folder.mode() & 0o7777 });
    }
    Ok(())
}

fn is_our_group(group: u32) -> bool {
    let ours = getgroups().unwrap_or_default();
    group == getegid().as_raw() || ours.iter().any(|ours| ours.as_raw() == group)
}

/// The start of a small file.
pub(super) fn read_short(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(NO_LINK).open(path)?;
    let mut bytes = Vec::with_capacity(most);
    File::take(file, most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
