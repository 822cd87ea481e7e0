//! The world as a whole: its settings from a seed, what befalls it, and the loop from event to event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use truenorth::engine::{Pace, Phase};
use truenorth::model::{Answer as Verdict, DriftMode};
use truenorth::northflank::Quota;
use truenorth::plan::{Adopt, MaxChanges, Rules, Step};
use truenorth::runner::{ExchangeId, UpdateCall};

use crate::api::{Answer, Api, Outage, Posts, Request, RequestId, Token, Weather};
use crate::checks::{Broken, Held, hold};
use crate::clock::{Future, Moment, Skew};
use crate::content::{Content, Name, SERVICES, Shown, Sight};
use crate::disk::{Disk, Queued, Space};
use crate::folder::{Folder, Kinds, Manifest};
use crate::people::People;
use crate::process::{Brought, Life, Process, Waits, is_right};
use crate::record::{HOUR, Record};

/// How long after the last fault all must be well: the design's 15 min, and 10 for services that were refused.
const CONVERGES_WITHIN: Duration = Duration::from_secs(25 * 60);

/// How long drift may be left alone that came back again and again.
const FLAPPING: Duration = HOUR;

/// A limit of calls that no world comes near.
const PLENTY: u32 = 100_000;

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// It is decided what befalls the world next.
    Fate,
    /// Something befalls it.
    Befall(Act),
    /// The last fault ends, and the folder changes no more.
    Calm,
    TokenFile(Token),
    Start(Life),
    GraceOver(Life),
    Look(Life),
    Resync(Life),
    Wake(Life),
    Committed(Life),
    WriteAgain(Life, Box<Queued<Waits>>),
    Recalled(Life, ExchangeId),
    TokenRead(Life),
    Replied(Life, Box<Brought>),
    Arrived(RequestId),
    Answered(RequestId, Answer, Option<Quota>, Moment),
}

/// What can befall the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Change,
    Burst,
    Unreadable,
    Weather,
    Slow,
    DiskFull,
    Token,
    Forbid,
    Missing,
    Hidden,
    Busy,
    Lossy,
    Late,
    NoPost,
    Jump,
    /// The ledger is copied, and put back the next time.
    Backup,
    HandEdit,
    /// Somebody else applies what the folder says.
    Rival,
    Others,
    Look,
    RetryAll,
    ReadToken,
    Stop,
    Crash,
    Freeze,
    Thaw,
    Windows,
    Approve,
    Deny,
}

const ACTS: [Act; 22] = [
    Act::Unreadable,
    Act::Weather,
    Act::Slow,
    Act::DiskFull,
    Act::Token,
    Act::Forbid,
    Act::Missing,
    Act::Hidden,
    Act::Busy,
    Act::Lossy,
    Act::Late,
    Act::NoPost,
    Act::Jump,
    Act::Backup,
    Act::HandEdit,
    Act::Rival,
    Act::Others,
    Act::Look,
    Act::RetryAll,
    Act::ReadToken,
    Act::Stop,
    Act::Crash,
];

/// What people do who decide; a world has all of it or nothing.
const PEOPLE: [Act; 5] = [Act::Freeze, Act::Thaw, Act::Windows, Act::Approve, Act::Deny];

/// What a seed decides at the beginning.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) services: usize,
    pub(crate) pace: Pace,
    pub(crate) rules: Rules,
    pub(crate) update_call: UpdateCall,
    pub(crate) limit: u32,
    pub(crate) window: Duration,
    refusals: usize,
    max_changes: Option<MaxChanges>,
    kinds: Kinds,
    /// Whether answers speak of the rate limit.
    headers: bool,
    /// Each seed knows some kinds of trouble only, so that each kind is also met alone.
    acts: Vec<Act>,
    acts_number: u32,
    pause_between: Duration,
}

