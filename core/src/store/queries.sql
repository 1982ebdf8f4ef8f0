-- name: meta
SELECT value FROM meta WHERE key = ?1;
-- name: set_meta
INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value;
-- name: has_meta
SELECT EXISTS (SELECT 1 FROM meta WHERE key = ?1);
-- name: forget_meta
DELETE FROM meta WHERE key = ?1;

-- name: workspaces
SELECT workspace, id, state, name_sealed, join_sealed, blinding_sealed, life_sealed FROM workspace ORDER BY workspace;
-- name: insert_workspace
INSERT INTO workspace (id, state, name_sealed, join_sealed, blinding_sealed, life_sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6);
-- name: update_workspace
UPDATE workspace SET state = ?2, name_sealed = coalesce(?3, name_sealed), join_sealed = coalesce(?4, join_sealed),
blinding_sealed = coalesce(?5, blinding_sealed) WHERE workspace = ?1;
-- name: forget_all_declarations
DELETE FROM declaration WHERE workspace = ?1;
-- name: forget_all_placed
DELETE FROM placed WHERE chain IN (SELECT chain FROM chain WHERE workspace = ?1);
-- name: forget_all_owed
DELETE FROM owed WHERE workspace = ?1;
-- name: forget_all_placed_records
DELETE FROM placed_record WHERE workspace = ?1;
-- name: forget_all_logs
DELETE FROM log WHERE workspace = ?1;
-- name: forget_all_agreed
DELETE FROM agreed WHERE workspace = ?1;
-- name: forget_successions
DELETE FROM succession WHERE workspace = ?1;
-- name: forget_statuses
DELETE FROM status WHERE workspace = ?1;
-- name: forget_dependencies
DELETE FROM dependency WHERE chain IN (SELECT chain FROM chain WHERE workspace = ?1);
-- name: forget_entries
DELETE FROM entry WHERE chain IN (SELECT chain FROM chain WHERE workspace = ?1);
-- name: forget_pending
DELETE FROM pending WHERE pending >> 40 IN (SELECT document FROM document WHERE workspace = ?1);
-- name: forget_chains
DELETE FROM chain WHERE workspace = ?1;
-- name: forget_evidence
DELETE FROM evidence WHERE workspace = ?1;
-- name: forget_held
DELETE FROM held WHERE workspace = ?1;
-- name: forget_quarantine
DELETE FROM quarantine WHERE workspace = ?1;
-- name: forget_saved
DELETE FROM saved WHERE document IN (SELECT document FROM document WHERE workspace = ?1);
-- name: forget_horizons
DELETE FROM horizon WHERE document IN (SELECT document FROM document WHERE workspace = ?1);
-- name: forget_vouched
DELETE FROM vouched WHERE document IN (SELECT document FROM document WHERE workspace = ?1);
-- name: forget_wanted
DELETE FROM wanted WHERE workspace = ?1;
-- name: forget_partial
DELETE FROM partial WHERE workspace = ?1;
-- name: forget_floors
DELETE FROM floor WHERE workspace = ?1;
-- name: forget_documents
DELETE FROM document WHERE workspace = ?1;
-- name: forget_epochs
DELETE FROM epoch WHERE workspace = ?1;
-- name: forget_attestations
DELETE FROM attestation WHERE workspace = ?1;
-- name: forget_records
DELETE FROM record WHERE workspace = ?1;
-- name: forget_workspace
DELETE FROM workspace WHERE workspace = ?1;
-- name: unsent_entries
SELECT coalesce(sum(head_seq - coalesce(
    (SELECT max(placed.seq) FROM placed WHERE placed.chain = chain.chain), 0)), 0)
