//! The entries that a document is built of, as rows.
//!
//! Invariant: what the disk has changed has a row and no entry; what is set aside for good has none here.

use std::collections::BTreeMap;

use rusqlite::Row;
use tombolo_protocol::entry::Entry;

use super::entries::intact;
use super::sql::sql;
use super::{EntryState, StoreError, Tx};

/// A stored entry as its document is built from it.
pub(crate) struct EntryRow {
    pub(crate) arrival: i64,
    pub(crate) chain: i64,
    pub(crate) seq: u64,
    pub(crate) state: EntryState,
    /// The entry, unless the disk has changed it.
    pub(crate) entry: Option<Entry>,
}

impl Tx<'_> {
    /// Calls `each` for every entry of a document stream that is not quarantined, in order of arrival, behind
    /// the given one.
    pub(crate) fn entries_of_document(
        &self,
        document: i64,
        stream: u8,
        after: i64,
        mut each: impl FnMut(EntryRow),
    ) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("entries_of_document"))?;
        let mut rows = statement.query((document, stream, after))?;
        while let Some(row) = rows.next()? {
            each(read(row)?);
        }
        Ok(())
    }

    /// Returns the entries of a document's content that stand above a place of their chain, or in one without, in order
    /// of arrival.
    pub(crate) fn entries_above(
        &self,
        document: i64,
        floors: &BTreeMap<i64, u64>,
    ) -> Result<Vec<EntryRow>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("entries_above"))?;
        let mut entries = Vec::new();
        for (chain, _, _) in self.chains_of_document(document)? {
            let floor = floors.get(&chain).copied().unwrap_or(0);
            let mut rows = statement.query((chain, floor.cast_signed()))?;
            while let Some(row) = rows.next()? {
                entries.push(read(row)?);
            }
        }
        entries.sort_unstable_by_key(|entry| entry.arrival);
        Ok(entries)
    }

    /// Returns the last arrival among the entries of a document's content, and how many there are.
    pub(crate) fn content_end(&self, document: i64) -> Result<(i64, u64), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("content_end"))?;
        Ok(statement.query_row([document], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<EntryRow> {
    let seq = row.get::<_, i64>(2)?.cast_unsigned();
    let (hash, bytes): (Vec<u8>, Vec<u8>) = (row.get(4)?, row.get(5)?);
    Ok(EntryRow {
        arrival: row.get(0)?,
        chain: row.get(1)?,
        seq,
        state: match row.get::<_, i64>(3)? {
            0 => EntryState::Stored,
            3 => EntryState::Beyond,
            _ => EntryState::Proven,
        },
        entry: intact(seq, &hash, &bytes),
    })
}
