//! The answer: what follows from the facts, in a word and in sentences. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::super::attempt::{Attempt, Word};
use super::super::live::KEPT;
use super::super::status_table::{AGAIN, suspension};
use super::facts::Facts;
use crate::engine::Pace;
use crate::model::{Cause, DriftMode};
use crate::northflank::passes;
use crate::plan::Step;
use crate::text::{counted, short};

/// Why a service is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has what its manifest says.
    Unchanged,
    /// It runs something else than was applied.
    Drifted,
    /// Its manifest says to leave it alone.
    Suspended,
    /// No manifest names it any more.
    Orphaned,
    /// Its manifest cannot be understood.
    Problem,
    /// A call is being made.
    InFlight,
    /// All calls wait.
    Paused,
    /// The API refused its content.
    Stalled,
    /// The API refused the token.
    Denied,
    /// The last call failed for a reason that passes.
    BackingOff,
    /// Nobody knows whether the last call arrived.
    InDoubt,
    /// An update is due, and nothing is known to be in its way.
    Queued,
}

/// What it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Waiting {
    /// `answer`, `rate-limit`, `retry`, `suspension`, `left-alone`, `new-content`, `mending` or `run`.
    pub(super) what: &'static str,
    /// Until when at the latest, where that is known.
    pub(super) until: Option<Timestamp>,
    pub(super) reason: Option<String>,
}

/// What is not sent, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct NotSent {
    /// `suspended`, `problem`, `orphaned` or `stalled`.
    pub(super) why: &'static str,
    pub(super) reason: Option<String>,
    pub(super) until: Option<Timestamp>,
}

impl Answer {
    pub(super) fn of(facts: &Facts) -> Self {
        match facts.step {
            None => Self::Problem,
            Some(Step::Unchanged) if facts.drift.as_ref().is_some_and(|drift| !drift.differences.is_empty()) => {
                Self::Drifted
            }
            Some(Step::Unchanged) => Self::Unchanged,
            Some(Step::Suspended) => Self::Suspended,
            Some(Step::Orphaned) => Self::Orphaned,
            Some(Step::Update(cause) | Step::ReadLive(cause)) => Self::of_update(facts, cause),
        }
    }

    fn of_update(facts: &Facts, cause: Cause) -> Self {
        let last = last_of_this(facts);
        match last.map(|last| (last.outcome, last.status)) {
            Some((Word::InFlight, _)) => return Self::InFlight,
            _ if facts.pause.is_some() => return Self::Paused,
            Some((Word::Rejected, Some(401 | 403))) => return Self::Denied,
            Some((Word::Rejected, Some(429))) => {}
            Some((Word::Rejected, Some(status))) if passes(status) => return Self::BackingOff,
            Some((Word::Rejected, _)) => return Self::Stalled,
            Some((Word::Unsent | Word::Unknown, _)) => return Self::BackingOff,
            Some((Word::Interrupted | Word::Accepted | Word::Adopted, _)) | None => {}
        }
        match cause {
            Cause::InDoubt => Self::InDoubt,
            Cause::New | Cause::Changed | Cause::Drifted => Self::Queued,
        }
    }

