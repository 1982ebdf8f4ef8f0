//! What a log holds and this device has not taken: what waits, what came spoilt, what a comparison left open.
//!
//! A status row says no more of a log than what was taken of it without a gap (`status.rs`), and a session that
//! lives on compares again, at growing distances, as long as something is lacking.
//!
//! Invariant: whatever of a log moved the frontier and was neither stored nor judged is known here by its place,
//! or the log counts as not taken at all; a place in a log is stored only where a comparison left nothing open.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_protocol::entry::Entry;
use tombolo_protocol::frame::ChainSummary;
use tombolo_protocol::ids::{ChainId, ChainKey, EntryHash};

use crate::engine::{Engine, Now};
use crate::store::{LogRow, StoreError, Tx};
use crate::sync::channel::{Channel, Phase};
use crate::sync::floors::Floors;
use crate::workspace::Workspace;

/// Entries that are lacked by name; of more it is only known that there are some.
const LACKING_MAX: usize = 4096;
/// How long something may be lacking before the log is compared again; what is only late comes within seconds.
const COMPARE_AFTER: Duration = Duration::from_secs(30);
/// Longest wait before it is compared once more: a relay that lies on costs a list of its chains an hour.
const COMPARE_AFTER_MAX: Duration = Duration::from_secs(3600);
/// First wait for the answers to what is in flight, before a comparison begins; it doubles, as some do not come.
const IN_FLIGHT_REST: Duration = Duration::from_secs(5);
/// And where more is wanted.
const UNASKED_REST: Duration = Duration::from_millis(200);

/// What one session lacks of a log.
pub(crate) struct Lacking {
    /// Entries that came and were not taken, and where they stand.
    entries: BTreeMap<EntryHash, u64>,
    /// Chains that a comparison lists beyond what is here.
    chains: BTreeMap<ChainId, ChainSummary>,
    /// Those of them of which something came spoilt.
    spoilt: BTreeSet<ChainId>,
    /// Whether something waits whose place in this log is not known.
    is_unplaced: bool,
    /// Whether a record came whose signature does not fit; and whether one came with the list that is due.
    spoilt_record: bool,
    spoilt_in_list: bool,
    list_begun: bool,
    /// Whether a fellow was given another log, or more of it.
    contradicted: bool,
    /// Whether more is wanted than was asked for.
    unasked: bool,
    /// Whether the relay was asked for its list in the midst of the session.
    asked: bool,
    compare_at: Option<Duration>,
    compare_after: Duration,
    rest: Duration,
}

impl Default for Lacking {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            chains: BTreeMap::new(),
            spoilt: BTreeSet::new(),
            is_unplaced: false,
            spoilt_record: false,
            spoilt_in_list: false,
            list_begun: false,
            contradicted: false,
            unasked: false,
            asked: false,
            compare_at: None,
            compare_after: COMPARE_AFTER,
            rest: IN_FLIGHT_REST,
        }
    }
}

impl Lacking {
    fn is_empty(&self) -> bool {
        let is_whole = self.entries.is_empty() && self.chains.is_empty() && !self.is_unplaced;
        is_whole && !self.spoilt_record && !self.contradicted && !self.unasked
    }

    /// Tells whether a place in the log may be stored: what a comparison left open only another one brings.
    pub(in crate::sync) fn is_storable(&self) -> bool {
        self.chains.is_empty() && !self.spoilt_record
    }

    /// Tells whether the relay was asked for its list in the midst of the session: until it comes nothing is sent,
    /// for the receipts would be behind the list.
    pub(in crate::sync) fn awaits_list(&self) -> bool {
        self.asked
    }

    /// Tells whether nothing is sent before a list: it is awaited, or is to be asked for as soon as nothing is under way.
    pub(in crate::sync) fn comes_first(&self) -> bool {
        self.asked || self.unasked && self.compare_at.is_some()
    }

    /// Returns how many chains the log has more of than could be got from it. Of what came spoilt nobody can tell
    /// whether there ever was an original.
    pub(in crate::sync) fn withheld(&self) -> u64 {
        self.chains.keys().filter(|chain| !self.spoilt.contains(chain)).count() as u64
    }

    /// Notes that an entry of a chain, or of its second branch, came spoilt.
    pub(in crate::sync) fn note_spoilt(&mut self, chain: &ChainKey) {
        let ids = [chain.id(), chain.branch().id()];
        self.spoilt.extend(ids.iter().filter(|id| self.chains.contains_key(id)));
    }

