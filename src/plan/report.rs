//! The report of a pass or a plan: the JSON that programs read, and the facts behind the text that people read.

use serde::{Serialize, Serializer};

use super::{Change, Step};
use crate::manifest::Problem;
use crate::model::{Cause, Digest, Place, Revision, ServiceKey};

/// What one pass did, or what a plan would do.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The snapshot that was read.
    pub revision: Revision,
    /// Whether every service has what its manifest says, and every manifest could be read.
    pub converged: bool,
    /// Every service that is desired or known, by name.
    pub services: Vec<ServiceReport>,
    /// Every problem in the folder, by place.
    pub problems: Vec<Problem>,
    /// What the pass spent.
    pub api: ApiUse,
}

/// One service in a report.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceReport {
    /// Which service.
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
    pub error: Option<String>,
}

/// How a service ended in a pass; the last two are what a plan says instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The API accepted the update.
    Updated,
    /// Nothing was due.
    Unchanged,
    /// Its manifest says to leave it alone.
    Suspended,
    /// It was applied once, and no manifest names it now.
    Orphaned,
    /// The update could not be delivered before the deadline.
    Failed,
    /// The API refused the update; it waits for other content.
    Stalled,
    /// The pass ended before its turn came.
    Pending,
    /// Plan: the update would be sent.
    Update,
}

impl Outcome {
    /// The word in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Suspended => "suspended",
            Self::Orphaned => "orphaned",
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::Pending => "pending",
            Self::Update => "update",
        }
    }

    /// Whether a service that ended so has what its manifest says.
    #[must_use]
    pub fn is_converged(self) -> bool {
        match self {
            Self::Updated | Self::Unchanged | Self::Suspended | Self::Orphaned => true,
            Self::Failed | Self::Stalled | Self::Pending | Self::Update => false,
        }
    }
}

impl From<Step> for Outcome {
    fn from(step: Step) -> Self {
        match step {
            Step::Update(_) => Self::Update,
            Step::Unchanged => Self::Unchanged,
            Step::Suspended => Self::Suspended,
            Step::Orphaned => Self::Orphaned,
        }
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Calls of the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ApiUse {
    /// Calls that were begun.
    pub calls: u32,
    /// Calls left in the rate limit's window, by the last answer; nothing before the first one.
    pub remaining: Option<u32>,
}

impl Report {
    /// A report; whether all converged follows from its parts.
    #[must_use]
    pub fn new(revision: Revision, services: Vec<ServiceReport>, problems: Vec<Problem>, api: ApiUse) -> Self {
        let converged = problems.is_empty() && services.iter().all(|service| service.outcome.is_converged());
        Self { revision, converged, services, problems, api }
    }

    /// How many services ended so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.services.iter().filter(|service| service.outcome == outcome).count()
    }
}
