//! Finds the files below a folder and reads them, in parallel.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::SystemTime;

use ignore::{DirEntry, WalkBuilder, WalkState};
use rustix::fs::Stat;

use super::file::{self, Contents};
use super::ignored::Ignored;
use super::near::Near;
use super::stamp::Stamp;
use super::{Broken, MAX_ENTRIES};
use crate::manifest::{Format, Problem};

/// Most threads that read; beyond a few, the kernel's own locks are the limit.
const MAX_THREADS: usize = 8;

/// A file that was read, or is known from the look before.
#[derive(Debug)]
pub(super) struct Found {
    /// As reports show it.
    pub(super) file: Arc<str>,
    /// Where it is, without links.
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    pub(super) contents: Contents,
}

/// All of a folder.
pub(super) struct Walked {
    /// Sorted by name. Those that are known already are kept where they are: a daemon's memory stays in one piece.
    pub(super) found: Vec<Arc<Found>>,
    /// In no order.
    pub(super) problems: Vec<Problem>,
    /// The folders, with their stamps from before they were listed, and the ignore files.
    pub(super) folders: Vec<(PathBuf, Stamp)>,
    /// Whether a link was met on the way.
    pub(super) links: Links,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    None,
    Some,
}

/// How sure it must be that a file or folder is the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing moved between two moments of one read.
    Steady,
    /// Nothing changed since an earlier read, racy times excluded.
    Unchanged,
}

impl Proof {
    fn holds(self, stamp: &Stamp, now: &Stat) -> bool {
        match self {
            Self::Steady => stamp.is_like(now),
            Self::Unchanged => stamp.holds_for(now),
        }
    }
}

/// Whether every file and folder still is as it was when it was read.
pub(super) fn holds(found: &[Arc<Found>], folders: &[(PathBuf, Stamp)], proof: Proof) -> bool {
    let hold = |found: &[Arc<Found>]| {
        let mut near = Near::default();
        found.iter().all(|found| near.stat(&found.path).is_ok_and(|now| proof.holds(&found.stamp, &now)))
    };
    // A change is seen soonest at the folders.
    if !folders.iter().all(|(path, stamp)| rustix::fs::lstat(path).is_ok_and(|now| proof.holds(stamp, &now))) {
        return false;
    }
    thread::scope(|scope| {
        let parts = found.chunks(found.len().div_ceil(threads()).max(1));
        let holding: Vec<_> = parts.map(|part| scope.spawn(move || hold(part))).collect();
        // A thread that panicked has shown nothing.
        holding.into_iter().all(|thread| thread.join().unwrap_or(false))
    })
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}

enum Visit {
    Found(Arc<Found>),
    Folder(PathBuf, Stamp),
    Problem(Problem),
    Broken(Broken),
}

/// Reads everything below `root`, a path without links, but for what `seen` knows already: the files of an earlier walk,
/// sorted by name. `ids` is the kind of ids that git gives to files here.
pub(super) fn walk(root: &Path, ids: gix_hash::Kind, seen: &[Arc<Found>]) -> Result<Walked, Broken> {
    // The walker below would report the root's own failure as one entry's.
    root.read_dir().map_err(Broken::Folder)?;
    let ignored = Arc::new(Ignored::new(root));
    let rules = Arc::clone(&ignored);
    let (sender, visits) = mpsc::channel();
    let (entries, links) = (AtomicUsize::new(0), AtomicBool::new(false));
    WalkBuilder::new(root)
        .standard_filters(false)
        .hidden(true)
        .follow_links(true)
        .filter_entry(move |entry| !rules.leaves_out(entry.path(), entry.file_type().is_some_and(|kind| kind.is_dir())))
        .threads(threads())
        .build_parallel()
        .run(|| {
            let (sender, entries, links, ignored) = (sender.clone(), &entries, &links, &ignored);
            let (mut near, mut buffer) = (Near::default(), Vec::new());
            Box::new(move |entry| {
                if entries.fetch_add(1, Ordering::Relaxed) > MAX_ENTRIES {
                    let _ = sender.send(Visit::Broken(Broken::TooLarge));
                    return WalkState::Quit;
                }
                // The receiver outlives the walk, so no visit is lost.
                let give = |visit| drop(sender.send(visit));
                match entry {
                    Ok(entry) => {
                        if entry.path_is_symlink() {
                            links.store(true, Ordering::Relaxed);
                        }
                        let (state, visit) = visit(root, ids, &entry, seen, (&mut near, &mut buffer));
                        visit.into_iter().for_each(give);
                        state
                    }
                    Err(error) => {
                        failed(root, root, &error, ignored).into_iter().for_each(give);
                        WalkState::Continue
                    }
                }
            })
        });
    drop(sender);

    let links = if links.into_inner() { Links::Some } else { Links::None };
    let mut walked = Walked { found: Vec::new(), problems: Vec::new(), folders: Vec::new(), links };
    for visit in visits {
        match visit {
            Visit::Found(found) => walked.found.push(found),
            Visit::Folder(path, stamp) => walked.folders.push((path, stamp)),
            Visit::Problem(problem) => walked.problems.push(problem),
            Visit::Broken(broken) => return Err(broken),
        }
    }
    let read = ignored.read();
    walked.problems.extend(read.problems);
    walked.folders.extend(read.files);
    // Each thread gives its files in runs, which this kind of sorting finds.
    walked.found.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(walked)
}

