//! A digest whose rollout failed, over drift, restarts, crashes and people.

use super::super::tests::{JITTER, applied, at, calls, desired, differs, folder, key};
use super::super::*;
use crate::model::{
    Cause, DeploymentEntry, DeploymentStatus, Digest, DriftMode, Evidence, HoldKind, OnFailure, RolloutStage,
    RolloutState,
};
use crate::plan::{Adopt, Rules, Step};

fn engine(known: impl IntoIterator<Item = (ServiceKey, Known)>) -> Engine {
    with_drift(DriftMode::Off, known)
}

fn with_drift(drift: DriftMode, known: impl IntoIterator<Item = (ServiceKey, Known)>) -> Engine {
    let pace = Pace { follow: Some(Follow::DEFAULT), ..Pace::default() };
    Engine::new(pace, Rules { adopt: Adopt::SendFirst, drift }, known)
}

fn send(engine: &mut Engine, now: i64) -> Cause {
    let call = engine.next_call(at(now), 0).expect("something is due");
    let Work::Send(cause) = call.work else { panic!("{call:?}") };
    let accepted = Ending::Accepted { shown: None, bare: false, at: Some(at(now)), status: None };
    engine.finish(&call.key, accepted, at(now), JITTER);
    cause
}

fn ends(engine: &mut Engine, stage: RolloutStage, now: i64) {
    let status = DeploymentStatus { stage, scaling: false, since: Some(at(now - 1)) };
    engine.saw(&key("web"), Some(status), None, at(now));
    // Whose a failure is, is asked first: ours.
    let accepted = engine.rollout(&key("web")).and_then(|rollout| rollout.server_at);
    let ours = accepted.map(|accepted| deployment("ours", accepted, None));
    answer(engine, ours.into_iter().collect(), now);
}

fn deployment(id: &str, created_at: Timestamp, image: Option<&str>) -> DeploymentEntry {
    let image = image.map(str::to_owned);
    DeploymentEntry {
        id: id.to_owned(),
        created_at,
        image,
        tag: None,
        sha: None,
        commit: None,
        user: Some(id.to_owned()),
    }
}

/// Answers the question whose a rollout is, where it is asked. Says whether it was.
fn answer(engine: &mut Engine, entries: Vec<DeploymentEntry>, now: i64) -> bool {
    let asks = engine.rollouts.due(Follow::DEFAULT) <= Some(at(now));
    let Some(look) = engine.next_look(at(now), 0).filter(|_| asks) else { return false };
    let is_asked = look == Look::Deployments(key("web"));
    engine.looked(if is_asked { Looked::Deployments(entries) } else { Looked::Withdrawn }, at(now));
    is_asked
}

/// Whether version 2 is not sent again by itself.
fn is_quarantined(engine: &Engine) -> bool {
    engine.quarantine(&key("web")).is_some_and(|quarantine| quarantine.holds(desired("web", "2").digest))
}

/// A service whose version 2 was sent and whose rollout failed.
fn failed() -> Engine {
    fails(engine([applied("web", "1")]))
}

fn fails(mut engine: Engine) -> Engine {
    engine.observe(folder([("web", "2")]), at(0));
    send(&mut engine, 1);
    ends(&mut engine, RolloutStage::Failed, 10);
    engine
}

/// The drift of the service is read, and shows that something else runs.
fn drifts(engine: &mut Engine, now: i64) {
    let call = engine.next_call(at(now), 0).expect("its turn to be read");
    assert_eq!(call.work, Work::Watch);
    engine.finish(&call.key, differs(), at(now), JITTER);
}

#[test]
fn content_whose_rollout_failed_is_no_drift_to_correct() {
    let mut engine = fails(with_drift(DriftMode::Correct, [applied("web", "1")]));
    assert_eq!(engine.standing(&key("web"), at(10)).unwrap().state, ServiceState::RolloutFailed);
    assert!(is_quarantined(&engine));
    drifts(&mut engine, 400);
    assert_eq!(calls(&mut engine, at(401)), [""; 0]);
    let standing = engine.standing(&key("web"), at(401)).unwrap();
    assert_eq!((standing.state, standing.step), (ServiceState::Held, Some(Step::Held(Cause::Drifted))));
    assert_eq!(standing.held_by[0].kind, HoldKind::Quarantine);
    let reason = standing.reason.unwrap().to_string();
    assert!(reason.contains("its rollout failed") && reason.contains("truenorth release shop/web"), "{reason}");
    assert!(engine.is_settled());
}

