//! `truenorth plan`: what a pass would do. Sends nothing, and leaves the ledger as it is.

use jiff::Timestamp;

use super::args::PlanArgs;
use super::exit::Exit;
use super::progress::ReadsLine;
use super::{configuration, ledger_error, observe_error, print, settings};
use crate::daemon::{self, Observation};
use crate::ledger::Reader;
use crate::plan::{Outcome, Report};
use crate::source::Folder;

pub(super) fn run(args: &PlanArgs) -> anyhow::Result<Exit> {
    let state_dir = settings::state_dir(&args.state, &settings::environment)?;
    let mut folder = Folder::new(&args.folder.manifests);
    let observation = daemon::observe(&mut folder, &state_dir, &args.rules.rules()).map_err(observe_error)?;
    let report = if args.live {
        live(args, observation)?
    } else {
        let ledger = Reader::open(&state_dir).map_err(|error| ledger_error(&error))?;
        let quota = ledger.map(|ledger| ledger.quota()).transpose().map_err(configuration)?.flatten();
        daemon::plan(observation, quota, Timestamp::now())
    };
    print::report(&report, folder.path(), args.output)?;
    let pending = report.count(Outcome::Update) + report.count(Outcome::ReadLive);
    let drifted = report.services.iter().any(|service| !service.drift.is_empty());
    let exit = if !report.problems.is_empty() || report.services.iter().any(|service| service.error.is_some()) {
        Exit::NotConverged
    } else if args.exit_code && (pending > 0 || drifted) {
        Exit::Changes
    } else {
        Exit::Converged
    };
    // The process ends: the system takes back the memory of 10,000 manifests faster than they are taken apart.
    std::mem::forget((report, folder));
    Ok(exit)
}

/// Reads what runs.
fn live(args: &PlanArgs, observation: Observation) -> anyhow::Result<Report> {
    let (concurrency, rules) = (usize::from(args.concurrency), args.rules.rules());
    let mut report = None;
    super::on_runtime(async {
        let client = settings::client(&args.api, &settings::environment)?;
        let line = ReadsLine::new();
        let shown = |read, all| line.show(read, all);
        report = Some(daemon::plan_live(observation, &client, concurrency, &rules, shown).await);
        line.clear();
        Ok(Exit::Converged)
    })?;
    report.ok_or_else(|| anyhow::anyhow!("the plan was not made"))
}
