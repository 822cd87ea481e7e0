//! The nouns of the ledger: what goes in and what comes out. Times are kept to the millisecond.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::{
    Cause, DeploymentUpdate, Diagnostic, Digest, Headline, Place, Revision, Rollout, ServiceKey, ServiceKind,
    ServiceState,
};
use crate::plan::{Rules, Seen, UnnamedCredentials};

/// Names one call in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub i64);

/// A call that is about to be made.
#[derive(Clone, Debug)]
pub struct Intent {
    /// The service that it is for.
    pub key: ServiceKey,
    pub update: Arc<DeploymentUpdate>,
    /// The digest of service and body.
    pub digest: Digest,
    /// Why it is made.
    pub cause: Cause,
    /// The snapshot that asks for it.
    pub revision: Revision,
    /// The manifest that asks for it.
    pub place: Place,
    /// Which try of this content it is, from 1.
    pub attempt: u32,
    pub at: Timestamp,
    /// When its request can no longer take effect, if its end stays unknown.
    pub settles_at: Timestamp,
    /// The service's type, where it was read just before.
    pub kind: Option<ServiceKind>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The API took it.
    Accepted { status: u16 },
    /// The API refused it for certain: the service has what it had.
    Rejected {
        status: u16,
        /// Why; its message is kept up to [`Outcome::MAX_MESSAGE`].
        error: Diagnostic,
    },
    /// The call never left this machine: the service has what it had.
    Unsent {
        /// Why; its message is kept up to [`Outcome::MAX_MESSAGE`].
        error: Diagnostic,
    },
    /// Nobody knows: a timeout, a broken connection, a server error. The service stays in doubt.
    Unknown {
        /// HTTP status, where there was an answer.
        status: Option<u16>,
        /// What happened; its message is kept up to [`Outcome::MAX_MESSAGE`].
        error: Diagnostic,
    },
}

impl Outcome {
    /// How the message of an update begins that was put off because live, which decides about it, could not be read.
    pub const UNREAD: &str = "live could not be read: ";

    /// How much of a message is kept, in bytes. It may come from a server, and a sentence is enough.
    pub const MAX_MESSAGE: usize = 1024;
}

/// What is live already, and is taken as applied.
#[derive(Clone, Debug)]
pub struct Adoption {
    pub key: ServiceKey,
    /// What the manifest asks for, and live has.
    pub update: Arc<DeploymentUpdate>,
    /// The digest of service and update.
    pub digest: Digest,
    /// The snapshot that asks for it.
    pub revision: Revision,
    /// The manifest that asks for it.
    pub place: Place,
    /// When the read of live began that shows it.
    pub at: Timestamp,
    /// Credentials that live uses and the manifest names none of.
    pub unnamed: Option<UnnamedCredentials>,
    /// Whether live shows that it runs.
    pub runs: bool,
    /// Its rollout, where live shows something of it that matters.
    pub rollout: Option<Box<Rollout>>,
}

/// All calls wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub until: Timestamp,
    /// Why, for people; kept up to [`Outcome::MAX_MESSAGE`].
    pub reason: String,
    /// When it was set, by the same clock.
    pub set_at: Timestamp,
}

/// A service was read.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub at: Timestamp,
    /// Its type, where the answer gave it.
    pub kind: Option<ServiceKind>,
    /// How live compares with what was applied; `None` where nothing was compared, or an update was accepted since.
    pub seen: Option<Seen>,
    /// Credentials that live uses and the manifest named none of; kept until an update is accepted.
    pub unnamed: Option<UnnamedCredentials>,
    /// Why the read failed, if it did; what was seen before stays then. Kept up to [`Outcome::MAX_MESSAGE`].
    pub failure: Option<Diagnostic>,
}

/// The state of a service, as the engine decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRecord {
    pub state: ServiceState,
    pub since: Timestamp,
    /// Until when, where that is a time.
    pub until: Option<Timestamp>,
    /// Why, where there is more to say; kept up to [`Outcome::MAX_MESSAGE`].
    pub reason: Option<Diagnostic>,
    /// What its manifest said then.
    pub digest: Option<Digest>,
    /// Failed attempts at that content.
    pub attempts: u32,
}

