-- Which content a person takes back, and what is to be sent in its place; and who took back what is quarantined.
ALTER TABLE request ADD COLUMN content BLOB;
ALTER TABLE request ADD COLUMN back BLOB;
ALTER TABLE quarantine ADD COLUMN taken_by TEXT;
