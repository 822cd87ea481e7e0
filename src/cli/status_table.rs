//! The table of `truenorth status`: what needs a look stands first.

use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::status::told;
use super::table::{self, Cell, Column, Row, Size};
use super::way_to_ledger;
use crate::model::{Diagnostic, Headline, RolloutState, ServiceState};
use crate::plan::Freeze;
use crate::text::{Printable, counted, folded, measured, printable, short};
use crate::views::{FLAPS, IMAGE, Page, Service, Versions, suspension};

const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();
const WRONG: Style = AnsiColor::Red.on_default();
const WAITS: Style = AnsiColor::Yellow.on_default();

/// Most problems that are told below a table that has to fit a terminal.
const PROBLEMS: usize = 5;

/// Most freezes, and requests that wait, that are told below the table.
const FREEZES: usize = 5;

/// What the table shows: two that are equal look alike, but for their ages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    rows: Vec<Shown>,
    counts: Vec<(ServiceState, usize)>,
    problems: Vec<Printable>,
    paused: Option<(Timestamp, Printable)>,
    freezes: Vec<Printable>,
    /// What people asked for and decided that waits to be taken up.
    asked: Vec<Printable>,
    holder: String,
    revision: Printable,
    /// Where a ledger was looked for in vain.
    missing: Option<PathBuf>,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    rank: usize,
    service: Printable,
    state: ServiceState,
    image: Printable,
    revision: Printable,
    /// What people know its commit by.
    commit: Printable,
    manifest: Printable,
    digest: Printable,
    /// When what the service has was accepted.
    applied: Option<Timestamp>,
    /// How far the rollout of that is.
    rollout: Option<RolloutState>,
    message: Printable,
    /// The way out, where the message has one.
    hint: Option<Printable>,
}

impl View {
    pub(super) fn of(page: &Page) -> Self {
        let mut rows: Vec<Shown> = page.services.iter().map(shown).collect();
        // Stable: alike states stay in the order of their names.
        rows.sort_by_key(|row| row.rank);
        let mut counts: Vec<(ServiceState, usize)> = Vec::new();
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
            freezes: page.freezes.iter().map(frozen).collect(),
            asked: page.untaken.sentences(page.holder).iter().map(|asked| printable(asked)).collect(),
            holder: told(page.holder, page.as_of),
            missing: (!page.ledger.exists).then(|| page.ledger.path.clone()),
            revision: page
                .revision
                .as_ref()
                .map(|revision| printable(&short::revision(&revision.to_string())))
                .unwrap_or_default(),
        }
    }
}

/// What is frozen, by whom, until when, and why.
fn frozen(freeze: &Freeze) -> Printable {
    let of = freeze.service.as_ref().map_or_else(|| "all services".to_owned(), ToString::to_string);
    let until = freeze.until.map(|until| format!(", until {}", short::time(until))).unwrap_or_default();
    printable(&format!("frozen: {of}, by {}{until}: {}", freeze.by, freeze.reason))
}

fn shown(service: &Service) -> Shown {
    let state = service.status.state;
    let hint = service.status.error.as_ref().or(unread(service)).and_then(|error| error.hint.as_ref());
    Shown {
        rank: state.rank(),
        service: printable(&service.status.service.to_string()),
        state,
        image: image(&service.image),
        revision: shown_or_nothing(service.applied_revision.as_deref().map(short::revision)),
        commit: shown_or_nothing(
            service.applied_commit.as_ref().map(|Headline { subject, author }| format!("{subject} ({author})")),
        ),
        manifest: shown_or_nothing(service.status.manifest.as_ref().map(ToString::to_string)),
        digest: shown_or_nothing(service.status.applied.map(short::digest)),
        applied: service.applied_at,
        rollout: service.status.rollout.as_ref().map(|rollout| rollout.state),
        message: printable(&message(service)),
        hint: hint.map(|hint| printable(&format!("hint: {hint}"))),
    }
}

fn shown_or_nothing(text: Option<String>) -> Printable {
    text.map(|text| printable(&text)).unwrap_or_default()
}

/// What its manifest asks for, and what it has where that is another image.
fn image(Versions { desired, live }: &Versions) -> Printable {
    printable(&match (desired, live) {
        (Some(desired), Some(live)) => format!("{desired} (live: {live})"),
        (Some(desired), None) => desired.clone(),
        (None, Some(live)) => format!("(live: {live})"),
        (None, None) => String::new(),
    })
}

