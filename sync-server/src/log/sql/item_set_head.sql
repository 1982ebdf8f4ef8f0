UPDATE item SET head = ?2 WHERE place = ?1;