impl Settings {
    fn of(chance: &mut Rng) -> Self {
        // Of its own, so that worlds without people are what they were.
        let mut others = chance.clone();
        let has_people = others.u8(0..3) == 0;
        let limits = [None, Some(0), Some(0), Some(2)];
        let max_changes = limits[others.usize(0..4)].filter(|_| has_people).map(MaxChanges::Count);
        let mut acts: Vec<_> = ACTS.into_iter().filter(|_| chance.u8(0..5) < 2).collect();
        acts.extend([Act::Change; 3]);
        acts.push(Act::Burst);
        acts.extend(PEOPLE.into_iter().filter(|_| has_people));
        // Somebody who changes much by hand.
        acts.extend([Act::HandEdit; 3].into_iter().filter(|act| acts.contains(act)).collect::<Vec<_>>());
        let headers = chance.u8(0..8) > 0;
        let (limit, window) = match chance.u8(0..3) {
            0 if headers => (chance.u32(6..24), Duration::from_secs(chance.u64(90..300))),
            _ => (PLENTY, Duration::from_secs(3600)),
        };
        let adopt = if chance.u8(0..4) == 0 { Adopt::SendFirst } else { Adopt::ReadFirst };
        let drift = DriftMode::ALL[chance.usize(0..3)];
        let watch_period = (chance.u8(0..6) > 0).then(|| Duration::from_secs(chance.u64(10..400)));
        let pace = Pace {
            concurrency: chance.usize(1..=4),
            ahead: chance.usize(0..4),
            reserve_percent: [0, 10, 10, 40][chance.usize(0..4)],
            watch_period,
            ..Pace::default()
        };
        Self {
            services: chance.usize(1..=SERVICES),
            pace,
            rules: Rules { adopt, drift },
            update_call: [UpdateCall::Post, UpdateCall::Auto, UpdateCall::Auto, UpdateCall::Patch][chance.usize(0..4)],
            limit,
            window,
            refusals: chance.usize(0..4),
            max_changes,
            kinds: if chance.u8(0..3) == 0 { Kinds::Plain } else { Kinds::Any },
            headers,
            acts,
            acts_number: chance.u32(5..80),
            pause_between: Duration::from_secs(chance.u64(1..90)),
        }
    }

    /// Whether people decide what is sent.
    pub(crate) fn has_people(&self) -> bool {
        self.acts.contains(&Act::Freeze)
    }

    /// Whether others use the same token.
    pub(crate) fn has_others(&self) -> bool {
        self.acts.contains(&Act::Others)
    }
}

/// Whether a world tells what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    Nothing,
    All,
}

/// How often what happened: shows that a run of seeds met everything.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

#[derive(Debug)]
pub(crate) struct Simulation {
    pub(crate) settings: Settings,
    pub(crate) chance: Rng,
    pub(crate) now: Moment,
    pub(crate) future: Future<Event>,
    pub(crate) folder: Folder,
    pub(crate) disk: Disk<Waits>,
    pub(crate) api: Api,
    pub(crate) record: Record,
    pub(crate) people: People,
    pub(crate) requests: BTreeMap<RequestId, Request>,
    pub(crate) process: Option<Process>,
    /// What the file with the token says.
    pub(crate) token_file: Token,
    /// How far the wall clock is from the world's time, and how far it was when a process began last.
    pub(crate) wall: Skew,
    pub(crate) last_skew: Skew,
    /// Looks and requests so far, over all lives.
    pub(crate) looks: u64,
    pub(crate) calls: u64,
    /// Whether the ledger's copy is put back before the next process begins.
    pub(crate) restores: bool,
    /// Services of which the API ever lost a part.
    lost_parts: BTreeSet<Name>,
    acts_left: u32,
    pub(crate) calm: bool,
    telling: Telling,
    pub(crate) told: Vec<String>,
    pub(crate) tally: Tally,
}

