CREATE TEMP VIEW quarantine AS SELECT '' AS name, x'' AS digest, 0 AS since, '' AS reason, 0 AS requests, x'' AS back,
  NULL AS taken_by WHERE false;
