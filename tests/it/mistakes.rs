//! Mistakes that people make in their first hours, and what each is answered: one snapshot, to be read as a whole. Every
//! answer names the thing, and the way out where that is not plain.

use std::fmt::Write as _;
use std::path::PathBuf;

use regex::Regex;

use crate::support::{Ran, Workspace, manifest};

/// A manifest of `shop/web` that begins as it should.
const HEAD: &str =
    "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata:\n  projectId: shop\n  serviceId: web\n";

/// What is wrong, and what stands after the head.
const SPECS: [(&str, &str); 14] = [
    ("no tag", "spec:\n  external:\n    imagePath: ghcr.io/acme/web\n"),
    ("an empty tag", "spec:\n  external:\n    imagePath: \"nginx:\"\n"),
    ("a moving tag", "spec:\n  external:\n    imagePath: nginx:latest\n"),
    ("an image with its scheme", "spec:\n  external:\n    imagePath: docker://nginx:1.27\n"),
    ("an image as a URL", "spec:\n  external:\n    imagePath: https://ghcr.io/acme/web:1\n"),
    ("a template that nobody rendered", "spec:\n  external:\n    imagePath: \"ghcr.io/acme/web:{{ .Values.tag }}\"\n"),
    ("a variable that nobody put in", "spec:\n  external:\n    imagePath: ghcr.io/acme/web:${TAG}\n"),
    ("a misspelt field", "spec:\n  external:\n    imagepath: ghcr.io/acme/web:1\n"),
    ("a field of another level", "spec:\n  imagePath: ghcr.io/acme/web:1\n"),
    (
        "two forms at once",
        "spec:\n  external:\n    imagePath: nginx:1.27\n  internal:\n    id: build\n    branch: main\n",
    ),
    ("a short commit", "spec:\n  internal:\n    id: build\n    buildSHA: 4f2a91c\n"),
    ("a number in the place of a text", "spec:\n  internal:\n    id: build\n    branch: 1.10\n"),
    (
        "a command without its type",
        "spec:\n  external:\n    imagePath: nginx:1.27\n  docker:\n    customCommand: run\n",
    ),
    ("a misspelt word", "spec:\n  external:\n    imagePath: nginx:1.27\npolicy:\n  drift: corect\n"),
];

