CREATE TEMP VIEW IF NOT EXISTS quarantine AS SELECT *, NULL AS back FROM main.quarantine;
