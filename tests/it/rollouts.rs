//! Deployed, and not only accepted: passes wait for the rollouts of what they sent.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Api, Daemon, Workspace, eventually};
use rustix::process::Signal;
use truenorth::sandbox::{Ending, Fault, Operation, Options};

/// Rollouts that take about a second.
fn quick() -> Api {
    Api::with(Options::default())
}

fn rolling_for(seconds: u64) -> Api {
    Api::with(Options { rollout: Duration::from_secs(seconds), ..Options::default() })
}

fn rollout<'a>(report: &'a Value, service: &str) -> &'a Value {
    let services = report["services"].as_array().unwrap();
    &services.iter().find(|found| found["service"] == service).unwrap()["rollout"]
}

fn lists(api: &Api) -> usize {
    api.world().calls().iter().filter(|call| call.operation == Some(Operation::ListServices)).count()
}

#[test]
fn a_pass_waits_until_what_it_sent_runs() {
    let (api, workspace) = (quick(), Workspace::waiting());
    for service in ["api", "db", "web"] {
        workspace.service(service, "1");
    }
    let first = workspace.once(&api, &[]).exits(0);
    let report = first.report();
    for service in ["shop/api", "shop/db", "shop/web"] {
        assert_eq!(rollout(&report, service)["state"], "completed", "{report:#}");
        assert_eq!(rollout(&report, service)["evidence"], "time");
    }
    assert!(first.stderr.contains("deployed in "), "{}", first.stderr);
    assert_eq!(lists(&api), 1, "one list shows them all");

    let calls = api.world().call_count();
    let second = workspace.once(&api, &[]).exits(0);
    assert_eq!(api.world().call_count(), calls, "nothing rolls out: nothing is asked");
    assert_eq!(rollout(&second.report(), "shop/web")["state"], "completed");
}

#[test]
fn a_rollout_that_fails_is_exit_code_1_with_its_reason_until_the_manifest_changes() {
    let (api, workspace) = (quick(), Workspace::waiting());
    workspace.service("web", "1-crash");
    let failed = workspace.once(&api, &[]).exits(1);
    let report = failed.report();
    assert_eq!(report["converged"], false);
    assert_eq!(report["services"][0]["outcome"], "updated");
    assert_eq!(rollout(&report, "shop/web")["state"], "failed");
    assert_eq!(rollout(&report, "shop/web")["reason"], "1 of 2 containers TASK_FAILED");
    assert!(failed.stderr.contains("failed: 1 of 2 containers TASK_FAILED"), "{}", failed.stderr);

    let again = workspace.once(&api, &[]).exits(1);
    assert_eq!(again.report()["services"][0]["outcome"], "unchanged");
    assert_eq!(api.world().update_count(), 1, "it is not sent again");
    let status = workspace.run(&["status", "--output", "json"]).exits(0);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["services"][0]["state"], "rollout-failed");
    assert_eq!(status["services"][0]["rollout"]["state"], "failed");
    let why = workspace.run(&["why", "web"]).exits(0);
    assert!(why.stdout.contains("does not run: failed: 1 of 2 containers TASK_FAILED"), "{}", why.stdout);

    workspace.service("web", "2");
    let fixed = workspace.once(&api, &[]).exits(0);
    assert_eq!(rollout(&fixed.report(), "shop/web")["state"], "completed");
    let history = workspace.run(&["history", "--output", "json"]).exits(0);
    let history: Value = serde_json::from_str(&history.stdout).unwrap();
    let states: Vec<&Value> =
        history["calls"].as_array().unwrap().iter().map(|call| &call["rollout"]["state"]).collect();
    assert_eq!(states, ["completed", "failed"]);
}

#[test]
fn a_pass_that_does_not_wait_says_so_and_the_next_one_looks() {
    let (api, workspace) = (quick(), Workspace::waiting());
    workspace.service("web", "1");
    let sent = workspace.run(&["--reconcile-once", "--no-wait", "--api-url", &api.url()]).exits(0);
    assert!(sent.stdout.contains("rollouts not awaited"), "{}", sent.stdout);
    assert_eq!(lists(&api), 0);
    let next = workspace.once(&api, &[]).exits(0);
    assert_eq!(rollout(&next.report(), "shop/web")["state"], "completed");
    assert_eq!((lists(&api), api.world().update_count()), (1, 1));
}

#[test]
fn a_rollout_that_takes_too_long_is_exit_code_1() {
    let api = rolling_for(600);
    let workspace = Workspace::waiting();
    workspace.service("web", "1");
    let late = workspace.once(&api, &["--rollout-timeout", "2s"]).exits(1);
    assert_eq!(rollout(&late.report(), "shop/web")["state"], "timed-out");
}

#[test]
fn a_token_that_may_not_list_is_told_and_no_success() {
    let (api, workspace) = (quick(), Workspace::waiting());
    workspace.service("web", "1");
    let fault = Fault::error(403, "FORBIDDEN", "no permission", None);
    api.world().script(fault.on(Operation::ListServices).always());
    let blind = workspace.once(&api, &[]).exits(1);
    let reason = rollout(&blind.report(), "shop/web")["reason"].clone();
    assert!(reason.as_str().unwrap().contains("cannot list the services of shop"), "{reason}");
}

#[test]
fn a_daemon_follows_also_over_a_kill_and_sees_a_failure() {
    let api = rolling_for(4);
    let workspace = Workspace::waiting();
    api.world().set_ending("shop/web", Ending::Failed);
    workspace.service("web", "1");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("the update is sent", || api.world().update_count() == 1);
    eventually("it is recorded", || {
        let status = workspace.run(&["status", "--output", "json"]);
        status.stdout.contains("\"unseen\"")
    });
    daemon.signal(Signal::KILL);
    drop(daemon);
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("the failure is seen", || daemon.status()["services"][0]["rollout"]["reason"].is_string());
    let status = daemon.status();
    assert_eq!(status["services"][0]["state"], "rollout-failed", "{status:#}");
    assert_eq!(status["converged"], false);
    assert!(daemon.page("/metrics").1.contains("truenorth_rollouts{state=\"failed\"} 1"));
    assert_eq!(api.world().update_count(), 1);
}
