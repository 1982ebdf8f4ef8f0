//! Taking in what others wrote: records, attestations and entries, each checked before it is kept.
//!
//! The checks of an entry, in order: layout, workspace, device known, signature, role at its
//! `members_head`, no step back in the membership log, epoch, place in the chain. What is opened later
//! (key, AEAD, padding, actor, trial) is judged when its document is built.
//!
//! Invariant: every outcome that is not "stored" has a counted reason; a bad entry never stops the
//! other chains of its document, nor other documents.

use std::collections::BTreeMap;

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::entry::{Entry, EntryFlags, verify_run};
use tombolo_protocol::frame::{Fetch, Items};
use tombolo_protocol::ids::{ChainKey, EntryHash};
use tombolo_protocol::item::{Declaration, ElidedEntry, ItemHash, LogItem};
use tombolo_protocol::limits::HOLD_BYTES_MAX;
use tombolo_protocol::membership::RecordOutcome;
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::Record;

use super::Fault;
use super::channel::Phase;
use super::debt::SetAsideReason;
use crate::engine::{Engine, Event, Now};
use crate::store::{DocumentRow, EntryState, StoreError, Tx};

/// An entry with where it came from.
pub(super) struct Incoming {
    pub(super) entry: Entry,
    /// Its position in the relay's log, and whether the item had the full header.
    pub(super) placed: Option<(u64, bool)>,
}

/// Where an entry went.
enum Admission {
    /// It is in the store now.
    Stored { chain: i64, document: i64 },
    /// It was there before.
    Duplicate { chain: i64 },
    /// It waits for something, or was refused; the reason was counted.
    Aside,
}

