INSERT INTO item (place, kind, hash, chain, seq, head, bytes) SELECT place, kind, hash, chain, seq, head, bytes FROM packed ORDER BY place;
