-- Who deployed something else after an update was accepted, and when by the server's clock; and what somebody else was seen
-- to change in a service.
ALTER TABLE rollout ADD COLUMN overtaken_by TEXT;
ALTER TABLE rollout ADD COLUMN overtaken_at INTEGER;
CREATE TABLE stranger (
  service     INTEGER PRIMARY KEY REFERENCES service (id) ON DELETE CASCADE,
  noticed_at  INTEGER NOT NULL,
  user        TEXT,
  deployed_at INTEGER
) STRICT;
