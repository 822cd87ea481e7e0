//! Content whose rollout failed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::read::{all, key, rollouts};
use super::requests::open_requests;
use super::{bounded, time};
use crate::ledger::{RequestKind, RequestRecord};
use crate::model::{Digest, Quarantine, ServiceKey};

const PUT: &str = "INSERT OR REPLACE INTO quarantine (name, digest, since, reason, back, taken_by, released)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const LIFT: &str = "DELETE FROM quarantine WHERE name = ?1 AND digest = ?2";

const ALL: &str = "SELECT name, digest, since, reason, back, taken_by, released FROM quarantine";

/// An adoption counts where live showed that it ran.
const LAST_GOOD: &str = "SELECT call.digest, body.spec FROM call
    JOIN body ON body.service = call.service AND body.digest = call.digest
    LEFT JOIN rollout ON rollout.call = call.id
    WHERE call.service = (SELECT id FROM service WHERE name = ?1) AND call.digest <> ?2
    AND (rollout.state IN ('completed', 'none') OR call.ran)
    ORDER BY call.id DESC LIMIT 1";

const ARRIVED: &str =
    "DELETE FROM quarantine WHERE name = (SELECT name FROM service WHERE id = ?1) AND digest = ?2 AND released";

pub(in crate::ledger) fn quarantine(
    connection: &Connection,
    key: &ServiceKey,
    quarantine: &Quarantine,
) -> rusqlite::Result<()> {
    let Quarantine { digest, since, reason, back, by, released } = quarantine;
    let reason = reason.as_deref().map(bounded);
    let values = params![
        key.to_string(),
        digest.as_bytes(),
        since.as_millisecond(),
        reason,
        back.as_ref().map(Digest::as_bytes),
        by.as_deref(),
        released
    ];
    connection.prepare_cached(PUT)?.execute(values).map(drop)
}

pub(in crate::ledger) fn lift(connection: &Connection, key: &ServiceKey, content: Digest) -> rusqlite::Result<()> {
    connection.prepare_cached(LIFT)?.execute(params![key.to_string(), content.as_bytes()]).map(drop)
}

/// What is sent in the place of what failed is on disk with the intent to send it.
pub(super) fn sends_back(connection: &Connection, name: &str, back: &[u8; 32]) -> rusqlite::Result<()> {
    let set = "UPDATE quarantine SET back = ?2 WHERE name = ?1";
    connection.prepare_cached(set)?.execute(params![name, back]).map(drop)
}

/// The content of a service that is known to have run last, beside some that failed; nothing where its body had to go.
pub(in crate::ledger) fn last_good(
    connection: &Connection,
    key: &ServiceKey,
    failed: Digest,
) -> rusqlite::Result<Option<(Digest, String)>> {
    let values = params![key.to_string(), failed.as_bytes()];
    connection.prepare_cached(LAST_GOOD)?.query_row(values, content).optional()
}

/// The body of some content of a service, where it is kept.
pub(in crate::ledger) fn body(
    connection: &Connection,
    key: &ServiceKey,
    content: Digest,
) -> rusqlite::Result<Option<(Digest, String)>> {
    const BODY: &str =
        "SELECT digest, spec FROM body WHERE service = (SELECT id FROM service WHERE name = ?1) AND digest = ?2";
    let values = params![key.to_string(), content.as_bytes()];
    connection.prepare_cached(BODY)?.query_row(values, self::content).optional()
}

fn content(row: &Row<'_>) -> rusqlite::Result<(Digest, String)> {
    Ok((Digest::from_bytes(row.get("digest")?), row.get("spec")?))
}

/// Nobody asks for the service any more.
pub(super) fn forget(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM quarantine WHERE name = ?1")?.execute([name]).map(drop)
}

/// This content was accepted, or live has it. If a person let it out, how its rollout ends is a new question; if nobody did,
/// it was on its way when it was quarantined, or is what failed.
pub(super) fn arrived(connection: &Connection, service: i64, content: &[u8; 32]) -> rusqlite::Result<()> {
    connection.prepare_cached(ARRIVED)?.execute(params![service, content]).map(drop)
}

pub(in crate::ledger) fn quarantines(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, Quarantine>> {
    all("content whose rollout failed", connection.prepare_cached(ALL)?, [], |row| {
        let reason: Option<String> = row.get("reason")?;
        let quarantine = Quarantine {
            digest: Digest::from_bytes(row.get("digest")?),
            since: time(row, "since")?,
            reason: reason.map(Into::into),
            released: row.get("released")?,
            back: row.get::<_, Option<[u8; 32]>>("back")?.map(Digest::from_bytes),
            by: row.get::<_, Option<String>>("taken_by")?.map(Into::into),
        };
        Ok((key(row, "name")?, quarantine))
    })
}

/// The same once everything was taken up that people asked for: for whoever shows it, that holds from then on.
pub(in crate::ledger) fn quarantines_as_asked(
    connection: &Connection,
) -> rusqlite::Result<HashMap<ServiceKey, Quarantine>> {
    let mut quarantines = quarantines(connection)?;
    let open = open_requests(connection)?;
    let rollouts = if open.is_empty() { HashMap::new() } else { rollouts(connection)? };
    for RequestRecord { request, .. } in open {
        let Some(key) = request.target.clone() else { continue };
        match request.kind {
            RequestKind::Rollback => quarantines.extend(request.taken_back().map(|taken| (key, taken))),
            RequestKind::Release => {
                let left = quarantines.remove(&key).and_then(|before| before.let_out(rollouts.get(&key)));
                quarantines.extend(left.map(|left| (key, left)));
            }
            RequestKind::Retry | RequestKind::Freeze | RequestKind::Thaw | RequestKind::Forget => {}
        }
    }
    Ok(quarantines)
}
