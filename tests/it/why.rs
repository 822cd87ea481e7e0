//! `truenorth why`: the answer first, then what it rests on; from the ledger and the folder, without a call.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use truenorth::sandbox::{Fault, Live, Operation, Options, Wait};

use crate::support::{Api, Running, Workspace, eventually, manifest, tags};

/// What `why` says of `shop/web`, and that it asked nobody.
struct Why {
    json: Value,
    text: String,
}

impl Why {
    fn of(workspace: &Workspace) -> Self {
        Self {
            json: workspace.run(&["why", "shop/web", "--output", "json"]).exits(0).json(),
            text: workspace.run(&["why", "shop/web"]).exits(0).stdout,
        }
    }

    fn is(&self, state: &str) -> bool {
        self.json["state"] == state
    }

    /// The answer comes first.
    #[track_caller]
    fn begins(&self, words: &str) {
        assert!(self.text.starts_with(words), "{}", self.text);
        // The JSON is of another moment, with other ages behind these words.
        assert!(self.json["explanation"].as_str().unwrap().starts_with(words.trim_end()), "{:#}", self.json);
    }

    /// The line with this label.
    #[track_caller]
    fn line(&self, label: &str) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix(&format!("  {label:<9}  ")));
        line.unwrap_or_else(|| panic!("no {label} in {}", self.text))
    }
}

/// A daemon that serves nothing.
fn daemon(workspace: &Workspace, api: &Api) -> Running {
    let url = api.url();
    Running::start(&mut workspace.command(&["--api-url", &url, "--listen", "off", "--debounce", "20ms"]))
}

#[test]
fn a_service_that_is_in_order_says_so() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.service("web", "2");
    workspace.once(&api, &[]).exits(0);
    let calls = api.world().call_count();
    let why = Why::of(&workspace);
    assert!(why.is("unchanged"), "{:#}", why.json);
    why.begins("shop/web has what its manifest says: there is nothing to send.\n");
    assert_eq!(why.line("manifest"), "manifests/web.yaml:1");
    assert!(why.line("applied").contains(", changed, from web.yaml:1 at tree:"), "{}", why.text);
    assert!(why.line("last call").starts_with("accepted 200, "), "{}", why.text);
    // What the last call changed, against what was accepted before it.
    assert!(why.text.contains("external.imagePath  ghcr.io/acme/web:1 -> ghcr.io/acme/web:2\n"), "{}", why.text);
    let change = json!([{"path": "external.imagePath", "from": "ghcr.io/acme/web:1", "to": "ghcr.io/acme/web:2"}]);
    assert_eq!(why.json["last_call"]["changes"], change);
    assert_eq!((&why.json["desired"], &why.json["changes"]), (&why.json["applied"]["digest"], &json!([])));
    assert_eq!((&why.json["waits_for"], &why.json["not_sent"]), (&Value::Null, &Value::Null));
    let names: Vec<&str> = why.json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "applied",
        "as_of",
        "cause",
        "changes",
        "decisions",
        "desired",
        "drift",
        "explanation",
        "failed_before",
        "holder",
        "in_doubt",
        "last_call",
        "ledger",
        "manifest",
        "may_take_effect_until",
        "next",
        "not_sent",
        "problems",
        "requests",
        "revision",
        "rollout",
        "sent_as_patch",
        "service",
        "state",
        "step",
        "suspension",
        "waits_for",
    ];
    assert_eq!(names, expected);
    assert_eq!(api.world().call_count(), calls);
}

