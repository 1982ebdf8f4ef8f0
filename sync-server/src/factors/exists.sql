SELECT 1 FROM totp WHERE user = ?1
