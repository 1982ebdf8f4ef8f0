INSERT INTO device (device, workspace) VALUES (?1, ?2)
ON CONFLICT (device, workspace) DO UPDATE SET standing = 1;
