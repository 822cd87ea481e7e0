//! `truenorth approve` and `truenorth deny`: a person's word about a plan.

use jiff::Timestamp;

use super::args::{ApproveArgs, DecideArgs};
use super::exit::Exit;
use super::{ledger_error, print, read_error, settings};
use crate::ledger::{DecideError, Reader, decide};
use crate::model::{Answer, ApiPlace, Decision};
use crate::text::{printable, short};

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
