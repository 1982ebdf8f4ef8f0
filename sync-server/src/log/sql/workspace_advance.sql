UPDATE workspace SET frontier = ?2, bytes = bytes + ?3 WHERE row = ?1;
