//! The driver: one life of truenorth, which carries out what the engine decides. It does what `daemon::driver` and
//! `daemon::{call, read, send}` do, and in the same order: an intent is durable before its request leaves, an outcome or
//! an adoption before the engine hears of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use truenorth::engine::{Call, Delivery, Ending, Engine, Work};
use truenorth::model::Cause;
use truenorth::plan::{self, Seen, Step};

use crate::api::{Answer, Effect, Grounds, Quota, Request, Token, Way, read};
use crate::checks::{Broken, Checks, Held, hold};
use crate::clock::Moment;
use crate::content::{Content, Name, Shown, Sight, Version};
use crate::disk::{CallId, Outcome, Space, Write};
use crate::folder::Snapshot;
use crate::simulation::{Event, Simulation};

/// `daemon::call` offers a record again after this.
const RECORD_AGAIN: Duration = Duration::from_secs(1);
/// How long calls in flight may take to end after a stop.
const GRACE: Duration = Duration::from_secs(20);
/// The client's deadline for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The folder is read without an event.
const RESYNC: Duration = Duration::from_secs(60);
/// A start that failed is tried again.
const START_AGAIN: Duration = Duration::from_secs(5);
/// Two pauses that end this close to each other are kept as one.
const SAME_WINDOW: Duration = Duration::from_secs(30);
/// How far back corrections are taken over.
const CORRECTIONS_SINCE: Duration = Duration::from_secs(3600);

/// Which life it is; events of an earlier one mean nothing to a later one.
pub(crate) type Life = u32;

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) life: Life,
    pub(crate) engine: Engine,
    checks: Checks,
    token: Token,
    calls: BTreeMap<CallId, InFlight>,
    /// Calls that ended, while the driver waits for the disk.
    ended: VecDeque<Ended>,
    busy: Busy,
    /// Until when the pause lasts that this life was to keep over its end, and that the disk did not refuse.
    kept: Option<Moment>,
    /// The token that a call was accepted with last.
    accepted: Option<Token>,
    mood: Mood,
    wake: Option<Moment>,
}

#[derive(Debug)]
struct InFlight {
    name: Name,
    work: Work,
    version: Version,
    token: Token,
    look: u64,
    grounds: Grounds,
    stage: Stage,
}

/// How far a call is.
#[derive(Clone, Debug)]
enum Stage {
    /// Its intent is on its way to the disk.
    Intending,
    /// Its request is on its way.
    Sent,
    /// What it showed is on its way to the disk.
    Recording { write: Write, insists: Insists, end: End },
}

/// Whether a record that the disk refuses is offered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Insists {
    Yes,
    No,
}

/// How a call ended, for the driver.
#[derive(Clone, Debug)]
struct End {
    ending: Ending,
    /// What the answer said of the rate limit, and when it came.
    quota: Option<(Quota, Moment)>,
    /// Whether it was refused with 403.
    forbidden: bool,
    /// What the API showed, and when.
    shown: Option<(Shown, Moment)>,
}

