//! kustomize and Helm: other ways to what `kubernetes.yaml` has. Where kubectl and helm are installed, what they build is
//! compared with it; everything else is checked anyway.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use regex::Regex;
use serde::Deserialize as _;
use serde_json::json;
use serde_yaml::Value;

use crate::support::{at, documents, project, strings, text};

/// What a tool says; nothing where it is not installed.
fn tool(name: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(name).args(arguments).current_dir(project("")).output() {
        Ok(output) => Some(output),
        Err(_) => {
            println!("skipped: no {name} here");
            None
        }
    }
}

#[track_caller]
fn built(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    sorted(serde_yaml::Deserializer::from_str(&text).map(|one| Value::deserialize(one).unwrap()).collect())
}

/// In an order of their own: documents by kind, and lists of named things by name.
fn sorted(mut documents: Vec<Value>) -> Vec<Value> {
    documents.sort_by_key(|document| document["kind"].as_str().unwrap().to_owned());
    documents.iter_mut().for_each(sort);
    documents
}

fn sort(value: &mut Value) {
    match value {
        Value::Sequence(items) => {
            items.iter_mut().for_each(sort);
            if items.iter().all(|item| item.get("name").is_some()) {
                items.sort_by_key(|item| item["name"].as_str().unwrap().to_owned());
            }
        }
        Value::Mapping(fields) => fields.iter_mut().for_each(|(_, value)| sort(value)),
        // The rights of a file in octal, which this parser takes for text and others for a number.
        Value::String(text) if text.starts_with('0') && text.len() == 4 => {
            if let Ok(mode) = u64::from_str_radix(text, 8) {
                *value = mode.into();
            }
        }
        _ => {}
    }
}

#[test]
fn kustomize_builds_what_the_file_has() {
    let overlay = "deploy/kustomize/overlays/git-sync";
    let Some(output) = tool("kubectl", &["kustomize", overlay]) else { return };
    assert_eq!(built(&output), sorted(documents("deploy/kubernetes.yaml")));
}

#[test]
fn a_kustomization_names_files_that_there_are() {
    let mut pending = vec![PathBuf::from("deploy/kustomize/overlays/git-sync")];
    let mut seen = 0;
    while let Some(folder) = pending.pop() {
        let path = folder.join("kustomization.yaml");
        let kustomization = documents(path.to_str().unwrap()).remove(0);
        let patches =
            kustomization["patches"].as_sequence().into_iter().flatten().map(|patch| patch["path"].as_str().unwrap());
        for name in strings(&kustomization["resources"]).into_iter().chain(patches) {
            let named = folder.join(name);
            match project(named.to_str().unwrap()).is_dir() {
                true => pending.push(named),
                false => assert!(!documents(named.to_str().unwrap()).is_empty(), "{named:?}"),
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 7);
}

const CHART: &str = "deploy/chart";
const REPO: &str = "git.repo=https://github.com/acme/platform";

fn helm(more: &[&str]) -> Option<Output> {
    let mut arguments = vec!["template", "truenorth", CHART, "--namespace", "truenorth", "--kube-version", "1.31"];
    arguments.extend(more);
    tool("helm", &arguments)
}

/// Apart from the namespace, which is made by hand, labels, and what only Helm can say.
#[test]
fn the_chart_builds_what_the_file_has() {
    let Some(output) = helm(&["--set", REPO]) else { return };
    let without = |mut documents: Vec<Value>| {
        documents.retain(|document| document["kind"] != "Namespace");
        documents.iter_mut().for_each(|document| drop_keys(document, &["labels", "matchLabels", "selector"]));
        documents
    };
    let mut built = without(built(&output));
    for document in &mut built {
        drop_keys(document, &["imagePullPolicy"]);
        if document["kind"] == "PersistentVolumeClaim" {
            drop_keys(document, &["annotations"]);
        }
    }
    // The label by which the network policy lets somebody in is in a `matchLabels` too, and is compared here.
    let expected = without(sorted(documents("deploy/kubernetes.yaml")));
    assert_eq!(built, expected);
    assert!(String::from_utf8_lossy(&output.stdout).contains("truenorth-metrics: allow"));
}

fn drop_keys(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Sequence(items) => items.iter_mut().for_each(|item| drop_keys(item, keys)),
        Value::Mapping(fields) => {
            keys.iter().for_each(|key| drop(fields.remove(*key)));
            fields.iter_mut().for_each(|(_, value)| drop_keys(value, keys));
        }
        _ => {}
    }
}

#[test]
fn the_chart_refuses_two_replicas_and_no_repository() {
    for (more, reason) in [
        (&["--set", REPO, "--set", "replicas=2"][..], "replicas"),
        (&["--set", REPO, "--set", "extraArgs[0]=--state-dir=/tmp"], "extraArgs"),
        (&["--set", REPO, "--set", "replica=1"], "replica"),
        (&[], "git.repo is required"),
    ] {
        let Some(output) = helm(more) else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(reason), "{more:?}: {said}");
    }
}

/// The same by the schema alone, which Helm checks before it renders.
#[test]
fn the_schema_takes_the_values_and_refuses_two_replicas() {
    let schema = serde_json::from_str(&text("deploy/chart/values.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let values: serde_json::Value = serde_yaml::from_str(&text("deploy/chart/values.yaml")).unwrap();
    assert!(schema.is_valid(&values));
    for (path, wrong) in [
        ("/replicas", json!(2)),
        ("/replicas", json!(0)),
        ("/git/path", json!("../secrets")),
        ("/git/path", json!("/etc")),
        ("/git/period", json!("soon")),
        ("/extraArgs", json!(["--manifests=/etc"])),
        ("/networkPolicy", json!({"enable": true})),
    ] {
        let mut values = values.clone();
        *values.pointer_mut(path).unwrap() = wrong.clone();
        assert!(!schema.is_valid(&values), "{path}: {wrong}");
    }
}

#[test]
fn every_value_is_used_explained_and_there() {
    let value = Regex::new(r"\.Values((?:\.\w+)+)").unwrap();
    let mut used = BTreeSet::new();
    for file in fs::read_dir(project(&format!("{CHART}/templates"))).unwrap() {
        let template = fs::read_to_string(file.unwrap().path()).unwrap();
        used.extend(value.captures_iter(&template).map(|found| found[1][1..].to_owned()));
    }
    let values = text("deploy/chart/values.yaml");
    let read: Value = serde_yaml::from_str(&values).unwrap();
    let mut there = BTreeSet::new();
    for (name, section) in read.as_mapping().unwrap() {
        let name = name.as_str().unwrap();
        let whole = used.contains(name);
        match section.as_mapping() {
            Some(fields) if !whole => {
                there.extend(fields.keys().map(|key| format!("{name}.{}", key.as_str().unwrap())))
            }
            _ => drop(there.insert(name.to_owned())),
        }
    }
    assert_eq!(used, there);
    for path in &used {
        assert!(!at(&read, path).is_null(), "{path}");
    }
    assert!(values.lines().filter(|line| line.trim_start().starts_with('#')).count() >= there.len() - 3, "explained");
}

#[test]
fn the_chart_has_the_version_of_the_package() {
    let chart = documents("deploy/chart/Chart.yaml").remove(0);
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key], env!("CARGO_PKG_VERSION"), "{key}");
    }
}
