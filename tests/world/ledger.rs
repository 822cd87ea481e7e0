//! The world's disk beside the real ledger: both are told the same, and must know the same.

use std::collections::BTreeMap;

use fastrand::Rng;
use truenorth::engine;
use truenorth::ledger::{Adoption, CallId, Intent, Ledger, Outcome, Pause, Sighting};
use truenorth::model::{ApiPlace, Cause, Digest, Revision, ServiceKey};
use truenorth::plan::Seen;

use crate::api::Window;
use crate::clock::Moment;
use crate::content::{Content, Name, Shown, Version};
use crate::disk::{self, Disk, Write};

const SERVICES: usize = 3;

fn write(disk: &mut Disk, write: Write) {
    disk.queue(write);
    disk.begin();
    disk.commit();
}

fn revision() -> Revision {
    Revision::Tree(Digest::of_bytes(b""))
}

fn intent(name: Name, version: Version, cause: Cause, at: Moment) -> Intent {
    let desired = name.plain(version);
    Intent {
        key: name.key().clone(),
        update: desired.update,
        digest: desired.digest,
        cause,
        revision: revision(),
        place: desired.place,
        attempt: 1,
        at: at.timestamp(),
    }
}

fn adoption(name: Name, version: Version, at: Moment) -> Adoption {
    let desired = name.plain(version);
    Adoption {
        key: name.key().clone(),
        update: desired.update,
        digest: desired.digest,
        revision: revision(),
        place: desired.place,
        at: at.timestamp(),
    }
}

/// What the real ledger would have the engine recall, as the daemon asks it.
fn memories(real: &Ledger, since: Moment) -> BTreeMap<ServiceKey, String> {
    let mut memories: BTreeMap<ServiceKey, engine::Memory> = BTreeMap::new();
    for (key, saw) in real.reader().sightings().unwrap() {
        let memory = memories.entry(key).or_default();
        (memory.looked_at, memory.seen) = (Some(saw.at), saw.seen);
    }
    for (key, at) in real.reader().corrections(since.timestamp()).unwrap() {
        memories.entry(key).or_default().corrections.push(at);
    }
    memories.into_iter().map(|(key, memory)| (key, format!("{memory:?}"))).collect()
}

#[tokio::test]
async fn the_disk_of_the_world_knows_what_the_ledger_knows() {
    for seed in 0..12 {
        let mut chance = Rng::with_seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let (mut real, mut disk) = (
            Ledger::open(folder.path(), ApiPlace::new("https://api"), Moment(0).timestamp()).unwrap(),
            Disk::new(SERVICES),
        );
        let mut calls: BTreeMap<Name, (CallId, disk::CallId)> = BTreeMap::new();
        for step in 1..80 {
            let now = Moment(step * 1_234_567);
            let name = Name(chance.usize(0..SERVICES));
            let version = Version::any(&mut chance);
            let call = disk::CallId(step);
            match chance.u8(0..30) {
                0 => {
                    drop(real);
                    real = Ledger::open(folder.path(), ApiPlace::new("https://api"), now.timestamp()).unwrap();
                    disk.crash(true);
                    disk.open();
                    calls.clear();
                }
                1 => {
                    let pause = Pause { until: now.timestamp(), reason: "limit".to_owned() };
                    real.set_pause(Some(pause)).await.unwrap();
                    write(&mut disk, Write::SetPause { until: now });
                }
                2..=4 => {
                    let window = Window { limit: 1000, remaining: chance.u32(0..1000), resets_at: now, number: 0 };
                    real.keep_quota(window.said());
                    write(&mut disk, Write::KeepQuota { window });
                    // It goes with what is written next.
                    let pause = Pause { until: now.timestamp(), reason: "limit".to_owned() };
                    real.set_pause(Some(pause)).await.unwrap();
                    write(&mut disk, Write::SetPause { until: now });
                }
                5..=8 => {
                    let shown = Shown::Content(Content::any(&mut chance));
                    let reading = version.read(shown).0.clone();
                    let seen = Seen { compared: name.digest(version), at: now.timestamp(), reading };
                    let sighting = Sighting { at: now.timestamp(), kind: None, seen: Some(seen), failure: None };
                    real.saw(name.key(), sighting).await.unwrap();
                    write(&mut disk, Write::Saw { call, name, version, shown, at: now, told: now });
                }
                9..=10 if !calls.contains_key(&name) => {
                    real.adopt(adoption(name, version, now)).await.unwrap();
                    write(&mut disk, Write::Adopt { call, name, version, at: now, told: now });
                }
                // A second intent for a service closes its first.
                9..=18 => {
                    let cause = [Cause::Changed, Cause::Drifted][chance.usize(0..2)];
                    let id = real.intend(intent(name, version, cause, now)).await.unwrap();
                    write(&mut disk, Write::Intend { call, name, version, cause });
                    calls.insert(name, (id, call));
                }
                _ => {
                    let Some((id, call)) = calls.remove(&name) else { continue };
                    let message = String::new();
                    let (outcome, end) = match chance.u8(0..4) {
                        0 => (disk::Outcome::Accepted, Outcome::Accepted { status: 200 }),
                        1 => (disk::Outcome::Refused, Outcome::Rejected { status: 404, message }),
                        2 => (disk::Outcome::Refused, Outcome::Unsent { message }),
                        _ => (disk::Outcome::Unknown, Outcome::Unknown { status: None, message }),
                    };
                    real.record(id, end, now.timestamp()).await.unwrap();
                    write(&mut disk, Write::Record { call, name, outcome, at: now, told: now });
                }
            }
            let known: BTreeMap<_, _> = real.reader().known().unwrap().into_iter().collect();
            assert_eq!(known, disk.all_known().collect(), "seed {seed}, step {step}");
            let pause = real.reader().pause().unwrap().map(|pause| Moment::reaching(pause.until));
            assert_eq!(pause, disk.pause(), "seed {seed}, step {step}");
            let quota = real.reader().quota().unwrap();
            assert_eq!(quota, disk.quota().map(|window| window.said()), "seed {seed}, step {step}");
            let since = Moment(now.0.saturating_sub(30_000_000));
            let recalled = disk.memories(since).map(|(key, memory)| (key, format!("{memory:?}"))).collect();
            assert_eq!(memories(&real, since), recalled, "seed {seed}, step {step}");
        }
    }
}
