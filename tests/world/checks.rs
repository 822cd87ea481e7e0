//! What must hold at every step. It keeps a picture of its own of what the process was told and did, and shares no
//! rule with the engine.

use std::time::Duration;

use truenorth::engine::{Call, Delivery, Ending, Engine, Pace, Phase, Standing, Work};
use truenorth::model::{Cause, DriftMode, Known};
use truenorth::plan::{Adopt, Rules, Step};

use crate::api::{Effect, Grounds, Quota, Request, Token, Window};
use crate::clock::Moment;
use crate::content::{Content, Name, Shown, Sight, Version};
use crate::disk::{CallId, Disk};
use crate::folder::{Snapshot, Suspension, Wanted};

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

/// So many corrections an hour, while the manifest stays.
const CORRECTIONS: usize = 3;
const HOUR: Duration = Duration::from_secs(3600);

/// Ends of the rate limit's window that are nearer to each other are of the same window.
const SAME_WINDOW: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Fresh,
    Retry,
    Read,
    ReadAgain,
    Correction,
}

/// Who may use what is kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Change,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    ItsTurn,
    BackOff,
    Stalled,
}

/// What a service is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    version: Version,
    work: Work,
}

/// A service for which a call is due that is not being made.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    due: Due,
    what: For,
    /// Whether it goes behind those that were not tried.
    behind: bool,
    failed: u32,
    /// No call before.
    earliest: Moment,
    /// Since when it is in its lane; `None` where the engine will see that only when it looks.
    since: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    due: Due,
    failed: u32,
}

/// What the newest read showed, as long as nothing was sent since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Compared {
    with: Version,
    shown: Shown,
}

#[derive(Clone, Debug, Default)]
struct Service {
    wanted: Option<Wanted>,
    waiting: Option<Waiting>,
    flight: Option<Flight>,
    compared: Option<Compared>,
    /// When it was read, or tried to be, or had an update accepted.
    looked: Option<Moment>,
    corrections: Vec<Moment>,
    /// When the API told what it has.
    told: Option<Moment>,
    /// Whether the end of its suspension was taken in.
    resumed: bool,
}

/// What one process must keep to.
#[derive(Debug)]
pub(crate) struct Checks {
    pace: Pace,
    rules: Rules,
    services: Vec<Service>,
    token: Token,
    limited: Moment,
    denied: Option<Moment>,
    unwritable: Option<Moment>,
    window: Option<Window>,
    /// When the newest read for drift began.
    watched: Moment,
}

/// What the API must never see, whatever process it talks to.
#[derive(Debug)]
pub(crate) struct Record {
    /// By service: the request on its way, the look that what is live follows from, when drift was corrected, and the
    /// manifest as it was seen last.
    on_its_way: Vec<Option<CallId>>,
    newest: Vec<u64>,
    corrected: Vec<Vec<Moment>>,
    manifest: Vec<Option<Version>>,
}

impl Compared {
    fn sight(self) -> Sight {
        self.shown.against(self.with)
    }
}

impl Due {
    fn lane(self, behind: bool) -> Lane {
        match (self.work, behind) {
            (Work::Send(Cause::Drifted), _) => Lane::Correction,
            (Work::Send(_), false) => Lane::Fresh,
            (Work::Send(_), true) => Lane::Retry,
            (Work::Decide(Cause::Changed), false) => Lane::Fresh,
            (Work::Decide(Cause::Changed), true) => Lane::Retry,
            (_, false) => Lane::Read,
            (_, true) => Lane::ReadAgain,
        }
    }
}

impl Lane {
    fn class(self) -> Class {
        if self <= Self::Retry { Class::Change } else { Class::Other }
    }
}

impl Waiting {
    fn fresh(due: Due, now: Moment) -> Self {
        Self { due, what: For::ItsTurn, behind: false, failed: 0, earliest: now, since: Some(now) }
    }

    fn lane(&self) -> Lane {
        self.due.lane(self.behind)
    }

    /// Whether nothing but room, quota and the gate can keep it back; the engine counts in finer steps than the world.
    fn is_ripe(&self, now: Moment) -> bool {
        self.what == For::ItsTurn || self.earliest < now
    }
}