#[test]
fn what_is_due_is_told_with_what_would_be_sent() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    let new = Why::of(&workspace);
    assert!(
        new.json["state"].is_null() && new.json["cause"] == "new" && new.json["step"] == "read-live",
        "{:#}",
        new.json
    );
    let no_ledger = workspace.state().display().to_string();
    new.begins(&format!("It is not known what shop/web has: there is no ledger at {no_ledger}.\n"));
    assert_eq!((new.line("applied"), new.line("ledger")), ("nothing", &*format!("none at {no_ledger}")));
    let next = "a first pass reads the service before it sends anything; --state-dir names another ledger";
    assert_eq!(new.line("next"), next);
    assert!(!workspace.state().exists(), "looking leaves no trace");

    let command = "  docker:\n    configType: customCommand\n    customCommand: run --password hunter2\n";
    workspace.once(&api, &[]).exits(0);
    workspace.write("web.yaml", manifest("web", "2") + command);
    let changed = Why::of(&workspace);
    changed.begins("shop/web is to be updated: its manifest changed.\n");
    assert!(changed.is("queued") && changed.json["waits_for"]["what"] == "run", "{:#}", changed.json);
    assert_eq!(changed.line("next"), "no daemon runs; when one runs, it sends the update");
    assert_eq!(changed.line("to send"), "3 fields");
    assert!(changed.text.contains("docker.customCommand  run --password [hidden]\n"), "{}", changed.text);
    assert!(!changed.text.contains("hunter2") && !changed.json.to_string().contains("hunter2"));

    // What was said of other content says nothing of this.
    api.world().script(Fault::status(422).times(1));
    workspace.once(&api, &[]).exits(1);
    assert!(Why::of(&workspace).is("stalled"));
    workspace.service("web", "3");
    let other = Why::of(&workspace);
    assert!(other.is("queued"), "{:#}", other.json);
    assert!(other.line("last call").starts_with("rejected 422, "), "{}", other.text);
}

#[test]
fn a_read_that_is_refused_is_told_with_its_way_out_where_nobody_runs() {
    let (api, workspace) = (Api::of_services(&[]), Workspace::new());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(1);
    let why = Why::of(&workspace);
    assert!(why.is("stalled") && why.json["waits_for"]["what"] == "run", "{:#}", why.json);
    why.begins("shop/web is not up to date: the API refused the read that decides about its update (404) ");
    let next = "no daemon runs; the next one tries the same once more, which helps where what was refused was fixed \
                elsewhere; other content in its manifest is sent at once";
    assert_eq!(why.line("next"), next);
    assert!(
        why.text.contains("\n             hint: the service must exist: create it in Northflank, "),
        "{}",
        why.text
    );
    assert!(!why.text.contains("; hint: "), "{}", why.text);
    // The read is no call that took no time.
    assert!(!why.line("last call").contains("took"), "{}", why.text);
}

#[test]
fn a_read_that_waits_for_the_rate_limit_says_until_when() {
    let api = Api::with(Options { limit: 200, rollout: Duration::ZERO, ..Options::default() });
    let workspace = Workspace::new();
    for number in 100..210 {
        workspace.service(&format!("s{number}"), "1");
    }
    let daemon = daemon(&workspace, &api);
    eventually("all is used but what is kept", || api.world().call_count() >= 180);
    // What is left is written along with the next call: a change goes all the same.
    workspace.service("s100", "2");
    eventually("the change is sent", || tags(&api, "s100").last().is_some_and(|tag| tag == "2"));
    let mut waiting = None;
    eventually("a read waits", || {
        let page = workspace.run(&["status", "--output", "json"]).exits(0).json();
        let services = page["services"].as_array().unwrap();
        let found = services.iter().find(|found| found["state"] == "rate-limited");
        let idle = services.iter().all(|service| service["state"] != "in-flight");
        waiting = found.map(|found| (found["service"].as_str().unwrap().to_owned(), page["quota"].clone()));
        idle && waiting.is_some()
    });
    let (service, quota) = waiting.unwrap();
    assert_eq!((&quota["limit"], &quota["reserve"]), (&json!(200), &json!(20)));
    assert_eq!(quota["reads_wait_until"], quota["resets_at"]);
    let json = workspace.run(&["why", &service, "--output", "json"]).exits(0).json();
    assert_eq!((&json["state"], &json["step"]), (&json!("rate-limited"), &json!("read-live")));
    let reason = "the rest of the rate limit's window is kept for changes";
    let waits = &json["waits_for"];
    assert_eq!((&waits["what"], &waits["reason"]), (&json!("rate-limit"), &json!(reason)));
    assert!(waits["until"].is_string(), "{json:#}");
    let text = workspace.run(&["why", &service]).exits(0).stdout;
    assert!(text.contains(" waits for the rate limit until ") && text.contains(reason), "{text}");
    assert!(
        text.contains("  next       after that the service is read first, and the update is sent if it runs"),
        "{text}"
    );
    let text = workspace.run(&["status"]).exits(0).stdout;
    let told = |line: &str| line.starts_with(&service) && line.contains("waits for the rate limit until ");
    assert!(text.lines().any(told), "{text}");
    // Nobody who waits, nothing to wait for: a single pass keeps nothing back.
    daemon.signal(Signal::TERM);
    daemon.ended().exits(0);
    let json = workspace.run(&["why", &service, "--output", "json"]).exits(0).json();
    assert_eq!((&json["state"], &json["waits_for"]["what"]), (&json!("queued"), &json!("run")), "{json:#}");
    assert!(!workspace.run(&["status"]).exits(0).stdout.contains("waits for the rate limit"));
}

