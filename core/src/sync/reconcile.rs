//! Comparing with a log when there is no usable cursor: another relay, a reset, a doubt.
//!
//! The relay lists what it has: all records and words, and for each chain its head. What this device holds alike
//! is taken as placed, what it lacks is fetched by chain, what the log lacks is sent once the channel is
//! level; items follow from the listed position.
//!
//! Invariant: records are compared first; the listed frontier becomes the cursor only together with
//! what was learnt from the list.

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::frame::{ChainSummary, Fetch, Fetched, Frame, Ground, Summary};
use tombolo_protocol::ids::ChainId;
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::log::Frontier;
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::Record;
use tombolo_protocol::snapshot::Attest;

use super::Fault;
use super::channel::Phase;
use super::course::Course;
use super::handshake::MALFORMED;
use super::intake::{Incoming, Whence};
use super::reason::{SetAsideReason, of_unread};
use crate::engine::{Engine, Now};
use crate::store::{Branch, ChainRow, StoreError, Tx};

/// The greatest seq: "to the end of the chain".
const TO_THE_END: u64 = i64::MAX as u64;

impl Engine {
    /// Takes in the relay's records, and members' words on snapshots.
    pub(crate) fn take_ground(&mut self, now: Now, relay: i64, ground: &Ground, tx: &Tx<'_>) -> Result<(), Fault> {
        let found = self.workspaces.values().find(|workspace| workspace.tag == ground.workspace);
        let at = (relay, found.map(|workspace| workspace.row).ok_or(MALFORMED)?);
        let mut learnt = false;
        for bytes in &ground.records {
            let record =
                Record::decode(bytes).map_err(|error| Fault::Session(CloseCode::Malformed, of_unread(&error)))?;
            let Some(workspace) = self.workspaces.get_mut(&at.1) else {
                return Ok(());
            };
            let epochs = workspace.epochs.len();
            let outcome = workspace.take_record(&record, &self.device, tx, self.entropy.as_mut())?;
            learnt |= workspace.epochs.len() > epochs;
            self.note_refused(at, &outcome, true);
            tx.place_record(relay, at.1, &ItemHash::Record(record.id()))?;
        }
        for bytes in &ground.attestations {
            let attestation = Signed::<Attestation>::decode(bytes).map_err(|_| MALFORMED)?;
            let hash = attestation.item_hash();
            let Some(workspace) = self.workspaces.get_mut(&at.1) else {
                return Ok(());
            };
            let epochs = workspace.epochs.len();
            workspace.take_attestation(attestation, &self.device, tx, self.entropy.as_mut())?;
            learnt |= workspace.epochs.len() > epochs;
            tx.place_record(relay, at.1, &hash)?;
        }
        self.after_records(now, at, learnt, tx)?;
        // Words count by the records, which are here now.
        for bytes in &ground.attests {
            let attest = Attest::decode(bytes).map_err(|_| MALFORMED)?;
            tx.place_record(relay, at.1, &attest.item_hash())?;
            self.keep_attest(at.1, attest, tx)?;
        }
        let phase = self.relays.get_mut(&relay).and_then(|relay| relay.channel_mut(at.1)).map(|c| c.phase);
        if !ground.more && phase == Some(Phase::Entering) {
            self.ask_to_join(now, at, tx)?;
        }
        Ok(())
    }

    /// Takes in what a relay says of its chains.
    pub(super) fn take_of_chains(&mut self, now: Now, relay: i64, frame: &Frame, tx: &Tx<'_>) -> Result<(), Fault> {
        match frame {
            Frame::Summary(summary) => {
                let workspace = self.channel_of(relay, summary.channel)?;
                self.take_summary(now, (relay, workspace), summary, tx)
            }
            Frame::Pruned(pruned) => {
                let workspace = self.channel_of(relay, pruned.channel)?;
                self.take_pruned(now, (relay, workspace), pruned, tx)
            }
            Frame::Fetched(fetched) => {
                let at = (relay, self.channel_of(relay, fetched.channel)?);
                if self.awaits_snapshot(at, &fetched.chain) {
                    self.take_run_of_snapshot(now, at, fetched, tx)?;
                } else {
                    self.take_fetched(now, at, fetched, tx)?;
                }
                self.after_fetch(now, at, tx)
            }
            _ => Err(MALFORMED),
        }
    }

