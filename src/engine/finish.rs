//! How a call ended, and what follows from that for its service and for others.

use jiff::Timestamp;

use super::call::{Ending, Work};
use super::gate::Shown;
use super::service::{At, Sequel, Service, State, Turn, Wait, later};
use super::{Engine, SHARED, event, order};
use crate::model::ServiceKey;

impl Engine {
    /// Takes how a call ended. `jitter` is a random number from 0 to 1 that spreads the retries.
    pub fn finish(&mut self, key: &ServiceKey, ending: Ending, now: Timestamp, jitter: f64) {
        let alone = self.services.len() <= 1;
        let Some(service) = self.services.get_mut(key) else { return };
        let State::InFlight { work, tries, since } = &service.state else { return };
        let (work, mut tries, since) = (*work, tries.clone(), *since);
        match work {
            Work::Watch => self.watching -= 1,
            Work::Send(_) | Work::Decide(_) => self.in_flight -= 1,
        }
        let shown = self.gate.note((key, work), &ending, alone, (now, jitter), &self.pace);
        let foreign = service.is_foreign(work, &ending);
        // Only a wait for the outage itself ends with it.
        tries.outage = shown == Shown::Outage;
        let had = matches!(ending, Ending::Accepted { .. } | Ending::Adopted { .. }).then_some(tries.digest);
        let sequel = match (ending, work) {
            (Ending::Accepted { shown, bare, at, status }, _) => {
                service.accepted(tries.digest, work, (shown, bare), (since, now));
                self.rollouts.accepted(key, tries.digest, at, status, now);
                Sequel::Done
            }
            (Ending::Adopted { unnamed, status }, _) => {
                service.has(tries.digest, (since, now));
                service.unnamed = unnamed;
                if self.rollouts.of(key).is_some_and(|rollout| rollout.digest != tries.digest) {
                    self.rollouts.forget(key);
                }
                if let Work::Decide(cause) = work {
                    self.rollouts.found(key, (cause, tries.digest), status, now);
                }
                Sequel::Done
            }
            (Ending::Read(reading), _) => {
                // It shows what was so when it began.
                service.read(tries.digest, reading, (since, now));
                Sequel::Next(tries.turn())
            }
            // An outage says nothing of this service.
            (Ending::Transient { .. }, Work::Watch) if shown == Shown::Outage => {
                service.looked_at = now;
                Sequel::Done
            }
            // Its turn comes again; meanwhile nothing waits for it.
            (Ending::Transient { error, .. } | Ending::Rejected { error, .. }, Work::Watch) => {
                (service.unread, service.looked_at) = (Some(error), now);
                Sequel::Done
            }
            // A bare 429 may be about this service alone.
            (Ending::Limited { error, told: false, .. }, Work::Watch) if self.gate.limited(now).is_none() => {
                (service.unread, service.looked_at) = (Some(error), now);
                Sequel::Done
            }
            // It is the one longest unread still.
            (_, Work::Watch) => Sequel::Done,
            (Ending::Transient { error, delivery, wait, .. }, _) => {
                service.doubt(tries.digest, delivery, work, now);
                tries.fail(error);
                if tries.outage {
                    // It waits with all others, and goes on with them.
                    Sequel::Next(Turn::Behind)
                } else {
                    let wait = self.pace.backoff.wait(tries.failed, jitter).max(wait);
                    Sequel::Wait(Wait::BackOff, later(now, wait))
                }
            }
            (Ending::Rejected { error, delivery }, _) => {
                service.doubt(tries.digest, delivery, work, now);
                tries.fail(error);
                tries.rejected += 1;
                Sequel::Wait(Wait::Stalled, later(now, self.pace.stalled.ceiling(tries.rejected)))
            }
            // Behind all others: where one service's project is closed to the token, the others must not wait for it.
            (Ending::Denied { error }, _) => {
                tries.error = Some(error);
                Sequel::Next(Turn::Behind)
            }
            // A bare 429 holds this service; where another one says so too, the gate holds all.
            (Ending::Limited { error, wait, told: false }, _) if self.gate.limited(now).is_none() => {
                tries.error = Some(error);
                Sequel::Wait(Wait::BackOff, later(now, wait))
            }
            (Ending::Limited { error, .. } | Ending::Unrecorded { error }, _) => {
                tries.error = Some(error);
                Sequel::Next(tries.turn())
            }
            (Ending::Withdrawn, _) => Sequel::Next(tries.turn()),
        };
        self.events.extend(event::news(service, key, now));
        if let Some(content) = had {
            self.sent_quarantined(key, content);
        }
        if let Some(at) = self.at(key, now) {
            at.follow(sequel, tries);
        }
        self.judge_rollouts(now);
        self.tell_held(key, now);
        self.let_dependents_go(Some(key), now);
        if foreign {
            self.meet_somebody(key, work, now);
        }
        if shown == Shown::Recovered {
            self.end_outage(now);
        }
        if self.services.get(key).is_some_and(|service| !service.is_of_interest()) {
            self.services.remove(key);
            self.rollouts.forget(key);
        }
    }