FROM chain WHERE workspace = ?1 AND device = ?2;
-- name: is_record_placed
SELECT EXISTS (SELECT 1 FROM placed_record WHERE workspace = ?1 AND hash = ?2);
-- name: insert_record
INSERT INTO record (workspace, id, bytes_sealed) VALUES (?1, ?2, ?3)
ON CONFLICT (workspace, id) DO UPDATE SET bytes_sealed = excluded.bytes_sealed;
-- name: delete_record
DELETE FROM record WHERE workspace = ?1 AND id = ?2;
-- name: records
SELECT id, bytes_sealed FROM record WHERE workspace = ?1 ORDER BY record;
-- name: insert_attestation
INSERT INTO attestation (workspace, hash, bytes) VALUES (?1, ?2, ?3)
ON CONFLICT (workspace, hash) DO UPDATE SET bytes = excluded.bytes;
-- name: attestations
SELECT hash, bytes FROM attestation WHERE workspace = ?1 AND substr(hash, 1, 1) <> x'05';
-- name: attests
SELECT hash, bytes FROM attestation WHERE workspace = ?1 AND substr(hash, 1, 1) = x'05';
-- name: insert_epoch
INSERT INTO epoch (workspace, id, secret_sealed) VALUES (?1, ?2, ?3)
ON CONFLICT (workspace, id) DO UPDATE SET secret_sealed = excluded.secret_sealed;
-- name: epochs
SELECT id, secret_sealed FROM epoch WHERE workspace = ?1;

-- name: document_by_tag
SELECT document, id, about_sealed FROM document WHERE workspace = ?1 AND tag = ?2;
-- name: document_by_id
SELECT document, workspace, tag, about_sealed FROM document WHERE id = ?1;
-- name: documents
SELECT id, about_sealed FROM document WHERE workspace = ?1 AND id IS NOT NULL ORDER BY document;
-- name: insert_document
INSERT INTO document (workspace, tag, id, about_sealed) VALUES (?1, ?2, ?3, ?4);
-- name: describe_document
UPDATE document SET id = ?2, about_sealed = ?3 WHERE document = ?1;

-- name: chain_by_key
SELECT chain, head_seq, head_hash, members_head FROM chain
WHERE document = ?1 AND stream = ?2 AND device = ?3 AND incarnation = ?4;
-- name: chain_by_id
SELECT chain, head_seq, head_hash FROM chain WHERE workspace = ?1 AND id = ?2;
-- name: chain_key
SELECT document.tag, stream, device, incarnation, head_seq, chain.document FROM chain
JOIN document USING (document) WHERE chain = ?1;
-- name: insert_chain
INSERT INTO chain (workspace, document, stream, device, incarnation, id, head_seq, head_hash, members_head)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9);
-- name: insert_branch
INSERT INTO chain (workspace, document, stream, device, incarnation, id, head_seq, head_hash, members_head,
branch_of, floor_seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11);
-- name: branches
SELECT chain, branch_of, floor_seq, document FROM chain INDEXED BY chain_by_branch
WHERE workspace = ?1 AND branch_of IS NOT NULL;
-- name: move_chain
UPDATE chain SET head_seq = ?2, head_hash = ?3, members_head = ?4 WHERE chain = ?1;
-- name: admitted_heads
SELECT document.tag, chain.stream, own.incarnation, entry.seq, entry.hash FROM chain
JOIN document USING (document) JOIN entry USING (chain)
JOIN chain AS own ON own.chain = coalesce(chain.branch_of, chain.chain)
WHERE chain.workspace = ?1 AND chain.device = ?2
  AND entry.seq = (SELECT max(seq) FROM entry AS counted WHERE counted.chain = chain.chain AND counted.state < 2)
ORDER BY document.tag, chain.stream, own.incarnation, entry.seq;
-- name: chains_of_document
SELECT chain, device, head_seq FROM chain WHERE document = ?1 ORDER BY chain;
-- name: grounds_of_document
SELECT chain, (SELECT seq FROM entry WHERE entry.chain = chain.chain AND state < 2 ORDER BY seq DESC LIMIT 1)
FROM chain WHERE document = ?1 AND device <> ?2;
-- name: document_by_row
SELECT workspace, tag, id, about_sealed FROM document WHERE document = ?1;

