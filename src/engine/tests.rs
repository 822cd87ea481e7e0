use super::*;
use crate::model::{
    Applied, Cause, DependencyGate, DeploymentEntry, DeploymentStatus, DeploymentUpdate, DriftMode, External, HoldKind,
    ImagePath, OvertakenBy, Place, Policy, RolloutStage, RolloutState, Suspend, Unnamed,
};
use crate::plan::{
    Adopt, Change, ChangeWindow, Freeze, Reading, Rollbacks, Step, UnnamedCredentials, WindowEffect, Windows,
};

pub(super) const JITTER: f64 = 1.0;

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

pub(super) fn key(name: &str) -> ServiceKey {
    format!("shop/{name}").parse().unwrap()
}

pub(super) fn desired(name: &str, tag: &str) -> Desired {
    let external = External { credentials: None, image_path: ImagePath::new(&format!("nginx:{tag}")).unwrap() };
    let update = DeploymentUpdate::External { docker: None, external };
    Desired::new(&key(name), update, Policy::default(), Place { file: "a.yaml".into(), line: 1 })
}

pub(super) fn folder<const N: usize>(services: [(&str, &str); N]) -> BTreeMap<ServiceKey, Desired> {
    services.map(|(name, tag)| (key(name), desired(name, tag))).into()
}

pub(super) fn applied(name: &str, tag: &str) -> (ServiceKey, Known) {
    (key(name), Known::Applied(Applied::new(desired(name, tag).digest)))
}

fn transient(delivery: Delivery) -> Ending {
    Ending::Transient { error: "broken".into(), delivery, wait: Duration::ZERO, scope: Scope::Service }
}

fn accepted() -> Ending {
    Ending::Accepted { shown: None, bare: false, at: None, status: None }
}

/// A request whose end is not known, and that can take effect no more.
fn unknown() -> Delivery {
    Delivery::Unknown { until: at(0) }
}

fn rejected() -> Ending {
    Ending::Rejected { error: "no such service".into(), delivery: Delivery::Excluded }
}

/// An engine that sends without reading first, and looks for no drift.
fn engine(pace: Pace, known: impl IntoIterator<Item = (ServiceKey, Known)>) -> Engine {
    Engine::new(pace, Rules { adopt: Adopt::SendFirst, drift: DriftMode::Off }, known)
}

/// Names of the calls that begin at a time.
pub(super) fn calls(engine: &mut Engine, now: Timestamp) -> Vec<String> {
    std::iter::from_fn(|| engine.next_call(now, engine.in_flight() + engine.watching))
        .map(|call| call.key.service.to_string())
        .collect()
}

