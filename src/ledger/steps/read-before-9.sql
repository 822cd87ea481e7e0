CREATE TEMP VIEW decided AS SELECT 0 AS decision, '' AS name, x'' AS digest WHERE false;
CREATE TEMP VIEW IF NOT EXISTS let_out AS SELECT *, NULL AS decision FROM main.let_out;
