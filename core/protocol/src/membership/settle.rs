//! From the arrival of a record to its outcome, and to those of the records that stand on it.
//!
//! Invariant: a record is settled after its parents, in the order of generations, and again only when
//! something it was judged by has changed; so a first arrival costs one judgement a record, whatever
//! the order. Heads are the admitted records without an admitted child.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::facts::Facts;
use super::judge::{Judgement, Stop, refuse};
use super::{Membership, RecordOutcome, RecordRefusal, View};
use crate::ids::{RecordId, RelayId};
use crate::keys::KeyError;
use crate::record::{Record, RecordBody};

/// Bytes of records kept that are not admitted: those that wait, and those refused. A device is given
/// records parents first, so what waits is what arrives out of order from neighbours.
pub const UNADMITTED_BYTES_MAX: usize = 32 << 20;
/// Signatures kept for one record that can not be judged yet: forged copies may precede the genuine.
pub const RIVAL_SIGNATURES_MAX: usize = 8;

/// What one kept record costs besides its bytes, about.
const RECORD_OVERHEAD_BYTES: usize = 512;

impl Membership {
    /// Keeps another signature of a record that waits for its parents.
    pub(super) fn add_rival(&mut self, copy: Record) {
        let id = copy.id();
        let known = self.records.get(&id).map(|record| record.signature());
        let rivals = self.rivals.entry(id).or_default();
        if known != Some(copy.signature()) && rivals.len() < RIVAL_SIGNATURES_MAX {
            rivals.insert(*copy.signature());
        }
    }

    /// Enters a record into the indexes, unsettled.
    pub(super) fn file(&mut self, record: Record) {
        let id = record.id();
        for parent in record.parents() {
            self.children.entry(*parent).or_default().insert(id);
        }
        if let RecordBody::Join(join) = record.body() {
            self.joins.entry(join.invite).or_default().insert(id);
        }
        self.unadmitted_bytes += cost(&record);
        self.records.insert(id, Box::new(record));
    }

    /// Removes a record that has not been admitted from the indexes.
    fn forget(&mut self, id: &RecordId) {
        let Some(record) = self.records.remove(id) else {
            return;
        };
        for parent in record.parents() {
            if let Some(children) = self.children.get_mut(parent) {
                children.remove(id);
            }
        }
        if let RecordBody::Join(join) = record.body()
            && let Some(joins) = self.joins.get_mut(&join.invite)
        {
            joins.remove(id);
        }
        self.unadmitted_bytes = self.unadmitted_bytes.saturating_sub(cost(&record));
        self.outcomes.remove(id);
        self.proven.remove(id);
        self.rivals.remove(id);
    }

    /// Forgets a record that waits for its parents; it may be brought again behind them.
    pub fn forget_waiting(&mut self, id: &RecordId) {
        if self.outcome(id) == Some(RecordOutcome::AwaitsParents) {
            self.forget(id);
        }
    }

    /// Returns what [`Membership::insert`] answers once the record was settled, or could not be.
    pub(super) fn outcome_after(&mut self, id: RecordId) -> RecordOutcome {
        let Some(outcome) = self.outcome(&id) else {
            return RecordOutcome::Refused(RecordRefusal::Key(KeyError::BadSignature));
        };
        if outcome == RecordOutcome::Admitted || self.unadmitted_bytes <= UNADMITTED_BYTES_MAX {
            return outcome;
        }
        self.forget(&id);
        match outcome {
            RecordOutcome::Refused(_) => outcome,
            _ => RecordOutcome::NotKept,
        }
    }

    /// Settles `first`, and then all whose outcome depends on it.
    pub(super) fn settle_from(&mut self, first: RecordId) {
        let mut open = BTreeSet::from([(self.generation_of(&first), first)]);
        while let Some((_, id)) = open.pop_first() {
            if self.settle(&id) {
                let children = self.children.get(&id).into_iter().flatten();
                open.extend(children.map(|child| (self.generation_of(child), *child)));
            }
        }
    }

    pub(super) fn generation_of(&self, id: &RecordId) -> u64 {
        self.record(id).map_or(0, Record::generation)
    }

