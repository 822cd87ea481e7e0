//! The driver: one life of truenorth, which carries out what the engine decides. It does what `daemon::pass` and
//! `daemon::call` do, and in the same order: the intent is durable before the request leaves, the outcome before the
//! engine hears of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use truenorth::engine::{Call, Ending, Engine, Pace};
use truenorth::plan::{self, Step};

use crate::api::{Answer, Effect, Quota, Request, Token, Way};
use crate::checks::{Broken, Checks, Held, hold};
use crate::clock::Moment;
use crate::content::{Name, Version};
use crate::disk::{CallId, Outcome, Space, Write};
use crate::folder::Snapshot;
use crate::simulation::{Event, Simulation};

/// `daemon::call` offers a record again after this.
const RECORD_AGAIN: Duration = Duration::from_secs(1);
/// How long calls in flight may take to end after a stop.
const GRACE: Duration = Duration::from_secs(20);
/// The client's deadline for one call.
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
    pub(crate) engine: Engine,
    checks: Checks,
    token: Token,
    calls: BTreeMap<CallId, InFlight>,
    /// Calls that ended, while the driver waits for the disk.
    ended: VecDeque<Ended>,
    busy: Busy,
    /// Until when the pauses last that this life was to keep over its end, and that the disk did not refuse.
    kept: Option<Moment>,
    mood: Mood,
    wake: Option<Moment>,
}

#[derive(Debug)]
struct InFlight {
    name: Name,
    version: Version,
    token: Token,
    look: u64,
    stage: Stage,
}

/// How far a call is.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Its intent is on its way to the disk.
    Intending,
    /// Its request is on its way.
    Sent,
    /// Its outcome is on its way to the disk.
    Recording(Answer, Option<Quota>),
}

