//! What goes out: records, and entries that a log lacks.
//!
//! Invariant: what is in flight never exceeds the relay's credit by more than one frame; what was sent in
//! a session is not sent again in it, unless the relay says that it lacks it.

use std::ops::Bound;
use std::time::Duration;

use minicbor::bytes::ByteVec;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::frame::Append;
use tombolo_protocol::item::{Declaration, ItemHash, LogItem};
use tombolo_protocol::limits::{ITEMS_BYTES_TARGET, ITEMS_PER_FRAME_MAX};
use tombolo_protocol::membership::Membership;
use tombolo_protocol::receipt::Signed;
use tombolo_protocol::record::Record;

use super::channel::Phase;
use super::receipt::{RETRY_MAX, RETRY_MIN};
use super::{Relay, draw};
use crate::engine::{Engine, Now};
use crate::store::{StoreError, Tx};

/// How soon records of one relay go on to the others: long enough that of some devices one comes first.
const RECORDS_MIN: Duration = Duration::from_millis(200);
const RECORDS_MAX: Duration = Duration::from_secs(4);
/// Entries of one chain that are read from the store at once.
const ENTRIES_AT_ONCE: usize = 64;

/// One item that was sent and not answered yet.
#[derive(Clone, Debug)]
pub(crate) struct SentItem {
    pub(crate) hash: ItemHash,
    /// Chain and seq of an entry, and whether it went with its full header.
    pub(crate) entry: Option<(i64, u64, bool)>,
    pub(crate) refused: bool,
    /// Whether it is shown, and has no place before all of its snapshot is there.
    pub(crate) shown: bool,
}

impl SentItem {
    pub(super) fn new(hash: ItemHash, entry: Option<(i64, u64, bool)>) -> Self {
        Self { hash, entry, refused: false, shown: false }
    }
}

/// One append that was sent and not answered yet.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) nth: u32,
    pub(crate) bytes: usize,
    pub(crate) items: Vec<SentItem>,
}

/// Items of an append that is being put together.
#[derive(Default)]
pub(super) struct Parcel {
    items: Vec<ByteVec>,
    sent: Vec<SentItem>,
    bytes: usize,
}

impl Engine {
    /// Sends what level channels have to say.
    pub(crate) fn flush(&mut self, now: Now, tx: &Tx<'_>) -> Result<(), StoreError> {
        if self.paused || tx.room().is_err() {
            return Ok(());
        }
        let mut level = Vec::new();
        for (row, relay) in &self.relays {
            let channels = relay.live().into_iter().flat_map(|live| &live.channels);
            level.extend(channels.filter(|(_, c)| c.wants_flush()).map(|(workspace, _)| (*row, *workspace)));
        }
        for at in level {
            self.fetch_damaged(at, tx)?;
            self.fetch_doubted(now, at, tx)?;
            self.state_intents(now, at.1, tx)?;
            self.state_owed(now, at, tx)?;
            self.seal_workspace(now, at, tx)?;
            self.check_due(now, at.1, tx)?;
            self.publish_due(now, at, tx)?;
            self.send_records(at, tx)?;
            self.send_entries(now, at, tx)?;
        }
        Ok(())
    }

    /// Sends the records and attestations that the log lacks.
    fn send_records(&mut self, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        if !std::mem::take(&mut channel.has_records) {
            return Ok(());
        }
        // What was refused may go again at once, though the rest of its batch is not durable yet.
        let under_way = |item: &SentItem| (item.entry.is_none() && !item.refused).then_some(item.hash);
        let in_flight: Vec<ItemHash> =
            channel.in_flight.iter().flat_map(|batch| batch.items.iter().filter_map(under_way)).collect();
        let placed = tx.placed_records(at.0, at.1)?;
        let lacks = |hash: &ItemHash| placed.binary_search(&hash.to_leaf()).is_err() && !in_flight.contains(hash);
        let Some(workspace) = self.workspaces.get(&at.1) else {
            return Ok(());
        };
        let mut items = statements(&workspace.membership, lacks);
        let attests = workspace.attests.all().map(|attest| (attest.item_hash(), attest));
        let attests = attests.filter(|(hash, _)| lacks(hash));
        items.extend(attests.map(|(hash, attest)| (hash, LogItem::encode_attest(&attest.encode()))));
        let mut parcel = Parcel::default();
        for (hash, bytes) in items {
            parcel.add(SentItem::new(hash, None), bytes);
            if parcel.is_full() {
                self.send_parcel(at, std::mem::take(&mut parcel));
            }
        }
        self.send_parcel(at, parcel);
        Ok(())
    }

