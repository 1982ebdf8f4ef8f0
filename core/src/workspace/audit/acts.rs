//! What the records of the trail state, as an app may match on it.
//!
//! Invariant: every field follows from the record itself; names of devices are what their users told last,
//! and whether keys go to the organisation is told by the present policy.

use std::collections::BTreeMap;

use tombolo_protocol::identity::{IdentityAct, IdentityRecord};
use tombolo_protocol::ids::{DeviceId, DocumentTag, EpochId, RecordId, RelayId, UserId};
use tombolo_protocol::membership::{Finding, View};
use tombolo_protocol::record::{InviteCreate, Policy, Record, RecordBody, Rewrap, Role, Standing};

use crate::identity::Platform;

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditAct {
    /// Founds the workspace.
    Found,
    /// Gives somebody a role.
    SetRole {
        /// Whom.
        user: UserId,
        /// The role.
        role: Role,
        /// When it ends by a relay's clock, milliseconds since 1970.
        expires_ms: Option<i64>,
        /// The epoch that begins with it.
        epoch: Option<EpochId>,
    },
    /// Removes a member.
    Remove {
        /// Whom.
        user: UserId,
        /// The epoch that begins with it.
        epoch: Option<EpochId>,
    },
    /// The author leaves.
    Leave {
        /// The epoch that begins with it.
        epoch: Option<EpochId>,
    },
    /// Takes away a role whose end has come, with a relay's receipt as the proof.
    EndRole {
        /// Whose.
        user: UserId,
        /// When the relay said so, by its clock; `None` if the receipt does not hold.
        proven_ms: Option<i64>,
        /// The epoch that begins with it.
        epoch: Option<EpochId>,
    },
    /// Begins an epoch.
    RotateKeys {
        /// The epoch.
        epoch: EpochId,
        /// To how many keys it is given.
        recipients: usize,
    },
    /// Brings what a user says of their devices; the statements stand before it.
    StateDevices {
        /// Whose.
        user: UserId,
        /// The epoch that begins with it, because a device was given up.
        epoch: Option<EpochId>,
    },
    /// Gives the keys to members who lack them.
    DeliverKeys {
        /// Of which epoch.
        epoch: EpochId,
        /// To how many keys.
        recipients: usize,
        /// Whether the organisation's recovery key is among them.
        to_organisation: bool,
    },
    /// Offers an invite.
    Invite {
        /// What a joiner becomes.
        role: Role,
        /// How many may join; `None` for any number.
        uses: Option<u32>,
        /// When it ends by the counting relay's clock.
        expires_ms: Option<i64>,
        /// The relay that counts.
        relay: RelayId,
    },
    /// Ends an invite.
    EndInvite {
        /// Which.
        invite: RecordId,
        /// The epoch that begins with it.
        epoch: Option<EpochId>,
    },
    /// Accepts an invite.
    Join {
        /// Which.
        invite: RecordId,
        /// Which use of it this is, once a relay has counted it.
        nth: Option<u32>,
    },
    /// Settles what is asked of everybody.
    SetPolicy(Policy),
    /// Makes somebody owner and the author admin.
    TransferOwnership {
        /// To whom.
        to: UserId,
    },
    /// Lets entries count that lie beyond a removed member's pins.
    Admit {
        /// How many.
        entries: usize,
    },
    /// Keeps entries out.
    Exclude {
        /// How many.
        entries: usize,
    },
    /// Gives up a document.
    Purge {
        /// Its tag.
        document: DocumentTag,
    },
    /// Makes a recovery kit's key one of the author's.
    SetRecoveryKey,
    /// Says that a relay has another key.
    SucceedRelay {
        /// Where it is dialled.
        address: String,
        /// The key it had.
        old: RelayId,
        /// The key it has.
        new: RelayId,
    },
    /// A user has one device more.
    AddDevice {
        /// Which.
        device: DeviceId,
        /// What the user calls it.
        name: Option<String>,
        /// What it says it is.
        platform: Platform,
    },
    /// A user has given up a device.
    RevokeDevice {
        /// Which.
        device: DeviceId,
        /// What the user called it.
        name: Option<String>,
    },
    /// Something of a later version.
    Unknown {
        /// The number of its type.
        kind: u8,
    },
}

