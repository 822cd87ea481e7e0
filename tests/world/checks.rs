//! What must hold of one process at every step. It keeps a picture of its own of what the process was told and did, and
//! shares no rule with the engine.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use truenorth::engine::{Call, Ending, Engine, Pace, Phase, Work};
use truenorth::model::{Applied, Cause, DriftMode, Known};
use truenorth::northflank::Quota;
use truenorth::plan::{Adopt, Rules};

use crate::api::{Grounds, Token};
use crate::clock::{Moment, Skew};
use crate::content::{Name, Shown, Sight, Version};
use crate::disk::Disk;
use crate::folder::{Snapshot, Suspension, Wanted};
use crate::gate::{Gate, Showed, leaves_doubt};
use crate::record::{CORRECTIONS, HOUR};

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

/// How long a request may still take effect after its intent: the time for it and for its way to the wire.
const SETTLES: Duration = Duration::from_secs(35);

/// Ends of the rate limit's window that are nearer to each other are of the same window.
const SAME_WINDOW: Duration = Duration::from_secs(30);

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Fresh,
    Retry,
    Read,
    ReadAgain,
    Correction,
}

/// Whether something that was decided is not on disk yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deciding {
    No,
    Written,
    Refused,
}

/// What happened to the content that is to be sent.
#[derive(Clone, Copy, Debug)]
struct Tries {
    version: Version,
    failed: u32,
    rejected: u32,
    not_before: Moment,
    /// Whether it goes behind those that were not tried.
    behind: bool,
    /// Whether it waits because the API did not know the call: it need not once updates go another way.
    unserved: bool,
    need_not_wait: bool,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    version: Version,
    work: Work,
    began: Moment,
    failed: u32,
    rejected: u32,
    /// Until when older content could arrive, by what was known when it began.
    unsettled: Option<Moment>,
}

/// What the newest read showed, as long as nothing was sent since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Compared {
    with: Version,
    shown: Shown,
    began: Moment,
}

#[derive(Clone, Debug, Default)]
struct Service {
    wanted: Option<Wanted>,
    /// The suspension that held at the last turn.
    suspended: Option<Suspension>,
    tries: Option<Tries>,
    flight: Option<Flight>,
    compared: Option<Compared>,
    /// Whether an earlier process saw something else than was applied.
    drifted_before: bool,
    /// When it was read, or tried to be, or had an update accepted.
    looked: Option<Moment>,
    /// Whether an update was accepted and not read since.
    unread: bool,
    corrections: Vec<Moment>,
    /// When the API told what it has.
    told: Option<Moment>,
    /// Whether its content is newer than the first look.
    fresh: bool,
    /// When a call began that ended in an acceptance or an adoption.
    had: Option<Moment>,
    /// Until when older content could arrive after that.
    unsettled: Option<Moment>,
}

/// A service for which a call is due.
#[derive(Clone, Copy, Debug)]
struct Waits {
    rank: Rank,
    /// No call before.
    not_before: Moment,
}

/// What one process must keep to.
#[derive(Debug)]
pub(crate) struct Checks {
    pace: Pace,
    rules: Rules,
    skew: Skew,
    born: Moment,
    /// What may still arrive of what earlier processes sent.
    left: Vec<(Name, Version, Timestamp)>,
    services: Vec<Service>,
    token: Token,
    pub(crate) gate: Gate,
    window: Option<(u32, u32, Timestamp)>,
    /// Whether an answer spoke of the rate limit.
    told_quota: bool,
    observed: bool,
    /// When live was last seen to be something that was not sent from here.
    foreign: Option<Moment>,
    /// What the engine holds. Whether it may is another check.
    held: BTreeSet<Name>,
    deciding: Deciding,
}

impl Service {
    fn flaps(&self, now: Moment) -> bool {
        self.corrections.iter().rev().nth(CORRECTIONS - 1).is_some_and(|first| first.after(HOUR) > now)
    }

    fn drift(&self, rules: &Rules) -> DriftMode {
        self.wanted.and_then(|wanted| wanted.drift).unwrap_or(rules.drift)
    }

    fn sight_of(&self, version: Version) -> Option<Sight> {
        let compared = self.compared.filter(|compared| compared.with == version)?;
        Some(compared.shown.against(version))
    }

    /// Whether live is known to be something else than what was applied, so that it may be what is wanted by now.
    fn may_have_changed(&self, applied: Version) -> bool {
        self.drifted_before
            || self.compared.is_some_and(|read| read.with != applied || read.shown.against(read.with) == Sight::Differs)
    }
}

