//! Opening a document from its saved form and the entries that came after it (its tail), and saving it again once
//! the tail is long.
//!
//! What is saved holds the work of entries alone, never what no entry carries yet, and only where all entries of the
//! document count: no removal keeps one out, no admin has judged any, none is damaged, none waits for a key or for
//! the rest of its change, and none is of a chain with two branches. Where that does not hold, the document is built of
//! its entries as if nothing had been saved.
//!
//! Invariant: with or without a saved form a document is the same function of its admitted entries. It is written with
//! the next transaction that writes anyway, so reading needs no room on the disk; whatever goes wrong with it, the
//! entries are there.

use std::collections::BTreeMap;

use super::build::{Piece, foreign};
use super::counting::claim;
use super::{Engine, Now};
use crate::document::{Actor, Crdt, ForeignChange, OpenDocument, PatchMode, trial};
use crate::error::Error;
use crate::store::{DocumentRow, EntryState, SavedRow, StoreError, Tx};

/// Saved forms that wait to be written; what would be more is saved at a later opening.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Changes of a tail that are tried one by one; of more, the whole document is encoded and loaded once (ADR 0006).
const TRIED_MAX: usize = 1024;

/// Documents as they are to be saved with the next commit.
#[derive(Default)]
pub(crate) struct ToSave {
    by_document: BTreeMap<i64, SavedRow>,
    bytes: usize,
}

impl ToSave {
    fn insert(&mut self, document: i64, saved: SavedRow) {
        self.remove(document);
        if self.bytes + saved.state.len() <= WAITING_BYTES_MAX {
            self.bytes += saved.state.len();
            self.by_document.insert(document, saved);
        }
    }

    fn remove(&mut self, document: i64) {
        if let Some(before) = self.by_document.remove(&document) {
            self.bytes -= before.state.len();
        }
    }

    /// Forgets what waits: entries that are in it may not count any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn has(&self, document: i64, arrival: i64) -> bool {
        self.by_document.get(&document).is_some_and(|saved| saved.arrival >= arrival)
    }
}

impl Engine {
    /// Makes a document of its saved form and its tail; `None` if it must be built of its entries.
    pub(super) fn assemble_saved(
        &mut self,
        now: Now,
        row: &DocumentRow,
        (crdt, actor): (Crdt, Actor),
        own: &[Vec<u8>],
        tx: &Tx<'_>,
    ) -> Result<Option<OpenDocument>, Error> {
        if !self.counts_whole(row, tx)? {
            return Ok(None);
        }
        let Some(saved) = tx.saved(row.row)? else {
            return Ok(None);
        };
        let Ok(mut document) = OpenDocument::restore(crdt, actor, &saved.state) else {
            return Ok(None);
        };
        let about = self.about_of(row, tx)?;
        let tail = self.gather(now, row, &about, saved.arrival, tx)?;
        if !add(&mut document, &tail.pieces) {
            return Ok(None);
        }
        for piece in tail.pieces.iter().filter(|piece| piece.state == EntryState::Stored) {
            self.findings.note_proven(piece.arrival);
        }
        if tail.is_whole && tail.pieces.len() >= self.config.tail_entries {
            self.save_document(row, &document, (saved.entries, &tail.pieces), tx)?;
        }
        let own: Vec<ForeignChange<'_>> = own.iter().map(|bytes| ForeignChange { bytes, actor: None }).collect();
        let stands = own.is_empty() || document.apply(&own, PatchMode::Off).is_ok();
        Ok(stands.then_some(document))
    }

    /// Notes a document that holds the work of its entries alone to be saved: those that were saved before, and these.
    pub(super) fn save_document(
        &mut self,
        row: &DocumentRow,
        document: &OpenDocument,
        (before, pieces): (u64, &[Piece]),
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let Some(arrival) = pieces.iter().map(|piece| piece.arrival).max() else {
            return Ok(());
        };
        if self.findings.to_save.has(row.row, arrival) || !self.counts_whole(row, tx)? {
            return Ok(());
        }
        // What can not be saved is opened from its entries, as it was just now.
        if let Ok(Some(state)) = document.save() {
            let entries = before + pieces.len() as u64;
            self.findings.to_save.insert(row.row, SavedRow { arrival, entries, state });
        }
        Ok(())
    }

    /// Writes what is to be saved, into a transaction that writes anyway.
    pub(super) fn write_saved(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        for (document, saved) in std::mem::take(&mut self.findings.to_save).by_document {
            tx.set_saved(document, &saved, self.entropy.as_mut())?;
        }
        Ok(())
    }

    /// Tells whether every entry of a document that is not set aside counts, whatever the others say.
    pub(super) fn counts_whole(&self, row: &DocumentRow, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let Some(held) = self.workspaces.get(&row.workspace) else {
            return Ok(false);
        };
        let is_forked = held.branches.values().any(|branch| branch.document == row.row);
        if is_forked || held.struck.contains_key(&row.row) || self.findings.has_verdicts() {
            return Ok(false);
        }
        let strikes = held.membership.strikes_entries();
        if !strikes && held.damaged.is_empty() {
            return Ok(true);
        }
        if strikes && held.view.has_verdicts() {
            return Ok(false);
        }
        for (chain, device, head_seq) in tx.chains_of_document(row.row)? {
            if held.damaged.range((chain, 0)..=(chain, u64::MAX)).next().is_some() {
                return Ok(false);
            }
            if strikes && held.membership.strikes_device(&device) {
                let head = tx.entry(chain, head_seq)?;
                let reaches = |head| held.membership.admits_up_to(&claim(head, &head.hash()));
                if !head.as_ref().is_some_and(reaches) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Applies a tail, after what was never looked into has been; false if something in it stands in the way.
fn add(document: &mut OpenDocument, tail: &[Piece]) -> bool {
    let changes = foreign(tail);
    let stored: usize =
        tail.iter().filter(|piece| piece.state == EntryState::Stored).map(|piece| piece.changes.len()).sum();
    let each = stored <= TRIED_MAX;
    let crdt = document.crdt();
    let is_sound = |piece: &Piece| {
        piece.state != EntryState::Stored || piece.changes.iter().all(|c| trial(crdt, c, piece.actor).is_ok())
    };
    if each && !tail.iter().all(is_sound) {
        return false;
    }
    let applied = changes.is_empty() || document.apply(&changes, PatchMode::Off).is_ok();
    applied && (each || document.verify().is_ok())
}
