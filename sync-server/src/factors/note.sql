UPDATE totp SET used_step = ?2, wrong = ?3, blocked_until_ms = ?4 WHERE user = ?1
