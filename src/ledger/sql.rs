//! Every statement on the ledger's rows. Each is prepared once per connection.
//!
//! The functions that write expect a transaction around them.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::{
    Adoption, AppliedMark, AppliedRecord, CallId, End, HistoryEntry, Intent, Outcome, Pause, Sighting, Turned,
    WriteError, schema,
};
use crate::engine::Window;
use crate::model::{ApiPlace, Applied, DeploymentUpdate, Digest, Known, Place, ServiceKey, ServiceKind};
use crate::plan::{Reading, Seen};

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

/// A new row of `live`, made where the caller is.
#[derive(Debug)]
pub(super) struct NewSighting {
    name: String,
    at: Timestamp,
    kind: Option<&'static str>,
    compared: Option<Digest>,
    differences: String,
    undecided: String,
    failure: Option<String>,
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
            failure: sighting.failure.as_deref().map(|failure| bounded(failure).to_owned()),
        })
    }
}

/// The API and the account that the ledger belongs to; nothing before its first answer.
pub(super) fn api_place(connection: &Connection) -> rusqlite::Result<Option<ApiPlace>> {
    if schema::identity(connection)?.1 < 3 {
        return Ok(None);
    }
    let place = |row: &Row<'_>| {
        let text = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(column)?.map(Arc::from));
        Ok(text("api")?.zip(Some(text("account")?)).map(|(api, account)| ApiPlace { api, account }))
    };
    connection.prepare_cached(PLACE)?.query_row([], place).optional().map(Option::flatten)
}

/// The API answered at a place. What the ledger does not know yet of its own is filled in.
pub(super) fn belong(connection: &Connection, place: &ApiPlace) -> rusqlite::Result<()> {
    connection.prepare_cached(BELONG)?.execute([Some(&place.api), place.account.as_ref()]).map(drop)
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

const FORGET_SEEN: &str =
    "UPDATE live SET compared = NULL, differences = '[]', undecided = '[]', failure = NULL, read_at = ?2
    WHERE service = ?1";

const OPEN_CALL: &str = "SELECT service, digest FROM call WHERE id = ?1 AND outcome IS NULL";

const BEGAN: &str = "SELECT began_at FROM call WHERE id = ?1";

const CLOSE_CALL: &str = "UPDATE call SET outcome = ?2, status = ?3, message = ?4, ended_at = ?5 WHERE id = ?1";

const SET_PAUSE: &str = "INSERT OR REPLACE INTO pause (only_one, until, reason) VALUES (1, ?1, ?2)";

const END_PAUSE: &str = "DELETE FROM pause";

const SAW: &str = "INSERT INTO live (service, read_at, kind, compared, differences, undecided)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (service) DO UPDATE SET read_at = excluded.read_at, kind = coalesce(excluded.kind, kind),
    compared = excluded.compared, differences = excluded.differences, undecided = excluded.undecided, failure = NULL";

const SAW_NOT: &str = "INSERT INTO live (service, read_at, failure) VALUES (?1, ?2, ?3)
    ON CONFLICT (service) DO UPDATE SET read_at = excluded.read_at, failure = excluded.failure";

const SIGHTINGS: &str = "SELECT name, read_at, kind, compared, differences, undecided, failure
    FROM live JOIN service ON service.id = live.service";

const KIND: &str = "SELECT kind FROM live JOIN service ON service.id = live.service WHERE name = ?1";

/// Of other content than the present one they are no matter any more. One whose answer was lost may have been taken.
const CORRECTIONS: &str = "SELECT name, ended_at FROM call JOIN service ON service.id = call.service
    WHERE outcome IN ('accepted', 'unknown') AND cause = 'drifted' AND ended_at >= ?1 AND call.digest = service.digest
    ORDER BY ended_at";

const KEEP_QUOTA: &str = "INSERT OR REPLACE INTO quota (only_one, total, remaining, resets_at) VALUES (1, ?1, ?2, ?3)";

const QUOTA: &str = "SELECT total, remaining, resets_at FROM quota";

const TURN_TO_PATCH: &str = "INSERT OR IGNORE INTO patch (only_one, since, reason) VALUES (1, ?1, ?2)";

const TURNED: &str = "SELECT since, reason FROM patch";

const PLACE: &str = "SELECT api, account FROM ledger";

const BELONG: &str = "UPDATE ledger SET api = coalesce(api, ?1), account = coalesce(account, ?2)
    WHERE api IS NULL OR account IS NULL AND ?2 IS NOT NULL";

const KNOWN: &str = "SELECT name, digest, doubts FROM service WHERE digest IS NOT NULL OR doubts > 0";

const APPLIED: &str = "SELECT call.digest, call.spec, call.revision, call.file, call.line, call.cause, call.ended_at
    FROM service JOIN call ON call.id = service.applied WHERE service.name = ?1";

const MARKS: &str = "SELECT service.name, call.revision, call.ended_at
    FROM service JOIN call ON call.id = service.applied";

const SERVICES: &str = "SELECT name FROM service";

const SPECS: &str = "SELECT service.name, call.spec FROM service JOIN call ON call.id = service.applied";

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
    connection.prepare_cached(FORGET_SEEN)?.execute(params![service, call.at.as_millisecond()])?;
    Ok(id)
}

