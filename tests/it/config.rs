//! The config file, and what `truenorth config` shows of it.

use serde_json::Value;

use crate::support::{Api, Daemon, Ran, Workspace, manifest};

fn config_file(workspace: &Workspace, text: &str) -> String {
    let path = workspace.path().join("truenorth.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn holds(shown: &Value, option: &str) -> (Value, String) {
    let options = shown["options"].as_array().unwrap();
    let found = options.iter().find(|holds| holds["option"] == option).unwrap();
    (found["value"].clone(), found["from"].as_str().unwrap().to_owned())
}

#[test]
fn the_command_line_goes_before_the_environment_that_before_the_file_and_that_before_the_default() {
    let workspace = Workspace::new();
    let file = "concurrency: 3\nresync: 7s\nlog-level: warn\noutput: json\nallow: [shop, a/b]\n";
    let file = config_file(&workspace, file);
    let shown = |arguments: &[&str]| {
        let mut command = workspace.command(&["config", "--config", &file]);
        Ran::of(command.args(arguments).env("TRUENORTH_RESYNC", "9s")).exits(0).json()
    };
    let all = shown(&["--log-level", "debug"]);
    assert_eq!(holds(&all, "log-level"), ("debug".into(), "command-line".into()));
    assert_eq!(holds(&all, "resync"), ("9s".into(), "environment".into()));
    assert_eq!(holds(&all, "concurrency"), ("3".into(), "config".into()));
    assert_eq!(holds(&all, "allow"), ("shop, a/b".into(), "config".into()));
    assert_eq!(holds(&all, "drift"), ("report".into(), "default".into()));
}

#[test]
fn what_the_file_says_holds_for_every_command_that_has_the_option() {
    let workspace = Workspace::new();
    let other = workspace.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("web.yaml"), manifest("web", "1.27")).unwrap();
    let file = config_file(&workspace, "manifests: other\noutput: json\n");
    let ran = Ran::of(workspace.command(&["validate"]).env("TRUENORTH_CONFIG", &file)).exits(0).json();
    assert_eq!(ran["manifests"], 1, "{ran}");
}

#[test]
fn a_mistake_in_the_file_ends_every_command_with_its_place_before_anything_is_sent() {
    let workspace = Workspace::new();
    let file = config_file(&workspace, "concurency: 3\ndrift: [correct]\n");
    for arguments in [&["config"][..], &["plan"], &["--reconcile-once", "--sandbox"]] {
        let mut command = workspace.command(arguments);
        let ran = Ran::of(command.env("TRUENORTH_CONFIG", &file)).exits(78);
        for told in ["truenorth.yaml:1:1", "did you mean concurrency?", "truenorth.yaml:2:8", "found a list"] {
            assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
        }
        assert!(ran.stderr.contains("error: the config file has 2 problems"), "{}", ran.stderr);
    }
    let ran = workspace.run(&["config", "--config", "nowhere.yaml"]).exits(78);
    assert!(ran.stderr.contains("cannot read the config file nowhere.yaml"), "{}", ran.stderr);
}

#[test]
fn secrets_are_shown_by_name_only() {
    let workspace = Workspace::new();
    let mut command = workspace.command(&["config", "--api-url", "https://me:hunter2@example.com"]);
    let ran = Ran::of(command.env("NORTHFLANK_API_TOKEN", "nf-secret-token")).exits(0);
    assert!(!ran.stdout.contains("hunter2") && !ran.stdout.contains("nf-secret-token"), "{}", ran.stdout);
    assert!(ran.stdout.contains("NORTHFLANK_API_TOKEN"), "{}", ran.stdout);
}

#[test]
fn the_schema_of_the_file_takes_what_the_file_takes() {
    let workspace = Workspace::new();
    let schema = workspace.run(&["schema", "config"]).exits(0).json();
    jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("{error}"));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for (text, is_valid) in [
        ("concurrency: 3\ndrift: correct\nno-adopt: true\nallow: [shop]\nresync: 5m\n", true),
        ("concurency: 3\n", false),
        ("drift: corect\n", false),
        ("no-adopt: yes please\n", false),
    ] {
        let value: Value = serde_yaml::from_str(text).unwrap();
        assert_eq!(validator.is_valid(&value), is_valid, "{text}");
        let file = config_file(&workspace, text);
        workspace.run(&["config", "--config", &file]).exits(if is_valid { 0 } else { 78 });
    }
}

