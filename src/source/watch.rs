//! Notices that a folder may have changed. It only ever says "look again", never what changed.
//!
//! Each folder is watched by itself, never recursively by notify: so hidden folders (`.git`) cost nothing and make no
//! noise, and a folder that cannot be read does not end the watch of its neighbours. What is watched:
//! - the folder, those below it that are not hidden, and inside of it whatever its links lead through (`..data`);
//! - on the way to it, by name: the folder above each link, so that a swap of the link is noticed; the nearest folder
//!   that exists, where the next one is missing; and each folder on the way below `/*`, so that its renaming is;
//! - by name, the files that the caller asks for besides.
//!
//! Two rules make it whole. A folder is watched *before* its entries are read, by [`Watch::follow`] as by the look
//! after it: what appears later is an event, what was there is seen. And whatever is in doubt (an overflow, an error, a
//! folder that is another one than was watched) has all watches made anew.
//!
//! What inotify does not tell is the mounting of another file system: the next look finds it.

mod file_system;
mod noticed;
mod round;
mod watches;
mod writers;

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{Config, INotifyWatcher, Watcher};
use thiserror::Error;

use super::MAX_ENTRIES;
use crate::error;

use noticed::{News, Noticed};
use round::{Outcome, Round};
use watches::Watches;
pub(super) use writers::QUIET_AFTER;
pub use writers::{Writers, Writing};

/// How often the caller is to look where events cannot be had: often enough for a person to wait for it, and cheap,
/// since unchanged files are not read again.
const POLL_EVERY: Duration = Duration::from_secs(5);

/// How long to leave it at polling before events are tried again: limits get raised, other programs end.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// How often all watches are made anew in one [`Watch::follow`]: once is needed after a mount, more only when folders
/// are replaced as fast as they are watched.
const MAX_ROUNDS: usize = 3;

/// How changes are noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watching {
    /// By events: the caller is told of each.
    Events,
    /// Not reliably: the caller has to look by itself. It may be told of some changes nevertheless.
    Polling {
        /// How often to look.
        every: Duration,
        /// Why events cannot be relied on, for the log.
        reason: String,
    },
}

