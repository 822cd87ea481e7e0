//! One call as the ledger remembers it, in the words and the JSON that every command uses for it.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::ledger::{Before, End, HistoryEntry, Outcome};
use crate::model::{Diagnostic, Digest, Headline, Place, Rollout, ServiceKey, as_message};
use crate::plan::{self, Change};
use crate::text::command::Commands;
use crate::text::words;

/// One call, or the adoption of what was live.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Attempt {
    pub(crate) service: ServiceKey,
    pub(crate) began: Timestamp,
    /// Nothing while the end is not known.
    pub(crate) ended: Option<Timestamp>,
    /// How long it took, in seconds.
    pub(crate) seconds: Option<f64>,
    /// Why: new, changed, in-doubt, adopted, …
    pub(crate) cause: String,
    pub(crate) outcome: Word,
    /// HTTP status, where there was an answer.
    pub(crate) status: Option<u16>,
    /// What went wrong.
    #[serde(flatten, serialize_with = "as_message")]
    pub(crate) message: Option<Diagnostic>,
    /// Which try of this content, from 1; 0 where nothing was sent.
    pub(crate) attempt: u32,
    pub(crate) revision: String,
    /// What was written about the commit, where that is kept.
    pub(crate) commit: Option<Headline>,
    pub(crate) manifest: Place,
    pub(crate) digest: Digest,
    /// What it was to change, against what had been accepted before; none where one of both is not kept any more.
    pub(crate) changes: Vec<Change>,
    /// What became of it after it was accepted.
    pub(crate) rollout: Option<Rollout>,
}

words! {
    /// How a call ended, in a word.
    pub(crate) enum Word {
        /// The API took it.
        Accepted = "accepted",
        /// The API refused it.
        Rejected = "rejected",
        /// It never left this machine.
        Unsent = "unsent",
        /// Nobody knows whether it arrived.
        Unknown = "unknown",
        /// Its process went away before the answer came.
        Interrupted = "interrupted",
        /// There was no call: live had it already.
        Adopted = "adopted",
        /// It is being made.
        InFlight = "in-flight",
    }
}

impl Attempt {
    /// From the ledger; `held` is whether a truenorth has it open. Where none has, a call without an end has nobody who
    /// could still record one.
    pub(crate) fn new(entry: HistoryEntry, held: bool, commands: Commands) -> Self {
        let changes = changes(&entry, commands);
        let (outcome, ended, status, message) = match entry.end {
            End::Open if held => (Word::InFlight, None, None, None),
            End::Open => (Word::Interrupted, None, None, Some(GONE.into())),
            End::Interrupted { at } => (Word::Interrupted, Some(at), None, Some(GONE.into())),
            End::Adopted { at } => (Word::Adopted, Some(at), None, None),
            End::Recorded { outcome, at } => {
                let (word, status, message) = match outcome {
                    Outcome::Accepted { status } => (Word::Accepted, Some(status), None),
                    Outcome::Rejected { status, error } => (Word::Rejected, Some(status), Some(error)),
                    Outcome::Unsent { error } => (Word::Unsent, None, Some(error)),
                    Outcome::Unknown { status, error } => (Word::Unknown, status, Some(error)),
                };
                (word, Some(at), status, message)
            }
        };
        // When an interruption was found says nothing of how long the call took; a read that failed is kept as a call that
        // ended as it began.
        let was_read = tells_unread(message.as_ref());
        let took = ended.filter(|_| !was_read && !matches!(outcome, Word::Interrupted | Word::Adopted));
        Self {
            service: entry.key,
            began: entry.began,
            ended,
            seconds: took.map(|ended| entry.began.duration_until(ended).as_secs_f64().max(0.0)),
            cause: entry.cause,
            outcome,
            status,
            message,
            attempt: entry.attempt,
            revision: entry.revision,
            commit: entry.headline,
            manifest: entry.place,
            digest: entry.digest,
            changes,
            rollout: entry.rollout,
        }
    }

    /// Whether nothing was sent because live, which decides about it, could not be read.
    pub(crate) fn is_unread(&self) -> bool {
        tells_unread(self.message.as_ref())
    }

    /// Which try it was, where anything was tried.
    pub(crate) fn tried(&self) -> Option<u32> {
        Some(self.attempt).filter(|attempt| *attempt > 0)
    }

    /// As `rejected 404`.
    pub(crate) fn ending(&self) -> String {
        match self.status {
            Some(status) => format!("{} {status}", self.outcome.as_str()),
            None => self.outcome.as_str().to_owned(),
        }
    }

    /// How long it took.
    pub(crate) fn took(&self) -> Option<SignedDuration> {
        self.seconds.and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok())
    }
}

/// What a call was to change.
fn changes(entry: &HistoryEntry, commands: Commands) -> Vec<Change> {
    let before = match &entry.before {
        Before::Nothing => Some(None),
        Before::Kept(spec) => body(Some(spec)).map(Some),
        Before::NotKept => None,
    };
    let sent = body(entry.spec.as_deref());
    let known = before.zip(sent).map(|(before, sent)| plan::changes_between(before.as_ref(), &sent, commands));
    known.unwrap_or_default()
}

/// A body as the ledger keeps it. One that cannot be read is treated as none.
pub(super) fn body(spec: Option<&str>) -> Option<Value> {
    serde_json::from_str(spec?).ok()
}

const GONE: &str = "the process ended before the answer came";

fn tells_unread(message: Option<&Diagnostic>) -> bool {
    message.is_some_and(|error| error.message.starts_with(Outcome::UNREAD))
}
