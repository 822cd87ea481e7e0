//! Windows: updates are sent in some times only, as the config file has it.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Api, Daemon, Ran, Workspace, eventually, tags};
use truenorth::sandbox::Options;

/// A time so many seconds from now, as a window names one.
fn in_seconds(seconds: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    at.to_zoned_datetime(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// A window in which nothing is sent from now on, for so many seconds.
fn closed_for(seconds: i64) -> String {
    format!("{{deny: {}..{}, reason: the fair}}", in_seconds(-3600), in_seconds(seconds))
}

fn config_file(workspace: &Workspace, text: &str) -> String {
    let path = workspace.path().join("truenorth.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn held_by_a_window(held: &Value, until: &str) {
    assert_eq!((&held[0]["kind"], &held[1]), (&json!("window"), &Value::Null), "{held}");
    assert!(held[0]["until"].as_str().unwrap().starts_with(until), "{held}");
    let what = held[0]["what"].as_str().unwrap();
    assert!(what.starts_with("no updates during ") && what.ends_with("(UTC): the fair"), "{what}");
}

#[test]
fn what_is_due_outside_of_its_window_is_held_and_everybody_says_by_which_why_and_until_when() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.service("api", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.service("web", "2");
    workspace.service("api", "2");
    let until = in_seconds(3600);
    let window = format!("windows:\n- {{deny: 2020-01-01..{until}, services: [shop/w*], reason: the fair}}\n");
    let config = config_file(&workspace, &window);
    let with = |arguments: &[&str]| workspace.run(&[arguments, &["--config", &config]].concat());

    let plan = with(&["plan", "--output", "json"]).exits(0);
    held_by_a_window(&plan.service("shop/web")["heldBy"], &until);
    assert_eq!(plan.service("shop/api")["outcome"], "update");
    let text = with(&["plan"]).exits(0).stdout;
    assert!(text.contains(&format!("held until {until}Z: no updates during")), "{text}");

    let ran = workspace.once(&api, &["--config", &config]).exits(3);
    assert_eq!((&ran.service("shop/web")["outcome"], tags(&api, "web").len()), (&json!("held"), 1));
    held_by_a_window(&ran.service("shop/web")["heldBy"], &until);
    assert_eq!(ran.service("shop/api")["outcome"], "updated");
    assert!(with(&["plan", "--exit-code"]).exits(3).stdout.contains("1 held"));
    let live = with(&["plan", "--live", "--output", "json", "--api-url", &api.url()]).exits(0);
    held_by_a_window(&live.service("shop/web")["heldBy"], &until);

    // Also where the file is not named: a pass wrote down what it found.
    for status in [with(&["status"]), workspace.run(&["status"])] {
        assert!(status.stdout.contains("no updates during") && status.stdout.contains(&until), "{}", status.stdout);
    }
    let why = workspace.run(&["why", "web"]).exits(0).stdout;
    assert!(why.contains("the fair") && why.contains(&until), "{why}");
    with(&["status", "--exit-code"]).exits(3);

    // Inside of one that allows it goes, in its newest form.
    workspace.service("web", "3");
    config_file(&workspace, &format!("windows: {{allow: 2020-01-01..{until}}}\n"));
    workspace.once(&api, &["--config", &config]).exits(0);
    assert_eq!(tags(&api, "web"), ["1", "3"]);
    config_file(&workspace, "windows: {allow: 2020-01-01..2020-01-02}\n");
    workspace.service("web", "4");
    let never = workspace.once(&api, &["--config", &config]).exits(3);
    let held = &never.service("shop/web")["heldBy"][0];
    assert!(held["until"].is_null() && held["what"].as_str().unwrap().contains("it never opens"), "{held}");
}

#[test]
fn a_daemon_sends_the_newest_when_its_window_opens() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    let config = config_file(&workspace, &format!("windows: [{}]\n", closed_for(4)));
    workspace.service("web", "2");
    let daemon = Daemon::start(&workspace, &api, &["--config", &config]);
    eventually("it is held", || daemon.state("web") == "held");
    let service = daemon.service("web").unwrap();
    assert!(service["error"].as_str().unwrap().contains("the fair"), "{service}");
    assert!(service["next_attempt"].is_string(), "{service}");
    workspace.service("web", "3");
    eventually("it goes", || tags(&api, "web") == ["1", "3"]);
}

#[test]
fn a_running_daemon_takes_windows_over_on_sighup_and_says_what_needs_a_restart() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    let config = config_file(&workspace, "concurrency: 4\n");
    let mut daemon = Daemon::start(&workspace, &api, &["--config", &config]);
    eventually("the first update", || tags(&api, "web") == ["1"]);
    config_file(&workspace, &format!("concurrency: 5\ndrift: off\nwindows: [{}]\n", closed_for(3600)));
    daemon.signal(Signal::HUP);
    let told = daemon.told("count after a restart");
    assert_eq!(told["options"], "concurrency, drift");
    daemon.told("the windows of the config file are taken over");
    workspace.service("web", "2");
    eventually("it is held", || daemon.state("web") == "held");
    // A file with a mistake changes nothing.
    config_file(&workspace, "windows: [{deny: Fry}]\n");
    daemon.signal(Signal::HUP);
    let told = daemon.told("the config file cannot be used");
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("truenorth.yaml:1:18 deny `Fry`: `Fry` is not a day"), "{error}");
    assert_eq!(daemon.state("web"), "held");
    config_file(&workspace, "concurrency: 4\n");
    daemon.signal(Signal::HUP);
    eventually("it goes", || tags(&api, "web") == ["1", "2"]);
}

