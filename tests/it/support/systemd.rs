//! systemd, as far as a service hears of it.

use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};

use super::{Api, Daemon, PATIENCE, Workspace, eventually};

/// The listening side of `NOTIFY_SOCKET`.
pub(crate) struct Systemd {
    heard: Arc<Mutex<Vec<String>>>,
}

impl Systemd {
    /// Starts the daemon as systemd would.
    pub(crate) fn start(
        workspace: &Workspace,
        api: &Api,
        more: &[&str],
        environment: &[(&str, &str)],
    ) -> (Self, Daemon) {
        let path = workspace.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        // So that the listener ends some time after the test does.
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(length) = socket.recv(&mut message) {
                let text = String::from_utf8(message[..length].to_owned()).unwrap();
                into.lock().unwrap().extend(text.lines().map(str::to_owned));
            }
        });
        let mut command = Daemon::command(workspace, api, more);
        let daemon = Daemon::of(command.env("NOTIFY_SOCKET", path).envs(environment.iter().copied()));
        (Self { heard }, daemon)
    }

    /// How many lines begin like this.
    pub(crate) fn count(&self, start: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|line| line.starts_with(start)).count()
    }

    #[track_caller]
    pub(crate) fn hears(&self, start: &str, times: usize) {
        eventually(start, || self.count(start) >= times);
    }

    /// What it shows of the daemon.
    pub(crate) fn shows(&self) -> String {
        let heard = self.heard.lock().unwrap();
        let status = heard.iter().rev().find_map(|line| line.strip_prefix("STATUS="));
        status.unwrap_or_default().to_owned()
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}
