//! What the daemon tells systemd, by the socket of sd_notify(3): when it is ready, what it does, that it reloads and
//! stops, and that its loop lives.

use rustix::process::Signal;
use truenorth::sandbox::Fault;

use crate::support::{Api, Systemd, Workspace};

#[test]
fn systemd_is_told_of_the_first_read_a_reload_and_the_end() {
    let (api, workspace) = (Api::new(), Workspace::new());
    std::fs::remove_dir(workspace.manifests()).unwrap();
    let (systemd, mut daemon) = Systemd::start(&workspace, &api, &[], &[]);
    daemon.told("the folder cannot be read");
    systemd.hears("STATUS=cannot read the manifests folder `manifests`", 1);
    assert_eq!(systemd.count("READY=1"), 0, "not before the first full read");
    workspace.service("web", "1");
    systemd.hears("READY=1", 1);
    systemd.hears("STATUS=1 unchanged at tree:", 1);
    assert_eq!(systemd.count("RELOADING=1"), 0);

    daemon.signal(Signal::HUP);
    systemd.hears("RELOADING=1", 1);
    systemd.hears("READY=1", 2);
    let heard = systemd.heard();
    let at = |line: &str| heard.iter().rposition(|heard| heard.starts_with(line)).unwrap();
    assert_eq!(at("MONOTONIC_USEC="), at("RELOADING=1") + 1, "{heard:#?}");
    assert!(at("RELOADING=1") < at("READY=1"), "{heard:#?}");

    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
    systemd.hears("STOPPING=1", 1);
    assert_eq!(systemd.count("WATCHDOG=1"), 0, "nobody asked for it");
}

#[test]
fn the_watchdog_is_fed_also_while_all_calls_wait() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    api.world().script(Fault::status(401).always());
    let (systemd, mut daemon) = Systemd::start(&workspace, &api, &[], &[("WATCHDOG_USEC", "200000")]);
    daemon.told("the API refuses the token");
    systemd.hears("STATUS=1 denied at tree:", 1);
    assert!(systemd.shows().contains("; calls are paused until "), "{}", systemd.shows());
    let fed = systemd.count("WATCHDOG=1");
    systemd.hears("WATCHDOG=1", fed + 5);
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
}
