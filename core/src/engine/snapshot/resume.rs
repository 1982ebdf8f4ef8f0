//! Opening a document from a snapshot that enough others vouched for, and the entries that it does not cover.
//!
//! A long document is opened so where there is no saved form of it yet: a device that has just come need not apply
//! every letter that was ever typed. And so is one of which the disk has changed what is covered: it is shown whole, while
//! a relay is asked for the entry. Else a document is built of its entries, and nobody has to be believed.
//!
//! Invariant: every covered entry has its place here, by the very names that the cover gives, and what is above
//! counts whole. A state of somebody else is foreign bytes: it must load, encode and load again before anything is made of
//! it, and one that this device set aside is never taken, whoever vouches for it.

use std::collections::BTreeMap;

use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::{ChainId, DeviceId, DocumentId};
use tombolo_protocol::snapshot::Cover;

use super::check::says;
use crate::document::{Actor, Crdt, Encoder, OpenDocument};
use crate::engine::gather::Which;
use crate::engine::saved::UpTo;
use crate::engine::{Engine, Now};
use crate::error::Error;
use crate::store::{About, DocumentRow, StoreError, Tx};
use crate::sync::reason::SetAsideReason;

/// A snapshot to open a document from.
struct Base {
    chain: i64,
    last: Entry,
    encoder: u8,
    /// Of each chain the place up to which it stands for the entries.
    floors: BTreeMap<i64, u64>,
}

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
        let Some(held) = self.workspaces.get(&row.workspace).filter(|held| !held.attests.is_empty()) else {
            return Ok(None);
        };
        let code = SetAsideReason::SnapshotMismatch.code();
        let newest = tx.newest_snapshot(row.row, |last| {
            let is_taken = held.is_vouched(last) && !self.findings.useless.contains(&last.hash());
            Ok(is_taken && !tx.is_set_aside(row.workspace, &last.hash(), code)?)
        })?;
        let Some((chain, last)) = newest else {
            return Ok(None);
        };
        let cover = Cover::decode(last.clear()).ok();
        let Some(cover) = cover.filter(|cover| cover.base.is_none() && cover.excluded.is_empty()) else {
            return Ok(None);
        };
        let reaches = |(chain, floor): (&ChainId, &u64)| cover.chains.get(chain).is_some_and(|(seq, _)| seq >= floor);
        if !tx.floors(row.row)?.iter().all(reaches) {
            return Ok(None);
        }
        let Some(floors) = floors_of(row, &cover, tx)? else {
            return Ok(None);
        };
        let covered: u64 = floors.values().sum();
        let is_damaged = |(chain, floor): (&i64, &u64)| held.is_damaged_up_to(*chain, *floor);
        let has_reason = covered >= self.config.tail_entries as u64 || floors.iter().any(is_damaged);
        let may = has_reason && self.counts_above(row, &floors, tx)?;
        Ok(may.then_some(Base { chain, last, encoder: cover.encoder, floors }))
    }

    /// Loads what a snapshot holds; one that does not load is counted, and not tried again.
    fn load_base(
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
        if encoder.as_u8() != base.encoder {
            return Ok(None);
        }
        let payload: Vec<u8> = bodies.iter().flat_map(|body| &body.changes).flatten().copied().collect();
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

/// Returns up to where a cover reaches in each chain; `None` unless every chain has come that far, to the very entry.
fn floors_of(row: &DocumentRow, cover: &Cover, tx: &Tx<'_>) -> Result<Option<BTreeMap<i64, u64>>, StoreError> {
    let mut floors = BTreeMap::new();
    for (id, (seq, hash)) in &cover.chains {
        let Some(chain) = tx.chain_by_id(row.workspace, id)? else {
            return Ok(None);
        };
        if tx.entry_hash(chain.row, *seq)? != Some(*hash) {
            return Ok(None);
        }
        floors.insert(chain.row, *seq);
    }
    Ok(Some(floors))
}

/// Takes a payload apart: the state behind the device that created the document, if that is where its id comes from.
pub(in crate::engine) fn state_of<'a>(about: &About, payload: &'a [u8]) -> Option<&'a [u8]> {
    let (creator, state) = payload.split_first_chunk::<{ DeviceId::BYTES }>()?;
    let (creator, app_type) = (DeviceId::from_bytes(*creator), about.app_type.as_bytes());
    let id = DocumentId::derive(&creator, about.incarnation, &about.random, about.crdt, app_type);
    (id == about.id).then_some(state)
}
