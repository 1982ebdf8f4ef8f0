UPDATE device SET standing = ?3 WHERE device = ?1 AND workspace = ?2;
