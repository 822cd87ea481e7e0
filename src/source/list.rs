//! Finds what is to be read below a folder.
//!
//! First all folders, each from the descriptor of the one above, in the order of their names; then what links lead to,
//! in the order of the links, unless that was found already. So everything is found once, under the same name each time,
//! however many ways lead to it.

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::disk::{Disk, Unreached};
use super::editors::is_an_editors;
use super::ignored::{self, IGNORE_FILE, Rules, Size};
use super::stamp::Stamp;
use super::unreadable::Broken;
use super::{MAX_ENTRIES, problems};
use crate::manifest::{Format, Problem};
use crate::plain_file::{NotRead, PlainFile, what_else};

/// Most folders one in the other.
pub(super) const MAX_DEPTH: usize = 64;
/// Most bytes of a path from the folder's top.
const MAX_PATH_BYTES: usize = 1024;
/// Most names in one folder, those that are left out among them, and most that are counted to find which folder holds
/// too many.
const MAX_NAMES: usize = 10 * MAX_ENTRIES;
/// An ignore file of up to this size is read even where there is no room for its rules.
const SMALL_BYTES: usize = 4096;
/// Most files that are given to be read at once.
const BATCH: usize = 128;

/// Something to be read.
pub(super) enum Work {
    Files {
        folder: Arc<Folder>,
        files: Vec<(OsString, Format)>,
    },
    /// What a link leads to.
    Linked {
        path: PathBuf,
        format: Format,
        file: PlainFile,
        opened_at: SystemTime,
    },
}

pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) open: OwnedFd,
}

/// What was found beside the files.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) problems: Vec<Problem>,
    /// The folders, with their stamps from before they were listed, and the ignore files, in the order in which they
    /// were found.
    pub(super) folders: Vec<(PathBuf, Stamp)>,
    /// Whether a link was met on the way.
    pub(super) links: bool,
    /// How large the ignore files are, by the path of their folder, and all together.
    pub(super) ignore_files: Vec<(PathBuf, Size)>,
    pub(super) rules: Size,
    /// The folders whose ignore files took too long.
    pub(super) slow: Vec<PathBuf>,
    /// How many files, folders and links each folder holds, by its index in `folders`, and all together.
    pub(super) entries: Vec<(usize, usize)>,
    pub(super) count: usize,
}

/// A folder on the way to another, with what its ignore file says.
struct Level {
    path: PathBuf,
    inode: (u64, u64),
    rules: Option<Rules>,
    above: Option<Rc<Level>>,
}

impl Level {
    /// The innermost rule that says anything decides.
    fn leaves_out(&self, path: &Path, is_folder: bool) -> bool {
        let said = self.rules.as_ref().and_then(|rules| rules.leaves_out(path, is_folder));
        match (said, &self.above) {
            (Some(said), _) => said,
            (None, Some(above)) => above.leaves_out(path, is_folder),
            (None, None) => false,
        }
    }

    /// Whether an ignore file, of this folder or of one above, may leave anything out.
    fn is_ruled(&self) -> bool {
        self.rules.is_some() || self.above.as_ref().is_some_and(|above| above.is_ruled())
    }

    fn way_through(&self, inode: (u64, u64)) -> Option<&Path> {
        if self.inode == inode { Some(&self.path) } else { self.above.as_ref()?.way_through(inode) }
    }
}

/// A folder that is open, and the level above it.
type Way = (OwnedFd, Option<Rc<Level>>);

struct Lister<'l, G> {
    disk: &'l Disk,
    refused: &'l Refused,
    give: G,
    listed: Listed,
    /// Which folders were listed, and which files links led to.
    found: HashSet<(u64, u64)>,
    /// Those that nobody followed yet, with the folders that they lie in.
    links: VecDeque<(PathBuf, Rc<Level>)>,
    /// What all rules took so far.
    matching: Rc<Cell<Duration>>,
    /// The folders with rules.
    ruled: Vec<Rc<Level>>,
    buffer: Vec<u8>,
}

