//! Live first: what is adopted, settled, kept from being sent; `plan --live`; the call that carries an update.

use serde_json::{Value, json};
use truenorth::sandbox::{Answer, Fault, Kind, Live, Operation, Options, Running};

use crate::support::{Api, Workspace, manifest, outcome};

fn image(service: &str, tag: &str) -> Live {
    Live::deployment(&format!("ghcr.io/acme/{service}:{tag}"))
}

/// Bodies of the updates by PATCH.
fn patches(api: &Api) -> Vec<(String, Value)> {
    let calls = api.world().calls().into_iter().filter(|call| call.method == "PATCH");
    calls.map(|call| (call.path.clone(), call.body.clone().unwrap_or_default())).collect()
}

#[test]
fn what_runs_already_is_adopted_without_an_update() {
    for api in Api::of_each_shape() {
        let workspace = Workspace::new();
        for service in ["api", "web"] {
            workspace.service(service, "1");
            api.world().set_live(format!("shop/{service}").as_str(), image(service, "1"));
        }
        workspace.service("other", "2");
        api.world().set_live("shop/other", image("other", "1"));
        let ran = workspace.once(&api, &[]).exits(0);
        let outcomes =
            [outcome("shop/api", "adopted"), outcome("shop/other", "updated"), outcome("shop/web", "adopted")];
        assert_eq!(ran.outcomes(), outcomes);
        let other = ran.service("shop/other");
        let change =
            json!([{"path": "external.imagePath", "from": "ghcr.io/acme/other:1", "to": "ghcr.io/acme/other:2"}]);
        assert_eq!((&other["changes"], &other["cause"]), (&change, &json!("new")));
        assert_eq!((api.world().update_count(), api.world().rollouts("shop/web")), (1, 0));
        assert_eq!(ran.report()["api"]["calls"], 4);
        assert!(workspace.once(&api, &[]).exits(0).outcomes().iter().all(|(_, ended)| ended == "unchanged"));
    }
}

#[test]
fn a_lost_state_folder_restarts_nothing() {
    for api in Api::of_each_shape() {
        let workspace = Workspace::new();
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop");
        let first = workspace.once(&api, &["--manifests", examples]).exits(0);
        let updates = api.world().update_count();
        std::fs::remove_dir_all(workspace.state()).unwrap();
        let again = workspace.once(&api, &["--manifests", examples]).exits(0);
        assert_eq!(again.outcomes().len(), first.outcomes().len());
        for (service, ended) in again.outcomes() {
            assert!(
                matches!(ended.as_str(), "adopted" | "suspended"),
                "{service}: {ended}, {:?}",
                again.service(&service)
            );
        }
        assert_eq!(api.world().update_count(), updates);
    }
}

#[test]
fn a_build_that_no_answer_shows_is_sent_once() {
    let (api, workspace) = (Api::new(), Workspace::new());
    let text = manifest("web", "1").replace(
        "  external:\n    imagePath: ghcr.io/acme/web:1\n",
        "  internal:\n    id: builder\n    branch: main\n    buildId: premium-guide-6393\n",
    );
    workspace.write("web.yaml", text);
    let running = Running::Build {
        service: "builder".to_owned(),
        branch: Some("main".to_owned()),
        sha: None,
        build: Some("premium-guide-6393".to_owned()),
    };
    api.world().set_live("shop/web", Live { running, ..Live::deployment("x:1") });
    // The deprecated call shows it.
    let ran = workspace.once(&api, &[]).exits(0);
    assert_eq!((ran.outcomes(), api.world().call_count()), (vec![outcome("shop/web", "adopted")], 2));
    // Without it nobody can tell, and what git declares must arrive.
    std::fs::remove_dir_all(workspace.state()).unwrap();
    api.world().script(Fault::status(410).on(Operation::GetServiceDeployment).always());
    let ran = workspace.once(&api, &[]).exits(0);
    let web = ran.service("shop/web");
    assert_eq!((&web["outcome"], &web["changes"]), (&json!("updated"), &json!([])));
    let undecided = web["undecided"].to_string();
    assert!(undecided.contains("internal.buildId"), "{undecided}");
    assert_eq!(workspace.once(&api, &[]).exits(0).outcomes(), [outcome("shop/web", "unchanged")]);
    assert_eq!(api.world().update_count(), 1);
}

