//! What `.truenorthignore` files leave out: gitignore syntax, the innermost file that says anything decides.
//!
//! These files come from the folder like all others, so they are read with the same care: plain files inside the
//! folder, of bounded size. One that cannot be understood is a problem that quotes nothing of it, and leaves out its
//! whole folder until it is mended: what was to be left out must not be applied by mistake.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::FileType;

use super::file;
use super::near::Near;
use super::stamp::Stamp;
use super::walk::shown;
use crate::manifest::Problem;

/// The name of the files that say what to leave out.
pub(super) const IGNORE_FILE: &str = ".truenorthignore";

/// Most bytes of such a file.
const MAX_BYTES: usize = 64 * 1024;
/// Most lines.
const MAX_LINES: usize = 1000;
/// Most braces in a line: each level of alternatives costs stack.
const MAX_BRACES: usize = 16;

/// The rules of all folders below a root, read as they are asked for, from any thread.
#[derive(Debug)]
pub(super) struct Ignored {
    root: PathBuf,
    folders: Mutex<HashMap<PathBuf, Arc<Rules>>>,
    read: Mutex<Read>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// The files that cannot be understood.
    pub(super) problems: Vec<Problem>,
    /// The files, with their stamps.
    pub(super) files: Vec<(PathBuf, Stamp)>,
}

#[derive(Debug)]
struct Rules {
    outer: Option<Arc<Rules>>,
    own: Own,
}

#[derive(Debug)]
enum Own {
    Nothing,
    Said(Box<Gitignore>),
    Broken,
}

impl Ignored {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), folders: Mutex::default(), read: Mutex::default() }
    }

    /// Whether an entry below the root is left out.
    pub(super) fn leaves_out(&self, path: &Path, is_folder: bool) -> bool {
        let Some(folder) = path.parent().filter(|folder| folder.starts_with(&self.root)) else { return false };
        let mut rules = Some(self.of(folder));
        while let Some(these) = rules {
            match &these.own {
                Own::Broken => return true,
                Own::Said(said) => {
                    let said = said.matched(path, is_folder);
                    if !said.is_none() {
                        return said.is_ignore();
                    }
                }
                Own::Nothing => {}
            }
            rules = these.outer.clone();
        }
        false
    }

    /// What was read, once all was asked.
    pub(super) fn read(&self) -> Read {
        let mut read = std::mem::take(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner));
        // Two threads may have asked for the same folder at once.
        read.problems.sort();
        read.problems.dedup();
        read
    }

    fn of(&self, folder: &Path) -> Arc<Rules> {
        if let Some(rules) = self.folders.lock().unwrap_or_else(PoisonError::into_inner).get(folder) {
            return Arc::clone(rules);
        }
        let parent = folder.parent().filter(|_| folder != self.root);
        let outer = parent.map(|parent| self.of(parent));
        let rules = Arc::new(Rules { outer, own: self.load(folder) });
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned(), Arc::clone(&rules));
        rules
    }

    fn load(&self, folder: &Path) -> Own {
        let path = folder.join(IGNORE_FILE);
        let broken = match self.lines(&path) {
            Ok(None) => return Own::Nothing,
            Ok(Some(text)) => match parse(folder, &text) {
                Ok(rules) => return Own::Said(Box::new(rules)),
                Err(broken) => broken,
            },
            Err(error) => format!("it cannot be read: {}", error.kind()),
        };
        let message = format!("{broken}; everything in its folder is left out until it is mended");
        let problem = Problem::of_file(&shown(&self.root, &path), message, None);
        self.read.lock().unwrap_or_else(PoisonError::into_inner).problems.push(problem);
        Own::Broken
    }

    /// The text of an ignore file, `None` where there is none.
    fn lines(&self, path: &Path) -> io::Result<Option<String>> {
        let path = match path.canonicalize() {
            Ok(path) if path.starts_with(&self.root) => path,
            Ok(_) => return Err(io::Error::from(io::ErrorKind::PermissionDenied)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let read_at = SystemTime::now();
        let opened = Near::default().open(&path)?;
        let stat = rustix::fs::fstat(&opened)?;
        let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
        if !FileType::from_raw_mode(stat.st_mode).is_file() || size > MAX_BYTES {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let mut bytes = Vec::new();
        if file::read_whole(opened, size, &mut bytes)? > MAX_BYTES {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let stamp = Stamp::of(&stat, read_at);
        self.read.lock().unwrap_or_else(PoisonError::into_inner).files.push((path, stamp));
        String::from_utf8(bytes).map(Some).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    }
}

fn parse(folder: &Path, text: &str) -> Result<Gitignore, String> {
    let mut builder = GitignoreBuilder::new(folder);
    for (number, line) in text.lines().enumerate() {
        if number >= MAX_LINES {
            return Err(format!("it has more than {MAX_LINES} lines"));
        }
        let too_deep = line.matches('{').count() > MAX_BRACES;
        if too_deep || builder.add_line(None, line).is_err() {
            return Err(format!("line {} is no pattern", number + 1));
        }
    }
    builder.build().map_err(|_| "its patterns are too many".to_owned())
}
