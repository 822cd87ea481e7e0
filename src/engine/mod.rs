//! The engine: which call is due for which service, and when. A state machine without I/O.
//!
//! What happens goes in ([`Engine::observe`], [`Engine::finish`], …), each time with the time; what is to be done comes
//! out ([`Engine::next_call`], [`Engine::next_wake`]). It names no clock, no random source and nothing async, so that a
//! simulated world can run a day of faults in a moment. The daemon and `--reconcile-once` drive the same engine.
//!
//! ```text
//!            new content, or nothing known                 accepted, or live has it
//!   Resting ───────────────────────────────▶ Ready ─▶ InFlight ─────▶ Resting
//!      ▲                                       ▲          │
//!      │ manifest gone, suspended, or as applied│          ├─ read, and it differs ──▶ Ready, to send
//!      └───────────────────────────────────────┘          ├─ network, timeout, 5xx ─▶ BackingOff ─▶ Ready
//!                                                          ├─ other 4xx ────────────▶ Stalled ────▶ Ready (slowly)
//!                                                          └─ 401, 403, 429, full disk: Ready again, the gate closes
//! ```
//! The queue holds keys: each attempt takes the newest desired state when it begins. New content ends a wait at once.
//! Services at rest are read for drift in turn, beside the queue, as far as the quota leaves something over.
//!
//! Reading order: `call` (what goes out and comes back), this file, `service` (one service's transitions), `agenda`,
//! `gate`, `quota`, `backoff`.

mod agenda;
mod backoff;
mod call;
mod gate;
mod quota;
mod service;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{Desired, Known, ServiceKey};
use crate::plan::{Rules, Seen, Step};

use agenda::{Agenda, Lane};
pub use backoff::Backoff;
pub use call::{Call, Delivery, Ending, Phase, Work};
pub use gate::{Block, Gate};
use quota::Class;
pub use quota::{Quota, SAME_WINDOW, Window};
use service::{At, Sequel, Service, State, Turn, Wait, later};
pub use service::{FIGHT, fights_until};

/// How the engine paces itself.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Most calls in flight at once; at least one. A read for drift goes beside them.
    pub concurrency: usize,
    /// Waits between attempts that failed for a passing reason.
    pub backoff: Backoff,
    /// How long a refused update waits before it is tried again without new content.
    pub stalled_retry: Duration,
    /// How long all calls wait after the token was refused.
    pub denied_retry: Duration,
    /// How long all calls wait after the ledger could not be written.
    pub unwritable_retry: Duration,
    /// The part of the rate limit's window that only changes may use, in percent.
    pub reserve_percent: u8,
    /// A service is read for drift no more often than this; `None`: never.
    pub watch_period: Option<Duration>,
}

impl Default for Pace {
    /// 8 calls in flight; 1 s doubling to 5 min between attempts; 10 min for refused updates; 1 min for a refused
    /// token; 5 s for a ledger that cannot be written; a tenth of the quota in reserve; 5 min between two reads for the
    /// drift of a service.
    fn default() -> Self {
        Self {
            concurrency: 8,
            backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5 * 60) },
            stalled_retry: Duration::from_secs(10 * 60),
            denied_retry: Duration::from_secs(60),
            unwritable_retry: Duration::from_secs(5),
            reserve_percent: 10,
            watch_period: Some(Duration::from_secs(5 * 60)),
        }
    }
}

/// What an earlier process knew of a service beside what was applied.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// When it was read, or tried to be, for the last time.
    pub looked_at: Option<Timestamp>,
    /// What that read showed.
    pub seen: Option<Seen>,
    /// When its drift was corrected lately, oldest first.
    pub corrections: Vec<Timestamp>,
}

/// A service as it stands.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    /// What its manifest says.
    pub desired: Option<&'a Desired>,
    /// What was applied.
    pub known: Option<&'a Known>,
    /// What the newest read showed, as long as nothing was sent since.
    pub seen: Option<&'a Seen>,
    /// Why the newest read for drift failed, if it did.
    pub unread: Option<&'a str>,
    /// What is to be done for it.
    pub step: Option<Step>,
    /// What it is doing.
    pub phase: Phase,
    /// Until when its drift is left alone, because it came back after each of three corrections within an hour.
    pub fights_until: Option<Timestamp>,
}

impl<'a> Standing<'a> {
    /// What the newest read showed, where that is something else than was applied.
    #[must_use]
    pub fn drift(&self) -> Option<&'a Seen> {
        let applied = self.known?.digest()?;
        self.seen.filter(|seen| seen.has_drifted_from(applied))
    }
}

