//! Mending: entries that the disk has changed are fetched again and put back in their place.
//!
//! A damaged entry is found where it is read: for its document, to be sent, or as what a short form
//! refers to. A level channel asks for it by chain and seq. What comes is verified like any other entry,
//! and must besides be the very one that stood there.
//!
//! Invariant: a place is asked for once a session; items that can not be read without it wait, in order.

mod doubt;
mod lacking;

use std::collections::{BTreeMap, BTreeSet};

use lacking::Lacking;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::frame::{Fetch, Frame};
use tombolo_protocol::ids::{ChainId, EntryHash};

use super::Fault;
use super::admit::state_of;
use super::reason::SetAsideReason;
use crate::engine::{Engine, Event, Now};
use crate::store::{ChainRow, EntryState, StoreError, Tx};

/// Frames that wait until a damaged entry was fetched; beyond it the session ends and begins anew.
const STALLED_FRAMES_MAX: usize = 256;

/// Entries that were not stored as they came, of which a session remembers the place in the log; of others a
/// later session learns it.
const ASIDE_PLACES_MAX: usize = 4096;

/// What a session asks a relay for again.
pub(crate) struct Mending {
    /// Whether the disk has changed entries that this relay was not asked for yet.
    pub(crate) has_damage: bool,
    /// Damaged places (chain and seq) that it was asked for.
    asked: BTreeSet<(i64, u64)>,
    /// Whether entries came spoilt that it was not asked for yet.
    pub(crate) has_doubts: bool,
    /// Places of spoilt entries (chain and seq) that it was asked for.
    doubted: BTreeSet<(ChainId, u64)>,
    /// Where entries stand in the log that were not stored as they came, and whether in full.
    pub(super) aside_at: BTreeMap<EntryHash, (u64, bool)>,
    /// What the log holds and was not taken.
    pub(super) lacking: Lacking,
}

impl Mending {
    /// Remembers where an entry stands in the log that was not stored as it came.
    pub(super) fn note_aside(&mut self, entry: EntryHash, position: u64, full: bool) {
        if self.aside_at.len() < ASIDE_PLACES_MAX {
            self.aside_at.insert(entry, (position, full));
        }
    }

    /// Tells whether there is something to ask for.
    pub(super) fn is_due(&self) -> bool {
        self.has_damage || self.has_doubts
    }
}

impl Default for Mending {
    fn default() -> Self {
        Self {
            has_damage: true,
            asked: BTreeSet::new(),
            has_doubts: true,
            doubted: BTreeSet::new(),
            aside_at: BTreeMap::new(),
            lacking: Lacking::default(),
        }
    }
}

impl Engine {
    /// Notes that a workspace has damage that its relays may mend.
    pub(crate) fn damage_to_mend(&mut self, workspace: i64) {
        for relay in self.relays.values_mut() {
            if let Some(channel) = relay.channel_mut(workspace) {
                channel.mending.has_damage = true;
            }
        }
    }

    /// Asks a relay for what the disk has changed: of each chain the first run that it was not asked for.
    pub(super) fn fetch_damaged(&mut self, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let damaged = self.workspaces.get(&at.1).map(|held| held.damaged.clone()).unwrap_or_default();
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        channel.mending.has_damage = false;
        let mut runs: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
        for (chain, seq) in damaged.into_iter().filter(|place| !channel.mending.asked.contains(place)) {
            let run = runs.entry(chain).or_insert((seq, seq));
            if run.1 + 1 == seq {
                run.1 = seq;
            }
        }
        for (chain, run) in runs {
            self.fetch_run(at, chain, run, tx)?;
        }
        Ok(())
    }

