//! `truenorth status`: every service, beside a running daemon or without one.

use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;

use super::args::{Output, StatusArgs};
use super::exit::Exit;
use super::status_table::{self, View};
use super::table::Size;
use super::{ledger_error, observe_error, print, read_error, settings, tell_missing, tell_other_place, watch};
use crate::daemon::{self, Observation};
use crate::ledger::{Holder, Reader};
use crate::source::Folder;
use crate::text::command::Commands;
use crate::text::short;
use crate::views::{Page, who};

pub(super) fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let state_dir = settings::state_dir(&args.state, &settings::environment)?;
    let mut folder = args.folder.folder();
    if let Some(every) = args.watch {
        return watch::run(folder, state_dir, every, args.output);
    }
    let (page, reader) = look(&mut folder, &state_dir)?;
    if reader.is_none() {
        tell_missing(&state_dir);
    }
    tell_other_place(reader.as_ref(), &args.url)?;
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

/// What a look at the folder and the ledger showed, and the ledger.
pub(super) fn look(folder: &mut Folder, state_dir: &Path) -> anyhow::Result<(Page, Option<Reader>)> {
    let (observation, reader) = observe(folder, state_dir)?;
    let page = Page::read(observation.observed(), reader.as_ref(), Timestamp::now()).map_err(read_error)?;
    Ok((page, reader))
}

/// Reads the folder and the ledger, by the rules of whoever wrote the ledger.
pub(super) fn observe(folder: &mut Folder, state_dir: &Path) -> anyhow::Result<(Observation, Option<Reader>)> {
    let reader = Reader::open(state_dir).map_err(|error| ledger_error(&error))?;
    let decider = reader.as_ref().map(Reader::decider).transpose().map_err(read_error)?.flatten();
    let rules = decider.map(|(_, decider)| decider.rules).unwrap_or_default();
    let observation = daemon::observe_with(folder, reader.as_ref(), &rules, &|_| false).map_err(observe_error)?;
    Ok((observation, reader))
}

/// Who works on the ledger, and how old what it says is where nobody does.
pub(super) fn told(holder: Option<Holder>, as_of: Option<Timestamp>) -> String {
    match (holder, as_of) {
        (None, Some(as_of)) => format!("no daemon runs; as of {}", short::time(as_of)),
        (holder, _) => who(holder),
    }
}
