//! What helps at the beginning: self-test, doctor, init.

use regex::Regex;

use serde_json::{Value, json};
use truenorth::sandbox::{Fault, Operation};

use crate::support::{Api, Ran, TOKEN, Terminal, Workspace, eventually, git, plain};

#[test]
fn a_self_test_makes_a_pass_of_its_own_and_leaves_nothing_behind() {
    let workspace = Workspace::new();
    let temporary = workspace.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let before = workspace.contents();
    let run = |words: &[&str]| {
        let mut command = workspace.command(words);
        // Neither a token nor an API is asked for, and what is set for others changes nothing.
        command.env("TMPDIR", &temporary).env("HTTPS_PROXY", "http://127.0.0.1:1").env("NORTHFLANK_API_URL", "ftp://x");
        Ran::of(command.env_remove("NORTHFLANK_API_TOKEN"))
    };
    let ran = run(&["self-test"]).exits(0);
    let shown = ran.stdout.replace(&*temporary.to_string_lossy(), "TMP");
    let shown = Regex::new(r"truenorth-\w+|127\.0\.0\.1:\d+|\(\d.*\)").unwrap().replace_all(&shown, "…");
    insta::assert_snapshot!(shown, @"
    ok       files        a manifest in TMP/…/manifests
    ok       sandbox      listens at http://…
    ok       pass         self-test/web updated and deployed, 3 calls
    ok       update       one call for self-test/web, with its image
    ok       ledger       a second pass has nothing to send
    truenorth 0.1.0 works here …
    ");
    assert!(workspace.contents() == before, "something was left behind");
    let json = run(&["self-test", "-o", "json"]).exits(0).json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["checks"].as_array().unwrap().len(), 5);
}

#[test]
fn a_self_test_says_what_does_not_work() {
    let workspace = Workspace::new();
    let ran = Ran::of(workspace.command(&["self-test"]).env("TMPDIR", "/nonexistent")).exits(1);
    assert!(ran.stdout.starts_with("fault    files        cannot make a temporary folder: "), "{ran:#?}");
    assert!(
        ran.stdout.contains("\n  hint: make room in the temporary folder, or name another one in TMPDIR\n"),
        "{ran:#?}"
    );
    assert!(ran.stdout.contains("does not work here"), "{ran:#?}");
}

/// A check of what a command printed as JSON.
#[track_caller]
fn check(ran: &Ran, name: &str) -> Value {
    let json = ran.json();
    let found = json["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {ran:#?}")).clone()
}

/// What a check says: `verdict: message`.
#[track_caller]
fn said(ran: &Ran, name: &str) -> String {
    let check = check(ran, name);
    format!("{}: {}", check["verdict"].as_str().unwrap(), check["message"].as_str().unwrap())
}

fn doctor(workspace: &Workspace, api: &Api, more: &[&str]) -> Ran {
    workspace.run(&[&["doctor", "-o", "json", "--api-url", &api.url()], more].concat())
}

/// What `GET /v1/auth` says of a token.
fn auth(more: &Value) -> Fault {
    let mut data = json!({"entityType": "team", "entityId": "acme", "tokenKind": "api", "expiresAt": null});
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Fault::json(200, json!({"data": data})).on(Operation::Auth).always()
}

#[test]
fn a_doctor_goes_through_everything_and_sends_nothing() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    let before = workspace.contents();
    let ran = workspace.run(&["doctor", "--api-url", &api.url()]).exits(0);
    let shown = Regex::new(r"\(\d+ ms\)").unwrap().replace_all(&ran.stdout, "(TIME)").into_owned();
    insta::assert_snapshot!(workspace.placed(&shown, &api), @r"
    ok       api          `URL` answers (TIME)
    ok       token        of team/sandbox, from NORTHFLANK_API_TOKEN; it does not end
    ok       clock        agrees with the API's
    ok       read         may read shop, and its services exist
    ok       certificates not needed: plain HTTP on loopback
    ok       folder       manifests has 1 manifest
    ok       git          the folder is not in a checkout; its content is its revision
    ok       ledger       STATE (there is none yet; the first pass makes it)
    everything is in place
    ");
    assert!(workspace.contents() == before, "the doctor wrote something");
    assert_eq!(api.world().update_count(), 0);
    assert!(!ran.stdout.contains(TOKEN));
    // Beside a ledger that was used, and a daemon that has it open, it says whose it is.
    workspace.once(&api, &[]).exits(0);
    let ledger = said(&doctor(&workspace, &api, &[]).exits(0), "ledger");
    assert!(ledger.contains("(account team/sandbox); no daemon runs"), "{ledger}");
}

