//! A year of a service whose newest version does not run, or does: rollouts that lag, fail and recover, others who deploy
//! between ours and its end, lists of deployments that lag, are empty or refused, changes by hand, restarts, and crashes
//! between any two steps, and windows in which nothing new is sent, and what ran before goes or waits. What failed is sent once, and what ran before is sent in its place once; what never failed is
//! never held back for somebody else's failure.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use truenorth::engine::{Call, Ending, Engine, Event, Follow, Look, Looked, Memory, Pace, Unsettled, Work, goes_on};
use truenorth::model::{
    Applied, Cause, DeploymentEntry, DeploymentStatus, DeploymentUpdate, Desired, DriftMode, External, ImagePath,
    Known, OnFailure, Place, Policy, Quarantine, Rollout, RolloutStage, ServiceKey,
};
use truenorth::plan::{Adopt, Change, ChangeWindow, Closures, Reading, Rollbacks, Rules, WindowEffect, Windows};

const YEAR: i64 = 365 * 24 * 3600;
const GOOD: u32 = 1;
const BAD: u32 = 2;
const BY_HAND: u32 = 9;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap()
}

fn key() -> ServiceKey {
    "shop/web".parse().unwrap()
}

fn desired(version: u32) -> Desired {
    let external = External { credentials: None, image_path: ImagePath::new(&format!("nginx:{version}")).unwrap() };
    let update = DeploymentUpdate::External { docker: None, external };
    Desired::new(&key(), update, Policy::default(), Place { file: "a.yaml".into(), line: 1 })
}

/// In whose name our updates are listed.
const US: &str = "truenorth";
/// How long a rollout takes to its end.
const TAKES: i64 = 30_000;

/// What was deployed: by whom, and when it was accepted by our clock.
#[derive(Clone, Copy)]
struct Deployed {
    version: u32,
    began: i64,
    by: &'static str,
    fails: bool,
}

/// How the list of deployments answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lists {
    /// What is so long ago is on it.
    After(i64),
    Empty,
    Refused,
    /// An answer comes now and then.
    Failing,
}

/// The API's service, whose clock is another one than ours.
struct Server {
    runs: u32,
    skew: i64,
    lag: i64,
    lists: Lists,
    /// Whether the newest version does not run.
    is_bad: bool,
    /// When a failed rollout ends well after all, after its failure.
    recovers: Option<i64>,
    /// Oldest first.
    rollouts: Vec<Deployed>,
}

impl Server {
    fn status(&self, now: i64) -> DeploymentStatus {
        let lagged = |of: &&Deployed| of.began + self.lag <= now;
        let Deployed { began, fails, .. } = *self.rollouts.iter().rev().find(lagged).unwrap_or(&self.rollouts[0]);
        let (stage, since) = match now - began {
            ..5_000 => (RolloutStage::Pending, 1),
            5_000..TAKES => (RolloutStage::InProgress, 5_000),
            _ if !fails => (RolloutStage::Completed, TAKES),
            passed => match self.recovers {
                Some(after) if passed >= TAKES + after => (RolloutStage::Completed, TAKES + after),
                _ => (RolloutStage::Failed, TAKES),
            },
        };
        DeploymentStatus { stage, scaling: false, since: Some(at(began + self.skew + since)) }
    }

    /// What the list shows, newest first.
    fn list(&self, now: i64, chance: &mut Rng) -> Looked {
        let lag = match self.lists {
            Lists::After(lag) => lag,
            Lists::Empty => i64::MAX / 2,
            Lists::Refused => return Looked::Nothing { error: "403".to_owned(), refused: true },
            Lists::Failing if chance.bool() => return Looked::Nothing { error: "503".to_owned(), refused: false },
            Lists::Failing => 0,
        };
        let entry = |of: &Deployed| DeploymentEntry {
            id: format!("{}-{}", of.by, of.began),
            created_at: at(of.began + self.skew),
            image: Some(format!("docker.io/library/nginx:{}", of.version)),
            tag: None,
            sha: None,
            commit: None,
            user: Some(of.by.to_owned()),
        };
        let listed = self.rollouts.iter().rev().filter(|of| of.began + lag <= now).take(20);
        Looked::Deployments(listed.map(entry).collect())
    }