/// The states of services, and who decided them.
#[derive(Clone, Debug)]
pub struct States {
    /// When they were written last.
    pub at: Timestamp,
    pub decider: Decider,
    /// The state of each service.
    pub of: HashMap<ServiceKey, StateRecord>,
}

/// By what the states of services were decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decider {
    /// What was done where a manifest alone does not decide.
    pub rules: Rules,
    /// The part of the rate limit's window that only changes may use, in percent.
    pub reserve_percent: u8,
    /// What all calls waited for, if they did.
    pub halt: Option<Halt>,
}

/// What all calls wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// The state of a service for which a call is due.
    pub state: ServiceState,
    /// When a call is tried again.
    pub until: Timestamp,
    /// Why; kept up to [`Outcome::MAX_MESSAGE`].
    pub reason: String,
}

/// Updates go out as PATCH, because the API refused the other call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turned {
    /// When that was found.
    pub at: Timestamp,
    /// Which version of truenorth found it; an older ledger does not say.
    pub version: Option<String>,
    /// What the other call was answered; kept up to [`Outcome::MAX_MESSAGE`].
    pub reason: String,
}

/// What the API accepted last for a service. While the service is in doubt it may have something newer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedRecord {
    /// The digest of service and body.
    pub digest: Digest,
    /// The body: compact JSON, keys in alphabetical order; nothing where it had to go for want of room.
    pub spec: Option<String>,
    /// The snapshot that asked for it, as text.
    pub revision: String,
    /// The manifest that asked for it.
    pub place: Place,
    /// Why it was sent, as a word; `adopted` where it was not sent.
    pub cause: String,
    /// When it was accepted or adopted.
    pub at: Timestamp,
}

/// When a service was applied last, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedMark {
    /// The snapshot that asked for it, as text.
    pub revision: String,
    /// What people know its commit by, where that is kept.
    pub headline: Option<Headline>,
    /// When it was accepted or adopted.
    pub at: Timestamp,
}

/// One line of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Which call; later ones are greater.
    pub call: CallId,
    pub key: ServiceKey,
    /// The digest of service and body.
    pub digest: Digest,
    /// The body: compact JSON, keys in alphabetical order; kept for what is applied and for the newest few.
    pub spec: Option<String>,
    /// What the service had been sent before.
    pub before: Before,
    /// The snapshot that asked for it, as text.
    pub revision: String,
    /// What was written about its commit, where that is kept.
    pub headline: Option<Headline>,
    /// The manifest that asked for it.
    pub place: Place,
    /// Why, as a word; `adopted` where nothing was sent.
    pub cause: String,
    /// Which try of this content it was, from 1; 0 where nothing was sent.
    pub attempt: u32,
    pub began: Timestamp,
    pub end: End,
    /// What became of it after it was accepted.
    pub rollout: Option<Rollout>,
}

/// What a service had been sent and accepted, or was adopted with, before a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing that history knows.
    Nothing,
    Kept(String),
    /// Something whose body had to go.
    NotKept,
}

/// How a call ended, as history has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Not yet: it is in flight, or its process is gone and none came after it.
    Open,
    /// Its outcome was recorded.
    Recorded { outcome: Outcome, at: Timestamp },
    /// Its process went away, or lost its answer, before an outcome could be recorded.
    Interrupted {
        /// When that was found.
        at: Timestamp,
    },
    /// There was no call: live had it already.
    Adopted {
        /// When that was recorded.
        at: Timestamp,
    },
}

impl End {
    /// Whether the service had afterwards what was asked for.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Adopted { .. } | Self::Recorded { outcome: Outcome::Accepted { .. }, .. })
    }

    /// When it ended; nothing while it did not.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Open => None,
            Self::Recorded { at, .. } | Self::Interrupted { at } | Self::Adopted { at } => Some(*at),
        }
    }
}

/// A rollout that did not go well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRollout {
    pub key: ServiceKey,
    /// How far it came.
    pub rollout: Rollout,
    /// Whether it is the rollout of what the service has.
    pub is_present: bool,
}
