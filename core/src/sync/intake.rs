//! Taking in a run of the log: records, attestations and entries, expanded and verified.
//!
//! Invariant: the frontier grows by the hash of every item of the run, whatever becomes of it, so that
//! the signed head can be compared; entries between two records are verified together, one signature for
//! a run of a chain (`run.rs`).

mod run;

pub(super) use run::{Incoming, Whence};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::entry::{Entry, EntryFlags};
use tombolo_protocol::frame::Items;
use tombolo_protocol::ids::{ChainKey, EntryHash};
use tombolo_protocol::item::{Declaration, ElidedEntry, ItemHash, LeftOut, LogItem};
use tombolo_protocol::limits::POSITION_MAX;
use tombolo_protocol::membership::{RecordOutcome, RecordRefusal};
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::Record;
use tombolo_protocol::snapshot::Attest;

use super::Fault;
use super::channel::Phase;
use super::reason::{SetAsideReason, of_unread};
use crate::engine::{Engine, Now};
use crate::store::{StoreError, Tx};

impl Engine {
    /// Takes in a run of the log.
    pub(crate) fn take_items(&mut self, now: Now, at: (i64, i64), items: &Items, tx: &Tx<'_>) -> Result<(), Fault> {
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)).ok_or(STRANGE)?;
        let taken = channel.course.length();
        let follows = (1..=taken + 1).contains(&items.first_position);
        if !matches!(channel.phase, Phase::Filling | Phase::Level) || !follows {
            return Err(STRANGE);
        }
        let mut run: Vec<Incoming> = Vec::new();
        for item in positioned(items) {
            let (position, last, item) = item?;
            if last <= taken {
                continue;
            }
            match item {
                LogItem::Entry(bytes) => {
                    let entry = Entry::decode(bytes).map_err(|_| STRANGE)?;
                    run.push(Incoming { entry, whence: Whence::Item { position, full: true } });
                }
                LogItem::Elided(elided) => {
                    let Some(entry) = self.expand(at, &elided, &run, tx)? else {
                        let Some(place) = self.damaged_declaration(at, elided.declared_at, tx)? else {
                            return self.distrust_log(now, at, tx);
                        };
                        self.take_run(now, at, run, tx)?;
                        self.save_place(now, at, tx)?;
                        return self.stall(now, at, place, items.clone().into(), tx);
                    };
                    run.push(Incoming { entry, whence: Whence::Item { position, full: false } });
                }
                item => {
                    self.take_run(now, at, std::mem::take(&mut run), tx)?;
                    self.take_statement(now, at, (position, item), tx)?;
                }
            }
        }
        self.take_run(now, at, run, tx)?;
        self.save_place(now, at, tx)
    }

    /// Counts in what a relay left out, if less than all was asked for; else it keeps something back.
    fn take_left_out(&mut self, at: (i64, i64), position: u64, left_out: LeftOut) -> Option<()> {
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1))?;
        let follows = channel.asks.wanted.is_some() && channel.course.length() + 1 == position;
        if follows { channel.append_run(left_out).ok() } else { None }
    }

    fn take_statement(
        &mut self,
        now: Now,
        at: (i64, i64),
        (position, item): (u64, LogItem<'_>),
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        match item {
            LogItem::Record(record) => self.take_record(now, at, record, tx),
            LogItem::Attestation(attestation) => self.take_attestation(now, at, attestation, tx),
            LogItem::Attest(attest) => self.take_attest(at, attest, tx),
            LogItem::LeftOut(left_out) => self.take_left_out(at, position, left_out).ok_or(STRANGE),
            LogItem::Entry(_) | LogItem::Elided(_) => Ok(()),
        }
    }

    fn save_place(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), Fault> {
        self.keep_place(now, at, None, tx)?;
        self.plan_status(now, at);
        self.plan_chores_for_expiries(now, at);
        Ok(self.compare_heads(now, at, tx)?)
    }

    /// Puts an entry in short form together again, from the store or the run it came in.
    fn expand(
        &self,
        at: (i64, i64),
        elided: &ElidedEntry<'_>,
        run: &[Incoming],
        tx: &Tx<'_>,
    ) -> Result<Option<Entry>, Fault> {
        let declaration = Whence::Item { position: elided.declared_at, full: true };
        let in_run = |found: &&Incoming| found.whence == declaration;
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
        let before = self.hashes_before(at.1, declared.chain(), elided.seq, run, tx)?;
        let mut expanded = before.iter().filter_map(|prev| elided.expand(&declared, *prev).ok());
        if before.len() < 2 {
            return Ok(expanded.next());
        }
        // Of two branches only one goes on with it: the author's signature says which.
        let author = self.workspaces.get(&at.1).and_then(|held| held.view.device(&declared.chain().device));
        Ok(expanded.find(|entry| author.is_some_and(|author| entry.verify(&author.keys.sign).is_ok())))
    }

    /// Returns the entries that may stand before a place of a chain: one, but for chains in two branches.
    fn hashes_before(
        &self,
        workspace: i64,
        chain: &ChainKey,
        seq: u64,
        run: &[Incoming],
        tx: &Tx<'_>,
    ) -> Result<Vec<EntryHash>, Fault> {
        let mut hashes: Vec<EntryHash> = self.hash_before(workspace, chain, seq, run, tx)?.into_iter().collect();
        if hashes.is_empty() {
            hashes.extend(self.hash_of_spoilt(workspace, (chain, seq - 1), tx)?);
        }
        let Some(own) = tx.chain_by_id(workspace, &chain.id())? else {
            return Ok(hashes);
        };
        let is_before =
            |incoming: &&Incoming| incoming.entry.header().chain == *chain && incoming.entry.header().seq + 1 == seq;
        hashes.extend(run.iter().filter(is_before).map(|incoming| incoming.entry.hash()));
        let held = self.workspaces.get(&workspace).and_then(|held| held.branches.get(&own.row));
        for row in held.into_iter().flat_map(|branch| [branch.of, branch.row]) {
            hashes.extend(tx.entry_hash(row, seq - 1)?);
        }
        hashes.sort_unstable();
        hashes.dedup();
        Ok(hashes)
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
            // Two columns name a head; where they differ the disk has changed one, and the entry says which.
            Some(chain) if chain.head_seq == seq - 1 && tx.entry_hash(chain.row, seq - 1)? != Some(chain.head_hash) => {
                Ok(Some(tx.entry(chain.row, seq - 1)?.map_or(chain.head_hash, |entry| entry.hash())))
            }
            Some(chain) => Ok(tx.entry_hash(chain.row, seq - 1)?),
            None => Ok(None),
        }
    }

    /// Returns the name of an entry that came spoilt: the signature is no part of it.
    fn hash_of_spoilt(&self, workspace: i64, place: (&ChainKey, u64), tx: &Tx<'_>) -> Result<Option<EntryHash>, Fault> {
        let doubts = tx.held_places(workspace, SetAsideReason::BadSignature.code())?;
        let id = place.0.id();
        Ok(doubts.into_iter().find(|doubt| (doubt.chain, doubt.seq) == (id, place.1)).map(|doubt| doubt.hash))
    }

    /// Takes in a record of the log.
    pub(super) fn take_record(&mut self, now: Now, at: (i64, i64), bytes: &[u8], tx: &Tx<'_>) -> Result<(), Fault> {
        let record = Record::decode(bytes).map_err(|error| Fault::Session(CloseCode::Misbehaved, of_unread(&error)))?;
        self.append_item(at, ItemHash::Record(record.id()), tx)?;
        let Some(workspace) = self.workspaces.get_mut(&at.1) else {
            return Ok(());
        };
        let epochs = workspace.epochs.len();
        let outcome = workspace.take_record(&record, &self.device, tx, self.entropy.as_mut())?;
        let learnt = workspace.epochs.len() > epochs;
        self.note_refused(at, &outcome, false);
        self.look_at_owed(at.1);
        self.after_records(now, at, learnt, tx)
    }

    /// Counts a record that does not count; one whose signature does not fit was spoilt, and may be had whole.
    pub(super) fn note_refused(&mut self, at: (i64, i64), outcome: &RecordOutcome, in_list: bool) {
        let RecordOutcome::Refused(refusal) = outcome else {
            return;
        };
        self.counters.count(SetAsideReason::RecordRefused);
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1));
        if let (RecordRefusal::Key(_), Some(channel)) = (refusal, channel) {
            channel.mending.lacking.note_spoilt_record(in_list);
        }
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

    fn take_attest(&mut self, at: (i64, i64), bytes: &[u8], tx: &Tx<'_>) -> Result<(), Fault> {
        let attest =
            Attest::decode(bytes).map_err(|_| Fault::Session(CloseCode::Misbehaved, SetAsideReason::Malformed))?;
        self.append_item(at, attest.item_hash(), tx)?;
        Ok(self.keep_attest(at.1, attest, tx)?)
    }

    fn append_item(&mut self, at: (i64, i64), hash: ItemHash, tx: &Tx<'_>) -> Result<(), Fault> {
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.append(&hash);
        }
        Ok(tx.place_record(at.0, at.1, &hash)?)
    }

    /// Looks again at what waited for a record or a key.
    pub(super) fn after_records(&mut self, now: Now, at: (i64, i64), learnt: bool, tx: &Tx<'_>) -> Result<(), Fault> {
        let forgotten = self.workspaces.get_mut(&at.1).map_or(0, |held| std::mem::take(&mut held.forgotten));
        (0..forgotten).for_each(|_| self.counters.count(SetAsideReason::TooMuchHeld));
        self.notice_joined(at.1, tx)?;
        self.membership_changed(at.1);
        self.plan_chores(now, at);
        self.seal_again(at);
        self.note_foreign_records(now, at);
        self.learn_identity(at.1, tx)?;
        for entry in tx.take_held_for(at.1, SetAsideReason::UnknownRecord.code())? {
            let Some(entry) = entry else {
                // Nobody knows any more what it was: a comparison finds what is missing.
                tx.forget_log(at.0, at.1)?;
                return Err(Fault::Session(CloseCode::Going, SetAsideReason::Damaged));
            };
            let incoming = Incoming { entry, whence: Whence::Held };
            self.take_run(now, at, vec![incoming], tx)?;
        }
        if learnt {
            self.describe_waiting(now, at.1, tx)?;
            self.reopen_workspace(now, at.1, tx)?;
        }
        Ok(())
    }

    /// Opens the first entries of documents whose key has just come.
    pub(crate) fn describe_waiting(&mut self, now: Now, workspace: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        for row in tx.undescribed_documents(workspace)? {
            let mut first = None;
            tx.entries_of_document(row.row, 0, 0, |stored| {
                first = first.take().or(stored.entry.filter(|entry| entry.header().flags.has(EntryFlags::CREATION)));
            })?;
            if let Some(entry) = first {
                self.describe(now, row, &entry, tx)?;
            }
        }
        Ok(())
    }
}

const STRANGE: Fault = Fault::Session(CloseCode::Misbehaved, SetAsideReason::Malformed);

/// Reads the items of a run, each with the first and the last position that it stands for.
fn positioned(items: &Items) -> impl Iterator<Item = Result<(u64, u64, LogItem<'_>), Fault>> {
    let mut last = items.first_position.saturating_sub(1);
    items.items.iter().map(move |bytes| {
        let item = LogItem::decode(bytes).map_err(|_| STRANGE)?;
        let position = last + 1;
        last = last.checked_add(item.positions()).filter(|last| *last <= POSITION_MAX).ok_or(STRANGE)?;
        Ok((position, last, item))
    })
}