    /// Settles one record; returns whether that changed its outcome or its view.
    fn settle(&mut self, id: &RecordId) -> bool {
        let Some(record) = self.records.get(id) else {
            return false;
        };
        if !record.parents().iter().all(|parent| self.is_settled(parent)) {
            return false;
        }
        let (outcome, settled) = match self.judge_on_parents(record) {
            Ok(settled) => (RecordOutcome::Admitted, Some(settled)),
            Err(Stop::Outcome(outcome)) => (outcome, None),
            Err(Stop::Forged) => return self.try_rival(id),
        };
        let before = self.outcomes.insert(*id, outcome);
        if before == Some(outcome) && self.view_at(id) == settled.as_ref().map(|(_, view)| view) {
            return false;
        }
        self.rivals.remove(id);
        match settled {
            Some((facts, view)) => {
                self.facts.insert(*id, Box::new(facts));
                self.views.insert(*id, Box::new(view));
            }
            None => {
                self.facts.remove(id);
                self.views.remove(id);
            }
        }
        self.current = OnceLock::new();
        self.move_heads(id, before, outcome);
        self.drop_strange_attestations(id);
        true
    }

    /// Judges a record whose parents are settled, and takes its effect.
    fn judge_on_parents(&self, record: &Record) -> Judgement<(Facts, View)> {
        let Some(mut view) = self.view_below(record) else {
            return refuse(RecordRefusal::RefusedParent);
        };
        if record.generation() != self.generation_above(record.parents().iter()) {
            return refuse(RecordRefusal::Generation);
        }
        let facts = self.judge(record, &view)?;
        view.take(record, &facts, &|_| true, false);
        if facts.is_by_owner() {
            view.settle_spared();
        }
        Ok((facts, view))
    }

    /// Goes on with the next signature of a record whose own was forged, or forgets the record.
    fn try_rival(&mut self, id: &RecordId) -> bool {
        let rival = self.rivals.get_mut(id).and_then(BTreeSet::pop_first);
        match (rival, self.records.get_mut(id)) {
            (Some(signature), Some(record)) => {
                record.resign(signature);
                self.settle(id)
            }
            _ => {
                self.forget(id);
                false
            }
        }
    }

    fn is_settled(&self, id: &RecordId) -> bool {
        matches!(self.outcomes.get(id), Some(RecordOutcome::Admitted | RecordOutcome::Refused(_)))
    }

    /// Keeps heads and the account of unadmitted bytes in step with one change of outcome.
    fn move_heads(&mut self, id: &RecordId, before: Option<RecordOutcome>, now: RecordOutcome) {
        let was = before == Some(RecordOutcome::Admitted);
        let is = now == RecordOutcome::Admitted;
        let Some(record) = self.records.get(id).filter(|_| was != is) else {
            return;
        };
        if is {
            self.unadmitted_bytes = self.unadmitted_bytes.saturating_sub(cost(record));
            for parent in record.parents() {
                self.heads.remove(parent);
            }
            self.heads.insert(*id);
        } else {
            self.unadmitted_bytes += cost(record);
            self.heads.remove(id);
            for parent in record.parents() {
                let mut children = self.children.get(parent).into_iter().flatten();
                if self.views.contains_key(parent) && !children.any(|child| self.views.contains_key(child)) {
                    self.heads.insert(*parent);
                }
            }
        }
    }

    /// Once a Join is judged it is known which relays count; the words of others are dropped.
    fn drop_strange_attestations(&mut self, id: &RecordId) {
        let Some(record) = self.records.get(id) else {
            return;
        };
        let signers: BTreeSet<RelayId> = self.attestations.on(id).map(|said| said.relay).collect();
        let strange: BTreeSet<RelayId> =
            signers.into_iter().filter(|relay| self.counts_join(record, *relay) == Some(false)).collect();
        self.attestations.retain(id, |relay| !strange.contains(&relay));
    }
}

fn cost(record: &Record) -> usize {
    record.encoded_bytes() + RECORD_OVERHEAD_BYTES
}
