SELECT row, id, log, frontier, bytes, pruned FROM workspace WHERE tag = ?1;
