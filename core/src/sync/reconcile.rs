//! Comparing with a log when there is no usable cursor: another relay, a reset, a doubt.
//!
//! The relay lists what it has: all records, and for each chain its head. What this device holds alike
//! is taken as placed, what it lacks is fetched by chain, what the log lacks is sent once the channel is
//! level; items follow from the listed position.
//!
//! Invariant: records are compared first; the listed frontier becomes the cursor only together with
//! what was learnt from the list.

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::frame::{ChainSummary, Fetch, Fetched, Ground, Summary};
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::log::Frontier;
use tombolo_protocol::membership::RecordOutcome;
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::Record;

use super::Fault;
use super::channel::Phase;
use super::handshake::MALFORMED;
use super::intake::Incoming;
use super::reason::SetAsideReason;
use crate::engine::{Engine, Now};
use crate::store::Tx;

/// The greatest seq: "to the end of the chain".
const TO_THE_END: u64 = i64::MAX as u64;

impl Engine {
    /// Takes in the relay's records.
    pub(crate) fn take_ground(&mut self, now: Now, relay: i64, ground: &Ground, tx: &Tx<'_>) -> Result<(), Fault> {
        let found = self.workspaces.values().find(|workspace| workspace.tag == ground.workspace);
        let at = (relay, found.map(|workspace| workspace.row).ok_or(MALFORMED)?);
        let mut learnt = false;
        for bytes in &ground.records {
            let record = Record::decode(bytes).map_err(|_| MALFORMED)?;
            let Some(workspace) = self.workspaces.get_mut(&at.1) else {
                return Ok(());
            };
            let epochs = workspace.epochs.len();
            let outcome = workspace.take_record(&record, &self.device, tx, self.entropy.as_mut())?;
            learnt |= workspace.epochs.len() > epochs;
            if let RecordOutcome::Refused(_) = outcome {
                self.counters.count(SetAsideReason::RecordRefused);
            }
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
        let phase = self.relays.get_mut(&relay).and_then(|relay| relay.channel_mut(at.1)).map(|c| c.phase);
        if !ground.more && phase == Some(Phase::Entering) {
            self.ask_to_join(now, at, tx)?;
        }
        Ok(())
    }

    /// Takes in the list of what the log holds.
    pub(crate) fn take_summary(
        &mut self,
        now: Now,
        at: (i64, i64),
        summary: &Summary,
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        let frontier = Frontier::decode(&summary.frontier).map_err(|_| MALFORMED)?;
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)).ok_or(MALFORMED)?;
        if channel.phase != Phase::Reconciling {
            return Err(MALFORMED);
        }
        channel.frontier = frontier;
        let number = channel.number;
        let mut wanted = Vec::new();
        for listed in &summary.chains {
            if let Some(from_seq) = self.compare_chain(at, listed, tx)? {
                wanted.push((listed.chain, from_seq));
            }
        }
        for (chain, from_seq) in wanted {
            let fetch = Fetch { channel: number, chain, from_seq, to_seq: TO_THE_END };
            if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
                channel.fetching.insert(chain, (from_seq, TO_THE_END));
                channel.listed.insert(chain, listed_declaration(&summary.chains, chain));
            }
            self.send(at.0, fetch);
        }
        if summary.more { Ok(()) } else { self.end_comparison(now, at, true, tx) }
    }

    /// Compares one chain; returns from which seq on this device lacks it.
    fn compare_chain(&mut self, at: (i64, i64), listed: &ChainSummary, tx: &Tx<'_>) -> Result<Option<u64>, Fault> {
        let Some(chain) = tx.chain_by_id(at.1, &listed.chain)? else {
            return Ok(Some(1));
        };
        let common = listed.seq.min(chain.head_seq);
        if common == listed.seq {
            let hash = tx.entry_hash(chain.row, listed.seq)?;
            let alike = hash.is_some_and(|hash| hash.as_bytes().starts_with(&listed.hash));
            if !alike {
                self.counters.count(SetAsideReason::Fork);
                return Ok(None);
            }
        }
        // A position of zero: where exactly it stands was not said, and nothing needs it.
        tx.place(at.0, chain.row, common, 0)?;
        if listed.declared_seq <= chain.head_seq {
            tx.declare(at, listed.declared_at, chain.row, listed.declared_seq)?;
        }
        Ok((listed.seq > chain.head_seq).then_some(chain.head_seq + 1))
    }

    /// Takes in entries that were asked for.
    pub(crate) fn take_fetched(
        &mut self,
        now: Now,
        at: (i64, i64),
        fetched: &Fetched,
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        const STRANGE: Fault = Fault::Session(CloseCode::Misbehaved, SetAsideReason::Malformed);
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)).ok_or(STRANGE)?;
        let (_, to_seq) = *channel.fetching.get(&fetched.chain).ok_or(STRANGE)?;
        let number = channel.number;
        let mut run = Vec::new();
        for bytes in &fetched.entries {
            let entry = Entry::decode(bytes).map_err(|_| STRANGE)?;
            if entry.header().chain.id() != fetched.chain {
                return Err(STRANGE);
            }
            run.push(Incoming { entry, placed: None });
        }
        let last = run.last().map(|incoming| incoming.entry.header().seq);
        self.take_run(now, at, run, tx)?;
        let held = tx.chain_by_id(at.1, &fetched.chain)?;
        if let (Some(chain), Some(last)) = (&held, last) {
            tx.place(at.0, chain.row, last.min(chain.head_seq), 0)?;
        }
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        match last {
            // The relay sends as much at once as one frame should hold.
            Some(last) if last < to_seq => {
                channel.fetching.insert(fetched.chain, (last + 1, to_seq));
                let (chain, from_seq) = (fetched.chain, last + 1);
                self.send(at.0, Fetch { channel: number, chain, from_seq, to_seq });
                return Ok(());
            }
            _ => channel.fetching.remove(&fetched.chain),
        };
        if let (Some(chain), Some(Some((position, seq)))) = (held, channel.listed.remove(&fetched.chain))
            && seq <= chain.head_seq
        {
            tx.declare(at, position, chain.row, seq)?;
        }
        self.end_comparison(now, at, false, tx)
    }

    /// Once the list is whole and nothing is missing any more, items are taken in from its position on.
    fn end_comparison(&mut self, now: Now, at: (i64, i64), list_ended: bool, tx: &Tx<'_>) -> Result<(), Fault> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        channel.list_ended |= list_ended;
        if channel.phase != Phase::Reconciling || !channel.list_ended || !channel.fetching.is_empty() {
            return Ok(());
        }
        channel.phase = Phase::Filling;
        channel.list_ended = false;
        let row = channel.to_row(None);
        tx.set_log(at.0, at.1, &row)?;
        self.drain_waiting(now, at, tx)
    }
}

fn listed_declaration(chains: &[ChainSummary], chain: tombolo_protocol::ids::ChainId) -> Option<(u64, u64)> {
    let listed = chains.iter().find(|listed| listed.chain == chain)?;
    Some((listed.declared_at, listed.declared_seq))
}