    pub(in crate::sync) fn wake_at(&self) -> Option<Duration> {
        self.compare_at
    }

    /// Notes an entry of the log that was not taken.
    pub(in crate::sync) fn note_entry(&mut self, entry: EntryHash, position: u64) {
        if self.entries.len() < LACKING_MAX {
            self.entries.insert(entry, position);
        } else {
            self.is_unplaced = true;
        }
    }

    /// Notes that an entry was stored; returns whether it was lacking.
    pub(in crate::sync) fn note_stored(&mut self, entry: &EntryHash) -> bool {
        self.entries.remove(entry).is_some()
    }

    /// Notes that an entry which the log lists is not to be had: it was judged, and nothing is to come for it.
    pub(in crate::sync) fn note_judged(&mut self, entry: &Entry) {
        let (header, hash) = (entry.header(), entry.hash());
        for chain in [header.chain.id(), header.chain.branch().id()] {
            let listed = self.chains.get(&chain);
            if listed.is_some_and(|listed| hash.as_bytes().starts_with(&listed.hash)) {
                self.chains.remove(&chain);
            }
        }
    }

    /// Notes a chain that the log lists beyond what is here.
    pub(in crate::sync) fn note_listed(&mut self, listed: &ChainSummary) {
        self.chains.insert(listed.chain, listed.clone());
    }

    pub(in crate::sync) fn note_spoilt_record(&mut self, in_list: bool) {
        self.spoilt_record |= !in_list;
        self.spoilt_in_list |= in_list;
    }

    /// Begins anew with a list: it has all that the log holds, and its records came before.
    fn begin_list(&mut self) {
        self.entries.clear();
        self.chains.clear();
        self.spoilt.clear();
        self.spoilt_record = std::mem::take(&mut self.spoilt_in_list);
        (self.is_unplaced, self.contradicted) = (false, false);
        (self.asked, self.list_begun) = (false, true);
        self.compare_at = None;
    }

    pub(in crate::sync) fn end_list(&mut self) {
        self.list_begun = false;
    }

    /// Notes whether more is wanted than was asked for: a person waits for that.
    pub(in crate::sync) fn note_wanted(&mut self, now: Now, unasked: bool) {
        self.unasked = unasked;
        self.plan(now);
    }

    fn plan(&mut self, now: Now) {
        if self.is_empty() || self.asked {
            return;
        }
        if self.unasked {
            let planned = self.compare_at.filter(|at| *at <= now.mono + UNASKED_REST);
            self.compare_at = Some(planned.unwrap_or(now.mono));
        } else {
            self.compare_at.get_or_insert(now.mono + self.compare_after);
        }
    }
}

