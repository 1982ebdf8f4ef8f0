SELECT hash, since_ms FROM vouched WHERE workspace = ?1;
