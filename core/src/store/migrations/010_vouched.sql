-- Of a document the snapshot that has enough words and stands for more than this device has given up, and since when it was
-- seen to have them. What it covers goes once the app's time has passed.
CREATE TABLE vouched (
    document INTEGER PRIMARY KEY REFERENCES document,
    -- Its chain, and its last part.
    chain    INTEGER NOT NULL REFERENCES chain,
    seq      INTEGER NOT NULL,
    since_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX vouched_by_time ON vouched (since_ms);