#[test]
fn only_what_differs_from_what_was_applied_is_called() {
    let mut engine = engine(Pace::default(), [applied("same", "1"), applied("other", "1"), applied("gone", "1")]);
    assert_eq!(calls(&mut engine, at(0)), [""; 0], "nothing before the folder was read");
    engine.observe(folder([("same", "1"), ("other", "2"), ("new", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["new", "other"]);
    for name in ["new", "other"] {
        engine.finish(&key(name), accepted(), at(1), JITTER);
    }
    assert!(engine.is_settled());
    engine.observe(folder([("same", "1"), ("other", "2"), ("new", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(2)), [""; 0]);
    assert_eq!(engine.next_wake(at(2)), None);
}

#[test]
fn a_suspended_service_is_not_called_and_resumes() {
    let mut engine = engine(Pace::default(), []);
    let mut suspended = folder([("web", "1")]);
    suspended.get_mut(&key("web")).unwrap().policy.suspend = Suspend::Yes { reason: None, until: None };
    engine.observe(suspended, at(0));
    assert_eq!(calls(&mut engine, at(0)), [""; 0]);
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
}

#[test]
fn one_call_in_flight_for_a_service_and_the_newest_content_goes_next() {
    let mut engine = engine(Pace::default(), []);
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(engine.next_call(at(0), 0).unwrap().digest, desired("web", "1").digest);
    engine.observe(folder([("web", "2")]), at(0));
    engine.observe(folder([("web", "3")]), at(0));
    assert!(engine.next_call(at(1), 0).is_none());
    engine.finish(&key("web"), accepted(), at(2), JITTER);
    let call = engine.next_call(at(2), 0).unwrap();
    assert_eq!((call.digest, call.work), (desired("web", "3").digest, Work::Send(Cause::Changed)));
}

#[test]
fn content_that_goes_back_while_in_flight_is_sent_back() {
    let mut engine = engine(Pace::default(), [applied("web", "1")]);
    engine.observe(folder([("web", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.observe(folder([("web", "1")]), at(0));
    engine.finish(&key("web"), accepted(), at(1), JITTER);
    assert_eq!(engine.next_call(at(1), 0).unwrap().digest, desired("web", "1").digest);
}

#[test]
fn concurrency_bounds_the_calls_in_flight() {
    let mut engine = engine(Pace { concurrency: 2, ahead: 0, ..Pace::default() }, []);
    engine.observe(folder([("a", "1"), ("b", "1"), ("c", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
    engine.finish(&key("a"), accepted(), at(1), JITTER);
    assert_eq!(calls(&mut engine, at(1)), ["c"]);
}

#[test]
fn a_transient_failure_backs_off_without_end_and_others_go_on() {
    let mut engine = engine(Pace { concurrency: 1, ahead: 0, ..Pace::default() }, []);
    engine.observe(folder([("bad", "1"), ("good", "1")]), at(0));
    let mut now = at(0);
    for (failed, wait) in (1..).zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]) {
        let call = engine.next_call(now, 0).unwrap();
        assert_eq!((call.key, call.attempt), (key("bad"), failed));
        engine.finish(&key("bad"), transient(Delivery::Excluded), now, JITTER);
        if failed == 1 {
            assert_eq!(calls(&mut engine, now), ["good"]);
            engine.finish(&key("good"), accepted(), now, JITTER);
        }
        assert!(engine.next_call(now, 0).is_none());
        assert!(!engine.is_settled());
        let wake = engine.next_wake(now).unwrap();
        assert_eq!(wake, later(now, Duration::from_secs(wait)));
        now = wake;
    }
}

#[test]
fn a_retry_without_room_wakes_nobody_until_a_call_ends() {
    let mut engine = engine(Pace { concurrency: 1, ahead: 0, ..Pace::default() }, []);
    engine.observe(folder([("a", "1"), ("b", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    engine.finish(&key("a"), transient(Delivery::Excluded), at(0), JITTER);
    assert_eq!(calls(&mut engine, at(0)), ["b"]);
    assert_eq!(calls(&mut engine, at(5)), [""; 0]);
    assert_eq!(engine.next_wake(at(5)), None);
    engine.finish(&key("b"), accepted(), at(6), JITTER);
    assert_eq!(calls(&mut engine, at(6)), ["a"]);
}

#[test]
fn the_api_may_ask_for_a_longer_wait() {
    let mut engine = engine(Pace::default(), []);
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    let wait = Duration::from_secs(90);
    let ending = Ending::Transient { error: "503".into(), delivery: unknown(), wait, scope: Scope::Service };
    engine.finish(&key("web"), ending, at(0), JITTER);
    assert_eq!(engine.next_wake(at(0)), Some(at(90)));
}

#[test]
fn new_content_ends_a_wait_at_once_and_starts_anew() {
    for ending in [transient(Delivery::Excluded), rejected()] {
        let mut engine = engine(Pace::default(), []);
        engine.observe(folder([("web", "1")]), at(0));
        assert_eq!(calls(&mut engine, at(0)), ["web"]);
        engine.finish(&key("web"), ending, at(0), JITTER);
        engine.observe(folder([("web", "1")]), at(0));
        assert!(engine.next_call(at(0), 0).is_none(), "the same content ends no wait");
        engine.observe(folder([("web", "2")]), at(0));
        let call = engine.next_call(at(0), 0).unwrap();
        assert_eq!((call.digest, call.attempt), (desired("web", "2").digest, 1));
    }
}

#[test]
fn fresh_content_goes_before_retries() {
    let mut engine = engine(Pace { concurrency: 1, ahead: 0, ..Pace::default() }, []);
    engine.observe(folder([("a", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    engine.finish(&key("a"), transient(Delivery::Excluded), at(0), JITTER);
    engine.observe(folder([("a", "1"), ("z", "1")]), at(0));
    let first = engine.next_call(at(10), 0).unwrap();
    assert_eq!(first.key, key("z"));
}

#[test]
fn an_unknown_delivery_leaves_the_service_in_doubt() {
    let mut engine = engine(Pace::default(), [applied("web", "1")]);
    engine.observe(folder([("web", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), transient(unknown()), at(0), JITTER);
    // Back to what was applied: still a call, because the other content may be live. It is to be seen.
    engine.observe(folder([("web", "1")]), at(0));
    let call = engine.next_call(at(0), 0).unwrap();
    assert_eq!((call.digest, call.work), (desired("web", "1").digest, Work::Decide(Cause::InDoubt)));
}

#[test]
fn content_that_goes_back_after_an_unsent_call_needs_none() {
    let mut engine = engine(Pace::default(), [applied("web", "1")]);
    engine.observe(folder([("web", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), transient(Delivery::Excluded), at(0), JITTER);
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(1000)), [""; 0]);
    assert_eq!(engine.phase(&key("web")), Some(Phase::Resting));
}

#[test]
fn a_refused_update_stalls_and_is_tried_again_slowly() {
    let mut engine = engine(Pace::default(), []);
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), rejected(), at(0), JITTER);
    assert!(engine.is_settled());
    assert!(matches!(engine.phase(&key("web")), Some(Phase::Stalled { failed: 1, .. })));
    let mut now = at(0);
    for wait in [30, 60, 120, 240, 480, 600, 600] {
        assert_eq!(engine.next_wake(now), Some(later(now, Duration::from_secs(wait))));
        now = engine.next_wake(now).unwrap();
        assert_eq!(calls(&mut engine, now), ["web"]);
        engine.finish(&key("web"), rejected(), now, JITTER);
    }
}

#[test]
fn a_rate_limit_pauses_all_calls_and_costs_no_attempt() {
    let mut engine = engine(Pace { concurrency: 1, ahead: 0, ..Pace::default() }, []);
    engine.observe(folder([("a", "1"), ("b", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    let limited = Ending::Limited { error: "too many".into(), wait: Duration::from_secs(60), told: true };
    engine.finish(&key("a"), limited, at(0), JITTER);
    assert_eq!(calls(&mut engine, at(59)), [""; 0]);
    assert_eq!(engine.next_wake(at(59)), Some(at(60)));
    assert!(engine.gate().limited(at(59)).is_some() && engine.gate().limited(at(60)).is_none());
    let (first, second) = (engine.next_call(at(60), 0).unwrap(), engine.next_call(at(60), 0));
    assert_eq!((first.key, first.attempt), (key("b"), 1));
    assert!(second.is_none());
    engine.finish(&key("b"), accepted(), at(60), JITTER);
    assert_eq!(engine.next_call(at(60), 0).unwrap().attempt, 1);
}

#[test]
fn a_refused_token_pauses_all_calls_and_lets_one_at_a_time_prove_it() {
    let mut engine = engine(Pace::default(), []);
    engine.observe(folder([("a", "1"), ("b", "1"), ("c", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        engine.finish(&key(name), Ending::Denied { error: "no permission".into() }, at(0), JITTER);
    }
    assert!(matches!(engine.gate().blocked(), Some((Block::Denied, _))));
    assert_eq!(engine.next_wake(at(0)), Some(at(60)));
    assert_eq!(calls(&mut engine, at(60)), ["a"]);
    // Denied again, for this one alone: the next minute tries another, which opens the gate.
    engine.finish(&key("a"), Ending::Denied { error: "no permission".into() }, at(60), JITTER);
    assert_eq!(calls(&mut engine, at(120)), ["b"]);
    engine.finish(&key("b"), accepted(), at(120), JITTER);
    assert_eq!(calls(&mut engine, at(120)), ["c", "a"]);
}

#[test]
fn a_new_token_opens_the_gate_at_once() {
    let mut engine = engine(Pace::default(), []);
    engine.observe(folder([("a", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    engine.finish(&key("a"), Ending::Denied { error: "unknown token".into() }, at(0), JITTER);
    engine.token_replaced();
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
}

#[test]
fn a_ledger_that_cannot_be_written_pauses_all_calls() {
    let mut engine = engine(Pace::default(), []);
    engine.observe(folder([("a", "1"), ("b", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
    for name in ["a", "b"] {
        engine.finish(&key(name), Ending::Unrecorded { error: "disk full".into() }, at(0), JITTER);
    }
    assert_eq!(calls(&mut engine, at(4)), [""; 0]);
    assert_eq!(calls(&mut engine, at(5)), ["a"]);
    engine.finish(&key("a"), transient(Delivery::Excluded), at(5), JITTER);
    assert_eq!(calls(&mut engine, at(5)), ["b"], "a call that was made was recorded");
}

#[test]
fn a_full_disk_does_not_make_a_refused_token_forgotten() {
    let mut engine = engine(Pace::default(), []);
    engine.observe(folder([("a", "1"), ("b", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
    engine.finish(&key("a"), Ending::Denied { error: "unknown token".into() }, at(0), JITTER);
    engine.finish(&key("b"), Ending::Unrecorded { error: "disk full".into() }, at(1), JITTER);
    assert!(matches!(engine.gate().blocked(), Some((Block::Denied, _))));
    assert_eq!(engine.next_wake(at(1)), Some(at(60)));
    assert_eq!(calls(&mut engine, at(59)), [""; 0]);
    assert_eq!(calls(&mut engine, at(60)), ["b"]);
    engine.finish(&key("b"), transient(Delivery::Excluded), at(60), JITTER);
    assert_eq!(calls(&mut engine, at(62)), ["a"], "the disk is well; the token is still to be proven, by one call");
}

#[test]
fn a_kept_pause_holds_before_the_first_call() {
    let mut engine = engine(Pace::default(), []);
    engine.pause(at(30), "from before the restart".into());
    engine.pause(at(10), "shorter".into());
    engine.observe(folder([("a", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(29)), [""; 0]);
    assert_eq!(engine.next_wake(at(29)), Some(at(30)));
    assert_eq!(calls(&mut engine, at(30)), ["a"]);
}

#[test]
fn a_manifest_that_goes_away_ends_its_wait_and_causes_no_call() {
    for ending in [transient(unknown()), rejected()] {
        let mut engine = engine(Pace::default(), []);
        engine.observe(folder([("web", "1")]), at(0));
        assert_eq!(calls(&mut engine, at(0)), ["web"]);
        engine.finish(&key("web"), ending, at(0), JITTER);
        engine.observe(folder([]), at(0));
        assert_eq!(calls(&mut engine, at(10_000)), [""; 0]);
        assert_eq!(engine.next_wake(at(0)), None);
    }
}

#[test]
fn looking_again_on_request_goes_past_backoff_and_stalled() {
    let mut engine = engine(Pace::default(), []);
    engine.observe(folder([("a", "1"), ("b", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
    engine.finish(&key("a"), rejected(), at(0), JITTER);
    engine.finish(&key("b"), transient(Delivery::Excluded), at(0), JITTER);
    engine.retry_all(at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
}

#[test]
fn a_withdrawn_call_goes_back_without_a_trace() {
    let mut engine = engine(Pace::default(), []);
    engine.observe(folder([("a", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    engine.finish(&key("a"), Ending::Withdrawn, at(0), JITTER);
    assert_eq!(engine.next_call(at(0), 0).unwrap().attempt, 1);
}

/// What a read shows where live is something else.
pub(super) fn differs() -> Ending {
    let change = Change { path: "external.imagePath".to_owned(), from: Some("x".to_owned()), to: Some("y".to_owned()) };
    Ending::Read(Reading { differences: [change].into(), undecided: [].into(), ..Reading::default() })
}

/// What a read shows where live is the same.
fn same() -> Ending {
    Ending::Read(Reading::default())
}

fn reading_first(known: impl IntoIterator<Item = (ServiceKey, Known)>) -> Engine {
    Engine::new(Pace::default(), Rules { adopt: Adopt::ReadFirst, drift: DriftMode::Off }, known)
}

fn watching(drift: DriftMode, known: impl IntoIterator<Item = (ServiceKey, Known)>) -> Engine {
    Engine::new(Pace::default(), Rules { adopt: Adopt::ReadFirst, drift }, known)
}

#[test]
fn an_unknown_service_is_read_and_sent_to_only_if_it_runs_something_else() {
    let mut engine = reading_first([]);
    engine.observe(folder([("has", "1"), ("lacks", "1")]), at(0));
    assert_eq!(engine.next_call(at(0), 0).unwrap().work, Work::Decide(Cause::New));
    assert!(engine.next_call(at(0), 1).is_none(), "one read asks what the quota is");
    engine.finish(&key("has"), Ending::Adopted { unnamed: None, status: None }, at(1), JITTER);
    assert_eq!(engine.next_call(at(1), 0).unwrap().work, Work::Decide(Cause::New));
    engine.finish(&key("lacks"), differs(), at(2), JITTER);
    let call = engine.next_call(at(2), 0).unwrap();
    assert_eq!((call.work, call.attempt), (Work::Send(Cause::New), 1));
    engine.finish(&key("lacks"), accepted(), at(3), JITTER);
    assert!(engine.is_settled() && engine.next_call(at(4), 0).is_none());
    assert_eq!(engine.next_wake(at(4)), None);
}

#[test]
fn a_lost_answer_is_settled_by_reading_before_anything_is_sent_again() {
    for has_it in [true, false] {
        let mut engine = reading_first([applied("web", "1")]);
        engine.observe(folder([("web", "2")]), at(0));
        assert_eq!(engine.next_call(at(0), 0).unwrap().work, Work::Send(Cause::Changed), "no read before a change");
        engine.finish(&key("web"), transient(unknown()), at(0), JITTER);
        let call = engine.next_call(at(1), 0).unwrap();
        assert_eq!((call.work, call.attempt), (Work::Decide(Cause::InDoubt), 2));
        let ending = if has_it { Ending::Adopted { unnamed: None, status: None } } else { differs() };
        engine.finish(&key("web"), ending, at(2), JITTER);
        let next = engine.next_call(at(2), 0).map(|call| (call.work, call.attempt));
        assert_eq!(next, (!has_it).then_some((Work::Send(Cause::InDoubt), 2)));
    }
}

#[test]
fn an_update_that_would_drop_credentials_is_held_until_the_manifest_says_what_is_meant() {
    let unnamed = Some(UnnamedCredentials { id: Some("ghcr".to_owned()) });
    let with = |policy: Policy, tag: &str| BTreeMap::from([(key("web"), Desired { policy, ..desired("web", tag) })]);
    let on_purpose = Policy { credentials: Unnamed::OnPurpose, ..Policy::default() };
    let is_held = |engine: &Engine| {
        let standing = engine.standing(&key("web"), at(9)).unwrap();
        (standing.state, standing.held_by.len(), standing.reason.is_some()) == (ServiceState::Held, 1, true)
    };

    // Known by an adoption, in this process or before it.
    let mut adopting = reading_first([]);
    adopting.observe(folder([("web", "1")]), at(0));
    assert_eq!(calls(&mut adopting, at(0)), ["web"]);
    adopting.finish(&key("web"), Ending::Adopted { unnamed: unnamed.clone(), status: None }, at(1), JITTER);
    let mut recalling = reading_first([applied("web", "1")]);
    recalling.recall(&key("web"), Memory { unnamed: unnamed.clone(), ..Memory::default() }, at(0));
    for mut engine in [adopting, recalling] {
        engine.take_events(at(9));
        engine.observe(folder([("web", "2")]), at(2));
        assert!(is_held(&engine) && engine.next_call(at(2), 0).is_none() && engine.is_settled());
        assert!(
            matches!(&engine.take_events(at(9))[..], [Event::Held { held_by, .. }] if held_by[0].what.contains("ghcr"))
        );
        engine.observe(folder([("web", "3")]), at(3));
        assert!(is_held(&engine) && engine.take_events(at(9)).is_empty(), "it is told once");
        engine.observe(with(on_purpose.clone(), "3"), at(4));
        assert_eq!(engine.next_call(at(4), 0).unwrap().work, Work::Send(Cause::Changed));
        engine.finish(&key("web"), accepted(), at(5), JITTER);
        engine.observe(folder([("web", "4")]), at(6));
        assert_eq!(engine.next_call(at(6), 0).unwrap().work, Work::Send(Cause::Changed), "they are gone");
    }

    // Known by the read that decides, or by one for drift.
    let mut engine = reading_first([]);
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    let Ending::Read(reading) = differs() else { unreachable!() };
    engine.finish(&key("web"), Ending::Read(Reading { unnamed_credentials: unnamed, ..reading }), at(1), JITTER);
    assert!(is_held(&engine) && engine.next_call(at(1), 0).is_none() && engine.next_wake(at(1)).is_none());
}

#[test]
fn an_update_that_was_not_delivered_needs_no_second_read() {
    let mut engine = reading_first([]);
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), differs(), at(0), JITTER);
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), transient(Delivery::Excluded), at(0), JITTER);
    assert_eq!(engine.next_call(at(1), 0).unwrap().work, Work::Send(Cause::New));
    engine.finish(&key("web"), transient(unknown()), at(1), JITTER);
    assert_eq!(engine.next_call(at(5), 0).unwrap().work, Work::Decide(Cause::InDoubt));
}

#[test]
fn updates_go_before_reads_and_these_before_corrections() {
    let mut engine = watching(DriftMode::Correct, [applied("c", "1"), applied("u", "1")]);
    engine.observe(folder([("c", "1")]), at(0));
    assert_eq!(engine.next_call(at(0), 0).unwrap().work, Work::Watch);
    engine.note_quota(Window { limit: 1000, remaining: 900, resets_at: at(3600) });
    engine.finish(&key("c"), differs(), at(0), JITTER);
    engine.observe(folder([("c", "1"), ("n", "1"), ("u", "2")]), at(1));
    let work: Vec<_> = std::iter::from_fn(|| engine.next_call(at(1), 0)).map(|call| call.work).collect();
    assert_eq!(work, [Work::Decide(Cause::New), Work::Send(Cause::Changed), Work::Send(Cause::Drifted)]);
}

#[test]
fn what_was_there_at_the_start_is_read_after_changes_and_what_changes_meanwhile_overtakes_it() {
    let mut engine = Engine::new(
        Pace { concurrency: 1, ahead: 0, ..Pace::default() },
        Rules { adopt: Adopt::ReadFirst, drift: DriftMode::Off },
        [applied("u", "1")],
    );
    engine.note_quota(Window { limit: 1000, remaining: 900, resets_at: at(3600) });
    engine.observe(folder([("a", "1"), ("b", "1"), ("c", "1"), ("u", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["u"]);
    engine.finish(&key("u"), accepted(), at(0), JITTER);
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    engine.observe(folder([("a", "1"), ("b", "1"), ("c", "2"), ("u", "2")]), at(1));
    engine.finish(&key("a"), Ending::Adopted { unnamed: None, status: None }, at(1), JITTER);
    assert_eq!(calls(&mut engine, at(1)), ["c"], "somebody waits for it");
    engine.note_quota(Window { limit: 1000, remaining: 90, resets_at: at(3600) });
    engine.finish(&key("c"), differs(), at(1), JITTER);
    assert_eq!(engine.next_call(at(1), 0).unwrap().work, Work::Send(Cause::New), "a change may use the reserve");
}

#[test]
fn the_last_tenth_of_the_window_is_for_changes() {
    let mut engine = reading_first([applied("u", "1")]);
    engine.note_quota(Window { limit: 100, remaining: 10, resets_at: at(60) });
    engine.observe(folder([("new", "1"), ("u", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["u"]);
    assert_eq!(engine.reads_wait_until(at(0)), Some(at(60)));
    assert_eq!(engine.next_wake(at(0)), Some(at(60)));
    engine.finish(&key("u"), accepted(), at(1), JITTER);
    assert_eq!(calls(&mut engine, at(59)), [""; 0]);
    assert_eq!(calls(&mut engine, at(60)), ["new"]);
}

#[test]
fn a_retry_of_a_change_is_not_kept_waiting_by_reads_that_may_not_go() {
    let mut engine = reading_first([applied("u", "1")]);
    engine.observe(folder([("new", "1"), ("u", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["u"]);
    engine.note_quota(Window { limit: 100, remaining: 10, resets_at: at(600) });
    engine.finish(&key("u"), transient(Delivery::Excluded), at(0), JITTER);
    engine.observe(folder([("new", "1"), ("u", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), [""; 0]);
    assert_eq!(engine.next_wake(at(0)), Some(at(1)));
    assert_eq!(calls(&mut engine, at(1)), ["u"]);
}

#[test]
fn services_at_rest_are_read_in_turn_the_longest_unread_first() {
    let mut engine = watching(DriftMode::Report, [applied("a", "1"), applied("b", "1"), applied("c", "1")]);
    engine.recall(&key("a"), Memory { looked_at: Some(at(-400)), ..Memory::default() }, at(0));
    engine.recall(&key("b"), Memory { looked_at: Some(at(-500)), ..Memory::default() }, at(0));
    engine.note_quota(Window { limit: 1000, remaining: 920, resets_at: at(4100) });
    engine.observe(folder([("a", "1"), ("b", "1"), ("c", "1")]), at(0));
    // 410 reads in 4,100 s would be one in 10 s; three services every five minutes are one in 100 s.
    let mut now = at(0);
    for (name, wait) in [("c", 100), ("b", 100), ("a", 100), ("c", 100)] {
        assert_eq!(calls(&mut engine, now), [name]);
        engine.finish(&key(name), same(), now, JITTER);
        assert_eq!(engine.next_wake(now), Some(later(now, Duration::from_secs(wait))));
        now = engine.next_wake(now).unwrap();
    }
    assert_eq!(engine.watch_period(now), Some(Duration::from_secs(300)));
    assert!(engine.is_settled());
}

#[test]
fn reads_for_drift_use_half_of_what_is_left_over() {
    let names: Vec<String> = (0..800).map(|number| format!("s{number}")).collect();
    let known: Vec<_> = names.iter().map(|name| applied(name, "1")).collect();
    let mut engine = watching(DriftMode::Report, known);
    let desired: BTreeMap<_, _> = names.iter().map(|name| (key(name), desired(name, "1"))).collect();
    engine.note_quota(Window { limit: 1000, remaining: 1000, resets_at: at(3600) });
    engine.observe(desired, at(0));
    assert_eq!(engine.watch_period(at(0)), Some(Duration::from_secs(6400)), "800 services, 450 reads an hour");
    let (mut now, mut used) = (at(0), 0_u32);
    while now < at(3600) {
        let call = engine.next_call(now, 0).unwrap();
        used += 1;
        engine.note_quota(Window { limit: 1000, remaining: 1000 - used, resets_at: at(3600) });
        engine.finish(&call.key, same(), now, JITTER);
        now = engine.next_wake(now).unwrap();
    }
    assert!((400..=451).contains(&used), "{used}");
}

#[test]
fn drift_is_reported_and_left_or_corrected_or_not_looked_for() {
    for mode in [DriftMode::Report, DriftMode::Correct, DriftMode::Off] {
        let mut engine = watching(mode, [applied("web", "1")]);
        engine.observe(folder([("web", "1")]), at(0));
        let Some(call) = engine.next_call(at(0), 0) else {
            assert_eq!((mode, engine.next_wake(at(0))), (DriftMode::Off, None));
            continue;
        };
        assert_eq!(call.work, Work::Watch);
        engine.finish(&key("web"), differs(), at(0), JITTER);
        assert!(engine.standing(&key("web"), at(0)).unwrap().seen.is_some());
        let next = engine.next_call(at(0), 0).map(|call| call.work);
        assert_eq!(next, (mode == DriftMode::Correct).then_some(Work::Send(Cause::Drifted)));
    }
}

#[test]
fn what_cannot_be_told_corrects_nothing() {
    let mut engine = watching(DriftMode::Correct, [applied("web", "1")]);
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    let reading =
        Reading { differences: [].into(), undecided: ["external.credentials".to_owned()].into(), ..Reading::default() };
    engine.finish(&key("web"), Ending::Read(reading), at(0), JITTER);
    assert_eq!(calls(&mut engine, at(0)), [""; 0]);
}

#[test]
fn a_policy_of_its_own_goes_before_the_rule() {
    let mut engine = watching(DriftMode::Off, [applied("a", "1"), applied("b", "1")]);
    let mut desired = folder([("a", "1"), ("b", "1")]);
    desired.get_mut(&key("b")).unwrap().policy.drift = Some(DriftMode::Correct);
    engine.observe(desired, at(0));
    assert_eq!(calls(&mut engine, at(0)), ["b"]);
    engine.finish(&key("b"), differs(), at(0), JITTER);
    assert_eq!(calls(&mut engine, at(0)), ["b"]);
}

/// Reads, corrects and reads again until nothing is corrected; gives the number of corrections and the time.
fn flap(engine: &mut Engine, mut now: Timestamp) -> (usize, Timestamp) {
    let mut corrections = 0;
    loop {
        let call = engine.next_call(now, 0).unwrap();
        assert_eq!(call.work, Work::Watch);
        engine.finish(&key("web"), differs(), now, JITTER);
        match engine.next_call(now, 0) {
            Some(call) => {
                assert_eq!(call.work, Work::Send(Cause::Drifted));
                engine.finish(&key("web"), accepted(), now, JITTER);
                corrections += 1;
            }
            None => return (corrections, now),
        }
        now = engine.next_wake(now).unwrap();
    }
}

#[test]
fn flapping_ends_after_three_corrections_until_an_hour_passed_or_the_manifest_changes() {
    for changes in [true, false] {
        let mut engine = watching(DriftMode::Correct, [applied("web", "1")]);
        engine.observe(folder([("web", "1")]), at(0));
        let (corrections, now) = flap(&mut engine, at(0));
        assert_eq!(corrections, 3);
        assert_eq!(engine.standing(&key("web"), now).unwrap().flaps_until, Some(at(3600)));
        if changes {
            engine.observe(folder([("web", "2")]), now);
            assert_eq!(engine.next_call(now, 0).unwrap().work, Work::Decide(Cause::Changed), "live is known to differ");
            engine.finish(&key("web"), differs(), now, JITTER);
            assert_eq!(engine.next_call(now, 0).unwrap().work, Work::Send(Cause::Changed));
            engine.finish(&key("web"), accepted(), now, JITTER);
            let next = engine.next_wake(now).unwrap();
            assert_eq!(flap(&mut engine, next).0, 3);
        } else {
            let mut reads = 0;
            let mut now = now;
            while now < at(3600) {
                now = engine.next_wake(now).unwrap();
                assert_eq!(engine.next_call(now, 0).unwrap().work, Work::Watch);
                engine.finish(&key("web"), differs(), now, JITTER);
                reads += 1;
                if engine.next_call(now, 0).is_some() {
                    break;
                }
            }
            assert!(now >= at(3600) && reads > 5, "{now} {reads}");
        }
    }
}

#[test]
fn flapping_is_not_forgotten_over_a_restart() {
    let mut engine = watching(DriftMode::Correct, [applied("web", "1")]);
    let corrections = vec![at(-900), at(-600), at(-300)];
    engine.recall(&key("web"), Memory { corrections, ..Memory::default() }, at(0));
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(flap(&mut engine, at(0)).0, 0);
}

#[test]
fn what_was_written_down_after_a_change_by_hand_is_read_before_it_is_sent() {
    let mut engine = watching(DriftMode::Report, [applied("web", "1")]);
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), differs(), at(0), JITTER);
    engine.observe(folder([("web", "2")]), at(1));
    assert_eq!(engine.next_call(at(1), 0).unwrap().work, Work::Decide(Cause::Changed));
    engine.finish(&key("web"), Ending::Adopted { unnamed: None, status: None }, at(1), JITTER);
    assert_eq!(engine.standing(&key("web"), at(1)).unwrap().step, Some(Step::Unchanged));
}

#[test]
fn a_change_waits_for_no_read_for_drift_of_another_service() {
    let mut engine = Engine::new(
        Pace { concurrency: 1, ahead: 0, ..Pace::default() },
        Rules { adopt: Adopt::ReadFirst, drift: DriftMode::Report },
        [applied("a", "1"), applied("b", "1")],
    );
    engine.observe(folder([("a", "1"), ("b", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a"], "one read for drift at a time");
    engine.observe(folder([("a", "2"), ("b", "2")]), at(1));
    assert_eq!(calls(&mut engine, at(1)), ["b"]);
    engine.finish(&key("a"), same(), at(2), JITTER);
    engine.finish(&key("b"), accepted(), at(2), JITTER);
    assert_eq!(calls(&mut engine, at(2)), ["a"]);
}

#[test]
fn a_read_for_drift_that_fails_waits_for_its_next_turn_and_is_shown() {
    for ending in [transient(Delivery::Excluded), rejected()] {
        let mut engine = watching(DriftMode::Report, [applied("web", "1")]);
        engine.observe(folder([("web", "1")]), at(0));
        assert_eq!(calls(&mut engine, at(0)), ["web"]);
        engine.finish(&key("web"), ending, at(0), JITTER);
        assert_eq!(engine.phase(&key("web")), Some(Phase::Resting));
        assert!(engine.standing(&key("web"), at(0)).unwrap().unread.is_some());
        assert_eq!(engine.next_wake(at(0)), Some(at(300)));
    }
}

#[test]
fn a_token_refused_to_a_read_for_drift_is_proven_by_the_next_one() {
    let mut engine = watching(DriftMode::Report, [applied("web", "1")]);
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), Ending::Denied { error: "unknown token".into() }, at(0), JITTER);
    let wake = engine.next_wake(at(0)).unwrap();
    assert_eq!(calls(&mut engine, wake), ["web"]);
    engine.finish(&key("web"), same(), wake, JITTER);
    assert_eq!(engine.gate().blocked(), None);
}

#[test]
fn a_suspension_ends_by_itself_when_its_time_is_past() {
    let mut engine = reading_first([applied("web", "1")]);
    let mut suspended = folder([("web", "2")]);
    suspended.get_mut(&key("web")).unwrap().policy.suspend = Suspend::Yes { reason: None, until: Some(at(60)) };
    engine.observe(suspended.clone(), at(0));
    assert_eq!(calls(&mut engine, at(59)), [""; 0]);
    engine.observe(suspended, at(59));
    assert_eq!(engine.next_wake(at(59)), Some(at(60)));
    assert_eq!(calls(&mut engine, at(60)), ["web"]);
}

#[test]
fn drift_is_corrected_upon_a_read_of_now_alone() {
    let change = Change { path: "external.imagePath".to_owned(), from: Some("x".to_owned()), to: Some("y".to_owned()) };
    let reading = Reading { differences: [change].into(), undecided: [].into(), ..Reading::default() };
    let seen = Seen { compared: desired("web", "1").digest, at: at(-86_400), reading };
    let memory = Memory { looked_at: Some(at(-86_400)), seen: Some(seen), ..Memory::default() };
    for ending in [same(), transient(Delivery::Excluded), rejected()] {
        let mut engine = watching(DriftMode::Correct, [applied("web", "1")]);
        engine.recall(&key("web"), memory.clone(), at(0));
        engine.observe(folder([("web", "1")]), at(0));
        assert_eq!(engine.next_call(at(0), 0).unwrap().work, Work::Watch, "it may have been put right since");
        engine.finish(&key("web"), ending, at(1), JITTER);
        assert_eq!(calls(&mut engine, at(1)), [""; 0]);
        assert_eq!(engine.next_wake(at(1)), Some(at(301)));
        assert_eq!(engine.next_call(at(301), 0).unwrap().work, Work::Watch);
        engine.finish(&key("web"), differs(), at(302), JITTER);
        assert_eq!(engine.next_call(at(302), 0).unwrap().work, Work::Send(Cause::Drifted));
    }
}

#[test]
fn drift_that_is_to_be_corrected_from_now_on_is_read_first_and_before_others() {
    let mut engine = watching(DriftMode::Report, [applied("a", "1"), applied("b", "1")]);
    engine.observe(folder([("a", "1"), ("b", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    engine.finish(&key("a"), same(), at(0), JITTER);
    assert_eq!(calls(&mut engine, at(150)), ["b"]);
    engine.finish(&key("b"), differs(), at(150), JITTER);
    let mut corrected = folder([("a", "1"), ("b", "1")]);
    corrected.get_mut(&key("b")).unwrap().policy.drift = Some(DriftMode::Correct);
    engine.observe(corrected, at(200));
    let call = engine.next_call(at(300), 0).unwrap();
    assert_eq!((call.key, call.work), (key("b"), Work::Watch));
}

#[test]
fn times_that_are_still_to_come_count_for_nothing() {
    let mut engine = watching(DriftMode::Correct, [applied("web", "1")]);
    let later = at(90 * 86_400);
    let memory = Memory { looked_at: Some(later), corrections: vec![later; 3], ..Memory::default() };
    engine.recall(&key("web"), memory, at(0));
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(engine.next_call(at(0), 0).unwrap().work, Work::Watch);
    engine.finish(&key("web"), differs(), at(0), JITTER);
    assert_eq!(engine.next_call(at(0), 0).unwrap().work, Work::Send(Cause::Drifted));
}

#[test]
fn a_manifest_that_changed_while_nobody_looked_ends_the_flapping() {
    let mut engine = watching(DriftMode::Correct, [applied("web", "1")]);
    let corrections = vec![at(-900), at(-600), at(-300)];
    engine.recall(&key("web"), Memory { corrections, ..Memory::default() }, at(0));
    engine.observe(folder([("web", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), accepted(), at(0), JITTER);
    assert_eq!(engine.standing(&key("web"), at(0)).unwrap().flaps_until, None);
}

#[test]
fn a_correction_whose_answer_was_lost_counts_as_one() {
    let mut engine = watching(DriftMode::Correct, [applied("web", "1")]);
    engine.observe(folder([("web", "1")]), at(0));
    let mut now = at(0);
    for _ in 0..3 {
        assert_eq!(engine.next_call(now, 0).unwrap().work, Work::Watch);
        engine.finish(&key("web"), differs(), now, JITTER);
        assert_eq!(engine.next_call(now, 0).unwrap().work, Work::Send(Cause::Drifted));
        engine.finish(&key("web"), transient(unknown()), now, JITTER);
        now = engine.next_wake(now).unwrap();
        assert_eq!(engine.next_call(now, 0).unwrap().work, Work::Decide(Cause::InDoubt));
        engine.finish(&key("web"), Ending::Adopted { unnamed: None, status: None }, now, JITTER);
        now = engine.next_wake(now).unwrap();
    }
    assert!(engine.standing(&key("web"), now).unwrap().flaps_until.is_some());
}

#[test]
fn a_change_to_what_drifted_may_use_the_reserve_for_its_read() {
    let mut engine = watching(DriftMode::Report, [applied("web", "1")]);
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), differs(), at(0), JITTER);
    engine.note_quota(Window { limit: 1000, remaining: 90, resets_at: at(3000) });
    engine.observe(folder([("web", "2")]), at(1));
    assert_eq!(engine.next_call(at(1), 0).unwrap().work, Work::Decide(Cause::Changed));
}

fn outage() -> Ending {
    let delivery = Delivery::Unknown { until: at(100) };
    Ending::Transient { error: "503".into(), delivery, wait: Duration::ZERO, scope: Scope::Api }
}

#[test]
fn two_services_that_meet_an_outage_stop_all_calls_and_one_good_answer_lets_them_go_on() {
    let names: Vec<String> = (0..20).map(|number| format!("s{number:02}")).collect();
    let mut engine = engine(Pace::default(), names.iter().map(|name| applied(name, "1")));
    engine.observe(names.iter().map(|name| (key(name), desired(name, "2"))).collect::<BTreeMap<_, _>>(), at(0));
    let first = calls(&mut engine, at(0));
    assert_eq!(first.len(), 4, "an API that has not answered yet is not met with all calls at once");
    for name in &first {
        engine.finish(&key(name), outage(), at(0), 0.0);
    }
    assert!(engine.gate().is_unreachable());
    let (mut now, mut probes) = (at(0), 0);
    while now < at(600) {
        let wake = engine.next_wake(now).unwrap();
        assert!(calls(&mut engine, later(now, Duration::from_millis(500))).is_empty(), "between two probes");
        now = wake;
        let probe = calls(&mut engine, now);
        assert_eq!(probe.len(), 1, "one probe at a time");
        engine.finish(&key(&probe[0]), outage(), now, 0.0);
        probes += 1;
    }
    assert!((20..=26).contains(&probes), "{probes}");
    now = engine.next_wake(now).unwrap();
    let call = engine.next_call(now, 0).unwrap();
    engine.finish(&call.key, if call.work == Work::Decide(Cause::InDoubt) { differs() } else { accepted() }, now, 0.0);
    assert!(!engine.gate().is_unreachable());
    assert_eq!(calls(&mut engine, now).len(), 12, "everything goes on at once");
}

#[test]
fn one_service_that_fails_again_and_again_stops_no_other() {
    let mut engine = engine(Pace::default(), [applied("bad", "1"), applied("good", "1")]);
    engine.observe(folder([("bad", "2"), ("good", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["bad", "good"]);
    engine.finish(&key("good"), accepted(), at(0), JITTER);
    for round in 0..3 {
        engine.finish(&key("bad"), outage(), at(round * 1000), JITTER);
        assert!(!engine.gate().is_unreachable());
        let _ = calls(&mut engine, at(round * 1000 + 999));
    }
}

#[test]
fn no_connection_stops_all_calls_at_once() {
    let mut engine = engine(Pace::default(), [applied("a", "1"), applied("b", "1")]);
    engine.observe(folder([("a", "2"), ("b", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
    let delivery = Delivery::Excluded;
    let ending = Ending::Transient { error: "refused".into(), delivery, wait: Duration::ZERO, scope: Scope::Network };
    engine.finish(&key("a"), ending, at(0), 0.0);
    assert!(engine.gate().is_unreachable());
    engine.finish(&key("b"), accepted(), at(0), 0.0);
    assert_eq!(calls(&mut engine, at(0)), ["a"], "it was not the API's after all");
}

#[test]
fn a_bare_429_holds_its_service_and_a_second_one_all() {
    let mut engine = engine(Pace::default(), [applied("a", "1"), applied("b", "1"), applied("c", "1")]);
    engine.observe(folder([("a", "2"), ("b", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
    let bare = || Ending::Limited { error: "slow down".into(), wait: Duration::from_secs(60), told: false };
    engine.finish(&key("a"), bare(), at(0), JITTER);
    assert_eq!(engine.gate().limited(at(0)), None);
    engine.observe(folder([("a", "2"), ("b", "2"), ("c", "2")]), at(1));
    assert_eq!(calls(&mut engine, at(1)), ["c"]);
    engine.finish(&key("b"), bare(), at(2), JITTER);
    assert!(engine.gate().limited(at(3)).is_some());
}

#[test]
fn a_read_before_a_lost_request_has_had_its_time_proves_nothing_unless_it_shows_the_content() {
    let mut engine = reading_first([applied("web", "1")]);
    engine.observe(folder([("web", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), transient(Delivery::Unknown { until: at(35) }), at(0), JITTER);
    assert_eq!(engine.next_call(at(1), 0).unwrap().work, Work::Decide(Cause::InDoubt), "what is there ends the doubt");
    engine.finish(&key("web"), differs(), at(2), JITTER);
    assert_eq!(engine.phase(&key("web")), Some(Phase::Settling { until: at(35) }));
    assert_eq!(calls(&mut engine, at(34)), [""; 0]);
    assert_eq!(engine.next_wake(at(34)), Some(at(35)));
    assert_eq!(engine.next_call(at(35), 0).unwrap().work, Work::Decide(Cause::InDoubt));
    engine.finish(&key("web"), differs(), at(36), JITTER);
    assert_eq!(engine.next_call(at(36), 0).unwrap().work, Work::Send(Cause::InDoubt));
}

#[test]
fn newer_content_waits_for_no_lost_request_and_is_verified_after_its_time() {
    let mut engine = reading_first([applied("web", "1")]);
    engine.observe(folder([("web", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), transient(Delivery::Unknown { until: at(35) }), at(0), JITTER);
    engine.observe(folder([("web", "3")]), at(1));
    assert_eq!(engine.next_call(at(1), 0).unwrap().work, Work::Decide(Cause::InDoubt));
    engine.finish(&key("web"), differs(), at(2), JITTER);
    assert_eq!(engine.next_call(at(2), 0).unwrap().work, Work::Send(Cause::InDoubt), "at once");
    engine.finish(&key("web"), accepted(), at(3), JITTER);
    assert!(!engine.is_settled());
    assert_eq!(calls(&mut engine, at(34)), [""; 0]);
    assert_eq!(
        engine.next_call(at(35), 0).unwrap().work,
        Work::Decide(Cause::InDoubt),
        "did the older one come after it?"
    );
    engine.finish(&key("web"), differs(), at(36), JITTER);
    assert_eq!(engine.next_call(at(36), 0).unwrap().work, Work::Send(Cause::InDoubt), "it did");
    engine.finish(&key("web"), accepted(), at(37), JITTER);
    assert!(engine.is_settled() && calls(&mut engine, at(100)).is_empty());
}

fn with_command(name: &str, command: &str) -> Desired {
    let docker = crate::model::Docker::new(crate::model::DockerConfig::CustomCommand, None, Some(command.to_owned()));
    let external = External { credentials: None, image_path: ImagePath::new("nginx:1").unwrap() };
    let update = DeploymentUpdate::External { docker: Some(docker.unwrap()), external };
    Desired::new(&key(name), update, Policy::default(), Place { file: "a.yaml".into(), line: 1 })
}

fn lacks_command() -> Ending {
    let path = "docker.customCommand".to_owned();
    let change = Change { path, from: None, to: Some("y".to_owned()) };
    Ending::Read(Reading { differences: [change].into(), ..Reading::default() })
}

#[test]
fn a_part_that_is_not_in_effect_is_sent_alone_once_and_then_left_alone() {
    for drift in [DriftMode::Report, DriftMode::Correct] {
        let mut engine = watching(drift, [applied("web", "0")]);
        engine.observe(BTreeMap::from([(key("web"), with_command("web", "run"))]), at(0));
        assert_eq!(calls(&mut engine, at(0)), ["web"]);
        engine.finish(&key("web"), accepted(), at(0), JITTER);
        assert_eq!(engine.next_wake(at(0)), Some(at(10)), "its read comes first in its turn");
        let call = engine.next_call(at(10), 0).unwrap();
        assert!(call.work == Work::Watch && call.fresh);
        engine.finish(&key("web"), lacks_command(), at(10), JITTER);
        assert_eq!(engine.standing(&key("web"), at(10)).unwrap().effect, Effect::Missing);
        assert_eq!(engine.next_call(at(10), 0).unwrap().work, Work::Send(Cause::NotInEffect));
        engine.finish(&key("web"), accepted(), at(11), JITTER);
        let wake = engine.next_wake(at(11)).unwrap();
        assert_eq!(engine.next_call(wake, 0).unwrap().work, Work::Watch);
        engine.finish(&key("web"), lacks_command(), wake, JITTER);
        assert_eq!(engine.standing(&key("web"), wake).unwrap().effect, Effect::LeftAlone);
        let told = engine.take_events(at(9)).into_iter().filter(|event| matches!(event, Event::NotInEffect { .. }));
        assert_eq!(told.count(), 2);
        assert_eq!(calls(&mut engine, wake), [""; 0], "{drift:?}");
    }
}

#[test]
fn that_drift_is_gone_is_said_after_a_read_and_not_after_an_acceptance() {
    let mut engine = watching(DriftMode::Correct, [applied("web", "1")]);
    engine.observe(folder([("web", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), differs(), at(0), JITTER);
    let gone = |engine: &mut Engine| {
        engine.take_events(at(9)).into_iter().any(|event| matches!(event, Event::DriftGone { .. }))
    };
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), accepted(), at(1), JITTER);
    assert!(!gone(&mut engine));
    let wake = engine.next_wake(at(1)).unwrap();
    assert_eq!(calls(&mut engine, wake), ["web"]);
    engine.finish(&key("web"), same(), wake, JITTER);
    assert!(gone(&mut engine));
}

#[test]
fn a_suspension_follows_the_wall_clock_when_it_jumps() {
    let until = at(86_400);
    let mut suspended = folder([("web", "2")]);
    suspended.get_mut(&key("web")).unwrap().policy.suspend = Suspend::Yes { reason: None, until: Some(until) };
    let mut engine = reading_first([applied("web", "1")]);
    engine.observe(suspended, at(0));
    assert_eq!(calls(&mut engine, at(10)), [""; 0]);
    engine.set_wall_clock(at(86_400 - 50), at(10));
    assert_eq!(engine.next_wake(at(10)), Some(at(60)), "the clock was a day behind");
    engine.set_wall_clock(at(20), at(20));
    assert_eq!(calls(&mut engine, at(61)), [""; 0], "and is set back");
    engine.set_wall_clock(until, at(70));
    assert_eq!(calls(&mut engine, at(70)), ["web"]);
}

#[test]
fn looking_on_request_lets_one_call_through_a_pause() {
    let mut engine = engine(Pace::default(), []);
    engine.pause(at(3600), "rate limit".into());
    engine.observe(folder([("a", "1"), ("b", "1")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), [""; 0]);
    engine.retry_all(at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    engine.finish(&key("a"), accepted(), at(1), JITTER);
    assert_eq!(calls(&mut engine, at(2)), [""; 0]);
}

#[test]
fn what_somebody_else_sent_already_has_each_service_read_before_an_update_for_an_hour() {
    let mut engine = watching(DriftMode::Report, [applied("a", "1"), applied("b", "1")]);
    engine.observe(folder([("a", "1"), ("b", "1")]), at(0));
    let mut now = at(0);
    for shown in [same(), same(), differs(), differs()] {
        let call = engine.next_call(now, 0).unwrap();
        engine.finish(&call.key, shown, now, JITTER);
        now = engine.next_wake(now).unwrap();
    }
    let told =
        engine.take_events(at(9)).into_iter().filter(|event| matches!(event, Event::SomebodyElse { .. })).count();
    assert_eq!(told, 1, "two services within the hour");
}

#[test]
fn a_pass_checks_updates_of_several_parts_at_its_end_and_no_others() {
    let pace = Pace { watch_period: None, check_after: Duration::ZERO, reserve_percent: 0, ..Pace::default() };
    let rules = Rules { adopt: Adopt::ReadFirst, drift: DriftMode::Report };
    let mut engine = Engine::new(pace, rules, [applied("a", "0"), applied("b", "0")]);
    engine.note_quota(Window { limit: 1000, remaining: 900, resets_at: at(3600) });
    engine.observe(BTreeMap::from([(key("a"), with_command("a", "run")), (key("b"), desired("b", "2"))]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
    engine.finish(&key("a"), accepted(), at(0), JITTER);
    assert_eq!(calls(&mut engine, at(0)), ["a"], "one part of it may not be in effect");
    engine.finish(&key("b"), accepted(), at(0), JITTER);
    engine.finish(&key("a"), lacks_command(), at(1), JITTER);
    let call = engine.next_call(at(1), 0).unwrap();
    assert_eq!((call.key, call.work), (key("a"), Work::Send(Cause::NotInEffect)));
    engine.finish(&key("a"), accepted(), at(1), JITTER);
    assert!(!engine.is_settled());
    assert_eq!(engine.next_call(at(1), 0).unwrap().work, Work::Watch);
    engine.finish(&key("a"), same(), at(1), JITTER);
    assert!(engine.is_settled() && engine.next_call(at(1), 0).is_none());
}

#[test]
fn a_check_whose_read_fails_ends_a_pass_and_waits_for_its_turn_in_a_daemon() {
    let rules = Rules { adopt: Adopt::ReadFirst, drift: DriftMode::Report };
    for ending in [transient(Delivery::Excluded), rejected()] {
        let pass = Pace { watch_period: None, check_after: Duration::ZERO, reserve_percent: 0, ..Pace::default() };
        for (pace, read_again) in [(pass, false), (Pace::default(), true)] {
            let mut engine = Engine::new(pace, rules, [applied("a", "0")]);
            engine.note_quota(Window { limit: 1000, remaining: 900, resets_at: at(3600) });
            engine.observe(BTreeMap::from([(key("a"), with_command("a", "run"))]), at(0));
            assert_eq!(calls(&mut engine, at(0)), ["a"]);
            engine.finish(&key("a"), accepted(), at(0), JITTER);
            let checked = at(0) + pace.check_after;
            assert_eq!(calls(&mut engine, checked), ["a"], "one part of it may not be in effect");
            engine.finish(&key("a"), ending.clone(), checked, JITTER);
            assert!(engine.standing(&key("a"), checked).unwrap().unread.is_some());
            assert!(calls(&mut engine, checked + pace.check_after).is_empty(), "not read again at once");
            assert_eq!(engine.next_wake(checked), read_again.then(|| checked + pace.watch_period.unwrap()));
        }
    }
}

#[test]
fn a_bare_429_on_a_check_is_not_asked_again_at_once() {
    let pace = Pace { watch_period: None, check_after: Duration::ZERO, ..Pace::default() };
    let mut engine = engine(pace, [applied("web", "1")]);
    engine.observe(BTreeMap::from([(key("web"), with_command("web", "y"))]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), accepted(), at(0), JITTER);
    assert_eq!(engine.next_call(at(0), 0).unwrap().work, Work::Watch);
    let limited = Ending::Limited { error: "429".into(), wait: Duration::from_secs(60), told: false };
    engine.finish(&key("web"), limited, at(0), JITTER);
    assert!(engine.next_call(at(0), 0).is_none() && engine.is_settled());
}

#[test]
fn in_an_outage_a_probe_that_the_quota_forbids_gives_way_to_one_that_it_permits() {
    let mut engine = reading_first([applied("change", "1")]);
    engine.observe(folder([("change", "2"), ("new", "1")]), at(0));
    engine.note_quota(Window { limit: 1000, remaining: 900, resets_at: at(3600) });
    assert_eq!(calls(&mut engine, at(0)), ["change", "new"]);
    engine.finish(&key("change"), outage(), at(0), 0.0);
    let Ending::Transient { error, wait, scope, .. } = outage() else { unreachable!() };
    let unread = Ending::Transient { error, delivery: Delivery::Excluded, wait, scope };
    engine.finish(&key("new"), unread, at(0), 0.0);
    assert!(engine.gate().is_unreachable());
    engine.observe(folder([("change", "3"), ("new", "1")]), at(0));
    engine.note_quota(Window { limit: 1000, remaining: 50, resets_at: at(3600) });
    let wake = engine.next_wake(at(0)).unwrap();
    assert!(wake < at(5), "{wake}");
    assert_eq!(calls(&mut engine, wake), ["change"], "the read of the new one waits for the window");
}

#[test]
fn a_block_is_probed_by_one_call_whatever_its_kind() {
    let mut engine = watching(DriftMode::Report, [applied("a", "1"), applied("b", "1")]);
    engine.observe(folder([("a", "1"), ("b", "1")]), at(0));
    assert_eq!(engine.next_call(at(0), 0).unwrap().work, Work::Watch);
    engine.finish(&key("a"), Ending::Denied { error: "401".into() }, at(0), JITTER);
    let probe = engine.next_call(at(400), 0).unwrap();
    assert_eq!(probe.work, Work::Watch);
    engine.observe(folder([("a", "2"), ("b", "2")]), at(400));
    assert!(engine.next_call(at(400), 1).is_none(), "a change waits for the read that probes");
    engine.finish(&probe.key, differs(), at(401), JITTER);
    assert!(engine.next_call(at(401), 0).is_some());
}

#[test]
fn what_all_calls_wait_for_is_told_when_it_begins_changes_and_ends_however_it_ends() {
    let told = |engine: &mut Engine, now| {
        let events = engine.take_events(now).into_iter();
        let word = |event| match event {
            Event::Blocked { block, .. } => Some(format!("{block:?}")),
            Event::Limited { .. } => Some("Limited".to_owned()),
            Event::Open => Some("Open".to_owned()),
            _ => None,
        };
        events.filter_map(word).collect::<Vec<_>>()
    };
    let mut engine = engine(Pace::default(), [applied("a", "1"), applied("b", "1")]);
    engine.observe(folder([("a", "2"), ("b", "2")]), at(0));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
    engine.finish(&key("a"), Ending::Unrecorded { error: "disk full".into() }, at(0), JITTER);
    assert_eq!(told(&mut engine, at(0)), ["Unwritable"]);
    // One block ends and another begins before anybody asks.
    engine.ledger_was_written();
    engine.finish(&key("b"), Ending::Denied { error: "401".into() }, at(1), JITTER);
    assert_eq!(told(&mut engine, at(1)), ["Denied"]);
    engine.token_replaced();
    assert_eq!(told(&mut engine, at(1)), ["Open"], "a new token is enough");
    engine.pause(at(60), "429".into());
    assert_eq!(told(&mut engine, at(2)), ["Limited"]);
    assert!(told(&mut engine, at(59)).is_empty());
    assert_eq!(told(&mut engine, at(60)), ["Open"], "time ended it");
}

fn depending<const N: usize>(services: [(&str, &str, &[&str]); N]) -> BTreeMap<ServiceKey, Desired> {
    let service = |(name, tag, on): (&str, &str, &[&str])| {
        let depends_on = on.iter().map(|name| key(name)).collect();
        (key(name), Desired { policy: Policy { depends_on, ..Policy::default() }, ..desired(name, tag) })
    };
    services.map(service).into()
}

#[test]
fn a_service_is_sent_only_after_what_it_depends_on_has_what_its_manifest_says() {
    let mut engine = reading_first([applied("db", "1"), applied("api", "1"), applied("web", "1")]);
    let folder = |tag: &str| depending([("db", tag, &[]), ("api", tag, &["db"]), ("web", tag, &["api", "db"])]);
    engine.observe(folder("1"), at(0));
    assert!(calls(&mut engine, at(0)).is_empty(), "what nobody changed waits for nothing");
    engine.observe(folder("2"), at(1));
    assert_eq!(calls(&mut engine, at(1)), ["db"]);
    let held = |engine: &Engine, name: &str| engine.standing(&key(name), at(1)).unwrap().held_by.len();
    assert_eq!((held(&engine, "api"), held(&engine, "web")), (1, 2));
    assert_eq!(engine.standing(&key("api"), at(1)).unwrap().state, ServiceState::Held);
    // A refusal holds all that depends on it, and a fix overtakes.
    engine.finish(&key("db"), rejected(), at(2), JITTER);
    assert!(calls(&mut engine, at(2)).is_empty());
    engine.observe(folder("3"), at(3));
    assert_eq!(calls(&mut engine, at(3)), ["db"]);
    engine.finish(&key("db"), accepted(), at(4), JITTER);
    assert_eq!((calls(&mut engine, at(4)), held(&engine, "web")), (vec!["api".to_owned()], 1));
    engine.finish(&key("api"), accepted(), at(5), JITTER);
    assert_eq!(calls(&mut engine, at(5)), ["web"]);
}

#[test]
fn what_is_suspended_or_has_no_manifest_holds_what_depends_on_it_unless_the_gate_is_ignored() {
    let mut engine = reading_first([applied("db", "1"), applied("web", "1")]);
    let mut folder = depending([("db", "1", &[]), ("web", "2", &["db"])]);
    folder.get_mut(&key("db")).unwrap().policy.suspend = Suspend::Yes { reason: None, until: None };
    engine.observe(folder.clone(), at(0));
    assert!(calls(&mut engine, at(0)).is_empty());
    folder.remove(&key("db"));
    engine.observe(folder.clone(), at(1));
    assert!(calls(&mut engine, at(1)).is_empty());
    folder.get_mut(&key("web")).unwrap().policy.gate = DependencyGate::Ignore;
    engine.observe(folder, at(2));
    assert_eq!(calls(&mut engine, at(2)), ["web"]);
}

fn frozen(name: Option<&str>, until: i64) -> Closures {
    let (reason, by) = ("sale".into(), "kim".into());
    let freezes = vec![Freeze { service: name.map(key), reason, by, at: at(0), until: Some(at(until)) }];
    Closures { freezes, ..Closures::default() }
}

#[test]
fn what_is_frozen_is_held_and_goes_in_its_newest_form_when_it_opens() {
    let mut engine = engine(Pace::default(), [applied("web", "1"), applied("api", "1")]);
    engine.observe(folder([("web", "2"), ("api", "2")]), at(0));
    assert!(engine.set_closures(frozen(Some("web"), 60), at(0)));
    assert_eq!(calls(&mut engine, at(0)), ["api"]);
    engine.finish(&key("api"), accepted(), at(1), JITTER);
    let standing = engine.standing(&key("web"), at(1)).unwrap();
    assert_eq!((standing.state, standing.until), (ServiceState::Held, Some(at(60))));
    assert!(engine.is_settled(), "nothing is waited for");
    engine.observe(folder([("web", "3"), ("api", "2")]), at(2));
    assert_eq!(calls(&mut engine, at(59)), [""; 0]);
    assert_eq!(engine.next_wake(at(59)), Some(at(60)));
    let call = engine.next_call(at(60), 0).unwrap();
    assert_eq!(call.digest, desired("web", "3").digest);
}

#[test]
fn a_freeze_ends_waits_and_queues_and_a_thaw_begins_them_anew() {
    let mut engine = engine(Pace::default(), []);
    engine.observe(folder([("web", "1"), ("api", "1")]), at(0));
    assert_eq!(engine.next_call(at(0), 0).unwrap().key, key("api"));
    engine.finish(&key("api"), transient(Delivery::Excluded), at(1), JITTER);
    engine.set_closures(frozen(None, 3600), at(1));
    assert_eq!(calls(&mut engine, at(100)), [""; 0]);
    // What is new is frozen too, and looked at for nothing else.
    engine.observe(folder([("web", "1"), ("api", "1"), ("new", "1")]), at(100));
    assert_eq!(calls(&mut engine, at(100)), [""; 0]);
    engine.set_closures(Closures::default(), at(101));
    assert_eq!(calls(&mut engine, at(101)), ["api", "new", "web"]);
}

#[test]
fn the_wall_clock_ends_a_freeze_though_it_jumps() {
    let mut engine = engine(Pace::default(), []);
    engine.observe(folder([("web", "1")]), at(0));
    engine.set_closures(frozen(None, 3600), at(0));
    assert_eq!(calls(&mut engine, at(1)), [""; 0]);
    engine.set_wall_clock(at(3600), at(2));
    assert_eq!(calls(&mut engine, at(2)), ["web"]);
}

/// No update before a time, by the wall clock; drift is corrected otherwise.
fn closed_until(until: i64) -> Closures {
    let end = at(until).to_zoned_datetime(jiff::tz::TimeZone::UTC);
    let span = format!("1900-01-01..{}", end.strftime("%Y-%m-%dT%H:%M:%S")).parse().unwrap();
    let (effect, zone) = (WindowEffect::Deny, jiff::tz::TimeZone::UTC);
    let rollbacks = Rollbacks::Send;
    let window = ChangeWindow { effect, spans: vec![span], zone, services: Vec::new(), rollbacks, reason: None };
    Closures { windows: Windows::new(vec![window]).unwrap(), ..Closures::default() }
}

#[test]
fn a_window_holds_what_is_due_and_lets_the_newest_go_when_it_opens() {
    let mut engine = engine(Pace::default(), [applied("web", "1")]);
    engine.set_closures(closed_until(3600), at(0));
    engine.observe(folder([("web", "2")]), at(0));
    let standing = engine.standing(&key("web"), at(1)).unwrap();
    assert_eq!((standing.state, standing.until), (ServiceState::Held, Some(at(3600))));
    assert_eq!(standing.held_by[0].kind, HoldKind::Window);
    engine.observe(folder([("web", "3")]), at(2));
    assert_eq!(calls(&mut engine, at(3599)), [""; 0]);
    assert_eq!(engine.next_wake(at(3599)), Some(at(3600)), "it sleeps until then");
    assert_eq!(engine.next_call(at(3600), 0).unwrap().digest, desired("web", "3").digest);
}

#[test]
fn a_window_opens_by_the_wall_clock_wherever_that_jumps() {
    let mut engine = engine(Pace::default(), [applied("web", "1")]);
    engine.set_closures(closed_until(3600), at(0));
    engine.observe(folder([("web", "2")]), at(0));
    // The clock is set back: an hour more. Then it is set right.
    engine.set_wall_clock(at(-3600), at(10));
    assert_eq!(calls(&mut engine, at(3601)), [""; 0]);
    assert_eq!(engine.next_wake(at(3601)), Some(at(7210)));
    engine.set_wall_clock(at(3602), at(3602));
    assert_eq!(calls(&mut engine, at(3602)), ["web"]);
}

#[test]
fn a_window_holds_corrections_of_drift_and_no_reads() {
    let pace = Pace { watch_period: Some(Duration::from_secs(60)), ..Pace::default() };
    let rules = Rules { adopt: Adopt::ReadFirst, drift: DriftMode::Correct };
    let mut engine = Engine::new(pace, rules, [applied("web", "1")]);
    engine.set_closures(closed_until(3600), at(0));
    engine.observe(folder([("web", "1")]), at(0));
    let read = engine.next_call(at(1), 0).unwrap();
    assert_eq!(read.work, Work::Watch);
    engine.finish(&read.key, differs(), at(1), JITTER);
    assert_eq!(engine.standing(&key("web"), at(1)).unwrap().state, ServiceState::Held);
    let again = engine.next_call(at(121), 0).unwrap();
    assert_eq!(again.work, Work::Watch, "it is read all the same");
    engine.finish(&again.key, differs(), at(121), JITTER);
    // What was seen may be long ago: it is read once more, and then corrected.
    let read = engine.next_call(at(3600), 0).unwrap();
    engine.finish(&read.key, differs(), at(3601), JITTER);
    assert_eq!(engine.next_call(at(3601), 0).unwrap().work, Work::Send(Cause::Drifted));
}

/// It is asked whose a rollout is, and an older API does not say.
fn cannot_list_deployments(engine: &mut Engine, service: &str, now: Timestamp) {
    assert_eq!(engine.next_look(now, 0), Some(Look::Deployments(key(service))));
    engine.looked(Looked::Nothing { error: "404".to_owned(), refused: true }, now);
}

#[test]
fn what_depends_on_a_rollout_goes_when_that_completed_and_not_when_it_failed() {
    for (stage, goes) in [(RolloutStage::Completed, true), (RolloutStage::Failed, false)] {
        let pace = Pace { follow: Some(Follow::DEFAULT), ..Pace::default() };
        let rules = Rules { adopt: Adopt::ReadFirst, drift: DriftMode::Off };
        let mut engine = Engine::new(pace, rules, [applied("db", "1"), applied("web", "1")]);
        engine.observe(depending([("db", "2", &[]), ("web", "2", &["db"])]), at(0));
        assert_eq!(calls(&mut engine, at(0)), ["db"]);
        let ending = Ending::Accepted { shown: None, bare: false, at: Some(at(1)), status: None };
        engine.finish(&key("db"), ending, at(1), JITTER);
        assert!(calls(&mut engine, at(1)).is_empty(), "it was accepted, and does not run yet");
        assert!(engine.awaits_dependencies(at(1)));
        let status = DeploymentStatus { stage, scaling: false, since: Some(at(30)) };
        engine.saw(&key("db"), Some(status), None, at(31));
        if !goes {
            cannot_list_deployments(&mut engine, "db", at(31));
        }
        assert_eq!(calls(&mut engine, at(31)), if goes { vec!["web".to_owned()] } else { vec![] });
        assert!(!engine.awaits_dependencies(at(31)));
    }
}

#[test]
fn the_end_of_a_suspension_lets_go_what_depends_on_the_service_though_nothing_is_sent_for_it() {
    let mut engine = reading_first([applied("db", "1"), applied("web", "1")]);
    let mut folder = depending([("db", "1", &[]), ("web", "2", &["db"])]);
    folder.get_mut(&key("db")).unwrap().policy.suspend = Suspend::Yes { reason: None, until: Some(at(60)) };
    engine.observe(folder, at(0));
    assert!(calls(&mut engine, at(59)).is_empty());
    assert_eq!(calls(&mut engine, at(60)), ["web"]);
}

#[test]
fn what_waits_for_a_rollout_that_failed_before_a_restart_goes_when_that_ended_well_after_all() {
    for state in [RolloutState::Failed, RolloutState::TimedOut] {
        let pace = Pace { follow: Some(Follow::DEFAULT), ..Pace::default() };
        let rules = Rules { adopt: Adopt::ReadFirst, drift: DriftMode::Off };
        let mut engine = Engine::new(pace, rules, [applied("db", "2"), applied("web", "1")]);
        let rollout = Rollout { state, ..Rollout::accepted(desired("db", "2").digest, at(0), Some(at(0))) };
        engine.recall(&key("db"), Memory { rollout: Some(rollout), ..Memory::default() }, at(86_400));
        engine.observe(depending([("db", "2", &[]), ("web", "2", &["db"])]), at(86_400));
        assert!(calls(&mut engine, at(86_400)).is_empty());
        assert!(engine.awaits_dependencies(at(86_400)), "a pass waits for one look");
        let look = engine.next_look(at(86_400), 0).expect("is due");
        assert!(matches!(look, Look::List { .. }));
        let status = DeploymentStatus { stage: RolloutStage::Completed, scaling: false, since: Some(at(30)) };
        engine.looked(Looked::Page { services: vec![("db".to_owned(), Some(status))], next: None }, at(86_401));
        cannot_list_deployments(&mut engine, "db", at(86_401));
        assert_eq!(calls(&mut engine, at(86_401)), ["web"]);
        assert_eq!(engine.next_look_wake(at(86_401)), None, "nothing is looked at any more");
    }
}

/// While the API is unreachable, changed content is read first, and reads wait for nothing that updates wait for.
#[test]
fn what_waits_for_a_dependency_when_an_outage_ends_goes_after_it_and_nothing_breaks() {
    let services = [("d", "1"), ("s", "1"), ("t", "1"), ("x", "1")];
    let mut engine = engine(Pace::default(), services.map(|(name, tag)| applied(name, tag)));
    let both = |d: &'static str, s: &'static str| {
        depending([("d", d, &[][..]), ("s", s, &["d"]), ("t", s, &["d"]), ("x", d, &[])])
    };
    engine.observe(both("2", "1"), at(0));
    let down = || Ending::Transient {
        error: "503".into(),
        delivery: Delivery::Excluded,
        wait: Duration::ZERO,
        scope: Scope::Network,
    };
    while let Some(call) = engine.next_call(at(0), 0) {
        engine.finish(&call.key, down(), at(0), JITTER);
    }
    engine.observe(both("2", "2"), at(1));
    let (mut now, mut sent) = (at(1), Vec::new());
    for _ in 0..200 {
        while let Some(call) = engine.next_call(now, engine.in_flight() + engine.watching) {
            let ending = match call.work {
                Work::Send(_) => {
                    sent.push(call.key.service.to_string());
                    Ending::Accepted { shown: None, bare: false, at: Some(now), status: None }
                }
                Work::Decide(_) | Work::Watch => differs(),
            };
            engine.finish(&call.key, ending, now, JITTER);
        }
        let Some(next) = engine.next_wake(now).filter(|_| !engine.is_settled()) else { break };
        now = next;
    }
    assert!(engine.is_settled(), "{sent:?}");
    let place = |name: &str| sent.iter().position(|sent| sent == name).unwrap();
    assert!(place("d") < place("s") && place("d") < place("t"), "{sent:?}");
}

/// Two services that somebody else changes, one after the other.
fn meets_somebody(follow: Option<Follow>) -> Engine {
    let rules = Rules { adopt: Adopt::ReadFirst, drift: DriftMode::Report };
    let mut engine = Engine::new(Pace { follow, ..Pace::default() }, rules, [applied("api", "1"), applied("web", "1")]);
    engine.observe(folder([("api", "1"), ("web", "1")]), at(0));
    for (now, ending) in [(0, same()), (150, same()), (600, differs()), (750, differs())] {
        let call = engine.next_call(at(now), 0).expect("its turn to be read");
        engine.finish(&call.key, ending, at(now), JITTER);
    }
    engine
}

fn strangers(engine: &mut Engine, now: i64) -> Vec<(ServiceKey, Option<OvertakenBy>)> {
    let events = engine.take_events(at(now)).into_iter();
    events
        .filter_map(|event| if let Event::SomebodyElse { key, by, .. } = event { Some((key, by)) } else { None })
        .collect()
}

#[test]
fn who_changes_services_beside_us_is_asked_once_and_told_by_name() {
    let mut engine = meets_somebody(Some(Follow::DEFAULT));
    assert_eq!(strangers(&mut engine, 750), [], "it is told with the name");
    assert_eq!(engine.next_look(at(750), 0), Some(Look::Deployments(key("web"))));
    let jane = DeploymentEntry {
        id: "d9".to_owned(),
        created_at: at(740),
        image: Some("nginx:9".to_owned()),
        tag: None,
        sha: None,
        commit: None,
        user: Some("jane".to_owned()),
    };
    engine.looked(Looked::Deployments(vec![jane]), at(751));
    let by = OvertakenBy { user: Some("jane".to_owned()), at: at(740) };
    assert_eq!(strangers(&mut engine, 751), [(key("web"), Some(by))]);
    assert_eq!(engine.next_look(at(752), 0), None, "once");
    engine.observe(folder([("api", "2"), ("web", "1")]), at(752));
    assert!(matches!(engine.next_call(at(752), 0).unwrap().work, Work::Decide(Cause::Changed)), "it is read first");
}

#[test]
fn somebody_whose_name_cannot_be_asked_for_is_told_all_the_same_and_at_once() {
    let mut engine = meets_somebody(None);
    assert_eq!(strangers(&mut engine, 750), [(key("web"), None)]);
    for looked in [Looked::Nothing { error: "403".to_owned(), refused: true }, Looked::Deployments(Vec::new())] {
        let mut engine = meets_somebody(Some(Follow::DEFAULT));
        engine.next_look(at(750), 0).expect("it is asked");
        engine.looked(looked, at(751));
        assert_eq!(strangers(&mut engine, 751), [(key("web"), None)]);
    }
    let mut engine = meets_somebody(Some(Follow::DEFAULT));
    engine.note_quota(Window { limit: 100, remaining: 5, resets_at: at(3600) });
    assert_eq!(engine.next_look(at(751), 0), None);
    assert_eq!(strangers(&mut engine, 751), [(key("web"), None)], "no call is left for it");
}
