//! Documents of which no more is here than a snapshot and what came after (ADR 0018).
//!
//! A relay that has deleted what a snapshot covers gives that instead. Who takes it in believes those who vouched for it,
//! by the same count as everywhere, and never has the entries below; who has them keeps them, and believes nobody.
//!
//! Invariant: a snapshot is taken in once, whole, in one commit with the places up to which it stands; from then on the
//! document is that state and the entries above those places.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crypto::Body;
use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind};
use tombolo_protocol::ids::{DeviceId, DocumentId, Stream};
use tombolo_protocol::membership::Vouched;
use tombolo_protocol::snapshot::Cover;

use super::gather::Which;
use super::snapshot::{carried, says, state_of};
use super::{Engine, Event, Now};
use crate::document::{Actor, Crdt, Encoder};
use crate::error::Error;
use crate::store::{About, DocumentRow, Floor, StoreError, Tx};
use crate::sync::reason::SetAsideReason;
use crate::workspace::Workspace;

/// A snapshot that may stand for what a log does not hold any more.
pub(crate) struct Horizon {
    row: Option<DocumentRow>,
    about: About,
    cover: Cover,
    /// The run of its chain, from the last covered entry to the snapshot's last part.
    run: Vec<Entry>,
}

impl Engine {
    /// Judges a run that ends with a snapshot, which a relay gives instead of entries; `None` if it does not stand for
    /// them, or not for all that is here.
    pub(crate) fn judge_horizon(
        &self,
        workspace: i64,
        run: Vec<Entry>,
        tx: &Tx<'_>,
    ) -> Result<Option<Horizon>, StoreError> {
        let Some(held) = self.workspaces.get(&workspace) else {
            return Ok(None);
        };
        let Some(cover) = run.last().and_then(|last| held.covered_by(last)) else {
            return Ok(None);
        };
        let Some(bodies) = held.open_parts(&run) else {
            return Ok(None);
        };
        let Some(header) = run.last().map(|last| last.header().clone()) else {
            return Ok(None);
        };
        let row = tx.document_by_tag(workspace, &header.chain.document)?;
        let payload = carried(&bodies);
        let about = row.as_ref().and_then(|row| row.about.clone()).or_else(|| about_of(&bodies, &payload));
        let tag = |about: &About| held.blinding.as_ref().map(|key| key.document_tag(&about.id));
        let Some(about) = about.filter(|about| tag(about) == Some(header.chain.document) && says(&bodies, about))
        else {
            return Ok(None);
        };
        let encoder = Crdt::from_u8(about.crdt).map(Encoder::of).filter(|encoder| encoder.as_u8() == cover.encoder);
        let state = state_of(&about, &payload);
        let document = encoder.zip(state).and_then(|(encoder, state)| encoder.decode(state, Actor::NOBODY).ok());
        if document.is_none_or(|document| document.verify().is_err()) {
            return Ok(None);
        }
        let floors = row.as_ref().map_or(Ok(BTreeMap::new()), |row| tx.floors(row.row))?;
        // What an older one stands for, this one must stand for as well.
        let reaches = floors.iter().all(|(chain, floor)| cover.chains.get(chain).is_some_and(|(seq, _)| seq >= floor));
        let fits = reaches && held.agrees(&cover, &run, tx)?;
        Ok(fits.then_some(Horizon { row, about, cover, run }))
    }

    /// Lets a snapshot stand for what is not here, and for what is here below it; returns the run, which is to be admitted
    /// now, and the document.
    pub(crate) fn raise_horizon(
        &mut self,
        workspace: i64,
        horizon: Horizon,
        tx: &Tx<'_>,
    ) -> Result<(i64, Vec<Entry>), StoreError> {
        let Horizon { row, about, cover, run } = horizon;
        let tag = run.last().map(|last| last.header().chain.document);
        let document = match (&row, tag) {
            (Some(row), _) => row.row,
            (None, Some(tag)) => tx.insert_document(workspace, &tag, None, self.entropy.as_mut())?,
            (None, None) => return Err(StoreError::Corrupt { table: "document" }),
        };
        if row.is_none_or(|row| row.about.is_none()) {
            tx.describe_document(document, &about, self.entropy.as_mut())?;
            if let Some(workspace) = self.workspaces.get(&workspace).map(|held| held.id) {
                self.tell(Event::DocumentAdded { workspace, document: about.id });
            }
        }
        for (chain, (seq, hash)) in &cover.chains {
            tx.set_floor(workspace, chain, &Floor { document, seq: *seq, hash: *hash })?;
        }
        self.forget_saved(document, tx)?;
        Ok((document, run))
    }

    /// Lets a document's snapshot be what it is opened from, once its run is here.
    pub(crate) fn settle_horizon(
        &mut self,
        now: Now,
        (document, chain): (i64, i64),
        seq: u64,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        tx.set_horizon(document, chain, seq)?;
        self.forget_saved(document, tx)?;
        match tx.document_by_row(document)?.filter(|row| self.documents.is_open(row.row)) {
            Some(row) => self.reopen(now, &row, tx),
            None => Ok(()),
        }
    }

