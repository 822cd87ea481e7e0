//! The compose file: git-sync and truenorth on one volume.

use regex::Regex;
use serde_yaml::Value;

use crate::image;
use crate::support::{
    argument, assert_ours, assert_pinned, assert_swapped_link, at, documents, project, strings, text,
};

fn compose() -> Value {
    let mut all = documents("deploy/compose.yaml");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn services(compose: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let services = compose["services"].as_mapping().unwrap();
    services.iter().map(|(name, service)| (name.as_str().unwrap(), service))
}

#[test]
fn every_container_has_no_rights() {
    let compose = compose();
    assert_eq!(services(&compose).count(), 2);
    for (name, service) in services(&compose) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(strings(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        for key in ["ports", "privileged", "cap_add", "network_mode", "pid", "user", "devices"] {
            assert!(service.get(key).is_none(), "{name} has {key}");
        }
        assert_pinned(service["image"].as_str().unwrap());
    }
    assert_ours(at(&compose, "services.truenorth.image").as_str().unwrap());
}

#[test]
fn truenorth_reads_through_the_link_on_a_volume_that_it_cannot_write() {
    let compose = compose();
    let (git_sync, truenorth) = (at(&compose, "services.git-sync"), at(&compose, "services.truenorth"));
    assert_swapped_link(&strings(&git_sync["command"]), &strings(&truenorth["command"]));
    let root = argument(&strings(&git_sync["command"]), "--root").to_owned();
    assert_eq!(strings(&git_sync["volumes"]), [format!("git:{root}")]);
    let volumes = truenorth["volumes"].as_sequence().unwrap();
    let git = &volumes[0];
    assert_eq!((git["source"].as_str(), git["target"].as_str()), (Some("git"), Some(&*root)));
    assert_eq!(git["read_only"], true);
    assert_eq!(volumes[1].as_str(), Some(&*format!("state:{}", image::variable("TRUENORTH_STATE_DIR"))));
    for volume in ["git", "state"] {
        assert!(compose["volumes"].as_mapping().unwrap().contains_key(volume), "{volume}");
    }
    // The volume takes over the owner of the folder in the image that mounts it first.
    assert_eq!(strings(&truenorth["depends_on"]), ["git-sync"]);
}

#[test]
fn the_token_is_a_file_that_only_truenorth_gets() {
    let compose = compose();
    let secrets: Vec<&str> =
        compose["secrets"].as_mapping().unwrap().keys().map(|name| name.as_str().unwrap()).collect();
    let [secret] = secrets[..] else { panic!("{secrets:?}") };
    let truenorth = at(&compose, "services.truenorth");
    assert_eq!(strings(&truenorth["secrets"]), [secret]);
    assert_eq!(argument(&strings(&truenorth["command"]), "--token-file"), format!("/run/secrets/{secret}"));
    assert!(at(&compose, "services.git-sync.secrets").is_null());
    assert!(services(&compose).all(|(_, service)| service.get("environment").is_none()));
    // Neither in the image nor in a commit.
    let file = at(&compose, &format!("secrets.{secret}.file")).as_str().unwrap();
    let ignored = std::fs::read_to_string(project("deploy/.gitignore")).unwrap();
    let name = file.strip_prefix("./").unwrap();
    assert_eq!(ignored.lines().collect::<Vec<_>>(), [&*format!("/{name}"), "/.env"]);
    assert!(text("deploy/compose.md").contains(&format!("install -m 0400 -o {} /dev/stdin {name} ", image::user())));
}

/// Compose reads the whole file for each of its commands, `logs` and `down` too, so what has no default is in `.env`.
#[test]
fn every_variable_is_in_the_example_of_env_or_has_a_default() {
    let variable = Regex::new(r"\$\{([A-Z_]+)(:[-?])?").unwrap();
    let (compose, example) = (text("deploy/compose.yaml"), text("deploy/.env.example"));
    let mut seen = 0;
    for found in variable.captures_iter(&compose) {
        let given = example.lines().any(|line| line.starts_with(&format!("{}=", &found[1])));
        assert!(given && found.get(2).is_some(), "{}", &found[0]);
        seen += 1;
    }
    assert!(seen >= 2);
    // The page copies it before the first command of Compose, and no command sets a variable of its own.
    let page = text("deploy/compose.md");
    assert!(page.find("cp .env.example .env").unwrap() < page.find("docker compose up").unwrap());
    let commands = page.lines().filter(|line| line.contains("docker compose ") && !line.contains('`'));
    for command in commands {
        assert!(command.starts_with("docker compose "), "{command}");
    }
}

#[test]
fn it_builds_from_the_dockerfile_and_ends_in_time() {
    let compose = compose();
    let build = at(&compose, "services.truenorth.build");
    let context = project("deploy").join(build["context"].as_str().unwrap());
    assert!(context.join(build["dockerfile"].as_str().unwrap()).is_file());
    assert!(context.join("Cargo.toml").is_file());
    assert_eq!(at(&compose, "services.truenorth.stop_grace_period").as_str(), Some("30s"), "above the 20 s of grace");
}
