//! Why a call failed, what to do next, and whether it can have had an effect.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::Value;

use super::answer::{DEFAULT_WAIT, Deprecation, Heard};
use super::failure::{MAX_MESSAGE, Said};
use super::meaning::{Speaker, Todo, meaning};
use super::{Quota, Token, scrub};
use crate::error::chain;
use crate::model::{DeploymentUpdate, Diagnostic};

/// A call that failed. `Display` is a fragment such as ``the API answered 404 Not Found: no such service (not_found)``;
/// the causes of a broken connection are in the chain of sources. Nothing in it holds the token, and every text of it
/// is bounded and harmless in a terminal.
#[derive(Debug)]
pub struct CallError {
    // An error travels in every `Result` of a call; one pointer is cheaper to carry than its parts.
    parts: Box<Parts>,
}

#[derive(Debug)]
struct Parts {
    call: Effect,
    failure: Failure,
    heard: Heard,
    elapsed: Duration,
}

/// What a call can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Change a service.
    Update,
    /// Nothing.
    Read,
}

/// What went wrong.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request could not be made: nothing was sent.
    Request { cause: Cause },
    /// No connection: nothing was sent.
    Connect { way: String, cause: Cause },
    /// A connection broke before there was a status, or gave something that is no HTTP.
    Broken { way: String, cause: Cause },
    /// No status before the deadline.
    Timeout { way: String, after: Duration },
    /// The call makes no sense for the service: nothing was sent.
    Senseless { why: &'static str },
    /// A status of success, and a body that does not give what the call asked for.
    Unreadable { status: StatusCode, why: &'static str, cause: Option<Cause> },
    /// A status that is not success, or an error under one that is.
    Status { status: StatusCode, said: Said, wait: Wait },
}

/// How long an answer asks to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// It does not.
    Unsaid,
    /// At least this long, for this call.
    AtLeast(Duration),
    /// It limits calls; see [`Disposition::Limited`].
    Limited { wait: Duration, told: bool },
}

/// The way out where the API does not know the token.
pub(crate) const NEW_TOKEN: &str = "make a new API token in Northflank, and put it in the place of this one";

/// What to do after a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Try again later, with a backoff. See [`CallError::minimum_wait`].
    Transient {
        /// What it speaks of.
        scope: Scope,
    },
    /// Too many calls (429).
    Limited {
        /// 1 second to [`MAX_WAIT`](super::MAX_WAIT), from the answer on.
        wait: Duration,
        /// Whether the answer said that the rate limit's window is used up. Otherwise the limit may be one of this
        /// call alone.
        told: bool,
    },
    /// The API does not know the token (401).
    Denied,
    /// The API says that the token may not do this (403): here, or anywhere.
    Forbidden,
    /// The API refuses the call, and will until its content changes (other 4xx). So is one that makes no sense for its
    /// service.
    Rejected,
}

/// What a failure that passes speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The API as a whole: no connection, no answer in time, a broken connection, 5xx, a page of something in its place.
    Api,
    /// This call or its service: another change in progress, for example.
    Service,
}

/// Whether a call that failed can have had an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It never left: there was no connection, or nothing that could be sent.
    Unsent,
    /// It may have had: a timeout, a connection that broke, an answer that is not the API's or proves nothing.
    Unknown,
    /// It had none: the API refused it, or it only read.
    Refused,
}

impl CallError {
    pub(super) fn new(call: Effect, failure: Failure, heard: Heard, elapsed: Duration) -> Self {
        Self { parts: Box::new(Parts { call, failure, heard, elapsed }) }
    }

    /// The same without the hidden words of an update's commands, which an API that refuses one may repeat.
    pub(super) fn without_commands_of(mut self, update: &DeploymentUpdate) -> Self {
        if let Failure::Status { said, .. } = &mut self.parts.failure {
            update.commands().for_each(|command| said.conceal(command));
        }
        self
    }

