-- What was sent in the place of content whose rollout failed, or is about to be: it is decided once for each that failed.
ALTER TABLE quarantine ADD COLUMN back BLOB;
-- Whether live showed that what was adopted ran: then it may be sent again where something newer fails.
ALTER TABLE call ADD COLUMN ran INTEGER NOT NULL DEFAULT 0;
