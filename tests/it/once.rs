//! `--reconcile-once`: what it sends, and what it says of it.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::support::{Api, Ran, Workspace, contents, hidden, manifest, outcome};

#[test]
fn a_new_service_is_updated_and_then_unchanged() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    let first = workspace.once(&api, &[]).exits(0);
    assert_eq!(
        digests_hidden(&first.report()),
        json!({
            "folder": "manifests",
            "ledger": workspace.state(),
            "place": {"api": api.url(), "account": "team/sandbox"},
            "revision": "tree:sha256:…",
            "plan": {"id": "sha256:…", "changes": 1, "limit": null, "state": "within"},
            "converged": true,
            "services": [{
                "service": "shop/web",
                "outcome": "updated",
                "digest": "sha256:…",
                "manifest": "web.yaml:1",
                "cause": "new",
                "changes": [{
                    "path": "external.imagePath",
                    "from": "northflank/placeholder:latest",
                    "to": "ghcr.io/acme/web:1"
                }],
                "attempts": 1,
                "error": null
            }],
            "problems": [],
            "api": {"calls": 2, "remaining": 998}
        })
    );
    let second = workspace.once(&api, &[]).exits(0);
    assert_eq!(
        digests_hidden(&second.report()),
        json!({
            "folder": "manifests",
            "ledger": workspace.state(),
            "place": {"api": api.url(), "account": "team/sandbox"},
            "revision": "tree:sha256:…",
            "plan": {"id": null, "changes": 0, "limit": null, "state": "within"},
            "converged": true,
            "services": [{
                "service": "shop/web",
                "outcome": "unchanged",
                "digest": "sha256:…",
                "manifest": "web.yaml:1",
                "cause": null,
                "changes": [],
                "attempts": 0,
                "error": null
            }],
            "problems": [],
            "api": {"calls": 0, "remaining": null}
        })
    );
    assert_eq!(first.service("shop/web")["digest"], second.service("shop/web")["digest"]);
    assert_eq!(api.world().call_count(), 2, "a read, for the ledger did not know it, and an update");
}

#[test]
fn a_changed_service_is_updated_and_its_changes_are_told() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.service("api", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.write(
        "web.yaml",
        manifest("web", "2")
            + "  docker:\n    configType: customCommand\n    customCommand: node web.js --api-key=abc123\n",
    );
    let ran = workspace.once(&api, &[]).exits(0);
    assert_eq!(ran.outcomes(), [outcome("shop/api", "unchanged"), outcome("shop/web", "updated")]);
    let web = ran.service("shop/web");
    assert_eq!(web["cause"], "changed");
    assert_eq!(
        web["changes"],
        json!([
            {"path": "docker.configType", "from": null, "to": "customCommand"},
            {"path": "docker.customCommand", "from": null, "to": "node web.js --api-key=[hidden]"},
            {"path": "external.imagePath", "from": "ghcr.io/acme/web:1", "to": "ghcr.io/acme/web:2"}
        ])
    );
    // Hidden in the report, but sent as it stands.
    assert_eq!(api.world().updates("shop/web")[1]["docker"]["customCommand"], "node web.js --api-key=abc123");
    assert_eq!(api.world().call_count(), 4, "two updates, one, and a read of the one that has two parts");
}

#[test]
fn a_suspended_service_is_left_alone_until_it_is_not() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.write("web.yaml", manifest("web", "1") + "policy: {suspend: true}\n");
    assert_eq!(workspace.once(&api, &[]).exits(0).outcomes(), [outcome("shop/web", "suspended")]);
    assert_eq!(api.world().call_count(), 0);
    workspace.service("web", "1");
    assert_eq!(workspace.once(&api, &[]).exits(0).outcomes(), [outcome("shop/web", "updated")]);
    // What is applied stays known while a service is suspended.
    workspace.write("web.yaml", manifest("web", "2") + "policy: {suspend: true}\n");
    assert_eq!(workspace.once(&api, &[]).exits(0).outcomes(), [outcome("shop/web", "suspended")]);
    workspace.service("web", "1");
    assert_eq!(workspace.once(&api, &[]).exits(0).outcomes(), [outcome("shop/web", "unchanged")]);
    assert_eq!(api.world().call_count(), 1);
}