#[test]
fn without_adopting_the_update_is_sent_unread() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    api.world().set_live("shop/web", image("web", "1"));
    let ran = workspace.once(&api, &["--no-adopt"]).exits(0);
    assert_eq!((ran.outcomes(), api.world().call_count()), (vec![outcome("shop/web", "updated")], 1));
}

#[test]
fn a_service_that_does_not_exist_stalls_with_a_hint() {
    let (api, workspace) = (Api::of_services(&["shop/api"]), Workspace::new());
    workspace.service("web", "1");
    let web = workspace.once(&api, &[]).exits(1).service("shop/web");
    assert_eq!(web["outcome"], "stalled");
    let (error, hint) = (web["error"].as_str().unwrap(), web["hint"].as_str().unwrap());
    assert!(error.contains("404") && hint.contains("the service must exist"), "{error}; {hint}");
    assert_eq!(api.world().call_count(), 1);
}

#[test]
fn a_lost_answer_is_settled_by_the_next_pass_without_an_update() {
    for api in Api::of_each_shape() {
        let workspace = Workspace::sending();
        workspace.service("web", "1");
        api.world().script(Fault::drop().after_carrying_out().of("shop/web").times(1));
        api.world().script(Fault::status(503).of("shop/web").always());
        workspace.once(&api, &["--deadline", "1s"]).exits(1);
        api.world().clear_faults();
        let web = workspace.once(&api, &[]).exits(0).service("shop/web");
        assert_eq!((&web["outcome"], &web["cause"]), (&json!("adopted"), &json!("in-doubt")));
        assert_eq!(api.world().updates("shop/web").len(), 1);
    }
}

#[test]
fn a_thousand_services_that_run_what_they_should_take_a_thousand_reads() {
    let (api, workspace) = (Api::new(), Workspace::new());
    for number in 0..1000 {
        let service = format!("s{number}");
        api.world().set_live(format!("shop/{service}").as_str(), image(&service, "1"));
        workspace.service(&service, "1");
    }
    let ran = workspace.once(&api, &["--concurrency", "64"]).exits(0);
    assert!(ran.outcomes().iter().all(|(_, ended)| ended == "adopted"));
    assert_eq!(ran.report()["api"], json!({"calls": 1000, "remaining": 0}));
    assert_eq!(api.world().update_count(), 0);
    assert!(api.world().calls().iter().all(|call| call.answer != Answer::Status(429)), "no call over the limit");
}

#[test]
fn adopting_waits_for_the_next_window_and_a_restart_loses_nothing() {
    let options = Options { limit: 40, window: std::time::Duration::from_secs(3), ..Options::default() };
    let (api, workspace) = (Api::with(options), Workspace::new());
    for number in 0..100 {
        let service = format!("s{number}");
        api.world().set_live(format!("shop/{service}").as_str(), image(&service, "1"));
        workspace.service(&service, "1");
    }
    let first = workspace.once(&api, &["--deadline", "1s"]).exits(1);
    let adopted = first.outcomes().iter().filter(|(_, ended)| ended == "adopted").count();
    assert_eq!(adopted, 40);
    let second = workspace.once(&api, &[]).exits(0);
    assert!(second.outcomes().iter().all(|(_, ended)| matches!(ended.as_str(), "adopted" | "unchanged")));
    assert_eq!(api.world().update_count(), 0);
    let answered = api.world().calls().iter().filter(|call| call.answer == Answer::Status(200)).count();
    assert_eq!(answered, 100, "each was read once");
}

