//! A larger and simpler world: thousands of services, an API that fails in one way only, by the rate limit of a thousand
//! calls an hour, and a ledger that is always there. It shows what the calls of an hour are used for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use truenorth::engine::{Call, Ending, Engine, Memory, Pace, Window, Work};
use truenorth::model::{
    Applied, Cause, DeploymentUpdate, Desired, Digest, DriftMode, External, ImagePath, Known, Place, Policy, ServiceKey,
};
use truenorth::plan::{Adopt, Change, Reading, Rules, Seen};

use crate::clock::{Future, Moment};

const LIMIT: u32 = 1000;
const WINDOW: Duration = Duration::from_secs(3600);
/// The longest that a request and its answer take together.
const ANSWER: Duration = Duration::from_millis(400);
/// Reads for drift that may go beyond half of what is left over: what a burst of changes will use is not known before.
const SLACK: u32 = 6;
/// The longest that a daemon is down between its end and its next beginning.
const DOWN: Duration = Duration::from_secs(5);

type Index = usize;

#[derive(Clone, Copy, Debug)]
enum Event {
    Arrive(u64),
    Answer(u64),
    Wake(usize, u32),
    /// Some manifests change.
    Change,
    /// A daemon ends and another begins, the calls in flight finished before or not.
    Stop(usize, Ends),
    Begin(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    InOrder,
    Killed,
}

/// A request, and what it met.
#[derive(Debug)]
struct Request {
    daemon: usize,
    life: u32,
    call: Call,
    met: Option<(Ending, Said)>,
}

/// What the headers of an answer say.
#[derive(Clone, Copy, Debug)]
struct Said {
    remaining: u32,
    resets_in: Duration,
}

/// What is durable of a daemon.
#[derive(Debug, Default)]
struct Kept {
    known: BTreeMap<ServiceKey, Known>,
    memories: BTreeMap<ServiceKey, Memory>,
    window: Option<Window>,
}

#[derive(Debug)]
struct Daemon {
    engine: Option<Engine>,
    kept: Kept,
    desired: BTreeMap<ServiceKey, Desired>,
    life: u32,
    in_flight: usize,
    stopping: bool,
    wake: Option<Moment>,
}

/// What was made of a window of the API.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    watched: u32,
    /// Of these, those by a process that is gone.
    watched_before: u32,
    others: u32,
}

#[derive(Debug)]
struct Fleet {
    chance: Rng,
    now: Moment,
    future: Future<Event>,
    pace: Pace,
    rules: Rules,
    live: BTreeMap<ServiceKey, Digest>,
    daemons: Vec<Daemon>,
    requests: BTreeMap<u64, Request>,
    issued: u64,
    began: Option<Moment>,
    windows: Vec<Used>,
    refused: u32,
    /// Requests whose process was killed.
    unheard: u32,
    reads_of_the_unknown: BTreeMap<ServiceKey, u32>,
    /// When content was noticed that is to be sent.
    noticed: BTreeMap<ServiceKey, Moment>,
    slowest: Duration,
    looked: BTreeMap<ServiceKey, Moment>,
    longest_unread: Duration,
    changes: usize,
}

fn key(index: Index) -> ServiceKey {
    format!("shop/s{index}").parse().unwrap()
}

fn desired(key: &ServiceKey, version: u32) -> Desired {
    let image_path = ImagePath::new(&format!("nginx:{version}")).unwrap();
    let update = DeploymentUpdate::External { docker: None, external: External { credentials: None, image_path } };
    Desired::new(key, update, Policy::default(), Place { file: "a.yaml".into(), line: 1 })
}

/// How what runs compares with what is desired.
fn reading(same: bool) -> Reading {
    let change =
        || Change { path: "external.imagePath".to_owned(), from: Some("x".to_owned()), to: Some("y".to_owned()) };
    Reading { differences: (!same).then(change).into_iter().collect(), undecided: [].into(), ..Reading::default() }
}

