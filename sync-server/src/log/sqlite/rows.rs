//! From rows to values and back.
//!
//! Invariant: `place` and `position_of` are inverse for positions below 2^40; a blob of the wrong
//! length is an error and never a panic.

use rusqlite::types::Type;
use rusqlite::{CachedStatement, Row as SqlRow, params};
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{
    ChainId, ChainKey, DeviceId, DocumentTag, EntryHash, Incarnation, LogId, RecordId, Stream, WorkspaceId,
};
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::log::Frontier;

use crate::log::{ChainEnd, ChainItem, ChainRow, Floor, Row, WorkspaceRow};

const POSITION_BITS: u32 = 40;

/// The greatest position of a log: a million items a second for twelve days, in one workspace.
pub(super) const LAST_POSITION: u64 = (1 << POSITION_BITS) - 1;

/// Returns where an item of a workspace stands in the table of all items.
pub(super) fn place(row: Row, position: u64) -> i64 {
    (i64::from(row) << POSITION_BITS) | (position.min(LAST_POSITION) as i64)
}

/// Returns the position from a place.
pub(super) fn position_of(place: i64) -> u64 {
    (place as u64) & LAST_POSITION
}

/// Fits an unsigned number into SQLite's integers.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn digest(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Digest> {
    row.get(column)
}

pub(super) fn workspace(row: &SqlRow<'_>) -> rusqlite::Result<WorkspaceRow> {
    let frontier: Vec<u8> = row.get(3)?;
    let frontier = Frontier::decode(&frontier)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, Type::Blob, Box::new(error)))?;
    Ok(WorkspaceRow {
        row: row.get(0)?,
        workspace: WorkspaceId::from_bytes(row.get(1)?),
        log: LogId::from_bytes(row.get(2)?),
        frontier,
        bytes: unsigned(row, 4)?,
        pruned: unsigned(row, 5)?,
    })
}

pub(super) fn chain(row: &SqlRow<'_>) -> rusqlite::Result<ChainRow> {
    Ok(ChainRow {
        key: ChainKey {
            document: DocumentTag::from_bytes(row.get(1)?),
            stream: Stream(row.get(2)?),
            device: DeviceId::from_bytes(row.get(3)?),
            incarnation: Incarnation(row.get::<_, i64>(4)? as u64),
        },
        seq: unsigned(row, 5)?,
        hash: EntryHash::from_bytes(row.get(6)?),
        members_head: RecordId::from_bytes(row.get(7)?),
        declared_at: unsigned(row, 8)?,
        declared_seq: unsigned(row, 9)?,
    })
}

pub(super) fn chain_end(row: &SqlRow<'_>) -> rusqlite::Result<ChainEnd> {
    Ok(ChainEnd {
        chain: ChainId::from_bytes(row.get(0)?),
        seq: unsigned(row, 1)?,
        hash: EntryHash::from_bytes(row.get(2)?),
        declared_at: unsigned(row, 3)?,
        declared_seq: unsigned(row, 4)?,
    })
}

pub(super) fn chain_item(row: &SqlRow<'_>) -> rusqlite::Result<ChainItem> {
    Ok(ChainItem {
        position: position_of(row.get(0)?),
        seq: unsigned(row, 1)?,
        hash: EntryHash::from_bytes(row.get(2)?),
        bytes: row.get(3)?,
    })
}

pub(super) fn floor(row: &SqlRow<'_>) -> rusqlite::Result<Floor> {
    Ok(Floor {
        seq: unsigned(row, 0)?,
        snapshot: ChainId::from_bytes(row.get(1)?),
        from_seq: unsigned(row, 2)?,
        to_seq: unsigned(row, 3)?,
    })
}

/// Reads place and name of an item, and the document that it belongs to.
pub(super) fn item_document(row: &SqlRow<'_>) -> rusqlite::Result<(i64, ItemHash, Option<DocumentTag>)> {
    let hash = digest(row, 2)?;
    let hash = match row.get::<_, i64>(1)? {
        1 => ItemHash::Record(RecordId::from_bytes(hash)),
        2 => ItemHash::Attestation(hash),
        5 => ItemHash::Attest(hash),
        _ => ItemHash::Entry(EntryHash::from_bytes(hash)),
    };
    Ok((row.get(0)?, hash, row.get::<_, Option<_>>(3)?.map(DocumentTag::from_bytes)))
}

pub(super) fn upsert_chain(statement: &mut CachedStatement<'_>, row: Row, chain: &ChainRow) -> rusqlite::Result<()> {
    statement.execute(params![
        row,
        chain.key.id().as_bytes(),
        chain.key.document.as_bytes(),
        chain.key.stream.0,
        chain.key.device.as_bytes(),
        chain.key.incarnation.0 as i64,
        integer(chain.seq),
        chain.hash.as_bytes(),
        chain.members_head.as_bytes(),
        integer(chain.declared_at),
        integer(chain.declared_seq),
    ])?;
    Ok(())
}

pub(super) fn unsigned(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|value| value.max(0) as u64)
}
