//! What holds at one point of the membership graph.
//!
//! Invariant: a view is a function of the records below its point. Views share their maps, so keeping
//! one for every record costs little; `effect` is the only place that changes one.

mod effect;
mod keys;

pub use keys::Recipient;

use std::collections::BTreeSet;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync as Map;

use crate::identity::{DeviceKeys, IdentityLog};
use crate::ids::{DeviceId, DocumentTag, EntryHash, EpochId, RecordId, RelayId, UserId};
use crate::keys::VerifyKey;
use crate::membership::facts::Target;
use crate::record::{Expiry, Policy, Role};

/// A device as the workspace knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceStanding {
    /// Whose it is.
    pub user: UserId,
    /// Its public keys.
    pub keys: DeviceKeys,
    /// Whether the user's identity log has vouched for it; the founder's has not before the first
    /// Devices record, and until then may publish nothing else.
    pub certified: bool,
    /// Whether the user has given it up; what it signed before stays good.
    pub revoked: bool,
}

impl DeviceStanding {
    /// Tells whether it may act for its user.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.certified && !self.revoked
    }
}

/// An invite as the workspace knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InviteStanding {
    /// Who offers it.
    pub maker: UserId,
    /// What a joiner becomes.
    pub role: Role,
    /// When it ends by the counting relay's clock; zero for never.
    pub expires_ms: i64,
    /// How many may join; zero for any number.
    pub uses: u32,
    /// How many have, as far as this view goes.
    pub used: u32,
    /// The relay that counts.
    pub relay: RelayId,
    /// The key that signs a Join.
    pub sign: VerifyKey,
    /// The key that epochs are wrapped to.
    pub box_public: [u8; 32],
    /// Whether it was revoked, or a removal ended it.
    pub ended: bool,
}

impl InviteStanding {
    /// Returns the least role that whoever offers it must have.
    #[must_use]
    pub(super) fn needs(&self) -> Role {
        needed_to_invite(self.role)
    }

    /// Tells whether it can still be used, as far as this view goes.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.ended && (self.uses == 0 || self.used < self.uses)
    }

    /// Tells whether epochs are wrapped to it: it is for one, who is to read.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        self.uses == 1 && self.is_open() && self.role.may_read()
    }
}

/// Returns the least role by which one invites to a role.
pub(super) fn needed_to_invite(role: Role) -> Role {
    if role >= Role::Admin { Role::Owner } else { Role::Admin }
}

/// One act that gave a user a standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemberAct {
    pub(super) record: RecordId,
    pub(super) rank: u8,
    pub(super) role: Option<Role>,
    pub(super) expiry: Option<Expiry>,
}

/// The begin of an epoch that no other descends from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Newest {
    epoch: EpochId,
    /// Whether somebody may know it who was shut out beside it: another one stands on a removal that it does not.
    behind: bool,
    /// Whether it stands on a removal that another does not.
    leads: bool,
    /// Whether its record does not count: it decides nothing, and what was sealed in it stays readable.
    void: bool,
}

/// Entries that may count in one view and not in another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recount {
    /// Devices any of whose entries may.
    pub devices: BTreeSet<DeviceId>,
    /// Entries that admins have judged.
    pub entries: BTreeSet<EntryHash>,
}

/// Members, devices, invites and epoch at one point of the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Of each user the acts that no other act on that user descends from, by record.
    members: Map<UserId, Vec<MemberAct>>,
    identities: Map<UserId, Arc<IdentityLog>>,
    devices: Map<DeviceId, DeviceStanding>,
    invites: Map<RecordId, InviteStanding>,
    /// Who came in by which invite.
    joined_by: Map<(UserId, RecordId), ()>,
    /// Which relay may count for which: `(old, new)`.
    successions: Map<(RelayId, RelayId), ()>,
    /// Every rotation so far.
    rotations: Map<(EpochId, RecordId), ()>,
    newest: Map<RecordId, Newest>,
    /// Acts that took the keys from their own author, and that no epoch stands on.
    departures: Map<RecordId, ()>,
    /// Removals that count, with the role they leave.
    removals: Map<(Target, RecordId), Option<Role>>,
    /// Verdicts on entries that no other verdict on the same entry descends from: whether it counts.
    verdicts: Map<EntryHash, Vec<(RecordId, bool)>>,
    policies: Vec<(u8, RecordId, Arc<Policy>)>,
    recovery: Map<UserId, Vec<(RecordId, [u8; 32])>>,
    purged: Map<DocumentTag, ()>,
    /// What other records count or not by: removals, ends of invites and the making of owners, void or not.
    decisive: Map<RecordId, ()>,
    /// Removals of owners that do not apply, since together they would leave none.
    spared: Map<RecordId, ()>,
    /// Of those, the ones that an act of an owner stands on: that they do not apply is decided.
    settled: Map<RecordId, ()>,
    /// Records that are valid and do not count.
    void: Map<RecordId, ()>,
    blinding_commitment: Option<[u8; 32]>,
}