#[test]
fn an_orphaned_service_is_reported_never_called_and_comes_back_unchanged() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.remove("web.yaml");
    let orphaned = workspace.once(&api, &[]).exits(0).service("shop/web");
    assert_eq!((&orphaned["outcome"], &orphaned["manifest"]), (&json!("orphaned"), &Value::Null));
    workspace.service("web", "1");
    assert_eq!(workspace.once(&api, &[]).exits(0).outcomes(), [outcome("shop/web", "unchanged")]);
    assert_eq!(api.world().call_count(), 1);
}

#[test]
fn a_bad_manifest_stops_only_itself() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    for service in ["api", "web", "worker"] {
        workspace.service(service, "1");
    }
    workspace.once(&api, &[]).exits(0);
    workspace.service("api", "2");
    workspace.write("web.yaml", manifest("web", "2").replace("imagePath", "imagepath"));
    workspace.service("worker", "2");
    let ran = workspace.once(&api, &[]).exits(1);
    // The bad one's service is not taken for one without a manifest.
    assert_eq!(ran.outcomes(), [outcome("shop/api", "updated"), outcome("shop/worker", "updated")]);
    assert_eq!(
        ran.report()["problems"],
        json!([
            {
                "file": "web.yaml",
                "line": 7,
                "column": 3,
                "path": "spec.external.imagePath",
                "message": "imagePath is missing",
                "hint": "add imagePath: the image, with its tag or digest"
            },
            {
                "file": "web.yaml",
                "line": 8,
                "column": 5,
                "path": "spec.external.imagepath",
                "message": "unknown field `imagepath`",
                "hint": "did you mean imagePath?"
            }
        ])
    );
    assert_eq!(api.calls_of("shop/web"), 1);
    workspace.service("web", "2");
    assert_eq!(workspace.once(&api, &[]).exits(0).service("shop/web")["outcome"], "updated");
}

#[test]
fn the_manifest_of_a_service_that_turns_bad_does_not_make_it_orphaned() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.write("web.yaml", "a: {b: c\n");
    let ran = workspace.once(&api, &[]).exits(1);
    assert_eq!(ran.outcomes(), []);
    assert_eq!(ran.report()["problems"].as_array().map(Vec::len), Some(1));
}

#[test]
fn two_manifests_of_one_service_send_nothing_for_it() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.service("api", "1");
    workspace.write("copy/web.yaml", manifest("web", "2"));
    let ran = workspace.once(&api, &[]).exits(1);
    assert_eq!(ran.outcomes(), [outcome("shop/api", "updated")]);
    assert_eq!(api.calls_of("shop/web"), 0);
}

#[test]
fn what_does_not_change_the_content_causes_no_call() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.write(
        "web.yaml",
        manifest("web", "1") + "  docker:\n    configType: customCommand\n    customCommand: run it\n",
    );
    let digest = workspace.once(&api, &[]).exits(0).service("shop/web")["digest"].clone();
    let unchanged = |what: &str| {
        let web = workspace.once(&api, &[]).exits(0).service("shop/web");
        assert_eq!((&web["outcome"], &web["digest"]), (&json!("unchanged"), &digest), "{what}");
    };

    let reordered = "# A comment.\nspec:\n  docker: {customCommand: \"run it\", configType: 'customCommand'}\n  external:\n    \
                     imagePath: >-\n      ghcr.io/acme/web:1\nmetadata: {serviceId: web, projectId: shop}\n\
                     kind: ServiceDeployment\napiVersion: truenorth/v1\npolicy: {suspend: false}\n";
    workspace.write("web.yaml", reordered);
    unchanged("reformatted and reordered");
    workspace.write("web.yaml", format!("---\n{}---\n", reordered.replace("\"run it\"", "&c run it")));
    unchanged("an anchor and document marks");
    workspace.remove("web.yaml");
    workspace.write("some/where/else.yml", reordered);
    unchanged("moved");
    workspace.remove("some/where/else.yml");
    let json = json!({
        "apiVersion": "truenorth/v1",
        "kind": "ServiceDeployment",
        "metadata": {"projectId": "shop", "serviceId": "web"},
        "spec": {
            "external": {"imagePath": "ghcr.io/acme/web:1"},
            "docker": {"configType": "customCommand", "customCommand": "run it"}
        }
    });
    workspace.write("web.json", json.to_string());
    unchanged("as JSON");
    workspace.write("web.json", format!("{json:#}"));
    unchanged("as indented JSON");
    assert_eq!(api.world().call_count(), 2, "the update, and a read because it has two parts");
}

