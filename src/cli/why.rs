//! `truenorth why SERVICE`: why a service is as it is, from the ledger and the folder, without a call.
//!
//! `facts` gathers what is known, `answer` decides what follows from it (pure), `text` words it for people.

mod answer;
mod facts;
mod text;

use std::io::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::args::{Output, WhyArgs};
use super::attempt::Attempt;
use super::exit::Exit;
use super::status::Holding;
use super::{ledger_error, observe_error, print, read_error, services, settings, tell_missing};
use crate::daemon;
use crate::ledger::Reader;
use crate::manifest::Problem;
use crate::model::{Cause, Digest, Place, ServiceKey};
use crate::plan::{Change, Outcome, Rules, Step, Suspension};
use crate::status::Drift;

use answer::{Answer, NotSent, Waiting};
use facts::Facts;

pub(super) fn run(args: &WhyArgs) -> anyhow::Result<Exit> {
    let commands = args.show.commands();
    let state_dir = settings::state_dir(&args.state, &settings::environment)?;
    let mut folder = args.folder.folder();
    let observation = daemon::observe(&mut folder, &state_dir, &Rules::default()).map_err(observe_error)?;
    let reader = Reader::open(&state_dir).map_err(|error| ledger_error(&error))?;
    if reader.is_none() {
        tell_missing(&state_dir);
    }
    let called = match &reader {
        Some(reader) => reader.services().map_err(read_error)?,
        None => Vec::new(),
    };
    let snapshot = &observation.snapshot;
    let known = snapshot.desired.keys().chain(snapshot.claimed()).chain(&called);
    let service = services::meant(&args.service, known, "neither the folder nor the ledger knows a")?;
    let facts =
        Facts::gather(service, &observation, reader.as_ref(), commands, Timestamp::now()).map_err(read_error)?;
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

/// What `--output json` prints.
#[derive(Serialize)]
struct Explanation<'a> {
    service: &'a ServiceKey,
    answer: &'static str,
    /// The answer in a sentence.
    explanation: String,
    /// What happens now.
    next: String,
    /// What a pass would do: read-live, update, unchanged, suspended, orphaned; nothing where a problem hides that.
    step: Option<Outcome>,
    cause: Option<Cause>,
    /// The snapshot that the folder has now.
    revision: &'a str,
    manifest: Option<&'a Place>,
    desired: Option<Digest>,
    /// What was accepted last.
    applied: Option<AppliedPart<'a>>,
    /// Whether a later call may have been accepted without anybody knowing.
    in_doubt: bool,
    last_call: Option<LastCall<'a>>,
    /// What would be sent, against what was accepted last.
    changes: &'a [Change],
    waits_for: Option<Waiting>,
    not_sent: Option<NotSent>,
    suspension: Option<&'a Suspension>,
    /// How live compares with what was applied, where it was read since.
    drift: Option<&'a Drift>,
    problems: &'a [Problem],
    holder: Option<Holding>,
}

#[derive(Serialize)]
struct AppliedPart<'a> {
    digest: Digest,
    revision: &'a str,
    manifest: &'a Place,
    cause: &'a str,
    at: Timestamp,
}

#[derive(Serialize)]
struct LastCall<'a> {
    #[serde(flatten)]
    call: &'a Attempt,
    /// What it was to change, against what had been accepted before.
    changes: &'a [Change],
}

impl<'a> Explanation<'a> {
    fn of(facts: &'a Facts) -> Self {
        let answer = Answer::of(facts);
        let desired = facts.desired.as_ref();
        Self {
            service: &facts.service,
            answer: answer.as_str(),
            explanation: answer.sentence(facts),
            next: answer.next(facts),
            step: facts.step.map(Outcome::from),
            cause: facts.step.and_then(Step::cause),
            revision: &facts.revision,
            manifest: desired.map(|desired| &desired.place),
            desired: desired.map(|desired| desired.digest),
            applied: facts.applied.as_ref().map(|applied| AppliedPart {
                digest: applied.digest,
                revision: &applied.revision,
                manifest: &applied.place,
                cause: &applied.cause,
                at: applied.at,
            }),
            in_doubt: facts.in_doubt,
            last_call: facts.last.as_ref().map(|last| LastCall { call: &last.call, changes: &last.changes }),
            changes: &facts.changes,
            waits_for: answer.waits_for(facts),
            not_sent: answer.not_sent(facts),
            suspension: desired.and_then(|desired| desired.suspension.as_ref()),
            drift: facts.drift.as_ref(),
            problems: &facts.problems,
            holder: facts.holder,
        }
    }
}
