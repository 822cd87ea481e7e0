//! `truenorth doctor`: whether everything is in place that truenorth needs, a line each. It only reads.

mod api;
mod here;
mod rights;

use clap::Args;

use super::args::{ApiArgs, FolderArgs, Output, StateArgs};
use super::checks::{self, Check, Verdict};
use super::exit::Exit;
use super::on_runtime;
use crate::text::counted;

/// What `truenorth doctor --help` says after the options.
const AFTER_HELP: &str = "\
It sends no update. It asks whose the token is, lists the services of each project that a manifest names, and reads one
service of each project. With --sandbox it rehearses that with the stand-in for the API.

Exit codes: 0 nothing is wrong, or warnings only; 78 something has to be fixed.";

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    api: ApiArgs,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    output: Output,
}

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let (of_folder, services) = here::folder(&args.folder);
    let (of_api, place) = on_runtime(api::look(&args.api, &services))?;
    let of_ledger = match args.api.sandbox && args.state.state_dir.is_none() {
        true => Check::ok("ledger", "the sandbox has one of its own, which is thrown away"),
        false => here::ledger(&args.state, place.as_ref()),
    };
    let checks: Vec<Check> = of_api.into_iter().chain(of_folder).chain([of_ledger]).collect();
    let worst = checks::show(&checks, args.output, &summary(&checks))?;
    Ok(if worst == Verdict::Fault { Exit::Configuration } else { Exit::Converged })
}

fn summary(checks: &[Check]) -> String {
    let count = |verdict, noun| {
        let count = checks.iter().filter(|check| check.verdict == verdict).count();
        (count > 0).then(|| counted(count, noun))
    };
    let found: Vec<String> =
        [count(Verdict::Fault, "fault"), count(Verdict::Warning, "warning")].into_iter().flatten().collect();
    if found.is_empty() { "everything is in place".to_owned() } else { found.join(", ") }
}