#[test]
fn a_plan_can_look_at_live() {
    for api in Api::of_each_shape() {
        let workspace = Workspace::new();
        for service in ["adopt", "drift", "same"] {
            workspace.service(service, "1");
            api.world().set_live(format!("shop/{service}").as_str(), image(service, "1"));
        }
        workspace.once(&api, &[]).exits(0);
        std::fs::remove_dir_all(workspace.state()).unwrap();
        workspace.remove("adopt.yaml");
        workspace.once(&api, &[]).exits(0);
        workspace.service("adopt", "1");
        workspace.service("send", "2");
        api.world().edit("shop/drift", |live| *live = image("drift", "hand"));
        let (updates, before) = (api.world().update_count(), workspace.contents());
        let url = api.url();
        let ran = workspace.run(&["plan", "--live", "--output", "json", "--api-url", &url]).exits(0);
        assert_eq!(
            ran.outcomes(),
            [
                outcome("shop/adopt", "adopted"),
                outcome("shop/drift", "unchanged"),
                outcome("shop/same", "unchanged"),
                outcome("shop/send", "update")
            ]
        );
        let drift =
            json!([{"path": "external.imagePath", "from": "ghcr.io/acme/drift:hand", "to": "ghcr.io/acme/drift:1"}]);
        assert_eq!(ran.service("shop/drift")["drift"], drift);
        assert_eq!((&ran.report()["converged"], &ran.report()["api"]["calls"]), (&json!(false), &json!(4)));
        let correct =
            workspace.run(&["plan", "--live", "--drift", "correct", "--output", "json", "--api-url", &url]).exits(0);
        let service = correct.service("shop/drift");
        assert_eq!((&service["outcome"], &service["cause"]), (&json!("update"), &json!("drifted")));
        let text = workspace.run(&["plan", "--live", "--exit-code", "--api-url", &url]).exits(2).stdout;
        assert!(text.contains("drifted") && text.contains("ghcr.io/acme/drift:hand -> ghcr.io/acme/drift:1"), "{text}");
        assert_eq!(api.world().update_count(), updates);
        assert!(workspace.contents() == before, "a plan wrote something");
    }
}

#[test]
fn a_plan_says_what_it_would_cost_and_what_is_left() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.service("web", "2");
    workspace.service("new", "1");
    let text = workspace.run(&["plan"]).exits(0).stdout;
    assert!(text.contains("a pass takes at most 3 calls; 998 left, window resets in 60 min"), "{text}");
    let cost = workspace.plan().exits(0).report()["cost"].clone();
    assert_eq!((&cost["calls"], &cost["remaining"]), (&json!(3), &json!(998)));
}

#[test]
fn an_update_goes_out_as_patch_with_the_instances_that_live_has() {
    for api in Api::of_each_shape() {
        let workspace = Workspace::sending();
        api.world().set_live("shop/web", Live { instances: 7, ..image("web", "0") });
        api.world().set_live("shop/app", Live { kind: Kind::Combined, running: Running::Own, ..image("app", "0") });
        workspace.service("web", "1");
        let combined = manifest("app", "1").replace(
            "  external:\n    imagePath: ghcr.io/acme/app:1\n",
            "  docker:\n    configType: customCommand\n    customCommand: run it\n",
        );
        workspace.write("app.yaml", &combined);
        let ran = workspace.once(&api, &["--update-call", "patch"]).exits(0);
        assert_eq!(ran.outcomes(), [outcome("shop/app", "updated"), outcome("shop/web", "updated")]);
        let mut sent = patches(&api);
        sent.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(sent.len(), 2);
        assert!(
            sent[0].0.ends_with("/services/combined/app") && sent[1].0.ends_with("/services/deployment/web"),
            "{sent:?}"
        );
        assert_eq!(sent[0].1["deployment"].get("instances"), None);
        assert_eq!(sent[1].1["deployment"]["instances"], 7);
        assert_eq!(api.world().live("shop/web").unwrap().instances, 7);
        // The type is known now: a combined service is not read again.
        let before = api.world().call_count();
        workspace.write("app.yaml", combined.replace("run it", "run that"));
        workspace.once(&api, &["--update-call", "patch"]).exits(0);
        assert_eq!(api.world().call_count(), before + 1);
    }
}

#[test]
fn where_post_is_gone_for_several_services_patch_takes_over() {
    for status in [404, 405, 410] {
        let (api, workspace) = (Api::new(), Workspace::sending());
        api.world().script(Fault::gone(status).always());
        workspace.service("web", "1");
        workspace.service("api", "1");
        let ran = workspace.once(&api, &["--concurrency", "1"]).exits(0);
        assert!(ran.outcomes().iter().all(|(_, ended)| ended == "updated"), "{status}: {ran:?}");
        assert_eq!(ran.stderr.matches("updates go out as PATCH").count(), 1, "{status}: {}", ran.stderr);
        let posts = |api: &Api| api.world().calls().iter().filter(|call| call.method == "POST").count();
        assert_eq!(posts(&api), 2, "{status}: one service does not speak for the API");
        workspace.service("web", "2");
        let ran = workspace.once(&api, &[]).exits(0);
        assert_eq!((posts(&api), ran.stderr.contains("PATCH")), (2, false), "{status}");
    }
}

