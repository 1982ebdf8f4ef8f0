//! The records of an identity log: "this device is mine", "this device is mine no more".
//!
//! Invariant: a record's id covers the user, the records it stands on, its statement and its signer,
//! and not its signatures; its parents are sorted and distinct.

use super::{DeviceKeys, Identity, IdentityError};
use crate::bytes::{DecodeError, Reader, check_limit};
use crate::hash::{Digest, hash};
use crate::ids::{DeviceId, UserId};
use crate::keys::{KeyError, SignKey, Signature, VerifyKey};
use crate::limits::IDENTITY_PARENTS_MAX;

const MAGIC: [u8; 4] = *b"TBI1";
const SIGNER_CONTEXT: &str = "identity-sig";
const DEVICE_CONTEXT: &str = "identity-device-sig";
/// Bytes of the shortest record: a revocation by the root.
pub(super) const RECORD_BYTES_MIN: usize = 135;

/// Who vouches for a statement about a user's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The user's root key: the first device, and recovery.
    Root,
    /// A device that the user has.
    Device(DeviceId),
}

/// A statement about a user's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityAct {
    /// The user has this device; it counter-signs.
    Add {
        /// Its public keys.
        keys: DeviceKeys,
        /// What kind of machine it says it is; zero if it does not say.
        platform: u8,
    },
    /// The user has this device no more.
    Revoke(DeviceId),
}

/// What a record says before it is signed: it travels to the new device, which counter-signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityDraft {
    user: UserId,
    parents: Vec<Digest>,
    act: IdentityAct,
    signer: Signer,
}

impl IdentityDraft {
    const ADD: u8 = 1;
    const REVOKE: u8 = 2;

    /// Drafts a statement that stands on these records of the user's log.
    #[must_use]
    pub fn new(user: UserId, parents: &[Digest], act: IdentityAct, signer: Signer) -> Self {
        let mut parents = parents.to_vec();
        parents.sort_unstable();
        parents.dedup();
        Self { user, parents, act, signer }
    }

    /// Returns whose device it is about.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Returns what it states.
    #[must_use]
    pub fn act(&self) -> &IdentityAct {
        &self.act
    }

    /// Signs as the root or device that the draft names as its signer.
    #[must_use]
    pub fn sign(&self, signer: &SignKey) -> Signature {
        signer.sign(SIGNER_CONTEXT, &self.encode())
    }

    /// Signs as the device that is added: nobody can claim a device that is not theirs.
    #[must_use]
    pub fn counter_sign(&self, device: &SignKey) -> Signature {
        device.sign(DEVICE_CONTEXT, &self.encode())
    }

    /// Checks the signature of the device that is added.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] if it is not over this draft by that device.
    pub fn verify_counter_signature(&self, counter_signature: &Signature) -> Result<(), KeyError> {
        match &self.act {
            IdentityAct::Add { keys, .. } => keys.sign.verify(DEVICE_CONTEXT, &self.encode(), counter_signature),
            IdentityAct::Revoke(_) => Err(KeyError::BadSignature),
        }
    }

    /// Makes the record; a revocation has no counter-signature.
    #[must_use]
    pub fn complete(self, signature: Signature, counter_signature: Option<Signature>) -> IdentityRecord {
        let counter_signature = match self.act {
            IdentityAct::Add { .. } => counter_signature.or(Some([0; 64])),
            IdentityAct::Revoke(_) => None,
        };
        IdentityRecord { draft: self, signature, counter_signature }
    }

