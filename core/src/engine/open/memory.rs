//! The documents in memory: found by row or id, weighed, and dropped in the order in which they were used last.
//!
//! Invariant: whatever may change a document's weight goes through [`OpenDocuments::get`] or
//! [`OpenDocuments::beside`]; so a turn weighs what it touched, and not all that is open.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_protocol::ids::DocumentId;

use super::Opened;
use crate::store::DocumentRow;

/// The documents in memory.
pub(crate) struct OpenDocuments {
    by_row: BTreeMap<i64, Opened>,
    rows: BTreeMap<DocumentId, i64>,
    /// Their rows, the longest unused first.
    by_use: BTreeSet<(u64, i64)>,
    /// Those with something to apply.
    waiting: BTreeSet<i64>,
    /// Those that may weigh something else than when they were weighed.
    touched: BTreeSet<i64>,
    /// What all weigh that were weighed.
    bytes: usize,
    uses: u64,
    memory_bytes: usize,
}

impl OpenDocuments {
    pub(crate) fn new(memory_bytes: usize) -> Self {
        Self {
            by_row: BTreeMap::new(),
            rows: BTreeMap::new(),
            by_use: BTreeSet::new(),
            waiting: BTreeSet::new(),
            touched: BTreeSet::new(),
            bytes: 0,
            uses: 0,
            memory_bytes,
        }
    }

    /// Returns a document that somebody uses.
    pub(crate) fn get(&mut self, row: i64) -> Option<&mut Opened> {
        self.uses += 1;
        let opened = self.by_row.get_mut(&row)?;
        self.by_use.remove(&(opened.last_used, row));
        opened.last_used = self.uses;
        self.by_use.insert((opened.last_used, row));
        self.touched.insert(row);
        Some(opened)
    }

    /// Returns a document for what comes in by itself, which is no use of it.
    pub(in crate::engine) fn beside(&mut self, row: i64) -> Option<&mut Opened> {
        self.touched.insert(row);
        self.by_row.get_mut(&row)
    }

    /// Goes through all that are open, which is no use of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Opened> {
        self.by_row.values()
    }

    /// Finds an open document by its id, without asking the store.
    pub(crate) fn find(&self, id: &DocumentId) -> Option<&DocumentRow> {
        let row = self.rows.get(id)?;
        self.by_row.get(row).map(|opened| &opened.row)
    }

    pub(crate) fn is_open(&self, row: i64) -> bool {
        self.by_row.contains_key(&row)
    }

    /// Tells of what number the latest use is.
    pub(super) fn uses(&self) -> u64 {
        self.uses
    }

    pub(super) fn insert(&mut self, opened: Opened) {
        let row = opened.row.row;
        self.close(row);
        self.rows.insert(opened.id, row);
        self.by_use.insert((opened.last_used, row));
        self.touched.insert(row);
        self.by_row.insert(row, opened);
    }

    pub(crate) fn close(&mut self, row: i64) {
        if let Some(opened) = self.by_row.remove(&row) {
            self.rows.remove(&opened.id);
            self.by_use.remove(&(opened.last_used, row));
            self.waiting.remove(&row);
            self.bytes = self.bytes.saturating_sub(opened.weight);
        }
    }

    /// Notes that a document has something to apply.
    pub(super) fn note_waiting(&mut self, row: i64) {
        self.waiting.insert(row);
    }

    /// Notes that a document has nothing to apply any more.
    pub(super) fn note_applied(&mut self, row: i64) {
        self.waiting.remove(&row);
    }

    /// Returns when to apply what waits for each document.
    pub(super) fn applies(&self) -> impl Iterator<Item = (i64, Duration)> {
        self.waiting.iter().filter_map(|row| Some((*row, self.by_row.get(row)?.apply_at?)))
    }

    pub(crate) fn next_apply(&self) -> Option<Duration> {
        self.applies().map(|(_, at)| at).min()
    }

    pub(crate) fn rows_of(&self, workspace: i64) -> Vec<i64> {
        let of = |opened: &&Opened| opened.row.workspace == workspace;
        self.by_row.values().filter(of).map(|opened| opened.row.row).collect()
    }

    /// Drops the documents that were not used for longest, until the rest fits; watched ones stay.
    pub(crate) fn evict(&mut self) {
        for row in std::mem::take(&mut self.touched) {
            if let Some(opened) = self.by_row.get_mut(&row) {
                let weight = opened.crdt.memory_bytes_estimate();
                self.bytes = self.bytes.saturating_sub(std::mem::replace(&mut opened.weight, weight)) + weight;
            }
        }
        let mut over = self.bytes.saturating_sub(self.memory_bytes);
        let mut dropped = Vec::new();
        for (_, row) in self.by_use.range(..(self.uses, i64::MIN)) {
            if over == 0 {
                break;
            }
            if let Some(opened) = self.by_row.get(row).filter(|opened| opened.watchers == 0) {
                over = over.saturating_sub(opened.weight);
                dropped.push(*row);
            }
        }
        dropped.into_iter().for_each(|row| self.close(row));
    }
}
