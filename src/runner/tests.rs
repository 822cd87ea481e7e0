//! What the machine decides, step by step: no disk, no network, no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

mod account;
mod keeping;

use super::*;
use crate::engine::{Block, Delivery, Ending, Engine, Event, Pace, Work};
use crate::ledger::{CallId, Outcome};
use crate::model::{
    Applied, Cause, DeploymentUpdate, Desired, Digest, External, ImagePath, Known, Live, Place, Policy, Revision,
    ServiceKey, ServiceKind,
};
use crate::northflank::{Disposition, Quota, Scope};
use crate::plan::{Adopt, Rules};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn key(name: &str) -> ServiceKey {
    format!("shop/{name}").parse().unwrap()
}

fn desired(name: &str, tag: &str) -> Desired {
    let external = External { credentials: None, image_path: ImagePath::new(&format!("nginx:{tag}")).unwrap() };
    let update = DeploymentUpdate::External { docker: None, external };
    Desired::new(&key(name), update, Policy::default(), Place { file: "a.yaml".into(), line: 1 })
}

/// A machine, what it wants done, and how its calls ended.
struct World {
    machine: Machine,
    effects: Vec<Effect>,
    ended: Vec<(ServiceKey, Ending)>,
    calls: i64,
}

impl World {
    /// Every one of these services has version 1 applied.
    fn new(settings: Settings, names: &[&str]) -> Self {
        Self::of_account(None, settings, names)
    }

    /// The same with a ledger of an account.
    fn of_account(account: Option<&str>, settings: Settings, names: &[&str]) -> Self {
        let pace = Pace { watch_period: None, ..Pace::default() };
        let known = names.iter().map(|name| (key(name), Known::Applied(Applied::new(desired(name, "1").digest))));
        let rules = Rules { adopt: Adopt::ReadFirst, ..Rules::default() };
        let machine = Machine::new(Engine::new(pace, rules, known), settings, None, account.map(Into::into), at(0));
        Self { machine, effects: Vec::new(), ended: Vec::new(), calls: 0 }
    }

    fn post(names: &[&str]) -> Self {
        Self::new(Settings::new(8, Duration::from_secs(30), UpdateCall::Post), names)
    }

    fn want(&mut self, names: &[&str], tag: &str, now: Timestamp) {
        let folder: BTreeMap<_, _> = names.iter().map(|name| (key(name), desired(name, tag))).collect();
        self.machine.observe(folder, Revision::Tree(Digest::of_bytes(tag.as_bytes())), now);
        self.turn(now);
    }

    fn turn(&mut self, now: Timestamp) {
        self.machine.turn(now);
        self.collect();
    }

    fn collect(&mut self) {
        for effect in self.machine.take_effects() {
            match effect {
                Effect::Ended(finished) => self.ended.push((finished.key, finished.ending)),
                effect => self.effects.push(effect),
            }
        }
    }

    /// Puts on disk what is to be written, until nothing is.
    fn write_all(&mut self, now: Timestamp) -> Vec<Write> {
        let mut written = Vec::new();
        while let Some(index) = self.effects.iter().position(|effect| matches!(effect, Effect::Write(..))) {
            let Effect::Write(id, write) = self.effects.remove(index) else { unreachable!() };
            self.calls += 1;
            let call = matches!(write, Write::Intend(_)).then_some(CallId(self.calls));
            written.push(write);
            self.machine.written(id, Ok(call), now, 0.0);
            self.collect();
        }
        written
    }

    /// Says what the ledger knows, to whoever asks.
    fn recall_all(&mut self, now: Timestamp) {
        while let Some(index) = self.effects.iter().position(|effect| matches!(effect, Effect::Recall(..))) {
            let Effect::Recall(id, _) = self.effects.remove(index) else { unreachable!() };
            self.machine.recalled(id, Recalled::default(), now);
            self.collect();
        }
    }