/// A daemon that looks for drift all the time.
fn watching(workspace: &Workspace, api: &Api) -> Running {
    let url = api.url();
    let arguments = ["--api-url", &url, "--listen", "off", "--debounce", "20ms", "--drift-every", "50ms"];
    Running::start(&mut workspace.command(&arguments))
}

/// No test comes near this limit.
fn plenty() -> Api {
    Api::with(Options { limit: u32::MAX, rollout: Duration::ZERO, ..Options::default() })
}

/// `shop/web` as `status` has it, in JSON and in the table.
fn status(workspace: &Workspace) -> (Value, String) {
    let page = workspace.run(&["status", "--output", "json"]).exits(0).json();
    let text = workspace.run(&["status"]).exits(0).stdout;
    // Before there is a ledger it is in neither.
    let line = text.lines().find(|line| line.starts_with("shop/web")).unwrap_or_default();
    (page["services"][0].clone(), line.to_owned())
}

#[test]
fn drift_that_comes_back_after_each_correction_is_left_alone_for_a_while() {
    let (api, workspace) = (plenty(), Workspace::new());
    workspace.write("web.yaml", manifest("web", "1") + "policy: {drift: correct}\n");
    let by_hand = || api.world().edit("shop/web", |live| *live = Live::deployment("ghcr.io/acme/web:hand"));
    let daemon = watching(&workspace, &api);
    eventually("it is applied", || api.world().update_count() == 1);
    for correction in 1..=3 {
        by_hand();
        eventually("it is corrected", || api.world().update_count() == 1 + correction);
    }
    by_hand();
    eventually("it is left alone", || status(&workspace).0["drift"]["left_alone_until"].is_string());
    let (json, line) = status(&workspace);
    assert_eq!(json["state"], "flapping", "{json:#}");
    assert!(line.contains("ghcr.io/acme/web:1 (live: ghcr.io/acme/web:hand)  "), "{line}");
    assert!(line.contains("  left alone until "), "{line}");
    assert!(line.ends_with(" UTC, it came back after three corrections"), "{line}");
    let why = Why::of(&workspace);
    assert!(why.is("flapping"), "{:#}", why.json);
    why.begins("shop/web runs something else than was applied, as it was read ");
    assert!(why.text.contains(": it came back after three corrections, and is left alone until "), "{}", why.text);
    let waits = &why.json["waits_for"];
    assert_eq!((&waits["what"], &waits["until"]), (&json!("left-alone"), &json["drift"]["left_alone_until"]));
    assert_eq!(waits["reason"], "it came back after three corrections");
    assert!(why.line("live").starts_with("1 field differs, read "), "{}", why.text);
    assert!(!why.line("next").contains("--drift"), "{}", why.text);
    // Other content ends it.
    daemon.signal(Signal::TERM);
    daemon.ended().exits(0);
    workspace.write("web.yaml", manifest("web", "2") + "policy: {drift: correct}\n");
    let why = Why::of(&workspace);
    assert!(why.is("queued") && why.json["drift"]["left_alone_until"].is_null(), "{:#}", why.json);
}

