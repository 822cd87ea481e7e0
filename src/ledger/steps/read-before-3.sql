CREATE TEMP VIEW ledger AS SELECT NULL AS api, NULL AS account, 0 AS writes, NULL AS inode, 0 AS bodies WHERE false;
CREATE TEMP VIEW service AS SELECT *, 0 AS suspect, NULL AS seal FROM main.service;
CREATE TEMP VIEW body AS SELECT service, digest, max(spec) AS spec FROM main.call GROUP BY service, digest;
