//! The config file while the daemon runs: on SIGHUP it is read again. Its windows are taken over, and of other options
//! it is said that they count after a restart.

use std::fmt;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::state::Daemon;
use crate::plan::Windows;

/// Reads the config file again. Blocks on the disk.
#[derive(Clone)]
pub struct Config(pub Arc<dyn Fn() -> Result<Reread, String> + Send + Sync>);

/// What a config file says that was read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reread {
    /// When updates may be sent, from now on.
    pub windows: Windows,
    /// Which of its options are others than at the start.
    pub changed: Vec<String>,
}

impl Config {
    pub(super) fn reread(self) -> JoinHandle<Result<Reread, String>> {
        spawn_blocking(move || (self.0)())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Config")
    }
}

impl Daemon {
    /// Tells patterns of windows that no service has, each once.
    pub(super) fn tell_idle_windows(&mut self) {
        let Some(snapshot) = &self.seen.snapshot else { return };
        let engine = self.carrier.engine();
        let idle = engine.closures().windows.idle(engine.keys().chain(snapshot.claimed()));
        idle.difference(&self.told_idle).for_each(|idle| warn!("{idle}"));
        self.told_idle = idle;
    }

    /// Takes over what the config file says by now.
    pub(super) fn take_config(&mut self, read: Result<Reread, String>) {
        let Reread { windows, changed } = match read {
            Ok(read) => read,
            Err(error) => return error!(error, "the config file cannot be used; what it said before still holds"),
        };
        if !changed.is_empty() {
            warn!(options = changed.join(", "), "the config file has changed options that count after a restart");
        }
        if windows != self.carrier.engine().closures().windows {
            info!(windows = windows.all().len(), "the windows of the config file are taken over");
            self.carrier.set_windows(windows);
            self.tell_idle_windows();
            self.published.touch_all(Instant::now());
        }
    }
}
