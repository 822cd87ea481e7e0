//! Where a manifest is written: `<project>/<service>.yaml`, under `<team>/` where there is one, below a folder that
//! nothing leads out of. Ids are distrusted: whatever is special in a file name is escaped.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::model::ServiceKey;

/// The longest part of a path, in bytes; file systems end at 255, and a temporary name is longer.
const MAX_PART: usize = 200;

/// What is done where a file is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays as it is.
    Keep,
    Replace,
}

/// A file's place below the folder; shown with `/` between its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    folders: Vec<String>,
    file: String,
}

impl Place {
    pub(super) fn of(key: &ServiceKey) -> Self {
        let team = key.team.as_ref().map(|team| part(team.as_str()));
        let folders = team.into_iter().chain([part(key.project.as_str())]).collect();
        Self { folders, file: format!("{}.yaml", part(key.service.as_str())) }
    }

    /// The way from the file's folder to the top.
    pub(super) fn to_top(&self) -> String {
        "../".repeat(self.folders.len())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for folder in &self.folders {
            write!(f, "{folder}/")?;
        }
        f.write_str(&self.file)
    }
}

/// An id as a part of a path: letters, digits, `-`, `_` and inner dots stay, every other byte is written as `%2F`. What
/// gets too long is cut, and told apart by a digest. No two ids give one part.
fn part(id: &str) -> String {
    let mut part = String::with_capacity(id.len());
    for (index, byte) in id.bytes().enumerate() {
        let stays = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && index > 0);
        if stays {
            part.push(char::from(byte));
        } else {
            let _ = write!(part, "%{byte:02X}");
        }
    }
    if part.len() > MAX_PART {
        // All of it is ASCII.
        part.truncate(MAX_PART - 17);
        part.push('~');
        for byte in Sha256::digest(id).iter().take(8) {
            let _ = write!(part, "{byte:02x}");
        }
    }
    part
}

/// A folder to write below. Links below it are not followed.
#[derive(Debug)]
pub(super) struct Out {
    folder: OwnedFd,
}

impl Out {
    /// Opens the folder, and makes it where it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { folder: rustix::fs::openat(CWD, path, flags, Mode::empty())? })
    }

    /// Whether anything is there, a link to nowhere too.
    pub(super) fn is_taken(&self, place: &Place) -> io::Result<bool> {
        let folder = match self.folder_of(place, Missing::Error) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            folder => folder?,
        };
        match rustix::fs::statat(&folder, &place.file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a file, whole or not at all. A link in its place is replaced, if anything is, and never followed.
    pub(super) fn write(&self, place: &Place, text: &str, existing: Existing) -> io::Result<()> {
        let folder = self.folder_of(place, Missing::Make)?;
        // A hidden name, which a look at the folder passes over should this process die here.
        let draft = format!(".{}.{:016x}", place.file, fastrand::u64(..));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&folder, &draft, flags, Mode::from_raw_mode(0o644))?);
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        let placed = written.and_then(|()| match existing {
            Existing::Replace => Ok(rustix::fs::renameat(&folder, &draft, &folder, &place.file)?),
            // Unlike a rename, a link fails where there is something.
            Existing::Keep => Ok(rustix::fs::linkat(&folder, &draft, &folder, &place.file, AtFlags::empty())?),
        });
        // After a rename it is gone already; otherwise a hidden file stays behind, which is no harm.
        let _ = rustix::fs::unlinkat(&folder, &draft, AtFlags::empty());
        placed?;
        Ok(rustix::fs::fsync(&folder)?)
    }

    /// Opens the folder of a place, part by part, so that no link is followed.
    fn folder_of(&self, place: &Place, missing: Missing) -> io::Result<OwnedFd> {
        let mut folder = self.folder.as_fd().try_clone_to_owned()?;
        for part in &place.folders {
            if missing == Missing::Make {
                match rustix::fs::mkdirat(&folder, part, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = rustix::fs::openat(&folder, part, flags, Mode::empty()).map_err(|error| match error {
                Errno::LOOP | Errno::NOTDIR => {
                    io::Error::other(format!("`{part}` is a link or a file, and only folders are gone into"))
                }
                error => error.into(),
            })?;
        }
        Ok(folder)
    }
}

/// What is done where a folder is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Id;

    fn place(key: &str) -> String {
        Place::of(&key.parse().unwrap()).to_string()
    }

    #[test]
    fn a_place_follows_from_the_ids_and_leads_nowhere_else() {
        assert_eq!(place("shop/web"), "shop/web.yaml");
        assert_eq!(place("acme/shop/web.v2"), "acme/shop/web.v2.yaml");
        assert_eq!(place("a b/.x"), "a%20b/%2Ex.yaml");
        assert_eq!(place(".../%2F~ü"), "%2E../%252F%7E%C3%BC.yaml");
        let long = |last: char| place(&format!("shop/{}{last}", "ü".repeat(Id::MAX_CHARS - 1)));
        assert_ne!(long('a'), long('b'));
        assert!(long('a').len() <= "shop/.yaml".len() + MAX_PART);
    }

    #[test]
    fn a_file_is_kept_or_replaced_and_a_link_is_never_followed() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let out = Out::open(&folder.path().join("new/out")).unwrap();
        let path = folder.path().join("new/out/shop/web.yaml");
        let web = Place::of(&"shop/web".parse().unwrap());
        assert!(!out.is_taken(&web).unwrap());
        out.write(&web, "one", Existing::Keep).unwrap();
        assert!(out.is_taken(&web).unwrap());
        assert_eq!(out.write(&web, "two", Existing::Keep).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        out.write(&web, "two", Existing::Replace).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");

        let victim = outside.path().join("victim");
        std::fs::write(&victim, "safe").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(out.is_taken(&web).unwrap() && out.write(&web, "three", Existing::Keep).is_err());
        out.write(&web, "three", Existing::Replace).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("new/out/else")).unwrap();
        let elsewhere = Place::of(&"else/web".parse().unwrap());
        assert!(out.is_taken(&elsewhere).is_err());
        assert!(out.write(&elsewhere, "four", Existing::Replace).is_err());
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "safe");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        let left = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "a draft was left behind");
    }
}
