//! `truenorth status`: the table, and how `--watch` keeps it on the screen.

use rustix::process::Signal;
use serde_json::{Value, json};
use truenorth::sandbox::Fault;

use crate::support::{Api, Daemon, Ran, Running, Terminal, Workspace, eventually, git, last_picture, manifest, plain};

const STATES: [&str; 6] = ["stalled", "invalid", "queued", "orphaned", "suspended", "unchanged"];

/// A folder and a ledger in which there is a service of each state.
fn of_each_state() -> (Api, Workspace) {
    let (api, workspace) = (Api::new(), Workspace::sending());
    for service in ["unchanged", "orphaned", "invalid"] {
        workspace.service(service, "1");
    }
    workspace.once(&api, &[]).exits(0);
    workspace.service("stalled", "1");
    workspace.write("suspended.yaml", manifest("suspended", "1") + SUSPENDED);
    api.world().script(Fault::error(422, "INVALID", "no such registry", None).times(1));
    workspace.once(&api, &[]).exits(1);
    workspace.remove("orphaned.yaml");
    workspace.service("queued", "1");
    workspace.write("invalid.yaml", manifest("invalid", "1").replace(":1\n", "\n"));
    (api, workspace)
}

const SUSPENDED: &str =
    "policy:\n  suspend:\n    reason: moving to another region\n    until: 2999-01-31T18:00:00+01:00\n";

#[test]
fn what_needs_a_look_stands_first() {
    let (_api, workspace) = of_each_state();
    let text = workspace.run(&["status"]).exits(0).stdout;
    let from = text.find("SERVICE").unwrap();
    let lines: Vec<&str> = text[from..].lines().collect();
    let column = |line: &str, number: usize| line.split_whitespace().nth(number).unwrap_or_default().to_owned();
    let states: Vec<String> = lines[1..7].iter().map(|line| column(line, 1)).collect();
    assert_eq!(states, STATES, "{text}");
    let names: Vec<String> = lines[1..7].iter().map(|line| column(line, 0)).collect();
    assert_eq!(names, STATES.map(|state| format!("shop/{state}")), "{text}");
    assert!(lines[2].ends_with("names no tag or digest"), "{text}");
    assert!(lines[1].contains("no such registry"), "{text}");
    assert!(lines[3].ends_with("  new"), "{text}");
    assert!(lines[5].ends_with("until 2999-01-31T17:00:00Z: moving to another region"), "{text}");
    assert!(lines[4].contains("tree:") && lines[4].ends_with("no manifest names it"), "{text}");
    assert!(lines[6].contains("tree:") && lines[6].ends_with("  unseen"), "{text}");
    let summary =
        "6 services: 1 stalled, 1 invalid, 1 queued, 1 orphaned, 1 suspended, 1 unchanged; 1 problem in the folder";
    assert!(lines[7].starts_with(summary), "{text}");
    assert!(lines[8].starts_with("no daemon runs; as of 2"), "{text}");
    // The problem itself is drawn before the table.
    assert!(text[..from].contains("--> manifests/invalid.yaml"), "{text}");
}

#[test]
fn the_json_keeps_its_members_and_adds_what_only_the_ledger_knows() {
    let (_api, workspace) = of_each_state();
    let page = workspace.run(&["status", "--output", "json"]).exits(0).json();
    for member in
        ["version", "since", "revision", "converged", "look", "paused", "services", "problems", "api", "holder"]
    {
        assert!(page.as_object().unwrap().contains_key(member), "{member}: {page:#}");
    }
    assert_eq!(page["problems"].as_array().unwrap().len(), 1);
    let service = |name: &str| {
        let mut services = page["services"].as_array().unwrap().iter();
        services.find(|service| service["service"] == format!("shop/{name}")).unwrap().clone()
    };
    let stalled = service("stalled");
    for member in ["state", "desired", "applied", "manifest", "attempts", "since", "next_attempt", "error"] {
        assert!(stalled.as_object().unwrap().contains_key(member), "{member}: {stalled:#}");
    }
    assert_eq!((&stalled["state"], &stalled["applied_at"]), (&json!("stalled"), &Value::Null));
    assert!(stalled["failed_at"].is_string() && stalled["attempts"] == 1, "{stalled:#}");
    let until = json!({"reason": "moving to another region", "until": "2999-01-31T17:00:00Z"});
    assert_eq!(service("suspended")["suspension"], until);
    let unchanged = service("unchanged");
    assert!(unchanged["applied_revision"].as_str().unwrap().starts_with("tree:sha256:"), "{unchanged:#}");
    assert!(unchanged["applied_at"].is_string(), "{unchanged:#}");
    assert_eq!(service("queued")["cause"], "new");
}

