//! The packages for Debian and Red Hat: what Cargo.toml says of them, against the tree and the script that builds them. Where
//! its tools are installed, CI builds a package and tries it.

use std::collections::BTreeSet;
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use crate::support::{project, text};
use crate::units::{NAMES, Unit};

/// What the script writes before it packs.
const STAGE: &str = "target/packages/";

/// `package.metadata` of Cargo.toml.
fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--offline", "--locked", "--no-deps", "--format-version=1"]).current_dir(project(""));
    let output = cargo.output().unwrap();
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    read["packages"][0]["metadata"].clone()
}

/// An installed file: where it comes from, where it goes, with what mode.
type Asset = (String, String, String);

fn of_deb() -> Vec<Asset> {
    let field = |asset: &Value, at: usize| asset[at].as_str().unwrap().to_owned();
    let metadata = metadata();
    let assets = metadata["deb"]["assets"].as_array().unwrap();
    assets.iter().map(|asset| (field(asset, 0), format!("/{}", field(asset, 1)), field(asset, 2))).collect()
}

fn of_rpm() -> Vec<Asset> {
    let metadata = metadata();
    let assets = metadata["generate-rpm"]["assets"].as_array().unwrap();
    let asset = |asset: &Value| ["source", "dest", "mode"].map(|key| asset[key].as_str().unwrap().to_owned()).into();
    assets.iter().map(asset).collect()
}

#[test]
fn every_file_is_in_the_tree_or_written_by_the_script() {
    let script = text("deploy/packages/build.sh");
    for (source, dest, mode) in of_deb().into_iter().chain(of_rpm()) {
        assert!(dest.starts_with('/') && ["644", "755"].contains(&&*mode), "{source}: {dest}, {mode}");
        match source.strip_prefix(STAGE) {
            Some(staged) => {
                let name = staged.split(['/', '*']).next().unwrap();
                assert!(script.contains(&format!("$stage/{name}")) || script.contains(name), "{source}");
            }
            None if source == "target/release/truenorth" => assert_eq!(mode, "755"),
            None => assert!(project(&source).is_file(), "{source}"),
        }
    }
    for named in ["license-file", "changelog", "maintainer-scripts"] {
        let value = &metadata()["deb"][named];
        let path = value.as_str().or_else(|| value[0].as_str()).unwrap();
        assert!(path.starts_with(STAGE) || project(path).exists(), "{named}: {path}");
    }
}

/// Apart from what the two systems have in different places.
#[test]
fn both_packages_hold_the_same() {
    const APART: [&str; 4] = ["zsh", "lintian", "licenses", "/systemd/"];
    let shared = |assets: Vec<Asset>| -> BTreeSet<Asset> {
        assets.into_iter().filter(|asset| !APART.iter().any(|part| asset.1.contains(part))).collect()
    };
    assert_eq!(shared(of_deb()), shared(of_rpm()));
}

#[test]
fn every_unit_is_packed_and_none_is_started_before_there_is_a_token() {
    let metadata = metadata();
    let units = metadata["deb"]["systemd-units"].as_array().unwrap();
    let packed: BTreeSet<&str> = units.iter().map(|unit| unit["unit-name"].as_str().unwrap()).collect();
    let shipped: BTreeSet<&str> = NAMES.iter().map(|name| name.split('.').next().unwrap()).collect();
    assert_eq!(packed, shipped);
    for unit in units {
        assert_eq!((&unit["enable"], &unit["start"]), (&Value::Bool(false), &Value::Bool(false)), "{unit}");
    }
    let script = metadata["generate-rpm"]["pre_uninstall_script"].as_str().unwrap();
    for name in ["truenorth.service", "truenorth-once.timer", "truenorth-pull.timer"] {
        assert!(script.contains(name) && NAMES.contains(&name), "{name}");
    }
}

/// The script replaces the one place of the binary that the units name.
#[test]
fn the_units_of_the_package_name_the_packages_binary_and_its_options() {
    let script = text("deploy/packages/build.sh");
    assert!(script.contains("'s|/usr/local/bin/|/usr/bin/|'"));
    for name in ["truenorth.service", "truenorth-once.service"] {
        let unit = Unit::read(name);
        assert!(unit.one("Service", "ExecStart").starts_with("/usr/local/bin/truenorth "), "{name}");
        assert!(unit.all("Service", "EnvironmentFile").contains(&"-/etc/default/truenorth"), "{name}");
    }
    let options = text("deploy/packages/truenorth.default");
    assert!(options.lines().all(|line| line.is_empty() || line.starts_with('#')), "an option is set for everybody");
    let installed: Vec<String> = of_deb().into_iter().map(|asset| asset.1).collect();
    assert!(installed.contains(&"/etc/default/truenorth".to_owned()), "{installed:?}");
}

#[test]
fn the_scripts_are_sound() {
    for script in ["deploy/packages/build.sh", "deploy/packages/try.sh", "deploy/packages/debian/postrm"] {
        let checked = Command::new("bash").arg("-n").arg(project(script)).output().unwrap();
        assert!(checked.status.success(), "{script}: {}", String::from_utf8_lossy(&checked.stderr));
    }
    assert!(text("deploy/packages/debian/postrm").contains("#DEBHELPER#"), "cargo-deb puts the units' part there");
}

/// So that a new version is not forgotten on a page.
#[test]
fn every_version_of_truenorth_that_is_named_is_this_one() {
    let version = Regex::new(r"truenorth(?::|_|-|.*[?]ref=v|.*newTag: )(\d+\.\d+\.\d+)").unwrap();
    let mut seen = 0;
    for page in [
        "deploy/Dockerfile",
        "deploy/README.md",
        "deploy/compose.yaml",
        "deploy/kubernetes.md",
        "deploy/kubernetes.yaml",
        "deploy/kustomize/README.md",
        "deploy/kustomize/base/deployment.yaml",
        "deploy/packages/README.md",
    ] {
        for found in version.captures_iter(&text(page)) {
            assert_eq!(&found[1], env!("CARGO_PKG_VERSION"), "{page}: {}", &found[0]);
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}