#[test]
fn a_call_that_will_go_is_told_once() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().script(Fault::deprecated().always());
    for service in ["a", "b", "c"] {
        workspace.service(service, "1");
    }
    let ran = workspace.once(&api, &[]).exits(0);
    assert_eq!(ran.stderr.matches("announces the end of a call").count(), 1, "{}", ran.stderr);
}

#[test]
fn a_suspension_is_told_with_its_reason_and_ends_when_its_time_is_past() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    let suspended =
        |until| manifest("web", "1") + &format!("policy:\n  suspend: {{reason: on fire, until: {until}}}\n");
    workspace.write("web.yaml", suspended("2126-01-31T18:00:00Z"));
    let web = workspace.once(&api, &[]).exits(0).service("shop/web");
    assert_eq!(web["outcome"], "suspended");
    assert_eq!(web["suspension"], json!({"reason": "on fire", "until": "2126-01-31T18:00:00Z"}));
    let text = workspace.run(&["plan"]).exits(0).stdout;
    assert!(text.contains("until 2126-01-31T18:00:00Z: on fire"), "{text}");
    workspace.write("web.yaml", suspended("2026-01-31T18:00:00Z"));
    assert_eq!(workspace.once(&api, &[]).exits(0).outcomes(), [outcome("shop/web", "updated")]);
}

#[test]
fn a_manifest_that_holds_the_token_is_a_problem_and_neither_sent_nor_shown() {
    let (api, workspace) = (Api::new(), Workspace::new());
    let with_token = manifest("web", "1")
        + &format!("  docker:\n    configType: customCommand\n    customCommand: run {}\n", crate::support::TOKEN);
    workspace.write("web.yaml", with_token);
    let ran = workspace.once(&api, &[]).exits(1);
    assert_eq!(ran.report()["problems"].as_array().map(Vec::len), Some(1), "{ran:?}");
    assert!(!ran.stdout.contains(crate::support::TOKEN) && !ran.stderr.contains(crate::support::TOKEN), "{ran:?}");
    assert_eq!(api.world().call_count(), 0);
}

#[test]
fn a_service_that_was_made_anew_with_another_type_is_patched_by_that() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    let runtime = |command: &str| {
        manifest("app", "1").replace(
            "  external:\n    imagePath: ghcr.io/acme/app:1\n",
            &format!("  docker:\n    configType: customCommand\n    customCommand: {command}\n"),
        )
    };
    api.world().set_live("shop/app", Live { kind: Kind::Combined, running: Running::Own, ..image("app", "0") });
    workspace.write("app.yaml", runtime("one"));
    workspace.once(&api, &["--update-call", "patch"]).exits(0);
    api.world().set_live("shop/app", image("app", "0"));
    workspace.write("app.yaml", runtime("two"));
    let ran = workspace.once(&api, &["--update-call", "patch"]).exits(0);
    assert_eq!(ran.outcomes(), [outcome("shop/app", "updated")]);
}

#[test]
fn a_plan_that_looked_costs_no_less_than_the_pass_after_it() {
    let (api, workspace) = (Api::new(), Workspace::new());
    for (service, runs) in [("same", "1"), ("other", "0"), ("another", "0")] {
        workspace.service(service, "1");
        api.world().set_live(format!("shop/{service}").as_str(), image(service, runs));
    }
    let plan = workspace.run(&["plan", "--live", "--output", "json", "--api-url", &api.url()]).exits(0);
    let pass = workspace.once(&api, &[]).exits(0);
    assert_eq!((&plan.report()["cost"]["calls"], &pass.report()["api"]["calls"]), (&json!(5), &json!(5)));
}

#[test]
fn a_service_closed_to_the_token_is_not_asked_for_again_and_again() {
    let (api, workspace) = (Api::new(), Workspace::new());
    api.world().script(Fault::status(403).always());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(1);
    assert_eq!(api.world().call_count(), 1);
}
