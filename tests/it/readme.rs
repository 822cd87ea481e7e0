//! Every command of the README is run, and prints what the README shows.
//!
//! Each ```` ```sh ```` block is run by bash with `-e`, the blocks of a section one after another in one folder that was
//! empty at first. A ```` ```text ```` block right after it is what it has to print on stdout.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Ran, hidden};

/// Lines that are not run here: the first builds and tests this project once more, the second would install it.
const SKIPPED: [&str; 2] = ["cargo test", "cargo install --locked --path ."];

/// How the README runs the program before it is installed. Such a line is run at the top of the repository.
const UNINSTALLED: &str = "cargo run --release -- ";

/// A ```` ```sh ```` block and what follows it.
struct Block {
    section: String,
    line: usize,
    script: String,
    printed: Option<String>,
}

#[test]
fn every_command_prints_what_the_readme_shows() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let blocks = blocks(&std::fs::read_to_string(top.join("README.md")).unwrap());
    let mut folder: Option<(String, TempDir)> = None;
    let (mut run, mut compared) = (0, 0);
    for Block { section, line, script, printed } in blocks {
        let folder = match &folder {
            Some((of, folder)) if *of == section => folder.path().to_owned(),
            _ => {
                let new = TempDir::with_prefix("truenorth-readme-").unwrap();
                let path = new.path().to_owned();
                folder = Some((section.clone(), new));
                path
            }
        };
        let Some(script) = runnable(&script, top) else { continue };
        let ran = bash(&script, &folder);
        assert_eq!(ran.code, Some(0), "README.md:{line} ({section}): {ran:#?}");
        run += 1;
        if let Some(printed) = printed {
            assert_eq!(hidden(&ran.stdout), printed, "README.md:{line} ({section})");
            compared += 1;
        }
    }
    assert!(run >= 6 && compared >= 5, "{run} blocks were run, {compared} compared");
}

/// What of a script is run here; nothing where nothing is left.
fn runnable(script: &str, top: &Path) -> Option<String> {
    let lines: Vec<String> = script
        .lines()
        .filter(|line| !SKIPPED.contains(line))
        .map(|line| match line.strip_prefix(UNINSTALLED) {
            Some(arguments) => format!("(cd '{}' && truenorth {arguments})", top.display()),
            None => line.to_owned(),
        })
        .collect();
    let left = lines.join("\n");
    assert!(!left.contains("cargo "), "this would run cargo within cargo: {left}");
    (!left.trim().is_empty()).then_some(left)
}

fn bash(script: &str, folder: &Path) -> Ran {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_truenorth"));
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", binary.parent().unwrap().display());
    let mut command = Command::new("bash");
    command.args(["-e", "-o", "pipefail", "-c", script]).current_dir(folder);
    command.env_clear().env("PATH", path).env("HOME", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ran::of(&mut command)
}

fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut section = String::new();
    let mut lines = readme.lines().zip(1..);
    // The last block, while nothing but its end has been seen since.
    let mut just_ended = false;
    while let Some((text, line)) = lines.next() {
        if let Some(title) = text.strip_prefix("## ") {
            section = title.to_owned();
        }
        let Some(language) = text.strip_prefix("```") else {
            just_ended = just_ended && text.is_empty();
            continue;
        };
        let body: String = lines
            .by_ref()
            .map(|(text, _)| text)
            .take_while(|text| *text != "```")
            .map(|text| format!("{text}\n"))
            .collect();
        match (language, blocks.last_mut()) {
            ("sh", _) => blocks.push(Block { section: section.clone(), line, script: body, printed: None }),
            ("text", Some(before)) if just_ended => before.printed = Some(body),
            _ => {}
        }
        just_ended = language == "sh";
    }
    blocks
}
