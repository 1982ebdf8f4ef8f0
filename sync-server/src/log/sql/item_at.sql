SELECT bytes FROM item WHERE place = ?1;
