//! Who may do what: the evaluation of the membership log, the same on relays and devices.
//!
//! Records form a graph. Each record is judged once, in the [`View`] of its parents; its effect gives
//! the view at the record itself, so the role "at its members_head" of an entry's author is one
//! look-up. A valid record can be void where a removal concurrent with it struck its author: that is
//! evaluated for each set of heads.
//!
//! Invariant: the outcome is a pure function of the set of records and attestations, whatever the
//! order of their arrival: a record waits until its parents are here, and is then judged on nothing
//! but its ancestors and the attestations of Joins among them; a later attestation judges its Join,
//! and what stands on it, anew. Only what exceeds a bound ([`UNADMITTED_BYTES_MAX`]) is forgotten, and
//! may be brought again.

mod admission;
mod attestations;
mod evaluate;
mod facts;
mod judge;
mod settle;
mod trail;
mod view;
mod vouching;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use rpds::RedBlackTreeSetSync as Set;

pub use admission::{Admission, Claim};
pub use attestations::{ATTESTATIONS_EARLY_MAX, ATTESTERS_PER_RECORD_MAX};
pub use settle::{RIVAL_SIGNATURES_MAX, UNADMITTED_BYTES_MAX};
pub use trail::{Finding, VoidReason};
pub use view::{DeviceStanding, InviteStanding, Recipient, Recount, View};
pub use vouching::{ATTESTERS_NEEDED, Vouched};

use attestations::Attestations;
use facts::Facts;

use crate::identity::IdentityError;
use crate::ids::{RecordId, WorkspaceId};
use crate::item::ItemHash;
use crate::keys::{KeyError, Signature};
use crate::receipt::{Attestation, Signed};
use crate::record::Record;

/// Why a record does not count: always the fault of its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordRefusal {
    /// It belongs to another workspace, or is a second genesis.
    OtherWorkspace,
    /// Its generation is not one more than its parents'.
    Generation,
    /// Its author is no device of a member, as of its parents.
    UnknownAuthor,
    /// A signature in it does not fit.
    Key(KeyError),
    /// The identity log in it does not hold.
    Identity(IdentityError),
    /// Its author's role does not allow it.
    RoleDenied,
    /// Its epoch is not wrapped to exactly those who must have it.
    RecipientSetMismatch,
    /// It builds on an epoch that is not the workspace's.
    EpochMismatch,
    /// The invite it accepts is unknown, used up or ended.
    InviteNotValid,
    /// It would leave the workspace without an owner.
    LastOwner,
    /// It takes the keys from somebody, and begins no epoch.
    RotationMissing,
    /// It takes the keys from its own author, who would know the epoch that goes with it.
    RotationByLeaver,
    /// It delivers an epoch to somebody who may not have it.
    RewrapToNonMember,
    /// It sweeps a role whose end no receipt of the named relay proves.
    ExpiryNotProven,
    /// A type that this version does not judge.
    Unsupported,
    /// A parent of it was refused.
    RefusedParent,
}

impl std::fmt::Display for RecordRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OtherWorkspace => f.write_str("the record belongs to another workspace"),
            Self::Generation => f.write_str("the record's generation does not follow its parents'"),
            Self::UnknownAuthor => f.write_str("the record's author is no device of a member"),
            Self::Key(error) => write!(f, "{error}"),
            Self::Identity(error) => write!(f, "{error}"),
            Self::RoleDenied => f.write_str("the author's role does not allow this record"),
            Self::RecipientSetMismatch => f.write_str("the epoch is not wrapped to exactly its recipients"),
            Self::EpochMismatch => f.write_str("the record builds on another epoch"),
            Self::InviteNotValid => f.write_str("the invite is unknown, used up or ended"),
            Self::LastOwner => f.write_str("the record would leave the workspace without an owner"),
            Self::RotationMissing => f.write_str("the record takes the keys from somebody, and begins no epoch"),
            Self::RotationByLeaver => f.write_str("who leaves may not choose the next keys; others begin them"),
            Self::RewrapToNonMember => f.write_str("the record delivers an epoch to somebody who may not have it"),
            Self::ExpiryNotProven => f.write_str("no receipt of the named relay proves that the role has ended"),
            Self::Unsupported => f.write_str("the record is of a type of a later version"),
            Self::RefusedParent => f.write_str("the record stands on one that was refused"),
        }
    }
}

impl std::error::Error for RecordRefusal {}

