UPDATE workspace SET log = ?2 WHERE row = ?1;
