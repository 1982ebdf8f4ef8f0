//! Reading a log for who asks for some documents only.
//!
//! Invariant: each position of a range is told of, by its item or by its name alone.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use tombolo_protocol::limits::ITEMS_PER_FRAME_MAX;

use super::rows::{self, place};
use crate::log::{ChainEnd, Listed, Row, Told, Wants};

pub(super) fn items_wanted(
    connection: &Connection,
    row: Row,
    positions: (u64, u64),
    wants: &Wants<'_>,
    bytes_max: usize,
) -> rusqlite::Result<Vec<Told>> {
    let mut statement = connection.prepare_cached(include_str!("../sql/item_documents.sql"))?;
    let mut bytes_at = connection.prepare_cached(include_str!("../sql/item_at.sql"))?;
    let mut found = statement.query([place(row, positions.0), place(row, positions.1)])?;
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let (place, hash, document) = rows::item_document(row)?;
        let item: Option<Vec<u8>> = match wants(document.as_ref()) {
            true => Some(bytes_at.query_row([place], |row| row.get(0))?),
            false => None,
        };
        bytes += item.as_ref().map_or(0, Vec::len);
        if !items.is_empty() && (bytes > bytes_max || items.len() >= ITEMS_PER_FRAME_MAX) {
            break;
        }
        items.push((hash, item));
    }
    Ok(items)
}

/// Returns the ends of some chains, or of all.
pub(super) fn chain_ends(
    connection: &Connection,
    row: Row,
    listed: Option<&Listed>,
) -> rusqlite::Result<Vec<ChainEnd>> {
    let Some(listed) = listed else {
        let mut statement = connection.prepare_cached(include_str!("../sql/chain_summary.sql"))?;
        return statement.query_map([row], rows::chain_end)?.collect();
    };
    let mut chains = BTreeMap::new();
    let mut of_document = connection.prepare_cached(include_str!("../sql/chain_summary_of.sql"))?;
    for document in &listed.documents {
        for end in of_document.query_map(params![row, document.as_bytes()], rows::chain_end)? {
            let end = end?;
            chains.insert(end.chain, end);
        }
    }
    let mut named = connection.prepare_cached(include_str!("../sql/chain_summary_named.sql"))?;
    for chain in &listed.chains {
        if let Some(end) = named.query_row(params![row, chain.as_bytes()], rows::chain_end).optional()? {
            chains.insert(end.chain, end);
        }
    }
    Ok(chains.into_values().collect())
}
