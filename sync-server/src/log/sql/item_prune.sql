UPDATE item SET bytes = x'' WHERE place >> 40 = ?1 AND chain = ?2 AND seq < ?3 AND place <> ?4 AND length(bytes) > 0 RETURNING place;
