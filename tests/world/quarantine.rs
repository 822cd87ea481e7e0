//! A year of a service whose newest version does not run: rollouts that lag, fail and recover, changes by hand, restarts,
//! and crashes between any two steps. What failed is sent once, and what ran before is sent in its place once.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use truenorth::engine::{Call, Ending, Engine, Event, Follow, Look, Looked, Memory, Pace, Unsettled, Work, goes_on};
use truenorth::model::{
    Applied, Cause, DeploymentStatus, DeploymentUpdate, Desired, DriftMode, External, ImagePath, Known, OnFailure,
    Place, Policy, Quarantine, Rollout, RolloutStage, ServiceKey,
};
use truenorth::plan::{Adopt, Change, Reading, Rules};

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

/// The API's service, whose clock is another one than ours.
struct Server {
    runs: u32,
    skew: i64,
    lag: i64,
    /// When a failed rollout ends well after all, after its failure.
    recovers: Option<i64>,
    /// The newest rollout, and the one before: which version, and when it was accepted by our clock.
    rollouts: Vec<(u32, i64)>,
}

impl Server {
    fn status(&self, now: i64) -> DeploymentStatus {
        let lagged = |began: &&(u32, i64)| began.1 + self.lag <= now;
        let (version, began) = *self.rollouts.iter().rev().find(lagged).unwrap_or(&self.rollouts[0]);
        let (stage, since) = match now - began {
            ..5_000 => (RolloutStage::Pending, 1),
            5_000..30_000 => (RolloutStage::InProgress, 5_000),
            _ if version != BAD => (RolloutStage::Completed, 30_000),
            passed => match self.recovers {
                Some(after) if passed >= 30_000 + after => (RolloutStage::Completed, 30_000 + after),
                _ => (RolloutStage::Failed, 30_000),
            },
        };
        DeploymentStatus { stage, scaling: false, since: Some(at(began + self.skew + since)) }
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
    told: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Rng::with_seed(seed);
        let server = Server {
            runs: GOOD,
            skew: chance.i64(-300_000..=300_000),
            lag: chance.i64(0..20_000),
            recovers: (chance.u8(0..4) == 0).then(|| chance.i64(1..600_000)),
            rollouts: vec![(GOOD, -600_000)],
        };
        let known = Known::Applied(Applied::new(desired(GOOD).digest));
        let disk = Disk { known, unsettled: Vec::new(), rollout: None, quarantine: None };
        let on_failure = if chance.bool() { OnFailure::LastGood } else { OnFailure::Hold };
        let drift = [DriftMode::Correct, DriftMode::Correct, DriftMode::Report][chance.usize(0..3)];
        let engine = Engine::new(Pace::default(), Rules::default(), []);
        let (accepted, told) = (BTreeMap::new(), Vec::new());
        let mut world =
            Self { chance, now: 0, server, disk, engine, on_failure, drift, accepted, returns: 0, crashes: 0, told };
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
        self.engine.observe([(key(), desired(BAD))].into(), at(self.now));
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
            if fate <= self.now {
                self.befall();
                fate = self.now + self.chance.i64(1..3 * 24 * 3_600_000);
            }
            let now = at(self.now);
            let wakes = [self.engine.next_wake(now), self.engine.next_look_wake(now)];
            let wake = wakes.into_iter().flatten().min().map(|wake| wake.duration_since(at(0)).as_millis());
            let wake = wake.map_or(fate, |wake| i64::try_from(wake).unwrap() + 1);
            self.now = wake.min(fate).max(self.now + 1);
        }
    }

    fn befall(&mut self) {
        match self.chance.u8(0..4) {
            // Where a call is lost, what somebody does by hand meanwhile cannot be told from that.
            0 | 1 if matches!(self.disk.known, Known::Applied(_)) => {
                self.server.runs = BY_HAND;
                self.tell("somebody changes it by hand");
            }
            2 => {
                self.tell("is restarted");
                self.start();
            }
            _ => drop(self.engine.observe([(key(), desired(BAD))].into(), at(self.now))),
        }
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
        self.disk.known = Known::InDoubt;
        self.disk.unsettled.push(Unsettled { digest, until: at(self.now + 35_000) });
        if let (Cause::Rollback, Some(quarantine)) = (cause, &mut self.disk.quarantine) {
            quarantine.back = Some(digest);
        }
        self.survives()?;
        self.server.runs = version;
        self.server.rollouts.push((version, self.now));
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
                Some(quarantine) => self.disk.quarantine = Some(quarantine),
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
    for seed in 0..60 {
        let mut world = World::new(seed);
        world.run();
        let sent = |version| world.accepted.get(&version).copied().unwrap_or_default();
        let story = || format!("seed {seed}:\n{}", world.told[..world.told.len().min(60)].join("\n"));
        crashes += world.crashes;
        if world.server.recovers.is_some() {
            // What runs after all is like any other: its drift is corrected.
            assert!(world.returns <= 1, "{}", story());
            recovered += 1;
            continue;
        }
        assert_eq!(sent(BAD), 1, "{}", story());
        assert!(world.returns <= 1, "{}", story());
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
}