/// An update that was put off: a call that ended before it began. No doubt comes of it.
pub(super) fn put_off(connection: &Connection, call: &NewCall, end: &Outcome) -> rusqlite::Result<CallId> {
    let (word, status, message) = columns(end);
    let (_, id) = insert(connection, call, Some(word))?;
    connection.prepare_cached(CLOSE_CALL)?.execute(params![id.0, word, status, message, call.at.as_millisecond()])?;
    Ok(id)
}

/// How an end is written down.
fn columns(end: &Outcome) -> (&'static str, Option<u16>, Option<&str>) {
    match end {
        Outcome::Accepted { status } => ("accepted", Some(*status), None),
        Outcome::Rejected { status, message } => ("rejected", Some(*status), Some(bounded(message))),
        Outcome::Unsent { message } => ("unsent", None, Some(bounded(message))),
        Outcome::Unknown { status, message } => ("unknown", *status, Some(bounded(message))),
    }
}

/// A read.
pub(super) fn saw(connection: &Connection, row: &NewSighting) -> rusqlite::Result<()> {
    let service: i64 = connection.prepare_cached(TOUCH_SERVICE)?.query_row([&row.name], |row| row.get(0))?;
    if let Some(failure) = &row.failure {
        let values = params![service, row.at.as_millisecond(), failure];
        return connection.prepare_cached(SAW_NOT)?.execute(values).map(drop);
    }
    let compared = row.compared.as_ref().map(Digest::as_bytes);
    let values = params![service, row.at.as_millisecond(), row.kind, compared, row.differences, row.undecided];
    connection.prepare_cached(SAW)?.execute(values).map(drop)
}

pub(super) fn keep_quota(connection: &Connection, window: &Window) -> rusqlite::Result<()> {
    let values = params![window.limit, window.remaining, window.resets_at.as_millisecond()];
    connection.prepare_cached(KEEP_QUOTA)?.execute(values).map(drop)
}

pub(super) fn turn_to_patch(connection: &Connection, turned: &Turned) -> rusqlite::Result<()> {
    let values = params![turned.at.as_millisecond(), bounded(&turned.reason)];
    connection.prepare_cached(TURN_TO_PATCH)?.execute(values).map(drop)
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
    let (word, status, message) = columns(end);
    connection.prepare_cached(CLOSE_CALL)?.execute(params![call.0, word, status, message, at.as_millisecond()])?;
    match end {
        Outcome::Accepted { .. } => {
            connection.prepare_cached(APPLY)?.execute(params![service, call.0, digest])?;
            connection.prepare_cached(FORGET_SEEN)?.execute(params![service, at.as_millisecond()])?;
        }
        Outcome::Rejected { .. } | Outcome::Unsent { .. } => {
            connection.prepare_cached(TAKE_DOUBT)?.execute([service])?;
        }
        Outcome::Unknown { .. } => {}
    }
    Ok(())
}