    /// What to do next.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match &self.parts.failure {
            Failure::Request { .. } | Failure::Senseless { .. } => Disposition::Rejected,
            Failure::Connect { .. } | Failure::Broken { .. } | Failure::Timeout { .. } | Failure::Unreadable { .. } => {
                Disposition::Transient { scope: Scope::Api }
            }
            Failure::Status { status, said, wait } => match meaning(status.as_u16(), said.speaker).0 {
                Todo::Wait(scope) => Disposition::Transient { scope },
                Todo::Limit => match *wait {
                    Wait::Limited { wait, told } => Disposition::Limited { wait, told },
                    Wait::AtLeast(wait) => Disposition::Limited { wait, told: false },
                    Wait::Unsaid => Disposition::Limited { wait: DEFAULT_WAIT, told: false },
                },
                Todo::Deny => Disposition::Denied,
                Todo::Forbid => Disposition::Forbidden,
                Todo::Reject => Disposition::Rejected,
            },
        }
    }

    /// Whether the call can have had an effect.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        let delivery = match &self.parts.failure {
            Failure::Request { .. } | Failure::Connect { .. } | Failure::Senseless { .. } => Delivery::Unsent,
            Failure::Broken { .. } | Failure::Timeout { .. } | Failure::Unreadable { .. } => Delivery::Unknown,
            Failure::Status { status, said, .. } => meaning(status.as_u16(), said.speaker).1,
        };
        match (self.parts.call, delivery) {
            (Effect::Read, Delivery::Unknown) => Delivery::Refused,
            (Effect::Read | Effect::Update, delivery) => delivery,
        }
    }

    /// Whether the API itself says that there is nothing under this address: that it does not serve this call, or has
    /// no such service. A page in its place says neither.
    #[must_use]
    pub fn is_not_served(&self) -> bool {
        self.said().is_some_and(|said| said.speaker == Speaker::Api) && matches!(self.status(), Some(404 | 405 | 410))
    }

    /// Whether it failed before there was a request at all.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.parts.failure, Failure::Request { .. } | Failure::Senseless { .. })
    }

    /// What a transient failure asks for in `Retry-After` (a 503 while the API is maintained): no attempt at this call
    /// before. At most [`MAX_WAIT`](super::MAX_WAIT).
    #[must_use]
    pub fn minimum_wait(&self) -> Option<Duration> {
        match self.parts.failure {
            Failure::Status { wait: Wait::AtLeast(wait), .. } => Some(wait),
            _ => None,
        }
    }

    /// The HTTP status, where there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match &self.parts.failure {
            Failure::Status { status, .. } | Failure::Unreadable { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }

    /// What the API said, in one line of at most 1 KiB; else the status in words (`502 Bad Gateway`); where there was no
    /// answer, what `Display` says.
    #[must_use]
    pub fn message(&self) -> String {
        match &self.parts.failure {
            Failure::Status { status, said, .. } => said.message.clone().unwrap_or_else(|| in_words(*status)),
            _ => self.to_string(),
        }
    }

    /// All that people are told of it: what `Display` and its causes say, and what the provider told of the fields at
    /// fault.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        let hint = (self.disposition() == Disposition::Denied).then(|| NEW_TOKEN.into());
        Diagnostic { message: chain(self), hint, details: self.details().cloned().map(Box::new) }
    }

    /// The provider's code for the error; at most 128 bytes.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.said()?.id.as_deref()
    }

    /// What the provider tells beside the message, such as the fields at fault; at most 4 KiB of JSON. Longer details
    /// are a text that is cut off.
    #[must_use]
    pub fn details(&self) -> Option<&Value> {
        self.said()?.details.as_ref()
    }

    /// The quota, where the answer reported it in full.
    #[must_use]
    pub fn quota(&self) -> Option<Quota> {
        self.parts.heard.quota
    }

    /// What the answer says of the call's own end.
    #[must_use]
    pub fn deprecated(&self) -> Option<Deprecation> {
        self.parts.heard.deprecated
    }

    /// When the server wrote the answer, by its clock, where there was one.
    #[must_use]
    pub fn server_time(&self) -> Option<Timestamp> {
        self.parts.heard.server_time
    }

    /// From the beginning of the call to its failure.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.parts.elapsed
    }

    fn said(&self) -> Option<&Said> {
        match &self.parts.failure {
            Failure::Status { said, .. } => Some(said),
            _ => None,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.parts.failure {
            Failure::Request { .. } => f.write_str("the request cannot be made"),
            Failure::Connect { way, .. } => write!(f, "no connection to {way}"),
            Failure::Broken { way, .. } => write!(f, "the connection to {way} broke before it answered"),
            Failure::Timeout { way, after } => write!(f, "no answer from {way} within {after:?}"),
            Failure::Senseless { why } => write!(f, "the update cannot be sent: {why}"),
            Failure::Unreadable { status, why, .. } => write!(f, "the API answered {}, but {why}", in_words(*status)),
            Failure::Status { status, said, .. } => {
                let words = in_words(*status);
                match said.speaker {
                    Speaker::Api if status.is_success() => write!(f, "the API answered {words} with an error")?,
                    // A gateway's 502 is told as everybody tells it, and a redirect says itself what it is.
                    Speaker::Another if status.is_success() || status.is_client_error() => {
                        write!(f, "the answer {words} is not the API's")?;
                    }
                    Speaker::Api | Speaker::Another => write!(f, "the API answered {words}")?,
                }
                // The title of many a proxy's page only repeats the status.
                if let Some(message) = said.message.as_ref().filter(|message| **message != words) {
                    write!(f, ": {message}")?;
                }
                if let Some(id) = &said.id {
                    write!(f, " ({id})")?;
                }
                Ok(())
            }
        }
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.parts.failure {
            Failure::Request { cause } | Failure::Connect { cause, .. } | Failure::Broken { cause, .. } => Some(cause),
            Failure::Unreadable { cause, .. } => cause.as_ref().map(|cause| cause as _),
            Failure::Timeout { .. } | Failure::Senseless { .. } | Failure::Status { .. } => None,
        }
    }
}