    /// The requests that are on the wire.
    fn asked(&mut self) -> Vec<(ExchangeId, ServiceKey, Request)> {
        let mut asked = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::Ask(id, key, request) => {
                asked.push((*id, key.clone(), request.clone()));
                false
            }
            _ => true,
        });
        asked
    }

    fn answer(&mut self, id: ExchangeId, reply: Result<Reply, Refusal>, quota: Option<Quota>, now: Timestamp) {
        let heard = Heard { at: now, quota, deprecation: None, elapsed: Duration::ZERO };
        self.machine.replied(id, reply, heard, now, 0.0);
        self.collect();
    }

    fn endings(&mut self) -> Vec<Ending> {
        std::mem::take(&mut self.ended).into_iter().map(|(_, ending)| ending).collect()
    }
}

fn accepted() -> Result<Reply, Refusal> {
    Ok(Reply::Accepted { status: 200, bare: false, live: None, server_at: None })
}

fn refused(status: u16, disposition: Disposition) -> Result<Reply, Refusal> {
    Err(Refusal {
        disposition,
        delivery: crate::northflank::Delivery::Refused,
        status: Some(status),
        error: format!("{status}").into(),
        wait: Duration::ZERO,
        local: false,
        unserved: matches!(status, 404 | 405 | 410),
    })
}

fn lost() -> Result<Reply, Refusal> {
    Err(Refusal {
        disposition: Disposition::Transient { scope: Scope::Service },
        delivery: crate::northflank::Delivery::Unknown,
        status: None,
        error: "lost".into(),
        wait: Duration::ZERO,
        local: false,
        unserved: false,
    })
}

fn service(instances: u32) -> Result<Reply, Refusal> {
    Ok(Reply::Service(Box::new(Live { instances: Some(instances), ..Live::of_kind(ServiceKind::Deployment) })))
}

fn quota(remaining: u32) -> Option<Quota> {
    Some(Quota { limit: 1000, remaining, resets_in: Duration::from_secs(600) })
}

fn unsent(writes: &[Write]) -> bool {
    matches!(writes, [Write::Record(_, Outcome::Unsent { .. }, ..)])
}

#[test]
fn an_intent_is_on_disk_before_its_request_and_the_outcome_before_the_engine_hears_of_it() {
    let mut world = World::post(&["web"]);
    world.want(&["web"], "2", at(0));
    assert!(world.asked().is_empty());
    let written = world.write_all(at(0));
    let [Write::Intend(intent)] = &written[..] else { panic!("{written:?}") };
    assert_eq!((intent.cause, intent.settles_at), (Cause::Changed, at(35)));
    let asked = world.asked();
    assert!(matches!(&asked[..], [(_, _, Request::Post { .. })]));
    world.answer(asked[0].0, accepted(), quota(999), at(1));
    assert!(world.ended.is_empty());
    assert!(matches!(&world.write_all(at(1))[..], [Write::Record(_, Outcome::Accepted { status: 200 }, ..)]));
    assert!(matches!(&world.endings()[..], [Ending::Accepted { .. }]));
}

#[test]
fn a_call_that_waits_for_its_place_goes_back_where_something_newer_was_noticed() {
    let mut world = World::new(Settings::new(1, Duration::from_secs(30), UpdateCall::Post), &["a", "b"]);
    world.want(&["a", "b"], "2", at(0));
    world.write_all(at(0));
    let first = world.asked();
    assert_eq!(first.len(), 1, "one place");
    world.want(&["a", "b"], "3", at(1));
    world.answer(first[0].0, accepted(), quota(999), at(2));
    let written = world.write_all(at(2));
    assert!(written.iter().any(|write| matches!(write, Write::Record(_, Outcome::Unsent { .. }, ..))), "{written:?}");
    assert!(world.endings().contains(&Ending::Withdrawn));
    world.turn(at(2));
    world.write_all(at(2));
    let digests: Vec<_> = world.asked().iter().map(|(_, key, _)| key.clone()).collect();
    assert_eq!(digests.len(), 1);
}

