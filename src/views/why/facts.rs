//! What is known of one service, gathered from one look at the folder and the ledger.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::super::calls::body;
use super::super::state::Finding;
use super::super::{Attempt, Drift, LedgerPlace, Observed, Recorded, Untaken};
use crate::ledger::{AppliedRecord, Holder, ReadError, Reader, Turned};
use crate::manifest::Problem;
use crate::model::{
    Desired, Diagnostic, Digest, DriftMode, HeldBy, Known, Place, Rollout, ServiceKey, ServiceState, Stranger, as_error,
};
use crate::plan::{self, Change, Rules, Step, Suspension};
use crate::text::command::Commands;

/// What is known of one service.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) now: Timestamp,
    pub(crate) service: ServiceKey,
    /// The snapshot that the folder has.
    pub(crate) revision: String,
    /// Nothing where no valid manifest names it.
    pub(crate) desired: Option<Wanted>,
    /// What was accepted last.
    pub(crate) applied: Option<AppliedRecord>,
    pub(crate) in_doubt: bool,
    /// How live compares with what was applied, where it was read since.
    pub(crate) drift: Option<Drift>,
    /// When the newest read for drift failed, if it did.
    pub(crate) unread_at: Option<Timestamp>,
    /// How far the rollout of what was accepted last is.
    pub(crate) rollout: Option<Rollout>,
    /// Who else was seen to change it, with nothing sent since.
    pub(crate) stranger: Option<Stranger>,
    /// What the desired content changes against what was accepted last.
    pub(crate) changes: Vec<Change>,
    /// The newest entry of its history.
    pub(crate) last: Option<Attempt>,
    /// What a pass would do; nothing where a problem hides that.
    pub(crate) step: Option<Step>,
    /// What people asked for and decided about it that nobody has taken up.
    pub(crate) untaken: Untaken,
    /// When the rollout of what is due failed the last time that it was sent.
    pub(crate) failed_before: Option<Timestamp>,
    /// What holds the update that is due, as far as the folder and the ledger tell.
    pub(crate) held_by: Vec<HeldBy>,
    /// In which state it is.
    pub(crate) found: Finding,
    /// By which rules that was decided; nothing where nobody decided yet.
    pub(crate) rules: Option<Rules>,
    /// Until when a request may still take effect whose end is not known.
    pub(crate) unsettled_until: Option<Timestamp>,
    /// Since when updates go out as PATCH, and why.
    pub(crate) turned: Option<Turned>,
    pub(crate) holder: Option<Holder>,
    /// As of when everything here is, where nobody runs who would know something newer.
    pub(crate) as_of: Option<Timestamp>,
    /// What keeps its manifest from being read.
    pub(crate) problems: Vec<Problem>,
    pub(crate) ledger: LedgerPlace,
    /// What was read of live just now, where that was asked for.
    pub(crate) live: Option<LiveNow>,
}

/// How live compares with the manifest at this moment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LiveNow {
    pub(crate) read_at: Timestamp,
    /// From what runs, to what the manifest says.
    pub(crate) differences: Vec<Change>,
    /// Fields of which it cannot be told whether live has them, each with the reason.
    pub(crate) undecided: Vec<String>,
    /// Why it could not be read.
    #[serde(flatten, serialize_with = "as_error")]
    pub(crate) error: Option<Diagnostic>,
}

/// What its manifest says.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) place: Place,
    pub(crate) digest: Digest,
    /// What its manifest says of its suspension, while that holds.
    pub(crate) suspension: Option<Suspension>,
    /// What its manifest says becomes of drift, where it says that.
    pub(crate) drift: Option<DriftMode>,
}

impl Facts {
    /// Takes what was read of live just now. What is known of the past yields to it.
    pub(crate) fn see(&mut self, live: LiveNow) {
        if live.error.is_none() && !live.differences.is_empty() && self.found.state == ServiceState::Unchanged {
            self.found = Finding::from(ServiceState::Drifted);
            self.drift = Some(Drift {
                read_at: Some(live.read_at),
                differences: live.differences.clone(),
                undecided: live.undecided.clone(),
                left_alone_until: None,
                error: None,
            });
        }
        self.live = Some(live);
    }

    pub(crate) fn gather(
        service: ServiceKey,
        observed: Observed<'_>,
        (state_dir, ledger): (&Path, Option<&Reader>),
        commands: Commands,
        now: Timestamp,
    ) -> Result<Self, ReadError> {
        let recorded = Recorded::read(ledger, now)?;
        let (applied, newest) = match ledger {
            Some(ledger) => (ledger.applied(&service)?, ledger.history(Some(&service), 1)?.pop()),
            None => (None, None),
        };
        let newest_end = newest.as_ref().map(|entry| entry.end.at().unwrap_or(entry.began));
        let snapshot = observed.snapshot;
        let desired = snapshot.desired.get(&service);
        let known = observed.known.get(&service);
        let step = observed.steps.get(&service).copied();
        let found = Finding::of(&service, observed, &recorded);
        let last_file = applied.as_ref().map(|applied| &*applied.place.file);
        let problems = match desired {
            // Problems beside a valid manifest are those of others.
            Some(_) => Vec::new(),
            None => snapshot.problems_of(&service, last_file).cloned().collect(),
        };
        Ok(Self {
            now,
            revision: snapshot.revision.to_string(),
            desired: desired.map(|desired| wanted(desired, found.state)),
            in_doubt: known.is_some_and(|known| matches!(known, Known::InDoubt)),
            drift: recorded.drift(&service, known, found.left_alone_until()),
            unread_at: recorded.failed_at(&service),
            rollout: recorded.rollouts.get(&service).cloned(),
            stranger: ledger.map(|ledger| ledger.stranger(&service)).transpose()?.flatten(),
            changes: desired.map(|desired| to_send(applied.as_ref(), desired, commands)).unwrap_or_default(),
            last: newest.map(|entry| Attempt::new(entry, recorded.holder.is_some(), commands)),
            applied,
            step,
            untaken: recorded.untaken.of(&service, desired.map(|desired| desired.digest)),
            failed_before: observed.failed_before.get(&service).copied(),
            held_by: observed.held.get(&service).cloned().unwrap_or_default(),
            found,
            rules: recorded.decider().map(|decider| decider.rules),
            unsettled_until: recorded.unsettled(&service).map(|unsettled| unsettled.until).max(),
            as_of: recorded.as_of().map(|as_of| newest_end.map_or(as_of, |end| end.max(as_of))),
            holder: recorded.holder,
            turned: recorded.turned,
            problems,
            ledger: LedgerPlace { path: state_dir.to_owned(), exists: ledger.is_some() },
            live: None,
            service,
        })
    }
}

impl Facts {
    /// Whether the ledger could say in which state it is; what the manifest alone says needs none.
    pub(crate) fn is_known(&self) -> bool {
        self.ledger.exists || matches!(self.found.state, ServiceState::Invalid | ServiceState::Suspended)
    }
}

fn wanted(desired: &Desired, state: ServiceState) -> Wanted {
    let suspension = Suspension::of(desired).filter(|_| state == ServiceState::Suspended);
    Wanted { place: desired.place.clone(), digest: desired.digest, suspension, drift: desired.policy.drift }
}

fn to_send(applied: Option<&AppliedRecord>, desired: &Desired, commands: Commands) -> Vec<Change> {
    plan::changes(applied.and_then(|applied| body(applied.spec.as_deref())).as_ref(), &desired.update, commands)
}
