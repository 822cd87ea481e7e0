CREATE TEMP VIEW request AS SELECT 0 AS id, '' AS kind, NULL AS target, NULL AS reason, '' AS by, 0 AS at, NULL AS until,
  NULL AS taken_at, NULL AS result, NULL AS content, NULL AS back WHERE false;
