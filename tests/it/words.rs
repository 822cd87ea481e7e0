//! What people type in the first hour: options in any place, words of other tools, values with mistakes in them.

use std::fmt::Write as _;
use std::process::Command;

use crate::support::{Api, Ran, Terminal, Workspace, eventually, manifest, outcome, plain};

#[test]
fn options_may_stand_before_the_command() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    std::fs::rename(workspace.manifests(), workspace.path().join("m")).unwrap();
    let options = ["-m", "m", "--state-dir=other", "-o", "json"];
    let run = |words: &[&str]| workspace.run(&[&options, words].concat());
    assert_eq!(run(&["--api-url", &format!("{}/v1", api.url()), "--reconcile-once"]).exits(0).outcomes().len(), 1);
    assert_eq!(run(&["plan"]).exits(0).outcomes(), [outcome("shop/web", "unchanged")]);
    assert_eq!(run(&["plan", "--exit-code"]).exits(0).outcomes(), [outcome("shop/web", "unchanged")]);
    assert_eq!(run(&["status"]).exits(0).json()["services"][0]["state"], "unchanged");
    assert_eq!(run(&["history", "-n", "1"]).exits(0).json()["calls"].as_array().unwrap().len(), 1);
    assert_eq!(run(&["why", "web"]).exits(0).json()["state"], "unchanged");
    assert_eq!(run(&["validate"]).exits(0).json()["valid"], true);
    // A number before the command is the value of the option before it, and a command is not.
    workspace.run(&["--limit", "1", "-m", "m", "history"]).exits(0);
    workspace.run(&["--help", "plan"]).exits(0);
    let help = workspace.run(&["--exit-code", "-h", "plan"]).exits(0);
    assert!(help.stdout.contains("Usage: truenorth plan"), "{}", help.stdout);
}

#[test]
fn run_is_the_daemon_by_name() {
    let workspace = Workspace::new();
    let help = workspace.run(&["run", "--help"]).exits(0);
    assert!(help.stdout.contains("--drift-every"), "{}", help.stdout);
    workspace.service("web", "1");
    workspace.run(&["run", "--reconcile-once", "--sandbox"]).exits(0);
}

