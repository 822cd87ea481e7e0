//! What the daemon says of itself: asked for by the status server, answered by the loop that works.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::manifest::Problem;
use crate::model::Revision;
use crate::plan::{ApiUse, Change, Freeze};
pub use crate::views::{Drift, Look, Paused, Quota, ServiceStatus};

/// A question to the loop. That it is answered at all shows that the loop lives.
#[derive(Debug)]
pub enum Query {
    /// Does the loop live?
    Health(oneshot::Sender<()>),
    /// May others rely on it?
    Ready(oneshot::Sender<Readiness>),
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
    pub freezes: Vec<Freeze>,
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

/// How live is read for drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// Each service about every so many seconds.
    pub every_seconds: u64,
}

/// Where a daemon has what it works with, for commands beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whereabouts {
    pub ledger: PathBuf,
    /// The folder of manifests.
    pub manifests: PathBuf,
    /// Which file the ledger is, and who has it open, as it is at the moment.
    #[serde(default)]
    pub ledger_id: Option<String>,
}

/// Numbers that are counted when they are asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Services by state, as [`ServiceStatus::state`] names them.
    pub services: Vec<(&'static str, u64)>,
    /// Newest rollouts by state.
    pub rollouts: Vec<(&'static str, u64)>,
    /// Problems in the folder.
    pub problems: u64,
    /// Calls left in the rate limit's window, by the last answer.
    pub quota_remaining: Option<u32>,
    /// Calls that the window has in all.
    pub quota_limit: Option<u32>,
    /// When the folder was read in full for the last time.
    pub last_look: Option<Timestamp>,
    pub in_flight: u64,
    /// Whether all calls wait.
    pub paused: bool,
}