#[test]
fn on_the_screen_no_line_is_wider_than_it() {
    let (_api, workspace) = of_each_state();
    let name = "a-service-with-quite-a-long-name-that-alone-would-fill-half-the-line";
    workspace.service(name, "1");
    for columns in [40, 80, 200] {
        let terminal = Terminal::start(&mut workspace.command(&["status", "--watch"]), columns, 50);
        eventually("all is shown", || last_picture(&terminal.shown()).len() > 7);
        let table = last_picture(&terminal.shown());
        for line in &table {
            assert!(line.chars().count() < usize::from(columns), "{columns}: {line}");
        }
        assert_eq!(table.iter().any(|line| line.contains(name)), columns == 200, "{table:#?}");
    }
}

#[test]
fn on_a_terminal_of_80_columns_names_and_images_are_whole_and_what_has_no_room_stands_below() {
    let name = "a-checkout-of-some-region-and-its-cart";
    let (api, workspace) = (Api::of_services(&[]), Workspace::new());
    workspace.service(name, "1");
    workspace.once(&api, &[]).exits(1);
    let mut terminal = Terminal::start(&mut workspace.command(&["status"]), 80, 50);
    terminal.ends_with(0);
    eventually("all is shown", || terminal.shown().contains("no daemon"));
    let shown = plain(&terminal.shown());
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    let at = lines.iter().position(|line| line.starts_with("SERVICE")).unwrap();
    assert_eq!(lines[at + 1], format!("shop/{name}  stalled  ghcr.io/acme/{name}:1"), "{shown}");
    assert_eq!(lines[at + 2], "    the API answered 404 Not Found: service", "{shown}");
    assert_eq!(lines[at + 3], format!("      `shop/{name}` does not exist (NOT-FOUND)"), "{shown}");
    assert!(lines[at + 4].starts_with("    hint: the service must exist"), "{shown}");
    assert!(lines[at + 5].starts_with("          serviceId and teamId"), "{shown}");
    assert!(!shown.contains('…'), "{shown}");
}

#[test]
fn an_image_is_what_is_desired_and_what_it_has_where_that_is_another_one() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    git(&workspace.manifests(), &["init", "--quiet"]);
    workspace.service("web", "1");
    git(&workspace.manifests(), &["add", "--all"]);
    git(&workspace.manifests(), &["commit", "--quiet", "-m", "Take web over"]);
    workspace.once(&api, &[]).exits(0);
    let text = workspace.run(&["status"]).exits(0).stdout;
    assert!(text.contains("shop/web  unchanged  ghcr.io/acme/web:1  git:"), "{text}");
    assert!(!text.contains("live:") && !text.contains("Take web over"), "{text}");
    let wide = workspace.run(&["status", "-o", "wide"]).exits(0).stdout;
    assert!(wide.contains("  Take web over (a)  web.yaml:1  "), "{wide}");
    workspace.service("web", "2");
    let text = workspace.run(&["status"]).exits(0).stdout;
    assert!(text.contains("shop/web  queued  ghcr.io/acme/web:2 (live: ghcr.io/acme/web:1)  git:"), "{text}");
    let json = workspace.run(&["status", "--output", "json"]).exits(0).json();
    let image = json!({"desired": "ghcr.io/acme/web:2", "live": "ghcr.io/acme/web:1"});
    assert_eq!(json["services"][0]["image"], image);
    assert_eq!(json["services"][0]["applied_commit"], json!({"subject": "Take web over", "author": "a"}));
}

