SELECT chain, seq, hash, declared_at, declared_seq FROM chain WHERE workspace = ?1 AND chain = ?2;
