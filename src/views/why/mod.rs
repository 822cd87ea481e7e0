//! Why a service is as it is, from the ledger and the folder.
//!
//! `facts` gathers what is known, `answer` words what follows from it (pure); [`Explanation`] is the JSON of both.

mod answer;
mod facts;

use jiff::Timestamp;
use serde::Serialize;

use super::{Attempt, Drift, LedgerPlace, Untaken};
use crate::ledger::Holder;
use crate::manifest::Problem;
use crate::model::{Cause, Digest, Place, Rollout, ServiceKey, ServiceState, Stranger};
use crate::plan::{Change, Outcome, Step, Suspension};

use answer::{NotSent, Waiting};
pub(crate) use answer::{next, not_sent, sentence, suspension, waits_for};
pub(crate) use facts::{Facts, LiveNow};

/// How to send updates as POST again.
pub(crate) const UNDO: &str =
    "--update-call post sends updates as POST again; they also do after a day, and after an upgrade";

/// The JSON of `why`.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation<'a> {
    service: &'a ServiceKey,
    /// Nothing where there is no ledger: then it is not known what was applied.
    state: Option<ServiceState>,
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
    /// Until when a request may still take effect whose end is not known.
    may_take_effect_until: Option<Timestamp>,
    last_call: Option<&'a Attempt>,
    /// What would be sent, against what was accepted last.
    changes: &'a [Change],
    waits_for: Option<Waiting>,
    not_sent: Option<NotSent>,
    suspension: Option<&'a Suspension>,
    #[serde(flatten)]
    untaken: &'a Untaken,
    /// When the rollout of what is due failed the last time that it was sent.
    failed_before: Option<Timestamp>,
    /// How live compares with what was applied, where it was read since.
    drift: Option<&'a Drift>,
    /// How far the rollout of what was accepted last is.
    rollout: Option<&'a Rollout>,
    /// Who else was seen to change it, with nothing sent since.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_by: Option<&'a Stranger>,
    /// Since when updates go out as PATCH, where they do.
    sent_as_patch: Option<SentAsPatch<'a>>,
    problems: &'a [Problem],
    /// What was read of live just now, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<&'a LiveNow>,
    ledger: &'a LedgerPlace,
    holder: Option<Holder>,
    /// As of when everything here is, where no daemon runs that would know something newer.
    as_of: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct AppliedPart<'a> {
    digest: Digest,
    revision: &'a str,
    manifest: &'a Place,
    cause: &'a str,
    at: Timestamp,
}

#[derive(Debug, Serialize)]
struct SentAsPatch<'a> {
    since: Timestamp,
    /// What the API said to POST.
    reason: &'a str,
    hint: &'static str,
}

impl<'a> Explanation<'a> {
    pub(crate) fn of(facts: &'a Facts) -> Self {
        let desired = facts.desired.as_ref();
        Self {
            service: &facts.service,
            state: facts.is_known().then_some(facts.found.state),
            explanation: sentence(facts),
            next: next(facts),
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
            may_take_effect_until: facts.unsettled_until,
            last_call: facts.last.as_ref(),
            changes: &facts.changes,
            waits_for: waits_for(facts),
            not_sent: not_sent(facts),
            suspension: desired.and_then(|desired| desired.suspension.as_ref()),
            untaken: &facts.untaken,
            failed_before: facts.failed_before,
            drift: facts.drift.as_ref(),
            rollout: facts.rollout.as_ref(),
            changed_by: facts.stranger.as_ref(),
            sent_as_patch: facts.turned.as_ref().map(|turned| SentAsPatch {
                since: turned.at,
                reason: &turned.reason,
                hint: UNDO,
            }),
            problems: &facts.problems,
            live: facts.live.as_ref(),
            ledger: &facts.ledger,
            holder: facts.holder,
            as_of: facts.as_of,
        }
    }
}
