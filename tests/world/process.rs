//! One life of truenorth: the product's own machine, and the world carrying out what it decides, as `runner::Carrier`
//! does it with tokio.

use std::collections::BTreeMap;
use std::time::Duration;

use truenorth::engine::{Call, Ending, Window, Work};
use truenorth::ledger::{CallId, Keep, Outcome};
use truenorth::model::{Answer as Verdict, Cause, Digest, Revision, ServiceKind};
use truenorth::northflank::{Delivery, Quota};
use truenorth::plan::{PlanState, Step};
use truenorth::runner::{self, Effect, ExchangeId, Finished, Heard, Kept, Machine, Refusal, Reply, TokenRead, Write};

use crate::api::{Answer, Asks, Effect as Took, Grounds, Request, RequestId, Token, Way};
use crate::checks::{Broken, Checks, Held, hold};
use crate::clock::{Moment, Skew};
use crate::content::{Content, Name, Parts, Shown, Sight, Version};
use crate::disk::{Queued, Space, What};
use crate::folder::{Manifest, Snapshot, Suspension, Wanted};
use crate::people;
use crate::record::HOUR;
use crate::simulation::{Event, Simulation};

/// A record is offered again after this.
const RECORD_AGAIN: Duration = Duration::from_secs(1);
/// How long calls in flight may take to end after a stop.
const GRACE: Duration = Duration::from_secs(20);
/// The client's deadline for one request, and how much later than it left one is carried out at most.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The folder is read without an event.
const RESYNC: Duration = Duration::from_secs(60);
/// A start that failed is tried again.
const START_AGAIN: Duration = Duration::from_secs(5);

/// Which life it is; events of an earlier one mean nothing to a later one.
pub(crate) type Life = u32;

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) life: Life,
    pub(crate) machine: Machine,
    checks: Checks,
    /// The token that is in place.
    token: Token,
    /// How far its clock is ahead.
    pub(crate) skew: Skew,
    flights: BTreeMap<Name, Flight>,
    names: BTreeMap<ExchangeId, Name>,
    looked: Option<Snapshot>,
    /// The random number that the machine was given last.
    jitter: f64,
    mood: Mood,
    wake: Option<Moment>,
}

#[derive(Debug)]
struct Flight {
    work: Work,
    version: Version,
    look: u64,
    grounds: Grounds,
    /// Whether somebody asked for it, whatever closes the gate.
    asked: bool,
    /// Where it is other content than the service has: whether that is known to have any.
    replaces: Option<bool>,
    /// The token of its newest request.
    token: Option<Token>,
    /// What the API showed, and when; when it told what the service has.
    shown: Option<(Shown, Moment)>,
    told: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Working,
    /// Begins nothing new.
    Stopping,
}

/// Who waits for a write.
pub(crate) type Waits = (Life, ExchangeId);

/// What a request brought, on its way to the machine.
#[derive(Debug)]
pub(crate) struct Brought {
    request: Request,
    answer: Answer,
    told: Moment,
    reply: Result<Reply, Refusal>,
    heard: Heard,
}

fn kind(name: Name) -> ServiceKind {
    if name.0 % 4 == 3 { ServiceKind::Combined } else { ServiceKind::Deployment }
}

impl Simulation {
    /// A process begins: opens the ledger, reads the token, looks at the folder.
    pub(crate) fn start(&mut self, life: Life) -> Held {
        if self.disk.space == Space::Full {
            self.future.at(self.now.after(START_AGAIN), Event::Start(life));
            return Ok(());
        }
        let skew = self.wall;
        let restored = std::mem::take(&mut self.restores) && self.disk.restore();
        if restored {
            self.count("ledgers put back");
            self.say(|| "an older ledger is put back".to_owned());
            // What it does not know of is as if somebody else had done it.
            self.api.touch_all(self.now);
        }
        if restored || skew != self.last_skew {
            // An older ledger, or a clock that is another one, knows nothing of what is on its way: that is carried out
            // before, or never.
            self.settle_requests()?;
            self.last_skew = skew;
        }
        let (pace, rules) = (self.settings.pace, self.settings.rules);
        let clock = skew.timestamp(self.now);
        self.disk.open(clock);
        self.remember_decisions();
        let settings = runner::Settings::new(pace.concurrency, REQUEST_TIMEOUT, self.settings.update_call);
        let kept = Kept {
            known: self.disk.all_known().collect(),
            memories: self.disk.memories(clock - HOUR).into_iter().collect(),
            quota: self.disk.quota(),
            pause: self.disk.pause().cloned(),
            turned: self.disk.turned().cloned(),
            account: None,
        };
        let mut machine = kept.begin(pace, rules, settings, clock);
        if self.settings.has_people() {
            machine.set_fuse(self.people.fuse(), 0);
            machine.set_wall_clock(self.wall.timestamp(self.now), clock);
            machine.set_closures(self.people.closures(), clock);
        }
        self.api.forgotten();
        self.say(|| format!("process {life} begins"));
        self.count("starts");
        let checks = Checks::new((pace, rules), self.settings.services, self.token_file, &self.disk, (self.now, skew));
        self.process = Some(Process {
            life,
            machine,
            checks,
            token: self.token_file,
            skew,
            flights: BTreeMap::new(),
            names: BTreeMap::new(),
            looked: None,
            jitter: 0.0,
            mood: Mood::Working,
            wake: None,
        });
        self.future.at(self.now.after(RESYNC), Event::Resync(life));
        self.look()
    }

