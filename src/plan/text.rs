//! A report as people read it: a line for each service that is not simply in order, its differences, and a summary.
//!
//! The text has colours; whoever prints it takes them out where the stream is no terminal. Everything that comes from
//! a manifest or from the API is made printable here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Change, Outcome, PlanState, Report, ServiceReport, Suspension};
use crate::model::{Cause, HoldKind, RolloutState, ServiceKey};
use crate::text::{counted, listed_up_to, printable, short};

const NEW: Style = AnsiColor::Green.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default();
const WRONG: Style = AnsiColor::Red.on_default();
const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// How long a line of the summary may be.
const WIDTH: usize = 80;

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
    let told: Vec<&ServiceReport> =
        report.services.iter().filter(|service| tells_something(service) && !is_told_elsewhere(service)).collect();
    write_legend(&mut text, &told);
    for service in told {
        write_service(&mut text, service);
    }
    write_undecided(&mut text, &report.services);
    write_summary(&mut text, report);
    text
}

fn tells_something(service: &ServiceReport) -> bool {
    service.outcome != Outcome::Unchanged
        || !service.drift.is_empty()
        || !service.warnings.is_empty()
        || service.error.is_some()
        || !service.is_converged()
}

/// What is told with the service that has its content now.
fn is_told_elsewhere(service: &ServiceReport) -> bool {
    service.moved_to.is_some()
}