/// What there is no room for, found by a walk that met too much.
#[derive(Default)]
pub(super) struct Refused {
    /// The folders whose ignore files are not read.
    pub(super) rules: BTreeSet<PathBuf>,
    /// Those whose ignore files take too long.
    pub(super) slow: BTreeSet<PathBuf>,
    /// The folders that are not entered.
    pub(super) folders: BTreeSet<PathBuf>,
    /// The files that are not read.
    pub(super) files: HashSet<PathBuf>,
}

/// Finds everything, and gives what is to be read as it is found.
pub(super) fn list(
    disk: &Disk,
    refused: &Refused,
    give: impl FnMut(Work) -> Result<(), Broken>,
) -> Result<Listed, Broken> {
    let top = disk.top().map_err(|error| Broken::Folder(error.into()))?;
    let mut lister = Lister::new(disk, refused, give);
    lister.folder(top, PathBuf::new(), None)?;
    while let Some((link, level)) = lister.links.pop_front() {
        lister.follow(link, &level)?;
    }
    lister.listed.slow = lister.slow();
    Ok(lister.listed)
}

/// Gives the files of one folder to be read again that was listed before, as all of `listed` were; says its stamp from
/// before. `None` where it holds anything new beside files, or cannot be listed: then the whole folder is to be.
pub(super) fn files_again(
    disk: &Disk,
    path: &Path,
    listed: &[(PathBuf, Stamp)],
    give: impl FnMut(Work) -> Result<(), Broken>,
) -> Result<Option<Stamp>, Broken> {
    let refused = Refused::default();
    let mut lister = Lister::new(disk, &refused, give);
    let Some((open, above)) = lister.way_to(path)? else { return Ok(None) };
    let Ok(stat) = rustix::fs::fstat(&open) else { return Ok(None) };
    let stamp = Stamp::of(&stat, SystemTime::now());
    let Ok(names) = lister.names(&open) else { return Ok(None) };
    let names = names?;
    let ruled = path.join(IGNORE_FILE);
    if names.ignore_file.is_some() != listed.iter().any(|(path, _)| *path == ruled) {
        return Ok(None);
    }
    let folder = Arc::new(Folder { path: path.to_owned(), open });
    let Some(level) = lister.level(&folder, stamp.inode(), names.ignore_file, above)? else { return Ok(None) };
    let below = lister.entries(&folder, &level, names.others)?;
    let is_below = |known: &&Path| known.parent() == Some(path) && *known != ruled;
    let mut known: Vec<_> =
        listed.iter().map(|(path, _)| path.as_path()).filter(is_below).filter_map(Path::file_name).collect();
    known.sort_unstable();
    let only_files = known == below && lister.listed.problems.is_empty() && !lister.listed.links;
    Ok((only_files && lister.slow().is_empty()).then_some(stamp))
}

