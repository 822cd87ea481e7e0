//! The engine: which call is due for which service, and when. A state machine without I/O.
//!
//! What happens goes in ([`Engine::observe`], [`Engine::finish`], …), each time with the time; what is to be done comes
//! out ([`Engine::next_call`], [`Engine::next_wake`]). It names no clock, no random source and nothing async, so that a
//! simulated world can run a day of faults in a moment. The daemon and `--reconcile-once` drive the same engine.
//!
//! ```text
//!            new content, or nothing known                 accepted
//!   Resting ───────────────────────────────▶ Ready ─▶ InFlight ─────▶ Resting
//!      ▲                                       ▲          │
//!      │ manifest gone, suspended, or as applied│          ├─ network, timeout, 5xx ─▶ BackingOff ─▶ Ready
//!      └───────────────────────────────────────┘          ├─ other 4xx ────────────▶ Stalled ────▶ Ready (slowly)
//!                                                          └─ 401, 403, 429, full disk: Ready again, the gate closes
//! ```
//! The queue holds keys: each attempt takes the newest desired state when it begins. New content ends a wait at once.

mod agenda;
mod backoff;
mod gate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{Applied, Cause, DeploymentUpdate, Desired, Digest, Known, Place, ServiceKey};
use crate::plan::{self, Step};

use agenda::{Agenda, Lane, Ticket};
pub use backoff::Backoff;
pub use gate::{Block, Gate};

/// How the engine paces itself.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Most calls in flight at once; at least one.
    pub concurrency: usize,
    /// Waits between attempts that failed for a passing reason.
    pub backoff: Backoff,
    /// How long a refused update waits before it is tried again without new content.
    pub stalled_retry: Duration,
    /// How long all calls wait after the token was refused.
    pub denied_retry: Duration,
    /// How long all calls wait after the ledger could not be written.
    pub unwritable_retry: Duration,
}

impl Default for Pace {
    /// 8 calls in flight; 1 s doubling to 5 min between attempts; 10 min for refused updates; 1 min for a refused
    /// token; 5 s for a ledger that cannot be written.
    fn default() -> Self {
        Self {
            concurrency: 8,
            backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5 * 60) },
            stalled_retry: Duration::from_secs(10 * 60),
            denied_retry: Duration::from_secs(60),
            unwritable_retry: Duration::from_secs(5),
        }
    }
}

/// A call that is to be made now.
#[derive(Clone, Debug)]
pub struct Call {
    /// For which service.
    pub key: ServiceKey,
    /// What to send.
    pub update: Arc<DeploymentUpdate>,
    /// The digest of what is sent.
    pub digest: Digest,
    /// Why.
    pub cause: Cause,
    /// Where its manifest stands.
    pub place: Place,
    /// Which attempt at this content this is, from 1.
    pub attempt: u32,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The API accepted the update.
    Accepted,
    /// It failed for a reason that passes: network, timeout, 408, 425, 5xx.
    Transient {
        /// What went wrong.
        error: String,
        /// Whether the API may have taken the update all the same.
        delivery: Delivery,
        /// The least wait that the API asks for.
        wait: Duration,
    },
    /// The rate limit is used up; all calls wait this long.
    Limited {
        /// What the API said.
        error: String,
        /// Until the window resets.
        wait: Duration,
    },
    /// The token was refused (401, 403); all calls wait.
    Denied {
        /// What the API said.
        error: String,
    },
    /// The update was refused (other 4xx); it waits for new content, or the slow retry.
    Rejected {
        /// What the API said.
        error: String,
        /// Whether the API may have taken the update all the same (a redirect proves nothing).
        delivery: Delivery,
    },
    /// The intent could not be recorded, so the call was never made; all calls wait.
    Unrecorded {
        /// What went wrong with the ledger.
        error: String,
    },
    /// The call was never made, and nobody is at fault: it goes back to the queue.
    Withdrawn,
}

/// Whether a failed call may have changed the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It cannot have: it never reached the API, or was refused.
    Excluded,
    /// It may have.
    Unknown,
}