impl Simulation {
    pub(crate) fn new(seed: u64, telling: Telling) -> Self {
        let mut chance = Rng::with_seed(seed);
        let settings = Settings::of(&mut chance);
        let mut world = Self::with(settings, chance, telling);
        world.future.at(Moment::default(), Event::Fate);
        world
    }

    /// A world whose settings are given, and which nothing befalls by itself.
    pub(crate) fn with(settings: Settings, mut chance: Rng, telling: Telling) -> Self {
        let mut future = Future::new();
        future.at(Moment::default(), Event::Start(1));
        let mut api = Api::new(settings.services, settings.limit, settings.window, settings.refusals, &mut chance);
        api.headers = settings.headers;
        Self {
            folder: Folder::new(settings.services, settings.kinds, &mut chance),
            disk: Disk::new(settings.services),
            api,
            record: Record::new(settings.services),
            people: People::new(settings.max_changes),
            requests: BTreeMap::new(),
            process: None,
            token_file: Token(0),
            wall: Skew::default(),
            last_skew: Skew::default(),
            looks: 0,
            calls: 0,
            restores: false,
            lost_parts: BTreeSet::new(),
            acts_left: settings.acts_number,
            calm: false,
            telling,
            told: Vec::new(),
            tally: Tally::new(),
            now: Moment::default(),
            future,
            chance,
            settings,
        }
    }

    /// Lets the world run to its end.
    pub(crate) fn run(&mut self) -> Held {
        if self.telling == Telling::All {
            self.told.push(format!("{:?}", self.settings));
        }
        let mut end = Moment::NEVER;
        while let Some((at, event)) = self.future.next()
            && at <= end
        {
            self.now = at;
            if let Event::Calm = event {
                end = self.now.after(CONVERGES_WITHIN).after(self.windows()).after(self.drift_ends());
            }
            self.happen(event)?;
        }
        self.now = end;
        self.converged()?;
        self.rests()
    }

    /// How long the rate limit may hold back a read, an update and a correction of each service.
    fn windows(&self) -> Duration {
        let Settings { services, limit, window, pace, .. } = &self.settings;
        match limit {
            &PLENTY => Duration::ZERO,
            limit => {
                let others = limit - limit * u32::from(pace.reserve_percent) / 100;
                // A read, an update of up to three requests, and the same for a part or a correction.
                (u32::try_from(8 * services).unwrap() / others + 4) * *window
            }
        }
    }

    /// How long drift may last that somebody made last of all.
    fn drift_ends(&self) -> Duration {
        let Settings { services, limit, window, pace, acts, .. } = &self.settings;
        let window = if *limit == PLENTY { &Duration::ZERO } else { window };
        let Some(period) = pace.watch_period.filter(|_| acts.iter().any(by_others)) else { return Duration::ZERO };
        let turns = u32::try_from(*services).unwrap() + 1;
        // A read for drift in a window of which nothing is known yet is paced as in one of an hour.
        let left_over = (limit - limit * u32::from(pace.reserve_percent) / 100) / 2;
        FLAPPING + 2 * period + turns * (period / turns).max(*window + HOUR / left_over)
    }

    fn happen(&mut self, event: Event) -> Held {
        match event {
            Event::Fate => {
                self.decide();
                Ok(())
            }
            Event::Befall(_) if self.calm => Ok(()),
            Event::Befall(act) => self.befall(act),
            Event::Calm => self.calm_down(),
            Event::TokenFile(token) => {
                self.token_file = token.max(self.token_file);
                Ok(())
            }
            Event::Start(life) => self.start(life),
            Event::Arrived(call) => self.arrived(call),
            Event::Answered(call, answer, quota, told) => self.answered(call, answer, quota, told),
            Event::GraceOver(life)
            | Event::Look(life)
            | Event::Resync(life)
            | Event::Wake(life)
            | Event::Committed(life)
            | Event::WriteAgain(life, _)
            | Event::Recalled(life, _)
            | Event::TokenRead(life)
            | Event::Replied(life, _)
                if self.process.as_ref().is_none_or(|process| process.life != life) =>
            {
                Ok(())
            }
            Event::GraceOver(_) => {
                self.say(|| "the process leaves calls behind".to_owned());
                self.count("left behind");
                self.leave()
            }
            Event::Look(_) => self.look(),
            Event::Resync(_) => self.resync(),
            Event::Wake(_) => self.wake(),
            Event::Committed(_) => self.committed(),
            Event::WriteAgain(_, queued) => {
                self.write_again(*queued);
                Ok(())
            }
            Event::Recalled(_, id) => self.recalled(id),
            Event::TokenRead(_) => self.token_read(),
            Event::Replied(_, brought) => self.replied(*brought),
        }
    }