    fn deploys(&mut self, version: u32, by: &'static str, fails: bool, now: i64) {
        self.runs = version;
        self.rollouts.push(Deployed { version, began: now, by, fails });
        if self.rollouts.len() > 64 {
            self.rollouts.remove(0);
        }
    }
}

/// What is on disk.
struct Disk {
    known: Known,
    unsettled: Vec<Unsettled>,
    rollout: Option<Rollout>,
    quarantine: Option<Quarantine>,
}

/// A process ended without a word.
struct Crashed;

/// Times in which no update is sent.
#[derive(Clone, Copy)]
struct Fair {
    from: i64,
    to: i64,
    rollbacks: Rollbacks,
}

impl Fair {
    /// One that begins within half a minute.
    fn any(now: i64, chance: &mut Rng) -> Self {
        let from = now + chance.i64(0..30_000);
        let rollbacks = [Rollbacks::Send, Rollbacks::Hold][chance.usize(0..2)];
        Self { from, to: from + chance.i64(1..24 * 3_600_000), rollbacks }
    }

    fn has(self, time: i64) -> bool {
        (self.from..self.to).contains(&time)
    }

    fn window(self) -> ChangeWindow {
        let text = |millis| at(millis).to_zoned_datetime(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S.%3f").to_string();
        ChangeWindow {
            effect: WindowEffect::Deny,
            spans: vec![format!("{}..{}", text(self.from), text(self.to)).parse().unwrap()],
            zone: TimeZone::UTC,
            services: Vec::new(),
            rollbacks: self.rollbacks,
            reason: None,
        }
    }
}

struct World {
    chance: Rng,
    now: i64,
    server: Server,
    disk: Disk,
    engine: Engine,
    on_failure: OnFailure,
    drift: DriftMode,
    /// How often the API accepted each version, and how often as a way back.
    accepted: BTreeMap<u32, u32>,
    returns: u32,
    crashes: u32,
    /// When somebody else deploys something next, on purpose while ours rolls out.
    rival: Option<i64>,
    /// How often somebody else deployed, and how often before ours had ended.
    rivals: u32,
    between: u32,
    /// Whether the newest version was ever quarantined, and how often it was sent after that.
    was_quarantined: bool,
    sent_after: u32,
    fair: Option<Fair>,
    /// Whether what ran before went out only after a window that held it.
    waited: bool,
    told: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Rng::with_seed(seed);
        let lists = match chance.u8(0..8) {
            0 => Lists::Empty,
            1 => Lists::Refused,
            2 => Lists::Failing,
            3 | 4 => Lists::After(0),
            // Longer than a rollout takes, and nobody could know of what failed.
            _ => Lists::After(chance.i64(0..TAKES - 5_000)),
        };
        let server = Server {
            runs: GOOD,
            skew: chance.i64(-300_000..=300_000),
            lag: chance.i64(0..20_000),
            lists,
            is_bad: chance.u8(0..3) > 0,
            recovers: (chance.u8(0..4) == 0).then(|| chance.i64(1..600_000)),
            rollouts: vec![Deployed { version: GOOD, began: -600_000, by: US, fails: false }],
        };
        let known = Known::Applied(Applied::new(desired(GOOD).digest));
        let disk = Disk { known, unsettled: Vec::new(), rollout: None, quarantine: None };
        let on_failure = if chance.bool() { OnFailure::LastGood } else { OnFailure::Hold };
        let drift = [DriftMode::Correct, DriftMode::Correct, DriftMode::Report][chance.usize(0..3)];
        let engine = Engine::new(Pace::default(), Rules::default(), []);
        let (accepted, told) = (BTreeMap::new(), Vec::new());
        let (returns, crashes, rivals, between, sent_after) = (0, 0, 0, 0, 0);
        let (rival, was_quarantined, waited) = (None, false, false);
        let fair = (chance.u8(0..4) > 0).then(|| Fair::any(0, &mut chance));
        let mut world = Self {
            chance,
            now: 0,
            server,
            disk,
            engine,
            on_failure,
            drift,
            accepted,
            returns,
            crashes,
            rival,
            rivals,
            between,
            was_quarantined,
            sent_after,
            fair,
            waited,
            told,
        };
        world.start();
        world
    }

