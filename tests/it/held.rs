//! What is due and kept back on purpose: no call, exit 3, and everybody says what it waits for.

use serde_json::{Value, json};
use truenorth::sandbox::{Operation, Options};

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

/// A service that depends on others.
fn depending(service: &str, tag: &str, on: &str) -> String {
    manifest(service, tag) + &format!("policy: {{dependsOn: [{on}]}}\n")
}

#[test]
fn a_plan_draws_the_waves_and_a_pass_sends_them_in_order() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.write("db.yaml", manifest("db", "1"));
    workspace.write("api.yaml", depending("api", "1", "db"));
    workspace.write("web.yaml", depending("web", "1", "api, db"));
    let plan = workspace.plan().exits(0).report();
    assert_eq!(plan["waves"], json!([["shop/db"], ["shop/api"], ["shop/web"]]));
    let text = workspace.run(&["plan"]).exits(0).stdout;
    assert!(text.contains("wave 1: shop/db\nwave 2: shop/api\nwave 3: shop/web\n"), "{text}");
    workspace.once(&api, &[]).exits(0);
    let order: Vec<_> = api.world().calls().into_iter().filter_map(|call| call.target).collect();
    assert_eq!(order, ["shop/db", "shop/api", "shop/web"].map(Into::into));
    // What did not change is waited for without a call.
    workspace.write("web.yaml", depending("web", "2", "api, db"));
    let ran = workspace.once(&api, &[]).exits(0);
    assert_eq!((ran.report()["api"]["calls"].as_u64(), &ran.report()["waves"]), (Some(1), &Value::Null));
}

#[test]
fn a_dependency_that_fails_or_is_left_alone_holds_what_depends_on_it_by_name() {
    let (api, workspace) = (Api::of_services(&["shop/web", "shop/idle"]), Workspace::sending());
    workspace.write("db.yaml", manifest("db", "1"));
    workspace.write("web.yaml", depending("web", "1", "db"));
    let ran = workspace.once(&api, &[]).exits(1);
    assert_eq!(
        (&ran.service("shop/db")["outcome"], &ran.service("shop/web")["outcome"]),
        (&json!("stalled"), &json!("held"))
    );
    assert_eq!(ran.service("shop/web")["heldBy"][0]["what"], "waits for shop/db (policy.dependsOn)");
    workspace.write("db.yaml", manifest("db", "1") + "policy: {suspend: true}\n");
    let plan = workspace.run(&["plan", "--exit-code", "--output", "json"]).exits(3);
    assert_eq!(plan.service("shop/web")["heldBy"][0]["kind"], "dependency");
    workspace.once(&api, &[]).exits(3);
    workspace.write("web.yaml", manifest("web", "1") + "policy: {dependsOn: [db], gate: ignore}\n");
    workspace.once(&api, &[]).exits(0);
}

#[test]
fn a_pass_sends_what_depends_on_a_rollout_after_that_and_not_where_it_fails() {
    let (api, workspace) = (Api::with(Options::default()), Workspace::waiting());
    workspace.write("db.yaml", manifest("db", "1"));
    workspace.write("web.yaml", depending("web", "1", "db"));
    let ran = workspace.once(&api, &[]).exits(0);
    assert_eq!(ran.service("shop/web")["rollout"]["state"], "completed");
    let calls = api.world().calls();
    let sent =
        |service: &str| calls.iter().position(|call| call.accepted && call.target == Some(service.into())).unwrap();
    let list = calls.iter().position(|call| call.operation == Some(Operation::ListServices)).unwrap();
    assert!(sent("shop/db") < list && list < sent("shop/web"), "{calls:?}");

    workspace.write("db.yaml", manifest("db", "2-crash"));
    workspace.write("web.yaml", depending("web", "2", "db"));
    let ran = workspace.once(&api, &[]).exits(1);
    assert_eq!(
        (&ran.service("shop/web")["outcome"], ran.service("shop/web")["heldBy"][0]["kind"].as_str()),
        (&json!("held"), Some("dependency"))
    );
    workspace.run(&["plan", "--exit-code"]).exits(1);
    workspace.run(&["plan"]).exits(0);
    // A fix lets both go.
    workspace.write("db.yaml", manifest("db", "3"));
    workspace.once(&api, &[]).exits(0);
    assert_eq!(api.world().updates("shop/web").len(), 2);
}
