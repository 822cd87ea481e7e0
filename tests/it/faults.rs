//! `--reconcile-once` against an API that fails.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use truenorth::ledger::{End, Outcome, Reader};
use truenorth::sandbox::{Fault, Operation, Running as Runs, Wait};

use crate::support::{Api, Running, Workspace, eventually, manifest, outcome};

/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn what_fails_in_passing_is_tried_again_within_the_pass() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    let faults = [
        ("status-500", Fault::status(500)),
        ("status-503", Fault::status(503)),
        ("status-408", Fault::status(408)),
        ("status-425", Fault::status(425)),
        ("page-502", Fault::html(502)),
        ("empty-504", Fault::empty(504)),
        ("lost-500", Fault::status(500).after_carrying_out()),
        ("drop-before", Fault::drop()),
        ("drop-after", Fault::drop().after_carrying_out()),
    ];
    for (service, fault) in &faults {
        workspace.service(service, "1");
        api.world().script(fault.clone().of(format!("shop/{service}")));
    }
    let ran = workspace.once(&api, &["--concurrency", "16", "--request-timeout", "2s"]).exits(0);
    for (service, _) in &faults {
        let key = format!("shop/{service}");
        let ended = ran.service(&key);
        assert_eq!(ended["outcome"], "updated", "{ended}");
        assert_eq!((&ended["attempts"], &ended["cause"]), (&json!(2), &json!("new")), "{ended}");
        // Where the answer was lost and the update was not, live says so, and nothing is sent again.
        assert_eq!(api.world().updates(key).len(), 1, "{service}");
    }
    // One that was refused is sent again. Of the others live is read first, and of these two had got through. What had
    // not is read again once the lost request can no longer arrive.
    assert_eq!(ran.report()["api"]["calls"], 2 + 6 * 4 + 2 * 2);
    assert_eq!(api.world().in_flight_max_of_any(), 1);
    assert!(workspace.once(&api, &[]).exits(0).outcomes().iter().all(|(_, ended)| ended == "unchanged"));
}

#[test]
fn a_success_that_the_api_did_not_write_is_settled_by_a_read() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    let faults = [
        ("garbage", Fault::garbage()),
        ("truncated", Fault::truncated()),
        ("endless", Fault::endless()),
        ("bomb", Fault::gzip_bomb()),
        ("slow", Fault::slow_body(1, Duration::from_secs(60))),
        ("page", Fault::html(200)),
        ("silent", Fault::empty(200)),
    ];
    for (service, fault) in &faults {
        workspace.service(service, "1");
        api.world().script(fault.clone().after_carrying_out().of(format!("shop/{service}")));
    }
    let ran = workspace.once(&api, &["--request-timeout", "2s"]).exits(0);
    for (service, _) in &faults {
        let (key, ended) = (format!("shop/{service}"), ran.service(&format!("shop/{service}")));
        assert_eq!((&ended["outcome"], &ended["attempts"]), (&json!("updated"), &json!(2)), "{ended}");
        assert_eq!(api.world().updates(key.as_str()).len(), 1, "live shows it, and nothing is sent again");
    }
}

#[test]
fn a_success_that_changed_nothing_is_not_recorded_as_one() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    let services = ["page", "garbage", "silent"];
    for (service, fault) in services.iter().zip([Fault::html(200), Fault::garbage(), Fault::empty(200)]) {
        workspace.service(service, "1");
        api.world().script(fault.of(format!("shop/{service}")));
    }
    let ran = workspace.once(&api, &["--request-timeout", "2s"]).exits(0);
    for service in services {
        assert_eq!(ran.service(&format!("shop/{service}"))["outcome"], "updated");
        assert_eq!(api.world().updates(format!("shop/{service}").as_str()).len(), 1, "{service}");
    }
}

#[test]
fn a_page_in_the_apis_place_stalls_nothing() {
    for fault in [Fault::html(404), Fault::empty(404), Fault::html(401), Fault::html(403), Fault::redirect("/login")] {
        let (api, workspace) = (Api::new(), Workspace::new());
        workspace.service("web", "1");
        api.world().script(fault.clone().on(Operation::GetService));
        api.world().script(fault.on(Operation::UpdateServiceDeployment));
        let ran = workspace.once(&api, &["--request-timeout", "2s"]).exits(0);
        assert_eq!(ran.service("shop/web")["outcome"], "updated");
        assert_eq!(api.world().updates("shop/web").len(), 1);
        assert!(api.world().calls().iter().all(|call| call.method != "PATCH"), "POST is still served");
    }
}

#[test]
fn another_change_in_progress_is_waited_for() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    api.world().script(Fault::error(409, "CONFLICT", "another update is in progress", None));
    let ran = workspace.once(&api, &[]).exits(0);
    let web = ran.service("shop/web");
    assert_eq!((&web["outcome"], &web["attempts"]), (&json!("updated"), &json!(2)));
    assert_eq!(api.world().call_count(), 2, "the API refused it: nothing is in doubt");
}

