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
//! Reading order: `call` (what goes out and comes back), `event` (what happened), this file, `service` (one service's
//! transitions), `agenda`, `gate`, `quota`, `backoff`.

mod agenda;
mod backoff;
mod call;
mod event;
mod follow;
mod gate;
mod hold;
mod order;
mod quarantine;
mod quota;
mod rollout;
mod service;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::{
    Cause, DeploymentStatus, Desired, Diagnostic, HeldBy, Known, Quarantine, Rollout, RolloutState, ServiceKey,
    ServiceState, Suspend,
};
use crate::plan::{Closures, Rules, Seen, Step, UnnamedCredentials};

use agenda::{Agenda, Lane};
pub use backoff::Backoff;
pub use call::{Call, Delivery, Ending, Phase, Scope, Unsettled, Work};
pub use event::Event;
use follow::Rollouts;
pub use follow::{Follow, Look, Looked, Project};
use gate::Pause;
use gate::Shown;
pub use gate::{Block, Gate};
pub use hold::Findings;
use hold::Holds;
use order::Dependents;
use quarantine::Quarantines;
pub use quarantine::{ChangedSince, Sought};
use quota::Class;
pub use quota::{Quota, SAME_WINDOW, Window};
pub use rollout::{accepted_at, goes_on};
use service::{At, Context, Sequel, Service, State, Turn, Wait, later};
pub use service::{Effect, FLAPPING, flaps_until};

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
    pub unread: Option<&'a Diagnostic>,
    /// What is to be done for it.
    pub step: Option<Step>,
    /// What it is doing.
    pub phase: Phase,
    /// Until when its drift is left alone, because it came back after each of three corrections within an hour.
    pub flaps_until: Option<Timestamp>,
    /// Whether what was accepted last is in effect.
    pub effect: Effect,
    /// Its state, in a word.
    pub state: ServiceState,
    /// Until when it is in that state, where that is a time.
    pub until: Option<Timestamp>,
    /// Why, where there is more to say than the word.
    pub reason: Option<Cow<'a, Diagnostic>>,
    /// What holds its update, where something does.
    pub held_by: Vec<HeldBy>,
    /// The rollout of what was accepted last, as far as it is known.
    pub rollout: Option<&'a Rollout>,
}

impl<'a> Standing<'a> {
    /// What the newest read showed, where that is something else than was applied.
    #[must_use]
    pub fn drift(&self) -> Option<&'a Seen> {
        let applied = self.known?.digest()?;
        self.seen.filter(|seen| seen.has_drifted_from(applied))
    }
}