#[test]
fn content_that_was_applied_before_is_sent_again_after_another() {
    let (api, workspace) = (Api::new(), Workspace::new());
    for tag in ["1", "2", "1"] {
        workspace.service("web", tag);
        assert_eq!(workspace.once(&api, &[]).exits(0).outcomes(), [outcome("shop/web", "updated")]);
    }
    let sent: Vec<_> =
        api.world().updates("shop/web").iter().map(|body| body["external"]["imagePath"].clone()).collect();
    assert_eq!(sent, ["ghcr.io/acme/web:1", "ghcr.io/acme/web:2", "ghcr.io/acme/web:1"]);
}

#[test]
fn the_update_call_has_its_project_form_and_its_team_form() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    let of_team = manifest("web", "1").replace("  serviceId", "  teamId: acme\n  serviceId");
    workspace.write("team.yaml", of_team);
    workspace.write("other.yaml", manifest("web", "1").replace("projectId: shop", "projectId: My-Shop"));
    let ran = workspace.once(&api, &["--concurrency", "1"]).exits(0);
    let updated = ["My-Shop/web", "acme/shop/web", "shop/web"].map(|service| outcome(service, "updated"));
    let mut outcomes = ran.outcomes();
    outcomes.sort();
    assert_eq!(outcomes, updated);
    let mut calls: Vec<_> = api.world().calls().into_iter().map(|call| (call.method, call.path)).collect();
    calls.sort();
    let paths = [
        "/v1/projects/My-Shop/services/web/deployment",
        "/v1/projects/shop/services/web/deployment",
        "/v1/teams/acme/projects/shop/services/web/deployment",
    ];
    assert_eq!(calls, paths.map(|path| ("POST".to_owned(), path.to_owned())));
}

#[test]
fn the_body_of_a_call_is_the_spec_field_for_field() {
    let (api, workspace) = (Api::new(), Workspace::new());
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop");
    let ran = workspace.once(&api, &["--manifests", examples.to_str().unwrap()]).exits(0);
    let mut seen = 0;
    for (path, bytes) in contents(&examples) {
        for document in serde_yaml::Deserializer::from_slice(&bytes) {
            let Ok(manifest) = Value::deserialize(document) else { continue };
            let Some(service) = manifest["metadata"]["serviceId"].as_str() else { continue };
            seen += 1;
            let key = format!("shop/{service}");
            let suspended = manifest["policy"]["suspend"] == true;
            let (ended, sent) =
                if suspended { ("suspended", vec![]) } else { ("updated", vec![manifest["spec"].clone()]) };
            assert_eq!(ran.service(&key)["outcome"], ended, "{}", path.display());
            assert_eq!(api.world().updates(key), sent, "{}", path.display());
        }
    }
    assert_eq!(ran.outcomes().len(), seen);
}

#[test]
fn calls_in_flight_are_as_many_as_concurrency_says() {
    let (api, workspace) = (Api::of_latency(Duration::from_millis(150)), Workspace::new());
    for number in 0..9 {
        workspace.service(&format!("s{number}"), "1");
    }
    workspace.once(&api, &["--concurrency", "3"]).exits(0);
    assert_eq!((api.world().update_count(), api.world().in_flight_max()), (9, 3));
}

