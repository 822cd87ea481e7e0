//! Logs, on stderr: text, JSON lines, or systemd's journal with fields.

mod journal;

use std::io::IsTerminal as _;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt};

use super::args::{LogArgs, LogFormat, LogLevel};

/// Sets up logs for the whole process, once.
pub(super) fn start(args: &LogArgs, default: LogLevel) -> anyhow::Result<()> {
    let level = match args.log_level.unwrap_or(default) {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let layer = match args.log_format {
        LogFormat::Text => fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false).boxed(),
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).with_target(false).boxed()
        }
        LogFormat::Journald => {
            let journal = tracing_journald::layer().map_err(|error| {
                super::misconfigured(format!("cannot reach systemd's journal: {error}; hint: use --log-format text"))
            })?;
            journal::Whole(journal).boxed()
        }
    };
    // Only our own words: what libraries log may hold headers.
    let ours = tracing_subscriber::filter::Targets::new().with_target("truenorth", level);
    tracing_subscriber::registry().with(layer.with_filter(ours)).init();
    Ok(())
}