#[test]
fn drift_is_told_with_what_the_daemon_does_about_it() {
    let (api, workspace) = (plenty(), Workspace::new());
    workspace.service("web", "1");
    let daemon = watching(&workspace, &api);
    eventually("it is applied", || api.world().update_count() == 1);
    api.world().edit("shop/web", |live| *live = Live::deployment("ghcr.io/acme/web:hand"));
    eventually("it drifts", || status(&workspace).0["state"] == "drifted");
    daemon.signal(Signal::TERM);
    daemon.ended().exits(0);
    let next = "it is left as it is: the last one ran with `--drift report`";
    let why = Why::of(&workspace);
    assert!(why.is("drifted") && why.json["waits_for"].is_null(), "{:#}", why.json);
    assert_eq!(why.line("next"), next);
    workspace.write("web.yaml", manifest("web", "1") + "policy: {drift: report}\n");
    let next = "it is left as it is: its manifest says `policy.drift: report`";
    assert_eq!(Why::of(&workspace).line("next"), next);
    workspace.write("web.yaml", manifest("web", "1") + "policy: {drift: correct}\n");
    let why = Why::of(&workspace);
    assert!(
        why.line("next").starts_with("its manifest says `policy.drift: correct`; no daemon runs; "),
        "{}",
        why.text
    );
}

#[test]
fn a_service_that_cannot_be_read_for_drift_is_not_called_the_same() {
    let (api, workspace) = (plenty(), Workspace::new());
    workspace.service("web", "1");
    let daemon = watching(&workspace, &api);
    eventually("it was read", || status(&workspace).0["drift"]["read_at"].is_string());
    assert!(Why::of(&workspace).line("live").starts_with("the same, read "));
    api.world().script(Fault::status(404).on(Operation::GetService).always());
    eventually("it cannot be read", || status(&workspace).0["drift"]["error"].is_string());
    daemon.signal(Signal::TERM);
    daemon.ended().exits(0);
    let (json, line) = status(&workspace);
    assert!(json["drift"]["error"].as_str().unwrap().contains("404") && json["drift"]["read_at"].is_null(), "{json:#}");
    assert!(line.contains("  live could not be read: the API answered 404"), "{line}");
    let why = Why::of(&workspace);
    assert!(why.line("live").starts_with("could not be read "), "{}", why.text);
    assert!(why.line("live").contains(": the API answered 404") && !why.text.contains("the same"), "{}", why.text);
    assert!(why.json["drift"]["error"].is_string(), "{:#}", why.json);
}

#[test]
fn times_that_are_still_to_come_tell_of_a_wrong_clock_and_an_adoption_was_no_try() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    api.world().set_live("shop/web", Live::deployment("ghcr.io/acme/web:1"));
    workspace.once(&api, &[]).exits(0);
    let why = Why::of(&workspace);
    assert!(why.line("last call").starts_with("adopted, ") && why.line("last call").ends_with("Z)"), "{}", why.text);
    let later = "UPDATE call SET began_at = began_at + 180000000, ended_at = ended_at + 180000000";
    rusqlite::Connection::open(workspace.state().join("ledger.sqlite")).unwrap().execute(later, []).unwrap();
    let why = Why::of(&workspace);
    assert!(why.line("last call").starts_with("adopted, in 2 d ("), "{}", why.text);
    assert!(why.line("applied").contains(", in 2 d ("), "{}", why.text);
    assert!(status(&workspace).1.contains("  in 2 d"), "{:?}", status(&workspace));
}

