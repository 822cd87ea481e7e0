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
//! Reading order: `call` (what goes out and comes back), `event` (what happened), this file, `turn` (which call is next),
//! `finish` (how it ended), `standing`, `service` (one service's transitions), `agenda`, `gate`, `quota`, `backoff`; then
//! `rollout`, `traced`, `questions`, `follow` and `looks` (rollouts), `order`, `hold`, `quarantine` (what an update waits for).

mod agenda;
mod backoff;
mod call;
mod event;
mod finish;
mod follow;
mod gate;
mod hold;
mod looks;
mod order;
mod quarantine;
mod questions;
mod quota;
mod rollout;
mod service;
mod standing;
mod traced;
mod turn;

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::{Desired, Diagnostic, Known, Quarantine, Rollout, ServiceKey, ServiceState, Suspend};
use crate::plan::{Closures, Rules, Seen, UnnamedCredentials};

use agenda::Agenda;
pub use backoff::Backoff;
pub use call::{Call, Delivery, Ending, Phase, Scope, Unsettled, Work};
pub use event::Event;
use follow::Rollouts;
pub use follow::{Follow, Look, Looked, Project};
use gate::Pause;
pub use gate::{Block, Gate};
pub use hold::Findings;
use hold::Holds;
use order::Dependents;
use quarantine::Quarantines;
pub use quarantine::{ChangedSince, Sought};
use quota::Class;
pub use quota::{Quota, SAME_WINDOW, Window};
pub use rollout::{accepted_at, found, goes_on};
use service::{At, Context, Service, State, Wait, later};
pub use service::{Effect, FLAPPING, flaps_until};
pub use standing::Standing;
use turn::class;

/// How the engine paces itself.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Most requests on the wire at once; at least one. A read for drift goes beside them.
    pub concurrency: usize,
    /// Calls beside these, whose intent or record is on its way to the disk while the others are on the wire.
    pub ahead: usize,
    /// Waits between attempts that failed for a passing reason.
    pub backoff: Backoff,
    /// How long a refused update waits before it is tried again without new content.
    pub stalled: Backoff,
    /// How long all calls wait after the token was refused.
    pub denied_retry: Duration,
    /// How long all calls wait after the ledger could not be written.
    pub unwritable_retry: Duration,
    /// The part of the rate limit's window that only changes may use, in percent.
    pub reserve_percent: u8,
    /// A service is read for drift no more often than this; `None`: never.
    pub watch_period: Option<Duration>,
    /// How long after its acceptance an update is checked.
    pub check_after: Duration,
    /// Requests an hour that are assumed while the API's answers speak of no rate limit.
    pub assumed_limit: u32,
    /// How rollouts are followed; `None`: they are not.
    pub follow: Option<Follow>,
}

impl Default for Pace {
    /// 8 calls in flight; 1 s doubling to 5 min between attempts; 30 s doubling to 10 min for refused updates; 1 min for a
    /// refused token; 5 s for a ledger that cannot be written; a tenth of the quota in reserve; 5 min between two reads
    /// for the drift of a service; 10 s until what was accepted is checked; 1,000 requests an hour, the provider's limit;
    /// rollouts are not followed.
    fn default() -> Self {
        Self {
            concurrency: 8,
            ahead: 4,
            backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5 * 60) },
            stalled: Backoff { first: Duration::from_secs(30), longest: Duration::from_secs(10 * 60) },
            denied_retry: Duration::from_secs(60),
            unwritable_retry: Duration::from_secs(5),
            reserve_percent: 10,
            watch_period: Some(Duration::from_secs(5 * 60)),
            check_after: Duration::from_secs(10),
            assumed_limit: 1000,
            follow: None,
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
    /// Requests whose end is not known, and that may still take effect.
    pub unsettled: Vec<Unsettled>,
    /// Whether what was accepted last is in effect.
    pub effect: Effect,
    /// Credentials that live used by the newest read, where the manifest named none.
    pub unnamed: Option<UnnamedCredentials>,
    /// The rollout of what was accepted last.
    pub rollout: Option<Rollout>,
    /// Content of it whose rollout failed.
    pub quarantine: Option<Quarantine>,
}

