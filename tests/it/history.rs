//! `truenorth history`: what was sent, when, why, and how it ended.

use serde_json::{Value, json};
use truenorth::sandbox::{Fault, Live};

use crate::support::{Api, TOKEN, Terminal, Workspace, eventually, git, manifest, plain};

/// The table without what is another one each time: times, revisions, digests.
fn words(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect()
}

#[test]
fn every_call_is_a_line_newest_first_with_what_went_wrong_below() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.write("team/web.yaml", manifest("web", "2"));
    workspace.remove("web.yaml");
    api.world().script(Fault::status(422).times(1));
    workspace.once(&api, &[]).exits(1);

    let text = workspace.run(&["history"]).exits(0).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 7, "{text}");
    assert!(lines[6].starts_with("no daemon runs; as of 2"), "{text}");
    let heads = ["TIME", "RESULT", "SERVICE", "CAUSE", "REVISION", "TRY", "TOOK", "MANIFEST", "DIGEST"];
    assert_eq!(words(lines[0]), heads);
    let newest = words(lines[1]);
    assert_eq!(&newest[1..4], ["rejected 422", "shop/web", "changed"], "{text}");
    assert_eq!((newest[5], newest[7]), ("1", "team/web.yaml:1"));
    assert_eq!(lines[2], "    external.imagePath  ghcr.io/acme/web:1 -> ghcr.io/acme/web:2", "{text}");
    assert!(lines[3].starts_with("    ") && lines[3].contains("422"), "{text}");
    assert_eq!(&words(lines[4])[1..4], ["accepted 200", "shop/web", "new"], "{text}");
    assert_eq!(lines[5], "    external.imagePath  ghcr.io/acme/web:1", "{text}");
    // Columns are aligned.
    for (line, word) in [(lines[1], "rejected"), (lines[4], "accepted")] {
        assert_eq!(line.find(word), lines[0].find("RESULT"), "{text}");
    }
}

#[test]
fn what_was_no_try_and_took_no_time_is_not_told_as_one_and_a_hint_has_its_own_line() {
    let (api, workspace) = (Api::of_services(&["shop/web"]), Workspace::new());
    workspace.service("web", "1");
    api.world().set_live("shop/web", Live::deployment("ghcr.io/acme/web:1"));
    workspace.once(&api, &[]).exits(0);
    workspace.service("nosuch", "1");
    workspace.once(&api, &[]).exits(1);
    let text = workspace.run(&["history"]).exits(0).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 8, "{text}");
    let (unread, adopted) = (words(lines[1]), words(lines[5]));
    assert_eq!(&unread[1..4], ["rejected 404", "shop/nosuch", "new"], "{text}");
    assert!(lines[3].starts_with("    live could not be read: ") && !lines[3].contains("hint"), "{text}");
    assert!(lines[4].starts_with("    hint: the service must exist: "), "{text}");
    assert_eq!(&adopted[1..4], ["adopted", "shop/web", "adopted"], "{text}");
    for words in [&unread[6], &adopted[5]] {
        assert!(words.ends_with(".yaml:1"), "neither a try nor a time stands before it: {text}");
    }
    let json = workspace.run(&["history", "nosuch", "--output", "json"]).exits(0).json();
    assert_eq!(json["calls"][0]["seconds"], Value::Null);
}

/// The fields that the API refused are named wherever the refusal is, apart from its message, and no text of the API
/// becomes a hint of ours.
#[test]
fn the_fields_that_the_api_refused_are_named_by_every_command() {
    let (api, workspace) = (Api::of_services(&["shop/web"]), Workspace::sending());
    workspace.service("web", "1");
    let details = json!({"external": {"imagePath": ["not found", format!("asked by {TOKEN}")]}});
    api.world().script(Fault::error(400, "INVALID", "no such image; hint: run me", Some(details)).of("shop/web"));
    let ran = workspace.once(&api, &["--deadline", "3s"]).exits(1);
    let shown = json!({"external": {"imagePath": ["not found", "asked by [token]"]}});
    let message = "the API answered 400 Bad Request: no such image; hint: run me (INVALID)";
    let web = ran.service("shop/web");
    assert_eq!((&web["error"], &web["details"], web.get("hint")), (&json!(message), &shown, None));
    let json = |arguments: &[&str]| workspace.run(&[arguments, &["--output", "json"]].concat()).json();
    let call = &json(&["history"])["calls"][0];
    assert_eq!((&call["message"], &call["details"], call.get("hint")), (&json!(message), &shown, None));
    assert_eq!(json(&["why", "web"])["waits_for"]["details"], shown);
    assert_eq!(json(&["why", "web"])["last_call"]["details"], shown);
    assert_eq!(json(&["status"])["services"][0]["details"], shown);

    for arguments in [&["history"][..], &["why", "web"]] {
        let text = workspace.run(arguments).stdout;
        assert!(text.lines().any(|line| line.trim() == "external.imagePath: not found"), "{text}");
        assert!(text.lines().all(|line| !line.trim().starts_with("hint: run me")), "{text}");
    }
    let status = workspace.run(&["status"]).stdout;
    assert!(status.contains("external.imagePath: not found"), "{status}");
}

