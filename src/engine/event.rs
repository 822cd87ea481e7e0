//! What happened, as values: whoever tells people listens to these, and compares nothing by itself.

use std::sync::Arc;

use jiff::Timestamp;

use super::gate::{Block, Gate};
use super::quota::SAME_WINDOW;
use super::service::{Effect, Service};
use crate::model::{Diagnostic, HeldBy, HoldKind, OvertakenBy, Rollout, RolloutState, ServiceKey};
use crate::plan::Change;

/// Something that people are told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A service runs something else than what was applied; or something else again.
    Drifted {
        /// Which service.
        key: ServiceKey,
        /// In which fields.
        differences: Arc<[Change]>,
        /// Until when that is left alone, where each correction was undone.
        flaps_until: Option<Timestamp>,
    },
    /// A read shows that it runs what was applied.
    DriftGone {
        /// Which service.
        key: ServiceKey,
    },
    /// An update is due, and held; or something else holds it.
    Held {
        /// Which service.
        key: ServiceKey,
        /// What holds it, and the way past it.
        held_by: Vec<HeldBy>,
    },
    /// A whole plan is held.
    PlanHeld {
        /// Why, and the way past it.
        what: String,
    },
    /// A part of what the API accepted is not in effect.
    NotInEffect {
        /// Which service.
        key: ServiceKey,
        /// Which fields.
        differences: Arc<[Change]>,
        /// Whether that part is sent once more, alone.
        sends: bool,
    },
    /// A service cannot be read for drift.
    Unread {
        /// Which service.
        key: ServiceKey,
        /// Why not.
        error: Diagnostic,
    },
    /// It can be read again.
    ReadAgain {
        /// Which service.
        key: ServiceKey,
    },
    /// All calls wait, and one at a time finds out whether the cause is gone.
    Blocked {
        /// For what.
        block: Block,
        /// What went wrong.
        reason: Diagnostic,
        /// When the next call is tried.
        until: Timestamp,
    },
    /// All calls wait for the rate limit.
    Limited {
        /// What was said.
        reason: Diagnostic,
        /// When its window ends.
        until: Timestamp,
    },
    /// Reads wait, because what the rate limit leaves is kept for changes.
    ReadsWait {
        /// When its window ends.
        until: Timestamp,
    },
    /// Calls are made again.
    Open,
    /// A rollout went on, or more is known of it.
    Rollout {
        /// Of which service.
        key: ServiceKey,
        /// How far it was before.
        was: RolloutState,
        /// How far it is.
        rollout: Rollout,
    },
    /// Rollouts cannot be looked at.
    NotFollowed {
        /// Why not.
        reason: String,
    },
    /// Somebody else changes the services as well.
    SomebodyElse {
        /// The service that shows it.
        key: ServiceKey,
        /// Who deployed there last, where the API says so.
        by: Option<OvertakenBy>,
        /// When it was noticed.
        at: Timestamp,
    },
}

/// What holds for all calls at one moment.
#[derive(Debug, Default)]
pub(super) struct Condition {
    blocked: Option<(Block, Timestamp, Diagnostic)>,
    limited: Option<(Timestamp, Diagnostic)>,
    reads_wait: Option<Timestamp>,
}

impl Condition {
    pub(super) fn of(gate: &Gate, reads_wait: Option<Timestamp>, now: Timestamp) -> Self {
        Self {
            blocked: gate.blocked().map(|(block, pause)| (block, pause.until, pause.reason.clone())),
            limited: gate.limited(now).map(|pause| (pause.until, pause.reason.clone())),
            reads_wait,
        }
    }
}

/// Each answer to a burst of calls moves the end of the same window a little.
fn same_window(one: Timestamp, other: Timestamp) -> bool {
    one.duration_since(other).abs() < SAME_WINDOW
}

impl Event {
    /// What happened to all calls.
    pub(super) fn between(before: &Condition, after: &Condition) -> Vec<Self> {
        let mut events = Vec::new();
        let was = before.blocked.as_ref().map(|(block, ..)| *block);
        match (&after.blocked, &after.limited) {
            (Some((block, until, reason)), _) if was != Some(*block) => {
                events.push(Self::Blocked { block: *block, reason: reason.clone(), until: *until });
            }
            (None, Some((until, reason)))
                if !before.limited.as_ref().is_some_and(|(told, _)| same_window(*told, *until)) =>
            {
                events.push(Self::Limited { reason: reason.clone(), until: *until });
            }
            (None, None) if was.is_some() || before.limited.is_some() => events.push(Self::Open),
            _ => {}
        }
        if let Some(until) = after.reads_wait
            && !before.reads_wait.is_some_and(|told| same_window(told, until))
        {
            events.push(Self::ReadsWait { until });
        }
        events
    }
}

/// What people were told of a service.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// In which fields it differs from what was applied, while it does.
    differences: Option<Arc<[Change]>>,
    /// Whether something was sent since: the same differences are then news again.
    sent_since: bool,
    unread: bool,
    /// What holds its update, while something does.
    held_by: Vec<HeldBy>,
}

impl Told {
    /// Something was accepted for the service.
    pub(super) fn sent(&mut self) {
        self.sent_since = true;
    }
}

/// What is to be told of what holds the update of a service. That nothing holds it any more shows when it is sent.
pub(super) fn held(service: &mut Service, key: &ServiceKey, mut held_by: Vec<HeldBy>) -> Option<Event> {
    // A plan is told once, for all of its services.
    held_by.retain(|held| held.kind != HoldKind::Plan);
    if service.told.held_by == held_by {
        return None;
    }
    service.told.held_by = held_by;
    let held_by = service.told.held_by.clone();
    (!held_by.is_empty()).then(|| Event::Held { key: key.clone(), held_by })
}

/// What is to be told of a service after a call for it ended. That it no longer differs is told after a read that shows
/// it, and never before.
pub(super) fn news(service: &mut Service, key: &ServiceKey, now: Timestamp) -> Vec<Event> {
    let mut events = Vec::new();
    let missing = service.effect.is_missing();
    match service.drift() {
        Some(differences) => {
            if service.told.sent_since || service.told.differences.as_ref() != Some(&differences) {
                let (key, differences) = (key.clone(), Arc::clone(&differences));
                events.push(if missing {
                    Event::NotInEffect { key, differences, sends: service.effect == Effect::Missing }
                } else {
                    Event::Drifted { key, differences, flaps_until: service.flaps_until(now) }
                });
            }
            (service.told.differences, service.told.sent_since) = (Some(differences), false);
        }
        None if service.seen.is_some() && service.told.differences.take().is_some() => {
            events.push(Event::DriftGone { key: key.clone() });
        }
        None => {}
    }
    match (service.told.unread, &service.unread) {
        (false, Some(error)) => events.push(Event::Unread { key: key.clone(), error: error.clone() }),
        (true, None) => events.push(Event::ReadAgain { key: key.clone() }),
        _ => {}
    }
    service.told.unread = service.unread.is_some();
    events
}
