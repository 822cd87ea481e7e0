//! Every statement on the ledger's rows, those that write and those that read. Each is prepared once per connection.

mod bodies;
mod decisions;
mod fault;
mod quarantine;
mod read;
mod requests;
mod seal;
mod write;

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::Type;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Adoption, Intent, Outcome, Sighting, WriteError};
use crate::model::{DeploymentUpdate, Diagnostic, Digest, Headline, Place, Rollout, ServiceKey, ServiceKind};
use crate::plan::UnnamedCredentials;

#[cfg(test)]
pub(super) use bodies::{KEEP as KEEP_BODIES, MAX as MAX_BODIES};
pub(super) use decisions::*;
pub(super) use quarantine::{body, last_good, lift, quarantine, quarantines, quarantines_as_asked};
pub(super) use read::*;
pub(super) use requests::*;
pub(super) use write::*;

/// Where the statements run, and what they give.
pub(super) use rusqlite::{Connection, Result as Rows};

/// How many accepted or adopted entries of history are kept for a service.
pub(super) const KEEP_ACCEPTED: u32 = 50;
/// How many others, beside the open one. They have a quota of their own: a service that fails for days must not lose
/// the record of when it last went well.
pub(super) const KEEP_OTHERS: u32 = 50;

/// How many revisions are kept with what was written about them.
pub(super) const KEEP_REVISIONS: u32 = 2000;

/// A new row of `call`, made where the caller is, so that the ledger's thread only writes.
#[derive(Debug)]
pub(super) struct NewCall {
    name: String,
    digest: Digest,
    cause: &'static str,
    revision: String,
    headline: Option<Headline>,
    place: Place,
    attempt: u32,
    at: Timestamp,
    settles_at: Option<Timestamp>,
    kind: Option<&'static str>,
    spec: String,
    /// Credentials that live uses and an adopted update names none of, as JSON.
    unnamed: Option<String>,
    /// Whether what was adopted ran.
    ran: bool,
    /// The rollout that was found with it.
    rollout: Option<Box<Rollout>>,
}

impl NewCall {
    pub(super) fn from_intent(intent: &Intent) -> Result<Self, WriteError> {
        Ok(Self {
            name: intent.key.to_string(),
            digest: intent.digest,
            cause: intent.cause.as_str(),
            revision: intent.revision.to_string(),
            headline: intent.revision.headline().cloned(),
            place: intent.place.clone(),
            attempt: intent.attempt,
            at: intent.at,
            settles_at: Some(intent.settles_at),
            kind: intent.kind.map(ServiceKind::as_str),
            spec: spec(&intent.update)?,
            unnamed: None,
            ran: false,
            rollout: None,
        })
    }

    pub(super) fn from_adoption(adoption: &Adoption) -> Result<Self, WriteError> {
        Ok(Self {
            name: adoption.key.to_string(),
            digest: adoption.digest,
            cause: "adopted",
            revision: adoption.revision.to_string(),
            headline: adoption.revision.headline().cloned(),
            place: adoption.place.clone(),
            attempt: 0,
            at: adoption.at,
            settles_at: None,
            kind: None,
            spec: spec(&adoption.update)?,
            unnamed: as_json(adoption.unnamed.as_ref())?,
            ran: adoption.runs,
            rollout: adoption.rollout.clone(),
        })
    }
}

/// A new row of `live`, made where the caller is.
#[derive(Debug)]
pub(super) struct NewSighting {
    name: String,
    at: Timestamp,
    kind: Option<&'static str>,
    compared: Option<Digest>,
    differences: String,
    undecided: String,
    unnamed: Option<String>,
    failure: Option<NewDiagnostic>,
}

impl NewSighting {
    pub(super) fn new(key: &ServiceKey, sighting: &Sighting) -> Result<Self, WriteError> {
        let reading = sighting.seen.as_ref().map(|seen| seen.reading.clone()).unwrap_or_default();
        let json = |list: serde_json::Result<String>| list.map_err(|source| WriteError::Spec(Arc::new(source)));
        Ok(Self {
            name: key.to_string(),
            at: sighting.at,
            kind: sighting.kind.map(ServiceKind::as_str),
            compared: sighting.seen.as_ref().map(|seen| seen.compared),
            differences: json(serde_json::to_string(&reading.differences))?,
            undecided: json(serde_json::to_string(&reading.undecided))?,
            unnamed: as_json(sighting.unnamed.as_ref())?,
            failure: sighting.failure.as_ref().map(NewDiagnostic::of),
        })
    }
}

impl NewSighting {
    /// Whether live has all that it was compared with, as far as it can be told of every field.
    fn shows_all(&self) -> bool {
        self.compared.is_some() && self.differences == "[]" && self.undecided == "[]"
    }
}

fn as_json(credentials: Option<&UnnamedCredentials>) -> Result<Option<String>, WriteError> {
    let text = credentials.map(serde_json::to_string).transpose();
    text.map_err(|source| WriteError::Spec(Arc::new(source)))
}

fn spec(update: &DeploymentUpdate) -> Result<String, WriteError> {
    serde_json::to_string(update).map_err(|source| WriteError::Spec(Arc::new(source)))
}

/// The start of a text, at most [`Outcome::MAX_MESSAGE`] bytes, cut between characters.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(Outcome::MAX_MESSAGE)]
}

/// A fault as the columns of a row: its message, and as JSON what stands beside that.
#[derive(Debug)]
struct NewDiagnostic {
    message: String,
    beside: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Beside {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<Box<Value>>,
}

impl NewDiagnostic {
    fn of(diagnostic: &Diagnostic) -> Self {
        let Diagnostic { message, hint, details } = diagnostic;
        let beside = Beside { hint: hint.clone(), details: details.clone() };
        // A string and a value that came from JSON can be written.
        let beside = (hint.is_some() || details.is_some()).then(|| serde_json::to_string(&beside).ok());
        Self { message: bounded(message).to_owned(), beside: beside.flatten() }
    }
}

/// The fault in a row, where there is one. What stands beside the message is lost where it is damaged.
fn diagnostic(row: &Row<'_>, message: &str) -> rusqlite::Result<Option<Diagnostic>> {
    let Some(message) = row.get::<_, Option<String>>(message)? else { return Ok(None) };
    let beside: Option<String> = row.get("beside")?;
    let beside: Option<Beside> = beside.and_then(|beside| serde_json::from_str(&beside).ok());
    let (hint, details) = beside.map(|Beside { hint, details }| (hint, details)).unwrap_or_default();
    Ok(Some(Diagnostic { message, hint, details }))
}

fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    let index = row.as_ref().column_index(column)?;
    Timestamp::from_millisecond(row.get(index)?).map_err(|error| nonsense(index, error))
}

fn nonsense(column: usize, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into())
}
