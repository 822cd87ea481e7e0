//! What runs elsewhere: the release workflow, and the examples for CI.

use std::collections::BTreeSet;
use std::process::Command;

use regex::Regex;
use serde_yaml::Value;

use crate::command_line::{assert_known, known};
use crate::support::{at, documents, project, text};

const RELEASE: &str = ".github/workflows/release.yml";
const GITHUB: &str = "deploy/ci/github.yml";
const GITLAB: &str = "deploy/ci/gitlab.yml";

fn workflow(path: &str) -> Value {
    documents(path).remove(0)
}

fn jobs(workflow: &Value) -> Vec<(String, Value)> {
    let jobs = workflow["jobs"].as_mapping().unwrap();
    jobs.iter().map(|(name, job)| (name.as_str().unwrap().to_owned(), job.clone())).collect()
}

#[test]
fn actions_are_pinned_by_commit() {
    let pinned = Regex::new(r"^[\w-]+/[\w-]+@[0-9a-f]{40}$").unwrap();
    let mut seen = 0;
    for path in [RELEASE, GITHUB] {
        for (name, job) in jobs(&workflow(path)) {
            for step in job["steps"].as_sequence().unwrap() {
                let Some(action) = step["uses"].as_str() else { continue };
                assert!(pinned.is_match(action), "{path}, {name}: {action}");
                let line = text(path).lines().find(|line| line.contains(action)).unwrap().to_owned();
                assert!(line.contains("# v"), "no version beside {action}");
                seen += 1;
            }
        }
    }
    assert!(seen > 5);
}

/// A step gets what it needs, and no expression is pasted into a shell.
#[test]
fn a_job_has_the_least_permissions_and_no_expression_in_its_scripts() {
    let release = workflow(RELEASE);
    assert_eq!(release["permissions"].as_mapping().map(serde_yaml::Mapping::len), Some(0));
    let writes = |job: &Value| -> BTreeSet<String> {
        let granted = job["permissions"].as_mapping().unwrap().iter();
        granted.filter(|(_, right)| *right == "write").map(|(name, _)| name.as_str().unwrap().to_owned()).collect()
    };
    for (name, job) in jobs(&release) {
        let expected: &[&str] = match &*name {
            "build" => &[],
            "image" => &["packages"],
            "publish" => &["attestations", "contents", "id-token", "packages"],
            other => panic!("which permissions does {other} need?"),
        };
        assert_eq!(writes(&job), expected.iter().map(|name| (*name).to_owned()).collect(), "{name}");
    }
    assert_eq!(workflow(GITHUB)["permissions"], serde_yaml::from_str::<Value>("contents: read").unwrap());
    for path in [RELEASE, GITHUB] {
        for (name, job) in jobs(&workflow(path)) {
            assert!(job["timeout-minutes"].is_u64(), "{path}, {name}");
            for step in job["steps"].as_sequence().unwrap() {
                let script = step["run"].as_str().unwrap_or_default();
                assert!(!script.contains("${{"), "{path}, {name}: {script}");
                if step["uses"].as_str().is_some_and(|action| action.starts_with("actions/checkout@")) {
                    assert_eq!(at(step, "with.persist-credentials").as_bool(), Some(false), "{path}, {name}");
                }
            }
        }
    }
}

/// Targets, paths and tools of a release are those of this project.
#[test]
fn a_release_names_what_there_is() {
    let release = workflow(RELEASE);
    let targets: BTreeSet<String> = at(&release, "jobs.build.strategy.matrix.include")
        .as_sequence()
        .unwrap()
        .iter()
        .map(|build| build["target"].as_str().unwrap().to_owned())
        .collect();
    let all = ["x86_64", "aarch64"].map(|cpu| ["gnu", "musl"].map(|libc| format!("{cpu}-unknown-linux-{libc}")));
    assert_eq!(targets, all.into_iter().flatten().collect());
    let text = text(RELEASE);
    for path in ["deploy/packages/build.sh", "deploy/packages/try.sh", "deploy/Dockerfile", "examples/shop"] {
        assert!(text.contains(path) && project(path).exists(), "{path}");
    }
    for file in ["LICENSE", "README.md", "CHANGELOG.md"] {
        assert!(text.contains(&format!(" {file}")) && project(file).is_file(), "{file}");
    }
    // Cargo's features are named nowhere, so that a release has what `cargo build --release` has.
    assert!(!text.contains("--features") && !text.contains("--no-default-features"));
    for tool in ["cargo-auditable@", "cargo-cyclonedx@", "cargo-deb@", "cargo-generate-rpm@", "sha256sum"] {
        assert!(text.contains(tool), "{tool}");
    }
}

/// Every option of a command line of truenorth in the examples for CI.
#[test]
fn the_examples_give_options_that_there_are() {
    let known = known();
    let command = Regex::new(r"truenorth (?:validate|plan|--)[^\n|;]*").unwrap();
    for path in [GITHUB, GITLAB] {
        let text = text(path);
        let words: Vec<&str> = command.find_iter(&text).flat_map(|found| found.as_str().split_whitespace()).collect();
        assert_known(&known, path, words.iter().copied().filter(|word| *word != "--"));
    }
}

/// 2 and 3 are no failures of a check, 3 is none of a pass; and the page says what each code means.
#[test]
fn the_examples_know_the_exit_codes() {
    let gitlab = workflow(GITLAB);
    let allowed = |job: &str| {
        let codes = at(&gitlab[job], "allow_failure.exit_codes").as_sequence().unwrap();
        codes.iter().map(|code| code.as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((allowed("truenorth check"), allowed("truenorth apply")), (vec![2, 3], vec![3]));
    let github = workflow(GITHUB);
    let steps = at(&github, "jobs.check.steps").as_sequence().unwrap().iter();
    let plan = steps.filter_map(|step| step["run"].as_str()).find(|script| script.contains("truenorth plan")).unwrap();
    for (code, passes) in [(0, true), (1, false), (2, true), (3, true), (64, false), (78, false)] {
        let script = format!("truenorth() {{ return {code}; }}\n{plan}");
        let ran =
            Command::new("bash").args(["-e", "-c", &script]).env("GITHUB_STEP_SUMMARY", "/dev/null").status().unwrap();
        assert_eq!(ran.success(), passes, "{code}: {plan}");
    }
    for code in [0, 1, 2, 3, 64, 78] {
        assert!(text("deploy/ci/README.md").contains(&format!("\n| {code} | ")), "{code}");
    }
}
