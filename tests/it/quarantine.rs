//! Content whose rollout failed is not sent again by itself.

use crate::support::{Api, Daemon, Workspace, eventually, manifest, tags};
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

/// A service whose version 2 runs, and of which somebody asked for version 1 back.
fn asked_back(api: &Api) -> Workspace {
    let workspace = Workspace::waiting();
    for tag in ["1", "2"] {
        workspace.service("web", tag);
        workspace.once(api, &[]).exits(0);
    }
    workspace.run(&["rollback", "web", "--reason", "wrong prices"]).exits(0);
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
    let plan = workspace.run(&["plan"]).exits(0).stdout;
    assert!(plan.contains("! unchanged shop/web") && plan.contains("1 of 2 containers TASK_FAILED"), "{plan}");
    let plan = workspace.run(&["plan", "--output", "json"]).exits(0).report();
    assert_eq!((&plan["services"][0]["rollout"]["state"], &plan["converged"]), (&"failed".into(), &false.into()));

    let released = workspace.run(&["release", "web", "--by", "kim", "--reason", "the registry was down"]).exits(0);
    assert!(released.stdout.contains("shop/web released: no truenorth runs; the next pass sends it once more"));
    let told = workspace.run(&["release", "web"]).exits(1);
    assert!(told.stderr.contains("shop/web is released already"), "{}", told.stderr);
    let plan = workspace.run(&["plan", "--output", "json", "--exit-code"]).exits(2).report();
    let planned = &plan["services"][0];
    assert_eq!((&planned["outcome"], &planned["cause"]), (&"update".into(), &"released".into()), "{planned}");
    let asked = "release of shop/web requested by kim at 20";
    for arguments in [&["status"][..], &["why", "web"]] {
        let text = workspace.run(arguments).exits(0).stdout;
        let line = text.lines().find(|line| line.contains(asked)).unwrap_or_else(|| panic!("{text}"));
        assert!(line.ends_with("Z, waits for the next pass: the registry was down"), "{line}");
        assert!(!text.contains("truenorth release"), "that is what somebody did: {text}");
    }
    let status = workspace.run(&["status", "--output", "json"]).exits(0).json();
    assert_eq!(
        (&status["services"][0]["state"], &status["requests"][0]["kind"]),
        (&"queued".into(), &"release".into())
    );
    let why = workspace.run(&["why", "web", "--output", "json"]).exits(0).json();
    assert_eq!(why["requests"][0]["by"], "kim", "{why:#}");
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
    let before = "the same content was sent before, and its rollout failed ";
    for arguments in [&["plan"][..], &["why", "web"]] {
        let text = workspace.run(arguments).exits(0).stdout;
        assert!(text.contains(before), "{text}");
    }
    let sent = workspace.once(&api, &[]).exits(0);
    assert!(sent.service("shop/web")["warnings"][0].as_str().unwrap().starts_with(before), "{}", sent.stdout);
    assert_eq!(tags(&api, "web"), ["1", "2", "3", "2"]);
    let plan = workspace.run(&["plan"]).exits(0).stdout;
    assert!(!plan.contains(before), "{plan}");
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

/// A service whose version 1 ran and whose version 2 fails, in a manifest that asks for the way back.
fn returning(workspace: &Workspace, tag: &str) {
    workspace.write("web.yaml", manifest("web", tag) + "policy: {onFailure: last-good}\n");
}

#[test]
fn a_pass_sends_the_last_good_version_in_the_place_of_one_that_fails_and_says_so_everywhere() {
    let api = quick();
    let workspace = Workspace::waiting();
    returning(&workspace, "1");
    workspace.once(&api, &[]).exits(0);
    returning(&workspace, "2-crash");
    let failed = workspace.once(&api, &[]).exits(1);
    let web = failed.service("shop/web");
    assert_eq!(web["outcome"], "failed", "{web}");
    let error = web["error"].as_str().unwrap();
    assert!(error.contains("1 of 2 containers TASK_FAILED") && error.contains("what ran before"), "{error}");
    assert_eq!(tags(&api, "web"), ["1", "2-crash", "1"]);

    let again = workspace.once(&api, &[]).exits(3);
    let web = again.service("shop/web");
    assert_eq!((&web["outcome"], &web["heldBy"][0]["kind"]), (&"held".into(), &"quarantine".into()), "{web}");
    let plan = workspace.run(&["plan", "--output", "json", "--exit-code"]).exits(3).report();
    assert_eq!((&plan["services"][0]["outcome"], &plan["plan"]["changes"]), (&"held".into(), &0.into()), "{plan}");
    let status = workspace.run(&["status", "--output", "json"]).json();
    assert_eq!(status["services"][0]["state"], "rolled-back", "{status:#}");
    let why = workspace.run(&["why", "web"]).exits(0).stdout;
    assert!(why.contains("has what ran before") && why.contains("truenorth release shop/web"), "{why}");
    let history = workspace.run(&["history", "web", "--output", "json"]).exits(0).json();
    assert_eq!(history["calls"][0]["cause"], "rollback");
    assert_eq!(tags(&api, "web"), ["1", "2-crash", "1"]);

    returning(&workspace, "3");
    workspace.once(&api, &[]).exits(0);
    assert_eq!(tags(&api, "web"), ["1", "2-crash", "1", "3"]);
}

#[test]
fn what_was_adopted_running_is_a_version_to_go_back_to() {
    let api = quick();
    let workspace = Workspace::waiting();
    workspace.service("web", "1");
    api.world().edit("shop/web", |live| *live = Live::deployment("ghcr.io/acme/web:1"));
    let adopted = workspace.once(&api, &[]).exits(0);
    assert_eq!(adopted.service("shop/web")["outcome"], "adopted");
    workspace.service("web", "2-crash");
    workspace.once(&api, &["--on-failure", "last-good"]).exits(1);
    assert_eq!(tags(&api, "web"), ["2-crash", "1"]);
}

#[test]
fn what_had_failed_before_it_was_adopted_is_said_by_everybody() {
    let api = quick();
    failed(&api);
    let adopting = Workspace::waiting();
    adopting.service("web", "2");
    let first = adopting.once(&api, &[]).exits(1);
    let web = first.service("shop/web");
    assert_eq!((&web["outcome"], &web["rollout"]["state"]), (&"adopted".into(), &"failed".into()), "{web}");
    let status = adopting.run(&["status", "--output", "json"]).exits(0).json();
    assert_eq!(status["services"][0]["state"], "rollout-failed", "{status:#}");
    for arguments in [&["why", "web"][..], &["plan"]] {
        let text = adopting.run(arguments).exits(0).stdout;
        assert!(text.contains("it had failed before it was adopted"), "{text}");
    }
    assert_eq!(tags(&api, "web"), ["1", "2"]);
}

#[test]
fn a_first_version_that_fails_has_nothing_to_go_back_to() {
    let api = quick();
    let workspace = Workspace::waiting();
    workspace.service("web", "1-crash");
    let failed = workspace.once(&api, &["--on-failure", "last-good"]).exits(1);
    assert!(failed.stderr.contains("no version is known that ran before"), "{}", failed.stderr);
    assert_eq!(tags(&api, "web"), ["1-crash"]);
}

#[test]
fn a_daemon_goes_back_once_over_kills_and_drift() {
    let api = Api::with(Options { limit: u32::MAX, ..Options::default() });
    let workspace = Workspace::new();
    returning(&workspace, "1");
    let arguments = ["--drift=correct", "--drift-every=50ms"];
    let mut daemon = Daemon::start(&workspace, &api, &arguments);
    let runs = |daemon: &Daemon| daemon.status()["services"][0]["rollout"]["state"] == "completed";
    eventually("the first version runs", || runs(&daemon));
    returning(&workspace, "2-crash");
    for _ in 0..3 {
        eventually("it goes back", || tags(&api, "web").len() == 3);
        daemon.signal(rustix::process::Signal::KILL);
        drop(daemon);
        daemon = Daemon::start(&workspace, &api, &arguments);
        eventually("it has what ran before", || daemon.state("web") == "rolled-back");
    }
    assert_eq!(tags(&api, "web"), ["1", "2-crash", "1"]);
    let status = daemon.status();
    assert_eq!(status["converged"], false);
    assert!(daemon.page("/metrics").1.contains("truenorth_services{state=\"rolled-back\"} 1"));
}

#[test]
fn a_person_goes_back_to_a_version_and_it_stays_until_the_manifest_changes() {
    let api = quick();
    let workspace = Workspace::waiting();
    for tag in ["1", "2", "3"] {
        workspace.service("web", tag);
        workspace.once(&api, &[]).exits(0);
    }
    let told = |arguments: &[&str], code: i32, words: &str| {
        let ran = workspace.run(arguments).exits(code);
        assert!(ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
    };
    told(&["rollback", "web"], 64, "--reason");
    told(&["rollback", "web", "--reason", "x", "--to", "ffffffff"], 1, "no version of shop/web begins with ffffffff");
    let history = workspace.run(&["history", "web", "--output", "json"]).exits(0).json();
    let first = history["calls"][2]["digest"].as_str().unwrap().to_owned();
    let rolled = ["rollback", "web", "--reason", "wrong prices", "--by", "kim", "--to", &first[..19]];
    let rolled = workspace.run(&rolled).exits(0);
    assert!(rolled.stdout.contains("ghcr.io/acme/web:2") && rolled.stdout.contains("the next pass sends it"));
    let plan = workspace.run(&["plan", "--output", "json", "--exit-code"]).exits(2).report();
    assert_eq!(plan["services"][0]["cause"], "rollback", "{plan}");
    let back = workspace.once(&api, &[]).exits(3);
    assert_eq!(tags(&api, "web"), ["1", "2", "3", "1"]);
    let web = back.service("shop/web");
    assert_eq!((&web["outcome"], &web["cause"]), (&"updated".into(), &"rollback".into()), "{web}");
    let what = web["heldBy"][0]["what"].as_str().unwrap().to_owned();
    assert!(what.contains("rolled back by kim: wrong prices"), "{what}");
    workspace.once(&api, &[]).exits(3);
    assert_eq!(tags(&api, "web"), ["1", "2", "3", "1"]);

    workspace.service("web", "4");
    workspace.once(&api, &[]).exits(0);
    assert_eq!(tags(&api, "web"), ["1", "2", "3", "1", "4"]);
    // Without a choice it is the last one that ran; a running daemon does it at once.
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("it is up", || daemon.state("web") == "unchanged");
    workspace.run(&["rollback", "web", "--reason", "again"]).exits(0);
    eventually("it goes back", || daemon.state("web") == "rolled-back");
    assert_eq!(tags(&api, "web").last().map(String::as_str), Some("1"));
}

/// The results of what people asked for, oldest first.
fn results(workspace: &Workspace) -> Vec<String> {
    let history = workspace.run(&["history", "web", "--output", "json"]).exits(0).json();
    let requests = history["requests"].as_array().unwrap().iter().rev();
    requests.map(|asked| asked["result"].as_str().unwrap_or("waits").to_owned()).collect()
}

#[test]
fn a_plan_says_the_same_of_a_rollback_whatever_is_read() {
    let api = quick();
    let workspace = asked_back(&api);
    let planned = |more: &[&str]| {
        let report = workspace.run(&[&["plan", "--output", "json"], more].concat()).exits(0).report();
        ["outcome", "cause", "heldBy", "changes"].map(|of| report["services"][0][of].clone())
    };
    let plan = planned(&[]);
    assert_eq!((&plan[0], &plan[1]), (&"update".into(), &"rollback".into()));
    assert_eq!(planned(&["--live", "--api-url", &api.url()]), plan);
}

#[test]
fn a_rollback_that_is_released_before_anybody_took_it_up_sends_nothing() {
    let api = quick();
    let workspace = asked_back(&api);
    let released = workspace.run(&["release", "web"]).exits(0);
    assert!(released.stdout.contains("it has what its manifest says, and nothing is sent"), "{}", released.stdout);
    assert_eq!(results(&workspace), ["waits", "waits"]);
    workspace.run(&["plan", "--exit-code"]).exits(0);
    let pass = workspace.once(&api, &[]).exits(0);
    assert_eq!(pass.service("shop/web")["outcome"], "unchanged");
    assert_eq!(tags(&api, "web"), ["1", "2"]);
    assert_eq!(results(&workspace), ["rolled back", "released"]);

    // The other way round it goes back.
    workspace.run(&["rollback", "web", "--reason", "again"]).exits(0);
    workspace.run(&["release", "web"]).exits(0);
    workspace.run(&["rollback", "web", "--reason", "wrong prices after all"]).exits(0);
    workspace.once(&api, &[]).exits(3);
    assert_eq!(tags(&api, "web"), ["1", "2", "1"]);
    let released = workspace.run(&["release", "web"]).exits(0);
    assert!(released.stdout.contains("the next pass sends what its manifest says"), "{}", released.stdout);
    workspace.once(&api, &[]).exits(0);
    assert_eq!(tags(&api, "web"), ["1", "2", "1", "2"]);
}

#[test]
fn a_daemon_that_begins_takes_up_what_people_asked_for_before_it_sends_anything() {
    let api = quick();
    let workspace = asked_back(&api);
    workspace.service("web", "3");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("the manifest says something else by now", || tags(&api, "web") == ["1", "2", "3"]);
    eventually("that is told", || results(&workspace) == ["not rolled back: the manifest changed"]);
    drop(daemon);
}

#[test]
fn a_person_who_goes_back_from_what_failed_hears_of_the_update_and_not_of_the_failure() {
    let api = quick();
    let workspace = failed(&api);
    workspace.run(&["rollback", "web", "--reason", "it crashes"]).exits(0);
    let back = workspace.once(&api, &[]).exits(3);
    let web = back.service("shop/web");
    assert_eq!((&web["outcome"], &web["cause"]), (&"updated".into(), &"rollback".into()), "{web}");
    assert_eq!(tags(&api, "web"), ["1", "2", "1"]);
    workspace.once(&api, &[]).exits(3);
    let again = workspace.run(&["rollback", "web", "--reason", "it crashes"]).exits(0).stdout;
    assert!(again.contains("already; it stays until its manifest changes"), "{again}");
    let told = workspace.run(&["retry", "web"]).exits(1).stderr;
    assert!(told.contains("nothing of shop/web waits for a retry") && told.contains("truenorth release"), "{told}");
    let why = workspace.run(&["why", "web"]).exits(0).stdout;
    assert!(why.contains("a release, or a new version"), "{why}");
}

#[test]
fn a_release_or_a_rollback_of_what_is_frozen_or_suspended_says_what_it_waits_for() {
    let api = quick();
    let workspace = failed(&api);
    workspace.run(&["freeze", "web", "--reason", "x", "--until", "6h"]).exits(0);
    let told = workspace.run(&["rollback", "web", "--reason", "x"]).exits(0).stdout;
    assert!(told.contains("it is frozen until ") && told.contains("; it is sent after that"), "{told}");
    workspace.run(&["thaw", "web"]).exits(0);
    workspace.write("web.yaml", manifest("web", "2") + "policy: {suspend: true}\n");
    let told = workspace.run(&["release", "web"]).exits(0).stdout;
    assert!(told.contains("its manifest suspends it; it is sent once more after that"), "{told}");
}
