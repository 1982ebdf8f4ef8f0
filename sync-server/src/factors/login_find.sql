SELECT subject FROM login WHERE user = ?1 AND issuer = ?2