/// The state machine.
#[derive(Debug)]
pub struct Engine {
    pace: Pace,
    rules: Rules,
    services: BTreeMap<ServiceKey, Service>,
    agenda: Agenda,
    closures: Closures,
    /// When a service opens or closes next, by the wall clock.
    closures_change: Option<Timestamp>,
    gate: Gate,
    quota: Quota,
    in_flight: usize,
    /// Reads for drift in flight: one at most, in a pass as many as there is room for.
    watching: usize,
    /// No read for drift before.
    watch_from: Timestamp,
    /// How far the wall clock is from the one that never jumps.
    wall: SignedDuration,
    /// How many requests an update takes.
    update_requests: u32,
    /// Whether a snapshot of the folder was seen.
    observed: bool,
    /// The services that lost their manifests with the last one.
    lost: Vec<(ServiceKey, Arc<str>)>,
    /// Until when each service is read before an update is sent, because somebody else changes them.
    shared_until: Timestamp,
    /// The service that somebody else was seen to change last, and when.
    foreign: Option<(ServiceKey, Timestamp)>,
    rollouts: Rollouts,
    quarantines: Quarantines,
    /// What content waits for people.
    holds: Holds,
    events: Vec<Event>,
    /// Who waits for whom.
    dependents: Dependents,
    /// What people were told of all calls.
    told: event::Condition,
}

/// How long it counts that somebody else was seen to change services.
const SHARED: SignedDuration = SignedDuration::from_hours(1);

/// What is due already is tried again so soon.
const SOON: Duration = Duration::from_millis(1);