impl View {
    /// Returns a user's role.
    #[must_use]
    pub fn role(&self, user: &UserId) -> Option<Role> {
        self.deciding(user).and_then(|act| act.role)
    }

    /// Returns when a user's role ends, if it does.
    #[must_use]
    pub fn expiry(&self, user: &UserId) -> Option<Expiry> {
        self.deciding(user).filter(|act| act.role.is_some()).and_then(|act| act.expiry)
    }

    /// Returns the record that decides a user's standing: of concurrent ones a removal, else that of the
    /// greatest rank, then of the lowest role, then the lowest.
    #[must_use]
    pub fn decided_by(&self, user: &UserId) -> Option<RecordId> {
        self.deciding(user).map(|act| act.record)
    }

    pub(super) fn deciding(&self, user: &UserId) -> Option<&MemberAct> {
        let acts = self.members.get(user)?;
        acts.iter().min_by_key(|act| (act.role.is_some(), u8::MAX - act.rank, act.role, act.record))
    }

    /// Returns an active device's role: its user's.
    #[must_use]
    pub fn role_of_device(&self, device: &DeviceId) -> Option<Role> {
        self.devices.get(device).filter(|standing| standing.is_active()).and_then(|standing| self.role(&standing.user))
    }

    /// Returns a device that the workspace knows, active or not.
    #[must_use]
    pub fn device(&self, device: &DeviceId) -> Option<&DeviceStanding> {
        self.devices.get(device)
    }

    /// Returns all members with their roles.
    pub fn members(&self) -> impl Iterator<Item = (UserId, Role)> {
        self.members.keys().filter_map(|user| self.role(user).map(|role| (*user, role)))
    }

    /// Tells whether another view has the same members: roles, their ends, and the devices that act for them.
    #[must_use]
    pub fn has_members_of(&self, other: &Self) -> bool {
        fn members(view: &View) -> impl Iterator<Item = (UserId, Role, Option<Expiry>)> {
            view.members().map(|(user, role)| (user, role, view.expiry(&user)))
        }
        fn devices(view: &View) -> impl Iterator<Item = (DeviceId, UserId)> {
            let acting = view.devices().filter(|(device, _)| view.role_of_device(device).is_some());
            acting.map(|(device, standing)| (device, standing.user))
        }
        members(self).eq(members(other)) && devices(self).eq(devices(other))
    }

