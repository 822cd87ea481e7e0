//! What a pass says in the end: how each service ended, and why where it did not end well.

use std::collections::HashMap;

use super::super::observe::Observation;
use super::{Over, Pass, Sent, Settled};
use crate::engine::{Block, Phase};
use crate::model::{Cause, Diagnostic, Digest, ServiceKey, ServiceState};
use crate::plan::{Change, Outcome, PlanReport, Report};

impl Pass {
    pub(super) fn report(
        self,
        observation: &Observation,
        changes: HashMap<ServiceKey, Vec<Change>>,
        (over, awaits): (Over, bool),
    ) -> Report {
        let mut services = observation.services(changes, |key, step| match step.cause() {
            Some(_) => self.ended(key, over),
            None if self.went_back(key) => self.ended(key, over),
            None => (Outcome::from(step), 0, None),
        });
        let now = self.carrier.clock().now();
        for service in &mut services {
            if let Some(standing) = self.carrier.engine().standing(&service.service, now) {
                // A person had another version sent, and what the manifest says is held.
                let is_taken_back = service.outcome == Outcome::Updated && standing.state == ServiceState::RolledBack;
                if is_taken_back {
                    service.cause = Some(Cause::Rollback);
                }
                let is_held = service.outcome == Outcome::Held || is_taken_back;
                service.held_by = if is_held { standing.held_by } else { Vec::new() };
            }
            let rollout = self.carrier.engine().rollout(&service.service);
            service.rollout = rollout.filter(|rollout| Some(rollout.digest) == service.digest).cloned();
            service.awaited = awaits;
            let Some(tally) = self.tally.get(&service.service) else { continue };
            if let Some(reading) = &tally.reading {
                // What runs says more than what was sent last, or that nothing was.
                service.changes = reading.differences.to_vec();
                service.undecided = reading.undecided.to_vec();
                let desired = observation.snapshot.desired.get(&service.service);
                let warnings = desired.map(|desired| reading.warnings(desired.policy.credentials));
                service.warnings.extend(warnings.unwrap_or_default());
            }
            if tally.settled == Settled::Adopted {
                service.changes.clear();
            }
        }
        for change in services.iter_mut().flat_map(|service| &mut service.changes) {
            change.from = change.from.as_deref().map(|text| self.carrier.conceal(text));
            change.to = change.to.as_deref().map(|text| self.carrier.conceal(text));
        }
        let (revision, problems) = (observation.snapshot.revision.clone(), observation.snapshot.problems.clone());
        let place = self.carrier.ledger().place();
        let engine = self.carrier.engine();
        let plan = PlanReport::of(&observation.plan(), engine.fuse(), engine.ruling().state);
        Report::new(place, revision, plan, services, problems, self.carrier.api())
    }

    /// Whether what ran before was sent in the place of what its manifest says, or was to be.
    fn went_back(&self, key: &ServiceKey) -> bool {
        let standing = self.carrier.engine().standing(key, self.carrier.clock().now());
        let has_it = standing.is_some_and(|standing| standing.state == ServiceState::RolledBack);
        has_it || self.tally.get(key).is_some_and(|tally| tally.sent == Sent::Yes)
    }

    /// How a service ended that has what ran before.
    fn returned(&self, key: &ServiceKey, desired: Option<Digest>) -> (Outcome, u32, Option<Diagnostic>) {
        let tally = self.tally.get(key);
        let attempts = tally.map_or(0, |tally| tally.attempts);
        let quarantine = self.carrier.engine().quarantine(key);
        // How content fared that a person took back says nothing of what they chose.
        let (content, then) = match quarantine.filter(|quarantine| quarantine.by.is_some()) {
            Some(taken) => (taken.back, ""),
            None => (desired, "; what ran before was sent in its place"),
        };
        let failed = tally.and_then(|tally| tally.failed.as_ref()).filter(|(digest, _)| Some(*digest) == content);
        // That something failed is told once: by the pass that saw it.
        match failed {
            Some((_, words)) => {
                let error = format!("its rollout did not go well: {words}{then}");
                (Outcome::Failed, attempts, Some(error.into()))
            }
            None if then.is_empty() && tally.is_some_and(|tally| tally.sent == Sent::Yes) => {
                (Outcome::Updated, attempts, None)
            }
            None => (Outcome::Held, attempts, None),
        }
    }

    /// How a service ended for which an update was due.
    fn ended(&self, key: &ServiceKey, over: Over) -> (Outcome, u32, Option<Diagnostic>) {
        let tally = self.tally.get(key);
        let attempts = tally.map_or(0, |tally| tally.attempts);
        let error = tally.and_then(|tally| tally.error.clone());
        let now = self.carrier.clock().now();
        let standing = self.carrier.engine().standing(key, now);
        match standing.map(|standing| (standing.state, standing.desired.map(|desired| desired.digest))) {
            Some((ServiceState::Held, _)) => return (Outcome::Held, attempts, None),
            Some((ServiceState::RolledBack, desired)) => return self.returned(key, desired),
            _ => {}
        }
        match self.carrier.engine().phase(key) {
            Some(Phase::Resting) | None => match tally.map(|tally| tally.settled) {
                _ if tally.is_some_and(|tally| tally.missing.is_some()) => {
                    let fields = tally.and_then(|tally| tally.missing.as_deref()).unwrap_or_default();
                    (
                        Outcome::Failed,
                        attempts,
                        Some(format!("the API accepted the update, but it is not in effect: {fields}").into()),
                    )
                }
                Some(Settled::Adopted) => (Outcome::Adopted, attempts, None),
                Some(Settled::Updated | Settled::No) | None => (Outcome::Updated, attempts, None),
            },
            Some(Phase::Stalled { error, .. }) => (Outcome::Stalled, attempts, Some(error)),
            Some(Phase::BackingOff { error, .. }) => (Outcome::Failed, attempts, Some(error)),
            Some(Phase::InFlight { .. }) => {
                let error = "the pass ended before the answer came; the update may have been accepted";
                (Outcome::Failed, attempts + 1, Some(error.into()))
            }
            Some(Phase::Settling { .. }) => {
                let unclear =
                    "the answer was lost, and the update may still take effect; the next pass reads the service";
                (Outcome::Failed, attempts, Some(error.unwrap_or_else(|| unclear.into())))
            }
            Some(Phase::Ready { failed: 1.., error }) => (Outcome::Failed, attempts, error),
            Some(Phase::Ready { .. }) if error.is_some() && over == Over::Denied => (Outcome::Failed, attempts, error),
            Some(Phase::Ready { .. }) => {
                (Outcome::Pending, attempts, Some(error.unwrap_or_else(|| self.reason(over).into())))
            }
        }
    }

    /// Why the turn of a service did not come.
    fn reason(&self, over: Over) -> String {
        if let Some((Block::Unreachable, pause)) = self.carrier.engine().gate().blocked() {
            return format!("not tried: the API is unreachable: {}", pause.reason);
        }
        match (over, self.carrier.engine().gate().limited(self.carrier.clock().now())) {
            (Over::Denied, _) => "not tried: the API refuses the token".to_owned(),
            (Over::Elsewhere, _) => "not tried: the token opens another account".to_owned(),
            (Over::Stopped, _) => "not tried: the pass was stopped".to_owned(),
            (_, Some(pause)) => format!("not tried: {}", pause.reason),
            (Over::Settled | Over::Deadline, None) => "not tried before the deadline".to_owned(),
        }
    }
}
