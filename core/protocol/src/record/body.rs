//! What records state: the bodies and their layouts.
//!
//! Invariant: every body has one encoding; a type that this version does not judge is kept as
//! [`RecordBody::Unsupported`] with its bytes, so its id can still be checked.

use super::{RecordError, Role};
use crate::bytes::{DecodeError, Reader, put_run};
use crate::hash::Digest;
use crate::identity::{DeviceKeys, IdentityLog};
use crate::ids::{EpochId, RecordId, RelayId};
use crate::keys::{SignKey, Signature, VerifyKey};
use crate::limits::{ADDRESS_BYTES_MAX, PREVIOUS_EPOCHS_MAX, WRAPS_MAX};

/// The secret of an epoch and the blinding key, sealed to one X25519 key by HPKE (RFC 9180).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochWrap {
    /// A device's id, or an invite's record id.
    pub recipient: [u8; 32],
    /// HPKE's encapsulated key.
    pub encapsulated: [u8; 32],
    /// `secret 32 ‖ blinding key 32 ‖ tag 16`.
    pub sealed: [u8; 80],
}

impl EpochWrap {
    const BYTES: usize = 144;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.recipient);
        out.extend_from_slice(&self.encapsulated);
        out.extend_from_slice(&self.sealed);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { recipient: reader.array()?, encapsulated: reader.array()?, sealed: reader.array()? })
    }
}

/// The secret of an earlier epoch, sealed under the new one, so that members read all history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousEpoch {
    /// Which epoch.
    pub epoch: EpochId,
    /// `secret 32 ‖ tag 16`.
    pub sealed: [u8; 48],
}

/// The beginning of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Commits to the new secret.
    pub epoch: EpochId,
    /// The epochs it follows, sorted; empty only for a workspace's first.
    pub previous: Vec<PreviousEpoch>,
    /// One for each recipient, sorted by recipient.
    pub wraps: Vec<EpochWrap>,
}

impl Rotation {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.epoch.as_bytes());
        out.extend_from_slice(&(self.previous.len() as u16).to_be_bytes());
        for previous in &self.previous {
            out.extend_from_slice(previous.epoch.as_bytes());
            out.extend_from_slice(&previous.sealed);
        }
        out.extend_from_slice(&(self.wraps.len() as u16).to_be_bytes());
        for wrap in &self.wraps {
            wrap.write(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let epoch = EpochId::read(reader)?;
        let count = reader.count("previous epochs", PREVIOUS_EPOCHS_MAX, 80)?;
        let mut previous = Vec::with_capacity(count);
        for _ in 0..count {
            previous.push(PreviousEpoch { epoch: EpochId::read(reader)?, sealed: reader.array()? });
        }
        let count = reader.count("wraps", WRAPS_MAX, EpochWrap::BYTES)?;
        let mut wraps = Vec::with_capacity(count);
        for _ in 0..count {
            wraps.push(EpochWrap::read(reader)?);
        }
        if !previous.is_sorted_by(|a, b| a.epoch < b.epoch) {
            return Err(DecodeError::Invalid { field: "previous epochs" });
        }
        if !wraps.is_sorted_by(|a, b| a.recipient < b.recipient) {
            return Err(DecodeError::Invalid { field: "wraps" });
        }
        Ok(Self { epoch, previous, wraps })
    }
}

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

/// An offer to whoever holds its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteCreate {
    /// What a joiner becomes.
    pub role: Role,
    /// When it ends by the counting relay's clock, milliseconds since 1970; zero for never.
    pub expires_ms: i64,
    /// How many may join; zero for any number.
    pub uses: u32,
    /// The relay that counts the uses and attests each Join.
    pub relay: RelayId,
    /// Ed25519, from the invite's secret: signs a Join.
    pub sign_public: VerifyKey,
    /// X25519, from the invite's secret: the epoch is wrapped to it.
    pub box_public: [u8; 32],
    /// Which epoch is wrapped.
    pub epoch: EpochId,
    /// The wrap; its recipient is zero, since the invite's id is not known yet.
    pub wrap: EpochWrap,
}

/// The acceptance of an invite by a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The accepted invite.
    pub invite: RecordId,
    /// Who joins.
    pub identity: IdentityLog,
    /// By the invite's key over `invite ‖ identity log`.
    pub invite_signature: Signature,
}

impl Join {
    const CONTEXT: &'static str = "join-sig";

    /// Signs the claim that this identity holds the invite.
    #[must_use]
    pub fn sign(invite: RecordId, identity: IdentityLog, invite_key: &SignKey) -> Self {
        let invite_signature = invite_key.sign(Self::CONTEXT, &Self::claim(&invite, &identity));
        Self { invite, identity, invite_signature }
    }

    /// Verifies the claim under the invite's key.
    ///
    /// # Errors
    /// [`crate::keys::KeyError::BadSignature`] if the invite's key did not sign it.
    pub fn verify(&self, invite_key: &VerifyKey) -> Result<(), crate::keys::KeyError> {
        invite_key.verify(Self::CONTEXT, &Self::claim(&self.invite, &self.identity), &self.invite_signature)
    }

