//! From the arrival of a record to its outcome, and to those of the records that stand on it.
//!
//! Invariant: a record is settled after its parents, in the order of generations, and again only when
//! something it was judged by has changed; so a first arrival costs one judgement a record, whatever
//! the order. Heads are the admitted records without an admitted child.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use super::facts::Facts;
use super::judge::{Judgement, Stop, refuse};
use super::{Kept, Membership, RecordOutcome, RecordRefusal, View};
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
        let known = self.record(&id).map(|record| *record.signature());
        let rivals = self.rivals.entry(id).or_default();
        if known != Some(*copy.signature()) && rivals.len() < RIVAL_SIGNATURES_MAX {
            rivals.insert(*copy.signature());
        }
    }

    /// Enters a record into the indexes, unsettled.
    pub(super) fn file(&mut self, record: Record, proven: bool) {
        let id = record.id();
        record.parents().iter().for_each(|parent| self.children.insert_mut((*parent, id)));
        if let RecordBody::Join(join) = record.body() {
            self.joins.entry(join.invite).or_default().insert(id);
        }
        self.unadmitted_bytes += cost(&record);
        self.records.insert(id, Arc::new(Kept { record, proven, outcome: None, admitted: None }));
    }

    /// Removes a record that has not been admitted from the indexes.
    fn forget(&mut self, id: &RecordId) {
        let Some(kept) = self.records.remove(id) else {
            return;
        };
        let record = &kept.record;
        for parent in record.parents() {
            self.children.remove_mut(&(*parent, *id));
        }
        if let RecordBody::Join(join) = record.body()
            && let Some(joins) = self.joins.get_mut(&join.invite)
        {
            joins.remove(id);
        }
        self.unadmitted_bytes = self.unadmitted_bytes.saturating_sub(cost(record));
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
                open.extend(self.children_of(&id).map(|child| (self.generation_of(child), *child)));
            }
        }
    }

    fn children_of(&self, id: &RecordId) -> impl Iterator<Item = &RecordId> {
        let all = (*id, RecordId::from_bytes([0; 32]))..=(*id, RecordId::from_bytes([u8::MAX; 32]));
        self.children.range(all).map(|(_, child)| child)
    }

    pub(super) fn generation_of(&self, id: &RecordId) -> u64 {
        self.record(id).map_or(0, Record::generation)
    }

    /// Settles one record; returns whether that changed its outcome or its view.
    fn settle(&mut self, id: &RecordId) -> bool {
        let Some(record) = self.record(id) else {
            return false;
        };
        if !record.parents().iter().all(|parent| self.is_settled(parent)) {
            return false;
        }
        let (outcome, admitted) = match self.judge_on_parents(record) {
            Ok(admitted) => (RecordOutcome::Admitted, Some(admitted)),
            Err(Stop::Outcome(outcome)) => (outcome, None),
            Err(Stop::Forged) => return self.try_rival(id),
        };
        let Some(kept) = self.records.get_mut(id).map(Arc::make_mut) else {
            return false;
        };
        let before = kept.outcome.replace(outcome);
        if before == Some(outcome) && kept.admitted == admitted {
            return false;
        }
        kept.admitted = admitted;
        // What was refused may never have been verified: where it is judged again it is.
        kept.proven &= !matches!(outcome, RecordOutcome::Refused(_));
        self.rivals.remove(id);
        self.current = OnceLock::new();
        self.move_heads(id, before, outcome);
        self.drop_strange_attestations(id);
        true
    }

    /// Judges a record whose parents are settled, and takes its effect.
    fn judge_on_parents(&self, record: &Record) -> Judgement<(Facts, Arc<View>)> {
        let Some(mut view) = self.view_below(record) else {
            return refuse(RecordRefusal::RefusedParent);
        };
        if record.generation() != self.generation_above(record.parents().iter()) {
            return refuse(RecordRefusal::Generation);
        }
        let facts = self.judge(record, &view)?;
        let above = Arc::make_mut(&mut view);
        above.take(record, &facts, &|_| true, false);
        if facts.is_by_owner() {
            above.settle_spared();
        }
        Ok((facts, view))
    }

    /// Goes on with the next signature of a record whose own was forged, or forgets the record.
    fn try_rival(&mut self, id: &RecordId) -> bool {
        let rival = self.rivals.get_mut(id).and_then(BTreeSet::pop_first);
        match (rival, self.records.get_mut(id).map(Arc::make_mut)) {
            (Some(signature), Some(kept)) => {
                kept.record.resign(signature);
                self.settle(id)
            }
            _ => {
                self.forget(id);
                false
            }
        }
    }

    fn is_settled(&self, id: &RecordId) -> bool {
        matches!(self.outcome(id), Some(RecordOutcome::Admitted | RecordOutcome::Refused(_)))
    }

    /// Keeps heads and the account of unadmitted bytes in step with one change of outcome.
    fn move_heads(&mut self, id: &RecordId, before: Option<RecordOutcome>, now: RecordOutcome) {
        let was = before == Some(RecordOutcome::Admitted);
        let is = now == RecordOutcome::Admitted;
        let Some(kept) = self.records.get(id).filter(|_| was != is) else {
            return;
        };
        let record = &kept.record;
        if is {
            self.unadmitted_bytes = self.unadmitted_bytes.saturating_sub(cost(record));
            for parent in record.parents() {
                self.heads.remove(parent);
            }
            self.heads.insert(*id);
        } else {
            let bare = |parent: &&RecordId| {
                self.admitted(parent).is_some() && !self.children_of(parent).any(|child| self.admitted(child).is_some())
            };
            let bare: Vec<RecordId> = record.parents().iter().filter(bare).copied().collect();
            self.unadmitted_bytes += cost(record);
            self.heads.remove(id);
            self.heads.extend(bare);
        }
    }

    /// Once a Join is judged it is known which relays count; the words of others are dropped.
    fn drop_strange_attestations(&mut self, id: &RecordId) {
        let Some(record) = self.record(id) else {
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