/// What there is to be said of it in a sentence, with a hint where there is one.
fn message(service: &Service) -> String {
    let status = &service.status;
    let drift = status.drift.as_ref();
    let mut parts = Vec::new();
    match (&status.suspension, service.cause, status.state) {
        _ if status.error.is_some() => {}
        (Some(suspended), ..) => parts.push(suspension(suspended)),
        (None, _, ServiceState::Drifted | ServiceState::Flapping | ServiceState::NotInEffect) => {
            // That of the image has a column.
            let differences = drift.iter().flat_map(|drift| &drift.differences).filter(|change| change.path != IMAGE);
            parts.push(differences.map(ToString::to_string).collect::<Vec<_>>().join(", "));
        }
        (None, Some(cause), _) => parts.push(cause.as_str().to_owned()),
        (None, None, ServiceState::Orphaned) => parts.push("no manifest names it".to_owned()),
        (None, None, _) => {}
    }
    let until = status.next_attempt.map(short::clock);
    parts.extend(until.and_then(|until| match status.state {
        ServiceState::Flapping => Some(format!("left alone until {until}, {FLAPS}")),
        ServiceState::RateLimited => Some(format!("waits for the rate limit until {until}")),
        ServiceState::InDoubt => Some(format!("may still take effect until {until}")),
        ServiceState::Held => status.next_attempt.map(|until| format!("until {}", short::time(until))),
        _ => None,
    }));
    parts.extend(unread(service).map(|error| format!("live could not be read: {}", error.line())));
    parts.extend(status.error.as_ref().map(Diagnostic::line));
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

/// Why live could not be read.
fn unread(service: &Service) -> Option<&Diagnostic> {
    service.status.drift.as_ref()?.error.as_ref()
}

/// The colour of a rollout: what failed, what has not ended.
fn of_rollout(state: RolloutState) -> Style {
    match state {
        state if state.has_failed() => WRONG,
        state if state.is_open() => WAITS,
        _ => Style::new(),
    }
}

/// The colour of a state: what is wrong, what waits, what is left alone.
fn style(state: ServiceState) -> Style {
    match state {
        ServiceState::Stalled
        | ServiceState::RolloutFailed
        | ServiceState::RolledBack
        | ServiceState::Denied
        | ServiceState::Invalid
        | ServiceState::NotInEffect
        | ServiceState::Flapping
        | ServiceState::Drifted
        | ServiceState::LedgerUnwritable
        | ServiceState::Unreachable => WRONG,
        ServiceState::RateLimited
        | ServiceState::BackingOff
        | ServiceState::InDoubt
        | ServiceState::InFlight
        | ServiceState::Queued
        | ServiceState::Held => WAITS,
        ServiceState::Suspended | ServiceState::Orphaned => FAINT,
        ServiceState::Unchanged => Style::new(),
    }
}

/// A line a service, and who works on it. On a terminal what has no room in its line stands below; nothing is cut that
/// people copy from here.
pub(super) fn lines(view: &View, now: Timestamp, width: Option<usize>, detail: Detail) -> Vec<String> {
    if let Some(path) = &view.missing {
        return folded(&missing(path, view, None).join("\n"), width).lines().map(str::to_owned).collect();
    }
    let mut lines = match detail {
        Detail::Short => whole(&view.rows, now, width),
        Detail::Wide => wide(&view.rows, now),
    };
    let foot = foot(view, now, None).join("\n");
    lines.extend(folded(&foot, width).lines().map(str::to_owned));
    lines
}

/// The same with the problems, cut to a terminal's height too.
pub(super) fn screen(view: &View, now: Timestamp, size: Size) -> Vec<String> {
    let width = Some(size.columns);
    if let Some(path) = &view.missing {
        return missing(path, view, width).into_iter().take(size.rows).collect();
    }
    let mut foot = foot(view, now, width);
    let told = view.problems.iter().take(PROBLEMS).map(|problem| one_line(problem, WRONG, width));
    let more = view.problems.len().saturating_sub(PROBLEMS);
    let more =
        (more > 0).then(|| one_line(&printable(&format!("… and {}", counted(more, "more problem"))), FAINT, width));
    let above: Vec<String> = told.chain(more).collect();
    foot.splice(0..0, above);
    let room = size.rows.saturating_sub(foot.len());
    let mut lines = if view.rows.len() < room {
        picture(&view.rows, now, width)
    } else {
        // One line is the head's, one is for those that are left out.
        let fit = room.saturating_sub(2).min(view.rows.len());
        let mut lines = picture(&view.rows[..fit], now, width);
        lines.push(one_line(&printable(&format!("… and {} more", view.rows.len() - fit)), FAINT, width));
        lines
    };
    lines.truncate(room);
    lines.append(&mut foot);
    lines.truncate(size.rows);
    lines
}

/// How much is shown of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    Short,
    /// With commit, manifest and digest; wider than most terminals.
    Wide,
}

fn cells(row: &Shown, now: Timestamp) -> [Cell; 6] {
    [
        Cell::new(row.service.clone()),
        Cell::styled(row.state.as_str(), style(row.state)),
        Cell::new(row.image.clone()),
        Cell::new(row.revision.clone()),
        Cell::new(row.applied.map(|applied| printable(&short::age(applied, now))).unwrap_or_default()),
        row.rollout.map(|state| Cell::styled(state.as_str(), of_rollout(state))).unwrap_or_default(),
    ]
}

/// A message that has no room in its line, and the way out, below it.
fn below(texts: impl IntoIterator<Item = Cell>) -> Vec<Cell> {
    texts.into_iter().map(Cell::sentence).collect()
}

