//! `truenorth history`: what was sent, when, why, from where, and how it ended; from the ledger alone.

use std::cmp::Reverse;
use std::iter;

use anstyle::{AnsiColor, Style};
use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::args::{FolderArgs, Output, ShowArgs, StateArgs, UrlArgs, count};
use super::beside::BesideArgs;
use super::exit::Exit;
use super::status::told;
use super::status_table::one_line;
use super::table::{self, Cell, Column, Row, Size};
use super::{ledger_error, names, print, read_error, services, tell_missing, tell_other_place};
use crate::ledger::Reader;
use crate::model::{Diagnostic, Headline, RolloutState, ServiceKey};
use crate::plan::Change;
use crate::text::{folded, printable, short};
use crate::views::{Asked, Attempt, Decided, History, Word};

#[derive(Args, Debug)]
pub(super) struct HistoryArgs {
    /// Only this service: project/service, team/project/service, or its last part where only one has it
    #[arg(add = ArgValueCompleter::new(names::services), value_name = "SERVICE")]
    service: Option<String>,
    /// Most calls to show
    #[arg(long, short = 'n', value_name = "N", env = "TRUENORTH_HISTORY_LIMIT", default_value_t = 20, value_parser = count, allow_negative_numbers = true)]
    limit: u32,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    url: UrlArgs,
    #[command(flatten)]
    beside: BesideArgs,
    #[command(flatten)]
    show: ShowArgs,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    output: Output,
}

pub(super) fn run(args: &HistoryArgs) -> anyhow::Result<Exit> {
    let (state_dir, _) = args.beside.state_dir(&args.state)?;
    let reader = Reader::open(&state_dir).map_err(|error| ledger_error(&error))?;
    if reader.is_none() {
        tell_missing(&state_dir);
    }
    tell_other_place(reader.as_ref(), &args.url, false)?;
    let history = read(reader.as_ref(), args)?;
    match args.output {
        Output::Json => print::json(&history)?,
        Output::Text => {
            let width = Size::of_stdout().map(|size| size.columns);
            print::verbatim(&text(&history, width))?;
        }
    }
    Ok(Exit::Converged)
}

fn read(reader: Option<&Reader>, args: &HistoryArgs) -> anyhow::Result<History> {
    let known = match reader {
        Some(reader) if args.service.is_some() => reader.services().map_err(read_error)?,
        Some(_) | None => Vec::new(),
    };
    let service = match &args.service {
        Some(name) => Some(meant(name, &known, args)?),
        None => None,
    };
    History::read(reader, service, args.limit, args.show.commands()).map_err(read_error)
}

/// The service that a name stands for: one that was called, else one that has a manifest.
fn meant(name: &str, called: &[ServiceKey], args: &HistoryArgs) -> anyhow::Result<ServiceKey> {
    let unknown = match services::meant(name, called, "the ledger knows no") {
        Ok(service) => return Ok(service),
        Err(unknown) => unknown,
    };
    let Ok(snapshot) = args.folder.folder().look() else { return Err(unknown.into()) };
    let known = snapshot.desired.keys().chain(snapshot.claimed()).chain(called);
    Ok(services::meant(name, known, "neither the folder nor the ledger knows a")?)
}

/// What matters most stands first: on a narrow terminal the last ones are left out.
const COLUMNS: [Column; 9] = [
    Column::Firm("TIME"),
    Column::Firm("RESULT"),
    Column::Firm("SERVICE"),
    Column::Spare("CAUSE"),
    Column::Spare("REVISION"),
    Column::Spare("TRY"),
    Column::Spare("TOOK"),
    Column::Spare("MANIFEST"),
    Column::Spare("DIGEST"),
];

fn text(history: &History, width: Option<usize>) -> String {
    let rows: Vec<Row<9>> = history.calls.iter().map(|call| row(call, width)).collect();
    let mut lines = match rows.as_slice() {
        [] => vec!["nothing was sent yet".to_owned()],
        rows => table::lines(COLUMNS, rows, width),
    };
    let asked = history.requests.iter().map(|it| (it.at, asked(it)));
    let decided = history.decisions.iter().map(|it| (it.at, decided(it)));
    let mut people: Vec<_> = asked.chain(decided).collect();
    if !people.is_empty() {
        people.sort_by_key(|(at, _)| Reverse(*at));
        lines.push("asked and decided by people:".to_owned());
        lines.extend(people.into_iter().map(|(_, line)| folded(&line, width)));
    } else if history.calls.is_empty() {
        return "nothing was sent yet\n".to_owned();
    }
    lines.push(one_line(&printable(&told(history.holder, history.as_of)), Style::new().dimmed(), width));
    lines.into_iter().map(|line| line + "\n").collect()
}

