//! Open documents: loading them from their entries, keeping a bounded number, applying what arrives.
//!
//! Invariant: a document is a pure function of its admitted entries and this device's pending changes,
//! so it may be dropped at any moment and loaded again. Remote changes are applied in batches whose
//! distance grows with what an apply costs, so that applying never takes more than about a fifth of a
//! core. A loaded document with foreign work that was never looked into must also encode and reload
//! before that work counts as proven.

mod memory;

use std::time::Duration;

pub(crate) use memory::OpenDocuments;
use tombolo_crypto::array;
use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind};
use tombolo_protocol::ids::{DocumentId, Incarnation, Instance};

use super::build::{Piece, build, find_culprit, foreign};
use super::gather::{Gathered, Which};
use super::saved::UpTo;
use super::{Engine, Event, Now, Origin};
use crate::document::{Actor, ApplyReason, Crdt, OpenDocument, PatchMode, trial};
use crate::error::Error;
use crate::store::{DocumentRow, EntryState, StoreError, Tx};
use crate::sync::fold::Stored;

/// How much of a document's time on a core applying may take: one part in this many.
const APPLY_SHARE: u32 = 5;
/// Longest wait before remote changes are applied.
const APPLY_DELAY_MAX: Duration = Duration::from_millis(250);
/// What one automerge apply call costs for each KiB that the document counts as, measured: 33 ms for a
/// history of 259,778 small changes, which counts as 84 MiB.
const AUTOMERGE_APPLY_PER_KIB: Duration = Duration::from_nanos(400);

/// One document in memory.
pub(crate) struct Opened {
    pub(crate) row: DocumentRow,
    pub(crate) id: DocumentId,
    pub(crate) crdt: OpenDocument,
    pub(crate) instance: Instance,
    /// In which life of this device's chains it was loaded.
    life: Incarnation,
    pub(crate) watchers: u32,
    last_used: u64,
    /// What it took of the memory when it was weighed last.
    weight: usize,
    /// How many entries came since its newest snapshot, or since it was last looked at for one.
    pub(super) since_snapshot: usize,
    pub(crate) stored: Stored,
    queue: Vec<Piece>,
    apply_at: Option<Duration>,
    applied_at: Duration,
}

impl Engine {
    /// Makes sure that a document is in memory.
    pub(crate) fn open_document(&mut self, now: Now, row: &DocumentRow, tx: &Tx<'_>) -> Result<(), Error> {
        let life = self.incarnation_in(row.workspace);
        let is_stale = |opened: &mut Opened| opened.crdt.is_reload_required() || opened.life != life;
        let reload = self.documents.get(row.row).is_some_and(is_stale);
        if self.documents.is_open(row.row) && !reload {
            return Ok(());
        }
        let watchers = self.documents.get(row.row).map_or(0, |opened| opened.watchers);
        let opened = self.load_document(now, row, watchers, tx)?;
        let document = opened.id;
        self.documents.insert(opened);
        // What waited to be applied is in it now, and was not told.
        if watchers > 0 {
            self.tell(Event::Rebuilt { document });
        }
        Ok(())
    }

    fn load_document(&mut self, now: Now, row: &DocumentRow, watchers: u32, tx: &Tx<'_>) -> Result<Opened, Error> {
        let about = self.about_of(row, tx)?;
        let crdt = Crdt::from_u8(about.crdt).ok_or(Error::Document(ApplyReason::Malformed))?;
        let instance = Instance(u64::from_be_bytes(array(self.entropy.as_mut())));
        let own = self.own_changes(row, tx)?;
        #[cfg(feature = "planted-bugs")]
        let own = if tombolo_protocol::planted::Bug::PendingNotOpened.is_planted() { Vec::new() } else { own };
        let actor = self.own_actor(row.workspace, &about.id, instance);
        let loaded = self.assemble(now, row, (crdt, actor), own, tx)?;
        let since_snapshot = self.plan_snapshot(row, tx)?;
        let (_, _, newest) = tx.pending_summary(row.row)?;
        Ok(Opened {
            row: DocumentRow { about: Some(about.clone()), ..row.clone() },
            id: about.id,
            crdt: loaded,
            instance,
            life: self.incarnation_in(row.workspace),
            watchers,
            last_used: self.documents.uses(),
            weight: 0,
            since_snapshot,
            stored: Stored::of(row.row, newest),
            queue: Vec::new(),
            apply_at: None,
            applied_at: now.mono,
        })
    }