#[test]
fn a_restart_knows_it_though_the_process_ended_before_it_was_written_down() {
    for written in [true, false] {
        let before = failed();
        let memory = Memory {
            rollout: before.rollout(&key("web")).cloned(),
            quarantine: before.quarantine(&key("web")).cloned().filter(|_| written),
            ..Memory::default()
        };
        let mut engine = engine([applied("web", "2")]);
        engine.recall(&key("web"), memory, at(100));
        engine.observe(folder([("web", "2")]), at(100));
        assert!(is_quarantined(&engine));
        assert_eq!(engine.take_quarantines().len(), usize::from(!written));
    }
}

#[test]
fn what_is_in_doubt_is_read_and_not_sent() {
    let mut engine = failed();
    engine.observe(folder([("web", "2")]), at(20));
    let quarantine = engine.quarantine(&key("web")).cloned();
    let mut engine = self::engine([(key("web"), Known::InDoubt)]);
    engine.recall(&key("web"), Memory { quarantine, ..Memory::default() }, at(100));
    engine.observe(folder([("web", "2")]), at(100));
    let call = engine.next_call(at(100), 0).expect("it is read");
    assert!(matches!(call.work, Work::Decide(Cause::InDoubt)));
    engine.finish(&call.key, differs(), at(101), JITTER);
    assert_eq!(calls(&mut engine, at(102)), [""; 0]);
    assert!(is_quarantined(&engine));
}

#[test]
fn found_live_it_stays_quarantined() {
    let mut engine = self::engine([(key("web"), Known::InDoubt)]);
    let quarantine = failed().quarantine(&key("web")).cloned();
    engine.recall(&key("web"), Memory { quarantine, ..Memory::default() }, at(100));
    engine.observe(folder([("web", "2")]), at(100));
    let call = engine.next_call(at(100), 0).expect("it is read");
    engine.finish(&call.key, Ending::Adopted { unnamed: None, status: None }, at(101), JITTER);
    assert!(is_quarantined(&engine));
}

#[test]
fn other_content_goes_at_once_and_ends_it() {
    let mut engine = failed();
    engine.take_quarantines();
    engine.observe(BTreeMap::new(), at(19));
    assert!(engine.quarantine(&key("web")).is_some(), "no manifest is not another one");
    engine.observe(folder([("web", "3")]), at(20));
    assert_eq!(send(&mut engine, 20), Cause::Changed);
    let lifted = (key("web"), desired("web", "2").digest, None);
    assert_eq!(engine.take_quarantines(), [lifted]);
    ends(&mut engine, RolloutStage::Completed, 30);
    engine.observe(folder([("web", "2")]), at(40));
    assert_eq!(send(&mut engine, 40), Cause::Changed, "somebody wrote it down anew");
}

#[test]
fn a_rollout_that_ended_well_after_all_ends_it() {
    let mut engine = failed();
    ends(&mut engine, RolloutStage::Completed, 60);
    assert!(!is_quarantined(&engine));
    assert_eq!(engine.standing(&key("web"), at(60)).unwrap().state, ServiceState::Unchanged);
    assert_eq!(calls(&mut engine, at(61)), [""; 0], "it runs: nothing has to be sent");
}

#[test]
fn what_is_released_is_sent_once_more_and_quarantined_again_where_it_fails_again() {
    let mut engine = failed();
    assert!(engine.release(&key("web"), at(20)));
    assert!(!is_quarantined(&engine));
    assert_eq!(send(&mut engine, 20), Cause::Released);
    assert_eq!(calls(&mut engine, at(21)), [""; 0]);
    assert!(!engine.release(&key("web"), at(21)), "nothing of it is quarantined now");
    ends(&mut engine, RolloutStage::Failed, 40);
    assert!(is_quarantined(&engine));
    let quarantine = engine.quarantine(&key("web")).unwrap();
    assert_eq!((quarantine.digest, quarantine.released), (desired("web", "2").digest, false));
}