impl Checks {
    /// For a process that just began, with what the ledger kept.
    pub(crate) fn new<W: Copy>(
        (pace, rules): (Pace, Rules),
        services: usize,
        token: Token,
        disk: &Disk<W>,
        (now, skew): (Moment, Skew),
    ) -> Self {
        let clock = skew.timestamp(now);
        let since = clock - HOUR;
        let memories = disk.memories(since);
        let past = |at: &Timestamp| *at <= clock;
        let service = |name: Name| {
            let memory = memories.get(name.key()).filter(|_| disk.known(name).is_some());
            let looked = memory.and_then(|memory| memory.looked_at).filter(past);
            let corrections = memory.map(|memory| memory.corrections.clone()).unwrap_or_default();
            Service {
                drifted_before: memory.and_then(|memory| memory.seen.clone()).is_some_and(|seen| {
                    disk.known(name).and_then(|known| known.digest()).is_some_and(|is| seen.has_drifted_from(is))
                        && past(&seen.at)
                }),
                // Before the world began, by a clock that was ahead of it.
                looked: looked.map(|at| skew.reaching(at)).filter(|at| *at > Moment::default()),
                unread: memory.is_some_and(|memory| memory.effect != truenorth::engine::Effect::Settled),
                corrections: corrections.into_iter().filter(past).map(|at| skew.reaching(at)).collect(),
                told: disk.told(name),
                ..Service::default()
            }
        };
        let mut gate = Gate::default();
        // Nothing lasts longer than it was set for, nor longer than two hours, whatever the clock is.
        let to_come = |until: Timestamp, set_at: Timestamp| {
            let longest = std::cmp::min(until.duration_since(set_at), 2 * jiff::SignedDuration::from_hours(1));
            let longest = if longest.is_zero() { 2 * jiff::SignedDuration::from_hours(1) } else { longest };
            let left = std::cmp::min(until.duration_since(clock), longest);
            left.is_positive().then(|| clock + left)
        };
        if let Some(until) = disk.pause().and_then(|pause| to_come(pause.until, pause.set_at)) {
            gate.limit(skew.reaching(until));
        }
        let window = disk
            .quota()
            .and_then(|(window, set_at)| Some((window.limit, window.remaining, to_come(window.resets_at, set_at)?)));
        if let Some((_, 0, resets_at)) = window {
            gate.limit(skew.reaching(resets_at));
        }
        let unsettled = |name: Name| disk.unsettled(name).map(move |(version, until)| (name, version, until));
        let left = (0..services).map(Name).flat_map(unsettled).collect();
        Self {
            pace,
            rules,
            skew,
            born: now,
            left,
            services: (0..services).map(Name).map(service).collect(),
            token,
            gate,
            window,
            told_quota: window.is_some(),
            observed: false,
            foreign: None,
            held: BTreeSet::new(),
            deciding: Deciding::No,
        }
    }

    /// What is held from now on: it loses what was tried of it.
    pub(crate) fn hold(&mut self, held: BTreeSet<Name>) {
        for name in &held {
            let service = &mut self.services[name.0];
            if service.flight.is_none() {
                service.tries = None;
            }
        }
        self.held = held;
    }

    pub(crate) fn held(&self) -> &BTreeSet<Name> {
        &self.held
    }

    pub(crate) fn wanted(&self, name: Name) -> Option<Wanted> {
        self.services[name.0].wanted
    }

    fn flights(&self) -> impl Iterator<Item = Flight> {
        self.services.iter().filter_map(|service| service.flight)
    }

    /// Calls in flight, without a read for drift.
    fn in_flight(&self) -> usize {
        self.flights().filter(|flight| flight.work != Work::Watch).count()
    }

    fn watching(&self) -> usize {
        self.flights().filter(|flight| flight.work == Work::Watch).count()
    }

    /// The disk took a record.
    pub(crate) fn wrote(&mut self) {
        if self.deciding != Deciding::Refused {
            self.gate.written();
        }
    }

    /// Something was decided, and is on its way to the disk: no call begins before it is there.
    pub(crate) fn decided(&mut self) {
        self.deciding = self.deciding.max(Deciding::Written);
    }

    /// What was decided is on disk, or the disk did not take it.
    pub(crate) fn kept(&mut self, done: bool, now: Moment) {
        if !done {
            self.gate.refused(now, &self.pace);
        } else if self.deciding == Deciding::Refused {
            self.gate.written();
        }
        self.deciding = if done { Deciding::No } else { Deciding::Refused };
    }

