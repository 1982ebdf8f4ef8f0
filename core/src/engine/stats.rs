//! What a document amounts to: in memory, in the store, and to whom reads it.
//!
//! Invariant: nothing is changed by counting; each figure names its unit.

use tombolo_protocol::ids::{DocumentId, Stream};

use super::{Engine, Now};
use crate::error::Error;
use crate::store::Tx;

/// What an open document and what the store has of it amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DocumentStats {
    /// A rough measure of its memory while it is open, in bytes.
    pub memory_bytes: u64,
    /// Entries that are stored and wait to be applied to the open document.
    pub queued: u64,
    /// Entries in the store that count.
    pub entries: u64,
    /// What they take: headers, sealed bodies and signatures, in bytes.
    pub entry_bytes: u64,
    /// Of them, those behind the saved form, which each opening has to open one by one; all of them without one.
    pub tail_entries: u64,
    /// The saved form in the store, compressed and sealed, in bytes; 0 without one.
    pub saved_bytes: u64,
    /// Entries in the store that are set aside.
    pub set_aside: u64,
    /// What they take, in bytes.
    pub set_aside_bytes: u64,
    /// Changes of this device that no entry carries yet, as they are stored: many may be one.
    pub pending: u64,
    /// What they take, sealed, in bytes.
    pub pending_bytes: u64,
    /// What the document says: keys, strings and bytes at their length, eight bytes for a number, one for a truth value.
    pub live_bytes: u64,
    /// What its CRDT keeps beside that, uncompressed, in bytes: what was deleted, ids, and who wrote what when.
    pub overhead_bytes: u64,
}

impl Engine {
    /// Returns what a document amounts to, in memory and in the store; this walks the document.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn stats(&mut self, now: Now, id: &DocumentId, tx: &Tx<'_>) -> Result<DocumentStats, Error> {
        let row = self.opened_row(now, id, tx)?;
        let stored = tx.stored_figures(row.row, Stream::CONTENT.0)?;
        let opened = self.documents.get(row.row).ok_or(Error::NoDocument(*id))?;
        let live_bytes = opened.crdt.read().to_value().map(|value| value.bytes()).unwrap_or_default();
        let whole = opened.crdt.encoded_bytes().unwrap_or_default();
        Ok(DocumentStats {
            memory_bytes: opened.crdt.memory_bytes_estimate() as u64,
            queued: opened.queued() as u64,
            entries: stored.entries,
            entry_bytes: stored.entry_bytes,
            tail_entries: stored.tail,
            saved_bytes: stored.saved_bytes,
            set_aside: stored.aside,
            set_aside_bytes: stored.aside_bytes,
            pending: stored.pending,
            pending_bytes: stored.pending_bytes,
            live_bytes,
            overhead_bytes: whole.saturating_sub(live_bytes),
        })
    }
}
