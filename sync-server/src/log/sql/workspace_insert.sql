INSERT INTO workspace (row, tag, id, log, frontier, bytes) VALUES (?1, ?2, ?3, ?4, ?5, 0);
