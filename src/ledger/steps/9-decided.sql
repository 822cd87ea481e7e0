-- What the plans change that people decided about, as far as it was known: what was denied stays denied in every other
-- plan, and the history of a service tells of both.
CREATE TABLE decided (
  decision INTEGER NOT NULL,
  name     TEXT    NOT NULL,
  digest   BLOB    NOT NULL CHECK (length(digest) = 32),
  PRIMARY KEY (decision, name, digest)
) STRICT, WITHOUT ROWID;
-- By which decision it was let out, if by one: a later denial holds it again.
ALTER TABLE let_out ADD COLUMN decision INTEGER;