    /// Decides what befalls the world next, and when.
    fn decide(&mut self) {
        if self.acts_left == 0 {
            self.future.at(self.now, Event::Calm);
            return;
        }
        self.acts_left -= 1;
        // Often close together, because that is where it hurts.
        let pause = match self.chance.u8(0..3) {
            0 => Duration::from_millis(self.chance.u64(0..1500)),
            _ => self.settings.pause_between.mul_f64(self.chance.f64() * 2.0),
        };
        self.future.at(self.now.after(pause), Event::Fate);
        let act = self.settings.acts[self.chance.usize(0..self.settings.acts.len())];
        if !matches!(act, Act::Crash | Act::Stop) {
            self.future.at(self.now, Event::Befall(act));
        }
        match act {
            // What is switched on is switched off again.
            Act::Unreadable
            | Act::Slow
            | Act::DiskFull
            | Act::Forbid
            | Act::Hidden
            | Act::Busy
            | Act::Late
            | Act::NoPost => {
                let long = [500, 5_000, 60_000, 300_000][self.chance.usize(0..4)];
                let off = Duration::from_millis(self.chance.u64(1..long));
                self.future.at(self.now.after(off), Event::Befall(act));
            }
            // Into the middle of some work, as a rule.
            Act::Crash | Act::Stop => {
                self.future.at(self.now, Event::Befall(Act::Burst));
                let life = self.process.as_ref().map_or(0, |process| process.life);
                self.future.at(self.now, Event::Look(life));
                let most = if self.api.slow { 30_000_000 } else { 200_000 };
                let soon = Duration::from_micros(self.chance.u64(0..most));
                self.future.at(self.now.after(soon), Event::Befall(act));
            }
            Act::Change | Act::Burst | Act::Weather | Act::Token | Act::Missing | Act::HandEdit | Act::Others => {}
            Act::Look | Act::RetryAll | Act::ReadToken | Act::Lossy | Act::Jump | Act::Backup | Act::Rival => {}
            Act::Freeze | Act::Thaw | Act::Windows | Act::Approve | Act::Deny => {}
        }
    }

