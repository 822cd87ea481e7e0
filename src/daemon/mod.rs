//! The daemon's loop: it looks at the folder and drives the runner, for months.

mod config;
mod looks;
mod publish;
mod requests;
mod run;
mod systemd;
mod view;

pub use config::{Config, Reread};
pub use looks::Debounce;
pub use run::{DaemonSettings, RunError, run};
