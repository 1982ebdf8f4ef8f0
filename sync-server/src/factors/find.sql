SELECT secret, used_step, wrong, blocked_until_ms FROM totp WHERE user = ?1
