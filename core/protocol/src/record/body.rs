//! What records state: the bodies and their layouts.
//!
//! Invariant: every body has one encoding; a type that this version does not judge is kept as
//! [`RecordBody::Unsupported`] with its bytes, so its id can still be checked.

use std::sync::Arc;

use super::policy::{read_entries, write_entries};
use super::{
    EpochWrap, InviteCreate, InviteRevoke, Join, Pins, Policy, RecordError, RecoverySet, Rewrap, Rotation, Standing,
};
use crate::bytes::{DecodeError, Reader, put_run};
use crate::hash::Digest;
use crate::identity::{DeviceKeys, IdentityLog};
use crate::ids::{DocumentTag, EntryHash, EpochId, RelayId, UserId};
use crate::keys::VerifyKey;
use crate::limits::ADDRESS_BYTES_MAX;

/// The first record: who founded the workspace, with which device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// Makes the workspace's id unique.
    pub nonce: [u8; 16],
    /// The root key of the owner.
    pub root: VerifyKey,
    /// The device that signs.
    pub device: DeviceKeys,
    /// `H("blinding-key", K_blind)`: whoever is given the blinding key can check it.
    pub blinding_commitment: Digest,
}

/// "The relay at this address has a new key": lets it count invites that named the old key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySuccession {
    /// Where the relay is dialled.
    pub address: String,
    /// The key it had.
    pub old: RelayId,
    /// The key it has.
    pub new: RelayId,
}

/// What a record states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordBody {
    /// A workspace begins.
    Genesis(Box<Genesis>),
    /// A member's standing changes.
    Standing(Box<Standing>),
    /// A new epoch begins.
    Rotate(Rotation),
    /// A user's devices take effect in the workspace.
    Devices(Box<Devices>),
    /// An invite is offered.
    InviteCreate(Box<InviteCreate>),
    /// An invite is accepted.
    Join(Box<Join>),
    /// An epoch is delivered to members who lack it.
    Rewrap(Rewrap),
    /// What owners ask of everybody.
    Policy(Policy),
    /// The author, an owner, makes another member owner and becomes admin.
    OwnerTransfer(UserId),
    /// Entries beyond a pin count all the same; sorted.
    Admit(Vec<EntryHash>),
    /// Entries do not count; sorted.
    Exclude(Vec<EntryHash>),
    /// A document is given up: nothing is appended to it any more.
    Purge(DocumentTag),
    /// The author's user has a recovery key.
    RecoverySet(RecoverySet),
    /// A relay has a new key.
    RelaySuccession(RelaySuccession),
    /// An invite ends.
    InviteRevoke(Box<InviteRevoke>),
    /// A type of a later version: kept, never judged.
    Unsupported {
        /// Its number.
        kind: u8,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

impl RecordBody {
    const GENESIS: u8 = 1;
    const STANDING: u8 = 2;
    const ROTATE: u8 = 3;
    const DEVICES: u8 = 4;
    const INVITE_CREATE: u8 = 5;
    const JOIN: u8 = 6;
    const REWRAP: u8 = 7;
    const POLICY: u8 = 8;
    const OWNER_TRANSFER: u8 = 9;
    const ADMIT: u8 = 10;
    const EXCLUDE: u8 = 11;
    const PURGE: u8 = 12;
    const RECOVERY_SET: u8 = 13;
    const RELAY_SUCCESSION: u8 = 14;
    const INVITE_REVOKE: u8 = 15;

    /// Returns the number of its type.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Genesis(_) => Self::GENESIS,
            Self::Standing(_) => Self::STANDING,
            Self::Rotate(_) => Self::ROTATE,
            Self::Devices(_) => Self::DEVICES,
            Self::InviteCreate(_) => Self::INVITE_CREATE,
            Self::Join(_) => Self::JOIN,
            Self::Rewrap(_) => Self::REWRAP,
            Self::Policy(_) => Self::POLICY,
            Self::OwnerTransfer(_) => Self::OWNER_TRANSFER,
            Self::Admit(_) => Self::ADMIT,
            Self::Exclude(_) => Self::EXCLUDE,
            Self::Purge(_) => Self::PURGE,
            Self::RecoverySet(_) => Self::RECOVERY_SET,
            Self::RelaySuccession(_) => Self::RELAY_SUCCESSION,
            Self::InviteRevoke(_) => Self::INVITE_REVOKE,
            Self::Unsupported { kind, .. } => *kind,
        }
    }

    /// Returns the epoch it begins, if it does.
    #[must_use]
    pub fn rotation(&self) -> Option<&Rotation> {
        match self {
            Self::Rotate(rotation) => Some(rotation),
            Self::Standing(standing) => standing.rotation.as_ref(),
            Self::Devices(devices) => devices.rotation.as_ref(),
            Self::InviteRevoke(revoke) => revoke.rotation.as_ref(),
            _ => None,
        }
    }

    /// Returns the wraps it carries for members, if it does: of an epoch that it begins or delivers.
    #[must_use]
    pub fn wraps(&self) -> Option<(EpochId, &[EpochWrap])> {
        match self {
            Self::Rewrap(rewrap) => Some((rewrap.epoch, &rewrap.wraps)),
            _ => self.rotation().map(|rotation| (rotation.epoch, rotation.wraps.as_slice())),
        }
    }

    /// Returns the pins it carries, if it does.
    #[must_use]
    pub fn pins(&self) -> Option<&Pins> {
        match self {
            Self::Standing(standing) => standing.pins.as_ref(),
            Self::Devices(devices) => devices.pins.as_ref(),
            _ => None,
        }
    }

    /// Brings what is a set into its one order.
    pub(super) fn sort(&mut self) {
        let (rotation, pins) = match self {
            Self::Rotate(rotation) => (Some(rotation), None),
            Self::Standing(standing) => (standing.rotation.as_mut(), standing.pins.as_mut()),
            Self::Devices(devices) => (devices.rotation.as_mut(), devices.pins.as_mut()),
            Self::InviteRevoke(revoke) => (revoke.rotation.as_mut(), None),
            Self::Rewrap(rewrap) => {
                rewrap.wraps.sort_unstable_by_key(|wrap| wrap.recipient);
                return;
            }
            Self::Policy(policy) => {
                policy.relays.sort_unstable();
                policy.relays.dedup();
                return;
            }
            Self::Admit(entries) | Self::Exclude(entries) => {
                entries.sort_unstable();
                entries.dedup();
                return;
            }
            _ => return,
        };
        if let Some(rotation) = rotation {
            rotation.previous.sort_unstable_by_key(|previous| previous.epoch);
            rotation.wraps.sort_unstable_by_key(|wrap| wrap.recipient);
        }
        if let Some(pins) = pins {
            pins.sort();
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Genesis(genesis) => genesis.write(&mut out),
            Self::Standing(standing) => standing.write(&mut out),
            Self::Rotate(rotation) => rotation.write(&mut out),
            Self::Devices(devices) => devices.write(&mut out),
            Self::InviteCreate(invite) => invite.write(&mut out),
            Self::Join(join) => join.write(&mut out),
            Self::Rewrap(rewrap) => rewrap.write(&mut out),
            Self::Policy(policy) => policy.write(&mut out),
            Self::OwnerTransfer(user) => out.extend_from_slice(user.as_bytes()),
            Self::Admit(entries) | Self::Exclude(entries) => write_entries(entries, &mut out),
            Self::Purge(document) => out.extend_from_slice(document.as_bytes()),
            Self::RecoverySet(recovery) => recovery.write(&mut out),
            Self::RelaySuccession(succession) => succession.write(&mut out),
            Self::InviteRevoke(revoke) => revoke.write(&mut out),
            Self::Unsupported { bytes, .. } => out.extend_from_slice(bytes),
        }
        out
    }

    pub(super) fn decode(kind: u8, bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        let body = Self::read(kind, &mut reader)?;
        reader.finish()?;
        Ok(body)
    }

    fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok(match kind {
            0 => return Err(DecodeError::Unknown { field: "record type", value: 0 }.into()),
            Self::GENESIS => Self::Genesis(Box::new(Genesis::read(reader)?)),
            Self::STANDING => Self::Standing(Box::new(Standing::read(reader)?)),
            Self::ROTATE => Self::Rotate(Rotation::read(reader)?),
            Self::DEVICES => Self::Devices(Box::new(Devices::read(reader)?)),
            Self::INVITE_CREATE => Self::InviteCreate(Box::new(InviteCreate::read(reader)?)),
            Self::JOIN => Self::Join(Box::new(Join::read(reader)?)),
            Self::REWRAP => Self::Rewrap(Rewrap::read(reader)?),
            Self::POLICY => Self::Policy(Policy::read(reader)?),
            Self::OWNER_TRANSFER => Self::OwnerTransfer(UserId::read(reader)?),
            Self::ADMIT => Self::Admit(read_entries(reader)?),
            Self::EXCLUDE => Self::Exclude(read_entries(reader)?),
            Self::PURGE => Self::Purge(DocumentTag::read(reader)?),
            Self::RECOVERY_SET => Self::RecoverySet(RecoverySet::read(reader)?),
            Self::RELAY_SUCCESSION => Self::RelaySuccession(RelaySuccession::read(reader)?),
            Self::INVITE_REVOKE => Self::InviteRevoke(Box::new(InviteRevoke::read(reader)?)),
            _ => Self::Unsupported { kind, bytes: reader.take_rest().to_vec() },
        })
    }
}