fn write_service(text: &mut String, service: &ServiceReport) {
    let sign = Sign::of(service);
    let (mark, style) = (sign.map_or(' ', Sign::mark), sign.map_or(FAINT, Sign::style));
    let outcome = if service.drift.is_empty() { service.outcome.as_str() } else { "drifted" };
    let _ = write!(
        text,
        "{style}{mark} {:<9}{style:#} {STRONG}{}{STRONG:#}",
        outcome,
        printable(&service.service.to_string())
    );
    match (&service.moved_from, service.cause) {
        (Some(old), _) => {
            let _ = write!(text, " {FAINT}(moved from {}){FAINT:#}", printable(&old.to_string()));
        }
        (None, Some(cause)) => {
            let _ = write!(text, " {FAINT}({}){FAINT:#}", cause.as_str());
        }
        (None, None) => {}
    }
    if let Some(place) = &service.manifest {
        let _ = write!(text, "  {FAINT}{}{FAINT:#}", printable(&place.to_string()));
    }
    if service.attempts > 1 {
        let _ = write!(text, "  {FAINT}{} attempts{FAINT:#}", service.attempts);
    }
    let rollout = service.rollout.as_ref();
    if let Some(deployed) = rollout.filter(|rollout| rollout.state.is_deployed()) {
        let _ = write!(text, "  {NEW}{}{NEW:#}", deployed.words());
    }
    text.push('\n');
    // What was not awaited is told once, below.
    let told = service.awaited || !service.is_rolling();
    if let Some(undeployed) = rollout.filter(|rollout| told && !rollout.state.is_deployed()) {
        let style = if service.rollout_failed() || service.is_overtaken() { WRONG } else { CHANGED };
        let _ = writeln!(text, "    {style}{}{style:#}", printable(&undeployed.words()));
        if undeployed.state == RolloutState::Failed {
            let name = printable(&service.service.to_string()).to_string();
            let _ =
                writeln!(text, "    hint: change the manifest, or send the same once more: truenorth release {name}");
        }
    }
    let changes = || service.changes.iter().chain(&service.drift);
    let width = changes().map(|change| change.path.len()).max().unwrap_or(0);
    for change in changes() {
        write_change(text, change, width);
    }
    // Of a plan it is said once, for all of its services.
    for held in service.held_by.iter().filter(|held| held.kind != HoldKind::Plan) {
        let until = held.until.map(|until| format!(" until {}", short::time(until))).unwrap_or_default();
        let _ = writeln!(text, "    {CHANGED}held{until}: {}{CHANGED:#}", printable(&held.what));
    }
    for warning in &service.warnings {
        let _ = writeln!(text, "    {CHANGED}warning: {}{CHANGED:#}", printable(warning));
    }
    if let Some(Suspension { reason, until }) = &service.suspension {
        let until = until.map(|until| format!("until {until}"));
        let parts: Vec<String> =
            [until, reason.clone()].into_iter().flatten().filter(|part| !part.is_empty()).collect();
        let _ = writeln!(text, "    {FAINT}{}{FAINT:#}", printable(&parts.join(": ")));
    }
    if let Some(error) = &service.error {
        let style = if service.outcome.is_converged() { FAINT } else { WRONG };
        let _ = writeln!(text, "    {style}{}{style:#}", printable(&error.message));
        for line in error.lines() {
            let _ = writeln!(text, "    {style}  {}{style:#}", printable(&line));
        }
        if let Some(hint) = &error.hint {
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

/// What stands before a service. Nothing is ever removed, so none of them is a `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    New,
    Changed,
    ReadFirst,
    Already,
    Waits,
    Look,
}

impl Sign {
    /// In the order of the legend.
    const ALL: [Self; 6] = [Self::New, Self::Changed, Self::ReadFirst, Self::Already, Self::Waits, Self::Look];

    /// The sign of a service; none where it is left alone.
    fn of(service: &ServiceReport) -> Option<Self> {
        match (service.outcome, service.cause) {
            (Outcome::Unchanged, _) if !service.drift.is_empty() => Some(Self::Look),
            _ if service.rollout_failed() || service.is_overtaken() => Some(Self::Look),
            (Outcome::Failed | Outcome::Stalled, _) => Some(Self::Look),
            (Outcome::Updated | Outcome::Update, Some(Cause::New)) => Some(Self::New),
            (Outcome::Updated | Outcome::Update, _) => Some(Self::Changed),
            (Outcome::ReadLive, _) => Some(Self::ReadFirst),
            (Outcome::Adopted, _) => Some(Self::Already),
            (Outcome::Pending | Outcome::Held, _) => Some(Self::Waits),
            (Outcome::Unchanged | Outcome::Suspended | Outcome::Orphaned, _) => None,
        }
    }

    fn mark(self) -> char {
        match self {
            Self::New => '+',
            Self::Changed => '~',
            Self::ReadFirst => '?',
            Self::Already => '=',
            Self::Waits => '.',
            Self::Look => '!',
        }
    }

    fn style(self) -> Style {
        match self {
            Self::New | Self::Already => NEW,
            Self::Changed | Self::ReadFirst | Self::Waits => CHANGED,
            Self::Look => WRONG,
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::ReadFirst => "read first",
            Self::Already => "runs already",
            Self::Waits => "waits",
            Self::Look => "needs a look",
        }
    }
}

/// What the signs mean that are used.
fn write_legend(text: &mut String, services: &[&ServiceReport]) {
    let used: Vec<Sign> = services.iter().filter_map(|service| Sign::of(service)).collect();
    let meaning = |sign: &Sign| format!("{} {}", sign.mark(), sign.meaning());
    let meanings: Vec<String> = Sign::ALL.iter().filter(|sign| used.contains(sign)).map(meaning).collect();
    if !meanings.is_empty() {
        let _ = writeln!(text, "{FAINT}signs: {}{FAINT:#}", meanings.join(", "));
    }
}

/// What live does not show: a line for each field and reason, however many services it is of.
fn write_undecided(text: &mut String, services: &[ServiceReport]) {
    let mut undecided: BTreeMap<&str, Vec<&ServiceKey>> = BTreeMap::new();
    for service in services {
        for field in &service.undecided {
            undecided.entry(field).or_default().push(&service.service);
        }
    }
    for (field, services) in undecided {
        let (field, reason) = field.split_once(": ").unwrap_or((field, "live does not show it"));
        let of = match services[..] {
            [service] => service.to_string(),
            _ => counted(services.len(), "service"),
        };
        let _ = writeln!(
            text,
            "{FAINT}cannot tell {} of {}: {}{FAINT:#}",
            printable(field),
            printable(&of),
            printable(reason)
        );
    }
}

/// How much a plan would send. What was read and runs already is a change of what is remembered alone.
#[must_use]
pub fn to_send(report: &Report) -> String {
    let run_already = report.count(Outcome::Adopted);
    match (report.plan.changes.saturating_sub(run_already), run_already) {
        (changes, 0) => counted(changes, "change"),
        (0, 1) => "nothing to send, 1 service runs already".to_owned(),
        (0, _) => format!("nothing to send, {run_already} services run already"),
        (changes, 1) => format!("{}, 1 more runs already", counted(changes, "change")),
        (changes, _) => format!("{}, {run_already} more run already", counted(changes, "change")),
    }
}

/// Most services of a wave that are named.
const NAMED: usize = 8;

fn write_waves(text: &mut String, waves: &[Vec<ServiceKey>]) {
    for (number, wave) in (1..).zip(waves) {
        let _ = writeln!(text, "wave {number}: {}", printable(&listed_up_to(NAMED, wave)));
    }
}

fn write_summary(text: &mut String, report: &Report) {
    let moved: Vec<&ServiceKey> =
        report.services.iter().filter(|service| is_told_elsewhere(service)).map(|service| &service.service).collect();
    let mut parts: Vec<String> = SUMMARY
        .iter()
        .map(|(outcome, word)| {
            let elsewhere = if *outcome == Outcome::Orphaned { moved.len() } else { 0 };
            (report.count(*outcome).saturating_sub(elsewhere), word)
        })
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if !moved.is_empty() {
        parts.push(format!("{} moved", moved.len()));
    }
    if parts.is_empty() {
        parts.push("no manifests".to_owned());
    }
    let counts = |is: fn(&ServiceReport) -> bool| report.services.iter().filter(|service| is(service)).count();
    let failed = counts(ServiceReport::rollout_failed);
    if failed > 0 {
        parts.push(format!("{} failed", counted(failed, "rollout")));
    }
    let (awaited, others) =
        (counts(|service| service.awaited && service.is_rolling()), counts(ServiceReport::is_rolling));
    if awaited > 0 {
        parts.push(format!("{} not finished", counted(awaited, "rollout")));
    } else if others > 0 {
        parts.push("rollouts not awaited".to_owned());
    }
    let drifted = report.services.iter().filter(|service| !service.drift.is_empty()).count();
    if drifted > 0 {
        parts.push(format!("{drifted} of them drifted"));
    }
    if !report.problems.is_empty() {
        parts.push(counted(report.problems.len(), "problem"));
    }
    let parts = parts.join(", ");
    let _ = write!(text, "{STRONG}{parts}{STRONG:#}");
    if report.api.calls > 0 {
        let mut spent = counted(report.api.calls as usize, "call");
        if let Some(remaining) = report.api.remaining {
            let _ = write!(spent, ", {remaining} left in this window");
        }
        let fits = parts.len() + "; ".len() + spent.len() <= WIDTH;
        let _ = write!(text, "{}{spent}", if fits { "; " } else { "\n" });
    }
    text.push('\n');
    if !moved.is_empty() {
        let (names, stays) = (listed_up_to(NAMED, &moved), if moved.len() == 1 { "stays" } else { "stay" });
        let _ =
            writeln!(text, "{} {stays} as before; `truenorth forget` takes what moved off the list", printable(&names));
    }
    if let Some(id) = report.plan.id.filter(|_| report.cost.is_some()) {
        let state = match report.plan.state {
            PlanState::Within => "",
            PlanState::Approved => ", approved",
            PlanState::Held => ", held",
            PlanState::Denied => ", denied",
        };
        let _ = writeln!(text, "plan {id}: {}{state}", to_send(report));
    }
    let held = report.services.iter().flat_map(|service| &service.held_by);
    let whys: BTreeSet<_> = held.filter(|held| held.kind == HoldKind::Plan).map(|held| &*held.what).collect();
    for why in whys {
        let _ = writeln!(text, "{CHANGED}held: {}{CHANGED:#}", printable(why));
    }
    write_waves(text, &report.waves);
    if let Some(cost) = report.cost.filter(|cost| cost.calls > 0) {
        let first = report.count(Outcome::ReadLive) > 0;
        let at_most = if first { "at most " } else { "" };
        let _ = write!(text, "a pass takes {at_most}{}", counted(cost.calls as usize, "call"));
        if let Some(remaining) = cost.remaining {
            let _ = write!(text, "; {remaining} left");
        }
        if let Some(wait) = cost.resets_in {
            let _ = write!(text, ", window resets in {}", short::wait(wait));
        }
        text.push('\n');
    }
}
