//! Each write of a commit, inside its transaction.
//!
//! Invariant: nothing is written outside the transaction that is handed in.

use rusqlite::{Transaction, params};
use tombolo_protocol::ids::{LogId, WorkspaceId};
use tombolo_protocol::log::Frontier;

use super::pack::pack;
use super::rows::{self, LAST_POSITION, place};
use crate::log::{AppendWrite, Cut, Floor, NewItem, Row, SweptWrite, TakenFloor, Write};

pub(super) fn perform(transaction: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    match write {
        Write::Create { row, workspace, log } => create(transaction, *row, workspace, log),
        Write::Reset { .. } => reset(transaction, write),
        Write::Append(write) => append(transaction, write),
        Write::Ended { row, devices } => {
            let mut end = transaction.prepare_cached(include_str!("../sql/device_end.sql"))?;
            for (device, revoked) in devices {
                let standing = if *revoked { 2 } else { 0 };
                end.execute(params![device.as_bytes(), row, standing])?;
            }
            Ok(())
        }
        Write::Status { row, device, nth, bytes } => {
            transaction.execute(
                include_str!("../sql/status_upsert.sql"),
                params![row, device.as_bytes(), rows::integer(*nth), bytes],
            )?;
            Ok(())
        }
        Write::Swept(swept) => sweep(transaction, swept),
        Write::Probe { time_ms, filler_bytes } => {
            let values = params![time_ms, rows::integer(*filler_bytes)];
            transaction.execute(include_str!("../sql/probe_write.sql"), values)?;
            Ok(())
        }
    }
}

fn create(transaction: &Transaction<'_>, row: Row, workspace: &WorkspaceId, log: &LogId) -> rusqlite::Result<()> {
    let (tag, frontier) = (workspace.tag(), Frontier::new().encode());
    transaction.execute(
        include_str!("../sql/workspace_insert.sql"),
        params![row, tag.as_bytes(), workspace.as_bytes(), log.as_bytes(), frontier],
    )?;
    Ok(())
}

fn reset(transaction: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    let Write::Reset { row, old_log, new_log, head, statement } = write else {
        return Ok(());
    };
    transaction.execute(include_str!("../sql/workspace_reset.sql"), params![row, new_log.as_bytes()])?;
    transaction.execute(include_str!("../sql/item_clear_heads.sql"), [place(*row, 0), place(*row, LAST_POSITION)])?;
    transaction.execute(include_str!("../sql/item_set_head.sql"), params![place(*row, head.0), head.1])?;
    transaction.execute(include_str!("../sql/reset_insert.sql"), params![row, old_log.as_bytes(), statement])?;
    Ok(())
}

fn append(transaction: &Transaction<'_>, append: &AppendWrite) -> rusqlite::Result<()> {
    let bytes = insert_items(transaction, append.row, &append.items)?;
    if !append.items.is_empty() {
        let end = place(append.row, append.frontier.length());
        transaction.prepare_cached(include_str!("../sql/item_set_head.sql"))?.execute(params![end, append.head])?;
        transaction.prepare_cached(include_str!("../sql/workspace_advance.sql"))?.execute(params![
            append.row,
            append.frontier.encode(),
            bytes
        ])?;
    }
    let mut upsert = transaction.prepare_cached(include_str!("../sql/chain_upsert.sql"))?;
    for chain in &append.chains {
        rows::upsert_chain(&mut upsert, append.row, chain)?;
    }
    for taken in &append.floors {
        set_floor(transaction, append.row, taken)?;
    }
    if !append.floors.is_empty() {
        // Nobody goes on from below: who comes with an older cursor compares.
        let end = rows::integer(append.frontier.length());
        transaction.execute(include_str!("../sql/workspace_pruned.sql"), params![append.row, 0, end])?;
    }
    let mut insert = transaction.prepare_cached(include_str!("../sql/device_insert.sql"))?;
    for member in &append.members {
        insert.execute(params![member, append.row])?;
    }
    Ok(())
}

