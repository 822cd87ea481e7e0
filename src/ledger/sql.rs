//! Every statement on the ledger's rows. Each is prepared once per connection.
//!
//! The functions that write expect a transaction around them.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::{Adoption, AppliedRecord, CallId, End, HistoryEntry, Intent, Outcome, Pause, WriteError};
use crate::model::{Applied, DeploymentUpdate, Digest, Known, Place, ServiceKey};

/// How many accepted or adopted entries of history are kept for a service.
pub(super) const KEEP_ACCEPTED: u32 = 50;
/// How many others, beside the open one. They have a quota of their own: a service that fails for days must not lose
/// the record of when it last went well.
pub(super) const KEEP_OTHERS: u32 = 50;

/// A new row of `call`, made where the caller is, so that the ledger's thread only writes.
#[derive(Debug)]
pub(super) struct NewCall {
    name: String,
    digest: Digest,
    cause: &'static str,
    revision: String,
    place: Place,
    attempt: u32,
    at: Timestamp,
    spec: String,
}

impl NewCall {
    pub(super) fn from_intent(intent: &Intent) -> Result<Self, WriteError> {
        Ok(Self {
            name: intent.key.to_string(),
            digest: intent.digest,
            cause: intent.cause.as_str(),
            revision: intent.revision.to_string(),
            place: intent.place.clone(),
            attempt: intent.attempt,
            at: intent.at,
            spec: spec(&intent.update)?,
        })
    }

    pub(super) fn from_adoption(adoption: &Adoption) -> Result<Self, WriteError> {
        Ok(Self {
            name: adoption.key.to_string(),
            digest: adoption.digest,
            cause: "adopted",
            revision: adoption.revision.to_string(),
            place: adoption.place.clone(),
            attempt: 0,
            at: adoption.at,
            spec: spec(&adoption.update)?,
        })
    }
}

fn spec(update: &DeploymentUpdate) -> Result<String, WriteError> {
    serde_json::to_string(update).map_err(|source| WriteError::Spec(Arc::new(source)))
}

const TOUCH_SERVICE: &str = "INSERT INTO service (name) VALUES (?1)
    ON CONFLICT (name) DO UPDATE SET name = name RETURNING id";

const INTERRUPT: &str = "UPDATE call SET outcome = 'interrupted', ended_at = ?2 WHERE service = ?1 AND outcome IS NULL";

const INTERRUPT_ALL: &str = "UPDATE call SET outcome = 'interrupted', ended_at = ?1 WHERE outcome IS NULL";

const INSERT_CALL: &str = "INSERT INTO call
    (service, digest, cause, revision, file, line, attempt, began_at, ended_at, outcome, spec)
    VALUES (:service, :digest, :cause, :revision, :file, :line, :attempt, :began_at, :ended_at, :outcome, :spec)";

const PRUNE_ACCEPTED: &str = "DELETE FROM call WHERE id IN (
    SELECT id FROM call WHERE service = ?1 AND outcome IN ('accepted', 'adopted')
    ORDER BY id DESC LIMIT -1 OFFSET ?2)";

const PRUNE_OTHERS: &str = "DELETE FROM call WHERE id IN (
    SELECT id FROM call WHERE service = ?1 AND outcome IN ('rejected', 'unsent', 'unknown', 'interrupted')
    ORDER BY id DESC LIMIT -1 OFFSET ?2)";

const ADD_DOUBT: &str = "UPDATE service SET doubts = doubts + 1 WHERE id = ?1";

const TAKE_DOUBT: &str = "UPDATE service SET doubts = doubts - 1 WHERE id = ?1";

const APPLY: &str = "UPDATE service SET applied = ?2, digest = ?3, doubts = 0 WHERE id = ?1";

const OPEN_CALL: &str = "SELECT service, digest FROM call WHERE id = ?1 AND outcome IS NULL";

const BEGAN: &str = "SELECT began_at FROM call WHERE id = ?1";

const CLOSE_CALL: &str = "UPDATE call SET outcome = ?2, status = ?3, message = ?4, ended_at = ?5 WHERE id = ?1";

const SET_PAUSE: &str = "INSERT OR REPLACE INTO pause (only_one, until, reason) VALUES (1, ?1, ?2)";

const END_PAUSE: &str = "DELETE FROM pause";

const KNOWN: &str = "SELECT name, digest, doubts FROM service WHERE digest IS NOT NULL OR doubts > 0";

