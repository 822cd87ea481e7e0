//! The fuse: a plan that would change too much is held until somebody approves it.

use serde_json::json;

use crate::support::{Api, Daemon, Ran, Workspace, eventually, manifest, outcome};

const SERVICES: [&str; 4] = ["a", "b", "c", "d"];

/// Four services were deployed, and three of them have a new tag.
fn changed(api: &Api) -> Workspace {
    let workspace = Workspace::new();
    for service in SERVICES {
        workspace.service(service, "1");
    }
    workspace.once(api, &[]).exits(0);
    for service in &SERVICES[..3] {
        workspace.service(service, "2");
    }
    workspace
}

fn limited(workspace: &Workspace, api: &Api) -> Ran {
    workspace.once(api, &["--max-changes", "50%"])
}

/// The id of the present plan, as people read it.
fn plan_id(workspace: &Workspace) -> String {
    let text = workspace.run(&["plan", "--max-changes", "50%"]).exits(0).stdout;
    let line = text.lines().find_map(|line| line.strip_prefix("plan ")).unwrap_or_else(|| panic!("{text}"));
    line.split_once(':').unwrap().0.to_owned()
}

#[test]
fn a_plan_over_the_limit_is_held_and_its_approval_lets_it_out() {
    let api = Api::of_services(&["shop/a", "shop/b", "shop/c", "shop/d", "shop/new"]);
    let workspace = changed(&api);
    workspace.service("new", "1");
    let calls = api.world().call_count();
    let held = limited(&workspace, &api).exits(3);
    let names = ["shop/a", "shop/b", "shop/c", "shop/new"];
    let expected: Vec<_> = names.iter().map(|name| outcome(name, "held")).collect();
    assert_eq!(held.outcomes().into_iter().filter(|(name, _)| name != "shop/d").collect::<Vec<_>>(), expected);
    assert_eq!(api.world().call_count(), calls, "nothing is sent, and nothing is read");
    let id = plan_id(&workspace);
    let what =
        format!("3 of 4 services would change, more than --max-changes 50%: `truenorth approve {id}` lets them go");
    assert_eq!(held.service("shop/a")["heldBy"], json!([{"kind": "plan", "what": what, "until": null}]));
    let plan = &held.report()["plan"];
    assert_eq!((&plan["state"], &plan["limit"], &plan["changes"]), (&json!("held"), &json!("50%"), &json!(4)));
    assert!(plan["id"].as_str().unwrap().starts_with(&format!("sha256:{id}")), "{plan}");

    let text = workspace.run(&["plan", "--max-changes", "50%"]).exits(0).stdout;
    assert_eq!(text.matches(&what).count(), 1, "said once for all: {text}");
    workspace.run(&["plan", "--max-changes", "50%", "--exit-code"]).exits(3);

    let approved = workspace.run(&["approve", &id, "--by", "ada", "--reason", "looked at it"]).exits(0);
    assert!(approved.stdout.starts_with(&format!("plan {id} is approved until ")), "{}", approved.stdout);
    let planned = workspace.run(&["plan", "--max-changes", "50%", "--output", "json"]).exits(0);
    assert_eq!(planned.report()["plan"]["state"], "approved");
    let status = workspace.run(&["status"]).exits(0).stdout;
    let line = status.lines().find(|line| line.starts_with(&format!("plan {id} approved by ada at 20")));
    assert!(line.is_some_and(|line| line.ends_with("Z, waits for the next pass: looked at it")), "{status}");
    assert!(!status.contains("truenorth approve"), "{status}");
    let why = workspace.run(&["why", "a", "--output", "json"]).exits(0).json();
    assert_eq!((&why["state"], &why["decisions"][0]["by"]), (&json!("queued"), &json!("ada")), "{why:#}");
    let why = workspace.run(&["why", "d", "--output", "json"]).exits(0).json();
    assert_eq!(why["decisions"], json!([]), "it is about others");
    let sent = limited(&workspace, &api).exits(0);
    assert_eq!(sent.report()["plan"]["state"], "approved");
    assert_eq!(sent.outcomes().iter().filter(|(_, outcome)| outcome == "updated").count(), 4);
    limited(&workspace, &api).exits(0);
}

#[test]
fn an_approval_is_bound_to_content_and_may_come_first() {
    let api = Api::of_services(&["shop/a", "shop/b", "shop/c", "shop/d"]);
    let workspace = changed(&api);
    let id = plan_id(&workspace);
    workspace.run(&["approve", &id]).exits(0);
    // Other content is another plan.
    workspace.service("a", "3");
    let updates = api.world().update_count();
    limited(&workspace, &api).exits(3);
    assert_eq!(api.world().update_count(), updates);
    // The approved content, written otherwise and elsewhere.
    for service in &SERVICES[..3] {
        workspace.remove(&format!("{service}.yaml"));
        workspace.write(&format!("moved/{service}.yml"), format!("# another way\n{}", manifest(service, "2")));
    }
    limited(&workspace, &api).exits(0);
    assert_eq!(api.world().update_count(), updates + 3);
}