#[test]
fn after_a_stop_nothing_goes_out_and_intents_are_taken_back() {
    let mut world = World::new(Settings::new(1, Duration::from_secs(30), UpdateCall::Post), &["a", "b"]);
    world.want(&["a", "b"], "2", at(0));
    world.write_all(at(0));
    let first = world.asked();
    world.machine.close(at(1));
    world.collect();
    assert!(unsent(&world.write_all(at(1))));
    world.answer(first[0].0, accepted(), quota(999), at(2));
    world.write_all(at(2));
    world.turn(at(3));
    assert!(world.asked().is_empty() && world.machine.in_flight() == 0);
}

#[test]
fn a_patch_that_is_stopped_between_its_two_requests_is_not_sent() {
    let mut world = World::new(Settings::new(8, Duration::from_secs(30), UpdateCall::Patch), &["web"]);
    world.want(&["web"], "2", at(0));
    world.recall_all(at(0));
    let read = world.asked();
    world.machine.close(at(1));
    world.answer(read[0].0, service(3), quota(999), at(1));
    let written = world.write_all(at(1));
    assert!(matches!(&written[..], [Write::Intend(_), Write::Record(_, Outcome::Unsent { .. }, ..)]), "{written:?}");
    assert!(world.asked().is_empty() && world.machine.in_flight() == 0);
}

#[test]
fn the_late_refusal_of_an_old_token_is_not_held_against_a_new_one() {
    let mut world = World::post(&["web"]);
    world.want(&["web"], "2", at(0));
    world.write_all(at(0));
    let asked = world.asked();
    world.machine.token_may_be_good(true);
    world.answer(asked[0].0, refused(401, Disposition::Denied), None, at(1));
    world.write_all(at(1));
    assert!(world.effects.iter().all(|effect| !matches!(effect, Effect::ReadToken)));
    assert_eq!(world.endings(), [Ending::Withdrawn]);
    assert_eq!(world.machine.engine().gate().blocked(), None);
}

#[test]
fn a_refused_token_is_read_anew_before_all_calls_are_paused() {
    for (read, ends, paused) in [(TokenRead::Another, "withdrawn", false), (TokenRead::Same, "denied", true)] {
        let mut world = World::post(&["web"]);
        world.want(&["web"], "2", at(0));
        world.write_all(at(0));
        let asked = world.asked();
        world.answer(asked[0].0, refused(401, Disposition::Denied), None, at(1));
        world.write_all(at(1));
        assert!(world.ended.is_empty() && world.effects.iter().any(|effect| matches!(effect, Effect::ReadToken)));
        world.machine.token_read(&read, at(2), 0.0);
        world.collect();
        let ended = match &world.endings()[..] {
            [Ending::Withdrawn] => "withdrawn",
            [Ending::Denied { .. }] => "denied",
            other => panic!("{other:?}"),
        };
        assert_eq!((ended, world.machine.engine().gate().blocked().is_some()), (ends, paused));
    }
}

#[test]
fn a_service_that_is_closed_to_a_token_which_is_good_for_others_stalls_alone() {
    let mut world = World::post(&["a", "b"]);
    world.want(&["a", "b"], "2", at(0));
    world.write_all(at(0));
    let asked = world.asked();
    world.answer(asked[0].0, accepted(), quota(999), at(1));
    world.answer(asked[1].0, refused(403, Disposition::Forbidden), quota(998), at(1));
    world.write_all(at(1));
    world.machine.token_read(&TokenRead::Same, at(1), 0.0);
    world.collect();
    let rejected = |ending: &Ending| matches!(ending, Ending::Rejected { delivery: Delivery::Excluded, .. });
    assert!(world.endings().iter().any(rejected));
    assert_eq!(world.machine.engine().gate().blocked(), None);
}