impl Genesis {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.root.to_bytes());
        self.device.write(out);
        out.extend_from_slice(&self.blinding_commitment);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            nonce: reader.array()?,
            root: VerifyKey::parse(&reader.array()?)?,
            device: DeviceKeys::read(reader)?,
            blinding_commitment: reader.array()?,
        })
    }
}

/// A user's devices, as far as their identity log goes; with pins and a new epoch if one is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    /// The user's log; views share it.
    pub identity: Arc<IdentityLog>,
    /// How far the work of revoked devices goes.
    pub pins: Option<Pins>,
    /// The epoch that begins.
    pub rotation: Option<Rotation>,
}

impl Devices {
    fn write(&self, out: &mut Vec<u8>) {
        self.identity.write(out);
        write_option(self.pins.as_ref(), out, Pins::write);
        write_option(self.rotation.as_ref(), out, Rotation::write);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            identity: Arc::new(IdentityLog::read(reader)?),
            pins: read_option(reader, "pins", Pins::read)?,
            rotation: read_option(reader, "rotation", Rotation::read)?,
        })
    }
}

impl RelaySuccession {
    fn write(&self, out: &mut Vec<u8>) {
        put_run(out, self.address.as_bytes());
        out.extend_from_slice(self.old.as_bytes());
        out.extend_from_slice(self.new.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok(Self { address: read_address(reader)?, old: RelayId::read(reader)?, new: RelayId::read(reader)? })
    }
}

/// Writes what may be absent: a byte 0, or 1 and the value.
pub(super) fn write_option<T>(value: Option<&T>, out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        write(value, out);
    }
}

/// Reads what may be absent.
pub(super) fn read_option<T>(
    reader: &mut Reader<'_>,
    field: &'static str,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => read(reader).map(Some),
        _ => Err(DecodeError::Invalid { field }),
    }
}

fn read_address(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let bytes = reader.run("address", ADDRESS_BYTES_MAX)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::Invalid { field: "address" })
}
