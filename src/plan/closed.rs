//! Times in which nothing new is sent: freezes, which people set, and windows, which the config file has.
//!
//! Whether a service is closed is a question of the moment alone. So whatever was due while it was closed goes when it
//! opens, in its newest form, without anybody having kept it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::Step;
use super::window::{Windows, WindowsAt};
use crate::model::{Cause, HeldBy, HoldKind, ServiceKey};

/// A person's word that nothing new is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Freeze {
    /// For which service; `None`: for all.
    pub service: Option<ServiceKey>,
    pub reason: Arc<str>,
    pub by: Arc<str>,
    pub at: Timestamp,
    /// Until when; without it until somebody ends it.
    pub until: Option<Timestamp>,
}

impl Freeze {
    /// Whether it holds at a time.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn is_of(&self, key: &ServiceKey) -> bool {
        self.service.as_ref().is_none_or(|service| service == key)
    }

    fn hold(&self) -> HeldBy {
        let target = self.service.as_ref().map_or_else(|| "--all".to_owned(), ToString::to_string);
        let what = format!("frozen by {}: {} (`truenorth thaw {target}` ends it)", self.by, self.reason);
        HeldBy { kind: HoldKind::Freeze, what: what.into(), until: self.until }
    }
}

/// Everything that closes services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closures {
    pub freezes: Vec<Freeze>,
    /// When updates may be sent at all.
    pub windows: Windows,
}

impl Closures {
    /// What closes services at a time.
    pub fn at(&self, now: Timestamp) -> ClosuresAt<'_> {
        ClosuresAt {
            freezes: self.freezes.iter().filter(|freeze| freeze.holds_at(now)).collect(),
            windows: self.windows.at(now),
        }
    }

    /// When something opens or closes next, after a time.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let thaws = self.freezes.iter().filter_map(|freeze| freeze.until).filter(|until| *until > now).min();
        [thaws, self.windows.next_change(now)].into_iter().flatten().min()
    }
}

/// Whether a step waits where its service is closed. Reads go on, but for those that are the first half of a change.
#[must_use]
pub fn may_be_closed(step: Step) -> bool {
    matches!(step, Step::Update(_) | Step::ReadLive(Cause::Changed))
}

/// What keeps a service closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// For updates.
    pub updates: Vec<HeldBy>,
    /// For the return to what ran before.
    pub rollbacks: Vec<HeldBy>,
}

impl Closed {
    /// What of it keeps back an update, or a return to what ran before.
    pub fn to(&self, goes_back: bool) -> &[HeldBy] {
        if goes_back { &self.rollbacks } else { &self.updates }
    }
}

/// What closes services at a moment.
#[derive(Debug)]
pub struct ClosuresAt<'c> {
    freezes: Vec<&'c Freeze>,
    windows: WindowsAt<'c>,
}

impl ClosuresAt<'_> {
    /// What keeps a service closed; empty where it is open.
    pub fn of(&mut self, key: &ServiceKey) -> Closed {
        let frozen = self.freezes.iter().filter(|freeze| freeze.is_of(key)).map(|freeze| freeze.hold());
        let (mut updates, windows): (Vec<HeldBy>, _) = (frozen.collect(), self.windows.closed(key));
        let mut rollbacks = updates.clone();
        updates.extend(windows.updates);
        rollbacks.extend(windows.rollbacks);
        Closed { updates, rollbacks }
    }

    /// What keeps back what a step would send.
    pub fn held_by(&mut self, key: &ServiceKey, step: Step) -> Vec<HeldBy> {
        let goes_back = step == Step::Update(Cause::Rollback);
        if may_be_closed(step) { self.of(key).to(goes_back).to_vec() } else { Vec::new() }
    }
}
