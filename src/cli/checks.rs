//! Checks, a line each: what `truenorth doctor` and `truenorth self-test` show.

use std::fmt::Write as _;
use std::io;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::args::Output;
use super::table::Size;
use super::{Failure, print};
use crate::error::chain;
use crate::text::{folded_at, printable};

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// What, in a word.
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    pub(super) message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Ok,
    /// It works, and is worth a look.
    Warning,
    /// It does not work.
    Fault,
}

impl Check {
    pub(super) fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, message: message.into(), hint: None }
    }

    pub(super) fn warning(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, message: message.into(), hint: Some(hint.into()) }
    }

    pub(super) fn fault(name: &'static str, message: impl Into<String>, hint: Option<String>) -> Self {
        Self { name, verdict: Verdict::Fault, message: message.into(), hint }
    }

    /// What follows from an error that would end a command.
    pub(super) fn of_error(name: &'static str, error: &anyhow::Error) -> Self {
        let hint = error.downcast_ref::<Failure>().and_then(|failure| failure.hint.clone());
        Self::fault(name, chain(error.as_ref()), hint)
    }
}

/// What `--output json` prints.
#[derive(Serialize)]
struct Shown<'c> {
    ok: bool,
    checks: &'c [Check],
}

/// Prints checks. Says how bad the worst is.
pub(super) fn show(checks: &[Check], output: Output, last: &str) -> io::Result<Verdict> {
    let worst = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    match output {
        Output::Json => print::json(&Shown { ok: worst != Verdict::Fault, checks })?,
        Output::Text => {
            let width = Size::of_stdout().map(|size| size.columns);
            let lines: String = checks.iter().map(|check| line(check, width)).collect();
            print::text(&format!("{lines}{last}\n"))?;
        }
    }
    Ok(worst)
}

/// A check as people read it; what comes from outside cannot steer a terminal.
fn line(check: &Check, width: Option<usize>) -> String {
    let (word, style) = match check.verdict {
        Verdict::Ok => ("ok", AnsiColor::Green.on_default()),
        Verdict::Warning => ("warning", AnsiColor::Yellow.on_default()),
        Verdict::Fault => ("fault", AnsiColor::Red.on_default()),
    };
    let strong = Style::new().bold();
    let mut text = format!("{style}{word:<8}{style:#} {strong}{:<12}{strong:#} ", check.name);
    let _ = writeln!(text, "{}", folded_at(printable(&check.message).as_str(), COLUMN, width));
    if let Some(hint) = &check.hint {
        let _ = writeln!(text, "  hint: {}", folded_at(printable(hint).as_str(), "  hint: ".len(), width));
    }
    text
}

/// Where messages begin.
const COLUMN: usize = 22;
