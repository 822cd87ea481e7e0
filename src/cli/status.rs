//! `truenorth status`: every service, beside a running daemon or without one.

use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;

use super::args::{Output, StatusArgs};
use super::exit::Exit;
use super::status_table::{self, View};
use super::table::Size;
use super::{ledger_error, observe_error, print, read_error, settings, tell_missing, watch};
use crate::daemon::{self, Observation};
use crate::ledger::Reader;
use crate::source::Folder;
use crate::text::command::Commands;
use crate::text::short;
use crate::views::{Holding, Page};

pub(super) fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let state_dir = settings::state_dir(&args.state, &settings::environment)?;
    let mut folder = args.folder.folder();
    if let Some(every) = args.watch {
        return watch::run(folder, state_dir, every, args.output);
    }
    let page = look(&mut folder, &state_dir)?;
    if matches!(Reader::open(&state_dir), Ok(None)) {
        tell_missing(&state_dir);
    }
    match args.output {
        Output::Json => print::json(&page)?,
        Output::Text => {
            print::problems(&page.problems, folder.path(), Commands::Hidden)?;
            let width = Size::of_stdout().map(|size| size.columns);
            let lines = status_table::lines(&View::of(&page), Timestamp::now(), width);
            anstream::stdout().write_all((lines.join("\n") + "\n").as_bytes())?;
        }
    }
    Ok(Exit::Converged)
}

/// Reads the folder and the ledger.
pub(super) fn look(folder: &mut Folder, state_dir: &Path) -> anyhow::Result<Page> {
    let (observation, reader) = observe(folder, state_dir)?;
    let now = Timestamp::now();
    let holder = Holding::of(reader.as_ref()).map_err(read_error)?;
    Page::read(observation.observed(), who(holder), reader.as_ref(), now).map_err(read_error)
}

/// Reads the folder and the ledger, by the rules of whoever wrote the ledger.
pub(super) fn observe(folder: &mut Folder, state_dir: &Path) -> anyhow::Result<(Observation, Option<Reader>)> {
    let reader = Reader::open(state_dir).map_err(|error| ledger_error(&error))?;
    let states = match &reader {
        Some(reader) => reader.states().map_err(read_error)?,
        None => None,
    };
    let rules = states.map(|states| states.decider.rules).unwrap_or_default();
    let observation = daemon::observe_with(folder, reader.as_ref(), &rules, &|_| false).map_err(observe_error)?;
    Ok((observation, reader))
}

/// Who works on the ledger.
fn who(holder: Option<Holding>) -> String {
    match holder.map(|holder| holder.pid) {
        None => "no daemon runs".to_owned(),
        Some(None) => "another process has the ledger open".to_owned(),
        Some(Some(pid)) => format!("process {pid} has the ledger open"),
    }
}

/// Who works on the ledger, and how old what it says is where nobody does.
pub(super) fn told(holder: Option<Holding>, as_of: Option<Timestamp>) -> String {
    match (holder, as_of) {
        (None, Some(as_of)) => format!("no daemon runs; as of {}", short::time(as_of)),
        (holder, _) => who(holder),
    }
}
