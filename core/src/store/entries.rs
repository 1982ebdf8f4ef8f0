//! Entries, and those that wait or were set aside, as rows.

use rusqlite::OptionalExtension as _;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::{ChainId, DeviceId, DocumentTag, EntryHash};

use super::sql::sql;
use super::{StoreError, Tx, exact};

/// What is known of a stored entry's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryState {
    /// It was stored without a look inside.
    Stored = 0,
    /// Its document was built with it.
    Proven = 1,
    /// It is kept and never applied.
    Quarantined = 2,
}

/// An entry that is kept and never applied.
pub(crate) struct QuarantinedRow {
    pub(crate) document: DocumentTag,
    pub(crate) device: DeviceId,
    pub(crate) seq: u64,
    pub(crate) hash: EntryHash,
    pub(crate) reason: u8,
    pub(crate) since_ms: i64,
}

impl Tx<'_> {
    pub(crate) fn insert_entry(&self, chain: i64, entry: &Entry, state: EntryState) -> Result<i64, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("insert_entry"))?;
        let seq = entry.header().seq.cast_signed();
        Ok(statement.insert((chain, seq, entry.hash().as_bytes(), state as i64, entry.encode()))?)
    }

    pub(crate) fn entry_hash(&self, chain: i64, seq: u64) -> Result<Option<EntryHash>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("entry_hash"))?;
        let found: Option<Vec<u8>> = statement.query_row((chain, seq.cast_signed()), |row| row.get(0)).optional()?;
        found.map(|hash| exact("entry", hash).map(EntryHash::from_bytes)).transpose()
    }

    /// Returns an entry, unless it is missing or the disk has changed it.
    pub(crate) fn entry(&self, chain: i64, seq: u64) -> Result<Option<Entry>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("entry"))?;
        let found: Option<Vec<u8>> = statement.query_row((chain, seq.cast_signed()), |row| row.get(0)).optional()?;
        Ok(found.and_then(|bytes| Entry::decode(&bytes).ok()))
    }

    /// Returns up to `limit` entries of a chain from `from_seq` on. The disk may have changed one: it
    /// ends the chain for those who would send it, and is no reason to stop the others.
    pub(crate) fn entries_of_chain(&self, chain: i64, from_seq: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("entries_of_chain"))?;
        let mut rows = statement.query((chain, from_seq.cast_signed(), limit as i64))?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let Ok(entry) = Entry::decode(&row.get::<_, Vec<u8>>(1)?) else {
                break;
            };
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Calls `each` for every entry of a document stream that is not quarantined, in order of arrival.
    pub(crate) fn entries_of_document(
        &self,
        document: i64,
        stream: u8,
        mut each: impl FnMut(i64, i64, EntryState, Entry),
    ) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("entries_of_document"))?;
        let mut rows = statement.query((document, stream))?;
        while let Some(row) = rows.next()? {
            let state = if row.get::<_, i64>(2)? == 0 { EntryState::Stored } else { EntryState::Proven };
            each(row.get(0)?, row.get(1)?, state, decode(&row.get::<_, Vec<u8>>(3)?)?);
        }
        Ok(())
    }

    pub(crate) fn mark_entry(&self, arrival: i64, state: EntryState) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("mark_entry"))?.execute((arrival, state as i64))?;
        Ok(())
    }

    pub(crate) fn hold(&self, workspace: i64, entry: &Entry, reason: u8, now_ms: i64) -> Result<(), StoreError> {
        let header = entry.header();
        let mut statement = self.transaction.prepare_cached(sql!("hold"))?;
        statement.execute((
            workspace,
            header.chain.document.as_bytes(),
            header.chain.id().as_bytes(),
            header.seq.cast_signed(),
            entry.hash().as_bytes(),
            reason,
            now_ms,
            entry.encode(),
        ))?;
        Ok(())
    }

    /// Returns how many bytes are held for a document.
    pub(crate) fn held_bytes(&self, workspace: i64, document: &DocumentTag) -> Result<usize, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("held_bytes"))?;
        let bytes: i64 = statement.query_row((workspace, document.as_bytes()), |row| row.get(0))?;
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Takes out the entry that stands at this place of a chain and is held for this reason.
    pub(crate) fn take_held(
        &self,
        workspace: i64,
        place: (&ChainId, u64),
        reason: u8,
    ) -> Result<Option<Entry>, StoreError> {
        let (chain, seq) = place;
        let mut statement = self.transaction.prepare_cached(sql!("held_successor"))?;
        let found = statement.query_row((workspace, chain.as_bytes(), seq.cast_signed(), reason), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        });
        let Some((held, bytes)) = found.optional()? else {
            return Ok(None);
        };
        self.transaction.prepare_cached(sql!("release_held"))?.execute([held])?;
        decode(&bytes).map(Some)
    }

    /// Takes out all entries that are held for one reason, by seq.
    pub(crate) fn take_held_for(&self, workspace: i64, reason: u8) -> Result<Vec<Entry>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("held_for_reason"))?;
        let rows = statement.query_map((workspace, reason), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let rows: Vec<(i64, Vec<u8>)> = rows.collect::<Result<_, _>>()?;
        let mut entries = Vec::new();
        for (held, bytes) in rows {
            self.transaction.prepare_cached(sql!("release_held"))?.execute([held])?;
            entries.push(decode(&bytes)?);
        }
        Ok(entries)
    }

    /// Returns how many entries wait, by the code of the reason.
    pub(crate) fn held_by_reason(&self, workspace: i64) -> Result<Vec<(u8, u64)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("held_by_reason"))?;
        let rows = statement.query_map([workspace], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(crate) fn quarantine(&self, workspace: i64, entry: &Entry, reason: u8, now_ms: i64) -> Result<(), StoreError> {
        let header = entry.header();
        let mut statement = self.transaction.prepare_cached(sql!("quarantine"))?;
        statement.execute((
            workspace,
            header.chain.document.as_bytes(),
            header.chain.device.as_bytes(),
            header.seq.cast_signed(),
            entry.hash().as_bytes(),
            reason,
            now_ms,
            entry.encode(),
        ))?;
        Ok(())
    }

    pub(crate) fn quarantined(&self, workspace: i64) -> Result<Vec<QuarantinedRow>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("quarantined"))?;
        let mut rows = statement.query([workspace])?;
        let mut quarantined = Vec::new();
        while let Some(row) = rows.next()? {
            quarantined.push(QuarantinedRow {
                document: DocumentTag::from_bytes(exact("quarantine", row.get(0)?)?),
                device: DeviceId::from_bytes(exact("quarantine", row.get(1)?)?),
                seq: row.get::<_, i64>(2)?.cast_unsigned(),
                hash: EntryHash::from_bytes(exact("quarantine", row.get(3)?)?),
                reason: row.get(4)?,
                since_ms: row.get(5)?,
            });
        }
        Ok(quarantined)
    }
}

fn decode(bytes: &[u8]) -> Result<Entry, StoreError> {
    Entry::decode(bytes).map_err(|_| StoreError::Corrupt { table: "entry" })
}
