//! A folder of manifests, a state folder and the binary; and a sandbox beside the test.

mod api;
mod daemon;
mod git;
mod ran;
mod report;
mod systemd;
mod terminal;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) use api::{Api, tag, tag_of, tags};
pub(crate) use daemon::Daemon;
pub(crate) use git::git;
pub(crate) use ran::{Ran, Running};
pub(crate) use report::{hidden, outcome};
pub(crate) use systemd::Systemd;
pub(crate) use terminal::{Terminal, last_picture, plain};

/// The token that every command gets, and that nothing may show.
pub(crate) const TOKEN: &str = "nf-planted-9f3b7c1d5e";

/// How long anything may take that is sure to come. Only a failing test waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long the commands wait for an answer. Also how long they wait before they settle a call that got none, so that
/// the default would make every test of that take half a minute.
const REQUEST_TIMEOUT: &str = "5s";

/// The same where calls are left without an answer again and again, so that each is settled soon.
pub(crate) const SETTLING: &str = "2s";

/// How the names of test folders begin.
const PREFIX: &str = "truenorth-test-";

/// A new folder with `manifests/` and room for `state/`.
pub(crate) struct Workspace {
    folder: TempDir,
    begins: Begins,
    waits: Waits,
}

/// Whether passes wait until what they sent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// They end when it is accepted: what most tests are about.
    ForAcceptance,
    ForRollouts,
}

/// How the commands begin with a service that the ledger does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    Reading,
    Sending,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        Self::of(TempDir::with_prefix(PREFIX).unwrap())
    }

    /// In memory, where the machine offers that: for tests that write thousands of files.
    pub(crate) fn in_memory() -> Self {
        Self::of(TempDir::with_prefix_in(PREFIX, "/dev/shm").or_else(|_| TempDir::with_prefix(PREFIX)).unwrap())
    }

    fn of(folder: TempDir) -> Self {
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        Self { folder, begins: Begins::Reading, waits: Waits::ForAcceptance }
    }

    /// The same, where commands send to services that the ledger does not know without reading them first: for tests of
    /// the update call, which are then not in the way of the other.
    pub(crate) fn sending() -> Self {
        Self { begins: Begins::Sending, ..Self::new() }
    }

    /// The same, where passes wait for rollouts, as they do for users.
    pub(crate) fn waiting() -> Self {
        Self { waits: Waits::ForRollouts, ..Self::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.path().join("manifests")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Writes a file under `manifests/`, by a rename, so that no reader sees half of it.
    pub(crate) fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.manifests().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let half = self.path().join("half-written");
        std::fs::write(&half, content).unwrap();
        std::fs::rename(half, path).unwrap();
    }

    /// Takes a file under `manifests/` away.
    pub(crate) fn remove(&self, file: &str) {
        std::fs::remove_file(self.manifests().join(file)).unwrap();
    }

    /// Writes a manifest of `shop/<service>` with an image of this tag.
    pub(crate) fn service(&self, service: &str, tag: &str) {
        self.write(&format!("{service}.yaml"), manifest(service, tag));
    }

    /// The binary with these arguments, in this folder, with an environment of its own.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_truenorth"));
        command.args(arguments).current_dir(self.path()).env_clear();
        command.env("HOME", self.path()).env("NORTHFLANK_API_TOKEN", TOKEN).env("TRUENORTH_STATE_DIR", self.state());
        command.env("TRUENORTH_REQUEST_TIMEOUT", REQUEST_TIMEOUT);
        if self.begins == Begins::Sending {
            command.env("TRUENORTH_NO_ADOPT", "1");
        }
        if self.waits == Waits::ForAcceptance {
            command.env("TRUENORTH_NO_WAIT", "1");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// `--reconcile-once` against a sandbox, with JSON on stdout.
    pub(crate) fn once(&self, api: &Api, more: &[&str]) -> Ran {
        Ran::of(&mut self.once_command(api, more))
    }

    /// The same, not started yet.
    pub(crate) fn once_command(&self, api: &Api, more: &[&str]) -> Command {
        self.command(&[&["--reconcile-once", "--output", "json", "--api-url", &api.url()], more].concat())
    }

    /// `plan` with JSON on stdout.
    pub(crate) fn plan(&self) -> Ran {
        self.run(&["plan", "--output", "json"])
    }

    /// What a command printed, with words for where the API and the ledger are.
    pub(crate) fn placed(&self, printed: &str, api: &Api) -> String {
        printed.replace(&api.url(), "URL").replace(&*self.state().to_string_lossy(), "STATE")
    }

    /// Every file and folder below, by its path from here, with the content of files; without the plans that people were
    /// shown, which `plan` keeps.
    pub(crate) fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut contents = contents(self.path());
        contents.retain(|(path, _)| !path.ends_with("ledger.plans"));
        contents
    }
}

/// Every file and folder below a folder, by its path from there, with the content of files.
pub(crate) fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let content = if kind.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            found.push((path.strip_prefix(folder).unwrap().to_owned(), content));
            if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A manifest of `shop/<service>` with an image of this tag.
pub(crate) fn manifest(service: &str, tag: &str) -> String {
    let mut text = String::from("apiVersion: truenorth/v1\nkind: ServiceDeployment\n");
    let _ = write!(text, "metadata:\n  projectId: shop\n  serviceId: {service}\n");
    let _ = write!(text, "spec:\n  external:\n    imagePath: ghcr.io/acme/{service}:{tag}\n");
    text
}

/// A number from the environment.
pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Where the random choices of a test begin: `TRUENORTH_SEED`, else 1. A test that fails shows it.
#[allow(clippy::print_stdout, reason = "so that a failure can be had again")]
pub(crate) fn seed() -> u64 {
    let seed = number("TRUENORTH_SEED").unwrap_or(1);
    println!("TRUENORTH_SEED={seed}");
    seed
}

/// Lets a time pass, or less where `over` becomes true.
pub(crate) fn pass(time: Duration, mut over: impl FnMut() -> bool) {
    let (_keep, nothing) = mpsc::channel::<()>();
    let until = Instant::now() + time;
    while !over() && Instant::now() < until {
        let left = until.saturating_duration_since(Instant::now());
        let _ = nothing.recv_timeout(left.min(Duration::from_millis(1)));
    }
}

/// Waits until a condition holds that is sure to.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(PATIENCE, condition), "waited in vain: {what}");
}

/// Whether a condition comes to hold in this time.
pub(crate) fn holds_within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + time;
    while !condition() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    true
}
