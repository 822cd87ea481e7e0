//! The world's disk beside the real ledger: both are told the same, and must know the same.

use std::collections::BTreeMap;

use fastrand::Rng;
use truenorth::ledger::{CallId, Intent, Ledger, Outcome, Pause};
use truenorth::model::{Cause, Digest, Revision};

use crate::clock::Moment;
use crate::content::{Name, Version};
use crate::disk::{self, Disk, Write};

const SERVICES: usize = 3;

fn write(disk: &mut Disk, write: Write) {
    disk.queue(write);
    disk.begin();
    disk.commit();
}

fn intent(name: Name, version: Version, at: Moment) -> Intent {
    let desired = name.desired(version, false);
    Intent {
        key: name.key().clone(),
        update: desired.update,
        digest: desired.digest,
        cause: Cause::Changed,
        revision: Revision::Tree(Digest::of_bytes(b"")),
        place: desired.place,
        attempt: 1,
        at: at.timestamp(),
    }
}

#[tokio::test]
async fn the_disk_of_the_world_knows_what_the_ledger_knows() {
    for seed in 0..12 {
        let mut chance = Rng::with_seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let (mut real, mut disk) = (Ledger::open(folder.path(), Moment(0).timestamp()).unwrap(), Disk::new(SERVICES));
        let mut calls: BTreeMap<Name, (CallId, disk::CallId)> = BTreeMap::new();
        for step in 1..60 {
            let now = Moment(step * 1_234_567);
            let name = Name(chance.usize(0..SERVICES));
            match chance.u8(0..20) {
                0 => {
                    drop(real);
                    real = Ledger::open(folder.path(), now.timestamp()).unwrap();
                    disk.crash(true);
                    disk.open();
                    calls.clear();
                }
                1 => {
                    let pause = Pause { until: now.timestamp(), reason: "limit".to_owned() };
                    real.set_pause(Some(pause)).await.unwrap();
                    write(&mut disk, Write::SetPause { until: now });
                }
                // A second intent for a service closes its first.
                2..=9 => {
                    let version = Version::any(&mut chance);
                    let id = real.intend(intent(name, version, now)).await.unwrap();
                    let call = disk::CallId(step);
                    write(&mut disk, Write::Intend { call, name, version });
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
                    write(&mut disk, Write::Record { call, name, outcome });
                }
            }
            let known: BTreeMap<_, _> = real.reader().known().unwrap().into_iter().collect();
            assert_eq!(known, disk.all_known().collect(), "seed {seed}, step {step}");
            let pause = real.reader().pause().unwrap().map(|pause| Moment::reaching(pause.until));
            assert_eq!(pause, disk.pause(), "seed {seed}, step {step}");
        }
    }
}
