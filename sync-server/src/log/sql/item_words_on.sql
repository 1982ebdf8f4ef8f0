SELECT bytes FROM item INDEXED BY item_of_words
WHERE kind = 5 AND substr(bytes, 38, 32) = ?3 AND place BETWEEN ?1 AND ?2 ORDER BY place;
