//! What the daemon says of itself: asked for by the status server, answered by the loop that works.

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::manifest::Problem;
use crate::model::{Digest, Known, Place, Revision, ServiceKey};
use crate::plan::{ApiUse, Change, Seen, Suspension};

/// A question to the loop. That it is answered at all shows that the loop lives.
#[derive(Debug)]
pub enum Query {
    /// Does the loop live?
    Health(oneshot::Sender<()>),
    /// May others rely on it?
    Ready(oneshot::Sender<Readiness>),
    /// Everything.
    Status(oneshot::Sender<Box<Status>>),
    /// The numbers that are counted when they are asked for.
    Gauges(oneshot::Sender<Gauges>),
}

/// Whether the daemon does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The folder was read, and nothing blocks all calls.
    Ready,
    /// Why not, a sentence each.
    NotReady(Vec<String>),
}

/// The daemon's state: the JSON of a pass, and what each service is doing.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The version of truenorth.
    pub version: &'static str,
    /// When the daemon began; nothing where there is none.
    pub since: Option<Timestamp>,
    /// The snapshot that was read last.
    pub revision: Option<Revision>,
    /// Whether every service has what its manifest says, and every manifest could be read.
    pub converged: bool,
    /// The last look at the folder.
    pub look: Look,
    /// What all calls wait for, if they do.
    pub paused: Option<Paused>,
    /// Every service that is desired or known, by name.
    pub services: Vec<ServiceStatus>,
    /// Every problem in the folder, by place.
    pub problems: Vec<Problem>,
    /// Calls since the daemon began.
    pub api: ApiUse,
    /// What the rate limit leaves; nothing before an answer told.
    pub quota: Option<Quota>,
    /// How live is read for drift; nothing where it is not.
    pub drift: Option<Watched>,
}

impl Status {
    /// The same for whoever may ask without saying who they are: fields and digests, no word of a command.
    #[must_use]
    pub fn without_commands(mut self) -> Self {
        for drift in self.services.iter_mut().filter_map(|service| service.drift.as_mut()) {
            drift.differences = drift.differences.drain(..).map(Change::without_command).collect();
        }
        self
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

/// How live is read for drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// Each service about every so many seconds.
    pub every_seconds: u64,
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
    pub error: Option<String>,
}

impl Drift {
    /// From what the engine or the ledger has; nothing where a service was never read, or an update was sent since.
    #[must_use]
    pub fn of(
        known: Option<&Known>,
        seen: Option<&Seen>,
        unread: Option<&str>,
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
            error: unread.map(str::to_owned),
        })
    }
}

/// The last look at the folder.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Look {
    /// When the folder was read in full for the last time.
    pub succeeded: Option<Timestamp>,
    /// How long ago that is, in seconds.
    pub age_seconds: Option<f64>,
    /// Why the newest look failed, if it did.
    pub error: Option<String>,
    /// How changes are noticed: by events, or by looking again at times.
    pub watching: String,
}

/// What all calls wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paused {
    /// `rate-limit`, `denied` or `ledger`.
    pub by: &'static str,
    /// When calls are tried again.
    pub until: Timestamp,
    /// What went wrong.
    pub reason: String,
}

/// One service.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceStatus {
    /// Which.
    pub service: ServiceKey,
    /// In a word: unchanged, drifted, suspended, orphaned, queued, in-flight, backing-off, stalled, in-doubt.
    pub state: &'static str,
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
    pub error: Option<String>,
    /// How live compares with what was applied, where it was read since.
    pub drift: Option<Drift>,
    /// Why and until when a suspended service is left alone, where its manifest says so.
    pub suspension: Option<Suspension>,
}

/// Numbers that are counted when they are asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Services by state, as [`ServiceStatus::state`] names them.
    pub services: Vec<(&'static str, u64)>,
    /// Problems in the folder.
    pub problems: u64,
    /// Calls left in the rate limit's window, by the last answer.
    pub quota_remaining: Option<u32>,
    /// Calls that the window has in all.
    pub quota_limit: Option<u32>,
    /// When the folder was read in full for the last time.
    pub last_look: Option<Timestamp>,
    /// Calls in flight.
    pub in_flight: u64,
    /// Whether all calls wait.
    pub paused: bool,
}