    /// Takes in the list of what the log holds.
    fn take_summary(&mut self, now: Now, at: (i64, i64), summary: &Summary, tx: &Tx<'_>) -> Result<(), Fault> {
        let frontier = Frontier::decode(&summary.frontier).map_err(|_| MALFORMED)?;
        self.begin_comparison(at, tx)?;
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)).ok_or(MALFORMED)?;
        if channel.phase != Phase::Reconciling {
            return Err(MALFORMED);
        }
        channel.course = Course::from_frontier(frontier);
        if summary.chosen != Some(true) {
            channel.asks.documents = None;
        }
        let number = channel.number;
        let mut wanted = Vec::new();
        for listed in &summary.chains {
            if let Some(from_seq) = self.compare_chain(at, listed, tx)? {
                wanted.push((listed, from_seq));
            }
        }
        for (listed, from_seq) in wanted {
            let chain = listed.chain;
            let fetch = Fetch { channel: number, chain, from_seq, to_seq: TO_THE_END };
            if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
                channel.fetching.insert(chain, (from_seq, TO_THE_END));
                channel.listed.insert(chain, (listed.declared_at, listed.declared_seq));
                channel.mending.lacking.note_listed(listed);
            }
            self.send(at.0, fetch);
        }
        if summary.more { Ok(()) } else { self.end_comparison(now, at, true, tx) }
    }

    /// Compares one chain; returns from which seq on this device lacks it.
    fn compare_chain(&mut self, at: (i64, i64), listed: &ChainSummary, tx: &Tx<'_>) -> Result<Option<u64>, Fault> {
        let floor = tx.floor(at.1, &listed.chain)?.map_or(1, |floor| floor.seq);
        let Some(chain) = tx.chain_by_id(at.1, &listed.chain)? else {
            return Ok(Some(floor));
        };
        let held = self.workspaces.get(&at.1);
        if let Some(branch) = held.and_then(|held| held.branches.get(&chain.row).copied()) {
            return self.compare_branches(at, listed, &branch, tx);
        }
        if listed.seq <= held.map_or(0, |held| held.floor_of(chain.row)) {
            // It ends where nothing is here any more: what it lacks below must come from somebody else.
            return Ok(None);
        }
        let common = listed.seq.min(chain.head_seq);
        if common == listed.seq && !is_listed(chain.row, listed, tx)? {
            return Ok(Some(1));
        }
        tx.place(at.0, chain.row, common, self.list_ends_at(at))?;
        self.declare_listed(at, &chain, (listed.declared_at, listed.declared_seq), tx)?;
        let lacks = listed.seq > chain.head_seq && self.is_asked(at, chain.row, tx)?;
        Ok(lacks.then_some(floor.max(chain.head_seq + 1)))
    }

    /// Compares a chain that has two branches here: the list names one of them, or what is beyond.
    fn compare_branches(
        &self,
        at: (i64, i64),
        listed: &ChainSummary,
        branch: &Branch,
        tx: &Tx<'_>,
    ) -> Result<Option<u64>, Fault> {
        for row in [branch.of, branch.row] {
            if is_listed(row, listed, tx)? {
                tx.place(at.0, row, listed.seq, self.list_ends_at(at))?;
                let declared = if listed.declared_seq > branch.floor_seq { row } else { branch.of };
                tx.declare(at, listed.declared_at, declared, listed.declared_seq)?;
                return Ok(None);
            }
        }
        Ok(Some(branch.floor_seq + 1))
    }

    /// Takes in entries that were asked for.
    fn take_fetched(&mut self, now: Now, at: (i64, i64), fetched: &Fetched, tx: &Tx<'_>) -> Result<(), Fault> {
        const STRANGE: Fault = Fault::Session(CloseCode::Misbehaved, SetAsideReason::Malformed);
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)).ok_or(STRANGE)?;
        let (from_seq, to_seq) = *channel.fetching.get(&fetched.chain).ok_or(STRANGE)?;
        let number = channel.number;
        let whence = Whence::Fetched { up_to: channel.course.length() };
        let mut run = Vec::new();
        for bytes in &fetched.entries {
            let entry = Entry::decode(bytes).map_err(|_| STRANGE)?;
            let chain = entry.header().chain;
            if chain.id() != fetched.chain && chain.branch().id() != fetched.chain {
                return Err(STRANGE);
            }
            run.push(Incoming { entry, whence });
        }
        if from_seq > 1 && run.first().map_or(Ok(false), |first| self.is_of_other_branch(at.1, &first.entry, tx))? {
            self.fetch_on(at, fetched.chain, (1, to_seq), number);
            return Ok(());
        }
        let last_entry = run.last().map(|incoming| incoming.entry.clone());
        let last = last_entry.as_ref().map(|entry| entry.header().seq);
        self.take_run(now, at, run, tx)?;
        let held = self.note_fetched(at, fetched.chain, last_entry.as_ref(), tx)?;
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        match last {
            // The relay sends as much at once as one frame should hold.
            Some(last) if last < to_seq => {
                self.fetch_on(at, fetched.chain, (last + 1, to_seq), number);
                return Ok(());
            }
            _ => channel.fetching.remove(&fetched.chain),
        };
        if let (Some(chain), Some(declared)) = (held, channel.listed.remove(&fetched.chain)) {
            self.note_listed(at, &chain, declared, tx)?;
        }
        self.end_comparison(now, at, false, tx)
    }

    /// Returns a place in the log behind which nothing of the list stands: where exactly an entry does was not said.
    pub(super) fn list_ends_at(&self, at: (i64, i64)) -> u64 {
        let channel = self.relays.get(&at.0).and_then(|relay| relay.live()?.channels.get(&at.1));
        channel.map_or(0, |channel| channel.course.length())
    }

    fn fetch_on(&mut self, at: (i64, i64), chain: ChainId, run: (u64, u64), number: u32) {
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.fetching.insert(chain, run);
            self.send(at.0, Fetch { channel: number, chain, from_seq: run.0, to_seq: run.1 });
        }
    }

    /// Notes up to where the log holds what was fetched; returns the chain or branch that it belongs to.
    fn note_fetched(
        &self,
        at: (i64, i64),
        asked: ChainId,
        last: Option<&Entry>,
        tx: &Tx<'_>,
    ) -> Result<Option<ChainRow>, Fault> {
        let Some(last) = last else {
            return Ok(tx.chain_by_id(at.1, &asked)?);
        };
        let held = match self.branch_with(at.1, last, tx)? {
            Some(held) => Some(held),
            // Of what was fetched the last was not taken.
            None => tx.chain_by_id(at.1, &asked)?.filter(|chain| !self.is_forked(at.1, chain.row)),
        };
        if let Some(chain) = &held {
            tx.place(at.0, chain.row, last.header().seq.min(chain.head_seq), self.list_ends_at(at))?;
        }
        Ok(held)
    }

    /// Notes where the log declares a chain that was fetched.
    fn note_listed(&self, at: (i64, i64), chain: &ChainRow, declared: (u64, u64), tx: &Tx<'_>) -> Result<(), Fault> {
        let (position, seq) = declared;
        let held = self.workspaces.get(&at.1);
        let branch = held.and_then(|held| held.branches.get(&chain.row)).filter(|branch| seq <= branch.floor_seq);
        match branch {
            Some(branch) if seq <= chain.head_seq => Ok(tx.declare(at, position, branch.of, seq)?),
            Some(_) => Ok(()),
            None => self.declare_listed(at, chain, declared, tx),
        }
    }

    /// Notes where the log declares a chain, if what it declares it with is here.
    fn declare_listed(&self, at: (i64, i64), chain: &ChainRow, declared: (u64, u64), tx: &Tx<'_>) -> Result<(), Fault> {
        let behind = self.workspaces.get(&at.1).map_or(0, |held| held.floor_of(chain.row));
        // What is not here any more the first entry says again that is: it is in short form there.
        let seq = declared.1.max(behind + 1);
        if seq <= chain.head_seq {
            tx.declare(at, declared.0, chain.row, seq)?;
        }
        Ok(())
    }

    /// Once the list is whole and nothing is missing any more, items are taken in from its position on.
    pub(super) fn end_comparison(
        &mut self,
        now: Now,
        at: (i64, i64),
        list_ended: bool,
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        self.ask_for_horizons(at);
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        channel.list_ended |= list_ended;
        if channel.phase != Phase::Reconciling || !channel.list_ended || !channel.fetching.is_empty() {
            return Ok(());
        }
        channel.phase = Phase::Filling;
        channel.list_ended = false;
        channel.mending.lacking.end_list();
        self.keep_place(now, at, None, tx)?;
        self.drain_waiting(now, at, tx)
    }
}

/// Tells whether a chain or branch holds the very entry that the list names as its last.
fn is_listed(chain: i64, listed: &ChainSummary, tx: &Tx<'_>) -> Result<bool, StoreError> {
    let hash = tx.entry_hash(chain, listed.seq)?;
    Ok(hash.is_some_and(|hash| hash.as_bytes().starts_with(&listed.hash)))
}
