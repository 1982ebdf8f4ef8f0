//! Documents of which no more is here than a snapshot and what came after, as rows.
//!
//! Invariant: a document with floors has a horizon, the snapshot that they are of; a chain begins above 1 only where a
//! floor says so, and then holds the very entry that the floor names.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension as _;
use tombolo_protocol::ids::{ChainId, EntryHash};

use super::sql::sql;
use super::{StoreError, Tx, exact};

/// Up to where a snapshot stands for a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) document: i64,
    /// The last entry that it stands for; who has none of the chain begins with it.
    pub(crate) seq: u64,
    pub(crate) hash: EntryHash,
}

impl Tx<'_> {
    /// Returns the snapshot that stands for what is not here of a document: its chain, and its last part.
    pub(crate) fn horizon(&self, document: i64) -> Result<Option<(i64, u64)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("horizon"))?;
        let found = statement.query_row([document], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())));
        Ok(found.optional()?)
    }

    pub(crate) fn set_horizon(&self, document: i64, chain: i64, seq: u64) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("set_horizon"))?.execute((document, chain, seq.cast_signed()))?;
        Ok(())
    }

    /// Returns up to where a snapshot stands for a chain.
    pub(crate) fn floor(&self, workspace: i64, chain: &ChainId) -> Result<Option<Floor>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("floor"))?;
        let found = statement.query_row((workspace, chain.as_bytes()), |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned(), row.get::<_, Vec<u8>>(2)?))
        });
        let Some((document, seq, hash)) = found.optional()? else {
            return Ok(None);
        };
        Ok(Some(Floor { document, seq, hash: EntryHash::from_bytes(exact("floor", hash)?) }))
    }

    pub(crate) fn set_floor(&self, workspace: i64, chain: &ChainId, floor: &Floor) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("set_floor"))?;
        let (seq, hash) = (floor.seq.cast_signed(), floor.hash);
        statement.execute((workspace, chain.as_bytes(), floor.document, seq, hash.as_bytes()))?;
        Ok(())
    }

    /// Returns up to where a snapshot stands for the chains of a document, by name.
    pub(crate) fn floors(&self, document: i64) -> Result<BTreeMap<ChainId, u64>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("floors"))?;
        let mut rows = statement.query([document])?;
        let mut floors = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let chain = ChainId::from_bytes(exact("floor", row.get(0)?)?);
            floors.insert(chain, row.get::<_, i64>(1)?.cast_unsigned());
        }
        Ok(floors)
    }

    /// Returns the same by row, of those chains that have begun here.
    pub(crate) fn floors_by_row(&self, document: i64) -> Result<BTreeMap<i64, u64>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("floors_by_row"))?;
        let rows = statement.query_map([document], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the chains of a workspace that begin above 1, and the seq behind which each does.
    pub(crate) fn lifted(&self, workspace: i64) -> Result<BTreeMap<i64, u64>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("lifted"))?;
        let rows = statement.query_map([workspace], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Lets a chain begin behind a seq; what was here below goes. Returns the names of that.
    ///
    /// What a log declared the chain with below, the first entry that stays says again: it is in short form there.
    pub(crate) fn lift(&self, chain: i64, behind: u64) -> Result<Vec<EntryHash>, StoreError> {
        let place = (chain, behind.cast_signed());
        let mut statement = self.transaction.prepare_cached(sql!("hashes_up_to"))?;
        let mut rows = statement.query(place)?;
        let mut gone = Vec::new();
        while let Some(row) = rows.next()? {
            gone.push(EntryHash::from_bytes(exact("entry", row.get(0)?)?));
        }
        self.transaction.prepare_cached(sql!("move_declarations"))?.execute(place)?;
        self.transaction.prepare_cached(sql!("delete_entries_up_to"))?.execute(place)?;
        // What waits for something below waits for nothing that comes; the first that stays is here.
        self.transaction.prepare_cached(sql!("release_held_up_to"))?.execute(place)?;
        self.transaction.prepare_cached(sql!("set_chain_floor"))?.execute(place)?;
        Ok(gone)
    }
}