/// What is wrong, the file and all that it holds.
const FILES: [(&str, &str, &str); 13] = [
    ("a tab", "web.yaml", "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata:\n\tprojectId: shop\n"),
    ("a quote that is not closed", "web.yaml", "apiVersion: \"truenorth/v1\nkind: ServiceDeployment\n"),
    ("another kind", "web.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n"),
    (
        "a kind that is nearly right",
        "web.yaml",
        "apiVersion: truenorth/v1\nkind: ServiceDeploymnt\nmetadata: {projectId: shop, serviceId: web}\nspec: {external: {imagePath: \"nginx:1.27\"}}\n",
    ),
    (
        "no project",
        "web.yaml",
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata:\n  serviceId: web\nspec: {external: {imagePath: \"nginx:1.27\"}}\n",
    ),
    (
        "a name in the place of an id",
        "web.yaml",
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata:\n  projectId: My Shop\n  serviceId: web\nspec: {external: {imagePath: \"nginx:1.27\"}}\n",
    ),
    (
        "a key twice",
        "web.yaml",
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nkind: ServiceDeployment\nmetadata: {projectId: shop, serviceId: web}\nspec: {external: {imagePath: \"nginx:1.27\"}}\n",
    ),
    (
        "a merge conflict",
        "web.yaml",
        "apiVersion: truenorth/v1\n<<<<<<< HEAD\nkind: ServiceDeployment\n=======\nkind: ServiceDeployment\n>>>>>>> main\n",
    ),
    (
        "a pointer of Git LFS",
        "web.yaml",
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n",
    ),
    (
        "a no-break space",
        "web.yaml",
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata:\n\u{a0}\u{a0}projectId: shop\n",
    ),
    ("an empty file", "web.yaml", ""),
    ("a page for people", "README.md", "# Manifests\n"),
    ("a misspelt ending", "web.yml.old", "apiVersion: truenorth/v1\n"),
];

/// What is wrong, and the words; the folder has `shop/web`, and there is no token.
const COMMANDS: [(&str, &[&str]); 19] = [
    ("no token", &["--reconcile-once"]),
    ("no token in the file that is named", &["--reconcile-once", "--token-file", "token"]),
    ("plain HTTP to the internet", &["plan", "--api-url", "http://api.northflank.com"]),
    ("another tool's command", &["apply"]),
    ("another tool's option", &["plan", "--dry-run"]),
    ("a misspelt command", &["staus"]),
    ("a misspelt option", &["plan", "--manifest", "m"]),
    ("a duration without its unit", &["--reconcile-once", "--deadline", "300"]),
    ("a folder that is not there", &["validate", "-m", "manifest"]),
    ("a file in the place of the state folder", &["plan", "--state-dir", "file"]),
    ("a config file that is not there", &["plan", "--config", "truenorth.yml"]),
    ("a config file with mistakes", &["plan", "--config", "bad.yaml"]),
    ("a service that nobody knows", &["why", "wbe"]),
    ("a pattern that matches nothing", &["status", "sho/*", "--state-dir", "used"]),
    ("an end that is over", &["freeze", "web", "--reason", "sale", "--until", "2020-01-01"]),
    ("a thaw of what is not frozen", &["thaw", "web", "--state-dir", "used"]),
    ("forgetting what is there", &["forget", "web", "--state-dir", "used"]),
    ("an approval of what is not a plan", &["approve", "latest"]),
    ("a beginning without a project", &["init"]),
];

#[test]
fn each_typical_mistake_is_told_with_the_way_out() {
    let mut told = String::new();
    for (what, rest) in SPECS {
        let workspace = Workspace::new();
        workspace.write("web.yaml", format!("{HEAD}{rest}"));
        answer(&mut told, what, &workspace, &workspace.run(&["validate"]));
    }
    for (what, file, content) in FILES {
        let workspace = Workspace::new();
        workspace.write(file, content);
        answer(&mut told, what, &workspace, &workspace.run(&["validate"]));
    }
    let workspace = Workspace::new();
    workspace.service("web", "1");
    workspace.write("again.yaml", manifest("web", "2"));
    answer(&mut told, "two manifests for one service", &workspace, &workspace.run(&["validate"]));

    let workspace = Workspace::new();
    workspace.service("web", "1");
    workspace.run(&["--reconcile-once", "--sandbox", "--state-dir", "used"]).exits(0);
    std::fs::write(workspace.path().join("file"), "").unwrap();
    std::fs::write(workspace.path().join("bad.yaml"), "concurency: 8\nresync: 5\n").unwrap();
    for (what, words) in COMMANDS {
        let mut command = workspace.command(words);
        command.env_remove("NORTHFLANK_API_TOKEN").env_remove("TRUENORTH_NO_WAIT");
        answer(&mut told, what, &workspace, &Ran::of(&mut command));
    }
    let mut command = workspace.command(&["validate"]);
    let ran = Ran::of(command.env("TRUENORTH_STATEDIR", "state"));
    answer(&mut told, "a misspelt variable", &workspace, &ran);
    assert!(told.matches("\n== ").count() >= 30);
    insta::assert_snapshot!(told);
}

/// Adds what a command answered, without what differs from machine to machine.
fn answer(told: &mut String, what: &str, workspace: &Workspace, ran: &Ran) {
    let places: [(PathBuf, &str); 2] = [(workspace.state(), "STATE"), (workspace.path().to_owned(), "HERE")];
    let _ = writeln!(told, "\n== {what} (exit {})", ran.code.unwrap());
    let mut text = ran.stdout.clone() + &ran.stderr;
    for (path, name) in places {
        text = text.replace(&*path.to_string_lossy(), name);
    }
    let text = Regex::new(r"as of \S+Z").unwrap().replace_all(&text, "as of TIME");
    let is_told = |line: &&str| !line.is_empty() && !line.contains("valid manifest") && !line.contains("try '--help'");
    for line in text.lines().filter(is_told) {
        let _ = writeln!(told, "{line}");
    }
}
