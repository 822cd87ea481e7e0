//! The bodies of updates, each once: what was applied, what ran last, and the newest few of each service. Everything in history has its
//! digest for ever; what it asked for is only needed to show and to send again what was there a short while ago.

use rusqlite::{Connection, OptionalExtension as _, params};

/// How many different bodies are kept for a service, beside the one that was applied.
pub(in crate::ledger) const KEEP: u32 = 5;

/// How much is kept of all services together, in bytes. Beyond it the oldest go, those that are applied at last.
/// Tests need not write that much.
pub(in crate::ledger) const MAX: i64 = if cfg!(test) { 4 << 20 } else { 64 << 20 };

/// Less is left after bodies had to go, so that not every update has to look for one.
const ROOM: i64 = MAX / 8;

const INSERT: &str = "INSERT INTO body (service, digest, spec) VALUES (?1, ?2, ?3)
    ON CONFLICT (service, digest) DO NOTHING";

const PRUNE: &str = "DELETE FROM body WHERE service = ?1
    AND digest IS NOT (SELECT digest FROM service WHERE id = ?1)
    AND digest IS NOT (SELECT call.digest FROM call LEFT JOIN rollout ON rollout.call = call.id
        WHERE call.service = ?1 AND (rollout.state IN ('completed', 'none') OR call.ran) ORDER BY call.id DESC LIMIT 1)
    AND digest NOT IN (SELECT digest FROM call WHERE service = ?1 GROUP BY digest ORDER BY max(id) DESC LIMIT ?2)";

const SIZE: &str = "SELECT bodies FROM ledger";

const OLDEST: &str = "SELECT body.id FROM body JOIN service ON service.id = body.service
    WHERE body.service <> ?1 AND (body.digest IS NOT service.digest) ORDER BY body.id LIMIT 1";

const OLDEST_APPLIED: &str = "SELECT id FROM body WHERE service <> ?1 ORDER BY id LIMIT 1";

const DELETE: &str = "DELETE FROM body WHERE id = ?1";

/// Keeps a body of a service, and lets go of what is too much with it. Its call is there already.
pub(super) fn keep(connection: &Connection, service: i64, digest: &[u8; 32], spec: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(INSERT)?.execute(params![service, digest, spec])?;
    connection.prepare_cached(PRUNE)?.execute(params![service, KEEP])?;
    let size = || connection.prepare_cached(SIZE)?.query_row([], |row| row.get::<_, i64>(0));
    if size()? <= MAX {
        return Ok(());
    }
    for oldest in [OLDEST, OLDEST_APPLIED] {
        while size()? > MAX - ROOM {
            let next: Option<i64> =
                connection.prepare_cached(oldest)?.query_row([service], |row| row.get(0)).optional()?;
            match next {
                Some(body) => connection.prepare_cached(DELETE)?.execute([body])?,
                None => break,
            };
        }
    }
    Ok(())
}
