CREATE TEMP VIEW unsettled AS SELECT 0 AS call, 0 AS service, x'' AS digest, '' AS spec, 0 AS until WHERE false;
CREATE TEMP VIEW pause AS SELECT *, NULL AS set_at FROM main.pause;
CREATE TEMP VIEW IF NOT EXISTS quota AS SELECT *, NULL AS set_at FROM main.quota;
CREATE TEMP VIEW IF NOT EXISTS patch AS SELECT *, NULL AS version FROM main.patch;
CREATE TEMP VIEW state AS SELECT '' AS name, '' AS state, 0 AS since, 0 AS until, '' AS reason, x'' AS digest,
  0 AS attempts, NULL AS beside WHERE false;
CREATE TEMP VIEW states_of AS SELECT 0 AS at, '' AS adopt, '' AS drift, 0 AS reserve, NULL AS halted, NULL AS halted_until,
  NULL AS halted_reason WHERE false;
CREATE TEMP VIEW IF NOT EXISTS live AS SELECT *, NULL AS unnamed, NULL AS beside FROM main.live;
