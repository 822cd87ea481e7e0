//! What the daemon answers when it is asked about itself.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::time::Instant;

use super::state::{Daemon, Phase};
use crate::engine::{Phase as CallPhase, Standing};
use crate::error::chain;
use crate::model::{Known, RolloutState, ServiceKey, ServiceState};
use crate::plan::{Freeze, Suspension};
use crate::source::Watching;
use crate::text::{counted, short};
use crate::views::told;
use crate::web::{Drift, Gauges, Look, Paused, Query, Quota, Readiness, ServiceStatus, Status, Watched};

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
        if matches!(self.phase, Phase::Stopping { .. }) {
            reasons.push("it stops: calls in flight are finished, nothing is begun".to_owned());
        }
        match (&self.seen.error, &self.seen.snapshot) {
            (Some(error), _) => reasons.push(error.message.clone()),
            (None, None) => reasons.push("the folder was not read yet".to_owned()),
            (None, Some(_)) => {}
        }
        if self.hangs(Instant::now()) {
            reasons.push("the folder does not answer: the look at it hangs".to_owned());
        }
        let now = self.carrier.clock().now();
        match (self.carrier.engine().halted(now), self.carrier.ledger().failing()) {
            (Some((state, pause)), _) => {
                let until = short::time(pause.until);
                let what = match state {
                    ServiceState::Denied => "the API refuses the token".to_owned(),
                    ServiceState::LedgerUnwritable => "cannot write the ledger".to_owned(),
                    ServiceState::Unreachable => "the API is unreachable".to_owned(),
                    _ => format!("calls are paused for the rate limit until {until}"),
                };
                reasons.push(format!("{what}: {}", pause.reason));
            }
            (None, Some(error)) => reasons.push(format!("cannot write the ledger: {}", chain(&error))),
            (None, None) => {}
        }
        if reasons.is_empty() { Readiness::Ready } else { Readiness::NotReady(reasons) }
    }

    /// What people froze, as far as it holds.
    fn freezes(&self) -> Vec<Freeze> {
        let now = self.carrier.clock().wall();
        self.carrier.engine().closures().freezes.iter().filter(|freeze| freeze.holds_at(now)).cloned().collect()
    }

    fn paused(&self) -> Option<Paused> {
        let now = self.carrier.clock().now();
        match self.carrier.engine().halted(now) {
            Some((state, pause)) => Paused::of(state, pause.until, &pause.reason.message),
            // What cannot be recorded is the outcome of a call: it is offered again and again.
            None => {
                let error = self.carrier.ledger().failing()?;
                Paused::of(ServiceState::LedgerUnwritable, now, &chain(&error))
            }
        }
    }

    fn status(&self) -> Status {
        let now = self.carrier.clock().now();
        let invalid = self.invalid(now);
        let engines = self.carrier.engine().services(now).filter(|(key, _)| !invalid.contains_key(key));
        let mut services: Vec<ServiceStatus> = engines.map(|(key, standing)| service(key, standing)).collect();
        services.extend(invalid.iter().map(|(key, problem)| self.invalid_service(key, problem)));
        services.sort_unstable_by(|one, other| one.service.cmp(&other.service));
        let snapshot = self.seen.snapshot.as_ref();
        let converged = snapshot.is_some_and(|snapshot| snapshot.problems.is_empty())
            && self.seen.error.is_none()
            && services.iter().all(|service| service.state.is_converged());
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
            freezes: self.freezes(),
            services,
            problems: snapshot.map(|snapshot| snapshot.problems.clone()).unwrap_or_default(),
            api: self.carrier.api(),
            quota: self.quota(now),
            drift: self.carrier.engine().watch_period(now).map(|period| Watched { every_seconds: period.as_secs() }),
        }
    }

    /// What the rate limit leaves, once an answer told.
    fn quota(&self, now: Timestamp) -> Option<Quota> {
        let quota = self.carrier.engine().quota();
        let window = quota.window()?;
        Some(Quota {
            limit: window.limit,
            remaining: quota.left(now)?,
            resets_at: Some(window.resets_at).filter(|resets_at| *resets_at > now),
            reserve: quota.reserve(),
            reads_wait_until: self.carrier.engine().reads_wait_until(now),
        })
    }

    /// Services whose manifests cannot be used, and why: a problem names them, or may hide them.
    pub(super) fn invalid(&self, now: Timestamp) -> BTreeMap<ServiceKey, String> {
        let Some(snapshot) = &self.seen.snapshot else { return BTreeMap::new() };
        if snapshot.problems.is_empty() {
            return BTreeMap::new();
        }
        let engine = self.carrier.engine();
        let is_desired =
            |key: &ServiceKey| engine.standing(key, now).is_some_and(|standing| standing.desired.is_some());
        let claims = snapshot.claims().filter(|(key, _)| !is_desired(key));
        let claims = claims.map(|(key, problem)| (key.clone(), problem.map(told).unwrap_or_default()));
        let undesired = engine.services(now).filter(|(_, standing)| standing.desired.is_none());
        let unproven = undesired.filter_map(|(key, _)| {
            let last = self.last_files.get(key).map(|file| &**file).unwrap_or_default();
            let problem = snapshot.problems_of(key, Some(last)).next().map(told).unwrap_or_default();
            (!snapshot.proves_absence(key, last)).then(|| (key.clone(), problem))
        });
        claims.chain(unproven).collect()
    }

    fn invalid_service(&self, key: &ServiceKey, problem: &str) -> ServiceStatus {
        let standing = self.carrier.engine().standing(key, self.carrier.clock().now());
        ServiceStatus {
            service: key.clone(),
            state: ServiceState::Invalid,
            desired: None,
            applied: standing.and_then(|standing| standing.known.and_then(Known::digest)),
            manifest: None,
            attempts: 0,
            since: None,
            next_attempt: None,
            error: Some(problem.into()),
            drift: None,
            suspension: None,
            rollout: None,
        }
    }

    /// How many services are in which state.
    fn states(&self) -> BTreeMap<ServiceState, u64> {
        let now = self.carrier.clock().now();
        let invalid = self.invalid(now);
        let mut states = BTreeMap::new();
        for (key, standing) in self.carrier.engine().services(now) {
            if !invalid.contains_key(key) {
                *states.entry(standing.state).or_default() += 1;
            }
        }
        if !invalid.is_empty() {
            states.insert(ServiceState::Invalid, invalid.len() as u64);
        }
        states
    }

    fn gauges(&self) -> Gauges {
        let (states, rollouts) = (self.states(), self.carrier.engine().rollouts());
        let snapshot = self.seen.snapshot.as_ref();
        Gauges {
            services: ServiceState::ALL
                .into_iter()
                .map(|state| (state.as_str(), states.get(&state).copied().unwrap_or(0)))
                .collect(),
            rollouts: RolloutState::ALL
                .into_iter()
                .map(|state| (state.as_str(), rollouts.get(&state).copied().unwrap_or(0)))
                .collect(),
            problems: snapshot.map_or(0, |snapshot| snapshot.problems.len() as u64),
            quota_remaining: self.carrier.engine().quota().left(self.carrier.clock().now()),
            quota_limit: self.carrier.engine().quota().window().map(|window| window.limit),
            last_look: self.seen.succeeded.map(|(_, at)| at),
            in_flight: self.carrier.engine().in_flight() as u64,
            paused: self.paused().is_some(),
        }
    }

    /// One sentence for `systemctl status`.
    pub(super) fn sentence(&self) -> String {
        if let Some(error) = &self.seen.error {
            return error.message.clone();
        }
        let Some(snapshot) = &self.seen.snapshot else { return "Reading the folder for the first time".to_owned() };
        let mut parts: Vec<String> =
            self.states().into_iter().map(|(state, count)| format!("{count} {state}")).collect();
        if parts.is_empty() {
            parts.push("no manifests".to_owned());
        }
        if !snapshot.problems.is_empty() {
            parts.push(counted(snapshot.problems.len(), "problem"));
        }
        if let Some(until) = self.carrier.engine().reads_wait_until(self.carrier.clock().now()) {
            parts.push(format!("reads wait until {until:.0}"));
        }
        let mut sentence = format!("{} at {}", parts.join(", "), short::revision(&snapshot.revision.to_string()));
        if let Some(paused) = self.paused() {
            sentence += &format!("; calls are paused until {:.0}: {}", paused.until, paused.reason);
        }
        sentence
    }
}

fn service(key: &ServiceKey, standing: Standing<'_>) -> ServiceStatus {
    let Standing { desired, known, seen, unread, phase, flaps_until, state, until, reason, rollout, .. } = standing;
    let (attempts, since) = match phase {
        CallPhase::Resting | CallPhase::Settling { .. } => (0, None),
        CallPhase::Ready { failed, .. } | CallPhase::BackingOff { failed, .. } | CallPhase::Stalled { failed, .. } => {
            (failed, None)
        }
        CallPhase::InFlight { attempt, since, .. } => (attempt - 1, Some(since)),
    };
    let waits = !state.is_converged();
    ServiceStatus {
        service: key.clone(),
        state,
        desired: desired.map(|desired| desired.digest),
        applied: known.and_then(Known::digest),
        manifest: desired.map(|desired| desired.place.clone()),
        attempts,
        since,
        next_attempt: until.filter(|_| waits),
        error: reason.filter(|_| waits).map(Cow::into_owned),
        drift: Drift::of(known, seen, unread, flaps_until),
        suspension: desired.filter(|_| state == ServiceState::Suspended).and_then(Suspension::of),
        rollout: rollout.cloned(),
    }
}
