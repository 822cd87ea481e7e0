-- Times are milliseconds since 1970 in UTC. A service's name is `project/service` or `team/project/service`.
--
-- - `service.digest` repeats that of the call `service.applied`, so that a pass reads one small table. `applied` is no
--   foreign key: it would need an index of its own, and pruning never takes the newest accepted call.
-- - `service.doubts` counts the calls that may have been accepted without our knowing. It is a count and not a look
--   at `call`, because history is pruned and doubt must not be.
-- - `call.outcome` is NULL while the call is open, which is one per service at most.
-- - `spec` stands last, because it may be long and most statements do not want it.

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
