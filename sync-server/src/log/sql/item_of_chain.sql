SELECT place, seq, hash, bytes FROM item
WHERE place >> 40 = ?1 AND chain = ?2 AND seq BETWEEN ?3 AND ?4 ORDER BY seq;