#[test]
fn an_approved_plan_that_was_carried_out_in_part_goes_on_in_the_next_pass() {
    let api = Api::of_services(&["shop/a", "shop/b", "shop/c", "shop/d"]);
    let workspace = changed(&api);
    workspace.run(&["approve", &plan_id(&workspace)]).exits(0);
    for service in ["shop/b", "shop/c"] {
        api.world().script(truenorth::sandbox::Fault::status(503).of(service).always());
    }
    workspace.once(&api, &["--max-changes", "25%", "--deadline", "1s"]).exits(1);
    api.world().clear_faults();
    workspace.once(&api, &["--max-changes", "25%"]).exits(0);
    assert_eq!(limited(&workspace, &api).exits(0).outcomes().len(), 4);
}

#[test]
fn a_denied_plan_is_held_whatever_the_limit() {
    let api = Api::of_services(&["shop/a", "shop/b", "shop/c", "shop/d"]);
    let workspace = changed(&api);
    let id = plan_id(&workspace);
    workspace.run(&["deny", &id, "--by", "ada", "--reason", "not on a Friday"]).exits(0);
    let held = workspace.once(&api, &[]).exits(3);
    assert_eq!(held.report()["plan"]["state"], "denied");
    let what = held.service("shop/a")["heldBy"][0]["what"].as_str().unwrap().to_owned();
    assert!(what.starts_with("denied by ada: not on a Friday · to allow it: truenorth approve "), "{what}");
    workspace.run(&["approve", &id]).exits(0);
    workspace.once(&api, &[]).exits(0);
}