#[test]
fn a_release_survives_a_restart_and_is_used_up_by_what_is_accepted() {
    let mut before = failed();
    before.release(&key("web"), at(20));
    let memory = Memory {
        rollout: before.rollout(&key("web")).cloned(),
        quarantine: before.quarantine(&key("web")).cloned(),
        ..Memory::default()
    };
    let mut engine = engine([applied("web", "2")]);
    engine.recall(&key("web"), memory, at(100));
    engine.observe(folder([("web", "2")]), at(100));
    assert_eq!(send(&mut engine, 100), Cause::Released);
    assert_eq!(calls(&mut engine, at(101)), [""; 0]);
}

#[test]
fn the_reason_comes_later_and_is_kept() {
    let mut engine = failed();
    engine.take_quarantines();
    assert!(matches!(engine.next_look(at(11), 0), Some(Look::Containers(_))));
    engine.looked(Looked::Containers(Some("1 of 2 containers TASK_FAILED".to_owned())), at(12));
    let kept: Vec<(ServiceKey, Digest, Option<Quarantine>)> = engine.take_quarantines();
    let reason = kept[0].2.as_ref().and_then(|quarantine| quarantine.reason.clone());
    assert_eq!(reason.as_deref(), Some("1 of 2 containers TASK_FAILED"));
}

/// What a process of an engine with last-good finds in the ledger.
fn finds(engine: &mut Engine, tag: &str, now: i64) -> Vec<Sought> {
    let sought = engine.take_sought();
    for one in &sought {
        let Desired { digest, update, .. } = desired("web", tag);
        engine.found(one, Some((digest, (*update).clone())), at(now));
    }
    sought
}

/// A service whose version 2 failed, so that version 1 was sent in its place.
fn returned() -> Engine {
    let mut engine = engine([applied("web", "1")]);
    engine.set_on_failure(OnFailure::LastGood);
    let mut engine = fails(engine);
    let (failed, key) = (desired("web", "2").digest, key("web"));
    assert_eq!(finds(&mut engine, "1", 11), [Sought { key, failed, back: None, is_chosen: false }]);
    assert_eq!(send(&mut engine, 12), Cause::Rollback);
    engine
}

fn state(engine: &Engine, now: i64) -> ServiceState {
    engine.standing(&key("web"), at(now)).unwrap().state
}

#[test]
fn what_ran_before_is_sent_in_the_place_of_what_failed_once_and_is_not_drift() {
    let mut engine = returned();
    ends(&mut engine, RolloutStage::Completed, 30);
    let standing = engine.standing(&key("web"), at(30)).unwrap();
    assert_eq!(standing.state, ServiceState::RolledBack);
    assert_eq!(standing.desired.map(|desired| desired.digest), Some(desired("web", "2").digest));
    assert_eq!(standing.held_by[0].kind, HoldKind::Quarantine);
    assert!(engine.is_settled() && calls(&mut engine, at(31)).is_empty());
    engine.observe(folder([("web", "2")]), at(40));
    assert_eq!((finds(&mut engine, "0", 40), state(&engine, 40)), (vec![], ServiceState::RolledBack));
    // A fix overtakes.
    engine.observe(folder([("web", "3")]), at(50));
    assert_eq!(send(&mut engine, 50), Cause::Changed);
}

#[test]
fn where_that_fails_as_well_nothing_more_is_sent_and_nothing_else_is_looked_for() {
    let mut engine = returned();
    ends(&mut engine, RolloutStage::Failed, 30);
    assert!(calls(&mut engine, at(31)).is_empty() && engine.take_sought().is_empty());
    assert_eq!(engine.quarantine(&key("web")).unwrap().digest, desired("web", "2").digest);
}

#[test]
fn a_restart_after_the_return_returns_to_nothing_else_and_one_before_it_does_once() {
    for sent in [true, false] {
        let mut before = returned();
        ends(&mut before, RolloutStage::Completed, 30);
        let quarantine = before.quarantine(&key("web")).cloned();
        assert_eq!(quarantine.as_ref().and_then(|one| one.back), Some(desired("web", "1").digest));
        let mut engine = engine([applied("web", if sent { "1" } else { "2" })]);
        engine.set_on_failure(OnFailure::LastGood);
        engine.recall(&key("web"), Memory { quarantine, ..Memory::default() }, at(100));
        engine.observe(folder([("web", "2")]), at(100));
        let sought = finds(&mut engine, "1", 100);
        assert_eq!(sought[0].back, Some(desired("web", "1").digest), "it is decided");
        let sends: Vec<Cause> = if sent { vec![] } else { vec![send(&mut engine, 101)] };
        assert_eq!(sends, if sent { vec![] } else { vec![Cause::Rollback] });
        assert_eq!(state(&engine, 102), ServiceState::RolledBack);
    }
}

