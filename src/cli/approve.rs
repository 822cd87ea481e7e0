//! `truenorth approve` and `truenorth deny`: a person's word about a plan.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::args::{StateArgs, duration};
use super::exit::Exit;
use super::{ledger_error, print, read_error, settings};
use crate::ledger::{DecideError, Reader, decide};
use crate::model::{Answer, ApiPlace, Decision, PlanName};
use crate::text::{printable, short};

#[derive(Args, Debug)]
pub(super) struct ApproveArgs {
    #[command(flatten)]
    decide: DecideArgs,
    /// How long it lets the plan out; what was let out by then stays so
    #[arg(long = "for", value_name = "DURATION", env = "TRUENORTH_APPROVE_FOR", default_value = "24h", value_parser = duration)]
    lasts: Duration,
}

/// A person's word about a plan.
#[derive(Args, Debug)]
pub(super) struct DecideArgs {
    /// Which plan: its id as `truenorth plan` prints it, or more of its digits
    #[arg(value_name = "PLAN")]
    plan: PlanName,
    /// Who decides
    #[arg(long, value_name = "NAME", env = "TRUENORTH_BY")]
    by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", env = "TRUENORTH_REASON")]
    reason: Option<String>,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn approve(args: &ApproveArgs) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let until = now.checked_add(args.lasts).unwrap_or(Timestamp::MAX);
    write(&args.decide, Answer::Approve, Some(until), now)?;
    let plan = &args.decide.plan;
    print::text(&format!("plan {plan:.12} is approved until {}: what it changes is sent\n", short::time(until)))?;
    Ok(Exit::Converged)
}

pub(super) fn deny(args: &DecideArgs) -> anyhow::Result<Exit> {
    write(args, Answer::Deny, None, Timestamp::now())?;
    print::text(&format!("plan {:.12} is denied: what it changes is held until its content is another\n", args.plan))?;
    Ok(Exit::Converged)
}

fn write(args: &DecideArgs, answer: Answer, until: Option<Timestamp>, now: Timestamp) -> anyhow::Result<()> {
    let state_dir = settings::state_dir(&args.state, &settings::environment)?;
    let reader = Reader::open(&state_dir).map_err(|error| ledger_error(&error))?;
    let place = reader.as_ref().map(Reader::place).transpose().map_err(read_error)?.flatten();
    // A ledger that was never used with an API belongs to none after this either.
    let place = place.unwrap_or_else(|| ApiPlace::new(&crate::northflank::ApiUrl::default().to_string()));
    drop(reader);
    let text = |text: &Option<String>| text.as_deref().map(|text| printable(text).to_string().into());
    let decision = Decision { plan: args.plan.clone(), answer, by: text(&args.by), reason: text(&args.reason), until };
    super::on_runtime(async {
        decide(&state_dir, place, decision, now).await.map_err(|error| match error {
            DecideError::Open(error) => ledger_error(&error),
            error @ DecideError::Write(_) => error.into(),
        })
    })
}
