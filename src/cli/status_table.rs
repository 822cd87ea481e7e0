//! The table of `truenorth status`: what needs a look stands first.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::attempt::with_hint;
use super::live::KEPT;
use super::status::{Page, Service, told};
use super::table::{self, Cell, Column, Row, Size};
use crate::plan::Suspension;
use crate::text::{Printable, counted, printable, short};

const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();
const WRONG: Style = AnsiColor::Red.on_default();
const WAITS: Style = AnsiColor::Yellow.on_default();

/// States in the order of the table, with their colours. A state that is not here comes first.
const STATES: [(&str, Style); 10] = [
    ("problem", WRONG),
    ("stalled", WRONG),
    ("drifted", WRONG),
    ("in-doubt", WAITS),
    ("backing-off", WAITS),
    ("in-flight", WAITS),
    ("queued", WAITS),
    ("suspended", FAINT),
    ("orphaned", FAINT),
    ("unchanged", Style::new()),
];

/// Why drift is left alone.
pub(super) const AGAIN: &str = "it came back after three corrections";

/// Most problems that are told below a table that has to fit a terminal.
const PROBLEMS: usize = 5;

/// What the table shows: two that are equal look alike, but for their ages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    rows: Vec<Shown>,
    counts: Vec<(&'static str, usize)>,
    problems: Vec<Printable>,
    paused: Option<(Timestamp, Printable)>,
    holder: String,
    revision: Printable,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    rank: usize,
    service: Printable,
    state: &'static str,
    revision: Printable,
    /// When what the service has was accepted.
    applied: Option<Timestamp>,
    message: Printable,
    /// The way out, where the message has one.
    hint: Option<Printable>,
}