    /// The word in JSON, that of `status` where it has one.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Drifted => "drifted",
            Self::Suspended => "suspended",
            Self::Orphaned => "orphaned",
            Self::Problem => "problem",
            Self::InFlight => "in-flight",
            Self::Paused => "paused",
            Self::Stalled => "stalled",
            Self::Denied => "denied",
            Self::BackingOff => "backing-off",
            Self::InDoubt => "in-doubt",
            Self::Queued => "queued",
        }
    }

    /// The answer in one sentence.
    pub(super) fn sentence(self, facts: &Facts) -> String {
        let name = &facts.service;
        let call = facts.last.as_ref().map(|last| &last.call);
        let ago = call.map(|call| short::ago(call.ended.unwrap_or(call.began), facts.now)).unwrap_or_default();
        let status = call.and_then(|call| call.status).map(|status| format!(" ({status})")).unwrap_or_default();
        match self {
            Self::Unchanged => format!("{name} has what its manifest says: there is nothing to send."),
            Self::Drifted => {
                let read = facts.drift.as_ref().and_then(|drift| drift.read_at);
                let read = read.map(|at| format!(", as it was read {}", short::ago(at, facts.now))).unwrap_or_default();
                let drifted = format!("{name} runs something else than was applied{read}");
                match left_alone_until(facts) {
                    Some(until) => format!("{drifted}: {AGAIN}, and is left alone until {}.", by_clock(until, facts)),
                    None => format!("{drifted}: somebody changed it."),
                }
            }
            Self::Suspended => {
                let suspended = facts.desired.as_ref().and_then(|desired| desired.suspension.as_ref());
                match suspended.map(suspension).filter(|words| !words.is_empty()) {
                    Some(words) => format!("{name} is left alone, as its manifest asks, {words}."),
                    None => format!("{name} is left alone, as its manifest asks."),
                }
            }
            Self::Orphaned => format!("{name} is left as it is: no manifest names it any more."),
            Self::Problem => {
                let problems = counted(facts.problems.len().max(1), "problem");
                format!("{name} gets nothing new: its manifest has {problems}.")
            }
            Self::InFlight => format!("{name} is being updated: a call began {ago} and has no answer yet."),
            Self::Paused => match &facts.pause {
                Some(pause) => {
                    format!("{name} waits, as all calls do until {}: {}.", by_clock(pause.until, facts), pause.reason)
                }
                None => format!("{name} waits, as all calls do."),
            },
            Self::Stalled if is_unread(facts) => {
                format!(
                    "{name} is not up to date: the API refused the read that decides about its update{status} {ago}."
                )
            }
            Self::Stalled => format!("{name} is not up to date: the API refused its update{status} {ago}."),
            Self::Denied => format!("{name} is not up to date: the API refused the token{status} {ago}."),
            Self::BackingOff if is_unread(facts) => {
                format!("{name} is not up to date: the read that decides about its update failed {ago}.")
            }
            Self::BackingOff => format!("{name} is not up to date: the last call failed{status} {ago}."),
            Self::InDoubt => {
                format!("{name} is {}: nobody knows whether the last call arrived{}.", to_do(facts), later(facts))
            }
            Self::Queued => format!("{name} is {}: {}{}.", to_do(facts), because(facts), later(facts)),
        }
    }

    /// What happens now.
    pub(super) fn next(self, facts: &Facts) -> String {
        let fields = match facts.changes.len() {
            0 => "nothing would be sent then".to_owned(),
            count => format!("{} would be sent then", counted(count, "field")),
        };
        match self {
            Self::Unchanged => "nothing, until its manifest changes".to_owned(),
            Self::Drifted => after_drift(facts),
            Self::Orphaned => {
                "nothing: truenorth deletes no service; a manifest that names it takes it up again".to_owned()
            }
            Self::Problem => "mend the manifest; until then the service keeps what it has".to_owned(),
            Self::Suspended => {
                let until = facts.desired.as_ref().and_then(|desired| desired.suspension.as_ref()?.until);
                match until {
                    Some(until) => format!("its manifest is followed again from {} on; {fields}", short::time(until)),
                    None => format!("its manifest is followed again once it does not suspend it; {fields}"),
                }
            }
            _ if facts.holder.is_none() => self.next_of_nobody(facts),
            Self::InFlight => "the answer is recorded when it comes".to_owned(),
            Self::Paused => format!("after the pause {}", is_done(facts)),
            Self::Stalled => {
                format!("other content in its manifest is sent at once; the same is tried again {}", self.by(facts))
            }
            Self::Denied => {
                format!("put a good token in place; it is read again, and tried, {}", self.by(facts))
            }
            Self::BackingOff => format!("it is tried again {}, without end", self.by(facts)),
            Self::InDoubt | Self::Queued => match facts.waits_until {
                Some(until) => format!("from {} on {}: {KEPT}", by_clock(until, facts), is_done(facts)),
                None => is_done(facts).to_owned(),
            },
        }
    }

    /// The same where no truenorth has the ledger open: what the next one does.
    fn next_of_nobody(self, facts: &Facts) -> String {
        let nobody = "no truenorth has the ledger open";
        match self {
            Self::Paused => {
                format!("{nobody}; when one runs, it waits for the end of the pause; then {}", does(facts))
            }
            Self::Stalled => format!(
                "{nobody}; when one runs, it tries the same once more, which helps where what was refused was mended \
                 elsewhere; other content in its manifest is sent at once"
            ),
            Self::Denied => format!("put a good token in place; {nobody}; when one runs, {}", does(facts)),
            _ => format!("{nobody}; when one runs, {}", does(facts)),
        }
    }

    fn by(self, facts: &Facts) -> String {
        match self.retry(facts).filter(|retry| *retry > facts.now) {
            Some(retry) => format!("by {}", by_clock(retry, facts)),
            None => "any moment".to_owned(),
        }
    }

    /// When the daemon tries again at the latest, as it paces itself if the API does not ask for more.
    fn retry(self, facts: &Facts) -> Option<Timestamp> {
        let last = last_of_this(facts)?;
        let pace = Pace::default();
        let wait = match self {
            Self::Stalled => pace.stalled_retry,
            Self::Denied => pace.denied_retry,
            Self::BackingOff => pace.backoff.wait(last.attempt, 1.0),
            _ => return None,
        };
        after(last.ended?, wait)
    }

    /// What it waits for, where it does.
    pub(super) fn waits_for(self, facts: &Facts) -> Option<Waiting> {
        let waiting = |what, until, reason| Some(Waiting { what, until, reason });
        let message = || last_of_this(facts).and_then(|last| last.message.clone());
        match self {
            Self::Unchanged | Self::Orphaned => None,
            Self::Drifted => {
                let until = left_alone_until(facts)?;
                waiting("left-alone", Some(until), Some(AGAIN.to_owned()))
            }
            Self::Problem => waiting("mending", None, facts.problems.first().map(|problem| problem.message.clone())),
            Self::Suspended => {
                let suspended = facts.desired.as_ref().and_then(|desired| desired.suspension.as_ref());
                let until = suspended.and_then(|suspended| suspended.until);
                waiting("suspension", until, suspended.and_then(|suspended| suspended.reason.clone()))
            }
            _ if facts.holder.is_none() => waiting("run", None, message()),
            Self::InFlight => waiting("answer", None, None),
            Self::Paused => {
                let pause = facts.pause.as_ref()?;
                waiting("rate-limit", Some(pause.until), Some(pause.reason.clone()))
            }
            Self::Stalled => waiting("new-content", self.retry(facts), message()),
            Self::Denied | Self::BackingOff => waiting("retry", self.retry(facts), message()),
            Self::InDoubt | Self::Queued => {
                let until = facts.waits_until?;
                waiting("rate-limit", Some(until), Some(KEPT.to_owned()))
            }
        }
    }

    /// What is not sent and why, where something is not.
    pub(super) fn not_sent(self, facts: &Facts) -> Option<NotSent> {
        let waiting = self.waits_for(facts);
        let (reason, until) = waiting.map_or((None, None), |waiting| (waiting.reason, waiting.until));
        match self {
            Self::Suspended | Self::Problem | Self::Stalled => Some(NotSent { why: self.as_str(), reason, until }),
            Self::Orphaned => Some(NotSent { why: "orphaned", reason: None, until: None }),
            Self::Unchanged
            | Self::Drifted
            | Self::InFlight
            | Self::Paused
            | Self::Denied
            | Self::BackingOff
            | Self::InDoubt
            | Self::Queued => None,
        }
    }
}

