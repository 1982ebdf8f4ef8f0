INSERT INTO status (workspace, device, nth, bytes) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (workspace, device) DO UPDATE SET nth = excluded.nth, bytes = excluded.bytes
WHERE excluded.nth > status.nth;
