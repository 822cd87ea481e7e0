//! One truenorth a ledger, and ledgers that cannot be used: exit 78, nothing sent, no byte changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use truenorth::sandbox::{Fault, Options};

use crate::support::{Api, Daemon, Ran, Running, Workspace, contents, eventually, outcome, tags};

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
        "error: the ledger `{}` is in use by another truenorth, pid {} (TRUENORTH_STATE_DIR)\n  hint: two of them would send everything twice: \
         stop the other one, or name another --state-dir; to have it try something now, `truenorth retry`\n",
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
    refused(&workspace, &api, "is damaged: it is not an SQLite database");
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

/// Holds on to the ledger as a `sqlite3` shell does, or a backup.
fn held(workspace: &Workspace) -> Connection {
    let other = opened(workspace);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[test]
fn a_ledger_that_another_program_holds_on_to_is_tried_again_by_systemd() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.service("web", "2");
    let _other = held(&workspace);
    let ran = workspace.once(&api, &[]).exits(1);
    assert!(ran.stderr.contains("database is locked") && ran.stderr.contains("  hint: another program"), "{ran:#?}");
    assert_eq!(tags(&api, "web"), ["1"]);
}

#[test]
fn a_stop_ends_though_another_program_holds_on_to_the_ledger() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("it is applied", || daemon.status()["converged"] == true);
    let other = held(&workspace);
    workspace.service("web", "2");
    eventually("all calls wait", || daemon.status()["paused"]["by"] == "ledger");
    daemon.signal(Signal::TERM);
    daemon.ends();
    drop(other);
    assert_eq!(tags(&api, "web"), ["1"], "nothing is sent that cannot be recorded");
    assert_eq!(workspace.once(&api, &[]).exits(0).outcomes(), [outcome("shop/web", "updated")]);
}

#[test]
fn a_second_signal_ends_a_stop_that_cannot_record() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    eventually("it is applied", || daemon.status()["converged"] == true);
    api.world().script(Fault::delay(Duration::from_millis(300)).after_carrying_out().of("shop/web"));
    workspace.service("web", "2");
    eventually("a call is under way", || api.world().in_flight() == 1);
    let other = held(&workspace);
    daemon.told("cannot record how a call ended yet");
    daemon.signal(Signal::TERM);
    daemon.told("stopping");
    daemon.signal(Signal::TERM);
    daemon.ends();
    drop(other);
    // What was in flight is in doubt, and live shows that it went well.
    assert_eq!(workspace.once(&api, &[]).exits(0).outcomes(), [outcome("shop/web", "adopted")]);
    assert_eq!(tags(&api, "web"), ["1", "2"]);
}

/// Copies a folder, as a backup or a cache of CI does.
fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_ledger_from_a_backup_or_a_cache_restarts_nothing() {
    let (api, workspace) = (Api::new(), Workspace::new());
    let (state, backup) = (workspace.state(), workspace.path().join("backup"));
    for service in ["same", "newer", "changed"] {
        workspace.service(service, "1");
    }
    workspace.once(&api, &[]).exits(0);
    copied(&state, &backup);
    workspace.service("newer", "2");
    workspace.service("changed", "2");
    workspace.once(&api, &[]).exits(0);

    for (put_back, now, next) in [(true, "2", "3"), (false, "3", "4")] {
        if !put_back {
            // A new machine with the cache of an old one.
            fs::remove_dir_all(&state).unwrap();
        }
        copied(&backup, &state);
        workspace.service("changed", now);
        api.world().clear_calls();
        let plan = workspace.plan().exits(0);
        let expected = [
            outcome("shop/changed", "read-live"),
            outcome("shop/newer", "read-live"),
            outcome("shop/same", "unchanged"),
        ];
        assert_eq!(plan.outcomes(), expected, "{put_back}");
        let pass = workspace.once(&api, &[]).exits(0);
        assert!(pass.stderr.contains("is read before it is updated"), "{}", pass.stderr);
        let expected =
            [outcome("shop/changed", "adopted"), outcome("shop/newer", "adopted"), outcome("shop/same", "unchanged")];
        assert_eq!(pass.outcomes(), expected, "{put_back}");
        assert_eq!(api.world().calls().len(), 2, "a read for each that differs, and none for the one that does not");
        // What does have to change is changed, after a look.
        workspace.service("changed", next);
        workspace.service("same", next);
        let pass = workspace.once(&api, &[]).exits(0);
        assert_eq!(pass.report()["api"]["calls"], 3, "same is still not known for certain, and read: {pass:#?}");
        assert!(tags(&api, "newer").is_empty(), "it was restarted");
        workspace.service("same", "1");
        workspace.once(&api, &[]).exits(0);
    }
}