#[test]
fn the_sandbox_leaves_nothing_behind() {
    let workspace = Workspace::new();
    workspace.service("web", "1");
    let scratch = workspace.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let before = workspace.contents();
    let mut command = workspace.command(&["--reconcile-once", "--sandbox", "--output", "json"]);
    let command = command.env("TMPDIR", &scratch).env_remove("TRUENORTH_STATE_DIR").env_remove("NORTHFLANK_API_TOKEN");
    for _ in 0..2 {
        // Nothing is remembered either.
        assert_eq!(Ran::of(command).exits(0).outcomes(), [outcome("shop/web", "updated")]);
        assert_eq!(workspace.contents(), before);
    }
}

#[test]
fn the_sandbox_remembers_where_it_is_told_to() {
    let workspace = Workspace::new();
    workspace.service("web", "1");
    let sandbox = ["--reconcile-once", "--sandbox", "--output", "json", "--state-dir", "mine"];
    assert_eq!(workspace.run(&sandbox).exits(0).outcomes(), [outcome("shop/web", "updated")]);
    assert_eq!(workspace.run(&sandbox).exits(0).outcomes(), [outcome("shop/web", "unchanged")]);
}

#[test]
fn an_empty_folder_is_in_order() {
    let (api, workspace) = (Api::new(), Workspace::new());
    let ran = workspace.once(&api, &[]).exits(0);
    assert_eq!((ran.outcomes(), api.world().call_count()), (vec![], 0));
    assert_eq!(ran.report()["converged"], true);
}

#[test]
fn people_read_a_line_a_service_its_differences_and_a_summary() {
    let (api, workspace) = (Api::of_services(&["shop/api", "shop/web", "shop/old"]), Workspace::new());
    for service in ["api", "old", "web"] {
        workspace.service(service, "1");
    }
    workspace.once(&api, &[]).exits(0);
    workspace.remove("old.yaml");
    workspace.write("web.yaml", manifest("web", "2") + "    credentials: ghcr\n");
    workspace.service("gone", "1");
    workspace.write("bad.yaml", manifest("bad", "1").replace(":1", ""));
    let ran = workspace.run(&["--reconcile-once", "--api-url", &api.url()]).exits(1);
    insta::assert_snapshot!(workspace.placed(&ran.stdout, &api), @"
    API: URL (account team/sandbox)
    ledger: STATE
    folder: manifests at tree:27bfe5cadf44
    error: imagePath `ghcr.io/acme/bad` names no tag or digest
     --> manifests/bad.yaml:8:16
      |
    8 |     imagePath: ghcr.io/acme/bad
      |                ^^^^^^^^^^^^^^^^
      |
      = hint: say which version should run: write ghcr.io/acme/bad:<version>

    signs: ~ changed, ! needs a look
    ! stalled   shop/gone (new)  gone.yaml:1
        external.imagePath  ghcr.io/acme/gone:1
        the API answered 404 Not Found: service `shop/gone` does not exist (NOT-FOUND)
        hint: the service must exist: create it in Northflank, or correct projectId, serviceId and teamId in the manifest
      orphaned  shop/old
    ~ updated   shop/web (changed)  web.yaml:1
        external.credentials  ghcr
        external.imagePath    ghcr.io/acme/web:1 -> ghcr.io/acme/web:2
    1 stalled, 1 updated, 1 unchanged, 1 orphaned, rollouts not awaited, 1 problem
    2 calls, 992 left in this window
    ");
}

/// A report with its digests hidden.
/// Without rollouts, which have tests of their own.
fn digests_hidden(report: &Value) -> Value {
    let mut report: Value = serde_json::from_str(&hidden(&report.to_string())).unwrap();
    for service in report["services"].as_array_mut().unwrap() {
        service.as_object_mut().unwrap().remove("rollout");
    }
    report
}