#[test]
fn a_release_of_what_was_sent_back_sends_what_the_manifest_says() {
    let mut engine = returned();
    ends(&mut engine, RolloutStage::Completed, 30);
    assert!(engine.release(&key("web"), at(40)));
    assert_eq!(send(&mut engine, 40), Cause::Changed);
    ends(&mut engine, RolloutStage::Completed, 60);
    assert_eq!(state(&engine, 60), ServiceState::Unchanged);
}

#[test]
fn nothing_is_sent_back_where_nothing_is_known_or_asked_for() {
    let mut engine = fails(engine([applied("web", "1")]));
    assert!(engine.take_sought().is_empty(), "it is not asked for");
    engine = self::engine([applied("web", "1")]);
    engine.set_on_failure(OnFailure::LastGood);
    let mut engine = fails(engine);
    let sought = engine.take_sought();
    engine.found(&sought[0], None, at(11));
    engine.observe(folder([("web", "2")]), at(12));
    assert!(calls(&mut engine, at(12)).is_empty() && engine.take_sought().is_empty());
    assert_eq!(state(&engine, 12), ServiceState::RolloutFailed);
}

#[test]
fn a_failure_that_may_be_of_something_older_sends_nothing() {
    let mut engine = engine([applied("web", "1")]);
    engine.set_on_failure(OnFailure::LastGood);
    engine.observe(folder([("web", "2")]), at(0));
    send(&mut engine, 1);
    let status = DeploymentStatus { stage: RolloutStage::Failed, scaling: false, since: None };
    engine.saw(&key("web"), Some(status), None, at(90));
    assert!(answer(&mut engine, vec![deployment("ours", at(1), Some("nginx:2"))], 90));
    assert!(is_quarantined(&engine) && engine.take_sought().is_empty());
}

#[test]
fn what_a_crash_made_forget_is_quarantined_where_it_is_found_to_have_failed() {
    let mut engine = engine([(key("web"), Known::InDoubt)]);
    engine.observe(folder([("web", "2")]), at(100));
    let call = engine.next_call(at(100), 0).expect("it is read");
    let status = Some(DeploymentStatus { stage: RolloutStage::Failed, scaling: false, since: None });
    engine.finish(&call.key, Ending::Adopted { unnamed: None, status }, at(101), JITTER);
    assert!(is_quarantined(&engine));
}

#[test]
fn what_a_person_takes_back_is_replaced_by_what_they_chose_until_the_manifest_changes() {
    let mut engine = engine([applied("web", "1")]);
    engine.observe(folder([("web", "2")]), at(0));
    send(&mut engine, 1);
    ends(&mut engine, RolloutStage::Completed, 10);
    let taken = |version: &str| Quarantine {
        digest: desired("web", version).digest,
        since: at(20),
        reason: Some("wrong prices".into()),
        by: Some("kim".into()),
        released: false,
        back: Some(desired("web", "1").digest),
    };
    assert_eq!(engine.take_back(&key("web"), taken("3"), at(20)), Err(ChangedSince));
    assert_eq!(engine.take_back(&key("web"), taken("2"), at(20)), Ok(()));
    assert_eq!(finds(&mut engine, "1", 20)[0].back, Some(desired("web", "1").digest));
    assert_eq!(send(&mut engine, 21), Cause::Rollback);
    ends(&mut engine, RolloutStage::Completed, 40);
    let standing = engine.standing(&key("web"), at(40)).unwrap();
    assert_eq!(standing.state, ServiceState::RolledBack);
    assert!(standing.held_by[0].what.contains("rolled back by kim: wrong prices"), "{:?}", standing.held_by);
    let memory = Memory {
        rollout: engine.rollout(&key("web")).cloned(),
        quarantine: engine.quarantine(&key("web")).cloned(),
        ..Memory::default()
    };
    let mut engine = self::engine([applied("web", "1")]);
    engine.recall(&key("web"), memory, at(100));
    engine.observe(folder([("web", "2")]), at(100));
    finds(&mut engine, "1", 100);
    assert!(calls(&mut engine, at(100)).is_empty());
    assert_eq!(state(&engine, 100), ServiceState::RolledBack);
    engine.observe(folder([("web", "3")]), at(101));
    assert_eq!(send(&mut engine, 101), Cause::Changed);
}