/// The state machine.
#[derive(Debug)]
pub struct Engine {
    pace: Pace,
    rules: Rules,
    services: BTreeMap<ServiceKey, Service>,
    agenda: Agenda,
    gate: Gate,
    quota: Quota,
    in_flight: usize,
    /// Reads for drift in flight: one at most.
    watching: usize,
    /// No read for drift before.
    watch_from: Timestamp,
}

impl Engine {
    /// An engine that knows what the ledger knows. It does nothing until it has seen the folder.
    #[must_use]
    pub fn new(pace: Pace, rules: Rules, known: impl IntoIterator<Item = (ServiceKey, Known)>) -> Self {
        let service = |known| Service { known: Some(known), ..Service::default() };
        let services = known.into_iter().map(|(key, known)| (key, service(known))).collect();
        Self {
            pace,
            rules,
            services,
            agenda: Agenda::default(),
            gate: Gate::default(),
            quota: Quota::new(pace.reserve_percent),
            in_flight: 0,
            watching: 0,
            watch_from: Timestamp::MIN,
        }
    }

    /// Takes over what an earlier process knew of a service; before the first [`Engine::observe`]. What it saw live
    /// counts only where that was what was applied: anything else is to be read again. Times that are still to come are
    /// those of a clock that was wrong, and count for nothing.
    pub fn recall(&mut self, key: &ServiceKey, memory: Memory, now: Timestamp) {
        let Some(service) = self.services.get_mut(key) else { return };
        let past = |at: &Timestamp| *at <= now;
        service.looked_at = memory.looked_at.filter(past).unwrap_or_default();
        service.corrections = memory.corrections.into_iter().filter(past).collect();
        let applied = service.known.and_then(|known| known.digest());
        service.seen = memory.seen.filter(|seen| Some(seen.compared) == applied && past(&seen.at));
    }

    /// Takes a new desired state: all of it, as one snapshot of the folder has it. A service that it does not name is
    /// left alone. Content that differs from what a service waits with ends that wait.
    pub fn observe(&mut self, desired: BTreeMap<ServiceKey, Desired>, now: Timestamp) {
        // Both are in the order of the keys.
        let mut desired = desired.into_iter().peekable();
        let (mut added, mut changed, mut gone) = (Vec::new(), Vec::new(), false);
        for (key, service) in &mut self.services {
            let says = loop {
                match desired.peek().map(|(next, _)| next.cmp(key)) {
                    Some(Ordering::Less) => added.extend(desired.next()),
                    Some(Ordering::Equal) => break desired.next().map(|(_, desired)| desired),
                    Some(Ordering::Greater) | None => break None,
                }
            };
            gone |= says.is_none();
            if service.desire(says) {
                changed.push(key.clone());
            }
        }
        for (key, desired) in added.into_iter().chain(desired) {
            changed.push(key.clone());
            self.services.insert(key, Service { desired: Some(desired), ..Service::default() });
        }
        changed.sort_unstable();
        for key in &changed {
            if let Some(at) = self.at(key, now) {
                at.reconsider();
            }
        }
        if gone {
            self.services.retain(|_, service| service.is_of_interest());
        }
    }

    /// The next call to make now, if one is due and there is room and quota for it. Fresh updates go before retries,
    /// these before reads. The caller makes the call and says how it ended by [`Engine::finish`].
    pub fn next_call(&mut self, now: Timestamp) -> Option<Call> {
        self.next_due(now).or_else(|| self.next_watch(now))
    }

    fn next_due(&mut self, now: Timestamp) -> Option<Call> {
        if self.in_flight >= self.gate.room(now, self.pace.concurrency) {
            return None;
        }
        self.wake(now);
        let class = class(self.agenda.first_lane()?);
        if !self.quota.permits(class, now, self.in_flight + self.watching) {
            return None;
        }
        let key = self.agenda.take()?;
        let call = self.begin(&key, now);
        debug_assert!(call.is_some(), "only services that are due are in the queue");
        self.in_flight += usize::from(call.is_some());
        call
    }

    /// The next read for drift: beside the queue, and only while that is empty.
    fn next_watch(&mut self, now: Timestamp) -> Option<Call> {
        if self.watch_due(now)? > now || !self.quota.permits(Class::Other, now, self.in_flight) {
            return None;
        }
        self.watch_from = later(now, self.watch_interval(now));
        self.quota.watch();
        let key = self.agenda.take_watched()?;
        let call = self.begin(&key, now);
        debug_assert!(call.is_some(), "only services at rest are in the rotation");
        self.watching += usize::from(call.is_some());
        call
    }

