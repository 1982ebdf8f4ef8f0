-- The chains of which a relay's log holds less than this device. The triggers keep it as chains grow and as relays say what
-- they hold, so that what is owed is found by what has changed, and nobody looks through all chains for the few.

CREATE TABLE owed (
    -- No references: for each chain that is forgotten all this would be looked through, and a row that the disk has
    -- changed must not stand in the way when this is made anew.
    relay     INTEGER NOT NULL,
    workspace INTEGER NOT NULL,
    chain     INTEGER NOT NULL,
    PRIMARY KEY (relay, workspace, chain)
) STRICT, WITHOUT ROWID;

-- What it must hold, as chains and what is placed of them say.
CREATE VIEW lacking AS
SELECT relay.relay, chain.workspace, chain.chain FROM chain CROSS JOIN relay
LEFT JOIN placed ON placed.relay = relay.relay AND placed.chain = chain.chain
WHERE chain.head_seq > coalesce(placed.seq, 0);

INSERT INTO owed SELECT relay, workspace, chain FROM lacking;

CREATE TRIGGER owed_for_relay AFTER INSERT ON relay BEGIN
    INSERT INTO owed SELECT relay, workspace, chain FROM lacking WHERE relay = new.relay ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER owed_from_start AFTER INSERT ON chain BEGIN
    INSERT INTO owed SELECT relay, new.workspace, new.chain FROM relay WHERE true ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER owed_by_growth AFTER UPDATE OF head_seq ON chain WHEN new.head_seq > old.head_seq BEGIN
    INSERT INTO owed SELECT relay, workspace, chain FROM lacking WHERE chain = new.chain ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER owed_till_placed AFTER INSERT ON placed BEGIN
    DELETE FROM owed WHERE relay = new.relay AND chain = new.chain
    AND workspace = (SELECT workspace FROM chain WHERE chain = new.chain AND head_seq <= new.seq);
END;

CREATE TRIGGER owed_till_all_placed AFTER UPDATE OF seq ON placed WHEN new.seq > old.seq BEGIN
    DELETE FROM owed WHERE relay = new.relay AND chain = new.chain
    AND workspace = (SELECT workspace FROM chain WHERE chain = new.chain AND head_seq <= new.seq);
END;

CREATE TRIGGER owed_since_less_placed AFTER UPDATE OF seq ON placed WHEN new.seq < old.seq BEGIN
    INSERT INTO owed SELECT relay, workspace, chain FROM lacking WHERE relay = new.relay AND chain = new.chain
    ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER owed_since_unplaced AFTER DELETE ON placed BEGIN
    INSERT INTO owed SELECT relay, workspace, chain FROM lacking WHERE relay = old.relay AND chain = old.chain
    ON CONFLICT DO NOTHING;
END;

-- The few chains that are branches: to find them, and for each chain that is forgotten to see that it has none.
CREATE INDEX chain_by_branch ON chain (branch_of) WHERE branch_of IS NOT NULL;

-- A workspace's documents in the order in which they came, to list them without sorting all.
CREATE INDEX document_by_workspace ON document (workspace) WHERE id IS NOT NULL;