    /// A process begins with what is on disk.
    fn start(&mut self) {
        let pace = Pace {
            follow: Some(Follow::DEFAULT),
            watch_period: Some(Duration::from_secs(3600)),
            check_after: Duration::from_secs(600),
            ..Pace::default()
        };
        let rules = Rules { adopt: Adopt::ReadFirst, drift: self.drift };
        self.engine = Engine::new(pace, rules, [(key(), self.disk.known)]);
        self.engine.set_on_failure(self.on_failure);
        let of_applied = |rollout: &Rollout| Some(rollout.digest) == self.disk.known.digest();
        let memory = Memory {
            unsettled: self.disk.unsettled.clone(),
            rollout: self.disk.rollout.clone().filter(of_applied),
            quarantine: self.disk.quarantine.clone(),
            ..Memory::default()
        };
        self.engine.recall(&key(), memory, at(self.now));
        self.engine.set_closures(self.closures(), at(self.now));
        self.engine.observe(BTreeMap::from([(key(), desired(BAD))]), at(self.now));
    }

    fn closures(&self) -> Closures {
        let windows = self.fair.iter().map(|fair| fair.window()).collect();
        Closures { windows: Windows::new(windows).unwrap(), ..Closures::default() }
    }

    fn tell(&mut self, what: impl std::fmt::Display) {
        self.told.push(format!("{:>12} {what}", self.now));
    }

    /// Between any two steps the process may be killed.
    fn survives(&mut self) -> Result<(), Crashed> {
        if self.chance.u16(0..400) == 0 { Err(Crashed) } else { Ok(()) }
    }

    fn run(&mut self) {
        let mut fate = 0;
        while self.now < YEAR * 1000 {
            match self.turn() {
                Ok(()) => {}
                Err(Crashed) => {
                    self.crashes += 1;
                    self.tell("is killed");
                    self.now += self.chance.i64(1..60_000);
                    self.start();
                    continue;
                }
            }
            if self.rival.is_some_and(|rival| rival <= self.now) {
                self.rival = None;
                self.somebody_deploys();
            }
            if fate <= self.now {
                self.befall();
                fate = self.now + self.chance.i64(1..3 * 24 * 3_600_000);
            }
            let now = at(self.now);
            let wakes = [self.engine.next_wake(now), self.engine.next_look_wake(now)];
            let wake = wakes.into_iter().flatten().min().map(|wake| wake.duration_since(at(0)).as_millis());
            let wake = wake.map_or(fate, |wake| i64::try_from(wake).unwrap() + 1);
            self.now = wake.min(fate).min(self.rival.unwrap_or(fate)).max(self.now + 1);
        }
    }

    fn befall(&mut self) {
        match self.chance.u8(0..5) {
            // Where a call is lost, what somebody does by hand meanwhile cannot be told from that.
            0 | 1 if matches!(self.disk.known, Known::Applied(_)) => {
                self.somebody_deploys();
            }
            2 => {
                self.tell("is restarted");
                self.start();
            }
            3 => {
                self.fair = Some(Fair::any(self.now, &mut self.chance));
                self.engine.set_closures(self.closures(), at(self.now));
            }
            _ => drop(self.engine.observe(BTreeMap::from([(key(), desired(BAD))]), at(self.now))),
        }
    }

    /// Something of their own, or the same once more with other variables; it runs or does not.
    fn somebody_deploys(&mut self) {
        let ours = self.server.rollouts.iter().rev().find(|of| of.by == US).map_or(0, |of| of.began);
        // Within seconds of ours nobody can tell who deployed the same.
        let same = self.chance.u8(0..4) == 0 && self.now - ours > 6_000;
        let version = if same { self.server.runs } else { BY_HAND };
        let fails = self.chance.bool();
        self.rivals += 1;
        self.between += u32::from(self.now - ours <= TAKES + self.server.lag + 60_000);
        self.server.deploys(version, "jane", fails, self.now);
        self.tell(format!("somebody else deploys {version}, fails: {fails}"));
    }

