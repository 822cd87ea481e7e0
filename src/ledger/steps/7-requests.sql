-- What people asked for, whoever held the ledger then: who, when, why, and what came of it. `target` is a service's name,
-- or NULL for all. `until` is there where the request ends by itself; `taken_at` and `result` once it was taken up.
CREATE TABLE request (
  id       INTEGER PRIMARY KEY,
  kind     TEXT    NOT NULL,
  target   TEXT,
  reason   TEXT,
  by       TEXT    NOT NULL,
  at       INTEGER NOT NULL,
  until    INTEGER,
  taken_at INTEGER,
  result   TEXT
) STRICT;
