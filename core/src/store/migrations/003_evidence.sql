-- What a relay signed that it could not have signed, had it been honest: both of its words.

CREATE TABLE evidence (
    evidence  INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL REFERENCES workspace,
    relay     BLOB NOT NULL,
    log       BLOB NOT NULL,
    position  INTEGER NOT NULL,
    -- 0 two heads of one length, 1 a head below one that was signed before
    kind      INTEGER NOT NULL,
    ours      BLOB,
    theirs    BLOB NOT NULL,
    since_ms  INTEGER NOT NULL,
    UNIQUE (workspace, relay, log, position, kind)
) STRICT;
