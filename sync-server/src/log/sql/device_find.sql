SELECT 1 FROM device WHERE device = ?1 AND standing = 1 LIMIT 1;
