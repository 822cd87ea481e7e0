//! The Dockerfile: what its stages are made from, what it copies, as whom it runs.

use std::process::Command;

use regex::Regex;

use crate::support::{assert_pinned, project, text};

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

/// What starts in an empty image was linked statically, as Rust does where musl is the system's own.
#[test]
fn the_build_is_pinned_and_linked_statically_into_an_empty_image() {
    let bases = bases();
    let [build, last] = &bases[..] else { panic!("{bases:?}") };
    assert_pinned(build);
    let rust = format!("rust:{}-alpine", env!("CARGO_PKG_RUST_VERSION"));
    assert!(build.starts_with(&rust), "`{build}` is not of rust-version, `{rust}`");
    assert_eq!(last, "scratch");
}

/// SQLite, mimalloc and ring are C, wherever truenorth is built to be given away.
#[test]
fn the_parts_in_c_have_a_canary_on_the_stack_and_checked_copies() {
    const FLAGS: &str = "-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2";
    let all = instructions();
    assert!(all.contains(&("ENV".to_owned(), format!("CFLAGS=\"{FLAGS}\""))), "{all:?}");
    assert!(all.iter().any(|(name, rest)| name == "RUN" && rest.contains(" fortify-headers ")), "musl has none itself");
    assert!(text(".github/workflows/release.yml").contains(&format!("  CFLAGS: {FLAGS}\n")));
    assert!(text("systemd/README.md").contains(&format!("export CFLAGS='{FLAGS}'")));
}

/// What an empty image lacks and truenorth needs.
#[test]
fn the_image_has_certificates_time_zones_and_a_bound_on_its_size() {
    let all = instructions();
    let runs: Vec<&str> = all.iter().filter(|(name, _)| name == "RUN").map(|(_, rest)| &**rest).collect();
    let [packages, build] = runs[..] else { panic!("{runs:?}") };
    assert!(packages.split(' ').any(|word| word == "ca-certificates"), "{packages}");
    // The time zones are in the program.
    let jiff = text("Cargo.toml").lines().find(|line| line.starts_with("jiff = ")).unwrap().to_owned();
    assert!(jiff.contains("\"tzdb-bundle-always\""), "{jiff}");
    // Where rustls looks, and SQLite.
    for path in ["/out/etc/ssl/certs/ca-certificates.crt", "/out/tmp"] {
        assert!(build.split(' ').any(|word| word == path), "{path}");
    }
    let limit = Regex::new(r#"test "\$\(du -sk /out \| cut -f1\)" -le (\d+)$"#).unwrap();
    let limit = limit.captures(build).unwrap_or_else(|| panic!("{build}"));
    assert_eq!(limit[1].parse(), Ok(20 * 1024));
}

/// In the form that starts no shell, and with nothing that it would need beside the daemon's own variables.
#[test]
fn its_health_check_is_a_command_that_there_is() {
    let all = instructions();
    let check = &all.iter().find(|(name, _)| name == "HEALTHCHECK").unwrap().1;
    assert!(check.ends_with(r#"CMD ["/usr/local/bin/truenorth", "health"]"#), "{check}");
    let help = Command::new(env!("CARGO_BIN_EXE_truenorth")).args(["health", "--help"]).output().unwrap();
    assert!(help.status.success());
}

#[test]
fn it_runs_as_a_number_that_is_not_root_and_owns_its_state_folder() {
    assert_ne!(user(), 0);
    let state = variable("TRUENORTH_STATE_DIR");
    let all = instructions();
    let owned = format!("--from=build --chown={0}:{0} ", user());
    assert!(all.contains(&("COPY".to_owned(), format!("{owned}/owned/ /"))), "{all:?}");
    let made =
        all.iter().any(|(name, rest)| name == "RUN" && rest.contains(&format!("install -d -m 0700 /owned{state} ")));
    assert!(made, "{all:?}");
    assert!(all.contains(&("VOLUME".to_owned(), format!("[\"{state}\"]"))));
    // In the form that starts no shell: there is none.
    assert!(all.contains(&("ENTRYPOINT".to_owned(), "[\"/usr/local/bin/truenorth\"]".to_owned())));
}

#[test]
fn what_is_copied_from_the_build_is_made_there() {
    let all = instructions();
    let made: Vec<&str> =
        all.iter().filter(|(name, _)| name == "RUN").flat_map(|(_, script)| script.split(' ')).collect();
    let mut copied = 0;
    for (_, arguments) in all.iter().filter(|(name, rest)| name == "COPY" && rest.contains("--from=build")) {
        let paths: Vec<&str> = arguments.split(' ').filter(|argument| !argument.starts_with("--")).collect();
        let [from, to] = paths[..] else { panic!("COPY {arguments}") };
        // Of a folder that is copied itself, as /tmp, the mode would be lost.
        assert_eq!((from.ends_with('/'), to), (true, "/"), "COPY {arguments}");
        assert!(made.iter().any(|word| word.starts_with(from)), "{from} is not made by: {made:?}");
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

/// What the sources take in when they are compiled is among them, or let in beside them.
#[test]
fn what_sources_include_from_outside_is_let_in() {
    let including =
        Command::new("grep").args(["-rnE", r"include_(str|bytes)!\("]).arg(project("src")).output().unwrap();
    let including = String::from_utf8(including.stdout).unwrap();
    let ignore = text("deploy/Dockerfile.dockerignore");
    let allowed: Vec<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let outside = Regex::new(r#"!\((?:"(?:\.\./)+(?P<path>[^"]*)"|concat!|env!)"#).unwrap();
    let is_let_in = |line: &str| match outside.captures(line).map(|found| found.name("path").map(|path| path.as_str()))
    {
        None => true,
        Some(path) => path.is_some_and(|path| allowed.iter().any(|allowed| path.starts_with(allowed))),
    };
    let found: Vec<&str> = including.lines().filter(|line| !line.contains("/tests") && !is_let_in(line)).collect();
    assert!(!including.is_empty() && found.is_empty(), "let in by Dockerfile.dockerignore? {found:#?}");
}

#[test]
fn the_label_has_the_version() {
    let label = concat!("org.opencontainers.image.version=\"", env!("CARGO_PKG_VERSION"), "\"");
    assert!(text("deploy/Dockerfile").contains(label), "no {label}");
    let tag = concat!("--tag truenorth:", env!("CARGO_PKG_VERSION"), " ");
    assert!(text("deploy/Dockerfile").contains(tag), "no {tag}");
}
