INSERT INTO chain (workspace, chain, document, stream, device, incarnation, seq, hash, members_head, declared_at, declared_seq)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT (workspace, chain) DO UPDATE SET
    seq = excluded.seq, hash = excluded.hash, members_head = excluded.members_head,
    declared_at = excluded.declared_at, declared_seq = excluded.declared_seq;
