//! `truenorth why SERVICE`: why a service is as it is, from the ledger and the folder, without a call.
mod text;

use std::io::Write as _;

use clap::Args;
use jiff::Timestamp;

use super::args::{FolderArgs, Output, ShowArgs, StateArgs, UrlArgs};
use super::beside::BesideArgs;
use super::exit::Exit;
use super::{print, read_error, services, status, tell_missing, tell_other_place};
use crate::views::{Explanation, Facts};

#[derive(Args, Debug)]
pub(super) struct WhyArgs {
    /// Which service: project/service, team/project/service, or its last part where only one has it
    #[arg(value_name = "SERVICE")]
    service: String,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    url: UrlArgs,
    #[command(flatten)]
    beside: BesideArgs,
    #[command(flatten)]
    show: ShowArgs,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    output: Output,
}

pub(super) fn run(args: &WhyArgs) -> anyhow::Result<Exit> {
    let commands = args.show.commands();
    let (state_dir, mut folder) = args.beside.observed(&args.state, &args.folder, false)?;
    let (observation, reader) = status::observe(&mut folder, &state_dir)?;
    if reader.is_none() {
        tell_missing(&state_dir);
    }
    tell_other_place(reader.as_ref(), &args.url, false)?;
    let called = match &reader {
        Some(reader) => reader.services().map_err(read_error)?,
        None => Vec::new(),
    };
    let observed = observation.observed();
    let known = observed.snapshot.desired.keys().chain(observed.snapshot.claimed()).chain(&called);
    let service = services::meant(&args.service, known, "neither the folder nor the ledger knows a")?;
    let facts = Facts::gather(service, observed, reader.as_ref(), commands, Timestamp::now()).map_err(read_error)?;
    match args.output {
        Output::Json => print::json(&Explanation::of(&facts))?,
        Output::Text => {
            let text = text::text(&facts, folder.path());
            anstream::stdout().write_all(text.as_bytes())?;
            if !facts.problems.is_empty() {
                anstream::stdout().write_all(b"\n")?;
                print::problems(&facts.problems, folder.path(), commands)?;
            }
        }
    }
    Ok(Exit::Converged)
}
