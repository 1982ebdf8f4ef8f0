//! The log as a trail to be read by people: every record with what became of it, and by what.
//!
//! Invariant: it says nothing that the evaluation did not decide; the order is that of generations, then
//! ids, so two devices with the same records and attestations read the same trail.

use super::facts::{Facts, RANKS_PER_ROLE, Target};
use super::{Membership, RecordOutcome};
use crate::ids::{RecordId, UserId};
use crate::receipt::Attestation;
use crate::record::{Record, RecordBody, Role};

/// Why a valid record does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VoidReason {
    /// A removal beside it struck its author, device or invite.
    StruckBy(RecordId),
    /// What gave its author the right does not count.
    RestsOn(RecordId),
    /// Together with what is beside it, it would have left no owner.
    LastOwner,
}

/// What the evaluation found out about one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose device made it, as far as that is known.
    pub user: Option<UserId>,
    /// The author's role when it was made; `None` for a Join, and where the record was not admitted.
    pub role: Option<Role>,
    /// What became of it.
    pub outcome: RecordOutcome,
    /// Why it does not count though it is valid; `None` if it counts.
    pub void: Option<VoidReason>,
    /// The records from which its author had the right: the act that gave the role, or a Join's invite.
    pub rests_on: Vec<RecordId>,
    /// For a Join: which use of its invite it is.
    pub nth: Option<u32>,
}

impl Membership {
    /// Returns every record that is here, those that wait or were refused too, with what became of it.
    #[must_use]
    pub fn trail(&self) -> Vec<(&Record, Finding)> {
        let mut records: Vec<&Record> = self.records.values().map(|kept| &kept.record).collect();
        records.sort_by_key(|record| (record.generation(), record.id()));
        records.into_iter().map(|record| (record, self.finding(record))).collect()
    }

    /// Returns the relays' words on one record, by relay.
    pub fn attestations_on(&self, record: &RecordId) -> impl Iterator<Item = &Attestation> {
        self.attestations.on(record)
    }

    fn finding(&self, record: &Record) -> Finding {
        let id = record.id();
        let outcome = self.outcome(&id).unwrap_or(RecordOutcome::AwaitsParents);
        let Some(facts) = self.facts_of(&id) else {
            let user = self.presumed_author(record);
            return Finding { user, role: None, outcome, void: None, rests_on: Vec::new(), nth: None };
        };
        Finding {
            user: Some(facts.user),
            role: Role::from_u8(facts.rank / RANKS_PER_ROLE).ok(),
            outcome,
            void: self.current().is_void(&id).then(|| self.why_void(record, facts)),
            rests_on: facts.rests_on.clone(),
            nth: matches!(record.body(), RecordBody::Join(_)).then_some(facts.nth),
        }
    }

    /// Returns whose device the author is by what it says itself, or by what is known now.
    fn presumed_author(&self, record: &Record) -> Option<UserId> {
        match record.body() {
            RecordBody::Join(join) => Some(join.identity.user()),
            _ => self.current().device(&record.author()).map(|standing| standing.user),
        }
    }

    fn why_void(&self, record: &Record, facts: &Facts) -> VoidReason {
        let view = self.current();
        let id = record.id();
        if view.is_spared(&id) {
            return VoidReason::LastOwner;
        }
        if let Some(support) = facts.rests_on.iter().find(|support| view.is_void(support)) {
            return VoidReason::RestsOn(*support);
        }
        let admitted = self.records.keys().filter_map(|other| Some((*other, self.facts_of(other)?)));
        let striking = admitted.filter(|(other, its)| {
            strikes(its, record, facts) && !self.descends(&id, other) && !self.descends(other, &id)
        });
        // Of several the one that counts, then the greatest rank, then the earliest, says it.
        let by = striking
            .min_by_key(|(other, its)| (view.is_void(other), u8::MAX - its.rank, self.generation_of(other), *other));
        by.map_or(VoidReason::LastOwner, |(other, _)| VoidReason::StruckBy(other))
    }
}

/// Tells whether a removal, beside a record, makes it void: the rule of `void`, for one pair.
fn strikes(removal: &Facts, record: &Record, facts: &Facts) -> bool {
    let floor = |role: Option<Role>| role.map_or(0, |role| role as u8);
    let stands = !facts.removes.is_empty() && facts.rank >= removal.rank;
    let by = |target: &Target| match target {
        Target::User(user) => *user == facts.user,
        Target::Device(device) => *device == record.author(),
        Target::Invite(invite) => matches!(record.body(), RecordBody::Join(join) if join.invite == *invite),
    };
    !stands && removal.removes.iter().any(|(target, role)| by(target) && floor(*role) < facts.needs)
}
