CREATE TEMP VIEW revision AS SELECT '' AS name, '' AS subject, '' AS author WHERE false;