    fn claim(invite: &RecordId, identity: &IdentityLog) -> Vec<u8> {
        let mut out = invite.as_bytes().to_vec();
        identity.write(&mut out);
        out
    }
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
    Genesis(Genesis),
    /// A new epoch begins.
    Rotate(Rotation),
    /// A user's devices take effect in the workspace, with a new epoch if need be.
    Devices(IdentityLog, Option<Rotation>),
    /// An invite is offered.
    InviteCreate(Box<InviteCreate>),
    /// An invite is accepted.
    Join(Join),
    /// A relay has a new key.
    RelaySuccession(RelaySuccession),
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
    const ROTATE: u8 = 3;
    const DEVICES: u8 = 4;
    const INVITE_CREATE: u8 = 5;
    const JOIN: u8 = 6;
    const RELAY_SUCCESSION: u8 = 14;

    /// Returns the number of its type.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Genesis(_) => Self::GENESIS,
            Self::Rotate(_) => Self::ROTATE,
            Self::Devices(..) => Self::DEVICES,
            Self::InviteCreate(_) => Self::INVITE_CREATE,
            Self::Join(_) => Self::JOIN,
            Self::RelaySuccession(_) => Self::RELAY_SUCCESSION,
            Self::Unsupported { kind, .. } => *kind,
        }
    }

    /// Returns the epoch it begins, if it does.
    #[must_use]
    pub fn rotation(&self) -> Option<&Rotation> {
        match self {
            Self::Rotate(rotation) => Some(rotation),
            Self::Devices(_, rotation) => rotation.as_ref(),
            _ => None,
        }
    }

    /// Brings what is a set into its one order.
    pub(super) fn sort(&mut self) {
        if let Self::Rotate(rotation) | Self::Devices(_, Some(rotation)) = self {
            rotation.previous.sort_unstable_by_key(|previous| previous.epoch);
            rotation.wraps.sort_unstable_by_key(|wrap| wrap.recipient);
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Genesis(genesis) => {
                out.extend_from_slice(&genesis.nonce);
                out.extend_from_slice(&genesis.root.to_bytes());
                genesis.device.write(&mut out);
                out.extend_from_slice(&genesis.blinding_commitment);
            }
            Self::Rotate(rotation) => rotation.write(&mut out),
            Self::Devices(identity, rotation) => {
                identity.write(&mut out);
                out.push(u8::from(rotation.is_some()));
                if let Some(rotation) = rotation {
                    rotation.write(&mut out);
                }
            }
            Self::InviteCreate(invite) => invite.write(&mut out),
            Self::Join(join) => {
                out.extend_from_slice(join.invite.as_bytes());
                join.identity.write(&mut out);
                out.extend_from_slice(&join.invite_signature);
            }
            Self::RelaySuccession(succession) => {
                put_run(&mut out, succession.address.as_bytes());
                out.extend_from_slice(succession.old.as_bytes());
                out.extend_from_slice(succession.new.as_bytes());
            }
            Self::Unsupported { bytes, .. } => out.extend_from_slice(bytes),
        }
        out
    }

    pub(super) fn decode(kind: u8, bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        let body = match kind {
            Self::GENESIS => Self::Genesis(Genesis {
                nonce: reader.array()?,
                root: VerifyKey::parse(&reader.array()?)?,
                device: DeviceKeys::read(&mut reader)?,
                blinding_commitment: reader.array()?,
            }),
            Self::ROTATE => Self::Rotate(Rotation::read(&mut reader)?),
            Self::DEVICES => {
                let identity = IdentityLog::read(&mut reader)?;
                let rotation = match reader.u8()? {
                    0 => None,
                    1 => Some(Rotation::read(&mut reader)?),
                    _ => return Err(DecodeError::Invalid { field: "rotation" }.into()),
                };
                Self::Devices(identity, rotation)
            }
            Self::INVITE_CREATE => Self::InviteCreate(Box::new(InviteCreate::read(&mut reader)?)),
            Self::JOIN => Self::Join(Join {
                invite: RecordId::read(&mut reader)?,
                identity: IdentityLog::read(&mut reader)?,
                invite_signature: reader.array()?,
            }),
            Self::RELAY_SUCCESSION => Self::RelaySuccession(RelaySuccession {
                address: read_address(&mut reader)?,
                old: RelayId::read(&mut reader)?,
                new: RelayId::read(&mut reader)?,
            }),
            0 => {
                return Err(DecodeError::Unknown { field: "record type", value: 0 }.into());
            }
            _ => Self::Unsupported { kind, bytes: reader.take_rest().to_vec() },
        };
        reader.finish()?;
        Ok(body)
    }
}

impl InviteCreate {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.role as u8);
        out.extend_from_slice(&self.expires_ms.to_be_bytes());
        out.extend_from_slice(&self.uses.to_be_bytes());
        out.extend_from_slice(self.relay.as_bytes());
        out.extend_from_slice(&self.sign_public.to_bytes());
        out.extend_from_slice(&self.box_public);
        out.extend_from_slice(self.epoch.as_bytes());
        self.wrap.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        let (role, expires_ms) = (Role::from_u8(reader.u8()?)?, reader.i64()?);
        let (uses, relay) = (reader.u32()?, RelayId::read(reader)?);
        let keys = DeviceKeys::read(reader)?;
        Ok(Self {
            role,
            expires_ms,
            uses,
            relay,
            sign_public: keys.sign,
            box_public: keys.box_public,
            epoch: EpochId::read(reader)?,
            wrap: EpochWrap::read(reader)?,
        })
    }
}

fn read_address(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let bytes = reader.run("address", ADDRESS_BYTES_MAX)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::Invalid { field: "address" })
}