impl Fleet {
    /// A daemon for each of these numbers of services, all of them unknown; of ten services one runs something else than
    /// its manifest says.
    fn new(seed: u64, pace: Pace, drift: DriftMode, services: &[usize]) -> Self {
        let mut chance = Rng::with_seed(seed);
        let (mut daemons, mut live, mut first) = (Vec::new(), BTreeMap::new(), 0);
        for many in services {
            let keys: Vec<_> = (first..first + many).map(key).collect();
            first += many;
            let runs = |key: &ServiceKey, chance: &mut Rng| desired(key, u32::from(chance.u8(0..10) == 0)).digest;
            live.extend(keys.iter().map(|key| (key.clone(), runs(key, &mut chance))));
            let desired = keys.iter().map(|key| (key.clone(), desired(key, 0))).collect();
            let kept = Kept::default();
            daemons.push(Daemon { engine: None, kept, desired, life: 0, in_flight: 0, stopping: false, wake: None });
        }
        let mut future = Future::new();
        for daemon in 0..services.len() {
            future.at(Moment::default(), Event::Begin(daemon));
        }
        let rules = Rules { adopt: Adopt::ReadFirst, drift };
        Self {
            chance,
            now: Moment::default(),
            future,
            pace,
            rules,
            live,
            daemons,
            requests: BTreeMap::new(),
            issued: 0,
            began: None,
            windows: Vec::new(),
            refused: 0,
            unheard: 0,
            reads_of_the_unknown: BTreeMap::new(),
            noticed: BTreeMap::new(),
            slowest: Duration::ZERO,
            looked: BTreeMap::new(),
            longest_unread: Duration::ZERO,
            changes: 0,
        }
    }

    /// The same, with all of it applied and live.
    fn applied(mut self) -> Self {
        for daemon in &mut self.daemons {
            for (key, desired) in &daemon.desired {
                self.live.insert(key.clone(), desired.digest);
                let applied = Known::Applied(Applied::new(desired.digest));
                daemon.kept.known.insert(key.clone(), applied);
                self.looked.insert(key.clone(), Moment::default());
            }
        }
        self
    }

    fn run(&mut self, until: Moment) {
        while let Some((at, event)) = self.future.next() {
            if at > until {
                self.future.at(at, event);
                break;
            }
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(id) => self.arrive(id),
            Event::Answer(id) => self.answer(id),
            Event::Wake(daemon, life) => {
                if self.daemons[daemon].life == life && self.daemons[daemon].wake == Some(self.now) {
                    self.turn(daemon);
                }
            }
            Event::Change => self.change(),
            Event::Stop(daemon, Ends::InOrder) => {
                self.daemons[daemon].stopping = true;
                self.turn(daemon);
            }
            Event::Stop(daemon, Ends::Killed) => {
                self.unheard += u32::try_from(self.daemons[daemon].in_flight).unwrap();
                self.end(daemon);
            }
            Event::Begin(daemon) => self.begin(daemon),
        }
    }

    fn begin(&mut self, number: usize) {
        let now = self.now.timestamp();
        let daemon = &mut self.daemons[number];
        let kept = &daemon.kept;
        let mut engine = Engine::new(self.pace, self.rules, kept.known.clone());
        if let Some(window) = kept.window.filter(|window| window.resets_at > now) {
            engine.note_quota(window);
        }
        for (key, memory) in &kept.memories {
            engine.recall(key, memory.clone(), now);
        }
        engine.observe(daemon.desired.clone(), now);
        // What changed while nobody was there is noticed now.
        self.noticed.values_mut().for_each(|noticed| *noticed = self.now);
        daemon.engine = Some(engine);
        daemon.life += 1;
        (daemon.in_flight, daemon.stopping, daemon.wake) = (0, false, None);
        self.turn(number);
    }

    fn end(&mut self, number: usize) {
        let daemon = &mut self.daemons[number];
        daemon.engine = None;
        daemon.life += 1;
        if let Some(used) = self.windows.last_mut() {
            used.watched_before = used.watched;
        }
        let down = DOWN.mul_f64(self.chance.f64());
        self.future.at(self.now.after(down), Event::Begin(number));
    }

