CREATE TEMP VIEW rollout AS SELECT 0 AS call, 0 AS service, x'' AS digest, 0 AS accepted_at, 0 AS server_at,
  '' AS deployment, '' AS state, 0 AS since, '' AS evidence, '' AS reason,
  NULL AS overtaken_by, NULL AS overtaken_at WHERE false;
