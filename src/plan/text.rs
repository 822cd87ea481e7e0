//! A report as people read it: a line for each service that is not simply in order, its differences, and a summary.
//!
//! The text has colours; whoever prints it takes them out where the stream is no terminal. Everything that comes from
//! a manifest or from the API is made printable here.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Change, Outcome, Report, ServiceReport, Suspension};
use crate::text::{counted, printable, short};

const NEW: Style = AnsiColor::Green.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default();
const WRONG: Style = AnsiColor::Red.on_default();
const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// Outcomes in the order of the summary, what needs a look first.
const SUMMARY: [(Outcome, &str); 11] = [
    (Outcome::Failed, "failed"),
    (Outcome::Stalled, "stalled"),
    (Outcome::Pending, "pending"),
    (Outcome::Held, "held"),
    (Outcome::Update, "to update"),
    (Outcome::ReadLive, "to read first"),
    (Outcome::Updated, "updated"),
    (Outcome::Adopted, "adopted"),
    (Outcome::Unchanged, "unchanged"),
    (Outcome::Suspended, "suspended"),
    (Outcome::Orphaned, "orphaned"),
];

/// The whole report but for its problems, which are drawn with their source lines elsewhere.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for service in report.services.iter().filter(|service| tells_something(service)) {
        write_service(&mut text, service);
    }
    write_summary(&mut text, report);
    text
}

fn tells_something(service: &ServiceReport) -> bool {
    service.outcome != Outcome::Unchanged
        || !service.drift.is_empty()
        || !service.undecided.is_empty()
        || !service.warnings.is_empty()
        || service.error.is_some()
}

fn write_service(text: &mut String, service: &ServiceReport) {
    let (mark, style) = mark(service);
    let outcome = if service.drift.is_empty() { service.outcome.as_str() } else { "drifted" };
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
    let changes = || service.changes.iter().chain(&service.drift);
    let width = changes().map(|change| change.path.len()).max().unwrap_or(0);
    for change in changes() {
        write_change(text, change, width);
    }
    for held in &service.held_by {
        let until = held.until.map(|until| format!(" until {}", short::time(until))).unwrap_or_default();
        let _ = writeln!(text, "    {CHANGED}held{until}: {}{CHANGED:#}", printable(&held.what));
    }
    for warning in &service.warnings {
        let _ = writeln!(text, "    {CHANGED}warning: {}{CHANGED:#}", printable(warning));
    }
    for undecided in &service.undecided {
        let _ = writeln!(text, "    {FAINT}cannot tell {}{FAINT:#}", printable(undecided));
    }
    if let Some(Suspension { reason, until }) = &service.suspension {
        let until = until.map(|until| format!("until {until}"));
        let parts: Vec<String> =
            [until, reason.clone()].into_iter().flatten().filter(|part| !part.is_empty()).collect();
        let _ = writeln!(text, "    {FAINT}{}{FAINT:#}", printable(&parts.join(": ")));
    }
    if let Some(error) = &service.error {
        let style = if service.outcome.is_converged() { FAINT } else { WRONG };
        let (error, hint) =
            error.split_once("; hint: ").map_or((error.as_str(), None), |(error, hint)| (error, Some(hint)));
        let _ = writeln!(text, "    {style}{}{style:#}", printable(error));
        if let Some(hint) = hint {
            let _ = writeln!(text, "    hint: {}", printable(hint));
        }
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
        (Outcome::Unchanged, _) if !service.drift.is_empty() => ('!', CHANGED),
        (Outcome::Failed | Outcome::Stalled, _) => ('!', WRONG),
        (Outcome::Updated | Outcome::Update, Some(crate::model::Cause::New)) => ('+', NEW),
        (Outcome::Updated | Outcome::Update, _) => ('~', CHANGED),
        (Outcome::ReadLive, _) => ('?', CHANGED),
        (Outcome::Adopted, _) => ('=', NEW),
        (Outcome::Pending | Outcome::Held, _) => ('.', CHANGED),
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
    let drifted = report.services.iter().filter(|service| !service.drift.is_empty()).count();
    if drifted > 0 {
        parts.push(format!("{drifted} of them drifted"));
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
    if let Some(id) = report.plan.id.filter(|_| report.cost.is_some()) {
        let _ = writeln!(text, "plan {id}: {}", counted(report.plan.changes, "change"));
    }
    if let Some(cost) = report.cost.filter(|cost| cost.calls > 0) {
        let first = report.count(Outcome::ReadLive) > 0;
        let _ = write!(text, "{}{}", if first { "at most " } else { "" }, counted(cost.calls as usize, "call"));
        if let Some(remaining) = cost.remaining {
            let _ = write!(text, ", {remaining} left");
        }
        if let Some(wait) = cost.resets_in {
            let _ = write!(text, ", window resets in {}", short::wait(wait));
        }
        text.push('\n');
    }
}
