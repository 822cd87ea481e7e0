-- What the ledger knows of itself, in one row: the API and the account that it belongs to, once that API answered.

CREATE TABLE ledger (
  only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
  api      TEXT,
  account  TEXT,
  CHECK (api IS NOT NULL OR account IS NULL)
) STRICT;
INSERT INTO ledger (only_one) VALUES (1);