#[test]
fn an_error_about_a_value_of_the_file_names_the_file_and_the_line() {
    let workspace = Workspace::new();
    let config = "# a comment\napi-url: ftp://me:hunter2@x\ntoken-file: absent\nmanifests: nowhere\n";
    std::fs::write(workspace.path().join("c.yaml"), config).unwrap();
    let ran = workspace.run(&["--reconcile-once", "--config", "c.yaml"]).exits(78);
    let told = "error: the API's URL (c.yaml:2: api-url) has another scheme than https";
    assert!(ran.stderr.contains(told) && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: c.yaml:3: token-file names this file"), "{}", ran.stderr);
    let ran = workspace.run(&["validate", "--config", "c.yaml"]).exits(78);
    assert!(ran.stderr.contains("the manifests folder `nowhere` (c.yaml:4: manifests): No such"), "{}", ran.stderr);
    // What is typed goes before it, and is blamed for itself.
    let ran = workspace.run(&["validate", "--config", "c.yaml", "-m", "other"]).exits(78);
    assert!(ran.stderr.contains("`other` (--manifests): No such"), "{}", ran.stderr);
    let mut command = workspace.command(&["validate", "--config", "c.yaml"]);
    let ran = Ran::of(command.env("TRUENORTH_MANIFESTS", "third")).exits(78);
    assert!(ran.stderr.contains("`third` (TRUENORTH_MANIFESTS): No such"), "{}", ran.stderr);
}

#[test]
fn health_asks_where_the_file_says_that_the_daemon_listens() {
    let (api, workspace) = (Api::new(), Workspace::new());
    let daemon = Daemon::start(&workspace, &api, &[]);
    let config = format!("listen: {}\n", daemon.address());
    std::fs::write(workspace.path().join("c.yaml"), config).unwrap();
    workspace.run(&["health", "--config", "c.yaml"]).exits(0);
    workspace.run(&["--config", "c.yaml", "health"]).exits(0);
    Ran::of(workspace.command(&["health"]).env("TRUENORTH_CONFIG", "c.yaml")).exits(0);
    std::fs::write(workspace.path().join("c.yaml"), "listen: 127.0.0.1:1\n").unwrap();
    workspace.run(&["health", "--config", "c.yaml"]).exits(1);
}

#[test]
fn an_error_about_a_value_names_what_set_it_whichever_option_it_is_of() {
    let workspace = Workspace::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let blocked = workspace.path().join("a-file");
    std::fs::write(&blocked, "").unwrap();
    let blocked = blocked.to_str().unwrap().to_owned();
    for (option, variable, value, command) in [
        ("state-dir", "TRUENORTH_STATE_DIR", &blocked, &["plan"][..]),
        ("state-dir", "TRUENORTH_STATE_DIR", &blocked, &["status"]),
        ("state-dir", "TRUENORTH_STATE_DIR", &blocked, &["doctor"]),
        ("manifests", "TRUENORTH_MANIFESTS", &blocked, &["doctor"]),
        ("listen", "TRUENORTH_LISTEN", &taken, &["run", "--sandbox"]),
        ("listen", "TRUENORTH_LISTEN", &"off".to_owned(), &["health"]),
        ("manifests", "TRUENORTH_MANIFESTS", &blocked, &["init", "--sandbox", "--project", "shop"]),
    ] {
        let told = |ran: Ran, place: &str| {
            let told = ran.stdout.clone() + &ran.stderr;
            assert!(told.contains(place), "{command:?} does not name {place}: {told}");
        };
        told(Ran::of(workspace.command(command).env(variable, value)).exits(78), variable);
        std::fs::write(workspace.path().join("c.yaml"), format!("# Ours.\n{option}: \"{value}\"\n")).unwrap();
        let mut configured = workspace.command(command);
        let configured = configured.args(["--config", "c.yaml"]).env_remove(variable);
        told(Ran::of(configured).exits(78), &format!("c.yaml:2: {option}"));
    }
}

#[test]
fn a_ledger_folder_that_follows_from_a_variable_names_it() {
    let workspace = Workspace::new();
    std::fs::write(workspace.path().join("a-file"), "").unwrap();
    let mut command = workspace.command(&["plan"]);
    command.env_remove("TRUENORTH_STATE_DIR").env("STATE_DIRECTORY", "a-file");
    let ran = Ran::of(&mut command).exits(78);
    assert!(ran.stderr.contains("(STATE_DIRECTORY)"), "{}", ran.stderr);
    // What was typed needs no name.
    let ran = workspace.run(&["plan", "--state-dir", "a-file"]).exits(78);
    assert!(!ran.stderr.contains("DIRECTORY") && !ran.stderr.contains("HOME"), "{}", ran.stderr);
}