#[test]
fn a_token_that_is_refused_is_told() {
    let (api, workspace) = (Api::of_token("another"), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(1);
    let why = Why::of(&workspace);
    assert!(why.is("denied"), "{:#}", why.json);
    why.begins("shop/web is not up to date: the API refuses the token: the API answered 401 ");
}

#[test]
fn what_a_manifest_suspends_is_told_with_reason_time_and_what_is_held_back() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    let policy = "policy: {suspend: {reason: moving house, until: 2999-01-31T18:00:00+01:00}}\n";
    workspace.write("web.yaml", manifest("web", "2") + policy);
    let why = Why::of(&workspace);
    why.begins("shop/web is left alone, as its manifest asks, until 2999-01-31T17:00:00Z: moving house.\n");
    let held = json!({"why": "suspended", "reason": "moving house", "until": "2999-01-31T17:00:00Z"});
    assert_eq!(why.json["not_sent"], held);
    assert_eq!(why.json["suspension"], json!({"reason": "moving house", "until": "2999-01-31T17:00:00Z"}));
    assert_eq!(why.line("not sent"), "suspended");
    assert!(why.text.contains("ghcr.io/acme/web:1 -> ghcr.io/acme/web:2"), "{}", why.text);
    let next = "its manifest is followed again from 2999-01-31T17:00:00Z on; 1 field would be sent then";
    assert_eq!(why.line("next"), next);

    workspace.write("web.yaml", manifest("web", "1") + "policy: {suspend: true}\n");
    let why = Why::of(&workspace);
    why.begins("shop/web is left alone, as its manifest asks.\n");
    assert!(why.line("next").ends_with("; nothing would be sent then"), "{}", why.text);
}

#[test]
fn a_service_without_a_valid_manifest_is_orphaned_or_has_problems() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.remove("web.yaml");
    let orphaned = Why::of(&workspace);
    assert!(orphaned.is("orphaned") && orphaned.json["not_sent"]["why"] == "orphaned", "{:#}", orphaned.json);
    orphaned.begins("shop/web is left as it is: no manifest names it any more.\n");
    assert!(orphaned.line("manifest").starts_with("none that is valid, at tree:"), "{}", orphaned.text);

    // The problem is drawn, that of another file is not.
    workspace.write("other.yaml", manifest("other", "1").replace("kind", "kin"));
    workspace.write("web.yaml", manifest("web", "2").replace(":2\n", "\n"));
    let problem = Why::of(&workspace);
    assert!(problem.is("invalid"), "{:#}", problem.json);
    problem.begins("shop/web gets nothing new: its manifest has 1 problem.\n");
    assert!(
        problem.text.contains("--> manifests/web.yaml:8:16") && !problem.text.contains("other.yaml"),
        "{}",
        problem.text
    );
    let problems = problem.json["problems"].as_array().unwrap();
    assert_eq!((problems.len(), &problems[0]["line"]), (1, &json!(8)));
    assert_eq!(problem.json["waits_for"]["what"], "fix");

    // One that was never applied is known by its problem alone.
    let other = workspace.run(&["why", "other", "--output", "json"]).exits(0).json();
    assert_eq!((&other["state"], &other["service"]), (&json!("invalid"), &json!("shop/other")));
    assert_eq!(other["problems"][0]["file"], "other.yaml");
}

#[test]
fn beside_a_daemon_it_says_what_is_waited_for_and_until_when() {
    let refused = Fault::error(422, "INVALID", "no such registry", None);
    for (fault, answer, waits_for, words) in [
        (refused, "stalled", "new-content", "shop/web is not up to date: the API refused its update (422) "),
        (Fault::status(503), "unreachable", "retry", "shop/web is not up to date: the API is unreachable: "),
        (
            Fault::rate_limited(Wait::Reset(600)),
            "rate-limited",
            "rate-limit",
            "shop/web waits for the rate limit until ",
        ),
    ] {
        let (api, workspace) = (Api::new(), Workspace::sending());
        workspace.service("web", "1");
        api.world().script(fault.always());
        let daemon = daemon(&workspace, &api);
        let mut why = None;
        // A retry may be under way in the moment of the question.
        eventually(answer, || {
            let now = Why::of(&workspace);
            let found = now.is(answer) && now.text.starts_with(words);
            why = found.then_some(now);
            found
        });
        let why = why.unwrap();
        assert_eq!(why.json["holder"]["pid"], daemon.pid(), "{:#}", why.json);
        assert_eq!(why.line("ledger"), format!("process {} has the ledger open", daemon.pid()));
        let waits = &why.json["waits_for"];
        assert!(waits["what"] == waits_for && waits["until"].is_string(), "{:#}", why.json);
        assert_eq!(why.json["not_sent"]["why"] == "stalled", answer == "stalled", "{:#}", why.json);
        if answer == "unreachable" {
            assert!(waits["reason"].as_str().unwrap().contains("503"), "{}", why.text);
        }
        if answer == "stalled" {
            assert!(waits["reason"].as_str().unwrap().contains("no such registry"), "{:#}", why.json);
            assert!(why.line("next").starts_with("other content in its manifest is sent at once; "), "{}", why.text);
        }
    }
}