#[test]
fn a_doctor_can_be_rehearsed_with_the_sandbox() {
    let workspace = Workspace::new();
    workspace.service("web", "1");
    let before = workspace.contents();
    let mut command = workspace.command(&["doctor", "--sandbox"]);
    let ran = Ran::of(command.env_remove("NORTHFLANK_API_TOKEN").env_remove("TRUENORTH_STATE_DIR")).exits(0);
    let shown = Regex::new(r"`http\S+` answers \(\d+ ms\)").unwrap().replace_all(&ran.stdout, "`URL` answers (TIME)");
    insta::assert_snapshot!(shown, @r"
    ok       api          `URL` answers (TIME)
    ok       token        of team/sandbox, from the sandbox; it does not end
    ok       clock        agrees with the API's
    ok       read         may read shop, and its services exist
    ok       folder       manifests has 1 manifest
    ok       git          the folder is not in a checkout; its content is its revision
    ok       ledger       the sandbox has one of its own, which is thrown away
    everything is in place
    ");
    assert!(workspace.contents() == before, "the doctor wrote something");
    // A ledger that is named is looked at, and may not be that of another API.
    let api = Api::new();
    workspace.once(&api, &[]).exits(0);
    let ledger = said(&workspace.run(&["doctor", "--sandbox", "-o", "json"]).exits(78), "ledger");
    assert!(ledger.contains("and not to sandbox"), "{ledger}");
}

#[test]
fn a_doctor_tells_what_is_wrong_with_a_token_and_what_it_may_not_do() {
    let workspace = Workspace::new();
    workspace.service("web", "1");

    let api = Api::of_token("another");
    let ran = doctor(&workspace, &api, &[]).exits(78);
    assert!(said(&ran, "token").starts_with("fault: NORTHFLANK_API_TOKEN: the API answered 401"), "{ran:#?}");
    assert!(check(&ran, "token")["hint"].as_str().unwrap().starts_with("make a new API token"), "{ran:#?}");

    let api = Api::new();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    for (ends, code, verdict) in [("2026-01-01T00:00:00Z", 78, "fault"), (&*soon.to_string(), 0, "warning")] {
        api.world().clear_faults();
        api.world().script(auth(&json!({"expiresAt": ends})));
        let ran = doctor(&workspace, &api, &[]).exits(code);
        assert_eq!(check(&ran, "token")["verdict"], verdict, "{ran:#?}");
    }

    api.world().clear_faults();
    let restricted = json!({"enabled": true, "restrictionMode": "in", "projects": ["blog"]});
    api.world()
        .script(auth(&json!({"projectRestrictions": restricted, "permissions": {"projectScope": ["x.read", 3]}})));
    let ran = doctor(&workspace, &api, &[]).exits(78);
    assert_eq!(said(&ran, "projects"), "fault: the token does not open shop");
    assert_eq!(said(&ran, "update"), "warning: the token's role names no update of deployments");

    // What may not be read is told in the API's own words.
    api.world().clear_faults();
    let denied = "missing permission project.services.general.read";
    api.world().script(Fault::error(403, "FORBIDDEN", denied, None).on(Operation::ListServices).always());
    let ran = doctor(&workspace, &api, &[]).exits(78);
    assert!(said(&ran, "read").contains(denied), "{ran:#?}");
    assert!(check(&ran, "read")["hint"].as_str().unwrap().contains("General > Read"), "{ran:#?}");
    assert_eq!(api.world().update_count(), 0);
}

#[test]
fn a_doctor_tells_of_a_missing_service_a_wrong_clock_and_an_api_that_does_not_answer() {
    let workspace = Workspace::new();
    workspace.service("web", "1");
    workspace.service("api", "1");
    let api = Api::of_services(&["shop/web"]);
    let ran = doctor(&workspace, &api, &[]).exits(78);
    assert_eq!(said(&ran, "services"), "fault: not in Northflank: shop/api");

    let api = Api::new();
    for (date, code, told) in [
        ("Thu, 01 Jan 2026 00:00:00 GMT", 78, "ahead of the API's"),
        ("Fri, 01 Jan 2049 00:00:00 GMT", 78, "behind the API's"),
    ] {
        api.world().clear_faults();
        api.world().script(Fault::headers().with_header("date", date).on(Operation::Auth).always());
        let ran = doctor(&workspace, &api, &[]).exits(code);
        assert!(said(&ran, "clock").ends_with(told), "{ran:#?}");
    }

    let ran = workspace.run(&["doctor", "-o", "json", "--api-url", "http://127.0.0.1:1"]).exits(78);
    assert!(said(&ran, "api").starts_with("fault: no connection to `http://127.0.0.1:1`"), "{ran:#?}");
    // The others are looked at all the same.
    assert_eq!(said(&ran, "folder"), "ok: manifests has 2 manifests");
}

#[test]
fn a_doctor_looks_at_all_that_is_here_without_a_token_too() {
    let workspace = Workspace::new();
    workspace.write("bad.yaml", "kind: x\n");
    git(&workspace.manifests(), &["init", "--quiet", "."]);
    git(&workspace.manifests(), &["add", "--all"]);
    git(&workspace.manifests(), &["commit", "--quiet", "-m", "begin"]);
    workspace.service("web", "1");
    std::fs::write(workspace.path().join("file"), "").unwrap();
    let mut command = workspace.command(&["doctor", "-o", "json", "--state-dir", "file"]);
    command.env_remove("NORTHFLANK_API_TOKEN").env("SSL_CERT_FILE", "/nonexistent");
    let ran = Ran::of(&mut command).exits(78);
    assert_eq!(said(&ran, "token"), "fault: no API token");
    assert!(said(&ran, "api").starts_with("warning: https://api.northflank.com was not asked"), "{ran:#?}");
    assert_eq!(
        said(&ran, "certificates"),
        "fault: SSL_CERT_FILE names /nonexistent, which is not a file of certificates"
    );
    assert_eq!(said(&ran, "folder"), "fault: manifests has 4 problems, and 1 manifest");
    assert!(said(&ran, "git").contains("+dirty: some manifests are not committed"), "{ran:#?}");
    assert_eq!(said(&ran, "ledger"), "fault: the state folder `file` is not a folder");
    assert_eq!(ran.json()["ok"], false);

    let mut command = workspace.command(&["doctor", "-o", "json", "--api-url", "ftp://me:hunter2@x"]);
    let ran = Ran::of(command.env("HTTPS_PROXY", "socks5://me:hunter2@x")).exits(78);
    assert!(said(&ran, "api").starts_with("fault: the API's URL (--api-url)"), "{ran:#?}");
    assert!(!ran.stdout.contains("hunter2"), "{ran:#?}");
}

/// A folder in which nothing is yet.
fn nothing() -> Workspace {
    let workspace = Workspace::new();
    std::fs::remove_dir(workspace.manifests()).unwrap();
    workspace
}

fn text(workspace: &Workspace, path: &str) -> String {
    std::fs::read_to_string(workspace.path().join(path)).unwrap()
}

#[test]
fn init_writes_what_is_needed_and_ends_with_the_plan() {
    let (api, workspace) = (Api::new(), nothing());
    api.world().make_examples(None, "shop");
    let init = ["init", "--project", "shop", "--for", "systemd", "--api-url", &api.url()];
    let ran = workspace.run(&init).exits(0);
    insta::assert_snapshot!(workspace.placed(&ran.stdout, &api), @"
    + written   shop/docs  manifests/shop/docs.yaml
    + written   shop/web  manifests/shop/web.yaml
        external.credentials  live uses credentials and does not show which
    + written   shop/worker  manifests/shop/worker.yaml
    3 written; 4 calls, 996 left in this window
    nothing to send: 3 services match live; live does not give everything of 1 service, see the comments in the files

    + written   manifests/.truenorth.schema.json  JSON Schema of the manifests, for editors
    + written   manifests/.truenorthignore  what is not a manifest
    + written   truenorth.env  options of the systemd unit

    API: URL (account team/sandbox)
    ledger: STATE (there is none yet)
    folder: manifests at tree:b9c2cdc62c59
    signs: = runs already
    = adopted   shop/docs (new)  shop/docs.yaml:3
    = adopted   shop/web (new)  shop/web.yaml:3
        warning: live uses the credentials for its image, and an update by this manifest would drop them; name them (`external.credentials`), or say `policy.credentials: none`
    = adopted   shop/worker (new)  shop/worker.yaml:3
    3 adopted; 3 calls, 993 left in this window
    plan b0576c83b6cc: nothing to send, 3 services run already
    a pass takes 3 calls; 993 left, window resets in 60 min

    next: look at manifests, commit it, then
      truenorth --reconcile-once
    ");
    assert_eq!(api.world().update_count(), 0);
    let web = text(&workspace, "manifests/shop/web.yaml");
    assert!(web.starts_with("# yaml-language-server: $schema=../.truenorth.schema.json\n"), "{web}");
    let schema: Value = serde_json::from_str(&text(&workspace, "manifests/.truenorth.schema.json")).unwrap();
    assert_eq!(schema, workspace.run(&["schema"]).exits(0).json());
    let options = text(&workspace, "truenorth.env");
    assert!(options.contains(&format!("\nTRUENORTH_MANIFESTS={}\n", workspace.manifests().display())), "{options}");
    // The folder is valid, with pages for people in it too.
    workspace.write("README.md", "# Manifests");
    workspace.run(&["validate"]).exits(0);

    // Nothing is written over, also where somebody changed it.
    workspace.write("shop/web.yaml", format!("# mine\n{web}"));
    std::fs::write(workspace.path().join("truenorth.env"), "MINE=1\n").unwrap();
    let before = workspace.contents();
    let ran = workspace.run(&init).exits(0);
    assert!(ran.stdout.contains("= kept      truenorth.env"), "{ran:#?}");
    assert!(workspace.contents() == before, "something was written over");
}

#[test]
fn init_writes_jobs_for_ci_that_speak_of_the_folder() {
    let workspace = nothing();
    let init = ["init", "--sandbox", "--project", "shop", "--team", "acme", "-m", "deploy/prod", "--for"];
    workspace.run(&[&init[..], &["ci"]].concat()).exits(0);
    workspace.run(&[&init[..], &["gitlab"]].concat()).exits(0);
    assert!(workspace.path().join("deploy/prod/acme/shop/web.yaml").is_file());
    for file in [".github/workflows/truenorth.yml", ".gitlab-ci.yml"] {
        let job = text(&workspace, file);
        serde_yaml::from_str::<serde_yaml::Value>(&job).unwrap();
        assert!(job.contains("truenorth --reconcile-once --manifests 'deploy/prod'"), "{job}");
    }
}

#[test]
fn init_asks_on_a_terminal_and_nowhere_else() {
    let workspace = nothing();
    let mut command = workspace.command(&["init"]);
    let ran = Ran::of(command.env_remove("NORTHFLANK_API_TOKEN")).exits(64);
    assert_eq!(
        ran.stderr,
        "error: init needs --project PROJECT and --token-file FILE: there is no terminal to ask on\n  \
         hint: without an account: truenorth init --project shop --sandbox\n"
    );

    let api = Api::new();
    api.world().make_examples(Some("acme"), "shop");
    let whose = json!({"data": {"entityType": "org", "entityId": "umbrella"}});
    api.world().script(Fault::json(200, whose).on(Operation::Auth).always());
    let ran = workspace.run(&["init", "--project", "shop", "--api-url", &api.url()]).exits(64);
    assert!(ran.stderr.starts_with("error: init needs --team TEAM"), "{ran:#?}");

    std::fs::write(workspace.path().join("token"), TOKEN).unwrap();
    let mut command = workspace.command(&["init", "--api-url", &api.url()]);
    let mut terminal = Terminal::attended(command.env_remove("NORTHFLANK_API_TOKEN"));
    for (question, answer) in [
        ("Project (its id in Northflank): ", "not an id!"),
        ("blank at position", "shop"),
        ("File that holds the API token: ", "absent"),
        ("`absent` is not a file", "token"),
        ("Team of the project", "acme"),
    ] {
        eventually(question, || terminal.shown().contains(question));
        terminal.types(answer);
    }
    terminal.ends_with(0);
    eventually("what comes next", || terminal.shown().contains("--token-file token"));
    let shown = plain(&terminal.shown());
    assert!(shown.contains("acme/shop/web") && !shown.contains(TOKEN), "{shown}");
    assert!(workspace.manifests().join("acme/shop/web.yaml").is_file());
}

#[test]
fn where_there_are_no_manifests_every_command_says_how_to_begin() {
    let workspace = Workspace::new();
    let commands =
        [&["plan"][..], &["validate"], &["status"], &["why", "web"], &["--reconcile-once", "--sandbox"], &["doctor"]];
    for words in commands {
        let ran = workspace.run(words);
        let said = ran.stdout.clone() + &ran.stderr;
        assert!(said.contains("`truenorth init`"), "{words:?}: {ran:#?}");
    }
    let workspace = nothing();
    for words in commands {
        let ran = workspace.run(words).exits(78);
        let said = ran.stdout.clone() + &ran.stderr;
        assert!(said.contains("begin with `truenorth init`"), "{words:?}: {ran:#?}");
    }
}

#[test]
fn commands_that_read_take_the_sandbox_too() {
    let workspace = Workspace::new();
    workspace.service("web", "1");
    let plan = workspace.run(&["--sandbox", "plan", "--live", "-o", "json", "--exit-code"]);
    // The test's own state folder is no throw-away one.
    assert_eq!(plan.exits(2).service("shop/web")["outcome"], "update");
    let ran = workspace.run(&["import", "--sandbox", "--project", "shop", "--out", "out", "-o", "json"]).exits(0);
    assert_eq!(ran.json()["services"].as_array().unwrap().len(), 3);
    workspace.run(&["--reconcile-once", "--sandbox"]).exits(0);
    let ran = workspace.run(&["status", "--sandbox", "-o", "json"]).exits(0);
    assert_eq!((&ran.json()["services"][0]["state"], &*ran.stderr), (&json!("unchanged"), ""));
    // A ledger of another API is told, or refused.
    let api = Api::new();
    let elsewhere = ["--state-dir", "elsewhere"];
    workspace.once(&api, &elsewhere).exits(0);
    let ran = workspace.run(&[&["status", "--sandbox"], &elsewhere[..]].concat()).exits(0);
    assert!(ran.stderr.contains(", not of sandbox"), "{ran:#?}");
    workspace.run(&[&["plan", "--sandbox"], &elsewhere[..]].concat()).exits(78);
    let mut command = workspace.command(&["status", "--sandbox", "--listen", "off"]);
    let ran = Ran::of(command.env_remove("TRUENORTH_STATE_DIR")).exits(64);
    assert!(ran.stderr.contains("thrown away at its end"), "{ran:#?}");
}

/// What a shell is answered for these words, the last of which is being typed.
fn completed(workspace: &Workspace, words: &[&str]) -> Vec<String> {
    let mut command = workspace.command(&[&["--", "truenorth"], words].concat());
    command.env("TRUENORTH_COMPLETE", "bash").env("_CLAP_IFS", "\n");
    let ran = Ran::of(command.env("_CLAP_COMPLETE_INDEX", words.len().to_string())).exits(0);
    ran.stdout.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn completions_know_the_services_of_the_folder_and_of_the_ledger() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("gone", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.remove("gone.yaml");
    workspace.service("web", "1");
    let all = ["shop/gone", "shop/web"];
    for words in [&["why", ""][..], &["forget", "shop/"], &["history", "s"], &["retry", "shop/gone", "sh"]] {
        assert_eq!(completed(&workspace, words).iter().filter(|word| !word.starts_with('-')).collect::<Vec<_>>(), all);
    }
    assert_eq!(completed(&workspace, &["why", "g"]), ["gone"]);
    assert_eq!(completed(&workspace, &["status", "sh"]), ["shop", "shop/gone", "shop/web"]);
    assert_eq!(completed(&workspace, &["import", "--project", ""]), ["shop"]);
    assert!(completed(&workspace, &["dr"]).is_empty() && completed(&workspace, &["doc"]) == ["doctor"]);
    assert!(completed(&workspace, &["plan", "--li"]).contains(&"--live".to_owned()));
    // Where the folder is another one, that is asked; where nothing can be read, nothing is said.
    std::fs::rename(workspace.manifests(), workspace.path().join("m")).unwrap();
    assert_eq!(completed(&workspace, &["why", "-m", "m", "--state-dir", "none", "shop/"]), ["shop/web"]);
    assert!(completed(&workspace, &["why", "-m", "none", "--state-dir", "none", "shop/"]).is_empty());
}

#[test]
fn bash_completes_by_the_script_that_is_printed() {
    let workspace = Workspace::new();
    workspace.service("web", "1");
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_truenorth"));
    let script = "eval \"$(truenorth completions bash)\"; COMP_WORDS=(truenorth why shop/); COMP_CWORD=2
        _clap_complete_truenorth truenorth shop/ why; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut command = std::process::Command::new("bash");
    command.args(["-c", script]).current_dir(workspace.path()).env("HOME", workspace.path());
    command.env("PATH", format!("{}:/usr/bin:/bin", binary.parent().unwrap().display()));
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    assert_eq!(Ran::of(&mut command).exits(0).stdout, "shop/web\n");
}
