//! A report as people read it: a line for each service that is not simply in order, its differences, and a summary.
//!
//! The text has colours; whoever prints it takes them out where the stream is no terminal. Everything that comes from
//! a manifest or from the API is shown with its control characters escaped.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Change, Outcome, Report, ServiceReport};

const NEW: Style = AnsiColor::Green.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default();
const WRONG: Style = AnsiColor::Red.on_default();
const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// Outcomes in the order of the summary, what needs a look first.
const SUMMARY: [(Outcome, &str); 8] = [
    (Outcome::Failed, "failed"),
    (Outcome::Stalled, "stalled"),
    (Outcome::Pending, "pending"),
    (Outcome::Update, "to update"),
    (Outcome::Updated, "updated"),
    (Outcome::Unchanged, "unchanged"),
    (Outcome::Suspended, "suspended"),
    (Outcome::Orphaned, "orphaned"),
];

/// The whole report but for its problems, which are drawn with their source lines elsewhere.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for service in report.services.iter().filter(|service| service.outcome != Outcome::Unchanged) {
        write_service(&mut text, service);
    }
    write_summary(&mut text, report);
    text
}

fn write_service(text: &mut String, service: &ServiceReport) {
    let (mark, style) = mark(service);
    let outcome = service.outcome.as_str();
    let _ = write!(
        text,
        "{style}{mark} {:<9}{style:#} {STRONG}{}{STRONG:#}",
        outcome,
        printable(&service.service.to_string())
    );
    if let Some(cause) = service.cause {
        let _ = write!(text, " {FAINT}({}){FAINT:#}", cause.as_str());
    }
    if let Some(place) = &service.manifest {
        let _ = write!(text, "  {FAINT}{}{FAINT:#}", printable(&place.to_string()));
    }
    if service.attempts > 1 {
        let _ = write!(text, "  {FAINT}{} attempts{FAINT:#}", service.attempts);
    }
    text.push('\n');
    let width = service.changes.iter().map(|change| change.path.len()).max().unwrap_or(0);
    for change in &service.changes {
        write_change(text, change, width);
    }
    if let Some(error) = &service.error {
        let style = if service.outcome.is_converged() { FAINT } else { WRONG };
        let _ = writeln!(text, "    {style}{}{style:#}", printable(error));
    }
}

fn write_change(text: &mut String, change: &Change, width: usize) {
    let from = change.from.as_deref().map(printable);
    let to = change.to.as_deref().map(printable);
    let _ = write!(text, "    {:<width$}  ", change.path);
    let _ = match (from, to) {
        (None, Some(to)) => writeln!(text, "{NEW}{to}{NEW:#}"),
        (Some(from), None) => writeln!(text, "{WRONG}{from}{WRONG:#} -> not set"),
        (Some(from), Some(to)) => writeln!(text, "{WRONG}{from}{WRONG:#} -> {NEW}{to}{NEW:#}"),
        (None, None) => writeln!(text),
    };
}

fn mark(service: &ServiceReport) -> (char, Style) {
    match (service.outcome, service.cause) {
        (Outcome::Failed | Outcome::Stalled, _) => ('!', WRONG),
        (Outcome::Updated | Outcome::Update, Some(crate::model::Cause::New)) => ('+', NEW),
        (Outcome::Updated | Outcome::Update, _) => ('~', CHANGED),
        (Outcome::Pending, _) => ('.', CHANGED),
        (Outcome::Unchanged | Outcome::Suspended | Outcome::Orphaned, _) => ('-', FAINT),
    }
}

fn write_summary(text: &mut String, report: &Report) {
    let mut parts: Vec<String> = SUMMARY
        .iter()
        .map(|(outcome, word)| (report.count(*outcome), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if parts.is_empty() {
        parts.push("no manifests".to_owned());
    }
    if !report.problems.is_empty() {
        parts.push(counted(report.problems.len(), "problem"));
    }
    let _ = write!(text, "{STRONG}{}{STRONG:#}", parts.join(", "));
    if report.api.calls > 0 {
        let _ = write!(text, "; {}", counted(report.api.calls as usize, "call"));
        if let Some(remaining) = report.api.remaining {
            let _ = write!(text, ", {remaining} left in this window");
        }
    }
    let _ = writeln!(text, "  {FAINT}{}{FAINT:#}", report.revision);
}

/// `1 call`, `2 calls`.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Text that cannot move the cursor or change colours.
#[must_use]
pub fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        shown
    })
}
