CREATE TEMP VIEW decision AS SELECT 0 AS id, 0 AS at, '' AS plan, '' AS answer, '' AS author, '' AS reason, 0 AS until
  WHERE false;
CREATE TEMP VIEW let_out AS SELECT '' AS name, x'' AS digest, 0 AS decision WHERE false;