#[test]
fn a_service_whose_policy_wants_approvals_waits_for_one_and_others_do_not() {
    let api = Api::of_services(&["shop/a", "shop/b"]);
    let workspace = Workspace::new();
    let guarded = |tag: &str| manifest("a", tag) + "policy: {approval: required}\n";
    workspace.write("a.yaml", guarded("1"));
    workspace.service("b", "1");
    let held = workspace.once(&api, &[]).exits(3);
    assert_eq!(held.outcomes(), [outcome("shop/a", "held"), outcome("shop/b", "updated")]);
    let by = &held.service("shop/a")["heldBy"][0];
    assert_eq!(by["kind"], "approval");
    let id = by["what"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
    workspace.run(&["approve", &id]).exits(0);
    assert_eq!(workspace.once(&api, &[]).exits(0).service("shop/a")["outcome"], "updated");
    workspace.write("a.yaml", guarded("2"));
    workspace.once(&api, &[]).exits(3);
}

#[test]
fn a_running_daemon_takes_an_approval_at_once() {
    let api = Api::of_services(&["shop/a", "shop/b", "shop/c", "shop/d"]);
    let workspace = changed(&api);
    let updates = api.world().update_count();
    let mut daemon = Daemon::start(&workspace, &api, &["--max-changes", "2", "--resync", "1h"]);
    let held = daemon.told("the plan is held");
    let (_, command) = held["message"].as_str().unwrap().split_once("`truenorth approve ").unwrap();
    let id = command.split_once('`').unwrap().0.to_owned();
    eventually("the state is told", || daemon.state("a") == "held");
    assert_eq!(daemon.log().iter().filter(|line| line.contains("is held")).count(), 1, "one line for all");
    workspace.run(&["approve", &id, "--by", "ada"]).exits(0);
    let told = daemon.told("somebody decided about a plan");
    assert_eq!((&told["by"], &told["answer"]), (&json!("ada"), &json!("approve")));
    eventually("all are sent", || api.world().update_count() == updates + 3 && daemon.state("c") == "unchanged");
    // The decision was no write of the daemon: the ledger is still the one that it left.
    daemon.signal(rustix::process::Signal::TERM);
    let log = daemon.ends_with(0);
    assert!(!log.iter().any(|line| line.to_string().contains("is read before it is updated")), "{log:#?}");
    let next = workspace.once(&api, &[]).exits(0);
    assert_eq!(next.report()["api"]["calls"], 0);
}

#[test]
fn a_newer_revision_takes_the_place_of_a_held_plan() {
    let api = Api::of_services(&["shop/a", "shop/b", "shop/c", "shop/d"]);
    let workspace = changed(&api);
    let updates = api.world().update_count();
    let mut daemon = Daemon::start(&workspace, &api, &["--max-changes", "2"]);
    daemon.told("the plan is held");
    workspace.service("a", "1");
    eventually("what is within the limit goes", || api.world().update_count() == updates + 2);
}

#[test]
fn what_names_no_plan_is_a_mistake_of_usage() {
    let workspace = Workspace::new();
    for plan in ["", "7f3a", "7F3A9C21B4DE", "latest", "../../etc/passwd"] {
        let ran = workspace.run(&["approve", plan]).exits(64);
        assert!(ran.stderr.contains("12 to 64 digits"), "{}", ran.stderr);
    }
    workspace.run(&["plan", "--max-changes", "101%"]).exits(64);
}

#[test]
fn a_denial_holds_what_it_was_about_when_other_changes_come_and_over_restarts() {
    let api = Api::of_services(&["shop/a", "shop/b", "shop/c", "shop/d"]);
    let workspace = Workspace::new();
    for service in SERVICES {
        workspace.service(service, "1");
    }
    workspace.once(&api, &[]).exits(0);
    workspace.service("a", "2");
    let id = plan_id(&workspace);
    workspace.run(&["deny", &id, "--by", "ada", "--reason", "not on a Friday"]).exits(0);
    // Before anybody looked, another commit gives the plan another id.
    workspace.service("b", "2");
    let held = workspace.once(&api, &[]).exits(3);
    assert_eq!(held.service("shop/b")["outcome"], "updated");
    assert_eq!(held.service("shop/a")["outcome"], "held");
    let what = held.service("shop/a")["heldBy"][0]["what"].as_str().unwrap().to_owned();
    assert!(what.starts_with("denied by ada: not on a Friday"), "{what}");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("the plan is held");
    workspace.service("c", "2");
    eventually("what is not denied goes", || daemon.state("c") == "unchanged");
    assert_eq!(daemon.state("a"), "held");
    drop(daemon);
    let history = workspace.run(&["history", "a"]).exits(0).stdout;
    assert!(history.contains(&format!("deny plan {id}, by ada: not on a Friday")), "{history}");
    let history = workspace.run(&["history", "-o", "json"]).exits(0).json();
    let denial = &history["decisions"][0];
    assert_eq!((&denial["answer"], &denial["by"], &denial["until"]), (&json!("deny"), &json!("ada"), &json!(null)));
    assert!(denial["plan"].as_str().unwrap().starts_with(&format!("sha256:{id}")), "{denial}");
    // The way out that it names lets it out, and other content is not denied.
    workspace.run(&["approve", what.split(' ').next_back().unwrap()]).exits(0);
    let sent = workspace.once(&api, &[]).exits(0);
    assert_eq!(sent.service("shop/a")["outcome"], "updated");
}

#[test]
fn some_digits_name_a_plan_that_was_shown_and_no_other() {
    let api = Api::of_services(&["shop/a", "shop/b", "shop/c", "shop/d"]);
    let workspace = changed(&api);
    let id = plan_id(&workspace);
    // It was shown on a branch; by now the folder has something else.
    workspace.service("a", "1");
    workspace.service("b", "3");
    workspace.run(&["approve", &id, "--by", "ada"]).exits(0);
    limited(&workspace, &api).exits(0);
    let stranger = "0".repeat(12);
    let ran = workspace.run(&["approve", &stranger]).exits(1);
    assert!(ran.stderr.contains(&format!("no plan whose id begins with {stranger} was shown here")), "{}", ran.stderr);
    assert!(ran.stderr.contains("give all 64 digits"), "{}", ran.stderr);
    let whole = "0".repeat(64);
    workspace.run(&["approve", &whole]).exits(0);
    let history = workspace.run(&["history", "-o", "json"]).exits(0).json();
    assert_eq!(history["decisions"][0]["plan"], json!(format!("sha256:{whole}")));
    assert!(history["decisions"][0]["by"].is_string(), "who it was is always kept: {history}");
}

#[test]
fn a_damaged_denial_holds_all_changes_until_somebody_decides_again() {
    let api = Api::of_services(&["shop/a", "shop/b", "shop/c", "shop/d"]);
    let workspace = changed(&api);
    workspace.run(&["deny", &plan_id(&workspace)]).exits(0);
    let store = workspace.state().join("ledger.sqlite");
    rusqlite::Connection::open(&store).unwrap().execute("UPDATE decision SET plan = 'zzz'", []).unwrap();
    let updates = api.world().update_count();
    let held = workspace.once(&api, &[]).exits(3);
    let what = held.service("shop/a")["heldBy"][0]["what"].as_str().unwrap().to_owned();
    assert!(what.contains("a decision in the ledger is damaged"), "{what}");
    assert_eq!(api.world().update_count(), updates);
    workspace.run(&["approve", what.split(' ').next_back().unwrap()]).exits(0);
    workspace.once(&api, &[]).exits(0);
}

#[test]
fn the_comment_of_a_held_plan_has_the_command_that_works_anywhere() {
    let api = Api::of_services(&["shop/a", "shop/b", "shop/c", "shop/d"]);
    let workspace = changed(&api);
    let plan = ["plan", "--max-changes", "50%", "--output"];
    let comment = workspace.run(&[&plan[..], &["markdown"]].concat()).exits(0).stdout;
    let json = workspace.run(&[&plan[..], &["json"]].concat()).exits(0).report();
    let id = json["plan"]["id"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    assert!(comment.contains(&format!("`truenorth approve {id}`")), "{comment}");
    // Nothing was shown here before.
    std::fs::remove_file(workspace.state().join("ledger.plans")).unwrap();
    workspace.run(&["approve", &id]).exits(0);
    limited(&workspace, &api).exits(0);
}
