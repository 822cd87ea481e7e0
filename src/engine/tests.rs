use super::*;
use crate::model::{External, ImagePath, Policy, Suspend};

const JITTER: f64 = 1.0;

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

fn folder<const N: usize>(services: [(&str, &str); N]) -> BTreeMap<ServiceKey, Desired> {
    services.map(|(name, tag)| (key(name), desired(name, tag))).into()
}

fn applied(name: &str, tag: &str) -> (ServiceKey, Known) {
    (key(name), Known::Applied(Applied { digest: desired(name, tag).digest }))
}

fn transient(delivery: Delivery) -> Ending {
    Ending::Transient { error: "broken".to_owned(), delivery, wait: Duration::ZERO }
}

fn rejected() -> Ending {
    Ending::Rejected { error: "no such service".to_owned(), delivery: Delivery::Excluded }
}

/// Names of the calls that begin at a time.
fn calls(engine: &mut Engine, now: Timestamp) -> Vec<String> {
    std::iter::from_fn(|| engine.next_call(now)).map(|call| call.key.service.to_string()).collect()
}

#[test]
fn only_what_differs_from_what_was_applied_is_called() {
    let mut engine = Engine::new(Pace::default(), [applied("same", "1"), applied("other", "1"), applied("gone", "1")]);
    assert_eq!(calls(&mut engine, at(0)), [""; 0], "nothing before the folder was read");
    engine.observe(folder([("same", "1"), ("other", "2"), ("new", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["new", "other"]);
    for name in ["new", "other"] {
        engine.finish(&key(name), Ending::Accepted, at(1), JITTER);
    }
    assert!(engine.is_settled());
    engine.observe(folder([("same", "1"), ("other", "2"), ("new", "1")]));
    assert_eq!(calls(&mut engine, at(2)), [""; 0]);
    assert_eq!(engine.next_wake(at(2)), None);
}

#[test]
fn a_suspended_service_is_not_called_and_resumes() {
    let mut engine = Engine::new(Pace::default(), []);
    let mut suspended = folder([("web", "1")]);
    suspended.get_mut(&key("web")).unwrap().policy.suspend = Suspend::Yes { reason: None, until: None };
    engine.observe(suspended);
    assert_eq!(calls(&mut engine, at(0)), [""; 0]);
    engine.observe(folder([("web", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
}

#[test]
fn one_call_in_flight_for_a_service_and_the_newest_content_goes_next() {
    let mut engine = Engine::new(Pace::default(), []);
    engine.observe(folder([("web", "1")]));
    assert_eq!(engine.next_call(at(0)).unwrap().digest, desired("web", "1").digest);
    engine.observe(folder([("web", "2")]));
    engine.observe(folder([("web", "3")]));
    assert!(engine.next_call(at(1)).is_none());
    engine.finish(&key("web"), Ending::Accepted, at(2), JITTER);
    let call = engine.next_call(at(2)).unwrap();
    assert_eq!((call.digest, call.cause), (desired("web", "3").digest, Cause::Changed));
}

#[test]
fn content_that_goes_back_while_in_flight_is_sent_back() {
    let mut engine = Engine::new(Pace::default(), [applied("web", "1")]);
    engine.observe(folder([("web", "2")]));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.observe(folder([("web", "1")]));
    engine.finish(&key("web"), Ending::Accepted, at(1), JITTER);
    assert_eq!(engine.next_call(at(1)).unwrap().digest, desired("web", "1").digest);
}

#[test]
fn concurrency_bounds_the_calls_in_flight() {
    let mut engine = Engine::new(Pace { concurrency: 2, ..Pace::default() }, []);
    engine.observe(folder([("a", "1"), ("b", "1"), ("c", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
    engine.finish(&key("a"), Ending::Accepted, at(1), JITTER);
    assert_eq!(calls(&mut engine, at(1)), ["c"]);
}

#[test]
fn a_transient_failure_backs_off_without_end_and_others_go_on() {
    let mut engine = Engine::new(Pace { concurrency: 1, ..Pace::default() }, []);
    engine.observe(folder([("bad", "1"), ("good", "1")]));
    let mut now = at(0);
    for (failed, wait) in (1..).zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]) {
        let call = engine.next_call(now).unwrap();
        assert_eq!((call.key, call.attempt), (key("bad"), failed));
        engine.finish(&key("bad"), transient(Delivery::Excluded), now, JITTER);
        if failed == 1 {
            assert_eq!(calls(&mut engine, now), ["good"]);
            engine.finish(&key("good"), Ending::Accepted, now, JITTER);
        }
        assert!(engine.next_call(now).is_none());
        assert!(!engine.is_settled());
        let wake = engine.next_wake(now).unwrap();
        assert_eq!(wake, later(now, Duration::from_secs(wait)));
        now = wake;
    }
}

#[test]
fn a_retry_without_room_wakes_nobody_until_a_call_ends() {
    let mut engine = Engine::new(Pace { concurrency: 1, ..Pace::default() }, []);
    engine.observe(folder([("a", "1"), ("b", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    engine.finish(&key("a"), transient(Delivery::Excluded), at(0), JITTER);
    assert_eq!(calls(&mut engine, at(0)), ["b"]);
    assert_eq!(calls(&mut engine, at(5)), [""; 0]);
    assert_eq!(engine.next_wake(at(5)), None);
    engine.finish(&key("b"), Ending::Accepted, at(6), JITTER);
    assert_eq!(calls(&mut engine, at(6)), ["a"]);
}

#[test]
fn the_api_may_ask_for_a_longer_wait() {
    let mut engine = Engine::new(Pace::default(), []);
    engine.observe(folder([("web", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    let wait = Duration::from_secs(90);
    let ending = Ending::Transient { error: "503".to_owned(), delivery: Delivery::Unknown, wait };
    engine.finish(&key("web"), ending, at(0), JITTER);
    assert_eq!(engine.next_wake(at(0)), Some(at(90)));
}

#[test]
fn new_content_ends_a_wait_at_once_and_starts_anew() {
    for ending in [transient(Delivery::Excluded), rejected()] {
        let mut engine = Engine::new(Pace::default(), []);
        engine.observe(folder([("web", "1")]));
        assert_eq!(calls(&mut engine, at(0)), ["web"]);
        engine.finish(&key("web"), ending, at(0), JITTER);
        engine.observe(folder([("web", "1")]));
        assert!(engine.next_call(at(0)).is_none(), "the same content ends no wait");
        engine.observe(folder([("web", "2")]));
        let call = engine.next_call(at(0)).unwrap();
        assert_eq!((call.digest, call.attempt), (desired("web", "2").digest, 1));
    }
}

#[test]
fn fresh_content_goes_before_retries() {
    let mut engine = Engine::new(Pace { concurrency: 1, ..Pace::default() }, []);
    engine.observe(folder([("a", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    engine.finish(&key("a"), transient(Delivery::Excluded), at(0), JITTER);
    engine.observe(folder([("a", "1"), ("z", "1")]));
    let first = engine.next_call(at(10)).unwrap();
    assert_eq!(first.key, key("z"));
}

#[test]
fn an_unknown_delivery_leaves_the_service_in_doubt() {
    let mut engine = Engine::new(Pace::default(), [applied("web", "1")]);
    engine.observe(folder([("web", "2")]));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), transient(Delivery::Unknown), at(0), JITTER);
    // Back to what was applied: still a call, because the other content may be live.
    engine.observe(folder([("web", "1")]));
    let call = engine.next_call(at(0)).unwrap();
    assert_eq!((call.digest, call.cause), (desired("web", "1").digest, Cause::InDoubt));
}

#[test]
fn content_that_goes_back_after_an_unsent_call_needs_none() {
    let mut engine = Engine::new(Pace::default(), [applied("web", "1")]);
    engine.observe(folder([("web", "2")]));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), transient(Delivery::Excluded), at(0), JITTER);
    engine.observe(folder([("web", "1")]));
    assert_eq!(calls(&mut engine, at(1000)), [""; 0]);
    assert_eq!(engine.phase(&key("web")), Some(Phase::Resting));
}

#[test]
fn a_refused_update_stalls_and_is_tried_again_slowly() {
    let mut engine = Engine::new(Pace::default(), []);
    engine.observe(folder([("web", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["web"]);
    engine.finish(&key("web"), rejected(), at(0), JITTER);
    assert!(engine.is_settled());
    assert!(matches!(engine.phase(&key("web")), Some(Phase::Stalled { failed: 1, .. })));
    assert_eq!(engine.next_wake(at(0)), Some(at(600)));
    assert_eq!(calls(&mut engine, at(599)), [""; 0]);
    assert_eq!(calls(&mut engine, at(600)), ["web"]);
}

#[test]
fn a_rate_limit_pauses_all_calls_and_costs_no_attempt() {
    let mut engine = Engine::new(Pace { concurrency: 1, ..Pace::default() }, []);
    engine.observe(folder([("a", "1"), ("b", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    let limited = Ending::Limited { error: "too many".to_owned(), wait: Duration::from_secs(60) };
    engine.finish(&key("a"), limited, at(0), JITTER);
    assert_eq!(calls(&mut engine, at(59)), [""; 0]);
    assert_eq!(engine.next_wake(at(59)), Some(at(60)));
    assert!(engine.gate().limited(at(59)).is_some() && engine.gate().limited(at(60)).is_none());
    let (first, second) = (engine.next_call(at(60)).unwrap(), engine.next_call(at(60)));
    assert_eq!((first.key, first.attempt), (key("b"), 1));
    assert!(second.is_none());
    engine.finish(&key("b"), Ending::Accepted, at(60), JITTER);
    assert_eq!(engine.next_call(at(60)).unwrap().attempt, 1);
}

#[test]
fn a_refused_token_pauses_all_calls_and_lets_one_at_a_time_prove_it() {
    let mut engine = Engine::new(Pace::default(), []);
    engine.observe(folder([("a", "1"), ("b", "1"), ("c", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        engine.finish(&key(name), Ending::Denied { error: "no permission".to_owned() }, at(0), JITTER);
    }
    assert!(matches!(engine.gate().blocked(), Some((Block::Denied, _))));
    assert_eq!(engine.next_wake(at(0)), Some(at(60)));
    assert_eq!(calls(&mut engine, at(60)), ["a"]);
    // Denied again, for this one alone: the next minute tries another, which opens the gate.
    engine.finish(&key("a"), Ending::Denied { error: "no permission".to_owned() }, at(60), JITTER);
    assert_eq!(calls(&mut engine, at(120)), ["b"]);
    engine.finish(&key("b"), Ending::Accepted, at(120), JITTER);
    assert_eq!(calls(&mut engine, at(120)), ["c", "a"]);
}

#[test]
fn a_new_token_opens_the_gate_at_once() {
    let mut engine = Engine::new(Pace::default(), []);
    engine.observe(folder([("a", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    engine.finish(&key("a"), Ending::Denied { error: "unknown token".to_owned() }, at(0), JITTER);
    engine.token_replaced();
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
}

#[test]
fn a_ledger_that_cannot_be_written_pauses_all_calls() {
    let mut engine = Engine::new(Pace::default(), []);
    engine.observe(folder([("a", "1"), ("b", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
    for name in ["a", "b"] {
        engine.finish(&key(name), Ending::Unrecorded { error: "disk full".to_owned() }, at(0), JITTER);
    }
    assert_eq!(calls(&mut engine, at(4)), [""; 0]);
    assert_eq!(calls(&mut engine, at(5)), ["a"]);
    engine.finish(&key("a"), transient(Delivery::Excluded), at(5), JITTER);
    assert_eq!(calls(&mut engine, at(5)), ["b"], "a call that was made was recorded");
}

#[test]
fn a_full_disk_does_not_make_a_refused_token_forgotten() {
    let mut engine = Engine::new(Pace::default(), []);
    engine.observe(folder([("a", "1"), ("b", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
    engine.finish(&key("a"), Ending::Denied { error: "unknown token".to_owned() }, at(0), JITTER);
    engine.finish(&key("b"), Ending::Unrecorded { error: "disk full".to_owned() }, at(1), JITTER);
    assert!(matches!(engine.gate().blocked(), Some((Block::Denied, _))));
    assert_eq!(engine.next_wake(at(1)), Some(at(60)));
    assert_eq!(calls(&mut engine, at(59)), [""; 0]);
    assert_eq!(calls(&mut engine, at(60)), ["b"]);
    engine.finish(&key("b"), transient(Delivery::Excluded), at(60), JITTER);
    assert_eq!(calls(&mut engine, at(62)), ["a"], "the disk is well; the token is still to be proven, by one call");
}

#[test]
fn a_kept_pause_holds_before_the_first_call() {
    let mut engine = Engine::new(Pace::default(), []);
    engine.pause(at(30), "from before the restart".to_owned());
    engine.pause(at(10), "shorter".to_owned());
    engine.observe(folder([("a", "1")]));
    assert_eq!(calls(&mut engine, at(29)), [""; 0]);
    assert_eq!(engine.next_wake(at(29)), Some(at(30)));
    assert_eq!(calls(&mut engine, at(30)), ["a"]);
}

#[test]
fn a_manifest_that_goes_away_ends_its_wait_and_causes_no_call() {
    for ending in [transient(Delivery::Unknown), rejected()] {
        let mut engine = Engine::new(Pace::default(), []);
        engine.observe(folder([("web", "1")]));
        assert_eq!(calls(&mut engine, at(0)), ["web"]);
        engine.finish(&key("web"), ending, at(0), JITTER);
        engine.observe(folder([]));
        assert_eq!(calls(&mut engine, at(10_000)), [""; 0]);
        assert_eq!(engine.next_wake(at(0)), None);
    }
}

#[test]
fn looking_again_on_request_goes_past_backoff_and_stalled() {
    let mut engine = Engine::new(Pace::default(), []);
    engine.observe(folder([("a", "1"), ("b", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
    engine.finish(&key("a"), rejected(), at(0), JITTER);
    engine.finish(&key("b"), transient(Delivery::Excluded), at(0), JITTER);
    engine.retry_all();
    assert_eq!(calls(&mut engine, at(0)), ["a", "b"]);
}

#[test]
fn a_withdrawn_call_goes_back_without_a_trace() {
    let mut engine = Engine::new(Pace::default(), []);
    engine.observe(folder([("a", "1")]));
    assert_eq!(calls(&mut engine, at(0)), ["a"]);
    engine.finish(&key("a"), Ending::Withdrawn, at(0), JITTER);
    assert_eq!(engine.next_call(at(0)).unwrap().attempt, 1);
}