    /// Calls that leave less room for another: also a read for drift, where it is the one that probes a block.
    fn busy(&self) -> usize {
        self.in_flight() + if self.gate.is_blocked() { self.watching() } else { 0 }
    }

    /// What the rate limit leaves, by what was heard.
    fn left(&self, now: Moment) -> Option<u32> {
        let clock = self.skew.timestamp(now);
        self.window.map(|(limit, remaining, resets_at)| if resets_at <= clock { limit } else { remaining })
    }

    /// What only changes may use.
    pub(crate) fn reserve(&self) -> u32 {
        self.window.map_or(0, |(limit, ..)| limit * u32::from(self.pace.reserve_percent) / 100)
    }

    /// Whether the quota has a call for certain, whatever those in flight use.
    fn surely_permits(&self, rank: Rank, now: Moment) -> bool {
        let needed = u32::try_from(2 * (self.in_flight() + self.watching() + 1)).unwrap();
        let kept = if rank <= Rank::Retry { 0 } else { self.reserve() };
        match self.left(now) {
            Some(left) => left >= kept + needed,
            None => rank <= Rank::Retry || self.in_flight() + self.watching() == 0,
        }
    }

    /// Whether an answer, or the ledger, has said what the rate limit leaves.
    pub(crate) fn knows_its_quota(&self) -> bool {
        self.window.is_some()
    }

    /// The process saw the folder.
    pub(crate) fn observe<W: Copy>(&mut self, snapshot: &Snapshot, disk: &Disk<W>) {
        let observed = std::mem::replace(&mut self.observed, true);
        for (number, service) in self.services.iter_mut().enumerate() {
            let name = Name(number);
            let wanted = snapshot.of(name);
            let (before, after) = (service.wanted.map(|w| w.version), wanted.map(|w| w.version));
            let applied = disk.known(name).and_then(|known| known.digest());
            let known_before = service.wanted.map(|w| name.digest(w.version)).or(applied.filter(|_| after.is_some()));
            if known_before.is_some() && known_before != after.map(|version| name.digest(version)) {
                service.corrections.clear();
            }
            let known = disk.known(name).is_some() || service.flight.is_some();
            service.fresh |= before.is_some() && after.is_some() && before != after;
            if before.is_none() && after.is_some() && !known {
                service.fresh = observed;
            }
            if before != after {
                service.tries = None;
            }
            service.wanted = wanted;
            // Of what is neither desired nor known nothing is kept.
            if wanted.is_none() && !known {
                *service = Service { told: service.told, ..Service::default() };
            }
        }
    }

    /// What is no longer due loses what was tried of it.
    /// Returns how many suspensions ended by time alone since the last turn.
    pub(crate) fn take_stock<W: Copy>(&mut self, disk: &Disk<W>, now: Moment, wall: Timestamp) -> u64 {
        let mut ended = 0;
        for number in 0..self.services.len() {
            let service = &mut self.services[number];
            let suspended = service.wanted.filter(|wanted| wanted.is_suspended(wall)).map(|wanted| wanted.suspend);
            let still_asked = service.wanted.is_some_and(|wanted| service.suspended == Some(wanted.suspend));
            ended += u64::from(still_asked && suspended.is_none());
            service.suspended = suspended;
            let service = &self.services[number];
            // Whether a part that is missing is still due is decided by another rule.
            let wanted = service.wanted.filter(|wanted| !wanted.is_suspended(wall)).map(|wanted| wanted.version);
            let lacks_part = wanted
                .zip(service.compared)
                .is_some_and(|(version, read)| read.with == version && read.shown.lacks_runtime_alone(version));
            if service.flight.is_none() && !lacks_part && self.waits(Name(number), disk, now, wall).is_none() {
                self.services[number].tries = None;
            }
        }
        ended
    }

