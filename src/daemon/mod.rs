//! The daemon's loop: it looks at the folder and drives the runner, for months.
//!
//! Reading order: `run` (where events come from), `event` (what each of them does in each phase), `state`, `looks` (when to
//! look), `look` and `folder` (what a look brings), `publish`, `requests`, `config`, `windows`, `view` (what is answered), `systemd`.

mod config;
mod event;
mod folder;
mod heard;
mod look;
mod looks;
mod publish;
mod requests;
mod run;
mod state;
mod systemd;
mod tell;
#[cfg(test)]
mod tests;
mod view;
mod windows;

pub use config::{Config, Reread};
pub use looks::Debounce;
pub use run::{DaemonSettings, RunError, run};