    fn begin(&mut self, key: &ServiceKey, now: Timestamp) -> Option<Call> {
        self.at(key, now)?.begin()
    }

    /// Takes how a call ended. `jitter` is a random number from 0 to 1 that spreads the retries.
    pub fn finish(&mut self, key: &ServiceKey, ending: Ending, now: Timestamp, jitter: f64) {
        let Some(service) = self.services.get_mut(key) else { return };
        let State::InFlight { work, tries, .. } = &service.state else { return };
        let (work, mut tries) = (*work, tries.clone());
        match work {
            Work::Watch => self.watching -= 1,
            Work::Send(_) | Work::Decide(_) => self.in_flight -= 1,
        }
        self.gate.note(work, &ending, now, &self.pace);
        let sequel = match (ending, work) {
            (Ending::Accepted | Ending::Adopted, _) => {
                service.has(tries.digest, work, now);
                Sequel::Done
            }
            (Ending::Read(reading), _) => {
                service.read(tries.digest, reading, now);
                Sequel::Next(tries.turn())
            }
            // Its turn comes again; meanwhile nothing waits for it.
            (Ending::Transient { error, .. } | Ending::Rejected { error, .. }, Work::Watch) => {
                (service.unread, service.looked_at) = (Some(error), now);
                Sequel::Done
            }
            // It is the one longest unread still.
            (_, Work::Watch) => Sequel::Done,
            (Ending::Transient { error, delivery, wait }, _) => {
                service.doubt(delivery, work, now);
                tries.fail(error);
                let wait = self.pace.backoff.wait(tries.failed, jitter).max(wait);
                Sequel::Wait(Wait::BackOff, later(now, wait))
            }
            (Ending::Rejected { error, delivery }, _) => {
                service.doubt(delivery, work, now);
                tries.fail(error);
                Sequel::Wait(Wait::Stalled, later(now, self.pace.stalled_retry))
            }
            // Behind all others: where one service's project is closed to the token, the others must not wait for it.
            (Ending::Denied { error }, _) => {
                tries.error = Some(error);
                Sequel::Next(Turn::Behind)
            }
            (Ending::Limited { error, .. } | Ending::Unrecorded { error }, _) => {
                tries.error = Some(error);
                Sequel::Next(tries.turn())
            }
            (Ending::Withdrawn, _) => Sequel::Next(tries.turn()),
        };
        if let Some(at) = self.at(key, now) {
            at.follow(sequel, tries);
        }
        if self.services.get(key).is_some_and(|service| !service.is_of_interest()) {
            self.services.remove(key);
        }
    }

    /// Takes in what an answer said of the rate limit, or what the ledger kept of it over a restart. Where it leaves no
    /// call, all calls wait for the next window.
    pub fn note_quota(&mut self, said: Window) {
        self.quota.note(said);
        if said.remaining == 0 {
            self.gate.limit(said.resets_at, format!("all {} calls of the rate limit's window are used", said.limit));
        }
    }

    /// An answer that says nothing of a rate limit: as long as none does, there is none.
    pub fn note_no_quota(&mut self) {
        self.quota.note_none();
    }

    /// Pauses all calls for a rate limit that the ledger kept over a restart.
    pub fn pause(&mut self, until: Timestamp, reason: String) {
        self.gate.limit(until, reason);
    }

    /// The token was replaced: calls that waited for that may go on.
    pub fn token_replaced(&mut self) {
        self.gate.token_replaced();
    }

    /// Ends every wait of a service now, though not a pause of all calls.
    pub fn retry_all(&mut self, now: Timestamp) {
        let Self { services, agenda, rules, .. } = self;
        for (key, service) in services {
            if let State::Waiting { ticket, .. } = service.state {
                agenda.cancel(ticket);
                At { key, service, agenda, rules, now }.wake();
            }
        }
    }

