-- What this device's chains in a workspace differ by from those of an earlier stay in it: drawn when it is
-- joined, none where it was founded or joined before this layout.

ALTER TABLE workspace ADD COLUMN life_sealed BLOB;
