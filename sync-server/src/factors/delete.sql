DELETE FROM totp WHERE user = ?1
