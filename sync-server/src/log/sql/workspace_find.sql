SELECT row, id, log, frontier, bytes FROM workspace WHERE tag = ?1;
