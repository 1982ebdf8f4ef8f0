SELECT bytes FROM status WHERE workspace = ?1 AND device <> ?2 ORDER BY device;