    /// Makes a document of its entries and the given pending changes; what stands in the way is set aside.
    pub(crate) fn assemble(
        &mut self,
        now: Now,
        row: &DocumentRow,
        (crdt, actor): (Crdt, Actor),
        mut own: Vec<Vec<u8>>,
        tx: &Tx<'_>,
    ) -> Result<OpenDocument, Error> {
        if let Some(document) = self.assemble_saved(now, row, (crdt, actor), &own, tx)? {
            return Ok(document);
        }
        if let Some(document) = self.assemble_published(now, row, (crdt, actor), &own, tx)? {
            return Ok(document);
        }
        let about = self.about_of(row, tx)?;
        let base = self.state_at_horizon(now, row, &about, tx)?;
        let damaged = self.damaged_entries(row.workspace);
        let Gathered { mut pieces, is_whole } = self.gather(now, row, &about, Which::All, tx)?;
        if self.damaged_entries(row.workspace) > damaged
            && let Some(document) = self.assemble_published(now, row, (crdt, actor), &own, tx)?
        {
            return Ok(document);
        }
        let assembled = self.build_of(now, row, ((crdt, actor), base.as_deref()), (&mut pieces, &mut own), tx)?;
        for piece in pieces.iter().filter(|piece| piece.state == EntryState::Stored) {
            self.findings.note_proven(piece.arrival);
        }
        let up_to = self.end_of(row, base.is_some(), &pieces, tx)?.filter(|_| is_whole);
        if own.is_empty() {
            self.save_document(row, &assembled, up_to, tx)?;
        } else if up_to.is_some()
            && let Ok(without_own) = build((crdt, actor), base.as_deref(), &pieces, &[])
        {
            self.save_document(row, &without_own, up_to, tx)?;
        }
        Ok(assembled)
    }

    /// Returns up to where a document that was made of all these pieces is to be saved, if it is.
    fn end_of(
        &self,
        row: &DocumentRow,
        on_base: bool,
        pieces: &[Piece],
        tx: &Tx<'_>,
    ) -> Result<Option<UpTo>, StoreError> {
        if on_base {
            return UpTo::the_end_of_all(row, tx).map(Some);
        }
        Ok(UpTo::the_end_of(pieces, 0).filter(|_| pieces.len() >= self.config.tail_entries))
    }

    /// Builds a document of pieces and pending changes, and takes those out that stand in the way.
    fn build_of(
        &mut self,
        now: Now,
        row: &DocumentRow,
        (crdt, base): ((Crdt, Actor), Option<&[u8]>),
        (pieces, own): (&mut Vec<Piece>, &mut Vec<Vec<u8>>),
        tx: &Tx<'_>,
    ) -> Result<OpenDocument, Error> {
        loop {
            match build(crdt, base, pieces, own) {
                Ok(document) => return Ok(document),
                Err(blame) => {
                    let Some(at) = blame.or_else(|| find_culprit(crdt, base, pieces)) else {
                        // A restored copy may have pending what was sent in another form (ADR 0008).
                        if !std::mem::take(own).is_empty() {
                            continue;
                        }
                        return Err(Error::Document(ApplyReason::Refused));
                    };
                    let culprit = pieces.remove(at.piece);
                    self.set_entry_aside(now, row, &culprit.entry, Some(culprit.arrival), at.reason.into(), tx)?;
                }
            }
        }
    }

    /// Builds a document as it would be if this device's kept work counted; what is in memory stays as it is.
    pub(super) fn load_with_kept(&mut self, now: Now, row: &DocumentRow, tx: &Tx<'_>) -> Result<OpenDocument, Error> {
        let about = self.about_of(row, tx)?;
        let crdt = Crdt::from_u8(about.crdt).ok_or(Error::Document(ApplyReason::Malformed))?;
        let instance = Instance(u64::from_be_bytes(array(self.entropy.as_mut())));
        let actor = self.own_actor(row.workspace, &about.id, instance);
        let base = self.state_at_horizon(now, row, &about, tx)?;
        let pieces = self.gather(now, row, &about, Which::All, tx)?.pieces;
        let own = self.pending_changes(row, tx)?;
        build((crdt, actor), base.as_deref(), &pieces, &own).map_err(|_| Error::Document(ApplyReason::Refused))
    }

