//! What was decided is on disk before anything goes by it, however often the ledger refuses it.

use super::*;
use crate::ledger::{Keep, RequestId, TakenRequest};
use crate::model::{Quarantine, Suspend};
use crate::plan::{Fuse, MaxChanges};

fn taken_back(name: &str) -> Quarantine {
    let (digest, back) = (desired(name, "1").digest, Some(desired(name, "0").digest));
    Quarantine { digest, since: at(0), reason: None, by: Some("kim".into()), released: false, back }
}

fn taken(id: i64) -> TakenRequest {
    TakenRequest { id: RequestId(id), result: "rolled back".to_owned(), forgets: None, at: at(1) }
}

impl World {
    /// What is to be put on disk together now, in its order.
    fn offered(&mut self) -> Vec<Vec<String>> {
        let mut offered = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::Keep(all) => {
                offered.push(all.iter().map(word).collect());
                false
            }
            _ => true,
        });
        offered
    }

    fn kept(&mut self, kept: Result<(), String>, now: Timestamp) {
        self.machine.kept(kept, now);
        self.turn(now);
    }

    fn begun(&self) -> usize {
        self.effects.iter().filter(|effect| matches!(effect, Effect::Began(_))).count()
    }
}

fn word(keep: &Keep) -> String {
    match keep {
        Keep::Quarantine(key, _) => format!("{key} held"),
        Keep::Taken(taken) => format!("request {}", taken.id.0),
        other => format!("{other:?}"),
    }
}

#[test]
fn what_was_decided_is_offered_until_the_ledger_takes_it_and_calls_wait_for_that() {
    let mut world = World::post(&["web", "api"]);
    world.want(&["web", "api"], "1", at(0));
    world.machine.take_content_back(&key("web"), taken_back("web"), at(1)).unwrap();
    world.machine.keep_taken(vec![taken(1)], at(1));
    world.turn(at(1));
    assert_eq!(world.offered(), [["shop/web held", "request 1"]], "what came of it, and what follows, together");

    // A change comes meanwhile, and another request.
    let folder = BTreeMap::from([(key("web"), desired("web", "1")), (key("api"), desired("api", "2"))]);
    world.machine.observe(folder, Revision::Tree(Digest::of_bytes(b"2")), at(2));
    world.machine.keep_taken(vec![taken(2)], at(2));
    world.turn(at(2));
    assert_eq!((world.begun(), world.offered().len()), (0, 0));
    assert_eq!(world.machine.next_wake(at(2)), None, "the disk turns it when it comes back");
    assert!(!world.machine.is_idle());

    world.kept(Err("disk full".to_owned()), at(3));
    assert!(matches!(world.machine.engine().gate().blocked(), Some((Block::Unwritable, _))));
    let again_at = world.machine.next_wake(at(3)).unwrap();
    assert!(again_at > at(3) && world.offered().is_empty());
    world.machine.ledger_was_written();
    world.turn(at(4));
    assert_eq!((world.begun(), world.offered().len()), (0, 0), "that something else was written proves nothing of it");

    world.turn(again_at);
    assert_eq!(world.offered(), [["shop/web held", "request 1", "request 2"]], "in the order of people");
    world.kept(Ok(()), again_at);
    assert!(world.machine.is_kept() && world.machine.engine().gate().blocked().is_none());
    assert_eq!(world.begun(), 1);
}

#[test]
fn what_time_alone_lets_out_is_on_disk_before_its_call_begins() {
    let mut world = World::post(&["web"]);
    world.machine.set_fuse(Fuse::new(Some(MaxChanges::Count(1))), 0);
    let suspended = |tag: &str| Desired {
        policy: Policy { suspend: Suspend::Yes { reason: None, until: Some(at(60)) }, ..Policy::default() },
        ..desired("web", tag)
    };
    world.machine.observe(
        BTreeMap::from([(key("web"), suspended("2"))]),
        Revision::Tree(Digest::of_bytes(b"2")),
        at(0),
    );
    world.turn(at(0));
    assert_eq!((world.begun(), world.offered().len()), (0, 0));
    world.turn(at(60));
    assert_eq!((world.begun(), world.offered().len()), (0, 1), "it is let out, and that is not on disk yet");
    world.kept(Ok(()), at(60));
    assert_eq!(world.begun(), 1);
}

#[test]
fn somebody_who_made_room_on_the_disk_need_not_wait() {
    let mut world = World::post(&["web"]);
    world.want(&["web"], "1", at(0));
    world.machine.keep_taken(vec![taken(1)], at(1));
    world.turn(at(1));
    assert_eq!(world.offered().len(), 1);
    world.kept(Err("disk full".to_owned()), at(2));
    world.machine.retry_all(at(3));
    world.turn(at(3));
    assert_eq!(world.offered(), [["request 1"]]);
}

#[test]
fn however_often_the_folder_changes_while_the_ledger_takes_nothing_one_held_plan_waits_for_it() {
    let mut world = World::post(&["web", "api"]);
    world.machine.set_fuse(Fuse::new(Some(MaxChanges::Count(1))), 0);
    for change in 0..5 {
        world.want(&["web", "api"], &format!("2.{change}"), at(change));
        if let [offered] = &world.offered()[..] {
            assert_eq!(offered.len(), 1, "{offered:?}");
            world.kept(Err("disk full".to_owned()), at(change));
        }
        world.machine.retry_all(at(change));
    }
    world.turn(at(9));
    let (offered, newest) = (world.offered(), format!("{:?}", desired("web", "2.4").digest));
    assert!(matches!(&offered[..], [all] if all.len() == 1 && all[0].contains(&newest)), "{newest}: {offered:?}");
}
