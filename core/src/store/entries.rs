//! Entries, and those that wait or were set aside, as rows.

use std::collections::BTreeSet;

use rusqlite::OptionalExtension as _;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::{ChainId, ChainKey, DeviceId, DocumentTag, EntryHash, EpochId, Incarnation, Stream};

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
    /// A removal or an admin keeps it out so far: it is applied if that changes, or if work that counts
    /// builds on it.
    Beyond = 3,
}

/// Entries of one chain, in order.
pub(crate) struct ChainRun {
    pub(crate) entries: Vec<Entry>,
    /// The seq behind them that is missing, or that the disk has changed.
    pub(crate) damaged: Option<u64>,
}

/// Where an entry stands that waits.
pub(crate) struct HeldPlace {
    pub(crate) held: i64,
    pub(crate) chain: ChainId,
    pub(crate) seq: u64,
    pub(crate) hash: EntryHash,
    pub(crate) since_ms: i64,
}

/// An entry that is kept and never applied.
#[derive(Clone, Debug)]
pub(crate) struct QuarantinedRow {
    pub(crate) document: DocumentTag,
    pub(crate) device: DeviceId,
    pub(crate) seq: u64,
    pub(crate) hash: EntryHash,
    pub(crate) reason: u8,
    pub(crate) since_ms: i64,
}

impl QuarantinedRow {
    pub(crate) fn of(entry: &Entry, reason: u8, since_ms: i64) -> Self {
        let header = entry.header();
        let (document, device) = (header.chain.document, header.chain.device);
        Self { document, device, seq: header.seq, hash: entry.hash(), reason, since_ms }
    }
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
        let found = statement.query_row((chain, seq.cast_signed()), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        Ok(found.and_then(|(hash, bytes): (Vec<u8>, Vec<u8>)| intact(seq, &hash, &bytes)))
    }