    /// Whether a call is due for a service for certain.
    fn waits<W: Copy>(&self, name: Name, disk: &Disk<W>, now: Moment, wall: Timestamp) -> Option<Waits> {
        let service = &self.services[name.0];
        if self.held.contains(&name) {
            return None;
        }
        let wanted = service.wanted.filter(|wanted| !wanted.is_suspended(wall) && service.flight.is_none())?;
        let version = wanted.version;
        let tries = service.tries.filter(|tries| tries.version == version);
        let behind = tries.is_some_and(|tries| tries.behind);
        let not_before = tries.map_or(Moment::default(), |tries| tries.not_before);
        let behind = behind || tries.is_some_and(|tries| tries.need_not_wait);
        let change = if behind { Rank::Retry } else { Rank::Fresh };
        let (rank, settles) = match disk.known(name) {
            None if self.rules.adopt == Adopt::SendFirst || service.sight_of(version).is_some() => (change, None),
            None if service.fresh => (change, None),
            None => (if behind { Rank::ReadAgain } else { Rank::Read }, None),
            Some(Known::InDoubt) => {
                let settles = self.settles(name, disk, |other| other == version);
                (change, settles.filter(|_| service.sight_of(version).is_some()))
            }
            Some(Known::Applied(Applied { digest, .. }) | Known::Suspect(Applied { digest, .. }))
                if digest == name.digest(version) =>
            {
                let unverified = disk.known(name).is_some_and(|known| known.is_unverified());
                let settles = self.settles(name, disk, |other| other != version);
                let over = service.had.is_some_and(|had| settles.is_none_or(|settles| settles <= had));
                if unverified && !over {
                    (change, settles)
                } else {
                    let corrects = service.drift(&self.rules) == DriftMode::Correct && !service.flaps(now);
                    let drifted = service.sight_of(version) == Some(Sight::Differs);
                    // Of a part that may not be in effect another rule decides.
                    let is_part = service.compared.is_some_and(|read| read.shown.lacks_runtime_alone(version));
                    if !(corrects && drifted) || is_part || service.flight.is_some() || tries.is_none() {
                        return None;
                    }
                    (Rank::Correction, None)
                }
            }
            Some(Known::Applied(_) | Known::Suspect(_)) => (change, None),
        };
        // The ledger keeps times to the millisecond.
        let settled = settles.map(|settles| settles.after(Duration::from_millis(1)));
        // Whoever waits for a time goes behind those who wait for their turn alone.
        let rank = if settles.is_some() && rank == Rank::Fresh { Rank::Retry } else { rank };
        Some(Waits { rank, not_before: not_before.max(settled.unwrap_or_default()) })
    }

    /// When requests of such content that were given up can no longer take effect.
    fn settles<W: Copy>(&self, name: Name, disk: &Disk<W>, matters: impl Fn(Version) -> bool) -> Option<Moment> {
        // What an earlier process left is no longer on its way than it can be, whatever that one's clock was.
        let longest = self.skew.timestamp(self.born) + SETTLES;
        let left = |version, until| self.left.contains(&(name, version, until));
        let until = disk.unsettled(name).filter(|(version, _)| matters(*version));
        let until =
            until.map(|(version, until)| if left(version, until) { until.min(longest) } else { until }).max()?;
        Some(self.skew.reaching(until))
    }

    /// The process was asked to look past all waits.
    pub(crate) fn retry_all(&mut self, now: Moment) {
        self.gate.ask(now);
        for tries in self.services.iter_mut().filter_map(|service| service.tries.as_mut()) {
            tries.not_before = tries.not_before.min(now);
        }
    }

    /// Updates go another way from now on: whoever waits because the first way was not known need not.
    pub(crate) fn turned(&mut self) {
        let tries = self.services.iter_mut().filter_map(|service| service.tries.as_mut());
        for tries in tries.filter(|tries| tries.unserved) {
            tries.need_not_wait = true;
        }
    }

    pub(crate) fn token_replaced(&mut self, token: Token) {
        self.token = token;
        self.gate.token_replaced();
    }

    /// An answer came at a time, or did not.
    pub(crate) fn note(&mut self, quota: Option<Quota>, unsent: bool, came: Moment) {
        let clock = self.skew.timestamp(came);
        match quota {
            Some(Quota { limit, remaining, resets_in }) => {
                let resets_at = clock + resets_in;
                let near = |at: Timestamp| resets_at.duration_since(at).unsigned_abs() < SAME_WINDOW;
                let same = self.window.filter(|(.., at)| self.told_quota && near(*at));
                let least = same.map_or(remaining, |(_, before, _)| before.min(remaining));
                self.window = Some((limit, least, resets_at));
                self.told_quota = true;
                if remaining == 0 {
                    self.gate.limit(self.skew.reaching(resets_at));
                }
            }
            None if unsent || self.told_quota => {}
            None => {
                let whole = (self.pace.assumed_limit, self.pace.assumed_limit, clock + HOUR);
                let (limit, remaining, at) = self.window.filter(|(.., at)| *at > clock).unwrap_or(whole);
                self.window = Some((limit, remaining.saturating_sub(1), at));
            }
        }
    }

