//! Snapshots that stand for what this device may give up, as rows.
//!
//! Invariant: a document has one at most; what becomes of it, the entries that it covers are here until it is gone.

use std::collections::BTreeSet;

use rusqlite::OptionalExtension as _;

use super::sql::sql;
use super::{StoreError, Tx};

/// A snapshot with enough words, and since when it was seen to have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VouchedRow {
    pub(crate) chain: i64,
    /// Its last part.
    pub(crate) seq: u64,
    pub(crate) since_ms: i64,
}

impl Tx<'_> {
    pub(crate) fn vouched(&self, document: i64) -> Result<Option<VouchedRow>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("vouched"))?;
        let found = statement.query_row([document], |row| {
            Ok(VouchedRow { chain: row.get(0)?, seq: row.get::<_, i64>(1)?.cast_unsigned(), since_ms: row.get(2)? })
        });
        Ok(found.optional()?)
    }

    pub(crate) fn set_vouched(&self, document: i64, vouched: VouchedRow) -> Result<(), StoreError> {
        let VouchedRow { chain, seq, since_ms } = vouched;
        let mut statement = self.transaction.prepare_cached(sql!("set_vouched"))?;
        statement.execute((document, chain, seq.cast_signed(), since_ms))?;
        Ok(())
    }

    pub(crate) fn delete_vouched(&self, document: i64) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("delete_vouched"))?.execute([document])?;
        Ok(())
    }

    /// Returns the document whose snapshot has had its words for longest, and since when; some are left out.
    pub(crate) fn longest_vouched(&self, but: &BTreeSet<i64>) -> Result<Option<(i64, i64)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("longest_vouched"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let document = row.get(0)?;
            if !but.contains(&document) {
                return Ok(Some((document, row.get(1)?)));
            }
        }
        Ok(None)
    }

    /// Tells whether every relay that is known holds a chain up to a place, and there is one.
    pub(crate) fn is_everywhere(&self, chain: i64, seq: u64) -> Result<bool, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("is_everywhere"))?;
        Ok(statement.query_row((chain, seq.cast_signed()), |row| row.get(0))?)
    }
}
