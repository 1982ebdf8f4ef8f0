SELECT statement FROM reset WHERE workspace = ?1 AND old_log = ?2;
