//! Opening the entries of a document: from what is stored to the pieces it is built of.
//!
//! Invariant: an entry that the disk has changed ends its chain, until it is whole again, and no other:
//! what its author wrote later stays stored and is not judged without what it builds on.

use std::collections::BTreeMap;

use tombolo_crypto::Body;
use tombolo_protocol::entry::{Entry, EntryFlags};
use tombolo_protocol::ids::{ChainKey, DocumentId, Stream};

use super::build::{Piece, derive_actor, join_parts};
use super::counting::{OpenedEntry, Verdict};
use super::snapshot::work_of;
use super::{Engine, Now};
use crate::document::{Actor, Crdt};
use crate::error::Error;
use crate::store::{About, DocumentRow, EntryRow, EntryState, StoreError, Tx};
use crate::sync::reason::SetAsideReason;
use crate::workspace::Workspace;

/// The work of a document's entries.
pub(super) struct Gathered {
    pub(super) pieces: Vec<Piece>,
    /// Whether every entry that is neither set aside nor damaged is in it, and no change lacks a part.
    pub(super) is_whole: bool,
}

/// Which of a document's entries are asked for.
#[derive(Clone, Copy)]
pub(super) enum Which<'a> {
    All,
    /// Those that came after one, by its arrival.
    After(i64),
    /// Of each chain those above a place, up to which something else stands for them.
    Above(&'a BTreeMap<i64, u64>),
}

impl Which<'_> {
    fn floor_of(self, chain: i64) -> u64 {
        match self {
            Self::Above(floors) => floors.get(&chain).copied().unwrap_or(0),
            Self::All | Self::After(_) => 0,
        }
    }

    fn load(self, row: &DocumentRow, tx: &Tx<'_>) -> Result<Vec<EntryRow>, StoreError> {
        let after = match self {
            Self::Above(floors) => return tx.entries_above(row.row, floors),
            Self::After(arrival) => arrival,
            Self::All => 0,
        };
        let mut entries = Vec::new();
        tx.entries_of_document(row.row, Stream::CONTENT.0, after, |stored| entries.push(stored))?;
        Ok(entries)
    }
}

impl Engine {
    /// Returns what a document is; if the disk has changed that, its first entry says it again.
    pub(super) fn about_of(&self, row: &DocumentRow, tx: &Tx<'_>) -> Result<About, Error> {
        if let Some(about) = &row.about {
            let blinding = self.workspaces.get(&row.workspace).and_then(|held| held.blinding.as_ref());
            let tagged = blinding.is_none_or(|blinding| blinding.document_tag(&about.id) == row.tag);
            return if tagged { Ok(about.clone()) } else { Err(Error::Damaged) };
        }
        if !row.damaged {
            return Err(Error::NotReady);
        }
        let mut first = None;
        tx.entries_of_document(row.row, Stream::CONTENT.0, 0, |stored| {
            first = first.take().or(stored.entry.filter(|entry| entry.header().flags.has(EntryFlags::CREATION)));
        })?;
        let held = self.workspaces.get(&row.workspace).ok_or(Error::NotReady)?;
        let about = first.and_then(|entry| self.describe_from(held, &entry).ok().flatten());
        about.ok_or(Error::Damaged)
    }

    /// Gathers the work of a document's entries; what can not be opened is set aside or waits for its key.
    pub(super) fn gather(
        &mut self,
        now: Now,
        row: &DocumentRow,
        about: &About,
        which: Which<'_>,
        tx: &Tx<'_>,
    ) -> Result<Gathered, StoreError> {
        let (opened, is_whole) = self.open_entries(now, (row, about), which, tx)?;
        let verdicts = self.counting(now, row, &opened, tx)?;
        let (pieces, is_complete) = pieces(opened, &verdicts);
        Ok(Gathered { pieces, is_whole: is_whole && is_complete })
    }