/// `404 Not Found`, or the number alone where it has no name.
fn in_words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_str()),
        None => status.as_str().to_owned(),
    }
}

/// The chain of a library's error as texts. The library's own errors are not kept: they can hold what the other side
/// sent (the closing words of an HTTP/2 connection), in `Debug` too.
#[derive(Debug)]
pub(super) struct Cause {
    text: String,
    source: Option<Box<Cause>>,
}

impl Cause {
    /// The longest chain that is kept.
    const MAX_LINKS: usize = 16;

    /// Takes over an error and its sources.
    pub(super) fn of(error: &(dyn Error + 'static), token: &Token) -> Self {
        Self::from_chain(error, token, Self::MAX_LINKS)
    }

    fn from_chain(error: &(dyn Error + 'static), token: &Token, links: usize) -> Self {
        let text = scrub::line(&error.to_string(), token, MAX_MESSAGE);
        let source = error.source().filter(|_| links > 1);
        Self { text, source: source.map(|source| Box::new(Self::from_chain(source, token, links - 1))) }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, message: Option<&str>, id: Option<&str>, speaker: Speaker) -> CallError {
        let said = Said { speaker, message: message.map(Into::into), id: id.map(Into::into), details: None };
        let status = StatusCode::from_u16(status).expect("a status");
        let failure = Failure::Status { status, said, wait: Wait::Unsaid };
        CallError::new(Effect::Update, failure, Heard::default(), Duration::ZERO)
    }

    #[test]
    fn an_error_says_what_the_api_said() {
        let text = |code, message, id| status(code, message, id, Speaker::Api).to_string();
        let (message, id) = (Some("no such service"), Some("not_found"));
        assert_eq!(text(404, message, id), "the API answered 404 Not Found: no such service (not_found)");
        assert_eq!(text(200, message, None), "the API answered 200 OK with an error: no such service");
    }

    #[test]
    fn an_error_does_not_put_words_into_the_apis_mouth() {
        let error = |code, message| status(code, message, None, Speaker::Another);
        let text = |code, message| error(code, message).to_string();
        let page = Some("404 page not found");
        assert_eq!(text(404, page), "the answer 404 Not Found is not the API's: 404 page not found");
        assert_eq!(text(200, None), "the answer 200 OK is not the API's");
        assert_eq!(text(502, Some("502 Bad Gateway")), "the API answered 502 Bad Gateway");
        assert_eq!(text(599, None), "the API answered 599");
        assert_eq!(error(502, None).message(), "502 Bad Gateway");
    }

    #[test]
    fn only_the_api_says_that_a_call_is_not_served() {
        for code in [404, 405, 410] {
            assert!(status(code, None, None, Speaker::Api).is_not_served(), "{code}");
            assert!(!status(code, None, None, Speaker::Another).is_not_served(), "{code}");
        }
        assert!(!status(403, None, None, Speaker::Api).is_not_served());
    }
}
