-- What people wrote about the commits that updates came from. `name` is the revision as its calls have it. The oldest
-- rows go; a call without one has its commit still.
CREATE TABLE revision (
  id      INTEGER PRIMARY KEY,
  name    TEXT NOT NULL UNIQUE,
  subject TEXT NOT NULL,
  author  TEXT NOT NULL
) STRICT;