    /// Reads the folder, and gives the machine what it says.
    pub(crate) fn look(&mut self) -> Held {
        let now = self.now;
        let Some(process) = self.process.as_mut().filter(|process| process.mood == Mood::Working) else {
            return Ok(());
        };
        if !self.folder.readable {
            return Ok(());
        }
        let snapshot = self.folder.look();
        self.looks += 1;
        let revision = Revision::Tree(Digest::of_bytes(&self.looks.to_le_bytes()));
        process.machine.observe(snapshot.desired(), revision, process.skew.timestamp(now));
        process.checks.observe(&snapshot, &self.disk);
        for name in (0..self.settings.services).map(Name) {
            if let (Some(wanted), None) = (snapshot.of(name), self.disk.applied(name)) {
                self.people.free(name, wanted.version);
            }
        }
        self.record.observed(&snapshot);
        process.looked = Some(snapshot);
        self.turn()
    }

    pub(crate) fn resync(&mut self) -> Held {
        let Some(process) = &self.process else { return Ok(()) };
        self.future.at(self.now.after(RESYNC), Event::Resync(process.life));
        self.look()
    }

    /// The process hears of what people said: the bell rang, or SIGHUP came.
    pub(crate) fn hear_people(&mut self) -> Held {
        if !self.settings.has_people() {
            return Ok(());
        }
        // One after the other, so that the checks see each.
        let now = self.now;
        if let Some(process) = &mut self.process {
            process.machine.set_closures(self.people.closures(), process.skew.timestamp(now));
        }
        self.carry_out()?;
        self.turn()?;
        if let Some(process) = &mut self.process {
            process.machine.decide(self.people.decisions(), process.skew.timestamp(now));
        }
        self.carry_out()?;
        self.turn()
    }

    /// Somebody looks at the plan, and says yes or no to it, or to an earlier one.
    pub(crate) fn say_of_a_plan(&mut self, answer: Verdict) -> Held {
        let known = |name: Name| self.disk.known(name).and_then(|known| known.digest()).map(|is| name.version(is));
        let change = |(name, manifest)| match manifest {
            Manifest::Valid(Wanted { version, .. }) if known(name) != Some(version) => {
                Some((name, known(name), version))
            }
            _ => None,
        };
        let planned = people::plan(self.folder.services().filter_map(change));
        self.people.show(&planned);
        let wall = self.wall.timestamp(self.now);
        if self.people.decide(answer, wall, &mut self.chance) {
            self.count(if answer == Verdict::Approve { "approvals" } else { "denials" });
        }
        self.hear_people()
    }

    /// In the end everybody agrees with what waits for them.
    fn agree(&mut self) -> Held {
        let Some(process) = self.process.as_ref().filter(|_| self.calm) else { return Ok(()) };
        let engine = process.machine.engine();
        if engine.ruling().held.is_empty() {
            return Ok(());
        }
        let planned = engine.fuse().planned().clone();
        if self.people.agree(&planned, self.wall.timestamp(self.now)) {
            return self.hear_people();
        }
        Ok(())
    }

    /// Notes for the checks what the engine holds.
    fn note_held(&mut self) {
        let Some(process) = self.process.as_mut().filter(|_| self.settings.has_people()) else { return };
        let engine = process.machine.engine();
        let is_held = |name: &Name| {
            let standing = engine.standing(name.key(), process.skew.timestamp(self.now));
            standing.is_some_and(|standing| matches!(standing.step, Some(Step::Held(_))))
        };
        process.checks.hold((0..self.settings.services).map(Name).filter(is_held).collect());
    }

