-- Up to where another device was given a log as this one was, by the heads that both came to: only below that does a
-- place here say what it has.
CREATE TABLE agreed (
    relay     INTEGER NOT NULL REFERENCES relay,
    workspace INTEGER NOT NULL REFERENCES workspace,
    device    BLOB NOT NULL,
    position  INTEGER NOT NULL,
    PRIMARY KEY (relay, workspace, device)
) STRICT, WITHOUT ROWID;
