//! What is shown, in every place where something is: no secret of a command, and nothing that a name or a server says in
//! truenorth's place.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use rustix::process::Signal;
use truenorth::sandbox::Fault;

use crate::support::{Api, Daemon, Ran, TOKEN, Workspace, eventually, manifest};

/// The secret in the command, and what of it would tell something.
const SECRET: &str = "swordfish-77-hunter2";
const TELLING: [&str; 2] = ["swordfish", "hunter2"];

fn with_command(service: &str, tag: &str) -> String {
    let command = format!("node server.js --port 8080 --token {SECRET}");
    manifest(service, tag) + &format!("  docker:\n    configType: customCommand\n    customCommand: {command}\n")
}

#[track_caller]
fn hides(what: &str, text: &str) {
    assert!(!TELLING.iter().any(|part| text.contains(part)), "{what} shows the command's secret:\n{text}");
    assert!(!text.contains(TOKEN), "{what} shows the token:\n{text}");
}

#[track_caller]
fn run(workspace: &Workspace, arguments: &[&str]) -> Ran {
    let ran = workspace.run(arguments);
    hides(&format!("{arguments:?}"), &ran.stdout);
    hides(&format!("{arguments:?}, on stderr,"), &ran.stderr);
    ran
}

#[test]
fn the_secret_of_a_command_reaches_the_api_and_nobody_else() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.write("web.yaml", with_command("web", "1"));
    workspace.write("bad.yaml", with_command("bad", "1") + "    customComand: x\n");
    let said = format!("customCommand `node server.js --port 8080 --token {SECRET}` is refused: \"{SECRET}\"");
    api.world().script(Fault::error(400, "INVALID", &said, None));
    let url = api.url();
    for arguments in [
        &["plan"][..],
        &["plan", "--output", "json"],
        &["validate"],
        &["validate", "--output", "json"],
        &["validate", "--output", "github"],
        &["--reconcile-once", "--api-url", &url, "--log-level", "trace"],
        &["why", "web"],
        &["history"],
        &["--reconcile-once", "--api-url", &url, "--log-level", "trace", "--log-format", "json", "--output", "json"],
        &["why", "web", "--output", "json"],
        &["status"],
        &["status", "--output", "json"],
        &["history", "--output", "json"],
        &["plan", "--live", "--api-url", &url],
        // Nothing is shown to a pipe that only asks for a terminal.
        &["plan", "--show-commands"],
    ] {
        run(&workspace, arguments);
    }
    let sent = api.world().updates("shop/web");
    assert!(
        sent.iter().all(|update| update["docker"]["customCommand"].as_str().unwrap().contains(SECRET))
            && !sent.is_empty()
    );

    workspace.write("web.yaml", with_command("web", "2").replace(SECRET, &format!("{SECRET}-more")));
    let plan = run(&workspace, &["plan"]).stdout;
    let told = "node server.js --port 8080 --token [hidden] -> node server.js --port 8080 --token [changed]";
    assert!(plan.contains(told), "{plan}");
    let shown = workspace.run(&["plan", "--show-commands=always"]).stdout;
    assert!(
        shown.contains(&format!("--token {SECRET} -> node server.js --port 8080 --token {SECRET}-more")),
        "{shown}"
    );
    let drawn = workspace.run(&["validate", "--show-commands=always"]);
    assert!(drawn.exits(1).stdout.contains("customComand: x"));

    let daemon = Daemon::start(&workspace, &api, &["--log-level", "trace", "--drift", "report", "--drift-every", "1s"]);
    eventually("it is sent", || api.world().updates("shop/web").len() > sent.len());
    for path in ["/status", "/metrics", "/readyz", "/healthz", "/"] {
        hides(path, &daemon.page(path).1);
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    // What belongs to a process that is not dumpable is root's; where everything is root's, that shows nothing.
    assert_eq!(fs::metadata(format!("/proc/{}/environ", daemon.pid())).unwrap().uid(), 0);
    daemon.signal(Signal::TERM);
    let (_, log) = daemon.ends();
    hides("the daemon's log", &serde_json::Value::from(log).to_string());
}

#[test]
fn no_name_of_a_file_begins_a_line_or_gives_a_command() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("good", "1");
    for name in
        ["x\n::error::owned.yaml", "::warning::owned.yaml", "##[error]owned.yaml", "\u{1b}[2Jowned\u{202e}.yaml"]
    {
        workspace.write(name, "a: b\n::error::owned\n");
    }
    let url = api.url();
    for arguments in [
        &["validate"][..],
        &["validate", "--output", "json"],
        &["validate", "--output", "github"],
        &["plan"],
        &["plan", "--output", "json"],
        &["status"],
        &["--reconcile-once", "--api-url", &url, "--log-level", "trace"],
        &["--reconcile-once", "--api-url", &url, "--log-level", "trace", "--log-format", "json", "--output", "json"],
        &["why", "good"],
    ] {
        let ran = workspace.run(arguments);
        for line in ran.stdout.lines().chain(ran.stderr.lines()) {
            let ours = line.starts_with("::error file=") && line.contains(",title=truenorth::");
            let is_command =
                line.trim_start().strip_prefix("::").is_some_and(|name| name.starts_with(char::is_alphabetic));
            assert!(ours || !is_command, "{arguments:?}: {line}");
            assert!(!line.contains("##[") && !line.contains(truenorth::text::is_steering), "{arguments:?}: {line:?}");
        }
    }
}

/// Where programs find the journal.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Nobody listens to the played one any longer.
const END: &[u8] = b"the end";

/// Plays the journal, on a machine that has none. `None` where there is one, or nobody may play it.
fn journal() -> Option<UnixDatagram> {
    fs::create_dir_all(Path::new(JOURNAL).parent()?).ok()?;
    if UnixDatagram::unbound().and_then(|socket| socket.connect(JOURNAL)).is_ok() {
        return None;
    }
    // What an earlier run left, which nobody listens to.
    let _ = fs::remove_file(JOURNAL);
    UnixDatagram::bind(JOURNAL).ok()
}

#[test]
fn the_journal_shows_neither_the_token_nor_the_secret_of_a_command() {
    let Some(journal) = journal() else { return };
    let (told, entries) = mpsc::channel();
    let listening = thread::spawn(move || {
        let mut entry = vec![0; 256 * 1024];
        while let Ok(length) = journal.recv(&mut entry)
            && entry[..length] != *END
        {
            told.send(String::from_utf8_lossy(&entry[..length]).into_owned()).unwrap();
        }
    });
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.write("web.yaml", with_command("web", "1"));
    workspace.write("bad.yaml", with_command("bad", "1") + &format!("    customComand: {TOKEN}\n"));
    let said = format!("customCommand `node server.js --token {SECRET}` of {TOKEN} is refused");
    api.world().script(Fault::error(400, "INVALID", &said, None));
    let once = ["--reconcile-once", "--deadline", "20s", "--log-level", "trace", "--log-format", "journald"];
    run(&workspace, &[&once[..], &["--api-url", &api.url()]].concat()).exits(1);
    UnixDatagram::unbound().and_then(|end| end.send_to(END, JOURNAL)).unwrap();
    listening.join().unwrap();
    fs::remove_file(JOURNAL).unwrap();
    let entries: Vec<String> = entries.try_iter().collect();
    assert!(entries.iter().any(|entry| entry.contains("MESSAGE") && entry.contains("shop/web")), "{entries:?}");
    entries.iter().for_each(|entry| hides("the journal", entry));
}
