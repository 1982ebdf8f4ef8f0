-- Keys that a relay had before, which a workspace still has to say the successor of (ADR 0002).

CREATE TABLE succession (
    relay     INTEGER NOT NULL REFERENCES relay,
    workspace INTEGER NOT NULL REFERENCES workspace,
    old       BLOB NOT NULL,
    PRIMARY KEY (relay, workspace, old)
) STRICT, WITHOUT ROWID;
