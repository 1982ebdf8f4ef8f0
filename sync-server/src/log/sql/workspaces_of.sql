SELECT workspace.tag FROM workspace JOIN device ON device.workspace = workspace.row
WHERE device.device = ?1 ORDER BY workspace.row LIMIT ?2;
