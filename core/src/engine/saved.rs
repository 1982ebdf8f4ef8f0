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
use super::gather::{Gathered, Which};
use super::{Engine, Now};
use crate::document::{Actor, Crdt, ForeignChange, OpenDocument, PatchMode, trial};
use crate::error::Error;
use crate::store::{DocumentRow, EntryState, SavedRow, StoreError, Tx};

/// Saved forms that wait to be written; what would be more is saved at a later opening.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Changes of a tail that are tried one by one; of more, the whole document is encoded and loaded once (ADR 0006).
const TRIED_MAX: usize = 1024;

/// Up to where a document holds the work of its entries.
#[derive(Clone, Copy)]
pub(super) struct UpTo {
    /// The arrival of the last entry in it.
    pub(super) arrival: i64,
    /// How many there are.
    pub(super) entries: u64,
}

impl UpTo {
    /// The end of these pieces, with so many before them.
    pub(super) fn the_end_of(pieces: &[Piece], before: u64) -> Option<Self> {
        let arrival = pieces.iter().map(|piece| piece.arrival).max()?;
        Some(Self { arrival, entries: before + pieces.len() as u64 })
    }
}

impl UpTo {
    /// The end of all that is here of a document's content.
    pub(super) fn the_end_of_all(row: &DocumentRow, tx: &Tx<'_>) -> Result<Self, StoreError> {
        let (arrival, entries) = tx.content_end(row.row)?;
        Ok(Self { arrival, entries })
    }
}

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

    pub(super) fn remove(&mut self, document: i64) {
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
        let Ok(document) = OpenDocument::restore(crdt, actor, &saved.state) else {
            return Ok(None);
        };
        let about = self.about_of(row, tx)?;
        let tail = self.gather(now, row, &about, Which::After(saved.arrival), tx)?;
        let is_long = tail.pieces.len() >= self.config.tail_entries;
        let up_to = UpTo::the_end_of(&tail.pieces, saved.entries).filter(|_| is_long);
        Ok(self.go_on(row, document, (&tail, up_to), own, tx)?)
    }

    /// Adds a tail to a document, which is saved up to a place if one is given, and then what no entry carries yet;
    /// `None` if something in it stands in the way.
    pub(super) fn go_on(
        &mut self,
        row: &DocumentRow,
        mut document: OpenDocument,
        (tail, up_to): (&Gathered, Option<UpTo>),
        own: &[Vec<u8>],
        tx: &Tx<'_>,
    ) -> Result<Option<OpenDocument>, StoreError> {
        if !add(&mut document, &tail.pieces) {
            return Ok(None);
        }
        for piece in tail.pieces.iter().filter(|piece| piece.state == EntryState::Stored) {
            self.findings.note_proven(piece.arrival);
        }
        self.save_document(row, &document, up_to.filter(|_| tail.is_whole), tx)?;
        let own: Vec<ForeignChange<'_>> = own.iter().map(|bytes| ForeignChange { bytes, actor: None }).collect();
        let stands = own.is_empty() || document.apply(&own, PatchMode::Off).is_ok();
        Ok(stands.then_some(document))
    }

    /// Notes a document that holds the work of its entries alone to be saved, if it is said up to where it does.
    pub(super) fn save_document(
        &mut self,
        row: &DocumentRow,
        document: &OpenDocument,
        up_to: Option<UpTo>,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let Some(UpTo { arrival, entries }) = up_to else {
            return Ok(());
        };
        if self.findings.to_save.has(row.row, arrival) || !self.counts_whole(row, tx)? {
            return Ok(());
        }
        // What can not be saved is opened from its entries, as it was just now.
        if let Ok(Some(state)) = document.save() {
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
        self.counts_above(row, &BTreeMap::new(), tx)
    }

    /// As [`Engine::counts_whole`], where something else stands for the entries up to a place of each chain: those may
    /// be damaged.
    pub(super) fn counts_above(
        &self,
        row: &DocumentRow,
        floors: &BTreeMap<i64, u64>,
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
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
            if held.is_damaged_behind(chain, floors.get(&chain).copied().unwrap_or(0)) {
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
