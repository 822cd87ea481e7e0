//! The example of twelve services on three stages, and the preset of Renovate. The commands of the example's README are run
//! with those of the main one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{project, text};

const EXAMPLE: &str = "examples/environments";

/// A copy of the example that a test may change.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(project(EXAMPLE)).arg(folder.path()).status().unwrap();
    assert!(copied.success());
    folder
}

fn has_envsubst() -> bool {
    let is_there = Command::new("envsubst").arg("--version").output().is_ok();
    if !is_there {
        println!("skipped: no envsubst here");
    }
    is_there
}

#[track_caller]
fn render(folder: &Path) {
    let rendered = Command::new("./render").current_dir(folder).output().unwrap();
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
}

fn truenorth(folder: &Path, arguments: &[&str]) -> Output {
    let mut truenorth = Command::new(env!("CARGO_BIN_EXE_truenorth"));
    truenorth.args(arguments).current_dir(folder).env_clear().env("HOME", folder).output().unwrap()
}

/// Files below a folder, by path.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.display().to_string(), fs::read_to_string(&path).unwrap())),
        }
    }
    found
}

#[test]
fn twelve_services_on_three_stages_are_valid_in_the_layout_of_their_projects() {
    let ran = truenorth(&project(EXAMPLE), &["validate", "--layout", "project", "--output", "json"]);
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((ran.status.code(), &report["manifests"]), (Some(0), &Value::from(36)), "{report:#}");
    assert_eq!(report["warnings"].as_array().map_or(0, Vec::len), 0, "{report:#}");
}

#[test]
fn what_is_committed_is_what_render_writes() {
    if !has_envsubst() {
        return;
    }
    let copy = copy();
    let folder = copy.path().join("environments");
    let before = files(&folder);
    render(&folder);
    assert_eq!(files(&folder), before);
}

#[test]
fn one_line_of_a_stage_is_one_update_and_a_name_that_is_missing_is_a_problem() {
    if !has_envsubst() {
        return;
    }
    let copy = copy();
    let folder = copy.path().join("environments");
    let state = copy.path().join("state");
    let state = state.to_str().unwrap();
    let pass = truenorth(&folder, &["--reconcile-once", "--sandbox", "--state-dir", state]);
    assert_eq!(pass.status.code(), Some(0), "{}", String::from_utf8_lossy(&pass.stderr));

    let stage = folder.join("stages/production.env");
    let before = fs::read_to_string(&stage).unwrap();
    fs::write(&stage, before.replace("\nWEB=2.14.0\n", "\nWEB=2.15.0\n")).unwrap();
    render(&folder);
    let pass = truenorth(&folder, &["--reconcile-once", "--sandbox", "--state-dir", state, "--output", "json"]);
    let report: Value = serde_json::from_slice(&pass.stdout).unwrap();
    let services = report["services"].as_array().unwrap();
    let updated: Vec<&str> = services
        .iter()
        .filter(|service| service["outcome"] == "updated")
        .map(|service| service["service"].as_str().unwrap())
        .collect();
    assert_eq!((services.len(), &*updated), (36, &["shop-production/web"][..]), "{report:#}");

    fs::write(&stage, before.replace("\nWEB=2.14.0\n", "\n")).unwrap();
    render(&folder);
    let ran = truenorth(&folder, &["validate"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.code() == Some(1) && said.contains("ghcr.io/acme/web:$WEB"), "{said}");
}

/// The preset's managers: which files, and what is found in them.
fn managers() -> Vec<(Regex, Regex)> {
    let preset: Value = serde_json::from_str(&text("deploy/renovate/truenorth.json")).unwrap();
    let managers = preset["customManagers"].as_array().unwrap();
    let regex = |list: &Value| {
        let [one] = &list.as_array().unwrap()[..] else { panic!("{list}") };
        one.as_str().unwrap().to_owned()
    };
    let manager = |manager: &Value| {
        assert_eq!((&manager["customType"], &manager["datasourceTemplate"]), (&"regex".into(), &"docker".into()));
        let files = regex(&manager["managerFilePatterns"]);
        let files =
            files.strip_prefix('/').and_then(|files| files.strip_suffix('/')).unwrap_or_else(|| panic!("{files}"));
        (Regex::new(files).unwrap(), Regex::new(&regex(&manager["matchStrings"])).unwrap())
    };
    managers.iter().map(manager).collect()
}

/// Image and tag of each match.
fn found(pattern: &Regex, text: &str) -> Vec<(String, String)> {
    pattern.captures_iter(text).map(|found| (found["depName"].to_owned(), found["currentValue"].to_owned())).collect()
}

/// As Renovate reads it: its expressions are RE2's, which this crate's are too.
#[test]
fn renovate_finds_images_by_their_tag_and_no_others() {
    let (files, images) = managers().remove(0);
    for path in ["manifests/web.yaml", "platform/manifests/shop/web.yml", "manifests/shop/cron.json"] {
        assert!(files.is_match(path), "{path}");
    }
    for path in ["web.yaml", "manifests/README.md", "notmanifests/web.yaml", "manifests.yaml"] {
        assert!(!files.is_match(path), "{path}");
    }
    for (line, image, tag) in [
        ("    imagePath: ghcr.io/acme/web:1.8.2\n", "ghcr.io/acme/web", "1.8.2"),
        ("    imagePath: \"ghcr.io/acme/web:1.8.2\"\n", "ghcr.io/acme/web", "1.8.2"),
        ("imagePath: 'nginx:1.27-alpine' # a comment\n", "nginx", "1.27-alpine"),
        ("external: {imagePath: registry.example.com:5000/web:v2}\n", "registry.example.com:5000/web", "v2"),
        (r#""imagePath": "ghcr.io/acme/cron:2026.11", "#, "ghcr.io/acme/cron", "2026.11"),
        (r#"{"external":{"imagePath":"ghcr.io/acme/cron:7"}}"#, "ghcr.io/acme/cron", "7"),
    ] {
        assert_eq!(found(&images, line), [(image.to_owned(), tag.to_owned())], "{line}");
    }
    for line in [
        "imagePath: ghcr.io/acme/web\n",
        "imagePath: registry.example.com:5000/web\n",
        "imagePath: ghcr.io/acme/web@sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865\n",
        "otherPath: ghcr.io/acme/web:1\n",
    ] {
        assert_eq!(found(&images, line), [], "{line}");
    }
}

#[test]
fn renovate_finds_every_version_of_the_examples() {
    let [(_, images), (stages, versions)] = &managers()[..] else { panic!("two managers") };
    for stage in ["dev", "staging", "production"] {
        let path = format!("{EXAMPLE}/stages/{stage}.env");
        assert!(stages.is_match(&path), "{path}");
        let mut in_stage = found(versions, &text(&path));
        let rendered = files_of_stage(stage);
        let mut in_manifests = found(images, &rendered);
        in_stage.sort();
        in_manifests.sort();
        assert_eq!(in_stage.len(), 12, "{path}");
        assert_eq!(in_stage, in_manifests, "{path}");
    }
    let shop: String = files(&project("examples/shop")).into_values().collect();
    let by_tag = shop.matches("imagePath").count() - shop.matches("@sha256:").count();
    assert_eq!(found(images, &shop).len(), by_tag);
}

fn files_of_stage(stage: &str) -> String {
    files(&project(&format!("{EXAMPLE}/manifests/shop-{stage}"))).into_values().collect()
}
