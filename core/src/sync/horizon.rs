//! What a log does not hold any more, and the snapshot that it gives instead.
//!
//! A relay answers a fetch below a chain's floor with where a snapshot stands. That is fetched, judged, and if it stands for
//! what is wanted it is taken in, in one commit (`engine/horizon.rs`); then the chains are fetched from their floors on.
//!
//! Invariant: a relay proves nothing by saying that something is gone. What no snapshot stands for is lacking as if
//! it had been withheld: it is compared again, and shown as owed.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::frame::{Fetch, Fetched, Pruned};
use tombolo_protocol::ids::ChainId;
use tombolo_protocol::limits::CHANGE_BYTES_MAX;

use super::Fault;
use super::intake::{Incoming, Whence};
use super::reason::SetAsideReason;
use crate::engine::{Engine, Now};
use crate::store::{StoreError, Tx};

/// Snapshots that are fetched at once: each may be as large as a change in parts.
const AT_ONCE_MAX: usize = 4;
/// What a run may have besides the snapshot: its last covered entry, headers, what pads and seals.
const RUN_BYTES_MAX: usize = CHANGE_BYTES_MAX + (4 << 20);

/// The snapshots that a session fetches, by their chains.
#[derive(Default)]
pub(crate) struct Horizons {
    asked: BTreeMap<ChainId, Asked>,
}

/// One snapshot that is fetched.
struct Asked {
    from_seq: u64,
    to_seq: u64,
    is_sent: bool,
    run: Vec<Entry>,
    bytes: usize,
    /// The chains of which it stands for a part.
    waiting: BTreeSet<ChainId>,
}

impl Horizons {
    pub(super) fn clear(&mut self) {
        self.asked.clear();
    }

    fn expects(&self, chain: &ChainId) -> bool {
        self.asked.get(chain).is_some_and(|asked| asked.is_sent)
    }

    fn waits(&self, chain: &ChainId) -> bool {
        self.asked.values().any(|asked| asked.waiting.contains(chain))
    }
}

impl Asked {
    /// Takes the next part of the run; `None` if it is not that, else whether the run is whole.
    fn take(&mut self, fetched: &Fetched) -> Option<bool> {
        for bytes in &fetched.entries {
            let entry = Entry::decode(bytes).ok()?;
            let header = entry.header();
            let follows = match self.run.last() {
                Some(before) => header.names(before),
                None => header.seq == self.from_seq && header.chain.id() == fetched.chain,
            };
            self.bytes += bytes.len();
            if !follows || header.seq > self.to_seq || self.bytes > RUN_BYTES_MAX {
                return None;
            }
            self.run.push(entry);
        }
        let last = self.run.last().map(|entry| entry.header().seq);
        (!fetched.entries.is_empty()).then_some(last == Some(self.to_seq))
    }
}

impl Engine {
    /// Tells whether the next answer about a chain is for a snapshot.
    pub(super) fn awaits_snapshot(&self, at: (i64, i64), chain: &ChainId) -> bool {
        let channel = self.relays.get(&at.0).and_then(|relay| relay.live()?.channels.get(&at.1));
        channel.is_some_and(|channel| channel.horizons.expects(chain))
    }

