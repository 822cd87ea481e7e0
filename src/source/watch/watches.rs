//! The watches that are armed, one a folder, and what is known of each folder.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{ErrorKind, RecursiveMode};

use super::{AnyWatcher, NoEvents, file_system, is_hidden};

pub(super) struct Watches {
    watcher: AnyWatcher,
    armed: BTreeMap<PathBuf, Armed>,
    /// The paths of armed folders, by which folder it is.
    paths: BTreeMap<FolderId, PathBuf>,
    /// Devices on which watched folders are, with the kind of file system where that is one that events do not suit.
    devices: BTreeMap<u64, Option<&'static str>>,
}

struct Armed {
    folder: FolderId,
    /// Read after the folder was armed; none when they have to be read again.
    entries: Option<Arc<Entries>>,
}

/// Which folder it is, whatever its path. After a folder is gone its identity can come back; but then an event told
/// that it went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct FolderId {
    device: u64,
    inode: u64,
}

impl FolderId {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Of the folder that is at the path itself, not behind a link there.
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = path.symlink_metadata()?;
        if metadata.is_dir() { Ok(Self::of(&metadata)) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }
}

/// What of a folder leads further.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) folders: Vec<OsString>,
    pub(super) links: Vec<OsString>,
}

/// What came of arming a folder.
pub(super) enum Arming {
    /// It is watched since now.
    Armed,
    /// It was watched already.
    Held,
    /// It may not be read, and so not be watched.
    Denied(notify::Error),
    /// It is not there any more.
    Gone,
    /// Another folder has taken the place of the watched one.
    Displaced,
}

impl Watches {
    pub(super) fn new(watcher: AnyWatcher) -> Self {
        Self { watcher, armed: BTreeMap::new(), paths: BTreeMap::new(), devices: BTreeMap::new() }
    }

    /// Watches a folder, a path without links.
    pub(super) fn arm(&mut self, folder: &Path) -> Result<Arming, NoEvents> {
        let Ok(id) = FolderId::at(folder) else { return Ok(Arming::Gone) };
        if let Some(armed) = self.armed.get(folder) {
            return Ok(if armed.folder == id { Arming::Held } else { Arming::Displaced });
        }
        // A folder that was moved here, of which we shall hear later. For the kernel it has one watch, whatever its path:
        // dropping the one of the old path later on would drop this one. (A folder that is mounted twice takes turns.)
        if let Some(before) = self.paths.get(&id).cloned() {
            self.disarm(&before);
        }
        let error = match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.armed.insert(folder.to_owned(), Armed { folder: id, entries: None });
                self.paths.insert(id, folder.to_owned());
                self.devices.entry(id.device).or_insert_with(|| file_system::unsuited(folder));
                return Ok(Arming::Armed);
            }
            Err(error) => error,
        };
        match &error.kind {
            ErrorKind::MaxFilesWatch => Err(NoEvents::TooManyWatches),
            ErrorKind::PathNotFound => Ok(Arming::Gone),
            ErrorKind::Io(source) => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(Arming::Gone),
                io::ErrorKind::PermissionDenied => Ok(Arming::Denied(error)),
                _ => Err(NoEvents::Refused { path: folder.to_owned(), source: error }),
            },
            _ => Err(NoEvents::Refused { path: folder.to_owned(), source: error }),
        }
    }

    /// The kind of file system of a watched folder, where it is one that events do not suit.
    pub(super) fn unsuited(&self, folder: &Path) -> Option<&'static str> {
        let armed = self.armed.get(folder)?;
        self.devices.get(&armed.folder.device).copied().flatten()
    }

    /// The entries of a folder; none of one that cannot be read, which is for the look to report.
    pub(super) fn entries(&mut self, folder: &Path) -> Arc<Entries> {
        match self.armed.get_mut(folder) {
            Some(Armed { entries: Some(entries), .. }) => Arc::clone(entries),
            Some(armed) => match read_entries(folder) {
                Ok(entries) => Arc::clone(armed.entries.insert(Arc::new(entries))),
                Err(_) => Arc::default(),
            },
            None => Arc::default(),
        }
    }

    /// Drops the watches of what is lost and of all below, and what was known of changed folders.
    pub(super) fn forget(&mut self, lost: &BTreeSet<PathBuf>, changed: &BTreeSet<PathBuf>) {
        for path in lost {
            let below = |(folder, _): &(&PathBuf, &Armed)| folder.starts_with(path);
            let gone: Vec<PathBuf> =
                self.armed.range(path.clone()..).take_while(below).map(|(folder, _)| folder.clone()).collect();
            gone.iter().for_each(|folder| self.disarm(folder));
        }
        for folder in changed {
            if let Some(armed) = self.armed.get_mut(folder) {
                armed.entries = None;
            }
        }
    }

    /// Drops the watches of all folders that are not wanted.
    pub(super) fn keep_only(&mut self, is_wanted: impl Fn(&Path) -> bool) {
        let unwanted: Vec<PathBuf> = self.armed.keys().filter(|folder| !is_wanted(folder)).cloned().collect();
        unwanted.iter().for_each(|folder| self.disarm(folder));
    }

    fn disarm(&mut self, folder: &Path) {
        if let Some(armed) = self.armed.remove(folder) {
            self.paths.remove(&armed.folder);
        }
        // It fails where the watch went with its folder.
        let _ = self.watcher.unwatch(folder);
    }

    /// How many folders are watched.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.armed.len()
    }
}

fn read_entries(folder: &Path) -> io::Result<Entries> {
    let mut entries = Entries::default();
    for entry in folder.read_dir()? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if !kind.is_dir() && !kind.is_symlink() {
            continue;
        }
        let name = entry.file_name();
        if is_hidden(&name) {
            continue;
        }
        if kind.is_dir() { &mut entries.folders } else { &mut entries.links }.push(name);
    }
    Ok(entries)
}
