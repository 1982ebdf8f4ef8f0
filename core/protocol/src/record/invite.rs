//! Invites: the offer, its acceptance and its end.
//!
//! Invariant: a Join carries the joiner's whole identity log and is signed by the invite's key, so
//! nobody who lacks the link's secret can bring anybody in.

use std::sync::Arc;

use super::body::{read_option, write_option};
use super::{EpochWrap, RecordError, Role, Rotation};
use crate::bytes::Reader;
use crate::identity::{DeviceKeys, IdentityLog};
use crate::ids::{EpochId, RecordId, RelayId};
use crate::keys::{SignKey, Signature, VerifyKey};

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
    /// The wrap; its recipient is zero, since the invite's id is not known yet. [`EpochWrap::NONE`] for a
    /// carrier.
    pub wrap: EpochWrap,
}

/// The acceptance of an invite by a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The accepted invite.
    pub invite: RecordId,
    /// Who joins.
    pub identity: Arc<IdentityLog>,
    /// By the invite's key over `invite ‖ identity log`.
    pub invite_signature: Signature,
}

impl Join {
    const CONTEXT: &'static str = "join-sig";

    /// Signs the claim that this identity holds the invite.
    #[must_use]
    pub fn sign(invite: RecordId, identity: IdentityLog, invite_key: &SignKey) -> Self {
        let invite_signature = invite_key.sign(Self::CONTEXT, &Self::claim(&invite, &identity));
        Self { invite, identity: Arc::new(identity), invite_signature }
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

impl InviteCreate {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.role as u8);
        out.extend_from_slice(&self.expires_ms.to_be_bytes());
        out.extend_from_slice(&self.uses.to_be_bytes());
        out.extend_from_slice(self.relay.as_bytes());
        out.extend_from_slice(&self.sign_public.to_bytes());
        out.extend_from_slice(&self.box_public);
        out.extend_from_slice(self.epoch.as_bytes());
        self.wrap.write(out);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
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

impl Join {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.invite.as_bytes());
        self.identity.write(out);
        out.extend_from_slice(&self.invite_signature);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            invite: RecordId::read(reader)?,
            identity: Arc::new(IdentityLog::read(reader)?),
            invite_signature: reader.array()?,
        })
    }
}

/// The end of an invite; with a new epoch if the invite was given the present one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteRevoke {
    /// Which invite.
    pub invite: RecordId,
    /// The epoch that begins.
    pub rotation: Option<Rotation>,
}

impl InviteRevoke {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.invite.as_bytes());
        write_option(self.rotation.as_ref(), out, Rotation::write);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok(Self { invite: RecordId::read(reader)?, rotation: read_option(reader, "rotation", Rotation::read)? })
    }
}
