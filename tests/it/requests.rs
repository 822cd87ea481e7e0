//! What people ask for: retry, freeze, thaw and forget, beside a running daemon and without one.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use truenorth::sandbox::Options;

use crate::support::{Api, Daemon, Ran, Workspace, eventually, manifest, outcome, tags};

fn freeze(workspace: &Workspace, more: &[&str]) {
    let arguments = ["freeze", "--reason", "black friday", "--by", "kim", "--until", "6h"];
    workspace.run(&[&arguments[..], more].concat()).exits(0);
}

fn state_of(workspace: &Workspace, service: &str) -> Value {
    let page = workspace.run(&["status", "--output", "json"]).json();
    let services = page["services"].as_array().unwrap();
    services.iter().find(|found| found["service"] == service).unwrap().clone()
}

#[test]
fn a_freeze_holds_updates_until_it_is_thawed_and_then_the_newest_goes() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.service("api", "1");
    workspace.once(&api, &[]).exits(0);
    freeze(&workspace, &["web"]);
    workspace.service("web", "2");
    workspace.service("api", "2");

    let plan = workspace.run(&["plan", "--output", "json", "--exit-code"]).exits(2).report();
    let held = &plan["services"].as_array().unwrap().iter().find(|service| service["service"] == "shop/web").unwrap();
    assert_eq!((&held["outcome"], &held["heldBy"][0]["kind"]), (&"held".into(), &"freeze".into()), "{held}");
    assert!(held["heldBy"][0]["until"].is_string(), "{held}");

    let ran = workspace.once(&api, &[]).exits(3);
    assert_eq!(ran.service("shop/web")["outcome"], "held");
    let what = ran.service("shop/web")["heldBy"][0]["what"].as_str().unwrap().to_owned();
    assert!(what.contains("frozen by kim: black friday") && what.contains("truenorth thaw shop/web"), "{what}");
    assert_eq!(ran.service("shop/api")["outcome"], "updated");

    workspace.service("web", "3");
    workspace.once(&api, &[]).exits(3);
    workspace.run(&["thaw", "web", "--by", "kim"]).exits(0);
    workspace.once(&api, &[]).exits(0);
    assert_eq!(tags(&api, "web"), ["1", "3"]);
}

#[test]
fn a_running_daemon_takes_a_freeze_and_a_thaw_at_once_and_its_ledger_stays_its_own() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("the first update", || tags(&api, "web") == ["1"]);
    freeze(&workspace, &["--all"]);
    workspace.service("web", "2");
    eventually("it is held", || daemon.state("web") == "held");
    let status = daemon.status();
    assert_eq!(status["freezes"][0]["by"], "kim", "{status}");
    let told = workspace.run(&["status"]).stdout;
    assert!(told.contains("frozen: all services, by kim") && told.contains("black friday"), "{told}");
    assert_eq!(state_of(&workspace, "shop/web")["state"], "held");
    let why = workspace.run(&["why", "web"]).exits(0).stdout;
    assert!(why.contains("frozen by kim: black friday"), "{why}");

    workspace.run(&["thaw", "--all"]).exits(0);
    eventually("it goes when it is thawed", || tags(&api, "web") == ["1", "2"]);
    let history = workspace.run(&["history", "--output", "json"]).exits(0).json();
    let asked: Vec<_> = history["requests"].as_array().unwrap().iter().map(|asked| asked["kind"].clone()).collect();
    assert_eq!(asked, ["thaw", "freeze"], "{history}");
    assert!(workspace.run(&["history"]).stdout.contains("kim"));
    daemon.signal(rustix::process::Signal::TERM);
    daemon.ends_with(0);
    // Nothing makes the next process mistrust the ledger: it reads nothing, and sends nothing.
    let calls = api.calls_of("shop/web");
    let ran = workspace.once(&api, &[]).exits(0);
    assert!(!ran.stderr.contains("the ledger"), "{}", ran.stderr);
    assert_eq!(api.calls_of("shop/web"), calls);
}

#[test]
fn a_freeze_ends_by_itself() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("the first update", || tags(&api, "web") == ["1"]);
    workspace.run(&["freeze", "web", "--reason", "a while", "--until", "3s"]).exits(0);
    workspace.service("web", "2");
    eventually("it is held", || daemon.state("web") == "held");
    eventually("it goes", || tags(&api, "web") == ["1", "2"]);
    workspace.run(&["thaw", "web"]).exits(1);
}

#[test]
fn a_retry_ends_the_wait_of_a_stalled_service() {
    let (api, workspace) = (Api::of_services(&["shop/other"]), Workspace::sending());
    workspace.service("web", "1");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("it is stalled", || daemon.state("web") == "stalled");
    let calls = api.calls_of("shop/web");
    workspace.run(&["retry", "web", "--reason", "it is there now"]).exits(0);
    eventually("it was tried again", || api.calls_of("shop/web") > calls);
}