#[test]
fn the_window_of_the_quota_ends_by_when_the_answer_came() {
    let mut world = World::post(&["web"]);
    world.want(&["web"], "2", at(0));
    world.write_all(at(0));
    let asked = world.asked();
    let heard = Heard { at: at(10), quota: quota(0), deprecation: None, elapsed: Duration::ZERO };
    world.machine.replied(asked[0].0, accepted(), heard, at(500), 0.0);
    assert_eq!(world.machine.engine().quota().window().map(|window| window.resets_at), Some(at(610)));
}

#[test]
fn a_patch_with_one_request_left_is_not_begun_and_what_was_read_is_kept_for_a_moment() {
    let mut world = World::new(Settings::new(8, Duration::from_secs(30), UpdateCall::Patch), &["a", "b"]);
    world.want(&["a"], "2", at(0));
    world.recall_all(at(0));
    let read = world.asked();
    // Others used up the window between the two requests.
    world.answer(read[0].0, service(3), quota(0), at(1));
    let written = world.write_all(at(1));
    assert!(matches!(written.last(), Some(Write::Record(_, Outcome::Unsent { .. }, ..))), "{written:?}");
    assert!(world.asked().is_empty());
    world.turn(at(2));
    assert_eq!(world.machine.next_wake(at(2)), Some(at(601)));
    // Somebody asks for one call past the pause: it needs no second read.
    world.machine.retry_all(at(30));
    world.turn(at(30));
    world.recall_all(at(30));
    world.write_all(at(30));
    let asked = world.asked();
    assert!(matches!(&asked[..], [(_, _, Request::Patch { instances: Some(3), .. })]), "{asked:?}");
}

#[test]
fn a_lost_answer_leaves_a_doubt_until_the_request_can_no_longer_take_effect() {
    let mut world = World::post(&["web"]);
    world.want(&["web"], "2", at(0));
    world.write_all(at(0));
    let asked = world.asked();
    world.answer(asked[0].0, lost(), None, at(30));
    assert!(matches!(&world.write_all(at(30))[..], [Write::Record(_, Outcome::Unknown { .. }, ..)]));
    let unknown = |ending: &Ending| matches!(ending, Ending::Transient { delivery: Delivery::Unknown { until }, .. } if *until == at(35));
    assert!(world.endings().iter().any(unknown));
}

#[test]
fn post_is_given_up_only_where_several_services_are_there_and_refused() {
    let mut world = World::new(Settings::new(8, Duration::from_secs(30), UpdateCall::Auto), &["a", "b"]);
    world.want(&["a", "b"], "2", at(0));
    world.write_all(at(0));
    for (id, ..) in world.asked() {
        world.answer(id, refused(404, Disposition::Rejected), quota(990), at(1));
    }
    let reads = world.asked();
    assert!(reads.iter().all(|(_, _, request)| matches!(request, Request::ReadService)) && reads.len() == 2);
    world.answer(reads[0].0, service(1), quota(989), at(2));
    world.write_all(at(2));
    assert_eq!(world.machine.turned(), None, "one service does not speak for the API");
    world.answer(reads[1].0, service(1), quota(988), at(2));
    world.write_all(at(2));
    assert!(world.machine.turned().is_some());
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::KeepTurned(Some(_)))));
    // The token may not PATCH: that undoes it.
    world.turn(at(3));
    world.recall_all(at(3));
    let reads = world.asked();
    world.answer(reads[0].0, service(1), quota(980), at(3));
    world.write_all(at(3));
    let patches = world.asked();
    assert!(matches!(&patches[..], [(_, _, Request::Patch { .. })]), "{patches:?}");
    world.answer(patches[0].0, refused(403, Disposition::Forbidden), quota(979), at(4));
    world.write_all(at(4));
    world.machine.token_read(&TokenRead::Same, at(4), 0.0);
    world.collect();
    assert_eq!(world.machine.turned(), None);
}