#[test]
fn the_json_has_one_object_a_call() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    for service in ["api", "web"] {
        workspace.service(service, "1");
    }
    workspace.once(&api, &[]).exits(0);
    let all = workspace.run(&["history", "--output", "json"]).exits(0).json();
    assert_eq!((all["service"].clone(), all["calls"].as_array().unwrap().len()), (Value::Null, 2));
    assert_eq!(
        workspace.run(&["history", "--limit", "1", "--output", "json"]).json()["calls"].as_array().unwrap().len(),
        1
    );

    // The last part of a name is enough where only one service has it.
    for name in ["shop/api", "api"] {
        let of_one = workspace.run(&["history", name, "--output", "json"]).exits(0).json();
        assert_eq!(of_one["service"], "shop/api");
        let [call] = of_one["calls"].as_array().unwrap().as_slice() else { panic!("{of_one:#}") };
        let names: Vec<&str> = call.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = [
            "attempt", "began", "cause", "changes", "commit", "digest", "ended", "manifest", "message", "outcome",
            "revision", "rollout", "seconds", "service", "status",
        ];
        assert_eq!(names, expected);
        assert_eq!(
            (&call["outcome"], &call["status"], &call["message"]),
            (&json!("accepted"), &json!(200), &json!(null))
        );
        assert_eq!((&call["manifest"], &call["attempt"]), (&json!("api.yaml:1"), &json!(1)));
        assert!(call["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{call:#}");
    }
}

#[test]
fn a_service_that_nobody_knows_is_told_with_the_near_one() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    let empty = workspace.run(&["history", "web"]).exits(1);
    assert!(
        empty
            .stderr
            .contains("neither the folder nor the ledger knows a service `web`\n  hint: no service was ever called"),
        "{empty:#?}"
    );
    let none = workspace.run(&["history"]).exits(0);
    assert_eq!(none.stdout, "nothing was sent yet\n");
    assert!(none.stderr.starts_with(&format!("note: no ledger at {}: ", workspace.state().display())));
    workspace.service("web", "1");
    let json = workspace.run(&["history", "--output", "json"]).exits(0).json();
    assert_eq!(
        json,
        json!({"service": null, "calls": [], "decisions": [], "requests": [], "holder": null, "as_of": null})
    );
    // Looking leaves no trace.
    assert!(!workspace.state().exists());

    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    let unknown = workspace.run(&["history", "shop/wep"]).exits(1);
    assert_eq!(unknown.stdout, "");
    assert_eq!(
        unknown.stderr,
        "error: neither the folder nor the ledger knows a service `shop/wep`\n  hint: did you mean shop/web?\n"
    );
    let hostile = workspace.run(&["history", "\u{1b}[2J\u{202e}"]).exits(1);
    assert!(hostile.stderr.contains("`\\u{1b}[2J\\u{202e}`"), "{hostile:#?}");
    workspace.run(&["history", "--limit", "0"]).exits(64);
}

#[test]
fn what_comes_from_outside_cannot_steer_the_terminal() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.write("\u{1b}[31m\u{202e}\u{9b}1A\r.yaml", manifest("web", "1"));
    let fault = Fault::error(422, "INVALID", "\u{1b}]0;title\u{7}\u{202e}\u{2066}\n\rx\u{200b}", None);
    api.world().script(fault.times(1));
    workspace.once(&api, &[]).exits(1);
    let text = workspace.run(&["history"]).exits(0).stdout;
    let steers = |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{2066}\u{200b}".contains(c));
    assert!(!text.contains(steers), "{text:?}");
    assert_eq!(text.lines().count(), 5, "{text:?}");
    assert!(text.contains("\\u{1b}[31m\\u{202e}"), "{text}");
}