    /// The engine begins a call. Gives the grounds for what it sends.
    pub(crate) fn begin<W: Copy>(
        &mut self,
        call: &Call,
        disk: &Disk<W>,
        now: Moment,
        wall: Timestamp,
    ) -> Result<Grounds, Broken> {
        let name = Name::of(&call.key);
        let version = name.version(call.digest);
        let service = &self.services[name.0];
        let asked = std::mem::replace(&mut self.gate.asked, false);
        hold!(self.deciding == Deciding::No, "decided: a call for {name} begins before that is on disk");
        hold!(service.flight.is_none(), "one in flight: a second call for {name} begins");
        hold!(asked || self.gate.opens() <= now, "gate: a call for {name} begins before {}", self.gate.opens());
        let Some(wanted) = service.wanted else {
            return Err(Broken(format!("absent: a call for {name}, which no manifest names")));
        };
        hold!(!wanted.is_suspended(wall), "suspended: a call for {name}");
        hold!(
            version == wanted.version && *call.update == *name.plain(version).update,
            "newest wins: {version} of {name} is sent, the folder says {}",
            wanted.version
        );
        let tries = service.tries.filter(|tries| tries.version == version);
        let failed = tries.map_or(0, |tries| tries.failed);
        match call.work {
            Work::Watch => self.begin_watch(name, disk, now, wall)?,
            Work::Send(_) | Work::Decide(_) => {
                // A wall clock that jumped may have ended a suspension and begun it again, and what was tried is forgotten.
                let jumped = self.skew.timestamp(now) != wall;
                let (tries, failed) = if jumped { (None, call.attempt - 1) } else { (tries, failed) };
                let not_before = tries.filter(|tries| !tries.need_not_wait).map_or(now, |tries| tries.not_before);
                hold!(not_before <= now, "backoff: attempt {} of {name} begins before {not_before}", call.attempt);
                hold!(call.attempt == failed + 1, "attempts: {} of {name} after {failed} failures", call.attempt);
                self.is_due(name, call.work, version, disk, now)?;
                let behind = tries.is_some_and(|tries| tries.behind);
                self.has_place(name, call.work, behind, asked, disk, now, wall)?;
            }
        }
        let failed = call.attempt - 1;
        let rejected = tries.filter(|_| failed > 0).map_or(0, |tries| tries.rejected);
        let unsettled = self.settles(name, disk, |other| other != version);
        let service = &mut self.services[name.0];
        service.flight = Some(Flight { version, work: call.work, began: now, failed, rejected, unsettled });
        let untold = service.compared.is_some_and(|read| read.shown.against(version) == Sight::CannotTell);
        let unasked = call.work == Work::Send(Cause::New) && self.rules.adopt == Adopt::SendFirst;
        let doubts = matches!(call.work, Work::Send(Cause::InDoubt | Cause::Changed));
        let unproven = doubts && !version.can_be_proven_against(&disk.others(name));
        Ok(match service.told {
            _ if untold || unasked || unproven => Grounds::Nothing,
            Some(told) => Grounds::Told(told),
            None => Grounds::Told(Moment::NEVER),
        })
    }

    fn begin_watch<W: Copy>(&mut self, name: Name, disk: &Disk<W>, now: Moment, wall: Timestamp) -> Held {
        let service = &self.services[name.0];
        let version = service.wanted.map(|wanted| wanted.version);
        let known = disk.known(name).and_then(|known| known.digest());
        hold!(
            known == version.map(|version| name.digest(version)),
            "at rest: {name} is read for drift and has {known:?}"
        );
        let period = match self.pace.watch_period {
            Some(period) => {
                hold!(self.watching() == 0, "one read for drift at a time: a second one begins, of {name}");
                hold!(
                    !self.gate.is_blocked() || self.in_flight() == 0,
                    "one probe at a time: {name} is read beside another"
                );
                hold!(service.drift(&self.rules) != DriftMode::Off, "drift is off: {name} is read for it");
                if service.unread { period.min(self.pace.check_after) } else { period }
            }
            None => {
                let parts = version.is_some_and(Version::has_several_parts);
                hold!(service.unread && parts, "never: {name} is read for drift");
                self.pace.check_after
            }
        };
        let corrects = service.drifted_before || service.sight_of(version.unwrap()) == Some(Sight::Differs);
        hold!(
            corrects || service.looked.is_none_or(|looked| looked.after(period) <= now.after(Duration::from_millis(1))),
            "watch period: {name} is read for drift again, after {:?}",
            service.looked
        );
        let waiting = (0..self.services.len()).map(Name).find(|other| {
            let waits = self.waits(*other, disk, now, wall);
            waits.is_some_and(|waits| waits.not_before < now && self.busy() < self.gate.room(&self.pace))
        });
        hold!(waiting.is_none(), "drift last: {name} is read for it before a call for {waiting:?}");
        Ok(())
    }