impl From<KeyError> for RecordRefusal {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<IdentityError> for RecordRefusal {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordOutcome {
    /// It counts.
    Admitted,
    /// A parent is not here yet.
    AwaitsParents,
    /// It is a Join, or the policy asks for a second factor, and the relay's attestation is not here yet.
    AwaitsAttestation,
    /// It does not count. A Join whose attestations were all too late or over its invite's uses can
    /// still be admitted by a better one; nothing else changes this.
    Refused(RecordRefusal),
    /// Too much waits already: it was not kept, and is to be brought again behind its parents.
    NotKept,
}

/// A record and all that is known of it.
#[derive(Clone, Debug)]
struct Kept {
    record: Record,
    /// Whether its signatures were verified when it was first stored.
    proven: bool,
    /// What became of it; nothing before its parents are settled.
    outcome: Option<RecordOutcome>,
    /// What its judgement found out, and the view at it, while it is admitted.
    admitted: Option<(Facts, Arc<View>)>,
}

/// The membership log of one workspace, evaluated.
#[derive(Clone, Debug)]
pub struct Membership {
    workspace: WorkspaceId,
    // Shared, for a relay judges each record on a copy; and a map's smallest node has room for eleven values, where most
    // workspaces have few.
    records: BTreeMap<RecordId, Arc<Kept>>,
    /// Other signatures under which a record came whose own can not be judged yet.
    rivals: BTreeMap<RecordId, BTreeSet<Signature>>,
    attestations: Attestations,
    joins: BTreeMap<RecordId, BTreeSet<RecordId>>,
    /// The view at all heads, once it was asked for.
    current: OnceLock<Arc<View>>,
    /// Which record stands on which: `(parent, child)`. Like the views, it is shared by copies.
    children: Set<(RecordId, RecordId)>,
    heads: BTreeSet<RecordId>,
    unadmitted_bytes: usize,
}

impl Membership {
    /// Starts with nothing but the name of the workspace; its genesis is recognised by it.
    #[must_use]
    pub fn new(workspace: WorkspaceId) -> Self {
        Self {
            workspace,
            records: BTreeMap::new(),
            rivals: BTreeMap::new(),
            attestations: Attestations::default(),
            joins: BTreeMap::new(),
            current: OnceLock::new(),
            children: Set::default(),
            heads: BTreeSet::new(),
            unadmitted_bytes: 0,
        }
    }

    /// Returns the workspace.
    #[must_use]
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// Adds a record, judges it if it can be, and then whatever waited for it.
    ///
    /// A record whose signature does not fit is refused and forgotten: its id does not cover the
    /// signature, so a forged copy must not stand in the way of the genuine one.
    pub fn insert(&mut self, record: Record) -> RecordOutcome {
        self.keep(record, false)
    }

    /// Adds a record that this device or relay verified before it stored it, and has kept from alteration:
    /// judges it as any other, but for its signatures.
    pub fn insert_proven(&mut self, record: Record) -> RecordOutcome {
        self.keep(record, true)
    }

    fn keep(&mut self, record: Record, proven: bool) -> RecordOutcome {
        if record.workspace() != self.workspace {
            return RecordOutcome::Refused(RecordRefusal::OtherWorkspace);
        }
        let id = record.id();
        match self.records.get_mut(&id) {
            Some(known) => {
                if let Some(outcome) = known.outcome {
                    return outcome;
                }
                if proven {
                    let known = Arc::make_mut(known);
                    (known.record, known.proven) = (record, true);
                } else {
                    self.add_rival(record);
                }
                return RecordOutcome::AwaitsParents;
            }
            None => self.file(record, proven),
        }
        self.settle_from(id);
        self.outcome_after(id)
    }

    /// Adds a relay's attestation and judges again what it changes.
    ///
    /// Returns whether it was kept: it is the relay's own, the earliest that the relay gave on this
    /// record, and not one of a relay that does not count the uses of the Join's invite.
    pub fn attest(&mut self, attestation: Signed<Attestation>) -> bool {
        let (subject, relay) = match attestation.verify() {
            Ok(statement) if statement.workspace == self.workspace => (statement.subject, statement.relay),
            _ => return false,
        };
        let counts = match self.record(&subject) {
            Some(record) => self.counts_join(record, relay).unwrap_or(true),
            None => self.attestations.subjects() < self.records.len() + ATTESTATIONS_EARLY_MAX,
        };
        let kept = counts && self.attestations.keep(attestation);
        if kept {
            self.settle_from(subject);
        }
        kept
    }

    /// Returns what became of a record; `None` if it is not here.
    #[must_use]
    pub fn outcome(&self, id: &RecordId) -> Option<RecordOutcome> {
        self.records.get(id).map(|kept| kept.outcome.unwrap_or(RecordOutcome::AwaitsParents))
    }