#[test]
fn a_call_without_an_answer_is_given_up_and_tried_again() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("before", "1");
    workspace.service("after", "1");
    api.world().script(Fault::delay(LONG).of("shop/before"));
    api.world().script(Fault::delay(LONG).after_carrying_out().of("shop/after"));
    let ran = workspace.once(&api, &["--request-timeout", "1s"]).exits(0);
    for service in ["shop/before", "shop/after"] {
        let ended = ran.service(service);
        assert_eq!(ended["outcome"], "updated");
        assert!(ended["attempts"].as_u64() >= Some(2), "{ended}");
    }
    assert_eq!(api.world().updates("shop/after").len(), 1, "live was read, and had it");
}

#[test]
fn at_the_deadline_what_was_accepted_is_recorded_and_the_rest_is_left_for_the_next_pass() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("bad", "1");
    workspace.service("good", "1");
    api.world().script(Fault::error(500, "OOPS", "out of order", None).of("shop/bad").always());
    let ran = workspace.once(&api, &["--deadline", "3s", "--request-timeout", "1s"]).exits(1);
    assert_eq!(ran.outcomes(), [outcome("shop/bad", "failed"), outcome("shop/good", "updated")]);
    let bad = ran.service("shop/bad");
    assert_eq!(bad["error"], "the API answered 500 Internal Server Error: out of order (OOPS)");
    assert!(bad["attempts"].as_u64() >= Some(2), "{bad}");

    api.world().clear_faults();
    let before = api.world().call_count();
    let ran = workspace.once(&api, &[]).exits(0);
    assert_eq!(ran.outcomes(), [outcome("shop/bad", "updated"), outcome("shop/good", "unchanged")]);
    // Whether a 500 had an effect, live tells.
    assert_eq!(ran.service("shop/bad")["cause"], "in-doubt");
    let spent = api.world().call_count() - before;
    assert!(
        (2..=3).contains(&spent),
        "a read, one more where the lost request may still arrive, and the update: {spent}"
    );
}

#[test]
fn a_refused_update_stalls_its_service_and_no_other() {
    let (api, workspace) = (Api::of_services(&["shop/api", "shop/web", "shop/worker"]), Workspace::sending());
    for service in ["api", "gone", "web", "worker"] {
        workspace.service(service, "1");
    }
    let details = json!({"external": {"imagePath": ["not found"]}});
    api.world().script(Fault::error(400, "INVALID", "no such image", Some(details)).of("shop/web"));
    api.world().script(Fault::redirect("https://api.example.com/v2?secret=1").of("shop/worker").always());
    let ran = workspace.once(&api, &["--deadline", "3s"]).exits(1);
    assert_eq!(
        ran.outcomes(),
        [
            outcome("shop/api", "updated"),
            outcome("shop/gone", "stalled"),
            outcome("shop/web", "stalled"),
            outcome("shop/worker", "failed")
        ]
    );
    let error = |service| ran.service(service)["error"].clone();
    assert_eq!(error("shop/gone"), "the API answered 404 Not Found: service `shop/gone` does not exist (NOT-FOUND)");
    assert_eq!(error("shop/web"), "the API answered 400 Bad Request: no such image (INVALID)");
    assert_eq!(ran.service("shop/web")["details"], json!({"external": {"imagePath": ["not found"]}}));
    assert!(ran.stderr.contains("(external.imagePath: not found)"), "{}", ran.stderr);
    let redirected = "redirects are not followed, and this one leads to `https://api.example.com/v2`";
    assert_eq!(error("shop/worker"), format!("the API answered 307 Temporary Redirect: {redirected}"));
    // A refusal is not tried again in the pass, but in the next one. A 404 may be the call's and not the service's, so
    // the service is asked for.
    let calls = api.world().calls();
    let of = |service| calls.iter().filter(|call| call.path.contains(&format!("/{service}"))).count();
    assert_eq!((of("api"), of("gone"), of("web")), (1, 2, 1));
    let next = workspace.once(&api, &["--deadline", "3s"]).exits(1);
    assert_eq!(next.service("shop/gone")["cause"], "new");
    assert_eq!(next.service("shop/web")["outcome"], "updated");
}

