//! What is taken over of a config file that was read again: its windows. Of other options it is said that they count after
//! a restart.

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::config::Reread;
use super::state::Daemon;

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
