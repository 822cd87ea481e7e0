//! One question, one answer: `/status`, `status`, `why`, the metrics and what systemd shows say the same word of a service,
//! in every state that there is.

use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use serde_json::json;
use truenorth::sandbox::{Fault, Live, Operation, Options, Wait};

use crate::support::{Api, Daemon, PATIENCE, Systemd, Workspace, eventually, holds_within, manifest};

/// A daemon, and everybody who is asked about it.
struct Scene {
    workspace: Workspace,
    api: Api,
    systemd: Systemd,
    daemon: Daemon,
}

impl Scene {
    fn start(workspace: Workspace, api: Api, more: &[&str]) -> Self {
        let (systemd, daemon) = Systemd::start(&workspace, &api, more, &[]);
        Self { workspace, api, systemd, daemon }
    }

    /// With `shop/web` alone.
    fn of(api: Api, more: &[&str]) -> Self {
        let workspace = Workspace::sending();
        workspace.service("web", "1");
        Self::start(workspace, api, more)
    }

    /// What each of them says of `shop/<service>`, who is first asked of one that is expected.
    fn answers(&self, service: &str, expected: &str) -> [(&'static str, String); 5] {
        let name = format!("shop/{service}");
        let page = self.workspace.run(&["status", "--output", "json"]).exits(0).json();
        let listed = page["services"].as_array().unwrap().iter().find(|one| one["service"] == name);
        let why = self.workspace.run(&["why", &name, "--output", "json"]).exits(0).json();
        // These two count.
        let metric = format!("truenorth_services{{state=\"{expected}\"}} ");
        let metrics = self.daemon.page("/metrics").1;
        let counted = metrics.lines().find_map(|line| line.strip_prefix(&metric)).is_some_and(|count| count != "0");
        let shown = self.systemd.shows();
        let is_shown = shown.split(", ").any(|part| part.split(' ').nth(1) == Some(expected));
        [
            ("/status", self.daemon.state(service)),
            ("status", listed.map(|one| one["state"].as_str().unwrap().to_owned()).unwrap_or_default()),
            ("why", why["state"].as_str().unwrap().to_owned()),
            ("metrics", if counted { expected.to_owned() } else { metrics }),
            ("systemd", if is_shown { expected.to_owned() } else { shown }),
        ]
    }

    /// Waits until all of them say this.
    #[track_caller]
    fn all_say(&self, service: &str, state: &str) {
        let mut answers = None;
        let agree = holds_within(PATIENCE, || {
            let said = self.answers(service, state);
            let agree = said.iter().all(|(_, said)| said == state);
            answers = Some(said);
            agree
        });
        assert!(agree, "of a service that is {state} they say {answers:#?}; the log: {:#?}", self.daemon.log());
    }
}

fn refused() -> Fault {
    Fault::error(422, "INVALID", "no such registry", None)
}

/// No test comes near this limit.
fn plenty() -> Api {
    Api::with(Options { limit: u32::MAX, rollout: Duration::ZERO, ..Options::default() })
}

#[test]
fn of_what_is_at_rest() {
    let (workspace, api) = (Workspace::sending(), Api::new());
    workspace.service("unchanged", "1");
    workspace.service("orphaned", "1");
    workspace.service("broken", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.remove("orphaned.yaml");
    let scene = Scene::start(workspace, api, &[]);
    scene.all_say("unchanged", "unchanged");
    scene.all_say("orphaned", "orphaned");
    scene.workspace.write("suspended.yaml", manifest("suspended", "1") + "policy: {suspend: true}\n");
    scene.all_say("suspended", "suspended");
    // One that runs, and one that was never applied.
    scene.workspace.write("broken.yaml", manifest("broken", "1").replace(":1\n", "\n"));
    scene.all_say("broken", "invalid");
    scene.workspace.write("new.yaml", manifest("new", "1").replace(":1\n", "\n"));
    scene.all_say("new", "invalid");
}

#[test]
fn of_a_call_and_what_waits_behind_it() {
    let api = Api::new();
    api.world().script(Fault::delay(Duration::from_secs(600)).of("shop/a").always());
    let workspace = Workspace::sending();
    workspace.service("a", "1");
    workspace.service("b", "1");
    let scene = Scene::start(workspace, api, &["--concurrency", "1", "--request-timeout", "10m"]);
    scene.all_say("a", "in-flight");
    scene.all_say("b", "queued");
}

#[test]
fn of_what_the_api_refuses() {
    let api = Api::new();
    api.world().script(refused().always());
    Scene::of(api, &[]).all_say("web", "stalled");

    let scene = Scene::of(Api::of_token("another"), &[]);
    scene.all_say("web", "denied");
    let (status, text) = scene.daemon.page("/readyz");
    assert!(status == 503 && text.contains("the API refuses the token"), "{text}");

    let api = Api::new();
    api.world().script(Fault::rate_limited(Wait::Reset(600)).always());
    Scene::of(api, &[]).all_say("web", "rate-limited");

    let api = Api::new();
    api.world().script(Fault::status(409).always());
    Scene::of(api, &[]).all_say("web", "backing-off");
}

#[test]
fn of_an_api_that_cannot_be_reached_and_comes_back() {
    let api = Api::new();
    api.world().script(Fault::status(503).always());
    let scene = Scene::of(api, &[]);
    scene.all_say("web", "unreachable");
    let (status, text) = scene.daemon.page("/readyz");
    assert!(status == 503 && text.contains("the API is unreachable"), "{text}");
    scene.api.world().clear_faults();
    scene.all_say("web", "unchanged");
    assert_eq!(scene.daemon.page("/readyz").0, 200);
}

#[test]
fn of_an_answer_that_was_lost() {
    let api = Api::new();
    api.world().script(Fault::drop().on(Operation::UpdateServiceDeployment).times(1));
    let scene = Scene::of(api, &["--request-timeout", "2m"]);
    scene.all_say("web", "in-doubt");
    let why = scene.workspace.run(&["why", "web", "--output", "json"]).exits(0).json();
    assert!(why["may_take_effect_until"].is_string() && why["waits_for"]["what"] == "settling", "{why:#}");
}

#[test]
fn of_drift_and_of_what_comes_back_after_each_correction() {
    let by_hand = |api: &Api| api.world().edit("shop/web", |live| *live = Live::deployment("ghcr.io/acme/web:hand"));
    let scene = Scene::of(plenty(), &["--drift-every", "50ms"]);
    scene.all_say("web", "unchanged");
    by_hand(&scene.api);
    scene.all_say("web", "drifted");

    let scene = Scene::of(plenty(), &["--drift-every", "50ms", "--drift", "correct"]);
    for correction in 1..=4 {
        eventually("it is sent", || scene.api.world().update_count() == correction);
        by_hand(&scene.api);
    }
    scene.all_say("web", "flapping");
}

#[test]
fn of_a_part_that_is_accepted_and_not_in_effect() {
    let api = plenty();
    // The image runs already; of the rest the API takes nothing, though it says so.
    api.world().set_live("shop/web", Live::deployment("ghcr.io/acme/web:1"));
    let accepted = Fault::json(200, json!({"data": {}}));
    api.world().script(accepted.on(Operation::UpdateServiceDeployment).always());
    let workspace = Workspace::sending();
    let docker = "  docker:\n    configType: customCommand\n    customCommand: node server.js\n";
    workspace.write("web.yaml", manifest("web", "1") + docker);
    let scene = Scene::start(workspace, api, &["--drift-every", "50ms"]);
    scene.all_say("web", "not-in-effect");
    let why = scene.workspace.run(&["why", "web"]).exits(0).stdout;
    assert!(why.starts_with("shop/web accepted its update, but a part of it is not in effect: docker."), "{why}");
}

#[test]
fn of_a_ledger_that_cannot_be_written() {
    let scene = Scene::of(Api::new(), &[]);
    scene.all_say("web", "unchanged");
    let mut other = Connection::open(scene.workspace.state().join("ledger.sqlite")).unwrap();
    let held = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    scene.workspace.service("web", "2");
    scene.all_say("web", "ledger-unwritable");
    drop(held);
    scene.all_say("web", "unchanged");
    assert_eq!(scene.api.world().update_count(), 2);
}

#[test]
fn without_a_daemon_the_last_word_stands_and_says_how_old_it_is() {
    let (workspace, api) = (Workspace::sending(), Api::new());
    workspace.service("web", "1");
    api.world().script(refused().always());
    workspace.once(&api, &[]).exits(1);
    let page = workspace.run(&["status", "--output", "json"]).exits(0).json();
    let why = workspace.run(&["why", "web", "--output", "json"]).exits(0).json();
    assert_eq!((&page["services"][0]["state"], &why["state"]), (&"stalled".into(), &"stalled".into()));
    assert!(page["as_of"].is_string() && page["as_of"] == why["as_of"], "{page:#}");
    for command in [&["status"][..], &["why", "web"], &["history"]] {
        let text = workspace.run(command).exits(0).stdout;
        assert!(text.contains("no daemon runs; as of 2"), "{text}");
    }
}
