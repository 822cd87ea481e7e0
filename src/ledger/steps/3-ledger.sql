-- What the ledger knows of itself, in one row; by what a service is mistrusted; and bodies apart from their calls.
--
-- - `ledger.api` and `account` are where it belongs, once that API answered. `writes` counts its transactions: a ledger
--   that has fewer than its mark is an older one. `inode` is the file that it was last: another one is a copy. `bodies`
--   is the size of all rows of `body`, in bytes.
-- - `service.suspect` is set where what was applied may not be the newest: the ledger is a copy or an older one. `seal`
--   is a checksum of the row; NULL in a row of an earlier format.
-- - `body` has what the calls asked for, once for each digest of a service, and not for all of them.

CREATE TABLE ledger (
  only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
  api      TEXT,
  account  TEXT,
  writes   INTEGER NOT NULL DEFAULT 0,
  inode    INTEGER,
  bodies   INTEGER NOT NULL DEFAULT 0,
  CHECK (api IS NOT NULL OR account IS NULL)
) STRICT;
INSERT INTO ledger (only_one) VALUES (1);

ALTER TABLE service ADD COLUMN suspect INTEGER NOT NULL DEFAULT 0;
ALTER TABLE service ADD COLUMN seal BLOB;

CREATE TABLE body (
  id      INTEGER PRIMARY KEY,
  service INTEGER NOT NULL REFERENCES service (id),
  digest  BLOB    NOT NULL CHECK (length(digest) = 32),
  spec    TEXT    NOT NULL,
  UNIQUE (service, digest)
) STRICT;
CREATE TRIGGER body_kept AFTER INSERT ON body BEGIN
  UPDATE ledger SET bodies = bodies + octet_length(NEW.spec);
END;
CREATE TRIGGER body_gone AFTER DELETE ON body BEGIN
  UPDATE ledger SET bodies = bodies - octet_length(OLD.spec);
END;

INSERT OR IGNORE INTO body (service, digest, spec)
  SELECT service, digest, spec FROM (
    SELECT *, row_number() OVER (PARTITION BY service ORDER BY id DESC) AS age FROM call
  ) AS aged
  WHERE age <= 5 OR id = (SELECT applied FROM service WHERE service.id = aged.service)
  ORDER BY id;
ALTER TABLE call DROP COLUMN spec;
