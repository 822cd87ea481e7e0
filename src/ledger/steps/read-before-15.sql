CREATE TEMP VIEW IF NOT EXISTS rollout AS SELECT *, NULL AS overtaken_by, NULL AS overtaken_at FROM main.rollout;
CREATE TEMP VIEW stranger AS SELECT 0 AS service, 0 AS noticed_at, '' AS user, 0 AS deployed_at WHERE false;