    /// Looks again at what services wait for: those that depend on one, or all. Gives those of which that changed.
    pub(super) fn await_again(&mut self, dependency: Option<&ServiceKey>, now: Timestamp) -> Vec<ServiceKey> {
        let context = self.context(now);
        let of_one = dependency.map(|key| self.dependents.get(key).cloned().unwrap_or_default());
        let depends = |service: &Service| !service.awaited.is_empty() || service.depends();
        let keys = match of_one {
            Some(keys) => keys,
            None => self.services.iter().filter(|(_, of)| depends(of)).map(|(key, _)| key.clone()).collect(),
        };
        let mut changed = Vec::new();
        for key in keys {
            let rollouts = self.pace.follow.map(|_| &self.rollouts);
            let awaited = order::awaited(&self.services, rollouts, &key, context);
            if let Some(service) = self.services.get_mut(&key).filter(|service| service.awaited != awaited) {
                service.awaited = awaited;
                changed.push(key);
            }
        }
        changed
    }

    /// Something ended for a service, or for any: what depends on it may go now, or has to wait again.
    pub(super) fn let_dependents_go(&mut self, key: Option<&ServiceKey>, now: Timestamp) {
        let changed = self.await_again(key, now);
        self.reconsider(changed, now);
    }

    /// Brings what services do in line with what is due for them now, and tells what holds them.
    pub(super) fn reconsider(&mut self, keys: impl IntoIterator<Item = ServiceKey>, now: Timestamp) {
        for key in keys {
            if let Some(at) = self.at(&key, now) {
                at.reconsider();
            }
            self.tell_held(&key, now);
        }
    }

    /// Tells what holds the update of a service, once.
    pub(super) fn tell_held(&mut self, key: &ServiceKey, now: Timestamp) {
        let context = self.context(now);
        if let Some(service) = self.services.get_mut(key) {
            let held_by = service.held_by(context);
            self.events.extend(event::held(service, key, held_by));
        }
    }

    /// Somebody else changed a service. Once may be a person; where it happens to several services, or live has new
    /// content before it was sent from here, there is another reconciler: from then on each service is read before an
    /// update is sent.
    pub(super) fn meet_somebody(&mut self, key: &ServiceKey, work: Work, now: Timestamp) {
        let lately = |at: Timestamp| now.duration_since(at) < SHARED;
        let another = self.foreign.as_ref().is_some_and(|(other, at)| other != key && lately(*at));
        let overtaken = matches!(work, Work::Decide(_));
        self.foreign = Some((key.clone(), now));
        if another || overtaken {
            if self.shared_until <= now {
                self.rollouts.ask_who(key, now);
            }
            self.shared_until = now.checked_add(SHARED).unwrap_or(Timestamp::MAX);
        }
    }

    /// The API can be reached again: nothing waits any more for having met the outage.
    pub(super) fn end_outage(&mut self, now: Timestamp) {
        let context = self.context(now);
        let Self { services, agenda, .. } = self;
        for (key, service) in services {
            if let State::Waiting { ticket, why: Wait::BackOff, tries, .. } = &service.state
                && tries.outage
            {
                agenda.cancel(*ticket);
                At { key, service, agenda, context }.wake();
            }
        }
    }
}
