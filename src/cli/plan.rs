//! `truenorth plan`: what a pass would do. Sends nothing, and leaves the ledger as it is.

use super::args::PlanArgs;
use super::exit::Exit;
use super::{observe_error, print, settings};
use crate::daemon;
use crate::plan::Outcome;
use crate::source::Folder;

pub(super) fn run(args: &PlanArgs) -> anyhow::Result<Exit> {
    let state_dir = settings::state_dir(&args.state, &settings::environment)?;
    let mut folder = Folder::new(&args.folder.manifests);
    let observation = daemon::observe(&mut folder, &state_dir).map_err(observe_error)?;
    let report = daemon::plan(observation);
    print::report(&report, folder.path(), args.output)?;
    let exit = if !report.problems.is_empty() {
        Exit::NotConverged
    } else if args.exit_code && report.count(Outcome::Update) > 0 {
        Exit::Changes
    } else {
        Exit::Converged
    };
    // The process ends: the system takes back the memory of 10,000 manifests faster than they are taken apart.
    std::mem::forget((report, folder));
    Ok(exit)
}
