//! Whose the token is, is asked before it is used.

use super::*;
use crate::engine::{Follow, Memory};
use crate::model::Rollout;
use crate::northflank::{Account, Entity};

fn settings() -> Settings {
    Settings { asks_account: true, ..Settings::new(8, Duration::from_secs(30), UpdateCall::Post) }
}

fn account(id: &str, expires_at: Option<Timestamp>) -> Result<Reply, Refusal> {
    let account = Account {
        entity: Entity::Team,
        id: id.to_owned(),
        token_kind: None,
        expires_at,
        permissions: None,
        projects: None,
    };
    Ok(Reply::Account(Some(Box::new(account))))
}

/// One request is on the wire; gives its exchange.
fn only(world: &mut World, is_meant: impl Fn(&Request) -> bool) -> ExchangeId {
    let asked = world.asked();
    assert!(matches!(&asked[..], [(_, _, request)] if is_meant(request)), "{asked:?}");
    asked[0].0
}

fn asks_account(request: &Request) -> bool {
    matches!(request, Request::Account)
}

fn told(world: &World, is_meant: impl Fn(&Told) -> bool) -> usize {
    world.effects.iter().filter(|effect| matches!(effect, Effect::Tell(told) if is_meant(told))).count()
}

#[test]
fn it_is_asked_once_a_token_and_before_anything_is_written_or_sent() {
    let mut world = World::of_account(None, settings(), &["a", "b"]);
    world.want(&["a", "b"], "2", at(0));
    let id = only(&mut world, asks_account);
    assert!(world.write_all(at(0)).is_empty(), "no intent before the answer");
    world.answer(id, account("acme", None), None, at(1));
    world.turn(at(1));
    world.write_all(at(1));
    let kept = |effect: &Effect| matches!(effect, Effect::KeepAccount(account) if account.name() == "team/acme");
    assert_eq!(world.effects.iter().filter(|effect| kept(effect)).count(), 1);
    for (id, _, request) in world.asked() {
        assert!(matches!(request, Request::Post { .. }));
        world.answer(id, accepted(), None, at(2));
    }
    world.write_all(at(2));
    world.want(&["a", "b"], "3", at(3));
    world.write_all(at(3));
    assert_eq!(world.asked().iter().filter(|(_, _, request)| asks_account(request)).count(), 0);
}

#[test]
fn another_account_stops_everything_before_anything_is_sent() {
    let mut world = World::of_account(Some("team/acme"), settings(), &["a", "b"]);
    world.want(&["a", "b"], "2", at(0));
    let id = only(&mut world, asks_account);
    world.answer(id, account("other", None), None, at(1));
    world.turn(at(100));
    assert!(world.write_all(at(100)).is_empty());
    assert!(world.asked().is_empty());
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::AnotherAccount(_))));
    assert_eq!(world.endings(), [Ending::Withdrawn]);
}

#[test]
fn a_team_and_an_organisation_of_one_name_are_two_accounts() {
    let mut world = World::of_account(Some("org/acme"), settings(), &["a"]);
    world.want(&["a"], "2", at(0));
    let id = only(&mut world, asks_account);
    world.answer(id, account("acme", None), None, at(1));
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::AnotherAccount(_))));
}

#[test]
fn an_api_that_does_not_tell_is_no_failure() {
    for reply in [Ok(Reply::Account(None)), refused(403, Disposition::Forbidden)] {
        let mut world = World::of_account(Some("team/acme"), settings(), &["a"]);
        world.want(&["a"], "2", at(0));
        let id = only(&mut world, asks_account);
        world.answer(id, reply, None, at(1));
        world.write_all(at(1));
        only(&mut world, |request| matches!(request, Request::Post { .. }));
    }
}

