//! Admitting one authentic entry: where it goes, and what waits or is set aside.
//!
//! The checks, in order: workspace, membership record known, place in the chain, role at its
//! `members_head`, no step back in the membership log, epoch. What is opened later (key, AEAD, padding,
//! actor, trial) is judged when its document is built.
//!
//! Invariant: every outcome that is not "stored" has a counted reason; a bad entry never stops the other
//! chains of its document, nor other documents.

mod branch;
mod floor;

use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind, Header};
use tombolo_protocol::frame::Fetch;
use tombolo_protocol::ids::{ChainKey, RecordId};
use tombolo_protocol::limits::HOLD_BYTES_MAX;
use tombolo_protocol::membership::{self, RecordOutcome};

use super::Fault;
use super::reason::SetAsideReason;
use crate::engine::{Engine, Event, Now, claim};
use crate::store::{ChainRow, DocumentRow, EntryState, QuarantinedRow, StoreError, Tx};

/// Where an entry went.
pub(super) enum Admission {
    /// It is in the store now.
    Stored { chain: i64, document: i64 },
    /// It was there before.
    Duplicate { chain: i64 },
    /// It waits for something that may still come; the reason was counted.
    Waits,
    /// It was refused; the reason was counted.
    Aside,
}

impl Engine {
    pub(super) fn admit(&mut self, now: Now, at: (i64, i64), entry: Entry, tx: &Tx<'_>) -> Result<Admission, Fault> {
        let admission = self.admit_one(now, at, entry, tx)?;
        if let Admission::Stored { chain, document } = admission {
            self.note_foreign(now, at, chain);
            self.touched.insert(document);
            self.release_successors(now, at, chain, tx)?;
        }
        Ok(admission)
    }

    /// Admits what waited for the entry that was just stored, and for nothing else: what waits for a record
    /// may not have been verified yet.
    fn release_successors(&mut self, now: Now, at: (i64, i64), chain: i64, tx: &Tx<'_>) -> Result<(), Fault> {
        let Some((key, _)) = tx.chain_key(chain)? else {
            return Ok(());
        };
        let held = self.workspaces.get(&at.1);
        let own = held.and_then(|held| held.branches.get(&chain)).map_or(chain, |branch| branch.of);
        let Some((own, _)) = tx.chain_key(own)? else {
            return Ok(());
        };
        while let Some(head) = tx.chain_by_id(at.1, &key.id())? {
            // What waits is known by the chain's own name, whichever branch it belongs to.
            let place = (&own.id(), head.head_seq + 1);
            let next = match tx.take_held(at.1, place, SetAsideReason::Gap.code())? {
                Some(Some(next)) => next,
                Some(None) => {
                    self.counters.count(SetAsideReason::Damaged);
                    self.ask_again(at, &own, place.1, place.1);
                    return Ok(());
                }
                None => return Ok(()),
            };
            if !matches!(self.admit_one(now, at, next, tx)?, Admission::Stored { .. }) {
                return Ok(());
            }
            self.note_unplaced(now, at, chain);
        }
        Ok(())
    }