#[test]
fn a_word_of_another_tool_is_told_what_does_the_same_here() {
    let workspace = Workspace::new();
    let mut told = String::new();
    for words in [
        &["apply"][..],
        &["sync", "-m", "manifests"],
        &["diff"],
        &["get", "services"],
        &["describe", "web"],
        &["logs"],
        &["lint"],
        &["destroy"],
        &["undo", "web"],
        &["--once"],
        &["--dry-run"],
        &["plan", "--dry-run"],
        &["plan", "-f", "manifests"],
        &["status", "--json"],
        &["-v"],
        &["plan", "--limit", "4"],
        &["statsu"],
    ] {
        let ran = workspace.run(words).exits(64);
        let tip = ran.stderr.lines().find_map(|line| line.trim().strip_prefix("tip: "));
        let _ = writeln!(told, "{}: {}", words.join(" "), tip.unwrap_or_default());
    }
    insta::assert_snapshot!(told, @"
    apply: `truenorth --reconcile-once` makes one pass: sends what changed, then exits; `truenorth plan` shows it before
    sync -m manifests: `truenorth --reconcile-once` makes one pass: sends what changed, then exits; `truenorth plan` shows it before
    diff: `truenorth plan` shows what a pass would change
    get services: `truenorth status` shows every service
    describe web: `truenorth why SERVICE` explains one service
    logs: `truenorth history` shows what was sent; the daemon's log is on its stderr
    lint: `truenorth validate` checks every manifest, offline
    destroy: truenorth never deletes a service; one whose manifest is taken away is left as it is
    undo web: revert the commit that changed the manifest: truenorth applies what the folder says
    --once: `truenorth --reconcile-once` makes one pass, then exits
    --dry-run: `truenorth plan` shows what a pass would change, and sends nothing
    plan --dry-run: `truenorth plan` shows what a pass would change, and sends nothing
    plan -f manifests: `--manifests DIR` names the folder of manifests
    status --json: `--output json` prints JSON
    -v: `--log-level debug` says more
    plan --limit 4: `--limit` is an option of `truenorth history`, `truenorth sandbox`
    statsu: a similar subcommand exists: 'status'
    ");
}

#[test]
fn a_token_on_the_command_line_is_refused_and_not_repeated() {
    let workspace = Workspace::new();
    for words in [&["--token", "nf-typed"][..], &["--token=nf-typed"], &["plan", "--token", "nf-typed"]] {
        let ran = workspace.run(words).exits(64);
        assert!(ran.stderr.contains("give the token by `--token-file FILE`"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("nf-typed"), "{}", ran.stderr);
    }
}

#[test]
fn all_mistakes_are_told_at_once_each_with_where_it_came_from() {
    let workspace = Workspace::new();
    let mut command = workspace.command(&["--reconcile-once", "--concurrency", "0", "--deadline=soon", "--nope", "x"]);
    command.env_remove("NORTHFLANK_API_TOKEN").env("NORTHFLANK_API_URL", "ftp://me:hunter2@x");
    command.env("TRUENORTH_DRIFT", "fix").env("TRUENORTH_ALLOW", "a b");
    let ran = Ran::of(&mut command).exits(64);
    insta::assert_snapshot!(ran.stderr, @"
    error: invalid value '0' for '--concurrency <N>': expected a whole number from 1 to 1024
    error: invalid value 'soon' for '--deadline <DURATION>': expected a number with a unit, such as 30s, 1m30s or 100ms
    error: unexpected argument '--nope' found
    error: invalid value 'a b' for 'TRUENORTH_ALLOW (--allow <PATTERN>)': expected PROJECT, PROJECT/SERVICE, TEAM/PROJECT or TEAM/PROJECT/SERVICE, of letters, digits, dashes, * and ?
    error: invalid value 'fix' for 'TRUENORTH_DRIFT (--drift <WHAT>)'
      [possible values: report, correct, off]
    error: the API's URL (NORTHFLANK_API_URL) has another scheme than https; write it like `https://api.northflank.com`
    error: no API token
      hint: name a file with `--token-file`, or set `NORTHFLANK_API_TOKEN`, or give systemd's credential `northflank-api-token`
    ");
    let mut command = workspace.command(&["--reconcile-once"]);
    command.env_remove("NORTHFLANK_API_TOKEN").env("NORTHFLANK_API_URL", "ftp://me:hunter2@x");
    let ran = Ran::of(command.env("TRUENORTH_TOKEN_FILE", "absent")).exits(78);
    insta::assert_snapshot!(ran.stderr, @"
    error: the API's URL (NORTHFLANK_API_URL) has another scheme than https; write it like `https://api.northflank.com`
    error: cannot read token file `absent`: No such file or directory (os error 2)
      hint: TRUENORTH_TOKEN_FILE names this file
    ");
}

#[test]
fn an_empty_variable_is_not_set_and_one_that_nothing_reads_is_told() {
    let workspace = Workspace::new();
    workspace.service("web", "1");
    for words in [&["validate"][..], &["plan"], &["--reconcile-once", "--sandbox"], &["status"]] {
        let mut command = workspace.command(words);
        for name in
            ["TRUENORTH_ALLOW", "TRUENORTH_DEADLINE", "TRUENORTH_OUTPUT", "TRUENORTH_MANIFESTS", "NORTHFLANK_API_URL"]
        {
            command.env(name, "");
        }
        // What Kubernetes sets beside a Service of this name is nobody's mistake.
        command.env("TRUENORTH_SERVICE_HOST", "10.0.0.1").env("TRUENORTH_PORT_9095_TCP", "tcp://10.0.0.1:9095");
        let ran = Ran::of(&mut command).exits(0);
        assert!(!ran.stderr.contains("not read"), "{}", ran.stderr);
        let ran = Ran::of(command.env("TRUENORTH_STATE_DIRS", "hunter2")).exits(0);
        let told = "the variable TRUENORTH_STATE_DIRS is not read; did you mean TRUENORTH_STATE_DIR?";
        assert!(ran.stderr.contains(told) && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
}

#[test]
fn what_was_copied_with_a_token_is_told_before_a_call() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    let mut told = String::new();
    for value in ["'nf-hunter2'", "NORTHFLANK_API_TOKEN=nf-hunter2", "Bearer nf-hunter2", "${NORTHFLANK_API_TOKEN}"] {
        let mut command = workspace.once_command(&api, &[]);
        let in_variable = Ran::of(command.env("NORTHFLANK_API_TOKEN", value)).exits(78).stderr;
        std::fs::write(workspace.path().join("token"), value).unwrap();
        let in_file = workspace.once(&api, &["--token-file", "token"]).exits(78).stderr;
        for text in [in_variable, in_file] {
            assert!(!text.contains("hunter2"), "{text}");
            told += &text;
        }
    }
    assert_eq!(api.world().call_count(), 0);
    insta::assert_snapshot!(told, @"
    error: `NORTHFLANK_API_TOKEN` holds no token: it has quotes around it; leave them out
    error: token file `token` holds no token: it has quotes around it; leave them out
    error: `NORTHFLANK_API_TOKEN` holds no token: it begins with a name and `=`; keep only what follows
    error: token file `token` holds no token: it begins with a name and `=`; keep only what follows
    error: `NORTHFLANK_API_TOKEN` holds no token: it begins with `Bearer`; keep only what follows
    error: token file `token` holds no token: it begins with `Bearer`; keep only what follows
    error: `NORTHFLANK_API_TOKEN` holds no token: it is a placeholder that nothing was put in for, such as `${NAME}` or `<token>`
    error: token file `token` holds no token: it is a placeholder that nothing was put in for, such as `${NAME}` or `<token>`
    ");
}

#[test]
fn truenorth_alone_on_a_terminal_says_how_to_begin() {
    let workspace = Workspace::new();
    std::fs::remove_dir(workspace.manifests()).unwrap();
    let mut terminal = Terminal::start(&mut workspace.command(&[]), 80, 24);
    terminal.ends_with(0);
    eventually("the terminal shows the last line", || terminal.shown().contains("--help` tells the rest"));
    let shown = terminal.shown();
    assert!(shown.contains("truenorth init") && shown.contains("--sandbox"), "{shown}");
    assert!(shown.lines().all(|line| line.trim_end().len() <= 80), "{shown}");
    // Where nobody looks, and where a folder was named, it is the daemon.
    let ran = Ran::of(workspace.command(&[]).env_remove("NORTHFLANK_API_TOKEN")).exits(78);
    assert!(ran.stderr.contains("no API token"), "{}", ran.stderr);
}

#[test]
fn reading_commands_take_what_names_folder_and_api() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.service("new", "1");
    let other = "https://api.example.com";
    for words in [&["status"][..], &["why", "web"], &["history"]] {
        let ran = workspace.run(&[words, &["--api-url", &api.url()]].concat()).exits(0);
        assert_eq!(ran.stderr, "");
        let ran = workspace.run(&[words, &["--api-url", other]].concat()).exits(0);
        let note = format!("note: this ledger is of {} (account team/sandbox), not of {other}\n", api.url());
        assert_eq!(ran.stderr, note);
    }
    assert_eq!(workspace.run(&["history", "new", "-m", "manifests"]).exits(0).stdout, "nothing was sent yet\n");
    workspace.run(&["history", "absent"]).exits(1);
}

/// What a command prints on a terminal of 80 columns.
fn on_a_terminal(command: &mut Command, code: i32) -> Vec<String> {
    let mut terminal = Terminal::attended(command);
    terminal.ends_with(code);
    eventually("all of it is shown", || terminal.shown().ends_with('\n'));
    terminal.shown().lines().map(plain).collect()
}

#[test]
fn what_is_longer_than_a_terminal_is_wide_goes_on_below_and_a_pipe_gets_whole_lines() {
    let workspace = Workspace::new();
    workspace.write("web.yaml", "<<<<<<< HEAD\n");
    workspace.write("api.yaml", manifest("api", "latest"));
    for (arguments, code) in [
        (&["validate"][..], 1),
        (&["plan"], 1),
        (&["plan", "--live"], 1),
        (&["status"], 0),
        (&["why", "web"], 1),
        (&["why", "api"], 0),
        (&["doctor"], 78),
        (&["plan", "--state-dir", "manifests/web.yaml"], 78),
        (&["--reconcile-once", "--sandbox"], 1),
        (&["history", "web"], 1),
        (&["apply"], 64),
        (&["plan", "--dry-run", "--oputput", "json"], 64),
    ] {
        let mut command = workspace.command(arguments);
        command.env("NORTHFLANK_API_URL", "http://127.0.0.1:1").env("TRUENORTH_DEADLINE", "10ms");
        for line in on_a_terminal(&mut command, code) {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
        }
    }
    let piped = workspace.run(&["validate"]).exits(1);
    assert!(piped.stdout.lines().any(|line| line.contains("hint: ") && line.chars().count() > 80), "{}", piped.stdout);
}