    fn fetch_run(&mut self, at: (i64, i64), chain: i64, run: (u64, u64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some((key, _)) = tx.chain_key(chain)? else {
            return Ok(());
        };
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        let (id, number) = (key.id(), channel.number);
        if channel.fetching.contains_key(&id) {
            return Ok(());
        }
        channel.fetching.insert(id, run);
        channel.mending.asked.extend((run.0..=run.1).map(|seq| (chain, seq)));
        self.send(at.0, Fetch { channel: number, chain: id, from_seq: run.0, to_seq: run.1 });
        Ok(())
    }

    /// Puts an authentic entry back where the disk has changed it; false if it is not the one that stood there.
    pub(super) fn mend(
        &mut self,
        now: Now,
        workspace: i64,
        chain: &ChainRow,
        entry: &Entry,
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
        let seq = entry.header().seq;
        let stored = tx.entry_hash(chain.row, seq)?;
        let vouched = stored == Some(entry.hash())
            || seq == chain.head_seq && chain.head_hash == entry.hash()
            || tx.entry(chain.row, seq + 1)?.is_some_and(|next| next.header().prev == entry.hash());
        if !vouched {
            return Ok(false);
        }
        let verdict = self.judge_author(workspace, entry, None);
        let arrival = tx.replace_entry(chain.row, entry, state_of(verdict))?;
        self.findings.forget(arrival);
        if let Some(stored) = stored {
            tx.release_quarantined(workspace, &stored, SetAsideReason::Damaged.code())?;
        }
        if let Some(held) = self.workspaces.get_mut(&workspace) {
            held.damaged.remove(&(chain.row, seq));
            // It is judged anew.
            held.struck.values_mut().for_each(|struck| struck.forget(&entry.hash()));
        }
        if let Some((_, document)) = tx.chain_key(chain.row)? {
            if let Some(row) = tx.document_by_row(document)? {
                let row = self.describe(now, row, entry, tx)?;
                if let Err(reason) = verdict
                    && state_of(verdict) == EntryState::Beyond
                {
                    self.came_struck(now, &row, (arrival, entry), reason);
                }
            }
            self.again.mended.insert(document);
        }
        Ok(true)
    }

    /// Builds the documents anew whose entries are whole again, if they are open, and says so.
    pub(crate) fn rebuild_mended(&mut self, now: Now, tx: &Tx<'_>) -> Result<(), StoreError> {
        for document in std::mem::take(&mut self.again.mended) {
            let Some(row) = tx.document_by_row(document)? else {
                continue;
            };
            if self.documents.is_open(document) {
                self.reopen(now, &row, tx)?;
            }
            // What was damaged may have stood in the way of giving something up.
            self.findings.to_weigh.insert(document);
            let document = row.about.map(|about| about.id);
            if let Some(workspace) = self.workspaces.get(&row.workspace).map(|held| held.id) {
                self.tell(Event::Mended { workspace, document });
            }
            self.work_to_send(row.workspace);
        }
        Ok(())
    }

    /// Returns where the entry is that a position of the log declared, if the disk has changed it.
    pub(super) fn damaged_declaration(
        &self,
        at: (i64, i64),
        position: u64,
        tx: &Tx<'_>,
    ) -> Result<Option<(i64, u64)>, StoreError> {
        let Some(place) = tx.declaration_at(at, position)? else {
            return Ok(None);
        };
        Ok(tx.entry(place.0, place.1)?.is_none().then_some(place))
    }

    /// Lets a frame wait until the entry that it can not be read without was fetched again.
    pub(super) fn stall(
        &mut self,
        now: Now,
        at: (i64, i64),
        place: (i64, u64),
        frame: Frame,
        tx: &Tx<'_>,
    ) -> Result<(), Fault> {
        self.note_damage(now, place, tx)?;
        let Some((key, _)) = tx.chain_key(place.0)? else {
            return self.distrust_log(now, at, tx);
        };
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        if channel.mending.asked.contains(&place) && !channel.fetching.contains_key(&key.id()) {
            // The relay was asked, and does not have it: only a comparison can help.
            return self.distrust_log(now, at, tx);
        }
        channel.stalled.push(frame);
        Ok(self.fetch_run(at, place.0, (place.1, place.1), tx)?)
    }

    /// Keeps a frame behind those that wait, if there are any; gives it back if there are none.
    pub(super) fn keep_behind(&mut self, relay: i64, frame: Frame) -> Result<Option<Frame>, Fault> {
        let number = match &frame {
            Frame::Items(items) => items.channel,
            Frame::Head(head) => head.channel,
            Frame::Received(received) => received.channel,
            Frame::Refused(refused) => refused.channel,
            _ => return Ok(Some(frame)),
        };
        let live = self.relays.get_mut(&relay).and_then(super::Relay::live_mut);
        let channel = live.and_then(|live| {
            let workspace = live.workspace_of(number)?;
            live.channels.get_mut(&workspace)
        });
        match channel {
            Some(channel) if !channel.stalled.is_empty() => {
                if channel.stalled.len() >= STALLED_FRAMES_MAX {
                    return Err(Fault::Session(CloseCode::SlowConsumer, SetAsideReason::TooMuchHeld));
                }
                channel.stalled.push(frame);
                Ok(None)
            }
            _ => Ok(Some(frame)),
        }
    }

    /// Goes on after a chain was fetched: with what waited for it, and with what else is damaged.
    pub(super) fn after_fetch(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), Fault> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        (channel.mending.has_damage, channel.mending.has_doubts) = (true, true);
        for frame in std::mem::take(&mut channel.stalled) {
            self.take_frame(now, at.0, frame, tx)?;
        }
        Ok(())
    }
}
