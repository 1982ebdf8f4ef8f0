//! Documents as their CRDT saves them, compressed and sealed, as rows; and what a document takes in the store.
//!
//! Invariant: a row is bound to its document, to the arrival up to which it speaks and to the number of entries in it; the
//! layout deletes it when the state of one of those entries changes (`migrations/006_saved.sql`). One that does not
//! open is as good as none.

use rusqlite::OptionalExtension as _;
use tombolo_crypto::{Entropy, StoreCipher};

use super::packed::{pack, unpack};
use super::sql::sql;
use super::{StoreError, Tx};

/// A document as its CRDT saved it.
#[derive(Clone, Debug)]
pub(crate) struct SavedRow {
    /// The arrival of the last entry that is in it.
    pub(crate) arrival: i64,
    /// How many entries are in it.
    pub(crate) entries: u64,
    /// What the CRDT saved.
    pub(crate) state: Vec<u8>,
}

/// What a document takes in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredFigures {
    pub(crate) entries: u64,
    pub(crate) entry_bytes: u64,
    pub(crate) aside: u64,
    pub(crate) aside_bytes: u64,
    pub(crate) tail: u64,
    pub(crate) pending: u64,
    pub(crate) pending_bytes: u64,
    pub(crate) saved_bytes: u64,
}

impl Tx<'_> {
    /// Returns a document as it was saved; `None` as well if the disk has changed it.
    pub(crate) fn saved(&self, document: i64) -> Result<Option<SavedRow>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("saved"))?;
        let found = statement.query_row([document], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?)));
        let Some((arrival, entries, sealed)) = found.optional()? else {
            return Ok(None);
        };
        let state = open_saved(self.cipher, (document, arrival, entries), &sealed);
        Ok(state.map(|state| SavedRow { arrival, entries: entries.cast_unsigned(), state }))
    }

    /// Stores a document as it was saved, in the place of what was stored before.
    pub(crate) fn set_saved(
        &self,
        document: i64,
        saved: &SavedRow,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        let entries = saved.entries.cast_signed();
        let Some(packed) = pack(&saved.state) else {
            return Ok(());
        };
        let key = saved_key((document, saved.arrival, entries));
        let sealed = self.cipher.seal("saved", "state", &key, &packed, entropy);
        let mut statement = self.transaction.prepare_cached(sql!("set_saved"))?;
        statement.execute((document, saved.arrival, entries, sealed))?;
        Ok(())
    }

    /// Forgets what was saved of a document.
    pub(crate) fn delete_saved(&self, document: i64) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("delete_saved"))?.execute([document])?;
        Ok(())
    }

    /// Counts what a document takes in the store.
    pub(crate) fn stored_figures(&self, document: i64, stream: u8) -> Result<StoredFigures, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("stored_figures"))?;
        let figures = statement.query_row((document, stream), |row| {
            let number = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
            Ok(StoredFigures {
                entries: number(0)?,
                entry_bytes: number(1)?,
                aside: number(2)?,
                aside_bytes: number(3)?,
                tail: number(4)?,
                pending: number(5)?,
                pending_bytes: number(6)?,
                saved_bytes: number(7)?,
            })
        });
        Ok(figures?)
    }
}

/// Opens a saved document at its place.
pub(super) fn open_saved(cipher: &StoreCipher, place: (i64, i64, i64), sealed: &[u8]) -> Option<Vec<u8>> {
    let packed = cipher.open("saved", "state", &saved_key(place), sealed).ok()?;
    unpack(&packed)
}

/// What a saved document is bound to: all that its row says of it.
fn saved_key((document, arrival, entries): (i64, i64, i64)) -> Vec<u8> {
    [document, arrival, entries].iter().flat_map(|number| number.to_be_bytes()).collect()
}