    /// Some manifests say something new.
    fn change(&mut self) {
        let now = self.now;
        let daemon = &mut self.daemons[0];
        let many = self.chance.usize(1..=self.pace.concurrency);
        let indices: BTreeSet<_> = (0..many).map(|_| self.chance.usize(0..daemon.desired.len())).collect();
        for index in indices {
            let key = key(index);
            let version = 2 + self.chance.u32(0..1000);
            if daemon.desired[&key].digest != desired(&key, version).digest {
                daemon.desired.insert(key.clone(), desired(&key, version));
                self.noticed.insert(key, now);
                self.changes += 1;
            }
        }
        if let Some(engine) = &mut daemon.engine {
            engine.observe(daemon.desired.clone(), now.timestamp());
        }
        self.turn(0);
    }

    /// One turn of a daemon's loop.
    fn turn(&mut self, number: usize) {
        let now = self.now;
        let daemon = &mut self.daemons[number];
        if daemon.stopping {
            if daemon.in_flight == 0 {
                self.end(number);
            }
            return;
        }
        while let owed = self.daemons[number].in_flight
            && let Some(call) = self.daemons[number].engine.as_mut().and_then(|e| e.next_call(now.timestamp(), owed))
        {
            self.send(number, call);
        }
        let daemon = &mut self.daemons[number];
        let Some(engine) = &daemon.engine else { return };
        let wake = engine.next_wake(now.timestamp()).map(Moment::reaching);
        assert!(wake.is_none_or(|wake| wake > now), "busy loop");
        if daemon.wake != wake {
            daemon.wake = wake;
            if let Some(at) = wake {
                self.future.at(at, Event::Wake(number, daemon.life));
            }
        }
    }

    fn send(&mut self, number: usize, call: Call) {
        let daemon = &mut self.daemons[number];
        match call.work {
            Work::Send(cause) => {
                daemon.kept.known.insert(call.key.clone(), Known::InDoubt);
                if let (Cause::Changed, Some(noticed)) = (cause, self.noticed.remove(&call.key)) {
                    self.slowest = self.slowest.max(self.now.since(noticed));
                }
            }
            Work::Decide(Cause::New) => {
                let known = daemon.kept.known.get(&call.key);
                assert!(known.is_none(), "{} is adopted already, and read again", call.key);
                *self.reads_of_the_unknown.entry(call.key.clone()).or_default() += 1;
            }
            Work::Decide(_) | Work::Watch => {}
        }
        daemon.in_flight += 1;
        self.issued += 1;
        let request = Request { daemon: number, life: daemon.life, call, met: None };
        self.requests.insert(self.issued, request);
        let arrives = self.now.after(ANSWER.mul_f64(self.chance.f64() / 2.0));
        self.future.at(arrives, Event::Arrive(self.issued));
    }