    /// Queues an entry that was just stored for its document, if that is open.
    pub(crate) fn queue_apply(
        &mut self,
        now: Now,
        document: i64,
        (chain, arrival, entry): (i64, i64, Entry),
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let Some(opened) = self.documents.beside(document) else {
            return Ok(());
        };
        let (row, Some(about)) = (opened.row.clone(), opened.row.about.clone()) else {
            return Ok(());
        };
        if self.is_broken_before(row.workspace, (chain, entry.header().seq), 0) {
            return Ok(());
        }
        if entry.header().kind == EntryKind::Snapshot {
            self.came_counting(&row, None);
            return self.plan_snapshot(&row, tx).map(drop);
        }
        self.note_entry(document, tx)?;
        // The parts of a large change take effect together: load anew once the last is here.
        if entry.header().flags.has(EntryFlags::CONTINUES) || self.ends_parts(&entry, tx)? {
            return self.reopen(now, &row, tx);
        }
        match self.open_entry(row.workspace, &about, &entry) {
            Ok(Some((actor, body))) => {
                self.came_counting(&row, Some(&body));
                let author = entry.header().chain.device;
                let piece = Piece { arrival, state: EntryState::Stored, author, actor, changes: body.changes, entry };
                if let Some(opened) = self.documents.beside(document) {
                    opened.enqueue(now, piece);
                    self.documents.note_waiting(document);
                }
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(reason) => self.set_entry_aside(now, &row, &entry, Some(arrival), reason, tx),
        }
    }

    fn ends_parts(&self, entry: &Entry, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let header = entry.header();
        if header.seq < 2 {
            return Ok(false);
        }
        let Some(workspace) = self.workspaces.values().find(|workspace| workspace.tag == header.workspace) else {
            return Ok(false);
        };
        let Some(chain) = tx.chain_by_id(workspace.row, &header.chain.id())? else {
            return Ok(false);
        };
        let before = tx.entry(chain.row, header.seq - 1)?;
        Ok(before.is_some_and(|entry| entry.header().flags.has(EntryFlags::CONTINUES)))
    }

    /// Applies what has waited long enough.
    pub(crate) fn apply_due(&mut self, now: Now, tx: &Tx<'_>) -> Result<(), StoreError> {
        let due: Vec<i64> = self.documents.applies().filter(|(_, at)| *at <= now.mono).map(|(row, _)| row).collect();
        for row in due {
            self.apply_queue(now, row, tx)?;
        }
        Ok(())
    }

    /// Applies everything that waits for one document, at once.
    pub(crate) fn apply_queue(&mut self, now: Now, row: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.documents.note_applied(row);
        let Some(opened) = self.documents.beside(row) else {
            return Ok(());
        };
        let pieces = std::mem::take(&mut opened.queue);
        opened.apply_at = None;
        opened.applied_at = now.mono;
        if pieces.is_empty() {
            return Ok(());
        }
        let crdt = opened.crdt.crdt();
        let tried = pieces.iter().all(|piece| piece.changes.iter().all(|c| trial(crdt, c, piece.actor).is_ok()));
        let mode = if opened.watchers > 0 { PatchMode::On } else { PatchMode::Off };
        let applied = if tried { opened.crdt.apply(&foreign(&pieces), mode).ok() } else { None };
        let (document, row) = (opened.id, opened.row.clone());
        let Some(patches) = applied else {
            // Something in the batch is bad: building the document anew finds out which, and says so.
            return self.reopen(now, &row, tx);
        };
        for piece in &pieces {
            self.findings.note_proven(piece.arrival);
        }
        if mode == PatchMode::On && !patches.is_empty() {
            let first = pieces.first().map(|piece| piece.author);
            let author = first.filter(|author| pieces.iter().all(|piece| piece.author == *author));
            self.tell(Event::Changed { document, patches, author, origin: Origin::Remote });
        }
        Ok(())
    }

    /// Builds an open document anew, and tells those who watch it what it holds now.
    pub(crate) fn reopen(&mut self, now: Now, row: &DocumentRow, tx: &Tx<'_>) -> Result<(), StoreError> {
        let watchers = self.documents.get(row.row).map_or(0, |opened| opened.watchers);
        self.documents.close(row.row);
        match self.load_document(now, row, watchers, tx) {
            Ok(opened) => {
                let document = opened.id;
                self.documents.insert(opened);
                if watchers > 0 {
                    self.tell(Event::Rebuilt { document });
                }
                Ok(())
            }
            Err(Error::Store(error)) => Err(error),
            // It stays closed; the next who asks for it is told why.
            Err(_) => Ok(()),
        }
    }
}

impl Opened {
    fn enqueue(&mut self, now: Now, piece: Piece) {
        self.queue.push(piece);
        let at = (self.applied_at + self.apply_pause()).max(now.mono);
        self.apply_at = Some(self.apply_at.map_or(at, |planned| planned.min(at)));
    }

    /// How long to wait between two applies: several times what one is expected to cost.
    fn apply_pause(&self) -> Duration {
        match self.crdt.crdt() {
            Crdt::Automerge => {
                let kib = u32::try_from(self.crdt.memory_bytes_estimate() >> 10).unwrap_or(u32::MAX);
                AUTOMERGE_APPLY_PER_KIB.saturating_mul((APPLY_SHARE - 1).saturating_mul(kib)).min(APPLY_DELAY_MAX)
            }
            _ => Duration::ZERO,
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }
}
