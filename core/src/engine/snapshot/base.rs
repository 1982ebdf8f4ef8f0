//! The snapshot that another one goes on from, or that a document is opened from: one that enough others vouched for.
//!
//! Invariant: every chain that it covers has come that far here, to the very entry that it names, and it stands for all
//! that older ones stand for; one that this device set aside, or could not load, is never taken.

use std::collections::BTreeMap;

use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::ChainId;
use tombolo_protocol::snapshot::Cover;

use super::check::carried;
use crate::engine::Engine;
use crate::store::{DocumentRow, StoreError, Tx, VouchedRow};
use crate::sync::reason::SetAsideReason;

/// Of each chain, by row, the place up to which a snapshot stands for its entries.
type Floors = BTreeMap<i64, u64>;

/// A snapshot that stands for a document's entries.
pub(super) struct Base {
    pub(super) chain: i64,
    pub(super) last: Entry,
    pub(super) cover: Cover,
    pub(super) floors: Floors,
}

impl Base {
    /// Returns up to where it reaches, by the names of the chains.
    pub(super) fn reach(&self) -> BTreeMap<ChainId, u64> {
        self.cover.chains.iter().map(|(chain, (seq, _))| (*chain, *seq)).collect()
    }
}

impl Engine {
    /// Finds the newest snapshot of a document that has the words it needs, and fits what is here.
    pub(super) fn newest_base(&self, row: &DocumentRow, tx: &Tx<'_>) -> Result<Option<Base>, StoreError> {
        let Some(held) = self.workspaces.get(&row.workspace).filter(|held| !held.attests.is_empty()) else {
            return Ok(None);
        };
        let mut fitting = None;
        let newest = tx.newest_snapshot(row.row, |last| {
            if !held.is_vouched(last) || !self.is_usable(row, last, tx)? {
                return Ok(false);
            }
            fitting = cover_here(row, last, tx)?;
            Ok(fitting.is_some())
        })?;
        let base = newest.zip(fitting);
        Ok(base.map(|((chain, last), (cover, floors))| Base { chain, last, cover, floors }))
    }

    /// Returns the snapshot that was noted to have its words, if it has them still and fits what is here.
    pub(super) fn vouched_base(
        &self,
        row: &DocumentRow,
        vouched: VouchedRow,
        tx: &Tx<'_>,
    ) -> Result<Option<Base>, StoreError> {
        let held = self.workspaces.get(&row.workspace);
        let last = tx.entry(vouched.chain, vouched.seq)?;
        let last = last.filter(|last| held.is_some_and(|held| held.is_vouched(last)));
        let Some(last) = last.filter(|last| last.header().chain.document == row.tag) else {
            return Ok(None);
        };
        if !self.is_usable(row, &last, tx)? {
            return Ok(None);
        }
        let fitting = cover_here(row, &last, tx)?;
        Ok(fitting.map(|(cover, floors)| Base { chain: vouched.chain, last, cover, floors }))
    }

    /// Finds the snapshot that this device's next one of a document goes on from: one that it has made itself, or of which
    /// it has nothing below.
    pub(super) fn base_to_go_on_from(&self, row: &DocumentRow, tx: &Tx<'_>) -> Result<Option<Base>, StoreError> {
        let base = self.newest_base(row, tx)?;
        let Some(base) = base else {
            return Ok(None);
        };
        Ok(self.believes(row, &base, tx)?.then_some(base))
    }

    /// Finds the snapshot that another one names; `None` if it is not here, or this device can not tell that it is right.
    pub(super) fn base_of(&self, row: &DocumentRow, cover: &Cover, tx: &Tx<'_>) -> Result<Option<Base>, StoreError> {
        let Some((chain, last)) = self.named_by(row, cover, tx)? else {
            return Ok(None);
        };
        let Some((cover, floors)) = cover_here(row, &last, tx)? else {
            return Ok(None);
        };
        let base = Base { chain, last, cover, floors };
        let is_right = self.is_usable(row, &base.last, tx)? && self.believes(row, &base, tx)?;
        Ok(is_right.then_some(base))
    }

    /// Returns the last part of the snapshot that another one goes on from, if it is here, and the row of its chain.
    pub(super) fn named_by(
        &self,
        row: &DocumentRow,
        cover: &Cover,
        tx: &Tx<'_>,
    ) -> Result<Option<(i64, Entry)>, StoreError> {
        match cover.base {
            Some(name) => tx.newest_snapshot(row.row, |last| Ok(last.hash() == name)),
            None => Ok(None),
        }
    }

    /// Tells whether this device knows that a snapshot is right, or has nothing but it.
    fn believes(&self, row: &DocumentRow, base: &Base, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let stands_on_it = || Ok(tx.horizon(row.row)? == Some((base.chain, base.last.header().seq)));
        if self.has_made(row, &base.last) { Ok(true) } else { stands_on_it() }
    }

    fn is_usable(&self, row: &DocumentRow, last: &Entry, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let (code, hash) = (SetAsideReason::SnapshotMismatch.code(), last.hash());
        Ok(!self.findings.useless.contains(&hash) && !tx.is_set_aside(row.workspace, &hash, code)?)
    }

    /// Returns what a snapshot carries, nothing for none; `None` if it can not be opened now.
    pub(super) fn payload_of(
        &self,
        row: &DocumentRow,
        base: Option<&Base>,
        tx: &Tx<'_>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(base) = base else {
            return Ok(Some(Vec::new()));
        };
        let bodies = self.parts_of(row.workspace, (base.chain, &base.last), tx)?;
        Ok(bodies.map(|bodies| carried(&bodies)))
    }
}

/// Returns what a snapshot covers and up to where in each chain, by row; `None` unless every chain has come that far, to
/// the very entry, and what older snapshots stand for is covered too.
fn cover_here(row: &DocumentRow, last: &Entry, tx: &Tx<'_>) -> Result<Option<(Cover, Floors)>, StoreError> {
    // What leaves something out is made by nobody yet.
    let cover = Cover::decode(last.clear()).ok().filter(|cover| cover.excluded.is_empty());
    let Some(cover) = cover else {
        return Ok(None);
    };
    let reaches = |(chain, floor): (&ChainId, &u64)| cover.chains.get(chain).is_some_and(|(seq, _)| seq >= floor);
    if !tx.floors(row.row)?.iter().all(reaches) {
        return Ok(None);
    }
    let floors = floors_of(row, &cover, tx)?;
    Ok(floors.map(|floors| (cover, floors)))
}

/// Returns up to where a cover reaches in each chain; `None` unless every chain has come that far, to the very entry.
fn floors_of(row: &DocumentRow, cover: &Cover, tx: &Tx<'_>) -> Result<Option<Floors>, StoreError> {
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
