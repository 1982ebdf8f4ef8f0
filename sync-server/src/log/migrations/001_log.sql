-- Everything a relay keeps. Content is sealed by devices; nothing here opens it.

CREATE TABLE workspace (
    row      INTEGER PRIMARY KEY,   -- also the channel number of its sessions
    tag      BLOB NOT NULL UNIQUE,  -- first half of the id
    id       BLOB NOT NULL,
    log      BLOB NOT NULL,         -- the present history
    frontier BLOB NOT NULL,         -- length and Merkle roots of the log
    bytes    INTEGER NOT NULL       -- bytes of its items, for quotas
) STRICT;

-- place = row << 40 | position: one range of the table is one log, in order.
CREATE TABLE item (
    place INTEGER PRIMARY KEY,
    kind  INTEGER NOT NULL,         -- 1 record, 2 attestation, 3 entry, 4 elided entry
    hash  BLOB NOT NULL,
    chain BLOB,
    seq   INTEGER,
    head  BLOB,                     -- head of the log here, at the end of each batch
    bytes BLOB NOT NULL
) STRICT;

CREATE INDEX item_of_membership ON item (place) WHERE kind <= 2;
CREATE UNIQUE INDEX item_of_chain ON item (place >> 40, chain, seq) WHERE chain IS NOT NULL;

CREATE TABLE chain (
    workspace    INTEGER NOT NULL,
    chain        BLOB NOT NULL,
    document     BLOB NOT NULL,
    stream       INTEGER NOT NULL,
    device       BLOB NOT NULL,
    incarnation  INTEGER NOT NULL,
    seq          INTEGER NOT NULL,  -- of its last entry
    hash         BLOB NOT NULL,
    members_head BLOB NOT NULL,
    declared_at  INTEGER NOT NULL,  -- position of its newest item with a full header
    declared_seq INTEGER NOT NULL,
    PRIMARY KEY (workspace, chain)
) STRICT, WITHOUT ROWID;

-- Which devices and users (by id) may be members: spares a stranger's question from loading the workspace.
CREATE TABLE device (
    device    BLOB NOT NULL,
    workspace INTEGER NOT NULL,
    PRIMARY KEY (device, workspace)
) STRICT, WITHOUT ROWID;

-- Signed admissions that a history was lost, by the history that can not be continued.
CREATE TABLE reset (
    workspace INTEGER NOT NULL,
    old_log   BLOB NOT NULL,
    statement BLOB NOT NULL,
    PRIMARY KEY (workspace, old_log)
) STRICT, WITHOUT ROWID;

CREATE TABLE status (
    workspace INTEGER NOT NULL,
    device    BLOB NOT NULL,
    nth       INTEGER NOT NULL,
    bytes     BLOB NOT NULL,
    PRIMARY KEY (workspace, device)
) STRICT, WITHOUT ROWID;

-- One row that the readiness check writes, as large as what could not be written before.
CREATE TABLE probe (
    row     INTEGER PRIMARY KEY CHECK (row = 1),
    time_ms INTEGER NOT NULL,
    filler  BLOB NOT NULL
) STRICT;
