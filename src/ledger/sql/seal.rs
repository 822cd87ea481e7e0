//! A checksum over each row of `service`: what decides whether something is sent must not follow from a flipped bit.

use rusqlite::{Connection, Row, params};
use sha2::{Digest as _, Sha256};

const SEALED: &str = "SELECT name, digest, applied, doubts, suspect, seal FROM service WHERE id = ?1";

const SEAL: &str = "UPDATE service SET seal = ?2 WHERE id = ?1";

const ALL: &str = "SELECT id FROM service";

/// Seals a row after it was changed.
pub(super) fn seal(connection: &Connection, service: i64) -> rusqlite::Result<()> {
    let seal = connection.prepare_cached(SEALED)?.query_row([service], of)?;
    connection.prepare_cached(SEAL)?.execute(params![service, seal]).map(drop)
}

pub(super) fn seal_all(connection: &Connection) -> rusqlite::Result<()> {
    let services: Vec<i64> = connection.prepare(ALL)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    services.into_iter().try_for_each(|service| seal(connection, service))
}

/// Whether a row of these columns, in this order, says what it said when it was sealed. One of an earlier format has no seal, and is believed.
pub(super) fn matches(row: &Row<'_>) -> rusqlite::Result<bool> {
    let kept: Option<[u8; 8]> = row.get(5)?;
    Ok(kept.is_none_or(|kept| of(row).is_ok_and(|seal| seal == kept)))
}

fn of(row: &Row<'_>) -> rusqlite::Result<[u8; 8]> {
    let (digest, applied): (Option<[u8; 32]>, Option<i64>) = (row.get(1)?, row.get(2)?);
    let (doubts, suspect): (i64, bool) = (row.get(3)?, row.get(4)?);
    let name = row.get_ref(0)?.as_str()?;
    let hash = Sha256::new()
        .chain_update(digest.unwrap_or_default())
        .chain_update(applied.unwrap_or(-1).to_le_bytes())
        .chain_update(doubts.to_le_bytes())
        .chain_update([u8::from(suspect)])
        .chain_update(name);
    let mut seal = [0; 8];
    seal.copy_from_slice(&hash.finalize()[..8]);
    Ok(seal)
}