    /// Opens entries of a document; tells whether no key was missing.
    pub(super) fn open_entries(
        &mut self,
        now: Now,
        (row, about): (&DocumentRow, &About),
        which: Which<'_>,
        tx: &Tx<'_>,
    ) -> Result<(Vec<OpenedEntry>, bool), StoreError> {
        let (mut opened, mut is_whole) = (Vec::new(), true);
        // Where a snapshot stands for what is not here, all that there is stands above it.
        let floors = if tx.horizon(row.row)?.is_some() { tx.floors_by_row(row.row)? } else { BTreeMap::new() };
        let which = if let (Which::All, false) = (which, floors.is_empty()) { Which::Above(&floors) } else { which };
        for stored in which.load(row, tx)? {
            let (arrival, place) = (stored.arrival, (stored.chain, stored.seq));
            let state = self.findings.state_of(arrival).unwrap_or(stored.state);
            if state == EntryState::Quarantined || self.is_broken_before(row.workspace, place, which.floor_of(place.0))
            {
                continue;
            }
            let Some(entry) = stored.entry.filter(|entry| entry.header().chain.document == row.tag) else {
                self.note_damage(now, place, tx)?;
                continue;
            };
            match self.open_entry(row.workspace, about, &entry) {
                Ok(Some((actor, body))) => {
                    opened.push(OpenedEntry { arrival, chain: stored.chain, state, entry, actor, body })
                }
                Ok(None) => {
                    self.counters.count(SetAsideReason::PendingKey);
                    is_whole = false;
                }
                Err(reason) => self.set_entry_aside(now, row, &entry, Some(arrival), reason, tx)?,
            }
        }
        Ok((opened, is_whole))
    }

    /// Opens one entry and judges what it says of itself; `None` while its key is not here.
    pub(super) fn open_entry(
        &self,
        workspace: i64,
        about: &About,
        entry: &Entry,
    ) -> Result<Option<(Option<Actor>, Body)>, SetAsideReason> {
        let header = entry.header();
        if let Some(body) = work_of(entry, about.crdt) {
            return Ok(Some((None, body)));
        }
        let held = self.workspaces.get(&workspace).and_then(|workspace| workspace.epochs.get(&header.epoch));
        let Some(held) = held else { return Ok(None) };
        let plaintext = held.keys.open_entry(entry).map_err(SetAsideReason::from)?;
        let body = Body::decode(&plaintext).map_err(|_| SetAsideReason::MalformedBody)?;
        if body.crdt != about.crdt {
            return Err(SetAsideReason::CrdtMismatch);
        }
        let actor = derive_actor(&header.chain, &about.id, body.instance);
        let base = header.flags.has(EntryFlags::BASE);
        Ok(Some(((!base).then_some(actor), body)))
    }

    /// Learns from a document's first entry what it is.
    pub(crate) fn describe_from(&self, workspace: &Workspace, entry: &Entry) -> Result<Option<About>, SetAsideReason> {
        let header = entry.header();
        let Some(held) = workspace.epochs.get(&header.epoch) else {
            return Ok(None);
        };
        let plaintext = held.keys.open_entry(entry).map_err(SetAsideReason::from)?;
        let body = Body::decode(&plaintext).map_err(|_| SetAsideReason::MalformedBody)?;
        let creation = body.creation.ok_or(SetAsideReason::MalformedBody)?;
        let app_type = creation.app_type.as_bytes();
        let device = &header.chain.device;
        let id = DocumentId::derive(device, creation.incarnation, &creation.random, body.crdt, app_type);
        let tag = workspace.blinding.as_ref().map(|key| key.document_tag(&id));
        if tag != Some(header.chain.document) || Crdt::from_u8(body.crdt).is_none() {
            return Err(SetAsideReason::OtherDocument);
        }
        let (crdt, incarnation) = (body.crdt, creation.incarnation);
        Ok(Some(About { id, crdt, incarnation, random: creation.random, app_type: creation.app_type }))
    }
}

/// Puts together what counts of the opened entries; tells whether that is all, and no change lacks a part.
fn pieces(opened: Vec<OpenedEntry>, verdicts: &[Verdict]) -> (Vec<Piece>, bool) {
    let mut parts: BTreeMap<ChainKey, Vec<u8>> = BTreeMap::new();
    let mut pieces = Vec::new();
    for (OpenedEntry { arrival, state, entry, actor, body, .. }, verdict) in opened.into_iter().zip(verdicts) {
        match verdict {
            Verdict::Counts => {}
            Verdict::Forked => continue,
            Verdict::Beyond | Verdict::Excluded => {
                // Parts of a change are one: without one of them the others are nothing.
                parts.remove(&entry.header().chain);
                continue;
            }
        }
        let changes = join_parts(&mut parts, &entry, body.changes);
        let author = entry.header().chain.device;
        let state = if state == EntryState::Beyond { EntryState::Stored } else { state };
        pieces.push(Piece { arrival, state, author, actor, changes, entry });
    }
    let all = verdicts.iter().all(|verdict| *verdict == Verdict::Counts);
    (pieces, all && parts.is_empty())
}
