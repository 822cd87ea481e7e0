//! The daemon and what somebody changes by hand.

use rustix::process::Signal;
use serde_json::{Value, json};
use truenorth::sandbox::{Fault, Live, Operation, Options};

use crate::support::{Api, Daemon, Workspace, eventually, manifest};

/// As often as a test wants.
const OFTEN: &str = "--drift-every=50ms";

/// Somebody deploys another image by hand.
fn by_hand(api: &Api, service: &str) {
    let image = format!("ghcr.io/acme/{service}:hand");
    api.world().edit(format!("shop/{service}").as_str(), |live| *live = Live::deployment(&image));
}

fn of(daemon: &Daemon, service: &str) -> Value {
    daemon.service(service).unwrap()
}

/// No test comes near this limit.
fn plenty() -> Api {
    Api::with(Options { limit: u32::MAX, rollout: std::time::Duration::ZERO, ..Options::default() })
}

/// `web`, applied and then changed by hand, beside a daemon that saw both.
fn drifted() -> (Api, Workspace, Daemon) {
    let (api, workspace) = (plenty(), Workspace::new());
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[OFTEN]);
    daemon.told("update accepted");
    by_hand(&api, "web");
    daemon.told("the service drifted");
    (api, workspace, daemon)
}

#[test]
fn drift_is_told_everywhere_and_left_as_it_is() {
    let (api, workspace) = (plenty(), Workspace::new());
    for service in ["web", "api"] {
        workspace.service(service, "1");
    }
    let mut daemon = Daemon::start(&workspace, &api, &[OFTEN]);
    daemon.told("each service is read for drift about every");
    eventually("both are applied", || api.world().update_count() == 2);
    by_hand(&api, "web");
    let told = daemon.told("the service drifted");
    assert_eq!(told["service"], "shop/web");
    assert_eq!(told["fields"], "external.imagePath ghcr.io/acme/web:hand -> ghcr.io/acme/web:1");
    let web = of(&daemon, "web");
    let change = json!([{"path": "external.imagePath", "from": "ghcr.io/acme/web:hand", "to": "ghcr.io/acme/web:1"}]);
    assert_eq!((&web["state"], &web["drift"]["differences"]), (&json!("drifted"), &change));
    assert_eq!(of(&daemon, "api")["state"], "unchanged");
    let metrics = daemon.page("/metrics").1;
    assert!(metrics.contains("truenorth_services{state=\"drifted\"} 1"), "{metrics}");
    let status = workspace.run(&["status", "--output", "json"]).exits(0).json();
    let drifted = status["services"].as_array().unwrap().iter().filter(|found| found["state"] == "drifted").count();
    assert_eq!((drifted, &status["converged"]), (1, &json!(false)), "from the ledger, beside the daemon");
    // It is told once, and no more than told.
    api.world().edit("shop/web", |live| *live = Live::deployment("ghcr.io/acme/web:1"));
    daemon.told("the service runs what was applied again");
    assert_eq!(daemon.log().iter().filter(|line| line.contains("the service drifted")).count(), 1);
    assert_eq!(api.world().update_count(), 2);
}

#[test]
fn drift_is_known_after_a_restart_before_anything_is_read() {
    let (api, workspace, daemon) = drifted();
    eventually("it is recorded", || {
        let status = workspace.run(&["status", "--output", "json"]).exits(0).json();
        status["services"][0]["state"] == "drifted"
    });
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
    let calls = api.world().call_count();
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("the folder was read");
    eventually("it is shown", || of(&daemon, "web")["state"] == "drifted");
    assert_eq!(api.world().call_count(), calls, "it was read lately");
}

#[test]
fn drift_is_corrected_where_that_is_asked_for_and_a_flapping_service_is_left_alone() {
    let (api, workspace) = (plenty(), Workspace::new());
    workspace.write("web.yaml", manifest("web", "1") + "policy: {drift: correct}\n");
    workspace.service("api", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[OFTEN]);
    eventually("both are applied", || api.world().update_count() == 2);
    by_hand(&api, "api");
    for correction in 1..=3 {
        by_hand(&api, "web");
        eventually("it is corrected", || api.world().updates("shop/web").len() == 1 + correction);
    }
    by_hand(&api, "web");
    let told = daemon.told("drift came back after each of 3 corrections");
    assert_eq!(told["service"], "shop/web");
    let web = of(&daemon, "web");
    assert_eq!(web["state"], "flapping");
    assert!(web["drift"]["left_alone_until"].is_string(), "{web}");
    assert_eq!(api.world().updates("shop/api").len(), 1, "the other one is only reported");
    // What was corrected says so in the ledger, and a restart goes on where it was.
    let ledger = truenorth::ledger::Reader::open(&workspace.state()).unwrap().unwrap();
    let causes: Vec<String> =
        ledger.history(Some(&"shop/web".parse().unwrap()), 9).unwrap().into_iter().map(|entry| entry.cause).collect();
    assert_eq!(causes, ["drifted", "drifted", "drifted", "new"]);
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
    let mut daemon = Daemon::start(&workspace, &api, &[OFTEN]);
    let reads = api.world().call_count();
    eventually("it is read again", || api.world().call_count() > reads + 4);
    assert_eq!(api.world().updates("shop/web").len(), 4);
    // A new manifest ends it.
    workspace.write("web.yaml", manifest("web", "2") + "policy: {drift: correct}\n");
    daemon.told("update accepted");
    assert_eq!(api.world().updates("shop/web").len(), 5);
}

