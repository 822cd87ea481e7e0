//! What is known of one service, gathered from one look at the folder and the ledger.

use jiff::Timestamp;
use serde_json::Value;

use super::super::attempt::Attempt;
use super::super::live::Lately;
use super::super::status::Holding;
use crate::daemon::Observation;
use crate::ledger::{AppliedRecord, HistoryEntry, Pause, ReadError, Reader};
use crate::manifest::Problem;
use crate::model::{Desired, Digest, DriftMode, Known, Place, ServiceKey};
use crate::plan::{self, Change, Step, Suspension};
use crate::status::Drift;
use crate::text::command::Commands;

/// How far back it is looked for what was accepted before the last call: all that the ledger keeps of a service.
const LOOKED_BACK: u32 = 256;

/// What is known of one service.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) now: Timestamp,
    pub(super) service: ServiceKey,
    /// The snapshot that the folder has.
    pub(super) revision: String,
    /// Nothing where no valid manifest names it.
    pub(super) desired: Option<Wanted>,
    /// What was accepted last.
    pub(super) applied: Option<AppliedRecord>,
    pub(super) in_doubt: bool,
    /// How live compares with what was applied, where it was read since.
    pub(super) drift: Option<Drift>,
    /// When the newest read for drift failed, if it did.
    pub(super) unread_at: Option<Timestamp>,
    /// Until when what is due waits for the rate limit's next window, because the rest of this one is kept for changes.
    pub(super) waits_until: Option<Timestamp>,
    /// What the desired content changes against what was accepted last.
    pub(super) changes: Vec<Change>,
    pub(super) last: Option<Last>,
    /// What a pass would do; nothing where a problem hides that.
    pub(super) step: Option<Step>,
    /// While it holds.
    pub(super) pause: Option<Pause>,
    pub(super) holder: Option<Holding>,
    /// What keeps its manifest from being read.
    pub(super) problems: Vec<Problem>,
}

/// What its manifest says.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) place: Place,
    pub(super) digest: Digest,
    /// What its manifest says of its suspension, while that holds.
    pub(super) suspension: Option<Suspension>,
    /// What its manifest says becomes of drift, where it says that.
    pub(super) drift: Option<DriftMode>,
}

/// The newest entry of its history.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) call: Attempt,
    /// What it was to change, against what had been accepted before it.
    pub(super) changes: Vec<Change>,
}

impl Facts {
    pub(super) fn gather(
        service: ServiceKey,
        observation: &Observation,
        ledger: Option<&Reader>,
        commands: Commands,
        now: Timestamp,
    ) -> Result<Self, ReadError> {
        let holder = Holding::of(ledger)?;
        let (applied, history, pause) = match ledger {
            Some(ledger) => (ledger.applied(&service)?, ledger.history(Some(&service), LOOKED_BACK)?, ledger.pause()?),
            None => (None, Vec::new(), None),
        };
        let lately = Lately::of(ledger, now)?;
        let desired = observation.snapshot.desired.get(&service);
        let (known, digest) = (observation.known.get(&service), desired.map(|desired| desired.digest));
        let step = observation.steps.get(&service).copied();
        let last_file = applied.as_ref().map(|applied| &*applied.place.file);
        let problems = match desired {
            // Problems beside a valid manifest are those of others.
            Some(_) => Vec::new(),
            None => observation.snapshot.problems_of(&service, last_file).cloned().collect(),
        };
        Ok(Self {
            now,
            revision: observation.snapshot.revision.to_string(),
            desired: desired.map(|desired| wanted(desired, step)),
            in_doubt: known.is_some_and(|known| matches!(known, Known::InDoubt)),
            drift: lately.drift(&service, known, digest),
            unread_at: lately.failed_at(&service),
            // A single pass keeps nothing back for later changes: only who has the ledger open is known to wait.
            waits_until: holder.and(step).and_then(|step| lately.waits_until(step)),
            changes: desired.map(|desired| to_send(applied.as_ref(), desired, commands)).unwrap_or_default(),
            last: last(history, holder.is_some(), commands),
            applied,
            step,
            pause: pause.filter(|pause| pause.until > now),
            holder,
            problems,
            service,
        })
    }
}

fn wanted(desired: &Desired, step: Option<Step>) -> Wanted {
    let suspension = match step {
        Some(Step::Suspended) => Suspension::of(desired),
        _ => None,
    };
    Wanted { place: desired.place.clone(), digest: desired.digest, suspension, drift: desired.policy.drift }
}

fn to_send(applied: Option<&AppliedRecord>, desired: &Desired, commands: Commands) -> Vec<Change> {
    plan::changes(applied.and_then(|applied| body(applied.spec.as_deref())).as_ref(), &desired.update, commands)
}

fn last(history: Vec<HistoryEntry>, held: bool, commands: Commands) -> Option<Last> {
    let mut entries = history.into_iter();
    let newest = entries.next()?;
    let sent = body(newest.spec.as_deref());
    let before = entries
        .find(|entry| Attempt::new(entry.clone(), held).outcome.is_good())
        .and_then(|entry| body(entry.spec.as_deref()));
    let changes = sent.map(|sent| plan::changes_between(before.as_ref(), &sent, commands)).unwrap_or_default();
    Some(Last { call: Attempt::new(newest, held), changes })
}

/// A body as the ledger keeps it. One that cannot be read is treated as none.
fn body(spec: Option<&str>) -> Option<Value> {
    serde_json::from_str(spec?).ok()
}
