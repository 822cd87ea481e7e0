-- Content whose rollout failed, the newest of each service: it is not sent again by itself. A request of a person to release
-- it counts where it is newer than `requests`, the newest request of then. The row goes when the content is accepted again,
-- when its rollout is seen to have completed, or when the manifest says something else.
CREATE TABLE quarantine (
  name     TEXT PRIMARY KEY,
  digest   BLOB    NOT NULL CHECK (length(digest) = 32),
  since    INTEGER NOT NULL,
  reason   TEXT,
  requests INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
