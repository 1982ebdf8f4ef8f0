//! Giving up entries that a snapshot stands for, on this device (ADR 0018).
//!
//! A snapshot that has enough words is noted with the time. If it has them still when the app's time has passed, and every
//! relay holds what it covers, the entries below the covered end of each chain go, this device's own like all others.
//! The document is that state from then on, and the entries above, as on a device that came late.
//!
//! Invariant: nothing goes but for a state that this device has made itself of the very entries, byte for byte, and
//! that lies here whole; with them go the document's older floors and its saved form, in one commit.

use std::collections::BTreeSet;
use std::time::Duration;

use super::base::Base;
use crate::document::{Actor, Crdt};
use crate::engine::{Engine, Now};
use crate::error::Error;
use crate::store::{DocumentRow, Floor, StoreError, Tx, VouchedRow};

/// Between two looks for what is due, while nothing is: a wall clock that jumps is noticed so late.
const LOOK_PAUSE: Duration = Duration::from_secs(3600);
/// Between two documents that are due: each may take as long as opening it from its entries.
const DOCUMENT_PAUSE: Duration = Duration::from_secs(1);

/// When this device looks for what it may give up.
#[derive(Default)]
pub(crate) struct Compaction {
    /// Whether the snapshots that had words before this start were looked at.
    is_begun: bool,
    look_at: Option<Duration>,
    /// Documents that are due, and something stands in the way.
    stuck: BTreeSet<i64>,
}

impl Compaction {
    /// Returns when it wants to look again.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        self.look_at
    }
}

impl Engine {
    /// Notes snapshots that have got enough words, and lets go what one stands for whose time has come.
    pub(crate) fn compact_due(&mut self, now: Now, tx: &Tx<'_>) -> Result<(), StoreError> {
        let mut to_weigh = std::mem::take(&mut self.findings.to_weigh);
        let Some(after) = self.config.compact_after.filter(|_| tx.room().is_ok()) else {
            return Ok(());
        };
        if !std::mem::replace(&mut self.compaction.is_begun, true) {
            to_weigh.extend(self.documents_with_snapshots(tx)?);
            self.compaction.look_at = Some(now.mono);
        }
        for document in to_weigh {
            self.compaction.stuck.remove(&document);
            if let Some(row) = tx.document_by_row(document)?
                && self.note_vouched(now, &row, tx)?
            {
                self.compaction.look_at = Some(now.mono);
            }
        }
        if self.compaction.look_at.is_some_and(|at| at <= now.mono) {
            self.compaction.look_at = self.compact_longest(now, after, tx)?;
        }
        Ok(())
    }

    /// Lets go of the document whose snapshot has had its words for longest, if its time has come; returns when to look again.
    fn compact_longest(&mut self, now: Now, after: Duration, tx: &Tx<'_>) -> Result<Option<Duration>, StoreError> {
        let Some((document, since_ms)) = tx.longest_vouched(&self.compaction.stuck)? else {
            // What stands in the way may pass.
            let stuck = std::mem::take(&mut self.compaction.stuck);
            return Ok((!stuck.is_empty()).then_some(now.mono + LOOK_PAUSE));
        };
        if since_ms > now.wall_ms
            && let Some(vouched) = tx.vouched(document)?
        {
            // The clock was put back: what was seen then is seen now.
            tx.set_vouched(document, VouchedRow { since_ms: now.wall_ms, ..vouched })?;
        }
        let age_ms = now.wall_ms.saturating_sub(since_ms).max(0).cast_unsigned();
        let left = after.saturating_sub(Duration::from_millis(age_ms));
        if left.is_zero() && !self.compact(now, document, tx)? {
            self.compaction.stuck.insert(document);
        }
        Ok(Some(now.mono + left.clamp(DOCUMENT_PAUSE, LOOK_PAUSE)))
    }

    fn documents_with_snapshots(&self, tx: &Tx<'_>) -> Result<BTreeSet<i64>, StoreError> {
        let mut documents = BTreeSet::new();
        for (workspace, held) in &self.workspaces {
            let snapshots = held.attests.all().map(|attest| attest.snapshot).collect();
            documents.extend(tx.documents_of(*workspace, &snapshots)?);
        }
        Ok(documents)
    }

    /// Notes the newest snapshot of a document that has its words, unless an older one that has them waits already; returns
    /// whether one waits.
    fn note_vouched(&mut self, now: Now, row: &DocumentRow, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if tx.vouched(row.row)?.is_some() {
            return Ok(true);
        }
        let Some(base) = self.newest_base(row, tx)? else {
            return Ok(false);
        };
        let lifted = self.workspaces.get(&row.workspace).map(|held| &held.lifted);
        let behind = |chain| lifted.and_then(|lifted| lifted.get(chain)).copied().unwrap_or(0);
        let stands_for_more = base.floors.iter().any(|(chain, floor)| *floor > behind(chain) + 1);
        if stands_for_more {
            let (chain, seq) = (base.chain, base.last.header().seq);
            tx.set_vouched(row.row, VouchedRow { chain, seq, since_ms: now.wall_ms })?;
        }
        Ok(stands_for_more)
    }