    /// Nothing is held but by what people said.
    fn held_for_a_reason(&mut self) -> Held {
        let Some(process) = self.process.as_ref().filter(|_| self.settings.has_people()) else { return Ok(()) };
        let ruling = process.machine.engine().ruling();
        let wall = self.wall.timestamp(self.now);
        let (mut closes, mut holds) = (0, 0);
        for name in process.checks.held() {
            let (closed, ruled) = (self.people.closes(*name, wall), ruling.held.contains_key(name.key()));
            let standing = process.machine.engine().standing(name.key(), process.skew.timestamp(self.now));
            let by = standing.map(|standing| standing.held_by).unwrap_or_default();
            // Where there is no room for a call, what a suspension kept back is ruled on when there is.
            let unruled = by.iter().all(|by| by.what.starts_with("not yet compared"));
            hold!(unruled || closed || ruled, "held: {name} is, and nobody said so: {by:?}");
            (closes, holds) = (closes + u64::from(closed), holds + u64::from(ruled));
        }
        let denied = u64::from(ruling.state == PlanState::Denied);
        for (what, times) in [("services closed", closes), ("services ruled on", holds), ("plans denied", denied)] {
            *self.tally.entry(what).or_default() += times;
        }
        Ok(())
    }

    /// SIGUSR1.
    pub(crate) fn retry_all(&mut self) -> Held {
        if let Some(process) = &mut self.process {
            process.machine.retry_all(process.skew.timestamp(self.now));
            process.checks.retry_all(self.now);
        }
        self.look()
    }

    /// SIGHUP.
    pub(crate) fn read_token(&mut self) -> Held {
        let file = self.token_file;
        if let Some(process) = self.process.as_mut() {
            let another = process.token != file;
            process.token = file;
            process.machine.token_may_be_good(another);
            process.checks.token_replaced(file);
        }
        self.look()
    }

    /// One turn of the loop: begins what is due, sees when to wake.
    pub(crate) fn turn(&mut self) -> Held {
        let (now, wall) = (self.now, self.wall.timestamp(self.now));
        let Some(process) = &mut self.process else { return Ok(()) };
        if process.mood == Mood::Stopping {
            if process.machine.in_flight() == 0 {
                self.say(|| "the process ends in order".to_owned());
                return self.leave();
            }
            return Ok(());
        }
        if process.looked.is_none() {
            return Ok(());
        }
        let clock = process.skew.timestamp(now);
        process.machine.set_wall_clock(wall, clock);
        self.note_held();
        let Some(process) = &mut self.process else { return Ok(()) };
        let ended = process.checks.take_stock(&self.disk, now, wall);
        *self.tally.entry("suspensions ended").or_default() += ended;
        process.machine.turn(clock);
        self.carry_out()?;
        self.note_held();
        self.held_for_a_reason()?;
        let Some(process) = &mut self.process else { return Ok(()) };
        process.checks.rest(process.machine.engine(), &self.disk, now, wall)?;
        let wake = process.machine.next_wake(clock).map(|at| process.skew.reaching(at));
        hold!(
            wake.is_none_or(|wake| wake > now),
            "busy loop: the machine has nothing to do and wants to be woken at once"
        );
        if process.wake != wake {
            process.wake = wake;
            if let Some(at) = wake {
                self.future.at(at, Event::Wake(process.life));
            }
        }
        if process.machine.engine().reads_wait_until(clock).is_some() {
            self.count("reads kept waiting");
        }
        self.agree()
    }

    pub(crate) fn wake(&mut self) -> Held {
        // A wake that was put off since means nothing.
        if self.process.as_ref().is_some_and(|process| process.wake == Some(self.now)) { self.turn() } else { Ok(()) }
    }

