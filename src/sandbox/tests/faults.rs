//! Each fault does what it says, to the calls that it is for.

use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use super::super::{Answer, Fault, Operation, Options, Storm, Wait};
use super::{Bench, Got, client_builder, eventually, image};

const WEB: &str = "/v1/projects/shop/services/web";

async fn bench() -> Bench {
    Bench::start(Options::default()).await
}

#[tokio::test]
async fn a_fault_meets_the_calls_that_it_is_for_and_no_more() {
    let bench = bench().await;
    let update = async |service: &str| bench.update(service, image("nginx:1")).await.status;
    bench.world.script(Fault::status(503).on(Operation::UpdateServiceDeployment).of("shop/web").skip(1).times(2));
    assert_eq!([update("web").await, update("api").await, update("web").await], [200, 200, 503]);
    assert_eq!(bench.get(WEB).await.status, 200);
    assert_eq!([update("web").await, update("web").await], [503, 200]);
    bench.world.script(Fault::status(500).always());
    assert_eq!([update("web").await, update("api").await], [500, 500]);
    bench.world.clear_faults();
    assert_eq!(update("web").await, 200);
    let names: Vec<_> = bench.world.calls().iter().flat_map(|call| call.faults.clone()).collect();
    assert_eq!(names, ["status"; 4]);
}

#[tokio::test]
async fn a_status_has_the_providers_shape_and_changes_nothing() {
    let bench = bench().await;
    bench
        .world
        .script(Fault::error(409, "CONFLICT", "busy", Some(serde_json::json!({"a": 1}))).with_header("x-more", "yes"));
    let got = bench.update("web", image("nginx:1")).await;
    let error = serde_json::json!({"status": 409, "id": "CONFLICT", "message": "busy", "details": {"a": 1}});
    assert_eq!((got.status, &got.json["error"], got.header("x-more")), (409, &error, Some("yes")));
    assert_eq!(bench.world.updates("shop/web").len(), 0);

    bench.world.script(Fault::status(502).after_carrying_out());
    assert_eq!(bench.update("web", image("nginx:1")).await.status, 502);
    let call = bench.world.calls().pop().unwrap();
    assert_eq!((call.accepted, call.answer), (true, Answer::Status(502)));
}

#[tokio::test]
async fn bodies_of_proxies_and_garbage_are_no_json() {
    let bench = bench().await;
    for (fault, status) in [(Fault::html(502), 502), (Fault::empty(504), 504), (Fault::garbage(), 200)] {
        let name = fault.name();
        bench.world.script(fault);
        let response = bench.try_send(Method::GET, WEB, None).await.unwrap();
        assert_eq!(response.status(), status, "{name}");
        let with_quota = response.headers().contains_key("x-ratelimit-limit");
        assert_eq!(with_quota, name == "garbage", "{name}");
        let bytes = response.bytes().await.unwrap();
        assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_err(), "{name}");
        assert_eq!(bytes.starts_with(b"<html>"), name == "html");
        assert_eq!(bytes.is_empty(), name == "empty");
    }
}

#[tokio::test]
async fn a_connection_is_dropped_before_or_after_the_update_is_accepted() {
    let bench = bench().await;
    for (fault, accepted) in [(Fault::drop(), false), (Fault::drop().after_carrying_out(), true)] {
        bench.world.script(fault);
        let path = format!("{WEB}/deployment");
        let error = bench.try_send(Method::POST, &path, Some(&image("nginx:1"))).await.unwrap_err();
        assert!(error.is_request(), "{error:?}");
        let call = bench.world.calls().pop().unwrap();
        assert_eq!((call.answer, call.accepted), (Answer::Dropped, accepted));
        assert_eq!(bench.world.updates("shop/web").len(), usize::from(accepted));
    }
    assert_eq!(bench.get(WEB).await.status, 200, "other connections go on");
}

#[tokio::test]
async fn a_truncated_answer_breaks_off_after_its_head() {
    let bench = bench().await;
    bench.world.script(Fault::truncated().after_carrying_out());
    let mut response = bench.try_send(Method::GET, WEB, None).await.unwrap();
    assert_eq!(response.status(), 200);
    let first = response.chunk().await.unwrap().expect("no part of the body came");
    assert!(first.starts_with(b"{\"data\":"));
    assert!(response.chunk().await.is_err(), "the body was whole");
    assert_eq!(bench.world.calls().pop().unwrap().faults, ["truncated"]);
}

