//! `truenorth status`: every service, beside a running daemon or without one.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use jiff::Timestamp;

use super::args::{FolderArgs, StateArgs, UrlArgs, duration, seconds, state};
use super::beside::BesideArgs;
use super::exit::Exit;
use super::progress::WaitLine;
use super::status_table::{self, Detail, View};
use super::table::Size;
use super::{ledger_error, names, observe_error, print, read_error, refused, tell_empty, tell_other_place, watch};
use crate::ledger::{Holder, Reader, Traces};
use crate::model::{ServiceKey, ServiceState};
use crate::pass::{self, Bounds, Observation};
use crate::plan::Windows;
use crate::source::{Allowed, Folder};
use crate::text::command::Commands;
use crate::text::{listed, short};
use crate::views::{Page, Selection, who};

/// What `truenorth status --help` says after the options.
const AFTER_STATUS_HELP: &str = "\
Exit codes with --exit-code or --wait, of the services that are shown:
  0  converged
  1  not converged, or there is no ledger
  3  nothing failed, something is held: a person or a time is awaited";

#[derive(Args, Debug)]
#[command(after_help = AFTER_STATUS_HELP)]
pub(super) struct StatusArgs {
    /// Only these services: PROJECT, PROJECT/SERVICE, TEAM/PROJECT or TEAM/PROJECT/SERVICE, with * and ?
    #[arg(add = ArgValueCompleter::new(names::patterns), value_name = "PATTERN")]
    services: Vec<Allowed>,
    /// Only services in this state, such as stalled; may be given several times
    #[arg(long = "state", value_name = "STATE", env = "TRUENORTH_STATUS_STATE", value_delimiter = ',', value_parser = state())]
    states: Vec<ServiceState>,
    /// Exit with 1 where something is not converged, with 3 where it is only held
    #[arg(long, env = "TRUENORTH_EXIT_CODE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    exit_code: bool,
    /// Wait until all is converged, at most so long (10m if not said); then as with --exit-code
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_STATUS_WAIT", num_args = 0..=1, default_missing_value = "10m", value_parser = duration, conflicts_with = "watch")]
    wait: Option<Duration>,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    url: UrlArgs,
    /// Show the ledger that passes of a sandbox keep in --state-dir, or that of a daemon with a sandbox
    #[arg(long, env = "TRUENORTH_SANDBOX", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    sandbox: bool,
    #[command(flatten)]
    beside: BesideArgs,
    /// Keep it on the screen until Ctrl-C; looks when the ledger changes, and every so many seconds (2 if not said)
    #[arg(long, short, value_name = "SECONDS", env = "TRUENORTH_STATUS_WATCH", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    watch: Option<Duration>,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    output: StatusOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum StatusOutput {
    /// A table for people
    Text,
    /// The same with commits, manifests and digests
    Wide,
    /// One JSON object
    Json,
}

pub(super) fn run(args: &StatusArgs, windows: Windows) -> anyhow::Result<Exit> {
    let (state_dir, folder) = args.beside.observed(&args.state, &args.folder, args.sandbox)?;
    let selection = Selection { patterns: args.services.clone(), states: args.states.clone() };
    let mut view = Looks { folder, state_dir, selection, windows };
    if let Some(every) = args.watch {
        return watch::run(view, every, args.output);
    }
    let (page, reader) = match args.wait {
        Some(limit) => view.until_converged(limit)?,
        None => view.look()?,
    };
    tell_other_place(reader.as_ref(), &args.url, args.sandbox)?;
    if page.is_empty {
        tell_empty(view.folder.path());
    }
    match args.output {
        StatusOutput::Json => print::json(&page)?,
        StatusOutput::Text | StatusOutput::Wide => {
            if view.selection.is_all() {
                print::problems(&page.problems, view.folder.path(), Commands::Hidden)?;
            }
            let width = Size::of_stdout().map(|size| size.columns);
            let lines = status_table::lines(&View::of(&page), Timestamp::now(), width, Detail::of(args.output));
            print::verbatim(&(lines.join("\n") + "\n"))?;
        }
    }
    if page.services.is_empty() && page.ledger.exists && !args.services.is_empty() && args.states.is_empty() {
        view.selection = Selection::default();
        return Err(no_service(&args.services, &view.look()?.0));
    }
    Ok(match args.exit_code || args.wait.is_some() {
        true if page.is_held() => Exit::Held,
        true if !page.converged => Exit::NotConverged,
        _ => Exit::Converged,
    })
}