fn sweep(transaction: &Transaction<'_>, swept: &SweptWrite) -> rusqlite::Result<()> {
    for found in &swept.found {
        let mut insert = transaction.prepare_cached(include_str!("../sql/vouched_insert.sql"))?;
        insert.execute(params![swept.row, found.as_bytes(), swept.since_ms])?;
    }
    for lost in &swept.lost {
        let mut delete = transaction.prepare_cached(include_str!("../sql/vouched_delete.sql"))?;
        delete.execute(params![swept.row, lost.as_bytes()])?;
    }
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    for Cut { chain, document, floor, kept } in &swept.cuts {
        let below = params![swept.row, chain.as_bytes(), rows::integer(floor.seq), place(swept.row, *kept)];
        let mut prune = transaction.prepare_cached(include_str!("../sql/item_prune.sql"))?;
        let mut pruned = prune.query(below)?;
        while let Some(row) = pruned.next()? {
            let place = row.get(0)?;
            (first, last) = (first.min(place), last.max(place));
        }
        let (chain, document, floor) = (*chain, *document, *floor);
        set_floor(transaction, swept.row, &TakenFloor { chain, document, floor })?;
    }
    if first <= last {
        pack(transaction, first, last)?;
    }
    if swept.pruned > 0 {
        let (freed, pruned) = (rows::integer(swept.freed_bytes), rows::integer(swept.pruned));
        transaction.execute(include_str!("../sql/workspace_pruned.sql"), params![swept.row, freed, pruned])?;
    }
    Ok(())
}

fn set_floor(transaction: &Transaction<'_>, row: Row, taken: &TakenFloor) -> rusqlite::Result<()> {
    let TakenFloor { chain, document, floor: Floor { seq, snapshot, from_seq, to_seq } } = taken;
    let (seq, from_seq, to_seq) = (rows::integer(*seq), rows::integer(*from_seq), rows::integer(*to_seq));
    let (chain, document, snapshot) = (chain.as_bytes(), document.as_bytes(), snapshot.as_bytes());
    let mut upsert = transaction.prepare_cached(include_str!("../sql/floor_upsert.sql"))?;
    upsert.execute(params![row, chain, document, seq, snapshot, from_seq, to_seq])?;
    Ok(())
}

/// Writes items, and returns how many bytes they have.
fn insert_items(transaction: &Transaction<'_>, row: Row, items: &[NewItem]) -> rusqlite::Result<i64> {
    let mut insert = transaction.prepare_cached(include_str!("../sql/item_insert.sql"))?;
    let mut bytes = 0;
    for item in items {
        let kind = item.bytes.first().copied().unwrap_or_default();
        let chain = item.chain.as_ref().map(|(chain, _)| chain.as_bytes());
        let seq = item.chain.map(|(_, seq)| rows::integer(seq));
        let place = place(row, item.position);
        insert.execute(params![place, kind, item.hash.digest(), chain, seq, item.bytes])?;
        bytes += item.bytes.len() as i64;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::SqliteLog;

    /// A list in the condition of an index had SQLite make one for every item: a sixth of what an item took.
    #[test]
    fn an_item_is_inserted_without_a_table_that_is_made_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.sqlite");
        drop(SqliteLog::open(&path).unwrap());
        let connection = rusqlite::Connection::open(&path).unwrap();
        let explain = format!("EXPLAIN {}", include_str!("../sql/item_insert.sql"));
        let mut steps = connection.prepare(&explain).unwrap();
        let nothing = rusqlite::params![None::<i64>, None::<i64>, None::<i64>, None::<i64>, None::<i64>, None::<i64>];
        let steps = steps.query_map(nothing, |row| row.get::<_, String>(1)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        assert!(steps.iter().any(|step| step == "IdxInsert"), "{steps:?}");
        assert!(!steps.iter().any(|step| step == "OpenEphemeral"), "{steps:?}");
    }
}
