//! The state of a document as a published snapshot holds it (ADR 0018): what its author makes, and what another device
//! makes again to see whether it is the same.
//!
//! Invariant: a state is made only of entries of which every one is here, sound, and counts, up to one place of
//! each chain, but for those that an earlier snapshot stands for, which this device has made itself or has nothing below of;
//! it is a function of that snapshot, those entries and the encoder. What this device has not sealed is never in it.

mod base;
mod check;
mod compaction;
mod order;
mod resume;

use std::collections::BTreeMap;

use tombolo_crypto::{Body, Creation};
use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind};
use tombolo_protocol::ids::{ChainId, ChainKey, DeviceId, EntryHash, Instance};
use tombolo_protocol::limits::{CHANGE_BYTES_MAX, COVERED_CHAINS_MAX};
use tombolo_protocol::snapshot::Cover;

use self::base::Base;
pub(super) use self::check::{carried, says};
pub(crate) use self::compaction::Compaction;
use self::order::{Link, canonical};
use self::resume::split;
pub(super) use self::resume::state_of;
use super::build::join_parts;
use super::counting::OpenedEntry;
use super::gather::Which;
use super::{Engine, Now};
use crate::document::{Crdt, Encoder, ForeignChange};
use crate::error::Error;
use crate::store::{About, DocumentRow, StoreError, Tx};

/// A snapshot that is not sealed yet.
pub(crate) struct Made {
    pub(crate) cover: Cover,
    /// The device that created the document, and the state.
    pub(crate) payload: Vec<u8>,
}

impl Engine {
    /// Notes what is to be done for a document that was opened, or got another snapshot: to publish it, if so many entries
    /// came since its newest, or to make that again. Returns how many came.
    pub(super) fn plan_snapshot(&mut self, row: &DocumentRow, tx: &Tx<'_>) -> Result<usize, StoreError> {
        if self.config.snapshot_entries == usize::MAX {
            return Ok(0);
        }
        let since = usize::try_from(tx.entries_since_snapshot(row.row)?).unwrap_or(usize::MAX);
        if since >= self.config.snapshot_entries {
            self.findings.to_publish.insert(row.row);
            self.wake_channels(row.workspace);
        }
        self.plan_check(row, tx)?;
        Ok(since)
    }

    /// Counts an entry of a document that stays open, and looks at it again once there are as many as it is published of.
    pub(crate) fn note_entry(&mut self, document: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let due = self.config.snapshot_entries;
        let Some(opened) = self.documents.beside(document) else {
            return Ok(());
        };
        opened.since_snapshot = opened.since_snapshot.saturating_add(1);
        if opened.since_snapshot < due {
            return Ok(());
        }
        // Who does not publish it looks as seldom.
        opened.since_snapshot = 0;
        let row = opened.row.clone();
        self.plan_snapshot(&row, tx).map(drop)
    }

    /// Lets level channels of a workspace look at what there is to say.
    fn wake_channels(&mut self, workspace: i64) {
        for channel in self.relays.values_mut().filter_map(|relay| relay.channel_mut(workspace)) {
            (channel.has_changes, channel.has_records) = (true, true);
        }
    }

    /// Makes the snapshot of all that is here of a document; `None` if not all of it counts, or can be read.
    pub(crate) fn make_snapshot(
        &mut self,
        now: Now,
        row: &DocumentRow,
        tx: &Tx<'_>,
    ) -> Result<Option<Made>, StoreError> {
        let base = self.base_to_go_on_from(row, tx)?;
        let Some((about, opened)) = self.open_above(now, row, base.as_ref(), tx)? else {
            return Ok(None);
        };
        let ends = ends(base.as_ref(), &opened);
        if ends.is_empty() || ends.len() > COVERED_CHAINS_MAX {
            return Ok(None);
        }
        let Some(encoder) = Crdt::from_u8(about.crdt).map(Encoder::of) else {
            return Ok(None);
        };
        let Some(before) = self.payload_of(row, base.as_ref(), tx)? else {
            return Ok(None);
        };
        let name = base.as_ref().map(|base| base.last.hash());
        let cover = Cover { encoder: encoder.as_u8(), base: name, chains: ends, excluded: [].into() };
        Ok(payload(encoder, &about, &before, opened).map(|payload| Made { cover, payload }))
    }