    /// Returns all devices, active or not.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, &DeviceStanding)> {
        self.devices.iter().map(|(id, standing)| (*id, standing))
    }

    /// Returns what is known of a user's devices, in their own signed words.
    #[must_use]
    pub fn identity(&self, user: &UserId) -> Option<&IdentityLog> {
        self.identities.get(user).map(AsRef::as_ref)
    }

    /// Returns an invite.
    #[must_use]
    pub fn invite(&self, invite: &RecordId) -> Option<&InviteStanding> {
        self.invites.get(invite)
    }

    /// Returns all invites.
    pub fn invites(&self) -> impl Iterator<Item = (RecordId, &InviteStanding)> {
        self.invites.iter().map(|(id, standing)| (*id, standing))
    }

    pub(super) fn came_by(&self, user: &UserId, invite: &RecordId) -> bool {
        self.joined_by.contains_key(&(*user, *invite))
    }

    /// Returns what the blinding key must hash to.
    #[must_use]
    pub fn blinding_commitment(&self) -> Option<[u8; 32]> {
        self.blinding_commitment
    }

    /// Returns the relays that may count for a relay, by records of admins.
    pub fn successors(&self, relay: &RelayId) -> impl Iterator<Item = RelayId> {
        let first = (*relay, RelayId::from_bytes([0; 32]));
        let last = (*relay, RelayId::from_bytes([0xff; 32]));
        self.successions.range(first..=last).map(|((_, new), ())| *new)
    }

    /// Returns what owners ask of everybody: of concurrent policies that of the greatest rank, then record.
    #[must_use]
    pub fn policy(&self) -> Option<&Policy> {
        self.policies.iter().max_by_key(|(rank, record, _)| (*rank, *record)).map(|(.., policy)| policy.as_ref())
    }

    /// Returns a user's recovery key.
    #[must_use]
    pub fn recovery_key(&self, user: &UserId) -> Option<[u8; 32]> {
        self.recovery.get(user)?.iter().min().map(|(_, key)| *key)
    }

    /// Tells whether a document was given up.
    #[must_use]
    pub fn is_purged(&self, document: &DocumentTag) -> bool {
        self.purged.contains_key(document)
    }

    /// Tells whether a record is valid and does not count, because of what is concurrent with it.
    #[must_use]
    pub fn is_void(&self, record: &RecordId) -> bool {
        self.void.contains_key(record)
    }

    /// Tells whether admins have judged any entry.
    #[must_use]
    pub fn has_verdicts(&self) -> bool {
        !self.verdicts.is_empty()
    }

    pub(super) fn has_void(&self) -> bool {
        !self.void.is_empty()
    }

    /// Returns the verdict of admins on an entry: whether it counts. Exclude beats a concurrent Admit.
    #[must_use]
    pub fn verdict(&self, entry: &EntryHash) -> Option<bool> {
        self.verdicts.get(entry).map(|verdicts| verdicts.iter().all(|(_, admitted)| *admitted))
    }

    /// Returns the removals that count of a user or device, with the role they leave.
    pub(super) fn removals(&self, target: Target) -> impl Iterator<Item = (RecordId, Option<Role>)> {
        let first = (target, RecordId::from_bytes([0; 32]));
        let last = (target, RecordId::from_bytes([0xff; 32]));
        self.removals.range(first..=last).map(|((_, record), floor)| (*record, *floor))
    }

    pub(super) fn settled(&self) -> impl Iterator<Item = RecordId> {
        self.settled.keys().copied()
    }

    pub(super) fn settle(&mut self, records: impl Iterator<Item = RecordId>) {
        records.for_each(|record| self.settled.insert_mut(record, ()));
    }

    /// Tells whether a record does not apply because nobody would be owner.
    pub(super) fn is_spared(&self, record: &RecordId) -> bool {
        self.spared.contains_key(record)
    }

    pub(super) fn spare(&mut self, records: impl Iterator<Item = RecordId>) {
        records.for_each(|record| self.spared.insert_mut(record, ()));
    }

    /// Settles all that is spared: an owner builds on it.
    pub(super) fn settle_spared(&mut self) {
        if self.settled.size() < self.spared.size() {
            self.settled = self.spared.clone();
        }
    }

    /// Tells whether two views know the same of what other records count or not by.
    pub(super) fn decides_like(&self, other: &Self) -> bool {
        let same = |one: &Map<RecordId, ()>, other: &Map<RecordId, ()>| {
            one.size() == other.size() && one.keys().eq(other.keys())
        };
        same(&self.decisive, &other.decisive) && same(&self.settled, &other.settled)
    }

    /// Tells whether anything here may keep out an entry whose author had the role.
    pub(super) fn keeps_entries_out(&self) -> bool {
        !self.removals.is_empty() || !self.verdicts.is_empty() || !self.void.is_empty()
    }

    /// Tells whether anything but a verdict may keep out an entry of a device.
    pub(super) fn strikes_device(&self, device: &DeviceId) -> bool {
        let user = self.device(device).map(|standing| Target::User(standing.user));
        let targets = user.into_iter().chain([Target::Device(*device)]);
        !self.void.is_empty() || targets.into_iter().any(|target| self.removals(target).next().is_some())
    }

    /// Returns what may count in this view and not in another, or the other way round.
    #[must_use]
    pub fn recount_since(&self, before: &Self) -> Recount {
        let mut recount = Recount::default();
        let struck = self.removals.keys().filter(|key| before.removals.get(key) != self.removals.get(key));
        let spared = before.removals.keys().filter(|key| !self.removals.contains_key(key));
        let targets: BTreeSet<Target> = struck.chain(spared).map(|(target, _)| *target).collect();
        if !targets.is_empty() || self.void != before.void {
            let any = self.void != before.void;
            let is_struck = |device: &DeviceId, user: UserId| {
                any || targets.contains(&Target::Device(*device)) || targets.contains(&Target::User(user))
            };
            let devices = self.devices().filter(|(device, standing)| is_struck(device, standing.user));
            recount.devices = devices.map(|(device, _)| device).collect();
        }
        let judged = self.verdicts.keys().chain(before.verdicts.keys());
        recount.entries = judged.filter(|entry| self.verdict(entry) != before.verdict(entry)).copied().collect();
        recount
    }
}
