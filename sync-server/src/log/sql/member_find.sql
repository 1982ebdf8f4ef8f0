SELECT 1 FROM workspace JOIN device ON device.workspace = workspace.row AND device.device = ?2
WHERE workspace.tag = ?1;