    /// Lets a chain begin with the last entry that a snapshot stands for; what was here below goes.
    pub(crate) fn lift(&mut self, workspace: i64, chain: i64, floor: &Floor, tx: &Tx<'_>) -> Result<(), StoreError> {
        let behind = floor.seq.saturating_sub(1);
        self.forget_damage(workspace, chain, behind, tx)?;
        let gone: BTreeSet<_> = tx.lift(chain, behind)?.into_iter().collect();
        self.forget_saved(floor.document, tx)?;
        let Some(held) = self.workspaces.get_mut(&workspace) else {
            return Ok(());
        };
        held.lifted.insert(chain, behind);
        for entry in &gone {
            if let Some(struck) = held.struck.get_mut(&floor.document) {
                struck.forget(entry);
            }
            tx.release_struck(workspace, entry)?;
        }
        Ok(())
    }

    /// Forgets which entries of a chain the disk has changed, up to one behind which it will begin.
    fn forget_damage(&mut self, workspace: i64, chain: i64, behind: u64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(held) = self.workspaces.get_mut(&workspace) else {
            return Ok(());
        };
        for (_, seq) in held.damaged.extract_if((chain, 0)..=(chain, behind), |_| true) {
            if let Some(hash) = tx.entry_hash(chain, seq)? {
                tx.release_quarantined(workspace, &hash, SetAsideReason::Damaged.code())?;
            }
            if let Some(arrival) = tx.entry_arrival(chain, seq)? {
                self.findings.forget(arrival);
            }
        }
        Ok(())
    }

    pub(super) fn forget_saved(&mut self, document: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.findings.to_save.remove(document);
        tx.delete_saved(document)
    }

    /// Returns the state that stands for what is not here of a document; `None` if nothing has to.
    pub(super) fn state_at_horizon(
        &mut self,
        now: Now,
        row: &DocumentRow,
        about: &About,
        tx: &Tx<'_>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some((chain, seq)) = tx.horizon(row.row)? else {
            return Ok(None);
        };
        let bodies = match tx.entry(chain, seq)? {
            Some(last) => self.parts_of(row.workspace, (chain, &last), tx)?,
            None => None,
        };
        let payload = bodies.map(|bodies| carried(&bodies)).unwrap_or_default();
        if let Some(state) = state_of(about, &payload) {
            return Ok(Some(state.to_vec()));
        }
        // What the disk has changed is noted where it is read, and fetched again.
        self.gather(now, row, about, Which::All, tx)?;
        Err(Error::Damaged)
    }
}

impl Workspace {
    /// Returns what a snapshot covers, if its author signed it and those who vouch for it are, or were, enough.
    fn covered_by(&self, last: &Entry) -> Option<Cover> {
        let header = last.header();
        let is_last = header.kind == EntryKind::Snapshot && !header.flags.has(EntryFlags::CONTINUES);
        let author = self.view.device(&header.chain.device)?;
        let is_genuine = last.verify(&author.keys.sign).is_ok() && header.workspace == self.tag;
        if !is_last || !is_genuine || header.chain.stream != Stream::CONTENT {
            return None;
        }
        let cover = Cover::decode(last.clear()).ok();
        let cover = cover.filter(|cover| cover.excluded.is_empty());
        cover.filter(|_| matches!(self.vouched(last), Vouched::Enough | Vouched::WasEnough))
    }

    /// Opens the parts of the snapshot that a run ends with; `None` if one does not open, or names records that are not
    /// here.
    fn open_parts(&self, run: &[Entry]) -> Option<Vec<Body>> {
        if run.iter().any(|entry| self.membership.view_at(&entry.header().members_head).is_none()) {
            return None;
        }
        let continues = |entry: &&Entry| {
            entry.header().kind == EntryKind::Snapshot && entry.header().flags.has(EntryFlags::CONTINUES)
        };
        let before = run.iter().rev().skip(1).take_while(continues).count();
        let parts = run.get(run.len().checked_sub(before + 1)?..)?;
        let open = |entry: &Entry| {
            let held = self.epochs.get(&entry.header().epoch)?;
            Body::decode(&held.keys.open_entry(entry).ok()?).ok()
        };
        parts.iter().map(open).collect()
    }

    /// Tells whether what is here of a document goes the way that a snapshot and the run of its chain say.
    fn agrees(&self, cover: &Cover, run: &[Entry], tx: &Tx<'_>) -> Result<bool, StoreError> {
        let of_run = run.iter().map(|entry| (entry.header().chain.id(), entry.header().seq, entry.hash()));
        let of_cover = cover.chains.iter().map(|(chain, (seq, hash))| (*chain, *seq, *hash));
        for (id, seq, hash) in of_cover.chain(of_run) {
            let Some(chain) = tx.chain_by_id(self.row, &id)? else {
                continue;
            };
            let branch = self.branches.get(&chain.row);
            let rows = branch.map_or(vec![chain.row], |branch| vec![branch.of, branch.row]);
            let mut is_here = false;
            for row in rows {
                is_here |= tx.entry_hash(row, seq)? == Some(hash);
            }
            // What is neither here nor gone must be still to come, behind what is here.
            let is_to_come = branch.is_none() && (seq > chain.head_seq || seq <= self.floor_of(chain.row));
            if !is_here && !is_to_come {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Learns from a snapshot what its document is.
fn about_of(bodies: &[Body], payload: &[u8]) -> Option<About> {
    let first = bodies.first()?;
    let creation = first.creation.as_ref()?;
    let creator = DeviceId::from_bytes(*payload.first_chunk::<{ DeviceId::BYTES }>()?);
    let (incarnation, random, app_type) = (creation.incarnation, creation.random, creation.app_type.clone());
    let id = DocumentId::derive(&creator, incarnation, &random, first.crdt, app_type.as_bytes());
    Some(About { id, crdt: first.crdt, incarnation, random, app_type })
}
