//! Times in which nothing new is sent: freezes, which people set.
//!
//! Whether a service is closed is a question of the moment alone. So whatever was due while it was closed goes when it
//! opens, in its newest form, without anybody having kept it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::Step;
use crate::model::{HeldBy, HoldKind, ServiceKey};

/// A person's word that nothing new is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Freeze {
    /// For which service; `None`: for all.
    pub service: Option<ServiceKey>,
    /// Why.
    pub reason: Arc<str>,
    /// Who said so.
    pub by: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// Until when; without it until somebody ends it.
    pub until: Option<Timestamp>,
}

impl Freeze {
    /// Whether it holds at a time.
    #[must_use]
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
    /// What people froze.
    pub freezes: Vec<Freeze>,
}

impl Closures {
    /// What keeps a service closed at a time; empty where it is open.
    #[must_use]
    pub fn of(&self, key: &ServiceKey, now: Timestamp) -> Vec<HeldBy> {
        self.freezes.iter().filter(|freeze| freeze.is_of(key) && freeze.holds_at(now)).map(Freeze::hold).collect()
    }

    /// What keeps back what a step would send: reads go on.
    #[must_use]
    pub fn held_by(&self, key: &ServiceKey, step: Step, now: Timestamp) -> Vec<HeldBy> {
        if matches!(step, Step::Update(_)) { self.of(key, now) } else { Vec::new() }
    }

    /// When something opens or closes next, after a time.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.freezes.iter().filter_map(|freeze| freeze.until).filter(|until| *until > now).min()
    }
}
