SELECT chain, seq FROM floor WHERE workspace = ?1 AND document = ?2;
