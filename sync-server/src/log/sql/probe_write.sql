INSERT OR REPLACE INTO probe (row, time_ms, filler) VALUES (1, ?1, zeroblob(?2));
