//! Every command of the README is run, and prints what the README shows; and its runbook and its lines are as they are
//! to be. The same for the README of the example of several stages.
//!
//! Each ```` ```sh ```` block is run by bash with `-e`, the blocks of a section one after another in one folder that was
//! empty at first. One with a name beside it, as ```` ```sh daemon ````, is a terminal of its own, in which a program goes on
//! until the next block of that name, or the end of the section. A ```` ```text ```` block right after it is what it has to print on stdout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex::Regex;
use rustix::process::Signal;
use tempfile::TempDir;
use truenorth::model::ServiceState;

use crate::support::{Ran, Running, eventually, hidden};

/// Lines that are not run here: the first builds and tests this project once more, the second would install it.
const SKIPPED: [&str; 2] = ["cargo test", "cargo install --locked --path ."];

/// How the README runs the program before it is installed. Such a line is run at the top of the repository.
const UNINSTALLED: &str = "cargo run --release -- ";

/// A ```` ```sh ```` block and what follows it.
struct Block {
    section: String,
    line: usize,
    /// The terminal in which it goes on.
    terminal: Option<String>,
    script: String,
    printed: Option<String>,
}

#[test]
fn every_command_prints_what_the_readme_shows() {
    let (run, compared) = run("README.md", None);
    assert!(run >= 6 && compared >= 5, "{run} blocks were run, {compared} compared");
}

#[test]
fn every_command_of_the_example_of_stages_prints_what_its_readme_shows() {
    let envsubst = Command::new("envsubst").arg("--version").stdout(Stdio::null()).status();
    if envsubst.is_err() {
        return println!("skipped: no envsubst here");
    }
    let example = "examples/environments";
    let (run, compared) = run(&format!("{example}/README.md"), Some(example));
    assert_eq!((run, compared), (2, 0));
}

/// Each state is told there, with what to do about it.
#[test]
fn the_runbook_has_every_state() {
    let readme = text("README.md");
    let runbook = readme.split("\n## ").find(|section| section.starts_with("Runbook\n")).unwrap();
    for state in ServiceState::ALL {
        assert!(runbook.contains(&format!("\n- **`{state}`**: ")), "the runbook has no `{state}`");
    }
}

/// As it is read: without the addresses of links and the marks of code.
#[test]
fn no_line_of_the_readme_is_wider_than_120_columns() {
    let link = Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap();
    for (line, number) in text("README.md").lines().zip(1..) {
        let shown = link.replace_all(line, "$1").replace(['`', '*'], "");
        let width = shown.chars().count();
        assert!(width <= 120, "README.md:{number} has {width} columns: {shown}");
    }
}

/// Files and folders; for a part of a page, its heading.
#[test]
fn every_link_to_a_page_leads_to_one() {
    let link = Regex::new(r"\]\(([^):#]*)(?:#([^)]*))?\)").unwrap();
    let mut seen = 0;
    for page in pages() {
        let folder = page.parent().unwrap();
        for found in link.captures_iter(&std::fs::read_to_string(&page).unwrap()) {
            let target = if found[1].is_empty() { page.clone() } else { folder.join(&found[1]) };
            assert!(target.exists(), "{}: {}", page.display(), &found[0]);
            if let Some(part) = found.get(2) {
                let headings = std::fs::read_to_string(&target).unwrap();
                let anchor = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                let is_there = headings.lines().any(|line| line.starts_with('#') && anchor(line) == part.as_str());
                assert!(is_there, "{}: {}", page.display(), &found[0]);
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// The README and the pages beside the files that are shipped.
fn pages() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![top.join("README.md")];
    let mut folders: Vec<PathBuf> = ["deploy", "examples", "systemd"].map(|name| top.join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Runs the blocks of a file, each section in a new folder or in a copy of this one that is a git checkout. Gives how many
/// were run, and how many were compared with what the file shows.
#[track_caller]
fn run(path: &str, copied: Option<&str>) -> (usize, usize) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folder: Option<(String, TempDir)> = None;
    let (mut run, mut compared) = (0, 0);
    let mut terminals = Terminals::default();
    for Block { section, line, terminal, script, printed } in blocks(&text(path)) {
        let folder = match &folder {
            Some((of, folder)) if *of == section => folder.path().to_owned(),
            _ => {
                terminals = Terminals::default();
                let new = TempDir::with_prefix("truenorth-readme-").unwrap();
                let path = new.path().to_owned();
                if let Some(from) = copied {
                    let commit = "git init --quiet . && git add --all && git -c user.name=a -c user.email=a@b commit --quiet -m a";
                    let script = format!("cp -r '{}/.' . && {commit}", top.join(from).display());
                    assert_eq!(bash(&script, &path).code, Some(0));
                }
                folder = Some((section.clone(), new));
                path
            }
        };
        let Some(script) = runnable(&script, top) else { continue };
        let script = terminals.placed(&script);
        if let Some(name) = terminal {
            terminals.start(&name, &script, &folder);
            run += 1;
            continue;
        }
        let ran = bash(&script, &folder);
        assert_eq!(ran.code, Some(0), "{path}:{line} ({section}): {ran:#?}");
        run += 1;
        if let Some(printed) = printed {
            assert_eq!(hidden(&ran.stdout), hidden(&printed), "{path}:{line} ({section})");
            compared += 1;
        }
    }
    (run, compared)
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

/// Where the README has the stand-in listen. Here it is a free port.
const SANDBOX: &str = "127.0.0.1:9096";

/// Programs that go on, by the names of their terminals.
#[derive(Default)]
struct Terminals {
    running: BTreeMap<String, Running>,
    sandbox: Option<String>,
}

impl Terminals {
    /// Ends what ran in a terminal before, as Ctrl-C does, and starts the next.
    fn start(&mut self, name: &str, script: &str, folder: &Path) {
        if let Some(before) = self.running.remove(name) {
            before.signal(Signal::INT);
            before.ended();
        }
        let listen = self.sandbox.clone().unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let mut command = bash_command(&format!("exec {script}"), folder);
        command.env("TRUENORTH_SANDBOX_LISTEN", listen).env("TRUENORTH_LISTEN", "127.0.0.1:0");
        let running = Running::start(&mut command);
        if name == "sandbox" {
            eventually("the stand-in says where it listens", || running.stdout().ends_with('\n'));
            self.sandbox = running.stdout().trim().strip_prefix("http://").map(str::to_owned);
        }
        self.running.insert(name.to_owned(), running);
    }

    fn placed(&self, script: &str) -> String {
        script.replace(SANDBOX, self.sandbox.as_deref().unwrap_or(SANDBOX))
    }
}

fn bash(script: &str, folder: &Path) -> Ran {
    Ran::of(&mut bash_command(script, folder))
}

fn bash_command(script: &str, folder: &Path) -> Command {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_truenorth"));
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", binary.parent().unwrap().display());
    let mut command = Command::new("bash");
    command.args(["-e", "-o", "pipefail", "-c", script]).current_dir(folder);
    command.env_clear().env("PATH", path).env("HOME", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
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
            (sh, _) if sh == "sh" || sh.starts_with("sh ") => {
                let terminal = sh.strip_prefix("sh ").map(str::to_owned);
                blocks.push(Block { section: section.clone(), line, terminal, script: body, printed: None });
            }
            ("text", Some(before)) if just_ended => before.printed = Some(body),
            _ => {}
        }
        just_ended = language == "sh";
    }
    blocks
}