#[test]
fn a_ledger_that_was_not_touched_costs_no_read() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.service("web", "2");
    api.world().script(Fault::delay(Duration::from_secs(600)).after_carrying_out().times(1));
    let killed = Running::start(&mut workspace.once_command(&api, &[]));
    eventually("its call is under way", || api.world().in_flight() == 1);
    killed.signal(Signal::KILL);
    killed.ended();
    // Somebody looks at it, reads it with another program, and starts truenorth for another API by mistake.
    workspace.run(&["status"]).exits(0);
    opened(&workspace).query_row("SELECT count(*) FROM call", [], |row| row.get::<_, i64>(0)).unwrap();
    workspace
        .run(&["--reconcile-once", "--sandbox", "--state-dir", &workspace.state().display().to_string()])
        .exits(78);
    api.world().clear_calls();
    workspace.once(&api, &[]).exits(0);
    assert_eq!(api.world().calls().len(), 1, "the read of what was in flight");
    for tag in ["3", "4"] {
        workspace.service("web", tag);
        workspace.run(&["status"]).exits(0);
        assert_eq!(workspace.once(&api, &[]).exits(0).report()["api"]["calls"], 1);
    }
}

#[test]
fn a_state_folder_that_others_may_write_to_is_refused() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    fs::create_dir(workspace.state()).unwrap();
    fs::write(workspace.state().join("notes.txt"), "not ours").unwrap();
    fs::set_permissions(workspace.state(), fs::Permissions::from_mode(0o1777)).unwrap();
    let ran = workspace.once(&api, &[]).exits(78);
    assert!(ran.stderr.contains("other users may write") && ran.stderr.contains("  hint: "), "{}", ran.stderr);
    assert!(api.world().calls().is_empty());
    let below = workspace.state().join("below").display().to_string();
    workspace.once(&api, &["--state-dir", &below]).exits(0);
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
        format!("belongs to sandbox, and not to {} (TRUENORTH_STATE_DIR)\n  hint: name another folder with", api.url());
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
    assert!(live.stdout.starts_with(&format!("API: {} (account team/sandbox)\n", api.url())), "{}", live.stdout);
}

/// One ledger, one account: the token decides which, and is asked for it before anything is sent.
#[test]
fn a_token_of_another_account_is_refused_before_anything_is_sent() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    let first = workspace.once(&api, &[]).exits(0);
    assert_eq!(first.report()["place"]["account"], "team/sandbox");
    workspace.once(&api, &[]).exits(0);
    assert_eq!(api.world().auth_count(), 1, "a pass that calls nobody asks nothing");

    workspace.service("web", "2");
    api.world().set_account("other");
    let url = api.url();
    for arguments in [&["--reconcile-once"][..], &["--listen", "off"], &["plan", "--live"]] {
        let refused = workspace.run(&[arguments, &["--api-url", &url]].concat()).exits(78);
        for part in ["(account team/sandbox)", "(account team/other)", "--state-dir"] {
            assert!(refused.stderr.contains(part), "{part}: {refused:#?}");
        }
    }
    assert_eq!(tags(&api, "web"), ["1"]);

    // Another token of the same account is no change.
    api.world().set_account("sandbox");
    workspace.once(&api, &[]).exits(0);
    assert_eq!(tags(&api, "web"), ["1", "2"]);
}

#[test]
fn an_api_that_does_not_tell_the_account_is_called_all_the_same() {
    let api = Api::with(Options { account: None, rollout: Duration::ZERO, ..Options::default() });
    let workspace = Workspace::sending();
    workspace.service("web", "1");
    let ran = workspace.once(&api, &[]).exits(0);
    assert_eq!((ran.outcomes().len(), &ran.report()["place"]["account"]), (1, &Value::Null));
    // It tells later: the ledger belongs to that account with the next answer.
    api.world().set_account("acme");
    workspace.service("web", "2");
    assert_eq!(workspace.once(&api, &[]).exits(0).report()["place"]["account"], "team/acme");
    api.world().set_account("other");
    workspace.service("web", "3");
    workspace.once(&api, &[]).exits(78);
}
