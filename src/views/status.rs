//! Every service, as the ledger and the folder tell it: the page that `status` prints.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::calls::body;
use super::state::Finding;
use super::{Drift, Look, Observed, Paused, Quota, Recorded, ServiceStatus, Untaken, who};
use crate::ledger::{HistoryEntry, Holder, ReadError, Reader};
use crate::manifest::Problem;
use crate::model::{BuildSha, Cause, DeploymentUpdate, Desired, Headline, Known, Revision, ServiceKey, ServiceState};
use crate::plan::{ApiUse, Freeze, Step, Suspension};
use crate::source::Allowed;

/// The JSON of the daemon's `/status`, and what only the ledger knows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Page {
    pub(crate) version: &'static str,
    /// There is no daemon behind this.
    pub(crate) since: Option<Timestamp>,
    /// As of when everything here is, where no daemon runs that would know something newer.
    pub(crate) as_of: Option<Timestamp>,
    pub(crate) revision: Option<Revision>,
    pub(crate) converged: bool,
    pub(crate) look: Look,
    pub(crate) paused: Option<Paused>,
    /// What people froze.
    pub(crate) freezes: Vec<Freeze>,
    #[serde(flatten)]
    pub(crate) untaken: Untaken,
    pub(crate) services: Vec<Service>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) api: ApiUse,
    /// What the rate limit leaves, by the newest answer that the ledger has.
    pub(crate) quota: Option<Quota>,
    pub(crate) holder: Option<Holder>,
    pub(crate) ledger: LedgerPlace,
    /// Whether the folder has nothing that is or could be a manifest.
    #[serde(skip)]
    pub(crate) is_empty: bool,
}

/// Where the ledger is, or was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LedgerPlace {
    pub(crate) path: PathBuf,
    /// Where there is none, nothing is known of any service.
    pub(crate) exists: bool,
}

/// Which services are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Those that one of these covers; all where there is none.
    pub(crate) patterns: Vec<Allowed>,
    /// Those in one of these states; in any where there is none.
    pub(crate) states: Vec<ServiceState>,
}

impl Selection {
    /// Whether nothing is left out.
    pub(crate) fn is_all(&self) -> bool {
        self.patterns.is_empty() && self.states.is_empty()
    }
}

/// What a service deploys, in a word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Versions {
    /// By its manifest: an image, or a build.
    pub(crate) desired: Option<String>,
    /// The image that it has, where that is known and another one.
    pub(crate) live: Option<String>,
}

/// One service.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Service {
    #[serde(flatten)]
    pub(crate) status: ServiceStatus,
    /// The snapshot that asked for what was accepted last.
    pub(crate) applied_revision: Option<String>,
    /// What people know its commit by.
    pub(crate) applied_commit: Option<Headline>,
    /// When that was accepted.
    pub(crate) applied_at: Option<Timestamp>,
    /// When the last attempt at the present content failed.
    pub(crate) failed_at: Option<Timestamp>,
    /// Why an update is due, where one is.
    pub(crate) cause: Option<Cause>,
    pub(crate) image: Versions,
}

