INSERT INTO packed SELECT place, kind, hash, chain, seq, head, bytes FROM item WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT ?3;
