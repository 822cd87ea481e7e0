//! The side of the watch that hears events: which of them matter, and what they say of the watches themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind};

use super::writers::Written;
use super::{Writing, is_hidden};
use crate::source::ignored::IGNORE_FILE;

/// git's lock on the files of a checkout.
const GIT_LOCK: &str = "index.lock";

/// What is heard, shared by the watcher's thread and the one that follows.
///
/// Its lock is held for moments only, and never while the watcher is called: the watcher's thread may be waiting for it.
pub(super) struct Noticed {
    heard: Mutex<Heard>,
    changed: Box<dyn Fn(Writing) + Send + Sync>,
}

struct Heard {
    cares: BTreeMap<PathBuf, Cares>,
    news: News,
    written: Written,
}

/// What events said of the watches since they were last brought in line.
pub(super) enum News {
    /// Some may be gone, or have to be joined by others.
    Of {
        /// Paths that came or went: watches of them and of what is below are dead.
        lost: BTreeSet<PathBuf>,
        /// Watched folders whose list of entries is another now.
        entries: BTreeSet<PathBuf>,
    },
    /// Events were lost: nothing is known.
    Everything,
}

impl News {
    const NONE: Self = Self::Of { lost: BTreeSet::new(), entries: BTreeSet::new() };
}

/// Something in a watched folder whose changes matter.
#[derive(Clone, Debug)]
pub(super) enum Interest {
    /// All entries that are read as manifests, or say what is.
    Visible,
    /// The entry of this name.
    Name(OsString),
}

/// All that matters in one watched folder.
#[derive(Debug, Default)]
pub(super) struct Cares {
    visible: bool,
    names: BTreeSet<OsString>,
}

impl Cares {
    /// Whether the interest is news.
    pub(super) fn add(&mut self, interest: &Interest) -> bool {
        match interest {
            Interest::Visible => !std::mem::replace(&mut self.visible, true),
            Interest::Name(name) => !self.covers(name) && self.names.insert(name.clone()),
        }
    }

    fn covers(&self, name: &OsStr) -> bool {
        (self.visible && (!is_hidden(name) || name == IGNORE_FILE)) || self.names.contains(name)
    }
}

/// What an event can mean.
enum Happened {
    /// Nothing new: a file was opened, as our own looks do.
    Nothing,
    /// Contents or attributes of something that stays where it is.
    Inside,
    /// Something came or went.
    Entries,
}

impl Happened {
    fn of(kind: EventKind) -> Self {
        match kind {
            // A file that was written through a memory map says so only when it is closed.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Self::Inside,
            EventKind::Access(_) => Self::Nothing,
            EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => Self::Inside,
            EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => {
                Self::Entries
            }
        }
    }
}

impl Noticed {
    pub(super) fn new(changed: impl Fn(Writing) + Send + Sync + 'static) -> Self {
        let heard = Heard { cares: BTreeMap::new(), news: News::NONE, written: Written::default() };
        Self { heard: Mutex::new(heard), changed: Box::new(changed) }
    }

    /// Takes in what the watcher tells.
    pub(super) fn hear(&self, event: notify::Result<Event>) {
        let writing = match event {
            Ok(event) if !event.need_rescan() => self.lock().take_in(&event),
            // An overflow of the queue, or an error: anything may have happened.
            Ok(_) | Err(_) => {
                self.lock().news = News::Everything;
                Some(Writing::GoesOn)
            }
        };
        if let Some(writing) = writing {
            (self.changed)(writing);
        }
    }

    /// Has the caller look again.
    pub(super) fn tell(&self) {
        (self.changed)(Writing::Ended);
    }

    /// The files that somebody is writing to.
    pub(super) fn unfinished(&self) -> BTreeSet<PathBuf> {
        self.lock().written.unfinished(Instant::now())
    }

    /// What was heard of the watches since the last call.
    pub(super) fn take(&self) -> News {
        std::mem::replace(&mut self.lock().news, News::NONE)
    }

    /// From now on this matters too. To be called before the folder is watched, so that no event comes too early.
    pub(super) fn care(&self, folder: &Path, interest: &Interest) {
        let mut heard = self.lock();
        match heard.cares.get_mut(folder) {
            Some(cares) => cares.add(interest),
            None => heard.cares.entry(folder.to_owned()).or_default().add(interest),
        };
    }

    /// From now on only this matters.
    pub(super) fn care_only(&self, cares: BTreeMap<PathBuf, Cares>) {
        let before = std::mem::replace(&mut self.lock().cares, cares);
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        // What it holds is whole after every step, so a panic elsewhere spoils nothing.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    /// Whether files are being written, if the event matters at all.
    fn take_in(&mut self, event: &Event) -> Option<Writing> {
        let happened = Happened::of(event.kind);
        if matches!(happened, Happened::Nothing) {
            return None;
        }
        let (mut matters, mut git_ended, now) = (false, false, Instant::now());
        for path in &event.paths {
            let watches = matches!(happened, Happened::Entries) && self.news_of_watches(path);
            let cares = self.cares_for(path);
            if cares {
                self.written.take_in(event.kind, path, now);
                let is_lock = path.file_name().is_some_and(|name| name == GIT_LOCK);
                git_ended |= is_lock && path.symlink_metadata().is_err();
            }
            matters |= watches || cares;
        }
        matters.then(|| if git_ended { Writing::GitEnded } else { self.written.writing(now) })
    }

    fn cares_for(&self, path: &Path) -> bool {
        let named = || {
            let cares = self.cares.get(path.parent()?)?;
            Some(cares.covers(path.file_name()?))
        };
        self.cares.contains_key(path) || named() == Some(true)
    }

    /// Notes what the coming or going of a path means for the watches; whether one of them is lost.
    fn news_of_watches(&mut self, path: &Path) -> bool {
        let below = (Bound::Included(path), Bound::Unbounded);
        let is_lost = self.cares.range::<Path, _>(below).next().is_some_and(|(folder, _)| folder.starts_with(path));
        if let News::Of { lost, entries } = &mut self.news {
            // Both hold paths of watched folders only, or above them, so they are bounded.
            if is_lost {
                lost.insert(path.to_owned());
            }
            if let Some(parent) = path.parent().filter(|parent| self.cares.contains_key(*parent)) {
                entries.insert(parent.to_owned());
            }
        }
        is_lost
    }
}