    /// Whether it is such a call that is due.
    fn is_due<W: Copy>(&self, name: Name, work: Work, version: Version, disk: &Disk<W>, now: Moment) -> Held {
        let service = &self.services[name.0];
        let known = disk.known(name);
        let applied = known.and_then(|known| known.digest()).map(|digest| name.version(digest));
        let compared = service.compared.filter(|read| read.with == version);
        let (doubted, unverified) = match known {
            Some(Known::InDoubt) => (true, false),
            Some(Known::Applied(Applied { unverified, .. })) => {
                (false, (unverified || service.unsettled.is_some()) && applied == Some(version))
            }
            Some(Known::Suspect(_)) | None => (false, false),
        };
        let suspect = matches!(known, Some(Known::Suspect(_)));
        // A request that was given up may have brought it.
        let arrives = disk.unsettled(name).any(|(other, _)| other == version);
        let settles = self.settles(name, disk, |other| (other == version) == doubted);
        let settles = settles.max(service.unsettled.filter(|_| unverified));
        let settled = |at: Moment| settles.is_none_or(|settles| at >= settles);
        let right = match work {
            Work::Send(Cause::New) => known.is_none() && (self.rules.adopt == Adopt::SendFirst || compared.is_some()),
            Work::Decide(Cause::New) => known.is_none() && self.rules.adopt == Adopt::ReadFirst && compared.is_none(),
            Work::Send(Cause::InDoubt) => (doubted || unverified) && compared.is_some_and(|read| settled(read.began)),
            Work::Decide(Cause::InDoubt) => {
                let again = compared.is_none_or(|read| !settled(read.began));
                (doubted && (compared.is_none() || settled(now)) || unverified && settled(now)) && again
            }
            Work::Send(Cause::Changed) => {
                let by_hand = applied.is_some_and(|applied| service.may_have_changed(applied));
                applied.is_some_and(|applied| applied != version)
                    && (!by_hand && !suspect && !arrives || compared.is_some())
            }
            Work::Decide(Cause::Changed) => {
                let by_hand = applied.is_some_and(|applied| service.may_have_changed(applied));
                let lately = self.foreign.is_some_and(|at| at.after(HOUR) >= now);
                applied.is_some_and(|applied| applied != version)
                    && compared.is_none()
                    && (by_hand || lately || suspect || arrives || self.gate.is_outage())
            }
            Work::Send(Cause::Drifted) => {
                applied == Some(version)
                    && service.drift(&self.rules) == DriftMode::Correct
                    && service.sight_of(version) == Some(Sight::Differs)
                    && !service.flaps(now)
            }
            Work::Send(Cause::NotInEffect) => {
                applied == Some(version) && compared.is_some_and(|read| read.shown.lacks_runtime_alone(version))
            }
            Work::Send(Cause::Released | Cause::Rollback) => false,
            Work::Decide(Cause::Drifted | Cause::NotInEffect | Cause::Released | Cause::Rollback) | Work::Watch => {
                false
            }
        };
        hold!(
            right,
            "what is due: {work:?} of {version} begins for {name}, known as {known:?} (applied {applied:?}), seen {:?}, settled at {settles:?}",
            service.compared
        );
        Ok(())
    }

    /// Whether there is room, and nothing goes first.
    #[allow(clippy::too_many_arguments, reason = "a check of one moment")]
    fn has_place<W: Copy>(
        &self,
        name: Name,
        work: Work,
        behind: bool,
        asked: bool,
        disk: &Disk<W>,
        now: Moment,
        wall: Timestamp,
    ) -> Held {
        let room = self.gate.room(&self.pace);
        hold!(
            self.busy() < room,
            "concurrency: a call for {name} begins beside {} others, room is {room}",
            self.busy()
        );
        let rank = match (work, behind) {
            (Work::Send(Cause::Drifted | Cause::NotInEffect), _) => Rank::Correction,
            (Work::Decide(Cause::New), _) if !self.services[name.0].fresh => {
                if behind {
                    Rank::ReadAgain
                } else {
                    Rank::Read
                }
            }
            (_, false) => Rank::Fresh,
            (_, true) => Rank::Retry,
        };
        // Which call finds out whether an outage is over follows another rule.
        if asked || self.gate.is_outage() {
            return Ok(());
        }
        for other in (0..self.services.len()).map(Name).filter(|other| *other != name) {
            let Some(waits) = self.waits(other, disk, now, wall) else { continue };
            hold!(
                waits.not_before >= now || waits.rank >= rank,
                "what goes first: {name} goes as {rank:?} before {other} as {:?}",
                waits.rank
            );
        }
        Ok(())
    }

