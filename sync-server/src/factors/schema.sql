-- Second factors; a secret is sealed under a key that follows from the relay's.
CREATE TABLE IF NOT EXISTS totp (
    user             BLOB PRIMARY KEY,
    secret           BLOB NOT NULL,     -- nonce and ciphertext
    used_step        INTEGER NOT NULL,  -- the newest step whose code was taken
    wrong            INTEGER NOT NULL,  -- wrong codes since the last right one
    blocked_until_ms INTEGER NOT NULL,
    enrolled_ms      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who a user is at a login provider.
CREATE TABLE IF NOT EXISTS login (
    user        BLOB NOT NULL,
    issuer      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    enrolled_ms INTEGER NOT NULL,
    PRIMARY KEY (user, issuer)
) STRICT, WITHOUT ROWID;
