//! Where a plan and a pass stand: API, ledger, folder, revision and commit; and a plan for a pull request.

use serde_json::json;

use crate::support::{Api, Daemon, TOKEN, Workspace, git, manifest};

/// A checkout with one commit that Ada wrote.
fn checkout(subject: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.service("web", "1");
    git(&workspace.manifests(), &["init", "--quiet"]);
    git(&workspace.manifests(), &["add", "--all"]);
    git(&workspace.manifests(), &["commit", "--quiet", "-m", subject, "--author", "Ada Lovelace <ada@example.com>"]);
    workspace
}

#[test]
fn a_plan_and_a_pass_say_where_they_stand() {
    let (api, workspace) = (Api::new(), checkout("Raise web to 1\n\nBecause."));
    let commit = git(&workspace.manifests(), &["rev-parse", "HEAD"]);
    let standpoint = |account: &str, more: &str, dirty: &str| {
        format!(
            "API: URL{account}\nledger: STATE{more}\nfolder: manifests at git:{}{dirty}\ncommit: Raise web to 1 (Ada Lovelace)\n",
            &commit[..12]
        )
    };
    let plan = workspace.run(&["plan", "--api-url", &api.url()]).exits(0);
    let told = workspace.placed(&plan.stdout, &api);
    assert!(told.starts_with(&standpoint("", " (there is none yet)", "")), "{told}");
    for line in told.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    workspace.service("api", "1");
    let pass = workspace.run(&["--reconcile-once", "--api-url", &api.url()]).exits(0);
    let told = workspace.placed(&pass.stdout, &api);
    assert!(told.starts_with(&standpoint(" (account team/sandbox)", "", "+dirty")), "{told}");

    let report = workspace.plan().exits(0).report().clone();
    assert_eq!(report["commit"], json!({"subject": "Raise web to 1", "author": "Ada Lovelace"}));
    assert_eq!((&report["folder"], &report["ledger"]), (&json!("manifests"), &json!(workspace.state())));
    let sandbox = ["--reconcile-once", "--sandbox", "--state-dir", "mine", "--output", "json"];
    let report = workspace.run(&[&sandbox[..], &["--uncommitted", "ignore"]].concat()).exits(0).report().clone();
    assert_eq!(report["commit"]["author"], "Ada Lovelace");
}

#[test]
fn a_ledger_that_is_thrown_away_is_said_to_be() {
    let workspace = Workspace::new();
    let mut command = workspace.command(&["--reconcile-once", "--sandbox"]);
    let told = crate::support::Ran::of(command.env_remove("TRUENORTH_STATE_DIR")).exits(0).stdout;
    assert!(told.starts_with("API: sandbox\nledger: thrown away at the end\nfolder: manifests at tree:"), "{told}");
}

#[test]
fn a_commit_is_shown_so_that_it_steers_nothing_and_never_with_the_token() {
    let steering = checkout(&format!("\u{1b}[2J::error::{}", "x".repeat(5000)));
    let told = steering.run(&["plan"]).exits(0).stdout;
    let line = told.lines().nth(3).unwrap();
    assert!(line.starts_with("commit: \\u{1b}[2J::error::xxx") && line.len() < 100, "{line}");
    let telling = checkout(&format!("Use {TOKEN}"));
    let plan = telling.plan().exits(0);
    assert_eq!(plan.report().get("commit"), None);
    assert!(!plan.stdout.contains(TOKEN), "{}", plan.stdout);
}

#[test]
fn the_daemon_says_first_where_it_stands_and_what_it_does_by_itself() {
    let (api, workspace) = (Api::new(), checkout("Raise web"));
    let mut daemon = Daemon::start(&workspace, &api, &["--drift", "correct"]);
    let first: serde_json::Value = serde_json::from_str(&daemon.log()[0]).unwrap();
    assert!(first["message"].as_str().unwrap().ends_with(" began"), "{first}");
    for (field, value) in [
        ("api", json!(api.url())),
        ("ledger", json!(workspace.state())),
        ("folder", json!("manifests")),
        ("adopt", json!(true)),
        ("drift", json!("correct")),
        ("update_call", json!("auto")),
        ("uncommitted", json!("apply")),
    ] {
        assert_eq!(first[field], value, "{field}");
    }
    let read = daemon.told("the folder was read");
    assert_eq!((&read["subject"], &read["author"]), (&json!("Raise web"), &json!("Ada Lovelace")));
}

#[test]
fn nothing_in_a_manifest_speaks_in_a_comment_on_a_pull_request() {
    let workspace = Workspace::new();
    let command = "sh -c '``````` @everyone <img src=x> [a](https://example.com) #1'";
    let docker = format!(
        "  docker:\n    configType: customCommand\n    customCommand: |-\n      {command}\n      ```\n      /close\n"
    );
    workspace.write("web.yaml", manifest("web", "1") + &docker);
    workspace.write("bad.yaml", "```\n@everyone: <b>\n");
    let comment = workspace.run(&["plan", "--output", "markdown", "--show-commands=always"]).exits(1).stdout;
    let mut lines = comment.lines();
    assert!(lines.next().unwrap().starts_with("### truenorth plan `"), "{comment}");
    let fence = lines.find(|line| line.starts_with("```")).unwrap().trim_end_matches("text");
    let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != fence).collect();
    assert_eq!(lines.next(), None, "{comment}");
    assert!(inside.iter().any(|line| line.contains("@everyone <img src=x>")), "{comment}");
    assert!(inside.iter().all(|line| !line.starts_with(fence)), "{comment}");
}