impl<'l, G: FnMut(Work) -> Result<(), Broken>> Lister<'l, G> {
    fn new(disk: &'l Disk, refused: &'l Refused, give: G) -> Self {
        Self {
            disk,
            refused,
            give,
            listed: Listed::default(),
            found: HashSet::new(),
            links: VecDeque::new(),
            matching: Rc::default(),
            ruled: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// The folders whose ignore files took too long.
    fn slow(&self) -> Vec<PathBuf> {
        let is_slow = |level: &&Rc<Level>| level.rules.as_ref().is_some_and(Rules::are_slow);
        self.ruled.iter().filter(is_slow).map(|level| level.path.clone()).collect()
    }

    /// Lists a folder and those below.
    fn folder(&mut self, open: OwnedFd, path: PathBuf, above: Option<Rc<Level>>) -> Result<(), Broken> {
        let stat = match rustix::fs::fstat(&open) {
            Ok(stat) => stat,
            Err(error) => return self.failed(&path, error),
        };
        let stamp = Stamp::of(&stat, SystemTime::now());
        if self.refused.folders.contains(&path) {
            self.listed.problems.push(problems::too_many(&path, MAX_ENTRIES));
            return Ok(());
        }
        let names = match self.names(&open) {
            Ok(names) => names?,
            Err(error) => return self.failed(&path, error),
        };
        let index = self.listed.folders.len();
        self.listed.folders.push((path.clone(), stamp));
        self.found.insert(stamp.inode());
        let folder = Arc::new(Folder { path, open });
        let Some(level) = self.level(&folder, stamp.inode(), names.ignore_file, above)? else { return Ok(()) };
        let before = self.listed.count;
        let below = self.entries(&folder, &level, names.others)?;
        self.listed.entries.push((index, self.listed.count - before));
        for name in below {
            let path = folder.path.join(&name);
            match self.disk.folder(&folder.open, &name) {
                Ok(open) => self.folder(open, path, Some(Rc::clone(&level)))?,
                // It is something else now.
                Err(Errno::LOOP | Errno::NOTDIR) => return Err(Broken::Changed),
                Err(error) => self.failed(&path, error)?,
            }
        }
        Ok(())
    }

    /// A folder with what its ignore file says. `None` where that is not known, which is a problem.
    fn level(
        &mut self,
        folder: &Folder,
        inode: (u64, u64),
        ignore_file: Option<FileType>,
        above: Option<Rc<Level>>,
    ) -> Result<Option<Rc<Level>>, Broken> {
        let rules = match ignore_file {
            None => None,
            Some(kind) => match self.rules(folder, kind)? {
                Ok(rules) => Some(rules),
                Err(()) => return Ok(None),
            },
        };
        let level = Rc::new(Level { path: folder.path.clone(), inode, rules, above });
        if level.rules.is_some() {
            self.ruled.push(Rc::clone(&level));
        }
        Ok(Some(level))
    }

    /// Opens a folder that is at the end of no link, with the levels above it; `None` where that cannot be done.
    fn way_to(&mut self, path: &Path) -> Result<Option<Way>, Broken> {
        let Ok(mut open) = self.disk.top() else { return Ok(None) };
        let (mut at, mut level) = (PathBuf::new(), None);
        for name in path {
            let folder = Folder { path: at.clone(), open };
            let ignore_file = self.disk.stat(&folder.open, OsStr::new(IGNORE_FILE), AtFlags::SYMLINK_NOFOLLOW);
            let kind = ignore_file.ok().map(|stat| FileType::from_raw_mode(stat.st_mode));
            level = self.level(&folder, (0, 0), kind, level)?;
            match self.disk.folder(&folder.open, name) {
                Ok(below) if level.is_some() => open = below,
                _ => return Ok(None),
            }
            at.push(name);
        }
        Ok(Some((open, level)))
    }

    /// Gives the files of a folder to be read and keeps its links for later; returns the folders in it.
    fn entries(
        &mut self,
        folder: &Arc<Folder>,
        level: &Rc<Level>,
        names: Vec<(OsString, FileType)>,
    ) -> Result<Vec<OsString>, Broken> {
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        let is_ruled = level.is_ruled();
        for (name, kind) in names {
            let path = || folder.path.join(&name);
            let kind = match kind {
                FileType::Unknown => match self.disk.stat(&folder.open, &name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(error) => {
                        self.failed(&path(), error)?;
                        continue;
                    }
                },
                known => known,
            };
            if kind != FileType::Directory && is_an_editors(name.as_bytes()) {
                continue;
            }
            let left_out = |path: &Path| match kind {
                // What it leads to decides, unless that makes no difference.
                FileType::Symlink => level.leaves_out(path, false) && level.leaves_out(path, true),
                kind => level.leaves_out(path, kind == FileType::Directory),
            };
            if is_ruled && left_out(&path()) {
                continue;
            }
            self.listed.count += 1;
            if self.listed.count > MAX_NAMES {
                return Err(Broken::TooLarge);
            }
            let slash = usize::from(!folder.path.as_os_str().is_empty());
            if folder.path.as_os_str().len() + slash + name.len() > MAX_PATH_BYTES {
                self.listed.problems.push(problems::path_too_long(&path(), MAX_PATH_BYTES));
                continue;
            }
            match kind {
                FileType::Directory if is_too_deep(&path()) => {
                    self.listed.problems.push(problems::too_deep(&path(), MAX_DEPTH));
                }
                FileType::Directory => folders.push(name),
                // Where there are too many, this is not the last walk, and it only counts.
                _ if self.listed.count > MAX_ENTRIES => {}
                FileType::Symlink => {
                    self.listed.links = true;
                    self.links.push_back((path(), Rc::clone(level)));
                }
                kind => match (Format::of(Path::new(&name)), what_else(kind)) {
                    (None, _) => self.listed.problems.push(problems::not_a_manifest(&path())),
                    (Some(_), Some(kind)) => self.listed.problems.push(problems::not_plain(&path(), kind)),
                    (Some(format), None) => files.push((name, format)),
                },
            }
            if files.len() == BATCH {
                (self.give)(Work::Files { folder: Arc::clone(folder), files: std::mem::take(&mut files) })?;
            }
        }
        if !files.is_empty() {
            (self.give)(Work::Files { folder: Arc::clone(folder), files })?;
        }
        Ok(folders)
    }

    /// Goes where a link leads, unless everything there was found already.
    fn follow(&mut self, path: PathBuf, level: &Rc<Level>) -> Result<(), Broken> {
        let opened_at = SystemTime::now();
        let opened = match self.disk.reach(&path) {
            Ok(opened) => rustix::fs::fstat(&opened).map(|stat| (opened, stat)).map_err(Unreached::from),
            Err(error) => Err(error),
        };
        let (open, stat) = match opened {
            Ok(opened) => opened,
            // What cannot be told to be a folder or a file is left out by the rule for files.
            Err(_) if level.leaves_out(&path, false) => return Ok(()),
            Err(error) => return self.not_followed(&path, error),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let inode = Stamp::of(&stat, opened_at).inode();
        if level.leaves_out(&path, kind == FileType::Directory) {
            return Ok(());
        }
        if kind == FileType::Directory {
            if let Some(start) = level.way_through(inode) {
                self.listed.problems.push(problems::circle(&path, start));
                return Ok(());
            }
            if self.found.contains(&inode) {
                return Ok(());
            }
            if is_too_deep(&path) {
                self.listed.problems.push(problems::too_deep(&path, MAX_DEPTH));
                return Ok(());
            }
            return self.folder(open, path, Some(Rc::clone(level)));
        }
        let Some(format) = Format::of(&path) else {
            self.listed.problems.push(problems::not_a_manifest(&path));
            return Ok(());
        };
        if !self.found.insert(inode) {
            return Ok(());
        }
        match what_else(kind) {
            None => (self.give)(Work::Linked { path, format, file: PlainFile::of(open, stat), opened_at })?,
            Some(kind) => self.listed.problems.push(problems::not_plain(&path, kind)),
        }
        Ok(())
    }

    fn not_followed(&mut self, path: &Path, error: Unreached) -> Result<(), Broken> {
        let problem = match error {
            Unreached::Outside => problems::link_out(path),
            Unreached::Io(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                problems::not_plain(path, "a socket or a device")
            }
            Unreached::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Without the link, that is the moment between two states of the folder.
                let link = self.disk.stat(self.disk.root(), path.as_os_str(), AtFlags::SYMLINK_NOFOLLOW);
                link.map_err(|_| Broken::Changed)?;
                problems::dangling(path)
            }
            Unreached::Io(error) => problems::unreadable(path, &error),
        };
        self.listed.problems.push(problem);
        Ok(())
    }

    /// What the ignore file of a folder says; a problem where that is not known.
    fn rules(&mut self, folder: &Folder, kind: FileType) -> Result<Result<Rules, ()>, Broken> {
        let path = folder.path.join(IGNORE_FILE);
        let read_at = SystemTime::now();
        let opened = match kind {
            FileType::RegularFile => self.disk.file(&folder.open, OsStr::new(IGNORE_FILE)),
            _ => match self.disk.reach(&path) {
                Ok(opened) => PlainFile::opened(Ok(opened)),
                Err(Unreached::Outside) => Err(NotRead::Other("a link that leads out of the manifests folder")),
                Err(Unreached::Io(error)) => Err(error.into()),
            },
        };
        let read = opened.and_then(|file| {
            let stamp = Stamp::of(file.stat(), read_at);
            let mut bytes = Vec::new();
            // Where there is no room for more, the size of a large one is all that matters.
            if self.listed.rules.fits() || stamp.bytes() <= SMALL_BYTES {
                file.read(ignored::MAX_BYTES, &mut bytes)?;
            }
            Ok((stamp, bytes))
        });
        let wrong = match read {
            Ok((stamp, bytes)) => {
                let size = Size { bytes: stamp.bytes(), ..Size::of(&bytes) };
                self.listed.folders.push((path.clone(), stamp));
                self.listed.ignore_files.push((folder.path.clone(), size));
                let is_refused = self.refused.rules.contains(&folder.path);
                if !is_refused {
                    self.listed.rules = self.listed.rules.and(size);
                }
                if is_refused || !self.listed.rules.fits() {
                    format!(
                        "the ignore files in the folder hold more than {} KiB or {} lines in all, and this is one of \
                         the largest",
                        ignored::MAX_BYTES / 1024,
                        ignored::MAX_LINES
                    )
                } else if self.refused.slow.contains(&folder.path) {
                    ignored::SLOW.to_owned()
                } else {
                    match ignored::rules(&folder.path, &bytes) {
                        Ok(rules) => return Ok(Ok(Rules::new(rules, &self.matching))),
                        Err(wrong) => wrong,
                    }
                }
            }
            Err(NotRead::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                let link = self.disk.stat(&folder.open, OsStr::new(IGNORE_FILE), AtFlags::SYMLINK_NOFOLLOW);
                link.map_err(|_| Broken::Changed)?;
                "it is a link that leads to nothing".to_owned()
            }
            Err(NotRead::Io(error)) => format!("it cannot be read: {}", error.kind()),
            Err(error) => error.to_string(),
        };
        self.listed.problems.push(problems::ignore_file(&path, &wrong));
        Ok(Err(()))
    }

    /// The names in a folder, in their order, but for the hidden ones.
    fn names(&mut self, folder: &OwnedFd) -> Result<Result<Names, Broken>, Errno> {
        let (mut names, mut too_many) = (Names::default(), false);
        self.disk.list(folder, &mut self.buffer, |name, kind| match name.to_bytes() {
            name if name == IGNORE_FILE.as_bytes() => names.ignore_file = Some(kind),
            name if name.starts_with(b".") => {}
            _ if names.others.len() == MAX_NAMES => too_many = true,
            name => names.others.push((OsString::from_vec(name.to_owned()), kind)),
        })?;
        if too_many {
            return Ok(Err(Broken::TooLarge));
        }
        names.others.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Ok(names))
    }

    /// A folder or file that could not be looked at.
    fn failed(&mut self, path: &Path, error: Errno) -> Result<(), Broken> {
        self.listed.problems.push(problems::of_failure(path, &error.into())?);
        Ok(())
    }
}

#[derive(Default)]
struct Names {
    ignore_file: Option<FileType>,
    others: Vec<(OsString, FileType)>,
}

fn is_too_deep(folder: &Path) -> bool {
    folder.iter().count() > MAX_DEPTH
}
