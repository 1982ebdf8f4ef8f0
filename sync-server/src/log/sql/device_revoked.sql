SELECT max(standing = 2) AND NOT max(standing = 1) FROM device WHERE device = ?1;