    fn befall(&mut self, act: Act) -> Held {
        if !matches!(act, Act::Change | Act::Burst) {
            self.say(|| format!("{act:?}"));
        }
        let some = Name(self.chance.usize(0..self.settings.services));
        if PEOPLE.contains(&act) {
            // What time did by now comes before what they say.
            self.turn()?;
        }
        match act {
            Act::Change => self.change(1),
            Act::Burst => self.change(6),
            Act::Unreadable => self.folder.readable = !self.folder.readable,
            Act::Weather => {
                self.api.weather = match self.chance.u8(0..10) {
                    0..3 => Weather::Calm,
                    3..6 => Weather::Outage(Outage::any(&mut self.chance)),
                    _ => Weather::Stormy(self.chance.u8(1..10)),
                }
            }
            Act::Slow => self.api.slow = !self.api.slow,
            Act::DiskFull => {
                self.disk.space = match self.disk.space {
                    Space::There => Space::Full,
                    Space::Full => Space::There,
                }
            }
            Act::Token => {
                self.api.token = Token(self.api.token.0 + 1);
                let most = [200, 5_000, 90_000][self.chance.usize(0..3)];
                let late = Duration::from_millis(self.chance.u64(0..most));
                self.future.at(self.now.after(late), Event::TokenFile(self.api.token));
            }
            Act::Forbid => toggle(&mut self.api.forbidden, some),
            Act::Missing => toggle(&mut self.api.missing, some),
            Act::Hidden => toggle(&mut self.api.hidden, some),
            Act::Busy => toggle(&mut self.api.busy, some),
            Act::Lossy => {
                toggle(&mut self.api.lossy, some);
                self.lost_parts.insert(some);
            }
            Act::Late => self.api.late = !self.api.late,
            Act::NoPost => {
                self.api.posts = if self.api.posts == Posts::Served { Posts::Gone } else { Posts::Served };
            }
            Act::Jump => {
                let far = [100, 4_000, 200_000][self.chance.usize(0..3)];
                let seconds = [0, self.chance.i64(-far..far)][self.chance.usize(0..2)];
                self.wall = Skew(seconds * 1_000_000);
                self.record.jumped = true;
                self.count("jumps");
            }
            Act::Backup if self.disk.has_backup() => self.restores = true,
            Act::Backup => self.disk.back_up(),
            Act::Rival => {
                if let Some(wanted) = self.folder.look().of(some) {
                    self.api.edit(some, Content::by_hand(wanted.version), self.now);
                    self.count("rivals");
                }
            }
            Act::HandEdit => {
                let content = self.api.live(some).edited(&mut self.chance);
                self.api.edit(some, content, self.now);
                self.count("changes by hand");
                self.say(|| format!("{some}: changed by hand to {content:?}"));
            }
            Act::Others => {
                let calls = self.chance.u32(1..=self.settings.limit.min(20));
                self.api.use_up(calls, self.now);
                self.count("others");
            }
            Act::Freeze => {
                let of = self.chance.bool().then_some(some);
                self.people.freeze(of, self.wall.timestamp(self.now), &mut self.chance);
                self.count("freezes");
                return self.hear_people();
            }
            Act::Thaw => {
                self.people.thaw(self.chance.bool().then_some(some));
                self.count("thaws");
                return self.hear_people();
            }
            Act::Windows => {
                self.people.write_windows(some, self.wall.timestamp(self.now), &mut self.chance);
                self.count("windows");
                return self.hear_people();
            }
            Act::Approve => return self.say_of_a_plan(Verdict::Approve),
            Act::Deny => return self.say_of_a_plan(Verdict::Deny),
            Act::Look => return self.look(),
            Act::RetryAll => return self.retry_all(),
            Act::ReadToken => return self.read_token(),
            Act::Stop => return self.stop(),
            Act::Crash => return self.crash(),
        }
        Ok(())
    }

    /// Changes manifests. The watcher says so soon, or not at all; then the next resync finds it.
    fn change(&mut self, times: u8) {
        for _ in 0..times {
            let (name, manifest) = self.folder.change(self.wall.timestamp(self.now), &mut self.chance);
            self.count("changes");
            self.say(|| format!("{name}: the folder says {manifest:?}"));
        }
        if let (Some(process), true) = (&self.process, self.chance.u8(0..10) > 0) {
            let debounce = Duration::from_millis(self.chance.u64(1..2000));
            self.future.at(self.now.after(debounce), Event::Look(process.life));
        }
    }

    fn calm_down(&mut self) -> Held {
        self.say(|| "all faults end".to_owned());
        self.calm = true;
        self.restores = false;
        // No clock jumps any more.
        self.wall = self.last_skew;
        self.api.calm_down();
        self.disk.space = Space::There;
        self.folder.readable = true;
        self.future.at(self.now, Event::TokenFile(self.api.token));
        self.turn()?;
        self.people.calm_down();
        self.hear_people()
    }

