//! A command while it runs, and how it ended.

use std::io::Read;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{PATIENCE, holds_within, report};

/// A command that was started. It is killed where a test ends before it does.
pub(crate) struct Running {
    child: Child,
    shown: String,
    stdout: Pipe,
    stderr: Pipe,
}

impl Running {
    /// Starts a command whose stdout and stderr are pipes.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Pipe::read(child.stdout.take().unwrap());
        let stderr = Pipe::read(child.stderr.take().unwrap());
        Self { child, shown: format!("{command:?}"), stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What it has written to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.stdout.bytes()).unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(self) -> Ran {
        self.ended_within(PATIENCE)
    }

    /// Waits for its end, so long at most.
    #[track_caller]
    pub(crate) fn ended_within(mut self, time: Duration) -> Ran {
        let mut status: Option<ExitStatus> = None;
        let in_time = holds_within(time, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(in_time, "{} did not end; stderr:\n{}", self.shown, String::from_utf8_lossy(&self.stderr.bytes()));
        Ran {
            code: status.and_then(|status| status.code()),
            stdout: String::from_utf8(self.stdout.end()).unwrap(),
            stderr: String::from_utf8(self.stderr.end()).unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and needs not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One end of a pipe, read as fast as it fills.
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Pipe {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    /// All of it, after the writer has closed its end.
    fn end(&mut self) -> Vec<u8> {
        self.reader.take().unwrap().join().unwrap();
        self.bytes()
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn of(command: &mut Command) -> Self {
        Running::start(command).ended()
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// The report of a pass or a plan, which fits its schema.
    #[track_caller]
    pub(crate) fn report(&self) -> Value {
        report::checked(self.json())
    }

    /// What a report says of one service.
    #[track_caller]
    pub(crate) fn service(&self, service: &str) -> Value {
        let report = self.report();
        let mut services = report["services"].as_array().unwrap().iter();
        let found = services.find(|found| found["service"] == service);
        found.unwrap_or_else(|| panic!("no {service} in {self:#?}")).clone()
    }

    /// Outcome by service of a report.
    #[track_caller]
    pub(crate) fn outcomes(&self) -> Vec<(String, String)> {
        let report = self.report();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let services = report["services"].as_array().unwrap();
        services.iter().map(|service| (text(&service["service"]), text(&service["outcome"]))).collect()
    }
}