fn no_service(patterns: &[Allowed], all: &Page) -> anyhow::Error {
    // Other commands take a service by its last part; here that is a project.
    let is_meant = |key: &&ServiceKey| patterns.iter().any(|pattern| pattern.to_string() == key.service.as_str());
    let meant: Vec<&ServiceKey> = all.services.iter().map(|service| &service.status.service).filter(is_meant).collect();
    let hint = match meant.as_slice() {
        [] => "a pattern is PROJECT, PROJECT/SERVICE, TEAM/PROJECT or TEAM/PROJECT/SERVICE; * and ? stand for any \
               characters"
            .to_owned(),
        meant => format!("did you mean {}?", listed(meant)),
    };
    let message = format!("no service matches {}", listed(patterns));
    refused(message, hint).into()
}

impl Detail {
    pub(super) fn of(output: StatusOutput) -> Self {
        if output == StatusOutput::Wide { Self::Wide } else { Self::Short }
    }
}

/// How often the ledger's files are asked whether somebody wrote: three calls of `stat(2)`.
pub(super) const ASKED_EVERY: Duration = Duration::from_millis(100);
/// How often the folder is read anew while nobody writes to the ledger.
const LOOKED_EVERY: Duration = Duration::from_secs(2);

/// What is looked at, and which services of it are shown.
pub(super) struct Looks {
    folder: Folder,
    state_dir: PathBuf,
    selection: Selection,
    windows: Windows,
}

impl Looks {
    /// Reads the folder and the ledger, which it gives back.
    pub(super) fn look(&mut self) -> anyhow::Result<(Page, Option<Reader>)> {
        let (observation, reader) = observe(&mut self.folder, &self.state_dir, &self.windows)?;
        let ledger = (&*self.state_dir, reader.as_ref());
        let mut page = Page::read(observation.observed(), ledger, Timestamp::now()).map_err(read_error)?;
        page.select(&self.selection);
        Ok((page, reader))
    }

    /// What shows that somebody wrote to the ledger.
    pub(super) fn traces(&self) -> Traces {
        Traces::of(&self.state_dir)
    }

    /// Looks until everything that is shown is converged, or the time is over.
    fn until_converged(&mut self, limit: Duration) -> anyhow::Result<(Page, Option<Reader>)> {
        let until = Instant::now() + limit;
        let line = WaitLine::new();
        loop {
            // Taken before: what is written during the look is seen by the next one.
            let traces = self.traces();
            let (page, reader) = self.look()?;
            if page.converged || Instant::now() >= until {
                line.clear();
                return Ok((page, reader));
            }
            line.show(&page);
            let again = until.min(Instant::now() + LOOKED_EVERY);
            while Instant::now() < again && self.traces() == traces {
                thread::sleep(ASKED_EVERY);
            }
        }
    }
}

/// Reads the folder and the ledger, by the rules of whoever wrote the ledger.
pub(super) fn observe(
    folder: &mut Folder,
    state_dir: &Path,
    windows: &Windows,
) -> anyhow::Result<(Observation, Option<Reader>)> {
    let reader = Reader::open(state_dir).map_err(|error| ledger_error(&error))?;
    let decider = reader.as_ref().map(Reader::decider).transpose().map_err(read_error)?.flatten();
    let rules = decider.map(|(_, decider)| decider.rules).unwrap_or_default();
    let bounds = Bounds { rules: &rules, windows, is_secret: &|_| false };
    let observation = pass::observe_with(folder, reader.as_ref(), bounds).map_err(observe_error)?;
    Ok((observation, reader))
}

/// Who works on the ledger, and how old what it says is where nobody does.
pub(super) fn told(holder: Option<Holder>, as_of: Option<Timestamp>) -> String {
    match (holder, as_of) {
        (None, Some(as_of)) => format!("no daemon runs; as of {}", short::time(as_of)),
        (holder, _) => who(holder),
    }
}
