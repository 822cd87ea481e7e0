//! A look at the folder: what it takes along, and what it brings back. It runs beside the loop.

use std::time::Duration;

use super::looks::Aim;
use crate::runner::TokenNumber;
use crate::source::{Folder, Snapshot, Unreadable, Watch, Watching};

pub(super) struct Eyes {
    pub(super) folder: Folder,
    pub(super) watch: Watch,
}

/// A look that is due.
pub(super) struct Look {
    pub(super) eyes: Eyes,
    pub(super) aim: Aim,
    /// Whether what was read last was searched for the present token.
    pub(super) searched: bool,
    pub(super) token: Searched,
}

/// The token that what is read is searched for.
pub(super) struct Searched {
    pub(super) token: TokenNumber,
    /// Tells whether a text holds it.
    pub(super) finds: Box<dyn Fn(&str) -> bool + Send>,
}

/// What a look brought back.
pub(super) struct Looked {
    pub(super) eyes: Eyes,
    pub(super) saw: Saw,
    /// The token that it was searched for.
    pub(super) token: TokenNumber,
    /// How changes are noticed, where that is another way than before.
    pub(super) news: Option<Watching>,
}

pub(super) enum Saw {
    Snapshot(Box<Snapshot>),
    /// It says what it said.
    Unchanged,
    /// It was read ahead of a look that is still to come.
    Ahead,
    Nothing(Unreadable),
}

impl Look {
    /// Blocks on the disk.
    pub(super) fn run(self) -> Looked {
        let Self { mut eyes, aim, searched, token: Searched { token, finds } } = self;
        // Watches first: what changes after them is an event, what changed before them is seen.
        let news = eyes.watch.follow(&eyes.folder.git_files()).cloned();
        // Where changes cannot be had by events, folders' times may be those of another machine.
        let trusted = *eyes.watch.watching() == Watching::Events;
        let mut saw = saw(&mut eyes.folder, aim, trusted, searched);
        if let Saw::Snapshot(snapshot) = &mut saw {
            snapshot.withhold(&finds);
        }
        Looked { eyes, saw, token, news }
    }
}

/// How long one look waits for git; then there is another.
const WAITS_FOR_GIT: Duration = Duration::from_secs(2);

/// Reads the folder, as little of it as is needed. Where its times are not to be trusted, that is all of it. What was not
/// searched for the present token is seen again, though it did not change.
fn saw(folder: &mut Folder, aim: Aim, trusted: bool, searched: bool) -> Saw {
    if !trusted {
        folder.distrust();
    }
    match aim {
        Aim::Ahead => {
            if trusted {
                folder.read_ahead();
            }
            return Saw::Ahead;
        }
        Aim::Confirm => {
            if let Some(snapshot) = folder.confirm() {
                return Saw::Snapshot(Box::new(snapshot));
            }
        }
        Aim::Look(_) => {}
    }
    if trusted && searched && folder.is_unchanged() {
        return Saw::Unchanged;
    }
    folder.look_within(WAITS_FOR_GIT).map_or_else(Saw::Nothing, |snapshot| Saw::Snapshot(Box::new(snapshot)))
}