#[test]
fn what_a_person_takes_back_while_it_is_on_its_way_is_taken_back_once_it_arrived() {
    let mut engine = engine([applied("web", "1")]);
    engine.observe(folder([("web", "2")]), at(0));
    let call = engine.next_call(at(1), 0).expect("version 2 goes");
    let (one, two) = (desired("web", "1"), desired("web", "2"));
    let taken = Quarantine {
        digest: two.digest,
        since: at(2),
        reason: None,
        released: false,
        back: Some(one.digest),
        by: Some("ada".into()),
    };
    engine.take_back(&key("web"), taken, at(2)).expect("the manifest says that");
    for sought in engine.take_sought() {
        engine.found(&sought, Some((one.digest, (*one.update).clone())), at(2));
    }
    let accepted = Ending::Accepted { shown: None, bare: false, at: Some(at(5)), status: None };
    engine.finish(&call.key, accepted, at(5), JITTER);
    assert!(is_quarantined(&engine), "nobody let it out");
    let call = engine.next_call(at(6), 0).expect("version 1 goes");
    assert_eq!((call.work, call.digest), (Work::Send(Cause::Rollback), one.digest));
}

/// A service with version 2, of which a person took that back before anything was sent in its place.
fn taken_back(ending: RolloutStage) -> Engine {
    let mut engine = engine([applied("web", "1")]);
    engine.observe(folder([("web", "2")]), at(0));
    send(&mut engine, 1);
    ends(&mut engine, ending, 10);
    let (digest, back) = (desired("web", "2").digest, Some(desired("web", "1").digest));
    let taken = Quarantine { digest, since: at(20), reason: None, by: Some("kim".into()), released: false, back };
    engine.take_back(&key("web"), taken, at(20)).expect("the manifest says that");
    engine
}

#[test]
fn what_was_only_taken_back_runs_still_where_it_is_released_at_once_and_what_failed_is_sent_once_more() {
    let mut engine = taken_back(RolloutStage::Completed);
    let sought = engine.take_sought();
    assert!(!engine.is_settled(), "what they chose is looked for");
    assert!(engine.release(&key("web"), at(21)));
    let one = desired("web", "1");
    let late = engine.found(&sought[0], Some((one.digest, (*one.update).clone())), at(22));
    assert!(!late, "it is not looked for any more");
    assert_eq!(calls(&mut engine, at(23)), [""; 0]);
    assert!(engine.is_settled() && engine.quarantine(&key("web")).is_none());
    assert_eq!(state(&engine, 23), ServiceState::Unchanged);

    let mut engine = taken_back(RolloutStage::Failed);
    assert!(engine.release(&key("web"), at(21)));
    assert_eq!(send(&mut engine, 22), Cause::Released);
}

#[test]
fn of_two_choices_in_a_row_the_later_one_counts_whichever_is_found_first() {
    let mut engine = taken_back(RolloutStage::Completed);
    let first = engine.take_sought();
    let quarantine = engine.quarantine(&key("web")).cloned().unwrap();
    let later = Quarantine { back: Some(desired("web", "0").digest), since: at(21), ..quarantine };
    engine.take_back(&key("web"), later, at(21)).expect("the manifest says that");
    let one = desired("web", "1");
    engine.found(&first[0], Some((one.digest, (*one.update).clone())), at(22));
    assert_eq!(calls(&mut engine, at(22)), [""; 0]);
    finds(&mut engine, "0", 23);
    let call = engine.next_call(at(24), 0).expect("version 0 goes");
    assert_eq!(call.digest, desired("web", "0").digest);
}

/// Version 2 was sent at 1, and the API shows a failure since `since` at 10, which nobody has taken in yet.
fn shown_failed(on_failure: OnFailure, since: i64) -> Engine {
    let mut engine = engine([applied("web", "1")]);
    engine.set_on_failure(on_failure);
    engine.observe(folder([("web", "2")]), at(0));
    send(&mut engine, 1);
    let status = DeploymentStatus { stage: RolloutStage::Failed, scaling: false, since: Some(at(since)) };
    engine.saw(&key("web"), Some(status), None, at(10));
    engine
}