    fn admit_one(&mut self, now: Now, at: (i64, i64), entry: Entry, tx: &Tx<'_>) -> Result<Admission, Fault> {
        let workspace = at.1;
        let header = entry.header().clone();
        let Some(held) = self.workspaces.get(&workspace) else {
            return Ok(Admission::Aside);
        };
        if header.workspace != held.tag {
            return Ok(self.refuse(at, &entry, SetAsideReason::OtherWorkspace));
        }
        if held.membership.outcome(&header.members_head) != Some(RecordOutcome::Admitted) {
            return self.hold(now, at, &entry, SetAsideReason::UnknownRecord, tx);
        }
        let document = tx.document_by_tag(workspace, &header.chain.document)?;
        let chain = match &document {
            Some(document) => tx.chain_by_key(document.row, &header.chain)?,
            None => None,
        };
        if chain.is_none() && self.has_lost_its_place(workspace, &header.chain, tx)? {
            return Ok(Admission::Waits);
        }
        let head_seq = chain.as_ref().map_or(0, |(row, _)| row.head_seq);
        if let Some((row, _)) = chain.as_ref().filter(|(row, _)| self.is_gone(workspace, row.row, header.seq)) {
            return Ok(Admission::Duplicate { chain: row.row });
        }
        let floor = self.floor_begun_by((&document, chain.as_ref().map(|(row, _)| row)), &entry, tx)?;
        if let Some((row, _)) = chain.as_ref().filter(|_| floor.is_none())
            && (header.seq <= head_seq || self.is_beside(workspace, row, &header, tx)?)
        {
            return self.compare_held(now, at, row, entry, tx);
        }
        if header.seq > head_seq + 1 && floor.is_none() {
            return self.admit_ahead(now, at, entry, head_seq, tx);
        }
        let row = match document {
            Some(row) => row,
            None => self.note_document(workspace, &header.chain, tx)?,
        };
        self.admit_as_head(now, row, (chain, floor), entry, tx)
    }

    /// Stores an entry at the head of its chain or branch, and hands it to its document if that is open.
    pub(super) fn place(
        &mut self,
        now: Now,
        row: &DocumentRow,
        of: (i64, Entry),
        verdict: Result<(), SetAsideReason>,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let (chain, entry) = of;
        self.note_places(now, row.workspace, chain, &entry, tx)?;
        if entry.header().kind == EntryKind::Snapshot {
            self.findings.to_weigh.insert(row.row);
        }
        let arrival = tx.insert_entry(chain, &entry, state_of(verdict))?;
        match verdict {
            Ok(()) if self.is_forked(row.workspace, chain) => {
                self.came_forked(row.row);
            }
            Ok(()) if self.documents.is_open(row.row) => {
                self.queue_apply(now, row.row, (chain, arrival, entry), tx)?;
            }
            Ok(()) => self.came_counting(row, None),
            Err(reason) if state_of(verdict) == EntryState::Beyond => {
                self.came_struck(now, row, (arrival, &entry), reason);
            }
            Err(reason) => self.set_entry_aside(now, row, &entry, None, reason, tx)?,
        }
        Ok(())
    }

    /// Notes where an entry stands in the logs that brought it before it could be stored.
    fn note_places(
        &mut self,
        now: Now,
        workspace: i64,
        chain: i64,
        entry: &Entry,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        let (hash, seq) = (entry.hash(), entry.header().seq);
        let mut further = Vec::new();
        for (relay, state) in &mut self.relays {
            let Some(channel) = state.channel_mut(workspace) else {
                continue;
            };
            if let Some((position, full)) = channel.mending.aside_at.remove(&hash) {
                tx.place(*relay, chain, seq, position)?;
                if full {
                    tx.declare((*relay, workspace), position, chain, seq)?;
                }
            }
            if channel.mending.lacking.note_stored(&hash) {
                further.push((*relay, workspace));
            }
        }
        further.into_iter().for_each(|at| self.plan_status(now, at));
        Ok(())
    }