    /// Lets go what a snapshot stands for whose time has come; returns false if something stands in the way.
    fn compact(&mut self, now: Now, document: i64, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let (row, vouched) = (tx.document_by_row(document)?, tx.vouched(document)?);
        let (Some(row), Some(vouched)) = (row, vouched) else {
            tx.delete_vouched(document)?;
            return Ok(true);
        };
        let Some(base) = self.vouched_base(&row, vouched, tx)? else {
            // It has its words no more, or another came in its place.
            tx.delete_vouched(document)?;
            self.findings.to_weigh.insert(document);
            return Ok(true);
        };
        if !self.may_give_up(now, &row, &base, tx)? {
            return self.go_by_a_newer(now, &row, vouched, tx);
        }
        self.give_up(&row, &base, tx)?;
        tx.delete_vouched(document)?;
        // A newer one may have got its words meanwhile.
        self.findings.to_weigh.insert(document);
        Ok(true)
    }

    /// Notes a newer snapshot that has its words in the place of one that something stands in the way of, if this device has
    /// made it: the older one may never be made. Its time begins anew.
    fn go_by_a_newer(
        &mut self,
        now: Now,
        row: &DocumentRow,
        vouched: VouchedRow,
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
        let newest = self.newest_base(row, tx)?.filter(|newest| self.has_made(row, &newest.last));
        let newest = newest.map(|newest| (newest.chain, newest.last.header().seq));
        let Some((chain, seq)) = newest.filter(|newest| *newest != (vouched.chain, vouched.seq)) else {
            return Ok(false);
        };
        tx.set_vouched(row.row, VouchedRow { chain, seq, since_ms: now.wall_ms })?;
        Ok(true)
    }

    /// Tells whether nothing stands in the way of giving up what a snapshot stands for.
    fn may_give_up(&mut self, now: Now, row: &DocumentRow, base: &Base, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let Some(held) = self.workspaces.get(&row.workspace) else {
            return Ok(false);
        };
        // Records that wait may be a removal, with pins below what is covered.
        if held.awaits_records() || !self.counts_above(row, &base.floors, tx)? {
            return Ok(false);
        }
        let (mut is_undamaged, mut is_everywhere) = (true, true);
        for (chain, floor) in &base.floors {
            if tx.entry(*chain, *floor)?.is_none() {
                // The chain is to begin with it.
                self.note_damage(now, (*chain, *floor), tx)?;
                is_undamaged = false;
            }
            is_everywhere = is_everywhere && tx.is_everywhere(*chain, *floor)?;
        }
        if !is_undamaged || !is_everywhere {
            return Ok(false);
        }
        let is_made = self.has_made(row, &base.last) || self.make_again(now, row, (base.chain, &base.last), tx)?;
        Ok(is_made && self.is_whole(row, base, tx)?)
    }

    /// Tells whether a snapshot lies here with all its parts, and loads.
    fn is_whole(&mut self, row: &DocumentRow, base: &Base, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let about = match self.about_of(row, tx) {
            Ok(about) => about,
            Err(Error::Store(error)) => return Err(error),
            Err(_) => return Ok(false),
        };
        let Some(crdt) = Crdt::from_u8(about.crdt) else {
            return Ok(false);
        };
        Ok(self.load_base(row, &about, base, (crdt, Actor::NOBODY), tx)?.is_some())
    }

    fn give_up(&mut self, row: &DocumentRow, base: &Base, tx: &Tx<'_>) -> Result<(), StoreError> {
        #[cfg(feature = "planted-bugs")]
        if tombolo_protocol::planted::Bug::CompactionDropsPending.is_planted() {
            // Of every document: what is typed into this very one has gone as a rule, or it would not be given up.
            for document in 0..64 {
                tx.delete_pending(document, tombolo_protocol::ids::Stream::CONTENT, i64::MAX)?;
            }
        }
        for (id, (seq, hash)) in &base.cover.chains {
            let floor = Floor { document: row.row, seq: *seq, hash: *hash };
            tx.set_floor(row.workspace, id, &floor)?;
            if let Some(chain) = tx.chain_by_id(row.workspace, id)? {
                self.lift(row.workspace, chain.row, &floor, tx)?;
            }
        }
        tx.set_horizon(row.row, base.chain, base.last.header().seq)?;
        self.forget_saved(row.row, tx)
    }
}
