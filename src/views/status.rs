//! Every service, as the ledger and the folder tell it: the page that `status` prints.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use super::state::Finding;
use super::{Look, Observed, Paused, Quota, Recorded, ServiceStatus, who};
use crate::ledger::{HistoryEntry, Holder, ReadError, Reader};
use crate::manifest::Problem;
use crate::model::{Cause, Known, Revision, ServiceKey, ServiceState};
use crate::plan::{ApiUse, Freeze, Step, Suspension};

/// The JSON of the daemon's `/status`, and what only the ledger knows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Page {
    pub(crate) version: &'static str,
    /// There is no daemon behind this.
    pub(crate) since: Option<Timestamp>,
    /// When the states were decided, where no daemon runs that would decide them anew.
    pub(crate) as_of: Option<Timestamp>,
    pub(crate) revision: Option<Revision>,
    pub(crate) converged: bool,
    pub(crate) look: Look,
    pub(crate) paused: Option<Paused>,
    /// What people froze.
    pub(crate) freezes: Vec<Freeze>,
    pub(crate) services: Vec<Service>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) api: ApiUse,
    /// What the rate limit leaves, by the newest answer that the ledger has.
    pub(crate) quota: Option<Quota>,
    pub(crate) holder: Option<Holder>,
}

/// One service.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Service {
    #[serde(flatten)]
    pub(crate) status: ServiceStatus,
    /// The snapshot that asked for what was accepted last.
    pub(crate) applied_revision: Option<String>,
    /// When that was accepted.
    pub(crate) applied_at: Option<Timestamp>,
    /// When the last attempt at the present content failed.
    pub(crate) failed_at: Option<Timestamp>,
    /// Why an update is due, where one is.
    pub(crate) cause: Option<Cause>,
}

impl Page {
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) fn read(observed: Observed<'_>, ledger: Option<&Reader>, now: Timestamp) -> Result<Self, ReadError> {
        let recorded = Recorded::read(ledger, now)?;
        let snapshot = observed.snapshot;
        let unread = snapshot.claimed().chain(observed.unproven.keys());
        let mut keys: Vec<&ServiceKey> = observed.steps.keys().chain(unread).collect();
        keys.sort_unstable();
        keys.dedup();
        let is_due = observed.steps.values().any(|step| step.cause().is_some());
        let newest = match ledger.filter(|_| is_due) {
            Some(ledger) => ledger.newest()?,
            None => HashMap::new(),
        };
        let services: Vec<Service> =
            keys.into_iter().map(|key| Service::of(key, observed, &recorded, newest.get(key))).collect();
        let converged =
            snapshot.problems.is_empty() && services.iter().all(|service| service.status.state.is_converged());
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            since: None,
            as_of: recorded.as_of(),
            revision: Some(snapshot.revision.clone()),
            converged,
            look: Look { succeeded: Some(now), age_seconds: Some(0.0), error: None, watching: who(recorded.holder) },
            paused: recorded.paused(),
            freezes: recorded.freezes.clone(),
            services,
            problems: snapshot.problems.clone(),
            api: ApiUse::default(),
            quota: recorded.quota,
            holder: recorded.holder,
        })
    }
}

impl Service {
    /// By the newest entry of its history.
    fn of(key: &ServiceKey, observed: Observed<'_>, recorded: &Recorded, newest: Option<&HistoryEntry>) -> Self {
        let step = observed.steps.get(key).copied();
        let desired = observed.snapshot.desired.get(key);
        let known = observed.known.get(key);
        let found = Finding::of(key, observed, recorded);
        let cause = step.and_then(Step::cause);
        // What was said of other content says nothing of this.
        let failed = newest
            .filter(|newest| cause.is_some() && desired.is_some_and(|desired| desired.digest == newest.digest))
            .filter(|newest| !newest.end.is_good());
        let waits = !found.state.is_converged();
        let drift = recorded.drift(key, known, found.left_alone_until());
        let mark = recorded.marks.get(key);
        let status = ServiceStatus {
            service: key.clone(),
            state: found.state,
            desired: desired.map(|desired| desired.digest),
            applied: known.and_then(Known::digest),
            manifest: desired.map(|desired| desired.place.clone()),
            attempts: found.attempts,
            since: found.since.filter(|_| found.state == ServiceState::InFlight),
            next_attempt: found.until.filter(|_| waits),
            error: found.reason.filter(|_| waits),
            drift,
            suspension: desired.filter(|_| found.state == ServiceState::Suspended).and_then(Suspension::of),
            rollout: recorded.rollouts.get(key).cloned(),
        };
        Self {
            status,
            applied_revision: mark.map(|mark| mark.revision.clone()),
            applied_at: mark.map(|mark| mark.at),
            failed_at: failed.and_then(|failed| failed.end.at()),
            cause,
        }
    }
}
