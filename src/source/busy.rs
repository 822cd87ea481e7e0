//! Why what a folder holds at a moment is nothing that anybody finished: what it waits for, and the way out.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::checkout::Operation;
use super::watch::QUIET_AFTER;

/// A lock under which nothing moved for so long is told: a git that was killed may have left it.
const LOCK_IS_LEFT_AFTER: Duration = Duration::from_secs(30);
/// An operation in which nothing moved for so long waits for a person.
const OPERATION_STOPS_AFTER: Duration = Duration::from_secs(2);

/// In the middle of what somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Busy {
    /// git is changing the files, or a git that was killed left its lock there.
    Locked { lock: PathBuf },
    /// git was asked for something that it has not finished.
    Operation(Operation),
    /// A file is being written to.
    Written { file: PathBuf },
}

impl Busy {
    /// Where nothing moved for so long, waiting will not end it.
    pub(super) fn stands_still_after(&self) -> Duration {
        match self {
            Self::Locked { .. } => LOCK_IS_LEFT_AFTER,
            Self::Operation(_) => OPERATION_STOPS_AFTER,
            Self::Written { .. } => QUIET_AFTER,
        }
    }

    pub(super) fn hint(&self) -> String {
        match self {
            Self::Locked { lock } => format!(
                "if no git runs there, one was killed and may have left half of a commit: see `git status`, put it \
                 right, and remove `{}`",
                lock.display()
            ),
            Self::Operation(operation) => operation.way_out().to_owned(),
            Self::Written { .. } => "let its writer close it, or write beside it and rename".to_owned(),
        }
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { lock } => write!(f, "git holds its lock `{}`", lock.display()),
            Self::Operation(operation) => write!(f, "git is in the middle of {operation}"),
            Self::Written { file } => write!(f, "`{}` is being written", file.display()),
        }
    }
}

#[cfg(test)]
mod tests;
