//! What must hold at every step. It keeps a picture of its own of what the process was told and did, and shares no
//! rule with the engine.

use std::time::Duration;

use truenorth::engine::{Call, Ending, Engine, Pace, Phase};
use truenorth::model::{Cause, Known};

use crate::api::{Effect, Request, Token};
use crate::clock::Moment;
use crate::content::{Name, Version};
use crate::disk::{CallId, Disk};
use crate::folder::{Snapshot, Wanted};

/// An invariant that did not hold, and how.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

pub(crate) type Held = Result<(), Broken>;

/// Breaks off where a condition does not hold.
macro_rules! hold {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(Broken(format!($($message)+)));
        }
    };
}
pub(crate) use hold;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Fresh,
    Retry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    ItsTurn,
    BackOff,
    Stalled,
}

/// A service for which a call is due that is not being made.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    version: Version,
    what: For,
    lane: Lane,
    failed: u32,
    /// No call before.
    earliest: Moment,
    /// Since when it is in its lane.
    since: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    version: Version,
    failed: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    wanted: Option<Wanted>,
    waiting: Option<Waiting>,
    flight: Option<Flight>,
}

/// What one process must keep to.
#[derive(Debug)]
pub(crate) struct Checks {
    pace: Pace,
    services: Vec<Seen>,
    token: Token,
    limited: Moment,
    denied: Option<Moment>,
    unwritable: Option<Moment>,
}

/// What the API must never see, whatever process it talks to.
#[derive(Debug)]
pub(crate) struct Record {
    /// By service: the request on its way, and the look that what is live follows from.
    on_its_way: Vec<Option<CallId>>,
    newest: Vec<u64>,
}

/// What a service is due, by the rules of the design.
fn due(wanted: Option<Wanted>, name: Name, disk: &Disk) -> Option<Version> {
    let wanted = wanted.filter(|wanted| !wanted.suspend)?;
    let accepted = disk.known(name).and_then(|known| known.digest());
    (accepted != Some(name.digest(wanted.version))).then_some(wanted.version)
}

impl Waiting {
    fn fresh(version: Version, now: Moment) -> Self {
        Self { version, what: For::ItsTurn, lane: Lane::Fresh, failed: 0, earliest: now, since: now }
    }

    /// Whether nothing but room and the gate can keep it back; the engine counts in finer steps than the world.
    fn is_ripe(&self, now: Moment) -> bool {
        self.what == For::ItsTurn || self.earliest < now
    }
}

impl Checks {
    /// For a process that just began, with what the ledger kept.
    pub(crate) fn new(pace: Pace, services: usize, token: Token, pause: Option<Moment>) -> Self {
        let services = vec![Seen::default(); services];
        Self { pace, services, token, limited: pause.unwrap_or_default(), denied: None, unwritable: None }
    }

    fn in_flight(&self) -> usize {
        self.services.iter().filter(|seen| seen.flight.is_some()).count()
    }

    fn is_blocked(&self) -> bool {
        self.denied.is_some() || self.unwritable.is_some()
    }

    /// How many calls there may be once the gate is open.
    fn room(&self) -> usize {
        if self.is_blocked() { 1 } else { self.pace.concurrency }
    }

    /// When the gate opens, or opened.
    fn opens(&self) -> Moment {
        self.limited.max(self.denied.unwrap_or_default()).max(self.unwritable.unwrap_or_default())
    }

    /// The process saw the folder.
    pub(crate) fn observe(&mut self, snapshot: &Snapshot, disk: &Disk, now: Moment) {
        for (number, seen) in self.services.iter_mut().enumerate() {
            let name = Name(number);
            seen.wanted = snapshot.of(name);
            if seen.flight.is_none() {
                let now_due = due(seen.wanted, name, disk);
                if seen.waiting.map(|waiting| waiting.version) != now_due {
                    seen.waiting = now_due.map(|version| Waiting::fresh(version, now));
                }
            }
        }
    }

    /// The process was asked to look past all waits.
    pub(crate) fn retry_all(&mut self, now: Moment) {
        for waiting in self.services.iter_mut().filter_map(|seen| seen.waiting.as_mut()) {
            if waiting.what != For::ItsTurn {
                (waiting.what, waiting.earliest, waiting.since) = (For::ItsTurn, now, now);
            }
        }
    }

    pub(crate) fn limited(&mut self, until: Moment) {
        self.limited = self.limited.max(until);
    }

    pub(crate) fn token_replaced(&mut self, token: Token) {
        self.token = token;
        self.denied = None;
    }

