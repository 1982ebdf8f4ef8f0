-- A document of which a relay had no more than a snapshot and what came after: the snapshot that stands for the rest.

CREATE TABLE horizon (
    document INTEGER PRIMARY KEY REFERENCES document,
    -- Its chain, and its last part.
    chain    INTEGER NOT NULL REFERENCES chain,
    seq      INTEGER NOT NULL
) STRICT;

-- Up to where it stands for each chain, of which nothing may be here yet: hence its name. What is here of a chain begins
-- with that entry at the latest (chain.floor_seq + 1).
CREATE TABLE floor (
    workspace INTEGER NOT NULL REFERENCES workspace,
    chain     BLOB NOT NULL,
    document  INTEGER NOT NULL REFERENCES document,
    seq       INTEGER NOT NULL,
    hash      BLOB NOT NULL,
    PRIMARY KEY (workspace, chain)
) STRICT, WITHOUT ROWID;
CREATE INDEX floor_by_document ON floor (document);
