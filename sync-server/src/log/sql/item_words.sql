SELECT bytes FROM item INDEXED BY item_of_membership
WHERE kind = 5 AND place BETWEEN ?1 AND ?2 ORDER BY place;
