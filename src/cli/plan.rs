//! `truenorth plan`: what a pass would do. Sends nothing, and leaves the ledger as it is.

use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};
use jiff::Timestamp;

use super::args::{ApiArgs, FolderArgs, FuseArgs, RuleArgs, ShowArgs, StateArgs, concurrency};
use super::exit::Exit;
use super::print::{self, Kept, Shown};
use super::progress::ReadsLine;
use super::target::{Examples, Reading};
use super::{ledger_error, markdown, observe_error, read_error, settings, tell_empty};
use crate::ledger::{OpenError, Reader, keep_shown};
use crate::model::ApiPlace;
use crate::pass::{self, Bounds, Observation};
use crate::plan::{Fuse, MaxChanges, Outcome, PlanReport, Report, Rules, Windows};
use crate::source::Folder;
use crate::text::command::Commands;
use crate::text::printable;

#[derive(Args, Debug)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    rules: RuleArgs,
    #[command(flatten)]
    fuse: FuseArgs,
    /// Read what runs, one call a service, and plan by that: shows what would be adopted, and what drifted
    #[arg(long, env = "TRUENORTH_LIVE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    live: bool,
    #[command(flatten)]
    api: ApiArgs,
    /// With --live: calls in flight at once
    #[arg(long, value_name = "N", env = "TRUENORTH_CONCURRENCY", default_value_t = 8, value_parser = concurrency, allow_negative_numbers = true)]
    concurrency: u16,
    /// Exit with 2 where changes are pending, or with --live where services drifted; with 3 where they are held
    #[arg(long, env = "TRUENORTH_EXIT_CODE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    exit_code: bool,
    #[command(flatten)]
    show: ShowArgs,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    output: PlanOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PlanOutput {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
    /// A comment on a pull request
    Markdown,
}

pub(super) fn run(args: &PlanArgs, windows: Windows) -> anyhow::Result<Exit> {
    let commands = args.show.commands();
    let asked = Asked {
        folder: &args.folder,
        state: &args.state,
        api: &args.api,
        rules: args.rules.rules(),
        max_changes: args.fuse.max_changes(),
        windows,
        reads: args.live.then_some(Reads { concurrency: args.concurrency.into(), examples: None }),
        commands,
    };
    let planned = asked.plan()?;
    if planned.report.is_of_nothing() {
        tell_empty(planned.folder.path());
    }
    planned.show(args.output)?;
    let report = &planned.report;
    let pending = report.count(Outcome::Update) + report.count(Outcome::ReadLive);
    let drifted = report.services.iter().any(|service| !service.drift.is_empty());
    let exit = match args.exit_code {
        _ if !report.problems.is_empty() || report.services.iter().any(|service| service.error.is_some()) => {
            Exit::NotConverged
        }
        true if pending > 0 || drifted => Exit::Changes,
        true if report.is_only_held() => Exit::Held,
        // What was sent does not run.
        true if !report.converged => Exit::NotConverged,
        true | false => Exit::Converged,
    };
    // The process ends: the system takes back the memory of 10,000 manifests faster than they are taken apart.
    std::mem::forget(planned);
    Ok(exit)
}

/// Which plan is asked for.
pub(super) struct Asked<'a> {
    pub(super) folder: &'a FolderArgs,
    pub(super) state: &'a StateArgs,
    pub(super) api: &'a ApiArgs,
    pub(super) rules: Rules,
    pub(super) max_changes: Option<MaxChanges>,
    pub(super) windows: Windows,
    /// How what runs is read, where it is.
    pub(super) reads: Option<Reads<'a>>,
    pub(super) commands: Commands,
}

/// How what runs is read.
#[derive(Clone, Copy)]
pub(super) struct Reads<'a> {
    pub(super) concurrency: usize,
    /// A project in which the sandbox has something.
    pub(super) examples: Option<Examples<'a>>,
}

/// A plan, and where it stands.
pub(super) struct Planned {
    pub(super) report: Report,
    folder: Folder,
    /// The ledger's folder; nothing where it is thrown away.
    state_dir: Option<PathBuf>,
    has_ledger: bool,
    commands: Commands,
}