    /// The engine begins a call.
    pub(crate) fn begin(&mut self, call: &Call, disk: &Disk, now: Moment) -> Held {
        let name = Name::of(&call.key);
        let version = name.version(call.digest);
        let seen = self.services[name.0];
        hold!(seen.flight.is_none(), "one in flight: a second call for {name} begins");
        hold!(
            self.in_flight() < self.room(),
            "concurrency: a call for {name} begins beside {} others, room is {}",
            self.in_flight(),
            self.room()
        );
        hold!(self.opens() <= now, "gate: a call for {name} begins before {}", self.opens());
        let Some(wanted) = seen.wanted else {
            return Err(Broken(format!("absent: a call for {name}, which no manifest names")));
        };
        hold!(!wanted.suspend, "suspended: a call for {name}");
        hold!(
            version == wanted.version && *call.update == *name.desired(version, false).update,
            "newest wins: {version} of {name} is sent, the folder says {}",
            wanted.version
        );
        let known = disk.known(name);
        hold!(
            known.as_ref().and_then(Known::digest) != Some(call.digest),
            "needless: {version} of {name} is what the ledger knows as accepted last"
        );
        let cause = match known {
            None => Cause::New,
            Some(Known::InDoubt) => Cause::InDoubt,
            Some(Known::Applied(_)) => Cause::Changed,
        };
        hold!(call.cause == cause, "cause: {:?} is said for {name}, it is {cause:?}", call.cause);
        let Some(waiting) = seen.waiting else {
            return Err(Broken(format!("not due: a call for {name} begins")));
        };
        hold!(
            waiting.earliest <= now,
            "backoff: attempt {} at {version} of {name} begins before {}",
            call.attempt,
            waiting.earliest
        );
        hold!(
            call.attempt == waiting.failed + 1,
            "attempts: {} is said for {name} after {} failures",
            call.attempt,
            waiting.failed
        );
        for (other, waits) in self.services.iter().enumerate().filter_map(|(n, s)| Some((Name(n), s.waiting?))) {
            hold!(
                other == name || waits.lane != Lane::Fresh || waiting.lane == Lane::Fresh,
                "fresh first: the retry of {name} goes before the fresh content of {other}"
            );
            hold!(
                other == name
                    || (waits.lane, waiting.lane) != (Lane::Fresh, Lane::Fresh)
                    || waits.since >= waiting.since,
                "first come, first served: {name} waits since {}, {other} since {}",
                waiting.since,
                waits.since
            );
        }
        let flight = Flight { version, failed: waiting.failed };
        self.services[name.0] = Seen { wanted: seen.wanted, waiting: None, flight: Some(flight) };
        Ok(())
    }

    /// A call that was made with a token is about to be told to the engine as ended so.
    pub(crate) fn ended(&self, name: Name, ending: &Ending, token: Token) -> Held {
        hold!(
            token == self.token || !matches!(ending, Ending::Denied { .. }),
            "token: a refusal of {token:?} for {name} is held against {:?}",
            self.token
        );
        Ok(())
    }

    /// The engine is told how a call ended, with a random number for the wait.
    pub(crate) fn finish(&mut self, name: Name, ending: &Ending, disk: &Disk, now: Moment, jitter: f64) -> Held {
        let Some(flight) = self.services[name.0].flight.take() else {
            return Err(Broken(format!("a call ended for {name} that never began")));
        };
        let stays = Waiting {
            version: flight.version,
            what: For::ItsTurn,
            lane: if flight.failed == 0 { Lane::Fresh } else { Lane::Retry },
            failed: flight.failed,
            earliest: now,
            since: now,
        };
        let failed = flight.failed + 1;
        let after = |what, wait| Waiting { what, lane: Lane::Retry, failed, earliest: now.after(wait), ..stays };
        let next = match ending {
            Ending::Accepted => {
                (self.denied, self.unwritable) = (None, None);
                None
            }
            Ending::Transient { wait, .. } => {
                self.unwritable = None;
                Some(after(For::BackOff, self.backoff(failed, jitter).max(*wait)))
            }
            Ending::Rejected { .. } => {
                (self.denied, self.unwritable) = (None, None);
                Some(after(For::Stalled, self.pace.stalled_retry))
            }
            Ending::Limited { wait, .. } => {
                self.unwritable = None;
                self.limited(now.after(*wait));
                Some(stays)
            }
            // Its intent was recorded, so the ledger can be written.
            Ending::Denied { .. } => {
                self.denied = self.denied.max(Some(now.after(self.pace.denied_retry)));
                self.unwritable = None;
                Some(Waiting { lane: Lane::Retry, ..stays })
            }
            Ending::Unrecorded { .. } => {
                self.unwritable = Some(now.after(self.pace.unwritable_retry));
                Some(stays)
            }
            Ending::Withdrawn => Some(stays),
        };
        let now_due = due(self.services[name.0].wanted, name, disk);
        let same = next.filter(|next| now_due == Some(next.version));
        self.services[name.0].waiting = same.or_else(|| now_due.map(|version| Waiting::fresh(version, now)));
        Ok(())
    }

