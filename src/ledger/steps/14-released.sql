-- Whether a person let the content out: then it is sent once more. It is written with what came of their request, and so
-- counts for no other failure.
ALTER TABLE quarantine ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
UPDATE quarantine SET released = EXISTS (SELECT 1 FROM request
  WHERE kind = 'release' AND target = quarantine.name AND id > quarantine.requests AND taken_at IS NOT NULL);
ALTER TABLE quarantine DROP COLUMN requests;
