-- A ledger of an earlier format that is only read: what it lacks is there as views, for this connection alone.
CREATE TEMP VIEW live AS SELECT NULL AS service, NULL AS read_at, NULL AS kind, NULL AS compared, '[]' AS differences,
  '[]' AS undecided, NULL AS failure, NULL AS unnamed, NULL AS beside WHERE false;
CREATE TEMP VIEW quota AS SELECT NULL AS total, NULL AS remaining, NULL AS resets_at, NULL AS set_at WHERE false;
CREATE TEMP VIEW patch AS SELECT NULL AS since, NULL AS reason, NULL AS version WHERE false;
