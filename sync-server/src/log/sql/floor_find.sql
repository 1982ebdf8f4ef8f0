SELECT seq, snapshot, from_seq, to_seq FROM floor WHERE workspace = ?1 AND chain = ?2;