    /// Full jitter: a random part of 1 s, 2 s, 4 s … 5 min.
    fn backoff(&self, failed: u32, jitter: f64) -> Duration {
        let (first, longest) = (self.pace.backoff.first.as_secs_f64(), self.pace.backoff.longest.as_secs_f64());
        Duration::from_secs_f64((first * 2_f64.powi(i32::try_from(failed - 1).unwrap())).min(longest) * jitter)
    }

    /// The engine has no more calls for now: it must be right about that, and about when to be asked again.
    pub(crate) fn rest(&self, engine: &Engine, disk: &Disk, now: Moment) -> Held {
        let in_flight = self.in_flight();
        hold!(engine.in_flight() == in_flight, "the engine counts {} in flight, not {in_flight}", engine.in_flight());
        let wake = engine.next_wake(now.timestamp()).map(Moment::reaching);
        hold!(wake.is_none_or(|wake| wake > now), "busy loop: the engine has no call and wants to be asked at once");

        let mut idle =
            self.services.iter().enumerate().filter_map(|(number, seen)| Some((Name(number), seen.waiting?)));
        let mut settled = in_flight == 0;
        // A stalled service whose time has come counts as settled until the engine has looked.
        let mut open = false;
        let mut expected = Moment::NEVER;
        for (name, waiting) in idle.by_ref() {
            settled &= waiting.what == For::Stalled;
            open |= waiting.what == For::Stalled && waiting.earliest <= now;
            let from = if waiting.is_ripe(now) { now } else { Moment(waiting.earliest.0 + 1) };
            if in_flight < self.room() {
                hold!(from > now || self.opens() > now, "no delay: {name} is ready and there is room, but no call");
                expected = expected.min(from.max(self.opens()));
            }
        }
        hold!(
            expected == Moment::NEVER || wake.is_some_and(|wake| wake <= expected),
            "woken in time: a call is due at {expected}, the engine wants to be asked at {wake:?}"
        );
        hold!(
            wake.is_none() || self.services.iter().any(|seen| seen.waiting.is_some()),
            "idle: nothing is due, yet the engine wants to be asked at {wake:?}"
        );
        hold!(
            open || engine.is_settled() == settled,
            "settled: the engine says {}, it is {settled}",
            engine.is_settled()
        );
        self.agree(engine, disk)
    }

    /// What the engine shows of each service is what is so.
    fn agree(&self, engine: &Engine, disk: &Disk) -> Held {
        for (key, _, known, phase) in engine.services() {
            let name = Name::of(key);
            let seen = &self.services[name.0];
            let (shows, failed) = match phase {
                Phase::Resting => ("nothing due", 0),
                Phase::Ready { failed, .. } | Phase::BackingOff { failed, .. } | Phase::Stalled { failed, .. } => {
                    ("waiting", failed)
                }
                Phase::InFlight { attempt, .. } => ("in flight", attempt - 1),
            };
            let (is, failures) = match (seen.flight, seen.waiting) {
                (Some(flight), _) => ("in flight", flight.failed),
                (None, Some(waiting)) => ("waiting", waiting.failed),
                (None, None) => ("nothing due", 0),
            };
            hold!((shows, failed) == (is, failures), "shown: {name} is {is}, the engine shows {shows}");
            hold!(
                seen.flight.is_some() || known.copied() == disk.known(name),
                "doubt: the engine takes {name} as {known:?}, the ledger as {:?}",
                disk.known(name)
            );
        }
        Ok(())
    }
}

impl Record {
    pub(crate) fn new(services: usize) -> Self {
        Self { on_its_way: vec![None; services], newest: vec![0; services] }
    }

    /// A request leaves.
    pub(crate) fn sent(&mut self, request: &Request, disk: &Disk) -> Held {
        let Request { call, name, version, .. } = *request;
        hold!(
            disk.open_call(name) == Some((call, version)),
            "intent first: {version} of {name} is sent, and the disk does not know it"
        );
        let other = self.on_its_way[name.0].replace(call);
        hold!(other.is_none(), "one in flight: a second request for {name} is on its way");
        Ok(())
    }

    /// A request is over for whoever sent it.
    pub(crate) fn over(&mut self, request: &Request) {
        self.on_its_way[request.name.0] = None;
    }

    /// A request took effect.
    pub(crate) fn took_effect(&mut self, request: &Request, effect: Effect, disk: &mut Disk) -> Held {
        let Request { name, version, look, .. } = *request;
        match effect {
            Effect::None => {}
            Effect::Applied { before } => {
                hold!(
                    before != Some(version) || disk.take_excuse(name),
                    "needless: {name} had {version} already, and there was no doubt about it"
                );
                hold!(look >= self.newest[name.0], "never older: {version} of {name} comes after something newer");
                self.newest[name.0] = look;
            }
        }
        Ok(())
    }
}
