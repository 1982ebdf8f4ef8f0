DELETE FROM vouched WHERE workspace = ?1 AND hash = ?2;