-- name: insert_entry
INSERT INTO entry (chain, seq, hash, state, bytes) VALUES (?1, ?2, ?3, ?4, ?5);
-- name: entry_hash
SELECT hash FROM entry WHERE chain = ?1 AND seq = ?2;
-- name: entry
SELECT hash, bytes FROM entry WHERE chain = ?1 AND seq = ?2;
-- name: entry_arrival
SELECT arrival FROM entry WHERE chain = ?1 AND seq = ?2;
-- name: replace_entry
INSERT INTO entry (chain, seq, hash, state, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (chain, seq) DO UPDATE SET hash = excluded.hash, state = excluded.state, bytes = excluded.bytes
RETURNING arrival;
-- name: entries_of_chain
SELECT seq, hash, bytes FROM entry WHERE chain = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3;
-- name: entries_of_document
SELECT entry.arrival, entry.chain, entry.seq, entry.state, entry.hash, entry.bytes FROM chain JOIN entry USING (chain)
WHERE chain.document = ?1 AND chain.stream = ?2 AND entry.state <> 2 AND entry.arrival > ?3 ORDER BY entry.arrival;
-- name: entries_above
SELECT entry.arrival, entry.chain, entry.seq, entry.state, entry.hash, entry.bytes FROM entry JOIN chain USING (chain)
WHERE entry.chain = ?1 AND chain.stream = 0 AND entry.state <> 2 AND entry.seq > ?2;
-- name: content_end
SELECT coalesce(max(entry.arrival), 0), count(*) FROM chain JOIN entry USING (chain)
WHERE chain.document = ?1 AND chain.stream = 0 AND entry.state <> 2;
-- name: entries_since_snapshot
SELECT count(*) FROM chain JOIN entry USING (chain)
WHERE chain.document = ?1 AND chain.stream = 0 AND entry.arrival > coalesce((
    SELECT max(other.arrival) FROM chain AS of JOIN entry AS other USING (chain)
    WHERE of.document = ?1 AND of.stream = 0 AND other.state < 2 AND substr(other.bytes, 6, 1) = x'01'), 0);
-- name: is_set_aside
SELECT EXISTS (SELECT 1 FROM quarantine WHERE workspace = ?1 AND hash = ?2 AND reason = ?3);
-- name: snapshots
SELECT entry.chain, entry.seq, entry.hash, entry.bytes FROM chain JOIN entry USING (chain) WHERE chain.document = ?1 AND chain.stream = 0
AND entry.state < 2 AND substr(entry.bytes, 6, 1) = x'01' AND substr(entry.bytes, 8, 1) = x'00'
ORDER BY entry.arrival DESC;
-- name: count_of_epoch
SELECT count(*) FROM chain JOIN entry USING (chain)
WHERE chain.workspace = ?1 AND entry.state < 2 AND substr(entry.bytes, 121, 32) = ?2;
-- name: mark_entry
UPDATE entry SET state = ?2 WHERE arrival = ?1;
-- name: all_pending
SELECT pending, stream, instance, wall_ms, change_sealed FROM pending;

-- name: saved
SELECT arrival, entries, state_sealed FROM saved WHERE document = ?1;
-- name: set_saved
INSERT INTO saved (document, arrival, entries, state_sealed) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (document) DO UPDATE SET arrival = excluded.arrival, entries = excluded.entries, state_sealed = excluded.state_sealed;
-- name: delete_saved
DELETE FROM saved WHERE document = ?1;
-- name: all_saved
SELECT document, arrival, entries, state_sealed FROM saved;
-- name: stored_figures
SELECT coalesce(sum(state < 2), 0), coalesce(sum(length(bytes) * (state < 2)), 0),
coalesce(sum(state >= 2), 0), coalesce(sum(length(bytes) * (state >= 2)), 0),
coalesce(sum(state < 2 AND entry.arrival > coalesce((SELECT saved.arrival FROM saved WHERE saved.document = ?1), 0)), 0),
(SELECT count(*) FROM pending WHERE pending BETWEEN ?1 << 40 AND ((?1 + 1) << 40) - 1 AND stream = ?2),
(SELECT coalesce(sum(length(change_sealed)), 0) FROM pending WHERE pending BETWEEN ?1 << 40 AND ((?1 + 1) << 40) - 1 AND stream = ?2),
(SELECT coalesce(sum(length(state_sealed)), 0) FROM saved WHERE document = ?1)
FROM chain JOIN entry USING (chain) WHERE chain.document = ?1 AND chain.stream = ?2;

-- name: horizon
SELECT chain, seq FROM horizon WHERE document = ?1;
-- name: set_horizon
INSERT INTO horizon (document, chain, seq) VALUES (?1, ?2, ?3)
ON CONFLICT (document) DO UPDATE SET chain = excluded.chain, seq = excluded.seq;
-- name: floor
SELECT document, seq, hash FROM floor WHERE workspace = ?1 AND chain = ?2;
-- name: set_floor
INSERT INTO floor (workspace, chain, document, seq, hash) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (workspace, chain) DO UPDATE SET document = excluded.document, seq = excluded.seq, hash = excluded.hash;
-- name: floors
SELECT chain, seq FROM floor WHERE document = ?1;
-- name: floors_by_row
SELECT chain.chain, floor.seq FROM floor JOIN chain ON chain.workspace = floor.workspace AND chain.id = floor.chain
WHERE floor.document = ?1;
-- name: lifted
SELECT chain.chain, chain.floor_seq FROM floor JOIN chain ON chain.workspace = floor.workspace AND chain.id = floor.chain
WHERE floor.workspace = ?1 AND chain.floor_seq > 0;
-- name: hashes_up_to
SELECT hash FROM entry WHERE chain = ?1 AND seq <= ?2;
-- name: delete_entries_up_to
DELETE FROM entry WHERE chain = ?1 AND seq <= ?2;
-- name: move_declarations
UPDATE declaration SET seq = ?2 + 1 WHERE chain = ?1 AND seq <= ?2;
-- name: release_held_up_to
DELETE FROM held WHERE workspace = (SELECT workspace FROM chain WHERE chain = ?1)
AND chain = (SELECT id FROM chain WHERE chain = ?1) AND seq <= ?2 + 1;
-- name: set_chain_floor
UPDATE chain SET floor_seq = ?2 WHERE chain = ?1;
-- name: vouched
SELECT chain, seq, since_ms FROM vouched WHERE document = ?1;
-- name: set_vouched
INSERT INTO vouched (document, chain, seq, since_ms) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (document) DO UPDATE SET chain = excluded.chain, seq = excluded.seq, since_ms = excluded.since_ms;
-- name: delete_vouched
DELETE FROM vouched WHERE document = ?1;
-- name: longest_vouched
SELECT document, since_ms FROM vouched ORDER BY since_ms;
-- name: is_everywhere
SELECT count(*) > 0 AND coalesce(min(coalesce(placed.seq, 0)), 0) >= ?2 FROM relay
LEFT JOIN placed ON placed.relay = relay.relay AND placed.chain = ?1;

-- name: insert_pending
INSERT INTO pending (pending, stream, instance, wall_ms, change_sealed) VALUES (?1, ?2, ?3, ?4, ?5);
-- name: pending_of_document
SELECT pending, instance, wall_ms, change_sealed FROM pending
WHERE pending BETWEEN max(?3 + 1, ?1 << 40) AND ((?1 + 1) << 40) - 1 AND stream = ?2 ORDER BY pending;
-- name: pending_documents
SELECT DISTINCT document.document, pending.stream FROM pending CROSS JOIN document ON document.document = pending.pending >> 40
WHERE document.workspace = ?1 ORDER BY document.document;
-- name: pending_summary
SELECT count(*), min(wall_ms), max(pending) FROM pending WHERE pending BETWEEN ?1 << 40 AND ((?1 + 1) << 40) - 1;
-- name: delete_pending_row
DELETE FROM pending WHERE pending = ?1;
-- name: delete_pending
DELETE FROM pending WHERE pending BETWEEN ?1 << 40 AND min(?3, ((?1 + 1) << 40) - 1) AND stream = ?2;

-- name: dependencies_since
SELECT coalesce((SELECT own.id FROM chain AS own WHERE own.chain = chain.branch_of), chain.id),
chain.chain, entry.seq, entry.hash FROM chain
LEFT JOIN dependency ON dependency.chain = ?1 AND dependency.other = chain.chain
CROSS JOIN entry
WHERE chain.document = ?2 AND chain.stream = ?3 AND chain.chain <> ?1
AND chain.head_seq > coalesce(dependency.seq, 0)
AND entry.chain = chain.chain AND entry.seq > coalesce(dependency.seq, 0) AND entry.seq =
    (SELECT max(seq) FROM entry AS counted WHERE counted.chain = chain.chain AND counted.state < 2)
ORDER BY chain.chain;
-- name: set_dependency
INSERT INTO dependency (chain, other, seq) VALUES (?1, ?2, ?3)
ON CONFLICT (chain, other) DO UPDATE SET seq = excluded.seq;

-- name: hold
INSERT INTO held (workspace, document, chain, seq, hash, reason, since_ms, bytes)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (workspace, hash) DO UPDATE
SET reason = excluded.reason, since_ms = excluded.since_ms, bytes = excluded.bytes WHERE reason = 2 AND excluded.reason <> 2;
-- name: held_bytes
SELECT coalesce(sum(length(bytes)), 0) FROM held WHERE workspace = ?1 AND document = ?2;
-- name: held_successor
SELECT held, hash, bytes FROM held WHERE workspace = ?1 AND chain = ?2 AND seq = ?3 AND reason = ?4
ORDER BY held LIMIT 1;
-- name: held_for_reason
SELECT held, seq, hash, bytes FROM held WHERE workspace = ?1 AND reason = ?2 ORDER BY seq;
-- name: held_places
SELECT held, chain, seq, hash, since_ms FROM held WHERE workspace = ?1 AND reason = ?2 ORDER BY held;
-- name: held_by_reason
SELECT reason, count(*) FROM held WHERE workspace = ?1 AND reason <> 2 GROUP BY reason ORDER BY reason;
-- name: holds_any
SELECT EXISTS (SELECT 1 FROM held WHERE workspace = ?1);
-- name: documents_of_held
SELECT DISTINCT document FROM held WHERE workspace = ?1 AND reason = ?2;
-- name: release_of_document
DELETE FROM held WHERE workspace = ?1 AND reason = ?2 AND document = ?3;
-- name: release_held
DELETE FROM held WHERE held = ?1;

-- name: quarantine
INSERT INTO quarantine (workspace, document, device, seq, hash, reason, since_ms, bytes)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING;
-- name: release_quarantined
DELETE FROM quarantine WHERE workspace = ?1 AND hash = ?2 AND reason = ?3;
-- name: release_struck
DELETE FROM quarantine WHERE workspace = ?1 AND hash = ?2 AND reason IN (13, 31, 32);
-- name: struck
SELECT chain.document, entry.hash,
coalesce((SELECT own.id FROM chain AS own WHERE own.chain = chain.branch_of), chain.id), quarantine.reason FROM quarantine
JOIN document ON document.workspace = quarantine.workspace AND document.tag = quarantine.document
JOIN chain ON chain.document = document.document AND chain.device = quarantine.device
JOIN entry ON entry.chain = chain.chain AND entry.seq = quarantine.seq AND entry.hash = quarantine.hash
WHERE quarantine.workspace = ?1 AND quarantine.reason IN (13, 31, 32);
-- name: chains_of_device
SELECT chain, document, head_seq FROM chain WHERE workspace = ?1 AND device = ?2 ORDER BY chain;
-- name: document_of_entry
SELECT chain.document FROM entry JOIN chain USING (chain)
WHERE substr(entry.hash, 1, 8) = substr(?2, 1, 8) AND entry.hash = ?2 AND chain.workspace = ?1;
-- name: quarantined_places
SELECT chain.chain, entry.seq FROM quarantine
JOIN document ON document.workspace = quarantine.workspace AND document.tag = quarantine.document
JOIN chain ON chain.document = document.document AND chain.device = quarantine.device
JOIN entry ON entry.chain = chain.chain AND entry.seq = quarantine.seq AND entry.hash = quarantine.hash
WHERE quarantine.workspace = ?1 AND quarantine.reason = ?2;
-- name: quarantined
SELECT document, device, seq, hash, reason, since_ms FROM quarantine WHERE workspace = ?1 ORDER BY quarantine;

-- name: relays
SELECT relay, address, key, allow_proxy, token_sealed FROM relay ORDER BY relay;
-- name: insert_relay
INSERT INTO relay (address, key, allow_proxy, token_sealed) VALUES (?1, NULL, ?2, ?3)
ON CONFLICT (address) DO UPDATE SET allow_proxy = excluded.allow_proxy,
token_sealed = coalesce(excluded.token_sealed, token_sealed)
RETURNING relay;
-- name: set_relay_key
UPDATE relay SET key = ?2 WHERE relay = ?1;
-- name: await_succession
INSERT INTO succession (relay, workspace, old) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING;
-- name: awaited_successions
SELECT old FROM succession WHERE relay = ?1 AND workspace = ?2 ORDER BY old;
-- name: end_succession
DELETE FROM succession WHERE relay = ?1 AND workspace = ?2 AND old = ?3;
-- name: log
SELECT id, frontier, receipt, wanted FROM log WHERE relay = ?1 AND workspace = ?2;
-- name: set_log
INSERT INTO log (relay, workspace, id, frontier, receipt, wanted) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (relay, workspace) DO UPDATE SET id = excluded.id, frontier = excluded.frontier,
receipt = coalesce(excluded.receipt, receipt), wanted = excluded.wanted;
-- name: rename_wanted
UPDATE log SET wanted = ?3 WHERE workspace = ?1 AND wanted IS ?2;
-- name: doubt_wanted
UPDATE log SET wanted = ?2 WHERE workspace = ?1;
-- name: is_partial
SELECT 1 FROM partial WHERE workspace = ?1;
-- name: set_partial
INSERT INTO partial (workspace) VALUES (?1);
-- name: wanted
SELECT document FROM wanted WHERE workspace = ?1 ORDER BY document;
-- name: insert_wanted
INSERT INTO wanted (workspace, document) VALUES (?1, ?2) ON CONFLICT DO NOTHING;
-- name: chains_with_documents
SELECT chain.id, document.tag FROM chain JOIN document USING (document) WHERE chain.workspace = ?1;
-- name: forget_agreed_of
DELETE FROM agreed WHERE workspace = ?1 AND device = ?2;
-- name: forget_log
DELETE FROM log WHERE relay = ?1 AND workspace = ?2;
-- name: forget_placed
DELETE FROM placed WHERE relay = ?1 AND chain IN (SELECT chain FROM chain WHERE workspace = ?2);
-- name: forget_placed_records
DELETE FROM placed_record WHERE relay = ?1 AND workspace = ?2;
-- name: forget_declarations
DELETE FROM declaration WHERE relay = ?1 AND workspace = ?2;
-- name: forget_agreed
DELETE FROM agreed WHERE relay = ?1 AND workspace = ?2;
-- name: place
INSERT INTO placed (relay, chain, seq, position) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (relay, chain) DO UPDATE SET seq = excluded.seq, position = excluded.position
WHERE excluded.seq > seq;
-- name: unplace
UPDATE placed SET seq = min(seq, ?3) WHERE relay = ?1 AND chain = ?2;
-- name: placed
SELECT seq, position FROM placed WHERE relay = ?1 AND chain = ?2;
-- name: unplaced_chains
SELECT owed.chain, coalesce(placed.seq, chain.floor_seq), chain.head_seq, chain.device FROM owed CROSS JOIN chain USING (chain)
LEFT JOIN placed ON placed.relay = owed.relay AND placed.chain = owed.chain
WHERE owed.relay = ?1 AND owed.workspace = ?2 ORDER BY owed.chain;
-- name: all_chains
SELECT chain, floor_seq, head_seq, device FROM chain WHERE workspace = ?1 ORDER BY chain;
-- name: last_admitted
SELECT coalesce(max(seq), 0) FROM entry WHERE chain = ?1 AND seq > ?2 AND state < 2;
-- name: contradicts_owed
SELECT EXISTS (SELECT 1 FROM owed LEFT JOIN relay USING (relay)
LEFT JOIN chain ON chain.chain = owed.chain AND chain.workspace = owed.workspace
LEFT JOIN placed ON placed.relay = owed.relay AND placed.chain = owed.chain
WHERE relay.relay IS NULL OR chain.chain IS NULL OR chain.head_seq <= coalesce(placed.seq, 0));
-- name: forget_owed
DELETE FROM owed;
-- name: find_owed
INSERT INTO owed SELECT relay, workspace, chain FROM lacking;
-- name: place_record
INSERT INTO placed_record (relay, workspace, hash) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING;
-- name: placed_records
SELECT hash FROM placed_record WHERE relay = ?1 AND workspace = ?2;
-- name: declare
INSERT INTO declaration (relay, workspace, position, chain, seq) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT DO NOTHING;
-- name: declaration_at
SELECT chain, seq FROM declaration WHERE relay = ?1 AND workspace = ?2 AND position = ?3;
-- name: declaration_of_chain
SELECT position, seq FROM declaration WHERE relay = ?1 AND chain = ?2 ORDER BY position DESC LIMIT 1;

-- name: set_status
INSERT INTO status (workspace, device, nth, row) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (workspace, device) DO UPDATE SET nth = excluded.nth, row = excluded.row
WHERE excluded.nth > nth;
-- name: forget_status
DELETE FROM status WHERE workspace = ?1 AND device = ?2;
-- name: agree
INSERT INTO agreed (relay, workspace, device, position) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (relay, workspace, device) DO UPDATE SET position = excluded.position WHERE excluded.position > position;
-- name: agreed
SELECT position FROM agreed WHERE relay = ?1 AND workspace = ?2 AND device = ?3;
-- name: statuses
SELECT device, nth, row FROM status WHERE workspace = ?1 ORDER BY device;
-- name: undescribed_documents
SELECT document, tag FROM document WHERE workspace = ?1 AND id IS NULL ORDER BY document;

-- name: insert_evidence
INSERT INTO evidence (workspace, relay, log, position, kind, ours, theirs, since_ms)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE (SELECT count(*) FROM evidence WHERE workspace = ?1) < ?9
ON CONFLICT DO NOTHING;
-- name: evidence
SELECT relay, log, position, kind, ours, theirs, since_ms FROM evidence WHERE workspace = ?1 ORDER BY evidence;
-- name: strange_workspaces
SELECT count(*) FROM workspace WHERE state NOT IN (0, 1, 2, 3, 4, 5) OR (state NOT IN (1, 5) AND join_sealed IS NULL);
-- name: strange_chains
SELECT count(*) FROM chain JOIN document USING (document) WHERE chain.workspace <> document.workspace
OR head_seq IS NOT (SELECT max(seq) FROM entry WHERE entry.chain = chain.chain)
OR head_seq - floor_seq IS NOT (SELECT count(*) FROM entry WHERE entry.chain = chain.chain)
OR (branch_of IS NULL AND floor_seq <> 0 AND NOT EXISTS (SELECT 1 FROM floor
    WHERE floor.workspace = chain.workspace AND floor.chain = chain.id AND floor.seq >= chain.floor_seq + 1))
OR head_hash IS NOT (SELECT hash FROM entry WHERE entry.chain = chain.chain AND entry.seq = chain.head_seq);
-- name: strange_entries
SELECT count(*) FROM entry JOIN chain USING (chain) WHERE entry.state NOT IN (0, 1, 2, 3)
OR (entry.state = 3) IS NOT EXISTS (SELECT 1 FROM quarantine
    WHERE quarantine.workspace = chain.workspace AND quarantine.hash = entry.hash AND quarantine.reason IN (13, 31, 32))
    AND entry.state <> 2
OR (entry.state = 2 AND NOT EXISTS (SELECT 1 FROM quarantine
    WHERE quarantine.workspace = chain.workspace AND quarantine.hash = entry.hash))
OR (entry.state <> 2 AND EXISTS (SELECT 1 FROM quarantine
    WHERE quarantine.workspace = chain.workspace AND quarantine.hash = entry.hash
    AND quarantine.reason IN (9, 10, 11, 12, 17, 19, 20, 28)));
-- name: strange_dependencies
SELECT count(*) FROM dependency JOIN chain ON chain.chain = dependency.other
WHERE dependency.seq < 1 OR dependency.seq > chain.head_seq;
-- name: strange_placed
SELECT count(*) FROM placed JOIN chain USING (chain)
WHERE placed.seq < 0 OR placed.seq > chain.head_seq OR placed.position < 0;
-- name: strange_owed
SELECT (SELECT count(*) FROM (SELECT relay, workspace, chain FROM lacking EXCEPT SELECT relay, workspace, chain FROM owed))
+ (SELECT count(*) FROM (SELECT relay, workspace, chain FROM owed EXCEPT SELECT relay, workspace, chain FROM lacking));
-- name: strange_declarations
SELECT count(*) FROM declaration LEFT JOIN entry USING (chain, seq)
WHERE entry.arrival IS NULL OR declaration.position < 1;
-- name: strange_saved
SELECT count(*) FROM saved WHERE entries IS NOT (SELECT count(*) FROM chain JOIN entry USING (chain)
WHERE chain.document = saved.document AND chain.stream = 0 AND entry.state < 2 AND entry.arrival <= saved.arrival);
-- name: documents_to_check
SELECT workspace, tag, id FROM document;
-- name: chains_to_check
SELECT document.tag, stream, device, incarnation, chain.id, members_head, entry.bytes FROM chain
JOIN document USING (document) LEFT JOIN entry ON entry.chain = chain.chain AND entry.seq = chain.head_seq;
-- name: entries_to_check
SELECT chain.workspace, chain.id, entry.seq, entry.hash, entry.bytes, entry.chain FROM entry JOIN chain USING (chain);
-- name: held_to_check
SELECT document, chain, NULL, seq, hash, reason, bytes FROM held;
-- name: quarantine_to_check
SELECT document, NULL, device, seq, hash, reason,
CASE WHEN reason NOT IN (13, 31, 32) OR length(bytes) > 0 THEN bytes ELSE coalesce(
    (SELECT entry.bytes FROM document JOIN chain USING (document) JOIN entry USING (chain)
     WHERE document.workspace = quarantine.workspace AND document.tag = quarantine.document
     AND chain.device = quarantine.device AND entry.seq = quarantine.seq AND entry.hash = quarantine.hash), x'') END
FROM quarantine;
-- name: logs_to_check
SELECT relay.key, log.workspace, log.id, log.frontier, log.receipt FROM log JOIN relay USING (relay);
-- name: statuses_to_check
SELECT workspace, device, nth, row FROM status;