impl Planned {
    pub(super) fn show(&self, output: PlanOutput) -> anyhow::Result<()> {
        let Self { report, folder, state_dir, commands, .. } = self;
        let ledger = match state_dir {
            None => Kept::Nowhere,
            Some(dir) if self.has_ledger => Kept::In(dir),
            Some(dir) => Kept::NotYet(dir),
        };
        let shown = Shown { folder: folder.path(), ledger, report, commands: *commands };
        match output {
            PlanOutput::Json => print::json(&shown)?,
            PlanOutput::Text => shown.print()?,
            PlanOutput::Markdown => print::verbatim(&markdown::comment(report, &shown.text(None)))?,
        }
        Ok(())
    }
}

impl Asked<'_> {
    pub(super) fn plan(&self) -> anyhow::Result<Planned> {
        let state_dir = match self.api.sandbox && self.state.state_dir.is_none() {
            true => None,
            false => Some(settings::state_dir(self.state, &settings::environment)?),
        };
        let ledger =
            state_dir.as_deref().map(Reader::open).transpose().map_err(|error| ledger_error(&error))?.flatten();
        let place = self.place(ledger.as_ref(), state_dir.as_deref())?;
        let is_secret = settings::finds_token(&self.api.connect.token, &settings::environment);
        let mut folder = self.folder.folder();
        let bounds = Bounds { rules: &self.rules, windows: &self.windows, is_secret: &is_secret };
        let observed = pass::observe_with(&mut folder, ledger.as_ref(), bounds);
        let mut observation = observed.map_err(observe_error)?;
        observation.commands = self.commands;
        let idle = observation.idle_windows();
        idle.iter().for_each(|idle| print::note(&format!("warning: {}\n", printable(idle))));
        let now = Timestamp::now();
        let fuse = match &ledger {
            Some(ledger) => ledger.fuse(self.max_changes).map_err(read_error)?,
            None => Fuse::new(self.max_changes),
        };
        let plan = observation.guard(fuse, now);
        let has_ledger = ledger.is_some();
        state_dir.iter().filter(|_| has_ledger).for_each(|dir| keep_shown(dir, &observation.plan()));
        let mut report = match self.reads {
            Some(reads) => super::on_runtime(self.live(reads, observation, plan, place, state_dir.as_deref()))?,
            None => {
                let quota = ledger.map(|ledger| ledger.quota()).transpose().map_err(read_error)?.flatten();
                pass::plan(observation, plan, place, quota, now)
            }
        };
        report.warnings = folder.warnings(&is_secret);
        Ok(Planned { report, folder, state_dir, has_ledger, commands: self.commands })
    }

    /// Where the updates of this plan would go. Without a URL, a plan that asks no API is for the place of its ledger.
    fn place(&self, ledger: Option<&Reader>, state_dir: Option<&Path>) -> anyhow::Result<ApiPlace> {
        let url = &self.api.connect.url;
        let meant = match self.api.sandbox {
            true => ApiPlace::new(ApiPlace::SANDBOX),
            false => ApiPlace::new(&settings::api_url(url)?.to_string()),
        };
        let is_said = self.api.sandbox || url.api_url.is_some() || self.reads.is_some();
        let of_ledger = ledger.map(Reader::place).transpose().map_err(read_error)?.flatten();
        match of_ledger {
            None => Ok(meant),
            Some(place) if place.agrees_with(&meant) || !is_said => Ok(place),
            Some(theirs) => Err(other_place(state_dir, theirs, meant)),
        }
    }

    /// Reads what runs.
    async fn live(
        &self,
        Reads { concurrency, examples }: Reads<'_>,
        observation: Observation,
        plan: PlanReport,
        place: ApiPlace,
        state_dir: Option<&Path>,
    ) -> anyhow::Result<Report> {
        let reading = Reading::of(self.api, examples).await?;
        let line = ReadsLine::new();
        let shown = |read, all| line.show(read, all);
        let planned =
            pass::plan_live(observation, plan, &place, reading.client(), concurrency, &self.rules, shown).await;
        line.clear();
        reading.end().await;
        planned.map_err(|ours| other_place(state_dir, place, ours))
    }
}

fn other_place(state_dir: Option<&Path>, theirs: ApiPlace, ours: ApiPlace) -> anyhow::Error {
    ledger_error(&OpenError::OtherPlace { path: state_dir.map(Path::to_owned).unwrap_or_default(), theirs, ours })
}
