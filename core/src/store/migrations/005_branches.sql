-- A second branch of a chain, which its author's device wrote into places that were taken, is kept as a chain
-- of its own: whose branch it is, and the seq behind which it begins.

ALTER TABLE chain ADD COLUMN branch_of INTEGER REFERENCES chain;
ALTER TABLE chain ADD COLUMN floor_seq INTEGER NOT NULL DEFAULT 0;

-- Where an entry stands that an admin has judged.
CREATE INDEX entry_by_hash ON entry (substr(hash, 1, 8));