    /// The engine was told how a call ended, with what it showed and when, and with a random number for the wait.
    #[allow(clippy::too_many_arguments, reason = "a check of one moment")]
    pub(crate) fn finish<W: Copy>(
        &mut self,
        name: Name,
        ending: &Ending,
        shown: Option<(Shown, Moment)>,
        told: Option<Moment>,
        token: Option<Token>,
        disk: &Disk<W>,
        (now, jitter): (Moment, f64),
    ) -> Held {
        hold!(
            token.is_none_or(|token| token == self.token) || !matches!(ending, Ending::Denied { .. }),
            "token: a refusal of {token:?} for {name} is held against {:?}",
            self.token
        );
        let Some(flight) = self.services[name.0].flight.take() else {
            return Err(Broken(format!("a call ended for {name} that never began")));
        };
        let Flight { version, work, began, unsettled, .. } = flight;
        let of_interest = |(number, service): (usize, &Service)| {
            service.wanted.is_some()
                || disk.known(Name(number)).is_some()
                || service.flight.is_some()
                || number == name.0
        };
        let alone = self.services.iter().enumerate().filter(|entry| of_interest(*entry)).count() <= 1;
        let showed = self.gate.note((name, work), ending, alone, (now, jitter), &self.pace);
        let service = &mut self.services[name.0];
        if matches!(ending, Ending::Accepted { .. } | Ending::Adopted { .. } | Ending::Read(_)) || leaves_doubt(ending)
        {
            service.drifted_before = false;
        }
        match ending {
            Ending::Accepted { .. } | Ending::Adopted { .. } => {
                (service.compared, service.looked, service.fresh) = (None, Some(now), false);
                service.unread = matches!(ending, Ending::Accepted { .. });
                service.had = Some(began);
                service.unsettled = unsettled.filter(|until| *until > began);
                if work == Work::Send(Cause::Drifted) {
                    service.corrections.push(now);
                }
                if let Some((shown, _)) = shown.filter(|_| matches!(ending, Ending::Accepted { shown: Some(_), .. })) {
                    service.compared = Some(Compared { with: version, shown, began: now });
                    service.unread = false;
                }
                if matches!(work, Work::Decide(Cause::Changed)) {
                    self.foreign = Some(now);
                }
            }
            Ending::Read(_) => {
                service.compared = shown.map(|(shown, _)| Compared { with: version, shown, began });
                service.looked = Some(now);
                // It shows nothing of the effect of what was accepted, where it was compared with something else.
                service.unread &= disk.applied(name) != Some(version);
                if service.sight_of(version) == Some(Sight::Differs) && work == Work::Watch {
                    self.foreign = Some(now);
                }
            }
            Ending::Transient { .. } | Ending::Rejected { .. } if work == Work::Watch => service.looked = Some(now),
            _ if leaves_doubt(ending) => {
                service.compared = None;
                if work == Work::Send(Cause::Drifted) {
                    service.corrections.push(now);
                }
            }
            _ => {}
        }
        let tries = self.tries_after(name, flight, ending, showed, (now, jitter));
        let service = &mut self.services[name.0];
        (service.told, service.tries) = (service.told.max(told), tries);
        // Of what is neither desired nor known nothing is kept.
        if service.wanted.is_none() && disk.known(name).is_none() {
            *service = Service { told: service.told, ..Service::default() };
        }
        Ok(())
    }

    /// What is to be waited for after a call.
    fn tries_after(
        &self,
        name: Name,
        flight: Flight,
        ending: &Ending,
        showed: Showed,
        (now, jitter): (Moment, f64),
    ) -> Option<Tries> {
        let Flight { version, work, failed, rejected, .. } = flight;
        let service = &self.services[name.0];
        service.wanted.filter(|wanted| wanted.version == version)?;
        let stays = Tries {
            version,
            failed,
            rejected,
            not_before: now,
            behind: failed > 0,
            unserved: false,
            need_not_wait: false,
        };
        let more = failed + 1;
        match ending {
            Ending::Accepted { .. } | Ending::Adopted { .. } => None,
            Ending::Transient { .. } | Ending::Rejected { .. } if work == Work::Watch => None,
            Ending::Transient { .. } if showed == Showed::Outage => Some(Tries { failed: more, behind: true, ..stays }),
            Ending::Transient { wait, error, .. } => {
                let wait = self.backoff(more, jitter).max(*wait);
                let unserved = error.message == "Missing" && !wait.is_zero();
                Some(Tries { failed: more, not_before: now.after(wait), behind: true, unserved, ..stays })
            }
            Ending::Rejected { .. } => {
                let doubled = Duration::from_secs(30) * 2_u32.pow(rejected.min(10));
                let not_before = now.after(doubled.min(Duration::from_secs(600)));
                Some(Tries { failed: more, rejected: rejected + 1, not_before, behind: true, ..stays })
            }
            Ending::Limited { wait, told: false, .. } if self.gate.limited_until() <= now => {
                Some(Tries { not_before: now.after(*wait), behind: true, ..stays })
            }
            // Others go first, whom the token may not be refused.
            Ending::Denied { .. } => Some(Tries { behind: true, ..stays }),
            _ => Some(stays),
        }
    }

