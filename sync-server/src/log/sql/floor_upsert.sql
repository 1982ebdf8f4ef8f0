INSERT INTO floor (workspace, chain, document, seq, snapshot, from_seq, to_seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (workspace, chain) DO UPDATE SET
    seq = excluded.seq, snapshot = excluded.snapshot, from_seq = excluded.from_seq, to_seq = excluded.to_seq;
