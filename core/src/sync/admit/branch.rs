//! The second branch of a chain: its author's device wrote another entry in a place that is taken.
//!
//! Both branches are kept, and sent on to whoever lacks one; which of them counts is chosen where the document is
//! built (`engine/forks.rs`, ADR 0014). A third is evidence, and goes no further.
//!
//! Invariant: a branch begins behind an entry that both have in common, and has no gap.

use tombolo_protocol::entry::{Entry, Header};
use tombolo_protocol::ids::ChainKey;

use super::{Admission, is_fork};
use crate::engine::{Engine, Now};
use crate::store::{Branch, ChainRow, DocumentRow, StoreError, Tx};
use crate::sync::Fault;
use crate::sync::reason::SetAsideReason;

impl Engine {
    /// Tells whether an entry is the next of a chain's second branch, or goes on from another one than its head.
    pub(super) fn is_beside(
        &self,
        workspace: i64,
        chain: &ChainRow,
        header: &Header,
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
        if header.seq == chain.head_seq + 1 && is_fork(chain, header, tx)? {
            return Ok(true);
        }
        if !self.is_forked(workspace, chain.row) {
            return Ok(false);
        }
        let branch = tx.chain_by_id(workspace, &header.chain.branch().id())?;
        Ok(branch.is_some_and(|branch| header.seq == branch.head_seq + 1 && header.prev == branch.head_hash))
    }

    /// Admits an entry that does not fit into its chain to the chain's second branch.
    pub(super) fn admit_beside(
        &mut self,
        now: Now,
        at: (i64, i64),
        chain: &ChainRow,
        entry: Entry,
        tx: &Tx<'_>,
    ) -> Result<Admission, Fault> {
        let header = entry.header();
        let Some(branch) = tx.chain_by_id(at.1, &header.chain.branch().id())? else {
            return self.begin_branch(now, at, chain, entry, tx);
        };
        if header.seq <= branch.head_seq && self.is_held(now, at.1, &branch, &entry, tx)? {
            return Ok(Admission::Duplicate { chain: branch.row });
        }
        if header.seq == branch.head_seq + 1 && header.prev == branch.head_hash {
            return self.extend_branch(now, at, &branch, entry, tx);
        }
        if header.seq > branch.head_seq + 1 {
            return self.ask_for_branches(now, at, &entry, tx);
        }
        self.keep_evidence(now, at, &entry, SetAsideReason::Fork, tx)
    }

    fn begin_branch(
        &mut self,
        now: Now,
        at: (i64, i64),
        chain: &ChainRow,
        entry: Entry,
        tx: &Tx<'_>,
    ) -> Result<Admission, Fault> {
        let (header, workspace) = (entry.header().clone(), at.1);
        let before = header.seq - 1;
        let common = if before == 0 { Some(Header::NO_PREV) } else { tx.entry_hash(chain.row, before)? };
        if common != Some(header.prev) {
            return self.ask_for_branches(now, at, &entry, tx);
        }
        let Some(row) = tx.document_by_tag(workspace, &header.chain.document)? else {
            return Ok(Admission::Aside);
        };
        let last = tx.entry(chain.row, before)?.map(|entry| entry.header().members_head);
        let verdict = self.judge_author(workspace, &entry, last);
        let head = (header.seq, entry.hash(), header.members_head);
        let branch = tx.insert_branch(workspace, &header.chain, head, (row.row, chain.row))?;
        if let Some(held) = self.workspaces.get_mut(&workspace) {
            held.note_branch(branch);
        }
        self.offer_both(workspace, &branch, tx)?;
        self.settle_in(now, &row, (branch.row, entry), verdict, tx)
    }

    fn extend_branch(
        &mut self,
        now: Now,
        at: (i64, i64),
        branch: &ChainRow,
        entry: Entry,
        tx: &Tx<'_>,
    ) -> Result<Admission, Fault> {
        let header = entry.header();
        let Some(row) = tx.document_by_tag(at.1, &header.chain.document)? else {
            return Ok(Admission::Aside);
        };
        let before = tx.chain_by_key(row.row, &header.chain.branch())?.map(|(_, members_head)| members_head);
        let verdict = self.judge_author(at.1, &entry, before);
        tx.move_chain(branch.row, (header.seq, entry.hash(), header.members_head))?;
        self.settle_in(now, &row, (branch.row, entry), verdict, tx)
    }

    fn settle_in(
        &mut self,
        now: Now,
        row: &DocumentRow,
        of: (i64, Entry),
        verdict: Result<(), SetAsideReason>,
        tx: &Tx<'_>,
    ) -> Result<Admission, Fault> {
        let chain = of.0;
        let row = self.describe(now, row.clone(), &of.1, tx)?;
        self.note_own(now, row.workspace, &of.1.header().chain, tx)?;
        self.place(now, &row, of, verdict, tx)?;
        self.came_forked(row.row);
        Ok(Admission::Stored { chain, document: row.row })
    }

    /// Lets an entry wait that is of another branch, and belongs behind what is not here: the relay is asked for
    /// both of its branches from the beginning.
    fn ask_for_branches(&mut self, now: Now, at: (i64, i64), entry: &Entry, tx: &Tx<'_>) -> Result<Admission, Fault> {
        let header = entry.header();
        self.counters.count(SetAsideReason::Fork);
        if header.seq > 1 {
            for key in [header.chain, header.chain.branch()] {
                self.ask_again(at, &key, 1, header.seq - 1);
            }
        }
        self.hold(now, at, entry, SetAsideReason::Gap, tx)
    }

    /// Offers both branches to the relays: what was believed of their logs may have meant the other branch.
    fn offer_both(&mut self, workspace: i64, branch: &Branch, tx: &Tx<'_>) -> Result<(), StoreError> {
        for (relay, state) in &mut self.relays {
            tx.unplace(*relay, branch.of, branch.floor_seq)?;
            if let Some(channel) = state.channel_mut(workspace) {
                channel.sent.remove(&branch.of);
                channel.refused.remove(&branch.of);
                channel.unplaced.insert(branch.of);
            }
        }
        Ok(())
    }

    /// Tells whether a chain of a workspace has two branches, or is one.
    pub(in crate::sync) fn is_forked(&self, workspace: i64, chain: i64) -> bool {
        self.workspaces.get(&workspace).is_some_and(|held| held.is_forked(chain))
    }

    /// Tells whether something else is held in the place before an entry than what it goes on from.
    pub(in crate::sync) fn is_of_other_branch(
        &self,
        workspace: i64,
        entry: &Entry,
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
        let header = entry.header();
        let mut others = false;
        for key in [header.chain, header.chain.branch()] {
            if let Some(chain) = tx.chain_by_id(workspace, &key.id())?
                && let Some(before) = tx.entry_hash(chain.row, header.seq.saturating_sub(1))?
            {
                if before == header.prev {
                    return Ok(false);
                }
                others = true;
            }
        }
        Ok(others)
    }

    /// Finds the branch of a chain in which an entry stands.
    pub(in crate::sync) fn branch_with(
        &self,
        workspace: i64,
        entry: &Entry,
        tx: &Tx<'_>,
    ) -> Result<Option<ChainRow>, StoreError> {
        let header = entry.header();
        let keys: [ChainKey; 2] = [header.chain, header.chain.branch()];
        for key in keys {
            if let Some(chain) = tx.chain_by_id(workspace, &key.id())?
                && tx.entry_hash(chain.row, header.seq)? == Some(entry.hash())
            {
                return Ok(Some(chain));
            }
        }
        Ok(None)
    }
}
