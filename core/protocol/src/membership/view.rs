//! What holds at one point of the membership graph.
//!
//! Invariant: [`View::join`] is commutative, associative and idempotent, so the view at several heads
//! does not depend on the order in which they are looked at. Views share their maps, so keeping one
//! for every record costs little.

use rpds::RedBlackTreeMapSync as Map;

use crate::identity::DeviceKeys;
use crate::ids::{DeviceId, EpochId, RecordId, RelayId, UserId};
use crate::keys::VerifyKey;
use crate::record::Role;

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
}

/// An invite as the workspace knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InviteStanding {
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
}

impl InviteStanding {
    /// Tells whether it can still be used, as far as this view goes.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.uses == 0 || self.used < self.uses
    }
}

/// Members, devices, invites and epoch at one point of the graph.
#[derive(Clone, Debug, Default)]
pub struct View {
    members: Map<UserId, Role>,
    devices: Map<DeviceId, DeviceStanding>,
    invites: Map<RecordId, InviteStanding>,
    successors: Map<RelayId, RelayId>,
    /// The record that began the epoch, and the epoch.
    epoch: Option<(RecordId, EpochId)>,
    blinding_commitment: Option<[u8; 32]>,
}

impl View {
    /// Returns a user's role.
    #[must_use]
    pub fn role(&self, user: &UserId) -> Option<Role> {
        self.members.get(user).copied()
    }

    /// Returns a certified device's role: its user's.
    #[must_use]
    pub fn role_of_device(&self, device: &DeviceId) -> Option<Role> {
        self.devices
            .get(device)
            .filter(|standing| standing.certified)
            .and_then(|standing| self.role(&standing.user))
    }

    /// Returns a device.
    #[must_use]
    pub fn device(&self, device: &DeviceId) -> Option<&DeviceStanding> {
        self.devices.get(device)
    }

    /// Returns all members with their roles.
    pub fn members(&self) -> impl Iterator<Item = (UserId, Role)> {
        self.members.iter().map(|(user, role)| (*user, *role))
    }

    /// Returns all devices.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, &DeviceStanding)> {
        self.devices.iter().map(|(id, standing)| (*id, standing))
    }

    /// Returns an invite.
    #[must_use]
    pub fn invite(&self, invite: &RecordId) -> Option<&InviteStanding> {
        self.invites.get(invite)
    }

    /// Returns the epoch that entries are sealed under.
    #[must_use]
    pub fn epoch(&self) -> Option<EpochId> {
        self.epoch.map(|(_, epoch)| epoch)
    }

    /// Returns what the blinding key must hash to.
    #[must_use]
    pub fn blinding_commitment(&self) -> Option<[u8; 32]> {
        self.blinding_commitment
    }

    /// Returns the relay that took over a relay's key.
    #[must_use]
    pub fn successor(&self, relay: &RelayId) -> Option<RelayId> {
        self.successors.get(relay).copied()
    }

    /// Returns everybody that a rotation must wrap to, with their X25519 keys: the devices of all who
    /// may read, and the open invites for one use. In the order of the recipients' ids.
    #[must_use]
    pub fn recipients(&self) -> Vec<([u8; 32], [u8; 32])> {
        let readers = self.devices.iter().filter(|(_, standing)| {
            standing.certified && self.role(&standing.user).is_some_and(Role::may_read)
        });
        let devices = readers.map(|(id, standing)| (*id.as_bytes(), standing.keys.box_public));
        let single = self
            .invites
            .iter()
            .filter(|(_, invite)| invite.uses == 1 && invite.is_open());
        let invites = single.map(|(id, invite)| (*id.as_bytes(), invite.box_public));
        let mut recipients: Vec<_> = devices.chain(invites).collect();
        recipients.sort_unstable();
        recipients
    }

    pub(super) fn found(
        &mut self,
        user: UserId,
        device: DeviceKeys,
        blinding_commitment: [u8; 32],
    ) {
        self.members.insert_mut(user, Role::Owner);
        self.devices.insert_mut(
            device.id(),
            DeviceStanding {
                user,
                keys: device,
                certified: false,
            },
        );
        self.blinding_commitment = Some(blinding_commitment);
    }

    pub(super) fn certify(&mut self, user: UserId, keys: DeviceKeys) {
        self.devices.insert_mut(
            keys.id(),
            DeviceStanding {
                user,
                keys,
                certified: true,
            },
        );
    }

    pub(super) fn grant(&mut self, user: UserId, role: Role) {
        let role = self.role(&user).map_or(role, |held| held.max(role));
        self.members.insert_mut(user, role);
    }

    pub(super) fn offer(&mut self, invite: RecordId, standing: InviteStanding) {
        self.invites.insert_mut(invite, standing);
    }

    pub(super) fn count_use(&mut self, invite: &RecordId, nth: u32) {
        if let Some(standing) = self.invites.get_mut(invite) {
            standing.used = standing.used.max(nth);
        }
    }

    pub(super) fn succeed(&mut self, old: RelayId, new: RelayId) {
        self.successors.insert_mut(old, new);
    }

    pub(super) fn begin_epoch(&mut self, record: RecordId, epoch: EpochId) {
        self.epoch = Some((record, epoch));
    }

    /// Joins two views; `descends(a, b)` tells whether record `a` stands on record `b`.
    pub(super) fn join(
        mut self,
        other: &Self,
        descends: impl Fn(&RecordId, &RecordId) -> bool,
    ) -> Self {
        for (user, role) in &other.members {
            self.grant(*user, *role);
        }
        for (id, standing) in &other.devices {
            if self.devices.get(id).is_none_or(|held| !held.certified) {
                self.devices.insert_mut(*id, *standing);
            }
        }
        for (id, standing) in &other.invites {
            match self.invites.get_mut(id) {
                Some(held) => held.used = held.used.max(standing.used),
                None => self.invites.insert_mut(*id, *standing),
            }
        }
        for (old, new) in &other.successors {
            let lower = self.successors.get(old).map_or(*new, |held| *held.min(new));
            self.successors.insert_mut(*old, lower);
        }
        self.epoch = match (self.epoch, other.epoch) {
            (Some(ours), Some(theirs)) => Some(later_epoch(ours, theirs, descends)),
            (ours, theirs) => ours.or(theirs),
        };
        self.blinding_commitment = self.blinding_commitment.or(other.blinding_commitment);
        self
    }
}

/// Of two rotations the one that stands on the other; of concurrent ones the lower id.
fn later_epoch(
    ours: (RecordId, EpochId),
    theirs: (RecordId, EpochId),
    descends: impl Fn(&RecordId, &RecordId) -> bool,
) -> (RecordId, EpochId) {
    if descends(&ours.0, &theirs.0) {
        ours
    } else if descends(&theirs.0, &ours.0) {
        theirs
    } else {
        ours.min(theirs)
    }
}