#[test]
fn the_call_that_asks_waits_out_an_outage_and_nothing_is_sent_before_the_answer() {
    let mut world = World::of_account(Some("team/acme"), settings(), &["a", "b"]);
    world.want(&["a", "b"], "2", at(0));
    let mut now = at(0);
    for asked in 0..12 {
        world.turn(now);
        let requests = world.asked();
        let [(id, _, request)] = &requests[..] else { panic!("{asked}: {requests:?}") };
        assert!(!matches!(request, Request::Post { .. }), "{asked}");
        world.answer(*id, refused(503, Disposition::Transient { scope: Scope::Api }), None, now);
        world.write_all(now);
        now = world.machine.next_wake(now).expect("it is tried again");
    }
    world.turn(now);
    // The API is back: it answers, so that the question is asked again if it was not asked just now.
    let mut requests = world.asked();
    if matches!(&requests[..], [(_, _, Request::ReadService)]) {
        world.answer(requests[0].0, refused(404, Disposition::Rejected), None, now);
        requests = world.asked();
    }
    assert!(matches!(&requests[..], [(_, _, Request::Account)]), "{requests:?}");
    world.answer(requests[0].0, account("other", None), None, now);
    assert!(world.asked().is_empty());
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::AnotherAccount(_))));
}

#[test]
fn a_ledger_without_an_account_does_not_wait_for_a_question_that_fails() {
    let mut world = World::of_account(None, settings(), &["a"]);
    world.want(&["a"], "2", at(0));
    let id = only(&mut world, asks_account);
    world.answer(id, refused(500, Disposition::Transient { scope: Scope::Api }), None, at(0));
    world.write_all(at(0));
    only(&mut world, |request| matches!(request, Request::Post { .. }));
}

#[test]
fn a_question_that_fails_while_the_api_answers_otherwise_is_passed_over() {
    let mut world = World::of_account(Some("team/acme"), settings(), &["a"]);
    let broken = || refused(500, Disposition::Transient { scope: Scope::Api });
    world.want(&["a"], "2", at(0));
    let id = only(&mut world, asks_account);
    world.answer(id, broken(), None, at(0));
    world.write_all(at(0));
    let mut later = at(0);
    while !world.effects.iter().any(|effect| matches!(effect, Effect::Ask(..))) {
        later = world.machine.next_wake(later).expect("it is tried again");
        world.turn(later);
    }
    let id = only(&mut world, |request| matches!(request, Request::ReadService));
    world.answer(id, refused(404, Disposition::Rejected), None, later);
    let id = only(&mut world, asks_account);
    world.answer(id, broken(), None, later);
    assert_eq!(told(&world, |told| matches!(told, Told::AccountUnknown { .. })), 1);
    // A call that failed reads first, as ever.
    world.recall_all(later);
    only(&mut world, |request| matches!(request, Request::ReadService));
}

#[test]
fn another_token_is_asked_about_before_it_is_used_and_the_same_one_is_not() {
    let mut world = World::of_account(None, settings(), &["a", "b"]);
    world.want(&["a"], "2", at(0));
    let id = only(&mut world, asks_account);
    world.answer(id, account("acme", None), None, at(0));
    world.write_all(at(0));
    let id = only(&mut world, |request| matches!(request, Request::Post { .. }));
    world.answer(id, accepted(), None, at(1));
    world.write_all(at(1));

    world.machine.token_may_be_good(false);
    world.want(&["a"], "3", at(2));
    world.write_all(at(2));
    let id = only(&mut world, |request| matches!(request, Request::Post { .. }));
    world.answer(id, accepted(), None, at(3));
    world.write_all(at(3));

    world.machine.token_may_be_good(true);
    world.want(&["a"], "4", at(4));
    let id = only(&mut world, asks_account);
    // Replaced once more while the question is out: the answer is of a token that is not in place any more.
    world.machine.token_may_be_good(true);
    world.answer(id, account("other", None), None, at(5));
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::AnotherAccount(_))));
    world.turn(at(5));
    let id = only(&mut world, asks_account);
    world.answer(id, account("acme", None), None, at(6));
    world.write_all(at(6));
    only(&mut world, |request| matches!(request, Request::Post { .. }));
}

