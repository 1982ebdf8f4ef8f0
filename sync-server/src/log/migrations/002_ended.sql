-- Whether a device may be a member still: 0 its user was removed, 1 it may, 2 it was given up.
ALTER TABLE device ADD COLUMN standing INTEGER NOT NULL DEFAULT 1;