/// Closes the intent of a task that went away before it was answered: its call will never be made. The moment is that of
/// the intent, because there is no clock here.
pub(super) fn withdraw(connection: &Connection, call: CallId) -> Result<(), WriteError> {
    let at = connection.prepare_cached(BEGAN)?.query_row([call.0], |row| time(row, "began_at"))?;
    record(connection, call, &Outcome::Unsent { message: "given up before it was sent".to_owned() }, at)
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

/// Of every service of which something was ever accepted.
pub(super) fn marks(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, AppliedMark>> {
    let mut statement = connection.prepare_cached(MARKS)?;
    let marks = statement
        .query_map([], |row| Ok((key(row, 0)?, AppliedMark { revision: row.get(1)?, at: time(row, "ended_at")? })))?;
    marks.collect()
}

/// Every service that was ever called, in no order.
pub(super) fn services(connection: &Connection) -> rusqlite::Result<Vec<ServiceKey>> {
    connection.prepare_cached(SERVICES)?.query_map([], |row| key(row, 0))?.collect()
}

/// The body that was accepted last, of every service.
pub(super) fn specs(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, String>> {
    connection.prepare_cached(SPECS)?.query_map([], |row| Ok((key(row, 0)?, row.get(1)?)))?.collect()
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

/// Whether a store that is only read has the tables of format 2: an older one is brought up by whoever writes next.
fn has_live(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(schema::identity(connection)?.1 >= 2)
}

/// What every service that was read showed.
pub(super) fn sightings(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, Sighting>> {
    if !has_live(connection)? {
        return Ok(HashMap::new());
    }
    let mut statement = connection.prepare_cached(SIGHTINGS)?;
    let mut rows = statement.query([])?;
    let mut sightings = HashMap::new();
    while let Some(row) = rows.next()? {
        let at = time(row, "read_at")?;
        let seen = match row.get::<_, Option<[u8; 32]>>("compared")? {
            None => None,
            Some(compared) => {
                let reading = Reading { differences: list(row, 4)?, undecided: list(row, 5)? };
                Some(Seen { compared: Digest::from_bytes(compared), at, reading })
            }
        };
        sightings.insert(key(row, 0)?, Sighting { at, kind: kind_of(row, 2)?, seen, failure: row.get("failure")? });
    }
    Ok(sightings)
}

fn list<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<[T]>> {
    let text = row.get_ref(column)?.as_str().map_err(|error| nonsense(column, error))?;
    let list: Vec<T> = serde_json::from_str(text).map_err(|error| nonsense(column, error))?;
    Ok(list.into())
}

pub(super) fn kind(connection: &Connection, key: &ServiceKey) -> rusqlite::Result<Option<ServiceKind>> {
    connection.prepare_cached(KIND)?.query_row([key.to_string()], |row| kind_of(row, 0)).optional().map(Option::flatten)
}

/// The type of a service; a word of a newer version is as good as none.
fn kind_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<ServiceKind>> {
    let word: Option<String> = row.get(column)?;
    Ok(word.and_then(|word| ServiceKind::from_word(&word)))
}

/// When drift was corrected, oldest first.
pub(super) fn corrections(connection: &Connection, since: Timestamp) -> rusqlite::Result<Vec<(ServiceKey, Timestamp)>> {
    let mut statement = connection.prepare_cached(CORRECTIONS)?;
    statement.query_map([since.as_millisecond()], |row| Ok((key(row, 0)?, time(row, "ended_at")?)))?.collect()
}

pub(super) fn quota(connection: &Connection) -> rusqlite::Result<Option<Window>> {
    if !has_live(connection)? {
        return Ok(None);
    }
    let window = |row: &Row<'_>| {
        Ok(Window { limit: row.get("total")?, remaining: row.get("remaining")?, resets_at: time(row, "resets_at")? })
    };
    connection.prepare_cached(QUOTA)?.query_row([], window).optional()
}

pub(super) fn turned(connection: &Connection) -> rusqlite::Result<Option<Turned>> {
    let turned = |row: &Row<'_>| Ok(Turned { at: time(row, "since")?, reason: row.get("reason")? });
    connection.prepare_cached(TURNED)?.query_row([], turned).optional()
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
