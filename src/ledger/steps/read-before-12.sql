CREATE TEMP VIEW IF NOT EXISTS quarantine AS SELECT *, NULL AS back, NULL AS taken_by, EXISTS (SELECT 1 FROM main.request WHERE kind = 'release'
  AND target = name AND id > requests AND taken_at IS NOT NULL) AS released FROM main.quarantine;
CREATE TEMP VIEW IF NOT EXISTS call AS SELECT *, 0 AS ran FROM main.call;