    /// The rate limit, as the API counts it. `None` where nothing is left.
    fn take(&mut self, work: Work) -> (bool, Said) {
        if self.began.is_none_or(|began| self.now.since(began) >= WINDOW) {
            self.began = Some(self.now);
            self.windows.push(Used::default());
        }
        let used = self.windows.last_mut().unwrap();
        let left = WINDOW - self.now.since(self.began.unwrap());
        let resets_in = Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0));
        let taken = used.watched + used.others;
        let permitted = taken < LIMIT;
        match work {
            Work::Watch if permitted => used.watched += 1,
            _ if permitted => used.others += 1,
            _ => {}
        }
        let remaining = LIMIT - taken - u32::from(permitted);
        (permitted, Said { remaining, resets_in })
    }

    fn arrive(&mut self, id: u64) {
        let call = self.requests[&id].call.clone();
        let (permitted, said) = self.take(call.work);
        let same = self.live[&call.key] == call.digest;
        let ending = match call.work {
            _ if !permitted => {
                self.refused += 1;
                Ending::Limited { error: "".into(), wait: said.resets_in, told: true }
            }
            Work::Send(_) => {
                assert!(!same, "{} has it already", call.key);
                self.live.insert(call.key.clone(), call.digest);
                Ending::Accepted { shown: None, bare: false, at: None, status: None }
            }
            Work::Decide(_) if same => Ending::Adopted { unnamed: None, status: None },
            Work::Decide(_) | Work::Watch => Ending::Read(reading(same)),
        };
        if permitted {
            if let Some(before) = self.looked.insert(call.key.clone(), self.now) {
                self.longest_unread = self.longest_unread.max(self.now.since(before));
            }
            let used = self.windows.last().unwrap();
            let reserve = LIMIT * u32::from(self.pace.reserve_percent) / 100;
            // A new process takes what was read before it as used by others.
            let half = LIMIT.saturating_sub(used.others + used.watched_before + reserve) / 2;
            let watched = used.watched - used.watched_before;
            assert!(
                call.work != Work::Watch || self.daemons.len() > 1 || watched <= half + SLACK,
                "more than half of what is left over is used for drift: {used:?}"
            );
            // Changes that began after a read may come before it; and what a process that was killed had on its way is
            // used without a word.
            let others = u32::try_from(self.pace.concurrency + self.pace.ahead).unwrap();
            let keeps = said.remaining + self.unheard + others >= reserve
                || matches!(call.work, Work::Send(Cause::New | Cause::Changed) | Work::Decide(Cause::Changed));
            assert!(keeps || self.daemons.len() > 1, "{:?} uses what is kept back: {said:?}", call.work);
        }
        let request = self.requests.get_mut(&id).unwrap();
        request.met = Some((ending, said));
        let answered = self.now.after(ANSWER.mul_f64(self.chance.f64() / 2.0));
        self.future.at(answered, Event::Answer(id));
    }

    fn answer(&mut self, id: u64) {
        let Request { daemon: number, life, call, met } = self.requests.remove(&id).unwrap();
        let (ending, said) = met.unwrap();
        let daemon = &mut self.daemons[number];
        let Some(engine) = daemon.engine.as_mut().filter(|_| daemon.life == life) else { return };
        let now = self.now.timestamp();
        let kept = &mut daemon.kept;
        match &ending {
            Ending::Accepted { .. } | Ending::Adopted { .. } => {
                kept.known.insert(call.key.clone(), Known::Applied(Applied::new(call.digest)));
                let memory = kept.memories.entry(call.key.clone()).or_default();
                (memory.looked_at, memory.seen) = (Some(now), None);
                if call.work == Work::Send(Cause::Drifted) {
                    memory.corrections.push(now);
                }
            }
            Ending::Read(reading) if call.work == Work::Watch => {
                let memory = kept.memories.entry(call.key.clone()).or_default();
                memory.looked_at = Some(now);
                memory.seen = Some(Seen { compared: call.digest, at: now, reading: reading.clone() });
            }
            // 429 is a refusal: what was applied before still is.
            Ending::Limited { .. } if matches!(call.work, Work::Send(_)) => {
                let before = engine.standing(&call.key, now).and_then(|standing| standing.known.copied());
                match before {
                    Some(known) => kept.known.insert(call.key.clone(), known),
                    None => kept.known.remove(&call.key),
                };
            }
            _ => {}
        }
        engine.finish(&call.key, ending, now, self.chance.f64());
        engine.note_quota(Window::new(LIMIT, said.remaining, said.resets_in, now));
        kept.window = engine.quota().window();
        daemon.in_flight -= 1;
        self.turn(number);
    }

    /// Whether all of a daemon's services run what their manifests say, and it knows.
    fn has_converged(&self, number: usize) -> bool {
        let daemon = &self.daemons[number];
        daemon.engine.as_ref().is_some_and(Engine::is_settled)
            && daemon.desired.iter().all(|(key, desired)| {
                daemon.kept.known.get(key).and_then(Known::digest) == Some(desired.digest)
                    && desired.digest == self.live[key]
            })
    }
}

fn hours(hours: f64) -> Moment {
    Moment::default().after(WINDOW.mul_f64(hours))
}

/// Ends a daemon at some time within some hours.
fn stop_within(fleet: &mut Fleet, from: f64, to: f64, how: Ends) {
    let at = from + fleet.chance.f64() * (to - from);
    fleet.future.at(hours(at), Event::Stop(0, how));
}

fn pace(reserve_percent: u8) -> Pace {
    Pace { reserve_percent, ..Pace::default() }
}