#[tokio::test(start_paused = true)]
async fn a_delay_comes_before_the_call_takes_effect_or_after() {
    let bench = bench().await;
    let delay = Duration::from_secs(7);
    for (fault, at_once) in [(Fault::delay(delay), false), (Fault::delay(delay).after_carrying_out(), true)] {
        bench.world.script(fault);
        let before = bench.world.rollouts("shop/web");
        let start = Instant::now();
        let (got, took_effect) = tokio::join!(bench.update("web", image("nginx:1")), async {
            tokio::time::sleep(delay / 2).await;
            bench.world.rollouts("shop/web") > before
        });
        assert_eq!((got.status, took_effect), (200, at_once));
        assert!(start.elapsed() >= delay);
        assert_eq!(bench.world.rollouts("shop/web"), before + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_trickles_and_is_whole_in_the_end() {
    let bench = bench().await;
    let whole = bench.get(WEB).await.json;
    bench.world.script(Fault::slow_body(16, Duration::from_secs(1)));
    let start = Instant::now();
    let slow = bench.get(WEB).await.json;
    assert_eq!(slow, whole);
    let pieces = u64::try_from(whole.to_string().len().div_ceil(16)).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(pieces), "{:?} for {pieces} pieces", start.elapsed());
}

#[tokio::test]
async fn an_endless_body_goes_on_for_as_long_as_it_is_read() {
    let bench = bench().await;
    bench.world.script(Fault::endless());
    let mut response = bench.try_send(Method::GET, WEB, None).await.unwrap();
    let mut read = 0;
    while read < 8 << 20 {
        read += response.chunk().await.unwrap().expect("the body ended").len();
    }
    drop(response);
    assert_eq!(bench.get(WEB).await.status, 200);
}

#[tokio::test]
async fn a_gzip_bomb_is_small_on_the_wire_and_large_unpacked() {
    let bench = bench().await;
    bench.world.script(Fault::gzip_bomb().times(2));
    let packed = bench.try_send(Method::GET, WEB, None).await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert_eq!(packed.bytes().await.unwrap().len(), 1 << 20);
    let unpacking = client_builder().gzip(true).build().unwrap();
    let url = format!("{}{WEB}", bench.sandbox.url());
    let mut response = unpacking.get(url).bearer_auth("a-good-token").send().await.unwrap();
    let mut read = 0;
    while read < 64 << 20 {
        let piece = response.chunk().await.unwrap().expect("the body ended");
        assert!(piece.iter().all(|byte| *byte == 0));
        read += piece.len();
    }
}

#[tokio::test(start_paused = true)]
async fn a_scripted_429_says_when_to_come_back_in_each_way() {
    let bench = bench().await;
    let refused = async |wait: Wait| {
        bench.world.script(Fault::rate_limited(wait));
        let got = bench.update("web", image("nginx:1")).await;
        assert_eq!((got.status, &got.json["error"]["status"]), (429, &429.into()));
        got
    };
    let got = refused(Wait::Reset(17)).await;
    assert_eq!((got.header("x-ratelimit-reset"), got.header("x-ratelimit-remaining")), (Some("17"), Some("0")));
    assert_eq!(got.header("retry-after"), None);
    let got = refused(Wait::RetryAfter(18)).await;
    assert_eq!((got.header("retry-after"), got.header("x-ratelimit-reset")), (Some("18"), None));
    let got = refused(Wait::RetryDate(Duration::from_secs(90))).await;
    let date = DateTimeParser::new().parse_timestamp(got.header("retry-after").unwrap()).unwrap();
    let expected = bench.world.inner.clock.wall(Instant::now() + Duration::from_secs(90));
    assert!((expected.as_second() - date.as_second()).abs() <= 1, "{date} for {expected}");
    let got = refused(Wait::Unsaid).await;
    assert_eq!((got.header("retry-after"), got.header("x-ratelimit-reset")), (None, None));
    assert_eq!(bench.update("web", image("nginx:1")).await.status, 200);
    assert_eq!(bench.world.rollouts("shop/web"), 1);
}

#[tokio::test]
async fn a_redirect_names_another_address() {
    let bench = bench().await;
    bench.world.script(Fault::redirect("http://127.0.0.1:1/elsewhere"));
    let got = bench.update("web", image("nginx:1")).await;
    assert_eq!((got.status, got.header("location")), (307, Some("http://127.0.0.1:1/elsewhere")));
    assert_eq!(bench.world.updates("shop/web").len(), 0);
}

#[tokio::test]
async fn post_can_be_announced_to_end_and_be_gone() {
    let bench = bench().await;
    bench.world.script(Fault::deprecated());
    let got = bench.update("web", image("nginx:1")).await;
    assert_eq!(got.status, 200);
    assert!(got.header("deprecation").is_some() && got.header("sunset").is_some());
    assert_eq!(bench.get(WEB).await.header("deprecation"), None);
    for status in [404, 405, 410] {
        bench.world.clear_faults();
        bench.world.script(Fault::gone(status));
        assert_eq!(bench.update("web", image("nginx:2")).await.status, status);
        assert_eq!(bench.get(WEB).await.status, 200);
        let body = serde_json::json!({"deployment": {"instances": 1}});
        let patch = "/v1/projects/shop/services/deployment/web";
        assert_eq!(bench.send(Method::PATCH, patch, Some(&body)).await.status, 200);
    }
}

#[tokio::test]
async fn faults_that_add_to_an_answer_meet_one_call_together() {
    let bench = bench().await;
    bench.world.script(Fault::headers().with_header("x-one", "1").always());
    bench.world.script(Fault::delay(Duration::from_millis(1)));
    bench.world.script(Fault::status(500).after_carrying_out());
    bench.world.script(Fault::status(501).after_carrying_out());
    let got = bench.get(WEB).await;
    assert_eq!((got.status, got.header("x-one")), (500, Some("1")));
    assert_eq!(bench.world.calls()[0].faults, ["headers", "delay", "status"]);
    assert_eq!(bench.get(WEB).await.status, 501, "the second one waits for the next call");
}

#[tokio::test]
async fn a_late_update_takes_effect_though_nobody_waits_for_it() {
    let bench = bench().await;
    bench.world.script(Fault::late(Duration::from_millis(20)).on(Operation::UpdateServiceDeployment).times(2));
    bench.world.script(Fault::drop().on(Operation::UpdateServiceDeployment));
    let body = image("nginx:2");
    let update = bench.try_send(Method::POST, &format!("{WEB}/deployment"), Some(&body)).await;
    assert!(update.is_err(), "the answer is lost at once");
    assert!(bench.world.updates("shop/web").is_empty());
    eventually("it takes effect", || bench.world.updates("shop/web") == [body.clone()]).await;
    assert_eq!(bench.update("web", image("nginx:3")).await.status, 200, "who waits gets the answer");
    assert_eq!(bench.shown("web").await["imageUrl"], "docker.io/nginx:3");
}

#[tokio::test]
async fn a_lossy_update_leaves_how_the_service_starts() {
    let bench = bench().await;
    let docker = |text: &str| json!({"configType": "customCommand", "customCommand": text});
    bench.update("web", json!({"external": {"imagePath": "nginx:1"}, "docker": docker("one")})).await;
    bench.world.script(Fault::lossy().always());
    let both = json!({"external": {"imagePath": "nginx:2"}, "docker": docker("two")});
    assert_eq!(bench.update("web", both).await.json, json!({"data": {}}));
    let shown = bench.shown("web").await;
    assert_eq!((&shown["external"]["imagePath"], &shown["docker"]), (&json!("nginx:2"), &docker("one")));
    bench.update("web", json!({"docker": docker("two")})).await;
    assert_eq!(bench.shown("web").await["docker"], docker("two"), "alone it is taken");
}

#[tokio::test]
async fn an_answer_can_be_any_json_and_hide_the_quota() {
    let bench = Bench::start(Options { tells_quota: false, ..Options::default() }).await;
    assert_eq!(bench.get(WEB).await.header("x-ratelimit-limit"), None);
    bench.world.script(Fault::json(200, json!({"error": "no"})));
    let got = bench.get(WEB).await;
    assert_eq!((got.status, got.json), (200, json!({"error": "no"})));
    bench.world.script(Fault::rate_limited(Wait::Unsaid));
    assert_eq!(bench.get(WEB).await.header("retry-after"), None);
}

#[tokio::test]
async fn a_reset_can_be_a_unix_time() {
    let bench = bench().await;
    bench.world.script(Fault::rate_limited(Wait::ResetAt(Duration::from_secs(5))));
    let got = bench.get(WEB).await;
    let reset: i64 = got.header("x-ratelimit-reset").unwrap().parse().unwrap();
    assert!((0..=6).contains(&(reset - jiff::Timestamp::now().as_second())), "{reset}");
}

#[tokio::test]
async fn a_token_belongs_to_an_account_unless_the_api_is_old() {
    let bench = bench().await;
    let account = bench.get("/v1/auth").await.json["data"].clone();
    assert_eq!((&account["entityType"], &account["entityId"]), (&json!("team"), &json!("sandbox")));
    let bench = Bench::start(Options { account: None, ..Options::default() }).await;
    assert_eq!(bench.get("/v1/auth").await.json["error"]["status"], 404);
}

#[tokio::test]
async fn a_storm_of_one_seed_is_always_the_same() {
    let weather = async |seed| {
        let bench = bench().await;
        bench.world.storm(Storm::new(seed, 0.5));
        for _ in 0..60 {
            let _ = bench.try_send(Method::GET, WEB, None).await;
        }
        bench.world.clear_faults();
        assert_eq!(Got::of(bench.try_send(Method::GET, WEB, None).await.unwrap()).await.status, 200);
        bench.world.calls().into_iter().map(|call| call.faults).collect::<Vec<_>>()
    };
    let first = weather(1).await;
    let struck = first.iter().filter(|faults| !faults.is_empty()).count();
    assert!((15..=45).contains(&struck), "{struck} of 60 were struck");
    assert_eq!(first, weather(1).await);
    assert_ne!(first, weather(2).await);
}