impl Engine {
    /// Takes in a run of the log.
    pub(crate) fn take_items(&mut self, now: Now, at: (i64, i64), items: &Items, tx: &Tx<'_>) -> Result<(), Fault> {
        const STRANGE: Fault = Fault::Session(CloseCode::Misbehaved, SetAsideReason::Malformed);
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)).ok_or(STRANGE)?;
        if !matches!(channel.phase, Phase::Filling | Phase::Level) || items.first_position == 0 {
            return Err(STRANGE);
        }
        let next = channel.frontier.length() + 1;
        let known = next.checked_sub(items.first_position).ok_or(STRANGE)?;
        let mut run: Vec<Incoming> = Vec::new();
        for (bytes, position) in items.items.iter().zip(items.first_position..).skip(known as usize) {
            match LogItem::decode(bytes).map_err(|_| STRANGE)? {
                LogItem::Record(record) => {
                    self.take_run(now, at, std::mem::take(&mut run), tx)?;
                    self.take_record(now, at, record, tx)?;
                }
                LogItem::Attestation(attestation) => {
                    self.take_run(now, at, std::mem::take(&mut run), tx)?;
                    self.take_attestation(now, at, attestation, tx)?;
                }
                LogItem::Entry(bytes) => {
                    let entry = Entry::decode(bytes).map_err(|_| STRANGE)?;
                    run.push(Incoming { entry, placed: Some((position, true)) });
                }
                LogItem::Elided(elided) => {
                    let Some(entry) = self.expand(at, &elided, &run, tx)? else {
                        return self.distrust_log(now, at, tx);
                    };
                    run.push(Incoming { entry, placed: Some((position, false)) });
                }
            }
        }
        self.take_run(now, at, run, tx)?;
        self.save_place(now, at, tx)
    }

    fn save_place(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), Fault> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        let row = channel.to_row(None);
        tx.set_log(at.0, at.1, &row)?;
        self.plan_status(now, at);
        Ok(())
    }

    /// Puts an entry in short form together again, from the store or the run it came in.
    fn expand(
        &self,
        at: (i64, i64),
        elided: &ElidedEntry<'_>,
        run: &[Incoming],
        tx: &Tx<'_>,
    ) -> Result<Option<Entry>, Fault> {
        let in_run = |found: &&Incoming| found.placed == Some((elided.declared_at, true));
        let declared = match run.iter().find(in_run) {
            Some(incoming) => Some(Declaration::of(incoming.entry.header())),
            None => match tx.declaration_at(at, elided.declared_at)? {
                Some((chain, seq)) => tx.entry(chain, seq)?.map(|entry| Declaration::of(entry.header())),
                None => None,
            },
        };
        let Some(declared) = declared else {
            return Ok(None);
        };
        let Some(prev) = self.hash_before(at.1, declared.chain(), elided.seq, run, tx)? else {
            return Ok(None);
        };
        Ok(elided.expand(&declared, prev).ok())
    }

    fn hash_before(
        &self,
        workspace: i64,
        chain: &ChainKey,
        seq: u64,
        run: &[Incoming],
        tx: &Tx<'_>,
    ) -> Result<Option<EntryHash>, Fault> {
        let before =
            |incoming: &&Incoming| incoming.entry.header().chain == *chain && incoming.entry.header().seq + 1 == seq;
        if let Some(incoming) = run.iter().rev().find(before) {
            return Ok(Some(incoming.entry.hash()));
        }
        match tx.chain_by_id(workspace, &chain.id())? {
            Some(chain) => Ok(tx.entry_hash(chain.row, seq - 1)?),
            None => Ok(None),
        }
    }

    /// Verifies and admits a run of entries between two records.
    pub(super) fn take_run(&mut self, now: Now, at: (i64, i64), run: Vec<Incoming>, tx: &Tx<'_>) -> Result<(), Fault> {
        let authentic = self.authentic(at.1, &run);
        for (incoming, authentic) in run.into_iter().zip(authentic) {
            let hash = ItemHash::Entry(incoming.entry.hash());
            let (key, seq) = (incoming.entry.header().chain, incoming.entry.header().seq);
            let admission = match authentic {
                Some(false) => {
                    self.counters.count(SetAsideReason::BadSignature);
                    Admission::Aside
                }
                _ => self.admit(now, at, incoming.entry, tx)?,
            };
            let Some((position, full)) = incoming.placed else {
                continue;
            };
            if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
                channel.frontier.append(&hash);
            }
            if let Admission::Stored { chain, .. } | Admission::Duplicate { chain } = admission {
                tx.place(at.0, chain, seq, position)?;
                if full {
                    tx.declare(at, position, chain, seq)?;
                }
                if key.device == self.device.id()
                    && let Some((_, document)) = tx.chain_key(chain)?
                {
                    self.touched.insert(document);
                }
            }
        }
        Ok(())
    }

    /// Tells of each entry whether its author signed it; `None` where the author is not known yet.
    fn authentic(&self, workspace: i64, run: &[Incoming]) -> Vec<Option<bool>> {
        let mut verdicts = vec![None; run.len()];
        let Some(held) = self.workspaces.get(&workspace) else {
            return verdicts;
        };
        let view = &held.view;
        let mut chains: BTreeMap<ChainKey, Vec<usize>> = BTreeMap::new();
        for (index, incoming) in run.iter().enumerate() {
            chains.entry(incoming.entry.header().chain).or_default().push(index);
        }
        for (chain, indices) in chains {
            let Some(device) = view.device(&chain.device) else {
                continue;
            };
            let entries: Vec<Entry> = indices.iter().filter_map(|at| Some(run.get(*at)?.entry.clone())).collect();
            for (index, verdict) in indices.into_iter().zip(verify_run(&entries, &device.keys.sign)) {
                if let Some(slot) = verdicts.get_mut(index) {
                    *slot = Some(verdict.is_ok());
                }
            }
        }
        verdicts
    }

    fn admit(&mut self, now: Now, at: (i64, i64), entry: Entry, tx: &Tx<'_>) -> Result<Admission, Fault> {
        let admission = self.admit_one(now, at, entry, tx)?;
        if let Admission::Stored { chain, document } = admission {
            self.note_foreign(now, at, chain, tx)?;
            self.touched.insert(document);
            self.release_successors(now, at, chain, tx)?;
        }
        Ok(admission)
    }

    /// Admits what waited for the entry that was just stored.
    fn release_successors(&mut self, now: Now, at: (i64, i64), chain: i64, tx: &Tx<'_>) -> Result<(), Fault> {
        let Some((key, _)) = tx.chain_key(chain)? else {
            return Ok(());
        };
        while let Some(head) = tx.chain_by_id(at.1, &key.id())? {
            let Some(next) = tx.take_held(at.1, &key.id(), head.head_seq + 1)? else {
                return Ok(());
            };
            if !matches!(self.admit_one(now, at, next, tx)?, Admission::Stored { .. }) {
                return Ok(());
            }
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
            self.counters.count(SetAsideReason::OtherWorkspace);
            return Ok(Admission::Aside);
        }
        if held.membership.outcome(&header.members_head) != Some(RecordOutcome::Admitted) {
            return self.hold(now, at, &entry, SetAsideReason::UnknownRecord, tx);
        }
        let document = tx.document_by_tag(workspace, &header.chain.document)?;
        let chain = match &document {
            Some(document) => tx.chain_by_key(document.row, &header.chain)?,
            None => None,
        };
        let (head_seq, head_hash) = chain.as_ref().map_or((0, None), |(row, _)| (row.head_seq, Some(row.head_hash)));
        if let Some((row, _)) = &chain
            && header.seq <= head_seq
        {
            return self.compare_held(now, at.1, row.row, &entry, tx);
        }
        if header.seq > head_seq + 1 {
            self.ask_again(at, &header.chain, head_seq + 1, header.seq - 1);
            return self.hold(now, at, &entry, SetAsideReason::Gap, tx);
        }
        if head_hash.is_some_and(|hash| hash != header.prev) {
            return self.keep_evidence(now, workspace, &entry, SetAsideReason::Fork, tx);
        }
        let verdict = self.judge_author(workspace, &entry, chain.as_ref().map(|(_, head)| *head));
        let row = match document {
            Some(row) => row,
            None => self.note_document(workspace, &header.chain, tx)?,
        };
        let row = self.describe(now, row, &entry, tx)?;
        self.note_own(workspace, &header.chain, tx)?;
        let head = (header.seq, entry.hash(), header.members_head);
        let chain = match chain {
            Some((chain, _)) => {
                tx.move_chain(chain.row, head)?;
                chain.row
            }
            None => tx.insert_chain(workspace, row.row, &header.chain, head)?,
        };
        let state = if verdict.is_ok() { EntryState::Stored } else { EntryState::Quarantined };
        let arrival = tx.insert_entry(chain, &entry, state)?;
        match verdict {
            Ok(()) => self.queue_apply(now, row.row, (arrival, entry), tx)?,
            Err(reason) => self.set_entry_aside(now, &row, &entry, None, reason, tx)?,
        }
        Ok(Admission::Stored { chain, document: row.row })
    }

    /// Judges what the author was allowed to write, as of the record the entry names.
    fn judge_author(
        &self,
        workspace: i64,
        entry: &Entry,
        before: Option<tombolo_protocol::ids::RecordId>,
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
        if view.epoch() != Some(header.epoch) {
            return Err(SetAsideReason::EpochMismatch);
        }
        Ok(())
    }

    /// Compares an entry with the one that is already held in its place.
    fn compare_held(
        &mut self,
        now: Now,
        workspace: i64,
        chain: i64,
        entry: &Entry,
        tx: &Tx<'_>,
    ) -> Result<Admission, Fault> {
        if tx.entry_hash(chain, entry.header().seq)? == Some(entry.hash()) {
            self.counters.count(SetAsideReason::Duplicate);
            return Ok(Admission::Duplicate { chain });
        }
        self.keep_evidence(now, workspace, entry, SetAsideReason::Fork, tx)
    }

    fn keep_evidence(
        &mut self,
        now: Now,
        workspace: i64,
        entry: &Entry,
        reason: SetAsideReason,
        tx: &Tx<'_>,
    ) -> Result<Admission, Fault> {
        tx.quarantine(workspace, entry, reason.code(), now.wall_ms)?;
        self.counters.count(reason);
        self.note_own(workspace, &entry.header().chain, tx)?;
        Ok(Admission::Aside)
    }

    /// An entry of this device's present life that it does not hold: its store was copied.
    fn note_own(&mut self, workspace: i64, chain: &ChainKey, tx: &Tx<'_>) -> Result<(), Fault> {
        if chain.device == self.device.id() && chain.incarnation == self.incarnation {
            self.next_incarnation(tx)?;
            if let Some(id) = self.workspaces.get(&workspace).map(|workspace| workspace.id) {
                self.tell(Event::CloneSuspected { workspace: id });
            }
        }
        Ok(())
    }

    fn hold(
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
            return Ok(Admission::Aside);
        }
        tx.hold(at.1, entry, reason.code(), now.wall_ms)?;
        self.counters.count(reason);
        Ok(Admission::Aside)
    }

    /// Asks a relay for entries that are missing from a chain.
    fn ask_again(&mut self, at: (i64, i64), chain: &ChainKey, from_seq: u64, to_seq: u64) {
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
        Ok(DocumentRow { row, workspace, tag, about: None })
    }

    /// Learns from a first entry what its document is, if that is not known yet.
    fn describe(
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
            Ok(None) => {}
            Err(reason) => self.set_entry_aside(now, &row, entry, None, reason, tx)?,
        }
        Ok(row)
    }

    /// Takes in a record of the log.
    pub(super) fn take_record(&mut self, now: Now, at: (i64, i64), bytes: &[u8], tx: &Tx<'_>) -> Result<(), Fault> {
        let record =
            Record::decode(bytes).map_err(|_| Fault::Session(CloseCode::Misbehaved, SetAsideReason::Malformed))?;
        self.append_item(at, ItemHash::Record(record.id()), tx)?;
        let Some(workspace) = self.workspaces.get_mut(&at.1) else {
            return Ok(());
        };
        let epochs = workspace.epochs.len();
        let outcome = workspace.take_record(&record, &self.device, tx, self.entropy.as_mut())?;
        let learnt = workspace.epochs.len() > epochs;
        if let RecordOutcome::Refused(_) = outcome {
            self.counters.count(SetAsideReason::RecordRefused);
        }
        self.after_records(now, at, learnt, tx)
    }

    fn take_attestation(&mut self, now: Now, at: (i64, i64), bytes: &[u8], tx: &Tx<'_>) -> Result<(), Fault> {
        let attestation = Signed::<Attestation>::decode(bytes)
            .map_err(|_| Fault::Session(CloseCode::Misbehaved, SetAsideReason::Malformed))?;
        self.append_item(at, attestation.item_hash(), tx)?;
        let Some(workspace) = self.workspaces.get_mut(&at.1) else {
            return Ok(());
        };
        let epochs = workspace.epochs.len();
        workspace.take_attestation(attestation, &self.device, tx, self.entropy.as_mut())?;
        let learnt = workspace.epochs.len() > epochs;
        self.after_records(now, at, learnt, tx)
    }

    fn append_item(&mut self, at: (i64, i64), hash: ItemHash, tx: &Tx<'_>) -> Result<(), Fault> {
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.frontier.append(&hash);
        }
        Ok(tx.place_record(at.0, at.1, &hash)?)
    }

    /// Looks again at what waited for a record or a key.
    pub(super) fn after_records(&mut self, now: Now, at: (i64, i64), learnt: bool, tx: &Tx<'_>) -> Result<(), Fault> {
        self.notice_joined(at.1, tx)?;
        for entry in tx.take_held_for(at.1, SetAsideReason::UnknownRecord.code())? {
            let incoming = Incoming { entry, placed: None };
            self.take_run(now, at, vec![incoming], tx)?;
        }
        if learnt {
            self.describe_waiting(now, at.1, tx)?;
            self.reopen_workspace(now, at.1, tx)?;
        }
        Ok(())
    }

    /// Opens the first entries of documents whose key has just come.
    fn describe_waiting(&mut self, now: Now, workspace: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        for row in tx.undescribed_documents(workspace)? {
            let mut first = None;
            tx.entries_of_document(row.row, 0, |_, _, _, entry| {
                if entry.header().flags.has(EntryFlags::CREATION) {
                    first = Some(entry);
                }
            })?;
            if let Some(entry) = first {
                self.describe(now, row, &entry, tx)?;
            }
        }
        Ok(())
    }
}
