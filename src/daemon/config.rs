//! How the config file is read again while the daemon runs.

use std::fmt;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};

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