/// A state, until when, and why.
type Condition<'a> = (ServiceState, Option<Timestamp>, Option<Cow<'a, Diagnostic>>);

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
            shared_until: Timestamp::MIN,
            foreign: None,
            rollouts: Rollouts::default(),
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

    /// Brings each service in line with what closes it now.
    fn open_and_close(&mut self, now: Timestamp) {
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
        self.reconsider(changed, now);
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
    pub fn observe(&mut self, desired: BTreeMap<ServiceKey, Desired>, now: Timestamp) -> bool {
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
            // What is added to a folder that was seen before is news; what is there at the start is not.
            let fresh = self.observed;
            self.services.insert(key, Service { desired: Some(desired), fresh, ..Service::default() });
        }
        self.observed = true;
        self.dependents = order::dependents(&self.services);
        let is_new = !changed.is_empty();
        self.lift_by_manifests();
        changed.extend(self.rule(now));
        changed.extend(self.await_again(None, now));
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

    /// How an earlier process's update ended matters no more where the manifest asks for something else by now.
    fn disregard_rollouts(&mut self) {
        let Self { services, rollouts, .. } = self;
        let differs = |key: &&ServiceKey| {
            let wanted = services.get(*key).and_then(Service::target).map(|desired| desired.digest);
            wanted.is_some_and(|wanted| rollouts.of(key).is_some_and(|rollout| rollout.digest != wanted))
        };
        let other: Vec<ServiceKey> = rollouts.undeployed().filter(differs).cloned().collect();
        for key in other {
            rollouts.disregard(&key);
        }
    }

    /// The next call to make now, if one is due and there is room and quota for it. Fresh updates go before retries,
    /// these before reads. `owed` is how many requests the calls in flight have still to make or to hear of. The caller
    /// makes the call and says how it ended by [`Engine::finish`].
    pub fn next_call(&mut self, now: Timestamp, owed: usize) -> Option<Call> {
        if self.closures_change.is_some_and(|at| at <= self.context(now).wall) {
            self.open_and_close(now);
        }
        let call = self.next_due(now, owed).or_else(|| self.next_watch(now, owed))?;
        self.gate.began();
        Some(call)
    }

    /// Whether a call in flight may make one more request, beside `owed` of others.
    #[must_use]
    pub fn permits_another(&self, work: Work, now: Timestamp, owed: usize) -> bool {
        let class = match work {
            Work::Send(_) => Class::Change,
            Work::Decide(_) | Work::Watch => Class::Other,
        };
        self.gate.limited(now).is_none() && self.quota.permits(class, now, 1, owed)
    }

    fn next_due(&mut self, now: Timestamp, owed: usize) -> Option<Call> {
        if !self.has_room(now) {
            return None;
        }
        self.wake(now);
        let permits = |lane: &Lane| self.quota.permits(class(*lane), now, self.requests(*lane), owed);
        let lane = self.lanes().find(|lane| self.gate.is_asked() || permits(lane))?;
        let key = self.agenda.take(lane)?;
        let call = self.begin(&key, now);
        debug_assert!(call.is_some(), "only services that are due are in the queue");
        self.in_flight += usize::from(call.is_some());
        call
    }

    fn room(&self, now: Timestamp) -> usize {
        self.gate.room(now, self.pace.concurrency, self.pace.ahead)
    }

    /// Whether one more call may begin. A block is probed by one call, whatever its kind.
    fn has_room(&self, now: Timestamp) -> bool {
        let watching = if self.gate.blocked().is_some() { self.watching } else { 0 };
        self.in_flight + watching < self.room(now)
    }

    /// The lanes that the next call may be from, the first that the quota permits.
    fn lanes(&self) -> impl Iterator<Item = Lane> {
        let tried = self.gate.probes_what_failed().then(|| self.agenda.first_tried_lane()).flatten();
        tried.into_iter().chain(self.agenda.first_lane())
    }

    /// How many requests a call from a lane takes, as far as that is known before.
    fn requests(&self, lane: Lane) -> u32 {
        match lane {
            Lane::Fresh | Lane::Retry | Lane::Correction => self.update_requests,
            Lane::Read | Lane::ReadAgain => 1,
        }
    }

    /// The next read for drift: beside the queue, and only while that is empty.
    fn next_watch(&mut self, now: Timestamp, owed: usize) -> Option<Call> {
        if self.watch_due(now)? > now || !self.quota.permits(Class::Other, now, 1, owed) {
            return None;
        }
        if self.pace.watch_period.is_some() {
            self.watch_from = later(now, self.watch_interval(now));
        }
        self.quota.watch();
        let key = self.agenda.take_watched(now)?;
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
        let had = match ending {
            Ending::Accepted { .. } => Some((tries.digest, true)),
            Ending::Adopted { .. } => Some((tries.digest, false)),
            _ => None,
        };
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
                // It was sent by a process that did not hear of it, and is as good as accepted now.
                if work == Work::Decide(Cause::InDoubt) {
                    self.rollouts.found(key, tries.digest, status, now);
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
        if let Some((content, was_sent)) = had
            && (was_sent || self.quarantine(key).is_some_and(|quarantine| quarantine.released))
        {
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
    fn await_again(&mut self, dependency: Option<&ServiceKey>, now: Timestamp) -> Vec<ServiceKey> {
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
    fn let_dependents_go(&mut self, key: Option<&ServiceKey>, now: Timestamp) {
        let changed = self.await_again(key, now);
        self.reconsider(changed, now);
    }

    /// Brings what services do in line with what is due for them now, and tells what holds them.
    fn reconsider(&mut self, keys: impl IntoIterator<Item = ServiceKey>, now: Timestamp) {
        for key in keys {
            if let Some(at) = self.at(&key, now) {
                at.reconsider();
            }
            self.tell_held(&key, now);
        }
    }

    /// Tells what holds the update of a service, once.
    fn tell_held(&mut self, key: &ServiceKey, now: Timestamp) {
        let context = self.context(now);
        if let Some(service) = self.services.get_mut(key) {
            let held_by = service.held_by(context);
            self.events.extend(event::held(service, key, held_by));
        }
    }

    /// Somebody else changed a service. Once may be a person; where it happens to several services, or live has new
    /// content before it was sent from here, there is another reconciler: from then on each service is read before an
    /// update is sent.
    fn meet_somebody(&mut self, key: &ServiceKey, work: Work, now: Timestamp) {
        let lately = |at: Timestamp| now.duration_since(at) < SHARED;
        let another = self.foreign.as_ref().is_some_and(|(other, at)| other != key && lately(*at));
        let overtaken = matches!(work, Work::Decide(_));
        self.foreign = Some((key.clone(), now));
        if another || overtaken {
            if self.shared_until <= now {
                self.events.push(Event::SomebodyElse { key: key.clone() });
            }
            self.shared_until = now.checked_add(SHARED).unwrap_or(Timestamp::MAX);
        }
    }

    /// The API can be reached again: nothing waits any more for having met the outage.
    fn end_outage(&mut self, now: Timestamp) {
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

    /// Knows nothing of a service any more, where no manifest names it and nothing of it is under way.
    pub fn forget(&mut self, key: &ServiceKey) {
        let may_go = |service: &Service| service.desired.is_none() && matches!(service.state, State::Resting { .. });
        if self.services.get(key).is_some_and(may_go) {
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

    /// When a service may be read for drift; `None` while anything else goes first.
    fn watch_due(&self, now: Timestamp) -> Option<Timestamp> {
        let most = if self.pace.watch_period.is_some() { 1 } else { self.room(now) };
        let is_probed = self.gate.blocked().is_some() && self.in_flight > 0;
        if self.watching >= most.max(1) || is_probed || self.agenda.first_lane().is_some() {
            return None;
        }
        let unread = self.agenda.longest_unread().zip(self.pace.watch_period).map(|(read, period)| later(read, period));
        let due = [unread, self.agenda.next_check()].into_iter().flatten().min()?;
        // Past a block it is the one call that proves that the cause is gone.
        Some(due.max(self.watch_from).max(self.gate.opens(now).unwrap_or(now)))
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

    /// The next look at rollouts, if one is due and there is quota for it. The caller makes it and says what it showed by
    /// [`Engine::looked`].
    pub fn next_look(&mut self, now: Timestamp, owed: usize) -> Option<Look> {
        let follow = self.pace.follow?;
        self.expire_rollouts(follow, now);
        if self.rollouts.due(follow)? > now || self.gate.opens(now).is_some() {
            return None;
        }
        if self.quota.follow_opens(now).is_some() {
            self.rollouts.starve(follow, now);
            return None;
        }
        if !self.quota.permits_follow(now, owed) {
            return None;
        }
        let look = self.rollouts.next(follow, now)?;
        self.quota.follow();
        Some(look)
    }

    /// A service that a look is about.
    #[must_use]
    pub fn service_of<'a>(&'a self, look: &'a Look) -> Option<&'a ServiceKey> {
        self.rollouts.service_of(look)
    }

    /// Takes in that rollouts took too long.
    fn expire_rollouts(&mut self, follow: Follow, now: Timestamp) {
        if self.rollouts.expires(follow).is_some_and(|at| at <= now) {
            self.rollouts.expire(follow, now);
            self.judge_rollouts(now);
            self.want_rollouts(now);
        }
    }

    /// Takes in what a look at rollouts showed.
    pub fn looked(&mut self, looked: Looked, now: Timestamp) {
        self.rollouts.looked(looked, now);
        self.judge_rollouts(now);
        self.let_dependents_go(None, now);
        self.want_rollouts(now);
    }

    /// Whose rollouts others wait for.
    fn want_rollouts(&mut self, now: Timestamp) {
        let context = self.context(now);
        let is_held = |key: &ServiceKey| self.services.get(key).is_some_and(|of| of.waits_for_a_rollout(context));
        let is_wanted = |key: &&ServiceKey| self.dependents.get(*key).is_some_and(|of| of.iter().any(is_held));
        let wanted = self.rollouts.undeployed().filter(is_wanted).cloned().collect();
        self.rollouts.want(wanted);
    }

    /// A service was read: what that shows of its rollout costs nothing more.
    pub fn saw(&mut self, key: &ServiceKey, status: Option<DeploymentStatus>, paused: Option<bool>, now: Timestamp) {
        self.rollouts.saw(key, status, paused, now);
        self.judge_rollouts(now);
        self.let_dependents_go(Some(key), now);
    }

    /// Whether a rollout is worth waiting for: it has not ended, and can be looked at before its time is over.
    #[must_use]
    pub fn awaits_rollouts(&self, now: Timestamp) -> bool {
        let Some(follow) = self.pace.follow else { return false };
        self.rollouts.are_awaited(follow, self.looks_open(now).unwrap_or(now), now)
    }

    /// Whether something waits for the rollout of what it depends on: it goes when that completed.
    #[must_use]
    pub fn awaits_dependencies(&self, now: Timestamp) -> bool {
        let rolls = |key: &ServiceKey| self.rollouts.may_deploy(key);
        let waits = |service: &Service| {
            let awaited = service.desired.iter().flat_map(|desired| desired.policy.awaited());
            !service.awaited.is_empty() && awaited.into_iter().any(rolls)
        };
        self.awaits_rollouts(now) && self.services.values().any(waits)
    }

    /// The rollout of what was accepted last for a service, as far as it is known.
    #[must_use]
    pub fn rollout(&self, key: &ServiceKey) -> Option<&Rollout> {
        self.rollouts.of(key)
    }

    /// How many rollouts have not ended.
    #[must_use]
    pub fn rolling(&self) -> usize {
        self.rollouts.rolling()
    }

    /// How many rollouts are in each state.
    #[must_use]
    pub fn rollouts(&self) -> BTreeMap<RolloutState, u64> {
        self.rollouts.count()
    }

    /// When looks may be made that may not now.
    fn looks_open(&self, now: Timestamp) -> Option<Timestamp> {
        self.gate.opens(now).max(self.quota.follow_opens(now)).max(self.quota.opens(Class::Other, now, 1))
    }

    /// When the next look is due, or a rollout takes too long: a moment after `now` where that is by now, and what keeps it
    /// from being made is no time.
    #[must_use]
    pub fn next_look_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let follow = self.pace.follow?;
        let due = self.rollouts.due(follow).map(|due| self.looks_open(now).map_or(due, |opens| opens.max(due)));
        let wake = [due, self.rollouts.expires(follow)].into_iter().flatten().min()?;
        Some(wake.max(later(now, SOON)))
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

    /// Whether nothing is in the queue, being sent or read, or waiting after a failure that passes. Stalled services
    /// may be.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let waits =
            |service: &Service| matches!(service.state, State::Waiting { why: Wait::BackOff | Wait::Settling, .. });
        self.in_flight == 0
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

    /// How each service stands, by name.
    pub fn services(&self, now: Timestamp) -> impl Iterator<Item = (&ServiceKey, Standing<'_>)> {
        self.services.iter().map(move |(key, service)| (key, self.stands(key, service, now)))
    }

    /// How one service stands; `None` for one that is neither desired nor known.
    #[must_use]
    pub fn standing(&self, key: &ServiceKey, now: Timestamp) -> Option<Standing<'_>> {
        self.services.get_key_value(key).map(|(key, service)| self.stands(key, service, now))
    }

    /// What one service is doing; `None` for one that is neither desired nor known.
    #[must_use]
    pub fn phase(&self, key: &ServiceKey) -> Option<Phase> {
        self.services.get(key).map(Service::phase)
    }

    fn stands<'a>(&'a self, key: &ServiceKey, service: &'a Service, now: Timestamp) -> Standing<'a> {
        let context = self.context(now);
        let step = service.step(context);
        let rollout = self.rollouts.of(key);
        let (state, until, reason) = match (self.state(service, step, context), rollout) {
            ((ServiceState::Unchanged, ..), Some(rollout)) if rollout.state.has_failed() => {
                (ServiceState::RolloutFailed, None, rollout.reason.as_deref().map(|reason| Cow::Owned(reason.into())))
            }
            (condition, _) => condition,
        };
        Standing {
            desired: service.desired.as_ref(),
            known: service.known.as_ref(),
            seen: service.seen.as_ref(),
            unread: service.unread.as_ref(),
            step,
            phase: service.phase(),
            flaps_until: service.flaps_until(now),
            effect: service.effect,
            state,
            until,
            reason,
            held_by: service.held_by(context),
            rollout,
        }
    }

    /// The state of a service, until when, and why.
    fn state<'a>(&'a self, service: &'a Service, step: Option<Step>, context: Context) -> Condition<'a> {
        match &service.state {
            State::InFlight { work: Work::Watch, .. } | State::Resting { .. } => service.state_at_rest(step, context),
            State::InFlight { .. } => (ServiceState::InFlight, None, None),
            State::Waiting { why, until, tries, .. } => {
                let state = match why {
                    Wait::BackOff => ServiceState::BackingOff,
                    Wait::Stalled => ServiceState::Stalled,
                    Wait::Settling => ServiceState::InDoubt,
                };
                (state, Some(*until), tries.error.as_ref().map(Cow::Borrowed))
            }
            State::Ready { ticket, tries } => self.state_in_queue(*ticket, tries.error.as_ref(), step, context),
        }
    }

    /// The state of a service for which a call is due: what keeps it back, if anything does.
    fn state_in_queue<'a>(
        &'a self,
        ticket: agenda::Ticket,
        error: Option<&'a Diagnostic>,
        step: Option<Step>,
        context: Context,
    ) -> Condition<'a> {
        if let Some((state, pause)) = self.halted(context.now) {
            return (state, Some(pause.until), Some(Cow::Borrowed(&pause.reason)));
        }
        let error = error.map(Cow::Borrowed);
        let agenda::Ticket::Queued(lane, _) = ticket else { return (ServiceState::Queued, None, error) };
        if let Some(until) = self.quota.opens(class(lane), context.now, self.requests(lane)) {
            let reason = "the rest of the rate limit's window is kept for changes";
            return (ServiceState::RateLimited, Some(until), Some(Cow::Owned(reason.into())));
        }
        match step {
            Some(Step::ReadLive(Cause::InDoubt)) => (ServiceState::InDoubt, None, error),
            _ => (ServiceState::Queued, None, error),
        }
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

fn class(lane: Lane) -> Class {
    match lane {
        Lane::Fresh | Lane::Retry => Class::Change,
        Lane::Read | Lane::ReadAgain | Lane::Correction => Class::Other,
    }
}

#[cfg(test)]
mod tests;