#[test]
fn who_asks_for_what_is_not_there_is_told_what_is() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("checkout", "1");
    workspace.once(&api, &[]).exits(0);
    let told = |arguments: &[&str], code: i32, words: &str| {
        let ran = workspace.run(arguments).exits(code);
        assert!(ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
    };
    told(&["retry", "chekout"], 1, "did you mean shop/checkout?");
    told(&["freeze", "chekout", "--reason", "x", "--until", "6h"], 1, "did you mean shop/checkout?");
    told(&["freeze", "--all", "--reason", "x", "--until", "yesterday"], 64, "--until yesterday");
    told(&["freeze", "--all", "--until", "6h"], 64, "--reason");
    told(&["freeze", "--reason", "x", "--until", "6h"], 64, "SERVICE");
    told(&["thaw", "checkout"], 1, "shop/checkout is not frozen");
    told(&["thaw", "--all"], 1, "nothing is frozen");
    freeze(&workspace, &["--all"]);
    told(&["thaw", "checkout"], 1, "truenorth thaw --all");
}

/// What everybody can ask who knows of a service `shop/web`.
const ASKS: [&[&str]; 8] = [
    &["retry"],
    &["freeze", "--all", "--reason", "x", "--until", "6h"],
    &["thaw", "--all"],
    &["release", "web"],
    &["rollback", "web", "--reason", "x"],
    &["forget", "web"],
    &["approve", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],
    &["deny", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],
];

#[test]
fn beside_a_daemon_what_people_ask_goes_into_its_ledger_from_anywhere() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("it is applied", || daemon.state("web") == "unchanged");
    let elsewhere = Workspace::new();
    std::fs::remove_dir(elsewhere.manifests()).unwrap();
    let address = daemon.address().to_string();
    let note = format!("note: the daemon at {address} has its ledger in ");
    for arguments in ASKS {
        let mut command = elsewhere.command(arguments);
        let ran = Ran::of(command.env_remove("TRUENORTH_STATE_DIR").env("TRUENORTH_LISTEN", &address));
        assert_eq!(ran.stderr.matches(&note).count(), 1, "{arguments:?}: {ran:#?}");
        assert!(!ran.stderr.contains("there is no ledger") && !ran.stdout.contains("no truenorth runs"), "{ran:#?}");
    }
    let history = workspace.run(&["history", "--output", "json"]).exits(0).json();
    let kinds: Vec<&Value> = history["requests"].as_array().unwrap().iter().map(|request| &request["kind"]).collect();
    assert_eq!(kinds, ["thaw", "freeze", "retry"]);
}

/// Answers whoever asks where a ledger is with that of somebody else.
fn names_the_ledger(of: &Workspace) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let body = serde_json::json!({"ledger": of.state(), "manifests": of.manifests(), "ledger_id": "1.2.3"}).to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    address
}

#[test]
fn what_people_ask_goes_into_no_ledger_that_they_may_not_mean() {
    let (api, workspace, elsewhere) = (Api::new(), Workspace::new(), Workspace::new());
    workspace.service("web", "1");
    elsewhere.service("web", "1");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("the first update", || tags(&api, "web") == ["1"]);
    let ask = |listen: &str, arguments: &[&str]| {
        Ran::of(elsewhere.command(arguments).env_remove("TRUENORTH_STATE_DIR").env("TRUENORTH_LISTEN", listen))
    };
    let freeze = ["freeze", "--all", "--reason", "x", "--until", "6h"];
    // One that answers, and has not open what it names.
    let liar = names_the_ledger(&workspace);
    let told = ask(&liar, &freeze).exits(78);
    assert!(told.stderr.contains("it is passed over") && told.stderr.contains("there is no ledger at"), "{told:#?}");

    let address = daemon.address().to_string();
    ask("off", &["--reconcile-once", "--api-url", &api.url()]).exits(0);
    let told = ask(&address, &freeze).exits(78);
    assert!(told.stderr.contains("two ledgers may be meant") && told.stderr.contains("--state-dir"), "{told:#?}");
    ask(&address, &["status"]).exits(0);
    ask("off", &freeze).exits(0);
    let history = workspace.run(&["history", "--output", "json"]).exits(0).json();
    assert_eq!(history["requests"], serde_json::json!([]));
}

#[test]
fn where_no_ledger_is_nothing_can_be_asked_and_none_is_made() {
    let workspace = Workspace::new();
    workspace.service("web", "1");
    for arguments in ASKS {
        let ran = workspace.run(arguments).exits(78);
        let words = format!("there is no ledger at {}", workspace.state().display());
        assert!(ran.stderr.contains(&words) && ran.stderr.contains("--state-dir"), "{arguments:?}: {ran:#?}");
    }
    assert!(!workspace.state().exists());
}