fn whole(rows: &[Shown], now: Timestamp, width: Option<usize>) -> Vec<String> {
    const COLUMNS: [Column; 7] = [
        Column::Firm("SERVICE"),
        Column::Firm("STATE"),
        Column::Firm("IMAGE"),
        Column::Spare("REVISION"),
        Column::Spare("AGE"),
        Column::Spare("ROLLOUT"),
        Column::Firm("MESSAGE"),
    ];
    let widest = |text: fn(&Shown) -> &str| rows.iter().map(|row| measured(text(row))).max().unwrap_or_default();
    let before =
        [widest(|row| row.service.as_str()), widest(|row| row.state.as_str()), widest(|row| row.image.as_str())];
    // As far as the columns before it leave room, without those that are left out for it.
    let room = width.map(|width| width.saturating_sub(before.into_iter().map(|width| width + table::GAP).sum()));
    let fits = |row: &Shown| room.is_none_or(|room| measured(row.message.as_str()) <= room);
    let row = |row: &Shown| {
        let [service, state, image, revision, age, rollout] = cells(row, now);
        let message = Cell::new(row.message.clone());
        let (within, after) = if fits(row) { (message, None) } else { (Cell::default(), Some(message)) };
        Row {
            cells: [service.whole(), state, image.whole(), revision, age, rollout, within],
            below: below(after.into_iter().chain(row.hint.clone().map(|hint| Cell::styled(hint, FAINT)))),
        }
    };
    table_of(COLUMNS, rows.iter().map(row).collect(), width)
}

fn wide(rows: &[Shown], now: Timestamp) -> Vec<String> {
    const COLUMNS: [Column; 10] = [
        Column::Firm("SERVICE"),
        Column::Firm("STATE"),
        Column::Firm("IMAGE"),
        Column::Firm("REVISION"),
        Column::Firm("AGE"),
        Column::Firm("ROLLOUT"),
        Column::Firm("COMMIT"),
        Column::Firm("MANIFEST"),
        Column::Firm("DIGEST"),
        Column::Firm("MESSAGE"),
    ];
    let row = |row: &Shown| {
        let [service, state, image, revision, age, rollout] = cells(row, now);
        let [commit, manifest, digest] = [&row.commit, &row.manifest, &row.digest].map(|text| Cell::new(text.clone()));
        Row {
            cells: [
                service,
                state,
                image,
                revision,
                age,
                rollout,
                commit,
                manifest,
                digest,
                Cell::new(row.message.clone()),
            ],
            below: below(row.hint.clone().map(|hint| Cell::styled(hint, FAINT))),
        }
    };
    table_of(COLUMNS, rows.iter().map(row).collect(), None)
}

/// A picture has one line for each service, and none that is wider than the screen.
fn picture(rows: &[Shown], now: Timestamp, width: Option<usize>) -> Vec<String> {
    const COLUMNS: [Column; 7] = [
        Column::Name("SERVICE"),
        Column::Firm("STATE"),
        Column::Spare("IMAGE"),
        Column::Spare("REVISION"),
        Column::Spare("AGE"),
        Column::Spare("ROLLOUT"),
        Column::Soft("MESSAGE"),
    ];
    let row = |row: &Shown| {
        let [service, state, image, revision, age, rollout] = cells(row, now);
        let message = match &row.hint {
            Some(hint) => printable(&format!("{}; {hint}", row.message)),
            None => row.message.clone(),
        };
        Row { cells: [service, state, image, revision, age, rollout, Cell::new(message)], below: Vec::new() }
    };
    table_of(COLUMNS, rows.iter().map(row).collect(), width)
}

fn table_of<const N: usize>(columns: [Column; N], rows: Vec<Row<N>>, width: Option<usize>) -> Vec<String> {
    if rows.is_empty() { Vec::new() } else { table::lines(columns, &rows, width) }
}

/// What there is to say without a ledger. A path is copied from here, where the width allows it.
fn missing(path: &Path, view: &View, width: Option<usize>) -> Vec<String> {
    let problems = match view.problems.len() {
        0 => String::new(),
        count => format!("; {} in the folder", counted(count, "problem")),
    };
    let (shown, hint) = (path.to_string_lossy(), way_to_ledger(path));
    vec![
        one_line(&printable(&format!("no ledger at {shown}: it is not known what was applied")), WAITS, width),
        one_line(&printable(&format!("hint: {hint}")), Style::new(), width),
        one_line(&printable(&format!("{}{problems}", view.revision)), FAINT, width),
    ]
}

fn foot(view: &View, now: Timestamp, width: Option<usize>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((until, reason)) = &view.paused {
        let words =
            format!("calls are paused until {} (in {}): {reason}", short::time(*until), short::span(now, *until));
        lines.push(one_line(&printable(&words), WAITS, width));
    }
    for (told, what) in [(&view.freezes, "more freeze"), (&view.asked, "more request")] {
        lines.extend(told.iter().take(FREEZES).map(|line| one_line(line, WAITS, width)));
        if let Some(more) = told.len().checked_sub(FREEZES).filter(|more| *more > 0) {
            lines.push(one_line(&printable(&format!("… and {}", counted(more, what))), WAITS, width));
        }
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
