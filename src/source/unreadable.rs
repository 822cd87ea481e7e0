//! Why a folder cannot be read, and the way out.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::MAX_ENTRIES;
use super::busy::Busy;
use super::checkout::CheckoutError;
use super::folder::MAX_TRIES;

/// Why a folder could not be read at all.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// It cannot be opened, or is no folder.
    #[error("cannot read the manifests folder `{}`", path.display())]
    Folder {
        /// As it was given.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It holds more than [`MAX_ENTRIES`].
    #[error("the manifests folder `{}` holds more than {MAX_ENTRIES} files and folders", path.display())]
    TooLarge {
        /// As it was given.
        path: PathBuf,
    },
    /// Somebody is in the middle of something there: what it holds is nothing that was finished.
    #[error("the manifests folder `{}` is held: {busy}", path.display())]
    Busy {
        /// As it was given.
        path: PathBuf,
        /// In the middle of what.
        busy: Busy,
        /// How long nothing moved there.
        still: Duration,
    },
    /// It is in a checkout, of which it cannot be told what is checked out.
    #[error("cannot tell what is checked out in the manifests folder `{}`: {why}", path.display())]
    Checkout {
        /// As it was given.
        path: PathBuf,
        /// What cannot be read, causes included.
        why: String,
    },
    /// What HEAD has is asked for, and there is no commit.
    #[error("the manifests folder `{}` is not in a git checkout that has a commit", path.display())]
    Uncommitted {
        /// As it was given.
        path: PathBuf,
    },
    /// It changed during each of several reads.
    #[error("the manifests folder `{}` changed during each of {MAX_TRIES} reads", path.display())]
    Unsteady {
        /// As it was given.
        path: PathBuf,
    },
}

impl Unreadable {
    /// Whether it may come to an end by itself: then there is nothing to tell yet.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Busy { busy, still, .. } if *still < busy.stands_still_after())
    }

    /// Whether somebody is in the middle of something.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// The way out, where there is one to tell.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Busy { busy, .. } => Some(busy.hint()),
            Self::Checkout { .. } => Some(
                "let the user that runs truenorth read all of `.git`; clone it anew where it is damaged".to_owned(),
            ),
            Self::Uncommitted { .. } => Some("commit it, or take what it has: --uncommitted apply".to_owned()),
            Self::Folder { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("name the folder with --manifests, or begin with `truenorth init`".to_owned())
            }
            Self::Folder { source, .. } if source.kind() == io::ErrorKind::NotADirectory => {
                Some("name the folder that the manifests are in with --manifests".to_owned())
            }
            Self::Folder { .. } | Self::TooLarge { .. } | Self::Unsteady { .. } => None,
        }
    }
}

/// Why one look has to begin again or give up.
pub(super) enum Broken {
    Changed,
    TooLarge,
    Folder(io::Error),
    Busy(Busy),
    Git(CheckoutError),
    Uncommitted,
}
