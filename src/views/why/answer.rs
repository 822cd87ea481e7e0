//! The answer: what follows from the facts, in sentences. Pure.

use jiff::Timestamp;
use serde::Serialize;

use super::super::{Attempt, FLAPS};
use super::Facts;
use crate::model::{Cause, Diagnostic, DriftMode, Rollout, ServiceState, as_reason};
use crate::plan::{Step, Suspension};
use crate::text::{counted, short};

/// What it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Waiting {
    /// `answer`, `rate-limit`, `retry`, `settling`, `suspension`, `left-alone`, `new-content`, `fix`, `release` or `run`.
    pub(crate) what: &'static str,
    /// Until when at the latest, where that is known.
    pub(crate) until: Option<Timestamp>,
    #[serde(flatten, serialize_with = "as_reason")]
    pub(crate) reason: Option<Diagnostic>,
}

/// What is not sent, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NotSent {
    /// `suspended`, `invalid`, `orphaned`, `held` or `stalled`.
    pub(crate) why: ServiceState,
    #[serde(flatten, serialize_with = "as_reason")]
    pub(crate) reason: Option<Diagnostic>,
    pub(crate) until: Option<Timestamp>,
}

/// Why and until when, as far as it is said.
pub(crate) fn suspension(suspended: &Suspension) -> String {
    let until = suspended.until.map(|until| format!("until {}", short::time(until)));
    [until, suspended.reason.clone()].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// The answer in one sentence.
pub(crate) fn sentence(facts: &Facts) -> String {
    let name = &facts.service;
    let call = facts.last.as_ref();
    let ago = call.map(|call| short::ago(call.ended.unwrap_or(call.began), facts.now)).unwrap_or_default();
    let status = last_of_this(facts).and_then(|call| call.status);
    let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
    let until = facts.found.until.map(|until| format!(" until {}", by_clock(until, facts))).unwrap_or_default();
    let because = facts.found.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    if !facts.is_known() {
        return format!("It is not known what {name} has: there is no ledger at {}.", facts.ledger.path.display());
    }
    match facts.found.state {
        ServiceState::Unchanged if facts.rollout.as_ref().is_some_and(|rollout| rollout.overtaken.is_some()) => {
            let words = facts.rollout.as_ref().map(Rollout::words).unwrap_or_default();
            format!("{name} accepted its update, but something else runs: {words}.")
        }
        ServiceState::Unchanged => format!("{name} has what its manifest says: there is nothing to send."),
        ServiceState::RolloutFailed => {
            let words = facts.rollout.as_ref().map(Rollout::words).unwrap_or_default();
            format!("{name} accepted its update, but it does not run: {words}.")
        }
        ServiceState::Drifted => format!("{}: {} changed it.", drifted(facts), stranger(facts)),
        ServiceState::Flapping => format!("{}: {FLAPS}, and is left alone{until}.", drifted(facts)),
        ServiceState::NotInEffect => {
            let fields = facts.drift.iter().flat_map(|drift| &drift.differences).map(|change| change.path.as_str());
            let fields = fields.collect::<Vec<_>>().join(", ");
            format!("{name} accepted its update, but a part of it is not in effect: {fields}.")
        }
        ServiceState::Suspended => {
            let suspended = facts.desired.as_ref().and_then(|desired| desired.suspension.as_ref());
            match suspended.map(suspension).filter(|words| !words.is_empty()) {
                Some(words) => format!("{name} is left alone, as its manifest asks, {words}."),
                None => format!("{name} is left alone, as its manifest asks."),
            }
        }
        ServiceState::Orphaned => format!("{name} is left as it is: no manifest names it any more."),
        ServiceState::Invalid => {
            let problems = counted(facts.problems.len().max(1), "problem");
            format!("{name} gets nothing new: its manifest has {problems}.")
        }
        ServiceState::InFlight => format!("{name} is being updated: a call began {ago} and has no answer yet."),
        ServiceState::RateLimited => format!("{name} waits for the rate limit{until}{because}."),
        ServiceState::Unreachable => format!("{name} is not up to date: the API is unreachable{because}."),
        ServiceState::LedgerUnwritable => {
            format!("{name} is not up to date: truenorth cannot write its ledger{because}.")
        }
        ServiceState::Denied => format!("{name} is not up to date: the API refuses the token{because}."),
        ServiceState::Stalled if is_unread(facts) => {
            format!("{name} is not up to date: the API refused the read that decides about its update{status} {ago}.")
        }
        ServiceState::Stalled => format!("{name} is not up to date: the API refused its update{status} {ago}."),
        ServiceState::BackingOff if is_unread(facts) => {
            format!("{name} is not up to date: the read that decides about its update failed {ago}.")
        }
        ServiceState::BackingOff => format!("{name} is not up to date: the last call failed{status} {ago}."),
        ServiceState::InDoubt => format!("{name} is in doubt: nobody knows whether the last call arrived."),
        ServiceState::Queued => format!("{name} is {}: {}.", to_do(facts), why_due(facts)),
        ServiceState::Held => format!("{name} is to be updated, and held{until}{because}."),
        ServiceState::RolledBack => {
            format!("{name} has what ran before, and not what its manifest says{because}.")
        }
    }
}

/// What happens now.
pub(crate) fn next(facts: &Facts) -> String {
    if !facts.is_known() {
        return "a first pass reads the service before it sends anything; --state-dir names another ledger".to_owned();
    }
    let fields = match facts.changes.len() {
        0 => "nothing would be sent then".to_owned(),
        count => format!("{} would be sent then", counted(count, "field")),
    };
    match facts.found.state {
        ServiceState::Unchanged => "nothing, until its manifest changes".to_owned(),
        ServiceState::Drifted | ServiceState::Flapping => after_drift(facts),
        ServiceState::NotInEffect => {
            "nothing, until its manifest changes: a missing part is sent alone once; change it by hand in Northflank, or \
             the manifest to what the service can have"
                .to_owned()
        }
        ServiceState::RolloutFailed => {
            format!(
                "nothing, until its manifest changes, or `truenorth release {}` sends the same once more: look at the \
                 containers' logs in Northflank; a rollout that ends well after all is seen",
                facts.service
            )
        }
        ServiceState::Orphaned => {
            "nothing: truenorth deletes no service; a manifest that names it takes it up again, `truenorth forget` takes it off \
             the list".to_owned()
        }
        ServiceState::Invalid => "fix the manifest; until then the service keeps what it has".to_owned(),
        ServiceState::Suspended => match facts.found.until {
            Some(until) => format!("its manifest is followed again from {} on; {fields}", short::time(until)),
            None => format!("its manifest is followed again once it does not suspend it; {fields}"),
        },
        ServiceState::Held => format!("the update is sent once nothing holds it; {fields}"),
        ServiceState::RolledBack => {
            format!(
                "nothing, until its manifest changes, or `truenorth release {}` sends what it says once more",
                facts.service
            )
        }
        _ if facts.holder.is_none() => next_of_nobody(facts),
        ServiceState::InFlight => "the answer is recorded when it comes".to_owned(),
        ServiceState::RateLimited => format!("after that {}", is_done(facts)),
        ServiceState::Unreachable => format!("one call a time is tried, the next {}; then {}", by(facts), is_done(facts)),
        ServiceState::LedgerUnwritable => {
            format!("make room on the disk, or end what locks the ledger; then {}", is_done(facts))
        }
        ServiceState::Stalled => {
            format!("other content in its manifest is sent at once; the same is tried again {}", by(facts))
        }
        ServiceState::Denied => format!("put a good token in place; it is read again, and tried, {}", by(facts)),
        ServiceState::BackingOff => format!("it is tried again {}, without end", by(facts)),
        ServiceState::InDoubt => match facts.found.until {
            Some(until) => format!("from {} on, when it can no longer arrive, {}", by_clock(until, facts), is_done(facts)),
            None => is_done(facts).to_owned(),
        },
        ServiceState::Queued => is_done(facts).to_owned(),
    }
}

/// The same where nobody has the ledger open: what the next daemon or pass does.
fn next_of_nobody(facts: &Facts) -> String {
    let nobody = "no daemon runs";
    match facts.found.state {
        ServiceState::RateLimited => {
            format!("{nobody}; the next one waits for the rate limit; then {}", does(facts))
        }
        ServiceState::Stalled => format!(
            "{nobody}; the next one tries the same once more, which helps where what was refused was fixed elsewhere; other \
             content in its manifest is sent at once"
        ),
        ServiceState::Denied => format!("put a good token in place; {nobody}; when one runs, {}", does(facts)),
        _ => format!("{nobody}; when one runs, {}", does(facts)),
    }
}

fn by(facts: &Facts) -> String {
    match facts.found.until.filter(|until| *until > facts.now) {
        Some(until) => format!("by {}", by_clock(until, facts)),
        None => "any moment".to_owned(),
    }
}

/// What it waits for, where it does.
pub(crate) fn waits_for(facts: &Facts) -> Option<Waiting> {
    let what = match facts.found.state {
        ServiceState::Unchanged
        | ServiceState::RolloutFailed
        | ServiceState::Orphaned
        | ServiceState::Drifted
        | ServiceState::NotInEffect => None,
        ServiceState::Flapping => Some("left-alone"),
        ServiceState::Invalid => Some("fix"),
        ServiceState::Suspended => Some("suspension"),
        ServiceState::Held | ServiceState::RolledBack => Some("release"),
        ServiceState::RateLimited => Some("rate-limit"),
        _ if facts.holder.is_none() => Some("run"),
        ServiceState::InFlight => Some("answer"),
        ServiceState::Stalled => Some("new-content"),
        ServiceState::Denied
        | ServiceState::BackingOff
        | ServiceState::Unreachable
        | ServiceState::LedgerUnwritable => Some("retry"),
        ServiceState::InDoubt => facts.found.until.map(|_| "settling"),
        ServiceState::Queued => None,
    }?;
    let reason = match facts.found.state {
        ServiceState::Flapping => Some(FLAPS.into()),
        _ => facts.found.reason.clone(),
    };
    let until = facts.found.until.filter(|until| what != "run" && *until > facts.now);
    Some(Waiting { what, until, reason })
}

/// What is not sent and why, where something is not.
pub(crate) fn not_sent(facts: &Facts) -> Option<NotSent> {
    let why = facts.found.state;
    let is_left = matches!(
        why,
        ServiceState::Suspended
            | ServiceState::Invalid
            | ServiceState::Stalled
            | ServiceState::Held
            | ServiceState::RolledBack
            | ServiceState::Orphaned
    );
    let waiting = waits_for(facts).filter(|_| is_left);
    let (reason, until) = waiting.map_or((None, None), |waiting| (waiting.reason, waiting.until));
    is_left.then_some(NotSent { why, reason, until })
}

/// That it runs something else.
fn drifted(facts: &Facts) -> String {
    let read = facts.drift.as_ref().and_then(|drift| drift.read_at);
    let read = read.map(|at| format!(", as it was read {}", short::ago(at, facts.now))).unwrap_or_default();
    format!("{} runs something else than was applied{read}", facts.service)
}

/// Who changed it, where that is known.
fn stranger(facts: &Facts) -> &str {
    let by = facts.stranger.as_ref().and_then(|stranger| stranger.by.as_ref());
    by.and_then(|by| by.user.as_deref()).unwrap_or("somebody")
}

/// The last call, where it was one with the content that is desired now: what was said of other content says nothing.
fn last_of_this(facts: &Facts) -> Option<&Attempt> {
    let digest = facts.desired.as_ref()?.digest;
    facts.last.as_ref().filter(|call| call.digest == digest)
}

/// Whether the last call was the read that decides, and not the update.
fn is_unread(facts: &Facts) -> bool {
    last_of_this(facts).is_some_and(Attempt::is_unread)
}

/// `2027-01-31T18:00:00Z (in 3 min)`.
fn by_clock(at: Timestamp, facts: &Facts) -> String {
    format!("{} (in {})", short::time(at), short::span(facts.now, at))
}

/// What a service that is due is there for.
fn to_do(facts: &Facts) -> &'static str {
    match facts.step {
        Some(Step::ReadLive(Cause::InDoubt)) => "to be read",
        Some(Step::ReadLive(_)) => "to be read, and updated if it runs something else",
        _ => "to be updated",
    }
}

