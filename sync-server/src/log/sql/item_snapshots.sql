SELECT place, hash FROM item INDEXED BY item_of_snapshots
WHERE kind = 3 AND substr(bytes, 7, 1) = x'01' AND substr(bytes, 9, 1) = x'00' AND place BETWEEN ?1 AND ?2
ORDER BY place DESC;
