//! Reads all files below a folder, in parallel, while they are found.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use rustix::fs::{AtFlags, Stat};

use super::disk::{Disk, Unreached};
use super::file::{self, By, Found};
use super::list::{self, Listed, Refused, Work};
use super::near::Near;
use super::share::{self, Item};
use super::stamp::Stamp;
use super::unreadable::Broken;
use super::{MAX_ENTRIES, MAX_PROBLEMS, ignored, problems};
use crate::manifest::{Format, MAX_BYTES, Problem};
use crate::plain_file::{NotRead, PlainFile};

/// Most threads that read; beyond a few, the kernel's own locks are the limit.
const MAX_THREADS: usize = 8;
/// Most batches of files that were found and wait to be read; their folders are open.
const QUEUE: usize = 32;
/// Most bytes of all files, their names among them.
const MAX_CONTENT: u64 = 64 * 1024 * 1024;
/// How often a walk is repeated to find who has to go; each time at least one has to.
const MAX_ROUNDS: usize = 8;
/// Files or folders that are worth a thread.
const WORTH_A_THREAD: usize = 256;

/// All of a folder.
pub(super) struct Walked {
    /// Sorted by name. Those that are known already are kept where they are: a daemon's memory stays in one piece.
    pub(super) found: Vec<Arc<Found>>,
    /// In no order.
    pub(super) problems: Vec<Problem>,
    /// The folders, with their stamps from before they were listed, and the ignore files.
    pub(super) folders: Vec<(PathBuf, Stamp)>,
    /// Whether a link was met on the way.
    pub(super) links: bool,
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
pub(super) fn holds(root: &Path, found: &[Arc<Found>], folders: &[(PathBuf, Stamp)], proof: Proof) -> bool {
    Disk::open(root).is_ok_and(|disk| hold_from(&disk, found, folders, proof))
}

pub(super) fn hold_from(disk: &Disk, found: &[Arc<Found>], folders: &[(PathBuf, Stamp)], proof: Proof) -> bool {
    let holds =
        |near: &mut Near<'_>, path: &Path, stamp: &Stamp| near.stat(path).is_ok_and(|now| proof.holds(stamp, &now));
    // A change is seen soonest at the folders.
    all(folders, || Near::new(disk), |near, (path, stamp)| holds(near, path, stamp))
        && all(found, || Near::new(disk), |near, found| holds(near, found.path(), &found.stamp))
}

/// Whether something holds for all items, which several threads look at.
fn all<T: Sync, S>(items: &[T], start: impl Fn() -> S + Sync, holds: impl Fn(&mut S, &T) -> bool + Sync) -> bool {
    let part = |_, items: &[T]| {
        let mut state = start();
        items.iter().all(|item| holds(&mut state, item))
    };
    in_parts(items, part).into_iter().all(|holds| holds)
}

/// What several threads make of their parts of the items, in the order of the items; each is told where its part begins.
pub(super) fn in_parts<T: Sync, R: Send>(items: &[T], part: impl Fn(usize, &[T]) -> R + Sync) -> Vec<R> {
    let size = items.len().div_ceil(threads()).max(WORTH_A_THREAD);
    if items.len() <= size {
        return vec![part(0, items)];
    }
    thread::scope(|scope| {
        let part = &part;
        let begun = |(index, items)| scope.spawn(move || part(index * size, items));
        let parts: Vec<_> = items.chunks(size).enumerate().map(begun).collect();
        parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}

/// Reads everything below `root`, a path without links, but for what `seen` knows already: the files of an earlier walk,
/// sorted by name. `ids` is the kind of ids that git gives to files here.
///
/// Where there is too much, it is walked again without the largest: which those are is known at the end only, and must not
/// depend on who was read first.
pub(super) fn walk(root: &Path, ids: gix_hash::Kind, seen: &[Arc<Found>]) -> Result<Walked, Broken> {
    let disk = Disk::open(root).map_err(Broken::Folder)?;
    walk_from(&disk, ids, seen)
}

pub(super) fn walk_from(disk: &Disk, ids: gix_hash::Kind, seen: &[Arc<Found>]) -> Result<Walked, Broken> {
    let mut refused = Refused::default();
    let mut round = walk_once(disk, ids, (seen, Proof::Unchanged), &refused)?;
    for _ in 1..MAX_ROUNDS {
        let known = round.found.len();
        if round.refuse(&mut refused) {
            // Nobody else would be left.
            if refused.folders.contains(Path::new("")) {
                break;
            }
        } else {
            round.forget_cut();
            if round.found.len() == known {
                break;
            }
        }
        // Of this very walk: it is looked at its end whether all held still.
        round = walk_once(disk, ids, (&round.found, Proof::Steady), &refused)?;
    }
    let Round { found, not_read, listed: Listed { mut problems, folders, links, count, slow, .. } } = round;
    if count > MAX_ENTRIES {
        return Err(Broken::TooLarge);
    }
    // Somebody keeps adding while it is walked.
    problems.extend(not_read.iter().map(|(path, _)| problems::too_much(path, MAX_CONTENT)));
    problems.extend(slow.iter().map(|folder| problems::ignore_file(&folder.join(ignored::IGNORE_FILE), ignored::SLOW)));
    Ok(Walked { found, problems, folders, links })
}

/// What one walk found.
struct Round {
    found: Vec<Arc<Found>>,
    /// Files that were not read, as there was no room, and how much they would have taken.
    not_read: Vec<(PathBuf, u64)>,
    listed: Listed,
}

impl Round {
    /// Says who has to go next time; whether anybody has to.
    fn refuse(&self, refused: &mut Refused) -> bool {
        let found = self.found.iter().map(|found| (found.path(), found.cost()));
        let not_read = self.not_read.iter().map(|(path, cost)| (path.as_path(), *cost));
        let files = found.chain(not_read);
        if !self.listed.rules.fits() {
            let over = |cost: fn(&ignored::Size) -> usize, room: usize| {
                let items = self.listed.ignore_files.iter().map(|(path, size)| (path.as_path(), cost(size) as u64));
                over(items, room as u64)
            };
            refused.rules.extend(over(|size| size.bytes, ignored::MAX_BYTES));
            refused.rules.extend(over(|size| size.lines, ignored::MAX_LINES));
        }
        let is_too_many = self.listed.count > MAX_ENTRIES;
        if is_too_many {
            let folders = &self.listed.folders;
            let entries = self.listed.entries.iter().map(|(index, count)| (folders[*index].0.as_path(), *count as u64));
            refused.folders.extend(over(entries, MAX_ENTRIES as u64));
        }
        let is_too_much = files.clone().map(|(_, cost)| cost).sum::<u64>() > MAX_CONTENT;
        if is_too_much {
            refused.files.extend(over(files, MAX_CONTENT));
        }
        refused.slow.extend(self.listed.slow.iter().cloned());
        is_too_many || is_too_much || !self.listed.rules.fits() || !self.listed.slow.is_empty()
    }

    /// Forgets the files whose problems were left out while there were too many, where there are not any more.
    fn forget_cut(&mut self) {
        let problems: usize = self.found.iter().map(|found| found.contents.parsed.count()).sum();
        if problems + self.listed.problems.len() <= MAX_PROBLEMS {
            self.found.retain(|found| !found.contents.parsed.is_cut());
        }
    }
}

fn over<'p>(items: impl Iterator<Item = (&'p Path, u64)>, room: u64) -> Vec<PathBuf> {
    let items: Vec<_> = items.map(|(path, cost)| (path.to_string_lossy(), path, cost)).collect();
    let gone: HashSet<_> =
        share::over(items.iter().map(|(path, _, cost)| Item { path, cost: *cost }), room).into_iter().collect();
    items.iter().filter(|(name, ..)| gone.contains(&**name)).map(|(_, path, _)| (*path).to_owned()).collect()
}

fn walk_once(
    disk: &Disk,
    ids: gix_hash::Kind,
    (seen, proof): (&[Arc<Found>], Proof),
    refused: &Refused,
) -> Result<Round, Broken> {
    let (sender, work) = sync_channel(QUEUE);
    let work = Arc::new(Mutex::new(work));
    let reader = Reader::new(disk, ids, (seen, proof), refused);
    thread::scope(|scope| {
        let reader = &reader;
        let parts: Vec<_> = (0..threads())
            .map(|_| {
                let work = Arc::clone(&work);
                scope.spawn(move || reader.read_all(&work))
            })
            .collect();
        // Only the readers hold this end: should all of them end early, nobody waits for them to go on.
        drop(work);
        let listed = list::list(disk, refused, |work| {
            let goes_on = !reader.changed.load(Ordering::Relaxed) && sender.send(work).is_ok();
            if goes_on { Ok(()) } else { Err(Broken::Changed) }
        });
        drop(sender);
        let parts = parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let parts: Vec<_> = parts.collect();
        let mut listed = listed?;
        let Read { found, not_read, mut problems } = Read::of(seen, parts)?;
        listed.problems.append(&mut problems);
        Ok(Round { found, not_read, listed })
    })
}

/// What all threads read.
pub(super) struct Read {
    /// Sorted by name.
    pub(super) found: Vec<Arc<Found>>,
    /// Files that were not read, as there was no room, and how much they would have taken.
    pub(super) not_read: Vec<(PathBuf, u64)>,
    pub(super) problems: Vec<Problem>,
}

impl Read {
    pub(super) fn of(seen: &[Arc<Found>], parts: Vec<Part>) -> Result<Self, Broken> {
        let (mut known, mut new) = (Vec::new(), Vec::new());
        let (mut not_read, mut problems) = (Vec::new(), Vec::new());
        for part in parts {
            if let Some(broken) = part.broken {
                return Err(broken);
            }
            known.extend(part.known);
            new.extend(part.new);
            not_read.extend(part.not_read);
            problems.extend(part.problems);
        }
        Ok(Self { found: in_order(seen, known, new), not_read, problems })
    }
}

/// All files in the order of their names: of those that were seen the ones at these places, and new ones.
fn in_order(seen: &[Arc<Found>], mut known: Vec<usize>, mut new: Vec<Arc<Found>>) -> Vec<Arc<Found>> {
    // Each thread gives its places in runs, which this kind of sorting finds.
    known.sort();
    new.sort_by(|a, b| a.file.cmp(&b.file));
    let mut found = Vec::with_capacity(known.len() + new.len());
    let before = |new: Arc<Found>| (seen.partition_point(|seen| seen.file < new.file), new);
    let mut new = new.into_iter().map(before).peekable();
    for place in known {
        while let Some((_, new)) = new.next_if(|(before, _)| *before <= place) {
            found.push(new);
        }
        found.push(Arc::clone(&seen[place]));
    }
    found.extend(new.map(|(_, new)| new));
    found
}

/// Reads what is found; shared by the threads that do.
pub(super) struct Reader<'r> {
    disk: &'r Disk,
    ids: gix_hash::Kind,
    seen: &'r [Arc<Found>],
    /// How sure it must be that a file is one of those.
    proof: Proof,
    refused: &'r Refused,
    /// How much all files take so far, and how many of their problems are kept.
    content: AtomicU64,
    problems: AtomicUsize,
    /// Whether the folder changed meanwhile, so that reading on is of no use.
    changed: AtomicBool,
}

