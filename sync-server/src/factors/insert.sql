INSERT INTO totp (user, secret, used_step, wrong, blocked_until_ms, enrolled_ms) VALUES (?1, ?2, ?3, 0, 0, ?4)