#[test]
fn what_was_not_there_before_is_read_before_it_is_sent() {
    let mut world = World::post(&[]);
    world.want(&["web"], "1", at(0));
    world.recall_all(at(0));
    let asked = world.asked();
    assert!(matches!(&asked[..], [(_, _, Request::ReadService)]));
    world.answer(asked[0].0, service(1), quota(999), at(1));
    world.write_all(at(1));
    assert!(matches!(&world.endings()[..], [Ending::Read(_)]));
    world.turn(at(1));
    let work = world.effects.iter().filter_map(|effect| match effect {
        Effect::Began(call) => Some(call.work),
        _ => None,
    });
    let work: Vec<Work> = work.collect();
    assert_eq!(work, [Work::Decide(Cause::New), Work::Send(Cause::New)]);
}

#[test]
fn other_content_takes_back_a_waiting_call_also_where_the_revision_is_the_same() {
    let mut world = World::new(Settings::new(1, Duration::from_secs(30), UpdateCall::Post), &["a", "b"]);
    let folder = |tag: &str| BTreeMap::from(["a", "b"].map(|name| (key(name), desired(name, tag))));
    let dirty = || Revision::Tree(Digest::of_bytes(b"uncommitted"));
    world.machine.observe(folder("2"), dirty(), at(0));
    world.turn(at(0));
    world.write_all(at(0));
    let first = world.asked();
    world.machine.observe(folder("3"), dirty(), at(1));
    world.answer(first[0].0, accepted(), quota(999), at(2));
    let written = world.write_all(at(2));
    assert!(unsent(&written[1..]), "version 2 does not go out any more: {written:?}");
}

#[test]
fn a_disk_that_takes_longer_than_a_call_may_wait_pauses_all_calls_and_is_told() {
    let mut world = World::post(&["a", "b"]);
    world.want(&["a", "b"], "2", at(0));
    // Both intents reach the disk after eight seconds.
    let written = world.write_all(at(8));
    let (intents, records) = written.split_at(2);
    assert!(intents.iter().all(|write| matches!(write, Write::Intend(_))), "{written:?}");
    assert!(records.iter().all(|write| unsent(std::slice::from_ref(write))) && world.asked().is_empty(), "{written:?}");
    let endings = world.endings();
    let slow =
        |ending: &Ending| matches!(ending, Ending::Unrecorded { error } if error.message.contains("the disk took 8"));
    assert!(endings.len() == 2 && endings.iter().all(slow), "{endings:?}");
    assert!(matches!(world.machine.engine().gate().blocked(), Some((Block::Unwritable, _))));
    let told = |effect: &Effect| matches!(effect, Effect::Tell(Told::Engine(Event::Blocked { .. })));
    world.turn(at(8));
    assert_eq!(world.effects.iter().filter(|effect| told(effect)).count(), 1, "once");
    world.turn(at(13));
    world.write_all(at(13));
    assert_eq!(world.asked().len(), 1, "one call finds out whether it is over");
}

#[test]
fn the_update_of_a_patch_does_not_leave_into_an_outage_that_began_after_its_read() {
    let mut world = World::new(Settings::new(8, Duration::from_secs(30), UpdateCall::Patch), &["a", "b", "c"]);
    world.want(&["a", "b", "c"], "2", at(0));
    world.recall_all(at(0));
    let reads = world.asked();
    assert_eq!(reads.len(), 3);
    for (id, ..) in &reads[..2] {
        let refusal = Refusal { disposition: Disposition::Transient { scope: Scope::Api }, ..lost().unwrap_err() };
        world.answer(*id, Err(refusal), None, at(1));
        world.write_all(at(1));
    }
    assert!(world.machine.engine().gate().is_unreachable());
    world.answer(reads[2].0, service(3), quota(999), at(1));
    let written = world.write_all(at(1));
    assert!(unsent(&written[1..]), "{written:?}");
    assert!(world.asked().iter().all(|(_, _, request)| !request.is_update()));
}
