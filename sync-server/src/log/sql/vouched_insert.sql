INSERT OR IGNORE INTO vouched (workspace, hash, since_ms) VALUES (?1, ?2, ?3);
