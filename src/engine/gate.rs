//! The gate before all calls: closed while the rate limit is used up, the token is refused, or the ledger cannot be
//! written.

use jiff::Timestamp;

use super::{Ending, Pace, Work, later};

/// Whether calls may be made at all.
///
/// The rate limit opens by time alone. A block opens by proof: when its time is over, one call at a time is let through
/// until one shows that the cause is gone. Blocks are kept apart: a full disk says nothing of the token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    limited: Option<Pause>,
    denied: Option<Pause>,
    unwritable: Option<Pause>,
}

/// What stops all calls beside the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// The API refused the token.
    Denied,
    /// The ledger could not record what is about to be sent.
    Unwritable,
}

/// Until when, and what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When calls may be tried again.
    pub until: Timestamp,
    /// What went wrong.
    pub reason: String,
}

impl Gate {
    /// The pause for the rate limit, if there is one at this time.
    #[must_use]
    pub fn limited(&self, now: Timestamp) -> Option<&Pause> {
        self.limited.as_ref().filter(|pause| pause.until > now)
    }

    /// What blocks all calls until a call proves that it is gone; of two blocks the one that lasts longer.
    #[must_use]
    pub fn blocked(&self) -> Option<(Block, &Pause)> {
        let denied = self.denied.as_ref().map(|pause| (Block::Denied, pause));
        let unwritable = self.unwritable.as_ref().map(|pause| (Block::Unwritable, pause));
        denied.into_iter().chain(unwritable).max_by_key(|(_, pause)| pause.until)
    }

    /// How many calls may be in flight.
    pub(super) fn room(&self, now: Timestamp, concurrency: usize) -> usize {
        if self.opens(now).is_some() {
            0
        } else if self.blocked().is_some() {
            1
        } else {
            concurrency.max(1)
        }
    }

    /// When a gate that is closed now opens.
    #[must_use]
    pub fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        let blocked = self.blocked().map(|(_, pause)| pause.until).filter(|until| *until > now);
        self.limited(now).map(|pause| pause.until).max(blocked)
    }

    /// Takes what the end of a call shows.
    pub(super) fn note(&mut self, work: Work, ending: &Ending, now: Timestamp, pace: &Pace) {
        let block = |wait, error: &String| Some(Pause { until: later(now, wait), reason: error.clone() });
        // An update that was sent had its intent recorded; a read proves nothing of the ledger.
        let recorded = match work {
            Work::Send(_) => !matches!(ending, Ending::Unrecorded { .. } | Ending::Withdrawn),
            Work::Decide(_) | Work::Watch => matches!(ending, Ending::Adopted),
        };
        if recorded {
            self.unwritable = None;
        }
        match ending {
            Ending::Accepted | Ending::Adopted | Ending::Read(_) | Ending::Rejected { .. } => self.denied = None,
            Ending::Transient { .. } | Ending::Withdrawn => {}
            Ending::Limited { error, wait } => self.limit(later(now, *wait), error.clone()),
            Ending::Denied { error } => self.denied = block(pace.denied_retry, error),
            Ending::Unrecorded { error } => self.unwritable = block(pace.unwritable_retry, error),
        }
    }

    /// Pauses for the rate limit; the longer of two pauses holds.
    pub(super) fn limit(&mut self, until: Timestamp, reason: String) {
        if self.limited.as_ref().is_none_or(|pause| pause.until < until) {
            self.limited = Some(Pause { until, reason });
        }
    }

    /// A new token may be good.
    pub(super) fn token_replaced(&mut self) {
        self.denied = None;
    }
}