#[test]
fn whose_a_failure_is_is_asked_before_anything_follows_from_it() {
    let mut engine = shown_failed(OnFailure::LastGood, 9);
    assert!(!is_quarantined(&engine) && engine.take_sought().is_empty());
    assert!(answer(&mut engine, vec![deployment("ours", at(1), Some("nginx:2"))], 10));
    assert!(is_quarantined(&engine));
    let rollout = engine.rollout(&key("web")).unwrap();
    assert_eq!((rollout.evidence, rollout.deployment_id.as_deref()), (Evidence::DeploymentId, Some("ours")));
    assert_eq!(engine.take_sought().len(), 1);
    assert!(!answer(&mut engine, vec![], 11), "once");
}

#[test]
fn a_failure_of_what_somebody_else_deployed_after_is_not_held_against_ours() {
    let mut engine = shown_failed(OnFailure::LastGood, 9);
    let entries = vec![deployment("jane", at(6), Some("nginx:9")), deployment("ours", at(1), Some("nginx:2"))];
    answer(&mut engine, entries, 10);
    assert!(!is_quarantined(&engine) && engine.take_sought().is_empty());
    let rollout = engine.rollout(&key("web")).unwrap();
    assert_eq!(rollout.words(), format!("superseded: jane deployed something else at {}", at(6)));
    assert_eq!(engine.next_look(at(11), 0), None, "its containers say nothing of ours");
}

#[test]
fn what_failed_before_somebody_else_deployed_is_quarantined_and_theirs_stays() {
    let mut engine = shown_failed(OnFailure::LastGood, 5);
    let entries = vec![deployment("jane", at(6), Some("nginx:9")), deployment("ours", at(1), Some("nginx:2"))];
    answer(&mut engine, entries, 10);
    assert!(is_quarantined(&engine));
    assert!(engine.take_sought().is_empty(), "what a person did since is not sent over");
    let words = engine.rollout(&key("web")).unwrap().words();
    assert_eq!(words, format!("failed after 4.0 s; jane deployed something else at {}", at(6)));
}

#[test]
fn where_the_list_cannot_be_had_times_alone_decide() {
    for looked in [
        Looked::Nothing { error: "404".to_owned(), refused: true },
        Looked::Nothing { error: "503".to_owned(), refused: false },
    ] {
        let mut engine = shown_failed(OnFailure::LastGood, 9);
        assert_eq!(engine.next_look(at(10), 0), Some(Look::Deployments(key("web"))));
        engine.looked(looked, at(11));
        assert!(is_quarantined(&engine));
        assert_eq!(engine.rollout(&key("web")).unwrap().evidence, Evidence::Time);
        assert_eq!(engine.take_sought().len(), 1);
    }
}

#[test]
fn a_list_that_lags_is_asked_three_times() {
    let mut engine = shown_failed(OnFailure::Hold, 9);
    for now in [10, 15] {
        assert!(answer(&mut engine, vec![deployment("old", at(-600), Some("nginx:1"))], now));
        assert!(!is_quarantined(&engine) && !answer(&mut engine, vec![], now + 1));
    }
    assert!(answer(&mut engine, vec![], 20));
    assert!(is_quarantined(&engine));
    assert_eq!(engine.rollout(&key("web")).unwrap().evidence, Evidence::Time);
}

#[test]
fn where_no_call_is_left_for_the_question_times_alone_decide() {
    let mut engine = shown_failed(OnFailure::Hold, 9);
    engine.note_quota(Window { limit: 100, remaining: 10, resets_at: at(3600) });
    assert_eq!(engine.next_look(at(10), 0), None);
    assert!(is_quarantined(&engine));
}

#[test]
fn an_answer_that_comes_too_late_for_the_question_changes_nothing() {
    let mut engine = shown_failed(OnFailure::Hold, 9);
    assert_eq!(engine.next_look(at(10), 0), Some(Look::Deployments(key("web"))));
    // It recovers while the question is out.
    let status = DeploymentStatus { stage: RolloutStage::Completed, scaling: false, since: Some(at(11)) };
    engine.saw(&key("web"), Some(status), None, at(12));
    engine.looked(Looked::Deployments(vec![deployment("ours", at(1), None)]), at(13));
    assert!(!is_quarantined(&engine));
    assert_eq!(engine.rollout(&key("web")).unwrap().state, RolloutState::Completed);
}

