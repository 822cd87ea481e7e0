//! `truenorth plan`: what a pass would do. Sends nothing, and leaves the ledger as it is.

use std::path::Path;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};
use jiff::Timestamp;

use super::args::{ConnectArgs, FolderArgs, FuseArgs, RuleArgs, ShowArgs, StateArgs};
use super::exit::Exit;
use super::print::{self, Kept, Shown};
use super::progress::ReadsLine;
use super::{ledger_error, markdown, observe_error, read_error, settings};
use crate::daemon::{self, Observation};
use crate::ledger::{OpenError, Reader};
use crate::model::ApiPlace;
use crate::plan::{Fuse, Outcome, PlanReport, Report};

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
    api: ConnectArgs,
    /// With --live: calls in flight at once
    #[arg(long, value_name = "N", env = "TRUENORTH_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Exit with 2 where changes are pending, or with --live where services drifted
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

pub(super) fn run(args: &PlanArgs) -> anyhow::Result<Exit> {
    let commands = args.show.commands();
    let rules = args.rules.rules();
    let state_dir = settings::state_dir(&args.state, &settings::environment)?;
    let ledger = Reader::open(&state_dir).map_err(|error| ledger_error(&error))?;
    let kept = if ledger.is_some() { Kept::In(&state_dir) } else { Kept::NotYet(&state_dir) };
    let place = place(args, ledger.as_ref(), &state_dir)?;
    let is_secret = settings::finds_token(&args.api.token, &settings::environment);
    let mut folder = args.folder.folder();
    let observed = daemon::observe_with(&mut folder, ledger.as_ref(), &rules, &is_secret);
    let mut observation = observed.map_err(observe_error)?;
    observation.commands = commands;
    let now = Timestamp::now();
    let fuse = match &ledger {
        Some(ledger) => ledger.fuse(args.fuse.max_changes()).map_err(read_error)?,
        None => Fuse::new(args.fuse.max_changes()),
    };
    let plan = observation.guard(fuse, now);
    let mut report = if args.live {
        super::on_runtime(live(args, observation, plan, place, &state_dir))?
    } else {
        let quota = ledger.map(|ledger| ledger.quota()).transpose().map_err(read_error)?.flatten();
        daemon::plan(observation, plan, place, quota, now)
    };
    report.warnings = folder.warnings(&is_secret);
    let shown = Shown { folder: folder.path(), ledger: kept, report: &report, commands };
    match args.output {
        PlanOutput::Json => print::json(&shown)?,
        PlanOutput::Text => print::text(&shown.text())?,
        PlanOutput::Markdown => print::text(&markdown::comment(&report, &shown.text()))?,
    }
    let pending = report.count(Outcome::Update) + report.count(Outcome::ReadLive);
    let drifted = report.services.iter().any(|service| !service.drift.is_empty());
    let exit = if !report.problems.is_empty() || report.services.iter().any(|service| service.error.is_some()) {
        Exit::NotConverged
    } else if args.exit_code && (pending > 0 || drifted) {
        Exit::Changes
    } else if args.exit_code && report.is_only_held() {
        Exit::Held
    } else {
        Exit::Converged
    };
    // The process ends: the system takes back the memory of 10,000 manifests faster than they are taken apart.
    std::mem::forget((report, folder));
    Ok(exit)
}

/// Where the updates of this plan would go. Without a URL, a plan that asks no API is for the place of its ledger.
fn place(args: &PlanArgs, ledger: Option<&Reader>, state_dir: &Path) -> anyhow::Result<ApiPlace> {
    let meant = ApiPlace::new(&settings::api_url(&args.api.url, &settings::environment)?.to_string());
    let of_ledger = ledger.map(Reader::place).transpose().map_err(read_error)?.flatten();
    match of_ledger {
        None => Ok(meant),
        Some(place) if place.agrees_with(&meant) || (args.api.url.api_url.is_none() && !args.live) => Ok(place),
        Some(theirs) => Err(other_place(state_dir, theirs, meant)),
    }
}

fn other_place(state_dir: &Path, theirs: ApiPlace, ours: ApiPlace) -> anyhow::Error {
    ledger_error(&OpenError::OtherPlace { path: state_dir.to_owned(), theirs, ours })
}

/// Reads what runs.
async fn live(
    args: &PlanArgs,
    observation: Observation,
    plan: PlanReport,
    place: ApiPlace,
    state_dir: &Path,
) -> anyhow::Result<Report> {
    let client = settings::client(&args.api, &settings::environment)?;
    let line = ReadsLine::new();
    let shown = |read, all| line.show(read, all);
    let rules = args.rules.rules();
    let planned = daemon::plan_live(observation, plan, &place, &client, args.concurrency.into(), &rules, shown).await;
    line.clear();
    planned.map_err(|ours| other_place(state_dir, place, ours))
}