    fn turn(&mut self) -> Result<(), Crashed> {
        loop {
            if let Some(call) = self.engine.next_call(at(self.now), 0) {
                self.call(&call)?;
            } else if let Some(look) = self.engine.next_look(at(self.now), 0) {
                self.survives()?;
                let looked = match look {
                    Look::List { .. } => {
                        let services = vec![("web".to_owned(), Some(self.server.status(self.now)))];
                        Looked::Page { services, next: None }
                    }
                    Look::Deployments(_) => {
                        let listed = self.server.list(self.now, &mut self.chance);
                        self.tell(format!("the list is asked: {listed:?}"));
                        listed
                    }
                    Look::Containers(_) => Looked::Containers(Some("TASK_FAILED".to_owned())),
                    Look::Service(_) => unreachable!("the project may be listed"),
                };
                self.engine.looked(looked, at(self.now));
            } else {
                return self.keep();
            }
            self.keep()?;
        }
    }

    fn call(&mut self, call: &Call) -> Result<(), Crashed> {
        let version = [GOOD, BAD].into_iter().find(|version| desired(*version).digest == call.digest).unwrap();
        self.survives()?;
        let has_it = self.server.runs == version;
        let status = self.server.status(self.now);
        let ending = match call.work {
            Work::Send(cause) => return self.send(version, cause),
            Work::Decide(cause) if has_it => {
                self.disk.known = Known::Applied(Applied::new(call.digest));
                self.disk.unsettled.clear();
                if cause == Cause::InDoubt && goes_on(status) {
                    let rollout = Rollout::accepted(call.digest, at(self.now), None);
                    self.disk.rollout = Some(Rollout { state: truenorth::model::RolloutState::InProgress, ..rollout });
                }
                self.tell(format!("{version} is adopted"));
                self.survives()?;
                Ending::Adopted { unnamed: None, status: Some(status) }
            }
            Work::Decide(_) | Work::Watch => {
                let change = Change {
                    path: "external.imagePath".into(),
                    from: Some("nginx:x".into()),
                    to: Some("nginx".into()),
                };
                let differences = if has_it { [].into() } else { [change].into() };
                Ending::Read(Reading { differences, ..Reading::default() })
            }
        };
        self.engine.saw(&key(), Some(status), None, at(self.now));
        self.engine.finish(&key(), ending, at(self.now), 0.5);
        Ok(())
    }

    fn send(&mut self, version: u32, cause: Cause) -> Result<(), Crashed> {
        let digest = desired(version).digest;
        self.mind_the_fair(version, cause);
        self.disk.known = Known::InDoubt;
        self.disk.unsettled.push(Unsettled { digest, until: at(self.now + 35_000) });
        if let (Cause::Rollback, Some(quarantine)) = (cause, &mut self.disk.quarantine) {
            quarantine.back = Some(digest);
        }
        self.survives()?;
        let fails = version == BAD && self.server.is_bad;
        self.server.deploys(version, US, fails, self.now);
        self.sent_after += u32::from(version == BAD && self.was_quarantined);
        if self.chance.u8(0..3) == 0 {
            self.rival = Some(self.now + self.chance.i64(1..60_000));
        }
        *self.accepted.entry(version).or_default() += 1;
        self.returns += u32::from(cause == Cause::Rollback);
        self.tell(format!("{version} is sent: {}", cause.as_str()));
        self.survives()?;
        // A `Date` has whole seconds.
        let date = (self.now + self.server.skew).div_euclid(1000) * 1000;
        self.disk.known = Known::Applied(Applied::new(digest));
        self.disk.unsettled.clear();
        self.disk.rollout = Some(Rollout::accepted(digest, at(self.now), Some(at(date))));
        self.disk.quarantine.take_if(|quarantine| quarantine.digest == digest);
        self.survives()?;
        let ending = Ending::Accepted { shown: None, bare: false, at: Some(at(date)), status: None };
        self.engine.finish(&key(), ending, at(self.now), 0.5);
        Ok(())
    }