#[test]
fn a_refused_token_is_read_anew_and_the_new_one_is_asked_about() {
    let mut world = World::of_account(Some("team/acme"), settings(), &["a"]);
    world.want(&["a"], "2", at(0));
    let id = only(&mut world, asks_account);
    world.answer(id, refused(401, Disposition::Denied), None, at(0));
    world.write_all(at(0));
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::ReadToken)));
    world.machine.token_read(&TokenRead::Another, at(1), 0.0);
    world.collect();
    world.turn(at(1));
    only(&mut world, asks_account);
}

#[test]
fn a_token_that_ends_soon_is_told_once_a_day() {
    const DAY: i64 = 24 * 60 * 60;
    let mut world = World::of_account(None, settings(), &["a"]);
    world.want(&["a"], "2", at(0));
    let id = only(&mut world, asks_account);
    world.answer(id, account("acme", Some(at(3 * DAY))), None, at(0));
    for now in [1, 2, DAY, DAY + 2] {
        world.machine.set_wall_clock(at(now), at(now));
    }
    world.collect();
    assert_eq!(told(&world, |told| matches!(told, Told::TokenEnds { .. })), 2);
}

/// A machine that follows the rollout of an update which an earlier process sent.
fn following(account: Option<&str>) -> World {
    let mut world = World::of_account(account, settings(), &["a"]);
    let pace = Pace { watch_period: None, follow: Some(Follow::DEFAULT), ..Pace::default() };
    let known = [(key("a"), Known::Applied(Applied::new(desired("a", "1").digest)))];
    let mut engine = Engine::new(pace, Rules::default(), known);
    let rollout = Rollout::accepted(desired("a", "1").digest, at(0), Some(at(0)));
    engine.recall(&key("a"), Memory { rollout: Some(rollout), ..Memory::default() }, at(0));
    world.machine = Machine::new(engine, settings(), None, account.map(Into::into), at(0));
    world
}

fn looks(world: &World) -> usize {
    world.effects.iter().filter(|effect| matches!(effect, Effect::Look(_))).count()
}

#[test]
fn rollouts_are_not_looked_at_before_it_is_known_whose_the_token_is() {
    for (opens, seen) in [("acme", 1), ("other", 0)] {
        let mut world = following(Some("team/acme"));
        world.want(&["a"], "1", at(5));
        let id = only(&mut world, asks_account);
        assert_eq!((looks(&world), world.machine.next_wake(at(5))), (0, None), "it waits for the answer");
        world.answer(id, account(opens, None), None, at(6));
        world.turn(at(600));
        assert_eq!(looks(&world), seen, "{opens}");
        assert_eq!(world.effects.iter().any(|effect| matches!(effect, Effect::AnotherAccount(_))), seen == 0);
    }
}

#[test]
fn a_look_that_cannot_learn_whose_the_token_is_is_tried_again() {
    let mut world = following(Some("team/acme"));
    world.want(&["a"], "1", at(5));
    let id = only(&mut world, asks_account);
    world.answer(id, refused(503, Disposition::Transient { scope: Scope::Api }), None, at(6));
    assert_eq!(looks(&world), 0);
    let again = world.machine.next_wake(at(6)).expect("it is tried again");
    assert!(again > at(6));
    world.turn(again);
    let id = only(&mut world, |request| matches!(request, Request::ReadService));
    // Another token came meanwhile.
    world.machine.token_may_be_good(true);
    world.answer(id, service(1), None, at(20));
    world.turn(at(30));
    let id = only(&mut world, asks_account);
    world.answer(id, account("acme", None), None, at(31));
    world.turn(at(31));
    assert_eq!(looks(&world), 1);
}

#[test]
fn a_look_that_is_due_and_waits_for_an_answer_is_no_wake_and_without_one_is() {
    let mut world = following(None);
    world.want(&["a"], "1", at(0));
    assert_eq!(world.machine.next_wake(at(0)), Some(at(5)));
    assert_eq!(world.machine.next_wake(at(9)), Some(at(9) + Duration::from_millis(1)), "the turn was late");
}