    /// Writes what is signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(match self.act {
            IdentityAct::Add { .. } => Self::ADD,
            IdentityAct::Revoke(_) => Self::REVOKE,
        });
        out.extend_from_slice(self.user.as_bytes());
        out.push(self.parents.len() as u8);
        for parent in &self.parents {
            out.extend_from_slice(parent);
        }
        match &self.act {
            IdentityAct::Add { keys, platform } => {
                keys.write(&mut out);
                out.push(*platform);
            }
            IdentityAct::Revoke(device) => out.extend_from_slice(device.as_bytes()),
        }
        match self.signer {
            Signer::Root => out.push(0),
            Signer::Device(device) => {
                out.push(1);
                out.extend_from_slice(device.as_bytes());
            }
        }
        out
    }

    /// Reads what is signed.
    ///
    /// # Errors
    /// [`IdentityError`] if the bytes are no draft or a key in them is weak.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, IdentityError> {
        if reader.array()? != MAGIC {
            return Err(DecodeError::Magic.into());
        }
        let kind = reader.u8()?;
        let user = UserId::read(reader)?;
        let parents = read_parents(reader)?;
        let act = match kind {
            Self::ADD => IdentityAct::Add { keys: DeviceKeys::read(reader)?, platform: reader.u8()? },
            Self::REVOKE => IdentityAct::Revoke(DeviceId::read(reader)?),
            kind => return Err(DecodeError::Unknown { field: "identity record", value: u64::from(kind) }.into()),
        };
        let signer = match reader.u8()? {
            0 => Signer::Root,
            1 => Signer::Device(DeviceId::read(reader)?),
            value => return Err(DecodeError::Unknown { field: "signer", value: u64::from(value) }.into()),
        };
        if parents.is_empty() && signer != Signer::Root {
            return Err(IdentityError::StrangeSigner);
        }
        Ok(Self { user, parents, act, signer })
    }
}

fn read_parents(reader: &mut Reader<'_>) -> Result<Vec<Digest>, IdentityError> {
    let count = usize::from(reader.u8()?);
    check_limit("identity parents", count as u64, IDENTITY_PARENTS_MAX as u64)?;
    let mut parents: Vec<Digest> = Vec::new();
    for _ in 0..count {
        parents.push(reader.array()?);
    }
    if !parents.is_sorted_by(|a, b| a < b) {
        return Err(DecodeError::Invalid { field: "identity parents" }.into());
    }
    Ok(parents)
}

/// One signed statement about a user's devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRecord {
    draft: IdentityDraft,
    signature: Signature,
    counter_signature: Option<Signature>,
}

impl IdentityRecord {
    /// Adds a device on the word of the user's root, as the first record of a log.
    #[must_use]
    pub fn first(root: &SignKey, keys: DeviceKeys, platform: u8, device: &SignKey) -> Self {
        let user = UserId::derive(&root.public());
        let draft = IdentityDraft::new(user, &[], IdentityAct::Add { keys, platform }, Signer::Root);
        let (signature, counter) = (draft.sign(root), draft.counter_sign(device));
        draft.complete(signature, Some(counter))
    }

    /// Adds a device on the word of one that the identity already has.
    #[must_use]
    pub fn next(
        identity: &Identity,
        signer: (DeviceId, &SignKey),
        keys: DeviceKeys,
        platform: u8,
        device: &SignKey,
    ) -> Self {
        let act = IdentityAct::Add { keys, platform };
        let draft = IdentityDraft::new(identity.user, &identity.heads, act, Signer::Device(signer.0));
        let (signature, counter) = (draft.sign(signer.1), draft.counter_sign(device));
        draft.complete(signature, Some(counter))
    }

    /// Returns its name in the log.
    #[must_use]
    pub fn id(&self) -> Digest {
        hash("identity-record", &[&self.draft.encode()])
    }

    /// Returns the records it stands on.
    #[must_use]
    pub fn parents(&self) -> &[Digest] {
        &self.draft.parents
    }

    /// Returns what it states.
    #[must_use]
    pub fn act(&self) -> &IdentityAct {
        &self.draft.act
    }

    /// Returns who vouches for it.
    #[must_use]
    pub fn signer(&self) -> Signer {
        self.draft.signer
    }

    pub(super) fn user(&self) -> UserId {
        self.draft.user
    }

    /// Verifies both signatures.
    pub(super) fn verify(&self, signer: &VerifyKey) -> Result<(), KeyError> {
        signer.verify(SIGNER_CONTEXT, &self.draft.encode(), &self.signature)?;
        match &self.counter_signature {
            Some(counter) => self.draft.verify_counter_signature(counter),
            None => Ok(()),
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.draft.encode());
        out.extend_from_slice(&self.signature);
        if let Some(counter) = &self.counter_signature {
            out.extend_from_slice(counter);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, IdentityError> {
        let draft = IdentityDraft::read(reader)?;
        let signature = reader.array()?;
        let counter_signature = match draft.act {
            IdentityAct::Add { .. } => Some(reader.array()?),
            IdentityAct::Revoke(_) => None,
        };
        Ok(Self { draft, signature, counter_signature })
    }
}
