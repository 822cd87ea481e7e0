//! `truenorth why SERVICE`: why a service is as it is, from the ledger and the folder, without a call.
mod text;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use clap_complete::engine::ArgValueCompleter;
use jiff::Timestamp;

use super::args::{ApiArgs, FolderArgs, Output, ShowArgs, StateArgs};
use super::beside::BesideArgs;
use super::exit::Exit;
use super::target;
use super::{names, on_runtime, print, read_error, refused, services, status, tell_missing, tell_other_place};
use crate::model::{DeploymentUpdate, ServiceKey};
use crate::pass::compare_live;
use crate::plan::{Reading, Windows};
use crate::views::{Explanation, Facts, LiveNow};

#[derive(Args, Debug)]
pub(super) struct WhyArgs {
    /// Which service: project/service, team/project/service, or its last part where only one has it
    #[arg(add = ArgValueCompleter::new(names::services), value_name = "SERVICE")]
    service: String,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Read the service now, with one call, and show how what runs compares with its manifest
    #[arg(long, env = "TRUENORTH_LIVE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    live: bool,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    beside: BesideArgs,
    #[command(flatten)]
    show: ShowArgs,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    output: Output,
}

pub(super) fn run(args: &WhyArgs, windows: &Windows) -> anyhow::Result<Exit> {
    let commands = args.show.commands();
    let (state_dir, mut folder) = args.beside.observed(&args.state, &args.folder, args.api.sandbox && !args.live)?;
    let (observation, reader) = status::observe(&mut folder, &state_dir, windows)?;
    if reader.is_none() {
        tell_missing(&state_dir);
    }
    tell_other_place(reader.as_ref(), &args.api.connect.url, args.api.sandbox)?;
    let called = match &reader {
        Some(reader) => reader.services().map_err(read_error)?,
        None => Vec::new(),
    };
    let observed = observation.observed();
    let known = observed.snapshot.desired.keys().chain(observed.snapshot.claimed()).chain(&called);
    let service = services::meant(&args.service, known, "neither the folder nor the ledger knows a")?;
    let desired = observed.snapshot.desired.get(&service).map(|desired| &*desired.update);
    let live = match (args.live, desired) {
        (false, _) => None,
        (true, Some(update)) => Some(on_runtime(read(&args.api, &service, update))?),
        (true, None) => {
            let hint = "a manifest that is valid says what it is compared with; `truenorth import` shows what runs";
            let message = format!("no manifest says what {service} should run");
            return Err(refused(message, hint).into());
        }
    };
    let ledger = (&*state_dir, reader.as_ref());
    let mut facts = Facts::gather(service, observed, ledger, commands, Timestamp::now()).map_err(read_error)?;
    if let Some(live) = live {
        facts.see(live);
    }
    match args.output {
        Output::Json => print::json(&Explanation::of(&facts))?,
        Output::Text => {
            let text = text::text(&facts, folder.path());
            print::text(&text)?;
            if !facts.problems.is_empty() {
                print::text("\n")?;
                print::problems(&facts.problems, folder.path(), commands)?;
            }
        }
    }
    Ok(Exit::Converged)
}

/// Reads what runs now, and compares it with what the manifest says.
async fn read(api: &ApiArgs, service: &ServiceKey, update: &DeploymentUpdate) -> anyhow::Result<LiveNow> {
    let target = target::Reading::of(api, None).await?;
    let read = compare_live(service, update, target.client()).await;
    target.end().await;
    let read_at = Timestamp::now();
    Ok(match read.map(|comparison| Reading::of(&comparison)) {
        Ok(Reading { differences, undecided, .. }) => {
            LiveNow { read_at, differences: differences.to_vec(), undecided: undecided.to_vec(), error: None }
        }
        Err(error) => {
            LiveNow { read_at, differences: Vec::new(), undecided: Vec::new(), error: Some(error.diagnostic()) }
        }
    })
}
