//! Who may deploy what, and from where.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::{Api, Daemon, Ran, Workspace, eventually, manifest, outcome};

/// File, message and hint of each problem.
fn told(problems: &Value) -> Vec<[&str; 3]> {
    let problems = problems.as_array().unwrap().iter();
    problems.map(|one| ["file", "message", "hint"].map(|field| one[field].as_str().unwrap_or_default())).collect()
}

fn of_project(project: &str, service: &str) -> String {
    manifest(service, "1").replace("projectId: shop", &format!("projectId: {project}"))
}

#[test]
fn what_is_not_allowed_is_a_problem_and_stops_only_itself() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.write("web.yaml", manifest("web", "1"));
    workspace.write("blog.yaml", of_project("blog", "api"));
    let message = "`blog/api` is not allowed (--allow)";
    let expected = [["blog.yaml", message, "allowed here: shop, docs/site"]];
    let allow = ["--allow", "shop", "--allow", "docs/site"];
    let ran = workspace.once(&api, &allow).exits(1);
    assert_eq!(told(&ran.report()["problems"]), expected);
    assert_eq!(ran.outcomes(), [outcome("shop/web", "updated")]);
    assert_eq!(api.calls_of("blog/api"), 0);
    // The variable says the same to every command that reads the folder.
    for command in [&["validate", "--output", "json"][..], &["plan", "--output", "json"]] {
        let ran = Ran::of(workspace.command(command).env("TRUENORTH_ALLOW", "shop,docs/site")).exits(1);
        assert_eq!(told(&ran.json()["problems"]), expected, "{command:?}");
    }
    let why = Ran::of(workspace.command(&["why", "blog/api"]).env("TRUENORTH_ALLOW", "shop"));
    assert!(why.stdout.contains(message), "{}", why.stdout);
    let status = Ran::of(workspace.command(&["status"]).env("TRUENORTH_ALLOW", "shop"));
    assert!(status.stdout.contains(message), "{}", status.stdout);
    // What is allowed no more is not gone.
    let ran = workspace.once(&api, &["--allow", "blog"]).exits(1);
    assert_eq!(ran.outcomes(), [outcome("blog/api", "updated")]);
    for pattern in ["", "a/b/c/d", "My Shop", "{a,b}"] {
        workspace.run(&["validate", "--allow", pattern]).exits(64);
    }
}

#[test]
fn nobody_freezes_a_service_with_a_manifest_elsewhere() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.write("shop/web.yaml", manifest("web", "1"));
    workspace.write("blog/api.yaml", of_project("blog", "api"));
    // Another team's service twice: in a folder that comes before its own, and in one that comes after; by a link; and one
    // that cannot be read.
    workspace.write("blog/web.yaml", manifest("web", "2"));
    workspace.write("zoo/web.yaml", manifest("web", "3"));
    workspace.write("blog/broken.yaml", manifest("web", "1").replace("spec", "specs"));
    symlink("shop", workspace.manifests().join("a")).unwrap();
    symlink("../shop/web.yaml", workspace.manifests().join("blog/a.yaml")).unwrap();
    let free = workspace.run(&["validate", "--output", "json"]).exits(1).json();
    assert_eq!(free["manifests"], 1, "without a layout the service has several manifests: {free}");

    let ran = workspace.once(&api, &["--layout", "project"]).exits(1);
    assert_eq!(ran.outcomes(), [outcome("blog/api", "updated"), outcome("shop/web", "updated")]);
    assert_eq!(api.world().updates("shop/web")[0]["external"]["imagePath"], "ghcr.io/acme/web:1");
    let report = ran.report();
    let message = "the manifest of `shop/web` belongs below shop/ (--layout project)";
    let outside = ["blog/web.yaml", "zoo/web.yaml"].map(|file| [file, message, "move it to shop/"]);
    let told = told(&report["problems"]);
    assert!(outside.iter().all(|problem| told.contains(problem)), "{told:?}");
    assert!(told.iter().all(|[file, ..]| *file != "shop/web.yaml"), "{told:?}");
    // Two in their place are a problem of both, as ever.
    workspace.write("shop/second.yaml", manifest("web", "4"));
    let validation = workspace.run(&["validate", "--layout", "project", "--output", "json"]).exits(1).json();
    assert_eq!(validation["manifests"], 1);
}

#[test]
fn a_manifest_with_a_team_stands_below_its_team() {
    let workspace = Workspace::new();
    let of_team = manifest("web", "1").replace("  serviceId", "  teamId: acme\n  serviceId");
    let validate = || workspace.run(&["validate", "--layout", "project", "--output", "json"]).json();
    workspace.write("shop/web.yaml", &of_team);
    let problem = "the manifest of `acme/shop/web` belongs below acme/shop/ (--layout project)";
    assert_eq!(told(&validate()["problems"]), [["shop/web.yaml", problem, "move it to acme/shop/"]]);
    std::fs::remove_file(workspace.manifests().join("shop/web.yaml")).unwrap();
    workspace.write("acme/shop/web.yaml", of_team);
    assert_eq!(validate()["problems"], json!([]));
}

#[test]
fn the_daemon_sends_only_what_is_allowed() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.write("shop/web.yaml", manifest("web", "1"));
    workspace.write("shop/api.yaml", of_project("blog", "api"));
    workspace.write("web.yaml", manifest("cart", "1"));
    let mut daemon = Daemon::start(&workspace, &api, &["--allow", "shop", "--layout", "project"]);
    daemon.told("update accepted");
    eventually("it is unchanged", || daemon.state("web") == "unchanged");
    let status = daemon.status();
    assert_eq!(told(&status["problems"]).len(), 2, "{status}");
    assert_eq!((api.calls_of("blog/api"), api.calls_of("shop/cart")), (0, 0));
}

#[test]
fn a_manifest_with_the_token_is_a_problem_and_the_token_is_not_shown() {
    const TOKEN: &str = "nf-0123456789abcdef0123456789abcdef";
    let (api, workspace) = (Api::of_token(TOKEN), Workspace::sending());
    workspace.write("web.yaml", manifest("web", "1"));
    let leak = format!("  docker: {{configType: customCommand, customCommand: 'curl -H {TOKEN}'}}\n");
    workspace.write("leak.yaml", manifest("leak", "1") + &leak);
    workspace.write("bad.yaml", manifest(TOKEN, "1").replace(":1", ""));
    let ran = Ran::of(workspace.once_command(&api, &[]).env("NORTHFLANK_API_TOKEN", TOKEN)).exits(1);
    assert_eq!(ran.outcomes(), [outcome("shop/web", "updated")]);
    assert!(!ran.stdout.contains(TOKEN) && !ran.stderr.contains(TOKEN), "{ran:?}");
    let report = ran.report();
    let hint = "remove it, and replace the token in Northflank: whoever can read the folder has it";
    let leak = ["leak.yaml", "the manifest contains the API token", hint];
    let bad = ["bad.yaml", "this has a problem, and the API token in it, so no more is shown", hint];
    assert_eq!(told(&report["problems"]), [bad, leak]);
    assert_eq!(api.calls_of("shop/leak"), 0);
}
