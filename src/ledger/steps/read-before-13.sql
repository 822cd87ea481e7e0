CREATE TEMP VIEW IF NOT EXISTS quarantine AS SELECT *, NULL AS taken_by FROM main.quarantine;
CREATE TEMP VIEW IF NOT EXISTS request AS SELECT *, NULL AS content, NULL AS back FROM main.request;
