-- A document as its CRDT saves it, made of the entries that had come up to one arrival: opened with what came after.
-- It says nothing that the entries do not, and may be deleted at any time.

CREATE TABLE saved (
    document     INTEGER PRIMARY KEY REFERENCES document,
    -- The arrival of the last entry in it; of those before it exactly the ones that are not set aside are in it.
    arrival      INTEGER NOT NULL,
    entries      INTEGER NOT NULL,
    state_sealed BLOB NOT NULL
) STRICT;

-- An entry that is in it, or is not, and should be otherwise now.
CREATE TRIGGER saved_no_more AFTER UPDATE OF state ON entry
WHEN old.state <> new.state AND NOT (old.state = 0 AND new.state = 1)
BEGIN
    DELETE FROM saved WHERE document = (SELECT document FROM chain WHERE chain = new.chain) AND arrival >= new.arrival;
END;
