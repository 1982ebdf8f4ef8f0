-- Members' words on one snapshot: its name stands behind the kind of the item, a magic number and the workspace.
CREATE INDEX item_of_words ON item (substr(bytes, 38, 32), place) WHERE kind = 5;