/// A step of the wall clock that is no mere adjustment.
const JUMP: SignedDuration = SignedDuration::from_secs(1);

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
            closures: Closures::default(),
            closures_change: None,
            gate: Gate::default(),
            quota: Quota::new(pace.reserve_percent, pace.assumed_limit),
            in_flight: 0,
            watching: 0,
            watch_from: Timestamp::MIN,
            wall: SignedDuration::ZERO,
            update_requests: 1,
            observed: false,
            lost: Vec::new(),
            shared_until: Timestamp::MIN,
            foreign: None,
            rollouts: Rollouts::new(pace.follow.is_some()),
            quarantines: Quarantines::default(),
            holds: Holds::default(),
            events: Vec::new(),
            dependents: Dependents::new(),
            told: event::Condition::default(),
        }
    }

    /// Takes over what an earlier process knew of a service; before the first [`Engine::observe`]. What it saw live
    /// counts only where that was what was applied: anything else is to be read again. Times that are still to come are
    /// those of a clock that was wrong, and count for nothing.
    pub fn recall(&mut self, key: &ServiceKey, memory: Memory, now: Timestamp) {
        // It rolls out also where nothing is due for the service.
        if let Some(rollout) = memory.rollout {
            self.rollouts.recall(key, rollout, now);
        }
        self.recall_quarantine(key, memory.quarantine);
        let Some(service) = self.services.get_mut(key) else { return };
        let past = |at: &Timestamp| *at <= now;
        service.looked_at = memory.looked_at.filter(past).unwrap_or_default();
        service.corrections = memory.corrections.into_iter().filter(past).collect();
        (service.unsettled, service.effect, service.unnamed) = (memory.unsettled, memory.effect, memory.unnamed);
        // Where something older may have come since, another read decides.
        let applied = service.known.filter(|known| !known.is_unverified()).and_then(|known| known.digest());
        service.seen = memory.seen.filter(|seen| Some(seen.compared) == applied && past(&seen.at));
    }

    /// Takes in what the wall clock says. People write down times by it, and it may jump.
    pub fn set_wall_clock(&mut self, wall: Timestamp, now: Timestamp) {
        let offset = wall.duration_since(now);
        if (offset - self.wall).abs() < JUMP {
            return;
        }
        self.wall = offset;
        let context = self.context(now);
        let Self { services, agenda, .. } = self;
        for (key, service) in services {
            let suspended = service.desired.as_ref().is_some_and(|desired| desired.policy.suspend != Suspend::No);
            if suspended {
                At { key, service, agenda, context }.reconsider();
            }
        }
        self.rule_anew(now);
        self.open_and_close(now);
        self.let_dependents_go(None, now);
    }

    /// Takes what closes services from now on. Says whether that is another thing than before.
    pub fn set_closures(&mut self, closures: Closures, now: Timestamp) -> bool {
        let is_news = self.closures != closures;
        if is_news {
            self.closures = closures;
            self.open_and_close(now);
        }
        is_news
    }

    /// What closes services.
    #[must_use]
    pub fn closures(&self) -> &Closures {
        &self.closures
    }

    /// Where the time has come: brings each service in line with what closes it now. Says whether that is another thing
    /// for any.
    pub fn mind_the_time(&mut self, now: Timestamp) -> bool {
        let wall = self.context(now).wall;
        self.closures_change.is_some_and(|at| at <= wall) && self.open_and_close(now)
    }

    /// Brings each service in line with what closes it now. Says whether that is another thing for any.
    fn open_and_close(&mut self, now: Timestamp) -> bool {
        let wall = self.context(now).wall;
        self.closures_change = self.closures.next_change(wall);
        let mut changed = Vec::new();
        let mut closures = self.closures.at(wall);
        for (key, service) in &mut self.services {
            let closed = closures.of(key);
            if service.closed != closed {
                service.closed = closed;
                changed.push(key.clone());
            }
        }
        let is_news = !changed.is_empty();
        self.reconsider(changed, now);
        is_news
    }

    /// How many requests an update takes from now on: PATCH has to read the service first.
    pub fn set_update_requests(&mut self, requests: u32) {
        self.update_requests = requests;
    }

    /// What happened since the last time that this was asked.
    pub fn take_events(&mut self, now: Timestamp) -> Vec<Event> {
        let condition = self.condition(now);
        self.events.extend(Event::between(&self.told, &condition));
        self.told = condition;
        let mut events = std::mem::take(&mut self.events);
        events.extend(self.rollouts.take_events());
        events
    }

    /// Takes a new desired state: all of it, as one snapshot of the folder has it. A service that it does not name is
    /// left alone. Content that differs from what a service waits with ends that wait. Says whether anything is new.
    pub fn observe(&mut self, desired: impl Borrow<BTreeMap<ServiceKey, Desired>>, now: Timestamp) -> bool {
        let desired = desired.borrow();
        if !self.observed {
            self.take_names(desired);
        }
        self.lost.clear();
        // Both are in the order of the keys.
        let mut desired = desired.iter().peekable();
        let (mut added, mut changed, mut gone, mut depends) = (Vec::new(), Vec::new(), false, false);
        for (key, service) in &mut self.services {
            let says = loop {
                match desired.peek().map(|(next, _)| (*next).cmp(key)) {
                    Some(Ordering::Less) => added.extend(desired.next()),
                    Some(Ordering::Equal) => break desired.next().map(|(_, desired)| desired),
                    Some(Ordering::Greater) | None => break None,
                }
            };
            if let (None, Some(before)) = (says, &service.desired) {
                self.lost.push((key.clone(), Arc::clone(&before.place.file)));
            }
            gone |= says.is_none();
            let depended = service.depends();
            if service.desire(says) {
                depends |= depended || service.depends();
                changed.push(key.clone());
            }
        }
        for (key, desired) in added.into_iter().chain(desired) {
            changed.push(key.clone());
            depends |= !desired.policy.depends_on.is_empty();
            // What is added to a folder that was seen before is news; what is there at the start is not.
            let fresh = self.observed;
            let desired = Some(desired.clone());
            self.services.insert(key.clone(), Service { desired, fresh, ..Service::default() });
        }
        self.observed = true;
        if depends {
            self.dependents = order::dependents(&self.services);
        }
        let is_new = !changed.is_empty();
        self.lift_by_manifests();
        changed.extend(self.rule(now));
        if depends || !self.dependents.is_empty() {
            changed.extend(self.await_again(None, now));
        }
        changed.sort_unstable();
        changed.dedup();
        let wall = self.context(now).wall;
        let mut closures = self.closures.at(wall);
        for key in &changed {
            if let Some(service) = self.services.get_mut(key) {
                service.closed = closures.of(key);
            }
        }
        self.reconsider(changed, now);
        self.disregard_rollouts();
        self.want_rollouts(now);
        if gone {
            let rollouts = &mut self.rollouts;
            self.services.retain(|key, service| {
                let stays = service.is_of_interest();
                if !stays {
                    rollouts.forget(key);
                }
                stays
            });
        }
        is_new
    }

    /// The services that a manifest named until the last [`Engine::observe`], and in which file.
    pub fn lost(&self) -> &[(ServiceKey, Arc<str>)] {
        &self.lost
    }

    /// Calls the services that the ledger knows by the names that manifests have for them, so that both are one in memory.
    fn take_names(&mut self, desired: &BTreeMap<ServiceKey, Desired>) {
        let name = |key: ServiceKey| desired.get_key_value(&key).map_or(key, |(name, _)| name.clone());
        self.services = std::mem::take(&mut self.services).into_iter().map(|(key, of)| (name(key), of)).collect();
    }

    /// Takes in what an answer said of the rate limit, or what the ledger kept of it over a restart. Where it leaves no
    /// call, all calls wait for the next window.
    pub fn note_quota(&mut self, said: Window) {
        self.quota.note(said);
        if said.remaining == 0 {
            self.gate
                .limit(said.resets_at, format!("all {} calls of the rate limit's window are used", said.limit).into());
        }
    }

    /// A request was answered, or lost, and nothing was said of a rate limit: it counts against the one that is assumed.
    pub fn count_request(&mut self, now: Timestamp) {
        self.quota.count_one(now);
    }

    /// Pauses all calls for a rate limit that the ledger kept over a restart.
    pub fn pause(&mut self, until: Timestamp, reason: Diagnostic) {
        self.gate.limit(until, reason);
    }

    /// Something was written to the ledger, without delay: it takes records again.
    pub fn ledger_was_written(&mut self) {
        self.gate.written();
    }

    /// The ledger took no record of what was decided: all calls wait until it does. Gives when that is tried again.
    pub fn ledger_refused(&mut self, error: Diagnostic, now: Timestamp) -> Timestamp {
        let again_at = later(now, self.pace.unwritable_retry);
        self.gate.refuse(again_at, error);
        again_at
    }

    /// Lets one call through, whatever closes the gate.
    pub fn ask(&mut self, now: Timestamp) {
        self.gate.ask(now);
    }

    /// The token was replaced: calls that waited for that may go on.
    pub fn token_replaced(&mut self) {
        self.gate.token_replaced();
    }

    /// Ends every wait of a service now, and lets one call through whatever closes the gate.
    pub fn retry_all(&mut self, now: Timestamp) {
        self.gate.ask(now);
        let context = self.context(now);
        let Self { services, agenda, .. } = self;
        for (key, service) in services {
            // What settles by itself is decided by nothing else.
            if let State::Waiting { ticket, why: Wait::BackOff | Wait::Stalled, .. } = service.state {
                agenda.cancel(ticket);
                At { key, service, agenda, context }.wake();
            }
        }
    }

    /// Ends the wait of one service now.
    pub fn retry(&mut self, key: &ServiceKey, now: Timestamp) {
        let Some(at) = self.at(key, now) else { return };
        if let State::Waiting { ticket, why: Wait::BackOff | Wait::Stalled, .. } = at.service.state {
            at.agenda.cancel(ticket);
            at.wake();
        }
    }

    /// Whether a service may be forgotten: no manifest names it, and nothing of it is under way, no read either.
    #[must_use]
    pub fn may_forget(&self, key: &ServiceKey) -> bool {
        let may_go = |service: &Service| service.desired.is_none() && matches!(service.state, State::Resting { .. });
        self.services.get(key).is_none_or(may_go)
    }

    /// Knows nothing of a service any more that may be forgotten.
    pub fn forget(&mut self, key: &ServiceKey) {
        if self.may_forget(key) {
            self.services.remove(key);
            self.rollouts.forget(key);
            self.quarantines.forget(key);
        }
    }

    /// When [`Engine::next_call`] may have something that it does not have now, unless something happens before.
    /// `None` where only an event can change anything. After `next_call` had nothing, it is always later than `now`. Looks at
    /// rollouts have [`Engine::next_look_wake`].
    #[must_use]
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let opens = self.gate.opens(now);
        let has_room = opens.is_some() || self.has_room(now);
        // Without room only the end of a call makes some; to wake for a retry that has none would be a busy loop.
        let due = self.agenda.next_due().filter(|_| has_room).map(|due| opens.map_or(due, |opens| opens.max(due)));
        let permitted = |lane| opens.max(self.quota.opens(class(lane), now, self.requests(lane)));
        let queued = self.lanes().filter(|_| has_room).filter_map(permitted).min();
        let watch = self.watch_due(now).map(|due| due.max(self.quota.opens(Class::Other, now, 1).unwrap_or(due)));
        let closures = self.closures_change.and_then(|at| at.checked_sub(self.wall).ok());
        let watch = watch.filter(|at| *at > now);
        [due, queued, watch, closures].into_iter().flatten().min()
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

    /// Whether nothing is in the queue, being sent, read or looked for, or waiting after a failure that passes. Stalled
    /// services may be.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let waits =
            |service: &Service| matches!(service.state, State::Waiting { why: Wait::BackOff | Wait::Settling, .. });
        self.in_flight == 0
            && !self.is_seeking()
            && self.agenda.first_lane().is_none()
            && (self.pace.watch_period.is_some() || (self.watching == 0 && self.agenda.next_check().is_none()))
            && !self.services.values().any(waits)
    }

    /// What is done where a manifest alone does not decide.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// How it paces itself.
    #[must_use]
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// What all calls wait for, if they do, as the state of a service for which one is due.
    #[must_use]
    pub fn halted(&self, now: Timestamp) -> Option<(ServiceState, &Pause)> {
        let blocked = self.gate.blocked().map(|(block, pause)| (block.state(), pause));
        blocked.or_else(|| self.gate.limited(now).map(|pause| (ServiceState::RateLimited, pause)))
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
        self.quota.opens(Class::Other, now, 1).filter(|_| waits)
    }

    /// What holds for all calls.
    fn condition(&self, now: Timestamp) -> event::Condition {
        event::Condition::of(&self.gate, self.reads_wait_until(now), now)
    }

    fn context(&self, now: Timestamp) -> Context {
        Context {
            rules: self.rules,
            now,
            wall: now.checked_add(self.wall).unwrap_or(now),
            reads_first: self.shared_until > now || self.gate.is_unreachable(),
            check_after: self.pace.check_after,
            in_turn: self.pace.watch_period.is_some(),
            guarded: self.holds.active,
        }
    }

    fn at<'a>(&'a mut self, key: &'a ServiceKey, now: Timestamp) -> Option<At<'a>> {
        let context = self.context(now);
        let service = self.services.get_mut(key)?;
        Some(At { key, service, agenda: &mut self.agenda, context })
    }

    /// Moves what has waited long enough into the queue.
    fn wake(&mut self, now: Timestamp) {
        let mut unruled = false;
        while let Some(key) = self.agenda.take_due(now) {
            if let Some(at) = self.at(&key, now) {
                at.wake();
            }
            self.let_dependents_go(Some(&key), now);
            let context = self.context(now);
            unruled |= self.services.get(&key).is_some_and(|service| service.is_unruled(context));
        }
        // A suspension ended, say.
        if unruled {
            self.rule_anew(now);
        }
    }
}

#[cfg(test)]
mod tests;