    /// Takes in that a log does not hold any more what it was asked for.
    pub(crate) fn take_pruned(&mut self, now: Now, at: (i64, i64), pruned: &Pruned, tx: &Tx<'_>) -> Result<(), Fault> {
        const STRANGE: Fault = Fault::Session(CloseCode::Misbehaved, SetAsideReason::Malformed);
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)).ok_or(STRANGE)?;
        if channel.horizons.expects(&pruned.chain) {
            // The snapshot has gone meanwhile, for a newer one stands there.
            let asked = channel.horizons.asked.remove(&pruned.chain);
            return self.give_up_on(now, at, &asked.map(|asked| asked.waiting).unwrap_or_default(), tx);
        }
        let (from_seq, _) = *channel.fetching.get(&pruned.chain).ok_or(STRANGE)?;
        let is_sound = 0 < pruned.from_seq && pruned.from_seq <= pruned.to_seq;
        if !is_sound || channel.horizons.waits(&pruned.chain) {
            return Err(STRANGE);
        }
        let head_seq = tx.chain_by_id(at.1, &pruned.chain)?.map_or(0, |chain| chain.head_seq);
        if from_seq <= head_seq {
            // It is here, and the disk has changed it, or another branch was looked for.
            channel.fetching.remove(&pruned.chain);
            return self.end_comparison(now, at, false, tx);
        }
        let (from_seq, to_seq) = (pruned.from_seq, pruned.to_seq);
        let asked = channel.horizons.asked.entry(pruned.snapshot).or_insert_with(|| Asked {
            from_seq,
            to_seq,
            is_sent: false,
            run: Vec::new(),
            bytes: 0,
            waiting: BTreeSet::new(),
        });
        asked.waiting.insert(pruned.chain);
        self.ask_for_horizons(at);
        Ok(())
    }

    /// Asks for the snapshots whose turn it is. While something else of a chain is on its way, its snapshot waits: the
    /// answers would look alike.
    pub(super) fn ask_for_horizons(&mut self, at: (i64, i64)) {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return;
        };
        let under_way = channel.horizons.asked.values().filter(|asked| asked.is_sent).count();
        let horizons = &channel.horizons;
        let is_free = |chain: &ChainId| !channel.fetching.contains_key(chain) || horizons.waits(chain);
        let waiting = horizons.asked.iter().filter(|(chain, asked)| !asked.is_sent && is_free(chain));
        let next: Vec<ChainId> = waiting.map(|(chain, _)| *chain).take(AT_ONCE_MAX.saturating_sub(under_way)).collect();
        for chain in next {
            self.ask_for_run(at, chain);
        }
    }

    fn ask_for_run(&mut self, at: (i64, i64), chain: ChainId) {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return;
        };
        let number = channel.number;
        if let Some(asked) = channel.horizons.asked.get_mut(&chain) {
            asked.is_sent = true;
            let (from_seq, to_seq) = (asked.from_seq + asked.run.len() as u64, asked.to_seq);
            self.send(at.0, Fetch { channel: number, chain, from_seq, to_seq });
        }
    }

    /// Takes in a part of a snapshot's run.
    pub(super) fn take_run_of_snapshot(
        &mut self,
        now: Now,
        at: (i64, i64),
        fetched: &Fetched,
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        let taken = channel.horizons.asked.get_mut(&fetched.chain).and_then(|asked| asked.take(fetched));
        if taken == Some(false) {
            self.ask_for_run(at, fetched.chain);
            return Ok(());
        }
        let Some(asked) = channel.horizons.asked.remove(&fetched.chain) else {
            return Ok(());
        };
        let judged = if taken.is_some() { self.judge_horizon(at.1, asked.run, tx)? } else { None };
        let Some(horizon) = judged else {
            self.counters.count(SetAsideReason::SnapshotMismatch);
            return self.give_up_on(now, at, &asked.waiting, tx);
        };
        let (document, run) = self.raise_horizon(at.1, horizon, tx)?;
        let whence = Whence::Fetched { up_to: self.list_ends_at(at) };
        let run = run.into_iter().map(|entry| Incoming { entry, whence }).collect();
        self.take_run(now, at, run, tx)?;
        if let Some(chain) = tx.chain_by_id(at.1, &fetched.chain)? {
            tx.place(at.0, chain.row, asked.to_seq.min(chain.head_seq), self.list_ends_at(at))?;
            self.settle_horizon(now, (document, chain.row), asked.to_seq, tx)?;
        }
        for chain in &asked.waiting {
            self.fetch_from_floor(at, chain, tx)?;
        }
        self.end_comparison(now, at, false, tx)
    }

    /// Goes on with a chain where the snapshot ends that stands for its beginning.
    fn fetch_from_floor(&mut self, at: (i64, i64), chain: &ChainId, tx: &Tx<'_>) -> Result<(), StoreError> {
        let head_seq = tx.chain_by_id(at.1, chain)?.map_or(0, |chain| chain.head_seq);
        let floor = tx.floor(at.1, chain)?.map_or(0, |floor| floor.seq);
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        let (from_seq, number) = (floor.max(head_seq + 1), channel.number);
        let Some((from, to_seq)) = channel.fetching.get_mut(chain) else {
            return Ok(());
        };
        if from_seq > *to_seq || from_seq <= *from {
            // All of it is here; or the snapshot does not stand for it, and what is gone is lacking.
            channel.fetching.remove(chain);
            return Ok(());
        }
        *from = from_seq;
        let to_seq = *to_seq;
        self.send(at.0, Fetch { channel: number, chain: *chain, from_seq, to_seq });
        Ok(())
    }

    fn give_up_on(&mut self, now: Now, at: (i64, i64), chains: &BTreeSet<ChainId>, tx: &Tx<'_>) -> Result<(), Fault> {
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.fetching.retain(|chain, _| !chains.contains(chain));
        }
        self.end_comparison(now, at, false, tx)
    }
}
