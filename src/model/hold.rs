//! What keeps an update back that is due.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

/// Why an update that is due is not sent: kept back on purpose, until a person acts or a time comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldBy {
    /// What kind of thing holds it.
    pub kind: HoldKind,
    /// What exactly, and the way past it; text from a manifest or the API may be in it.
    pub what: Arc<str>,
    /// Until when, by the wall clock; without it until somebody acts.
    pub until: Option<Timestamp>,
}

/// The kinds of things that hold an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldKind {
    /// It would drop the registry credentials that live uses.
    Credentials,
    /// A service that it depends on is not there yet.
    Dependency,
    /// A person froze it.
    Freeze,
    /// Updates are not sent at this time.
    Window,
    /// The plan that it is part of would change too much, or somebody said no to it.
    Plan,
    /// Each change of the service needs an approval.
    Approval,
    Quarantine,
}

/// All that holds an update, in one line.
#[must_use]
pub fn held_reason(held_by: &[HeldBy]) -> String {
    held_by.iter().map(|held| &*held.what).collect::<Vec<_>>().join("; ")
}

/// When nothing of this holds any more, where that is a time.
#[must_use]
pub fn held_until(held_by: &[HeldBy]) -> Option<Timestamp> {
    let ends: Option<Vec<Timestamp>> = held_by.iter().map(|held| held.until).collect();
    ends?.into_iter().max()
}
