//! The daemon: notices changes, retries, survives, says what it does, ends when it is told to.

use std::time::Duration;

use rustix::process::Signal;
use truenorth::sandbox::{Fault, Wait};

use crate::support::{Api, Daemon, Running, Workspace, eventually, tags};

#[test]
fn changes_are_noticed_and_each_is_one_call() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("update accepted");
    assert_eq!(daemon.page("/readyz").0, 200);
    workspace.service("web", "2");
    daemon.told("update accepted");
    workspace.service("new/deep/er", "1");
    eventually("a new nested folder is seen", || {
        tags(&api, "new/deep/er").is_empty() && daemon.page("/healthz").0 == 200
    });
    daemon.signal(Signal::TERM);
    daemon.told("stopped");
    assert_eq!(tags(&api, "web"), ["1", "2"]);
    daemon.ends_with(0);
    // What was applied is known to the next one.
    let mut again = Daemon::start(&workspace, &api, &[]);
    again.told("the folder was read");
    eventually("it has converged", || again.state("web") == "unchanged");
    assert_eq!(tags(&api, "web"), ["1", "2"]);
}

#[test]
fn a_missing_folder_is_waited_for_and_not_ready() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    std::fs::remove_dir(workspace.manifests()).unwrap();
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("the folder cannot be read");
    let (code, why) = daemon.page("/readyz");
    assert!(code == 503 && why.contains("manifests"), "{code} {why}");
    assert_eq!(daemon.page("/healthz").0, 200);
    workspace.service("web", "1");
    daemon.told("update accepted");
    assert_eq!(daemon.page("/readyz").0, 200);
}

#[test]
fn a_fix_overtakes_the_failure_that_it_fixes() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().script(Fault::error(400, "bad", "no such image", None).times(1));
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("update refused");
    eventually("it is stalled", || daemon.state("web") == "stalled");
    workspace.service("web", "2");
    daemon.told("update accepted");
    assert_eq!(tags(&api, "web"), ["2"]);
    eventually("it is unchanged", || daemon.state("web") == "unchanged");
}

#[test]
fn usr1_looks_now_and_tries_again_what_is_stalled() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().script(Fault::error(400, "invalid", "no such image", None).times(1));
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("update refused");
    eventually("it is stalled", || daemon.state("web") == "stalled");
    daemon.signal(Signal::USR1);
    daemon.told("update accepted");
    let (_, metrics) = daemon.page("/metrics");
    assert!(metrics.contains("truenorth_passes_total{trigger=\"usr1\"} 1"), "{metrics}");
}

#[test]
fn hup_reads_the_token_again() {
    let options = truenorth::sandbox::Options {
        token: truenorth::sandbox::TokenRule::Exactly("good-token".into()),
        ..truenorth::sandbox::Options::default()
    };
    let (api, workspace) = (Api::with(options), Workspace::sending());
    let file = workspace.path().join("token");
    std::fs::write(&file, "bad-token\n").unwrap();
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &["--token-file", file.to_str().unwrap()]);
    daemon.told("the API refuses the token");
    let (code, why) = daemon.page("/readyz");
    assert!(code == 503 && why.contains("token"), "{code} {why}");
    std::fs::write(&file, "good-token\n").unwrap();
    daemon.signal(Signal::HUP);
    daemon.told("update accepted");
    assert_eq!(daemon.page("/readyz").0, 200);
}

#[test]
fn hup_with_a_token_of_another_account_ends_the_daemon_before_anything_is_sent() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    let file = workspace.path().join("token");
    std::fs::write(&file, "nf-one\n").unwrap();
    workspace.service("web", "1");
    let mut command = Daemon::command(&workspace, &api, &["--token-file", file.to_str().unwrap()]);
    let daemon = Running::start(&mut command);
    eventually("the first update", || tags(&api, "web").len() == 1);
    // Rotation within the account is no change.
    std::fs::write(&file, "nf-two\n").unwrap();
    daemon.signal(Signal::HUP);
    workspace.service("web", "2");
    eventually("the second update", || tags(&api, "web").len() == 2);
    api.world().set_account("other");
    std::fs::write(&file, "nf-three\n").unwrap();
    daemon.signal(Signal::HUP);
    workspace.service("web", "3");
    let ended = daemon.ended().exits(78);
    assert!(ended.stderr.contains("(account team/sandbox), and not to"), "{ended:#?}");
    assert_eq!(tags(&api, "web"), ["1", "2"]);
}

#[test]
fn a_rate_limit_pauses_and_is_remembered_over_a_restart() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().script(Fault::rate_limited(Wait::Reset(600)).times(1));
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("rate limit");
    assert_eq!(daemon.status()["paused"]["by"], "rate-limit");
    // A second signal of the same kind would end it at once; one is enough, as nothing is in flight.
    daemon.signal(Signal::INT);
    daemon.ends_with(0);
    let mut again = Daemon::start(&workspace, &api, &[]);
    again.told("the folder was read");
    assert_eq!(again.status()["paused"]["by"], "rate-limit");
    assert_eq!((again.state("web").as_str(), tags(&api, "web").len()), ("rate-limited", 0));
}

#[test]
fn a_bad_or_absent_manifest_keeps_what_was_applied() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.service("gone", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("update accepted");
    daemon.told("update accepted");
    workspace.write("web.yaml", "apiVersion: truenorth/v1\nkind: [");
    daemon.told("the folder was read");
    assert_eq!((daemon.state("web").as_str(), daemon.status()["problems"].as_array().unwrap().len()), ("invalid", 1));
    std::fs::remove_file(workspace.manifests().join("gone.yaml")).unwrap();
    eventually("it is orphaned", || daemon.state("gone") == "orphaned");
    workspace.service("web", "1");
    workspace.service("gone", "1");
    eventually("both are unchanged", || daemon.state("web") == "unchanged" && daemon.state("gone") == "unchanged");
    assert_eq!((tags(&api, "web").len(), tags(&api, "gone").len()), (1, 1));
}

#[test]
fn a_call_in_flight_is_finished_and_recorded_at_the_end() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().script(Fault::delay(Duration::from_millis(700)).times(1));
    workspace.service("web", "1");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("the call is in flight", || api.world().in_flight() == 1);
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
    assert_eq!(tags(&api, "web"), ["1"]);
    let outcomes = workspace.once(&api, &[]).exits(0).outcomes();
    assert_eq!(outcomes, [("shop/web".to_owned(), "unchanged".to_owned())]);
}

#[test]
fn a_busy_port_and_a_ledger_in_use_are_told_with_78() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    let daemon = Daemon::start(&workspace, &api, &[]);
    let second = workspace.run(&["--api-url", &api.url(), "--listen", "off"]).exits(78);
    assert!(second.stderr.contains(&daemon.pid().to_string()), "{second:#?}");
    let other = Workspace::sending();
    let third = other.run(&["--api-url", &api.url(), "--listen", &daemon.address().to_string()]).exits(78);
    assert!(third.stderr.contains(&daemon.address().to_string()), "{third:#?}");
}

#[test]
fn status_beside_a_daemon_names_it() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("update accepted");
    eventually("it is recorded", || daemon.state("web") == "unchanged");
    let status = workspace.run(&["status"]).exits(0);
    assert!(status.stdout.contains(&format!("process {}", daemon.pid())), "{status:#?}");
    let status = workspace.run(&["status", "--output", "json"]).exits(0).json();
    assert_eq!(status["services"][0]["state"], "unchanged");
}
