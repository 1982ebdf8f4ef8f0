//! Who may do what: the evaluation of the membership log, the same on relays and devices.
//!
//! Records form a graph. Each record is judged in the [`View`] of its parents (the join of their
//! views), and its effect gives the view at the record itself. So the role "at its members_head" of an
//! entry's author is one look-up.
//!
//! Invariant: the outcome is a pure function of the set of records and attestations, whatever the
//! order of their arrival: a record waits until its parents are here, and is then judged on nothing
//! but its ancestors and the attestations of Joins among them.

mod judge;
mod view;

use std::collections::{BTreeMap, BTreeSet};

pub use view::{DeviceStanding, InviteStanding, View};

use crate::identity::IdentityError;
use crate::ids::{RecordId, RelayId, WorkspaceId};
use crate::item::ItemHash;
use crate::keys::KeyError;
use crate::receipt::{Attestation, Signed};
use crate::record::{Record, RecordBody};

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
            Self::RecipientSetMismatch => {
                f.write_str("the epoch is not wrapped to exactly its recipients")
            }
            Self::EpochMismatch => f.write_str("the record builds on another epoch"),
            Self::InviteNotValid => f.write_str("the invite is unknown, used up or ended"),
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
    /// It is a Join, and its relay's attestation is not here yet.
    AwaitsAttestation,
    /// It does not count, and never will.
    Refused(RecordRefusal),
}

/// The membership log of one workspace, evaluated.
#[derive(Clone, Debug)]
pub struct Membership {
    workspace: WorkspaceId,
    records: BTreeMap<RecordId, Record>,
    attestations: BTreeMap<RecordId, Vec<Signed<Attestation>>>,
    outcomes: BTreeMap<RecordId, RecordOutcome>,
    views: BTreeMap<RecordId, View>,
    children: BTreeMap<RecordId, BTreeSet<RecordId>>,
    heads: BTreeSet<RecordId>,
}

impl Membership {
    /// Starts with nothing but the name of the workspace; its genesis is recognised by it.
    #[must_use]
    pub fn new(workspace: WorkspaceId) -> Self {
        Self {
            workspace,
            records: BTreeMap::new(),
            attestations: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            views: BTreeMap::new(),
            children: BTreeMap::new(),
            heads: BTreeSet::new(),
        }
    }

    /// Returns the workspace.
    #[must_use]
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// Adds a record, judges it if it can be, and then whatever waited for it.
    pub fn insert(&mut self, record: Record) -> RecordOutcome {
        let id = record.id();
        if let Some(known) = self.outcomes.get(&id) {
            return *known;
        }
        if record.workspace() != self.workspace {
            return RecordOutcome::Refused(RecordRefusal::OtherWorkspace);
        }
        for parent in record.parents() {
            self.children.entry(*parent).or_default().insert(id);
        }
        self.records.insert(id, record);
        self.judge_from(id);
        self.outcomes
            .get(&id)
            .copied()
            .unwrap_or(RecordOutcome::AwaitsParents)
    }

    /// Adds a relay's attestation and judges again what waited for it.
    ///
    /// Returns whether it was new and the relay's own.
    pub fn attest(&mut self, attestation: Signed<Attestation>) -> bool {
        let subject = match attestation.verify() {
            Ok(statement) if statement.workspace == self.workspace => statement.subject,
            _ => return false,
        };
        let known = self.attestations.entry(subject).or_default();
        if known.contains(&attestation) {
            return false;
        }
        known.push(attestation);
        if self.outcomes.get(&subject) == Some(&RecordOutcome::AwaitsAttestation) {
            self.judge_from(subject);
        }
        true
    }

    /// Returns what became of a record.
    #[must_use]
    pub fn outcome(&self, id: &RecordId) -> Option<RecordOutcome> {
        self.outcomes.get(id).copied()
    }

    /// Returns a record, whatever became of it.
    #[must_use]
    pub fn record(&self, id: &RecordId) -> Option<&Record> {
        self.records.get(id)
    }

    /// Returns the admitted records that no admitted record stands on.
    #[must_use]
    pub fn heads(&self) -> &BTreeSet<RecordId> {
        &self.heads
    }

    /// Returns the one head, if there is one: what a device may seal on.
    #[must_use]
    pub fn head(&self) -> Option<RecordId> {
        if self.heads.len() == 1 {
            self.heads.first().copied()
        } else {
            None
        }
    }

