SELECT head FROM item WHERE place = ?1;
