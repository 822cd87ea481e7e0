//! The world's disk beside the real ledger: both are told the same, and must know the same.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use truenorth::engine::{self, Effect, Window};
use truenorth::ledger::{Adoption, CallId, Intent, Ledger, Outcome, Pause, Sighting};
use truenorth::model::{ApiPlace, Cause, Diagnostic, Digest, Revision, ServiceKey, ServiceKind};
use truenorth::plan::{self, Reading, Seen, UnnamedCredentials};
use truenorth::runner::Write;

use crate::clock::Moment;
use crate::content::{Content, Name, Shown, Version};
use crate::disk::{Disk, Queued, What};

const SERVICES: usize = 3;

fn write(disk: &mut Disk<()>, what: What) -> Option<CallId> {
    disk.queue(Queued { waits: None, what, told: None });
    disk.begin();
    disk.commit().pop().unwrap().done.unwrap()
}

fn revision() -> Revision {
    Revision::Tree(Digest::of_bytes(b""))
}

fn intent(name: Name, version: Version, cause: Cause, kind: Option<ServiceKind>, at: Timestamp) -> Intent {
    let desired = name.plain(version);
    Intent {
        key: name.key().clone(),
        update: desired.update,
        digest: desired.digest,
        cause,
        revision: revision(),
        place: desired.place,
        attempt: 1,
        at,
        settles_at: at + Duration::from_secs(5),
        kind,
    }
}

fn adoption(name: Name, version: Version, at: Timestamp, unnamed: Option<UnnamedCredentials>) -> Adoption {
    let desired = name.plain(version);
    let (key, revision) = (name.key().clone(), revision());
    Adoption {
        key,
        update: desired.update,
        digest: desired.digest,
        revision,
        place: desired.place,
        at,
        unnamed,
        runs: false,
        rollout: None,
    }
}

/// What the real ledger would have the engine recall, as the daemon asks it.
fn memories(real: &Ledger, since: Timestamp) -> BTreeMap<ServiceKey, String> {
    let reader = real.reader();
    let mut memories: BTreeMap<ServiceKey, engine::Memory> = BTreeMap::new();
    for (key, saw) in reader.sightings().unwrap() {
        let memory = memories.entry(key).or_default();
        (memory.looked_at, memory.seen, memory.unnamed) = (Some(saw.at), saw.seen, saw.unnamed);
    }
    for (key, at) in reader.corrections(since).unwrap() {
        memories.entry(key).or_default().corrections.push(at);
    }
    for (key, unsettled) in reader.unsettled().unwrap() {
        memories.entry(key).or_default().unsettled.push(unsettled);
    }
    for (key, completed) in reader.unread().unwrap() {
        memories.entry(key).or_default().effect =
            if completed { Effect::Completed } else { Effect::Unread { bare: false } };
    }
    memories.into_iter().map(|(key, memory)| (key, format!("{memory:?}"))).collect()
}

/// What it tells an exchange, in no order.
fn others(real: &Ledger, name: Name) -> Vec<String> {
    let mut others = real.reader().others(name.key()).unwrap();
    if others.is_empty() {
        others.push(None);
    }
    let mut others: Vec<_> = others.into_iter().map(Option::unwrap_or_default).collect();
    others.sort_unstable();
    others
}

