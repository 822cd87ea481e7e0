//! The answer: what follows from the facts, in a word and in sentences. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::super::attempt::{Attempt, Word};
use super::super::short;
use super::super::status_table::suspension;
use super::facts::Facts;
use crate::engine::Pace;
use crate::model::Cause;
use crate::plan::{Step, counted};

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
    /// `answer`, `rate-limit`, `retry`, `suspension`, `new-content`, `mending` or `run`.
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
        let ago = call.map(|call| format!("{} ago", short::span(call.ended.unwrap_or(call.began), facts.now)));
        let ago = ago.unwrap_or_default();
        let status = call.and_then(|call| call.status).map(|status| format!(" ({status})")).unwrap_or_default();
        match self {
            Self::Unchanged => format!("{name} has what its manifest says: there is nothing to send."),
            Self::Drifted => {
                let read = facts.drift.as_ref().and_then(|drift| drift.read_at);
                let read = read.map(|at| format!(", as it was read {} ago", short::span(at, facts.now)));
                format!("{name} runs something else than was applied{}: somebody changed it.", read.unwrap_or_default())
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
                    let (until, left) = (short::time(pause.until), short::span(facts.now, pause.until));
                    format!("{name} waits, as all calls do until {until} (in {left}): {}.", pause.reason)
                }
                None => format!("{name} waits, as all calls do."),
            },
            Self::Stalled => format!("{name} is not up to date: the API refused its update{status} {ago}."),
            Self::Denied => format!("{name} is not up to date: the API refused the token{status} {ago}."),
            Self::BackingOff => format!("{name} is not up to date: the last call failed{status} {ago}."),
            Self::InDoubt => {
                format!("{name} is to be read: nobody knows whether the last call arrived.")
            }
            Self::Queued => match facts.applied {
                None => format!("{name} is to be read, and updated if it runs something else: nothing is known of it."),
                Some(_) => format!("{name} is to be updated: its manifest changed."),
            },
        }
    }

    /// What happens now.
    pub(super) fn next(self, facts: &Facts) -> String {
        let fields = match facts.changes.len() {
            0 => "nothing would be sent then".to_owned(),
            count => format!("{} would be sent then", counted(count, "field")),
        };
        let words = match self {
            Self::Unchanged => return "nothing, until its manifest changes".to_owned(),
            Self::Drifted => {
                return "it is left as it is; `--drift correct` or `policy.drift: correct` sends what its manifest says"
                    .to_owned();
            }
            Self::Orphaned => {
                return "nothing: truenorth deletes no service; a manifest that names it takes it up again".to_owned();
            }
            Self::Problem => {
                return "mend the manifest; until then the service keeps what it has".to_owned();
            }
            Self::Suspended => {
                let until = facts.desired.as_ref().and_then(|desired| desired.suspension.as_ref()?.until);
                return match until {
                    Some(until) => format!("its manifest is followed again from {} on; {fields}", short::time(until)),
                    None => format!("its manifest is followed again once it does not suspend it; {fields}"),
                };
            }
            Self::InFlight => "the answer is recorded when it comes".to_owned(),
            Self::Paused => "the update is sent after the pause".to_owned(),
            Self::Stalled => {
                format!("other content in its manifest is sent at once; the same is tried again {}", self.by(facts))
            }
            Self::Denied => {
                format!("put a good token in place; it is read again, and tried, {}", self.by(facts))
            }
            Self::BackingOff => format!("it is tried again {}, without end", self.by(facts)),
            Self::InDoubt => "it is read, and the update is sent again if it did not arrive".to_owned(),
            Self::Queued if facts.applied.is_none() => {
                "it is read, and the update is sent if it has something else".to_owned()
            }
            Self::Queued => "the update is sent".to_owned(),
        };
        match facts.holder {
            Some(_) => words,
            None => "no truenorth has the ledger open: the next one that runs sends the update".to_owned(),
        }
    }

    fn by(self, facts: &Facts) -> String {
        match self.retry(facts).filter(|retry| *retry > facts.now) {
            Some(retry) => format!("by {} (in {})", short::time(retry), short::span(facts.now, retry)),
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
            Self::Unchanged | Self::Drifted | Self::Orphaned => None,
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
            Self::InDoubt | Self::Queued => None,
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

fn after(at: Timestamp, wait: Duration) -> Option<Timestamp> {
    at.checked_add(wait).ok()
}