/// What a service is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is due.
    Resting,
    /// In the queue for a call.
    Ready {
        /// Failed attempts at this content so far.
        failed: u32,
        /// What went wrong last.
        error: Option<String>,
    },
    /// A call is being made.
    InFlight {
        /// What is being sent.
        digest: Digest,
        /// Which attempt at it, from 1.
        attempt: u32,
        /// When it began.
        since: Timestamp,
    },
    /// Waits after a failure that passes.
    BackingOff {
        /// What failed.
        digest: Digest,
        /// Failed attempts at it.
        failed: u32,
        /// When it goes back to the queue.
        until: Timestamp,
        /// What went wrong last.
        error: String,
    },
    /// Was refused; waits for new content, or the slow retry.
    Stalled {
        /// What was refused.
        digest: Digest,
        /// Failed attempts at it.
        failed: u32,
        /// When it goes back to the queue.
        until: Timestamp,
        /// What the API said.
        error: String,
    },
}

#[derive(Debug, Default)]
struct Service {
    desired: Option<Desired>,
    known: Option<Known>,
    state: State,
}

/// A [`Phase`] with its place in the agenda.
#[derive(Debug, Default)]
enum State {
    #[default]
    Resting,
    Ready {
        ticket: Ticket,
        tries: Tries,
    },
    InFlight {
        tries: Tries,
        since: Timestamp,
    },
    Waiting {
        ticket: Ticket,
        why: Wait,
        until: Timestamp,
        tries: Tries,
    },
}

/// What has happened to the content that is to be sent.
#[derive(Clone, Debug)]
struct Tries {
    digest: Digest,
    failed: u32,
    error: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    BackOff,
    Stalled,
}

/// What a call that ended leaves to be done for the content that it sent.
enum Sequel {
    Done,
    Again(Lane),
    Wait(Wait, Timestamp),
}

/// The state machine.
#[derive(Debug)]
pub struct Engine {
    pace: Pace,
    services: BTreeMap<ServiceKey, Service>,
    agenda: Agenda,
    gate: Gate,
    in_flight: usize,
}

impl Engine {
    /// An engine that knows what the ledger knows. It does nothing until it has seen the folder.
    #[must_use]
    pub fn new(pace: Pace, known: impl IntoIterator<Item = (ServiceKey, Known)>) -> Self {
        let service = |known| Service { known: Some(known), ..Service::default() };
        let services = known.into_iter().map(|(key, known)| (key, service(known))).collect();
        Self { pace, services, agenda: Agenda::default(), gate: Gate::default(), in_flight: 0 }
    }

    /// Takes a new desired state: all of it, as one snapshot of the folder has it. A service that it does not name is
    /// left alone. Content that differs from what a service waits with ends that wait.
    pub fn observe(&mut self, desired: BTreeMap<ServiceKey, Desired>) {
        for (key, service) in &mut self.services {
            if service.desired.is_some() && !desired.contains_key(key) {
                service.desired = None;
                reconsider(key, service, &mut self.agenda);
            }
        }
        let is_something = |service: &Service| {
            service.desired.is_some() || service.known.is_some() || matches!(service.state, State::InFlight { .. })
        };
        self.services.retain(|_, service| is_something(service));
        for (key, desired) in desired {
            match self.services.get_mut(&key) {
                Some(service) => {
                    service.desired = Some(desired);
                    reconsider(&key, service, &mut self.agenda);
                }
                None => {
                    let mut service = Service { desired: Some(desired), ..Service::default() };
                    reconsider(&key, &mut service, &mut self.agenda);
                    self.services.insert(key, service);
                }
            }
        }
    }

    /// The next call to make now, if one is due and there is room for it. Fresh content goes before retries. The caller
    /// makes the call and says how it ended by [`Engine::finish`].
    pub fn next_call(&mut self, now: Timestamp) -> Option<Call> {
        if self.in_flight >= self.gate.room(now, self.pace.concurrency) {
            return None;
        }
        self.wake(now);
        let key = self.agenda.take()?;
        let call = self.services.get_mut(&key).and_then(|service| begin(key, service, now));
        debug_assert!(call.is_some(), "only services that are due are in the queue");
        self.in_flight += usize::from(call.is_some());
        call
    }