    /// Returns the view at one admitted record.
    #[must_use]
    pub fn view_at(&self, record: &RecordId) -> Option<&View> {
        self.views.get(record)
    }

    /// Returns the view at all heads together: what holds now.
    #[must_use]
    pub fn view(&self) -> View {
        self.joined(self.heads.iter())
    }

    /// Returns the generation that the next record has.
    #[must_use]
    pub fn next_generation(&self) -> u64 {
        self.generation_above(self.heads.iter())
    }

    /// Returns every record in an order in which each follows its parents.
    #[must_use]
    pub fn in_order(&self) -> Vec<&Record> {
        let mut records: Vec<&Record> = self.records.values().collect();
        records.sort_by_key(|record| (record.generation(), record.id()));
        records
    }

    /// Returns every attestation, by subject.
    pub fn attestations(&self) -> impl Iterator<Item = &Signed<Attestation>> {
        self.attestations.values().flatten()
    }

    /// Returns the names under which records and attestations stand in a log.
    #[must_use]
    pub fn item_hashes(&self) -> BTreeSet<ItemHash> {
        let records = self.records.keys().copied().map(ItemHash::Record);
        records
            .chain(self.attestations().map(Signed::item_hash))
            .collect()
    }

    /// Tells whether `ancestor` is `record` or one that it stands on.
    #[must_use]
    pub fn descends(&self, record: &RecordId, ancestor: &RecordId) -> bool {
        let Some(floor) = self.records.get(ancestor).map(Record::generation) else {
            return false;
        };
        let mut open = vec![*record];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if id == *ancestor {
                return true;
            }
            let Some(record) = self.records.get(&id) else {
                continue;
            };
            if record.generation() > floor && seen.insert(id) {
                open.extend(record.parents());
            }
        }
        false
    }

    /// Counts the attested uses of an invite, the greatest first-hand number among its Joins.
    #[must_use]
    pub fn uses_of(&self, invite: &RecordId) -> u32 {
        let joins = self.records.values().filter(|record| match record.body() {
            RecordBody::Join(join) => join.invite == *invite,
            _ => false,
        });
        joins
            .filter_map(|join| self.use_number(&join.id()))
            .max()
            .unwrap_or(0)
    }

    fn use_number(&self, join: &RecordId) -> Option<u32> {
        let attestations = self.attestations.get(join)?;
        attestations
            .iter()
            .filter_map(|signed| signed.verify().ok().map(|statement| statement.nth))
            .max()
    }

    /// Judges `first`, and then all that became judgeable by it.
    fn judge_from(&mut self, first: RecordId) {
        let mut open = BTreeSet::from([first]);
        while let Some(id) = open.pop_first() {
            let Some(outcome) = self.judge(&id) else {
                continue;
            };
            self.outcomes.insert(id, outcome);
            if outcome == RecordOutcome::Admitted {
                self.admit(id);
            }
            if matches!(outcome, RecordOutcome::Admitted | RecordOutcome::Refused(_)) {
                open.extend(self.children.get(&id).into_iter().flatten());
            }
        }
    }

    fn admit(&mut self, id: RecordId) {
        if let Some(record) = self.records.get(&id) {
            for parent in record.parents() {
                self.heads.remove(parent);
            }
        }
        self.heads.insert(id);
    }

    fn joined<'a>(&self, ids: impl Iterator<Item = &'a RecordId>) -> View {
        let mut joined: Option<View> = None;
        for view in ids.filter_map(|id| self.views.get(id)) {
            joined = Some(match joined {
                None => view.clone(),
                Some(so_far) => so_far.join(view, |later, earlier| self.descends(later, earlier)),
            });
        }
        joined.unwrap_or_default()
    }

    fn generation_above<'a>(&self, ids: impl Iterator<Item = &'a RecordId>) -> u64 {
        let generations = ids
            .filter_map(|id| self.records.get(id))
            .map(Record::generation);
        generations
            .max()
            .map_or(0, |greatest| greatest.saturating_add(1))
    }

    /// Tells whether a relay may attest for another: it is the same, or succeeded it.
    fn counts_for(view: &View, named: RelayId, signer: RelayId) -> bool {
        let mut relay = named;
        let mut seen = BTreeSet::new();
        while seen.insert(relay) {
            if relay == signer {
                return true;
            }
            match view.successor(&relay) {
                Some(next) => relay = next,
                None => return false,
            }
        }
        false
    }
}