    /// After a calm time the API has what the folder says, or is known to have something else, and nothing is left to do.
    fn converged(&mut self) -> Held {
        let Some(process) = &self.process else { return Err(Broken("converged: no process".to_owned())) };
        let (clock, wall) = (process.skew.timestamp(self.now), self.wall.timestamp(self.now));
        for (name, manifest) in self.folder.services() {
            let Manifest::Valid(wanted) = manifest else { continue };
            if wanted.is_suspended(wall) || self.api.refuses(name, wanted.version) {
                continue;
            }
            let standing = process.machine.engine().standing(name.key(), clock);
            let Some(standing) = standing else { return Err(Broken(format!("converged: {name} is forgotten"))) };
            hold!(
                standing.phase == Phase::Resting,
                "converged: {name} is {:?} at {}; {:?}",
                standing.phase,
                self.now,
                process.machine.next_wake(clock)
            );
            hold!(standing.step == Some(Step::Unchanged), "converged: the plan says {:?} for {name}", standing.step);
            let live = self.api.live(name);
            let is_true = is_right(live, wanted.version);
            let applied = standing.known.and_then(|known| known.digest());
            let seen = standing.seen.filter(|seen| applied.is_some_and(|applied| seen.has_drifted_from(applied)));
            let mode = wanted.drift.unwrap_or(self.settings.rules.drift);
            let is_read = self.settings.pace.watch_period.is_some() && mode != DriftMode::Off;
            let by_hand = self.api.touched(name).is_some();
            // Where nobody reads it, nobody can know that a part was left as it was.
            let hides = self.settings.acts.contains(&Act::Hidden);
            let unseen = self.lost_parts.contains(&name) && (!is_read || hides);
            // An older ledger that was put back is believed where live shows nothing else.
            let put_back = self.tally.contains_key("ledgers put back");
            let unprovable = put_back && Shown::Content(live).against(wanted.version) != Sight::Differs;
            let right = match mode {
                _ if unseen || unprovable => true,
                _ if !by_hand => is_true,
                DriftMode::Report if is_read => is_true || seen.is_some(),
                DriftMode::Correct if is_read => is_true,
                _ => true,
            };
            hold!(
                right,
                "converged: {name} has {live:?}, the folder says {}; {mode:?}, {seen:?}, {:?}",
                wanted.version,
                standing.unread
            );
            hold!(!is_read || !by_hand || standing.unread.is_none(), "converged: {name} could not be read");
        }
        Ok(())
    }

    /// From there on nothing is sent, whatever makes it look, except what is refused.
    fn rests(&mut self) -> Held {
        // Where a part was changed by hand before anybody read what was accepted last, that part may be sent again.
        let tally = |tally: &Tally, what| tally.get(what).copied().unwrap_or_default();
        let calls = |of: &Tally| tally(of, "accepted").saturating_sub(tally(of, "parts sent alone"));
        let accepted = calls(&self.tally);
        let end = self.now.after(Duration::from_secs(150)).after(self.windows());
        self.crash()?;
        while let Some((at, event)) = self.future.next()
            && at <= end
        {
            self.now = at;
            self.happen(event)?;
        }
        self.now = end;
        let unwatched = self.settings.pace.watch_period.is_none() && self.settings.acts.iter().any(by_others);
        hold!(unwatched || calls(&self.tally) <= accepted, "at rest: a restart makes calls");
        self.converged()
    }

    /// Tells what happens, where somebody listens.
    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        if self.telling == Telling::All {
            let line = format!("{} {}", self.now, what());
            self.told.push(line);
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }
}

/// Whether it makes live something else than what was sent.
fn by_others(act: &Act) -> bool {
    matches!(act, Act::HandEdit | Act::Rival | Act::Backup)
}

fn toggle(names: &mut BTreeSet<Name>, name: Name) {
    if !names.remove(&name) {
        names.insert(name);
    }
}