    /// Takes how a call ended. `jitter` is a random number from 0 to 1 that spreads the retries.
    pub fn finish(&mut self, key: &ServiceKey, ending: Ending, now: Timestamp, jitter: f64) {
        let Some(service) = self.services.get_mut(key) else { return };
        let State::InFlight { tries, .. } = &service.state else { return };
        let mut tries = tries.clone();
        self.in_flight -= 1;
        self.gate.note(&ending, now, &self.pace);
        let lane = if tries.failed == 0 { Lane::Fresh } else { Lane::Retry };
        let sequel = match ending {
            Ending::Accepted => {
                service.known = Some(Known::Applied(Applied { digest: tries.digest }));
                Sequel::Done
            }
            Ending::Transient { error, delivery, wait } => {
                service.doubt(delivery);
                tries.fail(error);
                let wait = self.pace.backoff.wait(tries.failed, jitter).max(wait);
                Sequel::Wait(Wait::BackOff, later(now, wait))
            }
            Ending::Rejected { error, delivery } => {
                service.doubt(delivery);
                tries.fail(error);
                Sequel::Wait(Wait::Stalled, later(now, self.pace.stalled_retry))
            }
            // Behind all others: where one service's project is closed to the token, the others must not wait for it.
            Ending::Denied { error } => {
                tries.error = Some(error);
                Sequel::Again(Lane::Retry)
            }
            Ending::Limited { error, .. } | Ending::Unrecorded { error } => {
                tries.error = Some(error);
                Sequel::Again(lane)
            }
            Ending::Withdrawn => Sequel::Again(lane),
        };
        follow(key, service, sequel, tries, &mut self.agenda);
    }

    /// Pauses all calls for a rate limit that is known from elsewhere: an answer that leaves no call in the window, or
    /// a pause that the ledger kept over a restart.
    pub fn pause(&mut self, until: Timestamp, reason: String) {
        self.gate.limit(until, reason);
    }

    /// The token was replaced: calls that waited for that may go on.
    pub fn token_replaced(&mut self) {
        self.gate.token_replaced();
    }

    /// Ends every wait of a service now, though not a pause of all calls.
    pub fn retry_all(&mut self) {
        for (key, service) in &mut self.services {
            if let State::Waiting { ticket, .. } = service.state {
                self.agenda.cancel(ticket);
                requeue(key, service, &mut self.agenda);
            }
        }
    }

    /// When [`Engine::next_call`] may have something that it does not have now, unless something happens before.
    /// `None` where only an event can change anything. After `next_call` had nothing, it is always later than `now`.
    #[must_use]
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let opens = self.gate.opens(now);
        if opens.is_none() && self.in_flight >= self.gate.room(now, self.pace.concurrency) {
            // Only the end of a call makes room; to wake for a retry that has none would be a busy loop.
            return None;
        }
        if self.agenda.is_queued() {
            return opens;
        }
        let due = self.agenda.next_due()?;
        Some(opens.map_or(due, |opens| opens.max(due)))
    }

    /// Calls being made.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether nothing is in the queue, being sent, or waiting after a failure that passes. Stalled services may be.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.in_flight == 0
            && !self.agenda.is_queued()
            && self.services.values().all(|service| !matches!(service.state, State::Waiting { why: Wait::BackOff, .. }))
    }

    /// Whether all calls wait, and for what.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What is due for each service and what it is doing, by name.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceKey, Option<&Desired>, Option<&Known>, Phase)> {
        self.services
            .iter()
            .map(|(key, service)| (key, service.desired.as_ref(), service.known.as_ref(), service.phase()))
    }

    /// What one service is doing; `None` for one that is neither desired nor known.
    #[must_use]
    pub fn phase(&self, key: &ServiceKey) -> Option<Phase> {
        self.services.get(key).map(Service::phase)
    }

    /// Moves what has waited long enough into the queue.
    fn wake(&mut self, now: Timestamp) {
        while let Some(key) = self.agenda.take_due(now) {
            if let Some(service) = self.services.get_mut(&key) {
                requeue(&key, service, &mut self.agenda);
            }
        }
    }
}