impl Service {
    fn fights_until(&self, now: Moment) -> Option<Moment> {
        let first = *self.corrections.iter().rev().nth(CORRECTIONS - 1)?;
        Some(first.after(HOUR)).filter(|until| *until > now)
    }

    fn drift(&self, rules: &Rules) -> DriftMode {
        self.wanted.and_then(|wanted| wanted.drift).unwrap_or(rules.drift)
    }

    /// What the design says is to be done, a fight left alone.
    fn step(&self, name: Name, disk: &Disk, rules: &Rules, now: Moment) -> Option<Step> {
        let known = disk.known(name);
        let Some(wanted) = self.wanted else { return known.map(|_| Step::Orphaned) };
        if wanted.is_suspended(now) {
            return Some(Step::Suspended);
        }
        let read = self.compared.is_some_and(|compared| compared.with == wanted.version);
        let upon = |cause| if read { Step::Update(cause) } else { Step::ReadLive(cause) };
        Some(match known {
            None if rules.adopt == Adopt::SendFirst => Step::Update(Cause::New),
            None => upon(Cause::New),
            Some(Known::InDoubt) => upon(Cause::InDoubt),
            Some(Known::Suspect(applied)) if applied.digest != name.digest(wanted.version) => upon(Cause::Changed),
            Some(Known::Applied(applied) | Known::Suspect(applied)) => {
                let of_applied = |compared: &Compared| name.digest(compared.with) == applied.digest;
                let changed_by_hand =
                    self.compared.is_some_and(|read| !of_applied(&read) || read.sight() == Sight::Differs);
                if applied.digest == name.digest(wanted.version) {
                    let drifted = changed_by_hand && self.compared.as_ref().is_some_and(of_applied);
                    let corrects = self.drift(rules) == DriftMode::Correct && self.fights_until(now).is_none();
                    if drifted && corrects { Step::Update(Cause::Drifted) } else { Step::Unchanged }
                } else if changed_by_hand {
                    upon(Cause::Changed)
                } else {
                    Step::Update(Cause::Changed)
                }
            }
        })
    }

    fn due(&self, name: Name, disk: &Disk, rules: &Rules, now: Moment) -> Option<Due> {
        let version = self.wanted?.version;
        match self.step(name, disk, rules, now)? {
            Step::Update(cause) => Some(Due { version, work: Work::Send(cause) }),
            Step::ReadLive(cause) => Some(Due { version, work: Work::Decide(cause) }),
            Step::Unchanged | Step::Suspended | Step::Orphaned => None,
        }
    }

    /// The same, without a correction: that follows from a read, and from nothing else.
    fn due_unread(&self, name: Name, disk: &Disk, rules: &Rules, now: Moment) -> Option<Due> {
        self.due(name, disk, rules, now).filter(|due| due.work != Work::Send(Cause::Drifted))
    }

    /// Whether it is to be read for drift in its turn.
    fn is_watched(&self, name: Name, disk: &Disk, rules: &Rules, now: Moment) -> bool {
        let rests = self.waiting.is_none() && self.flight.is_none();
        let Some(wanted) = self.wanted.filter(|wanted| rests && !wanted.is_suspended(now)) else { return false };
        let applied = disk.known(name).and_then(|known| known.digest());
        applied == Some(name.digest(wanted.version)) && self.drift(rules) != DriftMode::Off
    }

    /// When its suspension ended, while the engine may not have seen that.
    fn resumes(&self) -> Option<Moment> {
        match self.wanted?.suspend {
            Suspension::Until(until) if !self.resumed => Some(until),
            _ => None,
        }
    }
}

