//! The daemon while it runs: its log, its pages, its end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Api, PATIENCE, Workspace, eventually};

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    address: SocketAddr,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Daemon {
    /// Starts the daemon over the workspace and waits until it listens. Its quiet time is 20 ms unless `more` says
    /// otherwise.
    #[track_caller]
    pub(crate) fn start(workspace: &Workspace, api: &Api, more: &[&str]) -> Self {
        Self::of(&mut Self::command(workspace, api, more))
    }

    /// The same, not started yet.
    pub(crate) fn command(workspace: &Workspace, api: &Api, more: &[&str]) -> Command {
        let api_url = api.url();
        let mut arguments = vec!["--api-url", &api_url, "--listen", "127.0.0.1:0", "--log-format", "json"];
        if !more.contains(&"--debounce") {
            arguments.extend(["--debounce", "20ms"]);
        }
        arguments.extend(more);
        workspace.command(&arguments)
    }

    /// A command that is, or becomes, the daemon.
    #[track_caller]
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut daemon = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), lines, log: Vec::new() };
        daemon.address = daemon.told("status server listens")["address"].as_str().unwrap().parse().unwrap();
        daemon
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its status server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for a line of the log with this message, among those that nobody waited for yet.
    #[track_caller]
    pub(crate) fn told(&mut self, message: &str) -> Value {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("`{message}` was not logged; the log: {:#?}", self.log);
            };
            let parsed = parsed(&line);
            self.log.push(line);
            if parsed["message"].as_str().is_some_and(|text| text.contains(message)) {
                return parsed;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end, and gives all of its log.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Vec<Value> {
        let (ended, log) = self.ends();
        assert_eq!(ended, Some(code), "{log:#?}");
        log
    }

    /// The same, however it ends: gives its code too.
    #[track_caller]
    pub(crate) fn ends(mut self) -> (Option<i32>, Vec<Value>) {
        let mut status = None;
        eventually("the daemon ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        // The sender goes with the pipe.
        self.log.extend(self.lines.iter());
        let log = self.log.iter().map(|line| parsed(line)).collect();
        (status.and_then(|status| status.code()), log)
    }

    /// Status and body of a page of its status server.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
            body.split("\r\n").skip(1).step_by(2).collect()
        } else {
            body.to_owned()
        };
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    /// The lines of its log that were waited for, and those before them.
    pub(crate) fn log(&self) -> &[String] {
        &self.log
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.page("/status").1).unwrap()
    }

    /// `shop/<service>` on the status page, if it is there.
    pub(crate) fn service(&self, service: &str) -> Option<Value> {
        let status = self.status();
        let services = status["services"].as_array().unwrap();
        services.iter().find(|one| one["service"] == format!("shop/{service}")).cloned()
    }

    /// The state of `shop/<service>`; empty where it is not there.
    pub(crate) fn state(&self, service: &str) -> String {
        self.service(service).map(|one| one["state"].as_str().unwrap().to_owned()).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
