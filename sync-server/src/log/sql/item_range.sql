SELECT bytes FROM item WHERE place BETWEEN ?1 AND ?2 ORDER BY place;