    /// Nothing new leaves in a window, and no correction. What ran before does, unless the window holds that too.
    fn mind_the_fair(&mut self, version: u32, cause: Cause) {
        let Some(fair) = self.fair else { return };
        let goes_back = version == GOOD && cause != Cause::Drifted;
        let may_go = !fair.has(self.now) || goes_back && fair.rollbacks == Rollbacks::Send;
        assert!(may_go, "{version} is sent in a window: {}\n{}", cause.as_str(), self.told.join("\n"));
        let failed = self.disk.quarantine.as_ref().map(|quarantine| quarantine.since);
        let was_held = failed.is_some_and(|failed| (at(fair.from)..at(fair.to)).contains(&failed));
        self.waited |= cause == Cause::Rollback && was_held && fair.rollbacks == Rollbacks::Hold;
    }

    /// Writes down what has to be, and finds what ran before.
    fn keep(&mut self) -> Result<(), Crashed> {
        for event in self.engine.take_events(at(self.now)) {
            if let Event::Rollout { rollout, .. } = event {
                self.survives()?;
                self.tell(format!("rollout: {}", rollout.words()));
                let is_kept = self.disk.rollout.as_ref().is_some_and(|kept| kept.digest == rollout.digest);
                self.disk.rollout = self.disk.rollout.take().map(|kept| if is_kept { rollout } else { kept });
            }
        }
        for (_, content, quarantine) in self.engine.take_quarantines() {
            self.survives()?;
            match quarantine {
                Some(quarantine) => {
                    self.was_quarantined |= quarantine.digest == desired(BAD).digest;
                    self.tell(format!("quarantined: {quarantine:?}"));
                    self.disk.quarantine = Some(quarantine);
                }
                None => drop(self.disk.quarantine.take_if(|quarantine| quarantine.digest == content)),
            }
        }
        for sought in self.engine.take_sought() {
            assert_eq!(sought.failed, desired(BAD).digest);
            let good = desired(GOOD);
            assert!(sought.back.is_none_or(|back| back == good.digest));
            self.engine.found(&sought, Some((good.digest, (*good.update).clone())), at(self.now));
        }
        Ok(())
    }
}

#[test]
fn a_bad_version_is_sent_once_a_year_and_what_ran_before_in_its_place_once() {
    let (mut returned, mut held, mut recovered, mut crashes) = (0, 0, 0, 0);
    let (mut overtaken, mut spared, mut waited) = (0, 0, 0);
    for seed in 0..90 {
        let mut world = World::new(seed);
        world.run();
        let sent = |version| world.accepted.get(&version).copied().unwrap_or_default();
        // As far as it matters: around the first quarantine, else the beginning.
        let first = world.told.iter().position(|told| told.contains("quarantined")).unwrap_or(80);
        let told = &world.told[first.saturating_sub(80)..world.told.len().min(first + 10)];
        let story = || format!("seed {seed}:\n{}", told.join("\n"));
        crashes += world.crashes;
        let is_told = matches!(world.server.lists, Lists::After(_));
        if !world.server.is_bad && is_told {
            assert!(!world.was_quarantined && world.returns == 0, "it never failed: {}", story());
            spared += u32::from(world.between > 0);
        }
        assert!(world.returns <= 1, "{}", story());
        waited += u32::from(world.waited);
        if world.server.recovers.is_some() {
            // What runs after all is like any other: its drift is corrected.
            recovered += 1;
            continue;
        }
        if is_told || world.rivals == 0 {
            assert_eq!(world.sent_after, 0, "it failed, and is sent again: {}", story());
        }
        if !world.server.is_bad {
            continue;
        }
        // What somebody else replaced before it failed was not seen to fail. Where no list says whose is whose, theirs may
        // be taken for ours.
        let others = if is_told { world.between } else { world.rivals };
        assert!((1..=1 + others).contains(&sent(BAD)), "{}", story());
        overtaken += u32::from(world.between > 0);
        match world.on_failure {
            OnFailure::Hold => {
                assert_eq!(sent(GOOD), 0, "{}", story());
                held += 1;
            }
            // What runs in its place is kept true like any other.
            OnFailure::LastGood => returned += world.returns,
        }
    }
    assert!(returned > 10 && held > 10 && recovered > 5 && crashes > 500, "{returned} {held} {recovered} {crashes}");
    assert!(overtaken > 10 && spared > 10 && waited > 3, "{overtaken} {spared} {waited}");
}