impl Engine {
    /// At an opening that goes on from a cursor: what has waited since an earlier session has no place here.
    pub(in crate::sync) fn note_left_waiting(&mut self, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let waits = tx.holds_any(at.1)?;
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.mending.lacking.is_unplaced = waits;
        }
        Ok(())
    }

    /// Takes the first part of a list for the beginning of a comparison that this device asked for in the midst of
    /// the session.
    pub(in crate::sync) fn begin_comparison(&mut self, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        if channel.phase == Phase::Level && channel.mending.lacking.asked {
            channel.phase = Phase::Reconciling;
            channel.sent.clear();
            channel.fetching.clear();
            channel.horizons.clear();
            channel.floors = Floors::default();
            channel.heads.judge_anew();
            tx.forget_place(at.0, at.1)?;
        }
        if channel.phase == Phase::Reconciling && !channel.mending.lacking.list_begun {
            channel.mending.lacking.begin_list();
            channel.asks.wanted = channel.asks.asked;
        }
        Ok(())
    }

    /// Stores the place in a log, unless a comparison has left something open.
    pub(in crate::sync) fn keep_place(
        &mut self,
        now: Now,
        at: (i64, i64),
        receipt: Option<Vec<u8>>,
        tx: &Tx<'_>,
    ) -> Result<(), StoreError> {
        self.look_at_lacking(now, at, tx)?;
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        if !channel.mending.lacking.is_storable() {
            return Ok(());
        }
        let row = channel.to_row(receipt);
        // A newer word on the same place says no more: an idle device writes nothing.
        let same = |held: &LogRow| (held.id, &held.frontier) == (row.id, &row.frontier) && held.receipt.is_some();
        if !tx.log(at.0, at.1)?.as_ref().is_some_and(same) {
            tx.set_log(at.0, at.1, &row)?;
        }
        Ok(())
    }

    /// Forgets what has come since, and plans to compare again if something is still lacking.
    fn look_at_lacking(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let held = self.workspaces.get(&at.1);
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        let unasked = held.is_some_and(|held| held.wanted_name() != channel.asks.wanted);
        let lacking = &mut channel.mending.lacking;
        lacking.unasked = unasked;
        let mut have = Vec::new();
        for (chain, listed) in &lacking.chains {
            if let Some(held) = held
                && held.has_listed(listed, tx)?
            {
                have.push(*chain);
            }
        }
        for chain in have {
            lacking.chains.remove(&chain);
        }
        if lacking.is_unplaced && lacking.entries.is_empty() && !tx.holds_any(at.1)? {
            lacking.is_unplaced = false;
        }
        lacking.plan(now);
        Ok(())
    }

    /// Plans to compare, as a fellow was given another log than this device, or more of it.
    pub(in crate::sync) fn plan_comparison(&mut self, now: Now, at: (i64, i64)) {
        if let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) {
            channel.mending.lacking.contradicted = true;
            channel.mending.lacking.plan(now);
        }
    }

    /// Compares again where something has been lacking for a while.
    pub(in crate::sync) fn compare_again(&mut self, now: Now, tx: &Tx<'_>) -> Result<(), StoreError> {
        let mut due = Vec::new();
        for (row, relay) in &self.relays {
            let channels = relay.live().into_iter().flat_map(|live| &live.channels);
            let is_due = |channel: &Channel| {
                channel.phase == Phase::Level && channel.mending.lacking.compare_at.is_some_and(|at| at <= now.mono)
            };
            due.extend(channels.filter(|(_, channel)| is_due(channel)).map(|(workspace, _)| (*row, *workspace)));
        }
        for at in due {
            self.look_at_lacking(now, at, tx)?;
            self.ask_for_list(now, at, tx)?;
        }
        Ok(())
    }

    fn ask_for_list(&mut self, now: Now, at: (i64, i64), tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return Ok(());
        };
        let is_busy = !channel.in_flight.is_empty() || !channel.fetching.is_empty() || !channel.stalled.is_empty();
        let lacking = &mut channel.mending.lacking;
        if lacking.is_empty() {
            (lacking.compare_at, lacking.compare_after) = (None, COMPARE_AFTER);
        } else if is_busy && lacking.unasked {
            lacking.compare_at = Some(now.mono + UNASKED_REST);
        } else if is_busy {
            lacking.compare_at = Some(now.mono + lacking.rest);
            lacking.rest = lacking.rest.saturating_mul(2).min(COMPARE_AFTER_MAX);
        } else {
            (lacking.asked, lacking.rest) = (true, IN_FLIGHT_REST);
            lacking.compare_at = None;
            if !lacking.unasked {
                lacking.compare_after = lacking.compare_after.saturating_mul(2).min(COMPARE_AFTER_MAX);
            }
            // The records that come before the list are placed anew by them.
            tx.forget_placed_records(at.0, at.1)?;
            self.request_list(at, tx)?;
        }
        Ok(())
    }

    /// Returns up to where this device has taken all of a log.
    pub(in crate::sync) fn taken_of(&self, at: (i64, i64), tx: &Tx<'_>) -> Result<u64, StoreError> {
        let Some(log) = tx.log(at.0, at.1)? else {
            return Ok(0);
        };
        let length = log.frontier.length();
        let live = self.relays.get(&at.0).and_then(|relay| relay.live()?.channels.get(&at.1));
        let Some(channel) = live.filter(|channel| matches!(channel.phase, Phase::Filling | Phase::Level)) else {
            return Ok(if tx.holds_any(at.1)? { 0 } else { length });
        };
        let lacking = &channel.mending.lacking;
        if !lacking.chains.is_empty() || lacking.is_unplaced {
            return Ok(0);
        }
        let first = lacking.entries.values().min().copied();
        Ok(first.map_or(length, |first| length.min(first.saturating_sub(1))))
    }
}

impl Workspace {
    /// Tells whether a chain, or its branch, holds the very entry that a log lists as its last.
    fn has_listed(&self, listed: &ChainSummary, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let Some(chain) = tx.chain_by_id(self.row, &listed.chain)? else {
            return Ok(false);
        };
        let branch = self.branches.get(&chain.row);
        for row in branch.map_or(vec![chain.row], |branch| vec![branch.of, branch.row]) {
            if tx.entry_hash(row, listed.seq)?.is_some_and(|hash| hash.as_bytes().starts_with(&listed.hash)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