/// Why events cannot be had, or not be relied on.
#[derive(Debug, Error)]
enum NoEvents {
    #[error("the limit of inotify watches is reached (sysctl fs.inotify.max_user_watches)")]
    TooManyWatches,
    #[error(
        "the limit of inotify instances (sysctl fs.inotify.max_user_instances) or of open files (ulimit -n) is reached"
    )]
    TooManyInstances,
    #[error("the folder holds more than {MAX_ENTRIES} folders")]
    TooManyFolders,
    #[error("`{}` is on {kind}, which does not tell of changes made elsewhere", path.display())]
    Far { path: PathBuf, kind: &'static str },
    #[error("cannot watch `{}`", path.display())]
    Refused {
        path: PathBuf,
        #[source]
        source: notify::Error,
    },
    #[error("cannot set up inotify")]
    Inotify(#[source] notify::Error),
    #[error("cannot tell where `{}` is", path.display())]
    Nowhere {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

type AnyWatcher = Box<dyn Watcher + Send>;
type MakeWatcher = Box<dyn Fn(Arc<Noticed>) -> notify::Result<AnyWatcher> + Send>;

/// The watch of a folder. Idle, it costs one thread that sleeps in the kernel, and no timer.
pub struct Watch {
    path: PathBuf,
    noticed: Arc<Noticed>,
    make: MakeWatcher,
    try_again_after: Duration,
    state: State,
    watching: Watching,
}

enum State {
    /// Not watching yet, or all watches have to be made anew.
    Bare,
    Armed(Watches),
    /// Events cannot be had, since then.
    GaveUp(Instant),
}

impl Watch {
    /// Watches the folder at `path`, which may be a link, be reached through links, or be missing. Blocks on the disk.
    ///
    /// From now on `changed` is called, on another thread, whenever a look may find something new, for each event, with
    /// whether files are being written after it: it must be quick and must neither block nor panic. Nothing is missed only if the caller looks once after this, and
    /// calls [`follow`](Self::follow) before that look and each later one.
    ///
    /// This cannot fail: where events cannot be had, [`watching`](Self::watching) says so.
    #[must_use]
    pub fn start(path: impl Into<PathBuf>, changed: impl Fn(Writing) + Send + Sync + 'static) -> Self {
        Self::with(path.into(), Noticed::new(changed), Box::new(inotify), TRY_AGAIN_AFTER)
    }

    fn with(path: PathBuf, noticed: Noticed, make: MakeWatcher, try_again_after: Duration) -> Self {
        let noticed = Arc::new(noticed);
        let mut watch = Self { path, noticed, make, try_again_after, state: State::Bare, watching: Watching::Events };
        watch.follow(&[]);
        watch
    }

    /// Tells which files are being written to, for [`Folder::heed`](super::Folder::heed).
    pub fn writers(&self) -> Writers {
        Writers(Arc::clone(&self.noticed))
    }

    /// How changes are noticed now.
    pub fn watching(&self) -> &Watching {
        &self.watching
    }

    /// Brings the watches in line with what is there now. To be called before each look, whatever caused it; where it
    /// came after, a folder that appeared between the look and the call would be watched without having been read.
    /// Costs a system call a folder when nothing changed. Blocks on the disk.
    ///
    /// `also` are paths outside the folder's visible tree that matter, as a rule those of git (`HEAD`, `index.lock`):
    /// files, also missing ones, are watched by name in the folder that holds them; of a folder, the visible entries
    /// are, and nothing below. They are in place of those of the call before.
    ///
    /// Returns how changes are noticed from now on if that is news, so that it is logged once.
    pub fn follow(&mut self, also: &[PathBuf]) -> Option<&Watching> {
        if let State::GaveUp(since) = self.state
            && since.elapsed() < self.try_again_after
        {
            return None;
        }
        let polling = |why: &NoEvents| Watching::Polling { every: POLL_EVERY, reason: error::chain(why) };
        let watching = match self.bring_in_line(also) {
            Ok(None) => Watching::Events,
            Ok(Some(far)) => polling(&far),
            Err(why) => {
                self.noticed.care_only(Default::default());
                self.state = State::GaveUp(Instant::now());
                polling(&why)
            }
        };
        if watching == self.watching {
            return None;
        }
        self.watching = watching;
        Some(&self.watching)
    }

    /// Watches what is there; returns why events are not enough, if so.
    fn bring_in_line(&mut self, also: &[PathBuf]) -> Result<Option<NoEvents>, NoEvents> {
        let path =
            std::path::absolute(&self.path).map_err(|source| NoEvents::Nowhere { path: self.path.clone(), source })?;
        let mut news = self.noticed.take();
        for _ in 0..MAX_ROUNDS {
            let mut watches = match (std::mem::replace(&mut self.state, State::Bare), &news) {
                (State::Armed(mut watches), News::Of { lost, entries }) => {
                    watches.forget(lost, entries);
                    watches
                }
                _ => Watches::new((self.make)(Arc::clone(&self.noticed)).map_err(no_watcher)?),
            };
            match Round::new(&mut watches, &self.noticed).run(&path, also)? {
                Outcome::InLine { far } => {
                    self.state = State::Armed(watches);
                    return Ok(far);
                }
                Outcome::Displaced => news = News::Everything,
            }
        }
        // It changes faster than it can be followed: the look that comes now may miss something, so have another.
        self.noticed.tell();
        Ok(None)
    }
}

fn inotify(noticed: Arc<Noticed>) -> notify::Result<AnyWatcher> {
    let hear = move |event| noticed.hear(event);
    Ok(Box::new(INotifyWatcher::new(hear, Config::default())?))
}

fn no_watcher(error: notify::Error) -> NoEvents {
    use rustix::io::Errno;
    let errno = match &error.kind {
        notify::ErrorKind::Io(source) => source.raw_os_error(),
        _ => None,
    };
    match errno.map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => NoEvents::TooManyInstances,
        _ => NoEvents::Inotify(error),
    }
}

/// Whether a name begins with a dot: such entries are not read, and do not matter.
fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests;
