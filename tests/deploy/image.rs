//! The Dockerfile: what its stages are made from, what it copies, as whom it runs.

use std::process::Command;

use regex::Regex;

use crate::support::{assert_pinned, project, text};

/// A C library of the build that is newer than that of the image would not start.
const SAME_DEBIAN: [(&str, &str); 2] = [("trixie", "debian13"), ("bookworm", "debian12")];

/// The Dockerfile's instructions, in upper case, with their arguments; continued lines are joined.
pub(crate) fn instructions() -> Vec<(String, String)> {
    let text = text("deploy/Dockerfile");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let instruction = |line: &str| {
        let (name, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    joined.lines().map(instruction).collect()
}

/// What the image gives to a variable.
#[track_caller]
pub(crate) fn variable(name: &str) -> String {
    let given = instructions().into_iter().filter(|(instruction, _)| instruction == "ENV");
    let all: Vec<String> =
        given.flat_map(|(_, pairs)| pairs.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    let value = |pair: &String| Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned());
    all.iter().find_map(value).unwrap_or_else(|| panic!("no {name} in {all:?}"))
}

/// The user of the last stage.
pub(crate) fn user() -> u32 {
    let last = instructions().into_iter().rev().find(|(name, _)| name == "USER").unwrap().1;
    let id = last.split(':').next().unwrap();
    id.parse().unwrap_or_else(|_| panic!("USER {last} is no number"))
}

/// Base images by stage.
fn bases() -> Vec<String> {
    let froms = instructions().into_iter().filter(|(name, _)| name == "FROM");
    froms.map(|(_, base)| base.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn the_stages_are_pinned_and_fit_together() {
    let bases = bases();
    bases.iter().for_each(|base| assert_pinned(base));
    let [build, last] = &bases[..] else { panic!("{bases:?}") };
    let rust = format!("rust:{}-", env!("CARGO_PKG_RUST_VERSION"));
    assert!(build.starts_with(&rust), "`{build}` is not of rust-version, `{rust}`");
    assert!(
        SAME_DEBIAN.iter().any(|(release, number)| build.ends_with(release) && last.contains(number)),
        "{build} and {last} have different C libraries"
    );
}

#[test]
fn it_runs_as_a_number_that_is_not_root_and_owns_its_state_folder() {
    assert_ne!(user(), 0);
    let state = variable("TRUENORTH_STATE_DIR");
    let all = instructions();
    let owned = format!("--from=build --chown={0}:{0} ", user());
    assert!(all.iter().any(|(name, rest)| name == "COPY" && rest.starts_with(&owned) && rest.ends_with(&state)));
    assert!(all.contains(&("VOLUME".to_owned(), format!("[\"{state}\"]"))));
    // In the form that starts no shell: there is none.
    assert!(all.contains(&("ENTRYPOINT".to_owned(), "[\"/usr/local/bin/truenorth\"]".to_owned())));
}

#[test]
fn what_is_copied_from_the_build_is_made_there() {
    let all = instructions();
    let made = &all.iter().find(|(name, _)| name == "RUN").unwrap().1;
    let mut copied = 0;
    for (_, arguments) in all.iter().filter(|(name, rest)| name == "COPY" && rest.contains("--from=build")) {
        let paths: Vec<&str> = arguments.split(' ').filter(|argument| !argument.starts_with("--")).collect();
        let [from, _] = paths[..] else { panic!("COPY {arguments}") };
        assert!(made.split(' ').any(|word| word == from), "{from} is not made by: {made}");
        copied += 1;
    }
    assert_eq!(copied, 2);
}

/// The ignore file lets in what is named, and the rest of the checkout stays out. Cargo has to be content with that.
#[test]
fn what_goes_into_the_build_is_what_cargo_needs() {
    let ignore = text("deploy/Dockerfile.dockerignore");
    let rules: Vec<&str> = ignore.lines().filter(|line| !line.starts_with('#')).collect();
    let (first, allowed) = rules.split_first().unwrap();
    assert_eq!(*first, "*");
    assert!(allowed.contains(&"!Cargo.lock"), "the build is --locked");
    let context = tempfile::tempdir().unwrap();
    for rule in allowed {
        let name = rule.strip_prefix('!').unwrap_or_else(|| panic!("{rule} lets nothing in"));
        // Benches are named in Cargo.toml as soon as there are any.
        let copied = Command::new("cp").args(["-r", "--"]).arg(project(name)).arg(context.path()).output().unwrap();
        assert!(copied.status.success() || name == "benches", "{copied:?}");
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--offline", "--locked", "--no-deps", "--format-version=1"]).current_dir(context.path());
    let read = cargo.output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}

/// What the sources take in when they are compiled must be among the sources.
#[test]
fn sources_include_nothing_from_outside() {
    let including =
        Command::new("grep").args(["-rnE", r"include_(str|bytes)!\("]).arg(project("src")).output().unwrap();
    let including = String::from_utf8(including.stdout).unwrap();
    let outside = Regex::new(r#"!\((?:"\.\./\.\.|concat!|env!)"#).unwrap();
    let found: Vec<&str> =
        including.lines().filter(|line| outside.is_match(line) && !line.contains("/tests")).collect();
    assert!(!including.is_empty() && found.is_empty(), "let in by Dockerfile.dockerignore? {found:#?}");
}

#[test]
fn the_label_has_the_version() {
    let label = concat!("org.opencontainers.image.version=\"", env!("CARGO_PKG_VERSION"), "\"");
    assert!(text("deploy/Dockerfile").contains(label), "no {label}");
    let tag = concat!("--tag truenorth:", env!("CARGO_PKG_VERSION"), " ");
    assert!(text("deploy/Dockerfile").contains(tag), "no {tag}");
}
