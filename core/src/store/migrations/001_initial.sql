-- The first layout of a device's store. Columns named *_sealed hold values under the store key;
-- entries are sealed end to end already and stay as they travelled.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE workspace (
    workspace       INTEGER PRIMARY KEY,
    id              BLOB NOT NULL UNIQUE,
    -- 0 joining, 1 member, 2 returning
    state           INTEGER NOT NULL,
    name_sealed     BLOB,
    -- The invite link of a join that is under way.
    join_sealed     BLOB,
    blinding_sealed BLOB
) STRICT;

CREATE TABLE record (
    record    INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL REFERENCES workspace,
    id        BLOB NOT NULL,
    bytes_sealed BLOB NOT NULL,
    UNIQUE (workspace, id)
) STRICT;

CREATE TABLE attestation (
    workspace INTEGER NOT NULL REFERENCES workspace,
    hash      BLOB NOT NULL,
    bytes     BLOB NOT NULL,
    PRIMARY KEY (workspace, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE epoch (
    workspace     INTEGER NOT NULL REFERENCES workspace,
    id            BLOB NOT NULL,
    secret_sealed BLOB NOT NULL,
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE document (
    document     INTEGER PRIMARY KEY,
    workspace    INTEGER NOT NULL REFERENCES workspace,
    tag          BLOB NOT NULL,
    -- Known once the first entry was opened: id, CRDT, type, and what the first entry must say.
    id           BLOB,
    about_sealed BLOB,
    UNIQUE (workspace, tag)
) STRICT;
CREATE INDEX document_by_id ON document (id);

CREATE TABLE chain (
    chain       INTEGER PRIMARY KEY,
    workspace   INTEGER NOT NULL REFERENCES workspace,
    document    INTEGER NOT NULL REFERENCES document,
    stream      INTEGER NOT NULL,
    device      BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    id          BLOB NOT NULL,
    head_seq    INTEGER NOT NULL,
    head_hash   BLOB NOT NULL,
    -- The members_head of the last entry: it never goes backwards along a chain.
    members_head BLOB NOT NULL,
    UNIQUE (document, stream, device, incarnation)
) STRICT;
CREATE UNIQUE INDEX chain_by_id ON chain (workspace, id);

CREATE TABLE entry (
    arrival INTEGER PRIMARY KEY,
    chain   INTEGER NOT NULL REFERENCES chain,
    seq     INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    -- 0 stored and not looked into, 1 proven by applying it, 2 quarantined
    state   INTEGER NOT NULL,
    bytes   BLOB NOT NULL,
    UNIQUE (chain, seq)
) STRICT;

-- Local changes that no entry carries yet.
CREATE TABLE pending (
    pending       INTEGER PRIMARY KEY AUTOINCREMENT,
    document      INTEGER NOT NULL REFERENCES document,
    stream        INTEGER NOT NULL,
    instance      INTEGER NOT NULL,
    wall_ms       INTEGER NOT NULL,
    change_sealed BLOB NOT NULL
) STRICT;
CREATE INDEX pending_by_document ON pending (document, stream);

-- Up to which seq of each other chain the own chain has named its dependencies.
CREATE TABLE dependency (
    chain INTEGER NOT NULL REFERENCES chain,
    other INTEGER NOT NULL REFERENCES chain,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (chain, other)
) STRICT, WITHOUT ROWID;

-- Entries that wait for a predecessor, a record or a key.
CREATE TABLE held (
    held      INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL REFERENCES workspace,
    document  BLOB NOT NULL,
    chain     BLOB NOT NULL,
    seq       INTEGER NOT NULL,
    hash      BLOB NOT NULL,
    reason    INTEGER NOT NULL,
    since_ms  INTEGER NOT NULL,
    bytes     BLOB NOT NULL,
    UNIQUE (workspace, hash)
) STRICT;

-- Entries that are kept and shown, and never applied.
CREATE TABLE quarantine (
    quarantine INTEGER PRIMARY KEY,
    workspace  INTEGER NOT NULL REFERENCES workspace,
    document   BLOB NOT NULL,
    device     BLOB NOT NULL,
    seq        INTEGER NOT NULL,
    hash       BLOB NOT NULL,
    reason     INTEGER NOT NULL,
    since_ms   INTEGER NOT NULL,
    bytes      BLOB NOT NULL,
    UNIQUE (workspace, hash, reason)
) STRICT;

CREATE TABLE relay (
    relay   INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE,
    key     BLOB,
    allow_proxy INTEGER NOT NULL,
    token_sealed BLOB
) STRICT;

-- Our place in the log of one workspace on one relay.
CREATE TABLE log (
    relay     INTEGER NOT NULL REFERENCES relay,
    workspace INTEGER NOT NULL REFERENCES workspace,
    id        BLOB NOT NULL,
    frontier  BLOB NOT NULL,
    receipt   BLOB,
    PRIMARY KEY (relay, workspace)
) STRICT, WITHOUT ROWID;

-- Up to which seq of a chain the relay's log has it, and where that entry stands.
CREATE TABLE placed (
    relay    INTEGER NOT NULL REFERENCES relay,
    chain    INTEGER NOT NULL REFERENCES chain,
    seq      INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (relay, chain)
) STRICT, WITHOUT ROWID;

CREATE TABLE placed_record (
    relay     INTEGER NOT NULL REFERENCES relay,
    workspace INTEGER NOT NULL REFERENCES workspace,
    hash      BLOB NOT NULL,
    PRIMARY KEY (relay, workspace, hash)
) STRICT, WITHOUT ROWID;

-- Which entry an item of the relay's log declared for those in short form.
CREATE TABLE declaration (
    relay     INTEGER NOT NULL REFERENCES relay,
    workspace INTEGER NOT NULL REFERENCES workspace,
    position  INTEGER NOT NULL,
    chain     INTEGER NOT NULL REFERENCES chain,
    seq       INTEGER NOT NULL,
    PRIMARY KEY (relay, workspace, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX declaration_by_chain ON declaration (relay, chain, position);

-- The newest status row of each other device.
CREATE TABLE status (
    workspace INTEGER NOT NULL REFERENCES workspace,
    device    BLOB NOT NULL,
    nth       INTEGER NOT NULL,
    row       BLOB NOT NULL,
    PRIMARY KEY (workspace, device)
) STRICT, WITHOUT ROWID;
