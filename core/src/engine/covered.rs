//! What a snapshot with enough words admits: the entries that it covers, though a removal's pins end before them, and of
//! a chain's two branches the one that it names (ADR 0018).
//!
//! Invariant: the outcome is a function of the document's entries, the records and the members' words. Who may write no
//! more adds no word, so what is admitted is counted anew whenever members change.

use std::collections::BTreeMap;

use tombolo_protocol::entry::{EntryFlags, EntryKind};
use tombolo_protocol::ids::{ChainId, EntryHash};
use tombolo_protocol::snapshot::{Attest, Cover};

use super::Engine;
use super::counting::{OpenedEntry, Verdict};
use crate::store::{Branch, StoreError, Tx};
use crate::workspace::Workspace;

/// The last entries that snapshots with enough words cover, by chain.
pub(super) type Covered = BTreeMap<ChainId, Vec<(u64, EntryHash)>>;

impl Workspace {
    /// Notes whether something of a document counts because it is covered.
    pub(super) fn note_by_cover(&mut self, document: i64, is_so: bool) {
        if is_so {
            self.by_cover.insert(document);
        } else {
            self.by_cover.remove(&document);
        }
    }

    /// Returns up to where snapshots with enough words cover a document's chains.
    pub(super) fn covered(&self, opened: &[OpenedEntry]) -> Covered {
        let mut covered = Covered::new();
        if self.attests.is_empty() {
            return covered;
        }
        for one in opened {
            let header = one.entry.header();
            let is_last = header.kind == EntryKind::Snapshot && !header.flags.has(EntryFlags::CONTINUES);
            if !is_last || !self.is_vouched(&one.entry) {
                continue;
            }
            // What leaves something out is made by nobody yet.
            let cover = Cover::decode(one.entry.clear()).ok().filter(|cover| cover.excluded.is_empty());
            for (chain, end) in cover.map(|cover| cover.chains).unwrap_or_default() {
                covered.entry(chain).or_default().push(end);
            }
        }
        covered
    }
}

/// Lets entries count that are covered; tells whether there are any.
pub(super) fn admit_covered(covered: &Covered, opened: &[OpenedEntry], verdicts: &mut [Verdict]) -> bool {
    if covered.is_empty() {
        return false;
    }
    // By the row of a chain or branch, the last place up to which the very entries are here that a cover names.
    let mut reaches: BTreeMap<i64, u64> = BTreeMap::new();
    for one in opened {
        let end = (one.entry.header().seq, one.entry.hash());
        if covered.get(&one.entry.header().chain.id()).is_some_and(|ends| ends.contains(&end)) {
            let reach = reaches.entry(one.chain).or_default();
            *reach = end.0.max(*reach);
        }
    }
    let mut any = false;
    for (one, verdict) in opened.iter().zip(verdicts) {
        let is_covered = reaches.get(&one.chain).is_some_and(|reach| one.entry.header().seq <= *reach);
        if is_covered && *verdict == Verdict::Beyond {
            (*verdict, any) = (Verdict::Counts, true);
        }
    }
    any
}

/// Returns the branch of a chain that is covered, if one alone is.
pub(super) fn covered_branch(
    covered: &Covered,
    branch: &Branch,
    chain: &ChainId,
    tx: &Tx<'_>,
) -> Result<Option<i64>, StoreError> {
    let mut found = Vec::new();
    for (seq, hash) in covered.get(chain).into_iter().flatten().filter(|(seq, _)| *seq > branch.floor_seq) {
        for row in [branch.of, branch.row] {
            if tx.entry_hash(row, *seq)? == Some(*hash) && !found.contains(&row) {
                found.push(row);
            }
        }
    }
    Ok(if let [row] = found[..] { Some(row) } else { None })
}

impl Engine {
    /// Keeps a member's word on a snapshot; what that covers may count now, where something does not.
    pub(crate) fn keep_attest(&mut self, workspace: i64, attest: Attest, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(held) = self.workspaces.get_mut(&workspace) else {
            return Ok(());
        };
        let snapshot = attest.snapshot;
        if !held.take_attest(attest, tx)? {
            return Ok(());
        }
        let counts_by_cover = held.membership.strikes_entries() || !held.branches.is_empty();
        if counts_by_cover || self.config.compact_after.is_some() {
            let documents = tx.documents_of(workspace, &[snapshot].into())?;
            self.again.recounts.extend(documents.iter().filter(|_| counts_by_cover));
            self.findings.to_weigh.extend(documents);
        }
        Ok(())
    }
}