    /// Counts an entry of a log that is not taken, and for which nothing is to come.
    pub(super) fn refuse(&mut self, at: (i64, i64), entry: &Entry, reason: SetAsideReason) -> Admission {
        self.counters.count(reason);
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.mending.lacking.note_judged(entry);
        }
        Admission::Aside
    }

    /// Tells whether a chain is known by its name and not by its key: the disk has changed what is known
    /// of its document or its author, and what comes for it has no place.
    fn has_lost_its_place(&mut self, workspace: i64, chain: &ChainKey, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let lost = tx.chain_by_id(workspace, &chain.id())?.is_some();
        if lost {
            self.counters.count(SetAsideReason::Damaged);
        }
        Ok(lost)
    }

    /// Judges what the author was allowed to write, as of the record the entry names.
    pub(super) fn judge_author(
        &self,
        workspace: i64,
        entry: &Entry,
        before: Option<RecordId>,
    ) -> Result<(), SetAsideReason> {
        let header = entry.header();
        let held = self.workspaces.get(&workspace).ok_or(SetAsideReason::UnknownRecord)?;
        let view = held.membership.view_at(&header.members_head).ok_or(SetAsideReason::UnknownRecord)?;
        let role = view.role_of_device(&header.chain.device).ok_or(SetAsideReason::UnknownAuthor)?;
        if !role.may_write(header.chain.stream) {
            return Err(SetAsideReason::RoleDenied);
        }
        if before.is_some_and(|before| !held.membership.descends(&header.members_head, &before)) {
            return Err(SetAsideReason::MembershipRegression);
        }
        let of_its_time = view.epoch() == Some(header.epoch);
        #[cfg(feature = "planted-bugs")]
        let of_its_time = of_its_time || tombolo_protocol::planted::Bug::OldEpochAccepted.is_planted();
        if !of_its_time {
            return Err(SetAsideReason::EpochMismatch);
        }
        if !held.membership.strikes_entries() {
            return Ok(());
        }
        match held.membership.admission(&claim(entry, &entry.hash())) {
            membership::Admission::BeyondPin { .. } => Err(SetAsideReason::BeyondPin),
            membership::Admission::Excluded => Err(SetAsideReason::Excluded),
            _ => Ok(()),
        }
    }

    /// Compares an entry with the one that is already held in its place.
    fn compare_held(
        &mut self,
        now: Now,
        at: (i64, i64),
        chain: &ChainRow,
        entry: Entry,
        tx: &Tx<'_>,
    ) -> Result<Admission, Fault> {
        if self.is_held(now, at.1, chain, &entry, tx)? {
            return Ok(Admission::Duplicate { chain: chain.row });
        }
        self.admit_beside(now, at, chain, entry, tx)
    }

    /// Tells whether an entry is the one that is held in its place, which it mends if the disk has changed that.
    pub(super) fn is_held(
        &mut self,
        now: Now,
        workspace: i64,
        chain: &ChainRow,
        entry: &Entry,
        tx: &Tx<'_>,
    ) -> Result<bool, Fault> {
        let place = (chain.row, entry.header().seq);
        if self.workspaces.get(&workspace).is_some_and(|held| held.damaged.contains(&place))
            && self.mend(now, workspace, chain, entry, tx)?
        {
            return Ok(true);
        }
        let same = tx.entry_hash(chain.row, entry.header().seq)? == Some(entry.hash());
        #[cfg(feature = "planted-bugs")]
        let same = same || tombolo_protocol::planted::Bug::DedupeBySeq.is_planted();
        if same {
            self.counters.count(SetAsideReason::Duplicate);
            return Ok(true);
        }
        Ok(false)
    }

    pub(super) fn keep_evidence(
        &mut self,
        now: Now,
        at: (i64, i64),
        entry: &Entry,
        reason: SetAsideReason,
        tx: &Tx<'_>,
    ) -> Result<Admission, Fault> {
        tx.quarantine(at.1, &QuarantinedRow::of(entry, reason.code(), now.wall_ms), &entry.encode())?;
        self.note_own(now, at.1, &entry.header().chain, tx)?;
        Ok(self.refuse(at, entry, reason))
    }

    /// An entry of this device that this store never wrote: the store was copied or restored.
    pub(super) fn note_own(&mut self, now: Now, workspace: i64, chain: &ChainKey, tx: &Tx<'_>) -> Result<(), Fault> {
        if chain.device != self.device.id() {
            return Ok(());
        }
        let of_this_life = chain.incarnation == self.incarnation_in(workspace);
        if of_this_life {
            self.next_incarnation(tx)?;
        }
        let Some(id) = self.workspaces.get(&workspace).map(|workspace| workspace.id) else {
            return Ok(());
        };
        // What was written before the workspace was forgotten is its own.
        if of_this_life || !self.has_forgotten_life(&id, chain.incarnation, tx)? {
            self.suspect_clone(now, id, tx)?;
        }
        Ok(())
    }

    pub(super) fn hold(
        &mut self,
        now: Now,
        at: (i64, i64),
        entry: &Entry,
        reason: SetAsideReason,
        tx: &Tx<'_>,
    ) -> Result<Admission, Fault> {
        let held = tx.held_bytes(at.1, &entry.header().chain.document)?;
        if held.saturating_add(entry.sealed().len()) > HOLD_BYTES_MAX {
            self.counters.count(SetAsideReason::TooMuchHeld);
            return Ok(Admission::Waits);
        }
        tx.hold(at.1, entry, reason.code(), now.wall_ms)?;
        self.counters.count(reason);
        Ok(Admission::Waits)
    }

    /// Asks a relay for entries that are missing from a chain.
    pub(super) fn ask_again(&mut self, at: (i64, i64), chain: &ChainKey, from_seq: u64, to_seq: u64) {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return;
        };
        let id = chain.id();
        let number = channel.number;
        if channel.fetching.insert(id, (from_seq, to_seq)).is_none() {
            self.send(at.0, Fetch { channel: number, chain: id, from_seq, to_seq });
        }
    }

    fn note_document(&mut self, workspace: i64, chain: &ChainKey, tx: &Tx<'_>) -> Result<DocumentRow, StoreError> {
        let tag = chain.document;
        let row = tx.insert_document(workspace, &tag, None, self.entropy.as_mut())?;
        Ok(DocumentRow { row, workspace, tag, about: None, damaged: false })
    }

    /// Learns from a first entry what its document is, if that is not known yet.
    pub(super) fn describe(
        &mut self,
        now: Now,
        mut row: DocumentRow,
        entry: &Entry,
        tx: &Tx<'_>,
    ) -> Result<DocumentRow, StoreError> {
        if !entry.header().flags.has(EntryFlags::CREATION) || row.about.is_some() {
            return Ok(row);
        }
        let Some(held) = self.workspaces.get(&row.workspace) else {
            return Ok(row);
        };
        let workspace = held.id;
        match self.describe_from(held, entry) {
            Ok(Some(about)) => {
                tx.describe_document(row.row, &about, self.entropy.as_mut())?;
                self.tell(Event::DocumentAdded { workspace, document: about.id });
                row.about = Some(about);
            }
            Ok(None) => self.counters.count(SetAsideReason::PendingKey),
            Err(reason) => self.set_entry_aside(now, &row, entry, None, reason, tx)?,
        }
        Ok(row)
    }
}