/// The last call, where it was one with the content that is desired now: what was said of other content says nothing.
fn last_of_this(facts: &Facts) -> Option<&Attempt> {
    let digest = facts.desired.as_ref()?.digest;
    facts.last.as_ref().map(|last| &last.call).filter(|call| call.digest == digest)
}

/// Whether the last call was the read that decides, and not the update.
fn is_unread(facts: &Facts) -> bool {
    last_of_this(facts).is_some_and(Attempt::is_unread)
}

fn left_alone_until(facts: &Facts) -> Option<Timestamp> {
    facts.drift.as_ref()?.left_alone_until
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
fn because(facts: &Facts) -> &'static str {
    match facts.step {
        Some(Step::Update(Cause::New) | Step::ReadLive(Cause::New)) => "nothing is known of it",
        _ => "its manifest changed",
    }
}

/// That it waits, where it does.
fn later(facts: &Facts) -> String {
    let until = facts.waits_until.map(|until| by_clock(until, facts));
    until.map(|until| format!("; the rate limit makes it wait until {until}")).unwrap_or_default()
}

/// What is done about it.
fn is_done(facts: &Facts) -> &'static str {
    match facts.step {
        Some(Step::ReadLive(_)) => "the service is read first, and the update is sent if it runs something else",
        Some(Step::Update(Cause::InDoubt)) => "the update is sent again",
        _ => "the update is sent",
    }
}

/// The same of whoever does it.
fn does(facts: &Facts) -> &'static str {
    match facts.step {
        Some(Step::ReadLive(_)) => "it reads the service first, and sends the update if it runs something else",
        Some(Step::Update(Cause::InDoubt)) => "it sends the update again",
        _ => "it sends the update",
    }
}

/// What becomes of drift. Whether the daemon has `--drift correct` is not known here.
fn after_drift(facts: &Facts) -> String {
    match facts.desired.as_ref().and_then(|desired| desired.drift) {
        Some(DriftMode::Report) => "it is left as it is: its manifest says `policy.drift: report`".to_owned(),
        Some(DriftMode::Off) => "it is left as it is: its manifest says `policy.drift: off`".to_owned(),
        Some(DriftMode::Correct) | None if left_alone_until(facts).is_some() => {
            "then it is read, and corrected if it drifts still; other content in its manifest is sent at once"
                .to_owned()
        }
        Some(DriftMode::Correct) => {
            "its manifest says `policy.drift: correct`: a truenorth that runs as a daemon reads it \
             again, and sends what its manifest says if it drifts still"
                .to_owned()
        }
        None => "a truenorth that runs with `--drift correct` reads it again and sends what its \
             manifest says; any other leaves it as it is"
            .to_owned(),
    }
}

fn after(at: Timestamp, wait: Duration) -> Option<Timestamp> {
    at.checked_add(wait).ok()
}
