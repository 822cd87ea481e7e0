//! Content whose rollout failed is not sent again by itself.

use crate::support::{Api, Daemon, Workspace, eventually, tags};
use serde_json::Value;
use truenorth::sandbox::{Ending, Live, Options};

/// Rollouts that take about a second.
fn quick() -> Api {
    Api::with(Options::default())
}

/// A service whose version 2 was sent by a pass, and whose rollout failed.
fn failed(api: &Api) -> Workspace {
    let workspace = Workspace::waiting();
    workspace.service("web", "1");
    workspace.once(api, &[]).exits(0);
    api.world().set_ending("shop/web", Ending::Failed);
    workspace.service("web", "2");
    workspace.once(api, &[]).exits(1);
    api.world().set_ending("shop/web", Ending::Completed);
    workspace
}

#[test]
fn what_failed_is_sent_again_by_a_release_alone_and_by_one_once() {
    let api = quick();
    let workspace = failed(&api);
    let again = workspace.once(&api, &[]).exits(1);
    let web = again.service("shop/web");
    assert_eq!(
        (&web["outcome"], &web["rollout"]["reason"]),
        (&"unchanged".into(), &"1 of 2 containers TASK_FAILED".into())
    );
    assert!(workspace.run(&["why", "web"]).exits(0).stdout.contains("truenorth release shop/web"));
    assert_eq!(tags(&api, "web"), ["1", "2"]);

    let released = workspace.run(&["release", "web", "--by", "kim", "--reason", "the registry was down"]).exits(0);
    assert!(released.stdout.contains("shop/web released: no truenorth runs; the next pass sends it once more"));
    let told = workspace.run(&["release", "web"]).exits(1);
    assert!(told.stderr.contains("shop/web is released already"), "{}", told.stderr);
    let plan = workspace.run(&["plan", "--output", "json", "--exit-code"]).exits(2).report();
    let planned = &plan["services"][0];
    assert_eq!((&planned["outcome"], &planned["cause"]), (&"update".into(), &"released".into()), "{planned}");
    let sent = workspace.once(&api, &[]).exits(0);
    assert_eq!(
        (&sent.service("shop/web")["outcome"], &sent.service("shop/web")["cause"]),
        (&"updated".into(), &"released".into())
    );
    assert_eq!(tags(&api, "web"), ["1", "2", "2"]);

    workspace.once(&api, &[]).exits(0);
    assert_eq!(tags(&api, "web"), ["1", "2", "2"]);
    let told = workspace.run(&["release", "web"]).exits(1);
    assert!(told.stderr.contains("shop/web is not quarantined"), "{}", told.stderr);
    let history = workspace.run(&["history", "web", "--output", "json"]).exits(0).json();
    assert_eq!((&history["requests"][0]["kind"], &history["requests"][0]["by"]), (&"release".into(), &"kim".into()));
    assert_eq!(history["calls"][0]["cause"], "released");
}

#[test]
fn a_fix_goes_at_once_and_what_is_written_down_anew_is_sent_anew() {
    let api = quick();
    let workspace = failed(&api);
    workspace.service("web", "3");
    workspace.once(&api, &[]).exits(0);
    workspace.service("web", "2");
    workspace.once(&api, &[]).exits(0);
    assert_eq!(tags(&api, "web"), ["1", "2", "3", "2"]);
}

#[test]
fn a_daemon_does_not_correct_drift_from_what_failed_until_it_is_released() {
    let api = Api::with(Options { limit: u32::MAX, ..Options::default() });
    let workspace = Workspace::new();
    workspace.service("web", "1");
    let arguments = ["--drift=correct", "--drift-every=50ms"];
    let daemon = Daemon::start(&workspace, &api, &arguments);
    eventually("the first update", || tags(&api, "web") == ["1"]);
    api.world().set_ending("shop/web", Ending::Failed);
    workspace.service("web", "2");
    eventually("the failure is seen", || daemon.state("web") == "rollout-failed");
    api.world().edit("shop/web", |live| *live = Live::deployment("ghcr.io/acme/web:hand"));
    eventually("it is held", || daemon.state("web") == "held");
    daemon.signal(rustix::process::Signal::KILL);
    drop(daemon);
    let daemon = Daemon::start(&workspace, &api, &arguments);
    eventually("it is held after a crash as well", || daemon.state("web") == "held");
    assert_eq!(tags(&api, "web"), ["1", "2"]);
    let status: Value = daemon.status();
    assert!(status["services"][0]["error"].as_str().unwrap_or_default().contains("truenorth release"), "{status:#}");

    api.world().set_ending("shop/web", Ending::Completed);
    workspace.run(&["release", "web"]).exits(0);
    eventually("it is sent once more", || tags(&api, "web") == ["1", "2", "2"]);
    eventually("and runs", || daemon.state("web") == "unchanged");
}