impl Tries {
    fn none(digest: Digest) -> Self {
        Self { digest, failed: 0, error: None }
    }

    fn fail(&mut self, error: String) {
        self.failed = self.failed.saturating_add(1);
        self.error = Some(error);
    }
}

impl Service {
    /// The digest of what is to be sent, if anything is.
    fn due(&self) -> Option<Digest> {
        match plan::step(self.desired.as_ref(), self.known.as_ref())? {
            Step::Update(_) => self.desired.as_ref().map(|desired| desired.digest),
            Step::Unchanged | Step::Suspended | Step::Orphaned => None,
        }
    }

    /// After a call that failed: whether it is still known what the service has.
    fn doubt(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Unknown => self.known = Some(Known::InDoubt),
            Delivery::Excluded => {}
        }
    }

    fn phase(&self) -> Phase {
        match &self.state {
            State::Resting => Phase::Resting,
            State::Ready { tries, .. } => Phase::Ready { failed: tries.failed, error: tries.error.clone() },
            State::InFlight { tries, since } => {
                Phase::InFlight { digest: tries.digest, attempt: tries.failed + 1, since: *since }
            }
            State::Waiting { why, until, tries, .. } => {
                let (digest, failed, until) = (tries.digest, tries.failed, *until);
                let error = tries.error.clone().unwrap_or_default();
                match why {
                    Wait::BackOff => Phase::BackingOff { digest, failed, until, error },
                    Wait::Stalled => Phase::Stalled { digest, failed, until, error },
                }
            }
        }
    }
}

fn begin(key: ServiceKey, service: &mut Service, now: Timestamp) -> Option<Call> {
    let State::Ready { tries, .. } = &service.state else { return None };
    let Some(Step::Update(cause)) = plan::step(service.desired.as_ref(), service.known.as_ref()) else { return None };
    let desired = service.desired.as_ref()?;
    let call = Call {
        key,
        update: Arc::clone(&desired.update),
        digest: desired.digest,
        cause,
        place: desired.place.clone(),
        attempt: tries.failed + 1,
    };
    service.state = State::InFlight { tries: tries.clone(), since: now };
    Some(call)
}

/// After a look at the folder: brings what a service does in line with what is due now. A call in flight is left to
/// end first.
fn reconsider(key: &ServiceKey, service: &mut Service, agenda: &mut Agenda) {
    let due = service.due();
    match &service.state {
        State::InFlight { .. } => return,
        State::Resting if due.is_none() => return,
        State::Ready { tries, .. } | State::Waiting { tries, .. } if due == Some(tries.digest) => return,
        State::Ready { ticket, .. } | State::Waiting { ticket, .. } => agenda.cancel(*ticket),
        State::Resting => {}
    }
    service.state = fresh(key, due, agenda);
}

/// After a call: what comes next, unless what is due now is not what was sent.
fn follow(key: &ServiceKey, service: &mut Service, sequel: Sequel, tries: Tries, agenda: &mut Agenda) {
    let due = service.due();
    service.state = match sequel {
        Sequel::Again(lane) if due == Some(tries.digest) => State::Ready { ticket: agenda.queue(lane, key), tries },
        Sequel::Wait(why, until) if due == Some(tries.digest) => {
            State::Waiting { ticket: agenda.schedule(until, key), why, until, tries }
        }
        Sequel::Done | Sequel::Again(_) | Sequel::Wait(..) => fresh(key, due, agenda),
    };
}

/// The state of a service whose content has not been tried.
fn fresh(key: &ServiceKey, due: Option<Digest>, agenda: &mut Agenda) -> State {
    match due {
        Some(digest) => State::Ready { ticket: agenda.queue(Lane::Fresh, key), tries: Tries::none(digest) },
        None => State::Resting,
    }
}

/// From waiting to the queue; the caller has taken it off the timetable.
fn requeue(key: &ServiceKey, service: &mut Service, agenda: &mut Agenda) {
    if let State::Waiting { tries, .. } = &service.state {
        service.state = State::Ready { ticket: agenda.queue(Lane::Retry, key), tries: tries.clone() };
    }
}

/// `at` plus `wait`, or the end of time.
fn later(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
