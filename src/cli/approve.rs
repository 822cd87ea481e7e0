//! `truenorth approve` and `truenorth deny`: a person's word about a plan.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::args::duration;
use super::exit::Exit;
use super::requests::{AskArgs, text};
use super::{ledger_error, print, refused};
use crate::ledger::{Word, decide, shown};
use crate::model::{Answer, ApiPlace, PlanId, PlanName};
use crate::northflank::ApiUrl;
use crate::pass::Observation;
use crate::plan::Plan;
use crate::text::{counted, short};

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
    /// Which plan: its id as `truenorth plan` prints it; of one that was never shown here, all 64 digits
    #[arg(value_name = "PLAN")]
    plan: PlanName,
    /// Why
    #[arg(long, value_name = "TEXT", env = "TRUENORTH_REASON", value_parser = text)]
    reason: Option<String>,
    #[command(flatten)]
    asks: AskArgs,
}

pub(super) fn approve(args: &ApproveArgs) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let until = now.checked_add(args.lasts).unwrap_or(Timestamp::MAX);
    let plan = write(&args.decide, Answer::Approve, Some(until), now)?;
    print::text(&format!("plan {plan} is approved until {}: what it changes is sent\n", short::time(until)))?;
    Ok(Exit::Converged)
}

pub(super) fn deny(args: &DecideArgs) -> anyhow::Result<Exit> {
    let plan = write(args, Answer::Deny, None, Timestamp::now())?;
    let until = "until the manifests change or it is approved";
    print::text(&format!("plan {plan} is denied: what it changes is held {until}\n"))?;
    Ok(Exit::Converged)
}

/// Writes the decision down, and gives the plan that it is about.
fn write(args: &DecideArgs, answer: Answer, until: Option<Timestamp>, at: Timestamp) -> anyhow::Result<PlanId> {
    let state_dir = args.asks.state_dir()?;
    args.asks.ledger()?;
    // A ledger that was never used with an API belongs to none after this either.
    let place = ApiPlace::new(&ApiUrl::default().to_string());
    let (plan, meant) = args.meant(state_dir)?;
    let content = meant.iter().flat_map(Plan::changes).map(|change| (change.service.clone(), change.to)).collect();
    let (by, reason) = (Some(args.asks.by().into()), args.reason.as_deref().map(Into::into));
    let word = Word { plan, content, answer, by, reason, at, until };
    decide(state_dir, place, word).map_err(|error| ledger_error(&error))?;
    Ok(plan)
}

impl DecideArgs {
    /// The plan that is meant, and what it changes if that is known here. Digits that are not all of an id have to be
    /// those of one plan that somebody was shown, or that the folder has now.
    fn meant(&self, state_dir: &Path) -> anyhow::Result<(PlanId, Option<Plan>)> {
        let present = self.asks.observation().ok().map(Observation::plan);
        let known = shown(state_dir).into_iter().chain(present);
        let of = |plan: Plan| plan.singles().chain([plan]).collect::<Vec<_>>();
        let named = known.flat_map(of).filter_map(|plan| Some((plan.id()?, plan)));
        let mut named: BTreeMap<PlanId, Plan> = named.filter(|(id, _)| self.plan.begins(*id)).collect();
        let meant = match (self.plan.whole(), named.len()) {
            (Some(id), _) => Ok((id, named.remove(&id))),
            (None, several @ 2..) => Err(refused(
                format!("{} begin with {}", counted(several, "plan id"), self.plan),
                "give all 64 digits of the one that you looked at: `truenorth plan --output json` prints them",
            )),
            (None, _) => named.pop_first().map(|(id, plan)| (id, Some(plan))).ok_or_else(|| {
                refused(
                    format!("no plan whose id begins with {} was shown here", self.plan),
                    "`truenorth plan` shows the plan of this folder; for one of elsewhere give all 64 digits, which \
                     `truenorth plan --output json` prints",
                )
            }),
        };
        Ok(meant?)
    }
}
