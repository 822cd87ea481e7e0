//! What is shown of a service and of the rest, in the page of the daemon and in that of `status`.

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Diagnostic, Digest, Known, Place, Rollout, ServiceKey, ServiceState, as_error};
use crate::plan::{Change, Seen, Suspension};

/// One service.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceStatus {
    /// Which.
    pub service: ServiceKey,
    /// What it is doing, in a word.
    pub state: ServiceState,
    /// The digest of what its manifest says.
    pub desired: Option<Digest>,
    /// The digest that the API accepted last, where that is certain.
    pub applied: Option<Digest>,
    /// Where its manifest stands.
    pub manifest: Option<Place>,
    /// Failed attempts at the present content.
    pub attempts: u32,
    /// When the call in flight began.
    pub since: Option<Timestamp>,
    /// When it is tried again.
    pub next_attempt: Option<Timestamp>,
    /// What went wrong last.
    #[serde(flatten, serialize_with = "as_error")]
    pub error: Option<Diagnostic>,
    /// How live compares with what was applied, where it was read since.
    pub drift: Option<Drift>,
    /// Why and until when a suspended service is left alone, where its manifest says so.
    pub suspension: Option<Suspension>,
    /// How far the rollout of what was accepted last is, where something was.
    pub rollout: Option<Rollout>,
}

/// What live has that was not applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// When live was read last; nothing where it could not be.
    pub read_at: Option<Timestamp>,
    /// Fields in which live differs: from what runs, to what was applied.
    pub differences: Vec<Change>,
    /// Fields of which live cannot be told, each with the reason.
    pub undecided: Vec<String>,
    /// Until when it is left alone, because it came back after each correction.
    pub left_alone_until: Option<Timestamp>,
    /// Why the newest read failed, if it did.
    #[serde(flatten, serialize_with = "as_error")]
    pub error: Option<Diagnostic>,
}

impl Drift {
    /// From what the engine or the ledger has; nothing where a service was never read, or an update was sent since.
    #[must_use]
    pub fn of(
        known: Option<&Known>,
        seen: Option<&Seen>,
        unread: Option<&Diagnostic>,
        left_alone_until: Option<Timestamp>,
    ) -> Option<Self> {
        let applied = known.and_then(Known::digest)?;
        let seen = seen.filter(|seen| seen.compared == applied);
        if seen.is_none() && unread.is_none() {
            return None;
        }
        Some(Self {
            read_at: seen.map(|seen| seen.at),
            differences: seen.map(|seen| seen.reading.differences.to_vec()).unwrap_or_default(),
            undecided: seen.map(|seen| seen.reading.undecided.to_vec()).unwrap_or_default(),
            left_alone_until,
            error: unread.cloned(),
        })
    }
}

/// What the rate limit leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quota {
    /// Calls that a window has in all.
    pub limit: u32,
    /// Calls that are left by the newest answer.
    pub remaining: u32,
    /// When the window resets; nothing where it is over and no new one has begun.
    pub resets_at: Option<Timestamp>,
    /// Calls of it that only changes may use.
    pub reserve: u32,
    /// Until when reads wait because nothing but the reserve is left.
    pub reads_wait_until: Option<Timestamp>,
}

/// The last look at the folder.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Look {
    /// When the folder was read in full for the last time.
    pub succeeded: Option<Timestamp>,
    /// How long ago that is, in seconds.
    pub age_seconds: Option<f64>,
    /// Why the newest look failed, if it did.
    #[serde(flatten, serialize_with = "as_error")]
    pub error: Option<Diagnostic>,
    /// How changes are noticed: by events, or by looking again at times.
    pub watching: String,
}

/// What all calls wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paused {
    /// `rate-limit`, `denied`, `ledger` or `unreachable`.
    pub by: &'static str,
    /// When calls are tried again.
    pub until: Timestamp,
    /// What went wrong.
    pub reason: String,
}

impl Paused {
    /// From the state of a service for which a call is due; nothing where that is not a state that all share.
    pub(crate) fn of(state: ServiceState, until: Timestamp, reason: &str) -> Option<Self> {
        let by = match state {
            ServiceState::Denied => "denied",
            ServiceState::LedgerUnwritable => "ledger",
            ServiceState::Unreachable => "unreachable",
            ServiceState::RateLimited => "rate-limit",
            _ => return None,
        };
        Some(Self { by, until, reason: reason.to_owned() })
    }
}
