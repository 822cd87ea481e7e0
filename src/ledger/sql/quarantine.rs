//! Content whose rollout failed.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::read::{all, key};
use super::{bounded, time};
use crate::model::{Digest, Quarantine, ServiceKey};

/// A reason that comes later is of the same failure: who released the content meanwhile meant that one.
const PUT: &str = "INSERT INTO quarantine (name, digest, since, reason, requests)
    VALUES (?1, ?2, ?3, ?4, (SELECT coalesce(max(id), 0) FROM request))
    ON CONFLICT (name) DO UPDATE SET
    requests = iif(digest = excluded.digest AND since = excluded.since, requests, excluded.requests),
    digest = excluded.digest, since = excluded.since, reason = excluded.reason";

const LIFT: &str = "DELETE FROM quarantine WHERE name = ?1 AND digest = ?2";

/// Whether a person let it out since.
macro_rules! released {
    () => {
        "EXISTS (SELECT 1 FROM request
            WHERE kind = 'release' AND target = quarantine.name AND id > quarantine.requests)"
    };
}

const ALL: &str = concat!("SELECT name, digest, since, reason, ", released!(), " AS released FROM quarantine");

const SENT: &str = "DELETE FROM quarantine
    WHERE name = (SELECT name FROM service WHERE id = ?1) AND digest = ?2";

const FOUND: &str = concat!(
    "DELETE FROM quarantine WHERE name = (SELECT name FROM service WHERE id = ?1) AND digest = ?2 AND ",
    released!()
);

pub(in crate::ledger) fn quarantine(
    connection: &Connection,
    key: &ServiceKey,
    quarantine: &Quarantine,
) -> rusqlite::Result<()> {
    let Quarantine { digest, since, reason, .. } = quarantine;
    let reason = reason.as_deref().map(bounded);
    let values = params![key.to_string(), digest.as_bytes(), since.as_millisecond(), reason];
    connection.prepare_cached(PUT)?.execute(values).map(drop)
}

pub(in crate::ledger) fn lift(connection: &Connection, key: &ServiceKey, content: Digest) -> rusqlite::Result<()> {
    connection.prepare_cached(LIFT)?.execute(params![key.to_string(), content.as_bytes()]).map(drop)
}

/// Nobody asks for the service any more.
pub(super) fn forget(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM quarantine WHERE name = ?1")?.execute([name]).map(drop)
}

/// This content was accepted: how its rollout ends is a new question.
pub(super) fn sent(connection: &Connection, service: i64, content: &[u8; 32]) -> rusqlite::Result<()> {
    connection.prepare_cached(SENT)?.execute(params![service, content]).map(drop)
}

/// Live has this content. It was sent if a person let it out, and may be what failed if nobody did.
pub(super) fn found(connection: &Connection, service: i64, content: &[u8; 32]) -> rusqlite::Result<()> {
    connection.prepare_cached(FOUND)?.execute(params![service, content]).map(drop)
}

pub(in crate::ledger) fn quarantines(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, Quarantine>> {
    all("content whose rollout failed", connection.prepare_cached(ALL)?, [], |row| {
        let reason: Option<String> = row.get("reason")?;
        let quarantine = Quarantine {
            digest: Digest::from_bytes(row.get("digest")?),
            since: time(row, "since")?,
            reason: reason.map(Into::into),
            released: row.get("released")?,
        };
        Ok((key(row, "name")?, quarantine))
    })
}
