//! Deployed, and not only accepted: passes wait for the rollouts of what they sent.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Api, Daemon, Running, Workspace, eventually};
use rustix::process::Signal;
use truenorth::sandbox::{Ending, Fault, Live, Operation, Options, Stage};

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

fn lists_of_deployments(api: &Api) -> usize {
    api.world().calls().iter().filter(|call| call.operation == Some(Operation::ListDeployments)).count()
}

#[test]
fn whose_a_failure_is_is_asked_and_the_deployment_is_named_everywhere() {
    let (api, workspace) = (quick(), Workspace::waiting());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    assert_eq!(lists_of_deployments(&api), 0, "nothing hangs on a rollout that went well");
    workspace.service("web", "2-crash");
    let report = workspace.once(&api, &[]).exits(1).report();
    let failed = rollout(&report, "shop/web").clone();
    assert_eq!(lists_of_deployments(&api), 1);
    assert_eq!((&failed["evidence"], &failed["deploymentId"]), (&"deployment-id".into(), &"deployment-2".into()));
    for command in [&["why", "web"][..], &["status"], &["history"]] {
        let shown = workspace.run(&[command, &["--output", "json"]].concat()).exits(0);
        assert!(
            shown.stdout.replace(' ', "").contains(r#""deploymentId":"deployment-2""#),
            "{command:?}: {}",
            shown.stdout
        );
    }
}

#[test]
fn a_failure_of_what_somebody_else_deployed_is_theirs_by_name() {
    let api = rolling_for(3);
    let workspace = Workspace::waiting();
    workspace.service("web", "1");
    let pass = Running::start(&mut workspace.once_command(&api, &["--on-failure", "last-good"]));
    eventually("it rolls out", || api.world().stage("shop/web") == Some(Stage::InProgress));
    assert_eq!(api.world().update_count(), 1);
    api.world().deploy_as("shop/web", "Jane\u{1b}[31m Doe", |live| *live = Live::deployment("nginx:9-crash"));
    let ran = pass.ended().exits(1);
    let report = ran.report();
    let overtaken = rollout(&report, "shop/web");
    assert_eq!((&report["converged"], &overtaken["state"]), (&false.into(), &"superseded".into()), "{report:#}");
    assert_eq!(overtaken["supersededBy"]["user"], "Jane\u{1b}[31m Doe");
    assert!(ran.stderr.contains("superseded: Jane"), "{}", ran.stderr);
    assert!(!ran.stderr.contains('\u{1b}') && !ran.stdout.contains('\u{1b}'), "{}", ran.stderr);
    let why = workspace.run(&["why", "web"]).exits(0);
    assert!(why.stdout.contains("something else runs: superseded: Jane"), "{}", why.stdout);
    assert!(why.stdout.contains("Doe deployed something else at"), "{}", why.stdout);
    assert_eq!(api.world().update_count(), 1, "nothing is sent back over it");
}

#[test]
fn an_older_api_that_lists_no_deployments_leaves_it_to_the_times() {
    let (api, workspace) = (quick(), Workspace::waiting());
    let fault = Fault::error(404, "NOT-FOUND", "no such path", None);
    api.world().script(fault.on(Operation::ListDeployments).always());
    workspace.service("web", "1-crash");
    workspace.service("api", "1-crash");
    let report = workspace.once(&api, &[]).exits(1).report();
    for service in ["shop/web", "shop/api"] {
        let failed = rollout(&report, service);
        assert_eq!((&failed["state"], &failed["evidence"]), (&"failed".into(), &"time".into()), "{report:#}");
    }
    assert_eq!(lists_of_deployments(&api), 1, "what is not served is not asked again");
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
