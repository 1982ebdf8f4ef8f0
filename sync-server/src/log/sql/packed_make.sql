CREATE TEMP TABLE IF NOT EXISTS packed (place INTEGER PRIMARY KEY, kind, hash, chain, seq, head, bytes);