#[test]
fn a_refused_token_ends_the_pass_at_once() {
    let (api, workspace) = (Api::of_token("nf-another"), Workspace::sending());
    for service in ["a", "b", "c"] {
        workspace.service(service, "1");
    }
    let ran = workspace.once(&api, &["--concurrency", "1"]).exits(1);
    assert_eq!(
        ran.outcomes(),
        [outcome("shop/a", "failed"), outcome("shop/b", "pending"), outcome("shop/c", "pending")]
    );
    let told = |service| ran.service(service)["error"].clone();
    assert_eq!(told("shop/a"), "the API answered 401 Unauthorized: no token that is known here (UNAUTHORIZED)");
    assert_eq!(told("shop/b"), "not tried: the API refuses the token");
    assert_eq!((api.world().auth_count(), api.world().call_count()), (1, 0));
}

#[test]
fn a_token_that_is_forbidden_everything_is_given_up_after_three_services() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().script(Fault::error(403, "FORBIDDEN", "not yours", None).always());
    for service in ["a", "b", "c", "d", "e"] {
        workspace.service(service, "1");
    }
    let ran = workspace.once(&api, &["--concurrency", "1"]).exits(1);
    let outcomes: Vec<_> = ran.outcomes().into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, ["failed", "failed", "failed", "pending", "pending"]);
    assert_eq!(ran.service("shop/a")["error"], "the API answered 403 Forbidden: not yours (FORBIDDEN)");
    assert_eq!(api.world().call_count(), 3);
}

#[test]
fn services_that_are_closed_to_the_token_hold_up_no_others() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    for service in ["a", "b"] {
        api.world()
            .script(Fault::error(403, "FORBIDDEN", "not yours", None).of(format!("shop/{service}").as_str()).always());
    }
    for service in ["a", "b", "c", "d", "e"] {
        workspace.service(service, "1");
    }
    let ran = workspace.once(&api, &["--concurrency", "1"]).exits(1);
    let outcomes: Vec<_> = ran.outcomes().into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, ["stalled", "stalled", "updated", "updated", "updated"]);
}

#[test]
fn a_token_file_that_was_replaced_is_read_again_when_the_token_is_refused() {
    let workspace = Workspace::sending();
    workspace.service("web", "1");
    let file = workspace.path().join("token");
    write_token(&file, "nf-first");
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    door.set_nonblocking(true).unwrap();
    let url = format!("http://{}", door.local_addr().unwrap());
    let once = ["--reconcile-once", "--output", "json", "--api-url", &url, "--token-file", "token"];
    let running = Running::start(workspace.command(&once).env_remove("NORTHFLANK_API_TOKEN"));

    let (authorization, caller) = request(&door);
    assert_eq!(authorization, "Bearer nf-first");
    write_token(&file, "nf-second");
    answer(caller, "401 Unauthorized", r#"{"error":{"status":401,"message":"unknown token"}}"#);
    // Whose the new token is, and the update.
    for _ in 0..2 {
        let (authorization, caller) = request(&door);
        assert_eq!(authorization, "Bearer nf-second");
        answer(caller, "200 OK", r#"{"data":{}}"#);
    }

    let web = running.ended().exits(0).service("shop/web");
    assert_eq!((&web["outcome"], &web["attempts"]), (&json!("updated"), &json!(2)));
}

#[test]
fn past_the_rate_limit_all_calls_wait_and_the_next_pass_still_does() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    for service in ["a", "b", "c"] {
        workspace.service(service, "1");
    }
    api.world().script(Fault::rate_limited(Wait::Reset(3600)));
    let pending = ["shop/a", "shop/b", "shop/c"].map(|service| outcome(service, "pending"));
    let ran = workspace.once(&api, &["--concurrency", "1", "--deadline", "1s"]).exits(1);
    assert_eq!(ran.outcomes(), pending);
    assert_eq!((&ran.report()["api"]["calls"], api.world().call_count()), (&json!(1), 1));

    let next = workspace.once(&api, &["--deadline", "100ms"]).exits(1);
    assert_eq!(next.outcomes(), pending);
    let error = next.service("shop/b")["error"].as_str().unwrap().to_owned();
    assert_eq!(error, "not tried: all 1000 calls of the rate limit's window are used");
    assert_eq!(api.world().call_count(), 1);
}

#[test]
fn a_rate_limit_that_resets_in_time_costs_no_service_an_attempt() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    for wait in [Wait::RetryAfter(1), Wait::Reset(1), Wait::RetryDate(Duration::from_secs(1))] {
        api.world().script(Fault::rate_limited(wait));
    }
    let web = workspace.once(&api, &[]).exits(0).service("shop/web");
    assert_eq!((&web["outcome"], &web["attempts"], &web["cause"]), (&json!("updated"), &json!(4), &json!("new")));
    let history = Reader::open(&workspace.state()).unwrap().unwrap().history(None, 10).unwrap();
    let attempts: Vec<_> = history.iter().map(|entry| entry.attempt).collect();
    assert_eq!(attempts, [1, 1, 1, 1], "the limit counts as no failure of the service");
}

