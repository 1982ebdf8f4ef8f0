//! Members' words on snapshots, as rows beside relays' words on records: a name begins with the kind of its leaf.
//!
//! Invariant: a name covers statement and signature, so what has its name is as it was verified.

use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::EntryHash;
use tombolo_protocol::snapshot::Attest;

use super::entries::intact;
use super::sql::sql;
use super::workspaces::Salvaged;
use super::{StoreError, Tx};

impl Tx<'_> {
    pub(crate) fn insert_attest(&self, workspace: i64, attest: &Attest) -> Result<(), StoreError> {
        self.insert_statement(workspace, &attest.item_hash(), &attest.encode())
    }

    /// Returns what members have said of snapshots.
    pub(crate) fn attests(&self, workspace: i64) -> Result<Salvaged<Attest>, StoreError> {
        self.salvage(sql!("attests"), workspace, |name, bytes| {
            let attest = Attest::decode(bytes).ok()?;
            (attest.item_hash().to_leaf() == name).then_some(attest)
        })
    }

    /// Tells whether an entry is set aside for a reason.
    pub(crate) fn is_set_aside(&self, workspace: i64, hash: &EntryHash, reason: u8) -> Result<bool, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("is_set_aside"))?;
        Ok(statement.query_row((workspace, hash.as_bytes(), reason), |row| row.get(0))?)
    }

    /// Counts the entries of a document's content that came since its newest snapshot.
    pub(crate) fn entries_since_snapshot(&self, document: i64) -> Result<u64, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("entries_since_snapshot"))?;
        Ok(statement.query_row([document], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// Returns the last part of the newest snapshot of a document's content that is such, and the row of its chain.
    pub(crate) fn newest_snapshot(
        &self,
        document: i64,
        mut is_such: impl FnMut(&Entry) -> Result<bool, StoreError>,
    ) -> Result<Option<(i64, Entry)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("snapshots"))?;
        let mut rows = statement.query([document])?;
        while let Some(row) = rows.next()? {
            let (chain, seq): (i64, i64) = (row.get(0)?, row.get(1)?);
            let (hash, bytes): (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?);
            if let Some(last) = intact(seq.cast_unsigned(), &hash, &bytes)
                && is_such(&last)?
            {
                return Ok(Some((chain, last)));
            }
        }
        Ok(None)
    }
}