/// Why it is due.
fn why_due(facts: &Facts) -> &'static str {
    match facts.step {
        Some(Step::Update(Cause::New) | Step::ReadLive(Cause::New)) => "nothing is known of it",
        Some(Step::Update(Cause::Released)) => "its rollout failed, and somebody released it",
        Some(Step::Update(Cause::Rollback)) => "somebody took back what its manifest says",
        _ => "its manifest changed",
    }
}

/// What is done about it.
fn is_done(facts: &Facts) -> &'static str {
    match facts.step {
        Some(Step::ReadLive(_)) => "the service is read first, and the update is sent if it runs something else",
        Some(Step::Update(Cause::InDoubt)) => "the update is sent again",
        Some(Step::Update(Cause::Rollback)) => "the version that they chose is sent",
        _ => "the update is sent",
    }
}

/// The same of whoever does it.
fn does(facts: &Facts) -> &'static str {
    match facts.step {
        Some(Step::ReadLive(_)) => "it reads the service first, and sends the update if it runs something else",
        Some(Step::Update(Cause::InDoubt)) => "it sends the update again",
        Some(Step::Update(Cause::Rollback)) => "it sends the version that they chose",
        _ => "it sends the update",
    }
}

/// What becomes of drift.
fn after_drift(facts: &Facts) -> String {
    let of_manifest = facts.desired.as_ref().and_then(|desired| desired.drift);
    let mode = of_manifest.or(facts.rules.map(|rules| rules.drift));
    let who = match (of_manifest, facts.holder) {
        (Some(mode), _) => format!("its manifest says `policy.drift: {}`", mode.as_str()),
        (None, Some(_)) => format!("the daemon runs with `--drift {}`", mode.map_or("report", DriftMode::as_str)),
        (None, None) => format!("the last one ran with `--drift {}`", mode.map_or("report", DriftMode::as_str)),
    };
    match mode {
        Some(DriftMode::Correct) if facts.found.state == ServiceState::Flapping => {
            "then it is read, and corrected if it drifts still; other content in its manifest is sent at once"
                .to_owned()
        }
        Some(DriftMode::Correct) if facts.holder.is_some() => {
            format!("{who}: it is read again, and corrected if it drifts still")
        }
        Some(DriftMode::Correct) => {
            format!("{who}; no daemon runs; when one runs, it is read again, and corrected if it drifts still")
        }
        Some(DriftMode::Report | DriftMode::Off) => format!("it is left as it is: {who}"),
        None => "a daemon with `--drift correct` sends what its manifest says; any other leaves it as it is".to_owned(),
    }
}