#[derive(Debug)]
struct Ended {
    call: CallId,
    name: Name,
    work: Work,
    version: Version,
    token: Token,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Busy {
    No,
    /// Waits until the pause is kept; whether it was to look at the folder meanwhile.
    Keeping {
        look: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Working,
    /// Begins nothing new.
    Stopping,
}

impl Write {
    fn call(&self) -> Option<CallId> {
        match self {
            Self::Intend { call, .. }
            | Self::Record { call, .. }
            | Self::Adopt { call, .. }
            | Self::Saw { call, .. } => Some(*call),
            Self::KeepQuota { .. } | Self::SetPause { .. } => None,
        }
    }
}

impl Simulation {
    /// A process begins: opens the ledger, reads the token, looks at the folder.
    pub(crate) fn start(&mut self, life: Life) -> Held {
        if self.disk.space == Space::Full {
            self.future.at(self.now.after(START_AGAIN), Event::Start(life));
            return Ok(());
        }
        self.disk.open();
        let (pace, rules, now) = (self.settings.pace, self.settings.rules, self.now);
        let mut engine = Engine::new(pace, rules, self.disk.all_known());
        let kept = self.disk.quota().filter(|window| window.resets_at > now);
        if let Some(window) = kept {
            engine.note_quota(window.said());
        }
        self.api.kept(kept);
        if let Some(until) = self.disk.pause() {
            engine.pause(until.timestamp(), String::from("kept"));
        }
        let since = Moment(now.0.saturating_sub(u64::try_from(CORRECTIONS_SINCE.as_micros()).unwrap()));
        for (key, memory) in self.disk.memories(since) {
            engine.recall(&key, memory, now.timestamp());
        }
        self.say(|| format!("process {life} begins"));
        self.count("starts");
        self.process = Some(Process {
            life,
            engine,
            checks: Checks::new(pace, rules, self.settings.services, self.token_file, &self.disk, now),
            token: self.token_file,
            calls: BTreeMap::new(),
            ended: VecDeque::new(),
            busy: Busy::No,
            kept: None,
            accepted: None,
            mood: Mood::Working,
            wake: None,
        });
        self.future.at(self.now.after(RESYNC), Event::Resync(life));
        self.look()
    }

    /// Reads the folder, and gives the engine what it says.
    pub(crate) fn look(&mut self) -> Held {
        let Some(process) = &mut self.process else { return Ok(()) };
        if let Busy::Keeping { look } = &mut process.busy {
            *look = true;
            return Ok(());
        }
        if !self.folder.readable || process.mood == Mood::Stopping {
            return Ok(());
        }
        let snapshot = self.folder.look();
        self.looks += 1;
        process.engine.observe(snapshot.desired(), self.now.timestamp());
        process.checks.observe(&snapshot, &self.disk, self.now);
        self.record.observed(&snapshot);
        self.plan_agrees(&snapshot)?;
        self.turn()
    }

    pub(crate) fn resync(&mut self) -> Held {
        let Some(process) = &self.process else { return Ok(()) };
        self.future.at(self.now.after(RESYNC), Event::Resync(process.life));
        self.look()
    }

    /// The plan says what is due, of each service on its own account.
    fn plan_agrees(&self, snapshot: &Snapshot) -> Held {
        let Some(process) = &self.process else { return Ok(()) };
        let (desired, known) = (snapshot.desired(), self.disk.all_known().collect());
        let now = self.now.timestamp();
        let standing = |name: Name| process.engine.standing(name.key(), now);
        let seen = (0..self.settings.services).map(Name).filter_map(|name| {
            let seen: Seen = standing(name)?.seen?.clone();
            Some((name.key().clone(), seen))
        });
        let steps = plan::plan(&desired, &known, &seen.collect(), &self.settings.rules, now);
        for name in (0..self.settings.services).map(Name) {
            let (plans, step) = (steps.get(name.key()).copied(), standing(name).and_then(|standing| standing.step));
            let fights = standing(name).is_some_and(|standing| standing.fights_until.is_some());
            let left_alone = fights && plans == Some(Step::Update(Cause::Drifted)) && step == Some(Step::Unchanged);
            let in_flight = process.calls.values().any(|call| call.name == name);
            let ended = process.ended.iter().any(|ended| ended.name == name);
            hold!(
                plans == step || left_alone || in_flight || ended,
                "plan: {plans:?} for {name}, the engine says {step:?}"
            );
        }
        Ok(())
    }

    /// SIGUSR1.
    pub(crate) fn retry_all(&mut self) -> Held {
        if let Some(process) = &mut self.process {
            process.engine.retry_all(self.now.timestamp());
            process.checks.retry_all(self.now);
        }
        self.look()
    }

    /// SIGHUP.
    pub(crate) fn read_token(&mut self) -> Held {
        let file = self.token_file;
        if let Some(process) = self.process.as_mut().filter(|process| process.token != file) {
            process.replace_token(file);
            self.say(|| format!("the token is now {file:?}"));
        }
        self.look()
    }

    /// One turn of the loop: takes in what ended, begins what is due, sees when to wake.
    pub(crate) fn turn(&mut self) -> Held {
        while let Some(process) = &mut self.process
            && process.busy == Busy::No
            && let Some(ended) = process.ended.pop_front()
        {
            self.end(ended)?;
        }
        let now = self.now;
        let Some(process) = &mut self.process else { return Ok(()) };
        if process.busy != Busy::No {
            return Ok(());
        }
        if process.mood == Mood::Stopping {
            if process.calls.is_empty() {
                self.say(|| "the process ends in order".to_owned());
                return self.leave();
            }
            return Ok(());
        }
        for _ in 0..process.checks.resume(&self.disk, now) {
            *self.tally.entry("suspensions ended").or_default() += 1;
        }
        while let Some(call) = self.process.as_mut().and_then(|process| process.engine.next_call(now.timestamp())) {
            self.begin(&call)?;
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        process.checks.rest(&process.engine, &self.disk, now)?;
        let reads_wait = process.engine.reads_wait_until(now.timestamp()).is_some();
        let wake = process.engine.next_wake(now.timestamp()).map(Moment::reaching);
        if process.wake != wake {
            process.wake = wake;
            if let Some(at) = wake {
                self.future.at(at, Event::Wake(process.life));
            }
        }
        if reads_wait {
            self.count("reads kept waiting");
        }
        Ok(())
    }

    pub(crate) fn wake(&mut self) -> Held {
        // A wake that was put off since means nothing.
        match &self.process {
            Some(process) if process.wake == Some(self.now) => self.turn(),
            Some(_) | None => Ok(()),
        }
    }

    fn begin(&mut self, call: &Call) -> Held {
        let Some(process) = &mut self.process else { return Ok(()) };
        let grounds = process.checks.begin(call, &self.disk, self.now)?;
        self.calls += 1;
        let id = CallId(self.calls);
        let (name, work) = (Name::of(&call.key), call.work);
        let version = name.version(call.digest);
        let (token, look) = (process.token, self.looks);
        let in_flight = InFlight { name, work, version, token, look, grounds, stage: Stage::Intending };
        process.calls.insert(id, in_flight);
        self.say(|| format!("{name}: call {}, {work:?} of {version}, attempt {}", id.0, call.attempt));
        if call.attempt > 1 {
            self.count("retries");
        }
        self.count(match work {
            Work::Send(Cause::InDoubt) => "calls in doubt",
            Work::Send(Cause::Drifted) => "corrections",
            Work::Send(Cause::New | Cause::Changed) => "updates",
            Work::Decide(Cause::New) => "reads of the unknown",
            Work::Decide(Cause::InDoubt) => "reads in doubt",
            Work::Decide(_) => "reads of what drifted",
            Work::Watch => "reads for drift",
        });
        match work {
            Work::Send(cause) => {
                self.write(Write::Intend { call: id, name, version, cause });
                Ok(())
            }
            Work::Decide(_) | Work::Watch => self.send(id),
        }
    }

    fn write(&mut self, write: Write) {
        self.disk.queue(write);
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
        let (writes, durable) = self.disk.commit();
        if !durable {
            self.count("commits that failed");
        }
        for write in writes {
            match (write, write.call()) {
                (Write::Intend { call, .. }, _) if durable => self.send(call)?,
                (Write::Intend { call, .. }, _) => {
                    let ending = Ending::Unrecorded { error: String::from("e") };
                    self.take_out(call, End { ending, quota: None, forbidden: false, shown: None });
                }
                (_, Some(call)) => self.written(call, durable),
                (Write::SetPause { .. }, None) => {
                    if let Some(process) = &mut self.process
                        && let Busy::Keeping { look } = process.busy
                    {
                        process.busy = Busy::No;
                        process.kept = process.kept.filter(|_| durable);
                        if look {
                            self.future.at(self.now, Event::Look(process.life));
                        }
                    }
                }
                // Nobody waits for it.
                (_, None) => {}
            }
        }
        self.commit_what_waits();
        self.turn()
    }

    /// The request leaves; the intent of an update is on disk.
    fn send(&mut self, call: CallId) -> Held {
        let Some(in_flight) = self.process.as_mut().and_then(|process| process.calls.get_mut(&call)) else {
            return Ok(());
        };
        in_flight.stage = Stage::Sent;
        let InFlight { name, work, version, token, look, grounds, .. } = *in_flight;
        let request = Request { call, name, work, version, token, sent: self.now, look, way: Way::There, grounds };
        self.record.sent(&request, &self.disk, self.now)?;
        // What arrives after the client gave up is not part of this world.
        let arrives = self.now.after(self.api.latency(&mut self.chance).min(REQUEST_TIMEOUT));
        self.requests.insert(call, request);
        self.future.at(arrives, Event::Arrived(call));
        Ok(())
    }

    /// A request reaches the API; its answer is on its way back from then on.
    pub(crate) fn arrived(&mut self, call: CallId) -> Held {
        let Some(request) = self.requests.get_mut(&call) else { return Ok(()) };
        request.way = Way::Back;
        let request = *request;
        let touched = self.api.touched(request.name);
        let met = self.api.arrive(&request, self.now, &mut self.chance);
        self.say(|| format!("{}: request {} meets {:?}", request.name, call.0, met));
        self.count(match (met.answer, met.effect) {
            (Answer::Accepted, _) => "accepted",
            (Answer::Live(_), _) => "read",
            (Answer::Refused, _) => "refused",
            (Answer::Denied, _) => "denied",
            (Answer::Forbidden, _) => "forbidden",
            (Answer::Limited(_), _) => "limited",
            (Answer::NoConnection | Answer::TooEarly, _) => "not delivered",
            (_, Effect::None) if !matches!(request.work, Work::Send(_)) => "reads lost",
            (Answer::Lost | Answer::ServerError(_) | Answer::Redirected, Effect::None) => "lost before",
            (Answer::Lost | Answer::ServerError(_) | Answer::Redirected, Effect::Applied { .. }) => "lost after",
        });
        if met.effect == (Effect::Applied { before: Content::Version(request.version) }) {
            self.count("repeats");
        }
        if let Answer::Limited(_) = met.answer {
            self.limit_was_known()?;
        }
        self.record.took_effect(&request, met.effect, touched)?;
        let answered = self.now.after(self.api.latency(&mut self.chance));
        let deadline = request.sent.after(REQUEST_TIMEOUT);
        let (answer, quota) = if answered > deadline { (Answer::Lost, None) } else { (met.answer, met.quota) };
        self.future.at(answered.min(deadline), Event::Answered(call, answer, quota, self.now));
        Ok(())
    }

    /// 429 is for those who could not know better: nobody had told them, an answer was lost, or others use the token.
    fn limit_was_known(&mut self) -> Held {
        let Some(process) = &self.process else { return Ok(()) };
        if !self.api.has_surplus() && !self.settings.has_others() && process.checks.knows_its_quota() {
            return Err(Broken(format!("429: a call is refused for the rate limit, {:?}", process.engine.quota())));
        }
        Ok(())
    }

    /// The client has an answer, or gives up. `told` is when the API had the request.
    pub(crate) fn answered(&mut self, call: CallId, answer: Answer, quota: Option<Quota>, told: Moment) -> Held {
        let Some(request) = self.requests.remove(&call) else { return Ok(()) };
        self.record.over(&request);
        let Some(in_flight) = self.process.as_ref().and_then(|process| process.calls.get(&call)) else {
            return Ok(());
        };
        let InFlight { name, work, version, .. } = *in_flight;
        let (at, forbidden) = (self.now, answer == Answer::Forbidden);
        let quota = quota.map(|quota| (quota, at));
        let end = |ending, shown| End { ending, quota, forbidden, shown };
        if let Work::Send(_) = work {
            let (outcome, ending): (Outcome, _) = answer.of_update();
            let shown = matches!(ending, Ending::Accepted).then_some((Shown::Content(Content::Version(version)), told));
            let write = Write::Record { call, name, outcome, at, told };
            self.record_it(call, write, Insists::Yes, end(ending, shown));
            return Ok(());
        }
        let shown = match answer.of_read() {
            Ok(shown) => shown,
            Err(ending) => {
                self.take_out(call, end(ending, None));
                return self.turn();
            }
        };
        self.count(match (work, shown.against(version)) {
            (_, Sight::CannotTell) => "cannot tell",
            (Work::Watch, Sight::Differs) => "drift",
            _ => "told",
        });
        let seen = Some((shown, told));
        if work == Work::Watch {
            let write = Write::Saw { call, name, version, shown, at, told };
            self.record_it(call, write, Insists::No, end(read(version, shown), seen));
            return Ok(());
        }
        if version.read(shown).1 {
            self.count("adopted");
            let write = Write::Adopt { call, name, version, at, told };
            self.record_it(call, write, Insists::Yes, end(Ending::Adopted, seen));
            return Ok(());
        }
        self.take_out(call, end(read(version, shown), seen));
        self.turn()
    }

    fn record_it(&mut self, call: CallId, write: Write, insists: Insists, end: End) {
        if let Some(in_flight) = self.process.as_mut().and_then(|process| process.calls.get_mut(&call)) {
            in_flight.stage = Stage::Recording { write, insists, end };
            self.write(write);
        }
    }

    /// Hands a record to the ledger again that it did not take.
    pub(crate) fn record_again(&mut self, call: CallId) {
        let Some(in_flight) = self.process.as_ref().and_then(|process| process.calls.get(&call)) else { return };
        if let Stage::Recording { write, .. } = in_flight.stage {
            self.write(write);
        }
    }

    /// What a call showed is on disk, or is not: the driver may hear of it, or it is offered again.
    fn written(&mut self, call: CallId, durable: bool) {
        let Some(process) = &self.process else { return };
        let Some(InFlight { stage: Stage::Recording { write, insists, end }, name, work, .. }) =
            process.calls.get(&call)
        else {
            return;
        };
        let (life, write, end, name, work) = (process.life, *write, end.clone(), *name, *work);
        if !durable && *insists == Insists::Yes {
            self.future.at(self.now.after(RECORD_AGAIN), Event::RecordAgain(life, call));
            return;
        }
        if !durable {
            self.count("sightings lost");
        }
        if let (Ending::Accepted, Work::Send(Cause::Drifted), Write::Record { at, .. }) = (&end.ending, work, write) {
            self.count("corrected");
            self.record.corrected(name, at);
        }
        self.take_out(call, end);
    }

    fn take_out(&mut self, call: CallId, end: End) {
        let Some(process) = &mut self.process else { return };
        if let Some(InFlight { name, work, version, token, .. }) = process.calls.remove(&call) {
            process.ended.push_back(Ended { call, name, work, version, token, end });
        }
    }

    /// Takes in how a call ended.
    fn end(&mut self, ended: Ended) -> Held {
        let Ended { call, name, work, token, version, end: End { mut ending, quota, forbidden, shown } } = ended;
        let now = self.now;
        let file = self.token_file;
        let Some(process) = &mut self.process else { return Ok(()) };
        if matches!(ending, Ending::Denied { .. }) {
            if token == process.token && file != process.token {
                process.replace_token(file);
            }
            if token != process.token {
                ending = Ending::Withdrawn;
            }
        }
        match &ending {
            Ending::Accepted | Ending::Adopted | Ending::Read(_) => process.accepted = Some(token),
            // The token is good for others, or it is drift alone that is not to be seen.
            Ending::Denied { error } if forbidden && (work == Work::Watch || process.accepted == Some(token)) => {
                ending = Ending::Rejected { error: error.clone(), delivery: Delivery::Excluded };
            }
            _ => {}
        }
        let jitter = self.chance.f64();
        process.checks.ended(name, &ending, token)?;
        process.checks.finish(name, &ending, shown, &self.disk, now, jitter)?;
        process.engine.finish(name.key(), ending.clone(), now.timestamp(), jitter);
        let standing = process.engine.standing(name.key(), now.timestamp());
        let fights = standing.is_some_and(|standing| standing.fights_until.is_some());
        match quota {
            Some((quota, came)) => self.note(quota, came),
            None => self.api.lost(call),
        }
        self.keep_pause();
        if fights && matches!(ending, Ending::Read(_)) {
            self.count("fights");
        }
        self.say(|| format!("{name}: {work:?} of {version} ended as {ending:?}"));
        Ok(())
    }

    /// Takes in what an answer said of the rate limit, and keeps it.
    fn note(&mut self, quota: Quota, came: Moment) {
        let Some(process) = &mut self.process else { return };
        self.api.heard(quota);
        process.checks.note(quota, came);
        let window = truenorth::engine::Window::new(quota.limit, quota.remaining, quota.resets_in, came.timestamp());
        process.engine.note_quota(window);
        if let Some(window) = process.checks.window() {
            self.write(Write::KeepQuota { window });
        }
    }

    /// Keeps the rate limit's pause over a restart.
    fn keep_pause(&mut self) {
        let now = self.now;
        let Some(process) = &mut self.process else { return };
        let Some(pause) = process.engine.gate().limited(now.timestamp()) else { return };
        let until = Moment::reaching(pause.until);
        if process.kept.is_some_and(|kept| until < kept.after(SAME_WINDOW)) {
            return;
        }
        process.kept = Some(until);
        process.busy = Busy::Keeping { look: false };
        self.write(Write::SetPause { until });
    }

    /// SIGTERM: nothing new, and some time for what is in flight.
    pub(crate) fn stop(&mut self) -> Held {
        let Some(process) = self.process.as_mut().filter(|process| process.mood == Mood::Working) else {
            return Ok(());
        };
        process.mood = Mood::Stopping;
        self.future.at(self.now.after(GRACE), Event::GraceOver(process.life));
        self.say(|| "the process is asked to end".to_owned());
        self.count("stops");
        self.turn()
    }

    /// The process ends although calls are in flight; what was handed to the ledger is carried out.
    pub(crate) fn leave(&mut self) -> Held {
        let Some(process) = self.process.take() else { return Ok(()) };
        let unsent = process.calls.iter().filter(|(_, call)| matches!(call.stage, Stage::Intending));
        let given_up: Vec<_> = unsent.map(|(id, _)| *id).collect();
        self.disk.close(&given_up, self.now);
        self.end_of_life(&process)
    }

    /// SIGKILL.
    pub(crate) fn crash(&mut self) -> Held {
        let Some(process) = self.process.take() else { return Ok(()) };
        self.say(|| format!("process {} is killed, {} calls in flight", process.life, process.calls.len()));
        self.count("crashes");
        let durable = self.chance.bool();
        self.disk.crash(durable);
        self.end_of_life(&process)
    }

    fn end_of_life(&mut self, process: &Process) -> Held {
        let kept = process.kept.filter(|_| process.busy == Busy::No).map(Moment::kept);
        hold!(self.disk.pause() >= kept, "pause kept: the ledger has {:?}, it was {kept:?}", self.disk.pause());
        // What was on its way arrives now or never: a request that is overtaken by those of the next process is not
        // part of this world.
        let left = self.requests.values().filter(|request| request.way == Way::There);
        for call in left.map(|request| request.call).collect::<Vec<_>>() {
            if self.chance.bool() {
                self.count("arrived after the end");
                self.arrived(call)?;
            }
        }
        for request in std::mem::take(&mut self.requests).into_values() {
            self.record.over(&request);
        }
        let down = Duration::from_micros(self.chance.u64(1_000..5_000_000));
        self.future.at(self.now.after(down), Event::Start(process.life + 1));
        Ok(())
    }
}

impl Process {
    fn replace_token(&mut self, token: Token) {
        self.token = token;
        self.engine.token_replaced();
        self.checks.token_replaced(token);
    }
}
