//! The relays' attestations on records, bounded and independent of their order of arrival.
//!
//! Invariant: of each record and relay the best word is kept (the highest level, then the earliest), so
//! the words that count are a function of the set of attestations; those of relays that do not count are
//! dropped as soon as that is known, and may be here or not. Every one kept was verified on entry.

use std::collections::BTreeMap;

use crate::ids::{RecordId, RelayId};
use crate::receipt::{Attestation, Signed};

/// Relays whose word on one record is kept while it is not known which of them count: a workspace has
/// a handful of relays, each with a few keys in its life.
pub const ATTESTERS_PER_RECORD_MAX: usize = 16;
/// Attestations on records that are not here yet; they travel behind their records, so few are.
pub const ATTESTATIONS_EARLY_MAX: usize = 4096;

#[derive(Clone, Debug, Default)]
pub(super) struct Attestations {
    by_subject: BTreeMap<RecordId, BTreeMap<RelayId, Signed<Attestation>>>,
}

impl Attestations {
    /// Keeps a verified attestation if it is the earliest of its relay; returns whether it was kept.
    pub(super) fn keep(&mut self, attestation: Signed<Attestation>) -> bool {
        let statement = attestation.claim();
        let (subject, relay) = (statement.subject, statement.relay);
        let known = self.by_subject.entry(subject).or_default();
        match known.get(&relay) {
            Some(held) if earliest(held) <= earliest(&attestation) => false,
            None if known.len() >= ATTESTERS_PER_RECORD_MAX => false,
            _ => {
                known.insert(relay, attestation);
                true
            }
        }
    }

    /// Keeps only the words of these relays on a record.
    pub(super) fn retain(&mut self, subject: &RecordId, counts: impl Fn(RelayId) -> bool) {
        if let Some(known) = self.by_subject.get_mut(subject) {
            known.retain(|relay, _| counts(*relay));
        }
    }

    /// Returns how many records have been attested.
    pub(super) fn subjects(&self) -> usize {
        self.by_subject.len()
    }

    /// Returns what relays said of a record.
    pub(super) fn on(&self, subject: &RecordId) -> impl Iterator<Item = &Attestation> {
        let known = self.by_subject.get(subject).into_iter();
        known.flat_map(BTreeMap::values).map(Signed::claim)
    }

    /// Returns every attestation, by subject and relay.
    pub(super) fn all(&self) -> impl Iterator<Item = &Signed<Attestation>> {
        self.by_subject.values().flat_map(BTreeMap::values)
    }
}

/// A higher level comes first: what a policy asks for may be reached by a second word.
fn earliest(attestation: &Signed<Attestation>) -> (u8, i64, u32, Vec<u8>) {
    let statement = attestation.claim();
    (u8::MAX - statement.level, statement.time_ms, statement.nth, attestation.encode())
}
