INSERT INTO login (user, issuer, subject, enrolled_ms) VALUES (?1, ?2, ?3, ?4)
