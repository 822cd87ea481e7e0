//! Planning: desired × applied to steps, what each step would change, and desired × live field by field. Pure: no I/O,
//! clock, randomness or async.

mod changes;
mod compare;
mod image;
mod report;
mod text;

use std::collections::{BTreeMap, HashMap};

pub use changes::{Change, changes};
pub use compare::{Comparison, FieldVerdict, Verdict, compare};
pub use report::{ApiUse, Outcome, Report, ServiceReport};
pub use text::{counted, printable, render};

use crate::model::{Cause, Desired, Known, ServiceKey, Suspend};

/// What is to be done for one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the desired update.
    Update(Cause),
    /// Nothing: what is desired was accepted last.
    Unchanged,
    /// Nothing: its manifest says so.
    Suspended,
    /// Nothing: it was applied once, and no manifest names it now. Absence never causes a call.
    Orphaned,
}

/// Decides on one service. `None` where nothing is desired and nothing is known.
#[must_use]
pub fn step(desired: Option<&Desired>, known: Option<&Known>) -> Option<Step> {
    Some(match (desired, known) {
        (None, None) => return None,
        (None, Some(_)) => Step::Orphaned,
        (Some(desired), _) if desired.policy.suspend != Suspend::No => Step::Suspended,
        (Some(_), None) => Step::Update(Cause::New),
        (Some(_), Some(Known::InDoubt)) => Step::Update(Cause::InDoubt),
        (Some(desired), Some(Known::Applied(applied))) if desired.digest == applied.digest => Step::Unchanged,
        (Some(_), Some(Known::Applied(_))) => Step::Update(Cause::Changed),
    })
}

/// Decides on every service that is desired or known, in the order of their names.
#[must_use]
pub fn plan(desired: &BTreeMap<ServiceKey, Desired>, known: &HashMap<ServiceKey, Known>) -> BTreeMap<ServiceKey, Step> {
    let absent = known.keys().filter(|key| !desired.contains_key(*key));
    desired
        .keys()
        .chain(absent)
        .filter_map(|key| Some((key.clone(), step(desired.get(key), known.get(key))?)))
        .collect()
}

#[cfg(test)]
mod tests;
