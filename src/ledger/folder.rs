//! The state folder: made where it is missing, and closed to others where it is ours alone.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::OpenError;

/// Every file of the ledger begins like this: `ledger.sqlite`, its `-wal` and `-shm`, `ledger.lock`.
const PREFIX: &str = "ledger.";
const STORE: &str = "ledger.sqlite";

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
    if is_open_to_others(&found) && is_ours_alone(&dir, &found).map_err(failed("look at"))? {
        let closed = Permissions::from_mode(found.mode() & 0o7700);
        fs::set_permissions(&dir, closed).map_err(failed("close to other users"))?;
    }
    Ok(dir)
}

fn is_open_to_others(folder: &Metadata) -> bool {
    folder.mode() & 0o077 != 0
}

/// A folder that holds anything else may be shared on purpose (`--state-dir /tmp`, a home folder): it is left alone,
/// and the files' own mode 0600 has to do. So is a volume that another user owns, as Kubernetes mounts them.
fn is_ours_alone(dir: &Path, folder: &Metadata) -> io::Result<bool> {
    if folder.uid() != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    for entry in fs::read_dir(dir)? {
        if !entry?.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}
