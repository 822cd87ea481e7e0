//! A folder of manifests, a state folder and the binary; and a sandbox beside the test.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use truenorth::sandbox::{Options, Sandbox, World};

/// The token that every command gets, and that nothing may show.
pub const TOKEN: &str = "nf-planted-9f3b7c1d5e";

/// A new folder with `manifests/` and room for `state/`.
pub struct Workspace {
    folder: TempDir,
}

impl Workspace {
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("truenorth-test-").unwrap();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn manifests(&self) -> PathBuf {
        self.path().join("manifests")
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Writes a file under `manifests/`, by a rename, so that no reader sees half of it.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.manifests().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let half = self.path().join("half-written");
        std::fs::write(&half, content).unwrap();
        std::fs::rename(half, path).unwrap();
    }

    /// Writes a manifest of `shop/<service>` with an image of this tag.
    pub fn service(&self, service: &str, tag: &str) {
        self.write(&format!("{service}.yaml"), manifest(service, tag));
    }

    /// The binary with these arguments, in this folder, with an environment of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_truenorth"));
        command.args(arguments).current_dir(self.path()).env_clear();
        command.env("HOME", self.path()).env("NORTHFLANK_API_TOKEN", TOKEN).env("TRUENORTH_STATE_DIR", self.state());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// `--reconcile-once` against a sandbox, with JSON on stdout.
    pub fn once(&self, api: &Api, more: &[&str]) -> Ran {
        self.run(&[&["--reconcile-once", "--output", "json", "--api-url", &api.url()], more].concat())
    }
}

/// A manifest of `shop/<service>` with an image of this tag.
pub fn manifest(service: &str, tag: &str) -> String {
    let mut text = String::from("apiVersion: truenorth/v1\nkind: ServiceDeployment\n");
    let _ = write!(text, "metadata:\n  projectId: shop\n  serviceId: {service}\n");
    let _ = write!(text, "spec:\n  external:\n    imagePath: ghcr.io/acme/{service}:{tag}\n");
    text
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// Outcome by service of a report.
    pub fn outcomes(&self) -> Vec<(String, String)> {
        let report = self.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let services = report["services"].as_array().unwrap();
        services.iter().map(|service| (text(&service["service"]), text(&service["outcome"]))).collect()
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A sandbox on a runtime of its own, so that tests of processes need none.
pub struct Api {
    sandbox: Sandbox,
    _runtime: tokio::runtime::Runtime,
}

impl Api {
    pub fn new() -> Self {
        Self::with(Options { rollout: std::time::Duration::ZERO, ..Options::default() })
    }

    pub fn with(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let sandbox = runtime.block_on(Sandbox::start(address, options)).unwrap();
        Self { sandbox, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        self.sandbox.url()
    }

    pub fn world(&self) -> World {
        self.sandbox.world()
    }
}
