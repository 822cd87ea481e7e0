//! What the daemon answers when it is asked about itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::time::Instant;

use super::run::Daemon;
use crate::engine::{Block, Phase, Standing};
use crate::error::chain;
use crate::model::{Cause, Known, ServiceKey};
use crate::plan::{Step, Suspension};
use crate::source::Watching;
use crate::status::{Drift, Gauges, Look, Paused, Query, Quota, Readiness, ServiceStatus, Status, Watched};
use crate::text::{counted, short};

impl Daemon {
    /// Answers a question; one whose asker is gone is dropped.
    pub(super) fn answer(&self, query: Query) {
        match query {
            Query::Health(answer) => drop(answer.send(())),
            Query::Ready(answer) => drop(answer.send(self.readiness())),
            // What nobody waits for any more is not made.
            Query::Status(answer) if !answer.is_closed() => drop(answer.send(Box::new(self.status()))),
            Query::Gauges(answer) if !answer.is_closed() => drop(answer.send(self.gauges())),
            Query::Status(_) | Query::Gauges(_) => {}
        }
    }

    fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        match (&self.seen.error, &self.seen.snapshot) {
            (Some(error), _) => reasons.push(error.clone()),
            (None, None) => reasons.push("the folder was not read yet".to_owned()),
            (None, Some(_)) => {}
        }
        if self.hangs(Instant::now()) {
            reasons.push("the folder does not answer: the look at it hangs".to_owned());
        }
        if let Some((block, pause)) = self.driver.engine.gate().blocked() {
            let what = match block {
                Block::Denied => "the API refuses the token",
                Block::Unwritable => "the ledger takes no record",
            };
            reasons.push(format!("{what}: {}", pause.reason));
        } else if let Some(error) = self.driver.ledger.failing() {
            reasons.push(format!("the ledger takes no record: {}", chain(&error)));
        }
        if reasons.is_empty() { Readiness::Ready } else { Readiness::NotReady(reasons) }
    }

    fn paused(&self) -> Option<Paused> {
        let (gate, now) = (self.driver.engine.gate(), self.driver.clock.now());
        let (by, pause) = match (gate.blocked(), gate.limited(now)) {
            (Some((Block::Denied, pause)), _) => ("denied", pause),
            (Some((Block::Unwritable, pause)), _) => ("ledger", pause),
            // What cannot be recorded is the outcome of a call: it is offered again and again.
            (None, limited) => match (self.driver.ledger.failing(), limited) {
                (Some(error), _) => return Some(Paused { by: "ledger", until: now, reason: chain(&error) }),
                (None, Some(pause)) => ("rate-limit", pause),
                (None, None) => return None,
            },
        };
        Some(Paused { by, until: pause.until, reason: pause.reason.clone() })
    }

    fn status(&self) -> Status {
        let now = self.driver.clock.now();
        let services: Vec<ServiceStatus> =
            self.driver.engine.services(now).filter_map(|(key, standing)| self.service(key, standing)).collect();
        let snapshot = self.seen.snapshot.as_ref();
        let in_order = |service: &ServiceStatus| matches!(service.state, "unchanged" | "suspended" | "orphaned");
        let converged = snapshot.is_some_and(|snapshot| snapshot.problems.is_empty())
            && self.seen.error.is_none()
            && services.iter().all(in_order);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            since: Some(self.since),
            revision: snapshot.map(|snapshot| snapshot.revision.clone()),
            converged,
            look: Look {
                succeeded: self.seen.succeeded.map(|(_, at)| at),
                age_seconds: self.seen.succeeded.map(|(at, _)| at.elapsed().as_secs_f64()),
                error: self.seen.error.clone(),
                watching: match &self.seen.watching {
                    Watching::Events => "events".to_owned(),
                    Watching::Polling { every, reason } => format!("every {} s: {reason}", every.as_secs_f64()),
                },
            },
            paused: self.paused(),
            services,
            problems: snapshot.map(|snapshot| snapshot.problems.clone()).unwrap_or_default(),
            api: self.driver.api,
            quota: self.quota(now),
            drift: self.driver.engine.watch_period(now).map(|period| Watched { every_seconds: period.as_secs() }),
        }
    }

    /// What the rate limit leaves, once an answer told.
    fn quota(&self, now: Timestamp) -> Option<Quota> {
        let quota = self.driver.engine.quota();
        let window = quota.window()?;
        Some(Quota {
            limit: window.limit,
            remaining: quota.left(now)?,
            resets_at: Some(window.resets_at).filter(|resets_at| *resets_at > now),
            reserve: quota.reserve(),
            reads_wait_until: self.driver.engine.reads_wait_until(now),
        })
    }

    /// `None` for a service of which only a problem is known.
    fn service(&self, key: &ServiceKey, standing: Standing<'_>) -> Option<ServiceStatus> {
        let state = state(&standing)?;
        let Standing { desired, known, seen, unread, phase, fights_until, .. } = standing;
        if state == "orphaned" && !self.is_orphaned(key) {
            return None;
        }
        let (attempts, since, next_attempt, error) = match phase {
            Phase::Resting => (0, None, None, None),
            Phase::Ready { failed, error } => (failed, None, None, error),
            Phase::InFlight { attempt, since, .. } => (attempt - 1, Some(since), None, None),
            Phase::BackingOff { failed, until, error, .. } | Phase::Stalled { failed, until, error, .. } => {
                (failed, None, Some(until), Some(error))
            }
        };
        Some(ServiceStatus {
            service: key.clone(),
            state,
            desired: desired.map(|desired| desired.digest),
            applied: known.and_then(Known::digest),
            manifest: desired.map(|desired| desired.place.clone()),
            attempts,
            since,
            next_attempt,
            error,
            drift: Drift::of(known, seen, unread, fights_until),
            suspension: desired.filter(|_| state == "suspended").and_then(Suspension::of),
        })
    }

    /// Whether it is proven that no manifest names a service any more.
    fn is_orphaned(&self, key: &ServiceKey) -> bool {
        let Some(snapshot) = &self.seen.snapshot else { return false };
        // Where all could be read, the ledger has nothing to add.
        snapshot.problems.is_empty() || {
            let last = self.driver.ledger.reader().applied(key).ok().flatten();
            snapshot.proves_absence(key, &last.map(|applied| applied.place.file).unwrap_or_default())
        }
    }

    /// How many services are in which state.
    fn states(&self) -> BTreeMap<&'static str, u64> {
        let mut states = BTreeMap::new();
        for (key, standing) in self.driver.engine.services(self.driver.clock.now()) {
            if let Some(state) = state(&standing)
                && (state != "orphaned" || self.is_orphaned(key))
            {
                *states.entry(state).or_default() += 1;
            }
        }
        states
    }

    fn gauges(&self) -> Gauges {
        let states = self.states();
        let snapshot = self.seen.snapshot.as_ref();
        Gauges {
            services: STATES.into_iter().map(|state| (state, states.get(state).copied().unwrap_or(0))).collect(),
            problems: snapshot.map_or(0, |snapshot| snapshot.problems.len() as u64),
            quota_remaining: self.driver.engine.quota().left(self.driver.clock.now()),
            quota_limit: self.driver.engine.quota().window().map(|window| window.limit),
            last_look: self.seen.succeeded.map(|(_, at)| at),
            in_flight: self.driver.engine.in_flight() as u64,
            paused: self.paused().is_some(),
        }
    }

    /// One sentence for `systemctl status`.
    pub(super) fn sentence(&self) -> String {
        if let Some(error) = &self.seen.error {
            return error.clone();
        }
        let Some(snapshot) = &self.seen.snapshot else { return "Reading the folder for the first time".to_owned() };
        if let Some(paused) = self.paused() {
            return format!("All calls wait until {:.0}: {}", paused.until, paused.reason);
        }
        let mut parts: Vec<String> =
            self.states().into_iter().map(|(state, count)| format!("{count} {state}")).collect();
        if parts.is_empty() {
            parts.push("no manifests".to_owned());
        }
        if !snapshot.problems.is_empty() {
            parts.push(counted(snapshot.problems.len(), "problem"));
        }
        if let Some(until) = self.driver.engine.reads_wait_until(self.driver.clock.now()) {
            parts.push(format!("reads wait until {until:.0}"));
        }
        format!("{} at {}", parts.join(", "), short::revision(&snapshot.revision.to_string()))
    }
}

/// Every word that [`state`] has.
const STATES: [&str; 8] =
    ["unchanged", "drifted", "queued", "in-flight", "backing-off", "stalled", "suspended", "orphaned"];

/// What a service is doing, in a word.
fn state(standing: &Standing<'_>) -> Option<&'static str> {
    Some(match (&standing.phase, standing.step?) {
        (Phase::InFlight { .. }, _) => "in-flight",
        (Phase::BackingOff { .. }, _) => "backing-off",
        (Phase::Stalled { .. }, _) => "stalled",
        (Phase::Ready { .. }, _) | (Phase::Resting, Step::ReadLive(_)) => "queued",
        (Phase::Resting, Step::Unchanged | Step::Update(Cause::Drifted)) if standing.drift().is_some() => "drifted",
        (Phase::Resting, Step::Update(_)) => "queued",
        (Phase::Resting, Step::Unchanged) => "unchanged",
        (Phase::Resting, Step::Suspended) => "suspended",
        (Phase::Resting, Step::Orphaned) => "orphaned",
    })
}