#[test]
fn after_the_last_call_of_a_window_no_other_is_tried() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().set_limit(2);
    for service in ["a", "b", "c", "d"] {
        workspace.service(service, "1");
    }
    let ran = workspace.once(&api, &["--concurrency", "1", "--deadline", "1s"]).exits(1);
    let ended = [("a", "updated"), ("b", "updated"), ("c", "pending"), ("d", "pending")];
    assert_eq!(ran.outcomes(), ended.map(|(service, ended)| outcome(&format!("shop/{service}"), ended)));
    assert_eq!(ran.report()["api"], json!({"calls": 2, "remaining": 0}));
    assert_eq!(ran.service("shop/d")["error"], "not tried: all 2 calls of the rate limit's window are used");
    assert_eq!(api.world().call_count(), 2);
}

#[test]
fn a_manifest_that_goes_back_after_a_lost_answer_is_sent_again() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.service("web", "2");
    api.world().script(Fault::drop().after_carrying_out().always());
    workspace.once(&api, &["--deadline", "500ms"]).exits(1);
    assert_eq!(image(&api, "shop/web"), "ghcr.io/acme/web:2");
    api.world().clear_faults();

    // To the ledger this is what was applied last; what runs is something else.
    workspace.service("web", "1");
    let web = workspace.once(&api, &[]).exits(0).service("shop/web");
    assert_eq!((&web["outcome"], &web["cause"]), (&json!("updated"), &json!("in-doubt")));
    assert_eq!(image(&api, "shop/web"), "ghcr.io/acme/web:1");
    assert_eq!(workspace.once(&api, &[]).exits(0).outcomes(), [outcome("shop/web", "unchanged")]);
}

#[test]
fn without_a_connection_nothing_is_in_doubt() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    let url = api.url();
    drop(api);
    workspace.service("web", "2");
    let arguments = ["--reconcile-once", "--output", "json", "--api-url", &url, "--deadline", "500ms"];
    let web = workspace.run(&arguments).exits(1).service("shop/web");
    assert_eq!(web["outcome"], "failed");
    assert!(web["error"].as_str().unwrap().starts_with(&format!("no connection to `{url}`")), "{web}");
    workspace.service("web", "1");
    assert_eq!(workspace.run(&arguments).exits(0).outcomes(), [outcome("shop/web", "unchanged")]);
}

#[test]
fn history_tells_every_call_and_its_end() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.write("sub/web.yaml", format!("\n{}", manifest("web", "1")));
    api.world().script(Fault::status(500));
    let report = workspace.once(&api, &[]).exits(0).report();
    let history = Reader::open(&workspace.state()).unwrap().unwrap().history(None, 10).unwrap();
    let [second, first] = history.as_slice() else { panic!("{history:?}") };
    for (entry, attempt) in [(first, 1), (second, 2)] {
        assert_eq!((entry.key.to_string().as_str(), entry.attempt), ("shop/web", attempt));
        assert_eq!(Value::from(entry.digest.to_string()), report["services"][0]["digest"]);
        assert_eq!(Value::from(entry.revision.as_str()), report["revision"]);
        assert_eq!(Value::from(entry.place.to_string()), report["services"][0]["manifest"]);
        let spec: Value = serde_json::from_str(entry.spec.as_deref().unwrap()).unwrap();
        assert_eq!(spec, json!({"external": {"imagePath": "ghcr.io/acme/web:1"}}));
    }
    assert!(
        matches!(&first.end, End::Recorded { outcome: Outcome::Unknown { status: Some(500), .. }, .. }),
        "{first:?}"
    );
    assert!(matches!(&second.end, End::Recorded { outcome: Outcome::Accepted { status: 200 }, .. }), "{second:?}");
}

/// What a service runs.
fn image(api: &Api, service: &str) -> String {
    match api.world().live(service).map(|live| live.running) {
        Some(Runs::Image { image, .. }) => image,
        other => panic!("{service} runs {other:?}"),
    }
}

fn write_token(file: &Path, token: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{token}\n")).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// Takes one request in: its `authorization`, and who waits for the answer.
fn request(door: &TcpListener) -> (String, TcpStream) {
    let mut caller = None;
    eventually("a call", || {
        caller = door.accept().ok();
        caller.is_some()
    });
    let (caller, _) = caller.unwrap();
    caller.set_nonblocking(false).unwrap();
    let mut reader = BufReader::new(caller.try_clone().unwrap());
    let (mut authorization, mut length) = (String::new(), 0);
    for line in reader.by_ref().lines() {
        let line = line.unwrap();
        match line.split_once(": ") {
            None if line.is_empty() => break,
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => authorization = value.to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
            _ => {}
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    (authorization, caller)
}

fn answer(mut caller: TcpStream, status: &str, body: &str) {
    let length = body.len();
    write!(caller, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
}
