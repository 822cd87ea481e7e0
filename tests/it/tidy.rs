//! What the modules may know of each other and of the world.

use std::path::{Path, PathBuf};

/// Modules from the top down: each may use those below it, and not those above.
const LAYERS: [&str; 16] = [
    "cli",
    "import",
    "daemon",
    "pass",
    "web",
    "views",
    "runner",
    "sandbox",
    "ledger",
    "northflank",
    "source",
    "engine",
    "plan",
    "manifest",
    "model",
    "text",
];

/// Modules without I/O, clock and random numbers.
const PURE: [&str; 5] = ["text", "model", "manifest", "plan", "engine"];

/// What these must not name.
const IMPURE: [&str; 14] = [
    "tokio",
    "reqwest",
    "notify::",
    "std::fs",
    "std::env",
    "std::net",
    "std::thread",
    "std::process",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "fastrand",
    "async fn",
];

fn sources(module: &str) -> Vec<(PathBuf, String)> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(module), &mut found);
    assert!(!found.is_empty(), "no sources in {module}");
    let is_test =
        |path: &PathBuf| path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
    found.retain(|path| !is_test(path));
    found.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The lines that are code, without tests at the end of a file.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]").filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn pure_modules_name_no_clock_disk_network_or_chance() {
    for module in PURE {
        for (path, text) in sources(module) {
            for line in code(&text) {
                for word in IMPURE {
                    assert!(!line.contains(word), "{} names {word}: {line}", path.display());
                }
            }
        }
    }
}

#[test]
fn arrows_point_down() {
    for (layer, module) in LAYERS.iter().enumerate() {
        for (path, text) in sources(module) {
            for line in code(&text) {
                for above in &LAYERS[..layer] {
                    assert!(!line.contains(&format!("crate::{above}")), "{} uses {above}: {line}", path.display());
                }
            }
        }
    }
}

#[test]
fn the_sandbox_and_the_validator_share_nothing() {
    for (path, text) in sources("sandbox") {
        for line in code(&text) {
            for module in ["manifest", "plan", "engine", "source", "ledger", "model"] {
                assert!(!line.contains(&format!("crate::{module}")), "{} uses {module}: {line}", path.display());
            }
        }
    }
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for module in LAYERS {
        for (path, text) in sources(module) {
            assert!(text.starts_with("//!"), "{} has no module documentation", path.display());
        }
    }
}

#[test]
fn every_dependency_comes_from_crates_io_and_none_is_banned() {
    let lock = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let values = |key: &str| {
        let start = format!("{key} = \"");
        lock.lines()
            .filter_map(|line| line.strip_prefix(&start)?.strip_suffix('"'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (names, sources) = (values("name"), values("source"));
    let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
    assert!(sources.iter().all(|source| source == crates_io), "another source than crates.io");
    assert_eq!(names.len(), sources.len() + 1, "a package without a source, beside truenorth itself");
    // As deny.toml has them.
    for banned in ["aws-lc-sys", "openssl-sys", "native-tls"] {
        assert!(!names.iter().any(|name| name == banned), "{banned}");
    }
}

#[test]
fn text_is_made_printable_in_one_place() {
    for module in LAYERS.into_iter().filter(|module| *module != "text") {
        for (path, text) in sources(module) {
            for line in code(&text) {
                assert!(!line.contains(".escape_"), "{} has an escape of its own: {line}", path.display());
            }
        }
    }
}

#[test]
fn the_face_of_the_ledger_names_no_database() {
    for (path, text) in sources("ledger") {
        let is_face = ["mod.rs", "reader.rs", "records.rs", "error.rs", "decisions.rs", "shown.rs"];
        if path.parent().is_some_and(|folder| folder.ends_with("ledger"))
            && is_face.iter().any(|name| path.ends_with(name))
        {
            assert!(code(&text).all(|line| !line.contains("rusqlite")), "{} names SQLite", path.display());
        }
    }
}
