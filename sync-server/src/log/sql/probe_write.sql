INSERT OR REPLACE INTO probe (row, time_ms) VALUES (1, ?1);
