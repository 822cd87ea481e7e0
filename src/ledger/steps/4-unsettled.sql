-- Requests whose end is not known: they may still take effect, until a time. A row goes when its call is refused, or when
-- a read or an acceptance shows that nothing older can come any more. It is a table of its own because history is pruned.
CREATE TABLE unsettled (
  call    INTEGER PRIMARY KEY,
  service INTEGER NOT NULL REFERENCES service (id),
  digest  BLOB    NOT NULL CHECK (length(digest) = 32),
  spec    TEXT    NOT NULL,
  until   INTEGER NOT NULL
) STRICT;
CREATE INDEX unsettled_by_service ON unsettled (service);

-- When a pause was set: it is never longer than it was then, whatever is done to the clock.
ALTER TABLE pause ADD COLUMN set_at INTEGER;
ALTER TABLE quota ADD COLUMN set_at INTEGER;
-- Registry credentials that live uses and the manifest names none of, as JSON.
ALTER TABLE live ADD COLUMN unnamed TEXT;
-- Which truenorth found that PATCH has to be used: a newer one tries POST again.
ALTER TABLE patch ADD COLUMN version TEXT;

-- The state of each service as the engine decided it, by name, for whoever reads the ledger. `digest` is what its manifest
-- said then; `until` and `reason` are there where the state has them. `attempts` counts failures at that content.
CREATE TABLE state (
  name     TEXT PRIMARY KEY,
  state    TEXT    NOT NULL,
  since    INTEGER NOT NULL,
  until    INTEGER,
  reason   TEXT,
  digest   BLOB    CHECK (length(digest) = 32),
  attempts INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
-- When the states were written last, by which rules they were decided, and what all calls waited for then.
CREATE TABLE states_of (
  only_one      INTEGER PRIMARY KEY CHECK (only_one = 1),
  at            INTEGER NOT NULL,
  adopt         TEXT    NOT NULL,
  drift         TEXT    NOT NULL,
  reserve       INTEGER NOT NULL,
  halted        TEXT,
  halted_until  INTEGER,
  halted_reason TEXT
) STRICT;
