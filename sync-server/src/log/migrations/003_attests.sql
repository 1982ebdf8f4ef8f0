-- Members' words on snapshots (kind 5) are read with the records when a workspace is loaded.
DROP INDEX item_of_membership;
CREATE INDEX item_of_membership ON item (place) WHERE kind IN (1, 2, 5);