/// Who asked for what, when and why, and what came of it. Nothing is cut: reasons are for reading.
fn asked(asked: &Asked) -> String {
    let of = asked.service.as_ref().map_or_else(|| "all services".to_owned(), ToString::to_string);
    let until = asked.until.map(|until| format!(" until {}", short::time(until))).unwrap_or_default();
    let reason = asked.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let result = asked.result.as_deref().unwrap_or("not taken up yet");
    let (at, kind) = (short::time(asked.at), asked.kind.as_str());
    printable(&format!("{at}  {kind} {of}{until}, by {}{reason} ({result})", asked.by)).to_string()
}

/// Who decided what about a plan, when and why.
fn decided(decided: &Decided) -> String {
    let Decided { plan, answer, by, reason, at, until } = decided;
    let of = plan.as_ref().map_or_else(|| "(this record is damaged)".to_owned(), |plan| format!("plan {plan:.12}"));
    let until = until.map(|until| format!(" until {}", short::time(until))).unwrap_or_default();
    let by = by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    printable(&format!("{}  {} {of}{until}{by}{reason}", short::time(*at), answer.as_str())).to_string()
}

fn row(call: &Attempt, width: Option<usize>) -> Row<9> {
    let plain = |text: &str| Cell::new(printable(text));
    let mut below: Vec<Cell> = changes(&call.changes, width);
    let rollout = call.rollout.as_ref().filter(|rollout| rollout.state != RolloutState::Unseen);
    below.extend(rollout.map(|rollout| faint(&format!("rollout: {}", rollout.words()))));
    below.extend(call.commit.as_ref().map(|Headline { subject, author }| faint(&format!("{subject} ({author})"))));
    below.extend(call.message.as_ref().map(message).unwrap_or_default());
    Row {
        cells: [
            plain(&short::time(call.began)),
            Cell::styled(printable(&call.ending()), style(call.outcome)),
            plain(&call.service.to_string()).whole(),
            plain(&call.cause),
            plain(&short::revision(&call.revision)),
            plain(&call.tried().map(|attempt| attempt.to_string()).unwrap_or_default()),
            plain(&call.took().map(short::took).unwrap_or_default()),
            plain(&call.manifest.to_string()),
            plain(&short::digest(call.digest)),
        ],
        below,
    }
}

/// What a call changed, a field a line; over two lines where one would be wider than the terminal. Nothing is cut: an
/// image is copied from here.
fn changes(changes: &[Change], width: Option<usize>) -> Vec<Cell> {
    let longest = changes.iter().map(|change| change.path.len()).max().unwrap_or_default();
    let whole = |text: String| Cell::new(printable(&text)).whole();
    let mut lines = Vec::new();
    for Change { path, from, to } in changes {
        let to = to.as_deref().unwrap_or("not set");
        match from {
            None => lines.push(whole(format!("{path:<longest$}  {to}"))),
            Some(from) => {
                let one = format!("{path:<longest$}  {from} -> {to}");
                if width.is_none_or(|width| one.chars().count() + 4 <= width) {
                    lines.push(whole(one));
                } else {
                    lines.push(whole(format!("{path:<longest$}  {from}")));
                    lines.push(whole(format!("{:>longest$}  -> {to}", "")));
                }
            }
        }
    }
    lines
}

fn faint(text: &str) -> Cell {
    Cell::styled(printable(text), Style::new().dimmed())
}

/// What went wrong, and the way out on a line of its own.
fn message(error: &Diagnostic) -> Vec<Cell> {
    let hint = error.hint.as_ref().map(|hint| format!("hint: {hint}"));
    let details = error.lines().into_iter().map(|line| format!("  {line}"));
    iter::once(error.message.clone()).chain(details).chain(hint).map(|line| faint(&line).sentence()).collect()
}

/// The colour of an outcome.
pub(super) fn style(outcome: Word) -> Style {
    match outcome {
        Word::Accepted | Word::Adopted => AnsiColor::Green.on_default(),
        Word::Rejected => AnsiColor::Red.on_default(),
        Word::Unsent | Word::Unknown | Word::Interrupted | Word::InFlight => AnsiColor::Yellow.on_default(),
    }
}
