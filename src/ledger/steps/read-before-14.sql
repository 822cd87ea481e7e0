CREATE TEMP VIEW IF NOT EXISTS quarantine AS SELECT *, EXISTS (SELECT 1 FROM main.request WHERE kind = 'release'
  AND target = name AND id > requests AND taken_at IS NOT NULL) AS released FROM main.quarantine;