    /// When [`Engine::next_call`] may have something that it does not have now, unless something happens before.
    /// `None` where only an event can change anything. After `next_call` had nothing, it is always later than `now`.
    #[must_use]
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let opens = self.gate.opens(now);
        let has_room = opens.is_some() || self.in_flight < self.gate.room(now, self.pace.concurrency);
        // Without room only the end of a call makes some; to wake for a retry that has none would be a busy loop.
        let due = self.agenda.next_due().filter(|_| has_room).map(|due| opens.map_or(due, |opens| opens.max(due)));
        let queued = self.agenda.first_lane().filter(|_| has_room);
        let queued = queued.and_then(|lane| opens.max(self.quota.opens(class(lane), now)));
        let watch = self.watch_due(now).map(|due| due.max(self.quota.opens(Class::Other, now).unwrap_or(due)));
        [due, queued, watch.filter(|at| *at > now)].into_iter().flatten().min()
    }

    /// When a service may be read for drift; `None` while anything else goes first.
    fn watch_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.watching > 0 || self.agenda.first_lane().is_some() {
            return None;
        }
        let unread = later(self.agenda.longest_unread()?, self.pace.watch_period?);
        // Past a block it is the one call that proves that the cause is gone.
        Some(unread.max(self.watch_from).max(self.gate.opens(now).unwrap_or(now)))
    }

    /// How long after a read for drift the next one begins.
    fn watch_interval(&self, now: Timestamp) -> Duration {
        let watched = u32::try_from(self.agenda.watched()).unwrap_or(u32::MAX).max(1);
        self.quota.watch_interval(now).max(self.pace.watch_period.unwrap_or_default() / watched)
    }

    /// About how often each service is read for drift; `None` where none is.
    #[must_use]
    pub fn watch_period(&self, now: Timestamp) -> Option<Duration> {
        let period = self.pace.watch_period?;
        let watched = u32::try_from(self.agenda.watched() + self.watching).ok().filter(|watched| *watched > 0)?;
        Some(self.watch_interval(now).saturating_mul(watched).max(period))
    }

    /// Services in the queue for a call.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.agenda.queued()
    }

    /// Calls being made, without a read for drift.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether nothing is in the queue, being sent, or waiting after a failure that passes. Stalled services may be.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.in_flight == 0
            && self.agenda.first_lane().is_none()
            && self.services.values().all(|service| !matches!(service.state, State::Waiting { why: Wait::BackOff, .. }))
    }

    /// Whether all calls wait, and for what.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What the rate limit leaves.
    #[must_use]
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// What is kept back for changes, if reads wait for that now: until when.
    #[must_use]
    pub fn reads_wait_until(&self, now: Timestamp) -> Option<Timestamp> {
        let waits = self.agenda.first_lane().is_some_and(|lane| class(lane) == Class::Other);
        self.quota.opens(Class::Other, now).filter(|_| waits)
    }

    /// How each service stands, by name.
    pub fn services(&self, now: Timestamp) -> impl Iterator<Item = (&ServiceKey, Standing<'_>)> {
        self.services.iter().map(move |(key, service)| (key, self.stands(service, now)))
    }

    /// How one service stands; `None` for one that is neither desired nor known.
    #[must_use]
    pub fn standing(&self, key: &ServiceKey, now: Timestamp) -> Option<Standing<'_>> {
        self.services.get(key).map(|service| self.stands(service, now))
    }

    /// What one service is doing; `None` for one that is neither desired nor known.
    #[must_use]
    pub fn phase(&self, key: &ServiceKey) -> Option<Phase> {
        self.services.get(key).map(Service::phase)
    }

    fn stands<'a>(&'a self, service: &'a Service, now: Timestamp) -> Standing<'a> {
        Standing {
            desired: service.desired.as_ref(),
            known: service.known.as_ref(),
            seen: service.seen.as_ref(),
            unread: service.unread.as_deref(),
            step: service.step(&self.rules, now),
            phase: service.phase(),
            fights_until: service.fights_until(now),
        }
    }

    fn at<'a>(&'a mut self, key: &'a ServiceKey, now: Timestamp) -> Option<At<'a>> {
        let service = self.services.get_mut(key)?;
        Some(At { key, service, agenda: &mut self.agenda, rules: &self.rules, now })
    }

    /// Moves what has waited long enough into the queue.
    fn wake(&mut self, now: Timestamp) {
        while let Some(key) = self.agenda.take_due(now) {
            if let Some(at) = self.at(&key, now) {
                at.wake();
            }
        }
    }
}

fn class(lane: Lane) -> Class {
    match lane {
        Lane::Fresh | Lane::Retry => Class::Change,
        Lane::Read | Lane::ReadAgain | Lane::Correction => Class::Other,
    }
}

#[cfg(test)]
mod tests;
