//! Logs, on stderr: text, JSON lines, or systemd's journal with fields. What is logged may hold the words of files and
//! servers; whichever form a line has, it is made printable here, so that no place that logs has to think of it.

mod journal;

use std::borrow::Cow;
use std::fmt::Debug;
use std::io::{self, IsTerminal as _, Write};

use anstyle::Style;
use clap::{Args, ValueEnum};
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt};

use crate::text::{self, printable};

#[derive(Args, Debug)]
pub(super) struct LogArgs {
    /// How to write logs, on stderr
    #[arg(long, value_name = "FORMAT", env = "TRUENORTH_LOG_FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
    /// Least level to log: error, warn, info, debug, trace
    ///
    /// Default: info; warn where --reconcile-once runs on a terminal, which shows its progress instead.
    #[arg(long, value_name = "LEVEL", env = "TRUENORTH_LOG_LEVEL")]
    pub(super) log_level: Option<LogLevel>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
    /// To systemd's journal, with fields
    Journald,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogLevel {
    /// Someone must act
    Error,
    /// It will be tried again
    Warn,
    /// Each step taken
    Info,
    /// Each decision
    Debug,
    /// Everything
    Trace,
}

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
        LogFormat::Text => fmt::layer()
            .fmt_fields(debug_fn(write_field).delimited(" "))
            .with_writer(std::io::stderr)
            .with_ansi(colours)
            .with_target(false)
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(|| Escaped(std::io::stderr()))
            .with_target(false)
            .boxed(),
        LogFormat::Journald => {
            let journal = tracing_journald::layer().map_err(|error| {
                let message = format!("cannot reach systemd's journal{}: {error}", super::origin::behind("log-format"));
                super::misconfigured(message, Some("use --log-format text"))
            })?;
            journal::Whole(journal).boxed()
        }
    };
    // Only our own words: what libraries log may hold headers.
    let ours = tracing_subscriber::filter::Targets::new().with_target("truenorth", level);
    tracing_subscriber::registry().with(layer.with_filter(ours)).init();
    for warning in super::variables::unread_here() {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// Writes one field of a line of text; the message stands without its name.
fn write_field(out: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let value = format!("{value:?}");
    if field.name() == "message" {
        return write!(out, "{}", printable(&value));
    }
    let value = quoted(&value);
    let value = printable(&value);
    let (name, sign) = match out.has_ansi_escapes() {
        true => (Style::new().italic(), Style::new().dimmed()),
        false => (Style::new(), Style::new()),
    };
    write!(out, "{name}{field}{name:#}{sign}={sign:#}{value}")
}

/// A value so that it is seen where it ends, as logfmt has it. Texts come in quotes, what is shown otherwise does not.
fn quoted(value: &str) -> Cow<'_, str> {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let mut is_escaped = false;
    let is_text = inner.is_some_and(|inner| {
        !inner.chars().any(|c| {
            let ends = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            ends
        })
    });
    if is_text || !value.is_empty() && !value.contains([' ', '"', '=']) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// Takes lines of JSON, each in one piece, and writes them so that they may be shown.
struct Escaped<W>(W);

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(line).map_err(io::Error::other)?;
        self.0.write_all(text::json::escaped(text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::error;

    use super::*;

    const HOSTILE: &str = "a.yaml\n::error::x \u{9b}31m\u{202e} ##[group]y";

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of one event that holds such a text as a message and in fields of each kind.
    fn logged<L: Layer<tracing_subscriber::Registry> + Send + Sync>(layer: impl FnOnce(Kept) -> L) -> String {
        let kept = Kept::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer(kept.clone())), || {
            error!(file = %HOSTILE, text = HOSTILE, debug = ?HOSTILE, "cannot read {HOSTILE}");
        });
        let kept = kept.0.lock().unwrap().clone();
        String::from_utf8(kept).unwrap()
    }

    #[test]
    fn a_value_that_would_run_into_the_next_one_is_quoted_and_a_text_is_once() {
        for (value, shown) in [
            ("kim", "kim"),
            ("2026-11-25T17:38:33Z", "2026-11-25T17:38:33Z"),
            ("", r#""""#),
            ("uid 0", r#""uid 0""#),
            ("a=b", r#""a=b""#),
            (r#"the "new" prices"#, r#""the \"new\" prices""#),
            (r"C:\new prices", r#""C:\\new prices""#),
            (r#""a text""#, r#""a text""#),
            (r#""a \"text\"""#, r#""a \"text\"""#),
            (r#""two" or "three""#, r#""\"two\" or \"three\"""#),
        ] {
            assert_eq!(quoted(value), shown);
        }
    }

    #[test]
    fn what_is_logged_stays_within_its_line() {
        let text = |kept: Kept| {
            fmt::layer()
                .fmt_fields(debug_fn(write_field).delimited(" "))
                .with_writer(move || kept.clone())
                .with_ansi(false)
                .with_target(false)
        };
        let json = |kept: Kept| fmt::layer().json().flatten_event(true).with_writer(move || Escaped(kept.clone()));
        let (text, json) = (logged(text), logged(json));
        for line in [&text, &json] {
            let line = line.strip_suffix('\n').unwrap();
            assert!(!line.contains(text::is_steering) && !line.contains("##"), "{line}");
        }
        let shown = r"a.yaml\n\u{3a}:error::x \u{9b}31m\u{202e} \u{23}#[group]y";
        assert!(text.contains(&format!("ERROR cannot read {shown} file=\"{shown}\" text=\"a.yaml")), "{text}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["file"], HOSTILE);
    }
}
