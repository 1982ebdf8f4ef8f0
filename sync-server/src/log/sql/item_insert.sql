INSERT INTO item (place, kind, hash, chain, seq, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6);
