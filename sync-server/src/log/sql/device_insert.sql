INSERT OR IGNORE INTO device (device, workspace) VALUES (?1, ?2);