impl Checks {
    /// For a process that just began, with what the ledger kept.
    pub(crate) fn new(pace: Pace, rules: Rules, services: usize, token: Token, disk: &Disk, now: Moment) -> Self {
        let service = |name: Name| {
            let applied = disk.known(name).and_then(|known| known.digest());
            let sighting = disk.sighting(name);
            let seen = sighting.and_then(|sighting| sighting.seen);
            let seen = seen.filter(|(with, _)| applied == Some(name.digest(*with)));
            let since = Moment(now.0.saturating_sub(3_600_000_000));
            // Of what is not known nothing is taken over.
            let is_known = disk.known(name).is_some();
            Service {
                compared: seen.map(|(with, shown)| Compared { with, shown }),
                looked: sighting.map(|sighting| sighting.at).filter(|_| is_known),
                corrections: if is_known { disk.corrections(name, since) } else { Vec::new() },
                told: disk.told(name),
                ..Service::default()
            }
        };
        let services = (0..services).map(|number| service(Name(number))).collect();
        let window = disk.quota().filter(|window| window.resets_at > now);
        let mut checks = Self {
            pace,
            rules,
            services,
            token,
            limited: disk.pause().unwrap_or_default(),
            denied: None,
            unwritable: None,
            window,
            watched: Moment::default(),
        };
        if let Some(window) = window.filter(|window| window.remaining == 0) {
            checks.limited(window.resets_at);
        }
        checks
    }

    /// Calls in flight, without a read for drift.
    fn in_flight(&self) -> usize {
        self.flights().filter(|(_, flight)| flight.due.work != Work::Watch).count()
    }

    fn watching(&self) -> usize {
        self.flights().filter(|(_, flight)| flight.due.work == Work::Watch).count()
    }

    fn flights(&self) -> impl Iterator<Item = (Name, Flight)> {
        self.services.iter().enumerate().filter_map(|(number, service)| Some((Name(number), service.flight?)))
    }

