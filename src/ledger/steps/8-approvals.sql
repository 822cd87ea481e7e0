-- What people decided about plans. `plan` is the start of a plan's id, or all of it.
CREATE TABLE decision (
  id     INTEGER PRIMARY KEY,
  at     INTEGER NOT NULL,
  plan   TEXT    NOT NULL,
  answer TEXT    NOT NULL CHECK (answer IN ('approve', 'deny')),
  author TEXT,
  reason TEXT,
  until  INTEGER
) STRICT;
-- Content that was let out, by the limit of a plan or by an approval: it is not held again before it was sent.
CREATE TABLE let_out (
  name   TEXT PRIMARY KEY,
  digest BLOB NOT NULL CHECK (length(digest) = 32)
) STRICT, WITHOUT ROWID;