#[test]
fn a_pass_that_is_under_way_heeds_what_people_ask_and_decide() {
    let never = Duration::from_secs(3600);
    let (api, workspace) = (Api::with(Options { rollout: never, ..Options::default() }), Workspace::waiting());
    for service in ["slow", "web", "api"] {
        workspace.service(service, "1");
    }
    workspace.once(&api, &["--no-wait"]).exits(0);
    freeze(&workspace, &["web"]);
    for service in ["slow", "web"] {
        workspace.service(service, "2");
    }
    workspace.write("api.yaml", manifest("api", "2") + "policy: {approval: required}\n");
    let mut pass = workspace.once_command(&api, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the other one is sent", || tags(&api, "slow") == ["1", "2"]);
    // The pass waits for the rollout, and so it does after each of these.
    workspace.run(&["thaw", "web"]).exits(0);
    eventually("it goes in the same pass", || tags(&api, "web") == ["1", "2"]);
    let plan = workspace.plan().report();
    let held = plan["services"][0]["heldBy"][0]["what"].as_str().unwrap().to_owned();
    assert!(held.contains("truenorth approve"), "{plan}");
    workspace.run(&["approve", held.split(' ').next_back().unwrap()]).exits(0);
    eventually("what is approved goes in the same pass", || tags(&api, "api") == ["1", "2"]);
    assert!(pass.try_wait().unwrap().is_none(), "it waits for the rollouts");
    pass.kill().unwrap();
    pass.wait().unwrap();
}

fn states(workspace: &Workspace) -> Vec<(String, String)> {
    let page = workspace.run(&["status", "--output", "json"]).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    page["services"].as_array().unwrap().iter().map(|one| (text(&one["service"]), text(&one["state"]))).collect()
}

#[test]
fn an_orphan_is_forgotten_and_is_read_before_it_is_sent_where_it_comes_back() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.service("old", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.remove("old.yaml");
    assert_eq!(states(&workspace)[0], outcome("shop/old", "orphaned"));
    let ran = workspace.run(&["forget", "old", "--by", "kim", "--reason", "moved away"]).exits(0);
    assert_eq!(ran.stdout, "shop/old forgotten; the service itself stays as it is\n");
    assert_eq!(states(&workspace), [outcome("shop/web", "unchanged")]);
    assert_eq!(workspace.once(&api, &[]).exits(0).outcomes(), [outcome("shop/web", "unchanged")]);
    // What was sent, and who forgot it, stays in history.
    let history = workspace.run(&["history", "shop/old", "-o", "json"]).exits(0).json();
    assert_eq!((&history["requests"][0]["kind"], &history["requests"][0]["by"]), (&"forget".into(), &"kim".into()));
    assert_eq!(history["requests"][0]["result"], "forgotten");
    assert_eq!(history["calls"].as_array().unwrap().len(), 1);
    // It is not sent again by itself when its manifest is back.
    workspace.service("old", "1");
    assert_eq!(workspace.once(&api, &[]).exits(0).service("shop/old")["outcome"], "adopted");
    assert_eq!(tags(&api, "old"), ["1"]);
    assert_eq!(
        workspace.run(&["forget", "--all"]).exits(0).stdout,
        "no service is orphaned: there is nothing to forget\n"
    );
}

#[test]
fn what_a_manifest_names_or_may_name_is_not_forgotten() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.service("api", "1");
    workspace.once(&api, &[]).exits(0);
    let ran = workspace.run(&["forget", "web"]).exits(1);
    assert!(ran.stderr.contains("shop/web is not forgotten: web.yaml:1 names it"), "{ran:#?}");
    workspace.write("api.yaml", "a: [");
    let ran = workspace.run(&["forget", "api"]).exits(1);
    assert!(ran.stderr.contains("a manifest that has a problem may name it"), "{ran:#?}");
    workspace.run(&["forget", "nobody"]).exits(1);
    workspace.run(&["forget"]).exits(64);
    // A folder without manifests is as a rule the wrong one.
    std::fs::create_dir(workspace.path().join("empty")).unwrap();
    let ran = workspace.run(&["forget", "--all", "-m", "empty"]).exits(1);
    assert!(ran.stderr.contains("the folder has no manifests"), "{ran:#?}");
    workspace.service("api", "1");
    assert_eq!(states(&workspace), [outcome("shop/api", "unchanged"), outcome("shop/web", "unchanged")]);
}

#[test]
fn a_running_daemon_forgets_an_orphan_and_refuses_what_its_own_folder_names() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.service("old", "1");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("both are there", || daemon.state("web") == "unchanged" && daemon.state("old") == "unchanged");
    workspace.remove("old.yaml");
    eventually("it is orphaned", || daemon.state("old") == "orphaned");
    let ran = workspace.run(&["forget", "old"]).exits(0);
    assert!(ran.stdout.contains("the running truenorth does it"), "{ran:#?}");
    eventually("it is forgotten", || daemon.service("old").is_none());
    eventually("its state is gone too", || states(&workspace) == [outcome("shop/web", "unchanged")]);

    // Somebody asks from beside another folder, in which it has no manifest.
    std::fs::create_dir(workspace.path().join("empty")).unwrap();
    workspace.run(&["forget", "web", "-m", "empty"]).exits(0);
    eventually("it is refused", || {
        let history = workspace.run(&["history", "shop/web", "-o", "json"]).json();
        history["requests"][0]["result"] == "not forgotten: a manifest names it"
    });
    assert_eq!(daemon.state("web"), "unchanged");
}
