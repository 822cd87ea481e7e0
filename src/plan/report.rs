//! The report of a pass or a plan: the JSON that programs read, and the facts behind the text that people read.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Change, Fuse, MaxChanges, Plan, PlanState, Step};
use crate::manifest::{Problem, Warning};
use crate::model::{
    ApiPlace, Cause, Desired, Diagnostic, Digest, Headline, HeldBy, Place, PlanId, Revision, Rollout, RolloutState,
    ServiceKey, Suspend, as_error,
};
use crate::text::words;

/// What one pass did, or what a plan would do.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The API and the account that this is about.
    pub place: ApiPlace,
    /// The snapshot that was read.
    pub revision: Revision,
    /// Whether every service has what its manifest says, and every manifest could be read.
    pub converged: bool,
    /// What people know its commit by, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Headline>,
    /// What was to change when it began.
    pub plan: PlanReport,
    /// In which order they change, where some wait for others: each wave waits for the one before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Vec<ServiceKey>>,
    /// Every service that is desired or known, by name.
    pub services: Vec<ServiceReport>,
    /// Every problem in the folder, by place.
    pub problems: Vec<Problem>,
    /// What is worth a look in the folder, by place; nothing in the report of a pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// What the pass spent.
    pub api: ApiUse,
    /// What carrying out the plan would cost; nothing in the report of a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// A plan in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PlanReport {
    /// Its id; nothing where nothing would change.
    pub id: Option<PlanId>,
    /// How many services would change.
    pub changes: usize,
    /// How many known ones may without an approval; nothing where there is no limit.
    pub limit: Option<MaxChanges>,
    /// Whether it waits for an approval.
    pub state: PlanState,
}

impl PlanReport {
    /// How a plan stands with a fuse.
    #[must_use]
    pub fn of(plan: &Plan, fuse: &Fuse, state: PlanState) -> Self {
        Self { id: plan.id(), changes: plan.changes().len(), limit: fuse.limit(), state }
    }
}

/// One service in a report.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceReport {
    pub service: ServiceKey,
    /// How it ended, or what a plan would do.
    pub outcome: Outcome,
    /// The digest of what is desired; nothing for an orphaned service.
    pub digest: Option<Digest>,
    /// Where the manifest stands; nothing for an orphaned service.
    pub manifest: Option<Place>,
    /// Why an update was due.
    pub cause: Option<Cause>,
    /// What the update changes against what was applied last.
    pub changes: Vec<Change>,
    /// Calls made for it in this pass.
    pub attempts: u32,
    /// The last thing that went wrong.
    #[serde(flatten, serialize_with = "as_error")]
    pub error: Option<Diagnostic>,
    /// Where live was read: fields of which it cannot be told whether live has them, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undecided: Vec<String>,
    /// Where live was read: what an update by this manifest would take away without a word in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What live has that was not applied: from what runs, to what was. It is left as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Change>,
    /// What holds the update that is due.
    #[serde(rename = "heldBy", skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<HeldBy>,
    /// Why and until when a suspended service is left alone, where its manifest says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Suspension>,
    /// A service that is new by its name only: the orphaned one that had its content.
    #[serde(rename = "movedFrom", skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<ServiceKey>,
    /// An orphaned service whose content another one has now.
    #[serde(rename = "movedTo", skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<ServiceKey>,
    /// How far the rollout of what was accepted last is, where that is what is desired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Whether the end of its rollout was awaited.
    #[serde(skip)]
    pub awaited: bool,
}

impl ServiceReport {
    /// Whether the service has what its manifest says, as far as is known, and that runs if it was awaited.
    pub fn is_converged(&self) -> bool {
        let undeployed = self.rollout_failed() || self.is_overtaken() || self.awaited && self.is_rolling();
        self.outcome.is_converged() && self.held_by.is_empty() && self.drift.is_empty() && !undeployed
    }

    /// Whether what it has does not run.
    pub fn rollout_failed(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.state.has_failed())
    }

    /// Whether somebody else deployed something in the place of what it was sent.
    pub fn is_overtaken(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::Superseded)
    }

    /// Whether it is not known yet whether what it has runs.
    pub fn is_rolling(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.state.is_open())
    }
}

