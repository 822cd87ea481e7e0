//! One truenorth a ledger, and ledgers that cannot be used: exit 78, nothing sent, no byte changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::Signal;
use truenorth::sandbox::Fault;

use crate::support::{Api, Ran, Running, Workspace, contents, eventually, outcome};

#[test]
fn a_second_truenorth_is_told_who_has_the_ledger() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    api.world().script(Fault::delay(Duration::from_secs(600)).times(1));
    let first = Running::start(&mut workspace.once_command(&api, &[]));
    eventually("the first one makes its call", || api.world().in_flight() == 1);

    let second = workspace.once(&api, &[]).exits(78);
    assert_eq!(second.stdout, "");
    let expected = format!(
        "error: the ledger `{}` is in use by another truenorth, pid {}\n  hint: two of them would send everything twice: \
         stop the other one, or name another --state-dir\n",
        fs::canonicalize(workspace.state()).unwrap().display(),
        first.pid()
    );
    assert_eq!(second.stderr, expected);
    // A plan only reads.
    let plan = workspace.plan().exits(0);
    assert_eq!(plan.outcomes(), [outcome("shop/web", "read-live")]);
    assert_eq!(plan.service("shop/web")["cause"], "in-doubt");
    assert_eq!(api.world().call_count(), 1);

    // However its holder ends, the lock ends with it.
    first.signal(Signal::KILL);
    assert_eq!(first.ended().code, None);
    assert_eq!(workspace.once(&api, &[]).exits(0).service("shop/web")["cause"], "in-doubt");
}

#[test]
fn the_state_folder_is_for_its_owner_alone() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(workspace.state()), 0o700);
    assert_eq!(mode(workspace.state().join("ledger.sqlite")), 0o600);
}

#[test]
fn a_damaged_ledger_is_left_as_it_is() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    fs::create_dir(workspace.state()).unwrap();
    fs::write(workspace.state().join("ledger.sqlite"), "this is no database, whatever its name says\n".repeat(500))
        .unwrap();
    refused(&workspace, &api, "is damaged: it is no SQLite database");
}

#[test]
fn a_ledger_with_a_broken_table_is_left_as_it_is() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    api.world().clear_calls();
    let store = workspace.state().join("ledger.sqlite");
    let root: u32 = opened(&workspace).query_row(ROOT_PAGE, [], |row| row.get(0)).unwrap();
    let root = root as usize;
    let mut bytes = fs::read(&store).unwrap();
    let size = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    bytes[(root - 1) * size..root * size].fill(0xff);
    fs::write(&store, bytes).unwrap();
    let before = contents(&workspace.state());
    let ran = workspace.once(&api, &[]).exits(78);
    assert!(ran.stderr.contains("is damaged: ") && ran.stderr.contains("  hint: "), "{}", ran.stderr);
    workspace.plan().exits(78);
    assert!(contents(&workspace.state()) == before, "the ledger was changed");
    assert_eq!(api.world().calls().len(), 0);
}

#[test]
fn the_ledger_of_a_newer_version_is_left_as_it_is() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    api.world().clear_calls();
    opened(&workspace).pragma_update(None, "user_version", 99).unwrap();
    refused(&workspace, &api, "has format 99, this truenorth knows formats up to ");
}

#[test]
fn the_database_of_another_program_is_left_as_it_is() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    fs::create_dir(workspace.state()).unwrap();
    opened(&workspace).execute_batch("CREATE TABLE bookmark (url TEXT)").unwrap();
    refused(&workspace, &api, "is not a ledger of truenorth");
}

/// The first page of the table that every pass reads.
const ROOT_PAGE: &str = "SELECT rootpage FROM sqlite_schema WHERE name = 'service'";

/// The store, as any other program opens it.
fn opened(workspace: &Workspace) -> Connection {
    Connection::open(workspace.state().join("ledger.sqlite")).unwrap()
}

/// Neither a pass nor a plan begins with this ledger; it stays as it is, and nothing is sent.
#[track_caller]
fn refused(workspace: &Workspace, api: &Api, why: &str) {
    let stored = || {
        let mut files = contents(&workspace.state());
        files.retain(|(path, _)| path.file_name().is_some_and(|name| name != "ledger.lock"));
        files
    };
    let before = stored();
    let commands = [&["--reconcile-once", "--sandbox"][..], &["status"], &["history"], &["why", "web"]];
    let read = commands.into_iter().map(|arguments| workspace.run(arguments));
    for ran in [workspace.once(api, &[]), workspace.plan()].into_iter().chain(read) {
        let Ran { stdout, stderr, .. } = ran.exits(78);
        assert_eq!(stdout, "");
        let error = stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(error.contains("ledger.sqlite") && error.contains(why), "{stderr}");
        assert!(stderr.contains("  hint: "), "{stderr}");
    }
    assert!(stored() == before, "the ledger was changed");
    assert_eq!(api.world().calls().len(), 0);
}

#[test]
fn a_ledger_is_good_for_one_api_alone() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    let state = workspace.state().display().to_string();
    let sandbox = ["--reconcile-once", "--sandbox", "--state-dir", &state];
    let first = workspace.run(&sandbox).exits(0);
    assert!(first.stdout.starts_with("API: sandbox\n"), "{}", first.stdout);
    let before = contents(&workspace.state());
    // The same without the sandbox: nothing was ever sent there.
    let refused = workspace.once(&api, &[]).exits(78);
    let expected =
        format!("belongs to sandbox, and not to {}\n  hint: name another folder with --state-dir", api.url());
    assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
    let mut daemon = workspace.command(&["--listen", "off", "--api-url", &api.url()]);
    assert!(Ran::of(&mut daemon).exits(78).stderr.contains(&expected));
    for plan in [vec!["plan", "--api-url"], vec!["plan", "--live", "--api-url"]] {
        let plan = workspace.run(&[plan, vec![&api.url()]].concat()).exits(78);
        assert!(plan.stderr.contains(&expected), "{}", plan.stderr);
    }
    assert!(contents(&workspace.state()) == before && api.world().calls().is_empty());
    assert_eq!(workspace.run(&sandbox).exits(0).stdout.lines().next(), Some("API: sandbox"));

    // Without a URL a plan that asks no API is for where its ledger belongs, and says so.
    let plan = workspace.plan().exits(0).json();
    assert_eq!(plan["place"], serde_json::json!({"api": "sandbox", "account": null}));
    assert!(workspace.run(&["plan"]).exits(0).stdout.starts_with("API: sandbox\n"));
    workspace.run(&["plan", "--live"]).exits(78);
}

#[test]
fn every_pass_and_plan_names_its_api() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    let plan = workspace.run(&["plan"]).exits(0);
    assert!(plan.stdout.starts_with("API: https://api.northflank.com\n"), "{}", plan.stdout);
    let pass = workspace.once(&api, &[]).exits(0);
    assert_eq!(pass.json()["place"]["api"], api.url());
    assert!(pass.stderr.contains(&format!("pass began trigger=\"once\" api={}", api.url())), "{}", pass.stderr);
    let live = workspace.run(&["plan", "--live", "--api-url", &api.url()]).exits(0);
    assert!(live.stdout.starts_with(&format!("API: {}\n", api.url())), "{}", live.stdout);
}