fn visit(
    root: &Path,
    ids: gix_hash::Kind,
    entry: &DirEntry,
    seen: &[Arc<Found>],
    (near, buffer): (&mut Near, &mut Vec<u8>),
) -> (WalkState, Option<Visit>) {
    let problem = |problem| (WalkState::Skip, Some(Visit::Problem(problem)));
    let file = named(root, entry.path());
    let mut path = Cow::Borrowed(entry.path());
    if entry.path_is_symlink() {
        match path.canonicalize() {
            Ok(target) if target.starts_with(root) => path = Cow::Owned(target),
            Ok(_) => return problem(link_out(&file.into())),
            Err(error) => return (WalkState::Skip, failed_io(&file.into(), &error)),
        }
    }
    let Some(kind) = entry.file_type() else { return (WalkState::Continue, None) };
    if kind.is_dir() {
        let visit = match rustix::fs::lstat(&*path) {
            Ok(stat) => Some(Visit::Folder(path.into_owned(), Stamp::of(&stat, SystemTime::now()))),
            Err(error) => failed_io(&file.into(), &error.into()),
        };
        return (WalkState::Continue, visit);
    }
    let Some(format) = Format::of(entry.path()) else {
        let hint = "move it elsewhere, or name it in .truenorthignore".to_owned();
        let message = "the file is no manifest: expected .yaml, .yml or .json".to_owned();
        return problem(Problem::of_file(&file.into(), message, Some(hint)));
    };
    if let Some(found) = known(&path, &file, seen, near) {
        return (WalkState::Continue, Some(Visit::Found(found)));
    }
    let file: Arc<str> = file.into();
    let visit = match file::read(&path, &file, (format, ids), near, buffer) {
        Ok(Ok((stamp, contents))) => {
            Some(Visit::Found(Arc::new(Found { file, path: path.into_owned(), stamp, contents })))
        }
        Ok(Err(problem)) => Some(Visit::Problem(problem)),
        Err(error) => failed_io(&file, &error),
    };
    (WalkState::Continue, visit)
}

/// What the look before read, where the file's stamp still holds.
fn known(path: &Path, file: &str, seen: &[Arc<Found>], near: &mut Near) -> Option<Arc<Found>> {
    let found = &seen[seen.binary_search_by(|found| (*found.file).cmp(file)).ok()?];
    let holds = found.path.as_os_str() == path.as_os_str() && found.stamp.holds_for(&near.stat(path).ok()?);
    holds.then(|| Arc::clone(found))
}

/// What a failed step of the walk means; `at` is the path that it is about, once it is known.
fn failed(root: &Path, at: &Path, error: &ignore::Error, ignored: &Ignored) -> Option<Visit> {
    match error {
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            failed(root, at, err, ignored)
        }
        ignore::Error::WithPath { path, err } => failed(root, path, err, ignored),
        ignore::Error::Io(source) => failed_at(root, at, source, ignored),
        ignore::Error::Loop { child, .. } if is_left_out(child, ignored) => None,
        ignore::Error::Loop { ancestor, child } => {
            let message = format!("the link runs in a circle: it leads back to `{}`", circle_start(root, ancestor));
            let hint = "remove the link, or name it in .truenorthignore".to_owned();
            Some(Visit::Problem(Problem::of_file(&shown(root, child), message, Some(hint))))
        }
        other => Some(Visit::Problem(Problem::of_file(&shown(root, at), other.to_string(), None))),
    }
}

fn failed_at(root: &Path, path: &Path, error: &io::Error, ignored: &Ignored) -> Option<Visit> {
    if path == root {
        return Some(Visit::Broken(Broken::Folder(io::Error::new(error.kind(), error.to_string()))));
    }
    if is_left_out(path, ignored) {
        return None;
    }
    let file = shown(root, path);
    let dangling = error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_ok();
    if dangling {
        let hint = "remove the link, or name it in .truenorthignore".to_owned();
        return Some(Visit::Problem(Problem::of_file(&file, "the link leads to nothing".to_owned(), Some(hint))));
    }
    failed_io(&file, error)
}

/// What it means that a file or folder could not be read: gone is no problem of the folder but of the moment.
fn failed_io(file: &Arc<str>, error: &io::Error) -> Option<Visit> {
    if error.kind() == io::ErrorKind::NotFound {
        return Some(Visit::Broken(Broken::Changed));
    }
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => Some("let the user that runs truenorth read it".to_owned()),
        _ => None,
    };
    Some(Visit::Problem(Problem::of_file(file, format!("it cannot be read: {error}"), hint)))
}

/// Whether an entry that the walker failed at would have been left out: it follows links before it asks.
fn is_left_out(path: &Path, ignored: &Ignored) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    hidden || ignored.leaves_out(path, false)
}

fn link_out(file: &Arc<str>) -> Problem {
    let hint = "copy what it leads to into the folder, or name the link in .truenorthignore".to_owned();
    Problem::of_file(file, "the link leads out of the manifests folder".to_owned(), Some(hint))
}

/// Where a circle of links begins; the folder itself is `.`.
fn circle_start(root: &Path, ancestor: &Path) -> Arc<str> {
    if ancestor == root { ".".into() } else { shown(root, ancestor) }
}

/// A path as reports show it: from the folder's top, with what is no UTF-8 replaced.
pub(super) fn shown(root: &Path, path: &Path) -> Arc<str> {
    named(root, path).into()
}

fn named<'p>(root: &Path, path: &'p Path) -> Cow<'p, str> {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy()
}
