//! What holds at one point of the membership graph.
//!
//! Invariant: [`View::join`] is commutative, associative and idempotent, and joining a view with that of
//! an ancestor changes nothing; so the view at several heads does not depend on the order in which
//! they are looked at. Views share their maps, so keeping one for every record costs little.

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    members: Map<UserId, Role>,
    devices: Map<DeviceId, DeviceStanding>,
    invites: Map<RecordId, InviteStanding>,
    /// Which relay may count for which: `(old, new)`.
    successions: Map<(RelayId, RelayId), ()>,
    /// Every rotation so far.
    rotations: Map<(EpochId, RecordId), ()>,
    /// The rotations that no other one stands on; several only where heads are concurrent.
    newest: Map<RecordId, EpochId>,
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
        self.devices.get(device).filter(|standing| standing.certified).and_then(|standing| self.role(&standing.user))
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

    /// Returns the epoch that entries are sealed under: of concurrent ones that of the lowest record.
    #[must_use]
    pub fn epoch(&self) -> Option<EpochId> {
        self.newest.first().map(|(_, epoch)| *epoch)
    }

    /// Returns the newest epochs, the one of [`View::epoch`] first: what a rotation should carry on.
    pub fn newest_epochs(&self) -> impl Iterator<Item = EpochId> {
        self.newest.values().copied()
    }

    /// Tells whether an epoch began here or before.
    #[must_use]
    pub fn knows_epoch(&self, epoch: &EpochId) -> bool {
        let first = (*epoch, RecordId::from_bytes([0; 32]));
        let last = (*epoch, RecordId::from_bytes([0xff; 32]));
        self.rotations.range(first..=last).next().is_some()
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

    /// Returns everybody that a rotation must wrap to, with their X25519 keys: the devices of all who
    /// may read, and the open invites for one use by which one may. In the order of the recipients' ids.
    #[must_use]
    pub fn recipients(&self) -> Vec<([u8; 32], [u8; 32])> {
        let readers = self
            .devices
            .iter()
            .filter(|(_, standing)| standing.certified && self.role(&standing.user).is_some_and(Role::may_read));
        let devices = readers.map(|(id, standing)| (*id.as_bytes(), standing.keys.box_public));
        let single =
            self.invites.iter().filter(|(_, invite)| invite.uses == 1 && invite.is_open() && invite.role.may_read());
        let invites = single.map(|(id, invite)| (*id.as_bytes(), invite.box_public));
        let mut recipients: Vec<_> = devices.chain(invites).collect();
        recipients.sort_unstable();
        recipients
    }

    pub(super) fn found(&mut self, user: UserId, device: DeviceKeys, blinding_commitment: [u8; 32]) {
        self.members.insert_mut(user, Role::Owner);
        self.devices.insert_mut(device.id(), DeviceStanding { user, keys: device, certified: false });
        self.blinding_commitment = Some(blinding_commitment);
    }

    pub(super) fn certify(&mut self, user: UserId, keys: DeviceKeys) {
        self.devices.insert_mut(keys.id(), DeviceStanding { user, keys, certified: true });
    }

    pub(super) fn grant(&mut self, user: UserId, role: Role) {
        if self.role(&user).is_none_or(|held| held < role) {
            self.members.insert_mut(user, role);
        }
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
        self.successions.insert_mut((old, new), ());
    }

    pub(super) fn begin_epoch(&mut self, record: RecordId, epoch: EpochId) {
        self.newest = Map::new_sync().insert(record, epoch);
        self.rotations.insert_mut((epoch, record), ());
    }

    /// Joins two views.
    pub(super) fn join(mut self, other: &Self) -> Self {
        for (user, role) in &other.members {
            self.grant(*user, *role);
        }
        for (id, standing) in &other.devices {
            self.join_device(*id, *standing);
        }
        for (id, standing) in &other.invites {
            let held = self.invites.get(id);
            if held.is_none_or(|held| held.used < standing.used) {
                self.invites.insert_mut(*id, *standing);
            }
        }
        for (succession, ()) in &other.successions {
            // Looking first keeps the maps shared: an insertion copies the path to the place.
            if !self.successions.contains_key(succession) {
                self.successions.insert_mut(*succession, ());
            }
        }
        self.join_epochs(other);
        self.blinding_commitment = self.blinding_commitment.or(other.blinding_commitment);
        self
    }

    /// A certified standing counts more than the founder's first; if two users certified one device
    /// in concurrent records, which takes its own signature for both, the lower user has it.
    fn join_device(&mut self, id: DeviceId, theirs: DeviceStanding) {
        let rank = |standing: &DeviceStanding| (!standing.certified, standing.user);
        let held = self.devices.get(&id);
        if held.is_none_or(|held| rank(&theirs) < rank(held)) {
            self.devices.insert_mut(id, theirs);
        }
    }

    /// Keeps what is newest in both, or newest in one and unknown to the other.
    fn join_epochs(&mut self, other: &Self) {
        let superseded = |(record, epoch): &(&RecordId, &EpochId)| {
            !other.newest.contains_key(record) && other.rotations.contains_key(&(**epoch, **record))
        };
        let stale: Vec<RecordId> = self.newest.iter().filter(superseded).map(|(id, _)| *id).collect();
        for (record, epoch) in &other.newest {
            if !self.rotations.contains_key(&(*epoch, *record)) {
                self.newest.insert_mut(*record, *epoch);
            }
        }
        for record in &stale {
            self.newest.remove_mut(record);
        }
        for (rotation, ()) in &other.rotations {
            if !self.rotations.contains_key(rotation) {
                self.rotations.insert_mut(*rotation, ());
            }
        }
    }
}