/// Tells whether an entry follows another one than the chain's head; where the disk has changed what is
/// noted of the head, the head itself says.
fn is_fork(chain: &ChainRow, header: &Header, tx: &Tx<'_>) -> Result<bool, StoreError> {
    if chain.head_hash == header.prev {
        return Ok(false);
    }
    Ok(tx.entry(chain.row, chain.head_seq)?.is_none_or(|head| head.hash() != header.prev))
}

/// Makes an entry the head of its chain; returns the chain's row.
fn move_head(chain: Option<i64>, document: &DocumentRow, entry: &Entry, tx: &Tx<'_>) -> Result<i64, StoreError> {
    let header = entry.header();
    let head = (header.seq, entry.hash(), header.members_head);
    match chain {
        Some(chain) => tx.move_chain(chain, head).map(|()| chain),
        None => tx.insert_chain(document.workspace, document.row, &header.chain, head),
    }
}

/// Returns how an entry is kept: what a removal or an admin keeps out may count one day.
pub(super) fn state_of(verdict: Result<(), SetAsideReason>) -> EntryState {
    match verdict {
        Ok(()) => EntryState::Stored,
        Err(SetAsideReason::BeyondPin | SetAsideReason::Excluded) => EntryState::Beyond,
        Err(_) => EntryState::Quarantined,
    }
}
