-- A ledger of format 1, as truenorth 0.1.0 makes it. Never edited.
PRAGMA journal_mode = wal;
CREATE TABLE service (
  id      INTEGER PRIMARY KEY,
  name    TEXT    NOT NULL UNIQUE,
  digest  BLOB    CHECK (length(digest) = 32),
  applied INTEGER,
  doubts  INTEGER NOT NULL DEFAULT 0 CHECK (doubts >= 0),
  CHECK ((digest IS NULL) = (applied IS NULL))
) STRICT;

CREATE TABLE call (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  service  INTEGER NOT NULL REFERENCES service (id),
  digest   BLOB    NOT NULL CHECK (length(digest) = 32),
  cause    TEXT    NOT NULL,
  revision TEXT    NOT NULL,
  file     TEXT    NOT NULL,
  line     INTEGER NOT NULL,
  attempt  INTEGER NOT NULL,
  began_at INTEGER NOT NULL,
  ended_at INTEGER,
  outcome  TEXT    CHECK (outcome IN ('accepted', 'rejected', 'unsent', 'unknown', 'interrupted', 'adopted')),
  status   INTEGER,
  message  TEXT,
  spec     TEXT    NOT NULL,
  CHECK ((outcome IS NULL) = (ended_at IS NULL))
) STRICT;
CREATE INDEX call_by_service ON call (service, outcome);
CREATE UNIQUE INDEX call_open ON call (service) WHERE outcome IS NULL;

CREATE TABLE pause (
  only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
  until    INTEGER NOT NULL,
  reason   TEXT    NOT NULL
) STRICT;

INSERT INTO service (id, name, digest, applied, doubts) VALUES
  (1, 'shop/web', unhex('abababababababababababababababababababababababababababababababab'), 3, 0),
  (2, 'acme/shop/api', NULL, NULL, 3),
  (3, 'shop/never', NULL, NULL, 0);
INSERT INTO call (id, service, digest, cause, revision, file, line, attempt, began_at, ended_at, outcome, status, message, spec) VALUES
  (1, 1, unhex('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'), 'new', 'git:4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f', 'shop/web.yaml', 1, 1, 1800000000000, 1800000000150, 'rejected', 400, 'no such image', '{"external":{"imagePath":"nginx:1"}}'),
  (2, 1, unhex('abababababababababababababababababababababababababababababababab'), 'new', 'git:4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f+dirty', 'shop/web.yaml', 3, 2, 1800000001000, 1800000001200, 'accepted', 200, NULL, '{"external":{"imagePath":"nginx:2"}}'),
  (3, 1, unhex('abababababababababababababababababababababababababababababababab'), 'adopted', 'tree:sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd', 'shop/web.yaml', 3, 0, 1800000001000, 1800000001000, 'adopted', NULL, NULL, '{"external":{"imagePath":"nginx:2"}}'),
  (4, 1, unhex('acacacacacacacacacacacacacacacacacacacacacacacacacacacacacacacac'), 'changed', 'tree:sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd', 'shop/web.yaml', 3, 1, 1800000002000, 1800000002200, 'unsent', NULL, 'no route to the API', '{"external":{"imagePath":"nginx:3"}}'),
  (5, 2, unhex('eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee'), 'new', 'tree:sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd', 'shop/api.json', 1, 1, 1800000002000, 1800000002200, 'unknown', 502, 'bad gateway', '{"docker":{"configType":"default"}}'),
  (6, 2, unhex('eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee'), 'in-doubt', 'tree:sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd', 'shop/api.json', 1, 2, 1800000003000, 1800000004000, 'interrupted', NULL, NULL, '{"docker":{"configType":"default"}}'),
  (7, 2, unhex('eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee'), 'in-doubt', 'tree:sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd', 'shop/api.json', 1, 3, 1800000005000, NULL, NULL, NULL, NULL, '{"docker":{"configType":"default"}}');
INSERT INTO pause (only_one, until, reason) VALUES (1, 1800003600000, 'rate limit');

PRAGMA application_id = 1951298664;
PRAGMA user_version = 1;
