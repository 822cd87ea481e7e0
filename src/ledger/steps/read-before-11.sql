CREATE TEMP VIEW quarantine AS SELECT '' AS name, x'' AS digest, 0 AS since, '' AS reason, x'' AS back, NULL AS taken_by,
  0 AS released WHERE false;