    /// Sends the entries that the log lacks, as far as the credit goes.
    fn send_entries(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        self.show_floors(at, tx)?;
        let mut parcel = Parcel::default();
        let mut last = None;
        // However many wait, only those are looked at that the credit has room for, and one.
        while let Some(chain) = self.next_unplaced(at, last) {
            if !self.awaits_floor(at, chain, tx)? && !self.pack_chain(now, at, chain, &mut parcel, tx)? {
                break;
            }
            last = Some(chain);
        }
        self.send_parcel(at, parcel);
        #[cfg(feature = "planted-bugs")]
        if tombolo_protocol::planted::Bug::OutboxDeletedOnSend.is_planted()
            && let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1))
        {
            channel.sent.iter().try_for_each(|(chain, seq)| tx.place(at.0, *chain, *seq, 1))?;
        }
        Ok(())
    }

    /// Returns the next chain with entries that the log lacks.
    fn next_unplaced(&self, at: (i64, i64), last: Option<i64>) -> Option<i64> {
        let channel = self.relays.get(&at.0)?.live()?.channels.get(&at.1)?;
        channel.unplaced.range((last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)).next().copied()
    }

    /// Packs one chain's entries; returns false when the credit is used up.
    fn pack_chain(
        &mut self,
        now: Now,
        at: (i64, i64),
        chain: i64,
        parcel: &mut Parcel,
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
        let placed = tx.placed(at.0, chain)?.map_or(0, |(seq, _)| seq);
        let declared = self.declared_alone(at, chain, tx)?;
        let floor = self.workspaces.get(&at.1).map_or(0, |held| held.floor_of(chain));
        loop {
            let Some(live) = self.relays.get_mut(&at.0).and_then(Relay::live_mut) else {
                return Ok(false);
            };
            if live.in_flight_bytes + parcel.bytes >= live.credit_bytes {
                return Ok(false);
            }
            let Some(channel) = live.channels.get_mut(&at.1) else {
                return Ok(false);
            };
            let sent = channel.sent.get(&chain).copied().unwrap_or(placed).max(floor);
            let entries = self.entries_to_send(now, chain, sent + 1, tx)?;
            let last = entries.last().map(|entry| entry.header().seq);
            self.note_sent(at, chain, last);
            if last.is_none() {
                return Ok(true);
            }
            for entry in entries {
                let known = declared.as_ref().map(|(position, declaration)| (*position, declaration));
                let full = known.is_none_or(|(_, declaration)| !declaration.fits(entry.header()));
                let bytes = LogItem::encode_entry(&entry, known);
                let sent = Some((chain, entry.header().seq, full));
                parcel.add(SentItem::new(ItemHash::Entry(entry.hash()), sent), bytes);
                if parcel.is_full() {
                    self.send_parcel(at, std::mem::take(parcel));
                }
            }
        }
    }

    /// Notes up to where a chain was sent; without a seq there is no more of it to send.
    fn note_sent(&mut self, at: (i64, i64), chain: i64, last: Option<u64>) {
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            match last {
                Some(last) => {
                    channel.sent.insert(chain, last);
                }
                None => {
                    channel.unplaced.remove(&chain);
                }
            }
        }
    }

    fn entries_to_send(&mut self, now: Now, chain: i64, from_seq: u64, tx: &Tx<'_>) -> Result<Vec<Entry>, StoreError> {
        let run = tx.entries_of_chain(chain, from_seq, ENTRIES_AT_ONCE)?;
        if let Some(damaged) = run.damaged {
            self.note_damage(now, (chain, damaged), tx)?;
        }
        Ok(run.entries)
    }

    /// Returns what declares a chain, unless it has two branches: the short form of an entry in one could be taken
    /// for one of the other.
    fn declared_alone(
        &self,
        at: (i64, i64),
        chain: i64,
        tx: &Tx<'_>,
    ) -> Result<Option<(u64, Declaration)>, StoreError> {
        if self.is_forked(at.1, chain) { Ok(None) } else { self.declared(at.0, chain, tx) }
    }

    pub(super) fn declared(
        &self,
        relay: i64,
        chain: i64,
        tx: &Tx<'_>,
    ) -> Result<Option<(u64, Declaration)>, StoreError> {
        let Some((position, seq)) = tx.declaration_of_chain(relay, chain)? else {
            return Ok(None);
        };
        let entry = tx.entry(chain, seq)?;
        Ok(entry.map(|entry| (position, Declaration::of(entry.header()))))
    }

    pub(super) fn send_parcel(&mut self, at: (i64, i64), parcel: Parcel) {
        if parcel.items.is_empty() {
            return;
        }
        let Some(live) = self.relays.get_mut(&at.0).and_then(Relay::live_mut) else {
            return;
        };
        let Some(channel) = live.channels.get_mut(&at.1) else {
            return;
        };
        channel.batches += 1;
        live.in_flight_bytes += parcel.bytes;
        let (number, nth) = (channel.number, channel.batches);
        channel.in_flight.push_back(Batch { nth, bytes: parcel.bytes, items: parcel.sent });
        self.send(at.0, Append { channel: number, batch: nth, items: parcel.items });
    }

    /// Plans to send a chain of another device on to the relays that lack it, if nobody else does.
    pub(crate) fn note_foreign(&mut self, now: Now, at: (i64, i64), chain: i64) {
        let others: Vec<i64> = self.relays.keys().copied().filter(|relay| *relay != at.0).collect();
        others.into_iter().for_each(|relay| self.note_unplaced(now, (relay, at.1), chain));
    }

    /// Plans to send to a relay what it lacks of a chain, or is not known to have, if nobody else does.
    pub(super) fn note_unplaced(&mut self, now: Now, at: (i64, i64), chain: i64) {
        let wait = draw(self.entropy.as_mut(), RETRY_MIN, RETRY_MAX);
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1));
        if let Some(channel) = channel.filter(|channel| channel.phase == Phase::Level) {
            channel.foreign.insert(chain);
            channel.foreign_at.get_or_insert(now.mono + wait);
        }
    }

    /// Plans to send on records that came from one relay to the others: a removal does not wait for a new session.
    pub(super) fn note_foreign_records(&mut self, now: Now, at: (i64, i64)) {
        let others: Vec<i64> = self.relays.keys().copied().filter(|relay| *relay != at.0).collect();
        for relay in others {
            let wait = draw(self.entropy.as_mut(), RECORDS_MIN, RECORDS_MAX);
            if let Some(channel) = self.relays.get_mut(&relay).and_then(|relay| relay.channel_mut(at.1)) {
                channel.records_at.get_or_insert(now.mono + wait);
            }
        }
    }

    /// Sends on what nobody else has.
    pub(super) fn release_foreign(&mut self, now: Now) {
        for live in self.relays.values_mut().filter_map(Relay::live_mut) {
            for channel in live.channels.values_mut() {
                if channel.foreign_at.is_some_and(|at| at <= now.mono) {
                    channel.foreign_at = None;
                    channel.unplaced.extend(std::mem::take(&mut channel.foreign));
                }
                channel.has_records |= channel.records_at.take_if(|at| *at <= now.mono).is_some();
            }
        }
    }
}

