-- What became of each update that was accepted: the platform replaces what runs after it. A row comes with the acceptance
-- and goes with its call. `accepted_at` and `since` are by the clock of this machine, `server_at` by the server's.
CREATE TABLE rollout (
  call        INTEGER PRIMARY KEY REFERENCES call (id) ON DELETE CASCADE,
  service     INTEGER NOT NULL REFERENCES service (id),
  digest      BLOB    NOT NULL CHECK (length(digest) = 32),
  accepted_at INTEGER NOT NULL,
  server_at   INTEGER,
  deployment  TEXT,
  state       TEXT    NOT NULL,
  since       INTEGER NOT NULL,
  evidence    TEXT    NOT NULL,
  reason      TEXT
) STRICT;
CREATE INDEX rollout_by_service ON rollout (service, call);