#[test]
fn patterns_and_states_choose_what_is_shown_and_what_the_exit_code_is_about() {
    let (_api, workspace) = of_each_state();
    let shown = |arguments: &[&str], code: i32| {
        let json = workspace.run(&[&["status", "-o", "json"], arguments].concat()).exits(code).json();
        let names = json["services"].as_array().unwrap().iter().map(|service| service["service"].as_str().unwrap());
        names.map(|name| name.strip_prefix("shop/").unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&["shop/un*", "shop/sus?ended"], 0), ["suspended", "unchanged"]);
    assert_eq!(shown(&["--state", "stalled,queued"], 0), ["queued", "stalled"]);
    assert_eq!(shown(&["--state", "orphaned", "shop"], 0), ["orphaned"]);
    assert_eq!(shown(&["--exit-code", "shop/unchanged"], 0), ["unchanged"]);
    assert_eq!(shown(&["--exit-code", "shop/stalled"], 1), ["stalled"]);
    assert_eq!(shown(&["--state", "denied", "--exit-code"], 0), [""; 0]);
    workspace.run(&["status", "--exit-code"]).exits(1);
    let none = workspace.run(&["status", "shpo"]).exits(1);
    assert!(none.stderr.starts_with("error: no service matches shpo\n  hint: "), "{none:#?}");
    workspace.run(&["status", "--state", "fine"]).exits(64);
    workspace.run(&["status", "a b"]).exits(64);
}

#[test]
fn waiting_ends_when_all_is_converged_or_the_time_is_over() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.run(&["status", "--wait"]).exits(0);
    workspace.service("web", "2");
    let ran = workspace.run(&["status", "--wait", "50ms"]).exits(1);
    assert!(ran.stdout.contains("queued"), "{ran:#?}");
    let waiting = Running::start(&mut workspace.command(&["status", "--wait", "10m"]));
    workspace.once(&api, &[]).exits(0);
    assert!(waiting.ended().exits(0).stdout.contains("unchanged"));
    workspace.run(&["status", "--wait", "--watch"]).exits(64);
}

#[test]
fn without_a_ledger_it_says_where_it_looked_and_nothing_of_services() {
    let workspace = Workspace::new();
    workspace.service("web", "1");
    let text = workspace.run(&["status"]).exits(0).stdout;
    assert!(text.starts_with(&format!("no ledger at {}: ", workspace.state().display())), "{text}");
    assert!(!text.contains("queued"), "{text}");
    let json = workspace.run(&["status", "-o", "json"]).exits(0).json();
    assert_eq!((&json["services"], &json["converged"]), (&json!([]), &json!(false)));
    assert_eq!(json["ledger"], json!({"path": workspace.state(), "exists": false}));
    workspace.run(&["status", "--exit-code"]).exits(1);
    let why = workspace.run(&["why", "web"]).exits(0);
    assert!(why.stderr.starts_with("note: no ledger at "), "{why:#?}");
}

#[test]
fn beside_a_daemon_its_ledger_and_its_folder_are_shown_from_anywhere() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("it is applied", || workspace.run(&["status"]).stdout.contains("unchanged"));
    let elsewhere = Workspace::new();
    std::fs::remove_dir(elsewhere.manifests()).unwrap();
    let from_elsewhere = |arguments: &[&str], listen: &str| {
        let mut command = elsewhere.command(arguments);
        command.env_remove("TRUENORTH_STATE_DIR").env("TRUENORTH_LISTEN", listen);
        Ran::of(&mut command)
    };
    let address = daemon.address().to_string();
    let status = from_elsewhere(&["status"], &address).exits(0);
    assert!(status.stdout.contains("shop/web  unchanged  ghcr.io/acme/web:1"), "{status:#?}");
    assert!(status.stderr.contains(&format!("note: the daemon at {address} has its ledger in ")), "{status:#?}");
    assert!(from_elsewhere(&["history"], &address).exits(0).stdout.contains("accepted"));
    assert!(from_elsewhere(&["why", "web"], &address).exits(0).stdout.starts_with("shop/web has what"));
    // A folder that is named is the one that is meant.
    assert!(from_elsewhere(&["status", "--state-dir", "here"], &address).stderr.contains("manifests"));
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
    let none = from_elsewhere(&["history"], &address).exits(0);
    assert!(none.stderr.starts_with("note: no ledger at "), "{none:#?}");
}

