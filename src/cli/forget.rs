//! `truenorth forget`: ends what is remembered of services that no manifest names any more.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::exit::Exit;
use super::requests::{AskArgs, named, text};
use super::{Failure, names, print, refused, services};
use crate::ledger::RequestKind;
use crate::model::ServiceKey;
use crate::views::Observed;

/// What `truenorth forget --help` says after the options.
const AFTER_HELP: &str = "\
It deletes nothing in Northflank, and what was sent stays in `truenorth history`. A service that a manifest names is not
forgotten. If a manifest names it again later, it is read first, as one that was never seen.";

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ForgetArgs {
    /// Which services
    #[arg(add = ArgValueCompleter::new(names::services), value_name = "SERVICE", required_unless_present = "all", conflicts_with = "all")]
    service: Vec<String>,
    /// Every service that is orphaned now
    #[arg(long)]
    all: bool,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", value_parser = text)]
    reason: Option<String>,
    #[command(flatten)]
    asks: AskArgs,
}

pub(super) fn run(args: &ForgetArgs) -> anyhow::Result<Exit> {
    args.asks.ledger()?;
    let observed = args.asks.observation()?.observed();
    let targets = if args.all { orphans(observed)? } else { chosen(args, observed)? };
    if targets.is_empty() {
        print::text("no service is orphaned: there is nothing to forget\n")?;
        return Ok(Exit::Converged);
    }
    let targets: Vec<Option<ServiceKey>> = targets.into_iter().map(Some).collect();
    let heard = args.asks.ask(RequestKind::Forget, &targets, args.reason.as_deref(), None)?;
    let by = if heard { "; the running truenorth does it" } else { "" };
    print::text(&format!("{} forgotten{by}; the service itself stays as it is\n", named(&targets)))?;
    Ok(Exit::Converged)
}

/// All services that are orphaned. A folder without a manifest is as a rule the wrong one.
fn orphans(observed: Observed<'_>) -> Result<Vec<ServiceKey>, Failure> {
    let snapshot = observed.snapshot;
    if snapshot.desired.is_empty() {
        return Err(refused(
            "the folder has no manifests, so that every service seems to be orphaned",
            "name the folder of manifests with --manifests, or the services that are meant",
        ));
    }
    Ok(observed.orphaned().cloned().collect())
}

/// The services that are named, each of which has to be orphaned.
fn chosen(args: &ForgetArgs, observed: Observed<'_>) -> Result<Vec<ServiceKey>, Failure> {
    let snapshot = observed.snapshot;
    let known: Vec<&ServiceKey> = snapshot
        .desired
        .keys()
        .chain(snapshot.claimed())
        .chain(observed.unproven.keys())
        .chain(observed.orphaned())
        .collect();
    let mut chosen = Vec::new();
    for name in &args.service {
        let key = services::meant(name, known.iter().copied(), "nothing is remembered of a")?;
        if let Some(desired) = snapshot.desired.get(&key) {
            let message = format!("{key} is not forgotten: {} names it", desired.place);
            return Err(refused(message, "remove its manifest first; the service itself then stays as it is"));
        }
        if !observed.orphaned().any(|orphan| *orphan == key) {
            let message = format!("{key} is not forgotten: a manifest that has a problem may name it");
            return Err(refused(message, "`truenorth validate` shows the problem"));
        }
        chosen.push(key);
    }
    Ok(chosen)
}