impl Page {
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) fn read(
        observed: Observed<'_>,
        (state_dir, ledger): (&Path, Option<&Reader>),
        now: Timestamp,
    ) -> Result<Self, ReadError> {
        let recorded = Recorded::read(ledger, now)?;
        let snapshot = observed.snapshot;
        let unread = snapshot.claimed().chain(observed.unproven.keys());
        let mut keys: Vec<&ServiceKey> = observed.steps.keys().chain(unread).collect();
        keys.sort_unstable();
        keys.dedup();
        let is_due = observed.steps.values().any(|step| step.cause().is_some());
        let (newest, specs) = match ledger.filter(|_| is_due) {
            Some(ledger) => (ledger.newest()?, ledger.specs()?),
            None => (HashMap::new(), HashMap::new()),
        };
        let service = |key| Service::of(key, observed, &recorded, (newest.get(key), specs.get(key)));
        // Without a ledger nobody knows what was applied.
        let services: Vec<Service> = keys.into_iter().filter(|_| ledger.is_some()).map(service).collect();
        let converged = ledger.is_some()
            && snapshot.problems.is_empty()
            && services.iter().all(|service| service.status.state.is_converged());
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            since: None,
            as_of: recorded.as_of().map(|as_of| services.iter().filter_map(|one| one.failed_at).fold(as_of, Ord::max)),
            revision: Some(snapshot.revision.clone()),
            converged,
            look: Look { succeeded: Some(now), age_seconds: Some(0.0), error: None, watching: who(recorded.holder) },
            paused: recorded.paused(),
            freezes: recorded.freezes.clone(),
            untaken: recorded.untaken.clone().of_what_is_due(observed),
            services,
            problems: snapshot.problems.clone(),
            api: ApiUse::default(),
            quota: recorded.quota,
            holder: recorded.holder,
            is_empty: snapshot.desired.is_empty() && snapshot.problems.is_empty(),
            ledger: LedgerPlace { path: state_dir.to_owned(), exists: ledger.is_some() },
        })
    }

    /// Leaves out what was not asked for: then only the services that are shown say whether all is converged.
    pub(crate) fn select(&mut self, selection: &Selection) {
        let Selection { patterns, states } = selection;
        if selection.is_all() {
            return;
        }
        self.services.retain(|Service { status, .. }| {
            let is_named = patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(&status.service));
            is_named && (states.is_empty() || states.contains(&status.state))
        });
        let mut states = self.services.iter().map(|service| service.status.state);
        self.converged = self.ledger.exists && states.all(ServiceState::is_converged);
        self.problems.clear();
    }

    /// Whether everything that is not converged is held: a person or a time is awaited.
    pub(crate) fn is_held(&self) -> bool {
        let mut open = self.services.iter().map(|service| service.status.state).filter(|state| !state.is_converged());
        self.ledger.exists
            && !self.converged
            && self.problems.is_empty()
            && open.all(|state| matches!(state, ServiceState::Held | ServiceState::RolledBack))
    }
}

impl Service {
    /// By the newest entry of its history, and the body that was applied last.
    fn of(
        key: &ServiceKey,
        observed: Observed<'_>,
        recorded: &Recorded,
        (newest, applied): (Option<&HistoryEntry>, Option<&String>),
    ) -> Self {
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
            image: Versions::of(desired, applied, status.drift.as_ref()),
            status,
            applied_revision: mark.map(|mark| mark.revision.clone()),
            applied_commit: mark.and_then(|mark| mark.headline.clone()),
            applied_at: mark.map(|mark| mark.at),
            failed_at: failed.and_then(|failed| failed.end.at()),
            cause,
        }
    }
}

/// The field that names the image.
pub(crate) const IMAGE: &str = "external.imagePath";

impl Versions {
    /// From the manifest, the body that was applied last where another one is due, and what live showed.
    fn of(desired: Option<&Desired>, applied: Option<&String>, drift: Option<&Drift>) -> Self {
        let desired = desired.and_then(|desired| deploys(&desired.update));
        let image_of = |spec: &String| Some(body(Some(spec))?.pointer("/external/imagePath")?.as_str()?.to_owned());
        let seen = drift.and_then(|drift| drift.differences.iter().find(|change| change.path == IMAGE)?.from.clone());
        let live = seen.or_else(|| applied.and_then(image_of)).filter(|live| Some(live) != desired.as_ref());
        Self { desired, live }
    }
}

/// The image, or the build and which of its versions; nothing where only the way to start is set.
fn deploys(update: &DeploymentUpdate) -> Option<String> {
    match update {
        DeploymentUpdate::External { external, .. } => Some(external.image_path.as_str().to_owned()),
        DeploymentUpdate::Internal { internal, .. } => {
            let sha = internal.build_sha.as_ref().map(BuildSha::as_str);
            let version = internal.build_id.as_deref().or(sha).or(internal.branch.as_deref());
            let id = internal.id.as_str();
            Some(version.map_or_else(|| id.to_owned(), |version| format!("{id}@{version}")))
        }
        DeploymentUpdate::Runtime(_) => None,
    }
}
