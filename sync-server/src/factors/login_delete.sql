DELETE FROM login WHERE user = ?1