    /// Opens all content of a document above what a snapshot stands for; `None` if something of it is missing, is set
    /// aside, or does not count.
    fn open_above(
        &mut self,
        now: Now,
        row: &DocumentRow,
        base: Option<&Base>,
        tx: &Tx<'_>,
    ) -> Result<Option<(About, Vec<OpenedEntry>)>, StoreError> {
        let floors = base.map_or(BTreeMap::new(), |base| base.floors.clone());
        let is_gone = base.is_none() && tx.horizon(row.row)?.is_some();
        if is_gone || !self.counts_above(row, &floors, tx)? {
            return Ok(None);
        }
        let about = match self.about_of(row, tx) {
            Ok(about) => about,
            Err(Error::Store(error)) => return Err(error),
            Err(_) => return Ok(None),
        };
        let which = if base.is_some() { Which::Above(&floors) } else { Which::All };
        let (opened, is_whole) = self.open_entries(now, (row, &about), which, tx)?;
        // Judged again: opening may have found what does not count.
        let counts = is_whole && self.counts_above(row, &floors, tx)? && is_without_gaps(base, &opened);
        Ok(counts.then_some((about, opened)))
    }
}

/// Returns what tells a document's creation, for the first part of a snapshot.
pub(crate) fn creation_of(about: &About) -> Creation {
    Creation { incarnation: about.incarnation, random: about.random, app_type: about.app_type.clone() }
}

/// Returns what of an entry makes a document: of a snapshot nothing, for it says again what others said.
pub(super) fn work_of(entry: &Entry, crdt: u8) -> Option<Body> {
    let (creation, deps, changes) = (None, Vec::new(), Vec::new());
    let is_snapshot = entry.header().kind == EntryKind::Snapshot;
    is_snapshot.then_some(Body { creation, crdt, instance: Instance(0), wall_ms: 0, deps, changes })
}

/// Returns the last entry of each chain: of these entries, or of what a snapshot below them stands for.
fn ends(base: Option<&Base>, opened: &[OpenedEntry]) -> BTreeMap<ChainId, (u64, EntryHash)> {
    let mut ends = base.map_or(BTreeMap::new(), |base| base.cover.chains.clone());
    for one in opened {
        let (chain, seq) = (one.entry.header().chain.id(), one.entry.header().seq);
        let end = ends.entry(chain).or_insert((seq, one.entry.hash()));
        if end.0 < seq {
            *end = (seq, one.entry.hash());
        }
    }
    ends
}

/// Tells whether every chain is here from its first entry on, or from where a snapshot ends that stands for its beginning.
fn is_without_gaps(base: Option<&Base>, opened: &[OpenedEntry]) -> bool {
    let mut reaches: BTreeMap<ChainId, u64> = base.map_or(BTreeMap::new(), Base::reach);
    for one in opened {
        *reaches.entry(one.entry.header().chain.id()).or_default() += 1;
    }
    ends(base, opened).iter().all(|(chain, (seq, _))| reaches.get(chain) == Some(seq))
}

/// Makes what a snapshot's parts carry, of what those of the one before it carry if there is one; `None` if the entries do
/// not make one whole document.
fn payload(encoder: Encoder, about: &About, before: &[u8], opened: Vec<OpenedEntry>) -> Option<Vec<u8>> {
    let (creator, base) = match split(about, before) {
        Some((creator, base)) => (creator, Some(base)),
        None if before.is_empty() => (opened.iter().find_map(|one| creator(about, &one.entry))?, None),
        None => return None,
    };
    let links: Vec<Link> = opened.iter().map(link).collect();
    let order = canonical(&links)?;
    let mut entries: Vec<Option<OpenedEntry>> = opened.into_iter().map(Some).collect();
    let mut parts: BTreeMap<ChainKey, Vec<u8>> = BTreeMap::new();
    let mut changes = Vec::new();
    for at in order {
        let one = entries.get_mut(at)?.take()?;
        changes
            .extend(join_parts(&mut parts, &one.entry, one.body.changes).into_iter().map(|bytes| (bytes, one.actor)));
    }
    if !parts.is_empty() {
        return None;
    }
    let foreign: Vec<_> = changes.iter().map(|(bytes, actor)| ForeignChange { bytes, actor: *actor }).collect();
    let state = encoder.encode(base, &foreign).ok().flatten()?;
    let payload = [creator.as_bytes().as_slice(), &state].concat();
    (payload.len() <= CHANGE_BYTES_MAX).then_some(payload)
}

/// Returns the device that created a document, if this is the entry that says so.
fn creator(about: &About, entry: &Entry) -> Option<DeviceId> {
    let device = entry.header().chain.device;
    let app_type = about.app_type.as_bytes();
    let derived = || {
        let (incarnation, random) = (about.incarnation, &about.random);
        tombolo_protocol::ids::DocumentId::derive(&device, incarnation, random, about.crdt, app_type)
    };
    (entry.header().flags.has(EntryFlags::CREATION) && derived() == about.id).then_some(device)
}

fn link(one: &OpenedEntry) -> Link {
    let header = one.entry.header();
    let deps = one.body.deps.iter().map(|dep| (dep.chain, dep.seq)).collect();
    Link { chain: header.chain.id(), seq: header.seq, deps }
}