#[test]
fn a_call_under_way_is_told_and_one_that_was_cut_off_is_in_doubt() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    api.world().script(Fault::delay(Duration::from_secs(600)).times(1));
    let daemon = daemon(&workspace, &api);
    eventually("it makes its call", || api.world().in_flight() == 1);
    let why = Why::of(&workspace);
    assert!(why.is("in-flight") && why.json["waits_for"]["what"] == "answer", "{:#}", why.json);
    why.begins("shop/web is being updated: a call began ");
    daemon.signal(Signal::KILL);
    assert_eq!(daemon.ended().code, None);
    let why = Why::of(&workspace);
    assert!(why.is("in-doubt") && why.json["in_doubt"] == true, "{:#}", why.json);
    why.begins("shop/web is in doubt: nobody knows whether the last call arrived.\n");
    assert!(why.line("next").contains("when one runs, it reads the service first, and sends"), "{}", why.text);
    assert!(why.line("in doubt").contains("may still take effect until "), "{}", why.text);
    assert!(why.json["may_take_effect_until"].is_string(), "{:#}", why.json);
    assert!(why.line("applied").ends_with("nothing; a later call may have arrived too"), "{}", why.text);
}

#[test]
fn that_updates_go_out_as_patch_is_told_with_the_way_back() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().script(Fault::gone(410).always());
    workspace.service("web", "1");
    workspace.service("api", "1");
    assert!(Why::of(&workspace).json["sent_as_patch"].is_null());
    workspace.once(&api, &["--concurrency", "1"]).exits(0);
    let why = Why::of(&workspace);
    let told = &why.json["sent_as_patch"];
    assert!(told["since"].is_string() && told["reason"].as_str().unwrap().contains("410"), "{:#}", why.json);
    assert!(why.line("sent as").starts_with("PATCH, since 2"), "{}", why.text);
    assert!(why.text.contains("  hint: --update-call post sends updates as POST again; "), "{}", why.text);
}

#[test]
fn a_service_that_nobody_knows_is_told_with_the_near_one() {
    let workspace = Workspace::sending();
    workspace.service("web", "1");
    let ran = workspace.run(&["why", "wbe"]).exits(1);
    assert_eq!(ran.stdout, "");
    let expected = "error: neither the folder nor the ledger knows a service `wbe`\n  hint: did you mean shop/web?\n";
    assert!(ran.stderr.ends_with(expected), "{ran:#?}");
    workspace.run(&["why"]).exits(64);
}

#[test]
fn what_comes_from_outside_cannot_steer_the_terminal() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    let hostile = "\u{1b}[2J\u{202e}\u{9b}1A\r\u{200b}";
    api.world().script(Fault::error(422, "INVALID", hostile, None).times(1));
    let policy = "policy: {suspend: {reason: \"\\e[2J\\u202e\\x9b1A\\r\\u200b\"}}\n";
    workspace.write(&format!("{hostile}.yaml"), manifest("web", "1"));
    workspace.once(&api, &[]).exits(1);
    let steers = |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{200b}".contains(c));
    for content in [manifest("web", "2"), manifest("web", "1") + policy, manifest("web", "1").replace(":1\n", "\n")] {
        workspace.write(&format!("{hostile}.yaml"), content);
        let text = workspace.run(&["why", "web"]).exits(0).stdout;
        assert!(!text.contains(steers), "{text:?}");
        assert!(text.contains("\\u{1b}[2J\\u{202e}"), "{text}");
    }
}