#[test]
fn a_rollback_goes_outside_of_a_window_unless_that_says_otherwise_and_plan_knows() {
    let (api, workspace) = (Api::with(Options::default()), Workspace::waiting());
    for tag in ["1", "2"] {
        workspace.service("web", tag);
        workspace.once(&api, &[]).exits(0);
    }
    let window = |more: &str| {
        config_file(
            &workspace,
            &format!("windows: {{deny: 2020-01-01..{}{more}, reason: the fair}}\n", in_seconds(3600)),
        )
    };
    let config = window(", rollbacks: hold");
    workspace.run(&["rollback", "web", "--reason", "wrong prices"]).exits(0);
    let plan = || workspace.run(&["plan", "--output", "json", "--config", &config]).exits(0);
    let held = plan().service("shop/web").clone();
    assert_eq!(
        (&held["outcome"], &held["cause"], &held["heldBy"][0]["kind"]),
        (&json!("held"), &json!("rollback"), &json!("window"))
    );
    let pass = workspace.once(&api, &["--config", &config]).exits(3);
    assert_eq!(pass.service("shop/web")["heldBy"][0]["kind"], "window", "{}", pass.stdout);
    assert_eq!(tags(&api, "web"), ["1", "2"]);

    window("");
    let sent = plan().service("shop/web").clone();
    assert_eq!((&sent["outcome"], &sent["cause"]), (&json!("update"), &json!("rollback")), "{sent}");
    workspace.once(&api, &["--config", &config]).exits(3);
    assert_eq!(tags(&api, "web"), ["1", "2", "1"]);
}

#[test]
fn config_shows_windows_and_the_schema_has_them() {
    let workspace = Workspace::new();
    let text =
        "windows:\n- allow: \"Mon-Thu 09:00-17:00\"\n  zone: Europe/Berlin\n  services: [shop/**]\n- deny: [Sat,Sun]\n";
    let config = config_file(&workspace, text);
    let shown = workspace.run(&["config", "--config", &config, "--output", "json"]).exits(0).json();
    let place = format!("{config}:2");
    assert_eq!(
        shown["windows"][0],
        json!({"effect": "allow", "times": ["Mon-Thu 09:00-17:00"], "zone": "Europe/Berlin", "services": ["shop/**"],
            "rollbacks": "send", "reason": null, "place": place})
    );
    let told = workspace.run(&["config", "--config", &config]).exits(0).stdout;
    let line = told.lines().find(|line| line.starts_with("windows")).unwrap().to_owned();
    assert!(line.contains("allow Mon-Thu 09:00-17:00 (Europe/Berlin), shop/**") && line.contains(&place), "{line}");
    let schema = workspace.run(&["schema", "config"]).exits(0).json();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for (text, is_valid) in [
        (text, true),
        ("windows: {deny: 2026-12-20..2027-01-03, reason: holidays}\n", true),
        ("windows: {deny: Sun, rollbacks: hold}\n", true),
        ("windows: {deny: Sun, rollbacks: wait}\n", false),
        ("windows: [{zone: UTC}]\n", false),
        ("windows: [{deny: Sun, zoned: UTC}]\n", false),
        ("windows: 5\n", false),
        ("windows: [{deny: []}]\n", false),
    ] {
        let value: Value = serde_yaml::from_str(text).unwrap();
        assert_eq!(validator.is_valid(&value), is_valid, "{text}");
        let config = config_file(&workspace, text);
        let code = if is_valid { 0 } else { 78 };
        Ran::of(workspace.command(&["plan"]).env("TRUENORTH_CONFIG", &config)).exits(code);
    }
}