#[test]
fn drift_is_not_looked_for_where_it_is_off() {
    let (api, workspace) = (plenty(), Workspace::sending());
    workspace.service("web", "1");
    workspace.write("api.yaml", manifest("api", "1") + "policy: {drift: report}\n");
    let mut daemon = Daemon::start(&workspace, &api, &[OFTEN, "--drift", "off"]);
    eventually("both are applied", || api.world().update_count() == 2);
    by_hand(&api, "web");
    by_hand(&api, "api");
    assert_eq!(daemon.told("the service drifted")["service"], "shop/api");
    assert_eq!(api.calls_of("shop/web"), 1);
}

#[test]
fn what_was_changed_by_hand_and_then_written_down_is_not_sent() {
    let (api, workspace, mut daemon) = drifted();
    workspace.service("web", "hand");
    daemon.told("adopted");
    eventually("it is unchanged", || of(&daemon, "web")["state"] == "unchanged");
    assert_eq!(api.world().update_count(), 1);
}

#[test]
fn a_token_that_may_not_read_stops_no_updates() {
    let (api, workspace) = (plenty(), Workspace::sending());
    api.world().script(Fault::error(403, "FORBIDDEN", "no", None).on(Operation::GetService).always());
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[OFTEN]);
    daemon.told("update accepted");
    eventually("it is shown", || {
        of(&daemon, "web")["drift"]["error"].as_str().is_some_and(|error| error.contains("403"))
    });
    assert_eq!(daemon.page("/readyz").0, 200);
    workspace.service("web", "2");
    daemon.told("update accepted");
}

#[test]
fn the_last_tenth_of_the_window_is_kept_for_changes() {
    let options = Options { limit: 50, rollout: std::time::Duration::ZERO, ..Options::default() };
    let (api, workspace) = (Api::with(options), Workspace::new());
    for number in 0..60 {
        let service = format!("s{number}");
        api.world()
            .set_live(format!("shop/{service}").as_str(), Live::deployment(&format!("ghcr.io/acme/{service}:1")));
        workspace.service(&service, "1");
    }
    let daemon = Daemon::start(&workspace, &api, &[]);
    let quota = || serde_json::from_str::<Value>(&daemon.page("/status").1).unwrap()["quota"].clone();
    eventually("reads wait", || quota()["reads_wait_until"].is_string());
    assert_eq!((quota()["remaining"].clone(), quota()["reserve"].clone()), (json!(5), json!(5)));
    assert_eq!(api.world().update_count(), 0);
    workspace.service("s0", "2");
    eventually("the change goes out", || api.world().updates("shop/s0").len() == 1);
    assert_eq!(api.world().remaining(), 4);
}

#[test]
fn a_second_reconciler_is_named_by_the_api_once_in_the_log_and_in_why() {
    let (api, workspace) = (plenty(), Workspace::new());
    for service in ["web", "api"] {
        workspace.service(service, "1");
    }
    let mut daemon = Daemon::start(&workspace, &api, &[OFTEN]);
    eventually("both are applied", || api.world().update_count() == 2);
    let reads = |service: &str| {
        let of = |call: &truenorth::sandbox::Call| {
            call.operation == Some(Operation::GetService)
                && call.target.as_ref().is_some_and(|of| of.service == service)
        };
        api.world().calls().iter().filter(|call| of(call)).count()
    };
    eventually("both were read", || reads("web") > 1 && reads("api") > 1);
    for service in ["web", "api"] {
        let image = format!("ghcr.io/acme/{service}:theirs");
        api.world()
            .deploy_as(format!("shop/{service}").as_str(), "other-daemon", |live| *live = Live::deployment(&image));
    }
    let told = daemon.told("somebody else changes these services too");
    assert_eq!(told["deployed_by"], "other-daemon", "{told}");
    assert!(told["deployed_at"].is_string(), "{told}");
    let service = told["service"].as_str().unwrap().to_owned();
    eventually("why names them", || {
        let why = workspace.run(&["why", &service]).exits(0);
        why.stdout.contains("other-daemon changed it") && why.stdout.contains("other-daemon deployed last, at ")
    });
    let why = workspace.run(&["why", &service, "--output", "json"]).exits(0).json();
    assert_eq!(why["changed_by"]["user"], "other-daemon", "{why:#}");
    let lists = || api.world().calls().iter().filter(|call| call.operation == Some(Operation::ListDeployments)).count();
    let asked = lists();
    assert_eq!(daemon.log().iter().filter(|line| line.contains("somebody else changes")).count(), 1);
    // What is sent since is ours again.
    workspace.service(service.trim_start_matches("shop/"), "2");
    eventually("it is sent", || api.world().update_count() == 3);
    eventually("nobody else is named", || !workspace.run(&["why", &service]).exits(0).stdout.contains("other-daemon"));
    assert!(lists() <= asked + 1, "who it was is asked once");
}
