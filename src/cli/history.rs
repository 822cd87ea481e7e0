//! `truenorth history`: what was sent, when, why, from where, and how it ended; from the ledger alone.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};

use super::args::{HistoryArgs, Output};
use super::exit::Exit;
use super::status::told;
use super::status_table::one_line;
use super::table::{self, Cell, Column, Row, Size};
use super::{ledger_error, print, read_error, services, settings, tell_missing};
use crate::ledger::Reader;
use crate::text::{printable, short};
use crate::views::{Attempt, History, Word, with_hint};

pub(super) fn run(args: &HistoryArgs) -> anyhow::Result<Exit> {
    let state_dir = settings::state_dir(&args.state, &settings::environment)?;
    let reader = Reader::open(&state_dir).map_err(|error| ledger_error(&error))?;
    if reader.is_none() {
        tell_missing(&state_dir);
    }
    let history = read(reader.as_ref(), args)?;
    match args.output {
        Output::Json => print::json(&history)?,
        Output::Text => {
            let width = Size::of_stdout().map(|size| size.columns);
            anstream::stdout().write_all(text(&history, width).as_bytes())?;
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
        Some(name) => Some(services::meant(name, &known, "the ledger knows no")?),
        None => None,
    };
    History::read(reader, service, args.limit).map_err(read_error)
}

/// What matters most stands first: on a narrow terminal the end of a line is cut.
const COLUMNS: [Column; 9] = [
    Column::Firm("TIME"),
    Column::Soft("SERVICE"),
    Column::Firm("OUTCOME"),
    Column::Firm("CAUSE"),
    Column::Firm("TRY"),
    Column::Firm("TOOK"),
    Column::Soft("REVISION"),
    Column::Soft("MANIFEST"),
    Column::Firm("DIGEST"),
];

fn text(history: &History, width: Option<usize>) -> String {
    if history.calls.is_empty() {
        return "nothing was sent yet\n".to_owned();
    }
    let rows: Vec<Row<9>> = history.calls.iter().map(row).collect();
    let mut lines = table::lines(COLUMNS, &rows, width);
    lines.push(one_line(&printable(&told(history.holder, history.as_of)), Style::new().dimmed(), width));
    lines.into_iter().map(|line| line + "\n").collect()
}

fn row(call: &Attempt) -> Row<9> {
    let plain = |text: &str| Cell::new(printable(text));
    Row {
        cells: [
            plain(&short::time(call.began)),
            plain(&call.service.to_string()),
            Cell::styled(printable(&call.ending()), style(call.outcome)),
            plain(&call.cause),
            plain(&call.tried().map(|attempt| attempt.to_string()).unwrap_or_default()),
            plain(&call.took().map(short::took).unwrap_or_default()),
            plain(&short::revision(&call.revision)),
            plain(&call.manifest.to_string()),
            plain(&short::digest(call.digest)),
        ],
        below: call.message.as_deref().map(below).unwrap_or_default(),
    }
}

/// A message, and the way out on a line of its own.
fn below(message: &str) -> Vec<Cell> {
    let (message, hint) = with_hint(message);
    let lines = [Some(message.to_owned()), hint.map(|hint| format!("hint: {hint}"))];
    lines.into_iter().flatten().map(|line| Cell::styled(printable(&line), Style::new().dimmed())).collect()
}

/// The colour of an outcome.
pub(super) fn style(outcome: Word) -> Style {
    match outcome {
        Word::Accepted | Word::Adopted => AnsiColor::Green.on_default(),
        Word::Rejected => AnsiColor::Red.on_default(),
        Word::Unsent | Word::Unknown | Word::Interrupted | Word::InFlight => AnsiColor::Yellow.on_default(),
    }
}