#[test]
fn watching_draws_what_the_ledger_and_the_folder_say_and_gives_the_screen_back() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.service("web", "2");
    let terminal = &mut Terminal::start(&mut workspace.command(&["status", "--watch", "600"]), 80, 10);
    let shows = |words: &str| {
        eventually(words, || last_picture(&terminal.shown()).iter().any(|line| line.contains(words)));
    };
    shows("shop/web  queued");
    assert!(terminal.shown().starts_with("\x1b[?1049h\x1b[?25l"), "{:?}", terminal.shown());
    // Ten minutes are not over: the ledger itself says that it was written.
    workspace.once(&api, &[]).exits(0);
    shows("shop/web  unchanged");
    terminal.resize(30, 10);
    eventually("it fits again", || last_picture(&terminal.shown()).iter().all(|line| line.chars().count() < 30));

    terminal.signal(Signal::INT);
    terminal.ends_with(0);
    eventually("the screen is back", || terminal.shown().contains("\x1b[?25h\x1b[?1049l"));
    eventually("the last table stays", || {
        let shown = terminal.shown();
        plain(shown.rsplit("\x1b[?1049l").next().unwrap()).contains("shop/web  unchanged")
    });
}

#[test]
fn watching_that_is_stopped_gives_the_screen_back_until_it_goes_on() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.once(&api, &[]).exits(0);
    let mut terminal = Terminal::start(&mut workspace.command(&["status", "--watch"]), 80, 10);
    let count = |sequence: &str| terminal.shown().matches(sequence).count();
    eventually("it draws", || terminal.shown().contains("0 services"));
    terminal.signal(Signal::TSTP);
    eventually("the screen is back", || count("\x1b[?25h\x1b[?1049l") == 1);
    terminal.signal(Signal::CONT);
    eventually("it draws again", || count("\x1b[?1049h") == 2 && terminal.shown().matches("0 services").count() > 1);
    terminal.signal(Signal::INT);
    terminal.ends_with(0);
}

#[test]
fn watching_looks_at_the_folder_now_and_then() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.once(&api, &[]).exits(0);
    workspace.service("web", "1");
    let mut terminal = Terminal::start(&mut workspace.command(&["status", "--watch", "50ms"]), 80, 7);
    let shows = |words: &str| {
        eventually(words, || last_picture(&terminal.shown()).iter().any(|line| line.contains(words)));
    };
    shows("shop/web  queued");
    for number in 0..20 {
        workspace.service(&format!("s{number:02}"), "1");
    }
    // Seven lines: the head, three services, what is left out, the summary and who has the ledger.
    shows("… and 18 more");
    assert_eq!(last_picture(&terminal.shown()).len(), 7, "{:?}", terminal.shown());
    // A folder that cannot be read for a while ends nothing.
    std::fs::rename(workspace.manifests(), workspace.path().join("elsewhere")).unwrap();
    shows("cannot read the manifests folder");
    std::fs::rename(workspace.path().join("elsewhere"), workspace.manifests()).unwrap();
    workspace.remove("s19.yaml");
    shows("… and 17 more");
    terminal.signal(Signal::TERM);
    terminal.ends_with(0);
}

#[test]
fn watching_without_a_terminal_prints_each_time_that_something_changed() {
    for output in ["text", "json"] {
        let (api, workspace) = (Api::new(), Workspace::sending());
        workspace.service("web", "1");
        workspace.once(&api, &[]).exits(0);
        workspace.service("web", "2");
        let arguments = ["status", "--watch", "50ms", "--output", output];
        let watching = Running::start(&mut workspace.command(&arguments));
        eventually("it is queued", || watching.stdout().contains("queued"));
        workspace.once(&api, &[]).exits(0);
        eventually("it is unchanged", || watching.stdout().contains("unchanged"));
        watching.signal(Signal::INT);
        let ran = watching.ended().exits(0);
        assert!(!ran.stdout.contains('\x1b'), "{ran:#?}");
        match output {
            "json" => {
                let pages: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                assert_eq!(pages.last().unwrap()["services"][0]["state"], "unchanged");
                assert_eq!(pages[0]["services"][0]["state"], "queued");
            }
            _ => assert!(ran.stdout.contains("\n\nSERVICE"), "{ran:#?}"),
        }
    }
}

#[test]
fn a_watch_that_cannot_begin_says_why() {
    let workspace = Workspace::sending();
    std::fs::remove_dir(workspace.manifests()).unwrap();
    let ran = workspace.run(&["status", "--watch"]).exits(78);
    assert!(ran.stderr.contains("cannot read the manifests folder"), "{ran:#?}");
    workspace.run(&["status", "--watch", "soon"]).exits(64);
    workspace.run(&["status", "--watch", "0"]).exits(64);
}