/// Returns the records and attestations that a log lacks, each behind what it stands on: a Join counts by its
/// attestation, and a relay takes nothing that stands on one before.
fn statements(membership: &Membership, lacks: impl Fn(&ItemHash) -> bool) -> Vec<(ItemHash, Vec<u8>)> {
    let mut statements = Vec::new();
    for record in membership.counting() {
        let (hash, of) = (ItemHash::Record(record.id()), (record.generation(), record.id(), false));
        if lacks(&hash) {
            statements.push((of, hash, LogItem::encode_record(&record.encode())));
        }
    }
    for attestation in membership.attestations() {
        let (hash, subject) = (attestation.item_hash(), attestation.claim().subject);
        if lacks(&hash) {
            let generation = membership.record(&subject).map_or(0, Record::generation);
            let of = (generation, subject, true);
            statements.push((of, hash, LogItem::encode_attestation(&Signed::encode(attestation))));
        }
    }
    statements.sort_by_key(|(of, ..)| *of);
    statements.into_iter().map(|(_, hash, bytes)| (hash, bytes)).collect()
}

impl Parcel {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, item: SentItem, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        self.items.push(bytes.into());
        self.sent.push(item);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= ITEMS_BYTES_TARGET || self.items.len() >= ITEMS_PER_FRAME_MAX
    }
}
