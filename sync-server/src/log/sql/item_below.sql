SELECT coalesce(sum(length(bytes)), 0), coalesce(max(place), 0) FROM item
WHERE place >> 40 = ?1 AND chain = ?2 AND seq < ?3 AND place <> ?4;
