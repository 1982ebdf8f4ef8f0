//! Opening a document from a snapshot that enough others vouched for, and the entries that it does not cover.
//!
//! A long document is opened so where there is no saved form of it yet: a device that has just come need not apply
//! every letter that was ever typed. And so is one of which the disk has changed what is covered: it is shown whole, while
//! a relay is asked for the entry. Else a document is built of its entries, and nobody has to be believed.
//!
//! Invariant: every covered entry has its place here, by the very names that the cover gives, and what is above
//! counts whole. A state of somebody else is foreign bytes: it must load, encode and load again before anything is made of
//! it, and one that this device set aside is never taken, whoever vouches for it.

use tombolo_protocol::ids::{DeviceId, DocumentId};

use super::base::Base;
use super::check::{carried, says};
use crate::document::{Actor, Crdt, Encoder, OpenDocument};
use crate::engine::gather::Which;
use crate::engine::saved::UpTo;
use crate::engine::{Engine, Now};
use crate::error::Error;
use crate::store::{About, DocumentRow, StoreError, Tx};
use crate::sync::reason::SetAsideReason;

impl Engine {
    /// Makes a document of the newest snapshot that enough others vouched for and the entries above it; `None` if it
    /// is to be built of its entries.
    pub(in crate::engine) fn assemble_published(
        &mut self,
        now: Now,
        row: &DocumentRow,
        (crdt, actor): (Crdt, Actor),
        own: &[Vec<u8>],
        tx: &Tx<'_>,
    ) -> Result<Option<OpenDocument>, Error> {
        let Some(base) = self.find_base(row, tx)? else {
            return Ok(None);
        };
        let about = self.about_of(row, tx)?;
        let Some(document) = self.load_base(row, &about, &base, (crdt, actor), tx)? else {
            return Ok(None);
        };
        let tail = self.gather(now, row, &about, Which::Above(&base.floors), tx)?;
        // Judged again: opening may have found what does not count.
        if !self.counts_above(row, &base.floors, tx)? {
            return Ok(None);
        }
        let end = UpTo::the_end_of_all(row, tx)?;
        let is_long = end.entries >= self.config.tail_entries as u64 || tx.horizon(row.row)?.is_some();
        let up_to = Some(end).filter(|_| is_long);
        Ok(self.go_on(row, document, (&tail, up_to), own, tx)?)
    }

    /// Finds the newest snapshot of a document that has its words, if there is reason to open it from one.
    fn find_base(&self, row: &DocumentRow, tx: &Tx<'_>) -> Result<Option<Base>, StoreError> {
        let Some(held) = self.workspaces.get(&row.workspace) else {
            return Ok(None);
        };
        let Some(base) = self.newest_base(row, tx)? else {
            return Ok(None);
        };
        let covered: u64 = base.floors.values().sum();
        let is_damaged = |(chain, floor): (&i64, &u64)| held.is_damaged_up_to(*chain, *floor);
        let has_reason = covered >= self.config.tail_entries as u64 || base.floors.iter().any(is_damaged);
        let may = has_reason && self.counts_above(row, &base.floors, tx)?;
        Ok(may.then_some(base))
    }

    /// Loads what a snapshot holds; one that does not load is counted, and not tried again.
    pub(super) fn load_base(
        &mut self,
        row: &DocumentRow,
        about: &About,
        base: &Base,
        (crdt, actor): (Crdt, Actor),
        tx: &Tx<'_>,
    ) -> Result<Option<OpenDocument>, StoreError> {
        let encoder = Encoder::of(crdt);
        let Some(bodies) = self.parts_of(row.workspace, (base.chain, &base.last), tx)? else {
            return Ok(None);
        };
        if encoder.as_u8() != base.cover.encoder {
            return Ok(None);
        }
        let payload = carried(&bodies);
        let state = state_of(about, &payload).filter(|_| says(&bodies, about));
        let document = state.and_then(|state| encoder.decode(state, actor).ok());
        // Whoever made the same bytes knows that they encode and load.
        let is_own = self.has_made(row, &base.last);
        let document = document.filter(|document| is_own || document.verify().is_ok());
        if document.is_none() {
            self.findings.useless.insert(base.last.hash());
            self.counters.count(SetAsideReason::SnapshotMismatch);
        }
        Ok(document)
    }
}

/// Takes a payload apart: the device that created the document, if that is where its id comes from, and the state.
pub(super) fn split<'a>(about: &About, payload: &'a [u8]) -> Option<(DeviceId, &'a [u8])> {
    let (creator, state) = payload.split_first_chunk::<{ DeviceId::BYTES }>()?;
    let (creator, app_type) = (DeviceId::from_bytes(*creator), about.app_type.as_bytes());
    let id = DocumentId::derive(&creator, about.incarnation, &about.random, about.crdt, app_type);
    (id == about.id).then_some((creator, state))
}

/// Returns the state that a payload carries, if it is of this document.
pub(in crate::engine) fn state_of<'a>(about: &About, payload: &'a [u8]) -> Option<&'a [u8]> {
    split(about, payload).map(|(_, state)| state)
}
