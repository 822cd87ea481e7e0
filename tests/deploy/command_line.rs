//! Every option and variable that the shipped files name is one that the binary knows.

use std::collections::BTreeSet;
use std::process::Command;

use regex::Regex;

use crate::support::{at, documents, project, strings, text};
use crate::units::{ONCE, SERVICE, Unit};

/// Commands that the shipped files name, beside the daemon and the pass.
const COMMANDS: [&str; 6] = ["health", "man", "plan", "schema", "status", "validate"];

/// Pages with commands that are not run by a test, as they need root, a cluster or an engine.
const PAGES: [&str; 8] = [
    "deploy/README.md",
    "deploy/chart/README.md",
    "deploy/ci/README.md",
    "deploy/compose.md",
    "deploy/kubernetes.md",
    "deploy/packages/README.md",
    "deploy/renovate/README.md",
    "systemd/README.md",
];

/// Options and variables that the help of truenorth and of these commands names.
pub(crate) fn known() -> BTreeSet<String> {
    let help = |command: Option<&str>| {
        let mut truenorth = Command::new(env!("CARGO_BIN_EXE_truenorth"));
        let output = truenorth.args(command).arg("--help").env_clear().output().unwrap();
        assert!(output.status.success(), "truenorth has no {command:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let help: String = std::iter::once(None).chain(COMMANDS.map(Some)).map(help).collect();
    let name = Regex::new(r"--[a-z][a-z-]+|(?:TRUENORTH|NORTHFLANK)_[A-Z_]+").unwrap();
    let known: BTreeSet<String> = name.find_iter(&help).map(|found| found.as_str().to_owned()).collect();
    assert!(known.len() > 10, "{help}");
    known
}

#[track_caller]
pub(crate) fn assert_known<'a>(known: &BTreeSet<String>, place: &str, arguments: impl IntoIterator<Item = &'a str>) {
    let options: Vec<&str> = arguments.into_iter().filter(|argument| argument.starts_with("--")).collect();
    assert!(!options.is_empty(), "{place} gives no option");
    for option in options {
        let name = option.split('=').next().unwrap();
        assert!(known.contains(name), "{place}: truenorth has no {name}");
    }
}

#[test]
fn options_are_known() {
    let known = known();
    for unit in [SERVICE, ONCE] {
        let start = Unit::read(unit).one("Service", "ExecStart");
        assert_known(&known, unit, start.split_whitespace());
    }
    let compose = documents("deploy/compose.yaml").remove(0);
    assert_known(&known, "compose.yaml", strings(at(&compose, "services.truenorth.command")));
    let kubernetes = documents("deploy/kubernetes.yaml");
    let deployment = kubernetes.iter().find(|document| document["kind"] == "Deployment").unwrap();
    assert_known(&known, "kubernetes.yaml", strings(&at(deployment, "spec.template.spec.containers")[0]["args"]));
}

/// In comments and READMEs too.
#[test]
fn variables_are_known() {
    let (known, variable) = (known(), Regex::new(r"\b(?:TRUENORTH|NORTHFLANK)_[A-Z_]+").unwrap());
    let mut seen = 0;
    for folder in ["systemd", "deploy", "deploy/ci", "deploy/packages", "deploy/chart", "deploy/kustomize"] {
        for file in std::fs::read_dir(project(folder)).unwrap() {
            let path = format!("{folder}/{}", file.unwrap().file_name().to_str().unwrap());
            if !project(&path).is_file() {
                continue;
            }
            for found in variable.find_iter(&text(&path)) {
                assert!(known.contains(found.as_str()), "{path}: truenorth knows no {}", found.as_str());
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}

/// The commands of the pages beside the files: bash reads them, and truenorth has their options.
#[test]
fn commands_of_the_pages_can_be_read_and_give_options_that_there_are() {
    let known = known();
    let (block, command) = (
        Regex::new(r"(?s)\n```sh\n(.*?)\n```\n").unwrap(),
        Regex::new(r"(?m)(?:^ *|truenorth )truenorth (?:[a-z]+ )?--[a-z][^\n|#]*").unwrap(),
    );
    let mut seen = 0;
    for page in PAGES {
        let text = text(page);
        for found in block.captures_iter(&text) {
            let read = Command::new("bash").args(["-n", "-c", &found[1]]).output().unwrap();
            assert!(read.status.success(), "{page}: {}", String::from_utf8_lossy(&read.stderr));
            for line in command.find_iter(&found[1]) {
                assert_known(&known, page, line.as_str().split_whitespace());
                seen += 1;
            }
        }
    }
    assert!(seen >= 2, "{seen}");
}