/// What a manifest says of a suspension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suspension {
    pub reason: Option<String>,
    /// Until when; it resumes by itself then.
    pub until: Option<Timestamp>,
}

impl Suspension {
    /// What the policy of a manifest says, if it says anything beside that the service is suspended.
    #[must_use]
    pub fn of(desired: &Desired) -> Option<Self> {
        match &desired.policy.suspend {
            Suspend::No | Suspend::Yes { reason: None, until: None } => None,
            Suspend::Yes { reason, until } => {
                Some(Self { reason: reason.as_deref().map(str::to_owned), until: *until })
            }
        }
    }
}

words! {
    /// How a service ended in a pass; the last two are what a plan says instead.
    pub enum Outcome {
        /// The API accepted the update.
        Updated = "updated",
        /// Live had it already: recorded as applied, without an update.
        Adopted = "adopted",
        Unchanged = "unchanged",
        /// Its manifest says to leave it alone.
        Suspended = "suspended",
        /// It was applied once, and no manifest names it now.
        Orphaned = "orphaned",
        /// The update could not be delivered before the deadline.
        Failed = "failed",
        /// The API refused the update; it waits for other content.
        Stalled = "stalled",
        /// The pass ended before its turn came.
        Pending = "pending",
        /// An update is due, and kept back on purpose.
        Held = "held",
        /// Plan: the update would be sent.
        Update = "update",
        /// Plan: live would be read, and the update sent unless live has it.
        ReadLive = "read-live",
    }
}

impl Outcome {
    /// Whether a service that ended so has what its manifest says.
    pub fn is_converged(self) -> bool {
        match self {
            Self::Updated | Self::Adopted | Self::Unchanged | Self::Suspended | Self::Orphaned => true,
            Self::Failed | Self::Stalled | Self::Pending | Self::Held | Self::Update | Self::ReadLive => false,
        }
    }
}

impl From<Step> for Outcome {
    fn from(step: Step) -> Self {
        match step {
            Step::Update(_) => Self::Update,
            Step::ReadLive(_) => Self::ReadLive,
            Step::Held(_) => Self::Held,
            Step::Unchanged => Self::Unchanged,
            Step::Suspended => Self::Suspended,
            Step::Orphaned => Self::Orphaned,
        }
    }
}

/// Calls of the API for services. The question whose the token is, once a start, is not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ApiUse {
    /// Calls that were begun.
    pub calls: u32,
    /// Calls left in the rate limit's window, by the last answer; nothing before the first one.
    pub remaining: Option<u32>,
}

/// What carrying out a plan would cost, beside what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Calls, at most: a service that is read first may need no update.
    pub calls: u32,
    /// Calls left in the rate limit's window, by the newest answer that is known; nothing where none is.
    pub remaining: Option<u32>,
    /// How long until that window resets, in seconds.
    #[serde(rename = "resetsInSeconds", serialize_with = "seconds")]
    pub resets_in: Option<Duration>,
}

fn seconds<S: Serializer>(wait: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    wait.map(|wait| wait.as_secs()).serialize(serializer)
}

impl Report {
    /// Whether there was nothing to look at: no manifest, no problem, no service that had one.
    pub fn is_of_nothing(&self) -> bool {
        self.services.is_empty() && self.problems.is_empty()
    }

    /// A report; whether all converged follows from its parts.
    #[must_use]
    pub fn new(
        place: ApiPlace,
        revision: Revision,
        plan: PlanReport,
        services: Vec<ServiceReport>,
        problems: Vec<Problem>,
        api: ApiUse,
    ) -> Self {
        let converged = problems.is_empty() && services.iter().all(ServiceReport::is_converged);
        Self {
            place,
            commit: revision.headline().cloned(),
            revision,
            plan,
            waves: Vec::new(),
            converged,
            services,
            problems,
            warnings: Vec::new(),
            api,
            cost: None,
        }
    }

    /// Whether nothing is wrong: some updates are held, and a person or a time is awaited.
    pub fn is_only_held(&self) -> bool {
        let is_held = |service: &ServiceReport| !service.held_by.is_empty() && service.error.is_none();
        !self.converged
            && self.problems.is_empty()
            && self.services.iter().all(|service| service.is_converged() || is_held(service))
    }

    /// How many services ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.services.iter().filter(|service| service.outcome == outcome).count()
    }
}