#[derive(Debug)]
struct Ended {
    name: Name,
    ending: Ending,
    quota: Option<Quota>,
    token: Token,
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

impl Simulation {
    /// A process begins: opens the ledger, reads the token, looks at the folder.
    pub(crate) fn start(&mut self, life: Life) -> Held {
        if self.disk.space == Space::Full {
            self.future.at(self.now.after(START_AGAIN), Event::Start(life));
            return Ok(());
        }
        self.disk.open();
        let pace = Pace { concurrency: self.settings.concurrency, ..Pace::default() };
        let mut engine = Engine::new(pace, self.disk.all_known());
        if let Some(until) = self.disk.pause() {
            engine.pause(until.timestamp(), String::from("kept"));
        }
        self.say(|| format!("process {life} begins"));
        self.count("starts");
        self.process = Some(Process {
            life,
            engine,
            checks: Checks::new(pace, self.settings.services, self.token_file, self.disk.pause()),
            token: self.token_file,
            calls: BTreeMap::new(),
            ended: VecDeque::new(),
            busy: Busy::No,
            kept: None,
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
        process.engine.observe(snapshot.desired());
        process.checks.observe(&snapshot, &self.disk, self.now);
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
        let steps = plan::plan(&snapshot.desired(), &self.disk.all_known().collect());
        for number in 0..self.settings.services {
            let name = Name(number);
            let known = self.disk.known(name);
            let accepted = known.and_then(|known| known.digest());
            let step = steps.get(name.key());
            let right = match snapshot.of(name) {
                None if known.is_none() => step.is_none(),
                None => step == Some(&Step::Orphaned),
                Some(wanted) if wanted.suspend => step == Some(&Step::Suspended),
                Some(wanted) if accepted == Some(name.digest(wanted.version)) => step == Some(&Step::Unchanged),
                Some(_) => matches!(step, Some(Step::Update(_))),
            };
            hold!(right, "plan: {step:?} for {name}, which is {known:?}");
        }
        Ok(())
    }

    /// SIGUSR1.
    pub(crate) fn retry_all(&mut self) -> Held {
        if let Some(process) = &mut self.process {
            process.engine.retry_all();
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
        while let Some(call) = self.process.as_mut().and_then(|process| process.engine.next_call(now.timestamp())) {
            self.begin(&call)?;
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        process.checks.rest(&process.engine, &self.disk, now)?;
        let wake = process.engine.next_wake(now.timestamp()).map(Moment::reaching);
        if process.wake != wake {
            process.wake = wake;
            if let Some(at) = wake {
                self.future.at(at, Event::Wake(process.life));
            }
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
        process.checks.begin(call, &self.disk, self.now)?;
        self.calls += 1;
        let id = CallId(self.calls);
        let name = Name::of(&call.key);
        let version = name.version(call.digest);
        let token = process.token;
        process.calls.insert(id, InFlight { name, version, token, look: self.looks, stage: Stage::Intending });
        self.say(|| format!("{name}: call {} for {version}, attempt {}, {}", id.0, call.attempt, call.cause.as_str()));
        if call.attempt > 1 {
            self.count("retries");
        }
        if call.cause == truenorth::model::Cause::InDoubt {
            self.count("calls in doubt");
        }
        self.write(Write::Intend { call: id, name, version });
        Ok(())
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
            match write {
                Write::Intend { call, .. } if durable => self.send(call)?,
                Write::Intend { call, .. } => {
                    self.take_out(call, Ending::Unrecorded { error: String::from("e") }, None);
                }
                Write::Record { call, .. } if durable => self.recorded(call),
                Write::Record { call, .. } => {
                    let life = self.process.as_ref().map_or(0, |process| process.life);
                    self.future.at(self.now.after(RECORD_AGAIN), Event::RecordAgain(life, call));
                }
                Write::SetPause { .. } => {
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
            }
        }
        self.commit_what_waits();
        self.turn()
    }

    /// The intent is on disk: the request leaves.
    fn send(&mut self, call: CallId) -> Held {
        let Some(in_flight) = self.process.as_mut().and_then(|process| process.calls.get_mut(&call)) else {
            return Ok(());
        };
        in_flight.stage = Stage::Sent;
        let InFlight { name, version, token, look, .. } = *in_flight;
        let request = Request { call, name, version, token, sent: self.now, look, way: Way::There };
        self.record.sent(&request, &self.disk)?;
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
        let met = self.api.arrive(&request, self.now, &mut self.chance);
        self.say(|| format!("{}: request {} meets {:?}", request.name, call.0, met));
        self.count(match (met.answer, met.effect) {
            (Answer::Accepted, _) => "accepted",
            (Answer::Refused, _) => "refused",
            (Answer::Denied, _) => "denied",
            (Answer::Limited(_), _) => "limited",
            (Answer::NoConnection | Answer::TooEarly, _) => "not delivered",
            (Answer::Lost | Answer::ServerError(_) | Answer::Redirected, Effect::None) => "lost before",
            (Answer::Lost | Answer::ServerError(_) | Answer::Redirected, Effect::Applied { .. }) => "lost after",
        });
        if met.effect == (Effect::Applied { before: Some(request.version) }) {
            self.count("repeats");
        }
        self.record.took_effect(&request, met.effect, &mut self.disk)?;
        let answered = self.now.after(self.api.latency(&mut self.chance));
        let deadline = request.sent.after(REQUEST_TIMEOUT);
        let (answer, quota) = if answered > deadline { (Answer::Lost, None) } else { (met.answer, met.quota) };
        self.future.at(answered.min(deadline), Event::Answered(call, answer, quota));
        Ok(())
    }

    /// The client has an answer, or gives up.
    pub(crate) fn answered(&mut self, call: CallId, answer: Answer, quota: Option<Quota>) -> Held {
        let Some(request) = self.requests.remove(&call) else { return Ok(()) };
        self.record.over(&request);
        let Some(in_flight) = self.process.as_mut().and_then(|process| process.calls.get_mut(&call)) else {
            return Ok(());
        };
        in_flight.stage = Stage::Recording(answer, quota);
        self.record_again(call);
        Ok(())
    }

    /// Hands the outcome of a call to the ledger.
    pub(crate) fn record_again(&mut self, call: CallId) {
        let Some(in_flight) = self.process.as_ref().and_then(|process| process.calls.get(&call)) else { return };
        if let (Stage::Recording(answer, _), name) = (in_flight.stage, in_flight.name) {
            let (outcome, _): (Outcome, _) = answer.means();
            self.write(Write::Record { call, name, outcome });
        }
    }

    /// The outcome is on disk: now the driver may hear of it.
    fn recorded(&mut self, call: CallId) {
        let stage = self.process.as_ref().and_then(|process| process.calls.get(&call)).map(|call| call.stage);
        if let Some(Stage::Recording(answer, quota)) = stage {
            let (_, ending) = answer.means();
            self.take_out(call, ending, quota);
        }
    }

    fn take_out(&mut self, call: CallId, ending: Ending, quota: Option<Quota>) {
        let Some(process) = &mut self.process else { return };
        if let Some(InFlight { name, token, .. }) = process.calls.remove(&call) {
            process.ended.push_back(Ended { name, ending, quota, token });
        }
    }

    /// Takes in how a call ended.
    fn end(&mut self, ended: Ended) -> Held {
        let Ended { name, mut ending, quota, token } = ended;
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
        let limited = matches!(ending, Ending::Limited { .. });
        if let Ending::Limited { wait, .. } = ending {
            process.kept = process.kept.max(Some(now.after(wait)));
        }
        let jitter = self.chance.f64();
        process.checks.ended(name, &ending, token)?;
        process.checks.finish(name, &ending, &self.disk, now, jitter)?;
        process.engine.finish(name.key(), ending.clone(), now.timestamp(), jitter);
        if let Some(Quota { remaining: 0, resets_in }) = quota {
            let until = now.after(resets_in);
            process.checks.limited(until);
            process.engine.pause(until.timestamp(), String::from("used up"));
        }
        if limited && let Some(pause) = process.engine.gate().limited(now.timestamp()) {
            process.busy = Busy::Keeping { look: false };
            let until = Moment::reaching(pause.until);
            self.write(Write::SetPause { until });
        }
        self.say(|| format!("{name}: ended as {ending:?}"));
        Ok(())
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
        self.disk.close(&given_up);
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