const APPLIED: &str = "SELECT call.digest, call.spec, call.revision, call.file, call.line, call.cause, call.ended_at
    FROM service JOIN call ON call.id = service.applied WHERE service.name = ?1";

const HISTORY: &str = "SELECT call.*, service.name FROM call JOIN service ON service.id = call.service
    ORDER BY call.id DESC LIMIT ?1";

const HISTORY_OF_ONE: &str = "SELECT call.*, service.name FROM call JOIN service ON service.id = call.service
    WHERE call.service = (SELECT id FROM service WHERE name = ?2) ORDER BY call.id DESC LIMIT ?1";

const PAUSE: &str = "SELECT until, reason FROM pause";

/// An intent: closes what the service had open, makes room, and puts it in doubt.
pub(super) fn intend(connection: &Connection, call: &NewCall) -> rusqlite::Result<CallId> {
    let (service, id) = insert(connection, call, None)?;
    connection.prepare_cached(ADD_DOUBT)?.execute([service])?;
    Ok(id)
}

/// An adoption: like a call that was accepted at once.
pub(super) fn adopt(connection: &Connection, call: &NewCall) -> rusqlite::Result<CallId> {
    let (service, id) = insert(connection, call, Some("adopted"))?;
    connection.prepare_cached(APPLY)?.execute(params![service, id.0, call.digest.as_bytes()])?;
    Ok(id)
}

fn insert(connection: &Connection, call: &NewCall, outcome: Option<&'static str>) -> rusqlite::Result<(i64, CallId)> {
    let at = call.at.as_millisecond();
    let service: i64 = connection.prepare_cached(TOUCH_SERVICE)?.query_row([&call.name], |row| row.get(0))?;
    connection.prepare_cached(INTERRUPT)?.execute([service, at])?;
    connection.prepare_cached(INSERT_CALL)?.execute(named_params! {
        ":service": service,
        ":digest": call.digest.as_bytes(),
        ":cause": call.cause,
        ":revision": call.revision,
        ":file": &*call.place.file,
        ":line": call.place.line,
        ":attempt": call.attempt,
        ":began_at": at,
        ":ended_at": outcome.map(|_| at),
        ":outcome": outcome,
        ":spec": call.spec,
    })?;
    let id = connection.last_insert_rowid();
    connection.prepare_cached(PRUNE_ACCEPTED)?.execute([service, KEEP_ACCEPTED.into()])?;
    connection.prepare_cached(PRUNE_OTHERS)?.execute([service, KEEP_OTHERS.into()])?;
    Ok((service, CallId(id)))
}