impl View {
    pub(super) fn of(page: &Page) -> Self {
        let unread = page.unread.iter().map(|(key, problem)| Shown {
            rank: rank("problem"),
            service: printable(&key.to_string()),
            state: "problem",
            revision: Printable::default(),
            applied: None,
            message: printable(problem),
            hint: None,
        });
        let mut rows: Vec<Shown> = page.services.iter().map(shown).chain(unread).collect();
        // Stable: alike states stay in the order of their names.
        rows.sort_by_key(|row| row.rank);
        let mut counts: Vec<(&'static str, usize)> = Vec::new();
        for row in &rows {
            match counts.last_mut() {
                Some((state, count)) if *state == row.state => *count += 1,
                _ => counts.push((row.state, 1)),
            }
        }
        let problem = |problem: &crate::manifest::Problem| {
            printable(&format!("{}:{}:{} {}", problem.file, problem.line, problem.column, problem.message))
        };
        Self {
            rows,
            counts,
            problems: page.problems.iter().map(problem).collect(),
            paused: page.paused.as_ref().map(|paused| (paused.until, printable(&paused.reason))),
            holder: told(page.holder),
            revision: page
                .revision
                .as_ref()
                .map(|revision| printable(&short::revision(&revision.to_string())))
                .unwrap_or_default(),
        }
    }
}

fn shown(service: &Service) -> Shown {
    let state = service.status.state;
    let message = message(service);
    let (message, hint) = with_hint(&message);
    Shown {
        rank: rank(state),
        service: printable(&service.status.service.to_string()),
        state,
        revision: service
            .applied_revision
            .as_deref()
            .map(short::revision)
            .map_or(Printable::default(), |text| printable(&text)),
        applied: service.applied_at,
        message: printable(message),
        hint: hint.map(|hint| printable(&format!("hint: {hint}"))),
    }
}

/// What there is to be said of it in a sentence, with a hint where there is one.
fn message(service: &Service) -> String {
    let status = &service.status;
    let drift = status.drift.as_ref();
    let unread = drift.and_then(|drift| drift.error.as_ref());
    let mut parts = Vec::new();
    match (&status.suspension, service.cause, status.state) {
        _ if status.error.is_some() => {}
        (Some(suspended), ..) => parts.push(suspension(suspended)),
        (None, _, "drifted") => {
            let differences = drift.iter().flat_map(|drift| &drift.differences);
            parts.push(differences.map(ToString::to_string).collect::<Vec<_>>().join(", "));
            let until = drift.and_then(|drift| drift.left_alone_until);
            parts.extend(until.map(|until| format!("left alone until {}, {AGAIN}", short::clock(until))));
        }
        (None, Some(cause), _) => parts.push(cause.as_str().to_owned()),
        (None, None, "orphaned") => parts.push("no manifest names it".to_owned()),
        (None, None, _) => {}
    }
    let waits = status.next_attempt;
    parts.extend(waits.map(|until| format!("waits for the rate limit until {}, {KEPT}", short::clock(until))));
    parts.extend(unread.map(|error| format!("live could not be read: {error}")));
    // Last: the hint stands behind it.
    parts.extend(status.error.clone());
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

/// Why and until when, as far as it is said.
pub(super) fn suspension(suspended: &Suspension) -> String {
    let until = suspended.until.map(|until| format!("until {}", short::time(until)));
    [until, suspended.reason.clone()].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

fn rank(state: &str) -> usize {
    STATES.iter().position(|(known, _)| *known == state).map_or(0, |index| index + 1)
}

fn style(state: &str) -> Style {
    STATES.iter().find(|(known, _)| *known == state).map_or(WRONG, |(_, style)| *style)
}

/// A line a service, and who works on it; no line wider than `width`.
pub(super) fn lines(view: &View, now: Timestamp, width: Option<usize>) -> Vec<String> {
    let mut lines = rows(&view.rows, now, width, Hints::Below);
    lines.extend(foot(view, now, width));
    lines
}

/// The same with the problems, cut to a terminal's height too.
pub(super) fn screen(view: &View, now: Timestamp, size: Size) -> Vec<String> {
    let width = Some(size.columns);
    let mut foot = foot(view, now, width);
    let told = view.problems.iter().take(PROBLEMS).map(|problem| one_line(problem, WRONG, width));
    let more = view.problems.len().saturating_sub(PROBLEMS);
    let more =
        (more > 0).then(|| one_line(&printable(&format!("… and {}", counted(more, "more problem"))), FAINT, width));
    let above: Vec<String> = told.chain(more).collect();
    foot.splice(0..0, above);
    let room = size.rows.saturating_sub(foot.len());
    let mut lines = if view.rows.len() < room {
        rows(&view.rows, now, width, Hints::Within)
    } else {
        // One line is the head's, one is for those that are left out.
        let fit = room.saturating_sub(2).min(view.rows.len());
        let mut lines = rows(&view.rows[..fit], now, width, Hints::Within);
        lines.push(one_line(&printable(&format!("… and {} more", view.rows.len() - fit)), FAINT, width));
        lines
    };
    lines.truncate(room);
    lines.append(&mut foot);
    lines.truncate(size.rows);
    lines
}

const COLUMNS: [Column; 5] = [
    Column::Name("SERVICE"),
    Column::Firm("STATE"),
    Column::Spare("REVISION"),
    Column::Spare("AGE"),
    Column::Soft("MESSAGE"),
];

/// Where the way out of what went wrong stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hints {
    /// On a line of its own.
    Below,
    /// Behind the message: a picture has one line for each service.
    Within,
}

fn rows(rows: &[Shown], now: Timestamp, width: Option<usize>, hints: Hints) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let cells = |row: &Shown| Row {
        cells: [
            Cell::new(row.service.clone()),
            Cell::styled(row.state, style(row.state)),
            Cell::new(row.revision.clone()),
            Cell::new(row.applied.map(|applied| printable(&short::age(applied, now))).unwrap_or_default()),
            match (&row.hint, hints) {
                (Some(hint), Hints::Within) => Cell::new(printable(&format!("{}; {hint}", row.message))),
                (Some(_) | None, _) => Cell::new(row.message.clone()),
            },
        ],
        below: match hints {
            Hints::Below => row.hint.iter().map(|hint| Cell::styled(hint.clone(), FAINT)).collect(),
            Hints::Within => Vec::new(),
        },
    };
    table::lines(COLUMNS, &rows.iter().map(cells).collect::<Vec<_>>(), width)
}

fn foot(view: &View, now: Timestamp, width: Option<usize>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((until, reason)) = &view.paused {
        let words = format!("all calls wait until {} (in {}): {reason}", short::time(*until), short::span(now, *until));
        lines.push(one_line(&printable(&words), WAITS, width));
    }
    let counts: Vec<String> = view.counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let mut words = counted(view.rows.len(), "service");
    if !counts.is_empty() {
        words = format!("{words}: {}", counts.join(", "));
    }
    if !view.problems.is_empty() {
        words = format!("{words}; {} in the folder", counted(view.problems.len(), "problem"));
    }
    lines.push(one_line(&printable(&format!("{words}  {}", view.revision)), STRONG, width));
    lines.push(one_line(&printable(&view.holder), FAINT, width));
    lines
}

/// A line of its own, cut to the width.
pub(super) fn one_line(text: &Printable, style: Style, width: Option<usize>) -> String {
    format!("{style}{}{style:#}", table::cut(text.as_str(), width.unwrap_or(usize::MAX)).0)
}
