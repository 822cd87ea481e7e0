//! Planning: desired × applied × live to steps, and what each step would change. Pure: no I/O, clock, randomness or
//! async; the time comes in.

mod changes;
mod closed;
mod compare;
mod content;
mod fuse;
mod hold;
mod image;
mod listed;
mod moved;
mod report;
mod seen;
mod text;
mod waves;
mod window;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

pub use changes::{Change, changed_paths, changes, changes_between};
pub use closed::{Closed, Closures, ClosuresAt, Freeze, may_be_closed};
pub(crate) use compare::CREDENTIALS;
pub use compare::{Comparison, FieldVerdict, UnnamedCredentials, Verdict, compare};
pub use content::{Plan, PlannedChange};
pub use fuse::{Case, Denied, Fuse, InvalidMaxChanges, LetOut, MaxChanges, PlanState, Ruling};
pub use hold::{awaits, failed_before, held_by, may_drop_credentials, quarantined, released};
pub(crate) use image::{knows_registry, written_image};
pub use listed::contradicts;
pub use moved::{Named, moved};
pub use report::{ApiUse, Cost, Outcome, PlanReport, Report, ServiceReport, Suspension};
pub use seen::{Reading, Seen};
pub use text::{render, to_send};
pub use waves::waves;
pub use window::{ChangeWindow, ClosedBy, Rollbacks, ServicePattern, Span, WindowEffect, Windows, WindowsAt};

use crate::model::{Applied, Cause, Desired, DriftMode, Known, ServiceKey};
use crate::text::words;

/// What is to be done for one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read what runs: it may be what is desired already. If not, the update is sent, for this cause.
    ReadLive(Cause),
    /// Send the desired update.
    Update(Cause),
    /// Nothing for now: an update is due for this cause, and kept back on purpose.
    Held(Cause),
    /// Nothing: what is desired was accepted last.
    Unchanged,
    /// Nothing: its manifest says so.
    Suspended,
    /// Nothing: it was applied once, and no manifest names it now. Absence never causes a call.
    Orphaned,
}

impl Step {
    /// Why something is to be done, or would be if nothing held it; nothing where nothing is.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::ReadLive(cause) | Self::Update(cause) | Self::Held(cause) => Some(cause),
            Self::Unchanged | Self::Suspended | Self::Orphaned => None,
        }
    }
}

/// What is done where a manifest alone does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How a service begins of which nothing is known.
    pub adopt: Adopt,
    /// What becomes of drift, unless a service's policy says otherwise.
    pub drift: DriftMode,
}

words! {
    /// How a service begins of which nothing is known: no record of it is in the ledger.
    pub enum Adopt {
        /// It is read, and recorded as applied where it runs what is desired.
        ReadFirst = "read-first",
        /// The update is sent without reading.
        SendFirst = "send-first",
    }
}

impl Default for Rules {
    /// Read first; report drift.
    fn default() -> Self {
        Self { adopt: Adopt::ReadFirst, drift: DriftMode::Report }
    }
}

impl Rules {
    /// What becomes of the drift of a service.
    pub fn drift_of(&self, desired: &Desired) -> DriftMode {
        desired.policy.drift.unwrap_or(self.drift)
    }
}

/// Decides on one service. `seen` is what the newest read of live showed, as long as nothing was sent since. `None`
/// where nothing is desired and nothing is known.
#[must_use]
pub fn step(
    desired: Option<&Desired>,
    known: Option<&Known>,
    seen: Option<&Seen>,
    rules: &Rules,
    now: Timestamp,
) -> Option<Step> {
    let Some(desired) = desired else { return known.map(|_| Step::Orphaned) };
    if desired.policy.suspend.holds(now) {
        return Some(Step::Suspended);
    }
    // Live was compared with what is desired now, and does not have it, or cannot be told to.
    let read = seen.is_some_and(|seen| seen.compared == desired.digest);
    let after_reading = |cause| if read { Step::Update(cause) } else { Step::ReadLive(cause) };
    Some(match known {
        None if rules.adopt == Adopt::SendFirst => Step::Update(Cause::New),
        None => after_reading(Cause::New),
        Some(Known::InDoubt) => after_reading(Cause::InDoubt),
        Some(Known::Applied(Applied { digest, unverified: true })) if *digest == desired.digest => {
            after_reading(Cause::InDoubt)
        }
        Some(Known::Applied(applied) | Known::Suspect(applied)) if applied.digest == desired.digest => {
            let drifted = seen.is_some_and(|seen| seen.has_drifted_from(applied.digest));
            match rules.drift_of(desired) {
                DriftMode::Correct if drifted => Step::Update(Cause::Drifted),
                DriftMode::Correct | DriftMode::Report | DriftMode::Off => Step::Unchanged,
            }
        }
        Some(Known::Suspect(_)) => after_reading(Cause::Changed),
        // Whoever changed the service by hand may have written down now what runs already.
        Some(Known::Applied(applied)) if seen.is_some_and(|seen| seen.shows_drift_from(applied.digest)) => {
            after_reading(Cause::Changed)
        }
        Some(Known::Applied(_)) => Step::Update(Cause::Changed),
    })
}

/// Decides on every service that is desired or known, in the order of their names.
#[must_use]
pub fn plan(
    desired: &BTreeMap<ServiceKey, Desired>,
    known: &HashMap<ServiceKey, Known>,
    seen: &HashMap<ServiceKey, Seen>,
    rules: &Rules,
    now: Timestamp,
) -> BTreeMap<ServiceKey, Step> {
    let step = |key: &ServiceKey, desired, known| Some((key.clone(), step(desired, known, seen.get(key), rules, now)?));
    let mut met = 0;
    let mut steps: Vec<_> = Vec::with_capacity(desired.len());
    for (key, desired) in desired {
        let known = known.get(key);
        met += usize::from(known.is_some());
        steps.extend(step(key, Some(desired), known));
    }
    // As a rule there are none, and looking for them is half of the work.
    if met < known.len() {
        let absent = known.iter().filter(|(key, _)| !desired.contains_key(*key));
        steps.extend(absent.filter_map(|(key, known)| step(key, None, Some(known))));
    }
    steps.into_iter().collect()
}

#[cfg(test)]
mod tests;
