-- Workspaces of which relays are asked for some documents only, and for which.
CREATE TABLE partial (workspace INTEGER PRIMARY KEY REFERENCES workspace) STRICT;
CREATE TABLE wanted (
    workspace INTEGER NOT NULL REFERENCES workspace,
    document  BLOB NOT NULL,
    PRIMARY KEY (workspace, document)
) STRICT, WITHOUT ROWID;

-- The name of the documents that were asked for all the way to our place in a log; nothing for all.
ALTER TABLE log ADD COLUMN wanted BLOB;
