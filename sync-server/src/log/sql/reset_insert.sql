INSERT OR REPLACE INTO reset (workspace, old_log, statement) VALUES (?1, ?2, ?3);
