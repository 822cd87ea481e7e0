//! `truenorth health`: what a container's health check is told.

use std::io::Write as _;
use std::net::TcpListener;

use rusqlite::{Connection, TransactionBehavior};
use rustix::process::Signal;

use crate::support::{Api, Daemon, Ran, Workspace, eventually};

fn health(workspace: &Workspace, listen: &str) -> Ran {
    // As in a container: no token and no home, the daemon's own variable says where it listens.
    let mut command = workspace.command(&["health"]);
    Ran::of(command.env_clear().env("TRUENORTH_LISTEN", listen))
}

#[test]
fn a_daemon_that_runs_is_healthy_also_before_it_can_work_and_one_that_ended_is_not() {
    let (api, workspace) = (Api::new(), Workspace::new());
    std::fs::remove_dir(workspace.manifests()).unwrap();
    let daemon = Daemon::start(&workspace, &api, &[]);
    let address = daemon.address().to_string();
    assert_eq!(daemon.page("/readyz").0, 503);

    let ran = health(&workspace, &address).exits(0);
    assert_eq!((&*ran.stdout, &*ran.stderr), ("", ""));

    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
    let ran = health(&workspace, &address).exits(1);
    assert!(
        ran.stderr.contains(&format!("the daemon at {address} (TRUENORTH_LISTEN) is not healthy: ")),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn what_answers_in_the_place_of_the_daemon_is_not_healthy() {
    let workspace = Workspace::new();
    for answer in ["SSH-2.0-OpenSSH_9.2p1\r\n", "HTTP/1.1 503 x\r\n\r\nthe loop hangs\x1b[2J\n", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let ran = health(&workspace, &address).exits(1);
        assert!(!ran.stderr.contains('\x1b'), "{:?}", ran.stderr);
        peer.join().unwrap();
    }
}

#[test]
fn a_daemon_that_does_not_listen_cannot_be_asked() {
    let workspace = Workspace::new();
    for listen in ["off", "127.0.0.1:0"] {
        let ran = health(&workspace, listen).exits(78);
        assert!(ran.stderr.contains("--listen"), "{}", ran.stderr);
    }
    health(&workspace, "localhost").exits(64);
}

#[test]
fn a_daemon_whose_ledger_is_stuck_answers_everybody() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("it is applied", || daemon.state("web") == "unchanged");
    let mut other = Connection::open(workspace.state().join("ledger.sqlite")).unwrap();
    let held = other.transaction_with_behavior(TransactionBehavior::Exclusive).unwrap();
    workspace.service("web", "2");
    // Its intent has to be on disk before it is sent, and cannot be.
    eventually("it waits for the ledger", || daemon.state("web") != "unchanged");
    for page in ["/healthz", "/status", "/metrics"] {
        assert_eq!(daemon.page(page).0, 200, "{page}");
    }
    health(&workspace, &daemon.address().to_string()).exits(0);
    assert_eq!(api.world().update_count(), 1, "nothing is sent without its intent");
    drop(held);
    eventually("it is sent", || api.world().update_count() == 2);
}