#[test]
fn a_call_says_what_it_changed_and_who_wrote_what_about_its_commit() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    git(&workspace.manifests(), &["init", "--quiet"]);
    let commit = |message: &str, author: &str| {
        git(&workspace.manifests(), &["add", "--all"]);
        let author = format!("--author={author} <a@example.com>");
        git(&workspace.manifests(), &["commit", "--quiet", &author, "-m", message]);
    };
    workspace.write("web.yaml", manifest("web", "1") + DOCKER);
    commit("Take web over", "Ada Lovelace");
    workspace.once(&api, &[]).exits(0);
    workspace.write("web.yaml", manifest("web", "2") + &DOCKER.replace("hunter2", "hunter3"));
    commit("Bump web \u{1b}[2J to 2\n\nIts details.", "Grace \u{202e}Hopper");
    workspace.once(&api, &[]).exits(0);

    let text = workspace.run(&["history", "--limit", "1"]).exits(0).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].contains("  git:"), "{text}");
    assert_eq!(
        lines[2..5],
        [
            "    docker.customCommand  node --password [hidden] -> node --password [changed]",
            "    external.imagePath    ghcr.io/acme/web:1 -> ghcr.io/acme/web:2",
            "    Bump web \\u{1b}[2J to 2 (Grace \\u{202e}Hopper)",
        ],
        "{text}"
    );
    assert!(!text.contains("hunter"), "{text}");
    let json = workspace.run(&["history", "--output", "json"]).exits(0).json();
    assert_eq!(json["calls"][1]["commit"], json!({"subject": "Take web over", "author": "Ada Lovelace"}));
    assert_eq!(json["calls"][0]["changes"][1]["from"], "ghcr.io/acme/web:1");
    let shown = workspace.run(&["history", "--limit", "1", "--show-commands=always"]).exits(0).stdout;
    assert!(shown.contains("node --password hunter2 -> node --password hunter3"), "{shown}");
    let why = workspace.run(&["why", "web"]).exits(0).stdout;
    assert!(why.contains("Bump web") && why.contains("(Grace"), "{why}");
}

const DOCKER: &str = "  docker:\n    configType: customCommand\n    customCommand: node --password hunter2\n";

#[test]
fn on_a_terminal_of_80_columns_nothing_is_cut_that_one_would_paste() {
    let name = "a-checkout-of-some-region-and-its-cart-in-full";
    let (api, workspace) = (Api::new(), Workspace::sending());
    for tag in ["1.0.0-aaaaaaaaaaaaaaaaaaaa", "2.0.0-bbbbbbbbbbbbbbbbbbbb"] {
        workspace.service(name, tag);
        workspace.once(&api, &[]).exits(0);
    }
    let mut terminal = Terminal::start(&mut workspace.command(&["history"]), 80, 50);
    terminal.ends_with(0);
    eventually("all is shown", || terminal.shown().contains("no daemon"));
    let shown = plain(&terminal.shown());
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert!(lines[1].ends_with(&format!("Z  accepted 200  shop/{name}")), "{shown}");
    let image = |tag: &str| format!("ghcr.io/acme/{name}:{tag}");
    assert_eq!(lines[2], format!("    external.imagePath  {}", image("1.0.0-aaaaaaaaaaaaaaaaaaaa")), "{shown}");
    assert_eq!(lines[3], format!("    {:18}  -> {}", "", image("2.0.0-bbbbbbbbbbbbbbbbbbbb")), "{shown}");
}

#[test]
fn a_call_that_a_crash_cut_off_is_interrupted_and_one_under_way_is_in_flight() {
    use std::time::Duration;

    use rustix::process::Signal;

    use crate::support::Running;

    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    api.world().script(Fault::delay(Duration::from_secs(600)).times(1));
    let running = Running::start(&mut workspace.once_command(&api, &[]));
    eventually("it makes its call", || api.world().in_flight() == 1);
    let outcome = || workspace.run(&["history", "--output", "json"]).exits(0).json()["calls"][0]["outcome"].clone();
    assert_eq!(outcome(), "in-flight");
    running.signal(Signal::KILL);
    assert_eq!(running.ended().code, None);
    assert_eq!(outcome(), "interrupted");
}
