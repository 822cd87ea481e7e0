CREATE TEMP VIEW IF NOT EXISTS quarantine AS SELECT *, NULL AS back, NULL AS taken_by FROM main.quarantine;
