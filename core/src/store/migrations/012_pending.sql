-- Local changes that no entry carries yet, one document's beside each other in the order in which they were made, so that an
-- edit writes one page.

CREATE TABLE local_change (
    -- Its document, times 2^40, and its number among the changes of that document.
    pending       INTEGER PRIMARY KEY,
    stream        INTEGER NOT NULL,
    instance      INTEGER NOT NULL,
    wall_ms       INTEGER NOT NULL,
    change_sealed BLOB NOT NULL
) STRICT;

INSERT INTO local_change
SELECT (document << 40) | pending, stream, instance, wall_ms, change_sealed FROM pending ORDER BY document, pending;
DROP TABLE pending;
ALTER TABLE local_change RENAME TO pending;
