-- What a snapshot stands for goes once enough members have vouched for it, and some time has passed. The rows stay,
-- without bytes: so do positions, receipts, and what the device that wrote an entry may send again.
ALTER TABLE workspace ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0; -- last position whose bytes are gone

-- The last parts of snapshots: an entry in full, of kind 1, without flags.
CREATE INDEX item_of_snapshots ON item (place)
WHERE kind = 3 AND substr(bytes, 7, 1) = x'01' AND substr(bytes, 9, 1) = x'00';

-- Snapshots that have enough words, and since when they were seen to.
CREATE TABLE vouched (
    workspace INTEGER NOT NULL,
    hash      BLOB NOT NULL,
    since_ms  INTEGER NOT NULL,
    PRIMARY KEY (workspace, hash)
) STRICT, WITHOUT ROWID;

-- Of which chains the bytes below a seq are gone, and the snapshot that stands for them: a run of its own chain.
CREATE TABLE floor (
    workspace INTEGER NOT NULL,
    chain     BLOB NOT NULL,
    document  BLOB NOT NULL,
    seq       INTEGER NOT NULL,
    snapshot  BLOB NOT NULL,
    from_seq  INTEGER NOT NULL,
    to_seq    INTEGER NOT NULL,
    PRIMARY KEY (workspace, chain)
) STRICT, WITHOUT ROWID;
CREATE INDEX floor_by_document ON floor (workspace, document);
