//! What can go wrong with the ledger, and the way out.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use thiserror::Error;

use super::CallId;
use crate::model::ApiPlace;

/// What the store said, and what follows from it; the same whatever the store is.
#[derive(Clone, Debug, Error)]
#[error("{said}")]
pub struct StoreError {
    fault: Fault,
    said: Box<str>,
}

/// What kind of trouble a store is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The disk is full.
    Full,
    /// The disk fails; a limit that is reached looks the same.
    Disk,
    /// Another program holds on to it.
    Busy,
    /// The system is short of something.
    Short,
    /// It may not be written, or not even opened.
    Closed,
    Other,
}

impl StoreError {
    pub(super) fn new(fault: Fault, said: impl Into<Box<str>>) -> Self {
        Self { fault, said: said.into() }
    }

    /// Whether only room on the disk is missing.
    pub fn is_full(&self) -> bool {
        self.fault == Fault::Full
    }

    /// Whether it may pass by itself.
    pub fn is_passing(&self) -> bool {
        matches!(self.fault, Fault::Full | Fault::Disk | Fault::Busy | Fault::Short)
    }

    /// Whether another program holds on to it.
    pub(super) fn is_busy(&self) -> bool {
        self.fault == Fault::Busy
    }

    /// Whether the disk took no more: it is full, or a limit is reached.
    pub(super) fn lacks_room(&self) -> bool {
        matches!(self.fault, Fault::Full | Fault::Disk)
    }

    /// Whether the store was kept from a file.
    pub(super) fn needs_writing(&self) -> bool {
        self.fault == Fault::Closed
    }
}