impl AuditAct {
    pub(super) fn of(record: &Record, finding: &Finding, view: &View) -> Self {
        let body = record.body();
        let epoch = body.rotation().map(|rotation| rotation.epoch);
        match body {
            RecordBody::Genesis(_) => Self::Found,
            RecordBody::Standing(standing) => Self::of_standing(standing, finding.user, epoch),
            RecordBody::Rotate(rotation) => {
                Self::RotateKeys { epoch: rotation.epoch, recipients: rotation.wraps.len() }
            }
            RecordBody::Devices(devices) => Self::StateDevices { user: devices.identity.user(), epoch },
            RecordBody::InviteCreate(invite) => Self::of_invite(invite),
            RecordBody::InviteRevoke(revoke) => Self::EndInvite { invite: revoke.invite, epoch },
            RecordBody::Join(join) => Self::Join { invite: join.invite, nth: finding.nth },
            RecordBody::Rewrap(rewrap) => Self::of_rewrap(rewrap, view),
            RecordBody::Policy(policy) => Self::SetPolicy(policy.clone()),
            RecordBody::OwnerTransfer(to) => Self::TransferOwnership { to: *to },
            RecordBody::Admit(entries) => Self::Admit { entries: entries.len() },
            RecordBody::Exclude(entries) => Self::Exclude { entries: entries.len() },
            RecordBody::Purge(document) => Self::Purge { document: *document },
            RecordBody::RecoverySet(_) => Self::SetRecoveryKey,
            RecordBody::RelaySuccession(said) => {
                Self::SucceedRelay { address: said.address.clone(), old: said.old, new: said.new }
            }
            RecordBody::Unsupported { kind, .. } => Self::Unknown { kind: *kind },
        }
    }

    fn of_standing(standing: &Standing, author: Option<UserId>, epoch: Option<EpochId>) -> Self {
        let user = standing.subject;
        match (standing.role, &standing.proof) {
            (Some(role), _) => {
                Self::SetRole { user, role, expires_ms: standing.expiry.map(|expiry| expiry.expires_ms), epoch }
            }
            (None, Some(proof)) => {
                Self::EndRole { user, proven_ms: proof.verify().ok().map(|said| said.time_ms), epoch }
            }
            (None, None) if author == Some(user) => Self::Leave { epoch },
            (None, None) => Self::Remove { user, epoch },
        }
    }

    fn of_invite(invite: &InviteCreate) -> Self {
        Self::Invite {
            role: invite.role,
            uses: Some(invite.uses).filter(|uses| *uses != 0),
            expires_ms: Some(invite.expires_ms).filter(|expires_ms| *expires_ms != 0),
            relay: invite.relay,
        }
    }

    fn of_rewrap(rewrap: &Rewrap, view: &View) -> Self {
        let organisation = view.policy().and_then(|policy| policy.recovery).map(|recovery| recovery.recipient());
        let to_organisation = rewrap.wraps.iter().any(|wrap| Some(wrap.recipient) == organisation);
        Self::DeliverKeys { epoch: rewrap.epoch, recipients: rewrap.wraps.len(), to_organisation }
    }

    pub(super) fn of_device(record: &IdentityRecord, names: &BTreeMap<DeviceId, String>) -> Self {
        match record.act() {
            IdentityAct::Add { keys, platform } => {
                let device = keys.id();
                let name = names.get(&device).cloned();
                Self::AddDevice { device, name, platform: Platform::from_number(*platform) }
            }
            IdentityAct::Revoke(device) => Self::RevokeDevice { device: *device, name: names.get(device).cloned() },
        }
    }

    /// Returns the act's name, in lower case with hyphens: what an export calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::SetRole { .. } => "set-role",
            Self::Remove { .. } => "remove",
            Self::Leave { .. } => "leave",
            Self::EndRole { .. } => "end-role",
            Self::RotateKeys { .. } => "rotate-keys",
            Self::StateDevices { .. } => "state-devices",
            Self::DeliverKeys { .. } => "deliver-keys",
            Self::Invite { .. } => "invite",
            Self::EndInvite { .. } => "end-invite",
            Self::Join { .. } => "join",
            Self::SetPolicy(_) => "set-policy",
            Self::TransferOwnership { .. } => "transfer-ownership",
            Self::Admit { .. } => "admit",
            Self::Exclude { .. } => "exclude",
            Self::Purge { .. } => "purge",
            Self::SetRecoveryKey => "set-recovery-key",
            Self::SucceedRelay { .. } => "succeed-relay",
            Self::AddDevice { .. } => "add-device",
            Self::RevokeDevice { .. } => "revoke-device",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Returns whom it is about, if that is another user than its author.
    #[must_use]
    pub fn subject(&self) -> Option<UserId> {
        match self {
            Self::SetRole { user, .. }
            | Self::Remove { user, .. }
            | Self::EndRole { user, .. }
            | Self::StateDevices { user, .. } => Some(*user),
            Self::TransferOwnership { to } => Some(*to),
            _ => None,
        }
    }

    /// Returns the epoch that begins with it.
    #[must_use]
    pub fn epoch(&self) -> Option<EpochId> {
        match self {
            Self::RotateKeys { epoch, .. } => Some(*epoch),
            Self::SetRole { epoch, .. }
            | Self::Remove { epoch, .. }
            | Self::Leave { epoch }
            | Self::EndRole { epoch, .. }
            | Self::StateDevices { epoch, .. }
            | Self::EndInvite { epoch, .. } => *epoch,
            _ => None,
        }
    }
}