    /// Carries out what the machine has decided.
    fn carry_out(&mut self) -> Held {
        while let Some(process) = &mut self.process {
            let effects = process.machine.take_effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.carry_out_one(effect)?;
            }
        }
        Ok(())
    }

    fn carry_out_one(&mut self, effect: Effect) -> Held {
        let Some(process) = &mut self.process else { return Ok(()) };
        let (life, now) = (process.life, self.now);
        match effect {
            Effect::Began(call) => return self.began(&call),
            Effect::Recall(id, key) => {
                process.names.insert(id, Name::of(&key));
                let soon = now.after(Duration::from_micros(self.chance.u64(50..3000)));
                self.future.at(soon, Event::Recalled(life, id));
            }
            Effect::Write(id, write) => return self.write_call(id, write),
            Effect::Ask(id, key, request) => return self.ask(id, Name::of(&key), &request),
            Effect::ReadToken => {
                let soon = now.after(Duration::from_micros(self.chance.u64(50..20_000)));
                self.future.at(soon, Event::TokenRead(life));
            }
            Effect::Ended(finished) => return self.ended(finished),
            Effect::KeepQuota(window) | Effect::ShowQuota(window) => self.keep_quota(window),
            Effect::KeepPause(pause) => self.write(None, What::Pause(pause), None),
            Effect::Keep(all) => {
                if all.iter().any(Keep::is_decision) {
                    process.checks.decided();
                }
                self.write(None, What::Kept(all), None);
            }
            Effect::KeepTurned(turned) => {
                if turned.is_some() {
                    process.checks.turned();
                }
                self.count("turned");
                self.write(None, What::Turned(turned), None);
            }
            Effect::KeepAccount(_) | Effect::AnotherAccount(_) => {
                return Err(Broken("an account is told, and nobody asked".to_owned()));
            }
            // Rollouts are followed in a simulation of their own.
            Effect::Look(_) | Effect::Seek(_) | Effect::Tell(_) => {}
        }
        Ok(())
    }

    fn keep_quota(&mut self, window: Window) {
        let at = self.process.as_ref().map(|process| process.skew.timestamp(self.now));
        if let Some(at) = at {
            self.write(None, What::Quota(window, at), None);
        }
    }

    /// A call began.
    fn began(&mut self, call: &Call) -> Held {
        let (now, wall) = (self.now, self.wall.timestamp(self.now));
        let Some(process) = &mut self.process else { return Ok(()) };
        hold!(process.mood == Mood::Working, "stopping: a call begins for {}", call.key);
        let name = Name::of(&call.key);
        let version = name.version(call.digest);
        let known = self.disk.known(name);
        let is_change = known.and_then(|known| known.digest()) != Some(call.digest);
        if matches!(call.work, Work::Send(_)) {
            hold!(!self.people.closes(name, wall), "closed: an update of {name} begins at {now}");
            let refused = self.people.refuses(name, version, known.is_some()).filter(|_| is_change);
            hold!(refused.is_none(), "decided: {version} of {name} is sent, and {}", refused.unwrap_or_default());
        }
        self.note_held();
        let Some(process) = &mut self.process else { return Ok(()) };
        let asked = process.checks.gate.asked;
        let grounds = process.checks.begin(call, &self.disk, now, wall)?;
        let (work, look) = (call.work, self.looks);
        let replaces = is_change.then_some(known.is_some());
        let flight = Flight { work, version, look, grounds, asked, replaces, token: None, shown: None, told: None };
        process.flights.insert(name, flight);
        let (work, attempt) = (call.work, call.attempt);
        self.say(|| format!("{name}: {work:?} of {version} begins, attempt {attempt}"));
        match work {
            Work::Decide(Cause::InDoubt) => self.count("reads in doubt"),
            Work::Decide(Cause::New) => self.count("reads of the unknown"),
            Work::Decide(_) => self.count("reads of what drifted"),
            Work::Watch => self.count("reads for drift"),
            Work::Send(Cause::Drifted) => self.count("corrections"),
            Work::Send(Cause::NotInEffect) => self.count("parts sent alone"),
            Work::Send(_) => {}
        }
        if attempt > 1 {
            self.count("retries");
        }
        Ok(())
    }

    /// The ledger says what it knows of a service.
    pub(crate) fn recalled(&mut self, id: ExchangeId) -> Held {
        let Some(process) = &mut self.process else { return Ok(()) };
        let name = process.names[&id];
        process.machine.recalled(id, self.disk.recalled(name), process.skew.timestamp(self.now));
        self.carry_out()?;
        self.turn()
    }

    /// The token was read anew, because it was refused.
    pub(crate) fn token_read(&mut self) -> Held {
        let file = self.token_file;
        let jitter = self.chance.f64();
        let Some(process) = &mut self.process else { return Ok(()) };
        let read = if process.token == file { TokenRead::Same } else { TokenRead::Another };
        process.jitter = jitter;
        if process.token != file {
            process.token = file;
            process.checks.token_replaced(file);
        }
        process.machine.token_read(&read, process.skew.timestamp(self.now), jitter);
        self.carry_out()?;
        self.turn()
    }

    /// A write of a call is handed to the ledger.
    fn write_call(&mut self, id: ExchangeId, write: Write) -> Held {
        let Some(process) = &mut self.process else { return Ok(()) };
        let life = process.life;
        let key = match &write {
            Write::Intend(intent) | Write::PutOff(intent, _) => Some(&intent.key),
            Write::Adopt(adoption) => Some(&adoption.key),
            Write::Saw(key, _) => Some(key),
            Write::Record(..) => None,
        };
        if let Some(key) = key {
            process.names.insert(id, Name::of(key));
        }
        let name = process.names[&id];
        let flight = process.flights.get_mut(&name);
        let (shown, told) = flight.as_ref().map_or((None, None), |flight| (flight.shown, flight.told));
        if let (Write::Adopt(adoption), Some(flight)) = (&write, flight) {
            let version = name.version(adoption.digest);
            let others = self.disk.others(name);
            let Some((Shown::Content(content), told)) = shown else {
                return Err(Broken(format!("adopted: {version} of {name}, of which nothing was shown")));
            };
            flight.told = Some(told);
            let unknown = others.iter().all(Option::is_none) && flight.work != Work::Decide(Cause::InDoubt);
            let proven = unknown || version.has_what_changed(content, &others);
            hold!(proven, "adopted: {version} of {name} without proof; it has {content:?}, others are {others:?}");
            hold!(
                Shown::Content(content).against(version) != Sight::Differs,
                "adopted: {version} of {name}, which has {content:?}"
            );
            if unknown {
                // Which credentials it uses is not shown, and nobody knows which it is to have lost.
                self.api.leave_credentials(name);
            }
            self.count("adopted");
        }
        let told = match &write {
            Write::Record(_, Outcome::Accepted { .. }, ..) => told,
            Write::Adopt(_) | Write::Saw(..) => shown.map(|(_, told)| told),
            _ => None,
        };
        self.write(Some((life, id)), What::Call(write), told);
        Ok(())
    }

    fn write(&mut self, waits: Option<Waits>, what: What, told: Option<Moment>) {
        self.disk.queue(Queued { waits, what, told });
        self.commit_what_waits();
    }

    fn commit_what_waits(&mut self) {
        if let (Some(process), true) = (&self.process, self.disk.begin()) {
            let most = if self.chance.u8(0..50) == 0 { 2_000_000 } else { 10_000 };
            let at = self.now.after(Duration::from_micros(self.chance.u64(300..most)));
            self.future.at(at, Event::Committed(process.life));
        }
    }

    /// A commit ended, well or not.
    pub(crate) fn committed(&mut self) -> Held {
        let done = self.disk.commit();
        if done.iter().any(|committed| committed.done.is_err()) {
            self.count("commits that failed");
        }
        self.remember_decisions();
        for committed in done {
            if let What::Kept(_) = committed.queued.what {
                self.kept(committed.done.is_ok());
            }
            let (Some((life, id)), What::Call(write)) = (committed.queued.waits, &committed.queued.what) else {
                continue;
            };
            match committed.done {
                Err(()) if write.insists() => {
                    let at = self.now.after(RECORD_AGAIN);
                    self.future.at(at, Event::WriteAgain(life, Box::new(committed.queued)));
                }
                Ok(call) => self.written(id, write, Ok(call))?,
                Err(()) => {
                    if matches!(write, Write::Saw(..)) {
                        self.count("sightings lost");
                    }
                    self.written(id, write, Err("disk full".to_owned()))?;
                }
            }
        }
        self.commit_what_waits();
        self.turn()
    }

    /// What is on disk of what people decided, the next process knows.
    fn remember_decisions(&mut self) {
        for keep in self.disk.take_kept() {
            if let Keep::Findings(findings) = keep {
                self.people.keep(findings);
            }
        }
    }

    fn kept(&mut self, done: bool) {
        if !done {
            self.count("decisions that were not written");
        }
        let Some(process) = &mut self.process else { return };
        process.checks.kept(done, self.now);
        let kept = if done { Ok(()) } else { Err("disk full".to_owned()) };
        process.machine.kept(kept, process.skew.timestamp(self.now));
    }

    /// Hands a record to the ledger again that it did not take.
    pub(crate) fn write_again(&mut self, queued: Queued<Waits>) {
        self.disk.queue(queued);
        self.commit_what_waits();
    }

    fn written(&mut self, id: ExchangeId, write: &Write, written: Result<Option<CallId>, String>) -> Held {
        let jitter = self.chance.f64();
        let now = self.now;
        let Some(process) = &mut self.process else { return Ok(()) };
        if let (Write::Record(_, Outcome::Accepted { .. }, ..), Ok(_)) = (write, &written)
            && let Some(flight) = process.names.get(&id).and_then(|name| process.flights.get(name))
        {
            self.record.accepted(process.names[&id], flight.work, now);
        }
        process.jitter = jitter;
        if written.is_ok() {
            process.checks.wrote();
        }
        process.machine.written(id, written, process.skew.timestamp(now), jitter);
        self.carry_out()
    }

    /// A request leaves; the intent of an update is on disk.
    fn ask(&mut self, exchange: ExchangeId, name: Name, request: &runner::Request) -> Held {
        let (now, wall) = (self.now, self.wall.timestamp(self.now));
        let Some(process) = &mut self.process else { return Ok(()) };
        process.names.insert(exchange, name);
        hold!(process.mood == Mood::Working, "stopping: a request leaves for {name}");
        let Some(flight) = process.flights.get_mut(&name) else {
            return Err(Broken(format!("a request leaves for {name}, of which no call began")));
        };
        let version = flight.version;
        let parts = |update: &truenorth::model::DeploymentUpdate| {
            if *update == *name.plain(version).update { Parts::All } else { Parts::RuntimeAlone }
        };
        let asks = match request {
            runner::Request::Post { update } => Asks::Post(version, parts(update)),
            runner::Request::Patch { update, .. } => Asks::Patch(version, parts(update)),
            runner::Request::ReadService => Asks::Read,
            runner::Request::ReadBuildId => return Err(Broken("a build is asked for".to_owned())),
            runner::Request::Account => return Err(Broken("the account is asked for".to_owned())),
        };
        let wanted = process.checks.wanted(name);
        hold!(
            wanted.is_some_and(|wanted| wanted.version == version && wanted.suspend != Suspension::Yes),
            "newest wins: a request for {version} of {name} leaves, the folder says {wanted:?}"
        );
        flight.token = Some(process.token);
        let replaces = flight.replaces;
        let mine = |request: &&Request| request.life == process.life && !request.over;
        let on_wire = self.requests.values().filter(mine).count();
        hold!(on_wire < self.settings.pace.concurrency, "places: request {} leaves for {name}", on_wire + 1);
        self.calls += 1;
        let request = Request {
            id: RequestId(self.calls),
            life: process.life,
            exchange,
            name,
            work: flight.work,
            asks,
            token: process.token,
            sent: now,
            look: flight.look,
            way: Way::There,
            over: false,
            grounds: flight.grounds,
        };
        if let Some(carried) = request.carries() {
            // What people said since the call began counts too; a window may have closed in that moment.
            if let Some(is_known) = replaces {
                let refused = self.people.refuses(name, carried, is_known);
                hold!(refused.is_none(), "decided: {carried} of {name} leaves, and {}", refused.unwrap_or_default());
            }
            hold!(!self.people.freezes_now(name, wall), "closed: an update of {name} leaves, which is frozen");
            self.people.free(name, carried);
        }
        self.record.sent(&request, self.requests.values().copied(), &self.disk, now)?;
        // Of what goes through a gateway some is carried out long after the gateway gave up.
        let lingers = self.api.late && request.carries().is_some() && self.chance.u8(0..3) == 0;
        let longest = REQUEST_TIMEOUT - Duration::from_millis(100);
        let arrives = if lingers {
            self.count("lingered");
            let gives_up = now.after(longest.mul_f64(self.chance.f64()));
            self.future.at(gives_up, Event::Answered(request.id, Answer::Lost, None, now));
            now.after(longest.mul_f64(self.chance.f64()))
        } else {
            now.after(self.api.latency(&mut self.chance).min(longest))
        };
        self.requests.insert(request.id, request);
        self.future.at(arrives, Event::Arrived(request.id));
        Ok(())
    }

    /// A request reaches the API; its answer is on its way back from then on.
    pub(crate) fn arrived(&mut self, id: RequestId) -> Held {
        let Some(request) = self.requests.get_mut(&id).filter(|request| request.way == Way::There) else {
            return Ok(());
        };
        request.way = Way::Back;
        let request = *request;
        let touched = self.api.touched(request.name);
        let met = self.api.arrive(&request, self.now, &mut self.chance);
        self.say(|| format!("{}: request {} meets {:?}", request.name, id.0, met));
        self.count(match (met.answer, met.effect) {
            (Answer::Accepted(_), _) => "accepted",
            (Answer::Live(_), _) => "read",
            (Answer::Refused | Answer::Missing, _) => "refused",
            (Answer::Denied, _) => "denied",
            (Answer::Forbidden, _) => "forbidden",
            (Answer::Limited(_, true), _) => "limited",
            (Answer::Limited(_, false), _) => "limited alone",
            (Answer::NoConnection | Answer::Conflict, _) => "not delivered",
            (Answer::Lost | Answer::ServerError(_) | Answer::Page(_), Took::None) if request.asks == Asks::Read => {
                "reads lost"
            }
            (Answer::Lost | Answer::ServerError(_) | Answer::Page(_), Took::None) => "lost before",
            (Answer::Lost | Answer::ServerError(_) | Answer::Page(_), Took::Applied { .. }) => "lost after",
        });
        if let Took::Applied { before } = met.effect {
            self.count(if request.over { "applied after all" } else { "applied" });
            if before.of == request.carries() {
                self.count("repeats");
            }
        }
        if let Answer::Limited(_, true) = met.answer {
            self.limit_was_known(request.name)?;
        }
        let applied = self.disk.applied(request.name);
        self.record.took_effect(&request, met.effect, touched, applied)?;
        if request.over {
            self.requests.remove(&id);
            return Ok(());
        }
        let answered = self.now.after(self.api.latency(&mut self.chance));
        let deadline = request.sent.after(REQUEST_TIMEOUT);
        let (answer, quota) = if answered > deadline { (Answer::Lost, None) } else { (met.answer, met.quota) };
        self.future.at(answered.min(deadline), Event::Answered(id, answer, quota, self.now));
        Ok(())
    }

    /// 429 is for those who could not know better: nobody had told them, an answer was lost, or others use the token.
    fn limit_was_known(&self, name: Name) -> Held {
        let Some(process) = &self.process else { return Ok(()) };
        let asked = process.flights.get(&name).is_some_and(|flight| flight.asked);
        if !asked
            && self.api.headers
            && !self.api.has_surplus()
            && !self.settings.has_others()
            && process.checks.knows_its_quota()
        {
            let quota = process.machine.engine().quota();
            return Err(Broken(format!("429: a request is refused for the rate limit, {quota:?}")));
        }
        Ok(())
    }

    /// The client has an answer, or gives up. `told` is when the API had the request.
    pub(crate) fn answered(&mut self, id: RequestId, answer: Answer, quota: Option<Quota>, told: Moment) -> Held {
        let Some(request) = self.requests.get_mut(&id).filter(|request| !request.over) else { return Ok(()) };
        request.over = true;
        let request = *request;
        if request.way == Way::Back {
            self.requests.remove(&id);
        }
        self.record.over(&request);
        let Some(process) = self.process.as_ref().filter(|process| process.life == request.life) else {
            return Ok(());
        };
        let reply = answer.reply(request.asks, kind(request.name));
        let at = process.skew.timestamp(self.now);
        let heard = Heard { at, quota, deprecation: None, elapsed: self.now.since(request.sent) };
        // The loop may be busy.
        let busy = if self.chance.u8(0..8) == 0 { self.chance.u64(0..300_000) } else { 0 };
        let brought = Box::new(Brought { request, answer, told, reply, heard });
        self.future.at(self.now.after(Duration::from_micros(busy)), Event::Replied(request.life, brought));
        Ok(())
    }

    /// The machine hears of it.
    pub(crate) fn replied(&mut self, brought: Brought) -> Held {
        let Brought { request, answer, told, reply, heard } = brought;
        let jitter = self.chance.f64();
        let now = self.now;
        match heard.quota {
            Some(quota) => self.api.heard(quota),
            None => self.api.lost(request.id),
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        let unsent = reply.as_ref().is_err_and(|refusal| refusal.delivery == Delivery::Unsent);
        process.checks.note(heard.quota, unsent, process.skew.reaching(heard.at));
        if let Some(flight) = process.flights.get_mut(&request.name) {
            match answer {
                Answer::Live(shown) => flight.shown = Some((shown, told)),
                Answer::Accepted(shown) => {
                    flight.shown = shown.map(|shown| (shown, told));
                    flight.told = Some(told);
                }
                _ => {}
            }
            if let Answer::Live(shown) = answer {
                let sight = shown.against(flight.version);
                let what = match (flight.work, sight) {
                    (_, Sight::CannotTell) => "cannot tell",
                    (Work::Watch, Sight::Differs) => "drift",
                    _ => "told",
                };
                *self.tally.entry(what).or_default() += 1;
            }
        }
        process.jitter = jitter;
        process.machine.replied(request.exchange, reply, heard, process.skew.timestamp(now), jitter);
        self.carry_out()?;
        self.turn()
    }

    /// A call ended, and the engine knows it.
    fn ended(&mut self, finished: Finished) -> Held {
        let Finished { key, work, ending, .. } = finished;
        let (name, now) = (Name::of(&key), self.now);
        let Some(process) = &mut self.process else { return Ok(()) };
        let Some(flight) = process.flights.remove(&name) else {
            return Err(Broken(format!("a call ended for {name} that never began")));
        };
        let Flight { version, shown, told, token, look, asked, .. } = flight;
        let put_back = matches!(ending, Ending::Withdrawn) && process.mood == Mood::Working && look == self.looks;
        hold!(!asked || !put_back || token.is_some(), "asked: the call for {name} that somebody asked for is put back");
        let told = match &ending {
            Ending::Accepted { .. } => told,
            Ending::Adopted { .. } | Ending::Read(_) => shown.map(|(_, told)| told),
            _ => None,
        };
        process.checks.finish(name, &ending, shown, told, token, &self.disk, (now, process.jitter))?;
        if work == Work::Send(Cause::Drifted) && matches!(ending, Ending::Accepted { .. }) {
            self.count("corrected");
        }
        let Some(process) = &self.process else { return Ok(()) };
        let standing = process.machine.engine().standing(name.key(), process.skew.timestamp(now));
        if standing.is_some_and(|standing| standing.flaps_until.is_some()) && matches!(ending, Ending::Read(_)) {
            self.count("flapping");
        }
        if matches!(ending, Ending::Withdrawn) {
            self.count("withdrawn");
        }
        self.say(|| format!("{name}: {work:?} of {version} ended as {ending:?}"));
        Ok(())
    }

    /// SIGTERM: nothing new, and some time for what is in flight.
    pub(crate) fn stop(&mut self) -> Held {
        let Some(process) = self.process.as_mut().filter(|process| process.mood == Mood::Working) else {
            return Ok(());
        };
        process.mood = Mood::Stopping;
        process.machine.close(process.skew.timestamp(self.now));
        self.future.at(self.now.after(GRACE), Event::GraceOver(process.life));
        self.say(|| "the process is asked to end".to_owned());
        self.count("stops");
        self.carry_out()?;
        self.turn()
    }

    /// The process ends although calls are in flight; what was handed to the ledger is carried out.
    pub(crate) fn leave(&mut self) -> Held {
        let Some(process) = self.process.take() else { return Ok(()) };
        self.disk.close();
        self.end_of_life(&process)
    }

    /// SIGKILL.
    pub(crate) fn crash(&mut self) -> Held {
        let Some(process) = self.process.take() else { return Ok(()) };
        self.say(|| format!("process {} is killed, {} calls in flight", process.life, process.machine.in_flight()));
        self.count("crashes");
        let durable = self.chance.bool();
        self.disk.crash(durable);
        self.end_of_life(&process)
    }

    fn end_of_life(&mut self, process: &Process) -> Held {
        // What is on its way arrives after all, or never.
        for id in self.requests.keys().copied().collect::<Vec<_>>() {
            let Some(request) = self.requests.get_mut(&id).filter(|request| request.life == process.life) else {
                continue;
            };
            let was_over = std::mem::replace(&mut request.over, true);
            let request = *request;
            self.record.over(&request);
            if request.way == Way::Back || (!was_over && self.chance.u8(0..3) == 0) {
                self.requests.remove(&id);
            }
        }
        let down = Duration::from_micros(self.chance.u64(1_000..5_000_000));
        self.future.at(self.now.after(down), Event::Start(process.life + 1));
        Ok(())
    }

    /// Whatever is on its way is carried out now.
    fn settle_requests(&mut self) -> Held {
        for id in self.requests.keys().copied().collect::<Vec<_>>() {
            self.arrived(id)?;
        }
        Ok(())
    }
}

/// What runs is what a manifest says.
pub(crate) fn is_right(content: Content, version: Version) -> bool {
    content.is(version)
}