    /// Returns, for each chain of a device in a workspace, its last entry that is not set aside.
    pub(crate) fn admitted_heads(
        &self,
        workspace: i64,
        device: &DeviceId,
    ) -> Result<Vec<(ChainKey, u64, EntryHash)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("admitted_heads"))?;
        let mut rows = statement.query((workspace, device.as_bytes()))?;
        let mut heads = Vec::new();
        while let Some(row) = rows.next()? {
            let chain = ChainKey {
                document: DocumentTag::from_bytes(exact("document", row.get(0)?)?),
                stream: Stream(row.get(1)?),
                device: *device,
                incarnation: Incarnation(row.get::<_, i64>(2)?.cast_unsigned()),
            };
            let hash = EntryHash::from_bytes(exact("entry", row.get(4)?)?);
            // Of two branches the one that counts goes on behind what both have in common.
            heads.pop_if(|(before, ..): &mut (ChainKey, u64, EntryHash)| *before == chain);
            heads.push((chain, row.get::<_, i64>(3)?.cast_unsigned(), hash));
        }
        Ok(heads)
    }

    pub(crate) fn entry_arrival(&self, chain: i64, seq: u64) -> Result<Option<i64>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("entry_arrival"))?;
        Ok(statement.query_row((chain, seq.cast_signed()), |row| row.get(0)).optional()?)
    }

    /// Puts an entry where the disk has changed what stood there; returns its arrival.
    pub(crate) fn replace_entry(&self, chain: i64, entry: &Entry, state: EntryState) -> Result<i64, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("replace_entry"))?;
        let seq = entry.header().seq.cast_signed();
        let hash = entry.hash();
        let row = (chain, seq, hash.as_bytes(), state as i64, entry.encode());
        Ok(statement.query_row(row, |row| row.get(0))?)
    }

    /// Returns up to `limit` entries of a chain from `from_seq` on. The disk may have changed one: it
    /// ends the chain for those who would send it, and is no reason to stop the others.
    pub(crate) fn entries_of_chain(&self, chain: i64, from_seq: u64, limit: usize) -> Result<ChainRun, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("entries_of_chain"))?;
        let mut rows = statement.query((chain, from_seq.cast_signed(), limit as i64))?;
        let mut run = ChainRun { entries: Vec::new(), damaged: None };
        let mut next = from_seq;
        while let Some(row) = rows.next()? {
            let (seq, hash, bytes): (i64, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let entry = intact(next, &hash, &bytes).filter(|_| seq.cast_unsigned() == next);
            let Some(entry) = entry else {
                run.damaged = Some(next);
                break;
            };
            run.entries.push(entry);
            next += 1;
        }
        Ok(run)
    }

    /// Returns how many entries of a workspace that count are sealed under an epoch, which their headers name.
    pub(crate) fn count_of_epoch(&self, workspace: i64, epoch: &EpochId) -> Result<u64, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("count_of_epoch"))?;
        let count: i64 = statement.query_row((workspace, epoch.as_bytes()), |row| row.get(0))?;
        Ok(count.cast_unsigned())
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

    /// Takes out the entry that stands at this place of a chain and is held for this reason; the inner
    /// `None` says that the disk has changed it.
    pub(crate) fn take_held(
        &self,
        workspace: i64,
        place: (&ChainId, u64),
        reason: u8,
    ) -> Result<Option<Option<Entry>>, StoreError> {
        let (chain, seq) = place;
        let mut statement = self.transaction.prepare_cached(sql!("held_successor"))?;
        let found = statement.query_row((workspace, chain.as_bytes(), seq.cast_signed(), reason), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?))
        });
        let Some((held, hash, bytes)) = found.optional()? else {
            return Ok(None);
        };
        self.transaction.prepare_cached(sql!("release_held"))?.execute([held])?;
        Ok(Some(intact(place.1, &hash, &bytes)))
    }

    /// Returns the entry that stands at this place of a chain and is held for this reason, as far as it is intact.
    pub(crate) fn held_entry(
        &self,
        workspace: i64,
        (chain, seq): (&ChainId, u64),
        reason: u8,
    ) -> Result<Option<Entry>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("held_successor"))?;
        let found = statement.query_row((workspace, chain.as_bytes(), seq.cast_signed(), reason), |row| {
            Ok(intact(seq, &row.get::<_, Vec<u8>>(1)?, &row.get::<_, Vec<u8>>(2)?))
        });
        Ok(found.optional()?.flatten())
    }

    /// Takes out all entries that are held for one reason, by seq; `None` for one that the disk has changed.
    pub(crate) fn take_held_for(&self, workspace: i64, reason: u8) -> Result<Vec<Option<Entry>>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("held_for_reason"))?;
        let rows = statement.query_map((workspace, reason), |row| {
            let seq = row.get::<_, i64>(1)?.cast_unsigned();
            Ok((row.get(0)?, intact(seq, &row.get::<_, Vec<u8>>(2)?, &row.get::<_, Vec<u8>>(3)?)))
        })?;
        let rows: Vec<(i64, Option<Entry>)> = rows.collect::<Result<_, _>>()?;
        for (held, _) in &rows {
            self.transaction.prepare_cached(sql!("release_held"))?.execute([*held])?;
        }
        Ok(rows.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Returns where the entries stand that are held for one reason.
    pub(crate) fn held_places(&self, workspace: i64, reason: u8) -> Result<Vec<HeldPlace>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("held_places"))?;
        let mut rows = statement.query((workspace, reason))?;
        let mut places = Vec::new();
        while let Some(row) = rows.next()? {
            places.push(HeldPlace {
                held: row.get(0)?,
                chain: ChainId::from_bytes(exact("held", row.get(1)?)?),
                seq: row.get::<_, i64>(2)?.cast_unsigned(),
                hash: EntryHash::from_bytes(exact("held", row.get(3)?)?),
                since_ms: row.get(4)?,
            });
        }
        Ok(places)
    }

    pub(crate) fn release_held(&self, held: i64) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("release_held"))?.execute([held])?;
        Ok(())
    }

    /// Tells whether any entry waits, or came spoilt.
    pub(crate) fn holds_any(&self, workspace: i64) -> Result<bool, StoreError> {
        Ok(self.transaction.prepare_cached(sql!("holds_any"))?.query_row([workspace], |row| row.get(0))?)
    }

    /// Tells whether an entry waits for this reason.
    pub(crate) fn holds_for(&self, workspace: i64, reason: u8) -> Result<bool, StoreError> {
        Ok(self.held_by_reason(workspace)?.iter().any(|(code, _)| *code == reason))
    }

    /// Returns how many entries wait, by the code of the reason.
    pub(crate) fn held_by_reason(&self, workspace: i64) -> Result<Vec<(u8, u64)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("held_by_reason"))?;
        let rows = statement.query_map([workspace], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Keeps an entry apart; `bytes` is empty where they stay in the entry's own row.
    pub(crate) fn quarantine(&self, workspace: i64, row: &QuarantinedRow, bytes: &[u8]) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("quarantine"))?;
        statement.execute((
            workspace,
            row.document.as_bytes(),
            row.device.as_bytes(),
            row.seq.cast_signed(),
            row.hash.as_bytes(),
            row.reason,
            row.since_ms,
            bytes,
        ))?;
        Ok(())
    }

    /// Ends what was said of an entry that is whole again.
    pub(crate) fn release_quarantined(&self, workspace: i64, hash: &EntryHash, reason: u8) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("release_quarantined"))?;
        statement.execute((workspace, hash.as_bytes(), reason))?;
        Ok(())
    }

    /// Ends what was said of an entry that counts after all, or is kept out for another reason.
    pub(crate) fn release_struck(&self, workspace: i64, hash: &EntryHash) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("release_struck"))?.execute((workspace, hash.as_bytes()))?;
        Ok(())
    }

    /// Returns the entries that a removal or an admin keeps out: document, entry, chain, and why.
    pub(crate) fn struck(&self, workspace: i64) -> Result<Vec<(i64, EntryHash, ChainId, u8)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("struck"))?;
        let mut rows = statement.query([workspace])?;
        let mut struck = Vec::new();
        while let Some(row) = rows.next()? {
            let hash = EntryHash::from_bytes(exact("quarantine", row.get(1)?)?);
            struck.push((row.get(0)?, hash, ChainId::from_bytes(exact("chain", row.get(2)?)?), row.get(3)?));
        }
        Ok(struck)
    }

    /// Returns the chains of a device in a workspace: chain, document, and seq of the head.
    pub(crate) fn chains_of_device(
        &self,
        workspace: i64,
        device: &DeviceId,
    ) -> Result<Vec<(i64, i64, u64)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("chains_of_device"))?;
        let rows = statement.query_map((workspace, device.as_bytes()), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned()))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the documents in which some of these entries stand.
    pub(crate) fn documents_of(
        &self,
        workspace: i64,
        entries: &BTreeSet<EntryHash>,
    ) -> Result<BTreeSet<i64>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("document_of_entry"))?;
        let mut documents = BTreeSet::new();
        for entry in entries {
            let found = statement.query_row((workspace, entry.as_bytes()), |row| row.get::<_, i64>(0));
            documents.extend(found.optional()?);
        }
        Ok(documents)
    }

    /// Returns chain and seq of the entries that are kept apart for one reason.
    pub(crate) fn quarantined_places(&self, workspace: i64, reason: u8) -> Result<Vec<(i64, u64)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("quarantined_places"))?;
        let rows =
            statement.query_map((workspace, reason), |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
        Ok(rows.collect::<Result<_, _>>()?)
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

/// Reads an entry; `None` if the disk has changed it, or what the row says of it.
pub(super) fn intact(seq: u64, hash: &[u8], bytes: &[u8]) -> Option<Entry> {
    let entry = Entry::decode(bytes).ok()?;
    (entry.hash().as_bytes() == hash && entry.header().seq == seq).then_some(entry)
}