    /// Returns a record, whatever became of it.
    #[must_use]
    pub fn record(&self, id: &RecordId) -> Option<&Record> {
        self.records.get(id).map(|kept| &kept.record)
    }

    /// Returns the admitted records that no admitted record stands on.
    #[must_use]
    pub fn heads(&self) -> &BTreeSet<RecordId> {
        &self.heads
    }

    /// Returns the one head, if there is one: what a device may seal on.
    #[must_use]
    pub fn head(&self) -> Option<RecordId> {
        if self.heads.len() == 1 { self.heads.first().copied() } else { None }
    }

    /// Returns the view at one admitted record.
    #[must_use]
    pub fn view_at(&self, record: &RecordId) -> Option<&View> {
        self.admitted(record).map(|(_, view)| view.as_ref())
    }

    fn facts_of(&self, record: &RecordId) -> Option<&Facts> {
        self.admitted(record).map(|(facts, _)| facts)
    }

    fn admitted(&self, record: &RecordId) -> Option<&(Facts, Arc<View>)> {
        self.records.get(record)?.admitted.as_ref()
    }

    /// Returns the view at several admitted records together, as that of a record standing on them.
    #[must_use]
    pub fn view_of(&self, records: &[RecordId]) -> Arc<View> {
        self.evaluate(records)
    }

    /// Returns the view at all heads together: what holds now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(self.current())
    }

    pub(super) fn current(&self) -> &Arc<View> {
        self.current.get_or_init(|| self.evaluate(&self.heads.iter().copied().collect::<Vec<_>>()))
    }

    /// Returns the view at the parents of a record; `None` if one is not admitted.
    fn view_below(&self, record: &Record) -> Option<Arc<View>> {
        let parents = record.parents();
        match parents {
            [parent] => self.admitted(parent).map(|(_, view)| Arc::clone(view)),
            _ => parents.iter().all(|parent| self.admitted(parent).is_some()).then(|| self.evaluate(parents)),
        }
    }

    /// Returns the generation that the next record has.
    #[must_use]
    pub fn next_generation(&self) -> u64 {
        self.generation_above(self.heads.iter())
    }

    /// Returns every record that counts or awaits its attestation, in the order of their names.
    pub fn counting(&self) -> impl Iterator<Item = &Record> {
        let counts =
            |kept: &Kept| matches!(kept.outcome, Some(RecordOutcome::Admitted | RecordOutcome::AwaitsAttestation));
        self.records.values().map(Arc::as_ref).filter(move |kept| counts(kept)).map(|kept| &kept.record)
    }

    /// Returns every record that counts or awaits its attestation, each behind its parents.
    #[must_use]
    pub fn in_order(&self) -> Vec<&Record> {
        let mut records: Vec<&Record> = self.counting().collect();
        records.sort_by_key(|record| (record.generation(), record.id()));
        records
    }

    /// Returns every attestation, by subject and relay.
    pub fn attestations(&self) -> impl Iterator<Item = &Signed<Attestation>> {
        self.attestations.all()
    }

    /// Returns the names under which records and attestations stand in a log.
    #[must_use]
    pub fn item_hashes(&self) -> BTreeSet<ItemHash> {
        let records = self.records.keys().copied().map(ItemHash::Record);
        records.chain(self.attestations().map(Signed::item_hash)).collect()
    }

    /// Tells whether `ancestor` is `record` or one that it stands on.
    #[must_use]
    pub fn descends(&self, record: &RecordId, ancestor: &RecordId) -> bool {
        let Some(floor) = self.record(ancestor).map(Record::generation) else {
            return false;
        };
        let mut open = vec![*record];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if id == *ancestor {
                return true;
            }
            let Some(record) = self.record(&id) else {
                continue;
            };
            if record.generation() > floor && seen.insert(id) {
                open.extend(record.parents());
            }
        }
        false
    }

    /// Counts the attested uses of an invite: the greatest number that a counting relay gave a Join.
    #[must_use]
    pub fn uses_of(&self, invite: &RecordId) -> u32 {
        let joins = self.joins.get(invite).into_iter().flatten();
        let settled = joins.filter(|join| self.records.get(join).is_some_and(|kept| kept.outcome.is_some()));
        settled.flat_map(|join| self.attestations.on(join)).map(|statement| statement.nth).max().unwrap_or(0)
    }

    fn generation_above<'a>(&self, ids: impl Iterator<Item = &'a RecordId>) -> u64 {
        let generations = ids.filter_map(|id| self.record(id)).map(Record::generation);
        generations.max().map_or(0, |greatest| greatest.saturating_add(1))
    }
}
