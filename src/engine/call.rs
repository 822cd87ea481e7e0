//! What goes out of the engine and comes back: calls, how they ended, and what a service is doing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{Cause, DeploymentStatus, DeploymentUpdate, Diagnostic, Digest, Place, ServiceKey, Unnamed};
use crate::plan::{Reading, UnnamedCredentials};

/// A call that is to be made now.
#[derive(Clone, Debug)]
pub struct Call {
    /// For which service.
    pub key: ServiceKey,
    /// What to do.
    pub work: Work,
    /// What is desired: to be sent, or to be compared with live.
    pub update: Arc<DeploymentUpdate>,
    /// The digest of it.
    pub digest: Digest,
    /// Where its manifest stands.
    pub place: Place,
    /// What it means that the update names no credentials, if it names none.
    pub unnamed: Unnamed,
    /// Which attempt at this content this is, from 1.
    pub attempt: u32,
    /// Whether what is read was accepted a moment ago: a difference then shows that a part is not in effect.
    pub fresh: bool,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Send the update.
    Send(Cause),
    /// Read live, to see whether the update has to be sent at all. What is there already is recorded as adopted.
    Decide(Cause),
    /// Read live, to see whether it drifted.
    Watch,
}

impl Work {
    /// Why the call is made, in a word.
    #[must_use]
    pub fn cause(self) -> &'static str {
        match self {
            Self::Send(cause) | Self::Decide(cause) => cause.as_str(),
            Self::Watch => "drift",
        }
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The API accepted the update.
    Accepted {
        /// What the answer shows of the service, where it shows it: PATCH does.
        shown: Option<Reading>,
        /// Whether the answer had no body to say so; then the service is read once.
        bare: bool,
        /// When, by the server's clock, where the answer says so.
        at: Option<Timestamp>,
        /// What the answer shows of the service's newest rollout.
        status: Option<DeploymentStatus>,
    },
    /// Live has the update already, and that is recorded. Ends [`Work::Decide`] alone.
    Adopted {
        /// Credentials that live uses and the manifest names none of.
        unnamed: Option<UnnamedCredentials>,
        /// How far the service's newest rollout is, where the answer shows it.
        status: Option<DeploymentStatus>,
    },
    /// Live was read, and this is how it compares. After [`Work::Decide`] it shows that the update has to be sent.
    Read(Reading),
    /// It failed for a reason that passes.
    Transient {
        /// What went wrong.
        error: Diagnostic,
        /// Whether the API may have taken the update nevertheless.
        delivery: Delivery,
        /// The least wait that the API asks for.
        wait: Duration,
        /// What the failure speaks of.
        scope: Scope,
    },
    /// The rate limit is used up.
    Limited {
        /// What the API said.
        error: Diagnostic,
        /// Until the window resets.
        wait: Duration,
        /// Whether the answer spoke of the account's window; a bare 429 may be about this service alone.
        told: bool,
    },
    /// The token was refused (401, 403); all calls wait.
    Denied {
        /// What the API said.
        error: Diagnostic,
    },
    /// The API refused the call; it waits for new content, or the slow retry.
    Rejected {
        /// What the API said.
        error: Diagnostic,
        /// Whether the API may have taken the update nevertheless (a redirect proves nothing).
        delivery: Delivery,
    },
    /// The ledger took no record of the intent, so the call was never made, or none of what it showed; all calls wait.
    Unrecorded {
        /// What went wrong with the ledger.
        error: Diagnostic,
    },
    /// The call was not made, and nobody is at fault: it goes back to the queue.
    Withdrawn,
}

/// Whether a failed call may have changed the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It cannot have: it never reached the API, was refused, or only read.
    Excluded,
    /// It may have, or may yet until this time: a request that was given up can still take effect.
    Unknown {
        /// When it no longer can.
        until: Timestamp,
    },
}

/// What a failure that passes speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The way to the API: there was no connection. One is enough to know that no other call gets through.
    Network,
    /// The API as a whole, as far as one answer can tell: a timeout, 5xx, the page of a gateway.
    Api,
    /// This call alone.
    Service,
}

/// A request whose end is not known, and that may still take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// What it carried.
    pub digest: Digest,
    /// When it can no longer take effect.
    pub until: Timestamp,
}

/// What a service is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is due.
    Resting,
    /// In the queue for a call.
    Ready {
        /// Failed attempts at this content so far.
        failed: u32,
        /// What went wrong last.
        error: Option<Diagnostic>,
    },
    /// A call is being made.
    InFlight {
        /// What it does.
        work: Work,
        /// What it is about.
        digest: Digest,
        /// Which attempt at it, from 1.
        attempt: u32,
        /// When it began.
        since: Timestamp,
    },
    /// Waits after a failure that passes.
    BackingOff {
        /// What failed.
        digest: Digest,
        /// Failed attempts at it.
        failed: u32,
        /// When it goes back to the queue.
        until: Timestamp,
        /// What went wrong last.
        error: Diagnostic,
    },
    /// In doubt, and read without a clear result: a request that is over for us may still take effect.
    Settling {
        /// When it no longer can, and the service is read again.
        until: Timestamp,
    },
    /// Was refused; waits for new content, or the slow retry.
    Stalled {
        /// What was refused.
        digest: Digest,
        /// Failed attempts at it.
        failed: u32,
        /// When it goes back to the queue.
        until: Timestamp,
        /// What the API said.
        error: Diagnostic,
    },
}
