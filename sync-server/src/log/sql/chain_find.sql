SELECT chain, document, stream, device, incarnation, seq, hash, members_head, declared_at, declared_seq
FROM chain WHERE workspace = ?1 AND chain = ?2;
