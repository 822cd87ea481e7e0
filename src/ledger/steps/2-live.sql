-- What live shows, the rate limit's window, and the update call that the API still serves.
--
-- - `live.compared` is the digest that live was compared with; NULL where the read had nothing to compare, or an update
--   was accepted since, which makes what it showed a thing of the past. Both lists are JSON. `live.failure` says why
--   the newest read failed, if it did; the rest is then of the one before.
-- - `patch` has a row once the API was found to serve no other update call.

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