    /// Full jitter: a random part of 1 s, 2 s, 4 s … 5 min.
    fn backoff(&self, failed: u32, jitter: f64) -> Duration {
        let (first, longest) = (self.pace.backoff.first.as_secs_f64(), self.pace.backoff.longest.as_secs_f64());
        Duration::from_secs_f64((first * 2_f64.powi(i32::try_from(failed - 1).unwrap())).min(longest) * jitter)
    }

    /// The engine has no more calls for now: it must be right about that, and about when to be asked again.
    pub(crate) fn rest<W: Copy>(&self, engine: &Engine, disk: &Disk<W>, now: Moment, wall: Timestamp) -> Held {
        let in_flight = self.in_flight();
        hold!(engine.in_flight() == in_flight, "the engine counts {} in flight, not {in_flight}", engine.in_flight());
        let wake = engine.next_wake(self.skew.timestamp(now)).map(|at| self.skew.reaching(at));
        let decides = self.deciding != Deciding::No;
        let is_busy = wake.is_some_and(|wake| wake <= now) && !decides;
        hold!(!is_busy, "busy loop: the engine has no call and wants to be asked at once");
        let has_room = self.busy() < self.gate.room(&self.pace) && !decides;
        for name in (0..self.services.len()).map(Name) {
            let Some(waits) = self.waits(name, disk, now, wall).filter(|_| has_room && !self.gate.asked) else {
                continue;
            };
            let permitted = self.surely_permits(waits.rank, now);
            let from = waits.not_before.max(self.gate.opens());
            hold!(
                from >= now || !permitted,
                "no delay: {name} waits as {waits:?} and there is room, but no call; {:?}",
                engine.phase(name.key())
            );
            let idle = in_flight + self.watching() == 0;
            let reset = self.window.map_or(now, |(.., at)| self.skew.reaching(at));
            if permitted || idle {
                let by = if permitted { from } else { from.max(reset) };
                let by = Moment(by.max(now).0 + 1);
                hold!(
                    wake.is_some_and(|wake| wake <= by),
                    "woken in time: a call for {name} ({waits:?}) is due by {by}, the engine wants to be asked at {wake:?}"
                );
            }
        }
        self.agree(engine, disk, now)
    }

    /// What the engine shows is what is so.
    fn agree<W: Copy>(&self, engine: &Engine, disk: &Disk<W>, now: Moment) -> Held {
        let clock = self.skew.timestamp(now);
        let said = engine.quota().window().map(|window| (window.limit, window.remaining, window.resets_at));
        hold!(said == self.window, "quota: the engine says {said:?}, it is {:?}", self.window);
        for (key, standing) in engine.services(clock) {
            let name = Name::of(key);
            let service = &self.services[name.0];
            if let Some(flight) = service.flight {
                let shown = matches!(standing.phase, Phase::InFlight { .. });
                hold!(shown != (flight.work == Work::Watch), "shown: {name} is in flight, not {:?}", standing.phase);
                continue;
            }
            let (says, is) = (standing.known.copied(), disk.known(name));
            let digests = (says.map(|known| known.digest()), is.map(|known| known.digest()));
            hold!(digests.0 == digests.1, "doubt: the engine takes {name} as {says:?}, the ledger as {is:?}");
            let until = match standing.phase {
                Phase::BackingOff { until, .. } | Phase::Stalled { until, .. } | Phase::Settling { until } => until,
                Phase::Resting | Phase::Ready { .. } | Phase::InFlight { .. } => continue,
            };
            hold!(
                until.duration_since(clock) <= jiff::SignedDuration::from_mins(90),
                "waits: {name} is {:?} for longer than anything lasts",
                standing.phase
            );
        }
        Ok(())
    }
}