    fn waiting(&self) -> impl Iterator<Item = (Name, Waiting)> {
        self.services.iter().enumerate().filter_map(|(number, service)| Some((Name(number), service.waiting?)))
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

    /// What the rate limit leaves, by what was heard.
    fn left(&self, now: Moment) -> Option<u32> {
        self.window.map(|window| if window.resets_at <= now { window.limit } else { window.remaining })
    }

    /// What a class of calls may not touch.
    fn kept_from(&self, class: Class) -> u32 {
        let reserve = |limit: u32| limit * u32::from(self.pace.reserve_percent) / 100;
        match class {
            Class::Change => 0,
            Class::Other => self.window.map_or(0, |window| reserve(window.limit)),
        }
    }

    /// Whether the quota has a call for a class beside so many in flight.
    fn permits(&self, class: Class, now: Moment, in_flight: usize) -> bool {
        let in_flight = u32::try_from(in_flight).unwrap();
        match self.left(now) {
            Some(left) => left > self.kept_from(class) + in_flight,
            None => class == Class::Change || in_flight == 0,
        }
    }

    /// Until when the quota is used up for a class.
    fn used_up(&self, class: Class, now: Moment) -> Moment {
        let used_up = self.left(now).is_some_and(|left| left <= self.kept_from(class));
        self.window.filter(|_| used_up).map_or(now, |window| window.resets_at)
    }

    /// The process saw the folder.
    pub(crate) fn observe(&mut self, snapshot: &Snapshot, disk: &Disk, now: Moment) {
        let rules = self.rules;
        self.forget(disk);
        for (number, service) in self.services.iter_mut().enumerate() {
            let name = Name(number);
            let wanted = snapshot.of(name);
            if service.wanted == wanted {
                continue;
            }
            let applied = || disk.known(name).and_then(|known| known.digest());
            let before = service.wanted.map(|before| name.digest(before.version)).or_else(applied);
            if before.is_some() && before != wanted.map(|after| name.digest(after.version)) {
                service.corrections.clear();
            }
            service.wanted = wanted;
            service.resumed = wanted.is_some_and(|wanted| !wanted.is_suspended(now));
            if service.flight.is_some() {
                continue;
            }
            let due = service.due(name, disk, &rules, now);
            let stays = service.waiting.filter(|waiting| due.is_some_and(|due| due == waiting.due));
            let fresh = service.due_unread(name, disk, &rules, now).map(|due| Waiting::fresh(due, now));
            service.waiting = stays.or(fresh);
            if due.is_some() && service.waiting.is_none() {
                service.looked = None;
            }
        }
        self.forget(disk);
    }

    /// Of what is neither desired nor known the engine keeps nothing.
    fn forget(&mut self, disk: &Disk) {
        for (number, service) in self.services.iter_mut().enumerate() {
            if service.wanted.is_none() && service.flight.is_none() && disk.known(Name(number)).is_none() {
                (service.compared, service.looked) = (None, None);
                service.corrections.clear();
            }
        }
    }

    /// Suspensions whose time is past have ended.
    pub(crate) fn resume(&mut self, disk: &Disk, now: Moment) -> u32 {
        let rules = self.rules;
        let looks = self.in_flight() < self.room() && self.opens() <= now;
        let mut resumed = 0;
        for (number, service) in self.services.iter_mut().enumerate() {
            if service.flight.is_none() && service.resumes().is_some_and(|until| until <= now) {
                // With nothing due, and no room to look, the engine has it among what is to come.
                service.resumed = looks || service.due_unread(Name(number), disk, &rules, now).is_some();
                let name = Name(number);
                let due = service.due_unread(name, disk, &rules, now);
                service.waiting = due.map(|due| Waiting { since: None, ..Waiting::fresh(due, now) });
                if looks && due.is_none() && service.due(name, disk, &rules, now).is_some() {
                    service.looked = None;
                }
                resumed += u32::from(service.resumed);
            }
        }
        resumed
    }

    /// The process was asked to look past all waits.
    pub(crate) fn retry_all(&mut self, now: Moment) {
        for waiting in self.services.iter_mut().filter_map(|service| service.waiting.as_mut()) {
            if waiting.what != For::ItsTurn {
                (waiting.what, waiting.earliest, waiting.since) = (For::ItsTurn, now, Some(now));
            }
        }
    }

    fn limited(&mut self, until: Moment) {
        self.limited = self.limited.max(until);
    }

    pub(crate) fn token_replaced(&mut self, token: Token) {
        self.token = token;
        self.denied = None;
    }

    /// The process takes in what an answer said of the rate limit.
    pub(crate) fn note(&mut self, quota: Quota, came: Moment) {
        let Quota { limit, remaining, resets_in, number } = quota;
        let resets_at = came.after(resets_in);
        let near = |window: &Window| window.resets_at.since(resets_at).max(resets_at.since(window.resets_at));
        let same = self.window.filter(|window| near(window) < SAME_WINDOW);
        let least = same.map_or(remaining, |window| window.remaining.min(remaining));
        self.window = Some(Window { limit, remaining: least, resets_at, number });
        if remaining == 0 {
            self.limited(resets_at);
        }
    }

    /// The window as it is to be kept.
    pub(crate) fn window(&self) -> Option<Window> {
        self.window
    }

    /// Whether an answer, or the ledger, has said what the rate limit leaves.
    pub(crate) fn knows_its_quota(&self) -> bool {
        self.window.is_some()
    }

    /// The engine begins a call. Gives the grounds for what it sends.
    pub(crate) fn begin(&mut self, call: &Call, disk: &Disk, now: Moment) -> Result<Grounds, Broken> {
        let name = Name::of(&call.key);
        let version = name.version(call.digest);
        let service = &self.services[name.0];
        hold!(service.flight.is_none(), "one in flight: a second call for {name} begins");
        hold!(self.opens() <= now, "gate: a call for {name} begins before {}", self.opens());
        let Some(wanted) = service.wanted else {
            return Err(Broken(format!("absent: a call for {name}, which no manifest names")));
        };
        hold!(!wanted.is_suspended(now), "suspended: a call for {name}");
        hold!(
            version == wanted.version && *call.update == *name.plain(version).update,
            "newest wins: {version} of {name} is sent, the folder says {}",
            wanted.version
        );
        let failed = match call.work {
            Work::Watch => self.begin_watch(name, disk, now).map(|()| 0),
            Work::Send(_) | Work::Decide(_) => self.begin_due(name, call, disk, now),
        }?;
        let service = &mut self.services[name.0];
        service.waiting = None;
        service.flight = Some(Flight { due: Due { version, work: call.work }, failed });
        let untold = service.compared.is_some_and(|compared| compared.sight() == Sight::CannotTell);
        let unasked = call.work == Work::Send(Cause::New) && self.rules.adopt == Adopt::SendFirst;
        Ok(match service.told {
            Some(told) if !untold && !unasked => Grounds::Told(told),
            None if !unasked => Grounds::Told(Moment::NEVER),
            Some(_) | None => Grounds::Nothing,
        })
    }

    fn begin_watch(&mut self, name: Name, disk: &Disk, now: Moment) -> Held {
        let service = &self.services[name.0];
        hold!(self.watching() == 0, "one read for drift at a time: a second one begins, of {name}");
        hold!(service.drift(&self.rules) != DriftMode::Off, "drift is off: {name} is read for it");
        hold!(
            service.is_watched(name, disk, &self.rules, now),
            "at rest: {name} is read for drift, while {:?}",
            service.waiting
        );
        let has_room = self.in_flight() < self.room();
        let queued = |waits: &Waiting| waits.what == For::ItsTurn && (has_room || waits.since.is_some());
        if let Some((other, waits)) = self.waiting().find(|(_, waits)| queued(waits)) {
            return Err(Broken(format!("drift last: {name} is read for it before {waits:?} of {other}")));
        }
        let period = self.pace.watch_period.ok_or(Broken(format!("never: {name} is read for drift")))?;
        hold!(
            service.looked.is_none_or(|looked| looked.after(period) <= now),
            "watch period: {name} is read for drift again, after {:?}",
            service.looked
        );
        for (other, waits) in self.services.iter().enumerate().map(|(number, service)| (Name(number), service)) {
            let watched = waits.resumes().is_none() && waits.is_watched(other, disk, &self.rules, now);
            hold!(
                !watched || other == name || waits.looked >= service.looked,
                "longest unread: {name} was read at {:?}, {other} at {:?}",
                service.looked,
                waits.looked
            );
        }
        hold!(
            self.permits(Class::Other, now, self.in_flight()),
            "reserve: {name} is read for drift with {:?} left",
            self.left(now)
        );
        self.watched = now;
        Ok(())
    }

    fn begin_due(&self, name: Name, call: &Call, disk: &Disk, now: Moment) -> Result<u32, Broken> {
        let service = &self.services[name.0];
        hold!(
            self.in_flight() < self.room(),
            "concurrency: a call for {name} begins beside {} others, room is {}",
            self.in_flight(),
            self.room()
        );
        let known = disk.known(name);
        let applied = known.and_then(|known| known.digest());
        match call.work {
            Work::Send(Cause::Drifted) => {
                hold!(applied == Some(call.digest), "correction: {name} is {known:?}");
                hold!(service.drift(&self.rules) == DriftMode::Correct, "correction: of {name}, which is not to be");
                let sight = service.compared.map(Compared::sight);
                hold!(sight == Some(Sight::Differs), "correction: of {name}, of which is seen {:?}", service.compared);
            }
            _ => hold!(
                applied != Some(call.digest),
                "needless: {:?} of {name} is what the ledger knows as accepted last",
                call.work
            ),
        }
        let Some(waiting) = service.waiting else {
            return Err(Broken(format!("not due: {:?} begins for {name}", call.work)));
        };
        hold!(
            call.work == waiting.due.work,
            "what is due: {:?} begins for {name}, it is {:?}; seen is {:?}, known {known:?}",
            call.work,
            waiting.due,
            service.compared
        );
        hold!(
            waiting.earliest <= now,
            "backoff: attempt {} at {} of {name} begins before {}",
            call.attempt,
            waiting.due.version,
            waiting.earliest
        );
        hold!(
            call.attempt == waiting.failed + 1,
            "attempts: {} is said for {name} after {} failures",
            call.attempt,
            waiting.failed
        );
        let lane = waiting.lane();
        hold!(
            self.permits(lane.class(), now, self.in_flight() + self.watching()),
            "reserve: {:?} begins for {name} with {:?} left",
            call.work,
            self.left(now)
        );
        for (other, waits) in self.waiting().filter(|(other, waits)| *other != name && waits.is_ripe(now)) {
            hold!(
                waits.lane() >= lane,
                "what goes first: {name} goes from {lane:?} before {other} from {:?}",
                waits.lane()
            );
            let (Some(mine), Some(others)) = (waiting.since, waits.since) else { continue };
            hold!(
                (waits.lane(), lane) != (Lane::Fresh, Lane::Fresh) || others >= mine,
                "first come, first served: {name} waits since {mine}, {other} since {others}"
            );
        }
        Ok(waiting.failed)
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

    /// The engine is told how a call ended, with what it showed and when, and with a random number for the wait.
    pub(crate) fn finish(
        &mut self,
        name: Name,
        ending: &Ending,
        shown: Option<(Shown, Moment)>,
        disk: &Disk,
        now: Moment,
        jitter: f64,
    ) -> Held {
        let rules = self.rules;
        let Some(flight) = self.services[name.0].flight.take() else {
            return Err(Broken(format!("a call ended for {name} that never began")));
        };
        let Due { version, work } = flight.due;
        self.gate(work, ending, now);
        let service = &mut self.services[name.0];
        match ending {
            Ending::Accepted | Ending::Adopted => {
                (service.compared, service.looked) = (None, Some(now));
                if work == Work::Send(Cause::Drifted) {
                    service.corrections.push(now);
                }
            }
            Ending::Read(_) => {
                service.compared = shown.map(|(shown, _)| Compared { with: version, shown });
                service.looked = Some(now);
            }
            Ending::Transient { .. } | Ending::Rejected { .. } if work == Work::Watch => service.looked = Some(now),
            Ending::Transient { delivery: Delivery::Unknown, .. }
            | Ending::Rejected { delivery: Delivery::Unknown, .. } => {
                service.compared = None;
                if work == Work::Send(Cause::Drifted) {
                    service.corrections.push(now);
                }
            }
            _ => {}
        }
        service.told = service.told.max(shown.map(|(_, told)| told));

        let behind = flight.failed > 0;
        let stays = Waiting { behind, failed: flight.failed, ..Waiting::fresh(flight.due, now) };
        let failed = flight.failed + 1;
        let wait = self.backoff(failed, jitter);
        let after = |what, wait| Waiting { what, behind: true, failed, earliest: now.after(wait), ..stays };
        let next = match ending {
            Ending::Accepted | Ending::Adopted => None,
            Ending::Transient { .. } | Ending::Rejected { .. } if work == Work::Watch => None,
            Ending::Transient { wait: least, .. } => Some(after(For::BackOff, wait.max(*least))),
            Ending::Rejected { .. } => Some(after(For::Stalled, self.pace.stalled_retry)),
            Ending::Denied { .. } => Some(Waiting { behind: true, ..stays }),
            Ending::Read(_) | Ending::Limited { .. } | Ending::Unrecorded { .. } | Ending::Withdrawn => Some(stays),
        };
        let service = &mut self.services[name.0];
        service.resumed = service.wanted.is_some_and(|wanted| !wanted.is_suspended(now));
        let shows_drift = work == Work::Watch && matches!(ending, Ending::Read(_));
        let due = if shows_drift || work == Work::Send(Cause::Drifted) {
            service.due(name, disk, &rules, now)
        } else {
            service.due_unread(name, disk, &rules, now)
        };
        service.waiting = due.map(|due| match next {
            Some(next) if next.due.version == due.version => Waiting { due, ..next },
            Some(_) | None => Waiting::fresh(due, now),
        });
        Ok(())
    }

    /// What the end of a call shows of what stops all calls.
    fn gate(&mut self, work: Work, ending: &Ending, now: Moment) {
        // A read proves nothing of the ledger, unless what it showed was recorded.
        match (work, ending) {
            (Work::Send(_), Ending::Unrecorded { .. }) => {
                self.unwritable = Some(now.after(self.pace.unwritable_retry));
            }
            (Work::Send(_), Ending::Withdrawn) => {}
            (Work::Send(_), _) | (_, Ending::Adopted) => self.unwritable = None,
            _ => {}
        }
        match ending {
            Ending::Accepted | Ending::Adopted | Ending::Read(_) | Ending::Rejected { .. } => self.denied = None,
            Ending::Denied { .. } => self.denied = self.denied.max(Some(now.after(self.pace.denied_retry))),
            Ending::Limited { wait, .. } => self.limited(now.after(*wait)),
            Ending::Transient { .. } | Ending::Unrecorded { .. } | Ending::Withdrawn => {}
        }
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

        let mut settled = in_flight == 0;
        // What the engine takes in only when it looks: a stalled service whose time has come, the end of a suspension.
        let mut open = false;
        let mut expected = Moment::NEVER;
        for (name, waiting) in self.waiting() {
            settled &= waiting.what == For::Stalled;
            open |= (waiting.what == For::Stalled && waiting.earliest <= now) || waiting.since.is_none();
            let from = if waiting.is_ripe(now) { now } else { Moment(waiting.earliest.0 + 1) };
            let class = waiting.lane().class();
            let used_up = self.used_up(class, now);
            if in_flight < self.room() {
                let permitted = self.permits(class, now, in_flight + self.watching());
                hold!(
                    from > now || self.opens() > now || !permitted,
                    "no delay: {name} is ready and there is room, but no call"
                );
                // What only calls in flight keep back, an answer lets go; and what waits behind that.
                let behind = self.waiting().any(|(_, ahead)| {
                    let class = ahead.lane().class();
                    let held = !self.permits(class, now, in_flight + self.watching());
                    ahead.is_ripe(now) && ahead.lane() < waiting.lane() && held && self.used_up(class, now) <= now
                });
                if !behind && (permitted || used_up > now) {
                    expected = expected.min(from.max(self.opens()).max(used_up));
                }
            }
        }
        for (number, service) in self.services.iter().enumerate().filter(|(_, service)| service.flight.is_none()) {
            if let Some(until) = service.resumes()
                && service.due_unread(Name(number), disk, &self.rules, until).is_some()
                && in_flight < self.room()
            {
                expected = expected.min(until.max(self.opens()).max(self.used_up(Class::Other, now)));
            }
        }
        hold!(
            expected == Moment::NEVER || wake.is_some_and(|wake| wake <= expected),
            "woken in time: a call is due at {expected}, the engine wants to be asked at {wake:?}"
        );
        self.watch_rests(wake, disk, now)?;
        hold!(
            open || engine.is_settled() == settled,
            "settled: the engine says {}, it is {settled}",
            engine.is_settled()
        );
        self.agree(engine, disk, now)
    }

    /// Services at rest are read in their turn, and where there is nothing to do at all nobody is woken.
    fn watch_rests(&self, wake: Option<Moment>, disk: &Disk, now: Moment) -> Held {
        let each = || self.services.iter().enumerate().map(|(number, service)| (Name(number), service));
        let watched: Vec<_> =
            each().filter(|(name, service)| service.is_watched(*name, disk, &self.rules, now)).collect();
        let suspended = each().any(|(_, service)| service.resumes().is_some());
        let is_busy = self.waiting().next().is_some() || suspended;
        let reads = self.pace.watch_period.filter(|_| self.watching() == 0);
        let Some((period, longest)) = reads.zip(watched.iter().map(|(_, service)| service.looked).min()) else {
            hold!(is_busy || wake.is_none(), "idle: nothing is due, yet the engine wants to be asked at {wake:?}");
            return Ok(());
        };
        if is_busy || self.in_flight() > 0 {
            return Ok(());
        }
        let longest = longest.map_or(now, |looked| looked.after(period));
        let paced = self.watched.after(HOUR.max(period));
        let end = self.window.map_or(now, |window| window.resets_at);
        let last = longest.max(paced).max(self.opens()).max(end).max(Moment(now.0 + 1));
        hold!(
            wake.is_some_and(|wake| wake <= last),
            "drift in turn: {} are to be read until {last}, the engine wants to be asked at {wake:?}",
            watched.len()
        );
        Ok(())
    }

    /// What the engine shows of each service is what is so.
    fn agree(&self, engine: &Engine, disk: &Disk, now: Moment) -> Held {
        let said = engine.quota().window().map(|window| (window.limit, window.remaining, window.resets_at));
        let is = self.window.map(|window| (window.limit, window.remaining, window.resets_at.timestamp()));
        hold!(said == is, "quota: the engine says {said:?}, it is {is:?}");
        for (key, standing) in engine.services(now.timestamp()) {
            let name = Name::of(key);
            let service = &self.services[name.0];
            let Standing { known, seen, step, phase, fights_until, .. } = standing;
            let (shows, failed) = match phase {
                Phase::Resting => ("nothing due", 0),
                Phase::Ready { failed, .. } | Phase::BackingOff { failed, .. } | Phase::Stalled { failed, .. } => {
                    ("waiting", failed)
                }
                Phase::InFlight { attempt, .. } => ("in flight", attempt - 1),
            };
            let (is, failures) = match (service.flight, service.waiting) {
                (Some(flight), _) if flight.due.work == Work::Watch => ("nothing due", 0),
                (Some(flight), _) => ("in flight", flight.failed),
                (None, Some(waiting)) => ("waiting", waiting.failed),
                (None, None) => ("nothing due", 0),
            };
            let late = service.waiting.is_some_and(|waiting| waiting.since.is_none());
            hold!(late || (shows, failed) == (is, failures), "shown: {name} is {is}, the engine shows {shows}");
            hold!(
                service.flight.is_some() || known.copied() == disk.known(name),
                "doubt: the engine takes {name} as {known:?}, the ledger as {:?}",
                disk.known(name)
            );
            let sees = seen.map(|seen| (seen.compared, seen.reading.differences.is_empty()));
            let is = service.compared.map(|read| (name.digest(read.with), read.sight() != Sight::Differs));
            hold!(sees == is, "seen: the engine says {seen:?} of {name}, it is {:?}", service.compared);
            let until = service.fights_until(now).map(Moment::timestamp);
            hold!(fights_until == until, "a fight: the engine says until {fights_until:?} for {name}, not {until:?}");
            let right = service.step(name, disk, &self.rules, now);
            hold!(
                service.flight.is_some() || step == right,
                "step: the engine says {step:?} for {name}, not {right:?}; {:?}",
                service.compared
            );
        }
        Ok(())
    }
}

impl Record {
    pub(crate) fn new(services: usize) -> Self {
        Self {
            on_its_way: vec![None; services],
            newest: vec![0; services],
            corrected: vec![Vec::new(); services],
            manifest: vec![None; services],
        }
    }

    /// A process saw the folder.
    pub(crate) fn observed(&mut self, snapshot: &Snapshot) {
        for (number, before) in self.manifest.iter_mut().enumerate() {
            let version = snapshot.of(Name(number)).map(|wanted| wanted.version);
            if *before != version {
                *before = version;
                self.corrected[number].clear();
            }
        }
    }

    /// A request leaves.
    pub(crate) fn sent(&mut self, request: &Request, disk: &Disk, now: Moment) -> Held {
        let Request { call, name, version, work, .. } = *request;
        hold!(
            !matches!(work, Work::Send(_)) || disk.open_call(name) == Some((call, version)),
            "intent first: {version} of {name} is sent, and the disk does not know it"
        );
        let other = self.on_its_way[name.0].replace(call);
        hold!(other.is_none(), "one in flight: a second request for {name} is on its way");
        if work == Work::Send(Cause::Drifted) {
            let lately = self.corrected[name.0].iter().filter(|at| at.kept().after(HOUR) > now);
            hold!(lately.count() < CORRECTIONS, "a fight: {name} is corrected again within an hour");
        }
        Ok(())
    }

    /// A request is over for whoever sent it.
    pub(crate) fn over(&mut self, request: &Request) {
        self.on_its_way[request.name.0] = None;
    }

    /// A correction was accepted, and that is on disk.
    pub(crate) fn corrected(&mut self, name: Name, at: Moment) {
        self.corrected[name.0].push(at);
    }

    /// A request took effect on a service that was changed by hand at a time.
    pub(crate) fn took_effect(&mut self, request: &Request, effect: Effect, touched: Option<Moment>) -> Held {
        let Request { name, version, look, grounds, .. } = *request;
        let Effect::Applied { before } = effect else { return Ok(()) };
        let excused = match grounds {
            Grounds::Nothing => true,
            Grounds::Told(told) => touched.is_some_and(|touched| touched >= told),
        };
        hold!(
            before != Content::Version(version) || excused,
            "needless: {name} had {version} already, and a read could have told; {grounds:?}, by hand at {touched:?}"
        );
        hold!(look >= self.newest[name.0], "never older: {version} of {name} comes after something newer");
        self.newest[name.0] = look;
        Ok(())
    }
}
