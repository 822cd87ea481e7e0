//! Requests of people.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Row, params};

use super::read::{all, key, optional_time};
use super::write::forget;
use super::{nonsense, time};
use crate::ledger::{PersonRequest, RequestId, RequestKind, RequestRecord, TakenRequest, WayBack};
use crate::model::{Digest, ServiceKey};
use crate::plan::Freeze;

const ADD: &str = "INSERT INTO request (kind, target, reason, by, at, until, content, back)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const TAKE: &str = "UPDATE request SET taken_at = ?2, result = ?3 WHERE id = ?1 AND taken_at IS NULL";

/// A freeze holds until its time, until the same target is frozen anew or forgotten, or until that target or everything
/// is thawed.
const FREEZES: &str = "SELECT target, reason, by, at, until FROM request AS freeze
    WHERE kind = 'freeze' AND NOT EXISTS (
      SELECT 1 FROM request AS later WHERE later.id > freeze.id AND (
        later.kind = 'freeze' AND later.target IS freeze.target
        OR later.kind = 'forget' AND later.target = freeze.target AND later.result = 'forgotten'
        OR later.kind = 'thaw' AND (later.target IS NULL OR later.target = freeze.target)))
    ORDER BY id";

const OPEN: &str = "SELECT * FROM request WHERE taken_at IS NULL ORDER BY id";

const NEWEST: &str =
    "SELECT * FROM request WHERE ?1 IS NULL OR target IS NULL OR target = ?1 ORDER BY id DESC LIMIT ?2";

/// Of many those go that are older than any freeze may last: a thaw has to outlive the freeze that it ended.
const PRUNE: &str = "DELETE FROM request WHERE at < ?1 AND id <= (SELECT max(id) FROM request) - 1000";
const OLD: SignedDuration = SignedDuration::from_hours(24 * 400);

/// Adds requests where nobody else has the ledger: then a service can be forgotten at once.
pub(in crate::ledger) fn add_requests_alone(
    connection: &Connection,
    requests: &[PersonRequest],
) -> rusqlite::Result<()> {
    let added = add_requests(connection, requests)?;
    for (id, request) in added.into_iter().zip(requests).filter(|(_, request)| request.kind == RequestKind::Forget) {
        let (forgets, result) = (request.target.clone(), "forgotten".to_owned());
        take_request(connection, &TakenRequest { id, result, forgets, at: request.at })?;
    }
    Ok(())
}

pub(in crate::ledger) fn add_requests(
    connection: &Connection,
    requests: &[PersonRequest],
) -> rusqlite::Result<Vec<RequestId>> {
    let mut added = Vec::new();
    for request in requests {
        let target = request.target.as_ref().map(ToString::to_string);
        let until = request.until.map(Timestamp::as_millisecond);
        let way = request.way_back.as_ref();
        let (content, back) = (way.map(|way| way.from.as_bytes()), way.map(|way| way.to.as_bytes()));
        let (kind, at) = (request.kind.as_str(), request.at.as_millisecond());
        let values = params![kind, target, request.reason, request.by, at, until, content, back];
        connection.prepare_cached(ADD)?.execute(values)?;
        added.push(RequestId(connection.last_insert_rowid()));
    }
    if let Some(newest) = requests.iter().map(|request| request.at).max() {
        let old = newest.checked_sub(OLD).unwrap_or(Timestamp::MIN);
        connection.prepare_cached(PRUNE)?.execute([old.as_millisecond()])?;
    }
    Ok(added)
}

pub(in crate::ledger) fn take_request(connection: &Connection, taken: &TakenRequest) -> rusqlite::Result<()> {
    let TakenRequest { id, result, forgets, at } = taken;
    connection.prepare_cached(TAKE)?.execute(params![id.0, at.as_millisecond(), result])?;
    forgets.iter().try_for_each(|key| forget(connection, key, *at))
}

pub(in crate::ledger) fn freezes(connection: &Connection) -> rusqlite::Result<Vec<Freeze>> {
    all("a freeze", connection.prepare_cached(FREEZES)?, [], |row| {
        // One that is damaged holds more rather than less: everything, and until somebody ends it.
        Ok(Freeze {
            service: target(row).ok().flatten(),
            reason: row.get::<_, Option<String>>("reason").ok().flatten().unwrap_or_default().into(),
            by: row.get::<_, String>("by").unwrap_or_else(|_| "unknown (this record is damaged)".to_owned()).into(),
            at: time(row, "at").unwrap_or_default(),
            until: optional_time(row, "until").unwrap_or_default(),
        })
    })
}

pub(in crate::ledger) fn open_requests(connection: &Connection) -> rusqlite::Result<Vec<RequestRecord>> {
    all("a request", connection.prepare_cached(OPEN)?, [], record)
}

pub(in crate::ledger) fn newest_requests(
    connection: &Connection,
    service: Option<&ServiceKey>,
    limit: u32,
) -> rusqlite::Result<Vec<RequestRecord>> {
    let service = service.map(ToString::to_string);
    all("a request", connection.prepare_cached(NEWEST)?, params![service, limit], record)
}

fn record(row: &Row<'_>) -> rusqlite::Result<RequestRecord> {
    let kind: String = row.get("kind")?;
    let kind =
        RequestKind::from_word(&kind).ok_or_else(|| nonsense(1, format!("the request `{kind}` is not known")))?;
    let (reason, by) = (row.get("reason")?, row.get("by")?);
    let (at, until) = (time(row, "at")?, optional_time(row, "until")?);
    let content = |column| row.get::<_, Option<[u8; 32]>>(column).map(|bytes| bytes.map(Digest::from_bytes));
    let way_back = content("content")?.zip(content("back")?).map(|(from, to)| WayBack { from, to });
    Ok(RequestRecord {
        id: RequestId(row.get("id")?),
        request: PersonRequest { kind, target: target(row)?, reason, by, at, until, way_back },
        taken_at: optional_time(row, "taken_at")?,
        result: row.get("result")?,
    })
}

fn target(row: &Row<'_>) -> rusqlite::Result<Option<ServiceKey>> {
    let column = row.as_ref().column_index("target")?;
    row.get::<_, Option<String>>(column)?.map(|_| key(row, column)).transpose()
}