/// The end of a call that is open.
pub(super) fn record(connection: &Connection, call: CallId, end: &Outcome, at: Timestamp) -> Result<(), WriteError> {
    let (service, digest): (i64, [u8; 32]) = connection
        .prepare_cached(OPEN_CALL)?
        .query_row([call.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or(WriteError::NotOpen(call))?;
    let (word, status, message) = match end {
        Outcome::Accepted { status } => ("accepted", Some(*status), None),
        Outcome::Rejected { status, message } => ("rejected", Some(*status), Some(message)),
        Outcome::Unsent { message } => ("unsent", None, Some(message)),
        Outcome::Unknown { status, message } => ("unknown", *status, Some(message)),
    };
    let message = message.map(|message| bounded(message));
    connection.prepare_cached(CLOSE_CALL)?.execute(params![call.0, word, status, message, at.as_millisecond()])?;
    match end {
        Outcome::Accepted { .. } => {
            connection.prepare_cached(APPLY)?.execute(params![service, call.0, digest])?;
        }
        Outcome::Rejected { .. } | Outcome::Unsent { .. } => {
            connection.prepare_cached(TAKE_DOUBT)?.execute([service])?;
        }
        Outcome::Unknown { .. } => {}
    }
    Ok(())
}

/// When a call began.
pub(super) fn began(connection: &Connection, call: CallId) -> rusqlite::Result<Timestamp> {
    connection.prepare_cached(BEGAN)?.query_row([call.0], |row| time(row, "began_at"))
}

/// Closes what an earlier process left open; the doubt stays.
pub(super) fn interrupt_all(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute(INTERRUPT_ALL, [now.as_millisecond()]).map(drop)
}

pub(super) fn set_pause(connection: &Connection, pause: Option<&Pause>) -> rusqlite::Result<()> {
    match pause {
        Some(pause) => connection
            .prepare_cached(SET_PAUSE)?
            .execute(params![pause.until.as_millisecond(), bounded(&pause.reason)])
            .map(drop),
        None => connection.prepare_cached(END_PAUSE)?.execute([]).map(drop),
    }
}

/// The start of a text, at most [`Outcome::MAX_MESSAGE`] bytes, cut between characters.
fn bounded(text: &str) -> &str {
    let mut end = text.len().min(Outcome::MAX_MESSAGE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

pub(super) fn known(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, Known>> {
    let mut statement = connection.prepare_cached(KNOWN)?;
    let mut rows = statement.query([])?;
    let mut known = HashMap::new();
    while let Some(row) = rows.next()? {
        let doubts: i64 = row.get(2)?;
        let what = if doubts > 0 {
            Known::InDoubt
        } else {
            Known::Applied(Applied { digest: Digest::from_bytes(row.get(1)?) })
        };
        known.insert(key(row, 0)?, what);
    }
    Ok(known)
}

pub(super) fn applied(connection: &Connection, key: &ServiceKey) -> rusqlite::Result<Option<AppliedRecord>> {
    connection
        .prepare_cached(APPLIED)?
        .query_row([key.to_string()], |row| {
            Ok(AppliedRecord {
                digest: Digest::from_bytes(row.get("digest")?),
                spec: row.get("spec")?,
                revision: row.get("revision")?,
                place: place(row)?,
                cause: row.get("cause")?,
                at: time(row, "ended_at")?,
            })
        })
        .optional()
}

/// Newest first.
pub(super) fn history(
    connection: &Connection,
    of: Option<&ServiceKey>,
    limit: u32,
) -> rusqlite::Result<Vec<HistoryEntry>> {
    match of {
        None => connection.prepare_cached(HISTORY)?.query_map([limit], entry)?.collect(),
        Some(key) => {
            connection.prepare_cached(HISTORY_OF_ONE)?.query_map(params![limit, key.to_string()], entry)?.collect()
        }
    }
}

pub(super) fn pause(connection: &Connection) -> rusqlite::Result<Option<Pause>> {
    connection
        .prepare_cached(PAUSE)?
        .query_row([], |row| Ok(Pause { until: time(row, "until")?, reason: row.get("reason")? }))
        .optional()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<HistoryEntry> {
    Ok(HistoryEntry {
        call: CallId(row.get("id")?),
        key: key(row, "name")?,
        digest: Digest::from_bytes(row.get("digest")?),
        spec: row.get("spec")?,
        revision: row.get("revision")?,
        place: place(row)?,
        cause: row.get("cause")?,
        attempt: row.get("attempt")?,
        began: time(row, "began_at")?,
        end: end(row)?,
    })
}

fn end(row: &Row<'_>) -> rusqlite::Result<End> {
    let Some(word) = row.get::<_, Option<String>>("outcome")? else { return Ok(End::Open) };
    let at = time(row, "ended_at")?;
    let message = || row.get::<_, Option<String>>("message").map(Option::unwrap_or_default);
    let outcome = match word.as_str() {
        "accepted" => Outcome::Accepted { status: row.get("status")? },
        "rejected" => Outcome::Rejected { status: row.get("status")?, message: message()? },
        "unsent" => Outcome::Unsent { message: message()? },
        "unknown" => Outcome::Unknown { status: row.get("status")?, message: message()? },
        "interrupted" => return Ok(End::Interrupted { at }),
        "adopted" => return Ok(End::Adopted { at }),
        other => return Err(nonsense(row.as_ref().column_index("outcome")?, format!("no outcome: {other:?}"))),
    };
    Ok(End::Recorded { outcome, at })
}

fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { file: row.get::<_, String>("file")?.into(), line: row.get("line")? })
}

fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    let index = row.as_ref().column_index(column)?;
    Timestamp::from_millisecond(row.get(index)?).map_err(|error| nonsense(index, error))
}

fn key<I: rusqlite::RowIndex + Copy>(row: &Row<'_>, column: I) -> rusqlite::Result<ServiceKey> {
    let text = row.get_ref(column)?.as_str().map_err(|error| nonsense(0, error))?;
    text.parse().map_err(|error| nonsense(0, error))
}

fn nonsense(column: usize, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into())
}
