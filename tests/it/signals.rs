//! Stopped in the middle: SIGTERM and SIGINT, once and twice.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use truenorth::sandbox::Fault;

use crate::support::{Api, PATIENCE, Running, Workspace, eventually, outcome};

const BOTH: [Signal; 2] = [Signal::TERM, Signal::INT];

/// Less than the 20 s that calls in flight are given, with room for a slow machine.
const WITHOUT_GRACE: Duration = Duration::from_secs(15);

#[test]
fn a_signal_ends_a_pass_that_waits_for_a_retry_with_its_report() {
    for signal in BOTH {
        let (api, workspace) = (Api::new(), Workspace::sending());
        workspace.service("bad", "1");
        workspace.service("good", "1");
        api.world().script(Fault::status(503).with_header("retry-after", "3600").of("shop/bad").always());
        let running = Running::start(&mut workspace.once_command(&api, &[]));
        eventually("both calls are over", || api.world().call_count() == 2 && api.world().in_flight() == 0);
        running.signal(signal);
        let ran = running.ended_within(WITHOUT_GRACE).exits(1);
        assert_eq!(ran.outcomes(), [outcome("shop/bad", "failed"), outcome("shop/good", "updated")]);
        assert_eq!(ran.service("shop/bad")["attempts"], 1);
        api.world().clear_faults();
        let next = workspace.once(&api, &[]).exits(0);
        assert_eq!(next.outcomes(), [outcome("shop/bad", "updated"), outcome("shop/good", "unchanged")]);
    }
}

#[test]
fn a_call_in_flight_is_finished_and_recorded_and_nothing_new_is_begun() {
    for signal in BOTH {
        let (api, workspace) = (Api::new(), Workspace::sending());
        for service in ["first", "second", "third"] {
            workspace.service(service, "1");
        }
        api.world().script(Fault::delay(Duration::from_secs(1)));
        let running = Running::start(&mut workspace.once_command(&api, &["--concurrency", "1"]));
        eventually("a call is in flight", || api.world().in_flight() == 1);
        running.signal(signal);
        let ran = running.ended().exits(1);
        assert_eq!(
            ran.outcomes(),
            [outcome("shop/first", "updated"), outcome("shop/second", "pending"), outcome("shop/third", "pending")]
        );
        assert_eq!(ran.service("shop/third")["error"], "not tried: the pass was stopped");
        let told = "stopping: waiting for the answers in flight; a second signal ends it at once calls=1";
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
        assert_eq!(api.world().call_count(), 1);
        let next = workspace.once(&api, &[]).exits(0);
        assert_eq!(next.service("shop/first")["outcome"], "unchanged");
        assert_eq!(next.service("shop/third")["outcome"], "updated");
    }
}

#[test]
fn a_second_signal_ends_a_pass_at_once_and_leaves_its_call_in_doubt() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    api.world().script(Fault::delay(10 * PATIENCE));
    let running = Running::start(&mut workspace.once_command(&api, &["--request-timeout", "10m"]));
    eventually("a call is in flight", || api.world().in_flight() == 1);
    // Two that differ: of one kind, the system would make one out of two that come together.
    for signal in BOTH {
        running.signal(signal);
    }
    let web = running.ended_within(WITHOUT_GRACE).exits(1).service("shop/web");
    assert_eq!((&web["outcome"], &web["attempts"]), (&json!("failed"), &json!(1)));
    assert_eq!(web["error"], "the pass ended before the answer came; the update may have been accepted");

    eventually("the call is given up", || api.world().in_flight() == 0);
    let web = workspace.once(&api, &[]).exits(0).service("shop/web");
    assert_eq!((&web["outcome"], &web["cause"]), (&json!("updated"), &json!("in-doubt")));
}

#[test]
fn a_signal_during_the_pause_of_a_rate_limit_ends_the_pass() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().set_limit(1);
    workspace.service("a", "1");
    workspace.service("b", "1");
    let running = Running::start(&mut workspace.once_command(&api, &["--concurrency", "1"]));
    eventually("the only call is over", || api.world().update_count() == 1 && api.world().in_flight() == 0);
    running.signal(Signal::TERM);
    let ran = running.ended_within(WITHOUT_GRACE).exits(1);
    assert_eq!(ran.outcomes(), [outcome("shop/a", "updated"), outcome("shop/b", "pending")]);
}

#[test]
fn a_pass_that_waits_for_gits_lock_can_be_stopped_and_has_a_deadline() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.com"]).args(arguments);
        assert!(git.current_dir(workspace.manifests()).output().unwrap().status.success(), "{arguments:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "one"]);
    std::fs::write(workspace.manifests().join(".git/index.lock"), "").unwrap();
    // What is as committed needs no git to finish it.
    workspace.service("web", "2");
    let ran = workspace.once(&api, &["--deadline", "300ms"]).exits(1);
    assert!(ran.stderr.contains("the deadline came before the folder was read"), "{ran:#?}");
    std::fs::remove_file(workspace.manifests().join(".git/index.lock")).unwrap();
    let ran = workspace.once(&api, &[]).exits(0);
    assert!(ran.json()["revision"].as_str().unwrap().starts_with("git:"), "{ran:#?}");
    assert_eq!(api.world().call_count(), 1);
}
