//! Which of a chain's two branches counts, where its author's device wrote two entries for one place (ADR 0014).
//!
//! The branch stays that a snapshot with enough words covers; else the one that entries of other chains build on, if the records let these count; between two such, or
//! none, the one whose first own entry has the lower hash. Work of this device that is not sealed yet counts as
//! building on the branch that counted when it was made.
//!
//! Invariant: the outcome is a function of the document's entries and the records, but for that last rule, which
//! holds until the work is sealed and says so itself. What does not stay is kept.

use tombolo_protocol::ids::{ChainId, EntryHash, Stream};

use super::counting::{OpenedEntry, Verdict};
use super::covered::{Covered, covered_branch};
use super::{Engine, Now};
use crate::store::{Branch, EntryState, StoreError, Tx};
use crate::workspace::Workspace;

impl Workspace {
    /// Keeps out, of each chain with two branches, the one that does not stay; tells whether one stays only for
    /// unsealed work.
    pub(super) fn choose_branches(
        &self,
        document: i64,
        opened: &[OpenedEntry],
        covered: &Covered,
        verdicts: &mut [Verdict],
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
        let mut leans = false;
        let forks = self.branches.iter().filter(|(row, branch)| branch.row == **row && branch.document == document);
        let mut going = Vec::new();
        for branch in forks.map(|(_, branch)| branch) {
            let by_rule = by_rule(branch, opened, covered, verdicts, tx)?;
            let stays = self.unsealed_on(branch, opened).unwrap_or(by_rule);
            leans |= stays != by_rule;
            going.push((branch.sibling(stays), branch.floor_seq));
        }
        for (one, verdict) in opened.iter().zip(verdicts) {
            let goes = |(chain, floor): &(i64, u64)| one.chain == *chain && one.entry.header().seq > *floor;
            if going.iter().any(goes) {
                *verdict = Verdict::Forked;
            }
        }
        Ok(leans)
    }

    /// Returns the branch that counted so far, if there is unsealed work in its document.
    fn unsealed_on(&self, branch: &Branch, opened: &[OpenedEntry]) -> Option<i64> {
        if !self.unsealed.contains(&(branch.document, Stream::CONTENT)) || self.keeps_own_aside() {
            return None;
        }
        let counted = |chain: i64| {
            let first = opened.iter().find(|one| one.chain == chain && one.entry.header().seq == branch.floor_seq + 1);
            first.is_some_and(|one| one.state != EntryState::Beyond)
        };
        // What came first counts until the other one was looked into.
        [branch.of, branch.row].into_iter().find(|chain| counted(*chain))
    }

    /// Tells whether a chain has two branches, or is one.
    pub(crate) fn is_forked(&self, chain: i64) -> bool {
        self.branches.contains_key(&chain)
    }
}

/// Returns the branch that stays by what covers it and what was built on it.
fn by_rule(
    branch: &Branch,
    opened: &[OpenedEntry],
    covered: &Covered,
    verdicts: &[Verdict],
    tx: &Tx<'_>,
) -> Result<i64, StoreError> {
    let Some((key, _)) = tx.chain_key(branch.of)? else {
        return Ok(branch.of);
    };
    if let Some(stays) = covered_branch(covered, branch, &key.id(), tx)? {
        return Ok(stays);
    }
    let mut built_on = [false; 2];
    for (row, built_on) in [branch.of, branch.row].into_iter().zip(&mut built_on) {
        *built_on = is_built_on((row, key.id()), branch, opened, verdicts, tx)?;
    }
    match built_on {
        [true, false] => return Ok(branch.of),
        [false, true] => return Ok(branch.row),
        _ => {}
    }
    let first = |chain: i64| tx.entry_hash(chain, branch.floor_seq + 1);
    let lower = |(one, other): (Option<EntryHash>, Option<EntryHash>)| other.is_none() || one.is_some() && one < other;
    Ok(if lower((first(branch.of)?, first(branch.row)?)) { branch.of } else { branch.row })
}

fn is_built_on(
    of: (i64, ChainId),
    branch: &Branch,
    opened: &[OpenedEntry],
    verdicts: &[Verdict],
    tx: &Tx<'_>,
) -> Result<bool, StoreError> {
    let (row, chain) = of;
    let others = opened
        .iter()
        .zip(verdicts)
        .filter(|(one, verdict)| **verdict == Verdict::Counts && one.chain != branch.of && one.chain != branch.row);
    for (one, _) in others {
        for dep in one.body.deps.iter().filter(|dep| dep.chain == chain && dep.seq > branch.floor_seq) {
            let held = tx.entry_hash(row, dep.seq)?;
            if held.is_some_and(|hash| hash.as_bytes().starts_with(&dep.hash_prefix)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

impl Engine {
    /// Notes that an entry came for a chain with two branches: another one may stay now.
    pub(crate) fn came_forked(&mut self, document: i64) {
        self.again.forked.insert(document);
    }

    /// Builds the documents anew in which another branch may stay than before.
    pub(super) fn rebuild_forked(&mut self, now: Now, tx: &Tx<'_>) -> Result<(), StoreError> {
        for document in std::mem::take(&mut self.again.forked) {
            self.again.recounts.remove(&document);
            let Some(row) = tx.document_by_row(document)? else {
                continue;
            };
            if self.documents.is_open(document) {
                self.reopen(now, &row, tx)?;
            } else {
                self.again.recounts.insert(row.row);
            }
        }
        Ok(())
    }
}
