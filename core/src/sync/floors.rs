//! Showing a log the snapshot that stands for what neither it nor this device has.
//!
//! A log that was lost takes no chain that begins above 1, unless it is shown why it does: the snapshot's last part, the
//! entry at each covered end, then the run of the snapshot's own chain. It judges that by records and words, as before it
//! deletes anything, and takes all of it at once; then the chains go on from there (ADR 0018).
//!
//! Invariant: a document's lifted chains go to a log only after it was shown their snapshot, or would not have it; what is
//! shown counts as placed only where the log itself says that it stands there.

use std::collections::{BTreeSet, VecDeque};

use tombolo_protocol::frame::{RefusalReason, Refused};
use tombolo_protocol::item::{ItemHash, LogItem};

use super::Relay;
use super::channel::Channel;
use super::outbox::{Parcel, SentItem};
use super::reason::SetAsideReason;
use crate::engine::Engine;
use crate::store::{StoreError, Tx};

/// What of snapshots one session has shown.
#[derive(Default)]
pub(crate) struct Floors {
    showing: Option<Showing>,
    /// Documents whose snapshot was shown, whatever the log made of it.
    shown: BTreeSet<i64>,
}

/// One snapshot on its way.
struct Showing {
    document: i64,
    /// Chain and seq of what is still to go.
    left: VecDeque<(i64, u64)>,
}

impl Floors {
    /// Shows everything anew when it is wanted.
    pub(super) fn forget_shown(&mut self) {
        self.shown.clear();
    }

    /// Takes in what a log answers to something that was shown; returns whether it will not have it.
    fn take_answer(&mut self, refused: &Refused) -> bool {
        // What is only kept until the rest is there has no place in its chain.
        let is_kept = refused.reason == RefusalReason::Gap && refused.chain_seq.is_none();
        if let Some(showing) = self.showing.as_mut().filter(|_| !is_kept) {
            showing.left.clear();
        }
        !is_kept
    }
}

impl Channel {
    fn has_in_flight(&self, such: impl Fn(&SentItem) -> bool) -> bool {
        self.in_flight.iter().flat_map(|batch| &batch.items).any(such)
    }
}

impl Engine {
    /// Shows the log snapshots that stand for what it lacks, as far as the credit goes.
    pub(super) fn show_floors(&mut self, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        loop {
            let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
                return Ok(());
            };
            match &channel.floors.showing {
                Some(showing) if !showing.left.is_empty() => {
                    if !self.show_more(at, tx)? {
                        return Ok(());
                    }
                }
                Some(_) if channel.has_in_flight(|item| item.shown) => return Ok(()),
                Some(showing) => {
                    channel.floors.shown.insert(showing.document);
                    channel.floors.showing = None;
                }
                // It is judged by the words that the log has by then.
                None if channel.has_records || channel.has_in_flight(|item| item.entry.is_none()) => return Ok(()),
                None => {
                    let Some(document) = self.next_to_show(at, tx)? else {
                        return Ok(());
                    };
                    let left = self.parts_to_show(at.1, document, tx)?;
                    if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
                        channel.floors.showing = Some(Showing { document, left });
                    }
                }
            }
        }
    }

    /// Tells whether a chain is to wait until a snapshot was shown that stands for its beginning.
    pub(super) fn awaits_floor(&self, at: (i64, i64), chain: i64, tx: &Tx<'_>) -> Result<bool, StoreError> {
        Ok(self.document_to_show(at, chain, tx)?.is_some())
    }

    fn document_to_show(&self, at: (i64, i64), chain: i64, tx: &Tx<'_>) -> Result<Option<i64>, StoreError> {
        let lifted = self.workspaces.get(&at.1).and_then(|held| held.lifted.get(&chain));
        let live = self.relays.get(&at.0).and_then(|relay| relay.live()?.channels.get(&at.1));
        let (Some(behind), Some(channel)) = (lifted, live) else {
            return Ok(None);
        };
        if tx.placed(at.0, chain)?.is_some_and(|(seq, _)| seq > *behind) {
            return Ok(None);
        }
        let document = tx.chain_key(chain)?.map(|(_, document)| document);
        Ok(document.filter(|document| !channel.floors.shown.contains(document)))
    }

    fn next_to_show(&self, at: (i64, i64), tx: &Tx<'_>) -> Result<Option<i64>, StoreError> {
        let live = self.relays.get(&at.0).and_then(|relay| relay.live()?.channels.get(&at.1));
        let (Some(held), Some(channel)) = (self.workspaces.get(&at.1), live) else {
            return Ok(None);
        };
        // There may be very many that have no place, and few that begin above 1.
        for chain in held.lifted.keys().filter(|chain| channel.unplaced.contains(chain)) {
            if let Some(document) = self.document_to_show(at, *chain, tx)? {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    /// Returns what proves a document's floors; nothing if something of it is still to come.
    fn parts_to_show(&self, workspace: i64, document: i64, tx: &Tx<'_>) -> Result<VecDeque<(i64, u64)>, StoreError> {
        let (named, ends) = (tx.floors(document)?.len(), tx.floors_by_row(document)?);
        let Some((own, last)) = tx.horizon(document)?.filter(|_| named == ends.len()) else {
            return Ok(VecDeque::new());
        };
        let behind = self.workspaces.get(&workspace).map_or(0, |held| held.floor_of(own));
        let from = ends.get(&own).copied().unwrap_or(behind + 1);
        let of_others = ends.iter().filter(|(chain, _)| **chain != own).map(|(chain, seq)| (*chain, *seq));
        Ok([(own, last)].into_iter().chain(of_others).chain((from..last).map(|seq| (own, seq))).collect())
    }

    /// Sends the next parts of what is shown; returns whether it came to their end.
    fn show_more(&mut self, at: (i64, i64), tx: &Tx<'_>) -> Result<bool, StoreError> {
        let mut parcel = Parcel::default();
        let mut came_to_end = false;
        while let Some(live) = self.relays.get_mut(&at.0).and_then(Relay::live_mut) {
            let room = live.in_flight_bytes + parcel.bytes() < live.credit_bytes;
            let Some(channel) = live.channels.get_mut(&at.1).filter(|_| room) else {
                break;
            };
            let Some((chain, seq)) = channel.floors.showing.as_mut().and_then(|showing| showing.left.pop_front())
            else {
                came_to_end = true;
                break;
            };
            let Some(entry) = tx.entry(chain, seq)? else {
                // The disk has changed it: without it nothing is proved.
                if let Some(showing) = &mut channel.floors.showing {
                    showing.left.clear();
                }
                continue;
            };
            let (hash, entry) = (ItemHash::Entry(entry.hash()), LogItem::encode_entry(&entry, None));
            parcel.add(SentItem { shown: true, ..SentItem::new(hash, Some((chain, seq, true))) }, entry);
            if parcel.is_full() {
                self.send_parcel(at, std::mem::take(&mut parcel));
            }
        }
        self.send_parcel(at, parcel);
        Ok(came_to_end)
    }

    /// Takes in that the log has no place for something that was shown: yet, or at all.
    pub(super) fn take_refusal_of_shown(&mut self, at: (i64, i64), refused: &Refused) {
        let channel = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1));
        if channel.is_some_and(|channel| channel.floors.take_answer(refused)) {
            self.counters.count(SetAsideReason::from(refused.reason));
        }
    }
}