#[test]
fn what_runs_now_is_read_and_compared_where_that_is_asked_for() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    let calls = api.world().call_count();
    let why = |more: &[&str]| workspace.run(&[&["why", "web", "--live", "--api-url", &api.url()], more].concat());
    let ran = why(&[]).exits(0);
    assert!(ran.stdout.contains("  live now   has what the manifest says\n"), "{}", ran.stdout);
    assert_eq!(api.world().call_count(), calls + 1, "it is one call");

    workspace.service("web", "2");
    let ran = why(&[]).exits(0);
    let told = "  live now   1 field differs from the manifest\n             external.imagePath  ghcr.io/acme/web:1 -> ghcr.io/acme/web:2\n";
    assert!(ran.stdout.contains(told), "{}", ran.stdout);
    let live = why(&["-o", "json"]).exits(0).json()["live"].clone();
    assert_eq!(live["differences"][0]["from"], "ghcr.io/acme/web:1", "{live}");
    assert_eq!((&live["error"], &live["read_at"].is_string()), (&Value::Null, &true), "{live}");

    api.world().script(Fault::error(403, "FORBIDDEN", "not yours", None).on(Operation::GetService).always());
    let ran = why(&[]).exits(0);
    assert!(ran.stdout.contains("live now   could not be read: the API answered 403"), "{}", ran.stdout);
    assert!(why(&["-o", "json"]).json()["live"]["error"].as_str().unwrap().contains("not yours"));
    // Without it nothing is asked, and of a service without a manifest there is nothing to compare.
    assert_eq!(workspace.run(&["why", "web", "-o", "json"]).exits(0).json().get("live"), None);
    workspace.remove("web.yaml");
    assert!(why(&[]).exits(1).stderr.contains("no manifest says what shop/web should run"));
}

#[test]
fn without_a_ledger_no_state_is_made_up() {
    let workspace = Workspace::new();
    workspace.service("web", "1");
    workspace.write("off.yaml", manifest("off", "1") + "policy: {suspend: true}\n");
    let ran = workspace.run(&["why", "web", "-o", "json"]).exits(0);
    let json = ran.json();
    assert_eq!((&json["state"], &json["ledger"]["exists"]), (&Value::Null, &false.into()), "{json}");
    let told = format!("It is not known what shop/web has: there is no ledger at {}.", workspace.state().display());
    assert_eq!(json["explanation"], *told);
    let text = workspace.run(&["why", "web"]).exits(0).stdout;
    assert!(text.starts_with(&told) && !text.contains("queued"), "{text}");
    // What the manifest alone says needs no ledger.
    assert_eq!(workspace.run(&["why", "off", "-o", "json"]).exits(0).json()["state"], "suspended");
}

#[test]
fn what_is_read_now_decides_what_is_said_first() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    api.world().edit("shop/web", |live| *live = Live::deployment("ghcr.io/acme/web:hand"));
    let arguments = ["why", "web", "--live", "--api-url", &api.url()];
    let text = workspace.run(&arguments).exits(0).stdout;
    assert!(text.starts_with("shop/web runs something else than was applied"), "{text}");
    let json = workspace.run(&[&arguments[..], &["--output", "json"]].concat()).exits(0).json();
    assert_eq!((&json["state"], json["drift"]["differences"].as_array().map(Vec::len)), (&json!("drifted"), Some(1)));
}

#[test]
fn a_service_of_which_only_history_is_left_has_no_problem() {
    let (api, workspace) = (Api::of_services(&["shop/web"]), Workspace::sending());
    workspace.service("mail", "1");
    workspace.once(&api, &[]).exits(1);
    workspace.remove("mail.yaml");
    let text = workspace.run(&["why", "shop/mail"]).exits(0).stdout;
    assert!(text.starts_with("shop/mail is left as it is: no manifest names it any more."), "{text}");
}