#[tokio::test]
async fn the_disk_of_the_world_knows_what_the_ledger_knows() {
    for seed in 0..12 {
        let mut chance = Rng::with_seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let open = |now| Ledger::open(folder.path(), ApiPlace::new("https://api"), now).unwrap();
        let (mut real, mut disk) = (open(Moment(0).timestamp()), Disk::new(SERVICES));
        let mut calls: BTreeMap<Name, (CallId, CallId)> = BTreeMap::new();
        for step in 1..80 {
            let now = Moment(step * 1_234_567).timestamp();
            let name = Name(chance.usize(0..SERVICES));
            let version = Version::any(&mut chance);
            match chance.u8(0..30) {
                0 => {
                    drop(real);
                    real = open(now);
                    disk.crash(true);
                    disk.open(now);
                    calls.clear();
                }
                1..=3 => {
                    let window = Window { limit: 1000, remaining: chance.u32(0..1000), resets_at: now };
                    real.set_quota(window, now).await.unwrap();
                    write(&mut disk, What::Quota(window, now));
                    let pause = Pause { until: now, reason: "limit".to_owned(), set_at: now };
                    real.set_pause(Some(pause.clone())).await.unwrap();
                    write(&mut disk, What::Pause(pause));
                }
                4..=8 => {
                    let live = Shown::Content(Content::any(&mut chance)).live(ServiceKind::Combined);
                    let reading = Reading::of(&plan::compare(&name.plain(version).update, &live));
                    let unnamed = reading.unnamed_credentials.clone().filter(|_| chance.bool());
                    let reading = Reading { unnamed_credentials: unnamed.clone(), ..reading };
                    let seen = Seen { compared: name.digest(version), at: now, reading };
                    let failure = (chance.u8(0..4) == 0).then(|| Diagnostic {
                        hint: (chance.bool()).then(|| "wait".into()),
                        details: (chance.bool()).then(|| Box::new(serde_json::json!({"a": ["b"]}))),
                        ..Diagnostic::from("502")
                    });
                    let kind = failure.is_none().then_some(live.kind);
                    let seen = failure.is_none().then_some(seen);
                    let unnamed = unnamed.filter(|_| seen.is_some());
                    let sighting = Sighting { at: now, kind, seen, unnamed, failure };
                    real.saw(name.key(), sighting.clone()).await.unwrap();
                    write(&mut disk, What::Call(Write::Saw(name.key().clone(), sighting)));
                }
                9..=10 if !calls.contains_key(&name) => {
                    let unnamed = (chance.bool()).then(|| UnnamedCredentials { id: Some("ghcr".to_owned()) });
                    let adoption = adoption(name, version, now, unnamed);
                    real.adopt(adoption.clone()).await.unwrap();
                    write(&mut disk, What::Call(Write::Adopt(adoption)));
                }
                // A second intent for a service closes its first.
                9..=18 => {
                    let cause = [Cause::Changed, Cause::Drifted, Cause::NotInEffect][chance.usize(0..3)];
                    let kind = (chance.u8(0..3) == 0).then_some(ServiceKind::Deployment);
                    let intent = intent(name, version, cause, kind, now);
                    let id = real.intend(intent.clone()).await.unwrap();
                    let call = write(&mut disk, What::Call(Write::Intend(intent))).unwrap();
                    calls.insert(name, (id, call));
                }
                _ => {
                    let Some((id, call)) = calls.remove(&name) else { continue };
                    let error = Diagnostic::from("no").with_hint("yes");
                    let outcome = match chance.u8(0..4) {
                        0 => Outcome::Accepted { status: 200 },
                        1 => Outcome::Rejected { status: 404, error },
                        2 => Outcome::Unsent { error },
                        _ => Outcome::Unknown { status: None, error },
                    };
                    real.record(id, outcome.clone(), now).await.unwrap();
                    write(&mut disk, What::Call(Write::Record(call, outcome, now, None)));
                }
            }
            let known: BTreeMap<_, _> = real.reader().known().unwrap().into_iter().collect();
            assert_eq!(known, disk.all_known().collect(), "seed {seed}, step {step}");
            assert_eq!(real.reader().pause().unwrap().as_ref(), disk.pause(), "seed {seed}, step {step}");
            assert_eq!(real.reader().kept_quota().unwrap(), disk.quota(), "seed {seed}, step {step}");
            let since = now - Duration::from_secs(30);
            let recalled = disk.memories(since).into_iter().map(|(key, memory)| (key, format!("{memory:?}"))).collect();
            assert_eq!(memories(&real, since), recalled, "seed {seed}, step {step}");
            for name in (0..SERVICES).map(Name) {
                let recalled = disk.recalled(name);
                let body =
                    |body: &Option<serde_json::Value>| body.as_ref().map(ToString::to_string).unwrap_or_default();
                let mut bodies: Vec<_> = recalled.others.iter().map(body).collect();
                bodies.sort_unstable();
                assert_eq!(others(&real, name), bodies, "seed {seed}, step {step}");
                assert_eq!(real.reader().kind(name.key()).unwrap(), recalled.kind, "seed {seed}, step {step}");
            }
        }
    }
}