/// The ledger cannot be opened. Nothing may be sent without it: exit 78.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The state folder could not be made, looked at or closed to others.
    #[error("cannot {action} the state folder `{}`", path.display())]
    Folder {
        action: &'static str,
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something else stands where the state folder should be.
    #[error("the state folder `{}` is not a folder", path.display())]
    NotAFolder { path: PathBuf },
    /// A file of the ledger could not be made, read or locked.
    #[error("cannot {action} `{}`", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A link stands where a file of the ledger should be.
    #[error("`{}` is a link, and not a file of the ledger", path.display())]
    Link { path: PathBuf },
    /// The folder, or a file of the ledger in it, belongs to another user.
    #[error("`{}` belongs to another user (uid {owner})", path.display())]
    NotOurs {
        path: PathBuf,
        /// Whom it belongs to.
        owner: u32,
    },
    /// Others could put a ledger of their own there.
    #[error("other users may write to the state folder `{}` (mode {mode:04o})", path.display())]
    OthersWrite { path: PathBuf, mode: u32 },
    /// Another truenorth has it.
    #[error("the ledger `{}` is in use by {}", path.display(), holder(*pid))]
    InUse {
        path: PathBuf,
        /// The process that has it, where it could be read; a number of its own pid namespace.
        pid: Option<u32>,
    },
    /// A SQLite database that truenorth did not make, or no regular file.
    #[error("`{}` is not a ledger of truenorth", path.display())]
    Foreign { path: PathBuf },
    /// It tells of another API or account than the one that is meant.
    #[error("the ledger `{}` belongs to {theirs}, and not to {ours}", path.display())]
    OtherPlace {
        path: PathBuf,
        /// The place of the ledger.
        theirs: ApiPlace,
        /// The place that is meant.
        ours: ApiPlace,
    },
    /// Made by a newer truenorth.
    #[error("the ledger `{}` has format {found}, this truenorth knows formats up to {supported}", path.display())]
    Newer {
        path: PathBuf,
        found: i64,
        /// The newest format that is known here.
        supported: i64,
    },
    /// Held by an older truenorth, which knows no requests.
    #[error("the ledger `{}` has format {found}: an older truenorth has it open", path.display())]
    Older { path: PathBuf, found: i64 },
    /// What was to be written when it was opened was not.
    #[error("cannot write the ledger")]
    Write(#[from] WriteError),
    /// Damaged.
    #[error("the ledger `{}` is damaged: {what}", path.display())]
    Corrupt { path: PathBuf, what: String },
    /// The file system cannot keep a write-ahead log (a network file system, as a rule).
    #[error("the file system of `{}` cannot keep a write-ahead log", path.display())]
    NoLog { path: PathBuf },
    /// SQLite refused.
    #[error("cannot {action} the ledger `{}`", path.display())]
    Store {
        action: &'static str,
        path: PathBuf,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// No thread could be started for it.
    #[error("cannot start the ledger's thread")]
    Thread(#[source] io::Error),
}

const FULL: &str = "the disk is full, or a quota is reached: make room there, or name another folder with --state-dir";

const WRITABLE: &str = "the state folder must be writable for the user that runs truenorth; --state-dir names another";

const PASSING: &str = "another program may hold on to the file, or the disk be in trouble; the next start may go well";

fn is_passing(error: &io::Error) -> bool {
    let short = [Errno::MFILE, Errno::NFILE, Errno::IO, Errno::NOMEM, Errno::AGAIN, Errno::INTR];
    is_full(error) || error.raw_os_error().is_some_and(|code| short.contains(&Errno::from_raw_os_error(code)))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another truenorth".to_owned(), |pid| format!("another truenorth, pid {pid}"))
}

impl OpenError {
    fn is_full(&self) -> bool {
        match self {
            Self::Folder { source, .. } | Self::File { source, .. } => is_full(source),
            Self::Store { source, .. } => source.is_full(),
            _ => false,
        }
    }

    /// Whether it may pass by itself: another program holds on to the file, the disk or the system is short of something.
    /// Then the next start may go well, and nobody has to change the configuration.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Folder { source, .. } | Self::File { source, .. } | Self::Thread(source) => is_passing(source),
            Self::Store { source, .. } => source.is_passing(),
            _ => false,
        }
    }

    /// The way out, as a sentence for the line `hint:`.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            _ if self.is_full() => Some(FULL),
            Self::Store { source, .. } if source.needs_writing() => Some(WRITABLE),
            Self::NotAFolder { .. } => Some("name another folder with --state-dir"),
            _ if self.is_passing() => Some(PASSING),
            Self::Folder { .. } | Self::File { .. } => Some(WRITABLE),
            Self::Link { .. } => Some("remove the link; --state-dir may name a folder through links"),
            Self::NotOurs { .. } => {
                Some("give it to the user that runs truenorth (chown), or name another folder with --state-dir")
            }
            Self::OthersWrite { .. } => Some(
                "name a folder below it with --state-dir, which is then made for this user alone, or close it (chmod)",
            ),
            Self::InUse { .. } => Some(
                "two of them would send everything twice: stop the other one, or name another --state-dir; to have it try \
                     something now, `truenorth retry`",
            ),
            Self::Foreign { .. } => Some("name another folder with --state-dir; this file was left as it is"),
            Self::OtherPlace { .. } => Some(
                "name another folder with --state-dir, one for each API and account; this ledger was left as it is",
            ),
            Self::Newer { .. } => {
                Some("run the newer truenorth, or name another --state-dir; this file was left as it is")
            }
            Self::Older { .. } => Some("restart the running truenorth with the new version"),
            Self::Corrupt { .. } => Some(
                "move the file and its -wal aside, or restore a copy; it was left as it is. With a new ledger, \
                 truenorth does not know what it sent before",
            ),
            Self::NoLog { .. } => Some("put the state folder on a local disk with --state-dir"),
            Self::Store { .. } | Self::Thread(_) | Self::Write(_) => None,
        }
    }
}

/// The ledger could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// SQLite refused, or found the file damaged.
    #[error("cannot read the ledger `{}`", path.display())]
    Store {
        path: PathBuf,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// The file changed under a reader that may not write beside it, again and again.
    #[error("the ledger `{}` changes faster than it can be read", path.display())]
    Unsteady { path: PathBuf },
    /// The file could not be opened again, after it had changed.
    #[error("cannot open the ledger again")]
    Reopen(#[source] Box<OpenError>),
    /// The program ends.
    #[error("the ledger is not read any more: the program ends")]
    Stopped,
    /// The lock file could not be looked at.
    #[error("cannot look at `{}`", path.display())]
    Lock {
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl ReadError {
    /// Whether it may pass by itself, as with [`OpenError::is_passing`].
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Store { source, .. } => source.is_passing(),
            Self::Unsteady { .. } => true,
            Self::Reopen(error) => error.is_passing(),
            Self::Stopped => false,
            Self::Lock { source, .. } => is_passing(source),
        }
    }
}

/// The ledger could not be written. What was to be written is not there, everything before it is.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// SQLite refused: a full disk, an I/O error. The next try may work.
    #[error("cannot write to the ledger")]
    Store(#[source] StoreError),
    /// The call was closed already, or never was.
    #[error("call {} is not open in the ledger", .0.0)]
    NotOpen(CallId),
    /// The update could not be written as JSON.
    #[error("cannot write the update as json")]
    Spec(#[source] Arc<serde_json::Error>),
    /// The ledger's thread is gone.
    #[error("the ledger has stopped")]
    Stopped,
}