#[test]
fn an_hour_of_a_thousand_calls_adopts_a_thousand_services_where_nothing_is_kept_back() {
    for seed in 0..3 {
        let mut fleet = Fleet::new(seed, pace(0), DriftMode::Off, &[1000]);
        // All of them run what their manifests say.
        for (key, desired) in &fleet.daemons[0].desired {
            fleet.live.insert(key.clone(), desired.digest);
        }
        fleet.run(hours(0.5));
        assert!(fleet.has_converged(0), "seed {seed}: {:?}", fleet.windows);
        assert_eq!((fleet.windows.len(), fleet.windows[0].others, fleet.refused), (1, 1000, 0), "seed {seed}");
    }
}

#[test]
fn a_restart_in_the_middle_of_the_adoption_loses_nothing() {
    for (seed, services, how) in
        [(0, 1000, Ends::InOrder), (1, 5000, Ends::InOrder), (2, 1000, Ends::Killed), (3, 5000, Ends::Killed)]
    {
        let mut fleet = Fleet::new(seed, pace(10), DriftMode::Report, &[services]);
        stop_within(&mut fleet, 0.001, 0.01, how);
        stop_within(&mut fleet, 1.0, 1.01, how);
        // One read of each, and one update of a tenth; nine tenths of each window are for reads.
        let windows = services.div_ceil(900) + 1;
        fleet.run(hours(f64::from(u32::try_from(windows).unwrap())));
        assert!(fleet.has_converged(0), "seed {seed}: {:?}", fleet.windows);
        assert_eq!(fleet.refused, 0, "seed {seed}");
        let reads: u32 = fleet.reads_of_the_unknown.values().sum();
        // Those alone that were being read, or that run something else and had not been sent to yet.
        let again = usize::try_from(reads).unwrap() - services;
        assert!(again <= 2 * fleet.pace.concurrency, "seed {seed}: {again} read again");
    }
}

#[test]
fn changes_go_at_once_beside_reads_for_drift_and_all_are_read_in_turn() {
    for (seed, services, long) in [(0, 300, 6.0), (1, 300, 6.0), (2, 5000, 14.0)] {
        let mut fleet = Fleet::new(seed, pace(10), DriftMode::Correct, &[services]).applied();
        let mut at = Moment::default();
        while at < hours(long) {
            at = at.after(Duration::from_secs(fleet.chance.u64(1..900)));
            fleet.future.at(at, Event::Change);
        }
        stop_within(&mut fleet, 1.0, 2.0, Ends::InOrder);
        stop_within(&mut fleet, 2.0, 3.0, Ends::Killed);
        fleet.run(hours(0.4));
        let period = fleet.daemons[0].engine.as_ref().unwrap().watch_period(fleet.now.timestamp()).unwrap();
        fleet.run(hours(long));
        assert_eq!(fleet.refused, 0, "seed {seed}");
        assert!(fleet.changes > 60 && fleet.noticed.len() < 9, "seed {seed}: {} changes", fleet.changes);
        // A change waits for what is in flight for its own service, and never for another one.
        let wait = fleet.slowest;
        assert!(wait <= ANSWER, "seed {seed}: a change waited {wait:?}");
        // The longest that a service was left unread, those counted that still are.
        let unread = fleet.looked.values().map(|looked| fleet.now.since(*looked)).max().unwrap();
        let longest = fleet.longest_unread.max(unread);
        assert!(
            longest <= period.mul_f64(1.25) + Duration::from_secs(30) && longest >= period.mul_f64(0.8),
            "seed {seed}: a service was unread for {longest:?}, the period is {period:?}"
        );
    }
}

#[test]
fn two_daemons_on_one_token_converge() {
    for seed in 0..3 {
        let mut fleet = Fleet::new(seed, pace(10), DriftMode::Report, &[900, 1200]);
        fleet.run(hours(4.0));
        assert!(fleet.has_converged(0) && fleet.has_converged(1), "seed {seed}: {:?}", fleet.windows);
        // What one uses up the other hears of by its next answer.
        let most = u32::try_from(2 * (fleet.pace.concurrency + 1) * fleet.windows.len()).unwrap();
        assert!(fleet.refused <= most, "seed {seed}: {} refused", fleet.refused);
    }
}