/// What one thread read.
#[derive(Default)]
pub(super) struct Part {
    /// Where those stand among the files that were seen before that are what they were.
    known: Vec<usize>,
    new: Vec<Arc<Found>>,
    not_read: Vec<(PathBuf, u64)>,
    problems: Vec<Problem>,
    broken: Option<Broken>,
    buffer: Vec<u8>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(
        disk: &'r Disk,
        ids: gix_hash::Kind,
        (seen, proof): (&'r [Arc<Found>], Proof),
        refused: &'r Refused,
    ) -> Self {
        Self {
            disk,
            ids,
            seen,
            proof,
            refused,
            content: AtomicU64::new(0),
            problems: AtomicUsize::new(0),
            changed: AtomicBool::new(false),
        }
    }

    fn read_all(&self, work: &Mutex<Receiver<Work>>) -> Part {
        let mut part = Part::default();
        loop {
            let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(next) = next else { return part };
            if part.broken.is_some() {
                continue;
            }
            let read = match next {
                Work::Files { folder, files } => self.files(&folder, &files, &mut part),
                Work::Linked { path, format, file, opened_at } => {
                    self.opened(&path, format, (file, By::Link), opened_at, &mut part)
                }
            };
            if let Err(broken) = read {
                self.changed.store(true, Ordering::Relaxed);
                part.broken = Some(broken);
            }
        }
    }

    /// Reads files of a folder, given in the order of their names.
    pub(super) fn files(
        &self,
        folder: &list::Folder,
        files: &[(OsString, Format)],
        part: &mut Part,
    ) -> Result<(), Broken> {
        let mut next = 0;
        files.iter().try_for_each(|(name, format)| self.file(folder, name, *format, &mut next, part))
    }

    /// Reads of the files that were seen before, from this place on, those that are not what they were, and none of those
    /// that are left to others.
    pub(super) fn again(&self, first: usize, seen: &[Arc<Found>], is_left: impl Fn(&Found) -> bool) -> Part {
        let (mut near, mut part) = (Near::new(self.disk), Part::default());
        for (place, known) in (first..).zip(seen).filter(|(_, known)| !is_left(known)) {
            let path = known.path();
            let holds = near.stat(path).is_ok_and(|stat| self.proof.holds(&known.stamp, &stat));
            if holds {
                self.content.fetch_add(known.cost(), Ordering::Relaxed);
                self.keep(place, &mut part);
                continue;
            }
            let opened_at = SystemTime::now();
            let read = match (self.disk.reach(path), Format::of(path)) {
                (Ok(file), Some(format)) => match PlainFile::opened(Ok(file)) {
                    Ok(file) => self.opened(path, format, (file, known.by), opened_at, &mut part),
                    Err(error) => part.failed(path, error),
                },
                (Err(Unreached::Io(error)), _) => part.failed(path, error.into()),
                (Err(Unreached::Outside), _) | (_, None) => Err(Broken::Changed),
            };
            if let Err(broken) = read {
                part.broken = Some(broken);
                break;
            }
        }
        part
    }

    /// Reads a file that is not a link. `next` is the place among the files that were seen before at which it stands,
    /// where it comes right after the last one.
    fn file(
        &self,
        folder: &list::Folder,
        name: &OsStr,
        format: Format,
        next: &mut usize,
        part: &mut Part,
    ) -> Result<(), Broken> {
        if let Some(place) = self.place(&folder.path, name, *next) {
            *next = place + 1;
            let known = &self.seen[place];
            if let Ok(stat) = self.disk.stat(&folder.open, name, AtFlags::SYMLINK_NOFOLLOW)
                && self.proof.holds(&known.stamp, &stat)
                && !self.refused.files.contains(known.path())
            {
                self.content.fetch_add(known.cost(), Ordering::Relaxed);
                self.keep(place, part);
                return Ok(());
            }
        }
        let path = folder.path.join(name);
        let opened_at = SystemTime::now();
        match self.disk.file(&folder.open, name) {
            Ok(file) => self.opened(&path, format, (file, By::ItsPath), opened_at, part),
            Err(error) => part.failed(&path, error),
        }
    }

    /// Where a file stands among those that were seen before.
    fn place(&self, folder: &Path, name: &OsStr, next: usize) -> Option<usize> {
        if self.seen.get(next).is_some_and(|seen| seen.is_at(folder, name)) {
            return Some(next);
        }
        Found::index_of(&folder.join(name), self.seen)
    }

    /// Reads a file that is open.
    fn opened(
        &self,
        path: &Path,
        format: Format,
        (file, by): (PlainFile, By),
        opened_at: SystemTime,
        part: &mut Part,
    ) -> Result<(), Broken> {
        let stamp = Stamp::of(file.stat(), opened_at);
        if stamp.bytes() > MAX_BYTES {
            return part.failed(path, NotRead::TooLarge(MAX_BYTES));
        }
        if self.refused.files.contains(path) {
            part.problems.push(problems::too_much(path, MAX_CONTENT));
            return Ok(());
        }
        let cost = file::cost(path, &stamp);
        if self.content.fetch_add(cost, Ordering::Relaxed) + cost > MAX_CONTENT {
            part.not_read.push((path.to_owned(), cost));
            return Ok(());
        }
        if let Some(place) = Found::index_of(path, self.seen)
            && self.proof.holds(&self.seen[place].stamp, file.stat())
        {
            self.keep(place, part);
            return Ok(());
        }
        let mut found = match Found::read(path, (format, self.ids), (file, by), stamp, &mut part.buffer) {
            Ok(found) => found,
            Err(error) => return part.failed(path, error),
        };
        let parsed = &mut found.contents.parsed;
        if self.are_too_many(parsed.problems.len()) {
            parsed.cut();
        }
        part.new.push(Arc::new(found));
        Ok(())
    }

    /// Keeps what is known of a file, its problems among them.
    fn keep(&self, place: usize, part: &mut Part) {
        self.are_too_many(self.seen[place].contents.parsed.problems.len());
        part.known.push(place);
    }

    /// Counts problems of one file; whether all files have too many with them.
    fn are_too_many(&self, problems: usize) -> bool {
        problems > 0 && self.problems.fetch_add(problems, Ordering::Relaxed) + problems > MAX_PROBLEMS
    }
}

impl Part {
    fn failed(&mut self, path: &Path, error: NotRead) -> Result<(), Broken> {
        self.problems.push(match error {
            NotRead::Other(kind) => problems::not_plain(path, kind),
            NotRead::TooLarge(most) => problems::too_large(path, most),
            // It is a link now.
            NotRead::Io(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Err(Broken::Changed);
            }
            NotRead::Io(error) => problems::of_failure(path, &error)?,
        });
        Ok(())
    }
}
