//! What is due and kept back on purpose: no call, exit 3, and everybody says what it waits for.

use serde_json::{Value, json};

use crate::import::private_shop;
use crate::support::{Api, Daemon, Workspace, eventually, manifest};

fn credentials_are_named(by: &Value) {
    assert_eq!((&by[0]["kind"], &by[0]["until"], by[1].is_null()), (&json!("credentials"), &Value::Null, true), "{by}");
    assert!(by[0]["what"].as_str().is_some_and(|what| what.contains("policy.credentials: none")), "{by}");
}

/// A private image whose manifest names no credentials was adopted, and has a new tag.
fn adopted_and_changed() -> (Api, Workspace) {
    let (api, workspace) = (private_shop(), Workspace::new());
    workspace.write("web.yaml", manifest("web", "1.2"));
    let ran = workspace.once(&api, &[]).exits(0);
    assert_eq!(ran.service("shop/web")["outcome"], "adopted");
    workspace.write("web.yaml", manifest("web", "1.3"));
    (api, workspace)
}

#[test]
fn an_update_that_would_drop_credentials_is_held_by_passes_and_told_by_all_commands() {
    let (api, workspace) = adopted_and_changed();
    for _ in 0..2 {
        let ran = workspace.once(&api, &[]).exits(3);
        let service = ran.service("shop/web");
        assert_eq!((&service["outcome"], &ran.report()["converged"]), (&json!("held"), &json!(false)));
        assert_eq!(service["changes"][0]["to"], "ghcr.io/acme/web:1.3");
        credentials_are_named(&service["heldBy"]);
        assert_eq!((api.world().update_count(), &ran.report()["api"]["calls"]), (0, &json!(0)), "no call finds it out");
    }
    let plan = workspace.run(&["plan", "--exit-code", "--output", "json"]).exits(3);
    assert_eq!(plan.service("shop/web")["outcome"], "held");
    credentials_are_named(&plan.service("shop/web")["heldBy"]);
    let live = workspace.run(&["plan", "--live", "--output", "json", "--api-url", &api.url()]).exits(0);
    credentials_are_named(&live.service("shop/web")["heldBy"]);
    let text = workspace.run(&["plan"]).exits(0).stdout;
    assert!(text.contains("1 held") && text.contains("held: live uses the credentials"), "{text}");
    let status = workspace.run(&["status", "--output", "json"]).exits(0).json();
    assert_eq!(status["services"][0]["state"], "held", "{status}");
    let why = workspace.run(&["why", "shop/web"]).exits(0).stdout;
    assert!(why.contains("held") && why.contains("policy.credentials: none"), "{why}");

    workspace.write("web.yaml", manifest("web", "1.3") + "policy: {credentials: none}\n");
    workspace.once(&api, &[]).exits(0);
    workspace.write("web.yaml", manifest("web", "1.4"));
    let ran = workspace.once(&api, &[]).exits(0);
    assert_eq!((ran.service("shop/web")["outcome"].as_str(), api.world().update_count()), (Some("updated"), 2));
}

#[test]
fn a_pass_without_a_ledger_holds_what_its_read_shows_to_drop_credentials() {
    let (api, workspace) = adopted_and_changed();
    std::fs::remove_dir_all(workspace.state()).unwrap();
    for reads in [1, 1] {
        let ran = workspace.once(&api, &[]).exits(3);
        assert_eq!(ran.service("shop/web")["outcome"], "held");
        credentials_are_named(&ran.service("shop/web")["heldBy"]);
        assert_eq!((api.world().update_count(), &ran.report()["api"]["calls"]), (0, &json!(reads)));
    }
    let named = manifest("web", "1.3").replace("  external:\n", "  external:\n    credentials: ghcr\n");
    workspace.write("web.yaml", named);
    workspace.once(&api, &[]).exits(0);
    assert_eq!(api.world().update_count(), 1);
}

#[test]
fn something_that_fails_beside_something_held_is_a_failure() {
    let (api, workspace) = adopted_and_changed();
    workspace.write("bad.yaml", "kind: Nothing\n");
    workspace.once(&api, &[]).exits(1);
}

#[test]
fn a_daemon_holds_it_and_sends_it_once_the_manifest_says_what_is_meant() {
    let (api, workspace) = adopted_and_changed();
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("an update is held");
    eventually("the state is told", || daemon.state("web") == "held");
    let why = workspace.run(&["why", "shop/web"]).exits(0).stdout;
    assert!(why.contains("held") && why.contains("policy.credentials: none"), "{why}");
    workspace.write("web.yaml", manifest("web", "1.3") + "policy: {credentials: none}\n");
    eventually("it is sent", || api.world().update_count() == 1 && daemon.state("web") == "unchanged");
    drop(daemon);
}