#[test]
fn an_end_in_the_second_of_the_acceptance_is_told_apart_by_the_deployment() {
    for (made, is_ours) in [(1_300, true), (1_800, false)] {
        let mut engine = engine([applied("web", "1")]);
        engine.observe(folder([("web", "2")]), at(0));
        send(&mut engine, 1);
        let millis = |millis: i64| at(0) + jiff::SignedDuration::from_millis(millis);
        let status = DeploymentStatus { stage: RolloutStage::Completed, scaling: false, since: Some(millis(1_500)) };
        engine.saw(&key("web"), Some(status), None, at(6));
        assert!(answer(&mut engine, vec![deployment("ours", millis(made), Some("nginx:2"))], 6));
        let rollout = engine.rollout(&key("web")).unwrap();
        let expected = if is_ours { RolloutState::Completed } else { RolloutState::Unseen };
        assert_eq!((rollout.state, rollout.deployment_id.as_deref()), (expected, Some("ours")));
        assert_eq!(rollout.evidence == Evidence::DeploymentId, is_ours);
    }
}

#[test]
fn what_somebody_else_deploys_after_a_failure_does_not_let_ours_out() {
    let mut engine = failed();
    let completed = DeploymentStatus { stage: RolloutStage::Completed, scaling: false, since: Some(at(300)) };
    engine.saw(&key("web"), Some(completed), None, at(301));
    assert!(is_quarantined(&engine));
    let jane = deployment("jane", at(290), Some("nginx:9"));
    assert!(answer(&mut engine, vec![jane, deployment("ours", at(1), Some("nginx:2"))], 301));
    assert!(is_quarantined(&engine));
    assert!(engine.rollout(&key("web")).unwrap().words().contains("jane deployed something else at"));
    engine.saw(&key("web"), Some(completed), None, at(400));
    assert!(!answer(&mut engine, vec![], 400), "it is known");
    assert!(is_quarantined(&engine));
}

#[test]
fn what_had_failed_when_it_was_adopted_is_told_without_a_call_and_may_end_well_after_all() {
    let mut engine = engine([]);
    engine.rules.adopt = Adopt::ReadFirst;
    engine.set_on_failure(OnFailure::LastGood);
    engine.observe(folder([("web", "2")]), at(0));
    let call = engine.next_call(at(1), 0).expect("it is read");
    let status = |stage, since| Some(DeploymentStatus { stage, scaling: false, since: Some(at(since)) });
    let failed = status(RolloutStage::Failed, -600);
    engine.finish(&call.key, Ending::Adopted { unnamed: None, status: failed }, at(2), JITTER);
    assert_eq!(state(&engine, 2), ServiceState::RolloutFailed);
    assert!(is_quarantined(&engine) && engine.take_sought().is_empty(), "nobody knows what it had before");
    assert_eq!((engine.next_look(at(3), 0), engine.next_look_wake(at(3))), (None, None), "no call is made for that");
    assert_eq!(calls(&mut engine, at(3)), [""; 0]);
    engine.saw(&key("web"), failed, None, at(300));
    assert_eq!(state(&engine, 300), ServiceState::RolloutFailed);
    // Whose that is, is asked once it matters.
    engine.saw(&key("web"), status(RolloutStage::Completed, 290), None, at(301));
    assert_eq!(engine.next_look(at(301), 0), Some(Look::Deployments(key("web"))));
    engine.looked(Looked::Nothing { error: "404".to_owned(), refused: true }, at(302));
    assert_eq!(state(&engine, 302), ServiceState::Unchanged);
    assert!(!is_quarantined(&engine));
}

#[test]
fn what_was_sent_in_its_place_and_failed_as_well_is_no_drift_to_correct_either() {
    let mut engine = with_drift(DriftMode::Correct, [applied("web", "1")]);
    engine.set_on_failure(OnFailure::LastGood);
    let mut engine = fails(engine);
    finds(&mut engine, "1", 11);
    assert_eq!(send(&mut engine, 12), Cause::Rollback);
    ends(&mut engine, RolloutStage::Failed, 30);
    drifts(&mut engine, 400);
    assert_eq!(calls(&mut engine, at(401)), [""; 0]);
    assert_eq!(state(&engine, 401), ServiceState::Held);
}
