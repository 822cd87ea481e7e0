//! What the daemon says of itself: asked for by the status server, answered by the loop that works.

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::manifest::Problem;
use crate::model::{Digest, Place, Revision, ServiceKey};
use crate::plan::ApiUse;

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
    /// In a word: unchanged, suspended, orphaned, queued, in-flight, backing-off, stalled, in-doubt.
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
