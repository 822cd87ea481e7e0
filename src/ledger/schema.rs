//! The tables, and how an older ledger becomes a newer one.
//!
//! A ledger carries [`APPLICATION_ID`], so that a file of another program is not taken for one, and the number of steps
//! that it has been through. A step that was released is never changed; a new format is a new step.

use rusqlite::Connection;

/// "tNth" in the header of each ledger.
pub(super) const APPLICATION_ID: i64 = 0x744e_7468;

/// What leads from one format to the next; the format's number is how many were carried out.
pub(super) const STEPS: &[&str] = &[V1, V2];

/// Times are milliseconds since 1970 in UTC. A service's name is `project/service` or `team/project/service`.
///
/// - `service.digest` repeats that of the call `service.applied`, so that a pass reads one small table. `applied` is no
///   foreign key: it would need an index of its own, and pruning never takes the newest accepted call.
/// - `service.doubts` counts the calls that may have been accepted without our knowing. It is a count and not a look
///   at `call`, because history is pruned and doubt must not be.
/// - `call.outcome` is NULL while the call is open, which is one per service at most.
/// - `spec` stands last, because it may be long and most statements do not want it.
const V1: &str = "
CREATE TABLE service (
  id      INTEGER PRIMARY KEY,
  name    TEXT    NOT NULL UNIQUE,
  digest  BLOB    CHECK (length(digest) = 32),
  applied INTEGER,
  doubts  INTEGER NOT NULL DEFAULT 0 CHECK (doubts >= 0),
  CHECK ((digest IS NULL) = (applied IS NULL))
) STRICT;

CREATE TABLE call (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  service  INTEGER NOT NULL REFERENCES service (id),
  digest   BLOB    NOT NULL CHECK (length(digest) = 32),
  cause    TEXT    NOT NULL,
  revision TEXT    NOT NULL,
  file     TEXT    NOT NULL,
  line     INTEGER NOT NULL,
  attempt  INTEGER NOT NULL,
  began_at INTEGER NOT NULL,
  ended_at INTEGER,
  outcome  TEXT    CHECK (outcome IN ('accepted', 'rejected', 'unsent', 'unknown', 'interrupted', 'adopted')),
  status   INTEGER,
  message  TEXT,
  spec     TEXT    NOT NULL,
  CHECK ((outcome IS NULL) = (ended_at IS NULL))
) STRICT;
CREATE INDEX call_by_service ON call (service, outcome);
CREATE UNIQUE INDEX call_open ON call (service) WHERE outcome IS NULL;

CREATE TABLE pause (
  only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
  until    INTEGER NOT NULL,
  reason   TEXT    NOT NULL
) STRICT;
";

/// What live shows, the rate limit's window, and the update call that the API still serves.
///
/// - `live.compared` is the digest that live was compared with; NULL where the read had nothing to compare, or an update
///   was accepted since, which makes what it showed a thing of the past. Both lists are JSON. `live.failure` says why
///   the newest read failed, if it did; the rest is then of the one before.
/// - `patch` has a row once the API was found to serve no other update call.
const V2: &str = "
CREATE TABLE live (
  service     INTEGER PRIMARY KEY REFERENCES service (id),
  read_at     INTEGER NOT NULL,
  kind        TEXT,
  compared    BLOB    CHECK (length(compared) = 32),
  differences TEXT    NOT NULL DEFAULT '[]',
  undecided   TEXT    NOT NULL DEFAULT '[]',
  failure     TEXT
) STRICT;

CREATE TABLE quota (
  only_one  INTEGER PRIMARY KEY CHECK (only_one = 1),
  total     INTEGER NOT NULL,
  remaining INTEGER NOT NULL,
  resets_at INTEGER NOT NULL
) STRICT;

CREATE TABLE patch (
  only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
  since    INTEGER NOT NULL,
  reason   TEXT    NOT NULL
) STRICT;
";

/// The application id and the format of a store.
pub(super) fn identity(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
    Ok((number("application_id")?, number("user_version")?))
}

/// The newest format that `steps` lead to.
pub(super) fn newest(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).unwrap_or(i64::MAX)
}

/// Carries out the steps that a store lacks, each in a transaction of its own. The store may be empty. Says whether
/// there were any.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<bool> {
    let (_, found) = identity(connection)?;
    let mut moved = false;
    for (version, step) in (1..).zip(steps).filter(|(version, _)| *version > found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
        moved = true;
    }
    Ok(moved)
}
